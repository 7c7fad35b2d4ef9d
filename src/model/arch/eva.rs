//! EVA (Fang et al., arXiv 2211.07636), EVA-02 (2303.11331), `DINOv3` (Siméoni et al., 2508.10104), the Perception Encoder (Bolya et al.,
//! 2504.13181), `RoPE`-`ViT` (Heo et al., 2403.13298), `LingBot`-Vision (2607.05247) and Sapiens2 (2604.21681) under timm's names.
//!
//! One network with many options. Which biases, norms, factors and gates there are, and how many heads keys have, the tensors show; heads of
//! queries, how positions turn queries and keys, where norms stand and how tokens are pooled only the name and `model_args` say. Learnt
//! frequencies of rotary positions (`rope.freqs`) are computed with as they are, and do not train.

use super::config::{Config, Library};
use super::layers::{Grid, Layers, count};
use super::made::Resample;
use super::token_parts::{Rotation, array, biased_by, grid_in_file, index_array, patch, patches, pooled, relative, shifted, sides, turns};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};

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

/// What rotary positions count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Places {
    /// Patches from 0, scaled to a grid of reference.
    Index,
    /// Middles of patches from -1 to 1.
    Centred,
    /// Patches from 0, times frequencies in the file that every block and head has its own of.
    Learnt,
}

/// Rotary positions.
#[derive(Clone, Copy)]
struct Rope {
    on: bool,
    places: Places,
    temperature: f64,
    /// Added to every place.
    offset: f64,
    /// Across before down.
    across_first: bool,
    /// Halves of a head are paired, not neighbours.
    half: bool,
    /// Grid that places are scaled to.
    reference: Option<[usize; 2]>,
}

/// What the networks of a kind have in common that their tensors do not show.
#[derive(Clone, Copy)]
struct Style {
    title: &'static str,
    rope: Rope,
    eps: f64,
    /// Norms by the root of the mean square.
    rms: bool,
    /// Norms behind attention and MLP, not before.
    post_norm: bool,
    /// Class and register tokens have no learnt position.
    no_embed: bool,
    /// Heads of the pooling by attention, where it has its own.
    pool_heads: Option<usize>,
}

const NO_ROPE: Rope =
    Rope { on: false, places: Places::Index, temperature: 10_000.0, offset: 0.0, across_first: false, half: false, reference: None };
const EVA: Style = Style { title: "EVA", rope: NO_ROPE, eps: 1e-6, rms: false, post_norm: false, no_embed: false, pool_heads: None };
const BEIT_STYLE: Style = Style { title: "BEiT", ..EVA };
const POST_NORM: Style = Style { post_norm: true, ..EVA };
const EVA02: Style = Style { title: "EVA02", rope: Rope { on: true, reference: Some([16; 2]), ..NO_ROPE }, ..EVA };
const DINO: Style = Style {
    title: "DINOv3",
    rope: Rope { on: true, places: Places::Centred, temperature: 100.0, half: true, ..NO_ROPE },
    eps: 1e-5,
    ..EVA
};
const SAPIENS: Style = Style { title: "Sapiens2", eps: 1e-6, rms: true, ..DINO };
const AXIAL: Style = Style { title: "RoPE ViT", rope: Rope { on: true, temperature: 100.0, across_first: true, ..NO_ROPE }, ..EVA };
const AXIAL_APE: Style = Style { no_embed: true, ..AXIAL };
const MIXED: Style = Style { rope: Rope { places: Places::Learnt, temperature: 10.0, ..AXIAL.rope }, ..AXIAL };
const MIXED_APE: Style = Style { no_embed: true, ..MIXED };
const PE_14: Style = perception([14; 2], 1.0);
const PE_24: Style = perception([24; 2], 1.0);
const PE_32: Style = perception([32; 2], 1.0);
const PE_32_0: Style = perception([32; 2], 0.0);

const fn perception(reference: [usize; 2], offset: f64) -> Style {
    let rope = Rope { on: true, offset, across_first: true, reference: Some(reference), ..NO_ROPE };
    Style { title: "Perception Encoder", rope, eps: 1e-5, pool_heads: Some(8), ..EVA }
}

/// A name of timm, its heads, its kind, its pooling.
type Variant = (&'static str, usize, &'static Style, &'static str);

static VARIANTS: [Variant; 65] = [
    ("eva02_base_patch14_224", 12, &EVA02, "avg"),
    ("eva02_base_patch14_448", 12, &EVA02, "avg"),
    ("eva02_base_patch16_clip_224", 12, &EVA02, "token"),
    ("eva02_enormous_patch14_clip_224", 16, &POST_NORM, "token"),
    ("eva02_large_patch14_224", 16, &EVA02, "avg"),
    ("eva02_large_patch14_448", 16, &EVA02, "avg"),
    ("eva02_large_patch14_clip_224", 16, &EVA02, "token"),
    ("eva02_large_patch14_clip_336", 16, &EVA02, "token"),
    ("eva02_small_patch14_224", 6, &EVA02, "avg"),
    ("eva02_small_patch14_336", 6, &EVA02, "avg"),
    ("eva02_tiny_patch14_224", 3, &EVA02, "avg"),
    ("eva02_tiny_patch14_336", 3, &EVA02, "avg"),
    ("eva_giant_patch14_224", 16, &EVA, "avg"),
    ("eva_giant_patch14_336", 16, &EVA, "avg"),
    ("eva_giant_patch14_560", 16, &EVA, "avg"),
    ("eva_giant_patch14_clip_224", 16, &EVA, "token"),
    ("vit_5b_patch16_sapiens2", 32, &SAPIENS, "token"),
    ("vit_7b_patch16_dinov3", 32, &DINO, "avg"),
    ("vit_base_patch16_dinov3", 12, &DINO, "avg"),
    ("vit_base_patch16_dinov3_qkvb", 12, &DINO, "avg"),
    ("vit_base_patch16_lingbot", 12, &DINO, "token"),
    ("vit_base_patch16_rope_224", 12, &AXIAL, "token"),
    ("vit_base_patch16_rope_ape_224", 12, &AXIAL_APE, "token"),
    ("vit_base_patch16_rope_mixed_224", 12, &MIXED, "token"),
    ("vit_base_patch16_rope_mixed_ape_224", 12, &MIXED_APE, "token"),
    ("vit_base_patch16_rope_reg1_gap_256", 12, &EVA02, "avg"),
    ("vit_base_patch16_sapiens2", 12, &SAPIENS, "token"),
    ("vit_betwixt_patch16_rope_reg4_gap_256", 10, &EVA02, "avg"),
    ("vit_giant_patch16_lingbot", 24, &DINO, "token"),
    ("vit_giant_patch16_sapiens2", 24, &SAPIENS, "token"),
    ("vit_huge_patch16_sapiens2", 16, &SAPIENS, "token"),
    ("vit_huge_plus_patch16_dinov3", 20, &DINO, "avg"),
    ("vit_huge_plus_patch16_dinov3_qkvb", 20, &DINO, "avg"),
    ("vit_large_patch16_dinov3", 16, &DINO, "avg"),
    ("vit_large_patch16_dinov3_qkvb", 16, &DINO, "avg"),
    ("vit_large_patch16_lingbot", 16, &DINO, "token"),
    ("vit_large_patch16_rope_224", 16, &AXIAL, "token"),
    ("vit_large_patch16_rope_ape_224", 16, &AXIAL_APE, "token"),
    ("vit_large_patch16_rope_mixed_224", 16, &MIXED, "token"),
    ("vit_large_patch16_rope_mixed_ape_224", 16, &MIXED_APE, "token"),
    ("vit_large_patch16_sapiens2", 16, &SAPIENS, "token"),
    ("vit_medium_patch16_rope_reg1_gap_256", 8, &EVA02, "avg"),
    ("vit_mediumd_patch16_rope_reg1_gap_256", 8, &EVA02, "avg"),
    ("vit_pe_core_base_patch16_224", 12, &PE_14, "map"),
    ("vit_pe_core_gigantic_patch14_448", 16, &PE_32_0, "map"),
    ("vit_pe_core_large_patch14_336", 16, &PE_24, "map"),
    ("vit_pe_core_small_patch16_384", 6, &PE_24, "map"),
    ("vit_pe_core_tiny_patch16_384", 3, &PE_24, "map"),
    ("vit_pe_lang_gigantic_patch14_448", 16, &PE_32_0, "avg"),
    ("vit_pe_lang_large_patch14_448", 16, &PE_32, "avg"),
    ("vit_pe_spatial_base_patch16_512", 12, &PE_32, "avg"),
    ("vit_pe_spatial_gigantic_patch14_448", 16, &PE_32_0, "avg"),
    ("vit_pe_spatial_large_patch14_448", 16, &PE_32, "avg"),
    ("vit_pe_spatial_small_patch16_512", 6, &PE_32, "avg"),
    ("vit_pe_spatial_tiny_patch16_512", 3, &PE_32, "avg"),
    ("vit_small_patch16_dinov3", 6, &DINO, "avg"),
    ("vit_small_patch16_dinov3_qkvb", 6, &DINO, "avg"),
    ("vit_small_patch16_lingbot", 6, &DINO, "token"),
    ("vit_small_patch16_rope_224", 6, &AXIAL, "token"),
    ("vit_small_patch16_rope_ape_224", 6, &AXIAL_APE, "token"),
    ("vit_small_patch16_rope_mixed_224", 6, &MIXED, "token"),
    ("vit_small_patch16_rope_mixed_ape_224", 6, &MIXED_APE, "token"),
    ("vit_small_plus_patch16_dinov3", 6, &DINO, "avg"),
    ("vit_small_plus_patch16_dinov3_qkvb", 6, &DINO, "avg"),
    ("vit_tiny_patch16_dinov3_qkvb", 3, &DINO, "avg"),
];

static BEITS: [Variant; 7] = [
    ("beit_base_patch16_224", 12, &BEIT_STYLE, "avg"),
    ("beit_base_patch16_384", 12, &BEIT_STYLE, "avg"),
    ("beit_large_patch16_224", 16, &BEIT_STYLE, "avg"),
    ("beit_large_patch16_384", 16, &BEIT_STYLE, "avg"),
    ("beit_large_patch16_512", 16, &BEIT_STYLE, "avg"),
    ("beitv2_base_patch16_224", 12, &BEIT_STYLE, "avg"),
    ("beitv2_large_patch16_224", 16, &BEIT_STYLE, "avg"),
];

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
        style.rope = rope(config, style.rope)?;
        let heads = config.count("num_heads")?.unwrap_or(heads);
        let pool = config.pooling(pool)?;
        if !["avg", "max", "avgmax", "token", "map"].contains(&pool) {
            return Err(config.refused("global_pool", &pool.into()));
        }
        let pool_heads = config.count("attn_pool_num_heads")?.or(style.pool_heads).unwrap_or(heads);
        Ok(Self { style, heads, pool, pool_heads, image: sides(config, "img_size")? })
    }
}

fn rope(config: &Config, own: Rope) -> Result<Rope, ArchError> {
    let places = match config.text("rope_type")? {
        None => own.places,
        Some("cat") => Places::Index,
        Some("dinov3") => Places::Centred,
        Some("mixed") => Places::Learnt,
        Some(other) => return Err(config.refused("rope_type", &other.into())),
    };
    let across_first = match config.text("rope_grid_indexing")? {
        None => own.across_first,
        Some("ij") => false,
        Some("xy") => true,
        Some(other) => return Err(config.refused("rope_grid_indexing", &other.into())),
    };
    let temperature = config.number("rope_temperature")?.unwrap_or(own.temperature);
    if temperature <= 0.0 {
        return Err(config.refused("rope_temperature", &temperature.into()));
    }
    Ok(Rope {
        on: config.flag("use_rot_pos_emb", own.on)?,
        places,
        temperature,
        offset: config.number("rope_grid_offset")?.unwrap_or(own.offset),
        across_first,
        half: config.flag("rope_rotate_half", own.half)?,
        reference: sides(config, "ref_feat_shape")?.or(own.reference),
    })
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

/// How each block turns queries and keys.
enum Turning {
    Not,
    Alike(Rotation),
    /// Cosines and signed sines `[2, blocks, heads, tokens, d]`.
    Apart(NodeId),
}

impl Turning {
    fn of(net: &mut Layers, asked: &Asked, depth: usize, before: usize, grid: [usize; 2], width: usize) -> Result<Self, ArchError> {
        let rope = asked.style.rope;
        if !rope.on || !net.is_whole() {
            return Ok(Self::Not);
        }
        let d = width / asked.heads;
        if d == 0 || !d.is_multiple_of(4) {
            return Err(ArchError::Unsupported(format!("heads of {d} numbers have no rotary positions of two axes")));
        }
        if rope.places != Places::Learnt {
            let angles = angles(rope, grid, d);
            return Ok(Self::Alike(Rotation::constant(net, "rope", &angles, d / 2, before, rope.half)));
        }
        let shape = [2, depth, asked.heads, d / 2];
        let Some(found) = net.look("rope.freqs") else { return Ok(Self::Not) };
        if found != shape {
            net.misfit("rope.freqs", &found, &format!("{shape:?}"), NodeId(0));
            return Ok(Self::Not);
        }
        let full = [2, depth, asked.heads, before + grid[0] * grid[1], d];
        let made = net.made(&["rope.freqs"], &full, Role::Constant, move |tensors| {
            let all: Vec<f32> = tensors.iter().flat_map(|tensor| tensor.iter().copied()).collect();
            let (first, second) = all.split_at(all.len() / 2);
            let of_head = |(first, second): (&[f32], &[f32])| {
                let angles: Vec<f32> = places(grid, rope.across_first)
                    .flat_map(|[a, b]| first.iter().zip(second).map(move |(f, g)| a as f32 * f + b as f32 * g))
                    .collect();
                turns(&angles, d / 2, before, false)
            };
            let [cos, sin]: [Vec<Vec<f32>>; 2] = {
                let heads = first.chunks_exact(d / 2).zip(second.chunks_exact(d / 2)).map(of_head);
                let (cos, sin) = heads.map(|[cos, sin]| (cos, sin)).unzip();
                [cos, sin]
            };
            array(&full, [cos.concat(), sin.concat()].concat())
        });
        Ok(made.map_or(Self::Not, Self::Apart))
    }

    fn at(&self, net: &mut Layers, block: usize) -> Result<Option<Rotation>, ArchError> {
        match self {
            Self::Not => Ok(None),
            Self::Alike(rotation) => Ok(Some(rotation.clone())),
            Self::Apart(all) => {
                let shape = net.whole(*all);
                let dims = shape.get(2..).unwrap_or_default().to_vec();
                let own = net.slice(&format!("rope.{block}"), *all, 1, block, block + 1)?;
                let mut part = |name: &str, i: usize| {
                    let one = net.slice(&format!("rope.{block}.{name}.slice"), own, 0, i, i + 1)?;
                    net.reshape_fixed(&format!("rope.{block}.{name}"), one, &dims)
                };
                let (cos, sin) = (part("cos", 0)?, part("sin", 1)?);
                Ok(Some(Rotation::of(cos, sin, false)))
            }
        }
    }
}

/// The places of a grid, row by row.
fn places(grid: [usize; 2], across_first: bool) -> impl Iterator<Item = [f64; 2]> {
    let [height, width] = grid;
    (0..height)
        .flat_map(move |y| (0..width).map(move |x| [y as f64, x as f64]))
        .map(move |[y, x]| if across_first { [x, y] } else { [y, x] })
}

/// The angle of every place and pair: half of the pairs turn by the one axis, half by the other.
fn angles(rope: Rope, grid: [usize; 2], d: usize) -> Vec<f32> {
    let of = |list: [usize; 2]| if rope.across_first { [list[1], list[0]] } else { list }.map(|size| size as f64);
    let (sizes, reference) = (of(grid), rope.reference.map(of));
    let coordinate = |place: f64, axis: usize| match (rope.places, reference) {
        (Places::Centred, _) => std::f64::consts::TAU * (2.0 * (place + 0.5 + rope.offset) / sizes[axis] - 1.0),
        (_, Some(reference)) => (place + rope.offset) / sizes[axis] * reference[axis],
        (_, None) => place + rope.offset,
    };
    let bands: Vec<f64> = (0..d / 4).map(|i| rope.temperature.powf(-(i as f64) / (d / 4) as f64)).collect();
    let both = |place: [f64; 2]| {
        let turns = |axis: usize| bands.iter().map(|band| (coordinate(place[axis], axis) * band) as f32).collect::<Vec<_>>();
        [turns(0), turns(1)].concat()
    };
    places(grid, rope.across_first).flat_map(both).collect()
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
    if net.has(&at("q_bias")) || net.has(&at("v_bias")) {
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
