//! `SegFormer`'s encoder, PVT and `PVTv2` under Hugging Face Transformers' names.

use super::blocks::network;
use super::sizes::{Asked, Found, Keys};
use super::{Names, V2, Variant, base, has, linearly, pooled, said};
use crate::model::arch::config::Library;
use crate::model::arch::layers::Layers;
use crate::model::arch::{ArchError, Built, Family, Likeness, Source};

pub(in crate::model::arch) static SEGFORMER: Family = Family {
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

pub(in crate::model::arch) static PVT: Family = Family {
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

pub(in crate::model::arch) static PVT_V2: Family = Family {
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
    build: pvt_v2,
};

/// What stands before the encoder's names: a model with a head, one without, and that without the prefix that all its tensors have.
const SEGFORMER_BASES: [&str; 3] = ["segformer.encoder.", "encoder.", ""];
const PVT_BASES: [&str; 3] = ["pvt.encoder.", "encoder.", ""];
const PVT_V2_BASES: [&str; 3] = ["pvt_v2.encoder.", "encoder.", ""];

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

const PVT_V2_NAMES: Names = Names {
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

/// The defaults of Transformers' configuration.
const SEGFORMER_USUAL: Variant = Variant { name: "segformer", widths: [32, 64, 160, 256], ratios: [4, 4, 4, 4], ..V2 };
const PVT_USUAL: Variant = Variant { name: "pvt", kernels: [4, 2, 2, 2], ..V2 };
const PVT_V2_USUAL: Variant = Variant { name: "pvt_v2", widths: [32, 64, 160, 256], ..V2 };

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

/// The lists as `SegFormer` and `PVTv2` call them.
const KEYS: Keys = Keys {
    widths: "hidden_sizes",
    kernels: Some("patch_sizes"),
    strides: Some("strides"),
    coarser: "sr_ratios",
    heads: "num_attention_heads",
};

fn segformer(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    said(config, &SEGFORMER, &["segformer"])?;
    config.shown(&HF_SHOWN);
    // The library gives its norms PyTorch's own, whatever this says.
    config.shown(&["layer_norm_eps"]);
    let names = &SEGFORMER_NAMES;
    let base = base(shapes, &SEGFORMER_BASES, "patch_embeddings.0.proj.weight");
    let found = Found::of(shapes, base, names);
    config.agrees_or("num_encoder_blocks", 4, found.stages())?;
    let asked = Asked::of(config, &found, &KEYS, &SEGFORMER_USUAL)?;
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
    config.agrees_or("num_encoder_blocks", 4, found.stages())?;
    // The library takes the stride for the kernel, and the patch for the stride.
    let keys = Keys { kernels: Some("strides"), strides: Some("patch_sizes"), coarser: "sequence_reduction_ratios", ..KEYS };
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

fn pvt_v2(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    said(config, &PVT_V2, &["transformers/pvt_v2"])?;
    config.shown(&HF_SHOWN);
    let names = &PVT_V2_NAMES;
    let base = base(shapes, &PVT_V2_BASES, "layers.0.patch_embedding.proj.weight");
    let found = Found::of(shapes, base, names);
    config.agrees_or("num_encoder_blocks", 4, found.stages())?;
    let asked = Asked::of(config, &found, &KEYS, &PVT_V2_USUAL)?;
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-6);
    let act = config.act("hidden_act")?.unwrap_or(asked.act);
    let linear = asked.linear;
    let asked = Asked { act, eps, inner_eps: eps, ..asked };
    let (mut net, input) = Layers::new(PVT_V2.name, shapes, &format!("{base}{}.weight", names.first[0]), *size, 1e-5)?;
    let (x, map) = network(&mut net, base, input, names, &found, &asked)?;
    let x = if shapes.keys().any(|name| name.starts_with("classifier.")) {
        pooled(&mut net, shapes, names.head, x)?
    } else {
        net.map("map", x, map)?
    };
    net.finish(x, format!("PVTv2, {}{}, Hugging Face names", found.told(), linearly(linear)))
}
