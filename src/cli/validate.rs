//! `heirloom validate`: policy files, every mistake at once.

use std::path::PathBuf;

use super::output::{Output, Shape, say};
use crate::data;
use crate::diag::{self, Diagnostic, Level, Located};
use crate::engine;
use crate::gate::ExitCode;
use crate::policy::{self, Policy, PolicyError};
use crate::report::printable;

const EXAMPLES: &str = "\
Examples:
  heirloom validate policies/*.yaml
  heirloom validate policy.yaml --format json    a list of {level, file, line, column, code, message, hint}

Exit code 0 if every file is valid, 4 otherwise.";

/// Check policy files without running anything.
///
/// Shows every mistake at once, with its line, what is wrong and what to write instead. Files that a policy names (data, trigger
/// pictures, the reference model) are looked for too. Where rules sort images by an attribute, it says of how many
/// images the attribute is not known.
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
            Ok((policy, mut remarks)) => {
                let text = policy::read_text(file)?;
                // Where a file is missing, that is what there is to say of the data.
                if remarks.is_empty() {
                    remarks.extend(of_data(&policy, &text));
                }
                if !remarks.is_empty() {
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

/// What is to be known of the data of a policy that sorts images by an attribute: of how many of them it is not known.
fn of_data(policy: &Policy, text: &str) -> Vec<Diagnostic> {
    let views = [&policy.file.target.train, &policy.file.target.test];
    let sorts = policy.rules.iter().any(|rule| rule.probe.compared().is_some()) || views.iter().any(|view| !view.balance.is_empty());
    if !sorts {
        return Vec::new();
    }
    let place = |name: &str| text.rfind(name).map_or(0..0, |at| at..at + name.len());
    match data::summary(&policy.file.target, &policy.base) {
        Ok(summary) => {
            let all = [&summary.train, &summary.test].map(|counts| counts.iter().sum::<usize>());
            let lacking = |name: &str| {
                let [train, test] = summary.unknown.get(name).copied().unwrap_or_default();
                [(train, all[0]), (test, all[1])]
            };
            let compared = engine::unknown(policy, &lacking).into_iter().map(|(name, remark)| (place(&name), remark));
            let remarks = compared.chain(summary.warnings.iter().map(|warning| (place("target"), warning.clone())));
            remarks.map(|(span, remark)| Diagnostic::warning("policy::data", span, remark)).collect()
        }
        Err(error) => {
            let told = Diagnostic::warning("policy::data", place("target"), format!("the data cannot be used: {error}"));
            vec![error.hint().into_iter().fold(told, Diagnostic::hint)]
        }
    }
}

fn report(text: &str, name: &str, diagnostics: &[Diagnostic], located: &mut Vec<Located>, out: &Output) {
    located.extend(diagnostics.iter().map(|d| d.located(text, name)));
    if out.shape == Shape::Text {
        say(&diag::render(text, name, diagnostics, out.color));
    }
}
