//! Tokens of all images in rows, the first tokens of all images first: `[tokens, N, width]` written as `[tokens N, width]`, as PyTorch's
//! `MultiheadAttention` does before its last product. What belongs to an image is no block of such a tensor. It is held image by image,
//! `[N tokens, width]`, and read by operators alone that take row by row, until a `Reshape` brings its axes back.

use super::call::{Call, Result};
use super::importer::Importer;
use super::shapes;
use super::value::Value;
use crate::graph::{Dim, NodeId, Op, Shape};

/// Operators of one input that take entry by entry, or along the last axis.
const BY_ROW: [&str; 14] =
    ["Cast", "CastLike", "Dropout", "Elu", "Erf", "Gelu", "HardSwish", "Identity", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Sqrt", "Tanh"];

/// What the refusal of such a tensor says.
const DEALS: &str = "it deals the numbers of a batch out to other images";

/// `Reshape` that begins such rows; `None` where it does not.
pub(super) fn begun(importer: &mut Importer, call: &Call) -> Result<Option<Vec<Value>>> {
    let ("Reshape", Some(Value::Node(x))) = (call.op(), call.optional(0)) else { return Ok(None) };
    let x = *x;
    let from = importer.builder.shape(x).clone();
    let Some(at) = from.0.iter().position(|dim| *dim == Dim::Batch(1)) else { return Ok(None) };
    let before = Shape(from.0[..at].to_vec()).elements_per_item();
    let to = target(importer, call, &from)?;
    if before < 2 || to.0.first() != Some(&Dim::Batch(before)) {
        return Ok(None);
    }
    let front = std::iter::once(at).chain((0..from.rank()).filter(|axis| *axis != at)).collect();
    let images = importer.add(&format!("{}/images", call.out()), Op::Transpose { perm: front }, &[x])?;
    let rows = importer.add(call.out(), Op::Reshape { shape: to }, &[images])?;
    importer.token_major.insert(rows);
    Ok(Some(vec![Value::Node(rows)]))
}

/// What a node computes that reads such rows, by `plainly`, which takes rows of images; `None` where it reads none.
pub(super) fn converted(
    importer: &mut Importer,
    call: &Call,
    plainly: impl FnOnce(&mut Importer) -> Result<Vec<Value>>,
) -> Result<Option<Vec<Value>>> {
    let rows = |value: Option<&Value>| match value {
        Some(Value::Node(node)) => importer.token_major.contains(node).then_some(*node),
        _ => None,
    };
    let Some(x) = (0..call.inputs.len()).find_map(|i| rows(call.optional(i))) else { return Ok(None) };
    let from = importer.builder.shape(x).clone();
    // All other inputs are constants, or rows of the same images.
    let alike = call.inputs.iter().flatten().all(|value| match value {
        Value::Node(node) => importer.token_major.contains(node) && *importer.builder.shape(*node) == from,
        Value::Float(_) | Value::Int(_) => true,
        Value::Spread(_) => false,
    });
    let constant = |i: usize| matches!(call.optional(i), None | Some(Value::Float(_)));
    let last = |default: i64| matches!(call.int("axis").unwrap_or(default), axis if axis == -1 || axis == from.rank() as i64 - 1);
    let first = rows(call.optional(0)).is_some();
    let by_row = match call.op() {
        "Shape" | "Size" => return plainly(importer).map(Some),
        "Reshape" if first => match ended(importer, call, x, &from)? {
            Some(ended) => return Ok(Some(ended)),
            None => true,
        },
        "Add" | "Sub" | "Mul" | "Div" => true,
        "MatMul" => first && constant(1),
        "Gemm" => first && call.int("transA").unwrap_or(0) == 0 && constant(1) && constant(2),
        "LayerNormalization" => first && last(-1),
        "Softmax" => first && call.opset >= 13 && last(-1),
        op => first && BY_ROW.contains(&op),
    };
    if !(by_row && alike) {
        return Err(DEALS.into());
    }
    let out = plainly(importer)?;
    for value in &out {
        let Value::Node(node) = value else { return Err(DEALS.into()) };
        if importer.builder.shape(*node).0.first() != from.0.first() {
            return Err(DEALS.into());
        }
        importer.token_major.insert(*node);
    }
    Ok(Some(out))
}

/// An error where rows are what a network answers, or where its features leave.
pub(super) fn ends(importer: &Importer, node: NodeId) -> Result<()> {
    if importer.token_major.contains(&node) { Err(DEALS.into()) } else { Ok(()) }
}

/// A `Reshape` that brings the axes back, `[tokens N, width]` to `[tokens, N, width]`; `None` where rows stay rows.
fn ended(importer: &mut Importer, call: &Call, x: NodeId, from: &Shape) -> Result<Option<Vec<Value>>> {
    let to = target(importer, call, from)?;
    if to.0.first() == from.0.first() {
        return Ok(None);
    }
    let Some(at) = to.0.iter().position(|dim| *dim == Dim::Batch(1)) else { return Err(DEALS.into()) };
    let before = Shape(to.0[..at].to_vec()).elements_per_item();
    if from.0.first() != Some(&Dim::Batch(before)) {
        return Err(DEALS.into());
    }
    let dims = std::iter::once(Dim::Batch(1)).chain(to.0.iter().copied().filter(|dim| *dim != Dim::Batch(1)));
    let shape = Shape(dims.collect());
    let images = importer.add(&format!("{}/images", call.out()), Op::Reshape { shape }, &[x])?;
    let perm = (1..=at).chain([0]).chain(at + 1..to.rank()).collect();
    Ok(Some(vec![Value::Node(importer.add(call.out(), Op::Transpose { perm }, &[images])?)]))
}

fn target(importer: &Importer, call: &Call, from: &Shape) -> Result<Shape> {
    let target = call.sizes(1, "shape")?.ok_or("no shape is given")?;
    shapes::reshape(from, &target, call.int("allowzero") == Some(1), importer.batch)
}
