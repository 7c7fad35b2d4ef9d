//! VGG under torchvision's and timm's names, with batch norms or without.
//!
//! Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv 1409.1556). `features` is one list of
//! convolutions, activations and poolings, numbered through: where the number of a convolution is one more than it would be without, a
//! pooling stands before it. The last convolution is followed by one too. The classifier is three linear layers on 7x7 maps, in timm
//! convolutions of 7x7 and 1x1. Maps of other sizes torchvision averages to that one, timm only smaller ones: it moves its classifier over
//! larger ones and averages what comes out.

use super::classic::adaptive_mean;
use super::layers::{Groups, Layers, Padding};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Shape, Unary, Window};

pub(super) static FAMILY: Family = Family {
    name: "vgg",
    about: "VGG under torchvision's and timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let depth = name.plain.strip_prefix("vgg");
        depth.is_some_and(|depth| ["11", "13", "16", "19"].contains(&depth.strip_suffix("-bn").unwrap_or(depth)))
    },
    stems: &["vgg"],
    within: &[],
    shows: |shapes| {
        let head = ["classifier.0.weight", "pre_logits.fc1.weight"].iter().any(|name| shapes.contains_key(*name));
        if head && shapes.contains_key("features.0.weight") && !shapes.contains_key("features.0.0.weight") {
            Likeness::Yes
        } else {
            Likeness::No
        }
    },
    build,
};

/// Height and width of the maps that the classifier takes.
const LAST: usize = 7;

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    if let Some(pool) = Some(config.pooling("avg")?).filter(|pool| *pool != "avg") {
        return Err(config.refused("global_pool", &pool.into()));
    }
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "features.0.weight", size, 1e-5)?;
    let mut x = input;
    let (mut next, mut convolutions) = (0, 0);
    let mut numbers = convolution_numbers(shapes);
    if numbers.is_empty() {
        // Another network's tensors: that the first is not there is what is wrong with them.
        numbers.push(0);
    }
    for &i in &numbers {
        if i == next + 1 {
            x = halved(&mut net, &format!("features.{next}"), x)?;
        } else if i != next {
            let what = format!(
                "what stands between `features.{next}` and `features.{i}` is no single pooling: this is another network than a VGG; export it to ONNX"
            );
            return Err(ArchError::Unsupported(what));
        }
        let name = format!("features.{i}");
        if let Some(found) = shapes.get(&format!("{name}.weight")).filter(|found| found[2..] != [3, 3]) {
            net.misfit(&format!("{name}.weight"), found, "[out, in, 3, 3]", x);
        }
        x = net.conv(&name, x, 1, Groups::One, Padding::Half)?;
        // An activation has no tensors: what has any is a batch norm, whole or not.
        let normed = net.has(&format!("features.{}.weight", i + 1)) && !numbers.contains(&(i + 1));
        if normed {
            x = net.norm(&format!("features.{}", i + 1), x)?;
        }
        next = i + if normed { 3 } else { 2 };
        x = net.act(&format!("features.{}", next - 1), act, x)?;
        convolutions += 1;
    }
    x = halved(&mut net, &format!("features.{next}"), x)?;
    let of_timm = net.has("pre_logits.fc1.weight");
    let least = if of_timm { net.size(x).map(|side| side.max(LAST)) } else { [LAST; 2] };
    x = adaptive_mean(&mut net, "avgpool", x, least)?;
    if of_timm {
        for (i, name) in ["pre_logits.fc1", "pre_logits.fc2"].into_iter().enumerate() {
            x = net.conv(name, x, 1, Groups::One, Padding::Valid)?;
            x = net.act(&format!("pre_logits.act{}", i + 1), act, x)?;
        }
        x = net.pool("head.global_pool", false, x)?;
        if shapes.keys().any(|name| name.starts_with("head.fc.")) {
            x = net.linear("head.fc", x)?;
        }
    } else {
        let flat = net.channels(x) * LAST * LAST;
        x = net.add("flatten", Op::Reshape { shape: Shape::batched(&[flat]) }, &[x])?;
        for (name, activation) in [("classifier.0", "classifier.1"), ("classifier.3", "classifier.4")] {
            x = net.linear(name, x)?;
            net.look(&format!("{name}.bias"));
            x = net.act(activation, act, x)?;
        }
        if shapes.keys().any(|name| name.starts_with("classifier.6.")) {
            x = net.linear("classifier.6", x)?;
        }
    }
    let library = if of_timm { "timm" } else { "torchvision" };
    let told = if act == Unary::Relu { String::new() } else { format!(", {act:?}") };
    net.finish(x, format!("VGG-{}, {library} names{told}", convolutions + 3))
}

/// The numbers of the convolutions in `features`, in order: weights of four axes.
fn convolution_numbers(shapes: &Shapes) -> Vec<usize> {
    let number = |(name, shape): (&String, &Vec<usize>)| {
        let number = name.strip_prefix("features.")?.strip_suffix(".weight")?;
        (shape.len() == 4).then(|| number.parse::<u16>().ok().map(usize::from)).flatten()
    };
    let mut numbers: Vec<usize> = shapes.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// The greatest of every 2x2.
fn halved(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    net.add(name, Op::MaxPool(Window { kernel: [2, 2], stride: [2, 2], pads: [0; 4], dilation: [1, 1] }), &[x])
}
