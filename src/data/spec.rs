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
    /// A CSV file with a line for each image: the image's file, and any other columns; `{split}` as above. Files are named from the folder of
    /// the CSV file.
    Csv(PathBuf),
    /// FGVC-Aircraft as it is published: the folder of `images_variant_train.txt` and `images/`, or one above it. Classes are variants.
    Aircraft(PathBuf),
    /// Birdsnap as it is published: the folder of `test_images.txt`, with `download/images/CLASS/...` as its script writes them.
    Birdsnap(PathBuf),
    /// Caltech-101 as it is published: `101_ObjectCategories`, or the folder that holds it. It has no splits.
    Caltech101(PathBuf),
    /// Caltech-256 as it is published: `256_ObjectCategories`, or the folder that holds it. It has no splits.
    Caltech256(PathBuf),
    /// Stanford Cars as it is published: the folder of `cars_train`, `cars_test` and `devkit`.
    Cars(PathBuf),
    /// CelebA as it is published: the folder of `img_align_celeba`, `list_attr_celeba.txt` and `list_eval_partition.txt`. Its classes come from an
    /// attribute: `label: { column: Young }`.
    Celeba(PathBuf),
    /// Oxford Flowers-102 as it is published: the folder of `jpg`, `imagelabels.mat` and `setid.mat`.
    Flowers102(PathBuf),
    /// Food-101 as it is published: the folder of `images` and `meta`.
    Food101(PathBuf),
    /// Oxford-IIIT Pets as they are published: the folder of `images` and `annotations`.
    Pets(PathBuf),
    /// SUN397 as it is published: the folder of `SUN397` and `Partitions`.
    Sun397(PathBuf),
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
