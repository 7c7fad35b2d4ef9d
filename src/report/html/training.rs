//! How the fine-tunes were trained: loss and accuracy, epoch by epoch.

use maud::{Markup, html};

use super::lines::{self, Axis, Line};
use super::words::{line, scrolled};
use crate::report::{Report, Spread, TrainingCurve};

/// Bytes of all figures.
const MOST: usize = 150 << 10;
/// Rows of a table.
const MOST_ROWS: usize = 20;
/// Points of a line: what earlier and other programs may have written is no reason for a large page.
const MOST_POINTS: usize = 200;

/// The section; none where the run trained nothing, or the report is of an earlier build.
pub(super) fn section(report: &Report) -> Markup {
    let mut left = MOST;
    let mut figures = Vec::new();
    for (at, (stage, curve)) in report.run.training.iter().enumerate() {
        let figure = figure(at, &line(stage), curve);
        let Some(less) = left.checked_sub(figure.0.len()) else { break };
        left = less;
        figures.push(figure);
    }
    let more = report.run.training.len() - figures.len();
    html! {
        @if !report.run.training.is_empty() {
            h2 id="training" { "Training" }
            p { "Loss and accuracy on the training images while training, over the fine-tunes that this run trained. Where a loss does not fall, the \
                 recipe does not suit the checkpoint, and a pass says little." }
            @for figure in &figures { (figure) }
            @if more > 0 { p { "The curves of " (more) " further stages are in report.json alone." } }
        }
    }
}

fn figure(at: usize, stage: &str, curve: &TrainingCurve) -> Markup {
    let title = |what: &str| format!("{stage}: {what} by epoch, {}", crate::diag::count(curve.fine_tunes, "fine-tune"));
    let one = |what: &str, values: &[Spread]| {
        let of = |name: &str, number: fn(&Spread) -> f64| Line {
            name: name.to_owned(),
            points: curve.epochs.iter().zip(values).take(MOST_POINTS).map(|(epoch, spread)| [*epoch as f64, number(spread)]).collect(),
        };
        let mut drawn = vec![of("mean", |spread| spread.mean)];
        if curve.fine_tunes > 1 {
            drawn.extend([of("greatest of a fine-tune", |spread| spread.greatest), of("least", |spread| spread.least)]);
        }
        let axes = [Axis { label: "epoch", ends: None }, Axis { label: what, ends: None }];
        let id = format!("training-{at}-{what}");
        lines::drawing(&id, &title(what), "Lines from the first epoch to the last. The numbers are in the table below.", &axes, &drawn)
    };
    let step = curve.epochs.len().div_ceil(MOST_ROWS).max(1);
    let rows: Vec<((&usize, &Spread), &Spread)> = curve.epochs.iter().zip(&curve.loss).zip(&curve.accuracy).rev().step_by(step).collect();
    html! {
        figure {
            figcaption { (stage) ", " (crate::diag::count(curve.fine_tunes, "fine-tune")) }
            div.pair { (one("loss", &curve.loss)) (one("accuracy", &curve.accuracy)) }
            (scrolled(&format!("{stage}: training, as numbers"), &html! {
                table {
                    thead { tr { th scope="col" { "epoch" } th.n scope="col" { "loss" } th.n scope="col" { "accuracy" } } }
                    tbody { @for ((epoch, loss), accuracy) in rows.iter().rev().take(MOST_ROWS) {
                        tr { th scope="row" { (epoch) } td.n { (told(loss)) } td.n { (told(accuracy)) } }
                    } }
                }
            }))
        }
    }
}

/// The mean, with the least and the greatest.
fn told(of: &Spread) -> String {
    if of.greatest - of.least < 5e-5 {
        format!("{:.3}", of.mean)
    } else {
        format!("{:.3} ({:.3} to {:.3})", of.mean, of.least, of.greatest)
    }
}
