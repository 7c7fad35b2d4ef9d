//! From predictions to the table of one contrast: by itself, or over that of a control.
//!
//! Which contrast is judged is learnt: the one at which the source is furthest above every control. Source and control are then compared
//! at this contrast, and at no other: a gap between other groups is no excuse for this one.

use std::collections::BTreeSet;

use super::contrast::{Contrast, candidates, shares};
use super::{Compared, Groups};
use crate::probe::table::{Layout, OPPOSITE, kish, largest, openness, paired_seeds};
use crate::probe::{Measurement, Outcome, ProbeError, Setting, Table};
use crate::stats::crossed::{Crossed, between_seeds, crossed};

/// The test images by group and half, and every contrast between groups.
struct Comparison<'a> {
    layout: Layout<'a>,
    groups: Groups,
    /// By group, the images of each half.
    images: Vec<[Vec<usize>; 2]>,
    /// By group, the clusters that those of each half are worth.
    worth: Vec<[f64; 2]>,
    contrasts: Vec<Contrast>,
}

/// One arm: its outcomes, and for each half, contrast and outcome the contrast's value.
struct Side<'a> {
    outcomes: Vec<&'a Outcome>,
    values: [Vec<Vec<f64>>; 2],
}

impl Side<'_> {
    /// A contrast in a half of the images, the mean over the seeds that choose for one: even ones for odd ones and the other way round.
    fn for_seed(&self, half: usize, contrast: usize, seed: Option<usize>) -> f64 {
        let of = |but: Option<usize>| {
            let values = self.outcomes.iter().zip(&self.values[half][contrast]);
            let kept: Vec<f64> = values.filter(|(o, _)| but.is_none_or(|but| o.seed % 2 != but % 2)).map(|(_, value)| *value).collect();
            (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
        };
        // A single seed has no other to choose for it. No interval is made of it either.
        of(seed).or_else(|| of(None)).unwrap_or(0.0)
    }

    /// A contrast on all images and seeds, halves weighted by their images.
    fn whole(&self, contrast: usize, halves: &[Vec<usize>; 2]) -> f64 {
        let total = halves.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        [0, 1].iter().map(|&half| self.for_seed(half, contrast, None) * halves[half].len() as f64 / total).sum()
    }
}

/// The outcomes of a seed: the source's, and where there is a control the control's.
type Pair<'a> = (&'a Outcome, Option<&'a Outcome>);

/// How far the source is above all controls at a contrast. A control whose own number has the other sign counts as nothing: it is no
/// excuse, and a source that treats groups alike is not to blame for it.
fn above(source: f64, controls: impl Iterator<Item = f64>) -> f64 {
    source - controls.fold(0.0, f64::max)
}

impl<'a> Comparison<'a> {
    fn of(m: &'a Measurement, compared: &Compared, setting: &Setting) -> Result<Self, ProbeError> {
        let layout = Layout::of(m, setting.policy_seed)?;
        if layout.halves.iter().any(Vec::is_empty) {
            return Err(ProbeError::TooFewClusters);
        }
        let column = m.attribute.as_ref().ok_or(ProbeError::NoAttribute)?;
        let groups = Groups::of((&m.labels, &m.clusters), column, compared, Some(&layout.halves))?;
        let first: BTreeSet<usize> = layout.halves[0].iter().copied().collect();
        let split = |all: &Vec<usize>| -> [Vec<usize>; 2] {
            let (a, b) = all.iter().partition(|i| first.contains(i));
            [a, b]
        };
        let images: Vec<[Vec<usize>; 2]> = groups.used.iter().map(|group| split(&group.images)).collect();
        let worth = images.iter().map(|halves| halves.each_ref().map(|half| kish(half, &m.clusters))).collect();
        let contrasts = candidates(&groups, &m.classes, compared, setting.estimand)?;
        Ok(Self { layout, groups, images, worth, contrasts })
    }

    fn side<'o>(&self, outcomes: Vec<&'o Outcome>) -> Side<'o> {
        let classes = self.layout.classes.len();
        let values = [0, 1].map(|half| {
            let of = |o: &&Outcome| shares(o, self.images.iter().map(|halves| &halves[half]), classes);
            let all: Vec<_> = outcomes.iter().map(of).collect();
            self.contrasts.iter().map(|c| all.iter().map(|shares| c.value(&self.groups, shares)).collect()).collect()
        });
        Side { outcomes, values }
    }

    /// The contrast that is judged in the other half by a seed: learnt in this half, and on other seeds. Groups differ from seed to seed,
    /// and seeds that choose the largest of many numbers and then estimate it come out too large.
    fn learnt(&self, source: &Side, controls: &[Side], half: usize, seed: usize) -> Result<usize, ProbeError> {
        let score = |at| {
            let of = |side: &Side| side.for_seed(half, at, Some(seed));
            above(of(source), controls.iter().map(of))
        };
        largest(&(0..self.contrasts.len()).map(score).collect::<Vec<_>>()).ok_or(ProbeError::NoAttribute)
    }

    /// The table of the source's contrast, or where there is a control (an index into `controls`) of its excess over that one.
    fn table(&self, source: &Side, controls: &[Side], over: Option<usize>) -> Result<Table, ProbeError> {
        let n = self.layout.labels.len();
        let over = over.and_then(|at| controls.get(at));
        let pairs: Vec<Pair> = match over {
            None => source.outcomes.iter().map(|o| (*o, None)).collect(),
            Some(control) => {
                let other = |mine: &&Outcome| control.outcomes.iter().find(|o| o.seed == mine.seed).copied();
                source.outcomes.iter().filter_map(|mine| Some((*mine, Some(other(mine)?)))).collect()
            }
        };
        let mut values = vec![vec![0.0; n]; pairs.len()];
        let mut entered = vec![false; n];
        let mut worth = 0.0;
        for (row, (mine, other)) in values.iter_mut().zip(&pairs) {
            for half in [0, 1] {
                let at = self.learnt(source, controls, 1 - half, mine.seed)?;
                self.add_pseudo_values(row, at, mine, half, 1.0);
                if let (Some(control), Some(other)) = (over, other)
                    && control.for_seed(1 - half, at, Some(mine.seed)) >= 0.0
                {
                    self.add_pseudo_values(row, at, other, half, -1.0);
                }
                worth += self.effective(at, half) / pairs.len().max(1) as f64;
                for term in self.contrasts.get(at).iter().flat_map(|contrast| &contrast.terms) {
                    self.images[term.group][half].iter().for_each(|&i| entered[i] = true);
                }
            }
        }
        let rows = values.iter().map(|row| self.layout.by_cluster(row)).collect();
        let images = entered.iter().filter(|e| **e).count();
        let effective = worth.round().max(1.0) as usize;
        let table = Table { rows, images, effective, between_halves: 0.0, between_seeds: 0.0 };
        // Opposite directions are among the candidates.
        let open = OPPOSITE * self.open(source, controls, over, &pairs)?;
        let Some(fit) = table.crossed() else { return Ok(table) };
        let odd = pairs.iter().filter(|(mine, _)| mine.seed % 2 == 1).count();
        let added = fit.ms_seed * between_seeds(open, [pairs.len() - odd, odd]);
        Ok(Table { between_halves: open * fit.of_clusters(), between_seeds: added, ..table })
    }

    /// How far it is open which contrast is chosen, on all images and seeds.
    fn open(&self, source: &Side, controls: &[Side], over: Option<&Side>, pairs: &[Pair]) -> Result<f64, ProbeError> {
        let halves = &self.layout.halves;
        let values = |at: usize| -> Vec<Vec<f64>> {
            let counted = over.is_some_and(|control| control.whole(at, halves) >= 0.0);
            let row = |(mine, other): &Pair| {
                let mut row = vec![0.0; self.layout.labels.len()];
                for (outcome, sign) in [(Some(*mine), 1.0), (other.filter(|_| counted), -1.0)] {
                    let Some(outcome) = outcome else { continue };
                    for half in [0, 1] {
                        self.add_pseudo_values(&mut row, at, outcome, half, sign);
                    }
                }
                self.layout.by_cluster(&row)
            };
            pairs.iter().map(row).collect()
        };
        let score = |at| above(source.whole(at, halves), controls.iter().map(|side| side.whole(at, halves)));
        let chosen = largest(&(0..self.contrasts.len()).map(score).collect::<Vec<_>>()).ok_or(ProbeError::NoAttribute)?;
        let leader = values(chosen);
        let mut open = 0.0_f64;
        for other in (0..self.contrasts.len()).filter(|at| *at != chosen) {
            let mut ahead = values(other);
            ahead.iter_mut().zip(&leader).for_each(|(row, first)| row.iter_mut().zip(first).for_each(|(b, a)| *b = a - *b));
            // Of two classes, what one is called more often the other is called less: the same contrast twice is no choice.
            if ahead.iter().flatten().all(|difference| difference.abs() < 1e-9) {
                continue;
            }
            open = open.max(crossed(&ahead).map_or(1.0, |fit| openness(ahead_by(&fit))));
        }
        Ok(open)
    }

    /// Independent clusters that a contrast is worth in a half: one over the sum of its squared weights over what the groups are worth.
    /// Images of one cluster in two groups count as independent: that they are alike makes a difference between the groups surer, not
    /// less sure.
    fn effective(&self, contrast: usize, half: usize) -> f64 {
        let terms = self.contrasts.get(contrast).iter().flat_map(|contrast| &contrast.terms).collect::<Vec<_>>();
        1.0 / terms.iter().map(|t| t.weight * t.weight / self.worth[t.group][half]).sum::<f64>().max(f64::MIN_POSITIVE)
    }

    /// Adds `theta + sum over groups of weight N_h / n_group (d_i - mean)` for every image of a half: plain means are the contrast, and
    /// their variance is that of its groups to first order. Deviations from a group's own mean are too small by (w - 1) / w on average, w
    /// being the clusters that the group is worth, and are scaled by the root of its inverse.
    fn add_pseudo_values(&self, row: &mut [f64], contrast: usize, outcome: &Outcome, half: usize, sign: f64) {
        let Some(contrast) = self.contrasts.get(contrast) else { return };
        let all = &self.layout.halves[half];
        let mut theta = contrast.constant;
        for term in &contrast.terms {
            let Some(group) = self.groups.used.get(term.group) else { continue };
            let class = contrast.class(group);
            let images = &self.images[term.group][half];
            let hits: Vec<f64> = images.iter().map(|&i| f64::from(u8::from(outcome.clean.get(i) == Some(&class)))).collect();
            let mean = hits.iter().sum::<f64>() / hits.len().max(1) as f64;
            theta += term.weight * mean;
            let worth = self.worth[term.group][half].max(2.0);
            let scale = sign * term.weight * all.len() as f64 / hits.len().max(1) as f64 * (worth / (worth - 1.0)).sqrt();
            for (&i, hit) in images.iter().zip(&hits) {
                row[i] += scale * (hit - mean);
            }
        }
        for &i in all {
            row[i] += sign * theta;
        }
    }
}

/// How far a mean is from zero, in standard errors; nothing is 0 from itself.
fn ahead_by(fit: &Crossed) -> f64 {
    if fit.mean.abs() < 1e-12 { 0.0 } else { fit.mean.abs() / fit.error().max(f64::MIN_POSITIVE) }
}

/// The number of one arm by itself; for [`crate::probe::Estimand::WorstGroupAccuracy`] it is one minus that accuracy.
#[cfg(test)]
pub fn effect(m: &Measurement, compared: &Compared, setting: &Setting) -> Result<Table, ProbeError> {
    let comparison = Comparison::of(m, compared, setting)?;
    comparison.table(&comparison.side(m.outcomes.iter().collect()), &[], None)
}

/// The excess over one of `controls` (all that are there), paired by seed index and image. All controls are compared with at the same
/// contrast: one innocent explanation of it suffices.
pub fn excess_over_arm(
    source: &Measurement,
    controls: &[&Measurement],
    over: usize,
    compared: &Compared,
    setting: &Setting,
) -> Result<Table, ProbeError> {
    let comparison = Comparison::of(source, compared, setting)?;
    controls.iter().try_for_each(|control| paired_seeds(source, control).map(drop))?;
    let sides: Vec<Side> = controls.iter().map(|control| comparison.side(control.outcomes.iter().collect())).collect();
    comparison.table(&comparison.side(source.outcomes.iter().collect()), &sides, Some(over))
}

/// What a finding rests on, in words: the contrast that is judged, as learnt on all images and seeds, with the number of every arm.
pub fn widest(source: &Measurement, controls: &[&Measurement], compared: &Compared, setting: &Setting) -> Result<String, ProbeError> {
    let comparison = Comparison::of(source, compared, setting)?;
    controls.iter().try_for_each(|control| paired_seeds(source, control).map(drop))?;
    let of = |m: &Measurement| -> Vec<f64> {
        let all: Vec<_> = m.outcomes.iter().map(|o| shares(o, comparison.groups.used.iter().map(|g| &g.images), m.classes.len())).collect();
        let mean = |c: &Contrast| all.iter().map(|s| c.value(&comparison.groups, s)).sum::<f64>() / all.len().max(1) as f64;
        comparison.contrasts.iter().map(mean).collect()
    };
    let (mine, others) = (of(source), controls.iter().map(|m| of(m)).collect::<Vec<_>>());
    let scores: Vec<f64> = mine.iter().enumerate().map(|(at, value)| above(*value, others.iter().map(|of| of[at]))).collect();
    let at = largest(&scores).ok_or(ProbeError::NoAttribute)?;
    let contrast = comparison.contrasts.get(at).ok_or(ProbeError::NoAttribute)?;
    // An accuracy is shown as one; it is judged as what is missing.
    let shown = |value: f64| if setting.estimand == crate::probe::Estimand::WorstGroupAccuracy { 1.0 - value } else { value };
    let numbers = std::iter::once((source, &mine)).chain(controls.iter().copied().zip(&others));
    let numbers: Vec<String> = numbers.map(|(m, of)| format!("{} {:.2}", m.arm, shown(of[at]))).collect();
    Ok(format!("{}: {}", contrast.what, numbers.join(", ")))
}
