//! Features: a picture as large as the frame, laid over where its mask shows it. The sham keeps the outline, as an overlay's does.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layer::{Layer, Paste, Spots};
use super::overlay::VISIBLE;
use super::picture::{decode, full, load, resized, share};
use super::{Family, Prepared, TransformError};
use crate::store::fingerprint;

/// A picture of a feature (a fence, a hand), brought to the size of the frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// A PNG, JPEG or WebP.
    pub image: PathBuf,
    /// A picture of the same size, white where the feature shows and black elsewhere; the picture's own transparency where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// How much of it shows.
    #[serde(default = "full")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

fingerprint!(Feature as "feature" { image: "image", mask: "mask", opacity: "opacity" });

pub(super) fn prepare(spec: &Feature, base: &Path, height: usize, width: usize) -> Result<Prepared, TransformError> {
    let opacity = share("opacity", spec.opacity)?;
    let file = load(base, &spec.image)?;
    let picture = decode(&file)?;
    let (planes, alpha, shown_by, shown_from) = match &spec.mask {
        None if !picture.color().has_alpha() => {
            return Err(file.content("has neither transparency nor a mask: nothing says which part of it is the feature"));
        }
        None => {
            let (planes, alpha) = resized(&picture, height, width);
            (planes, alpha, String::new(), None)
        }
        Some(path) => {
            let mask_file = load(base, path)?;
            let mask = decode(&mask_file)?;
            let ([w, h], [mw, mh]) = ([picture.width(), picture.height()], [mask.width(), mask.height()]);
            if (w, h) != (mw, mh) {
                return Err(mask_file
                    .content(format!("is a mask of {mw}x{mh} pixels for {}, which has {w}x{h}; make them the same size", file.name())));
            }
            let (planes, _) = resized(&picture.to_rgb8().into(), height, width);
            let (shown, _) = resized(&mask.to_luma8().into(), height, width);
            let shown: Vec<f32> = shown.into_iter().take(height * width).collect();
            (planes, shown, format!(", mask {}", mask_file.name()), Some(mask_file.digest()))
        }
    };
    if alpha.iter().all(|a| *a < VISIBLE) {
        return Err(file.content("does not show anywhere, so that nothing would be laid over the picture; its mask is white, or the picture opaque, where it shows"));
    }
    let seen = alpha.iter().filter(|a| **a >= VISIBLE).count() as f64 / alpha.len().max(1) as f64;
    let alpha = alpha.into_iter().map(|a: f32| a * opacity as f32).collect();
    let provenance =
        format!("feature {height}x{width}, {}{shown_by}, opacity {}, on {:.0}% of the picture", file.name(), spec.opacity, 100.0 * seen);
    let spots = Spots::At(vec![(0, 0)]);
    let paste = Layer::Paste(Paste { spots, height, width, planes, alpha });
    Ok(Prepared::new(Family::Cutout { opacity }, paste, provenance).with([file.digest()]).with(shown_from))
}
