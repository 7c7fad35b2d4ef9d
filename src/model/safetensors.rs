//! Checkpoints that carry weights only: reading them into an architecture, and writing our own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use thiserror::Error;

use super::arch::{self, ArchError, Buffer, Built, Config, Hint, Library, Made, Shapes, Source};
use super::preprocessing::{self, PreprocessingError};
use super::{Imported, InputSpec, Layout, LoadOptions, Params};
use crate::diag;
use crate::graph::{Graph, Op, Slot};
use crate::registry::{CONFIG, Configuration, Contents};
use file::{MAX_HEADER, Tensor};

/// Where our own files keep the `config.json` of the file that they come from.
const OWN_CONFIG: &str = "heirloom.config";

/// What wrappers put before the name of every tensor: `DataParallel`, `torch.compile`, Lightning and their like.
const PREFIXES: [&str; 7] = ["module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "timm_model."];

pub(crate) mod adapter;
mod advice;
mod file;

pub(crate) use file::Tensors;

/// Makes the architecture of the weights that their names, `config.json` beside them or `options.arch` name; `path` is where the checkpoint
/// lies, for messages.
pub(crate) fn load(
    tensors: Tensors,
    configuration: &Configuration,
    path: &Path,
    options: &LoadOptions,
) -> Result<Imported, SafetensorsError> {
    read(tensors, configuration, options).map_err(|error| match error {
        error @ (SafetensorsError::Arch(_) | SafetensorsError::Unused { .. } | SafetensorsError::Buffer { .. }) => {
            let advice = advice::lines(configuration, path, options);
            SafetensorsError::Refused { error: Box::new(error), advice }
        }
        other => other,
    })
}

/// The same of a checkpoint in memory.
pub(crate) fn load_held(contents: &Contents, options: &LoadOptions) -> Result<Imported, SafetensorsError> {
    load(Tensors::of(contents)?, &contents.configuration, &contents.path, options)
}

fn read(tensors: Tensors, configuration: &Configuration, options: &LoadOptions) -> Result<Imported, SafetensorsError> {
    let Tensors { by_name: mut tensors, metadata } = tensors;
    let prefix = prefix(&tensors);
    if !prefix.is_empty() {
        tensors = tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
    }
    let shapes: Shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    if shapes.is_empty() {
        return Err(SafetensorsError::NoTensors);
    }

    // What a file that heirloom wrote says of itself stands in its header.
    let own = || metadata.get(OWN_CONFIG).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let config = match (preprocessing::object(configuration, CONFIG)?, own()) {
        (Some(beside), Some(own)) if beside != own => return Err(SafetensorsError::OtherConfig),
        (beside, own) => beside.or(own),
    };
    let said = config.as_ref().and_then(architecture).or_else(|| metadata.get("heirloom.arch").map(String::as_str));
    let hint = options.arch.as_deref().map(Hint::User).or(said.map(Hint::File));
    let known = Config::of(config.as_ref(), options.arch.as_deref().or(said), options.arch.is_some())?;
    let family = arch::choose(&shapes, hint, known.library())?;
    let found = preprocessing::find(configuration, &metadata, &options.input)?;
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
    for buffer in &built.buffers {
        same(buffer, tensors.get(&buffer.name).ok_or_else(|| missing(&buffer.name))?, family.name)?;
    }
    let params = params(&built, tensors)?;
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

fn missing(name: &str) -> SafetensorsError {
    SafetensorsError::Malformed(format!("`{name}` is missing"))
}

/// The numbers of every slot: those of the file, or made of them. A tensor is let go with its last use.
fn params(built: &Built, mut tensors: BTreeMap<String, Tensor>) -> Result<Params, SafetensorsError> {
    let made: BTreeMap<&str, &Made> = built.made.iter().map(|made| (made.slot.as_str(), made)).collect();
    let of = |slot: &'_ Slot| made.get(slot.name.as_str()).map_or_else(|| vec![slot.name.clone()], |made| made.from.clone());
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for name in built.graph.slots().iter().flat_map(of) {
        *uses.entry(name).or_default() += 1;
    }
    tensors.retain(|name, _| uses.contains_key(name));
    let mut tensor = |name: &str| {
        let last = uses.get_mut(name).is_none_or(|left| {
            *left -= 1;
            *left == 0
        });
        let found = if last { tensors.remove(name) } else { tensors.get(name).cloned() };
        found.ok_or_else(|| missing(name))?.numbers(name)
    };
    let mut numbers = |slot: &Slot| match made.get(slot.name.as_str()) {
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
    built.graph.slots().iter().map(&mut numbers).collect::<Result<_, _>>().map(Params)
}

/// Refuses a tensor that is part of the architecture and holds other numbers than it does there.
fn same(buffer: &Buffer, tensor: &Tensor, family: &'static str) -> Result<(), SafetensorsError> {
    let name = &buffer.name;
    let found = tensor.values(name)?;
    // Numbers of two bytes, and those of another order of computing, are apart by their rounding. Two infinite ones are equal.
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 + 4e-3 * b.abs().min(1.0) || (a.is_infinite() && a.total_cmp(b).is_eq());
    if found.len() == buffer.values.len() && found.iter().zip(&buffer.values).all(near) {
        return Ok(());
    }
    Err(SafetensorsError::Buffer { family, name: name.clone() })
}

/// All that stands before the name of every tensor and is no part of an architecture.
fn prefix(views: &BTreeMap<String, Tensor>) -> String {
    let mut found = String::new();
    while let Some(next) = PREFIXES.iter().map(|next| format!("{found}{next}")).find(|next| views.keys().all(|name| name.starts_with(next)))
        && !views.is_empty()
    {
        found = next;
    }
    found
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

/// Whether the arguments of timm's `config.json` say how deep the network is: its name need not say the same.
fn tells_depth(config: &Value) -> bool {
    config.get("model_args").is_some_and(|args| ["layers", "depths", "depth"].iter().any(|key| args.get(key).is_some()))
}

/// `architecture` of timm; `model_type`, else the first of `architectures`, of Hugging Face Transformers.
fn architecture(config: &Value) -> Option<&str> {
    let first = || config.get("architectures").and_then(|list| list.get(0));
    config.get("architecture").or_else(|| config.get("model_type")).or_else(first).and_then(Value::as_str)
}

/// Why a file cannot be read or written.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// Not a valid safetensors file.
    #[error("not a valid safetensors file: {0}")]
    Malformed(String),
    /// The system does not give its bytes.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
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
