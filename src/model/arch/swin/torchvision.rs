//! Swin and Swin V2 under torchvision's names.

use super::{Making, ORIGINAL, Parts, Windows};
use crate::model::arch::config::Library;
use crate::model::arch::layers::count;
use crate::model::arch::{ArchError, Built, Family, Likeness, Shapes, Source, staged};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "swin-torchvision",
    about: "Swin and Swin V2 under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let names = ["swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"];
        name.may_be(Library::Torchvision) && name.is_one_of(names)
    },
    stems: &[],
    within: &[],
    shows: |shapes| {
        let is = shapes.contains_key("features.1.0.attn.relative_position_index") && shapes.contains_key("features.2.reduction.weight");
        if is { Likeness::Yes } else { Likeness::No }
    },
    build,
};

static PARTS: Parts = Parts { mlp: ["mlp.0", "mlp.3"], ..ORIGINAL };

fn build(source: &Source) -> Result<Built, ArchError> {
    let shapes = source.shapes;
    let (mut making, input) = Making::new(FAMILY.name, source, &PARTS, "features.0.0.weight")?;
    let mut x = making.stem("features.0.0", "features.0.2", input)?;
    let stages = (0..shapes.len()).take_while(|stage| count(shapes, &format!("features.{}.", 2 * stage + 1)) > 0).count();
    for stage in 0..stages {
        let name = format!("features.{}.", 2 * stage + 1);
        let window = window_of(shapes, &name);
        x = making.stage(&name, x, |block, size| {
            // A map is filled up to whole windows, and not shifted along an axis that has but one.
            let half = |side: usize, size: usize| if block % 2 == 1 && size > side { side / 2 } else { 0 };
            Ok(Windows { size: window, shift: [half(window[0], size[0]), half(window[1], size[1])], before: 0 })
        })?;
        if stage + 1 < stages {
            x = making.merged(&format!("features.{}", 2 * stage + 2), x)?;
        }
    }
    x = making.pooled("norm", 1e-5, false, x)?;
    x = staged::head(&mut making.net, shapes, "head", x)?;
    let told = making.told("torchvision");
    making.net.finish(x, told)
}

/// The sides of the windows of a stage, which are those of its table of relative positions; V1 has square ones alone.
fn window_of(shapes: &Shapes, stage: &str) -> [usize; 2] {
    let part = |part: &str| shapes.get(&format!("{stage}0.attn.{part}")).map(Vec::as_slice);
    match (part("relative_coords_table"), part("relative_position_bias_table")) {
        (Some(&[1, h, w, 2]), _) => [h.div_ceil(2), w.div_ceil(2)],
        (None, Some(&[rows, _])) => [rows.isqrt().div_ceil(2); 2],
        _ => [7; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_torchvision_windows_tells_their_sides() {
        let shapes = |part: &str, shape: &[usize]| Shapes::from([(format!("features.1.0.attn.{part}"), shape.to_vec())]);
        assert_eq!(window_of(&shapes("relative_position_bias_table", &[169, 3]), "features.1."), [7; 2]);
        assert_eq!(window_of(&shapes("relative_coords_table", &[1, 15, 13, 2]), "features.1."), [8, 7]);
    }
}
