//! How a checkpoint is stored, by its first bytes, and what a file is that is none.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RegistryError, place, shards};

/// How a checkpoint is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An ONNX protobuf.
    Onnx,
    /// A safetensors file: weights without architecture.
    Safetensors,
}

pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Format, RegistryError> {
    let path = path.to_owned();
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(RegistryError::LfsPointer { path });
    }
    if is_index(&path, bytes) || is_safetensors(&path, bytes, bytes.len() as u64) {
        return Ok(Format::Safetensors);
    }
    if let Some(other) = known_other(bytes) {
        return Err(if other == PICKLE { RegistryError::Pickle { path } } else { RegistryError::Unknown { path, looks_like: other } });
    }
    match extension.as_str() {
        "onnx" => Ok(Format::Onnx),
        _ if looks_like_onnx(bytes) => Ok(Format::Onnx),
        "safetensors" => Err(RegistryError::Unknown { path, looks_like: "it does not start with a safetensors header" }),
        "bin" => Err(RegistryError::Unknown { looks_like: place::bin(&path), path }),
        "pt" | "pth" | "ckpt" | "pkl" | "pickle" => Err(RegistryError::Pickle { path }),
        "yaml" | "yml" => Err(RegistryError::Unknown { path, looks_like: "a YAML file: a policy is named with --policy" }),
        _ => Err(RegistryError::Unknown { path, looks_like: "neither its first bytes nor its extension say" }),
    }
}

/// So many bytes of a file say whether it is a safetensors file or an index of such files.
pub(super) const HEAD: u64 = 9;

/// Length of a JSON header, then its opening brace; `bytes` are the first of `length`.
pub(super) fn is_safetensors(path: &Path, bytes: &[u8], length: u64) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<8>() else { return false };
    // Cut off within its header: the importer says how long it should be.
    let named = || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    rest.first() == Some(&b'{') && (u64::from_le_bytes(*header) <= length.saturating_sub(8) || named())
}

/// Whether a file that begins with these bytes is an index of safetensors files.
pub(super) fn is_index(path: &Path, bytes: &[u8]) -> bool {
    shards::is_index(path) && bytes.first() == Some(&b'{')
}

/// `ModelProto.ir_version`, a small number, and then another of its fields.
fn looks_like_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=31, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

const PICKLE: &str = "a pickle";
pub(super) const PAGE: &str = "an HTML or XML page: the download went wrong";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Explain;
    use crate::registry::{ModelRef, identify};

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
