//! `heirloom calibrate`: how well a policy's rules tell planted from clean sources.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::output::{Output, Shape};
use super::progress::Progress;
use super::{machine, series};
use heirloom::calibrate::{self, CalibrateError, Request, Spec};
use heirloom::diag::{Class, Explain};
use heirloom::exec::Compute;
use heirloom::policy::{self, Policy, ReadVariable};
use heirloom::series::{Ahead, Opening, campaign};
use heirloom::session::Session;
use heirloom::spec::{Document, Remarks};
use heirloom::store;

const EXAMPLES: &str = "\
Examples:
  heirloom calibrate policies/calibration/fixtures.yaml --output calibration
  heirloom calibrate policies/calibration/cifar10.yaml --data cifar10 --output calibration

Writes calibration.json, calibration.html (a page to read, print or send), calibration.md, roc.svg and scores.svg when all sources are through.
Until then what is finished is in calibration.partial.json: after an interruption the same command goes on from there. The exit code says
whether it ran, and is no verdict.";

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
    /// Take the images of the source and the target task from here instead of where specification and policy say.
    #[arg(long, value_name = "PATH", value_parser = super::data)]
    pub data: Option<PathBuf>,
    /// Folder for the results and the models that are trained; created if need be.
    #[arg(short, long, value_name = "DIR", value_parser = super::results)]
    pub output: PathBuf,
    /// The machine.
    #[command(flatten)]
    pub series: series::Args,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let named = |error: CalibrateError| known(error, &args.spec);
    let _held = super::unfinished::hold(&args.output)?;
    calibrate::begin(&args.output)?;
    // Before the self-test: what is wrong with the specification is known now.
    let Read { spec, document, policy, remarks, .. } = read(&args.spec, args.data.as_deref(), Some(machine::variable))?;
    for remark in remarks.diagnostics {
        out.remark(&format!("warning: {}", remark.message));
    }
    let base = store::folder_of(&args.spec);
    let mut progress = Progress::new(out);
    let session = args.series.open(out, &mut progress)?;
    let job = Request { spec: &spec, document: &document, base, policy: &policy, output: &args.output };
    let (calibration, files) = calibrate::run(&job, &session, &mut |event| progress.handle(&event)).map_err(named)?;
    drop(progress);
    match out.shape {
        Shape::Json => out.result(&campaign::text(&calibration)?)?,
        Shape::Text => out.result(&calibrate::brief(&calibration))?,
    }
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    out.remark(&format!("  results: {}", names.join(", ")));
    Ok(0)
}

/// A specification with its policy.
pub(super) struct Read {
    pub spec: Spec,
    pub document: Document,
    pub policy: Policy,
    pub remarks: Remarks,
    /// How many sources there are.
    pub sources: usize,
}

/// A specification with its policy and remarks on that; whether all sources can be had and used, as far as nothing is trained. `data` leads
/// the images of both elsewhere, unless the policy's are inside the program; `salt` gives the policy's salt, which a run needs.
pub(super) fn read(file: &Path, data: Option<&Path>, salt: Option<ReadVariable>) -> Result<Read, Failure> {
    let named = |error: CalibrateError| known(error, file);
    let (mut read, document) = calibrate::load(file)?;
    if let Some(path) = data {
        read = read.with_data(path);
    }
    let path = store::folder_of(file).join(&read.policy);
    let options = policy::Options { reference_follows: read.trains_reference(), salt, ..policy::Options::default() };
    let (written, _) = policy::load_with(&path, &policy::Options { files: false, ..options.clone() })?;
    let inside = written.file.target.data.is_embedded();
    let data = data.filter(|_| !inside).map(Path::to_owned);
    let options = policy::Options { data, ..options };
    let (policy, _) = policy::load_with(&path, &options)?;
    let base = store::folder_of(file);
    calibrate::fits(&read, &policy, &document)?;
    let sources = read.sources(base, &policy).map_err(named)?;
    read.reference(&policy).map_err(named)?;
    let (policy, remarks) = Ahead::load(&path, &options)?;
    let session = Session::new(Compute::cpu());
    let opening = Opening { session: &session, only_looks: true };
    calibrate::usable(&read, base, &sources, &policy, &document, &opening).map_err(named)?;
    Ok(Read { spec: read, document, policy, remarks, sources: sources.len() })
}

/// What the specification asks for and cannot be had is said of its file, where the message names no other.
fn known(error: CalibrateError, spec: &Path) -> Failure {
    match error {
        CalibrateError::Model { .. } | CalibrateError::NoFolder { .. } | CalibrateError::Unsaid { .. } => error.into(),
        error if error.class() == Class::Usage && error.inner().is_none() => Failure::about(spec, error),
        error => error.into(),
    }
}
