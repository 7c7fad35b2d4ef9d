//! What a frozen network gives: its features under every view, made or found, and standardised.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::Tensor;

use super::{Bench, Done, Frozen, MOST_KEPT, Prepared, timed};
use crate::diag;
use crate::engine::wording::Step;
use crate::engine::{EngineError, Event, cache_keys};
use crate::exec::{self, Weights};
use crate::model::Model;
use crate::pixels::Frame;
use crate::plan::Tuning;
use crate::probe::Arm;
use crate::report::{Passage, Stage};
use crate::store::{self, Cache, Key};
use crate::transform::PreparedTrigger;
use crate::tune::{Features, Raw, Standard, TuneError};

/// A view of the images of one set, as the heads of an arm are shown it.
pub(super) struct View<'t> {
    /// Whether it is of the training images, else of the test images.
    train: bool,
    what: String,
    change: Option<&'t PreparedTrigger>,
}

impl<'a> Bench<'a> {
    /// The rules that measure an arm's heads, whatever images these train on, with the shams that they are shown.
    fn measuring_heads(&self, arm: Arm) -> impl Iterator<Item = (&Prepared<'a>, &[PreparedTrigger])> {
        let resolved = self.settings.resolved;
        self.shown(move |tuning: Tuning| tuning.arm == arm && resolved.on_features(tuning))
    }

    /// Every view of the images that the heads of an arm are shown.
    pub(super) fn views(&self, arm: Arm) -> Vec<View<'_>> {
        let plain = |train, what: &str| View { train, what: what.to_owned(), change: None };
        let mut views = vec![plain(true, "training images"), plain(false, "test images")];
        for (prepared, shams) in self.measuring_heads(arm) {
            let changed = prepared.change.iter().map(|(trigger, _)| (prepared.rule.id.clone(), trigger));
            views.extend(changed.map(|(what, trigger)| View { train: false, what, change: Some(trigger) }));
            views.extend(sham_views(&prepared.rule.id, shams));
        }
        views
    }

    /// The images of some views.
    pub(super) fn images_of(&self, views: &[View]) -> usize {
        views.iter().map(|view| if view.train { self.task.train.len() } else { self.task.test.len() }).sum()
    }

    /// The cache, if the features of an arm may be kept: they are small beside what it holds.
    fn features_cache(&self, arm: Arm) -> Result<Option<&'a Cache>, String> {
        let Some((cache, _)) = &self.cache else { return Ok(None) };
        let width = self.model(arm).map_or(0, |model| model.feature_layer.width);
        let bytes = (self.images_of(&self.views(arm)) * width * size_of::<f32>()) as u64;
        if bytes > MOST_KEPT { Err(store::bytes(bytes)) } else { Ok(Some(cache)) }
    }

    /// Whether an earlier run kept all features that a job needs.
    pub(super) fn all_features_kept(&self, tuning: Tuning) -> bool {
        let (Ok(Some(cache)), Ok(model)) = (self.features_cache(tuning.arm), self.model(tuning.arm)) else { return false };
        let views = self.views(tuning.arm);
        let mut keys = views.iter().map(|view| self.features_key(model, view));
        self.settings.resolved.on_features(tuning) && keys.all(|key| key.is_some_and(|key| cache.has(&key)))
    }

    fn features_key(&self, model: &Model, view: &View) -> Option<Key> {
        let of = &self.task.views[usize::from(!view.train)];
        cache_keys::features_key(model, self.settings.compute, of, view.change.map(PreparedTrigger::digest).as_ref())
    }

    /// The features of an arm under every view that its heads are shown, where they are not there yet.
    pub(super) fn make_ready(
        &mut self,
        arm: Arm,
        emit: &mut dyn FnMut(Event),
        stages: &mut BTreeMap<Step, Stage>,
    ) -> Result<(), EngineError> {
        let step = Step::Features(arm);
        if self.frozen.contains_key(&arm) {
            // The heads so far needed no features under these shams: what they do under them was kept by an earlier run.
            for of_rule in self.without_shams(arm) {
                let images = (self.prepared[of_rule].shams.len() * self.task.test.len()) as u64;
                let name = self.step_name(step);
                timed((step, name.clone()), &Rc::clone(&self.seen), emit, stages, |emit| {
                    emit(Event::StageStart { stage: name, total: Some(images), unit: "images" });
                    self.extract_shams(arm, of_rule, emit)?;
                    Ok(((), Done { summary: String::new(), kept: 0 }))
                })?;
            }
            return Ok(());
        }
        let frozen = timed((step, self.step_name(step)), &Rc::clone(&self.seen), emit, stages, |emit| self.extract(arm, emit))?;
        self.frozen.insert(arm, frozen);
        Ok(())
    }

    /// Features of every image, clean and changed; what of them was kept, in words.
    fn extract(&self, arm: Arm, emit: &mut dyn FnMut(Event)) -> Result<(Frozen, Done), EngineError> {
        let views = self.views(arm);
        emit(Event::StageStart { stage: self.step_name(Step::Features(arm)), total: Some(self.images_of(&views) as u64), unit: "images" });
        let (all, done) = self.features_of(arm, &views, emit)?;
        Ok((self.standardised(arm, all)?, done))
    }

    /// The rules (their indices) whose shams the heads of an arm are shown, though there are no features under these.
    pub(super) fn without_shams(&self, arm: Arm) -> Vec<usize> {
        let Some(frozen) = self.frozen.get(&arm) else { return Vec::new() };
        let lacks = |prepared: &Prepared, shams: &[PreparedTrigger]| {
            frozen.changed.get(&prepared.rule.id).is_some_and(|(_, there)| there.len() < shams.len())
        };
        let lacking: Vec<&str> = self
            .measuring_heads(arm)
            .filter(|(prepared, shams)| lacks(prepared, shams))
            .map(|(prepared, _)| prepared.rule.id.as_str())
            .collect();
        (0..self.prepared.len()).filter(|&at| lacking.contains(&self.prepared[at].rule.id.as_str())).collect()
    }

    /// Features under the shams of a rule (by its index), where they are not there yet.
    pub(super) fn extract_shams(&mut self, arm: Arm, of_rule: usize, emit: &mut dyn FnMut(Event)) -> Result<(), EngineError> {
        let prepared = &self.prepared[of_rule];
        let rule = prepared.rule.id.clone();
        let Some(frozen) = self.frozen.get(&arm) else { return Ok(()) };
        if frozen.changed.get(&rule).is_none_or(|(_, shams)| shams.len() == prepared.shams.len()) {
            return Ok(());
        }
        let views: Vec<View> = sham_views(&rule, &prepared.shams).collect();
        let (all, _) = self.features_of(arm, &views, emit)?;
        let shams = all.into_iter().map(|raw| Features::new(raw, &frozen.standard)).collect();
        if let Some((_, place)) = self.frozen.get_mut(&arm).and_then(|frozen| frozen.changed.get_mut(&rule)) {
            *place = shams;
        }
        Ok(())
    }

    /// The features of some views, found or made; what of them was kept, in words.
    fn features_of(&self, arm: Arm, views: &[View], emit: &mut dyn FnMut(Event)) -> Result<(Vec<Raw>, Done), EngineError> {
        let model = self.model(arm)?;
        let width = model.feature_layer.width;
        let own = match &model.runtime {
            Ok(_) => None,
            Err(_) => Some((model.own()?, Weights::on(self.settings.compute, &model.own()?.params.0)?)),
        };
        let (cache, too_large) = match self.features_cache(arm) {
            Ok(cache) => (cache, None),
            Err(bytes) => (None, Some(bytes)),
        };
        let (mut done, mut found) = (0u64, 0);
        let mut all = Vec::with_capacity(views.len());
        for view in views {
            let trigger = view.change;
            let images = if view.train { &self.task.train } else { &self.task.test }.seen_by(&model.input);
            let key = cache.and_then(|cache| Some((cache, self.features_key(model, view)?)));
            if let Some(features) =
                key.as_ref().and_then(|(cache, key)| cache_keys::features(cache, key, (images.len(), width), self.settings.budget))
            {
                found += 1;
                done += images.len() as u64;
                self.count(arm, Passage::Kept, images.len());
                emit(Event::Progress { done });
                all.push(features);
                continue;
            }
            let change = |frame: &mut Frame| {
                if let Some(trigger) = trigger {
                    trigger.apply(frame);
                }
            };
            let feed = if trigger.is_some() { images.changed(&change) } else { images.plain() };
            let mut tick = |images: usize| {
                done += images as u64;
                emit(Event::Progress { done });
                self.pass(arm, Passage::Evaluated, images)
            };
            let compute = |input: &Tensor| match (&model.runtime, &own) {
                (_, Some((network, weights))) => Ok(exec::infer(&network.trunk, weights, &weights.place(input)?)?),
                (Ok(extractor), None) => Ok(extractor.features(input)?),
                // Then there is a network of our own, or no model.
                (Err(_), None) => Err(TuneError::Stopped),
            };
            let features = Raw::extract(width, &compute, &feed, self.settings.budget, &mut tick)?;
            if let Some((cache, key)) = &key {
                let name = format!("{}, {}, {}", model.identity.name(), view.what, model.executor());
                if let Err(error) = cache_keys::keep_features(cache, key, &name, &features) {
                    emit(Event::Warning(format!("these features are not kept for later runs: {error}")));
                }
            }
            all.push(features);
        }
        let summary = match (too_large, found) {
            (Some(bytes), _) => format!("not kept for later runs: {bytes}, at most {} are", store::bytes(MOST_KEPT)),
            (None, 0) => String::new(),
            (None, found) if found == views.len() => "kept from an earlier run".to_owned(),
            // Rules may share a trigger, and the second reads what the first kept.
            (None, found) => format!("{found} of {} views {} kept", views.len(), diag::agree(&found, "was", "were")),
        };
        Ok((all, Done { summary, kept: found }))
    }

    /// Features view by view, in the order of [`Bench::views`], made ready for heads.
    fn standardised(&self, arm: Arm, views: Vec<Raw>) -> Result<Frozen, EngineError> {
        let mut views = views.into_iter();
        let mut next = || views.next().ok_or(EngineError::Tune(TuneError::NoFeatures));
        let train = next()?;
        let standard = Standard::of(&train).map_err(TuneError::from)?;
        let mut next = || next().map(|features| Features::new(features, &standard));
        let test = next()?;
        let mut changed = BTreeMap::new();
        for (prepared, shams) in self.measuring_heads(arm).filter(|(prepared, _)| prepared.change.is_some()) {
            let triggered = next()?;
            let shams = shams.iter().map(|_| next()).collect::<Result<_, _>>()?;
            changed.insert(prepared.rule.id.clone(), (triggered, shams));
        }
        Ok(Frozen { train: Features::new(train, &standard), test, changed, standard })
    }
}

/// Views of the test images under the shams of a rule.
fn sham_views<'t>(rule: &str, shams: &'t [PreparedTrigger]) -> impl Iterator<Item = View<'t>> {
    shams.iter().enumerate().map(move |(draw, sham)| View { train: false, what: format!("{rule}, sham {draw}"), change: Some(sham) })
}
