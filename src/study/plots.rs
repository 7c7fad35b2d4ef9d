//! What a study found, as images: one for each finding, the effect along what was varied.

use super::{Cell, Results};
use crate::report::plot::{self, Axis, Chart, Datum, Mark, PlotError, Series};
use crate::report::text;

/// Name and text of an SVG for each finding, if anything was varied.
pub(crate) fn plots(results: &Results) -> Result<Vec<(String, String)>, PlotError> {
    let ids = results.ids();
    // Along the last axis of numbers; where there is none, along the last one.
    let varied = |(_, names): &&(String, Vec<String>)| names.len() > 1;
    let numbers = |(_, names): &(String, Vec<String>)| names.iter().all(|name| name.parse::<f64>().is_ok());
    let along =
        results.axes.iter().rposition(|axis| varied(&axis) && numbers(axis)).or(results.axes.iter().rposition(|axis| varied(&axis)));
    let Some(along) = along else { return Ok(Vec::new()) };
    let draw = |id: &String| {
        let file = format!("plots/{}.svg", id.replace(['/', '@'], "-"));
        plot::svg(&chart(results, id, along)).map(|text| (file, text))
    };
    ids.iter().map(draw).collect()
}

fn chart(results: &Results, id: &str, along: usize) -> Chart {
    let (name, names) = results.axes.get(along).cloned().unwrap_or_default();
    let values: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
    let place = |text: &String| {
        let at = names.iter().position(|name| name == text).unwrap_or_default();
        values.as_ref().and_then(|values| values.get(at).copied()).unwrap_or(at as f64)
    };
    let x = match &values {
        // Recipes are varied by factors.
        Some(values) if values.iter().all(|v| *v > 0.0) && spread(values) > 8.0 => Axis::logarithmic(&name),
        Some(_) => Axis::linear(&name),
        None => Axis::names(&name, names.clone()),
    };
    let mut series: Vec<Series> = Vec::new();
    let mut limit = 0.0;
    for cell in &results.cells {
        let Some(finding) = cell.findings.iter().find(|f| f.id() == id) else { continue };
        limit = finding.limit;
        let (Some((_, excess)), Some(at)) = (text::weakest(&finding.comparisons), cell.at.get(along)) else { continue };
        let name = line_name(results, cell, along);
        let datum = Datum { x: place(at), y: excess.value, interval: Some([excess.low, excess.high]) };
        match series.iter_mut().find(|series| series.name == name) {
            Some(line) => line.points.push(datum),
            None => series.push(Series { name, mark: Mark::LineAndPoints, color: series.len(), points: vec![datum] }),
        }
    }
    let places = (0..names.len()).filter_map(|at| names.get(at)).map(place);
    let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let points = vec![Datum::at(low, limit), Datum::at(high, limit)];
    series.insert(0, Series { name: format!("limit {limit}"), mark: Mark::Thin, color: 7, points });
    Chart { title: format!("{}: {id}", results.name), x, y: Axis::linear("excess over the control that explains most"), series }
}

/// The largest over the smallest value.
fn spread(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max) / values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The source, and the values of what else was varied.
fn line_name(results: &Results, cell: &Cell, along: usize) -> String {
    let others = results.axes.iter().zip(&cell.at).enumerate().filter(|(i, ((_, names), _))| *i != along && names.len() > 1);
    std::iter::once(cell.source.clone()).chain(others.map(|(_, ((name, _), at))| format!("{name} {at}"))).collect::<Vec<_>>().join(", ")
}
