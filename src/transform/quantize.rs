//! Fewer levels per channel (BppAttack: Wang, Zhai and Ma, "BppAttack: stealthy and efficient trojan attacks against deep neural
//! networks via image quantization and contrastive adversarial learning", 2022).
//!
//! What a network can learn of it is the palette of few levels and the texture of the dither. A sham with the same palette, such as
//! dithering by random thresholds, would carry half of the trigger and hide what a planted network does. So the sham is what the quantizer
//! changes in this very image, with the pixels in random order: as strong, channels as alike (grey stays grey), neither palette nor texture.

use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Site, When};
use super::layer::{Change, ImageRng, Layer};
use super::trigger_image::within;
use super::{Prepared, TransformError};
use crate::pixels::Frame;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "quantize",
    short: "Fewer levels per channel (BppAttack).",
    outdoes_shams: When::Always,
    is_local: When::Never,
    examples: &[r#"{ "levels": 4 }"#, r#"{ "levels": 3, "dither": false }"#],
};

/// Every image with fewer levels per channel (BppAttack, Wang et al. 2022).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quantize {
    /// Levels per channel, black and white counted.
    #[schemars(range(min = 2, max = 128))]
    pub levels: usize,
    /// Floyd-Steinberg dithering, as in the paper; without it every pixel is rounded for itself.
    #[serde(default = "yes")]
    pub dither: bool,
}

fingerprint!(Quantize as "quantize" { levels: "levels", dither: "dither" });

impl Family for Quantize {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        [
            "quantize",
            "what fewer levels change in each image, with the pixels in random order: as strong, channels as alike, no palette, no dither",
        ]
    }

    fn swept(&mut self, _: &str) -> Option<&mut f64> {
        None
    }

    fn prepare(&self, _: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self)
    }

    fn sham(&self, _: &Layer, draw: &Draw) -> Layer {
        Layer::of(Residue { of: self.quantizer(), seed: draw.seed, draw: draw.index as u64 })
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        self.quantizer().feed(feed);
    }
}

fn yes() -> bool {
    true
}

/// Rounds to the nearest of some levels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Quantizer {
    /// Levels less one.
    steps: f32,
    dither: bool,
}

/// What a quantizer would change in an image, its pixels in random order.
#[derive(Clone, Debug, PartialEq)]
struct Residue {
    of: Quantizer,
    seed: u64,
    draw: u64,
}

fingerprint!(Quantizer as "quantizer" { steps: "steps", dither: "dither" });
fingerprint!(Residue as "residue" { of: "of", seed: "seed", draw: "draw" });

fn prepare(spec: &Quantize) -> Result<Prepared, TransformError> {
    let levels = within("levels", spec.levels as f64, 2.0..=128.0, "from 2 to 128")?;
    let dither = if spec.dither { "with Floyd-Steinberg dithering" } else { "without dithering" };
    let provenance = format!("quantize to {levels} levels per channel, {dither}");
    Ok(Prepared::new(Layer::of(spec.quantizer()), provenance))
}

impl Quantize {
    fn quantizer(&self) -> Quantizer {
        Quantizer { steps: self.levels as f32 - 1.0, dither: self.dither }
    }
}

impl Change for Quantizer {
    fn apply(&self, frame: &mut Frame, _: Option<&ImageRng>) {
        self.quantize(frame);
    }

    fn is_own(&self) -> bool {
        false
    }
}

impl Quantizer {
    fn quantize(self, frame: &mut Frame) {
        let (area, width) = (frame.height * frame.width, frame.width);
        if area == 0 {
            return;
        }
        for plane in frame.planes.chunks_exact_mut(area) {
            if self.dither {
                self.diffuse(plane, width);
            } else {
                for x in plane {
                    *x = self.nearest(*x);
                }
            }
        }
    }

    fn nearest(self, x: f32) -> f32 {
        ((x * self.steps).round_ties_even() / self.steps).clamp(0.0, 1.0)
    }

    /// Floyd-Steinberg, every row from the left: what rounding loses goes on to four neighbours.
    fn diffuse(self, plane: &mut [f32], width: usize) {
        for at in 0..plane.len() {
            let column = at % width;
            let Some(x) = plane.get_mut(at) else { return };
            let old = *x;
            *x = self.nearest(old);
            let lost = old - *x;
            let mut pass = |to: usize, share: f32| {
                if let Some(x) = plane.get_mut(to) {
                    *x += lost * share;
                }
            };
            let (first, last) = (column == 0, column + 1 == width);
            if !last {
                pass(at + 1, 7.0 / 16.0);
                pass(at + width + 1, 1.0 / 16.0);
            }
            pass(at + width, 5.0 / 16.0);
            if !first {
                pass(at + width - 1, 3.0 / 16.0);
            }
        }
    }
}

impl Change for Residue {
    fn is_own(&self) -> bool {
        true
    }

    fn apply(&self, frame: &mut Frame, own: Option<&ImageRng>) {
        let area = frame.height * frame.width;
        let Some(own) = own.filter(|_| area > 0) else { return };
        let mut quantized = frame.clone();
        self.of.quantize(&mut quantized);
        // The same order in all channels, or noise on a grey image would have colours.
        let mut order: Vec<usize> = (0..area).collect();
        order.shuffle(&mut own.stream(self.seed, self.draw, "sham/quantize"));
        for (plane, quantized) in frame.planes.chunks_exact_mut(area).zip(quantized.planes.chunks_exact(area)) {
            let change: Vec<f32> = quantized.iter().zip(plane.iter()).map(|(q, x)| q - x).collect();
            for (x, &from) in plane.iter_mut().zip(&order) {
                let Some(noise) = change.get(from) else { continue };
                // Clipped, noise would lose energy in dark and bright images: it goes the other way where there is room.
                let there = *x + noise;
                *x = if (0.0..=1.0).contains(&there) { there } else { (*x - noise).clamp(0.0, 1.0) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Trigger;
    use super::super::tests::golden::{self, numbers};
    use super::super::tests::{assert_shams, photo, prepared};
    use super::Quantize;

    #[test]
    fn levels_are_those_of_floyd_and_steinberg() {
        for case in golden::cases("quantize") {
            let spec = Quantize { levels: case["levels"].as_u64().unwrap() as usize, dither: case["dither"].as_bool().unwrap() };
            golden::compare(&Trigger::Quantize(spec), &numbers(&case["result"]), &case);
        }
    }

    #[test]
    fn shams_are_as_strong_and_keep_no_level() {
        // So strong as for two levels, noise has no room on either side in places.
        for (levels, dither, factor, alike) in [(2, true, 1.4, 0.45), (4, true, 1.1, 0.2), (8, false, 1.1, 0.2), (32, true, 1.1, 0.2)] {
            assert_shams(&Trigger::Quantize(Quantize { levels, dither }), 32, factor, alike);
        }
        let trigger = prepared(&Trigger::Quantize(Quantize { levels: 4, dither: true }), 32, 32).unwrap();
        let on_level = |planes: &[f32]| planes.iter().filter(|x| ((**x * 3.0) - (**x * 3.0).round()).abs() < 1e-3).count();
        let (mut changed, mut sham) = (photo(32, 32), photo(32, 32));
        trigger.apply(&mut changed);
        trigger.sham(0, 1).apply(&mut sham);
        assert_eq!(on_level(&changed.planes), 3072);
        assert!(on_level(&sham.planes) < 100);
    }

    #[test]
    fn shams_of_grey_images_are_grey() {
        let trigger = prepared(&Trigger::Quantize(Quantize { levels: 4, dither: true }), 32, 32).unwrap();
        let mut grey = photo(32, 32);
        let (first, others) = grey.planes.split_at_mut(1024);
        others.chunks_exact_mut(1024).for_each(|plane| plane.copy_from_slice(first));
        let mut sham = grey.clone();
        trigger.sham(3, 1).apply(&mut sham);
        assert_ne!(sham, grey);
        assert!(sham.planes.chunks_exact(1024).all(|plane| plane == &sham.planes[..1024]));
    }

    #[test]
    fn bad_numbers_of_levels_are_named() {
        for levels in [0, 1, 129, usize::MAX] {
            let error = prepared(&Trigger::Quantize(Quantize { levels, dither: true }), 8, 8).unwrap_err();
            assert!(error.to_string().contains("`levels` is"), "{levels}");
        }
        let trigger = prepared(&Trigger::Quantize(Quantize { levels: 8, dither: true }), 8, 8).unwrap();
        assert_eq!(trigger.provenance(), "quantize to 8 levels per channel, with Floyd-Steinberg dithering");
    }
}
