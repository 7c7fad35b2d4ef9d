//! All findings together: self-test, waivers, exit code.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Comparison, Control, Finding, Severity, Verdict, Waiver};
use crate::diag::Class;
use crate::store::Digest;

/// How the embedded pair of sources was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelfTestOutcome {
    /// The planted source was caught, the clean one passed.
    Sound,
    /// It was not so, and what happened.
    Failed(String),
    /// It was left out on purpose, and why: allowed for the self-test's own run only.
    NotRun(String),
}

/// What process exit codes mean, for ever. The first that applies is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// 130: interrupted.
    Interrupted,
    /// 4: usage or policy invalid.
    Usage,
    /// 1: at least one finding failed.
    Fail,
    /// 2: an error kept something from being judged.
    Error,
    /// 5: inconclusive: what was measured does not settle a finding, or a part of it was left out for lack of time.
    Inconclusive,
    /// 3: nothing was judged: every finding was skipped or left out.
    NothingJudged,
    /// 0: everything passed.
    Pass,
}

impl From<Class> for ExitCode {
    fn from(class: Class) -> Self {
        match class {
            Class::Usage => ExitCode::Usage,
            Class::Fault => ExitCode::Error,
            Class::Stopped => ExitCode::Interrupted,
        }
    }
}

impl ExitCode {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            ExitCode::Interrupted => 130,
            ExitCode::Usage => 4,
            ExitCode::Fail => 1,
            ExitCode::Error => 2,
            ExitCode::Inconclusive => 5,
            ExitCode::NothingJudged => 3,
            ExitCode::Pass => 0,
        }
    }
}

/// What applies to all findings.
#[derive(Clone, Debug)]
pub struct ConcludeTerms<'a> {
    /// How the self-test went.
    pub self_test: SelfTestOutcome,
    /// The policy's waivers.
    pub waivers: &'a [Waiver],
    /// `YYYY-MM-DD`.
    pub today: &'a str,
    /// The model under test.
    pub model: &'a Digest,
    /// Least severity that changes the exit code.
    pub fail_on: Severity,
    /// Verdicts never change the exit code.
    pub report_only: bool,
    /// The run was interrupted.
    pub interrupted: bool,
}

/// The end of a certification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conclusion {
    /// The verdict over all findings, severity and waivers counted in; `Skipped` where nothing was judged.
    pub verdict: Verdict,
    /// What the process exits with.
    pub exit: ExitCode,
    /// The findings, waivers applied.
    pub findings: Vec<Finding>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// Concludes a certification.
pub fn conclude(mut findings: Vec<Finding>, terms: &ConcludeTerms) -> Conclusion {
    let mut notes = Vec::new();
    if let SelfTestOutcome::Failed(why) = &terms.self_test {
        notes.push(format!("the self-test failed: {why}"));
        for finding in findings.iter_mut().filter(|f| f.verdict == Verdict::Pass) {
            finding.verdict = Verdict::Error;
            finding.reason =
                Some(format!("no pass is given because the self-test failed ({why}): this build or machine does not measure rightly"));
        }
    }
    for waiver in terms.waivers {
        apply(waiver, &mut findings, terms, &mut notes);
    }
    let counts = |verdict| findings.iter().any(|f| f.verdict == verdict && f.waived.is_none() && f.severity >= terms.fail_on);
    let judged = findings.iter().any(|f| !matches!(f.verdict, Verdict::Skipped));
    // Of what was left out altogether, for lack of time or at an interruption, nothing is known.
    let measured = findings.iter().any(|f| !f.arms.is_empty());
    // Whatever the severities: a build that does not measure rightly has shown nothing.
    let unsound = matches!(terms.self_test, SelfTestOutcome::Failed(_));
    let (verdict, exit) = if counts(Verdict::Fail) {
        (Verdict::Fail, ExitCode::Fail)
    } else if counts(Verdict::Error) || unsound {
        (Verdict::Error, ExitCode::Error)
    } else if counts(Verdict::Inconclusive) {
        (Verdict::Inconclusive, if measured { ExitCode::Inconclusive } else { ExitCode::NothingJudged })
    } else if !judged {
        (Verdict::Skipped, ExitCode::NothingJudged)
    } else {
        (Verdict::Pass, ExitCode::Pass)
    };
    let low = findings.iter().filter(|f| f.severity < terms.fail_on && !matches!(f.verdict, Verdict::Pass | Verdict::Skipped)).count();
    if low > 0 && !unsound {
        let (are, do_not) = if low == 1 { ("1 finding", "it does not") } else { (&*format!("{low} findings"), "they do not") };
        notes.push(format!("{are} below the severity of `fail_on` did not pass; {do_not} change the exit code"));
    }
    notes.extend(together(&findings));
    let exit = match exit {
        _ if terms.interrupted => ExitCode::Interrupted,
        _ if terms.report_only => ExitCode::Pass,
        exit => exit,
    };
    Conclusion { verdict, exit, findings, notes }
}

/// How far the source lies above its references over all trigger rules together: many effects, each below its limit, pass one by one.
fn together(findings: &[Finding]) -> Option<String> {
    let distance = |c: &Comparison| Some(c.excess.as_ref()?.value / c.innocents.as_ref()?.error.filter(|error| *error > 0.0)?);
    let beside = findings.iter().filter_map(|f| f.comparisons.iter().find(|c| c.control == Control::Reference).and_then(distance));
    let distances: Vec<f64> = beside.collect();
    let mean = distances.iter().sum::<f64>() / distances.len().max(1) as f64;
    (distances.len() > 1).then(|| {
        format!(
            "over the {} findings beside references the model lies {mean:+.1} standard deviations of innocent checkpoints from them on average; \
             this decides nothing: many effects below their limits pass one by one",
            distances.len()
        )
    })
}

/// Whether a waiver can accept a finding: one that failed, or one that was measured and stays open. What was left out has shown nothing to accept.
fn acceptable(finding: &Finding) -> bool {
    finding.verdict == Verdict::Fail || (finding.verdict == Verdict::Inconclusive && !finding.arms.is_empty())
}

/// Marks the findings that a waiver accepts. It never changes a verdict.
fn apply(waiver: &Waiver, findings: &mut [Finding], terms: &ConcludeTerms, notes: &mut Vec<String>) {
    let name = format!("the waiver of `{}` by {}", waiver.rule, waiver.owner);
    if waiver.is_earlier() {
        notes.push(format!(
            "{name} names no model: its digest has no `sha256:` in front, as those of earlier releases (BLAKE3); it counts for nothing; this model \
             is `{}`",
            terms.model
        ));
        return;
    }
    if !waiver.names(terms.model) {
        if findings.iter().any(|f| f.rule == waiver.rule && acceptable(f)) {
            notes.push(format!("{name} is for another model ({}): it counts for nothing here", waiver.model));
        }
        return;
    }
    if !is_date(&waiver.expires) || !is_date(terms.today) {
        notes.push(format!("{name} has no readable date (\"{}\"): it counts for nothing", waiver.expires));
        return;
    }
    // Dates of this form compare as text.
    if waiver.expires.as_str() < terms.today {
        notes.push(format!("{name} expired on {}: it counts for nothing", waiver.expires));
        return;
    }
    let mut used = false;
    for finding in findings.iter_mut().filter(|f| f.rule == waiver.rule && acceptable(f)) {
        finding.waived = Some(waiver.clone());
        used = true;
    }
    if !used {
        notes.push(format!("{name} accepts no failing or inconclusive finding; it can be removed"));
    }
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10 && bytes.iter().enumerate().all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() })
}

#[cfg(test)]
mod tests;
