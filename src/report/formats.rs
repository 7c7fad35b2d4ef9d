//! The formats of a report: each has a file of its own here, and one line in [`FORMATS`].

use super::format::Format;
use super::{
    MEASUREMENTS_FILE, Made, Material, WriteError, annotations, badge, cyclonedx, html, in_toto, json, junit, model_index, sarif, summary,
    svr,
};

/// All of them. `report.json` comes last, so that one with a verdict is complete.
pub(crate) static FORMATS: [Format; 11] = [
    junit::FORMAT,
    summary::FORMAT,
    html::FORMAT,
    badge::FORMAT,
    sarif::FORMAT,
    in_toto::FORMAT,
    svr::FORMAT,
    cyclonedx::FORMAT,
    model_index::FORMAT,
    annotations::FORMAT,
    json::FORMAT,
];

/// The names of all formats, each with its file and for whom it is.
pub fn formats() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FORMATS.iter().map(|format| (format.name, format.file, format.about))
}

/// Names of the files that a report may have, in the order in which they are written.
pub fn files() -> impl Iterator<Item = &'static str> {
    std::iter::once(MEASUREMENTS_FILE).chain(FORMATS.iter().map(|format| format.file))
}

/// The formats that a run writes: `report.json`, which all others are made of, is always one of them.
#[derive(Clone)]
pub struct Chosen(Vec<&'static Format>);

impl Default for Chosen {
    /// Those that are written where nobody says which.
    fn default() -> Self {
        Self(FORMATS.iter().filter(|format| format.usual).collect())
    }
}

impl Chosen {
    /// Those with these names. The error is a name that no format has.
    pub fn of<'a>(names: &[&'a str]) -> Result<Self, &'a str> {
        match names.iter().find(|name| FORMATS.iter().all(|format| format.name != **name)) {
            Some(unknown) => Err(unknown),
            None => Ok(Self(FORMATS.iter().filter(|format| names.contains(&format.name) || format.name == json::FORMAT.name).collect())),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'static Format> {
        self.0.iter().copied()
    }
}

/// What each file of a report's folder but the measurements must hold, by its name.
pub(crate) fn rendered<'a>(material: &'a Material) -> impl Iterator<Item = (&'static str, Result<Made, WriteError>)> + use<'a> {
    FORMATS.iter().map(|format| (format.file, (format.report)(material)))
}

#[cfg(test)]
mod tests {
    use super::{Chosen, FORMATS};

    #[test]
    fn the_action_removes_every_file_of_an_earlier_report() {
        let action = include_str!("../../action.yml");
        for name in super::files() {
            assert!(action.contains(&format!(" \"$OUTPUT/{name}\"")), "action.yml removes no {name}");
        }
    }

    #[test]
    fn the_documents_name_every_format_and_file() {
        let help = include_str!("../cli/certify.rs");
        let usage = include_str!("../../docs/usage.md");
        for format in &FORMATS {
            assert!(!format.usual || help.contains(format.file), "`heirloom certify --help` does not name {}", format.file);
            let row = format!("| `{}` | `{}` |", format.name, format.file);
            assert!(usage.contains(&row), "docs/usage.md lacks a row that begins with: {row}");
        }
    }

    #[test]
    fn the_report_itself_is_always_written_and_last() {
        let files = |chosen: &Chosen| chosen.all().map(|format| format.file).collect::<Vec<_>>();
        assert_eq!(files(&Chosen::default()), ["junit.xml", "summary.md", "report.html", "badge.json", "report.json"]);
        assert_eq!(files(&Chosen::of(&["sarif", "junit"]).ok().unwrap()), ["junit.xml", "report.sarif", "report.json"]);
        assert_eq!(Chosen::of(&["junit", "pdf"]).err(), Some("pdf"));
    }
}
