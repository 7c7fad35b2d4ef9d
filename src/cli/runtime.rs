//! Which ONNX Runtime runs frozen networks: what was asked for, or what is found.

use std::ffi::OsString;
use std::time::Duration;

use super::duration;
use super::output::Output;
use heirloom::exec::Compute;
use heirloom::runtime::{self, Host, RuntimeError, Search, Wanted, Worker};

/// The library of ONNX Runtime.
#[derive(clap::Args, Debug)]
// One group of a command is called so, that of the command itself.
#[group(skip)]
pub struct Args {
    /// ONNX Runtime library, or its folder, to run frozen networks with; `off` for heirloom's own kernels [default: `ORT_DYLIB_PATH`, which
    /// may be `off`, else one that is found: see `heirloom doctor`].
    #[arg(long, value_name = "PATH")]
    pub ort_lib: Option<OsString>,
    /// End ONNX Runtime where it takes longer than this to load a model or to compute a batch [default: 10m; 2m to load the library].
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub ort_timeout: Option<Duration>,
}

impl Args {
    /// What was asked for, here or in the environment.
    pub(super) fn wanted(&self) -> Wanted {
        let named = self.ort_lib.clone().or_else(|| std::env::var_os("ORT_DYLIB_PATH")).filter(|named| !named.is_empty());
        named.map_or(Wanted::Any, |named| Wanted::named(&named))
    }

    /// A process of its own for it, which is this program once more.
    pub(super) fn host(&self) -> Result<Host, RuntimeError> {
        let failed = |error: std::io::Error| RuntimeError::Worker { program: "heirloom".into(), reason: error.to_string() };
        let worker = Worker::this_program().map_err(failed)?;
        Ok(Host::Worker(match self.ort_timeout {
            Some(limit) => worker.within(limit),
            None => worker,
        }))
    }

    /// Loads the library, on the card where heirloom computes on one. A library that was found and does not fit, or knows no cards, is
    /// said, and the run goes on without or on the processor.
    pub(super) fn open(&self, compute: &Compute, out: &Output) -> Result<Search, RuntimeError> {
        let mut search = runtime::open(&self.wanted(), &self.host()?)?;
        for unfit in search.unfit.iter().filter(|_| search.runtime.is_none()) {
            out.remark(&format!("warning: {unfit}; heirloom computes by itself"));
        }
        if let (Some(runtime), Some(ordinal)) = (&mut search.runtime, compute.card()) {
            match runtime.on_cuda(ordinal) {
                Ok(on_card) => *runtime = on_card,
                Err(error) => out.remark(&format!("warning: {error}; it computes only what heirloom cannot, with --device auto")),
            }
        }
        Ok(search)
    }
}
