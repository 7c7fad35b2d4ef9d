//! From a file to a [`Model`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::onnx::{self, OnnxError};
use super::preprocessing::{self, PreprocessingError};
use super::safetensors::{self, SafetensorsError};
use super::{Imported, InputSpec, Layout, LoadOptions, Model, arch::ArchError, cut, cut::CutError};
use crate::graph::{Graph, GraphError, Op, Role, SlotId};
use crate::registry::{self, Contents, Format, ModelRef, RegistryError};

impl Model {
    /// Reads a checkpoint, finds where its features leave and what its pictures become.
    pub fn load(reference: ModelRef, options: &LoadOptions) -> Result<Self, ModelError> {
        let path = reference.path.clone();
        Self::read(reference, options).map_err(|error| error.about(path))
    }

    fn read(reference: ModelRef, options: &LoadOptions) -> Result<Self, ModelError> {
        if let (Format::Onnx, Some(name)) = (reference.format, &options.arch) {
            return Err(ModelError::ArchOfOnnx { name: name.clone() });
        }
        let contents = registry::contents(&reference)?;
        let imported = match reference.format {
            Format::Safetensors => safetensors::load(&reference.path, &contents.bytes, options)?,
            Format::Onnx => read_onnx(&reference, &contents, options)?,
        };
        Self::assemble(reference, imported, options)
    }

    /// Puts together what an importer read and what the user says.
    pub fn assemble(identity: ModelRef, imported: Imported, options: &LoadOptions) -> Result<Self, ModelError> {
        let Imported { description, graph, params, layout, channels, size, preprocessing, features, metadata } = imported;
        if params.0.len() != graph.slots().len() {
            return Err(ModelError::Params { arrays: params.0.len(), slots: graph.slots().len() });
        }
        for (slot, array) in graph.slots().iter().zip(&params.0) {
            if array.iter().any(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite { name: slot.name.clone() });
            }
        }
        let found = match preprocessing {
            Some(stated) => Some(stated),
            None => preprocessing::find(&identity.path, &metadata)?.preprocessing,
        };
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
        let (trunk, cut) = cut::find(&graph, features.as_deref(), options.features.as_deref())?;
        let input = InputSpec { channels, height, width, layout, preprocessing: preprocessing::settle(found, &options.input)? };
        Ok(Self { identity, description, graph: Arc::new(graph), trunk: Arc::new(trunk), params, input, cut })
    }

    /// The trunk with a new linear head of `classes` outputs: the graph `[N, classes]`, and the slots of the head's weight
    /// `heirloom.head.weight` `[classes, features]` and bias `heirloom.head.bias`, which follow the trunk's.
    pub fn with_head(&self, classes: usize) -> Result<(Graph, SlotId, SlotId), ModelError> {
        if classes == 0 {
            return Err(ModelError::NoClasses);
        }
        let first = self.trunk.slots().len();
        let features = self.trunk.output();
        let mut builder = Graph::clone(&self.trunk).extend();
        let weight = builder.param("heirloom.head.weight", &[classes, self.cut.width], Role::Weight);
        let bias = builder.param("heirloom.head.bias", &[classes], Role::Bias);
        let head = builder.add("heirloom.head", Op::Linear, &[features, weight, bias])?;
        Ok((builder.finish(head)?, SlotId(first), SlotId(first + 1)))
    }
}

/// An ONNX file that leaves height and width open gets them from the policy, else from the files beside it.
fn read_onnx(reference: &ModelRef, contents: &Contents, options: &LoadOptions) -> Result<Imported, ModelError> {
    let size = match options.input.size {
        Some(size) => Some(preprocessing::checked_size(size, "the policy's `input.size`")?),
        None => preprocessing::find(&reference.path, &BTreeMap::new())?.size,
    };
    Ok(onnx::load_sized(&contents.bytes, &contents.beside, size)?)
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
    Cut(#[from] CutError),
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
    /// Weights that no computation can use.
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
    #[error("the checkpoint takes pictures of any size: say which under `input: {{ size: [height, width] }}` in the policy")]
    NoSize,
    /// The file allows one size only.
    #[error("the checkpoint takes pictures of {fixed:?} (height, width) only, the policy's `input.size` asks for {asked:?}")]
    FixedSize {
        /// By the policy.
        asked: [usize; 2],
        /// By the file.
        fixed: [usize; 2],
    },
    /// Neither gray nor RGB.
    #[error("the checkpoint takes pictures of {channels} channels; 1 (gray) and 3 (RGB) can be certified")]
    Channels {
        /// As found.
        channels: usize,
    },
    /// Not a picture.
    #[error("the checkpoint's input has shape {shape}, which is not a batch of pictures")]
    Input {
        /// As found.
        shape: String,
    },
    /// A head without outputs.
    #[error("a head needs at least one class")]
    NoClasses,
}

impl ModelError {
    /// The same, with the file that it is about where the message does not name one.
    fn about(self, path: PathBuf) -> Self {
        match self {
            Self::File { .. } | Self::Registry(_) | Self::Preprocessing(PreprocessingError::File { .. }) => self,
            other => Self::File { path, source: Box::new(other) },
        }
    }

    /// What to do about it, where the message does not say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { source, .. } => source.hint(),
            Self::Registry(error) => error.hint(),
            Self::Safetensors(SafetensorsError::Malformed(_)) | Self::Onnx(OnnxError::Decode { .. } | OnnxError::NoGraph) => {
                Some("the file is damaged or was not copied in full: fetch it again, and compare its size with the original's")
            }
            Self::Onnx(OnnxError::Tensor { .. } | OnnxError::Structure { .. }) => {
                Some("fetch or export the file again; where it stays the same, `onnx.checker.check_model` says more")
            }
            Self::Safetensors(SafetensorsError::NoTensors) => Some("save the model's weights, not an empty dictionary"),
            Self::Safetensors(SafetensorsError::Arch(ArchError::Tensors { .. })) => {
                Some("give the tensors the names of that architecture, name another with --arch, or export the model to ONNX")
            }
            Self::NotFinite { .. } => Some("certify a checkpoint from before the training diverged, or fetch the file again"),
            _ => None,
        }
    }

    /// Whether the command line or the policy asks for what the checkpoint does not have.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::File { source, .. } => source.is_usage(),
            Self::ArchOfOnnx { .. } | Self::FixedSize { .. } | Self::Cut(CutError::NotFound { .. } | CutError::Shape { .. }) => true,
            _ => false,
        }
    }
}
