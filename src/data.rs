//! Labelled pictures from real files, seen through views.
//!
//! Reading is lazy: opening a set reads its index (ids, labels, clusters, attributes), pictures are decoded when
//! asked for. One format, one file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Data inside the program: `emoji`.
    Embedded(String),
}

/// One half of a target task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Pictures that train.
    Train,
    /// Pictures that measure.
    Test,
}

/// What is known of one picture before it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Stable identifier within the set: a path, or `file.parquet:row`.
    pub id: String,
    /// Index into [`Index::classes`].
    pub label: usize,
    /// Pictures of one cluster belong together (two drawings of one thing); equal to `id` where nothing is known.
    pub cluster: String,
    /// Further columns.
    pub attributes: BTreeMap<String, String>,
}

/// The target task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where the pictures are.
    pub data: DataSpec,
    /// Classes used, by name; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2))]
    pub classes: Option<Vec<String>>,
    /// The pictures that train.
    #[serde(default)]
    pub train: ViewSpec,
    /// The pictures that measure.
    #[serde(default)]
    pub test: ViewSpec,
    /// Where the data has no splits: the share of clusters that measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.05, max = 0.95))]
    pub test_share: Option<f64>,
    /// Column or CSV column that says which pictures belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// A CSV file with an `id` column and one column per attribute, joined to the pictures by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<PathBuf>,
    /// Share of broken pictures that is put up with.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub broken: f64,
}

/// Which pictures of a split are used.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewSpec {
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
    /// Take equally many per value of these columns (`label` is the class).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balance: Vec<String>,
}
