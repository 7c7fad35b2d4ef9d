//! Fingerprints hold all of what they are of (`src/store/fingerprint.rs`).

use std::path::{Path, PathBuf};

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

/// The blocks of a text that begin with `start`, up to their closing brace at the same depth of indentation.
fn blocks<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let end = |rest: &str| rest.find("\n}").unwrap_or(rest.len());
    text.match_indices(start).map(|(at, _)| &text[at..at + end(&text[at..])]).collect()
}

/// Whether a block passes over fields (`Paste { planes, .. }`), variants (`_ =>`), or hashes text made for people.
fn passes_over(block: &str) -> bool {
    let code: Vec<&str> = block.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.iter().any(|line| line.contains(", .. }") || line.contains("{ .. }") || line.contains("(..)") || line.contains("_ =>"))
        || code.iter().any(|line| line.contains(":?}") || line.contains("format!"))
}

#[test]
fn what_passes_over_something_is_found() {
    let text = "impl Fingerprint for Paste {\n    let Self { planes, .. } = self;\n}\nimpl Fingerprint for Op {\n    Op::Linear => {}\n}\n";
    let found = blocks(text, "impl Fingerprint for ");
    assert_eq!(found.iter().map(|block| passes_over(block)).collect::<Vec<_>>(), [true, false]);
    assert!(passes_over("format!(\"{self:?}\")") && passes_over("_ => {}") && !passes_over("// Paste { .. }"));
}

#[test]
fn fingerprints_pass_nothing_over_and_hash_no_text_for_people() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let name = path.strip_prefix(&src).expect("inside src").display().to_string();
        for block in blocks(&text, "impl Fingerprint for ") {
            seen += 1;
            if passes_over(block) {
                wrong.push(format!("{name}: {}", block.lines().next().unwrap_or_default()));
            }
        }
        // What `Debug` prints changes when code is tidied up.
        let hashed = |line: &&str| line.contains("Digest::of") && line.contains(":?}") && !line.trim_start().starts_with("//");
        wrong.extend(text.lines().filter(hashed).map(|line| format!("{name}: {}", line.trim())));
    }
    assert!(seen > 20, "{seen} blocks were found: has the trait another name?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
