//! The order of the layers (docs/architecture.md): a module imports only from those before it.

use std::path::{Path, PathBuf};

const LAYERS: [&[&str]; 23] = [
    &["diag", "lacks", "stats", "pixels"],
    &["store"],
    &["spec"],
    &["registry"],
    &["runtime"],
    &["transform"],
    &["data"],
    &["graph"],
    &["exec"],
    &["model"],
    &["tune"],
    &["probe"],
    &["gate"],
    &["policy"],
    &["plan"],
    &["report"],
    &["engine"],
    &["session"],
    &["plant"],
    &["series"],
    &["calibrate", "study"],
    &["cli"],
    &["fuzzing"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|group| group.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a text names as `crate::module` or in `crate::{module, ...}`, up to its tests.
fn imports(text: &str) -> Vec<String> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let mut names = Vec::new();
    let code: String = text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).fold(String::new(), |t, l| t + l + "\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(std::mem::take(&mut name)),
                    c if depth == 0 => name.push(c),
                    _ => {}
                }
            }
            names.push(name);
        } else {
            names.push(rest.to_owned());
        }
    }
    let word = |name: &String| name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    names.iter().map(word).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_are_found() {
    let text = "use crate::graph::{Op, Slot};\n// crate::cli\nuse crate::{store, tune::{Mode, Recipe}};\nfn f() { crate::stats::x() }\n\
                #[cfg(test)]\nmod tests { use crate::cli; }";
    assert_eq!(imports(text), ["graph", "store", "tune", "stats"]);
}

#[test]
fn modules_import_only_from_layers_before_theirs() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.sort();
    let mut wrong = Vec::new();
    for path in files {
        let inside = path.strip_prefix(&src).expect("inside src");
        let first = inside.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&module.as_str())
            || inside.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs")
        {
            continue;
        }
        let Some(own) = layer(&module) else {
            wrong.push(format!("{}: `{module}` is in no layer", inside.display()));
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("a source file");
        for name in imports(&text) {
            match layer(&name) {
                _ if name == module => {}
                Some(other) if other < own => {}
                Some(_) => wrong.push(format!("{}: `{module}` imports `{name}`, which is not before it", inside.display())),
                None => wrong.push(format!("{}: `{name}` is in no layer", inside.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A named pipe or a device must not be read, by whichever way a file is opened: only `store` does.
#[test]
fn only_the_store_opens_files_to_read() {
    /// Files of the system's or the program's own, and what only tests read.
    const OTHERS: [&str; 6] = [
        "store/open.rs",
        "engine/subject.rs",
        "engine/kept.rs",
        "cli/doctor.rs",
        "model/safetensors/golden.rs",
        "model/preprocessing/golden.rs",
    ];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let inside = path.strip_prefix(&src).expect("inside src").display().to_string();
        if OTHERS.contains(&inside.as_str()) || inside.contains("tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        let end = text.find("#[cfg(test)]").unwrap_or(text.len());
        for (number, line) in text[..end].lines().enumerate() {
            if ["File::open(", "fs::read(", "fs::read_to_string("].iter().any(|call| line.contains(call)) {
                wrong.push(format!("src/{inside}:{}: use `store::open` or `store::read`", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
