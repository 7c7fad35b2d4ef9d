//! Policies, and specifications of what to plant.

use super::{clean_model, folder, names, refused};
use crate::run::{file, heirloom};

#[test]
fn a_policy_with_many_mistakes_shows_them_all() {
    let folder = folder();
    let text = "version: 2\nname: ''\ntarget: { data: { embeded: fashion } }\ntransfer: {}\nrules: []\nfail_on: hihg\n";
    let policy = file(folder.path(), "policy.yaml", text.as_bytes());
    let said = ["policy.yaml:1:", "policy.yaml:2:", "`embedded`", "`high`", "5 errors. Nothing was run."];
    let message = refused(&heirloom(&["validate", &policy]), 4, &said);
    assert_eq!(message.matches("error[policy::").count(), 5, "{message}");
    refused(&heirloom(&["certify", &clean_model(), "--policy", &policy]), 4, &said);
}

#[test]
fn a_policy_that_is_too_large() {
    let folder = folder();
    let policy = file(folder.path(), "policy.yaml", &vec![b'#'; (1 << 20) + 1]);
    for arguments in [&["validate", &policy][..], &["plan", &clean_model(), "--policy", &policy]] {
        refused(&heirloom(arguments), 4, &["policy.yaml is larger than 1 MiB"]);
    }
}

#[test]
fn a_policy_that_is_no_text() {
    let folder = folder();
    let policy = file(folder.path(), "policy.yaml", b"version: 1\nname: \xff\xfe\n");
    refused(&heirloom(&["validate", &policy]), 4, &["policy.yaml:2:7", "save the file as UTF-8"]);
}

#[test]
fn a_policy_whose_files_are_missing() {
    let folder = folder();
    let policy = super::policy(folder.path(), r#"{ data: { parquet: "none-{split}.parquet" } }"#);
    let said = ["none-train.parquet", "none-test.parquet", "paths start from the policy's folder", "2 errors. Nothing was run."];
    refused(&heirloom(&["plan", &clean_model(), "--policy", &policy]), 4, &said);
}

#[test]
fn a_trigger_picture_that_is_none() {
    let folder = folder();
    file(folder.path(), "square.png", b"\x89PNG\r\n\x1a\n and nothing more");
    let policy = super::policy(folder.path(), "{ data: { embedded: fashion } }");
    let text = std::fs::read_to_string(&policy).expect("a policy").replace("color: \"#ffff00\"", "image: square.png");
    let policy = file(folder.path(), "policy.yaml", text.as_bytes());
    refused(&heirloom(&["validate", &policy]), 4, &["policy.yaml:10:", "square.png: cannot be decoded", "give a PNG, JPEG or WebP"]);
}

#[test]
fn a_specification_of_what_to_plant_that_cannot_be_read() {
    let folder = folder();
    let output = folder.path().join("models");
    let good = std::fs::read_to_string(super::fixture("plant/square.yaml")).expect("the fixture");
    let good = good.replace("../data/", &format!("{}/", super::fixture("data").display()));
    for (text, said) in [
        ("version: 1\nname: [".to_owned(), "line 2"),
        (good.replace("recipe:", "recip:"), "recip"),
        (good.replace("version: 1", "version: 2"), "version 2 is not known"),
        (good.replace("[Trouser]", "[Trousers]"), "there is no class `Trousers`"),
        (good.replace("resnet-cifar-8", "resnet-cifar-9"), "resnet-cifar-9"),
    ] {
        let spec = file(folder.path(), "spec.yaml", text.as_bytes());
        refused(&heirloom(&["plant", &spec, "--output", &output.display().to_string()]), 4, &["spec.yaml", said]);
        assert!(!output.exists() || names(&output).is_empty());
    }
}
