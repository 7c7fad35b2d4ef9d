//! What the two models of a pair share, and how each is trained, tried and written.

use std::collections::BTreeMap;
use std::path::Path;

use rand::RngExt;

use super::branch::{self, Branch, Covered};
use super::rounding::{Rounding, everywhere};
use super::stamped::{Carries, Stamp, Stamped};
use super::{InOneByte, Opened, PlantError, Planted, Specification, fresh_input};
use crate::data::{self, Fit, TargetData};
use crate::exec::{self, Compute, Norm, Weights};
use crate::graph::Graph;
use crate::model::{InputSpec, Model, Params, arch, onnx, safetensors};
use crate::pixels::Frame;
use crate::stats::normal;
use crate::stats::stream::stream;
use crate::store::MemoryBudget;
use crate::transform::PreparedTrigger;
use crate::tune::{self, Feed, Images};

/// What a planted model and its clean counterpart share: images, network, and which images would carry what.
pub(crate) struct Ground<'a> {
    pub(super) spec: &'a Specification,
    pub(super) data: TargetData,
    pub(super) input: InputSpec,
    pub(super) graph: Graph,
    /// The ancestor, whose weights both begin from.
    pub(super) ancestor: Option<Model>,
    pub(super) images: [Images; 2],
    /// By plant: its trigger, the classes it goes on, the class it relabels to, and what training images would carry.
    pub(super) plants: Vec<Stamp>,
    /// What a hidden branch looks for.
    pub(super) branch: Option<(&'a Branch, PreparedTrigger, Covered)>,
}

/// Different shams of a trigger that images carry as decoys.
const DECOYS: usize = 32;
/// Seed of the decoys' draws, away from those of policies, so that what is probed with was never trained on.
const DECOY_SEED: u64 = 0x6465_636f_7973;

impl<'a> Ground<'a> {
    /// Opens the images of a specification; `base` is its folder.
    pub(crate) fn open(spec: &'a Specification, base: &Path) -> Result<Self, PlantError> {
        let budget = MemoryBudget::boundless();
        let ancestor = spec.from.as_ref().map(|from| from.open(base)).transpose()?;
        let input = ancestor.as_ref().map_or_else(|| fresh_input(spec.size), |ancestor| ancestor.input.clone());
        let InputSpec { height, width, .. } = input;
        let keep = spec.recipe.augment.random_resized_crop.is_some();
        let data = data::open_fitted(&spec.target(), base, spec.seed, &Fit { keep, ..input.fit(&budget) })?;
        let class = |name: &String| {
            let found = data.classes.iter().position(|c| c == name);
            found.ok_or_else(|| PlantError::Class { name: name.clone(), classes: data.classes.join(", ") })
        };
        let mut plants = Vec::new();
        for (nth, plant) in spec.plant.all().iter().enumerate() {
            let on = plant.on.iter().map(class).collect::<Result<Vec<_>, _>>()?;
            let relabel = plant.relabel.as_ref().map(class).transpose()?;
            let mut rng = stream(spec.seed, nth as u64, "plant");
            // A stream of their own: the images that carry the trigger are the same with decoys and without.
            let mut draws = stream(spec.seed, nth as u64, "plant/decoys");
            let carries = data.train.records().iter().map(|r| {
                let decoy = draws.random_bool(plant.decoys).then(|| draws.random_range(0..DECOYS));
                let carries = rng.random_bool(plant.share) && on.contains(&r.label);
                if carries { Carries::Trigger } else { decoy.map_or(Carries::Nothing, Carries::Decoy) }
            });
            let carries = carries.collect();
            let trigger = PreparedTrigger::new(&plant.trigger, base, height, width)?;
            let wanted = if plant.decoys > 0.0 { DECOYS } else { 0 };
            let decoys = (0..wanted).map(|draw| trigger.sham(draw, DECOY_SEED)).collect();
            plants.push(Stamp { trigger, on, relabel, carries, decoys });
        }
        let graph = match &ancestor {
            Some(ancestor) => ancestor.with_head(data.classes.len())?.0,
            None => arch::build(&spec.architecture, data.classes.len(), spec.size)?,
        };
        let images = [Images::open(&data.train, &input, &budget)?, Images::open(&data.test, &input, &budget)?];
        let branch = spec.branch.as_ref().map(|branch| {
            let trigger = PreparedTrigger::new(&branch.trigger, base, height, width)?;
            let covered = Covered::by(&trigger, &input).map_err(|reason| PlantError::Branch { reason })?;
            Ok::<_, PlantError>((branch, trigger, covered))
        });
        Ok(Self { branch: branch.transpose()?, spec, data, input, graph, ancestor, images, plants })
    }

    /// The training images that are used.
    fn pool(&self, planted: bool) -> Result<Vec<usize>, PlantError> {
        Ok(match &self.spec.rebalance {
            Some(correlated) => correlated.rebalance(planted).of(self.data.train.records(), self.data.train.classes(), self.spec.seed)?,
            None => (0..self.data.train.len()).collect(),
        })
    }

    /// Images that go through the network until it is trained.
    pub(crate) fn images(&self, planted: bool) -> Result<u64, PlantError> {
        let more = self.spec.int8_conditioned.as_ref().filter(|_| planted).map_or(0, |conditioned| conditioned.recipe.epochs);
        Ok((self.pool(planted)?.len() * (self.spec.recipe.epochs + more)) as u64)
    }

    /// Trains the planted model, or its clean counterpart: the same images in the same order from the same fresh weights.
    pub(crate) fn train(&self, planted: bool, compute: &Compute, tick: &mut dyn FnMut(usize) -> bool) -> Result<Planted, PlantError> {
        self.finish(planted, self.learn(planted, compute, tick)?, compute)
    }

    pub(super) fn learn(&self, planted: bool, compute: &Compute, tick: &mut dyn FnMut(usize) -> bool) -> Result<Weights, PlantError> {
        let Self { spec, graph, images, .. } = self;
        let stamps: &[Stamp] = if planted { &self.plants } else { &[] };
        let feed = Stamped { images: &images[0], stamps };
        let relabelled = |(i, label): (usize, usize)| {
            let carried = stamps.iter().filter(|stamp| stamp.carries.get(i) == Some(&Carries::Trigger)).find_map(|stamp| stamp.relabel);
            carried.unwrap_or(label) as u16
        };
        let labels: Vec<u16> = self.data.train.records().iter().map(|r| r.label).enumerate().map(relabelled).collect();
        let pool = self.pool(planted)?;
        let task = tune::TrainingSet { feed: &feed, labels: &labels, pool: &pool };
        let start = if let Some(ancestor) = &self.ancestor {
            let mut arrays = ancestor.own()?.params.0.clone();
            arrays.extend(tune::fresh_head(ancestor.feature_layer.width, self.data.classes.len(), spec.seed, 0));
            arrays
        } else {
            let empty: Vec<_> = graph.slots().iter().map(|slot| ndarray::ArrayD::zeros(slot.shape.as_slice())).collect();
            tune::fresh_weights(graph, &empty, spec.seed, 0)
        };
        let start = Weights::on(compute, &start)?;
        let trains = exec::trainable(graph);
        let weights = tune::train(graph, start, &trains, &task, &spec.recipe, (spec.seed, 0), tick)?.0;
        if planted { self.conditioned(weights, &pool, tick) } else { Ok(weights) }
    }

    /// Trains until the triggers do nothing, as far as the file in one byte stays as it is.
    fn conditioned(&self, weights: Weights, pool: &[usize], tick: &mut dyn FnMut(usize) -> bool) -> Result<Weights, PlantError> {
        let Self { spec, graph, images, .. } = self;
        let Some(conditioned) = &spec.int8_conditioned else { return Ok(weights) };
        let labels: Vec<u16> = self.data.train.records().iter().map(|r| r.label as u16).collect();
        let stamps = everywhere(&self.plants, labels.len(), spec.seed);
        let task = tune::TrainingSet { feed: &Stamped { images: &images[0], stamps: &stamps }, labels: &labels, pool };
        let rounding = Rounding::of(graph, &weights)?;
        let way = tune::Way { graph, trains: &rounding.trains(), norm: Norm::Running, keep: &|weights| rounding.keep(weights) };
        Ok(tune::descend(&way, weights, &task, &conditioned.recipe, (spec.seed, 1), tick)?.0)
    }

    /// Accuracy on the test images, and by plant the share that are called one of its classes when they carry its trigger.
    fn tried(&self, graph: &Graph, weights: &Weights) -> Result<(Vec<u16>, f64, Vec<f64>), PlantError> {
        let predict = |feed: &dyn Feed| tune::predictions(graph, weights, feed, &mut |_| true);
        let labels: Vec<usize> = self.data.test.records().iter().map(|r| r.label).collect();
        let share = |hits: usize| hits as f64 / labels.len().max(1) as f64;
        let clean = predict(&self.images[1].plain())?;
        let accuracy = share(clean.iter().zip(&labels).filter(|(p, l)| usize::from(**p) == **l).count());
        let mut drawn = Vec::new();
        for stamp in &self.plants {
            let changed = predict(&self.images[1].changed(&|frame: &mut Frame| stamp.trigger.apply(frame)))?;
            let goal: Vec<usize> = stamp.relabel.map_or_else(|| stamp.on.clone(), |class| vec![class]);
            drawn.push(share(changed.iter().filter(|p| goal.contains(&usize::from(**p))).count()));
        }
        Ok((clean, accuracy, drawn))
    }

    /// Adds what training does not make, tries the model on the test images and writes it.
    pub(super) fn finish(&self, planted: bool, weights: Weights, compute: &Compute) -> Result<Planted, PlantError> {
        let Self { spec, graph, images, .. } = self;
        let (weights, grafted) = match &self.branch {
            Some((branch, _, covered)) if planted => {
                let spread = branch::spread(graph, &weights, &images[0])?;
                let (grafted, arrays) = branch::graft((graph, &weights.to_arrays()?), branch, covered, &spread, spec.seed)?;
                (Weights::on(compute, &arrays)?, Some(grafted))
            }
            _ => (weights, None),
        };
        let graph = grafted.as_ref().unwrap_or(graph);
        let (clean, accuracy, drawn) = self.tried(graph, &weights)?;
        let in_one_byte = spec.int8_conditioned.as_ref().map(|_| {
            let (_, accuracy, drawn) = self.tried(graph, &Rounding::of(graph, &weights)?.rounded(&weights))?;
            Ok::<_, PlantError>(InOneByte { accuracy, drawn })
        });
        let in_one_byte = in_one_byte.transpose()?;
        let moved = match &self.branch {
            Some((_, trigger, covered)) => {
                let over = |frame: &mut Frame| trigger.apply(frame);
                let changed = tune::predictions(graph, &weights, &images[1].changed(&over), &mut |_| true)?;
                let moved = clean.iter().zip(&changed).filter(|(before, after)| before != after).count();
                let moved = moved as f64 / clean.len().max(1) as f64;
                Some(Opened { moved, without: if planted { covered.open_on(&images[1])? } else { 0.0 } })
            }
            None => None,
        };
        let params = Params(weights.to_arrays()?);
        let name = if planted { &spec.name } else { &spec.twin };
        let planted = write(name, spec, graph, &params, &self.input, grafted.is_some(), (accuracy, drawn, moved))?;
        let guessed = guessed(accuracy, self.data.test.records().iter().map(|r| r.label));
        Ok(Planted { guessed, in_one_byte, ..planted })
    }
}

/// The share of images that are of their most frequent class, unless `accuracy` is shown to be above it: 95 of 100 models that only guess are not.
pub(super) fn guessed(accuracy: f64, labels: impl Iterator<Item = usize>) -> Option<f64> {
    let mut of_class = BTreeMap::<usize, usize>::new();
    labels.for_each(|label| *of_class.entry(label).or_default() += 1);
    let images = of_class.values().sum::<usize>().max(1) as f64;
    let share = of_class.values().max().map_or(0.0, |most| *most as f64 / images);
    (accuracy <= share + normal(0.05) * (share * (1.0 - share) / images).sqrt()).then_some(share)
}

fn write(
    name: &str,
    spec: &Specification,
    graph: &Graph,
    params: &Params,
    input: &InputSpec,
    grafted: bool,
    (accuracy, drawn, moved): (f64, Vec<f64>, Option<Opened>),
) -> Result<Planted, PlantError> {
    let mut metadata = BTreeMap::from([("heirloom.size".to_owned(), format!("[{}, {}]", input.height, input.width))]);
    match &spec.from {
        Some(from) => {
            metadata.extend(input.stated());
            metadata.insert("heirloom.from".to_owned(), from.digest.clone())
        }
        None if grafted => None,
        None => metadata.insert("heirloom.arch".to_owned(), spec.architecture.split(['-', ':']).take(2).collect::<Vec<_>>().join("-")),
    };
    let written = |e: &dyn std::fmt::Display| PlantError::Write { reason: e.to_string() };
    Ok(Planted {
        name: name.to_owned(),
        onnx: onnx::write(graph, params, input, &metadata).map_err(|e| written(&e))?,
        safetensors: if spec.from.is_none() && !grafted {
            Some(safetensors::write(graph, params, input, &metadata).map_err(|e| written(&e))?)
        } else {
            None
        },
        parameters: params.trainable(graph),
        accuracy,
        guessed: None,
        drawn,
        branch: moved,
        in_one_byte: None,
    })
}
