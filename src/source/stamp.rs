//! Whether a checkpoint's files are still those that were read, without reading them: sizes, times and file numbers.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::registry;
use crate::store::{Digest, Fingerprinter};

/// A file that was written less than so many nanoseconds ago may be written again without its time showing it.
const TICK: i128 = 2_000_000_000;

/// What the files of a checkpoint are known by to the file system: its own, those that configure it or could, and `others`, which it names. None
/// where one of them cannot be looked at, or was written just now.
///
/// Of each: size, time of writing, time of change (which no program can set) and number. Whether a file is there that was not is a part of it.
pub(crate) fn stamp(checkpoint: &Path, others: &[String]) -> Option<Digest> {
    let folder = crate::store::folder_of(checkpoint);
    let beside = others.iter().map(|name| folder.join(name));
    let mut files: Vec<PathBuf> = std::iter::once(checkpoint.to_owned()).chain(beside).collect();
    files.extend(registry::configured_by(checkpoint));
    files.dedup();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos() as i128;
    let mut feed = Fingerprinter::new("heirloom stamp of files", 1);
    for path in &files {
        match std::fs::metadata(path) {
            Ok(found) => {
                let numbers = numbers(&found)?;
                if numbers[1].max(numbers[2]) > now - TICK {
                    return None;
                }
                feed.field("file", &numbers.map(|n| n.to_string()).join(" "));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => feed.field("file", "none"),
            Err(_) => return None,
        }
    }
    Some(feed.finish())
}

/// Size, times of writing and of change in nanoseconds since 1970, number.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere a time may not be known")]
fn numbers(found: &std::fs::Metadata) -> Option<[i128; 4]> {
    use std::os::unix::fs::MetadataExt;
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some([
        i128::from(found.len()),
        nanoseconds(found.mtime(), found.mtime_nsec()),
        nanoseconds(found.ctime(), found.ctime_nsec()),
        i128::from(found.ino()),
    ])
}

#[cfg(not(unix))]
fn numbers(found: &std::fs::Metadata) -> Option<[i128; 4]> {
    let written = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos() as i128;
    Some([i128::from(found.len()), written, 0, 0])
}
