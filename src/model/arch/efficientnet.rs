//! Networks of inverted residuals under timm's names: `EfficientNet` (arXiv 1905.11946) and its V2 (arXiv 2104.00298), Lite and `EdgeTPU` kinds,
//! `MobileNet` V1 to V4 (arXiv 1704.04861, 1801.04381, 1905.02244, 2404.10518), `MnasNet` (arXiv 1807.11626), `MixNet` (arXiv 1907.09595),
//! `FBNet` (arXiv 1812.03443), `TinyNet` (arXiv 2010.14819), `LCNet` (arXiv 2109.15099), `HardCoRe-NAS` (arXiv 2102.11646).
//!
//! Tensors show what kind each block is, widths, kernels and groups. Strides, activations, padding and which shortcuts are left out follow from the
//! name: `efficientnet/architectures.txt` has a line for each, which `tests/golden/zoo/architectures_efficientnet.py` wrote from timm itself.

use super::config::{Config, Library, Name};
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Op, Reduce, Unary};

const ARCHITECTURES: &str = include_str!("efficientnet/architectures.txt");
const RELU6: Unary = Unary::Clip { min: 0.0, max: 6.0 };
const HARD_SIGMOID: Unary = Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

pub(super) static FAMILY: Family = Family {
    name: "efficientnet-timm",
    about: "EfficientNet, MobileNetV1 to V4, MnasNet, MixNet, FBNet, TinyNet, LCNet and HardCoRe-NAS under timm's names; the name says which",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && Architecture::line(name).is_some(),
    stems: &[],
    within: &["efficientnet-lite"],
    shows: |shapes| {
        let first = ["conv_dw", "conv_exp", "conv"].iter().any(|part| shapes.contains_key(&format!("blocks.0.0.{part}.weight")));
        if first && shapes.contains_key("conv_stem.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// What brings a map to half its size behind a convolution that would stride.
#[derive(Clone, Copy, PartialEq)]
enum Thin {
    /// The mean of 2x2.
    Mean,
    /// A blur (Zhang, arXiv 1904.11486).
    Blur,
}

/// What a block does that its tensors do not show.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub stride: usize,
    pub act: Unary,
    /// An inverted residual goes without its shortcut.
    no_shortcut: bool,
    /// A plain convolution has one.
    shortcut: bool,
    /// An activation behind the last convolution.
    act_behind: bool,
}

/// What a name says.
struct Architecture {
    name: &'static str,
    act: Unary,
    padding: Padding,
    eps: f64,
    /// Channels in a group of the group norms, where there are no batch norms.
    group: Option<usize>,
    gate: Unary,
    /// Within squeeze-and-excitation, where that is not the block's activation.
    squeeze: Option<Unary>,
    thin: Option<Thin>,
    /// The head pools first.
    late: bool,
    stages: Vec<Vec<Block>>,
}

impl Architecture {
    fn line(name: &Name) -> Option<&'static str> {
        ARCHITECTURES.lines().find(|line| line.split(' ').next().is_some_and(|own| name.is_one_of([own])))
    }

    /// The architecture of a name, with the network's activation where it is said to be another one.
    fn read(line: &'static str, said: Option<Unary>) -> Option<Self> {
        let mut words = line.split(' ');
        let (name, act, options) = (words.next()?, words.next()?, words.next()?);
        let act = match said {
            Some(act) => act,
            None => activation(act)?,
        };
        let mut read = Self {
            name,
            act,
            padding: Padding::Half,
            eps: 1e-5,
            group: None,
            gate: Unary::Sigmoid,
            squeeze: None,
            thin: None,
            late: false,
            stages: words.map(|stage| blocks(stage, act)).collect::<Option<_>>()?,
        };
        for option in options.split(',').filter(|option| *option != "-") {
            match option.split_once('=').unwrap_or((option, "")) {
                ("same", _) => read.padding = Padding::SameUpper,
                ("late", _) => read.late = true,
                ("eps", eps) => read.eps = eps.parse().ok()?,
                ("group", size) => read.group = Some(size.parse().ok()?),
                ("gate", gate) => read.gate = activation(gate)?,
                ("squeeze", act) => read.squeeze = Some(activation(act)?),
                ("aa", "avg") => read.thin = Some(Thin::Mean),
                ("aa", "blur") => read.thin = Some(Thin::Blur),
                _ => return None,
            }
        }
        Some(read)
    }

    /// What the name says, and what is said beside it.
    fn of(config: &Config) -> Result<Self, ArchError> {
        let said = config.act("act_layer")?;
        let named = config.name.as_ref().and_then(Self::line).and_then(|line| Self::read(line, said));
        let mut read = named.ok_or_else(|| ArchError::NeedsName {
            family: "an EfficientNet or MobileNet under timm's names",
            what: "strides, activations and padding".into(),
            names: ["timm/efficientnet_b0", "timm/tf_efficientnet_b0", "timm/mobilenetv3_large_100"].map(String::from).to_vec(),
        })?;
        if let Some(eps) = config.number("bn_eps")? {
            read.eps = eps;
        }
        match config.text("pad_type")? {
            None => {}
            Some("") => read.padding = Padding::Half,
            Some("same") => read.padding = Padding::SameUpper,
            Some(other) => return Err(config.refused("pad_type", &other.into())),
        }
        config.only("output_stride", 32)?;
        config.only("features_only", false)?;
        for key in ["aa_layer", "block_args", "feature_location", "norm_layer", "round_chs_fn", "se_layer"] {
            if let Some(value) = config.get(key) {
                return Err(config.refused(key, value));
            }
        }
        config.shown(&["bn_momentum", "fix_stem", "head_bias", "head_norm", "layer_scale_init_value", "num_features"]);
        config.shown(&["se_from_exp", "stem_kernel_size", "stem_size"]);
        Ok(read)
    }
}

fn activation(name: &str) -> Option<Unary> {
    Some(match name {
        "relu" => Unary::Relu,
        "relu6" => RELU6,
        "silu" => Unary::Silu,
        "hard_swish" => Unary::HardSwish,
        "gelu" => Unary::Gelu { tanh: false },
        "sigmoid" => Unary::Sigmoid,
        "hard_sigmoid" => HARD_SIGMOID,
        _ => return None,
    })
}

/// The blocks of a stage: `2x1n+3` strides by 2 in the first of four, which has no shortcut.
pub(super) fn blocks(stage: &str, act: Unary) -> Option<Vec<Block>> {
    let (stride, runs) = stage.split_once('x')?;
    let mut blocks = Vec::new();
    for run in runs.split('+') {
        let letters = run.trim_start_matches(|c: char| c.is_ascii_digit());
        let many: usize = run.strip_suffix(letters)?.parse().ok()?;
        let has = |letter| letters.contains(letter);
        let act = if has('r') {
            Unary::Relu
        } else if has('w') {
            Unary::Silu
        } else {
            act
        };
        let block = Block { stride: 1, act, no_shortcut: has('n') || has('a'), shortcut: has('s'), act_behind: has('a') };
        blocks.extend(std::iter::repeat_n(block, many));
    }
    blocks.first_mut()?.stride = stride.parse().ok()?;
    Some(blocks)
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let arch = Architecture::of(config)?;
    let max = match config.pooling("avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    let (net, input) = Layers::new(FAMILY.name, shapes, "conv_stem.weight", *size, arch.eps)?;
    let mut maker = Maker { net, shapes, arch: &arch };
    let mut x = maker.unit(["conv_stem", "bn1"], input, 2, Groups::One, Some(arch.act))?;
    let mut many = 0;
    for (s, stage) in arch.stages.iter().enumerate() {
        for (b, block) in stage.iter().enumerate() {
            x = maker.block(&format!("blocks.{s}.{b}"), x, *block)?;
            many += 1;
        }
    }
    x = maker.head(x, max)?;
    if shapes.keys().any(|name| name.starts_with("classifier.")) {
        x = maker.net.linear("classifier", x)?;
    }
    let act = if config.says("act_layer") { format!(", {:?}", arch.act) } else { String::default() };
    let pool = if max { ", max pooling" } else { "" };
    maker.net.finish(x, format!("{}, {many} blocks, timm names{act}{pool}", arch.name))
}

struct Maker<'a> {
    net: Layers<'a>,
    shapes: &'a Shapes,
    arch: &'a Architecture,
}

impl Maker<'_> {
    /// A convolution, or as many as `MixNet` has in its place: each on its share of the channels, with a kernel of its own.
    fn conv(&mut self, name: &str, x: NodeId, stride: usize, groups: Groups) -> Result<NodeId, ArchError> {
        let parts = count(self.shapes, &format!("{name}."));
        if parts == 0 {
            return self.one_conv(name, x, stride, groups);
        }
        let channels = self.net.channels(x);
        let each = channels / parts;
        let mut mixed = Vec::new();
        let mut start = 0;
        for part in 0..parts {
            let end = if part == 0 { channels - each * (parts - 1) } else { start + each };
            let name = format!("{name}.{part}");
            let share = self.net.slice(&format!("{name}.share"), x, 1, start, end)?;
            mixed.push(self.one_conv(&name, share, stride, groups)?);
            start = end;
        }
        self.net.concat(name, 1, &mixed)
    }

    fn one_conv(&mut self, name: &str, x: NodeId, stride: usize, groups: Groups) -> Result<NodeId, ArchError> {
        let kernel = self.shapes.get(&format!("{name}.weight")).and_then(|shape| shape.get(2)).copied().unwrap_or(1);
        // Even kernels are those of space-to-depth, padded as TensorFlow does whatever the rest is.
        let padding = if kernel.is_multiple_of(2) { Padding::SameUpper } else { self.arch.padding };
        self.net.conv(name, x, stride, groups, padding)
    }

    fn norm(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        match self.arch.group {
            None => self.net.norm(name, x),
            // A width that no groups of this size make up is refused by the norm.
            Some(size) if self.net.is_whole() => {
                let channels = self.net.channels(x);
                let groups = if channels.is_multiple_of(size.max(1)) { channels / size.max(1) } else { 0 };
                self.net.group_norm(name, x, groups, 1e-5)
            }
            Some(_) => Ok(x),
        }
    }

    /// Convolution, norm and, where there is one, activation.
    fn unit(&mut self, [conv, norm]: [&str; 2], x: NodeId, stride: usize, groups: Groups, act: Option<Unary>) -> Result<NodeId, ArchError> {
        let x = self.conv(conv, x, stride, groups)?;
        let x = self.norm(norm, x)?;
        match act {
            Some(act) => self.net.act(&format!("{norm}.act"), act, x),
            None => Ok(x),
        }
    }

    /// The unit that may stride: `thin` is the name of what strides in its place.
    fn striding(
        &mut self,
        names: [&str; 2],
        thin: &str,
        x: NodeId,
        (stride, groups): (usize, Groups),
        act: Option<Unary>,
    ) -> Result<NodeId, ArchError> {
        let Some(how) = self.arch.thin.filter(|_| stride > 1) else { return self.unit(names, x, stride, groups, act) };
        let x = self.unit(names, x, 1, groups, act)?;
        match how {
            Thin::Mean => self.net.avg_pool(thin, x, stride, stride, 0, true),
            Thin::Blur => {
                let channels = self.net.channels(x);
                let binomial = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0].map(|weight| weight / 16.0);
                let weight = self.net.constant(&format!("{thin}.filt"), &[channels, 1, 3, 3], &binomial.repeat(channels));
                self.net.conv_by(thin, x, weight, "", Conv { groups: channels, ..Conv::new(stride, 1) })
            }
        }
    }

    fn excited(&mut self, name: &str, x: NodeId, act: Unary) -> Result<NodeId, ArchError> {
        let [reduce, expand] = ["conv_reduce", "conv_expand"].map(|part| format!("{name}.se.{part}"));
        if !self.net.has(&format!("{reduce}.weight")) {
            return Ok(x);
        }
        self.net.excited([&reduce, &expand], x, self.arch.squeeze.unwrap_or(act), self.arch.gate)
    }

    fn block(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let has = |part: &str| self.net.has(&format!("{name}.{part}.weight"));
        if has("conv_exp") {
            self.edge(name, input, block)
        } else if has("pw_exp.conv") {
            self.universal(name, input, block)
        } else if has("attn.query.proj") {
            self.attention(name, input, block)
        } else if has("conv") {
            self.plain(name, input, block)
        } else if has("conv_pwl") || has("conv_pwl.0") {
            self.inverted(name, input, block)
        } else {
            self.separable(name, input, block)
        }
    }

    /// The shortcut around a block that neither strides nor changes the width.
    fn around(&mut self, name: &str, input: NodeId, x: NodeId, wanted: bool) -> Result<NodeId, ArchError> {
        let fits = self.net.channels(input) == self.net.channels(x) && self.net.size(input) == self.net.size(x);
        if wanted && fits { self.net.sum(&format!("{name}.add"), x, input) } else { Ok(x) }
    }

    /// Space to depth, in front of a block that has it.
    fn deepened(&mut self, name: &str, x: NodeId, act: Unary) -> Result<NodeId, ArchError> {
        let names = ["conv_s2d", "bn_s2d"].map(|part| format!("{name}.{part}"));
        if !self.net.has(&format!("{}.weight", names[0])) {
            return Ok(x);
        }
        self.unit([&names[0], &names[1]], x, 2, Groups::One, Some(act))
    }

    /// A plain convolution.
    fn plain(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let [conv, norm, thin] = parts(name, ["conv", "bn1", "aa"]);
        let x = self.striding([&conv, &norm], &thin, input, (block.stride, Groups::Fitting), Some(block.act))?;
        self.around(name, input, x, block.shortcut && block.stride == 1)
    }

    /// Depthwise, then pointwise.
    fn separable(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let x = self.deepened(name, input, block.act)?;
        let [dw, bn1, thin, pw, bn2] = parts(name, ["conv_dw", "bn1", "aa", "conv_pw", "bn2"]);
        let x = self.striding([&dw, &bn1], &thin, x, (block.stride, Groups::Fitting), Some(block.act))?;
        let x = self.excited(name, x, block.act)?;
        let x = self.unit([&pw, &bn2], x, 1, Groups::One, block.act_behind.then_some(block.act))?;
        self.around(name, input, x, !block.no_shortcut && block.stride == 1)
    }

    /// Wider, depthwise, narrower.
    fn inverted(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let x = self.deepened(name, input, block.act)?;
        let [pw, bn1, dw, bn2, thin, last, bn3] = parts(name, ["conv_pw", "bn1", "conv_dw", "bn2", "aa", "conv_pwl", "bn3"]);
        let x = self.unit([&pw, &bn1], x, 1, Groups::One, Some(block.act))?;
        let x = self.striding([&dw, &bn2], &thin, x, (block.stride, Groups::Fitting), Some(block.act))?;
        let x = self.excited(name, x, block.act)?;
        let x = self.unit([&last, &bn3], x, 1, Groups::One, None)?;
        self.around(name, input, x, !block.no_shortcut && block.stride == 1)
    }

    /// Wider and over space in one, then narrower.
    fn edge(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let [exp, bn1, thin, last, bn2] = parts(name, ["conv_exp", "bn1", "aa", "conv_pwl", "bn2"]);
        let x = self.striding([&exp, &bn1], &thin, input, (block.stride, Groups::Fitting), Some(block.act))?;
        let x = self.excited(name, x, block.act)?;
        let x = self.unit([&last, &bn2], x, 1, Groups::One, None)?;
        self.around(name, input, x, !block.no_shortcut && block.stride == 1)
    }

    /// `MobileNetV4`'s block: up to three depthwise convolutions around the two pointwise ones, each where the file has it. The middle one
    /// strides, else the first, else the last.
    fn universal(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let has = |part: &str| self.net.has(&format!("{name}.{part}.conv.weight"));
        let (start, mid, end) = (has("dw_start"), has("dw_mid"), has("dw_end"));
        let mut x = input;
        for (part, there, strides, act) in [
            ("dw_start", start, !mid, None),
            ("pw_exp", true, false, Some(block.act)),
            ("dw_mid", mid, true, Some(block.act)),
            ("se", true, false, None),
            ("pw_proj", true, false, None),
            ("dw_end", end, !start && !mid, None),
        ] {
            let [conv, norm, thin] = parts(&format!("{name}.{part}"), ["conv", "bn", "aa"]);
            let stride = if strides { block.stride } else { 1 };
            let groups = if part.starts_with("dw") { Groups::Fitting } else { Groups::One };
            if part == "se" {
                x = self.excited(name, x, block.act)?;
            } else if there {
                x = self.striding([&conv, &norm], &thin, x, (stride, groups), act)?;
            }
        }
        x = self.net.scaled_map(&format!("{name}.layer_scale.gamma"), x)?;
        self.around(name, input, x, !block.no_shortcut && block.stride == 1)
    }

    /// Attention whose heads share keys and values (Shazeer, arXiv 1911.02150): the heads' queries are so many more places that ask.
    fn attention(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let at = format!("{name}.attn");
        let normed = self.norm(&format!("{name}.norm"), input)?;
        let query = self.conv(&format!("{at}.query.proj"), normed, 1, Groups::One)?;
        let [key, value] = [self.key(&format!("{at}.key"), normed)?, self.key(&format!("{at}.value"), normed)?];
        let (size, width, values) = (self.net.size(query), self.net.width(key), self.net.width(value));
        let (places, all) = (size[0] * size[1], self.net.channels(query));
        let heads = if width > 0 && all.is_multiple_of(width) { all / width } else { 0 };
        if heads == 0 && self.net.is_whole() {
            return Err(ArchError::Unsupported(format!("`{at}`: queries of {all} numbers cannot be dealt to heads of {width}")));
        }
        let query = self.net.reshape(&format!("{at}.query.heads"), query, &[heads, width, places])?;
        let query = self.net.transpose(&format!("{at}.query.last"), query, &[0, 1, 3, 2])?;
        let query = self.net.reshape(&format!("{at}.query.together"), query, &[1, heads * places, width])?;
        let scale = (width.max(1) as f64).powf(-0.5);
        let x = self.net.add(&format!("{at}.attention"), Op::Attention { scale }, &[query, key, value])?;
        let x = self.net.reshape(&format!("{at}.heads"), x, &[heads, places, values])?;
        let x = self.net.transpose(&format!("{at}.first"), x, &[0, 1, 3, 2])?;
        let x = self.net.reshape(&format!("{at}.map"), x, &[heads * values, size[0], size[1]])?;
        let x = self.conv(&format!("{at}.output.proj"), x, 1, Groups::One)?;
        let x = self.net.scaled_map(&format!("{name}.layer_scale.gamma"), x)?;
        self.around(name, input, x, !block.no_shortcut)
    }

    /// Keys or values `[N, 1, places, width]`, of half the map's size where the file has the convolution for it.
    fn key(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let mut x = x;
        if self.net.has(&format!("{name}.down_conv.weight")) {
            x = self.conv(&format!("{name}.down_conv"), x, 2, Groups::Depthwise)?;
            x = self.net.norm(&format!("{name}.norm"), x)?;
        }
        let x = self.conv(&format!("{name}.proj"), x, 1, Groups::One)?;
        let tokens = self.net.tokens(&format!("{name}.tokens"), x)?;
        let (places, width) = (self.net.whole(tokens).get(1).copied().unwrap_or(0), self.net.width(tokens));
        self.net.reshape(&format!("{name}.one"), tokens, &[1, places, width])
    }

    /// To features `[N, width]`: a convolution, then the mean, or the other way about.
    fn head(&mut self, x: NodeId, max: bool) -> Result<NodeId, ArchError> {
        if !self.arch.late {
            let there = self.net.has("conv_head.weight") || self.net.has("bn2.weight");
            let x = if there { self.unit(["conv_head", "bn2"], x, 1, Groups::One, Some(self.arch.act))? } else { x };
            return self.net.pool("global_pool", max, x);
        }
        let kind = if max { Reduce::Max } else { Reduce::Mean };
        let mut x = self.net.add("global_pool", Op::Reduce { kind, axes: vec![2, 3], keep: true }, &[x])?;
        x = self.conv("conv_head", x, 1, Groups::One)?;
        if self.net.has("norm_head.weight") {
            x = self.norm("norm_head", x)?;
        }
        x = self.net.act("act2", self.arch.act, x)?;
        let width = self.net.channels(x);
        self.net.reshape("flatten", x, &[width])
    }
}

fn parts<const N: usize>(name: &str, parts: [&str; N]) -> [String; N] {
    parts.map(|part| format!("{name}.{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        for line in ARCHITECTURES.lines() {
            let read = Architecture::read(line, None).unwrap_or_else(|| panic!("{line}"));
            assert!(read.stages.iter().flatten().all(|block| [1, 2].contains(&block.stride)), "{line}");
            assert!(
                (FAMILY.is_called)(&Name::of(read.name, Library::Timm)) && !(FAMILY.is_called)(&Name::of(read.name, Library::Torchvision))
            );
        }
        for other in ["efficientnet_cc_b0_4e", "gc_efficientnetv2_rw_t", "efficientnet_b9", "efficientnet", "test_efficientnet_evos"] {
            assert!(!(FAMILY.is_called)(&Name::of(other, Library::Timm)), "{other}");
        }
    }

    #[test]
    fn a_line_says_what_blocks_do() {
        let read = blocks("2x1n+3ar", Unary::Silu).expect("read");
        let told: Vec<_> = read.iter().map(|b| (b.stride, b.act, b.no_shortcut, b.act_behind)).collect();
        assert_eq!(told[0], (2, Unary::Silu, true, false));
        assert!(told[1..].iter().all(|block| *block == (1, Unary::Relu, true, true)) && told.len() == 4);
        assert!(blocks("2", Unary::Relu).is_none() && blocks("2x", Unary::Relu).is_none());
    }
}
