//! What timm's names say of EVA and its like, and no tensor shows.

use super::rope::{Places, Rope};

/// What the networks of a kind have in common that their tensors do not show.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub title: &'static str,
    pub rope: Rope,
    pub eps: f64,
    /// Norms by the root of the mean square.
    pub rms: bool,
    /// Norms behind attention and MLP, not before.
    pub post_norm: bool,
    /// Class and register tokens have no learnt position.
    pub no_embed: bool,
    /// Heads of the pooling by attention, where it has its own.
    pub pool_heads: Option<usize>,
}

const NO_ROPE: Rope =
    Rope { on: false, places: Places::Index, temperature: 10_000.0, offset: 0.0, across_first: false, half: false, reference: None };
const EVA: Style = Style { title: "EVA", rope: NO_ROPE, eps: 1e-6, rms: false, post_norm: false, no_embed: false, pool_heads: None };
const BEIT_STYLE: Style = Style { title: "BEiT", ..EVA };
const POST_NORM: Style = Style { post_norm: true, ..EVA };
const EVA02: Style = Style { title: "EVA02", rope: Rope { on: true, reference: Some([16; 2]), ..NO_ROPE }, ..EVA };
pub(super) const DINO: Style = Style {
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
pub(super) type Variant = (&'static str, usize, &'static Style, &'static str);

pub(super) static VARIANTS: [Variant; 65] = [
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

pub(super) static BEITS: [Variant; 7] = [
    ("beit_base_patch16_224", 12, &BEIT_STYLE, "avg"),
    ("beit_base_patch16_384", 12, &BEIT_STYLE, "avg"),
    ("beit_large_patch16_224", 16, &BEIT_STYLE, "avg"),
    ("beit_large_patch16_384", 16, &BEIT_STYLE, "avg"),
    ("beit_large_patch16_512", 16, &BEIT_STYLE, "avg"),
    ("beitv2_base_patch16_224", 12, &BEIT_STYLE, "avg"),
    ("beitv2_large_patch16_224", 16, &BEIT_STYLE, "avg"),
];
