//! Vision transformers under timm's names: `vision_transformer.py` and `deit.py`.
//!
//! `ViT` (arXiv 2010.11929, 2106.10270), `DeiT` (2012.12877), `DeiT` III (2204.07118), `DINOv2` (2304.07193) and its registers (2309.16588), CLIP
//! (2103.00020), `SigLIP` (2303.15343), `FlexiViT` (2212.08013), `AIMv2` (2411.14402), `BEiT` 3 (2208.10442), blocks of attention beside the perceptron
//! (2302.05442) or several beside each other (2203.09795), and attention that is a difference (2410.05258). Which parts there are the tensors
//! show; the rest is the name's ([`super::names`]) or in `model_args`.

use super::names::{NAMES, Named};
use super::{Act, Grid, Node, different, learnt, patches, perceptron, rows, same_flag, same_patch, sides, size_of, two_heads};
use crate::graph::{NodeId, Op, Reduce, Role, Unary};
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::made::Resample;
use crate::model::arch::{ArchError, Built, Family, Likeness, Shapes, Source};

/// The weight that projects patches.
const STEM: &str = "patch_embed.proj.weight";

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "vit-timm",
    about: "ViT, DeiT, DINOv2, CLIP and SigLIP (their images), AIMv2 and BEiT 3 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && NAMES.iter().any(|(_, names)| name.is_one_of(names.iter().copied())),
    stems: &[],
    within: &[],
    shows,
    build,
};

/// Others have blocks of these names and more in them.
fn shows(shapes: &Shapes) -> Likeness {
    let has = |name: &str| shapes.contains_key(name);
    let plain = ["norm1.weight", "attn.qkv.weight", "attn.proj.weight", "norm2.weight", "mlp.fc1.weight", "mlp.fc2.weight"];
    let blocks = plain.iter().all(|part| has(&format!("blocks.0.{part}")));
    let is_vector = |name: &str| shapes.get(name).is_some_and(|shape| shape.len() == 3);
    let more = |name: &String| {
        ["gamma_1", "gamma_2", "relative_position", "q_bias", "rel_pos", "token"]
            .iter()
            .any(|part| name.starts_with("blocks.0.") && name.contains(part))
    };
    let alone = !shapes.keys().any(more) && !has("mask_token") && !has("register_tokens");
    if blocks && alone && has(STEM) && is_vector("pos_embed") && !has("blocks.0.0.norm1.weight") { Likeness::Yes } else { Likeness::No }
}

/// What a network computes beyond its tensors.
#[derive(Clone, Copy)]
struct Asked<'a> {
    shapes: &'a Shapes,
    heads: usize,
    act: Act,
    norm: Norm,
    post_norm: bool,
}

/// A norm of tokens.
#[derive(Clone, Copy)]
struct Norm {
    eps: f64,
    rms: bool,
}

impl Norm {
    fn on(self, net: &mut Layers, name: &str, x: NodeId) -> Node {
        if self.rms { net.rms_norm(name, x, self.eps) } else { net.layer_norm(name, x, self.eps) }
    }

    /// Where the file has it.
    fn if_there(self, net: &mut Layers, name: &str, x: NodeId) -> Node {
        if net.has(&format!("{name}.weight")) { self.on(net, name, x) } else { Ok(x) }
    }
}

/// The entry of the table that the file or the user names; of none, names of this width and depth are proposed.
fn named(config: &Config, width: usize, depth: usize) -> Result<Named, ArchError> {
    let name = config.name.as_ref();
    let found = name.and_then(|name| NAMES.iter().find(|(_, names)| name.is_one_of(names.iter().copied())));
    found.map(|(named, _)| *named).ok_or_else(|| {
        let alike = NAMES.iter().filter(|(named, _)| (named.width, named.depth) == (width, depth));
        let mut names: Vec<String> = alike.filter_map(|(_, names)| names.first()).take(4).map(|name| format!("timm/{name}")).collect();
        if names.is_empty() {
            names.push("timm/vit_base_patch16_224".to_owned());
        }
        ArchError::NeedsName { family: FAMILY.name, what: "the number of heads".to_owned(), names }
    })
}

/// Refuses a network whose size is not that of its name, where `model_args` does not say another.
fn same_size(config: &Config, key: &str, named: usize, found: usize) -> Result<(), ArchError> {
    let said = config.count(key)?;
    match said.unwrap_or(named) {
        same if same == found => Ok(()),
        other if said.is_some() => Err(different(&format!("model_args.{key}"), &other.to_string(), &found.to_string())),
        other => {
            let name = config.name.as_ref().map_or("", |name| name.plain.as_str());
            Err(ArchError::Unsupported(format!(
                "the architecture `{name}` has {key} {other}, and the weights have {found}: one of the two is of another model"
            )))
        }
    }
}

/// Refuses what `model_args` says against the tensors, and reads what they do not show.
fn asked<'a>(source: &Source<'a>, named: &Named) -> Result<Asked<'a>, ArchError> {
    let Source { shapes, config, .. } = source;
    let has = |name: &str| shapes.contains_key(name);
    // They act in training alone, or say how weights are drawn; how wide perceptrons are the tensors show.
    config.shown(&["weight_init", "fix_init", "init_values", "mlp_ratio", "pretrained_strict"]);
    config.shown(&["pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate"]);
    let width = shapes.get(STEM).and_then(|shape| shape.first()).copied().unwrap_or(0);
    if has(STEM) {
        same_size(config, "embed_dim", named.width, width)?;
        same_size(config, "depth", named.depth, count(shapes, "blocks."))?;
        same_patch(config, "patch_size", sides(shapes, STEM))?;
    }
    let any = |part: &str| shapes.keys().any(|name| name.starts_with("blocks.") && name.ends_with(part));
    same_flag(config, "qk_norm", any(".q_norm.weight"))?;
    same_flag(config, "scale_attn_norm", any(".attn.norm.weight"))?;
    same_flag(config, "scale_mlp_norm", any(".mlp.norm.weight"))?;
    same_flag(config, "qkv_bias", any(".qkv.bias") || any(".in_proj.bias"))?;
    same_flag(config, "proj_bias", any("proj.bias"))?;
    same_flag(config, "class_token", has("cls_token"))?;
    same_flag(config, "pre_norm", has("norm_pre.weight"))?;
    config.agrees("reg_tokens", rows(shapes, "reg_token"))?;
    if let Some(kind) = config.text("pos_embed")?
        && (kind == "learn") != has("pos_embed")
    {
        return Err(different("model_args.pos_embed", kind, "otherwise"));
    }
    if let Some(kind) = config.text("attn_layer")?
        && (kind == "diff") != any(".lambda_q1")
    {
        return Err(different("model_args.attn_layer", kind, "otherwise"));
    }
    let norm = match config.text("norm_layer")?.map(|name| name.replace('_', "").to_lowercase()).as_deref() {
        None => Norm { eps: named.eps, rms: named.rms },
        Some("layernorm") => Norm { eps: 1e-6, rms: false },
        Some("rmsnorm") => Norm { eps: 1e-6, rms: true },
        Some(other) => return Err(config.refused("norm_layer", &other.into())),
    };
    Ok(Asked {
        shapes: source.shapes,
        heads: config.count("num_heads")?.unwrap_or(named.heads),
        act: Act::of(config, "act_layer")?.unwrap_or(named.act),
        norm,
        post_norm: named.post_norm,
    })
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let depth = count(shapes, "blocks.");
    let named = named(config, shapes.get(STEM).and_then(|shape| shape.first()).copied().unwrap_or(0), depth)?;
    let asked = asked(source, &named)?;
    let (mut net, image) = Layers::new(FAMILY.name, shapes, STEM, *size, 1e-5)?;
    let mut x = embedded(&mut net, source, &named, asked.norm, image)?;
    for i in 0..depth {
        x = block(&mut net, &format!("blocks.{i}"), x, i, asked)?;
    }
    let width = net.width(x);
    let distilled = net.has("dist_token");
    x = if distilled { averaged(&mut net, config, x, asked.norm)? } else { pooled(&mut net, source, &named, asked, x)? };
    let kind = if distilled { "distilled ViT" } else { "ViT" };
    let (heads, told) = (asked.heads, asked.act.told());
    net.finish(x, format!("{kind}, {depth} blocks of width {width}, {heads} heads, timm names{told}"))
}

/// Tokens of the image, with their positions, behind class and register tokens.
fn embedded(net: &mut Layers, source: &Source, named: &Named, norm: Norm, image: NodeId) -> Node {
    let Source { shapes, size, config } = source;
    let patch = sides(shapes, STEM).map(|side| side.max(1));
    let dynamic = config.flag("dynamic_img_size", false)?;
    let mut image = image;
    if config.flag("dynamic_img_pad", false)? {
        let missing = |i: usize| (0, size[i].next_multiple_of(patch[i]) - size[i]);
        image = net.pad("patch_embed.pad", image, vec![(0, 0), (0, 0), missing(0), missing(1)])?;
    } else if dynamic && (0..2).any(|i| !size[i].is_multiple_of(patch[i])) {
        return Err(ArchError::Unsupported(format!("images of {size:?} are no whole number of patches of {patch:?}")));
    }
    let (x, grid) = patches(net, shapes, "patch_embed.proj", image)?;
    let x = norm.if_there(net, "patch_embed.norm", x)?;
    let tokens = ["dist_token", "reg_token", "cls_token"].into_iter().filter(|name| shapes.contains_key(*name));
    let in_front = |net: &mut Layers, x| tokens.clone().try_fold(x, |x, name| net.token_in_front(name, x));
    let class_position = !config.flag("no_embed_class", !named.class_position)?;
    let before = if class_position { tokens.clone().map(|name| rows(shapes, name)).sum() } else { 0 };
    let said = size_of(config, "img_size")?.map(|[h, w]| [h / patch[0], w / patch[1]]);
    if !shapes.contains_key("pos_embed") {
        let x = in_front(net, x)?;
        return norm.if_there(net, "norm_pre", x);
    }
    let from = learnt(shapes, "pos_embed", before, said, grid)?;
    let how = if dynamic { Resample::BicubicAntialias } else { named.resample };
    let places = net.positions("pos_embed", Grid { before, from, to: grid, how, step: None });
    let Some(places) = places else { return Ok(x) };
    let x = if class_position {
        let x = in_front(net, x)?;
        net.sum("pos_embed.add", x, places)?
    } else {
        let x = net.sum("pos_embed.add", x, places)?;
        in_front(net, x)?
    };
    norm.if_there(net, "norm_pre", x)
}

fn block(net: &mut Layers, name: &str, x: NodeId, depth: usize, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    if net.has(&at("in_proj.weight")) {
        return beside(net, name, x, depth, asked);
    }
    if net.has(&at("attns.0.norm.weight")) {
        return several(net, name, x, depth, asked);
    }
    let norm = asked.norm;
    let inner = if asked.post_norm { x } else { norm.on(net, &at("norm1"), x)? };
    let inner = attention(net, &at("attn"), inner, depth, asked)?;
    let inner = if asked.post_norm { norm.on(net, &at("norm1"), inner)? } else { net.scaled(&at("ls1.gamma"), inner)? };
    let x = net.sum(&at("add1"), x, inner)?;
    let inner = if asked.post_norm { x } else { norm.on(net, &at("norm2"), x)? };
    let inner = mlp(net, &at("mlp"), inner, asked)?;
    let inner = if asked.post_norm { norm.on(net, &at("norm2"), inner)? } else { net.scaled(&at("ls2.gamma"), inner)? };
    net.sum(&at("add2"), x, inner)
}

/// Attention and perceptron of one projection, beside each other.
fn beside(net: &mut Layers, name: &str, x: NodeId, depth: usize, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let width = net.width(x);
    let y = asked.norm.on(net, &at("in_norm"), x)?;
    let y = net.linear(&at("in_proj"), y)?;
    let hidden = net.width(y).saturating_sub(3 * width);
    let mut inner = net.slice(&at("mlp"), y, 2, 0, hidden)?;
    if net.has(&at("mlp_bias")) {
        let bias = net.tensor(&at("mlp_bias"), &[hidden], Role::Bias);
        inner = net.sum(&at("mlp_bias.add"), inner, bias)?;
    }
    let mut parts = [y; 3];
    for (i, part) in parts.iter_mut().enumerate() {
        let start = hidden + i * width;
        *part = net.slice(&at(["q", "k", "v"][i]), y, 2, start, start + width)?;
    }
    let mixed = mixed(net, name, parts, depth, asked)?;
    let inner = asked.act.on(net, &at("mlp_act"), inner)?;
    let y = if net.has(&at("out_proj.weight")) {
        let both = net.concat(&at("both"), 2, &[mixed, inner])?;
        net.linear(&at("out_proj"), both)?
    } else {
        let mixed = net.linear(&at("attn_out_proj"), mixed)?;
        let inner = net.linear(&at("mlp_out_proj"), inner)?;
        net.sum(&at("both"), mixed, inner)?
    };
    let y = net.scaled(&at("ls.gamma"), y)?;
    net.sum(&at("add"), x, y)
}

/// Several attentions beside each other, then as many perceptrons.
fn several(net: &mut Layers, name: &str, x: NodeId, depth: usize, asked: Asked) -> Node {
    let mut x = x;
    for (list, part) in [("attns", "attn"), ("ffns", "mlp")] {
        let mut sum = x;
        for i in 0..count(asked.shapes, &format!("{name}.{list}.")) {
            let at = |part: &str| format!("{name}.{list}.{i}.{part}");
            let inner = asked.norm.on(net, &at("norm"), x)?;
            let inner = if part == "attn" { attention(net, &at(part), inner, depth, asked)? } else { mlp(net, &at(part), inner, asked)? };
            let inner = net.scaled(&at("ls.gamma"), inner)?;
            sum = net.sum(&at("add"), sum, inner)?;
        }
        x = sum;
    }
    Ok(x)
}

fn attention(net: &mut Layers, name: &str, x: NodeId, depth: usize, asked: Asked) -> Node {
    let qkv = format!("{name}.qkv");
    let all = net.linear(&qkv, x)?;
    let parts = net.split(&qkv, all, 2, 3)?;
    let &[q, k, v] = parts.as_slice() else { return Ok(x) };
    let mixed = mixed(net, name, [q, k, v], depth, asked)?;
    let mixed = asked.norm.if_there(net, &format!("{name}.norm"), mixed)?;
    net.linear(&format!("{name}.proj"), mixed)
}

/// Attention between the queries, keys and values of all heads, each `[N, tokens, width]`.
fn mixed(net: &mut Layers, name: &str, [q, k, v]: [NodeId; 3], depth: usize, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let difference = net.has(&at("lambda_q1"));
    let times = if difference { 2 } else { 1 };
    let q = net.heads(&at("q.heads"), q, times * asked.heads)?;
    let k = net.heads(&at("k.heads"), k, times * asked.heads)?;
    let v = net.heads(&at("v.heads"), v, asked.heads)?;
    let q = asked.norm.if_there(net, &at("q_norm"), q)?;
    let k = asked.norm.if_there(net, &at("k_norm"), k)?;
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    if !difference {
        return net.attend(&at("attend"), [q, k, v], scale, None);
    }
    // Heads come in pairs, and the second of each is taken away from the first.
    let mut pair = [q; 2];
    for (i, mixed) in pair.iter_mut().enumerate() {
        let every = (i, 2 * asked.heads, 2);
        let q = net.strided(&at(&format!("q.{i}")), q, 1, every)?;
        let k = net.strided(&at(&format!("k.{i}")), k, 1, every)?;
        *mixed = net.add(&at(&format!("attend.{i}")), Op::Attention { scale }, &[q, k, v])?;
    }
    let start = 0.8 - 0.6 * (-0.3 * depth as f64).exp();
    let factor = share(net, name, start)?;
    let less = net.mul(&at("less"), pair[1], factor)?;
    let mixed = net.sub(&at("difference"), pair[0], less)?;
    let mixed = net.rms_norm(&at("sub_norm"), mixed, 1e-5)?;
    let mixed = net.affine(&at("sub_norm.scaled"), mixed, 1.0 - start, 0.0)?;
    net.together(name, mixed)
}

/// How much of the second head of a pair is taken away from the first.
fn share(net: &mut Layers, name: &str, start: f64) -> Node {
    let mut pair = [NodeId(0); 2];
    for (i, term) in (1..).zip(pair.iter_mut()) {
        let at = |part: &str| format!("{name}.lambda_{part}{i}");
        let Some(width) = net.look(&at("q")).and_then(|shape| shape.first().copied()) else { return Ok(NodeId(0)) };
        let [q, k] = ["q", "k"].map(|part| net.tensor(&at(part), &[width], Role::Scale));
        let product = net.mul(&at("product"), q, k)?;
        let sum = net.total(&at("sum"), product, &[0], true)?;
        *term = net.act(&at("exp"), Unary::Exp, sum)?;
    }
    let apart = net.sub(&format!("{name}.lambda"), pair[0], pair[1])?;
    net.affine(&format!("{name}.lambda.full"), apart, 1.0, start)
}

/// The perceptron: plain, or with a gate, whose two halves may be one tensor.
fn mlp(net: &mut Layers, name: &str, x: NodeId, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let gated = net.has(&at("fc1_g.weight"));
    let mut inner = net.linear(&if gated { at("fc1_x") } else { at("fc1") }, x)?;
    let wanted = asked.shapes.get(&at("fc2.weight")).and_then(|shape| shape.get(1));
    if gated {
        let gate = net.linear(&at("fc1_g"), x)?;
        let gate = asked.act.on(net, &at("act"), gate)?;
        inner = net.mul(&at("gated"), gate, inner)?;
    } else if wanted.is_some_and(|wanted| wanted.checked_mul(2) == Some(net.width(inner))) {
        let halves = net.split(&at("halves"), inner, 2, 2)?;
        let &[gate, rest] = halves.as_slice() else { return Ok(x) };
        let gate = asked.act.on(net, &at("act"), gate)?;
        inner = net.mul(&at("gated"), gate, rest)?;
    } else {
        inner = asked.act.on(net, &at("act"), inner)?;
    }
    let inner = asked.norm.if_there(net, &at("norm"), inner)?;
    net.linear(&at("fc2"), inner)
}

/// From tokens to the answer: the last norm, the features of the image, and the head where there is one.
fn pooled(net: &mut Layers, source: &Source, named: &Named, asked: Asked, x: NodeId) -> Node {
    let Source { shapes, config, .. } = source;
    let (norm, has) = (asked.norm, |name: &str| shapes.contains_key(name));
    let pool = config.pooling(named.pool)?;
    let last_norm = config.flag("final_norm", named.final_norm)?;
    let behind = config.flag("fc_norm", named.fc_norm.unwrap_or(["avg", "avgmax", "max"].contains(&pool)))?;
    let all = config.flag("pool_include_prefix", named.pools_prefix)?;
    let x = if last_norm && !behind { norm.on(net, "norm", x)? } else { x };
    let prefix = if all { 0 } else { rows(shapes, "cls_token") + rows(shapes, "reg_token") };
    let tokens = net.whole(x).get(1).copied().unwrap_or(0);
    let refused = || Err(config.refused("global_pool", &pool.into()));
    let x = match pool {
        "" if has("head.weight") => return refused(),
        "" => return Ok(x),
        "token" if !has("cls_token") => return refused(),
        "token" => net.pick("pool", x, 1, 0)?,
        "avg" | "max" | "avgmax" | "map" => {
            let places = if prefix == 0 { x } else { net.slice("pool.places", x, 1, prefix, tokens)? };
            if pool == "map" { latent(net, "attn_pool", places, asked)? } else { reduced(net, pool, places)? }
        }
        _ => return refused(),
    };
    let x = if last_norm && behind { norm.on(net, "fc_norm", x)? } else { x };
    if has("head.weight") {
        return net.linear("head", x);
    }
    net.features_at(x);
    Ok(x)
}

fn reduced(net: &mut Layers, pool: &str, x: NodeId) -> Node {
    let mut of = |name: &str, kind| net.add(name, Op::Reduce { kind, axes: vec![1], keep: false }, &[x]);
    match pool {
        "avg" => of("pool", Reduce::Mean),
        "max" => of("pool", Reduce::Max),
        _ => {
            let (mean, most) = (of("pool.mean", Reduce::Mean)?, of("pool.max", Reduce::Max)?);
            let sum = net.sum("pool.sum", mean, most)?;
            net.affine("pool", sum, 0.5, 0.0)
        }
    }
}

/// A learnt token that attends to all others, and a perceptron.
fn latent(net: &mut Layers, name: &str, x: NodeId, asked: Asked) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let width = net.width(x);
    let latent = net.tensor(&at("latent"), &[1, 1, width], Role::Embedding);
    let latent = net.for_each_image(&at("latent.expand"), latent)?;
    let q = net.linear(&at("q"), latent)?;
    let kv = net.linear(&at("kv"), x)?;
    let parts = net.split(&at("kv"), kv, 2, 2)?;
    let &[k, v] = parts.as_slice() else { return Ok(x) };
    let mixed = mixed(net, name, [q, k, v], 0, asked)?;
    let y = net.linear(&at("proj"), mixed)?;
    let inner = asked.norm.on(net, &at("norm"), y)?;
    let inner = perceptron(net, [&at("mlp.fc1"), &at("mlp.fc2")], inner, asked.act)?;
    let y = net.sum(&at("add"), y, inner)?;
    net.pick(&at("token"), y, 1, 0)
}

/// The mean of what two heads say, one of the class token and one of the distillation token.
fn averaged(net: &mut Layers, config: &Config, x: NodeId, norm: Norm) -> Node {
    let pool = config.pooling("token")?;
    if pool != "token" {
        return Err(config.refused("global_pool", &pool.into()));
    }
    config.only("no_embed_class", false)?;
    let x = norm.on(net, "norm", x)?;
    two_heads(net, ["head", "head_dist"], x)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::model::arch::build_from;

    /// The tensors of a network of two blocks.
    fn shapes(width: usize) -> Shapes {
        let mut all = vec![(STEM.to_owned(), vec![width, 3, 4, 4]), ("cls_token".to_owned(), vec![1, 1, width])];
        all.push(("pos_embed".to_owned(), vec![1, 17, width]));
        let mut layer = |name: &str, shape: Vec<usize>| {
            all.push((format!("{name}.bias"), vec![shape[0]]));
            all.push((format!("{name}.weight"), shape));
        };
        for name in ["blocks.0", "blocks.1"] {
            layer(&format!("{name}.norm1"), vec![width]);
            layer(&format!("{name}.attn.qkv"), vec![3 * width, width]);
            layer(&format!("{name}.attn.proj"), vec![width, width]);
            layer(&format!("{name}.norm2"), vec![width]);
            layer(&format!("{name}.mlp.fc1"), vec![2 * width, width]);
            layer(&format!("{name}.mlp.fc2"), vec![width, 2 * width]);
        }
        layer("norm", vec![width]);
        layer("head", vec![5, width]);
        all.push(("patch_embed.proj.bias".to_owned(), vec![width]));
        all.into_iter().collect()
    }

    fn told(width: usize, name: &str, arguments: &Value) -> String {
        let shapes = shapes(width);
        let written = json!({"architecture": name, "model_args": arguments});
        let config = Config::of(Some(&written), Some(name), false).expect("read");
        let built = build_from(&FAMILY, &Source { shapes: &shapes, size: [16, 16], config });
        built.map_or_else(|error| error.to_string(), |built| built.description)
    }

    #[test]
    fn what_is_said_against_the_tensors_is_refused() {
        let whole = told(192, "vit_tiny_patch16_224.augreg", &json!({"depth": 2, "patch_size": 4}));
        assert_eq!(whole, "ViT, 2 blocks of width 192, 3 heads, timm names");
        for (width, arguments, wanted) in [
            (192, json!({"patch_size": 4}), "depth 12"),
            (384, json!({"depth": 2, "patch_size": 4}), "embed_dim 192"),
            (192, json!({"depth": 2, "patch_size": 8}), "`patch_size`"),
            (192, json!({"depth": 2, "num_heads": 5}), "5 heads"),
            (192, json!({"depth": 2, "qk_norm": true}), "`qk_norm`"),
            (192, json!({"depth": 2, "fc_norm": true}), "fc_norm.weight"),
            (192, json!({"depth": 2, "global_pool": "prr"}), "`model_args.global_pool`"),
            (192, json!({"depth": 2, "img_size": 32}), "positions for 16 patches"),
            (192, json!({"depth": 2, "act_layer": "mish"}), "`model_args.act_layer`"),
            (192, json!({"depth": 2, "new": 1}), "`model_args.new`"),
        ] {
            let found = told(width, "vit_tiny_patch16_224", &arguments);
            assert!(found.contains(wanted), "{arguments}: {found}");
        }
    }

    #[test]
    fn a_name_means_one_network() {
        let all: Vec<&str> = NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(NAMES.iter().all(|(named, _)| named.width.is_multiple_of(named.heads)));
        assert!(matches!(named(&Config::none(), 192, 12), Err(ArchError::NeedsName { .. })));
    }
}
