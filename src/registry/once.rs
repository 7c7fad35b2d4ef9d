//! Safetensors checkpoints, whose files are read once, from beginning to end: their digest is made meanwhile, and no file is ever in memory as a
//! whole.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::configuration::Configuration;
use super::identity::{self, FileRef, Part};
use super::shards::{self, Index};
use super::{MAX_BYTES, RegistryError, format, io, read_at_most};
use crate::store::{Digest, Hashing};

/// The files of a safetensors checkpoint.
pub(super) struct Safetensors {
    path: PathBuf,
    /// The index and its bytes, where the weights are in several files.
    index: Option<(Index, Vec<u8>)>,
    configuration: Configuration,
}

/// A file of weights while it is read.
pub(crate) struct OpenFile<'a> {
    /// Its name in the index; none for a checkpoint in one file.
    pub shard: Option<&'a str>,
    /// The index.
    pub index: Option<&'a Index>,
    /// How many bytes it has.
    pub length: u64,
    /// The bytes.
    pub bytes: &'a mut dyn Read,
}

/// What is known of a checkpoint when all its files were read.
pub(super) struct Whole {
    pub digest: Digest,
    pub files: Vec<FileRef>,
    pub bytes: u64,
    pub configuration: Configuration,
}

impl Safetensors {
    /// The checkpoint at `path`; `None` where that is no safetensors file and no index of such files.
    pub(super) fn at(path: &Path) -> Result<Option<Self>, RegistryError> {
        let file = crate::store::open(path).map_err(|source| io(path, source))?;
        let length = file.metadata().map_err(|source| io(path, source))?.len();
        let mut head = Vec::new();
        file.take(format::HEAD).read_to_end(&mut head).map_err(|source| io(path, source))?;
        let index = if format::is_index(path, &head) {
            let bytes = read_at_most(path, MAX_BYTES)?;
            Some((Index::read(path, &bytes)?, bytes))
        } else if format::is_safetensors(path, &head, length) {
            None
        } else {
            return Ok(None);
        };
        Ok(Some(Self { path: path.to_owned(), index, configuration: Configuration::read(path)? }))
    }

    /// Hands every file to `take`, in the order of their names. What `take` leaves of one is read too.
    pub(super) fn read<E: From<RegistryError>>(self, mut take: impl FnMut(OpenFile) -> Result<(), E>) -> Result<Whole, E> {
        let mut parts = BTreeMap::new();
        let mut left = MAX_BYTES;
        let own = match &self.index {
            None => through(&self.path, left, None, None, &mut take)?,
            Some((index, bytes)) => {
                left = left.saturating_sub(bytes.len() as u64);
                for (name, file) in shards::files(&self.path, index)? {
                    let part = through(&file, left, Some(index), Some(&name), &mut take)?;
                    left = left.saturating_sub(part.bytes);
                    parts.insert(name, part);
                }
                Part::of(bytes)
            }
        };
        parts.extend(self.configuration.files().map(|(name, bytes)| (name.to_owned(), Part::of(bytes))));
        let bytes = parts.values().fold(own.bytes, |sum, part| sum.saturating_add(part.bytes));
        let (digest, files) = identity::of(own, parts);
        Ok(Whole { digest, files, bytes, configuration: self.configuration })
    }
}

/// Reads one file of 1 to `most` bytes.
fn through<E: From<RegistryError>>(
    path: &Path,
    most: u64,
    index: Option<&Index>,
    shard: Option<&str>,
    take: &mut impl FnMut(OpenFile) -> Result<(), E>,
) -> Result<Part, E> {
    let (file, length) = super::open_at_most(path, most)?;
    // One byte more than there are: a file that grows while it is read is noticed.
    let mut bytes = Hashing::new(file.take(length + 1));
    take(OpenFile { shard, index, length, bytes: &mut bytes })?;
    let (digest, read) = bytes.finish().map_err(|source| io(path, source))?;
    if read == length { Ok(Part { digest, bytes: read }) } else { Err(RegistryError::Changed { path: path.to_owned() }.into()) }
}
