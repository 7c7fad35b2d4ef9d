//! `DenseNet` under torchvision's and timm's names, which are the same.
//!
//! Huang, Liu, van der Maaten, Weinberger (arXiv 1608.06993). Growth, depth and stem (one 7x7 convolution, or three of 3x3) follow from the
//! tensors. `densenetblur121d` blurs where the others take the greatest of every second window (Zhang, arXiv 1904.11486), which only its
//! name says.

use super::{head, likeness, listed, max_pooling, plain_timm, row, same, told, words};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Conv, Groups, Layers, Padding};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "densenet",
    about: "DenseNet under torchvision's and timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let torchvision = ["densenet121", "densenet161", "densenet169", "densenet201"];
        (name.may_be(Library::Torchvision) && name.is_one_of(torchvision))
            || (name.may_be(Library::Timm) && name.is_one_of(TIMM.iter().map(|(name, _)| *name)))
    },
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "features.denseblock1.denselayer1.conv1.weight"),
    build,
};

struct Variant {
    blocks: [usize; 4],
    blurs: bool,
}

/// timm's names.
const TIMM: [(&str, Variant); 6] = [
    ("densenet121", Variant { blocks: [6, 12, 24, 16], blurs: false }),
    ("densenet161", Variant { blocks: [6, 12, 36, 24], blurs: false }),
    ("densenet169", Variant { blocks: [6, 12, 32, 32], blurs: false }),
    ("densenet201", Variant { blocks: [6, 12, 48, 32], blurs: false }),
    ("densenet264d", Variant { blocks: [6, 12, 64, 48], blurs: false }),
    ("densenetblur121d", Variant { blocks: [6, 12, 24, 16], blurs: true }),
];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    config.only("aa_stem_only", true)?;
    config.shown(&["memory_efficient", "proj_drop_rate", "stem_type"]);
    let width =
        |conv: &str| shapes.get(&format!("features.denseblock1.denselayer1.{conv}.weight")).and_then(|shape| shape.first()).copied();
    if let Some((inner, growth)) = width("conv1").zip(width("conv2").filter(|growth| *growth > 0)) {
        config.agrees("growth_rate", growth)?;
        config.agrees("bn_size", inner / growth)?;
    }
    if let Some(layer) = config.get("aa_layer") {
        return Err(config.refused("aa_layer", layer));
    }
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    let max = max_pooling(config)?;
    let blocks = blocks(source);
    let variant = row(config, &TIMM);
    if let Some(variant) = variant
        && !listed(config, "block_config", &blocks)?
        && config.library == Library::Timm
    {
        same(config, "blocks of", &variant.blocks, &blocks)?;
    }
    let deep = shapes.contains_key("features.conv1.weight");
    if deep && variant.is_none() {
        let what = "whether its stem blurs".to_owned();
        return Err(ArchError::NeedsName {
            family: FAMILY.name,
            what,
            names: vec!["timm/densenet264d".into(), "timm/densenetblur121d".into()],
        });
    }
    let blurs = variant.is_some_and(|variant| variant.blurs);
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "features.conv0.weight", size, 1e-5)?;
    for i in 0..if deep { 3 } else { 1 } {
        let stride = if i == 0 { 2 } else { 1 };
        x = net.conv(&format!("features.conv{i}"), x, stride, Groups::One, Padding::Half)?;
        x = net.norm(&format!("features.norm{i}"), x)?;
        x = net.act(&format!("features.relu{i}"), act, x)?;
    }
    x = if blurs {
        let all = net.max_pool("features.pool0.0", x, 3, 1, 1)?;
        blurred(&mut net, "features.pool0.1", all)?
    } else {
        net.stem_pool("features.pool0", x)?
    };
    for (i, &layers) in (1..).zip(&blocks) {
        x = dense(&mut net, &format!("features.denseblock{i}"), x, layers, act)?;
        if i < blocks.len() {
            let name = format!("features.transition{i}");
            x = normed(&mut net, &format!("{name}.norm"), x, act)?;
            x = net.conv(&format!("{name}.conv"), x, 1, Groups::One, Padding::Half)?;
            x = net.avg_pool(&format!("{name}.pool"), x, 2, 2, 0, true)?;
        }
    }
    x = normed(&mut net, "features.norm5", x, act)?;
    x = net.pool("global_pool", max, x)?;
    x = head(&mut net, shapes, "classifier", x)?;
    let blurring = if blurs { ", blurring stem" } else { "" };
    net.finish(x, format!("DenseNet, blocks of {} layers{blurring}{}", words(&blocks), told(Some((Unary::Relu, act)), max)))
}

/// Layers in each block.
fn blocks(source: &Source) -> Vec<usize> {
    let has = |start: &String| source.shapes.range(start.clone()..).next().is_some_and(|(name, _)| name.starts_with(start));
    let layers = |block: usize| {
        let name = |layer: usize| format!("features.denseblock{block}.denselayer{layer}.");
        (1..=source.shapes.len()).take_while(|&layer| has(&name(layer))).count()
    };
    (1..=source.shapes.len()).map(layers).take_while(|&layers| layers > 0).collect()
}

fn normed(net: &mut Layers, name: &str, x: NodeId, act: Unary) -> Result<NodeId, ArchError> {
    let x = net.norm(name, x)?;
    net.act(&format!("{name}.act"), act, x)
}

/// Every layer reads what all layers before it gave.
fn dense(net: &mut Layers, name: &str, x: NodeId, layers: usize, act: Unary) -> Result<NodeId, ArchError> {
    let mut all = x;
    for i in 1..=layers {
        let name = format!("{name}.denselayer{i}");
        // Files of torchvision's first years.
        let dot = if net.has(&format!("{name}.norm.1.weight")) { "." } else { "" };
        let mut new = all;
        for j in 1..=2 {
            new = normed(net, &format!("{name}.norm{dot}{j}"), new, act)?;
            new = net.conv(&format!("{name}.conv{dot}{j}"), new, 1, Groups::One, Padding::Half)?;
        }
        all = net.concat(&format!("{name}.concat"), 1, &[all, new])?;
    }
    Ok(all)
}

/// Every second value of a map weighted with its neighbours 1:2:1 down and across, mirrored at the edges (timm's `BlurPool2d`).
fn blurred(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let (mut x, channels) = (x, net.channels(x));
    for (axis, side) in [(2, net.size(x)[0]), (3, net.size(x)[1])] {
        if side < 2 && !net.is_whole() {
            return Ok(x);
        }
        if side < 2 {
            return Err(ArchError::Unsupported(format!("`{name}`: images are too small to be mirrored at their edges")));
        }
        let places = std::iter::once(1).chain(0..side).chain([side - 2]).collect();
        x = net.select(&format!("{name}.mirrored{axis}"), x, axis, places)?;
    }
    let one = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0].map(|weight: f32| weight / 16.0);
    let filter = net.constant(&format!("{name}.filt"), &[channels, 1, 3, 3], &one.repeat(channels));
    net.conv_by(name, x, filter, &format!("{name}.bias"), Conv { groups: channels, ..Conv::new(2, 0) })
}
