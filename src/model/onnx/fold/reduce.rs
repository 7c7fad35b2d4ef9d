//! Reductions of constants.

use ndarray::{ArrayD, Axis};

use super::super::call::{Call, Result, axes, axis, floats};
use super::super::value::{Size, Value};
use super::{greater, lesser, shape_of};

/// Any reduction. Where `noop_with_empty_axes` leaves no axis, what is done to every number is done all the same.
pub(super) fn reduce(call: &Call) -> Result<Option<Vec<Value>>> {
    let given = call.input(0)?;
    let rank = shape_of(given).len();
    let over = match call.known(1, "axes")? {
        Some(list) if !list.is_empty() => axes(&list, rank)?,
        _ if call.int("noop_with_empty_axes") == Some(1) => Vec::new(),
        _ => (0..rank).collect(),
    };
    let keep = call.int("keepdims").unwrap_or(1) != 0;
    if let Value::Int(a) = given {
        return integers(call, a, &over, keep).map(|out| Some(vec![Value::int(out)]));
    }
    let x = floats(given, "")?;
    let mut out = x.array.mapv(f64::from);
    match call.op() {
        "ReduceL2" | "ReduceSumSquare" => out.mapv_inplace(|v| v * v),
        "ReduceL1" => out.mapv_inplace(f64::abs),
        _ => {}
    }
    for &at in over.iter().rev() {
        out = out.map_axis(Axis(at), |lane| match call.op() {
            "ReduceProd" => lane.product(),
            "ReduceMean" => lane.sum() / lane.len().max(1) as f64,
            "ReduceMax" => lane.fold(f64::NEG_INFINITY, |m, v| greater(m, *v)),
            "ReduceMin" => lane.fold(f64::INFINITY, |m, v| lesser(m, *v)),
            _ => lane.sum(),
        });
        if keep {
            out = out.insert_axis(Axis(at));
        }
    }
    if call.op() == "ReduceL2" {
        out.mapv_inplace(f64::sqrt);
    }
    Ok(Some(vec![Value::float(call.out(), out.mapv(|v| v as f32))]))
}

fn integers(call: &Call, a: &ArrayD<Size>, over: &[usize], keep: bool) -> Result<ArrayD<Size>> {
    let each = |s: &Size| match call.op() {
        "ReduceSumSquare" => s.mul(*s),
        "ReduceL1" => s.known()?.checked_abs().map(Size::from),
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => Some(*s),
        // A mean or a root of integers is rounded, each runtime in its way.
        _ => None,
    };
    let data = a.iter().map(each).collect::<Option<Vec<_>>>().ok_or("it is not defined for these integers")?;
    let mut out = ArrayD::from_shape_vec(a.raw_dim(), data).map_err(|e| e.to_string())?;
    for &at in over.iter().rev() {
        let folded = out.map_axis(Axis(at), |lane| {
            let mut items = lane.iter().copied();
            let first = items.next();
            items.fold(first, |total, x| match (total?, x, call.op()) {
                (t, x, "ReduceProd") => t.mul(x),
                (t, x, "ReduceSum" | "ReduceSumSquare" | "ReduceL1") => t.add(x),
                (t, x, "ReduceMax") => t.compare(x).map(|o| if o.is_ge() { t } else { x }),
                (t, x, "ReduceMin") => t.compare(x).map(|o| if o.is_le() { t } else { x }),
                _ => None,
            })
        });
        let data = folded.iter().copied().collect::<Option<Vec<_>>>().ok_or("it is not linear in the batch size")?;
        out = ArrayD::from_shape_vec(folded.raw_dim(), data).map_err(|e| e.to_string())?;
        if keep {
            out = out.insert_axis(Axis(at));
        }
    }
    Ok(out)
}

/// `CumSum`: along an axis every number and all before it, or with `exclusive` those before it alone; with `reverse` from the other end.
pub(super) fn running_sum(call: &Call) -> Result<Value> {
    let given = call.input(0)?;
    let at = call.known(1, "axis")?.ok_or("no axis is given")?;
    let &[at] = at.as_slice() else { return Err(format!("its axis is {at:?}: one number is needed")) };
    let at = axis(at, shape_of(given).len())?;
    let (exclusive, reverse) = (call.int("exclusive") == Some(1), call.int("reverse") == Some(1));
    if let Value::Int(a) = given {
        let mut out = (**a).clone();
        let mut whole = true;
        for mut lane in out.lanes_mut(Axis(at)) {
            let mut sum = Some(Size::from(0));
            let mut step = |slot: &mut Size| {
                let (before, own) = (sum, *slot);
                sum = sum.and_then(|sum| sum.add(own));
                *slot = (if exclusive { before } else { sum }).unwrap_or_default();
            };
            if reverse {
                lane.iter_mut().rev().for_each(&mut step);
            } else {
                lane.iter_mut().for_each(&mut step);
            }
            whole &= sum.is_some();
        }
        return if whole { Ok(Value::int(out)) } else { Err("its sums overflow".into()) };
    }
    let mut out = floats(given, "")?.array.mapv(f64::from);
    for mut lane in out.lanes_mut(Axis(at)) {
        let mut sum = 0.0;
        let mut step = |slot: &mut f64| {
            let before = sum;
            sum += *slot;
            *slot = if exclusive { before } else { sum };
        };
        if reverse { lane.iter_mut().rev().for_each(&mut step) } else { lane.iter_mut().for_each(&mut step) }
    }
    Ok(Value::float(call.out(), out.mapv(|v| v as f32)))
}
