//! `DINOv3` vision transformers (Siméoni et al., arXiv 2508.10104) under the names of Hugging Face Transformers.
//!
//! Rotary positions of patches' middles, register tokens, an MLP that may be gated; the features are the class token behind the last norm.

use super::config::Library;
use super::layers::{Layers, count};
use super::token_parts::{Rotation, patch, patches};
use super::{ArchError, Built, Family, Likeness, Source, eva};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

pub(super) static FAMILY: Family = Family {
    name: "dinov3-hf",
    about: "DINOv3 vision transformers under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.is_one_of(["dinov3_vit"]),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.contains_key("embeddings.register_tokens")
            && shapes.keys().any(|name| name.ends_with("layer.0.attention.o_proj.weight"));
        if own { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// What tensors do not show.
struct Asked {
    heads: usize,
    act: Unary,
    eps: f64,
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    config.must_be_there(FAMILY.name, "heads", "dinov3_vit")?;
    config.shown(&[
        "apply_layernorm",
        "attention_dropout",
        "drop_path_rate",
        "image_size",
        "layerscale_value",
        "pos_embed_jitter",
        "pos_embed_rescale",
        "pos_embed_shift",
        "reshape_hidden_states",
        "return_class_token",
    ]);
    let any = |part: &str| shapes.keys().any(|name| name.ends_with(part));
    config.tells("use_gated_mlp", false, any(".mlp.gate_proj.weight"))?;
    for (key, default, linear) in [
        ("query_bias", true, "q_proj"),
        ("key_bias", false, "k_proj"),
        ("value_bias", true, "v_proj"),
        ("proj_bias", true, "o_proj"),
        ("mlp_bias", true, "up_proj"),
        ("mlp_bias", true, "down_proj"),
    ] {
        config.tells(key, default, any(&format!(".{linear}.bias")))?;
    }
    let asked = Asked {
        heads: config.count("num_attention_heads")?.unwrap_or(6),
        act: config.act("hidden_act")?.unwrap_or(Unary::Gelu { tanh: false }),
        eps: config.number("layer_norm_eps")?.unwrap_or(1e-5),
    };
    let theta = config.number("rope_theta")?.unwrap_or(100.0);
    let stem = "embeddings.patch_embeddings.weight";
    let (mut net, input) = Layers::new(FAMILY.name, shapes, stem, *size, 1e-5)?;
    let patch = patch(&mut net, config, stem, "patch_size")?;
    let map = patches(&mut net, "embeddings.patch_embeddings", input, patch)?;
    let grid = net.size(map);
    let mut x = net.tokens("embeddings.tokens", map)?;
    let width = net.width(x);
    let registers = shapes.get("embeddings.register_tokens").and_then(|shape| shape.get(1)).copied().unwrap_or(0);
    let layers = if shapes.keys().any(|name| name.starts_with("model.layer.")) { "model.layer." } else { "layer." };
    let depth = count(shapes, layers);
    config.agrees_or("num_register_tokens", 0, registers)?;
    config.agrees_or("num_hidden_layers", 12, depth)?;
    if net.is_whole() {
        config.agrees_or("hidden_size", 384, width)?;
    }
    if let Some(hidden) = shapes.get(&format!("{layers}0.mlp.up_proj.weight")).and_then(|shape| shape.first()) {
        config.agrees_or("intermediate_size", 1536, *hidden)?;
    }
    net.leave_out("embeddings.mask_token", "");
    if registers > 0 {
        x = net.token_in_front("embeddings.register_tokens", x)?;
    } else {
        net.leave_out("embeddings.register_tokens", "");
    }
    x = net.token_in_front("embeddings.cls_token", x)?;
    let d = width / asked.heads;
    if net.is_whole() && (d == 0 || !d.is_multiple_of(4)) {
        return Err(ArchError::Unsupported(format!("heads of {d} numbers have no rotary positions of two axes")));
    }
    let angles = if net.is_whole() { eva::centred(theta, grid, d) } else { Vec::new() };
    let turn = Rotation::constant(&mut net, "rope_embeddings", &angles, d / 2, registers + 1, true);
    for layer in 0..depth {
        x = residual(&mut net, &format!("{layers}{layer}"), x, &asked, &turn)?;
    }
    x = net.layer_norm("norm", x, asked.eps)?;
    x = net.pick("pooler", x, 1, 0)?;
    let told = if asked.act == (Unary::Gelu { tanh: false }) { String::new() } else { format!(", {:?}", asked.act) };
    net.finish(x, format!("DINOv3, {depth} blocks of width {width}, {} heads, Hugging Face names{told}", asked.heads))
}

fn residual(net: &mut Layers, name: &str, input: NodeId, asked: &Asked, turn: &Rotation) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.layer_norm(&at("norm1"), input, asked.eps)?;
    let x = attention(net, &at("attention"), x, asked, turn)?;
    let x = net.scaled_always(&at("layer_scale1.lambda1"), x)?;
    let middle = net.sum(&at("attention.add"), x, input)?;
    let x = net.layer_norm(&at("norm2"), middle, asked.eps)?;
    let x = mlp(net, &at("mlp"), x, asked)?;
    let x = net.scaled_always(&at("layer_scale2.lambda1"), x)?;
    net.sum(&at("mlp.add"), x, middle)
}

fn attention(net: &mut Layers, name: &str, x: NodeId, asked: &Asked, turn: &Rotation) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let mut q = net.linear(&at("q_proj"), x)?;
    let k = net.linear(&at("k_proj"), x)?;
    let v = net.linear(&at("v_proj"), x)?;
    if net.is_whole() {
        q = net.heads(&at("q"), q, asked.heads)?;
        let k = net.heads(&at("k"), k, asked.heads)?;
        let v = net.heads(&at("v"), v, asked.heads)?;
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        q = turn.turn(net, &at("q"), q)?;
        let k = turn.turn(net, &at("k"), k)?;
        q = net.attend(name, [q, k, v], scale, None)?;
    }
    net.linear(&at("o_proj"), q)
}

fn mlp(net: &mut Layers, name: &str, x: NodeId, asked: &Asked) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    if !net.has(&at("gate_proj.weight")) {
        return net.mlp([&at("up_proj"), &at("down_proj")], x, asked.act);
    }
    let gate = net.linear(&at("gate_proj"), x)?;
    let gate = net.act(&at("act"), asked.act, gate)?;
    let value = net.linear(&at("up_proj"), x)?;
    let hidden = net.mul(&at("gated"), gate, value)?;
    net.linear(&at("down_proj"), hidden)
}
