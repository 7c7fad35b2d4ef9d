//! Holds what heirloom computes with checkpoints against what their libraries computed: `cargo run --release --example answers -- FOLDER...`.
//!
//! A folder holds `model.safetensors` (or one other `.safetensors` or `.onnx` file), the files beside it, and the library's numbers:
//!
//! - `x.npy`, images as they enter the network; `y.npy`, the network's output; where it has a linear head, `f.npy`, what enters that. A folder
//!   called `tv_NAME` is read as `--arch torchvision/NAME`;
//! - or `io.safetensors`, as `tests/golden/zoo/make.py` writes it, with gradients too.
//!
//! For each folder one line: its name, `equal`, `apart` or `refused`, the largest differences of outputs, features and gradients as shares of the
//! largest number, and what the file was found to be. Exits with 1 unless every accepted one is equal.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::{DType, Device, Tensor};
use heirloom::exec::{Norm, Weights, infer, record};
use heirloom::graph::{Graph, Role};
use heirloom::model::{InputOverride, LoadOptions, Model, Network, Params};
use heirloom::registry::{self, Format};
use safetensors::SafeTensors;

/// Largest difference that counts as equal, as a share of the largest number.
const EQUAL: f32 = 1e-4;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let mut all_equal = true;
    for folder in std::env::args_os().skip(1).map(PathBuf::from) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match compare(&folder, &name) {
            Ok(found) => {
                let equal = found.apart.iter().all(|apart| *apart <= EQUAL);
                all_equal &= equal;
                let word = if equal { "equal" } else { "apart" };
                let [output, features, gradients] = found.apart;
                println!("{name}\t{word}\t{output:.1e}\t{features:.1e}\t{gradients:.1e}\t{}", found.description);
            }
            Err(error) => println!("{name}\trefused\t\t\t\t{}", error.to_string().replace('\n', " ")),
        }
    }
    if all_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Found {
    /// Of outputs, features and gradients.
    apart: [f32; 3],
    description: String,
}

/// A shape and its numbers.
type Array = (Vec<usize>, Vec<f32>);

/// What a library computed.
struct Wanted {
    images: Array,
    output: Array,
    features: Option<Array>,
    arch: Option<String>,
    /// `direction` and `gradient.NAME`.
    gradients: BTreeMap<String, Array>,
}

fn wanted(folder: &Path, name: &str) -> Result<Wanted, Failure> {
    if !folder.join("io.safetensors").is_file() {
        let features = folder.join("f.npy").is_file().then(|| read(&folder.join("f.npy"))).transpose()?;
        let arch = name.strip_prefix("tv_").map(|name| format!("torchvision/{name}"));
        let (images, output) = (read(&folder.join("x.npy"))?, read(&folder.join("y.npy"))?);
        return Ok(Wanted { images, output, features, arch, gradients: BTreeMap::new() });
    }
    let bytes = std::fs::read(folder.join("io.safetensors"))?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let arch = header.metadata().as_ref().and_then(|notes| notes.get("arch").cloned());
    let numbers = |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let file = SafeTensors::deserialize(&bytes)?;
    let mut all: BTreeMap<String, Array> =
        file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), numbers(view.data())))).collect();
    let (images, output) = (all.remove("input").ok_or("no input")?, all.remove("output").ok_or("no output")?);
    Ok(Wanted { images, output, features: all.remove("features"), arch, gradients: all })
}

fn compare(folder: &Path, name: &str) -> Result<Found, Failure> {
    let Wanted { images: (shape, values), output: (output_shape, output), features: wanted_features, arch, gradients } =
        wanted(folder, name)?;
    let [_, _, height, width] = shape[..] else { return Err("no images".into()) };
    let input = InputOverride { size: Some([height, width]), ..InputOverride::default() };
    let reference = registry::identify(&checkpoint(folder)?)?;
    // An ONNX file holds its own architecture.
    let arch = arch.filter(|_| reference.format == Format::Safetensors);
    let model = Model::load(reference, &LoadOptions { arch, input, ..LoadOptions::default() })?;
    let network = model.own()?;
    let images = Tensor::from_vec(values, shape, &Device::Cpu)?;
    let (outputs, features) = (answer(&network.graph, &network.params, &images)?, answer(&network.trunk, &network.params, &images)?);
    // Of a network without a head, the library may give every token, or the features alone.
    let first = |all: &[f32]| match output_shape[..] {
        [images, tokens, width] => (0..images).flat_map(|i| all[i * tokens * width..][..width].to_vec()).collect(),
        _ => all.to_vec(),
    };
    let by_output = match outputs.len() == output.len() {
        true => difference(&outputs, &output)?,
        false if wanted_features.is_none() => difference(&features, &first(&output))?,
        false => return Err(format!("{} numbers come out, {} of the library", outputs.len(), output.len()).into()),
    };
    let by_features = wanted_features.map_or(Ok(0.0), |(_, wanted)| difference(&features, &wanted))?;
    let by_gradients = match gradients.get("direction") {
        None => 0.0,
        Some((shape, values)) => {
            let direction = Tensor::from_vec(values.clone(), shape.clone(), &Device::Cpu)?;
            greatest_of_gradients(network, &images, &direction, &gradients)?
        }
    };
    let description = format!("{}; features {}", model.description, model.feature_layer.how);
    Ok(Found { apart: [by_output, by_features, by_gradients], description })
}

/// The largest difference of a gradient of any tensor; the tensor is named where it is more than rounding.
fn greatest_of_gradients(network: &Network, images: &Tensor, direction: &Tensor, wanted: &BTreeMap<String, Array>) -> Result<f32, Failure> {
    let graph = &network.graph;
    let trains: Vec<bool> =
        graph.slots().iter().map(|slot| !matches!(slot.role, Role::RunningMean | Role::RunningVar | Role::Constant)).collect();
    let recording = record(graph, &Weights::new(&network.params.0, DType::F32)?, &trains, Norm::Running, images)?;
    let found = recording.backward(graph, direction)?;
    let mut greatest = 0f32;
    for (slot, gradient) in graph.slots().iter().zip(found) {
        let Some(gradient) = gradient else { continue };
        let key = format!("gradient.{}", slot.name);
        let (_, wanted) = wanted.get(&key).ok_or_else(|| format!("the library has no {key}"))?;
        let ours: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
        let nothing = wanted.iter().all(|v| v.abs() < 1e-5) && ours.iter().all(|v| v.abs() < 1e-4);
        let apart = if nothing { 0.0 } else { difference(&ours, wanted)? };
        if apart > EQUAL {
            eprintln!("{key} differs by {apart:.1e}");
        }
        greatest = greatest.max(apart);
    }
    Ok(greatest)
}

fn checkpoint(folder: &Path) -> Result<PathBuf, Failure> {
    if let Some(usual) = Some(folder.join("model.safetensors")).filter(|usual| usual.is_file()) {
        return Ok(usual);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| {
        !path.ends_with("io.safetensors") && path.extension().is_some_and(|extension| extension == "safetensors" || extension == "onnx")
    });
    found.sort();
    found.pop().ok_or_else(|| "no checkpoint".into())
}

fn read(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Failure> {
    let file = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(path)?))?;
    let shape = file.shape().iter().map(|&side| side as usize).collect();
    Ok((shape, file.into_vec()?))
}

fn answer(graph: &Graph, params: &Params, images: &Tensor) -> Result<Vec<f32>, Failure> {
    let output = infer(graph, &Weights::new(&params.0, DType::F32)?, images)?;
    Ok(output.flatten_all()?.to_vec1()?)
}

/// The largest difference as a share of the largest number.
fn difference(ours: &[f32], theirs: &[f32]) -> Result<f32, Failure> {
    if ours.len() != theirs.len() {
        return Err(format!("{} numbers, {} of the library", ours.len(), theirs.len()).into());
    }
    let scale = theirs.iter().fold(0f32, |most, v| most.max(v.abs()));
    let apart =
        ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0f32, |most, v| if v.is_nan() { f32::INFINITY } else { most.max(v) });
    if scale > 0.0 { Ok(apart / scale) } else { Err("the library's answer is all zeros".into()) }
}
