//! MLP-Mixer (Tolstikhin et al., arXiv 2105.01601), `ResMLP` (Touvron et al., 2105.03404) and `gMLP` (Liu et al., 2105.08050) under timm's
//! names.
//!
//! Linear layers over the places of an image take the part of attention, so images have one size. Which of the three it is, and whether MLPs
//! are gated, the tensors show.

use super::config::Library;
use super::layers::{Layers, count};
use super::token_parts::{patch, patches, pooled, sides};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};

type Made = Result<NodeId, ArchError>;

const EPS: f64 = 1e-6;
const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static FAMILY: Family = Family {
    name: "mlp-mixer",
    about: "MLP-Mixer, ResMLP and gMLP under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let own = ["mlp_tokens.fc1.weight", "linear_tokens.weight", "mlp_channels.gate.proj.weight"];
        if has("stem.proj.weight") && own.iter().any(|part| has(&format!("blocks.0.{part}"))) { Likeness::Yes } else { Likeness::No }
    },
    build,
};

const NAMES: [&str; 15] = [
    "mixer_s32_224",
    "mixer_s16_224",
    "mixer_b32_224",
    "mixer_b16_224",
    "mixer_l32_224",
    "mixer_l16_224",
    "gmixer_12_224",
    "gmixer_24_224",
    "resmlp_12_224",
    "resmlp_24_224",
    "resmlp_36_224",
    "resmlp_big_24_224",
    "gmlp_ti16_224",
    "gmlp_s16_224",
    "gmlp_b16_224",
];

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    config.shown(&["mlp_ratio", "nlhb", "proj_drop_rate", "stem_norm"]);
    let pool = config.pooling("avg")?;
    if pool != "avg" {
        return Err(config.refused("global_pool", &pool.into()));
    }
    sides(config, "img_size")?;
    let stem = "stem.proj.weight";
    let (mut net, input) = Layers::new(FAMILY.name, shapes, stem, *size, 1e-5)?;
    let patch = patch(&mut net, config, stem, "patch_size")?;
    let map = patches(&mut net, "stem.proj", input, patch)?;
    let mut x = net.tokens("stem.tokens", map)?;
    let width = net.width(x);
    let depth = count(shapes, "blocks.");
    config.agrees("num_blocks", depth)?;
    if net.is_whole() {
        config.agrees("embed_dim", width)?;
    }
    let has = |part: &str| shapes.contains_key(&format!("blocks.0.{part}.weight"));
    let kind = match (has("mlp_channels.gate.proj"), has("linear_tokens")) {
        (true, _) => "gMLP",
        (_, true) => "ResMLP",
        _ => "MLP Mixer",
    };
    for block in 0..depth {
        let name = format!("blocks.{block}");
        x = match kind {
            "gMLP" => gated_block(&mut net, &name, x)?,
            "ResMLP" => linear_block(&mut net, &name, x)?,
            _ => mixer_block(&mut net, shapes, &name, x)?,
        };
    }
    x = norm(&mut net, "norm", x)?;
    x = pooled(&mut net, "avg", 0, x)?;
    if net.has("head.weight") {
        x = net.linear("head", x)?;
    }
    net.finish(x, format!("{kind}, {depth} blocks of width {width}, timm names"))
}

/// Layer norm, or of `ResMLP` a learnt factor and summand for every channel.
fn norm(net: &mut Layers, name: &str, x: NodeId) -> Made {
    if !net.has(&format!("{name}.alpha")) {
        return net.layer_norm(name, x, EPS);
    }
    let width = net.width(x);
    let alpha = net.tensor(&format!("{name}.alpha"), &[1, 1, width], Role::Scale);
    let beta = net.tensor(&format!("{name}.beta"), &[1, 1, width], Role::Shift);
    let scaled = net.mul(&format!("{name}.scaled"), x, alpha)?;
    net.sum(name, scaled, beta)
}

/// `[N, places, channels]` to `[N, channels, places]` and back.
fn turned(net: &mut Layers, name: &str, x: NodeId) -> Made {
    net.transpose(name, x, &[0, 2, 1])
}

fn mixer_block(net: &mut Layers, shapes: &Shapes, name: &str, input: NodeId) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = norm(net, &at("norm1"), input)?;
    let x = turned(net, &at("mlp_tokens.channels"), x)?;
    let x = mlp(net, shapes, &at("mlp_tokens"), x)?;
    let x = turned(net, &at("mlp_tokens.places"), x)?;
    let middle = net.sum(&at("mlp_tokens.add"), input, x)?;
    let x = norm(net, &at("norm2"), middle)?;
    let x = mlp(net, shapes, &at("mlp_channels"), x)?;
    net.sum(&at("mlp_channels.add"), middle, x)
}

/// Of twice as many hidden numbers as enter the second layer, half are gates of the others.
fn mlp(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let mut hidden = net.linear(&at("fc1"), x)?;
    let needed = shapes.get(&at("fc2.weight")).and_then(|shape| shape.get(1)).copied().unwrap_or(0);
    if net.is_whole() && net.width(hidden) == 2 * needed {
        let value = net.slice(&at("value"), hidden, 2, 0, needed)?;
        let gate = net.slice(&at("gate"), hidden, 2, needed, 2 * needed)?;
        let gate = net.act(&at("act"), Unary::Silu, gate)?;
        hidden = net.mul(&at("gated"), value, gate)?;
    } else {
        hidden = net.act(&at("act"), GELU, hidden)?;
    }
    net.linear(&at("fc2"), hidden)
}

fn linear_block(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = norm(net, &at("norm1"), input)?;
    let x = turned(net, &at("linear_tokens.channels"), x)?;
    let x = net.linear(&at("linear_tokens"), x)?;
    let x = turned(net, &at("linear_tokens.places"), x)?;
    let x = net.scaled(&at("ls1"), x)?;
    let middle = net.sum(&at("linear_tokens.add"), input, x)?;
    let x = norm(net, &at("norm2"), middle)?;
    let x = net.mlp([&at("mlp_channels.fc1"), &at("mlp_channels.fc2")], x, GELU)?;
    let x = net.scaled(&at("ls2"), x)?;
    net.sum(&at("mlp_channels.add"), middle, x)
}

fn gated_block(net: &mut Layers, name: &str, input: NodeId) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = norm(net, &at("norm"), input)?;
    let x = net.linear(&at("mlp_channels.fc1"), x)?;
    let x = net.act(&at("mlp_channels.act"), GELU, x)?;
    let parts = net.split(&at("mlp_channels.split"), x, 2, 2)?;
    let &[value, gate] = parts.as_slice() else { return Ok(x) };
    // timm leaves this norm at PyTorch's own epsilon.
    let gate = net.layer_norm(&at("mlp_channels.gate.norm"), gate, 1e-5)?;
    let gate = turned(net, &at("mlp_channels.gate.channels"), gate)?;
    let gate = net.linear(&at("mlp_channels.gate.proj"), gate)?;
    let gate = turned(net, &at("mlp_channels.gate.places"), gate)?;
    let x = net.mul(&at("mlp_channels.gated"), value, gate)?;
    let x = net.linear(&at("mlp_channels.fc2"), x)?;
    net.sum(&at("mlp_channels.add"), input, x)
}
