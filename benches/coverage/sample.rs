//! Seeds that train on parts of one sample of training images, where the effect over samples is asked for.

use heirloom::probe::Table;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Training images of a sample, and the part of them that a seed trains on.
const TRAINING: usize = 300;
const SHARE: f64 = 0.8;

/// A cell: to first order, an effect is the mean of what each training image brings, plus what a seed draws for itself.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub seeds: usize,
    pub images: usize,
    /// Standard deviation that other samples of the same number bring.
    pub of_samples: f64,
    /// The same of a seed's own draws.
    pub of_seeds: f64,
}

impl Sample {
    /// Whether an interval of 95% holds the effect over all samples, which is 0: the one that is judged by, and the one about other training images.
    pub fn experiment(&self, rng: &mut ChaCha8Rng) -> Option<[bool; 2]> {
        let draw = |rng: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(rng) };
        let scale = self.of_samples * (TRAINING as f64).sqrt();
        let brought: Vec<f64> = (0..TRAINING).map(|_| scale * draw(rng)).collect();
        let of_images: Vec<f64> = (0..self.images).map(|_| 0.3 * draw(rng)).collect();
        let part = (SHARE * TRAINING as f64).round() as usize;
        let rows: Vec<Vec<f64>> = (0..self.seeds)
            .map(|_| {
                let of_seed = index::sample(rng, TRAINING, part).iter().filter_map(|at| brought.get(at)).sum::<f64>() / part as f64;
                let own = of_seed + self.of_seeds * draw(rng);
                of_images.iter().map(|of_image| own + of_image + 0.2 * draw(rng)).collect()
            })
            .collect();
        let table = Table { rows, images: self.images, effective: self.images, between_halves: 0.0, between_seeds: 0.0 };
        let fit = table.crossed()?;
        Some([fit, fit.on_another_sample(SHARE)].map(|fit| fit.low(0.025) <= 0.0 && fit.high(0.025) >= 0.0))
    }
}
