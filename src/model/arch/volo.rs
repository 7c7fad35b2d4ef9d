//! VOLO (Yuan et al., arXiv 2106.13112) under timm's names.
//!
//! The first blocks have outlook attention: of every second place a linear layer makes the scores between the nine places around it, and what
//! overlapping neighbourhoods say of a place is summed. The classes of the class token and the greatest of all tokens' are added; the features
//! are the class token.

use super::config::{Config, Library};
use super::layers::{Conv, Layers, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Reduce, Role, Unary, Window};

type Made = Result<NodeId, ArchError>;

/// timm leaves norms at PyTorch's own epsilon.
const EPS: f64 = 1e-5;
const GELU: Unary = Unary::Gelu { tanh: false };
/// Side of the neighbourhood of outlook attention, and its step.
const SIDE: usize = 3;
const STEP: usize = 2;

pub(super) static FAMILY: Family = Family {
    name: "volo",
    about: "VOLO under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(VARIANTS.iter().map(|variant| variant.0)),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.contains_key("network.0.0.attn.attn.weight") && shapes.contains_key("patch_embed.conv.0.weight");
        if own { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// A name of timm, its heads by stage.
type Variant = (&'static str, [usize; 4]);

static VARIANTS: [Variant; 11] = [
    ("volo_d1_224", [6, 12, 12, 12]),
    ("volo_d1_384", [6, 12, 12, 12]),
    ("volo_d2_224", [8, 16, 16, 16]),
    ("volo_d2_384", [8, 16, 16, 16]),
    ("volo_d3_224", [8, 16, 16, 16]),
    ("volo_d3_448", [8, 16, 16, 16]),
    ("volo_d4_224", [12, 16, 16, 16]),
    ("volo_d4_448", [12, 16, 16, 16]),
    ("volo_d5_224", [12, 16, 16, 16]),
    ("volo_d5_448", [12, 16, 16, 16]),
    ("volo_d5_512", [12, 16, 16, 16]),
];

/// What tensors do not show.
struct Asked<'a> {
    heads: Vec<usize>,
    pool: &'a str,
}

impl<'a> Asked<'a> {
    fn of(config: &Config<'a>) -> Result<Self, ArchError> {
        let named = |variant: &&Variant| config.name.as_ref().is_some_and(|name| name.is_one_of([variant.0]));
        let Some((_, heads)) = VARIANTS.iter().find(named) else {
            return Err(ArchError::NeedsName {
                family: FAMILY.name,
                what: "heads".into(),
                names: vec!["timm/volo_d1_224".into(), "timm/volo_d2_224".into()],
            });
        };
        config.shown(&[
            "attn_drop_rate",
            "embed_dims",
            "img_size",
            "layers",
            "mlp_ratio",
            "pos_drop_rate",
            "qkv_bias",
            "stem_hidden_dim",
            "use_aux_head",
            "use_mix_token",
        ]);
        config.only("patch_size", 8)?;
        config.only("pooling_scale", 2)?;
        let heads = config.counts("num_heads")?.unwrap_or_else(|| heads.to_vec());
        if heads.len() != 4 || heads.contains(&0) {
            return Err(config.refused("num_heads", &heads.into()));
        }
        let pool = config.pooling("token")?;
        if ["token", "avg"].contains(&pool) { Ok(Self { heads, pool }) } else { Err(config.refused("global_pool", &pool.into())) }
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = Asked::of(config)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "patch_embed.conv.0.weight", *size, 1e-5)?;
    let mut map = input;
    for (i, stride, pad) in [(0, 2, 3), (3, 1, 1), (6, 1, 1)] {
        map = net.conv_as(&format!("patch_embed.conv.{i}"), map, Conv::new(stride, pad))?;
        map = net.norm(&format!("patch_embed.conv.{}", i + 1), map)?;
        map = net.act(&format!("patch_embed.conv.{}", i + 2), Unary::Relu, map)?;
    }
    map = net.conv_as("patch_embed.proj", map, Conv::new(4, 0))?;
    let mut grid = net.size(map);
    let mut x = net.tokens("patch_embed.tokens", map)?;
    let mut blocks = 0;
    // Stages, of which the first is followed by a convolution: its place among them is 1.
    for (stage, part) in [0, 2, 3, 4].into_iter().enumerate() {
        let prefix = format!("network.{part}.");
        let depth = count(shapes, &prefix);
        blocks += depth;
        for block in 0..depth {
            x = residual(&mut net, shapes, &format!("{prefix}{block}"), x, asked.heads[stage], grid)?;
        }
        if stage == 0 {
            map = net.map("network.1.map", x, grid)?;
            map = net.conv_as("network.1.proj", map, Conv::new(2, 0))?;
            grid = net.size(map);
            x = net.tokens("network.1.tokens", map)?;
            x = placed(&mut net, x, grid)?;
        }
    }
    let width = net.width(x);
    if net.has("cls_token") {
        x = net.token_in_front("cls_token", x)?;
    } else if asked.pool == "token" {
        return Err(config.refused("global_pool", &"token".into()));
    }
    let last = asked.heads.last().copied().unwrap_or(1);
    for block in 0..count(shapes, "post_network.") {
        x = class_block(&mut net, &format!("post_network.{block}"), x, last)?;
    }
    x = head(&mut net, x, asked.pool)?;
    net.finish(x, format!("VOLO, {blocks} blocks up to width {width}, {last} heads, {} pooling, timm names", asked.pool))
}

/// With learnt positions `[1, height, width, channels]`.
fn placed(net: &mut Layers, x: NodeId, grid: [usize; 2]) -> Made {
    let width = net.width(x);
    let shape = [1, grid[0], grid[1], width];
    let positions = net.tensor("pos_embed", &shape, Role::Embedding);
    let positions = net.reshape_fixed("pos_embed.tokens", positions, &[1, grid[0] * grid[1], width])?;
    net.sum("pos_embed.add", x, positions)
}

fn residual(net: &mut Layers, shapes: &Shapes, name: &str, input: NodeId, heads: usize, grid: [usize; 2]) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.layer_norm(&at("norm1"), input, EPS)?;
    let x = if shapes.contains_key(&at("attn.attn.weight")) {
        outlook(net, &at("attn"), x, heads, grid)?
    } else {
        let x = if net.is_whole() { net.self_attention(&at("attn.qkv"), x, heads, None)? } else { net.linear(&at("attn.qkv"), x)? };
        net.linear(&at("attn.proj"), x)?
    };
    let middle = net.sum(&at("attn.add"), input, x)?;
    let x = net.layer_norm(&at("norm2"), middle, EPS)?;
    let x = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], x, GELU)?;
    net.sum(&at("mlp.add"), middle, x)
}

/// The nine places of every neighbourhood, mixed by scores that the mean of its middle gives.
fn outlook(net: &mut Layers, name: &str, x: NodeId, heads: usize, [height, width]: [usize; 2]) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let values = net.linear(&at("v"), x)?;
    let channels = net.width(values);
    let [down, across] = [height.div_ceil(STEP), width.div_ceil(STEP)];
    let middles = net.map(&at("map"), x, [height, width])?;
    let pads = [0, 0, down * STEP - height, across * STEP - width];
    let window = Window { kernel: [STEP; 2], stride: [STEP; 2], pads, dilation: [1; 2] };
    let middles = net.add(&at("pool"), Op::AvgPool { window, count_include_pad: false }, &[middles])?;
    let middles = net.tokens(&at("middles"), middles)?;
    let scores = net.linear(&at("attn"), middles)?;
    if !net.is_whole() {
        return net.linear(&at("proj"), x);
    }
    let (around, places) = (SIDE * SIDE, down * across);
    if heads * around * around != net.width(scores) || !channels.is_multiple_of(heads) {
        return Err(ArchError::Unsupported(format!("`{name}`: the scores are not those of {heads} heads")));
    }
    let d = channels / heads;
    let scores = net.reshape(&at("scores.heads"), scores, &[places, heads, around * around])?;
    let scores = net.transpose(&at("scores.turned"), scores, &[0, 2, 1, 3])?;
    let scores = net.reshape(&at("scores"), scores, &[heads * places, around, around])?;
    let scores = net.affine(&at("scaled"), scores, (d.max(1) as f64).powf(-0.5), 0.0)?;
    let shares = net.add(&at("shares"), Op::Softmax { axis: 3 }, &[scores])?;
    let values = neighbourhoods(net, &at("v"), values, heads, [height, width])?;
    let mixed = net.matmul(&at("mixed"), shares, values)?;
    let summed = summed(net, &at("mixed"), mixed, heads, [height, width])?;
    net.linear(&at("proj"), summed)
}

/// For every head and neighbourhood its nine places: `[N, tokens, channels]` to `[N, heads * neighbourhoods, 9, d]`.
fn neighbourhoods(net: &mut Layers, name: &str, x: NodeId, heads: usize, [height, width]: [usize; 2]) -> Made {
    let channels = net.width(x);
    let [down, across] = [height.div_ceil(STEP), width.div_ceil(STEP)];
    let x = net.reshape(&format!("{name}.places"), x, &[height, width, channels])?;
    let x = net.pad(&format!("{name}.padded"), x, vec![(0, 0), (1, 1), (1, 1), (0, 0)])?;
    let mut parts = Vec::new();
    for (row, column) in (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column))) {
        let at = |part: &str| format!("{name}.{row}.{column}.{part}");
        let part = net.strided(&at("rows"), x, 1, (row, row + STEP * (down - 1) + 1, STEP))?;
        let part = net.strided(&at("columns"), part, 2, (column, column + STEP * (across - 1) + 1, STEP))?;
        let part = net.reshape(&at("heads"), part, &[down * across, heads, channels / heads])?;
        let part = net.transpose(&at("turned"), part, &[0, 2, 1, 3])?;
        parts.push(net.reshape(&at("own"), part, &[heads * down * across, 1, channels / heads])?);
    }
    net.concat(&format!("{name}.neighbourhoods"), 2, &parts)
}

/// What neighbourhoods say of each place, summed: `[N, heads * neighbourhoods, 9, d]` to `[N, tokens, channels]`.
fn summed(net: &mut Layers, name: &str, x: NodeId, heads: usize, [height, width]: [usize; 2]) -> Made {
    let d = net.width(x);
    let [down, across] = [height.div_ceil(STEP), width.div_ceil(STEP)];
    let mut rows = Vec::new();
    for row in 0..SIDE {
        let mut columns = Vec::new();
        for column in 0..SIDE {
            let at = |part: &str| format!("{name}.{row}.{column}.{part}");
            let part = net.slice(&at("slice"), x, 2, row * SIDE + column, row * SIDE + column + 1)?;
            let part = net.reshape(&at("heads"), part, &[heads, down * across, d])?;
            let part = net.transpose(&at("turned"), part, &[0, 1, 3, 2])?;
            columns.push(net.reshape(&at("map"), part, &[heads * d, down, across])?);
        }
        rows.push(net.concat(&format!("{name}.{row}.columns"), 3, &columns)?);
    }
    let all = net.concat(&format!("{name}.rows"), 2, &rows)?;
    let left = net.constant(&format!("{name}.down"), &[height, SIDE * down], &overlaps(height, down));
    let right = net.constant(&format!("{name}.across"), &[width, SIDE * across], &overlaps(width, across));
    let right = net.transpose(&format!("{name}.across.columns"), right, &[1, 0])?;
    let all = net.matmul(&format!("{name}.down.sum"), left, all)?;
    let all = net.matmul(&format!("{name}.across.sum"), all, right)?;
    net.tokens(&format!("{name}.tokens"), all)
}

/// 1 where a place of an axis is the one at that offset of a neighbourhood: `[places, offsets * neighbourhoods]`.
fn overlaps(places: usize, neighbourhoods: usize) -> Vec<f32> {
    let meets = |place: usize, offset: usize, at: usize| offset + STEP * at == place + 1;
    let row =
        |place: usize| (0..SIDE).flat_map(move |offset| (0..neighbourhoods).map(move |at| f32::from(u8::from(meets(place, offset, at)))));
    (0..places).flat_map(row).collect()
}

/// The class token attends to all tokens; the others stay.
fn class_block(net: &mut Layers, name: &str, input: NodeId, heads: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let tokens = net.dims(input).first().copied().unwrap_or(0);
    let class = net.slice(&at("class"), input, 1, 0, 1)?;
    let normed = net.layer_norm(&at("norm1"), input, EPS)?;
    let first = net.slice(&at("attn.class"), normed, 1, 0, 1)?;
    let kv = net.linear(&at("attn.kv"), normed)?;
    let mut q = net.linear(&at("attn.q"), first)?;
    if net.is_whole() {
        let parts = net.split(&at("attn.kv.split"), kv, 2, 2)?;
        let &[k, v] = parts.as_slice() else { return Ok(input) };
        q = net.heads(&at("attn.q.heads"), q, heads)?;
        let k = net.heads(&at("attn.k.heads"), k, heads)?;
        let v = net.heads(&at("attn.v.heads"), v, heads)?;
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        q = net.attend(&at("attn"), [q, k, v], scale, None)?;
    }
    let mixed = net.linear(&at("attn.proj"), q)?;
    let class = net.sum(&at("attn.add"), class, mixed)?;
    let more = net.layer_norm(&at("norm2"), class, EPS)?;
    let more = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], more, GELU)?;
    let class = net.sum(&at("mlp.add"), class, more)?;
    let rest = net.slice(&at("rest"), input, 1, 1, tokens)?;
    net.concat(&at("tokens"), 1, &[class, rest])
}

/// Classes of the pooled tokens, plus half of the greatest that a second classifier finds in any place.
fn head(net: &mut Layers, x: NodeId, pool: &str) -> Made {
    let x = net.layer_norm("norm", x, EPS)?;
    let own = if pool == "token" { net.pick("pool", x, 1, 0)? } else { net.mean("pool", x, &[1], false)? };
    net.features_at(own);
    if !net.has("head.weight") {
        return Ok(own);
    }
    let out = net.linear("head", own)?;
    if !net.has("aux_head.weight") {
        return Ok(out);
    }
    let tokens = net.dims(x).first().copied().unwrap_or(0);
    let places = net.slice("aux_head.places", x, 1, 1, tokens)?;
    let each = net.linear("aux_head", places)?;
    let greatest = net.add("aux_head.max", Op::Reduce { kind: Reduce::Max, axes: vec![1], keep: false }, &[each])?;
    let half = net.affine("aux_head.half", greatest, 0.5, 0.0)?;
    net.sum("classes", out, half)
}
