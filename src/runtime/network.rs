//! One ONNX file in the library that this process has loaded: a batch in, tensors out.

use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{CUDA, ExecutionProvider};
use ort::session::builder::SessionBuilder;
use ort::value::{DynValue, Tensor, TensorElementType, TensorRef, ValueType};
use prost::Message;

use super::{Provider, RuntimeError, library};
use crate::registry::ExternalData;

/// One tensor of a batch, as numbers of four bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    /// Its shape, the batch first.
    pub shape: Vec<usize>,
    /// Its numbers, row by row.
    pub values: Vec<f32>,
}

/// A network that the library has loaded.
pub(super) struct Network {
    loaded: ort::session::Session,
    half: bool,
    /// Images per batch, where they are not free.
    pub batch: Option<usize>,
    /// What is read, in order.
    pub outputs: Vec<String>,
}

impl Network {
    /// Loads the file `bytes`, whose weights outside of it are `beside`. `outputs` are the tensors that will be read, all of what it gives
    /// first if none; one that the file does not give out is added to what it gives.
    pub(crate) fn load(
        provider: Provider,
        threads: usize,
        bytes: &[u8],
        external: &ExternalData,
        outputs: &[String],
    ) -> Result<Self, RuntimeError> {
        let refused = |error: &dyn std::fmt::Display| RuntimeError::Refused { reason: error.to_string() };
        let build = |bytes: &[u8]| builder(provider, threads, external)?.commit_from_memory(bytes).map_err(|error| refused(&error));
        let loaded = match with_outputs(bytes, outputs) {
            None => build(bytes)?,
            Some(extended) => build(&extended)?,
        };
        if loaded.inputs().len() != 1 {
            return Err(refused(&format!("it has {} inputs, one of images is needed", loaded.inputs().len())));
        }
        let ValueType::Tensor { ty, shape, .. } = loaded.inputs()[0].dtype() else {
            return Err(refused(&"its input is no tensor"));
        };
        let half = match ty {
            TensorElementType::Float32 => false,
            TensorElementType::Float16 => true,
            other => return Err(refused(&format!("its input is of type {other}; floats of four or two bytes are supported"))),
        };
        let batch = shape.iter().next().and_then(|size| usize::try_from(*size).ok()).filter(|size| *size > 0);
        let given: Vec<String> = loaded.outputs().iter().map(|output| output.name().to_owned()).collect();
        let outputs = if outputs.is_empty() { given.into_iter().take(1).collect() } else { outputs.to_vec() };
        Ok(Self { loaded, half, batch, outputs })
    }

    /// The outputs for one batch, whose first size fits.
    pub(crate) fn run(&mut self, dims: &[usize], values: &[f32]) -> Result<Vec<Output>, RuntimeError> {
        let failed = |error: ort::Error| RuntimeError::Run { reason: error.to_string() };
        let found = if self.half {
            let values: Vec<f16> = values.iter().copied().map(f16::from_f32).collect();
            let input = Tensor::from_array((dims.to_vec(), values)).map_err(failed)?;
            self.loaded.run(ort::inputs![input]).map_err(failed)?
        } else {
            let input = TensorRef::from_array_view((dims.to_vec(), values)).map_err(failed)?;
            self.loaded.run(ort::inputs![input]).map_err(failed)?
        };
        let read = |name: &String| {
            let value = found.get(name.as_str());
            value.ok_or_else(|| RuntimeError::Run { reason: format!("it gives no `{name}`") }).and_then(|value| numbers(name, value))
        };
        self.outputs.iter().map(read).collect()
    }
}

/// Whether networks can start on a provider: its libraries are loaded, and nothing else.
pub(super) fn start(provider: Provider) -> Result<(), RuntimeError> {
    let cuda = matches!(provider, Provider::Cuda(_));
    library::environment()?;
    if cuda && !CUDA::is_available().unwrap_or(false) {
        // Whoever asked knows the library.
        return Err(RuntimeError::NoCuda { runtime: "ONNX Runtime".into(), path: std::path::PathBuf::new() });
    }
    builder(provider, 1, &ExternalData::new()).map(drop)
}

fn builder(provider: Provider, threads: usize, external: &ExternalData) -> Result<SessionBuilder, RuntimeError> {
    let environment = library::environment()?;
    let refused = |reason: String| RuntimeError::Refused { reason };
    let builder = ort::session::Session::builder(environment).map_err(|error| refused(error.to_string()))?;
    // Its threads wait instead of spinning: heirloom's own work alternates with it on the same cores.
    let builder = builder.with_intra_threads(threads).and_then(|b| b.with_inter_threads(1)).and_then(|b| b.with_intra_op_spinning(false));
    let mut builder = builder.map_err(|error| refused(error.to_string()))?;
    if let Provider::Cuda(ordinal) = provider {
        builder = on_cuda(builder, ordinal).map_err(|reason| RuntimeError::Cuda { ordinal, reason })?;
    }
    for (name, bytes) in external {
        let bytes: Arc<[u8]> = bytes.as_slice().into();
        let added = builder.with_external_initializer_file_in_memory(Path::new(name), bytes);
        builder = added.map_err(|error| refused(error.to_string()))?;
    }
    Ok(builder)
}

/// In f32 as it says, and the same at every run: by default products are TF32, and the convolutions those that happened to be fastest.
fn on_cuda(builder: SessionBuilder, ordinal: usize) -> Result<SessionBuilder, String> {
    let ordinal = i32::try_from(ordinal).map_err(|error| error.to_string())?;
    let provider = CUDA::default().with_device_id(ordinal).with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Default);
    // Without this it would compute on the processor, and say so to its log only.
    let provider = provider.build().error_on_failure();
    let builder = builder.with_execution_providers([provider]).map_err(|error| error.to_string())?;
    builder.with_deterministic_compute(true).map_err(|error| error.to_string())
}

/// A tensor's numbers. Quantised ones come without scale and zero point, which the standardisation of features takes out again.
fn numbers(name: &str, value: &DynValue) -> Result<Output, RuntimeError> {
    let failed = |error: ort::Error| RuntimeError::Run { reason: error.to_string() };
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(RuntimeError::Run { reason: format!("`{name}` is no tensor") });
    };
    let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    let values = match ty {
        TensorElementType::Float32 => value.try_extract_tensor::<f32>().map_err(failed)?.1.to_vec(),
        TensorElementType::Float64 => value.try_extract_tensor::<f64>().map_err(failed)?.1.iter().map(|v| *v as f32).collect(),
        TensorElementType::Float16 => value.try_extract_tensor::<f16>().map_err(failed)?.1.iter().map(|v| v.to_f32()).collect(),
        TensorElementType::Bfloat16 => value.try_extract_tensor::<bf16>().map_err(failed)?.1.iter().map(|v| v.to_f32()).collect(),
        TensorElementType::Uint8 => value.try_extract_tensor::<u8>().map_err(failed)?.1.iter().map(|v| f32::from(*v)).collect(),
        TensorElementType::Int8 => value.try_extract_tensor::<i8>().map_err(failed)?.1.iter().map(|v| f32::from(*v)).collect(),
        other => return Err(RuntimeError::Run { reason: format!("`{name}` holds elements of type {other}, which are no features") }),
    };
    Ok(Output { shape, values })
}

/// The file with these tensors among its outputs. Nothing is decoded and written anew: fields that protobuf finds twice are merged, so
/// that `ModelProto.graph` (7) with nothing but `GraphProto.output` (12) with nothing but `ValueInfoProto.name` (1) adds an output.
fn with_outputs(bytes: &[u8], names: &[String]) -> Option<Vec<u8>> {
    let field = |number: u8, content: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(content);
        out
    };
    let given = ModelProto::decode(bytes).ok().and_then(|model| model.graph).unwrap_or_default().output;
    let added = names.iter().filter(|name| !given.iter().any(|output| output.name == **name));
    let added: Vec<u8> = added.flat_map(|name| field(12, &field(1, name.as_bytes()))).collect();
    (!added.is_empty()).then(|| [bytes, &field(7, &added)].concat())
}

// The few fields of `onnx.proto` that lead to the names of outputs; the decoder skips all others.

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_become_outputs_once() {
        let output = |name: &str| ValueInfoProto { name: name.into() };
        let model = ModelProto { graph: Some(GraphProto { output: vec![output("logits")] }) };
        let bytes = model.encode_to_vec();
        assert_eq!(with_outputs(&bytes, &["logits".into()]), None);
        let long = "x".repeat(300);
        let extended = with_outputs(&bytes, &["pool".into(), "logits".into(), long.clone()]).expect("added");
        assert!(extended.starts_with(&bytes));
        let read = ModelProto::decode(extended.as_slice()).expect("a message").graph.expect("a graph");
        assert_eq!(read.output, [output("logits"), output("pool"), output(&long)]);
    }

    #[test]
    fn nothing_is_run_without_a_library() {
        // Refused where another test has loaded one.
        let error = Network::load(Provider::Cpu, 1, &[], &ExternalData::new(), &[]).map(drop);
        assert!(matches!(error, Err(RuntimeError::NotLoaded | RuntimeError::Refused { .. })), "{error:?}");
    }
}
