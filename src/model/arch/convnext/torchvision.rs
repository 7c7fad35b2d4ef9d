//! `ConvNeXt` under torchvision's names.

use super::{GELU, Making, Names, Norm, likeness};
use crate::model::arch::config::Library;
use crate::model::arch::{ArchError, Built, Family, Source, staged};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "convnext-torchvision",
    about: "ConvNeXt under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        name.library == Library::Torchvision && name.is_one_of(["convnext_tiny", "convnext_small", "convnext_base", "convnext_large"])
    },
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes.contains_key("features.1.0.layer_scale")),
    build,
};

fn names() -> Names {
    Names {
        stages: "features.".to_owned(),
        blocks: ".",
        down: [".0", ".1"],
        conv: "block.0",
        norm: "block.2",
        layers: ["block.3", "block.5"],
        grn: "grn",
        scale: "layer_scale",
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let (mut making, input) = Making::new(FAMILY.name, source, names(), "features.0.0.weight", GELU, (Norm::Layer, 1e-6))?;
    let mut x = making.patches("features.0.0", input)?;
    x = making.normed_map("features.0.1", x)?;
    x = making.stages(x, |stage| 2 * stage + 1, |stage| 2 * stage)?;
    x = making.net.pool("avgpool", false, x)?;
    x = making.normed("classifier.0", x)?;
    x = staged::head(&mut making.net, source.shapes, "classifier.2", x)?;
    let told = making.told("torchvision");
    making.net.finish(x, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::config::Name;

    #[test]
    fn names_are_those_of_torchvision() {
        assert!((FAMILY.is_called)(&Name::of("torchvision/convnext_tiny", Library::Unknown)));
    }
}
