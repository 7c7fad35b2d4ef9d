//! Where libraries of ONNX Runtime are: names only, nothing is run to find them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::RuntimeError;

/// The library at a path that a person named: the file, or the folder that holds one.
pub(super) fn named(path: &Path) -> Result<PathBuf, RuntimeError> {
    let missing = || RuntimeError::Missing { path: path.to_owned() };
    let found = if path.is_dir() { libraries(path).into_iter().next().ok_or_else(missing)? } else { path.to_owned() };
    // Loading what is no regular file may never come back.
    crate::store::open(&found).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => RuntimeError::NotALibrary { path: found.clone(), reason: error.to_string() },
    })?;
    // Absolute, because the loader looks through the system's folders for a bare name.
    found.canonicalize().map_err(|_| missing())
}

/// Folders that may hold one: beside the program, the system's, an active Python environment's, the system's Python's.
pub(super) fn folders() -> Vec<PathBuf> {
    let external = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let listed = variable("LD_LIBRARY_PATH").map(|list| std::env::split_paths(&list).collect::<Vec<_>>()).unwrap_or_default();
    let system = ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/opt/homebrew/lib"].map(PathBuf::from);
    let triple = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable).map(PathBuf::from);
    let pythons = environments.chain(["/usr/local", "/usr"].map(PathBuf::from)).flat_map(|root| packages(&root));
    let all = external.into_iter().chain(listed).chain(system).chain([triple]).chain(pythons);
    let mut seen = BTreeSet::new();
    all.filter(|folder| folder.is_dir() && seen.insert(folder.clone())).collect()
}

/// The folders of the package `onnxruntime` in the Pythons below `root`.
fn packages(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for python in listed(&root.join("lib"), |name| name.starts_with("python")) {
        found.extend(["site-packages", "dist-packages"].map(|packages| python.join(packages).join("onnxruntime/capi")));
    }
    found.push(root.join("Lib/site-packages/onnxruntime/capi"));
    found.into_iter().filter(|folder| folder.is_dir()).collect()
}

/// The libraries in a folder, the plainest name first, then the highest version.
pub(super) fn libraries(folder: &Path) -> Vec<PathBuf> {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let plain = format!("{prefix}onnxruntime{suffix}");
    let numbered = |name: &str| {
        let linux = name.strip_prefix(plain.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let mac = name.strip_prefix("libonnxruntime.").and_then(|rest| rest.strip_suffix(".dylib")).is_some();
        (linux || mac) && name.contains(|c: char| c.is_ascii_digit())
    };
    let mut found = listed(folder, |name| name == plain || numbered(name));
    let version = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    found.sort_by(|a, b| {
        let (a, b) = (version(a), version(b));
        a.is_empty().cmp(&b.is_empty()).reverse().then(b.cmp(&a))
    });
    found
}

/// What a folder holds whose names fit, by name.
fn listed(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(&fits));
    let mut paths: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_plain_name_and_then_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.31.1", "libonnxruntime.so", "libonnxruntime_providers_shared.so", "notes.txt"]
        {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let names: Vec<_> = libraries(folder.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["libonnxruntime.so", "libonnxruntime.so.1.31.1", "libonnxruntime.so.1.9.0"]);
        assert_eq!(named(folder.path()).unwrap().file_name().unwrap(), "libonnxruntime.so");
    }

    #[test]
    fn packages_of_a_python_environment() {
        let root = tempfile::tempdir().unwrap();
        let capi = root.path().join("lib/python3.13/site-packages/onnxruntime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        std::fs::create_dir_all(root.path().join("lib/python3.12/site-packages")).unwrap();
        assert_eq!(packages(root.path()), [capi]);
    }

    #[test]
    fn a_folder_without_a_library() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("absent.so")] {
            assert!(matches!(named(&path), Err(RuntimeError::Missing { .. })));
        }
    }
}
