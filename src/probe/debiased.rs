//! The de-biased target: fine-tunes see training images that are balanced over label x attribute, or brought to a stated
//! correlation, and the groups are compared as in `attribute`. What a network from scratch does not show there, the checkpoint brought along.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::About;
use super::attribute::least;
use super::groups::Compared;
use crate::data::Rebalance;

/// In plain English.
pub(super) const ABOUT: About = About {
    measures: "Models are fine-tuned on images that are balanced over class and attribute (or brought to a stated correlation), and the \
               groups of the test images are compared as by the probe `attribute`.",
    matters: "Balancing the target data is what people do against bias. It cannot take away what the checkpoint brings along: frozen \
              features that hold the attribute keep holding it.",
    failure: "Even on balanced images, models from this checkpoint treat groups more differently than models from scratch do, by more \
              than the limit.",
    remedy: "De-biasing the data is not enough for this checkpoint. Fine-tune the whole network (`heirloom study` shows how much it \
             takes), or use another checkpoint.",
};

/// The probe of a de-biased target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Debiased {
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
    /// Share of a class's training images that have the value `aligned` with it. Absent: every group has the same size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub correlation: Option<f64>,
    /// The value that goes with each class; with two classes and two values the first goes with the first where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aligned: Option<BTreeMap<String, String>>,
    /// At most so many training images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
}

impl Debiased {
    /// The groups that are compared.
    pub(crate) fn compared(&self) -> Compared<'_> {
        Compared { attribute: &self.attribute, value: self.value.as_deref(), class: self.class.as_deref(), least: self.min_group }
    }

    /// The training images.
    pub(crate) fn rebalance(&self) -> Rebalance {
        Rebalance { attribute: self.attribute.clone(), correlation: self.correlation, aligned: self.aligned.clone(), limit: self.limit }
    }
}
