//! What a format of a report is.

use super::{Incomplete, Report, WriteError};

/// A file of a report's folder that says what the verdict is.
pub(crate) struct Format {
    /// Its name.
    pub name: &'static str,
    /// Where there is a verdict.
    pub report: fn(&Report) -> Result<Vec<u8>, WriteError>,
    /// Where there is none.
    pub incomplete: fn(&Incomplete) -> Result<Vec<u8>, WriteError>,
}
