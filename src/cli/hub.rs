//! Models on servers on the command line: `hf://OWNER/NAME`, `s3://BUCKET/KEY`.

use std::path::{Path, PathBuf};

use super::failure::{Broken, Failure};
use super::output::Output;
use super::progress::Progress;
use super::{interrupt, machine};
use heirloom::source::{self, Access, AccessError, Address, is_address};

/// Which hub is meant, and with which token, as the environment says.
pub(super) fn access() -> Result<Access, AccessError> {
    Access::from_environment(|name| std::env::var(name).ok())
}

/// A model argument: a file or folder that must exist, or a model on a server.
pub(super) fn model(text: &str) -> Result<PathBuf, String> {
    if is_address(text) { Address::parse(text).map(|_| text.into()) } else { super::existing(text) }
}

/// Where a model is that a command names.
#[derive(Debug)]
pub(super) struct Here {
    /// Its file or folder.
    pub path: PathBuf,
    /// What it is called on its server: `hf://OWNER/NAME@COMMIT/FILE`.
    pub address: Option<String>,
    /// Where nothing is kept, the folder that holds it as long as the command runs.
    _held: Option<tempfile::TempDir>,
}

/// The model that an argument means. One on a server is fetched into the cache folder, where it is found the next time.
pub(super) fn here(named: &Path, cache: Option<&Path>, out: &Output) -> Result<Here, Failure> {
    let text = named.to_string_lossy();
    if !is_address(&text) {
        return Ok(Here { path: named.to_owned(), address: None, _held: None });
    }
    let address = Address::parse(&text).map_err(super::failure::Usage)?;
    let (folder, held) = if let Some(folder) = machine::cache_folder(cache) {
        (folder.join("hub"), None)
    } else {
        let held = tempfile::tempdir().map_err(Broken::on("cannot make a folder for the model"))?;
        (held.path().to_owned(), Some(held))
    };
    let mut progress = Progress::new(out);
    let fetched = source::fetch(&address, &access()?, &folder, &interrupt::requested, &mut |event| progress.handle(&event))?;
    Ok(Here { path: fetched.path, address: Some(fetched.address), _held: held })
}
