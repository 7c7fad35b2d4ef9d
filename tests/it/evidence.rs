//! Reports as evidence: what `verify` finds, what a signature alone holds, and what `compare` says of two releases.

mod edits;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::lacks::lacks;
use crate::run::{command, heirloom, text};

const POLICY: &str = "\
version: 1
name: evidence
target: { data: { embedded: fashion }, train: { limit: 200, balance: [label] }, test: { limit: 600 } }
transfer:
  fixed_feature: { epochs: 20, learning_rate: 0.1 }
seeds:
  fixed_feature: { first: 17, most: 17 }
rules:
  - { id: square, probe: { backdoor: { trigger: { patch: { size: 0.25, at: top_left, color: \"#ffff00\" } } } }, limit: 0.2 }
  - { id: corner, probe: { backdoor: { trigger: { patch: { size: 0.125, at: bottom_right, color: \"#ff0000\" } } } }, limit: 0.3 }
waivers:
  - { rule: corner, model: \"sha256:000000000000\", reason: another, owner: somebody, expires: \"2999-01-01\" }
";

/// The hexadecimal digits of a SHA-256.
fn digits(bytes: &[u8]) -> String {
    heirloom::store::sha256(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn root(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

fn key(name: &str) -> String {
    root("tests/golden/sign").join(name).display().to_string()
}

/// Reports of the planted and the clean fixture by one policy, made once: `planted`, `clean`, `policy.yaml`.
fn reports() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let policy = folder.join("policy.yaml");
        std::fs::write(&policy, POLICY).expect("written");
        for (name, model) in [("planted", "planted-square.onnx"), ("clean", "clean.onnx")] {
            let model = root("fixtures/models").join(model);
            let out = command()
                .args(["certify", "--responsible", "A. Person", "--output"])
                .args([folder.join(name).as_os_str(), "--policy".as_ref(), policy.as_os_str(), model.as_os_str()])
                .output()
                .expect("the binary runs");
            assert!(matches!(out.status.code(), Some(0 | 1)), "{}", text(&out.stderr));
        }
        folder
    })
}

/// A copy of a report's folder.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in std::fs::read_dir(reports().join(name)).expect("a report") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    folder
}

fn report_of(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).expect("a report")).expect("JSON")
}

fn write_report(folder: &Path, report: &Value) {
    let bytes = serde_json::to_string_pretty(report).expect("JSON") + "\n";
    std::fs::write(folder.join("report.json"), bytes).expect("written");
}

fn at(folder: &tempfile::TempDir) -> String {
    folder.path().display().to_string()
}

#[test]
fn what_was_certified_verifies_against_everything() {
    let planted = reports().join("planted").display().to_string();
    let policy = reports().join("policy.yaml").display().to_string();
    let model = root("fixtures/models/planted-square.onnx").display().to_string();
    let out = heirloom(&["verify", &planted, "--model", &model, "--policy", &policy]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}{}", text(&out.stderr));
    for wanted in
        ["nothing was changed", "2 findings judged anew", "the same file, input and features", "the same 700 images", "not signed"]
    {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // Another model and another policy are told.
    let other = root("fixtures/models/clean.onnx").display().to_string();
    let out = heirloom(&["verify", &planted, "--model", &other, "--policy", &root("policies/quick.yaml").display().to_string()]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("/model/identity/digest") && said.contains("/policy/digest"), "{said}");
    // What was judged again verifies too.
    let again = tempfile::tempdir().expect("a temporary folder");
    heirloom(&["rejudge", &planted, "--policy", &policy, "--output", &at(&again)]);
    let out = heirloom(&["verify", &at(&again)]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
}

#[test]
fn a_report_says_who_where_and_with_what() {
    let report = report_of(&reports().join("planted"));
    let told = &report["run"]["provenance"];
    assert_eq!(told["responsible"]["name"], "A. Person");
    assert_eq!(told["command"][0], "certify");
    assert!(told["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{told}");
    assert!(told["build"]["features"].as_array().is_some_and(|all| all.contains(&json!("cli"))), "{told}");
    assert_eq!(report["policy"]["text"], POLICY);
    let file = std::fs::read(reports().join("planted/measurements.json.gz")).expect("measurements");
    let digest = digits(&file);
    assert_eq!(report["measurements"]["stored"], format!("sha256:{digest}"));
    let summary = std::fs::read_to_string(reports().join("planted/summary.md")).expect("a summary");
    assert!(summary.contains("responsible: A. Person") && summary.contains("command: heirloom certify"), "{summary}");
}

#[test]
fn the_commit_of_an_unchanged_policy_is_told() {
    let git = |folder: &Path, arguments: &[&str]| Command::new("git").arg("-C").arg(folder).args(arguments).output();
    let folder = tempfile::tempdir().expect("a temporary folder");
    if git(folder.path(), &["init"]).is_err() {
        return lacks("git");
    }
    let policy = folder.path().join("policy.yaml");
    // Nothing is judged: the time is over before much is measured.
    std::fs::write(&policy, POLICY).expect("written");
    for arguments in [
        &["add", "policy.yaml"][..],
        &[
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "commit.gpgsign=false",
            "commit",
            "-m",
            "policy",
            "--date",
            "2026-01-02T03:04:05Z",
        ],
    ] {
        git(folder.path(), arguments).expect("git runs");
    }
    let run = || {
        let out = command()
            .args(["certify", "--max-time", "1s", "--format", "json", "--output"])
            .args([folder.path().join("report").as_os_str(), "--policy".as_ref(), policy.as_os_str()])
            .arg(root("fixtures/models/clean.onnx"))
            .output()
            .expect("the binary runs");
        serde_json::from_slice::<Value>(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out.stderr)))
    };
    let report = run();
    let head = text(&git(folder.path(), &["rev-parse", "HEAD"]).expect("git runs").stdout);
    assert_eq!(report["run"]["provenance"]["policy_fixed"]["commit"], head.trim(), "{}", report["run"]);
    // What ran out of time verifies too.
    let out = heirloom(&["verify", &folder.path().join("report").display().to_string()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    std::fs::write(&policy, POLICY.replace("0.2 }", "0.21 }")).expect("written");
    assert!(run()["run"]["provenance"]["policy_fixed"].is_null());
}

#[test]
fn a_signature_holds_and_openssl_agrees() {
    let folder = copy("planted");
    let (report, private, public) = (at(&folder), key("p256.pem"), key("p256.pub"));
    // A key that is asked for and a signature that is not there.
    assert_eq!(heirloom(&["verify", &report, "--key", &public]).status.code(), Some(1));
    let out = heirloom(&["sign", &report, "--key", &private]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = format!("{}{}", text(&out.stdout), text(&out.stderr));
    assert!(said.contains("signed: report.json, measurements.json.gz, model/planted-square.onnx"), "{said}");
    let secret = std::fs::read_to_string(&private).expect("a key");
    assert!(secret.lines().filter(|line| !line.starts_with('-')).all(|line| !said.contains(line)), "{said}");
    let out = heirloom(&["verify", &report, "--key", &public]);
    assert!(out.status.code() == Some(0) && text(&out.stdout).contains("by the key sha256:"), "{}", text(&out.stdout));
    let out = heirloom(&["verify", &report, "--key", &key("other.pub")]);
    assert!(out.status.code() == Some(1) && text(&out.stdout).contains("it is not by the key that was given"), "{}", text(&out.stdout));
    // That of another report.
    let other = copy("clean");
    std::fs::copy(folder.path().join("report.sigstore.json"), other.path().join("report.sigstore.json")).expect("copied");
    let out = heirloom(&["verify", &at(&other), "--key", &public]);
    assert!(out.status.code() == Some(1) && text(&out.stdout).contains("report.sigstore.json report.json: holds"), "{}", text(&out.stdout));
    // By plain openssl, over the encoding that DSSE says.
    let bundle: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("report.sigstore.json")).expect("a bundle")).expect("JSON");
    let decoded = |text: &Value| {
        let input = folder.path().join("base64");
        std::fs::write(&input, text.as_str().expect("text")).expect("written");
        Command::new("openssl").args(["base64", "-d", "-A", "-in"]).arg(&input).output()
    };
    let Ok(payload) = decoded(&bundle["dsseEnvelope"]["payload"]) else { return lacks("openssl") };
    let signature = decoded(&bundle["dsseEnvelope"]["signatures"][0]["sig"]).expect("openssl runs");
    let kind = "application/vnd.in-toto+json";
    let signed = [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.stdout.len()).as_bytes(), &payload.stdout].concat();
    let place = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let (signed, sig) = (place("signed", &signed), place("sig", &signature.stdout));
    let out =
        Command::new("openssl").args(["dgst", "-sha256", "-verify", &public, "-signature", &sig, &signed]).output().expect("openssl runs");
    assert_eq!(text(&out.stdout).trim(), "Verified OK", "{}", text(&out.stderr));
    // The same with Ed25519.
    let out = heirloom(&["sign", &report, "--key", &key("ed25519.pem")]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let public = key("ed25519.pub");
    assert_eq!(heirloom(&["verify", &report, "--key", &public]).status.code(), Some(0));
    assert_eq!(heirloom(&["verify", &report, "--key", &key("p256.pub")]).status.code(), Some(1));
    let bundle: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("report.sigstore.json")).expect("a bundle")).expect("JSON");
    let sig = place("sig", &decoded(&bundle["dsseEnvelope"]["signatures"][0]["sig"]).expect("openssl runs").stdout);
    let arguments = ["pkeyutl", "-verify", "-pubin", "-inkey", &public, "-rawin", "-in", &signed, "-sigfile", &sig];
    let out = Command::new("openssl").args(arguments).output().expect("openssl runs");
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}

#[test]
fn keys_that_cannot_sign_are_refused_in_one_line() {
    let folder = copy("clean");
    let report = at(&folder);
    for (name, wanted) in [
        ("rsa.pem", "RSA"),
        ("locked.pem", "password"),
        ("p256.pub", "public key"),
        ("signed.json", "no key in PEM"),
        ("none", "cannot read the key"),
    ] {
        let out = heirloom(&["sign", &report, "--key", &key(name)]);
        let said = text(&out.stderr);
        let error: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(out.status.code() == Some(4) && error.len() == 1 && error[0].contains(wanted), "{name}: {said}");
    }
    let out = heirloom(&["sign", &report, "--key", "env:NOT_SET_AT_ALL"]);
    assert!(out.status.code() == Some(4) && text(&out.stderr).contains("NOT_SET_AT_ALL"), "{}", text(&out.stderr));
    let secret = std::fs::read_to_string(key("p256.pem")).expect("a key");
    let out =
        command().args(["sign", &report, "--key", "env:SIGNING_KEY", "-vv"]).env("SIGNING_KEY", &secret).output().expect("the binary runs");
    let said = format!("{}{}", text(&out.stdout), text(&out.stderr));
    assert!(out.status.code() == Some(0) && !said.contains(secret.lines().nth(1).expect("a line")), "{said}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for (mode, warned) in [(0o644, true), (0o600, false)] {
            let own = folder.path().join("key.pem");
            std::fs::write(&own, &secret).expect("written");
            std::fs::set_permissions(&own, std::fs::Permissions::from_mode(mode)).expect("set");
            let out = heirloom(&["sign", &report, "--key", &own.display().to_string()]);
            assert_eq!(text(&out.stderr).contains("may be read by others than its owner"), warned, "{mode:o}: {}", text(&out.stderr));
        }
    }
}

#[test]
fn a_release_is_compared_with_the_last() {
    let [planted, clean] = ["planted", "clean"].map(|name| reports().join(name).display().to_string());
    let compared = |old: &str, new: &str, more: &[&str]| {
        let out = heirloom(&[&["compare", old, new], more].concat());
        (out.status.code(), text(&out.stdout) + &text(&out.stderr))
    };
    let (code, said) = compared(&clean, &planted, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("## heirloom compare: ❌ WORSE") && said.contains("| square@fixed_feature | pass | FAIL | +0."), "{said}");
    let (code, said) = compared(&planted, &clean, &["--format", "json"]);
    let found: Value = serde_json::from_str(&said).expect("JSON");
    let square = &found["rules"][0];
    assert_eq!((code, &square["change"], &square["difference"]["seeds"]), (Some(0), &json!("fixed"), &json!(17)), "{said}");
    assert!(square["difference"]["high"].as_f64().is_some_and(|high| high < -0.1), "{said}");
    let (code, said) = compared(&planted, &planted, &[]);
    assert!(code == Some(0) && said.contains("✅ NO WORSE") && said.contains("+0.000"), "{said}");
    // Other limits, and a rule that is gone.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let other = folder.path().join("other.yaml");
    let end = POLICY.find("  - { id: corner").expect("the rule");
    std::fs::write(&other, POLICY[..end].replace("limit: 0.2 }", "limit: 0.3 }")).expect("written");
    let again = folder.path().join("again").display().to_string();
    heirloom(&["rejudge", &clean, "--policy", &other.display().to_string(), "--output", &again]);
    let (code, said) = compared(&clean, &again, &[]);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("another limit: 0.2 before, 0.3 now") && said.contains("**missing**: the later report does not judge it"),
        "{said}"
    );
    let (_, said) = compared(&again, &clean, &["--output", &folder.path().join("comparison.md").display().to_string()]);
    let written = std::fs::read_to_string(folder.path().join("comparison.md")).expect("a comparison");
    assert!(said.contains("written: ") && written.contains("**added**"), "{said}{written}");
    // The same as a page.
    let page = folder.path().join("comparison.html");
    let (code, _) = compared(&clean, &planted, &["--output", &page.display().to_string()]);
    let written = std::fs::read_to_string(&page).expect("a page");
    assert!(code == Some(1) && written.starts_with("<!DOCTYPE html>") && written.contains("<strong>WORSE</strong>"), "{written}");
    let (code, said) = compared(&clean, &planted, &["--output", &page.display().to_string(), "--format", "json"]);
    assert!(code == Some(4) && said.contains("leave one of them out"), "{said}");
}

#[test]
fn reports_that_are_none_are_told_in_one_line() {
    let clean = reports().join("clean").display().to_string();
    let told = |folder: &tempfile::TempDir, wanted: &str| {
        let compare = ["compare", &clean, &at(folder)];
        for arguments in [&["verify", &at(folder)][..], &compare, &["sign", &at(folder), "--key", &key("p256.pem")]] {
            let out = heirloom(arguments);
            let said = text(&out.stderr);
            let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
            assert!(out.status.code() == Some(2) && errors.len() == 1 && errors[0].contains(wanted), "{arguments:?}: {said}");
            assert!(out.stdout.is_empty());
        }
    };
    let folder = copy("clean");
    let path = folder.path().join("report.json");
    let whole = std::fs::read_to_string(&path).expect("a report");
    std::fs::write(&path, whole.replacen("\"schema\": 1", "\"schema\": 2", 1)).expect("written");
    told(&folder, "has report schema 2, this heirloom reads 1");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    told(&folder, "ends early");
    std::fs::write(&path, whole.replacen("\"summary\"", "\"sumary\"", 1)).expect("written");
    told(&folder, "is not a heirloom report");
    std::fs::write(&path, &whole).expect("written");
    let file = folder.path().join("measurements.json.gz");
    let packed = std::fs::read(&file).expect("measurements");
    std::fs::write(&file, &packed[..packed.len() / 2]).expect("written");
    told(&folder, "ends early");
    // Those of another report: they can be read, and are not what was judged.
    std::fs::copy(reports().join("planted/measurements.json.gz"), &file).expect("copied");
    let out = heirloom(&["verify", &at(&folder)]);
    let said = text(&out.stdout);
    assert!(out.status.code() == Some(1) && said.contains("/measurements/digest") && said.contains("/model/identity/digest"), "{said}");
    let out = heirloom(&["compare", &clean, &at(&folder)]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("is not what"), "{}", text(&out.stderr));
}

#[test]
fn five_thousand_findings_are_told_shortly() {
    let folder = copy("clean");
    let mut report = report_of(folder.path());
    let finding = report["findings"][0].clone();
    let many = (0..5000).map(|index| {
        let mut finding = finding.clone();
        finding["rule"] = json!(format!("rule-{index}"));
        finding
    });
    report["findings"] = many.collect();
    write_report(folder.path(), &report);
    let out = heirloom(&["verify", &at(&folder)]);
    let said = text(&out.stdout);
    assert!(out.status.code() == Some(1) && said.lines().count() < 60 && said.contains(" more (`--format json`)"), "{said}");
    let out = heirloom(&["compare", &reports().join("clean").display().to_string(), &at(&folder)]);
    let said = text(&out.stdout);
    assert!(
        out.status.code() == Some(5) && said.len() < 100_000 && said.contains("5002 rules: 2 missing, 5000 added"),
        "{}",
        said.chars().take(2000).collect::<String>()
    );
}
