//! ResNet, `ResNeXt` and Wide ResNet under torchvision's and timm's names.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385); the stride of a bottleneck is in its
//! 3x3 convolution, as in torchvision. Blocks are basic (two convolutions) or bottlenecks (three), by their tensors.

use super::layers::{Groups, Layers, Padding, stages};
use super::{ArchError, Arguments, Built, Family, Likeness, Shapes};
use crate::graph::{NodeId, Unary};

pub(super) static FAMILY: Family = Family {
    name: "resnet",
    about: "ResNet, ResNeXt and Wide ResNet under torchvision's and timm's names; pooling follows the stem",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| ["resnet", "resnext", "wide-resnet"].iter().any(|stem| name.strip_prefix(stem).is_some_and(is_plain)),
    stems: &["wide-resnet", "resnext", "resnet"],
    within: &[],
    shows: |shapes| match stem(shapes) {
        Some(stem) if stem.kernel == 7 => Likeness::Yes,
        Some(stem) if stem.fits_both() => Likeness::Perhaps,
        _ => Likeness::No,
    },
    left_out: |asked| Arguments { act: None, max_pool: false, output_stride: Arguments::default().output_stride, ..*asked },
    build,
};

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
    let stem = shapes.get("conv1.weight").filter(|_| shapes.keys().any(|name| name.starts_with("layer1.0.")))?;
    Some(Stem {
        kernel: stem.get(2).copied().unwrap_or(0),
        four_stages: shapes.keys().any(|name| name.starts_with("layer4.")),
        downsample: shapes.keys().any(|name| name.contains(".downsample.")),
    })
}

/// Whether what follows `resnet` names one of the plain networks (`50`, `50-32x4d`, `50-2`, and a tag behind a dot): `50d`, `50-gn` and their
/// like compute something else.
fn is_plain(rest: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let name = rest.split_once('.').map_or(rest, |(name, _)| name);
    let (depth, width) = name.split_once('-').unwrap_or((name, "2"));
    let groups =
        width.strip_suffix('d').and_then(|width| width.split_once('x')).is_some_and(|(groups, width)| digits(groups) && digits(width));
    name.is_empty() || (digits(depth) && (width == "2" || groups))
}

fn build(shapes: &Shapes, size: [usize; 2], arguments: &Arguments) -> Result<Built, ArchError> {
    let act = arguments.activation();
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "conv1.weight", size, 1e-5)?;
    let mut x = net.conv("conv1", input, 2, Groups::One, Padding::Half)?;
    x = net.norm("bn1", x)?;
    x = net.act("relu", act, x)?;
    x = net.stem_pool("maxpool", x)?;
    let stages = stages(shapes);
    // From `output_stride` on a stage does not stride: it dilates, all but the first convolution of its first block.
    let (mut reduced, mut dilation) = (4, 1);
    for (stage, &blocks) in stages.iter().enumerate() {
        let before = dilation;
        let wanted = if stage > 0 { 2 } else { 1 };
        let stride = if reduced >= arguments.output_stride { 1 } else { wanted };
        dilation *= wanted / stride;
        reduced *= stride;
        for block in 0..blocks {
            let step =
                if block == 0 { Step { stride, first: before, dilation, act } } else { Step { stride: 1, first: dilation, dilation, act } };
            x = residual(&mut net, &format!("layer{}.{block}", stage + 1), x, step)?;
        }
    }
    x = net.pool("avgpool", arguments.max_pool, x)?;
    if shapes.keys().any(|name| name.starts_with("fc.")) {
        x = net.linear("fc", x)?;
    }
    let convolutions = if net.has("layer1.0.conv3.weight") { 3 } else { 2 };
    let grouped = shapes
        .get("layer1.0.conv2.weight")
        .zip(shapes.get("layer1.0.conv1.weight"))
        .is_some_and(|(second, first)| second.get(1) != first.first());
    let depth = stages.iter().sum::<usize>() * convolutions + 2;
    let kind = if grouped { "ResNeXt" } else { "ResNet" };
    Ok(Built { graph: net.finish(x)?, description: format!("{kind}-{depth}, torchvision names") })
}

/// What a block does beyond its tensors.
#[derive(Clone, Copy)]
struct Step {
    stride: usize,
    /// Of the convolution that may stride, and of that behind it.
    first: usize,
    dilation: usize,
    act: Unary,
}

fn residual(net: &mut Layers, name: &str, input: NodeId, step: Step) -> Result<NodeId, ArchError> {
    let Step { stride, first, dilation, act } = step;
    let bottleneck = net.has(&format!("{name}.conv3.weight"));
    let moves = if bottleneck { vec![(1, 1), (stride, first), (1, 1)] } else { vec![(stride, first), (1, dilation)] };
    let last = moves.len();
    let mut x = input;
    for (i, step) in (1..).zip(moves) {
        let groups = if i == 2 && bottleneck { Groups::Fitting } else { Groups::One };
        x = net.dilated(&format!("{name}.conv{i}"), x, step, groups, Padding::Half)?;
        x = net.norm(&format!("{name}.bn{i}"), x)?;
        if i < last {
            x = net.act(&format!("{name}.relu{i}"), act, x)?;
        }
    }
    let mut shortcut = input;
    let changes = net.channels(input) != net.channels(x) || stride != 1;
    if net.has(&format!("{name}.downsample.0.weight")) || (net.is_whole() && changes) {
        shortcut = net.conv(&format!("{name}.downsample.0"), input, stride, Groups::One, Padding::Half)?;
        shortcut = net.norm(&format!("{name}.downsample.1"), shortcut)?;
    }
    x = net.sum(&format!("{name}.add"), x, shortcut)?;
    net.act(&format!("{name}.relu"), act, x)
}
