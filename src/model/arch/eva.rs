//! EVA (Fang et al., arXiv 2211.07636), EVA-02 (2303.11331), `DINOv3` (Siméoni et al., 2508.10104), the Perception Encoder (Bolya et al.,
//! 2504.13181), `RoPE`-`ViT` (Heo et al., 2403.13298), `LingBot`-Vision (2607.05247) and Sapiens2 (2604.21681) under timm's names.
//!
//! One network with many options. Which biases, norms, factors and gates there are, and how many heads keys have, the tensors show; heads of
//! queries, how positions turn queries and keys, where norms stand and how tokens are pooled only the name and `model_args` say. Learnt
//! frequencies of rotary positions (`rope.freqs`) are computed with as they are, and do not train.
//!
//! `variants` holds what a name says, `rope` how positions turn queries and keys.

mod rope;
mod variants;

use super::config::{Config, Library};
use super::layers::{Grid, Layers, count};
use super::made::Resample;
use super::token_parts::{Rotation, biased_by, grid_in_file, index_array, patch, patches, pooled, relative, shifted, sides};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};
use rope::{Rope, Turning, angles};
use variants::{BEITS, DINO, Style, VARIANTS, Variant};

type Made = Result<NodeId, ArchError>;

pub(super) static FAMILY: Family = Family {
    name: "eva",
    about: "EVA, EVA-02, DINOv3, Perception Encoder, RoPE-ViT, LingBot-Vision and Sapiens2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(VARIANTS.iter().map(|variant| variant.0)),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let biased = has("blocks.0.attn.relative_position_bias_table") || has("rel_pos_bias.relative_position_bias_table");
        let own = has("blocks.0.attn.q_proj.weight") || has("blocks.0.attn.q_bias") || has("blocks.0.gamma_1");
        if has("patch_embed.proj.weight") && has("blocks.0.mlp.fc2.weight") && own && !biased { Likeness::Yes } else { Likeness::No }
    },
    build: |source| build_as(&FAMILY, &VARIANTS, source),
};

/// `BEiT` (Bao et al., arXiv 2106.08254) and `BEiT` v2 (2208.06366): scores have a learnt bias by the offset between places.
pub(super) static BEIT: Family = Family {
    name: "beit-timm",
    about: "BEiT and BEiT v2 under timm's names",
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(BEITS.iter().map(|variant| variant.0)),
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let biased = has("blocks.0.attn.relative_position_bias_table") || has("rel_pos_bias.relative_position_bias_table");
        if has("patch_embed.proj.weight") && has("cls_token") && biased { Likeness::Yes } else { Likeness::No }
    },
    build: |source| build_as(&BEIT, &BEITS, source),
    ..FAMILY
};

/// What tensors do not show.
struct Asked<'a> {
    style: Style,
    heads: usize,
    pool: &'a str,
    pool_heads: usize,
    /// Height and width of the images that learnt positions are for.
    image: Option<[usize; 2]>,
}

impl<'a> Asked<'a> {
    fn of(family: &Family, variants: &[Variant], config: &Config<'a>) -> Result<Self, ArchError> {
        let named = |variant: &&Variant| config.name.as_ref().is_some_and(|name| name.is_one_of([variant.0]));
        let Some(&(_, heads, style, pool)) = variants.iter().find(named) else {
            return Err(ArchError::NeedsName {
                family: family.name,
                what: "heads, pooling and how positions enter".into(),
                names: variants.iter().step_by(variants.len() / 2).take(2).map(|variant| format!("timm/{}", variant.0)).collect(),
            });
        };
        config.shown(&[
            "attn_drop_rate",
            "attn_only_layer_scale",
            "attn_pool_mlp_ratio",
            "attn_type",
            "class_token",
            "dynamic_img_size",
            "head_init_scale",
            "init_values",
            "mlp_ratio",
            "num_kv_heads",
            "patch_drop_rate",
            "pos_drop_rate",
            "proj_drop_rate",
            "qk_norm",
            "qkv_bias",
            "qkv_fused",
            "rope_jitter_coords",
            "rope_rescale_coords",
            "rope_shift_coords",
            "scale_attn_inner",
            "scale_mlp",
            "swiglu_align_to",
            "swiglu_mlp",
            "use_abs_pos_emb",
            "use_fc_norm",
            "use_rel_pos_bias",
            "use_shared_rel_pos_bias",
            "use_post_transformer_norm",
            "use_pre_transformer_norm",
        ]);
        config.only("dynamic_img_pad", false)?;
        let mut style = *style;
        style.post_norm = config.flag("use_post_norm", style.post_norm)?;
        style.no_embed = config.flag("no_embed_class", style.no_embed)?;
        style.rope = Rope::of(config, style.rope)?;
        let heads = config.count("num_heads")?.unwrap_or(heads);
        let pool = config.pooling(pool)?;
        if !["avg", "max", "avgmax", "token", "map"].contains(&pool) {
            return Err(config.refused("global_pool", &pool.into()));
        }
        let pool_heads = config.count("attn_pool_num_heads")?.or(style.pool_heads).unwrap_or(heads);
        Ok(Self { style, heads, pool, pool_heads, image: sides(config, "img_size")? })
    }
}

fn build_as(family: &'static Family, variants: &[Variant], source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = Asked::of(family, variants, config)?;
    let stem = "patch_embed.proj.weight";
    let (mut net, input) = Layers::new(family.name, shapes, stem, *size, 1e-5)?;
    let patch = patch(&mut net, config, stem, "patch_size")?;
    let map = patches(&mut net, "patch_embed.proj", input, patch)?;
    let grid = net.size(map);
    let mut x = net.tokens("patch_embed.tokens", map)?;
    let depth = count(shapes, "blocks.");
    config.agrees("depth", depth)?;
    let width = net.width(x);
    if net.is_whole() {
        config.agrees("embed_dim", width)?;
    }
    let tokens_of = |name: &str| shapes.get(name).and_then(|shape| shape.get(1)).copied().unwrap_or(0);
    config.agrees("num_reg_tokens", tokens_of("reg_token"))?;
    let before = tokens_of("cls_token") + tokens_of("reg_token");
    if asked.pool == "token" && !net.has("cls_token") {
        return Err(config.refused("global_pool", &"token".into()));
    }
    if net.has("pos_embed") && asked.style.no_embed {
        x = placed(&mut net, x, &asked, patch, 0, grid)?;
    }
    for token in ["reg_token", "cls_token"] {
        if net.has(token) {
            x = net.token_in_front(token, x)?;
        }
    }
    if net.has("pos_embed") && !asked.style.no_embed {
        x = placed(&mut net, x, &asked, patch, before, grid)?;
    }
    if net.has("norm_pre.weight") {
        x = norm(&mut net, "norm_pre", x, &asked)?;
    }
    let turning = Turning::of(&mut net, &asked, depth, before, grid, width)?;
    let shared = bias_by_offset(&mut net, "rel_pos_bias", grid, None)?;
    for block in 0..depth {
        let name = format!("blocks.{block}");
        let bias = bias_by_offset(&mut net, &format!("{name}.attn"), grid, shared)?;
        let turn = turning.at(&mut net, block)?;
        x = residual(&mut net, shapes, &name, x, &asked, &Scores { turn, bias })?;
    }
    x = head(&mut net, x, &asked, before)?;
    let Asked { style, heads, pool, .. } = &asked;
    net.finish(x, format!("{}, {depth} blocks of width {width}, {heads} heads, {pool} pooling, timm names", style.title))
}

/// With learnt positions.
fn placed(net: &mut Layers, x: NodeId, asked: &Asked, patch: [usize; 2], before: usize, to: [usize; 2]) -> Made {
    let rows = net.look("pos_embed").and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let from = grid_in_file(asked.image, patch, rows.saturating_sub(before)).unwrap_or(to);
    let grid = Grid { before, from, to, how: Resample::BicubicAntialias, step: None };
    match net.positions("pos_embed", grid) {
        Some(positions) => net.sum("pos_embed.add", x, positions),
        None => Ok(x),
    }
}

/// What is added to scores for the offset between two places, by a table of that name where the file has one, and by `shared`.
fn bias_by_offset(net: &mut Layers, name: &str, grid: [usize; 2], shared: Option<NodeId>) -> Result<Option<NodeId>, ArchError> {
    let table = format!("{name}.relative_position_bias_table");
    if !net.has(&table) || !net.is_whole() {
        return Ok(shared);
    }
    let found = net.look(&table).unwrap_or_default();
    let rows = (2 * grid[0]).saturating_sub(1) * (2 * grid[1]).saturating_sub(1) + 3;
    if found.len() != 2 || found[0] != rows {
        net.misfit(&table, &found, &format!("[{rows}, heads] for images of this size"), NodeId(0));
        return Ok(shared);
    }
    let tokens = grid[0] * grid[1] + 1;
    let index = relative(grid);
    net.buffer(&format!("{name}.relative_position_index"), index_array(&[tokens, tokens], &index));
    let table = net.tensor(&table, &found, Role::Embedding);
    let bias = biased_by(net, name, table, tokens, &index)?;
    match shared {
        None => Ok(Some(bias)),
        Some(shared) => net.sum(&format!("{name}.bias.both"), bias, shared).map(Some),
    }
}

/// What enters scores beyond queries and keys.
struct Scores {
    turn: Option<Rotation>,
    bias: Option<NodeId>,
}

/// The angles of `DINOv3` with a base of this temperature.
pub(super) fn centred(temperature: f64, grid: [usize; 2], d: usize) -> Vec<f32> {
    angles(Rope { temperature, ..DINO.rope }, grid, d)
}

fn norm(net: &mut Layers, name: &str, x: NodeId, asked: &Asked) -> Made {
    if asked.style.rms { net.rms_norm(name, x, asked.style.eps) } else { net.layer_norm(name, x, asked.style.eps) }
}

fn residual(net: &mut Layers, shapes: &Shapes, name: &str, input: NodeId, asked: &Asked, scores: &Scores) -> Made {
    let mut x = input;
    for (i, part) in [(1, "attn"), (2, "mlp")] {
        let (inner, norm_name) = (format!("{name}.{part}"), format!("{name}.norm{i}"));
        let mut y = if asked.style.post_norm { x } else { norm(net, &norm_name, x, asked)? };
        y = if i == 1 { attention(net, &inner, y, asked, scores)? } else { mlp(net, shapes, &inner, y, asked)? };
        if asked.style.post_norm {
            y = norm(net, &norm_name, y, asked)?;
        }
        y = net.scaled(&format!("{name}.gamma_{i}"), y)?;
        x = net.sum(&format!("{inner}.add"), x, y)?;
    }
    Ok(x)
}

fn attention(net: &mut Layers, name: &str, x: NodeId, asked: &Asked, scores: &Scores) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let width = net.width(x);
    let [mut q, mut k, mut v] = projections(net, name, x)?;
    if net.is_whole() {
        let d = net.width(q) / asked.heads;
        let groups = |width: usize| width / d.max(1);
        let key_heads = groups(net.width(k));
        q = net.heads(&at("q"), q, asked.heads)?;
        k = net.heads(&at("k"), k, key_heads)?;
        v = net.heads(&at("v"), v, key_heads)?;
        if net.has(&at("q_norm.weight")) {
            q = norm(net, &at("q_norm"), q, asked)?;
            k = norm(net, &at("k_norm"), k, asked)?;
        }
        if let Some(turn) = &scores.turn {
            q = turn.turn(net, &at("q"), q)?;
            k = turn.turn(net, &at("k"), k)?;
        }
        if key_heads != asked.heads {
            // A head of keys serves several heads of queries.
            if key_heads == 0 || !asked.heads.is_multiple_of(key_heads) {
                return Err(ArchError::Unsupported(format!("`{name}`: {} heads cannot share {key_heads} heads of keys", asked.heads)));
            }
            let served: Vec<usize> = (0..asked.heads).map(|head| head / (asked.heads / key_heads)).collect();
            k = net.select(&at("k.shared"), k, 1, served.clone())?;
            v = net.select(&at("v.shared"), v, 1, served)?;
        }
        q = net.attend(name, [q, k, v], (d.max(1) as f64).powf(-0.5), scores.bias)?;
    }
    if net.has(&at("norm.weight")) {
        q = norm(net, &at("norm"), q, asked)?;
    }
    let out = net.linear(&at("proj"), q)?;
    if net.is_whole() && net.width(out) != width {
        return Err(ArchError::Unsupported(format!("`{name}.proj` has another width than the network")));
    }
    Ok(out)
}

/// Queries, keys and values. Where one linear layer makes them, keys have no bias, and the others one that is a tensor of its own; or all
/// have one together.
fn projections(net: &mut Layers, name: &str, x: NodeId) -> Result<[NodeId; 3], ArchError> {
    let at = |part: &str| format!("{name}.{part}");
    if !net.has(&at("qkv.weight")) {
        return Ok([net.linear(&at("q_proj"), x)?, net.linear(&at("k_proj"), x)?, net.linear(&at("v_proj"), x)?]);
    }
    let all = net.linear(&at("qkv"), x)?;
    let parts = net.split(&at("qkv.split"), all, 2, 3)?;
    let &[mut q, k, mut v] = parts.as_slice() else { return Ok([x; 3]) };
    let [of_q, of_v] = ["q_bias", "v_bias"].map(|part| net.may_have(&at(part)));
    if of_q || of_v {
        q = shifted(net, &at("q_bias"), q)?;
        v = shifted(net, &at("v_bias"), v)?;
    }
    Ok([q, k, v])
}

fn mlp(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId, asked: &Asked) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let mut hidden;
    if net.has(&at("fc1_g.weight")) {
        let gate = net.linear(&at("fc1_g"), x)?;
        let gate = net.act(&at("act"), Unary::Silu, gate)?;
        let value = net.linear(&at("fc1_x"), x)?;
        hidden = net.mul(&at("gated"), gate, value)?;
    } else {
        hidden = net.linear(&at("fc1"), x)?;
        let needed = shapes.get(&at("fc2.weight")).and_then(|shape| shape.get(1)).copied().unwrap_or(0);
        // Twice as many as are needed: the first half are gates.
        if net.is_whole() && net.width(hidden) == 2 * needed {
            let gate = net.slice(&at("gate"), hidden, 2, 0, needed)?;
            let gate = net.act(&at("act"), Unary::Silu, gate)?;
            let value = net.slice(&at("value"), hidden, 2, needed, 2 * needed)?;
            hidden = net.mul(&at("gated"), gate, value)?;
        } else {
            hidden = net.act(&at("act"), Unary::Gelu { tanh: false }, hidden)?;
        }
    }
    if net.has(&at("norm.weight")) {
        hidden = norm(net, &at("norm"), hidden, asked)?;
    }
    net.linear(&at("fc2"), hidden)
}

/// Norms, pooling and the classifier, which the tensors show.
fn head(net: &mut Layers, mut x: NodeId, asked: &Asked, before: usize) -> Made {
    if net.has("norm.weight") {
        x = norm(net, "norm", x, asked)?;
    }
    x = if asked.pool == "map" { attention_pool(net, x, asked)? } else { pooled(net, asked.pool, before, x)? };
    if net.has("fc_norm.weight") {
        x = norm(net, "fc_norm", x, asked)?;
    }
    if net.has("head.weight") { net.linear("head", x) } else { Ok(x) }
}

/// A learnt query attends to all tokens.
fn attention_pool(net: &mut Layers, x: NodeId, asked: &Asked) -> Made {
    let width = net.width(x);
    let latent = net.tensor("attn_pool.latent", &[1, 1, width], Role::Embedding);
    let latent = net.for_each_image("attn_pool.latent.expand", latent)?;
    let mut q = net.linear("attn_pool.q", latent)?;
    let kv = net.linear("attn_pool.kv", x)?;
    if net.is_whole() {
        let parts = net.split("attn_pool.kv.split", kv, 2, 2)?;
        let &[k, v] = parts.as_slice() else { return Ok(x) };
        q = net.heads("attn_pool.q.heads", q, asked.pool_heads)?;
        let k = net.heads("attn_pool.k.heads", k, asked.pool_heads)?;
        let v = net.heads("attn_pool.v.heads", v, asked.pool_heads)?;
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        q = net.attend("attn_pool", [q, k, v], scale, None)?;
    }
    let mixed = net.linear("attn_pool.proj", q)?;
    let normed = norm(net, "attn_pool.norm", mixed, asked)?;
    let more = net.mlp(["attn_pool.mlp.fc1", "attn_pool.mlp.fc2"], normed, Unary::Gelu { tanh: false })?;
    let sum = net.sum("attn_pool.add", mixed, more)?;
    net.pick("attn_pool.pick", sum, 1, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_alone_do_not_show_heads() {
        let shapes = Shapes::from([("patch_embed.proj.weight".to_owned(), vec![8, 3, 4, 4])]);
        let told = |family: &Family| (family.build)(&Source::plain(&shapes, [32, 32])).expect_err("refused").to_string();
        assert!(told(&FAMILY).contains("--arch, such as timm/eva02_base_patch14_224 or timm/"), "{}", told(&FAMILY));
        assert!(told(&BEIT).contains("timm/beit_base_patch16_224"), "{}", told(&BEIT));
    }

    #[test]
    fn middles_of_patches_turn_from_minus_to_plus_one() {
        let angles = centred(100.0, [1, 2], 4);
        let half = std::f32::consts::PI;
        assert!(angles.len() == 4 && angles.iter().zip([0.0, -half, 0.0, half]).all(|(a, b)| (a - b).abs() < 1e-6), "{angles:?}");
    }
}
