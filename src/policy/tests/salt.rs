//! `salt_env`: who reads the salt, and what is said where it is none.

use std::env::VarError;

use super::*;
use crate::policy::{Policy, ReadVariable};

fn read(salt: Option<ReadVariable>) -> Result<Policy, PolicyError> {
    let text = with("name: mine\n", "name: mine\nsalt_env: HEIRLOOM_SALT\n");
    parse(&text, "policies/mine.yaml", Path::new("."), &Options { salt, ..options() }).map(|(policy, _)| policy)
}

#[test]
fn a_variable_that_holds_no_salt_is_named_and_never_shown() {
    let values: [ReadVariable; 5] = [
        |_| Err(VarError::NotPresent),
        |_| Ok(String::new()),
        |_| Ok(" \n".into()),
        |_| Ok("too-short-secret".chars().skip(1).collect()),
        |_| Err(VarError::NotUnicode("secret".into())),
    ];
    let said = values.map(|value| match read(Some(value)) {
        Err(PolicyError::Invalid { text, name, diagnostics, .. }) => crate::diag::render(&text, &name, &diagnostics, false),
        other => panic!("{other:?}"),
    });
    insta::assert_snapshot!("salt_is_none", said.join("\n\n"));
    assert!(said.iter().all(|said| !said.contains("oo-short-secret")));
}

#[test]
fn the_seed_of_images_stays_and_the_seed_of_all_else_is_a_secret() {
    let salted = read(Some(|name| Ok(format!("{name}-0123456789")))).unwrap();
    assert_eq!(salted.file.seed, 0);
    assert_ne!(salted.seed.value(), 0);
    let shown = format!("{salted:?}");
    assert!(!shown.contains("0123456789") && !shown.contains(&salted.seed.value().to_string()), "{shown}");
    let other = read(Some(|_| Ok("another-0123456789".into()))).unwrap();
    assert_ne!(salted.seed.value(), other.seed.value());
    assert_ne!(salted.fingerprint(), other.fingerprint());
    // Only its form.
    assert!(read(None).unwrap().seed.is_unread());
}
