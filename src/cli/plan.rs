//! `heirloom plan`: what a certification would run.

use std::path::PathBuf;
use std::time::Duration;

use super::duration;

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
