//! Where the models of a scan are: each source lists what it has, without reading any of it. `folder` finds checkpoints below a folder, `stamp`
//! tells whether a file is still the one that was read, `refusal` says why a model cannot be judged, in one word and one line.
//!
//! On servers: `hub`, `web`, `bucket` and `mlflow` list what a hub, an index of one's own, an object store and an
//! MLflow registry have, `remote` is a checkpoint there, `headers` fetches it without its weights, `access` says which hub is meant and
//! with which token, `address` is how a command names a model of it, and `fetch` brings that one here.

mod access;
mod address;
pub(crate) mod bucket;
mod fetch;
mod folder;
mod headers;
pub(crate) mod hub;
pub(crate) mod mlflow;
mod refusal;
mod remote;
mod stamp;
pub(crate) mod web;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use access::address;
pub use access::{Access, AccessError};
pub use address::{Address, is_address};
pub use fetch::{FetchError, Fetched, fetch};
pub(crate) use folder::list;
pub use refusal::{Cause, Refusal};
pub(crate) use remote::{Remote, is_below};
pub(crate) use stamp::stamp;

/// How a model is stored, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// `.onnx`.
    Onnx,
    /// `.safetensors`, or the index of such files.
    Safetensors,
    /// A checkpoint of another format.
    Other,
}

/// A model that a source has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its name in its source: where it is, with `/` between folders.
    pub name: String,
    /// Its file, from the folder of the source.
    pub path: PathBuf,
    /// Bytes of its file; of the parts too where it is an index.
    pub bytes: u64,
    /// How it is stored, as far as its name tells.
    pub ending: Ending,
    /// Why it cannot be judged, where that is known before it is read.
    pub refused: Option<Refusal>,
}

/// A model that a server has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Which.
    pub entry: Entry,
    /// Its files; none where it cannot be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The tags that its hub gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// The name of what stands for all that a source may have, where it cannot be listed. No model is called so.
pub(crate) const EVERYTHING: &str = "*";

/// A model that cannot be judged as a whole.
pub(crate) fn refused(name: &str, refused: Refusal) -> Listed {
    let ending = ending(remote::file_name(name)).unwrap_or(Ending::Other);
    let entry = Entry { name: name.to_owned(), path: PathBuf::from(name), bytes: 0, ending, refused: Some(refused) };
    Listed { entry, remote: None, tags: Vec::new() }
}

/// The ending of a file's name that makes it a checkpoint, where it has one.
pub(crate) fn ending(name: &str) -> Option<Ending> {
    /// Checkpoints that are not read. Data of other kinds do not end so.
    const OTHER: [&str; 17] = [
        ".pt",
        ".pth",
        ".ckpt",
        ".pkl",
        ".pickle",
        ".joblib",
        ".h5",
        ".hdf5",
        ".keras",
        ".tflite",
        ".gguf",
        ".msgpack",
        ".pdparams",
        ".mlmodel",
        ".pt2",
        ".mar",
        ".nemo",
    ];
    let name = name.to_lowercase();
    let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if is(&[".onnx"]) {
        Some(Ending::Onnx)
    } else if is(&[".safetensors", ".safetensors.index.json"]) {
        Some(Ending::Safetensors)
    } else if is(&OTHER) || (name.starts_with("pytorch_model") && is(&[".bin"])) {
        Some(Ending::Other)
    } else {
        None
    }
}

/// Why a source cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder cannot be read.
    #[error("cannot list {}: {source}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// More than is believed.
    #[error("{} holds more than {most} files and folders: name a folder below it", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The most.
        most: usize,
    },
}

impl crate::diag::Explain for SourceError {}
