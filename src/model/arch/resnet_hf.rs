//! ResNet under the names of Hugging Face Transformers (`ResNetModel`, `ResNetForImageClassification`).

use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Source, staged};
use crate::graph::{NodeId, Unary};

pub(super) static FAMILY: Family = Family {
    name: "resnet-hf",
    about: "ResNet under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |_| false,
    stems: &[],
    within: &["resnet"],
    shows: |shapes| {
        // A `RegNet` has the same name for a stem of side 3.
        let large = |shape: &Vec<usize>| shape.get(2) != Some(&3);
        let stem = shapes.iter().any(|(name, shape)| name.ends_with("embedder.embedder.convolution.weight") && large(shape));
        if stem { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = config.act("hidden_act")?.unwrap_or(Unary::Relu);
    let in_first_stage = config.flag("downsample_in_first_stage", false)?;
    let block = Block { act, in_first: config.flag("downsample_in_bottleneck", false)? };
    // The base model saved on its own has no `resnet.` in front.
    let base = if shapes.keys().any(|name| name.starts_with("resnet.")) { "resnet." } else { "" };
    let stem = format!("{base}embedder.embedder");
    let (mut net, input) = Layers::new(FAMILY.name, shapes, &format!("{stem}.convolution.weight"), *size, 1e-5)?;
    let mut x = unit(&mut net, &stem, input, 2)?;
    x = net.act(&format!("{stem}.activation"), act, x)?;
    x = net.stem_pool(&format!("{base}embedder.pooler"), x)?;
    let width = net.channels(x);
    let mut convolutions = 0;
    let (mut depths, mut dims) = (Vec::new(), Vec::new());
    for stage in 0..count(shapes, &format!("{base}encoder.stages.")) {
        let stage_name = format!("{base}encoder.stages.{stage}.layers.");
        for layer in 0..count(shapes, &stage_name) {
            let stride = if layer == 0 && (stage > 0 || in_first_stage) { 2 } else { 1 };
            let name = format!("{stage_name}{layer}");
            convolutions += count(shapes, &format!("{name}.layer."));
            x = residual(&mut net, &name, x, stride, block)?;
        }
        depths.push(count(shapes, &stage_name));
        dims.push(net.channels(x));
    }
    if net.is_whole() {
        config.agrees_or("embedding_size", 64, width)?;
        staged::agree(config, "depths", &depths, config.unsaid(&[3, 4, 6, 3]))?;
        staged::agree(config, "hidden_sizes", &dims, config.unsaid(&[256, 512, 1024, 2048]))?;
        let bottleneck = shapes.contains_key(&format!("{base}encoder.stages.0.layers.0.layer.2.convolution.weight"));
        let said = config.text("layer_type")?.or(config.unsaid("bottleneck"));
        if let Some(said) = said.filter(|said| *said != if bottleneck { "bottleneck" } else { "basic" }) {
            return Err(config.refused("layer_type", &said.into()));
        }
    }
    x = net.pool(&format!("{base}pooler"), false, x)?;
    if shapes.keys().any(|name| name.starts_with("classifier.")) {
        x = net.linear("classifier.1", x)?;
    }
    let told = if act == Unary::Relu { String::new() } else { format!(", {act:?}") };
    net.finish(x, format!("ResNet-{}, Hugging Face names{told}", convolutions + 2))
}

/// What a block does beyond its tensors.
#[derive(Clone, Copy)]
struct Block {
    act: Unary,
    /// Whether the first convolution of a bottleneck strides, not the second.
    in_first: bool,
}

/// Convolution and batch norm.
fn unit(net: &mut Layers, name: &str, x: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let x = net.conv(&format!("{name}.convolution"), x, stride, Groups::One, Padding::Half)?;
    net.norm(&format!("{name}.normalization"), x)
}

fn residual(net: &mut Layers, name: &str, input: NodeId, stride: usize, block: Block) -> Result<NodeId, ArchError> {
    let bottleneck = net.has(&format!("{name}.layer.2.convolution.weight"));
    let Block { act, in_first } = block;
    let strides = match (bottleneck, in_first) {
        (false, _) => vec![stride, 1],
        (true, true) => vec![stride, 1, 1],
        (true, false) => vec![1, stride, 1],
    };
    let last = strides.len();
    let mut x = input;
    for (i, stride) in strides.into_iter().enumerate() {
        x = unit(net, &format!("{name}.layer.{i}"), x, stride)?;
        if i + 1 < last {
            // `hidden_act` is the stem's and that behind the sum; between the convolutions Transformers keeps its default.
            x = net.act(&format!("{name}.layer.{i}.activation"), Unary::Relu, x)?;
        }
    }
    let mut shortcut = input;
    let changes = net.channels(input) != net.channels(x) || stride != 1;
    if net.has(&format!("{name}.shortcut.convolution.weight")) || (net.is_whole() && changes) {
        shortcut = unit(net, &format!("{name}.shortcut"), input, stride)?;
    }
    x = net.sum(&format!("{name}.add"), x, shortcut)?;
    net.act(&format!("{name}.activation"), act, x)
}
