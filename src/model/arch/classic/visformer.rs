//! Visformer under timm's names.
//!
//! Chen et al., "Visformer: The Vision-friendly Transformer" (arXiv 2104.12533). Blocks of convolutions first, then of attention, all with
//! batch norms on maps. How many heads there are, only the name says. timm builds it for one size of images.

use super::{Move, conv_norm, head, likeness, listed, max_pooling, plain_timm, row, same, told, words};
use crate::graph::{NodeId, Op, Role, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Conv, Groups, Layers, Padding, count};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "visformer",
    about: "Visformer under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.iter().map(|(name, _)| *name)),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "stage1.0.mlp.conv1.weight"),
    build,
};

/// Width of the second stage and heads.
const NAMES: [(&str, [usize; 2]); 2] = [("visformer_tiny", [192, 3]), ("visformer_small", [384, 6])];
/// Blocks in each stage.
const DEPTHS: [usize; 3] = [7, 4, 4];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    // What they say is what tensors there are, and how large.
    config.shown(&["group", "img_size", "init_channels", "mlp_ratio", "patch_size", "use_pos_embed"]);
    config.shown(&["attn_drop_rate", "conv_init", "pos_drop_rate", "proj_drop_rate"]);
    config.only("attn_stage", "011")?;
    config.only("spatial_conv", "100")?;
    config.only("vit_stem", false)?;
    config.only("embed_norm", "batchnorm2d")?;
    let Some(&[said, heads]) = row(config, &NAMES) else {
        let what = "how many heads it has".to_owned();
        let names = NAMES.iter().map(|(name, _)| format!("timm/{name}")).collect();
        return Err(ArchError::NeedsName { family: FAMILY.name, what, names });
    };
    let depths: Vec<usize> = (1..=3).map(|stage| count(shapes, &format!("stage{stage}."))).collect();
    if !listed(config, "depth", &depths)? {
        same(config, "stages of this many blocks:", &DEPTHS, &depths)?;
    }
    let width = shapes.get("patch_embed2.proj.weight").and_then(|shape| shape.first()).copied().unwrap_or(0);
    config.agrees("embed_dim", width)?;
    if !config.says("embed_dim") {
        same(config, "width", &[said], &[width])?;
    }
    let heads = config.count("num_heads")?.unwrap_or(heads);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "stem.0.weight", size, 1e-5)?;
    x = conv_norm(&mut net, ["stem.0", "stem.1"], x, Move::half(2), Some(Unary::Relu))?;
    for (stage, &depth) in (1..).zip(&depths) {
        x = embedded(&mut net, stage, x)?;
        for block in 0..depth {
            let name = format!("stage{stage}.{block}");
            if net.has(&format!("{name}.attn.qkv.weight")) {
                x = attended(&mut net, &name, x, heads)?;
            }
            x = spread(&mut net, &name, x)?;
        }
    }
    x = net.norm("norm", x)?;
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "head", x)?;
    net.finish(x, format!("Visformer, stages of {} blocks, {heads} heads, timm names{}", words(&depths), told(None, max)))
}

/// Patches, a batch norm, and the learnt positions.
fn embedded(net: &mut Layers, stage: usize, x: NodeId) -> Result<NodeId, ArchError> {
    let name = format!("patch_embed{stage}");
    let side = net.look(&format!("{name}.proj.weight")).and_then(|shape| shape.get(2).copied()).unwrap_or(1).max(1);
    let x = net.conv_as(&format!("{name}.proj"), x, Conv::new(side, 0))?;
    let x = net.norm(&format!("{name}.norm"), x)?;
    let positions = format!("pos_embed{stage}");
    if !net.has(&positions) {
        return Ok(x);
    }
    let shape: Vec<usize> = std::iter::once(1).chain(net.dims(x)).collect();
    let table = net.tensor(&positions, &shape, Role::Embedding);
    net.sum(&format!("{positions}.add"), x, table)
}

fn attended(net: &mut Layers, name: &str, input: NodeId, heads: usize) -> Result<NodeId, ArchError> {
    let x = net.norm(&format!("{name}.norm1"), input)?;
    let name = format!("{name}.attn");
    let all = net.conv(&format!("{name}.qkv"), x, 1, Groups::One, Padding::Half)?;
    let ([h, w], width) = (net.size(all), net.channels(all));
    if heads == 0 || (net.is_whole() && !width.is_multiple_of(3 * heads)) {
        return Err(ArchError::Unsupported(format!("`{name}`: {width} channels cannot be dealt to {heads} heads")));
    }
    let mut parts = Vec::new();
    for (part, map) in ["q", "k", "v"].into_iter().zip(net.split(&format!("{name}.split"), all, 1, 3)?) {
        let apart = net.reshape(&format!("{name}.{part}.apart"), map, &[heads, width / (3 * heads), h * w])?;
        parts.push(net.transpose(&format!("{name}.{part}"), apart, &[0, 1, 3, 2])?);
    }
    let scale = ((width / (3 * heads)).max(1) as f64).powf(-0.5);
    let x = net.add(&format!("{name}.attention"), Op::Attention { scale }, &parts)?;
    let x = net.transpose(&format!("{name}.back"), x, &[0, 1, 3, 2])?;
    let x = net.reshape(&format!("{name}.together"), x, &[width / 3, h, w])?;
    let x = net.conv(&format!("{name}.proj"), x, 1, Groups::One, Padding::Half)?;
    net.sum(&format!("{name}.add"), input, x)
}

/// The two or three convolutions behind the attention, or in its place.
fn spread(net: &mut Layers, name: &str, input: NodeId) -> Result<NodeId, ArchError> {
    let gelu = Unary::Gelu { tanh: false };
    let x = net.norm(&format!("{name}.norm2"), input)?;
    let mlp = format!("{name}.mlp");
    let mut x = net.conv(&format!("{mlp}.conv1"), x, 1, Groups::One, Padding::Half)?;
    x = net.act(&format!("{mlp}.act1"), gelu, x)?;
    if net.has(&format!("{mlp}.conv2.weight")) {
        x = net.conv(&format!("{mlp}.conv2"), x, 1, Groups::Fitting, Padding::Half)?;
        x = net.act(&format!("{mlp}.act2"), gelu, x)?;
    }
    x = net.conv(&format!("{mlp}.conv3"), x, 1, Groups::One, Padding::Half)?;
    net.sum(&format!("{mlp}.add"), input, x)
}
