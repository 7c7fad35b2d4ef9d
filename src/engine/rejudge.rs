//! A stored report under another policy's limits, from its measurements: nothing runs.

use std::collections::BTreeMap;

use super::SaltError;
use super::pending::{self, Missing};
use super::reference::said_kin;
use super::salt;
use crate::gate::{self, ConcludeTerms, Finding, Rule, SelfTestOutcome, Verdict};
use crate::model::Bypass;
use crate::plan::{self, Question, Resolved, Tuning};
use crate::policy::Policy;
use crate::probe::{Arm, Measurement};
use crate::report::{ReferenceFacts, Report, SelfTestStatus, TargetFacts};
use crate::transform::PreparedTrigger;

/// Judges the measurements of `report` by `policy`. Rules are matched by id and mode; what was not measured, or measured of another trigger,
/// task or recipe, is `Error`. A policy with another salt is refused.
pub fn rejudge(
    report: &Report,
    measurements: &[Measurement],
    policy: &Policy,
    today: &str,
    report_only: bool,
) -> Result<Report, SaltError> {
    salt::is_same(report, policy)?;
    let resolved = plan::resolve(policy);
    let void = report.model.bypass.as_ref().map(Bypass::reason);
    let (elsewhere, doubt) = match data(report, policy) {
        Data::Same => (None, None),
        Data::Doubtful(why) => (None, Some(why)),
        Data::Other(why) => (Some(why), None),
    };
    // What the policy says of them now.
    let now = |known: &ReferenceFacts| ReferenceFacts { said_kin: said_kin(&known.digest, &policy.file.references), ..known.clone() };
    let references: Vec<ReferenceFacts> = report.references.iter().map(now).collect();
    let findings = resolved
        .questions
        .iter()
        .map(|question| {
            let Question { rule, mode, .. } = *question;
            let first = |tuning| resolved.fine_tune(tuning).map_or(0, |fine_tune| fine_tune.seeds.first);
            // The error was spent at the looks that were taken: a report of one look out of two stays at the first's share.
            let look = report.findings.iter().find(|f| f.rule == rule.id && f.mode == mode).map_or(1, |f| f.look);
            // An arm may have gone on for other rules: a first look is judged on its own seeds.
            let upto = |m: &Measurement| {
                let seeds = question.tuning(m.arm).filter(|_| look == 1).map_or(usize::MAX, first);
                Measurement { outcomes: m.outcomes.iter().take(seeds).cloned().collect(), ..m.clone() }
            };
            let of_rule = measurements.iter().filter(|m| m.rule == rule.id && m.mode == m.arm.trains(mode));
            let looked: Vec<Measurement> = of_rule.map(upto).collect();
            let other = other_change(report, policy, rule);
            let void = pending::void_for(rule, void.as_deref());
            pending::finding(policy, question, &pending::terms(&resolved, question, look), (void, &references), &|tuning| {
                let Tuning { arm, mode: trains, .. } = tuning;
                let found = looked.iter().find(|m| m.arm == arm);
                let id = resolved.measurement_id(rule, arm, trains);
                let first = first(tuning);
                let (name, finding) = (arm, question.id());
                let anew = "certify the model with this policy";
                // What kept the certification from it keeps this from it too.
                let before = report.findings.iter().find(|f| f.rule == rule.id && f.mode == mode);
                let why = before.and_then(|f| f.reason.clone()).unwrap_or_else(|| "it was not measured".into());
                match found {
                    _ if elsewhere.is_some() => Err(Missing::Failed(format!("{}: {anew}", elsewhere.clone().unwrap_or_default()))),
                    None if arm == Arm::Source && before.is_some_and(|f| f.verdict == Verdict::Skipped) => Err(Missing::Impossible(why)),
                    None if arm == Arm::Source && before.is_some_and(|f| f.verdict == Verdict::Inconclusive) => Err(Missing::NotRun(why)),
                    None if arm.is_fresh() && before.is_some_and(|f| f.comparisons.iter().any(|c| c.spared && c.control.has(arm))) => Err(Missing::Spared),
                    None => Err(Missing::Failed(format!("the report holds no {name} arm of {finding}: {anew}"))),
                    Some(m) if m.terms.as_ref() != Some(&id) => Err(Missing::Failed(format!(
                        "the {name} arm of {finding} was measured with another trigger, task, recipe, reference or seed than this policy has: {anew}"
                    ))),
                    Some(_) if other.is_some() => Err(Missing::Failed(format!("{finding}: {}: {anew}", other.clone().unwrap_or_default()))),
                    // As in a certification: a look that was not finished shows nothing.
                    Some(m) if m.outcomes.len() < first => Err(Missing::NotRun(format!(
                        "the {name} arm of {finding} has {} of the {first} seeds of a first look: {anew}",
                        m.outcomes.len()
                    ))),
                    Some(found) => Ok(found),
                }
            })
        })
        .collect();
    let self_test = match report.self_test.status {
        SelfTestStatus::Passed => SelfTestOutcome::Sound,
        SelfTestStatus::Failed => SelfTestOutcome::Failed(report.self_test.detail.clone()),
        SelfTestStatus::NotRun => SelfTestOutcome::Failed(format!("it did not run: {}", report.self_test.detail)),
    };
    let conclusion = gate::conclude(
        findings,
        &ConcludeTerms {
            self_test,
            waivers: &policy.file.waivers,
            today,
            model: &report.model.identity.digest,
            fail_on: policy.file.fail_on,
            report_only: false,
            interrupted: false,
        },
    );
    let judged = Report {
        policy: policy.into(),
        references,
        changes: of_rules(&report.changes, policy),
        triggers: of_rules(&report.triggers, policy),
        findings: super::facts::ranked(policy, conclusion.findings),
        waivers: policy.file.waivers.clone(),
        notes: conclusion.notes.into_iter().chain(trace(report, &resolved, today)).collect(),
        warnings: report.warnings.iter().cloned().chain(doubt).collect(),
        exit_code: i32::from(conclusion.exit.code()),
        report_only,
        ..report.clone()
    };
    Ok(Report { summary: judged.counts(), ..judged })
}

/// What a report says of rules that the policy has too.
fn of_rules<T: Clone>(told: &BTreeMap<String, T>, policy: &Policy) -> BTreeMap<String, T> {
    let known = |rule: &String| policy.rules.iter().any(|r| r.id == *rule);
    told.iter().filter(|(rule, _)| known(rule)).map(|(rule, told)| (rule.clone(), told.clone())).collect()
}

/// That this is another judgement of old measurements, and which of these it leaves out: whoever drops a finding spends its share of the error
/// on the others.
fn trace(report: &Report, resolved: &Resolved, today: &str) -> Vec<String> {
    let policy = resolved.policy;
    let (before, after) = (&report.policy, &policy.file.name);
    let mut notes = vec![format!(
        "judged again on {today} by the policy {after} ({}); measured on {} for the policy {} ({})",
        policy.digest.short(),
        report.run.started.chars().take(10).collect::<String>(),
        before.name,
        before.digest.short()
    )];
    let judged: Vec<String> = resolved.questions.iter().map(Question::id).collect();
    let dropped: Vec<String> = report.findings.iter().map(Finding::id).filter(|id| !judged.contains(id)).collect();
    if !dropped.is_empty() {
        notes.push(format!("the report has findings that this policy does not judge: {}", dropped.join(", ")));
    }
    notes
}

/// What differs, if a rule lays another thing over images than was measured: files change behind their path. Those that are not there any
/// more are believed.
fn other_change(report: &Report, policy: &Policy, rule: &Rule) -> Option<String> {
    let (trigger, measured) = (rule.probe.change()?, report.changes.get(&rule.id)?);
    let input = &report.model.input;
    let ours = PreparedTrigger::new(trigger, &policy.base, input.height, input.width).ok()?;
    let differs = report.triggers.get(&rule.id) != Some(ours.identity());
    differs.then(|| format!("the report was measured under {measured}, the policy asks for {}", ours.provenance()))
}

/// Whether a policy speaks of the images that were measured.
enum Data {
    Same,
    /// They may have been moved, or been named by `--data`.
    Doubtful(String),
    Other(String),
}

fn data(report: &Report, policy: &Policy) -> Data {
    // Not the policy's own words in the report: that is the one it was judged by last.
    let Some(TargetFacts { data: measured, source: Some(source), .. }) = &report.target else {
        return Data::Doubtful("the report does not say on which images it was measured".into());
    };
    let asked = &policy.file.target.data;
    if source == asked {
        return Data::Same;
    }
    let what = format!("the report was measured on {measured}, the policy names {asked}");
    // Images inside the program are nowhere else; others may be where `--data` said.
    if source.is_embedded() { Data::Other(what) } else { Data::Doubtful(format!("{what}: the verdict is about those that were measured")) }
}
