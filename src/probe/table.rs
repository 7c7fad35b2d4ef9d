//! What every probe's numbers share: halves that choose and estimate, clusters, and the table that an interval is made of.

use std::collections::BTreeMap;

use super::{Measurement, Outcome};
use crate::stats::crossed::{Crossed, Worth, crossed_worth};

/// An effect per seed and cluster, linearised so that plain means of the table are the estimate.
///
/// An estimate that is a ratio or a sum of means over cells is not a mean over all images. Its pseudo-values (estimate plus influence of
/// each image, to first order; Efron and Tibshirani 1993, ch. 11) are, and their variance is that of the estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// One row per seed, one value per cluster, scaled so that the mean over a row is that seed's estimate.
    pub rows: Vec<Vec<f64>>,
    /// Images that entered.
    pub images: usize,
    /// Independent images that the estimate is worth: the clusters that enter, or what the compared groups' sizes come to.
    pub effective: usize,
    /// Mean square that choosing on halves adds: `Worth::between_halves`.
    pub between_halves: f64,
    /// Mean square that choosing on other seeds adds: `Worth::between_seeds`.
    pub between_seeds: f64,
}

impl Table {
    /// The two-way layout of the table; `None` with fewer than two seeds or clusters.
    pub fn crossed(&self) -> Option<Crossed> {
        let Self { between_halves, between_seeds, .. } = *self;
        crossed_worth(&self.rows, &Worth { clusters: self.effective, between_halves, between_seeds })
    }

    /// The estimate of each seed.
    pub fn of_seeds(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().map(|row| row.iter().sum::<f64>() / row.len().max(1) as f64)
    }

    /// The mean of tables of the same seeds and images. What choosing adds is at most their mean.
    pub(crate) fn mean_of(tables: &[&Self]) -> Option<Self> {
        let first = tables.first()?;
        let count = tables.len() as f64;
        let cell = |seed: usize, cluster: usize| -> Option<f64> {
            let values: Option<Vec<f64>> = tables.iter().map(|table| table.rows.get(seed)?.get(cluster).copied()).collect();
            Some(values?.iter().sum::<f64>() / count)
        };
        let row = |(seed, row): (usize, &Vec<f64>)| (0..row.len()).map(|cluster| cell(seed, cluster)).collect();
        Some(Self {
            rows: first.rows.iter().enumerate().map(row).collect::<Option<_>>()?,
            images: tables.iter().map(|table| table.images).min()?,
            effective: tables.iter().map(|table| table.effective).min()?,
            between_halves: tables.iter().map(|table| table.between_halves).sum::<f64>() / count,
            between_seeds: tables.iter().map(|table| table.between_seeds).sum::<f64>() / count,
        })
    }

    /// The mean over all seeds and images.
    pub fn mean(&self) -> f64 {
        let cells: usize = self.rows.iter().map(Vec::len).sum();
        self.rows.iter().flatten().sum::<f64>() / cells.max(1) as f64
    }
}

/// Which images form which half and cluster.
pub(super) struct Layout<'a> {
    pub labels: &'a [u16],
    pub classes: &'a [String],
    /// Cluster number per image.
    pub of_images: &'a [u32],
    /// Row of the table's columns per image.
    cluster: Vec<usize>,
    clusters: usize,
    pub halves: [Vec<usize>; 2],
}

impl<'a> Layout<'a> {
    pub(crate) fn of(m: &'a Measurement, policy_seed: u64) -> Result<Self, ProbeError> {
        check(m)?;
        let mut numbers: Vec<u32> = m.clusters.clone();
        numbers.sort_unstable();
        numbers.dedup();
        let column: BTreeMap<u32, usize> = numbers.iter().enumerate().map(|(at, c)| (*c, at)).collect();
        // Halves of equal size in clusters, in the order of a hash that knows neither model nor label.
        let mut of_seed = blake3::Hasher::new_derive_key("heirloom calibration halves v1");
        of_seed.update(&policy_seed.to_le_bytes());
        let hash = |c: u32| {
            let mut hasher = of_seed.clone();
            hasher.update(&c.to_le_bytes());
            *hasher.finalize().as_bytes()
        };
        let clusters = numbers.len();
        numbers.sort_by_cached_key(|c| hash(*c));
        let first: std::collections::BTreeSet<u32> = numbers.into_iter().take(clusters.div_ceil(2)).collect();
        let (a, b) = (0..m.labels.len()).partition(|i| m.clusters.get(*i).is_some_and(|c| first.contains(c)));
        let cluster = m.clusters.iter().map(|c| column.get(c).copied().unwrap_or(0)).collect();
        Ok(Self { labels: &m.labels, classes: &m.classes, of_images: &m.clusters, cluster, clusters, halves: [a, b] })
    }

    /// How many clusters there are.
    pub(crate) fn clusters(&self) -> usize {
        self.clusters
    }

    /// Values per image, summed by cluster and scaled so that the mean over clusters is the mean over images.
    pub(crate) fn by_cluster(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.clusters];
        let scale = self.clusters as f64 / values.len().max(1) as f64;
        for (value, &at) in values.iter().zip(&self.cluster) {
            if let Some(slot) = sums.get_mut(at) {
                *slot += value * scale;
            }
        }
        sums
    }
}

/// The outcomes of two arms that share a seed index, in the order of the first.
pub(super) fn paired_seeds<'a>(source: &'a Measurement, control: &'a Measurement) -> Result<Vec<[&'a Outcome; 2]>, ProbeError> {
    check(control)?;
    if source.images != control.images || source.labels != control.labels || source.classes != control.classes {
        return Err(ProbeError::Unpaired);
    }
    let pair = |mine: &'a Outcome| control.outcomes.iter().find(|o| o.seed == mine.seed).map(|other| [mine, other]);
    let pairs: Vec<_> = source.outcomes.iter().filter_map(pair).collect();
    if pairs.is_empty() { Err(ProbeError::NoSharedSeeds) } else { Ok(pairs) }
}

/// Independent clusters that the mean over some images is worth (Kish's effective sample size): one over the sum of the squared
/// shares that clusters have of them. No images are worth none.
pub(super) fn kish<'a>(images: impl IntoIterator<Item = &'a usize>, clusters: &[u32]) -> f64 {
    let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
    for cluster in images.into_iter().filter_map(|&i| clusters.get(i)) {
        *counts.entry(*cluster).or_insert(0.0) += 1.0;
    }
    let total = counts.values().sum::<f64>().max(1.0);
    let squares: f64 = counts.values().map(|count| (count / total).powi(2)).sum();
    if squares > 0.0 { 1.0 / squares } else { 0.0 }
}

/// Correlation of two halves that choose a direction for each other where there is none: 2 / pi.
pub(super) const OPPOSITE: f64 = std::f64::consts::FRAC_2_PI;
/// The same for the largest of k independent numbers, `E[max]^2 / (k - 1)`: at most 0.36, for three.
pub(super) const AMONG_CLASSES: f64 = 0.36;

/// How far a choice is open, from 1 (nothing stands out) to 0: `lead` is how far the chosen one is ahead, in standard errors.
///
/// Two halves that choose between a number and its opposite are correlated by `(2 / pi) exp(-z^2 / 2)` with the true lead z (from the
/// mean of a normal variable times its own sign). One standard error is given to chance, because z is only estimated.
pub(super) fn openness(lead: f64) -> f64 {
    (-(lead - 1.0).max(0.0).powi(2) / 2.0).exp()
}

/// What choosing on halves adds to the mean square of clusters; for each side of an excess its table, and by how much its choice raises its
/// variance by itself.
///
/// Each side's halves are off to the same side. So are those of the other one, and where images move both alike, what is common to them
/// falls out of the difference: with a correlation r, `a + b - 2 r^2 sqrt(a b)` of the parts a and b is left.
pub(super) fn between_halves(sides: &[(Table, f64)]) -> f64 {
    let means = |table: &Table| -> Vec<f64> {
        let mut sums = vec![0.0; table.rows.first().map_or(0, Vec::len)];
        table.rows.iter().for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v));
        let mean = sums.iter().sum::<f64>() / sums.len().max(1) as f64;
        sums.iter().map(|v| v - mean).collect()
    };
    let part = |(table, open): &(Table, f64)| if *open > 0.0 { open * table.crossed().map_or(0.0, |c| c.of_clusters()) } else { 0.0 };
    let parts: Vec<f64> = sides.iter().map(part).collect();
    let common = match sides {
        [(one, _), (other, _)] => {
            let (a, b) = (means(one), means(other));
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let scale = dot(&a, &a) * dot(&b, &b);
            let r2 = if scale > 0.0 { dot(&a, &b).powi(2) / scale } else { 0.0 };
            2.0 * r2.min(1.0) * parts.iter().product::<f64>().sqrt()
        }
        _ => 0.0,
    };
    (parts.iter().sum::<f64>() - common).max(0.0)
}

/// How far the mean of pseudo-values, one for each image, is from zero, in standard errors over clusters; nothing is 0 from itself.
pub(super) fn lead(layout: &Layout, values: &[f64]) -> f64 {
    let by_cluster = layout.by_cluster(values);
    let n = by_cluster.len() as f64;
    let mean = by_cluster.iter().sum::<f64>() / n;
    let square = by_cluster.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * (n - 1.0).max(1.0));
    if mean.abs() < 1e-12 { 0.0 } else { mean.abs() / square.sqrt().max(f64::MIN_POSITIVE) }
}

/// Index of the largest value, the first of equals.
pub(super) fn largest(values: &[f64]) -> Option<usize> {
    values.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
}

/// A measurement may come from a stored report: nothing in it is taken for granted.
pub(super) fn check(m: &Measurement) -> Result<(), ProbeError> {
    let n = m.labels.len();
    if n == 0 || m.outcomes.is_empty() {
        return Err(ProbeError::Empty);
    }
    let changed = |o: &&Outcome| m.attribute.is_none() || !o.changed.is_empty();
    let of_changes = m.outcomes.iter().filter(changed).map(|o| &o.changed);
    let columns = m.outcomes.iter().flat_map(|o| std::iter::once(&o.clean).chain(&o.shams)).chain(of_changes);
    let attribute = m.attribute.as_ref().is_none_or(|a| a.of.len() == n);
    if m.images.len() != n || m.clusters.len() != n || !attribute || columns.clone().any(|c| c.len() != n) {
        return Err(ProbeError::Columns { images: n });
    }
    let bad = |class: &&u16| usize::from(**class) >= m.classes.len();
    if let Some(class) = m.labels.iter().find(bad).or_else(|| columns.flatten().find(bad)) {
        return Err(ProbeError::Class { class: *class, classes: m.classes.len() });
    }
    Ok(())
}

/// Why a number cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Nothing was measured.
    #[error("no outcomes were measured")]
    Empty,
    /// Columns of different lengths.
    #[error("the measurement is damaged: its columns do not all have {images} entries")]
    Columns {
        /// Length of the label column.
        images: usize,
    },
    /// A class number that does not exist.
    #[error("the measurement is damaged: it names class number {class} of {classes}")]
    Class {
        /// The number.
        class: u16,
        /// How many there are.
        classes: usize,
    },
    /// No sham predictions.
    #[error("no sham draws were measured")]
    NoShams,
    /// No such control.
    #[error("the control was not measured")]
    NoControl,
    /// No attribute.
    #[error("no attribute of the test images was recorded")]
    NoAttribute,
    /// Different images or classes.
    #[error("the control was measured on other images or classes than the source")]
    Unpaired,
    /// No seed in common.
    #[error("the control shares no seed with the source")]
    NoSharedSeeds,
    /// Nothing to split.
    #[error("the test images form fewer than two clusters; calibration and estimation need one each")]
    TooFewClusters,
    /// Only images of the learnt class.
    #[error("one half of the test images shows only the class that gains; use more test images of other classes")]
    OneClass,
    /// Too few images to learn how much they differ.
    #[error(
        "only {clusters} independent images in one half of the test can show the effect (those of the classes that gain cannot); use more \
         test images of other classes"
    )]
    FewImages {
        /// What they are worth in clusters.
        clusters: usize,
    },
    /// No class of which a flow could be judged.
    #[error(
        "no class has four independent test images in each half of the test, so that none can be judged by itself; use more test images, or \
         leave the class flow out with `flow_limit: 1`"
    )]
    SmallClasses,
    /// No image of the classes that carry the feature.
    #[error("one half of the test images shows none of the classes that `on` names; use more test images of them")]
    NoneChosen,
    /// A class name that is not in the task.
    #[error("the policy names the class \"{name}\", which is not a class of the target task ({classes})")]
    UnknownClass {
        /// What was named.
        name: String,
        /// What there is.
        classes: String,
    },
    /// A value that the attribute does not have.
    #[error("the policy names the value \"{name}\" of `{attribute}`, which has {values}")]
    UnknownValue {
        /// What was named.
        name: String,
        /// The attribute.
        attribute: String,
        /// What there is.
        values: String,
    },
    /// An attribute without values.
    #[error(
        "`{attribute}` is not known of any test image (empty, NaN, None, NA, N/A and null are no values): there are no groups to compare"
    )]
    NoValues {
        /// The attribute.
        attribute: String,
    },
    /// An attribute that tells nothing apart.
    #[error("all test images with `{attribute}` have the same value ({value}): there are no groups to compare")]
    OneValue {
        /// The attribute.
        attribute: String,
        /// Its value.
        value: String,
    },
    /// Too few images per group.
    #[error(
        "`{attribute}`: too few groups (label x value) have at least {least} test images to compare any two ({sizes}); use more test \
         images, or a smaller `min_group`"
    )]
    SmallGroups {
        /// The attribute.
        attribute: String,
        /// The least size.
        least: usize,
        /// Sizes of the groups, for people.
        sizes: String,
    },
}
