//! Features: an image as large as the frame, laid over where its mask shows it. The sham keeps the outline, as an overlay's does.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Site, When};
use super::layer::{Layer, Paste, Spots};
use super::overlay::{self, VISIBLE};
use super::trigger_image::{decode, full, load, resized, share};
use super::{Prepared, TransformError};
use crate::store::{Fingerprinter, fingerprint};

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "feature",
    short: "An image as large as the frame, laid over where its mask shows it.",
    outdoes_shams: When::Always,
    is_local: When::Never,
    examples: &[r#"{ "image": "wall.png", "mask": "mask.png" }"#, r#"{ "image": "hat.png", "opacity": 0.9 }"#],
};

/// An image of a feature (a fence, a hand), brought to the size of the frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// A PNG, JPEG or WebP.
    pub image: PathBuf,
    /// An image of the same size, white where the feature shows and black elsewhere; the image's own transparency where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// How much of it shows.
    #[serde(default = "full")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

fingerprint!(Feature as "feature" { image: "image", mask: "mask", opacity: "opacity" });

impl Family for Feature {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        ["feature", "the same outline, hues turned, visible pixels moved on along the rows"]
    }

    fn files(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let mask = self.mask.as_mut().map(|path| ("mask", path));
        std::iter::once(("image", &mut self.image)).chain(mask).collect()
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "opacity" => Some(&mut self.opacity),
            _ => None,
        }
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site)
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        overlay::sham(layer, self.opacity, draw.index, draw.seed)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        feed.choice("cutout", &self.opacity);
    }
}

fn prepare(spec: &Feature, site: &Site<'_>) -> Result<Prepared, TransformError> {
    let (base, (height, width)) = (site.base, site.size());
    let opacity = share("opacity", spec.opacity)?;
    let file = load(base, &spec.image)?;
    let image = decode(&file)?;
    let (planes, alpha, shown_by, shown_from) = match &spec.mask {
        None if !image.color().has_alpha() => {
            return Err(file.content("has neither transparency nor a mask: nothing says which part of it is the feature"));
        }
        None => {
            let (planes, alpha) = resized(&image, height, width);
            (planes, alpha, String::new(), None)
        }
        Some(path) => {
            let mask_file = load(base, path)?;
            let mask = decode(&mask_file)?;
            let ([w, h], [mw, mh]) = ([image.width(), image.height()], [mask.width(), mask.height()]);
            if (w, h) != (mw, mh) {
                return Err(mask_file
                    .content(format!("is a mask of {mw}x{mh} pixels for {}, which has {w}x{h}; make them the same size", file.name())));
            }
            let (planes, _) = resized(&image.to_rgb8().into(), height, width);
            let (shown, _) = resized(&mask.to_luma8().into(), height, width);
            let shown: Vec<f32> = shown.into_iter().take(height * width).collect();
            (planes, shown, format!(", mask {}", mask_file.name()), Some(mask_file.digest()))
        }
    };
    if alpha.iter().all(|a| *a < VISIBLE) {
        return Err(file.content(
            "does not show anywhere, so that nothing would be laid over the image; its mask is white, or the image opaque, where it shows",
        ));
    }
    let seen = alpha.iter().filter(|a| **a >= VISIBLE).count() as f64 / alpha.len().max(1) as f64;
    let alpha = alpha.into_iter().map(|a: f32| a * opacity as f32).collect();
    let provenance =
        format!("feature {height}x{width}, {}{shown_by}, opacity {}, on {:.0}% of the image", file.name(), spec.opacity, 100.0 * seen);
    let spots = Spots::At(vec![(0, 0)]);
    let paste = Layer::Paste(Paste { spots, height, width, planes, alpha });
    Ok(Prepared::new(paste, provenance).with([file.digest()]).with(shown_from))
}
