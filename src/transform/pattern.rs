//! Patterns added to the whole image: a seeded Gaussian, or an array from a `.npy` file.
//! The sham is another Gaussian of equal amplitude, or the file's pixels in another order.

use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Mistake, Site, When, exactly_one};
use super::identity::permute_pixels;
use super::layer::Layer;
use super::trigger_image::{Loaded, load, one_of, share};
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// Longest header of a `.npy` file that is believed, in bytes (`numpy.save` pads an ordinary one to 128).
const MAX_HEADER: usize = 1024;

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "pattern",
    short: "A pattern of the image's size, added to it.",
    outdoes_shams: When::Never,
    is_local: When::Never,
    examples: &[r#"{ "seed": 1, "amplitude": 0.1 }"#, r#"{ "file": "noise.npy", "amplitude": 0.5 }"#],
};

/// A fixed pattern added to the image (values in `0..=1`, the sum clipped).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Seed of a Gaussian pattern, drawn once per policy. Give this or `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// A `.npy` array `[H, W, 3]` or `[3, H, W]` in units of the image's range (0 to 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Standard deviation of the Gaussian, or factor on the file.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub amplitude: f64,
}

fingerprint!(Pattern as "pattern" { seed: "seed", file: "file", amplitude: "amplitude" });

impl Family for Pattern {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        if self.file.is_some() {
            ["pattern from a file", "its pixels in a random order"]
        } else {
            ["Gaussian pattern", "another Gaussian of equal standard deviation"]
        }
    }

    fn files(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        self.file.as_mut().map(|path| ("file", path)).into_iter().collect()
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "amplitude" => Some(&mut self.amplitude),
            _ => None,
        }
    }

    fn mistakes(&self, _: &dyn Fn(&str) -> bool) -> Vec<Mistake> {
        exactly_one("pattern", ("seed", self.seed.is_some()), ("file", self.file.is_some()))
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site)
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        if self.file.is_some() {
            return sham_array(layer, draw.index, draw.seed);
        }
        sham_gaussian(layer, draw.index, draw.seed, self.seed.unwrap_or_default(), self.amplitude)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        if self.file.is_some() {
            return "array".feed(feed);
        }
        feed.open("gaussian");
        feed.field("seed", &self.seed.unwrap_or_default());
        feed.field("amplitude", &self.amplitude);
        feed.close();
    }
}

fn prepare(spec: &Pattern, site: &Site<'_>) -> Result<Prepared, TransformError> {
    let (base, (height, width)) = (site.base, site.size());
    one_of("pattern", ("seed", spec.seed.is_some()), ("file", spec.file.is_some()))?;
    let amplitude = share("amplitude", spec.amplitude)?;
    if let Some(path) = &spec.file {
        let file = load(base, path)?;
        let mut planes = read_npy(&file, height, width)?;
        for v in &mut planes {
            *v *= amplitude as f32;
        }
        let provenance = format!("pattern {height}x{width} of {}, times {amplitude}", file.name());
        return Ok(Prepared::new(Layer::Add(planes), provenance).with([file.digest()]));
    }
    let seed = spec.seed.unwrap_or_default();
    let planes = gaussian(3 * height * width, amplitude, &mut stream(seed, 0, "trigger/pattern"));
    let provenance = format!("pattern {height}x{width}, Gaussian of seed {seed}, standard deviation {amplitude}");
    Ok(Prepared::new(Layer::Add(planes), provenance))
}

fn sham_gaussian(layer: &Layer, draw: usize, policy_seed: u64, seed: u64, amplitude: f64) -> Layer {
    let mut rng = stream(policy_seed, draw as u64, &format!("sham/pattern/{seed}"));
    layer.repaint(|planes, _, _| gaussian(planes.len(), amplitude, &mut rng))
}

fn sham_array(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, _, _| permute_pixels(planes, &mut stream(policy_seed, draw as u64, "sham/array")))
}

fn gaussian(len: usize, amplitude: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..len)
        .map(|_| {
            let z: f64 = StandardNormal.sample(rng);
            (amplitude * z) as f32
        })
        .collect()
}

/// Reads a float32 or float64 array `[H, W, 3]` or `[3, H, W]` as planar `[3, H, W]`.
fn read_npy(file: &Loaded, height: usize, width: usize) -> Result<Vec<f32>, TransformError> {
    check_header(&file.bytes).map_err(|reason| file.content(reason))?;
    let npy = npyz::NpyFile::new(file.bytes.as_slice()).map_err(|e| file.content(format!("not a .npy array: {e}")))?;
    let shape = npy.shape().to_vec();
    let (h, w) = (height as u64, width as u64);
    let planar = shape == [3, h, w];
    if !planar && shape != [h, w, 3] {
        let reason = format!("has shape {shape:?}, it must be [{h}, {w}, 3] or [3, {h}, {w}] for this model's input");
        return Err(TransformError::Size { path: file.path.clone(), reason });
    }
    let fortran = npy.order() == npyz::Order::Fortran;
    let dtype = npy.dtype().descr();
    let values: Vec<f32> = match npy.try_data::<f32>() {
        Ok(data) => data.collect::<Result<_, _>>(),
        Err(npy) => match npy.try_data::<f64>() {
            Ok(data) => data.map(|v| v.map(|v| v as f32)).collect::<Result<_, _>>(),
            Err(_) => return Err(file.content(format!("has values of type {dtype}; save it as float32 or float64 in units of 0 to 1"))),
        },
    }
    .map_err(|e| file.content(format!("ends too early: {e}")))?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(file.content(format!("value number {at} is {}; every value must be a finite number", values.get(at).unwrap_or(&0.0))));
    }
    let dims: [usize; 3] = if planar { [3, height, width] } else { [height, width, 3] };
    let mut planes = vec![0.0; values.len()];
    for (i, &value) in values.iter().enumerate() {
        let index = if fortran {
            [i % dims[0], i / dims[0] % dims[1], i / (dims[0] * dims[1])]
        } else {
            [i / (dims[1] * dims[2]), i / dims[2] % dims[1], i % dims[2]]
        };
        let [c, y, x] = if planar { index } else { [index[2], index[0], index[1]] };
        if let Some(slot) = planes.get_mut((c * height + y) * width + x) {
            *slot = value;
        }
    }
    Ok(planes)
}

/// Bounds what the parser would believe: a header that lies about its length, or sizes whose product overflows.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let not_npy = || "not a .npy array; write it with numpy.save".to_owned();
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(not_npy)?;
    let (length, at) = match rest {
        [1, _, a, b, ..] => (usize::from(*a) | usize::from(*b) << 8, 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 6),
        _ => return Err(not_npy()),
    };
    if length > MAX_HEADER {
        return Err(format!("its header claims {length} bytes, more than a plain array needs; write it with numpy.save"));
    }
    let header = rest.get(at..at + length).ok_or_else(|| "ends within its header".to_owned())?;
    let mut product: u64 = 1;
    for digits in header.split(|b| !b.is_ascii_digit()).filter(|d| !d.is_empty()) {
        let number: Option<u64> = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
        product = number
            .and_then(|n| product.checked_mul(n.max(1)))
            .filter(|p| *p < 1 << 48)
            .ok_or_else(|| "its header claims an array of impossible size".to_owned())?;
    }
    Ok(())
}
