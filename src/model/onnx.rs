//! ONNX files in and out.
//!
//! [`load`] lowers a file to a [`Graph`](crate::graph::Graph): operator sets 7 to 26 and their differences, shape arithmetic (folded, with the
//! batch size kept symbolic), constants, padding modes and fused biases are all resolved here, so that an executor sees
//! nothing of them. [`write()`] writes a [`Graph`](crate::graph::Graph) as operator set 17.
//!
//! Files: `wire` bounds what bytes may stand for, `pb` has the messages, `attributes` what those of a node must be, `tensor` checked numbers,
//! `value` and `call` what a node sees.
//! `import` is the way through the graph; `shapes` and `fold` are arithmetic on it, `spread` that of masks repeated along the batch; `lower` has the
//! operators, `guards` what keeps NaN out of attention. `kinds` are element types, `batch` finds what mixes images, `random` what draws random
//! numbers, `roles` what parameters are for. `part` leaves out what other inputs than images enter. `survey` says what a file holds without
//! understanding it, `head` where its features leave.
//!
//! Every byte is untrusted: sizes are checked against what is there before memory is asked for, data outside the file
//! comes from [`registry`](crate::registry), which reads the model's own folder only, and nothing recurses.

mod attributes;
mod batch;
mod call;
mod fold;
mod guards;
mod head;
mod import;
mod importer;
mod kinds;
mod lower;
mod node;
mod part;
mod pb;
mod random;
mod roles;
mod shapes;
mod spread;
mod survey;
mod tensor;
mod token_major;
mod value;
mod wire;
mod write;

use prost::Message;
use thiserror::Error;

use super::Imported;
use crate::graph::GraphError;
use crate::registry::ExternalData;

pub use head::{Classes, Found};
pub use part::image_part;
pub use survey::{Survey, survey};
pub use write::write;

/// Reads the ONNX file `bytes`; `beside` are the files that it keeps weights in (see [`Contents`](crate::registry::Contents)).
///
/// The result takes any batch size, also where the file was exported with a fixed one. A file whose height and width
/// are open cannot be read without knowing them: `size` is `[height, width]` in pixels, for such a file.
pub fn load_sized(bytes: &[u8], external: &ExternalData, size: Option<[usize; 2]>) -> Result<Imported, OnnxError> {
    import::import(decode(bytes)?, external, size, None)
}

/// [`load_sized`] of a file that says its size.
#[cfg(test)]
fn load(bytes: &[u8], external: &ExternalData) -> Result<Imported, OnnxError> {
    load_sized(bytes, external, None)
}

/// [`load_sized`] as far as the tensor `until`, which is the output then: what comes behind it need not be understood.
pub fn load_until(bytes: &[u8], external: &ExternalData, size: Option<[usize; 2]>, until: &str) -> Result<Imported, OnnxError> {
    import::import(decode(bytes)?, external, size, Some(until))
}

fn decode(bytes: &[u8]) -> Result<pb::ModelProto, OnnxError> {
    wire::check(bytes)?;
    pb::ModelProto::decode(bytes).map_err(|e| OnnxError::Decode { reason: e.to_string() })
}

/// Why an ONNX file cannot be read or written.
#[derive(Debug, Error)]
pub enum OnnxError {
    /// Not a protobuf message of this kind.
    #[error("this is not an ONNX file, or it is cut short: {reason}")]
    Decode {
        /// From the decoder.
        reason: String,
    },
    /// A message without a network.
    #[error("the file holds no graph: it is empty or not an ONNX model")]
    NoGraph,
    /// An operator set of another time.
    #[error("operator set {version} is not supported (7 to 26 are): export the model with opset 17")]
    Opset {
        /// Declared by the file.
        version: i64,
    },
    /// Operators of two times.
    #[error(
        "the file imports the default operator set {} times ({}): which of them its operators are of is not told",
        versions.len(),
        versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Opsets {
        /// Declared by the file.
        versions: Vec<i64>,
    },
    /// An attribute that the standard does not allow: ONNX's own checker refuses the file.
    #[error("node `{node}` ({op}): {reason}")]
    Attribute {
        /// Name, or its first output.
        node: String,
        /// Type.
        op: String,
        /// Which attribute, and what is wrong with it.
        reason: String,
    },
    /// The inputs are not one batch of images.
    #[error("{reason}")]
    Input {
        /// What is wrong and what to do.
        reason: String,
    },
    /// Height and width are open.
    #[error("input `{name}` takes images of any size: give the height and width (`input: {{ size: [224, 224] }}` in the policy)")]
    Size {
        /// The input.
        name: String,
    },
    /// Operators that are not understood: all of them at once.
    #[error("operators that are not supported: {}", list.join("; "))]
    Unsupported {
        /// `Type (node, node)`.
        list: Vec<String>,
    },
    /// What it computes differs from run to run.
    #[error(
        "the network draws random numbers ({}): it computes another thing at every run, and no verdict on it would repeat. Export it without \
         them, or name a tensor in front of them with --features",
        nodes.join("; ")
    )]
    Random {
        /// `type in node`.
        nodes: Vec<String>,
    },
    /// A tensor whose bytes do not fit its shape or type.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Weights outside the file that cannot be read or must not be.
    #[error("tensor `{name}` is kept outside the file: {reason}")]
    ExternalData {
        /// Tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A bound, factor or exponent that makes all it meets no number, or, in a comparison, is passed over.
    #[error("node `{node}` ({op}): its input `{name}` is NaN, not a number to compute with")]
    NotANumber {
        /// Name, or its first output.
        node: String,
        /// Type.
        op: String,
        /// The constant.
        name: String,
    },
    /// More than any checkpoint holds.
    #[error("the tensors of this file, up to `{name}`, take {what}: no network that classifies images needs that")]
    TooMuch {
        /// The first that does not fit.
        name: String,
        /// Of what.
        what: String,
    },
    /// The graph does not hold together.
    #[error("{reason}")]
    Structure {
        /// What is wrong.
        reason: String,
    },
    /// A node that cannot be carried over.
    #[error("node `{node}` ({op}): {reason}")]
    Node {
        /// Name, or its first output.
        node: String,
        /// Type.
        op: String,
        /// What is wrong.
        reason: String,
    },
    /// What was read does not make a network.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Parameters that do not fit the graph to be written.
    #[error("parameter `{name}` cannot be written: {reason}")]
    Write {
        /// Slot or node.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl OnnxError {
    /// Whether the file may be whole and mean something that our operators cannot say.
    pub fn is_about_operators(&self) -> bool {
        let operators = matches!(self, Self::Unsupported { .. } | Self::Node { .. } | Self::Random { .. });
        operators || matches!(self, Self::Tensor { .. } | Self::Structure { .. } | Self::Opset { .. })
    }
}

#[cfg(test)]
mod tests;
