//! `TinyViT` under timm's names.
//!
//! Wu et al., "`TinyViT`: Fast Pretraining Distillation for Small Vision Transformers" (arXiv 2207.10666). A stage of inverted residual
//! blocks, and three whose attention stays within windows, with a depthwise convolution between attention and MLP. The size of the windows
//! and the number of heads are those of the tables of distances.

use super::config::Library;
use super::hybrid::{agree, agree_where, distance_bias, head, heads_of_three, pooled, side, unit, unwindowed, windows};
use super::layers::{Layers, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

const NAMES: [&str; 5] = ["tiny_vit_5m_224", "tiny_vit_11m_224", "tiny_vit_21m_224", "tiny_vit_21m_384", "tiny_vit_21m_512"];

const UNIT: [&str; 2] = ["conv", "bn"];

/// Of every layer norm.
const EPS: f64 = 1e-5;

pub(super) static FAMILY: Family = Family {
    name: "tiny-vit",
    about: "TinyViT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.contains_key("stages.1.blocks.0.local_conv.conv.weight");
        if own && shapes.contains_key("patch_embed.conv1.conv.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Gelu { tanh: false });
    config.shown(&["local_conv_size", "mbconv_expand_ratio", "mlp_ratio", "proj_drop_rate", "use_checkpoint"]);
    let stages = count(shapes, "stages.");
    let depths: Vec<usize> = (0..stages).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    agree(config, "depths", &depths)?;
    let table = |stage: usize| shapes.get(&format!("stages.{stage}.blocks.0.attn.attention_biases"));
    let heads: Vec<Option<usize>> = (0..stages).map(|stage| table(stage)?.first().copied()).collect();
    agree_where(config, "num_heads", &heads)?;
    let sides: Vec<Option<usize>> = (0..stages).map(|stage| side(*table(stage)?.get(1)?)).collect();
    agree_where(config, "window_sizes", &sides)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "patch_embed.conv1.conv.weight", *size, 1e-5)?;
    let mut x = unit(&mut net, "patch_embed.conv1", UNIT, input, 2)?;
    x = net.act("patch_embed.act", act, x)?;
    x = unit(&mut net, "patch_embed.conv2", UNIT, x, 2)?;
    let mut widths = Vec::new();
    for (stage, &depth) in depths.iter().enumerate() {
        let down = format!("stages.{stage}.downsample");
        if net.has(&format!("{down}.conv1.conv.weight")) {
            x = three(&mut net, &down, x, 2, act)?;
        }
        for block in 0..depth {
            let name = format!("stages.{stage}.blocks.{block}");
            x = if net.has(&format!("{name}.conv1.conv.weight")) {
                let changed = three(&mut net, &name, x, 1, act)?;
                let x = net.sum(&format!("{name}.add"), x, changed)?;
                net.act(&format!("{name}.act3"), act, x)?
            } else {
                self::block(&mut net, &name, x, shapes, act)?
            };
        }
        widths.push(net.channels(x));
    }
    agree(config, "embed_dims", &widths)?;
    x = pooled(&mut net, config, "head.global_pool", x)?;
    x = net.layer_norm("head.norm", x, EPS)?;
    x = head(&mut net, "head.fc", x)?;
    net.finish(x, format!("TinyViT, {} blocks, timm names", depths.iter().sum::<usize>()))
}

/// Three convolutions, of which the one in the middle is depthwise and may stride.
fn three(net: &mut Layers, name: &str, mut x: NodeId, stride: usize, act: Unary) -> Made {
    for (i, stride) in [(1, 1), (2, stride), (3, 1)] {
        x = unit(net, &format!("{name}.conv{i}"), UNIT, x, stride)?;
        if i < 3 {
            x = net.act(&format!("{name}.act{i}"), act, x)?;
        }
    }
    Ok(x)
}

fn block(net: &mut Layers, name: &str, input: NodeId, shapes: &Shapes, act: Unary) -> Made {
    let size = net.size(input);
    let attn = format!("{name}.attn");
    let places = shapes.get(&format!("{attn}.attention_biases")).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let x = windows(net, &attn, input, side(places).unwrap_or(0))?;
    let x = attention(net, &attn, x)?;
    let x = unwindowed(net, &attn, x, size)?;
    let x = net.sum(&format!("{name}.add1"), input, x)?;
    let x = unit(net, &format!("{name}.local_conv"), UNIT, x, 1)?;
    let changed = net.transpose(&format!("{name}.mlp.last"), x, &[0, 2, 3, 1])?;
    let changed = net.layer_norm(&format!("{name}.mlp.norm"), changed, EPS)?;
    let changed = net.mlp([&format!("{name}.mlp.fc1"), &format!("{name}.mlp.fc2")], changed, act)?;
    let changed = net.transpose(&format!("{name}.mlp.first"), changed, &[0, 3, 1, 2])?;
    net.sum(&format!("{name}.add2"), x, changed)
}

/// On maps that may be windows.
fn attention(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let (grid @ [h, w], channels, per_image) = (net.size(input), net.channels(input), net.per_image(input));
    let table = format!("{name}.attention_biases");
    let Some(found) = net.look(&table) else { return Ok(input) };
    let bias = distance_bias(net, &table, grid, 1)?;
    let x = net.transpose(&format!("{name}.last"), input, &[0, 2, 3, 1])?;
    let x = net.reshape_by(&format!("{name}.tokens"), x, per_image, &[h * w, channels])?;
    let x = net.layer_norm(&format!("{name}.norm"), x, EPS)?;
    let x = net.linear(&format!("{name}.qkv"), x)?;
    let heads = found.first().copied().unwrap_or(0);
    let values = net.look(&format!("{name}.proj.weight")).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let parts @ [q, ..] = heads_of_three(net, &format!("{name}.qkv"), x, heads, values)?;
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    let x = net.attend(name, parts, scale, Some(bias))?;
    let x = net.linear(&format!("{name}.proj"), x)?;
    let x = net.reshape_by(&format!("{name}.places"), x, per_image, &[h, w, channels])?;
    net.transpose(&format!("{name}.first"), x, &[0, 3, 1, 2])
}
