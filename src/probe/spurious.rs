//! The spurious-feature probe, synthetic: a feature is laid over the images of some classes, and each is compared with itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::About;
use crate::transform::Trigger;

/// In plain English.
pub(super) const ABOUT: About = About {
    measures: "A feature is laid over the test images of the named classes, and each image's prediction is compared with that of the \
               same image without it, beside shams of the feature.",
    matters: "Source models learn shortcuts: a watermark, a colour, a prop that went with a class. A model fine-tuned from them turns to \
              the shortcut wherever it appears, also on classes that it has nothing to do with.",
    failure: "The feature moves predictions of these classes more than its shams do, by more than the limit.",
    remedy: "Put images with the feature into the target task's training data, on all classes alike, and certify again; or fine-tune the \
             whole network with a recipe that passes (`heirloom study`); or use another checkpoint.",
};

/// The spurious-feature probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spurious {
    /// The feature.
    pub feature: Trigger,
    /// The classes whose images it is laid over; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// The class that it is thought to speak for; learnt from the data where absent (used by `attack_success_rate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_class: Option<String>,
}
