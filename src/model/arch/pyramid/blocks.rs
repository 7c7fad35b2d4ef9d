//! What all these networks are made of: stages of blocks whose keys and values come of a coarser map, or of a window.

use super::sizes::{Asked, Found};
use super::{Made, Names, of};
use crate::graph::{NodeId, Role, Unary};
use crate::model::arch::ArchError;
use crate::model::arch::layers::{Groups, Layers, Padding};
use crate::model::arch::windows::Windows;

/// The linear layer of Twins-SVT's attention within windows.
const WINDOWED: &str = "attn.qkv";

/// As many places as keys and values come of along each side, in the linear variant.
const LINEAR_SIDE: usize = 7;

/// The tokens behind the last stage, and height and width of their map.
pub(super) fn network(
    net: &mut Layers,
    base: &str,
    input: NodeId,
    names: &Names,
    found: &Found,
    asked: &Asked,
) -> Result<(NodeId, [usize; 2]), ArchError> {
    let mut x = input;
    let mut size = [0, 0];
    // At least the first embedding is looked for.
    for stage in 0..found.stages().max(1) {
        if stage > 0 {
            x = net.map(&format!("{base}stage.{stage}.map"), x, size)?;
        }
        let at = |list: &[usize]| list.get(stage).copied().unwrap_or(1);
        let [embedding, norm] = names.embedding(stage).map(|name| format!("{base}{name}"));
        let padding = if asked.overlap { Padding::Half } else { Padding::Valid };
        x = net.conv(&embedding, x, at(&asked.strides).max(1), Groups::One, padding)?;
        size = net.size(x);
        x = net.tokens(&format!("{embedding}.tokens"), x)?;
        x = net.layer_norm(&norm, x, asked.inner_eps)?;
        if !names.positions.is_empty() {
            x = positions(net, &format!("{base}{}", of(names.positions, stage)), &format!("{base}{}", of(names.class, stage)), x)?;
        }
        let step = Step { size, heads: at(&asked.heads), coarser: at(&found.coarser).max(1), window: asked.windows.get(stage).copied() };
        for i in 0..at(&found.depths) {
            x = block(net, &format!("{base}{}{i}", of(names.blocks, stage)), x, names, asked, step)?;
            if i == 0 && !names.behind_first.is_empty() {
                let name = format!("{base}{}", of(names.behind_first, stage));
                let map = net.map(&format!("{name}.map"), x, size)?;
                let moved = net.conv(&name, map, 1, Groups::Depthwise, Padding::Half)?;
                let sum = net.sum(&format!("{name}.add"), moved, map)?;
                x = net.tokens(&format!("{name}.tokens"), sum)?;
            }
        }
        if names.norm.contains("{s}") || stage + 1 == found.stages() {
            x = net.layer_norm(&format!("{base}{}", of(names.norm, stage)), x, asked.eps)?;
        }
    }
    Ok((x, size))
}

/// Learnt positions of as many places as there are, and the class token, where the file has one. Transformers resamples neither.
fn positions(net: &mut Layers, name: &str, class: &str, x: NodeId) -> Made {
    let x = if net.has(class) { net.token_in_front(class, x)? } else { x };
    let dims = net.dims(x);
    let &[tokens, width] = dims.as_slice() else { return Ok(x) };
    let table = net.tensor(name, &[1, tokens, width], Role::Embedding);
    net.sum(&format!("{name}.add"), x, table)
}

/// A block's place.
#[derive(Clone, Copy)]
struct Step {
    size: [usize; 2],
    heads: usize,
    /// Stride of the convolution to a coarser map.
    coarser: usize,
    window: Option<usize>,
}

fn block(net: &mut Layers, at: &str, x: NodeId, names: &Names, asked: &Asked, step: Step) -> Made {
    let [before, between] = names.norms.map(|name| format!("{at}.{name}"));
    let normed = net.layer_norm(&before, x, asked.eps)?;
    let windowed = format!("{at}.{WINDOWED}");
    let mixed = match step.window {
        Some(side) if net.has(&format!("{windowed}.weight")) => within_windows(net, &windowed, normed, side, step)?,
        _ => attention(net, at, normed, names, asked, step)?,
    };
    let mixed = net.linear(&format!("{at}.{}", names.proj), mixed)?;
    let x = net.sum(&format!("{at}.add"), x, mixed)?;
    let normed = net.layer_norm(&between, x, asked.eps)?;
    let [first, second] = names.mlp.map(|name| format!("{at}.{name}"));
    let mut inner = net.linear(&first, normed)?;
    if !names.depthwise.is_empty() {
        if asked.linear {
            inner = net.act(&format!("{first}.relu"), Unary::Relu, inner)?;
        }
        let name = format!("{at}.{}", names.depthwise);
        let map = net.map(&format!("{name}.map"), inner, step.size)?;
        let map = net.conv(&name, map, 1, Groups::Depthwise, Padding::Half)?;
        inner = net.tokens(&format!("{name}.tokens"), map)?;
    }
    inner = net.act(&format!("{first}.act"), asked.act, inner)?;
    let more = net.linear(&second, inner)?;
    net.sum(&format!("{at}.add2"), x, more)
}

/// Every place asks; keys and values come of a coarser map.
fn attention(net: &mut Layers, at: &str, x: NodeId, names: &Names, asked: &Asked, step: Step) -> Made {
    let query = format!("{at}.{}", names.query);
    let q = net.linear(&query, x)?;
    let [coarser, norm] = names.coarser.map(|name| format!("{at}.{name}"));
    let mut from = x;
    // What one block of a stage has, all have.
    if step.coarser > 1 || asked.linear || net.has(&format!("{coarser}.weight")) {
        let mut map = net.map(&format!("{coarser}.map"), x, step.size)?;
        if asked.linear {
            map = averaged(net, &format!("{coarser}.pool"), map)?;
        }
        map = net.conv(&coarser, map, step.coarser, Groups::One, Padding::Valid)?;
        from = net.tokens(&format!("{coarser}.tokens"), map)?;
        from = net.layer_norm(&norm, from, asked.inner_eps)?;
        if asked.linear {
            from = net.act(&format!("{norm}.act"), Unary::Gelu { tanh: false }, from)?;
        }
    }
    let mut pair = Vec::new();
    for key in names.keys {
        pair.push(net.linear(&format!("{at}.{key}"), from)?);
    }
    if let [both] = pair[..] {
        pair = net.split(&format!("{query}.pair"), both, 2, 2)?;
    }
    let &[k, v] = pair.as_slice() else { return Ok(x) };
    if !net.is_whole() {
        return Ok(x);
    }
    let q = net.heads(&format!("{query}.heads"), q, step.heads)?;
    let k = net.heads(&format!("{query}.keys"), k, step.heads)?;
    let v = net.heads(&format!("{query}.values"), v, step.heads)?;
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    net.attend(&query, [q, k, v], scale, None)
}

/// Places attend to those in their window; windows that reach over the border are filled up with zeros.
fn within_windows(net: &mut Layers, qkv: &str, x: NodeId, side: usize, step: Step) -> Made {
    let [h, w] = step.size;
    let width = net.width(x);
    if !net.is_whole() || side == 0 {
        net.look(&format!("{qkv}.bias"));
        return Ok(x);
    }
    let [more_h, more_w] = [h, w].map(|size| size.next_multiple_of(side) - size);
    let places = net.reshape(&format!("{qkv}.places"), x, &[h, w, width])?;
    let places = net.pad(&format!("{qkv}.pad"), places, vec![(0, 0), (0, more_h), (0, more_w), (0, 0)])?;
    let windows = Windows { side: [side; 2], grid: false };
    let apart = windows.apart(net, qkv, places)?;
    let mixed = net.self_attention(qkv, apart, step.heads, None)?;
    let mut back = windows.together(net, qkv, mixed, [h + more_h, w + more_w])?;
    if more_h > 0 {
        back = net.slice(&format!("{qkv}.rows"), back, 1, 0, h)?;
    }
    if more_w > 0 {
        back = net.slice(&format!("{qkv}.columns"), back, 2, 0, w)?;
    }
    net.reshape(&format!("{qkv}.tokens"), back, &[h * w, width])
}

/// A map's means over 7 x 7 areas that may overlap (`AdaptiveAvgPool2d`): two products with constant matrices.
fn averaged(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let [h, w] = net.size(x);
    if !net.is_whole() || [h, w] == [LINEAR_SIDE; 2] {
        return Ok(x);
    }
    let share = |size: usize, i: usize, at: usize| {
        let (start, end) = (i * size / LINEAR_SIDE, ((i + 1) * size).div_ceil(LINEAR_SIDE));
        if (start..end).contains(&at) { 1.0 / (end - start) as f32 } else { 0.0 }
    };
    let down: Vec<f32> = (0..LINEAR_SIDE).flat_map(|i| (0..h).map(move |at| share(h, i, at))).collect();
    let across: Vec<f32> = (0..w).flat_map(|at| (0..LINEAR_SIDE).map(move |i| share(w, i, at))).collect();
    let down = net.constant(&format!("{name}.down"), &[LINEAR_SIDE, h], &down);
    let across = net.constant(&format!("{name}.across"), &[w, LINEAR_SIDE], &across);
    let rows = net.matmul(&format!("{name}.rows"), down, x)?;
    net.matmul(name, rows, across)
}
