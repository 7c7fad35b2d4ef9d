//! What several transformers share beyond `layers/tokens.rs`: patches, pooling of tokens, rotary positions, the index of relative positions.

use ndarray::ArrayD;
use serde_json::Value;

use super::ArchError;
use super::config::Config;
use super::layers::{Conv, Layers};
use super::made::{Resample, resampled};
use crate::graph::{NodeId, Op, Reduce, Role};

type Made = Result<NodeId, ArchError>;

/// Height and width: one number that is both, or a list of the two.
pub(super) fn sides(config: &Config, key: &str) -> Result<Option<[usize; 2]>, ArchError> {
    match config.counts(key)?.as_deref() {
        None => Ok(None),
        Some(&[side]) if side > 0 => Ok(Some([side; 2])),
        Some(&[height, width]) if height > 0 && width > 0 => Ok(Some([height, width])),
        Some(_) => Err(config.refused(key, config.get(key).unwrap_or(&Value::Null))),
    }
}

/// The sides of a square of so many places.
pub(super) fn square(places: usize) -> Option<[usize; 2]> {
    let side = (places as f64).sqrt().round() as usize;
    (side * side == places).then_some([side; 2])
}

/// The grid of positions in a file: that of the images which the configuration speaks of, else a square.
pub(super) fn grid_in_file(image: Option<[usize; 2]>, patch: [usize; 2], places: usize) -> Option<[usize; 2]> {
    let said = image.map(|image| [image[0] / patch[0].max(1), image[1] / patch[1].max(1)]);
    said.filter(|grid| grid[0] * grid[1] == places).or_else(|| square(places))
}

/// The kernel of a convolution's weight; the configuration's `patch_size` must be the same.
pub(super) fn patch(net: &mut Layers, config: &Config, weight: &str, key: &str) -> Result<[usize; 2], ArchError> {
    let found = net.look(weight).unwrap_or_default();
    let patch = match found.as_slice() {
        &[_, _, height, width] if height > 0 && width > 0 => [height, width],
        _ => [1, 1],
    };
    if sides(config, key)?.is_some_and(|said| net.is_whole() && said != patch) {
        return Err(config.refused(key, config.get(key).unwrap_or(&Value::Null)));
    }
    Ok(patch)
}

/// The map of patches: a convolution that strides by its kernel.
pub(super) fn patches(net: &mut Layers, name: &str, x: NodeId, patch: [usize; 2]) -> Made {
    net.conv_as(name, x, Conv { stride: patch, ..Conv::new(1, 0) })
}

/// One vector of all tokens: the first (`token`), or mean, maximum or both (`avgmax`) of those behind `before`.
pub(super) fn pooled(net: &mut Layers, pool: &str, before: usize, x: NodeId) -> Made {
    if pool == "token" {
        return net.pick("pool", x, 1, 0);
    }
    let tokens = net.dims(x).first().copied().unwrap_or(0);
    let places = if before > 0 { net.slice("pool.places", x, 1, before, tokens)? } else { x };
    let greatest = |net: &mut Layers| net.add("pool.max", Op::Reduce { kind: Reduce::Max, axes: vec![1], keep: false }, &[places]);
    match pool {
        "max" => greatest(net),
        "avgmax" => {
            let greatest = greatest(net)?;
            let mean = net.mean("pool.mean", places, &[1], false)?;
            let both = net.sum("pool.both", greatest, mean)?;
            net.affine("pool", both, 0.5, 0.0)
        }
        _ => net.mean("pool", places, &[1], false),
    }
}

/// A part of a linear layer's bias that is a tensor of its own, added to what it is of.
pub(super) fn shifted(net: &mut Layers, bias: &str, x: NodeId) -> Made {
    let width = net.width(x);
    let shift = net.tensor(bias, &[width], Role::Bias);
    net.sum(&format!("{bias}.add"), x, shift)
}

/// Rotary positions (Su et al., arXiv 2104.09864): pairs of numbers of queries and keys turned by angles that depend on the place.
#[derive(Clone)]
pub(super) struct Rotation {
    cos: NodeId,
    sin: NodeId,
    half: bool,
}

/// For every place a turn of each pair of numbers of a head. Cosines and sines of all tokens, `[tokens, 2 pairs]` each: the first `before`
/// tokens do not turn. `half`: number `i` is paired with `i + pairs`, else `2 i` with `2 i + 1`. The sign of the sine is that with which the
/// partner enters.
pub(super) fn turns(angles: &[f32], pairs: usize, before: usize, half: bool) -> [Vec<f32>; 2] {
    let width = 2 * pairs;
    let mut cos = vec![1.0; before * width];
    let mut sin = vec![0.0; before * width];
    for place in angles.chunks_exact(pairs.max(1)) {
        for i in 0..width {
            let (pair, second) = if half { (i % pairs, i >= pairs) } else { (i / 2, i % 2 == 1) };
            let (s, c) = f64::from(place[pair]).sin_cos();
            cos.push(c as f32);
            sin.push(if second { s as f32 } else { -s as f32 });
        }
    }
    [cos, sin]
}

impl Rotation {
    /// By angles that are part of the architecture, `[places, pairs]`.
    pub(super) fn constant(net: &mut Layers, name: &str, angles: &[f32], pairs: usize, before: usize, half: bool) -> Self {
        let [cos, sin] = turns(angles, pairs, before, half);
        let tokens = cos.len() / (2 * pairs).max(1);
        let cos = net.constant(&format!("{name}.cos"), &[tokens, 2 * pairs], &cos);
        let sin = net.constant(&format!("{name}.sin"), &[tokens, 2 * pairs], &sin);
        Self { cos, sin, half }
    }

    /// By cosines and signed sines that are computed.
    pub(super) fn of(cos: NodeId, sin: NodeId, half: bool) -> Self {
        Self { cos, sin, half }
    }

    /// Queries or keys `[N, heads, tokens, d]`, turned.
    pub(super) fn turn(&self, net: &mut Layers, name: &str, x: NodeId) -> Made {
        let width = net.width(x);
        let partner = |i: usize| if self.half { (i + width / 2) % width.max(1) } else { i ^ 1 };
        let partners = net.select(&format!("{name}.partners"), x, 3, (0..width).map(partner).collect())?;
        let own = net.mul(&format!("{name}.own"), x, self.cos)?;
        let other = net.mul(&format!("{name}.other"), partners, self.sin)?;
        net.sum(&format!("{name}.turned"), own, other)
    }
}

/// For every pair of tokens, the class token first, the row of a table of relative positions that `BEiT` adds to its score: all offsets of a
/// grid, then class to place, place to class, class to class.
pub(super) fn relative(grid: [usize; 2]) -> Vec<usize> {
    let [height, width] = grid;
    let rows = (2 * height).saturating_sub(1) * (2 * width).saturating_sub(1);
    let places: Vec<[usize; 2]> = (0..height).flat_map(|y| (0..width).map(move |x| [y, x])).collect();
    let mut all = vec![rows + 2];
    all.extend(places.iter().map(|_| rows));
    for query in &places {
        all.push(rows + 1);
        all.extend(places.iter().map(|key| (query[0] + height - 1 - key[0]) * (2 * width - 1) + query[1] + width - 1 - key[1]));
    }
    all
}

/// A bias `[1, heads, tokens, tokens]` of a table `[offsets, heads]` and the row of each pair of tokens.
pub(super) fn biased_by(net: &mut Layers, name: &str, table: NodeId, tokens: usize, rows: &[usize]) -> Made {
    let heads = net.width(table);
    let pairs = net.select(&format!("{name}.select"), table, 0, rows.to_vec())?;
    let pairs = net.reshape_fixed(&format!("{name}.pairs"), pairs, &[tokens, tokens, heads])?;
    let first = net.transpose(&format!("{name}.heads"), pairs, &[2, 0, 1])?;
    net.reshape_fixed(&format!("{name}.bias"), first, &[1, heads, tokens, tokens])
}

/// A table `[offsets of a square grid and 3 more, heads]` brought to the offsets of another grid; the last three rows stay.
pub(super) fn resized_offsets(table: &ArrayD<f32>, from: [usize; 2], to: [usize; 2], how: Resample) -> ArrayD<f32> {
    let heads = table.shape().last().copied().unwrap_or(0);
    let all: Vec<f32> = table.iter().copied().collect();
    let (offsets, rest) = all.split_at((from[0] * from[1] * heads).min(all.len()));
    let brought = resampled(&array(&[from[0], from[1], heads], offsets.to_vec()), from, to, how, None);
    let values: Vec<f32> = brought.iter().copied().chain(rest.iter().copied()).collect();
    array(&[to[0] * to[1] + 3, heads], values)
}

/// Numbers as an array, zeros of that shape where there are not as many.
pub(super) fn array(shape: &[usize], values: Vec<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(shape.to_vec(), values).unwrap_or_else(|_| ArrayD::zeros(shape.to_vec()))
}

/// Places in a table, as a file may have them.
pub(super) fn index_array(shape: &[usize], index: &[usize]) -> ArrayD<f64> {
    let values = index.iter().map(|&row| row as f64).collect();
    ArrayD::from_shape_vec(shape.to_vec(), values).unwrap_or_else(|_| ArrayD::zeros(shape.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_a_row_of_two_places() {
        // Three offsets (-1, 0, 1), then class to place, place to class, class to class.
        assert_eq!(relative([1, 2]), [5, 3, 3, 4, 1, 0, 4, 2, 1]);
        assert_eq!(relative([2, 3]).iter().max(), Some(&(3 * 5 + 2)));
    }

    #[test]
    fn tokens_in_front_do_not_turn() {
        let quarter = std::f32::consts::FRAC_PI_2;
        let [cos, sin] = turns(&[quarter, 0.0], 2, 1, true);
        let near = |found: &[f32], wanted: &[f32]| found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(cos.len() == 8 && near(&cos, &[1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0]), "{cos:?}");
        assert!(sin.len() == 8 && near(&sin, &[0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0]), "{sin:?}");
        let [_, sin] = turns(&[quarter, 0.0], 2, 0, false);
        assert!(near(&sin, &[-1.0, 1.0, 0.0, 0.0]), "{sin:?}");
    }

    #[test]
    fn a_grid_that_is_no_square_must_be_said() {
        assert_eq!(grid_in_file(None, [16, 16], 196), Some([14, 14]));
        assert_eq!(grid_in_file(None, [16, 16], 24), None);
        assert_eq!(grid_in_file(Some([64, 96]), [16, 16], 24), Some([4, 6]));
    }
}
