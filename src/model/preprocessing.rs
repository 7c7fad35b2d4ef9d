//! What images become before they enter a model, from the files beside a checkpoint.
//!
//! Every field of such a file is honoured, known to change nothing, or refused by name (`fields`): a network that is shown other images than
//! it was trained on answers calmly and wrongly. What the policy says under `input` is not asked of a file.

mod hugging_face;
mod places;
mod processors;
mod timm;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use thiserror::Error;

use super::{ChannelOrder, InputOverride, InputSpec, Overruled, Preprocessing};
use crate::registry::{CONFIG, Configuration};
use crate::transform::geometry::{Filter, Geometry, Resize, Rounding};
pub(super) use places::object;

/// Largest height or width that is believed.
pub(crate) const MAX_SIDE: usize = 4096;

/// What the files beside a checkpoint, or its own metadata, say of its input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Normalisation.
    pub preprocessing: Option<Preprocessing>,
    /// Which colour comes first.
    pub order: Option<ChannelOrder>,
    /// Height and width.
    pub size: Option<[usize; 2]>,
    /// How images are brought to a size.
    pub geometry: Option<FoundGeometry>,
}

/// How images are brought to a size that may not be known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundGeometry {
    /// Which way they are resized, by which filter, with which rounding and filling.
    pub how: Geometry,
    /// What they are resized to before the middle is cut out.
    pub before: Before,
    /// Where this was read.
    pub from: String,
}

/// What images are resized to before the middle is cut out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Before {
    /// The model's size.
    Same,
    /// The model's size divided by this share, rounded down.
    Share(f64),
    /// Height and width in pixels, for a model of the second size.
    Pixels([usize; 2], [usize; 2]),
    /// Height and width in pixels, for a model of the size that it has.
    Exactly([usize; 2]),
}

impl FoundGeometry {
    /// For a model of this size (height, width), and who says so.
    fn at(&self, size: [usize; 2]) -> (Geometry, String) {
        let (before, from) = match self.before {
            Before::Same => (size, self.from.clone()),
            Before::Exactly(before) => (before, self.from.clone()),
            Before::Share(share) => (size.map(|side| (side as f64 / share) as usize), self.from.clone()),
            Before::Pixels(before, of) => {
                let scaled = |i: usize| (before[i] * size[i] + of[i] / 2) / of[i].max(1);
                ([scaled(0), scaled(1)], self.from.clone())
            }
        };
        (Geometry { before_crop: (before != size).then_some(before), ..self.how }, from)
    }
}

/// What one file says, part by part: a part that the policy speaks of itself may be wrong or not understood.
struct Stated {
    normalisation: Result<Option<Normalisation>, String>,
    order: Result<Option<ChannelOrder>, String>,
    size: Result<Option<[usize; 2]>, String>,
    geometry: Result<Option<(Geometry, Before)>, String>,
    /// Whether every field is known.
    fields: Result<(), String>,
    /// What is to be said of the file beside its name.
    note: String,
}

/// Mean and standard deviation of red, green and blue in `0..=1`.
type Normalisation = ([f32; 3], [f32; 3]);

/// Looks in `processor_config.json` and `preprocessor_config.json` (Hugging Face), then `config.json` (timm), then the checkpoint's metadata
/// (`heirloom.mean`, `heirloom.std`, `heirloom.size`). What an earlier one says is not asked of a later one, and what `user` says of none.
pub fn find(configuration: &Configuration, metadata: &BTreeMap<String, String>, user: &InputOverride) -> Result<Found, PreprocessingError> {
    let config = object(configuration, CONFIG)?;
    let model_type = config.as_ref().and_then(|config| config.get("model_type")).and_then(Value::as_str).map(str::to_owned);
    let mut sources: Vec<(Stated, String)> = Vec::new();
    if let Some((value, from)) = places::processor(configuration)? {
        sources.push((hugging_face::read(&value, model_type.as_deref()), from.to_owned()));
    }
    if let Some(value) = &config {
        sources.push((timm::read(value), CONFIG.to_owned()));
    }
    if let Some(value) = own(metadata) {
        let stated = Stated { order: own_order(metadata).map(Some), geometry: own_geometry(metadata), ..timm::plain(&value) };
        sources.push((stated, "the checkpoint's metadata".to_owned()));
    }
    let normalised = user.mean.is_some() && user.std.is_some();
    // Then the policy answers for all that a file might do to an image.
    let answered = normalised && user.geometry.is_some();
    let mut found = Found::default();
    for (stated, from) in sources {
        let wrong = |reason: String| PreprocessingError::Value { from: from.clone(), reason };
        let source = format!("{from}{}", stated.note);
        if !answered {
            stated.fields.map_err(wrong)?;
        }
        let normalisation = if normalised { stated.normalisation.unwrap_or_default() } else { stated.normalisation.map_err(wrong)? };
        let order = match stated.order {
            _ if user.channel_order.is_some() => None,
            Err(_) if answered => None,
            order => order.map_err(wrong)?,
        };
        let size = match stated.size {
            _ if user.size.is_some() => None,
            Err(_) if answered => None,
            size => size.map_err(wrong)?,
        };
        let geometry = if user.geometry.is_some() { stated.geometry.unwrap_or_default() } else { stated.geometry.map_err(wrong)? };
        if let (None, Some((mean, std))) = (&found.preprocessing, normalisation) {
            found.preprocessing = Some(checked(mean, std, order.unwrap_or_default(), &source)?);
        }
        found.order = found.order.or(order);
        if let (None, Some(size)) = (found.size, size) {
            found.size = Some(checked_size(size, &from)?);
        }
        if let (None, Some((how, before))) = (&found.geometry, geometry) {
            found.geometry = Some(FoundGeometry { how, before, from: source });
        }
    }
    Ok(found)
}

/// What the policy's `input` says otherwise than the checkpoint itself, which takes images of this size (height, width).
pub fn overruled(found: &Found, user: &InputOverride, size: [usize; 2]) -> Vec<Overruled> {
    let stated = found.preprocessing.as_ref();
    let order = stated.map(|stated| stated.order).or(found.order);
    let geometry = found.geometry.as_ref().map(|geometry| geometry.at(size).0);
    let all = [
        (Overruled::Normalisation, stated.is_some_and(|stated| renormalised(stated, user))),
        (Overruled::ChannelOrder, user.channel_order.is_some_and(|asked| order.is_some_and(|stated| stated != asked))),
        (Overruled::Geometry, user.geometry.is_some_and(|asked| geometry.is_some_and(|stated| stated != asked))),
    ];
    all.into_iter().filter_map(|(what, otherwise)| otherwise.then_some(what)).collect()
}

/// Whether the policy names another mean or standard deviation.
fn renormalised(stated: &Preprocessing, user: &InputOverride) -> bool {
    let apart = |asked: Option<[f32; 3]>, stated: [f32; 3]| asked.is_some_and(|a| a.iter().zip(stated).any(|(a, b)| (a - b).abs() > 1e-3));
    apart(user.mean, stated.mean) || apart(user.std, stated.std)
}

/// How a word begins on where something comes from that nobody says.
pub(super) const ASSUMED: &str = "assumed";

/// The user's word, else what was found, else ImageNet's mean and standard deviation, marked as assumed.
pub fn settle(found: &Found, user: &InputOverride) -> Result<Preprocessing, PreprocessingError> {
    let assumed = || Preprocessing {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        order: found.order.unwrap_or_default(),
        from: format!("{ASSUMED}: ImageNet's; say otherwise under `input: {{ mean: ..., std: ... }}` in the policy"),
    };
    let base = found.preprocessing.clone().unwrap_or_else(assumed);
    let order = user.channel_order.unwrap_or(base.order);
    let said = match (user.mean, user.std) {
        (None, None) if order == base.order => return Ok(base),
        (None, None) => format!("channel order: the policy's `input`; mean and std: {}", base.from),
        (Some(_), Some(_)) => "the policy's `input`".to_owned(),
        (Some(_), None) => format!("mean: the policy's `input`; std: {}", base.from),
        (None, Some(_)) => format!("std: the policy's `input`; mean: {}", base.from),
    };
    let (mean, std) = (user.mean.unwrap_or(base.mean), user.std.unwrap_or(base.std));
    let stated = found.preprocessing.as_ref();
    let mut others = Vec::new();
    if let Some(stated) = stated.filter(|stated| renormalised(stated, user)) {
        others.push(format!("mean {:?} and std {:?}", stated.mean, stated.std));
    }
    if order != base.order && (stated.is_some() || found.order.is_some()) {
        others.push(format!("{} first", base.order.first()));
    }
    let said = match others.as_slice() {
        [] => said,
        others => format!("{said}; the checkpoint says otherwise: {} ({})", others.join(", "), base.from),
    };
    checked(mean, std, order, &said)
}

/// How images are brought to `size` (height, width): the user's word, else what was found, else the usual, marked as assumed. With it, who says so.
pub fn settle_geometry(found: &Found, user: &InputOverride, size: [usize; 2]) -> (Geometry, String) {
    // A network that takes another size than the file is for: what is resized to keeps its proportion.
    let other = found.size.filter(|said| *said != size).map(|[h, w]| format!(", which is for {h}x{w} pixels")).unwrap_or_default();
    let stated = found.geometry.as_ref().map(|geometry| geometry.at(size)).map(|(geometry, from)| (geometry, format!("{from}{other}")));
    let asked = match (user.geometry, stated) {
        (None, Some(stated)) => return stated,
        (None, None) => return (Geometry::default(), format!("{ASSUMED}; say otherwise under `input: {{ geometry: ... }}` in the policy")),
        (Some(asked), stated) => (asked, stated.filter(|(geometry, _)| *geometry != asked)),
    };
    match asked {
        (asked, None) => (asked, "the policy's `input`".into()),
        (asked, Some((other, from))) => {
            (asked, format!("the policy's `input`; the checkpoint says otherwise: {} ({from})", other.describe(size[0], size[1])))
        }
    }
}

/// Our own metadata in the shape of timm's configuration; text that is no JSON is left for the reader to refuse.
fn own(metadata: &BTreeMap<String, String>) -> Option<Value> {
    let keys = [("heirloom.mean", "mean"), ("heirloom.std", "std"), ("heirloom.size", "input_size")];
    let parse = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let found: serde_json::Map<String, Value> =
        keys.iter().filter_map(|(key, name)| Some(((*name).to_owned(), parse(metadata.get(*key)?)))).collect();
    (!found.is_empty()).then_some(Value::Object(found))
}

/// Which colour comes first, by our own metadata.
pub(super) fn own_order(metadata: &BTreeMap<String, String>) -> Result<ChannelOrder, String> {
    match metadata.get("heirloom.channel_order").map(String::as_str) {
        None | Some("rgb") => Ok(ChannelOrder::Rgb),
        Some("bgr") => Ok(ChannelOrder::Bgr),
        Some(other) => Err(format!("metadata `heirloom.channel_order` is `{other}`: it must be rgb or bgr")),
    }
}

fn own_geometry(metadata: &BTreeMap<String, String>) -> Result<Option<(Geometry, Before)>, String> {
    let Some(text) = metadata.get("heirloom.geometry") else { return Ok(None) };
    let geometry: Geometry = serde_json::from_str(text).map_err(|e| format!("metadata `heirloom.geometry`: {e}"))?;
    let before = match (geometry.before_crop, metadata.get("heirloom.size").and_then(|text| serde_json::from_str(text).ok())) {
        (Some(before), Some(size)) => Before::Pixels(before, size),
        (Some(before), None) => Before::Exactly(before),
        (None, _) => Before::Same,
    };
    Ok(Some((geometry, before)))
}

/// What our writers note of an input: what is known of it and not the usual. What was assumed is assumed again.
pub(super) fn notes(input: &InputSpec) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    if !input.preprocessing.from.starts_with(ASSUMED) {
        notes.extend(normalisation(input));
    }
    if input.preprocessing.order == ChannelOrder::Bgr {
        notes.push(("heirloom.channel_order".to_owned(), "bgr".to_owned()));
    }
    if input.geometry != Geometry::default() {
        // Plain fields under plain names: writing them cannot fail.
        notes.push(("heirloom.geometry".to_owned(), serde_json::to_string(&input.geometry).unwrap_or_default()));
    }
    // What is cut out, and of which size, belongs together.
    if !notes.is_empty() {
        notes.push(("heirloom.size".to_owned(), format!("[{}, {}]", input.height, input.width)));
    }
    notes
}

impl InputSpec {
    /// All of it that metadata can hold, also what was assumed or is usual: of a model that was trained this way it is a fact.
    pub(crate) fn stated(&self) -> Vec<(String, String)> {
        let size = format!("[{}, {}]", self.height, self.width);
        let geometry = serde_json::to_string(&self.geometry).unwrap_or_default();
        let own = [("heirloom.size".to_owned(), size), ("heirloom.geometry".to_owned(), geometry)];
        normalisation(self).into_iter().chain(own).collect()
    }
}

fn normalisation(input: &InputSpec) -> [(String, String); 2] {
    let list = |[red, green, blue]: [f32; 3]| format!("[{red}, {green}, {blue}]");
    let Preprocessing { mean, std, .. } = &input.preprocessing;
    [("heirloom.mean".to_owned(), list(*mean)), ("heirloom.std".to_owned(), list(*std))]
}

/// One number per channel, or one for all.
fn channels(config: &Value, key: &str) -> Result<Option<[f64; 3]>, String> {
    let number = |v: &Value| v.as_f64();
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

/// Refuses numbers under which all images look the same, or none as in training: those of another range of values.
pub(super) fn sane((mean, std): ([f64; 3], [f64; 3]), stated: &str) -> Result<Normalisation, String> {
    if mean.iter().any(|v| !(-1.0..=2.0).contains(v)) {
        return Err(format!(
            "{stated}: images of values from 0 to 1 are normalised by a mean of {mean:.3?}, so that all of them look nearly the same; the mean \
             is that of another range, or images are normalised twice"
        ));
    }
    if std.iter().any(|v| *v > 0.0 && *v < 0.003) {
        return Err(format!(
            "{stated}: images of values from 0 to 1 are divided by {std:.5?}, which makes numbers of more than 300; they are not rescaled \
             before, or twice"
        ));
    }
    if std.iter().any(|v| *v > 20.0) {
        return Err(format!(
            "{stated}: images of values from 0 to 1 are divided by {std:.1?}, so that all of them look nearly the same; the standard deviation is \
             that of another range, or images are rescaled twice"
        ));
    }
    Ok((mean.map(|v| v as f32), std.map(|v| v as f32)))
}

fn side(value: &Value) -> Result<usize, String> {
    let side = value.as_u64().and_then(|v| usize::try_from(v).ok());
    side.filter(|side| (1..=2 * MAX_SIDE).contains(side)).ok_or_else(|| format!("the size {value} is not a number of pixels"))
}

fn checked(mean: [f32; 3], std: [f32; 3], order: ChannelOrder, from: &str) -> Result<Preprocessing, PreprocessingError> {
    if mean.iter().any(|v| !v.is_finite()) || std.iter().any(|v| !v.is_finite() || *v <= 0.0) {
        let reason = format!("mean {mean:?} must be finite and std {std:?} above 0");
        return Err(PreprocessingError::Value { from: from.into(), reason });
    }
    Ok(Preprocessing { mean, std, order, from: from.into() })
}

/// Refuses sizes that no image model has.
pub(super) fn checked_size(size: [usize; 2], from: &str) -> Result<[usize; 2], PreprocessingError> {
    if size.iter().all(|side| (1..=MAX_SIDE).contains(side)) {
        return Ok(size);
    }
    Err(PreprocessingError::Value { from: from.into(), reason: format!("a size of {size:?} pixels, each side must be 1 to {MAX_SIDE}") })
}

/// The geometry of a resize with these fields, filling black.
fn geometry(resize: Resize, filter: Filter, rounding: Rounding) -> Geometry {
    Geometry { resize, filter, rounding, ..Geometry::default() }
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
    /// A value that makes no sense, or that is not honoured.
    #[error("{from}: {reason}")]
    Value {
        /// Where it was read.
        from: String,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
