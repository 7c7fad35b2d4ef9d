//! The image tower of CLIP (Radford et al., arXiv 2103.00020) under the names of its first release, which `OpenCLIP` keeps.
//!
//! `open_clip_config.json` is not read: `--arch open_clip/NAME` says how many heads there are and which activation it is.

use super::{Act, Grid, Node, joint_attention, learnt, patches, perceptron};
use crate::graph::{NodeId, Role};
use crate::model::arch::config::{Config, Library, Name};
use crate::model::arch::layers::{Layers, count};
use crate::model::arch::made::Resample;
use crate::model::arch::{ArchError, Built, Family, Likeness, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "clip-open",
    about: "the image tower of CLIP under OpenCLIP's names; `--arch open_clip/ViT-B-32` and its like say how many heads there are",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::OpenClip && found(name).is_some(),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let all = ["visual.class_embedding", "visual.conv1.weight", "visual.transformer.resblocks.0.attn.in_proj_weight"];
        if all.iter().all(|name| shapes.contains_key(*name)) { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// Width, depth and heads of each name. Behind it, `-quickgelu` says which activation it is.
static NAMES: [(usize, usize, usize, &[&str]); 9] = [
    (384, 12, 6, &["ViT-S-16", "ViT-S-16-alt", "ViT-S-32", "ViT-S-32-alt"]),
    (512, 12, 8, &["ViT-M-16", "ViT-M-16-alt", "ViT-M-32", "ViT-M-32-alt"]),
    (768, 12, 12, &["ViT-B-16", "ViT-B-32", "ViT-B-32-256", "xlm-roberta-base-ViT-B-32", "nllb-clip-base", "mt5-base-ViT-B-32"]),
    (896, 12, 14, &["ViT-B-16-plus", "ViT-B-16-plus-240", "ViT-B-32-plus-256"]),
    (
        1024,
        24,
        16,
        &[
            "ViT-L-14",
            "ViT-L-14-280",
            "ViT-L-14-336",
            "ViT-L-14-CLIPA",
            "ViT-L-14-CLIPA-336",
            "ViT-L-14-worldwide",
            "ViT-L-16",
            "ViT-L-16-320",
        ],
    ),
    (
        1280,
        32,
        16,
        &[
            "ViT-H-14",
            "ViT-H-14-378",
            "ViT-H-14-CLIPA",
            "ViT-H-14-CLIPA-336",
            "ViT-H-14-worldwide",
            "ViT-H-14-worldwide-378",
            "ViT-H-16",
            "xlm-roberta-large-ViT-H-14",
            "nllb-clip-large",
            "mt5-xl-ViT-H-14",
        ],
    ),
    (1408, 40, 16, &["ViT-g-14"]),
    (1664, 48, 16, &["ViT-bigG-14", "ViT-bigG-14-CLIPA", "ViT-bigG-14-CLIPA-336", "ViT-bigG-14-worldwide", "ViT-bigG-14-worldwide-378"]),
    (1792, 56, 16, &["ViT-e-14"]),
];

/// Added to the variance of a norm.
const EPS: f64 = 1e-5;

/// What a name says.
#[derive(Clone, Copy)]
struct Asked {
    width: usize,
    depth: usize,
    heads: usize,
    act: Act,
    /// Features are the mean of the patches, and the norm is behind it: CLIPA (Li et al., arXiv 2305.07017).
    mean: bool,
}

fn found(name: &Name) -> Option<Asked> {
    let (wanted, act) = match name.plain.strip_suffix("-quickgelu") {
        Some(rest) => (rest, Act::QuickGelu),
        None => (name.plain.as_str(), Act::GELU),
    };
    let means = |names: &[&str]| names.iter().any(|known| known.to_lowercase() == wanted);
    let (width, depth, heads, _) = NAMES.iter().find(|(_, _, _, names)| means(names))?;
    Some(Asked { width: *width, depth: *depth, heads: *heads, act, mean: wanted.contains("-clipa") })
}

fn asked(config: &Config) -> Result<Asked, ArchError> {
    config.name.as_ref().and_then(found).ok_or_else(|| ArchError::NeedsName {
        family: FAMILY.name,
        what: "the number of heads and the activation".to_owned(),
        names: vec!["open_clip/ViT-B-32".to_owned(), "open_clip/ViT-B-32-quickgelu".to_owned()],
    })
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = asked(config)?;
    let Asked { width, depth, heads, act, mean } = asked;
    let stem = "visual.conv1.weight";
    let layers = "visual.transformer.resblocks.";
    let blocks = count(shapes, layers);
    if let Some(found) = shapes.get(stem).and_then(|shape| shape.first())
        && (*found, blocks) != (width, depth)
        && NAMES.iter().any(|(known, ..)| known == found)
    {
        return Err(ArchError::Unsupported(format!(
            "the named network has {depth} blocks of width {width}, and the weights {blocks} of width {found}: one of the two is of another model"
        )));
    }
    let (mut net, image) = Layers::new(FAMILY.name, shapes, stem, *size, 1e-5)?;
    for prefix in ["transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "attn_mask", "text."] {
        net.leave_out(prefix, "the text tower");
    }
    for prefix in ["logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size"] {
        net.leave_out(prefix, "");
    }
    let (x, grid) = patches(&mut net, shapes, "visual.conv1", image)?;
    let mut x = net.token_in_front("visual.class_embedding", x)?;
    let places = "visual.positional_embedding";
    let from = learnt(shapes, places, 1, None, grid)?;
    if let Some(places) = net.positions(places, Grid { before: 1, from, to: grid, how: Resample::BicubicAntialias, step: None }) {
        x = net.sum("visual.add", x, places)?;
    }
    if !mean {
        x = net.layer_norm("visual.ln_pre", x, EPS)?;
    }
    for i in 0..blocks {
        x = block(&mut net, &format!("{layers}{i}"), x, heads, act)?;
    }
    let wide = net.width(x);
    x = if mean {
        let tokens = net.whole(x).get(1).copied().unwrap_or(0);
        let places = net.slice("visual.places", x, 1, 1, tokens)?;
        net.mean("visual.pool", places, &[1], false)?
    } else {
        net.pick("visual.pool", x, 1, 0)?
    };
    x = net.layer_norm("visual.ln_post", x, EPS)?;
    if let Some(found) = shapes.get("visual.proj") {
        let out = found.get(1).copied().unwrap_or(0);
        let weight = net.tensor("visual.proj", &[wide, out], Role::Weight);
        x = net.matmul("visual.projected", x, weight)?;
    } else {
        net.features_at(x);
    }
    net.finish(x, format!("CLIP, {blocks} blocks of width {}, {heads} heads, OpenCLIP names{}", wide, act.told()))
}

fn block(net: &mut Layers, name: &str, x: NodeId, heads: usize, act: Act) -> Node {
    let at = |part: &str| format!("{name}.{part}");
    let inner = net.layer_norm(&at("ln_1"), x, EPS)?;
    let inner = joint_attention(net, &at("attn"), inner, heads)?;
    let inner = net.scaled(&at("ls_1.gamma"), inner)?;
    let x = net.sum(&at("add1"), x, inner)?;
    let inner = net.layer_norm(&at("ln_2"), x, EPS)?;
    let inner = perceptron(net, [&at("mlp.c_fc"), &at("mlp.c_proj")], inner, act)?;
    let inner = net.scaled(&at("ls_2.gamma"), inner)?;
    net.sum(&at("add2"), x, inner)
}
