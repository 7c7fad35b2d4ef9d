//! From what became of each model to one answer, beside that of the last night.

use std::collections::BTreeMap;

use glob::Pattern;

use super::plan::{Done, Plan, PlanEntry, Work};
use super::record::{Outcome, Record};
use super::results::{Before, Changes, Expired, ModelLine, ModelRun, SCHEMA, Scan, ScanRun, failing};
use super::spec::FailOn;
use super::state::{REPORTS, State};
use super::{population, work};
use crate::diag;
use crate::gate::ExitCode;
use crate::source::{Cause, Refusal};

/// How a scan was run.
pub(super) struct Ran {
    pub seconds: f64,
    pub shards: usize,
    /// When the last one began.
    pub last: Option<String>,
}

/// The scan of a plan. `ended`: the user ended it.
pub(super) fn scan(plan: &Plan, done: &BTreeMap<usize, Done>, state: &State, ran: &Ran, ended: bool) -> Scan {
    let mut models = Vec::with_capacity(plan.entries.len());
    let mut runs = BTreeMap::new();
    for (at, entry) in plan.entries.iter().enumerate() {
        let told = told(entry, done.get(&at), state, ended);
        let record = entry.key.as_ref().filter(|_| told.record).and_then(|key| state.records.get(key));
        if let Some(record) = record {
            let run = ModelRun { measured: record.run.measured.clone(), seconds: record.run.seconds };
            runs.insert(entry.id.to_string(), run);
        }
        models.push(line(entry, told, record));
    }
    let of = |model: &ModelLine| model.key.as_ref().filter(|_| model.report.is_some()).and_then(|key| state.records.get(key));
    let trusted: Vec<Pattern> = plan.trusted.iter().filter_map(|pattern| Pattern::new(pattern).ok()).collect();
    let populations = population::judge(&mut models, of, &trusted);
    for (model, entry) in models.iter_mut().zip(&plan.entries) {
        model.standing = stood(model, entry.before.as_ref());
    }
    let changes = changes(plan, &models);
    models.sort_by_key(|model| (model.outcome, model.standing, model.id()));
    let mut counts = BTreeMap::new();
    for model in &models {
        *counts.entry(model.outcome).or_insert(0) += 1;
    }
    let code = if ended { ExitCode::Interrupted } else { exit(plan, &models) };
    Scan {
        schema: SCHEMA,
        tool: plan.tool.clone(),
        executor: plan.executor.clone(),
        run: ScanRun {
            plan: plan.id.clone(),
            started: plan.made.clone(),
            last: ran.last.clone(),
            seconds: ran.seconds,
            shards: ran.shards,
            models: runs,
        },
        name: plan.name.clone(),
        file: plan.file.clone(),
        policies: plan.policies.clone(),
        fail_on: plan.fail_on,
        summary: summary(&counts, &changes, ended, code == ExitCode::Pass && plan.fail_on == FailOn::New),
        models,
        changes,
        populations,
        counts,
        exit_code: i32::from(code.code()),
    }
}

/// What became of an entry.
fn told(entry: &PlanEntry, done: Option<&Done>, state: &State, ended: bool) -> Done {
    let plain = |outcome, summary: &str| Done { outcome, refused: None, summary: summary.to_owned(), record: false };
    let missing = |reason: &str| Done {
        outcome: Outcome::Error,
        refused: Some(Refusal::new(Cause::Missing, reason)),
        summary: reason.to_owned(),
        record: false,
    };
    match &entry.work {
        Work::Refuse(refused) => {
            Done { outcome: Outcome::Error, refused: Some(refused.clone()), summary: refused.reason.clone(), record: false }
        }
        Work::LeaveOut { why } => plain(Outcome::LeftOut, why),
        Work::NotReached { why } => plain(Outcome::NotReached, why),
        Work::Keep => match entry.key.as_ref().and_then(|key| state.records.get(key)) {
            Some(record) => work::done(record),
            None => missing("its record is not there any more: scan again"),
        },
        Work::Measure | Work::Rejudge { .. } => match done {
            Some(told) if told.record && entry.key.as_ref().is_none_or(|key| !state.records.contains_key(key)) => {
                missing("its record is missing: the shard that wrote it kept it in a folder that was not named")
            }
            Some(told) => told.clone(),
            None if ended => plain(Outcome::NotReached, "the scan was interrupted"),
            None => missing("no shard has said what became of it: run its shard again, or scan again"),
        },
    }
}

fn line(entry: &PlanEntry, told: Done, record: Option<&Record>) -> ModelLine {
    let findings = record.map(|record| record.findings.clone()).unwrap_or_default();
    let cause = told.refused.as_ref().map(|refused| refused.cause);
    let report = entry.key.as_ref().filter(|_| record.is_some_and(|record| record.report));
    ModelLine {
        source: entry.id.source.clone(),
        name: entry.id.name.clone(),
        digest: entry.digest.clone(),
        bytes: entry.bytes,
        format: entry.format,
        facts: record.and_then(|record| record.facts.clone()),
        rule: entry.rule,
        policy: entry.policy.clone(),
        tier: entry.tier,
        outcome: told.outcome,
        cause,
        summary: told.summary,
        findings,
        key: entry.key.clone(),
        report: report.map(|key| format!("{REPORTS}/{}", key.digits())),
        standing: false,
        revision: entry.revision.clone(),
    }
}

/// Whether a model stands as it did in the last scan.
fn stood(model: &ModelLine, before: Option<&Before>) -> bool {
    let same = |before: &Before| before.outcome == model.outcome && before.cause == model.cause;
    before.is_some_and(|before| same(before) && failing(&model.findings).iter().all(|id| before.failing.contains(id)))
}

fn changes(plan: &Plan, models: &[ModelLine]) -> Changes {
    let first = plan.gone.is_empty() && plan.entries.iter().all(|entry| entry.before.is_none());
    let mut changes = Changes { first, gone: plan.gone.iter().map(ToString::to_string).collect(), ..Changes::default() };
    // In the order of names, which no other night changes.
    let mut all: Vec<(&ModelLine, Option<&Before>)> = models.iter().zip(plan.entries.iter().map(|entry| entry.before.as_ref())).collect();
    all.sort_by_key(|(model, _)| model.id());
    for (model, before) in all {
        let name = model.id().to_string();
        let was = before.map(|before| before.outcome);
        if model.outcome == Outcome::Fail && !model.standing {
            changes.new.push(name.clone());
        }
        if was == Some(Outcome::Fail) && model.outcome == Outcome::Pass {
            changes.fixed.push(name.clone());
        }
        let judged = matches!(was, Some(Outcome::Fail | Outcome::Inconclusive | Outcome::Pass | Outcome::Inspected | Outcome::NotJudged));
        if judged && model.outcome == Outcome::Error {
            changes.broken.push(name.clone());
        }
        let counts = |rule: &str, expires: &str| {
            model.findings.iter().filter_map(|f| f.waived.as_ref()).any(|waiver| waiver.rule == rule && waiver.expires == expires)
        };
        let date = plan.made.get(..10).unwrap_or_default();
        for waiver in before.iter().flat_map(|before| &before.waived) {
            if waiver.expires.as_str() < date && !counts(&waiver.rule, &waiver.expires) {
                changes.expired_waivers.push(Expired { model: name.clone(), waiver: waiver.clone() });
            }
        }
        if was.is_none() && !first {
            changes.added.push(name);
        }
    }
    changes.expired_waivers.dedup();
    changes
}

fn exit(plan: &Plan, models: &[ModelLine]) -> ExitCode {
    let any = |outcome| models.iter().any(|m| m.outcome == outcome && (plan.fail_on == FailOn::Any || !m.standing));
    let there = |outcome: &Outcome| models.iter().any(|m| m.outcome == *outcome);
    if any(Outcome::Fail) {
        ExitCode::Fail
    } else if any(Outcome::Error) {
        ExitCode::Error
    } else if any(Outcome::Inconclusive) || (there(&Outcome::NotReached) && !plan.allow_not_reached) {
        ExitCode::Inconclusive
    } else if [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive].iter().any(there) {
        ExitCode::Pass
    } else {
        ExitCode::NothingJudged
    }
}

/// `only_new`: the scan passes, and what stood so in the last scan counts for nothing.
fn summary(counts: &BTreeMap<Outcome, usize>, changes: &Changes, ended: bool, only_new: bool) -> String {
    let all: usize = counts.values().sum();
    let parts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.name())).collect();
    let mut told = format!("{}: {}", diag::count(all, "model"), parts.join(", "));
    if !changes.first {
        let kinds = changes.kinds();
        let changed: Vec<String> =
            kinds.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| format!("{} {what}", names.len())).collect();
        if !changed.is_empty() {
            told = format!("{told}; since the last scan {}", changed.join(", "));
        }
    }
    if only_new && counts.keys().any(|outcome| matches!(outcome, Outcome::Fail | Outcome::Error | Outcome::Inconclusive)) {
        told.push_str("; none of these is new, and `fail_on: new` lets them stand");
    }
    let told = if all == 0 { "no models were found".to_owned() } else { told };
    if ended { format!("interrupted; {told}") } else { told }
}
