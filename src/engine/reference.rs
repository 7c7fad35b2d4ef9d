//! The trusted checkpoints that a policy names for the control `reference`.

use ndarray::ArrayD;

use crate::diag::{Class, Explain};
use crate::exec::Compute;
use crate::graph::{Op, Role};
use crate::model::{LoadOptions, Model, ModelError, Network};
use crate::policy::{Policy, Reference};
use crate::probe::Arm;
use crate::registry::{self, ModelRef, RegistryError};
use crate::report::ReferenceFacts;
use crate::runtime::Runtime;
use crate::store::Digest;

/// The references of a policy, to be run beside `model`, in its order. What the policy says of the input holds for all.
pub(crate) fn references(
    policy: &Policy,
    model: &Model,
    runtime: Option<&Runtime>,
    compute: &Compute,
) -> Result<Vec<Model>, ReferenceError> {
    let mut opened: Vec<Model> = Vec::new();
    for pinned in &policy.file.references {
        let reference = open(policy, pinned, model, runtime.cloned(), compute)?;
        // One checkpoint in two files would count twice.
        if let Some(twice) = opened.iter().find(|other| are_one(other, &reference)) {
            return Err(ReferenceError::Twice { one: twice.identity.name(), other: reference.identity.name() });
        }
        opened.push(reference);
    }
    Ok(opened)
}

fn open(policy: &Policy, pinned: &Reference, model: &Model, runtime: Option<Runtime>, compute: &Compute) -> Result<Model, ReferenceError> {
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
    if are_one(&opened, model) { Err(ReferenceError::Itself { name }) } else { Ok(opened) }
}

/// Whether two files hold one checkpoint. Of networks that only ONNX Runtime runs the files' digests have to do.
fn are_one(one: &Model, other: &Model) -> bool {
    matches!((&one.network, &other.network), (Ok(one), Ok(other)) if distance(one, other) < LEAST_DISTANCE)
}

/// Distance of weights below which two checkpoints are one: half precision is 0.0003 from single precision, `bfloat16` 0.002. What changes no more
/// (a byte of metadata, another head, another precision) hands down the same.
const LEAST_DISTANCE: f64 = 0.005;

/// What of a network's numbers leads to its features, of the roles that are asked for.
fn numbers(network: &Network, wanted: impl Fn(Role) -> bool) -> Vec<&ArrayD<f32>> {
    let slots = network.trunk.slots();
    let of = |op: &Op| match op {
        Op::Param(slot) if slots.get(slot.0).is_some_and(|known| wanted(known.role)) => network.params.0.get(slot.0),
        _ => None,
    };
    network.trunk.nodes().iter().filter_map(|node| of(&node.op)).collect()
}

/// How far the weights that lead to the features are apart, as a share of their own size (of vectors of all of them); infinite where their shapes
/// differ.
fn distance(one: &Network, other: &Network) -> f64 {
    // Constants and running statistics may be large, and equal in every checkpoint of an architecture.
    let (one, other) = (numbers(one, Role::trains), numbers(other, Role::trains));
    if one.len() != other.len() || one.iter().zip(&other).any(|(a, b)| a.shape() != b.shape()) {
        return f64::INFINITY;
    }
    let pairs = || one.iter().zip(&other).flat_map(|(a, b)| a.iter().zip(b.iter())).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let size: f64 = pairs().map(|(a, _)| a * a).sum();
    (pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / size.max(f64::MIN_POSITIVE)).sqrt()
}

/// Whether two checkpoints are of one architecture, as far as the shapes of their weights tell. Of networks that only ONNX Runtime runs this is
/// not known.
fn same_architecture(one: &Model, other: &Model) -> bool {
    let (Ok(one), Ok(other)) = (&one.network, &other.network) else { return false };
    let sorted = |network: &Network| {
        let mut shapes: Vec<Vec<usize>> = numbers(network, |_| true).iter().map(|array| array.shape().to_vec()).collect();
        shapes.sort_unstable();
        shapes
    };
    sorted(one) == sorted(other)
}

/// What a report says of the references.
pub(super) fn facts(references: &[&Model], pinned: &[Reference], model: &Model) -> Vec<ReferenceFacts> {
    let names: Vec<String> = references.iter().map(|reference| reference.identity.name()).collect();
    // Files of one name are told apart by their folders.
    let name = |reference: &Model| {
        let name = reference.identity.name();
        let unique = names.iter().filter(|other| **other == name).count() < 2;
        if unique { name } else { reference.identity.path.display().to_string() }
    };
    let of = |(arm, reference): (Arm, &&Model)| ReferenceFacts {
        arm,
        name: name(reference),
        digest: reference.identity.digest.clone(),
        description: reference.description.clone(),
        normalised: reference.input.normalised(),
        same_architecture: same_architecture(reference, model),
        said_kin: said_kin(&reference.identity.digest, pinned),
    };
    Arm::references(references.len()).zip(references).map(of).collect()
}

/// Whether a policy says that the reference of this digest is of the source's kind.
pub(super) fn said_kin(digest: &Digest, pinned: &[Reference]) -> bool {
    pinned.iter().any(|pinned| pinned.kin && pinned.digest == digest.as_str())
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
        "the reference {name} has the weights of the checkpoint under test, up to rounding: compared with itself, everything passes; name another one \
         that you trust"
    )]
    Itself {
        /// Its file.
        name: String,
    },
    /// It would count twice.
    #[error("the references {one} and {other} have the same weights, up to rounding: they are one checkpoint; remove one of them")]
    Twice {
        /// The first file.
        one: String,
        /// The second.
        other: String,
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
            Self::Itself { .. } | Self::Twice { .. } | Self::Digest { .. } | Self::Weights { .. } | Self::Size { .. } => Class::Usage,
            Self::Registry(_) | Self::Model { .. } => self.inner().map_or(Class::Fault, Explain::class),
        }
    }
}
