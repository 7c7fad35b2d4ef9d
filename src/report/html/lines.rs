//! Lines over two axes, drawn for a page: the ways of several things, each by its colour and its dashes, with their names below.

use maud::{Markup, html};

use super::forest::ticks;
use crate::report::text;

/// Size of the drawing.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 230.0;
/// Around the axes.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
/// Height of a name below.
const ROW: f64 = 17.0;
/// Lines that can be told apart, a class of the style each; of more, the first are drawn.
pub(crate) const MOST: usize = 6;
/// Points of a line that are drawn.
const MOST_POINTS: usize = 1000;
/// Values further from 0 are left out.
const GREATEST: f64 = 1e9;

/// One line.
pub(crate) struct Line {
    /// What it is, safe on one line.
    pub name: String,
    /// Its points in their order; those that are no numbers are left out.
    pub points: Vec<[f64; 2]>,
}

/// An axis.
pub(crate) struct Axis<'a> {
    /// What it shows, with its unit.
    pub label: &'a str,
    /// Its ends; those of the data where absent.
    pub ends: Option<[f64; 2]>,
}

/// The drawing. The table of its numbers is the caller's.
pub(crate) fn drawing(id: &str, title: &str, what: &str, axes: &[Axis; 2], lines: &[Line]) -> Markup {
    let usable = |point: &&[f64; 2]| point.iter().all(|value| value.is_finite() && value.abs() < GREATEST);
    let shown: Vec<(&Line, Vec<[f64; 2]>)> =
        lines.iter().take(MOST).map(|line| (line, line.points.iter().filter(usable).take(MOST_POINTS).copied().collect())).collect();
    let [horizontal, vertical] = axes;
    let along = |at: usize| shown.iter().flat_map(|(_, points)| points).filter_map(move |point| point.get(at).copied());
    let [left, right] = ends(horizontal, along(0));
    let [low, high] = ends(vertical, along(1));
    let bottom = HEIGHT - 34.0;
    let x = move |value: f64| LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT);
    let y = move |value: f64| bottom - (value - low) / (high - low) * (bottom - TOP);
    let place = |value: f64| format!("{value:.1}");
    let path = |points: &[[f64; 2]]| points.iter().map(|[a, b]| format!("{:.1},{:.1}", x(*a), y(*b))).collect::<Vec<_>>().join(" ");
    let height = HEIGHT + ROW * (shown.len() + 1) as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{id}-t {id}-d")) {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) { (what) }
            @for tick in ticks(low, high) {
                line.axis x1=(place(LEFT)) x2=(place(WIDTH - RIGHT)) y1=(place(y(tick))) y2=(place(y(tick))) {}
                text.small x=(place(LEFT - 6.0)) y=(place(y(tick) + 4.0)) text-anchor="end" { (text::trimmed(tick)) }
            }
            @for tick in ticks(left, right) {
                line.axis x1=(place(x(tick))) x2=(place(x(tick))) y1=(place(bottom)) y2=(place(bottom + 4.0)) {}
                text.small x=(place(x(tick))) y=(place(bottom + 16.0)) text-anchor="middle" { (text::trimmed(tick)) }
            }
            text.small x=(place(WIDTH - RIGHT)) y=(place(bottom + 30.0)) text-anchor="end" { (horizontal.label) }
            text.small x="4" y=(place(HEIGHT + 10.0)) { "up: " (vertical.label) }
            @for (nth, (line, points)) in shown.iter().enumerate() {
                @let class = format!("line l{nth}");
                @if points.len() > 1 { polyline class=(class) points=(path(points)) {} }
                @if let [[a, b]] = points[..] { circle class=(format!("point l{nth}")) cx=(place(x(a))) cy=(place(y(b))) r="3" {} }
                @let row = HEIGHT + ROW * (nth + 1) as f64 + 10.0;
                line class=(class) x1="4" x2="34" y1=(place(row - 4.0)) y2=(place(row - 4.0)) {}
                text x="40" y=(place(row)) { (text::short(&line.name, 54)) }
            }
        }
    }
}

/// The ends of an axis, always apart.
fn ends(axis: &Axis, values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] =
        axis.ends.unwrap_or_else(|| values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)]));
    match high - low {
        wide if wide > 1e-9 && wide.is_finite() => [low, high],
        narrow if narrow.abs() <= 1e-9 => [low - 0.5, high + 0.5],
        _ => [0.0, 1.0],
    }
}
