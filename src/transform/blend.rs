//! Blends: another image mixed into every image. The sham is another random image, or the image with its blocks shuffled.

use std::path::PathBuf;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Mistake, Site, When, exactly_one};
use super::identity::{distance, recolor, shuffle_blocks};
use super::layer::{Layer, Paste, Spots};
use super::trigger_image::{decode, load, one_of, resized, share};
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// Mean change of a pixel under which a shuffled image counts as the same image.
const SAME: f32 = 0.02;

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "blend",
    short: "Another image mixed in: `(1 - opacity) * x + opacity * other`.",
    outdoes_shams: When::Never,
    is_local: When::Never,
    examples: &[r#"{ "seed": 1, "opacity": 0.2 }"#, r#"{ "image": "wall.png", "opacity": 0.2 }"#],
};

/// Another image mixed into every image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// The image. Give this or `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// Seed of a uniform random image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Share of the other image.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

fingerprint!(Blend as "blend" { image: "image", seed: "seed", opacity: "opacity" });

impl Family for Blend {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        if self.image.is_some() {
            ["blend with an image", "its blocks (an 8x8 grid) shuffled, same histogram; an image of one colour gets another hue"]
        } else {
            ["blend with a seeded image", "another uniform image"]
        }
    }

    fn files(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        self.image.as_mut().map(|path| ("image", path)).into_iter().collect()
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "opacity" => Some(&mut self.opacity),
            _ => None,
        }
    }

    fn mistakes(&self, _: &dyn Fn(&str) -> bool) -> Vec<Mistake> {
        exactly_one("blend", ("image", self.image.is_some()), ("seed", self.seed.is_some()))
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site)
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        if self.image.is_some() {
            return sham_image(layer, draw.index, draw.seed);
        }
        sham_uniform(layer, draw.index, draw.seed, self.seed.unwrap_or_default())
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        if self.image.is_some() {
            return "whole".feed(feed);
        }
        feed.choice("uniform", &self.seed.unwrap_or_default());
    }
}

fn prepare(spec: &Blend, site: &Site<'_>) -> Result<Prepared, TransformError> {
    let (base, (height, width)) = (site.base, site.size());
    one_of("blend", ("image", spec.image.is_some()), ("seed", spec.seed.is_some()))?;
    let opacity = share("opacity", spec.opacity)?;
    let (planes, alpha, what, from) = if let Some(path) = &spec.image {
        let file = load(base, path)?;
        let (planes, mut alpha) = resized(&decode(&file)?, height, width);
        for a in &mut alpha {
            *a *= opacity as f32;
        }
        (planes, alpha, file.name(), Some(file.digest()))
    } else {
        let seed = spec.seed.unwrap_or_default();
        let planes = uniform(3 * height * width, &mut stream(seed, 0, "trigger/blend"));
        (planes, vec![opacity as f32; height * width], format!("uniform image of seed {seed}"), None)
    };
    let provenance = format!("blend {height}x{width} at opacity {opacity}, {what}");
    let paste = Paste { spots: Spots::At(vec![(0, 0)]), height, width, planes, alpha };
    Ok(Prepared::new(Layer::Paste(paste), provenance).with(from))
}

fn sham_uniform(layer: &Layer, draw: usize, policy_seed: u64, seed: u64) -> Layer {
    let mut rng = stream(policy_seed, draw as u64, &format!("sham/blend/{seed}"));
    layer.repaint(|planes, _, _| uniform(planes.len(), &mut rng))
}

fn sham_image(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, height, width| {
        let mut rng = stream(policy_seed, draw as u64, "sham/whole");
        let shuffled = shuffle_blocks(planes, height, width, 8, &mut rng);
        // An image of one colour is its own shuffle: there the colour is the identity.
        if distance(&shuffled, planes) < SAME { recolor(planes, draw, &mut rng) } else { shuffled }
    })
}

fn uniform(len: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..len).map(|_| rng.random::<f32>()).collect()
}
