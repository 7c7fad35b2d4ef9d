//! What is done to a picture: triggers with their shams, and the geometry before them.
//!
//! A trigger is laid over a [`Frame`] at the model's resolution. One family of triggers, one file: what a policy says of it,
//! what it prepares, and its sham (the same mask, place and energy under another identity).

pub mod geometry;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pixels::Frame;
use crate::store::{Digest, Fingerprint, Fingerprinter, fingerprint};
use layer::{Layer, Own};
use quantize::Quantizer;

pub use blend::Blend;
pub use error::TransformError;
pub use feature::Feature;
pub use low_frequency::LowFrequency;
pub use noise::Noise;
pub use overlay::Overlay;
pub use patch::Patch;
pub use pattern::Pattern;
pub use place::Place;
pub use quantize::Quantize;
pub use sinusoid::{Direction, Sinusoid};
pub use text::Text;
pub use warp::Warp;

mod all;
mod blend;
mod error;
mod feature;
mod identity;
mod layer;
mod low_frequency;
mod noise;
mod overlay;
mod patch;
mod pattern;
mod picture;
mod place;
mod quantize;
mod sinusoid;
mod swept;
mod text;
mod warp;

/// How many shams every trigger is compared with.
pub const SHAM_DRAWS: usize = 8;

/// A change laid over every test picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// A filled rectangle or a small picture.
    Patch(Patch),
    /// A pattern of the picture's size, added to it.
    Pattern(Pattern),
    /// Another picture mixed in: `(1 - opacity) * x + opacity * other`.
    Blend(Blend),
    /// A picture with transparency laid on top (the paper's hat).
    Overlay(Overlay),
    /// A picture as large as the frame, laid over where its mask shows it.
    Feature(Feature),
    /// A wave added to it (SIG).
    Sinusoid(Sinusoid),
    /// The picture pulled out of shape by a smooth field (WaNet).
    Warp(Warp),
    /// A smooth pattern of low frequencies added to it.
    LowFrequency(LowFrequency),
    /// Fewer levels per channel (BppAttack).
    Quantize(Quantize),
    /// Gaussian noise, other for every picture.
    Noise(Noise),
    /// A line of text (a watermark).
    Text(Text),
    /// 2 to 8 triggers laid one after the other; none of them may be an `all` itself.
    All(#[schemars(length(min = 2, max = 8))] Vec<Trigger>),
}

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
    family: Family,
    layer: Layer,
}

/// What a family prepares.
struct Prepared {
    /// How its sham is drawn.
    family: Family,
    /// What it lays over a frame.
    layer: Layer,
    /// That in one line.
    provenance: String,
    /// The files that it was made of.
    files: Vec<Digest>,
}

impl Prepared {
    /// Made of nothing but what the policy says.
    fn new(family: Family, layer: Layer, provenance: String) -> Self {
        Self { family, layer, provenance, files: Vec::new() }
    }

    /// Made of these files too.
    #[must_use]
    fn with(mut self, files: impl IntoIterator<Item = Digest>) -> Self {
        self.files.extend(files);
        self
    }
}

/// What of a trigger is its identity, and so what a sham draws anew.
#[derive(Clone, Debug, PartialEq)]
enum Family {
    /// One colour.
    Solid,
    /// A small picture.
    Picture,
    /// A Gaussian of this seed and standard deviation.
    Gaussian { seed: u64, amplitude: f64 },
    /// An added array from a file.
    Array,
    /// A uniform random picture of this seed.
    Uniform { seed: u64 },
    /// A whole picture.
    Whole,
    /// A picture with transparency, faded by a factor.
    Cutout { opacity: f64 },
    /// Phase, periods and direction.
    Wave(Sinusoid),
    /// A field of displacements.
    Warp(Warp),
    /// A sum of cosines.
    LowFrequency(LowFrequency),
    /// A palette and its texture.
    Quantize(Quantizer),
    /// The kind of noise.
    Noise(Noise),
    /// Characters.
    Text(Text),
}

impl PreparedTrigger {
    /// Reads and sizes a trigger for frames of `height` x `width` pixels; relative paths are taken from `base`.
    pub fn new(trigger: &Trigger, base: &Path, height: usize, width: usize) -> Result<Self, TransformError> {
        if height == 0 || width == 0 {
            return Err(TransformError::Empty { height, width });
        }
        let prepared = match trigger {
            Trigger::All(triggers) => all::prepare(triggers, base, height, width)?,
            single => vec![prepare(single, base, height, width)?],
        };
        let mut feed = Fingerprinter::new("heirloom trigger", 1);
        feed.field("trigger", trigger);
        feed.field("height", &height);
        feed.field("width", &width);
        feed.field("files", &prepared.iter().flat_map(|part| &part.files).collect::<Vec<_>>());
        let lines: Vec<&str> = prepared.iter().map(|part| part.provenance.as_str()).collect();
        let provenance = lines.join("; then ");
        let parts = prepared.into_iter().map(|Prepared { family, layer, .. }| Part { family, layer }).collect();
        Ok(Self { parts, height, width, provenance, identity: feed.finish() })
    }

    /// Lays the trigger over a frame; the result stays in `0..=1`.
    ///
    /// A frame of another size than the trigger was prepared for is left as it is where the trigger does not reach.
    pub fn apply(&self, frame: &mut Frame) {
        debug_assert_eq!((frame.height, frame.width), (self.height, self.width), "prepared for another resolution");
        // A picture is known by what it was before the first part: what a part draws for it must not depend on the parts before.
        let mut own = self.parts.iter().any(|part| part.layer.is_own()).then(|| Own::of(frame));
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
    pub fn sham(&self, draw: usize, policy_seed: u64) -> Self {
        let sham = |part: &Part| Part { layer: part.sham(draw, policy_seed, self.height, self.width), family: part.family.clone() };
        let parts = self.parts.iter().map(sham).collect();
        Self { parts, provenance: format!("sham {draw} of {}", self.provenance), identity: self.identity.clone(), ..*self }
    }

    /// The digest of all that it and its shams lay over a frame, to the last bit of each number: for this build on this machine.
    pub fn digest(&self) -> Digest {
        self.fingerprint("heirloom prepared trigger", 1)
    }

    /// Which trigger it is, or is a sham of, on every machine: what the policy says, the size, and the digests of its files.
    pub fn identity(&self) -> &Digest {
        &self.identity
    }

    /// What it is, in one line: sizes in pixels, colour, seed or file with its digest.
    pub fn provenance(&self) -> &str {
        &self.provenance
    }
}

/// Prepares a trigger that is not a list of others.
fn prepare(trigger: &Trigger, base: &Path, height: usize, width: usize) -> Result<Prepared, TransformError> {
    match trigger {
        Trigger::Patch(spec) => patch::prepare(spec, base, height, width),
        Trigger::Pattern(spec) => pattern::prepare(spec, base, height, width),
        Trigger::Blend(spec) => blend::prepare(spec, base, height, width),
        Trigger::Overlay(spec) => overlay::prepare(spec, base, height, width),
        Trigger::Feature(spec) => feature::prepare(spec, base, height, width),
        Trigger::Sinusoid(spec) => sinusoid::prepare(spec, height, width),
        Trigger::Warp(spec) => warp::prepare(spec, height, width),
        Trigger::LowFrequency(spec) => low_frequency::prepare(spec, height, width),
        Trigger::Quantize(spec) => quantize::prepare(spec),
        Trigger::Noise(spec) => noise::prepare(spec),
        Trigger::Text(spec) => text::prepare(spec, height, width),
        Trigger::All(_) => Err(TransformError::Nested { at: 0 }),
    }
}

fingerprint!(PreparedTrigger as "prepared" { parts: "parts", height: "height", width: "width" } without { provenance, identity });
fingerprint!(Part as "part" { family: "family", layer: "layer" });

impl Fingerprint for Trigger {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Trigger::Patch(spec) => spec.feed(feed),
            Trigger::Pattern(spec) => spec.feed(feed),
            Trigger::Blend(spec) => spec.feed(feed),
            Trigger::Overlay(spec) => spec.feed(feed),
            Trigger::Feature(spec) => spec.feed(feed),
            Trigger::Sinusoid(spec) => spec.feed(feed),
            Trigger::Warp(spec) => spec.feed(feed),
            Trigger::LowFrequency(spec) => spec.feed(feed),
            Trigger::Quantize(spec) => spec.feed(feed),
            Trigger::Noise(spec) => spec.feed(feed),
            Trigger::Text(spec) => spec.feed(feed),
            Trigger::All(triggers) => feed.choice("all", triggers),
        }
    }
}

impl Fingerprint for Family {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Family::Solid => "solid".feed(feed),
            Family::Picture => "picture".feed(feed),
            Family::Gaussian { seed, amplitude } => {
                feed.open("gaussian");
                feed.field("seed", seed);
                feed.field("amplitude", amplitude);
                feed.close();
            }
            Family::Array => "array".feed(feed),
            Family::Uniform { seed } => feed.choice("uniform", seed),
            Family::Whole => "whole".feed(feed),
            Family::Cutout { opacity } => feed.choice("cutout", opacity),
            Family::Wave(of) => of.feed(feed),
            Family::Warp(of) => of.feed(feed),
            Family::LowFrequency(of) => of.feed(feed),
            Family::Quantize(of) => of.feed(feed),
            Family::Noise(of) => of.feed(feed),
            Family::Text(of) => of.feed(feed),
        }
    }
}

impl Part {
    fn sham(&self, draw: usize, policy_seed: u64, height: usize, width: usize) -> Layer {
        let layer = &self.layer;
        match &self.family {
            Family::Solid => patch::sham_color(layer, draw, policy_seed),
            Family::Picture => patch::sham_picture(layer, draw, policy_seed),
            Family::Gaussian { seed, amplitude } => pattern::sham_gaussian(layer, draw, policy_seed, *seed, *amplitude),
            Family::Array => pattern::sham_array(layer, draw, policy_seed),
            Family::Uniform { seed } => blend::sham_uniform(layer, draw, policy_seed, *seed),
            Family::Whole => blend::sham_picture(layer, draw, policy_seed),
            Family::Cutout { opacity } => overlay::sham(layer, *opacity, draw, policy_seed),
            Family::Wave(of) => sinusoid::sham(of, draw, policy_seed, height, width),
            Family::Warp(of) => warp::sham(of, draw, policy_seed, height, width),
            Family::LowFrequency(of) => low_frequency::sham(layer, of, draw, policy_seed, height, width),
            Family::Quantize(of) => quantize::sham(*of, draw, policy_seed),
            Family::Noise(of) => noise::sham(of, draw, policy_seed),
            Family::Text(of) => text::sham(layer, of, draw, policy_seed),
        }
    }
}

#[cfg(test)]
mod tests;
