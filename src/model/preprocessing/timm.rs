//! `config.json` of timm: `pretrained_cfg`, and what timm fills in.

use serde_json::Value;

use super::{Before, Normalisation, Stated, channels, geometry, sane, side};
use crate::transform::geometry::{Filter, Geometry, Resize, Rounding};

/// Fields of `pretrained_cfg` that this file reads.
const HONOURED: [&str; 6] = ["crop_mode", "crop_pct", "input_size", "interpolation", "mean", "std"];

/// Fields that say where weights come from, or speak of other sizes, labels and layers by name.
const HARMLESS: [&str; 32] = [
    "architecture",
    "classifier",
    "custom_load",
    "description",
    "file",
    "first_conv",
    "fixed_input_size",
    "hf_hub_filename",
    "hf_hub_id",
    "label_descriptions",
    "label_names",
    "label_offset",
    "labels",
    "license",
    "min_input_size",
    "model_args",
    "notes",
    "num_classes",
    "num_features",
    "origin_url",
    "paper_ids",
    "paper_name",
    "pool_size",
    "source",
    "state_dict",
    "tag",
    "tags",
    "test_crop_pct",
    "test_input_size",
    "test_pool_size",
    "global_pool",
    "url",
];

/// Share of the side that timm cuts out where a configuration names none.
const CROP_PCT: f64 = 0.875;

/// What a configuration of timm says; nothing, where it is none.
pub(super) fn read(config: &Value) -> Stated {
    let ours = config.get("pretrained_cfg").filter(|inner| inner.is_object());
    let flat = config.get("architecture").is_some_and(Value::is_string);
    let settings = match (ours, flat) {
        (Some(inner), _) => inner,
        (None, true) => config,
        // No configuration of a library, but of images: read as timm's are where a field is there, and nothing is passed over.
        (None, false) if of_images(config) => {
            let asked = ["crop_mode", "crop_pct", "interpolation"].iter().any(|key| given(config, key).is_some());
            let geometry = if asked { resized(config).map(Some) } else { Ok(None) };
            return Stated { geometry, fields: fields(config), ..plain(config) };
        }
        (None, false) => return plain(config),
    };
    let silent = !HONOURED.iter().any(|key| given(settings, key).is_some());
    Stated {
        geometry: resized(settings).map(Some),
        fields: fields(settings),
        normalisation: numbers(settings).map(Some),
        note: if silent { ", timm's own values: the file says none".to_owned() } else { String::new() },
        ..plain(settings)
    }
}

/// Whether a file of neither library says how images are normalised. What else such a file of Transformers holds is another reader's.
fn of_images(config: &Value) -> bool {
    let has = |key: &str| config.get(key).is_some_and(|value| !value.is_null());
    (has("mean") || has("std")) && !has("model_type") && !has("architectures")
}

/// Mean, standard deviation and size alone.
pub(super) fn plain(config: &Value) -> Stated {
    let normalisation = || {
        let stated = channels(config, "mean")?.zip(channels(config, "std")?);
        stated.map(|(mean, std)| sane((mean, std), &format!("`mean` {mean:?}, `std` {std:?}"))).transpose()
    };
    Stated { normalisation: normalisation(), order: Ok(None), size: size(config), geometry: Ok(None), fields: Ok(()), note: String::new() }
}

/// A field that is there, neither null nor empty nor zero: what timm takes its own value for.
fn given<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    config.get(key).filter(|value| !matches!(value, Value::Null) && value.as_f64() != Some(0.0) && value.as_str() != Some(""))
}

fn numbers(config: &Value) -> Result<Normalisation, String> {
    let (mean, std) = (channels(config, "mean")?, channels(config, "std")?);
    let (mean, std) = (mean.unwrap_or([0.485, 0.456, 0.406]), std.unwrap_or([0.229, 0.224, 0.225]));
    sane((mean, std), &format!("`mean` {mean:?}, `std` {std:?}"))
}

fn size(config: &Value) -> Result<Option<[usize; 2]>, String> {
    match config.get("input_size") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(parts)) => match parts.as_slice() {
            [_, h, w] | [h, w] => Ok(Some([side(h)?, side(w)?])),
            _ => Err("input_size is not [channels, height, width]".into()),
        },
        Some(other) => Err(format!("input_size is {other}")),
    }
}

/// timm's transforms for evaluation.
fn resized(config: &Value) -> Result<(Geometry, Before), String> {
    let share = match given(config, "crop_pct") {
        None => CROP_PCT,
        Some(value) => {
            let share = value.as_f64().filter(|share| (0.01..=100.0).contains(share));
            share.ok_or_else(|| format!("`crop_pct` is {value}: it must be a share above 0"))?
        }
    };
    let filter = match given(config, "interpolation").map(|value| value.as_str().unwrap_or("no text")) {
        None | Some("bicubic") => Filter::Bicubic,
        Some("bilinear") => Filter::Bilinear,
        Some("nearest") => Filter::Nearest,
        Some("box") => Filter::Box,
        Some("hamming") => Filter::Hamming,
        Some("lanczos") => Filter::Lanczos,
        Some(other) => return Err(format!("`interpolation` is `{other}`: it must be one of Pillow's filters")),
    };
    let (resize, fill) = match given(config, "crop_mode").map(|value| value.as_str().unwrap_or("no text")) {
        None | Some("center") => (Resize::ShortestEdge, [0; 3]),
        Some("squash") => (Resize::Squash, [0; 3]),
        Some("border") => (Resize::LongestEdge, numbers(config)?.0.map(|mean| (255.0 * mean).round_ties_even() as u8)),
        Some(other) => return Err(format!("`crop_mode` is `{other}`: center, squash and border are known")),
    };
    Ok((Geometry { fill, ..geometry(resize, filter, Rounding::Timm) }, Before::Share(share)))
}

/// Every field is read or known to change no image.
fn fields(config: &Value) -> Result<(), String> {
    let all = config.as_object().into_iter().flatten();
    let known = |key: &str| HONOURED.contains(&key) || HARMLESS.contains(&key);
    match all.into_iter().find(|(key, value)| !known(key) && !value.is_null()) {
        None => Ok(()),
        Some((key, value)) => Err(format!("`{key}` is {value}: what that does to images is not known here")),
    }
}
