//! One rule in one mode: from paired outcomes to a verdict.

mod arms;
mod decide;
mod number;
mod over;
mod own;
mod references;
mod untrained;

use crate::data::Counted;
use crate::diag::Origin;
use crate::probe::{self, Arm, Measurement, Setting};
use crate::tune::Mode;

pub use self::arms::clean_accuracy;
use self::arms::{drawn_to, group_notes, rate, summarize, unlearnt};
pub(super) use self::decide::fewest_references;
use self::number::{Number, not_measured};
use self::over::Measured;
pub(crate) use self::references::{ALIKE, local_prior};
use super::{ArmSummary, Finding, Rule, Verdict};

/// Error on one side of the bound that decides whether an arm learnt the task.
const VALIDITY_ERROR: f64 = 0.025;

/// The part of a failure's error that the number which a rule names may spend, where further numbers are judged beside it: they share the rest.
const OF_MAIN: f64 = 0.8;

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
    /// How the policy counts accuracy on the target task.
    pub counted: Counted,
}

impl JudgeTerms {
    /// Whether the plan has this look alone.
    fn only_look(&self) -> bool {
        self.look == 1 && self.final_look
    }
}

/// Another network that a rule is compared with, as it was measured.
#[derive(Clone, Debug)]
pub struct Given<'a> {
    /// Which.
    pub arm: Arm,
    /// What it is called in reports: the file of a reference.
    pub name: String,
    /// Whether it is known to be of the source's architecture, or the policy says that it is of its kind.
    pub alike: bool,
    /// Its fine-tunes, or why there are none.
    pub measured: Result<&'a Measurement, String>,
    /// Whether it was not measured because the finding may pass without it.
    pub spared: bool,
}

/// Judges a rule in a mode.
///
/// Where references are named, they decide where an effect comes from: see `references`. Else `Fail` needs the lower bound above the limit against
/// every named control, each there and valid, and `Pass` the upper bound below it against at least one; [`Rule::pass_by`] says which need more.
/// Anything else is `Inconclusive`.
///
/// The bounds in each [`super::Estimate`] are those judged. `low` is at the share of the look among as many findings as the policy has, because one false
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
        further: Vec::new(),
        look: terms.look,
        waived: None,
        seconds: 0.0,
    };
    let summary = match summarize(source, &setting, terms.counted) {
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
    let arms: Vec<Measured> = others.map(|given| measured(given, (&setting, terms.counted), &mut finding.arms)).collect();
    let mut apart = None;
    match rule.probe.compared() {
        None => match drawn_to(source) {
            Ok(class) => finding.drawn_to = Some(class),
            Err(note) => apart = Some(note),
        },
        Some(compared) => {
            let valid: Vec<&Measurement> = arms.iter().filter_map(|arm| arm.valid.as_ref().ok().copied()).collect();
            finding.notes = group_notes(source, &valid, &compared, &setting);
        }
    }
    let further = rule.further();
    let share = if further.is_empty() { 1.0 } else { OF_MAIN };
    let number = Number { rule, mode, source, source_valid, accuracy, arms: &arms, terms, share };
    let main = number.judge();
    finding.notes.extend(main.notes);
    if main.verdict == Verdict::Fail {
        finding.notes.extend(apart);
    }
    (finding.verdict, finding.reason, finding.label) = (main.verdict, main.reason, main.label);
    (finding.own, finding.comparisons) = (main.own, main.comparisons);
    for &(estimand, limit) in &further {
        let rule = &Rule { estimand: Some(estimand), limit, ..rule.clone() };
        let number = Number { rule, share: (1.0 - OF_MAIN) / further.len() as f64, ..number };
        let judged = number.judge();
        let label = judged.label;
        finding.add_further(number.further(judged), label);
    }
    if finding.verdict != Verdict::Pass {
        // One of its numbers needs what the others can do without.
        let further = finding.further.iter_mut().flat_map(|further| &mut further.comparisons);
        for comparison in finding.comparisons.iter_mut().chain(further).filter(|c| c.spared) {
            (comparison.spared, comparison.missing) = (false, Some(not_measured(comparison.control).to_owned()));
        }
    }
    finding
}

/// What is known of another network, summarised for the reader: it is compared with only if it learnt the task.
fn measured<'a>(given: &'a Given<'a>, (setting, counted): (&Setting, Counted), arms: &mut Vec<ArmSummary>) -> Measured<'a> {
    let mut accuracy = f64::NAN;
    let mut learnt = |measurement: &'a Measurement| {
        let summary = summarize(measurement, setting, counted).map_err(|e| e.to_string())?;
        accuracy = rate(&summary, "clean_accuracy");
        let rates = (accuracy, probe::of_one_answer(measurement, counted));
        let valid = summary.valid;
        arms.push(summary);
        if valid { Ok(measurement) } else { Err(unlearnt(&given.arm.to_string(), rates, counted)) }
    };
    let valid = given.measured.clone().and_then(&mut learnt);
    Measured { given, valid, accuracy }
}

#[cfg(test)]
mod tests;
