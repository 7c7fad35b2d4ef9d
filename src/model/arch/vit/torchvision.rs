//! Vision transformers under torchvision's names (`vision_transformer.py`).

use super::{Act, Grid, Node, joint_attention, learnt, patches, perceptron};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::made::Resample;
use crate::model::arch::{ArchError, Built, Family, Likeness, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "vit-torchvision",
    about: "ViT under torchvision's names; `--arch torchvision/vit_b_16` and its like say how many heads there are",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Torchvision) && name.is_one_of(NAMES.iter().map(|(name, _, _)| *name)),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let all = has("class_token") && has("conv_proj.weight") && has("encoder.pos_embedding") && has(&format!("{LAYERS}0.ln_1.weight"));
        if all { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// Each name with its width and heads.
static NAMES: [(&str, usize, usize); 5] =
    [("vit_b_16", 768, 12), ("vit_b_32", 768, 12), ("vit_l_16", 1024, 16), ("vit_l_32", 1024, 16), ("vit_h_14", 1280, 16)];

/// What stands before the number of a block.
const LAYERS: &str = "encoder.layers.encoder_layer_";

/// Added to the variance of a norm.
const EPS: f64 = 1e-6;

/// As many heads as the named network has. Of a width that another name has it is none of the named network's.
fn heads(config: &Config, width: usize) -> Result<usize, ArchError> {
    let name = config.name.as_ref();
    let Some((named, _, heads)) = NAMES.iter().find(|(known, _, _)| name.is_some_and(|name| name.is_one_of([*known]))) else {
        let names = NAMES.iter().filter(|(_, known, _)| *known == width).map(|(name, _, _)| format!("torchvision/{name}"));
        let names: Vec<String> = names.collect();
        let names = if names.is_empty() { vec!["torchvision/vit_b_16".to_owned()] } else { names };
        return Err(ArchError::NeedsName { family: FAMILY.name, what: "the number of heads".to_owned(), names });
    };
    match NAMES.iter().find(|(_, known, other)| *known == width && other != heads) {
        None => Ok(*heads),
        Some((other, _, _)) => {
            Err(ArchError::Unsupported(format!("`{named}` is named, and the weights have a width of {width}, which is that of `{other}`")))
        }
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let stem = "conv_proj.weight";
    let heads = heads(config, shapes.get(stem).and_then(|shape| shape.first()).copied().unwrap_or(0))?;
    let (mut net, image) = Layers::new(FAMILY.name, shapes, stem, *size, 1e-5)?;
    let (x, grid) = patches(&mut net, shapes, "conv_proj", image)?;
    let mut x = net.token_in_front("class_token", x)?;
    let places = "encoder.pos_embedding";
    let from = learnt(shapes, places, 1, None, grid)?;
    if net.is_whole() && from != grid {
        return Err(ArchError::Unsupported(format!(
            "the positions are of {from:?} patches, and images of {size:?} have {grid:?}: torchvision's network takes images of one size alone"
        )));
    }
    if let Some(places) = net.positions(places, Grid { before: 1, from, to: grid, how: Resample::Bicubic, step: None }) {
        x = net.sum("encoder.add", x, places)?;
    }
    let depth = count(shapes, LAYERS);
    for i in 0..depth {
        x = block(&mut net, &format!("{LAYERS}{i}"), x, heads)?;
    }
    let width = net.width(x);
    x = net.layer_norm("encoder.ln", x, EPS)?;
    x = net.pick("token", x, 1, 0)?;
    if net.has("heads.pre_logits.weight") {
        x = net.linear("heads.pre_logits", x)?;
        x = net.act("heads.act", Unary::Tanh, x)?;
    }
    let head = ["heads.head", "heads", "heads.0"].into_iter().find(|head| shapes.contains_key(&format!("{head}.weight")));
    match head {
        Some(head) => x = net.linear(head, x)?,
        None => net.features_at(x),
    }
    net.finish(x, format!("ViT, {depth} blocks of width {width}, {heads} heads, torchvision names"))
}

fn block(net: &mut Layers, name: &str, x: NodeId, heads: usize) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let inner = net.layer_norm(&at("ln_1"), x, EPS)?;
    let inner = joint_attention(net, &at("self_attention"), inner, heads)?;
    let x = net.sum(&at("add1"), x, inner)?;
    let inner = net.layer_norm(&at("ln_2"), x, EPS)?;
    // The first release called these two layers otherwise.
    let names = if net.has(&at("mlp.linear_1.weight")) { ["mlp.linear_1", "mlp.linear_2"] } else { ["mlp.0", "mlp.3"] };
    let inner = perceptron(net, [&at(names[0]), &at(names[1])], inner, Act::GELU)?;
    net.sum(&at("add2"), x, inner)
}
