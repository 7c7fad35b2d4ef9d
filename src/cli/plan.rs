//! `heirloom plan`: what a certification would run.

use std::time::Duration;

use super::failure::Usage;
use super::output::{Output, Shape};
use super::subject::{self, Subject};
use super::{duration, machine};
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
    /// The model and the policy.
    #[command(flatten)]
    pub subject: subject::Args,
    /// What would not fit into this time is shown as left out.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<i32> {
    let subject = Subject::open(&args.subject, out)?;
    let data = data::open(&subject.policy.file.target, &subject.policy.base, subject.policy.file.seed)?;
    let means = engine::means(&subject.model, machine::memory())?;
    let plan = plan::plan(&subject.policy, engine::counts(&data), &means).map_err(|refused| Usage(refused.to_string()))?;
    match out.shape {
        Shape::Json => out.json(&plan)?,
        Shape::Text => out.result(&render(&plan, args.max_time))?,
    }
    Ok(0)
}

fn render(plan: &Plan, most: Option<Duration>) -> String {
    let c = plan.counts;
    let mut text = format!(
        "data      {} training and {} test pictures ({} clusters) of {} classes\nspeed     {:.0} pictures a second evaluated, {:.0} trained on\n\
         memory    about {}\n\n",
        c.train,
        c.test,
        c.test_clusters,
        c.classes,
        plan.speed.forward,
        plan.speed.train,
        plan::bytes(plan.memory)
    );
    text += &format!("{:<28} {:>7} {:>14}   {}\n", "fine-tunes", "seeds", "time", "");
    for job in &plan.jobs {
        let first = job.seconds(job.seeds.first);
        let late = most.is_some_and(|most| first > most.as_secs_f64());
        let name = engine::stage_name(job.arm, job.mode);
        text += &format!(
            "{name:<28} {:>7} {:>14}   {}\n",
            format!("{}-{}", job.seeds.first, job.seeds.most),
            engine::duration(first),
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
