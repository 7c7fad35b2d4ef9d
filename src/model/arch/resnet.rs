//! ResNet, `ResNeXt` and Wide ResNet under torchvision's and timm's names, and what timm makes of them.
//!
//! He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385); the stride of a bottleneck is in its
//! 3x3 convolution, as in torchvision. Blocks are basic (two convolutions) or bottlenecks (three), by their tensors. Tensors show too: a stem
//! of three convolutions, a mean before the shortcut's convolution (He et al., arXiv 1812.01187), a convolution for the stem's pooling (Bello
//! et al., arXiv 2103.07579), and what weighs channels at the end of a block: squeeze-and-excitation (Hu et al., arXiv 1709.01507) or a
//! convolution over neighbouring channels (ECA, Wang et al., arXiv 1910.03151). A name alone shows what smooths maps before they stride: a mean
//! (`resnetaa50d`) or a blur (`resnetblur50`, Zhang, arXiv 1904.11486).

use super::config::{Config, Library};
use super::layers::{Conv, Groups, Layers, Padding, stages};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Role, Unary, Window};

pub(super) static FAMILY: Family = Family {
    name: "resnet",
    about: "ResNet, ResNeXt, Wide ResNet, SE-ResNet, ECA-ResNet and ResNet-RS under torchvision's and timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let rest = ["resnet", "resnext", "wide-resnet"].iter().filter_map(|stem| name.plain.strip_prefix(stem));
        rest.into_iter().any(is_plain) || (name.may_be(Library::Timm) && name.is_one_of(all_of_timm()))
    },
    stems: &["wide-resnet", "ecaresnext", "ecaresnet", "seresnext", "seresnet", "resnetblur", "resnetaa", "resnext", "resnet"],
    within: &[],
    shows: |shapes| match stem(shapes) {
        Some(stem) if stem.kernel == 7 => Likeness::Yes,
        Some(stem) if stem.fits_both() => Likeness::Perhaps,
        None if is_deep(shapes) => Likeness::Yes,
        _ => Likeness::No,
    },
    build,
};

/// timm's networks of which the tensors show all but their name.
const SHOWN: [&str; 55] = [
    "ecaresnet26t",
    "ecaresnet50d",
    "ecaresnet50d_pruned",
    "ecaresnet50t",
    "ecaresnet101d",
    "ecaresnet101d_pruned",
    "ecaresnet200d",
    "ecaresnet269d",
    "ecaresnetlight",
    "ecaresnext26t_32x4d",
    "ecaresnext50t_32x4d",
    "resnet10t",
    "resnet14t",
    "resnet18d",
    "resnet26d",
    "resnet26t",
    "resnet34d",
    "resnet50c",
    "resnet50d",
    "resnet50s",
    "resnet50t",
    "resnet101c",
    "resnet101d",
    "resnet101s",
    "resnet152c",
    "resnet152d",
    "resnet152s",
    "resnet200d",
    "resnetrs50",
    "resnetrs101",
    "resnetrs152",
    "resnetrs200",
    "resnetrs270",
    "resnetrs350",
    "resnetrs420",
    "resnext50d_32x4d",
    "senet154",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet50t",
    "seresnet101",
    "seresnet152",
    "seresnet152d",
    "seresnet200d",
    "seresnet269d",
    "seresnext26d_32x4d",
    "seresnext26t_32x4d",
    "seresnext50_32x4d",
    "seresnext101_32x4d",
    "seresnext101_32x8d",
    "seresnext101_64x4d",
    "seresnext101d_32x8d",
    "test_resnet",
    "resnet50_gn",
];

/// timm's networks that take a mean where others stride.
const MEANS: [&str; 7] =
    ["resnetaa34d", "resnetaa50", "resnetaa50d", "resnetaa101d", "seresnetaa50d", "seresnextaa101d_32x8d", "seresnextaa201d_32x8d"];

/// timm's networks that blur before they stride.
const BLURS: [&str; 4] = ["resnetblur18", "resnetblur50", "resnetblur50d", "resnetblur101d"];

fn all_of_timm() -> impl Iterator<Item = &'static str> {
    SHOWN.into_iter().chain(MEANS).chain(BLURS)
}

/// Groups of timm's group norm where nothing else is said.
const NORM_GROUPS: usize = 32;

/// What tells a ResNet for small images from one for large ones: their tensors have the same names.
pub(super) struct Stem {
    /// Side of the first convolution.
    pub kernel: usize,
    four_stages: bool,
    downsample: bool,
}

impl Stem {
    /// Whether only a person can say which of the two it is.
    pub(super) fn fits_both(&self) -> bool {
        self.kernel == 3 && self.four_stages && self.downsample
    }
}

/// Of tensors with a ResNet's names.
pub(super) fn stem(shapes: &Shapes) -> Option<Stem> {
    let stem = shapes.get("conv1.weight").filter(|_| has_blocks(shapes))?;
    Some(Stem {
        kernel: stem.get(2).copied().unwrap_or(0),
        four_stages: shapes.keys().any(|name| name.starts_with("layer4.")),
        downsample: shapes.keys().any(|name| name.contains(".downsample.")),
    })
}

/// Whether there are stages of blocks whose convolutions are plain ones.
fn has_blocks(shapes: &Shapes) -> bool {
    let other = ["convs.", "conv1.", "conv2.", "conv3."].map(|part| format!("layer1.0.{part}"));
    let plain = |name: &str| name.matches('.').count() == 3;
    let mut blocks = shapes.keys().filter(|name| name.starts_with("layer1.0.")).peekable();
    blocks.peek().is_some() && blocks.all(|name| plain(name) || !other.iter().any(|start| name.starts_with(start)))
}

/// Whether the stem has three convolutions.
fn is_deep(shapes: &Shapes) -> bool {
    shapes.get("conv1.0.weight").is_some_and(|stem| stem.len() == 4) && shapes.contains_key("conv1.6.weight") && has_blocks(shapes)
}

/// Whether what follows `resnet` names one of the plain networks (`50`, `50-32x4d`, `50-2`): `50d`, `50-gn` and their
/// like have other tensors or compute something else.
fn is_plain(rest: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (depth, width) = rest.split_once('-').unwrap_or((rest, "2"));
    let groups =
        width.strip_suffix('d').and_then(|width| width.split_once('x')).is_some_and(|(groups, width)| digits(groups) && digits(width));
    rest.is_empty() || (digits(depth) && (width == "2" || groups))
}

/// What is done to maps before they stride.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Smooth {
    Mean,
    Blur,
}

/// What tensors do not show.
pub(super) struct Asked {
    act: Unary,
    /// Whether features are the greatest value of each channel, not the mean.
    max_pool: bool,
    /// Beyond this reduction stages dilate instead of striding.
    output_stride: usize,
    smooth: Option<Smooth>,
    /// Norms over groups of channels for those over the batch.
    group_norm: bool,
}

impl Asked {
    pub(super) fn of(config: &Config, shapes: &Shapes) -> Result<Self, ArchError> {
        config.shown(&["base_width", "block_reduce_first", "cardinality", "channels", "stem_width"]);
        same_counts(config, "layers", &stages(shapes))?;
        agreeing(config, shapes)?;
        config.only("aa_layer", "")?;
        config.only("features_only", false)?;
        let named = |names: &[&str]| config.name.as_ref().is_some_and(|name| name.is_one_of(names.iter().copied()));
        let smooth = if named(&MEANS) { Some(Smooth::Mean) } else { named(&BLURS).then_some(Smooth::Blur) };
        let norms_of_batches = shapes.contains_key("bn1.running_mean");
        let group_norm = match config.text("norm_layer")?.map(str::to_lowercase).as_deref() {
            None => named(&["resnet50_gn"]),
            Some("batchnorm" | "batchnorm2d") => false,
            Some("groupnorm") if !norms_of_batches => true,
            Some(other) => return Err(config.refused("norm_layer", &other.into())),
        };
        let max_pool = takes_greatest(config)?;
        let output_stride = config.count("output_stride")?.unwrap_or(32);
        if ![8, 16, 32].contains(&output_stride) {
            return Err(config.refused("output_stride", &output_stride.into()));
        }
        Ok(Self { act: config.act("act_layer")?.unwrap_or(Unary::Relu), max_pool, output_stride, smooth, group_norm })
    }

    /// What makes it another network than its family's, for people: `, Silu, max pooling, output stride 16`.
    pub(super) fn told(&self) -> String {
        let act = (self.act != Unary::Relu).then(|| format!(", {:?}", self.act));
        let pool = self.max_pool.then(|| ", max pooling".to_owned());
        let stride = (self.output_stride != 32).then(|| format!(", output stride {}", self.output_stride));
        let smooth = self.smooth.map(|smooth| if smooth == Smooth::Mean { ", means before strides" } else { ", blurred before strides" });
        let norm = self.group_norm.then(|| ", group norm".to_owned());
        [act, pool, stride, smooth.map(str::to_owned), norm].into_iter().flatten().collect()
    }
}

/// The kind of attention that ends the blocks, by timm's name.
fn attention(shapes: &Shapes) -> &'static str {
    if shapes.keys().any(|name| name.ends_with(".se.fc1.weight")) {
        "se"
    } else if shapes.keys().any(|name| name.ends_with(".se.conv.weight")) {
        "eca"
    } else {
        ""
    }
}

/// Refuses a configuration that says something else than the tensors show.
fn agreeing(config: &Config, shapes: &Shapes) -> Result<(), ArchError> {
    let refuse = |key: &str| Err(config.refused(key, config.get(key).unwrap_or(&serde_json::Value::Null)));
    let deep = shapes.contains_key("conv1.0.weight");
    if config.text("stem_type")?.is_some_and(|stem| stem.contains("deep") != deep) {
        return refuse("stem_type");
    }
    if config.flag("replace_stem_pool", shapes.contains_key("maxpool.0.weight"))? != shapes.contains_key("maxpool.0.weight") {
        return refuse("replace_stem_pool");
    }
    let shortcut = |part: &str| shapes.iter().find(|(name, shape)| name.ends_with(part) && shape.len() == 4).map(|(_, shape)| shape);
    let (pooled, plain) = (shortcut(".downsample.1.weight"), shapes.get("layer2.0.downsample.0.weight"));
    if config.get("avg_down").is_some() && config.flag("avg_down", false)? != pooled.is_some() {
        return refuse("avg_down");
    }
    config.agrees("down_kernel_size", plain.and_then(|shape| shape.get(2).copied()).unwrap_or(1))?;
    if config.text("block")?.is_some_and(|block| !["basic", "bottleneck"].contains(&block)) {
        return refuse("block");
    }
    Ok(())
}

/// What `block_args` says of the attention at the end of blocks.
fn attention_agrees(config: &Config, shapes: &Shapes) -> Result<(), ArchError> {
    let Some(block) = config.within("block_args")? else { return Ok(()) };
    if block.text("attn_layer")?.unwrap_or("") != attention(shapes) {
        return Err(config.refused("block_args", config.get("block_args").unwrap_or(&serde_json::Value::Null)));
    }
    block.finish()
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let shapes = source.shapes;
    let asked = Asked::of(&source.config, shapes)?;
    attention_agrees(&source.config, shapes)?;
    if is_deep(shapes) && source.config.name.as_ref().is_none_or(|name| name.plain == FAMILY.name) {
        return Err(ArchError::NeedsName {
            family: FAMILY.name,
            what: "whether maps are smoothed before they stride".into(),
            names: ["timm/resnet50d", "timm/resnetaa50d", "timm/resnetblur50d"].map(str::to_owned).into(),
        });
    }
    let (net, x) = network(FAMILY.name, source, &asked, &residual)?;
    let grouped = shapes
        .get("layer1.0.conv2.weight")
        .zip(shapes.get("layer1.0.conv1.weight"))
        .is_some_and(|(second, first)| second.get(1) != first.first());
    let blocks = stages(shapes).into_iter().zip(1..).flat_map(|(blocks, stage)| (0..blocks).map(move |block| (stage, block)));
    let depth: usize =
        blocks.map(|(stage, block)| if net.has(&format!("layer{stage}.{block}.conv3.weight")) { 3 } else { 2 }).sum::<usize>() + 2;
    let kind = if grouped { "ResNeXt" } else { "ResNet" };
    let deep = if is_deep(shapes) { ", deep stem" } else { "" };
    let weighed = match attention(shapes) {
        "se" => ", squeeze-and-excitation",
        "eca" => ", ECA",
        _ => "",
    };
    net.finish(x, format!("{kind}-{depth}, torchvision names{deep}{weighed}{}", asked.told()))
}

/// How a block is built: its name, what enters it, and what it does beyond its tensors.
type Block<'b> = &'b dyn Fn(&mut Layers, &str, NodeId, Step) -> Result<NodeId, ArchError>;

/// Stem, stages of blocks, pooling and head.
pub(super) fn network<'a>(
    family: &'static str,
    source: &Source<'a>,
    asked: &Asked,
    block_of: Block<'_>,
) -> Result<(Layers<'a>, NodeId), ArchError> {
    let (act, shapes) = (asked.act, source.shapes);
    let norm = if asked.group_norm { Norm::Group } else { Norm::Batch };
    let deep = shapes.contains_key("conv1.0.weight");
    let first = if deep { "conv1.0.weight" } else { "conv1.weight" };
    let (mut net, input) = Layers::new(family, shapes, first, source.size, 1e-5)?;
    let mut x = if deep { deep_stem(&mut net, input, norm, act)? } else { net.conv("conv1", input, 2, Groups::One, Padding::Half)? };
    x = normed(&mut net, "bn1", x, norm)?;
    x = net.act("relu", act, x)?;
    x = pooled_stem(&mut net, x, asked, norm)?;
    // From `output_stride` on a stage does not stride: it dilates, all but the first convolution of its first block.
    let (mut reduced, mut dilation) = (4, 1);
    for (stage, blocks) in stages(shapes).into_iter().enumerate() {
        let before = dilation;
        let wanted = if stage > 0 { 2 } else { 1 };
        let stride = if reduced >= asked.output_stride { 1 } else { wanted };
        dilation *= wanted / stride;
        reduced *= stride;
        for block in 0..blocks {
            let (stride, first) = if block == 0 { (stride, before) } else { (1, dilation) };
            let step = Step { stride, first, dilation, act, norm, smooth: asked.smooth };
            x = block_of(&mut net, &format!("layer{}.{block}", stage + 1), x, step)?;
        }
    }
    x = net.pool("avgpool", asked.max_pool, x)?;
    if shapes.keys().any(|name| name.starts_with("fc.")) {
        x = net.linear("fc", x)?;
    }
    Ok((net, x))
}

fn deep_stem(net: &mut Layers, input: NodeId, norm: Norm, act: Unary) -> Result<NodeId, ArchError> {
    let mut x = net.conv("conv1.0", input, 2, Groups::One, Padding::Half)?;
    for (norm_at, conv_at) in [(1, 3), (4, 6)] {
        x = normed(net, &format!("conv1.{norm_at}"), x, norm)?;
        x = net.act(&format!("conv1.relu{norm_at}"), act, x)?;
        x = net.conv(&format!("conv1.{conv_at}"), x, 1, Groups::One, Padding::Half)?;
    }
    Ok(x)
}

/// What halves the map behind the stem.
fn pooled_stem(net: &mut Layers, x: NodeId, asked: &Asked, norm: Norm) -> Result<NodeId, ArchError> {
    if net.has("maxpool.0.weight") {
        let x = net.conv("maxpool.0", x, 2, Groups::One, Padding::Half)?;
        let x = normed(net, "maxpool.1", x, norm)?;
        return net.act("maxpool.relu", asked.act, x);
    }
    match asked.smooth {
        None => net.stem_pool("maxpool", x),
        Some(Smooth::Mean) => smoothed(net, "maxpool", x, Smooth::Mean, 2),
        Some(Smooth::Blur) => {
            let x = net.max_pool("maxpool.0", x, 3, 1, 1)?;
            smoothed(net, "maxpool.1", x, Smooth::Blur, 2)
        }
    }
}

/// Norms of a network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    Batch,
    Group,
}

/// What a block does beyond its tensors.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub stride: usize,
    /// Dilation of the convolution that may stride, and of that behind it.
    pub first: usize,
    pub dilation: usize,
    pub act: Unary,
    pub norm: Norm,
    smooth: Option<Smooth>,
}

pub(super) fn normed(net: &mut Layers, name: &str, x: NodeId, norm: Norm) -> Result<NodeId, ArchError> {
    match norm {
        Norm::Batch => net.norm(name, x),
        Norm::Group => group_normed(net, name, x, NORM_GROUPS),
    }
}

/// A group norm; behind a tensor that does not fit, where the map is another than it would be, its tensors are looked for alone.
pub(super) fn group_normed(net: &mut Layers, name: &str, x: NodeId, groups: usize) -> Result<NodeId, ArchError> {
    if net.is_whole() {
        return net.group_norm(name, x, groups, 1e-5);
    }
    for part in ["weight", "bias"] {
        net.look(&format!("{name}.{part}"));
    }
    Ok(x)
}

fn residual(net: &mut Layers, name: &str, input: NodeId, step: Step) -> Result<NodeId, ArchError> {
    let Step { stride, first, dilation, act, .. } = step;
    let bottleneck = net.has(&format!("{name}.conv3.weight"));
    // What smooths strides too, in place of the convolution.
    let smooth = step.smooth.filter(|_| stride == 2 || first != dilation);
    let moved = if smooth.is_some() { 1 } else { stride };
    let moves = if bottleneck { vec![(1, 1), (moved, first), (1, 1)] } else { vec![(moved, first), (1, dilation)] };
    let last = moves.len();
    let mut x = input;
    for (i, moves) in (1..).zip(moves) {
        let groups = if i == 2 && bottleneck { Groups::Fitting } else { Groups::One };
        x = net.dilated(&format!("{name}.conv{i}"), x, moves, groups, Padding::Half)?;
        x = normed(net, &format!("{name}.bn{i}"), x, step.norm)?;
        if i < last {
            x = net.act(&format!("{name}.relu{i}"), act, x)?;
        }
        if let Some(smooth) = smooth.filter(|_| i + 1 == last) {
            x = smoothed(net, &format!("{name}.aa"), x, smooth, stride)?;
        }
    }
    joined(net, name, input, x, step)
}

/// The end of a block: attention, the shortcut, their sum, the activation.
pub(super) fn joined(net: &mut Layers, name: &str, input: NodeId, x: NodeId, step: Step) -> Result<NodeId, ArchError> {
    let mut x = x;
    let [less, more] = ["fc1", "fc2"].map(|part| format!("{name}.se.{part}"));
    if net.has(&format!("{less}.weight")) {
        x = net.excited([&less, &more], x, Unary::Relu, Unary::Sigmoid)?;
    } else if net.has(&format!("{name}.se.conv.weight")) {
        x = eca(net, &format!("{name}.se"), x)?;
    }
    let changes = net.channels(input) != net.channels(x) || step.stride != 1;
    let shortcut = shortcut(net, &format!("{name}.downsample"), input, changes, step)?;
    x = net.sum(&format!("{name}.add"), x, shortcut)?;
    net.act(&format!("{name}.relu"), step.act, x)
}

fn shortcut(net: &mut Layers, name: &str, input: NodeId, changes: bool, step: Step) -> Result<NodeId, ArchError> {
    let Step { stride, first, dilation, norm, .. } = step;
    let pooled = format!("{name}.1.weight");
    if net.has(&pooled) && net.look(&pooled).is_some_and(|shape| shape.len() == 4) {
        let x = if stride == 1 && dilation == 1 { input } else { halved(net, &format!("{name}.0"), input, stride, dilation)? };
        let x = net.conv(&format!("{name}.1"), x, 1, Groups::One, Padding::Half)?;
        return normed(net, &format!("{name}.2"), x, norm);
    }
    let weight = format!("{name}.0.weight");
    if !(net.has(&weight) || net.is_whole() && changes) {
        return Ok(input);
    }
    let x = net.dilated(&format!("{name}.0"), input, (stride, first), Groups::One, Padding::Half)?;
    normed(net, &format!("{name}.1"), x, norm)
}

/// The mean of 2x2 windows. A last row or column that has no partner counts alone; where the stage dilates, it gets zeros for one.
pub(super) fn halved(net: &mut Layers, name: &str, x: NodeId, stride: usize, dilation: usize) -> Result<NodeId, ArchError> {
    let step = if dilation == 1 { stride } else { 1 };
    let [h, w] = net.size(x);
    let (pads, count_include_pad) = if step == 1 { ([0, 0, 1, 1], true) } else { ([0, 0, h % 2, w % 2], false) };
    let window = Window { kernel: [2, 2], stride: [step; 2], pads, dilation: [1; 2] };
    net.add(name, Op::AvgPool { window, count_include_pad }, &[x])
}

/// What smooths a map, and strides.
fn smoothed(net: &mut Layers, name: &str, x: NodeId, smooth: Smooth, stride: usize) -> Result<NodeId, ArchError> {
    match smooth {
        Smooth::Mean if stride == 1 => Ok(x),
        Smooth::Mean => net.avg_pool(name, x, stride, stride, 0, true),
        Smooth::Blur => blurred(net, name, x, stride),
    }
}

/// Convolved with a binomial kernel of side 3, at edges with the map reflected.
fn blurred(net: &mut Layers, name: &str, x: NodeId, stride: usize) -> Result<NodeId, ArchError> {
    let size = net.size(x);
    if size.iter().any(|side| *side < 2) && net.is_whole() {
        return Err(ArchError::Unsupported(format!("`{name}`: a map of {size:?} cannot be reflected at its edges; images must be larger")));
    }
    let mut padded = x;
    for (axis, side) in (2..).zip(size) {
        let indices = std::iter::once(1).chain(0..side).chain(side.checked_sub(2)).collect();
        padded = net.select(&format!("{name}.reflect{axis}"), padded, axis, indices)?;
    }
    let channels = net.channels(x);
    let kernel: Vec<f32> = [1.0, 2.0, 1.0].iter().flat_map(|a| [1.0, 2.0, 1.0].map(|b| a * b / 16.0)).collect();
    let values: Vec<f32> = kernel.iter().copied().cycle().take(9 * channels).collect();
    let weight = net.constant(&format!("{name}.filt"), &[channels, 1, 3, 3], &values);
    net.conv_by(name, padded, weight, "", Conv { groups: channels, ..Conv::new(stride, 0) })
}

/// A map times what a convolution over its channels, in their order, makes of its mean.
pub(super) fn eca(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let weight = format!("{name}.conv.weight");
    let Some(found) = net.look(&weight) else { return Ok(x) };
    let &[1, 1, kernel] = found.as_slice() else { return Ok(net.misfit(&weight, &found, "[1, 1, kernel]", x)) };
    if kernel % 2 == 0 {
        return Ok(net.misfit(&weight, &found, "[1, 1, an odd kernel]", x));
    }
    let channels = net.channels(x);
    let mean = net.mean(&format!("{name}.mean"), x, &[2, 3], true)?;
    let row = net.reshape(&format!("{name}.row"), mean, &[1, 1, channels])?;
    let taps = net.tensor(&weight, &found, Role::Weight);
    let taps = net.reshape_fixed(&format!("{weight}.reshape"), taps, &[1, 1, 1, kernel])?;
    let how = Conv { pads: [0, kernel / 2, 0, kernel / 2], ..Conv::new(1, 0) };
    let row = net.conv_by(&format!("{name}.conv"), row, taps, "", how)?;
    let gate = net.act(&format!("{name}.gate"), Unary::Sigmoid, row)?;
    let gate = net.reshape(&format!("{name}.column"), gate, &[channels, 1, 1])?;
    net.mul(&format!("{name}.mul"), x, gate)
}

/// timm's `ConvNormAct`: a convolution `name.conv`, a batch norm `name.bn` and, where given, the activation.
pub(super) fn unit(
    net: &mut Layers,
    name: &str,
    x: NodeId,
    stride: usize,
    groups: Groups,
    act: Option<Unary>,
) -> Result<NodeId, ArchError> {
    let x = net.conv(&format!("{name}.conv"), x, stride, groups, Padding::Half)?;
    let x = net.norm(&format!("{name}.bn"), x)?;
    act.map_or(Ok(x), |act| net.act(&format!("{name}.act"), act, x))
}

/// timm's `ClassifierHead`: the map brought to one vector, and a linear layer `head.fc` where the file has it.
pub(super) fn classified(net: &mut Layers, x: NodeId, max_pool: bool) -> Result<NodeId, ArchError> {
    let x = net.pool("head.global_pool", max_pool, x)?;
    if net.has("head.fc.weight") { net.linear("head.fc", x) } else { Ok(x) }
}

/// Whether timm's `global_pool` asks for the greatest value; refuses what is neither that nor the mean.
pub(super) fn takes_greatest(config: &Config) -> Result<bool, ArchError> {
    match config.pooling("avg")? {
        "avg" => Ok(false),
        "max" => Ok(true),
        other => Err(config.refused("global_pool", &other.into())),
    }
}

/// Refuses a configuration that counts something else than the tensors show.
pub(super) fn same_counts(config: &Config, key: &str, found: &[usize]) -> Result<(), ArchError> {
    match config.counts(key)? {
        Some(said) if said != found => Err(ArchError::Unsupported(format!(
            "config.json: `{key}` is {said:?}, and the tensors show {found:?}: the two are of different models"
        ))),
        _ => Ok(()),
    }
}

/// The name that is given is of a network with other tensors.
pub(super) fn mixed_up(config: &Config) -> ArchError {
    let name = config.name.as_ref().map_or("", |name| name.plain.as_str());
    ArchError::Unsupported(format!(
        "a network called `{name}` has other tensors than these: the name and the weights are of different models"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::{build_from, tests::bottlenecks};

    #[test]
    fn what_smooths_is_read_off_the_name_alone() {
        let mut shapes = bottlenecks(1);
        let plain = build_from(&FAMILY, &Source::plain(&shapes, [64, 64])).expect("built").description;
        assert_eq!(plain, "ResNet-14, torchvision names");
        let named = |shapes: &Shapes, name: &str| {
            let config = Config::of(None, Some(name), true).expect("read");
            build_from(&FAMILY, &Source { shapes, size: [64, 64], config }).map(|built| built.description).map_err(|e| e.to_string())
        };
        assert_eq!(named(&shapes, "resnetblur50"), Ok("ResNet-14, torchvision names, blurred before strides".to_owned()));
        // A stem of three convolutions: of many names, and nobody says of which.
        let stem = shapes.remove("conv1.weight").expect("there");
        for (part, shape) in [("0", stem), ("3", vec![8, 8, 3, 3]), ("6", vec![8, 8, 3, 3])] {
            shapes.insert(format!("conv1.{part}.weight"), shape);
        }
        for norm in [1, 4] {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                shapes.insert(format!("conv1.{norm}.{part}"), vec![8]);
            }
        }
        let told = named(&shapes, "resnet").expect_err("refused");
        assert!(told.contains("timm/resnetaa50d"), "{told}");
        assert_eq!(named(&shapes, "timm/resnet50d"), Ok("ResNet-14, torchvision names, deep stem".to_owned()));
        assert_eq!(named(&shapes, "timm/resnetaa50d"), Ok("ResNet-14, torchvision names, deep stem, means before strides".to_owned()));
    }
}
