//! Encoded images to 8-bit RGB.

use image::DynamicImage;
use image::metadata::Orientation as Turn;

use super::Orientation;
use crate::pixels::Image;
use crate::pixels::encoded;
pub use crate::pixels::encoded::{DecodeError, MAX_PIXELS};

/// Decodes an image (the first of an animation) to 8-bit RGB, and says whether it asks to be turned or mirrored.
///
/// Transparency is laid on white, grayscale is repeated, 16-bit values are rounded to 8. With [`Orientation::Upright`] it is turned as it
/// asks, with [`Orientation::Stored`] it is not.
pub fn decode(bytes: &[u8], orientation: Orientation) -> Result<(Image, bool), DecodeError> {
    let encoded::Decoded { mut image, orientation: turn } = encoded::decode(bytes)?;
    if orientation == Orientation::Upright {
        image.apply_orientation(turn);
    }
    Ok((to_rgb(image), turn != Turn::NoTransforms))
}

fn to_rgb(decoded: DynamicImage) -> Image {
    let rgb = if decoded.color().has_alpha() {
        let rgba = decoded.into_rgba8();
        let size = (rgba.width(), rgba.height());
        let over_white = |color: u8, alpha: u8| {
            let (color, alpha) = (u32::from(color), u32::from(alpha));
            ((color * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        let bytes =
            rgba.pixels().flat_map(|p| [over_white(p.0[0], p.0[3]), over_white(p.0[1], p.0[3]), over_white(p.0[2], p.0[3])]).collect();
        (size, bytes)
    } else {
        let rgb = decoded.into_rgb8();
        ((rgb.width(), rgb.height()), rgb.into_raw())
    };
    let ((width, height), rgb) = rgb;
    Image { width: width as usize, height: height as usize, rgb }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::*;

    /// What Pillow, torchvision and `datasets` make of an image (tests/golden/images/make.py).
    #[derive(Deserialize)]
    struct Verdict {
        whole: Vec<(usize, usize)>,
        turned: u8,
        upright: (usize, usize),
    }

    fn golden() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images")
    }

    fn verdicts() -> BTreeMap<String, Verdict> {
        serde_json::from_str(&std::fs::read_to_string(golden().join("verdicts.json")).unwrap()).unwrap()
    }

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(golden().join("files").join(name)).unwrap()
    }

    #[test]
    fn what_pillow_refuses_of_a_cut_file_is_broken() {
        let (mut refused, mut judged, mut others) = (0, 0, Vec::new());
        for (name, verdict) in verdicts() {
            let bytes = file(&name);
            // Where the last bytes hold no pixel (checksums, padding), a decoder may want them all the same.
            let margin = if name.ends_with("jpg") { 0 } else { MARGIN };
            for length in 0..=bytes.len() {
                let pillow = verdict.whole.iter().any(|(from, to)| (*from..=*to).contains(&length));
                let ours = decode(&bytes[..length], Orientation::Upright).is_ok();
                let nearly = pillow && !ours && verdict.whole.first().is_some_and(|(from, _)| length < from + margin);
                if ours != pillow && !nearly {
                    others.push(format!("{name}: the first {length} of {} bytes: Pillow says {pillow}, we say {ours}", bytes.len()));
                }
                (refused, judged) = (refused + usize::from(!ours), judged + 1);
            }
        }
        assert!(others.is_empty(), "{} of {judged} are judged otherwise:\n{}", others.len(), others.join("\n"));
        assert!(judged > 70_000 && refused > judged / 2, "{refused} of {judged}");
    }

    /// Bytes behind the last pixel of a file that may be asked for.
    const MARGIN: usize = 24;

    #[test]
    fn pixels_are_those_that_the_usual_loaders_show() {
        let near = |name: &str, ours: &[u8], theirs: &[u8]| {
            assert_eq!(ours.len(), theirs.len(), "{name}");
            let off: Vec<u32> = ours.iter().zip(theirs).map(|(a, b)| u32::from(a.abs_diff(*b))).collect();
            let (most, mean) = (off.iter().max().copied().unwrap_or_default(), f64::from(off.iter().sum::<u32>()) / off.len() as f64);
            // Lossy formats leave rounding, and how colours are spread over pixels, to the decoder.
            let lossy = [".jpg", "jpeg.tif", "lossy.webp", "alpha.webp", "animated.webp"].iter().any(|end| name.ends_with(end));
            let (most_allowed, mean_allowed) = if lossy { (16, 1.5) } else { (1, 0.5) };
            assert!(most <= most_allowed && mean <= mean_allowed, "{name}: off by {mean:.2}, at most {most}");
        };
        for (name, verdict) in verdicts().into_iter().filter(|(name, _)| name != "ended-early.jpg") {
            let bytes = file(&name);
            let (upright, tagged) = decode(&bytes, Orientation::Upright).unwrap();
            assert_eq!(((upright.width, upright.height), tagged), (verdict.upright, verdict.turned != 1), "{name}");
            near(&name, &upright.rgb, &file(&format!("{name}.rgb")));
            let (stored, _) = decode(&bytes, Orientation::Stored).unwrap();
            let theirs = if tagged { file(&format!("{name}.stored.rgb")) } else { file(&format!("{name}.rgb")) };
            near(&name, &stored.rgb, &theirs);
        }
    }
}
