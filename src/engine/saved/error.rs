//! What keeps fine-tunes from being saved.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::diag::{Class, Explain};

/// Why fine-tunes cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// A file where the folder should be.
    #[error("{} is not a folder: name another with {option}", path.display())]
    NotAFolder {
        /// What is there.
        path: PathBuf,
        /// What named it.
        option: &'static str,
    },
    /// Somebody's fine-tune, or their list.
    #[error("{} is there already, and what an earlier run saved is not written over", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
        /// What named its folder.
        option: &'static str,
    },
    /// The file system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What named its folder.
        option: &'static str,
    },
    /// A network that has no ONNX file of ours.
    #[error("{name}: its fine-tunes cannot be saved as ONNX: {reason}")]
    Model {
        /// Which checkpoint.
        name: String,
        /// Why not.
        reason: String,
    },
}

impl SaveError {
    /// Names the folder of models.
    pub(super) const CHECKPOINTS: &str = "--save-checkpoints";
    /// Names the folder of training curves.
    pub(super) const TENSORBOARD: &str = "--tensorboard";
}

impl Explain for SaveError {
    fn class(&self) -> Class {
        if let Self::Io { .. } = self { Class::Fault } else { Class::Usage }
    }

    fn hint(&self) -> Option<&str> {
        let models = |option: &str| option == Self::CHECKPOINTS;
        Some(match self {
            Self::NotAFolder { .. } => return None,
            Self::Exists { option, .. } if models(option) => "remove it, or name another folder with --save-checkpoints",
            Self::Exists { .. } => "remove it, or name another folder with --tensorboard",
            Self::Model { .. } => "leave out --save-checkpoints; the verdict needs no such file",
            Self::Io { source, option, .. } => match (source.kind(), models(option)) {
                (ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge, true) => {
                    "free some space, or name a folder on another disk with --save-checkpoints"
                }
                (ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge, false) => {
                    "free some space, or name a folder on another disk with --tensorboard"
                }
                (_, true) => "name a folder that you may write to with --save-checkpoints",
                (_, false) => "name a folder that you may write to with --tensorboard",
            },
        })
    }
}
