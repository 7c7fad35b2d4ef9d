//! EfficientNet-Lite 0 to 4: EfficientNet without squeeze-and-excitation, `ReLU6` for swish.
//!
//! Strides cannot be read off weights; they are those of EfficientNet's seven stages (Tan, Le, arXiv 1905.11946, table 1), and
//! a stage begins where the number of output channels changes, which holds at every width. Padding is TensorFlow's SAME.

use super::config::Library;
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Op, Unary};
use crate::model::{ChannelOrder, Preprocessing};

const STRIDES: [usize; 7] = [1, 2, 2, 2, 1, 2, 1];
const CLIP6: Unary = Unary::Clip { min: 0.0, max: 6.0 };
const RELU6: Op = Op::Unary(CLIP6);

pub(super) static FAMILY: Family = Family {
    name: "efficientnet-lite",
    about: "EfficientNet-Lite 0 to 4, TensorFlow's padding",
    usual_size: [224, 224],
    preprocessing: || {
        Some(Preprocessing {
            mean: [127.0 / 255.0; 3],
            std: [128.0 / 255.0; 3],
            order: ChannelOrder::Rgb,
            from: "EfficientNet-Lite: (value - 127) / 128".into(),
        })
    },
    // timm names its tensors otherwise.
    is_called: |name| {
        name.library != Library::Timm && ["efficientnet-lite", "tf-efficientnet-lite"].iter().any(|stem| name.plain.starts_with(stem))
    },
    stems: &[],
    within: &["efficientnet-timm"],
    shows: |shapes| if shapes.contains_key("_conv_stem.weight") { Likeness::Yes } else { Likeness::No },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    // Its own activation may be written out.
    if let Some(act) = config.text("act_layer")?.filter(|act| *act != "relu6") {
        return Err(config.refused("act_layer", &act.into()));
    }
    if shapes.keys().any(|name| name.contains("._se_")) {
        let what = "the file has squeeze-and-excitation tensors: an EfficientNet, not EfficientNet-Lite; export it to ONNX";
        return Err(ArchError::Unsupported(what.into()));
    }
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "_conv_stem.weight", *size, 1e-3)?;
    let mut x = unit(&mut net, "_conv_stem", "_bn0", input, 2, Groups::One)?;
    x = net.add("_relu0", RELU6, &[x])?;
    let blocks = count(shapes, "_blocks.");
    let (mut stage, mut width) = (0, None);
    for block in 0..blocks {
        let name = format!("_blocks.{block}");
        let out = shapes.get(&format!("{name}._project_conv.weight")).and_then(|shape| shape.first().copied());
        let begins = out != width;
        if begins && width.is_some() {
            stage += 1;
        }
        width = out;
        let stride = if begins { STRIDES.get(stage).copied().unwrap_or(1) } else { 1 };
        x = inverted(&mut net, &name, x, stride)?;
    }
    x = unit(&mut net, "_conv_head", "_bn1", x, 1, Groups::One)?;
    x = net.add("_relu1", RELU6, &[x])?;
    x = net.pool("_avg_pooling", false, x)?;
    if shapes.keys().any(|name| name.starts_with("_fc.")) {
        x = net.linear("_fc", x)?;
    }
    let built = net.finish(x, format!("EfficientNet-Lite, {blocks} blocks"))?;
    if stage + 1 != STRIDES.len() {
        return Err(ArchError::Unsupported(format!("an EfficientNet-Lite has {} stages, this file {}", STRIDES.len(), stage + 1)));
    }
    Ok(built)
}

fn unit(net: &mut Layers, conv: &str, norm: &str, x: NodeId, stride: usize, groups: Groups) -> Result<NodeId, ArchError> {
    let x = net.conv(conv, x, stride, groups, Padding::SameUpper)?;
    net.norm(norm, x)
}

fn inverted(net: &mut Layers, name: &str, input: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let mut x = input;
    if net.has(&format!("{name}._expand_conv.weight")) {
        x = unit(net, &format!("{name}._expand_conv"), &format!("{name}._bn0"), x, 1, Groups::One)?;
        x = net.add(&format!("{name}._relu0"), RELU6, &[x])?;
    }
    x = unit(net, &format!("{name}._depthwise_conv"), &format!("{name}._bn1"), x, stride, Groups::Depthwise)?;
    x = net.add(&format!("{name}._relu1"), RELU6, &[x])?;
    x = unit(net, &format!("{name}._project_conv"), &format!("{name}._bn2"), x, 1, Groups::One)?;
    if stride == 1 && net.channels(input) == net.channels(x) {
        x = net.sum(&format!("{name}.add"), x, input)?;
    }
    Ok(x)
}
