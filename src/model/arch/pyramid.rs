//! Transformers in stages whose attention reads a coarser map than it answers for: PVT (Wang et al., arXiv 2102.12122), `PVTv2` (Wang et al.,
//! arXiv 2106.13797), the encoder of `SegFormer` (Xie et al., arXiv 2105.15203) and Twins (Chu et al., arXiv 2104.13840).
//!
//! All are one network under several names: each stage embeds patches of the map before it, and keys and values come of that map brought to
//! fewer places by a convolution as wide as its stride. PVT adds learnt positions, and a class token in its last stage; `PVTv2` and `SegFormer`
//! have a depthwise convolution within their MLPs instead, Twins one behind the first block of a stage. Every other block of Twins-SVT
//! attends within windows. How many heads there are no tensor shows.

use serde_json::Value;

use super::config::{Config, Library, Name};
use super::layers::{Groups, Layers, Padding, count};
use super::windows::Windows;
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Role, Unary};

type Made = Result<NodeId, ArchError>;

pub(super) static SEGFORMER: Family = Family {
    name: "segformer",
    about: "SegFormer's encoder (mit-b0 and its like) under Hugging Face Transformers' names; a segmentation head is left out",
    usual_size: [512, 512],
    preprocessing: || None,
    is_called: |name| name.plain == "segformer" && name.may_be(Library::Transformers),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = |base: &&str| {
            ["patch_embeddings.0.proj.weight", "block.0.0.mlp.dwconv.dwconv.weight"]
                .iter()
                .all(|name| has(shapes, &format!("{base}{name}")))
        };
        if SEGFORMER_BASES.iter().any(shown) { Likeness::Yes } else { Likeness::No }
    },
    build: segformer,
};

pub(super) static PVT: Family = Family {
    name: "pvt",
    about: "PVT under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.plain == "pvt" && name.may_be(Library::Transformers),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = |base: &&str| has(shapes, &format!("{base}patch_embeddings.0.position_embeddings"));
        if PVT_BASES.iter().any(shown) { Likeness::Yes } else { Likeness::No }
    },
    build: pvt,
};

pub(super) static PVT_V2: Family = Family {
    name: "pvt-v2",
    about: "PVTv2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && variant(&PVT_V2_VARIANTS, Some(name)).is_some(),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = ["patch_embed.norm.weight", "stages.0.blocks.0.attn.kv.weight", "stages.0.blocks.0.mlp.dwconv.weight"];
        if shown.iter().all(|name| has(shapes, name)) { Likeness::Yes } else { Likeness::No }
    },
    build: pvt_v2,
};

pub(super) static PVT_V2_HF: Family = Family {
    name: "pvt-v2-hf",
    about: "PVTv2 under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.plain == "pvt-v2" && name.library == Library::Transformers,
    stems: &[],
    within: &["pvt-v2"],
    shows: |shapes| {
        let shown = |base: &&str| has(shapes, &format!("{base}layers.0.patch_embedding.proj.weight"));
        if PVT_V2_BASES.iter().any(shown) { Likeness::Yes } else { Likeness::No }
    },
    build: pvt_v2_hf,
};

pub(super) static TWINS: Family = Family {
    name: "twins",
    about: "Twins-PCPVT and Twins-SVT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && variant(&TWINS_VARIANTS, Some(name)).is_some(),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = ["patch_embeds.0.proj.weight", "pos_block.0.proj.0.weight", "blocks.0.0.norm1.weight"];
        if shown.iter().all(|name| has(shapes, name)) { Likeness::Yes } else { Likeness::No }
    },
    build: twins,
};

/// What stands before the encoder's names: a model with a head, one without, and that without the prefix that all its tensors have.
const SEGFORMER_BASES: [&str; 3] = ["segformer.encoder.", "encoder.", ""];
const PVT_BASES: [&str; 3] = ["pvt.encoder.", "encoder.", ""];
const PVT_V2_BASES: [&str; 3] = ["pvt_v2.encoder.", "encoder.", ""];

fn has(shapes: &Shapes, name: &str) -> bool {
    shapes.contains_key(name)
}

/// What a library calls the parts: `{s}` stands for the stage. A part without a name there is none of.
struct Names {
    /// Embedding of patches, and its norm, in the first stage.
    first: [&'static str; 2],
    /// In later ones.
    embedding: [&'static str; 2],
    positions: &'static str,
    class: &'static str,
    /// In front of a block's number.
    blocks: &'static str,
    norms: [&'static str; 2],
    query: &'static str,
    /// Of keys and values, in one layer or two.
    keys: &'static [&'static str],
    /// The convolution to a coarser map, and its norm.
    coarser: [&'static str; 2],
    proj: &'static str,
    mlp: [&'static str; 2],
    /// The convolution within the MLP.
    depthwise: &'static str,
    /// The convolution behind a stage's first block.
    behind_first: &'static str,
    /// Of each stage, or only of the last.
    norm: &'static str,
    head: &'static str,
}

const SEGFORMER_NAMES: Names = Names {
    first: ["patch_embeddings.0.proj", "patch_embeddings.0.layer_norm"],
    embedding: ["patch_embeddings.{s}.proj", "patch_embeddings.{s}.layer_norm"],
    positions: "",
    class: "",
    blocks: "block.{s}.",
    norms: ["layer_norm_1", "layer_norm_2"],
    query: "attention.self.query",
    keys: &["attention.self.key", "attention.self.value"],
    coarser: ["attention.self.sr", "attention.self.layer_norm"],
    proj: "attention.output.dense",
    mlp: ["mlp.dense1", "mlp.dense2"],
    depthwise: "mlp.dwconv.dwconv",
    behind_first: "",
    norm: "layer_norm.{s}",
    head: "classifier",
};

const PVT_NAMES: Names = Names {
    first: ["patch_embeddings.0.projection", "patch_embeddings.0.layer_norm"],
    embedding: ["patch_embeddings.{s}.projection", "patch_embeddings.{s}.layer_norm"],
    positions: "patch_embeddings.{s}.position_embeddings",
    class: "patch_embeddings.{s}.cls_token",
    coarser: ["attention.self.sequence_reduction", "attention.self.layer_norm"],
    depthwise: "",
    norm: "layer_norm",
    ..SEGFORMER_NAMES
};

const PVT_V2_HF_NAMES: Names = Names {
    first: ["layers.0.patch_embedding.proj", "layers.0.patch_embedding.layer_norm"],
    embedding: ["layers.{s}.patch_embedding.proj", "layers.{s}.patch_embedding.layer_norm"],
    blocks: "layers.{s}.blocks.",
    query: "attention.query",
    keys: &["attention.key", "attention.value"],
    coarser: ["attention.spatial_reduction", "attention.layer_norm"],
    proj: "attention.proj",
    norm: "layers.{s}.layer_norm",
    ..SEGFORMER_NAMES
};

const PVT_V2_NAMES: Names = Names {
    first: ["patch_embed.proj", "patch_embed.norm"],
    embedding: ["stages.{s}.downsample.proj", "stages.{s}.downsample.norm"],
    positions: "",
    class: "",
    blocks: "stages.{s}.blocks.",
    norms: ["norm1", "norm2"],
    query: "attn.q",
    keys: &["attn.kv"],
    coarser: ["attn.sr", "attn.norm"],
    proj: "attn.proj",
    mlp: ["mlp.fc1", "mlp.fc2"],
    depthwise: "mlp.dwconv",
    behind_first: "",
    norm: "stages.{s}.norm",
    head: "head",
};

const TWINS_NAMES: Names = Names {
    first: ["patch_embeds.0.proj", "patch_embeds.0.norm"],
    embedding: ["patch_embeds.{s}.proj", "patch_embeds.{s}.norm"],
    blocks: "blocks.{s}.",
    depthwise: "",
    behind_first: "pos_block.{s}.proj.0",
    norm: "norm",
    ..PVT_V2_NAMES
};

/// The linear layer of Twins-SVT's attention within windows.
const WINDOWED: &str = "attn.qkv";

impl Names {
    fn embedding(&self, stage: usize) -> [String; 2] {
        if stage == 0 { self.first.map(str::to_owned) } else { self.embedding.map(|name| of(name, stage)) }
    }
}

/// A name in a stage.
fn of(name: &str, stage: usize) -> String {
    name.replace("{s}", &stage.to_string())
}

/// What a configuration calls the lists that have a number for every stage.
struct Keys {
    widths: &'static str,
    kernels: Option<&'static str>,
    strides: Option<&'static str>,
    coarser: &'static str,
    heads: &'static str,
}

/// What an architecture of this name has where nothing else is said.
struct Variant {
    name: &'static str,
    depths: [usize; 4],
    widths: [usize; 4],
    heads: [usize; 4],
    ratios: [usize; 4],
    kernels: [usize; 4],
    strides: [usize; 4],
    /// Side of the windows of every other block; none where all blocks see the whole map.
    windows: Option<usize>,
    linear: bool,
}

const V2: Variant = Variant {
    name: "",
    depths: [2, 2, 2, 2],
    widths: [64, 128, 320, 512],
    heads: [1, 2, 5, 8],
    ratios: [8, 8, 4, 4],
    kernels: [7, 3, 3, 3],
    strides: [4, 2, 2, 2],
    windows: None,
    linear: false,
};

/// The defaults of Transformers' configuration.
const SEGFORMER_USUAL: Variant = Variant { name: "segformer", widths: [32, 64, 160, 256], ratios: [4, 4, 4, 4], ..V2 };
const PVT_USUAL: Variant = Variant { name: "pvt", kernels: [4, 2, 2, 2], ..V2 };
const PVT_V2_USUAL: Variant = Variant { name: "pvt_v2", widths: [32, 64, 160, 256], ..V2 };

static PVT_V2_VARIANTS: [Variant; 7] = [
    Variant { name: "pvt_v2_b0", widths: [32, 64, 160, 256], ..V2 },
    Variant { name: "pvt_v2_b1", ..V2 },
    Variant { name: "pvt_v2_b2", depths: [3, 4, 6, 3], ..V2 },
    Variant { name: "pvt_v2_b3", depths: [3, 4, 18, 3], ..V2 },
    Variant { name: "pvt_v2_b4", depths: [3, 8, 27, 3], ..V2 },
    Variant { name: "pvt_v2_b5", depths: [3, 6, 40, 3], ratios: [4, 4, 4, 4], ..V2 },
    Variant { name: "pvt_v2_b2_li", depths: [3, 4, 6, 3], linear: true, ..V2 },
];

const PCPVT: Variant = Variant { depths: [3, 4, 6, 3], kernels: [4, 2, 2, 2], ..V2 };
const SVT: Variant = Variant { depths: [2, 2, 18, 2], ratios: [4, 4, 4, 4], windows: Some(7), ..PCPVT };

static TWINS_VARIANTS: [Variant; 6] = [
    Variant { name: "twins_pcpvt_small", ..PCPVT },
    Variant { name: "twins_pcpvt_base", depths: [3, 4, 18, 3], ..PCPVT },
    Variant { name: "twins_pcpvt_large", depths: [3, 8, 27, 3], ..PCPVT },
    Variant { name: "twins_svt_small", depths: [2, 2, 10, 4], widths: [64, 128, 256, 512], heads: [2, 4, 8, 16], ..SVT },
    Variant { name: "twins_svt_base", widths: [96, 192, 384, 768], heads: [3, 6, 12, 24], ..SVT },
    Variant { name: "twins_svt_large", widths: [128, 256, 512, 1024], heads: [4, 8, 16, 32], ..SVT },
];

/// As many places as keys and values come of along each side, in the linear variant.
const LINEAR_SIDE: usize = 7;

fn variant<'v>(all: &'v [Variant], name: Option<&Name>) -> Option<&'v Variant> {
    let name = name?;
    all.iter().find(|variant| name.is_one_of([variant.name]))
}

/// The sizes that tensors show, stage by stage.
struct Found {
    depths: Vec<usize>,
    widths: Vec<usize>,
    kernels: Vec<usize>,
    coarser: Vec<usize>,
    hidden: Vec<usize>,
    bias: bool,
}

impl Found {
    fn of(shapes: &Shapes, base: &str, names: &Names) -> Self {
        let side = |name: String, axis: usize| shapes.get(&format!("{base}{name}.weight")).and_then(|shape| shape.get(axis)).copied();
        let stages: Vec<usize> = (0..shapes.len()).take_while(|&stage| side(names.embedding(stage)[0].clone(), 0).is_some()).collect();
        let each = |read: &dyn Fn(usize) -> usize| stages.iter().map(|&stage| read(stage)).collect::<Vec<_>>();
        let depth = |stage: usize| count(shapes, &format!("{base}{}", of(names.blocks, stage)));
        let block = |stage: usize, block: usize, part: &str| format!("{}{block}.{part}", of(names.blocks, stage));
        Self {
            depths: each(&depth),
            widths: each(&|stage| side(names.embedding(stage)[0].clone(), 0).unwrap_or(0)),
            kernels: each(&|stage| side(names.embedding(stage)[0].clone(), 2).unwrap_or(0)),
            coarser: each(&|stage| (0..depth(stage)).find_map(|i| side(block(stage, i, names.coarser[0]), 2)).unwrap_or(1)),
            hidden: each(&|stage| side(block(stage, 0, names.mlp[0]), 0).unwrap_or(0)),
            bias: has(shapes, &format!("{base}{}.bias", block(0, 0, names.query))),
        }
    }

    fn stages(&self) -> usize {
        self.depths.len()
    }

    /// For people.
    fn told(&self) -> String {
        let depths = self.depths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        format!("stages of {depths} blocks, {} wide at last", self.widths.last().copied().unwrap_or(0))
    }
}

/// What tensors do not show.
struct Asked {
    act: Unary,
    heads: Vec<usize>,
    strides: Vec<usize>,
    /// Whether patches overlap, and are padded.
    overlap: bool,
    eps: f64,
    /// Of the norms behind an embedding and a coarser map.
    inner_eps: f64,
    linear: bool,
    /// Sides of windows, stage by stage; empty where no block has any.
    windows: Vec<usize>,
}

impl Asked {
    /// Reads the lists of a configuration and holds them against the tensors. `usual` is what stands where a list is not there.
    fn of(config: &Config, found: &Found, keys: &Keys, usual: &Variant) -> Result<Self, ArchError> {
        let stages = found.stages();
        // Under the name of a kind alone, without a configuration, the tensors say how large it is.
        let told = |numbers: [usize; 4]| (config.library() == Library::Transformers || keys.strides.is_none()).then_some(numbers);
        agree(config, "depths", told(usual.depths), &found.depths)?;
        agree(config, keys.widths, told(usual.widths), &found.widths)?;
        if let Some(kernels) = keys.kernels {
            agree(config, kernels, told(usual.kernels), &found.kernels)?;
        }
        ratios(config, "mlp_ratios", told(usual.ratios), found)?;
        let key = keys.strides.map_or("linear", |_| "linear_attention");
        let linear = config.flag(key, usual.linear)?;
        if linear {
            // Averages stand where the others have convolutions that stride.
            config.shown(&[keys.coarser]);
            if found.coarser.iter().any(|&stride| stride != 1) {
                return Err(config.refused(key, &Value::Bool(true)));
            }
        } else {
            agree(config, keys.coarser, told([8, 4, 2, 1]), &found.coarser)?;
        }
        if config.flag("qkv_bias", found.bias)? != found.bias {
            return Err(config.refused("qkv_bias", &Value::Bool(!found.bias)));
        }
        let strides = match keys.strides {
            Some(key) => each(config, key, &usual.strides, stages)?,
            None => (0..stages).map(|stage| if stage == 0 { 4 } else { 2 }).collect(),
        };
        let heads = each(config, keys.heads, &usual.heads, stages)?;
        Ok(Self {
            act: Unary::Gelu { tanh: false },
            heads,
            strides,
            overlap: true,
            eps: 1e-6,
            inner_eps: 1e-6,
            linear,
            windows: Vec::new(),
        })
    }
}

/// A number for every stage, as `key` or the architecture says.
pub(super) fn each(config: &Config, key: &str, usual: &[usize], stages: usize) -> Result<Vec<usize>, ArchError> {
    let said = config.counts(key)?.unwrap_or_else(|| usual.to_vec());
    match said[..] {
        [one] => Ok(vec![one; stages]),
        _ if said.len() == stages => Ok(said),
        _ => Err(ArchError::Unsupported(format!("`{key}` has {} numbers, and the tensors show {stages} stages", said.len()))),
    }
}

/// Refuses a list that says something else than the tensors show.
pub(super) fn agree<const N: usize>(config: &Config, key: &str, usual: Option<[usize; N]>, found: &[usize]) -> Result<(), ArchError> {
    match config.counts(key)?.or(usual.map(|numbers| numbers.to_vec())) {
        Some(said) => fitting(key, &said, found),
        None => Ok(()),
    }
}

pub(super) fn fitting(key: &str, said: &[usize], found: &[usize]) -> Result<(), ArchError> {
    let same = said == found || matches!(said, [one] if found.iter().all(|number| number == one));
    if same { Ok(()) } else { Err(apart(key, &format!("{said:?}"), &format!("{found:?}"))) }
}

/// What is said of a network is not what its tensors are.
pub(super) fn apart(key: &str, said: &str, found: &str) -> ArchError {
    ArchError::Unsupported(format!("`{key}` is {said}, and the tensors show {found}: the two are of different models"))
}

/// Refuses widths of MLPs that are not those of the tensors: `int(width * ratio)`.
fn ratios(config: &Config, key: &str, usual: Option<[usize; 4]>, found: &Found) -> Result<(), ArchError> {
    let said = match config.get(key) {
        Some(Value::Array(all)) => Some(all.iter().map(|one| one.as_f64().unwrap_or(0.0)).collect::<Vec<_>>()),
        Some(one) => Some(vec![one.as_f64().unwrap_or(0.0)]),
        None => usual.map(|numbers| numbers.map(|number| number as f64).to_vec()),
    };
    let Some(said) = said else { return Ok(()) };
    let said: Vec<f64> = if let [one] = said[..] { vec![one; found.stages()] } else { said };
    let wanted: Vec<usize> = said.iter().zip(&found.widths).map(|(ratio, width)| (ratio * *width as f64) as usize).collect();
    if said.len() == found.stages() && wanted == found.hidden {
        return Ok(());
    }
    Err(apart(key, &format!("{said:?}"), &format!("{:?} of {:?}", found.hidden, found.widths)))
}

/// What all these networks are made of: the tokens behind the last stage, and height and width of their map.
fn network(
    net: &mut Layers,
    base: &str,
    input: NodeId,
    names: &Names,
    found: &Found,
    asked: &Asked,
) -> Result<(NodeId, [usize; 2]), ArchError> {
    let mut x = input;
    let mut size = [0, 0];
    // At least the first embedding is looked for.
    for stage in 0..found.stages().max(1) {
        if stage > 0 {
            x = net.map(&format!("{base}stage.{stage}.map"), x, size)?;
        }
        let at = |list: &[usize]| list.get(stage).copied().unwrap_or(1);
        let [embedding, norm] = names.embedding(stage).map(|name| format!("{base}{name}"));
        let padding = if asked.overlap { Padding::Half } else { Padding::Valid };
        x = net.conv(&embedding, x, at(&asked.strides).max(1), Groups::One, padding)?;
        size = net.size(x);
        x = net.tokens(&format!("{embedding}.tokens"), x)?;
        x = net.layer_norm(&norm, x, asked.inner_eps)?;
        if !names.positions.is_empty() {
            x = positions(net, &format!("{base}{}", of(names.positions, stage)), &format!("{base}{}", of(names.class, stage)), x)?;
        }
        let step = Step { size, heads: at(&asked.heads), coarser: at(&found.coarser).max(1), window: asked.windows.get(stage).copied() };
        for i in 0..at(&found.depths) {
            x = block(net, &format!("{base}{}{i}", of(names.blocks, stage)), x, names, asked, step)?;
            if i == 0 && !names.behind_first.is_empty() {
                let name = format!("{base}{}", of(names.behind_first, stage));
                let map = net.map(&format!("{name}.map"), x, size)?;
                let moved = net.conv(&name, map, 1, Groups::Depthwise, Padding::Half)?;
                let sum = net.sum(&format!("{name}.add"), moved, map)?;
                x = net.tokens(&format!("{name}.tokens"), sum)?;
            }
        }
        if names.norm.contains("{s}") || stage + 1 == found.stages() {
            x = net.layer_norm(&format!("{base}{}", of(names.norm, stage)), x, asked.eps)?;
        }
    }
    Ok((x, size))
}

/// Learnt positions of as many places as there are, and the class token, where the file has one. Transformers resamples neither.
fn positions(net: &mut Layers, name: &str, class: &str, x: NodeId) -> Made {
    let x = if net.has(class) { net.token_in_front(class, x)? } else { x };
    let dims = net.dims(x);
    let &[tokens, width] = dims.as_slice() else { return Ok(x) };
    let table = net.tensor(name, &[1, tokens, width], Role::Embedding);
    net.sum(&format!("{name}.add"), x, table)
}

/// A block's place.
#[derive(Clone, Copy)]
struct Step {
    size: [usize; 2],
    heads: usize,
    /// Stride of the convolution to a coarser map.
    coarser: usize,
    window: Option<usize>,
}

fn block(net: &mut Layers, at: &str, x: NodeId, names: &Names, asked: &Asked, step: Step) -> Made {
    let [before, between] = names.norms.map(|name| format!("{at}.{name}"));
    let normed = net.layer_norm(&before, x, asked.eps)?;
    let windowed = format!("{at}.{WINDOWED}");
    let mixed = match step.window {
        Some(side) if net.has(&format!("{windowed}.weight")) => within_windows(net, &windowed, normed, side, step)?,
        _ => attention(net, at, normed, names, asked, step)?,
    };
    let mixed = net.linear(&format!("{at}.{}", names.proj), mixed)?;
    let x = net.sum(&format!("{at}.add"), x, mixed)?;
    let normed = net.layer_norm(&between, x, asked.eps)?;
    let [first, second] = names.mlp.map(|name| format!("{at}.{name}"));
    let mut inner = net.linear(&first, normed)?;
    if !names.depthwise.is_empty() {
        if asked.linear {
            inner = net.act(&format!("{first}.relu"), Unary::Relu, inner)?;
        }
        let name = format!("{at}.{}", names.depthwise);
        let map = net.map(&format!("{name}.map"), inner, step.size)?;
        let map = net.conv(&name, map, 1, Groups::Depthwise, Padding::Half)?;
        inner = net.tokens(&format!("{name}.tokens"), map)?;
    }
    inner = net.act(&format!("{first}.act"), asked.act, inner)?;
    let more = net.linear(&second, inner)?;
    net.sum(&format!("{at}.add2"), x, more)
}

/// Every place asks; keys and values come of a coarser map.
fn attention(net: &mut Layers, at: &str, x: NodeId, names: &Names, asked: &Asked, step: Step) -> Made {
    let query = format!("{at}.{}", names.query);
    let q = net.linear(&query, x)?;
    let [coarser, norm] = names.coarser.map(|name| format!("{at}.{name}"));
    let mut from = x;
    // What one block of a stage has, all have.
    if step.coarser > 1 || asked.linear || net.has(&format!("{coarser}.weight")) {
        let mut map = net.map(&format!("{coarser}.map"), x, step.size)?;
        if asked.linear {
            map = averaged(net, &format!("{coarser}.pool"), map)?;
        }
        map = net.conv(&coarser, map, step.coarser, Groups::One, Padding::Valid)?;
        from = net.tokens(&format!("{coarser}.tokens"), map)?;
        from = net.layer_norm(&norm, from, asked.inner_eps)?;
        if asked.linear {
            from = net.act(&format!("{norm}.act"), Unary::Gelu { tanh: false }, from)?;
        }
    }
    let mut pair = Vec::new();
    for key in names.keys {
        pair.push(net.linear(&format!("{at}.{key}"), from)?);
    }
    if let [both] = pair[..] {
        pair = net.split(&format!("{query}.pair"), both, 2, 2)?;
    }
    let &[k, v] = pair.as_slice() else { return Ok(x) };
    if !net.is_whole() {
        return Ok(x);
    }
    let q = net.heads(&format!("{query}.heads"), q, step.heads)?;
    let k = net.heads(&format!("{query}.keys"), k, step.heads)?;
    let v = net.heads(&format!("{query}.values"), v, step.heads)?;
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    net.attend(&query, [q, k, v], scale, None)
}

/// Places attend to those in their window; windows that reach over the border are filled up with zeros.
fn within_windows(net: &mut Layers, qkv: &str, x: NodeId, side: usize, step: Step) -> Made {
    let [h, w] = step.size;
    let width = net.width(x);
    if !net.is_whole() || side == 0 {
        net.look(&format!("{qkv}.bias"));
        return Ok(x);
    }
    let [more_h, more_w] = [h, w].map(|size| size.next_multiple_of(side) - size);
    let places = net.reshape(&format!("{qkv}.places"), x, &[h, w, width])?;
    let places = net.pad(&format!("{qkv}.pad"), places, vec![(0, 0), (0, more_h), (0, more_w), (0, 0)])?;
    let windows = Windows { side: [side; 2], grid: false };
    let apart = windows.apart(net, qkv, places)?;
    let mixed = net.self_attention(qkv, apart, step.heads, None)?;
    let mut back = windows.together(net, qkv, mixed, [h + more_h, w + more_w])?;
    if more_h > 0 {
        back = net.slice(&format!("{qkv}.rows"), back, 1, 0, h)?;
    }
    if more_w > 0 {
        back = net.slice(&format!("{qkv}.columns"), back, 2, 0, w)?;
    }
    net.reshape(&format!("{qkv}.tokens"), back, &[h * w, width])
}

/// A map's means over 7 x 7 areas that may overlap (`AdaptiveAvgPool2d`): two products with constant matrices.
fn averaged(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let [h, w] = net.size(x);
    if !net.is_whole() || [h, w] == [LINEAR_SIDE; 2] {
        return Ok(x);
    }
    let share = |size: usize, i: usize, at: usize| {
        let (start, end) = (i * size / LINEAR_SIDE, ((i + 1) * size).div_ceil(LINEAR_SIDE));
        if (start..end).contains(&at) { 1.0 / (end - start) as f32 } else { 0.0 }
    };
    let down: Vec<f32> = (0..LINEAR_SIDE).flat_map(|i| (0..h).map(move |at| share(h, i, at))).collect();
    let across: Vec<f32> = (0..w).flat_map(|at| (0..LINEAR_SIDE).map(move |i| share(w, i, at))).collect();
    let down = net.constant(&format!("{name}.down"), &[LINEAR_SIDE, h], &down);
    let across = net.constant(&format!("{name}.across"), &[w, LINEAR_SIDE], &across);
    let rows = net.matmul(&format!("{name}.rows"), down, x)?;
    net.matmul(name, rows, across)
}

/// The mean of all tokens, and the linear layer, where there is one.
fn pooled(net: &mut Layers, shapes: &Shapes, head: &str, x: NodeId) -> Made {
    let x = net.mean("pool", x, &[1], false)?;
    if shapes.keys().any(|name| name.starts_with(&format!("{head}."))) { net.linear(head, x) } else { Ok(x) }
}

/// Which of the prefixes the tensors have.
pub(super) fn base(shapes: &Shapes, bases: &[&'static str], stem: &str) -> &'static str {
    let there = |base: &&&str| has(shapes, &format!("{base}{stem}"));
    bases.iter().find(there).or(bases.first()).copied().unwrap_or_default()
}

/// Refuses tensors of which neither a configuration nor a name says more.
pub(super) fn said(config: &Config, family: &Family, names: &[&str]) -> Result<(), ArchError> {
    if config.library() == Library::Transformers || config.name.is_some() {
        return Ok(());
    }
    Err(needs_name(family, names))
}

pub(super) fn needs_name(family: &Family, names: &[&str]) -> ArchError {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    ArchError::NeedsName { family: family.name, what: "the number of heads".into(), names }
}

/// Fields of Transformers that act in training only, or that the image decides.
const HF_SHOWN: [&str; 8] = [
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "drop_path_rate",
    "hidden_dropout_prob",
    "image_size",
    "decoder_hidden_size",
    "semantic_loss_ignore_index",
    "downsampling_rates",
];

const TIMM_DROPS: [&str; 3] = ["attn_drop_rate", "pos_drop_rate", "proj_drop_rate"];

fn segformer(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    said(config, &SEGFORMER, &["segformer"])?;
    config.shown(&HF_SHOWN);
    // The library gives its norms PyTorch's own, whatever this says.
    config.shown(&["layer_norm_eps"]);
    let names = &SEGFORMER_NAMES;
    let base = base(shapes, &SEGFORMER_BASES, "patch_embeddings.0.proj.weight");
    let found = Found::of(shapes, base, names);
    config.agrees("num_encoder_blocks", found.stages())?;
    let keys = Keys {
        widths: "hidden_sizes",
        kernels: Some("patch_sizes"),
        strides: Some("strides"),
        coarser: "sr_ratios",
        heads: "num_attention_heads",
    };
    let asked = Asked::of(config, &found, &keys, &SEGFORMER_USUAL)?;
    let act = config.act("hidden_act")?.unwrap_or(asked.act);
    let asked = Asked { act, eps: 1e-5, inner_eps: 1e-5, linear: false, ..asked };
    let (mut net, input) = Layers::new(SEGFORMER.name, shapes, &format!("{base}{}.weight", names.first[0]), *size, 1e-5)?;
    let (x, map) = network(&mut net, base, input, names, &found, &asked)?;
    net.leave_out("decode_head.", "the segmentation head");
    let as_map = config.flag("reshape_last_stage", true)?;
    let x = if shapes.keys().any(|name| name.starts_with("classifier.")) {
        pooled(&mut net, shapes, names.head, x)?
    } else if as_map {
        net.map("map", x, map)?
    } else {
        x
    };
    net.finish(x, format!("SegFormer, {}, Hugging Face names", found.told()))
}

fn pvt(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    said(config, &PVT, &["pvt"])?;
    config.shown(&HF_SHOWN);
    let names = &PVT_NAMES;
    let base = base(shapes, &PVT_BASES, "patch_embeddings.0.projection.weight");
    let found = Found::of(shapes, base, names);
    config.agrees("num_encoder_blocks", found.stages())?;
    // The library takes the stride for the kernel, and the patch for the stride.
    let keys = Keys {
        widths: "hidden_sizes",
        kernels: Some("strides"),
        strides: Some("patch_sizes"),
        coarser: "sequence_reduction_ratios",
        heads: "num_attention_heads",
    };
    let asked = Asked::of(config, &found, &keys, &PVT_USUAL)?;
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-6);
    let act = config.act("hidden_act")?.unwrap_or(asked.act);
    let asked = Asked { act, eps, inner_eps: eps, overlap: false, ..asked };
    let (mut net, input) = Layers::new(PVT.name, shapes, &format!("{base}{}.weight", names.first[0]), *size, 1e-5)?;
    let (mut x, _) = network(&mut net, base, input, names, &found, &asked)?;
    if shapes.keys().any(|name| name.starts_with("classifier.")) {
        x = net.pick("class", x, 1, 0)?;
        x = net.linear(names.head, x)?;
    }
    net.finish(x, format!("PVT, {}, Hugging Face names", found.told()))
}

fn pvt_v2_hf(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    said(config, &PVT_V2_HF, &["transformers/pvt_v2"])?;
    config.shown(&HF_SHOWN);
    let names = &PVT_V2_HF_NAMES;
    let base = base(shapes, &PVT_V2_BASES, "layers.0.patch_embedding.proj.weight");
    let found = Found::of(shapes, base, names);
    config.agrees("num_encoder_blocks", found.stages())?;
    let keys = Keys {
        widths: "hidden_sizes",
        kernels: Some("patch_sizes"),
        strides: Some("strides"),
        coarser: "sr_ratios",
        heads: "num_attention_heads",
    };
    let asked = Asked::of(config, &found, &keys, &PVT_V2_USUAL)?;
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-6);
    let act = config.act("hidden_act")?.unwrap_or(asked.act);
    let linear = asked.linear;
    let asked = Asked { act, eps, inner_eps: eps, ..asked };
    let (mut net, input) = Layers::new(PVT_V2_HF.name, shapes, &format!("{base}{}.weight", names.first[0]), *size, 1e-5)?;
    let (x, map) = network(&mut net, base, input, names, &found, &asked)?;
    let x = if shapes.keys().any(|name| name.starts_with("classifier.")) {
        pooled(&mut net, shapes, names.head, x)?
    } else {
        net.map("map", x, map)?
    };
    net.finish(x, format!("PVTv2, {}{}, Hugging Face names", found.told(), linearly(linear)))
}

fn linearly(linear: bool) -> &'static str {
    if linear { ", linear attention" } else { "" }
}

const TIMM_KEYS: Keys = Keys { widths: "embed_dims", kernels: None, strides: None, coarser: "sr_ratios", heads: "num_heads" };

fn pvt_v2(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let usual = variant(&PVT_V2_VARIANTS, config.name.as_ref());
    let usual = usual.ok_or_else(|| needs_name(&PVT_V2, &["timm/pvt_v2_b0", "timm/pvt_v2_b2"]))?;
    config.shown(&TIMM_DROPS);
    let names = &PVT_V2_NAMES;
    let found = Found::of(shapes, "", names);
    let asked = Asked { inner_eps: 1e-5, ..Asked::of(config, &found, &TIMM_KEYS, usual)? };
    let (mut net, input) = Layers::new(PVT_V2.name, shapes, &format!("{}.weight", names.first[0]), *size, 1e-5)?;
    let (x, map) = network(&mut net, "", input, names, &found, &asked)?;
    let x = match config.pooling("avg")? {
        "avg" => pooled(&mut net, shapes, names.head, x)?,
        "" if !has(shapes, "head.weight") => net.map("map", x, map)?,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    net.finish(x, format!("PVTv2, {}{}, timm names", found.told(), linearly(asked.linear)))
}

fn twins(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let usual = variant(&TWINS_VARIANTS, config.name.as_ref());
    let usual = usual.ok_or_else(|| needs_name(&TWINS, &["timm/twins_pcpvt_small", "timm/twins_svt_small"]))?;
    config.shown(&TIMM_DROPS);
    config.shown(&["img_size"]);
    let names = &TWINS_NAMES;
    let found = Found::of(shapes, "", names);
    config.agrees("patch_size", found.kernels.first().copied().unwrap_or(0))?;
    let mut asked =
        Asked { inner_eps: 1e-5, overlap: false, strides: found.kernels.clone(), ..Asked::of(config, &found, &TIMM_KEYS, usual)? };
    let windows = config.counts("wss")?.or(usual.windows.map(|side| vec![side; found.stages()]));
    asked.windows = windows.unwrap_or_default();
    let (mut net, input) = Layers::new(TWINS.name, shapes, &format!("{}.weight", names.first[0]), *size, 1e-5)?;
    let (x, _) = network(&mut net, "", input, names, &found, &asked)?;
    let x = match config.pooling("avg")? {
        "avg" => pooled(&mut net, shapes, names.head, x)?,
        "" if !has(shapes, "head.weight") => x,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    let kind = if asked.windows.is_empty() { "Twins, PCPVT" } else { "Twins, SVT" };
    net.finish(x, format!("{kind}, {}, timm names", found.told()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_one_number_for_all_stages_or_one_for_each() {
        let said = json!({"model_type": "pvt", "num_attention_heads": [1, 2, 5], "strides": 2});
        let config = Config::of(Some(&said), None, false).expect("read");
        assert_eq!(each(&config, "num_attention_heads", &[1, 2, 5, 8], 3).expect("three"), [1, 2, 5]);
        assert!(each(&config, "num_attention_heads", &[1, 2, 5, 8], 4).is_err());
        assert_eq!(each(&config, "strides", &[4, 2], 3).expect("one"), [2, 2, 2]);
        assert!(agree(&config, "strides", Some([2, 2]), &[2, 2]).is_ok() && agree(&config, "strides", Some([2, 2]), &[4, 2]).is_err());
    }

    #[test]
    fn heads_come_of_a_name_or_a_configuration() {
        let shapes = Shapes::from([("patch_embed.proj.weight".to_owned(), vec![8, 3, 7, 7])]);
        let told = pvt_v2(&Source::plain(&shapes, [32, 32])).expect_err("refused").to_string();
        assert!(told.contains("number of heads") && told.contains("timm/pvt_v2_b0"), "{told}");
        assert!(variant(&TWINS_VARIANTS, Some(&Name::of("twins_svt_base.in1k", Library::Timm))).is_some());
        assert!(variant(&PVT_V2_VARIANTS, Some(&Name::of("pvt_v2_b6", Library::Timm))).is_none());
    }
}
