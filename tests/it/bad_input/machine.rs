//! Full disks and Ctrl-C.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::reports::{FILES, certified, no_verdict};
use super::{clean_model, folder, names, refused};
use crate::lacks::lacks;
use crate::run::{command, file, heirloom, text};

/// Runs the binary where no file can grow: each write fails as on a full disk.
fn without_space(arguments: &[&str]) -> Output {
    // The signal that the limit sends would end the program; ignored, the write returns an error.
    let script = "ulimit -f 0; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_heirloom")]).args(arguments);
    shell.output().expect("a shell")
}

/// The same, where files may grow to so many blocks of 512 bytes.
fn with_space_for(blocks: u32, arguments: &[&str]) -> Output {
    let script = format!("ulimit -f {blocks}; exec \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_heirloom")]).args(arguments);
    shell.env("HEIRLOOM_CACHE", "off").env("ORT_DYLIB_PATH", "off").output().expect("a shell")
}

#[test]
fn a_full_disk_leaves_no_report_and_no_earlier_one() {
    let folder = folder();
    let policy = certified(folder.path());
    let output = folder.path().join("again");
    let arguments = ["rejudge", &folder.path().display().to_string(), "--policy", &policy, "--output", &output.display().to_string()];
    for stale in [false, true] {
        if stale {
            certified(&output);
            std::fs::remove_dir_all(output.join("policy")).expect("removed");
        }
        refused(&without_space(&arguments), 2, &["cannot write", "junit.xml", "free some space"]);
        assert!(names(&output).is_empty(), "{:?}", names(&output));
    }
}

#[test]
fn a_certification_on_a_full_disk() {
    let folder = folder();
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let output = folder.path().join("reports");
    certified(&output);
    std::fs::remove_dir_all(output.join("policy")).expect("removed");
    let arguments = ["certify", &clean_model(), "--policy", &policy, "--output", &output.display().to_string()];
    // Before hours of work.
    refused(&without_space(&arguments), 2, &["cannot write", "free some space"]);
    assert!(names(&output).is_empty());
}

#[test]
fn a_disk_that_is_full_at_the_end() {
    let folder = folder();
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let output = folder.path().join("reports");
    // Room for what says that there is no verdict.
    let arguments = ["certify", &clean_model(), "--policy", &policy, "--output", &output.display().to_string()];
    let out = with_space_for(24, &arguments);
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{message}");
    assert!(message.contains("cannot write") && message.contains("free some space") && !message.contains("panicked"), "{message}");
    // The verdict that was worked for is shown all the same.
    assert!(text(&out.stdout).contains("backdoor/square@fixed_feature"), "{}", text(&out.stdout));
    no_verdict(&output, "error", 2, "cannot write");
}

/// The least memory that the embedded policy takes, as a refusal names it.
fn least_memory() -> String {
    let refusal = text(&heirloom(&["plan", &clean_model(), "--memory", "1MiB"]).stderr);
    refusal.split("--memory ").nth(1).and_then(|rest| rest.split(')').next()).expect("a size").to_owned()
}

#[test]
fn memory_that_is_no_size_or_too_little() {
    for command in ["certify", "plan"] {
        let with = |size: &str| heirloom(&[command, &clean_model(), "--memory", size]);
        for (size, said) in [("much", "no unit of size"), ("4 gigs", "`gigs` is no unit"), ("1.2.3GiB", "is needed"), ("0", "no memory")] {
            refused(&with(size), 4, &["--memory", said]);
        }
        refused(&with("1MiB"), 4, &["at least", "1 MiB may be used", "--memory "]);
    }
}

#[test]
fn a_disk_that_takes_no_images() {
    let folder = folder();
    let output = folder.path().join("reports").display().to_string();
    let arguments = ["certify", &clean_model(), "--output", &output, "--no-cache", "--memory", &least_memory()];
    refused(&with_space_for(24, &arguments), 2, &["do not fit into memory cannot be kept in", "File too large", "hint: make room there"]);
    let nowhere = command().args(arguments).env("TMPDIR", "/no/such/folder").output().expect("the binary runs");
    refused(&nowhere, 2, &["cannot be kept in /no/such/folder", "No such file", "TMPDIR"]);
    no_verdict(&folder.path().join("reports"), "error", 2, "cannot be kept in /no/such/folder");
}

#[test]
fn a_device_that_there_is_not() {
    let refused_with = |arguments: &[&str], said: &[&str]| {
        refused(&heirloom(&[&["certify", &clean_model()], arguments].concat()), 4, said);
        refused(&heirloom(&[&["plan", &clean_model()], arguments].concat()), 4, said);
    };
    refused_with(&["--device", "tpu"], &["--device", "tpu", "`cuda:N`"]);
    refused_with(&["--device", "cuda:x"], &["cuda:x"]);
    refused_with(&["--precision", "fp8"], &["--precision", "fp8", "`bf16`"]);
    refused_with(&["--precision", "bf16"], &["cpu does not compute in bf16", "hint: leave --precision out"]);
    refused_with(&["--device", "cpu", "--precision", "tf32"], &["cpu does not compute in tf32"]);
    if !cfg!(feature = "cuda") {
        refused_with(&["--device", "cuda"], &["computes on the CPU only", "hint:", "--features cuda"]);
        refused_with(&["--device", "cuda:1", "--precision", "bf16"], &["computes on the CPU only", "--features cuda"]);
        let spec = super::fixture("plant/square.yaml").display().to_string();
        let folder = folder();
        let output = folder.path().join("planted").display().to_string();
        refused(&heirloom(&["plant", &spec, "--output", &output, "--device", "cuda"]), 4, &["computes on the CPU only"]);
        assert!(names(folder.path()).is_empty());
    }
}

#[test]
fn a_result_that_cannot_be_printed() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        lacks("/dev/full");
        return;
    };
    let out = command().args(["inspect", &clean_model()]).stdout(full).output().expect("the binary runs");
    refused(&out, 2, &["cannot write the result to stdout", "No space left"]);
}

#[test]
fn a_folder_that_must_not_be_written_to() {
    let folder = folder();
    let policy = certified(folder.path());
    // Not even root writes here.
    if !Path::new("/proc/self").is_dir() {
        lacks("/proc/self");
        return;
    }
    let report = folder.path().display().to_string();
    refused(
        &heirloom(&["rejudge", &report, "--policy", &policy, "--output", "/proc/reports"]),
        4,
        &["/proc/reports", "nothing can be written into /proc"],
    );
}

/// Starts a certification and waits until it says this on stderr.
fn certify_until(said: &str, folder: &Path) -> (Child, BufReader<std::process::ChildStderr>) {
    until(said, &["certify", &clean_model(), "--output", &folder.join("reports").display().to_string()])
}

/// Starts the binary and waits until it says this on stderr.
fn until(said: &str, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = command().args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr"));
    let mut line = String::new();
    while !line.contains(said) {
        line.clear();
        assert!(lines.read_line(&mut line).expect("a line") > 0, "it ended before it said `{said}`");
    }
    (child, lines)
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
}

/// Its exit code, how long it took to end, and what it still said.
fn end(mut child: Child, mut stderr: BufReader<std::process::ChildStderr>) -> (Option<i32>, Duration, String) {
    let clock = Instant::now();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("UTF-8");
    let code = child.wait().expect("an end").code();
    (code, clock.elapsed(), rest)
}

#[test]
fn ctrl_c_in_the_self_test_ends_without_a_report() {
    let folder = folder();
    let (child, stderr) = certify_until("self-test", folder.path());
    interrupt(&child);
    let (code, _, rest) = end(child, stderr);
    assert_eq!(code, Some(130), "{rest}");
    assert!(rest.contains("interrupted: nothing was finished\n") && !rest.contains("panicked"), "{rest}");
    no_verdict(&folder.path().join("reports"), "interrupted", 130, "interrupted before anything was judged");
}

#[test]
fn a_certification_that_is_killed_leaves_no_verdict() {
    let folder = folder();
    certified(&folder.path().join("reports"));
    let (mut child, stderr) = certify_until("self-test", folder.path());
    child.kill().expect("killed");
    let (code, ..) = end(child, stderr);
    assert_eq!(code, None);
    no_verdict(&folder.path().join("reports"), "unfinished", 2, "is not finished");
}

#[test]
fn a_folder_in_which_a_run_is_at_work_is_left_to_it() {
    let folder = folder();
    let reports = folder.path().join("reports");
    certified(&reports);
    let (mut child, stderr) = certify_until("self-test", folder.path());
    let (clean, output) = (clean_model(), reports.display().to_string());
    let read = || std::fs::read(reports.join("report.json")).expect("a report");
    let before = read();
    let busy = format!("another run is at work in {output}");
    let second = ["certify", &clean, "--output", &output];
    let said = refused(&heirloom(&second), 2, &[&busy, "name another folder with --output"]);
    assert_eq!(said.lines().count(), 2, "{said}");
    for command in ["study", "calibrate"] {
        refused(&heirloom(&[command, &clean, "--output", &output]), 2, &[&busy]);
    }
    // A mistake in the command line is still the mistake that is told.
    refused(&heirloom(&[&second[..], &["--bogus"]].concat()), 4, &["--bogus", &busy]);
    assert_eq!(read(), before);
    no_verdict(&reports, "unfinished", 2, "is not finished");
    child.kill().expect("killed");
    end(child, stderr);
    refused(&heirloom(&[&second[..], &["--bogus"]].concat()), 4, &["--bogus"]);
    no_verdict(&reports, "error", 4, "--bogus");
}

#[test]
fn ctrl_c_in_the_run_ends_with_a_report_that_is_whole() {
    let folder = folder();
    let (child, stderr) = certify_until("source features", folder.path());
    interrupt(&child);
    let (code, _, rest) = end(child, stderr);
    assert_eq!(code, Some(130), "{rest}");
    assert!(!rest.contains("panicked"), "{rest}");
    let reports = folder.path().join("reports");
    assert_eq!(names(&reports), FILES);
    let report = std::fs::read(reports.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["exit_code"], 130);
    assert!(report["findings"][0]["reason"].as_str().is_some_and(|reason| reason.contains("interrupted")), "{report}");
}

#[test]
fn ctrl_c_in_a_study_keeps_what_is_through() {
    let folder = folder();
    let study = format!("{}/policies/studies/fixtures.yaml", env!("CARGO_MANIFEST_DIR"));
    let output = folder.path().join("study");
    let (child, stderr) = until("2 of 6", &["study", &study, "--output", &output.display().to_string()]);
    interrupt(&child);
    let (code, _, rest) = end(child, stderr);
    assert_eq!(code, Some(130), "{rest}");
    let said = "interrupted: what was finished is kept, the same command goes on from there\n";
    assert!(rest.contains(said) && !rest.contains("panicked") && !rest.contains("error"), "{rest}");
    assert_eq!(names(&output), ["study.partial.json"]);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let folder = folder();
    let (child, stderr) = certify_until("self-test", folder.path());
    interrupt(&child);
    interrupt(&child);
    let (code, took, rest) = end(child, stderr);
    assert_eq!(code, Some(130), "{rest}");
    assert!(took < Duration::from_secs(5) && !rest.contains("panicked"), "{took:?}: {rest}");
    let report = std::fs::read_to_string(folder.path().join("reports/report.json")).expect("a report");
    assert!(report.contains("\"status\": \"unfinished\"") || report.contains("\"status\": \"interrupted\""), "{report}");
}

#[test]
fn ctrl_c_while_planting_writes_no_model() {
    let folder = folder();
    let output = folder.path().join("models");
    let mut child = command()
        .args(["plant", &super::fixture("plant/square.yaml").display().to_string(), "--output", &output.display().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr"));
    stderr.read_line(&mut String::new()).expect("a line");
    interrupt(&child);
    let (code, _, rest) = end(child, stderr);
    assert_eq!(code, Some(130), "{rest}");
    assert!(rest.contains("interrupted: nothing was finished") && !rest.contains("panicked"), "{rest}");
    assert!(!output.exists() || names(&output).is_empty());
}

#[test]
fn a_file_where_a_folder_for_models_should_be() {
    let folder = folder();
    let taken = file(folder.path(), "taken", b"mine");
    let spec = super::fixture("plant/square.yaml").display().to_string();
    refused(&heirloom(&["plant", &spec, "--output", &taken]), 4, &["taken is a file; name a folder"]);
}

/// A disk on which the reports find room and a model does not: the verdict stands, and the exit code is that of an error.
#[test]
fn a_disk_that_is_full_when_a_fine_tune_is_saved() {
    let folder = folder();
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let [output, tuned] = ["reports", "tuned"].map(|name| folder.path().join(name));
    let (shown, saved, model) = (output.display().to_string(), tuned.display().to_string(), clean_model());
    let arguments = ["certify", &model, "--policy", &policy, "--report-only", "--output", &shown, "--reports", "json"];
    // 120 blocks of 512 bytes: less than the model has, more than the reports.
    let out = with_space_for(120, &[&arguments[..], &["--save-checkpoints", &saved]].concat());
    let told = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{told}");
    let file = tuned.join("source-fixed_feature-seed0.onnx").display().to_string();
    for part in [
        &format!("warning: cannot write {file}: File too large"),
        "no more fine-tunes are saved, and what is judged stays as it is\n",
        "checkpoints: 0 fine-tunes saved\n",
        &format!("error: cannot write {file}: File too large"),
        "hint: free some space, or name a folder on another disk with --save-checkpoints\n",
    ] {
        assert!(told.contains(part), "`{part}` is not in: {told}");
    }
    assert!(names(&tuned).is_empty(), "{:?}", names(&tuned));
    assert_eq!(names(&output), ["measurements.json.gz", "report.json"]);
    assert!(text(&out.stdout).contains("backdoor/square"), "{}", text(&out.stdout));
}
