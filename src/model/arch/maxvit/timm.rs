//! `MaxViT`, `MaxxViT` and `CoAtNet` under timm's names. `variants` holds what a name says, `blocks` the blocks of a stage.

mod blocks;
mod variants;

use super::told;
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::{Groups, Layers, count};
use crate::model::arch::pyramid::agree;
use crate::model::arch::{ArchError, Built, Family, Likeness, Source};
use variants::{Pool, Variant, variant};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "maxvit",
    about: "MaxViT, MaxxViT and CoAtNet under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && variant(name).is_some(),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let block = ["conv2_kxk", "conv_dw", "conv.conv2_kxk", "conv.conv_dw", "conv.0.conv2_kxk"];
        let shown = block.iter().any(|part| shapes.contains_key(&format!("stages.0.blocks.0.{part}.weight")));
        if shown && shapes.contains_key("stem.conv2.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// What tensors do not show.
struct Asked {
    variant: Variant,
    /// Of bottlenecks' and of transformers' shortcuts, and of what strides instead of a convolution.
    pools: [Pool; 3],
    /// Where a bottleneck strides: `pool`, `1x1` or `dw`.
    strides: String,
    head_first: bool,
    dim_head: usize,
    windows: [[usize; 2]; 2],
    max_pool: bool,
    /// Layer scales: what one block has, all have.
    scales: Vec<&'static str>,
}

/// Of transformers and of `ConvNeXt` blocks.
const SCALES: [&str; 3] = ["ls1.gamma", "ls2.gamma", "ls.gamma"];

/// Arguments that the tensors show too, or that act in training only.
const SHOWN: [&str; 28] = [
    "block_type",
    "conv_attn_early",
    "conv_attn_ratio",
    "conv_block_type",
    "conv_expand_output",
    "conv_expand_ratio",
    "conv_init_values",
    "conv_kernel_size",
    "conv_norm_layer",
    "conv_norm_layer_cl",
    "conv_output_bias",
    "head_hidden_size",
    "img_size",
    "stem_bias",
    "stem_width",
    "transformer_attn_bias",
    "transformer_attn_drop",
    "transformer_expand_first",
    "transformer_expand_ratio",
    "transformer_init_values",
    "transformer_no_block_attn",
    "transformer_norm_layer",
    "transformer_norm_layer_cl",
    "transformer_proj_drop",
    "transformer_rel_pos_dim",
    "transformer_rel_pos_type",
    "transformer_shortcut_bias",
    "weight_init",
];

impl Asked {
    fn of(config: &Config, variant: &Variant, size: [usize; 2]) -> Result<Self, ArchError> {
        config.shown(&SHOWN);
        let mut variant = *variant;
        variant.first_act = config.flag("conv_pre_norm_act", variant.first_act)?;
        variant.conv_act = config.act("conv_act_layer")?.unwrap_or(variant.conv_act);
        variant.gate_act = config.act("conv_attn_act_layer")?.unwrap_or(variant.gate_act);
        variant.act = config.act("transformer_act_layer")?.unwrap_or(variant.act);
        variant.conv_eps = config.number("conv_norm_eps")?.unwrap_or(variant.conv_eps);
        variant.norm_eps = config.number("transformer_norm_eps")?.unwrap_or(variant.norm_eps);
        config.only("conv_attn_layer", "se")?;
        config.only("conv_group_size", 1)?;
        config.only("transformer_use_nchw_attn", false)?;
        let head_first = config.flag("transformer_head_first", !variant.tensorflow)?;
        variant.tensorflow = match config.text("conv_padding")? {
            None => variant.tensorflow,
            Some("same") => true,
            Some("") => false,
            Some(other) => return Err(config.refused("conv_padding", &other.into())),
        };
        let pool = |key: &str, usual: Pool| match config.text(key)? {
            None => Ok(usual),
            Some("max") => Ok(Pool::Max),
            Some("max2") => Ok(Pool::MaxTwo),
            Some("avg") => Ok(Pool::Avg),
            Some("avg2") => Ok(Pool::AvgTwo),
            Some(other) => Err(config.refused(key, &other.into())),
        };
        let pools = [
            pool("conv_pool_type", variant.pool)?,
            pool("transformer_pool_type", variant.pool)?,
            pool("conv_downsample_pool_type", Pool::AvgTwo)?,
        ];
        let usual = if variant.pooled { "pool" } else { "dw" };
        let strides = config.text("conv_stride_mode")?.unwrap_or(usual);
        if !["pool", "1x1", "dw"].contains(&strides) {
            return Err(config.refused("conv_stride_mode", &strides.into()));
        }
        let max_pool = match config.pooling("avg")? {
            "avg" => false,
            "max" => true,
            other => return Err(config.refused("global_pool", &other.into())),
        };
        Ok(Self {
            pools,
            strides: strides.to_owned(),
            head_first,
            dim_head: config.count("transformer_dim_head")?.unwrap_or(32),
            windows: windows(config, size)?,
            max_pool,
            scales: Vec::new(),
            variant,
        })
    }
}

/// Sides of windows and of grids.
fn windows(config: &Config, size: [usize; 2]) -> Result<[[usize; 2]; 2], ArchError> {
    let ratio = config.count("transformer_partition_ratio")?.unwrap_or(32);
    let side = |key: &str, usual: [usize; 2]| match config.counts(key)?.as_deref() {
        None => Ok(usual),
        Some(&[one]) => Ok([one; 2]),
        Some(&[height, width]) => Ok([height, width]),
        Some(_) => Err(ArchError::Unsupported(format!("config.json: `model_args.{key}` is not [height, width]"))),
    };
    let windows = side("transformer_window_size", size.map(|side| side / ratio))?;
    Ok([windows, side("transformer_grid_size", windows)?])
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let variant = config.name.as_ref().filter(|name| name.may_be(Library::Timm)).and_then(variant);
    let variant = variant.ok_or_else(|| ArchError::NeedsName {
        family: FAMILY.name,
        what: "strides, activations and padding".into(),
        names: ["timm/maxvit_tiny_tf_224", "timm/coatnet_0_rw_224"].map(str::to_owned).to_vec(),
    })?;
    let mut asked = Asked::of(config, variant, *size)?;
    asked.scales = SCALES.into_iter().filter(|scale| shapes.keys().any(|name| name.ends_with(&format!(".{scale}")))).collect();
    let stages = (0..shapes.len()).map(|stage| count(shapes, &format!("stages.{stage}.blocks.")));
    let depths: Vec<usize> = stages.take_while(|&blocks| blocks > 0).collect();
    divisible(*size, depths.len() + 1)?;
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.conv1.weight", *size, asked.variant.conv_eps)?;
    let mut x = net.conv("stem.conv1", input, 2, Groups::One, asked.padding())?;
    x = Asked::norm(&mut net, "stem.norm1", x, asked.variant.conv_eps)?;
    x = net.act("stem.norm1.act", asked.variant.conv_act, x)?;
    x = net.conv("stem.conv2", x, 1, Groups::One, asked.padding())?;
    let mut widths = Vec::new();
    for (stage, &blocks) in depths.iter().enumerate() {
        for block in 0..blocks {
            x = asked.block(&mut net, &format!("stages.{stage}.blocks.{block}"), x, if block == 0 { 2 } else { 1 })?;
        }
        widths.push(net.channels(x));
    }
    if net.is_whole() {
        agree(config, "depths", Some(variant.depths), &depths)?;
        agree(config, "embed_dim", Some(variant.widths), &widths)?;
    }
    x = asked.head(&mut net, shapes, x)?;
    let kind = if shapes.keys().any(|name| name.contains(".attn_grid.")) { "MaxViT" } else { "CoAtNet" };
    net.finish(x, format!("{kind}, stages of {} blocks, timm names", told(&depths)))
}

/// Of other sizes shortcuts and their blocks come to maps of different sizes.
fn divisible(size: [usize; 2], halvings: usize) -> Result<(), ArchError> {
    let by = 1usize.checked_shl(halvings as u32).unwrap_or(0);
    if by > 0 && size.iter().all(|side| side.is_multiple_of(by)) {
        return Ok(());
    }
    Err(ArchError::Unsupported(format!("images of {} x {} cannot be halved {halvings} times", size[0], size[1])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::Shapes;

    #[test]
    fn tensors_alone_do_not_say_what_is_computed() {
        let shapes = Shapes::from([("stem.conv1.weight".to_owned(), vec![4, 3, 3, 3])]);
        let told = build(&Source::plain(&shapes, [32, 32])).expect_err("refused").to_string();
        assert!(told.contains("--arch") && told.contains("timm/maxvit_tiny_tf_224"), "{told}");
    }
}
