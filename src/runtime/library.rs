//! Loads a library, once its version is known to fit.
#![allow(unsafe_code)] // loading a library and asking its version cannot be done otherwise

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::{OLDEST, RuntimeError};

/// The library that serves this process, once there is one.
static LOADED: OnceLock<(Environment, PathBuf)> = OnceLock::new();

/// One at a time: of two loads at once one would be refused.
static LOADING: Mutex<()> = Mutex::new(());

/// The environment of the loaded library.
pub(super) fn environment() -> Result<&'static Environment, RuntimeError> {
    LOADED.get().map(|(environment, _)| environment).ok_or(RuntimeError::NotLoaded)
}

/// Loads the library at an absolute path, or says that it is loaded. Gives its version.
pub(super) fn load(path: &Path) -> Result<String, RuntimeError> {
    let _one = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let version = version(path)?;
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    if !matches!(parts[..], [1, minor, ..] if minor >= OLDEST) {
        return Err(RuntimeError::Old { path: path.to_owned(), version });
    }
    if let Some((_, loaded)) = LOADED.get() {
        if loaded == path {
            return Ok(version);
        }
        return Err(RuntimeError::Another { path: path.to_owned(), loaded: loaded.clone() });
    }
    let start = |reason: String| RuntimeError::Start { path: path.to_owned(), reason };
    let builder = ort::init_from(path).map_err(|error| start(error.to_string()))?;
    // Its own logger writes to stderr, where only `cli` does.
    let log = |level: LogLevel, _: &str, _: &str, place: &str, message: &str| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(place, "{message}"),
        _ => tracing::trace!(place, "{message}"),
    };
    let environment = builder.with_telemetry(false).with_logger(Arc::new(log)).build().map_err(|error| start(error.to_string()))?;
    environment.set_log_level(LogLevel::Error);
    LOADED.get_or_init(|| (environment, path.to_owned()));
    Ok(version)
}

/// What a library says its version is.
fn version(path: &Path) -> Result<String, RuntimeError> {
    let other = |reason: String| RuntimeError::NotALibrary { path: path.to_owned(), reason };
    // SAFETY: loading runs the library's initialisers. It is a file that the user named, or one where the system keeps libraries.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| other(error.to_string()))?;
    // SAFETY: this is the type of that function in every release of ONNX Runtime.
    let base = unsafe { library.get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") }
        .map_err(|_| other("it has no `OrtGetApiBase`".into()))?;
    // SAFETY: it takes nothing, and what it points to lives as long as the library, which is still loaded here.
    let text = unsafe { base().as_ref().map(|base| CStr::from_ptr((base.GetVersionString)())) };
    let text = text.and_then(|text| text.to_str().ok()).ok_or_else(|| other("it does not say its version".into()))?;
    Ok(text.to_owned())
}
