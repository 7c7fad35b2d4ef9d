//! What a test needs and the machine lacks: one marked line each, which `.ci/run` counts and holds against what is there.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Says that a test is left out because this is missing: the name of a program or library, or a path as seen from the checkout. The line
/// goes past the test runner, which shows nothing of what a passing test prints.
pub fn lacks(what: &str) {
    let line = format!("\ntest lacks: {what}\n");
    // A test that cannot even say so is not what fails here.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A folder of the data and models that may lie beside a checkout, or a line that says that it does not.
#[allow(dead_code, reason = "this file is compiled into the library's tests and into those of the binary; both need other parts of it")]
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = ["../shared", "../../shared"].iter().map(|place| root.join(place).join(part)).find(|place| place.is_dir());
    if found.is_none() {
        lacks(&format!("../shared/{part}"));
    }
    found
}
