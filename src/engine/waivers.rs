//! Waivers that name the model without `sha256:`, as earlier releases did: told before anything runs, with what to write.

use crate::diag::{Class, Explain};
use crate::gate::Waiver;
use crate::model::Model;
use crate::policy::Policy;
use crate::registry::{self, ModelRef, RegistryError};
use crate::store::Digest;

/// Whether a waiver of the policy means this model by a digest of earlier releases. Such a waiver counts for nothing, so that the model
/// would fail after all that it takes to certify it.
pub(super) fn check_waivers(policy: &Policy, model: &Model) -> Result<(), WaiverError> {
    let mut earlier = policy.file.waivers.iter().filter(|waiver| waiver.is_earlier()).peekable();
    if earlier.peek().is_none() {
        return Ok(());
    }
    let digest = registry::earlier_digest(&model.identity)?;
    // Or by SHA-256 without `sha256:` in front.
    let bare = model.identity.digest.as_str().trim_start_matches("sha256:");
    match earlier.find(|waiver| digest.as_str().starts_with(&waiver.model) || bare.starts_with(&waiver.model)) {
        Some(waiver) => Err(WaiverError::Earlier {
            rule: waiver.rule.clone(),
            owner: waiver.owner.clone(),
            written: waiver.model.clone(),
            digest: model.identity.digest.clone(),
        }),
        None => Ok(()),
    }
}

/// A warning for each waiver that names the weights of this model and not the files that configure it: it holds for the weights as they are
/// alone.
pub(super) fn of_weights(policy: &Policy, model: &ModelRef) -> Vec<String> {
    let Some(configured_by) = model.configured_by() else { return Vec::new() };
    let (weights, whole) = (model.weights(), &model.digest);
    let meant = |waiver: &&Waiver| weights.as_str().starts_with(&waiver.model) && !whole.as_str().starts_with(&waiver.model);
    let warning = |waiver: &Waiver| {
        format!(
            "the waiver of `{}` by {} names the weights of this model alone and does not hold for it: {configured_by} beside them is part of the \
             model. Where this model is meant, write `model: {whole}`",
            waiver.rule, waiver.owner
        )
    };
    policy.file.waivers.iter().filter(meant).map(warning).collect()
}

/// Why a waiver cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum WaiverError {
    /// It names the model by digits alone: of BLAKE3, or of SHA-256.
    #[error(
        "the waiver of `{rule}` by {owner} names this model by digits without `sha256:`, as earlier releases did ({written}): write `model: {digest}` in the policy"
    )]
    Earlier {
        /// The rule.
        rule: String,
        /// Who answers for it.
        owner: String,
        /// As it is written.
        written: String,
        /// The model's digest.
        digest: Digest,
    },
    /// The model cannot be read again.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Explain for WaiverError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Registry(error) => Some(error),
            Self::Earlier { .. } => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Earlier { .. } => Class::Usage,
            Self::Registry(error) => error.class(),
        }
    }
}
