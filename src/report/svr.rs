//! A pass as an in-toto Statement v1 with the predicate "simple verification result" v0.2. It names what was shown, so that there is none of anything else.

use serde_json::json;

use super::format::{Format, Made, json as file};
use super::{Material, WriteError, clock, in_toto, links, text};
use crate::gate::Verdict;

pub(super) const FORMAT: Format = Format {
    name: "svr",
    file: "svr.intoto.json",
    about: "admission by policy engines; of a pass alone",
    usual: false,
    beside: false,
    report: render,
    incomplete: |_| Ok(Made::Nothing("without a verdict there is nothing to attest")),
};

fn render(of: &Material) -> Result<Made, WriteError> {
    let report = of.report;
    if report.exit_code != 0 {
        return Ok(Made::Nothing("it says what was shown, and is made of a pass alone"));
    }
    let (Some(subject), Some(policy)) = (links::subjects(report), links::policy(report)) else { return Ok(Made::Nothing(links::EARLIER)) };
    let passed = report.findings.iter().filter(|finding| finding.verdict == Verdict::Pass);
    // Who asks for `HEIRLOOM_PASSED` is not told of a pass that waivers made.
    let whole = report.findings.iter().all(|finding| matches!(finding.verdict, Verdict::Pass | Verdict::Skipped));
    let first = if whole { "HEIRLOOM_PASSED" } else { "HEIRLOOM_PASSED_WITH_EXCEPTIONS" }.to_owned();
    let properties: Vec<String> =
        std::iter::once(first).chain(passed.map(|finding| format!("HEIRLOOM_PASSED:{}", text::printable(&finding.id())))).collect();
    file(&json!({
        "_type": in_toto::STATEMENT,
        "subject": subject,
        "predicateType": "https://in-toto.io/attestation/svr/v0.2",
        "predicate": {
            "verifier": { "id": format!("pkg:cargo/heirloom@{}", links::uri(&report.tool.version)), "policies": [policy] },
            "timeCreated": clock::ended(&report.run.started, report.run.seconds),
            "properties": properties,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::report::{Made, samples};

    #[test]
    fn of_a_pass_alone() {
        let text = FORMAT.alone(&samples::pass()).text();
        assert!(text.contains("\"HEIRLOOM_PASSED\"") && text.contains("HEIRLOOM_PASSED:backdoor/square@full_network"), "{text}");
        assert!(text.contains("\"timeCreated\": \"2026-01-31T12:02:50Z\""), "{text}");
        for report in [samples::fail(), samples::others(), samples::nothing()] {
            assert!(matches!(FORMAT.alone(&report), Made::Nothing(_)));
        }
        let mut waived = samples::pass();
        waived.findings[0].verdict = crate::gate::Verdict::Fail;
        assert!(!FORMAT.alone(&waived).text().contains("\"HEIRLOOM_PASSED\""));
    }
}
