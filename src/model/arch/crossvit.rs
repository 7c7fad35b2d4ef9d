//! `CrossViT` (Chen, Fan, Panda, arXiv 2103.14899) under timm's names.
//!
//! Two branches see the image at two sizes, in patches of two sizes; behind every few blocks the class token of each attends to the patches of
//! the other. The classifier is the mean of one for each branch: the features are the class tokens of both.

use super::config::{Config, Library};
use super::layers::{Conv, Layers, count};
use super::made::Resample;
use super::token_parts::patches;
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};

type Made = Result<NodeId, ArchError>;

const EPS: f64 = 1e-6;
const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static FAMILY: Family = Family {
    name: "crossvit",
    about: "CrossViT under timm's names",
    usual_size: [240, 240],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(VARIANTS.iter().map(|variant| variant.0)),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.contains_key("pos_embed_1") && shapes.contains_key("blocks.0.fusion.0.attn.wq.weight");
        if own { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// A name of timm, the heads of both branches, the size of the second branch's image as a share of the first's.
type Variant = (&'static str, usize, f64);

static VARIANTS: [Variant; 11] = [
    ("crossvit_tiny_240", 3, 224.0 / 240.0),
    ("crossvit_small_240", 6, 224.0 / 240.0),
    ("crossvit_base_240", 12, 224.0 / 240.0),
    ("crossvit_9_240", 4, 224.0 / 240.0),
    ("crossvit_15_240", 6, 224.0 / 240.0),
    ("crossvit_18_240", 7, 224.0 / 240.0),
    ("crossvit_9_dagger_240", 4, 224.0 / 240.0),
    ("crossvit_15_dagger_240", 6, 224.0 / 240.0),
    ("crossvit_15_dagger_408", 6, 384.0 / 408.0),
    ("crossvit_18_dagger_240", 7, 224.0 / 240.0),
    ("crossvit_18_dagger_408", 7, 384.0 / 408.0),
];

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let named = |variant: &&Variant| config.name.as_ref().is_some_and(|name| name.is_one_of([variant.0]));
    let Some(&(_, heads, share)) = VARIANTS.iter().find(named) else {
        return Err(ArchError::NeedsName {
            family: FAMILY.name,
            what: "heads and the size of the second image".into(),
            names: VARIANTS.iter().take(2).map(|variant| format!("timm/{}", variant.0)).collect(),
        });
    };
    let (heads, share) = (asked(config, heads)?, second_image(config, share)?);
    let pool = config.pooling("token")?;
    if !["token", "avg"].contains(&pool) {
        return Err(config.refused("global_pool", &pool.into()));
    }
    let stem = ["patch_embed.0.proj.weight", "patch_embed.0.proj.0.weight"].into_iter().find(|name| shapes.contains_key(*name));
    let (mut net, input) = Layers::new(FAMILY.name, shapes, stem.unwrap_or("patch_embed.0.proj.weight"), *size, 1e-5)?;
    let mut branches = [input; 2];
    for (branch, at) in branches.iter_mut().enumerate() {
        let to = if branch == 0 { *size } else { size.map(|side| (side as f64 * share) as usize) };
        let image = net.resize(&format!("image.{branch}"), input, to, Resample::Bicubic)?;
        *at = embedded(&mut net, shapes, branch, image)?;
    }
    let widths = branches.map(|x| net.width(x));
    if let Some(said) = config.counts("embed_dim")?.filter(|said| net.is_whole() && said[..] != widths) {
        return Err(config.refused("embed_dim", &said.into()));
    }
    let depth = count(shapes, "blocks.");
    let mut blocks = 0;
    for block in 0..depth {
        let name = format!("blocks.{block}");
        blocks += count(shapes, &format!("{name}.blocks.0.")) + count(shapes, &format!("{name}.blocks.1."));
        branches = scales(&mut net, shapes, &name, branches, heads)?;
    }
    let mut classes = [input; 2];
    for (branch, class) in classes.iter_mut().enumerate() {
        let normed = net.layer_norm(&format!("norm.{branch}"), branches[branch], EPS)?;
        *class = if pool == "token" {
            net.pick(&format!("pool.{branch}"), normed, 1, 0)?
        } else {
            let tokens = net.dims(normed).first().copied().unwrap_or(0);
            let places = net.slice(&format!("pool.{branch}.places"), normed, 1, 1, tokens)?;
            pooled_as(&mut net, branch, places)?
        };
    }
    let both = net.concat("pool", 1, &classes)?;
    net.features_at(both);
    let out = classifier(&mut net, both, widths)?;
    let [first, second] = widths;
    net.finish(out, format!("CrossViT, {blocks} blocks of widths {first} and {second}, {heads} heads, {pool} pooling, timm names"))
}

fn pooled_as(net: &mut Layers, branch: usize, places: NodeId) -> Made {
    net.mean(&format!("pool.{branch}"), places, &[1], false)
}

/// How many heads there are. What a name fixes may not be said otherwise.
fn asked(config: &Config, heads: usize) -> Result<usize, ArchError> {
    config.shown(&["attn_drop_rate", "depth", "img_size", "mlp_ratio", "multi_conv", "pos_drop_rate", "proj_drop_rate", "qkv_bias"]);
    config.only("crop_scale", false)?;
    config.only("patch_size", vec![12, 16])?;
    match config.counts("num_heads")?.as_deref() {
        None => Ok(heads),
        Some(&[first, second]) if first == second && first > 0 => Ok(first),
        Some(other) => Err(config.refused("num_heads", &other.to_vec().into())),
    }
}

/// The size of the second branch's image as a share of the first's.
fn second_image(config: &Config, share: f64) -> Result<f64, ArchError> {
    let Some(said) = config.get("img_scale") else { return Ok(share) };
    let numbers: Vec<f64> = said.as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
    match numbers[..] {
        [first, second] if (first - 1.0).abs() < 1e-12 && second > 0.0 && second <= 1.0 => Ok(second),
        _ => Err(config.refused("img_scale", said)),
    }
}

/// Patches of a branch, by one convolution or three, with its class token and positions.
fn embedded(net: &mut Layers, shapes: &Shapes, branch: usize, image: NodeId) -> Made {
    let name = format!("patch_embed.{branch}.proj");
    let map = if shapes.contains_key(&format!("{name}.0.weight")) {
        let moves = if branch == 0 { [(4, 3), (3, 0), (1, 1)] } else { [(4, 3), (2, 1), (2, 1)] };
        let mut x = image;
        for (i, (stride, pad)) in moves.into_iter().enumerate() {
            x = net.conv_as(&format!("{name}.{}", 2 * i), x, Conv::new(stride, pad))?;
            if i < 2 {
                x = net.act(&format!("{name}.{}", 2 * i + 1), Unary::Relu, x)?;
            }
        }
        x
    } else {
        let weight = net.look(&format!("{name}.weight")).unwrap_or_default();
        let patch = [weight.get(2).copied().unwrap_or(1).max(1), weight.get(3).copied().unwrap_or(1).max(1)];
        patches(net, &name, image, patch)?
    };
    let x = net.tokens(&format!("patch_embed.{branch}.tokens"), map)?;
    let x = net.token_in_front(&format!("cls_token_{branch}"), x)?;
    let (tokens, width) = (net.dims(x).first().copied().unwrap_or(0), net.width(x));
    let positions = net.tensor(&format!("pos_embed_{branch}"), &[1, tokens, width], Role::Embedding);
    net.sum(&format!("pos_embed_{branch}.add"), x, positions)
}

/// Blocks of both branches, then what each class token takes from the other branch.
fn scales(net: &mut Layers, shapes: &Shapes, name: &str, branches: [NodeId; 2], heads: usize) -> Result<[NodeId; 2], ArchError> {
    let mut seen = branches;
    for (branch, x) in seen.iter_mut().enumerate() {
        for block in 0..count(shapes, &format!("{name}.blocks.{branch}.")) {
            *x = residual(net, &format!("{name}.blocks.{branch}.{block}"), *x, heads)?;
        }
    }
    let tokens = seen.map(|x| net.dims(x).first().copied().unwrap_or(0));
    let mut out = seen;
    for (branch, result) in out.iter_mut().enumerate() {
        let other = 1 - branch;
        let at = |part: &str| format!("{name}.{part}.{branch}");
        let class = net.slice(&at("class"), seen[branch], 1, 0, 1)?;
        let class = projected(net, &at("projs"), class)?;
        let places = net.slice(&at("other"), seen[other], 1, 1, tokens[other])?;
        let mixed = net.concat(&at("mixed"), 1, &[class, places])?;
        let class = fused(net, &at("fusion"), mixed, class, heads)?;
        let class = projected(net, &at("revert_projs"), class)?;
        let own = net.slice(&at("own"), seen[branch], 1, 1, tokens[branch])?;
        *result = net.concat(&at("tokens"), 1, &[class, own])?;
    }
    Ok(out)
}

/// A norm, an activation and a linear layer.
fn projected(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let x = net.layer_norm(&format!("{name}.0"), x, EPS)?;
    let x = net.act(&format!("{name}.1"), GELU, x)?;
    net.linear(&format!("{name}.2"), x)
}

/// The class token plus what it attends to.
fn fused(net: &mut Layers, name: &str, x: NodeId, class: NodeId, heads: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let normed = net.layer_norm(&at("norm1"), x, EPS)?;
    let first = net.slice(&at("attn.class"), normed, 1, 0, 1)?;
    let mut q = net.linear(&at("attn.wq"), first)?;
    let k = net.linear(&at("attn.wk"), normed)?;
    let v = net.linear(&at("attn.wv"), normed)?;
    if net.is_whole() {
        q = net.heads(&at("attn.q"), q, heads)?;
        let k = net.heads(&at("attn.k"), k, heads)?;
        let v = net.heads(&at("attn.v"), v, heads)?;
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        q = net.attend(&at("attn"), [q, k, v], scale, None)?;
    }
    let mixed = net.linear(&at("attn.proj"), q)?;
    net.sum(&at("add"), class, mixed)
}

fn residual(net: &mut Layers, name: &str, input: NodeId, heads: usize) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.layer_norm(&at("norm1"), input, EPS)?;
    let x = if net.is_whole() { net.self_attention(&at("attn.qkv"), x, heads, None)? } else { net.linear(&at("attn.qkv"), x)? };
    let x = net.linear(&at("attn.proj"), x)?;
    let middle = net.sum(&at("attn.add"), input, x)?;
    let x = net.layer_norm(&at("norm2"), middle, EPS)?;
    let x = net.mlp([&at("mlp.fc1"), &at("mlp.fc2")], x, GELU)?;
    net.sum(&at("mlp.add"), middle, x)
}

/// The mean of a classifier for each branch; without them, the features.
fn classifier(net: &mut Layers, both: NodeId, [first, second]: [usize; 2]) -> Made {
    if !net.has("head.0.weight") && !net.has("head.1.weight") {
        return Ok(both);
    }
    let class = net.slice("head.0.class", both, 1, 0, first)?;
    let one = net.linear("head.0", class)?;
    let class = net.slice("head.1.class", both, 1, first, first + second)?;
    let other = net.linear("head.1", class)?;
    let sum = net.sum("head.sum", one, other)?;
    net.affine("head", sum, 0.5, 0.0)
}
