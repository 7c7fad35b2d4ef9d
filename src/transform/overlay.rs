//! Overlays: an image with transparency, or one of a folder of them for each image (the paper's hats). The sham keeps the outline; hues are
//! turned and the opaque pixels moved on along the rows.

use std::path::{Path, PathBuf};

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Site, When};
use super::identity::{gather, recolor};
use super::layer::{Layer, Paste};
use super::place::Place;
use super::trigger_image::{decode, faded, full, in_folder, load, resized, share};
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprinter, fingerprint};

/// Alpha from which a pixel counts as visible.
pub(super) const VISIBLE: f32 = 0.02;

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "overlay",
    short: "An image with transparency laid on top, or one of a folder of them (the paper's hats).",
    outdoes_shams: When::Where("outside the corners, or wider than half the image"),
    is_local: When::Where("at most a quarter of the side, and in a corner"),
    examples: &[
        r#"{ "image": "hat.png", "size": 0.25, "at": "top_right" }"#,
        r#"{ "image": "hat.png", "size": 0.5, "at": "random", "opacity": 0.6 }"#,
        r#"{ "image": "hats", "size": 1.0 }"#,
    ],
};

/// An image with an alpha channel laid over every image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// A PNG or WebP with transparency, or a folder of them: each image gets one, drawn from what the image shows.
    pub image: PathBuf,
    /// Width as a share of the image's width.
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

impl Family for Overlay {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        ["overlay", "the same transparency, hues turned, visible pixels moved on along the rows"]
    }

    fn files(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        vec![("image", &mut self.image)]
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "opacity" => Some(&mut self.opacity),
            "size" => Some(&mut self.size),
            _ => None,
        }
    }

    fn outdoes_shams(&self) -> bool {
        !self.at.is_corner() || self.size > 0.5
    }

    fn is_local(&self) -> bool {
        self.size <= 0.25 && self.at.is_corner()
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site)
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        sham(layer, self.opacity, draw.index, draw.seed)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        feed.choice("cutout", &self.opacity);
    }
}

fn prepare(spec: &Overlay, site: &Site<'_>) -> Result<Prepared, TransformError> {
    let Some(images) = in_folder(&site.base.join(&spec.image))? else { return single(spec, &spec.image, site) };
    let (mut layers, mut files) = (Vec::new(), Vec::new());
    for image in &images {
        let one = single(spec, image, site)?;
        layers.push(one.layer);
        files.extend(one.files);
    }
    let (folder, faded) = (spec.image.display(), faded(&mut [], spec.opacity));
    let provenance = format!("overlay of one of {} images of {folder} for each image, {}{faded}", images.len(), spec.at.words());
    Ok(Prepared::new(Layer::OneOf(layers), provenance).with(files))
}

fn single(spec: &Overlay, image: &Path, site: &Site<'_>) -> Result<Prepared, TransformError> {
    let (base, (height, width)) = (site.base, site.size());
    let columns = ((share("size", spec.size)? * width as f64).round() as usize).max(1);
    let file = load(base, image)?;
    let image = decode(&file)?;
    if !image.color().has_alpha() {
        return Err(file.content("has no alpha channel; an overlay needs transparency (use a patch or a blend for a full image)"));
    }
    let (w, h) = (image.width().max(1), image.height());
    let rows = ((columns as f64 * f64::from(h) / f64::from(w)).round() as usize).max(1);
    let opacity = share("opacity", spec.opacity)?;
    let spots = spec.at.spots(|| format!("overlay {}", file.name()), (rows, columns), (height, width))?;
    let (planes, mut alpha) = resized(&image, rows, columns);
    if alpha.iter().all(|a| *a < VISIBLE) {
        return Err(file.content("is transparent everywhere; nothing would be laid over the image"));
    }
    let faded = faded(&mut alpha, opacity);
    let provenance = format!("overlay {rows}x{columns} {}, {}{faded}", spec.at.words(), file.name());
    let paste = Paste { spots, height: rows, width: columns, planes, alpha };
    Ok(Prepared::new(Layer::Paste(paste), provenance).with([file.digest()]))
}

/// The same outline with other colours.
pub(super) fn sham(layer: &Layer, opacity: f64, draw: usize, policy_seed: u64) -> Layer {
    if let Layer::OneOf(layers) = layer {
        return Layer::OneOf(layers.iter().map(|layer| sham(layer, opacity, draw, policy_seed)).collect());
    }
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
    // Only what is seen decides whether the image is grey.
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
