//! The numbers of probes that compare groups: pictures of one label and one value of an attribute with pictures of another.
//!
//! Every such number is a contrast: a weighted sum of means over cells of pictures. Which cells (the widest gap, the worst group, the
//! class that an attribute speaks for) is learnt on one half of the test pictures and estimated on the other, the halves swapped, and
//! pooled over the seeds of an arm, as in `paired`.

use std::collections::BTreeMap;

use super::table::{Layout, OPPOSITE, between_halves, kish, largest, lead, openness, paired_seeds};
use super::{Column, Estimand, Measurement, Outcome, ProbeError, Setting, Table};

/// What a policy says of the groups to compare.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// The attribute.
    pub attribute: &'a str,
    /// Its value that is compared with all others together; each pair of values where absent.
    pub value: Option<&'a str>,
    /// The class whose predictions count; learnt where absent.
    pub class: Option<&'a str>,
    /// Groups of fewer independent test pictures (clusters) are left out.
    pub least: usize,
}

/// Pictures of one label and one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Index of the class.
    pub label: u16,
    /// Index into [`Groups::values`].
    pub value: usize,
    /// The pictures.
    pub images: Vec<usize>,
}

/// The test pictures by label and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Names of the values: the attribute's, or the named one and all others.
    pub values: Vec<String>,
    /// Groups that are large enough, by label and value.
    pub used: Vec<Group>,
    /// Groups that are not, and are left out.
    pub left_out: Vec<Group>,
}

impl Groups {
    /// Sorts pictures into groups. A group needs pictures worth `least` clusters, and one in each half where halves are given.
    pub fn of(
        (labels, clusters): (&[u16], &[u32]),
        column: &Column,
        compared: &Compared,
        halves: Option<&[Vec<usize>; 2]>,
    ) -> Result<Self, ProbeError> {
        let seen: std::collections::BTreeSet<u32> = column.of.iter().flatten().copied().collect();
        if let [only] = seen.iter().collect::<Vec<_>>()[..] {
            let value = column.values.get(*only as usize).cloned().unwrap_or_default();
            return Err(ProbeError::OneValue { attribute: column.name.clone(), value });
        }
        if seen.is_empty() {
            return Err(ProbeError::NoAttribute);
        }
        let named = match compared.value {
            None => None,
            Some(name) => Some(column.values.iter().position(|v| v == name).ok_or_else(|| ProbeError::UnknownValue {
                name: name.to_owned(),
                attribute: column.name.clone(),
                values: column.values.join(", "),
            })?),
        };
        let values = match compared.value {
            None => column.values.clone(),
            Some(name) => vec![name.to_owned(), format!("not {name}")],
        };
        let value_of = |at: u32| named.map_or(at as usize, |named| usize::from(at as usize != named));
        let mut cells: BTreeMap<(u16, usize), Vec<usize>> = BTreeMap::new();
        for (i, (label, value)) in labels.iter().zip(&column.of).enumerate() {
            if let Some(value) = value {
                cells.entry((*label, value_of(*value))).or_default().push(i);
            }
        }
        let in_both = |images: &[usize]| halves.is_none_or(|halves| halves.iter().all(|half| images.iter().any(|i| half.contains(i))));
        let groups = cells.into_iter().map(|((label, value), images)| Group { label, value, images });
        let enough = |group: &Group| kish(&group.images, clusters).round() as usize >= compared.least;
        let (used, left_out) = groups.partition(|group: &Group| enough(group) && in_both(&group.images));
        let groups = Self { values, used, left_out };
        if groups.pairs().next().is_none() {
            let worth = |g: &Group| kish(&g.images, clusters).round() as usize;
            let all: Vec<usize> = groups.used.iter().chain(&groups.left_out).map(worth).collect();
            let sizes = all.iter().take(12).map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let sizes = if all.len() > 12 { format!("{sizes}, ...") } else { sizes };
            return Err(ProbeError::SmallGroups { attribute: column.name.clone(), least: compared.least, sizes });
        }
        Ok(groups)
    }

    /// Two groups of one label.
    fn pairs(&self) -> impl Iterator<Item = (&Group, &Group)> {
        self.used.iter().enumerate().flat_map(|(at, a)| self.used.iter().skip(at + 1).filter(|b| b.label == a.label).map(move |b| (a, b)))
    }

    /// The least number of independent clusters that a number of these groups is worth: those of the smallest group, or `n m / (n + m)` for a
    /// difference between two of n and m.
    pub fn effective(&self, estimand: Estimand, clusters: &[u32]) -> usize {
        let size = |group: &Group| kish(&group.images, clusters);
        let least = match estimand {
            Estimand::WorstGroupAccuracy => self.used.iter().map(size).min_by(f64::total_cmp),
            _ => self.pairs().map(|(a, b)| size(a) * size(b) / (size(a) + size(b))).min_by(f64::total_cmp),
        };
        least.unwrap_or(1.0).round().max(1.0) as usize
    }

    /// A group for people.
    pub fn name(&self, group: &Group, classes: &[String]) -> String {
        let text = |names: &[String], at: usize| names.get(at).cloned().unwrap_or_default();
        format!("{} of {}", text(classes, usize::from(group.label)), text(&self.values, group.value))
    }
}

/// What a prediction is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hit {
    /// The picture's label.
    Label,
    /// A class.
    Class(u16),
}

/// A mean over a cell, with its weight.
#[derive(Clone, Debug)]
struct Term {
    weight: f64,
    images: Vec<usize>,
}

/// A number: `constant + sum of weight * P(hit) over the cell`.
#[derive(Clone, Debug)]
struct Contrast {
    constant: f64,
    hit: Hit,
    terms: Vec<Term>,
    /// For people.
    what: String,
}

impl Contrast {
    fn hits(&self, outcome: &Outcome, labels: &[u16], i: usize) -> f64 {
        let wanted = match self.hit {
            Hit::Label => labels.get(i).copied(),
            Hit::Class(class) => Some(class),
        };
        f64::from(u8::from(outcome.clean.get(i).copied() == wanted))
    }

    /// The mean over seeds.
    fn value(&self, outcomes: &[&Outcome], labels: &[u16]) -> f64 {
        let term = |t: &Term, o: &Outcome| {
            t.weight * t.images.iter().map(|&i| self.hits(o, labels, i)).sum::<f64>() / t.images.len().max(1) as f64
        };
        let of = |o: &&Outcome| self.terms.iter().map(|t| term(t, o)).sum::<f64>();
        self.constant + outcomes.iter().map(of).sum::<f64>() / outcomes.len().max(1) as f64
    }

    /// The same in other pictures.
    fn within(&self, half: &std::collections::BTreeSet<usize>) -> Self {
        let terms =
            self.terms.iter().map(|t| Term { images: t.images.iter().copied().filter(|i| half.contains(i)).collect(), ..t.clone() });
        Self { terms: terms.collect(), ..self.clone() }
    }

    /// Independent clusters that it is worth: one over the sum of its squared weights over what the cells are worth. Pictures of one
    /// cluster in two cells count as independent: that they are alike makes a difference between the cells surer, not less sure.
    fn effective(&self, clusters: &[u32]) -> f64 {
        1.0 / self.terms.iter().map(|t| t.weight * t.weight / kish(&t.images, clusters)).sum::<f64>().max(f64::MIN_POSITIVE)
    }
}

/// Every contrast that an estimand takes the largest of.
fn candidates(groups: &Groups, classes: &[String], compared: &Compared, estimand: Estimand) -> Result<Vec<Contrast>, ProbeError> {
    let named = match compared.class {
        None => (0..classes.len() as u16).collect(),
        Some(name) => {
            let at = classes.iter().position(|class| class == name);
            vec![at.ok_or_else(|| ProbeError::UnknownClass { name: name.to_owned(), classes: classes.join(", ") })? as u16]
        }
    };
    let class = |at: u16| classes.get(usize::from(at)).map_or("", String::as_str);
    let value = |at: usize| groups.values.get(at).map_or("", String::as_str);
    let difference = |hit, a: Vec<usize>, b: Vec<usize>, what: String| {
        let terms = vec![Term { weight: 1.0, images: a }, Term { weight: -1.0, images: b }];
        Contrast { constant: 0.0, hit, terms, what }
    };
    // Ordered pairs of values: the direction is learnt too.
    let ordered = || {
        let n = groups.values.len();
        (0..n).flat_map(move |a| (0..n).filter(move |b| *b != a).map(move |b| (a, b)))
    };
    // A rate over pictures of several labels, label by label with the shares of all pictures: a half in which chance has put more of
    // one label must not be chosen for that, because the other half then has fewer of it.
    let rate = |keep: &dyn Fn(u16) -> bool, value: usize, sign: f64| -> Vec<Term> {
        let chosen: Vec<&Group> = groups.used.iter().filter(|g| g.value == value && keep(g.label)).collect();
        let total = chosen.iter().map(|g| g.images.len()).sum::<usize>().max(1) as f64;
        let term = |g: &Group| Term { weight: sign * g.images.len() as f64 / total, images: g.images.clone() };
        chosen.into_iter().map(term).collect()
    };
    let mut all = Vec::new();
    match estimand {
        Estimand::WorstGroupAccuracy => {
            for group in &groups.used {
                let terms = vec![Term { weight: -1.0, images: group.images.clone() }];
                let what = format!("worst group: {}", groups.name(group, classes));
                all.push(Contrast { constant: 1.0, hit: Hit::Label, terms, what });
            }
        }
        Estimand::GroupGap => {
            for (a, b) in groups.pairs() {
                for (a, b) in [(a, b), (b, a)] {
                    let what =
                        format!("widest gap: {} are called right more often than {}", groups.name(a, classes), groups.name(b, classes));
                    all.push(difference(Hit::Label, a.images.clone(), b.images.clone(), what));
                }
            }
        }
        Estimand::Reliance => {
            for &c in &named {
                for (u, v) in ordered() {
                    let group = |label: u16, value: usize| groups.used.iter().find(|g| g.label == label && g.value == value);
                    let both = |label: u16| Some([group(label, u)?, group(label, v)?]);
                    let pairs: Vec<_> = (0..classes.len() as u16).filter(|y| *y != c).filter_map(both).collect();
                    let weight = 1.0 / pairs.len().max(1) as f64;
                    let terms: Vec<Term> = pairs
                        .iter()
                        .flat_map(|[a, b]| [(weight, a), (-weight, b)])
                        .map(|(weight, g)| Term { weight, images: g.images.clone() })
                        .collect();
                    if !terms.is_empty() {
                        let what = format!("{} is called more often where it is {} than {}", class(c), value(u), value(v));
                        all.push(Contrast { constant: 0.0, hit: Hit::Class(c), terms, what });
                    }
                }
            }
        }
        Estimand::EqualizedOddsDifference | Estimand::DemographicParityDifference => {
            for &c in &named {
                for (u, v) in ordered() {
                    let rates: &[(&str, &dyn Fn(u16) -> bool)] = if estimand == Estimand::DemographicParityDifference {
                        &[("called", &|_| true)]
                    } else {
                        &[("rightly called", &|y| y == c), ("wrongly called", &|y| y != c)]
                    };
                    for (how, keep) in rates {
                        let (a, b) = (rate(keep, u, 1.0), rate(keep, v, -1.0));
                        if !a.is_empty() && !b.is_empty() {
                            let what = format!("{} is {how} more often where it is {} than {}", class(c), value(u), value(v));
                            all.push(Contrast { constant: 0.0, hit: Hit::Class(c), terms: [a, b].concat(), what });
                        }
                    }
                }
            }
        }
        Estimand::Attraction | Estimand::AttackSuccessRate | Estimand::FlipRate | Estimand::PredictionShift => {}
    }
    if all.is_empty() {
        return Err(ProbeError::NoAttribute);
    }
    Ok(all)
}

/// One measurement, ready for its contrasts.
struct Comparison<'a> {
    layout: Layout<'a>,
    clusters: &'a [u32],
    contrasts: Vec<Contrast>,
    halves: [std::collections::BTreeSet<usize>; 2],
}

impl<'a> Comparison<'a> {
    fn of(m: &'a Measurement, compared: &Compared, setting: &Setting) -> Result<Self, ProbeError> {
        let layout = Layout::of(m, setting.policy_seed)?;
        if layout.halves.iter().any(Vec::is_empty) {
            return Err(ProbeError::TooFewClusters);
        }
        let column = m.attribute.as_ref().ok_or(ProbeError::NoAttribute)?;
        let groups = Groups::of((&m.labels, &m.clusters), column, compared, Some(&layout.halves))?;
        let halves = [0, 1].map(|side| layout.halves[side].iter().copied().collect());
        let contrasts = candidates(&groups, &m.classes, compared, setting.estimand)?;
        // A cell that a half lacks can be neither chosen nor estimated there.
        let there = |c: &Contrast| halves.iter().all(|half| c.within(half).terms.iter().all(|t| !t.images.is_empty()));
        let contrasts: Vec<Contrast> = contrasts.into_iter().filter(there).collect();
        if contrasts.is_empty() {
            return Err(ProbeError::TooFewClusters);
        }
        Ok(Self { layout, clusters: &m.clusters, contrasts, halves })
    }

    /// The contrast that is largest in a half.
    fn largest_in(&self, half: usize, outcomes: &[&Outcome]) -> Result<&Contrast, ProbeError> {
        let values: Vec<f64> = self.contrasts.iter().map(|c| c.within(&self.halves[half]).value(outcomes, self.layout.labels)).collect();
        largest(&values).and_then(|at| self.contrasts.get(at)).ok_or(ProbeError::NoAttribute)
    }

    /// The mean over sides (outcomes, and their sign), each with contrasts that it learnt by itself.
    fn table(&self, sides: &[(Vec<&Outcome>, f64)]) -> Result<Table, ProbeError> {
        let seeds = sides.first().map_or(0, |(outcomes, _)| outcomes.len());
        let n = self.layout.labels.len();
        let mut values = vec![vec![0.0; n]; seeds];
        let mut entered = vec![false; n];
        let mut worth = f64::INFINITY;
        let mut open = Vec::new();
        for (outcomes, sign) in sides {
            let mut each = 0.0;
            let mut own = vec![vec![0.0; n]; seeds];
            for side in [0, 1] {
                let half = &self.halves[side];
                let contrast = self.largest_in(1 - side, outcomes)?.within(half);
                each += contrast.effective(self.clusters);
                contrast.terms.iter().flat_map(|t| &t.images).for_each(|&i| entered[i] = true);
                for (row, outcome) in own.iter_mut().zip(outcomes) {
                    self.add_pseudo_values(row, &contrast, outcome, half, *sign);
                }
            }
            worth = worth.min(each);
            for (row, own) in values.iter_mut().zip(&own) {
                row.iter_mut().zip(own).for_each(|(all, own)| *all += own);
            }
            // Opposite directions are among the candidates.
            let rows = own.iter().map(|row| self.layout.by_cluster(row)).collect();
            let alone = Table { rows, images: n, effective: each.round().max(1.0) as usize, between_halves: 0.0 };
            open.push((alone, OPPOSITE * self.open(outcomes)?));
        }
        let rows = values.iter().map(|row| self.layout.by_cluster(row)).collect();
        let effective = worth.round().max(1.0) as usize;
        Ok(Table { rows, images: entered.iter().filter(|e| **e).count(), effective, between_halves: between_halves(&open) })
    }

    /// How far it is open which contrast is largest, on all pictures.
    fn open(&self, outcomes: &[&Outcome]) -> Result<f64, ProbeError> {
        let all: std::collections::BTreeSet<usize> = self.halves.iter().flatten().copied().collect();
        let values = |contrast: &Contrast| {
            let mut row = vec![0.0; self.layout.labels.len()];
            for outcome in outcomes {
                self.add_pseudo_values(&mut row, contrast, outcome, &all, 1.0 / outcomes.len() as f64);
            }
            row
        };
        let of: Vec<f64> = self.contrasts.iter().map(|c| c.value(outcomes, self.layout.labels)).collect();
        let chosen = largest(&of).ok_or(ProbeError::NoAttribute)?;
        let leader = self.contrasts.get(chosen).map(values).unwrap_or_default();
        let mut open = 0.0_f64;
        for (_, other) in self.contrasts.iter().enumerate().filter(|(at, _)| *at != chosen) {
            let ahead: Vec<f64> = leader.iter().zip(values(other)).map(|(a, b)| a - b).collect();
            // Of two classes, what one is called more often the other is called less: the same contrast twice is no choice.
            if ahead.iter().all(|difference| difference.abs() < 1e-9) {
                continue;
            }
            open = open.max(openness(lead(&self.layout, &ahead)));
        }
        Ok(open)
    }

    /// Adds `theta + sum over cells of weight N_h / n_cell (d_i - mean)` for every picture of a half: plain means are the contrast, and
    /// their variance is that of its cells to first order. Deviations from a cell's own mean are too small by (w - 1) / w on average, w
    /// being the clusters that the cell is worth, and are scaled by the root of its inverse.
    fn add_pseudo_values(
        &self,
        row: &mut [f64],
        contrast: &Contrast,
        outcome: &Outcome,
        half: &std::collections::BTreeSet<usize>,
        sign: f64,
    ) {
        let labels = self.layout.labels;
        let theta = contrast.value(&[outcome], labels);
        for &i in half {
            row[i] += sign * theta;
        }
        for term in &contrast.terms {
            let hits: Vec<f64> = term.images.iter().map(|&i| contrast.hits(outcome, labels, i)).collect();
            let mean = hits.iter().sum::<f64>() / hits.len().max(1) as f64;
            let worth = kish(&term.images, self.clusters).max(2.0);
            let scale = sign * term.weight * half.len() as f64 / hits.len().max(1) as f64 * (worth / (worth - 1.0)).sqrt();
            for (&i, hit) in term.images.iter().zip(&hits) {
                row[i] += scale * (hit - mean);
            }
        }
    }
}

/// The number of one arm by itself; for [`Estimand::WorstGroupAccuracy`] it is one minus that accuracy.
pub fn effect(m: &Measurement, compared: &Compared, setting: &Setting) -> Result<Table, ProbeError> {
    Comparison::of(m, compared, setting)?.table(&[(m.outcomes.iter().collect(), 1.0)])
}

/// The excess over another arm, paired by seed index and picture; each arm has the groups and class that it learnt.
pub fn excess_over_arm(source: &Measurement, control: &Measurement, compared: &Compared, setting: &Setting) -> Result<Table, ProbeError> {
    let comparison = Comparison::of(source, compared, setting)?;
    let pairs = paired_seeds(source, control)?;
    let side = |at: usize| pairs.iter().map(|pair| pair[at]).collect::<Vec<_>>();
    comparison.table(&[(side(0), 1.0), (side(1), -1.0)])
}

/// The groups of a measurement that are judged: large enough, and in both halves.
fn judged_groups(m: &Measurement, compared: &Compared, policy_seed: u64) -> Result<Groups, ProbeError> {
    let layout = Layout::of(m, policy_seed)?;
    let column = m.attribute.as_ref().ok_or(ProbeError::NoAttribute)?;
    Groups::of((&m.labels, &m.clusters), column, compared, Some(&layout.halves))
}

/// The number as other packages compute it, choosing and estimating on the same pictures: the mean over seeds of each seed's own
/// largest. It is for the reader and decides nothing. [`Estimand::WorstGroupAccuracy`] is an accuracy here.
pub fn plain(m: &Measurement, compared: &Compared, estimand: Estimand, policy_seed: u64) -> Result<f64, ProbeError> {
    let groups = judged_groups(m, compared, policy_seed)?;
    let contrasts = candidates(&groups, &m.classes, compared, estimand)?;
    let of = |o: &Outcome| contrasts.iter().map(|c| c.value(&[o], &m.labels)).fold(f64::NEG_INFINITY, f64::max);
    let mean = m.outcomes.iter().map(of).sum::<f64>() / m.outcomes.len() as f64;
    Ok(if estimand == Estimand::WorstGroupAccuracy { 1.0 - mean } else { mean })
}

/// What an arm's number rests on, in words: the contrast that is largest over all pictures and seeds.
pub fn widest(m: &Measurement, compared: &Compared, estimand: Estimand, policy_seed: u64) -> Result<String, ProbeError> {
    let groups = judged_groups(m, compared, policy_seed)?;
    let contrasts = candidates(&groups, &m.classes, compared, estimand)?;
    let outcomes: Vec<&Outcome> = m.outcomes.iter().collect();
    let values: Vec<f64> = contrasts.iter().map(|c| c.value(&outcomes, &m.labels)).collect();
    let at = largest(&values).ok_or(ProbeError::NoAttribute)?;
    contrasts.get(at).map(|c| c.what.clone()).ok_or(ProbeError::NoAttribute)
}

/// Pictures and accuracy of every group that is large enough, and the sizes of those that are not.
pub fn by_group(m: &Measurement, compared: &Compared, policy_seed: u64) -> Result<(Vec<Accuracy>, Vec<Accuracy>), ProbeError> {
    let groups = judged_groups(m, compared, policy_seed)?;
    let right = |i: usize| m.outcomes.iter().filter(|o| o.clean.get(i) == m.labels.get(i)).count() as f64 / m.outcomes.len() as f64;
    let accuracy = |g: &Group| Accuracy {
        label: m.classes.get(usize::from(g.label)).cloned().unwrap_or_default(),
        value: groups.values.get(g.value).cloned().unwrap_or_default(),
        images: g.images.len(),
        accuracy: g.images.iter().map(|&i| right(i)).sum::<f64>() / g.images.len().max(1) as f64,
    };
    Ok((groups.used.iter().map(accuracy).collect(), groups.left_out.iter().map(accuracy).collect()))
}

/// How often a group is called right, mean over seeds.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Accuracy {
    /// The class.
    pub label: String,
    /// The attribute's value.
    pub value: String,
    /// Test pictures.
    pub images: usize,
    /// Share that is called right.
    pub accuracy: f64,
}

#[cfg(test)]
mod tests;
