//! What a report says beside its findings, and in which order these stand.

use std::collections::BTreeMap;

use super::wording::Step;
use crate::exec::Compute;
use crate::gate::{Finding, SelfTestOutcome};
use crate::plan::{Plan, Resolved};
use crate::policy::Policy;
use crate::probe::Probe;
use crate::report::{self, FromCache, SelfTest, SelfTestStatus, Stage, Tool};
use crate::store::EntriesRead;

/// Natural features of one rule, the largest effect first: which of many it is, is what such a rule asks. All else stays in the order of
/// the policy.
pub(super) fn ranked(policy: &Policy, findings: Vec<Finding>) -> Vec<Finding> {
    let written = |finding: &Finding| match policy.rules.iter().find(|rule| rule.id == finding.rule).map(|rule| &rule.probe) {
        Some(Probe::Natural(_)) => policy.written(&finding.rule),
        _ => None,
    };
    let effect = |f: &Finding| f.comparisons.iter().filter_map(|c| c.excess.as_ref()).map(|e| e.value).fold(f64::INFINITY, f64::min);
    let mut all: Vec<Finding> = Vec::with_capacity(findings.len());
    let mut rest = findings.into_iter().peekable();
    while let Some(first) = rest.next() {
        let of = written(&first);
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|next| of.is_some() && written(next) == of) {
            group.push(next);
        }
        let finite = |f: &Finding| if effect(f).is_finite() { effect(f) } else { f64::NEG_INFINITY };
        group.sort_by(|a, b| a.mode.cmp(&b.mode).then(finite(b).total_cmp(&finite(a))));
        all.append(&mut group);
    }
    all
}

/// What makes reports on a device.
pub(crate) fn tool(compute: &Compute) -> Tool {
    Tool {
        name: "heirloom".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        instruction_set: crate::exec::instruction_set().into(),
        device: compute.name().into(),
        precision: compute.precision(),
    }
}

/// What of one kind came from the cache.
pub(super) fn from_cache((kind, read): (String, EntriesRead)) -> (String, FromCache) {
    let EntriesRead { entries, undated, made } = read;
    let [oldest, newest] = made.map_or([None, None], |made| made.map(|made| Some(report::utc(made))));
    (kind, FromCache { entries, undated, oldest, newest })
}

/// Seconds that each finding's fine-tunes took; findings that share a job share its time.
pub(super) fn spent(resolved: &Resolved, plan: &Plan, stages: &BTreeMap<Step, Stage>) -> BTreeMap<String, f64> {
    let mut spent = BTreeMap::new();
    for job in &plan.jobs {
        let served: Vec<_> = resolved.served_by(job.tuning).collect();
        let features = resolved.on_features(job.tuning).then_some(Step::Features(job.tuning.arm));
        let steps = features.into_iter().chain([Step::FineTune(job.tuning)]);
        let seconds: f64 = steps.filter_map(|step| stages.get(&step)).map(|stage| stage.seconds).sum();
        for question in &served {
            *spent.entry(question.id()).or_insert(0.0) += seconds / served.len() as f64;
        }
    }
    for (at, question) in resolved.questions.iter().enumerate() {
        *spent.entry(question.id()).or_insert(0.0) += stages.get(&Step::Shams(at)).map_or(0.0, |stage| stage.seconds);
    }
    spent
}

pub(super) fn self_test_facts(outcome: &SelfTestOutcome) -> SelfTest {
    let (status, detail) = match outcome {
        SelfTestOutcome::Sound => (SelfTestStatus::Passed, "planted source caught, clean source passed".to_owned()),
        SelfTestOutcome::Failed(why) => (SelfTestStatus::Failed, why.clone()),
        SelfTestOutcome::NotRun(why) => (SelfTestStatus::NotRun, why.clone()),
    };
    SelfTest { status, detail }
}
