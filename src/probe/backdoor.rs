//! The backdoor probe's numbers: from outcome columns to tables of seeds x clusters that an interval can be made of.
//!
//! What is learnt from the data (the class that gains most, the classes that gain at all) is learnt on one half of the
//! test pictures and estimated on the other, the halves swapped: the same pictures never choose and estimate. A cluster
//! stays in one half. The choice is pooled over the seeds of an arm: its heads share the target's classes, and a
//! choice of each seed by itself would add its own noise to the seeds' variance.

use std::collections::BTreeMap;

use super::{Estimand, Measurement};
use crate::stats::crossed::{Crossed, crossed};

/// What is estimated.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Which number.
    pub estimand: Estimand,
    /// The class an attacker would name (only `attack_success_rate` uses it).
    pub target_class: Option<&'a str>,
    /// Seed of the policy: which pictures calibrate.
    pub policy_seed: u64,
}

/// An effect per seed and cluster, linearised so that plain means of the table are the estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// One row per seed, one value per cluster, scaled so that the mean over a row is that seed's estimate.
    pub rows: Vec<Vec<f64>>,
    /// Pictures that entered.
    pub images: usize,
}

impl Table {
    /// The two-way layout of the table; `None` with fewer than two seeds or clusters.
    pub fn crossed(&self) -> Option<Crossed> {
        crossed(&self.rows)
    }

    /// The mean over all seeds and pictures.
    pub fn mean(&self) -> f64 {
        let cells: usize = self.rows.iter().map(Vec::len).sum();
        self.rows.iter().flatten().sum::<f64>() / cells.max(1) as f64
    }
}

/// Which predictions of a measurement count as changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Under the trigger.
    Trigger,
    /// Under a sham draw.
    Sham(usize),
}

/// The effect of one column of one arm by itself.
pub fn effect(measurement: &Measurement, column: Column, setting: &Setting) -> Result<Table, ProbeError> {
    let layout = Layout::of(measurement, setting.policy_seed)?;
    let series = Series::of(measurement, column, None)?;
    layout.table(&[(&series, None)], setting)
}

/// The excess of the trigger over the sham draws of the same model, averaged over the draws.
pub fn excess_over_shams(source: &Measurement, setting: &Setting) -> Result<Table, ProbeError> {
    let layout = Layout::of(source, setting.policy_seed)?;
    let trigger = Series::of(source, Column::Trigger, None)?;
    let draws = source.outcomes.iter().map(|o| o.shams.len()).min().unwrap_or(0);
    if draws == 0 {
        return Err(ProbeError::NoShams);
    }
    let shams = (0..draws).map(|draw| Series::of(source, Column::Sham(draw), None)).collect::<Result<Vec<_>, _>>()?;
    let pairs: Vec<_> = shams.iter().map(|sham| (&trigger, Some(sham))).collect();
    layout.table(&pairs, setting)
}

/// The excess over another arm under the same trigger, paired by seed index and picture.
pub fn excess_over_arm(source: &Measurement, control: &Measurement, setting: &Setting) -> Result<Table, ProbeError> {
    let layout = Layout::of(source, setting.policy_seed)?;
    check(control)?;
    if source.images != control.images || source.labels != control.labels || source.classes != control.classes {
        return Err(ProbeError::Unpaired);
    }
    let seeds: Vec<usize> = source.outcomes.iter().map(|o| o.seed).filter(|s| control.outcomes.iter().any(|o| o.seed == *s)).collect();
    if seeds.is_empty() {
        return Err(ProbeError::NoSharedSeeds);
    }
    let mine = Series::of(source, Column::Trigger, Some(&seeds))?;
    let other = Series::of(control, Column::Trigger, Some(&seeds))?;
    layout.table(&[(&mine, Some(&other))], setting)
}

/// Whether each clean prediction is right, as a table.
pub fn clean_accuracy(measurement: &Measurement) -> Result<Table, ProbeError> {
    let layout = Layout::of(measurement, 0)?;
    let hit =
        |o: &super::Outcome| -> Vec<f64> { o.clean.iter().zip(&measurement.labels).map(|(p, y)| f64::from(u8::from(p == y))).collect() };
    let rows = measurement.outcomes.iter().map(|o| layout.by_cluster(&hit(o))).collect();
    Ok(Table { rows, images: measurement.labels.len() })
}

/// The gain in share of every class under the trigger, mean over seeds and all pictures, in class order.
pub fn gains(measurement: &Measurement) -> Result<Vec<f64>, ProbeError> {
    check(measurement)?;
    let series = Series::of(measurement, Column::Trigger, None)?;
    let all: Vec<usize> = (0..measurement.labels.len()).collect();
    let cells = (all.len() * series.seeds.len()).max(1) as f64;
    let (gain, _) = series.gains(&all, &measurement.labels, measurement.classes.len());
    Ok(gain.into_iter().map(|g| g / cells).collect())
}

/// The class that the trigger drags most predictions of other classes' pictures to, learnt on all pictures.
pub fn drawn_to(measurement: &Measurement) -> Result<Option<usize>, ProbeError> {
    check(measurement)?;
    let series = Series::of(measurement, Column::Trigger, None)?;
    let all: Vec<usize> = (0..measurement.labels.len()).collect();
    let (_, rates) = series.gains(&all, &measurement.labels, measurement.classes.len());
    Ok(largest(&rates).filter(|k| rates.get(*k).is_some_and(|g| *g > 0.0)))
}

/// For each column, and each half of the test pictures: how many pictures it has, and the class they are scored by, which was learnt on
/// the other half.
pub fn learnt_classes(measurement: &Measurement, columns: &[Column], policy_seed: u64) -> Result<Vec<[(usize, usize); 2]>, ProbeError> {
    let layout = Layout::of(measurement, policy_seed)?;
    let [first, second] = &layout.halves;
    let of = |column: &Column| {
        let series = Series::of(measurement, *column, None)?;
        let learnt = |calibration: &[usize]| {
            let (_, rates) = series.gains(calibration, layout.labels, layout.classes.len());
            largest(&rates).ok_or(ProbeError::OneClass)
        };
        Ok([(first.len(), learnt(second)?), (second.len(), learnt(first)?)])
    };
    columns.iter().map(of).collect()
}

/// Clean and changed predictions of every seed.
struct Series<'a> {
    seeds: Vec<(&'a [u16], &'a [u16])>,
}

impl<'a> Series<'a> {
    fn of(m: &'a Measurement, column: Column, seeds: Option<&[usize]>) -> Result<Self, ProbeError> {
        let pick = |o: &'a super::Outcome| match column {
            Column::Trigger => Ok((o.clean.as_slice(), o.changed.as_slice())),
            Column::Sham(draw) => o.shams.get(draw).map(|s| (o.clean.as_slice(), s.as_slice())).ok_or(ProbeError::NoShams),
        };
        let seeds = match seeds {
            None => m.outcomes.iter().map(pick).collect::<Result<_, _>>()?,
            Some(wanted) => {
                let chosen = wanted.iter().filter_map(|s| m.outcomes.iter().find(|o| o.seed == *s));
                chosen.map(pick).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { seeds })
    }

    /// Per class: the net count of predictions gained, and the rate gained among pictures of other classes (summed over seeds).
    fn gains(&self, images: &[usize], labels: &[u16], classes: usize) -> (Vec<f64>, Vec<f64>) {
        let mut count = vec![0.0; classes];
        let mut other = vec![0.0; classes];
        let mut of_class = vec![0.0; classes];
        let add = |slots: &mut [f64], class: u16, by: f64| {
            if let Some(slot) = slots.get_mut(usize::from(class)) {
                *slot += by;
            }
        };
        for &i in images {
            let Some(&label) = labels.get(i) else { continue };
            add(&mut of_class, label, 1.0);
            for (clean, changed) in &self.seeds {
                if let (Some(&a), Some(&b)) = (clean.get(i), changed.get(i)) {
                    for (class, by) in [(a, -1.0), (b, 1.0)] {
                        add(&mut count, class, by);
                        if class != label {
                            add(&mut other, class, by);
                        }
                    }
                }
            }
        }
        let total = images.len() as f64;
        let rates = other.iter().zip(&of_class).map(|(g, n)| if total > *n { g / (total - n) } else { 0.0 }).collect();
        (count, rates)
    }
}

/// What one prediction pair scores, after everything learnt is fixed.
enum Score {
    /// Gain of a class among pictures of other classes.
    Gain(u16),
    /// Share of a class under the trigger, among pictures of other classes.
    Share(u16),
    /// Any change.
    Flip,
    /// Gain of a set of classes among all pictures.
    Set(Vec<bool>),
}

impl Score {
    fn eligible(&self, label: u16) -> bool {
        match self {
            Score::Gain(k) | Score::Share(k) => label != *k,
            Score::Flip | Score::Set(_) => true,
        }
    }

    fn value(&self, clean: u16, changed: u16) -> f64 {
        let one = |yes: bool| f64::from(u8::from(yes));
        match self {
            Score::Gain(k) => one(changed == *k) - one(clean == *k),
            Score::Share(k) => one(changed == *k),
            Score::Flip => one(changed != clean),
            Score::Set(set) => {
                let has = |class: u16| one(set.get(usize::from(class)).copied().unwrap_or(false));
                has(changed) - has(clean)
            }
        }
    }
}

/// Which pictures form which half and cluster.
struct Layout<'a> {
    labels: &'a [u16],
    classes: &'a [String],
    /// Row of the table's columns per picture.
    cluster: Vec<usize>,
    clusters: usize,
    halves: [Vec<usize>; 2],
}

impl<'a> Layout<'a> {
    fn of(m: &'a Measurement, policy_seed: u64) -> Result<Self, ProbeError> {
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

    /// Values per picture, summed by cluster and scaled so that the mean over clusters is the mean over pictures.
    fn by_cluster(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.clusters];
        let scale = self.clusters as f64 / values.len().max(1) as f64;
        for (value, &at) in values.iter().zip(&self.cluster) {
            if let Some(slot) = sums.get_mut(at) {
                *slot += value * scale;
            }
        }
        sums
    }

    /// The mean over pairs (an effect, and what is subtracted from it).
    fn table(&self, pairs: &[(&Series, Option<&Series>)], setting: &Setting) -> Result<Table, ProbeError> {
        let seeds = pairs.first().map_or(0, |(s, _)| s.seeds.len());
        let mut values = vec![vec![0.0; self.labels.len()]; seeds];
        let weight = 1.0 / pairs.len().max(1) as f64;
        let mut entered = vec![false; self.labels.len()];
        for (half, calibration) in [(&self.halves[0], &self.halves[1]), (&self.halves[1], &self.halves[0])] {
            if half.is_empty() {
                return Err(ProbeError::TooFewClusters);
            }
            for (series, control) in pairs {
                let own = self.learn(series, calibration, setting)?;
                let other = control.map(|c| self.learn(c, calibration, setting)).transpose()?;
                // Pictures of neither class; a task of two classes has none, there each side keeps its own.
                let joint =
                    |i: &usize| self.labels.get(*i).is_some_and(|y| own.eligible(*y) && other.as_ref().is_none_or(|o| o.eligible(*y)));
                let shared: Vec<usize> = half.iter().copied().filter(joint).collect();
                let usable = |score: &Score| -> Vec<usize> {
                    if !shared.is_empty() {
                        return shared.clone();
                    }
                    half.iter().copied().filter(|i| self.labels.get(*i).is_some_and(|y| score.eligible(*y))).collect()
                };
                let images = usable(&own);
                add_pseudo_values(&mut values, series, &own, half, &images, weight)?;
                for &i in &images {
                    if let Some(slot) = entered.get_mut(i) {
                        *slot = true;
                    }
                }
                if let (Some(control), Some(score)) = (control, &other) {
                    add_pseudo_values(&mut values, control, score, half, &usable(score), -weight)?;
                }
            }
        }
        let rows = values.iter().map(|row| self.by_cluster(row)).collect();
        Ok(Table { rows, images: entered.iter().filter(|e| **e).count() })
    }

    /// Fixes what the estimand learns from the data.
    fn learn(&self, series: &Series, calibration: &[usize], setting: &Setting) -> Result<Score, ProbeError> {
        let (counts, rates) = series.gains(calibration, self.labels, self.classes.len());
        let class = || largest(&rates).map(|k| k as u16).ok_or(ProbeError::OneClass);
        Ok(match (setting.estimand, setting.target_class) {
            (Estimand::Attraction, _) => Score::Gain(class()?),
            (Estimand::AttackSuccessRate, None) => Score::Share(class()?),
            (Estimand::AttackSuccessRate, Some(name)) => {
                let at = self.classes.iter().position(|c| c == name);
                Score::Share(at.ok_or_else(|| ProbeError::UnknownClass { name: name.to_owned(), classes: self.classes.join(", ") })? as u16)
            }
            (Estimand::FlipRate, _) => Score::Flip,
            (Estimand::PredictionShift, _) => Score::Set(counts.iter().map(|g| *g > 0.0).collect()),
        })
    }
}

/// Adds pseudo-values of a ratio: `theta + N_h / n_sh * eligible_i (d_i - theta)` for every picture of the half.
fn add_pseudo_values(
    values: &mut [Vec<f64>],
    series: &Series,
    score: &Score,
    half: &[usize],
    images: &[usize],
    weight: f64,
) -> Result<(), ProbeError> {
    if images.is_empty() {
        return Err(ProbeError::OneClass);
    }
    for (row, (clean, changed)) in values.iter_mut().zip(&series.seeds) {
        let d: Vec<f64> = images
            .iter()
            .map(|&i| match (clean.get(i), changed.get(i)) {
                (Some(&a), Some(&b)) => score.value(a, b),
                _ => 0.0,
            })
            .collect();
        let theta = d.iter().sum::<f64>() / d.len() as f64;
        let mut put = |i: usize, by: f64| {
            if let Some(slot) = row.get_mut(i) {
                *slot += weight * by;
            }
        };
        for &i in half {
            put(i, theta);
        }
        let scale = half.len() as f64 / images.len() as f64;
        for (&i, d) in images.iter().zip(&d) {
            put(i, scale * (d - theta));
        }
    }
    Ok(())
}

/// Index of the largest value, the first of equals.
fn largest(values: &[f64]) -> Option<usize> {
    values.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
}

/// A measurement may come from a stored report: nothing in it is taken for granted.
fn check(m: &Measurement) -> Result<(), ProbeError> {
    let n = m.labels.len();
    if n == 0 || m.outcomes.is_empty() {
        return Err(ProbeError::Empty);
    }
    let columns = m.outcomes.iter().flat_map(|o| [&o.clean, &o.changed].into_iter().chain(&o.shams));
    if m.images.len() != n || m.clusters.len() != n || columns.clone().any(|c| c.len() != n) {
        return Err(ProbeError::Columns { images: n });
    }
    let bad = |class: &&u16| usize::from(**class) >= m.classes.len();
    if let Some(class) = m.labels.iter().find(bad).or_else(|| columns.flatten().find(bad)) {
        return Err(ProbeError::Class { class: *class, classes: m.classes.len() });
    }
    Ok(())
}

/// Why a number cannot be computed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
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
    /// A class name that is not in the task.
    #[error("`target_class` is \"{name}\", which is not a class of the target task ({classes})")]
    UnknownClass {
        /// What was named.
        name: String,
        /// What there is.
        classes: String,
    },
}

#[cfg(test)]
mod tests;
