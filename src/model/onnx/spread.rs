//! Truth values and integers that an exporter repeats along the batch, as it does with masks of attention. They stay numbers of one batch
//! entry beside the shape that they stand for, so that what is computed of them is computed at import; they enter the network as floats.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use super::call::{Call, Result, floats};
use super::fold;
use super::importer::Importer;
use super::shapes;
use super::value::{Size, Spread, Value};
use crate::graph::{Dim, NodeId, Op, Shape};

impl Spread {
    fn lay(&self, importer: &mut Importer, name: &str) -> Result<NodeId> {
        let c = floats(&Value::Int(Arc::clone(&self.array)), &self.name)?;
        let node = importer.param(&c)?;
        importer.add(name, Op::Expand { shape: self.shape.clone() }, &[node])
    }
}

/// Operators that take entry by entry.
const ENTRYWISE: [&str; 12] =
    ["And", "Cast", "CastLike", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Where", "Xor"];

/// What a node computes that begins such numbers, or has them among its constants. `None` where it is another.
pub(super) fn fold(importer: &mut Importer, call: &Call, budget: &mut usize) -> Result<Option<Vec<Value>>> {
    if let ("Expand", Some(Value::Int(array))) = (call.op(), call.optional(0)) {
        let target = call.sizes(1, "shape")?.ok_or("no shape is given")?;
        let shape = shapes::expand(&Shape::fixed(array.shape()), &target, None)?;
        let spread = Spread { name: call.out().into(), array: Arc::clone(array), shape, step: 0 };
        return Ok(spread.shape.is_batched().then(|| vec![Value::Spread(spread)]));
    }
    let given: Vec<&Value> = call.inputs.iter().flatten().collect();
    if let Some(begun) = images(call) {
        return Ok(Some(vec![begun]));
    }
    if given.iter().any(|value| matches!(value, Value::Spread(spread) if spread.step != 0)) {
        return places(importer, call, budget).map(|value| Some(vec![value]));
    }
    let some = given.iter().any(|value| matches!(value, Value::Spread(_)));
    if !some || !ENTRYWISE.contains(&call.op()) || given.iter().any(|value| matches!(value, Value::Node(_))) {
        return Ok(None);
    }
    let mut shape = Shape::fixed(&[]);
    for value in given {
        let own = match value {
            Value::Spread(spread) => spread.shape.clone(),
            other => Shape::fixed(fold::shape_of(other)),
        };
        shape = shapes::expand(&shape, &fold::sizes(&own), None)?;
    }
    let plain = |value: &Value| match value {
        Value::Spread(spread) => Value::Int(Arc::clone(&spread.array)),
        other => other.clone(),
    };
    let inputs = call.inputs.iter().map(|value| value.as_ref().map(plain)).collect();
    let of_one = Call { node: call.node, inputs, opset: call.opset, like: call.like };
    let value = fold::fold(&of_one, budget)?.and_then(|mut values| values.pop());
    Ok(Some(vec![match value.ok_or("it is not computed on what is repeated along the batch")? {
        Value::Int(array) => Value::Spread(Spread { name: call.out().into(), array, shape, step: 0 }),
        Value::Float(c) => {
            let node = importer.param(&c)?;
            Value::Node(importer.add(call.out(), Op::Expand { shape }, &[node])?)
        }
        other => other,
    }]))
}

/// The images of a batch by number: `Range` from 0 to the batch size.
fn images(call: &Call) -> Option<Value> {
    if call.op() != "Range" {
        return None;
    }
    let one = |i: usize| match call.optional(i) {
        Some(Value::Int(a)) if a.len() == 1 => a.iter().next().copied(),
        _ => None,
    };
    let whole = Size { fixed: 0, per_item: 1 };
    if (one(0), one(1), one(2)) != (Some(Size::from(0)), Some(whole), Some(Size::from(1))) {
        return None;
    }
    let array = Arc::new(ArrayD::from_elem(IxDyn(&[1]), Size::from(0)));
    Some(Value::Spread(Spread { name: call.out().into(), array, shape: Shape::batched(&[]), step: 1 }))
}

/// What is computed of numbers that grow from image to image: places in a batch that is laid out flat, as PyTorch's `as_strided` is
/// exported. Whoever gathers by them gets of each image its own numbers, or the file is refused.
fn places(importer: &mut Importer, call: &Call, budget: &mut usize) -> Result<Value> {
    let again = |spread: &Spread, array: ArrayD<Size>, shape: Shape, step: i64| {
        Value::Spread(Spread { name: spread.name.clone(), array: Arc::new(array), shape, step })
    };
    let overflow = || "its numbers overflow".to_owned();
    match (call.op(), call.optional(0), call.optional(1)) {
        ("Mul", Some(Value::Spread(spread)), Some(Value::Int(factor))) | ("Mul", Some(Value::Int(factor)), Some(Value::Spread(spread)))
            if factor.len() == 1 && factor.ndim() <= spread.array.ndim() =>
        {
            let factor =
                factor.iter().next().and_then(|size| size.known()).filter(|factor| *factor > 0).ok_or("its factor is no known number")?;
            let data = spread.array.iter().map(|size| size.mul(Size::from(factor))).collect::<Option<Vec<_>>>().ok_or_else(overflow)?;
            let array = ArrayD::from_shape_vec(spread.array.raw_dim(), data).map_err(|e| e.to_string())?;
            Ok(again(spread, array, spread.shape.clone(), spread.step.checked_mul(factor).ok_or_else(overflow)?))
        }
        ("Add", Some(Value::Spread(spread)), Some(Value::Int(more))) | ("Add", Some(Value::Int(more)), Some(Value::Spread(spread))) => {
            let shape = shapes::expand(&spread.shape, &fold::sizes(&Shape::fixed(more.shape())), None)?;
            let mut own = shape.at(1);
            fold::charge::<Size>(budget, &own)?;
            if let Some(at) = shape.0.iter().position(|dim| matches!(dim, Dim::Batch(_))) {
                own[at] = 1;
            }
            let wide = |array: &ArrayD<Size>| array.broadcast(IxDyn(&own)).map(|view| view.to_owned()).ok_or("it adds along the batch");
            let data = wide(&spread.array)?.iter().zip(wide(more)?.iter()).map(|(a, b)| a.add(*b)).collect::<Option<Vec<_>>>();
            let array = ArrayD::from_shape_vec(IxDyn(&own), data.ok_or_else(overflow)?).map_err(|e| e.to_string())?;
            Ok(again(spread, array, shape, spread.step))
        }
        ("Unsqueeze", Some(Value::Spread(spread)), _) => {
            let shape = shapes::unsqueeze(call, &spread.shape)?;
            let array = (*spread.array).clone().into_shape_with_order(IxDyn(&shape.at(1))).map_err(|e| e.to_string())?;
            Ok(again(spread, array, shape, spread.step))
        }
        ("Gather", Some(Value::Node(x)), Some(Value::Spread(spread))) => {
            let flat = importer.builder.shape(*x).clone();
            let [Dim::Batch(each)] = flat.0[..] else { return Err(format!("it picks from {flat} by the number of an image")) };
            if i64::try_from(each) != Ok(spread.step) || spread.shape.0.first() != Some(&Dim::Batch(1)) {
                return Err("it picks of an image what may be another's".into());
            }
            let own = |size: &Size| size.known().and_then(|i| usize::try_from(i).ok()).filter(|i| *i < each);
            let indices = spread.array.iter().map(own).collect::<Option<Vec<_>>>().ok_or("it picks of an image what is another's")?;
            let of_each = Op::Reshape { shape: Shape::batched(&[each]) };
            let mut at = importer.add(&format!("{}/images", call.out()), of_each, &[*x])?;
            if !indices.iter().copied().eq(0..each) {
                at = importer.add(&format!("{}/picked", call.out()), Op::Select { axis: 1, indices }, &[at])?;
            }
            Ok(Value::Node(importer.add(call.out(), Op::Reshape { shape: spread.shape.clone() }, &[at])?))
        }
        (op, ..) => Err(format!("`{op}` of what counts the images of a batch is not supported")),
    }
}

/// The call with such numbers as nodes of the network, where it has any.
pub(super) fn laid<'a>(importer: &mut Importer, call: &Call<'a>) -> Result<Option<Call<'a>>> {
    if !call.inputs.iter().flatten().any(|value| matches!(value, Value::Spread(_))) {
        return Ok(None);
    }
    let mut inputs = call.inputs.clone();
    for (i, value) in inputs.iter_mut().enumerate() {
        if let Some(Value::Spread(spread)) = value {
            let name = format!("{}/input{i}", call.out());
            *value = Some(Value::Node(spread.lay(importer, &name)?));
        }
    }
    Ok(Some(Call { node: call.node, inputs, opset: call.opset, like: call.like }))
}
