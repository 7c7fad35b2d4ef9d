//! What the names of timm's vision transformers say beyond their tensors: all of timm 1.0.31's `vision_transformer.py` and `deit.py`.

use super::Act;
use crate::model::arch::made::Resample;

/// What a name says.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "a table with a column for each")]
pub(super) struct Named {
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
    pub act: Act,
    /// Added to the variance of every norm.
    pub eps: f64,
    /// Norms by the root of the mean square.
    pub rms: bool,
    /// How tokens become the features of an image.
    pub pool: &'static str,
    /// Whether the last norm is behind the pooling; of none it follows from the pooling.
    pub fc_norm: Option<bool>,
    /// Whether there is a last norm.
    pub final_norm: bool,
    /// Whether class and register tokens have positions too.
    pub class_position: bool,
    /// Whether the mean over the tokens is over class and register tokens too.
    pub pools_prefix: bool,
    /// Whether a block's norms are behind attention and perceptron; their tensors are called the same.
    pub post_norm: bool,
    /// How positions are brought to another grid.
    pub resample: Resample,
}

/// A plain vision transformer of these sizes.
const fn sized(width: usize, depth: usize, heads: usize) -> Named {
    Named {
        width,
        depth,
        heads,
        act: Act::GELU,
        eps: 1e-6,
        rms: false,
        pool: "token",
        fc_norm: None,
        final_norm: true,
        class_position: true,
        pools_prefix: false,
        post_norm: false,
        resample: Resample::BicubicAntialias,
    }
}

/// Names that mean the same network but for the size of its images and patches, which the tensors show.
pub(super) static NAMES: &[(Named, &[&str])] = &[
    (
        Named { act: Act::SILU, eps: 1e-5, rms: true, pool: "avg", fc_norm: Some(false), ..sized(1024, 24, 8) },
        &["aimv2_large_patch14_224", "aimv2_large_patch14_336", "aimv2_large_patch14_448"],
    ),
    (
        Named { act: Act::SILU, eps: 1e-5, rms: true, pool: "avg", fc_norm: Some(false), ..sized(1536, 24, 12) },
        &["aimv2_huge_patch14_224", "aimv2_huge_patch14_336", "aimv2_huge_patch14_448"],
    ),
    (
        Named { act: Act::SILU, eps: 1e-5, rms: true, pool: "avg", fc_norm: Some(false), ..sized(2048, 24, 16) },
        &["aimv2_1b_patch14_224", "aimv2_1b_patch14_336", "aimv2_1b_patch14_448"],
    ),
    (
        Named { act: Act::SILU, eps: 1e-5, rms: true, pool: "avg", fc_norm: Some(false), ..sized(3072, 24, 24) },
        &["aimv2_3b_patch14_224", "aimv2_3b_patch14_336", "aimv2_3b_patch14_448"],
    ),
    (Named { eps: 1e-5, pool: "avg", ..sized(768, 12, 12) }, &["beit3_base_patch16_224"]),
    (Named { eps: 1e-5, pool: "avg", ..sized(1024, 24, 16) }, &["beit3_large_patch16_224"]),
    (Named { eps: 1e-5, pool: "avg", ..sized(1408, 40, 16) }, &["beit3_giant_patch14_224", "beit3_giant_patch14_336"]),
    (Named { pool: "avg", ..sized(64, 8, 2) }, &["test_vit2"]),
    (
        Named { pool: "avg", ..sized(832, 21, 13) },
        &["vit_so150m2_patch16_reg1_gap_256", "vit_so150m2_patch16_reg1_gap_384", "vit_so150m2_patch16_reg1_gap_448"],
    ),
    (Named { pool: "avg", ..sized(1024, 24, 16) }, &["eva_large_patch14_196", "eva_large_patch14_336"]),
    (Named { class_position: false, resample: Resample::Bilinear, ..sized(384, 12, 6) }, &["flexivit_small"]),
    (Named { class_position: false, resample: Resample::Bilinear, ..sized(768, 12, 12) }, &["flexivit_base"]),
    (Named { class_position: false, resample: Resample::Bilinear, ..sized(1024, 24, 16) }, &["flexivit_large"]),
    (sized(64, 6, 2), &["test_vit"]),
    (
        sized(192, 12, 3),
        &[
            "vit_tiny_patch16_224",
            "vit_tiny_patch16_224_in21k",
            "vit_tiny_patch16_384",
            "deit_tiny_distilled_patch16_224",
            "deit_tiny_patch16_224",
        ],
    ),
    (
        sized(384, 12, 6),
        &[
            "vit_small_patch14_dinov2",
            "vit_small_patch16_224",
            "vit_small_patch16_224_dino",
            "vit_small_patch16_224_in21k",
            "vit_small_patch16_384",
            "vit_small_patch32_224",
            "vit_small_patch32_224_in21k",
            "vit_small_patch32_384",
            "vit_small_patch8_224",
            "vit_small_patch8_224_dino",
            "deit_small_distilled_patch16_224",
            "deit_small_patch16_224",
        ],
    ),
    (sized(384, 18, 6), &["vit_small_patch16_18x2_224"]),
    (sized(384, 36, 6), &["vit_small_patch16_36x1_224"]),
    (
        sized(768, 12, 12),
        &[
            "vit_base_patch14_dinov2",
            "vit_base_patch16_224",
            "vit_base_patch16_224_dino",
            "vit_base_patch16_224_in21k",
            "vit_base_patch16_224_miil",
            "vit_base_patch16_224_miil_in21k",
            "vit_base_patch16_224_sam",
            "vit_base_patch16_384",
            "vit_base_patch32_224",
            "vit_base_patch32_224_in21k",
            "vit_base_patch32_224_sam",
            "vit_base_patch32_384",
            "vit_base_patch8_224",
            "vit_base_patch8_224_dino",
            "vit_base_patch8_224_in21k",
            "deit_base_distilled_patch16_224",
            "deit_base_distilled_patch16_384",
            "deit_base_patch16_224",
            "deit_base_patch16_384",
        ],
    ),
    (sized(768, 18, 12), &["vit_base_patch16_18x2_224"]),
    (sized(896, 12, 14), &["vit_base_patch16_plus_240", "vit_base_patch32_plus_256"]),
    (
        sized(1024, 24, 16),
        &[
            "vit_large_patch14_224",
            "vit_large_patch14_dinov2",
            "vit_large_patch16_224",
            "vit_large_patch16_224_in21k",
            "vit_large_patch16_384",
            "vit_large_patch32_224",
            "vit_large_patch32_224_in21k",
            "vit_large_patch32_384",
        ],
    ),
    (sized(1280, 32, 16), &["vit_huge_patch14_224", "vit_huge_patch14_224_in21k"]),
    (sized(1408, 40, 16), &["vit_giant_patch14_224"]),
    (sized(1664, 48, 16), &["vit_gigantic_patch14_224"]),
    (Named { pool: "map", pools_prefix: true, ..sized(96, 9, 3) }, &["test_vit3"]),
    (Named { rms: true, pool: "avg", ..sized(96, 9, 3) }, &["test_vit4"]),
    (
        Named { class_position: false, ..sized(384, 12, 6) },
        &[
            "vit_small_patch14_reg4_dinov2",
            "deit3_small_patch16_224",
            "deit3_small_patch16_224_in21ft1k",
            "deit3_small_patch16_384",
            "deit3_small_patch16_384_in21ft1k",
        ],
    ),
    (Named { class_position: false, ..sized(512, 12, 8) }, &["deit3_medium_patch16_224", "deit3_medium_patch16_224_in21ft1k"]),
    (
        Named { class_position: false, ..sized(768, 12, 12) },
        &[
            "vit_base_patch14_reg1_tipsv2",
            "vit_base_patch14_reg4_dinov2",
            "deit3_base_patch16_224",
            "deit3_base_patch16_224_in21ft1k",
            "deit3_base_patch16_384",
            "deit3_base_patch16_384_in21ft1k",
        ],
    ),
    (
        Named { class_position: false, ..sized(1024, 24, 16) },
        &[
            "vit_large_patch14_reg1_tipsv2",
            "vit_large_patch14_reg4_dinov2",
            "deit3_large_patch16_224",
            "deit3_large_patch16_224_in21ft1k",
            "deit3_large_patch16_384",
            "deit3_large_patch16_384_in21ft1k",
        ],
    ),
    (Named { class_position: false, ..sized(1152, 27, 16) }, &["vit_so400m_patch14_reg1_tipsv2"]),
    (Named { class_position: false, ..sized(1280, 32, 16) }, &["deit3_huge_patch14_224", "deit3_huge_patch14_224_in21ft1k"]),
    (Named { eps: 1e-5, ..sized(256, 10, 4) }, &["vit_xsmall_patch16_clip_224"]),
    (Named { eps: 1e-5, ..sized(512, 12, 8) }, &["vit_medium_patch16_clip_224", "vit_medium_patch32_clip_224"]),
    (Named { eps: 1e-5, ..sized(640, 12, 10) }, &["vit_betwixt_patch32_clip_224"]),
    (
        Named { eps: 1e-5, ..sized(768, 12, 12) },
        &[
            "vit_base_patch16_clip_224",
            "vit_base_patch16_clip_384",
            "vit_base_patch32_224_clip_laion2b",
            "vit_base_patch32_clip_224",
            "vit_base_patch32_clip_256",
            "vit_base_patch32_clip_384",
            "vit_base_patch32_clip_448",
        ],
    ),
    (Named { eps: 1e-5, ..sized(896, 12, 14) }, &["vit_base_patch16_plus_clip_240"]),
    (
        Named { eps: 1e-5, ..sized(1024, 24, 16) },
        &["vit_large_patch14_224_clip_laion2b", "vit_large_patch14_clip_224", "vit_large_patch14_clip_336"],
    ),
    (
        Named { eps: 1e-5, ..sized(1280, 32, 16) },
        &["vit_huge_patch14_224_clip_laion2b", "vit_huge_patch14_clip_224", "vit_huge_patch14_clip_336", "vit_huge_patch14_clip_378"],
    ),
    (Named { eps: 1e-5, ..sized(1408, 40, 16) }, &["vit_giant_patch14_224_clip_laion2b", "vit_giant_patch14_clip_224"]),
    (Named { eps: 1e-5, ..sized(1664, 48, 16) }, &["vit_gigantic_patch14_clip_224", "vit_gigantic_patch14_clip_378"]),
    (
        Named { act: Act::QuickGelu, eps: 1e-5, ..sized(768, 12, 12) },
        &["vit_base_patch16_clip_quickgelu_224", "vit_base_patch32_clip_quickgelu_224"],
    ),
    (
        Named { act: Act::QuickGelu, eps: 1e-5, ..sized(1024, 24, 16) },
        &["vit_large_patch14_clip_quickgelu_224", "vit_large_patch14_clip_quickgelu_336"],
    ),
    (
        Named { act: Act::QuickGelu, eps: 1e-5, ..sized(1280, 32, 16) },
        &["vit_huge_patch14_clip_quickgelu_224", "vit_huge_patch14_clip_quickgelu_378"],
    ),
    (Named { act: Act::QuickGelu, eps: 1e-5, ..sized(1664, 48, 16) }, &["vit_gigantic_patch14_clip_quickgelu_224"]),
    (
        Named { pool: "avg", fc_norm: Some(false), ..sized(512, 12, 8) },
        &["vit_medium_patch16_gap_240", "vit_medium_patch16_gap_256", "vit_medium_patch16_gap_384"],
    ),
    (Named { pool: "avg", fc_norm: Some(false), ..sized(640, 12, 10) }, &["vit_betwixt_patch16_gap_256"]),
    (Named { pool: "avg", fc_norm: Some(false), ..sized(768, 12, 16) }, &["vit_base_patch16_gap_224"]),
    (
        Named { pool: "avg", fc_norm: Some(false), ..sized(768, 12, 12) },
        &[
            "vit_base_patch16_siglip_gap_224",
            "vit_base_patch16_siglip_gap_256",
            "vit_base_patch16_siglip_gap_384",
            "vit_base_patch16_siglip_gap_512",
        ],
    ),
    (
        Named { pool: "avg", fc_norm: Some(false), ..sized(896, 18, 14) },
        &["vit_so150m_patch16_reg4_gap_256", "vit_so150m_patch16_reg4_gap_384"],
    ),
    (
        Named { pool: "avg", fc_norm: Some(false), ..sized(1024, 24, 16) },
        &["vit_large_patch16_siglip_gap_256", "vit_large_patch16_siglip_gap_384"],
    ),
    (
        Named { pool: "avg", fc_norm: Some(false), ..sized(1152, 27, 16) },
        &[
            "vit_so400m_patch14_siglip_gap_224",
            "vit_so400m_patch14_siglip_gap_378",
            "vit_so400m_patch14_siglip_gap_384",
            "vit_so400m_patch14_siglip_gap_448",
            "vit_so400m_patch14_siglip_gap_896",
        ],
    ),
    (Named { pool: "avg", fc_norm: Some(false), ..sized(1280, 32, 16) }, &["vit_huge_patch14_gap_224", "vit_huge_patch16_gap_448"]),
    (Named { pool: "avg", fc_norm: Some(false), ..sized(1408, 40, 16) }, &["vit_giant_patch16_gap_224"]),
    (
        Named { final_norm: false, class_position: false, resample: Resample::BilinearCorners, ..sized(768, 12, 12) },
        &["vit_base_patch16_radio_v3"],
    ),
    (
        Named { final_norm: false, class_position: false, resample: Resample::BilinearCorners, ..sized(1280, 32, 16) },
        &["vit_huge_patch16_radio_v3"],
    ),
    (Named { pool: "avg", class_position: false, ..sized(256, 14, 4) }, &["vit_dwee_patch16_reg1_gap_256", "vit_wee_patch16_reg1_gap_256"]),
    (
        Named { pool: "avg", class_position: false, ..sized(256, 16, 4) },
        &["vit_dpwee_patch16_reg1_gap_256", "vit_pwee_patch16_reg1_gap_256"],
    ),
    (
        Named { pool: "avg", class_position: false, ..sized(320, 14, 5) },
        &["vit_dlittle_patch16_reg1_gap_256", "vit_little_patch16_reg1_gap_256", "vit_little_patch16_reg4_gap_256"],
    ),
    (
        Named { pool: "avg", class_position: false, ..sized(512, 12, 8) },
        &["vit_medium_patch16_reg1_gap_256", "vit_medium_patch16_reg4_gap_256"],
    ),
    (
        Named { pool: "avg", class_position: false, ..sized(512, 20, 8) },
        &["vit_mediumd_patch16_reg4_gap_256", "vit_mediumd_patch16_reg4_gap_384"],
    ),
    (
        Named { pool: "avg", class_position: false, ..sized(640, 12, 10) },
        &["vit_betwixt_patch16_reg1_gap_256", "vit_betwixt_patch16_reg4_gap_256", "vit_betwixt_patch16_reg4_gap_384"],
    ),
    (Named { pool: "avg", class_position: false, ..sized(768, 12, 12) }, &["vit_base_patch16_reg4_gap_256"]),
    (Named { pool: "avg", post_norm: true, ..sized(768, 12, 12) }, &["vit_base_patch16_rpn_224"]),
    (
        Named { pool: "map", ..sized(768, 12, 12) },
        &["vit_base_patch16_siglip_224", "vit_base_patch16_siglip_256", "vit_base_patch16_siglip_384", "vit_base_patch16_siglip_512"],
    ),
    (Named { pool: "map", ..sized(896, 18, 14) }, &["vit_so150m_patch16_reg4_map_256"]),
    (Named { pool: "map", ..sized(1024, 24, 16) }, &["vit_large_patch16_siglip_256", "vit_large_patch16_siglip_384"]),
    (
        Named { pool: "map", ..sized(1152, 27, 16) },
        &["vit_so400m_patch14_siglip_224", "vit_so400m_patch14_siglip_378", "vit_so400m_patch14_siglip_384"],
    ),
    (Named { rms: true, class_position: false, ..sized(768, 12, 12) }, &["vit_base_patch16_xp_224"]),
    (Named { rms: true, class_position: false, ..sized(1024, 24, 16) }, &["vit_large_patch14_xp_224"]),
    (Named { rms: true, class_position: false, ..sized(1280, 32, 16) }, &["vit_huge_patch14_xp_224"]),
    (Named { act: Act::GELU_TANH, pool: "map", ..sized(768, 12, 12) }, &["vit_base_patch32_siglip_256"]),
    (Named { act: Act::GELU_TANH, pool: "map", ..sized(1024, 24, 16) }, &["vit_large_patch16_siglip_512"]),
    (
        Named { act: Act::GELU_TANH, pool: "map", ..sized(1152, 27, 16) },
        &["vit_so400m_patch16_siglip_256", "vit_so400m_patch16_siglip_384", "vit_so400m_patch16_siglip_512"],
    ),
    (
        Named { act: Act::GELU_TANH, pool: "map", ..sized(1536, 40, 16) },
        &["vit_giantopt_patch16_siglip_256", "vit_giantopt_patch16_siglip_384"],
    ),
    (Named { act: Act::GELU_TANH, pool: "avg", fc_norm: Some(false), ..sized(768, 12, 12) }, &["vit_base_patch32_siglip_gap_256"]),
    (Named { act: Act::GELU_TANH, pool: "avg", fc_norm: Some(false), ..sized(1024, 24, 16) }, &["vit_large_patch16_siglip_gap_512"]),
    (
        Named { act: Act::GELU_TANH, pool: "avg", fc_norm: Some(false), ..sized(1152, 27, 16) },
        &["vit_so400m_patch16_siglip_gap_256", "vit_so400m_patch16_siglip_gap_384", "vit_so400m_patch16_siglip_gap_512"],
    ),
    (
        Named { act: Act::GELU_TANH, pool: "avg", fc_norm: Some(false), ..sized(1536, 40, 16) },
        &["vit_giantopt_patch16_siglip_gap_256", "vit_giantopt_patch16_siglip_gap_384"],
    ),
    (Named { act: Act::SILU, ..sized(1536, 40, 24) }, &["vit_giant_patch14_dinov2"]),
    (
        Named { act: Act::SILU, class_position: false, ..sized(1536, 40, 24) },
        &["vit_giant_patch14_reg1_tipsv2", "vit_giant_patch14_reg4_dinov2"],
    ),
    (
        Named { final_norm: false, class_position: false, resample: Resample::Bilinear, ..sized(1024, 24, 16) },
        &["vit_large_patch16_radio_v3"],
    ),
    (
        Named { final_norm: false, class_position: false, resample: Resample::Bilinear, ..sized(1152, 27, 16) },
        &["vit_so400m_patch16_radio_v4"],
    ),
    (
        Named { final_norm: false, class_position: false, resample: Resample::Bilinear, ..sized(1280, 32, 16) },
        &["vit_huge_patch16_radio_v4"],
    ),
    (
        Named { final_norm: false, class_position: false, resample: Resample::Bilinear, ..sized(1536, 40, 24) },
        &["vit_giant_patch16_radio_v3"],
    ),
    (Named { final_norm: false, ..sized(1024, 24, 16) }, &["vit_intern300m_patch14_448"]),
];
