//! `EdgeNeXt` under timm's names.
//!
//! Maaz et al., "`EdgeNeXt`: Efficiently Amalgamated CNN-Transformer Architecture for Mobile Vision Applications" (arXiv 2206.10589).
//! Stages end in blocks in which channels, not places, attend to each other (`XCiT`, arXiv 2106.09681). Heads, and the parts into which
//! such a block splits its channels, are read off the tensors.

use std::f32::consts::PI;

use super::config::Library;
use super::hybrid::{agree, agree_where, head, numbered, pooled};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Op, Role, Unary};

type Made = Result<NodeId, ArchError>;

const NAMES: [&str; 5] = ["edgenext_xx_small", "edgenext_x_small", "edgenext_small", "edgenext_base", "edgenext_small_rw"];

/// Of every layer norm.
const EPS: f64 = 1e-6;

pub(super) static FAMILY: Family = Family {
    name: "edgenext",
    about: "EdgeNeXt under timm's names",
    usual_size: [256, 256],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = |name: &String| name.starts_with("stages.") && name.ends_with(".xca.temperature");
        if shapes.keys().any(own) { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Gelu { tanh: false });
    config.shown(&["conv_bias", "d2_scales", "downsample_block", "expand_ratio", "global_block_counts", "head_init_scale"]);
    config.shown(&["head_norm_first", "kernel_sizes", "ls_init_value", "stem_type", "use_pos_emb"]);
    let depths: Vec<usize> = (0..count(shapes, "stages.")).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    agree(config, "depths", &depths)?;
    let last = |stage: usize, depth: usize| format!("stages.{stage}.blocks.{}.xca.temperature", depth.saturating_sub(1));
    let heads = depths.iter().enumerate().map(|(stage, &depth)| shapes.get(&last(stage, depth)).and_then(|shape| shape.first().copied()));
    agree_where(config, "heads", &heads.collect::<Vec<_>>())?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.0.weight", *size, 1e-5)?;
    // Patches of 4x4, or windows of 9x9 that overlap.
    let apart = shapes.get("stem.0.weight").and_then(|shape| shape.get(2)) == Some(&4);
    let mut x = net.conv("stem.0", input, 4, Groups::One, if apart { Padding::Valid } else { Padding::Half })?;
    x = net.layer_norm_map("stem.1", x, EPS)?;
    let mut widths = Vec::new();
    for (stage, &depth) in depths.iter().enumerate() {
        let name = format!("stages.{stage}");
        let downsamples = net.has(&format!("{name}.downsample.1.weight"));
        if downsamples {
            x = net.layer_norm_map(&format!("{name}.downsample.0"), x, EPS)?;
            x = net.conv(&format!("{name}.downsample.1"), x, 2, Groups::One, Padding::Valid)?;
        }
        for block in 0..depth {
            let stride = if stage > 0 && block == 0 && !downsamples { 2 } else { 1 };
            let name = format!("{name}.blocks.{block}");
            let splits = net.has(&format!("{name}.xca.temperature"));
            x = if splits { split(&mut net, &name, x, act)? } else { convolution(&mut net, &name, x, stride, act)? };
        }
        widths.push(net.channels(x));
    }
    agree(config, "dims", &widths)?;
    if net.has("norm_pre.weight") {
        x = net.layer_norm_map("norm_pre", x, EPS)?;
        x = pooled(&mut net, config, "head.global_pool", x)?;
    } else {
        x = pooled(&mut net, config, "head.global_pool", x)?;
        x = net.layer_norm("head.norm", x, EPS)?;
    }
    x = head(&mut net, "head.fc", x)?;
    net.finish(x, format!("EdgeNeXt, {} blocks, timm names", depths.iter().sum::<usize>()))
}

fn convolution(net: &mut Layers, name: &str, input: NodeId, stride: usize, act: Unary) -> Made {
    let x = net.conv(&format!("{name}.conv_dw"), input, stride, Groups::Depthwise, Padding::Half)?;
    let after = stride > 1 || net.channels(input) != net.channels(x);
    let shortcut = if after { x } else { input };
    let x = net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
    changed(net, name, x, shortcut, act)
}

/// `shortcut` and what two linear layers make of every place of `[N, H, W, C]`.
fn changed(net: &mut Layers, name: &str, x: NodeId, shortcut: NodeId, act: Unary) -> Made {
    let x = net.layer_norm(&format!("{name}.norm"), x, EPS)?;
    let x = net.mlp([&format!("{name}.mlp.fc1"), &format!("{name}.mlp.fc2")], x, act)?;
    let x = net.scaled(&format!("{name}.gamma"), x)?;
    let x = net.transpose(&format!("{name}.first"), x, &[0, 3, 1, 2])?;
    net.sum(&format!("{name}.add"), shortcut, x)
}

fn split(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Made {
    let ([h, w], channels) = (net.size(input), net.channels(input));
    let convolutions = numbered(net, |i| format!("{name}.convs.{i}.weight"));
    let each = channels.div_ceil(convolutions + 1);
    let mut outputs = Vec::new();
    let mut last = None;
    for i in 0..=convolutions {
        let part = net.slice(&format!("{name}.part{i}"), input, 1, (i * each).min(channels), ((i + 1) * each).min(channels))?;
        if i == convolutions {
            outputs.push(part);
            break;
        }
        let x = match last {
            Some(before) => net.sum(&format!("{name}.sum{i}"), before, part)?,
            None => part,
        };
        let x = net.conv(&format!("{name}.convs.{i}"), x, 1, Groups::Depthwise, Padding::Half)?;
        outputs.push(x);
        last = Some(x);
    }
    let x = net.concat(&format!("{name}.concat"), 1, &outputs)?;
    let mut x = net.tokens(&format!("{name}.tokens"), x)?;
    if net.has(&format!("{name}.pos_embd.token_projection.weight")) {
        let positions = positions(net, &format!("{name}.pos_embd"), [h, w], channels)?;
        x = net.sum(&format!("{name}.placed"), x, positions)?;
    }
    let attended = net.layer_norm(&format!("{name}.norm_xca"), x, EPS)?;
    let attended = attention(net, &format!("{name}.xca"), attended)?;
    let attended = net.scaled(&format!("{name}.gamma_xca"), attended)?;
    let x = net.sum(&format!("{name}.attended"), x, attended)?;
    let x = net.reshape(&format!("{name}.places"), x, &[h, w, channels])?;
    changed(net, name, x, input, act)
}

/// Attention of channels to channels: queries and keys of length 1 over all places, times a learnt factor for every head.
fn attention(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let temperature = format!("{name}.temperature");
    let Some(found) = net.look(&temperature) else { return Ok(x) };
    let heads = found.first().copied().unwrap_or(0);
    if found != [heads, 1, 1] || heads == 0 {
        return Ok(net.misfit(&temperature, &found, "[heads, 1, 1]", x));
    }
    let all = net.linear(&format!("{name}.qkv"), x)?;
    let parts = net.split(&format!("{name}.qkv.split"), all, 2, 3)?;
    let mut dealt = Vec::new();
    for (part, which) in parts.into_iter().zip(["q", "k", "v"]) {
        let part = net.heads(&format!("{name}.{which}"), part, heads)?;
        dealt.push(net.transpose(&format!("{name}.{which}.channels"), part, &[0, 1, 3, 2])?);
    }
    let &[q, k, v] = dealt.as_slice() else { return Ok(x) };
    let q = net.unit_length(&format!("{name}.q.unit"), q, 3, 1e-12)?;
    let k = net.unit_length(&format!("{name}.k.unit"), k, 3, 1e-12)?;
    let k = net.transpose(&format!("{name}.k.columns"), k, &[0, 1, 3, 2])?;
    let scores = net.matmul(&format!("{name}.scores"), q, k)?;
    let factor = net.tensor(&temperature, &found, Role::Scale);
    let scores = net.mul(&format!("{name}.scaled"), scores, factor)?;
    let shares = net.add(&format!("{name}.shares"), Op::Softmax { axis: 3 }, &[scores])?;
    let mixed = net.matmul(&format!("{name}.mixed"), shares, v)?;
    let mixed = net.transpose(&format!("{name}.tokens"), mixed, &[0, 1, 3, 2])?;
    let mixed = net.together(name, mixed)?;
    net.linear(&format!("{name}.proj"), mixed)
}

/// A learnt mixture of waves over the height and the width: `[places, channels]`.
fn positions(net: &mut Layers, name: &str, size: [usize; 2], channels: usize) -> Made {
    let projection = format!("{name}.token_projection");
    let weight = format!("{projection}.weight");
    let Some(found) = net.look(&weight) else { return Ok(NodeId(0)) };
    let waves = found.get(1).copied().unwrap_or(0);
    if found != [channels, waves, 1, 1] || waves == 0 || !waves.is_multiple_of(4) || waves > 1 << 12 {
        return Ok(net.misfit(&weight, &found, &format!("[{channels}, waves, 1, 1]"), NodeId(0)));
    }
    if !net.is_whole() {
        return Ok(NodeId(0));
    }
    let known = net.constant(&format!("{name}.waves"), &[size[0] * size[1], waves], &fourier(size, waves / 2));
    let kernel = net.tensor(&weight, &found, Role::Weight);
    let kernel = net.reshape_fixed(&format!("{projection}.matrix"), kernel, &[channels, waves])?;
    let bias = net.tensor(&format!("{projection}.bias"), &[channels], Role::Bias);
    net.add(&projection, Op::Linear, &[known, kernel, bias])
}

/// For every place, row by row, sines and cosines in turn of its height, `half` of them, and then of its width.
fn fourier([h, w]: [usize; 2], half: usize) -> Vec<f32> {
    let wave = |at: usize, of: usize, i: usize| {
        let place = (at + 1) as f32 / (of as f32 + 1e-6) * (2.0 * PI);
        let angle = place / 10_000f32.powf((2 * (i / 2)) as f32 / half as f32);
        if i.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    let place = |y: usize, x: usize| (0..half).map(move |i| wave(y, h, i)).chain((0..half).map(move |i| wave(x, w, i)));
    (0..h).flat_map(|y| (0..w).flat_map(move |x| place(y, x))).collect()
}
