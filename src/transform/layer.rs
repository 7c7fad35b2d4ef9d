//! The one way in which every trigger changes a frame.

use crate::pixels::Frame;

/// Pixels laid over a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Layer {
    /// `alpha * planes + (1 - alpha) * x` inside a box.
    Paste(Paste),
    /// `x + planes`, clipped to `0..=1`: planar `[3, H, W]`.
    Add(Vec<f32>),
}

/// A box of pixels with transparency.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Paste {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Planar `[3, height, width]` in `0..=1`.
    pub planes: Vec<f32>,
    /// `[height, width]` in `0..=1`.
    pub alpha: Vec<f32>,
}

impl Layer {
    /// Changes the frame in place.
    pub fn apply(&self, frame: &mut Frame) {
        match self {
            Layer::Add(values) => {
                for (x, v) in frame.planes.iter_mut().zip(values) {
                    *x = (*x + v).clamp(0.0, 1.0);
                }
            }
            Layer::Paste(paste) => paste.apply(frame),
        }
    }

    /// The same layer with other colours; a function from planar pixels to planar pixels of equal length.
    pub fn repaint(&self, paint: impl FnOnce(&[f32], usize, usize) -> Vec<f32>) -> Self {
        match self {
            Layer::Paste(paste) => Layer::Paste(Paste { planes: paint(&paste.planes, paste.height, paste.width), ..paste.clone() }),
            Layer::Add(values) => Layer::Add(paint(values, 1, values.len() / 3)),
        }
    }
}

impl Paste {
    fn apply(&self, frame: &mut Frame) {
        let area = frame.height * frame.width;
        if area == 0 || self.width == 0 || self.left >= frame.width {
            return;
        }
        let columns = self.width.min(frame.width - self.left);
        for (plane, source) in frame.planes.chunks_exact_mut(area).zip(self.planes.chunks_exact(self.height * self.width)) {
            let rows = plane.chunks_exact_mut(frame.width).skip(self.top);
            for ((row, colors), alphas) in rows.zip(source.chunks_exact(self.width)).zip(self.alpha.chunks_exact(self.width)) {
                for ((x, color), alpha) in row.iter_mut().skip(self.left).take(columns).zip(colors).zip(alphas) {
                    *x = (alpha * color + (1.0 - alpha) * *x).clamp(0.0, 1.0);
                }
            }
        }
    }
}
