//! `EfficientViT` of MIT under timm's names: `efficientvit_b0` to `b3` and `efficientvit_l1` to `l3`.
//!
//! Cai et al., "`EfficientViT`: Multi-Scale Linear Attention for High-Resolution Dense Prediction" (arXiv 2205.14756). Attention without a
//! softmax: queries and keys are not negative, and places are weighed by their products, once as they are and once gathered from 5x5
//! neighbours.

use super::config::Library;
use super::hybrid::{agree, head, needed, norm_by, numbered, pooled};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Asked {
    act: Unary,
    /// Of the head, which in the smaller networks has an activation of its own.
    head: Unary,
    /// Of every norm but that of the head's convolution.
    eps: f64,
}

const SMALL: Asked = Asked { act: Unary::HardSwish, head: Unary::HardSwish, eps: 1e-5 };
const LARGE: Asked = Asked { act: Unary::Gelu { tanh: true }, head: Unary::Gelu { tanh: true }, eps: 1e-7 };

const NAMES: [(&str, Asked); 7] = [
    ("efficientvit_b0", SMALL),
    ("efficientvit_b1", SMALL),
    ("efficientvit_b2", SMALL),
    ("efficientvit_b3", SMALL),
    ("efficientvit_l1", LARGE),
    ("efficientvit_l2", LARGE),
    ("efficientvit_l3", LARGE),
];

pub(super) static FAMILY: Family = Family {
    name: "efficientvit",
    about: "EfficientViT of MIT (b0 to b3, l1 to l3) under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.map(|(name, _)| name)),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.keys().any(|name| name.starts_with("stages.") && name.ends_with(".context_module.main.qkv.conv.weight"));
        if own && shapes.contains_key("stem.in_conv.conv.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let Asked { act, head: head_act, eps } = *needed(config, &NAMES, FAMILY.name, "the activation")?;
    let large = eps < SMALL.eps;
    let asked = match config.act("act_layer")? {
        Some(act) => Asked { act, head: if large { act } else { head_act }, eps },
        None => Asked { act, head: head_act, eps },
    };
    let asked = if large { Asked { eps: config.number("norm_eps")?.unwrap_or(eps), ..asked } } else { asked };
    config.shown(&["expand_ratio", "head_widths"]);
    let width =
        shapes.iter().find(|(name, _)| name.ends_with(".context_module.main.aggreg.0.1.weight")).and_then(|(_, shape)| shape.get(1));
    width.map_or(Ok(()), |width| config.agrees("head_dim", *width))?;
    let stages = count(shapes, "stages.");
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.in_conv.conv.weight", *size, asked.eps)?;
    let mut x = layer(&mut net, "stem.in_conv", input, 2, Some(asked.act))?;
    let residuals = count(shapes, "stem.res");
    for block in 0..residuals {
        let changed = local(&mut net, &format!("stem.res{block}.main"), x, 1, asked.act)?;
        x = net.sum(&format!("stem.res{block}.add"), x, changed)?;
    }
    let (mut widths, mut depths) = (vec![net.channels(x)], vec![residuals]);
    for stage in 0..stages {
        let blocks = count(shapes, &format!("stages.{stage}.blocks."));
        let mut attends = false;
        for block in 0..blocks {
            let name = format!("stages.{stage}.blocks.{block}");
            attends |= net.has(&format!("{name}.context_module.main.qkv.conv.weight"));
            x = self::block(&mut net, &name, x, block == 0, asked.act)?;
        }
        widths.push(net.channels(x));
        // The first block of a stage that narrows the map is no part of its depth in all stages.
        depths.push(if attends || large { blocks.saturating_sub(1) } else { blocks });
    }
    agree(config, "widths", &widths)?;
    agree(config, "depths", &depths)?;
    if net.has("head.in_conv.conv.weight") {
        x = net.conv("head.in_conv.conv", x, 1, Groups::One, Padding::Half)?;
        x = norm_by(&mut net, "head.in_conv.norm", x, SMALL.eps)?;
        x = net.act("head.in_conv.act", asked.head, x)?;
    }
    x = pooled(&mut net, config, "head.global_pool", x)?;
    if net.has("head.classifier.0.weight") {
        x = net.linear("head.classifier.0", x)?;
        x = net.layer_norm("head.classifier.1", x, asked.eps)?;
        x = net.act("head.classifier.2", asked.head, x)?;
    }
    x = head(&mut net, "head.classifier.4", x)?;
    net.finish(x, format!("EfficientViT, {} blocks, timm names", depths.iter().sum::<usize>()))
}

/// A convolution with its norm, where the file has one, and its activation.
fn layer(net: &mut Layers, name: &str, x: NodeId, stride: usize, act: Option<Unary>) -> Made {
    let mut x = net.conv(&format!("{name}.conv"), x, stride, Groups::Fitting, Padding::Half)?;
    if net.has(&format!("{name}.norm.weight")) {
        x = net.norm(&format!("{name}.norm"), x)?;
    }
    act.map_or(Ok(x), |act| net.act(&format!("{name}.act"), act, x))
}

/// The first block of a stage halves the map; what others compute is added to what enters them.
fn block(net: &mut Layers, name: &str, input: NodeId, first: bool, act: Unary) -> Made {
    if net.has(&format!("{name}.context_module.main.qkv.conv.weight")) {
        let x = attention(net, &format!("{name}.context_module.main"), input)?;
        let input = net.sum(&format!("{name}.context_module.add"), input, x)?;
        let x = local(net, &format!("{name}.local_module.main"), input, 1, act)?;
        return net.sum(&format!("{name}.local_module.add"), input, x);
    }
    let x = local(net, &format!("{name}.main"), input, if first { 2 } else { 1 }, act)?;
    if first { Ok(x) } else { net.sum(&format!("{name}.add"), input, x) }
}

/// Two or three convolutions, by their names, of which one strides; the last has no activation.
fn local(net: &mut Layers, name: &str, mut x: NodeId, stride: usize, act: Unary) -> Made {
    let kinds: [(&[&str], usize); 4] = [
        (&["inverted_conv", "depth_conv", "point_conv"], 1),
        (&["depth_conv", "point_conv"], 0),
        (&["spatial_conv", "point_conv"], 0),
        (&["conv1", "conv2"], 0),
    ];
    let fits = |(parts, _): &&(&[&str], usize)| parts.iter().all(|part| net.has(&format!("{name}.{part}.conv.weight")));
    let Some((parts, strides)) = kinds.iter().find(fits) else {
        net.look(&format!("{name}.depth_conv.conv.weight"));
        return Ok(x);
    };
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        x = layer(net, &format!("{name}.{part}"), x, if i == *strides { stride } else { 1 }, (!last).then_some(act))?;
    }
    Ok(x)
}

fn attention(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let [h, w] = net.size(input);
    let qkv = layer(net, &format!("{name}.qkv"), input, 1, None)?;
    // A head's width is that of the groups in which the gathered are mixed.
    let mut width = None;
    let mut scales = vec![qkv];
    for i in 0..numbered(net, |i| format!("{name}.aggreg.{i}.0.weight")) {
        let scale = format!("{name}.aggreg.{i}");
        width = width.or(net.look(&format!("{scale}.1.weight")).and_then(|shape| shape.get(1).copied()));
        let x = net.conv(&format!("{scale}.0"), qkv, 1, Groups::Depthwise, Padding::Half)?;
        scales.push(net.conv(&format!("{scale}.1"), x, 1, Groups::Fitting, Padding::Half)?);
    }
    let Some(d) = width.filter(|width| *width > 0) else {
        net.look(&format!("{name}.aggreg.0.1.weight"));
        return Ok(input);
    };
    let all = net.concat(&format!("{name}.scales"), 1, &scales)?;
    let heads = net.channels(all) / (3 * d);
    let all = net.reshape(&format!("{name}.heads"), all, &[heads, 3 * d, h * w])?;
    let mut part = |which: &str, i: usize| net.slice(&format!("{name}.{which}"), all, 2, i * d, (i + 1) * d);
    let [q, k, v] = [part("q", 0)?, part("k", 1)?, part("v", 2)?];
    let q = net.act(&format!("{name}.q.relu"), Unary::Relu, q)?;
    let k = net.act(&format!("{name}.k.relu"), Unary::Relu, k)?;
    // On `[N, heads, d, places]`: `v k^T q / (1 k^T q + eps)`.
    let rows = net.transpose(&format!("{name}.k.rows"), k, &[0, 1, 3, 2])?;
    let memory = net.matmul(&format!("{name}.memory"), v, rows)?;
    let weighed = net.matmul(&format!("{name}.weighed"), memory, q)?;
    let sum = net.total(&format!("{name}.k.sum"), k, &[3], true)?;
    let weights = net.mul(&format!("{name}.weights"), q, sum)?;
    let weights = net.total(&format!("{name}.weight"), weights, &[2], true)?;
    let weights = net.affine(&format!("{name}.eps"), weights, 1.0, 1e-5)?;
    let x = net.div(&format!("{name}.attention"), weighed, weights)?;
    let x = net.reshape(&format!("{name}.map"), x, &[heads * d, h, w])?;
    layer(net, &format!("{name}.proj"), x, 1, None)
}
