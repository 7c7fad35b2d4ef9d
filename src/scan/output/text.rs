//! The scan for a terminal: what has changed, and the models that something need be done about.

use std::fmt::Write;

use crate::diag::count;
use crate::report::printable;
use crate::report::text::{TextColumn, padded, wrapped};
use crate::scan::plan::{Plan, Work};
use crate::scan::record::Outcome;
use crate::scan::results::{ModelLine, Scan, failing};

/// Most models that are shown.
const MOST: usize = 200;

/// The scan as lines of at most so many columns.
pub fn render(scan: &Scan, columns: usize) -> String {
    let mut out = String::new();
    let told: Vec<&ModelLine> =
        scan.models.iter().filter(|model| !matches!(model.outcome, Outcome::Pass | Outcome::Inspected | Outcome::LeftOut)).collect();
    let names: Vec<String> = told.iter().take(MOST).map(|model| model.id().to_string()).collect();
    let column = TextColumn::of(&names, 10);
    for (model, name) in told.iter().zip(&names) {
        let standing = if model.standing { ", as before" } else { "" };
        let _ = writeln!(out, "  {}  {}{standing}", column.cell(name), model.outcome.name());
        out.push_str(&wrapped(&printable(&why(model)), columns, 4));
    }
    if told.len() > MOST {
        let _ = writeln!(out, "  and {} more in scan.json", told.len() - MOST);
    }
    for outcome in [Outcome::Pass, Outcome::Inspected, Outcome::LeftOut] {
        let all: Vec<String> = scan.models.iter().filter(|model| model.outcome == outcome).map(|model| model.id().to_string()).collect();
        if !all.is_empty() {
            let more = if all.len() > 6 { ", ..." } else { "" };
            let few = all.iter().take(6).map(|name| printable(name).into_owned()).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "  {} {few}{more}", padded(&format!("{} {}", all.len(), outcome.name()), 14));
        }
    }
    out.push_str(&changes(scan));
    let _ = writeln!(out, "\n{}   {}", headline(scan), printable(&scan.summary));
    out
}

/// A plan: what is to be done, and why what is not.
pub fn plan(plan: &Plan) -> String {
    let names: Vec<String> = plan.entries.iter().take(MOST).map(|entry| entry.id.to_string()).collect();
    let column = TextColumn::of(&names, 10);
    let mut out = String::new();
    for (entry, name) in plan.entries.iter().zip(&names) {
        let tier = entry.tier.map_or("", |tier| tier.name());
        let told = match &entry.work {
            Work::Measure => format!("measure ({tier})"),
            Work::Rejudge { .. } => format!("judge again what was measured ({tier})"),
            Work::Keep => "known".to_owned(),
            Work::Refuse(refused) => format!("{}: {}", refused.cause.name(), refused.reason),
            Work::LeaveOut { why } => format!("left out: {why}"),
            Work::NotReached { why } => format!("not reached: {why}"),
        };
        let _ = writeln!(out, "  {}  {}", column.cell(name), printable(&told));
    }
    if plan.entries.len() > MOST {
        let _ = writeln!(out, "  and {} more in plan.json", plan.entries.len() - MOST);
    }
    let work = plan.entries.iter().filter(|entry| entry.is_work()).count();
    out + &format!("\n{}, {work} to work on\n", count(plan.entries.len(), "model"))
}

fn why(model: &ModelLine) -> String {
    let failing = failing(&model.findings);
    let cause = model.cause.map(|cause| format!("{}: ", cause.name())).unwrap_or_default();
    let rules = if failing.is_empty() { String::new() } else { format!("{}; ", failing.join(", ")) };
    format!("{cause}{rules}{}", model.summary)
}

fn headline(scan: &Scan) -> &'static str {
    match scan.exit_code {
        0 => "PASS",
        1 => "FAIL",
        2 => "ERROR",
        5 => "INCONCLUSIVE",
        130 => "INTERRUPTED",
        _ => "NOTHING JUDGED",
    }
}

fn changes(scan: &Scan) -> String {
    let changes = &scan.changes;
    if changes.first || changes.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n  since the last scan:\n");
    for (what, names) in changes.kinds() {
        for name in names.iter().take(20) {
            let _ = writeln!(out, "    {} {}", padded(what, 14), printable(name));
        }
        if names.len() > 20 {
            let _ = writeln!(out, "    {} and {} more", padded(what, 14), names.len() - 20);
        }
    }
    for expired in &changes.expired_waivers {
        let waiver = &expired.waiver;
        let told = format!("{}: {}, of {}, until {}", expired.model, waiver.rule, waiver.owner, waiver.expires);
        let _ = writeln!(out, "    {} {}", padded("expired waiver", 14), printable(&told));
    }
    out
}
