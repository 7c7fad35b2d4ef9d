//! The curves and the scores as images.

use super::analysis::{Kind, Pick, items, modes, picks};
use super::record::Calibration;
use crate::report::plot::{self, Axis, Chart, Datum, Mark, PlotError, Series};
use crate::stats::roc;

/// Most families that get a curve of their own: more cannot be told apart.
const FAMILIES: usize = 6;
/// What the axes of the curves show.
pub(super) const FALSE_POSITIVES: &str = "false-positive rate (clean findings)";
pub(super) const TRUE_POSITIVES: &str = "true-positive rate (planted findings)";

/// The ROC curves as a file.
pub(super) fn roc(calibration: &Calibration) -> Result<String, PlotError> {
    plot::svg(&Chart {
        title: format!("{}: planted against clean", calibration.name),
        x: Axis::between(FALSE_POSITIVES, 0.0, 1.0),
        y: Axis::between(TRUE_POSITIVES, 0.0, 1.0),
        series: curves(calibration),
    })
}

/// The ROC curves: overall by mode, and by family where there is one mode.
pub(super) fn curves(calibration: &Calibration) -> Vec<Series> {
    let chance = [0.0, 1.0].map(|at| Datum::at(at, at)).to_vec();
    let mut series = vec![Series { name: "chance".into(), mark: Mark::Thin, color: 7, points: chance }];
    let modes = modes(calibration);
    for (nth, mode) in modes.iter().enumerate() {
        let picks = picks(calibration, *mode);
        let mut families: Vec<&str> = Vec::new();
        for pick in picks.iter().filter(|p| p.kind.counts_as_planted()) {
            if !families.contains(&pick.family) {
                families.push(pick.family);
            }
        }
        if let ([_], 2..=FAMILIES) = (modes.as_slice(), families.len()) {
            for (at, family) in families.iter().enumerate() {
                series.push(curve(&picks, &|p| p.family == *family, family, Mark::Thin, at + 1));
            }
        }
        series.push(curve(&picks, &|_| true, &mode.to_string(), Mark::Line, if nth == 0 { 6 } else { nth - 1 }));
    }
    series
}

fn curve(picks: &[Pick], inside: &dyn Fn(&Pick) -> bool, name: &str, mark: Mark, color: usize) -> Series {
    let items = items(picks.iter().filter(|p| inside(p)));
    let points = roc::curve(&items).unwrap_or_default();
    let mut steps: Vec<Datum> = Vec::new();
    for point in points {
        let at = Datum::at(point.false_positive_rate, point.true_positive_rate);
        // Up first, then to the right; where several scores are equal the line between is the chance of their order.
        if steps.last().is_none_or(|last| last.x < at.x || last.y < at.y) {
            steps.push(at);
        }
    }
    let auc = roc::auc(&items, 0.025).map(|auc| format!(" (AUC {:.2})", auc.value)).unwrap_or_default();
    Series { name: format!("{name}{auc}"), mark, color, points: steps }
}

/// Every score by rule.
pub(super) fn scores(calibration: &Calibration) -> Result<String, PlotError> {
    let rules = &calibration.policy.rules;
    let place = |rule: &str| rules.iter().rev().position(|r| r.id == rule).unwrap_or_default() as f64;
    let modes = modes(calibration);
    let mut series = Vec::new();
    let limits = rules.iter().enumerate().map(|(nth, rule)| {
        let points = [-0.4, 0.4].map(|off| Datum::at(rule.limit, place(&rule.id) + off)).to_vec();
        Series { name: if nth == 0 { "limit".into() } else { String::new() }, mark: Mark::Thin, color: 6, points }
    });
    series.extend(limits);
    for (nth, mode) in modes.iter().enumerate() {
        let picks = picks(calibration, *mode);
        // Modes lie beside each other within the row of a rule.
        let row = 0.3 * (nth as f64 - (modes.len() - 1) as f64 / 2.0);
        for (kind, word, mark, color, off) in [
            (Kind::Other, "planted with another", Mark::Rings, 7, -0.1),
            (Kind::Clean, "clean", Mark::Rings, 0, 0.0),
            (Kind::Below, "planted, inert or open", Mark::Rings, 4, 0.1),
            (Kind::Planted, "planted", Mark::Points, 1, 0.1),
        ] {
            // What the seeds do not settle is not known to be transferred.
            let of_kind = picks.iter().filter(|p| p.kind == kind || (kind == Kind::Below && p.kind == Kind::Open));
            let points: Vec<Datum> =
                of_kind.filter_map(|p| Some(Datum::at(p.finding.score?, place(&p.finding.rule) + row + off))).collect();
            let name = if modes.len() > 1 { format!("{word}, {mode}") } else { word.to_owned() };
            if !points.is_empty() {
                series.push(Series { name, mark, color: color + 2 * nth, points });
            }
        }
    }
    plot::svg(&Chart {
        title: format!("{}: scores", calibration.name),
        x: Axis::linear("excess over the control that explains it best"),
        y: Axis::names("", rules.iter().rev().map(|r| r.id.clone()).collect()),
        series,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::samples;

    #[test]
    fn plots_name_what_they_show() {
        let calibration = samples::finished();
        let (roc, scores) = (roc(&calibration).unwrap(), scores(&calibration).unwrap());
        assert!(roc.contains("fixed_feature") && roc.contains("chance"), "{roc}");
        assert!(scores.contains("square") && scores.contains("clean") && scores.contains("limit"), "{scores}");
        let nothing = Calibration { sources: Vec::new(), ..calibration };
        super::roc(&nothing).unwrap();
        super::scores(&nothing).unwrap();
    }
}
