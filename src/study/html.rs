//! What a study found, as one page: with what every rule passes, and each finding with its effects along what was varied.

use maud::{Markup, html};

use super::rates::rate;
use super::table::{controls, raw, rows, shown};
use super::{Cell, Results, safe};
use crate::diag::count;
use crate::gate::{Finding, Verdict};
use crate::probe::Arm;
use crate::report::html::forest::{self, Row};
use crate::report::html::page;
use crate::report::html::provenance::whole_policy;
use crate::report::html::words::{digest, line, listed, scrolled, verdict, whole};
use crate::report::text;

/// Certifications that a plot shows, and rows of a table.
const MOST_DRAWN: usize = 40;
const MOST_ROWS: usize = 400;
/// Bytes of all sections of findings.
const MOST_SECTIONS: usize = 1400 << 10;

/// The results as one page.
pub(super) fn render(results: &Results) -> String {
    let name = line(&results.name);
    let ids = results.ids();
    let header = html! {
        p.soft { "heirloom: study" }
        h1 { (name) }
        @if let Some(question) = &results.question { p { (whole(question.trim())) } }
        (answer(results))
        nav aria-label="Sections" { ul {
            @for (id, title) in [("safe", "Safe with"), ("findings", "Findings"), ("tried", "What was tried"), ("meaning", "What it means"), ("provenance", "Provenance")] {
                li { a href=(format!("#{id}")) { (title) } }
            }
        } }
    };
    let mut left = MOST_SECTIONS;
    let mut sections = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let section = finding(results, at, id);
        let Some(less) = left.checked_sub(section.0.len()) else { break };
        left = less;
        sections.push(section);
    }
    let left_out = ids.len() - sections.len();
    let main = html! {
        h2 id="safe" { "Safe with" }
        p { "The values with which every rule passes, for each source, and the accuracy of what was fine-tuned: who learns nothing inherits nothing." }
        (listed_lines(&regions(results)))
        h2 id="findings" { "Findings" }
        @if ids.is_empty() { p { "There are none." } }
        @for section in &sections { (section) }
        @if left_out > 0 { p { "The page would be too large: " (count(left_out, "further finding")) " stand in study.json and study.md alone." } }
        (tried(results))
        h2 id="meaning" { "What it means" }
        ul {
            li { "A pass means: no effect above the limit for this probe, target task and budget. It never means that a checkpoint is clean." }
            li { "Every certification is judged at its own confidence. The error is not shared among the rows: where many are looked at, some are on the \
                 wrong side by chance." }
            li { "What is learnt (a class, groups) is learnt on one half of the images and estimated on the other, so that an excess is not quite the \
                 difference of the numbers beside it." }
        }
        (provenance(results))
    };
    let foot = html! { p { "Made from study.json by " (line(&results.tool.name)) " " (line(&results.tool.version)) "." } };
    page(&format!("heirloom: study, {name}"), &header, &main, &foot)
}

fn answer(results: &Results) -> Markup {
    let all = || results.cells.iter().flat_map(|cell| &cell.findings);
    let of = |wanted: Verdict| all().filter(|finding| finding.verdict == wanted).count();
    let told = [
        (Verdict::Pass, "pass"),
        (Verdict::Fail, "fail"),
        (Verdict::Inconclusive, "inconclusive"),
        (Verdict::Skipped, "skipped"),
        (Verdict::Error, "could not be judged"),
    ];
    let told: Vec<String> =
        told.into_iter().map(|(v, word)| (of(v), word)).filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    html! {
        div.verdict.none {
            strong { (count(results.cells.len(), "certification")) }
            p { (count(all().count(), "finding")) @if !told.is_empty() { ": " (told.join(", ")) } "." }
            p { "A study gates nothing: it says how effects change with what is varied." }
        }
    }
}

/// With which values every rule passes, by source.
fn regions(results: &Results) -> Vec<(String, String)> {
    let mut sources: Vec<&str> = results.cells.iter().map(|cell| cell.source.as_str()).collect();
    sources.dedup();
    let of = |source: &str| results.cells.iter().filter(|cell| cell.source == source).collect::<Vec<&Cell>>();
    sources.into_iter().map(|source| (line(source), whole(&safe::region(&results.axes, &of(source))))).collect()
}

fn listed_lines(rows: &[(String, String)]) -> Markup {
    html! { dl { @for (name, said) in rows { dt { (name) } dd { (said) } } } }
}

/// Source and values of a certification.
fn place(results: &Results, cell: &Cell) -> String {
    let varied = results.axes.iter().zip(&cell.at).filter(|((_, names), _)| names.len() > 1);
    std::iter::once(cell.source.clone()).chain(varied.map(|((name, _), at)| format!("{name} {at}"))).collect::<Vec<_>>().join(", ")
}

fn finding(results: &Results, at: usize, id: &str) -> Markup {
    let rows = rows(results, id);
    let Some((_, first)) = rows.first() else { return html! {} };
    let one_limit = rows.iter().all(|(_, f)| text::trimmed(f.limit) == text::trimmed(first.limit));
    let anchor = format!("finding-{}", at + 1);
    let effect = |(cell, f): &(&Cell, &Finding)| {
        let place = place(results, cell);
        let (name, estimate) = match text::weakest(&f.comparisons) {
            Some((comparison, excess)) => (format!("{place}: over {}", comparison.control.name()), excess),
            None => (format!("{place}: by itself"), f.own.as_ref()?),
        };
        Some(Row { limit: Some(f.limit).filter(|_| !one_limit), ..Row::of(line(&name), estimate, true) })
    };
    let drawn: Vec<Row> = rows.iter().filter_map(effect).take(MOST_DRAWN).collect();
    let all = rows.iter().filter(|row| effect(row).is_some()).count();
    let which = if all > drawn.len() { format!(": the first {} of {all} certifications", drawn.len()) } else { String::new() };
    html! {
        section.finding id=(anchor) aria-labelledby=(format!("{anchor}-h")) {
            h3 id=(format!("{anchor}-h")) { (line(id)) }
            p.soft { "Judged is " (first.estimand.words()) ": " (first.estimand.meaning()) ". "
                @if one_limit { "Limit " (text::trimmed(first.limit)) "." } @else { "Each certification has its own limit." } }
            @if drawn.is_empty() { p { "There are no numbers." } } @else {
                (forest::figure(&format!("{anchor}-e"), &format!("Effects against the limit{which}"),
                    "For each certification the effect that is left beside the control that explains most of it, with its interval, and a dashed mark at the limit.",
                    Some(first.limit).filter(|_| one_limit), &drawn))
            }
            (table(results, &rows, one_limit))
        }
    }
}

fn table(results: &Results, rows: &[(&Cell, &Finding)], one_limit: bool) -> Markup {
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
    let (controls, arms) = (controls(rows), shown(rows));
    html! {
        (scrolled("Every certification", &html! {
            table {
                caption { "Every certification: the number that is judged by itself, and beside each control with its interval." }
                thead { tr {
                    th scope="col" { "source" }
                    @for (name, _) in &results.axes { th scope="col" { (line(name)) } }
                    th scope="col" { "verdict" } th.n scope="col" { "accuracy" }
                    @for arm in &arms { th.n scope="col" { "of " (arm) } }
                    @for control in &controls { th.n scope="col" { "excess over " (control.name()) } }
                    @if !one_limit { th.n scope="col" { "limit" } }
                } }
                tbody { @for (cell, f) in rows.iter().take(MOST_ROWS) {
                    tr {
                        th scope="row" { (line(&cell.source)) }
                        @for value in &cell.at { td { (line(value)) } }
                        td { (verdict(f.verdict)) @if let Some(reason) = &f.reason { div.soft { (whole(reason)) } } }
                        td.n { (number(rate(f, Arm::Source, "clean_accuracy"))) }
                        @for arm in &arms { td.n { (number(raw(f, arm))) } }
                        @for control in &controls {
                            @let excess = f.comparisons.iter().find(|c| c.control == *control).and_then(|c| c.excess.as_ref());
                            td.n { @match excess { Some(excess) => (text::estimate(excess)), None => "–" } }
                        }
                        @if !one_limit { td.n { (text::trimmed(f.limit)) } }
                    }
                } }
            }
        }))
        @if rows.len() > MOST_ROWS { p { "and " (rows.len() - MOST_ROWS) " more, in study.md and study.json" } }
    }
}

/// Sources and values.
fn tried(results: &Results) -> Markup {
    let mut sources: Vec<(&str, &crate::store::Digest)> = Vec::new();
    for cell in &results.cells {
        if !sources.contains(&(cell.source.as_str(), &cell.model)) {
            sources.push((&cell.source, &cell.model));
        }
    }
    html! {
        h2 id="tried" { "What was tried" }
        @if results.axes.is_empty() { p { "Nothing was varied: the policy as it is." } } @else {
            dl { @for (name, values) in &results.axes {
                dt { (line(name)) }
                dd { (whole(&values.join(", "))) }
            } }
        }
        (scrolled("Checkpoints", &html! {
            table {
                caption { "The checkpoints, each certified with every combination of these values." }
                thead { tr { th scope="col" { "source" } th scope="col" { "SHA-256" } } }
                tbody { @for (name, of) in sources.iter().take(MOST_ROWS) { tr { th scope="row" { (line(name)) } td { (digest(of)) } } } }
            }
        }))
    }
}

fn provenance(results: &Results) -> Markup {
    let tool = &results.tool;
    html! {
        h2 id="provenance" { "Provenance" }
        (listed(&[
            ("program", html! { (line(&tool.name)) " " (line(&tool.version)) }),
            ("computed on", html! { (line(&tool.computed_on())) }),
        ]))
        @if let Some(contents) = results.policies.first().and_then(|first| first.policy.contents.as_ref()) {
            (whole_policy("The policy of the first combination in full, defaults filled in", "policies in study.json", contents))
        }
        details {
            summary { "The policy of every certification, by digest" }
            (scrolled("Policies", &html! {
                table {
                    caption { "The digest covers the policy with these values, the files that it names, and where its images are." }
                    thead { tr { th scope="col" { "certification" } th scope="col" { "SHA-256 of the policy" } } }
                    tbody { @for cell in results.cells.iter().take(MOST_ROWS) {
                        tr { th scope="row" { (line(&place(results, cell))) } td { (digest(&cell.policy)) } }
                    } }
                }
            }))
            @if results.cells.len() > MOST_ROWS { p { "and more, in study.json" } }
        }
    }
}
