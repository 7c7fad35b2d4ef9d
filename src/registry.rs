//! Which checkpoint: location, format and digest, without believing anything in it.
//!
//! The format is read off the first bytes, the extension only decides where those say nothing. Pickled files are
//! refused: loading one runs whatever code it holds, which is no way to inspect a file of unknown origin.

mod configuration;
mod external_data;
mod place;
mod shards;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::diag::Explain;
use crate::store::Digest;

pub(crate) use configuration::{CONFIG, Configuration, PREPROCESSOR, PROCESSOR};
pub(crate) use external_data::ExternalData;
pub(crate) use external_data::locations as outside;
pub(crate) use shards::Index;

/// Largest checkpoint that is read, in bytes, files beside it included: numbers are held in memory, as are features and gradients.
pub(crate) const MAX_BYTES: u64 = 8 << 30;

/// Largest configuration of an adapter that is read, in bytes.
const MAX_ADAPTER_CONFIG: u64 = 4 << 20;

/// How a checkpoint is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An ONNX protobuf.
    Onnx,
    /// A safetensors file: weights without architecture.
    Safetensors,
}

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

/// A file of a checkpoint that is kept in several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// `-` for the checkpoint itself; else where the file is, as the checkpoint says it.
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
    fn read(path: &Path, format: Format, bytes: Vec<u8>) -> Result<Self, RegistryError> {
        let external = match format {
            Format::Onnx => external_data::read(path, &bytes)?,
            Format::Safetensors => shards::read(path, &bytes)?,
        };
        Ok(Self { path: path.to_owned(), bytes, external, configuration: Configuration::read(path)? })
    }

    /// The identity, and the files that it is made of where it is not that of the file alone.
    fn identity(&self) -> (Digest, Vec<FileRef>) {
        let external = self.external.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        // A name counts once, in the order of its bytes.
        let others: BTreeMap<&str, &[u8]> = external.chain(self.configuration.files()).collect();
        if others.is_empty() {
            return (Digest::of(&self.bytes), Vec::new());
        }
        let all = std::iter::once((OWN, self.bytes.as_slice())).chain(others);
        let file = |(name, bytes): (&str, &[u8])| FileRef { name: name.to_owned(), digest: Digest::of(bytes), bytes: bytes.len() as u64 };
        let files: Vec<FileRef> = all.map(file).collect();
        (Digest::of(listed(&files).as_bytes()), files)
    }

    /// The identity that earlier builds gave it: BLAKE3, of the file or of a list.
    fn earlier(&self) -> Digest {
        let own = Digest::earlier(&self.bytes);
        if self.external.is_empty() {
            return own;
        }
        let mut list = vec![format!("heirloom checkpoint\n{own} {}", self.bytes.len())];
        let line = |(name, bytes): (&String, &Vec<u8>)| format!("{} {} {} {name}", Digest::earlier(bytes), bytes.len(), name.len());
        list.extend(self.external.iter().map(line));
        Digest::earlier(list.join("\n").as_bytes())
    }

    fn size(&self) -> u64 {
        let others = self.external.values().map(Vec::len).chain(self.configuration.files().map(|(_, bytes)| bytes.len()));
        others.fold(self.bytes.len() as u64, |sum, n| sum.saturating_add(n as u64))
    }
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

/// Names the checkpoint at `path`: a file, a folder that holds one, or the hub cache's folder of a model.
pub fn identify(path: &Path) -> Result<ModelRef, RegistryError> {
    let path = place::file_of(path)?;
    if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("adapter_model.")) {
        return Err(RegistryError::Adapter { base: adapter_base(&path), path });
    }
    let bytes = read_at_most(&path, MAX_BYTES)?;
    let format = format_of(&path, &bytes)?;
    let contents = Contents::read(&path, format, bytes)?;
    let (digest, files) = contents.identity();
    Ok(ModelRef { format, digest, bytes: contents.size(), files, path })
}

/// Of a `LoRA` adapter as peft writes it: what it calls its base, where it says so.
fn adapter_base(path: &Path) -> Option<String> {
    let config = crate::store::read(&path.with_file_name("adapter_config.json"), MAX_ADAPTER_CONFIG).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
    config.get("base_model_name_or_path")?.as_str().map(str::to_owned)
}

/// The digest that earlier builds gave a checkpoint (BLAKE3, 64 bare digits), to recognise what a policy of theirs means. An error if the
/// checkpoint has changed since it was identified.
pub(crate) fn earlier_digest(reference: &ModelRef) -> Result<Digest, RegistryError> {
    Ok(contents(reference)?.earlier())
}

/// The bytes of a checkpoint identified before; an error if they have changed since.
pub(crate) fn contents(reference: &ModelRef) -> Result<Contents, RegistryError> {
    let path = &reference.path;
    let contents = Contents::read(path, reference.format, read_at_most(path, MAX_BYTES)?)?;
    if contents.identity().0 != reference.digest {
        return Err(RegistryError::Changed { path: path.clone() });
    }
    Ok(contents)
}

/// A whole file of 1 to `most` bytes.
fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, RegistryError> {
    let file = crate::store::open(path).map_err(|source| io(path, source))?;
    let length = file.metadata().map_err(|source| io(path, source))?.len();
    if length > most {
        return Err(RegistryError::TooLarge { path: path.to_owned(), bytes: length });
    }
    if length == 0 {
        return Err(RegistryError::Empty { path: path.to_owned() });
    }
    // In one piece from the start: one that grows is copied, and there twice for that time.
    let mut bytes = Vec::new();
    let all = usize::try_from(length).ok().and_then(|length| length.checked_add(1));
    let reserved = all.is_some_and(|all| bytes.try_reserve_exact(all).is_ok());
    if !reserved {
        return Err(io(path, std::io::ErrorKind::OutOfMemory.into()));
    }
    // One byte more than the limit: a file that grows while it is read is noticed.
    file.take(most + 1).read_to_end(&mut bytes).map_err(|source| io(path, source))?;
    if bytes.len() as u64 != length {
        return Err(RegistryError::Changed { path: path.to_owned() });
    }
    Ok(bytes)
}

fn io(path: &Path, source: std::io::Error) -> RegistryError {
    RegistryError::Io { path: path.to_owned(), source }
}

fn format_of(path: &Path, bytes: &[u8]) -> Result<Format, RegistryError> {
    let path = path.to_owned();
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(RegistryError::LfsPointer { path });
    }
    if is_safetensors(bytes) || (shards::is_index(&path) && bytes.first() == Some(&b'{')) {
        return Ok(Format::Safetensors);
    }
    if let Some(other) = known_other(bytes) {
        return Err(if other == PICKLE { RegistryError::Pickle { path } } else { RegistryError::Unknown { path, looks_like: other } });
    }
    match extension.as_str() {
        // Cut off within its header: the importer says how long it should be.
        "safetensors" if bytes.get(8) == Some(&b'{') => Ok(Format::Safetensors),
        "onnx" => Ok(Format::Onnx),
        _ if looks_like_onnx(bytes) => Ok(Format::Onnx),
        "safetensors" => Err(RegistryError::Unknown { path, looks_like: "it does not start with a safetensors header" }),
        "bin" => Err(RegistryError::Unknown { looks_like: place::bin(&path), path }),
        "pt" | "pth" | "ckpt" | "pkl" | "pickle" => Err(RegistryError::Pickle { path }),
        "yaml" | "yml" => Err(RegistryError::Unknown { path, looks_like: "a YAML file: a policy is named with --policy" }),
        _ => Err(RegistryError::Unknown { path, looks_like: "neither its first bytes nor its extension say" }),
    }
}

/// Length of a JSON header, then its opening brace.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    u64::from_le_bytes(*length) <= rest.len() as u64 && rest.first() == Some(&b'{')
}

/// `ModelProto.ir_version`, a small number, and then another of its fields.
fn looks_like_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=31, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

const PICKLE: &str = "a pickle";
const PAGE: &str = "an HTML or XML page: the download went wrong";

fn known_other(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'P', b'K', 3, 4, ..] => Some(if contains(bytes, b"data.pkl") { PICKLE } else { "a zip archive" }),
        // Protocol opcode, protocol 2 to 5, then an opcode that pickles start with.
        [0x80, 2..=5, ..] => Some(PICKLE),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file (Keras?)"),
        [0x1f, 0x8b, ..] => Some("a gzip archive"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF file"),
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Some("a TensorFlow Lite file"),
        [b'<', ..] => Some(PAGE),
        _ => None,
    }
}

/// Names in a zip archive stand in plain text at its start and again in the directory at its end.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    const WINDOW: usize = 1 << 16;
    let start = bytes.get(..WINDOW.min(bytes.len())).unwrap_or_default();
    let end = bytes.get(bytes.len().saturating_sub(1 << 20)..).unwrap_or_default();
    [start, end].iter().any(|part| part.windows(needle.len()).any(|window| window == needle))
}

/// Why a checkpoint is not accepted.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// It cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A socket, device or the like.
    #[error("{path} is not a file", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A folder without a checkpoint.
    #[error("{path} is a folder without a .safetensors or .onnx file ({holds})", path = path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// What it holds, for people.
        holds: String,
    },
    /// Low-rank factors are no network.
    #[error("{path} is a LoRA adapter{}: it is no network by itself", base.as_ref().map(|base| format!(" for {base}")).unwrap_or_default(), path = path.display())]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What it calls its base.
        base: Option<String>,
    },
    /// A folder with several.
    #[error("{path} holds several checkpoints ({names}): name the one to certify", path = path.display())]
    SeveralInFolder {
        /// The folder.
        path: PathBuf,
        /// Their names.
        names: String,
    },
    /// A hub cache's folder without the files of a revision.
    #[error("{path} is a hub cache's folder of a model, and {reason}", path = path.display())]
    Snapshot {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A link to nothing.
    #[error("{path} is a link to a file that is not there", path = path.display())]
    Dangling {
        /// The link.
        path: PathBuf,
    },
    /// One part of a checkpoint.
    #[error("{path} is one of several parts of a checkpoint: name its index, {index}, or the folder", path = path.display())]
    Shard {
        /// The file.
        path: PathBuf,
        /// The index beside it.
        index: String,
    },
    /// An index that cannot be followed.
    #[error("{path}: {reason}", path = path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No bytes.
    #[error("{path} is empty", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// More than `MAX_BYTES`, alone or with what else belongs to the checkpoint.
    #[error("{path} has {bytes} bytes: a checkpoint of more than {MAX_BYTES} is not read", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Weights beside the file that are not there or must not be read.
    #[error(
        "{path} keeps weights in `{location}`: {reason}; only files in the model's own folder are read",
        path = path.display()
    )]
    ExternalData {
        /// The file.
        path: PathBuf,
        /// As given there.
        location: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that configures it and cannot be read.
    #[error("{path}: it says how the checkpoint is meant and cannot be read: {source}", path = path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Written to between two reads.
    #[error("{path} or a file that belongs to it changed while it was read", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A pointer in place of the file.
    #[error("{path} is a Git LFS pointer, not the checkpoint: fetch it with `git lfs pull`", path = path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// Python objects.
    #[error("{path} is a pickled file: loading it would run the code inside, so heirloom never does", path = path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// Nothing that is read.
    #[error("{path} is neither ONNX nor safetensors ({looks_like})", path = path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        looks_like: &'static str,
    },
}

impl Explain for RegistryError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Pickle { .. } => Some(
                "where the file can be trusted, or in a sandbox, convert it once:\n  \
                 import torch, safetensors.torch\n  \
                 weights = torch.load(\"model.pt\", map_location=\"cpu\", weights_only=True)\n  \
                 safetensors.torch.save_file({k: v.contiguous() for k, v in weights.items()}, \"model.safetensors\")\n\
                 or, with the model at hand: torch.onnx.export(model.eval(), torch.zeros(1, 3, 224, 224), \"model.onnx\")",
            ),
            Self::Adapter { .. } => Some(
                "merge it onto the checkpoint that it was trained on, and certify what is written: `heirloom export ADAPTER merged.safetensors --base \
                 BASE`",
            ),
            Self::ExternalData { path, .. } if shards::is_index(path) => Some(
                "fetch all parts that the index names into its folder, or save the model as one file: save_pretrained(..., max_shard_size=\"50GB\")",
            ),
            Self::Index { .. } => {
                Some("fetch the index again, or save the model as one file: save_pretrained(..., max_shard_size=\"50GB\")")
            }
            Self::Dangling { .. } => Some("download the model again; to copy it, copy what the links lead to as well (cp -rL)"),
            Self::Snapshot { .. } => Some("download the model again, or name the folder of a revision below snapshots/"),
            Self::ExternalData { .. } => Some(
                "copy the model together with the files beside it, or save it as one file: onnx.save(onnx.load(\"model.onnx\"), \"one.onnx\")",
            ),
            Self::Unknown { looks_like: PAGE, .. } => {
                Some("open the file in a text editor to see what the server answered, and download the checkpoint again")
            }
            Self::EmptyFolder { .. } => {
                Some("name the file; export the model to ONNX, or save its weights as safetensors, where there is none")
            }
            Self::Unknown { .. } => Some("export the model to ONNX, or save its weights as safetensors"),
            Self::Empty { .. } | Self::Changed { .. } => Some("wait until it is written in full, or fetch it again"),
            Self::TooLarge { .. } => Some("the limit cannot be raised; certify a smaller checkpoint of the family"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, bytes: &[u8]) -> Result<ModelRef, RegistryError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        identify(&path)
    }

    #[test]
    fn content_decides_before_the_extension() {
        let safetensors = [&2u64.to_le_bytes()[..], b"{}"].concat();
        assert_eq!(named("weights.bin", &safetensors).expect("read").format, Format::Safetensors);
        assert_eq!(named("m.onnx", &[0x08, 7, 0x12, 0]).expect("read").format, Format::Onnx);
        for name in ["m", "m.safetensors", "m.bin"] {
            assert_eq!(named(name, &[0x08, 7, 0x12, 0]).expect("read").format, Format::Onnx);
        }
        assert!(named("policy.yaml", b"version: 1").expect_err("a policy").to_string().contains("--policy"));
    }

    #[test]
    fn pickles_are_refused_by_content_and_by_extension() {
        let zip = [b"PK\x03\x04", &[0u8; 26][..], b"archive/data.pkl"].concat();
        for (name, bytes) in [("m.onnx", &zip[..]), ("m", b"\x80\x02}q\x00."), ("m.pt", b"whatever"), ("m.CKPT", b"whatever")] {
            let error = named(name, bytes).expect_err(name);
            assert!(matches!(error, RegistryError::Pickle { .. }), "{name}: {error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("save_file")));
        }
    }

    #[test]
    fn what_cannot_be_a_checkpoint_is_named() {
        assert!(matches!(named("m.onnx", b"").expect_err("empty"), RegistryError::Empty { .. }));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
        assert!(matches!(named("m.safetensors", pointer).expect_err("pointer"), RegistryError::LfsPointer { .. }));
        assert!(matches!(named("m.safetensors", b"nonsense").expect_err("bad"), RegistryError::Unknown { .. }));
        let cut = [&99u64.to_le_bytes()[..], b"{\"conv1"].concat();
        assert_eq!(named("m.safetensors", &cut).expect("the importer says more").format, Format::Safetensors);
        assert!(named("m.onnx", b"<html>").expect_err("html").to_string().contains("download"));
        assert!(matches!(identify(Path::new("/nowhere/at/all")).expect_err("absent"), RegistryError::Io { .. }));
    }

    #[test]
    fn a_bin_file_is_a_pickle_only_where_its_bytes_say_so() {
        let told = |name: &str| named(name, b"\x00\x01\x02\x03numbers").expect_err("refused").to_string();
        assert!(told("group1-shard1of4.bin").contains("TensorFlow.js"));
        assert!(!told("weights.bin").contains("pickle"), "{}", told("weights.bin"));
        assert!(matches!(named("m.bin", b"\x80\x02}q\x00.").expect_err("a pickle"), RegistryError::Pickle { .. }));
    }
}
