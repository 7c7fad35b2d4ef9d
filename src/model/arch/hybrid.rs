//! What hybrids of convolution and attention have in common: fields of their configurations, heads and tables of relative positions.

use super::ArchError;
use super::config::{Config, Library};
use super::layers::{Groups, Layers, Padding};
use crate::graph::{NodeId, Op, Role, Unary};

type Made = Result<NodeId, ArchError>;

/// Most pairs of a query and a key that a table of distances is spread over: those of a grid of 64x64 places.
const MOST_PAIRS: usize = 1 << 24;

/// Numbers that the tensors show too: of others, the configuration is that of another network.
pub(super) fn agree(config: &Config, key: &str, found: &[usize]) -> Result<(), ArchError> {
    match config.counts(key)? {
        Some(said) if said != found => Err(ArchError::Unsupported(format!(
            "config.json: `{key}` is {said:?}, and the tensors show {found:?}: the two are of different models"
        ))),
        _ => Ok(()),
    }
}

/// The same where the tensors show only some of the numbers, one for each stage.
pub(super) fn agree_where(config: &Config, key: &str, found: &[Option<usize>]) -> Result<(), ArchError> {
    let Some(said) = config.counts(key)? else { return Ok(()) };
    let numbers: Vec<usize> = found.iter().zip(&said).map(|(found, said)| found.unwrap_or(*said)).collect();
    if said.len() == found.len() {
        agree(config, key, &numbers)
    } else {
        agree(config, key, &found.iter().flatten().copied().collect::<Vec<_>>())
    }
}

/// The entry of a table of architectures, each with what tensors do not show, that the network's name means.
pub(super) fn entry<'t, T>(config: &Config, table: &'t [(&str, T)]) -> Option<&'t T> {
    let name = config.name.as_ref().filter(|name| name.may_be(Library::Timm))?;
    table.iter().find(|(known, _)| name.is_one_of([*known])).map(|(_, entry)| entry)
}

/// The same, or what must be said.
pub(super) fn needed<'t, T>(config: &Config, table: &'t [(&str, T)], family: &'static str, what: &str) -> Result<&'t T, ArchError> {
    entry(config, table).ok_or_else(|| ArchError::NeedsName {
        family,
        what: what.to_owned(),
        names: table.iter().take(2).map(|(name, _)| format!("timm/{name}")).collect(),
    })
}

/// The mean of every channel of a map, or its greatest value, as timm's `global_pool` says.
pub(super) fn pooled(net: &mut Layers, config: &Config, name: &str, x: NodeId) -> Made {
    let max = match config.pooling("avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    net.pool(name, max, x)
}

/// Refuses every pooling but the mean.
pub(super) fn mean_only(config: &Config) -> Result<(), ArchError> {
    match config.pooling("avg")? {
        "avg" => Ok(()),
        other => Err(config.refused("global_pool", &other.into())),
    }
}

/// A convolution and its batch norm, `NAME.CONV` and `NAME.NORM`, padded by half the kernel, in as many groups as fit.
pub(super) fn unit(net: &mut Layers, name: &str, [conv, norm]: [&str; 2], x: NodeId, stride: usize) -> Made {
    let x = net.conv(&format!("{name}.{conv}"), x, stride, Groups::Fitting, Padding::Half)?;
    net.norm(&format!("{name}.{norm}"), x)
}

/// The linear head, where the file has one.
pub(super) fn head(net: &mut Layers, name: &str, x: NodeId) -> Made {
    if net.has(&format!("{name}.weight")) { net.linear(name, x) } else { Ok(x) }
}

/// The mean of the answers of those of these linear heads that the file has, each behind a batch norm where one is named. Features are what
/// two heads read, and what enters the linear layer of one.
pub(super) fn answers(net: &mut Layers, x: NodeId, heads: &[(Option<String>, String)]) -> Made {
    let mut answers = Vec::new();
    for (norm, linear) in heads {
        if net.has(&format!("{linear}.weight")) {
            let normed = norm.as_ref().map_or(Ok(x), |norm| net.norm(norm, x))?;
            answers.push(net.linear(linear, normed)?);
        }
    }
    match answers[..] {
        [] => Ok(x),
        [first] => Ok(first),
        [first, second, ..] => {
            net.features_at(x);
            let sum = net.sum("heads.sum", first, second)?;
            net.affine("heads.mean", sum, 0.5, 0.0)
        }
    }
}

/// A batch norm with an `eps` of its own.
pub(super) fn norm_by(net: &mut Layers, name: &str, x: NodeId, eps: f64) -> Made {
    let channels = net.channels(x);
    let parts = [("weight", Role::Scale), ("bias", Role::Shift), ("running_mean", Role::RunningMean), ("running_var", Role::RunningVar)];
    let mut inputs = vec![x];
    inputs.extend(parts.map(|(part, role)| net.tensor(&format!("{name}.{part}"), &[channels], role)));
    net.add(name, Op::BatchNorm { eps, momentum: 0.1 }, &inputs)
}

/// A map in windows of this side, each an image of its own: `[N, C, H, W]` to `[windows N, C, side, side]`. Zeros fill the last ones.
pub(super) fn windows(net: &mut Layers, name: &str, x: NodeId, side: usize) -> Made {
    let ([h, w], channels) = (net.size(x), net.channels(x));
    if side == 0 || [h, w] == [side; 2] {
        return Ok(x);
    }
    let [rows, columns] = [h.div_ceil(side), w.div_ceil(side)];
    let x = net.pad(&format!("{name}.pad"), x, vec![(0, 0), (0, 0), (0, rows * side - h), (0, columns * side - w)])?;
    let x = net.reshape(&format!("{name}.cut"), x, &[channels, rows, side, columns, side])?;
    let x = net.transpose(&format!("{name}.order"), x, &[0, 2, 4, 1, 3, 5])?;
    net.reshape_by(&format!("{name}.windows"), x, rows * columns, &[channels, side, side])
}

/// The map of its windows, without what filled the last ones.
pub(super) fn unwindowed(net: &mut Layers, name: &str, x: NodeId, [h, w]: [usize; 2]) -> Made {
    let ([side, _], channels) = (net.size(x), net.channels(x));
    if side == 0 || [h, w] == [side; 2] {
        return Ok(x);
    }
    let [rows, columns] = [h.div_ceil(side), w.div_ceil(side)];
    let x = net.reshape(&format!("{name}.uncut"), x, &[rows, columns, channels, side, side])?;
    let x = net.transpose(&format!("{name}.unorder"), x, &[0, 3, 1, 4, 2, 5])?;
    let mut x = net.reshape(&format!("{name}.whole"), x, &[channels, rows * side, columns * side])?;
    for (axis, size, padded) in [(2, h, rows * side), (3, w, columns * side)] {
        if size != padded {
            x = net.slice(&format!("{name}.crop{axis}"), x, axis, 0, size)?;
        }
    }
    Ok(x)
}

/// How many tensors of such names the file has, counted from 0 without gaps.
pub(super) fn numbered(net: &Layers, name: impl Fn(usize) -> String) -> usize {
    let mut number = 0;
    while net.has(&name(number)) {
        number += 1;
    }
    number
}

/// An activation, if there is one.
pub(super) fn maybe(net: &mut Layers, name: &str, act: Option<Unary>, x: NodeId) -> Made {
    act.map_or(Ok(x), |act| net.act(name, act, x))
}

/// For every query and every key the place of their distance, down and across, in a table of all distances of a grid, row by row. Queries
/// are every `step`-th place of the grid down and across.
pub(super) fn distances([h, w]: [usize; 2], step: usize) -> Vec<usize> {
    let places = |step: usize| (0..h).step_by(step.max(1)).flat_map(move |y| (0..w).step_by(step.max(1)).map(move |x| (y, x)));
    places(step).flat_map(|(y, x)| places(1).map(move |(v, u)| y.abs_diff(v) * w + x.abs_diff(u))).collect()
}

/// What is learnt for every distance and head, `[heads, h w]` in the file, as `[heads, queries, keys]`.
pub(super) fn distance_bias(net: &mut Layers, table: &str, grid: [usize; 2], step: usize) -> Made {
    let Some(found) = net.look(table) else { return Ok(NodeId(0)) };
    let [h, w] = grid;
    let heads = found.first().copied().unwrap_or(0);
    let queries = h.div_ceil(step.max(1)) * w.div_ceil(step.max(1));
    if found != [heads, h * w] || heads == 0 || queries.saturating_mul(h * w) > MOST_PAIRS {
        return Ok(net.misfit(table, &found, &format!("[heads, {}] for a grid of {h}x{w} places", h * w), NodeId(0)));
    }
    if !net.is_whole() {
        return Ok(NodeId(0));
    }
    let node = net.tensor(table, &found, Role::Embedding);
    let chosen = net.select(&format!("{table}.select"), node, 1, distances(grid, step))?;
    net.reshape_fixed(&format!("{table}.reshape"), chosen, &[heads, queries, h * w])
}

/// Refuses images of which the network makes another grid than the one that it was made for: its tables belong to that one.
pub(super) fn same_grid(net: &Layers, found: [usize; 2], made_for: [usize; 2]) -> Result<(), ArchError> {
    if !net.is_whole() || found == made_for {
        return Ok(());
    }
    let ([h, w], [a, b]) = (made_for, found);
    Err(ArchError::Unsupported(format!(
        "the tables of positions are those of a grid of {h}x{w} places, and images of this size make {a}x{b}: give the size that it was \
         trained at"
    )))
}

/// Queries, keys and values `[N, heads, tokens, d]` of tokens in which every head's three lie side by side, the values of all heads
/// `values` numbers wide.
pub(super) fn heads_of_three(net: &mut Layers, name: &str, x: NodeId, heads: usize, values: usize) -> Result<[NodeId; 3], ArchError> {
    let (tokens, width) = (net.whole(x).get(1).copied().unwrap_or(0), net.width(x));
    let (each, value) = (width.checked_div(heads).unwrap_or(0), values.checked_div(heads).unwrap_or(0));
    let key = each.saturating_sub(value) / 2;
    if net.is_whole() && (heads == 0 || key == 0 || heads * (2 * key + value) != width) {
        net.misfit(name, &[width], &format!("{heads} heads of a query, a key and {value} values"), x);
    }
    let per_image = net.per_image(x);
    let apart = net.reshape_by(&format!("{name}.apart"), x, per_image, &[tokens, heads, each])?;
    let apart = net.transpose(&format!("{name}.heads"), apart, &[0, 2, 1, 3])?;
    Ok([
        net.slice(&format!("{name}.q"), apart, 3, 0, key)?,
        net.slice(&format!("{name}.k"), apart, 3, key, 2 * key)?,
        net.slice(&format!("{name}.v"), apart, 3, 2 * key, 2 * key + value)?,
    ])
}

/// The side of a square grid of so many places.
pub(super) fn side(places: usize) -> Option<usize> {
    Some(places.isqrt()).filter(|side| side * side == places && places > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_from_every_query() {
        assert_eq!(distances([2, 2], 1), [0, 1, 2, 3, 1, 0, 3, 2, 2, 3, 0, 1, 3, 2, 1, 0]);
        assert_eq!(distances([2, 3], 2), [0, 1, 2, 3, 4, 5, 2, 1, 0, 5, 4, 3]);
        assert_eq!((side(49), side(48), side(0)), (Some(7), None, None));
    }
}
