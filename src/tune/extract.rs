//! Every input of a feed through whatever computes it, batch by batch.

use candle_core::{DType, Tensor};
use ndarray::Array2;

use super::{EVALUATION_BATCH, Feed, TuneError};
use crate::exec::ExecError;
use crate::model::Extractor;

/// The features of every input as ONNX Runtime computes them, row by row: `[n, width]`.
pub fn features(
    extractor: &Extractor,
    width: usize,
    feed: &dyn Feed,
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<Array2<f32>, TuneError> {
    rows(width, feed, &|input| Ok(extractor.features(input)?), tick)
}

/// What `compute` makes of every input, row by row: `[n, width]`. `tick` is told the pictures of every step and answers whether to go on.
pub(super) fn rows(
    width: usize,
    feed: &dyn Feed,
    compute: &dyn Fn(&Tensor) -> Result<Tensor, TuneError>,
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<Array2<f32>, TuneError> {
    let indices: Vec<usize> = (0..feed.len()).collect();
    let mut rows = Vec::with_capacity(feed.len() * width);
    for batch in indices.chunks(EVALUATION_BATCH) {
        let output = compute(&feed.batch(batch, None)?)?;
        rows.extend(output.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1::<f32>()).map_err(ExecError::from)?);
        let new = batch.len() * width;
        if let Some(at) = rows[rows.len().saturating_sub(new)..].iter().position(|value| !value.is_finite()) {
            return Err(TuneError::NotFinite { picture: (rows.len() - new + at) / width });
        }
        if !tick(batch.len()) {
            return Err(TuneError::Stopped);
        }
    }
    Ok(Array2::from_shape_vec((feed.len(), width), rows).map_err(ExecError::from)?)
}
