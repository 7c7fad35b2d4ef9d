//! ONNX Runtime in a process of its own: whatever that one does, the command ends with one error, and nothing is left behind.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bad_input::reports::{certified, no_verdict};
use crate::lacks::lacks;
use crate::run::{command, file, heirloom, text};

fn path(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

/// A library of the newest version that does this when it is asked for its functions; none where there is no compiler.
fn library(folder: &Path, does: &str) -> Option<PathBuf> {
    let code = format!(
        "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
         static const char *version(void) {{ return \"1.99.0\"; }}\n\
         static const void *api(unsigned v) {{ {does} return 0; }}\n\
         static const void *base[] = {{ api, version }};\n\
         const void *OrtGetApiBase(void) {{ return base; }}\n"
    );
    let (source, library) = (file(folder, "library.c", code.as_bytes()), folder.join("libonnxruntime.so"));
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o", &library.display().to_string(), &source]).status();
    if made.is_ok_and(|status| status.success()) {
        return Some(library);
    }
    lacks("a C compiler");
    None
}

#[test]
fn a_library_that_ends_its_process_is_one_error() {
    for (does, said, hint) in [
        ("*(volatile int *)0 = 1;", "ONNX Runtime crashed (signal 11) while its library was loaded", "--ort-lib off"),
        (
            "fprintf(stderr, \"bad things\\n\"); abort();",
            "crashed (signal 6) while its library was loaded; it said: bad things",
            "--ort-lib off",
        ),
        ("raise(SIGKILL);", "as the system does where memory runs out (signal 9)", "more memory"),
        (
            "printf(\"to stdout\\n\"); fflush(stdout); _exit(7);",
            "ended with code 7 while its library was loaded; it said: to stdout",
            "--ort-lib off",
        ),
        ("for (;;) pause();", "ONNX Runtime gave no answer in 1 s while its library was loaded", "--ort-timeout"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(library) = library(folder.path(), does) else { return };
        let library = library.display().to_string();
        let said = &said.replace("its library was", &format!("its library {library} was"));
        let reports = folder.path().join("reports");
        certified(&reports);
        let model = path("fixtures/models/clean.onnx");
        let output = reports.display().to_string();
        for arguments in [&["doctor"][..], &["inspect", &model], &["plan", &model], &["certify", &model, "--output", &output]] {
            // Only what hangs may take too long, however busy the machine is.
            let limit = if hint == "--ort-timeout" { "1s" } else { "10m" };
            let out = heirloom(&[arguments, &["--ort-lib", &library, "--ort-timeout", limit]].concat());
            let message = text(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{arguments:?}: {message}");
            assert!(message.contains(said) && message.contains("hint: ") && message.contains(hint), "{message}");
            // Doctor shows all else that it found.
            assert!(!message.contains("panicked") && message.contains(&library), "{message}");
            assert_eq!(text(&out.stdout).contains("cannot be used"), arguments == ["doctor"], "{}", text(&out.stdout));
        }
        no_verdict(&reports, "error", 2, said);
        // No core of a crash, no file of a worker.
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}

/// Processes whose parent is this one.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Whether a process is there and does something: one that nobody waited for does not count.
#[cfg(target_os = "linux")]
fn runs(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    status.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z" && state != "X")
}

#[cfg(target_os = "linux")]
fn until(said: &str, holds: impl Fn() -> bool) {
    let clock = Instant::now();
    while !holds() {
        assert!(clock.elapsed() < Duration::from_mins(1), "{said}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_ends_with_its_program_in_the_middle_of_its_work() {
    let folder = tempfile::tempdir().expect("a folder");
    // Busy, and deaf to what a terminal sends.
    let Some(library) = library(folder.path(), "signal(SIGTERM, SIG_IGN); for (volatile long i = 0;; i++) {}") else { return };
    for signal in ["-KILL", "-TERM", "-INT"] {
        let mut command = command();
        command.args(["doctor", "--ort-lib", &library.display().to_string()]).stderr(Stdio::null()).stdout(Stdio::null());
        let mut program = command.spawn().expect("the binary runs");
        until("a worker starts", || !children(program.id()).is_empty());
        let workers = children(program.id());
        assert_eq!(workers.len(), 1);
        Command::new("kill").args([signal, &program.id().to_string()]).status().expect("kill");
        let code = program.wait().expect("an end").code();
        // One is enough, although what it waits for never comes.
        assert_eq!(code, if signal == "-KILL" { None } else { Some(130) });
        until("the worker ends", || !runs(workers[0]));
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_worker_is_not_started_by_hand() {
    for arguments in [&["ort-worker"][..], &["ort-worker", "a"], &["ort-worker", "a", "b", "c"]] {
        let out = heirloom(arguments);
        assert_eq!(out.status.code(), Some(4));
        assert!(text(&out.stderr).contains("heirloom starts `ort-worker` by itself"), "{}", text(&out.stderr));
    }
}

/// The library that the surrounding shell names, or a line that says what is missing.
fn named() -> Option<String> {
    let named = std::env::var("ORT_DYLIB_PATH").ok().filter(|named| !named.is_empty() && named != "off");
    if named.is_none() {
        lacks("ONNX Runtime (ORT_DYLIB_PATH names no library)");
    }
    named
}

/// A file that ONNX Runtime 1.32 does not survive.
#[test]
fn a_model_that_the_library_does_not_survive() {
    let Some(library) = named() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let reports = folder.path().join("reports");
    certified(&reports);
    let (model, output) = (path("tests/golden/runtime/nameless-bias.onnx"), reports.display().to_string());
    for arguments in [&["inspect", model.as_str()][..], &["plan", &model], &["certify", &model, "--output", &output]] {
        let out = heirloom(&[arguments, &["--ort-lib", &library]].concat());
        let message = text(&out.stderr);
        if out.status.code() != Some(2) {
            lacks("a version of ONNX Runtime that crashes at tests/golden/runtime/nameless-bias.onnx");
            return;
        }
        let said = ["nameless-bias.onnx: ONNX Runtime crashed (signal ", "while it loaded the model", "hint: ", "--ort-lib off"];
        assert!(said.iter().all(|part| message.contains(part)) && !message.contains("panicked"), "{message}");
    }
    no_verdict(&reports, "error", 2, "while it loaded the model");
    // Without the library there is nothing to crash.
    let out = heirloom(&["inspect", &model, "--ort-lib", "off"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

/// A memory limit ends the worker, and not the program.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_is_killed_in_the_run() {
    let Some(library) = named() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("reports");
    let mut command = command();
    command.args(["certify", &path("fixtures/models/clean.onnx"), "--ort-lib", &library, "--output", &output.display().to_string()]);
    let mut program = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary runs");
    until("a worker starts", || !children(program.id()).is_empty());
    let mut lines = std::io::BufReader::new(program.stderr.take().expect("stderr"));
    let mut message = String::new();
    while !message.contains("self-test") {
        assert!(std::io::BufRead::read_line(&mut lines, &mut message).expect("a line") > 0, "{message}");
    }
    for worker in children(program.id()) {
        Command::new("kill").args(["-KILL", &worker.to_string()]).status().expect("kill");
    }
    std::io::Read::read_to_string(&mut lines, &mut message).expect("UTF-8");
    assert_eq!(program.wait().expect("an end").code(), Some(2), "{message}");
    assert!(message.contains("as the system does where memory runs out"), "{message}");
    no_verdict(&output, "error", 2, "where memory runs out");
}
