//! Contrasts: weighted sums of how often something is called, over groups of images.

use super::{Compared, Group, Groups};
use crate::probe::{Estimand, Outcome, ProbeError};

/// What a prediction is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hit {
    /// The image's label.
    Label,
    /// A class.
    Class(u16),
}

/// How often something is called in a group, with its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub weight: f64,
    /// Index into [`Groups::used`].
    pub group: usize,
}

/// A number: `constant + sum of weight * P(hit) over the group`.
#[derive(Clone, Debug)]
pub(super) struct Contrast {
    pub constant: f64,
    hit: Hit,
    pub terms: Vec<Term>,
    /// For people.
    pub what: String,
}

/// How often each class is predicted in each group: group by class.
pub(super) type Shares = Vec<Vec<f64>>;

/// What an outcome predicts for the images of each group.
pub(super) fn shares<'a>(outcome: &Outcome, groups: impl Iterator<Item = &'a Vec<usize>>, classes: usize) -> Shares {
    let of = |images: &Vec<usize>| {
        let mut share = vec![0.0; classes];
        let one = 1.0 / images.len().max(1) as f64;
        for called in images.iter().filter_map(|&i| outcome.clean.get(i)) {
            share.iter_mut().skip(usize::from(*called)).take(1).for_each(|s| *s += one);
        }
        share
    };
    groups.map(of).collect()
}

impl Contrast {
    /// The class whose predictions count in a group.
    pub fn class(&self, group: &Group) -> u16 {
        match self.hit {
            Hit::Label => group.label,
            Hit::Class(class) => class,
        }
    }

    /// Its value where predictions are shared out so.
    pub fn value(&self, groups: &Groups, shares: &Shares) -> f64 {
        let rate = |t: &Term| {
            let (group, share) = (groups.used.get(t.group)?, shares.get(t.group)?);
            Some(t.weight * share.get(usize::from(self.class(group)))?)
        };
        self.constant + self.terms.iter().filter_map(rate).sum::<f64>()
    }
}

/// Every contrast that an estimand takes the largest of.
pub(super) fn candidates(
    groups: &Groups,
    classes: &[String],
    compared: &Compared,
    estimand: Estimand,
) -> Result<Vec<Contrast>, ProbeError> {
    let named = match compared.class {
        None => (0..classes.len() as u16).collect(),
        Some(name) => {
            let at = classes.iter().position(|class| class == name);
            vec![at.ok_or_else(|| ProbeError::UnknownClass { name: name.to_owned(), classes: classes.join(", ") })? as u16]
        }
    };
    let class = |at: u16| classes.get(usize::from(at)).map_or("", String::as_str);
    let value = |at: usize| groups.values.get(at).map_or("", String::as_str);
    // Ordered pairs of values: the direction is learnt too.
    let ordered = || {
        let n = groups.values.len();
        (0..n).flat_map(move |a| (0..n).filter(move |b| *b != a).map(move |b| (a, b)))
    };
    // A rate over images of several labels, label by label with the shares of all images: a half in which chance has put more of
    // one label must not be chosen for that, because the other half then has fewer of it.
    let rate = |keep: &dyn Fn(u16) -> bool, value: usize, sign: f64| -> Vec<Term> {
        let chosen: Vec<(usize, &Group)> = groups.used.iter().enumerate().filter(|(_, g)| g.value == value && keep(g.label)).collect();
        let total = chosen.iter().map(|(_, g)| g.images.len()).sum::<usize>().max(1) as f64;
        chosen.into_iter().map(|(group, g)| Term { weight: sign * g.images.len() as f64 / total, group }).collect()
    };
    let mut all = Vec::new();
    match estimand {
        Estimand::WorstGroupAccuracy => {
            for (at, group) in groups.used.iter().enumerate() {
                let what = format!("worst group: {}", groups.name(group, classes));
                all.push(Contrast { constant: 1.0, hit: Hit::Label, terms: vec![Term { weight: -1.0, group: at }], what });
            }
        }
        Estimand::GroupGap => {
            for (a, b) in groups.pairs() {
                for ((a, better), (b, worse)) in [(a, b), (b, a)] {
                    let (better, worse) = (groups.name(better, classes), groups.name(worse, classes));
                    let what = format!("widest gap: {better} are called right more often than {worse}");
                    let terms = vec![Term { weight: 1.0, group: a }, Term { weight: -1.0, group: b }];
                    all.push(Contrast { constant: 0.0, hit: Hit::Label, terms, what });
                }
            }
        }
        Estimand::Reliance => {
            for &c in &named {
                for (u, v) in ordered() {
                    let group = |label: u16, value: usize| groups.used.iter().position(|g| g.label == label && g.value == value);
                    let both = |label: u16| Some([group(label, u)?, group(label, v)?]);
                    let pairs: Vec<_> = (0..classes.len() as u16).filter(|y| *y != c).filter_map(both).collect();
                    let weight = 1.0 / pairs.len().max(1) as f64;
                    let both = |[a, b]: &[usize; 2]| [Term { weight, group: *a }, Term { weight: -weight, group: *b }];
                    let terms: Vec<Term> = pairs.iter().flat_map(both).collect();
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
        Estimand::Attraction | Estimand::AttackSuccessRate | Estimand::ClassFlow | Estimand::FlipRate | Estimand::PredictionShift => {}
    }
    if all.is_empty() { Err(ProbeError::NoAttribute) } else { Ok(all) }
}
