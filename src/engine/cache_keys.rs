//! What is kept from one run to the next: the outcomes of every fine-tune and the features of frozen networks, under a key of all that can
//! change them.

use std::sync::OnceLock;

use ndarray::ArrayD;

use super::Settings;
use crate::data::Rebalance;
use crate::exec::Compute;
use crate::graph::{Graph, Role};
use crate::model::Model;
use crate::plan::Tuning;
use crate::policy::Policy;
use crate::probe::{Arm, Outcome};
use crate::store::{Cache, Digest, Fingerprint, Fingerprinter, Key, MemoryBudget};
use crate::tune::{Mode, Raw, Recipe};

/// The part of a key that a whole run shares.
pub(super) struct Shared {
    parts: Vec<(&'static str, String)>,
}

/// What tells this program from another build of it: a digest of the executable. `None` where that cannot be read, and then
/// nothing is kept.
pub(crate) fn build() -> Option<&'static str> {
    static BUILD: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::env::current_exe().and_then(std::fs::read).ok().map(|bytes| blake3::hash(&bytes).to_hex().to_string());
    BUILD.get_or_init(read).as_deref()
}

/// The key of what depends on this build, its instruction set and `parts`.
pub(super) fn of_build(kind: &str, parts: &[(&str, &str)]) -> Option<Key> {
    let own = [("build", build()?), ("instruction set", crate::exec::instruction_set())];
    Some(Key::new(kind, &[&own, parts].concat()))
}

/// A fine-tune of one seed.
#[derive(Clone, Copy)]
pub(super) struct Tuned<'a> {
    pub tuning: Tuning,
    /// Which of the training images, where it is not all of them.
    pub images: Option<&'a Rebalance>,
    pub recipe: &'a Recipe,
    pub model: &'a Model,
    pub seed: usize,
}

impl Shared {
    /// `views`: the digests of the training and the test view.
    pub(super) fn of(settings: &Settings, views: [&Digest; 2]) -> Self {
        let policy = settings.resolved.policy;
        let mut parts = vec![
            ("training view", views[0].to_string()),
            ("test view", views[1].to_string()),
            ("policy seed", policy.file.seed.to_string()),
            ("device", settings.compute.key()),
        ];
        parts.extend(policy.seed.salt().map(|salt| ("salt", salt.to_string())));
        Self { parts }
    }

    /// The key of what one seed of a job shows of one rule, where there can be one. `change` says what is laid over the images, to
    /// the byte; `shams` how many draws of it.
    pub(super) fn key(&self, tuned: &Tuned, (change, shams): (Option<&Digest>, usize)) -> Option<Key> {
        let change = change.map_or("none", |digest| digest.as_str());
        self.of_tuned("outcome", tuned, &[("trigger", change.to_owned()), ("shams", shams.to_string())])
    }

    /// The key of the weights that one seed of a job ends with, where there can be one.
    pub(super) fn weights_key(&self, tuned: &Tuned) -> Option<Key> {
        self.of_tuned("weights", tuned, &[])
    }

    fn of_tuned(&self, kind: &str, tuned: &Tuned, more: &[(&'static str, String)]) -> Option<Key> {
        let Tuned { tuning, images, recipe, model, seed } = *tuned;
        // A network from scratch is the same for every checkpoint of its architecture.
        let start = match tuning.arm {
            Arm::Source | Arm::Untrained(_) | Arm::Reference(_) => model.identity.digest.to_string(),
            Arm::Scratch => "fresh weights".to_owned(),
        };
        // Whichever place a reference has in the policy.
        let arm = if matches!(tuning.arm, Arm::Reference(_)) { Arm::Reference(0) } else { tuning.arm };
        // What trains is computed by heirloom, whatever computes frozen features.
        let on_features = tuning.mode == Mode::FixedFeature && recipe.on_features();
        let executor = if on_features { model.executor() } else { "heirloom".to_owned() };
        let own = [
            ("start", start),
            ("executor", executor),
            ("architecture", architecture(model)),
            ("arm", arm.to_string()),
            ("mode", tuning.mode.to_string()),
            ("images", images.fingerprint("training pictures", 1).to_string()),
            ("input", input(model)),
            ("features", model.feature_layer.fingerprint("features", 1).to_string()),
            ("recipe", recipe.fingerprint("recipe", 1).to_string()),
            ("seed", seed.to_string()),
        ];
        let parts: Vec<(&str, &str)> = self.parts.iter().chain(&own).chain(more).map(|(name, value)| (*name, value.as_str())).collect();
        of_build(kind, &parts)
    }
}

/// The key of the features of a frozen network for the images of a view, under a trigger where there is one.
pub(super) fn features_key(model: &Model, compute: &Compute, view: &Digest, trigger: Option<&Digest>) -> Option<Key> {
    let own = [
        ("device", compute.key()),
        ("model", model.identity.digest.to_string()),
        ("executor", model.executor()),
        ("architecture", architecture(model)),
        ("input", input(model)),
        ("features", model.feature_layer.fingerprint("features", 1).to_string()),
        ("view", view.to_string()),
        ("trigger", trigger.map_or_else(|| "none".to_owned(), Digest::to_string)),
    ];
    let parts: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    of_build("features", &parts)
}

/// What a network of fresh weights is known by: all that they and the statistics of its norms are made of.
pub(super) fn untrained(model: &Model, views: [&Digest; 2], (policy, draw): (&Policy, u64), compute: &Compute) -> Digest {
    let mut feed = Fingerprinter::new("heirloom untrained network", 1);
    feed.field("architecture", &architecture(model));
    feed.field("input", &input(model));
    feed.field("images", &views[0]);
    feed.field("seed", &policy.file.seed);
    feed.field("draw", &draw);
    feed.field("device", &compute.key());
    feed.later("salt", &policy.seed.salt());
    feed.finish()
}

/// Features that were kept, if they are `n` rows of `width`.
pub(super) fn features(cache: &Cache, key: &Key, shape: (usize, usize), budget: &MemoryBudget) -> Option<Raw> {
    Raw::of_bytes(&cache.get(key)?, shape, budget)
}

/// Keeps features.
pub(super) fn keep_features(cache: &Cache, key: &Key, name: &str, features: &Raw) -> std::io::Result<()> {
    cache.put(key, name, &features.bytes().map_err(std::io::Error::other)?)
}

/// What enters a network.
pub(super) fn input(model: &Model) -> String {
    model.input.fingerprint("input", 1).to_string()
}

/// The graph, which `--arch` or a file beside the weights may have decided, and its constants, which are never drawn anew. A network
/// that is run from its file alone is told by that file's digest.
fn architecture(model: &Model) -> String {
    let Ok(network) = &model.network else { return "of the file".to_owned() };
    let (trunk, params) = (&network.trunk, &network.params);
    let mut feed = Fingerprinter::new("architecture", 1);
    feed.field("trunk", &**trunk);
    for (slot, array) in trunk.slots().iter().zip(&params.0).filter(|(slot, _)| slot.role == Role::Constant) {
        feed.field("constant", &slot.name);
        feed.numbers(array.iter().copied());
    }
    feed.finish().to_string()
}

/// Weights from their bytes, if they are those of a graph.
pub(super) fn arrays(bytes: &[u8], graph: &Graph) -> Option<Vec<ArrayD<f32>>> {
    let mut numbers = bytes.chunks_exact(size_of::<f32>()).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let array = |shape: &Vec<usize>| {
        let values: Vec<f32> = numbers.by_ref().take(shape.iter().product()).collect();
        ArrayD::from_shape_vec(shape.as_slice(), values).ok()
    };
    let arrays: Vec<_> = graph.slots().iter().map(|slot| &slot.shape).map(array).collect::<Option<_>>()?;
    let all = arrays.iter().map(ArrayD::len).sum::<usize>() * size_of::<f32>() == bytes.len();
    all.then_some(arrays)
}

/// The bytes of weights.
pub(super) fn bytes(arrays: &[ArrayD<f32>]) -> Vec<u8> {
    arrays.iter().flatten().flat_map(|value| value.to_le_bytes()).collect()
}

/// An outcome that was kept.
pub(super) fn outcome(cache: &Cache, key: &Key) -> Option<Outcome> {
    serde_json::from_slice(&cache.get(key)?).ok()
}

/// Keeps an outcome.
pub(super) fn keep(cache: &Cache, key: &Key, name: &str, outcome: &Outcome) -> std::io::Result<()> {
    cache.put(key, name, &serde_json::to_vec(outcome)?)
}
