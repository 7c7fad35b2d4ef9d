//! `heirloom compare`: is a release worse than the last?

use std::path::PathBuf;

use super::failure::{Broken, Failure, Usage};
use super::machine;
use super::output::{Output, Shape};
use heirloom::compare;

const EXAMPLES: &str = "\
Examples:
  heirloom compare last-release/heirloom-report heirloom-report
  heirloom compare old new --output comparison.md
  heirloom compare old new --output comparison.html
  heirloom compare old new --margin 0.02 --format json

Exit codes:
  0  no rule is worse
  1  a rule is broken or worse
  2  a report or its measurements cannot be read
  4  wrong usage
  5  it is not known of all rules: one is missing, not settled, or cannot be compared";

/// Compare two reports rule by rule: what a new checkpoint hands down more, or less, than the last.
///
/// Both are measured on the same images and at the same seeds, so that the difference is paired image by image. Rules that cannot be compared say why.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The earlier report: its report.json, or the folder that holds it.
    #[arg(value_name = "OLD", value_parser = super::existing)]
    pub old: PathBuf,
    /// The later report.
    #[arg(value_name = "NEW", value_parser = super::existing)]
    pub new: PathBuf,
    /// By how much a reaction may grow before a rule counts as worse, as a rate.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    pub margin: f64,
    /// Write into this file in place of stdout: as a page where its name ends in `.html`, as JSON with `--format json`, else as Markdown.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(|| "a rate from 0 to 1 is needed, such as 0.02".to_owned())
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let page = args.output.as_ref().is_some_and(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html")));
    if page && out.shape == Shape::Json {
        return Err(Usage("`--format json` and an output that ends in `.html` ask for two things: leave one of them out".to_owned()).into());
    }
    let comparison = compare::compare(&args.old, &args.new, args.margin, Some(machine::variable))?;
    let text = match out.shape {
        Shape::Json => serde_json::to_string_pretty(&comparison).map_err(Broken::on("the result is no JSON"))? + "\n",
        Shape::Text if page => compare::page_of(&comparison),
        Shape::Text => compare::render(&comparison),
    };
    match &args.output {
        Some(path) => {
            heirloom::store::write_atomic(path, text.as_bytes()).map_err(Broken::on(format!("cannot write {}", path.display())))?;
            out.remark(&format!("written: {}", path.display()));
        }
        None => out.result(&text)?,
    }
    Ok(i32::from(comparison.exit_code))
}
