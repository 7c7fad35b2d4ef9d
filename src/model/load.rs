//! From a file to a [`Model`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::extract::{ExtractError, Extractor};
use super::onnx::{self, OnnxError, Survey};
use super::preprocessing::{self, Found, PreprocessingError};
use super::safetensors::adapter::{Adapter, AdapterError};
use super::safetensors::{self, SafetensorsError, Tensors};
use super::{
    Imported, InputSpec, Layout, LoadOptions, Model, Network, Opaque, Preprocessing, feature_layer, feature_layer::FeatureLayerError,
};
use crate::diag::{Class, Explain};
use crate::exec::Compute;
use crate::graph::{Graph, GraphError, Op, Role, SlotId};
use crate::registry::{self, Configuration, Contents, Format, ModelRef, RegistryError};
use crate::runtime::{Provider, Runtime, RuntimeError};

impl Model {
    /// Reads a checkpoint, finds where its features leave and what its images become.
    pub fn load(reference: ModelRef, options: &LoadOptions) -> Result<Self, ModelError> {
        let path = reference.path.clone();
        let model = Self::read(reference, options).map_err(|error| error.about(path))?;
        if let Ok(extractor) = &model.runtime {
            extractor.call(&model.identity.name());
        }
        Ok(model)
    }

    /// Reads a `LoRA` adapter merged onto its base; what the adapter calls its base is handed to `told`.
    pub fn load_adapted(
        adapter: &Path,
        base: ModelRef,
        options: &LoadOptions,
        told: &mut dyn FnMut(Option<&str>),
    ) -> Result<Self, ModelError> {
        if base.format != Format::Safetensors {
            return Err(ModelError::BaseOfAdapter { path: base.path });
        }
        let read = || {
            let adapter = Adapter::read(adapter, registry::MAX_BYTES)?;
            told(adapter.base());
            let (weights, configuration) = weights(&base)?;
            let imported = safetensors::load(adapter.merged(weights)?, &configuration, &base.path, options)?;
            Self::assemble(base, imported, &configuration, None, options)
        };
        read().map_err(|error: ModelError| error.about(adapter.to_owned()))
    }

    fn read(reference: ModelRef, options: &LoadOptions) -> Result<Self, ModelError> {
        if let (Format::Onnx, Some(name)) = (reference.format, &options.arch) {
            return Err(ModelError::ArchOfOnnx { name: name.clone() });
        }
        match reference.format {
            Format::Safetensors => {
                let (weights, configuration) = weights(&reference)?;
                let imported = safetensors::load(weights, &configuration, &reference.path, options)?;
                Self::assemble(reference, imported, &configuration, None, options)
            }
            Format::Onnx => {
                let mut contents = registry::contents(&reference)?;
                let part = onnx::image_part(&contents.bytes, options.features.as_deref())?;
                let Some(part) = part else { return Self::of_onnx(reference, &contents, options) };
                contents.bytes = part.bytes;
                let mut model = Self::of_onnx(reference, &contents, options)?;
                model.description = format!("{}, the part that images enter, without `{}`", model.description, part.without.join("`, `"));
                Ok(model)
            }
        }
    }

    fn of_onnx(reference: ModelRef, contents: &Contents, options: &LoadOptions) -> Result<Self, ModelError> {
        let size = size(contents, options)?;
        let error = match onnx::load_sized(&contents.bytes, &contents.external, size) {
            Ok(imported) => return Self::assemble(reference, imported, &contents.configuration, Some(contents), options),
            Err(error) if error.is_about_operators() => error,
            Err(error) => return Err(error.into()),
        };
        // What lies behind the features that the user names need not be understood.
        if let Some(name) = &options.features
            && let Ok(imported) = onnx::load_until(&contents.bytes, &contents.external, size, name)
        {
            return Self::assemble(reference, imported, &contents.configuration, Some(contents), options);
        }
        match &options.runtime {
            Some(runtime) => Self::opaque(reference, error, contents, runtime, size, options),
            None => Err(error.into()),
        }
    }

    /// A network that cannot be imported, and that ONNX Runtime may run all the same.
    fn opaque(
        identity: ModelRef,
        error: OnnxError,
        contents: &Contents,
        runtime: &Runtime,
        size: Option<[usize; 2]>,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        let Ok(survey) = onnx::survey(&contents.bytes, &contents.external, size, options.features.as_deref()) else {
            return Err(error.into());
        };
        if let Some(asked) = options.input.size.filter(|asked| *asked != survey.size) {
            return Err(ModelError::FixedSize { asked, fixed: survey.size });
        }
        preprocessing::checked_size(survey.size, "the input size")?;
        let found = found(None, &contents.configuration, &survey.metadata, options)?;
        let input = input(&found, survey.channels, survey.size, survey.layout, options)?;
        let (feature_layer, extractor) = match Extractor::of_survey(runtime, contents, &survey, &input, options.features.as_deref()) {
            Ok(both) => both,
            Err(ExtractError::FeatureLayer(error)) => return Err(error.into()),
            Err(ExtractError::Onnx(random @ OnnxError::Random { .. })) => return Err(random.into()),
            Err(second) => return Err(second.end().map_or_else(|second| ModelError::Neither { error, second }, ModelError::Runtime)),
        };
        let network = Err(Opaque { reason: error.to_string(), parameters: survey.parameters, operators: survey.operators });
        let Survey { description, metadata, .. } = survey;
        Ok(Self { identity, description, input, feature_layer, network, runtime: Ok(extractor), metadata })
    }

    /// Puts together what an importer read, what the files say (ONNX Runtime runs `file`, an ONNX file) and what the user says.
    pub(crate) fn assemble(
        identity: ModelRef,
        imported: Imported,
        configuration: &Configuration,
        file: Option<&Contents>,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        let Imported { description, graph, params, layout, channels, size, usual, features, metadata } = imported;
        if params.0.len() != graph.slots().len() {
            return Err(ModelError::Params { arrays: params.0.len(), slots: graph.slots().len() });
        }
        for (slot, array) in graph.slots().iter().zip(&params.0) {
            if array.iter().any(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite { name: slot.name.clone() });
            }
        }
        let found = found(usual, configuration, &metadata, options)?;
        let [height, width] = match (options.input.size, size) {
            (Some(asked), Some(fixed)) if asked != fixed => return Err(ModelError::FixedSize { asked, fixed }),
            (Some(size), _) | (None, Some(size)) => preprocessing::checked_size(size, "the input size")?,
            (None, None) => return Err(ModelError::NoSize),
        };
        if !matches!(channels, 1 | 3) {
            return Err(ModelError::Channels { channels });
        }
        let shape = graph.node(graph.input()).shape.clone();
        let expected = match layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        };
        if shape.rank() != 4 || (1..4).any(|axis| shape.known(axis) != Some(expected[axis - 1])) {
            return Err(ModelError::Input { shape: shape.to_string() });
        }
        let (trunk, feature_layer) = feature_layer::find(&graph, features.as_deref(), options.features.as_deref())?;
        let input = input(&found, channels, [height, width], layout, options)?;
        let network = Network { graph: Arc::new(graph), trunk: Arc::new(trunk), params };
        let runtime = match &options.runtime {
            None => Err("no ONNX Runtime library is used".to_owned()),
            Some(runtime) => match Extractor::of_network(runtime, &network, &feature_layer, &input, file) {
                Ok(extractor) => Ok(extractor),
                Err(error) => match error.end() {
                    // What it would have given is not known, and heirloom's own numbers are no answer to that.
                    Ok(end) => return Err(ModelError::Runtime(end)),
                    // Two readers, of which one says that it is no file of this kind: what it means is not sure.
                    Err(ExtractError::Runtime(error)) if file.is_some() && error.is_invalid_file() => {
                        return Err(ModelError::Invalid { reason: error });
                    }
                    Err(error) => Err(error.to_string()),
                },
            },
        };
        Ok(Self { identity, description, input, feature_layer, network: Ok(network), runtime, metadata })
    }

    /// The network in our own operators, without which nothing can be trained.
    pub fn own(&self) -> Result<&Network, ModelError> {
        self.network.as_ref().map_err(|opaque| ModelError::Opaque { reason: opaque.reason.clone() })
    }

    /// The same model where networks are computed elsewhere than on the processor: frozen ones too, by ONNX Runtime where that computes
    /// there. A network that only ONNX Runtime understands stays on the processor if `compute` may fall back, and is an error else.
    pub(crate) fn computed_on(mut self, compute: &Compute) -> Result<Self, ModelError> {
        if compute.is_cpu() {
            return Ok(self);
        }
        match (&self.runtime, &self.network) {
            (Ok(extractor), _) if extractor.runtime().provider != Provider::Cpu => {}
            (_, Ok(_)) => self.runtime = Err(format!("{} computes the features", compute.name())),
            (Ok(extractor), Err(_)) if !compute.falls_back() => {
                return Err(ModelError::Processor { executor: extractor.runtime().name(), device: compute.name().into() });
            }
            _ => {}
        }
        Ok(self)
    }

    /// What computes the features of the frozen network: `ONNX Runtime 1.32.0`, or `heirloom`.
    pub(crate) fn executor(&self) -> String {
        self.runtime.as_ref().map_or_else(|_| "heirloom".to_owned(), |extractor| extractor.runtime().name())
    }

    /// The trunk with a new linear head of `classes` outputs: the graph `[N, classes]`, and the slots of the head's weight
    /// `heirloom.head.weight` `[classes, features]` and bias `heirloom.head.bias`, which follow the trunk's.
    pub(crate) fn with_head(&self, classes: usize) -> Result<(Graph, SlotId, SlotId), ModelError> {
        if classes == 0 {
            return Err(ModelError::NoClasses);
        }
        let trunk = &self.own()?.trunk;
        let first = trunk.slots().len();
        let features = trunk.output();
        let mut builder = Graph::clone(trunk).extend();
        let weight = builder.param("heirloom.head.weight", &[classes, self.feature_layer.width], Role::Weight);
        let bias = builder.param("heirloom.head.bias", &[classes], Role::Bias);
        let head = builder.add("heirloom.head", Op::Linear, &[features, weight, bias])?;
        Ok((builder.finish(head)?, SlotId(first), SlotId(first + 1)))
    }
}

/// The weights of a safetensors checkpoint, and the files that configure it.
fn weights(reference: &ModelRef) -> Result<(Tensors, Configuration), ModelError> {
    let mut tensors = Tensors::default();
    let mut index = None;
    let configuration = registry::weights(reference, |file| {
        index = index.take().or_else(|| file.index.cloned());
        tensors.add(file.shard, file.index, file.length, file.bytes).map_err(ModelError::from)
    })?;
    tensors.complete(index.as_ref())?;
    Ok((tensors, configuration))
}

/// An ONNX file that leaves height and width open gets them from the policy, else from the files beside it.
fn size(contents: &Contents, options: &LoadOptions) -> Result<Option<[usize; 2]>, ModelError> {
    Ok(match options.input.size {
        Some(size) => Some(preprocessing::checked_size(size, "the policy's `input.size`")?),
        None => preprocessing::find(&contents.configuration, &BTreeMap::new(), &options.input)?.size,
    })
}

/// What files beside it or its metadata say; else the normalisation that is usual of its architecture.
fn found(
    usual: Option<Preprocessing>,
    configuration: &Configuration,
    metadata: &BTreeMap<String, String>,
    options: &LoadOptions,
) -> Result<Found, ModelError> {
    let found = preprocessing::find(configuration, metadata, &options.input)?;
    Ok(Found { preprocessing: found.preprocessing.or(usual), ..found })
}

/// What enters a network of this size (height, width).
fn input(found: &Found, channels: usize, size: [usize; 2], layout: Layout, options: &LoadOptions) -> Result<InputSpec, ModelError> {
    let preprocessing = preprocessing::settle(found, &options.input)?;
    let (geometry, geometry_from) = preprocessing::settle_geometry(found, &options.input, size);
    let [height, width] = size;
    let overruled = preprocessing::overruled(found, &options.input, size);
    Ok(InputSpec { channels, height, width, layout, preprocessing, geometry, geometry_from, overruled })
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// What is wrong, and with which file.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        source: Box<ModelError>,
    },
    /// The file itself.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// An ONNX file.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The input's description.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// The features.
    #[error(transparent)]
    FeatureLayer(#[from] FeatureLayerError),
    /// A graph that does not hold together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An importer's mistake.
    #[error("{arrays} arrays were read for {slots} tensors")]
    Params {
        /// Arrays.
        arrays: usize,
        /// Slots.
        slots: usize,
    },
    /// Tensors that no computation can use.
    #[error("`{name}` holds values that are not finite numbers: the checkpoint is damaged")]
    NotFinite {
        /// Tensor.
        name: String,
    },
    /// Nothing to be said about a file that holds its graph.
    #[error("an ONNX file holds its own architecture: leave `--arch {name}` out")]
    ArchOfOnnx {
        /// As asked for.
        name: String,
    },
    /// Any size would do.
    #[error("the checkpoint takes images of any size: say which under `input: {{ size: [height, width] }}` in the policy")]
    NoSize,
    /// The file allows one size only.
    #[error("the checkpoint takes images of {fixed:?} (height, width) only, {asked:?} are asked for (`input.size` in a policy, or --size)")]
    FixedSize {
        /// By the policy.
        asked: [usize; 2],
        /// By the file.
        fixed: [usize; 2],
    },
    /// Neither gray nor RGB.
    #[error("the checkpoint takes images of {channels} channels; 1 (gray) and 3 (RGB) can be certified")]
    Channels {
        /// As found.
        channels: usize,
    },
    /// Not an image.
    #[error("the checkpoint's input has shape {shape}, which is not a batch of images")]
    Input {
        /// As found.
        shape: String,
    },
    /// Only its own runtime understands it.
    #[error("the network cannot be trained here: {reason}")]
    Opaque {
        /// From the importer.
        reason: String,
    },
    /// Neither the importer nor ONNX Runtime can.
    #[error("{error}; {second}")]
    Neither {
        /// From the importer.
        error: OnnxError,
        /// From ONNX Runtime.
        second: ExtractError,
    },
    /// The process that ONNX Runtime ran in has ended.
    #[error(transparent)]
    Runtime(RuntimeError),
    /// The file breaks the rules of ONNX.
    #[error("the file can be read, but it breaks the rules of ONNX, and what it means is not sure: {reason}")]
    Invalid {
        /// From ONNX Runtime.
        reason: RuntimeError,
    },
    /// Only ONNX Runtime understands it, and that does not compute on the device.
    #[error("heirloom cannot import this network, and {executor} computes on the processor, not on {device}")]
    Processor {
        /// What can run it.
        executor: String,
        /// What was asked for.
        device: String,
    },
    /// A file of weights alone would not say what they are the weights of.
    #[error(
        "what comes from an ONNX file is written as ONNX only: a safetensors file holds weights alone, and nothing would say which network they are of"
    )]
    NoArchitecture,
    /// Adapters change tensors by name.
    #[error("{path} is an ONNX file, and an adapter is merged onto a safetensors file: name the checkpoint that it was trained on", path = path.display())]
    BaseOfAdapter {
        /// The base.
        path: PathBuf,
    },
    /// An adapter that cannot be merged.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A head without outputs.
    #[error("a head needs at least one class")]
    NoClasses,
}

impl Explain for ModelError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::File { source, .. } => Some(&**source),
            Self::Registry(error) => Some(error),
            Self::Runtime(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::ArchOfOnnx { .. }
            | Self::NoArchitecture
            | Self::BaseOfAdapter { .. }
            | Self::Adapter(_)
            | Self::FixedSize { .. }
            | Self::Processor { .. }
            | Self::FeatureLayer(FeatureLayerError::NotFound { .. } | FeatureLayerError::Shape { .. }) => Class::Usage,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Safetensors(SafetensorsError::Malformed(_)) | Self::Onnx(OnnxError::Decode { .. } | OnnxError::NoGraph) => {
                Some("the file is damaged or was not copied in full: fetch it again, and compare its size with the original's")
            }
            Self::Invalid { .. }
            | Self::Onnx(OnnxError::Tensor { .. } | OnnxError::Structure { .. } | OnnxError::Attribute { .. } | OnnxError::Opsets { .. }) => {
                Some("fetch or export the file again; where it stays the same, `onnx.checker.check_model` says more")
            }
            Self::Safetensors(SafetensorsError::NoTensors) => Some("save the model's weights, not an empty dictionary"),
            Self::Safetensors(SafetensorsError::Refused { advice, .. }) => Some(advice),
            Self::Onnx(OnnxError::Random { .. }) => Some(
                "networks that draw are often exported from a training step, or mask parts of the image: export the encoder alone, after \
                 `model.eval()`",
            ),
            Self::Onnx(error) if error.is_about_operators() => Some(
                "with ONNX Runtime its frozen features can be certified all the same: `pip install onnxruntime`, or name its library with \
                 --ort-lib",
            ),
            Self::Processor { .. } => {
                Some("--device auto lets it compute there; `pip install onnxruntime-gpu` brings one for NVIDIA cards")
            }
            Self::Preprocessing(PreprocessingError::Value { .. })
            | Self::Safetensors(SafetensorsError::Preprocessing(PreprocessingError::Value { .. })) => Some(
                "correct the file, or say in the policy what images become: `input: { mean: ..., std: ..., geometry: ... }`; what the policy \
                 says is not asked of the file",
            ),
            Self::NotFinite { .. } | Self::Onnx(OnnxError::NotANumber { .. }) => {
                Some("certify a checkpoint from before the training diverged, or fetch the file again")
            }
            _ => self.inner().and_then(Explain::hint),
        }
    }
}

impl ModelError {
    /// Whether the file may be whole, and only ONNX Runtime could run it.
    pub(crate) fn is_about_operators(&self) -> bool {
        match self {
            Self::File { source, .. } => source.is_about_operators(),
            Self::Onnx(error) => error.is_about_operators(),
            _ => false,
        }
    }

    /// Whether the process that ONNX Runtime ran in came to an end that nobody asked for.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::File { source, .. } => source.is_end(),
            Self::Runtime(error) => error.is_end(),
            Self::Neither { second, .. } => second.is_end(),
            _ => false,
        }
    }

    /// The same, with the file that it is about where the message does not name one.
    fn about(self, path: PathBuf) -> Self {
        match self {
            Self::File { .. } | Self::Registry(_) | Self::Preprocessing(PreprocessingError::File { .. }) => self,
            other => Self::File { path, source: Box::new(other) },
        }
    }
}
