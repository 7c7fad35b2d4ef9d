//! Text in the image: watermarks (the carton shortcut of ImageNet-W, Li et al., "A whac-a-mole dilemma", 2023).
//! The sham has other characters, as many and with as much ink, at the same place in the same colour.

use font8x8::legacy::BASIC_LEGACY;
use image::{DynamicImage, GrayAlphaImage, LumaA};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Site, When};
use super::layer::{Layer, Paste};
use super::place::Place;
use super::trigger_image::{faded, full, parse_color, resized, share};
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// Most characters.
const MOST: usize = 24;
/// Side of a character in the font, in pixels.
const SIDE: usize = 8;
/// Least width of a character, in pixels: what is narrower is a smear, and its shams are the same one.
const LEAST: usize = 3;
/// Characters that take the place of one: those with the most similar amount of ink.
const OTHERS: usize = 12;
/// Least pixels of the 64 in which a character differs from the one it takes the place of.
const APART: u32 = 12;

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "text",
    short: "A line of text (a watermark).",
    outdoes_shams: When::Never,
    is_local: When::Never,
    examples: &[r##"{ "text": "ab1", "size": 0.9, "at": "center", "color": "#ffff00", "opacity": 0.7 }"##],
};

/// A line of text laid over every image (a watermark).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// 1 to 24 printable ASCII characters.
    #[schemars(length(min = 1, max = 24), regex(pattern = r"^[ -~]*[!-~][ -~]*$"))]
    pub text: String,
    /// Width as a share of the image's width; the height is that of square characters.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub size: f64,
    /// Where.
    #[serde(default)]
    pub at: Place,
    /// Colour of the letters, `#rrggbb`; between them the image shows.
    #[serde(default = "white")]
    #[schemars(regex(pattern = r"^#[0-9a-fA-F]{6}$"))]
    pub color: String,
    /// Share of the text where it covers the image.
    #[serde(default = "full")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

fingerprint!(Text as "text" { text: "text", size: "size", at: "at", color: "color", opacity: "opacity" });

impl Family for Text {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        ["text", "other characters, as many and with about as much ink"]
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "opacity" => Some(&mut self.opacity),
            "size" => Some(&mut self.size),
            _ => None,
        }
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site.height, site.width)
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        sham(layer, self, draw.index, draw.seed)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        self.feed(feed);
    }
}

fn white() -> String {
    "#ffffff".to_owned()
}

fn prepare(spec: &Text, height: usize, width: usize) -> Result<Prepared, TransformError> {
    let count = spec.text.chars().count();
    if let Some(character) = spec.text.chars().find(|c| glyph(*c).is_none()) {
        return Err(TransformError::Character { character });
    }
    if count > MOST || spec.text.chars().all(|c| c == ' ') {
        return Err(TransformError::Text { count, most: MOST });
    }
    let (size, opacity) = (share("size", spec.size)?, share("opacity", spec.opacity)?);
    let color = parse_color("text", &spec.color)?;
    let columns = ((size * width as f64).round() as usize).max(1);
    if columns < LEAST * count {
        return Err(TransformError::Illegible { count, columns, least: LEAST * count, height, width });
    }
    let rows = ((columns as f64 / count as f64).round() as usize).max(1);
    let spots = spec.at.spots(|| format!("text {:?}", spec.text), (rows, columns), (height, width))?;
    let planes = color.into_iter().flat_map(|c| vec![c; rows * columns]).collect();
    let mut alpha = drawn(&spec.text, rows, columns);
    let (color, faded) = (spec.color.to_ascii_lowercase(), faded(&mut alpha, opacity));
    let provenance = format!("text {:?} of {rows}x{columns} {}, {color}{faded}", spec.text, spec.at.words());
    let paste = Paste { spots, height: rows, width: columns, planes, alpha };
    Ok(Prepared::new(Layer::Paste(paste), provenance))
}

fn sham(layer: &Layer, of: &Text, draw: usize, policy_seed: u64) -> Layer {
    let Layer::Paste(paste) = layer else { return layer.clone() };
    // One order for all draws, from which each takes its own: so that no two draws have a character in common at a place.
    let mut rng = stream(policy_seed, 0, &format!("sham/text/{}", of.text));
    let text: String = of
        .text
        .chars()
        .map(|c| {
            let others = others(c);
            let first = rng.random_range(0..OTHERS as u64) as usize;
            others.get((first + draw) % others.len().max(1)).copied().unwrap_or(c)
        })
        .collect();
    let mut alpha = drawn(&text, paste.height, paste.width);
    faded(&mut alpha, of.opacity);
    Layer::Paste(Paste { alpha, ..paste.clone() })
}

/// The rows of a character, least significant bit leftmost; nothing where the font has none.
fn glyph(character: char) -> Option<[u8; SIDE]> {
    // The font's control characters are blank.
    BASIC_LEGACY.get(character as usize).copied().filter(|_| character == ' ' || character.is_ascii_graphic())
}

/// The characters that look unlike this one and have the most similar amount of ink; none for a space, which stays.
fn others(character: char) -> Vec<char> {
    let rows = glyph(character).unwrap_or_default();
    let count = |rows: [u8; SIDE]| rows.iter().map(|row| row.count_ones()).sum::<u32>();
    if count(rows) == 0 {
        return Vec::new();
    }
    let mut others: Vec<(u32, char)> = ('!'..='~')
        .filter_map(|other| {
            let drawn = glyph(other)?;
            let apart: u32 = rows.iter().zip(drawn).map(|(a, b)| (a ^ b).count_ones()).sum();
            // Thin characters cannot differ in more pixels than they have.
            (apart >= APART.min(count(rows))).then_some((count(drawn).abs_diff(count(rows)), other))
        })
        .collect();
    others.sort_unstable();
    others.into_iter().take(OTHERS).map(|(_, other)| other).collect()
}

/// The alpha of a line of text in so many rows and columns, opaque where there is ink.
fn drawn(text: &str, rows: usize, columns: usize) -> Vec<f32> {
    let glyphs: Vec<[u8; SIDE]> = text.chars().filter_map(glyph).collect();
    // Enlarged without smoothing beyond its size, then averaged down: sharp at any size.
    let times = (2 * rows).div_ceil(SIDE).max(2);
    let line = GrayAlphaImage::from_fn((glyphs.len() * SIDE * times) as u32, (SIDE * times) as u32, |x, y| {
        let (x, y) = (x as usize / times, y as usize / times);
        let row = glyphs.get(x / SIDE).and_then(|glyph| glyph.get(y)).copied().unwrap_or(0);
        LumaA([255, if (row >> (x % SIDE)) & 1 == 1 { 255 } else { 0 }])
    });
    resized(&DynamicImage::ImageLumaA8(line), rows, columns).1
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_shams, prepared};
    use super::super::{Layer, Place, Trigger};
    use super::{Text, others};

    fn text(text: &str, size: f64) -> Text {
        Text { text: text.to_owned(), size, at: Place::BottomRight, color: "#FFFF00".to_owned(), opacity: 1.0 }
    }

    #[test]
    fn letters_are_read_from_the_left() {
        let trigger = prepared(&Trigger::Text(text("L.", 1.0)), 32, 64).unwrap();
        let Layer::Paste(paste) = &trigger.parts[0].layer else { panic!("text is pasted") };
        assert_eq!((paste.height, paste.width), (32, 64));
        let ink = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| -> f32 {
            rows.flat_map(|y| columns.clone().map(move |x| (y, x))).map(|(y, x)| paste.alpha[y * 64 + x]).sum()
        };
        assert!(ink(4..16, 0..14) > 40.0, "the stem of the L is on the left");
        assert!(ink(4..16, 20..32) < 4.0, "above its foot is nothing");
        assert!(ink(16..28, 14..28) > 30.0, "its foot");
        assert!(ink(0..16, 32..64) < 1.0 && ink(16..32, 32..64) > 20.0, "the full stop is low");
        assert_eq!(trigger.provenance(), "text \"L.\" of 32x64 at bottom right, #ffff00");
        assert!(paste.alpha.iter().all(|a| (0.0..=1.0).contains(a)) && paste.alpha.iter().any(|a| *a > 0.99));
    }

    #[test]
    fn every_character_has_others() {
        for c in '!'..='~' {
            let others = others(c);
            assert!(others.len() >= 8 && !others.contains(&c), "{c}: {others:?}");
        }
        assert!(others(' ').is_empty());
    }

    #[test]
    fn shams_are_other_words_with_as_much_ink() {
        for (words, factor) in [("carton", 1.5), ("a b", 1.6), ("X", 1.5), (".", 3.0), ("AAAAAA", 1.5), ("2022-07-06 12:00", 1.5)] {
            for opacity in [1.0, 0.4] {
                assert_shams(&Trigger::Text(Text { opacity, ..text(words, 0.9) }), 64, factor, 0.97);
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_named() {
        let refused = |spec: Text| prepared(&Trigger::Text(spec), 8, 32).unwrap_err().to_string();
        assert_eq!(refused(text("prix €5", 0.5)), "text trigger: `text` has '€', which the font lacks; use printable ASCII characters");
        assert!(refused(text("two\nlines", 0.5)).contains("'\\n'"));
        for bad in ["", "   ", "12345678901234567890abcde"] {
            assert!(refused(text(bad, 0.5)).contains("1 to 24"), "{bad:?}");
        }
        assert!(refused(Text { color: "yellow".to_owned(), ..text("a", 0.2) }).starts_with("text trigger: `color` is \"yellow\""));
        assert!(refused(text("a", 1.0)).contains("text \"a\" is 32x32 pixels and does not fit the model's input of 8x32"));
        for bad in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(refused(text("a", bad)).contains("`size`"), "{bad}");
            assert!(refused(Text { opacity: bad, ..text("a", 0.2) }).contains("`opacity`"), "{bad}");
        }
    }
}
