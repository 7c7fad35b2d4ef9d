//! Vision transformers under the names of Hugging Face Transformers that go back to BERT: `encoder.layer.0.attention.attention.query`.
//!
//! `ViT` (arXiv 2010.11929), `DeiT` (2012.12877), `DINOv2` (2304.07193) and its registers (2309.16588), the encoder of masked autoencoders (2111.06377),
//! masked siamese networks (2204.07141) and I-JEPA (2301.08243). Files that were written from a network in memory have newer names
//! (`layers.0.attention.q_proj`), which are read too.

use super::{Act, Grid, Node, attention, different, learnt, patches, perceptron, rows, same_patch, sides, size_of, two_heads};
use crate::graph::{NodeId, Role, Unary};
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::made::Resample;
use crate::model::arch::{ArchError, Built, Family, Likeness, Shapes, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "vit-hf",
    about: "ViT, DeiT, DINOv2, ViT-MSN, I-JEPA and the encoder of ViT-MAE under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.is_one_of(TYPES.iter().map(|kind| kind.name)),
    stems: &[],
    within: &[],
    // How many heads there are `config.json` says, which names the architecture too.
    shows: |_| Likeness::No,
    build,
};

/// What a `model_type` says beyond its tensors.
struct Type {
    name: &'static str,
    /// What people are told.
    told: &'static str,
    /// Added to the variance of a norm where the configuration does not say.
    eps: f64,
    patch: usize,
    /// What enters its head, and comes out where there is none.
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The class token; every token where there is no head.
    Class,
    /// The class token, there being a head or not: the library's own order of the other tokens is a random one.
    ClassAlone,
    /// The class token and the mean of the others; the class token where there is no head.
    ClassAndMean,
    /// The mean of the tokens; every token where there is no head.
    Mean,
}

static TYPES: [Type; 7] = [
    Type { name: "vit", told: "ViT", eps: 1e-12, patch: 16, end: End::Class },
    Type { name: "deit", told: "DeiT", eps: 1e-12, patch: 16, end: End::Class },
    Type { name: "dinov2", told: "DINOv2", eps: 1e-6, patch: 14, end: End::ClassAndMean },
    Type { name: "dinov2_with_registers", told: "DINOv2 with registers", eps: 1e-6, patch: 16, end: End::ClassAndMean },
    Type { name: "vit_mae", told: "ViT of a masked autoencoder", eps: 1e-12, patch: 16, end: End::ClassAlone },
    Type { name: "vit_msn", told: "ViT of a masked siamese network", eps: 1e-6, patch: 16, end: End::Class },
    Type { name: "ijepa", told: "ViT of I-JEPA", eps: 1e-12, patch: 16, end: End::Mean },
];

/// What stands before the names of the encoder in a network with a head.
const BASES: [&str; 5] = ["vit.", "deit.", "dinov2.", "dinov2_with_registers.", "ijepa."];

/// What a block computes beyond its tensors.
#[derive(Clone, Copy)]
struct Asked {
    heads: usize,
    act: Act,
    eps: f64,
    /// Whether what its halves give is scaled.
    scaled: bool,
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let named = |kind: &&Type| config.name.as_ref().is_some_and(|name| name.is_one_of([kind.name]));
    let Some(kind) = TYPES.iter().find(named) else {
        let names = TYPES.iter().map(|kind| format!("transformers/{}", kind.name)).collect();
        return Err(ArchError::NeedsName { family: FAMILY.name, what: "which of its networks it is".to_owned(), names });
    };
    let starts = |base: &str| shapes.contains_key(&format!("{base}embeddings.patch_embeddings.projection.weight"));
    let base = BASES.into_iter().find(|base| starts(base)).unwrap_or("");
    let stem = format!("{base}embeddings.patch_embeddings.projection");
    // The library writes a classifier of ViT-MSN with the name of the encoder in front of all but the layers.
    let layers = [format!("{base}encoder.layer."), format!("{base}layers."), "encoder.layer.".to_owned()];
    let layers = layers.iter().find(|layers| count(shapes, layers) > 0).unwrap_or(&layers[0]);
    let depth = count(shapes, layers);
    let asked = asked(source, kind, &stem, layers)?;
    let (mut net, image) = Layers::new(FAMILY.name, shapes, &format!("{stem}.weight"), *size, 1e-5)?;
    net.leave_out(&format!("{base}embeddings.mask_token"), "");
    if !base.is_empty() {
        net.leave_out("decoder.", "the decoder");
    }
    let mut x = embedded(&mut net, source, kind, &stem, image)?;
    for i in 0..depth {
        x = block(&mut net, shapes, &format!("{layers}{i}"), x, asked)?;
    }
    let width = net.width(x);
    x = net.layer_norm(&format!("{base}layernorm"), x, asked.eps)?;
    x = ended(&mut net, source, kind, base, x)?;
    let (told, heads, act) = (kind.told, asked.heads, asked.act.told());
    net.finish(x, format!("{told}, {depth} blocks of width {width}, {heads} heads, Hugging Face names{act}"))
}

/// Refuses a configuration of another network than the tensors', and reads what they do not show.
fn asked(source: &Source, kind: &Type, stem: &str, layers: &str) -> Result<Asked, ArchError> {
    let Source { shapes, config, .. } = source;
    heads_are_said(config, FAMILY.name)?;
    let first = |parts: &[&str], axis: usize| {
        let shape = parts.iter().find_map(|part| shapes.get(&format!("{layers}0.{part}.weight")));
        shape.and_then(|shape| shape.get(axis)).copied()
    };
    let width = shapes.get(&format!("{stem}.weight")).and_then(|shape| shape.first()).copied();
    if let Some(width) = width {
        size_is(config, "hidden_size", 768, width)?;
        size_is(config, "num_hidden_layers", 12, count(shapes, layers))?;
        let patch = sides(shapes, &format!("{stem}.weight"));
        if config.says("patch_size") {
            same_patch(config, "patch_size", patch)?;
        } else if patch != [kind.patch; 2] {
            return Err(different("patch_size", &kind.patch.to_string(), &format!("{patch:?}")));
        }
    }
    if let Some(hidden) = first(&["intermediate.dense", "mlp.fc1"], 0) {
        // DINOv2 says how many times as wide as the network instead.
        if kind.name.starts_with("dinov2") {
            config.agrees("intermediate_size", hidden)?;
            config.widens("mlp_ratio", 4.0, shapes.get(&format!("{layers}0.mlp.fc1.weight")))?;
        } else {
            config.agrees_or("intermediate_size", 3072, hidden)?;
        }
    }
    let heads = config.count("num_attention_heads")?.unwrap_or(12);
    config.agrees("head_dim", width.unwrap_or(0) / heads)?;
    let any = |part: &str| shapes.keys().any(|name| name.starts_with(layers) && name.contains(part));
    for (part, short) in [("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")] {
        config.tells("qkv_bias", true, any(&format!("attention.{part}.bias")) || any(&format!("attention.{short}.bias")))?;
    }
    config.tells("use_swiglu_ffn", false, any("mlp.weights_in") || any("mlp.gate_proj"))?;
    // What is drawn at random, what of training or of the decoder, and what of the maps that a backbone gives.
    config.shown(&[
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "drop_path_rate",
        "layerscale_value",
        "mlp_ratio",
        "use_mask_token",
    ]);
    config.shown(&["encoder_stride", "mask_ratio", "norm_pix_loss", "apply_layernorm", "reshape_hidden_states"]);
    config.shown(&["decoder_hidden_size", "decoder_intermediate_size", "decoder_num_attention_heads", "decoder_num_hidden_layers"]);
    Ok(Asked {
        heads,
        act: Act::of(config, "hidden_act")?.unwrap_or(Act::GELU),
        eps: config.number("layer_norm_eps")?.unwrap_or(kind.eps),
        scaled: kind.name.starts_with("dinov2"),
    })
}

/// Refuses a network without its `config.json`: nothing else says how many heads there are.
pub(super) fn heads_are_said(config: &Config, family: &str) -> Result<(), ArchError> {
    if config.says("num_attention_heads") || config.says("model_type") || config.says("vision_config") {
        return Ok(());
    }
    Err(ArchError::Unsupported(format!(
        "the tensors are those of {family}, and how many heads there are is not said: put the model's config.json beside them"
    )))
}

/// Refuses a configuration that says another size than the tensors have; of none it says its class has a default.
pub(super) fn size_is(config: &Config, key: &str, default: usize, found: usize) -> Result<(), ArchError> {
    let said = config.count(key)?.unwrap_or(default);
    if said == found { Ok(()) } else { Err(different(key, &said.to_string(), &found.to_string())) }
}

/// Tokens of the image with their positions; register tokens, which have none, come behind the class token.
fn embedded(net: &mut Layers, source: &Source, kind: &Type, stem: &str, image: NodeId) -> Node {
    let Source { shapes, config, .. } = source;
    let base = stem.strip_suffix("patch_embeddings.projection").unwrap_or(stem);
    let (mut x, grid) = patches(net, shapes, stem, image)?;
    let mut before = 0;
    for token in ["distillation_token", "cls_token"].map(|token| format!("{base}{token}")) {
        let wanted = if token.ends_with("cls_token") { kind.end != End::Mean } else { kind.name == "deit" };
        if wanted {
            x = net.token_in_front(&token, x)?;
            before += 1;
        }
    }
    let places = format!("{base}position_embeddings");
    let patch = sides(shapes, &format!("{stem}.weight")).map(|side| side.max(1));
    let image_size = size_of(config, "image_size")?.unwrap_or([224; 2]);
    let said = [0, 1].map(|i| image_size[i] / patch[i]);
    let from = learnt(shapes, &places, before, Some(said), grid)?;
    let how = if kind.name == "dinov2_with_registers" { Resample::BicubicAntialias } else { Resample::Bicubic };
    if let Some(places) = net.positions(&places, Grid { before, from, to: grid, how, step: None }) {
        x = net.sum(&format!("{base}add"), x, places)?;
    }
    let registers = format!("{base}register_tokens");
    if !shapes.contains_key(&registers) {
        return Ok(x);
    }
    let count = rows(shapes, &registers);
    config.agrees_or("num_register_tokens", 4, count)?;
    let (width, tokens) = (net.width(x), net.whole(x).get(1).copied().unwrap_or(0));
    let class = net.slice(&format!("{base}class"), x, 1, 0, 1)?;
    let rest = net.slice(&format!("{base}rest"), x, 1, 1, tokens)?;
    let held = net.tensor(&registers, &[1, count, width], Role::Embedding);
    let held = net.for_each_image(&format!("{registers}.expand"), held)?;
    net.concat(&format!("{registers}.concat"), 1, &[class, held, rest])
}

/// The first of these names that the file has a weight of, else the first.
fn either(shapes: &Shapes, block: &str, names: &[&str]) -> String {
    let name = names.iter().find(|name| shapes.contains_key(&format!("{block}.{name}.weight"))).or(names.first());
    format!("{block}.{}", name.copied().unwrap_or_default())
}

fn block(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let either = |names: &[&str]| either(shapes, name, names);
    let inner = net.layer_norm(&either(&["layernorm_before", "norm1"]), x, asked.eps)?;
    let names = [
        either(&["attention.attention.query", "attention.q_proj"]),
        either(&["attention.attention.key", "attention.k_proj"]),
        either(&["attention.attention.value", "attention.v_proj"]),
        either(&["attention.output.dense", "attention.o_proj"]),
    ];
    let inner = attention(net, names.each_ref().map(String::as_str), inner, asked.heads)?;
    let inner = if asked.scaled { net.scaled_always(&at("layer_scale1.lambda1"), inner)? } else { inner };
    let x = net.sum(&at("add1"), x, inner)?;
    let inner = net.layer_norm(&either(&["layernorm_after", "norm2"]), x, asked.eps)?;
    let inner = mlp(net, shapes, name, inner, asked)?;
    let inner = if asked.scaled { net.scaled_always(&at("layer_scale2.lambda1"), inner)? } else { inner };
    net.sum(&at("add2"), x, inner)
}

/// The perceptron: plain, or with a gate, whose two halves may be one tensor.
fn mlp(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.mlp.{part}");
    let (gate, rest) = if net.has(&at("weights_in.weight")) {
        let both = net.linear(&at("weights_in"), x)?;
        let halves = net.split(&at("weights_in"), both, 2, 2)?;
        let &[gate, rest] = halves.as_slice() else { return Ok(x) };
        (gate, rest)
    } else if net.has(&at("gate_proj.weight")) {
        (net.linear(&at("gate_proj"), x)?, net.linear(&at("up_proj"), x)?)
    } else {
        let first = either(shapes, name, &["intermediate.dense", "mlp.fc1"]);
        return perceptron(net, [&first, &either(shapes, name, &["output.dense", "mlp.fc2"])], x, asked.act);
    };
    let gate = Act::SILU.on(net, &at("act"), gate)?;
    let gated = net.mul(&at("gated"), gate, rest)?;
    net.linear(&either(shapes, name, &["mlp.weights_out", "mlp.down_proj"]), gated)
}

/// From tokens to the answer, or to what the library gives of a network without a head.
fn ended(net: &mut Layers, source: &Source, kind: &Type, base: &str, x: NodeId) -> Node {
    let Source { shapes, config, .. } = source;
    let has = |name: &str| shapes.contains_key(&format!("{name}.weight"));
    let pooler = format!("{base}pooler.dense");
    let act = config.text("pooler_act")?.unwrap_or("tanh");
    if !has(&pooler) {
        config.shown(&["pooler_output_size"]);
    }
    if has("cls_classifier") {
        return two_heads(net, ["cls_classifier", "distillation_classifier"], x);
    }
    let head = has("classifier");
    if !head && has(&pooler) {
        let out = shapes.get(&format!("{pooler}.weight")).and_then(|shape| shape.first()).copied().unwrap_or(0);
        config.agrees("pooler_output_size", out)?;
        if act != "tanh" {
            return Err(config.refused("pooler_act", &act.into()));
        }
        let class = net.pick(&format!("{base}pooler.token"), x, 1, 0)?;
        let pooled = net.linear(&pooler, class)?;
        let pooled = net.act(&format!("{base}pooler.activation"), Unary::Tanh, pooled)?;
        net.features_at(pooled);
        return Ok(pooled);
    }
    let features = match kind.end {
        End::Class | End::Mean if !head => return Ok(x),
        End::Mean => net.mean("pool", x, &[1], false)?,
        End::ClassAndMean if head => {
            let held = rows(shapes, &format!("{base}embeddings.register_tokens"));
            let tokens = net.whole(x).get(1).copied().unwrap_or(0);
            let class = net.pick("pool.class", x, 1, 0)?;
            let places = net.slice("pool.places", x, 1, 1 + held, tokens)?;
            let mean = net.mean("pool.mean", places, &[1], false)?;
            net.concat("pool", 1, &[class, mean])?
        }
        End::Class | End::ClassAlone | End::ClassAndMean => net.pick("pool", x, 1, 0)?,
    };
    if head {
        return net.linear("classifier", features);
    }
    net.features_at(features);
    Ok(features)
}
