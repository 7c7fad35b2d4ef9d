//! A report on the disk: every format, each file whole or not there.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{MEASUREMENTS_FILE, Report, Sheet, Sidecar, json, junit, summary, text};
use crate::probe::Measurement;
use crate::store::{Digest, Staged, stage};

/// Writes `measurements.json.gz`, the sheets of pictures, `junit.xml`, `summary.md` and `report.json` into a folder, which is
/// created if need be. None is changed unless all could be written: a full disk leaves an earlier report as it was. The report names
/// the measurements by digest; it comes last, so that one that is there is complete.
pub fn write_all(report: &Report, measurements: &[Measurement], sheets: &[Sheet], folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::Io { path, source }
    };
    let (sidecar, packed) = pack(measurements)?;
    let report = Report { measurements: Some(sidecar), pictures: sheets.iter().map(Sheet::file).collect(), ..report.clone() };
    let mut files = vec![(MEASUREMENTS_FILE.to_owned(), packed)];
    for sheet in sheets {
        files.push((sheet.file(), sheet.png()?));
    }
    files.push(("junit.xml".to_owned(), junit::render(&report)?));
    files.push(("summary.md".to_owned(), summary::render(&report).into_bytes()));
    files.push(("report.json".to_owned(), json::render(&report)?.into_bytes()));
    if folder.exists() && !folder.is_dir() {
        return Err(WriteError::NotAFolder { path: folder.to_owned() });
    }
    let stage = |(name, bytes): (String, Vec<u8>)| {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(failed(parent))?;
        Ok((stage(&path, &bytes).map_err(failed(&path))?, path))
    };
    let staged = files.into_iter().map(stage).collect::<Result<Vec<_>, WriteError>>()?;
    let commit = |(file, path): (Staged, PathBuf)| {
        file.commit().map_err(failed(&path))?;
        Ok(path)
    };
    staged.into_iter().map(commit).collect()
}

/// Writes `junit.xml` and `summary.md` of a certification of `model` that could not begin, and removes the other files of an earlier report.
pub fn write_failure(model: &str, message: &str, folder: &Path) -> Result<(), WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::Io { path, source }
    };
    let summary = format!("## heirloom: ⚠️ ERROR\n\n{} was not certified: {}\n", text::escape(model), text::escape(message));
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, bytes) in [("junit.xml", junit::failure(model, message)?), ("summary.md", summary.into_bytes())] {
        let path = folder.join(name);
        stage(&path, &bytes).and_then(Staged::commit).map_err(failed(&path))?;
    }
    for name in ["report.json", MEASUREMENTS_FILE] {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// The measurements as compressed JSON, and how the report links to them. No time stamp enters: equal outcomes give
/// equal bytes.
fn pack(measurements: &[Measurement]) -> Result<(Sidecar, Vec<u8>), WriteError> {
    let plain = serde_json::to_vec(measurements)?;
    let sidecar = Sidecar { file: MEASUREMENTS_FILE.to_owned(), digest: Digest::of(&plain) };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    packed.map(|bytes| (sidecar, bytes)).map_err(|source| WriteError::Io { path: MEASUREMENTS_FILE.into(), source })
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A sheet of pictures could not be encoded.
    #[error("cannot encode the sample pictures: {0}")]
    Picture(#[from] image::ImageError),
    /// A file where the folder should be.
    #[error("{} is not a folder: reports are written into a folder, name another with --output", path.display())]
    NotAFolder {
        /// What is there.
        path: PathBuf,
    },
    /// JSON could not be built.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// XML could not be built.
    #[error("cannot write the report as JUnit XML: {0}")]
    Junit(#[from] junit_report::Error),
}

impl WriteError {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        let Self::Io { source, .. } = self else { return None };
        Some(match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "free some space, or name a folder on another disk with --output"
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "name a folder that you may write to with --output",
            _ => "name another folder with --output",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::write_all;
    use crate::report::{Report, samples};

    #[test]
    fn every_file_is_written_and_equal_runs_give_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("deep/one"), folder.path().join("two"));
        let names = |files: Vec<std::path::PathBuf>| -> Vec<String> {
            files.iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        let first = names(write_all(&samples::fail(), &samples::measurements(), &[], &one).unwrap());
        assert_eq!(first, ["measurements.json.gz", "junit.xml", "summary.md", "report.json"]);
        write_all(&samples::fail(), &samples::measurements(), &[], &two).unwrap();
        for name in first {
            assert_eq!(std::fs::read(one.join(&name)).unwrap(), std::fs::read(two.join(&name)).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_file_is_no_folder_for_reports() {
        let folder = tempfile::tempdir().unwrap();
        write_all(&samples::fail(), &samples::measurements(), &[], folder.path()).unwrap();
        let before = std::fs::read(folder.path().join("report.json")).unwrap();
        let blocked = folder.path().join("file");
        std::fs::write(&blocked, "x").unwrap();
        assert!(matches!(write_all(&samples::fail(), &[], &[], &blocked), Err(super::WriteError::NotAFolder { .. })));
        assert_eq!(std::fs::read(folder.path().join("report.json")).unwrap(), before);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[test]
    fn it_reads_back_with_its_measurements() {
        let folder = tempfile::tempdir().unwrap();
        write_all(&samples::fail(), &samples::measurements(), &[], folder.path()).unwrap();
        let report = Report::read(folder.path()).unwrap();
        assert_eq!(report.findings, samples::fail().findings);
        assert_eq!(report.read_measurements(folder.path()).unwrap(), samples::measurements());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("taken");
        std::fs::write(&file, "").unwrap();
        let error = write_all(&samples::pass(), &[], &[], &file).unwrap_err().to_string();
        assert!(error.contains("taken") && error.contains("--output"), "{error}");
    }
}
