//! The kept corpus of every target, read once more: what fuzzing went through stays gone through, without a fuzzer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::TARGETS;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(place(folder)).expect(folder);
    entries.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn every_target_has_a_harness_and_a_corpus() {
    let here: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), here);
    assert_eq!(names("corpus"), here);
}

#[test]
fn the_corpus_is_read_without_a_panic() {
    let mut total = 0;
    for (name, target) in TARGETS {
        let (mut files, mut understood) = (0, 0);
        for entry in std::fs::read_dir(place("corpus").join(name)).expect(name) {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("a file of the corpus");
            total += bytes.len();
            files += 1;
            understood += usize::from(target(&bytes));
        }
        // A corpus of nothing but refusals fuzzes the first check of a reader.
        assert!(files >= 3 && understood >= 1, "{name}: {understood} of {files} files are understood");
    }
    assert!(total < 2 << 20, "the corpus has {total} bytes: run fuzz/run minimise");
}
