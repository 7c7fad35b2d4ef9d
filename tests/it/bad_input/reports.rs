//! Stored reports, to be judged again.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::LazyLock;

use super::{clean_model, folder, names, refused};
use crate::run::{file, heirloom, text};

pub const FILES: [&str; 6] = ["badge.json", "junit.xml", "measurements.json.gz", "report.html", "report.json", "summary.md"];

/// The files of one certification, shared by the tests.
static CERTIFIED: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let folder = folder();
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let reports = folder.path().join("reports");
    let out = heirloom(&["certify", &clean_model(), "--policy", &policy, "--report-only", "--output", &reports.display().to_string()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(names(&reports), FILES);
    FILES.iter().map(|name| (*name, std::fs::read(reports.join(name)).expect("a report"))).collect()
});

/// Copies the certification, and the policy to judge it by, whose path is given.
pub fn certified(folder: &Path) -> String {
    for (name, bytes) in CERTIFIED.iter() {
        file(folder, name, bytes);
    }
    let apart = folder.join("policy");
    std::fs::create_dir_all(&apart).expect("a folder");
    super::policy(&apart, "{ data: { embedded: fashion } }")
}

#[track_caller]
fn refuse(folder: &Path, policy: &str, said: &[&str]) {
    let output = folder.join("again").display().to_string();
    refused(&heirloom(&["rejudge", &folder.display().to_string(), "--policy", policy, "--output", &output]), 2, said);
    no_verdict(&folder.join("again"), "error", 2, said[0]);
}

/// A folder with a report in every format that says that there is no verdict, and why; and nothing else of a report.
#[track_caller]
pub fn no_verdict(folder: &Path, status: &str, code: i32, said: &str) {
    let held: Vec<String> = names(folder).into_iter().filter(|name| name != "policy" && name != "policy.yaml").collect();
    assert_eq!(held, ["badge.json", "junit.xml", "report.html", "report.json", "summary.md"], "{}", folder.display());
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let report: serde_json::Value = serde_json::from_str(&read("report.json")).expect("JSON");
    assert_eq!((&report["status"], &report["exit_code"], &report["findings"]), (&status.into(), &code.into(), &serde_json::json!([])));
    let junit = read("junit.xml");
    assert!(junit.contains("tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\""), "{junit}");
    assert!(junit.contains(&format!("<error type=\"{status}\"")) && !junit.contains("<error/>"), "{junit}");
    for text in [report["error"].as_str().unwrap_or_default(), &read("summary.md"), &junit] {
        let plain = text.replace('\\', "").replace("&apos;", "'").replace("&quot;", "\"").replace("&gt;", ">").replace("&lt;", "<");
        assert!(plain.contains(said), "`{said}` is not in: {text}");
    }
}

#[test]
fn a_stored_report_is_rendered_as_it_was_written_or_refused_by_name() {
    let folder = folder();
    certified(folder.path());
    let report = folder.path().display().to_string();
    for (form, file) in
        [("html", "report.html"), ("junit", "junit.xml"), ("markdown", "summary.md"), ("badge", "badge.json"), ("json", "report.json")]
    {
        let out = heirloom(&["render", &report, "--as", form]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        assert!(out.stdout == std::fs::read(folder.path().join(file)).expect("a report"), "{form}");
    }
    refused(&heirloom(&["render", &report, "--as", "pdf"]), 4, &["pdf"]);
    refused(&heirloom(&["render", "nowhere", "--as", "html"]), 4, &["nowhere"]);
    refused(&heirloom(&["render", &report, "--as", "html", "--format", "json"]), 4, &["promises JSON"]);
    std::fs::write(folder.path().join("report.json"), "{}").expect("written");
    refused(&heirloom(&["render", &report, "--as", "html"]), 2, &["give the report.json of a certification"]);
}

#[test]
fn measurements_that_were_tampered_with() {
    let folder = folder();
    let policy = certified(folder.path());
    let path = folder.path().join("measurements.json.gz");
    let mut plain = String::new();
    let file = std::fs::File::open(&path).expect("measurements");
    flate2::read::GzDecoder::new(file).read_to_string(&mut plain).expect("unpacked");
    let (before, after) = plain.split_once("\"changed\":[").expect("outcomes");
    let other = if after.starts_with('0') { "1" } else { "0" };
    let changed = format!("{before}\"changed\":[{other}{}", &after[1..]);
    let file = std::fs::File::create(&path).expect("a file");
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    packed.write_all(changed.as_bytes()).and_then(|()| packed.try_finish()).expect("packed");
    refuse(folder.path(), &policy, &["measurements.json.gz is not what", "keep the files of one certification together"]);
}

#[test]
fn measurements_that_are_cut_off_or_missing() {
    let folder = folder();
    let policy = certified(folder.path());
    let path = folder.path().join("measurements.json.gz");
    let bytes = std::fs::read(&path).expect("measurements");
    for length in [0, bytes.len() / 2, bytes.len() - 5] {
        std::fs::write(&path, &bytes[..length]).expect("written");
        refuse(folder.path(), &policy, &["measurements.json.gz ends early", "copy it again"]);
    }
    std::fs::write(&path, b"this is no gzip file at all").expect("written");
    refuse(folder.path(), &policy, &["measurements.json.gz", "hint: "]);
    std::fs::remove_file(&path).expect("removed");
    refuse(folder.path(), &policy, &["measurements.json.gz", "keep the files of one certification together"]);
}

#[test]
fn a_report_that_is_cut_off_or_something_else() {
    let folder = folder();
    let policy = certified(folder.path());
    let path = folder.path().join("report.json");
    let bytes = std::fs::read(&path).expect("a report");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    refuse(folder.path(), &policy, &["report.json ends early", "copy it again"]);
    for (text, said) in [
        ("{}", "give the report.json of a certification"),
        ("{\"schema\": 99}", "use the release that wrote it, or certify again"),
        ("{\"schema\": 1}", "certify again"),
        ("<html>", "certify again"),
    ] {
        std::fs::write(&path, text).expect("written");
        refuse(folder.path(), &policy, &["report.json", said]);
    }
    std::fs::remove_file(&path).expect("removed");
    refuse(folder.path(), &policy, &["report.json", "hint: "]);
}

#[test]
fn a_policy_that_names_other_images_than_were_measured() {
    let folder = folder();
    certified(folder.path());
    let report = folder.path().display().to_string();
    let policy = super::policy(&folder.path().join("policy"), "{ data: { embedded: emoji } }");
    let out = heirloom(&["rejudge", &report, "--policy", &policy]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    let said = text(&out.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the report was measured on embedded `fashion`, the policy names embedded `emoji`"), "{said}");
    // What was written then holds the new policy, and the old images all the same.
    let again = folder.path().join("again").display().to_string();
    assert_eq!(heirloom(&["rejudge", &report, "--policy", &policy, "--output", &again]).status.code(), Some(2));
    assert_eq!(heirloom(&["rejudge", &again, "--policy", &policy]).status.code(), Some(2));
}

#[test]
fn measurements_under_another_trigger_image_or_normalisation() {
    let folder = folder();
    let ring = format!("{}/policies/calibration/overlays", env!("CARGO_MANIFEST_DIR"));
    let image = |name: &str| std::fs::copy(format!("{ring}/{name}.png"), folder.path().join("mark.png")).expect("copied");
    image("ring");
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let text = std::fs::read_to_string(&policy).expect("a policy").replace("color: \"#ffff00\"", "image: mark.png");
    let policy = file(folder.path(), "policy.yaml", text.as_bytes());
    let report = folder.path().join("report").display().to_string();
    heirloom(&["certify", &clean_model(), "--policy", &policy, "--output", &report]);
    let again = || heirloom(&["rejudge", &report, "--policy", &policy]);
    let same = crate::run::text(&again().stdout);
    assert!(!same.contains("the policy asks for") && same.contains("judged again on"), "{same}");
    image("cross");
    let other = crate::run::text(&again().stdout);
    assert!(other.contains("the policy asks for") && other.contains("ERROR"), "{other}");
    image("ring");
    let input = file(folder.path(), "input.yaml", format!("{text}input: {{ mean: [0.1, 0.1, 0.1], std: [0.9, 0.9, 0.9] }}\n").as_bytes());
    let other = crate::run::text(&heirloom(&["rejudge", &report, "--policy", &input]).stdout);
    assert!(other.contains("was measured with another trigger, task, recipe"), "{other}");
}

/// What ends a certification before there is a verdict, in a folder with an earlier report and in a fresh one.
#[test]
fn whatever_keeps_a_certification_from_a_verdict_stands_in_the_place_of_a_report() {
    let folder = folder();
    let broken = file(folder.path(), "broken.onnx", b"nonsense");
    let clean = clean_model();
    let invalid = file(folder.path(), "invalid.yaml", b"version: 1\nname: x\nrulez: []\n");
    let cases: [(&str, Vec<&str>, i32, &str); 9] = [
        ("broken model", vec![&broken], 2, "broken.onnx"),
        ("no such model", vec!["nowhere.onnx"], 4, "nowhere.onnx"),
        ("no model", vec![], 4, "<MODEL>"),
        ("no such policy", vec![&clean, "--policy", "nowhere.yaml"], 4, "nowhere.yaml"),
        ("invalid policy", vec![&clean, "--policy", &invalid], 4, "rulez"),
        ("unknown option", vec![&clean, "--max-tim", "3m"], 4, "--max-tim"),
        ("no time", vec![&clean, "--max-time", "soon"], 4, "soon"),
        ("no thread", vec![&clean, "--threads", "0"], 4, "--threads"),
        ("no device", vec![&clean, "--device", "tpu"], 4, "tpu"),
    ];
    for (name, arguments, code, said) in cases {
        for stale in [false, true] {
            let output = folder.path().join(format!("{name} {stale}"));
            if stale {
                certified(&output);
                assert!(output.join("report.json").exists() && output.join("measurements.json.gz").exists());
            }
            let output_name = output.display().to_string();
            refused(&heirloom(&[&["certify", "--output", &output_name], &arguments[..]].concat()), code, &[said]);
            no_verdict(&output, "error", code, said);
            let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
            let again = refused(&heirloom(&["rejudge", &output_name, "--policy", &policy]), 2, &["holds no verdict", "certify again"]);
            assert_eq!(again.lines().count(), 2, "{again}");
        }
    }
}

#[test]
fn without_a_named_folder_the_default_one_is_marked() {
    let folder = folder();
    let stale = folder.path().join("heirloom-report");
    for environment in [("HEIRLOOM_LOG", ""), ("HEIRLOOM_LOG", "heirloom=loud")] {
        certified(&stale);
        let mut command = crate::run::command();
        command.current_dir(folder.path()).env(environment.0, environment.1);
        let out = command.args(["certify", if environment.1.is_empty() { "nowhere.onnx" } else { "." }]).output().expect("the binary runs");
        let (code, said) = if environment.1.is_empty() { (4, "nowhere.onnx") } else { (2, "HEIRLOOM_LOG") };
        refused(&out, code, &[said]);
        no_verdict(&stale, "error", code, said);
    }
}

#[test]
fn a_report_is_not_judged_again_into_its_own_folder() {
    let folder = folder();
    let policy = certified(folder.path());
    let report = folder.path().display().to_string();
    let read = || FILES.map(|name| std::fs::read(folder.path().join(name)).expect("a report"));
    let before = read();
    let (dotted, named) = (format!("{report}/policy/.."), format!("{report}/report.json"));
    for (of, output) in [(&report, &report), (&named, &report), (&report, &dotted)] {
        let arguments = ["rejudge", of, "--policy", &policy, "--output", output];
        refused(&heirloom(&arguments), 4, &["into another folder than its own", "--output"]);
        // Nor where the command line has another mistake.
        refused(&heirloom(&[&arguments[..], &["--bogus"]].concat()), 4, &["--bogus"]);
    }
    assert_eq!(read(), before);
}

#[test]
fn an_earlier_judgement_does_not_outlive_a_policy_that_is_invalid() {
    let folder = folder();
    let report = folder.path().join("report");
    let policy = certified(&report);
    let output = folder.path().join("again");
    let (of, into) = (report.display().to_string(), output.display().to_string());
    heirloom(&["rejudge", &of, "--policy", &policy, "--output", &into]);
    assert_eq!(names(&output), FILES);
    let invalid = file(folder.path(), "invalid.yaml", b"version: 1\nrulez: []\n");
    refused(&heirloom(&["rejudge", &of, "--policy", &invalid, "--output", &into]), 4, &["rulez"]);
    no_verdict(&output, "error", 4, "rulez");
    refused(&heirloom(&["rejudge", &of, "--policy", "nowhere.yaml", "--output", &into]), 4, &["nowhere.yaml"]);
    no_verdict(&output, "error", 4, "nowhere.yaml");
}

#[test]
fn a_folder_for_reports_that_is_a_file() {
    let folder = folder();
    let policy = certified(folder.path());
    let taken = file(folder.path(), "taken", b"mine");
    let deeper = folder.path().join("taken/reports").display().to_string();
    let report = folder.path().display().to_string();
    for output in [&taken, &deeper] {
        refused(&heirloom(&["rejudge", &report, "--policy", &policy, "--output", output]), 4, &["taken is a file; name a folder"]);
    }
    // Before anything is run.
    refused(&heirloom(&["certify", &clean_model(), "--output", &taken]), 4, &["taken is a file; name a folder"]);
    assert_eq!(std::fs::read(folder.path().join("taken")).expect("still there"), b"mine");
}

/// A file of an earlier run that cannot be removed keeps none of the others: no earlier verdict stays for it.
#[test]
fn an_earlier_report_of_which_a_part_cannot_be_removed() {
    let folder = folder();
    let policy = certified(folder.path());
    let sidecar = folder.path().join("measurements.json.gz");
    std::fs::remove_file(&sidecar).expect("removed");
    std::fs::create_dir_all(sidecar.join("mine")).expect("a folder in its place");
    let output = folder.path().display().to_string();
    refused(&heirloom(&["certify", &clean_model(), "--policy", &policy, "--output", &output]), 2, &["measurements.json.gz"]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    let report: serde_json::Value = serde_json::from_str(&read("report.json")).expect("JSON");
    assert_eq!(report["status"], "error");
    assert!(read("badge.json").contains("no verdict") && read("junit.xml").contains("<error type=\"error\""), "{}", read("badge.json"));
}

#[cfg(unix)]
#[test]
fn a_folder_for_reports_that_is_a_named_pipe() {
    let folder = folder();
    let pipe = folder.path().join("pipe").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    refused(&heirloom(&["certify", &clean_model(), "--output", &pipe]), 4, &["pipe is a file; name a folder"]);
}
