//! Fine-tuning: recipes, and the one training loop.
//!
//! A head on frozen features and a whole network are the same thing here: a graph, starting weights, what trains,
//! and a [`Feed`] of inputs. `fresh` draws starting weights, `images` and `Features` feed, `loss`, `schedule` and
//! `optimizer` are PyTorch's definitions, `sizes` has a graph for each size of images that grow, `tensorboard` writes down how training went.

mod ahead;
mod features;
mod fresh;
mod images;
mod loss;
mod optimizer;
mod recipe;
mod schedule;
mod sizes;
pub(crate) mod tensorboard;

use candle_core::{DType, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use features::{Features, Raw, Standard};
pub(crate) use fresh::with_statistics;
pub use fresh::{fresh_head, fresh_weights};
pub use images::{Images, Shown};
pub use recipe::{Augment, BatchNorm, Mode, Optimizer, Peak, ProgressiveResizing, RandomResizedCrop, Recipe, Schedule, Triangle};
pub(crate) use sizes::Sizes;

use crate::diag::{Class, Explain};
use crate::exec::{self, ExecError, Norm, Weights};
use crate::graph::{Graph, GraphBuilder, GraphError, Op, Role, Shape};
use crate::stats::stream::stream;
use crate::store::RowsError;

/// Inputs of a graph by index.
pub trait Feed: Sync {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether making a batch takes time that is worth a thread of its own.
    fn is_slow(&self) -> bool {
        true
    }
    /// The inputs at some indices as one batch, in f32 on the CPU; where they train, changed as the recipe says.
    fn batch(&self, indices: &[usize], training: Option<Training<'_>>) -> Result<Tensor, TuneError>;
}

/// What a recipe does to the inputs of a step.
pub struct Training<'a> {
    /// Random changes.
    pub augment: &'a Augment,
    /// What they are drawn from.
    pub stream: &'a mut ChaCha8Rng,
    /// Side of images, in pixels, where it is not the model's.
    pub side: Option<usize>,
}

/// A linear head on `width` features: weight and bias are slots 0 and 1.
pub fn head_graph(width: usize, classes: usize) -> Result<Graph, GraphError> {
    let mut builder = GraphBuilder::new();
    let features = builder.input("features", Shape::batched(&[width]))?;
    let weight = builder.param("head.weight", &[classes, width], Role::Weight);
    let bias = builder.param("head.bias", &[classes], Role::Bias);
    let logits = builder.add("head", Op::Linear, &[features, weight, bias])?;
    builder.finish(logits)
}

/// What to train on: inputs by index with their classes.
pub struct TrainingSet<'a> {
    /// The inputs.
    pub feed: &'a dyn Feed,
    /// Class of each input.
    pub labels: &'a [u16],
    /// Which of them train.
    pub pool: &'a [usize],
}

/// What one epoch came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss.
    pub loss: f64,
    /// Share of training images called right while training.
    pub accuracy: f64,
    /// Learning rate of its last step.
    pub learning_rate: f64,
}

/// Trains `weights` where `trains` says so, in place of them; the order and the augmentation are drawn from
/// `(policy_seed, seed)`. `tick` is told the images of every step and answers whether to go on.
pub fn train(
    graph: &Graph,
    weights: Weights,
    trains: &[bool],
    task: &TrainingSet,
    recipe: &Recipe,
    seeds: (u64, u64),
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<(Weights, Vec<Epoch>), TuneError> {
    let way = Way { graph, trains, norm: Norm::Batch, keep: &|_| Ok(()) };
    descend(&way, weights, task, recipe, seeds, tick)
}

/// How a network is trained, beside its recipe.
pub(crate) struct Way<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Whether it trains, by slot.
    pub trains: &'a [bool],
    /// The statistics of its batch norms.
    pub norm: Norm,
    /// Called after each step: puts weights back within their bounds, where they have some.
    pub keep: &'a dyn Fn(&mut Weights) -> Result<(), ExecError>,
}

/// Trains as [`train`] does, with the batch norm statistics and the bounds that `way` names.
pub(crate) fn descend(
    &Way { graph, trains, norm, keep }: &Way,
    mut weights: Weights,
    task: &TrainingSet,
    recipe: &Recipe,
    (policy_seed, seed): (u64, u64),
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<(Weights, Vec<Epoch>), TuneError> {
    let mut order = task.pool.to_vec();
    let mut order_stream = stream(policy_seed, seed, "order");
    let mut augment_stream = stream(policy_seed, seed, "augment");
    let mut optimizer = optimizer::State::new(&recipe.optimizer, recipe.weight_decay, trains.len());
    let least = if exec::has_batch_norm(graph) { 2 } else { 1 };
    let steps = order.chunks(recipe.batch_size).filter(|batch| batch.len() >= least).count();
    if steps == 0 {
        return Err(TuneError::Empty { images: order.len() });
    }
    let sizes = Sizes::of(graph, recipe)?;
    let mut log = Vec::with_capacity(recipe.epochs);
    for epoch in 0..recipe.epochs {
        order.shuffle(&mut order_stream);
        let (mut loss_sum, mut right, mut seen, mut learning_rate) = (0.0, 0usize, 0usize, 0.0);
        let mut step = 0;
        let batches = order.chunks(recipe.batch_size).filter(|batch| batch.len() >= least);
        let (graph, side) = sizes.at(epoch);
        let training = Training { augment: &recipe.augment, stream: &mut augment_stream, side };
        ahead::each(task.feed, batches, Some(training), &mut |batch, input| {
            let input = weights.place(&input)?;
            let labels: Vec<u16> = batch.iter().map(|&i| task.labels[i]).collect();
            let recording = exec::record(graph, &weights, trains, norm, &input)?;
            let outcome = loss::cross_entropy(&recording.output, &labels, recipe.label_smoothing)?;
            if !outcome.loss.is_finite() {
                return Err(TuneError::Diverged { epoch: epoch + 1, step: step + 1, rate: recipe.learning_rate });
            }
            loss_sum += outcome.loss * batch.len() as f64;
            right += outcome.right;
            seen += batch.len();
            let running = recording.running.clone();
            let gradients = recording.backward(graph, &outcome.gradient)?;
            let rate = recipe.learning_rate * schedule::factor(&recipe.schedule, (step, steps), (epoch, recipe.epochs));
            (step, learning_rate) = (step + 1, rate);
            optimizer.step(&mut weights, &gradients, rate)?;
            for (slot, value) in running {
                weights.0[slot.0] = value;
            }
            keep(&mut weights)?;
            if tick(batch.len()) { Ok(()) } else { Err(TuneError::Stopped) }
        })?;
        let (loss, accuracy) = (loss_sum / seen as f64, right as f64 / seen as f64);
        tracing::debug!(epoch, loss, accuracy, "trained an epoch");
        log.push(Epoch { loss, accuracy, learning_rate });
    }
    Ok((weights, log))
}

/// Images per batch when nothing trains.
pub(crate) const EVALUATION_BATCH: usize = 64;

/// What computes the outputs of a batch.
pub(crate) type Extract<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor, TuneError>;

/// What `compute` makes of every input, shown batch by batch in order, row by row. `tick` is told the images of every step and answers
/// whether to go on.
fn each_output(
    compute: Extract,
    feed: &dyn Feed,
    tick: &mut dyn FnMut(usize) -> bool,
    see: &mut dyn FnMut(&[f32]) -> Result<(), TuneError>,
) -> Result<(), TuneError> {
    let indices: Vec<usize> = (0..feed.len()).collect();
    ahead::each(feed, indices.chunks(EVALUATION_BATCH), None, &mut |batch, input| {
        let output = compute(&input)?;
        let rows = output.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1::<f32>()).map_err(ExecError::from)?;
        if let Some(at) = rows.iter().position(|value| !value.is_finite()) {
            return Err(TuneError::NotFinite { image: batch.first().unwrap_or(&0) + at * batch.len() / rows.len() });
        }
        see(&rows)?;
        if tick(batch.len()) { Ok(()) } else { Err(TuneError::Stopped) }
    })
}

/// The class of the greatest output per input, the first of equals.
pub fn predictions(graph: &Graph, weights: &Weights, feed: &dyn Feed, tick: &mut dyn FnMut(usize) -> bool) -> Result<Vec<u16>, TuneError> {
    let width = graph.node(graph.output()).shape.elements_per_item();
    let best = |row: &[f32]| {
        let mut best = 0;
        for (i, &v) in row.iter().enumerate() {
            if v > row[best] {
                best = i;
            }
        }
        best as u16
    };
    let mut all = Vec::with_capacity(feed.len());
    each_output(&|input| Ok(exec::infer(graph, weights, &weights.place(input)?)?), feed, tick, &mut |rows| {
        all.extend(rows.chunks_exact(width.max(1)).map(best));
        Ok(())
    })?;
    Ok(all)
}

/// The share of the training pool that one seed trains on: so that seeds vary in fixed-feature mode too.
pub(crate) const POOL_SHARE: f64 = 0.8;

/// The images that a seed trains on: [`POOL_SHARE`] of the clusters of a view's images (ascending), whole, in ascending order.
pub(crate) fn pool(view: &[usize], clusters: &[u32], policy_seed: u64, seed: u64) -> Vec<usize> {
    let mut names: Vec<u32> = view.iter().filter_map(|&i| clusters.get(i).copied()).collect();
    names.sort_unstable();
    names.dedup();
    names.shuffle(&mut stream(policy_seed, seed, "pool"));
    names.truncate(((names.len() as f64 * POOL_SHARE).round() as usize).max(1));
    names.sort_unstable();
    view.iter().copied().filter(|&i| clusters.get(i).is_some_and(|c| names.binary_search(c).is_ok())).collect()
}

/// Why a fine-tune failed.
#[derive(Debug, Error)]
pub enum TuneError {
    /// The network cannot be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// ONNX Runtime cannot run it.
    #[error(transparent)]
    Runtime(#[from] crate::model::ExtractError),
    /// An image cannot be read.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// What does not fit into memory cannot be kept on disk.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// What the network makes of an image is no number.
    #[error("the network's output for image {image} is not finite: its weights are too large, or damaged; nothing can be learnt from it")]
    NotFinite {
        /// Index in the view.
        image: usize,
    },
    /// The loss is no number any more.
    #[error("training diverged in epoch {epoch}, step {step} (peak learning rate {rate}): use a lower learning rate")]
    Diverged {
        /// 1-based.
        epoch: usize,
        /// 1-based.
        step: usize,
        /// The recipe's peak.
        rate: f64,
    },
    /// Images of another size do not go through the network.
    #[error("`progressive_resizing`: the network does not take images of {side} pixels: {reason}")]
    Resizing {
        /// Pixels.
        side: usize,
        /// Why.
        reason: String,
    },
    /// Too few images for a single step.
    #[error("{images} training images are too few for one step")]
    Empty {
        /// How many there are.
        images: usize,
    },
    /// A fault of this program: the images were not shown to the network before their features were asked for.
    #[error("features that this finding needs were not computed: a fault of heirloom, please report it with the command")]
    NoFeatures,
    /// The caller said stop.
    #[error("interrupted: nothing was finished")]
    Stopped,
}

impl Explain for TuneError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Runtime(error) => Some(error),
            Self::Data(error) => Some(error),
            Self::Rows(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Stopped => Class::Stopped,
            Self::Resizing { .. } => Class::Usage,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }
}

impl TuneError {
    /// Whether the process that ONNX Runtime ran in came to an end that nobody asked for.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::Runtime(error) if error.is_end())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::graph::{Reduce, Unary, Window};
    use crate::store::MemoryBudget;

    /// Two blobs that a line separates.
    fn blobs(n: usize) -> (Array2<f32>, Vec<u16>) {
        let labels: Vec<u16> = (0..n).map(|i| (i % 2) as u16).collect();
        let values = Array2::from_shape_fn((n, 3), |(i, j)| {
            let side = if i % 2 == 0 { 1.0 } else { -1.0 };
            10.0 + 5.0 * side * ((j + 1) as f32) + ((i * 7 + j * 3) % 11) as f32 * 0.2
        });
        (values, labels)
    }

    fn features(values: &Array2<f32>) -> Features {
        let raw = Raw::from_array(values, &MemoryBudget::boundless());
        let standard = Standard::of(&raw).unwrap();
        Features::new(raw, &standard)
    }

    fn recipe() -> Recipe {
        Recipe {
            epochs: 5,
            learning_rate: 0.1,
            weight_decay: 1e-4,
            batch_size: 8,
            schedule: Schedule::Cyclic,
            optimizer: Optimizer::default(),
            label_smoothing: 0.0,
            augment: Augment::default(),
            progressive_resizing: None,
            batch_norm: None,
        }
    }

    /// Predictions, labels, training log.
    type Fit = (Vec<u16>, Vec<u16>, Vec<Epoch>);

    fn fit(recipe: &Recipe) -> Result<Fit, TuneError> {
        fit_in(DType::F32, recipe)
    }

    /// With activations of this type.
    fn fit_in(dtype: DType, recipe: &Recipe) -> Result<Fit, TuneError> {
        let (values, labels) = blobs(60);
        let features = features(&values);
        let graph = head_graph(3, 2).unwrap();
        let weights = Weights(Weights::new(&fresh_head(3, 2, 1, 0), DType::F32).unwrap().0, dtype);
        let pool: Vec<usize> = (0..60).collect();
        let task = TrainingSet { feed: &features, labels: &labels, pool: &pool };
        let (weights, log) = train(&graph, weights, &[true, true], &task, recipe, (1, 0), &mut |_| true)?;
        let predicted = predictions(&graph, &weights, &features, &mut |_| true)?;
        Ok((predicted, labels, log))
    }

    #[test]
    fn a_head_learns_what_a_line_separates() {
        for optimizer in [Optimizer::default(), Optimizer::Adamw { beta1: 0.9, beta2: 0.999 }] {
            let (predicted, labels, log) = fit(&Recipe { optimizer, ..recipe() }).unwrap();
            assert_eq!(predicted, labels);
            assert!(log[4].loss < log[0].loss, "{log:?}");
        }
    }

    #[test]
    fn a_head_learns_in_mixed_precision() {
        let (predicted, labels, log) = fit_in(DType::BF16, &recipe()).unwrap();
        assert_eq!(predicted, labels);
        let (_, _, exact) = fit(&recipe()).unwrap();
        assert!((log[0].loss - exact[0].loss).abs() < 0.02 && log[0] != exact[0], "{log:?}, in f32 {exact:?}");
    }

    #[test]
    fn a_learning_rate_that_diverges_is_said_to() {
        let error = fit(&Recipe { learning_rate: 1e38, schedule: Schedule::Constant, ..recipe() }).unwrap_err();
        assert!(error.to_string().starts_with("training diverged in epoch"), "{error}");
    }

    #[test]
    fn the_caller_can_stop_it() {
        let (values, labels) = blobs(20);
        let features = features(&values);
        let graph = head_graph(3, 2).unwrap();
        let weights = Weights::new(&fresh_head(3, 2, 1, 0), DType::F32).unwrap();
        let task = TrainingSet { feed: &features, labels: &labels, pool: &[0, 1, 2, 3] };
        let stopped = train(&graph, weights, &[true, true], &task, &recipe(), (1, 0), &mut |_| false);
        assert!(matches!(stopped, Err(TuneError::Stopped)));
    }

    /// Images for a network.
    struct Shown(Tensor);

    impl Feed for Shown {
        fn len(&self) -> usize {
            self.0.dims()[0]
        }

        fn batch(&self, indices: &[usize], _: Option<Training<'_>>) -> Result<Tensor, TuneError> {
            let rows: Vec<u32> = indices.iter().map(|&i| i as u32).collect();
            let rows = Tensor::new(rows, &candle_core::Device::Cpu).and_then(|rows| self.0.index_select(&rows, 0));
            Ok(rows.map_err(ExecError::from)?)
        }
    }

    /// Expected numbers are of `tests/golden/tune/batch_norm.py`.
    #[test]
    fn a_head_trains_behind_a_frozen_backbone_whose_batch_norm_goes_along() {
        let mut builder = GraphBuilder::new();
        let image = builder.input("image", Shape::batched(&[2, 2, 2])).unwrap();
        let mut arrays: Vec<ndarray::ArrayD<f32>> = Vec::new();
        let mut param = |builder: &mut GraphBuilder, shape: &[usize], role, values: &[f32]| {
            arrays.push(ndarray::ArrayD::from_shape_vec(shape, values.to_vec()).unwrap());
            builder.param(&format!("p{}", arrays.len()), shape, role)
        };
        let conv = param(&mut builder, &[3, 2, 1, 1], Role::Weight, &[1.0, -0.5, 0.25, 0.75, -1.0, 0.5]);
        let of_norm = [
            (Role::Scale, [1.0, 0.5, 2.0]),
            (Role::Shift, [0.1, 0.2, -0.3]),
            (Role::RunningMean, [0.3, -0.2, 0.1]),
            (Role::RunningVar, [1.5, 0.5, 2.0]),
        ]
        .map(|(role, values)| param(&mut builder, &[3], role, &values));
        let head = [
            param(&mut builder, &[2, 3], Role::Weight, &[0.1, -0.2, 0.3, 0.2, 0.1, -0.1]),
            param(&mut builder, &[2], Role::Bias, &[0.0, 0.0]),
        ];
        let window = Window { kernel: [1, 1], stride: [1, 1], pads: [0; 4], dilation: [1, 1] };
        let y = builder.add("y", Op::Conv2d { window, groups: 1 }, &[image, conv]).unwrap();
        let [scale, shift, mean, variance] = of_norm;
        let norm = builder.add("norm", Op::BatchNorm { eps: 1e-5, momentum: 0.1 }, &[y, scale, shift, mean, variance]).unwrap();
        let relu = builder.add("relu", Op::Unary(Unary::Relu), &[norm]).unwrap();
        let pool = builder.add("pool", Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: false }, &[relu]).unwrap();
        let logits = builder.add("head", Op::Linear, &[pool, head[0], head[1]]).unwrap();
        let graph = builder.finish(logits).unwrap();
        let value = |i: usize| ((3 * (i / 8) + 5 * (i / 4 % 2) + 2 * (i / 2 % 2) + 7 * (i % 2)) % 11) as f32 / 4.0 - 1.0;
        let images = Tensor::from_vec((0..64).map(value).collect::<Vec<f32>>(), &[8, 2, 2, 2], &candle_core::Device::Cpu).unwrap();
        let (feed, labels, pool): (_, Vec<u16>, Vec<usize>) = (Shown(images), (0..8).map(|n| n % 2).collect(), (0..8).collect());
        let task = TrainingSet { feed: &feed, labels: &labels, pool: &pool };
        let recipe = Recipe { epochs: 3, schedule: Schedule::Constant, weight_decay: 0.0, ..recipe() };
        let trains = [false, false, false, false, false, true, true];
        let start = Weights::new(&arrays, DType::F32).unwrap();
        let (weights, _) = train(&graph, start, &trains, &task, &recipe, (1, 0), &mut |_| true).unwrap();
        let after = weights.to_arrays().unwrap();
        assert_eq!(after[..3], arrays[..3], "the backbone is frozen");
        let expected: [(usize, &[f32]); 4] = [
            (5, &[0.099_726, -0.211_169, 0.261_99, 0.200_274, 0.111_169, -0.061_99]),
            (6, &[-0.022_495, 0.022_495]),
            (3, &[0.258_927, -0.083_872, 0.032_673]),
            (4, &[1.403_958, 0.439_121, 1.768_458]),
        ];
        for (slot, wanted) in expected {
            let near = after[slot].iter().zip(wanted).all(|(a, b)| (a - b).abs() < 2e-6);
            assert!(near && after[slot].len() == wanted.len(), "slot {slot}: {}, expected {wanted:?}", after[slot]);
        }
    }

    #[test]
    fn a_pool_keeps_clusters_whole_and_differs_by_seed() {
        let clusters: Vec<u32> = (0..100).map(|i| i / 2).collect();
        let all: Vec<usize> = (0..clusters.len()).collect();
        let one = pool(&all, &clusters, 5, 0);
        assert_eq!(one.len(), 80);
        assert!(one.chunks(2).all(|pair| clusters[pair[0]] == clusters[pair[1]]));
        assert_ne!(one, pool(&all, &clusters, 5, 1));
        assert_eq!(one, pool(&all, &clusters, 5, 0));
    }
}
