//! A file that a program and its worker have open, and nobody else: tensors are copied through it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where a worker finds the file. Dropped once it has opened it: from then on the file has no name.
pub(super) enum Place {
    /// In memory, open in the worker under this number from its start.
    #[cfg(target_os = "linux")]
    Inherited(PathBuf),
    /// On the disk.
    #[cfg(not(target_os = "linux"))]
    Named(tempfile::TempPath),
}

impl Place {
    /// Its name for the worker.
    pub fn path(&self) -> &Path {
        match self {
            #[cfg(target_os = "linux")]
            Self::Inherited(path) => path,
            #[cfg(not(target_os = "linux"))]
            Self::Named(path) => path,
        }
    }
}

/// An empty file.
#[cfg(target_os = "linux")]
pub(super) fn create() -> io::Result<(File, Place)> {
    use std::os::fd::AsRawFd;

    // Not closed when another program is started: that is how the worker comes by it.
    let file = File::from(rustix::fs::memfd_create("heirloom", rustix::fs::MemfdFlags::empty())?);
    let place = Place::Inherited(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    Ok((file, place))
}

/// An empty file.
#[cfg(not(target_os = "linux"))]
pub(super) fn create() -> io::Result<(File, Place)> {
    let (file, path) = tempfile::Builder::new().prefix("heirloom-").tempfile()?.into_parts();
    Ok((file, Place::Named(path)))
}

/// Opens the file that a program names.
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}
