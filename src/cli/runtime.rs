//! Which ONNX Runtime runs frozen networks: what was asked for, or what is found.

use std::ffi::OsString;

use super::output::Output;
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

    /// Loads the library. One that was found and does not fit is said, and the run goes on without.
    pub(super) fn open(&self, out: &Output) -> Result<Search, RuntimeError> {
        let search = runtime::open(&self.wanted())?;
        for unfit in search.unfit.iter().filter(|_| search.runtime.is_none()) {
            out.remark(&format!("warning: {unfit}; heirloom computes by itself"));
        }
        Ok(search)
    }
}
