//! Resize of constants: how exporters fit position embeddings to the image size.

use ndarray::{ArrayD, Axis};

use super::super::call::{Call, Result, floats};
use super::super::shapes;
use super::super::value::{Size, Value};
use super::charge;
use crate::graph::Dim;

/// Axis by axis, as ONNX defines it: every output entry is a weighted sum of a few input entries.
pub(super) fn resize(call: &Call, budget: &mut usize) -> Result<Value> {
    let x = floats(call.input(0)?, call.out())?;
    let rule = Rule::of(call)?;
    let (sizes, scales) = targets(call, x.array.shape())?;
    charge::<f32>(budget, &sizes)?;
    let mut out = (*x.array).clone();
    for (at, (&size, &scale)) in sizes.iter().zip(&scales).enumerate() {
        let from = out.shape()[at];
        if from == size && (scale - 1.0).abs() < f64::EPSILON {
            continue;
        }
        let mut shape = out.shape().to_vec();
        shape[at] = size;
        charge::<f32>(budget, &shape)?;
        let mut resized = ArrayD::<f32>::zeros(shape);
        for (i, mut lane) in resized.axis_iter_mut(Axis(at)).enumerate() {
            for (source, weight) in rule.taps(i, from, scale) {
                lane.scaled_add(weight as f32, &out.index_axis(Axis(at), source));
            }
        }
        out = resized;
    }
    Ok(Value::float(call.out(), out))
}

/// Sizes and scales of all axes. Resize gives one of them, since operator set 11 behind a region; Upsample has scales only.
fn targets(call: &Call, from: &[usize]) -> Result<(Vec<usize>, Vec<f64>)> {
    if from.contains(&0) {
        return Err("there is nothing to resize".into());
    }
    let scales_at = if call.op() == "Upsample" || call.opset < 11 { 1 } else { 2 };
    let fits = |n: usize| if n == from.len() { Ok(()) } else { Err(format!("{n} sizes are given for {} axes", from.len())) };
    if let Some(sizes) = call.sizes(3, "sizes")?.filter(|s| !s.is_empty()) {
        fits(sizes.len())?;
        // Of the batch, what one image has.
        let size = |s: &Size| match s.dim() {
            Some(Dim::Fixed(size) | Dim::Batch(size)) if size > 0 => Ok(size),
            _ => Err(format!("{} is not a size", shapes::display(&[*s]))),
        };
        let sizes = sizes.iter().map(size).collect::<Result<Vec<_>>>()?;
        let scales = sizes.iter().zip(from).map(|(to, from)| *to as f64 / (*from).max(1) as f64).collect();
        return Ok((sizes, scales));
    }
    let scales: Vec<f64> = match call.optional(scales_at) {
        Some(value) => floats(value, "")?.array.iter().map(|s| f64::from(*s)).collect(),
        None => call.floats("scales").unwrap_or_default().iter().map(|s| f64::from(*s)).collect(),
    };
    fits(scales.len())?;
    if let Some(scale) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
        return Err(format!("{scale} is not a scale"));
    }
    Ok((from.iter().zip(&scales).map(|(from, scale)| (*from as f64 * scale).floor() as usize).collect(), scales))
}

/// For an input of these sizes: of every axis that changes, its new size and the matrix `[from, to]` that its entries are multiplied by.
pub(in crate::model::onnx) fn matrices(call: &Call, from: &[usize], budget: &mut usize) -> Result<Vec<Option<ArrayD<f32>>>> {
    let rule = Rule::of(call)?;
    let (sizes, scales) = targets(call, from)?;
    let matrix = |((&from, &size), &scale): ((&usize, &usize), &f64)| {
        if from == size && (scale - 1.0).abs() < f64::EPSILON {
            return Ok(None);
        }
        charge::<f32>(budget, &[from, size])?;
        let mut matrix = ArrayD::<f32>::zeros(vec![from, size]);
        for i in 0..size {
            for (source, weight) in rule.taps(i, from, scale) {
                matrix[[source, i]] += weight as f32;
            }
        }
        Ok(Some(matrix))
    };
    from.iter().zip(&sizes).zip(&scales).map(matrix).collect()
}

#[derive(Clone, Copy)]
enum Mode {
    Nearest,
    Linear,
    Cubic { a: f64 },
}

struct Rule {
    mode: Mode,
    /// Whether a window grows with the step where entries become fewer.
    antialias: bool,
    coordinates: String,
    nearest: String,
}

impl Rule {
    fn of(call: &Call) -> Result<Self> {
        let antialias = call.int("antialias").unwrap_or(0) != 0;
        // As PyTorch computes and exports it, what lies outside counts for nothing with `antialias`, and is the last entry again without.
        let exclude = call.int("exclude_outside").unwrap_or(0) != 0;
        if exclude != antialias {
            return Err(format!("`exclude_outside` is {exclude} and `antialias` is {antialias}: one without the other is not supported"));
        }
        if call.node.attribute.iter().any(|a| a.name == "axes") {
            return Err("`axes` are not supported".into());
        }
        if let Some(policy) = call.text("keep_aspect_ratio_policy").filter(|p| *p != "stretch") {
            return Err(format!("`keep_aspect_ratio_policy` {policy} is not supported"));
        }
        let old = call.op() == "Upsample" || call.opset < 11;
        let mode = match call.text("mode").unwrap_or("nearest") {
            "nearest" => Mode::Nearest,
            "linear" | "bilinear" => Mode::Linear,
            "cubic" => Mode::Cubic { a: call.float("cubic_coeff_a").unwrap_or(-0.75) },
            other => return Err(format!("mode `{other}` is not supported")),
        };
        let coordinates = call.text("coordinate_transformation_mode").unwrap_or(if old { "asymmetric" } else { "half_pixel" });
        let nearest = call.text("nearest_mode").unwrap_or(if old { "floor" } else { "round_prefer_floor" });
        if !matches!(coordinates, "half_pixel" | "pytorch_half_pixel" | "align_corners" | "asymmetric") {
            return Err(format!("`coordinate_transformation_mode` {coordinates} is not supported"));
        }
        if !matches!(nearest, "floor" | "ceil" | "round_prefer_floor" | "round_prefer_ceil") {
            return Err(format!("`nearest_mode` {nearest} is not supported"));
        }
        if antialias && (coordinates != "half_pixel" || matches!(mode, Mode::Nearest)) {
            return Err(format!("`antialias` with coordinates `{coordinates}` is not supported"));
        }
        Ok(Self { mode, antialias, coordinates: coordinates.into(), nearest: nearest.into() })
    }

    /// The input entries that output entry `i` is made of, with their weights; those beyond an end are the last one.
    fn taps(&self, i: usize, from: usize, scale: f64) -> Vec<(usize, f64)> {
        // The scaled length, of which the output has the whole entries only.
        let (i, to) = (i as f64, from as f64 * scale);
        let at = match self.coordinates.as_str() {
            "align_corners" if to > 1.0 => i * (from as f64 - 1.0) / (to - 1.0),
            "pytorch_half_pixel" if to > 1.0 => (i + 0.5) / scale - 0.5,
            "align_corners" | "pytorch_half_pixel" => 0.0,
            "asymmetric" => i / scale,
            _ => (i + 0.5) / scale - 0.5,
        };
        if self.antialias {
            return self.window(at + 0.5, from, scale);
        }
        let clamped = |at: f64| at.clamp(0.0, from.saturating_sub(1) as f64) as usize;
        let floor = at.floor();
        let t = at - floor;
        match self.mode {
            Mode::Nearest => {
                let nearest = match self.nearest.as_str() {
                    "floor" => floor,
                    "ceil" => at.ceil(),
                    "round_prefer_floor" => (at - 0.5).ceil(),
                    _ => (at + 0.5).floor(),
                };
                vec![(clamped(nearest), 1.0)]
            }
            Mode::Linear => vec![(clamped(floor), 1.0 - t), (clamped(floor + 1.0), t)],
            // Keys, "Cubic convolution interpolation for digital image processing" (1981), eq. 4 with a free.
            Mode::Cubic { a } => {
                let weights = [t + 1.0, t, 1.0 - t, 2.0 - t].map(|d| cubic(a, d));
                (-1..3).zip(weights).map(|(k, weight)| (clamped(floor + f64::from(k)), weight)).collect()
            }
        }
    }

    /// The entries in a window about `center`, as wide as the step between output entries where that is more than one; their weights sum
    /// to 1 (as Pillow and PyTorch's `antialias=True` do).
    fn window(&self, center: f64, from: usize, scale: f64) -> Vec<(usize, f64)> {
        let step = scale.recip().max(1.0);
        let weight = |d: f64| match self.mode {
            Mode::Cubic { a } if d < 2.0 => cubic(a, d),
            Mode::Linear if d < 1.0 => 1.0 - d,
            _ => 0.0,
        };
        let support = if matches!(self.mode, Mode::Cubic { .. }) { 2.0 * step } else { step };
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5).max(0.0) as usize).min(from);
        let taps: Vec<(usize, f64)> = (first..end).map(|j| (j, weight(((j as f64 + 0.5 - center) / step).abs()))).collect();
        let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
        taps.into_iter().map(|(j, weight)| (j, weight / total)).collect()
    }
}

/// The weight of an entry at distance `d`, 0 to 2, by Keys' equation 4.
fn cubic(a: f64, d: f64) -> f64 {
    if d <= 1.0 { ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0 } else { ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a }
}
