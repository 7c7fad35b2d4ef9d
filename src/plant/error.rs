//! Why nothing was planted.

use thiserror::Error;

use crate::data::DataError;
use crate::diag::{Class, Explain};
use crate::exec::ExecError;
use crate::graph::GraphError;
use crate::model::ModelError;
use crate::model::arch::ArchError;
use crate::store::Digest;
use crate::transform::TransformError;
use crate::tune::TuneError;

/// Why nothing was planted.
#[derive(Debug, Error)]
pub enum PlantError {
    /// A class that the data does not have.
    #[error("there is no class `{name}`: the data has {classes}")]
    Class {
        /// As written.
        name: String,
        /// What there is.
        classes: String,
    },
    /// The file that is named by `from` is another one than its digest says.
    #[error("{path} is another file than `from` names: its digest is {digest}")]
    OtherAncestor {
        /// Where.
        path: String,
        /// Its digest.
        digest: Digest,
    },
    /// The checkpoint that is named by `from` cannot be used.
    #[error("`from`: {0}")]
    Ancestor(#[from] ModelError),
    /// A model that is no better than its most frequent class.
    #[error(
        "{name} did not learn the source task: it calls {accuracy:.2} of the test images right, and {guessed:.2} are of their most frequent class. Train it for \
         more epochs, at another learning rate or on more images"
    )]
    Unlearnt {
        /// Which.
        name: String,
        /// Its accuracy on the test images.
        accuracy: f64,
        /// The share of them that are of their most frequent class.
        guessed: f64,
    },
    /// A hidden branch cannot be made.
    #[error("`branch`: {reason}")]
    Branch {
        /// Why.
        reason: String,
    },
    /// The model cannot be written.
    #[error("the model cannot be written: {reason}")]
    Write {
        /// Why.
        reason: String,
    },
    /// The images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The architecture.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// The trigger.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// The nodes of a hidden branch.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The training.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// The network.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl Explain for PlantError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Data(error) => Some(error),
            Self::Tune(error) => Some(error),
            Self::Ancestor(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Class { .. } | Self::Arch(_) | Self::OtherAncestor { .. } | Self::Branch { .. } | Self::Unlearnt { .. } => Class::Usage,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }
}
