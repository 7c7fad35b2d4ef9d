//! `RepViT` under timm's names.
//!
//! Wang, Chen, Lin, Han, Ding, "`RepViT`: Revisiting Mobile CNN From `ViT` Perspective" (arXiv 2307.09283): a convolutional network of a
//! transformer's build. Two heads, one trained with a teacher, read the same features, and their answers are averaged.

use super::config::Library;
use super::hybrid::{agree, answers, mean_only, unit};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

const NAMES: [&str; 8] = ["repvit_m1", "repvit_m2", "repvit_m3", "repvit_m0_9", "repvit_m1_0", "repvit_m1_1", "repvit_m1_5", "repvit_m2_3"];

const UNIT: [&str; 2] = ["c", "bn"];

pub(super) static FAMILY: Family = Family {
    name: "repvit",
    about: "RepViT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("stages.0.blocks.0.token_mixer.conv.c.weight") { Likeness::Yes } else { Likeness::No },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Gelu { tanh: false });
    config.shown(&["distillation", "img_size", "kernel_size", "legacy", "mlp_ratio"]);
    mean_only(config)?;
    let depths: Vec<usize> = (0..count(shapes, "stages.")).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    agree(config, "depth", &depths)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.conv1.c.weight", *size, 1e-5)?;
    let mut x = unit(&mut net, "stem.conv1", UNIT, input, 2)?;
    x = net.act("stem.act1", act, x)?;
    x = unit(&mut net, "stem.conv2", UNIT, x, 2)?;
    let mut widths = Vec::new();
    for (stage, &depth) in depths.iter().enumerate() {
        let down = format!("stages.{stage}.downsample");
        if net.has(&format!("{down}.spatial_downsample.c.weight")) {
            x = block(&mut net, &format!("{down}.pre_block"), x, act)?;
            x = unit(&mut net, &format!("{down}.spatial_downsample"), UNIT, x, 2)?;
            x = unit(&mut net, &format!("{down}.channel_downsample"), UNIT, x, 1)?;
            x = mlp(&mut net, &format!("{down}.ffn"), x, act)?;
        }
        for i in 0..depth {
            x = block(&mut net, &format!("stages.{stage}.blocks.{i}"), x, act)?;
        }
        widths.push(net.channels(x));
    }
    agree(config, "embed_dim", &widths)?;
    x = net.pool("global_pool", false, x)?;
    let name = |part: &str| (Some(format!("head.{part}.bn")), format!("head.{part}.l"));
    x = answers(&mut net, x, &[name("head"), name("head_dist")])?;
    net.finish(x, format!("RepViT, {} blocks, timm names", depths.iter().sum::<usize>()))
}

fn block(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Made {
    let mut x = mixer(net, &format!("{name}.token_mixer"), input)?;
    if net.has(&format!("{name}.se.fc1.weight")) {
        x = net.excited([&format!("{name}.se.fc1"), &format!("{name}.se.fc2")], x, Unary::Relu, Unary::Sigmoid)?;
    }
    mlp(net, &format!("{name}.channel_mixer"), x, act)
}

/// Two depthwise convolutions and the input, added. The second has a norm of its own, or all three have one together.
fn mixer(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let x = unit(net, &format!("{name}.conv"), UNIT, input, 1)?;
    let one = format!("{name}.conv1");
    let alone = net.has(&format!("{one}.c.weight"));
    let point = if alone { unit(net, &one, UNIT, input, 1)? } else { net.conv(&one, input, 1, Groups::Depthwise, Padding::Half)? };
    let x = net.sum(&format!("{name}.sum"), x, point)?;
    let x = net.sum(&format!("{name}.add"), x, input)?;
    if alone { Ok(x) } else { net.norm(&format!("{name}.bn"), x) }
}

/// Two convolutions of a single place, added.
fn mlp(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Made {
    let x = unit(net, &format!("{name}.conv1"), UNIT, input, 1)?;
    let x = net.act(&format!("{name}.act"), act, x)?;
    let x = unit(net, &format!("{name}.conv2"), UNIT, x, 1)?;
    net.sum(&format!("{name}.add"), input, x)
}
