//! `heirloom certify`: the whole way from a checkpoint to a verdict.

use std::path::PathBuf;
use std::time::Duration;

use super::failure::Failure;
use super::output::{Output, Shape};
use super::progress::Progress;
use super::subject::{self, Subject};
use super::{device, duration, machine, provenance, reports, saved, size, unfinished};
use heirloom::diag;
use heirloom::engine::Event;
use heirloom::model::Model;
use heirloom::plan::Controls;
use heirloom::policy::Policy;
use heirloom::report::{ModelFacts, Report, WriteError, json, table};
use heirloom::session::CertifyOptions;

const EXAMPLES: &str = "\
Examples:
  heirloom certify model.onnx
  heirloom certify model.safetensors --policy policies/release.yaml --max-time 15m
  heirloom certify model.onnx --report-only              look before you gate
  heirloom certify model.onnx --format json | jq .summary
  heirloom certify model.onnx --save-checkpoints tuned   keep the fine-tuned models
  heirloom certify hf://microsoft/resnet-18 --policy policy.yaml

Writes report.json, report.html, junit.xml, summary.md, badge.json and measurements.json.gz into
the output folder, whatever the verdict. `--reports` names others. An earlier report there is
removed first; where there is no verdict, the reports say so.
The exit code is the verdict: see `heirloom --help`.";

/// Certify a checkpoint: find out what it hands down, and give a verdict.
///
/// Fine-tunes the checkpoint on the policy's target task, measures each rule beside its controls, prints a table of findings and
/// writes the reports.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags, each by itself")]
pub struct Args {
    /// The model and the policy.
    #[command(flatten)]
    pub subject: subject::Args,
    /// The device.
    #[command(flatten)]
    pub compute: device::Args,
    /// Folder for the reports; created if need be.
    #[arg(short, long, value_name = "DIR", default_value = "heirloom-report", value_parser = super::results)]
    pub output: PathBuf,
    /// The forms of the report.
    #[command(flatten)]
    pub reports: reports::Args,
    /// Findings that do not fit into this time, such as 90s, 15m or 2h30m, are left out and count as inconclusive.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Memory that may be used, such as 512MiB or 4GiB; images and features that do not fit are kept on disk meanwhile [default:
    /// three quarters of what the machine or container has].
    #[arg(long, value_name = "SIZE", value_parser = size::memory)]
    pub memory: Option<u64>,
    /// Exit 0 whatever the verdict; it is still reported.
    #[arg(long)]
    pub report_only: bool,
    /// Folder where finished fine-tunes are kept, so that the next run need not repeat them [default: `HEIRLOOM_CACHE`, which may
    /// be `off`, else the user's cache folder].
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    pub cache: Option<PathBuf>,
    /// Neither use nor keep finished fine-tunes.
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
    /// Put sample images with their triggers and shams into the output folder. Reports hold none otherwise.
    #[arg(long)]
    pub pictures: bool,
    /// Measure every control that a rule names, also where a finding passes without it: for whoever wants their numbers in the report. No verdict
    /// changes.
    #[arg(long)]
    pub all_controls: bool,
    /// The fine-tunes that are saved.
    #[command(flatten)]
    pub saved: saved::Args,
    /// Who answers for this run, for the report [default: the pipeline's user, with the address of its run].
    #[arg(long, value_name = "NAME", value_parser = named)]
    pub responsible: Option<String>,
}

/// A name on one line.
fn named(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        0 => Err("it is empty".to_owned()),
        1..=200 if !name.contains(char::is_control) => Ok(name.to_owned()),
        1..=200 => Err("a name on one line is needed".to_owned()),
        _ => Err("a name of at most 200 characters is needed".to_owned()),
    }
}

/// Runs the command. Whatever becomes of it, the output folder holds reports of this run and of no other.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let subject = args.subject.model.display().to_string();
    unfinished::within(&args.output, &args.reports.chosen(), &subject, out, |out| certify(args, out))
}

fn certify(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let mut progress = Progress::new(out);
    let (mut session, subject) = Subject::open(&args.subject, &args.compute, args.cache.as_deref(), out)?;
    session.cache = if args.no_cache { None } else { machine::cache(args.cache.as_deref(), out) };
    session.memory = machine::budget(args.memory);
    let Subject { model, policy, references, here } = &subject;
    let references: Vec<&Model> = references.iter().collect();
    if let Some(address) = &here.address {
        progress.handle(&Event::Fact { topic: "source", text: address.clone() });
    }
    for (topic, text) in facts(model, policy) {
        progress.handle(&Event::Fact { topic, text });
    }
    if let Some(text) = args.compute.fact(&session.compute) {
        progress.handle(&Event::Fact { topic: "device", text });
    }
    for (topic, text) in args.saved.facts(session.cache.is_some()) {
        progress.handle(&Event::Fact { topic, text });
    }
    let options = CertifyOptions {
        report_only: args.report_only,
        max_seconds: args.max_time.map(|most| most.as_secs_f64()),
        samples: args.pictures,
        controls: if args.all_controls { Controls::All } else { Controls::WhereNeeded },
        save: args.saved.save(),
    };
    let mut certified = session.certify(policy, model, &references, &options, &mut |event| progress.handle(&event))?;
    drop(progress);
    if let Some(address) = &here.address {
        certified.report.model.identity.path = address.into();
    }
    certified.report.run.provenance = Some(provenance::of(policy, args.responsible.as_deref()));
    let written = args.reports.chosen().write_all(&certified.report, &certified.measurements, &certified.sheets, &args.output);
    // A full disk does not take away the verdict that was just worked for.
    let code = conclude(&certified.report, written.as_deref().unwrap_or_default(), out)?;
    for missing in args.reports.missing(&written?) {
        out.remark(&format!("  {missing}"));
    }
    for said in args.saved.remarks(&certified.saved) {
        out.remark(&said);
    }
    certified.saved.failure.map_or(Ok(code), |failure| Err(failure.into()))
}

/// What the user should know of model and policy before anything runs.
fn facts(model: &Model, policy: &Policy) -> [(&'static str, String); 7] {
    let id = &model.identity;
    let input = &model.input;
    [
        ("model", format!("{} ({}, {})", id.name(), model.description, diag::count(ModelFacts::from(model).parameters, "parameter"))),
        // In full: what a waiver or a deployment names the model by.
        ("digest", id.digest.to_string()),
        ("policy", format!("{} ({}, {})", policy.file.name, policy.source, policy.digest)),
        (
            "features",
            format!(
                "{}, cut at {}: {} (other: --features NAME)",
                diag::count(model.feature_layer.width, "feature"),
                model.feature_layer.name,
                model.feature_layer.how
            ),
        ),
        ("images", format!("{}x{} pixels", input.height, input.width)),
        ("resize", input.resized()),
        ("normalise", input.normalised()),
    ]
}

/// Prints a report, and gives the exit code.
pub fn conclude(report: &Report, written: &[PathBuf], out: &mut Output) -> Result<i32, Failure> {
    match out.shape {
        Shape::Json => out.result(&json::render(report).map_err(WriteError::from)?)?,
        Shape::Text => out.result(&table::render(report, out.look))?,
    }
    let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    if !names.is_empty() {
        out.remark(&format!("  reports: {}", names.join(", ")));
    }
    Ok(report.process_code())
}
