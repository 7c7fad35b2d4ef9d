//! Checkpoints in several safetensors files with an index (`model.safetensors.index.json`). All of them are part of the digest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::external_data::{ExternalData, inside};
use super::{MAX_BYTES, RegistryError, read_at_most};

/// Largest index that is read, in bytes: about 100,000 tensors.
const MAX_INDEX: usize = 16 << 20;

/// Most files of one checkpoint.
const MOST_SHARDS: usize = 1_000;

const END: &str = ".safetensors.index.json";

/// An index: which file holds which tensor.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Index {
    /// The name of the file beside the index that holds a tensor, by the tensor's name.
    pub weight_map: BTreeMap<String, String>,
}

impl Index {
    /// The index that these bytes are; `None` where they are none.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&b'{') || bytes.len() > MAX_INDEX { None } else { serde_json::from_slice(bytes).ok() }
    }

    /// The index at `path`.
    pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Self, RegistryError> {
        let reason = || format!("it is no index of at most {MAX_INDEX} bytes with a `weight_map` from tensors to files");
        Self::of(bytes).ok_or_else(|| RegistryError::Index { path: path.to_owned(), reason: reason() })
    }
}

/// Whether a file is called as an index is.
pub(super) fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(END))
}

/// Of a file called `NAME-00001-of-00003.safetensors`, the name of its index, if that lies beside it.
pub(crate) fn index_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let (rest, of) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let index = format!("{stem}{END}");
    (digits(of) && digits(part) && path.with_file_name(&index).is_file()).then_some(index)
}

/// Reads the files that the index `bytes` at `path` names; none, where it is no index.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<ExternalData, RegistryError> {
    if !is_index(path) {
        return Ok(ExternalData::new());
    }
    let mut left = MAX_BYTES.saturating_sub(bytes.len() as u64);
    let mut external = ExternalData::new();
    for (name, file) in files(path, &Index::read(path, bytes)?)? {
        let content = read_at_most(&file, left)?;
        left -= content.len() as u64;
        external.insert(name, content);
    }
    Ok(external)
}

/// The files that the index at `path` names, each with its path, in the order of their names.
pub(super) fn files(path: &Path, index: &Index) -> Result<Vec<(String, PathBuf)>, RegistryError> {
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    if names.is_empty() || names.len() > MOST_SHARDS {
        let reason = format!("it names {} files; 1 to {MOST_SHARDS} are read", names.len());
        return Err(RegistryError::Index { path: path.to_owned(), reason });
    }
    let file = |name: &String| {
        let fail = |reason| RegistryError::ExternalData { path: path.to_owned(), location: name.clone(), reason };
        Ok((name.clone(), inside(path.parent().unwrap_or(Path::new("")), name).map_err(fail)?))
    };
    names.into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Explain;
    use crate::registry::{Format, contents, identify};

    fn folder(index: &str, shards: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).expect("written");
        for name in shards {
            std::fs::write(folder.path().join(name), name.as_bytes()).expect("written");
        }
        folder
    }

    const INDEX: &str = r#"{"metadata": {"total_size": 8}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

    #[test]
    fn every_part_is_part_of_the_identity() {
        let folder = folder(INDEX, &SHARDS);
        let before = identify(folder.path()).expect("identified");
        assert!(before.format == Format::Safetensors && before.path.ends_with("model.safetensors.index.json"));
        assert_eq!(contents(&before).expect("read").external.len(), 2);
        std::fs::write(folder.path().join(SHARDS[1]), b"other").expect("written");
        assert_ne!(identify(folder.path()).expect("identified").digest, before.digest);
        let part = identify(&folder.path().join(SHARDS[0])).expect_err("a part");
        assert!(matches!(&part, RegistryError::Shard { index, .. } if index == "model.safetensors.index.json"), "{part}");
    }

    #[test]
    fn an_index_that_cannot_be_followed_is_refused() {
        for (index, wanted) in [
            ("{}", "weight_map"),
            (r#"{"weight_map": []}"#, "weight_map"),
            (r#"{"weight_map": {}}"#, "0 files"),
            (r#"{"weight_map": {"a": "../model.safetensors"}}"#, "out of the model's folder"),
            (r#"{"weight_map": {"a": "absent.safetensors"}}"#, "absent.safetensors"),
        ] {
            let folder = folder(index, &SHARDS);
            let error = identify(folder.path()).expect_err(index);
            assert!(error.to_string().contains(wanted) && error.hint().is_some(), "{error}");
        }
    }
}
