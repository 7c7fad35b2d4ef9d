//! The page of a report with a verdict: which sections, and how much there is room for.

use maud::{Markup, html};

use super::words::{digest, line};
use super::{answer, facts, finding, page, provenance, training};
use crate::gate::{Finding, Verdict};
use crate::report::{Material, text};

/// Bytes of all sections of findings.
const MOST_SECTIONS: usize = 900 << 10;
/// Findings up to which those that passed have sections too.
const MOST_FINDINGS: usize = 40;

/// Those that need somebody first.
fn rank(finding: &Finding) -> u8 {
    match finding.verdict {
        Verdict::Fail => 0,
        Verdict::Error => 1,
        Verdict::Inconclusive => 2,
        Verdict::Pass => 3,
        Verdict::Skipped => 4,
    }
}

/// The page.
pub(super) fn page_of(of: &Material) -> String {
    let report = of.report;
    let measured = finding::measured(of);
    let mut order: Vec<(usize, &Finding)> = report.findings.iter().enumerate().collect();
    order.sort_by_key(|(at, finding)| (rank(finding), *at));
    let few = report.findings.len() <= MOST_FINDINGS;
    let mut told = vec![false; report.findings.len()];
    let mut sections: Vec<Markup> = Vec::new();
    let mut left = MOST_SECTIONS;
    for (at, one) in order.into_iter().filter(|(_, finding)| few || !matches!(finding.verdict, Verdict::Pass | Verdict::Skipped)) {
        let section = finding::section(of, at, one, &measured);
        let Some(less) = left.checked_sub(section.0.len()) else { break };
        left = less;
        if let Some(told) = told.get_mut(at) {
            *told = true;
        }
        sections.push(section);
    }
    let without = told.iter().filter(|told| !**told).count();
    let name = line(&report.model.identity.name());
    let header = html! {
        p.soft { "heirloom: certification of a checkpoint" }
        h1 { (name) }
        p.soft { (digest(&report.model.identity.digest)) br; "Policy " (line(&report.policy.name)) ", judged " (line(&report.run.started)) }
        (answer::verdict_of(report))
        nav aria-label="Sections" { ul {
            @for (id, title) in sections_of(of) { li { a href=(format!("#{id}")) { (title) } } }
        } }
    };
    let main = html! {
        (answer::overview(report, &told))
        @if of.measurements.is_none() { p { "The outcomes of single images were not beside the report: histograms by fine-tune are left out." } }
        @for section in &sections { (section) }
        @if without > 0 && !report.findings.is_empty() {
            p { (text::grouped(without as u64)) " of " (text::grouped(report.findings.len() as u64)) " findings stand in the table alone, to keep the page small: "
                "those that passed where there are more than " (MOST_FINDINGS) ", and those for which there is no room. Their numbers are in report.json." }
        }
        (facts::accuracy(report))
        (training::section(report))
        (finding::pictures(report, of.pictures))
        (facts::model(report))
        (facts::task(report))
        (facts::waivers(report))
        (facts::remarks(report))
        (facts::limits(report))
        (provenance::section(report))
    };
    let foot = html! {
        p { "Made from report.json by " (line(&report.tool.name)) " " (line(&report.tool.version)) ". Other forms of the same report: "
            code { "heirloom render REPORT --as NAME" } "." }
    };
    page(&format!("heirloom: {}, {name}", text::headline(report)), &header, &main, &foot)
}

fn sections_of(of: &Material) -> Vec<(&'static str, &'static str)> {
    let report = of.report;
    let all = [
        (true, "findings", "Findings"),
        (!report.accuracy.is_empty(), "accuracy", "Accuracy"),
        (!report.run.training.is_empty(), "training", "Training"),
        (!report.sheets.is_empty(), "pictures", "Sample images"),
        (true, "model", "The checkpoint"),
        (true, "task", "Target task and training"),
        (true, "waivers", "Waivers"),
        (!report.warnings.is_empty() || !report.notes.is_empty(), "notes", "Warnings and notes"),
        (true, "limits", "Limits of the claim"),
        (true, "provenance", "Provenance"),
    ];
    all.into_iter().filter(|(there, ..)| *there).map(|(_, id, title)| (id, title)).collect()
}
