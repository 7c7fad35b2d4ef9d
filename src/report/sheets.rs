//! Sheets of sample images (`--pictures`): what a rule's probe showed the network.

use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{Rgb, RgbImage, imageops};

use super::WriteError;
use crate::pixels::Frame;

/// Sample images of one rule, one row each: as it is, with the trigger, under every sham.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// The rule's id.
    pub rule: String,
    /// Frames of one size.
    pub rows: Vec<Vec<Frame>>,
}

/// Pixels between two frames.
const GAP: u32 = 4;
/// Smaller frames are enlarged, in whole steps, to at least this side.
const LEAST_SIDE: usize = 96;

impl Sheet {
    /// The file's name within the report's folder. Rule ids hold nothing that a path could not (see `gate::Rule`).
    pub(crate) fn file(&self) -> String {
        format!("pictures/{}.png", self.rule.replace('/', "-"))
    }

    /// Whether a report may name its sheet so: a PNG in the folder of sheets, and nowhere else.
    pub(super) fn is_name(name: &str) -> bool {
        let inside = name.strip_prefix("pictures/").and_then(|name| name.strip_suffix(".png"));
        inside.is_some_and(|rule| !rule.is_empty() && !rule.contains(['/', '\\']))
    }

    /// The sheet as a PNG.
    pub(crate) fn png(&self) -> Result<Vec<u8>, WriteError> {
        let cells: Vec<Vec<RgbImage>> = self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let (width, height) = cells.iter().flatten().next().map_or((1, 1), RgbImage::dimensions);
        let columns = cells.iter().map(Vec::len).max().unwrap_or(0) as u32;
        let total = |side: u32, count: u32| count * (side + GAP) + GAP;
        let mut sheet = RgbImage::from_pixel(total(width, columns), total(height, cells.len() as u32), Rgb([255; 3]));
        for (y, row) in cells.iter().enumerate() {
            for (x, cell) in row.iter().enumerate() {
                let (left, top) = (total(width, x as u32), total(height, y as u32));
                imageops::replace(&mut sheet, cell, i64::from(left), i64::from(top));
            }
        }
        let mut bytes = Vec::new();
        // By its encoder: `write_to` compiles those of all formats.
        sheet.write_with_encoder(PngEncoder::new(&mut bytes))?;
        Ok(bytes)
    }
}

fn cell(frame: &Frame) -> RgbImage {
    let area = frame.width * frame.height;
    let image = RgbImage::from_fn(frame.width as u32, frame.height as u32, |x, y| {
        let at = y as usize * frame.width + x as usize;
        Rgb([0, 1, 2].map(|channel| (frame.planes[channel * area + at].clamp(0.0, 1.0) * 255.0).round() as u8))
    });
    let factor = LEAST_SIDE.div_ceil(frame.width.min(frame.height).max(1)) as u32;
    imageops::resize(&image, image.width() * factor, image.height() * factor, FilterType::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_holds_its_frames_in_rows() {
        let frame = |value: f32| Frame { width: 48, height: 96, planes: vec![value; 3 * 48 * 96] };
        let sheet = Sheet { rule: "backdoor/square".into(), rows: vec![vec![frame(0.0), frame(1.0)], vec![frame(0.5), frame(2.0)]] };
        assert_eq!(sheet.file(), "pictures/backdoor-square.png");
        let image = image::load_from_memory(&sheet.png().unwrap()).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (2 * 100 + 4, 2 * 196 + 4));
        let at = |x, y| image.get_pixel(x, y).0[0];
        assert_eq!([at(0, 0), at(10, 10), at(110, 10), at(10, 210), at(110, 210)], [255, 0, 255, 128, 255]);
    }
}
