//! ResNet, `ResNeXt` and Wide ResNet under torchvision's and timm's names.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385); the stride of a bottleneck is in its
//! 3x3 convolution, as in torchvision. Blocks are basic (two convolutions) or bottlenecks (three), by their tensors.

use super::layers::{Groups, Layers, Padding, stages};
use super::{ArchError, Built, Shapes};
use crate::graph::NodeId;

pub(super) fn build(shapes: &Shapes, size: [usize; 2]) -> Result<Built, ArchError> {
    let (mut net, input) = Layers::new("resnet", shapes, "conv1.weight", size, 1e-5)?;
    let mut x = net.conv("conv1", input, 2, Groups::One, Padding::Half)?;
    x = net.norm("bn1", x)?;
    x = net.relu("relu", x)?;
    x = net.stem_pool("maxpool", x)?;
    let stages = stages(shapes);
    for (stage, &blocks) in stages.iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = residual(&mut net, &format!("layer{}.{block}", stage + 1), x, stride)?;
        }
    }
    x = net.pool("avgpool", x)?;
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

fn residual(net: &mut Layers, name: &str, input: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let bottleneck = net.has(&format!("{name}.conv3.weight"));
    let strides = if bottleneck { vec![1, stride, 1] } else { vec![stride, 1] };
    let last = strides.len();
    let mut x = input;
    for (i, stride) in (1..).zip(strides) {
        let groups = if i == 2 && bottleneck { Groups::Fitting } else { Groups::One };
        x = net.conv(&format!("{name}.conv{i}"), x, stride, groups, Padding::Half)?;
        x = net.norm(&format!("{name}.bn{i}"), x)?;
        if i < last {
            x = net.relu(&format!("{name}.relu{i}"), x)?;
        }
    }
    let mut shortcut = input;
    let changes = net.channels(input) != net.channels(x) || stride != 1;
    if net.has(&format!("{name}.downsample.0.weight")) || (net.is_whole() && changes) {
        shortcut = net.conv(&format!("{name}.downsample.0"), input, stride, Groups::One, Padding::Half)?;
        shortcut = net.norm(&format!("{name}.downsample.1"), shortcut)?;
    }
    x = net.sum(&format!("{name}.add"), x, shortcut)?;
    net.relu(&format!("{name}.relu"), x)
}
