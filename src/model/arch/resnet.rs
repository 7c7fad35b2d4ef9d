//! ResNet, `ResNeXt` and Wide ResNet under torchvision's and timm's names, and what timm makes of them.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385); the stride of a bottleneck is in its
//! 3x3 convolution, as in torchvision. Blocks are basic (two convolutions) or bottlenecks (three), by their tensors. Tensors show too: a stem
//! of three convolutions, a mean before the shortcut's convolution (He et al., arXiv 1812.01187), a convolution for the stem's pooling (Bello
//! et al., arXiv 2103.07579), and what weighs channels at the end of a block: squeeze-and-excitation (Hu et al., arXiv 1709.01507) or a
//! convolution over neighbouring channels (ECA, Wang et al., arXiv 1910.03151). A name alone shows what smooths maps before they stride: a mean
//! (`resnetaa50d`) or a blur (`resnetblur50`, Zhang, arXiv 1904.11486).
//!
//! `names` lists what timm calls so, `asked` reads what tensors do not show, `parts` has layers and checks that other families share.

mod asked;
mod names;
mod parts;

use super::config::Library;
use super::layers::{Groups, Layers, Padding, stages};
pub(super) use super::staged::takes_greatest;
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};
pub(super) use asked::Asked;
use asked::{attention, attention_agrees};
use parts::{Smooth, smoothed};
pub(super) use parts::{classified, eca, halved, mixed_up, same_counts, unit};

pub(super) static FAMILY: Family = Family {
    name: "resnet",
    about: "ResNet, ResNeXt, Wide ResNet, SE-ResNet, ECA-ResNet and ResNet-RS under torchvision's and timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let rest = ["resnet", "resnext", "wide-resnet"].iter().filter_map(|stem| name.plain.strip_prefix(stem));
        rest.into_iter().any(names::is_plain) || (name.may_be(Library::Timm) && name.is_one_of(names::all_of_timm()))
    },
    stems: &["wide-resnet", "ecaresnext", "ecaresnet", "seresnext", "seresnet", "resnetblur", "resnetaa", "resnext", "resnet"],
    within: &[],
    shows: |shapes| match stem(shapes) {
        Some(stem) if stem.kernel == 7 => Likeness::Yes,
        Some(stem) if stem.fits_both() => Likeness::Perhaps,
        None if is_deep(shapes) => Likeness::Yes,
        _ => Likeness::No,
    },
    build,
};

/// Groups of timm's group norm where nothing else is said.
const NORM_GROUPS: usize = 32;

/// What tells a ResNet for small images from one for large ones: their tensors have the same names.
pub(super) struct Stem {
    /// Side of the first convolution.
    pub kernel: usize,
    four_stages: bool,
    downsample: bool,
}

impl Stem {
    /// Whether only a person can say which of the two it is.
    pub(super) fn fits_both(&self) -> bool {
        self.kernel == 3 && self.four_stages && self.downsample
    }
}

/// Of tensors with a ResNet's names.
pub(super) fn stem(shapes: &Shapes) -> Option<Stem> {
    let stem = shapes.get("conv1.weight").filter(|_| has_blocks(shapes))?;
    Some(Stem {
        kernel: stem.get(2).copied().unwrap_or(0),
        four_stages: shapes.keys().any(|name| name.starts_with("layer4.")),
        downsample: shapes.keys().any(|name| name.contains(".downsample.")),
    })
}

/// Whether there are stages of blocks whose convolutions are plain ones.
fn has_blocks(shapes: &Shapes) -> bool {
    let other = ["convs.", "conv1.", "conv2.", "conv3."].map(|part| format!("layer1.0.{part}"));
    let plain = |name: &str| name.matches('.').count() == 3;
    let mut blocks = shapes.keys().filter(|name| name.starts_with("layer1.0.")).peekable();
    blocks.peek().is_some() && blocks.all(|name| plain(name) || !other.iter().any(|start| name.starts_with(start)))
}

/// Whether the stem has three convolutions.
fn is_deep(shapes: &Shapes) -> bool {
    shapes.get("conv1.0.weight").is_some_and(|stem| stem.len() == 4) && shapes.contains_key("conv1.6.weight") && has_blocks(shapes)
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let shapes = source.shapes;
    let asked = Asked::of(&source.config, shapes)?;
    attention_agrees(&source.config, shapes)?;
    if is_deep(shapes) && source.config.name.as_ref().is_none_or(|name| name.plain == FAMILY.name) {
        return Err(ArchError::NeedsName {
            family: FAMILY.name,
            what: "whether maps are smoothed before they stride".into(),
            names: ["timm/resnet50d", "timm/resnetaa50d", "timm/resnetblur50d"].map(str::to_owned).into(),
        });
    }
    let (net, x) = network(FAMILY.name, source, &asked, &residual)?;
    let grouped = shapes
        .get("layer1.0.conv2.weight")
        .zip(shapes.get("layer1.0.conv1.weight"))
        .is_some_and(|(second, first)| second.get(1) != first.first());
    let blocks = stages(shapes).into_iter().zip(1..).flat_map(|(blocks, stage)| (0..blocks).map(move |block| (stage, block)));
    let depth: usize =
        blocks.map(|(stage, block)| if net.has(&format!("layer{stage}.{block}.conv3.weight")) { 3 } else { 2 }).sum::<usize>() + 2;
    let kind = if grouped { "ResNeXt" } else { "ResNet" };
    let deep = if is_deep(shapes) { ", deep stem" } else { "" };
    let weighed = match attention(shapes) {
        "se" => ", squeeze-and-excitation",
        "eca" => ", ECA",
        _ => "",
    };
    net.finish(x, format!("{kind}-{depth}, torchvision names{deep}{weighed}{}", asked.told()))
}

/// How a block is built: its name, what enters it, and what it does beyond its tensors.
type Block<'b> = &'b dyn Fn(&mut Layers, &str, NodeId, Step) -> Result<NodeId, ArchError>;

/// Stem, stages of blocks, pooling and head.
pub(super) fn network<'a>(
    family: &'static str,
    source: &Source<'a>,
    asked: &Asked,
    block_of: Block<'_>,
) -> Result<(Layers<'a>, NodeId), ArchError> {
    let (act, shapes) = (asked.act, source.shapes);
    let norm = if asked.group_norm { Norm::Group } else { Norm::Batch };
    let deep = shapes.contains_key("conv1.0.weight");
    let first = if deep { "conv1.0.weight" } else { "conv1.weight" };
    let (mut net, input) = Layers::new(family, shapes, first, source.size, 1e-5)?;
    let mut x = if deep { deep_stem(&mut net, input, norm, act)? } else { net.conv("conv1", input, 2, Groups::One, Padding::Half)? };
    x = normed(&mut net, "bn1", x, norm)?;
    x = net.act("relu", act, x)?;
    x = pooled_stem(&mut net, x, asked, norm)?;
    // From `output_stride` on a stage does not stride: it dilates, all but the first convolution of its first block.
    let (mut reduced, mut dilation) = (4, 1);
    for (stage, blocks) in stages(shapes).into_iter().enumerate() {
        let before = dilation;
        let wanted = if stage > 0 { 2 } else { 1 };
        let stride = if reduced >= asked.output_stride { 1 } else { wanted };
        dilation *= wanted / stride;
        reduced *= stride;
        for block in 0..blocks {
            let (stride, first) = if block == 0 { (stride, before) } else { (1, dilation) };
            let step = Step { stride, first, dilation, act, norm, smooth: asked.smooth };
            x = block_of(&mut net, &format!("layer{}.{block}", stage + 1), x, step)?;
        }
    }
    x = net.pool("avgpool", asked.max_pool, x)?;
    if shapes.keys().any(|name| name.starts_with("fc.")) {
        x = net.linear("fc", x)?;
    }
    Ok((net, x))
}

fn deep_stem(net: &mut Layers, input: NodeId, norm: Norm, act: Unary) -> Result<NodeId, ArchError> {
    let mut x = net.conv("conv1.0", input, 2, Groups::One, Padding::Half)?;
    for (norm_at, conv_at) in [(1, 3), (4, 6)] {
        x = normed(net, &format!("conv1.{norm_at}"), x, norm)?;
        x = net.act(&format!("conv1.relu{norm_at}"), act, x)?;
        x = net.conv(&format!("conv1.{conv_at}"), x, 1, Groups::One, Padding::Half)?;
    }
    Ok(x)
}

/// What halves the map behind the stem.
fn pooled_stem(net: &mut Layers, x: NodeId, asked: &Asked, norm: Norm) -> Result<NodeId, ArchError> {
    if net.has("maxpool.0.weight") {
        let x = net.conv("maxpool.0", x, 2, Groups::One, Padding::Half)?;
        let x = normed(net, "maxpool.1", x, norm)?;
        return net.act("maxpool.relu", asked.act, x);
    }
    match asked.smooth {
        None => net.stem_pool("maxpool", x),
        Some(Smooth::Mean) => smoothed(net, "maxpool", x, Smooth::Mean, 2),
        Some(Smooth::Blur) => {
            let x = net.max_pool("maxpool.0", x, 3, 1, 1)?;
            smoothed(net, "maxpool.1", x, Smooth::Blur, 2)
        }
    }
}

/// Norms of a network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    Batch,
    Group,
}

/// What a block does beyond its tensors.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub stride: usize,
    /// Dilation of the convolution that may stride, and of that behind it.
    pub first: usize,
    pub dilation: usize,
    pub act: Unary,
    pub norm: Norm,
    smooth: Option<Smooth>,
}

pub(super) fn normed(net: &mut Layers, name: &str, x: NodeId, norm: Norm) -> Result<NodeId, ArchError> {
    match norm {
        Norm::Batch => net.norm(name, x),
        Norm::Group => group_normed(net, name, x, NORM_GROUPS),
    }
}

/// A group norm; behind a tensor that does not fit, where the map is another than it would be, its tensors are looked for alone.
pub(super) fn group_normed(net: &mut Layers, name: &str, x: NodeId, groups: usize) -> Result<NodeId, ArchError> {
    if net.is_whole() {
        return net.group_norm(name, x, groups, 1e-5);
    }
    for part in ["weight", "bias"] {
        net.look(&format!("{name}.{part}"));
    }
    Ok(x)
}

fn residual(net: &mut Layers, name: &str, input: NodeId, step: Step) -> Result<NodeId, ArchError> {
    let Step { stride, first, dilation, act, .. } = step;
    let bottleneck = net.has(&format!("{name}.conv3.weight"));
    // What smooths strides too, in place of the convolution.
    let smooth = step.smooth.filter(|_| stride == 2 || first != dilation);
    let moved = if smooth.is_some() { 1 } else { stride };
    let moves = if bottleneck { vec![(1, 1), (moved, first), (1, 1)] } else { vec![(moved, first), (1, dilation)] };
    let last = moves.len();
    let mut x = input;
    for (i, moves) in (1..).zip(moves) {
        let groups = if i == 2 && bottleneck { Groups::Fitting } else { Groups::One };
        x = net.dilated(&format!("{name}.conv{i}"), x, moves, groups, Padding::Half)?;
        x = normed(net, &format!("{name}.bn{i}"), x, step.norm)?;
        if i < last {
            x = net.act(&format!("{name}.relu{i}"), act, x)?;
        }
        if let Some(smooth) = smooth.filter(|_| i + 1 == last) {
            x = smoothed(net, &format!("{name}.aa"), x, smooth, stride)?;
        }
    }
    joined(net, name, input, x, step)
}

/// The end of a block: attention, the shortcut, their sum, the activation.
pub(super) fn joined(net: &mut Layers, name: &str, input: NodeId, x: NodeId, step: Step) -> Result<NodeId, ArchError> {
    let mut x = x;
    let [less, more] = ["fc1", "fc2"].map(|part| format!("{name}.se.{part}"));
    if net.has(&format!("{less}.weight")) {
        x = net.excited([&less, &more], x, Unary::Relu, Unary::Sigmoid)?;
    } else if net.has(&format!("{name}.se.conv.weight")) {
        x = eca(net, &format!("{name}.se"), x)?;
    }
    let changes = net.channels(input) != net.channels(x) || step.stride != 1;
    let shortcut = shortcut(net, &format!("{name}.downsample"), input, changes, step)?;
    x = net.sum(&format!("{name}.add"), x, shortcut)?;
    net.act(&format!("{name}.relu"), step.act, x)
}

fn shortcut(net: &mut Layers, name: &str, input: NodeId, changes: bool, step: Step) -> Result<NodeId, ArchError> {
    let Step { stride, first, dilation, norm, .. } = step;
    let pooled = format!("{name}.1.weight");
    if net.has(&pooled) && net.look(&pooled).is_some_and(|shape| shape.len() == 4) {
        let x = if stride == 1 && dilation == 1 { input } else { halved(net, &format!("{name}.0"), input, stride, dilation)? };
        let x = net.conv(&format!("{name}.1"), x, 1, Groups::One, Padding::Half)?;
        return normed(net, &format!("{name}.2"), x, norm);
    }
    let weight = format!("{name}.0.weight");
    if !(net.has(&weight) || net.is_whole() && changes) {
        return Ok(input);
    }
    let x = net.dilated(&format!("{name}.0"), input, (stride, first), Groups::One, Padding::Half)?;
    normed(net, &format!("{name}.1"), x, norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::config::Config;
    use crate::model::arch::{build_from, tests::bottlenecks};

    #[test]
    fn what_smooths_is_read_off_the_name_alone() {
        let mut shapes = bottlenecks(1);
        let plain = build_from(&FAMILY, &Source::plain(&shapes, [64, 64])).expect("built").description;
        assert_eq!(plain, "ResNet-14, torchvision names");
        let named = |shapes: &Shapes, name: &str| {
            let config = Config::of(None, Some(name), true).expect("read");
            build_from(&FAMILY, &Source { shapes, size: [64, 64], config }).map(|built| built.description).map_err(|e| e.to_string())
        };
        assert_eq!(named(&shapes, "resnetblur50"), Ok("ResNet-14, torchvision names, blurred before strides".to_owned()));
        // A stem of three convolutions: of many names, and nobody says of which.
        let stem = shapes.remove("conv1.weight").expect("there");
        for (part, shape) in [("0", stem), ("3", vec![8, 8, 3, 3]), ("6", vec![8, 8, 3, 3])] {
            shapes.insert(format!("conv1.{part}.weight"), shape);
        }
        for norm in [1, 4] {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                shapes.insert(format!("conv1.{norm}.{part}"), vec![8]);
            }
        }
        let told = named(&shapes, "resnet").expect_err("refused");
        assert!(told.contains("timm/resnetaa50d"), "{told}");
        assert_eq!(named(&shapes, "timm/resnet50d"), Ok("ResNet-14, torchvision names, deep stem".to_owned()));
        assert_eq!(named(&shapes, "timm/resnetaa50d"), Ok("ResNet-14, torchvision names, deep stem, means before strides".to_owned()));
    }
}
