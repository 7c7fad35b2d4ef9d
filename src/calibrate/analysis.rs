//! From findings to how well the rules tell planted from clean sources.
//!
//! An item is a finding with a score. Positive: a planted source under a rule whose trigger it carries, and hands down as far as that is known.
//! Negative: a clean source under any backdoor rule. A planted source under a rule whose trigger it does not carry, or does not hand down, is
//! neither, and is listed apart. Items of a source are not independent; every interval counts sources.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::{Calibration, FindingRecord, HandedDown, SourceRecord};
use crate::gate::Verdict;
use crate::stats::clustered::{self, Tally};
use crate::stats::power::error_share;
use crate::stats::roc::{self, Item};
use crate::stats::{Interval, clopper_pearson};
use crate::tune::Mode;

/// Error on each side of every interval.
const ALPHA: f64 = 0.025;
/// False-positive rates at which the true-positive rate is told.
const RATES: [f64; 2] = [0.05, 0.10];

/// What a calibration found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// By mode: overall, by trigger family, by architecture, by rule.
    pub slices: Vec<Slice>,
    /// By mode: how often clean sources fail, beside the error that the policy states.
    pub alarms: Vec<Alarms>,
    /// By mode: planted sources under rules whose triggers they do not carry.
    pub others: Vec<Others>,
    /// By mode: planted triggers that are not shown to be handed down.
    pub faint: Vec<Faint>,
    /// By mode, where everything was measured at more seeds too: whether verdicts hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreement: Vec<Agreement>,
}

/// What a slice is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// All items.
    All,
    /// Rules whose trigger is of this family.
    Family(String),
    /// Sources of this architecture.
    Architecture(String),
    /// This rule.
    Rule(String),
}

/// How well items are told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The transfer mode.
    pub mode: Mode,
    /// What it is of.
    pub over: Over,
    /// Planted items.
    pub planted: Side,
    /// Clean items.
    pub clean: Side,
    /// The area under the ROC curve, with a 95% interval that counts sources; absent where one side has no item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<Rate>,
    /// What is caught where few clean items are called planted.
    pub operating: Vec<Operating>,
    /// The largest clean score: with it as limit no clean item would be above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_none: Option<f64>,
    /// The least limit that at most 5% of the clean items are above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_five_percent: Option<f64>,
    /// The smallest planted score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_planted: Option<f64>,
    /// Planted items that passed.
    pub passed: Vec<Named>,
}

/// The items of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Sources.
    pub sources: usize,
    /// Findings, those without a score included.
    pub findings: usize,
    /// Findings without any control, and so without a score: they enter no curve.
    pub unscored: usize,
    /// Findings that fail.
    pub fail: usize,
    /// Findings that are not settled.
    pub inconclusive: usize,
    /// Findings that pass.
    pub pass: usize,
    /// Findings that could not be judged.
    pub other: usize,
}

/// A finding by its names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The source.
    pub source: String,
    /// The rule.
    pub rule: String,
    /// The answer.
    pub verdict: Verdict,
    /// The score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The excess over the clean twin, where it was compared with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_twin: Option<f64>,
}

/// A rate with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The rate.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Rate {
    fn new(value: f64, interval: Interval) -> Self {
        Self { value, low: interval.low, high: interval.high }
    }
}

/// A threshold and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operating {
    /// The false-positive rate that was asked for.
    pub at: f64,
    /// Scores from here on count as planted; absent where no score keeps to the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Share of clean items at or above it.
    pub false_positive: Rate,
    /// Share of planted items at or above it.
    pub true_positive: Rate,
    /// Whether the intervals count sources; else items, because there is only one source of a kind.
    pub clustered: bool,
}

/// How often clean sources fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alarms {
    /// The transfer mode.
    pub mode: Mode,
    /// Share of clean findings that fail; its interval counts sources. Absent with fewer than two clean sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Rate>,
    /// The error of a finding that the policy states, averaged over the clean findings: for effects at the limit, smaller below.
    pub stated_finding: f64,
    /// Share of clean sources with at least one finding that fails.
    pub sources: Rate,
    /// The error of a whole certification in this mode that the policy states.
    pub stated_source: f64,
    /// Clean findings that fail.
    pub failed: Vec<Named>,
}

/// Planted sources under rules whose triggers they do not carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// The transfer mode.
    pub mode: Mode,
    /// All of them.
    pub side: Side,
    /// Those that fail.
    pub failed: Vec<Named>,
}

/// Planted triggers of which comparison with the clean twin does not show that they are handed down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Faint {
    /// The transfer mode.
    pub mode: Mode,
    /// Planted findings that were compared with a twin.
    pub compared: usize,
    /// Those whose trigger moves fine-tunes by less than the limit beyond the twin's.
    pub below: Side,
    /// Those that the seeds do not settle.
    pub open: Side,
    /// Both, one by one.
    pub all: Vec<Named>,
    /// The area under the ROC curve with these among the planted items too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<Rate>,
}

/// Verdicts at the policy's seeds beside the excess at more seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The transfer mode.
    pub mode: Mode,
    /// The greatest number of seeds that a finding was measured at again.
    pub seeds: usize,
    /// Findings that fail or pass, of all kinds of sources.
    pub settled: usize,
    /// Findings that are not settled at the policy's seeds.
    pub open: usize,
    /// Share of the settled ones whose excess at more seeds lies on their side of the limit, with the exact interval for findings that are
    /// independent of each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<Rate>,
    /// Those on the other side; the score is the one at more seeds.
    pub disagree: Vec<Named>,
}

/// What a finding counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A planted source under a rule whose trigger it carries, and hands down unless its twin shows otherwise.
    Planted,
    /// A planted source under a rule whose trigger it carries, which moves fine-tunes by less than the limit beyond the clean twin's.
    Below,
    /// The same, where the seeds do not settle it.
    Open,
    /// A clean source.
    Clean,
    /// A planted source under another rule.
    Other,
}

/// A finding with its source.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// The source.
    pub source: &'a SourceRecord,
    /// The number of what belongs together: sources of one architecture and seed, or one source.
    pub cluster: u32,
    /// The finding.
    pub finding: &'a FindingRecord,
    /// The family of its trigger.
    pub family: &'a str,
    /// What it counts as.
    pub kind: Kind,
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

/// All findings of a mode under backdoor rules.
pub fn picks(calibration: &Calibration, mode: Mode) -> Vec<Pick<'_>> {
    let mut picks = Vec::new();
    for (cluster, source) in clusters(calibration).into_iter().zip(&calibration.sources) {
        for finding in source.findings.iter().filter(|finding| finding.mode == mode) {
            let Some(rule) = calibration.policy.rules.iter().find(|rule| rule.id == finding.rule) else { continue };
            let kind = match (source.planted, source.carries.contains(&finding.rule)) {
                (false, _) => Kind::Clean,
                (true, true) => match finding.truth.as_ref().map(|truth| truth.handed_down) {
                    None | Some(HandedDown::Yes) => Kind::Planted,
                    Some(HandedDown::No) => Kind::Below,
                    Some(HandedDown::Open) => Kind::Open,
                },
                (true, false) => Kind::Other,
            };
            picks.push(Pick { source, cluster, finding, family: &rule.family, kind });
        }
    }
    picks
}

/// Those that have a score, for a curve.
pub fn items<'a>(picks: impl Iterator<Item = &'a Pick<'a>>) -> Vec<Item> {
    let item = |pick: &Pick| {
        let score = pick.finding.score?;
        matches!(pick.kind, Kind::Planted | Kind::Clean).then_some(Item {
            score,
            planted: pick.kind == Kind::Planted,
            cluster: pick.cluster,
        })
    };
    picks.filter_map(item).collect()
}

/// The modes that anything was found in.
pub fn modes(calibration: &Calibration) -> Vec<Mode> {
    let all = calibration.sources.iter().flat_map(|s| &s.findings).map(|f| f.mode);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the sources of a calibration say together.
pub fn results(calibration: &Calibration) -> Results {
    let mut results = Results { slices: Vec::new(), alarms: Vec::new(), others: Vec::new(), faint: Vec::new(), agreement: Vec::new() };
    for mode in modes(calibration) {
        let picks = picks(calibration, mode);
        for over in overs(calibration) {
            let inside = |pick: &&Pick| match &over {
                Over::All => true,
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
    let of = |kind: Kind| picks.iter().filter(|p| p.kind == kind).collect::<Vec<_>>();
    let (planted, clean) = (of(Kind::Planted), of(Kind::Clean));
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
        over_twin: pick.finding.truth.as_ref().and_then(|truth| truth.excess.as_ref()).map(|excess| excess.value),
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
fn agreement(calibration: &Calibration, mode: Mode, picks: &[Pick]) -> Option<Agreement> {
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
    Some(Agreement {
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
mod tests {
    use super::*;
    use crate::calibrate::{Truth, samples};

    #[test]
    fn items_are_planted_pairs_and_all_findings_of_clean_sources() {
        let calibration = samples::calibration();
        let picks = picks(&calibration, Mode::FixedFeature);
        let count = |kind| picks.iter().filter(|p| p.kind == kind).count();
        // Two planted sources carry one of two rules each, of which one has no score; two clean sources.
        assert_eq!((count(Kind::Planted), count(Kind::Other), count(Kind::Clean)), (2, 2, 4));
        let items = items(picks.iter());
        assert_eq!((items.iter().filter(|i| i.planted).count(), items.len()), (1, 5));
    }

    #[test]
    fn a_slice_counts_what_it_is_of() {
        let results = results(&samples::calibration());
        let of = |over: &Over| results.slices.iter().find(|s| &s.over == over).unwrap();
        let all = of(&Over::All);
        assert_eq!((all.planted.findings, all.planted.unscored, all.clean.findings, all.clean.sources), (2, 1, 4, 2));
        assert_eq!((all.planted.fail, all.planted.inconclusive, all.clean.pass, all.clean.fail), (1, 1, 3, 1));
        assert_eq!((all.limit_none, all.smallest_planted), (Some(0.2), Some(0.6)));
        assert_eq!(of(&Over::Family("blend".into())).planted.unscored, 1);
        assert_eq!(of(&Over::Rule("square".into())).planted.findings, 1);
        assert!(!results.slices.iter().any(|s| matches!(s.over, Over::Architecture(_))), "there is one only");
        let alarms = &results.alarms[0];
        assert!((alarms.stated_finding - 0.0125).abs() < 1e-12 && (alarms.stated_source - 0.025).abs() < 1e-12, "{alarms:?}");
        assert_eq!((alarms.sources.value, alarms.failed.len()), (0.5, 1));
        assert_eq!((results.others[0].side.findings, results.others[0].failed.len()), (2, 0));
    }

    #[test]
    fn a_trigger_that_is_not_handed_down_is_no_planted_item() {
        let mut calibration = samples::calibration();
        let truth = |handed_down| Some(Truth { handed_down, excess: None, seeds: 20 });
        calibration.sources[0].findings[0].truth = truth(HandedDown::Yes);
        calibration.sources[1].findings[1].truth = truth(HandedDown::No);
        let results = results(&calibration);
        let all = &results.slices[0];
        assert_eq!((all.planted.findings, all.planted.fail, all.passed.len()), (1, 1, 0));
        let faint = &results.faint[0];
        assert_eq!((faint.compared, faint.below.inconclusive, faint.open.findings, faint.all.len()), (2, 1, 0, 1));
        calibration.sources[1].findings[1].truth = truth(HandedDown::Open);
        assert_eq!(super::results(&calibration).faint[0].open.findings, 1);
        // Of a model from a folder it is believed that it hands down what it carries.
        calibration.sources[1].findings[1].truth = None;
        assert_eq!(super::results(&calibration).slices[0].planted.findings, 2);
    }

    #[test]
    fn verdicts_are_held_against_more_seeds() {
        let mut calibration = samples::calibration();
        // A failure that more seeds take back, and a pass that they do not.
        calibration.sources[0].findings[0].again.as_mut().unwrap().score = Some(0.05);
        let all = &results(&calibration).agreement[0];
        // Eight findings, of which one is inconclusive and was not measured again.
        assert_eq!((all.seeds, all.settled, all.open, all.disagree.len()), (20, 7, 0, 1));
        assert_eq!((all.disagree[0].source.as_str(), all.disagree[0].score), ("a", Some(0.05)));
        let agree = all.agree.unwrap();
        assert!((agree.value - 6.0 / 7.0).abs() < 1e-12 && agree.low < 0.5 && agree.high > 0.99, "{agree:?}");
        for finding in calibration.sources.iter_mut().flat_map(|s| &mut s.findings) {
            finding.again = None;
        }
        assert_eq!(results(&calibration).agreement, []);
    }

    #[test]
    fn limits_leave_a_share_above() {
        let scores: Vec<f64> = (0..40).map(f64::from).collect();
        assert_eq!((limit(&scores, 0.05), limit(&scores, 0.0)), (Some(37.0), Some(39.0)));
        assert_eq!((limit(&scores[..3], 0.05), limit(&[], 0.05)), (Some(2.0), None));
    }

    #[test]
    fn without_items_there_are_no_numbers_and_no_panic() {
        let mut calibration = samples::calibration();
        calibration.sources.retain(|s| !s.planted);
        let results = results(&calibration);
        assert!(results.slices.iter().all(|s| s.auc.is_none() && s.operating.is_empty()));
        calibration.sources.clear();
        assert!(super::results(&calibration).slices.is_empty());
    }
}
