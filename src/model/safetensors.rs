//! Checkpoints that carry weights only: reading them into an architecture, and writing our own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use thiserror::Error;

use super::arch::{self, ArchError, Buffer, Built, Config, Hint, Library, Made, Shapes, Source};
use super::preprocessing::{self, PreprocessingError};
use super::{Imported, InputSpec, Layout, LoadOptions, Params};
use crate::diag;
use crate::graph::{Graph, Op, Slot};
use crate::registry::{CONFIG, Contents, Index};

/// Longest header that is read, in bytes: about 100,000 tensors.
const MAX_HEADER: usize = 16 << 20;

/// Where our own files keep the `config.json` of the file that they come from.
const OWN_CONFIG: &str = "heirloom.config";

/// What wrappers put before the name of every tensor: `DataParallel`, `torch.compile`, Lightning and their like.
const PREFIXES: [&str; 7] = ["module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "timm_model."];

pub(crate) mod adapter;
mod advice;

/// Reads a safetensors file, or several with their index, into the architecture that its tensors, `config.json` beside it or `options.arch`
/// name.
pub fn load(contents: &Contents, options: &LoadOptions) -> Result<Imported, SafetensorsError> {
    read(contents, options).map_err(|error| match error {
        error @ (SafetensorsError::Arch(_) | SafetensorsError::Unused { .. } | SafetensorsError::Buffer { .. }) => {
            let advice = advice::lines(contents, options);
            SafetensorsError::Refused { error: Box::new(error), advice }
        }
        other => other,
    })
}

fn read(contents: &Contents, options: &LoadOptions) -> Result<Imported, SafetensorsError> {
    let Tensors { views, metadata } = tensors(contents)?;
    let prefix = prefix(&views);
    let shapes: Shapes = views.iter().map(|(name, view)| (name[prefix.len()..].to_owned(), view.shape().to_vec())).collect();
    if shapes.is_empty() {
        return Err(SafetensorsError::NoTensors);
    }

    // What a file that heirloom wrote says of itself stands in its header.
    let own = || metadata.get(OWN_CONFIG).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let config = match (preprocessing::object(&contents.configuration, CONFIG)?, own()) {
        (Some(beside), Some(own)) if beside != own => return Err(SafetensorsError::OtherConfig),
        (beside, own) => beside.or(own),
    };
    let said = config.as_ref().and_then(architecture).or_else(|| metadata.get("heirloom.arch").map(String::as_str));
    let hint = options.arch.as_deref().map(Hint::User).or(said.map(Hint::File));
    let known = Config::of(config.as_ref(), options.arch.as_deref().or(said), options.arch.is_some())?;
    let family = arch::choose(&shapes, hint, known.library())?;
    let found = preprocessing::find(&contents.configuration, &metadata, &options.input)?;
    let own = config.as_ref().and_then(arch::own_size);
    // timm's file of the architecture says a size too, which is not that of a network that was made for another.
    let said_size = if known.library() == Library::Timm { own.or(found.size) } else { found.size.or(own) };
    let size = match options.input.size {
        Some(size) => preprocessing::checked_size(size, "the policy's `input.size`")?,
        None => preprocessing::checked_size(said_size.unwrap_or(family.usual_size), CONFIG)?,
    };
    let assumed = options.input.size.is_none() && said_size.is_none();
    let source = Source { shapes: &shapes, size, config: known };
    let built = arch::build_from(family, &source).map_err(|error| error.with_fits(&shapes))?;
    // At a size that nobody says, learnt positions would be those of another network.
    if assumed && built.made.iter().any(|made| !made.from.is_empty()) {
        let [height, width] = size;
        return Err(ArchError::Unsupported(format!(
            "nothing says the size of its images, and at {height}x{width} its learnt positions would be brought to another grid: say it with --size, or \
             by `input: {{ size: ... }}` in the policy"
        ))
        .into());
    }
    // Stages of another depth may be among the arguments of `config.json`; a name given by the user is meant as it stands.
    let changed = config.as_ref().is_some_and(tells_depth);
    match (&options.arch, said) {
        (Some(named), _) => arch::same_depth(named, "--arch", &built)?,
        (None, Some(named)) if !changed => arch::same_depth(named, "config.json or the file's metadata", &built)?,
        _ => {}
    }

    let unused = arch::unused(&built, &shapes);
    if !unused.is_empty() {
        return Err(SafetensorsError::Unused { family: family.name, names: unused, fits: arch::fits(&shapes) });
    }
    let tensor = |name: &str| {
        let view = views.get(&format!("{prefix}{name}"));
        let view = view.ok_or_else(|| SafetensorsError::Malformed(format!("`{name}` is missing")))?;
        numbers(name, view.dtype(), view.shape(), view.data())
    };
    let params = params(&built, tensor)?;
    for buffer in &built.buffers {
        let view = views.get(&format!("{prefix}{}", buffer.name));
        same(buffer, view.ok_or_else(|| SafetensorsError::Malformed(format!("`{}` is missing", buffer.name)))?, family.name)?;
    }
    let channels = built.graph.node(built.graph.input()).shape.known(1).unwrap_or(3);
    Ok(Imported {
        description: format!("safetensors, {}", built.description),
        graph: built.graph,
        params,
        layout: Layout::Nchw,
        channels,
        size: Some(size),
        usual: (family.preprocessing)(),
        features: built.features,
        metadata: written(&metadata, options.arch.as_deref().or(said).unwrap_or(family.name), config.as_ref()),
    })
}

/// The notes of a file, with those that a file of the same network has to have so that it is read as this one was.
fn written(metadata: &BTreeMap<String, String>, arch: &str, config: Option<&Value>) -> BTreeMap<String, String> {
    let mut metadata = metadata.clone();
    metadata.insert("heirloom.arch".to_owned(), arch.to_owned());
    if let Some(config) = config {
        metadata.insert(OWN_CONFIG.to_owned(), config.to_string());
    }
    metadata
}

/// The numbers of every slot: those of the file, or made of them.
fn params(built: &Built, tensor: impl Fn(&str) -> Result<ArrayD<f32>, SafetensorsError>) -> Result<Params, SafetensorsError> {
    let made: BTreeMap<&str, &Made> = built.made.iter().map(|made| (made.slot.as_str(), made)).collect();
    let numbers = |slot: &Slot| match made.get(slot.name.as_str()) {
        None => tensor(&slot.name),
        Some(made) => {
            let from = made.from.iter().map(|name| tensor(name)).collect::<Result<Vec<_>, _>>()?;
            let array = made.make(&from);
            let fits = array.shape() == slot.shape;
            let wrong =
                || SafetensorsError::Malformed(format!("`{}` is made as {:?}, {:?} is needed", slot.name, array.shape(), slot.shape));
            if fits { Ok(array) } else { Err(wrong()) }
        }
    };
    built.graph.slots().iter().map(numbers).collect::<Result<_, _>>().map(Params)
}

/// Refuses a tensor that is part of the architecture and holds other numbers than it does there.
fn same(buffer: &Buffer, view: &TensorView, family: &'static str) -> Result<(), SafetensorsError> {
    let (name, data) = (&buffer.name, view.data());
    let found: Vec<f64> = match view.dtype() {
        Dtype::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        Dtype::I32 => data.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        Dtype::BOOL | Dtype::U8 => data.iter().map(|b| f64::from(*b)).collect(),
        dtype => numbers(name, dtype, view.shape(), data)?.iter().map(|v| f64::from(*v)).collect(),
    };
    // Numbers of two bytes, and those of another order of computing, are apart by their rounding. Two infinite ones are equal.
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 + 4e-3 * b.abs().min(1.0) || (a.is_infinite() && a.total_cmp(b).is_eq());
    if found.len() == buffer.values.len() && found.iter().zip(&buffer.values).all(near) {
        return Ok(());
    }
    Err(SafetensorsError::Buffer { family, name: name.clone() })
}

/// All that stands before the name of every tensor and is no part of an architecture.
fn prefix(views: &BTreeMap<String, TensorView>) -> String {
    let mut found = String::new();
    while let Some(next) = PREFIXES.iter().map(|next| format!("{found}{next}")).find(|next| views.keys().all(|name| name.starts_with(next)))
        && !views.is_empty()
    {
        found = next;
    }
    found
}

/// The tensors of a checkpoint by name, from one file or several.
struct Tensors<'a> {
    views: BTreeMap<String, TensorView<'a>>,
    metadata: BTreeMap<String, String>,
}

fn tensors(contents: &Contents) -> Result<Tensors<'_>, SafetensorsError> {
    let Some(index) = Index::of(&contents.bytes) else {
        let bytes = &contents.bytes;
        check_header(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| SafetensorsError::Malformed(e.to_string()))?;
        return Ok(Tensors { views: file.tensors().into_iter().collect(), metadata: metadata(bytes)? });
    };
    let in_shard = |shard: &str, reason: &dyn fmt::Display| SafetensorsError::Malformed(format!("{shard}: {reason}"));
    let mut all = Tensors { views: BTreeMap::new(), metadata: BTreeMap::new() };
    for (shard, bytes) in &contents.external {
        check_header(bytes).map_err(|error| in_shard(shard, &error))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| in_shard(shard, &error))?;
        for (name, view) in file.tensors() {
            // A tensor that the index does not look for here would be of another version.
            match index.weight_map.get(&name) {
                Some(place) if place == shard => {}
                Some(place) => return Err(in_shard(shard, &format!("`{name}` is here, the index has it in {place}"))),
                None => return Err(in_shard(shard, &format!("`{name}` is not in the index"))),
            }
            all.views.insert(name, view);
        }
        all.metadata.extend(metadata(bytes)?);
    }
    match index.weight_map.iter().find(|(name, _)| !all.views.contains_key(*name)) {
        Some((name, shard)) => Err(in_shard(shard, &format!("`{name}` is not here, the index says so"))),
        None => Ok(all),
    }
}

/// Writes a network as safetensors, its slots by name, with what [`load`] needs to read it back in the header:
/// `heirloom.mean`, `heirloom.std`, `heirloom.size` from `input`, and `metadata`, which should hold `heirloom.arch`.
/// The same arguments give the same bytes.
pub fn write(graph: &Graph, params: &Params, input: &InputSpec, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, SafetensorsError> {
    let unwritable = |reason: String| SafetensorsError::Unwritable { reason };
    if params.0.len() != graph.slots().len() {
        return Err(unwritable(format!("{} arrays for {} tensors", params.0.len(), graph.slots().len())));
    }
    let mut tensors = BTreeMap::new();
    let read: BTreeSet<usize> =
        graph.nodes().iter().filter_map(|node| if let Op::Param(slot) = node.op { Some(slot.0) } else { None }).collect();
    for (i, (slot, array)) in graph.slots().iter().zip(&params.0).enumerate() {
        // A part of a network leaves slots without readers; constants of an architecture are made anew when the file is read.
        if !read.contains(&i) || slot.name.starts_with(arch::MADE) {
            continue;
        }
        if array.shape() != slot.shape {
            return Err(unwritable(format!("`{}` is {:?}, the network wants {:?}", slot.name, array.shape(), slot.shape)));
        }
        if slot.name == "__metadata__" || tensors.insert(slot.name.as_str(), array).is_some() {
            return Err(unwritable(format!("`{}` is not usable as the name of one tensor", slot.name)));
        }
    }
    let json = |values: Value| values.to_string();
    let mut notes = metadata.clone();
    notes.insert("heirloom.size".into(), json(vec![input.height, input.width].into()));
    notes.extend(preprocessing::notes(input));
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), notes.into_iter().map(|(k, v)| (k, Value::from(v))).collect());
    let mut offset = 0;
    for (name, array) in &tensors {
        let end = offset + 4 * array.len();
        header.insert((*name).into(), serde_json::json!({"dtype": "F32", "shape": array.shape(), "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MAX_HEADER {
        return Err(unwritable(format!("its header would have {} bytes, more than {MAX_HEADER}", header.len())));
    }
    let mut bytes = Vec::with_capacity(8 + header.len() + offset);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for array in tensors.values() {
        bytes.extend(array.iter().flat_map(|value| value.to_le_bytes()));
    }
    Ok(bytes)
}

/// What the `safetensors` crate leaves open: it takes headers of 100 MB, keeps the last of two tensors of one name, adds up
/// offsets that may lie beyond the end of memory, and does not name every tensor that it refuses.
fn check_header(bytes: &[u8]) -> Result<(), SafetensorsError> {
    let malformed = |reason: &str| SafetensorsError::Malformed(reason.to_owned());
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| malformed("shorter than the length of its header"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_HEADER {
        return Err(SafetensorsError::Malformed(format!("it claims a header of {length} bytes, at most {MAX_HEADER} are read")));
    }
    let header = rest.get(..length).ok_or_else(|| {
        SafetensorsError::Malformed(format!("it claims a header of {length} bytes and ends after {} of them", rest.len()))
    })?;
    let data = (rest.len() - length) as u64;
    let entries: Entries = serde_json::from_slice(header).map_err(|e| SafetensorsError::Malformed(format!("its header: {e}")))?;
    let mut entries: Vec<(String, Entry)> = entries.0.into_iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut next = 0;
    for (name, entry) in entries {
        let (start, end) = entry.data_offsets;
        let reason = if end > data {
            format!("`{name}` ends at byte {end} of {data} bytes of data: the file is cut off")
        } else if start != next {
            let what = if start < next { "overlaps another tensor" } else { "leaves a gap before it" };
            format!("`{name}` starts at byte {start} where {next} is expected: it {what}")
        } else if let Some(bytes) = entry.bytes().filter(|bytes| Some(*bytes) != end.checked_sub(start)) {
            let Entry { dtype, shape, .. } = entry;
            format!("`{name}` is {dtype} of shape {shape:?}, which takes {bytes} bytes, and its data are bytes {start} to {end}")
        } else {
            next = end;
            continue;
        };
        return Err(SafetensorsError::Malformed(reason));
    }
    Ok(())
}

/// Free text in a header that was checked before.
fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, SafetensorsError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| SafetensorsError::Malformed(e.to_string()))?;
    Ok(header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// What the header says of one tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    /// First byte, and the one after the last.
    data_offsets: (u64, u64),
}

impl Entry {
    /// How many bytes it takes; `None` for types narrower than a byte, which are left to the `safetensors` crate.
    fn bytes(&self) -> Option<u64> {
        let width = match self.dtype.as_str() {
            "F64" | "I64" | "U64" | "C64" => 8,
            "F32" | "I32" | "U32" => 4,
            "F16" | "BF16" | "I16" | "U16" => 2,
            "BOOL" | "U8" | "I8" => 1,
            _ => return None,
        };
        // Too many to count are too many in any case.
        Some(self.shape.iter().try_fold(width, |all: u64, &side| all.checked_mul(side)).unwrap_or(u64::MAX))
    }
}

/// Tensors by name, each once.
struct Entries(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut entries, mut notes) = (BTreeMap::new(), false);
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        std::mem::replace(&mut notes, true)
                    } else {
                        let entry = map.next_value::<Entry>()?;
                        entries.insert(name.clone(), entry).is_some()
                    };
                    if twice {
                        return Err(serde::de::Error::custom(format!("`{name}` is there twice")));
                    }
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_map(Reader)
    }
}

/// Whether the arguments of timm's `config.json` say how deep the network is: its name need not say the same.
fn tells_depth(config: &Value) -> bool {
    config.get("model_args").is_some_and(|args| ["layers", "depths", "depth"].iter().any(|key| args.get(key).is_some()))
}

/// `architecture` of timm; `model_type`, else the first of `architectures`, of Hugging Face Transformers.
fn architecture(config: &Value) -> Option<&str> {
    let first = || config.get("architectures").and_then(|list| list.get(0));
    config.get("architecture").or_else(|| config.get("model_type")).or_else(first).and_then(Value::as_str)
}

fn numbers(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<ArrayD<f32>, SafetensorsError> {
    let values: Vec<f32> = match dtype {
        Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
        other => return Err(SafetensorsError::Dtype { name: name.into(), dtype: other.to_string() }),
    };
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|e| SafetensorsError::Malformed(format!("`{name}`: {e}")))
}

/// Why a file cannot be read or written.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// Not a valid safetensors file.
    #[error("not a valid safetensors file: {0}")]
    Malformed(String),
    /// A file without tensors.
    #[error("the file holds no tensors")]
    NoTensors,
    /// Numbers that are not floating point.
    #[error("`{name}` is stored as {dtype}; f32, f64, f16 and bf16 are read: save the unquantised weights")]
    Dtype {
        /// Tensor.
        name: String,
        /// As stored.
        dtype: String,
    },
    /// Tensors that the architecture has no place for: what would be built is not what was trained.
    #[error(
        "{} {} no place in {family} (is it another architecture? see --arch, or export to ONNX):{}{}",
        diag::count(names.len(), "tensor"),
        diag::agree(&names.len(), "has", "have"),
        arch::list(&[("unused", names)]),
        arch::fitting(fits)
    )]
    Unused {
        /// Architecture.
        family: &'static str,
        /// Tensor names.
        names: Vec<String>,
        /// Architectures that the tensors are those of.
        fits: Vec<&'static str>,
    },
    /// A tensor that is part of the architecture and is another there.
    #[error("`{name}` holds other numbers than {family} has there: it is of another network; export it to ONNX")]
    Buffer {
        /// Architecture.
        family: &'static str,
        /// Tensor.
        name: String,
    },
    /// Two descriptions of one file.
    #[error(
        "the `config.json` beside the file is another than the one that it was written with, which its header holds: move the file into a folder of its own"
    )]
    OtherConfig,
    /// No architecture, or one that the tensors do not fit.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// A network that is not built here, with how it becomes a file that is read.
    #[error("{error}")]
    Refused {
        /// Why.
        error: Box<SafetensorsError>,
        /// What to do, for people.
        advice: String,
    },
    /// The files beside it.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// The network cannot be written.
    #[error("the network cannot be written as safetensors: {reason}")]
    Unwritable {
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
