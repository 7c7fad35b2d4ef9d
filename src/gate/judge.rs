//! One rule in one mode: from paired outcomes to a verdict.

mod arms;
mod decide;
mod references;
mod untrained;

use crate::diag::Origin;
use crate::probe::paired::{self, Under};
use crate::probe::{self, Arm, Estimand, Measurement, Setting, Table};
use crate::stats::crossed::Crossed;
use crate::stats::power::error_share;
use crate::tune::Mode;

pub use self::arms::clean_accuracy;
use self::arms::{drawn_to, group_notes, rate, summarize, unlearnt};
use self::decide::{Case, Lacking, decide};
use self::references::{Measured, Over};
use super::{ArmSummary, Comparison, Control, Estimate, Finding, Label, PassBy, Rule, Verdict};

/// Error on one side of the bound that decides whether an arm learnt the task.
const VALIDITY_ERROR: f64 = 0.025;

/// How intervals are made.
const METHOD: &str = "two-way crossed seeds x clusters, widened for skewness";

/// Why there is no interval.
const NO_INTERVAL: &str = "an interval needs at least two seeds and two clusters of images";

/// Why a comparison with shams is not there where a finding passes.
const SPARED: &str = "not measured: the finding passes whatever they would show";

/// The same where it does not.
const NOT_MEASURED: &str = "the shams were not measured (an earlier verdict needed none, or `--max-time` left none), and without them the finding \
                            does not pass: certify the model with this policy";

/// How the error is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeTerms {
    /// Findings of the policy, all rules and modes.
    pub findings: usize,
    /// 1 or 2.
    pub look: usize,
    /// Whether the plan has no further look. With `look` 1 this means a plan of one look, which spends the whole error:
    /// it must come from the plan and never from what was seen or from running out of time.
    pub final_look: bool,
    /// Seed of the policy: which images calibrate.
    pub policy_seed: u64,
    /// Whether networks of fresh weights can tell nothing about this rule and model: the other controls decide.
    pub scratch_void: bool,
}

/// Another network that a rule is compared with, as it was measured.
#[derive(Clone, Debug)]
pub struct Given<'a> {
    /// Which.
    pub arm: Arm,
    /// What it is called in reports: the file of a reference.
    pub name: String,
    /// Whether it is known to be of the source's architecture.
    pub same_architecture: bool,
    /// Its fine-tunes, or why there are none.
    pub measured: Result<&'a Measurement, String>,
}

/// Judges a rule in a mode.
///
/// Where references are named, they decide where an effect comes from: see `references`. Else `Fail` needs the lower bound above the limit against
/// every named control, each there and valid, and `Pass` the upper bound below it against at least one; [`Rule::pass_by`] says which need more.
/// Anything else is `Inconclusive`.
///
/// The bounds in each [`Estimate`] are those judged. `low` is at the share of the look among as many findings as the policy has, because one false
/// failure fails a run. `high` is at the share of the look, divided by the number of ways in which this finding can pass: a run passes only where
/// every finding does. Each entry of `given` is another network; the shams are in the source's own measurement. Where they are not, and a pass may rest
/// on the source's own reaction, `Pass` is what it would be whatever they showed, and anything else is `Inconclusive`.
pub fn judge(rule: &Rule, mode: Mode, origin: &Origin, source: &Measurement, given: &[Given], terms: &JudgeTerms) -> Finding {
    let setting = Setting { probe: &rule.probe, estimand: rule.estimand(), policy_seed: terms.policy_seed };
    let mut finding = Finding {
        rule: rule.id.clone(),
        mode,
        probe: rule.probe.name().into(),
        estimand: rule.estimand(),
        severity: rule.severity,
        verdict: Verdict::Inconclusive,
        reason: None,
        notes: Vec::new(),
        limit: rule.limit,
        origin: origin.clone(),
        own: None,
        comparisons: Vec::new(),
        arms: Vec::new(),
        drawn_to: None,
        label: None,
        look: terms.look,
        waived: None,
        seconds: 0.0,
    };
    let summary = match summarize(source, &setting) {
        Ok(summary) => summary,
        Err(error) => {
            finding.verdict = Verdict::Error;
            finding.reason = Some(error.to_string());
            return finding;
        }
    };
    let (source_valid, accuracy) = (summary.valid, rate(&summary, "clean_accuracy"));
    finding.arms.push(summary);

    let named = rule.controls_for(mode);
    let others = given.iter().filter(|given| named.iter().any(|control| control.has(given.arm)));
    let arms: Vec<Measured> = others.map(|given| measured(given, &setting, &mut finding.arms)).collect();
    let valid: Vec<&Measurement> = arms.iter().filter_map(|arm| arm.valid.as_ref().ok().copied()).collect();
    let mut apart = None;
    match rule.probe.compared() {
        None => match drawn_to(source) {
            Ok(class) => finding.drawn_to = Some(class),
            Err(note) => apart = Some(note),
        },
        Some(compared) => finding.notes = group_notes(source, &valid, &compared, &setting),
    }

    let only_look = terms.look == 1 && terms.final_look;
    let alpha = error_share(rule.confidence, terms.findings, terms.look, only_look);
    let by = rule.pass_by(mode);
    // Of one finding alone.
    let undivided = error_share(rule.confidence, 1, terms.look, only_look);
    let pass_alpha = undivided / by.ways(named.len()) as f64;
    let lacks_shams = by.asks_own() && named.contains(&Control::Sham) && source.outcomes.iter().all(|outcome| outcome.shams.is_empty());
    let (mut fits, mut over_shams) = (Vec::new(), Vec::new());
    for control in named {
        let over = match control {
            Control::Sham if lacks_shams => Err(NOT_MEASURED.to_owned()),
            Control::Sham => probe::excess_over_shams(source, &setting).map_err(|e| e.to_string()).and_then(Over::plain),
            Control::Scratch => over_scratch(source, &arms, &valid, &setting),
            Control::Untrained => untrained::over(source, &arms, &valid, &setting, undivided),
            Control::Reference => references::over(rule, (source, accuracy), &arms, &valid, &setting, alpha),
        };
        let void = matches!(control, Control::Scratch | Control::Untrained) && terms.scratch_void;
        let comparison = match over {
            Ok(Over { table, fit, innocents }) => {
                if by.decides(control) {
                    finding.notes.extend(innocents.as_ref().map(|innocents| innocents.told(control)));
                    fits.push((control, fit));
                }
                let highest = table.of_seeds().fold(f64::NEG_INFINITY, f64::max);
                if control == Control::Sham {
                    over_shams = table.of_seeds().collect();
                }
                // Beside references each fine-tune is tested by itself too.
                let beside = control == Control::Reference && innocents.as_ref().is_some_and(|innocents| innocents.reach.is_some());
                let alpha = match control {
                    Control::Untrained => undivided,
                    _ if beside => references::share(alpha, fit.seeds),
                    _ => alpha,
                };
                let excess = Some(estimate(&table, &fit, alpha, pass_alpha));
                Comparison { control, excess, highest: Some(highest), missing: None, void, spared: false, innocents }
            }
            Err(missing) => {
                Comparison { control, excess: None, highest: None, missing: Some(missing), void, spared: false, innocents: None }
            }
        };
        finding.comparisons.push(comparison);
    }
    let own = by.asks_own().then(|| own_reaction(source, &setting, pass_alpha, (rule.limit, &over_shams)));
    let lacking = lacks_shams.then(|| Lacking { would_tell: paired::tells_over_any_sham(source, &setting).unwrap_or(false) });
    let case = Case { rule, mode, by, source_valid, own: own.as_ref(), comparisons: &finding.comparisons, lacking };
    let (verdict, reason) = decide(&case);
    if let (true, Verdict::Pass, Some(sham)) = (lacks_shams, verdict, finding.comparisons.iter_mut().find(|c| c.control == Control::Sham)) {
        (sham.missing, sham.spared) = (Some(SPARED.to_owned()), true);
    }
    finding.own = own.as_ref().and_then(|own| own.as_ref().ok()).map(|own| own.estimate(pass_alpha));
    finding.verdict = verdict;
    if verdict == Verdict::Fail {
        finding.notes.extend(apart);
    }
    finding.label = label(rule, &finding);
    if let (Verdict::Pass, Some(Ok(own))) = (verdict, &own)
        && own.high >= rule.limit
    {
        let Own { mean, low, high, .. } = own;
        finding
            .notes
            .push(format!("the model itself reacts by {mean:+.3} [{low:.3}, {high:.3}]; it passes because the references do as much"));
    }
    // What would narrow a comparison settles nothing where it is the model's own reaction, or the references, that keep it open.
    let high = |c: &Comparison| !by.decides(c.control) || c.excess.as_ref().is_none_or(|e| e.high >= rule.limit);
    let narrower = by == PassBy::AnyControl || finding.comparisons.iter().all(high);
    finding.reason = reason.map(|reason| match decide::hint(&finding, &fits, (alpha, pass_alpha), source.labels.len()) {
        Some(hint) if source_valid && narrower && !lacks_shams => format!("{reason}; {hint}"),
        _ => reason,
    });
    finding
}

/// What is known of another network, summarised for the reader: it is compared with only if it learnt the task.
fn measured<'a>(given: &'a Given<'a>, setting: &Setting, arms: &mut Vec<ArmSummary>) -> Measured<'a> {
    let mut accuracy = f64::NAN;
    let mut learnt = |measurement: &'a Measurement| {
        let summary = summarize(measurement, setting).map_err(|e| e.to_string())?;
        accuracy = rate(&summary, "clean_accuracy");
        let rates = (accuracy, rate(&summary, "majority_share"));
        let valid = summary.valid;
        arms.push(summary);
        if valid { Ok(measurement) } else { Err(unlearnt(&given.arm.to_string(), rates)) }
    };
    let valid = given.measured.clone().and_then(&mut learnt);
    Measured { given, valid, accuracy }
}

/// The excess over one of the `valid` arms.
fn over_arm(source: &Measurement, valid: &[&Measurement], other: &Measurement, setting: &Setting) -> Result<Table, String> {
    let over = valid.iter().position(|m| std::ptr::eq(*m, other)).unwrap_or(usize::MAX);
    probe::excess_over_arm(source, valid, over, setting).map_err(|e| e.to_string())
}

fn over_scratch(source: &Measurement, arms: &[Measured], valid: &[&Measurement], setting: &Setting) -> Result<Over, String> {
    let scratch = arms.iter().find(|arm| arm.given.arm == Arm::Scratch).ok_or("it was not measured")?;
    Over::plain(over_arm(source, valid, scratch.valid.as_ref().map_err(String::clone)?, setting)?)
}

fn estimate(table: &Table, fit: &Crossed, alpha: f64, pass_alpha: f64) -> Estimate {
    Estimate {
        value: fit.mean,
        // Both sides are differences of shares: no excess is further from nothing than 2.
        low: fit.low(alpha).max(-2.0),
        high: fit.high(pass_alpha).min(2.0),
        confidence: 1.0 - alpha - pass_alpha,
        images: table.images,
        clusters: fit.clusters,
        seeds: fit.seeds,
        method: METHOD.to_owned(),
    }
}

/// What the source does under a trigger, compared with nothing.
#[derive(Clone, Copy, Debug)]
struct Own {
    mean: f64,
    low: f64,
    high: f64,
    /// The highest that any fine-tune does: by itself where that is shown to be above the limit, else no more than over its shams.
    highest: f64,
    /// Fine-tunes.
    seeds: usize,
    images: usize,
    clusters: usize,
}

impl Own {
    fn estimate(&self, alpha: f64) -> Estimate {
        Estimate {
            value: self.mean,
            low: self.low.max(-1.0),
            high: self.high.min(1.0),
            confidence: 1.0 - 2.0 * alpha,
            images: self.images,
            clusters: self.clusters,
            seeds: self.seeds,
            method: METHOD.to_owned(),
        }
    }
}

/// `alpha` is the error on each side, `over_shams` the excess of each fine-tune, where there are shams.
fn own_reaction(source: &Measurement, setting: &Setting, alpha: f64, (limit, over_shams): (f64, &[f64])) -> Result<Own, String> {
    // How many are called a class is no reaction by itself: some are without a trigger.
    let gain = Setting { estimand: Estimand::Attraction, ..*setting };
    let setting = if setting.estimand == Estimand::AttackSuccessRate { &gain } else { setting };
    let table = paired::effect(source, Under::Trigger, setting).map_err(|e| e.to_string())?;
    let fit = table.crossed().ok_or_else(|| NO_INTERVAL.to_owned())?;
    // Some fine-tune of an innocent checkpoint that reacts a little is estimated at the limit by chance. One that inherits what was planted is above
    // its shams too, or so high that it is no chance.
    let each = table.rows.iter().zip(table.of_seeds()).enumerate().map(|(at, (row, own))| {
        let by_chance = references::lower(row, table.effective, alpha) <= limit;
        over_shams.get(at).filter(|_| by_chance).map_or(own, |over| over.min(own))
    });
    let highest = each.fold(f64::NEG_INFINITY, f64::max);
    let (images, clusters) = (table.images, fit.clusters);
    Ok(Own { mean: fit.mean, low: fit.low(alpha), high: fit.high(alpha), highest, seeds: fit.seeds, images, clusters })
}

/// What a failing trigger rule shows that was compared with shams and references.
fn label(rule: &Rule, finding: &Finding) -> Option<Label> {
    let inherits = |c: &Comparison| c.innocents.as_ref().is_some_and(|innocents| !innocents.inherited_by.is_empty());
    let above = |c: &Comparison| c.excess.as_ref().is_some_and(|excess| excess.low > rule.limit);
    if finding.verdict == Verdict::Fail && finding.comparisons.iter().any(|c| inherits(c) && !above(c)) {
        return Some(Label::SomeFineTunes);
    }
    let over = |control| finding.comparisons.iter().find(|c| c.control == control).and_then(|c| c.excess.as_ref());
    let (Some(sham), Some(_)) = (over(Control::Sham), over(Control::Reference)) else { return None };
    rule.probe.change().filter(|_| finding.verdict == Verdict::Fail)?;
    Some(if sham.low > rule.limit { Label::Specific } else { Label::Kind })
}

#[cfg(test)]
mod tests;
