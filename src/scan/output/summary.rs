//! The scan in Markdown, for the summary page of a CI run: what has changed, then the models, the worst first. Such pages take at most 1 MiB.

use std::fmt::Write;

use crate::report::text::escape;
use crate::scan::record::Outcome;
use crate::scan::results::{ModelLine, Scan};

/// Most bytes, with room for the closing lines.
const MOST: usize = (1 << 20) - (64 << 10);
/// Most names of one kind of change.
const NAMES: usize = 200;

pub(super) fn render(scan: &Scan) -> String {
    let mut out = format!("## {}\n\n**{}** (exit code {})\n", escape(&scan.name), escape(&scan.summary), scan.exit_code);
    changes(scan, &mut out);
    let rows: Vec<&ModelLine> = scan.models.iter().filter(|model| !is_quiet(model.outcome)).collect();
    if !rows.is_empty() {
        out.push_str("\n| model | | why |\n|---|---|---|\n");
    }
    let mut shown = 0;
    for model in &rows {
        let standing = if model.standing { " (as before)" } else { "" };
        let row = format!("| {} | {}{standing} | {} |\n", escape(&model.id().to_string()), model.outcome.name(), why(model));
        if out.len() + row.len() > MOST {
            break;
        }
        out.push_str(&row);
        shown += 1;
    }
    if shown < rows.len() {
        // Writing to a string cannot fail.
        let _ = write!(out, "\n{} more are in `scan.json` and `index.html`.\n", rows.len() - shown);
    }
    for outcome in [Outcome::Pass, Outcome::Inspected, Outcome::LeftOut] {
        if let Some(count) = scan.counts.get(&outcome) {
            let _ = write!(out, "\n{}: {count}", outcome.name());
        }
    }
    let _ = write!(out, "\n\n<sub>heirloom {}, {}, {}</sub>\n", scan.tool.version, escape(&scan.tool.computed_on()), scan.run.started);
    out
}

/// Models that nothing need be done about are counted.
fn is_quiet(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Pass | Outcome::Inspected | Outcome::LeftOut)
}

fn why(model: &ModelLine) -> String {
    let failing = crate::scan::results::failing(&model.findings);
    let cause = model.cause.map(|cause| format!("{}: ", cause.name())).unwrap_or_default();
    let rules = if failing.is_empty() { String::new() } else { format!("{}; ", failing.join(", ")) };
    escape(&format!("{cause}{rules}{}", model.summary))
}

fn changes(scan: &Scan, out: &mut String) {
    let changes = &scan.changes;
    if changes.first {
        out.push_str("\nThe first scan: there is none to compare with.\n");
        return;
    }
    if changes.is_empty() {
        out.push_str("\nNothing has changed since the last scan.\n");
        return;
    }
    out.push_str("\nSince the last scan:\n\n");
    for (what, names) in changes.kinds().iter().filter(|(_, names)| !names.is_empty()) {
        let listed: Vec<String> = names.iter().take(NAMES).map(|name| escape(name)).collect();
        let more = if names.len() > NAMES { format!(" and {} more", names.len() - NAMES) } else { String::new() };
        let _ = writeln!(out, "- {what}: {}{more}", listed.join(", "));
    }
    for expired in changes.expired_waivers.iter().take(NAMES) {
        let waiver = &expired.waiver;
        let told = format!("expired waiver: {} on {}, of {}, until {}", waiver.rule, expired.model, waiver.owner, waiver.expires);
        let _ = writeln!(out, "- {}", escape(&told));
    }
}
