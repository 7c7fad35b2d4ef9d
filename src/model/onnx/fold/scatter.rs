//! Constants with parts replaced or picked by their place: masks that are filled region by region, tables of relative positions.

use ndarray::{ArrayD, IxDyn};

use super::super::call::{Call, Result, axis, floats, integers};
use super::super::value::{Size, Value};
use super::{charge, shape_of};
use crate::graph::{Dim, Shape};

/// `ScatterND`, `ScatterElements` and `GatherND`.
pub(super) fn scatter(call: &Call, budget: &mut usize) -> Result<Value> {
    match call.text("reduction") {
        None | Some("none") => {}
        Some(other) => return Err(format!("`reduction` is `{other}`: parts that are put together are not supported")),
    }
    if call.int("batch_dims").is_some_and(|batch| batch != 0) {
        return Err("`batch_dims` is not supported".into());
    }
    let (data, at) = (call.input(0)?, integers(call.input(1)?)?);
    let places = if call.op() == "ScatterElements" { elements(call, shape_of(data), &at)? } else { parts(shape_of(data), &at)? };
    if call.op() == "GatherND" {
        charge::<Size>(budget, &places.shape)?;
        return Ok(match data {
            Value::Int(a) => Value::int(picked(a, &places)?),
            other => Value::float(call.out(), picked(&floats(other, "")?.array, &places)?),
        });
    }
    let new = call.input(2)?;
    if shape_of(new) != places.shape {
        return Err(format!("it puts parts of {:?} where {:?} are needed", shape_of(new), places.shape));
    }
    let mut sorted = places.starts.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("it replaces a part twice, and which one stays is not told".into());
    }
    charge::<Size>(budget, shape_of(data))?;
    Ok(match (data, new) {
        (Value::Int(data), Value::Int(new)) => Value::int(replaced(data, &places, new)?),
        _ => Value::float(call.out(), replaced(&floats(data, "")?.array, &places, &floats(new, "")?.array)?),
    })
}

/// Where parts are in the row-major numbers of a tensor.
struct Places {
    starts: Vec<usize>,
    /// Numbers of each part.
    each: usize,
    /// Of all parts together.
    shape: Vec<usize>,
}

/// The last axis of `at` are indices into the leading axes of a tensor of shape `to`.
fn parts(to: &[usize], at: &ArrayD<Size>) -> Result<Places> {
    let Some((&depth, outer)) = at.shape().split_last() else { return Err("its indices have no axes".into()) };
    if depth == 0 || depth > to.len() {
        return Err(format!("its indices name {depth} axes of {}", to.len()));
    }
    let shape: Vec<usize> = outer.iter().chain(&to[depth..]).copied().collect();
    let each = to[depth..].iter().product();
    let all: Vec<Size> = at.iter().copied().collect();
    let start = |index: &[Size]| {
        index.iter().zip(to).try_fold(0, |sum, (i, &size)| inside(*i, size).map(|i| sum * size + i)).map(|place: usize| place * each)
    };
    Ok(Places { starts: all.chunks_exact(depth).map(start).collect::<Result<_>>()?, each, shape })
}

/// What `GatherND` picks of a tensor of the network: how many leading axes its indices name, where in them taken together each of its parts is,
/// and the shape of the indices without their last axis.
pub(in super::super) fn places(shape: &Shape, at: &Value) -> Result<(usize, Vec<usize>, Vec<usize>)> {
    let at = integers(at)?;
    let depth = at.shape().last().copied().unwrap_or(0);
    let leading = shape.0.get(..depth).filter(|_| depth > 0).ok_or_else(|| format!("its indices name {depth} axes of {}", shape.rank()))?;
    if leading.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
        return Err("it picks from the batch".into());
    }
    let found = parts(&Shape(leading.to_vec()).at(1), &at)?;
    Ok((depth, found.starts, found.shape))
}

/// Every number of `at` is the index on one axis of a tensor of shape `to`, beside its own place on the others.
fn elements(call: &Call, to: &[usize], at: &ArrayD<Size>) -> Result<Places> {
    let along = axis(call.int("axis").unwrap_or(0), to.len())?;
    if at.ndim() != to.len() || at.shape().iter().zip(to).enumerate().any(|(i, (own, all))| i != along && own > all) {
        return Err(format!("its indices of {:?} do not fit {to:?}", at.shape()));
    }
    let start = |(own, i): (IxDyn, &Size)| {
        let i = inside(*i, to[along])?;
        Ok(to.iter().enumerate().fold(0, |sum, (k, size)| sum * size + if k == along { i } else { own[k] }))
    };
    Ok(Places { starts: at.indexed_iter().map(start).collect::<Result<_>>()?, each: 1, shape: at.shape().to_vec() })
}

fn inside(i: Size, size: usize) -> Result<usize> {
    let i = i.known().ok_or("an index depends on the batch")?;
    axis(i, size).map_err(|_| format!("index {i} is outside an axis of {size}"))
}

fn picked<T: Copy>(data: &ArrayD<T>, places: &Places) -> Result<ArrayD<T>> {
    let data: Vec<T> = data.iter().copied().collect();
    let part = |&start: &usize| data.iter().skip(start).take(places.each).copied();
    ArrayD::from_shape_vec(IxDyn(&places.shape), places.starts.iter().flat_map(part).collect()).map_err(|e| e.to_string())
}

fn replaced<T: Copy>(data: &ArrayD<T>, places: &Places, new: &ArrayD<T>) -> Result<ArrayD<T>> {
    let mut out: Vec<T> = data.iter().copied().collect();
    let mut new = new.iter().copied();
    for &start in &places.starts {
        for (slot, part) in out.iter_mut().skip(start).take(places.each).zip(new.by_ref()) {
            *slot = part;
        }
    }
    ArrayD::from_shape_vec(IxDyn(data.shape()), out).map_err(|e| e.to_string())
}
