//! The spurious-feature probe, natural: an attribute that the test images have (who drew it, day or night, a skin tone), and whether
//! models fine-tuned from the checkpoint treat its values differently, more than a control does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::About;
use super::groups::Compared;

/// In plain English.
pub(super) const ABOUT: About = About {
    measures: "The test images are sorted into groups by class and attribute as they are; nothing is laid over them. The number says how \
               differently the groups are treated, over what models trained from scratch on the same images do.",
    matters: "An attribute that should not matter (who drew it, a skin tone, day or night) may decide in the source model. Where it does, \
              models fine-tuned from it treat people or things of one group worse, and average accuracy does not show it.",
    failure: "Groups are treated more differently than by models that never saw the checkpoint, by more than the limit. What the target \
              data themselves teach is not counted: the network from scratch learns that too.",
    remedy: "Look at the accuracy by group in the report. Balance the training images over class and attribute and see whether that \
             suffices (the probe `debiased`); with frozen features it often does not. Else fine-tune the whole network, or use another \
             checkpoint.",
};

/// The attribute probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// A column of the data or of the attributes file.
    pub attribute: String,
    /// Its value that is compared with all others together; each two values where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The class whose predictions count (`reliance`, `equalized_odds_difference`, `demographic_parity_difference`); learnt from the
    /// data where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Groups (label x value) of fewer independent test images (clusters) are left out, and listed; where no two are left to compare, nothing runs.
    #[serde(default = "least")]
    #[schemars(range(min = 2))]
    pub min_group: usize,
}

/// Test images that a group needs where the policy does not say.
pub(super) fn least() -> usize {
    20
}

impl Attribute {
    /// The groups that are compared.
    pub(crate) fn compared(&self) -> Compared<'_> {
        Compared { attribute: &self.attribute, value: self.value.as_deref(), class: self.class.as_deref(), least: self.min_group }
    }
}
