//! The checkpoints below a folder: one model for each checkpoint file, index of parts, and revision in a hub's cache.
//!
//! Links are followed to files that lie below the folder too, or among the blobs of the same repository of a hub's cache. Links to folders are
//! not followed: what they lead to is either listed where it lies, or outside. A link that leads outside is a model that cannot be judged.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Cause, Ending, Entry, Refusal, SourceError, ending};
use crate::registry;
use crate::store::{self, hub};

/// Most files and folders below one source.
const MOST: usize = 2_000_000;
/// Deepest folder.
const DEEPEST: usize = 64;
/// Folders that hold no models of their own: of version control, and the hub cache's locks.
const SKIPPED: [&str; 3] = [".git", ".locks", ".no_exist"];
/// Names of the checkpoint that a repository's folder stands for.
const USUAL: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "model.onnx"];

/// The models below a folder, in the order of their names.
pub(crate) fn list(root: &Path) -> Result<Vec<Entry>, SourceError> {
    let real = root.canonicalize().map_err(|source| SourceError::Read { path: root.to_owned(), source })?;
    let mut walk = Walk { root, real: &real, seen: 0, found: Vec::new() };
    walk.folder(Path::new(""), "", 0)?;
    let mut found = walk.found;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    // A repository's folder and a file in it cannot have one name; two files whose names are no text can.
    found.dedup_by(|a, b| a.name == b.name && a.path == b.path);
    Ok(found)
}

struct Walk<'a> {
    root: &'a Path,
    real: &'a Path,
    seen: usize,
    found: Vec<Entry>,
}

impl Walk<'_> {
    /// Lists a folder below the root. `shown` is what it is called.
    fn folder(&mut self, at: &Path, shown: &str, depth: usize) -> Result<(), SourceError> {
        let folder = self.root.join(at);
        if depth > DEEPEST {
            self.refuse(at, shown, Cause::Unsupported, format!("{} lies deeper than {DEEPEST} folders", folder.display()));
            return Ok(());
        }
        let failed = |source| SourceError::Read { path: folder.clone(), source };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Of the source's own folder the user is told; one that may not be read is one line of the scan.
            Err(source) if depth == 0 => return Err(failed(source)),
            Err(source) => {
                self.refuse(at, shown, Cause::Error, failed(source).to_string());
                return Ok(());
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            self.seen += 1;
            if self.seen > MOST {
                return Err(SourceError::TooMany { path: self.root.to_owned(), most: MOST });
            }
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        let mut files = Vec::new();
        for name in &names {
            let path = folder.join(name);
            let told = name.to_string_lossy();
            let Ok(kind) = path.symlink_metadata().map(|found| found.file_type()) else { continue };
            if kind.is_dir() {
                if SKIPPED.contains(&&*told) {
                    continue;
                }
                if hub::is_repository(&path) {
                    self.repository(&at.join(name), &below(shown, &told), depth + 1)?;
                } else {
                    self.folder(&at.join(name), &below(shown, &told), depth + 1)?;
                }
            } else if kind.is_symlink() && path.is_dir() {
                if !path.canonicalize().is_ok_and(|to| to.starts_with(self.real)) {
                    let reason = format!("{} is a link to a folder outside of the source: it is not followed", path.display());
                    self.refuse(&at.join(name), &below(shown, &told), Cause::OutsideLink, reason);
                }
            } else if let Some(ending) = ending(&told).or_else(|| sniffed(&told, &path)) {
                files.push((PathBuf::from(name), told.into_owned(), ending));
            }
        }
        self.files(at, shown, &folder, files);
        Ok(())
    }

    /// The checkpoints in one folder.
    fn files(&mut self, at: &Path, shown: &str, folder: &Path, mut files: Vec<(PathBuf, String, Ending)>) {
        // The parts of a checkpoint are one with their index.
        let mut parts: BTreeMap<String, u64> = BTreeMap::new();
        files.retain(|(name, ..)| {
            let path = folder.join(name);
            let index = registry::index_of(&path);
            if let Some(index) = &index {
                *parts.entry(index.clone()).or_default() += size(&path);
            }
            index.is_none()
        });
        let own = own(files.iter().map(|(_, name, _)| name.as_str())).map(str::to_owned);
        let own = own.filter(|_| !shown.is_empty() && folder.join("config.json").exists());
        for (name, told, ending) in files {
            let path = folder.join(&name);
            // A repository is called as its folder is.
            let shown = if own.as_ref() == Some(&told) { shown.to_owned() } else { below(shown, &told) };
            let entry = Entry {
                name: shown,
                path: at.join(&name),
                bytes: size(&path) + parts.get(&told).copied().unwrap_or_default(),
                ending,
                refused: None,
            };
            let refused = self.refused(folder, &path);
            self.found.push(Entry { refused, ..entry });
        }
    }

    /// Why a file cannot be judged, as far as its place says.
    fn refused(&self, folder: &Path, path: &Path) -> Option<Refusal> {
        if path.to_str().is_none() {
            return Some(Refusal::new(Cause::Unsupported, format!("{}: the name is no UTF-8", path.display())));
        }
        if hub::dangles(path) {
            return Some(Refusal::new(Cause::Damaged, format!("{} is a link to a file that is not there", path.display())));
        }
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => return Some(Refusal::new(Cause::Error, format!("{}: {error}", path.display()))),
        };
        let inside = real.starts_with(self.real) || folder.canonicalize().is_ok_and(|folder| hub::belongs(&folder, &real));
        (!inside).then(|| {
            Refusal::new(Cause::OutsideLink, format!("{} is a link that leads out of the source: it is not followed", path.display()))
        })
    }

    /// A repository in a hub's cache: each revision that is there is a model of its own.
    fn repository(&mut self, at: &Path, shown: &str, depth: usize) -> Result<(), SourceError> {
        let (above, name) = shown.rsplit_once('/').unwrap_or(("", shown));
        let Some(repository) = name.strip_prefix("models--") else { return Ok(()) };
        let snapshots = at.join("snapshots");
        let folder = self.root.join(&snapshots);
        let entries = std::fs::read_dir(&folder).map_err(|source| SourceError::Read { path: folder.clone(), source })?;
        let mut revisions: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        revisions.sort();
        for revision in revisions {
            let told = revision.to_string_lossy().into_owned();
            let short: String = told.chars().take(12).collect();
            let shown = below(above, &format!("{}@{short}", repository.replacen("--", "/", 1)));
            if folder.join(&revision).symlink_metadata().is_ok_and(|found| found.is_dir()) {
                self.folder(&snapshots.join(&revision), &shown, depth + 1)?;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, at: &Path, shown: &str, cause: Cause, reason: String) {
        let refused = Some(Refusal::new(cause, reason));
        self.found.push(Entry { name: shown.to_owned(), path: at.to_owned(), bytes: 0, ending: Ending::Other, refused });
    }
}

/// The checkpoint that a folder stands for, among the names of those in it.
pub(super) fn own<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut usual = names.filter(|name| USUAL.contains(name));
    usual.next().filter(|_| usual.next().is_none())
}

/// Bytes of a checkpoint's file.
fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// A `.bin` whose first bytes are those of a pickle, or of an archive such as PyTorch writes around one.
fn sniffed(name: &str, path: &Path) -> Option<Ending> {
    if !name.to_lowercase().ends_with(".bin") {
        return None;
    }
    let mut head = [0; 4];
    store::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    matches!(head, [b'P', b'K', 3, 4] | [0x80, 2..=5, ..]).then_some(Ending::Other)
}

/// A name in a folder, with `/` between.
fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str, bytes: &[u8]) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    fn told(entries: &[Entry]) -> Vec<String> {
        let cause = |entry: &Entry| entry.refused.as_ref().map(|refused| format!(" {}", refused.cause.name())).unwrap_or_default();
        entries.iter().map(|entry| format!("{} {:?}{}", entry.name, entry.ending, cause(entry))).collect()
    }

    #[test]
    fn one_model_for_each_checkpoint_index_and_repository() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for name in
            ["a.onnx", "deep/er/b.SAFETENSORS", "notes.txt", "weights.bin", "x.onnx.data", ".git/c.onnx", "old.pth", "resnet/config.json"]
        {
            put(root, name, b"x");
        }
        put(root, "resnet/model.safetensors", b"x");
        put(root, "resnet/pytorch_model.bin", b"x");
        put(root, "resnet/training_args.bin", b"\x80\x02}q\x00.");
        let index = br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
        put(root, "large/model.safetensors.index.json", index);
        put(root, "large/model-00001-of-00002.safetensors", b"x");
        put(root, "large/model-00002-of-00002.safetensors", b"x");
        assert_eq!(
            told(&list(root).expect("listed")),
            [
                "a.onnx Onnx",
                "deep/er/b.SAFETENSORS Safetensors",
                "large/model.safetensors.index.json Safetensors",
                "old.pth Other",
                "resnet Safetensors",
                "resnet/pytorch_model.bin Other",
                "resnet/training_args.bin Other",
            ]
        );
        assert!(matches!(list(&root.join("nowhere")), Err(SourceError::Read { .. })));
    }

    #[test]
    #[cfg(unix)]
    fn links_are_followed_only_inside() {
        use std::os::unix::fs::symlink;
        let (folder, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
        let root = folder.path();
        put(root, "a.onnx", b"x");
        put(outside.path(), "secret.onnx", b"x");
        std::fs::create_dir(root.join("deep")).expect("made");
        symlink("../a.onnx", root.join("deep/same.onnx")).expect("linked");
        symlink(outside.path().join("secret.onnx"), root.join("out.onnx")).expect("linked");
        symlink(outside.path(), root.join("elsewhere")).expect("linked");
        symlink(root, root.join("deep/loop")).expect("linked");
        symlink("nothing", root.join("gone.onnx")).expect("linked");
        assert_eq!(
            told(&list(root).expect("listed")),
            ["a.onnx Onnx", "deep/same.onnx Onnx", "elsewhere Other outside-link", "gone.onnx Onnx damaged", "out.onnx Onnx outside-link"]
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_hub_cache_has_one_model_for_each_revision() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for (revision, blob) in [("0123456789abcdef", "aa"), ("fedcba9876543210", "bb")] {
            put(root, &format!("hub/models--owner--name/blobs/{blob}"), b"x");
            put(root, &format!("hub/models--owner--name/snapshots/{revision}/config.json"), b"{}");
            let link = root.join(format!("hub/models--owner--name/snapshots/{revision}/model.safetensors"));
            symlink(format!("../../blobs/{blob}"), link).expect("linked");
        }
        put(root, "hub/models--owner--name/refs/main", b"0123456789abcdef");
        put(root, "hub/datasets--a--b/snapshots/00/model.onnx", b"x");
        put(root, "hub/.locks/models--owner--name/x.onnx", b"x");
        assert_eq!(
            told(&list(root).expect("listed")),
            ["hub/owner/name@0123456789ab Safetensors", "hub/owner/name@fedcba987654 Safetensors"]
        );
    }
}
