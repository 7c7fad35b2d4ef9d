//! ONNX Runtime, where its library is found: frozen networks are run by it as their files say.
//!
//! The library is not part of the program and is never downloaded. `find` knows where to look, `library` loads one and asks its
//! version, `network` runs one file in it, `Session` runs batches of any size.
//!
//! A library of C++ can crash on a file, hang, or take all memory, and a process that loads it ends with it. [`Host`] says where that
//! happens. With [`Host::Worker`] the library is loaded by another process (`worker`), which this one starts and asks (`client`, `wire`,
//! `memory`), so that all that becomes an error. The command `heirloom` does so, and is its own worker. A program that uses this library
//! names `heirloom` as the worker, or itself:
//!
//! ```no_run
//! use heirloom::runtime::{self, Host, Wanted, Worker};
//!
//! fn main() -> std::process::ExitCode {
//!     // First of all: this program may have been started as the worker.
//!     let mut arguments = std::env::args_os().skip(1);
//!     if arguments.next().is_some_and(|first| first == runtime::WORKER) {
//!         return runtime::serve(arguments);
//!     }
//!     let host = Host::Worker(Worker::at("/usr/local/bin/heirloom")); // or Worker::this_program()
//!     let found = runtime::open(&Wanted::Any, &host);
//!     println!("{found:?}");
//!     std::process::ExitCode::SUCCESS
//! }
//! ```
//!
//! With [`Host::Here`] nothing is started; a crash of the library is then one of the program.

mod client;
mod find;
mod library;
mod memory;
mod network;
mod session;
mod wire;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use client::Workers;

use crate::diag::{Class, Explain};
pub(crate) use network::Output;
pub(crate) use session::Session;
pub use worker::serve;

/// The oldest minor version of ONNX Runtime 1 that this program can talk to.
pub(crate) const OLDEST: u32 = ort::MINOR_VERSION;

/// First argument of a program that is started as a worker; see [`serve`].
pub const WORKER: &str = "ort-worker";

/// Which library is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    Off,
    /// The one at this path, and no other.
    At(PathBuf),
    /// Whichever is found where such libraries are.
    #[default]
    Any,
}

impl Wanted {
    /// What a person wrote: a path, or `off`.
    pub fn named(text: &std::ffi::OsStr) -> Self {
        if text == "off" { Self::Off } else { Self::At(text.into()) }
    }
}

/// Where a library is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// In this process, which ends where the library crashes.
    Here,
    /// In a process of its own.
    Worker(Worker),
}

/// A program that is started to load a library, and how long it may take for one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    program: PathBuf,
    limit: Duration,
    loading: Duration,
}

impl Worker {
    /// The longest that one answer may take, unless said otherwise: to load a model, or to compute a batch.
    pub(crate) const LIMIT: Duration = Duration::from_mins(10);

    /// The longest that loading the library may take, unless said otherwise.
    pub(crate) const LOADING: Duration = Duration::from_mins(2);

    /// The program at this path, which calls [`serve`] when its first argument is [`WORKER`], as `heirloom` does. It must be of this
    /// version of heirloom.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), limit: Self::LIMIT, loading: Self::LOADING }
    }

    /// The program that runs, which calls [`serve`] when its first argument is [`WORKER`].
    pub fn this_program() -> std::io::Result<Self> {
        // This names it also after its file was replaced.
        let linux = PathBuf::from("/proc/self/exe");
        Ok(Self::at(if cfg!(target_os = "linux") && linux.exists() { linux } else { std::env::current_exe()? }))
    }

    /// The same with another limit for one answer, loading the library too.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, loading: limit, ..self }
    }
}

/// What a library computes on: one of its execution providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    /// The processor, which every library has.
    #[default]
    Cpu,
    /// An NVIDIA card by its number.
    Cuda(usize),
}

/// A library that was loaded and fits.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Its version: `1.32.0`.
    pub version: String,
    /// Its file.
    pub path: PathBuf,
    /// What its sessions compute on.
    pub provider: Provider,
    place: Place,
}

/// Where it is loaded. A worker ends with the last that asks it.
#[derive(Clone, Debug)]
enum Place {
    Here,
    There(Arc<Workers>),
}

impl PartialEq for Runtime {
    fn eq(&self, other: &Self) -> bool {
        (&self.version, &self.path, self.provider) == (&other.version, &other.path, other.provider)
    }
}

impl Eq for Runtime {}

impl Runtime {
    /// For people, and for keys: `ONNX Runtime 1.32.0`, or `ONNX Runtime 1.32.0 on CUDA`.
    pub(crate) fn name(&self) -> String {
        let on = if self.provider == Provider::Cpu { "" } else { " on CUDA" };
        format!("ONNX Runtime {}{on}", self.version)
    }

    /// The same library on the NVIDIA card of that number. [`RuntimeError::NoCuda`] where it was built for the processor only,
    /// [`RuntimeError::Cuda`] where it lacks the card or other libraries.
    pub fn on_cuda(&self, ordinal: usize) -> Result<Self, RuntimeError> {
        let provider = Provider::Cuda(ordinal);
        let started = match &self.place {
            Place::Here => network::start(provider),
            Place::There(workers) => workers.client().and_then(|client| client.provides(provider)),
        };
        started.map_err(|error| match error {
            RuntimeError::NoCuda { .. } => RuntimeError::NoCuda { runtime: self.name(), path: self.path.clone() },
            other => other,
        })?;
        Ok(Self { provider, ..self.clone() })
    }

    fn load(path: PathBuf, host: &Host) -> Result<Self, RuntimeError> {
        let (version, place) = match host {
            Host::Here => (library::load(&path)?, Place::Here),
            Host::Worker(worker) => {
                let (workers, version) = Workers::start(worker, &path)?;
                (version, Place::There(workers))
            }
        };
        Ok(Self { version, path, provider: Provider::Cpu, place })
    }
}

/// What came of looking for a library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The library that is used.
    pub runtime: Option<Runtime>,
    /// Folders that were looked through, in order.
    pub looked: Vec<PathBuf>,
    /// Libraries that were found and do not fit, each with its reason.
    pub unfit: Vec<String>,
}

/// Loads the library that is wanted. One that was named and cannot be used is an error; where any will do, none at all is no error.
pub fn open(wanted: &Wanted, host: &Host) -> Result<Search, RuntimeError> {
    match wanted {
        Wanted::Off => Ok(Search::default()),
        Wanted::At(path) => Ok(Search { runtime: Some(Runtime::load(find::named(path)?, host)?), ..Search::default() }),
        Wanted::Any => {
            let mut search = Search { looked: find::folders(), ..Search::default() };
            for path in search.looked.iter().flat_map(|folder| find::libraries(folder)) {
                match Runtime::load(path.clone(), host) {
                    Ok(runtime) => {
                        search.runtime = Some(runtime);
                        break;
                    }
                    Err(error) => {
                        let error = error.to_string();
                        let name = path.display().to_string();
                        search.unfit.push(if error.contains(&name) { error } else { format!("{name}: {error}") });
                    }
                }
            }
            Ok(search)
        }
    }
}

/// Why ONNX Runtime cannot be used, or cannot run a file.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// No such file.
    #[error("{}: there is no ONNX Runtime library here", path.display())]
    Missing {
        /// As named.
        path: PathBuf,
    },
    /// Not a library, or one of something else.
    #[error("{}: this is not an ONNX Runtime library: {reason}", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// From the system.
        reason: String,
    },
    /// Too old.
    #[error("{}: this is ONNX Runtime {version}; 1.{OLDEST} or newer is needed", path.display())]
    Old {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// Another library serves this process.
    #[error("{}: {} is loaded already, and a process can have one", path.display(), loaded.display())]
    Another {
        /// The file.
        path: PathBuf,
        /// The one in use.
        loaded: PathBuf,
    },
    /// It does not start.
    #[error("{}: ONNX Runtime does not start: {reason}", path.display())]
    Start {
        /// The file.
        path: PathBuf,
        /// Its own words.
        reason: String,
    },
    /// The library that was asked for is not loaded.
    #[error("no ONNX Runtime library is loaded")]
    NotLoaded,
    /// It has no provider for NVIDIA cards.
    #[error("{}: this {runtime} computes on the processor only", path.display())]
    NoCuda {
        /// Its name.
        runtime: String,
        /// Its file.
        path: PathBuf,
    },
    /// It has one, which does not start.
    #[error("ONNX Runtime cannot use CUDA device {ordinal}: {reason}")]
    Cuda {
        /// As asked for.
        ordinal: usize,
        /// Its own words.
        reason: String,
    },
    /// The process that should load it cannot be started, or is of another program.
    #[error("{} cannot run ONNX Runtime: {reason}", program.display())]
    Worker {
        /// The worker.
        program: PathBuf,
        /// From the system.
        reason: String,
    },
    /// The process that it ran in has ended.
    #[error("ONNX Runtime {how} {doing}{said}", said = said.as_ref().map(|said| format!("; it said: {said}")).unwrap_or_default())]
    Ended {
        /// `crashed (signal 11)`.
        how: String,
        /// `while it loaded the model`.
        doing: String,
        /// The last that it said.
        said: Option<String>,
    },
    /// It was ended because it gave no answer.
    #[error("ONNX Runtime gave no answer in {seconds} s {doing}, and was ended")]
    Late {
        /// `while it loaded the model`.
        doing: String,
        /// The limit.
        seconds: u64,
    },
    /// It refuses a file.
    #[error("ONNX Runtime refuses the model: {reason}")]
    Refused {
        /// Its own words.
        reason: String,
    },
    /// It fails on an input.
    #[error("ONNX Runtime fails on a batch: {reason}")]
    Run {
        /// Its own words, or what is wrong with what it gave.
        reason: String,
    },
}

impl Explain for RuntimeError {
    fn class(&self) -> Class {
        match self {
            // The user named what cannot be used.
            Self::Missing { .. } | Self::NotALibrary { .. } | Self::Old { .. } | Self::NoCuda { .. } | Self::Cuda { .. } => Class::Usage,
            _ => Class::Fault,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Missing { .. } | Self::NotALibrary { .. } | Self::Old { .. } => Some(
                "`pip install onnxruntime` brings one (onnxruntime/capi/libonnxruntime.so.* in its folder); `--ort-lib off` does without",
            ),
            Self::Start { .. } | Self::Another { .. } => Some("name another library with --ort-lib, or do without: `--ort-lib off`"),
            Self::NoCuda { .. } => Some(
                "`pip install onnxruntime-gpu` brings one that computes on NVIDIA cards; --device auto lets this one compute on the processor",
            ),
            Self::Cuda { .. } => Some("it needs CUDA and cuDNN libraries of its own; --device auto lets it compute on the processor"),
            Self::Ended { how, .. } if how.contains("memory") => Some("give it more memory, or leave ONNX Runtime out: `--ort-lib off`"),
            Self::Ended { .. } => {
                Some("another version of ONNX Runtime may not do so (--ort-lib names one); `--ort-lib off` leaves it out")
            }
            Self::Late { .. } => Some("give it longer with --ort-timeout, or leave ONNX Runtime out: `--ort-lib off`"),
            Self::Worker { .. } => Some("`--ort-lib off` leaves ONNX Runtime out"),
            Self::NotLoaded | Self::Refused { .. } | Self::Run { .. } => None,
        }
    }
}

impl RuntimeError {
    /// Whether its process came to an end that nobody asked for. That is told as an error wherever it happens: what the library would have
    /// answered is not known, and another executor is no answer to that.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Late { .. } | Self::Worker { .. })
    }

    /// Whether it says that the file breaks the rules of ONNX, and not that this library cannot run it.
    pub(crate) fn is_invalid_file(&self) -> bool {
        let says = |reason: &str| ["invalid model", "Mismatched attribute type"].iter().any(|words| reason.contains(words));
        matches!(self, Self::Refused { reason } if says(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Provider, Runtime, RuntimeError};
    use crate::diag::{Class, Explain};

    /// As ONNX Runtime 1.32.0 puts it.
    #[test]
    fn an_invalid_file_is_told_from_one_that_cannot_be_run() {
        let refused = |reason: &str| RuntimeError::Refused { reason: reason.into() };
        let mismatch = "This is an invalid model. In Node, (\"\", MaxPool, \"\", -1) : (\"c\": tensor(float),) -> (\"m\",) , Error Mismatched \
                        attribute type in ' : strides'. Expected: 'INTS', actual: 'INT'";
        assert!(refused(mismatch).is_invalid_file());
        for other in [
            "Fatal error: com.example:Rope(-1) is not a registered function/op",
            "Unsupported model IR version: 99, max supported IR version: 13",
            "Could not find an implementation for Round(11) node with name 'r'",
        ] {
            assert!(!refused(other).is_invalid_file(), "{other}");
        }
        assert!(!RuntimeError::Run { reason: "invalid model".into() }.is_invalid_file());
    }

    #[test]
    fn names_tell_providers_apart() {
        let runtime = |provider| Runtime { version: "1.32.0".into(), path: "lib.so".into(), provider, place: Place::Here };
        assert_eq!(runtime(Provider::Cpu).name(), "ONNX Runtime 1.32.0");
        assert_eq!(runtime(Provider::Cuda(1)).name(), "ONNX Runtime 1.32.0 on CUDA");
    }

    #[test]
    fn what_a_library_cannot_do_on_a_card_is_said_with_what_to_do() {
        let lacking = RuntimeError::NoCuda { runtime: "ONNX Runtime 1.32.0".into(), path: "lib.so".into() };
        assert_eq!(lacking.to_string(), "lib.so: this ONNX Runtime 1.32.0 computes on the processor only");
        let broken = RuntimeError::Cuda { ordinal: 0, reason: "libcudnn.so.9: cannot open shared object file".into() };
        for error in [lacking, broken] {
            assert!(error.class() == Class::Usage && error.hint().is_some_and(|hint| hint.contains("--device auto")));
        }
    }
}
