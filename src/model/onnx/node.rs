//! What is said of a node.

use super::pb::NodeProto;

/// Whether operators of a domain are those of ONNX itself.
pub(super) fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// What messages call a node: its name, or that of its first output.
pub(super) fn title(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}
