//! `FastViT`, and the image towers of `MobileCLIP`, under timm's names.
//!
//! Vasu, Gabriel, Zhu, Tuzel, Ranjan, "`FastViT`: A Fast Hybrid Vision Transformer using Structural Reparameterization" (arXiv 2303.14189).
//! A convolution is a sum of branches, each with a batch norm, or, after they were merged, the one named `reparam_conv`.

use super::config::Library;
use super::hybrid::{agree, head, maybe, needed, numbered, pooled, unit};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

/// The architectures, and whether the large convolution between stages is followed by an activation.
const NAMES: [(&str, bool); 12] = [
    ("fastvit_t8", false),
    ("fastvit_t12", false),
    ("fastvit_s12", false),
    ("fastvit_sa12", false),
    ("fastvit_sa24", false),
    ("fastvit_sa36", false),
    ("fastvit_ma36", false),
    ("fastvit_mci0", true),
    ("fastvit_mci1", true),
    ("fastvit_mci2", true),
    ("fastvit_mci3", true),
    ("fastvit_mci4", true),
];

/// Width of every head.
const HEAD: usize = 32;

const UNIT: [&str; 2] = ["conv", "bn"];

pub(super) static FAMILY: Family = Family {
    name: "fastvit",
    about: "FastViT and the image towers of MobileCLIP under timm's names",
    usual_size: [256, 256],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.map(|(name, _)| name)),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let stem = ["stem.0.conv_kxk.0.conv.weight", "stem.0.reparam_conv.weight"].iter().any(|name| shapes.contains_key(*name));
        let stage = ["large_conv.conv", "reparam_conv"].iter().any(|name| {
            let name = format!("stages.1.downsample.proj.0.{name}.weight");
            shapes.contains_key(&name)
        });
        if stem && stage { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let large = needed(config, &NAMES, FAMILY.name, "whether an activation follows the convolutions between stages")?;
    let large = config.flag("lkc_use_act", *large)?;
    let act = config.act("act_layer")?.unwrap_or(Unary::Gelu { tanh: false });
    config.shown(&["cls_ratio", "down_patch_size", "downsamples", "inference_mode", "layer_scale_init_value", "mlp_ratios"]);
    config.shown(&["proj_drop_rate", "repmixer_kernel_size", "se_downsamples", "stem_use_scale_branch", "token_mixers"]);
    config.only("down_stride", 2)?;
    config.only("fork_feat", false)?;
    let stages = count(shapes, "stages.");
    let depths: Vec<usize> = (0..stages).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    agree(config, "layers", &depths)?;
    let merged = shapes.contains_key("stem.0.reparam_conv.weight");
    let stem = if merged { "stem.0.reparam_conv.weight" } else { "stem.0.conv_kxk.0.conv.weight" };
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, stem, *size, 1e-5)?;
    for (part, stride) in [2, 2, 1].into_iter().enumerate() {
        x = branches(&mut net, &format!("stem.{part}"), x, stride, Some(act))?;
    }
    let mut widths = Vec::new();
    for (stage, &depth) in depths.iter().enumerate() {
        let name = format!("stages.{stage}");
        if shapes.keys().any(|found| found.starts_with(&format!("{name}.downsample."))) {
            x = large_convolution(&mut net, &format!("{name}.downsample.proj.0"), x, large.then_some(act))?;
            x = branches(&mut net, &format!("{name}.downsample.proj.1"), x, 1, Some(act))?;
        }
        if shapes.keys().any(|found| found.starts_with(&format!("{name}.pos_emb."))) {
            x = position(&mut net, &format!("{name}.pos_emb"), x)?;
        }
        for block in 0..depth {
            x = self::block(&mut net, &format!("{name}.blocks.{block}"), x, act)?;
        }
        widths.push(net.channels(x));
    }
    agree(config, "embed_dims", &widths)?;
    x = branches(&mut net, "final_conv", x, 1, Some(act))?;
    x = pooled(&mut net, config, "head.global_pool", x)?;
    x = head(&mut net, "head.fc", x)?;
    let merged = if merged { ", branches merged" } else { "" };
    net.finish(x, format!("FastViT, {} blocks, timm names{merged}", depths.iter().sum::<usize>()))
}

/// A convolution and what was added to it while training: others, one of a single place, and the input, each with a batch norm
/// (`MobileOne`, arXiv 2206.04040).
fn branches(net: &mut Layers, name: &str, input: NodeId, stride: usize, act: Option<Unary>) -> Made {
    let part = |part: &str| format!("{name}.{part}");
    let mut x = if net.has(&part("reparam_conv.weight")) {
        net.conv(&part("reparam_conv"), input, stride, Groups::Fitting, Padding::Half)?
    } else {
        let mut terms = Vec::new();
        for i in 0..numbered(net, |i| part(&format!("conv_kxk.{i}.conv.weight"))) {
            terms.push(unit(net, &part(&format!("conv_kxk.{i}")), UNIT, input, stride)?);
        }
        if net.has(&part("conv_scale.conv.weight")) {
            terms.push(unit(net, &part("conv_scale"), UNIT, input, stride)?);
        }
        let keeps = terms.first().is_none_or(|&term| net.channels(term) == net.channels(input));
        if stride == 1 && keeps {
            terms.push(net.norm(&part("identity"), input)?);
        }
        if terms.is_empty() {
            net.look(&part("conv_kxk.0.conv.weight"));
        }
        added(net, name, &terms, input)?
    };
    if net.has(&part("se.fc1.weight")) {
        x = net.excited([&part("se.fc1"), &part("se.fc2")], x, Unary::Relu, Unary::Sigmoid)?;
    }
    maybe(net, &part("act"), act, x)
}

/// The sum of terms; `otherwise` where there are none.
fn added(net: &mut Layers, name: &str, terms: &[NodeId], otherwise: NodeId) -> Made {
    let Some((&first, rest)) = terms.split_first() else { return Ok(otherwise) };
    let mut x = first;
    for (i, &term) in rest.iter().enumerate() {
        x = net.sum(&format!("{name}.sum{i}"), x, term)?;
    }
    Ok(x)
}

/// A large convolution with stride 2, and a small one added to it.
fn large_convolution(net: &mut Layers, name: &str, input: NodeId, act: Option<Unary>) -> Made {
    let part = |part: &str| format!("{name}.{part}");
    let mut x = if net.has(&part("reparam_conv.weight")) {
        net.conv(&part("reparam_conv"), input, 2, Groups::Fitting, Padding::Half)?
    } else {
        let large = unit(net, &part("large_conv"), UNIT, input, 2)?;
        let small = unit(net, &part("small_conv"), UNIT, input, 2)?;
        net.sum(&part("sum"), large, small)?
    };
    if net.has(&part("se.fc1.weight")) {
        x = net.excited([&part("se.fc1"), &part("se.fc2")], x, Unary::Relu, Unary::Sigmoid)?;
    }
    maybe(net, &part("act"), act, x)
}

/// Positions: a depthwise convolution, added.
fn position(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let merged = format!("{name}.reparam_conv");
    if net.has(&format!("{merged}.weight")) {
        return net.conv(&merged, x, 1, Groups::Depthwise, Padding::Half);
    }
    let encoded = net.conv(&format!("{name}.pos_enc"), x, 1, Groups::Depthwise, Padding::Half)?;
    net.sum(&format!("{name}.add"), encoded, x)
}

fn block(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Made {
    let part = |part: &str| format!("{name}.{part}");
    if net.has(&part("token_mixer.qkv.weight")) {
        let x = normed(net, &part("norm"), input)?;
        let x = attention(net, &part("token_mixer"), x)?;
        let x = net.scaled_map(&part("layer_scale_1.gamma"), x)?;
        let x = net.sum(&part("add1"), input, x)?;
        let changed = mlp(net, &part("mlp"), x, act)?;
        let changed = net.scaled_map(&part("layer_scale_2.gamma"), changed)?;
        return net.sum(&part("add2"), x, changed);
    }
    let x = mixer(net, &part("token_mixer"), input)?;
    let changed = mlp(net, &part("mlp"), x, act)?;
    let changed = net.scaled_map(&part("layer_scale.gamma"), changed)?;
    net.sum(&part("add"), x, changed)
}

/// The norm before attention: of the batch, or of every place where the file has no statistics.
fn normed(net: &mut Layers, name: &str, x: NodeId) -> Made {
    if net.has(&format!("{name}.running_mean")) { net.norm(name, x) } else { net.layer_norm_map(name, x, 1e-5) }
}

/// `x + scale (mixer(x) - norm(x))`.
fn mixer(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let part = |part: &str| format!("{name}.{part}");
    if net.has(&part("reparam_conv.weight")) {
        return net.conv(&part("reparam_conv"), input, 1, Groups::Depthwise, Padding::Half);
    }
    let x = branches(net, &part("mixer"), input, 1, None)?;
    let norm = branches(net, &part("norm"), input, 1, None)?;
    let x = net.sub(&part("sub"), x, norm)?;
    let x = net.scaled_map(&part("layer_scale.gamma"), x)?;
    net.sum(&part("add"), input, x)
}

fn attention(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let size = net.size(x);
    let heads = net.channels(x) / HEAD;
    let tokens = net.tokens(&format!("{name}.tokens"), x)?;
    let mixed = net.self_attention(&format!("{name}.qkv"), tokens, heads, None)?;
    let mixed = net.linear(&format!("{name}.proj"), mixed)?;
    net.map(&format!("{name}.map"), mixed, size)
}

fn mlp(net: &mut Layers, name: &str, x: NodeId, act: Unary) -> Made {
    let x = unit(net, &format!("{name}.conv"), UNIT, x, 1)?;
    let x = net.conv(&format!("{name}.fc1"), x, 1, Groups::One, Padding::Half)?;
    let x = net.act(&format!("{name}.act"), act, x)?;
    net.conv(&format!("{name}.fc2"), x, 1, Groups::One, Padding::Half)
}
