//! What was judged, by what, and on which images: model, references, task, recipe, waivers, limits of the claim.

use maud::{Markup, html};
use serde_json::Value;

use super::forest::{self, Row};
use super::provenance::tree;
use super::words::{digest, line, listed, scrolled, whole};
use crate::diag;
use crate::report::{Report, text};

/// Entries of a list that a table shows.
const MOST: usize = 200;

/// How well each arm does the target task.
pub(super) fn accuracy(report: &Report) -> Markup {
    let rows: Vec<Row> = report.accuracy.iter().take(40).map(row).collect();
    html! {
        @if !rows.is_empty() {
            h2 id="accuracy" { "Accuracy on the target task" }
            p { "How often the test images, as they are, are called right. A network that does not know the task shows little about what it hands down." }
            (forest::figure("accuracy-f", "Accuracy on the target task", "The mean over seeds of each kind of fine-tune, with a 95% interval.", None, &rows))
        }
    }
}

fn row(of: &crate::report::TaskAccuracy) -> Row {
    let from = format!("{} images, {} seeds", of.images, of.seeds);
    Row { name: line(&of.what), value: of.accuracy, interval: Some([of.low, of.high]), limit: None, judged: false, tone: None, from }
}

/// The checkpoint and what it is compared with.
pub(super) fn model(report: &Report) -> Markup {
    let model = &report.model;
    let id = &model.identity;
    let executor = &model.executor;
    let computed = html! {
        (line(&executor.name))
        @if let Some(reason) = &executor.reason { " (" (whole(reason)) ")" }
        @if let Some(a) = &executor.agreement { "; it and heirloom differ by " (format!("{:e}", a.difference)) " of the largest feature on " (a.images) " images" }
    };
    let mut rows = vec![
        ("file", html! { (whole(&id.path.display().to_string())) ", " (text::grouped(id.bytes)) " bytes" }),
        ("SHA-256", digest(&id.digest)),
        ("what it is", html! { (line(&model.description)) ", " (text::grouped(model.parameters as u64)) " parameters" }),
        (
            "images",
            html! { (model.input.channels) " x " (model.input.height) " x " (model.input.width) ", " (whole(&model.input.resized())) },
        ),
        ("normalised", html! { (whole(&model.input.normalised())) }),
        ("features", html! { (model.features.width) " at " code { (line(&model.features.name)) } ": " (whole(&model.features.how)) }),
        ("features computed by", computed),
    ];
    let none = html! { "none: no node leads from the image to the features around the weights" };
    rows.push(("nodes around the weights", model.bypass.as_ref().map_or(none, |bypass| html! { (whole(&bypass.remark())) })));
    html! {
        h2 id="model" { "The checkpoint" }
        (listed(&rows))
        @if !id.files.is_empty() {
            (scrolled("Files of the checkpoint", &html! {
                table {
                    caption { "Its files; the digest above is made of theirs." }
                    thead { tr { th scope="col" { "file" } th scope="col" { "SHA-256" } th.n scope="col" { "bytes" } } }
                    tbody { @for file in id.files.iter().take(MOST) {
                        tr { th scope="row" { (line(if file.name == "-" { "the checkpoint itself" } else { &file.name })) } td { (digest(&file.digest)) }
                            td.n { (text::grouped(file.bytes)) } } } }
                }
            }))
        }
        @if !report.references.is_empty() {
            h3 { "Trusted checkpoints" }
            (scrolled("Trusted checkpoints", &html! {
                table {
                    thead { tr { th scope="col" { "called" } th scope="col" { "file" } th scope="col" { "SHA-256" } th scope="col" { "what it is" }
                        th scope="col" { "same architecture" } th scope="col" { "normalised" } } }
                    tbody { @for r in report.references.iter().take(MOST) {
                        tr { th scope="row" { (r.arm.to_string()) } td { (line(&r.name)) } td { (digest(&r.digest)) } td { (line(&r.description)) }
                            td { (if r.same_architecture { "yes" } else if r.said_kin { "no, of its kind by the policy" } else { "no" }) }
                            td { (line(&r.normalised)) } } } }
                }
            }))
        }
    }
}

/// The target task and how fine-tunes train on it.
pub(super) fn task(report: &Report) -> Markup {
    let contents = report.policy.contents.as_ref();
    let part = |name: &str| contents.and_then(|contents| contents.get(name));
    html! {
        h2 id="task" { "Target task and training" }
        @if let Some(target) = &report.target {
            (listed(&[
                ("images", html! { (whole(&target.data)) }),
                ("classes", html! { (target.classes.len()) ": "
                    @for (at, class) in target.classes.iter().take(MOST).enumerate() { @if at > 0 { ", " } (text::short(class, 60)) }
                    @if target.classes.len() > MOST { " and more" } }),
                ("trained on", html! { (text::grouped(target.train.images as u64)) " images, " (digest(&target.train.digest)) }),
                ("measured on", html! { (text::grouped(target.test.images as u64)) " images, " (digest(&target.test.digest)) }),
            ]))
        }
        @if let Some(Value::Object(recipes)) = part("transfer") {
            @for (mode, recipe) in recipes.iter().take(8) {
                h3 { "Recipe: " (line(&mode.replace('_', " "))) }
                (tree(recipe))
            }
        } @else { p { "The report holds no recipe: it is of an earlier build, or its policy says none." } }
        @if let Some(seeds) = part("seeds") { h3 { "Fine-tunes of each kind" } (tree(seeds)) }
        @if !report.plan.jobs.is_empty() {
            (scrolled("What was trained", &html! {
                table {
                    caption { "What was trained and measured, in order." }
                    thead { tr { th scope="col" { "stage" } th scope="col" { "starts from" } th scope="col" { "trains" } th.n scope="col" { "seeds" }
                        th.n scope="col" { "images" } } }
                    tbody { @for job in report.plan.jobs.iter().take(MOST) {
                        tr { th scope="row" { (line(&job.stage)) } td { (job.arm.to_string()) } td { (job.mode.to_string().replace('_', " ")) }
                            td.n { (job.seeds) } td.n { (text::grouped(job.images as u64)) } } } }
                }
            }))
        }
        @if !report.plan.left_out.is_empty() {
            p { "Left out:" }
            ul { @for left in report.plan.left_out.iter().take(MOST) { li { (whole(left)) } } }
        }
        @if !report.broken.is_empty() {
            p { (diag::count(report.broken.len(), "image")) " could not be read and " (diag::agree(&report.broken.len(), "was", "were")) " left out:" }
            ul { @for broken in report.broken.iter().take(50) { li { (line(&broken.id)) ": " (line(&broken.reason)) } }
                @if report.broken.len() > 50 { li { "and more, in report.json" } } }
        }
    }
}

/// Who accepts what, until when.
pub(super) fn waivers(report: &Report) -> Markup {
    html! {
        h2 id="waivers" { "Waivers" }
        @if report.waivers.is_empty() { p { "The policy has none." } } @else {
            (scrolled("Waivers", &html! {
                table {
                    caption { "The policy's waivers, counted or not; a finding that one accepts says so." }
                    thead { tr { th scope="col" { "rule" } th scope="col" { "owner" } th scope="col" { "expires" } th scope="col" { "reason" } th scope="col" { "model" } } }
                    tbody { @for w in report.waivers.iter().take(MOST) {
                        tr { th scope="row" { (line(&w.rule)) } td { (line(&w.owner)) } td { (line(&w.expires)) } td { (line(&w.reason)) } td { code { (line(&w.model)) } } } } }
                }
            }))
        }
    }
}

/// Notes and warnings.
pub(super) fn remarks(report: &Report) -> Markup {
    html! {
        @if !report.warnings.is_empty() || !report.notes.is_empty() {
            h2 id="notes" { "Warnings and notes" }
            ul {
                @for warning in report.warnings.iter().take(MOST) { li { strong { "Warning: " } (whole(warning)) } }
                @for note in report.notes.iter().take(MOST) { li { (whole(note)) } }
            }
        }
    }
}

/// What the report does not say.
pub(super) fn limits(report: &Report) -> Markup {
    let train = report.target.as_ref().map(|target| target.train.images);
    html! {
        h2 id="limits" { "Limits of the claim" }
        ul {
            li { "It is about the checkpoint with the digest on this page, and no other." }
            li { "It is about the rules in the table. A trigger that no rule names was not looked for." }
            li { "It is about this target task, these recipes and this number of fine-tunes. A bias that shows on another task only does not show here." }
            @if let Some(train) = train {
                li { "The intervals are about these " (text::grouped(train as u64)) " training images. On others of their kind the effects may lie farther away"
                    @if report.findings.iter().any(|f| f.own.iter().any(|own| own.another_sample.is_some())) {
                        " (" code { "another_sample" } " in report.json says how far)" } "." }
            }
            @if !report.policy.salted {
                li { "Shams and halves are drawn from the policy's seed alone: whoever knows the policy knows them." }
            }
            li { "Heirloom names effects. It says nothing about intent, and a pass never means that a checkpoint is clean." }
        }
    }
}
