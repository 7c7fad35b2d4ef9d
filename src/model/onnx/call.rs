//! One node of the file with its inputs looked up: what folding and lowering read.

use std::sync::Arc;

use ndarray::ArrayD;

use super::pb::{NodeProto, TensorProto};
use super::value::{Const, Size, Value};

/// A reason, without the node it is about.
pub(super) type Result<T> = std::result::Result<T, String>;

pub(super) struct Call<'a> {
    pub node: &'a NodeProto,
    pub inputs: Vec<Option<Value>>,
    /// Version of the default operator set.
    pub opset: i64,
    /// The element type of the second input, where it is known.
    pub like: Option<i32>,
}

impl Call<'_> {
    pub fn op(&self) -> &str {
        &self.node.op_type
    }

    /// The name of the first output.
    pub fn out(&self) -> &str {
        self.node.output.first().map_or("", String::as_str)
    }

    pub fn output_name(&self, i: usize) -> &str {
        self.node.output.get(i).map_or("", String::as_str)
    }

    /// The element type that Cast or `CastLike` turns into.
    pub fn cast_to(&self) -> Result<i32> {
        if self.op() == "CastLike" {
            return self.like.ok_or_else(|| "the type of its second input is not known".to_owned());
        }
        Ok(self.int("to").map_or(super::pb::data_type::FLOAT, |to| i32::try_from(to).unwrap_or(0)))
    }

    /// An input that must be there.
    pub fn input(&self, i: usize) -> Result<&Value> {
        self.optional(i).ok_or_else(|| format!("input {i} is missing"))
    }

    /// An input that may be left out.
    pub fn optional(&self, i: usize) -> Option<&Value> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    // Attributes are of the right type (`attributes`). One that is there and holds nothing is the type's own nothing, as protobuf has it: 0, or empty.

    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|a| a.i.unwrap_or(0))
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        self.single(name).map(widen)
    }

    /// [`Call::float`] as the file has it.
    pub fn single(&self, name: &str) -> Option<f32> {
        self.attribute(name).map(|a| a.f.unwrap_or(0.0))
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|a| a.floats.as_slice())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(|a| std::str::from_utf8(a.s.as_deref().unwrap_or_default()).ok())
    }

    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attribute(name).and_then(|a| a.t.as_ref())
    }

    fn attribute(&self, name: &str) -> Option<&super::pb::AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    /// Integers from input `i` (newer operator sets) or the attribute (older ones).
    pub fn sizes(&self, i: usize, attribute: &str) -> Result<Option<Vec<Size>>> {
        match self.optional(i) {
            Some(value) => integers(value).map(|a| Some(a.iter().copied().collect())),
            None => Ok(self.ints(attribute).map(|v| v.iter().map(|&x| Size::from(x)).collect())),
        }
    }

    /// The same, where nothing may depend on the batch.
    pub fn known(&self, i: usize, attribute: &str) -> Result<Option<Vec<i64>>> {
        let Some(sizes) = self.sizes(i, attribute)? else { return Ok(None) };
        sizes.into_iter().map(|s| s.known().ok_or_else(|| format!("`{attribute}` depends on the batch"))).collect::<Result<_>>().map(Some)
    }

    /// The condition of an `If`: one truth value that is known.
    pub fn truth(&self) -> Result<bool> {
        match self.input(0)? {
            Value::Int(a) if a.len() == 1 => {
                let truth = a.iter().next().and_then(|size| size.known());
                truth.map(|truth| truth != 0).ok_or_else(|| "its condition depends on the batch".to_owned())
            }
            Value::Node(_) | Value::Spread(_) => Err("its condition depends on the image".into()),
            _ => Err("its condition is not one truth value".into()),
        }
    }

    /// The only number in input `i` or the attribute.
    pub fn scalar(&self, i: usize, attribute: &str) -> Result<Option<f64>> {
        match self.optional(i) {
            Some(Value::Float(c)) => match c.array.iter().next() {
                Some(x) if c.array.len() == 1 => Ok(Some(widen(*x))),
                _ => Err(format!("`{attribute}` must be one number")),
            },
            Some(Value::Int(a)) => match a.iter().next().and_then(|s| s.known()) {
                Some(x) if a.len() == 1 => Ok(Some(x as f64)),
                _ => Err(format!("`{attribute}` must be one number")),
            },
            Some(Value::Node(_) | Value::Spread(_)) => Err(format!("`{attribute}` must be a constant")),
            None => Ok(self.float(attribute)),
        }
    }
}

/// An f32 of the file as the shortest f64 that reads the same (`0.1f32` is 0.1).
pub(super) fn widen(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

pub(super) fn integers(value: &Value) -> Result<Arc<ArrayD<Size>>> {
    match value {
        Value::Int(a) => Ok(Arc::clone(a)),
        Value::Float(c) => {
            let whole = |x: &f32| if x.fract() == 0.0 { Ok(Size::from(*x as i64)) } else { Err(format!("{x} is not a whole number")) };
            let data = c.array.iter().map(whole).collect::<Result<Vec<_>>>()?;
            ArrayD::from_shape_vec(c.array.raw_dim(), data).map(Arc::new).map_err(|e| e.to_string())
        }
        Value::Node(_) => Err("a size or index depends on the contents of the input".into()),
        Value::Spread(_) => Err("a size or index is repeated along the batch".into()),
    }
}

/// A constant as floats.
pub(super) fn floats(value: &Value, name: &str) -> Result<Const> {
    match value {
        Value::Float(c) => Ok(c.clone()),
        Value::Int(a) => {
            let data = a.iter().map(|s| s.known().map(|x| x as f32)).collect::<Option<Vec<_>>>();
            let data = data.ok_or("a number computed from the batch size enters the network")?;
            let array = ArrayD::from_shape_vec(a.raw_dim(), data).map_err(|e| e.to_string())?;
            Ok(Const { name: name.into(), array: Arc::new(array) })
        }
        Value::Node(_) | Value::Spread(_) => Err("it must be a constant".into()),
    }
}

/// An axis counted from the end if negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    from_start
        .and_then(|a| usize::try_from(a).ok())
        .filter(|a| *a < rank)
        .ok_or_else(|| format!("there is no axis {axis} in a tensor of {rank} axes"))
}

/// Several axes, ascending, each once.
pub(super) fn axes(given: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut out = given.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
    out.sort_unstable();
    if out.windows(2).any(|w| w[0] == w[1]) {
        return Err(format!("the axes {given:?} name one twice"));
    }
    Ok(out)
}
