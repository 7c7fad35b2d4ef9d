//! The image encoder of Segment Anything (Kirillov et al., arXiv 2304.02643; Li et al., 2203.16527) under timm's names.
//!
//! Most blocks attend within windows, which become images of their own; some, which only the name says, to the whole image. Scores have a
//! bias that is a product of the query and a learnt vector for the offset down, and one for the offset across.

use super::config::{Config, Library};
use super::layers::{Conv, Layers, count};
use super::made::{Resample, resampled, weights};
use super::token_parts::{array, patch, patches, sides};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Op, Reduce, Role, Unary};

type Made = Result<NodeId, ArchError>;

pub(super) static FAMILY: Family = Family {
    name: "samvit",
    about: "the image encoder of Segment Anything under timm's names",
    usual_size: [1024, 1024],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(VARIANTS.iter().map(|variant| variant.0)),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.contains_key("blocks.0.attn.rel_pos_h") && shapes.contains_key("patch_embed.proj.weight");
        if own && !shapes.contains_key("cls_token") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// A name of timm, its heads, the blocks that attend to the whole image.
type Variant = (&'static str, usize, [usize; 4]);

static VARIANTS: [Variant; 4] = [
    ("samvit_base_patch16", 12, [2, 5, 8, 11]),
    ("samvit_large_patch16", 16, [5, 11, 17, 23]),
    ("samvit_huge_patch16", 16, [7, 15, 23, 31]),
    ("samvit_base_patch16_224", 12, [2, 5, 8, 11]),
];

/// What tensors do not show.
struct Asked {
    heads: usize,
    window: usize,
    global: Vec<usize>,
    max_pool: bool,
}

impl Asked {
    fn of(config: &Config) -> Result<Self, ArchError> {
        let named = |variant: &&Variant| config.name.as_ref().is_some_and(|name| name.is_one_of([variant.0]));
        let Some((_, heads, global)) = VARIANTS.iter().find(named) else {
            return Err(ArchError::NeedsName {
                family: FAMILY.name,
                what: "heads and windows".into(),
                names: VARIANTS.iter().take(2).map(|variant| format!("timm/{}", variant.0)).collect(),
            });
        };
        config.shown(&[
            "attn_drop_rate",
            "init_values",
            "mlp_ratio",
            "patch_drop_rate",
            "pos_drop_rate",
            "pre_norm",
            "proj_drop_rate",
            "qk_norm",
            "qkv_bias",
            "use_abs_pos",
            "use_rel_pos",
            "weight_init",
        ]);
        config.only("use_rope", false)?;
        let window = config.counts("window_size")?.map_or(Ok(14), |sides| match sides[..] {
            [side] => Ok(side),
            _ => Err(config.refused("window_size", &sides.clone().into())),
        })?;
        let max_pool = match config.pooling("avg")? {
            "avg" => false,
            "max" => true,
            other => return Err(config.refused("global_pool", &other.into())),
        };
        let heads = config.count("num_heads")?.unwrap_or(*heads);
        let global = config.counts("global_attn_indexes")?.unwrap_or_else(|| global.to_vec());
        Ok(Self { heads, window, global, max_pool })
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = Asked::of(config)?;
    let stem = "patch_embed.proj.weight";
    let (mut net, input) = Layers::new(FAMILY.name, shapes, stem, *size, 1e-5)?;
    let patch = patch(&mut net, config, stem, "patch_size")?;
    sides(config, "img_size")?;
    let map = patches(&mut net, "patch_embed.proj", input, patch)?;
    let grid = net.size(map);
    let mut x = net.tokens("patch_embed.tokens", map)?;
    let width = net.width(x);
    let depth = count(shapes, "blocks.");
    config.agrees("depth", depth)?;
    if net.is_whole() {
        config.agrees("embed_dim", width)?;
    }
    if net.has("pos_embed") {
        x = placed(&mut net, x, grid)?;
    }
    if net.has("norm_pre.weight") {
        x = net.layer_norm("norm_pre", x, 1e-5)?;
    }
    for block in 0..depth {
        let window = if asked.global.contains(&block) { 0 } else { asked.window };
        x = residual(&mut net, &format!("blocks.{block}"), x, &asked, grid, window)?;
    }
    x = net.map("neck.map", x, grid)?;
    x = neck(&mut net, config, x)?;
    x = if asked.max_pool {
        net.add("pool", Op::Reduce { kind: Reduce::Max, axes: vec![2, 3], keep: false }, &[x])?
    } else {
        net.pool("pool", false, x)?
    };
    if net.has("head.fc.weight") {
        x = net.linear("head.fc", x)?;
    }
    let told = if asked.max_pool { ", max pooling" } else { "" };
    net.finish(x, format!("SAM ViT, {depth} blocks of width {width}, {} heads, windows of {}, timm names{told}", asked.heads, asked.window))
}

/// Two convolutions with norms, or a norm alone.
fn neck(net: &mut Layers, config: &Config, x: NodeId) -> Made {
    if !net.has("neck.0.weight") {
        config.shown(&["neck_chans"]);
        return net.layer_norm_map("neck", x, 1e-6);
    }
    let x = net.conv_as("neck.0", x, Conv::new(1, 0))?;
    if net.is_whole() {
        config.agrees("neck_chans", net.channels(x))?;
    }
    let x = net.layer_norm_map("neck.1", x, 1e-6)?;
    let x = net.conv_as("neck.2", x, Conv::new(1, 1))?;
    net.layer_norm_map("neck.3", x, 1e-6)
}

/// With learnt positions `[1, height, width, channels]`.
fn placed(net: &mut Layers, x: NodeId, grid: [usize; 2]) -> Made {
    let width = net.width(x);
    let found = net.look("pos_embed").unwrap_or_default();
    let &[1, height, across, channels] = found.as_slice() else {
        return Ok(net.misfit("pos_embed", &found, "[1, height, width, channels]", x));
    };
    if channels != width || height == 0 || across == 0 {
        return Ok(net.misfit("pos_embed", &found, &format!("[1, height, width, {width}]"), x));
    }
    let (from, shape) = ([height, across], [1, grid[0], grid[1], width]);
    let node = if from == grid {
        Some(net.tensor("pos_embed", &shape, Role::Embedding))
    } else {
        net.made(&["pos_embed"], &shape, Role::Embedding, move |tensors| {
            let brought = tensors.first().map(|table| resampled(table, from, grid, Resample::BicubicAntialias, None)).unwrap_or_default();
            array(&shape, brought.iter().copied().collect())
        })
    };
    let Some(node) = node else { return Ok(x) };
    let node = net.reshape_fixed("pos_embed.tokens", node, &[1, grid[0] * grid[1], width])?;
    net.sum("pos_embed.add", x, node)
}

fn residual(net: &mut Layers, name: &str, input: NodeId, asked: &Asked, grid: [usize; 2], window: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.layer_norm(&at("norm1"), input, 1e-5)?;
    let x = if window == 0 {
        attention(net, &at("attn"), x, asked, grid)?
    } else {
        windowed(net, &at("attn"), x, grid, window, |net, x| attention(net, &at("attn"), x, asked, [window; 2]))?
    };
    let x = net.scaled(&at("ls1.gamma"), x)?;
    let middle = net.sum(&at("attn.add"), input, x)?;
    let x = net.layer_norm(&at("norm2"), middle, 1e-5)?;
    let x = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], x, Unary::Gelu { tanh: false })?;
    let x = net.scaled(&at("ls2.gamma"), x)?;
    net.sum(&at("mlp.add"), middle, x)
}

/// Applied to each window as to an image of its own; what the last ones lack is filled with zeros, and cut off again.
fn windowed(
    net: &mut Layers,
    name: &str,
    x: NodeId,
    [height, width]: [usize; 2],
    window: usize,
    inner: impl FnOnce(&mut Layers, NodeId) -> Made,
) -> Made {
    let channels = net.width(x);
    let [down, across] = [height.div_ceil(window), width.div_ceil(window)];
    let [full, wide] = [down * window, across * window];
    let at = |part: &str| format!("{name}.windows.{part}");
    let x = net.reshape(&at("places"), x, &[height, width, channels])?;
    let x = net.pad(&at("padded"), x, vec![(0, 0), (0, full - height), (0, wide - width), (0, 0)])?;
    let x = net.reshape_by(&at("rows"), x, down, &[window, across, window * channels])?;
    let x = net.transpose(&at("turned"), x, &[0, 2, 1, 3])?;
    let x = net.reshape_by(&at("apart"), x, down * across, &[window * window, channels])?;
    let x = inner(net, x)?;
    let x = net.reshape_by(&at("rows.back"), x, down, &[across, window, window * channels])?;
    let x = net.transpose(&at("turned.back"), x, &[0, 2, 1, 3])?;
    let mut x = net.reshape(&at("together"), x, &[full, wide, channels])?;
    if full > height {
        x = net.slice(&at("cut.down"), x, 1, 0, height)?;
    }
    if wide > width {
        x = net.slice(&at("cut.across"), x, 2, 0, width)?;
    }
    net.reshape(&at("tokens"), x, &[height * width, channels])
}

fn attention(net: &mut Layers, name: &str, x: NodeId, asked: &Asked, grid: [usize; 2]) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let all = net.linear(&at("qkv"), x)?;
    let parts = net.split(&at("qkv.split"), all, 2, 3)?;
    let &[mut q, mut k, v] = parts.as_slice() else { return Ok(x) };
    if net.is_whole() {
        q = net.heads(&at("q"), q, asked.heads)?;
        k = net.heads(&at("k"), k, asked.heads)?;
        let v = net.heads(&at("v"), v, asked.heads)?;
        if net.has(&at("q_norm.weight")) {
            q = net.layer_norm(&at("q_norm"), q, 1e-5)?;
            k = net.layer_norm(&at("k_norm"), k, 1e-5)?;
        }
        let bias = if net.has(&at("rel_pos_h")) { Some(offsets(net, name, q, grid)?) } else { None };
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        q = net.attend(name, [q, k, v], scale, bias)?;
    }
    net.linear(&at("proj"), q)
}

/// For every query and key, the product of the query with the vector of their offset down, plus that of their offset across.
fn offsets(net: &mut Layers, name: &str, q: NodeId, grid: [usize; 2]) -> Made {
    let at = |part: &str| format!("{name}.offset.{part}");
    let whole = net.whole(q);
    let &[items, heads, tokens, d] = whole.as_slice() else { return Ok(q) };
    let [height, width] = grid;
    let places = net.reshape_by(&at("places"), q, items * heads, &[height, width, d])?;
    let down = vectors(net, &format!("{name}.rel_pos_h"), height, d)?;
    let down = net.matmul(&at("down"), places, down)?;
    let down = net.reshape_by(&at("down.tokens"), down, items, &[heads, tokens, height])?;
    let down = net.select(&at("down.keys"), down, 3, (0..tokens).map(|key| key / width.max(1)).collect())?;
    let turned = net.transpose(&at("columns"), places, &[0, 2, 1, 3])?;
    let across = vectors(net, &format!("{name}.rel_pos_w"), width, d)?;
    let across = net.matmul(&at("across"), turned, across)?;
    let across = net.transpose(&at("across.back"), across, &[0, 2, 1, 3])?;
    let across = net.reshape_by(&at("across.tokens"), across, items, &[heads, tokens, width])?;
    let across = net.select(&at("across.keys"), across, 3, (0..tokens).map(|key| key % width.max(1)).collect())?;
    net.sum(&at("sum"), down, across)
}

/// The vectors `[query, d, key]` of the offsets between the places of an axis; of another number of places they are brought to these linearly.
fn vectors(net: &mut Layers, name: &str, places: usize, d: usize) -> Made {
    let found = net.look(name).unwrap_or_default();
    let needed = (2 * places).saturating_sub(1);
    let &[rows, width] = found.as_slice() else { return Ok(net.misfit(name, &found, "[offsets, numbers of a head]", NodeId(0))) };
    if width != d || rows == 0 {
        return Ok(net.misfit(name, &found, &format!("[offsets, {d}]"), NodeId(0)));
    }
    let shape = [needed, d];
    let node = if rows == needed {
        Some(net.tensor(name, &shape, Role::Embedding))
    } else {
        net.made(&[name], &shape, Role::Embedding, move |tensors| {
            let matrix = weights(rows, needed, Resample::Bilinear, None);
            let table: Vec<f32> = tensors.iter().flat_map(|tensor| tensor.iter().copied()).collect();
            let value = |row: &[f32], i: usize| row.iter().zip(table.iter().skip(i).step_by(d)).map(|(w, v)| w * v).sum::<f32>();
            array(&shape, matrix.chunks_exact(rows).flat_map(|row| (0..d).map(move |i| (row, i))).map(|(row, i)| value(row, i)).collect())
        })
    };
    let Some(node) = node else { return Ok(NodeId(0)) };
    let pairs = (0..places).flat_map(|query| (0..places).map(move |key| query + places - 1 - key)).collect();
    let all = net.select(&format!("{name}.pairs"), node, 0, pairs)?;
    let all = net.reshape_fixed(&format!("{name}.apart"), all, &[places, places, d])?;
    net.transpose(&format!("{name}.columns"), all, &[0, 2, 1])
}
