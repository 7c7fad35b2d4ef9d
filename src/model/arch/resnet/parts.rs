//! Layers and checks of a ResNet that other families share, or that stand by themselves.

use crate::graph::{NodeId, Op, Role, Unary, Window};
use crate::model::arch::ArchError;
use crate::model::arch::config::Config;
use crate::model::arch::layers::{Conv, Groups, Layers, Padding};

/// What is done to maps before they stride.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Smooth {
    Mean,
    Blur,
}

/// The mean of 2x2 windows. A last row or column that has no partner counts alone; where the stage dilates, it gets zeros for one.
pub(in crate::model::arch) fn halved(net: &mut Layers, name: &str, x: NodeId, stride: usize, dilation: usize) -> Result<NodeId, ArchError> {
    let step = if dilation == 1 { stride } else { 1 };
    let [h, w] = net.size(x);
    let (pads, count_include_pad) = if step == 1 { ([0, 0, 1, 1], true) } else { ([0, 0, h % 2, w % 2], false) };
    let window = Window { kernel: [2, 2], stride: [step; 2], pads, dilation: [1; 2] };
    net.add(name, Op::AvgPool { window, count_include_pad }, &[x])
}

/// What smooths a map, and strides.
pub(super) fn smoothed(net: &mut Layers, name: &str, x: NodeId, smooth: Smooth, stride: usize) -> Result<NodeId, ArchError> {
    match smooth {
        Smooth::Mean if stride == 1 => Ok(x),
        Smooth::Mean => net.avg_pool(name, x, stride, stride, 0, true),
        Smooth::Blur => blurred(net, name, x, stride),
    }
}

/// Convolved with a binomial kernel of side 3, at edges with the map reflected.
fn blurred(net: &mut Layers, name: &str, x: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let size = net.size(x);
    if size.iter().any(|side| *side < 2) && net.is_whole() {
        return Err(ArchError::Unsupported(format!("`{name}`: a map of {size:?} cannot be reflected at its edges; images must be larger")));
    }
    let mut padded = x;
    for (axis, side) in (2..).zip(size) {
        let indices = std::iter::once(1).chain(0..side).chain(side.checked_sub(2)).collect();
        padded = net.select(&format!("{name}.reflect{axis}"), padded, axis, indices)?;
    }
    let channels = net.channels(x);
    let kernel: Vec<f32> = [1.0, 2.0, 1.0].iter().flat_map(|a| [1.0, 2.0, 1.0].map(|b| a * b / 16.0)).collect();
    let values: Vec<f32> = kernel.iter().copied().cycle().take(9 * channels).collect();
    let weight = net.constant(&format!("{name}.filt"), &[channels, 1, 3, 3], &values);
    net.conv_by(name, padded, weight, "", Conv { groups: channels, ..Conv::new(stride, 0) })
}

/// A map times what a convolution over its channels, in their order, makes of its mean.
pub(in crate::model::arch) fn eca(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let weight = format!("{name}.conv.weight");
    let Some(found) = net.look(&weight) else { return Ok(x) };
    let &[1, 1, kernel] = found.as_slice() else { return Ok(net.misfit(&weight, &found, "[1, 1, kernel]", x)) };
    if kernel % 2 == 0 {
        return Ok(net.misfit(&weight, &found, "[1, 1, an odd kernel]", x));
    }
    let channels = net.channels(x);
    let mean = net.mean(&format!("{name}.mean"), x, &[2, 3], true)?;
    let row = net.reshape(&format!("{name}.row"), mean, &[1, 1, channels])?;
    let taps = net.tensor(&weight, &found, Role::Weight);
    let taps = net.reshape_fixed(&format!("{weight}.reshape"), taps, &[1, 1, 1, kernel])?;
    let how = Conv { pads: [0, kernel / 2, 0, kernel / 2], ..Conv::new(1, 0) };
    let row = net.conv_by(&format!("{name}.conv"), row, taps, "", how)?;
    let gate = net.act(&format!("{name}.gate"), Unary::Sigmoid, row)?;
    let gate = net.reshape(&format!("{name}.column"), gate, &[channels, 1, 1])?;
    net.mul(&format!("{name}.mul"), x, gate)
}

/// timm's `ConvNormAct`: a convolution `name.conv`, a batch norm `name.bn` and, where given, the activation.
pub(in crate::model::arch) fn unit(
    net: &mut Layers,
    name: &str,
    x: NodeId,
    stride: usize,
    groups: Groups,
    act: Option<Unary>,
) -> Result<NodeId, ArchError> {
    let x = net.conv(&format!("{name}.conv"), x, stride, groups, Padding::Half)?;
    let x = net.norm(&format!("{name}.bn"), x)?;
    act.map_or(Ok(x), |act| net.act(&format!("{name}.act"), act, x))
}

/// timm's `ClassifierHead`: the map brought to one vector, and a linear layer `head.fc` where the file has it.
pub(in crate::model::arch) fn classified(net: &mut Layers, x: NodeId, max_pool: bool) -> Result<NodeId, ArchError> {
    let x = net.pool("head.global_pool", max_pool, x)?;
    if net.has("head.fc.weight") { net.linear("head.fc", x) } else { Ok(x) }
}

/// Refuses a configuration that counts something else than the tensors show.
pub(in crate::model::arch) fn same_counts(config: &Config, key: &str, found: &[usize]) -> Result<(), ArchError> {
    match config.counts(key)? {
        Some(said) if said != found => Err(ArchError::Unsupported(format!(
            "config.json: `{key}` is {said:?}, and the tensors show {found:?}: the two are of different models"
        ))),
        _ => Ok(()),
    }
}

/// The name that is given is of a network with other tensors.
pub(in crate::model::arch) fn mixed_up(config: &Config) -> ArchError {
    let name = config.name.as_ref().map_or("", |name| name.plain.as_str());
    ArchError::Unsupported(format!(
        "a network called `{name}` has other tensors than these: the name and the weights are of different models"
    ))
}
