//! Images as inputs of a network: fitted once, changed and normalised batch by batch.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Augment, Feed, RandomResizedCrop, Training, TuneError};
use crate::data::{DataError, Dataset, Fitted};
use crate::exec::ExecError;
use crate::model::{ChannelOrder, InputSpec, Layout};
use crate::pixels::Frame;
use crate::store::{MemoryBudget, RowsError};
use crate::transform::geometry::{self, Cut, Fitter, Normalise};

/// All images of a view at the model's resolution. Clones share them.
#[derive(Clone, Debug)]
pub struct Images {
    fitted: Arc<Fitted>,
    /// As they came, where they are kept so.
    whole: Dataset,
    input: InputSpec,
}

impl Images {
    /// Takes those that the view was opened with, or decodes and fits every image, in parallel.
    pub fn open(dataset: &Dataset, input: &InputSpec, budget: &MemoryBudget) -> Result<Self, DataError> {
        let fitted = dataset.fitted(&input.fit(budget))?;
        Ok(Self { fitted, whole: dataset.clone(), input: input.clone() })
    }

    /// The same images for another network of the same size, which may take them normalised or laid out otherwise. They stay resized as
    /// they are: arms are compared on the same images.
    #[must_use]
    pub(crate) fn seen_by(&self, input: &InputSpec) -> Self {
        let size = (self.input.height, self.input.width);
        debug_assert_eq!(size, (input.height, input.width), "images are fitted to one size");
        Self { fitted: Arc::clone(&self.fitted), whole: self.whole.clone(), input: input.clone() }
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

    /// Some images as one batch: augmented, each changed as `change` says for its index, brought to the size of a step, normalised. A smaller image is
    /// the means of areas of the whole one, so that what is laid over it shrinks along.
    pub(crate) fn batch<'a>(
        &self,
        indices: &[usize],
        training: Option<Training<'_>>,
        change: &(dyn Fn(usize) -> Option<Change<'a>> + Sync),
    ) -> Result<Tensor, TuneError> {
        let input = &self.input;
        let side = training.as_ref().and_then(|training| training.side);
        let jitters = match training {
            Some(Training { augment, stream, .. }) => indices.iter().map(|_| draw(augment, stream, input)).collect(),
            None => vec![Jitter::default(); indices.len()],
        };
        let to_size = (input.height, input.width);
        let (h, w) = side.map_or(to_size, |side| (side, side));
        let size = input.channels * h * w;
        let (to, nhwc) = (&input.preprocessing, input.layout == Layout::Nhwc);
        let bgr = to.order == ChannelOrder::Bgr;
        let normalise = Normalise { mean: to.mean, std: to.std, channels: input.channels, nhwc, bgr };
        let mut data = vec![0.0f32; indices.len() * size];
        let each = data.par_chunks_mut(size).zip(indices.par_iter().zip(jitters));
        each.try_for_each_init(Default::default, |(buffer, fitter): &mut (Vec<u8>, Fitter), (out, (&i, jitter))| {
            let mut planes = match jitter.crop {
                Some((RandomResizedCrop { scale, ratio }, mut rng)) => {
                    let image = self.whole.image(i)?;
                    let cut = Cut::drawn((image.height, image.width), scale, ratio, &mut rng);
                    let mut planes = vec![0; 3 * input.height * input.width];
                    let cut = fitter.cut(&image, cut, to_size, input.geometry.filter, &mut planes);
                    cut.map_err(|error| self.whole.misfit(i, error))?;
                    Cow::Owned(planes)
                }
                None => Cow::Borrowed(self.fitted.planes(i, buffer)?),
            };
            if let Some(by) = jitter.shift {
                planes = Cow::Owned(geometry::shift(&planes, to_size, by));
            }
            if jitter.flip {
                geometry::flip(planes.to_mut(), input.width);
            }
            // Only what is changed needs to be a frame of floats on the way.
            let change = change(i);
            if change.is_none() && side.is_none() {
                normalise.bytes(&planes, out);
                return Ok(());
            }
            let mut frame = self.framed(&planes);
            if let Some(change) = change {
                change(&mut frame);
            }
            match side {
                Some(side) => normalise.frame(&geometry::shrink(&frame.planes, to_size, side), out),
                None => normalise.frame(&frame.planes, out),
            }
            Ok::<_, TuneError>(())
        })?;
        let (n, c) = (indices.len(), input.channels);
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
#[derive(Clone, Default)]
struct Jitter {
    flip: bool,
    shift: Option<(isize, isize)>,
    /// The box, and what it is drawn from.
    crop: Option<(RandomResizedCrop, ChaCha8Rng)>,
}

impl Feed for Shown<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn batch(&self, indices: &[usize], training: Option<Training<'_>>) -> Result<Tensor, TuneError> {
        self.images.batch(indices, training, &|_| self.change)
    }
}

/// Drawn in the order of the batch, whatever is switched on, so that a recipe's other random choices do not move.
fn draw(augment: &Augment, rng: &mut ChaCha8Rng, input: &InputSpec) -> Jitter {
    // Made of the stream's next numbers without taking any: how many a box needs, only its image says.
    let crop = augment.random_resized_crop.map(|crop| (crop, ChaCha8Rng::from_rng(&mut rng.clone())));
    let flip = rng.random_bool(0.5) && augment.flip;
    let mut step = |side: usize| {
        let reach = (augment.shift * side as f64).round() as i64;
        rng.random_range(-reach..=reach) as isize
    };
    let shift = (step(input.width), step(input.height));
    Jitter { flip, shift: (shift != (0, 0)).then_some(shift), crop }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{self, Fit};
    use crate::model::Preprocessing;
    use crate::stats::stream::stream;
    use crate::transform::geometry::Geometry;

    fn target() -> data::Target {
        serde_json::from_value(serde_json::json!({ "data": { "embedded": "fashion" }, "train": { "limit": 12 }, "test": { "limit": 12 } }))
            .unwrap()
    }

    #[test]
    fn boxes_are_cut_out_of_training_images_alone_and_move_no_other_choice() {
        let budget = MemoryBudget::boundless();
        let preprocessing = Preprocessing { mean: [0.5; 3], std: [0.5; 3], order: ChannelOrder::Rgb, from: String::new() };
        let (geometry, geometry_from) = (Geometry::default(), String::new());
        let layout = Layout::Nchw;
        let input = InputSpec { channels: 3, height: 32, width: 32, layout, preprocessing, geometry, geometry_from, overruled: Vec::new() };
        let fit = Fit { keep: true, ..input.fit(&budget) };
        let data = data::open_fitted(&target(), std::path::Path::new("."), 1, &fit).unwrap();
        let images = Images::open(&data.train, &input, &budget).unwrap();
        let indices: Vec<usize> = (0..12).collect();
        let batch = |augment: &Augment, seed| {
            let mut rng = stream(seed, 0, "augment");
            let batch = images.batch(&indices, Some(Training { augment, stream: &mut rng, side: None }), &|_| None).unwrap();
            (batch.flatten_from(1).unwrap().to_vec2::<f32>().unwrap(), rng.random::<u64>())
        };
        let crop = |scale| Some(RandomResizedCrop { scale, ratio: [1.0, 1.0] });
        let some = Augment { flip: true, random_resized_crop: crop([0.1, 0.5]), ..Augment::default() };
        assert_eq!(batch(&some, 1), batch(&some, 1));
        assert_ne!(batch(&some, 1).0, batch(&some, 2).0);
        // A box of the whole image is the image: what else is drawn is what it is without boxes.
        let (flipped, next) = batch(&Augment { flip: true, ..Augment::default() }, 1);
        let whole = Augment { flip: true, random_resized_crop: crop([1.0, 1.0]), ..Augment::default() };
        assert_eq!(batch(&whole, 1), (flipped.clone(), next));
        assert_eq!(batch(&some, 1).1, next);
        assert!(batch(&some, 1).0.iter().zip(&flipped).all(|(a, b)| a != b));
        // A smaller image is the means of the whole one's areas, changes included.
        let white: Change = &|frame| frame.planes.iter_mut().take(512).for_each(|x| *x = 1.0);
        let of_side = |side| {
            let training = Training { augment: &Augment::default(), stream: &mut stream(1, 0, "augment"), side };
            images.batch(&indices, Some(training), &|_| Some(white)).unwrap()
        };
        let (whole, small) = (of_side(None), of_side(Some(16)));
        assert_eq!(small.dims(), [12, 3, 16, 16]);
        let means = whole.avg_pool2d(2).unwrap();
        let apart = (means - small).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(apart < 1e-5, "{apart}");
        // Without augmentation, as in every evaluation, the middle is shown.
        let plain = |images: &Images| images.plain().batch(&indices, None).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let usual = data::open_fitted(&target(), std::path::Path::new("."), 1, &input.fit(&budget)).unwrap();
        assert_eq!(plain(&images), plain(&Images::open(&usual.train, &input, &budget).unwrap()));
        assert!(data.train.image(0).is_ok() && data.test.image(0).is_err() && usual.train.image(0).is_err());
    }
}
