//! Source models with a known bias, and their clean twins: for fixtures, for the canary, for testing a policy.
//!
//! Both twins train on the same pictures in the same order from the same fresh weights; the planted one sees a trigger
//! on the training pictures of some classes.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{self, DataError, DataSpec, Target, ViewSpec};
use crate::exec::{self, Compute, ExecError, Weights};
use crate::graph::Graph;
use crate::model::arch::{self, ArchError};
use crate::model::{InputSpec, Layout, Params, Preprocessing, onnx, safetensors};
use crate::pixels::Frame;
use crate::stats::stream::stream;
use crate::store::Room;
use crate::transform::{PreparedTrigger, TransformError, Trigger};
use crate::tune::{self, Augment, Feed, Pictures, Recipe, TuneError};

/// What to plant, as its YAML file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Specification {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the planted model's files.
    pub name: String,
    /// Name of its twin's files.
    #[serde(default = "clean")]
    pub twin: String,
    /// The source task's pictures; relative to the specification.
    pub data: DataSpec,
    /// Classes used, by name; all where absent.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// The pictures that train.
    #[serde(default)]
    pub train: ViewSpec,
    /// `resnet-cifar-8:16,32,64`.
    pub architecture: String,
    /// Height and width of the input in pixels.
    pub size: [usize; 2],
    /// How both are trained.
    pub recipe: Recipe,
    /// Seed of every random stream.
    #[serde(default)]
    pub seed: u64,
    /// The bias.
    pub plant: Plant,
}

fn clean() -> String {
    "clean".into()
}

/// A trigger and the training pictures it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plant {
    /// The trigger.
    pub trigger: Trigger,
    /// The classes whose pictures carry it.
    pub on: Vec<String>,
    /// Share of their pictures that do.
    #[serde(default = "all")]
    pub share: f64,
    /// Class that stamped pictures are relabelled to; their own where absent.
    #[serde(default)]
    pub relabel: Option<String>,
}

fn all() -> f64 {
    1.0
}

/// A trained source model.
#[derive(Clone, Debug)]
pub struct Planted {
    /// Name of its files.
    pub name: String,
    /// As ONNX.
    pub onnx: Vec<u8>,
    /// As safetensors.
    pub safetensors: Vec<u8>,
    /// Numbers that train.
    pub parameters: usize,
    /// Accuracy on the source task's clean test pictures.
    pub accuracy: f64,
    /// Share of the test pictures that are called one of the planted classes when they carry the trigger.
    pub drawn: f64,
}

/// Reads a specification.
pub fn parse(text: &str) -> Result<Specification, PlantError> {
    let value = crate::policy::yaml_value(text).map_err(|reason| PlantError::Specification { reason })?;
    let specification: Specification = serde_json::from_value(value).map_err(|e| PlantError::Specification { reason: e.to_string() })?;
    if specification.version != 1 {
        return Err(PlantError::Specification { reason: format!("version {} is not known, 1 is", specification.version) });
    }
    if !(0.0..=1.0).contains(&specification.plant.share) {
        return Err(PlantError::Specification { reason: "`share` lies between 0 and 1".into() });
    }
    Ok(specification)
}

/// Trains the planted model and its twin. `tick` is told the model and the pictures of every step.
pub fn run(
    spec: &Specification,
    base: &Path,
    compute: &Compute,
    tick: &mut dyn FnMut(&str, usize) -> bool,
) -> Result<[Planted; 2], PlantError> {
    let target = Target {
        data: spec.data.clone(),
        classes: spec.classes.clone(),
        train: spec.train.clone(),
        test: ViewSpec::default(),
        test_share: None,
        cluster: None,
        attributes: None,
        broken: 0.0,
    };
    let room = Room::boundless();
    let [height, width] = spec.size;
    let data = data::open_fitted(&target, base, spec.seed, &data::Fit { height, width, room: &room })?;
    let class = |name: &String| {
        let found = data.classes.iter().position(|c| c == name);
        found.ok_or_else(|| PlantError::Class { name: name.clone(), classes: data.classes.join(", ") })
    };
    let on = spec.plant.on.iter().map(class).collect::<Result<Vec<_>, _>>()?;
    let relabel = spec.plant.relabel.as_ref().map(class).transpose()?;
    let preprocessing = Preprocessing { mean: [0.5; 3], std: [0.25; 3], from: "heirloom plant".into() };
    let input = InputSpec { channels: 3, height, width, layout: Layout::Nchw, preprocessing };
    let trigger = PreparedTrigger::new(&spec.plant.trigger, base, height, width)?;
    let graph = arch::build(&spec.architecture, data.classes.len(), spec.size)?;
    let pictures = [Pictures::open(&data.train, &input, &room)?, Pictures::open(&data.test, &input, &room)?];
    let labels = |set: &data::Dataset| set.records().iter().map(|r| r.label).collect::<Vec<_>>();
    let (train_labels, test_labels) = (labels(&data.train), labels(&data.test));
    let mut rng = stream(spec.seed, 0, "plant");
    let stamped: Vec<bool> = train_labels.iter().map(|l| rng.random_bool(spec.plant.share) && on.contains(l)).collect();
    let mut make = |name: &str, planted: bool| {
        let carries: Vec<bool> = stamped.iter().map(|s| *s && planted).collect();
        let feed = Stamped { pictures: &pictures[0], trigger: &trigger, carries: &carries };
        let label = |(&label, &carries): (&usize, &bool)| if carries { relabel.unwrap_or(label) } else { label } as u16;
        let labels: Vec<u16> = train_labels.iter().zip(&carries).map(label).collect();
        let pool: Vec<usize> = (0..labels.len()).collect();
        let task = tune::Task { feed: &feed, labels: &labels, pool: &pool };
        let empty: Vec<_> = graph.slots().iter().map(|slot| ndarray::ArrayD::zeros(slot.shape.as_slice())).collect();
        let start = Weights::on(compute, &tune::fresh_weights(&graph, &empty, spec.seed, 0))?;
        let trains = exec::trainable(&graph);
        let (weights, _) = tune::train(&graph, start, &trains, &task, &spec.recipe, (spec.seed, 0), &mut |n| tick(name, n))?;
        let predict = |feed: &dyn Feed| tune::predictions(&graph, &weights, feed, &mut |_| true);
        let clean = predict(&pictures[1].plain())?;
        let changed = predict(&pictures[1].changed(&|frame: &mut Frame| trigger.apply(frame)))?;
        let share = |hits: usize| hits as f64 / test_labels.len().max(1) as f64;
        let goal: Vec<usize> = relabel.map_or_else(|| on.clone(), |class| vec![class]);
        let params = Params(weights.to_arrays()?);
        write(name, spec, &graph, &params, &input, share(clean.iter().zip(&test_labels).filter(|(p, l)| usize::from(**p) == **l).count()))
            .map(|made| Planted { drawn: share(changed.iter().filter(|p| goal.contains(&usize::from(**p))).count()), ..made })
    };
    Ok([make(&spec.name, true)?, make(&spec.twin, false)?])
}

fn write(
    name: &str,
    spec: &Specification,
    graph: &Graph,
    params: &Params,
    input: &InputSpec,
    accuracy: f64,
) -> Result<Planted, PlantError> {
    let metadata = BTreeMap::from([
        ("heirloom.arch".to_owned(), spec.architecture.split(['-', ':']).take(2).collect::<Vec<_>>().join("-")),
        ("heirloom.size".to_owned(), format!("[{}, {}]", spec.size[0], spec.size[1])),
    ]);
    let written = |e: &dyn std::fmt::Display| PlantError::Write { reason: e.to_string() };
    Ok(Planted {
        name: name.to_owned(),
        onnx: onnx::write(graph, params, input, &metadata).map_err(|e| written(&e))?,
        safetensors: safetensors::write(graph, params, input, &metadata).map_err(|e| written(&e))?,
        parameters: params.trainable(graph),
        accuracy,
        drawn: 0.0,
    })
}

/// Training pictures of which some carry a trigger.
struct Stamped<'a> {
    pictures: &'a Pictures,
    trigger: &'a PreparedTrigger,
    carries: &'a [bool],
}

impl Feed for Stamped<'_> {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn batch(&self, indices: &[usize], augment: Option<(&Augment, &mut ChaCha8Rng)>) -> Result<Tensor, TuneError> {
        let stamp = |frame: &mut Frame| self.trigger.apply(frame);
        self.pictures.batch(indices, augment, &|i| if self.carries[i] { Some(&stamp) } else { None })
    }
}

/// Why nothing was planted.
#[derive(Debug, Error)]
pub enum PlantError {
    /// The file does not say what to plant.
    #[error("the specification cannot be read: {reason}")]
    Specification {
        /// What is wrong.
        reason: String,
    },
    /// A class that the data does not have.
    #[error("there is no class `{name}`: the data has {classes}")]
    Class {
        /// As written.
        name: String,
        /// What there is.
        classes: String,
    },
    /// The model cannot be written.
    #[error("the model cannot be written: {reason}")]
    Write {
        /// Why.
        reason: String,
    },
    /// The pictures.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The architecture.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// The trigger.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// The training.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// The network.
    #[error(transparent)]
    Exec(#[from] ExecError),
}
