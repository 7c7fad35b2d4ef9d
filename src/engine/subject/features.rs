//! What a frozen network gives: its features under every view, made or found, and standardised.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{Bench, Done, Frozen, MOST_KEPT, Prepared};
use crate::diag;
use crate::engine::wording::Step;
use crate::engine::{EngineError, Event, cache_keys};
use crate::exec::{self, Weights};
use crate::model::Model;
use crate::pixels::Frame;
use crate::plan::Tuning;
use crate::probe::Arm;
use crate::store::{self, Cache, Key};
use crate::transform::PreparedTrigger;
use crate::tune::{Features, Mode, Raw, Standard, TuneError};

impl<'a> Bench<'a> {
    /// The rules that measure an arm's heads, whatever images these train on, with their shams.
    fn measuring_heads(&self, arm: Arm) -> impl Iterator<Item = (&Prepared<'a>, &[PreparedTrigger])> {
        let resolved = self.settings.resolved;
        let heads = move |tuning: Tuning| tuning.arm == arm && tuning.mode == Mode::FixedFeature;
        let of = move |p: &Prepared<'a>| p.shams_for(resolved, heads).map(<[_]>::len);
        self.prepared.iter().filter_map(move |p| of(p).map(|shams| (p, &p.shams[..shams])))
    }

    /// Every view of the images that the heads of an arm are shown: what it is, and under what change.
    fn views(&self, arm: Arm) -> Vec<(String, Option<&PreparedTrigger>)> {
        let mut views = vec![("training images".to_owned(), None), ("test images".to_owned(), None)];
        for (prepared, shams) in self.measuring_heads(arm) {
            let rule = &prepared.rule.id;
            views.extend(prepared.change.iter().map(|(trigger, _)| (rule.clone(), Some(trigger))));
            views.extend(shams.iter().enumerate().map(|(draw, sham)| (format!("{rule}, sham {draw}"), Some(sham))));
        }
        views
    }

    /// The cache, if the features of an arm may be kept: they are small beside what it holds.
    fn features_cache(&self, arm: Arm) -> Result<Option<&'a Cache>, String> {
        let Some((cache, _)) = &self.cache else { return Ok(None) };
        let width = self.model(arm).map_or(0, |model| model.feature_layer.width);
        let rows = self.task.train.len() + self.task.test.len() * (self.views(arm).len() - 1);
        let bytes = (rows * width * size_of::<f32>()) as u64;
        if bytes > MOST_KEPT { Err(store::bytes(bytes)) } else { Ok(Some(cache)) }
    }

    /// Whether an earlier run kept all features that a job needs.
    pub(super) fn all_features_kept(&self, tuning: Tuning) -> bool {
        let (Ok(Some(cache)), Ok(model)) = (self.features_cache(tuning.arm), self.model(tuning.arm)) else { return false };
        let views = self.views(tuning.arm);
        let mut keys = views.iter().enumerate().map(|(i, (_, trigger))| self.features_key(model, i, *trigger));
        tuning.mode == Mode::FixedFeature && keys.all(|key| key.is_some_and(|key| cache.has(&key)))
    }

    /// The first view is that of the training images, all others are of the test images.
    fn features_key(&self, model: &Model, view: usize, trigger: Option<&PreparedTrigger>) -> Option<Key> {
        let view = &self.task.views[usize::from(view > 0)];
        cache_keys::features_key(model, self.settings.compute, view, trigger.map(PreparedTrigger::digest).as_ref())
    }

    /// Features of every image, clean and changed; what of them was kept, in words.
    pub(super) fn extract(&self, arm: Arm, emit: &mut dyn FnMut(Event)) -> Result<(Frozen, Done), EngineError> {
        let model = self.model(arm)?;
        let width = model.feature_layer.width;
        let own = match &model.runtime {
            Ok(_) => None,
            Err(_) => Some((model.own()?, Weights::on(self.settings.compute, &model.own()?.params.0)?)),
        };
        let views = self.views(arm);
        let total = self.task.train.len() + self.task.test.len() * (views.len() - 1);
        emit(Event::StageStart { stage: self.step_name(Step::Features(arm)), total: Some(total as u64), unit: "images" });
        let (cache, too_large) = match self.features_cache(arm) {
            Ok(cache) => (cache, None),
            Err(bytes) => (None, Some(bytes)),
        };
        let (mut done, mut found) = (0u64, 0);
        let mut all = Vec::with_capacity(views.len());
        for (i, (what, trigger)) in views.iter().enumerate() {
            let images = if i == 0 { &self.task.train } else { &self.task.test }.seen_by(&model.input);
            let key = cache.and_then(|cache| Some((cache, self.features_key(model, i, *trigger)?)));
            if let Some(features) =
                key.as_ref().and_then(|(cache, key)| cache_keys::features(cache, key, (images.len(), width), self.settings.budget))
            {
                found += 1;
                done += images.len() as u64;
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
                self.step(images)
            };
            let compute = |input: &Tensor| match (&model.runtime, &own) {
                (_, Some((network, weights))) => Ok(exec::infer(&network.trunk, weights, &weights.place(input)?)?),
                (Ok(extractor), None) => Ok(extractor.features(input)?),
                // Then there is a network of our own, or no model.
                (Err(_), None) => Err(TuneError::Stopped),
            };
            let features = Raw::extract(width, &compute, &feed, self.settings.budget, &mut tick)?;
            if let Some((cache, key)) = &key {
                let name = format!("{}, {what}, {}", model.identity.name(), model.executor());
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
        Ok((self.standardised(arm, all)?, Done { summary, kept: found }))
    }

    /// Features view by view, in the order of [`Bench::views`], made ready for heads.
    fn standardised(&self, arm: Arm, views: Vec<Raw>) -> Result<Frozen, EngineError> {
        let mut views = views.into_iter();
        let mut next = || views.next().ok_or(EngineError::Tune(TuneError::Empty { images: 0 }));
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
        Ok(Frozen { train: Features::new(train, &standard), test, changed })
    }
}
