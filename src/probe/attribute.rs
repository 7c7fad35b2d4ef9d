//! The spurious-feature probe, natural: an attribute that the test pictures have (who drew it, day or night, a skin tone), and whether
//! models fine-tuned from the checkpoint treat its values differently, more than a control does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::groups::Compared;

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
    /// Groups (label x value) of fewer test pictures are left out, and listed.
    #[serde(default = "least")]
    #[schemars(range(min = 2))]
    pub min_group: usize,
}

/// Test pictures that a group needs where the policy does not say.
pub(super) fn least() -> usize {
    20
}

impl Attribute {
    /// The groups that are compared.
    pub fn compared(&self) -> Compared<'_> {
        Compared { attribute: &self.attribute, value: self.value.as_deref(), class: self.class.as_deref(), least: self.min_group }
    }
}
