//! The numbers of probes that compare groups: images of one label and one value of an attribute with images of another.
//!
//! Every such number is a contrast: a weighted sum of means over cells of images. Which cells (the widest gap, the worst group, the
//! class that an attribute speaks for) is learnt on one half of the test images and estimated on the other, the halves swapped, as in
//! `paired`; and for each seed on the other seeds, because groups differ from seed to seed. `contrast` lists them, `excess` chooses one and
//! compares source and control at it.

use std::collections::BTreeMap;

use super::table::{Layout, kish};
use super::{Column, Estimand, Measurement, Outcome, ProbeError};

mod contrast;
mod excess;

#[cfg(test)]
use excess::effect;
pub use excess::{excess_over_arm, widest};

/// What a policy says of the groups to compare.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// The attribute.
    pub attribute: &'a str,
    /// Its value that is compared with all others together; each pair of values where absent.
    pub value: Option<&'a str>,
    /// The class whose predictions count; learnt where absent.
    pub class: Option<&'a str>,
    /// Groups of fewer independent test images (clusters) are left out.
    pub least: usize,
}

/// Images of one label and one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Index of the class.
    pub label: u16,
    /// Index into [`Groups::values`].
    pub value: usize,
    /// The images.
    pub images: Vec<usize>,
}

/// The test images by label and value.
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
    /// Sorts images into groups. A group needs images worth `least` clusters, and one in each half where halves are given.
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
            return Err(ProbeError::NoValues { attribute: column.name.clone() });
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

    /// Two groups of one label, each with its place among those used.
    fn pairs(&self) -> impl Iterator<Item = ((usize, &Group), (usize, &Group))> {
        let used = || self.used.iter().enumerate();
        used().flat_map(move |a| used().skip(a.0 + 1).filter(move |b| b.1.label == a.1.label).map(move |b| (a, b)))
    }

    /// The least number of independent clusters that a number of these groups is worth: those of the smallest group, or `n m / (n + m)` for a
    /// difference between two of n and m.
    pub fn effective(&self, estimand: Estimand, clusters: &[u32]) -> usize {
        let size = |group: &Group| kish(&group.images, clusters);
        let least = match estimand {
            Estimand::WorstGroupAccuracy => self.used.iter().map(size).min_by(f64::total_cmp),
            _ => self.pairs().map(|((_, a), (_, b))| size(a) * size(b) / (size(a) + size(b))).min_by(f64::total_cmp),
        };
        least.unwrap_or(1.0).round().max(1.0) as usize
    }

    /// A group for people.
    pub fn name(&self, group: &Group, classes: &[String]) -> String {
        let text = |names: &[String], at: usize| names.get(at).cloned().unwrap_or_default();
        format!("{} of {}", text(classes, usize::from(group.label)), text(&self.values, group.value))
    }
}

/// The groups of a measurement that are judged: large enough, and in both halves.
fn judged_groups(m: &Measurement, compared: &Compared, policy_seed: u64) -> Result<Groups, ProbeError> {
    let layout = Layout::of(m, policy_seed)?;
    let column = m.attribute.as_ref().ok_or(ProbeError::NoAttribute)?;
    Groups::of((&m.labels, &m.clusters), column, compared, Some(&layout.halves))
}

/// The number as other packages compute it, choosing and estimating on the same images: the mean over seeds of each seed's own
/// largest. It is for the reader and decides nothing. [`Estimand::WorstGroupAccuracy`] is an accuracy here.
pub fn plain(m: &Measurement, compared: &Compared, estimand: Estimand, policy_seed: u64) -> Result<f64, ProbeError> {
    let groups = judged_groups(m, compared, policy_seed)?;
    let contrasts = contrast::candidates(&groups, &m.classes, compared, estimand)?;
    let of = |o: &Outcome| {
        let shares = contrast::shares(o, groups.used.iter().map(|group| &group.images), m.classes.len());
        contrasts.iter().map(|c| c.value(&groups, &shares)).fold(f64::NEG_INFINITY, f64::max)
    };
    let mean = m.outcomes.iter().map(of).sum::<f64>() / m.outcomes.len() as f64;
    Ok(if estimand == Estimand::WorstGroupAccuracy { 1.0 - mean } else { mean })
}

/// Images and accuracy of every group that is large enough, and the sizes of those that are not.
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
#[expect(clippy::struct_field_names, reason = "so a report calls it")]
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Accuracy {
    /// The class.
    pub label: String,
    /// The attribute's value.
    pub value: String,
    /// Test images.
    pub images: usize,
    /// Share that is called right.
    pub accuracy: f64,
}

#[cfg(test)]
mod tests;
