//! Whether what is to be run or judged has the salt that its policy asks for.

use thiserror::Error;

use crate::diag::{Class, Explain};
use crate::policy::Policy;
use crate::report::Report;

/// Why a policy cannot be run, or a report not be judged by it: another salt gives other shams and other halves.
#[derive(Debug, Error)]
pub enum SaltError {
    /// The policy was read without it.
    #[error("the policy's `salt_env` names {name}, whose value was not read: give `policy::Options::salt` what reads it")]
    Unread {
        /// The environment variable.
        name: String,
    },
    /// The report has one, the policy has none.
    #[error(
        "the report was measured with a salt and the policy has none: judge it by a policy with the `salt_env` that it was measured with"
    )]
    Missing,
    /// The policy has one, the report has none.
    #[error(
        "the report was measured without a salt and the policy has one (`salt_env: {name}`): leave that out, or certify the model anew"
    )]
    Needless {
        /// The environment variable.
        name: String,
    },
    /// They differ.
    #[error("the report was measured with another salt than {name} holds: set {name} to that one, or certify the model anew")]
    Other {
        /// The environment variable.
        name: String,
    },
}

impl Explain for SaltError {
    fn class(&self) -> Class {
        Class::Usage
    }
}

/// Whether a policy can be run: its salt was read, if it asks for one.
pub(crate) fn is_read(policy: &Policy) -> Result<(), SaltError> {
    if policy.seed.is_unread() { Err(SaltError::Unread { name: named(policy) }) } else { Ok(()) }
}

/// Whether a report can be judged by a policy: both have the same salt, or none.
pub(super) fn is_same(report: &Report, policy: &Policy) -> Result<(), SaltError> {
    is_read(policy)?;
    match (&report.policy.salt, policy.seed.salt()) {
        (measured, ours) if measured.as_ref() == ours => Ok(()),
        (Some(_), None) => Err(SaltError::Missing),
        (None, _) => Err(SaltError::Needless { name: named(policy) }),
        (Some(_), Some(_)) => Err(SaltError::Other { name: named(policy) }),
    }
}

fn named(policy: &Policy) -> String {
    policy.file.salt_env.clone().unwrap_or_default()
}
