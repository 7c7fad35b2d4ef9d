//! `RegNet` under the names of timm, torchvision and Hugging Face Transformers.
//!
//! Radosavovic et al., "Designing Network Design Spaces" (arXiv 2003.13678): four stages of bottlenecks whose groups are of one width, each
//! stage beginning with a stride; Y has squeeze-and-excitation behind the grouped convolution. timm's V is norm and activation first, its Z
//! (Dollar et al., arXiv 2103.06877) ends its blocks without an activation and has no shortcut where a block changes the map's shape.

use super::config::{Config, Library};
use super::layers::{Groups, Layers, Padding, count};
use super::resnet::{classified, group_normed, halved, mixed_up, takes_greatest};
use super::{ArchError, Built, Family, Likeness, Shapes, Source, staged};
use crate::graph::{NodeId, Unary};

pub(super) static TIMM: Family = Family {
    name: "regnet-timm",
    about: "RegNet X, Y, V and Z under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(TIMM_NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let blocks = ["conv1.conv.weight", "conv1.weight"].iter().any(|part| shapes.contains_key(&format!("s1.b1.{part}")));
        if blocks { Likeness::Yes } else { Likeness::No }
    },
    build: timm,
};

pub(super) static TORCHVISION: Family = Family {
    name: "regnet-torchvision",
    about: "RegNet X and Y under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Torchvision) && name.is_one_of(TORCHVISION_NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("trunk_output.block1.block1-0.f.a.0.weight") { Likeness::Yes } else { Likeness::No },
    build: torchvision,
};

pub(super) static HUGGING_FACE: Family = Family {
    name: "regnet-hf",
    about: "RegNet X and Y under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.plain == "regnet",
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("regnet.embedder.embedder.convolution.weight") { Likeness::Yes } else { Likeness::No },
    build: hugging_face,
};

const TIMM_NAMES: [&str; 36] = [
    "regnetv_040",
    "regnetv_064",
    "regnetx_002",
    "regnetx_004",
    "regnetx_004_tv",
    "regnetx_006",
    "regnetx_008",
    "regnetx_016",
    "regnetx_032",
    "regnetx_040",
    "regnetx_064",
    "regnetx_080",
    "regnetx_120",
    "regnetx_160",
    "regnetx_320",
    "regnety_002",
    "regnety_004",
    "regnety_006",
    "regnety_008",
    "regnety_008_tv",
    "regnety_016",
    "regnety_032",
    "regnety_040",
    SMALL_GROUPS,
    "regnety_064",
    "regnety_080",
    "regnety_080_tv",
    "regnety_120",
    "regnety_160",
    "regnety_320",
    "regnety_640",
    "regnety_1280",
    "regnety_2560",
    "regnetz_005",
    "regnetz_040",
    "regnetz_040_h",
];

/// timm's one with group norm, over groups of 16 channels.
const SMALL_GROUPS: &str = "regnety_040_sgn";

const TORCHVISION_NAMES: [&str; 15] = [
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_1_6gf",
    "regnet_y_3_2gf",
    "regnet_y_8gf",
    "regnet_y_16gf",
    "regnet_y_32gf",
    "regnet_y_128gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_1_6gf",
    "regnet_x_3_2gf",
    "regnet_x_8gf",
    "regnet_x_16gf",
    "regnet_x_32gf",
];

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Kind {
    act: Unary,
    /// Of squeeze-and-excitation.
    act_within: Unary,
    /// Channels of a group of its norms, where these are over groups.
    norm_of: Option<usize>,
    /// Whether blocks end without an activation.
    linear: bool,
    /// Whether a block that changes the map's shape has no shortcut.
    bare: bool,
}

const PLAIN: Kind = Kind { act: Unary::Relu, act_within: Unary::Relu, norm_of: None, linear: false, bare: false };

/// The tensors of a block: convolutions and their norms, the two layers that weigh channels, the shortcut.
struct Names {
    at: String,
    convs: [[String; 2]; 3],
    weighing: [String; 2],
    shortcut: [String; 2],
}

fn bottleneck(net: &mut Layers, names: &Names, input: NodeId, stride: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let Names { at, convs, weighing, shortcut } = names;
    let mut x = input;
    for (i, [conv, norm]) in convs.iter().enumerate() {
        let (stride, groups) = if i == 1 { (stride, Groups::Fitting) } else { (1, Groups::One) };
        x = net.conv(conv, x, stride, groups, Padding::Half)?;
        x = normed(net, norm, x, kind)?;
        if i < 2 {
            x = net.act(&format!("{conv}.act"), kind.act, x)?;
        }
        if i == 1 && net.has(&format!("{}.weight", weighing[0])) {
            x = net.excited([&weighing[0], &weighing[1]], x, kind.act_within, Unary::Sigmoid)?;
        }
    }
    let [conv, norm] = shortcut;
    let changes = net.channels(input) != net.channels(x) || stride != 1;
    // timm may take the mean of 2x2 windows in front of a shortcut's convolution.
    let pooled = format!("{at}.downsample.1");
    let other = if net.has(&format!("{pooled}.conv.weight")) {
        let mean = if stride == 1 { input } else { halved(net, &format!("{at}.downsample.0"), input, stride, 1)? };
        let mean = net.conv(&format!("{pooled}.conv"), mean, 1, Groups::One, Padding::Half)?;
        Some(normed(net, &format!("{pooled}.bn"), mean, kind)?)
    } else if net.has(&format!("{conv}.weight")) || (changes && !kind.bare && net.is_whole()) {
        let projected = net.conv(conv, input, stride, Groups::One, Padding::Half)?;
        Some(normed(net, norm, projected, kind)?)
    } else {
        (!changes).then_some(input)
    };
    if let Some(other) = other {
        x = net.sum(&format!("{at}.add"), x, other)?;
    }
    if kind.linear { Ok(x) } else { net.act(&format!("{at}.act"), kind.act, x) }
}

fn normed(net: &mut Layers, name: &str, x: NodeId, kind: Kind) -> Result<NodeId, ArchError> {
    match kind.norm_of {
        None => net.norm(name, x),
        Some(size) => {
            let groups = net.channels(x) / size;
            group_normed(net, name, x, groups.max(1))
        }
    }
}

/// How many of `prefix1.`, `prefix2.`, ... the file has.
fn numbered(shapes: &Shapes, prefix: &str) -> usize {
    let has = |i: &usize| {
        let start = format!("{prefix}{i}.");
        shapes.range(start.clone()..).next().is_some_and(|(name, _)| name.starts_with(&start))
    };
    (1..=shapes.len()).take_while(has).count()
}

/// What is said, and where it stands, for people.
fn told(shapes: &Shapes, blocks: usize, names: &str) -> String {
    let excited = shapes.keys().any(|name| name.contains(".se.fc1.") || name.contains(".attention.0."));
    format!("RegNet {}, {blocks} blocks, {names} names", if excited { "Y" } else { "X" })
}

fn timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let preact = shapes.contains_key("stem.weight");
    let depths: Vec<usize> = (1..=numbered(shapes, "s")).map(|stage| numbered(shapes, &format!("s{stage}.b"))).collect();
    let blocks = depths.iter().sum::<usize>();
    let kind = timm_kind(config, shapes, blocks)?;
    let max_pool = takes_greatest(config)?;
    let stem = if preact { "stem" } else { "stem.conv" };
    let (mut net, input) = Layers::new(TIMM.name, shapes, &format!("{stem}.weight"), *size, 1e-5)?;
    let mut x = net.conv(stem, input, 2, Groups::One, Padding::Half)?;
    if !preact {
        x = normed(&mut net, "stem.bn", x, kind)?;
        x = net.act("stem.act", kind.act, x)?;
    }
    for (stage, depth) in (1..).zip(depths) {
        for block in 1..=depth {
            let (at, stride) = (format!("s{stage}.b{block}"), if block == 1 { 2 } else { 1 });
            x = if preact {
                preactivated(&mut net, &at, x, stride, kind)?
            } else {
                bottleneck(&mut net, &timm_names(at), x, stride, kind)?
            };
        }
    }
    if net.has("final_conv.conv.weight") {
        x = net.conv("final_conv.conv", x, 1, Groups::One, Padding::Half)?;
        x = normed(&mut net, "final_conv.bn", x, kind)?;
    }
    if net.has("final_conv.conv.weight") || kind.linear || preact {
        x = net.act("final_conv.act", kind.act, x)?;
    }
    x = classified(&mut net, x, max_pool)?;
    let first = if preact { ", norms first" } else { "" };
    let act = if kind.act == Unary::Relu { String::new() } else { format!(", {:?}", kind.act) };
    net.finish(x, format!("{}{first}{act}{}", told(shapes, blocks, "timm"), if max_pool { ", max pooling" } else { "" }))
}

fn timm_names(at: String) -> Names {
    let convs = [1, 2, 3].map(|i| ["conv", "bn"].map(|part| format!("{at}.conv{i}.{part}")));
    let weighing = ["fc1", "fc2"].map(|part| format!("{at}.se.{part}"));
    let shortcut = ["conv", "bn"].map(|part| format!("{at}.downsample.{part}"));
    Names { at, convs, weighing, shortcut }
}

fn timm_kind(config: &Config, shapes: &Shapes, blocks: usize) -> Result<Kind, ArchError> {
    let preact = shapes.contains_key("stem.weight");
    let begins = |start: &str| config.name.as_ref().is_some_and(|name| name.plain.starts_with(start));
    let groups = config.name.as_ref().is_some_and(|name| name.is_one_of([SMALL_GROUPS]));
    let named = config.name.as_ref().is_some_and(|name| name.plain != TIMM.name);
    let shown = shapes.contains_key("stem.bn.running_mean") && shapes.contains_key("s1.b1.downsample.conv.weight");
    if !named && !shown {
        let names = ["timm/regnety_040_sgn", "timm/regnetv_040", "timm/regnetz_040"].map(str::to_owned).into();
        return Err(ArchError::NeedsName { family: TIMM.name, what: "its activation".into(), names });
    }
    config.shown(&["w0", "wa", "wm", "group_size", "group_min_ratio", "bottle_ratio", "se_ratio", "stem_width", "num_features"]);
    config.agrees("depth", blocks)?;
    config.only("output_stride", 32)?;
    config.only("preact", preact)?;
    config.only("norm_layer", "batchnorm")?;
    let of_z = begins("regnetz");
    let projects =
        ["conv.weight", "weight", "1.conv.weight", "1.weight"].iter().any(|part| shapes.contains_key(&format!("s1.b1.downsample.{part}")));
    if named && ((begins("regnetv") != preact && !config.says("preact")) || (of_z && projects && !config.says("downsample"))) {
        return Err(mixed_up(config));
    }
    if let Some(way) = config.text("downsample")? {
        let there = match way {
            "avg" => shapes.keys().any(|name| name.contains(".downsample.1.")),
            "conv1x1" => ["s1.b1.downsample.conv.weight", "s1.b1.downsample.weight"].iter().any(|name| shapes.contains_key(*name)),
            _ => false,
        };
        if !there {
            return Err(config.refused("downsample", &way.into()));
        }
    }
    let usual = if preact || groups || of_z { Unary::Silu } else { Unary::Relu };
    let act = config.act("act_layer")?.unwrap_or(usual);
    let linear = config.flag("linear_out", of_z)?;
    Ok(Kind { act, act_within: act, norm_of: groups.then_some(16), linear, bare: of_z })
}

/// A block whose norms and activations come before its convolutions.
fn preactivated(net: &mut Layers, at: &str, input: NodeId, stride: usize, kind: Kind) -> Result<NodeId, ArchError> {
    let mut x = input;
    let mut first = input;
    for i in 1..=3 {
        x = normed(net, &format!("{at}.norm{i}"), x, kind)?;
        x = net.act(&format!("{at}.norm{i}.act"), kind.act, x)?;
        if i == 1 {
            first = x;
        }
        let (stride, groups) = if i == 2 { (stride, Groups::Fitting) } else { (1, Groups::One) };
        x = net.conv(&format!("{at}.conv{i}"), x, stride, groups, Padding::Half)?;
        let weighing = ["fc1", "fc2"].map(|part| format!("{at}.se.{part}"));
        if i == 2 && net.has(&format!("{}.weight", weighing[0])) {
            x = net.excited([&weighing[0], &weighing[1]], x, kind.act_within, Unary::Sigmoid)?;
        }
    }
    let changes = net.channels(first) != net.channels(x) || stride != 1;
    let other = if net.has(&format!("{at}.downsample.1.weight")) {
        let mean = if stride == 1 { first } else { halved(net, &format!("{at}.downsample.0"), first, stride, 1)? };
        net.conv(&format!("{at}.downsample.1"), mean, 1, Groups::One, Padding::Half)?
    } else if net.has(&format!("{at}.downsample.weight")) || (changes && net.is_whole()) {
        net.conv(&format!("{at}.downsample"), first, stride, Groups::One, Padding::Half)?
    } else {
        first
    };
    net.sum(&format!("{at}.add"), x, other)
}

fn torchvision(source: &Source) -> Result<Built, ArchError> {
    let shapes = source.shapes;
    let (mut net, input) = Layers::new(TORCHVISION.name, shapes, "stem.0.weight", source.size, 1e-5)?;
    let mut x = net.conv("stem.0", input, 2, Groups::One, Padding::Half)?;
    x = net.norm("stem.1", x)?;
    x = net.act("stem.2", Unary::Relu, x)?;
    let mut blocks = 0;
    for stage in 1..=numbered(shapes, "trunk_output.block") {
        let prefix = format!("trunk_output.block{stage}.block{stage}-");
        for block in 0..count(shapes, &prefix) {
            let at = format!("{prefix}{block}");
            let convs = ["a", "b", "c"].map(|part| [0, 1].map(|i| format!("{at}.f.{part}.{i}")));
            let weighing = ["fc1", "fc2"].map(|part| format!("{at}.f.se.{part}"));
            let shortcut = [0, 1].map(|i| format!("{at}.proj.{i}"));
            x = bottleneck(&mut net, &Names { at, convs, weighing, shortcut }, x, if block == 0 { 2 } else { 1 }, PLAIN)?;
            blocks += 1;
        }
    }
    x = net.pool("avgpool", false, x)?;
    if shapes.contains_key("fc.weight") {
        x = net.linear("fc", x)?;
    }
    net.finish(x, told(shapes, blocks, "torchvision"))
}

fn hugging_face(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    if config.name.is_none() {
        let names = vec!["transformers/regnet".into()];
        return Err(ArchError::NeedsName { family: HUGGING_FACE.name, what: "its activation".into(), names });
    }
    let base = if shapes.keys().any(|name| name.starts_with("regnet.")) { "regnet." } else { "" };
    let stages = format!("{base}encoder.stages.");
    let depths: Vec<usize> = (0..count(shapes, &stages)).map(|stage| count(shapes, &format!("{stages}{stage}.layers."))).collect();
    staged::agree(config, "depths", &depths, config.unsaid(&[2, 6, 12, 2]))?;
    let excited = shapes.contains_key(&format!("{stages}0.layers.0.layer.2.attention.0.weight"));
    let said = config.text("layer_type")?.or(config.unsaid("y"));
    if let Some(said) = said.filter(|said| *said != if excited { "y" } else { "x" }) {
        return Err(config.refused("layer_type", &said.into()));
    }
    agreeing_groups(config, shapes, &stages)?;
    let act = config.act("hidden_act")?.unwrap_or(Unary::Relu);
    let in_first = config.flag("downsample_in_first_stage", true)?;
    let kind = Kind { act, ..PLAIN };
    let stem = format!("{base}embedder.embedder");
    let (mut net, input) = Layers::new(HUGGING_FACE.name, shapes, &format!("{stem}.convolution.weight"), *size, 1e-5)?;
    let mut x = net.conv(&format!("{stem}.convolution"), input, 2, Groups::One, Padding::Half)?;
    x = net.norm(&format!("{stem}.normalization"), x)?;
    x = net.act(&format!("{stem}.activation"), act, x)?;
    let width = net.channels(x);
    let mut dims = Vec::new();
    for (stage, &depth) in depths.iter().enumerate() {
        for block in 0..depth {
            let stride = if block == 0 && (stage > 0 || in_first) { 2 } else { 1 };
            let at = format!("{stages}{stage}.layers.{block}");
            let pair = |part: &str| ["convolution", "normalization"].map(|kind| format!("{at}.{part}.{kind}"));
            let last = if net.has(&format!("{at}.layer.3.convolution.weight")) { "layer.3" } else { "layer.2" };
            let convs = [pair("layer.0"), pair("layer.1"), pair(last)];
            let weighing = [0, 2].map(|i| format!("{at}.layer.2.attention.{i}"));
            let shortcut = pair("shortcut");
            x = bottleneck(&mut net, &Names { at, convs, weighing, shortcut }, x, stride, kind)?;
        }
        dims.push(net.channels(x));
    }
    if net.is_whole() {
        config.agrees_or("embedding_size", 32, width)?;
        staged::agree(config, "hidden_sizes", &dims, config.unsaid(&[128, 192, 512, 1088]))?;
    }
    x = net.pool(&format!("{base}pooler"), false, x)?;
    if shapes.contains_key("classifier.1.weight") {
        x = net.linear("classifier.1", x)?;
    }
    let told_act = if act == Unary::Relu { String::new() } else { format!(", {act:?}") };
    net.finish(x, format!("{}{told_act}", told(shapes, depths.iter().sum(), "Hugging Face")))
}

/// Refuses a configuration whose groups are of another width than those of the tensors.
fn agreeing_groups(config: &Config, shapes: &Shapes, stages: &str) -> Result<(), ArchError> {
    let Some(said) = config.count("groups_width")? else { return Ok(()) };
    let found = shapes.get(&format!("{stages}0.layers.0.layer.1.convolution.weight"));
    match found.and_then(|shape| shape.first().zip(shape.get(1))) {
        Some((out, each)) if out / (out / said).max(1) != *each => Err(ArchError::Unsupported(format!(
            "config.json: `groups_width` is {said}, and the tensors have groups of {each} channels: the two are of different models"
        ))),
        _ => Ok(()),
    }
}
