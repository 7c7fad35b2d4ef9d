//! `EfficientViT` of Microsoft under timm's names: `efficientvit_m0` to `m5`.
//!
//! Liu et al., "`EfficientViT`: Memory Efficient Vision Transformer with Cascaded Group Attention" (arXiv 2305.07027). Every head has
//! channels of its own, to which the output of the head before it is added. Attention stays within windows, whose size the tables of
//! distances show.

use super::config::Library;
use super::hybrid::{agree, answers, distance_bias, numbered, pooled, side, unit, unwindowed, windows};
use super::layers::{Layers, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

const NAMES: [&str; 6] = ["efficientvit_m0", "efficientvit_m1", "efficientvit_m2", "efficientvit_m3", "efficientvit_m4", "efficientvit_m5"];

const UNIT: [&str; 2] = ["conv", "bn"];

pub(super) static FAMILY: Family = Family {
    name: "efficientvit-msra",
    about: "EfficientViT of Microsoft (m0 to m5) under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.contains_key("stages.0.blocks.0.mixer.m.attn.qkvs.0.conv.weight");
        if own && shapes.contains_key("patch_embed.conv1.conv.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    // The size of the images shows in that of the windows.
    config.shown(&["img_size", "kernels", "window_size"]);
    if let Some(said) = config.get("down_ops").filter(|said| **said != serde_json::json!([["", 1], ["subsample", 2], ["subsample", 2]])) {
        return Err(config.refused("down_ops", said));
    }
    let stages = count(shapes, "stages.");
    let depths: Vec<usize> = (0..stages).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    agree(config, "depth", &depths)?;
    let first = |stage: usize, part: &str| shapes.get(&format!("stages.{stage}.blocks.0.{part}")).and_then(|shape| shape.first().copied());
    for (key, part) in
        [("num_heads", "mixer.m.attn.attention_biases"), ("key_dim", "mixer.m.attn.dws.0.conv.weight"), ("embed_dim", "dw0.m.conv.weight")]
    {
        agree(config, key, &(0..stages).filter_map(|stage| first(stage, part)).collect::<Vec<_>>())?;
    }
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "patch_embed.conv1.conv.weight", *size, 1e-5)?;
    for i in 1..=4 {
        x = unit(&mut net, &format!("patch_embed.conv{i}"), UNIT, x, 2)?;
        if i < 4 {
            x = net.act(&format!("patch_embed.relu{i}"), Unary::Relu, x)?;
        }
    }
    for (stage, &depth) in depths.iter().enumerate() {
        let down = format!("stages.{stage}.downsample");
        if shapes.keys().any(|name| name.starts_with(&format!("{down}."))) {
            x = narrower(&mut net, &down, x)?;
        }
        for block in 0..depth {
            x = self::block(&mut net, &format!("stages.{stage}.blocks.{block}"), x, shapes)?;
        }
    }
    x = pooled(&mut net, config, "global_pool", x)?;
    let name = |part: &str| (Some(format!("{part}.bn")), format!("{part}.linear"));
    x = answers(&mut net, x, &[name("head"), name("head_dist")])?;
    net.finish(x, format!("EfficientViT of Microsoft, {} blocks, timm names", depths.iter().sum::<usize>()))
}

/// A depthwise convolution, added.
fn local(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let x = unit(net, name, UNIT, input, 1)?;
    net.sum(&format!("{name}.add"), input, x)
}

/// Two convolutions of a single place, added.
fn mlp(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let x = unit(net, &format!("{name}.pw1"), UNIT, input, 1)?;
    let x = net.act(&format!("{name}.act"), Unary::Relu, x)?;
    let x = unit(net, &format!("{name}.pw2"), UNIT, x, 1)?;
    net.sum(&format!("{name}.add"), input, x)
}

fn narrower(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let part = |part: &str| format!("{name}.{part}");
    let x = local(net, &part("res1.0.m"), x)?;
    let x = mlp(net, &part("res1.1.m"), x)?;
    let x = unit(net, &part("patchmerge.conv1"), UNIT, x, 1)?;
    let x = net.act(&part("patchmerge.act1"), Unary::Relu, x)?;
    let x = unit(net, &part("patchmerge.conv2"), UNIT, x, 2)?;
    let x = net.act(&part("patchmerge.act2"), Unary::Relu, x)?;
    let x = net.excited([&part("patchmerge.se.fc1"), &part("patchmerge.se.fc2")], x, Unary::Relu, Unary::Sigmoid)?;
    let x = unit(net, &part("patchmerge.conv3"), UNIT, x, 1)?;
    let x = local(net, &part("res2.0.m"), x)?;
    mlp(net, &part("res2.1.m"), x)
}

fn block(net: &mut Layers, name: &str, x: NodeId, shapes: &Shapes) -> Made {
    let x = local(net, &format!("{name}.dw0.m"), x)?;
    let x = mlp(net, &format!("{name}.ffn0.m"), x)?;
    let attn = format!("{name}.mixer.m.attn");
    let places = shapes.get(&format!("{attn}.attention_biases")).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let size = net.size(x);
    let cut = windows(net, &format!("{name}.mixer"), x, side(places).unwrap_or(0))?;
    let mixed = attention(net, &attn, cut)?;
    let mixed = unwindowed(net, &format!("{name}.mixer"), mixed, size)?;
    let x = net.sum(&format!("{name}.mixer.add"), x, mixed)?;
    let x = local(net, &format!("{name}.dw1.m"), x)?;
    mlp(net, &format!("{name}.ffn1.m"), x)
}

fn attention(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let Some(found) = net.look(&format!("{name}.attention_biases")) else { return Ok(input) };
    let heads = numbered(net, |i| format!("{name}.qkvs.{i}.conv.weight"));
    if found.first() != Some(&heads) || heads == 0 {
        return Ok(net.misfit(&format!("{name}.attention_biases"), &found, &format!("[{heads}, distances]"), input));
    }
    let bias = distance_bias(net, &format!("{name}.attention_biases"), net.size(input), 1)?;
    let parts = net.split(&format!("{name}.heads"), input, 1, heads)?;
    let mut outputs: Vec<NodeId> = Vec::new();
    for (i, part) in parts.into_iter().enumerate() {
        let x = match outputs.last() {
            Some(&before) => net.sum(&format!("{name}.sum{i}"), before, part)?,
            None => part,
        };
        let bias = net.slice(&format!("{name}.bias{i}"), bias, 0, i, i + 1)?;
        outputs.push(one_head(net, name, i, x, bias)?);
    }
    let x = net.concat(&format!("{name}.concat"), 1, &outputs)?;
    let x = net.act(&format!("{name}.proj.0"), Unary::Relu, x)?;
    unit(net, &format!("{name}.proj.1"), UNIT, x, 1)
}

fn one_head(net: &mut Layers, name: &str, i: usize, x: NodeId, bias: NodeId) -> Made {
    let (qkv, dws) = (format!("{name}.qkvs.{i}"), format!("{name}.dws.{i}"));
    let Some(found) = net.look(&format!("{dws}.conv.weight")) else { return Ok(x) };
    let key = found.first().copied().unwrap_or(0);
    let all = unit(net, &qkv, UNIT, x, 1)?;
    let channels = net.channels(all);
    if net.is_whole() && 2 * key >= channels {
        return Ok(net.misfit(&format!("{dws}.conv.weight"), &found, &format!("less than half of {channels} channels"), x));
    }
    let q = net.slice(&format!("{qkv}.q"), all, 1, 0, key)?;
    let k = net.slice(&format!("{qkv}.k"), all, 1, key, 2 * key)?;
    let v = net.slice(&format!("{qkv}.v"), all, 1, 2 * key, channels)?;
    let q = unit(net, &dws, UNIT, q, 1)?;
    let (size @ [h, w], per_image) = (net.size(q), net.per_image(q));
    let value = net.channels(v);
    let mut tokens = |which: &str, part: NodeId, width: usize| {
        let flat = net.reshape_by(&format!("{qkv}.{which}.flat"), part, per_image, &[1, width, h * w])?;
        net.transpose(&format!("{qkv}.{which}.tokens"), flat, &[0, 1, 3, 2])
    };
    let parts = [tokens("q", q, key)?, tokens("k", k, key)?, tokens("v", v, value)?];
    let x = net.attend(&qkv, parts, (key.max(1) as f64).powf(-0.5), Some(bias))?;
    let x = net.transpose(&format!("{qkv}.channels"), x, &[0, 2, 1])?;
    net.reshape_by(&format!("{qkv}.map"), x, per_image, &[value, size[0], size[1]])
}
