//! From findings to how well the rules tell planted from clean sources.
//!
//! An item is a finding with a score. Positive: a planted source under a rule whose trigger it carries, unless it is shown not to transfer it: what
//! is not settled counts against the rules, and is listed apart too. Negative: a clean source under any rule. A planted source under a rule
//! whose trigger it does not carry, or is shown not to transfer, is neither, and is listed apart. Items of a source are not independent; every interval counts sources.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Calibration, FindingRecord, SourceRecord, Transferred};
use super::results::{Alarms, Faint, Named, Operating, Others, Over, Rate, Repeated, Results, Side, Slice};
use crate::gate::Verdict;
use crate::stats::clopper_pearson;
use crate::stats::clustered::{self, Tally};
use crate::stats::power::error_share;
use crate::stats::roc::{self, Item};
use crate::tune::Mode;

/// Error on each side of every interval.
const ALPHA: f64 = 0.025;
/// False-positive rates at which the true-positive rate is told.
const RATES: [f64; 2] = [0.05, 0.10];

/// What a finding counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A planted source under a rule whose trigger it carries, and transfers unless its clean counterpart shows otherwise.
    Planted,
    /// A planted source under a rule whose trigger it carries, which moves fine-tunes by less than the limit beyond the clean counterpart's.
    Below,
    /// The same, where the seeds do not settle it: counted as planted, so that a rule gains nothing by what is hard to settle.
    Open,
    /// A clean source.
    Clean,
    /// A planted source under another rule.
    Other,
}

/// A finding with its source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick<'a> {
    /// The source.
    pub source: &'a SourceRecord,
    /// The number of what belongs together: sources of one architecture and seed, or one source.
    pub cluster: u32,
    /// The finding.
    pub finding: &'a FindingRecord,
    /// The family of its trigger.
    pub family: &'a str,
    /// Whether the source carries a near miss of the rule's trigger.
    pub near: bool,
    /// What it counts as.
    pub kind: Kind,
}

impl Kind {
    /// Whether a rule should fail it.
    pub(crate) fn counts_as_planted(self) -> bool {
        matches!(self, Self::Planted | Self::Open)
    }
}

/// What belongs together: sources of the same kind that began with the same fresh weights, and every other source by itself.
fn clusters(calibration: &Calibration) -> Vec<u32> {
    let mut seen = Vec::new();
    let of = |(nth, source): (usize, &SourceRecord)| {
        let own = (source.planted, source.seed.map(|seed| (source.architecture.clone(), seed)));
        let known = seen.iter().position(|other| own.1.is_some() && *other == own);
        seen.push(own);
        known.unwrap_or(nth) as u32
    };
    calibration.sources.iter().enumerate().map(of).collect()
}

/// All findings of a mode under rules that are calibrated.
pub(crate) fn picks(calibration: &Calibration, mode: Mode) -> Vec<Pick<'_>> {
    let mut picks = Vec::new();
    for (cluster, source) in clusters(calibration).into_iter().zip(&calibration.sources) {
        for finding in source.findings.iter().filter(|finding| finding.mode == mode) {
            let Some(rule) = calibration.policy.rules.iter().find(|rule| rule.id == finding.rule) else { continue };
            let kind = match (source.planted, source.carries.contains(&finding.rule)) {
                (false, _) => Kind::Clean,
                (true, true) => match finding.truth.as_ref().map(|truth| truth.transferred) {
                    None | Some(Transferred::Yes) => Kind::Planted,
                    Some(Transferred::No) => Kind::Below,
                    Some(Transferred::Open) => Kind::Open,
                },
                (true, false) => Kind::Other,
            };
            let near = source.near.contains(&finding.rule);
            picks.push(Pick { source, cluster, finding, family: &rule.family, near, kind });
        }
    }
    picks
}

/// Those that have a score, for a curve.
pub(crate) fn items<'a>(picks: impl Iterator<Item = &'a Pick<'a>>) -> Vec<Item> {
    let item = |pick: &Pick| {
        let score = pick.finding.score?;
        let planted = pick.kind.counts_as_planted();
        (planted || pick.kind == Kind::Clean).then_some(Item { score, planted, cluster: pick.cluster })
    };
    picks.filter_map(item).collect()
}

/// The modes that anything was found in.
pub(crate) fn modes(calibration: &Calibration) -> Vec<Mode> {
    let all = calibration.sources.iter().flat_map(|s| &s.findings).map(|f| f.mode);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the sources of a calibration say together.
pub(crate) fn results(calibration: &Calibration) -> Results {
    let mut results = Results { slices: Vec::new(), alarms: Vec::new(), others: Vec::new(), faint: Vec::new(), agreement: Vec::new() };
    for mode in modes(calibration) {
        let picks = picks(calibration, mode);
        for over in overs(calibration) {
            let inside = |pick: &&Pick| match &over {
                Over::All => true,
                Over::Exact => !pick.near,
                Over::Near => pick.near || pick.kind == Kind::Clean,
                Over::Family(family) => pick.family == family,
                Over::Architecture(name) => &pick.source.architecture == name,
                Over::Rule(rule) => &pick.finding.rule == rule,
            };
            let chosen: Vec<Pick> = picks.iter().filter(inside).copied().collect();
            if !chosen.is_empty() {
                results.slices.push(slice(mode, over, &chosen));
            }
        }
        results.alarms.push(alarms(calibration, mode, &picks));
        let others: Vec<&Pick> = picks.iter().filter(|p| p.kind == Kind::Other).collect();
        results.others.push(Others { mode, side: side(&others), failed: answered(&others, Verdict::Fail) });
        results.faint.push(faint(mode, &picks));
        results.agreement.extend(agreement(calibration, mode, &picks));
    }
    results
}

/// All that numbers are told of. What there is one of would repeat the whole.
fn overs(calibration: &Calibration) -> Vec<Over> {
    let mut overs = vec![Over::All];
    if calibration.sources.iter().any(|source| !source.near.is_empty()) {
        overs.extend([Over::Exact, Over::Near]);
    }
    let rules = &calibration.policy.rules;
    let families = unique(rules.iter().map(|rule| &rule.family));
    let architectures = unique(calibration.sources.iter().map(|source| &source.architecture));
    if families.len() > 1 {
        overs.extend(families.into_iter().map(Over::Family));
    }
    if architectures.len() > 1 {
        overs.extend(architectures.into_iter().map(Over::Architecture));
    }
    overs.extend(rules.iter().map(|rule| Over::Rule(rule.id.clone())));
    overs
}

/// Each once, in the order of their first.
fn unique<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    all.filter(|name| seen.insert(*name)).cloned().collect()
}

fn slice(mode: Mode, over: Over, picks: &[Pick]) -> Slice {
    let planted: Vec<&Pick> = picks.iter().filter(|p| p.kind.counts_as_planted()).collect();
    let clean: Vec<&Pick> = picks.iter().filter(|p| p.kind == Kind::Clean).collect();
    let items = items(picks.iter());
    let mut scores: Vec<f64> = items.iter().filter(|i| !i.planted).map(|i| i.score).collect();
    scores.sort_by(f64::total_cmp);
    Slice {
        mode,
        over,
        planted: side(&planted),
        clean: side(&clean),
        auc: auc(&items),
        operating: RATES.into_iter().filter_map(|rate| operating(&items, rate)).collect(),
        limit_none: scores.last().copied(),
        limit_five_percent: limit(&scores, 0.05),
        smallest_planted: items.iter().filter(|i| i.planted).map(|i| i.score).min_by(f64::total_cmp),
        passed: answered(&planted, Verdict::Pass),
    }
}

/// The area under the ROC curve, counting sources; none where a side has fewer than two.
fn auc(items: &[Item]) -> Option<Rate> {
    let auc = roc::auc_clustered(items, ALPHA)?;
    Some(Rate::new(auc.value, auc.interval))
}

/// The least of ascending scores that at most a share of them is above.
fn limit(scores: &[f64], share: f64) -> Option<f64> {
    let above = (share * scores.len() as f64 + 1e-9).floor() as usize;
    scores.len().checked_sub(above + 1).and_then(|at| scores.get(at)).copied()
}

fn operating(items: &[Item], rate: f64) -> Option<Operating> {
    let by_source = roc::operating_clustered(items, rate, ALPHA);
    let clustered = by_source.is_some();
    let found = by_source.or_else(|| roc::operating(items, rate, ALPHA))?;
    Some(Operating {
        at: rate,
        threshold: Some(found.point.threshold).filter(|t| t.is_finite()),
        false_positive: Rate::new(found.point.false_positive_rate, found.false_positive),
        true_positive: Rate::new(found.point.true_positive_rate, found.true_positive),
        clustered,
    })
}

fn side(picks: &[&Pick]) -> Side {
    let count = |verdicts: &[Verdict]| picks.iter().filter(|p| verdicts.contains(&p.finding.verdict)).count();
    Side {
        sources: picks.iter().map(|p| p.cluster).collect::<BTreeSet<_>>().len(),
        findings: picks.len(),
        unscored: picks.iter().filter(|p| p.finding.score.is_none()).count(),
        fail: count(&[Verdict::Fail]),
        inconclusive: count(&[Verdict::Inconclusive]),
        pass: count(&[Verdict::Pass]),
        other: count(&[Verdict::Error, Verdict::Skipped]),
    }
}

fn name(pick: &Pick) -> Named {
    Named {
        source: pick.source.name.clone(),
        rule: pick.finding.rule.clone(),
        verdict: pick.finding.verdict,
        score: pick.finding.score,
        over_counterpart: pick.finding.truth.as_ref().and_then(|truth| truth.excess.as_ref()).map(|excess| excess.value),
    }
}

fn answered(picks: &[&Pick], verdict: Verdict) -> Vec<Named> {
    picks.iter().filter(|p| p.finding.verdict == verdict).map(|p| name(p)).collect()
}

fn faint(mode: Mode, picks: &[Pick]) -> Faint {
    let of = |kinds: &[Kind]| picks.iter().filter(|p| kinds.contains(&p.kind)).collect::<Vec<_>>();
    let carried = of(&[Kind::Planted, Kind::Below, Kind::Open]);
    let as_planted = carried.iter().map(|p| Pick { kind: Kind::Planted, ..**p });
    let both: Vec<Pick> = as_planted.chain(of(&[Kind::Clean]).into_iter().copied()).collect();
    Faint {
        mode,
        compared: carried.iter().filter(|p| p.finding.truth.is_some()).count(),
        below: side(&of(&[Kind::Below])),
        open: side(&of(&[Kind::Open])),
        all: of(&[Kind::Below, Kind::Open]).into_iter().map(name).collect(),
        auc: auc(&items(both.iter())),
    }
}

/// A failure holds where the excess at more seeds is above the limit, a pass where it is not.
fn agreement(calibration: &Calibration, mode: Mode, picks: &[Pick]) -> Option<Repeated> {
    let seeds = picks.iter().filter_map(|p| Some(p.finding.again.as_ref()?.seeds)).max()?;
    let limit = |rule: &str| calibration.policy.rules.iter().find(|r| r.id == rule).map_or(f64::NAN, |r| r.limit);
    let mut open = 0;
    let mut held: Vec<(Named, u32, bool)> = Vec::new();
    for pick in picks {
        let Some(score) = pick.finding.again.as_ref().and_then(|again| again.score) else { continue };
        let above = score > limit(&pick.finding.rule);
        let holds = match pick.finding.verdict {
            Verdict::Fail => above,
            Verdict::Pass => !above,
            _ => {
                open += 1;
                continue;
            }
        };
        held.push((Named { score: Some(score), ..name(pick) }, pick.cluster, holds));
    }
    let settled = held.len();
    // Findings of one source hold or fall together.
    let tallies = by_source(held.iter().map(|(_, cluster, holds)| (*cluster, *holds)));
    let agree = clustered::share(&tallies, ALPHA).map(|share| Rate::new(share.rate, share.interval));
    Some(Repeated {
        mode,
        seeds,
        settled,
        open,
        agree,
        disagree: held.into_iter().filter(|(.., holds)| !holds).map(|(name, ..)| name).collect(),
    })
}

/// Hits and trials of every source, from findings with their source's number.
fn by_source(findings: impl Iterator<Item = (u32, bool)>) -> Vec<Tally> {
    let mut tallies: BTreeMap<u32, Tally> = BTreeMap::new();
    for (cluster, hit) in findings {
        let tally = tallies.entry(cluster).or_insert(Tally { hits: 0, trials: 0 });
        tally.hits += usize::from(hit);
        tally.trials += 1;
    }
    tallies.into_values().collect()
}

fn alarms(calibration: &Calibration, mode: Mode, picks: &[Pick]) -> Alarms {
    // What could not be judged could not fail either.
    let judged = |p: &&Pick| !matches!(p.finding.verdict, Verdict::Error | Verdict::Skipped);
    let clean: Vec<&Pick> = picks.iter().filter(|p| p.kind == Kind::Clean).filter(judged).collect();
    let tallies = by_source(clean.iter().map(|p| (p.cluster, p.finding.verdict == Verdict::Fail)));
    let share = clustered::share(&tallies, ALPHA);
    let failing = tallies.iter().filter(|t| t.hits > 0).count() as f64;
    let sources = tallies.len() as f64;
    let policy = &calibration.policy;
    let error = |rule: &str| {
        let confidence = policy.rules.iter().find(|r| r.id == rule).map_or(0.95, |r| r.confidence);
        error_share(confidence, policy.findings, 1, true)
    };
    let all: f64 = clean.iter().map(|p| error(&p.finding.rule)).sum();
    Alarms {
        mode,
        findings: share.map(|share| Rate::new(share.rate, share.interval)),
        stated_finding: all / (clean.len() as f64).max(1.0),
        sources: Rate::new(failing / sources.max(1.0), clopper_pearson(failing, sources, ALPHA)),
        stated_source: all / sources.max(1.0),
        failed: answered(&clean, Verdict::Fail),
    }
}

#[cfg(test)]
mod tests;
