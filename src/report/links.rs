//! What several machine formats say in the same way: where a finding is, and what was judged.

use serde_json::{Value, json};

use super::{Report, text};
use crate::diag::capital;
use crate::gate::{Finding, Verdict};
use crate::store::Digest;

/// Why a report has no file of a format that names things by SHA-256.
pub(super) const EARLIER: &str = "the report is of an earlier release, which named models and policies by BLAKE3: certify again";

/// A file that a repository can hold, and a line of it: where the limit was set, or the model where the policy is inside the program.
pub(super) fn place(report: &Report, finding: &Finding) -> (String, usize) {
    let file = &finding.origin.file;
    if file.is_empty() || file.starts_with('<') {
        (report.model.identity.path.display().to_string(), 1)
    } else {
        (file.clone(), finding.origin.line.max(1))
    }
}

/// A path as a reference of URIs.
pub(crate) fn uri(path: &str) -> String {
    use std::fmt::Write;
    let path = path.replace('\\', "/");
    let mut out = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

/// The files that were judged, as in-toto names them; `None` where one is known by no SHA-256.
pub(super) fn subjects(report: &Report) -> Option<Vec<Value>> {
    let id = &report.model.identity;
    let own = id.path.file_name().map_or_else(|| id.name(), |name| name.to_string_lossy().into_owned());
    let one = |name: &str, digest: &Digest| {
        (!digest.is_earlier()).then(|| json!({ "name": text::printable(name), "digest": { "sha256": digest.digits() } }))
    };
    if id.files.is_empty() {
        return one(&own, &id.digest).map(|subject| vec![subject]);
    }
    id.files.iter().map(|file| one(if file.name == "-" { &own } else { &file.name }, &file.digest)).collect()
}

/// The policy as in-toto names it; `None` where it is known by no SHA-256.
pub(super) fn policy(report: &Report) -> Option<Value> {
    let policy = &report.policy;
    (!policy.digest.is_earlier())
        .then(|| json!({ "name": text::printable(&policy.source), "digest": { "sha256": policy.digest.digits() } }))
}

/// Whether a finding did not pass, and stops the pipeline.
pub(super) fn stops(report: &Report, finding: &Finding) -> bool {
    !matches!(finding.verdict, Verdict::Pass | Verdict::Skipped) && report.gates(finding) && !report.report_only
}

/// What there is to say of a finding that did not pass: verdict, reason, numbers, and what a failure means.
pub(super) fn told(report: &Report, finding: &Finding, most: usize) -> String {
    let mut said = format!("{}: ", text::verdict(finding.verdict));
    if let Some(aside) = text::set_aside(report, finding) {
        said += aside;
        said += "; ";
    }
    if let Some(reason) = &finding.reason {
        said += reason;
        said += "; ";
    }
    said += &text::numbers(finding);
    if finding.verdict == Verdict::Fail {
        if let Some(sentence) = text::explain(finding) {
            said += ". ";
            said += &capital(&sentence);
        }
        said += " Hint: ";
        said += &text::hint(report, finding);
        said.push('.');
    }
    text::short(&said, most)
}

#[cfg(test)]
mod tests {
    use super::{subjects, uri};
    use crate::report::samples;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("policies/a b.yaml"), "policies/a%20b.yaml");
        assert_eq!(uri("C:\\policies\\ü.yaml"), "C%3A/policies/%C3%BC.yaml");
        assert_eq!(uri("/tmp/x?#.yaml"), "file:///tmp/x%3F%23.yaml");
    }

    #[test]
    fn every_file_of_a_checkpoint_is_a_subject_and_none_without_its_sha_256() {
        let mut report = samples::pass();
        assert_eq!(subjects(&report).unwrap()[0]["name"], "release.onnx");
        let text = crate::report::json::render(&report).unwrap().replace("sha256:", "");
        assert_eq!(subjects(&serde_json::from_str(&text).unwrap()), None);
        let file = |name: &str| crate::registry::FileRef { name: name.into(), digest: crate::store::Digest::sample("00ff"), bytes: 1 };
        report.model.identity.files = vec![file("-"), file("config.json")];
        let names: Vec<String> = subjects(&report).unwrap().iter().map(|s| s["name"].to_string()).collect();
        assert_eq!(names, ["\"release.onnx\"", "\"config.json\""]);
    }
}
