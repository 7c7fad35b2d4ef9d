//! What fine-tunes predicted, class by class or group by group, with one tick for every fine-tune; the same numbers in a table under it.

use maud::{Markup, html};

use super::words::scrolled;
use crate::gate::ArmSummary;
use crate::probe::Measurement;
use crate::report::text;

/// Width of a drawing, and where its bars begin and end.
const WIDTH: f64 = 400.0;
const LEFT: f64 = 8.0;
const SPAN: f64 = 384.0;
/// Height of a class: its name, and its bars.
const ROW: f64 = 42.0;
/// Classes that are drawn: those that change most.
const MOST: usize = 12;

/// The share of one class or group, by fine-tune.
struct Bar {
    name: String,
    /// As images are.
    clean: Vec<f64>,
    /// With the change; empty where there is none.
    changed: Vec<f64>,
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

impl Bar {
    fn moved(&self) -> f64 {
        (mean(&self.changed) - mean(&self.clean)).abs()
    }
}

/// How often each class is predicted by the fine-tunes of an arm, as images are and with the change: from the outcomes of single images where they
/// are there, else the means that the report has.
pub(super) fn histogram(id: &str, arm: &ArmSummary, measured: Option<&Measurement>) -> Option<Markup> {
    let mut bars: Vec<Bar> = match measured {
        Some(measured) if measured.outcomes.iter().any(|outcome| !outcome.changed.is_empty()) => counted(measured),
        _ => arm.histogram.iter().map(|s| Bar { name: s.class.clone(), clean: vec![s.clean], changed: vec![s.changed] }).collect(),
    };
    if bars.is_empty() {
        return None;
    }
    let classes = bars.len();
    if classes > MOST {
        // Ties by their place: equal reports give equal pages.
        bars.sort_by(|a, b| b.moved().total_cmp(&a.moved()));
        bars.truncate(MOST);
    }
    let which = if classes > MOST { format!(", the {MOST} of {classes} classes that change most") } else { String::new() };
    let title = format!("{}: how often each class is predicted{which}", arm.arm);
    Some(figure(id, &title, ["as images are", "with the change"], "class", &bars))
}

/// How often images of each group are called right by the fine-tunes of an arm.
pub(super) fn groups(id: &str, arm: &ArmSummary) -> Option<Markup> {
    let bar = |group: &crate::probe::groups::Accuracy| {
        let name = format!("{}, {} ({} images)", group.label, group.value, group.images);
        Bar { name, clean: vec![group.accuracy], changed: Vec::new() }
    };
    let mut bars: Vec<Bar> = arm.groups.iter().map(bar).collect();
    if bars.is_empty() {
        return None;
    }
    let all = bars.len();
    bars.truncate(2 * MOST);
    let which = if all > bars.len() { format!(", the first {} of {all} groups", bars.len()) } else { String::new() };
    Some(figure(id, &format!("{}: accuracy by group{which}", arm.arm), ["accuracy", ""], "group", &bars))
}

/// Shares of predictions by class and fine-tune.
fn counted(measured: &Measurement) -> Vec<Bar> {
    let shares = |column: &[u16]| {
        let mut counts = vec![0_usize; measured.classes.len()];
        for class in column {
            if let Some(count) = counts.get_mut(usize::from(*class)) {
                *count += 1;
            }
        }
        counts.into_iter().map(|count| count as f64 / column.len().max(1) as f64).collect::<Vec<f64>>()
    };
    let each: Vec<[Vec<f64>; 2]> = measured.outcomes.iter().map(|o| [shares(&o.clean), shares(&o.changed)]).collect();
    let of = |class: usize, side: usize| each.iter().filter_map(|shares| shares.get(side)?.get(class).copied()).collect();
    measured.classes.iter().enumerate().map(|(at, name)| Bar { name: name.clone(), clean: of(at, 0), changed: of(at, 1) }).collect()
}

fn figure(id: &str, title: &str, sides: [&str; 2], what: &str, bars: &[Bar]) -> Markup {
    let x = |share: f64| format!("{:.1}", LEFT + share.clamp(0.0, 1.0) * SPAN);
    let length = |share: f64| format!("{:.1}", share.clamp(0.0, 1.0) * SPAN);
    let two = bars.iter().any(|bar| !bar.changed.is_empty());
    let height = ROW * bars.len() as f64 + 20.0;
    let side = |values: &[f64], top: f64, class: &str| {
        html! {
            rect.(class) x=(LEFT) y=(format!("{top:.1}")) width=(length(mean(values))) height="9" {}
            @if values.len() > 1 {
                @for value in values.iter().take(64) {
                    rect.seed x=(x(*value)) y=(format!("{:.1}", top + 1.0)) width="1.2" height="7" {}
                }
            }
        }
    };
    html! {
        figure {
            figcaption { (title) }
            @if two { p.soft { span.key {} (sides[0]) " " span.key.with {} (sides[1]) "; ticks are single fine-tunes" } }
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{id}-t {id}-d")) {
                title id=(format!("{id}-t")) { (title) }
                desc id=(format!("{id}-d")) { "Bars from 0% to 100%, one for each " (what) @if two { ", " (sides[0]) " and " (sides[1]) }
                    ". The numbers are in the table below." }
                @for (at, bar) in bars.iter().enumerate() {
                    @let top = ROW * at as f64;
                    text x=(LEFT) y=(format!("{:.1}", top + 13.0)) { (text::short(&bar.name, 56)) }
                    rect.track x=(LEFT) y=(format!("{:.1}", top + 18.0)) width=(SPAN) height=(if two { "19" } else { "9" }) {}
                    (side(&bar.clean, top + 18.0, "plain"))
                    @if two { (side(&bar.changed, top + 28.0, "changed")) }
                }
                @for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
                    text.small x=(x(share)) y=(format!("{:.1}", height - 4.0)) text-anchor=(anchor) { (text::percent(share)) }
                }
            }
            (scrolled(&format!("{title}, as numbers"), &html! {
                table {
                    thead { tr { th scope="col" { (what) } th.n scope="col" { (sides[0]) } @if two { th.n scope="col" { (sides[1]) } } } }
                    tbody {
                        @for bar in bars {
                            tr { th scope="row" { (text::short(&bar.name, 120)) } td.n { (told(&bar.clean)) } @if two { td.n { (told(&bar.changed)) } } }
                        }
                    }
                }
            }))
        }
    }
}

/// The mean, with the least and the greatest of several.
fn told(values: &[f64]) -> String {
    let [least, most] = values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(*v), b.max(*v)]);
    let range = if values.len() > 1 { format!(" ({} to {})", text::percent(least), text::percent(most)) } else { String::new() };
    format!("{}{range}", text::percent(mean(values)))
}
