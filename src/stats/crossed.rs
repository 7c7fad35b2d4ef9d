//! The interval of a mean over a table of seeds x clusters, where every seed saw the same clusters.
//!
//! Images over seeds are not independent: an odd picture is odd for every seed, an odd seed is odd on every picture.
//! The two-way layout tells the parts apart:
//! `half-width^2 = [t^2(S-1) MS_seed + t^2(C-1) max(0, MS_image - MS_rest)] / (S C)`.

use super::{student_t, wilson};

/// A two-way layout, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossed {
    /// Mean over the table.
    pub mean: f64,
    /// Seeds.
    pub seeds: usize,
    /// Clusters.
    pub clusters: usize,
    /// Mean square between seeds, `S - 1` degrees of freedom.
    pub ms_seed: f64,
    /// Mean square between clusters, `C - 1` degrees.
    pub ms_image: f64,
    /// Mean square of what is left, `(S - 1)(C - 1)` degrees.
    pub ms_rest: f64,
    /// Mean over clusters of the squared effect (at most 1 each): the share of discordant pairs, were every effect 0 or 1.
    pub discordant: f64,
    /// Independent clusters that the estimate is worth; fewer than there are where it compares small groups of them.
    pub effective: usize,
}

/// Sums up a table with one row per seed and one value per cluster.
///
/// `None` with fewer than two seeds or clusters, rows of unequal length, or a value that is not finite: then there is
/// no interval, and nothing may be judged.
pub fn crossed(table: &[Vec<f64>]) -> Option<Crossed> {
    crossed_worth(table, table.first()?.len())
}

/// [`crossed`] of an estimate that rests on a part of the clusters. `effective` says how many independent clusters the estimate
/// is worth: a difference between the means of n and m clusters is worth `n m / (n + m)`, and its values in the table are scaled up to
/// that of all clusters.
pub fn crossed_worth(table: &[Vec<f64>], effective: usize) -> Option<Crossed> {
    let seeds = table.len();
    let clusters = table.first()?.len();
    if seeds < 2 || clusters < 2 || table.iter().any(|row| row.len() != clusters || row.iter().any(|v| !v.is_finite())) {
        return None;
    }
    let (s, c) = (seeds as f64, clusters as f64);
    let by_seed: Vec<f64> = table.iter().map(|row| row.iter().sum::<f64>() / c).collect();
    let mut by_cluster = vec![0.0; clusters];
    for row in table {
        by_cluster.iter_mut().zip(row).for_each(|(sum, v)| *sum += v / s);
    }
    let mean = by_seed.iter().sum::<f64>() / s;
    let square = |v: f64| v * v;
    let ms_seed = c * by_seed.iter().map(|v| square(v - mean)).sum::<f64>() / (s - 1.0);
    let ms_image = s * by_cluster.iter().map(|v| square(v - mean)).sum::<f64>() / (c - 1.0);
    let rest = table.iter().zip(&by_seed).flat_map(|(row, a)| row.iter().zip(&by_cluster).map(move |(v, b)| v - a - b + mean));
    let ms_rest = rest.map(square).sum::<f64>() / ((s - 1.0) * (c - 1.0));
    let effective = effective.clamp(1, clusters);
    let share = effective as f64 / c;
    let discordant = by_cluster.iter().map(|v| (square(*v) * share).min(1.0)).sum::<f64>() / c;
    Some(Crossed { mean, seeds, clusters, ms_seed, ms_image, ms_rest, discordant, effective })
}

impl Crossed {
    /// Half-width at the error `alpha` on one side; never zero, because a table without variance is a small sample
    /// and not certainty: at least as far as Wilson's interval reaches for the number of discordant clusters.
    pub fn half_width(&self, alpha: f64) -> f64 {
        let (seed, image) = self.parts(alpha);
        (seed + image).sqrt().max(self.floor(alpha))
    }

    /// The squared half-width, split into what more seeds and what more pictures would make smaller.
    pub fn parts(&self, alpha: f64) -> (f64, f64) {
        let cells = self.seeds as f64 * self.clusters as f64;
        let seed = student_t(alpha, self.seeds - 1).powi(2) * self.ms_seed / cells;
        let image = student_t(alpha, self.clusters - 1).powi(2) * (self.ms_image - self.ms_rest).max(0.0) / cells;
        (seed, image)
    }

    /// How far Wilson's interval reaches for the number of discordant clusters.
    fn floor(&self, alpha: f64) -> f64 {
        wilson(self.discordant * self.effective as f64, self.effective, alpha).reach(self.discordant)
    }
}

#[cfg(test)]
mod tests;
