//! Plain vision transformers: patches become tokens, tokens go through blocks of attention and perceptron, and a token or the mean of them
//! goes to the head (Dosovitskiy et al., arXiv 2010.11929).
//!
//! A file of this folder for each way to name their tensors, and here what they have in common. What no tensor shows is the number of heads,
//! the activation and what is added to the variance of a norm.

mod clip;
mod hf;
mod names;
mod open_clip;
mod timm;
mod torchvision;

use super::config::Config;
use super::layers::{Conv, Grid, Layers};
use super::{ArchError, Family, Shapes};
use crate::graph::{NodeId, Op, Role, Unary};

pub(super) static FAMILIES: &[&Family] =
    &[&timm::FAMILY, &hf::FAMILY, &clip::CLIP, &clip::SIGLIP, &open_clip::FAMILY, &torchvision::FAMILY];

type Node = Result<NodeId, ArchError>;

/// The activation of a perceptron.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Plain(Unary),
    /// `x * sigmoid(1.702 x)`, of the first CLIP.
    QuickGelu,
}

impl Act {
    const GELU: Self = Self::Plain(Unary::Gelu { tanh: false });
    const GELU_TANH: Self = Self::Plain(Unary::Gelu { tanh: true });
    const SILU: Self = Self::Plain(Unary::Silu);

    /// That which a field names.
    fn of(config: &Config, key: &str) -> Result<Option<Self>, ArchError> {
        match config.text(key)? {
            Some("quick_gelu") => Ok(Some(Self::QuickGelu)),
            _ => Ok(config.act(key)?.map(Self::Plain)),
        }
    }

    fn on(self, net: &mut Layers, name: &str, x: NodeId) -> Node {
        match self {
            Self::Plain(act) => net.act(name, act, x),
            Self::QuickGelu => {
                let steep = net.affine(&format!("{name}.steep"), x, 1.702, 0.0)?;
                let gate = net.act(&format!("{name}.gate"), Unary::Sigmoid, steep)?;
                net.mul(name, x, gate)
            }
        }
    }

    /// What people are told where it is not the usual one: `, quick GELU`.
    fn told(self) -> String {
        match self {
            Self::Plain(Unary::Gelu { tanh: false }) => String::new(),
            Self::Plain(Unary::Gelu { tanh: true }) => ", GELU by tanh".to_owned(),
            Self::Plain(act) => format!(", {act:?}"),
            Self::QuickGelu => ", quick GELU".to_owned(),
        }
    }
}

/// Two linear layers with an activation between.
fn perceptron(net: &mut Layers, [first, second]: [&str; 2], x: NodeId, act: Act) -> Node {
    let x = net.linear(first, x)?;
    let x = act.on(net, &format!("{first}.act"), x)?;
    net.linear(second, x)
}

/// The sides of patches, by the weight `[width, channels, height, width]` that projects them.
fn sides(shapes: &Shapes, weight: &str) -> [usize; 2] {
    let shape = shapes.get(weight).map_or(&[][..], Vec::as_slice);
    [2, 3].map(|axis| shape.get(axis).copied().unwrap_or(0))
}

/// How many tokens a tensor `[1, tokens, width]` holds. It may be anything: whoever adds such numbers must not overflow.
fn rows(shapes: &Shapes, name: &str) -> usize {
    shapes.get(name).and_then(|shape| shape.get(1)).map_or(0, |&count| count.min(1 << 24))
}

/// Patches that do not overlap, each a token: `[N, C, H, W]` to `[N, patches, width]`. Gives how many there are down and across too.
fn patches(net: &mut Layers, shapes: &Shapes, name: &str, image: NodeId) -> Result<(NodeId, [usize; 2]), ArchError> {
    let weight = format!("{name}.weight");
    let patch = sides(shapes, &weight);
    if let Some(found) = shapes.get(&weight).filter(|_| patch.contains(&0)) {
        return Ok((net.misfit(&weight, found, "[width, channels, height, width]", image), [0; 2]));
    }
    let map = net.conv_as(name, image, Conv { stride: patch.map(|side| side.max(1)), ..Conv::new(1, 0) })?;
    let grid = if net.is_whole() { net.size(map) } else { [0; 2] };
    Ok((net.tokens(&format!("{name}.tokens"), map)?, grid))
}

/// The grid that positions were learnt on: of images of the size that is said, else a square, else that of the images at hand.
fn learnt(shapes: &Shapes, name: &str, before: usize, said: Option<[usize; 2]>, to: [usize; 2]) -> Result<[usize; 2], ArchError> {
    let Some(rows) = shapes.get(name).and_then(|shape| shape.iter().rev().nth(1)) else { return Ok(to) };
    let places = rows.saturating_sub(before);
    let side = places.isqrt();
    match said {
        // What is wrong with the tensor is told where it is used.
        _ if places == 0 => Ok(to),
        Some([h, w]) if h.checked_mul(w) == Some(places) => Ok([h, w]),
        Some([h, w]) => Err(ArchError::Unsupported(format!(
            "`{name}` has positions for {places} patches, and images of the size that config.json says have {h} times {w}: the two are of \
             different models"
        ))),
        None if side * side == places => Ok([side; 2]),
        None => Ok(to),
    }
}

/// A size that `config.json` gives as one number or as `[height, width]`.
fn size_of(config: &Config, key: &str) -> Result<Option<[usize; 2]>, ArchError> {
    match config.counts(key)?.as_deref() {
        None => Ok(None),
        Some(&[side]) => Ok(Some([side; 2])),
        Some(&[height, width]) => Ok(Some([height, width])),
        Some(_) => Err(config.refused(key, config.get(key).unwrap_or(&serde_json::Value::Null))),
    }
}

/// Refuses a configuration that says another patch than the weight has.
fn same_patch(config: &Config, key: &str, found: [usize; 2]) -> Result<(), ArchError> {
    match size_of(config, key)? {
        Some(said) if said != found => Err(different(key, &format!("{said:?}"), &format!("{found:?}"))),
        _ => Ok(()),
    }
}

/// Refuses a configuration that says of a part that it is there, or not, against the tensors.
fn same_flag(config: &Config, key: &str, found: bool) -> Result<(), ArchError> {
    if config.flag(key, found)? == found { Ok(()) } else { Err(different(key, &(!found).to_string(), &found.to_string())) }
}

fn different(key: &str, said: &str, found: &str) -> ArchError {
    ArchError::Unsupported(format!("config.json: `{key}` is {said}, and the tensors show {found}: the two are of different models"))
}

/// Attention whose queries, keys and values come of linear layers of their own, and the linear layer behind it.
fn attention(net: &mut Layers, [query, key, value, out]: [&str; 4], x: NodeId, heads: usize) -> Node {
    let mut parts = [x; 3];
    for (part, name) in parts.iter_mut().zip([query, key, value]) {
        let projected = net.linear(name, x)?;
        *part = net.heads(&format!("{name}.heads"), projected, heads)?;
    }
    let scale = (net.width(parts[0]).max(1) as f64).powf(-0.5);
    let mixed = net.attend(&format!("{query}.attend"), parts, scale, None)?;
    net.linear(out, mixed)
}

/// `torch.nn.MultiheadAttention` of a sequence to itself: one tensor `in_proj_weight` has queries, keys and values.
fn joint_attention(net: &mut Layers, name: &str, x: NodeId, heads: usize) -> Node {
    let qkv = format!("{name}.in_proj");
    let all = net.linear_by(&qkv, &format!("{name}.in_proj_weight"), &format!("{name}.in_proj_bias"), x)?;
    let mut parts = net.split(&qkv, all, 2, 3)?;
    for (part, which) in parts.iter_mut().zip(["q", "k", "v"]) {
        *part = net.heads(&format!("{qkv}.{which}"), *part, heads)?;
    }
    let &[q, k, v] = parts.as_slice() else { return Ok(x) };
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    let mixed = net.attend(&format!("{name}.attend"), [q, k, v], scale, None)?;
    net.linear(&format!("{name}.out_proj"), mixed)
}

/// `torch.nn.MultiheadAttention` of a learnt token to a sequence.
fn probe_attention(net: &mut Layers, name: &str, probe: NodeId, x: NodeId, heads: usize) -> Node {
    let width = net.width(x);
    let (weight, bias) = (format!("{name}.in_proj_weight"), format!("{name}.in_proj_bias"));
    let weight = net.tensor(&weight, &[3 * width, width], Role::Weight);
    let bias = net.tensor(&bias, &[3 * width], Role::Bias);
    let mut parts = [probe, x, x];
    for (i, part) in parts.iter_mut().enumerate() {
        let at = format!("{name}.in_proj.{}", ["q", "k", "v"][i]);
        let rows = net.slice(&format!("{at}.weight"), weight, 0, i * width, (i + 1) * width)?;
        let shift = net.slice(&format!("{at}.bias"), bias, 0, i * width, (i + 1) * width)?;
        let projected = net.add(&at, Op::Linear, &[*part, rows, shift])?;
        *part = net.heads(&format!("{at}.heads"), projected, heads)?;
    }
    let scale = (net.width(parts[0]).max(1) as f64).powf(-0.5);
    let mixed = net.attend(&format!("{name}.attend"), parts, scale, None)?;
    net.linear(&format!("{name}.out_proj"), mixed)
}

/// The mean of what two heads say, the first of the first token and the second of the second. Without heads it is that of the two tokens.
fn two_heads(net: &mut Layers, [first, second]: [&str; 2], x: NodeId) -> Node {
    let width = net.width(x);
    let pair = net.slice("heads.tokens", x, 1, 0, 2)?;
    let features = if net.has(&format!("{first}.weight")) {
        net.reshape("heads.input", pair, &[2 * width])?
    } else {
        net.mean("heads", pair, &[1], false)?
    };
    net.features_at(features);
    if !net.has(&format!("{first}.weight")) {
        return Ok(features);
    }
    let mut answers = [features; 2];
    for (i, (answer, name)) in answers.iter_mut().zip([first, second]).enumerate() {
        let token = net.slice(&format!("{name}.token"), features, 1, i * width, (i + 1) * width)?;
        *answer = net.linear(name, token)?;
    }
    let sum = net.sum("heads.sum", answers[0], answers[1])?;
    net.affine("heads", sum, 0.5, 0.0)
}
