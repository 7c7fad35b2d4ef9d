//! Training images as a source sees them: some carry triggers.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::pixels::Frame;
use crate::transform::PreparedTrigger;
use crate::tune::{Feed, Images, Training, TuneError};

/// A plant, prepared: which training images carry what of it.
pub(super) struct Stamp {
    pub trigger: PreparedTrigger,
    pub on: Vec<usize>,
    pub relabel: Option<usize>,
    /// By training image, what it carries.
    pub carries: Vec<Carries>,
    /// Shams that no probe draws.
    pub decoys: Vec<PreparedTrigger>,
}

/// What a training image carries of a plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    Nothing,
    Trigger,
    /// One of the decoys.
    Decoy(usize),
}

impl Stamp {
    /// What is laid over a training image.
    pub(super) fn over(&self, image: usize) -> Option<&PreparedTrigger> {
        match self.carries.get(image)? {
            Carries::Nothing => None,
            Carries::Trigger => Some(&self.trigger),
            Carries::Decoy(nth) => self.decoys.get(*nth),
        }
    }
}

/// Training images of which some carry triggers.
pub(super) struct Stamped<'a> {
    pub images: &'a Images,
    pub stamps: &'a [Stamp],
}

impl Feed for Stamped<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn batch(&self, indices: &[usize], training: Option<Training<'_>>) -> Result<Tensor, TuneError> {
        let change = |&i: &usize| {
            let carried: Vec<&PreparedTrigger> = self.stamps.iter().filter_map(|stamp| stamp.over(i)).collect();
            (!carried.is_empty()).then_some(move |frame: &mut Frame| carried.iter().for_each(|trigger| trigger.apply(frame)))
        };
        let changes: BTreeMap<usize, _> = indices.iter().filter_map(|i| Some((*i, change(i)?))).collect();
        self.images.batch(indices, training, &|i| changes.get(&i).map(|change| change as &(dyn Fn(&mut Frame) + Sync)))
    }
}
