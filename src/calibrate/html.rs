//! A calibration as one page: how well planted and clean sources are told apart, what passes, what cries wolf, and every source.

use maud::{Markup, html};

use super::markdown::LISTED;
use super::plots::{FALSE_POSITIVES, TRUE_POSITIVES, curves};
use super::record::{Calibration, SourceRecord};
use super::results::{Alarms, Named, Over, Rate, Results, Side, Slice};
use super::words::{self, number, rate, small};
use crate::diag::count;
use crate::report::html::forest::{self, Row};
use crate::report::html::lines::{self, Axis, Line};
use crate::report::html::page;
use crate::report::html::words::{digest, line, listed, scrolled, verdict, whole};
use crate::report::text;

/// Rows of a table, and slices of a plot.
const MOST_ROWS: usize = 400;
const MOST_DRAWN: usize = 40;

/// The calibration as one page.
pub(super) fn render(calibration: &Calibration) -> String {
    let (name, policy) = (line(&calibration.name), &calibration.policy);
    let of = |planted: bool| calibration.sources.iter().filter(|source| source.planted == planted).count();
    let modes: &[Alarms] = calibration.results.as_ref().map_or(&[], |results| &results.alarms);
    let header = html! {
        p.soft { "heirloom: calibration of a policy" }
        h1 { (name) }
        @if let Some(description) = &calibration.description { p { (whole(description)) } }
        div.verdict.none {
            strong { (of(true)) " planted, " (count(of(false), "clean source")) }
            p { "Policy " (line(&policy.name)) ", " (count(policy.rules.len(), "rule")) "." }
            @if calibration.results.is_none() { p { "Not all sources are through." } }
            @for slice in calibration.results.iter().flat_map(|results| &results.slices).filter(|slice| slice.over == Over::All) {
                p { (slice.mode.to_string().replace('_', " ")) ": AUC " (rate(slice.auc)) ", caught at 5% false positives " (rate(words::caught(slice, 0)))
                    ". Of " (slice.planted.findings) " planted findings " (slice.planted.fail) " fail and " (slice.planted.pass) " pass; of "
                    (slice.clean.findings) " clean ones " (slice.clean.fail) " fail." }
            }
            p { "A calibration is no verdict: it says what the policy's limits can promise, on sources like these." }
        }
        nav aria-label="Sections" { ul {
            @for (at, alarms) in modes.iter().enumerate() { li { a href=(format!("#mode-{at}")) { (alarms.mode.to_string().replace('_', " ")) } } }
            li { a href="#sources" { "Sources" } } li { a href="#provenance" { "Provenance" } }
        } }
    };
    let main = html! {
        @if let Some(results) = &calibration.results {
            (roc(calibration))
            @for (at, alarms) in results.alarms.iter().enumerate() { (mode(results, alarms, at)) }
        }
        (sources(calibration))
        (provenance(calibration))
    };
    let foot = html! { p { "Made from calibration.json. Figures as files: roc.svg, scores.svg." } };
    page(&format!("heirloom: calibration, {name}"), &header, &main, &foot)
}

fn roc(calibration: &Calibration) -> Markup {
    let of = |series: &crate::report::plot::Series| Line {
        name: line(&series.name),
        points: series.points.iter().map(|at| [at.x, at.y]).collect(),
    };
    let lines: Vec<Line> = curves(calibration).iter().rev().map(of).collect();
    let axes = [Axis { label: FALSE_POSITIVES, ends: Some([0.0, 1.0]) }, Axis { label: TRUE_POSITIVES, ends: Some([0.0, 1.0]) }];
    html! {
        figure {
            figcaption { "ROC curves: planted against clean" }
            (lines::drawing("roc", "ROC curves: planted against clean",
                "The share of planted findings that is caught against the share of clean ones that is taken for planted, by the least score that counts. \
                 The rates that matter are in the tables below.", &axes, &lines))
            @if curves(calibration).len() > lines::MOST { p.soft { "The curves of further families are in roc.svg." } }
        }
    }
}

fn mode(results: &Results, alarms: &Alarms, at: usize) -> Markup {
    let mode = alarms.mode;
    let slices: Vec<&Slice> = results.slices.iter().filter(|slice| slice.mode == mode).collect();
    let (rules, groups): (Vec<&Slice>, Vec<&Slice>) = slices.into_iter().partition(|slice| matches!(slice.over, Over::Rule(_)));
    let whole_slice = || groups.iter().filter(|slice| slice.over == Over::All);
    let unscored: usize = whole_slice().map(|slice| slice.planted.unscored + slice.clean.unscored).sum();
    let broken: usize = whole_slice().map(|slice| slice.planted.other + slice.clean.other).sum();
    let passed: Vec<&Named> = whole_slice().flat_map(|slice| &slice.passed).collect();
    let shown = || groups.iter().chain(&rules).take(MOST_ROWS);
    html! {
        h2 id=(format!("mode-{at}")) { (mode.to_string().replace('_', " ")) }
        h3 { "Told apart" }
        p { (words::TOLD_APART) }
        (told_apart(&groups, at))
        @if unscored > 0 { p { "Findings without any control, and so without a score, in no curve but in the verdicts below: " (unscored) "." } }
        h3 { "Verdicts at the policy's limits" }
        (scrolled("Verdicts at the policy's limits", &html! {
            table {
                thead { tr { th scope="col" { "of" } th.n scope="col" { "planted: fail" } th.n scope="col" { "inconclusive" } th.n scope="col" { "pass" }
                    th.n scope="col" { "clean: fail" } th.n scope="col" { "inconclusive" } th.n scope="col" { "pass" }
                    th.n scope="col" { "smallest planted score" } th.n scope="col" { "largest clean score" } } }
                tbody { @for slice in shown() {
                    tr { th scope="row" { (line(words::over(&slice.over))) } (verdicts(&slice.planted)) (verdicts(&slice.clean))
                        td.n { (number(slice.smallest_planted)) } td.n { (number(slice.limit_none)) } } } }
            }
        }))
        @if groups.len() + rules.len() > MOST_ROWS { p { "and more, in calibration.json" } }
        @if broken > 0 { p { "Findings that could not be judged: " (broken) "." } }
        @if passed.is_empty() { p { (words::NONE_PASSED) } } @else { p { (words::PASSED) } (named(&passed)) }
        @for faint in results.faint.iter().filter(|faint| faint.mode == mode && faint.compared > 0) {
            h3 { "Planted triggers that are not shown to be transferred" }
            p { (words::not_transferred(faint)) }
            (named(&faint.all.iter().collect::<Vec<_>>()))
        }
        h3 { "Clean sources that fail" }
        (scrolled("Clean sources that fail", &html! {
            table {
                thead { tr { th scope="col" { "of" } th.n scope="col" { "share that fails" } th.n scope="col" { "error that the policy states, at most" } } }
                tbody {
                    tr { th scope="row" { "findings" } td.n { (rate(alarms.findings)) } td.n { (small(alarms.stated_finding)) } }
                    tr { th scope="row" { "sources, any finding" } td.n { (rate(Some(alarms.sources))) } td.n { (small(alarms.stated_source)) } }
                }
            }
        }))
        (named(&alarms.failed.iter().collect::<Vec<_>>()))
        @for agreement in results.agreement.iter().filter(|agreement| agreement.mode == mode) {
            h3 { "Verdicts held against more seeds" }
            p { (words::held(agreement)) }
            @if !agreement.disagree.is_empty() { p { "On the other side, with the score at " (agreement.seeds) " seeds:" } }
            (named(&agreement.disagree.iter().collect::<Vec<_>>()))
        }
        @for others in results.others.iter().filter(|others| others.mode == mode && others.side.findings > 0) {
            h3 { "Other triggers on planted sources" }
            p { (words::other(others)) }
            (named(&others.failed.iter().collect::<Vec<_>>()))
        }
    }
}

fn verdicts(side: &Side) -> Markup {
    html! { td.n { (side.fail) } td.n { (side.inconclusive) } td.n { (side.pass) } }
}

/// What of the planted is caught, by slice, and every rate.
fn told_apart(groups: &[&Slice], at: usize) -> Markup {
    let row = |slice: &&Slice| {
        let Rate { value, low, high } = words::caught(slice, 0)?;
        let from = format!(
            "{} planted, {} clean findings",
            slice.planted.findings - slice.planted.unscored,
            slice.clean.findings - slice.clean.unscored
        );
        Some(Row { name: line(words::over(&slice.over)), value, interval: Some([low, high]), limit: None, judged: false, tone: None, from })
    };
    let rows: Vec<Row> = groups.iter().filter_map(row).take(MOST_DRAWN).collect();
    html! {
        @if !rows.is_empty() {
            (forest::figure(&format!("caught-{at}"), "Planted findings caught at 5% false positives",
                "For all findings, and for each family of triggers and each architecture, the share of planted findings above the score that 5% of the \
                 clean ones are above, with its interval.", None, &rows))
        }
        (scrolled("Told apart", &html! {
            table {
                thead { tr { th scope="col" { "of" } th.n scope="col" { "planted (sources)" } th.n scope="col" { "clean (sources)" } th.n scope="col" { "AUC" }
                    th.n scope="col" { "caught at 5% false positives" } th.n scope="col" { "at 10%" } th.n scope="col" { "limit with no clean item above" }
                    th.n scope="col" { "with 5%" } } }
                tbody { @for slice in groups.iter().take(MOST_ROWS) {
                    tr { th scope="row" { (line(words::over(&slice.over))) }
                        @for side in [&slice.planted, &slice.clean] { td.n { (side.findings - side.unscored) " (" (side.sources) ")" } }
                        td.n { (rate(slice.auc)) } td.n { (rate(words::caught(slice, 0))) } td.n { (rate(words::caught(slice, 1))) }
                        td.n { (number(slice.limit_none)) } td.n { (number(slice.limit_five_percent)) } } } }
            }
        }))
    }
}

fn named(all: &[&Named]) -> Markup {
    html! {
        @if !all.is_empty() {
            ul {
                @for finding in all.iter().take(LISTED) {
                    li {
                        (line(&finding.source)) ": " (line(&finding.rule)) ", " (verdict(finding.verdict))
                        " (" (words::score(finding)) ")"
                    }
                }
                @if all.len() > LISTED { li { "and " (all.len() - LISTED) " more, in calibration.json" } }
            }
        }
    }
}

/// Every source with what it carries and what every rule said.
fn sources(calibration: &Calibration) -> Markup {
    let mut left = MOST_ROWS;
    let mut shown: Vec<&SourceRecord> = Vec::new();
    for source in &calibration.sources {
        let Some(less) = left.checked_sub(source.findings.len().max(1)) else { break };
        left = less;
        shown.push(source);
    }
    let more = calibration.sources.len() - shown.len();
    html! {
        h2 id="sources" { "Sources" }
        (scrolled("Sources", &html! {
            table {
                caption { "Every source, what it carries, and its verdict and score under each rule." }
                thead { tr { th scope="col" { "source" } th scope="col" { "carries" } th scope="col" { "rule" } th scope="col" { "verdict" } th.n scope="col" { "score" }
                    th.n scope="col" { "limit" } } }
                tbody { @for source in &shown { @for (nth, finding) in source.findings.iter().enumerate() {
                    @let limit = calibration.policy.rules.iter().find(|rule| rule.id == finding.rule).map(|rule| text::trimmed(rule.limit));
                    tr {
                        @if nth == 0 {
                            th scope="rowgroup" rowspan=(source.findings.len()) { (line(&source.name)) div.soft { (line(&source.architecture)) } }
                            td rowspan=(source.findings.len()) { @if source.planted { (carried(source)) } @else { "nothing" } }
                        }
                        td { (line(&finding.rule)) ", " (finding.mode.to_string().replace('_', " ")) }
                        td { (verdict(finding.verdict)) @if let Some(reason) = &finding.reason { div.soft { (whole(reason)) } } }
                        td.n { (number(finding.score)) }
                        td.n { (limit.as_deref().unwrap_or("–")) }
                    }
                } } }
            }
        }))
        @if more > 0 { p { "and " (count(more, "further source")) ", in calibration.json" } }
    }
}

fn carried(source: &SourceRecord) -> String {
    let near = |rule: &String| if source.near.contains(rule) { " (a near miss)" } else { "" };
    whole(&source.carries.iter().map(|rule| format!("{rule}{}", near(rule))).collect::<Vec<_>>().join(", "))
}

fn provenance(calibration: &Calibration) -> Markup {
    let mut rows =
        vec![("policy", html! { (line(&calibration.policy.name)) }), ("SHA-256 of the policy", digest(&calibration.policy.digest))];
    if let Some(reference) = calibration.sources.iter().find_map(|source| source.reference.as_ref()) {
        rows.push(("reference", html! { "a clean source that was trained for this, " (digest(reference)) }));
    }
    rows.push(("certified by", html! { @for tool in words::tools(calibration).iter().take(MOST_DRAWN) { div { (whole(tool)) } } }));
    html! {
        h2 id="provenance" { "Provenance" }
        (listed(&rows))
        details {
            summary { "Every source by digest" }
            (scrolled("Sources by digest", &html! {
                table {
                    thead { tr { th scope="col" { "source" } th scope="col" { "SHA-256" } } }
                    tbody { @for source in calibration.sources.iter().take(MOST_ROWS) { tr { th scope="row" { (line(&source.name)) } td { (digest(&source.model)) } } } }
                }
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::samples;
    use crate::report::html::tests::{attacks, sound};

    #[test]
    fn the_page_of_a_calibration_looks_like_this() {
        insta::assert_snapshot!(sound(&render(&samples::finished())));
        assert!(sound(&render(&samples::calibration())).contains("Not all sources are through."));
    }

    #[test]
    fn names_mean_nothing_and_do_not_fill_the_page() {
        for name in attacks() {
            let mut calibration = samples::calibration();
            calibration.name.clone_from(&name);
            calibration.description = Some(name.clone());
            calibration.policy.name.clone_from(&name);
            for rule in &mut calibration.policy.rules {
                rule.id = format!("{} {name}", rule.id);
                rule.family = format!("{} {name}", rule.family);
            }
            for source in &mut calibration.sources {
                source.name = format!("{name} {}", source.name);
                source.architecture.clone_from(&name);
                source.carries = source.carries.iter().map(|rule| format!("{rule} {name}")).collect();
                for finding in &mut source.findings {
                    finding.rule = format!("{} {name}", finding.rule);
                    finding.reason = Some(name.clone());
                }
            }
            let results = Some(super::super::results(&calibration));
            let page = render(&Calibration { results, ..calibration });
            sound(&page);
            assert!(!page.contains('\u{202e}') && !page.contains("<img src=x") && page.len() < 1 << 20, "{}", page.len());
        }
    }
}
