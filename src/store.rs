//! Digests and fingerprints, the identities of models, data and jobs; files written whole; the cache of finished work; what finds no room in
//! memory.

mod cache;
mod digest;
mod fingerprint;
pub(crate) mod hub;
mod open;
mod rows;
mod spill;

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

pub(crate) use cache::EntriesRead;
pub use cache::{Cache, Entry, Key, LIMIT};
pub(crate) use digest::Hashing;
pub use digest::{Digest, EARLIER, sha256};
pub(crate) use fingerprint::fingerprint;
#[cfg(test)]
pub(crate) use fingerprint::golden;
pub(crate) use fingerprint::{Fingerprint, Fingerprinter};
pub use open::{Held, folder_of, hold, open, read};
pub use rows::{MemoryBudget, Rows, RowsError};
pub(crate) use rows::{read_exact_at, write_all_at};
pub(crate) use spill::{Kept, SpillBuffer};

/// Bytes for people.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1 << 20 {
        return format!("{} KiB", bytes.div_ceil(1 << 10));
    }
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 { format!("{} MiB", mib.ceil()) } else { format!("{:.1} GiB", mib / 1024.0) }
}

/// Writes a file so that a reader sees either the old bytes or all of the new ones.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    stage(path, bytes)?.commit()
}

/// The same for a file that must not be there yet: an error of kind [`std::io::ErrorKind::AlreadyExists`] where it is.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let Staged { file, path } = stage(path, bytes)?;
    file.persist_noclobber(path).map(drop).map_err(|e| e.error)
}

/// Removes a file; that it is not there is no error.
pub(crate) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    unless_absent(std::fs::remove_file(path))
}

/// Renames a file, over another where there is one; that it is not there is no error.
pub(crate) fn rename_if_there(from: &Path, to: &Path) -> std::io::Result<()> {
    unless_absent(std::fs::rename(from, to))
}

fn unless_absent(done: std::io::Result<()>) -> std::io::Result<()> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    done.or_else(|error| if matches!(error.kind(), NotFound | NotADirectory) { Ok(()) } else { Err(error) })
}

/// A file written in full beside its place. Dropped without [`Staged::commit`] it is gone, and what was there stays.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// Puts it into its place.
    pub(crate) fn commit(self) -> std::io::Result<()> {
        self.file.persist(self.path).map(drop).map_err(|e| e.error)
    }
}

/// Writes the bytes beside `path`, to be put into place later: of files that belong together, none changes unless all can be written.
pub(crate) fn stage(path: &Path, bytes: &[u8]) -> std::io::Result<Staged> {
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // Like any new file, less what the umask takes away: reports are there to be read by others.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    // Some file systems say only now that they are full.
    file.as_file().sync_all()?;
    Ok(Staged { file, path: path.to_owned() })
}
