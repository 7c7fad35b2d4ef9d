//! Features of a frozen backbone, as inputs of a head.

use candle_core::{Device, Tensor};
use ndarray::{ArrayD, ArrayViewD};

use super::{Extract, Feed, Training, TuneError};
use crate::exec::ExecError;
use crate::store::{MemoryBudget, Rows, RowsError};

/// Features as a backbone gives them: `[n, width]`, in memory or on disk.
#[derive(Debug)]
pub struct Raw {
    rows: Rows,
}

impl Raw {
    /// What `compute` makes of every input, `width` numbers each, kept where there is room.
    pub fn extract(
        width: usize,
        compute: Extract,
        feed: &dyn Feed,
        budget: &MemoryBudget,
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Self, TuneError> {
        let mut rows = Rows::new(feed.len(), width * size_of::<f32>(), budget)?;
        let mut done = 0;
        super::each_output(compute, feed, tick, &mut |values| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            rows.write(done, &bytes)?;
            done += values.len() / width.max(1);
            Ok(())
        })?;
        Ok(Self { rows })
    }

    /// Features from their rows: `width` numbers each (f32, little-endian).
    pub(crate) fn of_rows(rows: Rows) -> Self {
        Self { rows }
    }

    /// Features from their bytes (little-endian), if those are `n` rows of `width`.
    pub(crate) fn of_bytes(bytes: &[u8], (n, width): (usize, usize), budget: &MemoryBudget) -> Option<Self> {
        if bytes.len() != n * width * size_of::<f32>() {
            return None;
        }
        let mut rows = Rows::new(n, width * size_of::<f32>(), budget).ok()?;
        rows.write(0, bytes).ok()?;
        Some(Self { rows })
    }

    /// Their bytes, row by row.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, RowsError> {
        let mut all = Vec::with_capacity(self.rows.len() * self.rows.width());
        let mut buffer = Vec::new();
        for i in 0..self.rows.len() {
            all.extend_from_slice(self.rows.row(i, &mut buffer)?);
        }
        Ok(all)
    }

    #[cfg(test)]
    pub(super) fn from_array(values: &ndarray::Array2<f32>, budget: &MemoryBudget) -> Self {
        let mut rows = Rows::new(values.nrows(), values.ncols() * size_of::<f32>(), budget).unwrap();
        rows.write(0, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        Self { rows }
    }

    fn width(&self) -> usize {
        self.rows.width() / size_of::<f32>()
    }

    /// Shows the values of every row, in order.
    fn each(&self, mut see: impl FnMut(&mut dyn Iterator<Item = f32>)) -> Result<(), RowsError> {
        let mut buffer = Vec::new();
        for i in 0..self.rows.len() {
            see(&mut values(self.rows.row(i, &mut buffer)?));
        }
        Ok(())
    }
}

fn values(row: &[u8]) -> impl Iterator<Item = f32> {
    row.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// Centre and scale of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    mean: Vec<f32>,
    factor: f32,
}

impl Standard {
    /// Measured on training features.
    pub fn of(features: &Raw) -> Result<Self, RowsError> {
        let (n, width) = (features.rows.len(), features.width());
        let mut mean = vec![0.0f64; width];
        features.each(|row| row.zip(&mut mean).for_each(|(v, m)| *m += f64::from(v) / n.max(1) as f64))?;
        let mut variance = 0.0;
        features.each(|row| variance += row.zip(&mean).map(|(v, m)| (f64::from(v) - m).powi(2)).sum::<f64>())?;
        variance /= (n * width).max(1) as f64;
        let factor = if variance > 0.0 { 1.0 / variance.sqrt() } else { 1.0 };
        Ok(Self { mean: mean.into_iter().map(|m| m as f32).collect(), factor: factor as f32 })
    }

    /// A linear head on features as they come (weight `[classes, width]`, bias `[classes]`) that answers as this one does on standardised ones, but for
    /// rounding. None where they are not of one size.
    pub(crate) fn undone(&self, weight: &ArrayD<f32>, bias: &ArrayD<f32>) -> Option<[ArrayD<f32>; 2]> {
        if *weight.shape() != [bias.len(), self.mean.len()] {
            return None;
        }
        let factor = f64::from(self.factor);
        let of_row = |row: ArrayViewD<f32>| row.iter().zip(&self.mean).map(|(w, m)| f64::from(*w) * f64::from(*m)).sum::<f64>() * factor;
        let moved = weight.outer_iter().zip(bias).map(|(row, b)| (f64::from(*b) - of_row(row)) as f32).collect();
        let bias = ArrayD::from_shape_vec(bias.shape(), moved).ok()?;
        Some([weight.mapv(|w| (f64::from(w) * factor) as f32), bias])
    }
}

/// Features as inputs of a head: `[n, width]`, centred, and scaled by one factor so that their mean variance is 1.
///
/// One factor for all keeps the geometry that the checkpoint gave its features, and lets one learning rate serve
/// networks whose features differ in scale; centre and factor come from the training view.
#[derive(Debug)]
pub struct Features {
    raw: Raw,
    standard: Standard,
}

impl Features {
    /// Features made ready for a head.
    pub fn new(raw: Raw, standard: &Standard) -> Self {
        Self { raw, standard: standard.clone() }
    }
}

impl Feed for Features {
    fn len(&self) -> usize {
        self.raw.rows.len()
    }

    fn is_slow(&self) -> bool {
        self.raw.rows.on_disk()
    }

    fn batch(&self, indices: &[usize], _: Option<Training<'_>>) -> Result<Tensor, TuneError> {
        let (width, Standard { mean, factor }) = (self.raw.width(), &self.standard);
        let mut data: Vec<f32> = Vec::with_capacity(indices.len() * width);
        let mut buffer = Vec::new();
        for &i in indices {
            let row = values(self.raw.rows.row(i, &mut buffer)?);
            data.extend(row.zip(mean).map(|(v, m)| (v - m) * factor));
        }
        Ok(Tensor::from_vec(data, (indices.len(), width), &Device::Cpu).map_err(ExecError::from)?)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn features_are_centred_and_scaled_by_one_factor() {
        let values = Array2::from_shape_fn((50, 3), |(i, j)| (i * (j + 1)) as f32 * 0.3 + 7.0);
        let raw = Raw::from_array(&values, &MemoryBudget::boundless());
        let standard = Standard::of(&raw).unwrap();
        let scaled: Vec<f32> =
            Features::new(raw, &standard).batch(&(0..50).collect::<Vec<_>>(), None).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let mean = |column: usize| scaled.iter().skip(column).step_by(3).sum::<f32>() / 50.0;
        assert!((0..3).all(|column| mean(column).abs() < 1e-4), "{scaled:?}");
        let variance = scaled.iter().map(|v| v * v).sum::<f32>() / 150.0;
        assert!((variance - 1.0).abs() < 1e-3, "{variance}");
    }

    #[test]
    fn a_head_on_features_as_they_come_answers_alike() {
        let values = Array2::from_shape_fn((20, 3), |(i, j)| ((i * 5 + j * 3) % 7) as f32 * 0.4 + 30.0);
        let raw = Raw::from_array(&values, &MemoryBudget::boundless());
        let standard = Standard::of(&raw).unwrap();
        let weight = ArrayD::from_shape_fn(vec![2, 3], |at| (at[0] * 3 + at[1]) as f32 * 0.3 - 0.7);
        let bias = ArrayD::from_shape_vec(vec![2], vec![0.2, -0.4]).unwrap();
        let [plain_weight, plain_bias] = standard.undone(&weight, &bias).unwrap();
        let answers = |row: &[f32], weight: &ArrayD<f32>, bias: &ArrayD<f32>| -> Vec<f64> {
            let one = |k: usize| (0..3).map(|j| f64::from(row[j]) * f64::from(weight[[k, j]])).sum::<f64>() + f64::from(bias[[k]]);
            (0..2).map(one).collect()
        };
        let shown: Vec<f32> =
            Features::new(raw, &standard).batch(&(0..20).collect::<Vec<_>>(), None).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (row, shown) in values.rows().into_iter().zip(shown.chunks(3)) {
            let (a, b) = (answers(shown, &weight, &bias), answers(&row.to_vec(), &plain_weight, &plain_bias));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?}, folded {b:?}");
        }
        assert_eq!(standard.undone(&weight, &ArrayD::zeros(vec![3])), None);
    }

    #[test]
    fn memory_and_disk_give_the_same_batches() {
        let folder = tempfile::tempdir().unwrap();
        let values = Array2::from_shape_fn((40, 5), |(i, j)| ((i * 7 + j * 3) % 11) as f32 * 0.37 - 1.0);
        let batch = |budget: &MemoryBudget| {
            let raw = Raw::from_array(&values, budget);
            let standard = Standard::of(&raw).unwrap();
            let features = Features::new(raw, &standard);
            let bits = features.batch(&[39, 0, 7, 7], None).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (features.is_slow(), bits.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let (memory, disk) = (batch(&MemoryBudget::boundless()), batch(&MemoryBudget::new(0, folder.path().to_owned())));
        assert_eq!((memory.0, disk.0), (false, true));
        assert_eq!(memory.1, disk.1);
    }
}
