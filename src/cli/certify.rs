//! `heirloom certify`: the whole way from a checkpoint to a verdict.

use std::path::PathBuf;
use std::time::Duration;

use std::path::Path;

use super::failure::Usage;
use super::output::{Output, Shape};
use super::progress::Progress;
use super::{duration, interrupt};
use crate::data;
use crate::engine::{self, Event, Settings};
use crate::model::{LoadOptions, Model};
use crate::policy::{self, Policy};
use crate::registry;
use crate::report::{self, Report, json, table};

const EXAMPLES: &str = "\
Examples:
  heirloom certify model.onnx
  heirloom certify model.safetensors --policy policies/release.yaml --max-time 15m
  heirloom certify model.onnx --report-only              look before you gate
  heirloom certify model.onnx --format json | jq .summary

Writes report.json, junit.xml, summary.md and measurements.json.gz into the output folder, whatever the verdict.
The exit code is the verdict: see `heirloom --help`.";

/// Certify a checkpoint: find out what it hands down, and give a verdict.
///
/// Fine-tunes the checkpoint on the policy's target task, measures each rule beside its controls, prints a table of findings and
/// writes the reports.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An .onnx or .safetensors file, or the folder that holds one.
    #[arg(value_name = "MODEL", value_parser = super::existing)]
    pub model: PathBuf,
    /// What is run and what is accepted [default: an embedded policy with an embedded target task].
    #[arg(short, long, value_name = "FILE", value_parser = super::existing)]
    pub policy: Option<PathBuf>,
    /// Take the target task's pictures from here instead of where the policy says.
    #[arg(long, value_name = "PATH", value_parser = super::existing)]
    pub data: Option<PathBuf>,
    /// Folder for the reports; created if need be.
    #[arg(short, long, value_name = "DIR", default_value = "heirloom-report")]
    pub output: PathBuf,
    /// Tensor at which features leave the network [default: found; see `heirloom inspect`].
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Architecture of a file that holds weights only [default: from config.json or the tensor names].
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Leave out what does not fit into this time, such as 90s, 15m or 2h30m; it is then inconclusive.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Exit 0 whatever the verdict; it is still reported.
    #[arg(long)]
    pub report_only: bool,
}

/// Largest input, in pixels a side, that the embedded 32-pixel pictures say something about.
const EMBEDDED_SIDE: usize = 64;

/// A model with the policy it is held against.
pub(super) struct Subject {
    pub model: Model,
    pub policy: Policy,
    pub reference: Option<Model>,
}

impl Subject {
    /// Reads both; a model that the embedded task does not suit is wrong usage, answered with a policy to start from.
    pub(super) fn open(
        model: &Path,
        policy: Option<&Path>,
        data: Option<&Path>,
        features: Option<&str>,
        arch: Option<&str>,
        out: &Output,
    ) -> anyhow::Result<Self> {
        let (checked, remarks) = match policy {
            Some(path) => {
                let options = policy::Options { data: data.map(Path::to_path_buf), ..policy::Options::default() };
                policy::load_with(path, &options)?
            }
            None => {
                let embedded = policy::embedded()?;
                (if let Some(path) = data { embedded.with_data(path.to_path_buf()) } else { embedded }, Vec::new())
            }
        };
        for remark in remarks {
            out.remark(&format!("warning: {}", remark.message));
        }
        let options = LoadOptions {
            features: features.map(str::to_owned),
            arch: arch.map(str::to_owned),
            input: checked.file.input.clone().unwrap_or_default(),
        };
        let model = Model::load(registry::identify(model)?, &options)?;
        let size = [model.input.height, model.input.width];
        if policy.is_none() && size.iter().any(|side| *side > EMBEDDED_SIDE) {
            let full = model.inspection().modes.iter().any(|m| m.mode == "full_network" && m.possible);
            let starter = policy::starter(&model.identity.name(), size, full);
            return Err(Usage(format!(
                "{} takes pictures of {}x{} pixels; the embedded target task has 32x32 and says nothing about it. Save this as policy.yaml, \
                 fill in where your pictures are, and run again with --policy policy.yaml:\n\n{starter}",
                model.identity.name(),
                size[0],
                size[1]
            ))
            .into());
        }
        let reference = checked.file.reference.as_ref().map(|reference| {
            let found = registry::identify(&checked.path(&reference.model))?;
            if found.digest.0 != reference.digest {
                return Err(Usage(format!(
                    "the reference {} has digest {}, the policy pins {}",
                    found.name(),
                    found.digest.0,
                    reference.digest
                ))
                .into());
            }
            let model = Model::load(found, &LoadOptions::default())?;
            if [model.input.height, model.input.width] != size {
                return Err(Usage("the reference takes pictures of another size than the model".into()).into());
            }
            anyhow::Ok(model)
        });
        Ok(Self { model, policy: checked, reference: reference.transpose()? })
    }
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<i32> {
    let mut progress = Progress::new(out);
    let subject =
        Subject::open(&args.model, args.policy.as_deref(), args.data.as_deref(), args.features.as_deref(), args.arch.as_deref(), out)?;
    let Subject { model, policy, reference } = &subject;
    for (topic, text) in facts(model, policy) {
        progress.handle(&Event::Fact { topic, text });
    }
    let (started, today) = now();
    let clock = std::time::Instant::now();
    progress.handle(&Event::StageStart { stage: "canary".into(), total: None, unit: "pictures" });
    let canary = engine::check_canary(&interrupt::requested)?;
    let summary = match &canary {
        crate::gate::CanaryOutcome::Sound => "planted source caught, clean source passed".to_owned(),
        crate::gate::CanaryOutcome::Failed(why) | crate::gate::CanaryOutcome::NotRun(why) => why.clone(),
    };
    progress.handle(&Event::StageEnd { stage: "canary".into(), summary, seconds: clock.elapsed().as_secs_f64() });
    let data = data::open(&policy.file.target, &policy.base, policy.file.seed)?;
    let settings = Settings {
        policy,
        model,
        reference: reference.as_ref(),
        today: &today,
        started,
        report_only: args.report_only,
        max_seconds: args.max_time.map(|most| most.as_secs_f64()),
        canary,
        stop: &interrupt::requested,
    };
    let certified = match engine::run(&settings, &data, engine::measure_speed(model)?, &mut |event| progress.handle(&event)) {
        Err(engine::EngineError::Plan(refused)) => return Err(Usage(refused.to_string()).into()),
        other => other?,
    };
    drop(progress);
    let written = report::write_all(&certified.report, &certified.measurements, &args.output)?;
    conclude(&certified.report, &written, out)
}

/// What the user should know of model and policy before anything runs.
fn facts(model: &Model, policy: &Policy) -> [(&'static str, String); 4] {
    let id = &model.identity;
    let input = &model.input;
    [
        (
            "model",
            format!(
                "{} ({}, {} parameters, digest {})",
                id.name(),
                model.description,
                model.params.trainable(&model.graph),
                id.digest.short()
            ),
        ),
        ("policy", format!("{} ({}, digest {})", policy.file.name, policy.source, policy.digest.short())),
        ("features", format!("{} features, cut at {}: {} (other: --features NAME)", model.cut.width, model.cut.name, model.cut.how)),
        ("pictures", format!("{}x{}, {}", input.height, input.width, input.preprocessing.from)),
    ]
}

/// Seconds since 1970 and the date, UTC.
#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
pub(super) fn now() -> (i64, String) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let date = report::utc(since as i64).chars().take(10).collect();
    (since as i64, date)
}

/// Prints a report, and gives the exit code.
pub fn conclude(report: &Report, written: &[PathBuf], out: &mut Output) -> anyhow::Result<i32> {
    match out.shape {
        Shape::Json => out.result(&json::render(report)?)?,
        Shape::Text => out.result(&table::render(report, out.look))?,
    }
    let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    if !names.is_empty() {
        out.remark(&format!("  reports: {}", names.join(", ")));
    }
    Ok(report.process_code())
}
