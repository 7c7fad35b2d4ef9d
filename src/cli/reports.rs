//! `--reports`: which forms of a report are written.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use heirloom::report::{self, Chosen};

/// The forms of a report.
// One group of a command is called so, that of the command itself.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Args {
    /// Forms of the report, by their names and commas; report.json and measurements.json.gz are written in any case [default: json, junit,
    /// markdown, html, badge].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names())]
    pub reports: Vec<String>,
}

/// The names of all forms.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(report::formats().map(|(name, ..)| name))
}

impl Args {
    /// What the option says.
    pub(super) fn chosen(&self) -> Chosen {
        let names: Vec<&str> = self.reports.iter().map(String::as_str).collect();
        // Unknown names were refused when the command line was read.
        if names.is_empty() { Chosen::default() } else { Chosen::of(&names).unwrap_or_default() }
    }

    /// What was asked for and is not among the files that were written, for people.
    pub(super) fn missing(&self, written: &[PathBuf]) -> Vec<String> {
        let there = |file: &str| written.iter().any(|path| path.file_name().is_some_and(|name| name == file));
        let asked = report::formats().filter(|(name, file, _)| self.reports.iter().any(|asked| asked == name) && !there(file));
        asked.map(|(name, file, _)| format!("no {file}: `heirloom render --as {name}` says why")).collect()
    }
}
