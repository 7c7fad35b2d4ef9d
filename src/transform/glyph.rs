//! Marks of one colour: a cross, a ring, a star (the sticker of `BadNets`: Gu, Dolan-Gavitt and Garg, "`BadNets`: identifying vulnerabilities
//! in the machine learning model supply chain", 2017). The sham is another mark of the same colour and area at the same place, so that a
//! network which answers to any mark, or to its colour, answers to the shams too. There are eight other marks and eight shams: the seed
//! of the policy says only which is which.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Site, When};
use super::identity::correlation;
use super::layer::{Layer, Paste};
use super::place::Place;
use super::trigger_image::{faded, full, parse_color, share};
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// Least side of a mark, in pixels: what is smaller has no shape.
const LEAST: usize = 3;
/// How alike marks may be (the cosine of what they cover) before one cannot be told from the other.
const ALIKE: f32 = 0.9;
/// Random marks that are tried for one.
const TRIES: usize = 64;

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "glyph",
    short: "A mark of one colour: a cross, a ring, a star (a sticker).",
    outdoes_shams: When::Where("outside the corners, or wider than half the image"),
    is_local: When::Where("at most a quarter of the side, and in a corner"),
    examples: &[
        r##"{ "shape": "star", "size": 0.25, "at": "bottom_right", "color": "#ffff00" }"##,
        r##"{ "shape": "checkerboard", "size": 0.6, "at": "center", "color": "#00FF80", "opacity": 0.7, "smooth": false }"##,
    ],
};

/// A mark of one colour laid over every image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Glyph {
    /// Which mark.
    pub shape: Shape,
    /// Side of the square that holds it, as a share of the image's shorter side; at least 3 pixels.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub size: f64,
    /// Where.
    #[serde(default)]
    pub at: Place,
    /// Its colour, `#rrggbb`; around it the image shows.
    #[serde(default = "white")]
    #[schemars(regex(pattern = r"^#[0-9a-fA-F]{6}$"))]
    pub color: String,
    /// Share of the mark where it covers the image.
    #[serde(default = "full")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
    /// Whether its edges are smooth: a pixel that it covers in part is mixed. Otherwise a pixel is covered or is not.
    #[serde(default = "yes")]
    pub smooth: bool,
}

/// A mark in a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// An upright cross, its bars a third of the side wide.
    Cross,
    /// A circle's outline.
    Ring,
    /// A square's outline.
    Frame,
    /// A triangle that stands on its side.
    Triangle,
    /// A star of five points, one of them up.
    Star,
    /// A board of 3x3 fields, of which the corners and the middle are covered.
    Checkerboard,
    /// Two level bars, at the upper and the lower edge.
    Bars,
    /// Two bars that meet in the lower left corner.
    Corner,
    /// A bar from the lower left to the upper right corner.
    Slash,
}

const SHAPES: [Shape; 9] =
    [Shape::Cross, Shape::Ring, Shape::Frame, Shape::Triangle, Shape::Star, Shape::Checkerboard, Shape::Bars, Shape::Corner, Shape::Slash];

fingerprint!(Glyph as "glyph" { shape: "shape", size: "size", at: "at", color: "color", opacity: "opacity", smooth: "smooth" });
fingerprint!(Shape:
    Cross = "cross",
    Ring = "ring",
    Frame = "frame",
    Triangle = "triangle",
    Star = "star",
    Checkerboard = "checkerboard",
    Bars = "bars",
    Corner = "corner",
    Slash = "slash",
);

fn white() -> String {
    "#ffffff".to_owned()
}

fn yes() -> bool {
    true
}

impl Family for Glyph {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        [
            "glyph",
            "the eight other marks, of the same colour and area; random dots for one that could not be told from another at this size",
        ]
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "opacity" => Some(&mut self.opacity),
            "size" => Some(&mut self.size),
            _ => None,
        }
    }

    fn outdoes_shams(&self) -> bool {
        // As an overlay does, it hides what is in the middle.
        !self.at.is_corner() || self.size > 0.5
    }

    fn is_local(&self) -> bool {
        self.size <= 0.25 && self.at.is_corner()
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        let (height, width) = site.size();
        let side = (share("size", self.size)? * height.min(width) as f64).round() as usize;
        let (opacity, color) = (share("opacity", self.opacity)?, parse_color("glyph", &self.color)?);
        if side < LEAST {
            let reason = format!(
                "a mark of {side}x{side} pixels has no shape on the model's input of {height}x{width}, it needs {LEAST}x{LEAST}; make \
                 `size` larger"
            );
            return Err(TransformError::Refused { family: "glyph", reason });
        }
        let name = self.shape.name();
        let spots = self.at.spots(|| name.to_owned(), (side, side), (height, width))?;
        let mut alpha = self.drawn(self.shape, side);
        let faded = faded(&mut alpha, opacity);
        let edges = if self.smooth { "" } else { ", hard edges" };
        let provenance = format!("{name} {side}x{side} {}, {}{edges}{faded}", self.at.words(), self.color.to_ascii_lowercase());
        let planes = color.into_iter().flat_map(|c| vec![c; side * side]).collect();
        Ok(Prepared::new(Layer::Paste(Paste { spots, height: side, width: side, planes, alpha }), provenance))
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        let Layer::Paste(paste) = layer else { return layer.clone() };
        let mut rng = stream(draw.seed, 0, &format!("sham/glyph/{}", self.shape.name()));
        let mut others: Vec<Shape> = SHAPES.into_iter().filter(|shape| *shape != self.shape).collect();
        others.shuffle(&mut rng);
        // Each of the draws before has its mark: this one has none of theirs, and draws alike must agree on that.
        let mut taken = vec![self.drawn(self.shape, paste.height)];
        for index in 0..=draw.index {
            let far = |mark: &[f32], taken: &[Vec<f32>]| taken.iter().all(|other| correlation(mark, other) < ALIKE);
            let other = others.get(index).map(|shape| self.drawn(*shape, paste.height)).filter(|mark| far(mark, &taken));
            let mark = other.unwrap_or_else(|| {
                let mut dots = scattered(&taken[0], &mut rng);
                for _ in 1..TRIES {
                    if far(&dots, &taken) {
                        break;
                    }
                    dots = scattered(&dots, &mut rng);
                }
                dots
            });
            taken.push(mark);
        }
        let mut alpha = taken.pop().unwrap_or_default();
        faded(&mut alpha, self.opacity);
        Layer::Paste(Paste { alpha, ..paste.clone() })
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        self.feed(feed);
    }
}

impl Glyph {
    /// What a mark covers of a square of so many pixels, with this trigger's area and edges.
    fn drawn(&self, shape: Shape, side: usize) -> Vec<f32> {
        let area = self.shape.area();
        // An edge is as sharp in many pixels with fewer samples.
        let samples = if side < 64 { 8 } else { 4 };
        let at = |pixel: usize, sample: usize| ((pixel * samples + sample) as f64 + 0.5) / (side * samples) as f64;
        let covered = |pixel: usize| {
            let (y, x) = (pixel / side, pixel % side);
            let inside = (0..samples * samples).filter(|i| shape.has(area, at(x, i % samples), at(y, i / samples))).count();
            inside as f32 / (samples * samples) as f32
        };
        let smooth: Vec<f32> = (0..side * side).map(covered).collect();
        if self.smooth {
            return smooth;
        }
        // The pixels that it covers most, as many as its area has: every mark then has the same number.
        let mut order: Vec<usize> = (0..smooth.len()).collect();
        let cover = |i: usize| smooth.get(i).copied().unwrap_or(0.0);
        order.sort_by(|a, b| cover(*b).total_cmp(&cover(*a)));
        let count = ((area * smooth.len() as f64).round() as usize).max(1);
        let mut hard = vec![0.0; smooth.len()];
        for pixel in order.into_iter().take(count) {
            if let Some(slot) = hard.get_mut(pixel) {
                *slot = 1.0;
            }
        }
        hard
    }
}

/// The same pixels in another order.
fn scattered(mark: &[f32], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut dots = mark.to_vec();
    dots.shuffle(rng);
    dots
}

impl Shape {
    /// As policies write it.
    fn name(self) -> &'static str {
        match self {
            Shape::Cross => "cross",
            Shape::Ring => "ring",
            Shape::Frame => "frame",
            Shape::Triangle => "triangle",
            Shape::Star => "star",
            Shape::Checkerboard => "checkerboard",
            Shape::Bars => "bars",
            Shape::Corner => "corner",
            Shape::Slash => "slash",
        }
    }

    /// What it covers of its square, as a trigger.
    fn area(self) -> f64 {
        match self {
            Shape::Cross | Shape::Frame | Shape::Checkerboard | Shape::Corner | Shape::Slash => 5.0 / 9.0,
            Shape::Ring | Shape::Triangle | Shape::Bars => 0.5,
            Shape::Star => 0.35,
        }
    }

    /// Whether the mark of this area (0.35 to 5/9) has a point of the square from (0, 0), upper left, to (1, 1). A triangle has at most half
    /// of the square.
    fn has(self, area: f64, x: f64, y: f64) -> bool {
        // From the middle.
        let (right, down) = (x - 0.5, y - 0.5);
        // How wide bars are that cross or meet at a right angle.
        let bar = 1.0 - (1.0 - area).sqrt();
        match self {
            Shape::Cross => right.abs() <= bar / 2.0 || down.abs() <= bar / 2.0,
            Shape::Corner => x <= bar || y >= 1.0 - bar,
            Shape::Slash => (x + y - 1.0).abs() <= bar,
            Shape::Frame => right.abs().max(down.abs()) >= (1.0 - bar) / 2.0,
            Shape::Bars => down.abs() >= 0.5 - area / 2.0,
            Shape::Ring => {
                let far = right * right + down * down;
                far <= 0.25 && far >= 0.25 - area / std::f64::consts::PI
            }
            Shape::Triangle => {
                let side = (2.0 * area).sqrt().min(1.0);
                down <= side / 2.0 && 2.0 * right.abs() <= down + side / 2.0
            }
            Shape::Checkerboard => {
                let field = (1.8 * area).sqrt().min(1.0) / 3.0;
                let (column, row) = ((right / field).round(), (down / field).round());
                column.abs() <= 1.0 && row.abs() <= 1.0 && (column + row) % 2.0 == 0.0
            }
            Shape::Star => {
                // Its outline runs from a point at 0.5 from the middle to a notch 36 degrees on, again and again.
                let step = std::f64::consts::PI / 5.0;
                let notch = area / (2.5 * step.sin());
                let turn = right.atan2(-down).rem_euclid(2.0 * step);
                let (angle, far) = (turn.min(2.0 * step - turn), right.hypot(down));
                let (along, across) = (far * angle.cos(), far * angle.sin());
                (notch * step.cos() - 0.5) * across >= notch * step.sin() * (along - 0.5)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::tests::{golden::numbers, prepared};
    use super::super::{Layer, SHAM_DRAWS, Trigger};
    use super::{ALIKE, Glyph, Place, SHAPES, Shape, correlation};

    fn glyph(shape: Shape, size: f64) -> Glyph {
        Glyph { shape, size, at: Place::TopRight, color: "#FFFF00".to_owned(), opacity: 1.0, smooth: true }
    }

    fn covered(layer: &Layer) -> &[f32] {
        let Layer::Paste(paste) = layer else { panic!("marks are pasted") };
        &paste.alpha
    }

    #[test]
    fn marks_are_those_of_pillow() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../../tests/golden/glyph/golden.json")).unwrap();
        for case in &cases {
            let shape: Shape = serde_json::from_value(case["shape"].clone()).unwrap();
            let side = case["side"].as_u64().unwrap() as usize;
            let wanted = numbers(&case["covered"]);
            let drawn = glyph(shape, 1.0).drawn(shape, side);
            assert_eq!(drawn.len(), wanted.len());
            let far: Vec<f32> = drawn.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).collect();
            let worst = far.iter().copied().fold(0.0, f32::max);
            let mean = far.iter().sum::<f32>() / far.len() as f32;
            assert!(worst < 0.1 && mean < 0.025, "{shape:?} {side}: {worst} at most, {mean} on average");
        }
        assert!(SHAPES.iter().all(|shape| cases.iter().any(|case| case["shape"] == shape.name())));
    }

    #[test]
    fn hard_edges_make_the_sticker_of_badnets() {
        let spec = Glyph { smooth: false, ..glyph(Shape::Checkerboard, 0.3) };
        assert_eq!(spec.drawn(Shape::Checkerboard, 3), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(spec.drawn(Shape::Cross, 3), [0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
        let trigger = prepared(&Trigger::Glyph(spec), 10, 10).unwrap();
        assert_eq!(trigger.provenance(), "checkerboard 3x3 at top right, #ffff00, hard edges");
    }

    #[test]
    fn shams_are_other_marks_of_the_same_area() {
        for shape in SHAPES {
            for (side, smooth) in [(3, false), (4, true), (5, false), (8, true), (16, false), (56, true)] {
                let spec = Glyph { smooth, ..glyph(shape, 1.0) };
                let trigger = prepared(&Trigger::Glyph(spec), side, side).unwrap();
                let mut marks = vec![covered(&trigger.parts[0].layer).to_vec()];
                for draw in 0..SHAM_DRAWS {
                    let sham = trigger.sham(draw, 3);
                    assert_eq!(sham, trigger.sham(draw, 3));
                    let mark = covered(&sham.parts[0].layer).to_vec();
                    let area = mark.iter().sum::<f32>() / marks[0].iter().sum::<f32>();
                    assert!((0.8..1.2).contains(&area), "{shape:?} {side} {draw}: {area} times the area");
                    for (at, other) in marks.iter().enumerate() {
                        let near = correlation(&mark, other);
                        assert!(near < ALIKE, "{shape:?} {side}: sham {draw} and number {at} are alike by {near}");
                    }
                    marks.push(mark);
                }
            }
        }
        // The seed says which mark is which sham.
        let trigger = prepared(&Trigger::Glyph(glyph(Shape::Star, 0.5)), 32, 32).unwrap();
        let firsts: BTreeSet<_> = (0..16).map(|seed| trigger.sham(0, seed).digest()).collect();
        assert!(firsts.len() > 1);
    }

    #[test]
    fn what_has_no_shape_is_refused() {
        let refused = |spec: Glyph| prepared(&Trigger::Glyph(spec), 8, 32).unwrap_err().to_string();
        assert_eq!(
            refused(glyph(Shape::Star, 0.2)),
            "glyph trigger: a mark of 2x2 pixels has no shape on the model's input of 8x32, it needs 3x3; make `size` larger"
        );
        assert!(
            refused(Glyph { color: "yellow".to_owned(), ..glyph(Shape::Star, 0.5) }).starts_with("glyph trigger: `color` is \"yellow\"")
        );
        assert!(refused(Glyph { at: Place::Grid, ..glyph(Shape::Star, 0.5) }).contains("star in a 3x3 grid is 12x12 pixels"));
        for bad in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(refused(glyph(Shape::Star, bad)).contains("`size`"), "{bad}");
            assert!(refused(Glyph { opacity: bad, ..glyph(Shape::Star, 0.5) }).contains("`opacity`"), "{bad}");
        }
    }
}
