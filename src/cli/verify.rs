//! `heirloom verify`: whether a stored report is what was written.

use std::fmt::Write;
use std::path::PathBuf;

use super::failure::Failure;
use super::output::{Output, Shape};
use super::{machine, sign};
use heirloom::report::printable;
use heirloom::sign::PublicKey;
use heirloom::verify::{self, Difference, Options, State, Verification};

const EXAMPLES: &str = "\
Examples:
  heirloom verify heirloom-report
  heirloom verify heirloom-report --model model.onnx --policy policy.yaml
  heirloom verify heirloom-report --key key.pub
  heirloom verify heirloom-report --format json | jq '.differences'

Exit codes:
  0  all that was checked is as it was written
  1  something was changed, or the signature is not by the key that was given
  2  the report or its measurements cannot be read: cut off, damaged, of another release
  4  wrong usage
  5  nothing was found, and not all could be checked";

/// Most differences that people are shown.
const SHOWN: usize = 20;

/// Check that a stored report was not changed: judge its measurements anew, and compare all that it states.
///
/// Reads report.json and what lies beside it, judges the measurements by the policy inside the report, and renders every file anew. Names what was
/// changed, and what cannot be known from the report alone.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A report.json, or the folder that holds it.
    #[arg(value_name = "REPORT", value_parser = super::existing)]
    pub report: PathBuf,
    /// The checkpoint: is it the one that was certified?
    #[arg(long, value_name = "FILE", value_parser = super::existing)]
    pub model: Option<PathBuf>,
    /// The policy's file: is it the one that the report was judged by? The files that it names are compared too.
    #[arg(short, long, value_name = "FILE", value_parser = super::existing)]
    pub policy: Option<PathBuf>,
    /// The target task's images: are they those that were measured on? Images inside the program are always compared.
    #[arg(long, value_name = "PATH", value_parser = super::data)]
    pub data: Option<PathBuf>,
    /// The public key that the report should be signed with, in PEM.
    #[arg(long, value_name = "FILE", value_parser = super::existing)]
    pub key: Option<PathBuf>,
    /// The signature [default: report.sigstore.json beside the report].
    #[arg(long, value_name = "FILE", value_parser = super::existing)]
    pub signature: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let key = match &args.key {
        Some(path) => Some(PublicKey::parse(&sign::read(path)?, &path.display().to_string())?),
        None => None,
    };
    let options = Options {
        model: args.model.clone(),
        policy: args.policy.clone(),
        data: args.data.clone(),
        key,
        signature: args.signature.clone(),
        salt: Some(machine::variable),
    };
    let found = verify::verify(&args.report, &options)?;
    match out.shape {
        Shape::Json => out.json(&found)?,
        Shape::Text => out.result(&render(&found))?,
    }
    Ok(i32::from(found.exit_code))
}

/// What a file was held against, by the check, before what that gives.
fn against(check: &str) -> &'static str {
    match check {
        "numbers" => "the measurements give",
        "files" => "rendered anew it holds",
        "measurements" => "the file beside it is",
        "data" => "the images are",
        "model" => "the checkpoint gives",
        "policy" => "the text in the report gives",
        "policy file" => "the file is",
        "signature" => "what was signed is",
        _ => "heirloom writes",
    }
}

fn render(found: &Verification) -> String {
    let head = match found.exit_code {
        0 => "nothing was changed",
        1 => "CHANGED",
        _ => "nothing was found, and not all could be checked",
    };
    let mut out = format!("{}: {head}\n", printable(&found.report.display().to_string()));
    // Writing to a string cannot fail.
    for check in &found.checks {
        let state = match check.state {
            State::Same => "same",
            State::Changed => "CHANGED",
            State::NotChecked => "NOT CHECKED",
            State::NotAsked => "not asked",
        };
        let _ = writeln!(out, "  {:<13}{state:<13}{}", check.what, printable(&check.detail));
    }
    if !found.differences.is_empty() {
        let _ = writeln!(out, "\nchanged:");
    }
    for Difference { file, at, check, found, expected } in found.differences.iter().take(SHOWN) {
        let told = |value: &Option<serde_json::Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let _ = writeln!(
            out,
            "  {} {}: holds {}; {} {}",
            printable(file),
            printable(at),
            printable(&told(found)),
            against(check),
            printable(&told(expected))
        );
    }
    let more = found.differences.len().saturating_sub(SHOWN) + found.further_differences;
    if more > 0 {
        let _ = writeln!(out, "  and {more} more (`--format json`)");
    }
    if !found.signed {
        let _ = writeln!(
            out,
            "\nNot known without a signature: who certified, when and on which machine, and whether the measurements were made at all or invented whole. \
             docs/ci.md lists every field that a signature alone holds."
        );
    }
    out
}
