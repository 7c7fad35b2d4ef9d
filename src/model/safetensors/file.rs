//! Safetensors files, read once from beginning to end: what a header says is checked before any number is read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use ndarray::{ArrayD, IxDyn};
use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::SafetensorsError;
use crate::registry::{Contents, Index};

/// Longest header that is read, in bytes: about 100,000 tensors.
pub(super) const MAX_HEADER: usize = 16 << 20;

/// Bytes of a tensor that are in memory beside its numbers.
const PIECE: usize = 1 << 16;

/// The tensors of a checkpoint by name, from one file or several.
#[derive(Default)]
pub(crate) struct Tensors {
    pub(super) by_name: BTreeMap<String, Tensor>,
    /// The free text in the headers.
    pub(super) metadata: BTreeMap<String, String>,
}

/// One of them.
#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    data: Data,
}

#[derive(Clone)]
enum Data {
    /// Of what is floating point: the numbers.
    Numbers(Vec<f32>),
    /// Of all else.
    Bytes(Vec<u8>),
}

impl Tensors {
    /// Those of a checkpoint in memory.
    pub(crate) fn of(contents: &Contents) -> Result<Self, SafetensorsError> {
        let index = Index::of(&contents.bytes);
        let mut all = Self::default();
        match &index {
            None => all.add(None, None, contents.bytes.len() as u64, &mut contents.bytes.as_slice())?,
            Some(index) => {
                for (shard, bytes) in &contents.external {
                    all.add(Some(shard), Some(index), bytes.len() as u64, &mut bytes.as_slice())?;
                }
            }
        }
        all.complete(index.as_ref())?;
        Ok(all)
    }

    /// Reads one file of `length` bytes: the only one, or the one that `index` calls `shard`.
    pub(crate) fn add(
        &mut self,
        shard: Option<&str>,
        index: Option<&Index>,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), SafetensorsError> {
        let Self { by_name, metadata } = read(length, bytes).map_err(|error| match shard {
            Some(shard) => in_shard(shard, &error),
            None => error,
        })?;
        if let (Some(shard), Some(index)) = (shard, index) {
            for name in by_name.keys() {
                // A tensor that the index does not look for here would be of another version.
                match index.weight_map.get(name) {
                    Some(place) if place == shard => {}
                    Some(place) => return Err(in_shard(shard, &format!("`{name}` is here, the index has it in {place}"))),
                    None => return Err(in_shard(shard, &format!("`{name}` is not in the index"))),
                }
            }
        }
        self.by_name.extend(by_name);
        self.metadata.extend(metadata);
        Ok(())
    }

    /// An error where a tensor is missing that the index names.
    pub(crate) fn complete(&self, index: Option<&Index>) -> Result<(), SafetensorsError> {
        let missing = index.and_then(|index| index.weight_map.iter().find(|(name, _)| !self.by_name.contains_key(*name)));
        missing.map_or(Ok(()), |(name, shard)| Err(in_shard(shard, &format!("`{name}` is not here, the index says so"))))
    }
}

fn in_shard(shard: &str, reason: &dyn fmt::Display) -> SafetensorsError {
    SafetensorsError::Malformed(format!("{shard}: {reason}"))
}

impl Tensor {
    /// A tensor of these numbers.
    pub(super) fn of(array: &ArrayD<f32>) -> Self {
        Self { dtype: Dtype::F32, shape: array.shape().to_vec(), data: Data::Numbers(array.iter().copied().collect()) }
    }

    /// Its numbers, as four-byte floats; an error where they are not floating point.
    pub(super) fn numbers(self, name: &str) -> Result<ArrayD<f32>, SafetensorsError> {
        match self.data {
            Data::Numbers(values) => {
                ArrayD::from_shape_vec(IxDyn(&self.shape), values).map_err(|e| SafetensorsError::Malformed(format!("`{name}`: {e}")))
            }
            Data::Bytes(_) => Err(SafetensorsError::Dtype { name: name.into(), dtype: self.dtype.to_string() }),
        }
    }

    /// Its values, where they are numbers or truth values.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f64>, SafetensorsError> {
        Ok(match (&self.data, self.dtype) {
            (Data::Numbers(values), _) => values.iter().copied().map(f64::from).collect(),
            (Data::Bytes(data), Dtype::I64) => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
            (Data::Bytes(data), Dtype::I32) => data.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
            (Data::Bytes(data), Dtype::BOOL | Dtype::U8) => data.iter().map(|b| f64::from(*b)).collect(),
            (Data::Bytes(_), dtype) => return Err(SafetensorsError::Dtype { name: name.into(), dtype: dtype.to_string() }),
        })
    }
}

/// Reads one file.
fn read(length: u64, bytes: &mut dyn Read) -> Result<Tensors, SafetensorsError> {
    let Header { tensors, metadata } = header(length, bytes)?;
    let mut all = Tensors { by_name: BTreeMap::new(), metadata };
    for (name, Entry { dtype, shape, data_offsets: (start, end) }) in tensors {
        let data = if matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16) {
            Data::Numbers(floats(dtype, end - start, bytes)?)
        } else {
            let mut data = Vec::new();
            bytes.take(end - start).read_to_end(&mut data)?;
            Data::Bytes(data)
        };
        let shape = shape.into_iter().map(|side| usize::try_from(side).unwrap_or(usize::MAX)).collect();
        all.by_name.insert(name, Tensor { dtype, shape, data });
    }
    Ok(all)
}

/// The numbers in the next `length` bytes.
fn floats(dtype: Dtype, length: u64, bytes: &mut dyn Read) -> Result<Vec<f32>, SafetensorsError> {
    let width = dtype.bitsize() / 8;
    let mut values = Vec::new();
    let count = usize::try_from(length).unwrap_or(usize::MAX) / width;
    values.try_reserve_exact(count).map_err(|_| std::io::Error::from(std::io::ErrorKind::OutOfMemory))?;
    let mut piece = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let now = piece.get_mut(..PIECE.min(usize::try_from(left).unwrap_or(PIECE))).unwrap_or_default();
        bytes.read_exact(now)?;
        left -= now.len() as u64;
        match dtype {
            Dtype::F32 => values.extend(now.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Dtype::F64 => values.extend(now.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            Dtype::F16 => values.extend(now.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())),
            _ => values.extend(now.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32())),
        }
    }
    Ok(values)
}

/// What a header says, held against the `length` of its file: every byte of data belongs to one tensor. Tensors are in the order of their data.
fn header(length: u64, bytes: &mut dyn Read) -> Result<Header, SafetensorsError> {
    let malformed = SafetensorsError::Malformed;
    let mut said = [0; 8];
    let rest = length.checked_sub(8).ok_or_else(|| malformed("shorter than the length of its header".into()))?;
    bytes.read_exact(&mut said)?;
    let said = u64::from_le_bytes(said);
    let size = usize::try_from(said).unwrap_or(usize::MAX);
    if size > MAX_HEADER {
        return Err(malformed(format!("it claims a header of {said} bytes, at most {MAX_HEADER} are read")));
    }
    let Some(data) = rest.checked_sub(said) else {
        return Err(malformed(format!("it claims a header of {said} bytes and ends after {rest} of them")));
    };
    let mut text = vec![0; size];
    bytes.read_exact(&mut text)?;
    let mut header: Header = serde_json::from_slice(&text).map_err(|e| malformed(format!("its header: {e}")))?;
    header.tensors.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut next = 0;
    for (name, Entry { dtype, shape, data_offsets: (start, end) }) in &header.tensors {
        let (start, end, takes) = (*start, *end, bytes_of(*dtype, shape));
        let reason = if end > data {
            format!("`{name}` ends at byte {end} of {data} bytes of data: the file is cut off")
        } else if start != next {
            let what = if start < next { "overlaps another tensor" } else { "leaves a gap before it" };
            format!("`{name}` starts at byte {start} where {next} is expected: it {what}")
        } else if end.checked_sub(start) != Some(takes) {
            format!("`{name}` is {dtype} of shape {shape:?}, which takes {takes} bytes, and its data are bytes {start} to {end}")
        } else {
            next = end;
            continue;
        };
        return Err(malformed(reason));
    }
    match data - next {
        0 => Ok(header),
        over => Err(malformed(format!("{over} bytes follow the last tensor"))),
    }
}

/// How many bytes a tensor takes; types narrower than a byte are packed. Too many to count are too many in any case.
fn bytes_of(dtype: Dtype, shape: &[u64]) -> u64 {
    shape.iter().try_fold(dtype.bitsize() as u64, |all: u64, &side| all.checked_mul(side)).map_or(u64::MAX, |bits| bits.div_ceil(8))
}

/// What the header says of one tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: Dtype,
    shape: Vec<u64>,
    /// First byte, and the one after the last.
    data_offsets: (u64, u64),
}

/// Tensors by name, each once, and free text.
struct Header {
    tensors: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut tensors, mut metadata) = (BTreeMap::new(), None);
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        metadata.replace(map.next_value::<BTreeMap<String, String>>()?).is_some()
                    } else if tensors.contains_key(&name) {
                        map.next_value::<IgnoredAny>()?;
                        true
                    } else {
                        tensors.insert(name.clone(), map.next_value::<Entry>()?).is_some()
                    };
                    if twice {
                        return Err(serde::de::Error::custom(format!("`{name}` is there twice")));
                    }
                }
                Ok(Header { tensors: tensors.into_iter().collect(), metadata: metadata.unwrap_or_default() })
            }
        }
        from.deserialize_map(Reader)
    }
}
