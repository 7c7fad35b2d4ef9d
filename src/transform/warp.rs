//! Smooth warps (WaNet: Nguyen and Tran, "WaNet - imperceptible warping-based backdoor attack", 2021, section 3.3 and their code).
//! The sham is a warp of another seed with equal mean displacement.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Site, When};
use super::layer::Layer;
use super::trigger_image::within;
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "warp",
    short: "The image pulled out of shape by a smooth field (WaNet).",
    outdoes_shams: When::Always,
    is_local: When::Never,
    examples: &[r#"{ "seed": 1, "grid": 5, "strength": 2 }"#],
};

/// Every image pulled out of shape by one smooth field (WaNet, Nguyen and Tran 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warp {
    /// Seed of the field.
    pub seed: u64,
    /// Points of the field per axis, between which it is interpolated (the paper's k).
    #[serde(default = "four")]
    #[schemars(range(min = 2, max = 32))]
    pub grid: usize,
    /// The paper's s: twice the mean displacement along an axis, in pixels.
    #[serde(default = "half")]
    #[schemars(range(min = 0.01, max = 64.0))]
    pub strength: f64,
}

fingerprint!(Warp as "warp" { seed: "seed", grid: "grid", strength: "strength" });

impl Family for Warp {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        ["warp", "a field of another seed: other displacements, as large on average"]
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        (field == "amplitude").then_some(&mut self.strength)
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site.height, site.width)
    }

    fn sham(&self, _: &Layer, draw: &Draw) -> Layer {
        sham(self, draw.index, draw.seed, draw.height, draw.width)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        self.feed(feed);
    }
}

fn four() -> usize {
    4
}

fn half() -> f64 {
    0.5
}

fn prepare(spec: &Warp, height: usize, width: usize) -> Result<Prepared, TransformError> {
    let strength = within("strength", spec.strength, 0.01..=64.0, "from 0.01 to 64")?;
    let grid = within("grid", spec.grid as f64, 2.0..=32.0, "from 2 to 32")? as usize;
    let seed = spec.seed;
    let field = field(grid, &mut stream(seed, 0, "trigger/warp"));
    let provenance = format!("warp {height}x{width} by a {grid}x{grid} field of seed {seed}, strength {strength}");
    Ok(Prepared::new(Layer::Resample(places(&field, grid, strength, height, width)), provenance))
}

fn sham(of: &Warp, draw: usize, policy_seed: u64, height: usize, width: usize) -> Layer {
    let field = field(of.grid, &mut stream(policy_seed, draw as u64, &format!("sham/warp/{}", of.seed)));
    Layer::Resample(places(&field, of.grid, of.strength, height, width))
}

/// Uniform noise `[2, grid, grid]` (displacements across, then down) with a mean absolute value of 1.
fn field(grid: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let values: Vec<f64> = (0..2 * grid * grid).map(|_| 2.0 * rng.random::<f64>() - 1.0).collect();
    let mean = values.iter().map(|v| v.abs()).sum::<f64>() / values.len() as f64;
    values.into_iter().map(|v| v / mean.max(f64::MIN_POSITIVE)).collect()
}

/// Where every pixel is read from, `(row, column)` in pixels.
///
/// `grid_sample(x, clamp(identity + strength * upsampled / size, -1, 1), align_corners=True)` of the paper's code, for a field
/// `[2, grid, grid]` that is upsampled with `interpolate(mode="bicubic", align_corners=True)`.
fn places(field: &[f64], grid: usize, strength: f64, height: usize, width: usize) -> Vec<[f32; 2]> {
    let (across, down) = field.split_at(grid * grid);
    let (across, down) = (upsampled(across, grid, height, width), upsampled(down, grid, height, width));
    let place = |at: usize, offset: f64, size: usize| {
        let last = size.saturating_sub(1) as f64;
        let identity = if size > 1 { 2.0 * at as f64 / last - 1.0 } else { -1.0 };
        let moved = (identity + strength * offset / size as f64).clamp(-1.0, 1.0);
        ((moved + 1.0) * (last / 2.0)) as f32
    };
    across.iter().zip(&down).enumerate().map(|(i, (x, y))| [place(i / width, *y, height), place(i % width, *x, width)]).collect()
}

/// Bicubic interpolation of a square array to `height * width`, corners on corners.
fn upsampled(array: &[f64], grid: usize, height: usize, width: usize) -> Vec<f64> {
    let (rows, columns) = (taps(grid, height), taps(grid, width));
    let mut out = Vec::with_capacity(height * width);
    for row in &rows {
        for column in &columns {
            let mut sum = 0.0;
            for (y, weight) in row {
                let line: f64 = column.iter().map(|(x, w)| w * array.get(y * grid + x).copied().unwrap_or(0.0)).sum();
                sum += weight * line;
            }
            out.push(sum);
        }
    }
    out
}

/// For every output position the four inputs and their weights: the cubic convolution of PyTorch (a = -0.75), edges repeated.
fn taps(from: usize, to: usize) -> Vec<[(usize, f64); 4]> {
    let scale = if to > 1 { (from - 1) as f64 / (to - 1) as f64 } else { 0.0 };
    let near = |t: f64| (1.25 * t - 2.25) * t * t + 1.0;
    let far = |t: f64| ((-0.75 * t + 3.75) * t - 6.0) * t + 3.0;
    (0..to)
        .map(|i| {
            let at = i as f64 * scale;
            let first = at.floor();
            let t = at - first;
            let index = |offset: usize| (first as usize + offset).saturating_sub(1).min(from - 1);
            [(index(0), far(t + 1.0)), (index(1), near(t)), (index(2), near(1.0 - t)), (index(3), far(2.0 - t))]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::resample::resample;
    use super::super::tests::golden::{self, numbers};
    use super::super::tests::{assert_shams, prepared};
    use super::super::{Layer, Trigger};
    use super::{Warp, field, places};
    use crate::stats::stream::stream;

    #[test]
    fn warps_are_those_of_pytorch() {
        for case in golden::cases("warp") {
            let mut frame = golden::image(&case);
            let field: Vec<f64> = numbers(&case["field"]).into_iter().map(f64::from).collect();
            let [grid, strength] = ["grid", "strength"].map(|name| case[name].as_f64().unwrap());
            let places = places(&field, grid as usize, strength, frame.height, frame.width);
            resample(&mut frame, &places);
            golden::close(&frame.planes, &numbers(&case["result"]), &case);
        }
    }

    #[test]
    fn fields_are_uniform_noise_of_mean_1() {
        let values = field(4, &mut stream(3, 0, "test"));
        assert!((values.iter().map(|v| v.abs()).sum::<f64>() / 32.0 - 1.0).abs() < 1e-12);
        assert!(values.iter().any(|v| *v < -0.5) && values.iter().any(|v| *v > 0.5));
    }

    #[test]
    fn shams_move_the_pixels_as_far_another_way() {
        let spec = Trigger::Warp(Warp { seed: 1, grid: 4, strength: 2.0 });
        assert_shams(&spec, 32, 2.5, 0.8);
        let trigger = prepared(&spec, 32, 32).unwrap();
        let far = |layer: &Layer| {
            let Layer::Resample(places) = layer else { panic!("warps resample") };
            let sum: f32 = places.iter().enumerate().map(|(i, p)| (p[0] - (i / 32) as f32).abs() + (p[1] - (i % 32) as f32).abs()).sum();
            sum / (2.0 * 1024.0)
        };
        let own = far(&trigger.parts[0].layer);
        assert!((0.4..1.4).contains(&own), "half the strength in pixels, less what bicubic lines take away: {own}");
        for draw in 0..8 {
            let ratio = far(&trigger.sham(draw, 5).parts[0].layer) / own;
            assert!((0.6..1.7).contains(&ratio), "draw {draw}: {ratio}");
        }
    }

    #[test]
    fn bad_numbers_are_named() {
        let refused = |spec| prepared(&Trigger::Warp(spec), 8, 8).unwrap_err().to_string();
        for strength in [0.0, -1.0, 100.0, f64::NAN, f64::INFINITY] {
            assert!(refused(Warp { seed: 1, grid: 4, strength }).contains("`strength`"), "{strength}");
        }
        for grid in [0, 1, 33, usize::MAX] {
            assert!(refused(Warp { seed: 1, grid, strength: 0.5 }).contains("`grid` is"), "{grid}");
        }
        let trigger = prepared(&Trigger::Warp(Warp { seed: 1, grid: 4, strength: 0.5 }), 8, 8).unwrap();
        assert_eq!(trigger.provenance(), "warp 8x8 by a 4x4 field of seed 1, strength 0.5");
    }
}
