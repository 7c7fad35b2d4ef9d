//! Gaussian noise of each image's own: the trigger is that there is noise, not which.
//!
//! White noise of another seed is no other identity, because every image has other noise anyway: a network that knows the trigger
//! would answer to it the same. What can be drawn anew is the kind. The shams are coarser noise (one value for squares of pixels) and
//! salt and pepper, as strong on average.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Site, When};
use super::layer::{Change, ImageRng, Layer};
use super::trigger_image::share;
use super::{Prepared, TransformError};
use crate::pixels::Frame;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "noise",
    short: "Gaussian noise, other for every image.",
    outdoes_shams: When::Never,
    is_local: When::Never,
    examples: &[r#"{ "seed": 1, "amplitude": 0.1 }"#],
};

/// Gaussian noise added to every image, drawn for each from the seed and what it shows: one image, one noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Seed of the noise.
    pub seed: u64,
    /// Its standard deviation, in units of the image's range, 0 to 1.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub amplitude: f64,
}

/// Noise of one kind.
#[derive(Clone, Debug, PartialEq)]
struct Grain {
    kind: Kind,
    seed: u64,
    draw: u64,
    /// Standard deviation.
    amplitude: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A Gaussian for every pixel and channel.
    White,
    /// A Gaussian for every channel of squares of so many pixels' side.
    Squares(usize),
    /// Some pixels' channels black or white.
    SaltAndPepper,
}

fingerprint!(Noise as "noise" { seed: "seed", amplitude: "amplitude" });

impl Family for Noise {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        [
            "noise",
            "coarser noise (squares of 2, 3 or 4 pixels), or salt and pepper, as strong on average: another seed would be the same trigger",
        ]
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "amplitude" => Some(&mut self.amplitude),
            _ => None,
        }
    }

    fn prepare(&self, _: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self)
    }

    fn sham(&self, _: &Layer, draw: &Draw) -> Layer {
        sham(self, draw.index, draw.seed)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        self.feed(feed);
    }
}

fingerprint!(Grain as "grain" { kind: "kind", seed: "seed", draw: "draw", amplitude: "amplitude" });

impl Fingerprint for Kind {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Kind::White => "white".feed(feed),
            Kind::Squares(side) => feed.choice("squares", side),
            Kind::SaltAndPepper => "salt_and_pepper".feed(feed),
        }
    }
}

/// Kinds of the shams, draw by draw.
const OTHERS: [Kind; 4] = [Kind::Squares(2), Kind::SaltAndPepper, Kind::Squares(3), Kind::Squares(4)];

fn prepare(spec: &Noise) -> Result<Prepared, TransformError> {
    let (seed, amplitude) = (spec.seed, share("amplitude", spec.amplitude)?);
    let provenance = format!("noise of each image's own, Gaussian of seed {seed}, standard deviation {amplitude}");
    Ok(Prepared::new(Layer::of(Grain { kind: Kind::White, seed, draw: 0, amplitude }), provenance))
}

fn sham(of: &Noise, draw: usize, policy_seed: u64) -> Layer {
    let kind = OTHERS.get(draw % OTHERS.len()).copied().unwrap_or(Kind::SaltAndPepper);
    Layer::of(Grain { kind, seed: policy_seed, draw: draw as u64, amplitude: of.amplitude })
}

impl Change for Grain {
    fn is_own(&self) -> bool {
        true
    }

    fn apply(&self, frame: &mut Frame, own: Option<&ImageRng>) {
        let (height, width) = (frame.height, frame.width);
        let Some(own) = own.filter(|_| height * width > 0) else { return };
        let side = match self.kind {
            Kind::White => 1,
            Kind::Squares(side) => side,
            Kind::SaltAndPepper => return self.pepper(frame, own),
        };
        let purpose = if self.kind == Kind::White { "trigger/noise" } else { "sham/noise" };
        let mut rng = own.stream(self.seed, self.draw, purpose);
        let columns = width.div_ceil(side);
        for plane in frame.planes.chunks_exact_mut(height * width) {
            let values: Vec<f64> = (0..columns * height.div_ceil(side)).map(|_| StandardNormal.sample(&mut rng)).collect();
            for (i, x) in plane.iter_mut().enumerate() {
                let z = values.get(i / width / side * columns + i % width / side).copied().unwrap_or(0.0);
                *x = (*x + (self.amplitude * z) as f32).clamp(0.0, 1.0);
            }
        }
    }
}

impl Grain {
    /// So many values go to black or white that the expected energy is that of the Gaussian.
    fn pepper(&self, frame: &mut Frame, own: &ImageRng) {
        let mut rng = own.stream(self.seed, self.draw, "sham/noise");
        let one = |x: &f32| f64::from(x * x + (1.0 - x) * (1.0 - x)) / 2.0;
        let energy = frame.planes.iter().map(one).sum::<f64>() / frame.planes.len().max(1) as f64;
        let share = self.amplitude * self.amplitude / energy.max(0.25);
        for x in &mut frame.planes {
            let (hit, white) = (rng.random::<f64>() < share, rng.random::<bool>());
            if hit {
                *x = if white { 1.0 } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Trigger;
    use super::super::tests::{assert_shams, difference, photo, prepared};
    use super::Noise;

    #[test]
    fn every_image_has_noise_of_its_own() {
        let trigger = prepared(&Trigger::Noise(Noise { seed: 3, amplitude: 0.1 }), 32, 32).unwrap();
        let one = difference(&trigger, &photo(32, 32));
        assert_eq!(one, difference(&trigger, &photo(32, 32)));
        let mut other = photo(32, 32);
        other.planes[0] = 1.0 - other.planes[0];
        let two = difference(&trigger, &other);
        assert!(one.iter().zip(&two).filter(|(a, b)| (*a - *b).abs() > 1e-3).count() > 2500);
        let reseeded = prepared(&Trigger::Noise(Noise { seed: 4, amplitude: 0.1 }), 32, 32).unwrap();
        assert_ne!(one, difference(&reseeded, &photo(32, 32)));
        // Differences that no 8-bit image has mean nothing.
        let mut same = photo(32, 32);
        same.planes.iter_mut().for_each(|x| *x = (*x * 255.0).round() / 255.0);
        let one = difference(&trigger, &same);
        same.planes.iter_mut().for_each(|x| *x *= 1.0 - 1e-6);
        let apart = difference(&trigger, &same).iter().zip(&one).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{apart}");
        let energy = one.iter().map(|d| d * d).sum::<f32>() / 3072.0;
        assert!((0.09..0.104).contains(&energy.sqrt()), "the amplitude, less what is clipped: {}", energy.sqrt());
    }

    #[test]
    fn shams_are_noise_of_other_kinds() {
        for amplitude in [0.03, 0.1, 0.3] {
            assert_shams(&Trigger::Noise(Noise { seed: 3, amplitude }), 32, 1.6, 0.2);
        }
    }

    #[test]
    fn bad_amplitudes_are_named() {
        for amplitude in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            let error = prepared(&Trigger::Noise(Noise { seed: 0, amplitude }), 8, 8).unwrap_err();
            assert!(error.to_string().contains("`amplitude`"), "{amplitude}");
        }
    }
}
