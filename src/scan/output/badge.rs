//! The scan as a badge: the JSON that a service such as shields.io draws (its "endpoint" badge, schema 1).

use serde_json::json;

use crate::scan::record::Outcome;
use crate::scan::results::Scan;

pub(super) fn render(scan: &Scan) -> Result<String, serde_json::Error> {
    // No verdict is ever green, nor is what only `fail_on: new` lets stand.
    let stands = scan.counts.keys().any(|outcome| matches!(outcome, Outcome::Fail | Outcome::Error | Outcome::Inconclusive));
    let color = match scan.exit_code {
        0 if stands => "yellow",
        0 => "brightgreen",
        1 => "red",
        5 => "yellow",
        _ => "lightgrey",
    };
    let bad = |(outcome, count): (&Outcome, &usize)| match outcome {
        Outcome::LeftOut | Outcome::Inspected => None,
        _ => Some(format!("{count} {}", outcome.name())),
    };
    let parts: Vec<String> = scan.counts.iter().filter_map(bad).collect();
    let message = if parts.is_empty() { "nothing judged".to_owned() } else { parts.join(", ") };
    let badge = json!({ "schemaVersion": 1, "label": "model scan", "message": message, "color": color });
    Ok(serde_json::to_string_pretty(&badge)? + "\n")
}
