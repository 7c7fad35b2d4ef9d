//! Which checkpoint: location, format and digest, without reading its numbers.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::Digest;

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
    /// Digest of its bytes (external data included).
    pub digest: Digest,
    /// Size in bytes.
    pub bytes: u64,
}

impl ModelRef {
    /// The file name, for people.
    pub fn name(&self) -> String {
        Path::new(&self.path).file_name().map_or_else(|| self.path.display().to_string(), |n| n.to_string_lossy().into_owned())
    }
}
