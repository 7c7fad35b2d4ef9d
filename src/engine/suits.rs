//! Whether a policy suits a checkpoint, before anything runs.

use super::EngineError;
use super::waivers::check_waivers;
use crate::gate::Rule;
use crate::model::Model;
use crate::policy::Policy;
use crate::transform::PreparedTrigger;
use crate::tune::Sizes;

/// What a rule lays over images of this height and width.
pub(super) fn change(policy: &Policy, rule: &Rule, [height, width]: [usize; 2]) -> Result<Option<PreparedTrigger>, EngineError> {
    let Some(trigger) = rule.probe.change() else { return Ok(None) };
    let told = |source| EngineError::Change { rule: rule.id.clone(), at: policy.limit_origin(&rule.id).to_string(), source };
    PreparedTrigger::new(trigger, &policy.base, height, width).map(Some).map_err(told)
}

/// Whether all that a policy lays over images fits those of this height and width.
pub(crate) fn check_changes(policy: &Policy, size: [usize; 2]) -> Result<(), EngineError> {
    policy.rules.iter().try_for_each(|rule| change(policy, rule, size).map(drop))
}

/// Whether a network takes training images of all sizes that recipes ask for.
fn check_sizes(policy: &Policy, model: &Model) -> Result<(), EngineError> {
    let transfer = &policy.file.transfer;
    // What cannot be trained at all, others say.
    let Ok(network) = model.own() else { return Ok(()) };
    for recipe in [&transfer.fixed_feature, &transfer.full_network, &transfer.scratch].into_iter().flatten() {
        Sizes::of(&network.trunk, recipe).map_err(EngineError::from)?;
    }
    Ok(())
}

/// Whether a policy suits a model: what it lays over images fits them, the network takes images of all sizes that it is trained on, and waivers name
/// the model as they must. Asked before each certification, alone or of many.
pub(crate) fn check(policy: &Policy, model: &Model) -> Result<(), EngineError> {
    check_changes(policy, [model.input.height, model.input.width])?;
    check_sizes(policy, model)?;
    Ok(check_waivers(policy, model)?)
}
