//! Where two executors can compute a checkpoint's features, they must agree on real images, as far as the network's own numbers carry; and
//! these must carry.

use candle_core::Tensor;

use super::EngineError;
use super::task::Task;
use crate::model::{self, Model, Network, rounding};
use crate::report::Agreement;
use crate::tune::{Feed, Images, TuneError};
use crate::{diag, exec};

/// Images that are compared.
pub(super) const IMAGES: usize = 8;

/// How much of its largest feature a network may lose to float32: what is left is of one digit at most.
const NOISE: f64 = 0.1;

/// Numbers of a network that is computed in float64 without need: 1 GiB of them.
const MOST: usize = 1 << 27;

/// Compares the executors on the first images of the task; `None` where there is one only. One image, that on which they are farthest
/// apart, is computed in float64 too: it tells rounding from another network, and whether float32 holds the features at all.
pub(super) fn check(model: &Model, images: &Images) -> Result<Option<Agreement>, EngineError> {
    let Ok(network) = &model.network else { return Ok(None) };
    let indices: Vec<usize> = (0..images.len().min(IMAGES)).collect();
    let input = images.plain().batch(&indices, None)?;
    let ours = network.singly(&network.trunk, &input)?;
    let theirs = match &model.runtime {
        Ok(extractor) => Some((extractor, values(&extractor.features(&input).map_err(TuneError::from)?)?)),
        Err(_) => None,
    };
    // Numbers that are none are told of where features are made, with their image.
    let finite = |numbers: &[f32]| numbers.iter().all(|v| v.is_finite());
    let width = model.feature_layer.width;
    let at = theirs.as_ref().map_or(0, |(_, theirs)| farthest(&ours, theirs, width));
    let row = |numbers: &[f32]| numbers.get(at * width..(at + 1) * width).unwrap_or(&[]).to_vec();
    let one = input.narrow(0, at, 1).and_then(|one| one.contiguous()).map_err(exec::ExecError::from)?;
    let difference = theirs.as_ref().map(|(_, theirs)| model::difference(&ours, theirs));
    let agreed = difference.is_none_or(|difference| difference <= rounding::LEAST);
    let numbers: usize = network.params.0.iter().map(ndarray::ArrayBase::len).sum();
    // In float64 a large network takes more memory than all else that is done with it.
    if agreed && numbers > MOST {
        return Ok(difference.map(|difference| Agreement { difference: one_digit(difference), images: indices.len(), rounding: None }));
    }
    let exact = network.exactly(&network.trunk, &one)?;
    let own = rounding::distance(&row(&ours), &exact);
    if finite(&ours) && exact.iter().all(|v| v.is_finite()) && own > NOISE && exact.iter().any(|v| *v != 0.0) {
        return Err(noise(network, &one, own)?);
    }
    let (Some((extractor, theirs)), Some(difference)) = (theirs, difference) else { return Ok(None) };
    let (here, there) = (finite(&ours), finite(&theirs));
    // Where both overflow there is nothing to agree on: making the features says which images they are no numbers for.
    if !here && !there {
        return Ok(None);
    }
    let mut shown = None;
    if !agreed {
        let least = network.least(extractor.half(), &one)?;
        let other = rounding::distance(&row(&theirs), &exact);
        // One that overflows where the other does not computes something else, and what float64 does not hold decides nothing.
        if here != there || !exact.iter().all(|v| v.is_finite()) || !rounding::same(own, other, least) {
            let first = model::first_difference(model, &one, least).map_err(TuneError::from)?;
            let place = match first {
                Some((node, apart)) => format!("the first node whose output differs is `{node}`, by {apart:.0e}"),
                None => "no single node differs: ONNX Runtime computes them otherwise when it joins them".to_owned(),
            };
            return Err(EngineError::Disagree { executor: extractor.runtime().name(), difference, own, other, place });
        }
        // Which of the two makes the features is not ours to choose: both must carry them.
        if other > NOISE {
            return Err(noise(network, &one, other)?);
        }
        shown = Some(one_digit(own.max(other)));
    }
    Ok(Some(Agreement { difference: one_digit(difference), images: indices.len(), rounding: shown }))
}

/// The image on which two lists of features, `width` for each image, are farthest apart.
fn farthest(a: &[f32], b: &[f32], width: usize) -> usize {
    let apart = |(a, b): (&[f32], &[f32])| {
        let each = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
        each.fold(0.0, |most: f64, v| if v.is_nan() { f64::INFINITY } else { most.max(v) })
    };
    let rows = a.chunks(width.max(1)).zip(b.chunks(width.max(1))).map(apart).enumerate();
    rows.fold((0, -1.0), |best, (i, apart)| if apart > best.1 { (i, apart) } else { best }).0
}

/// The refusal of a network whose features float32 does not hold, with the node where they are lost.
fn noise(network: &Network, one: &Tensor, own: f64) -> Result<EngineError, EngineError> {
    let node = network.first_inexact(one, NOISE / 10.0)?.unwrap_or_else(|| "the features".to_owned());
    Ok(EngineError::Noise { own, node })
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, EngineError> {
    Ok(tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).map_err(exec::ExecError::from)?)
}

/// To one digit, upwards: what is below moves with the number of threads.
fn one_digit(difference: f64) -> f64 {
    if difference <= 0.0 || !difference.is_finite() { difference } else { format!("{difference:.0e}").parse().unwrap_or(difference) }
}

/// Which executor computes the frozen network, and how far the other one is from it.
pub(super) fn fact(model: &Model, agreement: Option<&Agreement>) -> String {
    match (agreement, &model.runtime) {
        (Some(Agreement { difference, images, rounding }), _) => {
            let held = rounding.map(|own| format!(", as far as its numbers carry ({own:.0e} from float64)")).unwrap_or_default();
            format!("{} and heirloom agree to {difference:.0e} on {}{held}", model.executor(), diag::count(*images, "image"))
        }
        (None, Err(reason)) => format!("heirloom ({reason})"),
        (None, Ok(_)) => format!("{}; what trains cannot be computed", model.executor()),
    }
}

/// Compares the executors of a model on images of its target task, where there are two: what to tell the user.
pub(crate) fn executors(model: &Model, task: &Task) -> Result<String, EngineError> {
    let agreement = if model.network.is_ok() { check(model, &task.train)? } else { None };
    Ok(fact(model, agreement.as_ref()))
}

#[cfg(test)]
mod tests;
