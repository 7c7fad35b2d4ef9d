//! The order of the layers (docs/architecture.md): a module imports only from those before it.

use std::path::{Path, PathBuf};

const LAYERS: [&[&str]; 30] = [
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
    &["sign"],
    &["verify"],
    &["compare"],
    &["init"],
    &["plant"],
    &["series"],
    &["calibrate", "study"],
    &["net"],
    &["source"],
    &["scan"],
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
    const OTHERS: [&str; 7] = [
        "store/open.rs",
        "engine/subject/stage.rs",
        "engine/cache_keys.rs",
        "cli/doctor.rs",
        "model/arch/golden.rs",
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

/// A certification of a file must not reach out: only `net` opens a connection.
#[test]
fn only_net_opens_a_connection() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in files {
        let inside = path.strip_prefix(&src).expect("inside src").display().to_string();
        let text = std::fs::read_to_string(&path).expect("a source file");
        for (number, line) in text.lines().enumerate() {
            // What waits for a signal or speaks to a worker of its own is no connection to anyone.
            let opens = ["reqwest", "rustls", "std::net", "TcpStream", "TcpListener", "UdpSocket", "tokio::", "hyper::"];
            if !opens.iter().any(|name| line.contains(name)) {
                continue;
            }
            if inside == "net.rs" || inside.starts_with("net/") {
                seen += 1;
            } else {
                wrong.push(format!("src/{inside}:{}: connections are opened by src/net.rs alone", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 0, "the client has another name now: look for that");
}

/// The paths of a use tree: `a::{b, c::d}` stands for `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let plain = tree.split(" as ").next().unwrap_or_default();
        return vec![plain.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()];
    };
    let before: Vec<String> = tree[..open].split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let (mut depth, mut start, mut found) = (0, open + 1, Vec::new());
    for (at, c) in tree.char_indices().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (c == ',' && depth == 1) || (c == '}' && depth == 0) {
            found.extend(paths(&tree[start..at]).into_iter().map(|rest| [before.clone(), rest].concat()));
            start = at + 1;
        }
    }
    found.into_iter().filter(|path| path.len() > before.len()).collect()
}

/// What the `use` items of a file name, outside of its tests.
fn used(text: &str) -> Vec<Vec<String>> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let code: String = text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let items = code.split(';').filter(|item| !item.contains("#[cfg(test)]"));
    let trees = items.filter_map(|item| item.rsplit_once("use ").filter(|(before, _)| !before.ends_with(char::is_alphanumeric)));
    trees.flat_map(|(_, tree)| paths(tree)).collect()
}

#[test]
fn use_trees_are_taken_apart() {
    let text = "use super::{Error, table::{self, Row as R}};\npub(crate) use text::Column;\n#[cfg(test)]\nuse x::y;\nfn f() {}";
    let shown: Vec<String> = used(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(shown, ["super::Error", "super::table::self", "super::table::Row", "text::Column"]);
}

/// Of two files beside each other, one may import from the other. What the module above re-exports counts as imported from where it stands.
#[test]
fn files_beside_each_other_import_one_way() {
    use std::collections::{BTreeMap, BTreeSet};
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let module = |path: &Path| -> Vec<String> {
        let inside = path.strip_prefix(&src).expect("inside src").with_extension("");
        inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let for_tests = ["tests", "samples", "golden", "docs", "schema", "lib", "main", "cli"];
    let all: BTreeMap<Vec<String>, Vec<Vec<String>>> = files
        .iter()
        .map(|path| (module(path), used(&std::fs::read_to_string(path).expect("a source file"))))
        .filter(|(module, _)| !module.iter().any(|part| for_tests.contains(&part.as_str())))
        .collect();
    // By module: which of its parts imports from which.
    let mut imports: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, named) in &all {
        for path in named {
            let mut up = 0;
            while path.get(up).is_some_and(|part| part == "super") {
                up += 1;
            }
            let whole = match path.first().map(String::as_str) {
                Some("crate") => path[1..].to_vec(),
                Some("super") if up <= module.len() => [&module[..module.len() - up], &path[up..]].concat(),
                _ => continue,
            };
            for depth in 1..module.len() {
                let (above, own) = (&module[..depth], &module[depth]);
                let Some(next) = whole.strip_prefix(above).and_then(|rest| rest.first()) else { continue };
                let part = [above, std::slice::from_ref(next)].concat();
                let lent = || {
                    let from = all.get(above)?.iter().find(|path| path.last() == Some(next))?.first()?.clone();
                    all.contains_key(&[above, std::slice::from_ref(&from)].concat()).then_some(from)
                };
                let from = if all.contains_key(&part) { Some(next.clone()) } else { lent() };
                if let Some(from) = from.filter(|from| from != own) {
                    imports.entry(above.to_vec()).or_default().entry(own.clone()).or_default().insert(from);
                }
            }
        }
    }
    let mut wrong = Vec::new();
    for (above, mut edges) in imports {
        // Who imports from nobody that is left is in no circle.
        while let Some(free) =
            edges.iter().find(|(_, from)| from.iter().all(|part| !edges.contains_key(part))).map(|(part, _)| part.clone())
        {
            edges.remove(&free);
        }
        let parts: Vec<&str> = edges.keys().map(String::as_str).collect();
        if !parts.is_empty() {
            wrong.push(format!("src/{}: {} import from each other, or from such", above.join("/"), parts.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
