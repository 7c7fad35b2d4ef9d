//! What is signed: an in-toto statement (version 1) about the report's files and the model's.
//!
//! Its predicate is `test-result` (version 0.1) and no type of our own: policy engines, and whoever collects attestations, know what to do with a test
//! that passed or failed. All the rest of what was found is in `report.json`, which the statement names by its SHA-256.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name_of;
use crate::gate::{Finding, Verdict};
use crate::report::Report;
use crate::store::Digest;

/// What a statement of this layout calls itself.
const TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate.
pub const PREDICATE: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// A statement about files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// What the statement's layout is called.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The files that it is about.
    pub subject: Vec<Subject>,
    /// What the predicate's layout is called.
    pub predicate_type: String,
    /// What is said of them.
    pub predicate: serde_json::Value,
}

/// A file, known by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is called; files of the model begin with `model/`.
    #[serde(default)]
    pub name: String,
    /// By algorithm: hexadecimal digits.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    pub(super) fn of(name: &str, digest: &Digest) -> Self {
        Self { name: name.to_owned(), digest: BTreeMap::from([("sha256".to_owned(), digest.digits().to_owned())]) }
    }
}

impl Statement {
    /// That a report says this; `files` are its own.
    pub(super) fn of(report: &Report, files: Vec<Subject>) -> Self {
        let model = &report.model.identity;
        let own = name_of(&model.path);
        let named = |name: &str| format!("model/{}", if name == "-" { own.as_str() } else { name });
        let one = model.files.is_empty().then(|| Subject::of(&named("-"), &model.digest));
        let several = model.files.iter().map(|file| Subject::of(&named(&file.name), &file.digest));
        let subject = files.into_iter().chain(one).chain(several).collect();
        let of = |wanted: &dyn Fn(&Finding) -> bool| -> Vec<String> {
            report.findings.iter().filter(|finding| wanted(finding)).map(Finding::id).collect()
        };
        let passed = of(&|f| f.verdict == Verdict::Pass);
        let failed = of(&|f| report.gates(f) && matches!(f.verdict, Verdict::Fail | Verdict::Error));
        // What does not gate (a waiver, a low severity), and what the data do not settle.
        let warned = of(&|f| match f.verdict {
            Verdict::Inconclusive => true,
            Verdict::Fail | Verdict::Error => !report.gates(f),
            Verdict::Pass | Verdict::Skipped => false,
        });
        let result = match report.exit_code {
            0 if warned.is_empty() => "PASSED",
            0 => "WARNED",
            _ => "FAILED",
        };
        let configuration = Subject::of(&report.policy.source, &report.policy.digest);
        let mut predicate = serde_json::json!({
            "result": result,
            "configuration": [configuration],
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": failed,
        });
        let run = report.run.provenance.as_ref().and_then(|told| told.responsible.as_ref()?.run.clone());
        if let (Some(predicate), Some(run)) = (predicate.as_object_mut(), run) {
            predicate.insert("url".to_owned(), run.into());
        }
        Self { kind: TYPE.to_owned(), subject, predicate_type: PREDICATE.to_owned(), predicate }
    }

    /// The SHA-256 of a file that it is about, in hexadecimal.
    pub(crate) fn digest_of(&self, name: &str) -> Option<&str> {
        self.subject.iter().find(|subject| subject.name == name)?.digest.get("sha256").map(String::as_str)
    }
}
