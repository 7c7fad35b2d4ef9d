//! Training images that grow from epoch to epoch (progressive resizing): each size has a graph of its own, and all have the same parameters.

use std::collections::BTreeMap;

use super::{ProgressiveResizing, Recipe, TuneError};
use crate::graph::{Dim, Graph, Shape};

/// The graph of each size.
pub(crate) struct Sizes<'a> {
    own: &'a Graph,
    growing: Option<(&'a ProgressiveResizing, usize)>,
    /// By side, in pixels.
    graphs: BTreeMap<usize, Graph>,
}

impl<'a> Sizes<'a> {
    /// Those that a recipe asks for. An error where the network takes images of one size only.
    pub(crate) fn of(graph: &'a Graph, recipe: &'a Recipe) -> Result<Self, TuneError> {
        let Some(growing) = &recipe.progressive_resizing else { return Ok(Self { own: graph, growing: None, graphs: BTreeMap::new() }) };
        let shape = &graph.node(graph.input()).shape;
        let fails = |side, reason: String| TuneError::Resizing { side, reason };
        // Channels are 1 or 3, and the sides are equal: which axes are the sides is seen.
        let (axes, model) = match shape.0.as_slice() {
            [_, _, Dim::Fixed(h), Dim::Fixed(w)] if h == w => ([2, 3], *h),
            [_, Dim::Fixed(h), Dim::Fixed(w), _] if h == w => ([1, 2], *h),
            _ => return Err(fails(growing.from, format!("its input is {shape}, which is no square image"))),
        };
        let mut graphs = BTreeMap::new();
        for side in (0..recipe.epochs).map(|epoch| growing.side(epoch, model)) {
            if side > model {
                return Err(fails(side, format!("its own images have {model}, and are not enlarged: lower `from` and `to`")));
            }
            if side < model && !graphs.contains_key(&side) {
                let mut resized = shape.0.clone();
                for axis in axes {
                    resized[axis] = Dim::Fixed(side);
                }
                let resized = graph.with_input(&Shape(resized)).map_err(|error| fails(side, error.to_string()))?;
                graphs.insert(side, resized);
            }
        }
        Ok(Self { own: graph, growing: Some((growing, model)), graphs })
    }

    /// The graph of an epoch, and the side of its images where it is not the model's own.
    pub(super) fn at(&self, epoch: usize) -> (&Graph, Option<usize>) {
        let side = self.growing.map(|(growing, model)| growing.side(epoch, model));
        side.and_then(|side| Some((self.graphs.get(&side)?, Some(side)))).unwrap_or((self.own, None))
    }
}

#[cfg(test)]
mod tests;
