//! The formats of a report: each has a file of its own here, and one line in [`FORMATS`].

use super::format::Format;
use super::{MEASUREMENTS_FILE, badge, json, junit, summary};

/// All of them. `report.json` comes last, so that one with a verdict is complete.
pub(crate) const FORMATS: [Format; 4] = [junit::FORMAT, summary::FORMAT, badge::FORMAT, json::FORMAT];

/// Names of the files that a report always has, in the order in which they are written.
pub fn files() -> impl Iterator<Item = &'static str> {
    std::iter::once(MEASUREMENTS_FILE).chain(FORMATS.iter().map(|format| format.name))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_action_removes_every_file_of_an_earlier_report() {
        let action = include_str!("../../action.yml");
        for name in super::files() {
            assert!(action.contains(&format!(" \"$OUTPUT/{name}\"")), "action.yml removes no {name}");
        }
    }

    #[test]
    fn the_help_names_every_file() {
        let help = include_str!("../cli/certify.rs");
        for name in super::files() {
            assert!(help.contains(name), "`heirloom certify --help` does not name {name}");
        }
    }
}
