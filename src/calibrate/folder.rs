//! Sources that are there: `planted/` and `clean/` below one folder.
//!
//! What a planted source carries is said by the folders it lies in: `planted/patch/yellow/a.onnx` carries the trigger of the rule
//! `patch/yellow`, `planted/patch/a.onnx` those of all rules with a patch. With one rule in the policy nothing need be said.

use std::path::{Path, PathBuf};

use super::CalibrateError;
use super::sources::{Provided, Source, family};
use crate::gate::Rule;

/// Deepest folder below `planted/` and `clean/` that is looked into.
const DEPTH: usize = 6;
/// Endings of files that lie beside models and are none.
const BESIDE: [&str; 9] = ["json", "md", "txt", "csv", "yaml", "yml", "data", "png", "svg"];

/// The sources below a folder, by name.
pub(super) fn sources(folder: &Path, rules: &[&Rule]) -> Result<Vec<Source>, CalibrateError> {
    let mut sources = Vec::new();
    for (kind, planted) in [("planted", true), ("clean", false)] {
        let place = folder.join(kind);
        if !place.is_dir() {
            return Err(CalibrateError::NoFolder { folder: folder.to_owned(), kind });
        }
        let mut found = Vec::new();
        models(&place, DEPTH, &mut found)?;
        for path in found {
            let inside = path.strip_prefix(folder).unwrap_or(&path);
            let name = inside.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
            let carries = if planted { carried(&name, rules)? } else { Vec::new() };
            sources.push(Source { name, planted, carries, near: Vec::new(), architecture: None, seed: None, origin: Provided::File(path) });
        }
    }
    Ok(sources)
}

/// Files and model folders, in the order of their names.
fn models(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), CalibrateError> {
    let failed = |source| CalibrateError::Read { path: folder.to_owned(), source };
    let mut entries =
        std::fs::read_dir(folder).map_err(failed)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if hidden || (path.is_file() && BESIDE.contains(&ending.as_str())) {
            continue;
        }
        if path.is_dir() && !["model.safetensors", "model.onnx"].iter().any(|name| path.join(name).is_file()) {
            if depth == 0 {
                return Err(CalibrateError::Spec(format!("{} lies too deep", path.display())));
            }
            models(&path, depth - 1, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// The rules whose triggers a planted source carries, by its name: `planted/patch/yellow/a.onnx`.
fn carried(name: &str, rules: &[&Rule]) -> Result<Vec<String>, CalibrateError> {
    let inside = name.strip_prefix("planted/").unwrap_or(name);
    // The longest id that the path begins with: `patch` may be a rule beside `patch/yellow`.
    let named = rules.iter().filter(|rule| inside.strip_prefix(rule.id.as_str()).is_some_and(|rest| rest.starts_with('/')));
    if let Some(rule) = named.max_by_key(|rule| rule.id.len()) {
        return Ok(vec![rule.id.clone()]);
    }
    let of_family = |wanted: &str| rules.iter().filter(|r| family(r) == wanted).map(|r| r.id.clone()).collect::<Vec<_>>();
    let all = inside.split_once('/').map(|(first, _)| of_family(first)).unwrap_or_default();
    match (all.is_empty(), rules) {
        (false, _) => Ok(all),
        (true, [one]) => Ok(vec![one.id.clone()]),
        _ => {
            Err(CalibrateError::Unsaid { name: name.to_owned(), known: rules.iter().map(|r| r.id.as_str()).collect::<Vec<_>>().join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{self, Options};

    #[test]
    fn folders_say_what_a_source_carries() {
        let rule =
            |id: &str, trigger: &str| format!("  - {{ id: {id}, limit: 0.5, probe: {{ backdoor: {{ trigger: {{ {trigger} }} }} }} }}\n");
        let patch = "patch: { size: 0.25, color: \"#ffff00\" }";
        let head = "version: 1\nname: p\ntarget: { data: { embedded: fashion } }\ntransfer: { fixed_feature: { epochs: 1, learning_rate: 0.1 } }\nrules:\n";
        let text =
            head.to_owned() + &rule("square", patch) + &rule("square/small", patch) + &rule("mix", "blend: { seed: 1, opacity: 0.2 }");
        let (policy, _) = policy::parse(&text, "p", Path::new("."), &Options::default()).unwrap();
        let rules: Vec<&Rule> = policy.rules.iter().collect();
        assert_eq!(carried("planted/square/a.onnx", &rules).unwrap(), ["square"]);
        assert_eq!(carried("planted/square/small/a.onnx", &rules).unwrap(), ["square/small"]);
        assert_eq!(carried("planted/patch/a.onnx", &rules).unwrap(), ["square", "square/small"]);
        assert_eq!(carried("planted/blend/x", &rules).unwrap(), ["mix"]);
        for unsaid in ["planted/a.onnx", "planted/squares/a.onnx", "planted/square"] {
            assert!(matches!(carried(unsaid, &rules), Err(CalibrateError::Unsaid { .. })), "{unsaid}");
        }
        assert_eq!(carried("planted/a.onnx", &rules[..1]).unwrap(), ["square"]);
    }

    #[test]
    fn models_are_found_and_what_lies_beside_them_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "planted/b.onnx",
            "planted/x/a.safetensors",
            "planted/hf/model.safetensors",
            "planted/hf/config.json",
            "planted/.cache",
            "planted/r.md",
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let mut found = Vec::new();
        models(&folder.path().join("planted"), DEPTH, &mut found).unwrap();
        let names: Vec<String> = found.iter().map(|p| p.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["planted/b.onnx", "planted/hf", "planted/x/a.safetensors"]);
        // Nothing says what they carry; and where nothing is planted, the folder of clean ones is missed.
        assert!(matches!(sources(folder.path(), &[]), Err(CalibrateError::Unsaid { .. })));
        std::fs::remove_dir_all(folder.path().join("planted")).unwrap();
        std::fs::create_dir(folder.path().join("planted")).unwrap();
        assert!(matches!(sources(folder.path(), &[]), Err(CalibrateError::NoFolder { kind: "clean", .. })));
    }
}
