//! What earlier runs kept of fine-tunes, what is kept for later ones, and how many images went through networks.

use super::{Bench, FineTuned, MOST_WEIGHTS, Prepared};
use crate::engine::{EngineError, Event, cache_keys};
use crate::exec::Weights;
use crate::graph::Graph;
use crate::plan::Tuning;
use crate::probe::{Arm, Outcome};
use crate::report::{Forwarded, Passage};
use crate::store::Rows;
use crate::transform::SHAM_DRAWS;
use crate::tune::{Recipe, TuneError};

impl Bench<'_> {
    /// The outcomes of a seed that an earlier run kept, if it kept those of every rule.
    pub(super) fn kept(&self, tuning: Tuning, recipe: &Recipe, seed: usize) -> Option<Vec<(String, Outcome)>> {
        let find = |(prepared, shams): (&Prepared, &[_])| {
            // One with shams serves whoever needs none, who must not see them: equal runs give equal reports, whatever is kept.
            let with_shams = if shams.is_empty() { self.kept_outcome(prepared, tuning, recipe, (seed, SHAM_DRAWS)) } else { None };
            let without = with_shams.map(|outcome| Outcome { shams: Vec::new(), ..outcome });
            let outcome = without.or_else(|| self.kept_outcome(prepared, tuning, recipe, (seed, shams.len())))?;
            Some((prepared.rule.id.clone(), outcome))
        };
        self.cache.as_ref()?;
        // An outcome is no fine-tune: what is to be saved is made anew.
        if self.saves(tuning) {
            return None;
        }
        self.measuring(tuning).map(find).collect()
    }

    /// The outcome of a seed for one rule, with so many shams, that an earlier run kept.
    pub(super) fn kept_outcome(
        &self,
        prepared: &Prepared,
        tuning: Tuning,
        recipe: &Recipe,
        (seed, shams): (usize, usize),
    ) -> Option<Outcome> {
        let (cache, shared) = self.cache.as_ref()?;
        let tuned = self.tuned(tuning, recipe, self.model(tuning.arm).ok()?, seed);
        cache_keys::outcome(cache, &shared.key(&tuned, (prepared.digest(), shams))?)
    }

    /// Keeps the outcomes of a seed for later runs.
    pub(super) fn keep(&self, tuning: Tuning, recipe: &Recipe, outcomes: &[(String, Outcome)], emit: &mut dyn FnMut(Event)) {
        let (Some((cache, shared)), Ok(model)) = (&self.cache, self.model(tuning.arm)) else { return };
        for (rule, outcome) in outcomes {
            let Some(prepared) = self.prepared.iter().find(|prepared| prepared.rule.id == *rule) else { continue };
            let tuned = self.tuned(tuning, recipe, model, outcome.seed);
            let Some(key) = shared.key(&tuned, (prepared.digest(), outcome.shams.len())) else { continue };
            let name = format!("{}, {}, {rule}, seed {}", model.identity.name(), self.name(tuning), outcome.seed);
            if let Err(error) = cache_keys::keep(cache, &key, &name, outcome) {
                emit(Event::Warning(format!("this fine-tune is not kept for later runs: {error}")));
            }
        }
    }

    /// The weights of a fine-tune that an earlier run kept: another rule of the same recipe needs no training.
    pub(super) fn kept_weights(&self, tuned: &cache_keys::Tuned, graph: &Graph) -> Result<Option<Weights>, TuneError> {
        let Some((cache, shared)) = &self.cache else { return Ok(None) };
        let kept = shared.weights_key(tuned).and_then(|key| cache_keys::arrays(&cache.get(&key)?, graph));
        Ok(kept.map(|arrays| Weights::on(self.settings.compute, &arrays)).transpose()?)
    }

    /// Whether an earlier run kept the weights of a fine-tune.
    pub(super) fn has_weights(&self, tuning: Tuning, recipe: &Recipe, seed: usize) -> bool {
        let (Some((cache, shared)), Ok(model)) = (&self.cache, self.model(tuning.arm)) else { return false };
        shared.weights_key(&self.tuned(tuning, recipe, model, seed)).is_some_and(|key| cache.has(&key))
    }

    /// Keeps the weights of a fine-tune for later runs, unless they are large beside what the folder holds.
    pub(super) fn keep_weights(&self, tuned: &cache_keys::Tuned, weights: &Weights, emit: &mut dyn FnMut(Event)) -> Result<(), TuneError> {
        let Some((cache, shared)) = &self.cache else { return Ok(()) };
        let bytes = cache_keys::bytes(&weights.to_arrays()?);
        let Some(key) = shared.weights_key(tuned).filter(|_| bytes.len() as u64 <= MOST_WEIGHTS) else { return Ok(()) };
        let name = format!("{}, {}, weights, seed {}", tuned.model.identity.name(), self.name(tuned.tuning), tuned.seed);
        if let Err(error) = cache.put(&key, &name, &bytes) {
            emit(Event::Warning(format!("these weights are not kept for later runs: {error}")));
        }
        Ok(())
    }

    /// Lets a fine-tune wait while it is not known whether it is to be shown shams: where memory finds no room, on disk.
    pub(super) fn let_wait(&mut self, tuning: Tuning, seed: usize, tuned: &FineTuned) -> Result<(), EngineError> {
        if self.spared.iter().any(|(_, spared)| *spared == tuning) {
            let bytes = cache_keys::bytes(&tuned.weights.to_arrays().map_err(TuneError::from)?);
            let mut rows = Rows::new(1, bytes.len(), self.settings.budget).map_err(TuneError::from)?;
            rows.write(0, &bytes).map_err(TuneError::from)?;
            self.waiting.insert((tuning, seed), rows);
        }
        Ok(())
    }

    /// A fine-tune that waits.
    pub(super) fn waited(&self, tuning: Tuning, seed: usize, graph: &Graph) -> Result<Option<Weights>, TuneError> {
        let Some(rows) = self.waiting.get(&(tuning, seed)) else { return Ok(None) };
        let arrays = cache_keys::arrays(rows.row(0, &mut Vec::new())?, graph);
        Ok(arrays.map(|arrays| Weights::on(self.settings.compute, &arrays)).transpose()?)
    }

    /// Lets go of the fine-tunes that `done` holds of: nobody will ask for them.
    pub(in crate::engine) fn forget(&mut self, done: &dyn Fn(Tuning) -> bool) {
        self.waiting.retain(|(tuning, _), _| !done(*tuning));
    }

    /// Counts images that went, or did not have to go, through a whole network.
    pub(super) fn count(&self, arm: Arm, passage: Passage, images: usize) {
        let mut forwarded = self.forwarded.get();
        forwarded.add(arm, passage, images as u64);
        self.forwarded.set(forwarded);
    }

    /// Counts the images of a fine-tune whose outcomes were kept. Those of heads are counted where their features are.
    pub(super) fn count_kept(&self, tuning: Tuning, recipe: &Recipe, seed: usize) {
        if !self.settings.resolved.on_features(tuning) {
            let views: usize = self.measuring(tuning).map(|(p, shams)| usize::from(p.change.is_some()) + shams.len()).sum();
            let trained = self.pool(tuning, seed).map_or(0, |pool| pool.len() * recipe.epochs);
            self.count(tuning.arm, Passage::Kept, trained + self.task.test.len() * (1 + views));
        }
    }

    /// How many images went through whole networks.
    pub(in crate::engine) fn forwarded(&self) -> Forwarded {
        let mut all = self.forwarded.get();
        // No features were needed where the outcomes of all heads were kept.
        let heads = self.seeds.keys().filter(|tuning| self.settings.resolved.on_features(**tuning)).map(|tuning| tuning.arm);
        for arm in heads.collect::<std::collections::BTreeSet<_>>() {
            if !self.frozen.contains_key(&arm) {
                all.add(arm, Passage::Kept, self.images_of(&self.views(arm)) as u64);
            }
        }
        all
    }
}
