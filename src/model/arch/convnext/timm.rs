//! `ConvNeXt` and `ConvNeXt` V2 under timm's names.

use super::{GELU, Making, Names, Norm, likeness};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Padding};
use crate::model::arch::{ArchError, Built, Family, Source, staged};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "convnext-timm",
    about: "ConvNeXt and ConvNeXt V2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.name),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let split = shapes.keys().any(|name| name.contains(".xca."));
        likeness(has("stem.0.weight") && has("stages.0.blocks.0.conv_dw.weight") && has("stages.0.blocks.0.mlp.fc1.weight") && !split)
    },
    build,
};

/// What timm calls by a name, as far as tensors do not show it, and what they must show.
struct Variant {
    name: &'static str,
    depths: [usize; 4],
    dims: [usize; 4],
    norm: Norm,
    eps: f64,
    act: Unary,
}

const fn variant(name: &'static str, depths: [usize; 4], width: usize) -> Variant {
    Variant { name, depths, dims: [width, 2 * width, 4 * width, 8 * width], norm: Norm::Layer, eps: 1e-6, act: GELU }
}

/// All of timm's.
static VARIANTS: [Variant; 31] = [
    Variant { norm: Norm::Simple, ..variant("convnext_zepto_rms", [2, 2, 4, 2], 32) },
    Variant { norm: Norm::Simple, ..variant("convnext_zepto_rms_ols", [2, 2, 4, 2], 32) },
    variant("convnext_atto", [2, 2, 6, 2], 40),
    variant("convnext_atto_ols", [2, 2, 6, 2], 40),
    Variant { norm: Norm::Rms, ..variant("convnext_atto_rms", [2, 2, 6, 2], 40) },
    variant("convnext_femto", [2, 2, 6, 2], 48),
    variant("convnext_femto_ols", [2, 2, 6, 2], 48),
    variant("convnext_pico", [2, 2, 6, 2], 64),
    variant("convnext_pico_ols", [2, 2, 6, 2], 64),
    variant("convnext_nano", [2, 2, 8, 2], 80),
    variant("convnext_nano_ols", [2, 2, 8, 2], 80),
    variant("convnext_tiny_hnf", [3, 3, 9, 3], 96),
    variant("convnext_tiny", [3, 3, 9, 3], 96),
    variant("convnext_small", [3, 3, 27, 3], 96),
    variant("convnext_base", [3, 3, 27, 3], 128),
    variant("convnext_large", [3, 3, 27, 3], 192),
    variant("convnext_large_mlp", [3, 3, 27, 3], 192),
    variant("convnext_xlarge", [3, 3, 27, 3], 256),
    Variant { eps: 1e-5, ..variant("convnext_xxlarge", [3, 4, 30, 3], 384) },
    variant("convnextv2_atto", [2, 2, 6, 2], 40),
    variant("convnextv2_femto", [2, 2, 6, 2], 48),
    variant("convnextv2_pico", [2, 2, 6, 2], 64),
    variant("convnextv2_nano", [2, 2, 8, 2], 80),
    variant("convnextv2_tiny", [3, 3, 9, 3], 96),
    variant("convnextv2_small", [3, 3, 27, 3], 96),
    variant("convnextv2_base", [3, 3, 27, 3], 128),
    variant("convnextv2_large", [3, 3, 27, 3], 192),
    variant("convnextv2_huge", [3, 3, 27, 3], 352),
    Variant { eps: 1e-5, act: TANH, dims: [24, 32, 48, 64], ..variant("test_convnext", [1, 2, 4, 2], 24) },
    Variant { eps: 1e-5, act: TANH, dims: [32, 64, 96, 128], ..variant("test_convnext2", [1, 1, 1, 1], 32) },
    Variant { eps: 1e-5, act: Unary::Silu, dims: [32, 64, 96, 128], ..variant("test_convnext3", [1, 1, 1, 1], 32) },
];

const TANH: Unary = Unary::Gelu { tanh: true };

fn names() -> Names {
    Names {
        stages: "stages.".to_owned(),
        blocks: ".blocks.",
        down: [".downsample.0", ".downsample.1"],
        conv: "conv_dw",
        norm: "norm",
        layers: ["mlp.fc1", "mlp.fc2"],
        grn: "mlp.grn",
        scale: "gamma",
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let Some(known) = staged::entry(config, &VARIANTS, |v| v.name) else {
        return Err(ArchError::NeedsName {
            family: FAMILY.name,
            what: "the activation and what is added to variances".to_owned(),
            names: vec!["timm/convnext_tiny".to_owned(), "timm/convnextv2_atto".to_owned()],
        });
    };
    let norm = match config.text("norm_layer")? {
        None => known.norm,
        Some("layernorm" | "layernorm2d") => Norm::Layer,
        Some("rmsnorm" | "rmsnorm2d") => Norm::Rms,
        Some("simplenorm" | "simplenorm2d") => Norm::Simple,
        Some(other) => return Err(config.refused("norm_layer", &other.into())),
    };
    let eps = config.number("norm_eps")?.unwrap_or(known.eps);
    let act = config.act("act_layer")?.unwrap_or(known.act);
    config.shown(&["conv_bias", "conv_mlp", "head_init_scale", "ls_init_value"]);
    config.only("output_stride", 32)?;
    let max = staged::takes_greatest(config)?;
    let (mut making, input) = Making::new(FAMILY.name, source, names(), "stem.0.weight", act, (norm, eps))?;
    let mut x = stem(&mut making, source, input)?;
    x = making.stages(x, |stage| stage, |stage| stage)?;
    let norm_first = shapes.keys().any(|name| name.starts_with("norm_pre."));
    staged::switch(config, "head_norm_first", norm_first)?;
    if norm_first {
        x = making.normed_map("norm_pre", x)?;
        x = making.net.pool("head.global_pool", max, x)?;
    } else {
        x = making.net.pool("head.global_pool", max, x)?;
        x = making.normed("head.norm", x)?;
    }
    if shapes.contains_key("head.pre_logits.fc.weight") {
        x = making.net.linear("head.pre_logits.fc", x)?;
        if making.net.is_whole() {
            config.agrees("head_hidden_size", making.net.width(x))?;
        }
        x = making.net.act("head.pre_logits.act", GELU, x)?;
    }
    x = staged::head(&mut making.net, shapes, "head.fc", x)?;
    if making.net.is_whole() {
        staged::agree(config, "depths", &making.depths, Some(&known.depths))?;
        staged::agree(config, "dims", &making.dims, Some(&known.dims))?;
        staged::agree(config, "kernel_sizes", &making.kernels, None)?;
        staged::switch(config, "use_grn", making.v2)?;
    }
    let told = making.told("timm");
    let pool = if max { ", max pooling" } else { "" };
    making.net.finish(x, format!("{told}{pool}"))
}

/// Patches, or two convolutions that overlap, with an activation between where the names leave room for it.
fn stem(making: &mut Making, source: &Source, input: NodeId) -> Result<NodeId, ArchError> {
    let (shapes, config) = (source.shapes, &source.config);
    let has = |name: &str| shapes.contains_key(name);
    let (kinds, norm): (&[&str], &str) = match (has("stem.3.weight"), has("stem.2.weight")) {
        (true, _) => (&["overlap_act"], "stem.3"),
        (false, true) => (&["overlap", "overlap_tiered"], "stem.2"),
        (false, false) => (&["patch"], "stem.1"),
    };
    if let Some(kind) = config.text("stem_type")?.filter(|kind| !kinds.contains(kind)) {
        return Err(config.refused("stem_type", &kind.into()));
    }
    if kinds == ["patch"] {
        let patch = making.kernel("stem.0");
        config.agrees("patch_size", patch)?;
        if patch != 2 && patch != 4 && has("stem.0.weight") {
            return Err(config.refused("patch_size", &patch.into()));
        }
        let x = making.patches("stem.0", input)?;
        return making.normed_map(norm, x);
    }
    config.shown(&["patch_size"]);
    let mut x = making.net.conv("stem.0", input, 2, Groups::One, Padding::Half)?;
    let second = if kinds == ["overlap_act"] {
        x = making.net.act("stem.act", making.act, x)?;
        "stem.2"
    } else {
        "stem.1"
    };
    x = making.net.conv(second, x, 2, Groups::One, Padding::Half)?;
    making.normed_map(norm, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::config::Name;

    #[test]
    fn names_are_those_of_timm() {
        let called = |text: &str, library| (FAMILY.is_called)(&Name::of(text, library));
        assert!(called("convnext_tiny.fb_in22k_ft_in1k_384", Library::Timm));
        assert!(called("convnext_tiny", Library::Unknown));
        assert!(!called("torchvision/convnext_tiny", Library::Unknown));
        assert!(!called("convnext", Library::Transformers));
        assert!(!called("convnext_tiny_dilated", Library::Timm));
    }
}
