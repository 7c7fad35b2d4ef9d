//! Where two executors can compute a checkpoint's features, they must agree on real pictures.

use super::EngineError;
use crate::exec::{self, Weights};
use crate::model::{self, Model};
use crate::report::Agreement;
use crate::tune::{Feed, Pictures, TuneError};

/// Pictures that are compared.
pub(super) const IMAGES: usize = 8;

/// Largest difference of features, relative to the largest feature, that is rounding. Networks of float32 come out at 1e-7 to 1e-5,
/// the deeper the more; a wrong padding, mode or constant shows at 1e-2 and above.
const TOLERANCE: f64 = 1e-4;

/// The same for files that hold numbers of two bytes: their steps are 5e-4 wide, and one executor rounds to them where another
/// keeps float32.
const TOLERANCE_HALF: f64 = 2e-2;

/// Compares the executors on the first pictures of the task; `None` where there is one only.
pub(super) fn check(model: &Model, pictures: &Pictures) -> Result<Option<Agreement>, EngineError> {
    let (Ok(network), Ok(extractor)) = (&model.network, &model.runtime) else { return Ok(None) };
    let indices: Vec<usize> = (0..pictures.len().min(IMAGES)).collect();
    let input = pictures.plain().batch(&indices, None)?;
    let numbers = |tensor: candle_core::Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).map_err(exec::ExecError::from);
    let weights = Weights::new(&network.params.0, candle_core::DType::F32)?;
    let ours = numbers(exec::infer(&network.trunk, &weights, &input)?)?;
    let theirs = numbers(extractor.features(&input).map_err(TuneError::from)?)?;
    let difference = model::difference(&ours, &theirs);
    let tolerance = if extractor.half() { TOLERANCE_HALF } else { TOLERANCE };
    // Numbers that are none are told of where features are made, with their picture.
    let finite = |numbers: &[f32]| numbers.iter().all(|v| v.is_finite());
    if difference > tolerance && (finite(&ours) || finite(&theirs)) {
        let first = model::first_difference(model, &input, tolerance).map_err(TuneError::from)?;
        let place = match first {
            Some((node, apart)) => format!("the first node whose output differs is `{node}`, by {apart:.0e}"),
            None => "no single node differs: ONNX Runtime computes them otherwise when it joins them".to_owned(),
        };
        return Err(EngineError::Disagree { executor: extractor.runtime().name(), difference, tolerance, place });
    }
    Ok(Some(Agreement { difference: one_digit(difference), images: indices.len() }))
}

/// To one digit, upwards: what is below moves with the number of threads.
fn one_digit(difference: f64) -> f64 {
    if difference <= 0.0 || !difference.is_finite() { difference } else { format!("{difference:.0e}").parse().unwrap_or(difference) }
}
