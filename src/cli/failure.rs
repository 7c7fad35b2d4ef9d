//! An error that ends a command: one clear message, what to do, and the exit code.

use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::output::{Output, say};
use crate::diag::{self, Level};
use crate::gate::ExitCode;
use crate::model::ModelError;
use crate::policy::PolicyError;
use crate::registry::RegistryError;
use crate::report::printable;

/// Wrong usage that only shows once a command runs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub String);

/// Shows an error on stderr and gives the exit code that it calls for.
pub(super) fn show(error: &anyhow::Error, out: &Output) -> i32 {
    if let Some(PolicyError::Invalid { text, name, diagnostics }) = error.downcast_ref() {
        say(diag::render(text, name, diagnostics, out.color).trim_end());
        let errors = diagnostics.iter().filter(|d| d.level == Level::Error).count();
        say(&format!("\n{errors} error{}. Nothing was run.", if errors == 1 { "" } else { "s" }));
        return i32::from(ExitCode::Usage.code());
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let label = if out.color { format!("{red}error{red:#}") } else { "error".to_owned() };
    say(&format!("{label}: {}", safe(&message(error))));
    if let Some(hint) = hint(error) {
        say(&format!("hint: {hint}"));
    }
    let usage = error.is::<PolicyError>() || error.is::<Usage>();
    i32::from(if usage { ExitCode::Usage } else { ExitCode::Error }.code())
}

/// An error about a file, which names the file where its own message does not.
pub(super) fn about(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    let name = path.display().to_string();
    let named = error.to_string().contains(&name);
    let error = anyhow::Error::new(error);
    if named { error } else { error.context(name) }
}

/// The chain of causes on one line, each said once: many errors quote their cause themselves.
fn message(error: &anyhow::Error) -> String {
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

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let registry = match error.downcast_ref::<ModelError>() {
        Some(ModelError::Registry(inner)) => Some(inner),
        _ => error.downcast_ref::<RegistryError>(),
    };
    registry.and_then(RegistryError::hint)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{message, safe};

    #[test]
    fn causes_are_said_once() {
        let plain = Err::<(), _>(anyhow::anyhow!("disk full")).context("cannot write x").unwrap_err();
        assert_eq!(message(&plain), "cannot write x: disk full");
        let quoted = Err::<(), _>(anyhow::anyhow!("disk full")).context("cannot write x: disk full").unwrap_err();
        assert_eq!(message(&quoted), "cannot write x: disk full");
    }

    #[test]
    fn files_are_named_once_and_the_error_is_still_known() {
        let error = || crate::model::ModelError::NoClasses;
        let named = super::about("m.onnx".as_ref(), error());
        assert_eq!(message(&named), format!("m.onnx: {}", error()));
        assert!(named.downcast_ref::<crate::model::ModelError>().is_some());
        assert_eq!(message(&super::about("head".as_ref(), error())), error().to_string());
    }

    #[test]
    fn lists_keep_their_lines_and_nothing_else() {
        assert_eq!(safe("a\n\u{1b}[2Jb"), "a\n\\u{1b}[2Jb");
    }
}
