//! Finished work on the disk, by the digest of everything that can change its bytes.
//!
//! An entry holds its own digest before its bytes: one that was cut short or altered is thrown away and made again. Entries are
//! renamed into place when whole, so that several processes can share a folder. The least recently used go first when
//! the folder outgrows its limit.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Digest, write_atomic};

/// Bytes that a folder may hold when a run begins.
pub const LIMIT: u64 = 1 << 30;

/// What an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Digest);

impl Key {
    /// The key of work of one `kind` that depends on `parts`, in order: a name and its value each.
    pub fn new(kind: &str, parts: &[(&str, &str)]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("heirloom cache key v1");
        // Lengths before contents, so that no two lists read alike.
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(kind);
        for (name, value) in parts {
            text(name);
            text(value);
        }
        Self(Digest(hasher.finalize().to_hex().to_string()))
    }
}

/// A folder of finished work.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens a folder, which is created if need be, and brings it under its limit.
    pub fn open(folder: &Path, limit: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let cache = Self { folder: folder.to_owned() };
        cache.evict(limit)?;
        Ok(cache)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(&key.0.0)
    }

    /// The bytes of an entry, if it is there and whole.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut bytes = std::fs::read(&path).ok()?;
        let whole = bytes.split_at_checked(64).is_some_and(|(digest, rest)| Digest::of(rest).0.as_bytes() == digest);
        if !whole {
            tracing::warn!(path = %path.display(), "a damaged cache entry is thrown away");
            // Another process may have done so before.
            let _ = std::fs::remove_file(&path);
            return None;
        }
        // For the order of eviction; a folder that is only read from keeps its old order.
        let _ = std::fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(now()));
        bytes.drain(..64);
        Some(bytes)
    }

    /// Keeps the bytes of an entry.
    pub fn put(&self, key: &Key, bytes: &[u8]) -> std::io::Result<()> {
        write_atomic(&self.path(key), &[Digest::of(bytes).0.as_bytes(), bytes].concat())
    }

    /// Removes the least recently used entries until the rest is within `limit` bytes.
    fn evict(&self, limit: u64) -> std::io::Result<()> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            // What another process removes meanwhile is gone, which is what is wanted.
            let Ok((entry, facts)) = entry.and_then(|entry| entry.metadata().map(|facts| (entry, facts))) else { continue };
            let own = entry.file_name().to_str().is_some_and(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()));
            if own && facts.is_file() {
                entries.push((facts.modified().unwrap_or(SystemTime::UNIX_EPOCH), facts.len(), entry.path()));
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in entries {
            if total <= limit {
                break;
            }
            let _ = std::fs::remove_file(path);
            total -= bytes;
        }
        Ok(())
    }
}

/// When an entry was used decides what is evicted, never what is found.
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("test", &[("name", name)])
    }

    #[test]
    fn keys_tell_every_part_apart() {
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
        assert_ne!(Key::new("k", &[("a", "bc")]), Key::new("k", &[("ab", "c")]));
        assert_ne!(Key::new("k", &[("a", ""), ("b", "")]), Key::new("k", &[("a", "b")]));
    }

    #[test]
    fn what_is_put_is_found_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("deep/cache"), LIMIT).unwrap();
        assert_eq!(cache.get(&key("a")), None);
        cache.put(&key("a"), b"work").unwrap();
        assert_eq!(cache.get(&key("a")).as_deref(), Some(&b"work"[..]));
        let path = cache.path(&key("a"));
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], &[], &[&whole[..66], b"xx"].concat()] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(cache.get(&key("a")), None);
            assert!(!path.exists());
        }
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), LIMIT).unwrap();
        std::fs::write(folder.path().join("not ours"), [0; 500]).unwrap();
        for (age, name) in [(30, "old"), (20, "used"), (10, "new")] {
            cache.put(&key(name), &[0; 100]).unwrap();
            let file = std::fs::File::options().append(true).open(cache.path(&key(name))).unwrap();
            file.set_modified(now() - Duration::from_secs(age)).unwrap();
        }
        assert!(cache.get(&key("used")).is_some());
        // Three entries of 164 bytes; two fit.
        let cache = Cache::open(folder.path(), 400).unwrap();
        assert_eq!(["old", "used", "new"].map(|name| cache.get(&key(name)).is_some()), [false, true, true]);
        assert!(folder.path().join("not ours").exists());
    }
}
