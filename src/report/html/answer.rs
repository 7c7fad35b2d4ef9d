//! The verdict: what it means, what it does not, and every finding in one table.

use maud::{Markup, html};

use super::forest::{self, Row};
use super::words::{line, scrolled, verdict, whole};
use crate::gate::{Finding, Verdict};
use crate::report::{Report, SelfTestStatus, text};

/// Findings in the plot of all; of more, those that did not pass come first.
const MOST_DRAWN: usize = 30;
/// Bytes of the table of all findings.
const MOST_TABLE: usize = 5 << 20;

/// The style's class of a conclusion.
fn tone(exit_code: i32) -> &'static str {
    match exit_code {
        0 => "good",
        1 => "bad",
        2 | 5 => "open",
        _ => "none",
    }
}

/// What a conclusion means, and what it does not.
fn meaning(report: &Report) -> [&'static str; 2] {
    match report.exit_code {
        0 => [
            text::pass(report),
            "It says nothing about triggers that no rule names, about other tasks, and about other ways of fine-tuning.",
        ],
        1 => [
            "At least one rule failed: models that are fine-tuned from this checkpoint show an effect above the limit, and no control that the rule \
             names explains it.",
            "It does not say who put the effect there, nor whether anybody meant to. Heirloom names effects and calls nothing a backdoor.",
        ],
        2 => ["An error kept a rule from being judged. What was judged stands below.", "It is no pass."],
        3 => ["Nothing was judged: every rule was skipped, or left out.", "It is no pass."],
        5 => [
            "The data do not settle at least one rule: its effect may lie above the limit, or below. The reason of each finding says what would settle it.",
            "It is no pass, and it shows no effect above the limit either.",
        ],
        130 => ["The run was ended before everything was judged.", "It is no pass."],
        _ => ["Nothing was run.", "It is no pass."],
    }
}

/// The verdict.
pub(super) fn verdict_of(report: &Report) -> Markup {
    let [means, not] = meaning(report);
    html! {
        div.verdict.(tone(report.exit_code)) {
            strong { (text::headline(report)) }
            p { (whole(&report.summary)) }
            p { (means) }
            p { (not) }
            @if report.report_only { p { "Reported only (" code { "--report-only" } "): whatever was found, the process exits 0." } }
            @if report.self_test.status != SelfTestStatus::Passed {
                p { "Self-test: " (whole(&report.self_test.detail)) ". No pass is given." }
            }
        }
    }
}

/// Where a section of a finding is; by its place in the report, so that no name has a say.
pub(super) fn anchor(at: usize) -> String {
    format!("finding-{}", at + 1)
}

/// Every finding, and a plot of the effects. `told` says which have a section of their own.
pub(super) fn overview(report: &Report, told: &[bool]) -> Markup {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for (at, finding) in report.findings.iter().enumerate() {
        let row = row(report, at, finding, told.get(at).copied().unwrap_or(false));
        bytes += row.0.len();
        if bytes > MOST_TABLE {
            break;
        }
        rows.push(row);
    }
    let left_out = report.findings.len() - rows.len();
    html! {
        h2 id="findings" { "Findings" }
        @if report.findings.is_empty() { p { "There are none." } } @else {
            (plot(report))
            (scrolled("All findings", &html! {
                table {
                    caption { "One line for each rule and way of fine-tuning. Effects are differences of shares, with their interval." }
                    thead { tr { th scope="col" { "finding" } th scope="col" { "verdict" } th.n scope="col" { "effect [interval]" } th.n scope="col" { "limit" }
                        th scope="col" { "compared with" } th.n scope="col" { "seeds" } } }
                    tbody { @for row in &rows { (row) } }
                }
            }))
            @if left_out > 0 { p { "The page would be too large: " (text::grouped(left_out as u64)) " further findings are in report.json alone." } }
        }
    }
}

fn row(report: &Report, at: usize, finding: &Finding, told: bool) -> Markup {
    let effects = text::effects(finding, "–");
    html! {
        tr {
            th scope="row" { @if told { a href=(format!("#{}", anchor(at))) { (line(&finding.id())) } } @else { (line(&finding.id())) } }
            td { (verdict(finding.verdict)) (text::label(finding)) @if let Some(aside) = text::set_aside(report, finding) { ", " (aside) } }
            td.n { @for [effect, _] in effects.iter().take(8) { div { (effect) } } }
            td.n { (text::trimmed(finding.limit)) }
            td { @for [_, with] in effects.iter().take(8) { div { (with) } } }
            td.n { (seeds(finding)) }
        }
    }
}

/// The most fine-tunes that a number of a finding rests on.
fn seeds(finding: &Finding) -> String {
    let of = finding.comparisons.iter().filter_map(|c| c.excess.as_ref()).chain(&finding.own).map(|e| e.seeds).max();
    of.map_or_else(|| "–".to_owned(), |seeds| seeds.to_string())
}

/// The effect that decides: the least over any control, which is what remains after the most generous innocent explanation, or the model's own.
fn decisive(finding: &Finding) -> Option<Row> {
    let (name, estimate) = match text::weakest(&finding.comparisons) {
        Some((comparison, excess)) => (format!("{} over {}", finding.id(), comparison.control.name()), excess),
        None => (format!("{} by itself", finding.id()), finding.own.as_ref()?),
    };
    Some(Row { limit: Some(finding.limit), ..Row::of(line(&name), estimate, true) })
}

fn plot(report: &Report) -> Markup {
    let all: Vec<&Finding> = report.findings.iter().filter(|finding| decisive(finding).is_some()).collect();
    let passed = |finding: &&&Finding| finding.verdict == Verdict::Pass;
    let first = all.iter().filter(|finding| !passed(finding)).chain(all.iter().filter(passed));
    let rows: Vec<Row> = first.take(MOST_DRAWN).filter_map(|finding| decisive(finding)).collect();
    // One alone has a plot of its own below.
    if rows.len() < 2 {
        return html! {};
    }
    let which = if all.len() > rows.len() {
        format!("Effects against their limits: {} of {} findings, those that did not pass first", rows.len(), all.len())
    } else {
        "Effects against their limits".to_owned()
    };
    let what = "For each finding the effect that is left beside the control that explains most of it, with its interval, and a dashed mark at its limit.";
    forest::figure("all", &which, what, None, &rows)
}
