//! `MaxViT` (Tu et al., arXiv 2204.01697) and `CoAtNet` (Dai et al., arXiv 2106.04803) with timm's `MaxxViT`: inverted bottlenecks or `ConvNeXt`
//! blocks, and attention with a bias for every offset, within windows and over grids, or over the whole map.
//!
//! Which block a block is, its widths and heads are in the tensors. Strides, activations, what is added to variances, TensorFlow's padding
//! and the order of queries, keys and values are not: they come of the name.

use super::config::{Config, Library, Name};
use super::layers::{Groups, Layers, Padding, count};
use super::pyramid::agree;
use super::windows::{Windows, bias, from_table, offsets};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Role, Unary};

type Made = Result<NodeId, ArchError>;

pub(super) static TIMM: Family = Family {
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

pub(super) static TORCHVISION: Family = Family {
    name: "maxvit-torchvision",
    about: "MaxViT under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Torchvision) && name.plain == "maxvit-t",
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = shapes.contains_key("blocks.0.layers.0.layers.MBconv.layers.conv_a.0.weight");
        if shown { Likeness::Yes } else { Likeness::No }
    },
    build: torchvision,
};

const RELU: Unary = Unary::Relu;
const SILU: Unary = Unary::Silu;
const GELU: Unary = Unary::Gelu { tanh: false };
const GELU_TANH: Unary = Unary::Gelu { tanh: true };

/// What a name says.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    depths: [usize; 4],
    widths: [usize; 4],
    /// Whether bottlenecks stride by pooling, not in their middle convolution.
    pooled: bool,
    /// How shortcuts are brought to half their size.
    pool: Pool,
    /// Whether an activation follows a bottleneck's first norm.
    first_act: bool,
    conv_act: Unary,
    /// Of squeeze-and-excitation.
    gate_act: Unary,
    /// Added to variances in the stem and in convolutions' blocks; in transformers' it is `norm_eps`.
    conv_eps: f64,
    act: Unary,
    norm_eps: f64,
    /// TensorFlow's padding, and queries of all heads before all keys.
    tensorflow: bool,
}

/// timm's later networks.
const MAX: Variant = Variant {
    name: "",
    depths: [0; 4],
    widths: [0; 4],
    pooled: false,
    pool: Pool::AvgTwo,
    first_act: false,
    conv_act: SILU,
    gate_act: SILU,
    conv_eps: 1e-5,
    act: GELU,
    norm_eps: 1e-6,
    tensorflow: false,
};
/// Its first ones.
const COAT: Variant = Variant { first_act: true, gate_act: RELU, ..MAX };
/// With `ConvNeXt` blocks, and those that follow the paper.
const NEXT: Variant = Variant { conv_eps: 1e-6, ..PLAIN };
const PLAIN: Variant = Variant { conv_act: GELU, ..MAX };
/// Google's weights.
const TF: Variant = Variant { conv_act: GELU_TANH, conv_eps: 1e-3, act: GELU_TANH, norm_eps: 1e-5, tensorflow: true, ..MAX };

static VARIANTS: [Variant; 43] = [
    Variant { name: "coatnet_pico_rw", depths: [2, 3, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "coatnet_nano_rw", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], pooled: true, ..MAX },
    Variant { name: "coatnet_0_rw", depths: [2, 3, 7, 2], widths: [96, 192, 384, 768], pooled: true, ..COAT },
    Variant { name: "coatnet_1_rw", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_2_rw", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_3_rw", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_bn_0_rw", depths: [2, 3, 7, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_rmlp_nano_rw", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "coatnet_rmlp_0_rw", depths: [2, 3, 7, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_rmlp_1_rw", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], pooled: true, pool: Pool::Max, ..COAT },
    Variant { name: "coatnet_rmlp_1_rw2", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..COAT },
    Variant { name: "coatnet_rmlp_2_rw", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_rmlp_3_rw", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], gate_act: SILU, ..COAT },
    Variant { name: "coatnet_nano_cc", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], pooled: true, ..COAT },
    Variant { name: "coatnext_nano_rw", depths: [3, 4, 6, 3], widths: [64, 128, 256, 512], ..NEXT },
    Variant { name: "coatnet_0", depths: [2, 3, 5, 2], widths: [96, 192, 384, 768], ..PLAIN },
    Variant { name: "coatnet_1", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..PLAIN },
    Variant { name: "coatnet_2", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], ..PLAIN },
    Variant { name: "coatnet_3", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], ..PLAIN },
    Variant { name: "coatnet_4", depths: [2, 12, 28, 2], widths: [192, 384, 768, 1536], ..PLAIN },
    Variant { name: "coatnet_5", depths: [2, 12, 28, 2], widths: [256, 512, 1280, 2048], ..PLAIN },
    Variant { name: "maxvit_pico_rw", depths: [2, 2, 5, 2], widths: [32, 64, 128, 256], ..MAX },
    Variant { name: "maxvit_nano_rw", depths: [1, 2, 3, 1], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_tiny_rw", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_tiny_pm", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_rmlp_pico_rw", depths: [2, 2, 5, 2], widths: [32, 64, 128, 256], ..MAX },
    Variant { name: "maxvit_rmlp_nano_rw", depths: [1, 2, 3, 1], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_rmlp_tiny_rw", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..MAX },
    Variant { name: "maxvit_rmlp_small_rw", depths: [2, 2, 5, 2], widths: [96, 192, 384, 768], ..MAX },
    Variant { name: "maxvit_rmlp_base_rw", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..MAX },
    Variant { name: "maxxvit_rmlp_nano_rw", depths: [1, 2, 3, 1], widths: [64, 128, 256, 512], ..NEXT },
    Variant { name: "maxxvit_rmlp_tiny_rw", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..NEXT },
    Variant { name: "maxxvit_rmlp_small_rw", depths: [2, 2, 5, 2], widths: [96, 192, 384, 768], ..NEXT },
    Variant { name: "maxxvitv2_nano_rw", depths: [1, 2, 3, 1], widths: [96, 192, 384, 768], ..NEXT },
    Variant { name: "maxxvitv2_rmlp_base_rw", depths: [2, 6, 12, 2], widths: [128, 256, 512, 1024], ..NEXT },
    Variant { name: "maxxvitv2_rmlp_large_rw", depths: [2, 6, 16, 2], widths: [160, 320, 640, 1280], ..NEXT },
    Variant { name: "maxvit_tiny_tf", depths: [2, 2, 5, 2], widths: [64, 128, 256, 512], ..TF },
    Variant { name: "maxvit_small_tf", depths: [2, 2, 5, 2], widths: [96, 192, 384, 768], ..TF },
    Variant { name: "maxvit_base_tf", depths: [2, 6, 14, 2], widths: [96, 192, 384, 768], ..TF },
    Variant { name: "maxvit_large_tf", depths: [2, 6, 14, 2], widths: [128, 256, 512, 1024], ..TF },
    Variant { name: "maxvit_xlarge_tf", depths: [2, 6, 14, 2], widths: [192, 384, 768, 1536], ..TF },
    Variant { name: "test_maxvit", depths: [1, 1, 1, 1], widths: [32, 64, 96, 128], ..MAX },
    Variant { name: "test_coatnet", depths: [1, 1, 2, 1], widths: [32, 64, 96, 128], pooled: true, ..MAX },
];

/// A network's name is a configuration's and the side of the images.
fn variant(name: &Name) -> Option<&'static Variant> {
    let plain = name.plain.as_str();
    let digits = |size: &str| size.chars().all(|c| c.is_ascii_digit());
    // Only these two are called as their configuration is.
    let test = ["test-maxvit", "test-coatnet"].contains(&plain).then_some(plain);
    let sized = plain.rsplit_once('-').filter(|(name, size)| size.len() == 3 && digits(size) && !name.starts_with("test-"));
    let wanted = test.or(sized.map(|(name, _)| name))?;
    VARIANTS.iter().find(|variant| super::plain(variant.name) == wanted)
}

/// Most places that attend to one another: the biases of more fill no memory that there is.
const MOST_PLACES: usize = 1 << 13;

/// How a map is brought to half its size.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pool {
    Max,
    MaxTwo,
    Avg,
    AvgTwo,
}

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
        family: TIMM.name,
        what: "strides, activations and padding".into(),
        names: ["timm/maxvit_tiny_tf_224", "timm/coatnet_0_rw_224"].map(str::to_owned).to_vec(),
    })?;
    let mut asked = Asked::of(config, variant, *size)?;
    asked.scales = SCALES.into_iter().filter(|scale| shapes.keys().any(|name| name.ends_with(&format!(".{scale}")))).collect();
    let stages = (0..shapes.len()).map(|stage| count(shapes, &format!("stages.{stage}.blocks.")));
    let depths: Vec<usize> = stages.take_while(|&blocks| blocks > 0).collect();
    divisible(*size, depths.len() + 1)?;
    let (mut net, input) = Layers::new(TIMM.name, shapes, "stem.conv1.weight", *size, asked.variant.conv_eps)?;
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

fn told(depths: &[usize]) -> String {
    depths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// Of other sizes shortcuts and their blocks come to maps of different sizes.
fn divisible(size: [usize; 2], halvings: usize) -> Result<(), ArchError> {
    let by = 1usize.checked_shl(halvings as u32).unwrap_or(0);
    if by > 0 && size.iter().all(|side| side.is_multiple_of(by)) {
        return Ok(());
    }
    Err(ArchError::Unsupported(format!("images of {} x {} cannot be halved {halvings} times", size[0], size[1])))
}

impl Asked {
    fn padding(&self) -> Padding {
        if self.variant.tensorflow { Padding::SameUpper } else { Padding::Half }
    }

    /// A batch norm or a layer norm over channels, by its tensors.
    fn norm(net: &mut Layers, name: &str, x: NodeId, eps: f64) -> Made {
        if !net.has(&format!("{name}.running_mean")) {
            return net.layer_norm_map(name, x, eps);
        }
        let channels = net.channels(x);
        let mut inputs = vec![x];
        for (part, role) in
            [("weight", Role::Scale), ("bias", Role::Shift), ("running_mean", Role::RunningMean), ("running_var", Role::RunningVar)]
        {
            inputs.push(net.tensor(&format!("{name}.{part}"), &[channels], role));
        }
        net.add(name, Op::BatchNorm { eps, momentum: 0.1 }, &inputs)
    }

    /// The map at half its size, by `pool`, and with `expand` brought to other channels where the file has it.
    fn downsampled(net: &mut Layers, name: &str, x: NodeId, pool: Pool) -> Made {
        let at = format!("{name}.pool");
        let x = match pool {
            Pool::Max => net.max_pool(&at, x, 3, 2, 1)?,
            Pool::MaxTwo => net.max_pool(&at, x, 2, 2, 0)?,
            Pool::Avg => net.avg_pool(&at, x, 3, 2, 1, false)?,
            Pool::AvgTwo => net.avg_pool(&at, x, 2, 2, 0, false)?,
        };
        let expand = format!("{name}.expand");
        if net.has(&format!("{expand}.weight")) { net.conv(&expand, x, 1, Groups::One, Padding::Valid) } else { Ok(x) }
    }

    /// A block, whichever its tensors are those of.
    fn block(&self, net: &mut Layers, at: &str, x: NodeId, stride: usize) -> Made {
        if net.has(&format!("{at}.attn.qkv.weight")) {
            return self.transformer(net, at, x, stride);
        }
        let grid = net.has(&format!("{at}.attn_grid.attn.qkv.weight"));
        let beside = net.has(&format!("{at}.attn.attn_grid.qkv.weight"));
        if !grid && !beside {
            return self.convolutions(net, at, x, stride);
        }
        let several = count_of(net, &format!("{at}.conv."));
        let mut x = x;
        for i in 0..several.max(1) {
            let name = if several > 0 { format!("{at}.conv.{i}") } else { format!("{at}.conv") };
            x = self.convolutions(net, &name, x, if i == 0 { stride } else { 1 })?;
        }
        x = net.transpose(&format!("{at}.places"), x, &[0, 2, 3, 1])?;
        if beside {
            x = self.side_by_side(net, &format!("{at}.attn"), x)?;
        } else {
            if net.has(&format!("{at}.attn_block.attn.qkv.weight")) {
                x = self.partitioned(net, &format!("{at}.attn_block"), x, false)?;
            }
            x = self.partitioned(net, &format!("{at}.attn_grid"), x, true)?;
        }
        net.transpose(&format!("{at}.map"), x, &[0, 3, 1, 2])
    }

    fn convolutions(&self, net: &mut Layers, at: &str, x: NodeId, stride: usize) -> Made {
        if net.has(&format!("{at}.conv_dw.weight")) { self.convnext(net, at, x, stride) } else { self.bottleneck(net, at, x, stride) }
    }

    fn shortcut(net: &mut Layers, at: &str, x: NodeId, stride: usize, pool: Pool) -> Made {
        let name = format!("{at}.shortcut");
        match stride {
            2 => Self::downsampled(net, &name, x, pool),
            _ if net.has(&format!("{name}.weight")) => net.conv(&name, x, 1, Groups::One, Padding::Valid),
            _ => Ok(x),
        }
    }

    /// An inverted bottleneck with its norm in front.
    fn bottleneck(&self, net: &mut Layers, at: &str, input: NodeId, stride: usize) -> Made {
        let Variant { first_act, conv_act, conv_eps, .. } = self.variant;
        let shortcut = Self::shortcut(net, at, input, stride, self.pools[0])?;
        let mut x = Self::norm(net, &format!("{at}.pre_norm"), input, conv_eps)?;
        if first_act {
            x = net.act(&format!("{at}.pre_norm.act"), conv_act, x)?;
        }
        if self.strides == "pool" && stride > 1 {
            x = Self::downsampled(net, &format!("{at}.down"), x, self.pools[2])?;
        }
        let [first, second] = match self.strides.as_str() {
            "1x1" => [stride, 1],
            "dw" => [1, stride],
            _ => [1, 1],
        };
        x = net.conv(&format!("{at}.conv1_1x1"), x, first, Groups::One, Padding::Valid)?;
        x = Self::norm(net, &format!("{at}.norm1"), x, conv_eps)?;
        x = net.act(&format!("{at}.norm1.act"), conv_act, x)?;
        x = net.conv(&format!("{at}.conv2_kxk"), x, second, Groups::Depthwise, self.padding())?;
        let early = net.has(&format!("{at}.se_early.fc1.weight"));
        if early {
            x = self.excited(net, &format!("{at}.se_early"), x)?;
        }
        x = Self::norm(net, &format!("{at}.norm2"), x, conv_eps)?;
        x = net.act(&format!("{at}.norm2.act"), conv_act, x)?;
        if !early {
            x = self.excited(net, &format!("{at}.se"), x)?;
        }
        x = net.conv(&format!("{at}.conv3_1x1"), x, 1, Groups::One, Padding::Valid)?;
        net.sum(&format!("{at}.add"), x, shortcut)
    }

    fn excited(&self, net: &mut Layers, at: &str, x: NodeId) -> Made {
        let [less, more] = [format!("{at}.fc1"), format!("{at}.fc2")];
        net.excited([&less, &more], x, self.variant.gate_act, Unary::Sigmoid)
    }

    /// Times a layer scale, where the network has them; of a map, or of places.
    fn scaled(&self, net: &mut Layers, at: &str, scale: &str, x: NodeId, map: bool) -> Made {
        let name = format!("{at}.{scale}");
        if self.scales.contains(&scale) && net.look(&name).is_none() {
            return Ok(x);
        }
        if map { net.scaled_map(&name, x) } else { net.scaled(&name, x) }
    }

    fn convnext(&self, net: &mut Layers, at: &str, input: NodeId, stride: usize) -> Made {
        let Variant { conv_act, conv_eps, .. } = self.variant;
        // The library gives its shortcut the mean, whatever else is asked for.
        let shortcut = Self::shortcut(net, at, input, stride, Pool::AvgTwo)?;
        let pooled = self.strides == "pool" && stride > 1;
        let mut x = if pooled { Self::downsampled(net, &format!("{at}.down"), input, self.pools[2])? } else { input };
        x = net.conv(&format!("{at}.conv_dw"), x, if pooled { 1 } else { stride }, Groups::Depthwise, Padding::Half)?;
        x = Self::norm(net, &format!("{at}.norm"), x, conv_eps)?;
        x = Self::mlp(net, at, x, conv_act)?;
        x = self.scaled(net, at, "ls.gamma", x, true)?;
        net.sum(&format!("{at}.add"), x, shortcut)
    }

    /// Two 1x1 convolutions.
    fn mlp(net: &mut Layers, at: &str, x: NodeId, act: Unary) -> Made {
        let x = net.conv(&format!("{at}.mlp.fc1"), x, 1, Groups::One, Padding::Valid)?;
        let x = net.act(&format!("{at}.mlp.act"), act, x)?;
        net.conv(&format!("{at}.mlp.fc2"), x, 1, Groups::One, Padding::Valid)
    }

    /// Attention over the whole map.
    fn transformer(&self, net: &mut Layers, at: &str, input: NodeId, stride: usize) -> Made {
        let Variant { act, norm_eps, .. } = self.variant;
        let shortcut = Self::shortcut(net, at, input, stride, self.pools[1])?;
        let mut x = if stride == 2 {
            let normed = Self::norm(net, &format!("{at}.norm1.norm"), input, norm_eps)?;
            Self::downsampled(net, &format!("{at}.norm1.down"), normed, self.pools[1])?
        } else {
            Self::norm(net, &format!("{at}.norm1"), input, norm_eps)?
        };
        let size = net.size(x);
        x = net.conv(&format!("{at}.attn.qkv"), x, 1, Groups::One, Padding::Valid)?;
        let all = net.tokens(&format!("{at}.attn.qkv.tokens"), x)?;
        let mixed = self.mixed(net, &format!("{at}.attn"), all, true, size)?;
        x = net.map(&format!("{at}.attn.map"), mixed, size)?;
        x = net.conv(&format!("{at}.attn.proj"), x, 1, Groups::One, Padding::Valid)?;
        x = self.scaled(net, at, "ls1.gamma", x, true)?;
        let between = net.sum(&format!("{at}.add"), x, shortcut)?;
        x = Self::norm(net, &format!("{at}.norm2"), between, norm_eps)?;
        x = Self::mlp(net, at, x, act)?;
        x = self.scaled(net, at, "ls2.gamma", x, true)?;
        net.sum(&format!("{at}.add2"), x, between)
    }

    /// Attention of tokens `[.., places, queries and keys and values]` in a window of this size.
    fn mixed(&self, net: &mut Layers, at: &str, all: NodeId, head_first: bool, side: [usize; 2]) -> Made {
        let width = net.width(all) / 3;
        let places = side[0].saturating_mul(side[1]);
        if places > MOST_PLACES {
            return Err(ArchError::Unsupported(format!("`{at}`: {places} places attend to one another; no more than {MOST_PLACES} may")));
        }
        if !net.is_whole() || self.dim_head == 0 || !width.is_multiple_of(self.dim_head) {
            let whole = net.is_whole();
            let at = format!("{at}.qkv.weight");
            return Ok(if whole { net.misfit(&at, &[3 * width], &format!("heads of {}", self.dim_head), all) } else { all });
        }
        let heads = width / self.dim_head;
        let bias = relative(net, &format!("{at}.rel_pos"), side, heads)?;
        if !net.is_whole() {
            return Ok(all);
        }
        let parts = if head_first {
            let per_image = net.per_image(all);
            let apart = net.reshape_by(&format!("{at}.apart"), all, per_image, &[places, heads, 3 * self.dim_head])?;
            let apart = net.transpose(&format!("{at}.heads"), apart, &[0, 2, 1, 3])?;
            net.split(&format!("{at}.split"), apart, 3, 3)?
        } else {
            let parts = net.split(&format!("{at}.split"), all, 2, 3)?;
            let named = ["q", "k", "v"].into_iter().zip(parts);
            named.map(|(part, x)| net.heads(&format!("{at}.{part}"), x, heads)).collect::<Result<Vec<_>, _>>()?
        };
        let &[q, k, v] = parts.as_slice() else { return Ok(all) };
        net.attend(at, [q, k, v], (self.dim_head as f64).powf(-0.5), bias)
    }

    /// The attention `at` within windows of a map `[N, height, width, channels]`, or over a grid.
    fn attention(&self, net: &mut Layers, at: &str, x: NodeId, grid: bool) -> Made {
        let dims = net.dims(x);
        let &[h, w, _] = dims.as_slice() else { return Ok(x) };
        let side = self.windows[usize::from(grid)];
        let windows = Windows { side, grid };
        let apart = windows.apart(net, at, x)?;
        let all = net.linear(&format!("{at}.qkv"), apart)?;
        let mixed = self.mixed(net, at, all, self.head_first, side)?;
        let mixed = net.linear(&format!("{at}.proj"), mixed)?;
        windows.together(net, at, mixed, [h, w])
    }

    fn partitioned(&self, net: &mut Layers, at: &str, input: NodeId, grid: bool) -> Made {
        let x = net.layer_norm(&format!("{at}.norm1"), input, self.variant.norm_eps)?;
        let x = self.attention(net, &format!("{at}.attn"), x, grid)?;
        self.rest(net, at, input, x)
    }

    /// Windows and grids side by side, half of the channels each.
    fn side_by_side(&self, net: &mut Layers, at: &str, input: NodeId) -> Made {
        let x = net.layer_norm(&format!("{at}.norm1"), input, self.variant.norm_eps)?;
        let near = self.attention(net, &format!("{at}.attn_block"), x, false)?;
        let far = self.attention(net, &format!("{at}.attn_grid"), x, true)?;
        let x = net.concat(&format!("{at}.both"), 3, &[near, far])?;
        self.rest(net, at, input, x)
    }

    /// What follows attention: both sums and the MLP.
    fn rest(&self, net: &mut Layers, at: &str, input: NodeId, mixed: NodeId) -> Made {
        let x = self.scaled(net, at, "ls1.gamma", mixed, false)?;
        let between = net.sum(&format!("{at}.add"), input, x)?;
        let x = net.layer_norm(&format!("{at}.norm2"), between, self.variant.norm_eps)?;
        let x = net.mlp([&format!("{at}.mlp.fc1"), &format!("{at}.mlp.fc2")], x, self.variant.act)?;
        let x = self.scaled(net, at, "ls2.gamma", x, false)?;
        net.sum(&format!("{at}.add2"), between, x)
    }

    /// Pooled, with the norm in front or behind, and the classifier, where there is one.
    fn head(&self, net: &mut Layers, shapes: &Shapes, x: NodeId) -> Made {
        let hidden = net.has("head.pre_logits.fc.weight");
        let mut x = if hidden { x } else { Self::norm(net, "norm", x, self.variant.norm_eps)? };
        x = net.pool("head.global_pool", self.max_pool, x)?;
        if hidden {
            x = net.layer_norm("head.norm", x, self.variant.norm_eps)?;
            x = net.linear("head.pre_logits.fc", x)?;
            x = net.act("head.pre_logits.act", Unary::Tanh, x)?;
        }
        if shapes.keys().any(|name| name.starts_with("head.fc.")) { net.linear("head.fc", x) } else { Ok(x) }
    }
}

/// More parts than any network has.
const MOST_PARTS: usize = 10_000;

/// How many numbered parts there are.
fn count_of(net: &Layers, prefix: &str) -> usize {
    (0..MOST_PARTS)
        .take_while(|i| net.has(&format!("{prefix}{i}.conv2_kxk.weight")) || net.has(&format!("{prefix}{i}.conv_dw.weight")))
        .count()
}

/// The biases of offsets: of a table, of a table in TensorFlow's order, or computed from the offsets' logarithms.
fn relative(net: &mut Layers, at: &str, side: [usize; 2], heads: usize) -> Result<Option<NodeId>, ArchError> {
    let table = format!("{at}.relative_position_bias_table");
    let spans = side.map(|size| (2 * size).saturating_sub(1));
    let rows = spans[0] * spans[1];
    let found = if net.has(&table) { net.look(&table) } else { None };
    if found.as_ref().is_some_and(|shape| shape.len() == 3) {
        let values = net.tensor(&table, &[heads, spans[0], spans[1]], Role::Embedding);
        let values = net.reshape_fixed(&format!("{at}.flat"), values, &[heads, rows])?;
        // Its offsets are those of keys from queries.
        let pairs = offsets(side).into_iter().map(|offset| rows - 1 - offset).collect();
        let pairs = net.select(&format!("{at}.pairs"), values, 1, pairs)?;
        let places = side[0] * side[1];
        return Ok(Some(net.reshape_fixed(&format!("{at}.bias"), pairs, &[1, heads, places, places])?));
    }
    if found.is_some() {
        return Ok(Some(bias(net, &table, side, heads)?));
    }
    if !net.has(&format!("{at}.mlp.fc1.weight")) {
        // Every network has one of the three.
        net.look(&table);
        return Ok(None);
    }
    let axis = |span: usize| (0..span).map(move |i| i as f32 - (span / 2) as f32);
    let log = |offset: f32| offset.signum() * offset.abs().ln_1p();
    let coordinates: Vec<f32> = axis(spans[0]).flat_map(|y| axis(spans[1]).flat_map(move |x| [log(y), log(x)])).collect();
    let coordinates = net.constant(&format!("log_offsets.{}x{}", side[0], side[1]), &[rows, 2], &coordinates);
    let table = net.mlp([&format!("{at}.mlp.fc1"), &format!("{at}.mlp.fc2")], coordinates, Unary::Relu)?;
    Ok(Some(from_table(net, at, table, side, heads)?))
}

fn torchvision(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, .. } = source;
    if size[0] != size[1] {
        return Err(ArchError::Unsupported(format!("torchvision's MaxViT takes square images, not {} x {}", size[0], size[1])));
    }
    let (mut net, input) = Layers::new(TORCHVISION.name, shapes, "stem.0.0.weight", *size, 1e-3)?;
    let mut x = net.conv("stem.0.0", input, 2, Groups::One, Padding::Half)?;
    x = net.norm("stem.0.1", x)?;
    x = net.act("stem.0.2", GELU, x)?;
    x = net.conv("stem.1.0", x, 1, Groups::One, Padding::Half)?;
    let depths = (0..shapes.len()).map(|block| count(shapes, &format!("blocks.{block}.layers.")));
    let depths: Vec<usize> = depths.take_while(|&layers| layers > 0).collect();
    for (block, &layers) in depths.iter().enumerate() {
        for layer in 0..layers {
            let at = format!("blocks.{block}.layers.{layer}.layers");
            x = torchvision_bottleneck(&mut net, &format!("{at}.MBconv"), x, if layer == 0 { 2 } else { 1 })?;
            x = net.transpose(&format!("{at}.places"), x, &[0, 2, 3, 1])?;
            x = torchvision_attention(&mut net, &format!("{at}.window_attention"), x, false)?;
            x = torchvision_attention(&mut net, &format!("{at}.grid_attention"), x, true)?;
            x = net.transpose(&format!("{at}.map"), x, &[0, 3, 1, 2])?;
        }
    }
    x = net.pool("classifier.0", false, x)?;
    x = net.layer_norm("classifier.2", x, 1e-5)?;
    x = net.linear("classifier.3", x)?;
    x = net.act("classifier.4", Unary::Tanh, x)?;
    if shapes.keys().any(|name| name.starts_with("classifier.5.")) {
        x = net.linear("classifier.5", x)?;
    }
    net.finish(x, format!("MaxViT, stages of {} blocks, torchvision names", told(&depths)))
}

fn torchvision_bottleneck(net: &mut Layers, at: &str, input: NodeId, stride: usize) -> Made {
    let mut shortcut = input;
    if stride == 2 {
        shortcut = net.avg_pool(&format!("{at}.proj.0"), input, 3, 2, 1, true)?;
        shortcut = net.conv(&format!("{at}.proj.1"), shortcut, 1, Groups::One, Padding::Valid)?;
    }
    let part = |name: &str| format!("{at}.layers.{name}");
    let mut x = net.norm(&part("pre_norm"), input)?;
    for (name, stride, groups) in [("conv_a", 1, Groups::One), ("conv_b", stride, Groups::Depthwise)] {
        x = net.conv(&part(&format!("{name}.0")), x, stride, groups, Padding::Half)?;
        x = net.norm(&part(&format!("{name}.1")), x)?;
        x = net.act(&part(&format!("{name}.2")), GELU, x)?;
    }
    x = net.excited([&part("squeeze_excitation.fc1"), &part("squeeze_excitation.fc2")], x, SILU, Unary::Sigmoid)?;
    x = net.conv(&part("conv_c"), x, 1, Groups::One, Padding::Valid)?;
    net.sum(&format!("{at}.add"), shortcut, x)
}

fn torchvision_attention(net: &mut Layers, at: &str, input: NodeId, grid: bool) -> Made {
    let attn = format!("{at}.attn_layer.1");
    let normed = net.layer_norm(&format!("{at}.attn_layer.0"), input, 1e-5)?;
    let table = format!("{attn}.relative_position_bias_table");
    let Some(found) = net.look(&table) else { return Ok(input) };
    let &[rows, heads] = found.as_slice() else { return Ok(net.misfit(&table, &found, "[offsets, heads]", input)) };
    // A square window has (2 side - 1)^2 offsets.
    let side = rows.isqrt().div_ceil(2);
    if (2 * side).saturating_sub(1).checked_pow(2) != Some(rows) {
        return Ok(net.misfit(&table, &found, "as many offsets as a square window has", input));
    }
    let dims = net.dims(normed);
    let &[h, w, width] = dims.as_slice() else { return Ok(input) };
    let windows = Windows { side: [side; 2], grid };
    let apart = windows.apart(net, &attn, normed)?;
    let all = net.linear(&format!("{attn}.to_qkv"), apart)?;
    if !net.is_whole() {
        return Ok(input);
    }
    let index = offsets([side; 2]).into_iter().map(|offset| offset as f64).collect();
    let places = side * side;
    net.buffer(
        &format!("{attn}.relative_position_index"),
        ndarray::ArrayD::from_shape_vec(vec![places, places], index).unwrap_or_default(),
    );
    let bias = bias(net, &table, [side; 2], heads)?;
    let parts = net.split(&format!("{attn}.split"), all, 2, 3)?;
    let named = ["q", "k", "v"].into_iter().zip(parts);
    let parts = named.map(|(part, x)| net.heads(&format!("{attn}.{part}"), x, heads)).collect::<Result<Vec<_>, _>>()?;
    let &[q, k, v] = parts.as_slice() else { return Ok(input) };
    // The library divides by the root of all channels, not of a head's.
    let mixed = net.attend(&attn, [q, k, v], (width.max(1) as f64).powf(-0.5), Some(bias))?;
    let mixed = net.linear(&format!("{attn}.merge"), mixed)?;
    let mixed = windows.together(net, &attn, mixed, [h, w])?;
    let between = net.sum(&format!("{at}.add"), input, mixed)?;
    let x = net.layer_norm(&format!("{at}.mlp_layer.0"), between, 1e-5)?;
    let x = net.mlp([&format!("{at}.mlp_layer.1"), &format!("{at}.mlp_layer.3")], x, GELU)?;
    net.sum(&format!("{at}.add2"), between, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_configurations_and_a_size() {
        let found = |name: &str| variant(&Name::of(name, Library::Timm)).map(|variant| variant.name);
        assert_eq!(found("maxvit_tiny_tf_384.in1k"), Some("maxvit_tiny_tf"));
        assert_eq!(found("coatnet_0_224"), Some("coatnet_0"));
        assert_eq!(found("coatnet_rmlp_1_rw2_224"), Some("coatnet_rmlp_1_rw2"));
        assert_eq!(found("test_coatnet"), Some("test_coatnet"));
        for name in ["maxvit_tiny_tf", "coatnet_0_rw", "coatnet_9_224", "maxvit_t", "test_maxvit_160", "coat_lite_tiny"] {
            assert_eq!(found(name), None, "{name}");
        }
    }

    #[test]
    fn tensors_alone_do_not_say_what_is_computed() {
        let shapes = Shapes::from([("stem.conv1.weight".to_owned(), vec![4, 3, 3, 3])]);
        let told = build(&Source::plain(&shapes, [32, 32])).expect_err("refused").to_string();
        assert!(told.contains("--arch") && told.contains("timm/maxvit_tiny_tf_224"), "{told}");
    }
}
