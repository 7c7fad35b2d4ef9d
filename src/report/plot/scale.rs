//! Axes for plotters: where a value goes, and which values are written.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::{Axis, LONGEST, Scale};
use crate::report::text;

/// Intervals between numbers on a linear axis, at most.
const STEPS: f64 = 7.0;
/// Greatest magnitude that is drawn: beyond it nothing can be seen beside it anyway.
const GREATEST: f64 = 1e12;

/// An axis with its ends.
#[derive(Clone, Debug)]
pub(super) struct Scaled {
    scale: Scale,
    /// On the scale that is even: logarithms to the base 10 on a logarithmic axis.
    ends: [f64; 2],
    /// Values that are written.
    ticks: Vec<f64>,
}

impl Scaled {
    pub(super) fn new(axis: &Axis, values: &[f64]) -> Self {
        let even = |value: &f64| match axis.scale {
            Scale::Log => value.log10(),
            Scale::Linear | Scale::Names(_) => *value,
        };
        let usable = |value: &f64| value.is_finite() && value.abs() < GREATEST && (axis.scale != Scale::Log || *value > 1.0 / GREATEST);
        let asked = axis.range.filter(|ends| ends.iter().all(usable) && ends[0] < ends[1]);
        let ends = match (&axis.scale, asked) {
            (Scale::Names(names), _) => [-0.5, names.len().max(1) as f64 - 0.5],
            (_, Some(ends)) => [even(&ends[0]), even(&ends[1])],
            (_, None) => {
                let placed = values.iter().filter(|v| usable(v)).map(even);
                let [low, high] = placed.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)]);
                match high - low {
                    wide if wide > 1e-9 => [low - 0.04 * wide, high + 0.04 * wide],
                    narrow if narrow >= 0.0 => [low - 0.5, high + 0.5],
                    _ => [0.0, 1.0],
                }
            }
        };
        let ticks = match &axis.scale {
            Scale::Names(names) => (0..names.len()).map(|i| i as f64).collect(),
            Scale::Linear => even_ticks(ends),
            Scale::Log => decades(ends),
        };
        Self { scale: axis.scale.clone(), ends, ticks }
    }

    /// Whether a value has a place between the ends.
    pub(super) fn shows(&self, value: f64) -> bool {
        let at = self.even(value);
        let slack = 1e-9 * (self.ends[1] - self.ends[0]);
        at.is_finite() && at >= self.ends[0] - slack && at <= self.ends[1] + slack
    }

    /// Letters of the longest number or name.
    pub(super) fn widest(&self) -> u32 {
        self.ticks.iter().map(|t| self.words(*t).chars().count()).max().unwrap_or(0) as u32
    }

    /// A value as it is written beside the axis.
    fn words(&self, value: f64) -> String {
        if let Scale::Names(names) = &self.scale {
            return names.get(value.round() as usize).map(|name| text::short(name, LONGEST)).unwrap_or_default();
        }
        if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
            return format!("{value:e}");
        }
        let text = format!("{value:.5}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if text == "-0" { "0".to_owned() } else { text.to_owned() }
    }

    fn even(&self, value: f64) -> f64 {
        if self.scale == Scale::Log { value.log10() } else { value }
    }
}

/// Steps of 1, 2 or 5 times a power of ten.
fn even_ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let rough = (high - low) / STEPS;
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let step = power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= rough * (1.0 - 1e-9)).unwrap_or(10.0);
    let first = (low / step - 1e-9).ceil() as i64;
    (first..first + 20).map(|i| i as f64 * step).take_while(|t| *t <= high + 1e-9 * step).collect()
}

/// Powers of ten; where there are fewer than two of them, 2 and 5 times them too.
fn decades([low, high]: [f64; 2]) -> Vec<f64> {
    let within = |factors: &[f64]| -> Vec<f64> {
        let powers = low.floor() as i32..=high.ceil() as i32;
        let all = powers.flat_map(|p| factors.iter().map(move |f| f * 10_f64.powi(p)));
        all.filter(|t| (low - 1e-9..=high + 1e-9).contains(&t.log10())).collect()
    };
    let powers = within(&[1.0]);
    if powers.len() < 2 { within(&[1.0, 2.0, 5.0]) } else { powers }
}

impl Ranged for Scaled {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (self.even(*value) - self.ends[0]) / (self.ends[1] - self.ends[0]);
        from + (share.clamp(-0.1, 1.1) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        match self.scale {
            Scale::Log => 10_f64.powf(self.ends[0])..10_f64.powf(self.ends[1]),
            Scale::Linear | Scale::Names(_) => self.ends[0]..self.ends[1],
        }
    }
}

impl ValueFormatter<f64> for Scaled {
    fn format_ext(&self, value: &f64) -> String {
        self.words(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(decades([-4.2, -0.9]), [1e-4, 1e-3, 1e-2, 1e-1]);
        assert_eq!(decades([0.1, 0.9]), [2.0, 5.0]);
        let words = |axis: &Axis, values: &[f64]| {
            let scaled = Scaled::new(axis, values);
            scaled.ticks.iter().map(|t| scaled.words(*t)).collect::<Vec<_>>()
        };
        assert_eq!(words(&Axis::linear("x"), &[-0.1, 0.3]), ["-0.1", "0", "0.1", "0.2", "0.3"]);
        assert_eq!(words(&Axis::between("x", 0.0, 1.0), &[]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(words(&Axis::names("", vec!["one".into()]), &[]), ["one"]);
    }
}
