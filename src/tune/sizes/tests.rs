use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::exec::{self, Weights};
use crate::graph::GraphBuilder;
use crate::model::arch;
use crate::tune::{Feed, Optimizer, Schedule, Training, TrainingSet, fresh_weights, train};

fn growing(from: usize, to: Option<usize>, start: usize, end: usize, multiple: usize) -> ProgressiveResizing {
    ProgressiveResizing { from, to, start, end, multiple }
}

fn recipe(epochs: usize, growing: ProgressiveResizing) -> Recipe {
    Recipe {
        epochs,
        learning_rate: 0.05,
        weight_decay: 0.0,
        batch_size: 4,
        schedule: Schedule::Constant,
        optimizer: Optimizer::default(),
        label_smoothing: 0.0,
        augment: crate::tune::Augment::default(),
        progressive_resizing: Some(growing),
        batch_norm: None,
    }
}

/// Expected sides are of `tests/golden/tune/resolution.py`.
#[test]
fn images_grow_as_in_the_code_of_the_paper() {
    let sides = |growing: ProgressiveResizing, epochs| (0..epochs).map(|epoch| growing.side(epoch, 224)).collect::<Vec<_>>();
    let paper = [160, 160, 160, 160, 160, 160, 160, 192, 192, 192, 192, 192, 192, 192, 192, 192];
    assert_eq!(sides(growing(160, Some(192), 0, 13, 32), 16), paper);
    let to_the_models = [128, 128, 128, 128, 160, 160, 192, 192, 192, 224, 224, 224, 224, 224];
    assert_eq!(sides(growing(128, None, 2, 10, 32), 14), to_the_models);
    assert_eq!(sides(growing(16, Some(32), 1, 6, 4), 8), [16, 16, 20, 24, 24, 28, 32, 32]);
    assert_eq!(sides(growing(160, Some(192), 0, 4, 64), 6), [160, 192, 192, 192, 192, 192]);
    // What is rounded stays between the two.
    assert_eq!(sides(growing(170, Some(180), 0, 4, 32), 5), [170, 170, 170, 180, 180]);
}

#[test]
fn mistakes_are_named() {
    let said = |growing: ProgressiveResizing| -> Vec<String> {
        recipe(8, growing).mistakes().into_iter().map(|mistake| format!("{}: {}", mistake.at, mistake.message)).collect()
    };
    assert!(said(growing(16, Some(32), 0, 7, 4)).is_empty());
    assert_eq!(said(growing(32, Some(16), 0, 7, 4)), ["/progressive_resizing/to: images shrink from 32 to 16 pixels"]);
    assert_eq!(said(growing(16, None, 5, 5, 4)), ["/progressive_resizing/end: images grow until epoch 5 and begin with epoch 5"]);
    assert_eq!(said(growing(16, None, 0, 8, 4)), ["/progressive_resizing/end: `end` is 8, and there are 8 epochs"]);
}

#[test]
fn a_graph_of_another_size_is_the_network_built_for_it() {
    let graph = arch::build("resnet-cifar-8:8,16,32", 5, [32, 32]).unwrap();
    let small = arch::build("resnet-cifar-8:8,16,32", 5, [20, 20]).unwrap();
    let recipe = recipe(3, growing(20, None, 0, 1, 4));
    let sizes = Sizes::of(&graph, &recipe).unwrap();
    assert_eq!(sizes.at(0), (&small, Some(20)));
    assert_eq!(sizes.at(2), (&graph, None));
}

#[test]
fn a_network_of_one_size_is_refused_by_name() {
    let refused = |graph: &Graph, growing| Sizes::of(graph, &recipe(3, growing)).err().expect("refused").to_string();
    let mut builder = GraphBuilder::new();
    let image = builder.input("image", Shape::batched(&[3, 8, 8])).unwrap();
    let flat = builder.add("flat", crate::graph::Op::Reshape { shape: Shape::batched(&[192]) }, &[image]).unwrap();
    let graph = builder.finish(flat).unwrap();
    let said = refused(&graph, growing(4, None, 0, 1, 4));
    assert!(said.starts_with("`progressive_resizing`: the network does not take images of 4 pixels: node `flat`"), "{said}");
    let graph = arch::build("resnet-cifar-8:8,16,32", 5, [32, 32]).unwrap();
    assert!(refused(&graph, growing(40, Some(48), 0, 1, 4)).contains("its own images have 32"));
    let wide = arch::build("resnet-cifar-8:8,16,32", 5, [32, 48]).unwrap();
    assert!(refused(&wide, growing(16, None, 0, 1, 4)).contains("which is no square image"));
    let head = crate::tune::head_graph(3, 2).unwrap();
    assert!(refused(&head, growing(16, None, 0, 1, 4)).contains("which is no square image"));
}

/// Two classes by colour, of whatever side is asked for.
struct Colours {
    sides: Mutex<Vec<Option<usize>>>,
}

impl Feed for Colours {
    fn len(&self) -> usize {
        12
    }

    fn batch(&self, indices: &[usize], training: Option<Training<'_>>) -> Result<Tensor, TuneError> {
        let side = training.and_then(|training| training.side);
        self.sides.lock().unwrap().push(side);
        let side = side.unwrap_or(32);
        let value = |i: usize, channel: usize| if channel == i % 2 { 1.0_f32 } else { -1.0 };
        let values: Vec<f32> = indices
            .iter()
            .flat_map(|&i| (0..3 * side * side).map(move |at| value(i, at / (side * side)) + (at % 7) as f32 / 20.0))
            .collect();
        Ok(Tensor::from_vec(values, (indices.len(), 3, side, side), &Device::Cpu).map_err(exec::ExecError::from)?)
    }
}

#[test]
fn a_network_trains_on_images_that_grow() {
    let graph = arch::build("resnet-cifar-8:4,8,8", 2, [32, 32]).unwrap();
    let empty: Vec<_> = graph.slots().iter().map(|slot| ndarray::ArrayD::zeros(slot.shape.as_slice())).collect();
    let start = Weights::new(&fresh_weights(&graph, &empty, 1, 0), DType::F32).unwrap();
    let (feed, labels, pool) =
        (Colours { sides: Mutex::default() }, (0..12).map(|i| (i % 2) as u16).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    let task = TrainingSet { feed: &feed, labels: &labels, pool: &pool };
    let recipe = recipe(6, growing(16, None, 1, 4, 4));
    let (weights, log) = train(&graph, start, &exec::trainable(&graph), &task, &recipe, (1, 0), &mut |_| true).unwrap();
    // Three steps an epoch.
    let sides: Vec<Option<usize>> = feed.sides.lock().unwrap().chunks(3).map(|epoch| epoch[0]).collect();
    assert_eq!(sides, [Some(16), Some(16), Some(20), Some(28), None, None]);
    assert!(log[5].loss < log[0].loss && log[5].accuracy > 0.99, "{log:?}");
    let predicted = crate::tune::predictions(&graph, &weights, &feed, &mut |_| true).unwrap();
    assert_eq!(predicted, labels);
}
