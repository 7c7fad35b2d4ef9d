//! Finished work on the disk, by a hash of everything that can change its bytes.
//!
//! An entry is the BLAKE3 hash of its key and of what follows, one line that says what it is, and its bytes: one that was cut short, altered or
//! put under another key is thrown away and made again. That keeps mistakes out, not forgers: who can write to the folder can write results.
//! Entries are renamed into place when whole, so that several processes can share a folder. The least recently used go first when the folder
//! outgrows its limit.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::write_atomic;

/// Bytes that a folder may hold when a run begins.
pub const LIMIT: u64 = 1 << 30;

/// Characters of a hash. Nothing but the folder itself knows these: BLAKE3, because entries are large and are read again and again.
const HASH: usize = 64;

/// Longest line that says what an entry is, in bytes.
const LINE: u64 = 4096;

/// What an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    hash: String,
    kind: String,
}

impl Key {
    /// The key of work of one `kind` that depends on `parts`, in order: a name and its value each.
    pub(crate) fn new(kind: &str, parts: &[(&str, &str)]) -> Self {
        // Another domain for another layout of entries: what an older program kept is not found, and goes when it is the oldest.
        let mut hasher = blake3::Hasher::new_derive_key("heirloom cache key v3");
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
        Self { hash: hasher.finalize().to_hex().to_string(), kind: kind.to_owned() }
    }
}

/// What an entry says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    kind: String,
    name: String,
    /// When it was made, in seconds since 1970; earlier builds did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<i64>,
}

/// Entries of one kind that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntriesRead {
    /// How many.
    pub entries: usize,
    /// How many of them do not say when they were made.
    pub undated: usize,
    /// When the first and the last of the others were made, in seconds since 1970.
    pub made: Option<[i64; 2]>,
}

impl EntriesRead {
    fn add(&mut self, made: Option<i64>) {
        self.entries += 1;
        match (made, self.made) {
            (None, _) => self.undated += 1,
            (Some(made), None) => self.made = Some([made; 2]),
            (Some(made), Some([first, last])) => self.made = Some([first.min(made), last.max(made)]),
        }
    }
}

/// An entry as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its file.
    pub path: PathBuf,
    /// What kind of work it is: `outcome`, `features`, ...; `unknown` for one of another program version, or a damaged one.
    pub kind: String,
    /// What it is of, for people.
    pub name: String,
    /// Its size on the disk.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

/// A folder of finished work.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    /// What was read since it was asked last, by kind.
    read: Arc<Mutex<BTreeMap<String, EntriesRead>>>,
}

impl Cache {
    /// Opens a folder, which is created if need be, and brings it under its limit.
    pub fn open(folder: &Path, limit: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let cache = Self::at(folder);
        cache.prune(limit, None)?;
        Ok(cache)
    }

    /// A folder as it is, which may not be there.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), read: Arc::default() }
    }

    /// What was read since this was asked last, by kind.
    pub(crate) fn take_read(&self) -> BTreeMap<String, EntriesRead> {
        // Whoever panicked meanwhile has counted one entry less.
        std::mem::take(&mut self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(&key.hash)
    }

    /// Whether there is an entry, whole or not.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.path(key).is_file()
    }

    /// The bytes of an entry, if it is there and whole.
    pub(crate) fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut bytes = super::read(&path, u64::MAX).ok()?;
        let Some(start) = contents(&key.hash, &bytes) else {
            tracing::warn!(path = %path.display(), "a damaged cache entry is thrown away");
            // Another process may have done so before.
            let _ = std::fs::remove_file(&path);
            return None;
        };
        // For the order of eviction; a folder that is only read from keeps its old order.
        let _ = std::fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(now()));
        let line = bytes.get(HASH..start.saturating_sub(1)).and_then(|line| serde_json::from_slice::<Line>(line).ok());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.entry(key.kind.clone()).or_default().add(line.and_then(|line| line.made));
        drop(read);
        bytes.drain(..start);
        Some(bytes)
    }

    /// Keeps the bytes of an entry; `name` says what it is of, to people.
    pub(crate) fn put(&self, key: &Key, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let name: String = name.chars().take(200).collect();
        let made = now().duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok());
        let line = serde_json::to_string(&Line { kind: key.kind.clone(), name, made })?;
        let rest = [line.as_bytes(), b"\n", bytes].concat();
        write_atomic(&self.path(key), &[hash(&key.hash, &rest).as_bytes(), &rest].concat())
    }

    /// All entries, the least recently used first. Files that are none are left out.
    pub fn entries(&self) -> std::io::Result<Vec<Entry>> {
        let listed = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(std::io::Error::new(error.kind(), format!("cannot read {}: {error}", self.folder.display()))),
            Ok(listed) => listed,
        };
        let mut entries = Vec::new();
        for entry in listed {
            // What another process removes meanwhile is gone.
            let Ok((entry, facts)) = entry.and_then(|entry| entry.metadata().map(|facts| (entry, facts))) else { continue };
            let own = entry.file_name().to_str().is_some_and(|name| name.len() == HASH && name.bytes().all(|b| b.is_ascii_hexdigit()));
            if own && facts.is_file() {
                let Line { kind, name, .. } =
                    line(&entry.path()).unwrap_or_else(|| Line { kind: "unknown".into(), name: String::new(), made: None });
                let used = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push(Entry { path: entry.path(), kind, name, bytes: facts.len(), used });
            }
        }
        entries.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.path.cmp(&b.path)));
        Ok(entries)
    }

    /// Removes entries that were not used for `age`, and then the least recently used until the rest is within `limit` bytes. What was
    /// removed.
    pub fn prune(&self, limit: u64, age: Option<Duration>) -> std::io::Result<Vec<Entry>> {
        let entries = self.entries()?;
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let oldest = age.and_then(|age| now().checked_sub(age));
        let mut removed = Vec::new();
        for entry in entries {
            let stale = oldest.is_some_and(|oldest| entry.used < oldest);
            if !stale && total <= limit {
                continue;
            }
            total -= entry.bytes;
            remove(&entry.path)?;
            removed.push(entry);
        }
        Ok(removed)
    }

    /// Reads every entry and removes those that are damaged. The sound and the removed ones.
    pub fn verify(&self) -> std::io::Result<(Vec<Entry>, Vec<Entry>)> {
        // An entry of an older program has a hash of its contents alone; no key of this one leads to it.
        let sound = |entry: &Entry| {
            let name = entry.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            super::read(&entry.path, u64::MAX).is_ok_and(|bytes| whole(name, &bytes).or_else(|| whole("", &bytes)).is_some())
        };
        let (sound, damaged): (Vec<Entry>, Vec<Entry>) = self.entries()?.into_iter().partition(sound);
        damaged.iter().try_for_each(|entry| remove(&entry.path))?;
        Ok((sound, damaged))
    }
}

/// Removes an entry; one that another process has removed is gone.
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(std::io::Error::new(error.kind(), format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// The hash of an entry's key and bytes, in hexadecimal.
fn hash(key: &str, bytes: &[u8]) -> String {
    blake3::Hasher::new().update(key.as_bytes()).update(bytes).finalize().to_hex().to_string()
}

/// What follows the hash of an entry, if it is of that and of this key.
fn whole<'a>(key: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (stated, rest) = bytes.split_at_checked(HASH)?;
    (hash(key, rest).as_bytes() == stated).then_some(rest)
}

/// Where the bytes of a whole entry begin.
fn contents(key: &str, bytes: &[u8]) -> Option<usize> {
    whole(key, bytes)?.iter().position(|byte| *byte == b'\n').map(|end| HASH + end + 1)
}

/// What an entry says it is, without reading the rest of it.
fn line(path: &Path) -> Option<Line> {
    let mut file = BufReader::new(super::open(path).ok()?);
    file.read_exact(&mut [0; HASH]).ok()?;
    let mut line = Vec::new();
    file.take(LINE).read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice(&line).ok()
}

/// When an entry was made or used decides what is told and evicted, never what is found.
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
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
        cache.put(&key("a"), "some work", b"work").unwrap();
        assert_eq!(cache.get(&key("a")).as_deref(), Some(&b"work"[..]));
        let path = cache.path(&key("a"));
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], &[], &[&whole[..66], b"xx"].concat()] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(cache.get(&key("a")), None);
            assert!(!path.exists());
        }
        // A whole entry under the name of another.
        cache.put(&key("b"), "other work", b"other").unwrap();
        std::fs::copy(cache.path(&key("b")), &path).unwrap();
        assert_eq!((cache.verify().unwrap().1.len(), cache.get(&key("a"))), (1, None));
        std::fs::copy(cache.path(&key("b")), &path).unwrap();
        assert_eq!((cache.get(&key("a")), cache.get(&key("b")).as_deref()), (None, Some(&b"other"[..])));
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), LIMIT).unwrap();
        std::fs::write(folder.path().join("not ours"), [0; 500]).unwrap();
        for (age, name) in [(30, "old"), (20, "used"), (10, "new")] {
            cache.put(&key(name), name, &[0; 100]).unwrap();
            let file = std::fs::File::options().append(true).open(cache.path(&key(name))).unwrap();
            file.set_modified(now() - Duration::from_secs(age)).unwrap();
        }
        assert!(cache.get(&key("used")).is_some());
        // Three entries of about 200 bytes; two fit.
        let cache = Cache::open(folder.path(), 450).unwrap();
        assert_eq!(["old", "used", "new"].map(|name| cache.get(&key(name)).is_some()), [false, true, true]);
        assert!(folder.path().join("not ours").exists());
    }

    #[test]
    fn entries_say_what_they_are_and_the_damaged_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), LIMIT).unwrap();
        cache.put(&key("a"), "model.onnx, seed 0", &[0; 5000]).unwrap();
        cache.put(&key("b"), "model.onnx, seed 1", b"").unwrap();
        // As an older program kept it: its key is not found, its checksum is right.
        let old = folder.path().join("0".repeat(64));
        std::fs::write(&old, [hash("", b"{}").as_bytes(), b"{}"].concat()).unwrap();
        let names: Vec<_> = cache.entries().unwrap().into_iter().map(|entry| (entry.kind, entry.name)).collect();
        assert_eq!(names.len(), 3);
        assert!(names.contains(&("test".into(), "model.onnx, seed 0".into())) && names.contains(&("unknown".into(), String::new())));
        let mut bytes = std::fs::read(cache.path(&key("a"))).unwrap();
        bytes[3000] = 1;
        std::fs::write(cache.path(&key("a")), bytes).unwrap();
        let (sound, damaged) = cache.verify().unwrap();
        assert_eq!((sound.len(), damaged.len()), (2, 1));
        assert_eq!(cache.entries().unwrap().len(), 2);
        assert_eq!(Cache::at(&folder.path().join("absent")).entries().unwrap(), []);
    }

    #[test]
    fn what_was_read_is_told_with_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), LIMIT).unwrap();
        cache.put(&key("a"), "a", b"1").unwrap();
        cache.put(&key("b"), "b", b"2").unwrap();
        // As an earlier build kept it.
        let rest = b"{\"kind\":\"test\",\"name\":\"c\"}\n3";
        std::fs::write(cache.path(&key("c")), [hash(&key("c").hash, rest).as_bytes(), rest].concat()).unwrap();
        assert!(["a", "b", "c"].iter().all(|name| cache.get(&key(name)).is_some()) && cache.get(&key("d")).is_none());
        // Whoever holds the same folder through a copy reads the same.
        let read = cache.clone().take_read();
        let of = read["test"];
        assert_eq!((read.len(), of.entries, of.undated), (1, 3, 1));
        let [first, last] = of.made.unwrap();
        assert!(first > 1_700_000_000 && last >= first);
        assert!(cache.take_read().is_empty());
    }

    #[test]
    fn what_was_not_used_for_long_goes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), LIMIT).unwrap();
        for (age, name) in [(3000, "old"), (10, "new")] {
            cache.put(&key(name), name, b"").unwrap();
            let file = std::fs::File::options().append(true).open(cache.path(&key(name))).unwrap();
            file.set_modified(now() - Duration::from_secs(age)).unwrap();
        }
        let removed = cache.prune(LIMIT, Some(Duration::from_secs(1000))).unwrap();
        assert_eq!(removed.into_iter().map(|entry| entry.name).collect::<Vec<_>>(), ["old"]);
        assert_eq!(cache.prune(0, None).unwrap().len(), 1);
    }
}
