//! The verdict as an in-toto Statement v1 with the predicate test-result v0.1, to be signed by whoever answers for it.

use serde_json::json;

use super::format::{Format, Made, json as file};
use super::{Material, WriteError, links, text};
use crate::gate::{Finding, Verdict};

pub(super) const FORMAT: Format = Format {
    name: "in-toto",
    file: "test-result.intoto.json",
    about: "attestations: what was tested and how it came out",
    usual: false,
    beside: false,
    report: render,
    incomplete: |_| Ok(Made::Nothing("without a verdict there is nothing to attest")),
};

fn render(of: &Material) -> Result<Made, WriteError> {
    let report = of.report;
    let (Some(subject), Some(policy)) = (links::subjects(report), links::policy(report)) else { return Ok(Made::Nothing(links::EARLIER)) };
    let names = |kind: &dyn Fn(&Finding) -> bool| -> Vec<String> {
        report.findings.iter().filter(|finding| kind(finding)).map(|finding| text::printable(&finding.id()).into_owned()).collect()
    };
    let failed = |finding: &Finding| matches!(finding.verdict, Verdict::Fail | Verdict::Error) && report.gates(finding);
    let warned = |finding: &Finding| !failed(finding) && !matches!(finding.verdict, Verdict::Pass | Verdict::Skipped);
    let warnings = names(&warned);
    let result = match report.exit_code {
        0 if warnings.is_empty() => "PASSED",
        0 => "WARNED",
        _ => "FAILED",
    };
    file(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": result,
            "configuration": [policy],
            "passedTests": names(&|finding| finding.verdict == Verdict::Pass),
            "warnedTests": warnings,
            "failedTests": names(&failed),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::report::{Material, Report, samples};

    fn of(report: &Report) -> serde_json::Value {
        serde_json::from_str(&(FORMAT.report)(&Material::alone(report)).unwrap().text()).unwrap()
    }

    #[test]
    fn results_by_verdict() {
        let fail = of(&samples::fail());
        assert_eq!(fail["predicate"]["result"], "FAILED");
        assert_eq!(fail["predicate"]["warnedTests"], serde_json::json!(["backdoor/hat@fixed_feature"]));
        assert_eq!(fail["predicate"]["failedTests"], serde_json::json!(["backdoor/square@fixed_feature"]));
        assert_eq!(fail["subject"][0]["digest"]["sha256"], "9f2e".repeat(16));
        assert_eq!(fail["predicate"]["configuration"][0]["digest"]["sha256"], "41c9".repeat(16));
        assert_eq!(of(&samples::pass())["predicate"]["result"], "PASSED");
        let mut waived = samples::others();
        waived.exit_code = 0;
        waived.findings.retain(|finding| finding.waived.is_some());
        assert_eq!(of(&waived)["predicate"]["result"], "WARNED");
        // An open question that gates is no pass.
        let mut open = samples::fail();
        (open.exit_code, open.findings) = (5, open.findings.split_off(1));
        assert_eq!(of(&open)["predicate"]["result"], "FAILED");
    }
}
