//! Swin (Liu et al., arXiv 2103.14030) and Swin V2 (Liu et al., arXiv 2111.09883) under the names of timm, Hugging Face Transformers and
//! torchvision.
//!
//! Attention is within windows, in every second block within windows that are shifted: the map is rolled, and a mask keeps places apart that
//! were none another's neighbours. The libraries agree on that and differ in three things: timm fills a map up behind the roll, the others in
//! front of it; windows that are larger than a map become smaller in timm, not in torchvision; and Transformers adds the mask of V2 twice.
//!
//! V2 compares directions, not products, and its table of positions is what a small network makes of their logarithms. That network is part of
//! the graph, so it trains.

use super::config::{Config, Library};
use super::layers::{Conv, Layers, count};
use super::staged::{self, plus};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Reduce, Role, Unary};
use ndarray::ArrayD;
use serde_json::Value;

const GELU: Unary = Unary::Gelu { tanh: false };

/// Sides of windows from here on are refused: an index for every pair of places in a window is kept.
const LARGEST: usize = 64;

pub(super) static TIMM: Family = Family {
    name: "swin-timm",
    about: "Swin and Swin V2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.name),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let block = ["relative_position_bias_table", "logit_scale"].iter().any(|part| has(&format!("layers.0.blocks.0.attn.{part}")));
        if block && has("patch_embed.proj.weight") { Likeness::Yes } else { Likeness::No }
    },
    build: build_timm,
};

pub(super) static TRANSFORMERS: Family = Family {
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
    build: build_transformers,
};

pub(super) static TORCHVISION: Family = Family {
    name: "swin-torchvision",
    about: "Swin and Swin V2 under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| {
        let names = ["swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"];
        name.may_be(Library::Torchvision) && name.is_one_of(names)
    },
    stems: &[],
    within: &[],
    shows: |shapes| {
        let is = shapes.contains_key("features.1.0.attn.relative_position_index") && shapes.contains_key("features.2.reduction.weight");
        if is { Likeness::Yes } else { Likeness::No }
    },
    build: build_torchvision,
};

/// What timm calls by a name, as far as tensors do not show it, and what they must show.
struct Variant {
    name: &'static str,
    width: usize,
    depths: [usize; 4],
    windows: [usize; 4],
    /// Of the windows that V2 was trained with before, 0 where it was not.
    before: [usize; 4],
}

const fn variant(name: &'static str, width: usize, depth: usize, window: usize) -> Variant {
    Variant { name, width, depths: [2, 2, depth, 2], windows: [window; 4], before: [0; 4] }
}

/// All of timm's.
static VARIANTS: [Variant; 21] = [
    variant("swin_tiny_patch4_window7_224", 96, 6, 7),
    variant("swin_small_patch4_window7_224", 96, 18, 7),
    variant("swin_base_patch4_window7_224", 128, 18, 7),
    variant("swin_base_patch4_window12_384", 128, 18, 12),
    variant("swin_large_patch4_window7_224", 192, 18, 7),
    variant("swin_large_patch4_window12_384", 192, 18, 12),
    Variant { windows: [7, 7, 14, 7], ..variant("swin_s3_tiny_224", 96, 6, 7) },
    Variant { windows: [14, 14, 14, 7], ..variant("swin_s3_small_224", 96, 18, 7) },
    Variant { windows: [7, 7, 14, 7], ..variant("swin_s3_base_224", 96, 30, 7) },
    variant("swinv2_tiny_window8_256", 96, 6, 8),
    variant("swinv2_tiny_window16_256", 96, 6, 16),
    variant("swinv2_small_window8_256", 96, 18, 8),
    variant("swinv2_small_window16_256", 96, 18, 16),
    variant("swinv2_base_window8_256", 128, 18, 8),
    variant("swinv2_base_window16_256", 128, 18, 16),
    variant("swinv2_base_window12_192", 128, 18, 12),
    Variant { before: BEFORE, ..variant("swinv2_base_window12to16_192to256", 128, 18, 16) },
    Variant { before: BEFORE, ..variant("swinv2_base_window12to24_192to384", 128, 18, 24) },
    variant("swinv2_large_window12_192", 192, 18, 12),
    Variant { before: BEFORE, ..variant("swinv2_large_window12to16_192to256", 192, 18, 16) },
    Variant { before: BEFORE, ..variant("swinv2_large_window12to24_192to384", 192, 18, 24) },
];

const BEFORE: [usize; 4] = [12, 12, 12, 6];

/// The windows of a block.
#[derive(Clone, Copy)]
struct Windows {
    size: [usize; 2],
    /// How far they are shifted down and to the right.
    shift: [usize; 2],
    /// Sides of the windows that V2 was trained with before, 0 where it was not.
    before: usize,
}

/// How a library calls the parts of a block.
struct Parts {
    attention: &'static str,
    /// Behind `attention`: one layer for queries, keys and values, or three.
    qkv: &'static [&'static str],
    out: &'static str,
    positions: &'static str,
    norms: [&'static str; 2],
    mlp: [&'static str; 2],
}

static TIMM_PARTS: Parts = ORIGINAL;

static TRANSFORMERS_PARTS: Parts = Parts {
    attention: "attention.self",
    qkv: &["query", "key", "value"],
    out: "attention.output.dense",
    positions: "continuous_position_bias_mlp",
    norms: ["layernorm_before", "layernorm_after"],
    mlp: ["intermediate.dense", "output.dense"],
};

static TORCHVISION_PARTS: Parts = Parts { mlp: ["mlp.0", "mlp.3"], ..ORIGINAL };

/// The names of the authors' own code.
const ORIGINAL: Parts = Parts {
    attention: "attn",
    qkv: &["qkv"],
    out: "attn.proj",
    positions: "cpb_mlp",
    norms: ["norm1", "norm2"],
    mlp: ["mlp.fc1", "mlp.fc2"],
};

/// A network and what is known of all its blocks.
struct Making<'n> {
    net: Layers<'n>,
    shapes: &'n Shapes,
    parts: &'static Parts,
    v2: bool,
    act: Unary,
    /// Of the norms of a block.
    eps: f64,
    /// Whether a map is filled up in front of the roll.
    fill_first: bool,
    /// What is added between places that are no neighbours.
    apart: f32,
    depths: Vec<usize>,
    dims: Vec<usize>,
    heads: Vec<usize>,
    windows: Vec<usize>,
}

impl<'n> Making<'n> {
    fn new(family: &'static str, source: &Source<'n>, parts: &'static Parts, stem: &str) -> Result<(Self, NodeId), ArchError> {
        let (net, input) = Layers::new(family, source.shapes, stem, source.size, 1e-5)?;
        let v2 = source.shapes.keys().any(|name| name.ends_with(".logit_scale"));
        let (depths, dims, heads, windows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let shapes = source.shapes;
        let making = Self { net, shapes, parts, v2, act: GELU, eps: 1e-5, fill_first: true, apart: -100.0, depths, dims, heads, windows };
        Ok((making, input))
    }

    /// Sides of the patches.
    fn patch(&self, name: &str) -> [usize; 2] {
        match self.shapes.get(&format!("{name}.weight")).map(Vec::as_slice) {
            Some(&[_, _, h, w]) if h > 0 && w > 0 => [h, w],
            _ => [1; 2],
        }
    }

    /// Patches, with the channels last.
    fn stem(&mut self, conv: &str, norm: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let stride = self.patch(conv);
        let x = self.net.conv_as(conv, x, Conv { stride, ..Conv::new(1, 0) })?;
        let x = self.net.transpose(&format!("{conv}.last"), x, &[0, 2, 3, 1])?;
        self.net.layer_norm(norm, x, 1e-5)
    }

    /// All blocks `prefix0`, `prefix1`, ... of a stage. `windows` tells those of a block from its number and the size of the map.
    fn stage(
        &mut self,
        prefix: &str,
        mut x: NodeId,
        windows: impl Fn(usize, [usize; 2]) -> Result<Windows, ArchError>,
    ) -> Result<NodeId, ArchError> {
        let depth = count(self.shapes, prefix);
        self.depths.push(depth);
        self.dims.push(self.net.width(x));
        let size = self.places(x);
        for block in 0..depth {
            let windows = windows(block, size)?;
            if self.windows.len() < self.depths.len() {
                self.windows.push(windows.size[0]);
            }
            x = self.block(prefix, block, x, windows)?;
        }
        Ok(x)
    }

    /// Height and width of a map `[N, H, W, C]`.
    fn places(&self, x: NodeId) -> [usize; 2] {
        match self.net.dims(x).as_slice() {
            &[h, w, _] => [h, w],
            _ => [0; 2],
        }
    }

    fn block(&mut self, stage: &str, block: usize, input: NodeId, windows: Windows) -> Result<NodeId, ArchError> {
        let name = format!("{stage}{block}");
        let [norm1, norm2] = self.parts.norms.map(|part| format!("{name}.{part}"));
        let [first, second] = self.parts.mlp.map(|part| format!("{name}.{part}"));
        let mut x = input;
        if !self.v2 {
            x = self.net.layer_norm(&norm1, x, self.eps)?;
        }
        x = self.windowed(stage, &name, x, windows)?;
        if self.v2 {
            x = self.net.layer_norm(&norm1, x, self.eps)?;
        }
        let between = self.net.sum(&format!("{name}.add1"), input, x)?;
        x = between;
        if !self.v2 {
            x = self.net.layer_norm(&norm2, x, self.eps)?;
        }
        x = self.net.mlp([&first, &second], x, self.act)?;
        if self.v2 {
            x = self.net.layer_norm(&norm2, x, self.eps)?;
        }
        self.net.sum(&format!("{name}.add2"), between, x)
    }

    /// Attention within windows of a map `[N, H, W, C]`.
    fn windowed(&mut self, stage: &str, block: &str, input: NodeId, windows: Windows) -> Result<NodeId, ArchError> {
        let name = format!("{block}.windows");
        let size = self.places(input);
        let Windows { size: [wh, ww], shift, .. } = windows;
        if self.net.is_whole() && [wh, ww].iter().any(|side| !(1..LARGEST + 1).contains(side)) {
            return Err(ArchError::Unsupported(format!("`{block}`: windows of {wh}x{ww} are not built here; export the model to ONNX")));
        }
        let mut x = input;
        if self.fill_first {
            x = self.filled(&name, x, [wh, ww])?;
        }
        x = self.rolled(&format!("{name}.shift"), x, shift.map(|by| -(by as isize)))?;
        if !self.fill_first {
            x = self.filled(&name, x, [wh, ww])?;
        }
        let [h, w] = self.places(x);
        let (rows, columns, channels) = (h / wh.max(1), w / ww.max(1), self.net.width(x));
        x = self.net.reshape(&format!("{name}.cut"), x, &[rows, wh, columns, ww, channels])?;
        x = self.net.transpose(&format!("{name}.beside"), x, &[0, 1, 3, 2, 4, 5])?;
        x = self.net.reshape_by(&format!("{name}.each"), x, rows * columns, &[wh * ww, channels])?;
        let mask = self.mask(stage, block, windows, [h, w]);
        x = self.attention(block, x, windows, mask)?;
        x = self.net.reshape(&format!("{name}.whole"), x, &[rows, columns, wh, ww, channels])?;
        x = self.net.transpose(&format!("{name}.rows"), x, &[0, 1, 3, 2, 4, 5])?;
        x = self.net.reshape(&format!("{name}.map"), x, &[h, w, channels])?;
        // timm takes away what it filled up in front of the roll back, the others behind it.
        if !self.fill_first {
            x = self.cut(&name, x, size)?;
        }
        x = self.rolled(&format!("{name}.back"), x, shift.map(|by| by as isize))?;
        if self.fill_first { self.cut(&name, x, size) } else { Ok(x) }
    }

    fn filled(&mut self, name: &str, x: NodeId, to: [usize; 2]) -> Result<NodeId, ArchError> {
        let size = self.places(x);
        let more = |i: usize| (0, size[i].next_multiple_of(to[i].max(1)) - size[i]);
        self.net.pad(&format!("{name}.fill"), x, vec![(0, 0), more(0), more(1), (0, 0)])
    }

    fn cut(&mut self, name: &str, mut x: NodeId, to: [usize; 2]) -> Result<NodeId, ArchError> {
        for (i, side) in to.into_iter().enumerate() {
            if self.places(x)[i] > side {
                x = self.net.slice(&format!("{name}.cut{i}"), x, i + 1, 0, side)?;
            }
        }
        Ok(x)
    }

    fn rolled(&mut self, name: &str, x: NodeId, by: [isize; 2]) -> Result<NodeId, ArchError> {
        let x = self.net.roll(&format!("{name}.down"), x, 1, by[0])?;
        self.net.roll(&format!("{name}.right"), x, 2, by[1])
    }

    /// What is added to the scores of every window, `[windows, 1, places, places]`, where they are shifted.
    fn mask(&mut self, stage: &str, block: &str, windows: Windows, size: [usize; 2]) -> Option<NodeId> {
        let Windows { size: [wh, ww], shift, .. } = windows;
        if shift == [0; 2] || !self.net.is_whole() {
            return None;
        }
        let region = |i: usize, at: usize| match shift[i] {
            0 => 0,
            by => usize::from(at + windows.size[i] >= size[i]) + usize::from(at + by >= size[i]),
        };
        let (rows, columns, apart) = (size[0] / wh, size[1] / ww, self.apart);
        let mut values = Vec::with_capacity(rows * columns * (wh * ww) * (wh * ww));
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let place = |at: usize| region(0, row * wh + at / ww) * 3 + region(1, column * ww + at % ww);
            let regions: Vec<usize> = (0..wh * ww).map(place).collect();
            values.extend(regions.iter().flat_map(|a| regions.iter().map(move |b| if a == b { 0.0 } else { apart })));
        }
        // Old files of timm hold it; one of images of another size says nothing of these.
        let stored = format!("{block}.attn_mask");
        if self.shapes.get(&stored).is_some_and(|shape| shape.iter().product::<usize>() == values.len()) {
            let array = ArrayD::from_shape_vec(vec![values.len()], values.iter().map(|v| f64::from(*v)).collect());
            self.net.buffer(&stored, array.unwrap_or_default());
        } else {
            self.net.leave_out(&stored, "");
        }
        Some(self.net.constant(&format!("{stage}shifted"), &[rows * columns, 1, wh * ww, wh * ww], &values))
    }

    /// Attention on `[windows N, places, width]`.
    fn attention(&mut self, block: &str, x: NodeId, windows: Windows, mask: Option<NodeId>) -> Result<NodeId, ArchError> {
        let name = format!("{block}.{}", self.parts.attention);
        let qkv = self.queries_keys_values(&name, x)?;
        let bias = self.positions(&name, windows)?;
        let (Some([q, k, v]), Some((bias, heads))) = (qkv, bias) else {
            return self.net.linear(&format!("{block}.{}", self.parts.out), x);
        };
        let net = &mut self.net;
        let [mut q, mut k, v] = [
            net.heads(&format!("{name}.q"), q, heads)?,
            net.heads(&format!("{name}.k"), k, heads)?,
            net.heads(&format!("{name}.v"), v, heads)?,
        ];
        if self.v2 {
            q = net.unit_length(&format!("{name}.q.direction"), q, 3, 1e-12)?;
            k = net.unit_length(&format!("{name}.k.direction"), k, 3, 1e-12)?;
        }
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        let columns = net.transpose(&format!("{name}.columns"), k, &[0, 1, 3, 2])?;
        let mut scores = net.matmul(&format!("{name}.scores"), q, columns)?;
        scores = if self.v2 {
            let factor = net.tensor(&format!("{name}.logit_scale"), &[heads, 1, 1], Role::Scale);
            let most = Unary::Clip { min: f64::NEG_INFINITY, max: 100f64.ln() };
            let factor = net.act(&format!("{name}.logit_scale.most"), most, factor)?;
            let factor = net.act(&format!("{name}.logit_scale.exp"), Unary::Exp, factor)?;
            net.mul(&format!("{name}.scaled"), scores, factor)?
        } else {
            net.affine(&format!("{name}.scaled"), scores, scale, 0.0)?
        };
        scores = net.sum(&format!("{name}.biased"), scores, bias)?;
        if let Some(mask) = mask {
            let (each, tokens) = (net.per_image(scores), net.width(scores));
            let together = net.reshape(&format!("{name}.images"), scores, &[each, heads, tokens, tokens])?;
            let masked = net.sum(&format!("{name}.masked"), together, mask)?;
            scores = net.reshape_by(&format!("{name}.apart"), masked, each, &[heads, tokens, tokens])?;
        }
        let shares = net.add(&format!("{name}.shares"), Op::Softmax { axis: 3 }, &[scores])?;
        let mixed = net.matmul(&format!("{name}.attention"), shares, v)?;
        let x = net.together(&name, mixed)?;
        net.linear(&format!("{block}.{}", self.parts.out), x)
    }

    /// Queries, keys and values; keys of V2 have no bias.
    fn queries_keys_values(&mut self, name: &str, x: NodeId) -> Result<Option<[NodeId; 3]>, ArchError> {
        let net = &mut self.net;
        if let &[q, k, v] = self.parts.qkv {
            let [q, k, v] =
                [net.linear(&format!("{name}.{q}"), x)?, net.linear(&format!("{name}.{k}"), x)?, net.linear(&format!("{name}.{v}"), x)?];
            return Ok(net.is_whole().then_some([q, k, v]));
        }
        let qkv = format!("{name}.qkv");
        if !self.v2 {
            let all = net.linear(&qkv, x)?;
            let parts = net.split(&format!("{qkv}.split"), all, 2, 3)?;
            return Ok(<[NodeId; 3]>::try_from(parts).ok().filter(|_| net.is_whole()));
        }
        let Some(found) = net.look(&format!("{qkv}.weight")) else { return Ok(None) };
        let width = net.width(x);
        if !net.is_whole() {
            return Ok(None);
        }
        if found != [3 * width, width] {
            net.misfit(&format!("{qkv}.weight"), &found, &format!("[{}, {width}]", 3 * width), x);
            return Ok(None);
        }
        let weight = net.tensor(&format!("{qkv}.weight"), &found, Role::Weight);
        let all = net.add(&qkv, Op::Linear, &[x, weight])?;
        let parts = net.split(&format!("{qkv}.split"), all, 2, 3)?;
        let &[mut q, k, mut v] = parts.as_slice() else { return Ok(None) };
        // One bias, of which torchvision leaves out the keys' part, or two.
        if net.has(&format!("{qkv}.bias")) {
            let bias = net.tensor(&format!("{qkv}.bias"), &[3 * width], Role::Bias);
            let of_q = net.slice(&format!("{qkv}.bias.q"), bias, 0, 0, width)?;
            let of_v = net.slice(&format!("{qkv}.bias.v"), bias, 0, 2 * width, 3 * width)?;
            q = net.sum(&format!("{qkv}.q.biased"), q, of_q)?;
            v = net.sum(&format!("{qkv}.v.biased"), v, of_v)?;
        } else if net.has(&format!("{name}.q_bias")) || net.has(&format!("{name}.v_bias")) {
            let of_q = net.tensor(&format!("{name}.q_bias"), &[width], Role::Bias);
            let of_v = net.tensor(&format!("{name}.v_bias"), &[width], Role::Bias);
            q = net.sum(&format!("{qkv}.q.biased"), q, of_q)?;
            v = net.sum(&format!("{qkv}.v.biased"), v, of_v)?;
            net.buffer(&format!("{name}.k_bias"), ArrayD::zeros(vec![width]));
        }
        Ok(net.is_whole().then_some([q, k, v]))
    }

    /// What is added to the scores for where two places are to one another, `[heads, places, places]`, and how many heads there are.
    fn positions(&mut self, name: &str, windows: Windows) -> Result<Option<(NodeId, usize)>, ArchError> {
        let Windows { size: [wh, ww], .. } = windows;
        let rows = (2 * wh).saturating_sub(1) * (2 * ww).saturating_sub(1);
        let table = if self.v2 { self.computed_table(name, windows)? } else { self.stored_table(name, rows) };
        let Some((table, heads)) = table.filter(|_| self.net.is_whole()) else { return Ok(None) };
        let places = wh * ww;
        let offset = |a: usize, b: usize| (a / ww + wh - 1 - b / ww) * (2 * ww - 1) + a % ww + ww - 1 - b % ww;
        let index: Vec<usize> = (0..places).flat_map(|a| (0..places).map(move |b| offset(a, b))).collect();
        let net = &mut self.net;
        let stored = format!("{name}.relative_position_index");
        if net.has(&stored) {
            let array = ArrayD::from_shape_vec(vec![index.len()], index.iter().map(|&at| at as f64).collect());
            net.buffer(&stored, array.unwrap_or_default());
        }
        let bias = net.select(&format!("{name}.position"), table, 0, index)?;
        let bias = net.reshape_fixed(&format!("{name}.position.pairs"), bias, &[places, places, heads])?;
        Ok(Some((net.transpose(&format!("{name}.position.bias"), bias, &[2, 0, 1])?, heads)))
    }

    /// A table `[relative positions, heads]`.
    fn stored_table(&mut self, name: &str, rows: usize) -> Option<(NodeId, usize)> {
        let table = format!("{name}.relative_position_bias_table");
        let found = self.net.look(&table).filter(|_| self.net.is_whole())?;
        match *found.as_slice() {
            [there, heads] if there == rows && heads > 0 => {
                self.told_heads(heads);
                Some((self.net.tensor(&table, &found, Role::Embedding), heads))
            }
            _ => {
                self.net.misfit(&table, &found, &format!("[{rows}, heads]"), NodeId(0));
                None
            }
        }
    }

    /// What the network of V2 makes of every relative position.
    fn computed_table(&mut self, name: &str, windows: Windows) -> Result<Option<(NodeId, usize)>, ArchError> {
        let [first, second] = ["0", "2"].map(|layer| format!("{name}.{}.{layer}", self.parts.positions));
        let Windows { size: [wh, ww], before, .. } = windows;
        let scale = self.net.look(&format!("{name}.logit_scale"));
        let (Some(&heads), true) = (scale.as_deref().and_then(<[usize]>::first), self.net.is_whole()) else {
            for tensor in [format!("{first}.weight"), format!("{first}.bias"), format!("{second}.weight")] {
                self.net.look(&tensor);
            }
            return Ok(None);
        };
        self.told_heads(heads);
        let far = |side: usize| if before > 0 { before - 1 } else { side - 1 }.max(1) as f64;
        let along = |at: usize, side: usize| {
            let at = 8.0 * (at as f64 - (side as f64 - 1.0)) / far(side);
            (at.signum() * (at.abs() + 1.0).log2() / 3.0) as f32
        };
        let coordinates: Vec<f32> = (0..2 * wh - 1).flat_map(|y| (0..2 * ww - 1).flat_map(move |x| [along(y, wh), along(x, ww)])).collect();
        let stored = format!("{name}.relative_coords_table");
        let net = &mut self.net;
        if net.has(&stored) {
            let array = ArrayD::from_shape_vec(vec![coordinates.len()], coordinates.iter().map(|v| f64::from(*v)).collect());
            net.buffer(&stored, array.unwrap_or_default());
        }
        let x = net.constant(&format!("{name}.coordinates"), &[coordinates.len() / 2, 2], &coordinates);
        let x = net.mlp([&first, &second], x, Unary::Relu)?;
        let x = net.act(&format!("{second}.sigmoid"), Unary::Sigmoid, x)?;
        let x = net.affine(&format!("{second}.scaled"), x, 16.0, 0.0)?;
        if net.is_whole() && net.width(x) != heads {
            let found = self.shapes.get(&format!("{second}.weight")).cloned().unwrap_or_default();
            net.misfit(&format!("{second}.weight"), &found, &format!("[{heads}, hidden]"), x);
        }
        Ok(Some((x, heads)))
    }

    /// The heads of a stage are those of its first block; all its blocks must have as many.
    fn told_heads(&mut self, heads: usize) {
        if self.heads.len() < self.depths.len() {
            self.heads.push(heads);
        }
    }

    /// Four neighbours become one place of half the map.
    fn merged(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let x = self.filled(name, x, [2; 2])?;
        let ([h, w], channels) = (self.places(x), self.net.width(x));
        let net = &mut self.net;
        let x = net.reshape(&format!("{name}.pairs"), x, &[h / 2, 2, w / 2, 2, channels])?;
        let x = net.transpose(&format!("{name}.beside"), x, &[0, 1, 3, 4, 2, 5])?;
        let x = net.reshape(&format!("{name}.four"), x, &[h / 2, w / 2, 4 * channels])?;
        let (reduction, norm) = (format!("{name}.reduction"), format!("{name}.norm"));
        if self.v2 {
            let x = net.linear(&reduction, x)?;
            return net.layer_norm(&norm, x, 1e-5);
        }
        let x = net.layer_norm(&norm, x, 1e-5)?;
        net.linear(&reduction, x)
    }

    /// The last norm, and the mean over all places or the greatest value.
    fn pooled(&mut self, norm: &str, eps: f64, max: bool, x: NodeId) -> Result<NodeId, ArchError> {
        let x = self.net.layer_norm(norm, x, eps)?;
        let kind = if max { Reduce::Max } else { Reduce::Mean };
        self.net.add("pooled", Op::Reduce { kind, axes: vec![1, 2], keep: false }, &[x])
    }

    /// Holds what is said of stages against what was found.
    fn agrees(&self, config: &Config, depths: &[usize], heads: Option<&[usize]>, width: usize) -> Result<(), ArchError> {
        staged::agree(config, "depths", &self.depths, Some(depths))?;
        staged::agree(config, "num_heads", &self.heads, heads)?;
        let each = config.counts("embed_dim")?.is_some_and(|said| said.len() > 1);
        let widths = self.dims.get(..if each { self.dims.len() } else { 1 }).unwrap_or_default();
        staged::agree(config, "embed_dim", widths, Some(&[width]))?;
        let mut ends = self.shapes.keys();
        let biased = ends.any(|name| [".qkv.bias", ".q_bias", ".query.bias"].iter().any(|end| name.ends_with(end)));
        staged::switch(config, "qkv_bias", biased)
    }

    /// For people.
    fn told(&self, library: &str) -> String {
        let kind = if self.v2 { "Swin V2" } else { "Swin" };
        let act = if self.act == GELU { String::new() } else { format!(", {:?}", self.act) };
        let width = self.dims.first().copied().unwrap_or(0);
        let mut windows = self.windows.clone();
        windows.dedup();
        let (depths, windows) = (plus(&self.depths), plus(&windows));
        format!("{kind}, {depths} blocks from width {width}, windows of {windows}, {library} names{act}")
    }
}

/// timm's `window_size`: a number, height and width, or either of these for every stage.
fn timm_windows(config: &Config, known: [usize; 4], stages: usize) -> Result<Vec<[usize; 2]>, ArchError> {
    let Some(value) = config.get("window_size") else { return Ok(known.iter().map(|&side| [side; 2]).collect()) };
    let refused = || config.refused("window_size", value);
    let number = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| (1..=1 << 12).contains(v));
    let one = |value: &Value| match value {
        Value::Array(two) => match two.as_slice() {
            [h, w] => Some([number(h)?, number(w)?]),
            _ => None,
        },
        one => number(one).map(|side| [side; 2]),
    };
    let all = match value {
        Value::Array(values) if values.len() != 2 || values.iter().any(Value::is_array) => {
            values.iter().map(one).collect::<Option<Vec<_>>>()
        }
        value => one(value).map(|window| vec![window; stages]),
    };
    all.filter(|all| all.len() == stages).ok_or_else(refused)
}

fn build_timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, size } = source;
    let Some(known) = staged::entry(config, &VARIANTS, |v| v.name) else {
        return Err(ArchError::NeedsName {
            family: TIMM.name,
            what: "the sizes of the windows".to_owned(),
            names: vec!["timm/swin_tiny_patch4_window7_224".to_owned(), "timm/swinv2_tiny_window8_256".to_owned()],
        });
    };
    let stages = count(shapes, "layers.");
    let windows = timm_windows(config, known.windows, stages)?;
    let before = config.counts("pretrained_window_sizes")?.unwrap_or_else(|| known.before.to_vec());
    let whole = config.flag("always_partition", false)?;
    let any_size = !config.flag("strict_img_size", true)? || config.flag("dynamic_img_size", false)?;
    let built_for = staged::pair(config, "img_size")?.unwrap_or(*size);
    config.shown(&["attn_drop_rate", "head_dim", "mlp_ratio", "proj_drop_rate", "weight_init"]);
    let (mut making, input) = Making::new(TIMM.name, source, &TIMM_PARTS, "patch_embed.proj.weight")?;
    let patch = making.patch("patch_embed.proj");
    check_size(*size, patch, built_for, any_size)?;
    let said = staged::pair(config, "patch_size")?.unwrap_or([4; 2]);
    if said != patch && making.net.has("patch_embed.proj.weight") {
        return Err(config.refused("patch_size", &said.to_vec().into()));
    }
    making.act = if making.v2 { config.act("act_layer")?.unwrap_or(GELU) } else { GELU };
    making.fill_first = false;
    let max = staged::pools_max(config)?;
    let mut x = making.stem("patch_embed.proj", "patch_embed.norm", input)?;
    for stage in 0..stages {
        if stage > 0 {
            x = making.merged(&format!("layers.{stage}.downsample"), x)?;
        }
        let target = windows.get(stage).copied().unwrap_or([1; 2]);
        let map = [0, 1].map(|i| (built_for[i] / patch[i]).div_ceil(1 << stage.min(32)));
        let before = before.get(stage).copied().unwrap_or(0);
        x = making.stage(&format!("layers.{stage}.blocks."), x, |block, _| {
            let halves = if block % 2 == 1 { target.map(|side| side / 2) } else { [0; 2] };
            if whole {
                return Ok(Windows { size: target, shift: halves, before });
            }
            let size = [0, 1].map(|i| target[i].min(map[i]));
            let shift = [0, 1].map(|i| if map[i] <= size[i] { 0 } else { halves[i] });
            Ok(Windows { size, shift, before })
        })?;
    }
    x = making.pooled("norm", 1e-5, max, x)?;
    x = staged::head(&mut making.net, shapes, "head.fc", x)?;
    if making.net.is_whole() && stages > 0 {
        let heads = [1, 2, 4, 8].map(|factor| known.width / 32 * factor);
        making.agrees(config, &known.depths, Some(&heads), known.width)?;
        if making.v2 != known.name.starts_with("swinv2") {
            let (name, told) = (known.name, making.told("timm"));
            return Err(ArchError::Unsupported(format!("`{name}` is of another network than the weights, a {told}")));
        }
    }
    let told = making.told("timm");
    let pool = if max { ", max pooling" } else { "" };
    making.net.finish(x, format!("{told}{pool}"))
}

/// timm takes images of the size that a network was built for, unless it is to take any.
fn check_size(size: [usize; 2], patch: [usize; 2], built_for: [usize; 2], any: bool) -> Result<(), ArchError> {
    let [h, w] = size;
    if size != built_for && !any {
        let [bh, bw] = built_for;
        return Err(ArchError::Unsupported(format!(
            "config.json: `model_args.img_size` makes it a network for images of {bh}x{bw}, and they are to be {h}x{w}"
        )));
    }
    if h % patch[0] != 0 || w % patch[1] != 0 {
        let [ph, pw] = patch;
        return Err(ArchError::Unsupported(format!("images of {h}x{w} cannot be cut into patches of {ph}x{pw}")));
    }
    Ok(())
}

fn build_transformers(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let base = ["swin.", "swinv2."].map(|prefix| staged::base(shapes, prefix)).concat();
    let embeddings = format!("{base}embeddings");
    let patches = format!("{embeddings}.patch_embeddings.projection");
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-5);
    let window = config.count("window_size")?.unwrap_or(7);
    let before = config.counts("pretrained_window_sizes")?.unwrap_or_default();
    let image = staged::pair(config, "image_size")?.unwrap_or([224; 2]);
    config.shown(&["attention_probs_dropout_prob", "drop_path_rate", "encoder_stride", "hidden_dropout_prob", "mlp_ratio"]);
    let (mut making, input) = Making::new(TRANSFORMERS.name, source, &TRANSFORMERS_PARTS, &format!("{patches}.weight"))?;
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
    staged::switch(config, "use_absolute_embeddings", there)?;
    if !there || !making.net.is_whole() {
        return Ok(x);
    }
    let ([h, w], channels) = (making.places(x), making.net.width(x));
    let table = making.net.tensor(name, &[1, h * w, channels], Role::Embedding);
    let table = making.net.reshape_fixed(&format!("{name}.map"), table, &[1, h, w, channels])?;
    making.net.sum(&format!("{name}.add"), x, table)
}

fn build_torchvision(source: &Source) -> Result<Built, ArchError> {
    let shapes = source.shapes;
    let (mut making, input) = Making::new(TORCHVISION.name, source, &TORCHVISION_PARTS, "features.0.0.weight")?;
    let mut x = making.stem("features.0.0", "features.0.2", input)?;
    let stages = (0..shapes.len()).take_while(|stage| count(shapes, &format!("features.{}.", 2 * stage + 1)) > 0).count();
    for stage in 0..stages {
        let name = format!("features.{}.", 2 * stage + 1);
        let window = torchvision_window(shapes, &name);
        x = making.stage(&name, x, |block, size| {
            // A map is filled up to whole windows, and not shifted along an axis that has but one.
            let half = |side: usize, size: usize| if block % 2 == 1 && size > side { side / 2 } else { 0 };
            Ok(Windows { size: window, shift: [half(window[0], size[0]), half(window[1], size[1])], before: 0 })
        })?;
        if stage + 1 < stages {
            x = making.merged(&format!("features.{}", 2 * stage + 2), x)?;
        }
    }
    x = making.pooled("norm", 1e-5, false, x)?;
    x = staged::head(&mut making.net, shapes, "head", x)?;
    let told = making.told("torchvision");
    making.net.finish(x, told)
}

/// The sides of the windows of a stage, which are those of its table of relative positions; V1 has square ones alone.
fn torchvision_window(shapes: &Shapes, stage: &str) -> [usize; 2] {
    let part = |part: &str| shapes.get(&format!("{stage}0.attn.{part}")).map(Vec::as_slice);
    match (part("relative_coords_table"), part("relative_position_bias_table")) {
        (Some(&[1, h, w, 2]), _) => [h.div_ceil(2), w.div_ceil(2)],
        (None, Some(&[rows, _])) => [rows.isqrt().div_ceil(2); 2],
        _ => [7; 2],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn windows(said: &Value) -> Result<Vec<[usize; 2]>, String> {
        let config = json!({"architecture": "swin_s3_tiny_224", "model_args": {"window_size": said}, "pretrained_cfg": {}});
        let config = Config::of(Some(&config), None, false).map_err(|e| e.to_string())?;
        timm_windows(&config, [7, 7, 14, 7], 4).map_err(|e| e.to_string())
    }

    #[test]
    fn windows_are_read_as_timm_reads_them() {
        assert_eq!(windows(&Value::Null), Ok(vec![[7; 2], [7; 2], [14; 2], [7; 2]]));
        assert_eq!(windows(&json!(8)), Ok(vec![[8; 2]; 4]));
        assert_eq!(windows(&json!([7, 12])), Ok(vec![[7, 12]; 4]));
        assert_eq!(windows(&json!([7, [7, 12], 14, 7])), Ok(vec![[7; 2], [7, 12], [14; 2], [7; 2]]));
        for wrong in [json!(0), json!([7, 7, 7]), json!("7"), json!([[7, 7], [7, 7]]), json!(1 << 20), json!([7, 7, 7, 0])] {
            assert!(windows(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_index_of_torchvision_windows_tells_their_sides() {
        let shapes = |part: &str, shape: &[usize]| Shapes::from([(format!("features.1.0.attn.{part}"), shape.to_vec())]);
        assert_eq!(torchvision_window(&shapes("relative_position_bias_table", &[169, 3]), "features.1."), [7; 2]);
        assert_eq!(torchvision_window(&shapes("relative_coords_table", &[1, 15, 13, 2]), "features.1."), [8, 7]);
    }
}
