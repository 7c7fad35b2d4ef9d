//! Which checkpoint it is: its bytes with those of the files that belong to it, and the digest that all of them give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::configuration::{self, Configuration};
use super::external_data::{self, ExternalData};
use super::format::Format;
use super::{RegistryError, place, shards};
use crate::store::Digest;

/// The identity of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelRef {
    /// The file as the user named it.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Its identity: the SHA-256 of the file, as `sha256sum` prints it. Where other files belong to it (ONNX external data, parts of an index,
    /// `config.json` and the like), that of a list of all their digests; docs/method.md says how to make it.
    pub digest: Digest,
    /// Size in bytes of all its files.
    pub bytes: u64,
    /// The file itself, those beside it that hold its weights and those that configure it, where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
}

/// A file of a checkpoint that is kept in several, or one that a policy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// `-` for the checkpoint itself; else where the file is, as the checkpoint, or a policy that names it, says it.
    pub name: String,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

impl ModelRef {
    /// What people call it: the file's name, with that of its folder where many models' files are called so, and with the repository's in
    /// the hub's cache: `resnet50.onnx`, `release-7/model.safetensors`, `OWNER/NAME/model.safetensors`. Nothing is known by it.
    pub fn name(&self) -> String {
        place::name(&self.path)
    }

    /// The identity of its weights alone, without the files that configure it.
    pub(crate) fn weights(&self) -> Digest {
        let weights: Vec<&FileRef> = self.files.iter().filter(|file| !configuration::is_one(&file.name)).collect();
        match weights.as_slice() {
            [] => self.digest.clone(),
            [own] => own.digest.clone(),
            files => Digest::of(listed(files.iter().copied()).as_bytes()),
        }
    }

    /// The identity that its files come to, where it is not that of one file.
    pub(crate) fn of_files(&self) -> Option<Digest> {
        (!self.files.is_empty()).then(|| Digest::of(listed(&self.files).as_bytes()))
    }

    /// The names of the files that configure it, for people: `config.json and preprocessor_config.json`; `None` where there are none.
    pub(crate) fn configured_by(&self) -> Option<String> {
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).filter(|name| configuration::is_one(name)).collect();
        let (last, rest) = names.split_last()?;
        Some(if rest.is_empty() { (*last).to_owned() } else { format!("{} and {last}", rest.join(", ")) })
    }
}

/// A checkpoint in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Where it lies, for messages; nowhere, for bytes in memory.
    pub path: PathBuf,
    /// The file.
    pub bytes: Vec<u8>,
    /// The files beside it that hold its weights.
    pub external: ExternalData,
    /// The files that configure it.
    pub configuration: Configuration,
}

impl From<Vec<u8>> for Contents {
    /// A checkpoint in one file.
    fn from(bytes: Vec<u8>) -> Self {
        Self { path: PathBuf::new(), bytes, external: ExternalData::new(), configuration: Configuration::default() }
    }
}

impl Contents {
    pub(super) fn read(path: &Path, format: Format, bytes: Vec<u8>) -> Result<Self, RegistryError> {
        let external = match format {
            Format::Onnx => external_data::read(path, &bytes)?,
            Format::Safetensors => shards::read(path, &bytes)?,
        };
        Ok(Self { path: path.to_owned(), bytes, external, configuration: Configuration::read(path)? })
    }

    /// The identity, and the files that it is made of where it is not that of the file alone.
    pub(super) fn identity(&self) -> (Digest, Vec<FileRef>) {
        let external = self.external.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let parts = external.chain(self.configuration.files()).map(|(name, bytes)| (name.to_owned(), Part::of(bytes)));
        of(Part::of(&self.bytes), parts.collect())
    }

    /// The identity that earlier builds gave it: BLAKE3, of the file or of a list.
    pub(super) fn earlier(&self) -> Digest {
        let own = Digest::earlier(&self.bytes);
        if self.external.is_empty() {
            return own;
        }
        let mut list = vec![format!("heirloom checkpoint\n{own} {}", self.bytes.len())];
        let line = |(name, bytes): (&String, &Vec<u8>)| format!("{} {} {} {name}", Digest::earlier(bytes), bytes.len(), name.len());
        list.extend(self.external.iter().map(line));
        Digest::earlier(list.join("\n").as_bytes())
    }

    pub(super) fn size(&self) -> u64 {
        let others = self.external.values().map(Vec::len).chain(self.configuration.files().map(|(_, bytes)| bytes.len()));
        others.fold(self.bytes.len() as u64, |sum, n| sum.saturating_add(n as u64))
    }
}

/// What is known of one file of a checkpoint.
pub(super) struct Part {
    pub digest: Digest,
    pub bytes: u64,
}

impl Part {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), bytes: bytes.len() as u64 }
    }
}

/// The identity of a checkpoint, and the files that it is made of where there are others beside its own. A name counts once, in the order of its
/// bytes.
pub(super) fn of(own: Part, others: BTreeMap<String, Part>) -> (Digest, Vec<FileRef>) {
    if others.is_empty() {
        return (own.digest, Vec::new());
    }
    let all = std::iter::once((OWN.to_owned(), own)).chain(others);
    let files: Vec<FileRef> = all.map(|(name, Part { digest, bytes })| FileRef { name, digest, bytes }).collect();
    (Digest::of(listed(&files).as_bytes()), files)
}

/// The identity of a checkpoint of which nothing but digests and sizes are known: its own file's, and by name those of the files that belong to it.
pub(crate) fn identity_of(own: (Digest, u64), others: BTreeMap<String, (Digest, u64)>) -> Digest {
    let part = |(digest, bytes)| Part { digest, bytes };
    of(part(own), others.into_iter().map(|(name, other)| (name, part(other))).collect()).0
}

/// What `sha256sum` calls what it reads from its input. The file's own name is no part of the identity: a renamed file is the same.
const OWN: &str = "-";

/// The files as `(sha256sum < MODEL; sha256sum FILE...)` prints them, those beside it in the order of their bytes (`LC_ALL=C sort`).
fn listed<'a>(files: impl IntoIterator<Item = &'a FileRef>) -> String {
    files.into_iter().map(line).collect()
}

/// A line of `sha256sum`, which begins with a backslash where characters of the name are escaped.
fn line(file: &FileRef) -> String {
    let name = file.name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if name == file.name { "" } else { "\\" };
    format!("{mark}{}  {name}\n", file.digest.digits())
}
