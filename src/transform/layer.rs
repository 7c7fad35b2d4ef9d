//! The ways in which triggers change a frame.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::resample::resample;
use crate::pixels::Frame;
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter};

/// What is done to a frame.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    /// `alpha * planes + (1 - alpha) * x` inside a box.
    Paste(Paste),
    /// `x + planes`, clipped to `0..=1`: planar `[3, H, W]`.
    Add(Vec<f32>),
    /// Every pixel read from another place `(row, column)` in pixels: `[H, W]`.
    Resample(Vec<[f32; 2]>),
    /// One of these, which every image draws for itself.
    OneOf(Vec<Layer>),
    /// A way that only one family has, in that family's file.
    Change(Arc<dyn Change>),
}

/// A way to change a frame that only one family has.
pub(super) trait Change: std::fmt::Debug + Send + Sync + Fingerprint {
    /// Changes the frame in place; `own` is there where [`Change::is_own`].
    fn apply(&self, frame: &mut Frame, own: Option<&ImageRng>);

    /// Whether it lays something else over every image.
    fn is_own(&self) -> bool;
}

impl Layer {
    /// A way that only one family has.
    pub fn of(change: impl Change + 'static) -> Self {
        Self::Change(Arc::new(change))
    }
}

impl PartialEq for Layer {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Paste(a), Self::Paste(b)) => a == b,
            (Self::Add(a), Self::Add(b)) => a == b,
            (Self::Resample(a), Self::Resample(b)) => a == b,
            (Self::OneOf(a), Self::OneOf(b)) => a == b,
            (Self::Change(a), Self::Change(b)) => a.fingerprint("change", 1) == b.fingerprint("change", 1),
            _ => false,
        }
    }
}

/// A box of pixels with transparency.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Paste {
    /// Where its upper left corner goes.
    pub spots: Spots,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Planar `[3, height, width]` in `0..=1`.
    pub planes: Vec<f32>,
    /// `[height, width]` in `0..=1`.
    pub alpha: Vec<f32>,
}

/// Upper left corners of a box.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spots {
    /// At each of these `(top, left)`.
    At(Vec<(usize, usize)>),
    /// At one that every image draws for itself.
    Own,
}

impl Fingerprint for Layer {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Layer::Paste(paste) => paste.feed(feed),
            Layer::Add(planes) => {
                feed.open("add");
                feed.numbers(planes.iter().copied());
                feed.close();
            }
            Layer::Resample(from) => {
                feed.open("resample");
                feed.field("points", &from.len());
                feed.numbers(from.as_flattened().iter().copied());
                feed.close();
            }
            Layer::OneOf(layers) => {
                feed.open("one of");
                for layer in layers {
                    layer.feed(feed);
                }
                feed.close();
            }
            Layer::Change(change) => change.feed(feed),
        }
    }
}

impl Fingerprint for Paste {
    fn feed(&self, feed: &mut Fingerprinter) {
        let Self { spots, height, width, planes, alpha } = self;
        feed.open("paste");
        feed.field("spots", spots);
        feed.field("height", height);
        feed.field("width", width);
        feed.numbers(planes.iter().copied());
        feed.numbers(alpha.iter().copied());
        feed.close();
    }
}

impl Fingerprint for Spots {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self {
            Spots::At(corners) => feed.choice("at", &corners.iter().map(|&(top, left)| [top, left]).collect::<Vec<_>>()),
            Spots::Own => "own".feed(feed),
        }
    }
}

/// An image before anything was laid over it: random streams that are its own, whatever the model, arm, seed of training or sham.
pub(super) struct ImageRng {
    content: String,
    /// Which trigger of several is laid on, counted from 0.
    pub part: usize,
}

impl ImageRng {
    /// Reads the image to the nearest of 256 levels, so that the last bits of a frame's floats mean nothing.
    pub fn of(frame: &Frame) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(frame.height as u64).to_le_bytes());
        hasher.update(&(frame.width as u64).to_le_bytes());
        let levels: Vec<u8> = frame.planes.iter().map(|x| (x * 255.0).round() as u8).collect();
        hasher.update(&levels);
        Self { content: hasher.finalize().to_hex().to_string(), part: 0 }
    }

    /// The image's stream for one purpose.
    pub fn stream(&self, seed: u64, index: u64, purpose: &str) -> ChaCha8Rng {
        stream(seed, index, &format!("{purpose}/{}", self.content))
    }
}

impl Layer {
    /// Changes the frame in place; `own` is of the image that nothing was laid over yet.
    pub fn apply(&self, frame: &mut Frame, own: Option<&ImageRng>) {
        match self {
            Layer::Add(values) => {
                for (x, v) in frame.planes.iter_mut().zip(values) {
                    *x = (*x + v).clamp(0.0, 1.0);
                }
            }
            Layer::Paste(paste) => paste.apply(frame, own),
            Layer::Resample(from) => resample(frame, from),
            Layer::OneOf(layers) => {
                let Some(own) = own.filter(|_| !layers.is_empty()) else { return };
                // As of a place: trigger and shams are compared under the same one.
                let which = own.stream(0, own.part as u64, "trigger/which").random_range(0..layers.len() as u64) as usize;
                if let Some(layer) = layers.get(which) {
                    layer.apply(frame, Some(own));
                }
            }
            Layer::Change(change) => change.apply(frame, own),
        }
    }

    /// Whether it lays something else over every image, and so needs to know which it is.
    pub fn is_own(&self) -> bool {
        match self {
            Layer::Paste(paste) => paste.spots == Spots::Own,
            Layer::Add(_) | Layer::Resample(_) => false,
            Layer::OneOf(_) => true,
            Layer::Change(change) => change.is_own(),
        }
    }

    /// The same layer with other colours; a function from planar pixels to planar pixels of equal length.
    pub fn repaint(&self, paint: impl FnOnce(&[f32], usize, usize) -> Vec<f32>) -> Self {
        match self {
            Layer::Paste(paste) => Layer::Paste(Paste { planes: paint(&paste.planes, paste.height, paste.width), ..paste.clone() }),
            Layer::Add(values) => Layer::Add(paint(values, 1, values.len() / 3)),
            other => other.clone(),
        }
    }
}

impl Paste {
    fn apply(&self, frame: &mut Frame, own: Option<&ImageRng>) {
        match (&self.spots, own) {
            (Spots::At(corners), _) => corners.iter().for_each(|corner| self.lay(frame, *corner)),
            (Spots::Own, Some(own)) => {
                // Of the policy's seed it knows nothing, and of the sham: trigger and shams are compared at the same place.
                let mut rng = own.stream(0, own.part as u64, "trigger/place");
                let mut draw = |outer: usize, inner: usize| rng.random_range(0..=outer.saturating_sub(inner) as u64) as usize;
                let corner = (draw(frame.height, self.height), draw(frame.width, self.width));
                self.lay(frame, corner);
            }
            (Spots::Own, None) => {}
        }
    }

    fn lay(&self, frame: &mut Frame, (top, left): (usize, usize)) {
        let area = frame.height * frame.width;
        if area == 0 || self.width == 0 || left >= frame.width {
            return;
        }
        let columns = self.width.min(frame.width - left);
        for (plane, source) in frame.planes.chunks_exact_mut(area).zip(self.planes.chunks_exact(self.height * self.width)) {
            let rows = plane.chunks_exact_mut(frame.width).skip(top);
            for ((row, colors), alphas) in rows.zip(source.chunks_exact(self.width)).zip(self.alpha.chunks_exact(self.width)) {
                for ((x, color), alpha) in row.iter_mut().skip(left).take(columns).zip(colors).zip(alphas) {
                    *x = (alpha * color + (1.0 - alpha) * *x).clamp(0.0, 1.0);
                }
            }
        }
    }
}
