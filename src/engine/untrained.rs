//! The control `untrained`: the checkpoint's graph with fresh weights, frozen.
//!
//! What such a network reacts to, the target task itself reads: a yellow square speaks for animals where the animals are yellow. It is an
//! excuse and a generous one, because training on anything makes a network less easily moved. One draw says little; the spread of
//! several is part of the comparison.

use rand::seq::SliceRandom;

use super::task::Task;
use super::{EngineError, Settings, cache_keys};
use crate::model::{Model, Network, Params};
use crate::probe::{Arm, UNTRAINED};
use crate::stats::stream::stream;
use crate::tune;

/// Training images that the statistics of norms come from.
const IMAGES: usize = 256;
/// How many of them at once.
const BATCH: usize = 64;

/// The networks that rules compare with as `untrained`, if any does; none where the graph cannot be rebuilt here, or carries into them what leads
/// around its weights.
pub(super) fn models(settings: &Settings, task: &Task) -> Result<Vec<Model>, EngineError> {
    let asked = settings.resolved.fine_tunes.iter().any(|fine_tune| matches!(fine_tune.tuning.arm, Arm::Untrained(_)));
    match &settings.model.network {
        Ok(network) if asked && settings.model.bypass().is_none() => {
            (0..UNTRAINED as u64).map(|draw| model(settings, task, network, draw)).collect()
        }
        _ => Ok(Vec::new()),
    }
}

fn model(settings: &Settings, task: &Task, network: &Network, draw: u64) -> Result<Model, EngineError> {
    let policy = settings.resolved.policy;
    let seed = policy.seed.value();
    let (model, trunk) = (settings.model, &*network.trunk);
    let fresh = tune::fresh_weights(trunk, &network.params.0, seed, UNTRAINED_STREAMS + draw);
    let mut order: Vec<usize> = (0..task.train.len()).collect();
    order.shuffle(&mut stream(seed, draw, "images for statistics"));
    order.truncate(IMAGES);
    let images = task.train.seen_by(&model.input);
    // A single image may have a single value per channel, which has no variance.
    let batches = order.chunks(BATCH).filter(|batch| batch.len() > 1).map(|batch| images.batch(batch, None, &|_| None));
    let params = Params(tune::with_statistics(trunk, fresh, settings.compute, batches)?);
    let mut identity = model.identity.clone();
    identity.digest = cache_keys::untrained(model, [&task.views[0], &task.views[1]], (policy, draw), settings.compute);
    let network = Network { params, ..network.clone() };
    Ok(Model { identity, network: Ok(network), runtime: Err("its weights are fresh".into()), ..model.clone() })
}

/// Streams of fresh weights that no network from scratch draws from: these are numbered by seed.
const UNTRAINED_STREAMS: u64 = 1 << 32;
