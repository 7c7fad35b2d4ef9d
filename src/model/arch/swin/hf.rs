//! Swin and Swin V2 under Hugging Face Transformers' names.

use super::{GELU, Making, Parts, Windows};
use crate::graph::{NodeId, Role};
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::count;
use crate::model::arch::{ArchError, Built, Family, Likeness, Source, staged};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "swin-hf",
    about: "Swin and Swin V2 under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::Transformers && name.is_one_of(["swin", "swinv2"]),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let ends = ["relative_position_bias_table", "logit_scale"].map(|part| format!("encoder.layers.0.blocks.0.attention.self.{part}"));
        let is = shapes.keys().any(|name| ends.iter().any(|end| name.ends_with(end)));
        if is { Likeness::Yes } else { Likeness::No }
    },
    build,
};

static PARTS: Parts = Parts {
    attention: "attention.self",
    qkv: &["query", "key", "value"],
    out: "attention.output.dense",
    positions: "continuous_position_bias_mlp",
    norms: ["layernorm_before", "layernorm_after"],
    mlp: ["intermediate.dense", "output.dense"],
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let base = ["swin.", "swinv2."].map(|prefix| staged::base(shapes, prefix)).concat();
    let embeddings = format!("{base}embeddings");
    let patches = format!("{embeddings}.patch_embeddings.projection");
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-5);
    let window = config.count("window_size")?.unwrap_or(7);
    let before = config.counts("pretrained_window_sizes")?.unwrap_or_default();
    let image = staged::pair(config, "image_size")?.unwrap_or([224; 2]);
    config.shown(&["attention_probs_dropout_prob", "drop_path_rate", "encoder_stride", "hidden_dropout_prob"]);
    let (mut making, input) = Making::new(FAMILY.name, source, &PARTS, &format!("{patches}.weight"))?;
    let v2 = making.v2;
    (making.act, making.eps, making.apart) = (act, eps, if v2 { -200.0 } else { -100.0 });
    let patch = making.patch(&patches);
    let mut x = staged::padded(&mut making.net, &format!("{patches}.fill"), input, patch)?;
    x = making.stem(&patches, &format!("{embeddings}.norm"), x)?;
    x = absolute(&mut making, config, &format!("{embeddings}.position_embeddings"), x)?;
    let stages = count(shapes, &format!("{base}encoder.layers."));
    for stage in 0..stages {
        let name = format!("{base}encoder.layers.{stage}");
        let map = (image[0] / patch[0]) >> stage.min(32);
        let before = before.get(stage).copied().unwrap_or(0);
        x = making.stage(&format!("{name}.blocks."), x, |block, size| {
            let half = if block % 2 == 1 { window / 2 } else { 0 };
            if v2 {
                // The sizes of windows are those for the configured images, by their height, whatever the images.
                let size = window.min(map);
                return Ok(Windows { size: [size; 2], shift: [if map <= size { 0 } else { half }; 2], before });
            }
            let least = size[0].min(size[1]);
            if least < window && least > 0 {
                let [h, w] = size;
                return Err(ArchError::Unsupported(format!(
                    "windows of {window}x{window} do not fit a map of {h}x{w}: the images are too small"
                )));
            }
            Ok(Windows { size: [window; 2], shift: [if least <= window { 0 } else { half }; 2], before: 0 })
        })?;
        if stage + 1 < stages {
            x = making.merged(&format!("{name}.downsample"), x)?;
        }
    }
    x = making.pooled(&format!("{base}layernorm"), eps, false, x)?;
    x = staged::head(&mut making.net, shapes, "classifier", x)?;
    making.net.leave_out(&format!("{embeddings}.mask_token"), "");
    making.net.leave_out("decoder.", "the decoder of images");
    if making.net.is_whole() && stages > 0 {
        making.agrees(config, &[2, 2, 6, 2], Some(&[3, 6, 12, 24]), 96)?;
        staged::agree(config, "patch_size", &patch, Some(&[4]))?;
        for part in ["query", "value"] {
            config.tells("qkv_bias", true, shapes.keys().any(|name| name.ends_with(&format!(".attention.self.{part}.bias"))))?;
        }
        config.widens("mlp_ratio", 4.0, shapes.get(&format!("{base}encoder.layers.0.blocks.0.intermediate.dense.weight")))?;
        config.agrees("num_layers", stages)?;
        config.agrees("hidden_size", making.dims.last().copied().unwrap_or(0))?;
        let named_v2 = config.name.as_ref().is_some_and(|name| name.is_one_of(["swinv2"]));
        if config.library == Library::Transformers && named_v2 != v2 {
            let told = making.told("Hugging Face");
            return Err(ArchError::Unsupported(format!("config.json: `model_type` is of another network than the weights, a {told}")));
        }
    }
    let told = making.told("Hugging Face");
    making.net.finish(x, told)
}

/// Positions added to the patches. Those of V2 have one too many for its own network to add.
fn absolute(making: &mut Making, config: &Config, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let there = making.net.has(name);
    config.tells("use_absolute_embeddings", false, there)?;
    if !there || !making.net.is_whole() {
        return Ok(x);
    }
    let ([h, w], channels) = (making.places(x), making.net.width(x));
    let table = making.net.tensor(name, &[1, h * w, channels], Role::Embedding);
    let table = making.net.reshape_fixed(&format!("{name}.map"), table, &[1, h, w, channels])?;
    making.net.sum(&format!("{name}.add"), x, table)
}
