//! ONNX Runtime, where its library is found: frozen networks are run by it as their files say.
//!
//! The library is not part of the program and is never downloaded. `find` knows where to look, `library` loads one and asks its
//! version, `session` runs one file. One library serves the whole process.

mod find;
mod library;
mod session;

use std::path::PathBuf;

use ort::ep::ExecutionProvider;
use thiserror::Error;

pub use session::{Output, Session};

/// The oldest minor version of ONNX Runtime 1 that this program can talk to.
pub const OLDEST: u32 = ort::MINOR_VERSION;

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

/// What a library computes on: one of its execution providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// The processor, which every library has.
    #[default]
    Cpu,
    /// An NVIDIA card by its number.
    Cuda(usize),
}

/// A library that was loaded and fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Its version: `1.32.0`.
    pub version: String,
    /// Its file.
    pub path: PathBuf,
    /// What its sessions compute on.
    pub provider: Provider,
}

impl Runtime {
    /// For people, and for keys: `ONNX Runtime 1.32.0`, or `ONNX Runtime 1.32.0 on CUDA`.
    pub fn name(&self) -> String {
        let on = if self.provider == Provider::Cpu { "" } else { " on CUDA" };
        format!("ONNX Runtime {}{on}", self.version)
    }

    /// The same library on the NVIDIA card of that number. [`RuntimeError::NoCuda`] where it was built for the processor only,
    /// [`RuntimeError::Cuda`] where it lacks the card or other libraries.
    pub fn on_cuda(&self, ordinal: usize) -> Result<Self, RuntimeError> {
        library::environment()?;
        if !ort::ep::CUDA::is_available().unwrap_or(false) {
            return Err(RuntimeError::NoCuda { runtime: self.name(), path: self.path.clone() });
        }
        let provider = Provider::Cuda(ordinal);
        session::start(provider)?;
        Ok(Self { provider, ..self.clone() })
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
pub fn open(wanted: &Wanted) -> Result<Search, RuntimeError> {
    match wanted {
        Wanted::Off => Ok(Search::default()),
        Wanted::At(path) => Ok(Search { runtime: Some(library::load(&find::named(path)?)?), ..Search::default() }),
        Wanted::Any => {
            let mut search = Search { looked: find::folders(), ..Search::default() };
            for path in search.looked.iter().flat_map(|folder| find::libraries(folder)) {
                match library::load(&path) {
                    Ok(runtime) => {
                        search.runtime = Some(runtime);
                        break;
                    }
                    Err(error) => search.unfit.push(error.to_string()),
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

impl RuntimeError {
    /// What to do about it, where the message does not say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } | Self::NotALibrary { .. } | Self::Old { .. } => Some(
                "`pip install onnxruntime` brings one (onnxruntime/capi/libonnxruntime.so.* in its folder); `--ort-lib off` does without",
            ),
            Self::Start { .. } | Self::Another { .. } => Some("name another library with --ort-lib, or do without: `--ort-lib off`"),
            Self::NoCuda { .. } => Some(
                "`pip install onnxruntime-gpu` brings one that computes on NVIDIA cards; --device auto lets this one compute on the processor",
            ),
            Self::Cuda { .. } => Some("it needs CUDA and cuDNN libraries of its own; --device auto lets it compute on the processor"),
            Self::NotLoaded | Self::Refused { .. } | Self::Run { .. } => None,
        }
    }

    /// Whether the user named what cannot be used.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::NotALibrary { .. } | Self::Old { .. } | Self::NoCuda { .. } | Self::Cuda { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::{Provider, Runtime, RuntimeError};

    #[test]
    fn names_tell_providers_apart() {
        let runtime = |provider| Runtime { version: "1.32.0".into(), path: "lib.so".into(), provider };
        assert_eq!(runtime(Provider::Cpu).name(), "ONNX Runtime 1.32.0");
        assert_eq!(runtime(Provider::Cuda(1)).name(), "ONNX Runtime 1.32.0 on CUDA");
    }

    #[test]
    fn what_a_library_cannot_do_on_a_card_is_said_with_what_to_do() {
        let lacking = RuntimeError::NoCuda { runtime: "ONNX Runtime 1.32.0".into(), path: "lib.so".into() };
        assert_eq!(lacking.to_string(), "lib.so: this ONNX Runtime 1.32.0 computes on the processor only");
        let broken = RuntimeError::Cuda { ordinal: 0, reason: "libcudnn.so.9: cannot open shared object file".into() };
        for error in [lacking, broken] {
            assert!(error.is_usage() && error.hint().is_some_and(|hint| hint.contains("--device auto")));
        }
    }
}
