//! `CvT` (Wu et al., arXiv 2103.15808) under the names of Hugging Face Transformers: in each stage queries, keys and values come of depthwise
//! convolutions with batch norms. The last stage may have a class token, which no convolution sees.

use serde_json::Value;

use super::config::{Config, Library};
use super::layers::{Conv, Layers, count};
use super::pyramid::{agree, apart, base, each, said};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

pub(super) static FAMILY: Family = Family {
    name: "cvt",
    about: "CvT under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.plain == "cvt" && name.may_be(Library::Transformers),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = |base: &&str| shapes.contains_key(&format!("{base}{STEM}.weight"));
        if BASES.iter().any(shown) { Likeness::Yes } else { Likeness::No }
    },
    build,
};

const BASES: [&str; 3] = ["cvt.encoder.", "encoder.", ""];
const STEM: &str = "stages.0.embedding.convolution_embeddings.projection";

/// The library gives its layer norms PyTorch's own, whatever `layer_norm_eps` says.
const EPS: f64 = 1e-5;

/// A stage's convolutions: `[stride, padding]` of queries, and of keys and values.
#[derive(Clone, Copy)]
struct Stage {
    heads: usize,
    class: bool,
    query: [usize; 2],
    keys: [usize; 2],
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    said(config, &FAMILY, &["cvt"])?;
    config.shown(&["attention_drop_rate", "drop_path_rate", "drop_rate", "layer_norm_eps"]);
    let base = base(shapes, &BASES, &format!("{STEM}.weight"));
    let layers = |stage: usize| format!("{base}stages.{stage}.layers.");
    let embedding = |stage: usize| format!("{base}stages.{stage}.embedding.convolution_embeddings");
    let depths: Vec<usize> = (0..shapes.len()).map(|stage| count(shapes, &layers(stage))).take_while(|&depth| depth > 0).collect();
    let side = |name: String, axis: usize| shapes.get(&name).and_then(|shape| shape.get(axis)).copied().unwrap_or(0);
    let found = |read: &dyn Fn(usize) -> usize| (0..depths.len()).map(read).collect::<Vec<_>>();
    let usual = |numbers: [usize; 3]| (config.library() == Library::Transformers).then_some(numbers);
    let widths = found(&|stage| side(format!("{}.projection.weight", embedding(stage)), 0));
    agree(config, "depth", usual([1, 2, 10]), &depths)?;
    agree(config, "embed_dim", usual([64, 192, 384]), &widths)?;
    agree(config, "patch_sizes", usual([7, 3, 3]), &found(&|stage| side(format!("{}.projection.weight", embedding(stage)), 2)))?;
    agree(config, "kernel_qkv", usual([3, 3, 3]), &found(&|stage| side(format!("{}.weight", convolution(&layers(stage), "query")), 2)))?;
    let hidden = found(&|stage| side(format!("{}0.intermediate.dense.weight", layers(stage)), 0));
    ratios(config, &widths, &hidden)?;
    let classes: Vec<bool> = (0..depths.len()).map(|stage| shapes.contains_key(&format!("{base}stages.{stage}.cls_token"))).collect();
    flags(config, "cls_token", &classes, stages_with_class(depths.len()))?;
    let biased: Vec<bool> = (0..depths.len())
        .map(|stage| shapes.contains_key(&format!("{}0.attention.attention.projection_query.bias", layers(stage))))
        .collect();
    flags(config, "qkv_bias", &biased, vec![true; depths.len()])?;
    if let Some(method) = config.get("qkv_projection_method")
        && !method.as_array().is_some_and(|all| all.iter().all(|one| one == "dw_bn"))
    {
        return Err(config.refused("qkv_projection_method", method));
    }
    let list = |key: &str, usual: &[usize]| each(config, key, usual, depths.len());
    let (strides, pads) = (list("patch_stride", &[4, 2, 2])?, list("patch_padding", &[2, 1, 1])?);
    let (query_strides, query_pads) = (list("stride_q", &[1])?, list("padding_q", &[1])?);
    let (key_strides, key_pads, heads) = (list("stride_kv", &[2])?, list("padding_kv", &[1])?, list("num_heads", &[1, 3, 6])?);

    let (mut net, input) = Layers::new(FAMILY.name, shapes, &format!("{base}{STEM}.weight"), *size, 1e-5)?;
    let mut map = input;
    let mut class = None;
    for (stage, &depth) in depths.iter().enumerate() {
        let name = embedding(stage);
        map = net.conv_as(&format!("{name}.projection"), map, Conv::new(strides[stage].max(1), pads[stage]))?;
        let size = net.size(map);
        let mut x = net.tokens(&format!("{name}.tokens"), map)?;
        x = net.layer_norm(&format!("{name}.normalization"), x, EPS)?;
        if classes[stage] {
            x = net.token_in_front(&format!("{base}stages.{stage}.cls_token"), x)?;
        }
        let step = Stage {
            heads: heads[stage],
            class: classes[stage],
            query: [query_strides[stage].max(1), query_pads[stage]],
            keys: [key_strides[stage].max(1), key_pads[stage]],
        };
        for layer in 0..depth {
            x = block(&mut net, &format!("{}{layer}", layers(stage)), x, size, step)?;
        }
        let at = format!("{base}stages.{stage}.output");
        let [token, places] = apart_from_class(&mut net, &at, x, step.class)?;
        class = token;
        map = net.map(&format!("{at}.map"), places.unwrap_or(x), size)?;
    }
    if shapes.keys().any(|name| name.starts_with("classifier.")) {
        let Some(mut x) = class.or((!net.is_whole()).then_some(map)) else {
            // The library asks for the token in any case.
            return Err(ArchError::Unsupported("a CvT with a classifier and no class token in its last stage computes nothing".into()));
        };
        x = net.layer_norm("layernorm", x, EPS)?;
        map = net.mean("pool", x, &[1], false)?;
        map = net.linear("classifier", map)?;
    }
    let told = depths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    net.finish(map, format!("CvT, stages of {told} blocks, Hugging Face names"))
}

/// The class's default: the last of three.
fn stages_with_class(stages: usize) -> Vec<bool> {
    (0..stages).map(|stage| stage == 2).collect()
}

fn convolution(layers: &str, part: &str) -> String {
    format!("{layers}0.attention.attention.convolution_projection_{part}.convolution_projection.convolution")
}

/// Refuses a list of yes and no that the tensors contradict.
fn flags(config: &Config, key: &str, found: &[bool], usual: Vec<bool>) -> Result<(), ArchError> {
    let said = match config.get(key) {
        Some(value) => value.as_array().and_then(|all| all.iter().map(Value::as_bool).collect::<Option<Vec<_>>>()).unwrap_or_default(),
        None if config.library() == Library::Transformers => usual,
        None => return Ok(()),
    };
    if said == found { Ok(()) } else { Err(apart(key, &format!("{said:?}"), &format!("{found:?}"))) }
}

fn ratios(config: &Config, widths: &[usize], hidden: &[usize]) -> Result<(), ArchError> {
    let Some(value) = config.get("mlp_ratio") else { return Ok(()) };
    let said = value.as_array().and_then(|all| all.iter().map(Value::as_f64).collect::<Option<Vec<_>>>()).unwrap_or_default();
    let wanted: Vec<usize> = said.iter().zip(widths).map(|(ratio, width)| (ratio * *width as f64) as usize).collect();
    if wanted == hidden { Ok(()) } else { Err(apart("mlp_ratio", &value.to_string(), &format!("{hidden:?} of {widths:?}"))) }
}

/// The class token, where there is one, and the tokens of places.
fn apart_from_class(net: &mut Layers, at: &str, x: NodeId, class: bool) -> Result<[Option<NodeId>; 2], ArchError> {
    if !class || !net.is_whole() {
        return Ok([None, Some(x)]);
    }
    let tokens = net.dims(x).first().copied().unwrap_or(0);
    let token = net.slice(&format!("{at}.class"), x, 1, 0, 1)?;
    Ok([Some(token), Some(net.slice(&format!("{at}.places"), x, 1, 1, tokens)?)])
}

fn block(net: &mut Layers, at: &str, input: NodeId, size: [usize; 2], step: Stage) -> Made {
    let normed = net.layer_norm(&format!("{at}.layernorm_before"), input, EPS)?;
    let mixed = attention(net, &format!("{at}.attention.attention"), normed, size, step)?;
    let mixed = net.linear(&format!("{at}.attention.output.dense"), mixed)?;
    let between = net.sum(&format!("{at}.add"), mixed, input)?;
    let x = net.layer_norm(&format!("{at}.layernorm_after"), between, EPS)?;
    let x = net.mlp([&format!("{at}.intermediate.dense"), &format!("{at}.output.dense")], x, Unary::Gelu { tanh: false })?;
    net.sum(&format!("{at}.add2"), x, between)
}

fn attention(net: &mut Layers, at: &str, x: NodeId, size: [usize; 2], step: Stage) -> Made {
    let [class, places] = apart_from_class(net, at, x, step.class)?;
    let map = net.map(&format!("{at}.map"), places.unwrap_or(x), size)?;
    let width = net.width(x);
    let mut parts = Vec::new();
    for (part, [stride, pad]) in [("query", step.query), ("key", step.keys), ("value", step.keys)] {
        let name = format!("{at}.convolution_projection_{part}.convolution_projection");
        let groups = net.channels(map);
        let moved = net.conv_as(&format!("{name}.convolution"), map, Conv { groups, ..Conv::new(stride, pad) })?;
        let moved = net.norm(&format!("{name}.normalization"), moved)?;
        let mut tokens = net.tokens(&format!("{name}.tokens"), moved)?;
        if let Some(class) = class {
            tokens = net.concat(&format!("{name}.with_class"), 1, &[class, tokens])?;
        }
        let projected = net.linear(&format!("{at}.projection_{part}"), tokens)?;
        parts.push(if net.is_whole() { net.heads(&format!("{at}.{part}.heads"), projected, step.heads)? } else { projected });
    }
    let &[q, k, v] = parts.as_slice() else { return Ok(x) };
    if !net.is_whole() {
        return Ok(x);
    }
    // The library divides by the root of all channels, not of a head's.
    net.attend(at, [q, k, v], (width.max(1) as f64).powf(-0.5), None)
}
