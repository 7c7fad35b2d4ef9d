//! Why a model cannot be judged: one word that scripts can count, and one line for people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Explain;
use crate::registry::RegistryError;

/// Most characters of a reason: lists of operators can be long.
const MOST: usize = 300;

/// Why a model cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A pickled file: loading it would run the code inside.
    Pickle,
    /// The file is cut off, changed or empty, or a part of it is missing.
    Damaged,
    /// A format, an architecture or an operator that is not read.
    Unsupported,
    /// Larger than what is read.
    TooLarge,
    /// The policy does not suit the model.
    PolicyMisfit,
    /// No rule of the scan matches the model.
    NoPolicy,
    /// A link that leads out of the source.
    OutsideLink,
    /// A server does not answer, or with something that is not understood.
    HubDown,
    /// A server asks for a token, or refuses it.
    Auth,
    /// A model that is given only to those who accept its terms.
    Gated,
    /// It is not there any more, or never was.
    NotFound,
    /// A server gave other bytes than were named.
    Digest,
    /// The file changed between the plan and the measurement, or while it was read.
    Changed,
    /// A shard of the scan has not said what became of it.
    Missing,
    /// Anything else: the reason says what.
    Error,
}

impl Cause {
    /// As it is written in `scan.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pickle => "pickle",
            Self::Damaged => "damaged",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too-large",
            Self::PolicyMisfit => "policy-misfit",
            Self::NoPolicy => "no-policy",
            Self::OutsideLink => "outside-link",
            Self::HubDown => "hub-down",
            Self::Auth => "auth",
            Self::Gated => "gated",
            Self::NotFound => "not-found",
            Self::Digest => "digest",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Error => "error",
        }
    }

    /// Whether the bytes of the model alone decide it, so that it stays so until they or the program change.
    pub(crate) fn is_settled(self) -> bool {
        matches!(self, Self::Pickle | Self::Damaged | Self::Unsupported | Self::TooLarge)
    }
}

/// That a model cannot be judged, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// In one word.
    pub cause: Cause,
    /// In one line.
    pub reason: String,
}

impl Refusal {
    /// A refusal. Of a reason of several lines the first counts.
    pub(crate) fn new(cause: Cause, reason: impl AsRef<str>) -> Self {
        let reason = reason.as_ref();
        let mut lines = reason.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        // A line that announces a list says nothing without its beginning.
        let told = match (first.ends_with(':'), lines.next()) {
            (true, Some(next)) => format!("{first} {}", next.split_whitespace().collect::<Vec<_>>().join(" ")),
            _ => first.to_owned(),
        };
        // What a server says may hold what moves the cursor of a terminal.
        let told: String = told.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect();
        let reason = if told.chars().count() > MOST { told.chars().take(MOST).chain(['…']).collect() } else { told };
        Self { cause, reason }
    }

    /// The same with what to do about it.
    pub(crate) fn hinted(mut self, hint: Option<impl AsRef<str>>) -> Self {
        if let Some(hint) = hint {
            self.reason = format!("{}; {}", self.reason, hint.as_ref());
        }
        self
    }

    /// The same of the model wherever it lies: a record says it of all models of the same bytes. `place` is where this one lies.
    pub(crate) fn anywhere(mut self, place: &str) -> Self {
        if !place.is_empty() {
            let own = self.reason.strip_prefix(&format!("{place}: ")).unwrap_or(&self.reason).to_owned();
            self.reason = own.replace(&format!("{place}/"), "").replace(place, "it");
        }
        self
    }
}

impl From<&RegistryError> for Refusal {
    fn from(error: &RegistryError) -> Self {
        use RegistryError as E;
        let cause = match error {
            E::Pickle { .. } => Cause::Pickle,
            E::TooLarge { .. } => Cause::TooLarge,
            E::Unknown { .. } | E::Adapter { .. } => Cause::Unsupported,
            E::Changed { .. } => Cause::Changed,
            E::Io { .. } | E::NotAFile { .. } | E::Configuration { .. } => Cause::Error,
            _ => Cause::Damaged,
        };
        let hint = match cause {
            Cause::Damaged | Cause::Changed => error.hint().map(|hint| format!("; {hint}")).unwrap_or_default(),
            _ => String::new(),
        };
        Self::new(cause, format!("{error}{hint}"))
    }
}
