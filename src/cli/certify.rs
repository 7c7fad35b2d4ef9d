//! `heirloom certify`: the whole way from a checkpoint to a verdict.

use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::output::{Output, Shape};
use crate::report::{Report, json, table};

const EXAMPLES: &str = "\
Examples:
  heirloom certify model.onnx
  heirloom certify model.safetensors --policy policies/release.yaml --max-time 15m
  heirloom certify model.onnx --report-only              look before you gate
  heirloom certify model.onnx --format json | jq .summary

Writes report.json, junit.xml, summary.md and measurements.json.gz into the output folder, whatever the verdict.
The exit code is the verdict: see `heirloom --help`.";

/// Certify a checkpoint: find out what it hands down, and give a verdict.
///
/// Fine-tunes the checkpoint on the policy's target task, measures each rule beside its controls, prints a table of findings and
/// writes the reports.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An .onnx or .safetensors file, or the folder that holds one.
    #[arg(value_name = "MODEL", value_parser = super::existing)]
    pub model: PathBuf,
    /// What is run and what is accepted [default: an embedded policy with an embedded target task].
    #[arg(short, long, value_name = "FILE", value_parser = super::existing)]
    pub policy: Option<PathBuf>,
    /// Take the target task's pictures from here instead of where the policy says.
    #[arg(long, value_name = "PATH", value_parser = super::existing)]
    pub data: Option<PathBuf>,
    /// Folder for the reports; created if need be.
    #[arg(short, long, value_name = "DIR", default_value = "heirloom-report")]
    pub output: PathBuf,
    /// Tensor at which features leave the network [default: found; see `heirloom inspect`].
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Architecture of a file that holds weights only [default: from config.json or the tensor names].
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Leave out what does not fit into this time, such as 90s, 15m or 2h30m; it is then inconclusive.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub max_time: Option<Duration>,
    /// Exit 0 whatever the verdict; it is still reported.
    #[arg(long)]
    pub report_only: bool,
    /// Put example pictures into the report. Without this, a report holds no pictures.
    #[arg(long)]
    pub pictures: bool,
}

/// Prints a report, and gives the exit code.
pub fn conclude(report: &Report, written: &[PathBuf], out: &mut Output) -> anyhow::Result<i32> {
    match out.shape {
        Shape::Json => out.result(&json::render(report)?)?,
        Shape::Text => out.result(&table::render(report, out.look))?,
    }
    let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    if !names.is_empty() {
        out.remark(&format!("  reports: {}", names.join(", ")));
    }
    Ok(report.process_code())
}
