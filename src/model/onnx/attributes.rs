//! What a node's attributes must be: known to its operator set, of the type that the standard gives them, there once. ONNX's own checker and ONNX
//! Runtime refuse a file in which one is not, and what it should mean is not told.

mod table;

use super::OnnxError;
use super::node::{is_default, title};
use super::pb::{AttributeProto, NodeProto, attribute_type};

/// Name, type, the first operator set that has it, the first that has it no more, and whether a node must have it.
type Known = (&'static str, Kind, i64, i64, bool);

/// Beyond every operator set.
const ALWAYS: i64 = i64::MAX;

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float,
    Int,
    Text,
    Tensor,
    Floats,
    Ints,
    Texts,
    SparseTensor,
}

impl Kind {
    fn number(self) -> i32 {
        match self {
            Self::Float => attribute_type::FLOAT,
            Self::Int => attribute_type::INT,
            Self::Text => attribute_type::STRING,
            Self::Tensor => attribute_type::TENSOR,
            Self::Floats => attribute_type::FLOATS,
            Self::Ints => attribute_type::INTS,
            Self::Texts => attribute_type::STRINGS,
            Self::SparseTensor => attribute_type::SPARSE_TENSOR,
        }
    }
}

/// Attributes that say yes (1) or no (0). Programs differ in what they make of another number.
#[rustfmt::skip]
const YES_OR_NO: [&str; 13] = [
    "allowzero", "antialias", "ceil_mode", "count_include_pad", "exclude_outside", "fmod", "keepdims", "noop_with_empty_axes", "saturate",
    "spatial", "training_mode", "transA", "transB",
];

/// Refuses a node with an attribute that is wrong. Operators that are not read here are left to who reads them.
pub(super) fn check(node: &NodeProto, opset: i64) -> Result<(), OnnxError> {
    if !is_default(&node.domain) {
        return Ok(());
    }
    let Ok(at) = table::TABLE.binary_search_by(|(op, _)| (*op).cmp(node.op_type.as_str())) else { return Ok(()) };
    wrong(node, table::TABLE[at].1, opset)
        .map_or(Ok(()), |reason| Err(OnnxError::Attribute { node: title(node).into(), op: node.op_type.clone(), reason }))
}

fn wrong(node: &NodeProto, known: &[Known], opset: i64) -> Option<String> {
    let known = || known.iter().filter(|(_, _, since, until, _)| (*since..*until).contains(&opset));
    for (i, given) in node.attribute.iter().enumerate() {
        let name = given.name.as_str();
        if node.attribute[..i].iter().any(|earlier| earlier.name == name) {
            return Some(format!("attribute `{name}` is there twice"));
        }
        // Notes of the program that wrote the file: ONNX's own checker lets them pass.
        if name.starts_with("__") {
            continue;
        }
        let Some((_, kind, ..)) = known().find(|(own, ..)| *own == name) else {
            return Some(format!("operator set {opset} has no attribute `{name}` for it"));
        };
        if let Some(reason) = wrong_value(given, *kind) {
            return Some(format!("attribute `{name}` {reason}"));
        }
    }
    let absent = |(name, _, _, _, must): &&Known| *must && !node.attribute.iter().any(|given| given.name == *name);
    if let Some((name, ..)) = known().find(absent) {
        return Some(format!("attribute `{name}` is missing"));
    }
    let values = node.attribute.iter().filter(|given| !given.name.starts_with("__")).count();
    (node.op_type == "Constant" && values != 1).then(|| format!("it holds {values} values; a constant is one"))
}

fn wrong_value(given: &AttributeProto, kind: Kind) -> Option<String> {
    let number = given.r#type.unwrap_or(0);
    if number != kind.number() {
        return Some(format!("is {}, and must be {}", name(number), name(kind.number())));
    }
    if !given.ref_attr_name.is_empty() {
        return Some("takes its value from a function, and the node is in none".into());
    }
    let held = [
        (given.f.is_some(), Kind::Float),
        (given.i.is_some(), Kind::Int),
        (given.s.is_some(), Kind::Text),
        (given.t.is_some(), Kind::Tensor),
        (!given.floats.is_empty(), Kind::Floats),
        (!given.ints.is_empty(), Kind::Ints),
    ];
    if let Some((_, other)) = held.iter().find(|(held, other)| *held && *other != kind) {
        return Some(format!("is {}, and holds {} too", name(number), name(other.number())));
    }
    match kind {
        Kind::Int if YES_OR_NO.contains(&given.name.as_str()) && !matches!(given.i, None | Some(0 | 1)) => {
            Some(format!("is {}: it must be 0 or 1", given.i.unwrap_or(0)))
        }
        Kind::Text if given.s.as_deref().is_some_and(|text| std::str::from_utf8(text).is_err()) => Some("is no text".into()),
        Kind::Float if given.f.is_some_and(f32::is_nan) => Some("is NaN".into()),
        Kind::Floats if given.floats.iter().any(|value| value.is_nan()) => Some("holds NaN".into()),
        _ => None,
    }
}

/// As the standard calls it.
fn name(number: i32) -> String {
    let names =
        ["of no type", "FLOAT", "INT", "STRING", "TENSOR", "GRAPH", "FLOATS", "INTS", "STRINGS", "TENSORS", "GRAPHS", "SPARSE_TENSOR"];
    usize::try_from(number).ok().and_then(|i| names.get(i)).map_or_else(|| format!("of type {number}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::import::{ON_CONSTANTS, OPERATORS};
    use super::super::pb::{NodeProto, attribute_type};
    use super::super::tests::build::{node, tensor, with_int, with_ints};
    use super::*;

    fn with(mut node: NodeProto, name: &str, kind: i32, fill: impl FnOnce(&mut AttributeProto)) -> NodeProto {
        let mut attribute = AttributeProto { name: name.into(), r#type: Some(kind), ..Default::default() };
        fill(&mut attribute);
        node.attribute.push(attribute);
        node
    }

    fn told(node: &NodeProto, opset: i64) -> String {
        check(node, opset).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_operator_that_is_read_is_in_the_table() {
        assert!(table::TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0), "the table is sorted");
        let missing: Vec<&&str> =
            OPERATORS.iter().chain(ON_CONSTANTS).filter(|op| !table::TABLE.iter().any(|(name, _)| name == *op)).collect();
        assert!(missing.is_empty(), "run tests/golden/onnx/attributes.py for {missing:?}");
    }

    /// What ONNX's own checker says of such files is in `tests/golden/onnx/invalid.py`.
    #[test]
    fn wrong_attributes_are_refused_by_node_and_name() {
        let pool = || with_ints(node("MaxPool", "x", "y"), "kernel_shape", &[2, 2]);
        let alpha = |node: NodeProto, value: f32| with(node, "alpha", attribute_type::FLOAT, |a| a.f = Some(value));
        let leaky = || node("LeakyRelu", "x", "y");
        let cases = [
            (with_int(pool(), "strides", 2), 17, "node `node_y` (MaxPool): attribute `strides` is INT, and must be INTS"),
            (with_int(leaky(), "alpha", 1), 17, "node `node_y` (LeakyRelu): attribute `alpha` is INT, and must be FLOAT"),
            (alpha(alpha(leaky(), 0.5), -3.0), 17, "attribute `alpha` is there twice"),
            (alpha(alpha(leaky(), 0.5), 0.5), 17, "attribute `alpha` is there twice"),
            (with(leaky(), "alpha", 0, |a| a.f = Some(0.5)), 17, "attribute `alpha` is of no type, and must be FLOAT"),
            (with(leaky(), "alpha", 77, |a| a.f = Some(0.5)), 17, "attribute `alpha` is of type 77, and must be FLOAT"),
            (
                with(alpha(leaky(), 0.5), "beta", attribute_type::FLOAT, |a| a.f = Some(1.0)),
                17,
                "operator set 17 has no attribute `beta` for it",
            ),
            (with(leaky(), "alpha", attribute_type::FLOAT, |a| (a.f, a.i) = (Some(0.5), Some(2))), 17, "is FLOAT, and holds INT too"),
            (with(leaky(), "alpha", attribute_type::FLOAT, |a| a.ref_attr_name = "slope".into()), 17, "takes its value from a function"),
            (alpha(leaky(), f32::NAN), 17, "attribute `alpha` is NaN"),
            (node("MaxPool", "x", "y"), 17, "attribute `kernel_shape` is missing"),
            (node("Cast", "x", "y"), 17, "attribute `to` is missing"),
            // The operator set decides: an input since, an attribute before.
            (with_ints(node("ReduceMean", "x", "y"), "axes", &[2]), 18, "operator set 18 has no attribute `axes` for it"),
            (with_int(node("BatchNormalization", "x c c c c", "y"), "spatial", 1), 9, "operator set 9 has no attribute `spatial` for it"),
            (with_int(pool(), "ceil_mode", 2), 17, "attribute `ceil_mode` is 2: it must be 0 or 1"),
            (with(node("Gelu", "x", "y"), "approximate", attribute_type::STRING, |a| a.s = Some(vec![0xff])), 20, "is no text"),
            (node("Constant", "", "y"), 17, "it holds 0 values; a constant is one"),
            (
                with_int(
                    with(node("Constant", "", "y"), "value", attribute_type::TENSOR, |a| a.t = Some(tensor("", &[], &[1.0]))),
                    "value_int",
                    1,
                ),
                17,
                "it holds 2 values; a constant is one",
            ),
        ];
        for (node, opset, reason) in cases {
            let told = told(&node, opset);
            assert!(told.starts_with("node `node_y` (") && told.contains(reason), "`{told}` does not say `{reason}`");
        }
    }

    #[test]
    fn right_attributes_pass() {
        let pool = with_int(with_ints(with_ints(node("MaxPool", "x", "y"), "kernel_shape", &[2, 2]), "strides", &[2, 2]), "ceil_mode", 1);
        let noted = with(node("Relu", "x", "y"), "__note", attribute_type::STRING, |a| a.s = Some(b"exported".to_vec()));
        let foreign = NodeProto { domain: "com.example".into(), ..with_int(node("Relu", "x", "y"), "anything", 1) };
        // Read by ONNX Runtime in sets older than the operator.
        let early = with_int(node("LayerNormalization", "x", "y"), "axis", -1);
        for (node, opset) in [(pool, 17), (noted, 17), (foreign, 17), (early, 11)] {
            assert_eq!(told(&node, opset), "");
        }
        for (opset, right) in [(13, true), (17, true), (18, false)] {
            assert_eq!(told(&with_ints(node("ReduceMean", "x", "y"), "axes", &[2]), opset).is_empty(), right, "{opset}");
        }
    }
}
