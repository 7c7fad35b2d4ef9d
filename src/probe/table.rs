//! What every probe's numbers share: halves that choose and estimate, clusters, and the table that an interval is made of.

use std::collections::BTreeMap;

use super::{Measurement, Outcome};
use crate::stats::crossed::{Crossed, crossed_worth};

/// An effect per seed and cluster, linearised so that plain means of the table are the estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// One row per seed, one value per cluster, scaled so that the mean over a row is that seed's estimate.
    pub rows: Vec<Vec<f64>>,
    /// Pictures that entered.
    pub images: usize,
    /// Independent pictures that the estimate is worth: all clusters, or what the compared groups' sizes come to.
    pub effective: usize,
}

impl Table {
    /// The two-way layout of the table; `None` with fewer than two seeds or clusters.
    pub fn crossed(&self) -> Option<Crossed> {
        crossed_worth(&self.rows, self.effective)
    }

    /// The mean over all seeds and pictures.
    pub fn mean(&self) -> f64 {
        let cells: usize = self.rows.iter().map(Vec::len).sum();
        self.rows.iter().flatten().sum::<f64>() / cells.max(1) as f64
    }
}

/// Which pictures form which half and cluster.
pub(super) struct Layout<'a> {
    pub labels: &'a [u16],
    pub classes: &'a [String],
    /// Row of the table's columns per picture.
    cluster: Vec<usize>,
    clusters: usize,
    pub halves: [Vec<usize>; 2],
}

impl<'a> Layout<'a> {
    pub fn of(m: &'a Measurement, policy_seed: u64) -> Result<Self, ProbeError> {
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
        Ok(Self { labels: &m.labels, classes: &m.classes, cluster, clusters, halves: [a, b] })
    }

    /// How many clusters there are.
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// Values per picture, summed by cluster and scaled so that the mean over clusters is the mean over pictures.
    pub fn by_cluster(&self, values: &[f64]) -> Vec<f64> {
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
    /// No attribute.
    #[error("no attribute of the test pictures was recorded")]
    NoAttribute,
    /// Different pictures or classes.
    #[error("the control was measured on other pictures or classes than the source")]
    Unpaired,
    /// No seed in common.
    #[error("the control shares no seed with the source")]
    NoSharedSeeds,
    /// Nothing to split.
    #[error("the test pictures form fewer than two clusters; calibration and estimation need one each")]
    TooFewClusters,
    /// Only pictures of the learnt class.
    #[error("one half of the test pictures shows only the class that gains; use more test pictures of other classes")]
    OneClass,
    /// No picture of the classes that carry the feature.
    #[error("one half of the test pictures shows none of the classes that `on` names; use more test pictures of them")]
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
    /// An attribute that tells nothing apart.
    #[error("all test pictures with `{attribute}` have the same value ({value}): there are no groups to compare")]
    OneValue {
        /// The attribute.
        attribute: String,
        /// Its value.
        value: String,
    },
    /// Too few pictures per group.
    #[error(
        "`{attribute}`: too few groups (label x value) have at least {least} test pictures to compare any two ({sizes}); use more test \
         pictures, or a smaller `min_group`"
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
