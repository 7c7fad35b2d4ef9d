//! Parameters that are not a tensor of the file as it stands.

use std::fmt;
use std::sync::Arc;

use ndarray::ArrayD;

/// What the names of constants of an architecture begin with.
pub const MADE: &str = "heirloom.made.";

/// Numbers from numbers.
type Make = dyn Fn(&[ArrayD<f32>]) -> ArrayD<f32> + Send + Sync;

/// A slot whose numbers are computed when the file is loaded: a constant of the architecture, or a tensor brought to another size.
#[derive(Clone)]
pub struct Made {
    /// The slot's name.
    pub slot: String,
    /// The tensors of the file that it is made of; none for a constant.
    pub from: Vec<String>,
    make: Arc<Make>,
}

impl Made {
    pub(super) fn new(slot: &str, from: &[&str], make: impl Fn(&[ArrayD<f32>]) -> ArrayD<f32> + Send + Sync + 'static) -> Self {
        Self { slot: slot.to_owned(), from: from.iter().map(|name| (*name).to_owned()).collect(), make: Arc::new(make) }
    }

    /// The numbers, from those of the tensors `from`, in that order.
    pub fn make(&self, tensors: &[ArrayD<f32>]) -> ArrayD<f32> {
        (self.make)(tensors)
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.slot, self.from)
    }
}

/// A tensor of the file that is part of the architecture, such as the index of relative positions: what is built here has these numbers, and
/// a file with others is of another network.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Its name in the file.
    pub name: String,
    /// What it must hold.
    pub values: ArrayD<f64>,
}

/// Tensors that the network which is certified does not compute with, and why.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// How their names begin.
    pub prefix: String,
    /// What they are, for people: `the text tower`.
    pub what: String,
}

#[derive(Clone, Copy)]
enum Corners {
    Aligned,
    Halves,
}

/// How [`weights`] takes a value between grid points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resample {
    /// The nearest, as PyTorch's `nearest`: index rounded down.
    Nearest,
    /// Linear, pixels are areas (`align_corners=False`).
    Bilinear,
    /// Linear, corner on corner (`align_corners=True`).
    BilinearCorners,
    /// Cubic with a = -0.75 (Keys 1981), pixels are areas, as PyTorch's `bicubic`.
    Bicubic,
    /// Cubic with a = -0.5 over as many pixels as are brought together: PyTorch's `bicubic` with `antialias=True`.
    BicubicAntialias,
}

/// The matrix `[to, from]` that brings one axis of `from` values to `to` of them. `scale` is the step between outputs in inputs, `from / to`
/// where it is not given.
pub(super) fn weights(from: usize, to: usize, how: Resample, scale: Option<f64>) -> Vec<f32> {
    let corners = if how == Resample::BilinearCorners { Corners::Aligned } else { Corners::Halves };
    let scale = match corners {
        Corners::Aligned if to > 1 => (from as f64 - 1.0) / (to as f64 - 1.0),
        Corners::Aligned => 0.0,
        Corners::Halves => scale.unwrap_or(from as f64 / to as f64),
    };
    let mut out = vec![0.0f32; to * from];
    let last = from as isize - 1;
    for (o, row) in out.chunks_exact_mut(from).enumerate() {
        let centre = match corners {
            Corners::Aligned => o as f64 * scale,
            Corners::Halves => (o as f64 + 0.5) * scale - 0.5,
        };
        let mut add = |at: isize, weight: f64| row[at.clamp(0, last) as usize] += weight as f32;
        match how {
            Resample::Nearest => add((o as f64 * scale).floor() as isize, 1.0),
            Resample::Bilinear | Resample::BilinearCorners => {
                let centre = if how == Resample::Bilinear { centre.max(0.0) } else { centre };
                let low = centre.floor();
                add(low as isize, 1.0 - (centre - low));
                add(low as isize + 1, centre - low);
            }
            Resample::Bicubic => {
                let low = centre.floor();
                for tap in -1..=2 {
                    add(low as isize + tap, cubic(centre - low - tap as f64, -0.75));
                }
            }
            Resample::BicubicAntialias => {
                let stretch = scale.max(1.0);
                let middle = (o as f64 + 0.5) * scale;
                let (first, end) = ((middle - 2.0 * stretch + 0.5).max(0.0) as usize, ((middle + 2.0 * stretch + 0.5) as usize).min(from));
                let taps: Vec<f64> = (first..end).map(|i| cubic((i as f64 - middle + 0.5) / stretch, -0.5)).collect();
                let sum: f64 = taps.iter().sum();
                for (i, tap) in (first..end).zip(taps) {
                    row[i] += (tap / sum) as f32;
                }
            }
        }
    }
    out
}

/// Keys' cubic convolution kernel.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

/// A grid `[height, width, channels]` of positions brought to another size.
pub(super) fn resampled(grid: &ArrayD<f32>, from: [usize; 2], to: [usize; 2], how: Resample, scale: Option<[f64; 2]>) -> ArrayD<f32> {
    let channels = grid.len() / (from[0] * from[1]).max(1);
    let flat: Vec<f32> = grid.iter().copied().collect();
    let (down, across) = (weights(from[0], to[0], how, scale.map(|s| s[0])), weights(from[1], to[1], how, scale.map(|s| s[1])));
    let mut rows = vec![0.0f64; to[0] * from[1] * channels];
    for o in 0..to[0] {
        for i in 0..from[0] {
            let weight = f64::from(down[o * from[0] + i]);
            if weight != 0.0 {
                let (source, target) = (&flat[i * from[1] * channels..][..from[1] * channels], &mut rows[o * from[1] * channels..]);
                target.iter_mut().zip(source).for_each(|(t, s)| *t += weight * f64::from(*s));
            }
        }
    }
    let mut out = vec![0.0f64; to[0] * to[1] * channels];
    for y in 0..to[0] {
        for o in 0..to[1] {
            for i in 0..from[1] {
                let weight = f64::from(across[o * from[1] + i]);
                if weight != 0.0 {
                    let source = &rows[(y * from[1] + i) * channels..][..channels];
                    out[(y * to[1] + o) * channels..].iter_mut().zip(source).for_each(|(t, s)| *t += weight * s);
                }
            }
        }
    }
    let out: Vec<f32> = out.into_iter().map(|v| v as f32).collect();
    ArrayD::from_shape_vec(vec![to[0], to[1], channels], out).unwrap_or_else(|_| ArrayD::zeros(vec![to[0], to[1], channels]))
}
