//! What an ONNX file holds, read without understanding its operators: enough for a runtime that does.

use std::collections::{BTreeMap, BTreeSet};

use super::head::{self, Found};
use super::import::{Entry, description, outputs};
use super::node::is_default;
use super::pb::NodeProto;
use super::tensor::sixteen;
use super::{OnnxError, decode, random};
use crate::graph::Sixteen;
use crate::model::{FeatureLayerError, Layout};
use crate::registry::ExternalData;

/// An ONNX file described.
#[derive(Debug)]
pub struct Survey {
    /// What the file is, for people.
    pub description: String,
    /// Axis order of the input.
    pub layout: Layout,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Free text in the file.
    pub metadata: BTreeMap<String, String>,
    /// Numbers in all tensors.
    pub parameters: usize,
    /// The float of two bytes that some of them are, or that some nodes round to: sums of such numbers are right to three digits at most.
    pub half: Option<Sixteen>,
    /// How many operators of each kind.
    pub operators: BTreeMap<String, usize>,
    /// What the nodes compute, by name.
    pub tensors: BTreeSet<String>,
    /// Where features leave, or why that is not known.
    pub features: Result<Found, FeatureLayerError>,
    /// The nodes that draw random numbers on the way to the features, or to the output where these are not known.
    pub drawn: Vec<String>,
    /// Widths of learnt tokens `[1, 1, width]`.
    pub tokens: BTreeSet<usize>,
}

/// Describes the ONNX file `bytes`; `size` is `[height, width]` in pixels for a file that leaves them open, `user` the tensor that the user
/// takes for features. `beside` holds the files that it keeps tensors in.
pub fn survey(bytes: &[u8], external: &ExternalData, size: Option<[usize; 2]>, user: Option<&str>) -> Result<Survey, OnnxError> {
    let model = decode(bytes)?;
    let graph = model.graph.ok_or(OnnxError::NoGraph)?;
    let entry = Entry::of(&graph, size)?;
    let size = entry.size.or(size).ok_or_else(|| OnnxError::Size { name: entry.name.clone() })?;
    let metadata: BTreeMap<String, String> = model.metadata_props.into_iter().map(|p| (p.key, p.value)).collect();
    let version = model.opset_import.iter().find(|o| is_default(&o.domain)).and_then(|o| o.version).unwrap_or(1);
    let mut operators = BTreeMap::new();
    for node in graph.node.iter().filter(|node| node.op_type != "Constant") {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
    }
    let elements = |dims: &[i64]| dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).fold(1, usize::saturating_mul);
    let tokens = graph.initializer.iter().filter_map(|tensor| match tensor.dims[..] {
        [1, 1, width] if width > 1 => usize::try_from(width).ok(),
        _ => None,
    });
    let features = head::find(&graph, &entry.name)?;
    let wanted = match (user, &features) {
        (Some(name), _) => name.to_owned(),
        (None, Ok(found)) => found.name.clone(),
        (None, Err(_)) => outputs(&graph)?.0,
    };
    Ok(Survey {
        description: description(version, &model.producer_name, &model.producer_version),
        layout: entry.layout,
        channels: entry.channels,
        size,
        metadata,
        parameters: graph.initializer.iter().map(|tensor| elements(&tensor.dims)).fold(0, usize::saturating_add),
        half: coarsest(graph.initializer.iter().filter_map(|tensor| tensor.data_type).chain(graph.node.iter().flat_map(kinds))),
        operators,
        tensors: graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty()).cloned().collect(),
        tokens: tokens.collect(),
        drawn: random::nodes(&graph, &model.functions, external, &[&wanted]),
        features,
    })
}

/// The element types that a node turns numbers into, or holds.
fn kinds(node: &NodeProto) -> impl Iterator<Item = i32> {
    node.attribute.iter().filter_map(|a| match (node.op_type.as_str(), a.name.as_str()) {
        ("Cast", "to") => a.i.and_then(|to| i32::try_from(to).ok()),
        ("Constant", "value") => a.t.as_ref().and_then(|tensor| tensor.data_type),
        _ => None,
    })
}

/// The float of two bytes with the fewest digits among these element types.
fn coarsest(kinds: impl Iterator<Item = i32>) -> Option<Sixteen> {
    let halves: Vec<Sixteen> = kinds.filter_map(sixteen).collect();
    if halves.contains(&Sixteen::Bfloat16) { Some(Sixteen::Bfloat16) } else { halves.first().copied() }
}
