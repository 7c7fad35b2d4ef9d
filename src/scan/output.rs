//! What a scan leaves for people and pipelines, all made of `scan.json`.

mod badge;
mod html;
mod junit;
pub(super) mod nights;
mod sarif;
mod summary;
pub mod text;

use std::path::Path;

pub(super) use nights::Night;

use super::results::{SCHEMA, Scan};
use super::state::write as put;
use super::{ScanError, Written};
use crate::gate::ExitCode;
use crate::store;

/// The files that a scan writes; the one with everything comes last, so that where it is, all are.
pub const FILES: [&str; 6] = ["index.html", "summary.md", "junit.xml", "scan.sarif", "badge.json", SCAN];
const SCAN: &str = "scan.json";
const LAST: &str = "last.json";
/// Most bytes of a scan that are read.
const MOST: u64 = 1 << 30;

/// Puts the last scan aside and removes what was made of it. One that was interrupted is no night to compare with.
pub(super) fn begin(folder: &Path) -> Written {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ScanError::Write { path, source }
    };
    let (scan, last) = (folder.join(SCAN), folder.join(LAST));
    match read(&scan)? {
        Some(Ok(read)) if !is_interrupted(&read) => store::rename_if_there(&scan, &last).map_err(failed(&scan))?,
        _ => store::remove_if_there(&scan).map_err(failed(&scan))?,
    }
    for name in FILES {
        let path = folder.join(name);
        store::remove_if_there(&path).map_err(failed(&path))?;
    }
    Ok(())
}

/// The last scan that came to its end, if there is one that can be read.
pub(super) fn last(folder: &Path) -> Result<Option<Scan>, ScanError> {
    for name in [SCAN, LAST] {
        if let Some(Ok(scan)) = read(&folder.join(name))?
            && !is_interrupted(&scan)
        {
            return Ok(Some(scan));
        }
    }
    Ok(None)
}

fn is_interrupted(scan: &Scan) -> bool {
    scan.exit_code == i32::from(ExitCode::Interrupted.code())
}

/// A scan; none where there is no file, an error where it is of a later release.
fn read(path: &Path) -> Result<Option<Result<Scan, serde_json::Error>>, ScanError> {
    #[derive(serde::Deserialize)]
    struct Version {
        schema: u32,
    }
    let bytes = match store::read(path, MOST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ScanError::Read { path: path.to_owned(), source }),
    };
    match serde_json::from_slice::<Version>(&bytes) {
        Ok(Version { schema }) if schema > SCHEMA => Err(ScanError::Newer { path: path.to_owned(), found: schema }),
        _ => Ok(Some(serde_json::from_slice(&bytes))),
    }
}

/// Writes all of [`FILES`].
pub(super) fn write(scan: &Scan, folder: &Path) -> Written {
    let nights = nights::with(scan, folder);
    let files = render_all(scan, &nights, folder)?;
    if !is_interrupted(scan) {
        nights::keep(&nights, folder)?;
    }
    files.into_iter().try_for_each(|(name, bytes)| put(&folder.join(name), &bytes))
}

/// All of [`FILES`], by their names.
pub(super) fn render_all(scan: &Scan, nights: &[Night], folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, ScanError> {
    let junit = junit::render(scan).map_err(|source| ScanError::Write { path: folder.join("junit.xml"), source })?;
    let all = [
        html::render(scan, nights, folder).into_bytes(),
        summary::render(scan).into_bytes(),
        junit,
        sarif::render(scan)?.into_bytes(),
        badge::render(scan)?.into_bytes(),
        render(scan)?.into_bytes(),
    ];
    Ok(FILES.into_iter().zip(all).collect())
}

/// A scan as its file has it.
fn render(scan: &Scan) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(scan)? + "\n")
}

/// The file of a model's report that people look at first, from the folder of the scan.
fn report_link(report: &str, folder: &Path) -> String {
    let names = ["report.html", "summary.md"];
    let found = names.iter().find(|name| folder.join(report).join(name).is_file()).unwrap_or(&"report.json");
    format!("{report}/{found}")
}

#[cfg(test)]
/// The JSON Schema of `scan.json` (`docs/scan.schema.json`).
pub(super) fn schema() -> String {
    let mut schema = schemars::schema_for!(Scan);
    schema.insert("title".to_owned(), "heirloom scan, version 1".into());
    serde_json::to_string_pretty(schema.as_value()).unwrap_or_default() + "\n"
}
