//! `GoogLeNet` under torchvision's names.
//!
//! Szegedy et al., "Going Deeper with Convolutions" (arXiv 1409.4842), with batch norms. The weights that torchvision publishes come with
//! `transform_input`, which changes the normalisation of images to mean 0.5 and deviation 0.5: that is preprocessing, and
//! assumed where no file says otherwise.

use super::mixed::Step::{Max, Same};
use super::mixed::{Branches, mixed};
use super::{Move, ceil_pool, head, likeness, unit};
use crate::graph::Unary;
use crate::model::arch::config::Library;
use crate::model::arch::layers::Layers;
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "googlenet",
    about: "GoogLeNet under torchvision's names",
    usual_size: [224, 224],
    preprocessing: super::transformed,
    is_called: |name| name.may_be(Library::Torchvision) && name.is_one_of(["googlenet"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "inception3a.branch1.conv.weight"),
    build,
};

const BRANCHES: Branches =
    &[&[Same("branch1")], &[Same("branch2.0"), Same("branch2.1")], &[Same("branch3.0"), Same("branch3.1")], &[Max, Same("branch4.1")]];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, .. } = source;
    let act = Some(Unary::Relu);
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "conv1.conv.weight", size, 1e-3)?;
    x = unit(&mut net, "conv1", x, Move::half(2), act)?;
    x = ceil_pool(&mut net, "maxpool1", x, 3, 2)?;
    x = unit(&mut net, "conv2", x, Move::half(1), act)?;
    x = unit(&mut net, "conv3", x, Move::half(1), act)?;
    for (pool, kernel, blocks) in [(2, 3, "3a 3b"), (3, 3, "4a 4b 4c 4d 4e"), (4, 2, "5a 5b")] {
        x = ceil_pool(&mut net, &format!("maxpool{pool}"), x, kernel, 2)?;
        for block in blocks.split(' ') {
            x = mixed(&mut net, &format!("inception{block}"), x, BRANCHES, Unary::Relu)?;
        }
    }
    x = net.pool("avgpool", false, x)?;
    x = head(&mut net, shapes, "fc", x)?;
    net.leave_out("aux1.", "the auxiliary heads");
    net.leave_out("aux2.", "the auxiliary heads");
    net.finish(x, "GoogLeNet, torchvision names")
}
