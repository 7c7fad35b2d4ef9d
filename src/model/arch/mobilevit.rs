//! `MobileViT` and `MobileViTv2` under timm's and Hugging Face Transformers' names.
//!
//! Mehta, Rastegari, "`MobileViT`: Light-weight, General-purpose, and Mobile-friendly Vision Transformer" (arXiv 2110.02178), and
//! "Separable Self-attention for Mobile Vision Transformers" (arXiv 2206.02680). Inverted residual blocks (arXiv 1801.04381), and blocks in
//! which the places of a map that lie alike in their patches attend to each other. Version 2 has one query for all of them instead of one
//! each: its attention is a weighted sum.
//!
//! Where a map is no multiple of the patch, version 1 resizes it there and back; version 2 of timm resizes it there alone, corner on
//! corner, and version 2 of Transformers leaves the rest out and writes zeros there.

use super::config::{Config, Library};
use super::hybrid::{head, maybe, numbered, pooled, unit};
use super::layers::{Groups, Layers, Padding, count};
use super::made::Resample;
use super::{ArchError, Built, Family, Likeness, Shapes, Source, staged};
use crate::graph::{NodeId, Op, Unary};

type Made = Result<NodeId, ArchError>;

const TIMM: [&str; 3] = ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"];
const TIMM_2: [&str; 7] =
    ["mobilevitv2_050", "mobilevitv2_075", "mobilevitv2_100", "mobilevitv2_125", "mobilevitv2_150", "mobilevitv2_175", "mobilevitv2_200"];

pub(super) static FAMILY: Family = Family {
    name: "mobilevit-timm",
    about: "MobileViT under timm's names",
    usual_size: [256, 256],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(TIMM),
    stems: &[],
    within: &[],
    shows: |shapes| like(shapes, "stages.2.1.conv_fusion.conv.weight"),
    build: build_timm,
};

pub(super) static FAMILY_2: Family = Family {
    name: "mobilevitv2-timm",
    about: "MobileViTv2 under timm's names",
    usual_size: [256, 256],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(TIMM_2),
    stems: &[],
    within: &[],
    shows: |shapes| like(shapes, "stages.2.1.transformer.0.attn.qkv_proj.weight"),
    build: build_timm_2,
};

pub(super) static HUGGING_FACE: Family = Family {
    name: "mobilevit-hf",
    about: "MobileViT under Hugging Face Transformers' names",
    usual_size: [256, 256],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.plain == "mobilevit",
    stems: &[],
    within: &[],
    shows: |shapes| like(shapes, "encoder.layer.2.fusion.convolution.weight"),
    build: build_hf,
};

pub(super) static HUGGING_FACE_2: Family = Family {
    name: "mobilevitv2-hf",
    about: "MobileViTv2 under Hugging Face Transformers' names",
    usual_size: [256, 256],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.plain == "mobilevitv2",
    stems: &[],
    within: &[],
    shows: |shapes| like(shapes, "encoder.layer.2.transformer.layer.0.attention.qkv_proj.convolution.weight"),
    build: build_hf_2,
};

/// Whether a tensor of this name is there, whatever stands before it.
fn like(shapes: &Shapes, name: &str) -> Likeness {
    let there = shapes.keys().any(|found| found.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.')));
    if there { Likeness::Yes } else { Likeness::No }
}

/// What a library calls the parts of a block.
struct Names {
    /// A convolution and its norm.
    unit: [&'static str; 2],
    /// The convolutions of an inverted residual block.
    inverted: [&'static str; 3],
    /// The convolution before attention.
    one: &'static str,
    blocks: &'static str,
    norms: [&'static str; 2],
    norm: &'static str,
    projection: &'static str,
    fusion: &'static str,
}

const OF_TIMM: Names = Names {
    unit: ["conv", "bn"],
    inverted: ["conv1_1x1", "conv2_kxk", "conv3_1x1"],
    one: "conv_1x1",
    blocks: "transformer.",
    norms: ["norm1", "norm2"],
    norm: "norm",
    projection: "conv_proj",
    fusion: "conv_fusion",
};

const OF_HUGGING_FACE: Names = Names {
    unit: ["convolution", "normalization"],
    inverted: ["expand_1x1", "conv_3x3", "reduce_1x1"],
    one: "conv_1x1.convolution",
    blocks: "transformer.layer.",
    norms: ["layernorm_before", "layernorm_after"],
    norm: "layernorm",
    projection: "conv_projection",
    fusion: "fusion",
};

/// What tensors do not show.
#[derive(Clone, Copy)]
struct Asked {
    library: Library,
    /// Whether it is version 2.
    second: bool,
    act: Unary,
    heads: usize,
    patch: usize,
    eps: f64,
}

/// One block of the network.
enum Block {
    /// An inverted residual block and its stride.
    Inverted(String, usize),
    Attention(String),
}

fn timm_blocks(shapes: &Shapes) -> Vec<Block> {
    let stages = count(shapes, "stages.");
    let names = (0..stages).flat_map(|stage| (0..count(shapes, &format!("stages.{stage}."))).map(move |block| (stage, block)));
    let made = names.map(|(stage, block)| {
        let name = format!("stages.{stage}.{block}");
        if shapes.contains_key(&format!("{name}.conv_kxk.conv.weight")) {
            Block::Attention(name)
        } else {
            Block::Inverted(name, if stage > 0 && block == 0 { 2 } else { 1 })
        }
    });
    made.collect()
}

fn hf_blocks(shapes: &Shapes, base: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for layer in 0..count(shapes, &format!("{base}encoder.layer.")) {
        let name = format!("{base}encoder.layer.{layer}");
        if shapes.contains_key(&format!("{name}.conv_kxk.convolution.weight")) {
            blocks.push(Block::Inverted(format!("{name}.downsampling_layer"), 2));
            blocks.push(Block::Attention(name));
        } else {
            let inner = count(shapes, &format!("{name}.layer."));
            blocks.extend((0..inner).map(|i| Block::Inverted(format!("{name}.layer.{i}"), if layer > 0 && i == 0 { 2 } else { 1 })));
        }
    }
    blocks
}

fn timm_asked(config: &Config, second: bool) -> Result<Asked, ArchError> {
    // Sizes are read off the tensors; the rest acts in training.
    config.shown(&["drop_block_size", "num_features", "stem_chs", "width_factor"]);
    config.only("output_stride", 32)?;
    for (key, plain) in [("stem_type", "3x3"), ("stem_pool", ""), ("downsample", ""), ("aa_layer", ""), ("head_type", "")] {
        config.only(key, plain)?;
    }
    Ok(Asked { library: Library::Timm, second, act: config.act("act_layer")?.unwrap_or(Unary::Silu), heads: 4, patch: 2, eps: 1e-5 })
}

fn hf_asked(config: &Config, second: bool) -> Result<Asked, ArchError> {
    config.shown(&["aspp_dropout_prob", "aspp_out_channels", "atrous_rates", "classifier_dropout_prob", "semantic_loss_ignore_index"]);
    config.shown(&["attention_probs_dropout_prob", "hidden_dropout_prob", "attn_dropout", "ffn_dropout", "image_size"]);
    config.shown(&["expand_ratio", "mlp_ratio", "width_multiplier", "base_attn_unit_dims", "ffn_multiplier"]);
    config.only("output_stride", 32)?;
    let patch = config.count("patch_size")?.unwrap_or(2);
    if patch > 32 {
        return Err(config.refused("patch_size", &patch.into()));
    }
    Ok(Asked {
        library: Library::Transformers,
        second,
        act: config.act("hidden_act")?.unwrap_or(Unary::Silu),
        heads: config.count("num_attention_heads")?.unwrap_or(4),
        patch,
        eps: config.number("layer_norm_eps")?.unwrap_or(1e-5),
    })
}

fn build_timm(source: &Source) -> Result<Built, ArchError> {
    build_by_timm(source, FAMILY.name, "MobileViT", false)
}

fn build_timm_2(source: &Source) -> Result<Built, ArchError> {
    build_by_timm(source, FAMILY_2.name, "MobileViTv2", true)
}

fn build_by_timm(source: &Source, family: &'static str, kind: &str, second: bool) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = timm_asked(config, second)?;
    let (mut net, input) = Layers::new(family, shapes, "stem.conv.weight", *size, 1e-5)?;
    let blocks = timm_blocks(shapes);
    let mut x = active(&mut net, "stem", input, 2, &OF_TIMM, Some(asked.act))?;
    x = trunk(&mut net, x, &blocks, &OF_TIMM, asked)?;
    if net.has("final_conv.conv.weight") {
        x = active(&mut net, "final_conv", x, 1, &OF_TIMM, Some(asked.act))?;
    }
    x = pooled(&mut net, config, "head.global_pool", x)?;
    x = head(&mut net, "head.fc", x)?;
    net.finish(x, format!("{kind}, {} blocks, timm names", blocks.len()))
}

fn build_hf(source: &Source) -> Result<Built, ArchError> {
    build_by_hf(source, HUGGING_FACE.name, "mobilevit.", "MobileViT", false)
}

fn build_hf_2(source: &Source) -> Result<Built, ArchError> {
    build_by_hf(source, HUGGING_FACE_2.name, "mobilevitv2.", "MobileViTv2", true)
}

fn build_by_hf(source: &Source, family: &'static str, base: &str, kind: &str, second: bool) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let asked = hf_asked(config, second)?;
    // The base model saved on its own has nothing in front.
    let base = if shapes.keys().any(|name| name.starts_with(base)) { base } else { "" };
    let stem = format!("{base}conv_stem");
    let (mut net, input) = Layers::new(family, shapes, &format!("{stem}.convolution.weight"), *size, 1e-5)?;
    hf_sizes(config, shapes, base, second)?;
    if second {
        config.shown(&["qkv_bias"]);
    } else {
        let biased = |part: &str| shapes.keys().any(|name| name.ends_with(&format!(".attention.{part}.bias")));
        for part in ["query", "key", "value"] {
            config.tells("qkv_bias", true, biased(part))?;
        }
    }
    let blocks = hf_blocks(shapes, base);
    let mut x = active(&mut net, &stem, input, 2, &OF_HUGGING_FACE, Some(asked.act))?;
    x = trunk(&mut net, x, &blocks, &OF_HUGGING_FACE, asked)?;
    // Version 1 widens the last map.
    if !second {
        x = active(&mut net, &format!("{base}conv_1x1_exp"), x, 1, &OF_HUGGING_FACE, Some(asked.act))?;
    }
    x = net.pool(&format!("{base}pooler"), false, x)?;
    x = head(&mut net, "classifier", x)?;
    let heads = if second { String::new() } else { format!(", {} heads", asked.heads) };
    net.finish(x, format!("{kind}, {} blocks{heads}, Hugging Face names", blocks.len()))
}

/// Holds the sizes in a configuration against the tensors'.
fn hf_sizes(config: &Config, shapes: &Shapes, base: &str, second: bool) -> Result<(), ArchError> {
    let out = |name: String| shapes.get(&format!("{base}{name}.weight")).and_then(|shape| shape.first().copied());
    let layers = 0..count(shapes, &format!("{base}encoder.layer."));
    let attention: Vec<usize> = layers.filter(|i| out(format!("encoder.layer.{i}.conv_1x1.convolution")).is_some()).collect();
    let widths: Vec<usize> = attention.iter().filter_map(|i| out(format!("encoder.layer.{i}.conv_1x1.convolution"))).collect();
    // Version 2 says how much wider than its class it is instead.
    let usual = |sizes: &'static [usize]| config.unsaid(sizes).filter(|_| !second);
    staged::agree(config, "hidden_sizes", &widths, usual(&[144, 192, 240]))?;
    let depths: Vec<usize> = attention.iter().map(|i| count(shapes, &format!("{base}encoder.layer.{i}.transformer.layer."))).collect();
    staged::agree(config, "n_attn_blocks", &depths, config.unsaid(&[2, 4, 3]))?;
    let plain = (0..2).filter_map(|i| out(format!("encoder.layer.{i}.layer.0.reduce_1x1.convolution")));
    let mixed = attention.iter().filter_map(|i| out(format!("encoder.layer.{i}.downsampling_layer.reduce_1x1.convolution")));
    let first = out("conv_stem.convolution".to_owned()).into_iter();
    let necks: Vec<usize> = first.chain(plain).chain(mixed).chain(out("conv_1x1_exp.convolution".to_owned())).collect();
    staged::agree(config, "neck_hidden_sizes", &necks, usual(&[16, 32, 64, 96, 128, 160, 640]))?;
    let kernel = shapes.get(&format!("{base}encoder.layer.2.conv_kxk.convolution.weight")).and_then(|shape| shape.get(2).copied());
    kernel.map_or(Ok(()), |kernel| config.agrees("conv_kernel_size", kernel))
}

fn trunk(net: &mut Layers, mut x: NodeId, blocks: &[Block], names: &Names, asked: Asked) -> Made {
    for block in blocks {
        x = match block {
            Block::Inverted(name, stride) => inverted(net, name, x, *stride, names, asked.act)?,
            Block::Attention(name) if asked.second => summed(net, name, x, names, asked)?,
            Block::Attention(name) => mixed(net, name, x, names, asked)?,
        };
    }
    Ok(x)
}

/// A convolution with its norm and activation.
fn active(net: &mut Layers, name: &str, x: NodeId, stride: usize, names: &Names, act: Option<Unary>) -> Made {
    let x = unit(net, name, names.unit, x, stride)?;
    maybe(net, &format!("{name}.act"), act, x)
}

fn inverted(net: &mut Layers, name: &str, input: NodeId, stride: usize, names: &Names, act: Unary) -> Made {
    let [expand, middle, reduce] = names.inverted.map(|part| format!("{name}.{part}"));
    let mut x = active(net, &expand, input, 1, names, Some(act))?;
    x = active(net, &middle, x, stride, names, Some(act))?;
    x = active(net, &reduce, x, 1, names, None)?;
    if stride == 1 && net.channels(x) == net.channels(input) { net.sum(&format!("{name}.add"), x, input) } else { Ok(x) }
}

/// How a map falls into patches.
#[derive(Clone, Copy)]
struct Patches {
    side: usize,
    rows: usize,
    columns: usize,
}

impl Patches {
    fn of([h, w]: [usize; 2], side: usize) -> Self {
        Self { side, rows: h.div_ceil(side), columns: w.div_ceil(side) }
    }

    fn size(self) -> [usize; 2] {
        [self.rows * self.side, self.columns * self.side]
    }

    /// Places of a patch.
    fn area(self) -> usize {
        self.side * self.side
    }

    fn number(self) -> usize {
        self.rows * self.columns
    }
}

/// The block of version 1: attention among the places that lie alike in their patches.
fn mixed(net: &mut Layers, name: &str, input: NodeId, names: &Names, asked: Asked) -> Made {
    let mut x = active(net, &format!("{name}.conv_kxk"), input, 1, names, Some(asked.act))?;
    x = net.conv(&format!("{name}.{}", names.one), x, 1, Groups::One, Padding::Half)?;
    let size = net.size(x);
    let patches = Patches::of(size, asked.patch);
    x = net.resize(&format!("{name}.there"), x, patches.size(), Resample::Bilinear)?;
    let Patches { side, rows, columns } = patches;
    let width = net.channels(x);
    x = net.reshape(&format!("{name}.patches"), x, &[width, rows, side, columns, side])?;
    x = net.transpose(&format!("{name}.unfolded"), x, &[0, 3, 5, 2, 4, 1])?;
    x = net.reshape_by(&format!("{name}.tokens"), x, patches.area(), &[patches.number(), width])?;
    for block in 0..blocks(net, name, names) {
        x = transformer(net, &format!("{name}.{}{block}", names.blocks), x, names, asked)?;
    }
    x = net.layer_norm(&format!("{name}.{}", names.norm), x, asked.eps)?;
    x = net.reshape(&format!("{name}.apart"), x, &[side, side, rows, columns, width])?;
    x = net.transpose(&format!("{name}.folded"), x, &[0, 5, 3, 1, 4, 2])?;
    x = net.reshape(&format!("{name}.map"), x, &[width, rows * side, columns * side])?;
    x = net.resize(&format!("{name}.back"), x, size, Resample::Bilinear)?;
    x = active(net, &format!("{name}.{}", names.projection), x, 1, names, Some(asked.act))?;
    x = net.concat(&format!("{name}.concat"), 1, &[input, x])?;
    active(net, &format!("{name}.{}", names.fusion), x, 1, names, Some(asked.act))
}

/// How many layers a block's transformer has; one, which is then missing, where it has none.
fn blocks(net: &Layers, name: &str, names: &Names) -> usize {
    numbered(net, |block| format!("{name}.{}{block}.{}.weight", names.blocks, names.norms[0])).max(1)
}

fn transformer(net: &mut Layers, name: &str, input: NodeId, names: &Names, asked: Asked) -> Made {
    let [first, second] = names.norms.map(|norm| format!("{name}.{norm}"));
    let mut x = net.layer_norm(&first, input, asked.eps)?;
    x = if asked.library == Library::Timm {
        let attended = net.self_attention(&format!("{name}.attn.qkv"), x, asked.heads, None)?;
        net.linear(&format!("{name}.attn.proj"), attended)?
    } else {
        let attended = apart(net, &format!("{name}.attention.attention"), x, asked.heads)?;
        net.linear(&format!("{name}.attention.output.dense"), attended)?
    };
    let input = net.sum(&format!("{name}.add1"), input, x)?;
    x = net.layer_norm(&second, input, asked.eps)?;
    let parts = if asked.library == Library::Timm { ["mlp.fc1", "mlp.fc2"] } else { ["intermediate.dense", "output.dense"] };
    let [up, down] = parts.map(|part| format!("{name}.{part}"));
    x = net.mlp([&up, &down], x, asked.act)?;
    net.sum(&format!("{name}.add2"), input, x)
}

/// Attention whose queries, keys and values come of a linear layer each.
fn apart(net: &mut Layers, name: &str, x: NodeId, heads: usize) -> Made {
    let mut part = |which: &str| {
        let part = net.linear(&format!("{name}.{which}"), x)?;
        net.heads(&format!("{name}.{which}.heads"), part, heads)
    };
    let [q, k, v] = [part("query")?, part("key")?, part("value")?];
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    net.attend(name, [q, k, v], scale, None)
}

/// The block of version 2: one query for all places that lie alike in their patches.
fn summed(net: &mut Layers, name: &str, input: NodeId, names: &Names, asked: Asked) -> Made {
    let timm = asked.library == Library::Timm;
    let mut x = input;
    if timm {
        let whole = Patches::of(net.size(x), asked.patch).size();
        x = net.resize(&format!("{name}.there"), x, whole, Resample::BilinearCorners)?;
    }
    x = active(net, &format!("{name}.conv_kxk"), x, 1, names, Some(asked.act))?;
    x = net.conv(&format!("{name}.{}", names.one), x, 1, Groups::One, Padding::Half)?;
    let [h, w] = net.size(x);
    let patches = Patches { side: asked.patch, rows: h / asked.patch, columns: w / asked.patch };
    let [whole_h, whole_w] = patches.size();
    for (axis, size, whole) in [(2, h, whole_h), (3, w, whole_w)] {
        if size != whole {
            x = net.slice(&format!("{name}.whole{axis}"), x, axis, 0, whole)?;
        }
    }
    let Patches { side, rows, columns } = patches;
    let width = net.channels(x);
    x = net.reshape(&format!("{name}.patches"), x, &[width, rows, side, columns, side])?;
    x = net.transpose(&format!("{name}.unfolded"), x, &[0, 1, 3, 5, 2, 4])?;
    x = net.reshape(&format!("{name}.tokens"), x, &[width, patches.area(), patches.number()])?;
    for block in 0..blocks(net, name, names) {
        x = linear_transformer(net, &format!("{name}.{}{block}", names.blocks), x, names, asked)?;
    }
    x = net.group_norm(&format!("{name}.{}", names.norm), x, 1, asked.eps)?;
    x = net.reshape(&format!("{name}.apart"), x, &[width, side, side, rows, columns])?;
    x = net.transpose(&format!("{name}.folded"), x, &[0, 1, 4, 2, 5, 3])?;
    x = net.reshape(&format!("{name}.map"), x, &[width, whole_h, whole_w])?;
    x = net.pad(&format!("{name}.zeros"), x, vec![(0, 0), (0, 0), (0, h - whole_h), (0, w - whole_w)])?;
    active(net, &format!("{name}.{}", names.projection), x, 1, names, None)
}

fn linear_transformer(net: &mut Layers, name: &str, input: NodeId, names: &Names, asked: Asked) -> Made {
    let [first, second] = names.norms.map(|norm| format!("{name}.{norm}"));
    let parts = match asked.library {
        Library::Timm => ["attn.qkv_proj", "attn.out_proj", "mlp.fc1", "mlp.fc2"],
        _ => ["attention.qkv_proj.convolution", "attention.out_proj.convolution", "ffn.conv1.convolution", "ffn.conv2.convolution"],
    };
    let [qkv, out, up, down] = parts.map(|part| format!("{name}.{part}"));
    let point = |net: &mut Layers, name: &str, x| net.conv(name, x, 1, Groups::One, Padding::Half);
    let mut x = net.group_norm(&first, input, 1, asked.eps)?;
    x = point(net, &qkv, x)?;
    x = weighted(net, &qkv, x)?;
    x = point(net, &out, x)?;
    let input = net.sum(&format!("{name}.add1"), input, x)?;
    x = net.group_norm(&second, input, 1, asked.eps)?;
    x = point(net, &up, x)?;
    x = net.act(&format!("{up}.act"), asked.act, x)?;
    x = point(net, &down, x)?;
    net.sum(&format!("{name}.add2"), input, x)
}

/// `relu(v)` times the sum of the keys, each weighted by the softmax of its query, on `[N, 1 + 2 d, places, patches]`.
fn weighted(net: &mut Layers, name: &str, qkv: NodeId) -> Made {
    let channels = net.channels(qkv);
    let d = channels.saturating_sub(1) / 2;
    let query = net.slice(&format!("{name}.q"), qkv, 1, 0, 1)?;
    let key = net.slice(&format!("{name}.k"), qkv, 1, 1, 1 + d)?;
    let value = net.slice(&format!("{name}.v"), qkv, 1, 1 + d, 1 + 2 * d)?;
    let shares = net.add(&format!("{name}.shares"), Op::Softmax { axis: 3 }, &[query])?;
    let context = net.mul(&format!("{name}.weighted"), key, shares)?;
    let context = net.total(&format!("{name}.context"), context, &[3], true)?;
    let value = net.act(&format!("{name}.relu"), Unary::Relu, value)?;
    net.mul(&format!("{name}.attention"), value, context)
}
