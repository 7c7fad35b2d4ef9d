//! A loaded network as a file of another format.

use std::collections::BTreeMap;

use super::{Model, ModelError, Params, onnx, safetensors};
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

    /// A fine-tune of this network, of [`Model::with_head`]'s graph, as an ONNX file: images as this network takes them go in, one row of logits for each
    /// comes out. How images are prepared is written in full, also where it was assumed: the fine-tune was trained that way. What the checkpoint's own
    /// file says of itself is not carried over.
    pub(crate) fn export_tuned(&self, graph: &Graph, params: &Params, mut notes: BTreeMap<String, String>) -> Result<Vec<u8>, ModelError> {
        notes.extend(self.input.stated());
        Ok(onnx::write(graph, params, &self.input, &notes)?)
    }
}
