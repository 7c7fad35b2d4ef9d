//! Patches: a filled square or a small picture. The sham has another colour, or its blocks shuffled and hues turned.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::{recolor, shuffle_blocks};
use super::layer::{Layer, Paste};
use super::picture::{decode, faded, full, load, one_of, parse_color, resized, share};
use super::place::Place;
use super::{Family, Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::fingerprint;

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
    /// Share of it where it covers the picture.
    #[serde(default = "full")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

fingerprint!(Patch as "patch" { size: "size", at: "at", color: "color", image: "image", opacity: "opacity" });

pub(super) fn prepare(spec: &Patch, base: &Path, height: usize, width: usize) -> Result<Prepared, TransformError> {
    one_of("patch", ("color", spec.color.is_some()), ("image", spec.image.is_some()))?;
    let side = ((share("size", spec.size)? * height.min(width) as f64).round() as usize).max(1);
    let opacity = share("opacity", spec.opacity)?;
    let spots = spec.at.spots(|| "patch".to_owned(), (side, side), (height, width))?;
    let (family, planes, mut alpha, what, from) = match (&spec.color, &spec.image) {
        (_, Some(image)) => {
            let file = load(base, image)?;
            let (planes, alpha) = resized(&decode(&file)?, side, side);
            (Family::Picture, planes, alpha, file.name(), Some(file.digest()))
        }
        (color, None) => {
            let text = color.as_deref().unwrap_or_default();
            let planes = parse_color("patch", text)?.into_iter().flat_map(|c| vec![c; side * side]).collect();
            (Family::Solid, planes, vec![1.0; side * side], text.to_ascii_lowercase(), None)
        }
    };
    let provenance = format!("patch {side}x{side} {}, {what}{}", spec.at.words(), faded(&mut alpha, opacity));
    Ok(Prepared::new(family, Layer::Paste(Paste { spots, height: side, width: side, planes, alpha }), provenance).with(from))
}

pub(super) fn sham_color(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, _, _| recolor(planes, draw, &mut stream(policy_seed, draw as u64, "sham/color")))
}

pub(super) fn sham_picture(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, height, width| {
        let mut rng = stream(policy_seed, draw as u64, "sham/picture");
        recolor(&shuffle_blocks(planes, height, width, 4, &mut rng), draw, &mut rng)
    })
}
