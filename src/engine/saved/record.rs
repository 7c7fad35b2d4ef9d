//! What is said of saved models: in the list of them, and in each file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::data::{Counted, TargetData};
use crate::model::{InputSpec, Model};
use crate::plan::Tuning;
use crate::policy::Policy;
use crate::probe::Arm;
use crate::report::Tool;
use crate::store::Digest;
use crate::tune::Mode;

/// Version of the list.
const SCHEMA: u32 = 1;

/// A fine-tune that is saved.
pub(in crate::engine) struct Tuned<'a> {
    pub tuning: Tuning,
    pub seed: usize,
    /// Which of the training images, where it is not all of them, in words.
    pub images: Option<String>,
    /// The checkpoint that it was trained from; none for fresh weights.
    pub start: Option<Digest>,
    /// What enters it.
    pub input: &'a InputSpec,
    /// How many epochs it was trained for: the weights are those after the last one.
    pub epochs: usize,
    /// On the test images, counted as the policy says.
    pub accuracy: f64,
}

/// The list of what was saved.
#[derive(Serialize)]
pub(super) struct Record {
    schema: u32,
    tool: Tool,
    /// The checkpoint under test.
    model: Named,
    policy: Named,
    target: Target,
    /// By what they start from, mode, training images and seed: in which order they are trained hangs on how fast the machine is.
    checkpoints: Vec<Checkpoint>,
}

#[derive(Serialize)]
struct Named {
    name: String,
    digest: Digest,
}

#[derive(Serialize)]
struct Target {
    data: String,
    /// Names by label: what the logits are of.
    classes: Vec<String>,
    /// How accuracy is counted.
    accuracy: Counted,
    train: View,
    test: View,
}

#[derive(Serialize)]
struct View {
    images: usize,
    digest: Digest,
}

/// One saved model.
#[derive(Serialize)]
pub(super) struct Checkpoint {
    file: String,
    digest: Digest,
    bytes: usize,
    arm: Arm,
    mode: Mode,
    seed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Digest>,
    epochs: usize,
    accuracy: f64,
    input: InputSpec,
}

impl Checkpoint {
    pub(super) fn of(tuned: &Tuned, name: &Path, onnx: &[u8]) -> Self {
        let Tuned { tuning: Tuning { arm, mode, .. }, seed, epochs, accuracy, input, .. } = *tuned;
        let (images, start) = (tuned.images.clone(), tuned.start.clone());
        let (file, digest, bytes, input) = (name.display().to_string(), Digest::of(onnx), onnx.len(), input.clone());
        Self { file, digest, bytes, arm, mode, seed, images, start, epochs, accuracy, input }
    }
}

impl Record {
    pub(super) fn new(policy: &Policy, model: &Model, data: &TargetData, tool: Tool) -> Self {
        let target = &policy.file.target;
        Self {
            schema: SCHEMA,
            tool,
            model: Named { name: model.identity.name(), digest: model.identity.digest.clone() },
            policy: Named { name: policy.file.name.clone(), digest: policy.digest.clone() },
            target: Target {
                data: target.data.to_string(),
                classes: data.classes.clone(),
                accuracy: target.accuracy,
                train: View { images: data.train.len(), digest: data.train.digest().clone() },
                test: View { images: data.test.len(), digest: data.test.digest().clone() },
            },
            checkpoints: Vec::new(),
        }
    }

    /// Adds a model, at its place.
    pub(super) fn add(&mut self, checkpoint: Checkpoint) {
        self.checkpoints.push(checkpoint);
        self.checkpoints.sort_by(|a, b| (a.arm, a.mode, &a.images, a.seed).cmp(&(b.arm, b.mode, &b.images, b.seed)));
    }

    /// As JSON.
    pub(super) fn text(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The metadata of a model's file. How images enter is written beside it (`heirloom.mean`, `heirloom.std`, `heirloom.size`, `heirloom.geometry`).
    pub(super) fn notes(&self, tuned: &Tuned) -> BTreeMap<String, String> {
        let Tuned { tuning: Tuning { arm, mode, .. }, seed, epochs, accuracy, .. } = tuned;
        // Plain names and words: writing them cannot fail.
        let text = |value: serde_json::Result<String>| value.unwrap_or_default();
        let counted = text(serde_json::to_string(&self.target.accuracy));
        let mut notes = BTreeMap::from(
            [
                ("classes", text(serde_json::to_string(&self.target.classes))),
                ("policy", self.policy.digest.to_string()),
                ("arm", arm.to_string()),
                ("mode", mode.to_string()),
                ("seed", seed.to_string()),
                ("epochs", epochs.to_string()),
                ("accuracy", accuracy.to_string()),
                ("accuracy_counted", counted.trim_matches('"').to_owned()),
                ("test_images", self.target.test.images.to_string()),
            ]
            .map(|(name, value)| (format!("heirloom.{name}"), value)),
        );
        notes.extend(tuned.images.iter().map(|images| ("heirloom.images".to_owned(), images.clone())));
        notes.extend(tuned.start.iter().map(|start| ("heirloom.from".to_owned(), start.to_string())));
        notes
    }
}
