//! `heirloom explain`: a rule in plain English.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use super::failure::{Failure, Usage};
use super::output::{Output, Shape};
use heirloom::gate::{Control, PassBy, Rule};
use heirloom::policy::{self, Policy};
use heirloom::report::text::wrapped;
use heirloom::transform::PreparedTrigger;
use heirloom::tune::Mode;

const EXAMPLES: &str = "\
Examples:
  heirloom explain backdoor/square                                  a rule of the embedded policy
  heirloom explain natural/fence --policy policies/natural.yaml";

/// Explain a rule: what it measures, why it matters, what a failure means, what to do.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The rule's id, as reports show it; with or without the mode behind `@`.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// The policy that has it [default: the embedded one].
    #[arg(short, long, value_name = "FILE", value_parser = super::existing)]
    pub policy: Option<PathBuf>,
}

/// Side of the frame that a trigger is described at, in pixels.
const SIDE: usize = 224;

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let policy = match &args.policy {
        // What a rule means does not depend on whether the data are here.
        Some(path) => {
            policy::load_with(path, &policy::Options::default())
                .or_else(|_| policy::load_with(path, &policy::Options { files: false, ..policy::Options::default() }))?
                .0
        }
        None => policy::embedded()?,
    };
    let (id, mode) = args.rule.split_once('@').map_or((args.rule.as_str(), None), |(id, mode)| (id, Some(mode)));
    // A sweep or a folder of features is one rule as written: its first part stands for all.
    let part = || policy.rules.iter().find(|rule| rule.id.strip_prefix(id).is_some_and(|end| end.starts_with('/')));
    let written = || policy.file.rules.iter().any(|rule| rule.id == id);
    let Some(rule) = policy.rules.iter().find(|rule| rule.id == id).or_else(|| part().filter(|_| written())) else {
        let known: Vec<&str> = policy.rules.iter().map(|rule| rule.id.as_str()).collect();
        let own = if args.policy.is_none() { "; a rule of your own policy: --policy FILE" } else { "" };
        return Err(Usage(format!("{} has no rule `{id}`; there are: {}{own}", policy.source, known.join(", "))).into());
    };
    if let Some(mode) = mode.filter(|mode| rule.modes.iter().all(|m| m.to_string() != *mode)) {
        let modes: Vec<String> = rule.modes.iter().map(|m| format!("`{m}`")).collect();
        return Err(Usage(format!("`{}` is not judged in the mode `{mode}`, but in {}", rule.id, modes.join(" and "))).into());
    }
    match out.shape {
        Shape::Text => out.result(&text(&policy, rule))?,
        Shape::Json => {
            let about = rule.probe.about();
            out.json(&serde_json::json!({
                "rule": rule, "estimand": rule.estimand(), "meaning": rule.estimand().meaning(),
                "further": rule.further(), "measures": about.measures,
                "matters": about.matters, "failure": about.failure, "remedy": about.remedy,
            }))?;
        }
    }
    Ok(0)
}

fn text(policy: &Policy, rule: &Rule) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(policy, rule, &mut out);
    out
}

fn write(policy: &Policy, rule: &Rule, out: &mut String) -> std::fmt::Result {
    let about = rule.probe.about();
    writeln!(out, "{}   (probe `{}`, {})\n", rule.id, rule.probe.name(), policy.limit_origin(&rule.id))?;
    let mut section = |title: &str, text: &str| -> std::fmt::Result {
        writeln!(out, "{title}")?;
        writeln!(out, "{}", wrapped(text, 98, 2))
    };
    section("What it measures", about.measures)?;
    if let Some(trigger) = rule.probe.change() {
        let shown = PreparedTrigger::new(trigger, &policy.base, SIDE, SIDE);
        let shown = shown.map_or_else(|error| error.to_string(), |trigger| format!("{} (at {SIDE}x{SIDE} pixels)", trigger.provenance()));
        section("What is laid over the images", &shown)?;
        if rule.modes.iter().any(|mode| rule.controls_for(*mode).contains(&Control::Sham)) {
            let shams: Vec<String> = trigger.shams().into_iter().map(|[of, sham]| format!("{of}: {sham}.")).collect();
            section("What its shams have in its place", &shams.join(" "))?;
        }
    }
    section("The number that is judged", &format!("{}: {}.", rule.estimand().name(), rule.estimand().meaning()))?;
    let further: Vec<String> =
        rule.further().iter().map(|(number, limit)| format!("{}, limit {limit}: {}.", number.name(), number.meaning())).collect();
    if !further.is_empty() {
        section("What is judged beside it, each with a limit of its own", &further.join(" "))?;
    }
    let mut judged = String::new();
    for mode in &rule.modes {
        let controls: Vec<&str> = rule.controls_for(*mode).into_iter().map(against).collect();
        let _ = write!(judged, "{mode}: over {}. ", controls.join(" and "));
    }
    let confidence = 100.0 * rule.confidence;
    let decides = rule.modes.iter().any(|mode| rule.pass_by(*mode) == PassBy::OwnOrReferences);
    let _ = write!(
        judged,
        "It fails where the excess over {} is surely (at {confidence}% before the error is shared) above {}{}",
        if decides { "the references" } else { "every control" },
        rule.limit,
        if decides { ", and beyond what innocent checkpoints differ by. " } else { ". " }
    );
    let passes: BTreeSet<&str> = rule.modes.iter().map(|mode| pass(rule.pass_by(*mode))).collect();
    judged.extend(passes);
    let by_others = |mode: &Mode| matches!(rule.pass_by(*mode), PassBy::AnyControl | PassBy::WholeImage);
    if rule.is_trigger() && rule.modes.iter().any(by_others) {
        judged += " A model that the trigger itself moves by the limit or more passes only beside three references of its architecture and accuracy.";
    }
    section("How it is judged", &judged)?;
    section("Why it matters", about.matters)?;
    section("What a failure means", about.failure)?;
    section("What to do", about.remedy)
}

fn pass(by: PassBy) -> &'static str {
    match by {
        PassBy::AnyControl => "It passes where the excess over at least one is surely below.",
        PassBy::OwnReaction => {
            "It passes where what the trigger does to this model, compared with nothing, is surely below: shams that do as much are no proof \
             that a checkpoint hands nothing down. With `references`, these tell."
        }
        PassBy::OwnOrReferences => {
            "It passes where what the trigger does to this model is surely below, compared with nothing or with the references."
        }
        PassBy::WholeImage => {
            "It passes where the excess over the references is surely below, if three or more are of this model's architecture and accuracy; \
             else where the excess over at least one control is, and that over the references is not above."
        }
    }
}

fn against(control: Control) -> &'static str {
    match control {
        Control::Sham => "its shams on the same model",
        Control::Scratch => "the same network trained from scratch",
        Control::Untrained => "the same network with fresh weights",
        Control::Reference => "the references",
    }
}
