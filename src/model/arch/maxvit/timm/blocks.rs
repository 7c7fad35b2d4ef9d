//! Blocks of timm's `MaxViT` and `CoAtNet`, each by its tensors: bottlenecks, `ConvNeXt` blocks, and attention of three kinds.

use super::Asked;
use super::variants::{Pool, Variant};
use crate::graph::{NodeId, Op, Role, Unary};
use crate::model::arch::layers::{Groups, Layers, Padding};
use crate::model::arch::maxvit::Made;
use crate::model::arch::windows::{Windows, bias, from_table, offsets};
use crate::model::arch::{ArchError, Shapes};

/// Most places that attend to one another: the biases of more fill no memory that there is.
const MOST_PLACES: usize = 1 << 13;

impl Asked {
    pub(super) fn padding(&self) -> Padding {
        if self.variant.tensorflow { Padding::SameUpper } else { Padding::Half }
    }

    /// A batch norm or a layer norm over channels, by its tensors.
    pub(super) fn norm(net: &mut Layers, name: &str, x: NodeId, eps: f64) -> Made {
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
    pub(super) fn block(&self, net: &mut Layers, at: &str, x: NodeId, stride: usize) -> Made {
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
    pub(super) fn head(&self, net: &mut Layers, shapes: &Shapes, x: NodeId) -> Made {
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
