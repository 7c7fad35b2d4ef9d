//! The element types of tensors, as far as an operator that takes its type from another tensor needs them.

use std::collections::BTreeMap;

use super::pb::{NodeProto, ValueInfoProto, data_type};

/// Those that the graph's inputs declare.
pub(super) fn of_inputs(inputs: &[ValueInfoProto]) -> BTreeMap<String, i32> {
    let declared = |input: &ValueInfoProto| Some((input.name.clone(), input.r#type.as_ref()?.tensor_type.as_ref()?.elem_type?));
    inputs.iter().filter_map(declared).collect()
}

/// Those of what the nodes compute, in their order, from those of what is there already. A type that is not known is left out.
pub(super) fn of(order: &[usize], nodes: &[NodeProto], mut kinds: BTreeMap<String, i32>) -> BTreeMap<String, i32> {
    for node in order.iter().filter_map(|&i| nodes.get(i)) {
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
        let input = |i: usize| node.input.get(i).and_then(|name| kinds.get(name)).copied();
        let kind = match node.op_type.as_str() {
            "Cast" => attribute("to").and_then(|a| a.i).and_then(|to| i32::try_from(to).ok()),
            "CastLike" | "Where" => input(1),
            "Constant" | "ConstantOfShape" => match attribute("value").and_then(|a| a.t.as_ref()) {
                Some(tensor) => tensor.data_type,
                None if attribute("value_int").is_some() || attribute("value_ints").is_some() => Some(data_type::INT64),
                None => Some(data_type::FLOAT),
            },
            "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" => Some(data_type::INT64),
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not" | "IsNaN" | "IsInf" => {
                Some(data_type::BOOL)
            }
            _ => input(0),
        };
        if let Some(kind) = kind {
            kinds.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.clone(), kind)));
        }
    }
    kinds
}
