//! The bytes of a file before its messages are decoded: they may stand for more than memory holds.

use prost::bytes::Buf;
use prost::encoding::{self, DecodeContext, WireType};

use super::OnnxError;

pub(super) const MODEL_GRAPH: u32 = 7;
const MODEL_FUNCTION: u32 = 25;
pub(super) const GRAPH_NODE: u32 = 1;
pub(super) const GRAPH_INITIALIZER: u32 = 5;
pub(super) const GRAPH_INPUT: u32 = 11;
pub(super) const GRAPH_OUTPUT: u32 = 12;
const NODE_ATTRIBUTE: u32 = 5;
const ATTRIBUTE_GRAPH: u32 = 6;
const ATTRIBUTE_GRAPHS: u32 = 11;
const FUNCTION_NODE: u32 = 7;

/// Most nodes and tensors of a file: twenty times as many as the largest networks that libraries export.
pub(super) const MOST_PARTS: usize = 1 << 18;

/// Deepest nesting of branches in branches that is looked into; the decoder refuses deeper ones.
const DEEPEST: usize = 100;

/// Refuses a file of more nodes and tensors than any network has: in memory a node of twenty bytes takes many times that.
pub(super) fn check(bytes: &[u8]) -> Result<(), OnnxError> {
    let mut parts = 0;
    // What lies in the bodies of branches counts too.
    let mut open: Vec<(Kind, &[u8], usize)> = vec![(Kind::Model, bytes, 0)];
    while let Some((kind, bytes, depth)) = open.pop() {
        for field in fields(bytes) {
            // What is damaged is said by whoever decodes it, with its place.
            let Ok(Field { tag, body, .. }) = field else { return Ok(()) };
            let inside = match (kind, tag) {
                (Kind::Model, MODEL_FUNCTION) => Kind::Function,
                (Kind::Graph, GRAPH_NODE) | (Kind::Function, FUNCTION_NODE) => {
                    parts += 1;
                    Kind::Node
                }
                (Kind::Graph, GRAPH_INITIALIZER | GRAPH_INPUT | GRAPH_OUTPUT) => {
                    parts += 1;
                    continue;
                }
                (Kind::Node, NODE_ATTRIBUTE) => Kind::Attribute,
                (Kind::Model, MODEL_GRAPH) | (Kind::Attribute, ATTRIBUTE_GRAPH | ATTRIBUTE_GRAPHS) => Kind::Graph,
                _ => continue,
            };
            if parts > MOST_PARTS {
                return Err(OnnxError::Structure {
                    reason: format!("the file has more than {MOST_PARTS} nodes and tensors: no network that classifies images has"),
                });
            }
            if depth < DEEPEST {
                open.push((inside, body, depth + 1));
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
}

/// A field of a message: all its bytes, and those of what it holds where it is a message itself.
pub(super) struct Field<'a> {
    pub tag: u32,
    pub whole: &'a [u8],
    pub body: &'a [u8],
}

/// The fields of a message.
pub(super) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<Field<'_>, OnnxError>> {
    std::iter::from_fn(move || {
        let start = bytes;
        let step = |bytes: &mut &[u8]| -> Result<(u32, usize), prost::DecodeError> {
            let (tag, wire) = encoding::decode_key(bytes)?;
            let before = bytes.remaining();
            let mut length = 0;
            if wire == WireType::LengthDelimited {
                let mut ahead = *bytes;
                length = usize::try_from(encoding::decode_varint(&mut ahead)?).unwrap_or(before);
            }
            encoding::skip_field(wire, tag, bytes, DecodeContext::default())?;
            Ok((tag, length))
        };
        if start.is_empty() {
            return None;
        }
        let found = step(&mut bytes).map_err(|e| OnnxError::Decode { reason: e.to_string() });
        Some(found.map(|(tag, length)| {
            let whole = &start[..start.len() - bytes.len()];
            Field { tag, whole, body: &whole[whole.len() - length.min(whole.len())..] }
        }))
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::pb::{AttributeProto, GraphProto};
    use super::super::tests::build::{classifier, model, node};
    use super::*;

    #[test]
    fn more_nodes_than_any_network_has() {
        check(&classifier().encode_to_vec()).unwrap();
        let many = vec![node("Relu", "x", "y"); MOST_PARTS + 1];
        let refused = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
        let told = "the file has more than 262144 nodes and tensors: no network that classifies images has";
        assert_eq!(refused(&model(many.clone(), Vec::new()).encode_to_vec()), told);
        // In the branch of an If.
        let body = GraphProto { node: many, ..Default::default() };
        let mut outer = node("If", "c", "y");
        outer.attribute.push(AttributeProto { name: "then_branch".into(), g: Some(Box::new(body)), ..Default::default() });
        assert_eq!(refused(&model(vec![outer], Vec::new()).encode_to_vec()), told);
    }
}
