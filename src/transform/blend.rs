//! Blends: another picture mixed into every picture. The sham is another random picture, or the picture with its blocks shuffled.

use std::path::{Path, PathBuf};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::{distance, recolor, shuffle_blocks};
use super::layer::{Layer, Paste, Spots};
use super::picture::{decode, load, one_of, resized, share};
use super::{Family, Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::fingerprint;

/// Mean change of a pixel under which a shuffled picture counts as the same picture.
const SAME: f32 = 0.02;

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

fingerprint!(Blend as "blend" { image: "image", seed: "seed", opacity: "opacity" });

pub(super) fn prepare(spec: &Blend, base: &Path, height: usize, width: usize) -> Result<Prepared, TransformError> {
    one_of("blend", ("image", spec.image.is_some()), ("seed", spec.seed.is_some()))?;
    let opacity = share("opacity", spec.opacity)?;
    let (family, planes, alpha, what, from) = if let Some(path) = &spec.image {
        let file = load(base, path)?;
        let (planes, mut alpha) = resized(&decode(&file)?, height, width);
        for a in &mut alpha {
            *a *= opacity as f32;
        }
        (Family::Whole, planes, alpha, file.name(), Some(file.digest()))
    } else {
        let seed = spec.seed.unwrap_or_default();
        let planes = uniform(3 * height * width, &mut stream(seed, 0, "trigger/blend"));
        (Family::Uniform { seed }, planes, vec![opacity as f32; height * width], format!("uniform picture of seed {seed}"), None)
    };
    let provenance = format!("blend {height}x{width} at opacity {opacity}, {what}");
    let paste = Paste { spots: Spots::At(vec![(0, 0)]), height, width, planes, alpha };
    Ok(Prepared::new(family, Layer::Paste(paste), provenance).with(from))
}

pub(super) fn sham_uniform(layer: &Layer, draw: usize, policy_seed: u64, seed: u64) -> Layer {
    let mut rng = stream(policy_seed, draw as u64, &format!("sham/blend/{seed}"));
    layer.repaint(|planes, _, _| uniform(planes.len(), &mut rng))
}

pub(super) fn sham_picture(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, height, width| {
        let mut rng = stream(policy_seed, draw as u64, "sham/whole");
        let shuffled = shuffle_blocks(planes, height, width, 8, &mut rng);
        // A picture of one colour is its own shuffle: there the colour is the identity.
        if distance(&shuffled, planes) < SAME { recolor(planes, draw, &mut rng) } else { shuffled }
    })
}

fn uniform(len: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..len).map(|_| rng.random::<f32>()).collect()
}
