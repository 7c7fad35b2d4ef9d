//! `heirloom scan`: a registry of models, every night.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::failure::{Failure, Usage};
use super::output::{Output, Shape};
use super::progress::Progress;
use super::{duration, hub, machine, series, size};
use heirloom::engine::Event;
use heirloom::scan::{self, FailOn, Options, Scan, ScanSpec, Shard};
use heirloom::source::Access;

const EXAMPLES: &str = "\
Examples:
  heirloom scan scan.yaml                                   tonight's scan; the next one does only what has changed
  heirloom scan scan.yaml --fail-on new                     a failure that stood last night does not fail this one
  heirloom scan scan.yaml --plan-only                       what it would do: writes plan.json
  heirloom scan scan.yaml --shard 2/8                       one of eight machines, working from that plan
  heirloom scan merge heirloom-scan                         the verdict of all shards
  heirloom scan matrix heirloom-scan/plan.json --jobs 16    the shards as a matrix of jobs

Writes index.html, summary.md, junit.xml, scan.sarif, badge.json and scan.json into the output folder, with a report
for each model that was measured. Records of it make the next scan short: keep the folder.

Exit codes: as those of certify (`heirloom --help`), over all models. A shard exits 0 when it is through; the merge gives
the verdict.";

/// Scan a registry of models: each is held against the policy that its rule names.
///
/// Lists the sources of a scan file, judges what is new or has changed, and compares with the last scan. A model that cannot be judged is one
/// line, and the scan goes on.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// What is scanned, a YAML file.
    #[arg(value_name = "FILE", value_parser = super::existing, required = true)]
    pub file: Option<PathBuf>,
    /// Folder for records and reports; created if need be [default: the file's `output`, else heirloom-scan].
    #[arg(short, long, value_name = "DIR", value_parser = super::results)]
    pub output: Option<PathBuf>,
    /// Write the plan and measure nothing.
    #[arg(long, conflicts_with = "shard")]
    pub plan_only: bool,
    /// Work on one part of the plan in the output folder: 2/8, `auto` in an array of Slurm, `auto/8` in an indexed job of Kubernetes or an array of
    /// AWS Batch.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Which models change the exit code: `any`, or `new` for those that were not so in the last scan [default: the file's `fail_on`].
    #[arg(long, value_name = "WHICH", value_parser = fail_on)]
    pub fail_on: Option<FailOn>,
    /// Begin no model after this time, such as 8h, in place of the file's budget.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Most bytes of new or changed models that are read, such as 200GiB, in place of the file's budget.
    #[arg(long, value_name = "SIZE", value_parser = size::memory)]
    pub max_bytes: Option<u64>,
    /// Device, memory and cache.
    #[command(flatten)]
    pub series: series::Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Unite what the shards of one plan left, and give the verdict.
    Merge(Merge),
    /// Print the shards of a plan as JSON for a matrix of jobs: `{"include": [{"shard": "1/4"}, ...]}`.
    Matrix(Matrix),
}

#[derive(clap::Args, Debug)]
struct Merge {
    /// The folders that shards wrote into.
    #[arg(value_name = "DIR", required = true, value_parser = super::existing)]
    results: Vec<PathBuf>,
    /// Folder for the result [default: the first of them].
    #[arg(short, long, value_name = "DIR", value_parser = super::results)]
    output: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct Matrix {
    /// The plan, or the folder that it is in.
    #[arg(value_name = "PLAN", value_parser = super::existing)]
    plan: PathBuf,
    /// Most jobs.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
}

fn shard(text: &str) -> Result<Shard, String> {
    Shard::parse(text, |name| std::env::var(name).ok())
}

fn fail_on(text: &str) -> Result<FailOn, String> {
    match text {
        "any" => Ok(FailOn::Any),
        "new" => Ok(FailOn::New),
        _ => Err("write `any` or `new`".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    match &args.command {
        Some(Command::Merge(args)) => merge(args, out),
        Some(Command::Matrix(Matrix { plan, jobs })) => {
            let shards = scan::jobs(plan, usize::from(*jobs))?;
            let include: Vec<_> = shards.iter().map(|shard| json!({ "shard": shard.to_string() })).collect();
            // A step of a workflow takes one line.
            out.result(&(json!({ "include": include }).to_string() + "\n"))?;
            Ok(0)
        }
        None => scan(args, out),
    }
}

fn scan(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let file = args.file.as_deref().unwrap_or(Path::new(""));
    // Shards write beside each other, each what is its own; a plan takes nothing of the last scan away.
    let whole = args.shard.is_none();
    let begin = |output: &Path| if whole && !args.plan_only { scan::begin(output) } else { Ok(()) };
    let hold = |output: &Path| if whole { super::unfinished::hold(output).map(Some) } else { Ok(None) };
    let mut held = None;
    // Whatever is wrong with the file: no earlier result is taken for this scan's.
    if let Some(output) = &args.output {
        held = hold(output)?;
        begin(output)?;
    }
    let spec = ScanSpec::load(file, Some(machine::variable))?;
    for message in spec.remarks.iter().flat_map(|remarks| &remarks.diagnostics).map(|remark| &remark.message) {
        out.remark(&format!("warning: {message}"));
    }
    let output = args.output.clone().or_else(|| spec.output()).unwrap_or_else(|| PathBuf::from(scan::OUTPUT));
    // The file may name a folder that nothing can be written into: that is known before hours of work.
    super::results(&output.display().to_string()).map_err(|why| Usage(format!("the output folder {}: {why}", output.display())))?;
    if args.output.is_none() {
        held = hold(&output)?;
        begin(&output)?;
    }
    let options = Options {
        output: output.clone(),
        fail_on: args.fail_on,
        max_seconds: args.max_time.map(|most| most.as_secs_f64()),
        max_bytes: args.max_bytes,
        access: if spec.asks_servers() { hub::access()? } else { Access::default() },
    };
    let mut progress = Told::new(out);
    let session = args.series.session(out)?;
    if args.plan_only {
        let plan = scan::plan(&spec, &session, &options, &mut |event| progress.handle(&event))?;
        drop(progress);
        let path = scan::write_plan(&plan, &output)?;
        return planned(&plan, &path, out);
    }
    if let Some(shard) = args.shard {
        let count = scan::shard(&spec, &session, &options, shard, &mut |event| progress.handle(&event))?;
        drop(progress);
        match out.shape {
            Shape::Json => out.json(&json!({ "shard": shard.to_string(), "models": count }))?,
            Shape::Text => out.result(&format!("shard {shard} is through: {}\n", heirloom::diag::count(count, "model")))?,
        }
        return Ok(0);
    }
    let scan = scan::run(&spec, &session, &options, &mut |event| progress.handle(&event))?;
    drop((progress, held));
    conclude(&scan, &output, out)
}

fn merge(args: &Merge, out: &mut Output) -> Result<i32, Failure> {
    let output = args.output.clone().or_else(|| args.results.first().cloned()).unwrap_or_default();
    let _held = super::unfinished::hold(&output)?;
    scan::mergeable(&args.results)?;
    scan::begin(&output)?;
    let mut progress = Told::new(out);
    let scan = scan::merge(&args.results, &output, &mut |event| progress.handle(&event))?;
    drop(progress);
    conclude(&scan, &output, out)
}

fn planned(plan: &scan::Plan, path: &Path, out: &mut Output) -> Result<i32, Failure> {
    match out.shape {
        Shape::Json => out.json(plan)?,
        Shape::Text => out.result(&scan::text::plan(plan))?,
    }
    out.remark(&format!("  plan: {}", path.display()));
    Ok(0)
}

fn conclude(scan: &Scan, output: &Path, out: &mut Output) -> Result<i32, Failure> {
    match out.shape {
        Shape::Json => out.json(scan)?,
        Shape::Text => out.result(&scan::text::render(scan, out.look.width))?,
    }
    let names: Vec<String> = scan::FILES.iter().map(|name| output.join(name).display().to_string()).collect();
    out.remark(&format!("  reports: {}", names.join(", ")));
    Ok(scan.exit_code)
}

/// Progress of many certifications: bars move on a terminal; elsewhere a model is one line when it begins and one when it is through.
struct Told {
    progress: Progress,
    terminal: bool,
    /// Whether the stage that goes on is shown.
    stage: bool,
    /// Whether a model is worked on: what a measurement warns of is in the model's report.
    model: bool,
}

impl Told {
    fn new(out: &Output) -> Self {
        Self { progress: Progress::new(out), terminal: out.terminal, stage: false, model: false }
    }

    fn handle(&mut self, event: &Event) {
        let whole = |stage: &String| stage == "list" || stage == "identify" || stage == "self-test";
        if let Event::StageStart { stage, .. } = event {
            self.stage = self.terminal || whole(stage);
        }
        if let Event::Fact { topic, .. } = event {
            self.model = *topic == "model";
        }
        let shown = match event {
            Event::Fact { topic, .. } => ["source", "model", ""].contains(topic),
            // How many there are is a fact of the source.
            Event::StageEnd { stage, .. } => whole(stage) && stage != "list",
            Event::StageStart { .. } | Event::Progress { .. } => self.stage,
            Event::Warning(_) => !self.model,
            Event::Judged(_) => false,
        };
        if shown {
            self.progress.handle(event);
        }
    }
}
