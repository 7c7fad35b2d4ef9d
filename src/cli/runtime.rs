//! Which ONNX Runtime runs frozen networks: what was asked for, or what is found.

use std::ffi::OsString;

use super::output::Output;
use crate::exec::Compute;
use crate::runtime::{self, RuntimeError, Search, Wanted};

/// The library of ONNX Runtime.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// ONNX Runtime library, or its folder, to run frozen networks with; `off` for heirloom's own kernels [default: `ORT_DYLIB_PATH`, which
    /// may be `off`, else one that is found: see `heirloom doctor`].
    #[arg(long, value_name = "PATH")]
    pub ort_lib: Option<OsString>,
}

impl Args {
    /// What was asked for, here or in the environment.
    pub(super) fn wanted(&self) -> Wanted {
        let named = self.ort_lib.clone().or_else(|| std::env::var_os("ORT_DYLIB_PATH")).filter(|named| !named.is_empty());
        named.map_or(Wanted::Any, |named| Wanted::named(&named))
    }

    /// Loads the library, on the card where heirloom computes on one. A library that was found and does not fit, or knows no cards, is
    /// said, and the run goes on without or on the processor.
    pub(super) fn open(&self, compute: &Compute, out: &Output) -> Result<Search, RuntimeError> {
        let mut search = runtime::open(&self.wanted())?;
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
