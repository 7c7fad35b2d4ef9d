//! The image towers of CLIP (Radford et al., arXiv 2103.00020) and `SigLIP` (Zhai et al., 2303.15343) under the names of Hugging Face Transformers.
//!
//! What a caption is compared with is certified: CLIP's projection of the class token, and what `SigLIP`'s attention gathers of all tokens. The
//! text tower is left out.

use ndarray::ArrayD;

use super::hf::{heads_are_said, size_is};
use super::{Act, Grid, Node, attention, learnt, patches, perceptron, probe_attention, same_flag, same_patch, sides, size_of};
use crate::graph::{NodeId, Role};
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::made::Resample;
use crate::model::arch::{ArchError, Built, Family, Likeness, Shapes, Source};

pub(in crate::model::arch) static CLIP: Family = Family {
    name: "clip-hf",
    about: "the image tower of CLIP, and its projection, under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.is_one_of(["clip", "clip_vision_model"]),
    stems: &[],
    within: &[],
    // How many heads there are `config.json` says, which names the architecture too.
    shows: |_| Likeness::No,
    build: |source| build(source, &CLIP_TOWER),
};

pub(in crate::model::arch) static SIGLIP: Family = Family {
    name: "siglip-hf",
    about: "the image tower of SigLIP, and of SigLIP 2 for images of one size, under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.is_one_of(["siglip", "siglip_vision_model"]),
    stems: &[],
    within: &[],
    shows: |_| Likeness::No,
    build: |source| build(source, &SIGLIP_TOWER),
};

/// What the two differ in.
struct Tower {
    family: &'static str,
    told: &'static str,
    act: Act,
    eps: f64,
    patch: usize,
    /// Whether a class token is in front, and a norm behind the positions.
    class: bool,
}

const CLIP_TOWER: Tower = Tower { family: "clip-hf", told: "CLIP", act: Act::QuickGelu, eps: 1e-5, patch: 32, class: true };
const SIGLIP_TOWER: Tower = Tower { family: "siglip-hf", told: "SigLIP", act: Act::GELU_TANH, eps: 1e-6, patch: 16, class: false };

/// What the configuration says beyond the tensors.
#[derive(Clone, Copy)]
struct Asked {
    heads: usize,
    act: Act,
    eps: f64,
    image: [usize; 2],
}

fn build(source: &Source, tower: &Tower) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    heads_are_said(config, tower.family)?;
    let base = if shapes.keys().any(|name| name.starts_with("vision_model.")) { "vision_model." } else { "" };
    let asked = match vision(config)? {
        None => {
            let asked = asked(config, shapes, base, tower)?;
            projected(config, shapes)?;
            asked
        }
        Some(vision) => {
            let asked = asked(&vision, shapes, base, tower)?;
            vision.finish()?;
            // What is said of the text and of training.
            config.shown(&["text_config", "text_config_dict", "logit_scale_init_value", "initializer_factor"]);
            projected(config, shapes)?;
            asked
        }
    };
    let stem = format!("{base}embeddings.patch_embedding");
    let (mut net, image) = Layers::new(tower.family, shapes, &format!("{stem}.weight"), *size, 1e-5)?;
    for prefix in ["text_model.", "text_projection."] {
        net.leave_out(prefix, "the text tower");
    }
    for scale in ["logit_scale", "logit_bias"] {
        net.leave_out(scale, "");
    }
    let mut x = embedded(&mut net, shapes, base, tower, asked, image)?;
    let layers = format!("{base}encoder.layers.");
    let depth = count(shapes, &layers);
    for i in 0..depth {
        x = block(&mut net, &format!("{layers}{i}"), x, asked)?;
    }
    let width = net.width(x);
    x = if tower.class { clip_end(&mut net, base, asked, x)? } else { siglip_end(&mut net, base, asked, x)? };
    let (told, heads) = (tower.told, asked.heads);
    let act = match asked.act {
        usual if usual == tower.act => String::new(),
        Act::GELU => ", GELU".to_owned(),
        other => other.told(),
    };
    net.finish(x, format!("{told}, {depth} blocks of width {width}, {heads} heads, Hugging Face names{act}"))
}

/// The configuration of the image tower where it is within another. Of old files a second one, if it says anything, is binding.
fn vision<'a>(config: &Config<'a>) -> Result<Option<Config<'a>>, ArchError> {
    let binding = config.get("vision_config_dict").and_then(|value| value.as_object()).is_some_and(|fields| !fields.is_empty());
    config.shown(&["vision_config"]);
    config.within(if binding { "vision_config_dict" } else { "vision_config" })
}

/// Refuses a configuration that says another width of the projection than the tensors have.
fn projected(config: &Config, shapes: &Shapes) -> Result<(), ArchError> {
    if let Some(out) = shapes.get("visual_projection.weight").and_then(|shape| shape.first()) {
        size_is(config, "projection_dim", 512, *out)
    } else {
        config.shown(&["projection_dim"]);
        Ok(())
    }
}

fn asked(config: &Config, shapes: &Shapes, base: &str, tower: &Tower) -> Result<Asked, ArchError> {
    let stem = format!("{base}embeddings.patch_embedding.weight");
    let patch = sides(shapes, &stem);
    if let Some(width) = shapes.get(&stem).and_then(|shape| shape.first()) {
        size_is(config, "hidden_size", 768, *width)?;
        size_is(config, "num_hidden_layers", 12, count(shapes, &format!("{base}encoder.layers.")))?;
        if config.says("patch_size") {
            same_patch(config, "patch_size", patch)?;
        } else if patch != [tower.patch; 2] {
            return Err(super::different("patch_size", &tower.patch.to_string(), &format!("{patch:?}")));
        }
    }
    if let Some(hidden) = shapes.get(&format!("{base}encoder.layers.0.mlp.fc1.weight")).and_then(|shape| shape.first()) {
        size_is(config, "intermediate_size", 3072, *hidden)?;
    }
    if config.says("vision_use_head") && !shapes.contains_key("classifier.weight") {
        same_flag(config, "vision_use_head", shapes.contains_key(&format!("{base}head.probe")))?;
    }
    // The whole's word on the projection is binding.
    config.shown(&["projection_dim", "vision_use_head", "attention_dropout", "dropout", "initializer_factor", "initializer_range"]);
    Ok(Asked {
        heads: config.count("num_attention_heads")?.unwrap_or(12),
        act: Act::of(config, "hidden_act")?.unwrap_or(tower.act),
        eps: config.number("layer_norm_eps")?.unwrap_or(tower.eps),
        image: size_of(config, "image_size")?.unwrap_or([224; 2]),
    })
}

fn embedded(net: &mut Layers, shapes: &Shapes, base: &str, tower: &Tower, asked: Asked, image: NodeId) -> Node {
    let at = |part: &str| format!("{base}embeddings.{part}");
    let stem = at("patch_embedding");
    let (mut x, grid) = patches(net, shapes, &stem, image)?;
    let before = usize::from(tower.class);
    if tower.class {
        x = net.token_in_front(&at("class_embedding"), x)?;
    }
    let places = at("position_embedding.weight");
    let patch = sides(shapes, &format!("{stem}.weight")).map(|side| side.max(1));
    let said = [0, 1].map(|i| asked.image[i] / patch[i]);
    let from = learnt(shapes, &places, before, Some(said), grid)?;
    let (ids, rows) = (at("position_ids"), shapes.get(&places).and_then(|shape| shape.first()).copied().unwrap_or(0));
    if shapes.get(&ids).is_some_and(|shape| *shape == [rows] || *shape == [1, rows]) {
        let numbers: Vec<f64> = (0..rows).map(|i| i as f64).collect();
        net.buffer(&ids, ArrayD::from_shape_vec(vec![rows], numbers).unwrap_or_default());
    }
    if let Some(places) = net.positions(&places, Grid { before, from, to: grid, how: Resample::Bicubic, step: None }) {
        x = net.sum(&at("add"), x, places)?;
    }
    // The library's own spelling.
    if tower.class { net.layer_norm(&format!("{base}pre_layrnorm"), x, asked.eps) } else { Ok(x) }
}

fn block(net: &mut Layers, name: &str, x: NodeId, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let inner = net.layer_norm(&at("layer_norm1"), x, asked.eps)?;
    let names = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|part| at(&format!("self_attn.{part}")));
    let inner = attention(net, names.each_ref().map(String::as_str), inner, asked.heads)?;
    let x = net.sum(&at("add1"), x, inner)?;
    let inner = net.layer_norm(&at("layer_norm2"), x, asked.eps)?;
    let inner = perceptron(net, [&at("mlp.fc1"), &at("mlp.fc2")], inner, asked.act)?;
    net.sum(&at("add2"), x, inner)
}

/// The class token, its norm, and the projection; a classifier reads the mean of the other tokens, which no norm comes before.
fn clip_end(net: &mut Layers, base: &str, asked: Asked, x: NodeId) -> Node {
    let norm = format!("{base}post_layernorm");
    if net.has("classifier.weight") {
        net.leave_out(&norm, "");
        let tokens = net.whole(x).get(1).copied().unwrap_or(0);
        let places = net.slice("pool.places", x, 1, 1, tokens)?;
        let mean = net.mean("pool", places, &[1], false)?;
        return net.linear("classifier", mean);
    }
    let class = net.pick("pool", x, 1, 0)?;
    let class = net.layer_norm(&norm, class, asked.eps)?;
    if net.has("visual_projection.weight") {
        return net.linear("visual_projection", class);
    }
    net.features_at(class);
    Ok(class)
}

/// A learnt token that attends to all others; a classifier reads their mean.
fn siglip_end(net: &mut Layers, base: &str, asked: Asked, x: NodeId) -> Node {
    let at = |part: &str| format!("{base}head.{part}");
    let x = net.layer_norm(&format!("{base}post_layernorm"), x, asked.eps)?;
    if net.has("classifier.weight") {
        net.leave_out(&at(""), "");
        let mean = net.mean("pool", x, &[1], false)?;
        return net.linear("classifier", mean);
    }
    if !net.has(&at("probe")) {
        return Ok(x);
    }
    let width = net.width(x);
    let probe = net.tensor(&at("probe"), &[1, 1, width], Role::Embedding);
    let probe = net.for_each_image(&at("probe.expand"), probe)?;
    let y = probe_attention(net, &at("attention"), probe, x, asked.heads)?;
    let inner = net.layer_norm(&at("layernorm"), y, asked.eps)?;
    let inner = perceptron(net, [&at("mlp.fc1"), &at("mlp.fc2")], inner, asked.act)?;
    let y = net.sum(&at("add"), y, inner)?;
    let pooled = net.pick(&at("token"), y, 1, 0)?;
    net.features_at(pooled);
    Ok(pooled)
}
