//! Truth values and integers that an exporter repeats along the batch, as it does with masks of attention. They stay numbers of one batch
//! entry beside the shape that they stand for, so that what is computed of them is computed at import; they enter the network as floats.

use std::sync::Arc;

use super::call::{Call, Result, floats};
use super::fold;
use super::importer::Importer;
use super::shapes;
use super::value::{Spread, Value};
use crate::graph::{NodeId, Op, Shape};

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
        let spread = Spread { name: call.out().into(), array: Arc::clone(array), shape };
        return Ok(spread.shape.is_batched().then(|| vec![Value::Spread(spread)]));
    }
    let given: Vec<&Value> = call.inputs.iter().flatten().collect();
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
        Value::Int(array) => Value::Spread(Spread { name: call.out().into(), array, shape }),
        Value::Float(c) => {
            let node = importer.param(&c)?;
            Value::Node(importer.add(call.out(), Op::Expand { shape }, &[node])?)
        }
        other => other,
    }]))
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
