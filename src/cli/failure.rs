//! An error that ends a command: one clear message, what to do, and the exit code.

use std::borrow::Cow;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::output::{Output, Shape, say};
use heirloom::data::DataError;
use heirloom::diag::{self, Diagnostic, Level};
use heirloom::engine::{EngineError, ReferenceError, WaiverError};
use heirloom::exec::DeviceError;
use heirloom::gate::ExitCode;
use heirloom::model::{ExtractError, ModelError};
use heirloom::plant::PlantError;
use heirloom::registry::RegistryError;
use heirloom::report::{ReadError, WriteError, printable};
use heirloom::runtime::RuntimeError;
use heirloom::series::SeriesError;
use heirloom::spec::SpecError;
use heirloom::tune::TuneError;

/// Wrong usage that only shows once a command runs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub String);

/// A model that the embedded task says nothing about.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Unsuited {
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// A policy to start from.
    pub starter: String,
}

/// An error of a series as that of what went wrong in it.
pub(super) fn of_series(error: SeriesError) -> anyhow::Error {
    match error {
        SeriesError::Engine(EngineError::Tune(TuneError::Stopped)) | SeriesError::Plant(PlantError::Tune(TuneError::Stopped)) => {
            SeriesError::Stopped.into()
        }
        SeriesError::Engine(EngineError::Plan(refused)) => Usage(refused.to_string()).into(),
        SeriesError::Engine(inner) => inner.into(),
        SeriesError::Reference(inner) => inner.into(),
        SeriesError::Registry(inner) => inner.into(),
        SeriesError::Model(inner) => inner.into(),
        SeriesError::Plant(PlantError::Data(inner)) => inner.into(),
        SeriesError::Plant(inner @ (PlantError::Class { .. } | PlantError::Arch(_))) => Usage(inner.to_string()).into(),
        SeriesError::Plant(inner) => inner.into(),
        other @ (SeriesError::Stopped | SeriesError::Write { .. }) => other.into(),
    }
}

/// Shows an error on stderr and gives the exit code that it calls for.
pub(super) fn show(error: &anyhow::Error, out: &Output) -> i32 {
    if let Some(SpecError::Invalid { text, name, diagnostics, .. }) = error.downcast_ref() {
        say(&mistakes(text, name, diagnostics, out.color));
    } else if let Some(stopped @ SeriesError::Stopped) = error.downcast_ref() {
        say(&stopped.to_string());
    } else if stopped(error) {
        say("interrupted: nothing was finished");
    } else {
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let label = if out.color { format!("{red}error{red:#}") } else { "error".to_owned() };
        say(&format!("{label}: {}", safe(&message(error))));
        if let Some(hint) = hint(error) {
            say(&format!("hint: {hint}"));
        }
        // What is left to do, ready to be sent into a file. JSON is of a report or nothing.
        if let Some(Unsuited { starter, .. }) = error.downcast_ref()
            && out.shape == Shape::Text
            && let Err(unwritten) = out.result(starter)
        {
            say(&format!("warning: {}", safe(&message(&unwritten))));
        }
    }
    code(error)
}

/// The exit code that an error calls for.
pub(super) fn code(error: &anyhow::Error) -> i32 {
    let code = if stopped(error) || matches!(error.downcast_ref(), Some(SeriesError::Stopped)) {
        ExitCode::Interrupted
    } else if is_usage(error) {
        ExitCode::Usage
    } else {
        ExitCode::Error
    };
    i32::from(code.code())
}

/// All that [`show`] says of an error, for a report.
pub(super) fn full(error: &anyhow::Error) -> String {
    if let Some(SpecError::Invalid { text, name, diagnostics, .. }) = error.downcast_ref() {
        return format!("{}\n\n{}", message(error), mistakes(text, name, diagnostics, false));
    }
    let hint = hint(error).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    safe(&message(error)) + &hint
}

/// The mistakes of a file that somebody wrote, beside its lines.
fn mistakes(text: &str, name: &str, diagnostics: &[Diagnostic], color: bool) -> String {
    let errors = diagnostics.iter().filter(|d| d.level == Level::Error).count();
    let shown = diag::render(text, name, diagnostics, color);
    format!("{}\n\n{}. Nothing was run.", shown.trim_end(), diag::count(errors, "error"))
}

/// An error about a file, which names the file where its own message does not.
pub(super) fn about(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    let name = path.display().to_string();
    let named = error.to_string().contains(&name);
    let error = anyhow::Error::new(error);
    if named { error } else { error.context(name) }
}

/// The chain of causes on one line, each said once: many errors quote their cause themselves.
pub(super) fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Line by line, because some messages hold lists.
fn safe(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// What an error is about, wherever in a run it came up.
enum Cause<'a> {
    Device(&'a DeviceError),
    Registry(&'a RegistryError),
    Model(&'a ModelError),
    Runtime(&'a RuntimeError),
    Data(&'a DataError),
    Read(&'a ReadError),
    Write(&'a WriteError),
}

fn cause(error: &anyhow::Error) -> Option<Cause<'_>> {
    match error.downcast_ref() {
        Some(EngineError::Tune(TuneError::Runtime(ExtractError::Runtime(inner)))) => return Some(Cause::Runtime(inner)),
        Some(EngineError::Model(inner)) => return Some(Cause::Model(inner)),
        Some(EngineError::Waiver(WaiverError::Registry(inner))) => return Some(Cause::Registry(inner)),
        Some(EngineError::Data(inner) | EngineError::Asked { source: inner, .. }) => return Some(Cause::Data(inner)),
        _ => {}
    }
    if let Some(PlantError::Data(inner)) = error.downcast_ref() {
        return Some(Cause::Data(inner));
    }
    match error.downcast_ref() {
        Some(ReferenceError::Registry(inner)) => return Some(Cause::Registry(inner)),
        Some(ReferenceError::Model { source, .. }) => return Some(Cause::Model(source)),
        _ => {}
    }
    let device = || error.downcast_ref().map(Cause::Device);
    let runtime = || error.downcast_ref().map(Cause::Runtime);
    let registry = || error.downcast_ref().map(Cause::Registry);
    let model = || error.downcast_ref().map(Cause::Model);
    let data = || error.downcast_ref().map(Cause::Data);
    let read = || error.downcast_ref().map(Cause::Read);
    let write = || error.downcast_ref().map(Cause::Write);
    device().or_else(registry).or_else(runtime).or_else(model).or_else(data).or_else(read).or_else(write)
}

/// What to do about an error, where its message does not say.
pub(super) fn hint(error: &anyhow::Error) -> Option<Cow<'static, str>> {
    if let Some(Unsuited { hint, .. }) = error.downcast_ref() {
        return Some(hint.clone().into());
    }
    advice(error).map(Cow::Borrowed)
}

fn advice(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(hint) = error.downcast_ref().and_then(EngineError::hint) {
        return Some(hint);
    }
    match cause(error)? {
        Cause::Device(error) => Some(error.hint()),
        Cause::Registry(error) => error.hint(),
        Cause::Model(error) => error.hint(),
        Cause::Runtime(error) => error.hint(),
        Cause::Data(error) => error.hint(),
        Cause::Read(error) => error.hint(),
        Cause::Write(error) => error.hint(),
    }
}

/// Whether the user asked for what cannot be, rather than something being broken.
fn is_usage(error: &anyhow::Error) -> bool {
    let asked_for = match cause(error) {
        Some(Cause::Device(_)) => true,
        Some(Cause::Model(error)) => error.is_usage(),
        Some(Cause::Runtime(error)) => error.is_usage(),
        Some(Cause::Data(error)) => error.is_usage(),
        Some(Cause::Write(error)) => matches!(error, WriteError::NotAFolder { .. }),
        Some(Cause::Registry(_) | Cause::Read(_)) | None => false,
    };
    let rule = matches!(error.downcast_ref(), Some(EngineError::Rule { .. } | EngineError::Change { .. }));
    let reference = match error.downcast_ref() {
        Some(ReferenceError::Registry(_) | ReferenceError::Model { .. }) | None => false,
        Some(
            ReferenceError::Digest { .. } | ReferenceError::Weights { .. } | ReferenceError::Size { .. } | ReferenceError::Itself { .. },
        ) => true,
    };
    let waiver = matches!(error.downcast_ref(), Some(EngineError::Waiver(WaiverError::Earlier { .. })));
    asked_for || rule || reference || waiver || error.is::<SpecError>() || error.is::<Usage>() || error.is::<Unsuited>()
}

/// Whether the user ended the run before there was anything to report.
pub(super) fn stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(EngineError::Tune(TuneError::Stopped)))
        || matches!(error.downcast_ref(), Some(PlantError::Tune(TuneError::Stopped)))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{is_usage, message, safe, stopped};

    #[test]
    fn causes_are_said_once() {
        let plain = Err::<(), _>(anyhow::anyhow!("disk full")).context("cannot write x").unwrap_err();
        assert_eq!(message(&plain), "cannot write x: disk full");
        let quoted = Err::<(), _>(anyhow::anyhow!("disk full")).context("cannot write x: disk full").unwrap_err();
        assert_eq!(message(&quoted), "cannot write x: disk full");
    }

    #[test]
    fn files_are_named_once_and_the_error_is_still_known() {
        let error = || heirloom::model::ModelError::NoClasses;
        let named = super::about("m.onnx".as_ref(), error());
        assert_eq!(message(&named), format!("m.onnx: {}", error()));
        assert!(named.downcast_ref::<heirloom::model::ModelError>().is_some());
        assert_eq!(message(&super::about("head".as_ref(), error())), error().to_string());
    }

    #[test]
    fn what_was_asked_for_is_told_from_what_is_broken() {
        use heirloom::data::DataError;
        use heirloom::engine::EngineError;
        let group = || DataError::EmptyGroup { split: heirloom::data::Split::Train, group: "vendor = google".into() };
        let set = DataError::Set { data: "x".into(), source: Box::new(group()) };
        assert!(is_usage(&group().into()) && is_usage(&set.into()) && is_usage(&EngineError::Data(group()).into()));
        assert!(!is_usage(&DataError::NoLabel { id: "x".into() }.into()));
        assert!(stopped(&EngineError::Tune(heirloom::tune::TuneError::Stopped).into()));
    }

    #[test]
    fn lists_keep_their_lines_and_nothing_else() {
        assert_eq!(safe("a\n\u{1b}[2Jb"), "a\n\\u{1b}[2Jb");
    }
}
