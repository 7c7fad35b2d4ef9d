//! `ResNet` V2 and `BiT` under the names of timm and Hugging Face Transformers.
//!
//! He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027): norm and activation come before each convolution, and
//! what a stage's shortcut projects has been through the first of them. `BiT` (Kolesnikov et al., arXiv 1912.11370) has group norms,
//! standardised weights, and zeros around the map that its stem pools, which are in the way of what is less than 0. Tensors show neither that
//! nor whether a shortcut takes the mean of 2x2 windows: timm's name says so. timm's `_evos` and `_frn` have other norms and are not built.

use super::config::{Config, Library};
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::resnet::{group_normed, halved, mixed_up, same_counts, takes_greatest};
use super::{ArchError, Built, Family, Likeness, Shapes, Source, staged};
use crate::graph::{NodeId, Role, Unary};

pub(super) static TIMM: Family = Family {
    name: "resnetv2",
    about: "ResNet V2 and BiT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(TIMM_NAMES),
    stems: &["resnetv2-"],
    within: &[],
    shows: |shapes| {
        let stem = ["stem.conv.weight", "stem.conv1.weight"].iter().any(|name| shapes.contains_key(*name));
        let block = ["conv1.weight", "norm1.weight"].iter().all(|part| shapes.contains_key(&format!("stages.0.blocks.0.{part}")));
        if stem && block && shapes.contains_key("norm.weight") { Likeness::Yes } else { Likeness::No }
    },
    build: timm,
};

pub(super) static HUGGING_FACE: Family = Family {
    name: "bit",
    about: "BiT under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.plain == "bit",
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("bit.embedder.convolution.weight") { Likeness::Yes } else { Likeness::No },
    build: hugging_face,
};

const TIMM_NAMES: [&str; 18] = [
    "resnetv2_18",
    "resnetv2_18d",
    "resnetv2_34",
    "resnetv2_34d",
    "resnetv2_50",
    "resnetv2_50d",
    "resnetv2_50d_gn",
    "resnetv2_50t",
    "resnetv2_50x1_bit",
    "resnetv2_50x3_bit",
    "resnetv2_101",
    "resnetv2_101d",
    "resnetv2_101x1_bit",
    "resnetv2_101x3_bit",
    "resnetv2_152",
    "resnetv2_152d",
    "resnetv2_152x2_bit",
    "resnetv2_152x4_bit",
];

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Kind {
    act: Unary,
    /// Groups of its norms, where these are not over batches.
    groups: Option<usize>,
    /// Added to the variance of weights, where these are standardised.
    standardised: Option<f64>,
    /// Whether convolutions are padded as TensorFlow does.
    same: bool,
    /// Whether shortcuts take the mean of 2x2 windows where a stage strides.
    mean: bool,
    /// Whether norms come first in a block.
    first: bool,
}

/// A convolution `name.weight`, its weight standardised where that is asked.
fn conv(net: &mut Layers, name: &str, x: NodeId, stride: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let padding = if kind.same { Padding::SameUpper } else { Padding::Half };
    let Some(eps) = kind.standardised else { return net.conv(name, x, stride, Groups::One, padding) };
    let weight = format!("{name}.weight");
    let Some(found) = net.look(&weight) else { return Ok(x) };
    let &[_, _, kh, kw] = found.as_slice() else { return Ok(net.misfit(&weight, &found, "[out, in, kernel, kernel]", x)) };
    let node = net.tensor(&weight, &found, Role::Weight);
    let node = net.standardised(name, node, eps)?;
    let size = net.size(x);
    let along = |axis: usize, kernel: usize| if kind.same { same(size[axis], kernel, stride) } else { (kernel / 2, kernel / 2) };
    let ((top, bottom), (left, right)) = (along(0, kh), along(1, kw));
    let how = Conv { pads: [top, left, bottom, right], ..Conv::new(stride, 0) };
    net.conv_by(name, x, node, &format!("{name}.bias"), how)
}

/// As little padding as makes every output's window fit, the odd one behind.
pub(super) fn same(size: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let total = (size.div_ceil(stride.max(1)).saturating_sub(1) * stride + kernel).saturating_sub(size);
    (total / 2, total - total / 2)
}

fn normed(net: &mut Layers, name: &str, x: NodeId, kind: Kind, act: bool) -> Result<NodeId, ArchError> {
    let x = match kind.groups {
        None => net.norm(name, x)?,
        Some(groups) => group_normed(net, name, x, groups)?,
    };
    if act { net.act(&format!("{name}.act"), kind.act, x) } else { Ok(x) }
}

fn block(net: &mut Layers, at: &str, input: NodeId, stride: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let convolutions = if net.has(&format!("{at}.conv3.weight")) { 3 } else { 2 };
    // Of a bottleneck the second strides, else the first.
    let strides = |i: usize| if i + 2 == convolutions + 1 { stride } else { 1 };
    let mut x = if kind.first { normed(net, &format!("{at}.norm1"), input, kind, true)? } else { input };
    let projects = net.has(&format!("{at}.downsample.conv.weight"));
    let mut shortcut = if projects { x } else { input };
    for i in 1..=convolutions {
        x = conv(net, &format!("{at}.conv{i}"), x, strides(i), kind)?;
        let next = if kind.first { i + 1 } else { i };
        if next <= convolutions {
            x = normed(net, &format!("{at}.norm{next}"), x, kind, kind.first || i < convolutions)?;
        }
    }
    let changes = net.channels(input) != net.channels(x) || stride != 1;
    if projects || (changes && net.is_whole()) {
        let moved = if kind.mean { 1 } else { stride };
        if kind.mean && stride > 1 {
            shortcut = halved(net, &format!("{at}.downsample.pool"), shortcut, stride, 1)?;
        }
        shortcut = conv(net, &format!("{at}.downsample.conv"), shortcut, moved, kind)?;
        if !kind.first {
            shortcut = normed(net, &format!("{at}.downsample.norm"), shortcut, kind, false)?;
        }
    }
    x = net.sum(&format!("{at}.add"), x, shortcut)?;
    if kind.first { Ok(x) } else { net.act(&format!("{at}.act3"), kind.act, x) }
}

/// All blocks of all stages; how many convolutions there are in them.
fn blocks(net: &mut Layers, stages: &str, blocks: &str, depths: &[usize], x: NodeId, kind: Kind) -> Result<(NodeId, usize), ArchError> {
    let (mut x, mut convolutions) = (x, 0);
    for (stage, &depth) in depths.iter().enumerate() {
        for i in 0..depth {
            let at = format!("{stages}{stage}.{blocks}.{i}");
            convolutions += if net.has(&format!("{at}.conv3.weight")) { 3 } else { 2 };
            x = block(net, &at, x, if stage > 0 && i == 0 { 2 } else { 1 }, kind)?;
        }
    }
    Ok((x, convolutions))
}

fn depths(shapes: &Shapes, stages: &str, blocks: &str) -> Vec<usize> {
    (0..count(shapes, stages)).map(|stage| count(shapes, &format!("{stages}{stage}.{blocks}."))).collect()
}

/// Zeros around a map, and the greatest of every 3x3 window, every second.
fn pooled_with_zeros(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let x = net.pad(&format!("{name}.pad"), x, vec![(0, 0), (0, 0), (1, 1), (1, 1)])?;
    net.max_pool(name, x, 3, 2, 0)
}

fn timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let depths = depths(shapes, "stages.", "blocks");
    let (kind, fixed) = timm_kind(config, shapes, &depths)?;
    let max_pool = takes_greatest(config)?;
    let deep = shapes.contains_key("stem.conv1.weight");
    let first = if deep { "stem.conv1.weight" } else { "stem.conv.weight" };
    let (mut net, input) = Layers::new(TIMM.name, shapes, first, *size, 1e-5)?;
    let mut x = input;
    if deep {
        x = conv(&mut net, "stem.conv1", x, 2, kind)?;
        for i in [1, 2] {
            x = normed(&mut net, &format!("stem.norm{i}"), x, kind, true)?;
            x = conv(&mut net, &format!("stem.conv{}", i + 1), x, 1, kind)?;
        }
    } else {
        x = conv(&mut net, "stem.conv", x, 2, kind)?;
    }
    x = if fixed { pooled_with_zeros(&mut net, "stem.pool", x)? } else { net.max_pool("stem.pool", x, 3, 2, 1)? };
    let (x, convolutions) = blocks(&mut net, "stages.", "blocks", &depths, x, kind)?;
    let x = normed(&mut net, "norm", x, kind, true)?;
    // The head is a convolution.
    let mut x = net.pool("head.global_pool", max_pool, x)?;
    let width = net.channels(x);
    if shapes.contains_key("head.fc.weight") {
        x = net.reshape("head.map", x, &[width, 1, 1])?;
        x = net.conv("head.fc", x, 1, Groups::One, Padding::Valid)?;
        let classes = net.channels(x);
        x = net.reshape("head.flatten", x, &[classes])?;
    }
    let act = if kind.act == Unary::Relu { String::new() } else { format!(", {:?}", kind.act) };
    let weights = if kind.standardised.is_some() { ", standardised weights" } else { "" };
    let pool = if max_pool { ", max pooling" } else { "" };
    net.finish(x, format!("ResNetV2-{}, timm names{weights}{act}{pool}", convolutions + 2))
}

/// What is built, and whether the stem pools with zeros around its map.
fn timm_kind(config: &Config, shapes: &Shapes, depths: &[usize]) -> Result<(Kind, bool), ArchError> {
    let Some(name) = config.name.as_ref().filter(|name| name.plain != TIMM.name) else {
        let names = ["timm/resnetv2_50", "timm/resnetv2_50d", "timm/resnetv2_50x1_bit"].map(str::to_owned).into();
        return Err(ArchError::NeedsName { family: TIMM.name, what: "how its shortcuts stride and its stem pools".into(), names });
    };
    let (bit, gn) = (name.plain.ends_with("-bit"), name.plain.ends_with("-gn"));
    let variant = name.plain.trim_end_matches("-gn");
    config.shown(&["channels", "width_factor", "stem_chs", "basic", "bottle_ratio"]);
    same_counts(config, "layers", depths)?;
    config.only("preact", true)?;
    config.only("output_stride", 32)?;
    config.only("conv_layer", "")?;
    config.only("norm_layer", if bit { "" } else { "batchnorm2d" })?;
    let deep = shapes.contains_key("stem.conv1.weight");
    let usual = match (bit, deep) {
        (true, _) => "fixed",
        (false, true) => "deep",
        (false, false) => "",
    };
    let stem = config.text("stem_type")?.unwrap_or(usual);
    let known = if deep { ["deep", "tiered", "deep_fixed"] } else { ["", "fixed", "fixed"] };
    if !known.contains(&stem) {
        return Err(config.refused("stem_type", &stem.into()));
    }
    let letter = variant.ends_with(['d', 't']) && !bit;
    if letter != deep && !config.says("stem_type") {
        return Err(mixed_up(config));
    }
    let mean = config.flag("avg_down", letter)?;
    let kind = Kind {
        act: config.act("act_layer")?.unwrap_or(Unary::Relu),
        groups: (bit || gn).then_some(32),
        standardised: bit.then_some(1e-8),
        same: false,
        mean,
        first: true,
    };
    Ok((kind, stem.contains("fixed")))
}

fn hugging_face(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    if config.name.is_none() {
        let names = vec!["transformers/bit".into()];
        return Err(ArchError::NeedsName { family: HUGGING_FACE.name, what: "its groups and its padding".into(), names });
    }
    let base = if shapes.keys().any(|name| name.starts_with("bit.")) { "bit." } else { "" };
    let stages = format!("{base}encoder.stages.");
    let depths = depths(shapes, &stages, "layers");
    let kind = hugging_face_kind(config, &depths)?;
    let stem = format!("{base}embedder");
    let (mut net, input) = Layers::new(HUGGING_FACE.name, shapes, &format!("{stem}.convolution.weight"), *size, 1e-5)?;
    let mut x = conv(&mut net, &format!("{stem}.convolution"), input, 2, kind)?;
    let width = net.channels(x);
    if !kind.same {
        x = net.pad(&format!("{stem}.pad"), x, vec![(0, 0), (0, 0), (1, 1), (1, 1)])?;
    }
    if !kind.first {
        x = normed(&mut net, &format!("{stem}.norm"), x, kind, true)?;
    }
    if config.flag("embedding_dynamic_padding", false)? {
        let [rows, columns] = net.size(x).map(|side| same(side, 3, 2));
        x = net.pad(&format!("{stem}.pooler.pad"), x, vec![(0, 0), (0, 0), rows, columns])?;
    }
    x = net.max_pool(&format!("{stem}.pooler"), x, 3, 2, 0)?;
    let (mut x, convolutions) = blocks(&mut net, &stages, "layers", &depths, x, kind)?;
    if net.is_whole() {
        config.agrees_or("embedding_size", 64, width)?;
        widths_agree(config, shapes, &stages, depths.len())?;
    }
    if kind.first {
        x = normed(&mut net, &format!("{base}norm"), x, kind, true)?;
    }
    x = net.pool(&format!("{base}pooler"), false, x)?;
    if shapes.contains_key("classifier.1.weight") {
        x = net.linear("classifier.1", x)?;
    }
    let act = if kind.act == Unary::Relu { String::new() } else { format!(", {:?}", kind.act) };
    net.finish(x, format!("BiT-{}, Hugging Face names{act}", convolutions + 2))
}

/// Refuses a configuration whose stages have other channels than the tensors.
fn widths_agree(config: &Config, shapes: &Shapes, stages: &str, found: usize) -> Result<(), ArchError> {
    let out = |stage: usize| shapes.get(&format!("{stages}{stage}.layers.0.conv3.weight")).and_then(|shape| shape.first()).copied();
    let found: Vec<usize> = (0..found).filter_map(out).collect();
    let factor = config.count("width_factor")?.unwrap_or(1);
    let Some(said) = config.counts("hidden_sizes")?.or(config.unsaid(vec![256, 512, 1024, 2048])) else { return Ok(()) };
    // The nearest multiple of 8, and not much less.
    let wider = |width: &usize| {
        let wide = (width * factor).min(1 << 24);
        let near = ((wide + 4) / 8 * 8).max(8);
        if near * 10 < wide * 9 { near + 8 } else { near }
    };
    let wanted: Vec<usize> = said.iter().map(wider).collect();
    if wanted == found {
        return Ok(());
    }
    Err(ArchError::Unsupported(format!(
        "config.json: `hidden_sizes` {said:?} are {wanted:?} channels, and the tensors show {found:?}: the two are of different models"
    )))
}

fn hugging_face_kind(config: &Config, depths: &[usize]) -> Result<Kind, ArchError> {
    config.shown(&["drop_path_rate"]);
    staged::agree(config, "depths", depths, config.unsaid(&[3, 4, 6, 3]))?;
    config.only("output_stride", 32)?;
    let first = match config.text("layer_type")?.unwrap_or("preactivation") {
        "preactivation" => true,
        "bottleneck" => false,
        other => return Err(config.refused("layer_type", &other.into())),
    };
    let same = match config.text("global_padding")? {
        None => false,
        Some(padding) if padding.eq_ignore_ascii_case("same") => true,
        Some(other) => return Err(config.refused("global_padding", &other.into())),
    };
    Ok(Kind {
        act: config.act("hidden_act")?.unwrap_or(Unary::Relu),
        groups: Some(config.count("num_groups")?.unwrap_or(32)),
        standardised: Some(1e-8),
        same,
        mean: false,
        first,
    })
}
