//! `SqueezeNet` 1.0 and 1.1 under torchvision's names.
//!
//! Iandola et al. (arXiv 1602.07360). `features` is one list of convolution, fire modules, activations and poolings, numbered through: where a
//! number is left out between two fire modules, a pooling stands. The head is a 1x1 convolution on the map, whose answers are averaged.

use super::{ceil_pool, likeness};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding};
use crate::model::arch::{ArchError, Built, Family, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "squeezenet",
    about: "SqueezeNet 1.0 and 1.1 under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Torchvision) && name.is_one_of(["squeezenet1_0", "squeezenet1_1"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "features.3.squeeze.weight"),
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    let stem = shapes.get("features.0.weight").and_then(|shape| shape.get(2)).copied();
    let version = if stem == Some(7) { "1.0" } else { "1.1" };
    let other = if stem == Some(7) { "squeezenet1_1" } else { "squeezenet1_0" };
    if stem.is_some() && config.name.as_ref().is_some_and(|name| name.is_one_of([other])) {
        let what = format!("`{other}` is named, and the tensors are those of SqueezeNet {version}: one of the two is of another model");
        return Err(ArchError::Unsupported(what));
    }
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "features.0.weight", size, 1e-5)?;
    x = net.conv("features.0", x, 2, Groups::One, Padding::Valid)?;
    x = net.act("features.1", Unary::Relu, x)?;
    let mut next = 2;
    let mut modules = modules(shapes);
    if modules.is_empty() {
        // Another network's tensors: that the first is not there is what is wrong with them.
        modules.push(3);
    }
    for &i in &modules {
        if i == next + 1 {
            x = ceil_pool(&mut net, &format!("features.{next}"), x, 3, 2)?;
        } else if i != next {
            let what = format!("what stands between `features.{next}` and `features.{i}` is no single pooling: export the model to ONNX");
            return Err(ArchError::Unsupported(what));
        }
        x = fire(&mut net, &format!("features.{i}"), x)?;
        next = i + 1;
    }
    x = net.conv("classifier.1", x, 1, Groups::One, Padding::Valid)?;
    x = net.act("classifier.2", Unary::Relu, x)?;
    x = net.pool("classifier.3", false, x)?;
    net.finish(x, format!("SqueezeNet {version}, {} fire modules, torchvision names", modules.len()))
}

/// The numbers of the fire modules, in order.
fn modules(shapes: &Shapes) -> Vec<usize> {
    let number = |name: &String| name.strip_prefix("features.")?.strip_suffix(".squeeze.weight")?.parse::<u16>().ok().map(usize::from);
    let mut numbers: Vec<usize> = shapes.keys().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn fire(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let mut squeezed = net.conv(&format!("{name}.squeeze"), x, 1, Groups::One, Padding::Half)?;
    squeezed = net.act(&format!("{name}.squeeze_activation"), Unary::Relu, squeezed)?;
    let mut parts = Vec::new();
    for part in ["expand1x1", "expand3x3"] {
        let expanded = net.conv(&format!("{name}.{part}"), squeezed, 1, Groups::One, Padding::Half)?;
        parts.push(net.act(&format!("{name}.{part}_activation"), Unary::Relu, expanded)?);
    }
    net.concat(&format!("{name}.concat"), 1, &parts)
}
