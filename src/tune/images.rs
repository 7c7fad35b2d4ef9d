//! Images as inputs of a network: fitted once, changed and normalised batch by batch.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Augment, Feed, TuneError};
use crate::data::{DataError, Dataset, Fitted};
use crate::exec::ExecError;
use crate::model::{ChannelOrder, InputSpec, Layout};
use crate::pixels::Frame;
use crate::store::{MemoryBudget, RowsError};
use crate::transform::geometry::{self, Normalise};

/// All images of a view at the model's resolution. Clones share them.
#[derive(Clone, Debug)]
pub struct Images {
    fitted: Arc<Fitted>,
    input: InputSpec,
}

impl Images {
    /// Takes those that the view was opened with, or decodes and fits every image, in parallel.
    pub fn open(dataset: &Dataset, input: &InputSpec, budget: &MemoryBudget) -> Result<Self, DataError> {
        let fitted = dataset.fitted(&input.fit(budget))?;
        Ok(Self { fitted, input: input.clone() })
    }

    /// The same images for another network of the same size, which may take them normalised or laid out otherwise. They stay resized as
    /// they are: arms are compared on the same images.
    #[must_use]
    pub(crate) fn seen_by(&self, input: &InputSpec) -> Self {
        let size = (self.input.height, self.input.width);
        debug_assert_eq!(size, (input.height, input.width), "images are fitted to one size");
        Self { fitted: Arc::clone(&self.fitted), input: input.clone() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.fitted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One image as a frame.
    pub(crate) fn frame(&self, i: usize) -> Result<Frame, RowsError> {
        Ok(self.framed(self.fitted.planes(i, &mut Vec::new())?))
    }

    fn framed(&self, planes: &[u8]) -> Frame {
        let planes = planes.iter().map(|&b| f32::from(b) / 255.0).collect();
        Frame { width: self.input.width, height: self.input.height, planes }
    }

    /// Some images as one batch: augmented, each changed as `change` says for its index, normalised.
    pub(crate) fn batch<'a>(
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
        let (to, nhwc) = (&input.preprocessing, input.layout == Layout::Nhwc);
        let bgr = to.order == ChannelOrder::Bgr;
        let normalise = Normalise { mean: to.mean, std: to.std, channels: input.channels, nhwc, bgr };
        let mut data = vec![0.0f32; indices.len() * size];
        let each = data.par_chunks_mut(size).zip(indices.par_iter().zip(jitters));
        each.try_for_each_init(Vec::new, |buffer, (out, (&i, jitter))| {
            let mut planes = Cow::Borrowed(self.fitted.planes(i, buffer)?);
            if let Some(by) = jitter.shift {
                planes = Cow::Owned(geometry::shift(&planes, (input.height, input.width), by));
            }
            if jitter.flip {
                geometry::flip(planes.to_mut(), input.width);
            }
            // Only what is changed needs to be a frame of floats on the way.
            if let Some(change) = change(i) {
                let mut frame = self.framed(&planes);
                change(&mut frame);
                normalise.frame(&frame.planes, out);
            } else {
                normalise.bytes(&planes, out);
            }
            Ok::<_, RowsError>(())
        })?;
        let (n, c, h, w) = (indices.len(), input.channels, input.height, input.width);
        let shape = match input.layout {
            Layout::Nchw => [n, c, h, w],
            Layout::Nhwc => [n, h, w, c],
        };
        Ok(Tensor::from_vec(data, shape.as_slice(), &Device::Cpu).map_err(ExecError::from)?)
    }

    /// The images as they are.
    pub fn plain(&self) -> Shown<'_> {
        Shown { images: self, change: None }
    }

    /// The images with something done to each.
    pub(crate) fn changed<'a>(&'a self, change: Change<'a>) -> Shown<'a> {
        Shown { images: self, change: Some(change) }
    }
}

/// What is done to an image before it is normalised.
pub(crate) type Change<'a> = &'a (dyn Fn(&mut Frame) + Sync);

/// Images with what is done to them before they enter the network.
pub struct Shown<'a> {
    images: &'a Images,
    change: Option<Change<'a>>,
}

/// What augmentation does to one image.
#[derive(Clone, Copy, Default)]
struct Jitter {
    flip: bool,
    shift: Option<(isize, isize)>,
}

impl Feed for Shown<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn batch(&self, indices: &[usize], augment: Option<(&Augment, &mut ChaCha8Rng)>) -> Result<Tensor, TuneError> {
        self.images.batch(indices, augment, &|_| self.change)
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
