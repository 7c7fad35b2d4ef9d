//! Fine-tunes of a bench that are saved for the user.

use std::collections::BTreeMap;

use super::{Bench, FineTuned};
use crate::engine::saved::{SaveError, Saver, Tuned};
use crate::engine::{EngineError, Event};
use crate::model::{Model, Params};
use crate::plan::Tuning;
use crate::probe;
use crate::tune::TuneError;

impl Bench<'_> {
    /// Whether fine-tunes are saved, so that what an earlier run kept of what they answer is not enough.
    pub(super) fn saves(&self, tuning: Tuning) -> bool {
        self.settings.saver.is_some_and(|saver| saver.wants(tuning.arm))
    }

    /// Whether it is saved how fine-tunes were trained, so that weights which an earlier run kept are not enough.
    pub(super) fn shows_course(&self, tuning: Tuning) -> bool {
        self.settings.saver.is_some_and(|saver| saver.wants_curves(tuning.arm))
    }

    /// Saves a fine-tune, if that is asked; `clean`: what it calls the test images. A failure is told, and takes nothing away from the run.
    pub(super) fn save(&self, tuning: Tuning, seed: usize, tuned: &FineTuned, clean: &[u16], emit: &mut dyn FnMut(Event)) {
        let Some(saver) = self.settings.saver.filter(|saver| saver.wants(tuning.arm)) else { return };
        if let Err(error) = self.try_to_save(saver, tuning, seed, tuned, clean) {
            emit(Event::Warning(saver.fail(error)));
        }
    }

    fn try_to_save(&self, saver: &Saver, tuning: Tuning, seed: usize, fine_tuned: &FineTuned, clean: &[u16]) -> Result<(), SaveError> {
        let resolved = self.settings.resolved;
        let Ok(model) = self.model(tuning.arm) else { return Ok(()) };
        let tuned = Tuned {
            tuning,
            seed,
            images: resolved.views.get(tuning.view).and_then(Option::as_ref).map(ToString::to_string),
            start: (!tuning.arm.is_fresh()).then(|| model.identity.digest.clone()),
            input: &model.input,
            epochs: resolved.recipe(tuning).map_or(0, |recipe| recipe.epochs),
            accuracy: probe::of_one_seed(clean, &self.task.test_labels, resolved.policy.file.target.accuracy),
        };
        if saver.wants_models(tuning.arm) {
            let onnx = self.onnx((tuning, model), fine_tuned, saver.notes(&tuned));
            let unwritable = |error: EngineError| SaveError::Model { name: model.identity.name(), reason: error.to_string() };
            saver.model(&tuned, &onnx.map_err(unwritable)?)?;
        }
        match &fine_tuned.course {
            Some(course) if saver.wants_curves(tuning.arm) => saver.curve(&tuned, course),
            _ => Ok(()),
        }
    }

    /// A fine-tune as one network from images to logits, in ONNX. A head on features that were made once is put behind the network that made them.
    fn onnx(
        &self,
        (tuning, model): (Tuning, &Model),
        FineTuned { graph, weights, .. }: &FineTuned,
        notes: BTreeMap<String, String>,
    ) -> Result<Vec<u8>, EngineError> {
        let arrays = weights.to_arrays()?;
        let frozen = self.frozen.get(&tuning.arm).filter(|_| self.settings.resolved.on_features(tuning));
        let Some(frozen) = frozen else { return Ok(model.export_tuned(graph, &Params(arrays), notes)?) };
        let [weight, bias] = arrays.as_slice() else { return Err(TuneError::NoFeatures.into()) };
        let head = frozen.standard.undone(weight, bias).ok_or(TuneError::NoFeatures)?;
        let (graph, ..) = model.with_head(self.task.classes.len())?;
        let mut params = model.own()?.params.0.clone();
        params.extend(head);
        Ok(model.export_tuned(&graph, &Params(params), notes)?)
    }
}
