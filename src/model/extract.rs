//! Features computed by ONNX Runtime: of the original file where there is one, else of our own network written as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use thiserror::Error;

use super::onnx::{self, OnnxError, Survey};
use super::{Cut, CutError, InputSpec, Layout, Model, Network, cut};
use crate::exec::{self, ExecError, Weights};
use crate::graph::{Graph, Op, Shape};
use crate::registry::{self, Beside, Contents, Format, RegistryError};
use crate::runtime::{Output, Runtime, RuntimeError, Session};

/// What computes the features of a frozen network in ONNX Runtime.
#[derive(Clone, Debug)]
pub struct Extractor {
    session: Arc<Session>,
    /// From what the session gives to `[N, width]`.
    tail: Option<Arc<Graph>>,
    half: bool,
}

impl Extractor {
    /// The network of the ONNX file `file` where that is where it came from, else as our writer puts it.
    pub(super) fn of_network(
        runtime: &Runtime,
        network: &Network,
        cut: &Cut,
        input: &InputSpec,
        file: Option<&Contents>,
    ) -> Result<Self, ExtractError> {
        let Some(file) = file else {
            let bytes = onnx::write(&network.trunk, &network.params, input, &BTreeMap::new())?;
            let session = Session::new(runtime, &bytes, &Beside::new(), &[])?;
            return Ok(Self { session: Arc::new(session), tail: None, half: false });
        };
        let survey = onnx::survey(&file.bytes, Some([input.height, input.width]))?;
        if !survey.tensors.contains(&cut.name) {
            return Err(ExtractError::NotInTheFile { name: cut.name.clone() });
        }
        let session = Session::new(runtime, &file.bytes, &file.beside, std::slice::from_ref(&cut.name))?;
        let shape = shape_of(&session, input)?;
        let expected = cut.tail.node(cut.tail.input()).shape.at(1);
        if shape != expected[1..] {
            return Err(ExtractError::Shape { name: cut.name.clone(), found: shape, expected: expected[1..].to_vec() });
        }
        Ok(Self { session: Arc::new(session), tail: Some(Arc::clone(&cut.tail)), half: survey.half })
    }

    /// A network that is known from outside only, with the cut that the user names or its head suggests.
    pub(super) fn of_survey(
        runtime: &Runtime,
        file: &Contents,
        survey: &Survey,
        input: &InputSpec,
        user: Option<&str>,
    ) -> Result<(Cut, Self), ExtractError> {
        let (name, how) = match user {
            Some(name) if survey.tensors.contains(name) => (name, "named by the user"),
            Some(name) => return Err(CutError::not_found(name, survey.tensors.iter().map(String::as_str)).into()),
            None => (survey.features.0.as_str(), survey.features.1),
        };
        let mut session = Session::new(runtime, &file.bytes, &file.beside, &[name.to_owned()])?;
        let shape = shape_of(&session, input)?;
        if mixes(&session, input) {
            session.one_by_one();
        }
        let class_token = matches!(shape[..], [_, width] if survey.tokens.contains(&width));
        let cut = cut::cut(name, Shape::batched(&shape), class_token, how)?;
        let tail = Some(Arc::clone(&cut.tail));
        Ok((cut, Self { session: Arc::new(session), tail, half: survey.half }))
    }

    /// The library that computes.
    pub fn runtime(&self) -> &Runtime {
        self.session.runtime()
    }

    /// Gives it the name that errors call it by.
    pub(super) fn call(&self, name: &str) {
        self.session.call(name);
    }

    /// Whether the file holds numbers of two bytes, which executors round differently on their way.
    pub fn half(&self) -> bool {
        self.half
    }

    /// The features `[N, width]` of a batch as it enters the network.
    pub fn features(&self, batch: &Tensor) -> Result<Tensor, ExtractError> {
        let found = to_tensor(first(self.session.run(batch.dims(), &values(batch)?)?)?)?;
        match &self.tail {
            Some(tail) if tail.nodes().len() > 1 => Ok(exec::infer(tail, &Weights::new(&[], candle_core::DType::F32)?, &found)?),
            _ => Ok(found),
        }
    }
}

/// The first node whose output both executors have and disagree about by more than `tolerance` of its largest number, for a batch of
/// inputs; its name and by how much.
pub fn first_difference(model: &Model, batch: &Tensor, tolerance: f64) -> Result<Option<(String, f64)>, ExtractError> {
    let (Ok(network), Ok(extractor)) = (&model.network, &model.runtime) else { return Ok(None) };
    let (bytes, beside, tensors) = match model.identity.format {
        Format::Onnx => {
            let file = registry::contents(&model.identity)?;
            let tensors = onnx::survey(&file.bytes, Some([model.input.height, model.input.width]))?.tensors;
            (file.bytes, file.beside, tensors)
        }
        Format::Safetensors => {
            let bytes = onnx::write(&network.trunk, &network.params, &model.input, &BTreeMap::new())?;
            let tensors = onnx::survey(&bytes, None)?.tensors;
            (bytes, Beside::new(), tensors)
        }
    };
    let computed = network.trunk.nodes().iter().filter(|node| !matches!(node.op, Op::Input | Op::Param(_)) && tensors.contains(&node.name));
    let names: Vec<String> = computed.map(|node| node.name.clone()).collect();
    let given = Session::new(extractor.runtime(), &bytes, &beside, &names)?.run(batch.dims(), &values(batch)?)?;
    let weights = Weights::new(&network.params.0, candle_core::DType::F32)?;
    for (name, theirs) in names.iter().zip(given) {
        let Some(node) = network.trunk.find(name) else { continue };
        let ours = values(&exec::infer(&network.trunk.truncated(node), &weights, batch)?)?;
        let apart = difference(&ours, &theirs.values);
        if apart > tolerance {
            return Ok(Some((name.clone(), apart)));
        }
    }
    Ok(None)
}

/// The largest difference of two lists of numbers, relative to the largest number of the first; infinite where one is no number or
/// they are not of one length.
pub fn difference(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let scale = a.iter().fold(0.0f64, |most, v| most.max(f64::from(v.abs())));
    let apart = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, |most: f64, v| if v.is_nan() { f64::INFINITY } else { most.max(v) });
    if apart == 0.0 { 0.0 } else { apart / scale }
}

/// The shape of what a session gives for one picture, without the batch.
fn shape_of(session: &Session, input: &InputSpec) -> Result<Vec<usize>, ExtractError> {
    let shape = batch_of(1, input);
    let zeros = vec![0.0; shape.iter().product()];
    Ok(first(session.run(&shape, &zeros)?)?.shape.split_off(1))
}

fn batch_of(n: usize, input: &InputSpec) -> [usize; 4] {
    let (c, h, w) = (input.channels, input.height, input.width);
    match input.layout {
        Layout::Nchw => [n, c, h, w],
        Layout::Nhwc => [n, h, w, c],
    }
}

/// Whether what a network makes of a picture depends on the others in its batch, as it does where activations are quantised by the
/// range of the batch. One that takes no two pictures at once counts too.
fn mixes(session: &Session, input: &InputSpec) -> bool {
    /// Rounding differs a little with the size of a product.
    const SAME: f64 = 1e-5;
    let [one, two] = [1, 2].map(|n| batch_of(n, input));
    let size: usize = one.iter().product();
    // Noise, and beside it more of it.
    let noise: Vec<f32> = (0..2 * size)
        .map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0)
        .enumerate()
        .map(|(i, v)| if i < size { v } else { 3.0 * v })
        .collect();
    let run = |shape: &[usize], values: &[f32]| session.run(shape, values).ok().and_then(|outputs| outputs.into_iter().next());
    match (run(&one, &noise[..size]), run(&two, &noise)) {
        (Some(alone), Some(beside)) => difference(&alone.values, &beside.values[..alone.values.len().min(beside.values.len())]) > SAME,
        _ => true,
    }
}

fn first(outputs: Vec<Output>) -> Result<Output, ExtractError> {
    outputs.into_iter().next().ok_or_else(|| RuntimeError::Run { reason: "it gives nothing".into() }.into())
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, ExtractError> {
    Ok(tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).map_err(ExecError::from)?)
}

fn to_tensor(output: Output) -> Result<Tensor, ExtractError> {
    Ok(Tensor::from_vec(output.values, output.shape, &Device::Cpu).map_err(ExecError::from)?)
}

/// Why ONNX Runtime does not compute a network's features.
#[derive(Debug, Error)]
pub enum ExtractError {
    /// ONNX Runtime itself.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The cut is ours alone.
    #[error("the features `{name}` are not computed under that name in the file")]
    NotInTheFile {
        /// Tensor.
        name: String,
    },
    /// The two read the file differently.
    #[error("ONNX Runtime gives `{name}` the shape {found:?} per picture, heirloom {expected:?}")]
    Shape {
        /// Tensor.
        name: String,
        /// By ONNX Runtime.
        found: Vec<usize>,
        /// By heirloom.
        expected: Vec<usize>,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The file is not there any more.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No features.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// What is done to the tensor, or our own network.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl ExtractError {
    /// Whether the process that the library ran in came to an end that nobody asked for.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Runtime(error) if error.is_end())
    }

    /// What ended the process that the library ran in, if that is the reason.
    pub(super) fn end(self) -> Result<RuntimeError, Self> {
        match self {
            Self::Runtime(error) if error.is_end() => Ok(error),
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn differences_are_relative_to_the_largest_number() {
        assert!((difference(&[4.0, 1.0], &[4.0, 1.4]) - 0.1).abs() < 1e-6);
        assert!(difference(&[0.0, 0.0], &[0.0, 0.0]) < f64::MIN_POSITIVE);
        for (a, b) in [(&[1.0, f32::NAN][..], &[1.0, 1.0][..]), (&[1.0], &[1.0, 2.0]), (&[0.0], &[1.0])] {
            assert!(difference(a, b).is_infinite());
        }
    }
}
