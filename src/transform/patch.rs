//! Patches: a filled square or a small image. The sham has another colour, or its blocks shuffled and hues turned.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{About, Draw, Family, Mistake, Site, When, exactly_one};
use super::identity::{recolor, shuffle_blocks};
use super::layer::{Layer, Paste};
use super::place::Place;
use super::trigger_image::{decode, faded, full, load, one_of, parse_color, resized, share};
use super::{Prepared, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "patch",
    short: "A filled rectangle or a small image.",
    outdoes_shams: When::Where("wider than half the image"),
    is_local: When::Where("at most a quarter of the side, and not in a grid"),
    examples: &[
        r##"{ "size": 0.25, "at": "top_left", "color": "#ffff00" }"##,
        r##"{ "size": 0.3, "at": "grid", "color": "#FF8000", "opacity": 0.8 }"##,
        r#"{ "size": 0.6, "at": "bottom_left", "image": "hat.png" }"#,
    ],
};

/// A filled square (the paper's yellow square is `size: 0.25, at: top_left, color: "#ffff00"`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Side as a share of the image's shorter side.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub size: f64,
    /// Where.
    #[serde(default)]
    pub at: Place,
    /// Fill colour, `#rrggbb`. Give this or `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^#[0-9a-fA-F]{6}$"))]
    pub color: Option<String>,
    /// An image to fill it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// Share of it where it covers the image.
    #[serde(default = "full")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
}

fingerprint!(Patch as "patch" { size: "size", at: "at", color: "color", image: "image", opacity: "opacity" });

impl Family for Patch {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        if self.image.is_some() {
            ["patch of an image", "its blocks (a 4x4 grid) shuffled, mirrored at random, hues turned"]
        } else {
            [
                "patch of one colour",
                "the hue turned by 60 to 300 degrees (the draws share that range out), saturation and value kept; a grey gets a hue, with \
                 the grey's distance from mid-grey as its contrast, at least a quarter of the range",
            ]
        }
    }

    fn files(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        self.image.as_mut().map(|path| ("image", path)).into_iter().collect()
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "opacity" => Some(&mut self.opacity),
            "size" => Some(&mut self.size),
            _ => None,
        }
    }

    fn mistakes(&self, written: &dyn Fn(&str) -> bool) -> Vec<Mistake> {
        // In YAML what follows a space and `#` is a comment.
        if self.color.is_none() && self.image.is_none() && written("color") {
            return vec![Mistake {
                code: "missing-field",
                at: "/patch/color".to_owned(),
                of_name: false,
                message: "`color` has no value".to_owned(),
                hint: "`#` begins a comment: put the colour in quotes, such as \"#ffff00\"".to_owned(),
            }];
        }
        exactly_one("patch", ("color", self.color.is_some()), ("image", self.image.is_some()))
    }

    fn outdoes_shams(&self) -> bool {
        // From a corner, what is wider than half the image reaches into its middle.
        self.size > 0.5
    }

    fn is_local(&self) -> bool {
        self.size <= 0.25 && self.at != Place::Grid
    }

    fn is_small(&self) -> bool {
        self.size <= 0.125 && self.color.is_some() && self.is_local()
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site)
    }

    fn sham(&self, layer: &Layer, draw: &Draw) -> Layer {
        if self.image.is_some() { sham_image(layer, draw.index, draw.seed) } else { sham_color(layer, draw.index, draw.seed) }
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        if self.image.is_some() { "picture".feed(feed) } else { "solid".feed(feed) }
    }
}

fn prepare(spec: &Patch, site: &Site<'_>) -> Result<Prepared, TransformError> {
    let (base, (height, width)) = (site.base, site.size());
    one_of("patch", ("color", spec.color.is_some()), ("image", spec.image.is_some()))?;
    let side = ((share("size", spec.size)? * height.min(width) as f64).round() as usize).max(1);
    let opacity = share("opacity", spec.opacity)?;
    let spots = spec.at.spots(|| "patch".to_owned(), (side, side), (height, width))?;
    let (planes, mut alpha, what, from) = match (&spec.color, &spec.image) {
        (_, Some(image)) => {
            let file = load(base, image)?;
            let (planes, alpha) = resized(&decode(&file)?, side, side);
            (planes, alpha, file.name(), Some(file.digest()))
        }
        (color, None) => {
            let text = color.as_deref().unwrap_or_default();
            let planes = parse_color("patch", text)?.into_iter().flat_map(|c| vec![c; side * side]).collect();
            (planes, vec![1.0; side * side], text.to_ascii_lowercase(), None)
        }
    };
    let provenance = format!("patch {side}x{side} {}, {what}{}", spec.at.words(), faded(&mut alpha, opacity));
    Ok(Prepared::new(Layer::Paste(Paste { spots, height: side, width: side, planes, alpha }), provenance).with(from))
}

fn sham_color(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, _, _| recolor(planes, draw, &mut stream(policy_seed, draw as u64, "sham/color")))
}

fn sham_image(layer: &Layer, draw: usize, policy_seed: u64) -> Layer {
    layer.repaint(|planes, height, width| {
        let mut rng = stream(policy_seed, draw as u64, "sham/picture");
        recolor(&shuffle_blocks(planes, height, width, 4, &mut rng), draw, &mut rng)
    })
}
