//! An error that ends a command: one clear message, what to do, and the exit code.

use std::error::Error;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::output::{Output, Shape, say};
use heirloom::diag::{self, Class, Explain, Level, Mistakes};
use heirloom::gate::ExitCode;
use heirloom::report::printable;

/// Why a command ends without a result: any error that explains itself, and what it is about where its message does not say.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Explain + Send + Sync>,
    about: Option<String>,
}

impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error), about: None }
    }
}

/// Wrong usage that only shows once a command runs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub String);

impl Explain for Usage {
    fn class(&self) -> Class {
        Class::Usage
    }
}

/// Something that does not work here, and what it was to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub(super) struct Broken {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

impl Broken {
    /// Gives an error of the system its place in what the program does.
    pub(super) fn on<E: Into<Box<dyn Error + Send + Sync>>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        |error| Self { what, source: error.into() }
    }
}

impl Explain for Broken {}

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

impl Explain for Unsuited {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<&str> {
        Some(&self.hint)
    }
}

impl Failure {
    /// An error about a file, which names the file where its own message does not.
    pub(super) fn about(path: &Path, error: impl Explain + Send + Sync + 'static) -> Self {
        let name = path.display().to_string();
        let about = (!error.to_string().contains(&name)).then_some(name);
        Self { about, ..error.into() }
    }

    /// Shows it on stderr and gives the exit code that it calls for.
    pub(super) fn show(&self, out: &Output) -> i32 {
        if let Some(found) = self.error.mistakes() {
            say(&shown(found, out.color));
        } else if self.stopped() {
            say(&self.error.to_string());
        } else {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let label = if out.color { format!("{red}error{red:#}") } else { "error".to_owned() };
            say(&format!("{label}: {}", safe(&self.message())));
            if let Some(hint) = self.error.hint() {
                say(&format!("hint: {hint}"));
            }
            // What is left to do, ready to be sent into a file. JSON is of a report or nothing.
            let error: &(dyn Error + 'static) = &*self.error;
            if let Some(Unsuited { starter, .. }) = error.downcast_ref()
                && out.shape == Shape::Text
                && let Err(unwritten) = out.result(starter)
            {
                say(&format!("warning: {}", safe(&unwritten.message())));
            }
        }
        self.code()
    }

    /// The exit code that it calls for.
    pub(super) fn code(&self) -> i32 {
        i32::from(ExitCode::from(self.error.class()).code())
    }

    /// Whether the user ended the command.
    pub(super) fn stopped(&self) -> bool {
        self.error.class() == Class::Stopped
    }

    /// The mistakes of a file that somebody wrote, where it is that.
    pub(super) fn mistakes(&self) -> Option<Mistakes<'_>> {
        self.error.mistakes()
    }

    /// All that [`Failure::show`] says, for a report.
    pub(super) fn full(&self) -> String {
        if let Some(found) = self.error.mistakes() {
            return format!("{}\n\n{}", self.message(), shown(found, false));
        }
        let hint = self.error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        safe(&self.message()) + &hint
    }

    /// The chain of causes on one line, each said once: many errors quote their cause themselves.
    fn message(&self) -> String {
        let mut text = self.about.iter().fold(self.error.to_string(), |text, about| format!("{about}: {text}"));
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        text
    }
}

/// The mistakes of a file that somebody wrote, beside its lines.
fn shown(found: Mistakes, color: bool) -> String {
    let errors = found.diagnostics.iter().filter(|d| d.level == Level::Error).count();
    let shown = diag::render(found.text, found.name, found.diagnostics, color);
    format!("{}\n\n{}. Nothing was run.", shown.trim_end(), diag::count(errors, "error"))
}

/// Line by line, because some messages hold lists.
fn safe(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Broken, Failure, safe};

    #[test]
    fn causes_are_said_once() {
        let broken = Failure::from(Broken::on("cannot write x")("disk full"));
        assert_eq!(broken.message(), "cannot write x: disk full");
    }

    #[test]
    fn files_are_named_once_and_the_error_is_still_known() {
        let error = || heirloom::model::ModelError::ArchOfOnnx { name: "resnet".into() };
        let named = Failure::about("m.onnx".as_ref(), error());
        assert_eq!((named.message(), named.code()), (format!("m.onnx: {}", error()), 4));
        assert_eq!(Failure::about("ONNX".as_ref(), error()).message(), error().to_string());
    }

    #[test]
    fn what_was_asked_for_is_told_from_what_is_broken() {
        use heirloom::data::DataError;
        use heirloom::engine::EngineError;
        let group = || DataError::EmptyGroup { split: heirloom::data::Split::Train, group: "vendor = google".into() };
        let set = DataError::Set { data: "x".into(), source: Box::new(group()) };
        let codes = [group().into(), set.into(), EngineError::Data(group()).into(), DataError::NoLabel { id: "x".into() }.into()];
        assert_eq!(codes.map(|failure: Failure| failure.code()), [4, 4, 4, 2]);
        let stopped = Failure::from(EngineError::Tune(heirloom::tune::TuneError::Stopped));
        assert!(stopped.stopped() && stopped.code() == 130 && stopped.message().starts_with("interrupted"));
    }

    #[test]
    fn lists_keep_their_lines_and_nothing_else() {
        assert_eq!(safe("a\n\u{1b}[2Jb"), "a\n\\u{1b}[2Jb");
    }
}
