//! What keeps a report from being written.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::diag::{Class, Explain};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A sheet of images could not be encoded.
    #[error("cannot encode the sample images: {0}")]
    Image(#[from] image::ImageError),
    /// A file where the folder should be.
    #[error("{} is not a folder: reports are written into a folder, name another with --output", path.display())]
    NotAFolder {
        /// What is there.
        path: PathBuf,
    },
    /// Another run has not ended.
    #[error("another run is at work in {}, and what it writes there is its own", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// JSON could not be built.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// XML could not be built.
    #[error("cannot write the report as JUnit XML: {0}")]
    Junit(std::io::Error),
}

impl Explain for WriteError {
    fn class(&self) -> Class {
        if let Self::NotAFolder { .. } = self { Class::Usage } else { Class::Fault }
    }

    fn hint(&self) -> Option<&str> {
        let source = match self {
            Self::Busy { .. } => return Some("wait until it ends, or name another folder with --output"),
            Self::Io { source, .. } => source,
            _ => return None,
        };
        Some(match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "free some space, or name a folder on another disk with --output"
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "name a folder that you may write to with --output",
            _ => "name another folder with --output",
        })
    }
}
