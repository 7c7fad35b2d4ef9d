//! The binary, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

/// The binary with no setting of the surrounding shell.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heirloom"));
    // Nothing of an earlier test or of the user's.
    command.env("HEIRLOOM_CACHE", "off");
    // Where no folder is named, reports are written into the current one, which only one run at a time may do: every test has its own.
    let here = std::thread::current().name().unwrap_or("other").replace("::", "-");
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join(here);
    std::fs::create_dir_all(&here).expect("a folder for the test");
    command.current_dir(here);
    // What a machine has installed must not decide what is tested.
    command.env("ORT_DYLIB_PATH", "off");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "HEIRLOOM_LOG"] {
        command.env_remove(name);
    }
    command
}

/// What it says to these arguments.
pub fn heirloom(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("the binary runs")
}

/// What it wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A file in a temporary folder; its path.
pub fn file(folder: &Path, name: &str, contents: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
    std::fs::write(&path, contents).expect("a file in a temporary folder");
    path.display().to_string()
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    heirloom::store::sha256(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
