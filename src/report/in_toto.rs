//! The verdict as an in-toto Statement v1 with the predicate test-result v0.1, to be signed by whoever answers for it.

use serde_json::{Value, json};

use super::format::{Format, Made, json as file};
use super::{Material, Report, WriteError, links, text};
use crate::gate::{Finding, Verdict};

/// What a statement of this layout calls itself.
pub(crate) const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The predicate.
pub(crate) const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

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
    let (Some(subject), Some(predicate)) = (links::subjects(of.report), predicate(of.report)) else {
        return Ok(Made::Nothing(links::EARLIER));
    };
    file(&json!({ "_type": STATEMENT, "subject": subject, "predicateType": TEST_RESULT, "predicate": predicate }))
}

/// What was tested by which policy, and how it came out: for this form, and for what `sign` signs. `None` where the policy is known by no SHA-256.
pub(crate) fn predicate(report: &Report) -> Option<Value> {
    let policy = links::policy(report)?;
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
    let mut predicate = json!({
        "result": result,
        "configuration": [policy],
        "passedTests": names(&|finding| finding.verdict == Verdict::Pass),
        "warnedTests": warnings,
        "failedTests": names(&failed),
    });
    let run = report.run.provenance.as_ref().and_then(|told| told.responsible.as_ref()?.run.clone());
    if let (Some(fields), Some(run)) = (predicate.as_object_mut(), run) {
        fields.insert("url".to_owned(), run.into());
    }
    Some(predicate)
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::report::samples;

    #[test]
    fn results_by_verdict() {
        let fail = FORMAT.value(&samples::fail());
        assert_eq!(fail["predicate"]["result"], "FAILED");
        assert_eq!(fail["predicate"]["warnedTests"], serde_json::json!(["backdoor/hat@fixed_feature"]));
        assert_eq!(fail["predicate"]["failedTests"], serde_json::json!(["backdoor/square@fixed_feature"]));
        assert_eq!(fail["subject"][0]["digest"]["sha256"], "9f2e".repeat(16));
        assert_eq!(fail["predicate"]["configuration"][0]["digest"]["sha256"], "41c9".repeat(16));
        assert_eq!(FORMAT.value(&samples::pass())["predicate"]["result"], "PASSED");
        let mut waived = samples::others();
        waived.exit_code = 0;
        waived.findings.retain(|finding| finding.waived.is_some());
        assert_eq!(FORMAT.value(&waived)["predicate"]["result"], "WARNED");
        // An open question that gates is no pass.
        let mut open = samples::fail();
        (open.exit_code, open.findings) = (5, open.findings.split_off(1));
        assert_eq!(FORMAT.value(&open)["predicate"]["result"], "FAILED");
    }
}
