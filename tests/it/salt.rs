//! An operator's salt: what it decides, that nothing holds it, and what is said where it is none.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{command, file, text};

const POLICY: &str = "version: 1\nname: salted\nsalt_env: HEIRLOOM_TEST_SALT\n\
    target: { data: { embedded: fashion }, train: { limit: 100 }, test: { limit: 100 } }\n\
    transfer: { fixed_feature: { epochs: 2, learning_rate: 0.1 } }\nseeds: { fixed_feature: { first: 3, most: 3 } }\nrules:\n\
    \x20 - { id: square, probe: { backdoor: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } } } }, limit: 0.9 }\n";
const SALT: &str = "f3b1c27d90aa4e58";
const OTHER: &str = "f3b1c27d90aa4e59";

/// A folder with the policy, and the same without its salt.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    file(folder.path(), "policy.yaml", POLICY.as_bytes());
    file(folder.path(), "plain.yaml", POLICY.replace("salt_env: HEIRLOOM_TEST_SALT\n", "").as_bytes());
    folder
}

fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/clean.onnx").display().to_string()
}

/// The program in a folder: exit code, and all that it says.
fn run(folder: &Path, salt: Option<&str>, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = command();
    command.args(arguments).current_dir(folder).env_remove("HEIRLOOM_TEST_SALT");
    let out = command.envs(salt.map(|salt| ("HEIRLOOM_TEST_SALT", salt))).output().expect("the binary runs");
    (out.status.code(), text(&out.stdout) + &text(&out.stderr))
}

/// A certification into a folder: the report without what every run has of its own, and its measurements.
fn certify(folder: &Path, salt: Option<&str>, (policy, output): (&str, &str), more: &[&str]) -> (Value, Value) {
    let model = model();
    let (code, said) = run(folder, salt, &[&["certify", &model, "--policy", policy, "--output", output, "-vv"], more].concat());
    assert!(matches!(code, Some(0 | 5)), "{code:?}: {said}");
    assert!(!said.contains(salt.unwrap_or("nothing of this kind")), "{said}");
    let read = |name: &str| std::fs::read(folder.join(output).join(name)).expect(name);
    let mut report: Value = serde_json::from_slice(&read("report.json")).expect("JSON");
    for field in ["run", "pictures", "measurements"] {
        report.as_object_mut().expect("a report").remove(field);
    }
    let mut measurements = Vec::new();
    flate2::read::GzDecoder::new(&*read("measurements.json.gz")).read_to_end(&mut measurements).expect("measurements");
    (report, serde_json::from_slice(&measurements).expect("JSON"))
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The salt, and the seed that comes of it and the policy's, in every way in which a file might hold them.
fn secrets() -> Vec<Vec<u8>> {
    use sha2::Digest;
    let digest = sha2::Sha256::digest([b"heirloom salted seed v1".as_slice(), &[0; 8], SALT.as_bytes()].concat());
    let seed: [u8; 8] = digest[..8].try_into().expect("eight bytes");
    let number = u64::from_le_bytes(seed);
    let spelt = [SALT.to_owned(), number.to_string(), format!("{number:x}"), format!("{:x}", number.swap_bytes())];
    let plain: [u8; 32] = sha2::Sha256::digest(SALT).into();
    let digits = plain.map(|byte| format!("{byte:02x}")).concat();
    spelt.into_iter().chain([digits]).map(String::into_bytes).chain([seed.to_vec(), number.to_be_bytes().to_vec()]).collect()
}

#[test]
fn a_salt_decides_what_is_drawn_and_no_file_holds_it() {
    let folder = folder();
    let path = folder.path();
    let with_cache = ["--cache", "cache", "--pictures"];
    let (report, measured) = certify(path, Some(SALT), ("policy.yaml", "one"), &with_cache);
    assert_eq!(report["policy"]["salted"], true);
    let summary = std::fs::read_to_string(path.join("one/summary.md")).expect("a summary");
    assert!(!summary.contains("salt_env"), "{summary}");

    let secrets = secrets();
    let written: Vec<PathBuf> = files(&path.join("one")).into_iter().chain(files(&path.join("cache"))).collect();
    assert!(written.len() > 15, "{written:?}");
    for path in &written {
        let mut bytes = std::fs::read(path).expect("a file");
        if path.ends_with("measurements.json.gz") {
            bytes = measured.to_string().into_bytes();
        }
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{} holds {secret:?}", path.display());
        }
    }

    // What was kept by a run with one salt is not found by a run with another.
    assert_eq!(certify(path, Some(SALT), ("policy.yaml", "same"), &[]), (report.clone(), measured.clone()));
    let (other_report, other) = certify(path, Some(OTHER), ("policy.yaml", "other"), &with_cache);
    assert_eq!(certify(path, Some(OTHER), ("policy.yaml", "same"), &[]).1, other);
    assert_ne!(report["policy"]["salt"], other_report["policy"]["salt"]);
    let (plain_report, plain) = certify(path, None, ("plain.yaml", "plain"), &with_cache);
    assert_eq!((&plain_report["policy"]["salted"], &plain_report["policy"]["salt"]), (&Value::Bool(false), &Value::Null));
    let summary = std::fs::read_to_string(path.join("plain/summary.md")).expect("a summary");
    assert!(summary.contains("(`salt_env` changes that)"), "{summary}");
    let of = |measured: &Value, field: &str| measured[0]["outcomes"][0][field].clone();
    for (one, two) in [(&measured, &other), (&measured, &plain), (&other, &plain)] {
        for field in ["clean", "shams"] {
            assert_ne!(of(one, field), of(two, field), "{field}");
        }
        // The images are the task's.
        assert_eq!(one[0]["images"], two[0]["images"]);
    }
}

#[test]
fn a_report_is_judged_again_with_its_own_salt_alone() {
    let folder = folder();
    let path = folder.path();
    let (report, _) = certify(path, Some(SALT), ("policy.yaml", "salted"), &[]);
    certify(path, None, ("plain.yaml", "plain"), &[]);
    let rejudge = |salt, report: &str, policy: &str| run(path, salt, &["rejudge", report, "--policy", policy, "--output", "again"]);
    let (code, said) = rejudge(Some(SALT), "salted", "policy.yaml");
    let again: Value = serde_json::from_slice(&std::fs::read(path.join("again/report.json")).expect("a report")).expect("JSON");
    assert_eq!((code, &again["findings"][0]["comparisons"]), (Some(report_code(&report)), &report["findings"][0]["comparisons"]), "{said}");
    assert_eq!(again["policy"]["salt"], report["policy"]["salt"]);
    for (salt, report, policy, words) in [
        (Some(OTHER), "salted", "policy.yaml", "measured with another salt than HEIRLOOM_TEST_SALT holds"),
        (Some(SALT), "salted", "plain.yaml", "measured with a salt and the policy has none"),
        (Some(SALT), "plain", "policy.yaml", "measured without a salt and the policy has one (`salt_env: HEIRLOOM_TEST_SALT`)"),
    ] {
        let (code, said) = rejudge(salt, report, policy);
        assert_eq!(code, Some(4), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error: ") && line.contains(words)).count(), 1, "{words}: {said}");
    }
}

fn report_code(report: &Value) -> i32 {
    report["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok()).expect("a code")
}

#[test]
fn every_command_that_runs_a_policy_asks_for_its_salt() {
    let folder = folder();
    let path = folder.path();
    certify(path, Some(SALT), ("policy.yaml", "report"), &[]);
    let study = format!("version: 1\nname: s\npolicy: policy.yaml\nsources: {{ clean: {{ model: {:?} }} }}\n", model());
    file(path, "study.yaml", study.as_bytes());
    file(path, "calibration.yaml", b"version: 1\nname: c\npolicy: policy.yaml\nmodels: models\n");
    file(path, "models/clean/one.onnx", &std::fs::read(model()).expect("a fixture"));
    let model = model();
    for (salt, wrong) in [(None, "is not set"), (Some(""), "is empty"), (Some("123456789012345"), "has fewer than 16 characters")] {
        for arguments in [
            &["certify", &model, "--policy", "policy.yaml", "--output", "out"][..],
            &["plan", &model, "--policy", "policy.yaml"],
            &["rejudge", "report", "--policy", "policy.yaml"],
            &["study", "study.yaml", "--output", "studied"],
            &["calibrate", "calibration.yaml", "--output", "calibrated"],
        ] {
            let (code, said) = run(path, salt, arguments);
            assert_eq!(code, Some(4), "{arguments:?}: {said}");
            let line = format!("`salt_env` names the environment variable HEIRLOOM_TEST_SALT, which {wrong}");
            assert!(said.contains(&line) && said.contains("policy.yaml:3:11"), "{arguments:?}: {said}");
        }
    }
    // It may be where the secret is not.
    for name in ["policy.yaml", "study.yaml"] {
        let (code, said) = run(path, None, &["validate", name]);
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, said) = run(path, Some(SALT), &["plan", &model, "--policy", "policy.yaml"]);
    assert_eq!(code, Some(0), "{said}");
}
