//! SK-ResNet under timm's names.
//!
//! Li, Wang, Hu, Yang, "Selective Kernel Networks" (arXiv 1903.06586), as timm has them: one 3x3 convolution of a block becomes two of other
//! dilation, whose maps are mixed channel by channel by shares that are computed of the mean of both. In `SK-ResNet` each of the two gets half
//! the channels, in SK-ResNeXt both get all in groups; tensors alone do not tell one from the other.

use super::config::{Config, Library};
use super::layers::{Groups, Layers, Padding, stages};
use super::resnet::{Asked, Step, joined, network};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Op, Unary};

pub(super) static FAMILY: Family = Family {
    name: "skresnet",
    about: "SK-ResNet and SK-ResNeXt under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(["skresnet18", "skresnet34", "skresnet50", "skresnet50d", GROUPED]),
    stems: &["skresnet", "skresnext"],
    within: &[],
    shows: |shapes| {
        let paths = ["conv1", "conv2"].iter().any(|at| shapes.contains_key(&format!("layer1.0.{at}.paths.0.conv.weight")));
        if paths { Likeness::Yes } else { Likeness::No }
    },
    build,
};

const GROUPED: &str = "skresnext50_32x4d";

fn build(source: &Source) -> Result<Built, ArchError> {
    let shapes = source.shapes;
    let asked = Asked::of(&source.config, shapes)?;
    let split = split(&source.config)?;
    let grouped = source.config.name.as_ref().is_some_and(|name| name.is_one_of([GROUPED]));
    let groups = source.config.count("cardinality")?.unwrap_or(if grouped { 32 } else { 1 });
    let paths = Paths { split, groups };
    let block = |net: &mut Layers, name: &str, input: NodeId, step: Step| residual(net, name, input, step, paths);
    let (net, x) = network(FAMILY.name, source, &asked, &block)?;
    let convolutions = if net.has("layer1.0.conv3.conv.weight") { 3 } else { 2 };
    let depth = convolutions * stages(shapes).iter().sum::<usize>() + 2;
    let (kind, told) = (if split { "SKNet" } else { "SKNeXt" }, asked.told());
    net.finish(x, format!("{kind}-{depth}, timm names{told}"))
}

/// Whether each of the two convolutions gets half the channels.
fn split(config: &Config) -> Result<bool, ArchError> {
    let by_name = config.name.as_ref().filter(|name| name.plain != FAMILY.name).map(|name| !name.is_one_of([GROUPED]));
    let Some(block) = config.within("block_args")? else {
        return by_name.ok_or_else(|| ArchError::NeedsName {
            family: FAMILY.name,
            what: "whether its two convolutions share their channels".into(),
            names: vec!["timm/skresnet18".into(), format!("timm/{GROUPED}")],
        });
    };
    let mut split = true;
    if let Some(kernels) = block.within("sk_kwargs")? {
        kernels.shown(&["rd_ratio", "rd_channels", "rd_divisor"]);
        kernels.only("keep_3x3", true)?;
        split = kernels.flag("split_input", true)?;
        kernels.finish()?;
    }
    block.finish()?;
    Ok(split)
}

/// What the two convolutions get.
#[derive(Clone, Copy)]
struct Paths {
    /// Half of the channels, not all.
    split: bool,
    /// In so many groups.
    groups: usize,
}

fn residual(net: &mut Layers, name: &str, input: NodeId, step: Step, paths: Paths) -> Result<NodeId, ArchError> {
    let mut x = input;
    if net.has(&format!("{name}.conv3.conv.weight")) {
        x = unit(net, &format!("{name}.conv1"), x, 1)?;
        x = net.act(&format!("{name}.conv1.act"), step.act, x)?;
        x = selected(net, &format!("{name}.conv2"), x, step, paths)?;
        x = unit(net, &format!("{name}.conv3"), x, 1)?;
    } else {
        x = selected(net, &format!("{name}.conv1"), x, step, paths)?;
        x = unit(net, &format!("{name}.conv2"), x, step.dilation)?;
    }
    joined(net, name, input, x, step)
}

fn unit(net: &mut Layers, name: &str, x: NodeId, dilation: usize) -> Result<NodeId, ArchError> {
    let x = net.dilated(&format!("{name}.conv"), x, (1, dilation), Groups::One, Padding::Half)?;
    net.norm(&format!("{name}.bn"), x)
}

/// Two convolutions, the second of twice the dilation, and the mixture of both.
fn selected(net: &mut Layers, name: &str, x: NodeId, step: Step, paths: Paths) -> Result<NodeId, ArchError> {
    let inputs = if paths.split { net.split(&format!("{name}.split"), x, 1, 2)? } else { vec![x, x] };
    let mut done = Vec::new();
    for (i, input) in inputs.into_iter().enumerate() {
        let at = format!("{name}.paths.{i}");
        let weight = format!("{at}.conv.weight");
        let each = net.channels(input) / paths.groups;
        let fits = |found: &Vec<usize>| found.get(1..) == Some(&[each, 3, 3]);
        if let Some(found) = net.look(&weight).filter(|found| net.is_whole() && !fits(found)) {
            return Ok(net.misfit(&weight, &found, &format!("[out, {each}, 3, 3]"), x));
        }
        let moves = (step.stride, step.first * (i + 1));
        let path = net.dilated(&format!("{at}.conv"), input, moves, Groups::Fitting, Padding::Half)?;
        let path = net.norm(&format!("{at}.bn"), path)?;
        done.push(net.act(&format!("{at}.act"), step.act, path)?);
    }
    let &[one, other] = done.as_slice() else { return Ok(x) };
    let channels = net.channels(one);
    let both = net.sum(&format!("{name}.both"), one, other)?;
    let mean = net.mean(&format!("{name}.attn.mean"), both, &[2, 3], true)?;
    let less = net.conv(&format!("{name}.attn.fc_reduce"), mean, 1, Groups::One, Padding::Valid)?;
    let less = net.norm(&format!("{name}.attn.bn"), less)?;
    let less = net.act(&format!("{name}.attn.act"), Unary::Relu, less)?;
    let scores = net.conv(&format!("{name}.attn.fc_select"), less, 1, Groups::One, Padding::Valid)?;
    let scores = net.reshape(&format!("{name}.attn.scores"), scores, &[2, channels])?;
    let shares = net.add(&format!("{name}.attn.shares"), Op::Softmax { axis: 1 }, &[scores])?;
    let mut mixed = Vec::new();
    for (i, path) in [one, other].into_iter().enumerate() {
        let share = net.slice(&format!("{name}.attn.share{i}"), shares, 1, i, i + 1)?;
        let share = net.reshape(&format!("{name}.attn.column{i}"), share, &[channels, 1, 1])?;
        mixed.push(net.mul(&format!("{name}.mul{i}"), path, share)?);
    }
    let &[one, other] = mixed.as_slice() else { return Ok(x) };
    net.sum(&format!("{name}.sum"), one, other)
}
