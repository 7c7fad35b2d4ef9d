//! `LeViT` under timm's and Hugging Face Transformers' names.
//!
//! Graham et al., "`LeViT`: a Vision Transformer in `ConvNet`'s Clothing for Faster Inference" (arXiv 2104.01136). Every linear layer has a
//! batch norm behind it, so tokens are kept as a map, and a linear layer is a convolution of a single place, as those of `levit_conv` are.
//! Two heads, one trained with a teacher, read the same features, and their answers are averaged.

use super::config::{Config, Library};
use super::hybrid::{agree, answers, distance_bias, mean_only, needed, same_grid, side, unit};
use super::layers::{Conv, Layers, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source, staged};
use crate::graph::{NodeId, Role, Unary};

type Made = Result<NodeId, ArchError>;

/// The architectures and their activation.
const NAMES: [(&str, Unary); 20] = [
    ("levit_128s", Unary::HardSwish),
    ("levit_128", Unary::HardSwish),
    ("levit_192", Unary::HardSwish),
    ("levit_256", Unary::HardSwish),
    ("levit_384", Unary::HardSwish),
    ("levit_384_s8", Unary::Silu),
    ("levit_512_s8", Unary::Silu),
    ("levit_512", Unary::Silu),
    ("levit_256d", Unary::Silu),
    ("levit_512d", Unary::Silu),
    ("levit_conv_128s", Unary::HardSwish),
    ("levit_conv_128", Unary::HardSwish),
    ("levit_conv_192", Unary::HardSwish),
    ("levit_conv_256", Unary::HardSwish),
    ("levit_conv_384", Unary::HardSwish),
    ("levit_conv_384_s8", Unary::Silu),
    ("levit_conv_512_s8", Unary::Silu),
    ("levit_conv_512", Unary::Silu),
    ("levit_conv_256d", Unary::Silu),
    ("levit_conv_512d", Unary::Silu),
];

pub(super) static FAMILY: Family = Family {
    name: "levit-timm",
    about: "LeViT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.map(|(name, _)| name)),
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("stages.0.blocks.0.attn.qkv.linear.weight") { Likeness::Yes } else { Likeness::No },
    build: build_timm,
};

pub(super) static HUGGING_FACE: Family = Family {
    name: "levit-hf",
    about: "LeViT under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.plain == "levit",
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = |name: &String| name.ends_with("encoder.stages.0.layers.0.module.queries_keys_values.linear.weight");
        if shapes.keys().any(own) { Likeness::Yes } else { Likeness::No }
    },
    build: build_hf,
};

/// What a library calls the parts.
struct Names {
    /// A linear layer, or convolution, and its norm.
    unit: [&'static str; 2],
    qkv: &'static str,
    kv: &'static str,
    q: &'static str,
    projection: &'static str,
    mlp: [&'static str; 2],
}

const OF_TIMM: Names = Names { unit: ["linear", "bn"], qkv: "qkv", kv: "kv", q: "q.ln", projection: "proj.ln", mlp: ["ln1", "ln2"] };

const OF_HUGGING_FACE: Names = Names {
    unit: ["linear", "batch_norm"],
    qkv: "queries_keys_values",
    kv: "keys_values",
    q: "queries",
    projection: "projection",
    mlp: ["linear_up", "linear_down"],
};

/// A step of the network; all but the second are added to what enters them.
enum Step {
    Attention(String),
    /// Attention of every second place to all.
    Fewer(String),
    Mlp(String),
}

/// Activations: of all, and within attention.
#[derive(Clone, Copy)]
struct Acts {
    all: Unary,
    attention: Unary,
}

fn timm_steps(shapes: &Shapes) -> Vec<Step> {
    let mut steps = Vec::new();
    for stage in 0..count(shapes, "stages.") {
        if shapes.contains_key(&format!("stages.{stage}.downsample.attn_downsample.attention_biases")) {
            steps.push(Step::Fewer(format!("stages.{stage}.downsample.attn_downsample")));
            steps.push(Step::Mlp(format!("stages.{stage}.downsample.mlp")));
        }
        for block in 0..count(shapes, &format!("stages.{stage}.blocks.")) {
            steps.push(Step::Attention(format!("stages.{stage}.blocks.{block}.attn")));
            steps.push(Step::Mlp(format!("stages.{stage}.blocks.{block}.mlp")));
        }
    }
    steps
}

fn hf_steps(shapes: &Shapes, base: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for stage in 0..count(shapes, &format!("{base}encoder.stages.")) {
        let stage = format!("{base}encoder.stages.{stage}.layers.");
        for layer in 0..count(shapes, &stage) {
            let name = format!("{stage}{layer}");
            let inner = format!("{name}.module");
            steps.push(if shapes.contains_key(&format!("{name}.attention_biases")) {
                Step::Fewer(name)
            } else if shapes.contains_key(&format!("{inner}.attention_biases")) {
                Step::Attention(inner)
            } else {
                Step::Mlp(inner)
            });
        }
    }
    steps
}

fn build_timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = needed(config, &NAMES, FAMILY.name, "the activation")?;
    let all = config.act("act_layer")?.unwrap_or(*act);
    let acts = Acts { all, attention: config.act("attn_act_layer")?.unwrap_or(all) };
    config.shown(&["attn_ratio", "distilled", "mlp_ratio", "stem_type", "use_conv"]);
    config.only("down_op", "subsample")?;
    mean_only(config)?;
    let steps = timm_steps(shapes);
    let depths: Vec<usize> = (0..count(shapes, "stages.")).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    agree(config, "depth", &depths)?;
    let heads: Vec<usize> =
        (0..depths.len()).filter_map(|i| first(shapes, &format!("stages.{i}.blocks.0.attn.attention_biases"))).collect();
    agree(config, "num_heads", &heads)?;
    let attention = |i: usize| format!("stages.{i}.blocks.0.attn");
    let keys = heads.first().and_then(|&heads| key_width(shapes, &attention(0), heads, &OF_TIMM));
    keys.map_or(Ok(()), |keys| config.agrees("key_dim", keys))?;
    let widths: Vec<usize> = (0..depths.len()).filter_map(|i| first(shapes, &format!("stages.{i}.blocks.0.mlp.ln2.bn.weight"))).collect();
    agree(config, "embed_dim", &widths)?;
    let stem: Vec<String> =
        (1..=shapes.len()).map(|i| format!("stem.conv{i}")).take_while(|n| shapes.contains_key(&format!("{n}.linear.weight"))).collect();
    let made_for = config.counts("img_size")?.map(|size| match size[..] {
        [h, w] => [h, w],
        _ => [size.first().copied().unwrap_or(0); 2],
    });
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.conv1.linear.weight", *size, 1e-5)?;
    let mut x = self::stem(&mut net, &stem, input, &OF_TIMM, acts.all)?;
    let stride = 1 << stem.len().min(16);
    let grid = made_for.map(|size| size.map(|side| side / stride));
    check_grid(&net, x, grid, shapes.get("stages.0.blocks.0.attn.attention_biases"))?;
    x = trunk(&mut net, x, &steps, &OF_TIMM, acts)?;
    x = net.pool("global_pool", false, x)?;
    let name = |part: &str| (Some(format!("{part}.bn")), format!("{part}.linear"));
    x = answers(&mut net, x, &[name("head"), name("head_dist")])?;
    net.finish(x, format!("LeViT, {} blocks, timm names", depths.iter().sum::<usize>()))
}

fn build_hf(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let acts = Acts { all: Unary::HardSwish, attention: Unary::HardSwish };
    config.shown(&["attention_ratio", "drop_path_rate", "image_size", "mlp_ratio", "patch_size"]);
    config.only("stride", 2)?;
    config.only("padding", 1)?;
    config.only("kernel_size", 3)?;
    let base = if shapes.keys().any(|name| name.starts_with("levit.")) { "levit." } else { "" };
    let stages = count(shapes, &format!("{base}encoder.stages."));
    let attention = |stage: usize| format!("{base}encoder.stages.{stage}.layers.0.module");
    let heads: Vec<usize> = (0..stages).filter_map(|i| first(shapes, &format!("{}.attention_biases", attention(i)))).collect();
    staged::agree(config, "num_attention_heads", &heads, config.unsaid(&[4, 8, 12]))?;
    let depths: Vec<usize> = (0..stages).map(|stage| hf_depth(shapes, &format!("{base}encoder.stages.{stage}.layers."))).collect();
    staged::agree(config, "depths", &depths, config.unsaid(&[4, 4, 4]))?;
    let keys: Vec<usize> =
        (0..stages).zip(&heads).filter_map(|(i, &heads)| key_width(shapes, &attention(i), heads, &OF_HUGGING_FACE)).collect();
    staged::agree(config, "key_dim", &keys, config.unsaid(&[16, 16, 16]))?;
    check_down(config, shapes, base)?;
    let stem: Vec<String> = (1..5).map(|i| format!("{base}patch_embeddings.embedding_layer_{i}")).collect();
    let (mut net, input) = Layers::new(HUGGING_FACE.name, shapes, &format!("{}.convolution.weight", stem[0]), *size, 1e-5)?;
    let names = Names { unit: ["convolution", "batch_norm"], ..OF_HUGGING_FACE };
    let mut x = self::stem(&mut net, &stem, input, &names, acts.all)?;
    check_grid(&net, x, None, shapes.get(&format!("{}.attention_biases", attention(0))))?;
    x = trunk(&mut net, x, &hf_steps(shapes, base), &OF_HUGGING_FACE, acts)?;
    x = net.pool(&format!("{base}pooler"), false, x)?;
    let name = |part: &str| (Some(format!("{part}.batch_norm")), format!("{part}.linear"));
    x = answers(&mut net, x, &[name("classifier"), name("classifier_distill")])?;
    net.finish(x, format!("LeViT, {} blocks, Hugging Face names", depths.iter().sum::<usize>()))
}

/// Layers with attention that keep the number of places.
fn hf_depth(shapes: &Shapes, stage: &str) -> usize {
    (0..count(shapes, stage)).filter(|layer| shapes.contains_key(&format!("{stage}{layer}.module.attention_biases"))).count()
}

/// The first size of a tensor.
fn first(shapes: &Shapes, name: &str) -> Option<usize> {
    shapes.get(name).and_then(|shape| shape.first().copied())
}

/// How wide the keys of an attention are.
fn key_width(shapes: &Shapes, name: &str, heads: usize, names: &Names) -> Option<usize> {
    let all = first(shapes, &format!("{name}.{}.{}.weight", names.qkv, names.unit[0]))?;
    let values = shapes.get(&format!("{name}.{}.{}.weight", names.projection, names.unit[0]))?.get(1)?;
    all.checked_sub(*values)?.checked_div(2 * heads)
}

/// What Transformers' configuration says of the steps between stages: kind, width of keys, heads, ratios and stride.
fn check_down(config: &Config, shapes: &Shapes, base: &str) -> Result<(), ArchError> {
    let Some(value) = config.get("down_ops") else { return Ok(()) };
    let all = value.as_array().ok_or_else(|| config.refused("down_ops", value))?;
    for (stage, down) in all.iter().enumerate() {
        let kind = down.get(0).and_then(serde_json::Value::as_str).unwrap_or_default();
        let number = |at: usize| down.get(at).and_then(serde_json::Value::as_u64);
        let layers = format!("{base}encoder.stages.{stage}.layers.");
        let found = (0..count(shapes, &layers)).find_map(|layer| first(shapes, &format!("{layers}{layer}.attention_biases")));
        let fits = match kind {
            "" => found.is_none(),
            "Subsample" => number(5) == Some(2) && number(2) == found.map(|heads| heads as u64),
            _ => false,
        };
        if !fits {
            return Err(config.refused("down_ops", value));
        }
    }
    Ok(())
}

/// The grid that the first table of distances is of: as said, or a square.
fn check_grid(net: &Layers, x: NodeId, said: Option<[usize; 2]>, table: Option<&Vec<usize>>) -> Result<(), ArchError> {
    let places = table.and_then(|shape| shape.get(1).copied());
    let square = places.and_then(side).map(|side| [side; 2]);
    match said.or(square) {
        Some(grid) => same_grid(net, net.size(x), grid),
        None => Ok(()),
    }
}

fn stem(net: &mut Layers, convolutions: &[String], mut x: NodeId, names: &Names, act: Unary) -> Made {
    for (i, name) in convolutions.iter().enumerate() {
        if i > 0 {
            x = net.act(&format!("{name}.act"), act, x)?;
        }
        x = unit(net, name, names.unit, x, 2)?;
    }
    Ok(x)
}

fn trunk(net: &mut Layers, mut x: NodeId, steps: &[Step], names: &Names, acts: Acts) -> Made {
    for step in steps {
        let (name, changed) = match step {
            Step::Attention(name) => (name, attention(net, name, x, names, acts.attention)?),
            Step::Mlp(name) => (name, mlp(net, name, x, names, acts.all)?),
            Step::Fewer(name) => {
                x = fewer(net, name, x, names, acts.attention)?;
                continue;
            }
        };
        x = net.sum(&format!("{name}.add"), x, changed)?;
    }
    Ok(x)
}

/// A linear layer, or a convolution of a single place, on the channels of a map, with its batch norm.
fn normed(net: &mut Layers, name: &str, x: NodeId, [linear, norm]: [&str; 2]) -> Made {
    let linear = format!("{name}.{linear}");
    let weight = format!("{linear}.weight");
    let Some(found) = net.look(&weight) else { return Ok(x) };
    let kernel = match found[..] {
        [out, width] => {
            let flat = net.tensor(&weight, &found, Role::Weight);
            net.reshape_fixed(&format!("{linear}.kernel"), flat, &[out, width, 1, 1])?
        }
        [_, _, 1, 1] => net.tensor(&weight, &found, Role::Weight),
        _ => return Ok(net.misfit(&weight, &found, "[out, in] or [out, in, 1, 1]", x)),
    };
    let x = net.conv_by(&linear, x, kernel, "", Conv::new(1, 0))?;
    net.norm(&format!("{name}.{norm}"), x)
}

/// Channels of a map as heads: `[N, heads, places, d]`, for each of these widths.
fn dealt(net: &mut Layers, name: &str, x: NodeId, heads: usize, widths: &[usize]) -> Result<Vec<NodeId>, ArchError> {
    let (channels, [h, w]) = (net.channels(x), net.size(x));
    let whole = widths.iter().sum::<usize>();
    if net.is_whole() && channels != heads * whole {
        net.misfit(name, &[channels], &format!("{heads} heads of {whole}"), x);
    }
    let apart = net.reshape(&format!("{name}.apart"), x, &[heads, whole, h * w])?;
    let mut start = 0;
    let mut parts = Vec::new();
    for (i, width) in widths.iter().enumerate() {
        let part = net.slice(&format!("{name}.part{i}"), apart, 2, start, start + width)?;
        parts.push(net.transpose(&format!("{name}.tokens{i}"), part, &[0, 1, 3, 2])?);
        start += width;
    }
    Ok(parts)
}

/// Heads of an attention, and how wide its values are, by the tensors.
fn heads_and_values(net: &mut Layers, name: &str, names: &Names) -> Option<[usize; 2]> {
    let heads = net.look(&format!("{name}.attention_biases"))?.first().copied().filter(|heads| *heads > 0)?;
    let values = net.look(&format!("{name}.{}.{}.weight", names.projection, names.unit[0]))?.get(1).copied()?;
    Some([heads, values / heads])
}

fn attention(net: &mut Layers, name: &str, input: NodeId, names: &Names, act: Unary) -> Made {
    let size = net.size(input);
    let qkv = format!("{name}.{}", names.qkv);
    let all = normed(net, &qkv, input, names.unit)?;
    let [heads, values] = heads_and_values(net, name, names).unwrap_or([1, 0]);
    let keys = (net.channels(all) / heads).saturating_sub(values) / 2;
    let parts = dealt(net, &qkv, all, heads, &[keys, keys, values])?;
    let bias = distance_bias(net, &format!("{name}.attention_biases"), size, 1)?;
    let &[q, k, v] = parts.as_slice() else { return Ok(input) };
    attended(net, name, [q, k, v], bias, (size, keys), (names, act))
}

/// Attention of every second place, down and across, to all.
fn fewer(net: &mut Layers, name: &str, input: NodeId, names: &Names, act: Unary) -> Made {
    let size @ [h, w] = net.size(input);
    let (kv, queries) = (format!("{name}.{}", names.kv), format!("{name}.{}", names.q));
    let all = normed(net, &kv, input, names.unit)?;
    let mut x = net.strided(&format!("{name}.rows"), input, 2, (0, h, 2))?;
    x = net.strided(&format!("{name}.columns"), x, 3, (0, w, 2))?;
    let fewer = net.size(x);
    let q = normed(net, &queries, x, names.unit)?;
    let [heads, values] = heads_and_values(net, name, names).unwrap_or([1, 0]);
    let keys = (net.channels(all) / heads).saturating_sub(values);
    let parts = dealt(net, &kv, all, heads, &[keys, values])?;
    let q = dealt(net, &queries, q, heads, &[keys])?;
    let bias = distance_bias(net, &format!("{name}.attention_biases"), size, 2)?;
    let (&[k, v], &[q]) = (parts.as_slice(), q.as_slice()) else { return Ok(input) };
    attended(net, name, [q, k, v], bias, (fewer, keys), (names, act))
}

fn attended(
    net: &mut Layers,
    name: &str,
    parts: [NodeId; 3],
    bias: NodeId,
    (size, keys): ([usize; 2], usize),
    (names, act): (&Names, Unary),
) -> Made {
    let x = net.attend(name, parts, (keys.max(1) as f64).powf(-0.5), Some(bias))?;
    let x = net.map(&format!("{name}.map"), x, size)?;
    let x = net.act(&format!("{name}.act"), act, x)?;
    normed(net, &format!("{name}.{}", names.projection), x, names.unit)
}

fn mlp(net: &mut Layers, name: &str, x: NodeId, names: &Names, act: Unary) -> Made {
    let [up, down] = names.mlp.map(|part| format!("{name}.{part}"));
    let x = normed(net, &up, x, names.unit)?;
    let x = net.act(&format!("{up}.act"), act, x)?;
    normed(net, &down, x, names.unit)
}
