//! Where the images of a target task are, and which way up they are shown.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// Where labelled pictures come from. Relative paths are relative to the policy's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DataSpec {
    /// Hugging Face parquet files; `{split}` in the path stands for `train` or `test`, `*` for anything.
    Parquet(PathBuf),
    /// A folder with one sub-folder per class; `{split}` as above.
    Folder(PathBuf),
    /// The folder of an IDX data set (`train-images-idx3-ubyte`, `t10k-...`, plain or `.gz`).
    Idx(PathBuf),
    /// The folder of the binary CIFAR-10 or CIFAR-100 files.
    CifarBinary(PathBuf),
    /// Data inside the program: `emoji` or `fashion`.
    Embedded(String),
}

impl DataSpec {
    /// Takes the pictures from `path` instead (`--data PATH`), in the same format. Of the old path, all that begins with the first
    /// part that has `{split}` or `*` is kept, unless the new path has such a part too.
    pub fn redirect(&mut self, path: PathBuf) {
        // What the user types is relative to where they are, not to the policy.
        let path = std::path::absolute(&path).unwrap_or(path);
        match self {
            DataSpec::Parquet(place) if path.extension().is_some_and(|extension| extension == "parquet") => *place = path,
            DataSpec::Parquet(place) | DataSpec::Folder(place) => {
                let wild = |part: &std::path::Component<'_>| part.as_os_str().to_string_lossy().contains(['{', '*']);
                // What tells the splits and files apart stays as the policy has it, unless the new path has it too.
                let kept: PathBuf = if path.components().any(|part| wild(&part)) {
                    PathBuf::new()
                } else {
                    place.components().skip_while(|part| !wild(part)).collect()
                };
                *place = if kept.as_os_str().is_empty() { path } else { path.join(kept) };
            }
            DataSpec::Idx(place) | DataSpec::CifarBinary(place) => *place = path,
            // What is inside the program has no place; a folder of classes is what people have at hand.
            DataSpec::Embedded(_) => *self = DataSpec::Folder(path),
        }
    }
}

impl Fingerprint for DataSpec {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Self::Parquet(path) => feed.choice("parquet", path),
            Self::Folder(path) => feed.choice("folder", path),
            Self::Idx(path) => feed.choice("idx", path),
            Self::CifarBinary(path) => feed.choice("cifar_binary", path),
            Self::Embedded(name) => feed.choice("embedded", name),
        }
    }
}

impl std::fmt::Display for DataSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parquet(path) | Self::Folder(path) | Self::Idx(path) | Self::CifarBinary(path) => path.display().fmt(f),
            Self::Embedded(name) => write!(f, "embedded `{name}`"),
        }
    }
}

/// What is done with images that ask to be turned or mirrored, as photographs from telephones do (EXIF or XMP orientation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// They are turned as they ask, as Hugging Face `datasets` does.
    Upright,
    /// They stay as their pixels are stored, as with torchvision's `ImageFolder`.
    Stored,
}

impl DataSpec {
    /// What the usual loader of such data does.
    pub(super) fn usual_orientation(&self) -> Orientation {
        match self {
            Self::Parquet(_) | Self::Embedded(_) => Orientation::Upright,
            Self::Folder(_) | Self::Idx(_) | Self::CifarBinary(_) => Orientation::Stored,
        }
    }
}

fingerprint!(Orientation: Upright = "upright", Stored = "stored");
