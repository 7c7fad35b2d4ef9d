//! What this machine has for a model: its speed, and the memory that the model takes.

use std::time::Instant;

use rand::RngExt;

use super::{EngineError, kept};
use crate::exec::{self, Compute, Weights};
use crate::graph::{Graph, Op};
use crate::model::Model;
use crate::plan::{Footprint, Means, Speed};
use crate::stats::stream::stream;
use crate::store::Cache;
use crate::tune;

/// What a model takes in memory.
pub fn footprint(model: &Model) -> Result<Footprint, EngineError> {
    let (graph, _, _) = model.with_head(2)?;
    let sizes = || {
        let computed = graph.nodes().iter().filter(|node| !matches!(node.op, Op::Param(_)));
        computed.map(|node| node.shape.elements_per_item())
    };
    Ok(Footprint {
        // Kept in colour, whatever the network takes.
        picture: 3 * model.input.height * model.input.width,
        features: model.cut.width,
        largest: sizes().max().unwrap_or(0),
        activations: sizes().sum(),
        weights: graph.slots().iter().map(|slot| slot.shape.iter().product::<usize>()).sum(),
    })
}

/// Times the model on noise, or remembers how fast it was here, and adds up what it takes. `memory`: bytes that may be used.
pub fn means(model: &Model, compute: &Compute, memory: Option<u64>, cache: Option<&Cache>) -> Result<Means, EngineError> {
    let (graph, _, _) = model.with_head(2)?;
    let mut arrays = model.params.0.clone();
    arrays.extend(tune::fresh_head(model.cut.width, 2, 0, 0));
    let footprint = footprint(model)?;
    let threads = rayon::current_num_threads().to_string();
    let device = compute.key();
    let model_parts = [("model", model.identity.digest.0.as_str()), ("features", &model.cut.name)];
    let parts = [model_parts, [("threads", &threads), ("device", &device)]].concat();
    let kept = cache.and_then(|cache| Some((cache, kept::of_build("speed", &parts)?)));
    let known = kept.as_ref().and_then(|(cache, key)| serde_json::from_slice(&cache.get(key)?).ok());
    let speed = match known {
        Some(speed) => speed,
        None => measure(&graph, &Weights::on(compute, &arrays)?)?,
    };
    if let (Some((cache, key)), None, Ok(bytes)) = (&kept, known, serde_json::to_vec(&speed)) {
        // Not kept, it is measured again; what hinders it is said when the first fine-tune is kept.
        let _ = cache.put(key, &bytes);
    }
    Ok(Means { speed, footprint, memory })
}

/// Times one batch forward and one training step on noise.
fn measure(graph: &Graph, weights: &Weights) -> Result<Speed, EngineError> {
    const BATCH: usize = 32;
    let shape = graph.node(graph.input()).shape.at(BATCH);
    let mut rng = stream(0, 0, "speed");
    let noise: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let input = candle_core::Tensor::from_vec(noise, shape, &candle_core::Device::Cpu).map_err(exec::ExecError::from)?;
    let input = weights.place(&input)?;
    let trains = exec::trainable(graph);
    let forward = || exec::infer(graph, weights, &input).and_then(|_| weights.wait());
    let train = || {
        let recording = exec::record(graph, weights, &trains, exec::Norm::Batch, &input)?;
        let gradient = recording.output.clone();
        recording.backward(graph, &gradient).and_then(|_| weights.wait())
    };
    Ok(Speed { forward: rate(BATCH, forward)?, train: rate(BATCH, train)? })
}

/// Pictures a second: once to warm up, then at least twice and for a fifth of a second.
fn rate(batch: usize, step: impl Fn() -> Result<(), exec::ExecError>) -> Result<f64, EngineError> {
    step()?;
    let clock = Instant::now();
    let mut steps = 0;
    while steps < 2 || clock.elapsed().as_secs_f64() < 0.2 {
        step()?;
        steps += 1;
    }
    Ok((batch * steps) as f64 / clock.elapsed().as_secs_f64())
}
