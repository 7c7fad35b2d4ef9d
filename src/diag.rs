//! Where a statement came from, and what is wrong with it: spans, origins, diagnostics.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The file and place that a value was read from: a finding cites the policy line that set its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The file as the user named it, or `<embedded>/quick.yaml`.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One mistake in a text that the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable identifier such as `policy::unknown-field`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Byte range in the text, and what to say under it.
    pub span: Range<usize>,
    /// Shown under the marked span (may be empty).
    pub label: String,
    /// What to do about it.
    pub hint: Option<String>,
}
