//! Signatures of reports: a DSSE envelope over an in-toto statement, in a Sigstore bundle, as `model_signing` and `cosign` lay it out.
//!
//! A report can be judged again, so that most edits show. What the measurements do not hold (who certified, when, on which machine, and whether anything
//! was measured at all) is held by a signature alone. Keys are ECDSA P-256, what the tools of model signing
//! take, or Ed25519.

mod dsse;
mod error;
mod key;
mod statement;

use std::path::Path;

use crate::report::{ReadError, Report, SIGNATURE_FILE};
use crate::store::Digest;

pub use dsse::Bundle;
pub use error::SignError;
pub use key::{PrivateKey, PublicKey};
pub use statement::{PREDICATE, Statement, Subject};

/// Most bytes of a signature file that are read.
const MOST: u64 = 4 << 20;

/// Most bytes of a file that a report names, and that is signed with it.
const MOST_FILE: u64 = 1 << 30;

/// The statement about the report at `path` (the file, or its folder): its files and the model's by SHA-256, and what was found. The measurements must be
/// those that the report was written with.
pub fn statement(path: &Path) -> Result<Statement, SignError> {
    let (report, bytes) = Report::read_bytes(path)?;
    let file = Report::file_of(path);
    let digest_of = |name: &str| {
        let path = file.with_file_name(name);
        let read = crate::store::read(&path, MOST_FILE).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        Ok::<_, ReadError>(Digest::of(&read))
    };
    report.read_measurements(path)?;
    let mut subjects = vec![Subject::of(&name_of(&file), &Digest::of(&bytes))];
    if let Some(sidecar) = &report.measurements {
        subjects.push(Subject::of(&sidecar.file, &digest_of(&sidecar.file)?));
    }
    for sheet in report.sheet_names() {
        subjects.push(Subject::of(sheet, &digest_of(sheet)?));
    }
    Ok(Statement::of(&report, subjects).ok_or(ReadError::Earlier { path: file })?)
}

/// Signs the report at `path` and writes the bundle beside it.
pub fn sign(path: &Path, key: &PrivateKey) -> Result<(Bundle, std::path::PathBuf), SignError> {
    let statement = statement(path)?;
    let bundle = Bundle::sign(&statement, key)?;
    let place = Report::file_of(path).with_file_name(SIGNATURE_FILE);
    let bytes = bundle.to_json()?;
    crate::store::write_atomic(&place, &bytes).map_err(|source| SignError::Write { path: place.clone(), source })?;
    Ok((bundle, place))
}

/// Reads a bundle, or a bare envelope.
pub fn read(path: &Path) -> Result<Bundle, SignError> {
    let bytes = crate::store::read(path, MOST).map_err(|source| match source.kind() {
        std::io::ErrorKind::FileTooLarge => SignError::TooLarge { path: path.to_owned(), most: MOST },
        _ => SignError::Read { path: path.to_owned(), source },
    })?;
    Bundle::parse(&bytes, path)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
