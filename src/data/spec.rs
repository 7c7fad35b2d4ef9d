//! Where the images of a target task are, and which way up they are shown.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::fingerprint;

/// Where labelled images come from. Relative paths are relative to the policy's folder.
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
    /// Tar files of samples, as the Python package `webdataset` writes and reads them; `{split}` and `*` as above.
    Webdataset(PathBuf),
    /// Data inside the program: `emoji` or `fashion`.
    Embedded(String),
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

fingerprint!(Orientation: Upright = "upright", Stored = "stored");
