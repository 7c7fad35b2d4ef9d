//! With which values of what was varied every rule passes, in words: a checkpoint that fails can still be used rightly.

use super::Cell;

/// The region in which every rule passes, for the certifications of one source.
pub(super) fn region(axes: &[(String, Vec<String>)], cells: &[&Cell]) -> String {
    let passing: Vec<&&Cell> = cells.iter().filter(|cell| cell.passes()).collect();
    if passing.is_empty() {
        return "nothing that was tried: some rule does not pass in every row".to_owned();
    }
    if passing.len() == cells.len() {
        return "all that was tried".to_owned();
    }
    // Along the last axis whose values are numbers; one sentence for each combination of the others.
    let along = axes.iter().rposition(|(_, names)| names.len() > 1 && names.iter().all(|name| name.parse::<f64>().is_ok()));
    let mut parts: Vec<String> = Vec::new();
    let mut seen: Vec<Vec<&str>> = Vec::new();
    for cell in &passing {
        let others = others(cell, along);
        if seen.contains(&others) {
            continue;
        }
        let fixed: Vec<String> = axes
            .iter()
            .enumerate()
            .filter(|(i, (_, names))| Some(*i) != along && names.len() > 1)
            .filter_map(|(i, (name, _))| Some(format!("{name} {}", cell.at.get(i)?)))
            .collect();
        let range = along.and_then(|axis| {
            let (name, values) = axes.get(axis)?;
            let passes = |value: &String| passing.iter().any(|c| c.at.get(axis) == Some(value) && self::others(c, along) == others);
            Some(format!("{name} {}", tail(values, &passes)))
        });
        parts.push(fixed.into_iter().chain(range).collect::<Vec<_>>().join(", "));
        seen.push(others);
    }
    parts.join("; ")
}

/// The values of a certification but the one of an axis.
fn others(cell: &Cell, along: Option<usize>) -> Vec<&str> {
    cell.at.iter().enumerate().filter(|(i, _)| Some(*i) != along).map(|(_, name)| name.as_str()).collect()
}

/// Which values pass: `of 0.005 or more`, `of 0.1 or less`, or a list.
fn tail(values: &[String], passes: &dyn Fn(&String) -> bool) -> String {
    let mut sorted: Vec<&String> = values.iter().collect();
    let number = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN);
    sorted.sort_by(|a, b| number(a).total_cmp(&number(b)));
    let good: Vec<&String> = sorted.iter().copied().filter(|value| passes(value)).collect();
    let (Some(first), Some(last)) = (good.first(), good.last()) else { return "of none".to_owned() };
    let n = good.len();
    if n == sorted.len() {
        "of any value tried".to_owned()
    } else if sorted[sorted.len() - n..] == good[..] {
        format!("of {first} or more")
    } else if sorted[..n] == good[..] {
        format!("of {last} or less")
    } else {
        format!("of {}", good.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "))
    }
}
