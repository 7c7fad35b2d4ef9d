//! What measurements are called, against what `tests/golden/identities/make.py` computes.

use std::path::Path;

use super::resolve;
use crate::policy::{self, Options, Policy, parse};
use crate::probe::Arm;
use crate::store::golden;
use crate::tune::Mode;

const POLICY: &str = include_str!("../../tests/golden/identities/policy.yaml");

fn policy(text: &str) -> Policy {
    parse(text, "policy.yaml", Path::new("."), &Options { files: false, ..Options::default() }).unwrap().0
}

#[test]
fn measurements_are_called_as_the_script_calls_them() {
    let policy = policy(POLICY);
    let resolved = resolve(&policy);
    let mut asked = 0;
    for rule in &policy.rules {
        for mode in [Mode::FixedFeature, Mode::FullNetwork] {
            for arm in [Arm::Source, Arm::Scratch, Arm::Reference(0)] {
                let name = format!("{}@{mode}/{}", rule.id, arm);
                let expected = golden(&name);
                if expected.len() == 64 {
                    assert_eq!(resolved.measurement_id(rule, arm, mode).digits(), expected, "{name}");
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(asked, 24);
}

#[test]
fn a_salt_is_part_of_what_a_measurement_is_called() {
    let salted = |salt: policy::ReadVariable| {
        let options = Options { files: false, salt: Some(salt), ..Options::default() };
        let policy = parse(&format!("{POLICY}salt_env: SALT\n"), "policy.yaml", Path::new("."), &options).unwrap().0;
        let resolved = resolve(&policy);
        let rule = policy.rules.iter().find(|rule| rule.id == "patch").unwrap();
        (policy.seed.salt().cloned(), resolved.measurement_id(rule, Arm::Source, Mode::FixedFeature))
    };
    let (salt, patch) = salted(|_| Ok("0123456789abcdef".into()));
    assert_eq!((salt.unwrap().digits(), patch.digits()), (golden("salt"), golden("salted patch")));
    // As the variable stands in a file.
    assert_eq!(salted(|_| Ok(" 0123456789abcdef\r\n".into())).1, patch);
    assert_ne!(salted(|_| Ok("0123456789abcdeg".into())).1, patch);
}

#[test]
fn whatever_changes_a_measurement_changes_its_name_and_nothing_else_does() {
    let of = |text: &str| {
        let policy = policy(text);
        let resolved = resolve(&policy);
        resolved.questions.iter().map(|asked| resolved.measurement_id(asked.rule, Arm::Source, asked.mode)).collect::<Vec<_>>()
    };
    let names = of(POLICY);
    for (old, new) in [
        ("seed: 3\nref", "seed: 4\nref"),
        ("[dog, frog]", "[dog, cat]"),
        ("  cluster: person\n", ""),
        ("train: { limit: 500", "train: { limit: 501"),
        ("test: { limit: 300 }", "test: { limit: 301 }"),
        ("mean: [0.5,", "mean: [0.25,"),
    ] {
        let policy =
            POLICY.replace(old, new).replace("dog: f, frog: m", if new.contains("cat") { "dog: f, cat: m" } else { "dog: f, frog: m" });
        assert!(of(&policy).iter().zip(&names).all(|(a, b)| a != b), "{new}");
    }
    // Where the data lie, whom the model is compared with, and what is accepted.
    for (old, new) in [
        ("cifar10/{split}-*", "elsewhere/{split}-*"),
        ("people.csv", "others.csv"),
        ("limit: 0.5", "limit: 0.4"),
        ("controls: [sham, scratch, reference]", "controls: [sham, reference]"),
        ("name: identities", "name: others"),
        ("trusted.onnx", "moved.onnx"),
        ("ba7816bf", "00000000"),
        ("epochs: 9", "epochs: 8"),
    ] {
        assert!(POLICY.contains(old), "{old}");
        assert_eq!(of(&POLICY.replace(old, new)), names, "{new}");
    }
    // One recipe.
    let changed = of(&POLICY.replace("fixed_feature: { epochs: 5", "fixed_feature: { epochs: 6"));
    let modes: Vec<bool> = changed.iter().zip(&names).map(|(a, b)| a == b).collect();
    assert_eq!(modes.iter().filter(|same| **same).count(), 1, "the full network of one rule");
}
