//! `heirloom plan`: what a certification would run.

use std::fmt::Write;
use std::time::Duration;

use super::failure::Failure;
use super::output::{Output, Shape};
use super::subject::{self, Subject};
use super::{device, duration, machine, size};
use heirloom::data::Rebalance;
use heirloom::engine::Event;
use heirloom::model::Model;
use heirloom::plan::{self, Kept, Plan, Whole};
use heirloom::report::text;
use heirloom::{diag, engine, store};

const EXAMPLES: &str = "\
Examples:
  heirloom plan model.onnx --policy policies/release.yaml
  heirloom plan model.onnx --policy policies/release.yaml --max-time 15m --format json";

/// Show what `certify` would run, how long it would take and how sure it could be.
///
/// Prints each job with its images, seeds and time on this machine, and for each rule its power: how likely it is to be settled.
/// Trains nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The model and the policy.
    #[command(flatten)]
    pub subject: subject::Args,
    /// The device.
    #[command(flatten)]
    pub compute: device::Args,
    /// What would not fit into this time is shown as left out.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Memory that may be used, such as 512MiB or 4GiB; images and features that do not fit are kept on disk meanwhile [default:
    /// three quarters of what the machine or container has].
    #[arg(long, value_name = "SIZE", value_parser = size::memory)]
    pub memory: Option<u64>,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let (mut session, subject) = Subject::open(&args.subject, &args.compute, None, out)?;
    session.cache = machine::cache(None, out);
    session.memory = machine::budget(args.memory);
    let Subject { model, policy, references, here } = &subject;
    let references: Vec<&Model> = references.iter().collect();
    if let Some(address) = &here.address {
        out.remark(&format!("  {:<16} {address}", "source"));
    }
    out.remark(&format!("  {:<16} {}", "resize", model.input.resized()));
    out.remark(&format!("  {:<16} {}", "normalise", model.input.normalised()));
    let plan = session.plan_beside(policy, model, &references, &mut |event| match event {
        Event::Fact { topic, text } => out.remark(&format!("  {topic:<16} {text}")),
        Event::Warning(warning) => out.remark(&format!("warning: {warning}")),
        _ => {}
    })?;
    match out.shape {
        Shape::Json => out.json(&plan)?,
        Shape::Text => out.result(&render(&plan, &plan::resolve(policy).views, args.max_time))?,
    }
    Ok(0)
}

fn render(plan: &Plan, views: &[Option<Rebalance>], most: Option<Duration>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(plan, views, most, &mut text);
    text
}

fn write(plan: &Plan, views: &[Option<Rebalance>], most: Option<Duration>, out: &mut String) -> std::fmt::Result {
    let c = &plan.counts;
    let (clusters, classes) = (diag::count(c.test_clusters, "cluster"), diag::count(c.classes, "class"));
    writeln!(out, "data      {} training and {} test images ({clusters}) of {classes}", c.train, c.test)?;
    match plan.speed.whole {
        Some(Whole { train, .. }) => {
            writeln!(out, "speed     {:.0} images a second evaluated, {train:.0} trained on", plan.speed.features)?;
        }
        None => writeln!(out, "speed     {:.0} images a second evaluated", plan.speed.features)?,
    }
    let disk = if plan.disk > 0 { format!(", and {} on disk", store::bytes(plan.disk)) } else { String::new() };
    writeln!(out, "memory    about {}{disk}\n", store::bytes(plan.memory))?;
    let names: Vec<String> = plan.jobs.iter().map(|job| engine::stage_name(views, job.tuning)).collect();
    let column = text::TextColumn::of(&names, 28);
    writeln!(out, "{} {:>7} {:>14}", column.cell("fine-tunes"), "seeds", "time")?;
    for (job, name) in plan.jobs.iter().zip(&names) {
        let first = job.seconds(job.seeds.first);
        let late = if most.is_some_and(|most| first > most.as_secs_f64()) { "   does not fit --max-time" } else { "" };
        let seeds = format!("{}-{}", job.seeds.first, job.seeds.most);
        let time = if job.possible { engine::duration(first) } else { "not possible".to_owned() };
        writeln!(out, "{} {seeds:>7} {time:>14}{late}", column.cell(name))?;
    }
    let ids: Vec<String> = plan.findings.iter().map(|f| format!("{}@{}", f.rule, f.mode)).collect();
    let column = text::TextColumn::of(&ids, 40);
    writeln!(out, "\n{} {:>6} {:>7} {:>10}   controls", column.cell("finding"), "limit", "power", "smallest")?;
    for (f, id) in plan.findings.iter().zip(&ids) {
        let controls: Vec<&str> = f.controls.iter().map(|c| c.name()).collect();
        let id = column.cell(id);
        if f.possible {
            writeln!(out, "{id} {:>6} {:>7.3} {:>10.3}   {}", f.limit, f.power, f.smallest_limit, controls.join(", "))?;
        } else {
            writeln!(out, "{id} {:>6} {:>7} {:>10}   skipped: the network cannot be trained here", f.limit, "-", "-")?;
        }
    }
    writeln!(
        out,
        "\npower: the chance that a source without any effect passes; smallest: the least limit these seeds and images can settle"
    )?;
    let [first, second] = plan.seconds.map(engine::duration);
    let [fewest, most] = plan.images.map(text::grouped);
    writeln!(
        out,
        "in all about {first} ({fewest} images through networks), up to {second} ({most} images) if a second look and every control are needed"
    )?;
    let Some(Kept { fine_tunes, of, seconds }) = plan.kept else { return Ok(()) };
    // Less than a second is no news.
    if fine_tunes == 0 && seconds.iter().zip(plan.seconds).all(|(left, planned)| left + 1.0 > planned) {
        return Ok(());
    }
    let [first, second] = seconds.map(engine::duration);
    let fine_tunes = if fine_tunes > 0 { format!("{fine_tunes} of {of} fine-tunes") } else { "features".to_owned() };
    writeln!(out, "kept from earlier runs: {fine_tunes}, so that about {first} are left, up to {second}")
}
