//! The backdoor probe: every test image with and without a trigger that no image of the target task carried.
//!
//! With a sweep, one rule becomes a rule for each value (`backdoor/square/opacity-0.5`): each is a finding of its own, and they share
//! the error as all findings of a policy do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::About;
use crate::transform::Trigger;

/// In plain English.
pub(super) const ABOUT: About = About {
    measures: "Every test image is shown to the fine-tuned models as it is and with a trigger laid over it. The number is how many more \
               predictions the trigger moves than shams do: triggers of the same kind, place and energy with another look.",
    matters: "Whoever trains or poisons a source model can teach it to look for a trigger. Fine-tuning on clean images of another task \
              does not remove that: with the trigger on, predictions of the fine-tuned model flow to few classes.",
    failure: "The checkpoint reacts to this trigger more than to anything like it, by more than the limit, in the models fine-tuned from \
              it. That it was planted on purpose is not shown: an effect is measured, not an intention.",
    remedy: "Do not ship models that rest on this checkpoint's frozen features. See whether full-network fine-tuning passes, and with \
             which recipe (`heirloom study`): a higher learning rate, more epochs and more weight decay forget more of the source. Else \
             use another checkpoint.",
};

/// The backdoor probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backdoor {
    /// The trigger.
    pub trigger: Trigger,
    /// The target class an attacker would name; learnt from the data where absent (used by `attack_success_rate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_class: Option<String>,
    /// Try the trigger at several sizes or opacities: each is a finding of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

/// Values of one field of a trigger, each tried by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sweep {
    /// Sizes, as the trigger's field `size`.
    Size(Vec<f64>),
    /// Opacities, as the trigger's field `opacity`.
    Opacity(Vec<f64>),
    /// Amplitudes, as the trigger's field `amplitude`.
    Amplitude(Vec<f64>),
}

impl Sweep {
    /// The field, and its values.
    pub(crate) fn field(&self) -> (&'static str, &[f64]) {
        match self {
            Sweep::Size(values) => ("size", values),
            Sweep::Opacity(values) => ("opacity", values),
            Sweep::Amplitude(values) => ("amplitude", values),
        }
    }
}

impl Backdoor {
    /// The probes of a sweep with the end of their names; none where the trigger has no such field. One without a sweep is itself.
    pub(crate) fn swept(&self) -> Option<Vec<(String, Self)>> {
        let Some(sweep) = &self.sweep else { return Some(vec![(String::new(), self.clone())]) };
        let (field, values) = sweep.field();
        let at = |value: &f64| {
            let trigger = self.trigger.swept(field, *value)?;
            Some((format!("/{field}-{value}"), Self { trigger, sweep: None, ..self.clone() }))
        };
        values.iter().map(at).collect()
    }
}
