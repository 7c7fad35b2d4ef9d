//! Operators that move elements and do not look at them.

use ndarray::{ArrayD, Axis, IxDyn, concatenate};

use super::super::call::{Call, Result, axis, floats, integers};
use super::super::shapes;
use super::super::value::{Const, Size, Value};
use super::{broadcast, charge, shape_of};
use crate::graph::{Dim, Shape};

/// The outputs of such an operator, or `None` if it is another.
pub(super) fn structural(call: &Call, budget: &mut usize) -> Result<Option<Vec<Value>>> {
    if call.op() == "Concat" {
        return concat(call, budget).map(Some);
    }
    match call.optional(0) {
        Some(Value::Float(c)) => {
            let Some(parts) = moved(call, &c.array, budget)? else { return Ok(None) };
            // An initializer that is only reshaped keeps its name.
            let keeps = !matches!(call.op(), "Slice" | "Gather" | "Split" | "Tile");
            let named = |(i, array): (usize, ArrayD<f32>)| Value::float(if keeps { &c.name } else { call.output_name(i) }, array);
            Ok(Some(parts.into_iter().enumerate().map(named).collect()))
        }
        Some(Value::Int(a)) => Ok(moved(call, a, budget)?.map(|parts| parts.into_iter().map(Value::int).collect())),
        _ => Ok(None),
    }
}

fn moved<T: Clone>(call: &Call, x: &ArrayD<T>, budget: &mut usize) -> Result<Option<Vec<ArrayD<T>>>> {
    let shape = Shape::fixed(x.shape());
    let reshaped = |to: &Shape, budget: &mut usize| {
        charge::<T>(budget, x.shape())?;
        into_shape(x, &to.at(1)).map(|a| Some(vec![a]))
    };
    match call.op() {
        "Reshape" => {
            let target = call.sizes(1, "shape")?.ok_or("no shape is given")?;
            reshaped(&shapes::reshape(&shape, &target, call.int("allowzero") == Some(1), None)?, budget)
        }
        "Flatten" => reshaped(&shapes::flatten(call, &shape)?, budget),
        "Squeeze" => reshaped(&shapes::squeeze(call, &shape)?, budget),
        "Unsqueeze" => reshaped(&shapes::unsqueeze(call, &shape)?, budget),
        "Transpose" => {
            charge::<T>(budget, x.shape())?;
            let perm = shapes::perm(call, x.ndim())?;
            Ok(Some(vec![x.view().permuted_axes(IxDyn(&perm)).as_standard_layout().into_owned()]))
        }
        "Slice" => {
            charge::<T>(budget, x.shape())?;
            let mut out = x.clone();
            for range in shapes::slices(call, &shape)? {
                out = out.select(Axis(range.axis), &range.indices());
            }
            Ok(Some(vec![out]))
        }
        "Tile" => {
            let mut out = x.clone();
            for (at, repeats) in shapes::repeats(call, x.ndim())?.into_iter().enumerate() {
                // Along the batch: no constant any more.
                let Dim::Fixed(repeats) = repeats else { return Ok(None) };
                let mut to = out.shape().to_vec();
                to[at] = to[at].saturating_mul(repeats);
                charge::<T>(budget, &to)?;
                out = out.select(Axis(at), &shapes::tiled(x.shape()[at], repeats)?);
            }
            Ok(Some(vec![out]))
        }
        "Split" => {
            charge::<T>(budget, x.shape())?;
            let (at, parts) = shapes::split(call, &shape)?;
            Ok(Some(parts.iter().map(|&(start, end)| x.slice_axis(Axis(at), (start..end).into()).to_owned()).collect()))
        }
        "Gather" => {
            let at = axis(call.int("axis").unwrap_or(0), x.ndim())?;
            let (flat, given) = shapes::indices(call.input(1)?, x.shape()[at])?;
            let mut to = x.shape()[..at].to_vec();
            to.extend(&given);
            to.extend(&x.shape()[at + 1..]);
            charge::<T>(budget, &to)?;
            Ok(Some(vec![into_shape(&x.select(Axis(at), &flat), &to)?]))
        }
        "Expand" => {
            let target = call.sizes(1, "shape")?.ok_or("no shape is given")?;
            let to = shapes::expand(&shape, &target, None)?;
            if to.is_batched() {
                return Ok(None);
            }
            Ok(Some(vec![broadcast(x, &to.at(1), budget)?.to_owned()]))
        }
        _ => Ok(None),
    }
}

fn into_shape<T: Clone>(x: &ArrayD<T>, to: &[usize]) -> Result<ArrayD<T>> {
    x.to_shape(IxDyn(to)).map(|a| a.to_owned()).map_err(|e| e.to_string())
}

fn concat(call: &Call, budget: &mut usize) -> Result<Vec<Value>> {
    let given: Vec<&Value> = call.inputs.iter().flatten().collect();
    let rank = given.first().map_or(0, |v| shape_of(v).len());
    let at = axis(call.int("axis").unwrap_or(1), rank)?;
    // `concatenate` takes this for granted.
    if at >= rank || given.iter().any(|value| shape_of(value).len() != rank) {
        return Err("its inputs are of different numbers of axes, or have none".into());
    }
    for value in &given {
        match value {
            Value::Int(a) => charge::<Size>(budget, a.shape())?,
            value => charge::<f32>(budget, shape_of(value))?,
        }
    }
    if given.iter().any(|v| matches!(v, Value::Float(_))) {
        let parts = given.iter().map(|v| floats(v, "")).collect::<Result<Vec<Const>>>()?;
        let views: Vec<_> = parts.iter().map(|c| c.array.view()).collect();
        Ok(vec![Value::float(call.out(), concatenate(Axis(at), &views).map_err(|e| e.to_string())?)])
    } else {
        let parts = given.iter().map(|v| integers(v)).collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = parts.iter().map(|a| a.view()).collect();
        Ok(vec![Value::int(concatenate(Axis(at), &views).map_err(|e| e.to_string())?)])
    }
}
