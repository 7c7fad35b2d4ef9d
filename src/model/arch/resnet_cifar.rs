//! `ResNet`s for small images: a 3x3 stem with stride 1 and no pooling after it.
//!
//! He et al. (arXiv 1512.03385), section 4.2. Where a block changes the width and the file has no tensors for its shortcut,
//! the shortcut is theirs too (option A): every `stride`-th pixel, and zeros for the new channels, half of them before and
//! half behind the old ones. Else it is a 1x1 convolution with a batch norm (`shortcut.0` or `downsample.0`).

use super::layers::{Groups, Layers, Padding, stages};
use super::resnet::stem;
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Unary};

pub(super) static FAMILY: Family = Family {
    name: "resnet-cifar",
    about: "ResNet for small images: a 3x3 stem, and no pooling after it",
    usual_size: [32, 32],
    preprocessing: || None,
    is_called: |name| {
        let published = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"];
        name.plain.starts_with("resnet-cifar") || published.contains(&name.plain.as_str())
    },
    stems: &["resnet-cifar-", "resnet"],
    within: &["resnet"],
    shows: |shapes| match stem(shapes) {
        None => Likeness::No,
        Some(stem) if stem.fits_both() => Likeness::Perhaps,
        Some(stem) if stem.kernel == 7 => Likeness::No,
        Some(_) => Likeness::Yes,
    },
    build,
};

pub(super) fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    let max_pool = match config.pooling("avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    config.shown(&["channels", "layers", "stem_width"]);
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "conv1.weight", *size, 1e-5)?;
    let mut x = net.conv("conv1", input, 1, Groups::One, Padding::Half)?;
    x = net.norm("bn1", x)?;
    x = net.act("relu", act, x)?;
    let mut convolutions = 0;
    let stages = stages(shapes);
    for (stage, &blocks) in stages.iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("layer{}.{block}", stage + 1);
            convolutions += if net.has(&format!("{name}.conv3.weight")) { 3 } else { 2 };
            x = residual(&mut net, &name, x, stride, act)?;
        }
    }
    x = net.pool("avgpool", max_pool, x)?;
    if let Some(head) = ["linear", "fc"].iter().find(|head| shapes.keys().any(|name| name.starts_with(&format!("{head}.")))) {
        x = net.linear(head, x)?;
    }
    let told = if act == Unary::Relu { String::new() } else { format!(", {act:?}") };
    net.finish(x, format!("ResNet-{} (CIFAR){told}{}", convolutions + 2, if max_pool { ", max pooling" } else { "" }))
}

fn residual(net: &mut Layers, name: &str, input: NodeId, stride: usize, act: Unary) -> Result<NodeId, ArchError> {
    let bottleneck = net.has(&format!("{name}.conv3.weight"));
    let strides = if bottleneck { vec![1, stride, 1] } else { vec![stride, 1] };
    let last = strides.len();
    let mut x = input;
    for (i, stride) in (1..).zip(strides) {
        x = net.conv(&format!("{name}.conv{i}"), x, stride, Groups::One, Padding::Half)?;
        x = net.norm(&format!("{name}.bn{i}"), x)?;
        if i < last {
            x = net.act(&format!("{name}.relu{i}"), act, x)?;
        }
    }
    let learnt = ["shortcut", "downsample"].iter().find(|part| net.has(&format!("{name}.{part}.0.weight")));
    let shortcut = match learnt {
        Some(part) => {
            let projected = net.conv(&format!("{name}.{part}.0"), input, stride, Groups::One, Padding::Half)?;
            net.norm(&format!("{name}.{part}.1"), projected)?
        }
        None => padded(net, name, input, x, stride)?,
    };
    x = net.sum(&format!("{name}.add"), x, shortcut)?;
    net.act(&format!("{name}.relu"), act, x)
}

/// The shortcut without weights.
fn padded(net: &mut Layers, name: &str, input: NodeId, like: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    if !net.is_whole() {
        return Ok(input);
    }
    let mut x = input;
    if stride > 1 {
        for axis in [2, 3] {
            let end = net.size(x)[axis - 2];
            x = net.add(&format!("{name}.shortcut.slice{axis}"), Op::Slice { axis, start: 0, end, step: stride }, &[x])?;
        }
    }
    let (from, to) = (net.channels(input), net.channels(like));
    if from < to {
        let before = (to - from) / 2;
        let pads = vec![(0, 0), (before, to - from - before), (0, 0), (0, 0)];
        x = net.add(&format!("{name}.shortcut.pad"), Op::Pad { pads, value: 0.0 }, &[x])?;
    }
    Ok(x)
}

/// Shapes of the tensors of a fresh network with shortcuts without weights.
pub(super) fn shapes(widths: &[usize], blocks: usize, classes: usize) -> Result<Shapes, ArchError> {
    let name = || format!("widths {widths:?}, {blocks} blocks, {classes} classes");
    let sane = |value: usize, most: usize| (1..=most).contains(&value);
    if widths.is_empty() || widths.len() > 8 || !widths.iter().all(|&w| sane(w, 4096)) || !sane(blocks, 256) || !sane(classes, 1 << 20) {
        let reason = "1 to 8 stages of 1 to 4096 channels, 1 to 256 blocks each, and at least one class".into();
        return Err(ArchError::Spec { name: name(), reason });
    }
    if widths.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(ArchError::Spec { name: name(), reason: "widths must not shrink from stage to stage".into() });
    }
    let mut shapes = Shapes::new();
    let mut unit = |conv: String, norm: String, out: usize, input: usize| {
        shapes.insert(format!("{conv}.weight"), vec![out, input, 3, 3]);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.insert(format!("{norm}.{part}"), vec![out]);
        }
    };
    let mut from = widths[0];
    unit("conv1".into(), "bn1".into(), from, 3);
    for (stage, &width) in (1..).zip(widths) {
        for block in 0..blocks {
            let at = format!("layer{stage}.{block}");
            unit(format!("{at}.conv1"), format!("{at}.bn1"), width, from);
            unit(format!("{at}.conv2"), format!("{at}.bn2"), width, width);
            from = width;
        }
    }
    shapes.insert("linear.weight".into(), vec![classes, from]);
    shapes.insert("linear.bias".into(), vec![classes]);
    Ok(shapes)
}

/// Widths and blocks per stage of `resnet-cifar-DEPTH[:W1,W2,...]`.
pub(super) fn parse(name: &str) -> Result<(Vec<usize>, usize), ArchError> {
    let bad = |reason: String| ArchError::Spec { name: name.into(), reason };
    let spec = name.strip_prefix("resnet-cifar-").ok_or_else(|| bad("only resnet-cifar networks are built from a name".into()))?;
    let (depth, widths) = spec.split_once(':').unwrap_or((spec, "16,32,64"));
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| bad(format!("`{text}` is not a number")));
    let depth = number(depth)?;
    let widths = widths.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
    let per_block = 2 * widths.len();
    match depth.checked_sub(2) {
        Some(layers) if layers > 0 && layers.is_multiple_of(per_block) => Ok((widths, layers / per_block)),
        _ => Err(bad(format!("{} stages have depth {}, {}, ...", widths.len(), per_block + 2, 2 * per_block + 2))),
    }
}
