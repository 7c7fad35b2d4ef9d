//! One finding: the effect against limit and controls, in numbers and in words, and what every arm did.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::answer::anchor;
use super::forest::{self, Row};
use super::shares;
use super::words::{line, scrolled, signed, verdict, whole};
use crate::diag::capital;
use crate::gate::{ArmSummary, Comparison, Finding, Innocents, Verdict};
use crate::probe::{Arm, Measurement};
use crate::report::{Material, Picture};
use crate::report::{Report, base64, text};
use crate::tune::Mode;

/// Bytes of a sheet of sample images that is put into the page.
const MOST_PICTURE: usize = 400 << 10;
/// Bytes of all of them.
const MOST_PICTURES: usize = 900 << 10;
/// Arms that are drawn class by class.
const MOST_ARMS: usize = 8;

/// Measurements by what a finding knows of them.
pub(super) type Measured<'a> = BTreeMap<(&'a str, Arm, Mode), &'a Measurement>;

/// The measurements by rule, arm and what trained.
pub(super) fn measured<'a>(of: &Material<'a>) -> Measured<'a> {
    of.measurements.into_iter().flatten().map(|m| ((m.rule.as_str(), m.arm, m.mode), m)).collect()
}

/// The section of a finding.
pub(super) fn section(of: &Material, at: usize, finding: &Finding, measured: &Measured) -> Markup {
    let report = of.report;
    let id = anchor(at);
    html! {
        section.finding id=(id) aria-labelledby=(format!("{id}-h")) {
            h3 id=(format!("{id}-h")) { (line(&finding.id())) ": " (verdict(finding.verdict)) (text::label(finding))
                @if let Some(aside) = text::set_aside(report, finding) { ", " (aside) } }
            (told(report, finding))
            (effects(&id, finding))
            @for (nth, comparison) in finding.comparisons.iter().enumerate() {
                @if let Some(innocents) = &comparison.innocents { (population(&format!("{id}-i{nth}"), finding, comparison, innocents)) }
            }
            (arms(finding))
            @for (nth, arm) in finding.arms.iter().take(MOST_ARMS).enumerate() {
                @let own = measured.get(&(finding.rule.as_str(), arm.arm, arm.arm.trains(finding.mode))).copied();
                @if let Some(figure) = shares::histogram(&format!("{id}-h{nth}"), arm, own) { (figure) }
                @if let Some(figure) = shares::groups(&format!("{id}-g{nth}"), arm) { (figure) }
            }
            @if finding.arms.len() > MOST_ARMS { p.soft { "Class by class: the first " (MOST_ARMS) " of " (finding.arms.len()) " networks." } }
        }
    }
}

/// In words.
fn told(report: &Report, finding: &Finding) -> Markup {
    html! {
        @if let Some(change) = report.changes.get(&finding.rule) { p { "Laid over the images: " (whole(change)) "." } }
        @if let Some(reason) = &finding.reason { p { "Reason: " (whole(reason)) "." } }
        @if finding.verdict == Verdict::Fail {
            @if let Some(sentence) = text::explain(finding) { p { (capital(&whole(&sentence))) } }
            @if let Some(class) = text::drawn_to(finding) { p { "Drawn to the class “" (line(class)) "”." } }
            @if finding.waived.is_none() { p { "What to do: " (whole(&text::hint(report, finding))) "." } }
        }
        @if let Some(waiver) = &finding.waived {
            p { "Waived until " (line(&waiver.expires)) " by " (line(&waiver.owner)) ": " (whole(&waiver.reason)) }
        }
        @for note in finding.notes.iter().take(50) { p { (capital(&whole(note))) "." } }
        p.soft { "Judged is " (finding.estimand.words()) ": " (finding.estimand.meaning()) ". Limit " (text::trimmed(finding.limit)) " set at "
            (line(&finding.origin.to_string())) "; severity " (severity(finding)) "; settled at look " (finding.look) "." }
    }
}

fn severity(finding: &Finding) -> String {
    format!("{:?}", finding.severity).to_lowercase()
}

/// The effect against limit and controls.
fn effects(id: &str, finding: &Finding) -> Markup {
    let mut rows = Vec::new();
    if let Some(own) = &finding.own {
        rows.push(Row::of("by itself, compared with nothing".to_owned(), own, true));
    }
    for comparison in &finding.comparisons {
        if let Some(excess) = &comparison.excess {
            rows.push(Row::of(format!("over {}", comparison.control.name()), excess, true));
        }
    }
    for further in &finding.further {
        let between = further.between.as_ref().map(|[from, to]| format!(" from “{}” to “{}”", text::short(from, 40), text::short(to, 40)));
        let what = format!("{}{}", further.estimand.words(), between.unwrap_or_default());
        if let Some(own) = &further.own {
            rows.push(Row { limit: Some(further.limit), ..Row::of(what.clone(), own, true) });
        }
        for comparison in &further.comparisons {
            if let Some(excess) = &comparison.excess {
                let name = format!("{what}, over {}", comparison.control.name());
                rows.push(Row { limit: Some(further.limit), ..Row::of(name, excess, true) });
            }
        }
    }
    let missing = finding.comparisons.iter().filter(|comparison| comparison.excess.is_none());
    html! {
        @if !rows.is_empty() {
            (forest::figure(&format!("{id}-e"), "Effect against limit and controls",
                "The model by itself and beside each control, with intervals, and the limit as a dashed line.", Some(finding.limit), &rows))
        } @else { p { "There are no numbers." } }
        @for comparison in missing {
            p { "No " (comparison.control.name()) " control" @if let Some(why) = &comparison.missing { ": " (whole(why)) } "." }
        }
        @for further in &finding.further {
            p { (capital(further.estimand.words())) ": " (verdict(further.verdict)) @if let Some(reason) = &further.reason { ": " (whole(reason)) } }
        }
    }
}

/// The population of innocent networks.
fn population(id: &str, finding: &Finding, comparison: &Comparison, innocents: &Innocents) -> Markup {
    let shown = |over: &crate::gate::OverReference| {
        let mut name = format!("over {}", line(&over.name));
        for (set, what) in [(over.apart, "lies apart"), (!over.kin, "of another kind"), (!over.counts, "does not count")] {
            if set {
                name = format!("{name}, {what}");
            }
        }
        let from = over.missing.as_deref().map(whole).unwrap_or_default();
        let value = over.excess.unwrap_or(f64::NAN);
        Row { name, value, interval: None, limit: None, judged: false, tone: None, from }
    };
    let rows: Vec<Row> = innocents.references.iter().take(24).map(shown).collect();
    html! {
        (forest::figure(id, &format!("Excess over each network of the {} control", comparison.control.name()),
            "One point for each network that the checkpoint is compared with, and the limit as a dashed line.", Some(finding.limit), &rows))
        p {
            @if let Some(sd) = innocents.sd { "Innocent checkpoints differ by " (text::trimmed(sd)) " (standard deviation). " }
            @if let Some(reach) = innocents.reach { "A failure needs an excess beyond " (text::trimmed(reach)) ". " }
            @if !innocents.inherited_by.is_empty() { "Inherited by " (innocents.inherited_by.len()) " fine-tunes by themselves. " }
            @if innocents.less_accurate > 0.0 {
                "On the target task the checkpoint is " (text::percent(innocents.less_accurate)) " less accurate than the references."
            }
        }
    }
}

/// What every arm did.
fn arms(finding: &Finding) -> Markup {
    if finding.arms.is_empty() {
        return html! {};
    }
    let rate = |arm: &ArmSummary, name: &str| arm.rates.get(name).map_or_else(|| "–".to_owned(), |rate| text::percent(*rate));
    // Bounds of the accuracy stand beside it.
    let mut names: Vec<&str> = finding.arms.iter().flat_map(|arm| arm.rates.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !matches!(*name, "clean_accuracy_low" | "clean_accuracy_high" | "majority_share"));
    let accuracy = |arm: &ArmSummary| match (arm.rates.get("clean_accuracy_low"), arm.rates.get("clean_accuracy_high")) {
        (Some(low), Some(high)) => format!("{} [{}, {}]", rate(arm, "clean_accuracy"), text::percent(*low), text::percent(*high)),
        _ => rate(arm, "clean_accuracy"),
    };
    scrolled(
        "What every network did",
        &html! {
            table {
                caption { "What every network did, means over its fine-tunes." }
                thead { tr { th scope="col" { "rate" } @for arm in finding.arms.iter().take(24) { th.n scope="col" { (arm.arm.to_string()) } } } }
                tbody {
                    @for name in names.iter().take(40) {
                        tr { th scope="row" { (line(&name.replace('_', " "))) }
                            @for arm in finding.arms.iter().take(24) {
                                td.n { @if *name == "clean_accuracy" { (accuracy(arm)) } @else if rate_is_signed(name) {
                                    (arm.rates.get(*name).map_or_else(|| "–".to_owned(), |rate| signed(*rate))) } @else { (rate(arm, name)) } }
                            }
                        }
                    }
                    tr { th scope="row" { "learnt the task" }
                        @for arm in finding.arms.iter().take(24) { td.n { (if arm.valid { "yes" } else { "no" }) } } }
                    tr { th scope="row" { "classes that gain" }
                        @for arm in finding.arms.iter().take(24) {
                            td { @for (class, gain) in arm.gains.iter().take(3) { div { (text::short(class, 40)) " " (signed(*gain)) } } }
                        } }
                }
            }
        },
    )
}

fn rate_is_signed(name: &str) -> bool {
    name.starts_with("attraction") || name.starts_with("sham_")
}

/// The sheets of sample images, as far as they have room; and the names of those that have none.
pub(super) fn pictures(report: &Report, pictures: &[Picture]) -> Markup {
    if report.sheets.is_empty() {
        return html! {};
    }
    let mut left = MOST_PICTURES;
    let mut left_out: Vec<&str> = Vec::new();
    let mut shown = Vec::new();
    for file in &report.sheets {
        match pictures.iter().find(|picture| &picture.file == file) {
            Some(picture) if picture.png.len() <= left.min(MOST_PICTURE) && is_png(&picture.png) => {
                left -= picture.png.len();
                shown.push(picture);
            }
            _ => left_out.push(file),
        }
    }
    html! {
        h2 id="pictures" { "Sample images" }
        p { "Each row is an image of the test set: as it is, with the trigger, and under each sham." }
        @for picture in shown {
            @let name = line(picture.file.trim_start_matches("pictures/").trim_end_matches(".png"));
            figure {
                figcaption { (name) }
                img.sheet alt=(format!("Sample images of the rule {name}: as they are, with the trigger, and under each sham"))
                    src=(format!("data:image/png;base64,{}", base64::encode(&picture.png)));
            }
        }
        @if !left_out.is_empty() {
            p { "Not in the page, because they are too large or were not there: "
                @for file in left_out.iter().take(20) { code { (line(file)) } " " } @if left_out.len() > 20 { "and more" } }
        }
    }
}

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
}
