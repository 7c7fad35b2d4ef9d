//! Whether a stored report is what was written: its measurements are judged anew by the policy inside it, its files are rendered anew, and all that it
//! states is held against what comes out.
//!
//! What the measurements do not hold (who certified, when, on which machine, and whether they were measured at all) is held by a signature alone.
//! [`BY_SIGNATURE`] lists these fields.

mod by_signature;
mod difference;
mod inside;
mod outside;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::gate::ExitCode;
use crate::policy::{Policy, ReadVariable};
use crate::report::{ReadError, Report};
use crate::sign::{PublicKey, SignError};

pub use by_signature::{BY_SIGNATURE, by_signature_alone};
pub use difference::Difference;

/// What a report is held against, beside itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The checkpoint that it should be about.
    pub model: Option<PathBuf>,
    /// The policy's file that it should be judged by.
    pub policy: Option<PathBuf>,
    /// The images of the target task, as for `certify --data`.
    pub data: Option<PathBuf>,
    /// Who should have signed it.
    pub key: Option<PublicKey>,
    /// The signature, where it is not beside the report.
    pub signature: Option<PathBuf>,
    /// What gives the salt that the policy names.
    pub salt: Option<ReadVariable>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All is as it was written.
    Same,
    /// Something is not.
    Changed,
    /// It could not be checked: nothing is known of it.
    NotChecked,
    /// It was not asked for.
    NotAsked,
}

/// One thing that was held against another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: `measurements`, `numbers`, `files`, ...
    pub what: &'static str,
    /// How it went.
    pub state: State,
    /// In a few words.
    pub detail: String,
}

/// What became of a report's checks.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// The report's file.
    pub report: PathBuf,
    /// What was checked, in order.
    pub checks: Vec<Check>,
    /// What is not as it was written, at most 1,000 of it.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub further_differences: usize,
    /// Whether a signature by the given key holds all of it.
    pub signed: bool,
    /// What cannot be known from the report: the fields that a signature alone holds, where none was checked.
    pub unknown: Vec<&'static str>,
    /// 0 nothing was changed, 1 something was, 5 nothing was found and not all could be checked.
    pub exit_code: u8,
}

impl Verification {
    fn add(&mut self, what: &'static str, state: State, detail: impl Into<String>) {
        self.checks.push(Check { what, state, detail: detail.into() });
    }

    /// Adds what differs, and says how the check went.
    fn hold(&mut self, what: &'static str, found: Vec<Difference>, same: impl Into<String>) {
        match found.len() {
            0 => self.add(what, State::Same, same),
            n => self.add(what, State::Changed, format!("{} than stated", crate::diag::count(n, "other value"))),
        }
        for difference in found.into_iter().map(|difference| Difference { check: what, ..difference }) {
            if self.differences.len() < difference::MOST { self.differences.push(difference) } else { self.further_differences += 1 }
        }
    }

    fn conclude(mut self) -> Self {
        let any = |state| self.checks.iter().any(|check| check.state == state);
        let code = match (any(State::Changed), any(State::NotChecked)) {
            (true, _) => ExitCode::Fail,
            (false, true) => ExitCode::Inconclusive,
            (false, false) => ExitCode::Pass,
        };
        self.exit_code = code.code();
        if !self.signed {
            self.unknown = BY_SIGNATURE.iter().map(|(pointer, _)| *pointer).collect();
        }
        self
    }
}

/// Why a report cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The report or its measurements cannot be read.
    #[error(transparent)]
    Report(#[from] ReadError),
    /// The signature cannot be read.
    #[error(transparent)]
    Signature(#[from] SignError),
}

impl crate::diag::Explain for VerifyError {
    fn inner(&self) -> Option<&dyn crate::diag::Explain> {
        Some(match self {
            Self::Report(error) => error,
            Self::Signature(error) => error,
        })
    }
}

/// Verifies the report at `path`: its file, or the folder that holds it.
pub fn verify(path: &Path, options: &Options) -> Result<Verification, VerifyError> {
    let (report, bytes) = Report::read_bytes(path)?;
    let file = Report::file_of(path);
    let mut found = Verification {
        report: file.clone(),
        checks: Vec::new(),
        differences: Vec::new(),
        further_differences: 0,
        signed: false,
        unknown: Vec::new(),
        exit_code: 0,
    };
    let (measurements, digests) = match &report.measurements {
        Some(_) => Report::measurements_beside(path)?,
        None => return Err(ReadError::NoMeasurements { path: file }.into()),
    };
    found.hold("layout", inside::layout(&report, &bytes), "report.json is as heirloom writes it");
    found.hold("measurements", inside::measurements(&report, &digests), format!("{} as it was written", crate::report::MEASUREMENTS_FILE));
    // What the files beside it are made of: an edited report is no measure for them.
    let mut sound = report.clone();
    match inside::policy(&report, options) {
        Ok(policy) => {
            match inside::numbers(&report, &measurements, &policy, options.policy.is_some()) {
                Ok(inside::Judged { differences, detail, report }) => {
                    // Where nothing was changed they may be apart by what another processor makes of the last digits.
                    if let Some(judged) = report.filter(|_| !differences.is_empty()) {
                        sound = *judged;
                    }
                    found.hold("numbers", differences, detail);
                }
                Err(reason) => found.add("numbers", State::NotChecked, reason),
            }
            if policy.file.target.data.is_embedded() || options.data.is_some() {
                outside::data(&mut found, &report, &measurements, &policy);
            } else {
                found.add("data", State::NotAsked, "give --data PATH to hold the target task's images against the report");
            }
            outside::model(&mut found, &report, Some(&policy), options);
        }
        Err(inside::Unjudged { differences, reason }) => {
            if !differences.is_empty() {
                found.hold("policy", differences, "");
            }
            found.add("numbers", State::NotChecked, reason);
            outside::model(&mut found, &report, None, options);
        }
    }
    found.hold("files", inside::rendered(&sound, &measurements, &file), "what is rendered from the report is what lies beside it");
    outside::policy_file(&mut found, &report, options);
    outside::signature(&mut found, &file, &report, options)?;
    Ok(found.conclude())
}

/// The policy inside a report, or why it cannot be read.
pub(crate) fn policy_inside(report: &Report, salt: Option<ReadVariable>) -> Result<Policy, String> {
    inside::policy(report, &Options { salt, ..Options::default() }).map_err(|unjudged| unjudged.reason)
}

#[cfg(test)]
mod tests;
