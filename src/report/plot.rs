//! Plots as SVG: lines, points, intervals. Equal charts give equal bytes; names stay text and are made safe.

mod scale;

use std::convert::Infallible;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::text;
use scale::Scaled;

/// Width and height of every plot, in pixels.
const SIZE: (u32, u32) = (860, 460);
/// Width of the legend beside it.
const LEGEND: u32 = 210;
/// Pixels that a letter of a label takes, roughly: there is no font to measure.
const LETTER: u32 = 7;
/// Longest name that is drawn in full.
const LONGEST: usize = 28;

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito 2008).
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(140, 140, 140),
];

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Above the plot.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// In the order of the legend; those drawn later lie above.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How values become places.
    pub scale: Scale,
    /// Its ends; those of the data where absent. A scale of names needs none.
    pub range: Option<[f64; 2]>,
}

impl Axis {
    /// A linear axis over the data.
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Linear, range: None }
    }

    /// A linear axis between two ends.
    pub fn between(label: &str, low: f64, high: f64) -> Self {
        Self { range: Some([low, high]), ..Self::linear(label) }
    }

    /// A logarithmic axis over the data that are positive.
    pub fn logarithmic(label: &str) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label) }
    }

    /// Names at 0, 1, 2 and so on.
    pub fn names(label: &str, names: Vec<String>) -> Self {
        Self { scale: Scale::Names(names), ..Self::linear(label) }
    }
}

/// How values become places.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; what is not positive is left out.
    Log,
    /// One place for each name.
    Names(Vec<String>),
}

/// Data of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// In the legend; without a name it is not there.
    pub name: String,
    /// How it is drawn.
    pub mark: Mark,
    /// Which of the colours; counted round.
    pub color: usize,
    /// Its points; those that are not finite are left out.
    pub points: Vec<Datum>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Points joined by a line.
    Line,
    /// A thin line: a limit, a diagonal.
    Thin,
    /// A line with its points.
    LineAndPoints,
    /// Points alone.
    Points,
    /// Points as rings.
    Rings,
}

/// A point, with its interval where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datum {
    /// From left to right.
    pub x: f64,
    /// From bottom to top.
    pub y: f64,
    /// Interval of `y`.
    pub interval: Option<[f64; 2]>,
}

impl Datum {
    /// A point without interval.
    pub fn at(x: f64, y: f64) -> Self {
        Self { x, y, interval: None }
    }
}

/// A chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a plot cannot be drawn: {0}")]
pub struct PlotError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// The chart as an SVG file.
pub fn svg(chart: &Chart) -> Result<String, PlotError> {
    let mut out = String::new();
    draw(chart, &mut out)?;
    Ok(out)
}

fn draw(chart: &Chart, out: &mut String) -> Result<(), PlotError> {
    let area = SVGBackend::with_string(out, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    let values = |along: &dyn Fn(&Datum) -> Vec<f64>| chart.series.iter().flat_map(|s| &s.points).flat_map(along).collect::<Vec<_>>();
    let x = Scaled::new(&chart.x, &values(&|d| vec![d.x]));
    let y = Scaled::new(&chart.y, &values(&|d| d.interval.into_iter().flatten().chain([d.y]).collect()));
    let margin = y.widest().max(4) * LETTER + 36;
    let mut built = ChartBuilder::on(&plot)
        .caption(text::short(&chart.title, 90), ("sans-serif", 17))
        .margin(10)
        .margin_right(16)
        .x_label_area_size(46)
        .y_label_area_size(margin)
        .build_cartesian_2d(x.clone(), y.clone())?;
    built
        .configure_mesh()
        .disable_mesh()
        .x_desc(text::short(&chart.x.label, 90))
        .y_desc(text::short(&chart.y.label, 60))
        .label_style(("sans-serif", 13))
        .x_labels(32)
        .y_labels(200)
        .draw()?;
    for series in &chart.series {
        let color = color(series.color);
        let seen: Vec<&Datum> = series.points.iter().filter(|d| x.shows(d.x) && y.shows(d.y)).collect();
        let line = || seen.iter().map(|d| (d.x, d.y));
        match series.mark {
            Mark::Thin => drop(built.draw_series(LineSeries::new(line(), color.mix(0.7).stroke_width(1)))?),
            Mark::Line | Mark::LineAndPoints => drop(built.draw_series(LineSeries::new(line(), color.stroke_width(2)))?),
            Mark::Points | Mark::Rings => {}
        }
        let bars = seen.iter().filter_map(|d| Some((d.x, d.interval?))).filter(|(_, ends)| ends.iter().all(|e| y.shows(*e)));
        built.draw_series(bars.map(|(at, [low, high])| PathElement::new(vec![(at, low), (at, high)], color.mix(0.6).stroke_width(1))))?;
        match series.mark {
            Mark::Points | Mark::LineAndPoints => drop(built.draw_series(line().map(|at| Circle::new(at, 4, color.mix(0.75).filled())))?),
            Mark::Rings => drop(built.draw_series(line().map(|at| Circle::new(at, 4, color.mix(0.9).stroke_width(1))))?),
            Mark::Line | Mark::Thin => {}
        }
    }
    let named: Vec<&Series> = chart.series.iter().filter(|s| !s.name.is_empty()).collect();
    for (nth, series) in named.iter().enumerate() {
        let (color, at) = (color(series.color), 48 + 20 * nth as i32);
        match series.mark {
            Mark::Line | Mark::LineAndPoints => legend.draw(&PathElement::new(vec![(4, at), (22, at)], color.stroke_width(2)))?,
            Mark::Thin => legend.draw(&PathElement::new(vec![(4, at), (22, at)], color.mix(0.7).stroke_width(1)))?,
            Mark::Points => legend.draw(&Circle::new((13, at), 4, color.mix(0.75).filled()))?,
            Mark::Rings => legend.draw(&Circle::new((13, at), 4, color.mix(0.9).stroke_width(1)))?,
        }
        let style = TextStyle::from(("sans-serif", 13).into_font()).pos(Pos::new(HPos::Left, VPos::Center));
        legend.draw(&Text::new(text::short(&series.name, LONGEST), (28, at), style))?;
    }
    area.present()?;
    Ok(())
}

fn color(nth: usize) -> RGBColor {
    COLORS.get(nth % COLORS.len()).copied().unwrap_or(BLACK)
}

impl From<Infallible> for PlotError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(x: Axis, y: Axis, points: &[Datum]) -> Chart {
        let series = |mark, color| Series { name: format!("<{mark:?}>\u{1b}"), mark, color, points: points.to_vec() };
        let marks = [Mark::Line, Mark::Thin, Mark::LineAndPoints, Mark::Points, Mark::Rings];
        Chart { title: "a < b & \"c\"".into(), x, y, series: marks.into_iter().enumerate().map(|(i, m)| series(m, i)).collect() }
    }

    #[test]
    fn equal_charts_give_equal_text_with_safe_names() {
        let points = vec![Datum { x: 0.001, y: 0.2, interval: Some([0.1, 0.4]) }, Datum::at(10.0, 0.9), Datum::at(f64::NAN, 0.5)];
        let drawn = chart(Axis::logarithmic("weight decay"), Axis::between("rate", 0.0, 1.0), &points);
        let text = svg(&drawn).expect("a plot");
        assert_eq!(text, svg(&drawn).expect("a plot"));
        assert!(text.contains("a &lt; b &amp; &quot;c&quot;") && text.contains("&lt;Line&gt;") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("0.001") && text.contains("</svg>"), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn any_data_give_a_plot() {
        let axes =
            || [Axis::linear("l"), Axis::logarithmic("g"), Axis::names("n", vec!["one".into(), "two".into()]), Axis::names("", vec![])];
        let strange = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, 1e300];
        let sets: Vec<Vec<Datum>> = [
            vec![],
            vec![Datum::at(1.0, 1.0)],
            vec![Datum::at(1.0, 1.0), Datum::at(1.0, 1.0)],
            strange.iter().flat_map(|a| strange.map(|b| Datum { x: *a, y: b, interval: Some([b, *a]) })).collect(),
        ]
        .to_vec();
        for x in axes() {
            for y in axes() {
                for points in &sets {
                    let text = svg(&chart(x.clone(), y.clone(), points)).expect("a plot");
                    assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>") && !text.contains("NaN"), "{text}");
                }
            }
        }
        for range in [[0.0, 0.0], [1.0, 0.0], [f64::NAN, 1.0], [0.0, f64::INFINITY]] {
            let ends = Axis { range: Some(range), ..Axis::linear("x") };
            svg(&chart(ends, Axis::linear("y"), &[Datum::at(0.5, 0.5)])).expect("a plot");
        }
    }
}
