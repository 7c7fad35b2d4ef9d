//! The findings of a run on their way from open to settled.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Event;
use crate::gate::{self, Control, Finding, Rule, Terms, Verdict};
use crate::plan::{self, Job, Tuning};
use crate::policy::Policy;
use crate::probe::{Arm, Measurement};
use crate::tune::Mode;

/// Why there is no measurement of an arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It was left out, or stopped before its first look was through.
    NotRun(String),
    /// It failed.
    Failed(String),
    /// The checkpoint does not allow it.
    Impossible(String),
}

impl Missing {
    pub(super) fn reason(&self) -> &str {
        match self {
            Missing::NotRun(reason) | Missing::Failed(reason) | Missing::Impossible(reason) => reason,
        }
    }
}

struct Entry<'a> {
    rule: &'a Rule,
    mode: Mode,
    /// The latest answer.
    finding: Option<Finding>,
    settled: bool,
}

/// Every rule in each of its modes.
pub(super) struct Docket<'a> {
    policy: &'a Policy,
    /// Why a network from scratch is no control for triggers, if it is none.
    void: Option<String>,
    entries: Vec<Entry<'a>>,
}

impl<'a> Docket<'a> {
    pub(super) fn new(policy: &'a Policy, void: Option<String>) -> Self {
        let open = |(rule, mode)| Entry { rule, mode, finding: None, settled: false };
        Self { policy, void, entries: plan::pairs(policy).map(open).collect() }
    }

    /// Whether a finding that is not settled rests on a job.
    pub(super) fn needs(&self, job: &Job) -> bool {
        let void = |rule: &Rule| job.tuning.arm == Arm::Scratch && void_for(rule, self.void.as_deref()).is_some();
        self.entries.iter().any(|entry| !entry.settled && !void(entry.rule) && job.serves(self.policy, entry.rule, entry.mode))
    }

    /// Judges the findings whose arms are all `through` with this look and that were not judged at it.
    pub(super) fn judge<'m>(
        &mut self,
        look: usize,
        through: &BTreeSet<Tuning>,
        measured: &dyn Fn(&str, Tuning) -> Result<&'m Measurement, Missing>,
        emit: &mut dyn FnMut(Event),
    ) {
        let findings = self.entries.len();
        for entry in self.entries.iter_mut().filter(|entry| !entry.settled) {
            let tuning = |arm| plan::tuning(self.policy, entry.rule, arm, entry.mode);
            let void = void_for(entry.rule, self.void.as_deref());
            let mut arms = plan::arms(entry.rule, entry.mode).into_iter().filter(|arm| *arm != Arm::Scratch || void.is_none());
            let ready = arms.all(|arm| through.contains(&tuning(arm)));
            if !ready || entry.finding.as_ref().is_some_and(|finding| finding.look == look) {
                continue;
            }
            let terms = terms(self.policy, entry.mode, findings, look);
            let measured = |arm| measured(&entry.rule.id, tuning(arm));
            let found = finding(self.policy, entry.rule, entry.mode, &terms, void, &measured);
            entry.settled = terms.final_look || found.verdict != Verdict::Inconclusive;
            if entry.settled {
                emit(Event::Judged(Box::new(found.clone())));
            }
            entry.finding = Some(found);
        }
    }

    /// All findings, in the order of the policy; those still open say `why`.
    pub(super) fn close(self, why: &str) -> Vec<Finding> {
        let policy = self.policy;
        let end = |entry: Entry| match entry.finding {
            Some(finding) if entry.settled => finding,
            Some(finding) => {
                let reason = finding.reason.iter().map(String::as_str).chain([why]).collect::<Vec<_>>().join("; ");
                Finding { reason: Some(reason), ..finding }
            }
            None => without_numbers(policy, entry.rule, entry.mode, 1, Verdict::Inconclusive, why.to_owned()),
        };
        self.entries.into_iter().map(end).collect()
    }
}

/// How the error is shared at a look of a policy's finding.
pub(super) fn terms(policy: &Policy, mode: Mode, findings: usize, look: usize) -> Terms {
    let seeds = plan::looks(policy, mode);
    Terms { findings, look, final_look: seeds.most <= seeds.first || look == 2, policy_seed: policy.file.seed, scratch_void: false }
}

/// Why a network from scratch is no control for a rule, if it is none: `void` says it of triggers.
pub(super) fn void_for<'v>(rule: &Rule, void: Option<&'v str>) -> Option<&'v str> {
    void.filter(|_| rule.probe.change().is_some())
}

/// Judges one rule in one mode from the measurements of its arms. `void` says why a network from scratch is no control for it, if it is none.
pub(super) fn finding<'m>(
    policy: &Policy,
    rule: &Rule,
    mode: Mode,
    terms: &Terms,
    void: Option<&str>,
    measured: &dyn Fn(Arm) -> Result<&'m Measurement, Missing>,
) -> Finding {
    let clock = Instant::now();
    let source = match measured(Arm::Source) {
        Ok(source) => source,
        Err(Missing::NotRun(reason)) => return without_numbers(policy, rule, mode, terms.look, Verdict::Inconclusive, reason),
        Err(Missing::Failed(reason)) => return without_numbers(policy, rule, mode, terms.look, Verdict::Error, reason),
        Err(Missing::Impossible(reason)) => return without_numbers(policy, rule, mode, terms.look, Verdict::Skipped, reason),
    };
    let controls: Vec<_> = rule
        .controls_for(mode)
        .into_iter()
        .map(|control| {
            let arm = match control {
                Control::Sham => return (control, None, None),
                Control::Scratch if void.is_some() => return (control, None, void.map(str::to_owned)),
                Control::Scratch => Arm::Scratch,
                Control::Reference => Arm::Reference,
            };
            match measured(arm) {
                Ok(measurement) => (control, Some(measurement), None),
                Err(missing) => (control, None, Some(missing.reason().to_owned())),
            }
        })
        .collect();
    let terms = Terms { scratch_void: void.is_some(), ..*terms };
    let mut finding = gate::judge(rule, mode, &policy.limit_origin(&rule.id), source, &controls, &terms);
    finding.seconds = clock.elapsed().as_secs_f64();
    finding
}

fn without_numbers(policy: &Policy, rule: &Rule, mode: Mode, look: usize, verdict: Verdict, reason: String) -> Finding {
    Finding::without_numbers(rule, mode, policy.limit_origin(&rule.id), look, verdict, reason)
}
