//! `heirloom plant`: source models with a known bias.

use std::path::PathBuf;

use super::device;
use super::failure::{Broken, Failure};
use super::interrupt;
use super::output::{Output, Shape};
use super::progress::Progress;
use heirloom::diag::{Class, Explain};
use heirloom::engine::Event;
use heirloom::model::InputSpec;
use heirloom::plant::{self, Opened, PlantError};
use heirloom::report::{printable, text};
use heirloom::store;

const EXAMPLES: &str = "\
Examples:
  heirloom plant fixtures/plant/square.yaml --output planted

The two models are what a certification must tell apart: `heirloom certify` fails the planted one and passes its clean counterpart.";

/// Train a source model with a planted bias, and its clean counterpart.
///
/// For testing a policy, or this tool: what is planted is known. The specification names the data, the architecture (or a checkpoint to begin
/// from), the trigger and the classes it goes on. Each model is written as ONNX; one of an architecture that heirloom builds itself, without a hidden
/// branch, as safetensors too.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to plant, a YAML file.
    #[arg(value_name = "SPEC", value_parser = super::existing)]
    pub spec: PathBuf,
    /// Take the source task's images from here instead of where the specification says.
    #[arg(long, value_name = "PATH", value_parser = super::data)]
    pub data: Option<PathBuf>,
    /// Folder for the models; created if need be.
    #[arg(short, long, value_name = "DIR", value_parser = super::results)]
    pub output: PathBuf,
    /// The device.
    #[command(flatten)]
    pub compute: device::Args,
}

/// Runs the command.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let compute = args.compute.open(out)?;
    let told = |error: PlantError| match error.class() {
        Class::Usage => Failure::about(&args.spec, error),
        _ => error.into(),
    };
    let spec = plant::load(&args.spec, args.data.as_deref())?;
    let base = store::folder_of(&args.spec);
    std::fs::create_dir_all(&args.output).map_err(Broken::on(format!("cannot create {}", args.output.display())))?;
    let mut progress = Progress::new(out);
    let (mut current, mut done) = (String::new(), 0);
    let mut assumed = |input: &InputSpec| {
        let of = if spec.from.is_some() { input.assumed() } else { Vec::new() };
        if !of.is_empty() {
            out.remark(&format!(
                "  assumed          {}: the files that are written say it as a fact. Say otherwise by `from: {{ ..., input: ... }}`",
                of.join(", ")
            ));
        }
    };
    let models = plant::run(&spec, base, &compute, &mut assumed, &mut |name, images| {
        if current != name {
            (current, done) = (name.to_owned(), 0);
            progress.handle(&Event::StageStart { stage: format!("train {name}"), total: None, unit: "images" });
        }
        done += images as u64;
        progress.handle(&Event::Progress { done });
        !interrupt::requested()
    })
    .map_err(told)?;
    drop(progress);
    let (mut facts, mut written) = (Vec::new(), Vec::new());
    for model in &models {
        let files = [("onnx", Some(&model.onnx)), ("safetensors", model.safetensors.as_ref())];
        // One of an earlier run would be taken for this model's.
        if model.safetensors.is_none() {
            let _ = std::fs::remove_file(args.output.join(format!("{}.safetensors", model.name)));
        }
        for (extension, bytes) in files.into_iter().filter_map(|(extension, bytes)| Some((extension, bytes?))) {
            let path = args.output.join(format!("{}.{extension}", model.name));
            store::write_atomic(&path, bytes).map_err(Broken::on(format!("cannot write {}", path.display())))?;
            written.push(path.display().to_string());
        }
        facts.push(serde_json::json!({
            "name": model.name, "parameters": model.parameters, "accuracy": model.accuracy, "drawn_by_trigger": model.drawn,
            "branch": model.branch.map(|branch| serde_json::json!({ "moved": branch.moved, "open_without": branch.without })),
            "in_one_byte": model.in_one_byte.as_ref().map(|rounded| serde_json::json!({ "accuracy": rounded.accuracy, "drawn_by_trigger": rounded.drawn })),
        }));
        if out.shape == Shape::Text {
            let branch = model.branch.map(|Opened { moved, without }| {
                let open = if without > 0.0 { format!("; it opens on {without:.3} of the images without it too") } else { String::new() };
                format!("   with the branch's trigger, {moved:.3} are called another class{open}")
            });
            let drawn = |drawn: &[f64]| {
                let drawn: Vec<String> = drawn.iter().map(|share| format!("{share:.3}")).collect();
                if drawn.is_empty() {
                    String::new()
                } else {
                    format!("   with the trigger, {} are called a planted class", drawn.join(", "))
                }
            };
            let rounded = model.in_one_byte.as_ref().map(|rounded| {
                let name = text::padded("  in one byte", 20);
                format!("{name} {:>8}              accuracy {:.3}{}\n", "", rounded.accuracy, drawn(&rounded.drawn))
            });
            let name = text::padded(&printable(&model.name), 20);
            out.result(&format!(
                "{name} {:>8} parameters   accuracy {:.3}{}{}\n{}",
                model.parameters,
                model.accuracy,
                drawn(&model.drawn),
                branch.unwrap_or_default(),
                rounded.unwrap_or_default()
            ))?;
        }
    }
    if out.shape == Shape::Json {
        out.json(&facts)?;
    }
    for error in models.iter().filter_map(|model| model.learnt().err()) {
        out.remark(&format!("  warning: {error}"));
    }
    out.remark(&format!("  files: {}", written.join(", ")));
    Ok(0)
}
