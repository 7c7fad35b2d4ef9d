//! `DaViT` (Ding et al., arXiv 2204.03645) under timm's names: attention among the places of a window, then among the channels of a group.

use super::config::Library;
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::staged::{self, plus};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Unary};

const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static FAMILY: Family = Family {
    name: "davit",
    about: "DaViT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.name),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let blocks = ["0", "spatial_block"].map(|block| format!("stages.0.blocks.0.{block}.cpe1.proj.weight"));
        if blocks.iter().any(|name| shapes.contains_key(name)) { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// What timm calls by a name.
struct Variant {
    name: &'static str,
    depths: [usize; 4],
    width: usize,
    window: usize,
    /// Attention among channels as Florence-2 has it.
    v2: bool,
}

const fn variant(name: &'static str, depths: [usize; 4], width: usize) -> Variant {
    Variant { name, depths, width, window: 7, v2: false }
}

/// All of timm's.
static VARIANTS: [Variant; 8] = [
    variant("davit_tiny", [1, 1, 3, 1], 96),
    variant("davit_small", [1, 1, 9, 1], 96),
    variant("davit_base", [1, 1, 9, 1], 128),
    variant("davit_large", [1, 1, 9, 1], 192),
    variant("davit_huge", [1, 1, 9, 1], 256),
    variant("davit_giant", [1, 1, 12, 3], 384),
    Variant { window: 12, v2: true, ..variant("davit_base_fl", [1, 1, 9, 1], 128) },
    Variant { window: 12, v2: true, ..variant("davit_huge_fl", [1, 1, 9, 1], 256) },
];

/// Sides of windows beyond this are refused: a map is filled up to whole windows.
const LARGEST: usize = 64;

/// What tensors do not show.
struct Asked {
    heads: Vec<usize>,
    window: usize,
    v2: bool,
    eps: f64,
    /// The convolutions for positions are followed by an activation.
    act: bool,
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, size } = source;
    let Some(known) = staged::entry(config, &VARIANTS, |v| v.name) else {
        return Err(ArchError::NeedsName {
            family: FAMILY.name,
            what: "heads and windows".to_owned(),
            names: vec!["timm/davit_tiny".to_owned(), "timm/davit_base_fl".to_owned()],
        });
    };
    let dims = [1, 2, 4, 8].map(|factor| factor * known.width);
    let asked = Asked {
        heads: config.counts("num_heads")?.unwrap_or_else(|| dims.map(|dim| dim / 32).to_vec()),
        window: config.count("window_size")?.unwrap_or(known.window),
        v2: config.flag("channel_attn_v2", known.v2)?,
        eps: config.number("norm_eps")?.unwrap_or(1e-5),
        act: config.flag("cpe_act", false)?,
    };
    if asked.window > LARGEST {
        return Err(ArchError::Unsupported(format!("config.json: `window_size` is {}, and {LARGEST} is the largest built", asked.window)));
    }
    for (key, built) in [("norm_layer", "layernorm2d"), ("norm_layer_cl", "layernorm")] {
        config.only(key, built)?;
    }
    config.only("attn_types", vec!["spatial", "channel"])?;
    config.only("ffn", true)?;
    config.shown(&["mlp_ratio", "named_blocks", "qkv_bias"]);
    let max = staged::takes_greatest(config)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.conv.weight", *size, asked.eps)?;
    let mut x = staged::padded(&mut net, "stem.fill", input, [4; 2])?;
    x = net.conv_as("stem.conv", x, Conv::new(4, 3))?;
    x = net.layer_norm_map("stem.norm", x, asked.eps)?;
    let (mut depths, mut widths) = (Vec::new(), Vec::new());
    for stage in 0..count(shapes, "stages.") {
        if stage > 0 {
            x = smaller(&mut net, shapes, &format!("stages.{stage}.downsample"), x, asked.eps)?;
        }
        let prefix = format!("stages.{stage}.blocks.");
        depths.push(count(shapes, &prefix));
        widths.push(net.channels(x));
        let Some(&heads) = asked.heads.get(stage).filter(|heads| **heads > 0) else {
            return Err(ArchError::Unsupported(format!("config.json: `num_heads` says nothing of stage {stage}")));
        };
        for i in 0..count(shapes, &prefix) {
            let named = shapes.keys().any(|name| name.starts_with(&format!("{prefix}{i}.spatial_block.")));
            let [spatial, channel] = if named { ["spatial_block", "channel_block"] } else { ["0", "1"] };
            x = block(&mut net, &format!("{prefix}{i}.{spatial}"), x, heads, &asked, true)?;
            x = block(&mut net, &format!("{prefix}{i}.{channel}"), x, heads, &asked, false)?;
        }
    }
    let norm_first = shapes.keys().any(|name| name.starts_with("norm_pre."));
    staged::switch(config, "head_norm_first", norm_first)?;
    if norm_first {
        x = net.layer_norm_map("norm_pre", x, asked.eps)?;
        x = net.pool("head.global_pool", max, x)?;
    } else {
        x = net.pool("head.global_pool", max, x)?;
        x = net.layer_norm("head.norm", x, asked.eps)?;
    }
    x = staged::head(&mut net, shapes, "head.fc", x)?;
    if net.is_whole() {
        staged::agree(config, "depths", &depths, Some(&known.depths))?;
        staged::agree(config, "embed_dims", &widths, Some(&dims))?;
        let kernel = shapes.get("stages.1.downsample.conv.weight").and_then(|shape| shape.get(2)).copied().unwrap_or(0);
        staged::agree(config, "down_kernel_size", &[kernel], Some(&[if known.v2 { 3 } else { 2 }]))?;
    }
    let (depths, width) = (plus(&depths), widths.first().copied().unwrap_or(0));
    let pool = if max { ", max pooling" } else { "" };
    net.finish(x, format!("DaViT, {depths} pairs of blocks from width {width}, windows of {}, timm names{pool}", asked.window))
}

/// A norm and a convolution of stride 2; one with a kernel of even size is of windows side by side, of which the last are filled up.
fn smaller(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId, eps: f64) -> Result<NodeId, ArchError> {
    let mut x = net.layer_norm_map(&format!("{name}.norm"), x, eps)?;
    let kernel = shapes.get(&format!("{name}.conv.weight")).and_then(|shape| shape.get(2)).copied().unwrap_or(0);
    if kernel % 2 == 1 {
        return net.conv_as(&format!("{name}.conv"), x, Conv::new(2, kernel / 2));
    }
    x = staged::padded(net, &format!("{name}.fill"), x, [kernel; 2])?;
    net.conv_as(&format!("{name}.conv"), x, Conv::new(2, 0))
}

fn block(net: &mut Layers, name: &str, input: NodeId, heads: usize, asked: &Asked, spatial: bool) -> Result<NodeId, ArchError> {
    let map = net.size(input);
    let mut x = positions(net, &format!("{name}.cpe1"), input, asked.act)?;
    let before = net.tokens(&format!("{name}.tokens1"), x)?;
    x = net.layer_norm(&format!("{name}.norm1"), before, asked.eps)?;
    x = match (net.is_whole(), spatial) {
        (false, _) => net.linear(&format!("{name}.attn.qkv"), x)?,
        (true, true) => windowed(net, &format!("{name}.attn"), x, map, heads, asked.window)?,
        (true, false) => among_channels(net, &format!("{name}.attn"), x, heads, asked.v2)?,
    };
    if !spatial {
        x = net.linear(&format!("{name}.attn.proj"), x)?;
    }
    x = net.sum(&format!("{name}.add1"), before, x)?;
    x = net.map(&format!("{name}.map1"), x, map)?;
    x = positions(net, &format!("{name}.cpe2"), x, asked.act)?;
    let before = net.tokens(&format!("{name}.tokens2"), x)?;
    x = net.layer_norm(&format!("{name}.norm2"), before, asked.eps)?;
    x = net.mlp([&format!("{name}.mlp.fc1"), &format!("{name}.mlp.fc2")], x, GELU)?;
    x = net.sum(&format!("{name}.add2"), before, x)?;
    net.map(&format!("{name}.map2"), x, map)
}

/// A depthwise convolution added to the map, which tells places from one another.
fn positions(net: &mut Layers, name: &str, x: NodeId, act: bool) -> Result<NodeId, ArchError> {
    let mut more = net.conv(&format!("{name}.proj"), x, 1, Groups::Depthwise, Padding::Half)?;
    if act {
        more = net.act(&format!("{name}.act"), GELU, more)?;
    }
    net.sum(&format!("{name}.add"), x, more)
}

/// Attention within windows of tokens, and the projection behind it; a map is filled up to whole windows with zeros, which take part.
fn windowed(net: &mut Layers, name: &str, x: NodeId, [h, w]: [usize; 2], heads: usize, side: usize) -> Result<NodeId, ArchError> {
    let channels = net.width(x);
    let mut x = net.reshape(&format!("{name}.map"), x, &[h, w, channels])?;
    let [rows, columns] = [h.div_ceil(side), w.div_ceil(side)];
    let [down, right] = [rows * side, columns * side];
    x = net.pad(&format!("{name}.fill"), x, vec![(0, 0), (0, down - h), (0, right - w), (0, 0)])?;
    x = net.reshape(&format!("{name}.cut"), x, &[rows, side, columns, side, channels])?;
    x = net.transpose(&format!("{name}.beside"), x, &[0, 1, 3, 2, 4, 5])?;
    x = net.reshape_by(&format!("{name}.each"), x, rows * columns, &[side * side, channels])?;
    x = net.self_attention(&format!("{name}.qkv"), x, heads, None)?;
    x = net.linear(&format!("{name}.proj"), x)?;
    x = net.reshape(&format!("{name}.whole"), x, &[rows, columns, side, side, channels])?;
    x = net.transpose(&format!("{name}.rows"), x, &[0, 1, 3, 2, 4, 5])?;
    x = net.reshape(&format!("{name}.filled"), x, &[down, right, channels])?;
    x = net.slice(&format!("{name}.h"), x, 1, 0, h)?;
    x = net.slice(&format!("{name}.w"), x, 2, 0, w)?;
    net.reshape(&format!("{name}.tokens"), x, &[h * w, channels])
}

/// Attention among the channels of a head, with no projection yet. The first kind compares keys with values and mixes queries.
fn among_channels(net: &mut Layers, name: &str, x: NodeId, heads: usize, v2: bool) -> Result<NodeId, ArchError> {
    let all = net.linear(&format!("{name}.qkv"), x)?;
    let parts = net.split(&format!("{name}.qkv.split"), all, 2, 3)?;
    let &[q, k, v] = parts.as_slice() else { return Ok(x) };
    let [q, k, v] = [
        net.heads(&format!("{name}.q"), q, heads)?,
        net.heads(&format!("{name}.k"), k, heads)?,
        net.heads(&format!("{name}.v"), v, heads)?,
    ];
    let places = net.dims(q).get(1).copied().unwrap_or(1);
    let (left, right, mixed, of) = if v2 { (q, k, v, places) } else { (k, v, q, net.width(k)) };
    let left = net.transpose(&format!("{name}.left"), left, &[0, 1, 3, 2])?;
    let scores = net.matmul(&format!("{name}.scores"), left, right)?;
    let scores = net.affine(&format!("{name}.scaled"), scores, (of.max(1) as f64).powf(-0.5), 0.0)?;
    let shares = net.add(&format!("{name}.shares"), Op::Softmax { axis: 3 }, &[scores])?;
    let mixed = net.transpose(&format!("{name}.mixed"), mixed, &[0, 1, 3, 2])?;
    let mixed = net.matmul(&format!("{name}.attention"), shares, mixed)?;
    let mixed = net.transpose(&format!("{name}.back"), mixed, &[0, 1, 3, 2])?;
    net.together(name, mixed)
}
