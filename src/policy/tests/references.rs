//! `references`, and its earlier form.

use super::*;

/// The earlier form of one reference.
#[test]
fn an_earlier_reference_is_a_list_of_one_with_a_warning() {
    let one = format!("{{ model: trusted.onnx, digest: sha256:{} }}", "0a".repeat(32));
    let read = |field: &str| {
        let text = with("[sham, scratch]", "[sham, reference]") + field;
        parse(&text, "mine.yaml", Path::new("."), &Options { files: false, ..Options::default() }).unwrap()
    };
    let (earlier, remarks) = read(&format!("reference: {one}\n"));
    let (now, none) = read(&format!("references: [{one}]\n"));
    assert_eq!(earlier.file, now.file);
    assert_eq!((remarks.len(), &*remarks[0].code, none.len()), (1, "policy::earlier-form", 0), "{remarks:?}");
}

/// A policy of an earlier release that names a trusted file by BLAKE3.
#[test]
fn a_reference_of_an_earlier_release_gets_the_digest_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [0x08, 7, 0x12, 0];
    std::fs::write(folder.path().join("trusted.onnx"), bytes).unwrap();
    let hints = |digest: &str| -> Vec<String> {
        let text = with("[sham, scratch]", "[sham, reference]") + &format!("references: [{{ model: trusted.onnx, digest: {digest} }}]\n");
        let Err(PolicyError::Invalid { diagnostics, .. }) = parse(&text, "mine.yaml", folder.path(), &Options::default()) else {
            panic!("valid")
        };
        diagnostics.into_iter().filter(|d| d.code == "policy::earlier-digest").filter_map(|d| d.hint).collect()
    };
    let (new, earlier) = (Digest::of(&bytes), Digest::earlier(&bytes));
    assert_eq!(hints(earlier.as_str()), [format!("write `digest: {new}`: it is the same file")]);
    let other = hints(&"0a".repeat(32));
    assert!(other[0].starts_with("trusted.onnx is another file than") && other[0].contains(new.as_str()), "{other:?}");
    std::fs::remove_file(folder.path().join("trusted.onnx")).unwrap();
    assert_eq!(hints(earlier.as_str()), ["write the digest that `heirloom inspect trusted.onnx` prints"]);
    assert_eq!(hints(new.as_str()), [""; 0]);
}
