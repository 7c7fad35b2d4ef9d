//! The interval of a mean over a table of seeds x clusters, where every seed saw the same clusters.
//!
//! Images over seeds are not independent: an odd image is odd for every seed, an odd seed is odd on every image.
//! The two-way layout tells the parts apart:
//! `H^2 = [t^2(S-1) (MS_seed + A) + t^2(W-1) (max(0, MS_image - MS_rest) + B)] / (S C)`, W the clusters that the estimate is worth, A and B
//! what choosing on halves of the seeds and of the clusters adds, each part at its own quantile (Banerjee 1960, whose
//! interval covers at least as often as it says), and the interval reaches `H` to either side where the mean is about normal.
//!
//! A rare effect is not: few clusters carry it, and the mean is skewed. With `r` the third over the second cumulant of the mean, the
//! side it is skewed to reaches `z^2 |r| / 2 + sqrt(H^2 + z^4 r^2 / 4)` and the other the root alone. For clusters that are 0 or 1 and on
//! which all seeds agree, the first is Wilson's bound; the second is not drawn in as Wilson's is, because effects can have either sign.

use super::{normal, student_t};

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
    /// Third over second cumulant of the mean, from the clusters' own means; 1 / C times the skewness of one rare effect of size 1.
    pub skew: f64,
    /// What is added to the mean square of clusters because halves choose for each other: see [`Worth::between_halves`].
    pub between_halves: f64,
    /// The same for seeds: see [`Worth::between_seeds`].
    pub between_seeds: f64,
    /// Independent clusters that the estimate is worth.
    pub worth: usize,
    /// What a cluster that shows an effect adds to the mean; where none does, what a whole one would: one over the clusters that the
    /// estimate is worth.
    pub unit: f64,
}

/// Sums up a table with one row per seed and one value per cluster.
///
/// `None` with fewer than two seeds or clusters, rows of unequal length, or a value that is not finite: then there is
/// no interval, and nothing may be judged.
pub fn crossed(table: &[Vec<f64>]) -> Option<Crossed> {
    crossed_worth(table, &Worth { clusters: table.first()?.len(), between_halves: 0.0, between_seeds: 0.0 })
}

/// What is to be known of a table beside its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// Independent clusters that the estimate rests on.
    pub clusters: usize,
    /// Mean square that the choice on halves adds to that of the clusters. Half the clusters choose what the other half estimates, and the
    /// other way round: where nothing stands out, both halves tend to be off to the same side.
    pub between_halves: f64,
    /// The same for seeds, where half of the seeds choose what the others estimate.
    pub between_seeds: f64,
}

/// [`crossed`] of an estimate that rests on a part of the clusters. A difference between the means of n and m clusters is worth
/// `n m / (n + m)`, and its values in the table are scaled up to that of all clusters.
pub fn crossed_worth(table: &[Vec<f64>], worth: &Worth) -> Option<Crossed> {
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
    let variance =
        ((ms_seed + (ms_image - ms_rest).max(0.0)) / (s * c)).max(by_cluster.iter().map(|v| square(v - mean)).sum::<f64>() / (c * c));
    let third = by_cluster.iter().map(|v| (v - mean).powi(3)).sum::<f64>() / c.powi(3);
    let skew = if variance > f64::MIN_POSITIVE { third / variance } else { 0.0 };
    // A whole effect of a cluster that counts stands in the table at this size.
    let effective = worth.clusters.clamp(1, clusters);
    let whole = c / effective as f64;
    let moment = |power| by_cluster.iter().map(|v| v.abs().powi(power)).sum::<f64>() + UNSEEN * whole.powi(power);
    let unit = moment(3) / moment(2) / c;
    let added = |value: f64| value.is_finite().then(|| value.max(0.0));
    let (between_halves, between_seeds) = (added(worth.between_halves)?, added(worth.between_seeds)?);
    Some(Crossed { mean, seeds, clusters, ms_seed, ms_image, ms_rest, skew, between_halves, between_seeds, worth: effective, unit })
}

/// What choosing on halves of few seeds adds to their mean square, as a share of it: of all of it, because what seeds throw anew for each
/// image chooses too. `open` is the correlation of two halves that choose for each other, which have `n` and `m` seeds.
///
/// The variance of the mean of all is `1 + open` times that of independent ones. Seeds of different halves are correlated by
/// `open / sqrt(n m)` each, which the mean square between seeds does not show: it comes out too small by the mean correlation of two seeds.
pub fn between_seeds(open: f64, [n, m]: [usize; 2]) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let common = open * 2.0 * (n * m).sqrt() / ((n + m) * (n + m - 1.0)).max(1.0);
    (1.0 + open) / (1.0 - common) - 1.0
}

impl Crossed {
    /// Lower bound at the error `alpha` on one side.
    pub fn low(&self, alpha: f64) -> f64 {
        self.mean - self.reach(alpha, -self.skew)
    }

    /// The standard error of the mean.
    pub fn error(&self) -> f64 {
        ((self.ms_seed + self.of_clusters()) / (self.seeds as f64 * self.clusters as f64)).sqrt()
    }

    /// The clusters' own part of their mean square, without what seeds add on each.
    pub fn of_clusters(&self) -> f64 {
        (self.ms_image - self.ms_rest).max(0.0)
    }

    /// Upper bound at the error `alpha` on one side.
    pub fn high(&self, alpha: f64) -> f64 {
        self.mean + self.reach(alpha, self.skew)
    }

    /// The wider side at the error `alpha` on one side; never zero, because a table without variance is a small sample and not certainty.
    pub fn half_width(&self, alpha: f64) -> f64 {
        self.reach(alpha, self.skew.abs())
    }

    /// How far the interval reaches to a side; `skew` is positive if the mean is skewed to it.
    fn reach(&self, alpha: f64, skew: f64) -> f64 {
        let (seed, image) = self.parts(alpha);
        let z2 = normal(alpha).powi(2);
        let root = (seed + image + (z2 * skew / 2.0).powi(2)).sqrt();
        // What Wilson's interval reaches where nothing was seen, in the units that were seen.
        let floor = z2 * self.unit / (1.0 + z2 * self.unit);
        (root + z2 * skew.max(0.0) / 2.0).max(floor)
    }

    /// The same mean seen as that of one sample of training images among many, where every seed trained on a share `share` of that sample.
    ///
    /// What the mean over seeds shares does not show between them. Of the variance that images of a part bring, seeds that train on parts of one
    /// sample show what is left out of it, `1 - share`, and have `share` in common (to first order; the correlation of Nadeau and Bengio 2003,
    /// doi:10.1023/A:1024068626366, where the common part is the training images'): `1 / S` of the variance of the mean becomes
    /// `1 / S + share / (1 - share)`. Whatever else differs between seeds (a head's first weights, the order of images) is taken for that too, so that the
    /// interval is wide rather than narrow.
    #[must_use]
    pub fn on_another_sample(&self, share: f64) -> Self {
        let common = 1.0 + self.seeds as f64 * share / (1.0 - share);
        Self { ms_seed: common * self.ms_seed, between_seeds: common * self.between_seeds, ..*self }
    }

    /// The squared half-width, split into what more seeds and what more images would make smaller.
    pub fn parts(&self, alpha: f64) -> (f64, f64) {
        let cells = self.seeds as f64 * self.clusters as f64;
        let seed = student_t(alpha, self.seeds - 1).powi(2) * (self.ms_seed + self.between_seeds) / cells;
        let freedom = self.worth.saturating_sub(1).max(1);
        let image = student_t(alpha, freedom).powi(2) * (self.of_clusters() + self.between_halves) / cells;
        (seed, image)
    }
}

/// Clusters with a whole effect that are reckoned with though none may have been seen.
const UNSEEN: f64 = 0.1;

#[cfg(test)]
mod tests;
