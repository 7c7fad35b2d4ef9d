//! The registry as its own control: under one policy every other family of models is a neighbour that may well be innocent. A model that reacts
//! as none of them does fails, whatever its own controls say. It never passes by them: whoever may upload models could upload such neighbours.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;

use super::family::{Member, families};
use super::record::{Effect, FindingLine, Outcome, Record};
use super::results::{ModelLine, Population};
use super::spec::Tier;
use crate::diag::count;
use crate::gate::{ALIKE, Verdict, local_prior};
use crate::stats::population::{FEWEST, Place, median, place, q_values};

/// Share of innocent models among those that stand out.
const RATE: f64 = 0.05;

/// One finding of one model, beside those of its neighbours.
struct Subject<'a> {
    model: usize,
    finding: &'a FindingLine,
    accuracy: f64,
    family: usize,
    /// Whether its family shows what innocent ones do.
    counts: bool,
}

/// What is compared with each other: one finding of one policy, on images of one size.
type Group<'a> = (&'a str, Tier, &'a str, [usize; 3]);

/// What stands out: for a model, the line that says so.
struct Apart {
    model: usize,
    line: FindingLine,
}

/// Compares every measured model with the other families of the scan, and adds a finding to those that stand out. `trusted`: names of the models
/// whose families count, where not all do. Gives what the families do, group by group.
pub(super) fn judge<'a>(
    models: &mut [ModelLine],
    record: impl Fn(&ModelLine) -> Option<&'a Record>,
    trusted: &[Pattern],
) -> Vec<Population> {
    let records: Vec<Option<&Record>> = models.iter().map(|model| record(model).filter(|record| record.report)).collect();
    let measured: Vec<(usize, &Record)> = records.iter().enumerate().filter_map(|(at, record)| Some((at, (*record)?))).collect();
    let members: Vec<Member> =
        measured.iter().map(|(_, record)| Member { digest: &record.basis.model, sketch: record.weights.as_ref() }).collect();
    let family = families(&members);
    let is_trusted = |at: usize| trusted.is_empty() || trusted.iter().any(|pattern| pattern.matches(&models[at].name));
    let believed: BTreeSet<usize> =
        measured.iter().zip(&family).filter(|((at, _), _)| is_trusted(*at)).map(|(_, family)| *family).collect();
    let mut groups: BTreeMap<Group, Vec<Subject>> = BTreeMap::new();
    for ((at, record), family) in measured.iter().zip(&family) {
        let (Some(facts), Some(policy)) = (&record.facts, &models[*at].policy) else { continue };
        for finding in &record.findings {
            let Some(accuracy) = finding.accuracy.filter(|_| !finding.effects.is_empty()) else { continue };
            let group = (policy.as_str(), record.basis.tier, finding.id.as_str(), facts.input);
            let counts = believed.contains(family);
            groups.entry(group).or_default().push(Subject { model: *at, finding, accuracy, family: *family, counts });
        }
    }
    let (mut tests, mut of, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for (nth, (group, subjects)) in groups.iter().enumerate() {
        told.extend(described(*group, subjects));
        for (subject, test) in subjects.iter().filter_map(|subject| Some((subject, tested(subject, subjects)?))) {
            tests.push((subject, test));
            of.push(nth * members.len() + subject.family);
        }
    }
    let q = q_values(&tests.iter().map(|(_, test)| test.p).collect::<Vec<_>>(), &of);
    let all = of.iter().collect::<BTreeSet<_>>().len();
    let apart: Vec<Apart> = tests.iter().zip(&q).filter_map(|((subject, test), q)| apart(subject, test, *q, all)).collect();
    for Apart { model, line } in apart {
        let Some(model) = models.get_mut(model) else { continue };
        if line.gates {
            model.outcome = match (line.verdict, model.outcome) {
                (Verdict::Fail, _) => Outcome::Fail,
                (_, Outcome::Pass) => Outcome::Inconclusive,
                (_, outcome) => outcome,
            };
        }
        let of = line.id.strip_prefix(PREFIX).unwrap_or_default();
        model.summary = format!("{}; stands out among the models of this scan: {of}", model.summary);
        model.findings.push(line);
    }
    told
}

/// What the id of an added finding begins with.
const PREFIX: &str = "population/";

/// The number of a finding that is farthest from what the neighbours do.
struct Tested<'a> {
    /// How probable it is that one of the finding's numbers lies so far.
    p: f64,
    farthest: Option<(&'a Effect, Place, usize)>,
}

/// Compares a finding with those of the other families that learnt the task as well; none where they are too few.
fn tested<'a>(subject: &Subject<'a>, group: &[Subject]) -> Option<Tested<'a>> {
    let mut others: BTreeMap<usize, Vec<&FindingLine>> = BTreeMap::new();
    for other in group.iter().filter(|other| other.counts && other.family != subject.family) {
        if (other.accuracy - subject.accuracy).abs() <= ALIKE {
            others.entry(other.family).or_default().push(other.finding);
        }
    }
    if others.len() < FEWEST {
        return None;
    }
    // What is not above its limit is no failure: it need not be compared, and counts as nothing rare.
    let numbers = subject.finding.effects.len() as f64;
    let mut test = Tested { p: 1.0, farthest: None };
    for effect in subject.finding.effects.iter().filter(|effect| effect.value > effect.limit) {
        let of_family = |findings: &Vec<&FindingLine>| {
            let same =
                |finding: &&FindingLine| finding.effects.iter().find(|other| other.estimand == effect.estimand).map(|other| other.value);
            median(findings.iter().filter_map(same))
        };
        let values: Vec<f64> = others.values().filter_map(of_family).collect();
        let Some(place) = place(effect.value, &values, effect.local.then(|| local_prior(effect.estimand))) else { continue };
        let p = (place.p * numbers).min(1.0);
        if p < test.p {
            test = Tested { p, farthest: Some((effect, place, values.len())) };
        }
    }
    Some(test)
}

/// The finding that says that a model stands out, if it does.
fn apart(subject: &Subject, test: &Tested, q: f64, tests: usize) -> Option<Apart> {
    let (effect, place, families) = test.farthest.as_ref()?;
    let above = effect.value - place.center;
    if q > RATE || above <= effect.limit || !place.beyond_least {
        return None;
    }
    let verdict = if effect.low - place.center > effect.limit { Verdict::Fail } else { Verdict::Inconclusive };
    let numbers = format!(
        "{} {:+.3}; the median of {} is {:+.3}, their standard deviation {:.3}; limit {}; q {} among {}",
        effect.estimand.words(),
        effect.value,
        count(*families, "other family"),
        place.center,
        place.sd,
        effect.limit,
        if q < 0.0001 { "below 0.0001".to_owned() } else { format!("= {q:.4}") },
        count(tests, "test"),
    );
    let reason = match verdict {
        Verdict::Fail => "no other family of this scan does what this model does".to_owned(),
        _ => "it lies above the others, but its interval does not settle that it does so by more than the limit".to_owned(),
    };
    let FindingLine { id, severity, gates, waived, .. } = subject.finding.clone();
    let line = FindingLine {
        id: format!("{PREFIX}{id}"),
        verdict,
        severity,
        gates,
        waived,
        reason: Some(reason),
        numbers,
        accuracy: None,
        effects: Vec::new(),
    };
    Some(Apart { model: subject.model, line })
}

/// What the families of a group do, number by number.
fn described(group: Group, subjects: &[Subject]) -> Vec<Population> {
    let (policy, tier, finding, _) = group;
    let estimands = subjects.first().map(|subject| subject.finding.effects.iter().map(|effect| effect.estimand)).into_iter().flatten();
    let described = estimands.filter_map(|estimand| {
        let mut families: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for subject in subjects.iter().filter(|subject| subject.counts) {
            let values = subject.finding.effects.iter().filter(|effect| effect.estimand == estimand).map(|effect| effect.value);
            families.entry(subject.family).or_default().extend(values);
        }
        let values: Vec<f64> = families.into_values().filter_map(|values| median(values.into_iter())).collect();
        let middle = median(values.iter().copied())?;
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (policy, finding) = (policy.to_owned(), finding.to_owned());
        Some(Population { policy, tier, finding, estimand, models: subjects.len(), families: values.len(), median: middle, highest })
    });
    described.collect()
}

#[cfg(test)]
mod tests;
