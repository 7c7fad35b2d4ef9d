//! The trusted checkpoint that a policy names for the control `reference`.

use crate::diag::{Class, Explain};
use crate::exec::Compute;
use crate::model::{LoadOptions, Model, ModelError};
use crate::policy::{Policy, Reference};
use crate::registry::{self, ModelRef, RegistryError};
use crate::runtime::Runtime;
use crate::store::Digest;

/// The reference of a policy, to be run beside `model`; none where the policy names none. What the policy says of the input holds for both.
pub(crate) fn reference(
    policy: &Policy,
    model: &Model,
    runtime: Option<Runtime>,
    compute: &Compute,
) -> Result<Option<Model>, ReferenceError> {
    let Some(pinned) = &policy.file.reference else { return Ok(None) };
    let found = registry::identify(&policy.path(&pinned.model))?;
    let name = found.name();
    // Under another configuration it is hardly another one.
    if found.weights() == model.identity.weights() {
        return Err(ReferenceError::Itself { name });
    }
    is_pinned(&found, pinned)?;
    let input = policy.file.input.clone().unwrap_or_default();
    let unusable = |source: ModelError| ReferenceError::Model { name: name.clone(), source: Box::new(source) };
    let opened = Model::load(found, &LoadOptions { input, runtime, ..LoadOptions::default() }).map_err(unusable)?;
    let opened = opened.computed_on(compute).map_err(unusable)?;
    fits(&opened, model)?;
    Ok(Some(opened))
}

/// Whether a file is the reference that a policy pins.
pub(crate) fn is_pinned(found: &ModelRef, pinned: &Reference) -> Result<(), ReferenceError> {
    if found.digest.as_str() == pinned.digest {
        return Ok(());
    }
    let (name, digest) = (found.name(), found.digest.clone());
    Err(match found.configured_by().filter(|_| found.weights().as_str() == pinned.digest) {
        Some(configured_by) => ReferenceError::Weights { name, found: digest, configured_by },
        None => ReferenceError::Digest { name, found: digest, pinned: pinned.digest.clone() },
    })
}

/// Whether two checkpoints see the same images: they must be of one size.
pub(crate) fn fits(reference: &Model, model: &Model) -> Result<(), ReferenceError> {
    let side = |model: &Model| (model.input.height, model.input.width);
    let ((height, width), (wanted_height, wanted_width)) = (side(reference), side(model));
    if (height, width) == (wanted_height, wanted_width) {
        return Ok(());
    }
    let name = reference.identity.name();
    Err(ReferenceError::Size { name, model: model.identity.name(), height, width, wanted_height, wanted_width })
}

/// A warning where the reference was trained on images that were resized otherwise: both arms see those of the checkpoint under test.
pub(super) fn resized_otherwise(reference: &Model, model: &Model) -> Option<String> {
    let (theirs, ours) = (&reference.input, &model.input);
    (theirs.geometry != ours.geometry).then(|| {
        format!(
            "the reference {} takes images resized another way ({}) than {} ({}); both see the latter. `input: {{ geometry: ... }}` in the \
             policy chooses one for both",
            reference.identity.name(),
            theirs.resized(),
            model.identity.name(),
            ours.resized()
        )
    })
}

/// Why a reference cannot be compared with.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// It would explain whatever it does itself.
    #[error(
        "the reference {name} has the weights of the checkpoint under test: compared with itself, everything passes; name another one that you trust"
    )]
    Itself {
        /// Its file.
        name: String,
    },
    /// It is another file than the policy means.
    #[error("the reference {name} has the digest {found}, the policy pins {pinned}")]
    Digest {
        /// Its file.
        name: String,
        /// What it is.
        found: Digest,
        /// What it ought to be.
        pinned: String,
    },
    /// Its weights are what the policy means, and other files belong to it.
    #[error(
        "the policy pins the weights of the reference {name} alone, and {configured_by} beside them says what they mean: write \
         `digest: {found}` in the policy"
    )]
    Weights {
        /// Its file.
        name: String,
        /// What it is.
        found: Digest,
        /// The files that configure it.
        configured_by: String,
    },
    /// Both arms see the same images.
    #[error(
        "the reference {name} takes images of {height}x{width} pixels, {model} of {wanted_height}x{wanted_width}: name a reference of the \
         same size"
    )]
    Size {
        /// Its file.
        name: String,
        /// The file of the checkpoint under test.
        model: String,
        /// Height of its images in pixels.
        height: usize,
        /// Their width.
        width: usize,
        /// Height of the images of the checkpoint under test.
        wanted_height: usize,
        /// Their width.
        wanted_width: usize,
    },
    /// Its file cannot be found or read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It cannot be loaded.
    #[error("the reference {name}: {source}")]
    Model {
        /// Its file.
        name: String,
        /// Why.
        source: Box<ModelError>,
    },
}

impl Explain for ReferenceError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Registry(error) => Some(error),
            Self::Model { source, .. } => Some(&**source),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Itself { .. } | Self::Digest { .. } | Self::Weights { .. } | Self::Size { .. } => Class::Usage,
            Self::Registry(_) | Self::Model { .. } => self.inner().map_or(Class::Fault, Explain::class),
        }
    }
}
