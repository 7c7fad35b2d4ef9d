//! `heirloom export`: a model as a file of another format.

use std::path::PathBuf;

use super::failure::{Broken, Failure, Usage};
use super::inspect::size;
use super::output::{Output, Shape};
use heirloom::model::{InputOverride, LoadOptions, Model, Part};
use heirloom::registry::{self, Format};
use heirloom::report::printable;
use heirloom::store;

const EXAMPLES: &str = "\
Examples:
  heirloom export vit/model.safetensors vit.onnx
  heirloom export vit/model.safetensors features.onnx --only-features
  heirloom export model.onnx small.onnx --size 224x224
  heirloom export my-lora merged.safetensors --base vit/model.safetensors";

/// Write a model as ONNX or safetensors.
///
/// Writes the network as heirloom understands it, with what is known of its input: an ONNX file (operator set 17) that any runtime computes, or a
/// safetensors file that heirloom reads back. The name of the file says which. A `LoRA` adapter of peft is merged onto the checkpoint that it was trained
/// on, which `--base` names: certify the file that is written.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An .onnx or .safetensors file, or the folder that holds one.
    #[arg(value_name = "MODEL", value_parser = super::existing)]
    pub model: PathBuf,
    /// The file to write: NAME.onnx or NAME.safetensors.
    #[arg(value_name = "FILE", value_parser = target)]
    pub file: (PathBuf, Format),
    /// The checkpoint that a `LoRA` adapter was trained on: MODEL is the adapter's folder, or its file. Nothing is fetched.
    #[arg(long, value_name = "FILE", value_parser = super::existing)]
    pub base: Option<PathBuf>,
    /// Write the network up to its features, without its head.
    #[arg(long)]
    pub only_features: bool,
    /// Tensor at which features leave the network [default: found].
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Architecture of a file that holds weights only [default: from config.json or the tensor names].
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Height and width in pixels, for models that take any size.
    #[arg(long, value_name = "HxW", value_parser = size)]
    pub size: Option<[usize; 2]>,
}

fn target(text: &str) -> Result<(PathBuf, Format), String> {
    let path = PathBuf::from(text);
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => Format::Onnx,
        Some("safetensors") => Format::Safetensors,
        _ => return Err("its name must end with .onnx or .safetensors".to_owned()),
    };
    Ok((path, format))
}

/// Loads the model and writes it.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let (path, format) = &args.file;
    // Whatever link leads there.
    let same =
        |other: &PathBuf| std::fs::canonicalize(path).is_ok_and(|path| std::fs::canonicalize(other).is_ok_and(|other| path == other));
    let input = InputOverride { size: args.size, ..InputOverride::default() };
    let options = LoadOptions { features: args.features.clone(), arch: args.arch.clone(), input, runtime: None };
    let about = |error| Failure::about(&args.model, error);
    let model = match &args.base {
        None => Model::load(registry::identify(&args.model)?, &options).map_err(about)?,
        Some(base) => {
            let mut told = |name: Option<&str>| {
                out.remark(&format!("  base     the adapter names {}; merged onto {}", printable(name.unwrap_or("none")), base.display()));
            };
            Model::load_adapted(&args.model, registry::identify(base)?, &options, &mut told).map_err(about)?
        }
    };
    if same(&model.identity.path) || same(&args.model) {
        return Err(Usage(format!("{} is what would be read: name another file to write", path.display())).into());
    }
    let part = if args.only_features { Part::Features } else { Part::Whole };
    let bytes = model.export(*format, part).map_err(about)?;
    store::write_atomic(path, &bytes).map_err(Broken::on(format!("cannot write {}", path.display())))?;
    match out.shape {
        Shape::Json => {
            out.json(&serde_json::json!({"path": path, "digest": registry::identify(path)?.digest, "bytes": bytes.len(), "model": model.description}))?;
        }
        Shape::Text => {
            let what = if args.only_features { "up to its features" } else { "the whole network" };
            let kind = if *format == Format::Onnx { "ONNX" } else { "safetensors" };
            let wrote = format!("wrote {}: {kind}, {what}, {} bytes", path.display(), bytes.len());
            out.result(&format!("{}\n  from   {}\n", printable(&wrote), printable(&model.description)))?;
        }
    }
    Ok(0)
}
