//! Why a certification cannot be run.

use thiserror::Error;

use super::{SaltError, SaveError, WaiverError};
use crate::data::DataError;
use crate::diag::{Class, Explain};
use crate::graph::GraphError;
use crate::model::ModelError;
use crate::plan::PlanError;
use crate::probe::ProbeError;
use crate::transform::TransformError;
use crate::tune::TuneError;

/// Why a certification cannot be run at all.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The plan refuses.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A fine-tune failed.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A graph cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The embedded self-test cannot be read.
    #[error("the embedded self-test cannot be run: {0}")]
    SelfTest(String),
    /// Two executors and two answers.
    #[error(
        "{executor} and heirloom compute different features: they are {difference:.0e} of the largest feature apart. Of one image computed in \
         float64, {executor} is {other:.0e} away and heirloom {own:.0e}: that is no rounding. {place}"
    )]
    Disagree {
        /// The other one.
        executor: String,
        /// Relative to the largest feature.
        difference: f64,
        /// How far heirloom's features of one image are from those in float64.
        own: f64,
        /// How far the other one's are.
        other: f64,
        /// Where it begins.
        place: String,
    },
    /// The features are made of rounding errors.
    #[error(
        "float32 does not hold the features of this network: on one image they are {own:.0e} of the largest feature away from what float64 gives, \
         from node `{node}` on. A verdict would rest on rounding errors"
    )]
    Noise {
        /// Relative to the largest feature.
        own: f64,
        /// Where they are lost.
        node: String,
    },
    /// What a rule lays over images does not fit them, or its file cannot be used.
    #[error("{rule} ({at}): {source}")]
    Change {
        /// The rule.
        rule: String,
        /// Where in the policy.
        at: String,
        /// Why not.
        source: TransformError,
    },
    /// A rule asks for what the data do not have.
    #[error("{rule} ({at}): {source}")]
    Asked {
        /// The rule.
        rule: String,
        /// Where in the policy.
        at: String,
        /// What they do not have.
        source: DataError,
    },
    /// A rule that the data cannot answer.
    #[error("{rule} ({at}): {reason}")]
    Rule {
        /// The rule.
        rule: String,
        /// Where in the policy.
        at: String,
        /// Why not.
        reason: ProbeError,
    },
    /// A waiver that would count for nothing.
    #[error(transparent)]
    Waiver(#[from] WaiverError),
    /// The policy asks for a salt that was not read.
    #[error(transparent)]
    Salt(#[from] SaltError),
    /// Fine-tunes cannot be saved as asked.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A rule needs an untrained network, and none was made.
    #[error("a rule compares with `untrained`, and no such network was made: this is a fault of the program")]
    NoUntrained,
    /// A rule needs the reference, and none was given.
    #[error("a rule compares with `reference`, and the policy names no reference model")]
    NoReference,
}

impl Explain for EngineError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Plan(error) => Some(error),
            Self::Data(error) | Self::Asked { source: error, .. } => Some(error),
            Self::Tune(error) => Some(error),
            Self::Model(error) => Some(error),
            Self::Waiver(error) => Some(error),
            Self::Salt(error) => Some(error),
            Self::Save(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Rule { .. } | Self::Change { .. } => Class::Usage,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Disagree { .. } => {
                Some("what the model's own framework computes tells which is right; `--ort-lib off` or another library leaves one of them")
            }
            Self::Asked { source: DataError::Unknown { .. }, .. } => Some("correct the name in the rule's probe"),
            _ => self.inner().and_then(Explain::hint),
        }
    }
}

impl From<crate::exec::ExecError> for EngineError {
    fn from(error: crate::exec::ExecError) -> Self {
        EngineError::Tune(error.into())
    }
}
