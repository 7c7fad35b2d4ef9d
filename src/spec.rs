//! The files that people write, all read in one way: policies, studies, calibrations, planted sources and scans.
//!
//! A text of bounded size becomes a tree whose values know their places (`yaml`, `tree`). The tree is checked against the schema that its
//! type generates (`check`, in the `words` of people who write such files), and read into the type. What is wrong is said all at once, each
//! mistake at its place, and names the `kind` of file. What a schema cannot say is checked by whoever knows the type: as [`Fault`]s by JSON
//! pointer, or as diagnostics of its own.

mod check;
mod kind;
mod names;
#[cfg(test)]
mod tests;
mod tree;
mod words;
mod yaml;

use std::collections::BTreeSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::check::Checker;
pub use self::kind::{ANY, CALIBRATION, Kind, PLANT, POLICY, SCAN, STUDY};
pub(crate) use self::names::{all, list, nearest};
pub(crate) use self::tree::{Node, below};
use crate::diag::{self, Class, Diagnostic, Explain, Level, Mistakes};
use crate::store;

/// Largest file that is read, in bytes.
const LIMIT: usize = 1 << 20;
/// Most mistakes that are shown.
const SHOWN: usize = 100;

/// A type that one kind of file is read into.
pub(crate) trait Form: DeserializeOwned + JsonSchema {
    /// The kind of file.
    fn kind() -> &'static Kind;

    /// The schema that every such file is checked against (draft 2020-12), made once.
    fn schema() -> &'static Value;
}

/// Makes a type the [`Form`] of a kind of file.
macro_rules! form {
    ($form:ty, $kind:expr) => {
        impl $crate::spec::Form for $form {
            fn kind() -> &'static $crate::spec::Kind {
                &$kind
            }

            fn schema() -> &'static serde_json::Value {
                static SCHEMA: std::sync::LazyLock<serde_json::Value> =
                    std::sync::LazyLock::new(|| schemars::schema_for!($form).to_value());
                &SCHEMA
            }
        }
    };
}
pub(crate) use form;

/// A mistake that a schema cannot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Last part of its code: `value` of `study::value`.
    pub code: &'static str,
    /// JSON pointer to the value that it is about; nothing for the whole file.
    pub at: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// A mistake without a hint.
    pub(crate) fn new(code: &'static str, at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, at: at.into(), message: message.into(), hint: None }
    }

    /// The same with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with its place in a text.
    pub(crate) fn placed(self, kind: &Kind, tree: &Node) -> Diagnostic {
        let span = match tree.find(&self.at) {
            Some(node) if node.is_document(&self.at) => 0..0,
            Some(node) if node.is_map() => node.name_span(),
            _ => tree.place_of_value(&self.at),
        };
        let diagnostic = Diagnostic::error(kind.code(self.code), span, self.message);
        self.hint.into_iter().fold(diagnostic, Diagnostic::hint)
    }
}

/// The text of a file of some kind.
pub fn text(kind: &'static Kind, path: &Path) -> Result<String, SpecError> {
    let name = path.display().to_string();
    let bytes = store::read(path, LIMIT as u64).map_err(|source| match source.kind() {
        std::io::ErrorKind::FileTooLarge => SpecError::TooLarge { kind, name: name.clone() },
        _ => SpecError::Read { kind, name: name.clone(), source },
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let diagnostic = Diagnostic::error(kind.code("syntax"), at..at + 3, "not UTF-8").hint("save the file as UTF-8");
        // What precedes the first bad byte is kept as it is, so the place stays right.
        SpecError::invalid(kind, &String::from_utf8_lossy(error.as_bytes()), &name, vec![diagnostic])
    })
}

/// The kind of a text, as its fields say; a policy where they do not. Fields that are misspelt count, and so do those of a text that is not
/// valid YAML.
pub fn kind_of(text: &str) -> &'static Kind {
    let text = &*diag::line_feeds(text);
    let tree = if text.len() > LIMIT { None } else { yaml::read(&POLICY, text, &mut Vec::new()) };
    let value = tree.map(|tree| tree.value());
    if let Some(kind) = value.as_ref().and_then(Kind::of) {
        return kind;
    }
    let fields: Vec<&str> = match &value {
        Some(Value::Object(fields)) => fields.keys().map(String::as_str).collect(),
        Some(_) => Vec::new(),
        None => text.lines().filter_map(|line| Some(line.split_once(':')?.0)).filter(|name| !name.starts_with([' ', '#'])).collect(),
    };
    Kind::likely(&fields)
}

/// A text as the type that its kind of file is read into, with its tree, or all that is wrong with it. `meaning` adds what the schema cannot
/// say: it is given what was read, or nothing where the mistakes leave no value of the type.
pub(crate) fn parse<T: Form>(
    text: &str,
    name: &str,
    meaning: impl FnOnce(Option<&T>, &Node, &mut Vec<Diagnostic>),
) -> Result<(T, Node), SpecError> {
    let mut diagnostics = Vec::new();
    if let Some(tree) = tree::<T>(text, name, &mut diagnostics)? {
        check::<T>(text, &tree, &BTreeSet::new(), &mut diagnostics);
        let value = serde_json::from_value(tree.value());
        if let Err(error) = &value
            && diagnostics.is_empty()
        {
            diagnostics.push(unreadable(T::kind(), error));
        }
        meaning(value.as_ref().ok(), &tree, &mut diagnostics);
        if diagnostics.is_empty()
            && let Ok(value) = value
        {
            return Ok((value, tree));
        }
    }
    Err(SpecError::invalid(T::kind(), text, name, diagnostics))
}

/// The tree of a text: nothing where its mistakes leave none, or it is of another kind of file. Mistakes go to `diagnostics`.
pub(crate) fn tree<T: Form>(text: &str, name: &str, diagnostics: &mut Vec<Diagnostic>) -> Result<Option<Node>, SpecError> {
    let kind = T::kind();
    if text.len() > LIMIT {
        return Err(SpecError::TooLarge { kind, name: name.to_owned() });
    }
    let before = diagnostics.len();
    let Some(tree) = yaml::read(kind, text, diagnostics) else {
        if diagnostics.len() == before {
            let needed: Vec<&str> =
                T::schema().get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            let diagnostic = Diagnostic::error(kind.code("syntax"), 0..0, format!("the {} is empty", kind.name));
            diagnostics.push(diagnostic.hint(format!("{} needs at least {}", kind.one, all(&needed))));
        }
        return Ok(None);
    };
    if let Some(other) = kind.mistaken(&tree.value()) {
        let message = format!("this is {}, and not {}", other.one, kind.one);
        diagnostics.push(Diagnostic::error(kind.code("other-file"), 0..0, message).hint(other.how));
        return Ok(None);
    }
    Ok(Some(tree))
}

/// Adds what is wrong with a tree, or with the part of one that is of this type, to `diagnostics`. `text` is what the tree's places are
/// in. Values at the JSON pointers `later` will be put in later: they may be missing, and what is there now is not looked at.
pub(crate) fn check<T: Form>(text: &str, tree: &Node, later: &BTreeSet<String>, diagnostics: &mut Vec<Diagnostic>) {
    let mut found = Checker::new(T::kind(), T::schema(), text, later).mistakes(tree);
    // What could not be read at all has been reported and stands in the tree as nothing.
    let known: BTreeSet<(usize, usize)> = diagnostics.iter().map(|known| (known.span.start, known.span.end)).collect();
    // What stands behind an alias is met as often as it is repeated, and wrong once.
    let mut told = BTreeSet::new();
    found.retain(|new| {
        let place = (new.span.start, new.span.end);
        !known.contains(&place) && told.insert((place, new.message.clone()))
    });
    diagnostics.append(&mut found);
}

/// What the schema lets through and the type still refuses.
pub(crate) fn unreadable(kind: &Kind, error: &serde_json::Error) -> Diagnostic {
    Diagnostic::error(kind.code("value"), 0..0, format!("the {} cannot be read: {error}", kind.name))
}

/// A file with the places of its values.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its text.
    pub text: String,
    /// Where it came from.
    pub name: String,
    /// Its values.
    pub tree: Node,
}

impl Document {
    /// Refuses the file for what is wrong with it.
    pub(crate) fn refuse(&self, kind: &'static Kind, faults: Vec<Fault>) -> Result<(), SpecError> {
        if faults.is_empty() {
            return Ok(());
        }
        Err(SpecError::invalid(kind, &self.text, &self.name, faults.into_iter().map(|fault| fault.placed(kind, &self.tree)).collect()))
    }
}

/// What is remarkable about a file that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remarks {
    /// The text.
    pub text: String,
    /// Where it came from.
    pub name: String,
    /// Warnings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why a file that somebody wrote cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file cannot be read.
    #[error("cannot read the {} {name}: {source}", kind.name)]
    Read {
        /// What it should be.
        kind: &'static Kind,
        /// The file as the user named it.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("{name} is larger than 1 MiB: it is not {}", kind.one)]
    TooLarge {
        /// What it should be.
        kind: &'static Kind,
        /// The file as the user named it.
        name: String,
    },
    /// The text has mistakes; [`crate::diag::render`] shows them.
    #[error("{name} is not a valid {}: {}", kind.name, errors(diagnostics))]
    Invalid {
        /// What it should be.
        kind: &'static Kind,
        /// The text.
        text: String,
        /// Where it came from.
        name: String,
        /// What is wrong with it, in the order of the text; at least one is an error.
        diagnostics: Vec<Diagnostic>,
    },
}

impl Explain for SpecError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn mistakes(&self) -> Option<Mistakes<'_>> {
        match self {
            Self::Invalid { text, name, diagnostics, .. } => Some(Mistakes { text, name, diagnostics }),
            Self::Read { .. } | Self::TooLarge { .. } => None,
        }
    }
}

impl Remarks {
    /// Remarks on a text, in any order.
    pub(crate) fn new(text: &str, name: &str, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        Self { text: text.to_owned(), name: name.to_owned(), diagnostics }
    }
}

impl SpecError {
    /// A text with mistakes: in the order of the text, and no more than people read.
    pub(crate) fn invalid(kind: &'static Kind, text: &str, name: &str, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        let more = diagnostics.len().saturating_sub(SHOWN);
        if let Some(next) = diagnostics.get(SHOWN) {
            let message = format!("there are more mistakes than the first {SHOWN}: at least {more} are not shown");
            let rest = Diagnostic::error(kind.code("limit"), next.span.clone(), message);
            diagnostics.truncate(SHOWN);
            diagnostics.push(rest);
        }
        Self::Invalid { kind, text: text.to_owned(), name: name.to_owned(), diagnostics }
    }

    /// A file that is wrong as a whole, or in a way whose place is not known.
    pub(crate) fn whole(kind: &'static Kind, text: &str, name: &str, message: impl Into<String>) -> Self {
        Self::invalid(kind, text, name, vec![Diagnostic::error(kind.code("value"), 0..0, message)])
    }
}

fn errors(diagnostics: &[Diagnostic]) -> String {
    diag::count(diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error).count(), "error")
}
