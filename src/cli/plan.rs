//! `heirloom plan`: what a certification would run.

use std::path::PathBuf;
use std::time::Duration;

use super::certify::Subject;
use super::duration;
use super::failure::Usage;
use super::output::{Output, Shape};
use crate::plan::{self, Plan};
use crate::{data, engine};

const EXAMPLES: &str = "\
Examples:
  heirloom plan model.onnx --policy policies/release.yaml
  heirloom plan model.onnx --policy policies/release.yaml --max-time 15m --format json";

/// Show what `certify` would run, how long it would take and how sure it could be.
///
/// Prints each job with its pictures, seeds and time on this machine, and for each rule its power: how likely it is to be settled.
/// Trains nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An .onnx or .safetensors file, or the folder that holds one.
    #[arg(value_name = "MODEL", value_parser = super::existing)]
    pub model: PathBuf,
    /// The policy [default: the embedded one].
    #[arg(short, long, value_name = "FILE", value_parser = super::existing)]
    pub policy: Option<PathBuf>,
    /// Take the target task's pictures from here instead of where the policy says.
    #[arg(long, value_name = "PATH", value_parser = super::existing)]
    pub data: Option<PathBuf>,
    /// Tensor at which features leave the network [default: found].
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Architecture of a file that holds weights only [default: from config.json or the tensor names].
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// What would not fit into this time is shown as left out.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<i32> {
    let subject =
        Subject::open(&args.model, args.policy.as_deref(), args.data.as_deref(), args.features.as_deref(), args.arch.as_deref(), out)?;
    let data = data::open(&subject.policy.file.target, &subject.policy.base, subject.policy.file.seed)?;
    let speed = engine::measure_speed(&subject.model)?;
    let plan = plan::plan(&subject.policy, engine::counts(&data), speed).map_err(|refused| Usage(refused.to_string()))?;
    match out.shape {
        Shape::Json => out.json(&plan)?,
        Shape::Text => out.result(&render(&plan, args.max_time))?,
    }
    Ok(0)
}

fn render(plan: &Plan, most: Option<Duration>) -> String {
    let c = plan.counts;
    let mut text = format!(
        "data      {} training and {} test pictures ({} clusters) of {} classes\nspeed     {:.0} pictures a second evaluated, {:.0} trained on\n\n",
        c.train, c.test, c.test_clusters, c.classes, plan.speed.forward, plan.speed.train
    );
    text += &format!("{:<28} {:>7} {:>14}   {}\n", "fine-tunes", "seeds", "time", "");
    for job in &plan.jobs {
        let time = |seeds: usize| job.once + job.each * seeds as f64;
        let late = most.is_some_and(|most| time(job.seeds.first) > most.as_secs_f64());
        let name = format!("{:?}, {}", job.arm, job.mode).to_lowercase();
        text += &format!(
            "{name:<28} {:>7} {:>14}   {}\n",
            format!("{}-{}", job.seeds.first, job.seeds.most),
            engine::duration(time(job.seeds.first)),
            if late { "does not fit --max-time" } else { "" }
        );
    }
    text += &format!("\n{:<40} {:>6} {:>7} {:>10}   controls\n", "finding", "limit", "power", "smallest");
    for f in &plan.findings {
        let controls: Vec<&str> = f.controls.iter().map(|c| c.name()).collect();
        let id = format!("{}@{}", f.rule, f.mode);
        text += &format!("{id:<40} {:>6} {:>7.3} {:>10.3}   {}\n", f.limit, f.power, f.smallest_limit, controls.join(", "));
    }
    text += &format!(
        "\npower: the chance that a source without any effect passes; smallest: the least limit these seeds and pictures can settle\n\
         in all about {}, up to {} if a second look is needed\n",
        engine::duration(plan.seconds[0]),
        engine::duration(plan.seconds[1])
    );
    text
}
