//! Pictures as inputs of a network: fitted once, changed and normalised batch by batch.

use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Augment, Feed, TuneError};
use crate::data::{DataError, Dataset};
use crate::exec::ExecError;
use crate::model::{InputSpec, Layout};
use crate::pixels::Frame;
use crate::transform::geometry;

/// All pictures of a view at the model's resolution, as bytes (`3 * height * width` each).
#[derive(Clone, Debug)]
pub struct Pictures {
    bytes: Vec<Vec<u8>>,
    input: InputSpec,
}

impl Pictures {
    /// Decodes and fits every picture, in parallel.
    pub fn open(dataset: &Dataset, input: &InputSpec) -> Result<Self, DataError> {
        let fit = |i| {
            let frame = geometry::fit(&dataset.image(i)?, input.height, input.width);
            // Fitting ends in bytes, so this loses nothing.
            Ok(frame.planes.iter().map(|v| (v * 255.0).round() as u8).collect())
        };
        let bytes = (0..dataset.len()).into_par_iter().map(fit).collect::<Result<_, DataError>>()?;
        Ok(Self { bytes, input: input.clone() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One picture as a frame.
    pub fn frame(&self, i: usize) -> Frame {
        let planes = self.bytes[i].iter().map(|&b| f32::from(b) / 255.0).collect();
        Frame { width: self.input.width, height: self.input.height, planes }
    }

    /// Some pictures as one batch: augmented, each changed as `change` says for its index, normalised.
    pub fn batch<'a>(
        &self,
        indices: &[usize],
        augment: Option<(&Augment, &mut ChaCha8Rng)>,
        change: &(dyn Fn(usize) -> Option<Change<'a>> + Sync),
    ) -> Result<Tensor, TuneError> {
        let input = &self.input;
        let jitters = match augment {
            Some((augment, rng)) => indices.iter().map(|_| draw(augment, rng, input)).collect(),
            None => vec![Jitter::default(); indices.len()],
        };
        let size = input.channels * input.height * input.width;
        let mut data = vec![0.0f32; indices.len() * size];
        data.par_chunks_mut(size).zip(indices.par_iter().zip(jitters)).for_each(|(out, (&i, jitter))| {
            let mut frame = self.frame(i);
            if let Some((dx, dy)) = jitter.shift {
                frame = geometry::shift(&frame, dx, dy);
            }
            if jitter.flip {
                geometry::flip(&mut frame);
            }
            if let Some(change) = change(i) {
                change(&mut frame);
            }
            let to = &input.preprocessing;
            geometry::write_normalised(&frame, to.mean, to.std, input.channels, input.layout == Layout::Nhwc, out);
        });
        let (n, c, h, w) = (indices.len(), input.channels, input.height, input.width);
        let shape = match input.layout {
            Layout::Nchw => [n, c, h, w],
            Layout::Nhwc => [n, h, w, c],
        };
        Ok(Tensor::from_vec(data, shape.as_slice(), &Device::Cpu).map_err(ExecError::from)?)
    }

    /// The pictures as they are.
    pub fn plain(&self) -> Shown<'_> {
        Shown { pictures: self, change: None }
    }

    /// The pictures with something done to each.
    pub fn changed<'a>(&'a self, change: Change<'a>) -> Shown<'a> {
        Shown { pictures: self, change: Some(change) }
    }
}

/// What is done to a picture before it is normalised.
pub type Change<'a> = &'a (dyn Fn(&mut Frame) + Sync);

/// Pictures with what is done to them before they enter the network.
pub struct Shown<'a> {
    pictures: &'a Pictures,
    change: Option<Change<'a>>,
}

/// What augmentation does to one picture.
#[derive(Clone, Copy, Default)]
struct Jitter {
    flip: bool,
    shift: Option<(isize, isize)>,
}

impl Feed for Shown<'_> {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn batch(&self, indices: &[usize], augment: Option<(&Augment, &mut ChaCha8Rng)>) -> Result<Tensor, TuneError> {
        self.pictures.batch(indices, augment, &|_| self.change)
    }
}

/// Drawn in the order of the batch, whatever is switched on, so that a recipe's other random choices do not move.
fn draw(augment: &Augment, rng: &mut ChaCha8Rng, input: &InputSpec) -> Jitter {
    let flip = rng.random_bool(0.5) && augment.flip;
    let mut step = |side: usize| {
        let reach = (augment.shift * side as f64).round() as i64;
        rng.random_range(-reach..=reach) as isize
    };
    let shift = (step(input.width), step(input.height));
    Jitter { flip, shift: (shift != (0, 0)).then_some(shift) }
}
