//! Overlays: a picture with transparency (the paper's hat). The sham keeps the outline; hues are turned and the
//! opaque pixels moved on along the rows.

use std::path::{Path, PathBuf};

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::{gather, recolor};
use super::layer::{Layer, Paste};
use super::picture::{decode, faded, full, load, resized, share};
use super::place::Place;
use super::{Family, Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::fingerprint;

/// Alpha from which a pixel counts as visible.
pub(super) const VISIBLE: f32 = 0.02;

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
    /// Factor on its own opacity.
    #[serde(default = "full")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

fingerprint!(Overlay as "overlay" { image: "image", size: "size", at: "at", opacity: "opacity" });

pub(super) fn prepare(spec: &Overlay, base: &Path, height: usize, width: usize) -> Result<Prepared, TransformError> {
    let columns = ((share("size", spec.size)? * width as f64).round() as usize).max(1);
    let file = load(base, &spec.image)?;
    let picture = decode(&file)?;
    if !picture.color().has_alpha() {
        return Err(file.content("has no alpha channel; an overlay needs transparency (use a patch or a blend for a full picture)"));
    }
    let (w, h) = (picture.width().max(1), picture.height());
    let rows = ((columns as f64 * f64::from(h) / f64::from(w)).round() as usize).max(1);
    let opacity = share("opacity", spec.opacity)?;
    let spots = spec.at.spots(|| format!("overlay {}", file.name()), (rows, columns), (height, width))?;
    let (planes, mut alpha) = resized(&picture, rows, columns);
    if alpha.iter().all(|a| *a < VISIBLE) {
        return Err(file.content("is transparent everywhere; nothing would be laid over the picture"));
    }
    let faded = faded(&mut alpha, opacity);
    let provenance = format!("overlay {rows}x{columns} {}, {}{faded}", spec.at.words(), file.name());
    let paste = Paste { spots, height: rows, width: columns, planes, alpha };
    Ok(Prepared::new(Family::Cutout { opacity }, Layer::Paste(paste), provenance).with([file.digest()]))
}

pub(super) fn sham(layer: &Layer, opacity: f64, draw: usize, policy_seed: u64) -> Layer {
    let Layer::Paste(paste) = layer else { return layer.clone() };
    let mut rng = stream(policy_seed, draw as u64, "sham/overlay");
    // A faint overlay is seen where it would be seen at its full opacity.
    let least = VISIBLE * opacity as f32;
    let visible: Vec<usize> = paste.alpha.iter().enumerate().filter(|(_, a)| **a >= least).map(|(i, _)| i).collect();
    let mut order: Vec<usize> = (0..paste.alpha.len()).collect();
    let step = visible.len() / 4 + rng.random_range(0..=visible.len() / 2);
    for (at, from) in visible.iter().zip(visible.iter().cycle().skip(step)) {
        if let Some(slot) = order.get_mut(*at) {
            *slot = *from;
        }
    }
    // Only what is seen decides whether the picture is grey.
    let moved = gather(&paste.planes, &order);
    let seen = recolor(&gather_some(&moved, paste.alpha.len(), &visible), draw, &mut rng);
    let mut planes = moved;
    for (plane, colors) in planes.chunks_exact_mut(paste.alpha.len().max(1)).zip(seen.chunks_exact(visible.len().max(1))) {
        for (&at, &color) in visible.iter().zip(colors) {
            if let Some(slot) = plane.get_mut(at) {
                *slot = color;
            }
        }
    }
    Layer::Paste(Paste { planes, ..paste.clone() })
}

/// The given pixels of planar `[3, area]`, planar again.
fn gather_some(planes: &[f32], area: usize, pixels: &[usize]) -> Vec<f32> {
    planes.chunks_exact(area.max(1)).flat_map(|plane| pixels.iter().map(|&i| plane.get(i).copied().unwrap_or(0.0))).collect()
}
