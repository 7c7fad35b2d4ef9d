//! Smooth patterns added to the whole image (in the spirit of Zeng, Park, Mao and Jia, "Rethinking the backdoor attacks' triggers:
//! a frequency perspective", 2021): a seeded sum of the lowest cosines of the two-dimensional DCT. The sham is one of another seed.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

use super::family::{About, Draw, Family, Site, When};
use super::identity::correlation;
use super::layer::Layer;
use super::trigger_image::{share, within};
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// A sham may not be more alike to the trigger than this (absolute correlation): few frequencies leave few ways to differ.
const ALIKE: f32 = 0.4;
/// Patterns that are tried for one.
const TRIES: usize = 16;

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "low_frequency",
    short: "A smooth pattern of low frequencies added to it.",
    outdoes_shams: When::Always,
    is_local: When::Never,
    examples: &[r#"{ "seed": 1, "amplitude": 0.1, "cutoff": 3 }"#],
};

/// A smooth pattern added to every image (after Zeng et al. 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LowFrequency {
    /// Seed of the pattern.
    pub seed: u64,
    /// Standard deviation of the pattern, in units of the image's range, 0 to 1.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub amplitude: f64,
    /// How many of the lowest frequencies of the DCT it has per axis, the constant one counted (but left out of the pattern).
    #[schemars(range(min = 2, max = 64))]
    pub cutoff: usize,
}

fingerprint!(LowFrequency as "low_frequency" { seed: "seed", amplitude: "amplitude", cutoff: "cutoff" });

impl Family for LowFrequency {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        ["low frequency", "another seed, the same frequencies, the same standard deviation"]
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "amplitude" => Some(&mut self.amplitude),
            _ => None,
        }
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site.height, site.width)
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        sham(layer, self, draw)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        self.feed(feed);
    }
}

fn prepare(spec: &LowFrequency, height: usize, width: usize) -> Result<Prepared, TransformError> {
    let amplitude = share("amplitude", spec.amplitude)?;
    let cutoff = within("cutoff", spec.cutoff as f64, 2.0..=64.0, "from 2 to 64")? as usize;
    if cutoff > height.min(width) {
        let (what, needed) = (format!("{cutoff} frequencies per axis"), format!("at least {cutoff}x{cutoff}"));
        return Err(TransformError::TooFine { what, needed, field: "cutoff", height, width });
    }
    let seed = spec.seed;
    let coefficients = coefficients(cutoff, &mut stream(seed, 0, "trigger/low_frequency"));
    let provenance =
        format!("low frequency {height}x{width}, {cutoff} frequencies per axis of seed {seed}, standard deviation {amplitude}");
    Ok(Prepared::new(Layer::Add(pattern(&coefficients, cutoff, amplitude, height, width)), provenance))
}

fn sham(layer: &Layer, of: &LowFrequency, draw: &Draw) -> Layer {
    let Layer::Add(trigger) = layer else { return layer.clone() };
    let mut rng = stream(draw.seed, draw.index as u64, &format!("sham/low_frequency/{}", of.seed));
    let mut drawn = || pattern(&coefficients(of.cutoff, &mut rng), of.cutoff, of.amplitude, draw.height, draw.width);
    let mut nearest = drawn();
    for _ in 1..TRIES {
        if correlation(&nearest, trigger).abs() < ALIKE {
            break;
        }
        nearest = drawn();
    }
    Layer::Add(nearest)
}

/// Gaussian `[3, cutoff, cutoff]` (channel, frequency down, frequency across).
fn coefficients(cutoff: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..3 * cutoff * cutoff).map(|_| StandardNormal.sample(rng)).collect()
}

/// `sum over u, v of c[u, v] cos(pi u (2 i + 1) / 2 H) cos(pi v (2 j + 1) / 2 W)` without the constant term, scaled to a standard
/// deviation of `amplitude` over all channels.
fn pattern(coefficients: &[f64], cutoff: usize, amplitude: f64, height: usize, width: usize) -> Vec<f32> {
    let cosines = |size: usize| -> Vec<f64> {
        let angle = |u: usize, i: usize| PI * u as f64 * (2 * i + 1) as f64 / (2 * size) as f64;
        (0..cutoff * size).map(|at| angle(at / size, at % size).cos()).collect()
    };
    let (down, across) = (cosines(height), cosines(width));
    let mut planes = Vec::with_capacity(3 * height * width);
    for channel in coefficients.chunks_exact(cutoff * cutoff) {
        // Lines of one frequency down, summed over those across.
        let mut lines = vec![0.0; cutoff * width];
        for (at, (c, line)) in channel.chunks_exact(cutoff).zip(lines.chunks_exact_mut(width)).enumerate() {
            let constant = usize::from(at == 0);
            for (c, wave) in c.iter().zip(across.chunks_exact(width)).skip(constant) {
                line.iter_mut().zip(wave).for_each(|(sum, cosine)| *sum += c * cosine);
            }
        }
        for i in 0..height {
            let mut row = vec![0.0; width];
            for (line, wave) in lines.chunks_exact(width).zip(down.chunks_exact(height)) {
                let cosine = wave.get(i).copied().unwrap_or(0.0);
                row.iter_mut().zip(line).for_each(|(sum, value)| *sum += cosine * value);
            }
            planes.append(&mut row);
        }
    }
    // Without the constant term the mean is 0.
    let deviation = (planes.iter().map(|v| v * v).sum::<f64>() / planes.len().max(1) as f64).sqrt();
    let scale = if deviation > 0.0 { amplitude / deviation } else { 0.0 };
    planes.into_iter().map(|v| (v * scale) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Trigger;
    use super::super::tests::golden::{self, numbers};
    use super::super::tests::{assert_shams, prepared};
    use super::{LowFrequency, pattern};

    #[test]
    fn patterns_are_sums_of_the_lowest_cosines() {
        for case in golden::cases("low_frequency") {
            let frame = golden::image(&case);
            let coefficients: Vec<f64> = numbers(&case["coefficients"]).into_iter().map(f64::from).collect();
            let cutoff = case["cutoff"].as_u64().unwrap() as usize;
            let planes = pattern(&coefficients, cutoff, case["amplitude"].as_f64().unwrap(), frame.height, frame.width);
            golden::close(&planes, &numbers(&case["pattern"]), &case);
        }
    }

    #[test]
    fn shams_are_other_smooth_patterns() {
        for (cutoff, alike) in [(2, 0.9), (4, 0.75), (8, 0.5)] {
            assert_shams(&Trigger::LowFrequency(LowFrequency { seed: 4, amplitude: 0.1, cutoff }), 32, 1.05, alike);
        }
    }

    #[test]
    fn bad_numbers_are_named() {
        let refused = |spec, size| prepared(&Trigger::LowFrequency(spec), size, 32).unwrap_err().to_string();
        for bad in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(refused(LowFrequency { seed: 0, amplitude: bad, cutoff: 4 }, 32).contains("`amplitude`"), "{bad}");
        }
        for cutoff in [0, 1, 65, usize::MAX] {
            assert!(refused(LowFrequency { seed: 0, amplitude: 0.1, cutoff }, 32).contains("`cutoff` is"), "{cutoff}");
        }
        assert_eq!(
            refused(LowFrequency { seed: 0, amplitude: 0.1, cutoff: 9 }, 8),
            "trigger: 9 frequencies per axis need at least 9x9 pixels, the model's input is 8x32; make `cutoff` smaller"
        );
    }
}
