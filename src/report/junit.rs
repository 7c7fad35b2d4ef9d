//! The report as JUnit XML, for the test panes of CI systems.
//!
//! Flat, as the least capable readers want it: one suite per model and policy, one case per rule and mode (seeds are
//! aggregated, because some readers keep only the first of equal names).

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesCData, BytesDecl, BytesText, Event};
use serde_json::json;

use super::format::{Format, Made};
use super::{Incomplete, Report, SelfTestStatus, WriteError, clock, text};
use crate::gate::{Finding, Verdict};

/// One suite; its totals are counted from its cases.
struct Suite {
    name: String,
    timestamp: String,
    cases: Vec<Case>,
}

/// One case. Its class is the suite.
struct Case {
    name: String,
    seconds: f64,
    /// File and line that an annotation belongs to, where there is a file that a repository can hold.
    place: Option<(String, usize)>,
    told: Option<Told>,
    output: String,
}

/// What there is to say of a case that did not simply pass.
struct Told {
    element: Element,
    kind: String,
    /// One line.
    message: String,
    /// What people read in the element itself: some readers show nothing else.
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Failure,
    Error,
    Skipped,
}

impl Element {
    fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

pub(super) const FORMAT: Format = Format {
    name: "junit",
    file: "junit.xml",
    about: "the test pane of a CI system",
    usual: true,
    beside: false,
    report: |of| render(of.report).map(Made::File).map_err(WriteError::Junit),
    incomplete: |of| incomplete(of).map(Made::File).map_err(WriteError::Junit),
};

/// The report as JUnit XML.
pub fn render(report: &Report) -> io::Result<Vec<u8>> {
    let name = format!("{} · {}", report.model.identity.name(), report.policy.name);
    let timestamp = clock::parse_utc(&report.run.started).unwrap_or(0);
    let mut cases: Vec<Case> = report.findings.iter().map(|finding| case(report, finding)).collect();
    let error = |name: &str, message: &str| {
        let told = Told { element: Element::Error, kind: "error".into(), message: message.into(), text: message.into() };
        Case { name: name.into(), seconds: 0.0, place: place(&report.policy.source, 1), told: Some(told), output: String::new() }
    };
    if report.self_test.status == SelfTestStatus::Failed {
        // Whatever the severities: without a sound self-test nothing was shown.
        cases.push(error("self-test", &report.self_test.detail));
    }
    if report.findings.is_empty() {
        // A suite without cases counts as green in most readers; nothing judged is not a pass.
        cases.push(error("certification", &report.summary));
    }
    document(&Suite { name, timestamp: clock::utc(timestamp), cases })
}

/// What stands in the place of a report without a verdict: one error.
pub fn incomplete(incomplete: &Incomplete) -> io::Result<Vec<u8>> {
    let told = Told {
        element: Element::Error,
        kind: incomplete.status.name().into(),
        message: incomplete.summary.clone(),
        text: incomplete.error.clone(),
    };
    let case = Case { name: "certification".into(), seconds: 0.0, place: None, told: Some(told), output: String::new() };
    let timestamp = clock::parse_utc(&incomplete.started).unwrap_or(0);
    document(&Suite { name: incomplete.subject.clone(), timestamp: clock::utc(timestamp), cases: vec![case] })
}

fn document(suite: &Suite) -> io::Result<Vec<u8>> {
    let count = |element: Element| {
        let of = |case: &&Case| case.told.as_ref().is_some_and(|told| told.element == element);
        suite.cases.iter().filter(of).count().to_string()
    };
    let time = text::trimmed(suite.cases.iter().map(|case| case.seconds).sum());
    let tests = suite.cases.len().to_string();
    let (failures, errors, skipped) = (count(Element::Failure), count(Element::Error), count(Element::Skipped));
    let totals = [
        ("tests", tests.as_str()),
        ("failures", failures.as_str()),
        ("errors", errors.as_str()),
        ("skipped", skipped.as_str()),
        ("time", time.as_str()),
    ];
    let name = clean(&suite.name);
    let mut writer = Writer::new(Vec::new());
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
    let all = writer.create_element("testsuites").with_attribute(("name", "heirloom")).with_attributes(totals);
    all.write_inner_content(|w| {
        let one = w.create_element("testsuite").with_attributes([("id", "0"), ("name", name.as_str()), ("package", "heirloom")]);
        let one = one.with_attributes(totals).with_attributes([("hostname", "localhost"), ("timestamp", suite.timestamp.as_str())]);
        one.write_inner_content(|w| suite.cases.iter().try_for_each(|case| write(w, case, &name))).map(drop)
    })?;
    let mut out = writer.into_inner();
    out.push(b'\n');
    Ok(out)
}

fn write(w: &mut Writer<Vec<u8>>, case: &Case, suite: &str) -> io::Result<()> {
    let (name, time) = (clean(&case.name), text::trimmed(case.seconds));
    let mut element =
        w.create_element("testcase").with_attributes([("name", name.as_str()), ("time", time.as_str()), ("classname", suite)]);
    if let Some((file, line)) = &case.place {
        element = element.with_attributes([("file", clean(file).as_str()), ("line", line.to_string().as_str())]);
    }
    element.write_inner_content(|w| {
        if let Some(told) = &case.told {
            let (kind, message) = (clean(&told.kind), clean(&told.message));
            let element = w.create_element(told.element.name()).with_attributes([("type", kind.as_str()), ("message", message.as_str())]);
            element.write_text_content(BytesText::new(&legal(&told.text)))?;
        }
        let reason = case.told.as_ref().filter(|told| told.element == Element::Skipped);
        // Four readers in five drop the reason of a skip, and keep what a case printed.
        let output = reason.map(|told| format!("skipped: {}\n", clean(&told.message))).unwrap_or_default() + &case.output;
        if !output.is_empty() {
            // Inside a CDATA section only `]]>` is special. In JSON it can stand only within a string.
            w.create_element("system-out").write_cdata_content(BytesCData::new(legal(&output).replace("]]>", "]]\\u003e")))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// A place in a file that a repository can hold: the policies inside the program are in none.
fn place(file: &str, line: usize) -> Option<(String, usize)> {
    (!file.is_empty() && !file.starts_with("<embedded>")).then(|| (file.to_owned(), line))
}

fn case(report: &Report, finding: &Finding) -> Case {
    let id = finding.id();
    let seconds = report.run.findings.get(&id).copied().unwrap_or(0.0);
    let told = |element: Element, kind: &str, message: String| {
        Some(Told { element, kind: kind.into(), text: explained(report, finding, &message), message })
    };
    let verdict = text::verdict(finding.verdict);
    let told = match (&finding.waived, finding.verdict) {
        (_, Verdict::Pass) => None,
        (Some(waiver), _) => {
            let by = format!("waived until {} by {}: {}", waiver.expires, waiver.owner, waiver.reason);
            told(Element::Skipped, "waived", format!("{verdict} {by}; {}", message(finding)))
        }
        (None, verdict) if verdict != Verdict::Skipped && report.report_only => {
            let cause = format!("{}, reported only; {}", text::verdict(verdict), message(finding));
            told(Element::Skipped, "report only", cause)
        }
        (None, verdict) if verdict != Verdict::Skipped && !report.gates(finding) => {
            let cause = format!("{} below the severity of `fail_on`; {}", text::verdict(verdict), message(finding));
            told(Element::Skipped, "below fail_on", cause)
        }
        (None, Verdict::Fail) => told(Element::Failure, finding.estimand.name(), message(finding)),
        (None, Verdict::Inconclusive) => told(Element::Error, "inconclusive", message(finding)),
        (None, Verdict::Error) => told(Element::Error, "error", message(finding)),
        (None, Verdict::Skipped) => told(Element::Skipped, "skipped", message(finding)),
    };
    Case {
        name: id,
        // Finer digits of a duration say nothing, and a hostile one must not fill the line.
        seconds: seconds.clamp(0.0, 1e9),
        place: place(&finding.origin.file, finding.origin.line),
        told,
        output: metrics(report, finding),
    }
}

fn message(finding: &Finding) -> String {
    let drawn = text::drawn_to(finding).map(|class| format!("; drawn to class \"{class}\""));
    let reason = finding.reason.as_ref().map(|reason| format!("{reason}; ")).unwrap_or_default();
    format!("{reason}{}{}", text::numbers(finding), drawn.unwrap_or_default())
}

/// The message, and what a failure means and what to do about it, for readers that show only the element's text.
fn explained(report: &Report, finding: &Finding, message: &str) -> String {
    let mut lines = vec![message.to_owned()];
    if finding.verdict == Verdict::Fail {
        lines.extend(text::explain(finding));
        lines.push(format!("Hint: {}.", text::hint(report, finding)));
    }
    lines.join("\n")
}

/// The numbers of a finding as one line of JSON.
fn metrics(report: &Report, finding: &Finding) -> String {
    json!({
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
        "label": finding.label,
        "own": finding.own,
        "comparisons": finding.comparisons,
        "further": finding.further,
        "arms": finding.arms,
    })
    .to_string()
}

/// Characters that XML 1.0 has no way to write, not even escaped, are dropped.
pub(crate) fn legal(text: &str) -> String {
    let illegal = |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().filter(|&c| !illegal(c)).collect()
}

/// [`legal`], for an attribute: readers fold line breaks there anyway.
pub(crate) fn clean(text: &str) -> String {
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
    fn without_a_verdict() {
        for incomplete in samples::incomplete() {
            let xml = String::from_utf8(super::incomplete(&incomplete).unwrap()).unwrap().replace("><", ">\n<");
            insta::assert_snapshot!(format!("incomplete_{}", incomplete.status.name()), xml);
        }
    }

    #[test]
    fn totals_count_the_cases_and_no_element_is_without_text() {
        for report in samples::all() {
            let xml = lines(&report);
            let tags: Vec<&str> = xml.lines().filter(|line| line.starts_with("<testsuite")).collect();
            for (attribute, element) in
                [("tests", "<testcase "), ("failures", "<failure "), ("errors", "<error "), ("skipped", "<skipped ")]
            {
                let count = xml.lines().filter(|line| line.starts_with(element)).count();
                let stated = format!(" {attribute}=\"{count}\"");
                assert!(tags.len() == 2 && tags.iter().all(|tag| tag.contains(&stated)), "{stated} is not in {tags:?}");
            }
            assert!(
                !xml.lines().any(|line| ["<failure", "<error", "<skipped"].iter().any(|tag| line.starts_with(tag)) && line.ends_with("/>"))
            );
        }
    }

    #[test]
    fn hostile_names_stay_well_formed() {
        let xml = lines(&samples::hostile());
        insta::assert_snapshot!(xml);
        assert!(!xml.contains('\u{1b}') && !xml.contains('\0'));
        assert_eq!(xml.matches("]]>").count(), xml.matches("<![CDATA[").count());
    }
}
