//! A forest plot: estimates with their intervals beside the limit, with the same numbers in a table under it.

use maud::{Markup, html};

use super::words::{scrolled, signed};
use crate::gate::Estimate;
use crate::report::text;

/// Width of the drawing; a narrow screen shows it as it is, a wide one enlarges it.
const WIDTH: f64 = 400.0;
/// Left and right of the axis.
const MARGIN: f64 = 10.0;
/// Height of a row: its name, and its interval below.
const ROW: f64 = 34.0;
/// Above the first row: the name of the limit.
const TOP: f64 = 18.0;
/// Below the last one: the axis.
const FOOT: f64 = 24.0;
/// Values further from 0 are left out: no share is.
const MOST: f64 = 100.0;
/// Longest name in the drawing; the table has more of it.
const LONGEST: usize = 56;

/// One estimate.
pub(crate) struct Row {
    /// What it is, safe on one line.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its interval, where there is one.
    pub interval: Option<[f64; 2]>,
    /// Its limit, where that is another than the plot's.
    pub limit: Option<f64>,
    /// Whether a value above the limit is what fails.
    pub judged: bool,
    /// Its colour, a class of the style, where the limit does not say.
    pub tone: Option<&'static str>,
    /// From how much it comes: `600 images, 3 seeds`.
    pub from: String,
}

impl Row {
    pub(crate) fn of(name: String, estimate: &Estimate, judged: bool) -> Self {
        let from = format!("{} images, {} seeds, {}%", estimate.images, estimate.seeds, text::trimmed(100.0 * estimate.confidence));
        Self { name, value: estimate.value, interval: Some([estimate.low, estimate.high]), limit: None, judged, tone: None, from }
    }

    fn fits(&self) -> bool {
        let usable = |value: &f64| value.is_finite() && value.abs() <= MOST;
        usable(&self.value) && self.interval.iter().flatten().all(usable) && self.limit.iter().all(usable)
    }

    /// Where it lies of its limit.
    fn tone(&self, limit: Option<f64>) -> &'static str {
        if let Some(tone) = self.tone {
            return tone;
        }
        match (self.limit.or(limit).filter(|_| self.judged), self.interval) {
            (Some(limit), Some([_, high])) if high < limit => "good",
            (Some(limit), Some([low, _])) if low > limit => "bad",
            (Some(_), Some(_)) => "open",
            _ => "none",
        }
    }
}

/// The plot and its table. `limit` is drawn through all rows that have none of their own.
pub(crate) fn figure(id: &str, title: &str, what: &str, limit: Option<f64>, rows: &[Row]) -> Markup {
    let drawn: Vec<&Row> = rows.iter().filter(|row| row.fits()).collect();
    let limit = limit.filter(|limit| limit.is_finite() && limit.abs() <= MOST);
    html! {
        figure {
            figcaption { (title) }
            div.side {
                @if !drawn.is_empty() { (drawing(id, title, what, limit, &drawn)) }
                (table(title, limit, rows))
            }
        }
    }
}

fn drawing(id: &str, title: &str, what: &str, limit: Option<f64>, rows: &[&Row]) -> Markup {
    let values = rows.iter().flat_map(|row| row.interval.into_iter().flatten().chain([row.value]).chain(row.limit));
    let [low, high] = values.chain(limit).fold([0.0, 0.0], |[low, high]: [f64; 2], value| [low.min(value), high.max(value)]);
    let room = ((high - low) * 0.06).max(0.01);
    let (low, high) = (if low < 0.0 { low - room } else { low }, high + room);
    let x = move |value: f64| format!("{:.1}", MARGIN + (value - low) / (high - low) * (WIDTH - 2.0 * MARGIN));
    let bottom = TOP + ROW * rows.len() as f64;
    let y = |value: f64| format!("{value:.1}");
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", bottom + FOOT)) role="img" aria-labelledby=(format!("{id}-t {id}-d")) {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) { (what) " The numbers are in the table beside it." }
            @for tick in ticks(low, high) {
                line.axis x1=(x(tick)) x2=(x(tick)) y1=(y(TOP)) y2=(y(bottom + 4.0)) {}
                text.small x=(x(tick)) y=(y(bottom + 17.0)) text-anchor="middle" { (text::trimmed(tick)) }
            }
            line.zero x1=(x(0.0)) x2=(x(0.0)) y1=(y(TOP)) y2=(y(bottom)) {}
            @if let Some(limit) = limit.filter(|_| rows.iter().any(|row| row.limit.is_none())) {
                @let end = (limit - low) / (high - low) > 0.75;
                text.small x=(x(limit)) y="12" text-anchor=(if end { "end" } else { "middle" }) { "limit " (text::trimmed(limit)) }
            }
            @for (at, row) in rows.iter().enumerate() {
                @let top = TOP + ROW * at as f64;
                @let middle = y(top + 24.0);
                @if let Some(limit) = row.limit.or(limit) { line.limit x1=(x(limit)) x2=(x(limit)) y1=(y(top)) y2=(y(top + ROW)) {} }
                text x=(MARGIN) y=(y(top + 14.0)) { (text::short(&row.name, LONGEST)) }
                g.(row.tone(limit)) {
                    @if let Some([from, to]) = row.interval { line.range x1=(x(from)) x2=(x(to)) y1=(middle) y2=(middle) {} }
                    circle.dot cx=(x(row.value)) cy=(middle) r="4.5" {}
                }
            }
        }
    }
}

fn table(title: &str, limit: Option<f64>, rows: &[Row]) -> Markup {
    scrolled(
        &format!("{title}, as numbers"),
        &html! {
            table {
                thead { tr { th scope="col" { "what" } th.n scope="col" { "value" } th.n scope="col" { "interval" } th.n scope="col" { "limit" }
                    th scope="col" { "from" } } }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { (row.name) }
                            td.n { @if row.judged || row.tone.is_some() { (signed(row.value)) } @else if row.value.is_finite() { (format!("{:.3}", row.value)) } @else { "–" } }
                            td.n { @if let Some(ends) = row.interval { (text::interval(ends)) } @else { "–" } }
                            td.n { @match row.limit.or(limit).filter(|_| row.judged) { Some(limit) => (text::trimmed(limit)), None => "–" } }
                            td.w { (row.from) }
                        }
                    }
                }
            }
        },
    )
}

/// Round numbers between two ends, at most seven.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 6.0;
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let step = power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= rough * (1.0 - 1e-9)).unwrap_or(10.0);
    let first = (low / step - 1e-9).ceil() as i64;
    // Adding 0 makes the 0 that has a sign one that has none.
    (first..first + 8).map(|i| i as f64 * step + 0.0).take_while(|tick| *tick <= high + 1e-9 * step).collect()
}
