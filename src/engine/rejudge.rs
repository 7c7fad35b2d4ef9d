//! A stored report under another policy's limits, from its measurements: nothing runs.

use std::collections::BTreeMap;

use super::SaltError;
use super::pending::{self, CLOSINGS, Missing};
use super::reference::said_kin;
use super::salt;
use crate::gate::{self, ConcludeTerms, Finding, Rule, SelfTestOutcome, Verdict};
use crate::model::Bypass;
use crate::plan::{self, Question, Resolved, Tuning};
use crate::policy::Policy;
use crate::probe::{Arm, Measurement};
use crate::report::{JudgedAgain, ReferenceFacts, Report, Run, SelfTestStatus, TargetFacts};
use crate::transform::PreparedTrigger;

/// How stored measurements are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// By another policy: what was not measured is an error, and says so.
    Anew,
    /// By the policy that the report was judged by, to hold the answers against those that it states. Why something was not measured is known
    /// from the report alone.
    AsStored,
}

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
    let judged: Vec<String> = resolved.questions.iter().map(Question::id).collect();
    let before = report.findings.iter().map(Finding::id);
    let again = JudgedAgain {
        date: today.to_owned(),
        measured_for: report.policy.name.clone(),
        digest: report.policy.digest.clone(),
        dropped: before.filter(|id| !judged.contains(id)).collect(),
    };
    let report = Report { report_only, run: Run { judged_again: Some(again), ..report.run.clone() }, ..report.clone() };
    Ok(again_by(&report, measurements, &resolved, How::Anew))
}

/// The same report as its own policy and measurements make it: whoever changed a number, a verdict or the exit code by hand finds another there.
/// What the measurements do not show (who, when, on which machine) is as the report states it. A policy with another salt is refused.
pub(crate) fn as_stored(report: &Report, measurements: &[Measurement], policy: &Policy) -> Result<Report, SaltError> {
    salt::is_same(report, policy)?;
    Ok(again_by(report, measurements, &plan::resolve(policy), How::AsStored))
}

/// The day by which waivers of a report count.
fn day(report: &Report) -> String {
    let judged = report.run.judged_again.as_ref().map(|again| again.date.clone());
    judged.unwrap_or_else(|| report.run.started.chars().take(10).collect())
}

fn again_by(report: &Report, measurements: &[Measurement], resolved: &Resolved, how: How) -> Report {
    let policy = resolved.policy;
    let void = report.model.bypass.as_ref().map(Bypass::reason);
    let (elsewhere, doubt) = match data(report, policy) {
        _ if how == How::AsStored => (None, None),
        Data::Same => (None, None),
        Data::Doubtful(why) => (None, Some(why)),
        Data::Other(why) => (Some(why), None),
    };
    // What the policy says of them now.
    let now = |known: &ReferenceFacts| ReferenceFacts { said_kin: said_kin(&known.digest, &policy.file.references), ..known.clone() };
    let references: Vec<ReferenceFacts> = report.references.iter().map(now).collect();
    let known: BTreeMap<String, &Finding> = report.findings.iter().map(|finding| (finding.id(), finding)).collect();
    let mut of_rules: BTreeMap<&str, Vec<&Measurement>> = BTreeMap::new();
    for m in measurements {
        of_rules.entry(&m.rule).or_default().push(m);
    }
    let findings = resolved
        .questions
        .iter()
        .map(|question| {
            let Question { rule, mode, .. } = *question;
            let first = |tuning| resolved.fine_tune(tuning).map_or(0, |fine_tune| fine_tune.seeds.first);
            let before = known.get(&question.id()).copied();
            // The error was spent at the looks that were taken: a report of one look out of two stays at the first's share.
            let look = before.map_or(1, |f| f.look);
            // An arm may have gone on for other rules: a first look is judged on its own seeds.
            let upto = |m: &Measurement| {
                let seeds = question.tuning(m.arm).filter(|_| look == 1).map_or(usize::MAX, first);
                Measurement { outcomes: m.outcomes.iter().take(seeds).cloned().collect(), ..m.clone() }
            };
            let of_rule = of_rules.get(rule.id.as_str()).into_iter().flatten().filter(|m| m.mode == m.arm.trains(mode));
            let looked: Vec<Measurement> = of_rule.map(|m| upto(m)).collect();
            let other = if how == How::Anew { other_change(report, policy, rule) } else { None };
            let void = pending::void_for(rule, void.as_deref());
            pending::finding(policy, question, &pending::terms(resolved, question, look), (void, &references), &|tuning| {
                let Tuning { arm, mode: trains, .. } = tuning;
                let found = looked.iter().find(|m| m.arm == arm);
                let id = resolved.measurement_id(rule, arm, trains);
                let first = first(tuning);
                let (name, finding) = (arm, question.id());
                let anew = "certify the model with this policy";
                let stated = before.filter(|_| how == How::AsStored).and_then(|before| stated(report, before, arm));
                // What kept the certification from it keeps this from it too.
                let why = before.and_then(|f| f.reason.clone()).unwrap_or_else(|| "it was not measured".into());
                match found {
                    _ if elsewhere.is_some() => Err(Missing::Failed(format!("{}: {anew}", elsewhere.clone().unwrap_or_default()))),
                    None if stated.is_some() => stated.map_or(Err(Missing::Spared), |(missing, _)| Err(missing)),
                    // It was measured afterwards for other rules, or as far as it came.
                    Some(m) if stated.as_ref().is_some_and(|(_, surely)| *surely || m.outcomes.len() < first) => {
                        stated.map_or(Ok(m), |(missing, _)| Err(missing))
                    }
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
    let detail = || report.self_test.detail.clone();
    let self_test = match report.self_test.status {
        SelfTestStatus::Passed => SelfTestOutcome::Sound,
        SelfTestStatus::Failed => SelfTestOutcome::Failed(detail()),
        SelfTestStatus::NotRun if how == How::AsStored => SelfTestOutcome::NotRun(detail()),
        SelfTestStatus::NotRun => SelfTestOutcome::Failed(format!("it did not run: {}", detail())),
    };
    let today = day(report);
    let conclusion = gate::conclude(
        findings,
        &ConcludeTerms {
            self_test,
            waivers: &policy.file.waivers,
            today: &today,
            model: &report.model.identity.digest,
            fail_on: policy.file.fail_on,
            report_only: false,
            interrupted: how == How::AsStored && report.interrupted(),
        },
    );
    let trace = report.run.judged_again.as_ref().map(|again| trace(report, again, policy)).unwrap_or_default();
    let mut findings = super::facts::ranked(policy, conclusion.findings);
    if how == How::AsStored {
        for finding in &mut findings {
            keep_closing(finding, known.get(&finding.id()).copied());
        }
    }
    let judged = Report {
        policy: policy.into(),
        references,
        changes: of_policy(&report.changes, policy),
        triggers: of_policy(&report.triggers, policy),
        findings,
        waivers: policy.file.waivers.clone(),
        notes: conclusion.notes.into_iter().chain(trace).collect(),
        warnings: report.warnings.iter().cloned().chain(doubt).collect(),
        exit_code: i32::from(conclusion.exit.code()),
        ..report.clone()
    };
    Report { summary: judged.counts(), ..judged }
}

/// Why a report states that an arm of a finding was not measured, and whether that holds although there are measurements of it.
fn stated(report: &Report, finding: &Finding, arm: Arm) -> Option<(Missing, bool)> {
    // An arm that failed on the way to a second look has measurements of the first, which were not judged.
    let failed = |reason: &String| report.run.judged_again.is_some() || report.plan.left_out.contains(reason);
    if arm == Arm::Source {
        let reason = finding.reason.clone().filter(|_| finding.arms.is_empty())?;
        let surely = failed(&reason);
        return match finding.verdict {
            Verdict::Skipped => Some((Missing::Impossible(reason), false)),
            Verdict::Inconclusive => Some((Missing::NotRun(reason), surely)),
            Verdict::Error => Some((Missing::Failed(reason), surely)),
            Verdict::Pass | Verdict::Fail => None,
        };
    }
    let comparison = finding.comparisons.iter().find(|comparison| comparison.control.has(arm))?;
    if comparison.spared {
        return Some((Missing::Spared, true));
    }
    let others = comparison.innocents.iter().flat_map(|innocents| &innocents.references);
    let own = others.into_iter().find(|other| other.arm == arm).and_then(|other| other.missing.clone());
    let reason = own.or_else(|| comparison.missing.clone())?;
    let surely = failed(&reason);
    Some((Missing::Failed(reason), surely))
}

/// What a certification adds to the reason of a finding that it could not settle, if the stored one has it.
fn keep_closing(finding: &mut Finding, stored: Option<&Finding>) {
    let Some(stored) = stored.filter(|_| finding.verdict == Verdict::Inconclusive).and_then(|stored| stored.reason.as_ref()) else {
        return;
    };
    let own = finding.reason.clone().unwrap_or_default();
    let added = stored.strip_prefix(own.as_str()).map(|added| added.trim_start_matches("; "));
    if added.is_some_and(|added| CLOSINGS.contains(&added)) {
        finding.reason = Some(stored.clone());
    }
}

/// What a report says of rules that the policy has too.
fn of_policy<T: Clone>(told: &BTreeMap<String, T>, policy: &Policy) -> BTreeMap<String, T> {
    let known = |rule: &String| policy.rules.iter().any(|r| r.id == *rule);
    told.iter().filter(|(rule, _)| known(rule)).map(|(rule, told)| (rule.clone(), told.clone())).collect()
}

/// That this is another judgement of old measurements, and which of these it leaves out: whoever drops a finding spends its share of the error
/// on the others.
fn trace(report: &Report, again: &JudgedAgain, policy: &Policy) -> Vec<String> {
    let mut notes = vec![format!(
        "judged again on {} by the policy {} ({}); measured on {} for the policy {} ({})",
        again.date,
        policy.file.name,
        policy.digest.short(),
        report.run.started.chars().take(10).collect::<String>(),
        again.measured_for,
        again.digest.short()
    )];
    if !again.dropped.is_empty() {
        notes.push(format!("the report has findings that this policy does not judge: {}", again.dropped.join(", ")));
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
