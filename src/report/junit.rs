//! The report as JUnit XML, for the test panes of CI systems.
//!
//! Flat, as the least capable readers want it: one suite per model and policy, one case per rule and mode (seeds are
//! aggregated, because some readers keep only the first of equal names).

use junit_report::{Duration, OffsetDateTime, TestCase, TestSuite};
use serde_json::json;

use super::{CanaryStatus, Report, clock, text};
use crate::gate::{Finding, Verdict};

/// The report as JUnit XML.
pub fn render(report: &Report) -> Result<Vec<u8>, junit_report::Error> {
    let suite_name = clean(&format!("{} · {}", report.model.identity.name(), report.policy.name));
    let mut suite = TestSuite::new(&suite_name);
    "heirloom".clone_into(&mut suite.package);
    suite.set_timestamp(clock::parse_utc(&report.run.started).unwrap_or(OffsetDateTime::UNIX_EPOCH));
    for finding in &report.findings {
        let mut case = case(report, finding);
        case.set_classname(&suite_name);
        case.set_filepath(&clean(&report.policy.source));
        case.set_system_out(&metrics(report, finding));
        suite.add_testcase(case);
    }
    if report.canary.status == CanaryStatus::Failed {
        // Whatever the severities: without a sound self-test nothing was shown.
        let mut case = TestCase::error("self-test", Duration::ZERO, "error", &clean(&report.canary.detail));
        case.set_classname(&suite_name);
        case.set_filepath(&clean(&report.policy.source));
        suite.add_testcase(case);
    }
    if report.findings.is_empty() {
        // A suite without cases counts as green in most readers; nothing judged is not a pass.
        let mut case = TestCase::error("certification", Duration::ZERO, "error", &clean(&report.summary));
        case.set_classname(&suite_name);
        case.set_filepath(&clean(&report.policy.source));
        suite.add_testcase(case);
    }
    document(suite)
}

/// What could not begin, as JUnit XML: one error.
pub fn failure(model: &str, message: &str) -> Result<Vec<u8>, junit_report::Error> {
    let name = clean(model);
    let mut suite = TestSuite::new(&name);
    "heirloom".clone_into(&mut suite.package);
    let mut case = TestCase::error("certification", Duration::ZERO, "error", &clean(message));
    case.set_classname(&name);
    suite.add_testcase(case);
    document(suite)
}

fn document(suite: TestSuite) -> Result<Vec<u8>, junit_report::Error> {
    let mut xml = junit_report::Report::new();
    xml.add_testsuite(suite);
    let mut out = Vec::new();
    xml.write_xml(&mut out)?;
    out.push(b'\n');
    Ok(out)
}

fn case(report: &Report, finding: &Finding) -> TestCase {
    let id = finding.id();
    let name = clean(&id);
    let seconds = report.run.findings.get(&id).copied().unwrap_or(0.0);
    // Milliseconds: finer digits of a duration say nothing, and a hostile one must not overflow.
    let time = Duration::milliseconds((seconds.clamp(0.0, 1e9) * 1000.0).round() as i64);
    let mut case = match (&finding.waived, finding.verdict) {
        (_, Verdict::Pass) => TestCase::success(&name, time),
        (Some(waiver), _) => TestCase::skipped_with_cause(
            &name,
            "waived",
            &clean(&format!(
                "{} waived until {} by {}: {}; {}",
                text::verdict(finding.verdict),
                waiver.expires,
                waiver.owner,
                waiver.reason,
                message(finding)
            )),
        ),
        (None, verdict) if verdict != Verdict::Skipped && report.report_only => {
            let cause = format!("{}, reported only; {}", text::verdict(verdict), message(finding));
            TestCase::skipped_with_cause(&name, "report only", &clean(&cause))
        }
        (None, verdict) if verdict != Verdict::Skipped && !report.gates(finding) => {
            let cause = format!("{} below the severity of `fail_on`; {}", text::verdict(verdict), message(finding));
            TestCase::skipped_with_cause(&name, "below fail_on", &clean(&cause))
        }
        (None, Verdict::Fail) => TestCase::failure(&name, time, finding.estimand.name(), &clean(&message(finding))),
        (None, Verdict::Inconclusive) => TestCase::error(&name, time, "inconclusive", &clean(&message(finding))),
        (None, Verdict::Error) => TestCase::error(&name, time, "error", &clean(&message(finding))),
        (None, Verdict::Skipped) => TestCase::skipped_with_cause(&name, "skipped", &clean(&message(finding))),
    };
    case.time = time;
    case
}

fn message(finding: &Finding) -> String {
    let drawn = finding.drawn_to.as_ref().filter(|_| finding.verdict == Verdict::Fail).map(|class| format!("; drawn to class \"{class}\""));
    let reason = finding.reason.as_ref().map(|reason| format!("{reason}; ")).unwrap_or_default();
    format!("{reason}{}{}", text::numbers(finding), drawn.unwrap_or_default())
}

/// The numbers of a finding as one line of JSON.
fn metrics(report: &Report, finding: &Finding) -> String {
    let line = json!({
        "rule": finding.rule,
        "mode": finding.mode,
        "estimand": finding.estimand,
        "severity": finding.severity,
        "verdict": finding.verdict,
        "waived": text::is_waived(finding),
        "limit": finding.limit,
        "look": finding.look,
        "gates": report.gates(finding),
        "change": report.changes.get(&finding.rule),
        "drawn_to": finding.drawn_to,
        "notes": finding.notes,
        "comparisons": finding.comparisons,
        "arms": finding.arms,
    })
    .to_string();
    // Inside a CDATA section only `]]>` is special, and in JSON it can stand only within a string.
    legal(&line).replace("]]>", "]]\\u003e")
}

/// Characters that XML 1.0 has no way to write, not even escaped, are dropped.
fn legal(text: &str) -> String {
    let illegal = |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().filter(|&c| !illegal(c)).collect()
}

/// [`legal`], for an attribute: readers fold line breaks there anyway.
fn clean(text: &str) -> String {
    legal(text).replace(['\t', '\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::report::samples;

    fn lines(report: &crate::report::Report) -> String {
        let xml = String::from_utf8(render(report).unwrap()).unwrap();
        xml.replace("><", ">\n<")
    }

    #[test]
    fn failure() {
        insta::assert_snapshot!(lines(&samples::fail()));
    }

    #[test]
    fn pass() {
        insta::assert_snapshot!(lines(&samples::pass()));
    }

    #[test]
    fn every_other_verdict() {
        insta::assert_snapshot!(lines(&samples::others()));
    }

    #[test]
    fn nothing_judged_is_not_green() {
        insta::assert_snapshot!(lines(&samples::nothing()));
    }

    #[test]
    fn hostile_names_stay_well_formed() {
        let xml = lines(&samples::hostile());
        insta::assert_snapshot!(xml);
        assert!(!xml.contains('\u{1b}') && !xml.contains('\0'));
        assert_eq!(xml.matches("]]>").count(), xml.matches("<![CDATA[").count());
    }
}
