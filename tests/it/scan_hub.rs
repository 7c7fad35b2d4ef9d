//! Scans of a hub, which is one of the tests' own: whatever goes wrong on the way, the result is that of a night without disturbance.

mod asked;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::hub::{Hub, Mischief, Model, Seen, Wrong};
use crate::run::{command, file, text};

const TOKEN: &str = "hf_secret_of_the_tests";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name)).expect("a fixture")
}

/// A model of its own: a comment that nothing computes with makes other bytes.
fn own(number: u8) -> Vec<u8> {
    [fixture("clean.onnx"), vec![0x32, 1, b'0' + number]].concat()
}

fn models() -> Vec<(&'static str, Model)> {
    let one = |bytes: &[u8]| Model::of(&[("model.onnx", bytes), ("README.md", b"# a model")]);
    let tensors = fixture("planted-square.safetensors");
    vec![
        ("acme/auth", one(&own(0)).wrong(Wrong::Auth)),
        ("acme/circle", one(&own(1)).wrong(Wrong::Circle)),
        ("acme/clean", one(&fixture("clean.onnx"))),
        ("acme/copy", one(&fixture("clean.onnx"))),
        ("acme/gated", one(&own(2)).wrong(Wrong::Gated)),
        ("acme/length", one(&own(3)).wrong(Wrong::Length)),
        ("acme/liar", one(&own(4)).wrong(Wrong::Digest)),
        ("acme/pickled", Model::of(&[("pytorch_model.bin", b"\x80\x02}q\x00.")])),
        ("acme/planted", Model::of(&[("model.safetensors", &tensors), ("sub/model.onnx", &own(5))])),
        ("acme/vanished", one(&own(6)).wrong(Wrong::Vanished)),
        ("other/model", one(&own(7))),
    ]
}

struct Night {
    code: Option<i32>,
    said: String,
    errors: String,
}

/// The program as on a machine whose hub is this one.
fn on(hub: &str, home: &Path) -> Command {
    let mut command = command();
    // Whatever proxy the machine that tests has: loopback is not reached by it.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name);
    }
    for name in ["HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN"] {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", hub).env("HF_TOKEN", TOKEN).env("HF_HOME", home);
    command
}

fn told(mut command: Command) -> Night {
    let out = command.output().expect("the binary runs");
    Night { code: out.status.code(), said: text(&out.stdout), errors: text(&out.stderr) }
}

fn scan_file(folder: &Path, sources: &str) -> String {
    file(folder, "scan.yaml", format!("version: 1\nname: hub\nsources:\n{sources}rules:\n  - {{ tier: static }}\n").as_bytes())
}

fn scan(folder: &Path, hub: &str, more: &[&str]) -> Night {
    let (spec, output) = (folder.join("scan.yaml"), folder.join("out"));
    let mut command = on(hub, folder);
    command.arg("scan").arg(spec).arg("--output").arg(output).arg("-vv").args(more);
    told(command)
}

const ORGANISATION: &str = "  - hf: { organisation: acme }\n";

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

/// `scan.json` without what differs between equal scans; every hub of a test has another address.
fn result(folder: &Path, hub: &str) -> Value {
    let text = json(&folder.join("out/scan.json")).to_string().replace(hub, "HUB");
    let mut scan: Value = serde_json::from_str(&text).expect("JSON");
    scan.as_object_mut().expect("a map").remove("run");
    scan
}

fn outcomes(folder: &Path) -> Vec<String> {
    let one = |model: &Value| {
        let cause = model["cause"].as_str().map(|cause| format!(" {cause}")).unwrap_or_default();
        format!("{} {}{cause}", model["name"].as_str().expect("a name"), model["outcome"].as_str().expect("an outcome"))
    };
    json(&folder.join("out/scan.json"))["models"].as_array().expect("models").iter().map(one).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// All that lies in a folder, as one text.
fn all_of(folder: &Path) -> String {
    let mut found = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found += &all_of(&path);
        } else {
            found += &String::from_utf8_lossy(&std::fs::read(&path).expect("a file"));
        }
    }
    found
}

const CALM: [&str; 11] = [
    "acme/auth error auth",
    "acme/circle error hub-down",
    "acme/gated error gated",
    "acme/length error digest",
    "acme/liar error digest",
    "acme/pickled/pytorch_model.bin error pickle",
    "acme/vanished error not-found",
    "acme/clean inspected",
    "acme/copy inspected",
    "acme/planted/model.safetensors inspected",
    "acme/planted/sub/model.onnx inspected",
];

#[test]
fn a_calm_night_and_the_next_one_costs_the_list() {
    let at = folder();
    let at = at.path();
    let hub = Hub::start(&models(), Mischief::default());
    scan_file(at, ORGANISATION);
    let night = scan(at, &hub.address, &[]);
    assert_eq!(night.code, Some(2), "{}{}", night.said, night.errors);
    assert_eq!(outcomes(at), CALM);
    // The token goes to the hub alone, and is in nothing that is written or said. Nor is what may read a file.
    let (own, elsewhere) = (hub.seen(), hub.seen_elsewhere());
    assert!(own.iter().all(|seen| seen.authorization.as_deref() == Some(&format!("Bearer {TOKEN}"))), "{own:?}");
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|seen| seen.authorization.is_none()), "{elsewhere:?}");
    let written = all_of(&at.join("out")) + &night.errors + &night.said;
    assert!(!written.contains(TOKEN) && !written.contains("signature=secret"), "{}", night.errors);
    // One copy of two is fetched, what is not read is not, and nothing of it is left.
    let fetched = |seen: &[Seen]| seen.iter().map(|seen| seen.path.clone()).filter(|path| path.contains("/resolve/")).collect::<Vec<_>>();
    let large = fetched(&elsewhere);
    assert_eq!(large.iter().filter(|path| path.contains("/clean/") || path.contains("/copy/")).count(), 1, "{large:?}");
    assert!(!fetched(&own).iter().any(|path| path.contains("pytorch_model") || path.contains("README")), "{own:?}");
    assert!(!at.join("out/downloads").exists() && !at.join("escape.json").exists());
    let model = json(&at.join("out/scan.json"))["models"][7].clone();
    assert_eq!((model["name"].as_str(), model["revision"].as_str()), (Some("acme/clean"), Some(format!("{:040x}", 1).as_str())));

    // Only what was an error of the way is asked again; of three pages each has the commits of its models.
    let second = scan(at, &hub.address, &[]);
    assert_eq!(second.code, Some(2), "{}", second.errors);
    let (own, elsewhere) = (hub.seen(), hub.seen_elsewhere());
    let errors = ["auth", "circle", "gated", "liar", "length", "vanished"];
    let known = own.iter().filter(|seen| !errors.iter().any(|name| seen.path.contains(&format!("/{name}"))));
    assert_eq!(known.map(|seen| seen.path.split('?').next().unwrap_or_default()).collect::<Vec<_>>(), ["/api/models"; 3]);
    assert!(fetched(&elsewhere).iter().all(|path| path.contains("liar") || path.contains("length")), "{elsewhere:?}");
    assert_eq!(outcomes(at), CALM);

    // One is changed, one comes.
    hub.put("acme/copy", Model { commit: 2, ..Model::of(&[("model.onnx", &own_bytes())]) });
    hub.put("acme/new", Model::of(&[("model.onnx", &fixture("clean.half.onnx"))]));
    hub.seen();
    let third = scan(at, &hub.address, &[]);
    let asked: Vec<String> = hub.seen().into_iter().map(|seen| seen.path).filter(|path| path.contains("/revision/")).collect();
    assert!(["copy", "new"].iter().all(|name| asked.iter().any(|path| path.contains(name))), "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains("clean")), "{asked:?}");
    assert_eq!(result(at, &hub.address)["changes"]["added"], serde_json::json!(["hf:acme/acme/new"]), "{}", third.said);
}

fn own_bytes() -> Vec<u8> {
    own(9)
}

#[test]
fn a_disturbed_night_ends_as_a_calm_one() {
    let calm = folder();
    let hub = Hub::start(&models(), Mischief::default());
    scan_file(calm.path(), ORGANISATION);
    assert_eq!(scan(calm.path(), &hub.address, &[]).code, Some(2));
    let wanted = result(calm.path(), &hub.address);
    for mischief in [
        Mischief { busy: true, cut: true, ..Mischief::default() },
        Mischief { broken: true, slow: true, ..Mischief::default() },
        Mischief { cut: true, changing: true, ..Mischief::default() },
        Mischief { lying: true, ..Mischief::default() },
    ] {
        let rough = folder();
        let hub = Hub::start(&models(), mischief);
        scan_file(rough.path(), ORGANISATION);
        let night = scan(rough.path(), &hub.address, &[]);
        assert_eq!(night.code, Some(2), "{mischief:?}: {}{}", night.said, night.errors);
        assert_eq!(result(rough.path(), &hub.address), wanted, "{mischief:?}");
        assert_eq!(
            hub.seen_elsewhere().iter().any(|seen| seen.range.as_deref().is_some_and(|range| range.ends_with('-'))),
            mischief.cut,
            "{mischief:?}"
        );
    }
}

#[test]
fn a_model_that_is_missed_is_an_error_and_then_gone() {
    let at = folder();
    let at = at.path();
    let one = |number| Model::of(&[("model.onnx", &own(number))]);
    let hub = Hub::start(&[("acme/a", one(1)), ("acme/b", one(2)), ("acme/c", one(3)), ("acme/d", one(4))], Mischief::default());
    scan_file(at, ORGANISATION);
    assert_eq!(scan(at, &hub.address, &[]).code, Some(3));
    hub.make("acme/a", Wrong::Gone);
    hub.make("acme/b", Wrong::Disabled);
    hub.put("acme/c", Model { commit: 2, ..one(5) }.wrong(Wrong::Gated));
    let errors = ["acme/a error not-found", "acme/b error not-found", "acme/c error gated", "acme/d inspected"];
    assert_eq!(scan(at, &hub.address, &[]).code, Some(2));
    assert_eq!(outcomes(at), errors);
    // A plan counts no night, and a hub that is down takes no model away.
    assert_eq!(scan(at, &hub.address, &["--plan-only"]).code, Some(0));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
    let down = scan(at, &format!("http://{nobody}"), &[]);
    assert_eq!(down.code, Some(2), "{}", down.said);
    assert_eq!(outcomes(at), ["a", "b", "c", "d"].map(|name| format!("acme/{name} error hub-down")));
    assert_eq!(scan(at, &hub.address, &[]).code, Some(2));
    assert_eq!(outcomes(at), errors);
    let third = scan(at, &hub.address, &[]);
    assert_eq!(third.code, Some(3), "{}", third.said);
    assert_eq!(outcomes(at), ["acme/d inspected"]);
    let gone = |folder: &Path| json(&folder.join("out/scan.json"))["changes"]["gone"].clone();
    assert_eq!(gone(at), serde_json::json!(["hf:acme/acme/a", "hf:acme/acme/b", "hf:acme/acme/c"]));
    // As long as the hub names them, they are not forgotten; and they may come back.
    hub.make("acme/b", Wrong::Nothing);
    assert_eq!(scan(at, &hub.address, &[]).code, Some(3));
    assert_eq!((gone(at), outcomes(at).len()), (serde_json::json!(["hf:acme/acme/c"]), 2));
}

#[test]
fn a_list_names_models_and_revisions() {
    let at = folder();
    let at = at.path();
    let hub = Hub::start(&models(), Mischief::default());
    let commit = format!("{:040x}", 1);
    file(at, "models.txt", format!("# ours\nacme/clean\nother/model@{commit} # pinned\n").as_bytes());
    scan_file(at, "  - hf_list: { file: models.txt }\n");
    assert_eq!(scan(at, &hub.address, &[]).code, Some(3));
    let pinned = format!("other/model@{commit} inspected");
    assert_eq!(outcomes(at), ["acme/clean inspected", &pinned]);
    // Of the second night the one without a commit is asked.
    hub.seen();
    assert_eq!(scan(at, &hub.address, &[]).code, Some(3));
    assert_eq!(hub.seen().iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(), ["/api/models/acme/clean/revision/main?blobs=true"]);
    file(at, "models.txt", b"acme/clean\nno name at all\n");
    let wrong = scan(at, &hub.address, &[]);
    assert!(wrong.code == Some(4) && wrong.errors.contains("line 2: write OWNER/NAME"), "{}", wrong.errors);
    scan_file(at, "  - hf: { organisation: a/b, endpoint: \"ftp://x\" }\n  - http: nowhere\n");
    let wrong = scan(at, &hub.address, &[]);
    insta::assert_snapshot!("scan_of_servers_with_mistakes_of_its_schema", wrong.errors.replace(&at.display().to_string(), "DIR"));
    scan_file(at, "  - hf: { organisation: a, endpoint: \"ftp://x\" }\n  - http: nowhere\n  - hf_list: { file: none.txt }\n");
    let wrong = scan(at, &hub.address, &[]);
    insta::assert_snapshot!("scan_of_servers_with_mistakes", wrong.errors.replace(&at.display().to_string(), "DIR"));
}

#[test]
fn a_token_is_for_the_hub_of_the_environment_alone() {
    let at = folder();
    let at = at.path();
    let (home, mirror) = (Hub::start(&models(), Mischief::default()), Hub::start(&models(), Mischief::default()));
    scan_file(at, &format!("  - hf: {{ organisation: other, endpoint: \"{}\" }}\n", mirror.address));
    let night = scan(at, &home.address, &[]);
    assert_eq!(night.code, Some(3), "{}", night.errors);
    let seen = mirror.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.authorization.is_none()), "{seen:?}");
    assert!(home.seen().is_empty());
    // Nor is it sent where others could read it.
    scan_file(at, ORGANISATION);
    let refused = scan(at, "http://hub.invalid", &[]);
    assert!(refused.code == Some(4) && refused.errors.contains("is not encrypted"), "{}", refused.errors);
}

#[test]
fn an_index_of_ones_own_lists_files_with_their_digests() {
    let at = folder();
    let at = at.path();
    let (bytes, digest) = (own(8), |bytes: &[u8]| crate::run::sha256(bytes));
    let entry = |name: &str, digest: String, size: usize| {
        format!(
            "{{\"name\": \"{name}\", \"files\": [{{\"path\": \"model.onnx\", \"url\": \"/x/file/resolve/{:040x}/model.onnx\", \"size\": {size}, \"sha256\": \"{digest}\"}}]}}",
            1
        )
    };
    let index = format!("{{\"models\": [{}, {}]}}", entry("good", digest(&bytes), bytes.len()), entry("bad", digest(b"x"), bytes.len()));
    let hub = Hub::start(
        &[("x/file", Model::of(&[("model.onnx", &bytes)])), ("x/index", Model::of(&[("index.json", index.as_bytes())]))],
        Mischief::default(),
    );
    scan_file(at, &format!("  - http: {}/x/index/resolve/{:040x}/index.json\n", hub.address, 1));
    let night = scan(at, "https://huggingface.co", &[]);
    assert_eq!(night.code, Some(2), "{}{}", night.said, night.errors);
    assert_eq!(outcomes(at), ["bad error digest", "good inspected"]);
    assert!(hub.seen().iter().all(|seen| seen.authorization.is_none()));
    hub.seen_elsewhere();
    assert_eq!(scan(at, "https://huggingface.co", &["--quiet"]).code, Some(2));
    // What is wrong is asked for twice, what is known not at all.
    assert_eq!(hub.seen_elsewhere().len(), 2);
}

#[test]
fn weights_in_several_files_and_configurations_make_one_identity() {
    let at = folder();
    let at = at.path();
    let whole = fixture("clean.safetensors");
    let index = format!(
        "{{\"weight_map\": {{{}}}}}",
        weights(&whole).iter().map(|name| format!("\"{name}\": \"model-00001-of-00001.safetensors\"")).collect::<Vec<_>>().join(", ")
    );
    let files: [(&str, &[u8]); 4] = [
        ("model.safetensors.index.json", index.as_bytes()),
        ("model-00001-of-00001.safetensors", &whole),
        ("preprocessor_config.json", b"{\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5]}"),
        ("unrelated.data", b"x"),
    ];
    let hub = Hub::start(&[("acme/parts", Model::of(&files))], Mischief::default());
    scan_file(at, ORGANISATION);
    let night = scan(at, &hub.address, &[]);
    let there = json(&at.join("out/scan.json"))["models"][0].clone();
    // The same files in a folder.
    for (name, bytes) in files {
        file(at, &format!("models/{name}"), bytes);
    }
    scan_file(at, "  - folder: models\n");
    let local = scan(at, &hub.address, &[]);
    let here = json(&at.join("out/scan.json"))["models"][0].clone();
    assert_eq!(
        (&there["digest"], &there["outcome"], &there["bytes"]),
        (&here["digest"], &here["outcome"], &here["bytes"]),
        "{}{}",
        night.said,
        local.said
    );
    assert!(there["digest"].is_string() && there["cause"] != "changed", "{there}");
}

/// The names of the tensors of a safetensors file.
fn weights(bytes: &[u8]) -> Vec<String> {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    header.as_object().expect("a map").keys().filter(|name| *name != "__metadata__").cloned().collect()
}

#[test]
fn four_shards_of_a_hub_merged_are_one_scan() {
    let (one, four) = (folder(), folder());
    let hub = Hub::start(&models(), Mischief::default());
    scan_file(one.path(), ORGANISATION);
    assert_eq!(scan(one.path(), &hub.address, &[]).code, Some(2));
    let spec = scan_file(four.path(), ORGANISATION);
    assert_eq!(scan(four.path(), &hub.address, &["--plan-only"]).code, Some(0));
    for number in 1..=4 {
        let done = scan(four.path(), &hub.address, &["--shard", &format!("{number}/4")]);
        assert_eq!(done.code, Some(0), "{spec}: {}", done.errors);
    }
    assert!(!four.path().join("out/downloads").exists());
    let mut merge = on("http://127.0.0.1:9", four.path());
    merge.args(["scan", "merge"]).arg(four.path().join("out"));
    assert_eq!(told(merge).code, Some(2));
    assert_eq!(result(one.path(), &hub.address), result(four.path(), &hub.address));
}

#[cfg(unix)]
#[test]
fn a_scan_that_was_killed_in_a_download_goes_on_from_there() {
    let at = folder();
    let at = at.path();
    let hub = Hub::start(&[("acme/a", Model::of(&[("model.onnx", &own(1))]))], Mischief { hanging: true, ..Mischief::default() });
    scan_file(at, ORGANISATION);
    let mut command = on(&hub.address, at);
    command.arg("scan").arg(at.join("scan.yaml")).arg("--output").arg(at.join("out")).stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("the binary runs");
    let half = own(1).len() as u64 / 2;
    let part = || -> Option<PathBuf> {
        let folder = std::fs::read_dir(at.join("out/downloads")).ok()?.flatten().next()?.path();
        let path = folder.join(format!("models--acme--a/snapshots/{:040x}/model.onnx.part", 1));
        (std::fs::metadata(&path).ok()?.len() == half).then_some(path)
    };
    let begun = std::time::Instant::now();
    while part().is_none() {
        assert!(begun.elapsed().as_secs() < 120, "nothing is fetched");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().and_then(|()| child.wait()).expect("killed");
    assert!(part().is_some());
    hub.calm();
    hub.seen_elsewhere();
    let night = scan(at, &hub.address, &[]);
    assert_eq!(night.code, Some(3), "{}", night.errors);
    let ranges: Vec<_> = hub.seen_elsewhere().into_iter().map(|seen| seen.range).collect();
    assert_eq!(ranges, [Some(format!("bytes={half}-"))]);
    assert!(!at.join("out/downloads").exists());
}

#[test]
fn a_model_of_the_hub_is_inspected_and_certified_by_its_name() {
    let at = folder();
    let at = at.path();
    let hub = Hub::start(&models(), Mischief::default());
    let run = |arguments: &[&str]| {
        let mut command = on(&hub.address, at);
        command.env("HEIRLOOM_CACHE", at.join("cache")).args(arguments).arg("-vv");
        told(command)
    };
    let commit = format!("{:040x}", 1);
    let shown = run(&["inspect", "hf://acme/clean"]);
    assert!(
        shown.code == Some(0) && shown.said.contains(&format!("hf://acme/clean@{commit}/model.onnx")),
        "{}{}",
        shown.said,
        shown.errors
    );
    // The file is kept; the name is looked up.
    hub.seen_elsewhere();
    let report = at.join("report").display().to_string();
    let certified = run(&["certify", "hf://acme/clean@main", "--output", &report, "--reports", "json"]);
    assert!(matches!(certified.code, Some(0 | 1 | 5)), "{}", certified.errors);
    assert!(
        hub.seen_elsewhere().is_empty() && certified.errors.contains(&format!("hf://acme/clean@{commit}/model.onnx")),
        "{}",
        certified.errors
    );
    assert_eq!(json(&at.join("report/report.json"))["model"]["identity"]["path"], format!("hf://acme/clean@{commit}/model.onnx"));
    assert!(!(certified.errors + &all_of(at)).contains(TOKEN));
    for (name, code, part) in [
        ("hf://acme/planted", 4, "holds several checkpoints: model.safetensors, sub/model.onnx"),
        ("hf://acme/planted/sub/none.onnx", 4, "holds no checkpoint `sub/none.onnx`"),
        ("hf://acme/pickled", 2, "holds no checkpoint that is read: pytorch_model.bin"),
        ("hf://acme/gated", 2, "accept its terms on the page of the model"),
        ("hf://acme/auth", 2, "set HF_TOKEN"),
        ("hf://acme/nothing", 2, "it is not there"),
        ("hf://acme/liar", 2, "its SHA-256 is"),
        ("hf://acme", 4, "write hf://OWNER/NAME"),
    ] {
        let refused = run(&["inspect", name]);
        assert!(refused.code == Some(code) && refused.errors.contains(part), "{name}: {:?} {}", refused.code, refused.errors);
    }
    assert_eq!(run(&["inspect", "hf://acme/planted/sub/model.onnx"]).code, Some(0));
    // A file opens no connection, whatever is set.
    hub.seen();
    assert_eq!(
        run(&["inspect", &Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/clean.onnx").display().to_string()]).code,
        Some(0)
    );
    assert!(hub.seen().is_empty());
}
