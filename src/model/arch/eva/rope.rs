//! Rotary positions of timm's `eva.py`: what they count, and how each block turns queries and keys by them.

use super::Asked;
use crate::graph::{NodeId, Role};
use crate::model::arch::ArchError;
use crate::model::arch::config::Config;
use crate::model::arch::layers::Layers;
use crate::model::arch::token_parts::{Rotation, array, sides, turns};

/// What rotary positions count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// Patches from 0, scaled to a grid of reference.
    Index,
    /// Middles of patches from -1 to 1.
    Centred,
    /// Patches from 0, times frequencies in the file that every block and head has its own of.
    Learnt,
}

/// Rotary positions.
#[derive(Clone, Copy)]
pub(super) struct Rope {
    pub on: bool,
    pub places: Places,
    pub temperature: f64,
    /// Added to every place.
    pub offset: f64,
    /// Across before down.
    pub across_first: bool,
    /// Halves of a head are paired, not neighbours.
    pub half: bool,
    /// Grid that places are scaled to.
    pub reference: Option<[usize; 2]>,
}

impl Rope {
    /// As a configuration has it; `own` is what stands where it says nothing.
    pub(super) fn of(config: &Config, own: Self) -> Result<Self, ArchError> {
        let places = match config.text("rope_type")? {
            None => own.places,
            Some("cat") => Places::Index,
            Some("dinov3") => Places::Centred,
            Some("mixed") => Places::Learnt,
            Some(other) => return Err(config.refused("rope_type", &other.into())),
        };
        let across_first = match config.text("rope_grid_indexing")? {
            None => own.across_first,
            Some("ij") => false,
            Some("xy") => true,
            Some(other) => return Err(config.refused("rope_grid_indexing", &other.into())),
        };
        let temperature = config.number("rope_temperature")?.unwrap_or(own.temperature);
        if temperature <= 0.0 {
            return Err(config.refused("rope_temperature", &temperature.into()));
        }
        Ok(Self {
            on: config.flag("use_rot_pos_emb", own.on)?,
            places,
            temperature,
            offset: config.number("rope_grid_offset")?.unwrap_or(own.offset),
            across_first,
            half: config.flag("rope_rotate_half", own.half)?,
            reference: sides(config, "ref_feat_shape")?.or(own.reference),
        })
    }
}

/// How each block turns queries and keys.
pub(super) enum Turning {
    Not,
    Alike(Rotation),
    /// Cosines and signed sines `[2, blocks, heads, tokens, d]`.
    Apart(NodeId),
}

impl Turning {
    pub(super) fn of(
        net: &mut Layers,
        asked: &Asked,
        depth: usize,
        before: usize,
        grid: [usize; 2],
        width: usize,
    ) -> Result<Self, ArchError> {
        let rope = asked.style.rope;
        if !rope.on || !net.is_whole() {
            return Ok(Self::Not);
        }
        let d = width / asked.heads;
        if d == 0 || !d.is_multiple_of(4) {
            return Err(ArchError::Unsupported(format!("heads of {d} numbers have no rotary positions of two axes")));
        }
        if rope.places != Places::Learnt {
            let angles = angles(rope, grid, d);
            return Ok(Self::Alike(Rotation::constant(net, "rope", &angles, d / 2, before, rope.half)));
        }
        let shape = [2, depth, asked.heads, d / 2];
        let Some(found) = net.look("rope.freqs") else { return Ok(Self::Not) };
        if found != shape {
            net.misfit("rope.freqs", &found, &format!("{shape:?}"), NodeId(0));
            return Ok(Self::Not);
        }
        let full = [2, depth, asked.heads, before + grid[0] * grid[1], d];
        let made = net.made(&["rope.freqs"], &full, Role::Constant, move |tensors| {
            let all: Vec<f32> = tensors.iter().flat_map(|tensor| tensor.iter().copied()).collect();
            let (first, second) = all.split_at(all.len() / 2);
            let of_head = |(first, second): (&[f32], &[f32])| {
                let angles: Vec<f32> = places(grid, rope.across_first)
                    .flat_map(|[a, b]| first.iter().zip(second).map(move |(f, g)| a as f32 * f + b as f32 * g))
                    .collect();
                turns(&angles, d / 2, before, false)
            };
            let [cos, sin]: [Vec<Vec<f32>>; 2] = {
                let heads = first.chunks_exact(d / 2).zip(second.chunks_exact(d / 2)).map(of_head);
                let (cos, sin) = heads.map(|[cos, sin]| (cos, sin)).unzip();
                [cos, sin]
            };
            array(&full, [cos.concat(), sin.concat()].concat())
        });
        Ok(made.map_or(Self::Not, Self::Apart))
    }

    pub(super) fn at(&self, net: &mut Layers, block: usize) -> Result<Option<Rotation>, ArchError> {
        match self {
            Self::Not => Ok(None),
            Self::Alike(rotation) => Ok(Some(rotation.clone())),
            Self::Apart(all) => {
                let shape = net.whole(*all);
                let dims = shape.get(2..).unwrap_or_default().to_vec();
                let own = net.slice(&format!("rope.{block}"), *all, 1, block, block + 1)?;
                let mut part = |name: &str, i: usize| {
                    let one = net.slice(&format!("rope.{block}.{name}.slice"), own, 0, i, i + 1)?;
                    net.reshape_fixed(&format!("rope.{block}.{name}"), one, &dims)
                };
                let (cos, sin) = (part("cos", 0)?, part("sin", 1)?);
                Ok(Some(Rotation::of(cos, sin, false)))
            }
        }
    }
}

/// The places of a grid, row by row.
fn places(grid: [usize; 2], across_first: bool) -> impl Iterator<Item = [f64; 2]> {
    let [height, width] = grid;
    (0..height)
        .flat_map(move |y| (0..width).map(move |x| [y as f64, x as f64]))
        .map(move |[y, x]| if across_first { [x, y] } else { [y, x] })
}

/// The angle of every place and pair: half of the pairs turn by the one axis, half by the other.
pub(super) fn angles(rope: Rope, grid: [usize; 2], d: usize) -> Vec<f32> {
    let of = |list: [usize; 2]| if rope.across_first { [list[1], list[0]] } else { list }.map(|size| size as f64);
    let (sizes, reference) = (of(grid), rope.reference.map(of));
    let coordinate = |place: f64, axis: usize| match (rope.places, reference) {
        (Places::Centred, _) => std::f64::consts::TAU * (2.0 * (place + 0.5 + rope.offset) / sizes[axis] - 1.0),
        (_, Some(reference)) => (place + rope.offset) / sizes[axis] * reference[axis],
        (_, None) => place + rope.offset,
    };
    let bands: Vec<f64> = (0..d / 4).map(|i| rope.temperature.powf(-(i as f64) / (d / 4) as f64)).collect();
    let both = |place: [f64; 2]| {
        let turns = |axis: usize| bands.iter().map(|band| (coordinate(place[axis], axis) * band) as f32).collect::<Vec<_>>();
        [turns(0), turns(1)].concat()
    };
    places(grid, rope.across_first).flat_map(both).collect()
}
