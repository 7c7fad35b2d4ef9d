//! All that a renderer may read of a certification.

use super::Report;
use crate::probe::Measurement;

/// A report with what lies beside it.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The report, as it is written.
    pub report: &'a Report,
    /// The outcome of every image; none where that file is not there.
    pub measurements: Option<&'a [Measurement]>,
    /// The sheets of sample images that are there.
    pub pictures: &'a [Picture],
}

impl<'a> Material<'a> {
    /// A report by itself.
    pub fn alone(report: &'a Report) -> Self {
        Self { report, measurements: None, pictures: &[] }
    }
}

/// A sheet of sample images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its name in the report's folder.
    pub file: String,
    /// The bytes of a PNG.
    pub png: Vec<u8>,
}
