//! A report on the disk: every format, each file whole or not there.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::error::WriteError;
use super::format::{Format, Made};
use super::formats::{Chosen, files};
use super::{Incomplete, MEASUREMENTS_FILE, Material, Picture, Report, SIGNATURE_FILE, Sheet, Sidecar};
use crate::probe::Measurement;
use crate::store::{Digest, Staged, remove_if_there, stage};

/// [`Chosen::begin`] with the usual formats.
pub fn begin(incomplete: &Incomplete, folder: &Path) -> Result<(), WriteError> {
    Chosen::default().begin(incomplete, folder)
}

/// [`Chosen::write_incomplete`] with the usual formats.
pub fn write_incomplete(incomplete: &Incomplete, folder: &Path) -> Result<(), WriteError> {
    Chosen::default().write_incomplete(incomplete, folder)
}

/// [`Chosen::write_all`] with the usual formats.
pub fn write_all(report: &Report, measurements: &[Measurement], sheets: &[Sheet], folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
    Chosen::default().write_all(report, measurements, sheets, folder)
}

impl Chosen {
    /// Marks a folder, which is created if need be, as that of a run that has begun: no earlier report can be taken for its own, whatever
    /// ends it. Earlier files of any format are removed first, which a full disk allows too; then the mark is written in these formats.
    pub fn begin(&self, incomplete: &Incomplete, folder: &Path) -> Result<(), WriteError> {
        if folder.exists() && !folder.is_dir() {
            return Err(WriteError::NotAFolder { path: folder.to_owned() });
        }
        // Images are no verdict, and those of another run are misread all the same.
        let sheets = Report::read(folder).map(|report| report.sheets).unwrap_or_default();
        let sheets = sheets.into_iter().filter(|name| Sheet::is_name(name));
        // What cannot be removed keeps none of the others.
        let remove = |name: String| {
            let path = folder.join(name);
            remove_if_there(&path).map_err(|source| WriteError::Io { path, source })
        };
        // A signature is of the report that it was made for.
        let named = files().chain([SIGNATURE_FILE]).map(str::to_owned);
        let removed: Vec<Result<(), WriteError>> = named.chain(sheets).map(remove).collect();
        let written = self.write_incomplete(incomplete, folder);
        removed.into_iter().collect::<Result<(), _>>().and(written)
    }

    /// Writes what stands in the place of a report without a verdict, in these formats. The folder is created if need be.
    pub fn write_incomplete(&self, incomplete: &Incomplete, folder: &Path) -> Result<(), WriteError> {
        // Each by itself: one that cannot be written must not leave an earlier verdict in the others.
        let one = |format: &Format| match (format.incomplete)(incomplete)? {
            Made::File(bytes) => write(vec![(format.file.to_owned(), bytes)], folder).map(drop),
            Made::Nothing(_) => Ok(()),
        };
        let written: Vec<Result<(), WriteError>> = self.all().map(one).collect();
        written.into_iter().collect()
    }

    /// Writes the measurements, the sheets of images and a report in these formats into a folder, which is
    /// created if need be. None is changed unless all could be written: a full disk leaves there what [`Chosen::begin`] wrote. The report
    /// names the measurements by digest. A format that has no file for this report is left out.
    pub fn write_all(
        &self,
        report: &Report,
        measurements: &[Measurement],
        sheets: &[Sheet],
        folder: &Path,
    ) -> Result<Vec<PathBuf>, WriteError> {
        let (sidecar, packed) = pack(measurements)?;
        // It is of another report than the one that is written here.
        let signature = folder.join(SIGNATURE_FILE);
        remove_if_there(&signature).map_err(|source| WriteError::Io { path: signature, source })?;
        let report = Report { measurements: Some(sidecar), sheets: sheets.iter().map(Sheet::file).collect(), ..report.clone() };
        let picture = |sheet: &Sheet| Ok(Picture { file: sheet.file(), png: sheet.png()? });
        let pictures = sheets.iter().map(picture).collect::<Result<Vec<_>, WriteError>>()?;
        let material = Material { report: &report, measurements: Some(measurements), pictures: &pictures };
        let mut files = vec![(MEASUREMENTS_FILE.to_owned(), packed)];
        let mut rendered = Vec::new();
        for format in self.all() {
            if let Made::File(bytes) = (format.report)(&material)? {
                rendered.push((format.file.to_owned(), bytes));
            }
        }
        files.extend(pictures.into_iter().map(|picture| (picture.file, picture.png)));
        files.extend(rendered);
        write(files, folder)
    }
}

/// Writes all files beside their places, and then puts each into its own.
fn write(files: Vec<(String, Vec<u8>)>, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::Io { path, source }
    };
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

/// The measurements as compressed JSON, and how the report links to them. No time stamp enters: equal outcomes give
/// equal bytes.
fn pack(measurements: &[Measurement]) -> Result<(Sidecar, Vec<u8>), WriteError> {
    let plain = serde_json::to_vec(measurements)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    let sidecar =
        |bytes: &[u8]| Sidecar { file: MEASUREMENTS_FILE.to_owned(), digest: Digest::of(&plain), stored: Some(Digest::of(bytes)) };
    packed.map(|bytes| (sidecar(&bytes), bytes)).map_err(|source| WriteError::Io { path: MEASUREMENTS_FILE.into(), source })
}

#[cfg(test)]
mod tests {
    use super::{begin, write_all, write_incomplete};
    use crate::report::{Report, samples};

    #[test]
    fn every_file_is_written_and_equal_runs_give_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("deep/one"), folder.path().join("two"));
        let names = |files: Vec<std::path::PathBuf>| -> Vec<String> {
            files.iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        let first = names(write_all(&samples::fail(), &samples::measurements(), &[], &one).unwrap());
        assert_eq!(first, ["measurements.json.gz", "junit.xml", "summary.md", "report.html", "badge.json", "report.json"]);
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
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6 + 1);
    }

    #[test]
    fn nothing_of_an_earlier_report_outlives_the_beginning_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_all(&samples::fail(), &samples::measurements(), &[], folder.path()).unwrap();
        std::fs::create_dir(at("pictures")).unwrap();
        for name in ["pictures/square.png", "pictures/mine.png", "notes.txt"] {
            std::fs::write(at(name), "x").unwrap();
        }
        let mut earlier = Report::read(folder.path()).unwrap();
        earlier.sheets = ["pictures/square.png", "notes.txt", "../notes.txt", "pictures/../notes.txt"].map(str::to_owned).to_vec();
        std::fs::write(at("report.json"), crate::report::json::render(&earlier).unwrap()).unwrap();
        let [unfinished, failed, _] = samples::incomplete().try_into().unwrap();
        begin(&unfinished, folder.path()).unwrap();
        for name in ["junit.xml", "summary.md", "report.html", "report.json"] {
            assert!(std::fs::read_to_string(at(name)).unwrap().contains("is not finished"), "{name}");
        }
        assert!(!at("measurements.json.gz").exists() && !at("pictures/square.png").exists());
        assert!(at("pictures/mine.png").exists() && at("notes.txt").exists());
        write_incomplete(&failed, folder.path()).unwrap();
        for name in ["junit.xml", "summary.md", "report.html", "report.json"] {
            let text = std::fs::read_to_string(at(name)).unwrap();
            assert!(text.contains("policy.yaml: 2 mistakes") && !text.contains("is not finished"), "{name}");
        }
        write_all(&samples::pass(), &[], &[], folder.path()).unwrap();
        assert_eq!(Report::read(folder.path()).unwrap().exit_code, 0);
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
