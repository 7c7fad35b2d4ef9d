//! What pictures become before they enter a model, from the files beside a checkpoint.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::{InputOverride, Preprocessing};

/// Largest configuration file that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// Largest height or width that is believed.
pub(super) const MAX_SIDE: usize = 4096;

/// What the files beside a checkpoint, or its own metadata, say of its input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Normalisation.
    pub preprocessing: Option<Preprocessing>,
    /// Height and width.
    pub size: Option<[usize; 2]>,
}

/// Looks in `preprocessor_config.json` (Hugging Face), then `config.json` (timm), then the checkpoint's metadata
/// (`heirloom.mean`, `heirloom.std`, `heirloom.size`). What an earlier one says is not asked of a later one.
pub fn find(checkpoint: &Path, metadata: &BTreeMap<String, String>) -> Result<Found, PreprocessingError> {
    let mut found = Found::default();
    let sources = [
        (beside(checkpoint, "preprocessor_config.json")?, hugging_face as Reader, "preprocessor_config.json"),
        (beside(checkpoint, "config.json")?, timm as Reader, "config.json"),
        (own(metadata), timm as Reader, "the checkpoint's metadata"),
    ];
    for (value, reader, from) in sources {
        let Some(value) = value else { continue };
        let (normalisation, size) = reader(&value).map_err(|reason| PreprocessingError::Value { from: from.into(), reason })?;
        if found.preprocessing.is_none()
            && let Some((mean, std)) = normalisation
        {
            found.preprocessing = Some(checked(mean, std, from)?);
        }
        if found.size.is_none()
            && let Some(size) = size
        {
            found.size = Some(checked_size(size, from)?);
        }
    }
    Ok(found)
}

/// How [`Preprocessing::from`] begins to say that the checkpoint's own word is another.
pub const CONTRADICTS: &str = "the checkpoint says otherwise:";

/// The user's word, else what was found, else ImageNet's mean and standard deviation, marked as assumed.
pub fn settle(found: Option<Preprocessing>, user: &InputOverride) -> Result<Preprocessing, PreprocessingError> {
    let base = found.unwrap_or_else(|| Preprocessing {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        from: "assumed: ImageNet mean and std (say otherwise under `input:` in the policy)".into(),
    });
    let said = match (user.mean, user.std) {
        (None, None) => return Ok(base),
        (Some(_), Some(_)) => "the policy's `input`".to_owned(),
        (Some(_), None) => format!("mean: the policy's `input`; std: {}", base.from),
        (None, Some(_)) => format!("std: the policy's `input`; mean: {}", base.from),
    };
    let (mean, std) = (user.mean.unwrap_or(base.mean), user.std.unwrap_or(base.std));
    let apart = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-3);
    let known = !base.from.starts_with("assumed");
    let said = if known && (apart(mean, base.mean) || apart(std, base.std)) {
        format!("{said}; {CONTRADICTS} mean {:?} and std {:?} ({})", base.mean, base.std, base.from)
    } else {
        said
    };
    checked(mean, std, &said)
}

/// A JSON file in the same folder, if it is there.
pub(super) fn beside(checkpoint: &Path, name: &str) -> Result<Option<Value>, PreprocessingError> {
    let path = checkpoint.with_file_name(name);
    if !path.is_file() {
        return Ok(None);
    }
    let fail = |reason: String| PreprocessingError::File { path: path.clone(), reason };
    let mut text = String::new();
    let file = std::fs::File::open(&path).map_err(|e| fail(e.to_string()))?;
    file.take(MAX_CONFIG + 1).read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
    if text.len() as u64 > MAX_CONFIG {
        return Err(fail(format!("more than {MAX_CONFIG} bytes")));
    }
    serde_json::from_str(&text).map(Some).map_err(|e| fail(format!("not JSON: {e}")))
}

type Normalisation = ([f32; 3], [f32; 3]);
type Reader = fn(&Value) -> Result<(Option<Normalisation>, Option<[usize; 2]>), String>;

fn hugging_face(config: &Value) -> Result<(Option<Normalisation>, Option<[usize; 2]>), String> {
    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    // Pixels of 0 to 255 are multiplied by the factor, then normalised.
    let factor = match (flag("do_rescale"), config.get("rescale_factor").and_then(Value::as_f64)) {
        (Some(false), _) => 1.0,
        (_, Some(factor)) if factor > 0.0 && factor.is_finite() => factor,
        (_, Some(factor)) => return Err(format!("rescale_factor is {factor}")),
        (_, None) => 1.0 / 255.0,
    };
    let unit = (255.0 * factor) as f32;
    let stated = channels(config, "image_mean")?.zip(channels(config, "image_std")?);
    let normalisation = match (flag("do_normalize"), stated) {
        (Some(false), _) => Some(([0.0; 3], [1.0; 3])),
        (_, stated) => stated,
    };
    // 255 * factor is 1 up to rounding in the usual case; dividing by it would only blur the stated numbers.
    let scale = |values: [f32; 3]| if (unit - 1.0).abs() < 1e-4 { values } else { values.map(|v| v / unit) };
    let crop = if flag("do_center_crop") == Some(false) { None } else { config.get("crop_size") };
    let size = match crop.filter(|v| !v.is_null()).or_else(|| config.get("size")) {
        None | Some(Value::Null) => None,
        Some(value) => Some(side_lengths(value)?),
    };
    Ok((normalisation.map(|(mean, std)| (scale(mean), scale(std))), size))
}

fn timm(config: &Value) -> Result<(Option<Normalisation>, Option<[usize; 2]>), String> {
    let config = config.get("pretrained_cfg").unwrap_or(config);
    let normalisation = channels(config, "mean")?.zip(channels(config, "std")?);
    let size = match config.get("input_size") {
        None | Some(Value::Null) => None,
        Some(Value::Array(parts)) => match parts.as_slice() {
            [_, h, w] | [h, w] => Some([side(h)?, side(w)?]),
            _ => return Err("input_size is not [channels, height, width]".into()),
        },
        Some(other) => return Err(format!("input_size is {other}")),
    };
    Ok((normalisation, size))
}

/// Our own metadata in the shape of timm's configuration; text that is no JSON is left for the reader to refuse.
fn own(metadata: &BTreeMap<String, String>) -> Option<Value> {
    let keys = [("heirloom.mean", "mean"), ("heirloom.std", "std"), ("heirloom.size", "input_size")];
    let parse = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let found: serde_json::Map<String, Value> =
        keys.iter().filter_map(|(key, name)| Some(((*name).to_owned(), parse(metadata.get(*key)?)))).collect();
    (!found.is_empty()).then_some(Value::Object(found))
}

fn channels(config: &Value, key: &str) -> Result<Option<[f32; 3]>, String> {
    let number = |v: &Value| v.as_f64().map(|v| v as f32);
    let bad = || format!("{key} must be one number per channel");
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(parts)) => match parts.as_slice() {
            [a, b, c] => Ok(Some([number(a).ok_or_else(bad)?, number(b).ok_or_else(bad)?, number(c).ok_or_else(bad)?])),
            [one] => Ok(Some([number(one).ok_or_else(bad)?; 3])),
            _ => Err(bad()),
        },
        Some(one) => Ok(Some([number(one).ok_or_else(bad)?; 3])),
    }
}

fn side_lengths(value: &Value) -> Result<[usize; 2], String> {
    match (value.get("height"), value.get("width"), value.get("shortest_edge")) {
        (Some(h), Some(w), _) => Ok([side(h)?, side(w)?]),
        (_, _, Some(edge)) => Ok([side(edge)?; 2]),
        _ => Ok([side(value)?; 2]),
    }
}

fn side(value: &Value) -> Result<usize, String> {
    value.as_u64().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| format!("the size {value} is not a number of pixels"))
}

fn checked(mean: [f32; 3], std: [f32; 3], from: &str) -> Result<Preprocessing, PreprocessingError> {
    if mean.iter().any(|v| !v.is_finite()) || std.iter().any(|v| !v.is_finite() || *v <= 0.0) {
        let reason = format!("mean {mean:?} must be finite and std {std:?} above 0");
        return Err(PreprocessingError::Value { from: from.into(), reason });
    }
    Ok(Preprocessing { mean, std, from: from.into() })
}

/// Refuses sizes that no picture model has.
pub(super) fn checked_size(size: [usize; 2], from: &str) -> Result<[usize; 2], PreprocessingError> {
    if size.iter().all(|side| (1..=MAX_SIDE).contains(side)) {
        return Ok(size);
    }
    Err(PreprocessingError::Value { from: from.into(), reason: format!("a size of {size:?} pixels, each side must be 1 to {MAX_SIDE}") })
}

/// Why the input cannot be described.
#[derive(Debug, Error)]
pub enum PreprocessingError {
    /// A file beside the checkpoint cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{from}: {reason}")]
    Value {
        /// Where it was read.
        from: String,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside_a_model(files: &[(&str, &str)], metadata: &[(&str, &str)]) -> Result<Found, PreprocessingError> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        find(&folder.path().join("model.safetensors"), &metadata)
    }

    #[test]
    fn hugging_face_comes_before_timm_and_metadata() {
        let hf = r#"{"image_mean":[0.5,0.5,0.5],"image_std":[0.2,0.2,0.2],"size":{"shortest_edge":224},"crop_size":null}"#;
        let timm = r#"{"pretrained_cfg":{"mean":[0.1,0.1,0.1],"std":[0.3,0.3,0.3],"input_size":[3,288,256]}}"#;
        let own = [("heirloom.mean", "[0.4,0.4,0.4]"), ("heirloom.std", "[1,1,1]"), ("heirloom.size", "[32,48]")];
        let all = beside_a_model(&[("preprocessor_config.json", hf), ("config.json", timm)], &own).expect("read");
        assert_eq!((all.preprocessing.map(|p| p.mean), all.size), (Some([0.5; 3]), Some([224, 224])));
        let two = beside_a_model(&[("config.json", timm)], &own).expect("read");
        assert_eq!((two.preprocessing.map(|p| p.std), two.size), (Some([0.3; 3]), Some([288, 256])));
        let one = beside_a_model(&[], &own).expect("read");
        assert_eq!((one.preprocessing.map(|p| p.mean), one.size), (Some([0.4; 3]), Some([32, 48])));
        assert_eq!(beside_a_model(&[], &[]).expect("read"), Found::default());
    }

    #[test]
    fn a_rescale_factor_other_than_1_over_255_is_undone() {
        let hf = r#"{"image_mean":[127.0,127.0,127.0],"image_std":[128.0,128.0,128.0],"do_rescale":false}"#;
        let found = beside_a_model(&[("preprocessor_config.json", hf)], &[]).expect("read").preprocessing.expect("stated");
        assert_eq!((found.mean, found.std), ([127.0 / 255.0; 3], [128.0 / 255.0; 3]));
    }

    #[test]
    fn senseless_values_are_refused() {
        for text in [
            r#"{"image_mean":[0,0,0],"image_std":[0,1,1]}"#,
            r#"{"image_mean":"x","image_std":[1,1,1]}"#,
            r#"{"size":{"height":-1,"width":3}}"#,
            r#"{"size":99999}"#,
            r#"{"rescale_factor":0}"#,
            "{",
        ] {
            assert!(beside_a_model(&[("preprocessor_config.json", text)], &[]).is_err(), "{text}");
        }
        assert!(beside_a_model(&[], &[("heirloom.mean", "[1,"), ("heirloom.std", "[1,1,1]")]).is_err());
    }

    #[test]
    fn the_policy_wins_and_assumptions_are_marked() {
        assert!(settle(None, &InputOverride::default()).expect("settled").from.starts_with("assumed"));
        let user = InputOverride { mean: Some([0.0; 3]), ..InputOverride::default() };
        let settled = settle(None, &user).expect("settled");
        assert_eq!(Some(settled.mean), user.mean);
        assert!(settled.from.contains("std: assumed"));
        // Where both speak and differ, the policy's word counts and the other is told.
        let file = Preprocessing { mean: [0.5; 3], std: [0.25; 3], from: "config.json".into() };
        let settled = settle(Some(file.clone()), &user).expect("settled");
        assert_eq!(Some(settled.mean), user.mean);
        assert!(settled.from.contains(CONTRADICTS) && settled.from.contains("config.json"), "{settled:?}");
        let same = InputOverride { mean: Some([0.5; 3]), ..InputOverride::default() };
        assert!(!settle(Some(file), &same).expect("settled").from.contains(CONTRADICTS));
        let zero = InputOverride { std: Some([0.0; 3]), ..InputOverride::default() };
        assert!(settle(None, &zero).is_err());
    }
}
