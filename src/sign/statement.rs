//! What is signed: an in-toto statement (version 1) about the report's files and the model's.
//!
//! Its predicate is `test-result` (version 0.1) and no type of our own: policy engines, and whoever collects attestations, know what to do with a test
//! that passed or failed. All the rest of what was found is in `report.json`, which the statement names by its SHA-256.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name_of;
use crate::report::Report;
use crate::report::in_toto::{self, STATEMENT, predicate};
use crate::store::Digest;

/// The predicate.
pub const PREDICATE: &str = in_toto::TEST_RESULT;

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
    /// That a report says this; `files` are its own. `None` where its policy is known by no SHA-256.
    pub(super) fn of(report: &Report, files: Vec<Subject>) -> Option<Self> {
        let model = &report.model.identity;
        let own = name_of(&model.path);
        let named = |name: &str| format!("model/{}", if name == "-" { own.as_str() } else { name });
        let one = model.files.is_empty().then(|| Subject::of(&named("-"), &model.digest));
        let several = model.files.iter().map(|file| Subject::of(&named(&file.name), &file.digest));
        let subject = files.into_iter().chain(one).chain(several).collect();
        Some(Self { kind: STATEMENT.to_owned(), subject, predicate_type: PREDICATE.to_owned(), predicate: predicate(report)? })
    }

    /// The SHA-256 of a file that it is about, in hexadecimal.
    pub(crate) fn digest_of(&self, name: &str) -> Option<&str> {
        self.subject.iter().find(|subject| subject.name == name)?.digest.get("sha256").map(String::as_str)
    }
}
