//! A comparison as one page: the answer first, then what is broken, worse, not known and fixed, and what both reports are of.

use maud::{Markup, html};

use super::words::{ORDER, counts, head, note, word};
use super::{Change, Comparison, RuleChange, Side};
use crate::diag::{capital, count};
use crate::gate::Verdict;
use crate::report::html::forest::{self, Row};
use crate::report::html::page;
use crate::report::html::words::{digest, line, scrolled, verdict, whole};
use crate::report::text;

/// Rows of each table, and of the plot.
const MOST_ROWS: usize = 200;
const MOST_DRAWN: usize = 40;

/// The comparison as one page.
pub fn page_of(comparison: &Comparison) -> String {
    let Comparison { old, new, rules, exit_code, .. } = comparison;
    let (tone, means) = match exit_code {
        0 => ("good", "No rule is worse, as far as the images and seeds of both reports show."),
        1 => ("bad", "At least one rule fails that did not, or the later checkpoint reacts more than the earlier one."),
        _ => ("open", "It is not known of every rule whether the later checkpoint is worse: each such rule says why below. It is no pass."),
    };
    let groups: Vec<(Change, &str, Vec<&RuleChange>)> =
        ORDER.iter().map(|(change, name, _)| (*change, *name, rules.iter().filter(|rule| rule.change == *change).collect())).collect();
    let there = || groups.iter().filter(|(.., rules)| !rules.is_empty());
    let header = html! {
        p.soft { "heirloom: two reports of one policy's rules" }
        h1 { (line(&old.model)) " → " (line(&new.model)) }
        div.verdict.(tone) { strong { (head(comparison)) } p { (count(rules.len(), "rule")) ": " (counts(comparison)) "." } p { (means) } }
        nav aria-label="Sections" { ul {
            @for (change, name, _) in there() { li { a href=(format!("#{}", id(*change))) { (name) } } }
            li { a href="#reports" { "Both reports" } }
        } }
    };
    let main = html! {
        (plot(comparison))
        @for (change, name, rules) in there() { (group(*change, name, rules)) }
        h2 id="reports" { "Both reports" }
        (scrolled("Both reports", &html! {
            table {
                thead { tr { th scope="col" { "of" } th scope="col" { "earlier" } th scope="col" { "later" } } }
                tbody {
                    (row("model", [old, new].map(|side| html! { (line(&side.model)) br; (digest(&side.digest)) })))
                    (row("policy", [old, new].map(|side| html! { (line(&side.policy)) br; (digest(&side.policy_digest)) })))
                    (row("measured", [old, new].map(|side| html! { (line(&side.started)) })))
                    (row("verdict", [old, new].map(ended)))
                }
            }
        }))
        h2 { "What it means" }
        p { (note(comparison)) }
    };
    let foot = html! { p { "Made by heirloom " (env!("CARGO_PKG_VERSION")) " (" code { "heirloom compare" } ")." } };
    page(&format!("heirloom compare: {}, {}", head(comparison), line(&new.model)), &header, &main, &foot)
}

fn id(change: Change) -> String {
    format!("{change:?}").to_lowercase()
}

fn row(what: &str, sides: [Markup; 2]) -> Markup {
    html! { tr { th scope="row" { (what) } @for side in sides { td { (side) } } } }
}

/// How the run of a report ended.
fn ended(side: &Side) -> Markup {
    let of = match side.exit_code {
        0 => "pass",
        1 => "fail",
        2 => "error",
        3 => "nothing judged",
        5 => "inconclusive",
        130 => "interrupted",
        _ => "no verdict",
    };
    html! { (of) " (exit code " (side.exit_code) ")" }
}

fn name(rule: &RuleChange) -> String {
    line(&format!("{}@{}", rule.rule, rule.mode))
}

/// Every paired difference, those that are worse first.
fn plot(comparison: &Comparison) -> Markup {
    let mut rules: Vec<&RuleChange> = comparison.rules.iter().filter(|rule| rule.difference.is_some()).collect();
    rules.sort_by_key(|rule| rule.change);
    let all = rules.len();
    let row = |rule: &&RuleChange| {
        let d = rule.difference.as_ref()?;
        let tone = match rule.change {
            Change::Broken | Change::Worse => "bad",
            Change::Fixed | Change::Better => "good",
            Change::Unsettled => "open",
            _ => "none",
        };
        let from = format!("{} images, {} seeds", d.images, d.seeds);
        let name = format!("{}: {}", name(rule), word(rule));
        Some(Row { name, value: d.value, interval: Some([d.low, d.high]), limit: None, judged: false, tone: Some(tone), from })
    };
    let rows: Vec<Row> = rules.iter().take(MOST_DRAWN).filter_map(row).collect();
    let which = if all > rows.len() { format!(", the {} most changed of {all}", rows.len()) } else { String::new() };
    let margin = Some(comparison.margin).filter(|margin| *margin > 0.0);
    html! {
        @if !rows.is_empty() {
            (forest::figure("differences", &format!("Later minus earlier{which}"),
                "For each rule how much more the later checkpoint reacts than the earlier one, paired by image and seed, with an interval. A dashed line is \
                 the margin by which a reaction may grow, where one was given.", margin, &rows))
        }
    }
}

fn group(change: Change, title: &str, rules: &[&RuleChange]) -> Markup {
    let reasons = rules.iter().any(|rule| rule.reason.is_some());
    let told = |of: Option<Verdict>| html! { @match of { Some(of) => (verdict(of)), None => "–" } };
    let limit = |of: Option<f64>| of.map_or_else(|| "–".to_owned(), text::trimmed);
    html! {
        h2 id=(id(change)) { (capital(title)) " (" (rules.len()) ")" }
        (scrolled(title, &html! {
            table {
                thead { tr { th scope="col" { "rule" } th scope="col" { "earlier" } th scope="col" { "later" } th.n scope="col" { "difference [interval]" }
                    th.n scope="col" { "limit" } th scope="col" { "what became of it" } @if reasons { th scope="col" { "why" } } } }
                tbody { @for rule in rules.iter().take(MOST_ROWS) {
                    @let [earlier, later] = rule.limits;
                    tr {
                        th scope="row" { (name(rule)) }
                        @for of in rule.verdicts { td { (told(of)) } }
                        td.n { @match &rule.difference { Some(d) => (text::estimate_of(d.value, [d.low, d.high])), None => "–" } }
                        td.n { @if limit(earlier) == limit(later) { (limit(later)) } @else { (limit(earlier)) " → " (limit(later)) } }
                        td { (word(rule)) }
                        @if reasons { td { @if let Some(reason) = &rule.reason { (whole(reason)) } } }
                    }
                } }
            }
        }))
        @if rules.len() > MOST_ROWS { p { "and " (rules.len() - MOST_ROWS) " more, in " code { "--format json" } } }
    }
}
