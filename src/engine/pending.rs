//! The findings of a run on their way from open to settled.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Event;
use crate::gate::{self, Finding, Given, JudgeTerms, Rule, Verdict};
use crate::plan::{Job, Question, Resolved, Tuning};
use crate::policy::{Looks, Policy};
use crate::probe::{Arm, Measurement};
use crate::report::ReferenceFacts;

/// What is added to the reason of a finding that a run leaves open: it was interrupted, or ran out of time.
pub(super) const CLOSINGS: [&str; 2] = ["the run was interrupted", "the run ended before it was judged"];

/// Why there is no measurement of an arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It was left out, or stopped before its first look was through.
    NotRun(String),
    /// It failed.
    Failed(String),
    /// The checkpoint does not allow it.
    Impossible(String),
    /// The finding may pass without it.
    Spared,
}

impl Missing {
    pub(super) fn reason(&self) -> &str {
        match self {
            Missing::NotRun(reason) | Missing::Failed(reason) | Missing::Impossible(reason) => reason,
            Missing::Spared => "it was not measured",
        }
    }
}

struct Entry<'a> {
    question: &'a Question<'a>,
    /// The latest answer.
    finding: Option<Finding>,
    settled: bool,
    /// The look at which it asked for shams, if it did.
    asked: Option<usize>,
}

/// Every rule in each of its modes.
pub(super) struct Pending<'a> {
    resolved: &'a Resolved<'a>,
    /// Why networks of fresh weights are no control for triggers, if they are none.
    void: Option<String>,
    references: &'a [ReferenceFacts],
    entries: Vec<Entry<'a>>,
}

impl<'a> Pending<'a> {
    pub(super) fn new(resolved: &'a Resolved<'a>, void: Option<String>, references: &'a [ReferenceFacts]) -> Self {
        let open = |question| Entry { question, finding: None, settled: false, asked: None };
        Self { resolved, void, references, entries: resolved.questions.iter().map(open).collect() }
    }

    /// Whether a finding that is not settled rests on a job.
    pub(super) fn needs(&self, job: &Job) -> bool {
        let void = |rule: &Rule| job.tuning.arm.is_fresh() && void_for(rule, self.void.as_deref()).is_some();
        let rests = |question: &Question| question.rests_on.contains(&job.tuning) && !void(question.rule);
        self.entries.iter().any(|entry| !entry.settled && rests(entry.question))
    }

    /// Whether a finding that is not settled may ask for what these fine-tunes do under shams.
    pub(super) fn may_ask(&self, tuning: Tuning) -> bool {
        let open = |question: &Question| self.entries.iter().any(|entry| !entry.settled && std::ptr::eq(entry.question, question));
        self.resolved.sparing(tuning).any(open)
    }

    /// Judges the findings whose arms are all `through` with this look and that were not judged at it; one that may pass without networks of fresh weights
    /// before these are there, and then only a pass counts. Gives the questions (indices into
    /// [`Resolved::questions`]) that do not pass without their shams: these are judged when it is called again, with what there is then.
    pub(super) fn judge<'m>(
        &mut self,
        look: usize,
        through: &BTreeSet<Tuning>,
        measured: &dyn Fn(&str, Tuning) -> Result<&'m Measurement, Missing>,
        emit: &mut dyn FnMut(Event),
    ) -> Vec<usize> {
        let mut asking = Vec::new();
        for (at, entry) in self.entries.iter_mut().enumerate().filter(|(_, entry)| !entry.settled) {
            let question = entry.question;
            let void = void_for(question.rule, self.void.as_deref());
            let mut needed = question.rests_on.iter().filter(|tuning| !tuning.arm.is_fresh() || void.is_none());
            let there = |tuning: &Tuning| through.contains(tuning);
            let ready = needed.all(there);
            let failed = |tuning: &Tuning| matches!(measured(&question.rule.id, *tuning), Err(Missing::Failed(_) | Missing::Impossible(_)));
            // No control helps where there is nothing to compare with it.
            let hopeless = question.tuning(Arm::Source).as_ref().is_some_and(|source| there(source) && failed(source));
            let early =
                !ready && !hopeless && self.resolved.spares_fresh(question) && question.tuning(Arm::Source).as_ref().is_some_and(there);
            if !(ready || early || hopeless) || entry.finding.as_ref().is_some_and(|finding| finding.look == look) {
                continue;
            }
            let terms = terms(self.resolved, question, look);
            let found = finding(self.resolved.policy, question, &terms, (void, self.references), &|tuning| {
                if look == 1 && tuning.arm.is_fresh() && !through.contains(&tuning) {
                    Err(Missing::Spared)
                } else {
                    measured(&question.rule.id, tuning)
                }
            });
            if found.verdict == Verdict::Inconclusive && entry.asked != Some(look) && lacks_shams(self.resolved, question, measured) {
                entry.asked = Some(look);
                asking.push(at);
                continue;
            }
            if early && found.verdict != Verdict::Pass {
                continue;
            }
            entry.settled = terms.final_look || found.verdict != Verdict::Inconclusive;
            if entry.settled {
                emit(Event::Judged(Box::new(found.clone())));
            }
            entry.finding = Some(found);
        }
        asking
    }

    /// All findings, in the order of the policy; those still open say `why`.
    pub(super) fn close(self, why: &str) -> Vec<Finding> {
        let policy = self.resolved.policy;
        let end = |entry: Entry| match entry.finding {
            Some(finding) if entry.settled => finding,
            Some(finding) => {
                let reason = finding.reason.iter().map(String::as_str).chain([why]).collect::<Vec<_>>().join("; ");
                Finding { reason: Some(reason), ..finding }
            }
            None => without_numbers(policy, entry.question, 1, Verdict::Inconclusive, why.to_owned()),
        };
        self.entries.into_iter().map(end).collect()
    }
}

/// Whether the shams of a question are spared so far.
fn lacks_shams<'m>(resolved: &Resolved, question: &Question, measured: &dyn Fn(&str, Tuning) -> Result<&'m Measurement, Missing>) -> bool {
    let Some(tuning) = question.tuning(Arm::Source) else { return false };
    let spares = resolved.sparing(tuning).any(|other| std::ptr::eq(other, question));
    let none = |source: &Measurement| source.outcomes.iter().all(|outcome| outcome.shams.is_empty());
    spares && measured(&question.rule.id, tuning).is_ok_and(none)
}

/// How the error is shared at a look of a question's finding.
pub(super) fn terms(resolved: &Resolved, question: &Question, look: usize) -> JudgeTerms {
    let Looks { first, most } = question.looks;
    JudgeTerms {
        findings: resolved.questions.len(),
        look,
        final_look: most <= first || look == 2,
        policy_seed: resolved.policy.seed.value(),
        scratch_void: false,
        counted: resolved.policy.file.target.accuracy,
    }
}

/// Why networks of fresh weights are no control for a rule, if they are none: `void` says it of triggers.
pub(super) fn void_for<'v>(rule: &Rule, void: Option<&'v str>) -> Option<&'v str> {
    void.filter(|_| rule.probe.change().is_some())
}

/// Judges one question from the measurements that it rests on. `void` says why networks of fresh weights are no control for it, if they are none;
/// `references` which checkpoints the others are.
pub(super) fn finding<'m>(
    policy: &Policy,
    question: &Question,
    terms: &JudgeTerms,
    (void, references): (Option<&str>, &[ReferenceFacts]),
    measured: &dyn Fn(Tuning) -> Result<&'m Measurement, Missing>,
) -> Finding {
    let clock = Instant::now();
    let Question { rule, mode, .. } = *question;
    let of = |arm| match question.tuning(arm) {
        Some(tuning) => measured(tuning),
        None => Err(Missing::Failed(format!("{arm} is no arm of {}", question.id()))),
    };
    let source = match of(Arm::Source) {
        Ok(source) => source,
        Err(Missing::NotRun(reason)) => return without_numbers(policy, question, terms.look, Verdict::Inconclusive, reason),
        Err(Missing::Failed(reason)) => return without_numbers(policy, question, terms.look, Verdict::Error, reason),
        Err(Missing::Impossible(reason)) => return without_numbers(policy, question, terms.look, Verdict::Skipped, reason),
        Err(spared @ Missing::Spared) => return without_numbers(policy, question, terms.look, Verdict::Error, spared.reason().to_owned()),
    };
    let given = |tuning: &Tuning| {
        let arm = tuning.arm;
        let mut spared = false;
        let measured = match (arm, void) {
            (arm, Some(void)) if arm.is_fresh() => Err(void.to_owned()),
            _ => of(arm).map_err(|missing| {
                spared = missing == Missing::Spared;
                missing.reason().to_owned()
            }),
        };
        let known = references.iter().find(|known| known.arm == arm);
        let name = known.map_or_else(|| arm.to_string(), |known| known.name.clone());
        let alike = known.is_some_and(|known| known.same_architecture || known.said_kin);
        Given { arm, name, alike, measured, spared }
    };
    let controls: Vec<Given> = question.rests_on.iter().filter(|tuning| tuning.arm != Arm::Source).map(given).collect();
    let terms = JudgeTerms { scratch_void: void.is_some(), ..*terms };
    let mut finding = gate::judge(rule, mode, &policy.limit_origin(&rule.id), source, &controls, &terms);
    finding.seconds = clock.elapsed().as_secs_f64();
    finding
}

fn without_numbers(policy: &Policy, question: &Question, look: usize, verdict: Verdict, reason: String) -> Finding {
    let Question { rule, mode, .. } = *question;
    Finding::without_numbers(rule, mode, policy.limit_origin(&rule.id), look, verdict, reason)
}
