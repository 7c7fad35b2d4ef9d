//! Hiera (Ryali et al., arXiv 2306.00989) under timm's and Hugging Face Transformers' names: a vision transformer in stages that attends within
//! windows in its first ones, and whose stages begin with the greatest of 2 x 2 tokens. Positions may be those of a small grid and of the
//! places in a window (Bolya et al., arXiv 2311.05613).
//!
//! Tokens are put in such an order that the four that become one lie a quarter of the sequence apart, in every stage; so the first tokens of
//! all windows come before all second ones.

use serde_json::Value;

use super::config::{Config, Library, Name};
use super::layers::{Conv, Layers, count};
use super::made::Resample;
use super::pyramid::{agree, apart, each, needs_name, said};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Reduce, Role, Unary};

type Made = Result<NodeId, ArchError>;

pub(super) static TIMM: Family = Family {
    name: "hiera",
    about: "Hiera under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && variant(name).is_some(),
    stems: &[],
    within: &[],
    shows: |_| Likeness::No,
    build: timm,
};

pub(super) static HUGGING_FACE: Family = Family {
    name: "hiera-hf",
    about: "Hiera under Hugging Face Transformers' names; the decoder of pretraining is left out",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.plain == "hiera" && name.library == Library::Transformers,
    stems: &[],
    within: &["hiera"],
    shows: |shapes| {
        let shown = |base: &&str| {
            let parts = ["embeddings.patch_embeddings.projection.weight", "encoder.stages.0.layers.0.attn.qkv.weight"];
            parts.iter().all(|part| shapes.contains_key(&format!("{base}{part}")))
        };
        if ["hiera.", ""].iter().any(shown) { Likeness::Yes } else { Likeness::No }
    },
    build: hugging_face,
};

/// What an architecture of timm has.
struct Variant {
    name: &'static str,
    width: usize,
    heads: usize,
    stages: [usize; 4],
    /// Whether positions are those of a grid and of places in a window.
    in_windows: bool,
}

const fn usual(name: &'static str, width: usize, heads: usize, stages: [usize; 4]) -> Variant {
    Variant { name, width, heads, stages, in_windows: false }
}

static VARIANTS: [Variant; 8] = [
    usual("hiera_tiny_224", 96, 1, [1, 2, 7, 2]),
    usual("hiera_small_224", 96, 1, [1, 2, 11, 2]),
    usual("hiera_base_224", 96, 1, [2, 3, 16, 3]),
    usual("hiera_base_plus_224", 112, 2, [2, 3, 16, 3]),
    usual("hiera_large_224", 144, 2, [2, 6, 36, 4]),
    usual("hiera_huge_224", 256, 4, [2, 6, 36, 4]),
    Variant { in_windows: true, ..usual("hiera_small_abswin_256", 96, 1, [1, 2, 11, 2]) },
    Variant { in_windows: true, ..usual("hiera_base_abswin_256", 96, 1, [2, 3, 16, 3]) },
];

fn variant(name: &Name) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| name.is_one_of([variant.name]))
}

/// What tensors do not show.
struct Asked {
    /// Of every stage.
    heads: Vec<usize>,
    /// Whether the stage attends within windows.
    masked: Vec<bool>,
    /// How many stages begin with a pooling.
    pools: usize,
    /// Height and width of what becomes one token there.
    stride: [usize; 2],
    /// Of a window, in tokens of the first stage.
    unit: [usize; 2],
    act: Unary,
    eps: f64,
    patches: Conv,
    /// Whether there are layer scales: what one block has, all have.
    scales: bool,
    library: Library,
}

/// What the libraries call a block's norms.
type Norms = [&'static str; 2];

fn timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let variant = config.name.as_ref().filter(|name| name.may_be(Library::Timm)).and_then(variant);
    let variant = variant.ok_or_else(|| needs_name(&TIMM, &["timm/hiera_tiny_224", "timm/hiera_base_224"]))?;
    config.shown(&["fix_init", "global_pos_size", "head_init_scale", "img_size", "patch_drop_rate", "weight_init"]);
    config.only("sep_pos_embed", false)?;
    // A block that begins a stage gives other channels than it takes.
    let mut stages: Vec<Vec<String>> = Vec::new();
    for block in 0..count(shapes, "blocks.") {
        let name = format!("blocks.{block}");
        let shape = shapes.get(&format!("{name}.attn.qkv.weight"));
        let widens = shape.is_some_and(|shape| matches!(shape[..], [out, from] if out / 3 != from));
        match stages.last_mut() {
            Some(stage) if !widens => stage.push(name),
            _ => stages.push(vec![name]),
        }
    }
    let depths: Vec<usize> = stages.iter().map(Vec::len).collect();
    agree(config, "stages", Some(variant.stages), &depths)?;
    let width = shapes.get("patch_embed.proj.weight").and_then(|shape| shape.first()).copied().unwrap_or(0);
    agree(config, "embed_dim", Some([variant.width]), &[width])?;
    let factor = config.number("head_mul")?.unwrap_or(2.0);
    let mut heads = vec![config.count("num_heads")?.unwrap_or(variant.heads)];
    for stage in 1..stages.len() {
        heads.push((heads[stage - 1] as f64 * factor) as usize);
    }
    config.only("dim_mul", 2.0)?;
    mlp_ratio(config, shapes, "blocks.0.mlp.fc1.weight", width)?;
    // Without a projection the greatest of four tokens stands beside their mean.
    config.shown(&["use_expand_proj"]);
    let asked = Asked {
        heads,
        masked: flags(config, "mask_unit_attn", stages.len())?,
        pools: config
            .get("q_pool")
            .map_or(Ok(3), |value| value.as_u64().map(|n| n as usize).ok_or_else(|| config.refused("q_pool", value)))?,
        stride: pair(config, "q_stride", [2, 2])?,
        unit: pair(config, "mask_unit_size", [8, 8])?,
        act: Unary::Gelu { tanh: false },
        eps: 1e-6,
        patches: patches(config, shapes, "patch_embed.proj.weight", ["patch_kernel", "patch_stride", "patch_padding"])?,
        scales: shapes.contains_key("blocks.0.ls1.gamma"),
        library: Library::Timm,
    };
    // Those with positions in windows have layer scales too, unless something else is said.
    let scales = if config.says("init_values") { config.number("init_values")?.is_some() } else { variant.in_windows };
    if scales != asked.scales {
        return Err(apart("init_values", if scales { "a number" } else { "none" }, if asked.scales { "one" } else { "none" }));
    }
    let in_windows = shapes.contains_key("pos_embed_win");
    if config.flag("abs_win_pos_embed", variant.in_windows)? != in_windows {
        return Err(config.refused("abs_win_pos_embed", &Value::Bool(!in_windows)));
    }
    let (mut net, input) = Layers::new(TIMM.name, shapes, "patch_embed.proj.weight", *size, 1e-5)?;
    let mut x = net.conv_as("patch_embed.proj", input, asked.patches)?;
    let map = net.size(x);
    x = net.tokens("patch_embed.tokens", x)?;
    x = if in_windows { windowed_positions(&mut net, &asked, x, map)? } else { positions(&mut net, "pos_embed", x)? };
    x = network(&mut net, x, map, &stages, ["norm1", "norm2"], &asked)?;
    x = match config.pooling("avg")? {
        "avg" => net.mean("head.pool", x, &[1], false)?,
        "max" => net.add("head.pool", Op::Reduce { kind: Reduce::Max, axes: vec![1], keep: false }, &[x])?,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    x = net.layer_norm("head.norm", x, asked.eps)?;
    if shapes.keys().any(|name| name.starts_with("head.fc.")) {
        x = net.linear("head.fc", x)?;
    }
    net.finish(x, format!("Hiera, {}, timm names", told(&depths)))
}

fn told(depths: &[usize]) -> String {
    let depths = depths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    format!("stages of {depths} blocks")
}

fn hugging_face(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    said(config, &HUGGING_FACE, &["transformers/hiera"])?;
    config.shown(&[
        "decoder_depth",
        "decoder_hidden_size",
        "decoder_num_heads",
        "drop_path_rate",
        "image_size",
        "layer_norm_init",
        "mask_ratio",
        "normalize_pixel_loss",
    ]);
    let stem = "embeddings.patch_embeddings.projection";
    let base = super::pyramid::base(shapes, &["hiera.", ""], &format!("{stem}.weight"));
    let prefix = |stage: usize| format!("{base}encoder.stages.{stage}.layers.");
    let depths = (0..shapes.len()).map(|stage| count(shapes, &prefix(stage))).take_while(|&blocks| blocks > 0).collect::<Vec<_>>();
    let stages: Vec<Vec<String>> =
        depths.iter().enumerate().map(|(stage, &blocks)| (0..blocks).map(|block| format!("{}{block}", prefix(stage))).collect()).collect();
    let usual = (config.library() == Library::Transformers).then_some([2, 3, 16, 3]);
    agree(config, "depths", usual, &depths)?;
    let width = shapes.get(&format!("{base}{stem}.weight")).and_then(|shape| shape.first()).copied().unwrap_or(0);
    config.agrees_or("embed_dim", 96, width)?;
    config.only("embed_dim_multiplier", 2.0)?;
    config.agrees("hidden_size", width << depths.len().saturating_sub(1).min(16))?;
    let kernel = format!("{base}{stem}.weight");
    mlp_ratio(config, shapes, &format!("{}0.mlp.fc1.weight", prefix(0)), width)?;
    let asked = Asked {
        heads: each(config, "num_heads", &[1, 2, 4, 8], depths.len())?,
        masked: flags(config, "masked_unit_attention", depths.len())?,
        pools: config
            .get("num_query_pool")
            .map_or(Ok(3), |value| value.as_u64().map(|n| n as usize).ok_or_else(|| config.refused("num_query_pool", value)))?,
        stride: pair(config, "query_stride", [2, 2])?,
        unit: pair(config, "masked_unit_size", [8, 8])?,
        act: config.act("hidden_act")?.unwrap_or(Unary::Gelu { tanh: false }),
        eps: config.number("layer_norm_eps")?.unwrap_or(1e-6),
        patches: patches(config, shapes, &kernel, ["patch_size", "patch_stride", "patch_padding"])?,
        scales: false,
        library: Library::Transformers,
    };
    let (mut net, input) = Layers::new(HUGGING_FACE.name, shapes, &kernel, *size, 1e-5)?;
    let mut x = net.conv_as(&format!("{base}{stem}"), input, asked.patches)?;
    let map = net.size(x);
    x = net.tokens(&format!("{base}{stem}.tokens"), x)?;
    x = positions(&mut net, &format!("{base}embeddings.position_embeddings"), x)?;
    x = network(&mut net, x, map, &stages, ["layernorm_before", "layernorm_after"], &asked)?;
    for part in ["decoder.", "encoder_norm.", "multiscale_fusion."] {
        net.leave_out(part, "the decoder");
    }
    // A model may have been saved without what pools its tokens.
    let pooler = format!("{base}pooler.layernorm");
    let head = shapes.keys().any(|name| name.starts_with("classifier."));
    if head || net.has(&format!("{pooler}.weight")) {
        x = net.mean("pooler", x, &[1], false)?;
        x = net.layer_norm(&pooler, x, asked.eps)?;
    } else {
        net.features_at(x);
    }
    if head {
        x = net.linear("classifier", x)?;
    }
    net.finish(x, format!("Hiera, {}, Hugging Face names", told(&depths)))
}

/// How patches are cut; the kernel is in the tensor.
fn patches(config: &Config, shapes: &Shapes, weight: &str, [kernel, stride, padding]: [&str; 3]) -> Result<Conv, ArchError> {
    let found = shapes.get(weight).and_then(|shape| shape.get(2..)).unwrap_or_default();
    if !found.is_empty() {
        agree(config, kernel, Some([7]), found)?;
    }
    let [top, left] = pair(config, padding, [3, 3])?;
    let stride = pair(config, stride, [4, 4])?.map(|step| step.max(1));
    Ok(Conv { stride, pads: [top, left, top, left], dilation: [1; 2], groups: 1 })
}

/// Two numbers, or one for both.
fn pair(config: &Config, key: &str, usual: [usize; 2]) -> Result<[usize; 2], ArchError> {
    match config.counts(key)?.as_deref() {
        None => Ok(usual),
        Some(&[one]) => Ok([one; 2]),
        Some(&[height, width]) => Ok([height, width]),
        Some(other) => Err(apart(key, &format!("{other:?}"), "images of two axes")),
    }
}

/// Whether each stage does it: the first two of four, where nothing is said.
fn flags(config: &Config, key: &str, stages: usize) -> Result<Vec<bool>, ArchError> {
    let Some(value) = config.get(key) else { return Ok((0..stages).map(|stage| stage < 2).collect()) };
    let all = value.as_array().and_then(|all| all.iter().map(Value::as_bool).collect::<Option<Vec<_>>>());
    all.filter(|all| all.len() == stages).ok_or_else(|| config.refused(key, value))
}

fn mlp_ratio(config: &Config, shapes: &Shapes, weight: &str, width: usize) -> Result<(), ArchError> {
    let hidden = shapes.get(weight).and_then(|shape| shape.first()).copied().unwrap_or(0);
    let ratio = config.number("mlp_ratio")?.unwrap_or(4.0);
    let same = hidden == 0 || (width as f64 * ratio) as usize == hidden;
    if same { Ok(()) } else { Err(apart("mlp_ratio", &ratio.to_string(), &format!("{hidden} of {width}"))) }
}

/// Positions of as many tokens as there are: neither library resamples them.
fn positions(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let dims = net.dims(x);
    let &[tokens, width] = dims.as_slice() else { return Ok(x) };
    let table = net.tensor(name, &[1, tokens, width], Role::Embedding);
    net.sum(&format!("{name}.add"), x, table)
}

/// Positions of a small grid, resampled, and of the places in a window, repeated.
fn windowed_positions(net: &mut Layers, asked: &Asked, x: NodeId, [h, w]: [usize; 2]) -> Made {
    let (Some(grid), Some(window)) = (net.look("pos_embed"), net.look("pos_embed_win")) else { return Ok(x) };
    let width = net.width(x);
    let [uh, uw] = asked.unit;
    if grid.len() != 4 || grid[..2] != [1, width] || grid.contains(&0) {
        return Ok(net.misfit("pos_embed", &grid, &format!("[1, {width}, height, width]"), x));
    }
    if window != [1, width, uh, uw] || uh == 0 || uw == 0 || !h.is_multiple_of(uh) || !w.is_multiple_of(uw) {
        return Ok(net.misfit("pos_embed_win", &window, &format!("[1, {width}, {uh}, {uw}] for a map of {h} x {w}"), x));
    }
    if !net.is_whole() {
        return Ok(x);
    }
    let table = net.tensor("pos_embed", &grid, Role::Embedding);
    let table = net.resize("pos_embed.resize", table, [h, w], Resample::BicubicAntialias)?;
    let places = net.tensor("pos_embed_win", &window, Role::Embedding);
    let places = net.select("pos_embed_win.rows", places, 2, (0..h).map(|y| y % uh).collect())?;
    let places = net.select("pos_embed_win.tile", places, 3, (0..w).map(|x| x % uw).collect())?;
    let sum = net.sum("pos_embed.sum", table, places)?;
    let sum = net.transpose("pos_embed.last", sum, &[0, 2, 3, 1])?;
    let sum = net.reshape_fixed("pos_embed.tokens", sum, &[1, h * w, width])?;
    net.sum("pos_embed.add", x, sum)
}

/// All blocks, on tokens in the order of pooling.
fn network(net: &mut Layers, x: NodeId, map: [usize; 2], stages: &[Vec<String>], norms: Norms, asked: &Asked) -> Made {
    let mut x = unrolled(net, x, map, stages.len().saturating_sub(1), asked.stride)?;
    let area = |sides: [usize; 2]| sides[0].saturating_mul(sides[1]);
    for (stage, blocks) in stages.iter().enumerate() {
        // timm's windows shrink where queries are pooled, those of Transformers in every stage.
        let shrunk = if asked.library == Library::Timm { stage.min(asked.pools) } else { stage };
        let window = area(asked.unit) / area(asked.stride).max(1).saturating_pow(shrunk as u32).max(1);
        for (i, name) in blocks.iter().enumerate() {
            let begins = i == 0 && stage > 0;
            let pooled = if begins && stage <= asked.pools { area(asked.stride) } else { 1 };
            let is_masked = |stage: usize| asked.masked.get(stage).copied().unwrap_or(false);
            // The first block attends as the stage before it did: it still sees that one's tokens.
            let masked = match (begins, asked.library) {
                (true, Library::Timm) => is_masked(stage - 1),
                (true, _) => is_masked(stage - 1) || is_masked(stage),
                (false, _) => is_masked(stage),
            };
            let step = Step { heads: asked.heads.get(stage).copied().unwrap_or(0), pooled, window: masked.then_some(window) };
            x = block(net, name, x, norms, asked, step)?;
        }
    }
    Ok(x)
}

/// Tokens `[N, height width, C]` in the order of `times` poolings: all that are first in what becomes one token, then all second ones.
fn unrolled(net: &mut Layers, x: NodeId, [h, w]: [usize; 2], times: usize, [down, across]: [usize; 2]) -> Made {
    let most = [down, across].map(|step| step.checked_pow(times.min(12) as u32).unwrap_or(0));
    if !net.is_whole() || times == 0 {
        return Ok(x);
    }
    if times > 4 || most.contains(&0) || !h.is_multiple_of(most[0]) || !w.is_multiple_of(most[1]) {
        return Err(ArchError::Unsupported(format!("a map of {h} x {w} patches cannot be pooled {times} times by {down} x {across}")));
    }
    let width = net.width(x);
    // Row and column are each [rest, step of the last pooling, .., step of the first].
    let axis = |rest: usize, step: usize| std::iter::once(rest).chain(std::iter::repeat_n(step, times));
    let dims: Vec<usize> = axis(h / most[0], down).chain(axis(w / most[1], across)).chain([width]).collect();
    let (row, column) = (1, times + 2);
    let steps = (1..=times).rev().flat_map(|i| [row + i, column + i]);
    let order: Vec<usize> = std::iter::once(0).chain(steps).chain([row, column, 2 * times + 3]).collect();
    let apart = net.reshape("unroll.apart", x, &dims)?;
    let order = net.transpose("unroll.order", apart, &order)?;
    net.reshape("unroll", order, &[h * w, width])
}

/// A block's place.
#[derive(Clone, Copy)]
struct Step {
    heads: usize,
    /// How many tokens become one.
    pooled: usize,
    /// Tokens of a window behind the pooling, where the block attends within windows.
    window: Option<usize>,
}

fn scaled(net: &mut Layers, name: &str, x: NodeId, asked: &Asked) -> Made {
    if !asked.scales || net.look(name).is_none() {
        return Ok(x);
    }
    net.scaled(name, x)
}

fn block(net: &mut Layers, at: &str, input: NodeId, norms: Norms, asked: &Asked, step: Step) -> Made {
    let [before, between] = norms.map(|name| format!("{at}.{name}"));
    let normed = net.layer_norm(&before, input, asked.eps)?;
    let mixed = attention(net, &format!("{at}.attn"), normed, step)?;
    let mixed = scaled(net, &format!("{at}.ls1.gamma"), mixed, asked)?;
    let projection = format!("{at}.proj");
    let mut x = input;
    if net.has(&format!("{projection}.weight")) {
        x = net.linear(&projection, normed)?;
        x = pooled(net, &projection, x, step.pooled, Reduce::Max)?;
    } else if net.is_whole() && net.width(mixed) != net.width(input) {
        let most = pooled(net, &format!("{at}.most"), input, step.pooled, Reduce::Max)?;
        let mean = pooled(net, &format!("{at}.mean"), input, step.pooled, Reduce::Mean)?;
        x = net.concat(&format!("{at}.both"), 2, &[most, mean])?;
    }
    x = net.sum(&format!("{at}.add"), x, mixed)?;
    let normed = net.layer_norm(&between, x, asked.eps)?;
    let more = net.mlp([&format!("{at}.mlp.fc1"), &format!("{at}.mlp.fc2")], normed, asked.act)?;
    let more = scaled(net, &format!("{at}.ls2.gamma"), more, asked)?;
    net.sum(&format!("{at}.add2"), x, more)
}

/// Of `times` tokens, which lie equally far apart in each sequence, one.
fn pooled(net: &mut Layers, at: &str, x: NodeId, times: usize, kind: Reduce) -> Made {
    let (per_image, dims) = (net.per_image(x), net.dims(x));
    let &[tokens, width] = dims.as_slice() else { return Ok(x) };
    if times < 2 || !net.is_whole() {
        return Ok(x);
    }
    if !tokens.is_multiple_of(times) {
        return Err(ArchError::Unsupported(format!("`{at}`: {tokens} tokens cannot be pooled by {times}")));
    }
    let apart = net.reshape_by(&format!("{at}.fours"), x, per_image, &[times, tokens / times, width])?;
    net.add(&format!("{at}.pooled"), Op::Reduce { kind, axes: vec![1], keep: false }, &[apart])
}

fn attention(net: &mut Layers, at: &str, x: NodeId, step: Step) -> Made {
    let all = net.linear(&format!("{at}.qkv"), x)?;
    let dims = net.dims(all);
    let &[tokens, width] = dims.as_slice() else { return net.linear(&format!("{at}.proj"), x) };
    if !net.is_whole() {
        return net.linear(&format!("{at}.proj"), x);
    }
    let each = step.window.map_or(tokens, |window| window.saturating_mul(step.pooled));
    if each == 0 || !tokens.is_multiple_of(each) {
        return Err(ArchError::Unsupported(format!("`{at}`: {tokens} tokens cannot be dealt to windows of {each}")));
    }
    let windows = tokens / each;
    let mut apart = all;
    if windows > 1 {
        // The first tokens of all windows come first.
        let split = net.reshape(&format!("{at}.split"), all, &[each, windows, width])?;
        let order = net.transpose(&format!("{at}.order"), split, &[0, 2, 1, 3])?;
        apart = net.reshape_by(&format!("{at}.windows"), order, windows, &[each, width])?;
    }
    let parts = net.split(&format!("{at}.parts"), apart, 2, 3)?;
    let &[q, k, v] = parts.as_slice() else { return Ok(x) };
    let q = pooled(net, &format!("{at}.q"), q, step.pooled, Reduce::Max)?;
    let q = net.heads(&format!("{at}.q.heads"), q, step.heads)?;
    let k = net.heads(&format!("{at}.k.heads"), k, step.heads)?;
    let v = net.heads(&format!("{at}.v.heads"), v, step.heads)?;
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    let mut mixed = net.attend(at, [q, k, v], scale, None)?;
    if windows > 1 {
        let (tokens, width) = (each / step.pooled, width / 3);
        let split = net.reshape(&format!("{at}.back"), mixed, &[windows, tokens, width])?;
        let order = net.transpose(&format!("{at}.back.order"), split, &[0, 2, 1, 3])?;
        mixed = net.reshape(&format!("{at}.sequence"), order, &[windows * tokens, width])?;
    }
    net.linear(&format!("{at}.proj"), mixed)
}
