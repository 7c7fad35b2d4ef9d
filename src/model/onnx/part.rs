//! The part of a file that images enter, where more than images enter it: the text tower of a CLIP is left out, as it is of safetensors.
//!
//! The messages that stay are copied as they are, so that nothing of them is lost that heirloom does not read.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost::encoding::{self, WireType};

use super::import::reads;
use super::pb::{GraphProto, ValueInfoProto};
use super::wire::{Field, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_NODE, GRAPH_OUTPUT, MODEL_GRAPH, fields};
use super::{OnnxError, decode, wire};

/// Tensors that a message suggests.
const SUGGESTED: usize = 3;

/// The part of an ONNX file that one batch of images enters.
#[derive(Debug)]
pub struct Part {
    /// An ONNX file.
    pub bytes: Vec<u8>,
    /// The inputs that do not enter it.
    pub without: Vec<String>,
}

/// The part of the file `bytes` that is computed from images alone, or `None` where nothing else enters it. `features` is the tensor that the user
/// takes for features.
pub fn image_part(bytes: &[u8], features: Option<&str>) -> Result<Option<Part>, OnnxError> {
    // Names alone: most files have one input, and are not copied.
    wire::check(bytes)?;
    let Ok(outline) = Outline::decode(bytes) else { return decode(bytes).map(|_| None) };
    let outline = outline.graph.unwrap_or_default();
    let held: BTreeSet<&str> = outline.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    if outline.input.iter().filter(|input| !held.contains(input.name.as_str())).count() < 2 {
        return Ok(None);
    }
    let graph = decode(bytes)?.graph.ok_or(OnnxError::NoGraph)?;
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|input| !held.contains(input.name.as_str())).collect();
    let names = || inputs.iter().map(|input| format!("`{}`", input.name)).collect::<Vec<_>>().join(", ");
    let wrong = |reason: String| OnnxError::Input { reason };
    let images: Vec<&str> = inputs.iter().filter(|input| has_four_axes(input)).map(|input| input.name.as_str()).collect();
    if images.is_empty() {
        return Err(wrong(format!("the graph has several inputs ({}), and none of them is a batch of images", names())));
    }
    let walk = Walk::of(&graph);
    let is_input = |name: &&str| inputs.iter().any(|input| input.name == *name);
    // The batch of images that a tensor is computed from alone.
    let image_of = |tensor: &str| {
        let (_, read) = walk.back(&[tensor]);
        let entering: Vec<&str> = read.into_iter().filter(is_input).collect();
        images.iter().copied().find(|image| entering == [*image])
    };
    let mut outputs: Vec<(&str, &str)> = graph.output.iter().filter_map(|out| Some((out.name.as_str(), image_of(&out.name)?))).collect();
    if let Some(features) = features {
        let Some(image) = image_of(features) else {
            let what = if walk.made.contains_key(features) { "is computed from more than images" } else { "is computed by no node" };
            return Err(wrong(format!("the graph has several inputs ({}), and `{features}` {what}", names())));
        };
        outputs.retain(|(_, from)| *from == image);
        if outputs.is_empty() {
            outputs.push((features, image));
        }
    }
    let Some(&(_, image)) = outputs.first() else {
        let candidates = walk.candidates(&graph, &images, &inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>());
        let such = if candidates.is_empty() { String::new() } else { format!(", such as `{}`", candidates.join("`, `")) };
        return Err(wrong(format!(
            "the graph has several inputs ({}), and no output is computed from images alone: name a tensor that is with --features{such}",
            names()
        )));
    };
    if let Some((other, second)) = outputs.iter().find(|(_, from)| *from != image) {
        return Err(wrong(format!(
            "the graph has several batches of images (`{image}`, `{second}`): say which is meant by --features, with a tensor that is \
             computed from it alone, such as `{other}`"
        )));
    }
    let wanted: Vec<&str> = outputs.iter().map(|(name, _)| *name).chain(features).collect();
    let (nodes, read) = walk.back(&wanted);
    let kept = Kept { nodes, read, image, outputs: outputs.iter().map(|(name, _)| *name).collect() };
    let without = inputs.iter().map(|input| input.name.clone()).filter(|name| name != image).collect();
    Ok(Some(Part { bytes: kept.of(bytes, &graph)?, without }))
}

fn has_four_axes(input: &ValueInfoProto) -> bool {
    let shape = input.r#type.as_ref().and_then(|of| of.tensor_type.as_ref()).and_then(|tensor| tensor.shape.as_ref());
    shape.is_some_and(|shape| shape.dim.len() == 4)
}

/// Which node computes a tensor, and what each reads.
struct Walk<'a> {
    made: BTreeMap<&'a str, usize>,
    reads: Vec<Vec<&'a str>>,
}

impl<'a> Walk<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let outputs = graph.node.iter().enumerate().flat_map(|(i, node)| node.output.iter().map(move |name| (name.as_str(), i)));
        Self { made: outputs.filter(|(name, _)| !name.is_empty()).collect(), reads: graph.node.iter().map(reads).collect() }
    }

    /// The nodes that these tensors are computed by, and all names that enter these.
    fn back(&self, wanted: &[&'a str]) -> (BTreeSet<usize>, BTreeSet<&'a str>) {
        let (mut nodes, mut names, mut open) = (BTreeSet::new(), BTreeSet::new(), wanted.to_vec());
        while let Some(name) = open.pop() {
            if names.insert(name)
                && let Some(node) = self.made.get(name)
                && nodes.insert(*node)
            {
                open.extend(&self.reads[*node]);
            }
        }
        (nodes, names)
    }

    /// The last tensors that are computed from images alone and enter a node that is not.
    fn candidates(&self, graph: &'a GraphProto, images: &[&str], inputs: &[&str]) -> Vec<&'a str> {
        let mut of_image: BTreeSet<&str> = images.iter().copied().collect();
        let mut of_more: BTreeSet<&str> = inputs.iter().copied().filter(|name| !images.contains(name)).collect();
        let mut found = Vec::new();
        for (node, read) in graph.node.iter().zip(&self.reads) {
            let outputs = node.output.iter().map(String::as_str).filter(|name| !name.is_empty());
            if read.iter().any(|name| of_more.contains(name)) {
                found.extend(read.iter().copied().filter(|name| of_image.contains(name) && self.made.contains_key(name)));
                of_more.extend(outputs);
            } else if read.iter().any(|name| of_image.contains(name)) {
                of_image.extend(outputs);
            }
        }
        found.dedup();
        found.split_off(found.len().saturating_sub(SUGGESTED))
    }
}

/// What stays of a file.
struct Kept<'a> {
    nodes: BTreeSet<usize>,
    /// All that they read.
    read: BTreeSet<&'a str>,
    image: &'a str,
    outputs: Vec<&'a str>,
}

impl Kept<'_> {
    fn of(&self, bytes: &[u8], graph: &GraphProto) -> Result<Vec<u8>, OnnxError> {
        let mut out = Vec::new();
        for field in fields(bytes) {
            let Field { tag, whole, body } = field?;
            if tag == MODEL_GRAPH {
                message(&mut out, MODEL_GRAPH, &self.graph(body, graph)?);
            } else {
                out.extend(whole);
            }
        }
        Ok(out)
    }

    fn graph(&self, bytes: &[u8], graph: &GraphProto) -> Result<Vec<u8>, OnnxError> {
        let (mut out, mut node, mut initializer, mut input) = (Vec::new(), 0, 0, 0);
        let next = |count: &mut usize| std::mem::replace(count, *count + 1);
        for field in fields(bytes) {
            let Field { tag, whole, .. } = field?;
            let stays = match tag {
                GRAPH_NODE => self.nodes.contains(&next(&mut node)),
                GRAPH_INITIALIZER => {
                    graph.initializer.get(next(&mut initializer)).is_some_and(|tensor| self.read.contains(tensor.name.as_str()))
                }
                GRAPH_INPUT => graph.input.get(next(&mut input)).is_some_and(|input| {
                    input.name == self.image
                        || (self.read.contains(input.name.as_str()) && graph.initializer.iter().any(|t| t.name == input.name))
                }),
                GRAPH_OUTPUT => false,
                _ => true,
            };
            if stays {
                out.extend(whole);
            }
        }
        for name in &self.outputs {
            let known = graph.output.iter().find(|output| output.name == *name).cloned();
            let output = known.unwrap_or_else(|| ValueInfoProto { name: (*name).to_owned(), r#type: None });
            message(&mut out, GRAPH_OUTPUT, &output.encode_to_vec());
        }
        Ok(out)
    }
}

fn message(out: &mut Vec<u8>, tag: u32, body: &[u8]) {
    encoding::encode_key(tag, WireType::LengthDelimited, out);
    encoding::encode_varint(body.len() as u64, out);
    out.extend(body);
}

/// A model, of which the names of what enters it are read.
#[derive(Clone, PartialEq, Message)]
struct Outline {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphOutline {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorName>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<InputName>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorName {
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct InputName {
    #[prost(string, tag = "1")]
    name: String,
}

#[cfg(test)]
mod tests {
    use super::super::pb::ModelProto;
    use super::super::tests::build::{node, tensor, value};
    use super::*;
    use crate::model::onnx::load_sized;
    use crate::registry::ExternalData;

    /// Two towers, and how alike what they give is.
    fn two_towers() -> ModelProto {
        let weights = |name: &str| tensor(name, &[12, 2], &[0.25; 24]);
        let nodes = vec![
            node("Flatten", "words", "words_flat"),
            node("Gemm", "words_flat w_words", "text_embeds"),
            node("Flatten", "x", "flat"),
            node("Gemm", "flat w", "image_embeds"),
            node("Relu", "image_embeds", "normed"),
            node("Mul", "normed text_embeds", "alike"),
        ];
        let input = vec![value("words", &[0, 12]), value("x", &[0, 3, 2, 2])];
        let output = vec![value("alike", &[0, 2]), value("text_embeds", &[0, 2]), value("image_embeds", &[0, 2])];
        let graph = GraphProto { node: nodes, initializer: vec![weights("w"), weights("w_words")], input, output, ..Default::default() };
        let opset_import = super::super::tests::build::classifier().opset_import;
        ModelProto { ir_version: Some(8), producer_name: "tests".into(), graph: Some(graph), opset_import, ..Default::default() }
    }

    fn graph_of(part: &Part) -> GraphProto {
        decode(&part.bytes).unwrap().graph.unwrap()
    }

    fn refusal(model: &ModelProto, features: Option<&str>) -> String {
        image_part(&model.encode_to_vec(), features).unwrap_err().to_string()
    }

    #[test]
    fn a_file_of_images_alone_is_left_as_it_is() {
        let bytes = super::super::tests::build::classifier().encode_to_vec();
        assert!(image_part(&bytes, None).unwrap().is_none());
    }

    #[test]
    fn what_is_not_of_images_is_left_out() {
        let part = image_part(&two_towers().encode_to_vec(), None).unwrap().unwrap();
        assert_eq!(part.without, ["words"]);
        let graph = graph_of(&part);
        let names = |all: &[ValueInfoProto]| all.iter().map(|value| value.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&graph.input), names(&graph.output)), (vec!["x".to_owned()], vec!["image_embeds".to_owned()]));
        assert_eq!(graph.node.iter().map(|node| node.op_type.as_str()).collect::<Vec<_>>(), ["Flatten", "Gemm"]);
        assert_eq!(graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["w"]);
        assert_eq!(decode(&part.bytes).unwrap().producer_name, "tests");
        let read = load_sized(&part.bytes, &ExternalData::new(), None).unwrap();
        assert_eq!(read.params.0.len(), 1);
    }

    #[test]
    fn features_that_the_user_names() {
        let mut model = two_towers();
        let part = image_part(&model.encode_to_vec(), Some("normed")).unwrap().unwrap();
        assert!(graph_of(&part).node.iter().any(|node| node.op_type == "Relu"));
        // Where no output is of images alone, the features are one.
        model.graph.as_mut().unwrap().output.truncate(1);
        let part = image_part(&model.encode_to_vec(), Some("normed")).unwrap().unwrap();
        assert_eq!(graph_of(&part).output[0].name, "normed");
        assert!(
            refusal(&model, None)
                .contains("no output is computed from images alone: name a tensor that is with --features, such as `normed`")
        );
        assert!(refusal(&model, Some("alike")).contains("`alike` is computed from more than images"));
        assert!(refusal(&model, Some("absent")).contains("`absent` is computed by no node"));
    }

    #[test]
    fn inputs_of_which_none_or_several_are_images() {
        let mut model = two_towers();
        let graph = model.graph.as_mut().unwrap();
        graph.input[0] = value("words", &[0, 3, 2, 2]);
        assert!(refusal(&model, None).contains("several batches of images (`words`, `x`)"));
        assert_eq!(image_part(&model.encode_to_vec(), Some("image_embeds")).unwrap().unwrap().without, ["words"]);
        let graph = model.graph.as_mut().unwrap();
        graph.input = vec![value("words", &[0, 12]), value("x", &[0, 12])];
        assert!(refusal(&model, None).contains("none of them is a batch of images"));
    }

    #[test]
    fn every_cut_of_the_file_is_refused_or_read() {
        let bytes = two_towers().encode_to_vec();
        for end in 0..bytes.len() {
            if let Ok(Some(part)) = image_part(&bytes[..end], None) {
                assert!(decode(&part.bytes).is_ok(), "{end}");
            }
        }
    }
}
