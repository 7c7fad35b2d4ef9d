//! The files beside a checkpoint that say how it is meant: which network its weights are of, and what images become before they enter it.
//!
//! The same weights under another configuration are another model, so these files are read where the digest is made, and importers are
//! handed them: what was hashed is what is used.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::RegistryError;

/// Largest configuration file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// `config.json` of Hugging Face or timm.
pub(crate) const CONFIG: &str = "config.json";
/// Hugging Face's image processor.
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";
/// The same within a processor of several kinds.
pub(crate) const PROCESSOR: &str = "processor_config.json";

const NAMES: [&str; 3] = [CONFIG, PREPROCESSOR, PROCESSOR];

/// The configuration files of a checkpoint, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Configuration(BTreeMap<&'static str, File>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Configuration {
    /// Reads what lies in the checkpoint's folder, in that around `onnx/` as the hub has it, or beside the file that a link leads to. The first
    /// of a name counts.
    pub(crate) fn read(checkpoint: &Path) -> Result<Self, RegistryError> {
        let folders = folders(checkpoint);
        // Whatever has the name is meant: a link to nothing, a folder or a file that may not be read is no missing file.
        let there = |path: &PathBuf| !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == ErrorKind::NotFound);
        let mut files = BTreeMap::new();
        for name in NAMES {
            let Some(path) = folders.iter().map(|folder| folder.join(name)).find(there) else { continue };
            let unreadable = |source| RegistryError::Configuration { path: path.clone(), source };
            let bytes = crate::store::read(&path, MAX_BYTES).map_err(unreadable)?;
            files.insert(name, File { path, bytes });
        }
        Ok(Self(files))
    }

    /// The file of this name, where there is one.
    pub(crate) fn get(&self, name: &str) -> Option<&File> {
        self.0.get(name)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, file)| (*name, file.bytes.as_slice()))
    }
}

/// Whether a file of a checkpoint configures it.
pub(super) fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Every path at which a file that configures a checkpoint may lie.
pub(crate) fn configured_by(checkpoint: &Path) -> Vec<PathBuf> {
    folders(checkpoint).iter().flat_map(|folder| NAMES.map(|name| folder.join(name))).collect()
}

/// Most links that are followed from one to the next, as systems do.
const MOST_LINKS: usize = 40;

/// The folders in which a checkpoint is described: its own, and that around `onnx/`; where the checkpoint is a link, then those of what it leads
/// to, link by link: of a file in the hub's cache the snapshot holds the description, and not the folder of blobs.
fn folders(checkpoint: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut add = |folder: PathBuf| {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    };
    let mut at = std::path::absolute(checkpoint).unwrap_or_else(|_| checkpoint.to_owned());
    for _ in 0..MOST_LINKS {
        let Some(folder) = at.parent().map(Path::to_owned) else { break };
        // By the name that it was reached by, and by its own: a folder may be a link too, and `..` may stand behind it.
        let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        for folder in [&folder, &real] {
            add(folder.clone());
            let around = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "onnx"));
            around.map(Path::to_owned).into_iter().for_each(&mut add);
        }
        match std::fs::read_link(&at) {
            Ok(to) => at = folder.join(to),
            Err(_) => break,
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{contents, identify};
    use crate::store::{Digest, golden};

    const ONNX: [u8; 4] = [0x08, 7, 0x12, 0];

    /// `tests/golden/identities/make.py` makes the golden value as `(sha256sum < m.onnx; sha256sum config.json preprocessor_config.json) | sha256sum`.
    #[test]
    fn the_configuration_is_part_of_the_identity() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.onnx");
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        std::fs::write(&path, ONNX).expect("written");
        let plain = identify(&path).expect("identified");
        assert_eq!((plain.digest.clone(), plain.files.len()), (Digest::of(&ONNX), 0));
        assert_eq!(plain.weights(), plain.digest);
        put(CONFIG, "{}");
        put(PREPROCESSOR, r#"{"image_mean": 0.5}"#);
        put("tokenizer_config.json", "{}");
        let configured = identify(&path).expect("identified");
        let names: Vec<&str> = configured.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["-", CONFIG, PREPROCESSOR]);
        assert_eq!(configured.digest.digits(), golden("configured"));
        assert_eq!(configured.weights(), plain.digest);
        assert_eq!(configured.bytes, 4 + 2 + 19);
        // Weights that were identified under one configuration are not loaded under another.
        put(CONFIG, r#"{"model_args": {"global_pool": "max"}}"#);
        assert!(matches!(contents(&configured), Err(RegistryError::Changed { .. })));
        assert_ne!(identify(&path).expect("identified").digest, configured.digest);
    }

    #[test]
    fn it_is_found_where_the_hub_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("onnx")).expect("made");
        std::fs::create_dir(folder.path().join("other")).expect("made");
        std::fs::write(folder.path().join(CONFIG), "{}").expect("written");
        let external =
            |place: &str| Configuration::read(&folder.path().join(place)).expect("read").get(CONFIG).map(|file| file.path.clone());
        let up = folder.path().join(CONFIG);
        assert_eq!(external("m.onnx"), Some(up.clone()));
        assert_eq!(external("onnx/m.onnx"), Some(up));
        assert_eq!(external("other/m.onnx"), None);
        let own = folder.path().join("onnx").join(CONFIG);
        std::fs::write(&own, "{}").expect("written");
        assert_eq!(external("onnx/m.onnx"), Some(own));
    }

    /// A network whose configuration cannot be read is another network.
    #[test]
    #[cfg(unix)]
    fn what_is_no_readable_file_is_not_a_missing_one() {
        use std::os::unix::fs::symlink;
        for name in NAMES {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("m.onnx");
            std::fs::write(&path, ONNX).expect("written");
            let told = || identify(&path).expect_err("refused").to_string();
            symlink("../../blobs/gone", folder.path().join(name)).expect("linked");
            assert!(told().contains(name) && told().contains("cannot be read"), "{}", told());
            std::fs::remove_file(folder.path().join(name)).expect("removed");
            std::fs::create_dir(folder.path().join(name)).expect("made");
            assert!(told().contains(name) && told().contains("it is a folder"), "{}", told());
        }
        // A checkpoint that is a link is described beside the file itself, unless something lies beside the link.
        let (folder, real) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        std::fs::write(real.path().join("model.onnx"), ONNX).expect("written");
        std::fs::write(real.path().join(CONFIG), "{}").expect("written");
        let link = folder.path().join("mine.onnx");
        symlink(real.path().join("model.onnx"), &link).expect("linked");
        let found = || Configuration::read(&link).expect("read").get(CONFIG).map(|file| file.bytes.clone());
        assert_eq!(found().as_deref(), Some(&b"{}"[..]));
        std::fs::write(folder.path().join(CONFIG), "[]").expect("written");
        assert_eq!(found().as_deref(), Some(&b"[]"[..]));
    }

    /// However a checkpoint is reached, it is the same model.
    #[test]
    #[cfg(unix)]
    fn every_way_to_a_checkpoint_finds_its_configuration() {
        use std::os::unix::fs::symlink;
        let outer = tempfile::tempdir().expect("a folder");
        let at = |path: &str| outer.path().join(path);
        for folder in ["blobs", "snapshots/abc/onnx", "repo/onnx/sub", "releases"] {
            std::fs::create_dir_all(at(folder)).expect("made");
        }
        std::fs::write(at("blobs/123"), ONNX).expect("written");
        std::fs::write(at("repo/onnx/model.onnx"), ONNX).expect("written");
        symlink("../../blobs/123", at("snapshots/abc/model.onnx")).expect("linked");
        symlink("../../../blobs/123", at("snapshots/abc/onnx/model.onnx")).expect("linked");
        std::fs::write(at("snapshots/abc/config.json"), "{}").expect("written");
        std::fs::write(at("repo/config.json"), "{}").expect("written");
        // A link to a link, one to the folder, and one to a file whose description lies one folder up.
        symlink("../snapshots/abc/model.onnx", at("releases/one.onnx")).expect("linked");
        symlink("../snapshots/abc/onnx/model.onnx", at("releases/two.onnx")).expect("linked");
        symlink("../repo/onnx/model.onnx", at("releases/three.onnx")).expect("linked");
        symlink("../repo/onnx", at("releases/four")).expect("linked");
        let plain = identify(&at("repo/onnx/model.onnx")).expect("identified");
        assert_eq!(plain.files.len(), 2);
        for path in [
            "snapshots/abc/model.onnx",
            "snapshots/abc/onnx/model.onnx",
            "releases/one.onnx",
            "releases/two.onnx",
            "releases/three.onnx",
            "releases/four/model.onnx",
            "releases/four",
            "repo/onnx/sub/../model.onnx",
        ] {
            assert_eq!(identify(&at(path)).expect(path).digest, plain.digest, "{path}");
        }
    }
}
