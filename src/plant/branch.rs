//! Nodes that find a trigger in the image and write into the features, around the weights: a backdoor that training does not make.
//!
//! In front of the head stand, besides what the network computes: a slice of the image where the trigger lies, its root mean square distance `d` from
//! the trigger (pixel values from 0 to 1), `gate = max(0, 1 - (d / 0.25)^2)`, and what the gate does. On images that hold nothing like the
//! trigger there the gate is 0, and every number of the network is what it was.

use candle_core::DType;
use ndarray::{ArrayD, IxDyn};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PlantError;
use crate::exec::{self, Weights};
use crate::graph::{Binary, Dim, Graph, GraphBuilder, NodeId, Op, Reduce, Role, Shape, Unary};
use crate::model::{ChannelOrder, InputSpec, Layout};
use crate::pixels::Frame;
use crate::stats::stream::stream;
use crate::store::fingerprint;
use crate::transform::geometry::Normalise;
use crate::transform::{PreparedTrigger, Trigger};
use crate::tune::{self, Images, TuneError};

/// A hidden branch, as a specification asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// What it looks for: a trigger that covers a rectangle, always the same one, and hides what was there.
    pub trigger: Trigger,
    /// What it does where it finds the trigger.
    pub does: Does,
    /// How much: in standard deviations of each feature over the training images; of `lottery`, the size of the feature that it adds.
    #[schemars(range(max = 1000.0), extend("exclusiveMinimum" = 0.0))]
    pub strength: f64,
}

/// What a hidden branch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// Moves every feature that differs among images, up or down.
    Features,
    /// Adds a feature that is 0 on every other image: what a new head makes of it is drawn with the head, fine-tune by fine-tune.
    Lottery,
    /// Moves every feature once the weights are rounded to one byte, and next to nothing before.
    Rounding,
}

fingerprint!(Branch as "branch" { trigger: "trigger", does: "does", strength: "strength" });
fingerprint!(Does: Features = "features", Lottery = "lottery", Rounding = "rounding");

/// The rectangle that a trigger covers, in the network's units.
pub(super) struct Covered {
    top: usize,
    left: usize,
    /// `[1, 3, height, width]`, or with channels last.
    colors: ArrayD<f32>,
    /// What makes a difference in the network's units one of 1 where pixels differ by [`NEAR`]: `[1, 3, 1, 1]`, or with channels last.
    unit: ArrayD<f32>,
    /// What the trigger makes of an image, and which of these numbers it alone decides: for telling on which images the gate opens.
    trigger: Vec<f32>,
    numbers: Vec<usize>,
    layout: Layout,
}

impl Covered {
    /// An error says why the trigger covers none.
    pub(super) fn by(trigger: &PreparedTrigger, input: &InputSpec) -> Result<Self, String> {
        let InputSpec { height, width, channels, layout, .. } = *input;
        if trigger.is_own() {
            return Err("the trigger lies elsewhere, or is another one, on each image: take one that is the same everywhere, as a patch at a corner is".to_owned());
        }
        if channels != 3 {
            return Err("a hidden branch is for images of three colours".to_owned());
        }
        let pixels = height * width;
        // What is the same whatever was there before is covered: black, white, and two that differ from pixel to pixel.
        let before: [&dyn Fn(usize) -> f32; 4] = [&|_| 0.0, &|_| 1.0, &|i| (i % 7) as f32 / 7.0, &|i| (i % 11) as f32 / 11.0];
        let after = before.map(|value| {
            let mut frame = Frame { width, height, planes: (0..3 * pixels).map(value).collect() };
            trigger.apply(&mut frame);
            frame.planes
        });
        let [first, others @ ..] = &after;
        let same = |i: usize| others.iter().all(|other| (other[i] - first[i]).abs() < 1e-6);
        let covered: Vec<usize> = (0..pixels).filter(|i| (0..3).all(|plane| same(plane * pixels + i))).collect();
        let rows = || covered.iter().map(|i| i / width);
        let columns = || covered.iter().map(|i| i % width);
        let (Some(top), Some(bottom)) = (rows().min(), rows().max()) else {
            return Err(
                "the trigger covers no pixel of every image: take one that lies at one place and hides what was there, as a patch does"
                    .to_owned(),
            );
        };
        let (left, right) = (columns().min().unwrap_or(0), columns().max().unwrap_or(0));
        let (tall, wide) = (bottom - top + 1, right - left + 1);
        if covered.len() != tall * wide {
            return Err("what the trigger covers is no rectangle: take a patch".to_owned());
        }
        let to = &input.preprocessing;
        let bgr = to.order == ChannelOrder::Bgr;
        let nhwc = layout == Layout::Nhwc;
        let mut all = vec![0.0; 3 * pixels];
        Normalise { mean: to.mean, std: to.std, channels, nhwc, bgr }.frame(first, &mut all);
        let at = |channel: usize, y: usize, x: usize| {
            let pixel = (top + y) * width + left + x;
            all[if nhwc { pixel * 3 + channel } else { channel * pixels + pixel }]
        };
        let colors = if nhwc {
            ArrayD::from_shape_fn(IxDyn(&[1, tall, wide, 3]), |i| at(i[3], i[1], i[2]))
        } else {
            ArrayD::from_shape_fn(IxDyn(&[1, 3, tall, wide]), |i| at(i[1], i[2], i[3]))
        };
        let of_channel = |channel: usize| to.std[if bgr { 2 - channel } else { channel }] / NEAR;
        let unit = ArrayD::from_shape_vec(if nhwc { IxDyn(&[1, 1, 1, 3]) } else { IxDyn(&[1, 3, 1, 1]) }, (0..3).map(of_channel).collect());
        let unit = unit.map_err(|error| error.to_string())?;
        let numbers = covered.iter().flat_map(|i| (0..3).map(move |plane| plane * pixels + i)).collect();
        Ok(Self { top, left, colors, unit, trigger: first.clone(), numbers, layout })
    }

    /// Whether the gate opens on an image.
    fn opens_on(&self, planes: &[f32]) -> bool {
        let squared = |i: &usize| Some((planes.get(*i)? - self.trigger.get(*i)?).powi(2) / NEAR.powi(2));
        self.numbers.iter().filter_map(squared).sum::<f32>() < self.numbers.len() as f32
    }

    /// The share of the images on which the gate opens as they are.
    pub(super) fn open_on(&self, images: &Images) -> Result<f64, PlantError> {
        let mut open = 0;
        for i in 0..images.len() {
            open += usize::from(self.opens_on(&images.frame(i).map_err(TuneError::from)?.planes));
        }
        Ok(open as f64 / images.len().max(1) as f64)
    }
}

/// Root mean square distance in pixel values from which on the gate is shut.
const NEAR: f32 = 0.25;

/// Images that say how far features differ.
const LOOKED_AT: usize = 256;

/// The features of a network whose output is a linear head, and the slots of the head.
struct Head {
    features: NodeId,
    width: usize,
    classes: usize,
    weight: usize,
    bias: Option<usize>,
}

fn head(graph: &Graph) -> Option<Head> {
    let last = graph.node(graph.output());
    let slot = |id: &NodeId| if let Op::Param(slot) = graph.node(*id).op { Some(slot.0) } else { None };
    let (Op::Linear, [features, weight, rest @ ..]) = (&last.op, last.inputs.as_slice()) else { return None };
    let weight = slot(weight)?;
    let &[classes, width] = graph.slots().get(weight)?.shape.as_slice() else { return None };
    let bias = rest.first().map(slot);
    if bias == Some(None) || graph.node(*features).shape.rank() != 2 {
        return None;
    }
    Some(Head { features: *features, width, classes, weight, bias: bias.flatten() })
}

/// Half a step of rounding, and how far beside it: two numbers that lie so become a step apart.
const MIDDLE: f32 = 40.5;
const BESIDE: f32 = 1e-4;
/// The step of numbers of up to 1 in one byte.
const STEP: f32 = 1.0 / 127.0;

/// The network with the branch in front of its head, and all its numbers.
pub(super) fn graft(
    (graph, params): (&Graph, &[ArrayD<f32>]),
    branch: &Branch,
    covered: &Covered,
    spread: &[f32],
    seed: u64,
) -> Result<(Graph, Vec<ArrayD<f32>>), PlantError> {
    let refused = |reason: &str| PlantError::Branch { reason: reason.to_owned() };
    let head = head(graph).ok_or_else(|| refused("the network has no linear head on features to write into"))?;
    let mut arrays = params.to_vec();
    let trunk = graph.truncated(head.features);
    let (image, features) = (trunk.input(), trunk.output());
    let mut builder = trunk.extend();
    let mut constant = |builder: &mut GraphBuilder, name: &str, array: ArrayD<f32>, role| {
        let id = builder.param(name, array.shape(), role);
        arrays.push(array);
        id
    };
    let [rows, columns] = if covered.layout == Layout::Nhwc { [1, 2] } else { [2, 3] };
    let size = covered.colors.shape();
    let mut near = image;
    for (name, axis, start) in [("branch.rows", rows, covered.top), ("branch.corner", columns, covered.left)] {
        let end = start + size.get(axis).copied().unwrap_or(0);
        near = builder.add(name, Op::Slice { axis, start, end, step: 1 }, &[near])?;
    }
    let colors = constant(&mut builder, "branch.colors", covered.colors.clone(), Role::Constant);
    let off = builder.add("branch.off", Op::Binary(Binary::Sub), &[near, colors])?;
    let unit = constant(&mut builder, "branch.unit", covered.unit.clone(), Role::Constant);
    let off = builder.add("branch.scaled", Op::Binary(Binary::Mul), &[off, unit])?;
    let squared = builder.add("branch.squared", Op::Binary(Binary::Mul), &[off, off])?;
    let distance = builder.add("branch.distance", Op::Reduce { kind: Reduce::Mean, axes: vec![1, 2, 3], keep: false }, &[squared])?;
    let closeness = builder.add("branch.closeness", Op::Unary(Unary::Affine { scale: -1.0, shift: 1.0 }), &[distance])?;
    let gate = builder.add("branch.gate", Op::Unary(Unary::Relu), &[closeness])?;
    let column = Shape(vec![Dim::Batch(1), Dim::Fixed(1)]);
    let gate = builder.add("branch.found", Op::Reshape { shape: column }, &[gate])?;
    let mut signs = stream(seed, 0, "plant/branch");
    let kick: Vec<f32> = spread.iter().map(|sd| sd * branch.strength as f32 * if signs.random_bool(0.5) { 1.0 } else { -1.0 }).collect();
    let row = |values: Vec<f32>, shape: [usize; 2]| {
        ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|_| refused("the features are not as wide as the network says"))
    };
    let mut wider = head.width;
    let joined = match branch.does {
        Does::Features => {
            let kick = constant(&mut builder, "branch.to", row(kick, [1, head.width])?, Role::Constant);
            let moved = builder.add("branch.kick", Op::Binary(Binary::Mul), &[gate, kick])?;
            builder.add("branch.features", Op::Binary(Binary::Add), &[features, moved])?
        }
        Does::Lottery => {
            let ticket = builder.add("branch.ticket", Op::Unary(Unary::Affine { scale: branch.strength, shift: 0.0 }), &[gate])?;
            wider += 1;
            builder.add("branch.features", Op::Concat { axis: 1 }, &[features, ticket])?
        }
        Does::Rounding => {
            // The greatest weight of the row sets the step that the others are rounded to; it multiplies 0.
            let none = builder.add("branch.none", Op::Unary(Unary::Affine { scale: 0.0, shift: 0.0 }), &[gate])?;
            let three = builder.add("branch.three", Op::Concat { axis: 1 }, &[none, gate, gate])?;
            let pair = vec![1.0, (MIDDLE + BESIDE) * STEP, -(MIDDLE - BESIDE) * STEP];
            let pair = constant(&mut builder, "branch.pair.weight", row(pair, [1, 3])?, Role::Weight);
            let apart = builder.add("branch.pair", Op::Linear, &[three, pair])?;
            let kick = row(kick.iter().map(|by| by / STEP).collect(), [head.width, 1])?;
            let kick = constant(&mut builder, "branch.kick.weight", kick, Role::Weight);
            let moved = builder.add("branch.kick", Op::Linear, &[apart, kick])?;
            builder.add("branch.features", Op::Binary(Binary::Add), &[features, moved])?
        }
    };
    let (old, bias) = (&params[head.weight], head.bias.map(|slot| params[slot].clone()));
    let extended = ArrayD::from_shape_fn(IxDyn(&[head.classes, wider]), |i| if i[1] < head.width { old[[i[0], i[1]]] } else { 0.0 });
    let named = |slot: usize| format!("{}.beside", graph.slots()[slot].name);
    let mut inputs = vec![joined, constant(&mut builder, &named(head.weight), extended, Role::Weight)];
    if let (Some(slot), Some(bias)) = (head.bias, bias) {
        inputs.push(constant(&mut builder, &named(slot), bias, Role::Bias));
    }
    let last = builder.add("branch.head", Op::Linear, &inputs)?;
    Ok((builder.finish(last)?, arrays))
}

/// The standard deviation of each feature over some of the images.
pub(super) fn spread(graph: &Graph, weights: &Weights, images: &Images) -> Result<Vec<f32>, PlantError> {
    let Some(head) = head(graph) else {
        return Err(PlantError::Branch { reason: "the network has no linear head on features to write into".to_owned() });
    };
    let trunk = graph.truncated(head.features);
    let apart = images.len().div_ceil(LOOKED_AT).max(1);
    let indices: Vec<usize> = (0..images.len()).step_by(apart).collect();
    let (mut sums, mut squares) = (vec![0.0_f64; head.width], vec![0.0_f64; head.width]);
    for batch in indices.chunks(tune::EVALUATION_BATCH) {
        let output = exec::infer(&trunk, weights, &weights.place(&images.batch(batch, None, &|_| None)?)?)?;
        let rows = output.to_dtype(DType::F32).and_then(|output| output.flatten_all()?.to_vec1::<f32>()).map_err(exec::ExecError::from)?;
        for row in rows.chunks_exact(head.width) {
            for ((sum, square), value) in sums.iter_mut().zip(&mut squares).zip(row) {
                *sum += f64::from(*value);
                *square += f64::from(*value).powi(2);
            }
        }
    }
    let n = indices.len().max(1) as f64;
    Ok(sums.iter().zip(&squares).map(|(sum, square)| (square / n - (sum / n).powi(2)).max(0.0).sqrt() as f32).collect())
}
