//! A loaded network as a file of another format.

use super::{Model, ModelError, onnx, safetensors};
use crate::graph::Graph;
use crate::registry::Format;

/// How much of a network is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, its head included.
    Whole,
    /// From the image to the features.
    Features,
}

impl Model {
    /// The network as a file of a format. What it says of its input is written too, and of a file that holds weights alone what
    /// [`Model::load`] needs to read it back.
    pub fn export(&self, format: Format, part: Part) -> Result<Vec<u8>, ModelError> {
        let network = self.own()?;
        let graph: &Graph = match part {
            Part::Whole => &network.graph,
            Part::Features => &network.trunk,
        };
        match format {
            Format::Onnx => Ok(onnx::write(graph, &network.params, &self.input, &self.metadata)?),
            Format::Safetensors => {
                // The tensors of an ONNX file are called as its exporter calls them, whatever it says of itself.
                if self.identity.format != Format::Safetensors || !self.metadata.contains_key("heirloom.arch") {
                    return Err(ModelError::NoArchitecture);
                }
                Ok(safetensors::write(graph, &network.params, &self.input, &self.metadata)?)
            }
        }
    }
}
