//! `references`, and its earlier form.

use super::*;

/// The earlier form of one reference.
#[test]
fn an_earlier_reference_is_a_list_of_one_with_a_warning() {
    let one = format!("{{ model: trusted.onnx, digest: sha256:{} }}", "0a".repeat(32));
    let read = |field: &str| {
        let text = with("[sham, scratch]", "[sham, reference]").replace("limit: 0.1", "limit: 0.15") + field;
        parse(&text, "mine.yaml", Path::new("."), &Options { files: false, ..Options::default() }).unwrap()
    };
    let (earlier, remarks) = read(&format!("reference: {one}\n"));
    let (now, none) = read(&format!("references: [{one}]\n"));
    assert_eq!(earlier.file, now.file);
    assert_eq!((remarks.len(), &*remarks[0].code, none.len()), (1, "policy::earlier-form", 0), "{remarks:?}");
}

/// Innocents of the prior, which differ by 0.06, lie 0.085 from one reference, 0.068 from the median of five and 0.066 from that of six: two thirds of the
/// limit are 0.067.
#[test]
fn references_that_are_too_few_for_a_limit_are_said() {
    let remarks = |from: (&str, &str), references: usize| -> Vec<(String, String)> {
        let one = |nth: usize| format!("  - {{ model: {nth}.onnx, digest: sha256:{nth:064} }}\n");
        let text = with("[sham, scratch]", "[sham, reference]").replace(from.0, from.1)
            + "references:\n"
            + &(0..references).map(one).collect::<String>();
        let (_, remarks) = parse(&text, "mine.yaml", Path::new("."), &Options { files: false, ..Options::default() }).unwrap();
        remarks.into_iter().map(|remark| (remark.message, remark.hint.unwrap_or_default())).collect()
    };
    let none = ("limit: 0.1", "limit: 0.1");
    let one = remarks(none, 1);
    assert!(
        one[0].0.starts_with("1 of them is too few for the rule `backdoor/square`: as innocent networks usually differ, a source passes"),
        "{one:?}"
    );
    assert_eq!((one.len(), &*one[0].1), (1, "name 6"));
    assert!(remarks(none, 6).is_empty());
    assert!(remarks(("limit: 0.1", "limit: 0.15"), 1).is_empty());
    let tight = remarks(("limit: 0.1", "limit: 0.05"), 20);
    assert_eq!((tight.len(), &*tight[0].1), (1, "usually no number of references suffices at `limit: 0.05`: give 0.10 or more"));
    let rule = |size: f64, limit: f64| {
        let probe = format!("patch: {{ size: {size}, at: top_left, color: \"#ffff00\" }} }}\n    estimand: attraction\n");
        format!("{probe}    modes: [fixed_feature, full_network]\n    controls: [sham, reference]\n    limit: {limit}")
    };
    assert!(remarks((&rule(0.25, 0.1), &rule(0.125, 0.05)), 1).is_empty(), "of small patches more is known");
    let blend = ("patch: { size: 0.25, at: top_left, color: \"#ffff00\" }", "blend: { opacity: 0.1, seed: 1 }");
    let whole = remarks(blend, 2);
    assert!(whole[0].0.contains("2 of them are too few") && whole[0].0.contains("above its shams too"), "{whole:?}");
    assert_eq!((whole.len(), &*whole[0].1), (1, "name 3 or more of the source's architecture and accuracy"));
    assert!(remarks(blend, 3).is_empty());
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
