//! ResNet, `ResNeXt` and Wide ResNet under torchvision's and timm's names.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385); the stride of a bottleneck is in its
//! 3x3 convolution, as in torchvision. Blocks are basic (two convolutions) or bottlenecks (three), by their tensors.

use super::layers::{Groups, Layers, Padding, stages};
use super::{ArchError, Arguments, Built, Shapes};
use crate::graph::{NodeId, Unary};

pub(super) fn build(shapes: &Shapes, size: [usize; 2], arguments: &Arguments) -> Result<Built, ArchError> {
    let act = arguments.activation();
    let (mut net, input) = Layers::new("resnet", shapes, "conv1.weight", size, 1e-5)?;
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
