//! `heirloom validate`: policy files, every mistake at once.

use std::path::PathBuf;

use super::output::{Output, Shape, say};
use crate::diag::{self, Diagnostic, Level, Located};
use crate::gate::ExitCode;
use crate::policy::{self, PolicyError};
use crate::report::printable;

const EXAMPLES: &str = "\
Examples:
  heirloom validate policies/*.yaml
  heirloom validate policy.yaml --format json    a list of {level, file, line, column, code, message, hint}

Exit code 0 if every file is valid, 4 otherwise.";

/// Check policy files without running anything.
///
/// Shows every mistake at once, with its line, what is wrong and what to write instead. Files that a policy names (data, trigger
/// pictures, the reference model) are looked for too.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Policy files.
    #[arg(required = true, value_name = "FILE", value_parser = super::existing)]
    pub files: Vec<PathBuf>,
}

/// Checks the files.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<i32> {
    let mut located: Vec<Located> = Vec::new();
    let mut lines = Vec::new();
    let mut valid = true;
    for file in &args.files {
        let name = file.display().to_string();
        match policy::load(file) {
            Ok((policy, remarks)) => {
                if !remarks.is_empty() {
                    let text = std::fs::read_to_string(file)?;
                    report(&text, &name, &remarks, &mut located, out);
                }
                let rules = policy.rules.len();
                lines.push(format!("{}: valid, {rules} rule{}", printable(&name), if rules == 1 { "" } else { "s" }));
            }
            Err(PolicyError::Invalid { text, name, diagnostics }) => {
                valid = false;
                report(&text, &name, &diagnostics, &mut located, out);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match out.shape {
        Shape::Json => out.json(&located)?,
        Shape::Text if valid => out.result(&(lines.join("\n") + "\n"))?,
        Shape::Text => {
            let errors = located.iter().filter(|l| l.level == Level::Error).count();
            say(&format!("{errors} error{}. Nothing was run.", if errors == 1 { "" } else { "s" }));
        }
    }
    Ok(i32::from(if valid { ExitCode::Pass } else { ExitCode::Usage }.code()))
}

fn report(text: &str, name: &str, diagnostics: &[Diagnostic], located: &mut Vec<Located>, out: &Output) {
    located.extend(diagnostics.iter().map(|d| d.located(text, name)));
    if out.shape == Shape::Text {
        say(&diag::render(text, name, diagnostics, out.color));
    }
}
