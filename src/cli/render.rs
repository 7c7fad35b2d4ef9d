//! `heirloom render`: a stored report in another form.

use std::path::{Path, PathBuf};

use super::failure::{Broken, Failure, Usage};
use super::output::{Output, Shape};
use super::reports;
use heirloom::report::{Made, Stored, formats};
use heirloom::store;

const EXAMPLES: &str = "\
Examples:
  heirloom render heirloom-report --as html --output report.html
  heirloom render heirloom-report --as sarif > heirloom.sarif
  heirloom render heirloom-report --as annotations

The bytes are those that `certify --reports` writes. Nothing is judged: the exit code says
whether it could be rendered, and is no verdict.";

/// Write a stored report in another form: a page, JUnit XML, SARIF, an attestation and others.
///
/// Reads report.json, and for html the measurements and sample images beside it. Runs nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A report.json, or the folder that holds it.
    #[arg(value_name = "REPORT", value_parser = super::existing)]
    pub report: PathBuf,
    /// The form.
    #[arg(long = "as", value_name = "NAME", value_parser = reports::names())]
    pub form: String,
    /// Write into this file, which is replaced [default: print].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let file = formats().find(|(name, ..)| *name == args.form).map_or("", |(_, file, _)| file);
    let is_json = Path::new(file).extension().is_some_and(|extension| extension == "json" || extension == "sarif");
    if out.shape == Shape::Json && args.output.is_none() && !is_json {
        return Err(Usage(format!("`--format json` promises JSON on stdout, and `{}` is none: leave one of them out", args.form)).into());
    }
    let (stored, lacks) = Stored::read(&args.report, &args.form)?;
    for lack in lacks {
        out.remark(&format!("warning: {lack}"));
    }
    let made = stored.render(&args.form).ok_or_else(|| Usage(format!("there is no form `{}`", args.form)))??;
    let bytes = match made {
        Made::File(bytes) => bytes,
        Made::Nothing(why) => return Err(Usage(format!("there is no `{}` of this report: {why}", args.form)).into()),
    };
    match &args.output {
        Some(path) => store::write_atomic(path, &bytes).map_err(Broken::on(format!("cannot write {}", path.display())))?,
        None => out.result(&String::from_utf8_lossy(&bytes))?,
    }
    Ok(0)
}
