//! Layers whose sizes are read off the tensors in a file.
//!
//! `layers/moves.rs` changes shapes and combines values, `layers/tokens.rs` has the layers of transformers, `layers/maps.rs` the rarer ones of
//! convolutional networks, `layers/stored.rs` tensors that are made, compared or left out.

mod maps;
mod moves;
mod stored;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use super::{ArchError, Buffer, Built, LeftOut, Made, Shapes};
use crate::graph::{Binary, GraphBuilder, NodeId, Op, Reduce, Role, Shape, Unary, Window};

pub(super) use maps::Conv;
pub(super) use stored::Grid;

/// How many groups a convolution has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Groups {
    /// One.
    One,
    /// As many as make the weight fit the input.
    Fitting,
    /// One per channel.
    Depthwise,
}

/// How a convolution is padded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// Half the kernel on every side, as PyTorch models do.
    Half,
    /// None.
    Valid,
    /// TensorFlow's SAME: as little as possible, the odd one below and on the right.
    SameUpper,
}

/// A network under construction. After a tensor that is missing or does not fit, nothing more is built, but every later
/// layer still looks for its tensors, so that one error lists them all.
pub(super) struct Layers<'a> {
    family: &'static str,
    shapes: &'a Shapes,
    builder: GraphBuilder,
    sought: BTreeSet<String>,
    missing: Vec<String>,
    wrong: Vec<String>,
    stopped: bool,
    /// Of every batch norm.
    eps: f64,
    /// Parameters that have a node: a tensor that is used twice is one slot.
    params: BTreeMap<String, NodeId>,
    made: Vec<Made>,
    buffers: Vec<Buffer>,
    left_out: Vec<LeftOut>,
    features: Option<String>,
    /// Tensors that a block may do without: the shape of the weight that a bias belongs to, and whether the tensor is there.
    optional: BTreeMap<String, (Vec<usize>, bool)>,
}

impl<'a> Layers<'a> {
    /// `eps` is that of every batch norm; `stem` names the weight that tells the input's channels.
    pub(super) fn new(
        family: &'static str,
        shapes: &'a Shapes,
        stem: &str,
        size: [usize; 2],
        eps: f64,
    ) -> Result<(Self, NodeId), ArchError> {
        let channels = match shapes.get(stem).map(Vec::as_slice) {
            Some([_, channels @ (1 | 3), _, _]) => *channels,
            Some(other) => {
                let wrong = vec![format!("{stem} is {other:?}, expected [width, 1 or 3, kernel, kernel]")];
                return Err(ArchError::Tensors { family, missing: Vec::new(), wrong, unused: Vec::new(), fits: Vec::new() });
            }
            // Whatever: the missing stem is reported with the other missing tensors.
            None => 3,
        };
        let mut builder = GraphBuilder::new();
        let input = builder.input("input", Shape::batched(&[channels, size[0], size[1]]))?;
        let (sought, missing, wrong) = (BTreeSet::new(), Vec::new(), Vec::new());
        let layers = Self {
            family,
            shapes,
            builder,
            sought,
            missing,
            wrong,
            stopped: false,
            eps,
            params: BTreeMap::new(),
            made: Vec::new(),
            buffers: Vec::new(),
            left_out: Vec::new(),
            features: None,
            optional: BTreeMap::new(),
        };
        Ok((layers, input))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    /// Whether the file has this bias, of a layer that may do without; `weight` is the shape of the layer's weight.
    fn has_bias(&mut self, name: &str, weight: &[usize]) -> bool {
        let there = self.has(name);
        self.optional.insert(name.to_owned(), (weight.to_vec(), there));
        there
    }

    /// Whether the file has this tensor, which all blocks of a stage have, or none: a factor, a table of offsets.
    pub(super) fn may_have(&mut self, name: &str) -> bool {
        self.has_bias(name, &[])
    }

    /// Tensors that are not there although the layer of the same name and shape in a neighbouring block has one: such a network would be
    /// built, and compute something else than what was trained.
    fn lost(&self) -> Vec<String> {
        let of_neighbours = |(name, (weight, _)): (&String, &(Vec<usize>, bool))| {
            neighbours(name).into_iter().map(|name| (name, weight.clone())).collect::<Vec<_>>()
        };
        let (there, not): (Vec<_>, Vec<_>) = self.optional.iter().partition(|(_, (_, there))| *there);
        let there: BTreeSet<_> = there.into_iter().flat_map(of_neighbours).collect();
        let lost = |layer: &(&String, _)| of_neighbours(*layer).iter().any(|name| there.contains(name));
        not.into_iter().filter(lost).map(|(name, _)| name.clone()).collect()
    }

    /// Channels of a map built so far.
    pub(super) fn channels(&self, x: NodeId) -> usize {
        self.builder.shape(x).known(1).unwrap_or(0)
    }

    /// Height and width of a map built so far.
    pub(super) fn size(&self, x: NodeId) -> [usize; 2] {
        let shape = self.builder.shape(x);
        [shape.known(2).unwrap_or(0), shape.known(3).unwrap_or(0)]
    }

    /// Whether the network is still being built (false after a tensor that does not fit).
    pub(super) fn is_whole(&self) -> bool {
        !self.stopped
    }

    /// A convolution `name.weight`, with `name.bias` where the file has one.
    pub(super) fn conv(&mut self, name: &str, x: NodeId, stride: usize, groups: Groups, padding: Padding) -> Result<NodeId, ArchError> {
        self.dilated(name, x, (stride, 1), groups, padding)
    }

    /// A convolution with `(stride, dilation)`.
    pub(super) fn dilated(
        &mut self,
        name: &str,
        x: NodeId,
        (stride, dilation): (usize, usize),
        groups: Groups,
        padding: Padding,
    ) -> Result<NodeId, ArchError> {
        let weight = format!("{name}.weight");
        let Some(found) = self.look(&weight) else { return Ok(x) };
        if self.stopped {
            return Ok(x);
        }
        let channels = self.channels(x);
        let [out, per_group, kh, kw] = found[..] else {
            return Ok(self.misfit(&weight, &found, "[out, in, kernel, kernel]", x));
        };
        let fitting = if per_group > 0 && channels.is_multiple_of(per_group) { channels / per_group } else { 0 };
        let count = match groups {
            Groups::One => 1,
            Groups::Fitting => fitting.max(1),
            Groups::Depthwise => channels,
        };
        if channels / count.max(1) != per_group || out == 0 || kh == 0 || kw == 0 || !out.is_multiple_of(count.max(1)) {
            let expected = format!("[out, {}, kernel, kernel] for an input of {channels} channels", channels / count.max(1));
            return Ok(self.misfit(&weight, &found, &expected, x));
        }
        let reach = [kh, kw].map(|side| (side - 1) * dilation + 1);
        let window = Window { kernel: [kh, kw], stride: [stride; 2], pads: self.pads(x, reach, stride, padding), dilation: [dilation; 2] };
        let mut inputs = vec![x, self.param(&weight, &found, Role::Weight)];
        let bias = format!("{name}.bias");
        if self.has_bias(&bias, &found) {
            inputs.push(self.vector(&bias, out, Role::Bias));
        }
        Ok(self.builder.add(name, Op::Conv2d { window, groups: count }, &inputs)?)
    }

    fn pads(&self, x: NodeId, kernel: [usize; 2], stride: usize, padding: Padding) -> [usize; 4] {
        let size = self.size(x);
        let along = |i: usize| match padding {
            Padding::Half => (kernel[i] / 2, kernel[i] / 2),
            Padding::Valid => (0, 0),
            Padding::SameUpper => {
                let reach = size[i].div_ceil(stride).saturating_sub(1) * stride + kernel[i];
                let total = reach.saturating_sub(size[i]);
                (total / 2, total - total / 2)
            }
        };
        let ((top, bottom), (left, right)) = (along(0), along(1));
        [top, left, bottom, right]
    }

    /// A batch norm with its four tensors.
    pub(super) fn norm(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let channels = self.channels(x);
        let tensors =
            [("weight", Role::Scale), ("bias", Role::Shift), ("running_mean", Role::RunningMean), ("running_var", Role::RunningVar)];
        let mut inputs = vec![x];
        for (part, role) in tensors {
            inputs.push(self.vector(&format!("{name}.{part}"), channels, role));
        }
        self.add(name, Op::BatchNorm { eps: self.eps, momentum: 0.1 }, &inputs)
    }

    /// Any operator without tensors of its own.
    pub(super) fn add(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<NodeId, ArchError> {
        if self.stopped {
            return Ok(inputs.first().copied().unwrap_or(NodeId(0)));
        }
        Ok(self.builder.add(name, op, inputs)?)
    }

    /// The activation.
    pub(super) fn act(&mut self, name: &str, act: Unary, x: NodeId) -> Result<NodeId, ArchError> {
        self.add(name, Op::Unary(act), &[x])
    }

    pub(super) fn sum(&mut self, name: &str, a: NodeId, b: NodeId) -> Result<NodeId, ArchError> {
        self.add(name, Op::Binary(Binary::Add), &[a, b])
    }

    /// The 3x3 pooling with stride 2 after the stem of a ResNet for large images.
    pub(super) fn stem_pool(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        self.add(name, Op::MaxPool(Window { kernel: [3, 3], stride: [2, 2], pads: [1; 4], dilation: [1, 1] }), &[x])
    }

    /// Mean over height and width, or the greatest value where `max`: `[N, C, H, W]` to `[N, C]`.
    pub(super) fn pool(&mut self, name: &str, max: bool, x: NodeId) -> Result<NodeId, ArchError> {
        let kind = if max { Reduce::Max } else { Reduce::Mean };
        self.add(name, Op::Reduce { kind, axes: vec![2, 3], keep: false }, &[x])
    }

    /// The network, or the tensors that do not fit. `description` is for people: `ResNet-50, torchvision names`.
    pub(super) fn finish(mut self, output: NodeId, description: impl Into<String>) -> Result<Built, ArchError> {
        let lost = self.lost();
        self.missing.extend(lost);
        if !self.missing.is_empty() || !self.wrong.is_empty() {
            // A tensor of another name may be the one that is missing.
            let unused = |name: &&String| !self.sought.contains(*name) && !name.ends_with("num_batches_tracked");
            let unused = self.shapes.keys().filter(unused).cloned().collect();
            return Err(ArchError::Tensors { family: self.family, missing: self.missing, wrong: self.wrong, unused, fits: Vec::new() });
        }
        let parts: BTreeSet<&str> = self.left_out.iter().map(|part| part.what.as_str()).filter(|what| !what.is_empty()).collect();
        let without = parts.into_iter().collect::<Vec<_>>().join(" and ");
        let without = if without.is_empty() { String::new() } else { format!(", without {without}") };
        let description = format!("{}{without}", description.into());
        let Self { made, buffers, left_out, features, .. } = self;
        Ok(Built { graph: self.builder.finish(output)?, description, features, made, buffers, left_out })
    }

    /// Says that something else than a tensor's presence is wrong.
    pub(super) fn misfit(&mut self, name: &str, found: &[usize], expected: &str, x: NodeId) -> NodeId {
        self.wrong.push(format!("{name} is {found:?}, expected {expected}"));
        self.stopped = true;
        x
    }

    /// The shape of a tensor that must be there.
    pub(super) fn look(&mut self, name: &str) -> Option<Vec<usize>> {
        self.sought.insert(name.to_owned());
        let found = self.shapes.get(name).cloned();
        if found.is_none() {
            if !self.missing.iter().any(|missing| missing == name) {
                self.missing.push(name.to_owned());
            }
            self.stopped = true;
        }
        found
    }

    fn vector(&mut self, name: &str, length: usize, role: Role) -> NodeId {
        self.tensor(name, &[length], role)
    }

    /// A tensor of the file that must have this shape.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize], role: Role) -> NodeId {
        let node = self.param(name, shape, role);
        self.sought.insert(name.to_owned());
        match self.shapes.get(name) {
            None if self.missing.iter().any(|missing| missing == name) => {}
            None => self.missing.push(name.to_owned()),
            Some(found) if *found != shape && !self.stopped => {
                self.wrong.push(format!("{name} is {found:?}, expected {shape:?}"));
            }
            Some(_) => {}
        }
        node
    }

    /// The node of a parameter, the same one each time.
    fn param(&mut self, name: &str, shape: &[usize], role: Role) -> NodeId {
        if let Some(node) = self.params.get(name) {
            return *node;
        }
        let node = self.builder.param(name, shape, role);
        self.params.insert(name.to_owned(), node);
        node
    }
}

/// The name without one of its numbers, for each of them: what the layers of neighbouring blocks have in common. The first of several
/// numbers is that of a stage, and stages may be built differently.
fn neighbours(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let counts = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let without = |at: usize| parts.iter().enumerate().map(|(i, part)| if i == at { "*" } else { part }).collect::<Vec<_>>().join(".");
    let numbers: Vec<usize> = (0..parts.len()).filter(|&at| counts(parts[at])).collect();
    let of_blocks = if numbers.len() > 1 { &numbers[1..] } else { &numbers };
    of_blocks.iter().map(|&at| without(at)).collect()
}

/// How many of `prefix0.`, `prefix1.`, ... the file has, counted from 0 without gaps.
pub(super) fn count(shapes: &Shapes, prefix: &str) -> usize {
    let has = |i: &usize| {
        let start = format!("{prefix}{i}.");
        shapes.range(start.clone()..).next().is_some_and(|(name, _)| name.starts_with(&start))
    };
    (0..shapes.len()).take_while(has).count()
}

/// Blocks in each of the stages `layer1.`, `layer2.`, ...
pub(super) fn stages(shapes: &Shapes) -> Vec<usize> {
    let blocks = (1..=shapes.len()).map(|stage| count(shapes, &format!("layer{stage}.")));
    blocks.take_while(|&blocks| blocks > 0).collect()
}
