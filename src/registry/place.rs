//! Which file a path means: itself, the checkpoint in a folder, that of a model in the hub's cache.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use super::{RegistryError, io, shards};
use crate::store::hub;

/// Most names of a folder that are looked at: a folder of images is no checkpoint's.
const MOST_NAMES: usize = 10_000;

/// Longest name of a revision that is believed, in bytes.
const MAX_REVISION: u64 = 256;

/// The file meant by a path.
pub(super) fn file_of(path: &Path) -> Result<PathBuf, RegistryError> {
    let found = std::fs::metadata(path).map_err(|source| io(path, source))?;
    if found.is_file() {
        return match shards::index_of(path) {
            Some(index) => Err(RegistryError::Shard { path: path.to_owned(), index }),
            None => Ok(path.to_owned()),
        };
    }
    if !found.is_dir() {
        return Err(RegistryError::NotAFile { path: path.to_owned() });
    }
    let folder = snapshot(path)?.unwrap_or_else(|| path.to_owned());
    if let Some(file) = inside(&folder)? {
        return Ok(file);
    }
    // As transformers.js and Optimum lay it out.
    let onnx = folder.join("onnx");
    if onnx.is_dir()
        && let Some(file) = inside(&onnx)?
    {
        return Ok(file);
    }
    Err(RegistryError::EmptyFolder { holds: holds(&names(&folder)?), path: folder })
}

/// The checkpoint in a folder: by its usual name, else the only one that there is.
fn inside(folder: &Path) -> Result<Option<PathBuf>, RegistryError> {
    let several = |names: &[String]| RegistryError::SeveralInFolder { path: folder.to_owned(), names: names.join(", ") };
    let usual = ["model.safetensors", "model.safetensors.index.json", "model.onnx"];
    // Another file that is there is not the one that is meant.
    let lost = |name: &str| Err(RegistryError::Dangling { path: folder.join(name) });
    if let Some(name) = usual.iter().find(|name| hub::dangles(&folder.join(name))) {
        return lost(name);
    }
    let there: Vec<String> = usual.iter().filter(|name| folder.join(name).is_file()).map(|name| (*name).to_owned()).collect();
    match there.as_slice() {
        [one] => return Ok(Some(folder.join(one))),
        [] => {}
        more => return Err(several(more)),
    }
    let names = names(folder)?;
    let ends = |name: &String| [".safetensors", ".onnx", ".safetensors.index.json"].iter().any(|end| name.to_lowercase().ends_with(end));
    if let Some(name) = names.iter().find(|name| ends(name) && hub::dangles(&folder.join(name))) {
        return lost(name);
    }
    let found: Vec<String> = names.into_iter().filter(|name| ends(name) && folder.join(name).is_file()).collect();
    // The parts of a checkpoint are one with their index.
    let whole: Vec<String> = found.into_iter().filter(|name| shards::index_of(&folder.join(name)).is_none()).collect();
    match whole.as_slice() {
        [one] => Ok(Some(folder.join(one))),
        [] => Ok(None),
        more => Err(several(more)),
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, RegistryError> {
    let entries = std::fs::read_dir(folder).map_err(|source| io(folder, source))?;
    let mut names: Vec<String> = entries.take(MOST_NAMES).flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

/// What a folder without a checkpoint holds, for people.
fn holds(names: &[String]) -> String {
    let is = |end: &str| names.iter().any(|name| name.ends_with(end));
    if names.is_empty() {
        "it is empty".into()
    } else if is("pytorch_model.bin") || is(".pt") || is(".pth") || is(".ckpt") {
        "it holds pickled weights, which are never loaded".into()
    } else if let Some(model) = names.iter().find(|name| name.starts_with("models--")) {
        format!("it is a hub cache: name a model's folder in it, such as {model}")
    } else if names.iter().any(|name| bin(Path::new(name)) == TENSORFLOW_JS) {
        "it holds weights of TensorFlow.js".into()
    } else {
        let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
        let more = if names.len() > shown.len() { ", ..." } else { "" };
        format!("it holds {}{more}", shown.join(", "))
    }
}

const TENSORFLOW_JS: &str = "weights of TensorFlow.js";

/// What a `.bin` file seems to be whose bytes are no pickle's.
pub(super) fn bin(path: &Path) -> &'static str {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.contains("-shard") && name.starts_with("group") {
        TENSORFLOW_JS
    } else if path.with_extension("xml").is_file() {
        "weights of OpenVINO"
    } else if path.with_extension("param").is_file() {
        "weights of ncnn"
    } else {
        "neither its first bytes nor its extension say"
    }
}

/// In the hub's cache, `models--OWNER--NAME` holds `refs/main`, the name of a revision, and `snapshots/REVISION`, its files. `snapshots` itself
/// stands for the same.
fn snapshot(folder: &Path) -> Result<Option<PathBuf>, RegistryError> {
    let is_model = |folder: &Path| {
        let parts = ["blobs", "refs"].iter().any(|part| folder.join(part).is_dir());
        folder.join("snapshots").is_dir() && (parts || folder.canonicalize().is_ok_and(|real| hub::is_repository(&real)))
    };
    let above = folder.parent().filter(|above| folder.ends_with("snapshots") && is_model(above));
    let folder = match above {
        Some(model) => model,
        None if is_model(folder) => folder,
        None => return Ok(None),
    };
    let snapshots = folder.join("snapshots");
    let wrong = |reason: String| RegistryError::Snapshot { path: folder.to_owned(), reason };
    let main = folder.join("refs").join("main");
    let revision = match std::fs::metadata(&main) {
        Ok(found) if found.len() <= MAX_REVISION => {
            let name = crate::store::read(&main, MAX_REVISION).map_err(|source| io(&main, source))?;
            String::from_utf8_lossy(&name).trim().to_owned()
        }
        Ok(_) => return Err(wrong("refs/main is no name of a revision".into())),
        Err(_) => match names(&snapshots)?.as_slice() {
            [one] => one.clone(),
            [] => return Err(wrong("snapshots/ is empty".into())),
            more => {
                return Err(wrong(format!("refs/main is missing and snapshots/ holds {} revisions: name the folder of one", more.len())));
            }
        },
    };
    let plain = !revision.is_empty() && revision.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let inside = snapshots.join(&revision);
    if plain && inside.is_dir() {
        Ok(Some(inside))
    } else {
        Err(wrong(format!("the revision in refs/main ({}) is not below snapshots/", revision.escape_debug())))
    }
}

/// What people call the checkpoint at a path: see [`super::ModelRef::name`]. Nothing is looked up: a report is the same wherever it is made.
pub(super) fn name(path: &Path) -> String {
    let parts: Vec<Cow<str>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_string_lossy(),
            // What it stands for is not in the path.
            _ => Cow::Borrowed(""),
        })
        .collect();
    let Some((file, above)) = parts.split_last().filter(|(file, _)| !file.is_empty()) else { return path.display().to_string() };
    let stem = file.split('.').next().unwrap_or_default();
    // In `onnx/` lie variants of one model: `model_fp16.onnx`.
    let (above, inner) = match above {
        [above @ .., onnx] if onnx == "onnx" && stem.starts_with("model") => (above, format!("onnx/{file}")),
        above if matches!(stem, "model" | "pytorch_model") => (above, file.to_string()),
        _ => return file.to_string(),
    };
    let outer = match above {
        [.., repository, snapshots, _] if snapshots == "snapshots" && repository.starts_with("models--") => {
            repository.trim_start_matches("models--").replace("--", "/")
        }
        [.., folder] => folder.to_string(),
        [] => String::new(),
    };
    if outer.is_empty() { inner } else { format!("{outer}/{inner}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Explain;
    use crate::registry::identify;

    const ONNX: &[u8] = &[0x08, 7, 0x12, 0];

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, ONNX).expect("written");
        }
        folder
    }

    fn found(files: &[&str]) -> Result<PathBuf, String> {
        let folder = folder(files);
        let path = identify(folder.path()).map_err(|error| error.to_string())?.path;
        Ok(path.strip_prefix(folder.path()).expect("inside").to_owned())
    }

    #[test]
    fn a_file_that_is_called_as_many_are_is_told_by_its_folder() {
        for (path, name) in [
            ("resnet50.onnx", "resnet50.onnx"),
            ("zoo/resnet50.onnx", "resnet50.onnx"),
            ("zoo/onnx/resnet50.onnx", "resnet50.onnx"),
            ("zoo/release-7/model.safetensors", "release-7/model.safetensors"),
            ("/release-7/model.safetensors.index.json", "release-7/model.safetensors.index.json"),
            ("release-7/pytorch_model.safetensors", "release-7/pytorch_model.safetensors"),
            ("release-7/onnx/model_fp16.onnx", "release-7/onnx/model_fp16.onnx"),
            ("onnx/model.onnx", "onnx/model.onnx"),
            ("hub/models--microsoft--resnet-18/snapshots/0a1b/model.safetensors", "microsoft/resnet-18/model.safetensors"),
            ("hub/models--a--b/snapshots/0a1b/onnx/model_int8.onnx", "a/b/onnx/model_int8.onnx"),
            ("model.onnx", "model.onnx"),
            ("./model.onnx", "model.onnx"),
            ("../model.onnx", "model.onnx"),
            ("/model.onnx", "model.onnx"),
            ("..", ".."),
        ] {
            assert_eq!(super::name(Path::new(path)), name, "{path}");
        }
    }

    #[test]
    fn a_folder_stands_for_the_checkpoint_in_it() {
        let error = |files: &[&str]| found(files).expect_err("refused");
        assert!(error(&[]).contains("it is empty"));
        assert_eq!(found(&["model.onnx", "config.json"]), Ok("model.onnx".into()));
        assert_eq!(found(&["release-7.onnx", "config.json"]), Ok("release-7.onnx".into()));
        assert_eq!(found(&["model.onnx", "model_quantized.onnx"]), Ok("model.onnx".into()));
        // What is in the folder itself comes before what transformers.js has below it.
        assert_eq!(found(&["onnx/model.onnx", "onnx/model_fp16.onnx", "config.json"]), Ok("onnx/model.onnx".into()));
        assert_eq!(found(&["b.onnx", "onnx/model.onnx"]), Ok("b.onnx".into()));
        assert!(error(&["model.onnx", "model.safetensors"]).contains("several checkpoints (model.safetensors, model.onnx)"));
        assert!(error(&["a.onnx", "b.onnx"]).contains("a.onnx, b.onnx"));
        assert!(error(&["pytorch_model.bin"]).contains("pickled"));
        assert!(error(&["model.json", "group1-shard1of2.bin"]).contains("TensorFlow.js"));
        assert!(error(&["readme.txt"]).contains("readme.txt"));
    }

    #[test]
    fn a_model_in_the_hubs_cache_is_its_main_revision() {
        let files = ["blobs/x", "snapshots/0a/model.onnx", "snapshots/1b/onnx/model.onnx"];
        let folder = folder(&files);
        let error = || identify(folder.path()).expect_err("refused").to_string();
        assert!(error().contains("2 revisions"), "{}", error());
        let main = folder.path().join("refs/main");
        std::fs::create_dir(folder.path().join("refs")).expect("made");
        for (revision, file) in [("0a", "snapshots/0a/model.onnx"), ("1b\n", "snapshots/1b/onnx/model.onnx")] {
            std::fs::write(&main, revision).expect("written");
            assert_eq!(identify(folder.path()).expect("found").path, folder.path().join(file));
        }
        for revision in ["2c", "../0a", "", "."] {
            std::fs::write(&main, revision).expect("written");
            assert!(error().contains("hub cache"), "{revision}: {}", error());
        }
        assert_eq!(found(&files[..2]), Ok("snapshots/0a/model.onnx".into()));
    }

    #[test]
    fn a_hub_cache_without_blobs_or_links_is_read_as_one_with_them() {
        let cache = folder(&["models--a--b/snapshots/0a/model.onnx", "models--a--c/refs/x", "models--a--c/snapshots/1b/model.onnx"]);
        for (model, file) in [("models--a--b", "snapshots/0a/model.onnx"), ("models--a--c", "snapshots/1b/model.onnx")] {
            let model = cache.path().join(model);
            for named in [&model, &model.join("snapshots")] {
                assert_eq!(identify(named).expect("found").path, model.join(file), "{}", named.display());
            }
        }
        let error = identify(cache.path()).expect_err("refused").to_string();
        assert!(error.contains("it is a hub cache: name a model's folder in it, such as models--a--b"), "{error}");
        // A folder of one's own with `snapshots` in it is no cache.
        assert_eq!(found(&["release-7.onnx", "snapshots/epoch-1.onnx", "snapshots/epoch-2.onnx"]), Ok("release-7.onnx".into()));
    }

    #[test]
    #[cfg(unix)]
    fn a_link_to_a_file_that_is_not_there_is_named_and_nothing_else_is_taken() {
        for name in ["model.safetensors", "release.onnx"] {
            let folder = folder(&["models--a--b/snapshots/0a/other.onnx"]);
            let model = folder.path().join("models--a--b");
            std::os::unix::fs::symlink("../../blobs/abcd", model.join("snapshots/0a").join(name)).expect("linked");
            let error = identify(&model).expect_err("refused");
            assert!(error.to_string().ends_with(&format!("snapshots/0a/{name} is a link to a file that is not there")), "{error}");
            assert!(error.hint().expect("a hint").starts_with("download the model again"));
        }
    }
}
