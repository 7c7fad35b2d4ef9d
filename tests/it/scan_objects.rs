//! Scans of an object store and of an MLflow registry, which are stand-ins of the tests' own.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::objects::{Bucket, Does, Said, Server, said};
use crate::run::{command, file, text};

const SECRET: &str = "secret_of_the_tests";

fn clean() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/clean.onnx")).expect("a fixture")
}

/// A model of its own: a comment that nothing computes with makes other bytes.
fn own(number: u8) -> Vec<u8> {
    [clean(), vec![0x32, 1, b'0' + number]].concat()
}

fn program(folder: &Path) -> Command {
    let mut command = command();
    for (name, _) in std::env::vars() {
        let named = ["AWS_", "AZURE_", "GOOGLE_", "MLFLOW_", "HF_"].iter().any(|start| name.starts_with(start));
        if named || name.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.env("HF_HOME", folder).env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_SESSION_TOKEN", SECRET);
    command.env("MLFLOW_TRACKING_TOKEN", SECRET).env("HEIRLOOM_CACHE", folder.join("cache"));
    command
}

struct Night {
    code: Option<i32>,
    errors: String,
    models: Vec<String>,
}

fn scan(folder: &Path, source: &str) -> Night {
    scan_by(folder, source, "  - { tier: static }", &[])
}

fn scan_by(folder: &Path, source: &str, rules: &str, environment: &[(&str, &str)]) -> Night {
    let text_of = format!("version: 1\nname: stores\nsources:\n  - {source}\nrules:\n{rules}\n");
    let spec = file(folder, "scan.yaml", text_of.as_bytes());
    let out = folder.join("out");
    let told = program(folder)
        .envs(environment.iter().copied())
        .args(["scan", &spec, "-vv", "--output"])
        .arg(&out)
        .output()
        .expect("the binary runs");
    let errors = text(&told.stderr) + &text(&told.stdout);
    assert!(!errors.contains(SECRET) && !all_of(folder).contains(SECRET), "{errors}");
    assert!(!out.join("downloads").exists(), "{errors}");
    let one = |model: &Value| format!("{} {}", model["name"].as_str().unwrap(), model["cause"].as_str().unwrap_or("inspected"));
    let scan: Option<Value> = std::fs::read(out.join("scan.json")).ok().map(|bytes| serde_json::from_slice(&bytes).expect("JSON"));
    let models = scan.iter().flat_map(|scan| scan["models"].as_array().expect("models")).map(one).collect();
    Night { code: told.status.code(), errors, models }
}

/// What a terminal's width has broken into lines.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All that lies in a folder, as one text.
fn all_of(folder: &Path) -> String {
    let one = |path: std::path::PathBuf| {
        if path.is_dir() { all_of(&path) } else { String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned() }
    };
    std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| one(entry.path())).collect()
}

fn filled() -> Bucket {
    let bucket = Bucket::default();
    for (key, bytes) in [("team/a.onnx", own(1)), ("team/b c.onnx", own(2)), ("team/vit/model.onnx", own(3)), ("other/x.onnx", own(4))] {
        bucket.put(key, &bytes);
    }
    bucket.put("team/vit/config.json", b"{}");
    bucket.put("team/old.pt", b"\x80\x02}q\x00.");
    bucket
}

const MODELS: [&str; 4] = ["old.pt pickle", "a.onnx inspected", "b c.onnx inspected", "vit inspected"];

#[cfg(feature = "object-store")]
#[test]
fn a_night_over_a_bucket_and_the_next_one_costs_the_list() {
    let at = tempfile::tempdir().expect("a folder");
    let bucket = filled();
    let server = bucket.serve();
    let source = format!("s3: {{ bucket: models, prefix: team, endpoint: \"{}\" }}", server.address);
    let first = scan(at.path(), &source);
    assert_eq!((first.code, first.models.as_slice()), (Some(2), &MODELS.map(str::to_owned)[..]), "{}", first.errors);
    // Signed, by a key whose secret half stays here.
    let seen = server.seen();
    let signed = |asked: &crate::objects::Asked| asked.headers.get("authorization").is_some_and(|text| text.contains("Credential=key/"));
    assert!(seen.iter().all(signed) && !seen.iter().any(|asked| asked.path.contains("old.pt")), "{seen:?}");
    let paths = || server.seen().into_iter().map(|asked| asked.path.split('?').next().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    assert_eq!(scan(at.path(), &source).models, MODELS);
    assert_eq!(paths(), ["/models"; 3]);
    // One has changed: it alone is fetched, and once.
    bucket.put("team/b c.onnx", &own(5));
    assert_eq!(scan(at.path(), &source).models, MODELS);
    assert_eq!(paths(), ["/models", "/models", "/models", "/models/team/b%20c.onnx"]);
    // What a server does not give takes no model away.
    bucket.make(Does::Refuses);
    let refused = scan(at.path(), &source);
    assert!(refused.models.iter().all(|model| model.ends_with(" auth")) && refused.models.len() == 4, "{:?}", refused.models);
    bucket.make(Does::Nothing);
    let gone = scan(at.path(), &source.replace("bucket: models", "bucket: nothing"));
    assert_eq!((gone.code, gone.models), (Some(2), vec!["* not-found".to_owned()]), "{}", gone.errors);
}

#[cfg(feature = "object-store")]
#[test]
fn a_bucket_that_cannot_be_listed_is_an_error_whatever_rules_leave_out() {
    let bucket = filled();
    let server = bucket.serve();
    let source = format!("s3: {{ bucket: models, endpoint: \"{}\" }}", server.address);
    let leaves_out =
        "  - { match: { format: other }, skip: pickles }\n  - { match: { size: { at_most: 1KB } }, skip: small }\n  - { tier: static }";
    let one = |environment: &[(&str, &str)]| {
        let at = tempfile::tempdir().expect("a folder");
        let night = scan_by(at.path(), &source, leaves_out, environment);
        (night.code, night.models, in_one_line(&night.errors))
    };
    bucket.make(Does::Circles);
    let (code, models, said) = one(&[]);
    assert_eq!((code, models), (Some(2), vec!["* hub-down".to_owned()]), "{said}");
    assert!(said.contains("lead in a circle"), "{said}");
    bucket.make(Does::Refuses);
    let (code, models, said) = one(&[]);
    assert_eq!((code, models), (Some(2), vec!["* auth".to_owned()]), "{said}");
    bucket.make(Does::Nothing);
    // A secret that was mounted ends with a line break.
    let (code, models, said) = one(&[("AWS_SESSION_TOKEN", "token\n")]);
    assert_eq!((code, models), (Some(2), vec!["* error".to_owned()]), "{said}");
    assert!(said.contains("AWS_SESSION_TOKEN holds a line break"), "{said}");
    let (code, _, said) = one(&[]);
    assert_eq!(code, Some(3), "{said}");
    let at = tempfile::tempdir().expect("a folder");
    let misspelled = format!("s3: {{ bucket: models, prefix: taem, endpoint: \"{}\" }}", server.address);
    let night = scan_by(at.path(), &misspelled, leaves_out, &[]);
    let said = in_one_line(&night.errors);
    assert!(said.contains("the source s3://models/taem has no models"), "{said}");
}

#[cfg(feature = "object-store")]
#[test]
fn an_object_that_is_cut_or_changes_on_the_way() {
    let at = tempfile::tempdir().expect("a folder");
    let bucket = Bucket::default();
    bucket.put("a.onnx", &own(1));
    let server = bucket.serve();
    let source = format!("s3: {{ bucket: models, endpoint: \"{}\" }}", server.address);
    bucket.make(Does::Cuts);
    let cut = scan(at.path(), &source);
    assert_eq!(cut.models, ["a.onnx inspected"], "{}", cut.errors);
    let half = format!("bytes={}-", own(1).len() / 2);
    let fetched = |seen: Vec<crate::objects::Asked>| -> Vec<_> {
        let of = seen.into_iter().filter(|asked| asked.path.ends_with("a.onnx"));
        of.map(|asked| [asked.headers.get("range").cloned(), asked.headers.get("if-match").cloned()]).collect()
    };
    assert_eq!(fetched(server.seen()), [[None, Some("\"0\"".into())], [Some(half), Some("\"0\"".into())]]);
    // Halves of two states are never one file.
    bucket.put("a.onnx", &own(2));
    bucket.make(Does::Changes);
    let changed = scan(at.path(), &source);
    assert_eq!(changed.models, ["a.onnx changed"], "{}", changed.errors);
    bucket.make(Does::Nothing);
    assert_eq!(scan(at.path(), &source).models, ["a.onnx inspected"]);
}

#[cfg(feature = "object-store")]
#[test]
fn keys_lead_nowhere_else_and_credentials_stay_at_home() {
    let at = tempfile::tempdir().expect("a folder");
    let bucket = Bucket::default();
    let long = format!("{}/{}.onnx", "d/".repeat(30), "x".repeat(230));
    for (number, key) in ["../../out.onnx", "a\u{1}b.onnx", "good.onnx", &long].into_iter().enumerate() {
        bucket.put(key, &own(number as u8));
    }
    let server = bucket.serve();
    let odd = scan(at.path(), &format!("s3: {{ bucket: models, endpoint: \"{}\" }}", server.address));
    let long = long.clone() + " unsupported";
    assert_eq!(odd.models.len(), 4, "{:?}", odd.models);
    for wanted in ["../../out.onnx unsupported", "a\\u{1}b.onnx unsupported", "good.onnx inspected", &long.replace("//", "/")] {
        assert!(
            odd.models.iter().any(|model| model == wanted || wanted.starts_with("d/") && model.starts_with("d/")),
            "{wanted}: {:?}",
            odd.models
        );
    }
    assert!(!at.path().join("out.onnx").exists());
    server.seen();
    let open = scan(at.path(), "s3: { bucket: models, endpoint: \"http://store.invalid\" }");
    assert!(open.errors.contains("credentials would go there"), "{}", open.errors);
    let anonymous = scan(at.path(), &format!("s3: {{ bucket: models, endpoint: \"{}\", anonymous: true }}", server.address));
    assert!(server.seen().iter().all(|asked| !asked.headers.contains_key("authorization")), "{}", anonymous.errors);
    for (source, part) in [
        ("s3: { bucket: a, endpoint: \"ftp://x\" }", "begins with https://"),
        ("s3: { bucket: a, prefix: ../x }", "no path of plain names"),
        ("gs: { bucket: a b }", "bucket"),
        ("s3: { bucket: a, prefix: x }\n  - s3: { bucket: a, prefix: y, region: z }", "stands here in another way"),
        ("mlflow: { endpoint: \"https://m\", allow_sources: [\"file:///srv\"] }", "no bucket with a prefix"),
        ("mlflow: { endpoint: \"https://m\" }\n  - mlflow: { endpoint: \"https://n\" }", "one MLflow server"),
    ] {
        let wrong = scan(at.path(), source);
        assert!(wrong.code == Some(4) && wrong.errors.contains(part), "{source}: {}", wrong.errors);
    }
}

#[cfg(feature = "object-store")]
#[test]
fn a_model_of_a_bucket_is_inspected_by_its_address() {
    let at = tempfile::tempdir().expect("a folder");
    let server = filled().serve();
    let run = |model: &str| {
        let told = program(at.path()).env("AWS_ENDPOINT_URL", &server.address).args(["inspect", model]).output().expect("the binary runs");
        (told.status.code(), text(&told.stdout) + &text(&told.stderr))
    };
    for (model, code, part) in [
        ("s3://models/team/b c.onnx", 0, "s3://models/team/b%20c.onnx"),
        ("s3://models/team/vit", 0, "s3://models/team/vit/model.onnx"),
        ("s3://models/team/none.onnx", 4, "holds no checkpoint `team/none.onnx`"),
        ("s3://models/team", 4, "several checkpoints: team/a.onnx, team/b c.onnx"),
        ("s3://models/none", 2, "holds no checkpoint that is read"),
        ("s3://nothing/a.onnx", 2, "it is not there"),
        ("s3://models", 4, "write s3://BUCKET/KEY"),
    ] {
        let (told, said) = run(model);
        assert!(told == Some(code) && said.contains(part) && !said.contains(SECRET), "{model}: {told:?} {said}");
    }
    // What is here is not fetched again.
    server.seen();
    run("s3://models/team/b c.onnx");
    assert!(server.seen().iter().all(|asked| asked.path.starts_with("/models?")));
}

/// A registry with one model of its own, and some whose files are elsewhere.
fn registry(asked: &crate::objects::Asked, other: &str) -> Said {
    let sources = [
        ("good", "mlflow-artifacts:/1/good".to_owned()),
        ("files", "file:///etc/passwd".to_owned()),
        ("metadata", "http://169.254.169.254/latest/meta-data/".to_owned()),
        ("elsewhere", format!("mlflow-artifacts://{other}/1/good")),
        ("up", "mlflow-artifacts:/../../etc".to_owned()),
        ("bucket", "s3://secret/x".to_owned()),
    ];
    let (route, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let body = match route {
        "/api/2.0/mlflow/registered-models/search" => {
            serde_json::json!({"registered_models": sources.each_ref().map(|(name, _)| serde_json::json!({"name": name}))})
        }
        "/api/2.0/mlflow/model-versions/search" if !query.contains("page_token") => {
            serde_json::json!({"model_versions": [{"name": "good", "version": "1", "source": "x"}], "next_page_token": "2"})
        }
        "/api/2.0/mlflow/model-versions/search" => serde_json::json!({"model_versions":
            sources.each_ref().map(|(name, at)| serde_json::json!({"name": name, "version": "2", "source": at}))}),
        "/api/2.0/mlflow/model-versions/get-download-uri" => {
            let found = sources.iter().find(|(name, _)| query.contains(&format!("name={name}&")));
            serde_json::json!({"artifact_uri": found.map(|(_, at)| at)})
        }
        "/api/2.0/mlflow-artifacts/artifacts" => serde_json::json!({"files": [
            {"path": "model.onnx", "is_dir": false, "file_size": own(1).len()}, {"path": "../../up.onnx", "is_dir": false, "file_size": 3}]}),
        "/api/2.0/mlflow-artifacts/artifacts/1/good/model.onnx" => return said("200 OK", &own(1)),
        _ => return said("404 Not Found", b"{}"),
    };
    said("200 OK", body.to_string().as_bytes())
}

#[test]
fn a_registry_leads_to_its_own_files_alone() {
    let at = tempfile::tempdir().expect("a folder");
    let other = Server::start(|_| said("200 OK", b"{}"));
    let host = other.address.trim_start_matches("http://").to_owned();
    let server = Server::start(move |asked| registry(asked, &host));
    let source = format!("mlflow: {{ endpoint: \"{}\" }}", server.address);
    let wanted = ["bucket", "elsewhere", "files", "metadata", "up"].map(|name| format!("{name} outside-link"));
    let mut wanted: Vec<String> = wanted.into_iter().chain(["good inspected".to_owned()]).collect();
    // A checkpoint whose path leads elsewhere is named, and not fetched.
    wanted.insert(3, "good/../../up.onnx unsupported".to_owned());
    let first = scan(at.path(), &source);
    assert_eq!((first.code, &first.models), (Some(2), &wanted), "{}", first.errors);
    let seen = server.seen();
    let authorization = format!("Bearer {SECRET}");
    assert!(seen.iter().all(|asked| asked.headers.get("authorization") == Some(&authorization)), "{seen:?}");
    assert!(other.seen().is_empty());
    let scan_json: Value = serde_json::from_slice(&std::fs::read(at.path().join("out/scan.json")).unwrap()).unwrap();
    let good = scan_json["models"].as_array().unwrap().iter().find(|model| model["name"] == "good").unwrap();
    assert!(good["revision"].as_str().unwrap().starts_with("v2-"), "{good}");
    // Of a version that is known nothing is asked but the searches.
    assert_eq!(scan(at.path(), &source).models, wanted);
    let again = server.seen();
    assert!(!again.iter().any(|asked| asked.path.contains("name=good") || asked.path.contains("artifacts")), "{again:?}");
    let open = scan(at.path(), "mlflow: { endpoint: \"http://registry.invalid\" }");
    assert!(open.code == Some(4) && open.errors.contains("is not encrypted"), "{}", open.errors);
}

#[cfg(not(feature = "object-store"))]
#[test]
fn a_program_without_object_stores_says_so() {
    let at = tempfile::tempdir().expect("a folder");
    let told = scan(at.path(), "s3: { bucket: models }");
    assert!(told.code == Some(4) && told.errors.contains("built without object stores"), "{}", told.errors);
}
