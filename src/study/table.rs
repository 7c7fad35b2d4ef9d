//! What a study found, as Markdown: one table for each finding, a row for each certification, and with what every rule passes.

use std::fmt::Write;

use super::rates::rate;
use super::{Cell, Results, safe};
use crate::gate::{Control, Finding};
use crate::probe::Arm;
use crate::report::{summary, text};
use crate::stats::innocents;

/// The results as Markdown.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(results, &mut out);
    out
}

fn write(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(out, "# {}\n", text::escape(&results.name))?;
    if let Some(question) = &results.question {
        writeln!(out, "{}\n", text::escape(question.trim()))?;
    }
    for id in &results.ids() {
        finding(results, id, out)?;
    }
    writeln!(out, "## Safe with\n")?;
    let mut sources: Vec<&str> = results.cells.iter().map(|cell| cell.source.as_str()).collect();
    sources.dedup();
    for source in sources {
        let cells: Vec<&Cell> = results.cells.iter().filter(|cell| cell.source == source).collect();
        writeln!(out, "- **{}**: {}", text::escape(source), text::escape(&safe::region(&results.axes, &cells)))?;
    }
    writeln!(
        out,
        "\nEvery certification is judged at its own confidence; the error is not shared among the rows. A pass means: no effect above the \
         limit for this probe, target task and budget. What is learnt (a class, groups) is learnt on one half of the images and estimated on the \
         other, so that an excess is not quite the difference of the columns before it.\n\n<sub>{} {}, {}</sub>",
        results.tool.name,
        results.tool.version,
        text::escape(&results.tool.computed_on())
    )
}

fn finding(results: &Results, id: &str, out: &mut String) -> std::fmt::Result {
    let rows = rows(results, id);
    let Some((_, first)) = rows.first() else { return Ok(()) };
    let controls = controls(&rows);
    writeln!(out, "## {}\n", text::escape(id))?;
    let one_limit = rows.iter().all(|(_, f)| text::trimmed(f.limit) == text::trimmed(first.limit));
    let limit = if one_limit { format!("limit {}", text::trimmed(first.limit)) } else { "limits as below".to_owned() };
    writeln!(out, "`{}`, {limit}.\n", first.estimand.name())?;
    let axes = results.axes.iter().map(|(name, _)| text::escape(name));
    let shown = shown(&rows);
    let head: Vec<String> = std::iter::once("source".to_owned())
        .chain(axes)
        .chain(["accuracy".to_owned()])
        .chain(shown.iter().map(|arm| format!("of {arm}")))
        .chain(controls.iter().map(|c| format!("excess over {}", c.name())))
        .chain((!one_limit).then(|| "limit".to_owned()))
        .chain(["verdict".to_owned()])
        .collect();
    writeln!(out, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()))?;
    for (cell, f) in &rows {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
        let excess = |control: &Control| {
            let found = f.comparisons.iter().find(|c| c.control == *control).and_then(|c| c.excess.as_ref());
            found.map_or_else(|| "–".to_owned(), text::estimate)
        };
        let columns: Vec<String> = std::iter::once(text::escape(&cell.source))
            .chain(cell.at.iter().map(|name| text::escape(name)))
            .chain([number(rate(f, Arm::Source, "clean_accuracy"))])
            .chain(shown.iter().map(|arm| number(raw(f, arm))))
            .chain(controls.iter().map(excess))
            .chain((!one_limit).then(|| text::trimmed(f.limit)))
            .chain([text::verdict(f.verdict).to_owned()])
            .collect();
        writeln!(out, "| {} |", columns.join(" | "))?;
    }
    // The histograms that Salman et al. show, of the row where there is most to see.
    let shift = |f: &Finding| f.comparisons.iter().filter_map(|c| Some(c.excess.as_ref()?.value)).fold(f64::NEG_INFINITY, f64::max);
    let most = rows.iter().filter(|(_, f)| f.arms.iter().any(|arm| !arm.histogram.is_empty()));
    if let Some((cell, f)) = most.max_by(|(_, a), (_, b)| shift(a).total_cmp(&shift(b))) {
        let place = std::iter::once(&cell.source).chain(&cell.at).map(|name| text::escape(name)).collect::<Vec<_>>().join(", ");
        writeln!(out, "\nPredictions where the excess is largest ({place}):")?;
        summary::histograms(f, out)?;
    }
    writeln!(out)
}

/// The certifications that have a finding.
pub(super) fn rows<'a>(results: &'a Results, id: &str) -> Vec<(&'a Cell, &'a Finding)> {
    results.cells.iter().filter_map(|cell| Some((cell, cell.findings.iter().find(|f| f.id() == id)?))).collect()
}

/// The controls that any of them is compared with.
pub(super) fn controls(rows: &[(&Cell, &Finding)]) -> Vec<Control> {
    let mut controls: Vec<Control> = rows.iter().flat_map(|(_, f)| f.comparisons.iter().map(|c| c.control)).collect();
    controls.sort_unstable();
    controls.dedup();
    controls
}

/// The arms that any of them has a number of.
pub(super) fn shown(rows: &[(&Cell, &Finding)]) -> Vec<&'static str> {
    let arms = ["source", "sham", "scratch", "reference"];
    arms.into_iter().filter(|arm| rows.iter().any(|(_, f)| raw(f, arm).is_some())).collect()
}

/// The number that is judged, of the centre of the references.
fn of_references(finding: &Finding) -> Option<f64> {
    let arms = finding.arms.iter().map(|arm| arm.arm).filter(|arm| matches!(arm, Arm::Reference(_)));
    let effects: Vec<f64> = arms.filter_map(|arm| rate(finding, arm, finding.estimand.name())).collect();
    innocents::middle(&effects)
}

/// The number that is judged, of an arm or the shams by itself.
pub(super) fn raw(finding: &Finding, whose: &str) -> Option<f64> {
    match whose {
        "source" => rate(finding, Arm::Source, finding.estimand.name()),
        "scratch" => rate(finding, Arm::Scratch, finding.estimand.name()),
        "reference" => of_references(finding),
        _ => rate(finding, Arm::Source, "attraction_sham").filter(|_| finding.estimand == crate::probe::Estimand::Attraction),
    }
}
