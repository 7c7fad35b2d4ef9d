//! Swin (Liu et al., arXiv 2103.14030) and Swin V2 (Liu et al., arXiv 2111.09883) under the names of timm, Hugging Face Transformers and
//! torchvision.
//!
//! Attention is within windows, in every second block within windows that are shifted: the map is rolled, and a mask keeps places apart that
//! were none another's neighbours. The libraries agree on that and differ in three things: timm fills a map up behind the roll, the others in
//! front of it; windows that are larger than a map become smaller in timm, not in torchvision; and Transformers adds the mask of V2 twice.
//!
//! V2 compares directions, not products, and its table of positions is what a small network makes of their logarithms. That network is part of
//! the graph, so it trains.
//!
//! A file of this folder for each library, and here the blocks that all have; `attention` is what happens within a window.

mod attention;
mod hf;
mod timm;
mod torchvision;

use ndarray::ArrayD;

use super::config::Config;
use super::layers::{Conv, Layers, count};
use super::staged::{self, plus};
use super::{ArchError, Family, Shapes, Source};
use crate::graph::{NodeId, Op, Reduce, Unary};

pub(super) static FAMILIES: &[&Family] = &[&timm::FAMILY, &hf::FAMILY, &torchvision::FAMILY];

const GELU: Unary = Unary::Gelu { tanh: false };

/// Sides of windows from here on are refused: an index for every pair of places in a window is kept.
const LARGEST: usize = 64;

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
