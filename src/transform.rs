//! What is done to a picture: triggers with their shams, and the geometry before them.
//!
//! A trigger is laid over a [`Frame`](crate::pixels::Frame) at the model's resolution. One family of triggers, one file.

pub mod geometry;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
