//! The numbers of probes that change images: from outcome columns to tables of seeds x clusters that an interval can be made of.
//!
//! What is learnt from the data (the class that gains most, the classes that gain at all) is learnt on one half of the
//! test images and estimated on the other, the halves swapped: the same images never choose and estimate. A cluster
//! stays in one half. Each fine-tune of each arm and sham draw has a class of its own: heads of one checkpoint often
//! send a trigger to different classes, and one class for all would hide most of that effect. Which classes gain at all
//! (`prediction_shift`) is learnt of all seeds together.

use std::collections::BTreeMap;

use super::table::{AMONG_CLASSES, Layout, OPPOSITE, between_halves, check, kish, largest, lead, openness, paired_seeds};
use super::{Estimand, Measurement, Outcome, Probe, ProbeError, Setting, Table};

/// Which predictions of a measurement count as changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// Under the trigger.
    Trigger,
    /// Under a sham draw.
    Sham(usize),
}

/// The effect of one column of one arm by itself.
pub fn effect(measurement: &Measurement, column: Under, setting: &Setting) -> Result<Table, ProbeError> {
    let layout = Chosen::of(measurement, setting)?;
    let series = Predictions::of(&measurement.outcomes, column)?;
    layout.table(&[(&series, None)], setting)
}

/// The excess of the trigger over the sham draws of the same model, averaged over the draws.
pub fn excess_over_shams(source: &Measurement, setting: &Setting) -> Result<Table, ProbeError> {
    let layout = Chosen::of(source, setting)?;
    let trigger = Predictions::of(&source.outcomes, Under::Trigger)?;
    let draws = source.outcomes.iter().map(|o| o.shams.len()).min().unwrap_or(0);
    if draws == 0 {
        return Err(ProbeError::NoShams);
    }
    let shams = (0..draws).map(|draw| Predictions::of(&source.outcomes, Under::Sham(draw))).collect::<Result<Vec<_>, _>>()?;
    let pairs: Vec<_> = shams.iter().map(|sham| (&trigger, Some(sham))).collect();
    layout.table(&pairs, setting)
}

/// Whether the excess over shams can be estimated whatever these do: whichever two classes source and shams are drawn to, each half has images
/// enough. Where it is not sure of that it says no.
pub(crate) fn tells_over_any_sham(source: &Measurement, setting: &Setting) -> Result<bool, ProbeError> {
    let chosen = Chosen::of(source, setting)?;
    let count = |numbers: &mut dyn Iterator<Item = usize>| {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        numbers.for_each(|number| *counts.entry(number).or_insert(0) += 1);
        counts
    };
    let enough = |half: &Vec<usize>| {
        let clusters = count(&mut half.iter().filter_map(|i| source.clusters.get(*i)).map(|cluster| *cluster as usize));
        // Images are worth at least as many clusters as the largest one goes into them.
        let largest = clusters.values().max().copied().unwrap_or(1) as f64;
        let worth = |images: usize| images as f64 / largest >= FEWEST;
        let of_class = count(&mut half.iter().filter_map(|i| source.labels.get(*i)).map(|label| usize::from(*label)));
        let images = |class: usize| of_class.get(&class).copied().unwrap_or(0);
        let classes = || 0..source.classes.len();
        classes().flat_map(|a| classes().map(move |b| (a, b))).all(|(a, b)| {
            let (a, b) = if a == b { (images(a), 0) } else { (images(a), images(b)) };
            // Where no image is of neither class, each side keeps its own.
            if half.len() > a + b { worth(half.len() - a - b) } else { worth(half.len() - a) && worth(half.len() - b) }
        })
    };
    Ok(chosen.halves.iter().all(enough))
}

/// The excess over another arm under the same trigger, paired by seed index and image.
pub fn excess_over_arm(source: &Measurement, control: &Measurement, setting: &Setting) -> Result<Table, ProbeError> {
    let layout = Chosen::of(source, setting)?;
    let pairs = paired_seeds(source, control)?;
    let mine = Predictions::of(pairs.iter().map(|[mine, _]| *mine), Under::Trigger)?;
    let other = Predictions::of(pairs.iter().map(|[_, other]| *other), Under::Trigger)?;
    layout.table(&[(&mine, Some(&other))], setting)
}

/// Shares of predictions by class, clean and changed, over all seeds and images: what the paper draws as histograms.
pub(crate) fn histogram(measurement: &Measurement) -> Result<Vec<[f64; 2]>, ProbeError> {
    check(measurement)?;
    let mut shares = vec![[0.0; 2]; measurement.classes.len()];
    let cells = (measurement.labels.len() * measurement.outcomes.len()).max(1) as f64;
    for outcome in &measurement.outcomes {
        for (side, predictions) in [&outcome.clean, &outcome.changed].into_iter().enumerate() {
            for class in predictions {
                if let Some(slot) = shares.get_mut(usize::from(*class)) {
                    slot[side] += 1.0 / cells;
                }
            }
        }
    }
    Ok(shares)
}

/// The gain in share of every class under the trigger, mean over seeds and all images, in class order.
pub(crate) fn gains(measurement: &Measurement) -> Result<Vec<f64>, ProbeError> {
    check(measurement)?;
    let series = Predictions::of(&measurement.outcomes, Under::Trigger)?;
    let all: Vec<usize> = (0..measurement.labels.len()).collect();
    let cells = (all.len() * series.seeds.len()).max(1) as f64;
    let (gain, _) = series.gains(&all, &measurement.labels, measurement.classes.len());
    Ok(gain.into_iter().map(|g| g / cells).collect())
}

/// By class, how many fine-tunes the trigger drags most to it: of each seed the class that gains most among images of other classes, learnt
/// on all images. Most first, equals in class order; fine-tunes of which no class gains are in none.
pub(crate) fn drawn_to(measurement: &Measurement) -> Result<Vec<(usize, usize)>, ProbeError> {
    check(measurement)?;
    let series = Predictions::of(&measurement.outcomes, Under::Trigger)?;
    let all: Vec<usize> = (0..measurement.labels.len()).collect();
    let mut fine_tunes = vec![0; measurement.classes.len()];
    for seed in series.each() {
        let (_, rates) = seed.gains(&all, &measurement.labels, measurement.classes.len());
        let most = largest(&rates).filter(|k| rates.get(*k).is_some_and(|gain| *gain > 0.0));
        if let Some(count) = most.and_then(|k| fine_tunes.get_mut(k)) {
            *count += 1;
        }
    }
    let mut found: Vec<(usize, usize)> = fine_tunes.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(found)
}

/// How many images a half has, and the class that each seed is scored by there.
pub type Learnt = (usize, Vec<usize>);

/// For each column and each half of the test images: the classes that its seeds are scored by, which were learnt on the other half.
pub fn learnt_classes(measurement: &Measurement, columns: &[Under], policy_seed: u64) -> Result<Vec<[Learnt; 2]>, ProbeError> {
    let layout = Layout::of(measurement, policy_seed)?;
    let [first, second] = &layout.halves;
    let of = |column: &Under| {
        let series = Predictions::of(&measurement.outcomes, *column)?;
        let learnt = |calibration: &[usize]| series.leading(calibration, &layout);
        Ok([(first.len(), learnt(second)?), (second.len(), learnt(first)?)])
    };
    columns.iter().map(of).collect()
}

/// Clean and changed predictions of every seed.
struct Predictions<'a> {
    seeds: Vec<(&'a [u16], &'a [u16])>,
}

impl<'a> Predictions<'a> {
    fn of(outcomes: impl IntoIterator<Item = &'a Outcome>, column: Under) -> Result<Self, ProbeError> {
        let pick = |o: &'a Outcome| match column {
            Under::Trigger => Ok((o.clean.as_slice(), o.changed.as_slice())),
            Under::Sham(draw) => o.shams.get(draw).map(|s| (o.clean.as_slice(), s.as_slice())).ok_or(ProbeError::NoShams),
        };
        let seeds: Vec<(&[u16], &[u16])> = outcomes.into_iter().map(pick).collect::<Result<_, _>>()?;
        // A measurement of groups has no changed predictions, which must not read as an effect of nothing.
        match seeds.iter().find(|(clean, changed)| clean.len() != changed.len()) {
            Some((clean, _)) => Err(ProbeError::Columns { images: clean.len() }),
            None => Ok(Self { seeds }),
        }
    }

    /// Each seed by itself.
    fn each(&self) -> impl Iterator<Item = Self> {
        self.seeds.iter().map(|seed| Self { seeds: vec![*seed] })
    }

    /// The class that gains most among images of other classes, for each seed.
    fn leading(&self, images: &[usize], layout: &Layout) -> Result<Vec<usize>, ProbeError> {
        let of = |seed: Self| largest(&seed.gains(images, layout.labels, layout.classes.len()).1).ok_or(ProbeError::OneClass);
        self.each().map(of).collect()
    }

    /// Per class: the net count of predictions gained, and the rate gained among images of other classes (summed over seeds).
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
        // A class that all images show draws nothing from others: it cannot be chosen.
        let rate = |(gained, own): (&f64, &f64)| if total > *own { gained / (total - own) } else { f64::NEG_INFINITY };
        let rates = other.iter().zip(&of_class).map(rate).collect();
        (count, rates)
    }
}

/// What one prediction pair scores, after everything learnt is fixed.
#[derive(Clone)]
enum Score {
    /// Gain of a class among images of other classes.
    Gain(u16),
    /// Share of a class under the trigger, among images of other classes.
    Share(u16),
    /// Any change.
    Flip,
    /// Gain of a set of classes among all images.
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

/// The images that count: all of them, or those of the classes that a feature is laid over.
struct Chosen<'a> {
    layout: Layout<'a>,
    halves: [Vec<usize>; 2],
}

impl<'a> Chosen<'a> {
    fn of(m: &'a Measurement, setting: &Setting) -> Result<Self, ProbeError> {
        let layout = Layout::of(m, setting.policy_seed)?;
        if layout.halves.iter().any(Vec::is_empty) {
            return Err(ProbeError::TooFewClusters);
        }
        let Probe::Spurious(probe) = setting.probe else {
            return Ok(Self { halves: layout.halves.clone(), layout });
        };
        let on = probe.on.iter().map(|name| class_of(name, &m.classes)).collect::<Result<Vec<_>, _>>()?;
        let chosen = |half: &Vec<usize>| -> Vec<usize> {
            half.iter().copied().filter(|i| on.is_empty() || m.labels.get(*i).is_some_and(|y| on.contains(y))).collect()
        };
        let halves = [chosen(&layout.halves[0]), chosen(&layout.halves[1])];
        if halves.iter().any(Vec::is_empty) { Err(ProbeError::NoneChosen) } else { Ok(Self { layout, halves }) }
    }

    /// The mean over pairs (an effect, and what is subtracted from it).
    fn table(&self, pairs: &[(&Predictions, Option<&Predictions>)], setting: &Setting) -> Result<Table, ProbeError> {
        let seeds = pairs.first().map_or(0, |(s, _)| s.seeds.len());
        let labels = self.layout.labels;
        // What is estimated, and what is subtracted from it.
        let mut values = [vec![vec![0.0; labels.len()]; seeds], vec![vec![0.0; labels.len()]; seeds]];
        let weight = 1.0 / pairs.len().max(1) as f64;
        let mut entered = vec![false; labels.len()];
        let mut worth = 0.0;
        for side in [0, 1] {
            let (half, calibration, whole) = (&self.halves[side], &self.halves[1 - side], &self.layout.halves[side]);
            for (series, control) in pairs {
                let own = self.learn(series, calibration, setting)?;
                let other = control.map(|c| self.learn(c, calibration, setting)).transpose()?;
                for (seed, (score, predictions)) in own.iter().zip(&series.seeds).enumerate() {
                    let against = other.as_ref().and_then(|other| other.get(seed));
                    let with = control.and_then(|control| control.seeds.get(seed));
                    // Images of neither class; a task of two classes has none, there each side keeps its own.
                    let joint = |i: &usize| labels.get(*i).is_some_and(|y| score.eligible(*y) && against.is_none_or(|o| o.eligible(*y)));
                    let shared: Vec<usize> = half.iter().copied().filter(joint).collect();
                    let usable = |score: &Score| -> Vec<usize> {
                        if !shared.is_empty() {
                            return shared.clone();
                        }
                        half.iter().copied().filter(|i| labels.get(*i).is_some_and(|y| score.eligible(*y))).collect()
                    };
                    let images = usable(score);
                    let mut clusters = kish(&images, self.layout.of_images);
                    for &i in &images {
                        if let Some(slot) = entered.get_mut(i) {
                            *slot = true;
                        }
                    }
                    let [mine, theirs] = &mut values;
                    if let Some(row) = mine.get_mut(seed) {
                        add_pseudo_values(row, *predictions, score, whole, &images, weight)?;
                    }
                    if let (Some(with), Some(against), Some(row)) = (with, against, theirs.get_mut(seed)) {
                        let images = usable(against);
                        add_pseudo_values(row, *with, against, whole, &images, -weight)?;
                        // Where each side keeps its own images, one may have few.
                        clusters = clusters.min(kish(&images, self.layout.of_images));
                    }
                    if clusters < FEWEST {
                        return Err(ProbeError::FewImages { clusters: clusters.round() as usize });
                    }
                    worth += weight * clusters / seeds as f64;
                }
            }
        }
        let effective = (worth.round() as usize).max(1);
        let images = entered.iter().filter(|e| **e).count();
        let table = |values: &[Vec<f64>]| -> Table {
            let rows = values.iter().map(|row| self.layout.by_cluster(row)).collect();
            Table { rows, images, effective, between_halves: 0.0, between_seeds: 0.0 }
        };
        let [own, control] = &values;
        let both: Vec<Vec<f64>> = own.iter().zip(control).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect();
        let controls: Vec<&Predictions> = pairs.iter().filter_map(|(_, control)| *control).collect();
        let first: Vec<&Predictions> = pairs.iter().take(1).map(|(own, _)| *own).collect();
        let mut sides = Vec::new();
        for (values, series) in [(own, first), (control, controls)] {
            let open = series.iter().map(|s| self.open(s, setting)).sum::<Result<f64, _>>()? / series.len().max(1) as f64;
            sides.push((table(values), open));
        }
        Ok(Table { between_halves: between_halves(&sides), ..table(&both) })
    }

    /// By how much choosing on halves raises the variance of an effect of images, as a share of it.
    fn open(&self, series: &Predictions, setting: &Setting) -> Result<f64, ProbeError> {
        if setting.probe.choice(setting.estimand) == 0.0 {
            return Ok(0.0);
        }
        let all: Vec<usize> = self.halves.concat();
        let whole: Vec<usize> = self.layout.halves.concat();
        let classes = self.layout.classes.len();
        // The pseudo-values of a score, mean over seeds.
        let values = |of: &Predictions, score: &Score| -> Result<Vec<f64>, ProbeError> {
            let images: Vec<usize> =
                all.iter().copied().filter(|i| self.layout.labels.get(*i).is_some_and(|y| score.eligible(*y))).collect();
            let mut row = vec![0.0; self.layout.labels.len()];
            for predictions in &of.seeds {
                add_pseudo_values(&mut row, *predictions, score, &whole, &images, 1.0 / of.seeds.len() as f64)?;
            }
            Ok(row)
        };
        if setting.estimand == Estimand::PredictionShift {
            // Each class is chosen by the sign of its gain. What it adds to the variance is `phi(0)^2` of its own.
            let one = |k: usize| Score::Set((0..classes).map(|class| class == k).collect());
            let square = |values: &[f64]| {
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                values.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
            };
            let (counts, _) = series.gains(&all, self.layout.labels, classes);
            let set = values(series, &Score::Set(counts.iter().map(|g| *g > 0.0).collect()))?;
            let mut added = 0.0;
            for k in 0..classes {
                let of = values(series, &one(k))?;
                added += openness(lead(&self.layout, &of)) * square(&self.layout.by_cluster(&of));
            }
            let total = square(&self.layout.by_cluster(&set));
            let shared = classes as f64 / (classes as f64 - 1.0).max(1.0);
            return Ok(if total > 0.0 { (OPPOSITE / 4.0 * shared * added / total).min(OPPOSITE) } else { 0.0 });
        }
        // Each seed chooses for itself.
        let mut sum = 0.0;
        for seed in series.each() {
            let (_, rates) = seed.gains(&all, self.layout.labels, classes);
            let Some(chosen) = largest(&rates) else { continue };
            let leader = values(&seed, &Score::Gain(chosen as u16))?;
            let mut open = 0.0_f64;
            for other in (0..classes).filter(|k| *k != chosen && rates.get(*k).is_some_and(|rate| rate.is_finite())) {
                let ahead: Vec<f64> = leader.iter().zip(values(&seed, &Score::Gain(other as u16))?).map(|(a, b)| a - b).collect();
                open = open.max(openness(lead(&self.layout, &ahead)));
            }
            sum += open;
        }
        Ok(AMONG_CLASSES * sum / series.seeds.len().max(1) as f64)
    }

    /// Fixes what the estimand learns from the data, for each seed.
    fn learn(&self, series: &Predictions, calibration: &[usize], setting: &Setting) -> Result<Vec<Score>, ProbeError> {
        let classes = self.layout.classes;
        let all = |score: Score| vec![score; series.seeds.len()];
        let led = || series.leading(calibration, &self.layout).map(|led| led.into_iter().map(|k| k as u16));
        match (setting.estimand, setting.probe.class()) {
            (Estimand::Attraction, _) => Ok(led()?.map(Score::Gain).collect()),
            (Estimand::AttackSuccessRate, None) => Ok(led()?.map(Score::Share).collect()),
            (Estimand::AttackSuccessRate, Some(name)) => class_of(name, classes).map(|class| all(Score::Share(class))),
            (Estimand::FlipRate, _) => Ok(all(Score::Flip)),
            (Estimand::PredictionShift, _) => {
                let (counts, _) = series.gains(calibration, self.layout.labels, classes.len());
                Ok(all(Score::Set(counts.iter().map(|g| *g > 0.0).collect())))
            }
            // Policies that ask for it are refused; a stored report may be anything.
            (_, _) => Err(ProbeError::NoAttribute),
        }
    }
}

/// The number of a class.
fn class_of(name: &str, classes: &[String]) -> Result<u16, ProbeError> {
    let at = classes.iter().position(|class| class == name);
    at.map(|at| at as u16).ok_or_else(|| ProbeError::UnknownClass { name: name.to_owned(), classes: classes.join(", ") })
}

/// Clusters that each half must be worth. The spread of fewer is too often nothing by chance.
const FEWEST: f64 = 4.0;

/// Adds a seed's pseudo-values of a ratio: `theta + N_h / n_sh * eligible_i (d_i - theta)` for every image of the half.
fn add_pseudo_values(
    row: &mut [f64],
    (clean, changed): (&[u16], &[u16]),
    score: &Score,
    half: &[usize],
    images: &[usize],
    weight: f64,
) -> Result<(), ProbeError> {
    if images.is_empty() {
        return Err(ProbeError::OneClass);
    }
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
    Ok(())
}

#[cfg(test)]
mod tests;
