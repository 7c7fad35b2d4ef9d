//! A report from the disk with what lies beside it, to be rendered again.

use std::io::ErrorKind;
use std::path::Path;

use super::formats::FORMATS;
use super::read::{MOST_REPORT, ReadError, read_at_most, report_file};
use super::{Incomplete, Made, Material, Picture, Report, Sheet, WriteError};
use crate::probe::Measurement;

/// Most bytes of a sheet of sample images that are read.
const MOST_PICTURE: u64 = 16 << 20;

/// What a `report.json` holds, with what lies beside it.
#[derive(Debug)]
pub struct Stored(Kind);

#[derive(Debug)]
enum Kind {
    Certified { report: Box<Report>, measurements: Option<Vec<Measurement>>, pictures: Vec<Picture> },
    Incomplete(Incomplete),
}

impl Stored {
    /// Reads a `report.json`, or the folder that holds it, and of what lies beside it as much as the format of that name shows; and what of it is
    /// not there, for people. What is there and is of another run is refused.
    pub fn read(path: &Path, format: &str) -> Result<(Self, Vec<String>), ReadError> {
        let report = match Report::read(path) {
            Ok(report) => report,
            Err(ReadError::Incomplete { path, summary }) => {
                let bytes = read_at_most(&path, MOST_REPORT, |file| Box::new(file))?;
                // What says that it has no verdict and is nothing that heirloom writes.
                let incomplete = serde_json::from_slice(&bytes).map_err(|_| ReadError::Incomplete { path, summary })?;
                return Ok((Self(Kind::Incomplete(incomplete)), Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let (mut measurements, mut pictures, mut lacks) = (None, Vec::new(), Vec::new());
        if FORMATS.iter().any(|of| of.name == format && of.beside) {
            match report.read_measurements(path) {
                Ok(read) => measurements = Some(read),
                Err(ReadError::Io { source, path }) if source.kind() == ErrorKind::NotFound => {
                    lacks.push(format!("{} is not there: no histograms of single fine-tunes", path.display()));
                }
                Err(error @ (ReadError::NoMeasurements { .. } | ReadError::Earlier { .. })) => lacks.push(error.to_string()),
                Err(error) => return Err(error),
            }
            let there = pictures_beside(&report, path);
            pictures = there.0;
            lacks.extend(there.1);
        }
        Ok((Self(Kind::Certified { report: Box::new(report), measurements, pictures }), lacks))
    }

    /// It in the format of a name; the same bytes that `certify` wrote where all that lay beside the report still does. `None` where there is no
    /// format of that name.
    pub fn render(&self, format: &str) -> Option<Result<Made, WriteError>> {
        let format = FORMATS.iter().find(|of| of.name == format)?;
        Some(match &self.0 {
            Kind::Incomplete(incomplete) => (format.incomplete)(incomplete),
            Kind::Certified { report, measurements, pictures } => {
                (format.report)(&Material { report, measurements: measurements.as_deref(), pictures })
            }
        })
    }
}

/// The sheets of sample images beside a report, and what of them is not there, for people.
pub(crate) fn pictures_beside(report: &Report, path: &Path) -> (Vec<Picture>, Vec<String>) {
    let file = report_file(path);
    let (mut pictures, mut lacks) = (Vec::new(), Vec::new());
    for name in report.sheets.iter().filter(|name| Sheet::is_name(name)) {
        let at = file.with_file_name("").join(name);
        match read_at_most(&at, MOST_PICTURE, |file| Box::new(file)) {
            Ok(png) => pictures.push(Picture { file: name.clone(), png }),
            Err(error) => lacks.push(format!("{error}: its sample images are left out")),
        }
    }
    (pictures, lacks)
}

#[cfg(test)]
mod tests {
    use super::Stored;
    use crate::pixels::Frame;
    use crate::report::formats::FORMATS;
    use crate::report::{Chosen, Made, Sheet, samples};

    fn all() -> Chosen {
        Chosen::of(&FORMATS.iter().map(|format| format.name).collect::<Vec<_>>()).ok().unwrap()
    }

    fn sheet() -> Sheet {
        Sheet { rule: "backdoor/square".into(), rows: vec![vec![Frame { width: 32, height: 32, planes: vec![0.5; 3 * 32 * 32] }; 2]] }
    }

    #[test]
    fn a_stored_report_renders_to_the_bytes_that_were_written() {
        for report in samples::all() {
            let folder = tempfile::tempdir().unwrap();
            all().write_all(&report, &samples::measurements(), &[sheet()], folder.path()).unwrap();
            for format in &FORMATS {
                let (stored, lacks) = Stored::read(folder.path(), format.name).unwrap();
                assert_eq!(lacks, Vec::<String>::new());
                match stored.render(format.name).unwrap().unwrap() {
                    Made::File(bytes) => assert!(bytes == std::fs::read(folder.path().join(format.file)).unwrap(), "{}", format.name),
                    Made::Nothing(_) => assert!(!folder.path().join(format.file).exists(), "{}", format.name),
                }
            }
        }
        for incomplete in samples::incomplete() {
            let folder = tempfile::tempdir().unwrap();
            all().write_incomplete(&incomplete, folder.path()).unwrap();
            for format in &FORMATS {
                let (stored, _) = Stored::read(folder.path(), format.name).unwrap();
                match stored.render(format.name).unwrap().unwrap() {
                    Made::File(bytes) => assert!(bytes == std::fs::read(folder.path().join(format.file)).unwrap(), "{}", format.name),
                    Made::Nothing(_) => assert!(!folder.path().join(format.file).exists(), "{}", format.name),
                }
            }
        }
    }

    #[test]
    fn what_is_not_there_is_said_and_what_is_of_another_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        all().write_all(&samples::fail(), &samples::measurements(), &[sheet()], folder.path()).unwrap();
        std::fs::remove_file(at("pictures/backdoor-square.png")).unwrap();
        std::fs::rename(at("measurements.json.gz"), at("kept")).unwrap();
        let (stored, lacks) = Stored::read(folder.path(), "html").unwrap();
        assert!(lacks[0].contains("measurements.json.gz is not there") && lacks[1].contains("backdoor-square.png"), "{lacks:?}");
        let page = stored.render("html").unwrap().unwrap().text();
        assert!(page.contains("The outcomes of single images were not beside the report"), "{page}");
        // Which other formats do not show.
        assert_eq!(Stored::read(folder.path(), "sarif").unwrap().1, Vec::<String>::new());
        std::fs::write(at("measurements.json.gz"), &std::fs::read(at("kept")).unwrap()[..20]).unwrap();
        assert!(Stored::read(folder.path(), "html").is_err());
        assert!(stored.render("pdf").is_none());
    }
}
