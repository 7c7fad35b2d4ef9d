//! `heirloom plant`: source models with a known bias.

use std::path::PathBuf;

use super::device;
use super::failure::{Broken, Failure};
use super::interrupt;
use super::output::{Output, Shape};
use super::progress::Progress;
use heirloom::diag::{Class, Explain};
use heirloom::engine::Event;
use heirloom::plant::{self, PlantError};
use heirloom::report::{printable, text};
use heirloom::store;

const EXAMPLES: &str = "\
Examples:
  heirloom plant fixtures/plant/square.yaml --output planted

The two models are what a certification must tell apart: `heirloom certify` fails the planted one and passes its clean counterpart.";

/// Train a source model with a planted bias, and its clean counterpart.
///
/// For testing a policy, or this tool: what is planted is known. The specification names the data, the architecture (or a checkpoint to begin
/// from), the trigger and the
/// classes it goes on. Each model is written as ONNX, and as safetensors where it is one of the architectures that heirloom builds itself.
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
    let models = plant::run(&spec, base, &compute, &mut |name, images| {
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
    let mut facts = Vec::new();
    for model in &models {
        let files = [("onnx", Some(&model.onnx)), ("safetensors", model.safetensors.as_ref())];
        for (extension, bytes) in files.into_iter().filter_map(|(extension, bytes)| Some((extension, bytes?))) {
            let path = args.output.join(format!("{}.{extension}", model.name));
            store::write_atomic(&path, bytes).map_err(Broken::on(format!("cannot write {}", path.display())))?;
        }
        facts.push(serde_json::json!({
            "name": model.name, "parameters": model.parameters, "accuracy": model.accuracy, "drawn_by_trigger": model.drawn,
        }));
        if out.shape == Shape::Text {
            let drawn: Vec<String> = model.drawn.iter().map(|share| format!("{share:.3}")).collect();
            let drawn = if drawn.is_empty() {
                String::new()
            } else {
                format!("   with the trigger, {} are called a planted class", drawn.join(", "))
            };
            let name = text::padded(&printable(&model.name), 20);
            out.result(&format!("{name} {:>8} parameters   accuracy {:.3}{drawn}\n", model.parameters, model.accuracy))?;
        }
    }
    if out.shape == Shape::Json {
        out.json(&facts)?;
    }
    Ok(0)
}
