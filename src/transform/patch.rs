//! Patches: a filled square or a small picture. The sham has another colour, or its blocks shuffled and hues turned.

use std::path::Path;

use super::identity::{recolor, shuffle_blocks};
use super::layer::{Layer, Paste};
use super::picture::{decode, load, one_of, resized, share};
use super::{Family, Patch, TransformError};
use crate::stats::stream::stream;

pub(super) fn prepare(spec: &Patch, base: &Path, height: usize, width: usize) -> Result<(Family, Layer, String), TransformError> {
    one_of("patch", ("color", spec.color.is_some()), ("image", spec.image.is_some()))?;
    let side = ((share("size", spec.size)? * height.min(width) as f64).round() as usize).max(1);
    let (top, left) = spec.at.corner((side, side), (height, width));
    let place = spec.at.words();
    let (family, planes, alpha, what) = match (&spec.color, &spec.image) {
        (_, Some(image)) => {
            let file = load(base, image)?;
            let (planes, alpha) = resized(&decode(&file)?, side, side);
            (Family::Picture, planes, alpha, file.name())
        }
        (color, None) => {
            let text = color.as_deref().unwrap_or_default();
            let planes = parse_color(text)?.into_iter().flat_map(|c| vec![c; side * side]).collect();
            (Family::Solid, planes, vec![1.0; side * side], text.to_ascii_lowercase())
        }
    };
    let provenance = format!("patch {side}x{side} at {place}, {what}");
    Ok((family, Layer::Paste(Paste { top, left, height: side, width: side, planes, alpha }), provenance))
}

pub(super) fn sham_color(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, _, _| recolor(planes, draw, &mut stream(policy_seed, draw as u64, "sham/color")))
}

pub(super) fn sham_picture(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, height, width| {
        let mut rng = stream(policy_seed, draw as u64, "sham/picture");
        recolor(&shuffle_blocks(planes, height, width, 4, &mut rng), draw, &mut rng)
    })
}

/// `#rrggbb` as three numbers in `0..=1`.
fn parse_color(text: &str) -> Result<[f32; 3], TransformError> {
    let bad = || TransformError::Color(text.to_owned());
    let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(bad)?;
    let value = u32::from_str_radix(digits, 16).map_err(|_| bad())?;
    Ok([16, 8, 0].map(|shift| ((value >> shift) & 0xff) as f32 / 255.0))
}
