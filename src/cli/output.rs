//! Where a command prints: the result to stdout, remarks to stderr.

use std::io::{IsTerminal, Write};

use anstream::AutoStream;
use anstream::stream::RawStream;
use serde::Serialize;

use super::failure::{Broken, Failure};
use heirloom::report::printable;
use heirloom::report::table::Look;

/// What stdout carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Text for people.
    Text,
    /// JSON and nothing else.
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Also in files and pipes.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// Whether this stream is written in colour.
    pub(super) fn on(self, stream: &impl RawStream) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !matches!(AutoStream::choice(stream), anstream::ColorChoice::Never),
        }
    }
}

/// Where a command prints.
#[derive(Clone, Debug)]
pub struct Output {
    /// What stdout carries.
    pub shape: Shape,
    /// Whether stdout takes colours, and its width.
    pub look: Look,
    /// Whether stderr takes colours.
    pub color: bool,
    /// Whether stderr is a terminal where bars can move.
    pub terminal: bool,
    /// No progress, no remarks.
    pub quiet: bool,
}

impl Output {
    /// As the global options say, on this process's streams.
    pub fn new(shape: Shape, color: Color, quiet: bool) -> Self {
        let stdout = std::io::stdout();
        let width = if stdout.is_terminal() { terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0)) } else { 120 };
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        let look = Look { color: color.on(&stdout), width };
        Self { shape, look, color: color.on(&std::io::stderr()), terminal, quiet }
    }

    /// Prints the result. A reader that has seen enough (`| head`) is no error.
    #[expect(clippy::unused_self, reason = "whoever prints has the output in hand")]
    pub fn result(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Broken::on("cannot write the result to stdout")(error).into())
            }
            _ => Ok(()),
        }
    }

    /// Prints the result as indented JSON.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(Broken::on("the result is no JSON"))?;
        self.result(&(text + "\n"))
    }

    /// Prints a remark on one line, unless `--quiet`.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            say(&printable(text));
        }
    }
}

/// One line on stderr. Where stderr cannot be written, there is no one to tell.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
