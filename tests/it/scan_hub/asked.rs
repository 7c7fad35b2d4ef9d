//! What is asked of a hub, and what is not: by tags, by tiers, by budgets.

use std::path::Path;

use super::{ORGANISATION, fixture, folder, json, models, outcomes, own, scan, scan_file};
use crate::hub::{Hub, Mischief, Model};
use crate::run::file;

#[test]
fn a_rule_may_ask_for_a_tag_of_the_hub() {
    let at = folder();
    let at = at.path();
    let one = |number, tags: &[&'static str]| Model { tags: tags.to_vec(), ..Model::of(&[("model.onnx", &own(number))]) };
    let models =
        [("acme/a", one(1, &["image-classification", "license:mit"])), ("acme/b", one(2, &["text-generation"])), ("acme/c", one(3, &[]))];
    let hub = Hub::start(&models, Mischief::default());
    let rules = "  - { match: { tag: [\"image-*\", vision] }, tier: static }\n  - { match: { tag: text-generation }, skip: no pictures }\n";
    let sources = "  - hf: { organisation: acme }\n  - hf_list: { file: names.txt }\n";
    file(at, "names.txt", b"acme/b@0000000000000000000000000000000000000001\n");
    file(at, "scan.yaml", format!("version: 1\nname: hub\nsources:\n{sources}rules:\n{rules}").as_bytes());
    let (commit, listed) = ("0".repeat(39) + "1", "left_out");
    let first =
        ["acme/c error no-policy".to_owned(), "acme/a inspected".into(), "acme/b left_out".into(), format!("acme/b@{commit} {listed}")];
    for _ in 0..2 {
        assert_eq!(scan(at, &hub.address, &[]).code, Some(2));
        assert_eq!(outcomes(at), first);
    }
    // Tags change without a commit, and the list has those of today.
    hub.put("acme/c", one(3, &["vision"]));
    hub.put("acme/a", one(1, &["text-generation"]));
    let night = scan(at, &hub.address, &[]);
    assert_eq!(night.code, Some(3), "{}{}", night.said, night.errors);
    assert_eq!(outcomes(at)[0], "acme/c inspected");
    assert_eq!(outcomes(at)[1], "acme/a left_out");
}

#[test]
fn a_name_that_cannot_be_one_is_an_error_and_not_asked_for() {
    let at = folder();
    let at = at.path();
    let one = |number| Model::of(&[("model.onnx", &own(number))]);
    let hub = Hub::start(&[("acme/a", one(1)), ("acme/../b", one(2)), ("acme/b c", one(3))], Mischief::default());
    scan_file(at, ORGANISATION);
    let night = scan(at, &hub.address, &[]);
    assert_eq!(night.code, Some(2), "{}{}", night.said, night.errors);
    assert_eq!(outcomes(at), ["acme/../b error unsupported", "acme/b c error unsupported", "acme/a inspected"]);
    let asked = hub.seen_elsewhere();
    assert!(asked.iter().all(|seen| seen.path.contains("acme/a")), "{asked:?}");
}

#[test]
fn a_checkpoint_whose_path_leads_elsewhere_is_an_error() {
    let at = folder();
    let at = at.path();
    let model = Model::of(&[("model.onnx", &own(1)), ("../up.onnx", &own(2)), ("a:b.pt", b"x"), ("../notes.txt", b"x")]);
    let hub = Hub::start(&[("acme/a", model)], Mischief::default());
    scan_file(at, ORGANISATION);
    assert_eq!(scan(at, &hub.address, &[]).code, Some(2));
    assert_eq!(outcomes(at), ["acme/a/../up.onnx error unsupported", "acme/a/a:b.pt error unsupported", "acme/a inspected"]);
    let asked = hub.seen_elsewhere();
    assert!(asked.len() == 1 && !asked[0].path.contains("up.onnx"), "{asked:?}");
    assert!(!at.join("up.onnx").exists() && !at.join("out/up.onnx").exists());
}

#[test]
fn a_rule_may_ask_for_the_size_of_images() {
    let at = folder();
    let at = at.path();
    let tensors = fixture("clean.safetensors");
    let damaged = [tensors.clone(), vec![0]].concat();
    let one = |name: &str, bytes: &[u8]| Model::of(&[(name, bytes)]);
    let all = [
        ("acme/damaged", one("model.safetensors", &damaged)),
        ("acme/onnx", one("model.onnx", &own(1))),
        ("acme/tensors", one("model.safetensors", &tensors)),
    ];
    let hub = Hub::start(&all, Mischief::default());
    let write = |rules: &str| file(at, "scan.yaml", format!("version: 1\nname: hub\nsources:\n{ORGANISATION}rules:\n{rules}").as_bytes());
    // Images of the fixtures have 32 pixels a side.
    write(
        "  - { match: { input: { at_least: 33 } }, skip: too large }\n  - { match: { input: { at_least: 32, at_most: 32 } }, tier: static }\n",
    );
    let wanted = ["acme/damaged error damaged", "acme/onnx inspected", "acme/tensors inspected"];
    let night = scan(at, &hub.address, &[]);
    assert_eq!((night.code, outcomes(at).as_slice()), (Some(2), &wanted.map(str::to_owned)[..]), "{}{}", night.said, night.errors);
    assert!(!hub.seen_elsewhere().is_empty() && !at.join("out/downloads").exists());
    // What is known of their images is kept, and of the damaged one that it is damaged.
    assert_eq!(scan(at, &hub.address, &[]).code, Some(2));
    assert_eq!(outcomes(at), wanted);
    assert!(hub.seen_elsewhere().is_empty());
    write(
        "  - { match: { name: \"*/onnx\", input: { at_most: 31 } }, tier: static }\n  - { match: { input: { at_most: 32 } }, skip: small }\n",
    );
    let night = scan(at, &hub.address, &[]);
    assert_eq!(outcomes(at), ["acme/damaged error damaged", "acme/onnx left_out", "acme/tensors left_out"], "{}", night.said);
    assert!(hub.seen_elsewhere().is_empty());
    write("  - { match: { input: { at_least: 64, at_most: 32 } }, tier: static }\n");
    let night = scan(at, &hub.address, &[]);
    assert!(night.code == Some(4) && night.errors.contains("no image is larger than `at_least`"), "{}", night.errors);
}

#[test]
fn a_static_look_takes_the_header_and_not_the_weights() {
    let at = folder();
    let at = at.path();
    let tensors = fixture("planted-square.safetensors");
    // Its header leaves a byte over, which is known only by more than the header.
    let damaged = [tensors.clone(), vec![0]].concat();
    let one = |bytes: &[u8]| Model::of(&[("model.safetensors", bytes)]);
    let hub = Hub::start(&[("acme/damaged", one(&damaged)), ("acme/planted", one(&tensors))], Mischief::default());
    scan_file(at, ORGANISATION);
    let night = scan(at, &hub.address, &["--max-bytes", "150KiB"]);
    assert_eq!(night.code, Some(2), "{}{}", night.said, night.errors);
    assert_eq!(outcomes(at), ["acme/damaged error damaged", "acme/planted inspected"]);
    let model = json(&at.join("out/scan.json"))["models"][1].clone();
    assert_eq!(model["summary"].as_str(), Some("its header was read, not its weights; nothing was measured"));
    assert!(model["facts"]["description"].as_str().is_some_and(|text| text.starts_with("safetensors, ")), "{model}");
    let asked: Vec<_> = hub.seen_elsewhere().into_iter().map(|seen| (seen.path.contains("planted"), seen.range)).collect();
    let header = || Some("bytes=0-65535".to_owned());
    assert_eq!(asked, [(false, header()), (false, None), (true, header())]);
    assert!(!at.join("out/downloads").exists());
    // Measured, the whole file is needed, and was not taken from the look at its header.
    let quick = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/quick.yaml");
    let rule = format!("{{ match: {{ name: acme/planted }}, policy: {}, tier: features }}", quick.display());
    file(at, "scan.yaml", format!("version: 1\nname: hub\nsources:\n{ORGANISATION}rules:\n  - {rule}\n").as_bytes());
    assert_eq!(scan(at, &hub.address, &[]).code, Some(1));
    assert_eq!(hub.seen_elsewhere().into_iter().map(|seen| seen.range).collect::<Vec<_>>(), [None]);
    assert_eq!(outcomes(at), ["acme/planted fail", "acme/damaged error no-policy"]);
}

#[test]
fn bytes_that_are_fetched_count() {
    let at = folder();
    let at = at.path();
    let hub = Hub::start(&models(), Mischief::default());
    scan_file(at, "  - hf: { organisation: other }\n");
    let night = scan(at, &hub.address, &["--max-bytes", "1KiB"]);
    assert_eq!((night.code, outcomes(at)), (Some(5), vec!["other/model not_reached".to_owned()]), "{}", night.said);
    assert!(hub.seen_elsewhere().is_empty());
    let text = std::fs::read_to_string(at.join("scan.yaml")).expect("a scan file");
    file(at, "scan.yaml", format!("{text}budget: {{ disk: 1KiB, bandwidth: 100MB }}\n").as_bytes());
    let night = scan(at, &hub.address, &[]);
    assert_eq!((night.code, outcomes(at)), (Some(5), vec!["other/model not_reached".to_owned()]), "{}", night.said);
    assert!(night.said.contains("bytes on the disk, and the budget is 1KiB"), "{}", night.said);
    assert!(hub.seen_elsewhere().is_empty());
    file(at, "scan.yaml", format!("{text}budget: {{ disk: 0B, bandwidth: 1KiB }}\n").as_bytes());
    let night = scan(at, &hub.address, &[]);
    assert_eq!(night.code, Some(4), "{}", night.said);
    assert!(night.errors.contains("`0B` is no size") && night.errors.contains("64KiB a second is the least"), "{}", night.errors);
}
