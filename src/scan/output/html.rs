//! The scan as one page: no script, nothing from elsewhere, light and dark as the reader's system is.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Night, report_link};
use crate::diag::capital;
use crate::gate::Verdict;
use crate::report::{printable, text};
use crate::scan::record::{FindingLine, Outcome};
use crate::scan::results::{ModelLine, Scan};
use crate::stats::population::FEWEST;
use crate::store;

const STYLE: &str = include_str!("style.css");

pub(super) fn render(scan: &Scan, nights: &[Night], folder: &Path) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Nothing on the page can ask for anything else.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (safe(&scan.name)) ": " (safe(&scan.summary)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (safe(&scan.name)) }
                    p.answer { (safe(&scan.summary)) }
                    p.meta {
                        (scan.run.started) ", exit code " (scan.exit_code) ", heirloom " (scan.tool.version) ", " (safe(&scan.tool.computed_on()))
                        @if scan.run.shards > 1 { ", " (scan.run.shards) " shards" }
                    }
                    (changes(scan))
                    (table(scan, folder))
                    (populations(scan))
                    (trend(nights))
                    p.meta { "A pass means: no effect above the limit for these probes, this target task and this budget. It never means clean." }
                }
            }
        }
    };
    page.into_string() + "\n"
}

fn changes(scan: &Scan) -> Markup {
    let changes = &scan.changes;
    html! {
        h2 { "Since the last scan" }
        @if changes.first {
            p { "There is no earlier scan to compare with." }
        } @else if changes.is_empty() {
            p { "Nothing has changed." }
        } @else {
            dl {
                @for (what, names) in changes.kinds().iter().filter(|(_, names)| !names.is_empty()) {
                    dt { (capital(what)) " (" (names.len()) ")" }
                    dd { @for name in *names { code { (safe(name)) } " " } }
                }
                @if !changes.expired_waivers.is_empty() {
                    dt { "Expired waivers (" (changes.expired_waivers.len()) ")" }
                    dd {
                        @for expired in &changes.expired_waivers {
                            code { (safe(&expired.model)) } " " (safe(&expired.waiver.rule)) ", of " (safe(&expired.waiver.owner)) ", until "
                            (safe(&expired.waiver.expires)) ". "
                        }
                    }
                }
            }
        }
    }
}

fn table(scan: &Scan, folder: &Path) -> Markup {
    html! {
        h2 { "Models" }
        div.wide {
            table {
                thead { tr { th { "Model" } th { "Verdict" } th { "Why" } th { "What it is" } th { "Measured" } } }
                tbody { @for model in &scan.models { (row(scan, model, folder)) } }
            }
        }
    }
}

fn row(scan: &Scan, model: &ModelLine, folder: &Path) -> Markup {
    let name = model.id().to_string();
    let run = scan.run.models.get(&name);
    let mut told: Vec<&FindingLine> = model.findings.iter().filter(|finding| finding.verdict != Verdict::Pass).collect();
    // What the model fails by comes first.
    told.sort_by_key(|finding| finding.verdict != Verdict::Fail);
    html! {
        tr class=(class(model.outcome)) {
            td.name {
                @if let Some(report) = &model.report { a href=(report_link(report, folder)) { (safe(&name)) } } @else { (safe(&name)) }
                @if let Some(digest) = &model.digest { br; code.digest title=(digest.to_string()) { (digest.short()) } }
            }
            td { span.verdict { (model.outcome.name()) } @if model.standing { " " span.meta { "as before" } } }
            td {
                @if let Some(cause) = model.cause { code { (cause.name()) } " " }
                (safe(&model.summary))
                @if !told.is_empty() { ul { @for finding in &told { (line(finding)) } } }
                @if let Some(facts) = &model.facts { @for warning in &facts.warnings { p.warning { (safe(warning)) } } }
            }
            td.what {
                @if let Some(facts) = &model.facts {
                    (safe(&facts.description)) ", " (text::grouped(facts.parameters as u64)) " parameters, " (facts.input[1]) "x" (facts.input[2]) br;
                }
                (store::bytes(model.bytes))
                @if let Some(policy) = &model.policy { br; (safe(policy)) }
                @if let Some(tier) = model.tier { " (" (tier.name()) ")" }
            }
            td.date { @if let Some(run) = run { (run.measured.get(..10).unwrap_or_default()) } }
        }
    }
}

/// The last scans, the newest first.
fn trend(nights: &[Night]) -> Markup {
    /// Most that are shown.
    const MOST: usize = 30;
    let shown: Vec<&Night> = nights.iter().rev().take(MOST).collect();
    let there: Vec<Outcome> =
        Outcome::ALL.into_iter().filter(|outcome| shown.iter().any(|night| night.counts.contains_key(outcome))).collect();
    html! {
        @if shown.len() > 1 {
            h2 { "The last scans" }
            div.wide {
                table.trend {
                    thead { tr { th { "Begun" } @for outcome in &there { th { (outcome.name()) } } th { "Exit code" } } }
                    tbody {
                        @for night in &shown {
                            tr {
                                td { (safe(&night.started)) }
                                @for outcome in &there { td class=(class(*outcome)) { (night.counts.get(outcome).copied().unwrap_or(0)) } }
                                td { (night.exit_code) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn populations(scan: &Scan) -> Markup {
    let signed = |value: f64| format!("{value:+.3}");
    html! {
        @if !scan.populations.is_empty() {
            h2 { "What the models do under each rule" }
            p.meta {
                "Forks and copies of one parent are one family, whose value is the median of its models. "
                "A model that lies above the other families by more than the limit, and beyond what chance does, fails. With fewer than "
                (FEWEST) " other families nothing is compared."
            }
            div.wide {
                table {
                    thead { tr { th { "Rule" } th { "Number" } th { "Models" } th { "Families" } th { "Median family" } th { "Highest family" } } }
                    tbody {
                        @for told in &scan.populations {
                            tr {
                                td { code { (safe(&told.finding)) } br; span.meta { (safe(&told.policy)) " (" (told.tier.name()) ")" } }
                                td { (told.estimand.words()) }
                                td { (told.models) } td { (told.families) } td { (signed(told.median)) } td { (signed(told.highest)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn line(finding: &FindingLine) -> Markup {
    let waived = finding.waived.as_ref().map(|waiver| format!(", waived until {} by {}", waiver.expires, waiver.owner)).unwrap_or_default();
    html! {
        li {
            code { (safe(&finding.id)) } " " (text::verdict(finding.verdict)) (safe(&waived))
            @if !finding.numbers.is_empty() { ": " (safe(&finding.numbers)) }
            @if let Some(reason) = &finding.reason { br; (safe(reason)) }
        }
    }
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fail => "fail",
        Outcome::Error => "error",
        Outcome::Inconclusive | Outcome::NotReached | Outcome::NotJudged => "open",
        Outcome::Pass => "pass",
        Outcome::Inspected | Outcome::LeftOut => "none",
    }
}

/// What came from a file: no character of it hides or turns others.
fn safe(text: &str) -> String {
    printable(text).into_owned()
}
