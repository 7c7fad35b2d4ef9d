//! A stored report under another policy's limits, from its measurements: nothing runs.

use super::docket::{self, Missing};
use crate::gate::{self, CanaryOutcome, ConcludeTerms};
use crate::plan;
use crate::policy::Policy;
use crate::probe::Measurement;
use crate::report::{CanaryStatus, Report};

/// Judges the measurements of `report` by `policy`. Rules are matched by id and mode; what was not measured, or measured of another trigger,
/// task or recipe, is `Error`.
pub fn rejudge(report: &Report, measurements: &[Measurement], policy: &Policy, today: &str, report_only: bool) -> Report {
    let total = plan::pairs(policy).count();
    let findings = plan::pairs(policy)
        .map(|(rule, mode)| {
            // The error was spent at the looks that were taken: a report of one look out of two stays at the first's share.
            let look = report.findings.iter().find(|f| f.rule == rule.id && f.mode == mode).map_or(1, |f| f.look);
            docket::finding(policy, rule, mode, &docket::terms(policy, mode, total, look), &|arm| {
                let found = measurements.iter().find(|m| m.rule == rule.id && m.arm == arm && m.mode == arm.trains(mode));
                let terms = plan::terms(policy, rule, arm, arm.trains(mode));
                let (name, finding) = (super::arm_name(arm), format!("{}@{mode}", rule.id));
                let anew = "certify the model with this policy";
                match found {
                    None => Err(Missing::Failed(format!("the report holds no {name} arm of {finding}: {anew}"))),
                    Some(m) if m.terms.as_ref().is_some_and(|measured| *measured != terms) => Err(Missing::Failed(format!(
                        "the {name} arm of {finding} was measured with another trigger, task, recipe or seed than this policy has: {anew}"
                    ))),
                    Some(found) => Ok(found),
                }
            })
        })
        .collect();
    let canary = match report.canary.status {
        CanaryStatus::Passed => CanaryOutcome::Sound,
        CanaryStatus::Failed => CanaryOutcome::Failed(report.canary.detail.clone()),
        CanaryStatus::NotRun => CanaryOutcome::NotRun(report.canary.detail.clone()),
    };
    let conclusion = gate::conclude(
        findings,
        &ConcludeTerms {
            canary,
            waivers: &policy.file.waivers,
            today,
            model: &report.model.identity.digest.0,
            fail_on: policy.file.fail_on,
            report_only: false,
            interrupted: false,
        },
    );
    let judged = Report {
        policy: policy.into(),
        findings: super::ranked(policy, conclusion.findings),
        waivers: policy.file.waivers.clone(),
        notes: conclusion.notes,
        exit_code: i32::from(conclusion.exit.code()),
        report_only,
        ..report.clone()
    };
    Report { summary: judged.counts(), ..judged }
}
