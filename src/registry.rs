//! Which checkpoint: location, format and digest, without believing anything in it.
//!
//! The format is read off the first bytes, the extension only decides where those say nothing. Pickled files are
//! refused: loading one runs whatever code it holds, which is no way to inspect a file of unknown origin.

pub(crate) mod adapter;
mod configuration;
mod external_data;
mod format;
mod identity;
mod once;
mod place;
mod shards;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::diag::Explain;
use crate::store::Digest;

pub(crate) use configuration::{CONFIG, Configuration, PREPROCESSOR, PROCESSOR, configured_by};
pub(crate) use external_data::ExternalData;
pub(crate) use external_data::locations as outside;
pub use format::Format;
pub(crate) use identity::{Contents, identity_of};
pub use identity::{FileRef, ModelRef};
pub(crate) use once::OpenFile;
use once::{Safetensors, Whole};
pub(crate) use shards::{Index, index_of};

/// Largest checkpoint that is read, in bytes, files beside it included: numbers are held in memory, as are features and gradients.
pub(crate) const MAX_BYTES: u64 = 8 << 30;

/// Names the checkpoint at `path`: a file, a folder that holds one, or the hub cache's folder of a model.
pub fn identify(path: &Path) -> Result<ModelRef, RegistryError> {
    let path = place::file_of(path)?;
    if adapter::is_one(&path) {
        return Err(RegistryError::Adapter { base: adapter::base_beside(&path), path });
    }
    if let Some(checkpoint) = Safetensors::at(&path)? {
        let Whole { digest, files, bytes, .. } = checkpoint.read(|_| Ok::<_, RegistryError>(()))?;
        return Ok(ModelRef { format: Format::Safetensors, digest, bytes, files, path });
    }
    let bytes = read_at_most(&path, MAX_BYTES)?;
    let format = format::of(&path, &bytes)?;
    let contents = Contents::read(&path, format, bytes)?;
    let (digest, files) = contents.identity();
    Ok(ModelRef { format, digest, bytes: contents.size(), files, path })
}

/// Refuses a file for what its first bytes show, without reading the rest of it: a pickle may be as large as a disk.
pub(crate) fn glance(path: &Path) -> Result<(), RegistryError> {
    /// An archive of PyTorch names its pickle within so many bytes.
    const HEAD: u64 = 1 << 16;
    let (file, _) = open_at_most(path, u64::MAX)?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).map_err(|source| io(path, source))?;
    format::of(path, &head).map(drop)
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

/// Hands the files of a safetensors checkpoint identified before to `take`, one after the other, and gives its configuration; an error if they
/// have changed since. Only then what was read may be used.
pub(crate) fn weights<E: From<RegistryError>>(
    reference: &ModelRef,
    take: impl FnMut(OpenFile) -> Result<(), E>,
) -> Result<Configuration, E> {
    let changed = || RegistryError::Changed { path: reference.path.clone() };
    let read = Safetensors::at(&reference.path)?.ok_or_else(changed)?.read(take)?;
    if read.digest == reference.digest { Ok(read.configuration) } else { Err(changed().into()) }
}

/// A file of 1 to `most` bytes, and how many it has.
fn open_at_most(path: &Path, most: u64) -> Result<(File, u64), RegistryError> {
    let file = crate::store::open(path).map_err(|source| io(path, source))?;
    let length = file.metadata().map_err(|source| io(path, source))?.len();
    match length {
        0 => Err(RegistryError::Empty { path: path.to_owned() }),
        bytes if bytes > most => Err(RegistryError::TooLarge { path: path.to_owned(), bytes }),
        length => Ok((file, length)),
    }
}

/// A whole file of 1 to `most` bytes.
fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, RegistryError> {
    let (file, length) = open_at_most(path, most)?;
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
            Self::Unknown { looks_like: format::PAGE, .. } => {
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
