//! `AlexNet` under torchvision's names.
//!
//! Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (arXiv 1404.5997). Strides and poolings are those of its one
//! variant. The classifier takes 6x6 maps; others are averaged to that size, as torchvision does.

use super::{adaptive_mean, likeness};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Conv, Layers};
use crate::model::arch::{ArchError, Built, Family, Likeness, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "alexnet",
    about: "AlexNet under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Torchvision) && name.is_one_of(["alexnet"]),
    stems: &[],
    within: &[],
    shows,
    build,
};

/// Number of a convolution; its kernel, stride and padding; whether a pooling follows its activation.
const CONVOLUTIONS: [(usize, [usize; 3], bool); 5] =
    [(0, [11, 4, 2], true), (3, [5, 1, 2], true), (6, [3, 1, 1], false), (8, [3, 1, 1], false), (10, [3, 1, 1], true)];

fn shows(shapes: &Shapes) -> Likeness {
    let stem = shapes.get("features.0.weight").is_some_and(|shape| shape.get(2..) == Some(&[11, 11]));
    if stem { likeness(shapes, "classifier.1.weight") } else { Likeness::No }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, .. } = source;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "features.0.weight", size, 1e-5)?;
    for (number, [kernel, stride, pad], pooled) in CONVOLUTIONS {
        let name = format!("features.{number}");
        if let Some(found) = shapes.get(&format!("{name}.weight")).filter(|found| found.get(2..) != Some(&[kernel; 2])) {
            net.misfit(&format!("{name}.weight"), found, &format!("[out, in, {kernel}, {kernel}]"), x);
        }
        x = net.conv_as(&name, x, Conv::new(stride, pad))?;
        x = net.act(&format!("features.{}", number + 1), Unary::Relu, x)?;
        if pooled {
            x = net.max_pool(&format!("features.{}", number + 2), x, 3, 2, 0)?;
        }
    }
    x = adaptive_mean(&mut net, "avgpool", x, [6, 6])?;
    x = classified(&mut net, x)?;
    net.finish(x, "AlexNet, torchvision names")
}

fn classified(net: &mut Layers, x: NodeId) -> Result<NodeId, ArchError> {
    let flat = net.channels(x) * 36;
    let mut x = net.reshape("flatten", x, &[flat])?;
    for (name, act) in [("classifier.1", "classifier.2"), ("classifier.4", "classifier.5")] {
        x = net.linear(name, x)?;
        x = net.act(act, Unary::Relu, x)?;
    }
    net.linear("classifier.6", x)
}
