//! Features computed by ONNX Runtime: of the original file where there is one, else of our own network written as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Storage, Tensor};
use thiserror::Error;

use super::onnx::{self, Classes, Found, OnnxError, Survey};
use super::{FeatureLayer, FeatureLayerError, InputSpec, Layout, Model, Network, feature_layer, rounding};
use crate::diag::Explain;
use crate::exec::{self, ExecError, Weights};
use crate::graph::{Graph, Op, Shape, Sixteen};
use crate::registry::{self, Contents, ExternalData, Format, RegistryError};
use crate::runtime::{Output, Runtime, RuntimeError, Session};

/// What computes the features of a frozen network in ONNX Runtime.
#[derive(Clone, Debug)]
pub struct Extractor {
    session: Arc<Session>,
    /// From what the session gives to `[N, width]`.
    tail: Option<Arc<Graph>>,
    half: Option<Sixteen>,
}

impl Extractor {
    /// The network of the ONNX file `file` where that is where it came from, else as our writer puts it.
    pub(super) fn of_network(
        runtime: &Runtime,
        network: &Network,
        feature_layer: &FeatureLayer,
        input: &InputSpec,
        file: Option<&Contents>,
    ) -> Result<Self, ExtractError> {
        let Some(file) = file else {
            let bytes = onnx::write(&network.trunk, &network.params, input, &BTreeMap::new())?;
            let session = Session::new(runtime, &bytes, &ExternalData::new(), &[])?;
            return Ok(Self { session: Arc::new(session), tail: None, half: None });
        };
        let survey = onnx::survey(&file.bytes, &file.external, Some([input.height, input.width]), Some(&feature_layer.name))?;
        if !survey.tensors.contains(&feature_layer.name) {
            return Err(ExtractError::NotInTheFile { name: feature_layer.name.clone() });
        }
        let session = Session::new(runtime, &file.bytes, &file.external, std::slice::from_ref(&feature_layer.name))?;
        let shape = shape_of(&session, input)?;
        let expected = feature_layer.tail.node(feature_layer.tail.input()).shape.at(1);
        if shape != expected[1..] {
            return Err(ExtractError::Shape { name: feature_layer.name.clone(), found: shape, expected: expected[1..].to_vec() });
        }
        Ok(Self { session: Arc::new(session), tail: Some(Arc::clone(&feature_layer.tail)), half: survey.half })
    }

    /// A network that is known from outside only, with the cut that the user names or its head suggests.
    pub(super) fn of_survey(
        runtime: &Runtime,
        file: &Contents,
        survey: &Survey,
        input: &InputSpec,
        user: Option<&str>,
    ) -> Result<(FeatureLayer, Self), ExtractError> {
        if !survey.drawn.is_empty() {
            return Err(OnnxError::Random { nodes: survey.drawn.clone() }.into());
        }
        let (name, how) = match user {
            Some(name) if survey.tensors.contains(name) => (name, "named by the user"),
            Some(name) => return Err(FeatureLayerError::not_found(name, survey.tensors.iter().map(String::as_str)).into()),
            None => {
                let found = survey.features.as_ref().map_err(FeatureLayerError::copied)?;
                answers_once(runtime, file, found, input)?;
                (found.name.as_str(), found.how)
            }
        };
        let mut session = Session::new(runtime, &file.bytes, &file.external, &[name.to_owned()])?;
        let shape = shape_of(&session, input)?;
        let encoder = user.is_none() && survey.features.as_ref().is_ok_and(|found| found.encoder);
        if let Some(why) = feature_layer::too_narrow(name, &shape).filter(|_| encoder) {
            return Err(FeatureLayerError::NoFeatures { why, candidates: Vec::new() }.into());
        }
        match batching(&session, input) {
            Batching::Free => {}
            Batching::Single => session.one_by_one(),
            Batching::Random => return Err(ExtractError::Unsteady { name: name.to_owned() }),
        }
        let class_token = matches!(shape[..], [_, width] if survey.tokens.contains(&width));
        let feature_layer = feature_layer::feature_layer(name, Shape::batched(&shape), class_token, how)?;
        let tail = Some(Arc::clone(&feature_layer.tail));
        Ok((feature_layer, Self { session: Arc::new(session), tail, half: survey.half }))
    }

    /// The library that computes.
    pub(crate) fn runtime(&self) -> &Runtime {
        self.session.runtime()
    }

    /// Gives it the name that errors call it by.
    pub(crate) fn call(&self, name: &str) {
        self.session.call(name);
    }

    /// The float of two bytes that the file's numbers are, or that it rounds to on its way, where each executor rounds differently.
    pub(crate) fn half(&self) -> Option<Sixteen> {
        self.half
    }

    /// The features `[N, width]` of a batch as it enters the network.
    pub fn features(&self, batch: &Tensor) -> Result<Tensor, ExtractError> {
        let found = to_tensor(first(run(&self.session, batch)?)?)?;
        match &self.tail {
            Some(tail) if tail.nodes().len() > 1 => Ok(exec::infer(tail, &Weights::new(&[], candle_core::DType::F32)?, &found)?),
            _ => Ok(found),
        }
    }
}

/// The first node whose output both executors have and disagree about by more than rounding explains, for one input; its name and by how
/// much of its largest number. `least` is always explained.
pub(crate) fn first_difference(model: &Model, one: &Tensor, least: f64) -> Result<Option<(String, f64)>, ExtractError> {
    let (Ok(network), Ok(extractor)) = (&model.network, &model.runtime) else { return Ok(None) };
    let (bytes, external, tensors) = match model.identity.format {
        Format::Onnx => {
            let mut file = registry::contents(&model.identity)?;
            if let Some(part) = onnx::image_part(&file.bytes, Some(&model.feature_layer.name))? {
                file.bytes = part.bytes;
            }
            let tensors = onnx::survey(&file.bytes, &file.external, Some([model.input.height, model.input.width]), None)?.tensors;
            (file.bytes, file.external, tensors)
        }
        Format::Safetensors => {
            let bytes = onnx::write(&network.trunk, &network.params, &model.input, &BTreeMap::new())?;
            let tensors = onnx::survey(&bytes, &ExternalData::new(), None, None)?.tensors;
            (bytes, ExternalData::new(), tensors)
        }
    };
    let computed = network.trunk.nodes().iter().filter(|node| !matches!(node.op, Op::Input | Op::Param(_)) && tensors.contains(&node.name));
    let names: Vec<String> = computed.map(|node| node.name.clone()).collect();
    let given = Session::new(extractor.runtime(), &bytes, &external, &names)?.run(one.dims(), &values(one)?)?;
    for (name, theirs) in names.iter().zip(given) {
        let Some(node) = network.trunk.find(name) else { continue };
        let part = network.trunk.truncated(node);
        let ours = network.singly(&part, one)?;
        let apart = difference(&ours, &theirs.values);
        if apart > least {
            let exact = network.exactly(&part, one)?;
            if !rounding::same(rounding::distance(&ours, &exact), rounding::distance(&theirs.values, &exact), least) {
                return Ok(Some((name.clone(), apart)));
            }
        }
    }
    Ok(None)
}

/// The largest difference of two lists of numbers, relative to the largest number of the first; infinite where one is no number or
/// they are not of one length.
pub(crate) fn difference(a: &[f32], b: &[f32]) -> f64 {
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

/// What a session gives for a batch, whose numbers are not copied where they lie in order.
fn run(session: &Session, batch: &Tensor) -> Result<Vec<Output>, ExtractError> {
    let (storage, layout) = batch.storage_and_layout();
    if let (Storage::Cpu(numbers), Some((from, to))) = (&*storage, layout.contiguous_offsets()) {
        let numbers = numbers.as_slice::<f32>().map_err(ExecError::from)?;
        if let Some(numbers) = numbers.get(from..to) {
            return Ok(session.run(batch.dims(), numbers)?);
        }
    }
    drop(storage);
    Ok(session.run(batch.dims(), &values(batch)?)?)
}

/// The shape of what a session gives for one image, without the batch.
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

/// Refuses a head that answers for many places of an image where nothing behind it brings these to one.
fn answers_once(runtime: &Runtime, file: &Contents, found: &Found, input: &InputSpec) -> Result<(), ExtractError> {
    let Some((head, classes)) = &found.head else { return Ok(()) };
    let probe = Session::new(runtime, &file.bytes, &file.external, &[head.clone(), found.output.clone()])?;
    let shape = batch_of(1, input);
    let given = probe.run(&shape, &vec![0.0; shape.iter().product()])?;
    let [head, output] = given.as_slice() else { return Ok(()) };
    let per_image = head.shape.get(1..).unwrap_or(&[]);
    let classes = match classes {
        Classes::First => per_image.first(),
        Classes::Last => per_image.last(),
    };
    let why =
        feature_layer::answers_per_place(&found.output, per_image, classes.copied().unwrap_or(1), output.shape.iter().skip(1).product());
    why.map_or(Ok(()), |why| Err(FeatureLayerError::NoFeatures { why, candidates: Vec::new() }.into()))
}

/// How images may be given to a network.
enum Batching {
    /// As many at once as wanted.
    Free,
    /// One by one: what it makes of one depends on the others of its batch, as where activations are quantised by the range of the batch;
    /// or it takes no two at once.
    Single,
    /// Not at all: it makes something else of the same image the next time.
    Random,
}

fn batching(session: &Session, input: &InputSpec) -> Batching {
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
    let (alone, again, external) = (run(&one, &noise[..size]), run(&one, &noise[..size]), run(&two, &noise));
    if let (Some(alone), Some(again)) = (&alone, &again)
        && difference(&alone.values, &again.values) > SAME
        && alone.values.iter().all(|v| v.is_finite())
    {
        return Batching::Random;
    }
    match (alone, external) {
        (Some(alone), Some(external)) => {
            let apart = difference(&alone.values, &external.values[..alone.values.len().min(external.values.len())]);
            if apart > SAME { Batching::Single } else { Batching::Free }
        }
        _ => Batching::Single,
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
    /// What it computes differs from run to run.
    #[error(
        "ONNX Runtime computes other numbers for `{name}` each time it is shown the same image: no verdict on it would repeat. Name a tensor in \
         front of what is random with --features"
    )]
    Unsteady {
        /// Tensor.
        name: String,
    },
    /// The two read the file differently.
    #[error("ONNX Runtime gives `{name}` the shape {found:?} per image, heirloom {expected:?}")]
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
    FeatureLayer(#[from] FeatureLayerError),
    /// What is done to the tensor, or our own network.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl Explain for ExtractError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Runtime(error) => Some(error),
            Self::Registry(error) => Some(error),
            _ => None,
        }
    }
}

impl ExtractError {
    /// Whether the process that the library ran in came to an end that nobody asked for.
    pub(crate) fn is_end(&self) -> bool {
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
