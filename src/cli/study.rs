//! `heirloom study`: a grid of certifications.

use std::path::PathBuf;

use super::failure::Failure;
use super::output::{Output, Shape};
use super::progress::Progress;
use super::{machine, series};
use heirloom::study::{self, Grid};

const EXAMPLES: &str = "\
Examples:
  heirloom study policies/studies/fixtures.yaml --output study
  heirloom study policies/studies/2-weight-decay.yaml --output weight-decay --data path/to/cifar10

Writes study.json (everything), study.html (a page to read, print or send), study.md (tables, and with what every rule passes) and plots as
SVG when all is through. Until then what is finished is in study.partial.json: after an interruption the same command goes on from there.";

/// Run a study: sources x recipes x triggers, whatever a policy holds.
///
/// The file names checkpoints (files, or sources to plant), a policy, and what of it is varied. Every combination is certified; tables
/// and plots show how effects change, and with which recipes every rule passes. A study gates nothing: it exits 0 when it is through.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to study, a YAML file.
    #[arg(value_name = "FILE", value_parser = super::existing)]
    pub study: PathBuf,
    /// Take the images, of the target task and of sources that are planted, from here instead of where the study says.
    #[arg(long, value_name = "PATH", value_parser = super::data)]
    pub data: Option<PathBuf>,
    /// Folder for results and planted sources; created if need be.
    #[arg(short, long, value_name = "DIR", value_parser = super::results)]
    pub output: PathBuf,
    /// The machine.
    #[command(flatten)]
    pub series: series::Args,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let _held = super::unfinished::hold(&args.output)?;
    study::begin(&args.output)?;
    let grid = Grid::read(&args.study, args.data.as_deref(), Some(machine::variable))?;
    for message in grid.remarks.iter().flat_map(|remarks| &remarks.diagnostics).map(|remark| &remark.message) {
        out.remark(&format!("warning: {message}"));
    }
    let mut progress = Progress::new(out);
    let session = args.series.open(out, &mut progress)?;
    let results = grid.run(&session, &args.output, args.data.as_deref(), &mut |event| progress.handle(&event))?;
    drop(progress);
    match out.shape {
        Shape::Json => out.json(&results)?,
        Shape::Text => out.result(&study::markdown(&results))?,
    }
    let files = [study::RESULTS, study::PAGE, study::TABLES].map(|name| args.output.join(name).display().to_string());
    out.remark(&format!("  results: {}", files.join(", ")));
    Ok(0)
}
