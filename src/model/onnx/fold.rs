//! Nodes whose inputs are all constants, computed at import: shape arithmetic on integers, weights on floats.

mod moves;
mod norm;
mod reduce;
mod resize;
mod scatter;

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, Dimension, IxDyn};

use super::call::{Call, Result, floats, integers};
use super::pb::data_type;
use super::shapes;
use super::tensor::{Data, decode, is_float, sixteen};
use super::value::{Const, Size, Value};
use crate::graph::{Dim, Shape};
use crate::registry::ExternalData;

pub(super) use resize::matrices;
pub(super) use scatter::places;

/// How many floats constants may be expanded to in all: 2 GiB, above any network that fits an image classifier.
pub(super) const BUDGET: usize = 1 << 29;

/// The outputs of a node on constants, or `None` if it is not one that is folded.
pub(super) fn fold(call: &Call, budget: &mut usize) -> Result<Option<Vec<Value>>> {
    if let Some(out) = moves::structural(call, budget)? {
        return Ok(Some(out));
    }
    let one = |value: Value| Ok(Some(vec![value]));
    match call.op() {
        "Shape" | "Size" => {
            let dims: Vec<Size> = shape_of(call.input(0)?).iter().map(|&d| Size::from(d as i64)).collect();
            one(shape_value(call, &dims)?)
        }
        "Constant" => constant(call).map(Some),
        "ConstantOfShape" => constant_of_shape(call, budget),
        "Range" => one(range(call, budget)?),
        "Cast" | "CastLike" => {
            charge_input(call, budget)?;
            cast(call)
        }
        "BatchNormalization" => {
            charge_input(call, budget)?;
            norm::batch_norm(call).map(Some)
        }
        "Resize" | "Upsample" => resize::resize(call, budget).map(|value| Some(vec![value])),
        "Equal" | "Less" | "Greater" | "LessOrEqual" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not" => logic(call, budget).map(Some),
        "Where" => choose(call, budget),
        "ScatterND" | "ScatterElements" | "GatherND" => one(scatter::scatter(call, budget)?),
        "IsNaN" => {
            charge_input(call, budget)?;
            let truth = |v: &f32| Size::from(i64::from(v.is_nan()));
            one(Value::int(floats(call.input(0)?, "")?.array.map(truth)))
        }
        "NonZero" => {
            charge_input(call, budget)?;
            let x = floats(call.input(0)?, "")?;
            let hits: Vec<Vec<usize>> =
                x.array.indexed_iter().filter(|(_, v)| **v != 0.0).map(|(i, _)| i.as_array_view().to_vec()).collect();
            charge::<Size>(budget, &[hits.len(), x.array.ndim()])?;
            let shape = IxDyn(&[x.array.ndim(), hits.len()]);
            one(Value::int(ArrayD::from_shape_fn(shape, |i| Size::from(hits[i[1]][i[0]] as i64))))
        }
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Min" | "Max" | "Sum" | "Pow" => arithmetic(call, budget).map(Some),
        "Clip" => {
            charge_input(call, budget)?;
            clip(call).map(Some)
        }
        "CumSum" => {
            charge_input(call, budget)?;
            reduce::running_sum(call).map(|value| Some(vec![value]))
        }
        "Neg" | "Abs" | "Floor" | "Ceil" | "Round" | "Sqrt" | "Exp" | "Log" | "Reciprocal" | "Relu" | "Sigmoid" | "Tanh" | "Sign"
        | "Sin" | "Cos" => {
            charge_input(call, budget)?;
            unary(call).map(Some)
        }
        "ReduceProd" | "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" => {
            charge_input(call, budget)?;
            reduce::reduce(call)
        }
        _ => Ok(None),
    }
}

/// Output of Shape (with `start` and `end`) or Size, for tensors of the network too.
pub(super) fn shape_value(call: &Call, dims: &[Size]) -> Result<Value> {
    if call.op() == "Size" {
        let total = dims.iter().try_fold(Size::from(1), |a, &b| a.mul(b)).ok_or("the size is not linear in the batch")?;
        return Ok(Value::int(ArrayD::from_elem(IxDyn(&[]), total)));
    }
    let rank = dims.len() as i64;
    let bound = |i: i64| if i < 0 { i.saturating_add(rank) } else { i }.clamp(0, rank) as usize;
    let (start, end) = (bound(call.int("start").unwrap_or(0)), bound(call.int("end").unwrap_or(rank)));
    let taken = dims.get(start..end).unwrap_or_default().to_vec();
    Ok(Value::int(vector(taken)))
}

fn vector(items: Vec<Size>) -> ArrayD<Size> {
    ndarray::Array1::from_vec(items).into_dyn()
}

pub(super) fn shape_of(value: &Value) -> &[usize] {
    match value {
        Value::Float(c) => c.array.shape(),
        Value::Int(a) => a.shape(),
        Value::Node(_) | Value::Spread(_) => &[],
    }
}

/// For results of the size of the first input.
fn charge_input(call: &Call, budget: &mut usize) -> Result<()> {
    match call.input(0)? {
        Value::Int(a) => charge::<Size>(budget, a.shape()),
        value => charge::<f32>(budget, shape_of(value)),
    }
}

/// Takes what an array of `T` needs off the budget, before it is made.
pub(super) fn charge<T>(budget: &mut usize, shape: &[usize]) -> Result<()> {
    let each = size_of::<T>().div_ceil(size_of::<f32>());
    let needed = shape.iter().try_fold(each, |a, &b| a.checked_mul(b.max(1))).filter(|n| *n <= *budget);
    *budget -= needed.ok_or_else(|| format!("the constants of this file expand to more than {BUDGET} numbers"))?;
    Ok(())
}

fn broadcast<'a, T: Clone>(x: &'a ArrayD<T>, to: &[usize], budget: &mut usize) -> Result<ArrayViewD<'a, T>> {
    charge::<T>(budget, to)?;
    x.broadcast(IxDyn(to)).ok_or_else(|| format!("{:?} cannot be repeated to {to:?}", x.shape()))
}

/// The common shape of two constants.
fn common(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let to: Vec<Size> = b.iter().map(|&d| Size::from(d as i64)).collect();
    Ok(shapes::expand(&Shape::fixed(a), &to, None)?.at(1))
}

fn constant(call: &Call) -> Result<Vec<Value>> {
    // `value` itself is a tensor and is read where the file's folder is known.
    Ok(vec![if let Some(x) = call.single("value_float") {
        Value::float(call.out(), ArrayD::from_elem(IxDyn(&[]), x))
    } else if let Some(x) = call.floats("value_floats") {
        Value::float(call.out(), ndarray::Array1::from_vec(x.to_vec()).into_dyn())
    } else if let Some(x) = call.int("value_int") {
        Value::int(ArrayD::from_elem(IxDyn(&[]), Size::from(x)))
    } else if let Some(x) = call.ints("value_ints") {
        Value::int(vector(x.iter().map(|&i| Size::from(i)).collect()))
    } else {
        return Err("it holds neither numbers nor a tensor of numbers".into());
    }])
}

fn constant_of_shape(call: &Call, budget: &mut usize) -> Result<Option<Vec<Value>>> {
    let dims = integers(call.input(0)?)?;
    let dims: Option<Vec<usize>> = dims.iter().map(|s| s.known().and_then(|d| usize::try_from(d).ok())).collect();
    let dims = dims.ok_or("the shape is negative or depends on the batch")?;
    shapes::few_axes(dims.len())?;
    let value = call.tensor("value").map(|t| decode(t.clone(), &ExternalData::new())).transpose().map_err(|e| e.to_string())?;
    Ok(Some(vec![match value {
        Some(Data::Int(a)) => {
            charge::<Size>(budget, &dims)?;
            Value::int(ArrayD::from_elem(dims, Size::from(a.first().copied().unwrap_or(0))))
        }
        other => {
            charge::<f32>(budget, &dims)?;
            let fill = if let Some(Data::Float(a)) = other { a.first().copied().unwrap_or(0.0) } else { 0.0 };
            Value::float(call.out(), ArrayD::from_elem(dims, fill))
        }
    }]))
}

fn range(call: &Call, budget: &mut usize) -> Result<Value> {
    let number = |i: usize| call.scalar(i, "start, limit, delta")?.ok_or_else(|| format!("input {i} is missing"));
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    let count = ((limit - start) / delta).ceil();
    if !count.is_finite() {
        return Err(format!("from {start} to {limit} in steps of {delta} is no number of entries"));
    }
    let count = count.max(0.0) as usize;
    charge::<Size>(budget, &[count])?;
    Ok(if matches!(call.input(0)?, Value::Float(_)) {
        Value::float(call.out(), ndarray::Array1::from_shape_fn(count, |i| (start + delta * i as f64) as f32).into_dyn())
    } else {
        Value::int(vector((0..count).map(|i| Size::from((start + delta * i as f64) as i64)).collect()))
    })
}

#[expect(clippy::float_cmp, reason = "whether a number is held exactly is asked")]
fn cast(call: &Call) -> Result<Option<Vec<Value>>> {
    let to = call.cast_to()?;
    let x = call.input(0)?;
    let rounded = |c: Const| match sixteen(to) {
        // One that is held exactly stays the initializer that it is.
        Some(kind) if c.array.iter().any(|v| kind.round(f64::from(*v)) as f32 != *v) => {
            Value::float(call.out(), c.array.mapv(|v| kind.round(f64::from(v)) as f32))
        }
        _ => Value::Float(c),
    };
    Ok(Some(vec![match x {
        Value::Float(c) if is_float(to) => rounded(c.clone()),
        // A size that depends on the batch stays symbolic whatever its type; it never enters the network.
        Value::Int(a) if is_float(to) && a.iter().all(|s| s.known().is_some()) => rounded(floats(x, call.out())?),
        Value::Float(c) if to == data_type::BOOL => Value::int(c.array.mapv(|v| Size::from(i64::from(v != 0.0)))),
        Value::Float(c) => Value::int(c.array.mapv(|v| Size::from(v as i64))),
        Value::Int(a) if to == data_type::BOOL => {
            let truth = |s: &Size| s.compare(Size::from(0)).map(|o| Size::from(i64::from(o.is_ne()))).ok_or("it depends on the batch size");
            let data = a.iter().map(truth).collect::<std::result::Result<Vec<_>, _>>()?;
            Value::int(ArrayD::from_shape_vec(a.raw_dim(), data).map_err(|e| e.to_string())?)
        }
        Value::Int(a) => Value::Int(Arc::clone(a)),
        Value::Node(_) | Value::Spread(_) => return Ok(None),
    }]))
}

fn zip_int(a: &Value, b: &Value, budget: &mut usize, f: impl Fn(Size, Size) -> Option<Size>) -> Result<Value> {
    let (a, b) = (integers(a)?, integers(b)?);
    let to = common(a.shape(), b.shape())?;
    let (a, b) = (broadcast(&a, &to, budget)?, broadcast(&b, &to, budget)?);
    let data = a.iter().zip(b.iter()).map(|(x, y)| f(*x, *y)).collect::<Option<Vec<_>>>();
    let data = data.ok_or("shape arithmetic overflows, divides by 0 or is not linear in the batch size")?;
    ArrayD::from_shape_vec(IxDyn(&to), data).map(Value::int).map_err(|e| e.to_string())
}

fn zip_float(a: &Value, b: &Value, name: &str, budget: &mut usize, f: impl Fn(f32, f32) -> f32) -> Result<Value> {
    let (a, b) = (floats(a, name)?, floats(b, name)?);
    let to = common(a.array.shape(), b.array.shape())?;
    let (a, b) = (broadcast(&a.array, &to, budget)?, broadcast(&b.array, &to, budget)?);
    let data: Vec<f32> = a.iter().zip(b.iter()).map(|(x, y)| f(*x, *y)).collect();
    ArrayD::from_shape_vec(IxDyn(&to), data).map(|array| Value::float(name, array)).map_err(|e| e.to_string())
}

/// The remainder with the sign of the dividend (`fmod`, as in C) or of the divisor (as in Python).
fn remainder(a: i64, b: i64, fmod: bool) -> Option<i64> {
    let rest = a.checked_rem(b)?;
    Some(if fmod || rest == 0 || (rest < 0) == (b < 0) { rest } else { rest + b })
}

fn float_remainder(a: f32, b: f32, fmod: bool) -> f32 {
    let rest = a % b;
    if fmod || rest == 0.0 || (rest < 0.0) == (b < 0.0) { rest } else { rest + b }
}

/// The greater one; NaN where either is NaN, which `f32::max` would drop.
fn greater<T: PartialOrd + Copy>(a: T, b: T) -> T {
    if a > b || a.partial_cmp(&a).is_none() { a } else { b }
}

/// The lesser one; NaN where either is NaN.
fn lesser<T: PartialOrd + Copy>(a: T, b: T) -> T {
    if a < b || a.partial_cmp(&a).is_none() { a } else { b }
}

fn arithmetic(call: &Call, budget: &mut usize) -> Result<Vec<Value>> {
    let fmod = call.int("fmod") == Some(1);
    let mut total = call.input(0)?.clone();
    for i in 1..call.inputs.len() {
        let b = call.input(i)?;
        let symbolic = |v: &Value| matches!(v, Value::Int(a) if a.iter().any(|s| s.known().is_none()));
        let whole = matches!((&total, b), (Value::Int(_), Value::Int(_))) || symbolic(&total) || symbolic(b);
        total = if whole {
            zip_int(&total, b, budget, |x, y| match call.op() {
                "Add" | "Sum" => x.add(y),
                "Sub" => x.sub(y),
                "Mul" => x.mul(y),
                "Div" => x.div(y),
                "Mod" => remainder(x.known()?, y.known()?, fmod).map(Size::from),
                "Min" => x.compare(y).map(|o| if o.is_le() { x } else { y }),
                "Max" => x.compare(y).map(|o| if o.is_ge() { x } else { y }),
                _ => x.known()?.checked_pow(u32::try_from(y.known()?).ok()?).map(Size::from),
            })?
        } else {
            zip_float(&total, b, call.out(), budget, |x, y| match call.op() {
                "Add" | "Sum" => x + y,
                "Sub" => x - y,
                "Mul" => x * y,
                "Div" => x / y,
                "Mod" => float_remainder(x, y, fmod),
                "Min" => lesser(x, y),
                "Max" => greater(x, y),
                _ => x.powf(y),
            })?
        };
    }
    Ok(vec![total])
}

#[expect(clippy::float_cmp, reason = "that is what the operator asks")]
fn logic(call: &Call, budget: &mut usize) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let truth = |b: bool| Size::from(i64::from(b));
    if call.op() == "Not" {
        return Ok(vec![zip_int(x, x, budget, |a, _| Some(truth(a.known()? == 0)))?]);
    }
    let y = call.input(1)?;
    if let (Value::Float(_), _) | (_, Value::Float(_)) = (x, y) {
        let bits = zip_float(x, y, "", budget, |a, b| {
            f32::from(match call.op() {
                "Equal" => a == b,
                "Less" => a < b,
                "Greater" => a > b,
                "LessOrEqual" => a <= b,
                _ => a >= b,
            })
        })?;
        return Ok(vec![Value::Int(integers(&bits)?)]);
    }
    let out = zip_int(x, y, budget, |a, b| {
        Some(truth(match call.op() {
            "Equal" => a == b || a.compare(b)?.is_eq(),
            "Less" => a.compare(b)?.is_lt(),
            "Greater" => a.compare(b)?.is_gt(),
            "LessOrEqual" => a.compare(b)?.is_le(),
            "GreaterOrEqual" => a.compare(b)?.is_ge(),
            "And" => a.known()? != 0 && b.known()? != 0,
            "Or" => a.known()? != 0 || b.known()? != 0,
            _ => (a.known()? != 0) != (b.known()? != 0),
        }))
    })?;
    Ok(vec![out])
}

fn choose(call: &Call, budget: &mut usize) -> Result<Option<Vec<Value>>> {
    let condition = integers(call.input(0)?)?;
    let (a, b) = (call.input(1)?, call.input(2)?);
    let to = common(condition.shape(), &common(shape_of(a), shape_of(b))?)?;
    let yes = |s: &Size| s.known().map(|x| x != 0).ok_or("the condition depends on the batch size");
    let condition = broadcast(&condition, &to, budget)?.iter().map(yes).collect::<std::result::Result<Vec<_>, _>>()?;
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        let (a, b) = (broadcast(a, &to, budget)?, broadcast(b, &to, budget)?);
        let data = condition.iter().zip(a.iter().zip(b.iter())).map(|(c, (x, y))| if *c { *x } else { *y }).collect();
        return ArrayD::from_shape_vec(IxDyn(&to), data).map(|v| Some(vec![Value::int(v)])).map_err(|e| e.to_string());
    }
    let (a, b) = (floats(a, "")?, floats(b, "")?);
    let (a, b) = (broadcast(&a.array, &to, budget)?, broadcast(&b.array, &to, budget)?);
    let data = condition.iter().zip(a.iter().zip(b.iter())).map(|(c, (x, y))| if *c { *x } else { *y }).collect();
    ArrayD::from_shape_vec(IxDyn(&to), data).map(|v| Some(vec![Value::float(call.out(), v)])).map_err(|e| e.to_string())
}

/// Every number brought between two bounds. Sizes stay whole, and may depend on the batch where the bound is passed or kept at every size.
fn clip(call: &Call) -> Result<Vec<Value>> {
    let (least, most) = (call.scalar(1, "min")?, call.scalar(2, "max")?);
    let value = match call.input(0)? {
        Value::Int(a) => {
            let bound = |bound: Option<f64>| bound.map(|bound| Size::from(bound as i64));
            let each = |x: Size| {
                let x = bound(least).map_or(Some(x), |least| x.compare(least).map(|o| if o.is_ge() { x } else { least }))?;
                bound(most).map_or(Some(x), |most| x.compare(most).map(|o| if o.is_le() { x } else { most }))
            };
            let data =
                a.iter().map(|x| each(*x)).collect::<Option<Vec<_>>>().ok_or("whether a size is within its bounds depends on the batch")?;
            Value::int(ArrayD::from_shape_vec(a.raw_dim(), data).map_err(|e| e.to_string())?)
        }
        value => {
            let (least, most) = (least.map(|x| x as f32), most.map(|x| x as f32));
            let above = |v: f32| least.map_or(v, |least| greater(v, least));
            let x = floats(value, "")?;
            Value::float(call.out(), x.array.mapv(|v| most.map_or(above(v), |most| lesser(above(v), most))))
        }
    };
    Ok(vec![value])
}

fn unary(call: &Call) -> Result<Vec<Value>> {
    Ok(vec![match call.input(0)? {
        Value::Int(a) => {
            let each = |s: &Size| match call.op() {
                "Neg" => s.neg(),
                "Abs" => s.known()?.checked_abs().map(Size::from),
                // A size that was divided and cast: whole already.
                "Floor" | "Ceil" | "Round" => Some(*s),
                "Sqrt" => s.known().filter(|x| *x >= 0).map(|x| Size::from(x.isqrt())),
                "Relu" => s.known().map(|x| Size::from(x.max(0))),
                "Sign" => s.known().map(|x| Size::from(x.signum())),
                _ => None,
            };
            let data = a.iter().map(each).collect::<Option<Vec<_>>>().ok_or("it is not defined for these integers")?;
            Value::int(ArrayD::from_shape_vec(a.raw_dim(), data).map_err(|e| e.to_string())?)
        }
        value => {
            let x = floats(value, "")?;
            let each = |v: f32| match call.op() {
                "Neg" => -v,
                "Abs" => v.abs(),
                "Floor" => v.floor(),
                "Ceil" => v.ceil(),
                "Round" => v.round_ties_even(),
                "Sqrt" => v.sqrt(),
                "Exp" => v.exp(),
                "Log" => v.ln(),
                "Reciprocal" => v.recip(),
                "Relu" => greater(v, 0.0),
                "Sigmoid" => (1.0 + (-v).exp()).recip(),
                "Tanh" => v.tanh(),
                "Sin" => v.sin(),
                "Cos" => v.cos(),
                _ => f32::from(v > 0.0) - f32::from(v < 0.0),
            };
            Value::float(call.out(), x.array.mapv(each))
        }
    }])
}

/// The dimensions of a tensor of the network as integers.
pub(super) fn sizes(shape: &Shape) -> Vec<Size> {
    shape.0.iter().map(|&d: &Dim| Size::from(d)).collect()
}
