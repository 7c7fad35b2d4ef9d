//! `heirloom rejudge`: a stored report under another policy's limits.

use std::path::{Path, PathBuf};

use super::failure::{Failure, Usage};
use super::output::Output;
use super::{certify, machine, reports, unfinished};
use heirloom::report::Report;
use heirloom::session::now;
use heirloom::{engine, policy};

const EXAMPLES: &str = "\
Examples:
  heirloom rejudge heirloom-report --policy policies/stricter.yaml
  heirloom rejudge old/report.json --policy policy.yaml --output rejudged

Rules are matched by name and mode; one that was never measured is an error. The exit code is the new verdict.";

/// Judge a stored report again under another policy's limits, without running anything.
///
/// Reads report.json and the measurements.json.gz beside it, which holds the prediction for every image.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A report.json, or the folder that holds it.
    #[arg(value_name = "REPORT", value_parser = super::existing)]
    pub report: PathBuf,
    /// The policy whose limits, confidence, severities and waivers apply.
    #[arg(short, long, value_name = "FILE", value_parser = super::existing)]
    pub policy: PathBuf,
    /// Write the new reports into this folder, another than that of the stored report [default: print only].
    #[arg(short, long, value_name = "DIR", value_parser = super::results)]
    pub output: Option<PathBuf>,
    /// The forms of the report.
    #[command(flatten)]
    pub reports: reports::Args,
    /// Exit 0 whatever the verdict; it is still reported.
    #[arg(long)]
    pub report_only: bool,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let Some(folder) = &args.output else { return judge(args, out) };
    if is_folder_of(folder, &args.report) {
        let what = "a report is judged again into another folder than its own, which keeps what was measured";
        return Err(Usage(format!("{what}: name another than {} with --output", folder.display())).into());
    }
    unfinished::within(folder, &args.reports.chosen(), &args.report.display().to_string(), out, |out| judge(args, out))
}

/// Whether a folder is that of a report, which is named by its file or its folder.
pub(super) fn is_folder_of(folder: &Path, report: &Path) -> bool {
    let own = if report.is_dir() { Some(report) } else { report.parent() };
    let own = own.map(|own| if own.as_os_str().is_empty() { Path::new(".") } else { own });
    own.and_then(|own| own.canonicalize().ok()).is_some_and(|own| folder.canonicalize().is_ok_and(|folder| folder == own))
}

fn judge(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let report = Report::read(&args.report)?;
    let measurements = report.read_measurements(&args.report)?;
    // Nothing runs, so the data need not be there.
    let options = policy::Options { files: false, salt: Some(machine::variable), ..policy::Options::default() };
    let (policy, remarks) = policy::load_with(&args.policy, &options)?;
    for remark in remarks {
        out.remark(&format!("warning: {}", remark.message));
    }
    let (_, today) = now();
    let judged = engine::rejudge(&report, &measurements, &policy, &today, args.report_only)?;
    let written = match &args.output {
        Some(folder) => args.reports.chosen().write_all(&judged, &measurements, &[], folder)?,
        None => Vec::new(),
    };
    let code = certify::conclude(&judged, &written, out)?;
    if args.output.is_some() {
        for missing in args.reports.missing(&written) {
            out.remark(&format!("  {missing}"));
        }
    }
    Ok(code)
}
