//! Policies read, and every class of mistake as a user sees it.

use std::path::Path;

use super::{Options, PolicyError, embedded, parse};

/// Files are not looked for, and it is 2026-06-15.
fn options() -> Options {
    Options { files: false, data: None, today: (2026, 6, 15) }
}

/// What a user sees of a policy's mistakes or remarks.
fn shown(text: &str) -> String {
    match parse(text, "policies/mine.yaml", Path::new("."), &options()) {
        Ok((_, remarks)) => crate::diag::render(text, "policies/mine.yaml", &remarks, false),
        Err(PolicyError::Invalid { text, name, diagnostics }) => crate::diag::render(&text, &name, &diagnostics, false),
        Err(error) => error.to_string(),
    }
}

/// A valid policy with one piece replaced.
fn with(from: &str, to: &str) -> String {
    assert!(VALID.contains(from), "{from:?} is not in the valid policy");
    VALID.replacen(from, to, 1)
}

const VALID: &str = r##"version: 1
name: mine
target:
  data: { parquet: "cifar10/{split}-*.parquet" }
  classes: [dog, frog, horse]
  train: { limit: 500, balance: [label] }
transfer:
  fixed_feature: { epochs: 5, learning_rate: 0.1, weight_decay: 5e-4, schedule: cyclic }
  full_network: { epochs: 5, learning_rate: 0.01, schedule: { step: { every: 5, gamma: 0.1 } } }
rules:
  - id: backdoor/square
    probe:
      backdoor:
        trigger: { patch: { size: 0.25, at: top_left, color: "#ffff00" } }
    estimand: attraction
    modes: [fixed_feature, full_network]
    controls: [sham, scratch]
    limit: 0.1
"##;

#[test]
fn embedded_policy_parses() {
    let policy = embedded().unwrap();
    assert_eq!(policy.source, "<embedded>/quick.yaml");
    assert_eq!(policy.limits["backdoor/square"].line, 28);
}

#[test]
fn valid_policy_has_no_remarks() {
    insta::assert_snapshot!(shown(VALID), @"");
}

#[test]
fn try_print() {
    for (from, to) in [
        ("trigger:", "trigers:"),
        ("patch: {", "pach: {"),
        ("parquet:", "paquet:"),
        ("limit: 0.1", "limit: 5"),
        ("schedule: cyclic", "schedule: cyclical"),
        ("epochs: 5", "epochs: ten"),
        ("name: mine", "name: 12"),
        ("gamma: 0.1", "gama: 0.1"),
        ("size: 0.25, ", ""),
        ("estimand: attraction", "estimand: attracton"),
    ] {
        println!("{}", shown(&with(from, to)));
    }
    println!("{}", serde_json::to_string_pretty(super::schema()).unwrap());
}
