//! The numbers of probes that change images: from outcome columns to tables of seeds x clusters that an interval can be made of.
//!
//! What is learnt from the data (the class that gains most, the classes that gain at all) is learnt on one half of the
//! test images and estimated on the other, the halves swapped: the same images never choose and estimate. A cluster
//! stays in one half. Each fine-tune of each arm and sham draw has a class of its own: heads of one checkpoint often
//! send a trigger to different classes, and one class for all would hide most of that effect. Which classes gain at all
//! (`prediction_shift`) is learnt of all seeds together.

use std::collections::BTreeMap;

use self::predictions::Predictions;
use self::score::{Score, add_pseudo_values};
use super::table::{AMONG_CLASSES, Layout, OPPOSITE, between_halves, check, kish, largest, lead, openness, paired_seeds};
use super::{Estimand, Measurement, Probe, ProbeError, Setting, Table};

mod predictions;
mod score;

pub use self::predictions::Under;

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
    if setting.estimand == Estimand::ClassFlow {
        // Each side keeps the images of its own class, which are enough in each half.
        return Ok(chosen.enough.contains(&true));
    }
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

/// The label and class between which the trigger moves most images, for most fine-tunes, and for how many: of each the largest flow, learnt on all
/// images. None where no fine-tune has one.
pub(crate) fn flows_between(measurement: &Measurement, setting: &Setting) -> Result<Option<([usize; 2], usize)>, ProbeError> {
    let chosen = Chosen::of(measurement, setting)?;
    let series = Predictions::of(&measurement.outcomes, Under::Trigger)?;
    let classes = measurement.classes.len();
    let mut fine_tunes = vec![0; classes * classes];
    for seed in series.each() {
        let flows = seed.flows(&chosen.halves.concat(), &measurement.labels, &chosen.enough);
        if let Some(pair) = largest(&flows).filter(|pair| flows[*pair] > 0.0) {
            fine_tunes[pair] += 1;
        }
    }
    let most = fine_tunes.iter().enumerate().rev().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > 0);
    Ok(most.map(|(pair, count)| ([pair / classes, pair % classes], *count)))
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

/// The images that count: all of them, or those of the classes that a feature is laid over.
struct Chosen<'a> {
    layout: Layout<'a>,
    halves: [Vec<usize>; 2],
    /// By class: whether each half has so many images of it that a flow from it can be judged.
    enough: Vec<bool>,
}

impl<'a> Chosen<'a> {
    fn of(m: &'a Measurement, setting: &Setting) -> Result<Self, ProbeError> {
        let layout = Layout::of(m, setting.policy_seed)?;
        if layout.halves.iter().any(Vec::is_empty) {
            return Err(ProbeError::TooFewClusters);
        }
        let on = match setting.probe {
            Probe::Spurious(probe) => probe.on.iter().map(|name| class_of(name, &m.classes)).collect::<Result<Vec<_>, _>>()?,
            _ => Vec::new(),
        };
        let chosen = |half: &Vec<usize>| -> Vec<usize> {
            half.iter().copied().filter(|i| on.is_empty() || m.labels.get(*i).is_some_and(|y| on.contains(y))).collect()
        };
        let halves = [chosen(&layout.halves[0]), chosen(&layout.halves[1])];
        if halves.iter().any(Vec::is_empty) {
            return Err(ProbeError::NoneChosen);
        }
        let of_class = |half: &[usize], class: usize| -> Vec<usize> {
            half.iter().copied().filter(|i| m.labels.get(*i).is_some_and(|y| usize::from(*y) == class)).collect()
        };
        let enough = |class| halves.iter().all(|half| kish(&of_class(half, class), layout.of_images) >= FEWEST);
        let enough = (0..m.classes.len()).map(enough).collect();
        Ok(Self { layout, halves, enough })
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
            let choices = self.choices(&seed, &all, setting);
            let Some((chosen, others)) = choices.split_first() else { continue };
            let leader = values(&seed, chosen)?;
            let mut open = 0.0_f64;
            for other in others {
                let ahead: Vec<f64> = leader.iter().zip(values(&seed, other)?).map(|(a, b)| a - b).collect();
                open = open.max(openness(lead(&self.layout, &ahead)));
            }
            sum += open;
        }
        Ok(AMONG_CLASSES * sum / series.seeds.len().max(1) as f64)
    }

    /// What a seed may be scored by, the best first.
    fn choices(&self, seed: &Predictions, images: &[usize], setting: &Setting) -> Vec<Score> {
        /// Of the many pairs of classes, those that come near the first.
        const PAIRS: usize = 8;
        let (labels, classes) = (self.layout.labels, self.layout.classes.len());
        let flow = setting.estimand == Estimand::ClassFlow;
        let rates = if flow { seed.flows(images, labels, &self.enough) } else { seed.gains(images, labels, classes).1 };
        let mut order: Vec<usize> = (0..rates.len()).filter(|at| rates[*at].is_finite()).collect();
        order.sort_by(|a, b| rates[*b].total_cmp(&rates[*a]));
        order.truncate(if flow { PAIRS } else { classes });
        let score = |at: usize| if flow { Score::Flow([(at / classes) as u16, (at % classes) as u16]) } else { Score::Gain(at as u16) };
        order.into_iter().map(score).collect()
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
            (Estimand::ClassFlow, _) => {
                Ok(series.leading_flows(calibration, &self.layout, &self.enough)?.into_iter().map(Score::Flow).collect())
            }
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

#[cfg(test)]
mod tests;
