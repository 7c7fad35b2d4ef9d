//! `ConvNeXt`, `ConvNeXt` V2 and the `ConvNeXt` of `DINOv3` under Hugging Face Transformers' names.

use super::{GELU, Making, Names, Norm, likeness};
use crate::model::arch::config::Library;
use crate::model::arch::{ArchError, Built, Family, Source, staged};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "convnext-hf",
    about: "ConvNeXt and ConvNeXt V2 under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::Transformers && name.is_one_of(["convnext", "convnextv2"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes.keys().any(|name| name.ends_with("encoder.stages.0.layers.0.dwconv.weight"))),
    build,
};

pub(in crate::model::arch) static DINOV3: Family = Family {
    name: "dinov3-convnext-hf",
    about: "The ConvNeXt of DINOv3 under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::Transformers && name.is_one_of(["dinov3_convnext"]),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes.keys().any(|name| name.ends_with("stages.0.layers.0.depthwise_conv.weight"))),
    build: build_dinov3,
};

fn names(base: &str) -> Names {
    Names {
        stages: format!("{base}encoder.stages."),
        blocks: ".layers.",
        down: [".downsampling_layer.0", ".downsampling_layer.1"],
        conv: "dwconv",
        norm: "layernorm",
        layers: ["pwconv1", "pwconv2"],
        grn: "grn",
        scale: "layer_scale_parameter",
    }
}

fn dinov3_names(base: &str) -> Names {
    Names {
        stages: format!("{base}stages."),
        blocks: ".layers.",
        down: [".downsample_layers.0", ".downsample_layers.1"],
        conv: "depthwise_conv",
        norm: "layer_norm",
        layers: ["pointwise_conv1", "pointwise_conv2"],
        grn: "grn",
        scale: "gamma",
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let base = ["convnext.", "convnextv2."].map(|prefix| staged::base(shapes, prefix)).concat();
    let stem = format!("{base}embeddings");
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let last_eps = config.number("layer_norm_eps")?.unwrap_or(1e-12);
    config.shown(&["drop_path_rate", "image_size"]);
    let patches = format!("{stem}.patch_embeddings");
    let names = names(&base);
    let (mut making, input) = Making::new(FAMILY.name, source, names, &format!("{patches}.weight"), act, (Norm::Layer, 1e-6))?;
    let patch = making.kernel(&patches);
    let mut x = making.patches(&patches, input)?;
    x = making.normed_map(&format!("{stem}.layernorm"), x)?;
    x = making.stages(x, |stage| stage, |stage| stage)?;
    x = making.net.pool(&format!("{base}pooler"), false, x)?;
    x = making.net.layer_norm(&format!("{base}layernorm"), x, last_eps)?;
    x = staged::head(&mut making.net, shapes, "classifier", x)?;
    if making.net.is_whole() {
        staged::agree(config, "depths", &making.depths, Some(&[3, 3, 9, 3]))?;
        staged::agree(config, "hidden_sizes", &making.dims, Some(&[96, 192, 384, 768]))?;
        staged::agree(config, "patch_size", &[patch], Some(&[4]))?;
        config.agrees_or("num_stages", 4, making.depths.len())?;
        // The second version has another norm instead.
        let scaled = shapes.keys().filter(|name| name.ends_with(".layer_scale_parameter")).count();
        if making.v2 {
            config.shown(&["layer_scale_init_value"]);
        } else {
            config.tells_above_zero("layer_scale_init_value", 1e-6, scaled > 0)?;
            config.tells_above_zero("layer_scale_init_value", 1e-6, scaled >= making.depths.iter().sum())?;
        }
        let named_v2 = config.name.as_ref().is_some_and(|name| name.is_one_of(["convnextv2"]));
        if config.library == Library::Transformers && named_v2 != making.v2 {
            let told = making.told("Hugging Face");
            return Err(ArchError::Unsupported(format!("config.json: `model_type` is of another network than the weights, a {told}")));
        }
    }
    let told = making.told("Hugging Face");
    making.net.finish(x, told)
}

fn build_dinov3(source: &Source) -> Result<Built, ArchError> {
    let config = &source.config;
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-6);
    config.shown(&["drop_path_rate", "image_size", "layer_scale_init_value"]);
    let base = staged::base(source.shapes, "model.");
    let stem = format!("{base}stages.0.downsample_layers");
    let (mut making, input) = Making::new(DINOV3.name, source, dinov3_names(base), &format!("{stem}.0.weight"), act, (Norm::Layer, eps))?;
    let mut x = making.patches(&format!("{stem}.0"), input)?;
    x = making.normed_map(&format!("{stem}.1"), x)?;
    x = making.stages(x, |stage| stage, |stage| stage)?;
    // Transformers puts the mean in front of the places and normalises them all; what it calls pooled is the first.
    x = making.net.pool("pool", false, x)?;
    x = making.net.layer_norm("layer_norm", x, eps)?;
    if making.net.is_whole() {
        staged::agree(config, "depths", &making.depths, Some(&[3, 3, 9, 3]))?;
        staged::agree(config, "hidden_sizes", &making.dims, Some(&[96, 192, 384, 768]))?;
    }
    let told = making.told("Hugging Face");
    making.net.finish(x, format!("DINOv3 {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::config::Name;

    #[test]
    fn names_are_those_of_transformers() {
        let called = |family: &Family, text: &str| (family.is_called)(&Name::of(text, Library::Transformers));
        assert!(called(&FAMILY, "convnextv2"));
        assert!(called(&DINOV3, "dinov3_convnext"));
    }
}
