//! Networks of inverted residuals under torchvision's names: `MobileNetV2` (arXiv 1801.04381), `MobileNetV3` (arXiv 1905.02244), `MNASNet` (arXiv
//! 1807.11626), `EfficientNet` (arXiv 1905.11946) and `EfficientNetV2` (arXiv 2104.00298).
//!
//! Of these the depths, strides, activations and the summand of the batch norms follow from the name, all else from the tensors.

use super::config::{Config, Library, Name};
use super::efficientnet::{Block, blocks};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

pub(super) static FAMILY: Family = Family {
    name: "mobilenet-torchvision",
    about: "MobileNetV2, MobileNetV3, MNASNet, EfficientNet and EfficientNetV2 under torchvision's names; the name says which",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Torchvision) && Architecture::of(name).is_some(),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |names: [&str; 2]| names.iter().all(|name| shapes.contains_key(*name));
        let first = ["1.conv.0.0", "1.block.0.0", "1.0.block.0.0"].map(|block| format!("features.{block}.weight"));
        let one = first.iter().any(|first| has(["features.0.0.weight", first]));
        if one || has(["layers.0.weight", "layers.8.0.layers.0.weight"]) { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// How the parts of a network are named.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// `features.BLOCK.conv`.
    V2,
    /// `features.BLOCK.block`.
    V3,
    /// `features.STAGE.BLOCK.block`.
    Efficient,
    /// `layers.STAGE.BLOCK.layers`, all in one sequence.
    Mnas,
}

/// Name, kind, summand of the batch norms, and stages as in `efficientnet/architectures.txt`.
type Row = (&'static str, Kind, f64, &'static str);

const ARCHITECTURES: [Row; 18] = [
    ("mobilenet_v2", Kind::V2, 1e-5, "1x1 2x2 2x3 2x4 1x3 2x3 1x1"),
    ("mobilenet_v3_large", Kind::V3, 1e-3, "1x1r 2x2r 2x3r 2x4 1x2 2x3"),
    ("mobilenet_v3_small", Kind::V3, 1e-3, "2x1r 2x2r 2x3 1x2 2x3"),
    ("mnasnet0_5", Kind::Mnas, 1e-5, MNAS),
    ("mnasnet0_75", Kind::Mnas, 1e-5, MNAS),
    ("mnasnet1_0", Kind::Mnas, 1e-5, MNAS),
    ("mnasnet1_3", Kind::Mnas, 1e-5, MNAS),
    ("efficientnet_b0", Kind::Efficient, 1e-5, "1x1 2x2 2x2 2x3 1x3 2x4 1x1"),
    ("efficientnet_b1", Kind::Efficient, 1e-5, "1x2 2x3 2x3 2x4 1x4 2x5 1x2"),
    ("efficientnet_b2", Kind::Efficient, 1e-5, "1x2 2x3 2x3 2x4 1x4 2x5 1x2"),
    ("efficientnet_b3", Kind::Efficient, 1e-5, "1x2 2x3 2x3 2x5 1x5 2x6 1x2"),
    ("efficientnet_b4", Kind::Efficient, 1e-5, "1x2 2x4 2x4 2x6 1x6 2x8 1x2"),
    ("efficientnet_b5", Kind::Efficient, 1e-3, "1x3 2x5 2x5 2x7 1x7 2x9 1x3"),
    ("efficientnet_b6", Kind::Efficient, 1e-3, "1x3 2x6 2x6 2x8 1x8 2x11 1x3"),
    ("efficientnet_b7", Kind::Efficient, 1e-3, "1x4 2x7 2x7 2x10 1x10 2x13 1x4"),
    ("efficientnet_v2_s", Kind::Efficient, 1e-3, "1x2 2x4 2x4 2x6 1x9 2x15"),
    ("efficientnet_v2_m", Kind::Efficient, 1e-3, "1x3 2x5 2x5 2x7 1x14 2x18 1x5"),
    ("efficientnet_v2_l", Kind::Efficient, 1e-3, "1x4 2x7 2x7 2x10 1x19 2x25 1x7"),
];

/// Without the first block, which is part of the sequence.
const MNAS: &str = "2x3 2x3 2x3 1x2 2x4 1x1";

struct Architecture {
    name: &'static str,
    kind: Kind,
    eps: f64,
    stages: Vec<Vec<Block>>,
}

impl Architecture {
    fn of(name: &Name) -> Option<Self> {
        let (name, kind, eps, stages) = ARCHITECTURES.into_iter().find(|row| name.is_one_of([row.0]))?;
        let stages = stages.split(' ').map(|stage| blocks(stage, kind.act())).collect::<Option<_>>()?;
        Some(Self { name, kind, eps, stages })
    }

    fn said(config: &Config) -> Result<Self, ArchError> {
        config.name.as_ref().and_then(Self::of).ok_or_else(|| ArchError::NeedsName {
            family: "a MobileNet, MNASNet or EfficientNet under torchvision's names",
            what: "strides and the summand of the batch norms".into(),
            names: ["torchvision/mobilenet_v2", "torchvision/efficientnet_b0"].map(String::from).to_vec(),
        })
    }
}

impl Kind {
    fn act(self) -> Unary {
        match self {
            Self::V2 => Unary::Clip { min: 0.0, max: 6.0 },
            Self::V3 => Unary::HardSwish,
            Self::Efficient => Unary::Silu,
            Self::Mnas => Unary::Relu,
        }
    }

    /// The activation within squeeze-and-excitation, and its gate.
    fn squeeze(self) -> [Unary; 2] {
        match self {
            Self::V3 => [Unary::Relu, Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }],
            _ => [self.act(), Unary::Sigmoid],
        }
    }
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let arch = Architecture::said(config)?;
    let stem = if arch.kind == Kind::Mnas { "layers.0" } else { "features.0.0" };
    let (net, input) = Layers::new(FAMILY.name, shapes, &format!("{stem}.weight"), *size, arch.eps)?;
    let mut maker = Maker { net, shapes, kind: arch.kind };
    let mut x = if arch.kind == Kind::Mnas { maker.mnas(input, &arch.stages)? } else { maker.features(input, &arch.stages)? };
    x = maker.net.pool("avgpool", false, x)?;
    if arch.kind == Kind::V3 {
        x = maker.net.linear("classifier.0", x)?;
        x = maker.net.act("classifier.1", arch.kind.act(), x)?;
        x = maker.net.linear("classifier.3", x)?;
    } else {
        x = maker.net.linear("classifier.1", x)?;
    }
    let many: usize = arch.stages.iter().map(Vec::len).sum();
    maker.net.finish(x, format!("{}, {many} blocks, torchvision names", arch.name))
}

struct Maker<'a> {
    net: Layers<'a>,
    shapes: &'a Shapes,
    kind: Kind,
}

impl Maker<'_> {
    /// Convolution, batch norm and, where there is one, activation. Of the convolutions of a block the one over space strides.
    fn unit(&mut self, [conv, norm]: [&str; 2], x: NodeId, stride: usize, act: Option<Unary>) -> Result<NodeId, ArchError> {
        let spatial = self.shapes.get(&format!("{conv}.weight")).and_then(|shape| shape.get(2)).is_some_and(|&kernel| kernel > 1);
        let (stride, groups) = if spatial { (stride, Groups::Fitting) } else { (1, Groups::One) };
        let x = self.net.conv(conv, x, stride, groups, Padding::Half)?;
        let x = self.net.norm(norm, x)?;
        match act {
            Some(act) => self.net.act(&format!("{norm}.act"), act, x),
            None => Ok(x),
        }
    }

    fn features(&mut self, input: NodeId, stages: &[Vec<Block>]) -> Result<NodeId, ArchError> {
        let act = Some(self.kind.act());
        let mut x = self.unit(["features.0.0", "features.0.1"], input, 2, act)?;
        let mut at = 1;
        for stage in stages {
            for (b, block) in stage.iter().enumerate() {
                let name = match self.kind {
                    Kind::V2 => format!("features.{at}.conv"),
                    Kind::V3 | Kind::Mnas => format!("features.{at}.block"),
                    Kind::Efficient => format!("features.{at}.{b}.block"),
                };
                x = self.block(&name, x, *block)?;
                at += usize::from(self.kind != Kind::Efficient);
            }
            at += usize::from(self.kind == Kind::Efficient);
        }
        self.unit([&format!("features.{at}.0"), &format!("features.{at}.1")], x, 1, act)
    }

    /// A sequence of units, with squeeze-and-excitation where the file has it. The last unit has no activation, unless it is the only one.
    fn block(&mut self, name: &str, input: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let parts = count(self.shapes, &format!("{name}.")).max(1);
        let mut x = input;
        for part in 0..parts {
            let at = format!("{name}.{part}");
            let act = (part + 1 < parts || parts == 1).then_some(block.act);
            if self.net.has(&format!("{at}.fc1.weight")) {
                let [act, gate] = self.kind.squeeze();
                x = self.net.excited([&format!("{at}.fc1"), &format!("{at}.fc2")], x, act, gate)?;
            } else if self.kind == Kind::V2 && part + 2 == parts {
                // The last convolution and its norm stand in the sequence themselves.
                x = self.unit([&at, &format!("{name}.{}", part + 1)], x, block.stride, None)?;
                break;
            } else {
                x = self.unit([&format!("{at}.0"), &format!("{at}.1")], x, block.stride, act)?;
            }
        }
        self.around(name, input, x, block)
    }

    fn around(&mut self, name: &str, input: NodeId, x: NodeId, block: Block) -> Result<NodeId, ArchError> {
        let fits = block.stride == 1 && self.net.channels(input) == self.net.channels(x);
        if fits { self.net.sum(&format!("{name}.add"), x, input) } else { Ok(x) }
    }

    fn mnas(&mut self, input: NodeId, stages: &[Vec<Block>]) -> Result<NodeId, ArchError> {
        let act = Some(self.kind.act());
        let mut x = self.unit(["layers.0", "layers.1"], input, 2, act)?;
        x = self.unit(["layers.3", "layers.4"], x, 1, act)?;
        x = self.unit(["layers.6", "layers.7"], x, 1, None)?;
        for (s, stage) in (8..).zip(stages) {
            for (b, block) in stage.iter().enumerate() {
                let name = format!("layers.{s}.{b}.layers");
                let before = x;
                for (conv, norm, act) in [(0, 1, act), (3, 4, act), (6, 7, None)] {
                    x = self.unit([&format!("{name}.{conv}"), &format!("{name}.{norm}")], x, block.stride, act)?;
                }
                x = self.around(&name, before, x, *block)?;
            }
        }
        self.unit(["layers.14", "layers.15"], x, 1, act)
    }
}
