//! A stored report under another policy's limits, from its measurements: nothing runs.

use crate::gate::{self, CanaryOutcome, ConcludeTerms, Control, Finding, Terms, Verdict};
use crate::plan::{self, Plan};
use crate::policy::Policy;
use crate::probe::{Arm, Measurement};
use crate::report::{CanaryStatus, Report};

/// Judges the measurements of `report` by `policy`. Rules are matched by id and mode; what was not measured is `Error`.
pub fn rejudge(report: &Report, measurements: &[Measurement], policy: &Policy, today: &str, report_only: bool) -> Report {
    let total = plan::pairs(policy).count();
    let measured = |rule: &str, arm, mode| measurements.iter().find(|m| m.rule == rule && m.arm == arm && m.mode == mode);
    let mut findings = Vec::new();
    for (rule, mode) in plan::pairs(policy) {
        let origin = policy.limit_origin(&rule.id);
        let Some(source) = measured(&rule.id, Arm::Source, mode) else {
            let reason = format!("the report holds no measurement of {}@{mode}: certify the model with this policy", rule.id);
            findings.push(Finding::without_numbers(rule, mode, origin, 1, Verdict::Error, reason));
            continue;
        };
        let controls: Vec<_> = rule
            .controls_for(mode)
            .iter()
            .map(|&control| {
                let arm = match control {
                    Control::Sham => return (control, None, None),
                    Control::Scratch => Arm::Scratch,
                    Control::Reference => Arm::Reference,
                };
                let found = measured(&rule.id, arm, mode);
                (control, found, found.is_none().then(|| format!("the report holds no {} arm", control.name())))
            })
            .collect();
        // The error was spent at the looks that were taken: a report of one look out of two stays at the first's share.
        let seeds = Plan::looks(policy, mode);
        let look = report.findings.iter().find(|f| f.rule == rule.id && f.mode == mode).map_or(1, |f| f.look);
        let only_look = seeds.most <= seeds.first;
        let terms = Terms { findings: total, look, final_look: only_look || look == 2, policy_seed: policy.file.seed };
        findings.push(gate::judge(rule, mode, &origin, source, &controls, &terms));
    }
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
        findings: conclusion.findings,
        waivers: policy.file.waivers.clone(),
        notes: conclusion.notes,
        exit_code: i32::from(conclusion.exit.code()),
        report_only,
        ..report.clone()
    };
    Report { summary: judged.counts(), ..judged }
}
