//! With which values of what was varied every rule passes, in words: a checkpoint that fails can still be used rightly.

use std::collections::BTreeSet;

use super::Cell;
use super::rates::rate;
use crate::gate::{Finding, Verdict};
use crate::probe::Arm;
use crate::tune::Mode;

/// A certification, seen in one mode of fine-tuning or in all that it has.
struct Row<'a> {
    at: &'a [String],
    findings: Vec<&'a Finding>,
}

impl Row<'_> {
    fn passes(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|f| f.verdict == Verdict::Pass)
    }

    /// The clean accuracy of what was fine-tuned: a recipe that learns nothing hands nothing down either.
    fn accuracies(&self) -> impl Iterator<Item = f64> {
        self.findings.iter().filter_map(|f| rate(f, Arm::Source, "clean_accuracy"))
    }
}

/// The region in which every rule passes, for the certifications of one source. Where certifications have rules of both modes, each mode has
/// its own: who fine-tunes does one or the other.
pub(super) fn region(axes: &[(String, Vec<String>)], cells: &[&Cell]) -> String {
    let modes = |cell: &Cell| cell.findings.iter().map(|f| f.mode).collect::<BTreeSet<Mode>>();
    let all: BTreeSet<Mode> = cells.iter().flat_map(|cell| modes(cell)).collect();
    let rows = |mode: Option<Mode>| -> Vec<Row> {
        let of = |cell: &&'_ Cell| cell.findings.iter().any(|f| mode.is_none_or(|mode| f.mode == mode));
        let seen = cells.iter().copied().filter(of);
        seen.map(|c| Row { at: &c.at, findings: c.findings.iter().filter(|f| mode.is_none_or(|m| f.mode == m)).collect() }).collect()
    };
    if cells.iter().all(|cell| modes(cell).len() <= 1) {
        return within(axes, &rows(None));
    }
    let each: Vec<(Mode, String)> = all.into_iter().map(|mode| (mode, within(axes, &rows(Some(mode))))).collect();
    if let [(_, one), others @ ..] = each.as_slice()
        && others.iter().all(|(_, other)| other == one)
    {
        return one.clone();
    }
    let named = each.iter().map(|(mode, region)| match mode {
        Mode::FixedFeature => format!("frozen features: {region}"),
        Mode::FullNetwork => format!("the whole network: {region}"),
    });
    named.collect::<Vec<_>>().join(". ")
}

fn within(axes: &[(String, Vec<String>)], rows: &[Row]) -> String {
    let passing: Vec<&Row> = rows.iter().filter(|row| row.passes()).collect();
    if passing.is_empty() {
        return "nothing that was tried: some rule does not pass in every row".to_owned();
    }
    if passing.len() == rows.len() {
        return format!("all that was tried{}", accuracy(&passing));
    }
    // Along the last axis whose values are numbers; one sentence for each combination of the others.
    let along = axes.iter().rposition(|(_, names)| names.len() > 1 && names.iter().all(|name| name.parse::<f64>().is_ok()));
    let mut parts: Vec<String> = Vec::new();
    let mut seen: Vec<Vec<&str>> = Vec::new();
    for row in &passing {
        let others = others(row, along);
        if seen.contains(&others) {
            continue;
        }
        let here: Vec<&Row> = passing.iter().copied().filter(|row| self::others(row, along) == others).collect();
        let fixed: Vec<String> = axes
            .iter()
            .enumerate()
            .filter(|(i, (_, names))| Some(*i) != along && names.len() > 1)
            .filter_map(|(i, (name, _))| Some(format!("{name} {}", row.at.get(i)?)))
            .collect();
        let range = along.and_then(|axis| {
            let (name, values) = axes.get(axis)?;
            let passes = |value: &String| here.iter().any(|row| row.at.get(axis) == Some(value));
            Some(format!("{name} {}", span(values, &passes)))
        });
        parts.push(fixed.into_iter().chain(range).collect::<Vec<_>>().join(", ") + &accuracy(&here));
        seen.push(others);
    }
    parts.join("; ")
}

/// How well what passes learnt the target task.
fn accuracy(rows: &[&Row]) -> String {
    let all = || rows.iter().flat_map(|row| row.accuracies());
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    match (format!("{low:.3}"), format!("{high:.3}")) {
        _ if low > high => String::new(),
        (low, high) if low == high => format!(" (accuracy {low})"),
        (low, high) => format!(" (accuracy {low} to {high})"),
    }
}

/// The values of a certification but the one of an axis.
fn others<'a>(row: &Row<'a>, along: Option<usize>) -> Vec<&'a str> {
    row.at.iter().enumerate().filter(|(i, _)| Some(*i) != along).map(|(_, name)| name.as_str()).collect()
}

/// Which values pass: neighbours as a span, never beyond what was tried.
fn span(values: &[String], passes: &dyn Fn(&String) -> bool) -> String {
    let mut sorted: Vec<&String> = values.iter().collect();
    let number = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN);
    sorted.sort_by(|a, b| number(a).total_cmp(&number(b)));
    let good: Vec<&String> = sorted.iter().copied().filter(|value| passes(value)).collect();
    match good[..] {
        [] => "of none".to_owned(),
        [one] => format!("of {one}"),
        _ if good.len() == sorted.len() => "of any value tried".to_owned(),
        [first, .., last] if sorted.windows(good.len()).any(|window| window == good) => format!("of {first} to {last}"),
        _ => format!("of {}", good.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", ")),
    }
}
