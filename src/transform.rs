//! What is done to an image: triggers with their shams, and the geometry before them.
//!
//! A trigger is laid over a [`Frame`] at the model's resolution. One family of triggers, one file: what a policy says of it,
//! what it prepares, and its sham (the same mask, place and energy under another identity). Here is the registry of families.

pub mod geometry;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pixels::Frame;
use crate::store::{Digest, Fingerprint, Fingerprinter, fingerprint};
use families::families;
use family::{Draw, Site};
use layer::{ImageRng, Layer};

pub(crate) use error::TransformError;
pub(crate) use families::TriggerFile;
#[cfg(test)]
pub(crate) use families::tables;
pub use place::Place;
pub(crate) use trigger_image::in_folder;

mod all;
mod error;
mod families;
mod family;
mod identity;
mod layer;
mod place;
mod trigger_image;

// Every family: its file, and its line of the registry below, in the order of the schema.
mod blend;
mod feature;
mod glyph;
mod low_frequency;
mod noise;
mod overlay;
mod patch;
mod pattern;
mod quantize;
mod resample;
mod sinusoid;
mod text;
mod warp;

families! {
    Patch(patch),
    Pattern(pattern),
    Blend(blend),
    Overlay(overlay),
    Feature(feature),
    Sinusoid(sinusoid, Direction),
    Warp(warp),
    LowFrequency(low_frequency),
    Quantize(quantize),
    Noise(noise),
    Text(text),
    Glyph(glyph, Shape),
}

/// How many shams every trigger is compared with.
pub(crate) const SHAM_DRAWS: usize = 8;

/// A trigger at one resolution, ready to be laid over frames: files read, sizes in pixels, random patterns drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedTrigger {
    /// Laid one after the other.
    parts: Vec<Part>,
    height: usize,
    width: usize,
    provenance: String,
    identity: Digest,
}

/// One change of a frame, and what makes its sham.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// Not a list of others.
    trigger: Trigger,
    layer: Layer,
}

/// What a family prepares.
struct Prepared {
    /// What it lays over a frame.
    layer: Layer,
    /// That in one line.
    provenance: String,
    /// The files that it was made of.
    files: Vec<Digest>,
}

impl Prepared {
    /// Made of nothing but what the policy says.
    fn new(layer: Layer, provenance: String) -> Self {
        Self { layer, provenance, files: Vec::new() }
    }

    /// Made of these files too.
    #[must_use]
    fn with(mut self, files: impl IntoIterator<Item = Digest>) -> Self {
        self.files.extend(files);
        self
    }
}

impl PreparedTrigger {
    /// Reads and sizes a trigger for frames of `height` x `width` pixels; relative paths are taken from `base`.
    pub fn new(trigger: &Trigger, base: &Path, height: usize, width: usize) -> Result<Self, TransformError> {
        if height == 0 || width == 0 {
            return Err(TransformError::Empty { height, width });
        }
        let single = match trigger {
            Trigger::All(triggers) => all::checked(triggers)?,
            single => std::slice::from_ref(single),
        };
        let site = Site { base, height, width };
        let prepare = |single: &Trigger| single.of().map_err(|_| TransformError::Nested { at: 0 })?.prepare(&site);
        let prepared: Vec<Prepared> = single.iter().map(prepare).collect::<Result<_, _>>()?;
        let mut feed = Fingerprinter::new("heirloom trigger", 1);
        feed.field("trigger", trigger);
        feed.field("height", &height);
        feed.field("width", &width);
        feed.field("files", &prepared.iter().flat_map(|part| &part.files).collect::<Vec<_>>());
        let lines: Vec<&str> = prepared.iter().map(|part| part.provenance.as_str()).collect();
        let provenance = lines.join("; then ");
        let parts = single.iter().cloned().zip(prepared).map(|(trigger, Prepared { layer, .. })| Part { trigger, layer }).collect();
        Ok(Self { parts, height, width, provenance, identity: feed.finish() })
    }

    /// Lays the trigger over a frame; the result stays in `0..=1`.
    ///
    /// A frame of another size than the trigger was prepared for is left as it is where the trigger does not reach.
    pub(crate) fn apply(&self, frame: &mut Frame) {
        debug_assert_eq!((frame.height, frame.width), (self.height, self.width), "prepared for another resolution");
        // An image is known by what it was before the first part: what a part draws for it must not depend on the parts before.
        let mut own = self.is_own().then(|| ImageRng::of(frame));
        for (index, part) in self.parts.iter().enumerate() {
            if let Some(own) = &mut own {
                own.part = index;
            }
            part.layer.apply(frame, own.as_ref());
        }
    }

    /// The control of the same family: mask, place and energy kept, identity drawn anew.
    ///
    /// `draw` counts from 0 (to [`SHAM_DRAWS`]); the same policy seed and draw give the same sham for every model.
    #[must_use]
    pub(crate) fn sham(&self, draw: usize, policy_seed: u64) -> Self {
        let draw = Draw { index: draw, seed: policy_seed, height: self.height, width: self.width };
        let sham = |part: &Part| {
            let layer = part.trigger.of().map_or_else(|_| part.layer.clone(), |family| family.sham(&part.layer, &draw));
            Part { layer, trigger: part.trigger.clone() }
        };
        let parts = self.parts.iter().map(sham).collect();
        Self { parts, provenance: format!("sham {} of {}", draw.index, self.provenance), identity: self.identity.clone(), ..*self }
    }

    /// Whether it lays something of its own over each image: at another place, or other noise.
    pub(crate) fn is_own(&self) -> bool {
        self.parts.iter().any(|part| part.layer.is_own())
    }

    /// The digest of all that it and its shams lay over a frame, to the last bit of each number: for this build on this machine.
    pub(crate) fn digest(&self) -> Digest {
        self.fingerprint("heirloom prepared trigger", 1)
    }

    /// Which trigger it is, or is a sham of, on every machine: what the policy says, the size, and the digests of its files.
    pub(crate) fn identity(&self) -> &Digest {
        &self.identity
    }

    /// What it is, in one line: sizes in pixels, colour, seed or file with its digest.
    pub fn provenance(&self) -> &str {
        &self.provenance
    }
}

fingerprint!(PreparedTrigger as "prepared" { parts: "parts", height: "height", width: "width" } without { provenance, identity });

impl Fingerprint for Part {
    fn feed(&self, feed: &mut Fingerprinter) {
        feed.open("part");
        "family".feed(feed);
        if let Ok(family) = self.trigger.of() {
            family.feed_shams(feed);
        }
        feed.field("layer", &self.layer);
        feed.close();
    }
}

#[cfg(test)]
mod tests;
