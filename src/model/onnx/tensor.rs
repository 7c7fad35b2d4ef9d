//! Tensors as the file stores them, checked before they are believed.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

use super::OnnxError;
use super::pb::{TensorProto, data_type};
use super::shapes::few_axes;
use super::value::Size;
use crate::graph::Sixteen;
use crate::registry::{ExternalData, MAX_BYTES};

/// What a tensor of the file holds: numbers of the network, or numbers of shape arithmetic.
#[derive(Debug)]
pub(super) enum Data {
    Float(ArrayD<f32>),
    Int(ArrayD<i64>),
}

/// What the tensors of one file may still take. Any number of them can name the same bytes of a file beside it, so that the sizes of files bound
/// nothing.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes of files beside the model.
    outside: usize,
    /// Bytes of memory.
    memory: usize,
}

/// How often the bytes beside a model may be read: some weights are the same in several places of a network.
const AGAIN: usize = 4;

/// Memory for what is read: twice the largest checkpoint, whose floats may be of two bytes.
const MEMORY: usize = 2 * MAX_BYTES as usize;

impl Room {
    pub fn external(external: &ExternalData) -> Self {
        let held = external.values().fold(0, |sum: usize, bytes| sum.saturating_add(bytes.len()));
        Self { outside: held.saturating_mul(AGAIN), memory: MEMORY }
    }

    /// Takes what a tensor of so many numbers needs, before they are made.
    fn take(&mut self, name: &str, count: usize, kind: i32, outside: usize) -> Result<(), OnnxError> {
        let fail = |what: String| OnnxError::TooMuch { name: name.to_owned(), what };
        // Integers become sizes, which may depend on the batch.
        let each = if is_float(kind) { size_of::<f32>() } else { size_of::<i64>() + size_of::<Size>() };
        let twice = || format!("the same bytes of the files beside it more than {AGAIN} times over");
        self.outside = self.outside.checked_sub(outside).ok_or_else(|| fail(twice()))?;
        let left = count.checked_mul(each).and_then(|needed| self.memory.checked_sub(needed));
        self.memory = left.ok_or_else(|| fail(format!("more than {} GiB of memory", MEMORY >> 30)))?;
        Ok(())
    }
}

/// Reads one tensor alone; `beside` holds the files that the model keeps weights in.
pub(super) fn decode(proto: TensorProto, external: &ExternalData) -> Result<Data, OnnxError> {
    decode_within(proto, external, &mut Room::external(external))
}

/// [`decode`] for one of many.
pub(super) fn decode_within(proto: TensorProto, external: &ExternalData, room: &mut Room) -> Result<Data, OnnxError> {
    let name = proto.name.clone();
    let fail = |reason: String| OnnxError::Tensor { name: name.clone(), reason };
    let shape = dims(&proto.dims).map_err(fail)?;
    let count = shape.iter().product();
    let kind = proto.data_type.unwrap_or(0);
    let width = width(kind).ok_or_else(|| fail(format!("its element type ({kind}) is not supported; use floats")))?;
    let outside = proto.data_location == Some(1);
    let raw = if outside { Some(stored_outside(&proto, external, count, width)?) } else { proto.raw_data.as_deref() };
    let data = match raw {
        Some(bytes) if Some(bytes.len()) == usize::checked_mul(count, width) => {
            room.take(&name, count, kind, if outside { bytes.len() } else { 0 })?;
            from_raw(kind, bytes)
        }
        Some(bytes) => {
            return Err(fail(format!("its shape {shape:?} needs {count} elements of {width} bytes, it has {} bytes", bytes.len())));
        }
        None => {
            let held = proto.float_data.len().max(proto.double_data.len()).max(proto.int32_data.len());
            room.take(&name, held.max(proto.int64_data.len()).max(proto.uint64_data.len()), kind, 0)?;
            from_fields(kind, proto.float_data, proto.double_data, &proto.int32_data, proto.int64_data, &proto.uint64_data)
        }
    };
    let shape = IxDyn(&shape);
    let held = match &data {
        Numbers::Float(v) => v.len(),
        Numbers::Int(v) => v.len(),
    };
    let wrong = |_| fail(format!("its shape needs {count} elements, it has {held}"));
    Ok(match data {
        Numbers::Float(v) => Data::Float(ArrayD::from_shape_vec(shape, v).map_err(wrong)?),
        Numbers::Int(v) => Data::Int(ArrayD::from_shape_vec(shape, v).map_err(wrong)?),
    })
}

enum Numbers {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

/// Dimensions as sizes, with a product that does not overflow.
pub(super) fn dims(dims: &[i64]) -> Result<Vec<usize>, String> {
    few_axes(dims.len())?;
    let shape: Vec<usize> =
        dims.iter().map(|&d| usize::try_from(d).map_err(|_| format!("dimension {d} is negative"))).collect::<Result<_, _>>()?;
    // Overflow is judged without the zeros, as ndarray does.
    let product = shape.iter().filter(|d| **d > 0).try_fold(1usize, |a, &b| a.checked_mul(b)).filter(|p| isize::try_from(*p).is_ok());
    if product.is_none() { Err(format!("the number of elements of {shape:?} overflows")) } else { Ok(shape) }
}

fn width(kind: i32) -> Option<usize> {
    Some(match kind {
        data_type::UINT8 | data_type::INT8 | data_type::BOOL => 1,
        data_type::UINT16 | data_type::INT16 | data_type::FLOAT16 | data_type::BFLOAT16 => 2,
        data_type::FLOAT | data_type::INT32 | data_type::UINT32 => 4,
        data_type::DOUBLE | data_type::INT64 | data_type::UINT64 => 8,
        _ => return None,
    })
}

/// Whether elements of this type are numbers of a network.
pub(super) fn is_float(kind: i32) -> bool {
    matches!(kind, data_type::FLOAT | data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE)
}

/// The float of two bytes that elements of this type are, if they are.
pub(super) fn sixteen(kind: i32) -> Option<Sixteen> {
    match kind {
        data_type::FLOAT16 => Some(Sixteen::Float16),
        data_type::BFLOAT16 => Some(Sixteen::Bfloat16),
        _ => None,
    }
}

fn from_raw(kind: i32, bytes: &[u8]) -> Numbers {
    fn each<const W: usize, T>(bytes: &[u8], read: impl Fn([u8; W]) -> T) -> Vec<T> {
        bytes.as_chunks::<W>().0.iter().map(|chunk| read(*chunk)).collect()
    }
    match kind {
        data_type::FLOAT => Numbers::Float(each(bytes, f32::from_le_bytes)),
        data_type::DOUBLE => Numbers::Float(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        data_type::FLOAT16 => Numbers::Float(each(bytes, |b| f16::from_le_bytes(b).to_f32())),
        data_type::BFLOAT16 => Numbers::Float(each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        data_type::UINT8 | data_type::BOOL => Numbers::Int(each(bytes, |[b]: [u8; 1]| i64::from(b))),
        data_type::INT8 => Numbers::Int(each(bytes, |b| i64::from(i8::from_le_bytes(b)))),
        data_type::UINT16 => Numbers::Int(each(bytes, |b| i64::from(u16::from_le_bytes(b)))),
        data_type::INT16 => Numbers::Int(each(bytes, |b| i64::from(i16::from_le_bytes(b)))),
        data_type::INT32 => Numbers::Int(each(bytes, |b| i64::from(i32::from_le_bytes(b)))),
        data_type::UINT32 => Numbers::Int(each(bytes, |b| i64::from(u32::from_le_bytes(b)))),
        data_type::UINT64 => Numbers::Int(each(bytes, |b| u64::from_le_bytes(b) as i64)),
        _ => Numbers::Int(each(bytes, i64::from_le_bytes)),
    }
}

fn from_fields(kind: i32, floats: Vec<f32>, doubles: Vec<f64>, int32: &[i32], int64: Vec<i64>, uint64: &[u64]) -> Numbers {
    match kind {
        data_type::FLOAT => Numbers::Float(floats),
        data_type::DOUBLE => Numbers::Float(doubles.into_iter().map(|x| x as f32).collect()),
        data_type::FLOAT16 => Numbers::Float(int32.iter().map(|&x| f16::from_bits(x as u16).to_f32()).collect()),
        data_type::BFLOAT16 => Numbers::Float(int32.iter().map(|&x| bf16::from_bits(x as u16).to_f32()).collect()),
        data_type::INT64 => Numbers::Int(int64),
        data_type::UINT32 | data_type::UINT64 => Numbers::Int(uint64.iter().map(|&x| x as i64).collect()),
        _ => Numbers::Int(int32.iter().map(|&x| i64::from(x)).collect()),
    }
}

/// The bytes of a tensor kept in a file beside the model.
fn stored_outside<'a>(proto: &TensorProto, external: &'a ExternalData, count: usize, width: usize) -> Result<&'a [u8], OnnxError> {
    let fail = |reason: String| OnnxError::ExternalData { name: proto.name.clone(), reason };
    let entry = |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| -> Result<Option<usize>, OnnxError> {
        entry(key).map(|v| v.parse().map_err(|_| fail(format!("`{key}` is `{v}`, not a number of bytes")))).transpose()
    };
    let location = entry("location").ok_or_else(|| fail("no location is given".into()))?;
    let file = external.get(location).ok_or_else(|| fail(format!("`{location}` was not read")))?;
    let offset = number("offset")?.unwrap_or(0);
    let needed = count.checked_mul(width).ok_or_else(|| fail("its size overflows".into()))?;
    let length = number("length")?.unwrap_or(needed);
    if length != needed {
        return Err(fail(format!("its shape needs {needed} bytes, `length` says {length}")));
    }
    let bytes = offset.checked_add(length).and_then(|end| file.get(offset..end));
    bytes.ok_or_else(|| fail(format!("bytes {offset}..+{length} do not lie in `{location}`, which has {}", file.len())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::build::{integers, tensor};
    use super::*;

    /// Four bytes for a float, 24 for an integer, each tensor for itself.
    #[test]
    fn memory_is_taken_before_it_is_used() {
        let none = ExternalData::new();
        let mut room = Room { outside: 0, memory: 2 * 40 + 24 };
        for name in ["a", "b"] {
            decode_within(tensor(name, &[2, 5], &[1.0; 10]), &none, &mut room).expect("it fits");
        }
        decode_within(integers("i", &[7]), &none, &mut room).expect("it fits");
        assert_eq!(room.memory, 0);
        for more in [tensor("c", &[1], &[1.0]), integers("d", &[1])] {
            let told = decode_within(more, &none, &mut room).expect_err("full").to_string();
            assert!(told.contains("take more than 16 GiB of memory"), "{told}");
        }
        decode_within(tensor("nothing", &[0], &[]), &none, &mut room).expect("it fits");
    }
}
