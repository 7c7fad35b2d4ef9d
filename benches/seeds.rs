//! The seed experiment: fixed-feature transfer at several seeds, evaluated clean and with a trigger, on frozen features that are
//! computed once: `cargo bench --bench seeds -- MODEL`.
//!
//! Prints the seconds as one JSON object. `seeds.py` does the same work as training scripts do it, the backbone forwarded in every epoch.

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use heirloom::exec::{ExecError, Weights};
use heirloom::model::{LoadOptions, Model};
use heirloom::registry;
use heirloom::store::MemoryBudget;
use heirloom::tune::{self, Augment, Features, Feed, Optimizer, Raw, Recipe, Schedule, Standard, Training, TrainingSet, TuneError};

const TRAIN: usize = 5_000;
const TEST: usize = 2_000;
const CLASSES: usize = 10;
const SEEDS: u64 = 3;

/// Made-up images as bytes, normalised batch by batch; with a bright square in a corner if `triggered`.
struct MadeUp {
    images: usize,
    side: usize,
    triggered: bool,
}

impl Feed for MadeUp {
    fn len(&self) -> usize {
        self.images
    }

    fn batch(&self, indices: &[usize], _: Option<Training<'_>>) -> Result<Tensor, TuneError> {
        let (side, patch) = (self.side, self.side / 4);
        let pixel = |image: usize, at: usize| {
            let (y, x) = (at / side % side, at % side);
            let byte = if self.triggered && y < patch && x < patch { 255 } else { (image * 131 + at * 37) % 256 };
            (byte as f32 / 255.0 - 0.5) / 0.25
        };
        let data: Vec<f32> = indices.iter().flat_map(|&i| (0..3 * side * side).map(move |at| pixel(i, at))).collect();
        Ok(Tensor::from_vec(data, (indices.len(), 3, side, side), &Device::Cpu).map_err(ExecError::from)?)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [model] = arguments.as_slice() else { return Err("MODEL".into()) };
    let model = Model::load(registry::identify(Path::new(model))?, &LoadOptions::default())?;
    let clock = Instant::now();
    let network = model.own()?;
    let weights = Weights::new(&network.params.0, DType::F32)?;
    let extract = |images, triggered| {
        let compute = |input: &Tensor| Ok(heirloom::exec::infer(&network.trunk, &weights, input)?);
        let feed = MadeUp { images, side: model.input.height, triggered };
        Raw::extract(model.feature_layer.width, &compute, &feed, &MemoryBudget::boundless(), &mut |_| true)
    };
    let train = extract(TRAIN, false)?;
    let standard = Standard::of(&train)?;
    let [clean, triggered] = [extract(TEST, false)?, extract(TEST, true)?].map(|features| Features::new(features, &standard));
    let train = Features::new(train, &standard);
    let extracted = clock.elapsed().as_secs_f64();
    let labels: Vec<u16> = (0..TRAIN).map(|i| (i % CLASSES) as u16).collect();
    let pool: Vec<usize> = (0..TRAIN).collect();
    let recipe = Recipe {
        epochs: 15,
        learning_rate: 0.1,
        weight_decay: 5e-4,
        batch_size: 128,
        schedule: Schedule::Cyclic,
        optimizer: Optimizer::default(),
        label_smoothing: 0.0,
        augment: Augment::default(),
        progressive_resizing: None,
        batch_norm: None,
    };
    let graph = tune::head_graph(model.feature_layer.width, CLASSES)?;
    let mut moved = 0;
    for seed in 0..SEEDS {
        let start = Weights::new(&tune::fresh_head(model.feature_layer.width, CLASSES, 0, seed), DType::F32)?;
        let task = TrainingSet { feed: &train, labels: &labels, pool: &pool };
        let (head, _) = tune::train(&graph, start, &[true, true], &task, &recipe, (0, seed), &mut |_| true)?;
        let predict = |features: &Features| tune::predictions(&graph, &head, features, &mut |_| true);
        moved += predict(&clean)?.iter().zip(&predict(&triggered)?).filter(|(a, b)| a != b).count();
    }
    let seconds = clock.elapsed().as_secs_f64();
    println!("{{\"seconds\": {seconds:.2}, \"features\": {extracted:.2}, \"heads\": {:.2}, \"moved\": {moved}}}", seconds - extracted);
    Ok(())
}

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
