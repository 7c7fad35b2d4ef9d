//! What stands in the place of a report where there is no verdict: the run is not finished, could not begin, or was ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SCHEMA, clock};
use crate::gate::{ExitCode, Finding};

/// A report without a verdict. It has `status`, which a report with a verdict has not, and no findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incomplete {
    /// Version of this layout: 1.
    pub schema: u32,
    /// Why there is no verdict.
    pub status: Status,
    /// Version of heirloom.
    pub version: String,
    /// UTC, RFC 3339, whole seconds.
    pub started: String,
    /// What was to be judged, as the user named it.
    pub subject: String,
    /// What went wrong, as it was said on stderr.
    pub error: String,
    /// Empty: nothing was judged.
    #[schemars(length(max = 0))]
    pub findings: Vec<Finding>,
    /// The exit code that this calls for: 2 error, 4 usage, 130 interrupted.
    pub exit_code: i32,
    /// The same in one line.
    pub summary: String,
}

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It still runs, or was ended from outside.
    Unfinished,
    /// It could not begin, or could not go on.
    Error,
    /// The user ended it before anything was judged.
    Interrupted,
}

impl Status {
    /// For people and for JUnit's `type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Error => "error",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Incomplete {
    /// The mark of a run that has just begun: what a reader finds until there is a verdict.
    pub fn unfinished(subject: &str, started: i64) -> Self {
        let started = clock::utc(started);
        let error = format!(
            "the run that began at {started} is not finished: it still runs, or it was ended from outside (killed, out of memory, the machine stopped)"
        );
        Self::new(Status::Unfinished, subject, started, error, ExitCode::Error)
    }

    /// A run that ended with an error; `code` says whether that was wrong usage.
    pub fn failed(subject: &str, started: i64, error: &str, code: i32) -> Self {
        let code = if code == i32::from(ExitCode::Usage.code()) { ExitCode::Usage } else { ExitCode::Error };
        Self::new(Status::Error, subject, clock::utc(started), error.to_owned(), code)
    }

    /// A run that the user ended before anything was judged.
    pub fn interrupted(subject: &str, started: i64) -> Self {
        Self::new(
            Status::Interrupted,
            subject,
            clock::utc(started),
            "interrupted before anything was judged".to_owned(),
            ExitCode::Interrupted,
        )
    }

    fn new(status: Status, subject: &str, started: String, error: String, code: ExitCode) -> Self {
        let line = in_one_line(&error);
        let summary = match status {
            Status::Unfinished => line,
            _ => format!("nothing was judged: {line}"),
        };
        Self {
            schema: SCHEMA,
            status,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            subject: subject.to_owned(),
            error,
            findings: Vec::new(),
            exit_code: i32::from(code.code()),
            summary,
        }
    }
}

/// The first line of an error, with the beginning of the list that it announces.
fn in_one_line(error: &str) -> String {
    const LISTED: usize = 3;
    let mut lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let Some(announced) = first.strip_suffix(':') else { return first.to_owned() };
    let list: Vec<String> =
        lines.take_while(|line| !line.starts_with("hint:")).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let more = if list.len() > LISTED { ", ..." } else { "" };
    match list.get(..LISTED.min(list.len())) {
        None | Some([]) => announced.to_owned(),
        Some(few) => format!("{first} {}{more}", few.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::in_one_line;

    #[test]
    fn a_line_does_not_end_before_what_it_announces() {
        assert_eq!(in_one_line("m: it is empty\nhint: fetch it again"), "m: it is empty");
        assert_eq!(
            in_one_line("\n the weights do not fit resnet:\n  missing  a\n  unused   b\nhint: x"),
            "the weights do not fit resnet: missing a, unused b"
        );
        assert_eq!(in_one_line("nearest:\n  a\n  b\n  c\n  d"), "nearest: a, b, c, ...");
        assert_eq!(in_one_line("nothing follows:\nhint: x"), "nothing follows");
        assert_eq!(in_one_line(""), "");
    }
}
