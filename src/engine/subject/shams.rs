//! Shams where they are needed: what the fine-tunes of a question do under them, made up for when its finding does not pass without.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Bench, Done, Prepared, timed};
use crate::engine::wording::Step;
use crate::engine::{EngineError, Event};
use crate::plan::{Job, PlanError, Question, Tuning};
use crate::probe::{Arm, Outcome};
use crate::report::{Passage, Stage};
use crate::tune::Recipe;

impl Bench<'_> {
    /// Predicted seconds of [`Bench::show_shams`]; what an earlier run kept costs nothing.
    pub(in crate::engine) fn seconds_under_shams(&self, question: &Question, job: &Job) -> f64 {
        let resolved = self.settings.resolved;
        let Some((prepared, recipe)) = self.asked(question, job) else { return 0.0 };
        let seeds = self.seeds.get(&job.tuning).copied().unwrap_or(0);
        let kept = |seed: usize| self.kept_outcome(prepared, job.tuning, recipe, (seed, prepared.shams.len())).is_some();
        let missing = (0..seeds).filter(|seed| !kept(*seed)).count();
        if missing == 0 {
            return 0.0;
        }
        let share = 1.0 / resolved.sparing(job.tuning).count().max(1) as f64;
        let shams = share * (job.shams.once + job.shams.each * missing as f64);
        // What an earlier run kept without shams and without weights is trained again.
        let there = |seed: usize| self.waiting.contains_key(&(job.tuning, seed)) || self.has_weights(job.tuning, recipe, seed);
        let untrained = (0..seeds).filter(|seed| !kept(*seed) && !there(*seed)).count();
        let frozen = self.frozen.contains_key(&job.tuning.arm) || self.all_features_kept(job.tuning);
        let once = if frozen { 0.0 } else { job.seconds.once };
        shams + once + job.seconds.each * untrained as f64
    }

    /// The rule of a question as it is laid over images, and the recipe of a job.
    fn asked(&self, question: &Question, job: &Job) -> Option<(&Prepared<'_>, &Recipe)> {
        let prepared = self.prepared.iter().find(|prepared| prepared.rule.id == question.rule.id)?;
        Some((prepared, self.settings.resolved.recipe(job.tuning)?))
    }

    /// Predicted seconds of all shams that a job is spared as long as its findings pass without them, for a run that has not begun; what earlier ones
    /// kept costs nothing.
    pub(in crate::engine) fn seconds_under_spared(&self, job: &Job) -> f64 {
        let resolved = self.settings.resolved;
        let (seeds, of) = (job.seeds.most, resolved.sparing(job.tuning).count().max(1) as f64);
        let mut seconds = 0.0;
        let mut lacking = BTreeSet::new();
        for question in resolved.sparing(job.tuning) {
            let Some((prepared, recipe)) = self.asked(question, job) else { continue };
            let kept = |seed: usize| self.kept_outcome(prepared, job.tuning, recipe, (seed, prepared.shams.len())).is_some();
            let missing: Vec<usize> = (0..seeds).filter(|seed| !kept(*seed)).collect();
            if !missing.is_empty() {
                seconds += (job.shams.once + job.shams.each * missing.len() as f64) / of;
            }
            lacking.extend(missing);
        }
        let Some(recipe) = resolved.recipe(job.tuning).filter(|_| !lacking.is_empty()) else { return seconds };
        // What is kept without shams is made again, unless its weights are kept too; what is not kept is there by then.
        let again = |seed: &&usize| self.kept(job.tuning, recipe, **seed).is_some() && !self.has_weights(job.tuning, recipe, **seed);
        let once = if self.missing(job, 2) > 0 || self.all_features_kept(job.tuning) { 0.0 } else { job.seconds.once };
        seconds + once + job.seconds.each * lacking.iter().filter(again).count() as f64
    }

    /// Shows the fine-tunes of a question, those so far, its shams; those to come are shown them at once.
    pub(in crate::engine) fn show_shams(
        &mut self,
        at: usize,
        emit: &mut dyn FnMut(Event),
        stages: &mut BTreeMap<Step, Stage>,
    ) -> Result<(), EngineError> {
        let resolved = self.settings.resolved;
        let Some((question, tuning)) = resolved.questions.get(at).and_then(|question| Some((question, question.tuning(Arm::Source)?)))
        else {
            return Ok(());
        };
        let key = (question.rule.id.clone(), tuning);
        let was_spared = self.spared.remove(&key);
        let shown = self.make_up(at, &key, emit, stages);
        if shown.is_err() && was_spared {
            self.spared.insert(key);
        }
        shown
    }

    fn make_up(
        &mut self,
        at: usize,
        key: &(String, Tuning),
        emit: &mut dyn FnMut(Event),
        stages: &mut BTreeMap<Step, Stage>,
    ) -> Result<(), EngineError> {
        let (rule, tuning) = key;
        let (arm, mode) = (tuning.arm, tuning.mode);
        let recipe = self.settings.resolved.recipe(*tuning).ok_or(PlanError::Recipe { arm, mode })?;
        let Some(of_rule) = self.prepared.iter().position(|prepared| prepared.rule.id == *rule) else { return Ok(()) };
        let on_features = self.settings.resolved.on_features(*tuning);
        let draws = self.prepared[of_rule].shams.len();
        let seeds: Vec<usize> = self.measured.get(key).iter().flat_map(|m| m.outcomes.iter().map(|outcome| outcome.seed)).collect();
        let found = |seed: usize| Some((seed, self.kept_outcome(&self.prepared[of_rule], *tuning, recipe, (seed, draws))?.shams));
        let kept: BTreeMap<usize, Vec<Vec<u16>>> = seeds.iter().filter_map(|seed| found(*seed)).collect();
        let missing = seeds.len() - kept.len();
        if on_features && missing > 0 && !self.frozen.contains_key(&arm) {
            self.make_ready(arm, emit, stages)?;
        }
        let images = draws * self.task.test.len();
        let step = Step::Shams(at);
        let name = self.step_name(step);
        let summary = if missing == 0 && !seeds.is_empty() { "kept from an earlier run".to_owned() } else { String::new() };
        let (seen, done) = (Rc::clone(&self.seen), Done { summary, kept: kept.len() });
        let shown = timed((step, name.clone()), &seen, emit, stages, |emit| {
            let total = if on_features { images } else { images * missing };
            emit(Event::StageStart { stage: name, total: Some(total as u64), unit: "images" });
            if on_features && missing > 0 {
                self.extract_shams(arm, of_rule, emit)?;
            }
            let mut shown: BTreeMap<usize, Vec<Vec<u16>>> = BTreeMap::new();
            let mut ran = 0;
            for seed in seeds {
                let shams = if let Some(shams) = kept.get(&seed) {
                    let once = !on_features || self.frozen.contains_key(&arm) && missing == 0 && shown.is_empty();
                    self.count(arm, Passage::Kept, if once { images } else { 0 });
                    shams.clone()
                } else {
                    let fine_tuned = self.fine_tuned(*tuning, recipe, seed, 0, &mut |_| {})?;
                    let see = |draw| self.predictions(&fine_tuned, *tuning, Some((&self.prepared[of_rule], Some(draw))));
                    let shams = (0..draws).map(see).collect::<Result<_, _>>()?;
                    ran += images as u64;
                    if !on_features {
                        emit(Event::Progress { done: ran });
                    }
                    shams
                };
                shown.insert(seed, shams);
            }
            Ok((shown, done))
        })?;
        let mut whole: Vec<Outcome> = Vec::new();
        for outcome in self.measured.get_mut(key).iter_mut().flat_map(|measured| measured.outcomes.iter_mut()) {
            if let Some(shams) = shown.get(&outcome.seed) {
                outcome.shams.clone_from(shams);
                whole.push(outcome.clone());
            }
        }
        for outcome in whole.into_iter().filter(|outcome| !kept.contains_key(&outcome.seed)) {
            self.keep(*tuning, recipe, &[(rule.clone(), outcome)], emit);
        }
        Ok(())
    }
}
