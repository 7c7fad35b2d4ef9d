//! What commands that certify many checkpoints are run with.

use std::path::PathBuf;

use super::failure::{Broken, Failure};
use super::output::Output;
use super::progress::Progress;
use super::{device, interrupt, machine, runtime, size};
use heirloom::gate::SelfTestOutcome;
use heirloom::session::Session;

/// Device, memory and cache of a series.
#[derive(clap::Args, Debug)]
// One group of a command is called so, that of the command itself.
#[group(skip)]
pub struct Args {
    /// The device.
    #[command(flatten)]
    pub compute: device::Args,
    /// The library of ONNX Runtime.
    #[command(flatten)]
    pub runtime: runtime::Args,
    /// Memory that may be used, such as 512MiB or 4GiB [default: three quarters of what the machine or container has].
    #[arg(long, value_name = "SIZE", value_parser = size::memory)]
    pub memory: Option<u64>,
    /// Folder where finished fine-tunes are kept [default: `HEIRLOOM_CACHE`, else the user's cache folder].
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    pub cache: Option<PathBuf>,
}

impl Args {
    /// Opens device, library and cache.
    pub(super) fn session(&self, out: &Output) -> Result<Session<'static>, Failure> {
        let compute = self.compute.open(out)?;
        let runtime = self.runtime.open(&compute, out)?.runtime;
        let cache = machine::cache(self.cache.as_deref(), out);
        let mut session = Session::new(compute);
        (session.cache, session.runtime, session.memory) = (cache, runtime, machine::budget(self.memory));
        session.stop = &interrupt::requested;
        Ok(session)
    }

    /// The same, and runs the self-test.
    pub(super) fn open(&self, out: &Output, progress: &mut Progress) -> Result<Session<'static>, Failure> {
        let session = self.session(out)?;
        sound(session.self_test(session.runtime.as_ref(), &mut |event| progress.handle(&event))?)?;
        Ok(session)
    }
}

/// The outcome of a self-test that a series may begin with: after a failed one every pass would be an error, and kept as one.
fn sound(self_test: SelfTestOutcome) -> Result<SelfTestOutcome, Failure> {
    match self_test {
        SelfTestOutcome::Sound => Ok(self_test),
        SelfTestOutcome::Failed(why) | SelfTestOutcome::NotRun(why) => {
            Err(Broken::on("the self-test failed, so that no certification would count")(format!("{why}; nothing was run")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SelfTestOutcome, sound};

    #[test]
    fn no_series_begins_with_a_failed_self_test() {
        assert_eq!(sound(SelfTestOutcome::Sound).unwrap(), SelfTestOutcome::Sound);
        let error = sound(SelfTestOutcome::Failed("the planted source was judged pass".into())).unwrap_err();
        assert!(error.full().contains("the planted source was judged pass"), "{error:?}");
    }
}
