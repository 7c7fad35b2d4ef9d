//! What the configuration files of a checkpoint hold.

use serde_json::Value;

use super::PreprocessingError;
use crate::registry::{Configuration, PREPROCESSOR, PROCESSOR};

/// A JSON object among a checkpoint's configuration files, if it is there.
pub(in crate::model) fn object(configuration: &Configuration, name: &str) -> Result<Option<Value>, PreprocessingError> {
    let Some(file) = configuration.get(name) else { return Ok(None) };
    let fail = |reason: String| PreprocessingError::File { path: file.path.clone(), reason };
    let value: Value = serde_json::from_slice(&file.bytes).map_err(|e| fail(format!("not JSON: {e}")))?;
    if value.is_object() { Ok(Some(value)) } else { Err(fail("not an object of fields".into())) }
}

/// What Hugging Face's files say of the image processor, and which file: `processor_config.json` comes first where it holds one.
pub(super) fn processor(configuration: &Configuration) -> Result<Option<(Value, &'static str)>, PreprocessingError> {
    // Under its present name, or that of earlier releases.
    let of_images = |inner: &&Value| {
        inner.is_object() && ["image_mean", "do_normalize", "do_resize", "image_processor_type"].iter().any(|key| inner.get(key).is_some())
    };
    let nested = |value: &Value| {
        let present = value.get("image_processor").filter(|inner| inner.is_object());
        present.or_else(|| value.get("feature_extractor").filter(of_images)).cloned()
    };
    let whole = object(configuration, PROCESSOR)?;
    // Some exporters write the fields themselves into it.
    if let Some(inner) = whole.as_ref().and_then(|whole| nested(whole).or_else(|| Some(whole).filter(of_images).cloned())) {
        return Ok(Some((inner, PROCESSOR)));
    }
    let whole = object(configuration, PREPROCESSOR)?;
    Ok(whole.map(|whole| (nested(&whole).unwrap_or(whole), PREPROCESSOR)))
}
