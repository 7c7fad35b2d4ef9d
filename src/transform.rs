//! What is done to a picture: triggers with their shams, and the geometry before them.
//!
//! A trigger is laid over a [`Frame`] at the model's resolution. One family of triggers, one file:
//! what it prepares, and its sham (the same mask, place and energy under another identity).

pub mod geometry;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pixels::Frame;
use crate::store::Digest;
use layer::Layer;

pub use feature::Feature;

mod blend;
mod feature;
mod identity;
mod layer;
mod overlay;
mod patch;
mod pattern;
mod picture;

/// How many shams every trigger is compared with.
pub const SHAM_DRAWS: usize = 8;

/// A change laid over every test picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// A filled rectangle or a small picture.
    Patch(Patch),
    /// A pattern of the picture's size, added to it.
    Pattern(Pattern),
    /// Another picture mixed in: `(1 - opacity) * x + opacity * other`.
    Blend(Blend),
    /// A picture with transparency laid on top (the paper's hat).
    Overlay(Overlay),
    /// A picture as large as the frame, laid over where its mask shows it.
    Feature(Feature),
}

impl Trigger {
    /// The same with another value of a field; none where it has no such field.
    pub fn swept(&self, field: &str, value: f64) -> Option<Self> {
        match (self, field) {
            (Trigger::Patch(spec), "size") => Some(Trigger::Patch(Patch { size: value, ..spec.clone() })),
            (Trigger::Overlay(spec), "size") => Some(Trigger::Overlay(Overlay { size: value, ..spec.clone() })),
            (Trigger::Blend(spec), "opacity") => Some(Trigger::Blend(Blend { opacity: value, ..spec.clone() })),
            (Trigger::Feature(spec), "opacity") => Some(Trigger::Feature(Feature { opacity: value, ..spec.clone() })),
            (Trigger::Pattern(spec), "amplitude") => Some(Trigger::Pattern(Pattern { amplitude: value, ..spec.clone() })),
            _ => None,
        }
    }

    /// Whether it changes the whole picture in a way that innocent networks may dislike as much as planted ones.
    pub fn covers_picture(&self) -> bool {
        false
    }
}

/// Where a patch or overlay goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Flush with the upper left corner.
    #[default]
    TopLeft,
    /// Flush with the upper right corner.
    TopRight,
    /// Flush with the lower left corner.
    BottomLeft,
    /// Flush with the lower right corner.
    BottomRight,
    /// In the middle.
    Center,
}

/// A filled square (the paper's yellow square is `size: 0.25, at: top_left, color: "#ffff00"`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Side as a share of the picture's shorter side.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub size: f64,
    /// Where.
    #[serde(default)]
    pub at: Place,
    /// Fill colour, `#rrggbb`. Give this or `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^#[0-9a-fA-F]{6}$"))]
    pub color: Option<String>,
    /// A picture to fill it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
}

/// A fixed pattern added to the picture (values in `0..=1`, the sum clipped).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Seed of a Gaussian pattern, drawn once per policy. Give this or `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// A `.npy` array `[H, W, 3]` or `[3, H, W]` in units of the picture's range (0 to 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Standard deviation of the Gaussian, or factor on the file.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub amplitude: f64,
}

/// Another picture mixed into every picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// The picture. Give this or `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// Seed of a uniform random picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Share of the other picture.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

/// A picture with an alpha channel laid over every picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// A PNG or WebP with transparency.
    pub image: PathBuf,
    /// Width as a share of the picture's width.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub size: f64,
    /// Where.
    #[serde(default)]
    pub at: Place,
}

/// A trigger at one resolution, ready to be laid over frames: files read, sizes in pixels, random patterns drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedTrigger {
    family: Family,
    layer: Layer,
    height: usize,
    width: usize,
    provenance: String,
}

/// What of a trigger is its identity, and so what a sham draws anew.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    /// One colour.
    Solid,
    /// A small picture.
    Picture,
    /// A Gaussian of this seed and standard deviation.
    Gaussian { seed: u64, amplitude: f64 },
    /// An added array from a file.
    Array,
    /// A uniform random picture of this seed.
    Uniform { seed: u64 },
    /// A whole picture.
    Whole,
    /// A picture with transparency.
    Cutout,
}

impl PreparedTrigger {
    /// Reads and sizes a trigger for frames of `height` x `width` pixels; relative paths are taken from `base`.
    pub fn new(trigger: &Trigger, base: &Path, height: usize, width: usize) -> Result<Self, TransformError> {
        if height == 0 || width == 0 {
            return Err(TransformError::Empty { height, width });
        }
        let (family, layer, provenance) = match trigger {
            Trigger::Patch(spec) => patch::prepare(spec, base, height, width)?,
            Trigger::Pattern(spec) => pattern::prepare(spec, base, height, width)?,
            Trigger::Blend(spec) => blend::prepare(spec, base, height, width)?,
            Trigger::Overlay(spec) => overlay::prepare(spec, base, height, width)?,
            Trigger::Feature(spec) => feature::prepare(spec, base, height, width)?,
        };
        Ok(Self { family, layer, height, width, provenance })
    }

    /// Lays the trigger over a frame; the result stays in `0..=1`.
    ///
    /// A frame of another size than the trigger was prepared for is left as it is where the trigger does not reach.
    pub fn apply(&self, frame: &mut Frame) {
        debug_assert_eq!((frame.height, frame.width), (self.height, self.width), "prepared for another resolution");
        self.layer.apply(frame);
    }

    /// The control of the same family: mask, place and energy kept, identity drawn anew.
    ///
    /// `draw` counts from 0 (to [`SHAM_DRAWS`]); the same policy seed and draw give the same sham for every model.
    #[must_use]
    pub fn sham(&self, draw: usize, policy_seed: u64) -> Self {
        let layer = match self.family {
            Family::Solid => patch::sham_color(&self.layer, draw, policy_seed),
            Family::Picture => patch::sham_picture(&self.layer, draw, policy_seed),
            Family::Gaussian { seed, amplitude } => pattern::sham_gaussian(&self.layer, draw, policy_seed, seed, amplitude),
            Family::Array => pattern::sham_array(&self.layer, draw, policy_seed),
            Family::Uniform { seed } => blend::sham_uniform(&self.layer, draw, policy_seed, seed),
            Family::Whole => blend::sham_picture(&self.layer, draw, policy_seed),
            Family::Cutout => overlay::sham(&self.layer, draw, policy_seed),
        };
        Self { layer, provenance: format!("sham {draw} of {}", self.provenance), ..self.clone() }
    }

    /// The digest of all that it lays over a frame.
    pub fn digest(&self) -> Digest {
        Digest::of(format!("{self:?}").as_bytes())
    }

    /// What it is, in one line: sizes in pixels, colour, seed or file with its digest.
    pub fn provenance(&self) -> &str {
        &self.provenance
    }
}

impl Place {
    /// Upper left corner `(top, left)` of a box of `inner` = (height, width) in a frame of `outer`.
    fn corner(self, inner: (usize, usize), outer: (usize, usize)) -> (usize, usize) {
        let (bottom, right) = (outer.0.saturating_sub(inner.0), outer.1.saturating_sub(inner.1));
        match self {
            Place::TopLeft => (0, 0),
            Place::TopRight => (0, right),
            Place::BottomLeft => (bottom, 0),
            Place::BottomRight => (bottom, right),
            Place::Center => (bottom / 2, right / 2),
        }
    }

    /// For people.
    fn words(self) -> &'static str {
        match self {
            Place::TopLeft => "top left",
            Place::TopRight => "top right",
            Place::BottomLeft => "bottom left",
            Place::BottomRight => "bottom right",
            Place::Center => "center",
        }
    }
}

/// Why a trigger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// No pixels to put it on.
    #[error("the model's input is {height}x{width} pixels: there is nothing to lay a trigger over")]
    Empty {
        /// Pixels down.
        height: usize,
        /// Pixels across.
        width: usize,
    },
    /// A number outside its range.
    #[error("trigger: `{field}` is {value}, it must be {range}")]
    Range {
        /// The field of the policy.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is accepted.
        range: &'static str,
    },
    /// Two fields of which exactly one is needed.
    #[error("{family} trigger: give exactly one of `{one}` and `{other}`, {given}")]
    Choice {
        /// Family of the trigger.
        family: &'static str,
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// Not a colour.
    #[error("patch trigger: `color` is \"{0}\", it must look like \"#ffff00\"")]
    Color(String),
    /// Does not fit.
    #[error(
        "trigger: {what} is {height}x{width} pixels and does not fit the model's input of {outer_height}x{outer_width}; make `size` smaller"
    )]
    TooLarge {
        /// What it is.
        what: String,
        /// Its pixels down.
        height: usize,
        /// Its pixels across.
        width: usize,
        /// The model's pixels down.
        outer_height: usize,
        /// The model's pixels across.
        outer_width: usize,
    },
    /// A file that cannot be read.
    #[error("trigger file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is read but not understood.
    #[error("trigger file {path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
