//! Next-ViT under timm's names.
//!
//! Li et al., "Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios" (arXiv 2207.05501).
//! Blocks of grouped convolutions, and some in which part of the channels attend, to the means of so many places in a row. The width of a
//! head is that of a group.

use super::config::Library;
use super::hybrid::{agree, head, pooled};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Op, Unary, Window};

type Made = Result<NodeId, ArchError>;

const NAMES: [&str; 3] = ["nextvit_small", "nextvit_base", "nextvit_large"];

pub(super) static FAMILY: Family = Family {
    name: "nextvit",
    about: "Next-ViT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("stages.0.blocks.0.mhca.group_conv3x3.weight") { Likeness::Yes } else { Likeness::No },
    build,
};

/// How a block's attention goes about.
#[derive(Clone, Copy)]
struct Asked {
    act: Unary,
    /// The mean of so many places, squared, is one key and value.
    ratio: usize,
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    config.shown(&["attn_drop_rate", "mix_block_ratio", "proj_drop_rate", "stem_chs"]);
    let width = shapes.get("stages.0.blocks.0.mhca.group_conv3x3.weight").and_then(|shape| shape.get(1).copied());
    width.map_or(Ok(()), |width| config.agrees("head_dim", width))?;
    agree(config, "strides", &[1, 2, 2, 2])?;
    let ratios = config.counts("sr_ratios")?.unwrap_or_else(|| vec![8, 4, 2, 1]);
    let depths: Vec<usize> = (0..count(shapes, "stages.")).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    agree(config, "depths", &depths)?;
    if depths.len() != ratios.len() || ratios.contains(&0) {
        return Err(ArchError::Unsupported(format!("Next-ViT: {} stages, and ratios of attention {ratios:?}", depths.len())));
    }
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "stem.0.conv.weight", *size, 1e-5)?;
    for (i, stride) in [2, 1, 1, 2].into_iter().enumerate() {
        x = net.conv(&format!("stem.{i}.conv"), x, stride, Groups::One, Padding::Half)?;
        x = net.norm(&format!("stem.{i}.norm"), x)?;
        x = net.act(&format!("stem.{i}.act"), act, x)?;
    }
    for (stage, (&depth, &ratio)) in depths.iter().zip(&ratios).enumerate() {
        let asked = Asked { act, ratio };
        for block in 0..depth {
            let name = format!("stages.{stage}.blocks.{block}");
            x = embedded(&mut net, &format!("{name}.patch_embed"), x, stage > 0 && block == 0)?;
            let attends = net.has(&format!("{name}.e_mhsa.q.weight"));
            x = if attends { attending(&mut net, &name, x, asked)? } else { convolving(&mut net, &name, x, act)? };
        }
    }
    x = net.norm("norm", x)?;
    x = pooled(&mut net, config, "head.global_pool", x)?;
    x = head(&mut net, "head.fc", x)?;
    net.finish(x, format!("Next-ViT, {} blocks, timm names", depths.iter().sum::<usize>()))
}

/// The map halved, or brought to another width, where the file has the convolution for it. Of an odd side the last mean is of what is left.
fn embedded(net: &mut Layers, name: &str, mut x: NodeId, halves: bool) -> Made {
    if halves {
        let [h, w] = net.size(x);
        let window = Window { kernel: [2, 2], stride: [2, 2], pads: [0, 0, h % 2, w % 2], dilation: [1, 1] };
        x = net.add(&format!("{name}.pool"), Op::AvgPool { window, count_include_pad: false }, &[x])?;
    }
    if !halves && !net.has(&format!("{name}.conv.weight")) {
        return Ok(x);
    }
    x = net.conv(&format!("{name}.conv"), x, 1, Groups::One, Padding::Half)?;
    net.norm(&format!("{name}.norm"), x)
}

/// Grouped convolutions, added.
fn grouped(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Made {
    let mut x = net.conv(&format!("{name}.group_conv3x3"), input, 1, Groups::Fitting, Padding::Half)?;
    x = net.norm(&format!("{name}.norm"), x)?;
    x = net.act(&format!("{name}.act"), act, x)?;
    x = net.conv(&format!("{name}.projection"), x, 1, Groups::One, Padding::Half)?;
    net.sum(&format!("{name}.add"), input, x)
}

/// Two convolutions of a single place behind a norm, added.
fn mlp(net: &mut Layers, name: &str, norm: &str, input: NodeId, act: Unary) -> Made {
    let mut x = net.norm(&format!("{name}.{norm}"), input)?;
    x = net.conv(&format!("{name}.mlp.fc1"), x, 1, Groups::One, Padding::Half)?;
    x = net.act(&format!("{name}.mlp.act"), act, x)?;
    x = net.conv(&format!("{name}.mlp.fc2"), x, 1, Groups::One, Padding::Half)?;
    net.sum(&format!("{name}.mlp.add"), input, x)
}

fn convolving(net: &mut Layers, name: &str, x: NodeId, act: Unary) -> Made {
    let x = grouped(net, &format!("{name}.mhca"), x, act)?;
    mlp(net, name, "norm", x, act)
}

fn attending(net: &mut Layers, name: &str, input: NodeId, asked: Asked) -> Made {
    let size = net.size(input);
    let group = net.look(&format!("{name}.mhca.group_conv3x3.weight")).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let x = net.norm(&format!("{name}.norm1"), input)?;
    let x = net.tokens(&format!("{name}.e_mhsa.tokens"), x)?;
    let x = attention(net, &format!("{name}.e_mhsa"), x, group, asked.ratio)?;
    let x = net.map(&format!("{name}.e_mhsa.map"), x, size)?;
    let x = net.sum(&format!("{name}.e_mhsa.add"), input, x)?;
    let other = embedded(net, &format!("{name}.projection"), x, false)?;
    let other = grouped(net, &format!("{name}.mhca"), other, asked.act)?;
    let x = net.concat(&format!("{name}.concat"), 1, &[x, other])?;
    mlp(net, name, "norm2", x, asked.act)
}

fn attention(net: &mut Layers, name: &str, x: NodeId, group: usize, ratio: usize) -> Made {
    let width = net.width(x);
    let heads = width.checked_div(group).unwrap_or(0);
    let q = net.linear(&format!("{name}.q"), x)?;
    let q = net.heads(&format!("{name}.q.heads"), q, heads)?;
    let few = if ratio > 1 { fewer(net, name, x, ratio * ratio)? } else { x };
    let k = net.linear(&format!("{name}.k"), few)?;
    let k = net.heads(&format!("{name}.k.heads"), k, heads)?;
    let v = net.linear(&format!("{name}.v"), few)?;
    let v = net.heads(&format!("{name}.v.heads"), v, heads)?;
    let x = net.attend(name, [q, k, v], (group.max(1) as f64).powf(-0.5), None)?;
    net.linear(&format!("{name}.proj"), x)
}

/// The mean of every `each` tokens in a row, with a batch norm; what is left at the end goes.
fn fewer(net: &mut Layers, name: &str, x: NodeId, each: usize) -> Made {
    let (tokens, width) = (net.whole(x).get(1).copied().unwrap_or(0), net.width(x));
    let number = tokens / each;
    if net.is_whole() && number == 0 {
        return Err(ArchError::Unsupported(format!(
            "`{name}` takes the mean of {each} places, and there are {tokens}: give a greater size"
        )));
    }
    let x = net.slice(&format!("{name}.sr.all"), x, 1, 0, number * each)?;
    let x = net.reshape(&format!("{name}.sr.rows"), x, &[number, each, width])?;
    let x = net.mean(&format!("{name}.sr"), x, &[2], false)?;
    let x = net.transpose(&format!("{name}.norm.first"), x, &[0, 2, 1])?;
    let x = net.norm(&format!("{name}.norm"), x)?;
    net.transpose(&format!("{name}.norm.last"), x, &[0, 2, 1])
}
