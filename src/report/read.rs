//! A report from the disk, to judge it again: nothing in it is believed before it is checked.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::{MEASUREMENTS_FILE, Report, SCHEMA, Sheet, Status};
use crate::diag::Explain;
use crate::model::preprocessing::MAX_SIDE;
use crate::probe::{Measurement, Outcome};
use crate::store::Digest;

/// Most bytes of a report that are read.
pub(super) const MOST_REPORT: u64 = 64 << 20;
/// Most bytes of measurements that are read, uncompressed.
const MOST_MEASUREMENTS: u64 = 1 << 30;

/// Most characters of a summary that a message quotes.
const LONGEST_SUMMARY: usize = 300;

/// Enough of a report to tell its version.
#[derive(Deserialize)]
struct Version {
    schema: Option<u32>,
    /// There where the file holds no verdict.
    status: Option<Status>,
    summary: Option<String>,
}

impl Report {
    /// Reads a report: `report.json`, or the folder that holds it.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let path = report_file(path);
        Self::parse(&read_at_most(&path, MOST_REPORT, |file| Box::new(file))?, &path)
    }

    /// The same, and the bytes of the file.
    pub(crate) fn read_bytes(path: &Path) -> Result<(Self, Vec<u8>), ReadError> {
        let path = report_file(path);
        let bytes = read_at_most(&path, MOST_REPORT, |file| Box::new(file))?;
        Ok((Self::parse(&bytes, &path)?, bytes))
    }

    /// The file of a report that is named by it or by its folder.
    pub fn file_of(path: &Path) -> PathBuf {
        report_file(path)
    }

    /// The sheets of images that it names, those alone that lie where sheets do.
    pub(crate) fn sheet_names(&self) -> impl Iterator<Item = &str> {
        self.sheets.iter().map(String::as_str).filter(|name| Sheet::is_name(name))
    }

    /// A report from the bytes of the file `path`.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, ReadError> {
        let path = path.to_owned();
        let invalid = |source: serde_json::Error| {
            // A number that is cut off is no number to the reader, and not its end.
            let cut = source.is_eof() || matches!(bytes.last(), Some(b'-' | b'+' | b'.' | b'e' | b'E'));
            if cut { ReadError::Truncated { path: path.clone() } } else { ReadError::Invalid { path: path.clone(), source } }
        };
        let version = serde_json::from_slice::<Version>(bytes).map_err(invalid)?;
        match version.schema {
            Some(SCHEMA) if version.status.is_some() => {
                let summary = version.summary.unwrap_or_default().chars().take(LONGEST_SUMMARY).collect();
                Err(ReadError::Incomplete { path, summary })
            }
            Some(SCHEMA) => {
                let report: Self = serde_json::from_slice(bytes).map_err(invalid)?;
                // The change of an attack is drawn at this size when the report is judged again.
                let sides = [report.model.input.height, report.model.input.width];
                if sides.iter().all(|side| (1..=MAX_SIDE).contains(side)) { Ok(report) } else { Err(ReadError::Size { path, sides }) }
            }
            Some(found) => Err(ReadError::Version { path, found }),
            None => Err(ReadError::NotAReport { path }),
        }
    }

    /// Reads the measurements beside a report read from `path` (as given to [`Report::read`]). Their bytes must have
    /// the digest that the report states, and their columns must fit together. Those of an earlier release are refused: what they are of
    /// is told in another way.
    pub fn read_measurements(&self, path: &Path) -> Result<Vec<Measurement>, ReadError> {
        let report = report_file(path);
        let sidecar = self.measurements.as_ref().ok_or_else(|| ReadError::NoMeasurements { path: report.clone() })?;
        let name = Path::new(&sidecar.file);
        if !matches!(name.components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
            return Err(ReadError::Outside { path: report, file: sidecar.file.clone() });
        }
        let path = report.with_file_name(name);
        if sidecar.digest.is_earlier() {
            return Err(ReadError::Earlier { path: report });
        }
        let bytes = read_at_most(&path, MOST_MEASUREMENTS, |file| Box::new(GzDecoder::new(file)))?;
        if Digest::of(&bytes) != sidecar.digest {
            return Err(ReadError::Digest { path, report });
        }
        Self::parse_measurements(&bytes, &path)
    }

    /// The measurements beside a report, whatever digests it states, and the digests that they have: unpacked, and as they are stored.
    pub(crate) fn measurements_beside(path: &Path) -> Result<(Vec<Measurement>, [Digest; 2]), ReadError> {
        let path = report_file(path).with_file_name(MEASUREMENTS_FILE);
        let stored = read_at_most(&path, MOST_MEASUREMENTS, |file| Box::new(file))?;
        let bytes = read_at_most(&path, MOST_MEASUREMENTS, |file| Box::new(GzDecoder::new(file)))?;
        Ok((Self::parse_measurements(&bytes, &path)?, [Digest::of(&bytes), Digest::of(&stored)]))
    }

    /// Measurements from the unpacked bytes of the file `path`.
    pub(crate) fn parse_measurements(bytes: &[u8], path: &Path) -> Result<Vec<Measurement>, ReadError> {
        let path = path.to_owned();
        let measurements: Vec<Measurement> =
            serde_json::from_slice(bytes).map_err(|source| ReadError::Invalid { path: path.clone(), source })?;
        if let Some((m, what)) = measurements.iter().find_map(|m| contradiction(m).map(|what| (m, what))) {
            return Err(ReadError::Contradiction { path, rule: m.rule.clone(), what });
        }
        // Which of two counts would depend on their order.
        let mut seen = BTreeSet::new();
        match measurements.iter().find(|m| !seen.insert((&m.rule, m.arm, m.mode))).map(|m| m.rule.clone()) {
            Some(rule) => Err(ReadError::Contradiction { path, rule, what: "it is there twice for one arm and mode" }),
            None => Ok(measurements),
        }
    }
}

pub(super) fn report_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("report.json") } else { path.to_owned() }
}

pub(super) fn read_at_most(path: &Path, most: u64, open: impl FnOnce(std::fs::File) -> Box<dyn Read>) -> Result<Vec<u8>, ReadError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => ReadError::Truncated { path: path.to_owned() },
        _ => ReadError::Io { path: path.to_owned(), source },
    };
    let file = crate::store::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    open(file).take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(ReadError::TooLarge { path: path.to_owned(), most });
    }
    Ok(bytes)
}

/// What in a measurement cannot be: columns of another length, classes that do not exist.
fn contradiction(m: &Measurement) -> Option<&'static str> {
    let images = m.images.len();
    let known = |column: &[u16]| column.iter().all(|&class| usize::from(class) < m.classes.len());
    let fits = |column: &[u16]| column.len() == images;
    // A probe that compares groups changes no image.
    let changed = |o: &&Outcome| m.attribute.is_none() || !o.changed.is_empty();
    let of_changes = || m.outcomes.iter().filter(changed).map(|o| &o.changed);
    let columns = || m.outcomes.iter().flat_map(|o| std::iter::once(&o.clean).chain(&o.shams)).chain(of_changes());
    if m.labels.len() != images || m.clusters.len() != images || !columns().all(|c| fits(c)) {
        return Some("its columns differ in length");
    }
    if !known(&m.labels) || !columns().all(|c| known(c)) {
        return Some("it names a class that is not in its list");
    }
    if m.outcomes.windows(2).any(|pair| matches!(pair, [a, b] if a.shams.len() != b.shams.len())) {
        return Some("its seeds differ in the number of shams");
    }
    let seeds: BTreeSet<_> = m.outcomes.iter().map(|o| o.seed).collect();
    if seeds.len() != m.outcomes.len() {
        return Some("it has two outcomes of one seed");
    }
    None
}

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file ends in the middle.
    #[error("{} ends early: it was cut off while it was copied; copy it again", path.display())]
    Truncated {
        /// Which file.
        path: PathBuf,
    },
    /// The file is beyond all that this program writes.
    #[error("{} holds more than {} MiB: heirloom writes no report of that size", path.display(), most >> 20)]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Most bytes that are read.
        most: u64,
    },
    /// Not JSON, or not this layout.
    #[error("{} is not a heirloom report: {source}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// JSON of something else.
    #[error("{} is not a heirloom report: it has no `schema`; give the report.json of a certification", path.display())]
    NotAReport {
        /// Which file.
        path: PathBuf,
    },
    /// A layout of another release.
    #[error("{} has report schema {found}, this heirloom reads {SCHEMA}: use the release that wrote it, or certify again", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A size that no model is loaded with.
    #[error("{} has images of {} x {} pixels: heirloom takes sides of 1 to {MAX_SIDE}", path.display(), sides[0], sides[1])]
    Size {
        /// Which file.
        path: PathBuf,
        /// Height and width it states.
        sides: [usize; 2],
    },
    /// A certification that did not end with a verdict.
    #[error("{} holds no verdict ({summary}): there is nothing to judge again", path.display())]
    Incomplete {
        /// Which file.
        path: PathBuf,
        /// What it says of itself.
        summary: String,
    },
    /// The report was never completed with measurements.
    #[error("{} names no measurements: it cannot be judged again; certify again", path.display())]
    NoMeasurements {
        /// The report.
        path: PathBuf,
    },
    /// The report points out of its own folder.
    #[error("{} names measurements outside its own folder ({file:?}): it was tampered with", path.display())]
    Outside {
        /// The report.
        path: PathBuf,
        /// What it names.
        file: String,
    },
    /// A report from before SHA-256.
    #[error(
        "{} is of an earlier release, which named measurements by BLAKE3: it can be read, but not judged again; certify again",
        path.display()
    )]
    Earlier {
        /// The report.
        path: PathBuf,
    },
    /// Report and measurements do not belong together.
    #[error("{} is not what {} was written with: keep the files of one certification together", path.display(), report.display())]
    Digest {
        /// The measurements.
        path: PathBuf,
        /// The report.
        report: PathBuf,
    },
    /// Measurements that cannot be.
    #[error("{}: the measurement of {rule:?} contradicts itself: {what}", path.display())]
    Contradiction {
        /// The measurements.
        path: PathBuf,
        /// Whose measurement.
        rule: String,
        /// What cannot be.
        what: &'static str,
    },
}

impl Explain for ReadError {
    fn hint(&self) -> Option<&str> {
        use std::io::ErrorKind;
        let again = Some("copy the folder of the certification again, or certify again");
        match self {
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::NotFound => Some("keep the files of one certification together: report.json and measurements.json.gz"),
                // What unpacking says of bytes that were never packed.
                ErrorKind::InvalidInput | ErrorKind::InvalidData => again,
                _ => None,
            },
            Self::Invalid { .. } => {
                Some("give the folder that `heirloom certify` wrote, or its report.json; where it is that, copy it again, or certify again")
            }
            Self::Outside { .. } | Self::Contradiction { .. } | Self::Size { .. } => {
                Some("certify again, and trust no report from this source")
            }
            Self::Incomplete { .. } => Some("certify again, and judge that report"),
            Self::TooLarge { .. } => Some("give the report.json of a certification"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::ReadError;
    use crate::report::{Report, samples, write_all, write_incomplete};

    fn written() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        write_all(&samples::fail(), &samples::measurements(), &[], folder.path()).unwrap();
        let (report, sidecar) = (folder.path().join("report.json"), folder.path().join("measurements.json.gz"));
        (folder, report, sidecar)
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Report::read("nowhere/report.json".as_ref()).unwrap_err();
        assert!(matches!(error, ReadError::Io { .. }) && error.to_string().contains("nowhere"), "{error}");
    }

    #[test]
    fn a_truncated_report() {
        let (_folder, report, _) = written();
        let bytes = std::fs::read(&report).unwrap();
        std::fs::write(&report, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(Report::read(&report), Err(ReadError::Truncated { .. })));
        std::fs::write(&report, "").unwrap();
        assert!(matches!(Report::read(&report), Err(ReadError::Truncated { .. })));
    }

    #[test]
    fn json_of_something_else() {
        let (_folder, report, _) = written();
        std::fs::write(&report, "{}").unwrap();
        assert!(matches!(Report::read(&report), Err(ReadError::NotAReport { .. })));
        std::fs::write(&report, "{\"schema\": 1}").unwrap();
        assert!(matches!(Report::read(&report), Err(ReadError::Invalid { .. })));
        std::fs::write(&report, [0xff, 0xfe, 0]).unwrap();
        assert!(matches!(Report::read(&report), Err(ReadError::Invalid { .. })));
    }

    #[test]
    fn a_report_of_a_later_release() {
        let (_folder, report, _) = written();
        std::fs::write(&report, "{\"schema\": 2, \"novel\": true}").unwrap();
        assert!(matches!(Report::read(&report), Err(ReadError::Version { found: 2, .. })));
    }

    #[test]
    fn what_has_no_verdict_is_refused() {
        let (_folder, report, _) = written();
        for incomplete in samples::incomplete() {
            write_incomplete(&incomplete, report.parent().unwrap()).unwrap();
            let error = Report::read(&report).unwrap_err();
            assert!(matches!(error, ReadError::Incomplete { .. }) && error.to_string().contains(&incomplete.summary), "{error}");
        }
    }

    #[test]
    fn deep_nesting_does_not_overflow() {
        let (_folder, report, _) = written();
        std::fs::write(&report, "[".repeat(100_000)).unwrap();
        assert!(Report::read(&report).is_err());
    }

    #[test]
    fn a_truncated_sidecar() {
        let (_folder, report, sidecar) = written();
        let bytes = std::fs::read(&sidecar).unwrap();
        std::fs::write(&sidecar, &bytes[..bytes.len() - 9]).unwrap();
        let error = Report::read(&report).unwrap().read_measurements(&report).unwrap_err();
        assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
    }

    #[test]
    fn a_sidecar_of_another_run() {
        let (_folder, report, _) = written();
        let first = Report::read(&report).unwrap();
        let mut others = samples::measurements();
        others[0].outcomes[0].changed[0] = 0;
        write_all(&samples::fail(), &others, &[], report.parent().unwrap()).unwrap();
        assert!(matches!(first.read_measurements(&report), Err(ReadError::Digest { .. })));
    }

    /// A report of a build before SHA-256: every digest in it bare.
    #[test]
    fn a_report_of_an_earlier_release_is_read_and_not_judged_again() {
        let (_folder, report, _) = written();
        let text = std::fs::read_to_string(&report).unwrap();
        std::fs::write(&report, text.replace("sha256:", "")).unwrap();
        let read = Report::read(&report).unwrap();
        assert!(read.model.identity.digest.is_earlier());
        let error = read.read_measurements(&report).unwrap_err();
        assert!(matches!(error, ReadError::Earlier { .. }) && error.to_string().ends_with("certify again"), "{error}");
    }

    #[test]
    fn a_sidecar_outside_the_folder() {
        for file in ["../measurements.json.gz", "/etc/passwd", "", ".", "a/b"] {
            let mut report = samples::fail();
            report.measurements.as_mut().unwrap().file = file.to_owned();
            assert!(matches!(report.read_measurements("report.json".as_ref()), Err(ReadError::Outside { .. })), "{file}");
        }
    }

    #[test]
    fn measurements_that_contradict_themselves() {
        type Change = fn(&mut crate::probe::Measurement);
        let changes: [Change; 6] = [
            |m| m.labels.truncate(1),
            |m| m.outcomes[1].clean.truncate(1),
            |m| m.outcomes[0].shams[0].push(0),
            |m| m.labels[0] = 2,
            |m| m.outcomes[1].shams.clear(),
            |m| m.outcomes[1].seed = m.outcomes[0].seed,
        ];
        for change in changes {
            let folder = tempfile::tempdir().unwrap();
            let mut measurements = samples::measurements();
            change(&mut measurements[0]);
            write_all(&samples::fail(), &measurements, &[], folder.path()).unwrap();
            let error = Report::read(folder.path()).unwrap().read_measurements(folder.path()).unwrap_err();
            assert!(matches!(error, ReadError::Contradiction { .. }), "{error}");
        }
    }

    #[test]
    fn one_measurement_twice_is_a_contradiction() {
        let folder = tempfile::tempdir().unwrap();
        let mut measurements = samples::measurements();
        measurements.extend(samples::measurements());
        write_all(&samples::fail(), &measurements, &[], folder.path()).unwrap();
        let error = Report::read(folder.path()).unwrap().read_measurements(folder.path()).unwrap_err();
        assert!(matches!(error, ReadError::Contradiction { .. }) && error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn images_of_a_size_that_no_model_has_are_refused() {
        for (height, width) in [(0, 32), (32, 4097), (1_000_000, 1_000_000)] {
            let (folder, _, _) = written();
            let mut report = samples::fail();
            (report.model.input.height, report.model.input.width) = (height, width);
            write_all(&report, &samples::measurements(), &[], folder.path()).unwrap();
            let error = Report::read(folder.path()).unwrap_err();
            assert!(matches!(error, ReadError::Size { .. }) && error.to_string().contains("1 to 4096"), "{error}");
        }
    }
}
