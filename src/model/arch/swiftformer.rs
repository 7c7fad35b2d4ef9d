//! `SwiftFormer` under timm's and Hugging Face Transformers' names.
//!
//! Shaker et al., "`SwiftFormer`: Efficient Additive Attention for Transformer-based Real-time Mobile Vision Applications" (arXiv
//! 2303.15446). One query for the whole image is a sum of the queries of all places. timm weighs them by what is learnt; Transformers takes
//! a softmax over one number, which is 1, so there the weights are 1 whatever is learnt. Two heads read the same features, and their
//! answers are averaged.

use super::config::Library;
use super::hybrid::{agree, answers, mean_only};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source, staged};
use crate::graph::{NodeId, Op, Role, Unary};

type Made = Result<NodeId, ArchError>;

const NAMES: [&str; 4] = ["swiftformer_xs", "swiftformer_s", "swiftformer_l1", "swiftformer_l3"];

pub(super) static FAMILY: Family = Family {
    name: "swiftformer-timm",
    about: "SwiftFormer under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = |name: &String| name.starts_with("stages.0.blocks.") && name.ends_with(".local_representation.dwconv.weight");
        if shapes.keys().any(own) { Likeness::Yes } else { Likeness::No }
    },
    build: build_timm,
};

pub(super) static HUGGING_FACE: Family = Family {
    name: "swiftformer-hf",
    about: "SwiftFormer under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.plain == "swiftformer",
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = |name: &String| name.ends_with(".local_representation.depth_wise_conv.weight");
        if shapes.keys().any(own) { Likeness::Yes } else { Likeness::No }
    },
    build: build_hf,
};

/// What a library calls the parts.
struct Names {
    depthwise: &'static str,
    points: [&'static str; 2],
    /// Behind the name of a learnt factor.
    factor: &'static str,
    heads: [&'static str; 2],
}

const OF_TIMM: Names = Names { depthwise: "dwconv", points: ["pwconv1", "pwconv2"], factor: ".gamma", heads: ["head", "head_dist"] };

const OF_HUGGING_FACE: Names =
    Names { depthwise: "depth_wise_conv", points: ["point_wise_conv1", "point_wise_conv2"], factor: "", heads: ["head", "dist_head"] };

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Asked {
    /// Of the MLP behind attention.
    mlp: Unary,
    /// Of all else but the stem.
    act: Unary,
    /// Whether queries are weighed by what is learnt.
    weighed: bool,
}

/// Where the parts of the network are.
struct Parts {
    stem: String,
    /// For every stage what narrows the map before it, and its blocks.
    stages: Vec<(Option<String>, String)>,
}

fn build_timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Gelu { tanh: false });
    config.shown(&[
        "down_patch_size",
        "downsamples",
        "img_size",
        "layer_scale_init_value",
        "mlp_ratios",
        "proj_drop_rate",
        "use_layer_scale",
    ]);
    config.only("output_stride", 32)?;
    mean_only(config)?;
    let stage = |i: usize| {
        let down = format!("stages.{i}.downsample");
        (shapes.contains_key(&format!("{down}.proj.weight")).then_some(down), format!("stages.{i}.blocks."))
    };
    let parts = Parts { stem: "stem".to_owned(), stages: (0..count(shapes, "stages.")).map(stage).collect() };
    let asked = Asked { mlp: act, act, weighed: true };
    agree(config, "layers", &depths(shapes, &parts))?;
    build(source, (FAMILY.name, "timm names"), &parts, (&OF_TIMM, asked), 1e-5)
}

fn build_hf(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    config.shown(&["down_patch_size", "downsamples", "drop_conv_encoder_rate", "drop_mlp_rate", "drop_path_rate", "image_size"]);
    config.shown(&["layer_scale_init_value", "mlp_ratio"]);
    let any = |part: &str| shapes.keys().any(|name| name.ends_with(part));
    config.tells("use_layer_scale", true, any(".layer_scale_1") || any(".layer_scale_2"))?;
    let gelu = Unary::Gelu { tanh: false };
    let base = if shapes.keys().any(|name| name.starts_with("swiftformer.")) { "swiftformer." } else { "" };
    let (mut stages, mut down) = (Vec::new(), None);
    for i in 0..count(shapes, &format!("{base}encoder.network.")) {
        let name = format!("{base}encoder.network.{i}");
        if shapes.contains_key(&format!("{name}.proj.weight")) {
            down = Some(name);
        } else {
            stages.push((down.take(), format!("{name}.blocks.")));
        }
    }
    let parts = Parts { stem: format!("{base}patch_embed.patch_embedding"), stages };
    let asked = Asked { mlp: config.act("hidden_act")?.unwrap_or(gelu), act: gelu, weighed: false };
    staged::agree(config, "depths", &depths(shapes, &parts), config.unsaid(&[3, 3, 6, 4]))?;
    let eps = config.number("batch_norm_eps")?.unwrap_or(1e-5);
    build(source, (HUGGING_FACE.name, "Hugging Face names"), &parts, (&OF_HUGGING_FACE, asked), eps)
}

fn depths(shapes: &Shapes, parts: &Parts) -> Vec<usize> {
    parts.stages.iter().map(|(_, blocks)| count(shapes, blocks)).collect()
}

fn build(
    source: &Source,
    (family, told): (&'static str, &str),
    parts: &Parts,
    (names, asked): (&Names, Asked),
    eps: f64,
) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    config.only("down_stride", 2)?;
    config.only("down_pad", 1)?;
    let stem = &parts.stem;
    let (mut net, mut x) = Layers::new(family, shapes, &format!("{stem}.0.weight"), *size, eps)?;
    for i in [0, 3] {
        x = net.conv(&format!("{stem}.{i}"), x, 2, Groups::One, Padding::Half)?;
        x = net.norm(&format!("{stem}.{}", i + 1), x)?;
        x = net.act(&format!("{stem}.{}", i + 2), Unary::Relu, x)?;
    }
    let depths = depths(shapes, parts);
    let mut widths = Vec::new();
    for ((down, blocks), &depth) in parts.stages.iter().zip(&depths) {
        if let Some(down) = down {
            x = net.conv(&format!("{down}.proj"), x, 2, Groups::One, Padding::Half)?;
            x = net.norm(&format!("{down}.norm"), x)?;
        }
        for block in 0..depth {
            let name = format!("{blocks}{block}");
            let attends = net.has(&format!("{name}.attn.w_g"));
            x = if attends { attending(&mut net, &name, x, names, asked)? } else { local(&mut net, &name, x, names, asked.act)? };
        }
        widths.push(net.channels(x));
    }
    staged::agree(config, "embed_dims", &widths, config.unsaid(&[48, 56, 112, 220]))?;
    x = net.norm("norm", x)?;
    x = net.pool("global_pool", false, x)?;
    x = answers(&mut net, x, &names.heads.map(|head| (None, head.to_owned())))?;
    net.finish(x, format!("SwiftFormer, {} blocks, {told}", depths.iter().sum::<usize>()))
}

/// Convolutions, times a learnt factor and added.
fn local(net: &mut Layers, name: &str, input: NodeId, names: &Names, act: Unary) -> Made {
    let [up, down] = names.points.map(|part| format!("{name}.{part}"));
    let x = net.conv(&format!("{name}.{}", names.depthwise), input, 1, Groups::Depthwise, Padding::Half)?;
    let x = net.norm(&format!("{name}.norm"), x)?;
    let x = net.conv(&up, x, 1, Groups::One, Padding::Half)?;
    let x = net.act(&format!("{name}.act"), act, x)?;
    let x = net.conv(&down, x, 1, Groups::One, Padding::Half)?;
    let x = net.scaled_map(&format!("{name}.layer_scale{}", names.factor), x)?;
    net.sum(&format!("{name}.add"), input, x)
}

fn attending(net: &mut Layers, name: &str, input: NodeId, names: &Names, asked: Asked) -> Made {
    let input = local(net, &format!("{name}.local_representation"), input, names, asked.act)?;
    let size = net.size(input);
    let x = net.tokens(&format!("{name}.attn.tokens"), input)?;
    let x = attention(net, &format!("{name}.attn"), x, asked.weighed)?;
    let x = net.map(&format!("{name}.attn.map"), x, size)?;
    let x = net.scaled_map(&format!("{name}.layer_scale_1{}", names.factor), x)?;
    let input = net.sum(&format!("{name}.add1"), input, x)?;
    let x = net.norm(&format!("{name}.linear.norm1"), input)?;
    let x = net.conv(&format!("{name}.linear.fc1"), x, 1, Groups::One, Padding::Half)?;
    let x = net.act(&format!("{name}.linear.act"), asked.mlp, x)?;
    let x = net.conv(&format!("{name}.linear.fc2"), x, 1, Groups::One, Padding::Half)?;
    let x = net.scaled_map(&format!("{name}.layer_scale_2{}", names.factor), x)?;
    net.sum(&format!("{name}.add2"), input, x)
}

fn attention(net: &mut Layers, name: &str, x: NodeId, weighed: bool) -> Made {
    let query = net.linear(&format!("{name}.to_query"), x)?;
    let query = net.unit_length(&format!("{name}.query"), query, 2, 1e-12)?;
    let key = net.linear(&format!("{name}.to_key"), x)?;
    let key = net.unit_length(&format!("{name}.key"), key, 2, 1e-12)?;
    let width = net.width(query);
    let learnt = net.tensor(&format!("{name}.w_g"), &[width, 1], Role::Weight);
    let weights = net.matmul(&format!("{name}.weights"), query, learnt)?;
    let weights = net.affine(&format!("{name}.scaled"), weights, (width.max(1) as f64).powf(-0.5), 0.0)?;
    let weights = if weighed {
        net.unit_length(&format!("{name}.shares"), weights, 1, 1e-12)?
    } else {
        net.add(&format!("{name}.shares"), Op::Softmax { axis: 2 }, &[weights])?
    };
    let whole = net.mul(&format!("{name}.weighed"), weights, query)?;
    let whole = net.total(&format!("{name}.whole"), whole, &[1], true)?;
    let x = net.mul(&format!("{name}.product"), whole, key)?;
    let x = net.linear(&format!("{name}.proj"), x)?;
    let x = net.sum(&format!("{name}.add"), x, query)?;
    net.linear(&format!("{name}.final"), x)
}
