//! `InceptionNeXt` (Yu et al., arXiv 2303.16900) under timm's names: `ConvNeXt` whose depthwise convolution is one for a square, one for a row
//! and one for a column, each on a few channels, the others left as they are. Tensors show all of it.

use super::config::Library;
use super::layers::{Groups, Layers, Padding, count};
use super::staged::{self, plus};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Unary};

const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static FAMILY: Family = Family {
    name: "inception-next",
    about: "InceptionNeXt under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.0),
    stems: &[],
    within: &[],
    shows: |shapes| {
        if shapes.contains_key("stages.0.blocks.0.token_mixer.dwconv_hw.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// Name, depths and widths of all of timm's.
static VARIANTS: [(&str, [usize; 4], [usize; 4]); 4] = [
    ("inception_next_atto", [2, 2, 6, 2], [40, 80, 160, 320]),
    ("inception_next_tiny", [3, 3, 9, 3], [96, 192, 384, 768]),
    ("inception_next_small", [3, 3, 27, 3], [96, 192, 384, 768]),
    ("inception_next_base", [3, 3, 27, 3], [128, 256, 512, 1024]),
];

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, size } = source;
    let known = staged::entry(config, &VARIANTS, |v| v.0);
    config.only("output_stride", 32)?;
    config.shown(&["ls_init_value", "mlp_ratios"]);
    let max = staged::takes_greatest(config)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.0.weight", *size, 1e-5)?;
    let mut x = net.conv("stem.0", input, 4, Groups::One, Padding::Valid)?;
    x = net.norm("stem.1", x)?;
    let (mut depths, mut dims) = (Vec::new(), Vec::new());
    for stage in 0..count(shapes, "stages.") {
        if stage > 0 {
            x = net.norm(&format!("stages.{stage}.downsample.0"), x)?;
            x = net.conv(&format!("stages.{stage}.downsample.1"), x, 2, Groups::One, Padding::Valid)?;
        }
        let blocks = format!("stages.{stage}.blocks.");
        depths.push(count(shapes, &blocks));
        for i in 0..count(shapes, &blocks) {
            x = block(&mut net, &format!("{blocks}{i}"), x)?;
        }
        dims.push(net.channels(x));
    }
    x = net.pool("head.global_pool", max, x)?;
    x = net.linear("head.fc1", x)?;
    x = net.act("head.act", GELU, x)?;
    x = net.layer_norm("head.norm", x, 1e-6)?;
    x = staged::head(&mut net, shapes, "head.fc2", x)?;
    if net.is_whole() {
        staged::agree(config, "depths", &depths, known.map(|v| v.1.as_slice()))?;
        staged::agree(config, "dims", &dims, known.map(|v| v.2.as_slice()))?;
    }
    let (depths, width) = (plus(&depths), dims.first().copied().unwrap_or(0));
    let pool = if max { ", max pooling" } else { "" };
    net.finish(x, format!("InceptionNeXt, {depths} blocks from width {width}, timm names{pool}"))
}

fn block(net: &mut Layers, name: &str, input: NodeId) -> Result<NodeId, ArchError> {
    let mut x = mixed(net, &format!("{name}.token_mixer"), input)?;
    x = net.norm(&format!("{name}.norm"), x)?;
    x = net.conv(&format!("{name}.mlp.fc1"), x, 1, Groups::One, Padding::Valid)?;
    x = net.act(&format!("{name}.mlp.act"), GELU, x)?;
    x = net.conv(&format!("{name}.mlp.fc2"), x, 1, Groups::One, Padding::Valid)?;
    x = net.scaled_map(&format!("{name}.gamma"), x)?;
    net.sum(&format!("{name}.add"), x, input)
}

/// The first channels as they are, then as many for each of three depthwise convolutions.
fn mixed(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let weight = format!("{name}.dwconv_hw.weight");
    let Some(found) = net.look(&weight) else { return Ok(x) };
    let (channels, each) = (net.channels(x), found.first().copied().unwrap_or(0));
    if net.is_whole() && (each == 0 || 3 * each > channels) {
        return Ok(net.misfit(&weight, &found, &format!("[a third of {channels} at most, 1, kernel, kernel]"), x));
    }
    let rest = channels.saturating_sub(3 * each);
    let mut parts = Vec::new();
    if rest > 0 {
        parts.push(net.slice(&format!("{name}.same"), x, 1, 0, rest)?);
    }
    for (i, branch) in ["dwconv_hw", "dwconv_w", "dwconv_h"].into_iter().enumerate() {
        let part = net.slice(&format!("{name}.{branch}.channels"), x, 1, rest + i * each, rest + (i + 1) * each)?;
        parts.push(net.conv(&format!("{name}.{branch}"), part, 1, Groups::Depthwise, Padding::Half)?);
    }
    net.concat(&format!("{name}.concat"), 1, &parts)
}
