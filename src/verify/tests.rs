//! Reports that need no certification. Whole reports, and every edit of one, are in `tests/it/evidence.rs`.

use super::{Options, State, verify};
use crate::report::{Report, samples, write_all};

#[test]
fn a_report_without_its_policy_is_not_called_sound() {
    let folder = tempfile::tempdir().unwrap();
    write_all(&samples::fail(), &samples::measurements(), &[], folder.path()).unwrap();
    let found = verify(folder.path(), &Options::default()).unwrap();
    assert_eq!((found.exit_code, found.differences.len(), found.signed), (5, 0, false));
    let numbers = found.checks.iter().find(|check| check.what == "numbers").unwrap();
    assert!(numbers.state == State::NotChecked && numbers.detail.contains("--policy FILE"), "{numbers:?}");
    let files = found.checks.iter().find(|check| check.what == "files").unwrap();
    assert_eq!(files.state, State::Same);
}

#[test]
fn a_text_that_is_not_of_its_digest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = samples::fail();
    report.policy.text = Some("version: 1\n".to_owned());
    write_all(&report, &samples::measurements(), &[], folder.path()).unwrap();
    let found = verify(folder.path(), &Options::default()).unwrap();
    assert_eq!((found.exit_code, found.differences[0].at.as_str()), (1, "/policy/digest"));
    assert!(Report::read(folder.path()).is_ok());
}

#[test]
fn the_same_values_in_another_layout_are_told() {
    let folder = tempfile::tempdir().unwrap();
    write_all(&samples::fail(), &samples::measurements(), &[], folder.path()).unwrap();
    let path = folder.path().join("report.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("  \"schema\"", "   \"schema\"", 1)).unwrap();
    let found = verify(folder.path(), &Options::default()).unwrap();
    assert!(found.exit_code == 1 && found.differences[0].at.is_empty(), "{found:?}");
    // A field that nobody reads.
    std::fs::write(&path, text.replacen("\"probe\": \"backdoor\",", "\"probe\": \"backdoor\", \"remark\": \"sound\",", 1)).unwrap();
    let found = verify(folder.path(), &Options::default()).unwrap();
    assert_eq!(found.differences[0].at, "/findings/0/remark");
}
