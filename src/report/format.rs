//! What a format of a report is.

use super::{Incomplete, Material, WriteError};

/// A file of a report's folder that says what the verdict is.
pub(crate) struct Format {
    /// As `--reports` and `render --as` name it.
    pub name: &'static str,
    /// Its file.
    pub file: &'static str,
    /// For whom it is, in a few words.
    pub about: &'static str,
    /// Whether it is written where nobody says which.
    pub usual: bool,
    /// Whether it shows more than the report says: outcomes of single images, sample images.
    pub beside: bool,
    /// Where there is a verdict.
    pub report: fn(&Material) -> Result<Made, WriteError>,
    /// Where there is none.
    pub incomplete: fn(&Incomplete) -> Result<Made, WriteError>,
}

/// What a format makes of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// The bytes of its file.
    File(Vec<u8>),
    /// No file, and why not.
    Nothing(&'static str),
}

impl From<String> for Made {
    fn from(text: String) -> Self {
        Self::File(text.into_bytes())
    }
}

#[cfg(test)]
impl Format {
    /// What it makes of a report by itself.
    pub(crate) fn alone(&self, report: &super::Report) -> Made {
        (self.report)(&Material::alone(report)).unwrap()
    }

    /// The same, read as JSON.
    pub(crate) fn value(&self, report: &super::Report) -> serde_json::Value {
        serde_json::from_str(&self.alone(report).text()).unwrap()
    }
}

#[cfg(test)]
impl Made {
    /// The text of its file.
    pub(crate) fn text(self) -> String {
        match self {
            Self::File(bytes) => String::from_utf8(bytes).unwrap(),
            Self::Nothing(why) => panic!("no file: {why}"),
        }
    }
}

/// The value as indented JSON with a final line break.
pub(super) fn json(value: &impl serde::Serialize) -> Result<Made, WriteError> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(Made::File(bytes))
}
