//! `Res2Net` and `Res2NeXt` under timm's names.
//!
//! Gao et al., "`Res2Net`: A New Multi-scale Backbone Architecture" (arXiv 1904.01169). A ResNet whose bottlenecks convolve their channels part
//! by part, each part with the result of the one before. How many parts there are follows from the widths of the first convolution and of the
//! parts'; the last one is passed on, or pooled where a stage begins, by a mean in which padding counts.

use super::config::Library;
use super::layers::{Groups, Layers, Padding, stages};
use super::resnet::{Asked, Step, joined, network, normed};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::NodeId;

pub(super) static FAMILY: Family = Family {
    name: "res2net",
    about: "Res2Net and Res2NeXt under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &["res2net", "res2next"],
    within: &[],
    shows: |shapes| if shapes.contains_key("layer1.0.convs.0.weight") { Likeness::Yes } else { Likeness::No },
    build,
};

const NAMES: [&str; 9] = [
    "res2net50_14w_8s",
    "res2net50_26w_4s",
    "res2net50_26w_6s",
    "res2net50_26w_8s",
    "res2net50_48w_2s",
    "res2net50d",
    "res2net101_26w_4s",
    "res2net101d",
    "res2next50",
];

fn build(source: &Source) -> Result<Built, ArchError> {
    let shapes = source.shapes;
    let asked = Asked::of(&source.config, shapes)?;
    let first = |name: &str| shapes.get(name).and_then(|shape| shape.first().copied()).unwrap_or(0);
    let parts = first("layer1.0.conv1.weight") / first("layer1.0.convs.0.weight").max(1);
    if let Some(block) = source.config.within("block_args")? {
        block.agrees("scale", parts)?;
        block.finish()?;
    }
    let (net, x) = network(FAMILY.name, source, &asked, &residual)?;
    let depth = 3 * stages(shapes).iter().sum::<usize>() + 2;
    net.finish(x, format!("Res2Net-{depth}, {parts} parts, timm names{}", asked.told()))
}

fn residual(net: &mut Layers, name: &str, input: NodeId, step: Step) -> Result<NodeId, ArchError> {
    let Step { stride, first, act, norm, .. } = step;
    let begins = stride > 1 || [0, 1].iter().any(|i| net.has(&format!("{name}.downsample.{i}.weight")));
    let mut x = net.conv(&format!("{name}.conv1"), input, 1, Groups::One, Padding::Half)?;
    x = normed(net, &format!("{name}.bn1"), x, norm)?;
    x = net.act(&format!("{name}.relu1"), act, x)?;
    let convolved = (0..64).take_while(|i| net.has(&format!("{name}.convs.{i}.weight"))).count();
    let width = net.look(&format!("{name}.convs.0.weight")).and_then(|shape| shape.first().copied()).unwrap_or(0);
    let all = net.channels(x);
    // One convolution alone may stand for one part or for two.
    let parts = all / width.max(1);
    if net.is_whole() && (width == 0 || all != parts * width || convolved != parts.saturating_sub(1).max(1)) {
        let expected = format!("as many convolutions as parts of {width} channels but one");
        return Ok(net.misfit(&format!("{name}.conv1.weight"), &[all], &expected, x));
    }
    let (mut done, mut last) = (Vec::new(), None);
    for i in 0..convolved {
        let mut part = net.slice(&format!("{name}.part{i}"), x, 1, i * width, (i + 1) * width)?;
        if let Some(last) = last.filter(|_| !begins) {
            part = net.sum(&format!("{name}.part{i}.add"), last, part)?;
        }
        part = net.dilated(&format!("{name}.convs.{i}"), part, (stride, first), Groups::Fitting, Padding::Half)?;
        part = normed(net, &format!("{name}.bns.{i}"), part, norm)?;
        part = net.act(&format!("{name}.relus.{i}"), act, part)?;
        done.push(part);
        last = Some(part);
    }
    if parts > 1 {
        let mut rest = net.slice(&format!("{name}.rest"), x, 1, (parts - 1) * width, parts * width)?;
        if begins {
            rest = net.avg_pool(&format!("{name}.pool"), rest, 3, stride, 1, true)?;
        }
        done.push(rest);
    }
    x = net.concat(&format!("{name}.concat"), 1, &done)?;
    x = net.conv(&format!("{name}.conv3"), x, 1, Groups::One, Padding::Half)?;
    x = normed(net, &format!("{name}.bn3"), x, norm)?;
    joined(net, name, input, x, step)
}
