//! Files are opened for reading here, and nowhere else. So are folders, to be held.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::path::Path;

/// Opens a file for reading. An error for what is no regular file (or a link to one): a named pipe may never have a writer, a device never end.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    // Without this, opening a named pipe waits for its writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    Err(io::Error::other("it is a pipe, a device or a socket; only regular files are read"))
}

/// The bytes of a file. An error of kind [`io::ErrorKind::FileTooLarge`] where there are more than `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes"));
    if length > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).map_err(io::Error::other)?).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // It may grow meanwhile.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// The folder that a file lies in, from which the paths in it start.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A folder that this process alone writes its results into, until this is dropped or the process ends, in whatever way.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "the lock is there as long as the file is open")] Option<File>);

/// Holds a folder against other runs of this program; none where another one holds it. Nothing is written into the folder. A folder that is
/// not there is held against nobody, as is any where the system or the file system has no such locks.
pub fn hold(folder: &Path) -> Option<Held> {
    let mut options = File::options();
    options.read(true);
    // What is no folder is not opened: a named pipe would wait for its writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_DIRECTORY | libc::O_NONBLOCK);
    let Ok(file) = options.open(folder) else { return Some(Held(None)) };
    match file.try_lock() {
        Ok(()) => Some(Held(Some(file))),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(_)) => Some(Held(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = hold(folder.path()).unwrap();
        // Elsewhere than on Unix a folder cannot be opened, and is held by all who ask.
        assert_eq!(hold(folder.path()).is_none(), cfg!(unix));
        assert!(hold(&folder.path().join("not there")).is_some());
        drop(held);
        assert!(hold(folder.path()).is_some());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_regular_file_and_a_link_to_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!((folder_of(&path), folder_of(Path::new("file"))), (folder.path(), Path::new(".")));
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert_eq!(read(&link, u64::MAX).unwrap(), b"abc");
        }
        assert_eq!(open(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(open(&folder.path().join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn what_may_never_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let socket = folder.path().join("socket");
        let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(open(path).unwrap_err().to_string().contains("only regular files are read"), "{}", path.display());
        }
        // The system itself opens no socket.
        assert!(open(&socket).is_err());
    }
}
