//! Training images as a source sees them: some carry triggers.

use std::collections::BTreeMap;

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

use super::Stamp;
use crate::pixels::Frame;
use crate::transform::PreparedTrigger;
use crate::tune::{Augment, Feed, Images, TuneError};

/// Training images of which some carry triggers.
pub(super) struct Stamped<'a> {
    pub images: &'a Images,
    pub stamps: &'a [Stamp],
}

impl Feed for Stamped<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn batch(&self, indices: &[usize], augment: Option<(&Augment, &mut ChaCha8Rng)>) -> Result<Tensor, TuneError> {
        let change = |&i: &usize| {
            let carried: Vec<&PreparedTrigger> = self.stamps.iter().filter_map(|stamp| stamp.over(i)).collect();
            (!carried.is_empty()).then_some(move |frame: &mut Frame| carried.iter().for_each(|trigger| trigger.apply(frame)))
        };
        let changes: BTreeMap<usize, _> = indices.iter().filter_map(|i| Some((*i, change(i)?))).collect();
        self.images.batch(indices, augment, &|i| changes.get(&i).map(|change| change as &(dyn Fn(&mut Frame) + Sync)))
    }
}
