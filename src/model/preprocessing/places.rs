//! Where the files that describe a checkpoint lie, and reading them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::PreprocessingError;

/// Largest configuration file that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// A JSON file in the checkpoint's folder, if it is there; one folder up where the checkpoint lies in `onnx/`, as the hub has it.
pub(in crate::model) fn beside(checkpoint: &Path, name: &str) -> Result<Option<Value>, PreprocessingError> {
    // Whatever has the name is meant: a link to nothing, a folder or a file that may not be read is no missing file.
    let there = |path: &PathBuf| !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    let Some(path) = folders(checkpoint).into_iter().map(|folder| folder.join(name)).find(there) else { return Ok(None) };
    let fail = |reason: String| PreprocessingError::File { path: path.clone(), reason };
    let unreadable = |e: std::io::Error| fail(format!("it says how the checkpoint is meant and cannot be read: {e}"));
    let bytes = crate::store::read(&path, MAX_CONFIG).map_err(unreadable)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| fail(format!("not JSON: {e}")))?;
    if value.is_object() { Ok(Some(value)) } else { Err(fail("not an object of fields".into())) }
}

/// The folders in which a checkpoint is described: its own, that around `onnx/`, and where the checkpoint is a link, that of the file itself.
fn folders(checkpoint: &Path) -> Vec<PathBuf> {
    let own = checkpoint.parent().unwrap_or(Path::new("")).to_owned();
    let absolute = std::path::absolute(checkpoint).unwrap_or_else(|_| checkpoint.to_owned());
    let around = absolute.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "onnx")).and_then(Path::parent);
    let linked = std::fs::symlink_metadata(checkpoint).is_ok_and(|facts| facts.file_type().is_symlink());
    let real = checkpoint.canonicalize().ok().filter(|_| linked).and_then(|real| real.parent().map(Path::to_owned));
    std::iter::once(own).chain(around.map(Path::to_owned)).chain(real).collect()
}

/// What Hugging Face's files say of the image processor, and which file: `processor_config.json` comes first where it holds one.
pub(super) fn processor(checkpoint: &Path) -> Result<Option<(Value, &'static str)>, PreprocessingError> {
    // Under its present name, or that of earlier releases.
    let of_images = |inner: &&Value| {
        inner.is_object() && ["image_mean", "do_normalize", "do_resize", "image_processor_type"].iter().any(|key| inner.get(key).is_some())
    };
    let nested = |value: &Value| {
        let present = value.get("image_processor").filter(|inner| inner.is_object());
        present.or_else(|| value.get("feature_extractor").filter(of_images)).cloned()
    };
    let processor = beside(checkpoint, "processor_config.json")?;
    // Some exporters write the fields themselves into it.
    if let Some(inner) = processor.as_ref().and_then(|whole| nested(whole).or_else(|| Some(whole).filter(of_images).cloned())) {
        return Ok(Some((inner, "processor_config.json")));
    }
    let whole = beside(checkpoint, "preprocessor_config.json")?;
    Ok(whole.map(|whole| (nested(&whole).unwrap_or(whole), "preprocessor_config.json")))
}
