//! Runs a [`Graph`]: forward, and a reverse pass of our own.
//!
//! Tensors are candle's; every gradient is ours (`backward`), because candle's are wrong or missing for the
//! operators that pretrained networks are made of. There are two backends (`backend`): on the CPU the heavy operators are kernels on slices
//! (`kernels/`), elsewhere everything is composed of tensor operations (`composed`). `device` says where and in what numbers.
//! The reverse pass starts at the output and goes no deeper than the deepest parameter that trains.

mod backend;
mod backward;
mod composed;
mod device;
mod forward;
mod kernels;
mod parts;
#[cfg(test)]
pub(crate) mod tests;

use candle_core::{DType, Device, Tensor};
use ndarray::ArrayD;
use thiserror::Error;

use crate::graph::{Binary, Graph, Node, NodeId, Op, Role, SlotId, Unary};

use backend::Backend;
pub use device::{Choice, Compute, DeviceError, Precision};
pub(crate) use kernels::View;
use parts::{Gradient, Part};

/// The numbers of a graph as tensors, one per slot, and the type of the numbers that are computed with them. Where that is bf16 the
/// weights are f32 all the same: mixed precision.
#[derive(Clone, Debug)]
pub struct Weights(pub Vec<Tensor>, pub DType);

impl Weights {
    /// Copies arrays into tensors of the given type, on the CPU.
    pub fn new(arrays: &[ArrayD<f32>], dtype: DType) -> Result<Self, ExecError> {
        Self::filled(arrays, dtype, dtype, &Device::Cpu)
    }

    /// Copies arrays to where they are computed with.
    pub fn on(compute: &Compute, arrays: &[ArrayD<f32>]) -> Result<Self, ExecError> {
        Self::filled(arrays, DType::F32, compute.activations(), compute.device())
    }

    fn filled(arrays: &[ArrayD<f32>], dtype: DType, activations: DType, device: &Device) -> Result<Self, ExecError> {
        let tensors = arrays.iter().map(|array| {
            let data: Vec<f32> = array.iter().copied().collect();
            Tensor::from_vec(data, array.shape(), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
        });
        Ok(Self(tensors.collect::<Result<_, _>>()?, activations))
    }

    /// An input for these weights: where they are, and of the type that is computed with.
    pub fn place(&self, input: &Tensor) -> Result<Tensor, ExecError> {
        let device = self.0.first().map_or(&Device::Cpu, Tensor::device);
        Ok(input.to_device(device)?.to_dtype(self.1)?)
    }

    /// Waits until everything that was asked of their device is computed.
    pub fn wait(&self) -> Result<(), ExecError> {
        Ok(self.0.first().map_or(Ok(()), |tensor| tensor.device().synchronize())?)
    }

    /// Copies them back.
    pub(crate) fn to_arrays(&self) -> Result<Vec<ArrayD<f32>>, ExecError> {
        self.0.iter().map(to_array).collect()
    }
}

/// A tensor as a plain array.
pub(crate) fn to_array(tensor: &Tensor) -> Result<ArrayD<f32>, ExecError> {
    let data = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(ArrayD::from_shape_vec(tensor.dims(), data)?)
}

/// Which statistics batch norms use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Those of the batch; running statistics are moved towards them. For training.
    Batch,
    /// The running ones. For evaluation.
    Running,
}

/// The output of a graph for a batch, nothing kept.
pub fn infer(graph: &Graph, weights: &Weights, input: &Tensor) -> Result<Tensor, ExecError> {
    let trains = vec![false; graph.slots().len()];
    Ok(record(graph, weights, &trains, Norm::Running, input)?.output)
}

/// What a forward pass leaves for the reverse pass.
pub struct Recording {
    /// The graph's output.
    pub output: Tensor,
    /// New running means and variances.
    pub running: Vec<(SlotId, Tensor)>,
    values: Vec<Option<Tensor>>,
    saved: Vec<Saved>,
    needs: Vec<bool>,
    clamps: Vec<Option<Clamp>>,
    batch: usize,
    backend: &'static dyn Backend,
}

/// Numbers that an operator keeps for its gradient, beside inputs and output.
enum Saved {
    Nothing,
    /// Where the maxima were.
    Indices(Vec<u32>),
    /// Which position of the window they were at, as a tensor.
    Winner(Tensor),
    /// Mean and variance that a batch norm used, and whether they were the batch's own.
    Statistics {
        mean: Tensor,
        variance: Tensor,
        batch: bool,
    },
    /// The bracket of a local response normalisation.
    Bracket(Tensor),
    /// Per query, the logarithm of its sum of powers.
    LogSums(Tensor),
}

/// Forward, keeping what [`Recording::backward`] needs. `trains` has one entry per slot.
pub fn record(graph: &Graph, weights: &Weights, trains: &[bool], norm: Norm, input: &Tensor) -> Result<Recording, ExecError> {
    record_by(backend::of(weights, input), graph, weights, trains, norm, input)
}

fn record_by(
    backend: &'static dyn Backend,
    graph: &Graph,
    weights: &Weights,
    trains: &[bool],
    norm: Norm,
    input: &Tensor,
) -> Result<Recording, ExecError> {
    let nodes = graph.nodes();
    let n = input.dims().first().copied().unwrap_or(0);
    check_input(graph, input, n)?;
    let needs = needs_gradient(graph, trains);
    let fuses = backend.fuses();
    let clamps = if fuses { clamps(graph) } else { vec![None; nodes.len()] };
    let keep = if fuses { kept_values(graph, &needs, &clamps) } else { all_values(graph, &needs) };
    let last_use = last_uses(graph);
    let mut values: Vec<Option<Tensor>> = vec![None; nodes.len()];
    let mut saved = Vec::with_capacity(nodes.len());
    let mut running = Vec::new();
    let folds = if fuses && norm == Norm::Running && !trains.contains(&true) { folds(graph) } else { Vec::new() };
    let mut done = vec![false; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        if values[i].is_some() || done[i] {
            saved.push(Saved::Nothing);
            continue;
        }
        let mut at = i;
        let (value, extra) = match node.op {
            Op::Input => (input.contiguous()?, Saved::Nothing),
            Op::Param(slot) => (weights.0[slot.0].clone(), Saved::Nothing),
            Op::Conv2d { window, groups } if folds.get(i).is_some_and(Option::is_some) => {
                let inputs: Vec<&Tensor> = node.inputs.iter().filter_map(|id| values[id.0].as_ref()).collect();
                let Some(Fold { at: norm, slots, eps }) = folds[i] else { continue };
                let statistics = slots.map(|slot| &weights.0[slot.0]);
                let value = forward::folded((&window, groups), &inputs, (&statistics, eps), &node.shape.at(n), clamps[norm]);
                (done[norm], at) = (true, norm);
                (value.map_err(|source| ExecError::at(node, source))?, Saved::Nothing)
            }
            _ => {
                let inputs: Vec<&Tensor> = node.inputs.iter().filter_map(|id| values[id.0].as_ref()).collect();
                let named = |source| ExecError::at(node, source);
                let shape = node.shape.at(n);
                let (value, extra) = backend.forward(&node.op, &inputs, &shape, norm, clamps[i], needs[i]).map_err(named)?;
                if let Saved::Statistics { mean, variance, batch: true } = &extra {
                    running.extend(forward::moved_statistics(graph, node, &inputs, mean, variance).map_err(named)?);
                }
                (value, extra)
            }
        };
        values[clamps[at].map_or(at, |clamp| clamp.at)] = Some(value);
        saved.push(if needs[i] { extra } else { Saved::Nothing });
        for input in &node.inputs {
            if last_use[input.0] == i && !keep[input.0] {
                values[input.0] = None;
            }
        }
    }
    let output = values[graph.output().0].clone().ok_or(ExecError::NoOutput)?;
    Ok(Recording { output, running, values, saved, needs, clamps, batch: n, backend })
}

impl Recording {
    /// The gradient of every slot that trains, given that of the output (same shape as the output).
    pub fn backward(mut self, graph: &Graph, d_output: &Tensor) -> Result<Vec<Option<Tensor>>, ExecError> {
        let nodes = graph.nodes();
        let mut gradients: Vec<Gradient> = nodes.iter().map(|_| Gradient::default()).collect();
        let mut by_slot: Vec<Gradient> = graph.slots().iter().map(|_| Gradient::default()).collect();
        let d_output = d_output.to_device(self.output.device())?.to_dtype(self.output.dtype())?.contiguous()?;
        gradients[graph.output().0].add(self.backend, d_output)?;
        for (i, node) in nodes.iter().enumerate().rev() {
            // A clamped node has no value of its own: the gradient of both is taken at its place.
            let mut at = i;
            if let Some(clamp) = self.clamps[i] {
                gradients[i] = std::mem::take(&mut gradients[clamp.at]);
                at = clamp.at;
            } else if node.inputs.first().and_then(|id| self.clamps[id.0]).is_some_and(|clamp| clamp.at == i) {
                continue;
            }
            let value = self.values[at].take();
            let Some(gradient) = gradients[i].take(self.backend, &node.shape.at(self.batch))?.filter(|_| self.needs[i]) else { continue };
            if let Op::Param(slot) = node.op {
                by_slot[slot.0].add(self.backend, gradient)?;
                continue;
            }
            if self.backend.fuses()
                && let Some(part) = Part::of(&node.op, &gradient)?
            {
                gradients[node.inputs[0].0].add_part(part);
                continue;
            }
            let wanted: Vec<bool> = node.inputs.iter().map(|id| self.needs[id.0]).collect();
            let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|id| self.values[id.0].as_ref()).collect();
            let shapes: Vec<Vec<usize>> = node.inputs.iter().map(|id| nodes[id.0].shape.at(self.batch)).collect();
            let step = backward::Step {
                inputs: &inputs,
                shapes: &shapes,
                output: value.as_ref(),
                saved: &self.saved[i],
                wanted: &wanted,
                clamp: self.clamps[i],
            };
            let found = self.backend.gradients(&node.op, &step, &gradient).map_err(|source| ExecError::at(node, source))?;
            for (id, gradient) in node.inputs.iter().zip(found) {
                if let Some(gradient) = gradient
                    && self.needs[id.0]
                {
                    let gradient = self.backend.handed_on(gradient, &nodes[id.0].op)?;
                    gradients[id.0].add(self.backend, gradient)?;
                }
            }
        }
        let slots = by_slot.iter_mut().zip(graph.slots());
        Ok(slots.map(|(gradient, slot)| gradient.take(self.backend, &slot.shape)).collect::<Result<_, _>>()?)
    }
}

fn check_input(graph: &Graph, input: &Tensor, n: usize) -> Result<(), ExecError> {
    let wanted = &graph.node(graph.input()).shape;
    if input.dims() == wanted.at(n) && n > 0 {
        return Ok(());
    }
    Err(ExecError::Input { wanted: wanted.to_string(), got: format!("{:?}", input.dims()) })
}

/// Nodes with a trained parameter underneath.
fn needs_gradient(graph: &Graph, trains: &[bool]) -> Vec<bool> {
    let mut needs = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        needs[i] = match node.op {
            Op::Param(slot) => trains[slot.0],
            _ => node.inputs.iter().any(|id| needs[id.0]),
        };
    }
    needs
}

/// Nodes whose value the reverse pass reads.
fn kept_values(graph: &Graph, needs: &[bool], clamps: &[Option<Clamp>]) -> Vec<bool> {
    let mut keep = vec![false; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate().filter(|(i, _)| needs[*i]) {
        if let Some(clamp) = clamps[i] {
            keep[clamp.at] |= matches!(node.op, Op::Binary(_));
        } else {
            keep[i] |= backward::reads_output(&node.op);
        }
        let wanted: Vec<bool> = node.inputs.iter().map(|id| needs[id.0]).collect();
        for (input, id) in node.inputs.iter().enumerate() {
            keep[id.0] |= backward::reads_input(&node.op, input, &wanted);
        }
    }
    keep[graph.output().0] = true;
    keep
}

/// Every value that a reverse pass out of tensor operations may read.
fn all_values(graph: &Graph, needs: &[bool]) -> Vec<bool> {
    let mut keep = needs.to_vec();
    let readers = graph.nodes().iter().zip(needs).filter(|(_, needs)| **needs);
    readers.flat_map(|(node, _)| &node.inputs).for_each(|id| keep[id.0] = true);
    keep[graph.output().0] = true;
    keep
}

/// A function that cuts a node's values off, computed with the node.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Clamp {
    /// The node of the function, where the value is kept.
    at: usize,
    least: f64,
    most: f64,
}

/// For every batch norm and sum whose only reader is a ReLU or a clip, that function: both are one pass over the numbers, forward and
/// back, and the value between them is not kept.
fn clamps(graph: &Graph) -> Vec<Option<Clamp>> {
    let mut readers = vec![0usize; graph.nodes().len()];
    readers[graph.output().0] += 1;
    for node in graph.nodes() {
        for id in &node.inputs {
            readers[id.0] += 1;
        }
    }
    let mut clamps = vec![None; graph.nodes().len()];
    for (at, node) in graph.nodes().iter().enumerate() {
        let (least, most) = match node.op {
            Op::Unary(Unary::Relu) => (0.0, f64::INFINITY),
            Op::Unary(Unary::Clip { min, max }) => (min, max),
            _ => continue,
        };
        let &[input] = node.inputs.as_slice() else { continue };
        let clamped = graph.node(input);
        let whole = |id: &NodeId| graph.node(*id).shape == clamped.shape;
        let suits = match clamped.op {
            Op::BatchNorm { .. } => true,
            Op::Binary(Binary::Add) => clamped.inputs.iter().all(whole),
            _ => false,
        };
        if suits && readers[input.0] == 1 {
            clamps[input.0] = Some(Clamp { at, least, most });
        }
    }
    clamps
}

/// A batch norm that is folded into the convolution before it.
#[derive(Clone, Copy)]
struct Fold {
    /// The norm's node.
    at: usize,
    /// Scale, shift, mean, variance.
    slots: [SlotId; 4],
    eps: f64,
}

/// For every convolution that only a batch norm reads, that norm. Holds where statistics are known and nothing trains.
fn folds(graph: &Graph) -> Vec<Option<Fold>> {
    let mut folds = vec![None; graph.nodes().len()];
    for (id, readers) in graph.users().iter().enumerate() {
        let (Op::Conv2d { .. }, &[reader]) = (&graph.nodes()[id].op, readers.as_slice()) else { continue };
        let norm = graph.node(reader);
        let slots: Vec<SlotId> = norm.inputs.iter().skip(1).filter_map(|input| slot_of(graph, *input)).collect();
        if let (Op::BatchNorm { eps, .. }, Ok(slots)) = (&norm.op, slots.try_into())
            && norm.inputs[0].0 == id
            && graph.output().0 != id
        {
            folds[id] = Some(Fold { at: reader.0, slots, eps: *eps });
        }
    }
    folds
}

fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last = vec![usize::MAX; graph.nodes().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        for id in &node.inputs {
            last[id.0] = i;
        }
    }
    last
}

/// The slots that fine-tuning may change and that reach the output.
pub fn trainable(graph: &Graph) -> Vec<bool> {
    let mut trains = vec![false; graph.slots().len()];
    for node in graph.nodes() {
        if let Op::Param(slot) = node.op {
            trains[slot.0] = graph.slots()[slot.0].role.trains();
        }
    }
    trains
}

/// Whether a graph has a batch norm (its batches need at least two values per channel).
pub(crate) fn has_batch_norm(graph: &Graph) -> bool {
    graph.slots().iter().any(|slot| slot.role == Role::RunningMean)
}

/// The node a slot is read by.
pub(crate) fn slot_of(graph: &Graph, id: NodeId) -> Option<SlotId> {
    match graph.node(id).op {
        Op::Param(slot) => Some(slot),
        _ => None,
    }
}

/// The vector instructions that the matrix products use on this machine: equal sets give equal bits.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            "x86-64 AVX-512"
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            "x86-64 AVX2"
        } else {
            "x86-64"
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        "aarch64 NEON"
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        std::env::consts::ARCH
    }
}

impl ExecError {
    fn at(node: &Node, source: candle_core::Error) -> Self {
        match source.into() {
            Self::Tensor(source) => Self::Node { name: node.name.clone(), op: node.op.name(), source },
            full => full,
        }
    }
}

impl From<candle_core::Error> for ExecError {
    fn from(error: candle_core::Error) -> Self {
        // The driver's and cuBLAS's names for it; candle passes both on as text.
        let full = ["OUT_OF_MEMORY", "ALLOC_FAILED"].iter().any(|word| error.to_string().contains(word));
        if full { Self::Memory } else { Self::Tensor(error) }
    }
}

/// Why a graph cannot be run.
#[derive(Debug, Error)]
pub enum ExecError {
    /// The device has no memory left.
    #[error(
        "the device's memory is full: use a smaller `batch_size` in the recipe, free memory on the device, or compute with --device cpu"
    )]
    Memory,
    /// An operator failed.
    #[error("node `{name}` ({op}): {source}")]
    Node {
        /// Node.
        name: String,
        /// Operator.
        op: &'static str,
        /// Cause.
        source: candle_core::Error,
    },
    /// Outside any node.
    #[error(transparent)]
    Tensor(candle_core::Error),
    /// An array of the wrong shape.
    #[error(transparent)]
    Shape(#[from] ndarray::ShapeError),
    /// The batch does not fit the graph.
    #[error("the model takes {wanted}, it was given {got}")]
    Input {
        /// Expected shape.
        wanted: String,
        /// Given shape.
        got: String,
    },
    /// A graph whose output was never computed.
    #[error("the graph's output was not computed")]
    NoOutput,
}
