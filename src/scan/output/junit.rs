//! The scan as JUnit XML: a suite a model, a case a rule and mode; a model that was not measured is one case.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::gate::Verdict;
use crate::report::junit::{clean, legal};
use crate::report::text;
use crate::scan::record::{FindingLine, Outcome};
use crate::scan::results::{ModelLine, Scan};

/// A case: its name, and what there is to say where it did not simply pass.
struct Case {
    name: String,
    told: Option<(&'static str, String, String)>,
}

pub(super) fn render(scan: &Scan) -> io::Result<Vec<u8>> {
    let suites: Vec<(&ModelLine, Vec<Case>)> = scan.models.iter().map(|model| (model, cases(model))).collect();
    let all = suites.iter().flat_map(|(_, cases)| cases);
    let totals = totals(all);
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
    let name = clean(&scan.name);
    let top = writer.create_element("testsuites").with_attribute(("name", name.as_str()));
    let top = top.with_attributes(totals.iter().map(|(name, count)| (*name, count.as_str())));
    top.write_inner_content(|w| {
        for (nth, (model, cases)) in suites.iter().enumerate() {
            suite(w, nth, model, cases, scan)?;
        }
        if suites.is_empty() {
            // A file without cases counts as green in most readers; nothing judged is not a pass.
            let nobody = Case { name: "scan".into(), told: Some(("error", "empty".into(), scan.summary.clone())) };
            let one = w.create_element("testsuite").with_attributes([("name", name.as_str()), ("tests", "1"), ("errors", "1")]);
            one.write_inner_content(|w| case(w, &nobody, &name)).map(drop)?;
        }
        Ok(())
    })?;
    let mut out = writer.into_inner();
    out.push(b'\n');
    Ok(out)
}

fn suite(w: &mut Writer<Vec<u8>>, nth: usize, model: &ModelLine, cases: &[Case], scan: &Scan) -> io::Result<()> {
    let policy = model.policy.as_ref().map(|policy| format!(" · {policy}")).unwrap_or_default();
    let name = clean(&format!("{}{policy}", model.id()));
    let seconds = scan.run.models.get(&model.id().to_string()).map_or(0.0, |run| run.seconds);
    let (id, time) = (nth.to_string(), text::trimmed(seconds.clamp(0.0, 1e9)));
    let totals = totals(cases.iter());
    let one = w.create_element("testsuite").with_attributes([("id", id.as_str()), ("name", name.as_str()), ("package", "heirloom")]);
    let one = one.with_attributes(totals.iter().map(|(name, count)| (*name, count.as_str())));
    let one = one.with_attributes([("time", time.as_str()), ("hostname", "localhost"), ("timestamp", scan.run.started.as_str())]);
    one.write_inner_content(|w| cases.iter().try_for_each(|one| case(w, one, &name))).map(drop)
}

fn case(w: &mut Writer<Vec<u8>>, case: &Case, suite: &str) -> io::Result<()> {
    let name = clean(&case.name);
    let element = w.create_element("testcase").with_attributes([("name", name.as_str()), ("time", "0"), ("classname", suite)]);
    let Some((what, kind, message)) = &case.told else { return element.write_empty().map(drop) };
    element
        .write_inner_content(|w| {
            let (kind, line) = (clean(kind), clean(message));
            let told = w.create_element(*what).with_attributes([("type", kind.as_str()), ("message", line.as_str())]);
            told.write_text_content(BytesText::new(&legal(message))).map(drop)
        })
        .map(drop)
}

fn totals<'a>(cases: impl Iterator<Item = &'a Case>) -> [(&'static str, String); 4] {
    let kinds: Vec<Option<&str>> = cases.map(|case| case.told.as_ref().map(|told| told.0)).collect();
    let of = |kind: &str| kinds.iter().filter(|one| **one == Some(kind)).count().to_string();
    [("tests", kinds.len().to_string()), ("failures", of("failure")), ("errors", of("error")), ("skipped", of("skipped"))]
}

fn cases(model: &ModelLine) -> Vec<Case> {
    if !model.findings.is_empty() {
        return model.findings.iter().map(finding).collect();
    }
    let kind = model.cause.map_or_else(|| model.outcome.name().to_owned(), |cause| cause.name().to_owned());
    let told = match model.outcome {
        Outcome::Pass => None,
        Outcome::Fail => Some("failure"),
        Outcome::Error | Outcome::Inconclusive => Some("error"),
        // Nothing was measured: no reader may count it as passed.
        Outcome::Inspected | Outcome::NotReached | Outcome::NotJudged | Outcome::LeftOut => Some("skipped"),
    };
    vec![Case {
        name: model.tier.map_or("scan", |tier| tier.name()).to_owned(),
        told: told.map(|what| (what, kind, model.summary.clone())),
    }]
}

fn finding(finding: &FindingLine) -> Case {
    let why = || [finding.reason.clone().unwrap_or_default(), finding.numbers.clone()].into_iter().filter(|t| !t.is_empty());
    let message = why().collect::<Vec<_>>().join("; ");
    let verdict = text::verdict(finding.verdict);
    let told = |what: &'static str, kind: &str, message: String| Some((what, kind.to_owned(), message));
    let told = match (&finding.waived, finding.verdict) {
        (_, Verdict::Pass) => None,
        (Some(waiver), _) => {
            told("skipped", "waived", format!("{verdict}, waived until {} by {}; {message}", waiver.expires, waiver.owner))
        }
        (None, Verdict::Skipped) => told("skipped", "skipped", message),
        (None, _) if !finding.gates => told("skipped", "below fail_on", format!("{verdict} below the severity of `fail_on`; {message}")),
        (None, Verdict::Fail) => told("failure", "fail", message),
        (None, Verdict::Inconclusive) => told("error", "inconclusive", message),
        (None, Verdict::Error) => told("error", "error", message),
    };
    Case { name: finding.id.clone(), told }
}
