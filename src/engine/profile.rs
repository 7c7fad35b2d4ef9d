//! What this machine has for a model: its speed, and the memory that the model takes.

use std::time::Instant;

use ndarray::ArrayD;
use rand::RngExt;

use super::{EngineError, cache_keys};
use crate::exec::{self, Compute, Weights};
use crate::graph::{Graph, Op};
use crate::model::{Layout, Model};
use crate::plan::{Footprint, MachineProfile, Speed, Whole};
use crate::stats::stream::stream;
use crate::store::Cache;
use crate::tune::{self, TuneError};

/// What a model takes in memory.
pub(crate) fn footprint(model: &Model) -> Result<Footprint, EngineError> {
    // Kept in colour, whatever the network takes.
    let image = 3 * model.input.height * model.input.width;
    let footprint = Footprint { image, features: model.feature_layer.width, ..Footprint::default() };
    if let Err(opaque) = &model.network {
        // What happens inside is not known: its input and its weights are the least there is.
        return Ok(Footprint { largest: image, weights: opaque.parameters, ..footprint });
    }
    let (graph, _, _) = model.with_head(2)?;
    let sizes = || {
        let computed = graph.nodes().iter().filter(|node| !matches!(node.op, Op::Param(_)));
        computed.map(|node| node.shape.elements_per_item())
    };
    Ok(Footprint {
        largest: sizes().max().unwrap_or(0),
        activations: sizes().sum(),
        weights: graph.slots().iter().map(|slot| slot.shape.iter().product::<usize>()).sum(),
        ..footprint
    })
}

/// Times the model on noise, or remembers how fast it was here, and adds up what it takes. `memory`: bytes that may be used. `anew`: what is
/// remembered does not do. Whatever else runs makes a machine slower, never faster, so of several measurements the fastest is kept.
pub(crate) fn profile(
    model: &Model,
    compute: &Compute,
    memory: Option<u64>,
    cache: Option<&Cache>,
    anew: bool,
) -> Result<MachineProfile, EngineError> {
    let footprint = footprint(model)?;
    let network = match &model.network {
        Ok(own) => {
            let (graph, _, _) = model.with_head(2)?;
            let mut arrays = own.params.0.clone();
            arrays.extend(tune::fresh_head(model.feature_layer.width, 2, 0, 0));
            Some((graph, arrays))
        }
        Err(_) => None,
    };
    let threads = rayon::current_num_threads().to_string();
    let executor = model.executor();
    let parts = [
        ("model", model.identity.digest.as_str()),
        ("features", &model.feature_layer.name),
        ("executor", &executor),
        ("device", &compute.key()),
        ("input", &cache_keys::input(model)),
        ("threads", &threads),
    ];
    let kept = cache.and_then(|cache| Some((cache, cache_keys::of_build("speed", &parts)?)));
    let known: Option<Speed> = kept.as_ref().and_then(|(cache, key)| serde_json::from_slice(&cache.get(key)?).ok());
    let speed = match known {
        Some(speed) if !anew => speed,
        Some(speed) => speed.faster(measure(model, compute, network)?),
        None => measure(model, compute, network)?,
    };
    if let (Some((cache, key)), true, Ok(bytes)) = (&kept, known != Some(speed), serde_json::to_vec(&speed)) {
        // Not kept, it is measured again; what hinders it is said when the first fine-tune is kept.
        let _ = cache.put(key, &format!("{}, {executor}", model.identity.name()), &bytes);
    }
    Ok(MachineProfile { speed, footprint, memory })
}

/// Times one batch forward and one training step on noise, and the frozen network where something else runs it.
fn measure(model: &Model, compute: &Compute, network: Option<(Graph, Vec<ArrayD<f32>>)>) -> Result<Speed, EngineError> {
    const BATCH: usize = 32;
    let (c, h, w) = (model.input.channels, model.input.height, model.input.width);
    let shape = match model.input.layout {
        Layout::Nchw => [BATCH, c, h, w],
        Layout::Nhwc => [BATCH, h, w, c],
    };
    let mut rng = stream(0, 0, "speed");
    let noise: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let input = candle_core::Tensor::from_vec(noise, shape.as_slice(), &candle_core::Device::Cpu).map_err(exec::ExecError::from)?;
    let whole = match network {
        None => None,
        Some((graph, arrays)) => {
            let weights = Weights::on(compute, &arrays)?;
            let input = weights.place(&input)?;
            let trains = exec::trainable(&graph);
            let forward = || exec::infer(&graph, &weights, &input).and_then(|_| weights.wait());
            let train = || {
                let recording = exec::record(&graph, &weights, &trains, exec::Norm::Batch, &input)?;
                let gradient = recording.output.clone();
                recording.backward(&graph, &gradient).and_then(|_| weights.wait())
            };
            Some(Whole { forward: rate(BATCH, &|| Ok(forward()?))?, train: rate(BATCH, &|| Ok(train()?))? })
        }
    };
    let features = match (&model.runtime, whole) {
        (Ok(extractor), _) => rate(BATCH, &|| Ok(extractor.features(&input).map(drop)?))?,
        (Err(_), whole) => whole.map_or(1.0, |whole| whole.forward),
    };
    Ok(Speed { features, whole })
}

/// Images a second at the fastest step, after one to warm up: at least three, and for a fifth of a second. What else runs on the machine
/// makes a step slower, never faster.
fn rate(batch: usize, step: &dyn Fn() -> Result<(), TuneError>) -> Result<f64, EngineError> {
    step()?;
    let clock = Instant::now();
    let (mut steps, mut fastest) = (0, f64::INFINITY);
    while steps < 3 || clock.elapsed().as_secs_f64() < 0.2 {
        let one = Instant::now();
        step()?;
        fastest = fastest.min(one.elapsed().as_secs_f64());
        steps += 1;
    }
    Ok(batch as f64 / fastest.max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::profile;
    use crate::exec::Compute;
    use crate::model::{LoadOptions, Model};
    use crate::plan::{Speed, Whole};
    use crate::registry;
    use crate::store::Cache;

    /// Measured while the machine was busy, or by a program that was stopped meanwhile.
    #[test]
    fn a_speed_that_was_kept_is_measured_anew_where_it_matters() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path(), 1 << 20).expect("a cache");
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/clean.safetensors");
        let model = Model::load(registry::identify(&path).expect("identified"), &LoadOptions::default()).expect("loaded");
        let ask = |anew| profile(&model, &Compute::cpu(), None, Some(&cache), anew).expect("measured").speed;
        let first = ask(false);
        assert_eq!(ask(false), first, "remembered");
        let slow = Speed {
            features: first.features / 30.0,
            whole: first.whole.map(|w| Whole { forward: w.forward / 30.0, train: w.train / 30.0 }),
        };
        assert_eq!(slow.faster(first), first);
        let again = ask(true);
        assert!(again.features >= first.features && again.whole.map(|w| w.train) >= first.whole.map(|w| w.train));
        assert_eq!(ask(false), again, "the faster one is kept");
    }
}
