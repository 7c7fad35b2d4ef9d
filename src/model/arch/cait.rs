//! `CaiT` (Touvron et al., arXiv 2103.17239) and `XCiT` (El-Nouby et al., 2106.09681) under timm's names.
//!
//! In `CaiT` the heads' scores are mixed before and behind the softmax, and a class token attends to the patches in blocks of its own. In
//! `XCiT` channels attend to channels, by the cosine between them over all places; its last blocks are those of `CaiT`, and whether they
//! normalise all tokens or the class token alone only the name says.

use super::config::{Config, Library, Name};
use super::layers::{Conv, Grid, Layers, count};
use super::made::Resample;
use super::token_parts::{grid_in_file, patch, patches, pooled, sides};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Op, Role, Unary};

type Made = Result<NodeId, ArchError>;

const EPS: f64 = 1e-6;
const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static CAIT: Family = Family {
    name: "cait",
    about: "CaiT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let names = ["xxs24_224", "xxs24_384", "xxs36_224", "xxs36_384", "xs24_384", "s24_224", "s24_384", "s36_384", "m36_384", "m48_448"];
        name.may_be(Library::Timm) && names.iter().any(|rest| name.is_one_of([format!("cait_{rest}").as_str()]))
    },
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("blocks_token_only.0.attn.q.weight") { Likeness::Yes } else { Likeness::No },
    build: cait,
};

pub(super) static XCIT: Family = Family {
    name: "xcit",
    about: "XCiT under timm's names",
    is_called: |name| name.may_be(Library::Timm) && kind(name).is_some(),
    shows: |shapes| if shapes.contains_key("cls_attn_blocks.0.attn.q.weight") { Likeness::Yes } else { Likeness::No },
    build: xcit,
    ..CAIT
};

/// The size of an `XCiT` of this name.
fn kind(name: &Name) -> Option<&'static str> {
    let kinds = ["nano_12", "tiny_12", "small_12", "tiny_24", "small_24", "medium_24", "large_24"];
    let ends = ["p16_224", "p16_384", "p8_224", "p8_384"];
    kinds.into_iter().find(|kind| ends.iter().any(|end| name.is_one_of([format!("xcit_{kind}_{end}").as_str()])))
}

/// Pooling, of what both have.
fn pooling<'a>(config: &Config<'a>) -> Result<&'a str, ArchError> {
    config.shown(&[
        "attn_drop_rate",
        "eta",
        "init_values",
        "mlp_ratio",
        "mlp_ratio_token_only",
        "pos_drop_rate",
        "proj_drop_rate",
        "qkv_bias",
    ]);
    let pool = config.pooling("token")?;
    if ["token", "avg"].contains(&pool) { Ok(pool) } else { Err(config.refused("global_pool", &pool.into())) }
}

fn cait(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let pool = pooling(config)?;
    let stem = "patch_embed.proj.weight";
    let (mut net, input) = Layers::new(CAIT.name, shapes, stem, *size, 1e-5)?;
    let patch = patch(&mut net, config, stem, "patch_size")?;
    let map = patches(&mut net, "patch_embed.proj", input, patch)?;
    let to = net.size(map);
    let mut x = net.tokens("patch_embed.tokens", map)?;
    let width = net.width(x);
    let heads = heads(&mut net, config, "blocks.0.attn.proj_l.weight")?;
    let depth = sized(&net, config, source, "blocks.", "depth", width)?;
    let rows = shapes.get("pos_embed").and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let from = grid_in_file(sides(config, "img_size")?, patch, rows).unwrap_or(to);
    if let Some(positions) = net.positions("pos_embed", Grid { before: 0, from, to, how: Resample::BicubicAntialias, step: None }) {
        x = net.sum("pos_embed.add", x, positions)?;
    }
    for block in 0..depth {
        x = talking_block(&mut net, &format!("blocks.{block}"), x, heads)?;
    }
    let own = count(shapes, "blocks_token_only.");
    config.agrees("depth_token_only", own)?;
    let mut class = net.tensor("cls_token", &[1, 1, width], Role::Embedding);
    class = net.for_each_image("cls_token.expand", class)?;
    for block in 0..own {
        let at = |part: &str| format!("blocks_token_only.{block}.{part}");
        let all = net.concat(&at("tokens"), 1, &[class, x])?;
        let all = net.layer_norm(&at("norm1"), all, EPS)?;
        let mixed = class_attention(&mut net, &at("attn"), all, heads)?;
        let mixed = net.scaled(&at("gamma_1"), mixed)?;
        class = net.sum(&at("attn.add"), class, mixed)?;
        let more = net.layer_norm(&at("norm2"), class, EPS)?;
        let more = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], more, GELU)?;
        let more = net.scaled(&at("gamma_2"), more)?;
        class = net.sum(&at("mlp.add"), class, more)?;
    }
    x = net.concat("tokens", 1, &[class, x])?;
    x = head(&mut net, x, pool)?;
    net.finish(x, format!("CaiT, {depth} blocks of width {width}, {heads} heads, {pool} pooling, timm names"))
}

/// The first size of a tensor that has one number for every head; `num_heads` must be the same.
fn heads(net: &mut Layers, config: &Config, name: &str) -> Result<usize, ArchError> {
    let heads = net.look(name).and_then(|shape| shape.first().copied()).unwrap_or(0).max(1);
    if net.is_whole() {
        config.agrees("num_heads", heads)?;
    }
    Ok(heads)
}

/// How many blocks there are; depth and width must be those of the configuration.
fn sized(net: &Layers, config: &Config, source: &Source, prefix: &str, key: &str, width: usize) -> Result<usize, ArchError> {
    let depth = count(source.shapes, prefix);
    config.agrees(key, depth)?;
    if net.is_whole() {
        config.agrees("embed_dim", width)?;
    }
    Ok(depth)
}

fn head(net: &mut Layers, x: NodeId, pool: &str) -> Made {
    let x = net.layer_norm("norm", x, EPS)?;
    let x = pooled(net, pool, 1, x)?;
    if net.has("head.weight") { net.linear("head", x) } else { Ok(x) }
}

fn talking_block(net: &mut Layers, name: &str, input: NodeId, heads: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.layer_norm(&at("norm1"), input, EPS)?;
    let x = talking_heads(net, &at("attn"), x, heads)?;
    let x = net.scaled(&at("gamma_1"), x)?;
    let middle = net.sum(&at("attn.add"), input, x)?;
    let x = net.layer_norm(&at("norm2"), middle, EPS)?;
    let x = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], x, GELU)?;
    let x = net.scaled(&at("gamma_2"), x)?;
    net.sum(&at("mlp.add"), middle, x)
}

/// Scores mixed between heads before and behind the softmax (Shazeer et al., arXiv 2003.02436).
fn talking_heads(net: &mut Layers, name: &str, x: NodeId, heads: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let all = net.linear(&at("qkv"), x)?;
    let parts = net.split(&at("qkv.split"), all, 2, 3)?;
    let &[mut q, k, v] = parts.as_slice() else { return Ok(x) };
    if net.is_whole() {
        q = net.heads(&at("q"), q, heads)?;
        let k = net.heads(&at("k"), k, heads)?;
        let v = net.heads(&at("v"), v, heads)?;
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        let columns = net.transpose(&at("columns"), k, &[0, 1, 3, 2])?;
        let scores = net.matmul(&at("scores"), q, columns)?;
        let scores = net.affine(&at("scaled"), scores, scale, 0.0)?;
        let scores = between_heads(net, &at("proj_l"), scores)?;
        let shares = net.add(&at("shares"), Op::Softmax { axis: 3 }, &[scores])?;
        let shares = between_heads(net, &at("proj_w"), shares)?;
        q = net.matmul(&at("mixed"), shares, v)?;
        q = net.together(name, q)?;
    } else {
        for part in ["proj_l", "proj_w"] {
            net.linear(&at(part), x)?;
        }
    }
    net.linear(&at("proj"), q)
}

/// A linear layer over the heads of `[N, heads, queries, keys]`.
fn between_heads(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let last = net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
    let mixed = net.linear(name, last)?;
    net.transpose(&format!("{name}.first"), mixed, &[0, 3, 1, 2])
}

/// The class token attends to all tokens: `[N, 1, width]`.
fn class_attention(net: &mut Layers, name: &str, x: NodeId, heads: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let first = net.slice(&at("class"), x, 1, 0, 1)?;
    let mut q = net.linear(&at("q"), first)?;
    let k = net.linear(&at("k"), x)?;
    let v = net.linear(&at("v"), x)?;
    if net.is_whole() {
        q = net.heads(&at("q.heads"), q, heads)?;
        let k = net.heads(&at("k.heads"), k, heads)?;
        let v = net.heads(&at("v.heads"), v, heads)?;
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        q = net.attend(name, [q, k, v], scale, None)?;
    }
    net.linear(&at("proj"), q)
}

fn xcit(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let pool = pooling(config)?;
    let Some(kind) = config.name.as_ref().and_then(kind) else {
        return Err(ArchError::NeedsName {
            family: XCIT.name,
            what: "which tokens its last blocks normalise".into(),
            names: vec!["timm/xcit_nano_12_p16_224".into(), "timm/xcit_tiny_12_p16_224".into()],
        });
    };
    let all_normed = config.flag("tokens_norm", !kind.starts_with("nano"))?;
    config.shown(&["img_size", "use_pos_embed"]);
    let (mut net, input) = Layers::new(XCIT.name, shapes, "patch_embed.proj.0.0.weight", *size, 1e-5)?;
    let mut map = input;
    let convolutions = (0..shapes.len()).take_while(|i| net.has(&format!("patch_embed.proj.{}.0.weight", 2 * i))).count();
    // Each halves the map.
    if let Some(said) = config.count("patch_size")?.filter(|side| *side != 1 << convolutions.min(16)) {
        return Err(config.refused("patch_size", &said.into()));
    }
    for i in 0..convolutions.max(1) {
        let name = format!("patch_embed.proj.{}", 2 * i);
        map = net.conv_as(&format!("{name}.0"), map, Conv::new(2, 1))?;
        map = net.norm(&format!("{name}.1"), map)?;
        if i + 1 < convolutions {
            map = net.act(&format!("patch_embed.proj.{}", 2 * i + 1), GELU, map)?;
        }
    }
    let grid = net.size(map);
    let mut x = net.tokens("patch_embed.tokens", map)?;
    let width = net.width(x);
    let heads = heads(&mut net, config, "blocks.0.attn.temperature")?;
    let depth = sized(&net, config, source, "blocks.", "depth", width)?;
    if net.has("pos_embed.token_projection.weight") {
        x = waves(&mut net, x, grid)?;
    }
    for block in 0..depth {
        x = channel_block(&mut net, &format!("blocks.{block}"), x, heads, grid)?;
    }
    x = net.token_in_front("cls_token", x)?;
    let own = count(shapes, "cls_attn_blocks.");
    config.agrees("cls_attn_layers", own)?;
    for block in 0..own {
        x = class_block(&mut net, &format!("cls_attn_blocks.{block}"), x, heads, all_normed)?;
    }
    x = head(&mut net, x, pool)?;
    net.finish(x, format!("XCiT, {depth} blocks of width {width}, {heads} heads, {pool} pooling, timm names"))
}

/// With a linear layer of sines and cosines of the place, 32 for each axis.
fn waves(net: &mut Layers, x: NodeId, [height, width]: [usize; 2]) -> Made {
    const EACH: usize = 32;
    let channels = net.width(x);
    let of = |place: usize, size: usize| {
        let angle = (place as f64 + 1.0) / (size as f64 + 1e-6) * std::f64::consts::TAU;
        let wave = move |i: usize| {
            let angle = angle / 10_000f64.powf((2 * (i / 2)) as f64 / EACH as f64);
            if i.is_multiple_of(2) { angle.sin() as f32 } else { angle.cos() as f32 }
        };
        (0..EACH).map(wave)
    };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let values: Vec<f32> = places.flat_map(|(y, x)| of(y, height).chain(of(x, width))).collect();
    let constant = net.constant("pos_embed.waves", &[height * width, 2 * EACH], &values);
    let name = "pos_embed.token_projection";
    let weight = net.tensor(&format!("{name}.weight"), &[channels, 2 * EACH, 1, 1], Role::Weight);
    let weight = net.reshape_fixed(&format!("{name}.matrix"), weight, &[channels, 2 * EACH])?;
    let weight = net.transpose(&format!("{name}.columns"), weight, &[1, 0])?;
    let bias = net.tensor(&format!("{name}.bias"), &[channels], Role::Bias);
    let projected = net.matmul(name, constant, weight)?;
    let projected = net.sum(&format!("{name}.shifted"), projected, bias)?;
    net.sum("pos_embed.add", x, projected)
}

fn channel_block(net: &mut Layers, name: &str, input: NodeId, heads: usize, grid: [usize; 2]) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.layer_norm(&at("norm1"), input, EPS)?;
    let x = channel_attention(net, &at("attn"), x, heads)?;
    let x = net.scaled(&at("gamma1"), x)?;
    let first = net.sum(&at("attn.add"), input, x)?;
    let x = net.layer_norm(&at("norm3"), first, EPS)?;
    let x = neighbours(net, &at("local_mp"), x, grid)?;
    let x = net.scaled(&at("gamma3"), x)?;
    let second = net.sum(&at("local_mp.add"), first, x)?;
    let x = net.layer_norm(&at("norm2"), second, EPS)?;
    let x = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], x, GELU)?;
    let x = net.scaled(&at("gamma2"), x)?;
    net.sum(&at("mlp.add"), second, x)
}

fn channel_attention(net: &mut Layers, name: &str, x: NodeId, heads: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let temperature = net.tensor(&at("temperature"), &[heads, 1, 1], Role::Scale);
    let all = net.linear(&at("qkv"), x)?;
    let parts = net.split(&at("qkv.split"), all, 2, 3)?;
    let &[mut mixed, k, v] = parts.as_slice() else { return Ok(x) };
    if net.is_whole() {
        let mut of = |part: NodeId, name: &str| {
            let apart = net.heads(&at(name), part, heads)?;
            net.transpose(&at(&format!("{name}.channels")), apart, &[0, 1, 3, 2])
        };
        let (q, k, v) = (of(mixed, "q")?, of(k, "k")?, of(v, "v")?);
        let q = net.unit_length(&at("q.unit"), q, 3, 1e-12)?;
        let k = net.unit_length(&at("k.unit"), k, 3, 1e-12)?;
        let columns = net.transpose(&at("k.columns"), k, &[0, 1, 3, 2])?;
        let scores = net.matmul(&at("scores"), q, columns)?;
        let scores = net.mul(&at("scaled"), scores, temperature)?;
        let shares = net.add(&at("shares"), Op::Softmax { axis: 3 }, &[scores])?;
        mixed = net.matmul(&at("mixed"), shares, v)?;
        mixed = net.transpose(&at("mixed.places"), mixed, &[0, 1, 3, 2])?;
        mixed = net.together(name, mixed)?;
    }
    net.linear(&at("proj"), mixed)
}

/// Two convolutions of each channel with itself.
fn neighbours(net: &mut Layers, name: &str, x: NodeId, grid: [usize; 2]) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let groups = net.width(x);
    let how = Conv { groups, ..Conv::new(1, 1) };
    let x = net.map(&at("map"), x, grid)?;
    let x = net.conv_as(&at("conv1"), x, how)?;
    let x = net.act(&at("act"), GELU, x)?;
    let x = net.norm(&at("bn"), x)?;
    let x = net.conv_as(&at("conv2"), x, how)?;
    net.tokens(&at("tokens"), x)
}

fn class_block(net: &mut Layers, name: &str, input: NodeId, heads: usize, all_normed: bool) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let tokens = net.dims(input).first().copied().unwrap_or(0);
    let normed = net.layer_norm(&at("norm1"), input, EPS)?;
    let mixed = class_attention(net, &at("attn"), normed, heads)?;
    let rest = net.slice(&at("attn.rest"), normed, 1, 1, tokens)?;
    let mixed = net.concat(&at("attn.tokens"), 1, &[mixed, rest])?;
    let mixed = net.scaled(&at("gamma1"), mixed)?;
    let mut x = net.sum(&at("attn.add"), input, mixed)?;
    if all_normed {
        x = net.layer_norm(&at("norm2"), x, EPS)?;
    }
    let mut class = net.slice(&at("class"), x, 1, 0, 1)?;
    let rest = net.slice(&at("rest"), x, 1, 1, tokens)?;
    if !all_normed {
        class = net.layer_norm(&at("norm2"), class, EPS)?;
    }
    // What the MLP makes is added to the class token; the others are added to themselves.
    let more = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], class, GELU)?;
    let more = net.scaled(&at("gamma2"), more)?;
    let class = net.sum(&at("mlp.add"), class, more)?;
    let rest = net.affine(&at("rest.twice"), rest, 2.0, 0.0)?;
    net.concat(&at("tokens"), 1, &[class, rest])
}
