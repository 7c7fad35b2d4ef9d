//! What keeps a report from being signed, or a signature from being read.

use std::path::PathBuf;

use crate::diag::{Class, Explain};
use crate::report::ReadError;

/// Why there is no signature. No message holds any part of a private key.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The signature cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file beyond all that this program writes.
    #[error("{} holds more than {} MiB: it is no signature of a report", path.display(), most >> 20)]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Most bytes that are read.
        most: u64,
    },
    /// A key that cannot be used.
    #[error("{name} {reason}")]
    Key {
        /// The key's file or variable, as it was named.
        name: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Not a bundle or envelope.
    #[error("{} is no signature of a report: {reason}", path.display())]
    Envelope {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The report is not there, or not whole.
    #[error(transparent)]
    Report(#[from] ReadError),
    /// JSON could not be built.
    #[error("cannot write the signature as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Explain for SignError {
    fn inner(&self) -> Option<&dyn Explain> {
        if let Self::Report(error) = self { Some(error) } else { None }
    }

    fn class(&self) -> Class {
        match self {
            Self::Key { .. } => Class::Usage,
            Self::Report(error) => error.class(),
            _ => Class::Fault,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Key { hint, .. } => Some(hint),
            Self::Envelope { .. } | Self::TooLarge { .. } => Some("copy the file again, or sign the report anew: `heirloom sign`"),
            Self::Report(error) => error.hint(),
            _ => None,
        }
    }
}
