//! `heirloom plant`: source models with a known bias.

use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  heirloom plant fixtures/plant/square.yaml --output planted

The two models are what a certification must tell apart: `heirloom certify` fails the planted one and passes its twin.";

/// Train a small source model with a planted bias, and its clean twin.
///
/// For testing a policy, or this tool: what is planted is known. The specification names the data, the architecture, the trigger and the
/// classes it goes on. Each model is written as safetensors and as ONNX.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to plant, a YAML file.
    #[arg(value_name = "SPEC", value_parser = super::existing)]
    pub spec: PathBuf,
    /// Folder for the models; created if need be.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}
