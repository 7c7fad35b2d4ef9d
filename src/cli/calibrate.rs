//! `heirloom calibrate`: how well a policy's rules tell planted from clean sources.

use std::path::{Path, PathBuf};

use super::failure::{self, Usage};
use super::output::{Output, Shape};
use super::progress::Progress;
use super::series;
use crate::calibrate::{self, CalibrateError, Job};
use crate::data::DataSpec;
use crate::policy::{self, Policy};

const EXAMPLES: &str = "\
Examples:
  heirloom calibrate policies/calibration/fixtures.yaml --output calibration
  heirloom calibrate policies/calibration/cifar10.yaml --data cifar10 --output calibration

Writes calibration.json, calibration.md, roc.svg and scores.svg when all sources are through. Until then what is finished is in
calibration.partial.json: after an interruption the same command goes on from there. The exit code says whether it ran, and is no verdict.";

/// Find out how well a policy's rules tell planted from clean sources.
///
/// Certifies sources of which it is known what they carry, trained for this or taken from a folder, and says which limits and rates the
/// policy can promise: ROC curves with intervals, how much is caught at few false positives, what passes and what cries wolf.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The policy and the sources, a YAML file.
    #[arg(value_name = "SPEC", value_parser = super::existing)]
    pub spec: PathBuf,
    /// Take the pictures of the source and the target task from here instead of where specification and policy say.
    #[arg(long, value_name = "PATH", value_parser = super::existing)]
    pub data: Option<PathBuf>,
    /// Folder for the results and the models that are trained; created if need be.
    #[arg(short, long, value_name = "DIR", value_parser = super::results)]
    pub output: PathBuf,
    /// The machine.
    #[command(flatten)]
    pub series: series::Args,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<i32> {
    let named = |error: CalibrateError| known(error, &args.spec);
    calibrate::begin(&args.output).map_err(named)?;
    let text = policy::read_text(&args.spec).map_err(|error| Usage(format!("cannot read {}: {error}", args.spec.display())))?;
    let mut spec = calibrate::parse(&text).map_err(named)?;
    if let Some(path) = &args.data {
        spec = spec.with_data(path);
    }
    let base = args.spec.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let policy = policy(&base.join(&spec.policy), spec.trains_reference(), args, out)?;
    // Before the canary: what is wrong with the specification is known now.
    spec.sources(base, &policy).map_err(named)?;
    spec.reference(&policy).map_err(named)?;
    let mut progress = Progress::new(out);
    let means = args.series.open(out, &mut progress)?;
    let job = Job { spec: &spec, base, policy: &policy, output: &args.output };
    let (calibration, files) = calibrate::run(&job, &means.series(), &mut |event| progress.handle(&event)).map_err(named)?;
    drop(progress);
    match out.shape {
        Shape::Json => out.result(&calibration.json()?)?,
        Shape::Text => out.result(&calibrate::brief(&calibration))?,
    }
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    out.remark(&format!("  results: {}", names.join(", ")));
    Ok(0)
}

/// The policy; `--data` leads its target elsewhere too, unless that is inside the program.
fn policy(path: &Path, reference_follows: bool, args: &Args, out: &Output) -> anyhow::Result<Policy> {
    let options = policy::Options { reference_follows, ..policy::Options::default() };
    let (written, _) = policy::load_with(path, &policy::Options { files: false, ..options.clone() })?;
    let inside = matches!(written.file.target.data, DataSpec::Embedded(_));
    let data = args.data.clone().filter(|_| !inside);
    let (policy, remarks) = policy::load_with(path, &policy::Options { data, ..options })?;
    for remark in remarks {
        out.remark(&format!("warning: {}", remark.message));
    }
    Ok(policy)
}

/// What the user asked for and cannot be had is wrong usage; the rest keeps its own kind.
fn known(error: CalibrateError, spec: &Path) -> anyhow::Error {
    match error {
        CalibrateError::Series(error) => failure::of_series(error),
        error @ (CalibrateError::Read { .. } | CalibrateError::Write { .. } | CalibrateError::Plot(_) | CalibrateError::Json(_)) => {
            error.into()
        }
        error @ (CalibrateError::Model { .. }
        | CalibrateError::NoFolder { .. }
        | CalibrateError::Earlier { .. }
        | CalibrateError::Unsaid { .. }) => Usage(error.to_string()).into(),
        error => Usage(format!("{}: {error}", spec.display())).into(),
    }
}
