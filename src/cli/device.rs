//! What `certify`, `plan` and `plant` compute on.

use super::output::Output;
use heirloom::exec::{Choice, Compute, DeviceError, Precision};

/// A device and the numbers it computes with.
#[derive(clap::Args, Debug)]
// One group of a command is called so, that of the command itself.
#[group(skip)]
pub struct Args {
    /// Where to compute: `cpu`, `cuda`, `cuda:N`, or `auto` for an NVIDIA card where there is one. A report says where it was made.
    #[arg(long, value_name = "DEVICE", default_value_t = Choice::Cpu)]
    pub device: Choice,
    /// Numbers of the matrix products: `f32`, or on an NVIDIA card `tf32` or `bf16` (mixed precision: weights stay f32).
    #[arg(long, value_name = "TYPE", default_value_t = Precision::F32)]
    pub precision: Precision,
}

impl Args {
    /// Finds the device; where another was hoped for, says so. (A report says it by itself.)
    pub(super) fn open(&self, out: &Output) -> Result<Compute, DeviceError> {
        let compute = Compute::open(self.device, self.precision)?;
        if let Some(note) = compute.note() {
            out.remark(&format!("warning: {note}"));
        }
        Ok(compute)
    }

    /// What to tell the user before anything runs, where a device was asked for.
    pub(super) fn fact(&self, compute: &Compute) -> Option<String> {
        (self.device != Choice::Cpu).then(|| format!("{}, {}", compute.name(), compute.precision()))
    }
}
