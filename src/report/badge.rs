//! The verdict as a badge for a README: the JSON that a service such as shields.io draws (its "endpoint" badge, schema 1).

use serde::Serialize;

use super::format::{Format, Made, json};
use super::{Material, WriteError, text};

pub(super) const FORMAT: Format = Format {
    name: "badge",
    file: "badge.json",
    about: "a badge in a README, drawn by shields.io",
    usual: true,
    beside: false,
    report: |Material { report, .. }| {
        let waived = if report.waived() > 0 { format!(" ({} waived)", report.waived()) } else { String::new() };
        render(&(text::headline(report).to_lowercase() + &waived), report.exit_code)
    },
    incomplete: |incomplete| render(&format!("no verdict ({})", incomplete.status.name()), incomplete.exit_code),
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Badge<'a> {
    schema_version: u32,
    label: &'a str,
    message: &'a str,
    color: &'a str,
}

fn render(message: &str, exit_code: i32) -> Result<Made, WriteError> {
    // No verdict is ever green.
    let color = match exit_code {
        0 => "brightgreen",
        1 => "red",
        5 => "yellow",
        _ => "lightgrey",
    };
    json(&Badge { schema_version: 1, label: "heirloom", message, color })
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::report::samples;

    #[test]
    fn one_badge_for_each_verdict_and_for_none() {
        let of = |report: &crate::report::Report| FORMAT.alone(report).text();
        let none = |incomplete: &crate::report::Incomplete| (FORMAT.incomplete)(incomplete).unwrap().text();
        assert_eq!(
            of(&samples::fail()),
            "{\n  \"schemaVersion\": 1,\n  \"label\": \"heirloom\",\n  \"message\": \"fail\",\n  \"color\": \"red\"\n}\n"
        );
        assert!(of(&samples::pass()).contains("\"message\": \"pass\",\n  \"color\": \"brightgreen\""));
        for incomplete in samples::incomplete() {
            let badge = none(&incomplete);
            assert!(badge.contains("\"message\": \"no verdict (") && badge.contains("\"color\": \"lightgrey\""), "{badge}");
        }
    }
}
