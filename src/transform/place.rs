//! Where a box of pixels goes: flush with a corner, in the middle, nine times, or where each image says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::layer::Spots;
use crate::store::fingerprint;

/// Where a trigger goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Flush with the upper left corner.
    #[default]
    TopLeft,
    /// Flush with the upper right corner.
    TopRight,
    /// Flush with the lower left corner.
    BottomLeft,
    /// Flush with the lower right corner.
    BottomRight,
    /// In the middle.
    Center,
    /// Each image at a place of its own, drawn from what the image shows: one image, one place, under every seed and sham.
    Random,
    /// Nine times: in the corners, at the middles of the sides, in the middle. Three of them must fit beside each other.
    Grid,
}

fingerprint!(Place:
    TopLeft = "top_left",
    TopRight = "top_right",
    BottomLeft = "bottom_left",
    BottomRight = "bottom_right",
    Center = "center",
    Random = "random",
    Grid = "grid",
);

impl Place {
    /// Whether it is one corner of the image.
    pub(super) fn is_corner(self) -> bool {
        matches!(self, Place::TopLeft | Place::TopRight | Place::BottomLeft | Place::BottomRight)
    }

    /// The upper left corners of a box of `inner` = (height, width) in a frame of `outer`; `what` names the box where it does not fit.
    pub(super) fn spots(
        self,
        what: impl FnOnce() -> String,
        inner: (usize, usize),
        outer: (usize, usize),
    ) -> Result<Spots, TransformError> {
        let times = if self == Place::Grid { 3 } else { 1 };
        let (height, width) = (times * inner.0, times * inner.1);
        if height > outer.0 || width > outer.1 {
            let what = if times > 1 { format!("{} in a 3x3 grid", what()) } else { what() };
            return Err(TransformError::TooLarge { what, height, width, outer_height: outer.0, outer_width: outer.1 });
        }
        let (bottom, right) = (outer.0 - inner.0, outer.1 - inner.1);
        Ok(Spots::At(match self {
            Place::TopLeft => vec![(0, 0)],
            Place::TopRight => vec![(0, right)],
            Place::BottomLeft => vec![(bottom, 0)],
            Place::BottomRight => vec![(bottom, right)],
            Place::Center => vec![(bottom / 2, right / 2)],
            Place::Grid => [0, bottom / 2, bottom].into_iter().flat_map(|top| [0, right / 2, right].map(|left| (top, left))).collect(),
            Place::Random => return Ok(Spots::Own),
        }))
    }

    /// For people, after what is placed.
    pub(super) fn words(self) -> &'static str {
        match self {
            Place::TopLeft => "at top left",
            Place::TopRight => "at top right",
            Place::BottomLeft => "at bottom left",
            Place::BottomRight => "at bottom right",
            Place::Center => "at center",
            Place::Random => "at a place of each image's own",
            Place::Grid => "in a 3x3 grid",
        }
    }
}
