//! What a ResNet's name and configuration say that its tensors do not show, and that both agree where they show it too.

use super::names::{BLURS, MEANS};
use super::parts::{Smooth, same_counts};
use crate::graph::Unary;
use crate::model::arch::config::Config;
use crate::model::arch::layers::stages;
use crate::model::arch::staged::takes_greatest;
use crate::model::arch::{ArchError, Shapes};

/// What tensors do not show.
pub(in crate::model::arch) struct Asked {
    pub(super) act: Unary,
    /// Whether features are the greatest value of each channel, not the mean.
    pub(super) max_pool: bool,
    /// Beyond this reduction stages dilate instead of striding.
    pub(super) output_stride: usize,
    pub(super) smooth: Option<Smooth>,
    /// Norms over groups of channels for those over the batch.
    pub(super) group_norm: bool,
}

impl Asked {
    pub(in crate::model::arch) fn of(config: &Config, shapes: &Shapes) -> Result<Self, ArchError> {
        config.shown(&["base_width", "block_reduce_first", "cardinality", "channels", "stem_width"]);
        same_counts(config, "layers", &stages(shapes))?;
        agreeing(config, shapes)?;
        config.only("aa_layer", "")?;
        config.only("features_only", false)?;
        let named = |names: &[&str]| config.name.as_ref().is_some_and(|name| name.is_one_of(names.iter().copied()));
        let smooth = if named(&MEANS) { Some(Smooth::Mean) } else { named(&BLURS).then_some(Smooth::Blur) };
        let norms_of_batches = shapes.contains_key("bn1.running_mean");
        let group_norm = match config.text("norm_layer")?.map(str::to_lowercase).as_deref() {
            None => named(&["resnet50_gn"]),
            Some("batchnorm" | "batchnorm2d") => false,
            Some("groupnorm") if !norms_of_batches => true,
            Some(other) => return Err(config.refused("norm_layer", &other.into())),
        };
        let max_pool = takes_greatest(config)?;
        let output_stride = config.count("output_stride")?.unwrap_or(32);
        if ![8, 16, 32].contains(&output_stride) {
            return Err(config.refused("output_stride", &output_stride.into()));
        }
        Ok(Self { act: config.act("act_layer")?.unwrap_or(Unary::Relu), max_pool, output_stride, smooth, group_norm })
    }

    /// What makes it another network than its family's, for people: `, Silu, max pooling, output stride 16`.
    pub(in crate::model::arch) fn told(&self) -> String {
        let act = (self.act != Unary::Relu).then(|| format!(", {:?}", self.act));
        let pool = self.max_pool.then(|| ", max pooling".to_owned());
        let stride = (self.output_stride != 32).then(|| format!(", output stride {}", self.output_stride));
        let smooth = self.smooth.map(|smooth| if smooth == Smooth::Mean { ", means before strides" } else { ", blurred before strides" });
        let norm = self.group_norm.then(|| ", group norm".to_owned());
        [act, pool, stride, smooth.map(str::to_owned), norm].into_iter().flatten().collect()
    }
}

/// The kind of attention that ends the blocks, by timm's name.
pub(super) fn attention(shapes: &Shapes) -> &'static str {
    if shapes.keys().any(|name| name.ends_with(".se.fc1.weight")) {
        "se"
    } else if shapes.keys().any(|name| name.ends_with(".se.conv.weight")) {
        "eca"
    } else {
        ""
    }
}

/// Refuses a configuration that says something else than the tensors show.
fn agreeing(config: &Config, shapes: &Shapes) -> Result<(), ArchError> {
    let refuse = |key: &str| Err(config.refused(key, config.get(key).unwrap_or(&serde_json::Value::Null)));
    let deep = shapes.contains_key("conv1.0.weight");
    if config.text("stem_type")?.is_some_and(|stem| stem.contains("deep") != deep) {
        return refuse("stem_type");
    }
    if config.flag("replace_stem_pool", shapes.contains_key("maxpool.0.weight"))? != shapes.contains_key("maxpool.0.weight") {
        return refuse("replace_stem_pool");
    }
    let shortcut = |part: &str| shapes.iter().find(|(name, shape)| name.ends_with(part) && shape.len() == 4).map(|(_, shape)| shape);
    let (pooled, plain) = (shortcut(".downsample.1.weight"), shapes.get("layer2.0.downsample.0.weight"));
    if config.get("avg_down").is_some() && config.flag("avg_down", false)? != pooled.is_some() {
        return refuse("avg_down");
    }
    config.agrees("down_kernel_size", plain.and_then(|shape| shape.get(2).copied()).unwrap_or(1))?;
    if config.text("block")?.is_some_and(|block| !["basic", "bottleneck"].contains(&block)) {
        return refuse("block");
    }
    Ok(())
}

/// What `block_args` says of the attention at the end of blocks.
pub(super) fn attention_agrees(config: &Config, shapes: &Shapes) -> Result<(), ArchError> {
    let Some(block) = config.within("block_args")? else { return Ok(()) };
    if block.text("attn_layer")?.unwrap_or("") != attention(shapes) {
        return Err(config.refused("block_args", config.get("block_args").unwrap_or(&serde_json::Value::Null)));
    }
    block.finish()
}
