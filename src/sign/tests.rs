//! Keys and envelopes, those among them that are none.

use std::path::{Path, PathBuf};

use super::{Bundle, PrivateKey, PublicKey, SignError, sign, statement};
use crate::report::{Report, SIGNATURE_FILE, samples, write_all};

fn golden(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sign").join(name)).unwrap()
}

fn private() -> PrivateKey {
    PrivateKey::parse(&golden("p256.pem"), "p256.pem").unwrap()
}

fn public(name: &str) -> PublicKey {
    PublicKey::parse(&golden(name), name).unwrap()
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    write_all(&samples::fail(), &samples::measurements(), &[], folder.path()).unwrap();
    let place = folder.path().join(SIGNATURE_FILE);
    (folder, place)
}

#[test]
fn what_openssl_signed_holds() {
    let bundle = Bundle::parse(golden("signed.json").as_bytes(), "signed.json".as_ref()).unwrap();
    assert!(bundle.holds(&public("p256.pub")) && !bundle.holds(&public("other.pub")));
    assert_eq!(bundle.statement("signed.json".as_ref()).unwrap().digest_of("report.json"), Some("00"));
    assert!(bundle.hint().is_none() && !bundle.is_keyless());
}

#[test]
fn a_report_is_signed_and_equal_reports_equally() {
    let (folder, place) = written();
    let (bundle, written_to) = sign(folder.path(), &private()).unwrap();
    assert_eq!(written_to, place);
    let first = std::fs::read(&place).unwrap();
    sign(&folder.path().join("report.json"), &private()).unwrap();
    assert_eq!(std::fs::read(&place).unwrap(), first);
    let read = super::read(&place).unwrap();
    assert!(read.holds(&public("p256.pub")) && !read.holds(&public("other.pub")));
    // As `model_signing` has it: the SHA-256 of the key's PEM.
    assert_eq!(bundle.hint(), Some(crate::store::Digest::of(golden("p256.pub").as_bytes()).digits()));
    let said = statement(folder.path()).unwrap();
    let names: Vec<&str> = said.subject.iter().map(|subject| subject.name.as_str()).collect();
    assert_eq!(names, ["report.json", "measurements.json.gz", "model/release.onnx"]);
    assert_eq!(said.predicate["result"], "FAILED");
    assert_eq!(said.predicate["failedTests"], serde_json::json!(["backdoor/square@fixed_feature"]));
    assert_eq!(said.predicate["warnedTests"], serde_json::json!(["backdoor/hat@fixed_feature"]));
    // No report is signed with measurements of another one.
    let mut others = samples::measurements();
    others[0].outcomes[0].changed[0] = 0;
    let (other, _) = written();
    write_all(&samples::fail(), &others, &[], other.path()).unwrap();
    std::fs::copy(other.path().join("measurements.json.gz"), folder.path().join("measurements.json.gz")).unwrap();
    assert!(sign(folder.path(), &private()).unwrap_err().to_string().contains("is not what"));
}

#[test]
fn a_key_of_ed25519_signs_too() {
    let (folder, place) = written();
    let key = PrivateKey::parse(&golden("ed25519.pem"), "ed25519.pem").unwrap();
    let public_key = public("ed25519.pub");
    assert!(key.public() == public_key);
    let (bundle, _) = sign(folder.path(), &key).unwrap();
    // As openssl writes the public key.
    assert_eq!(bundle.hint(), Some(crate::store::Digest::of(golden("ed25519.pub").as_bytes()).digits()));
    let read = super::read(&place).unwrap();
    assert!(read.holds(&public_key) && !read.holds(&public("p256.pub")));
    // What is no signature is by no key.
    assert!(!public_key.holds(b"", &[0; 64]) && !public_key.holds(b"", b"") && public_key.holds(b"x", &key.sign(b"x")));
    let cut = golden("ed25519.pub").replacen("MCow", "MCkw", 1);
    assert!(PublicKey::parse(&cut, "cut").unwrap_err().to_string().contains("cut off or damaged"));
}

#[test]
fn a_new_report_has_no_old_signature() {
    let (folder, place) = written();
    sign(folder.path(), &private()).unwrap();
    write_all(&samples::pass(), &samples::measurements(), &[], folder.path()).unwrap();
    assert!(!place.exists() && Report::read(folder.path()).is_ok());
    sign(folder.path(), &private()).unwrap();
    crate::report::begin(&samples::incomplete()[0], folder.path()).unwrap();
    assert!(!place.exists());
}

#[test]
fn other_keys_are_refused_by_their_name() {
    let cut: String = golden("p256.pem").chars().take(120).collect();
    let flipped = golden("p256.pem").replacen("MIG", "MIH", 1);
    let private: Vec<(String, &str)> = vec![
        (golden("rsa.pem"), "is a key of RSA"),
        (golden("p384.pem"), "is a key of ECDSA P-384"),
        (golden("locked.pem"), "is locked with a password"),
        (golden("sec1.pem"), "in its older form (SEC 1)"),
        (golden("p256.pub"), "is a public key"),
        (cut, "is cut off or damaged"),
        (flipped, "is cut off or damaged"),
        ("secret".to_owned(), "is no key in PEM"),
        (String::new(), "is no key in PEM"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n".to_owned(), "a key of SSH"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), "something else than a private key"),
    ];
    for (pem, wanted) in private {
        let error = PrivateKey::parse(&pem, "key.pem").unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(error.to_string().starts_with("key.pem ") && told.contains(wanted) && told.lines().count() == 1, "{wanted}: {told}");
        // No line of a key is told.
        assert!(pem.lines().filter(|line| line.len() > 30).all(|line| !told.contains(line)), "{told}");
    }
    for (name, wanted) in [
        ("rsa.pub", "is a key of RSA"),
        ("p384.pub", "is a key of ECDSA P-384"),
        ("p256.pem", "is a private key"),
        ("make.sh", "is no key in PEM"),
    ] {
        let error = PublicKey::parse(&golden(name), name).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("MI"), "{name}: {error}");
    }
    let shown = format!("{:?}", super::tests::private());
    assert!(
        shown.contains("sha256:") && golden("p256.pem").lines().skip(1).all(|line| line.starts_with('-') || !shown.contains(line)),
        "{shown}"
    );
}

#[test]
fn what_is_no_signature_says_why() {
    let (folder, place) = written();
    sign(folder.path(), &private()).unwrap();
    let whole = std::fs::read_to_string(&place).unwrap();
    let refused = |text: &[u8], wanted: &str| {
        std::fs::write(&place, text).unwrap();
        let error = super::read(&place).and_then(|bundle| bundle.statement(&place)).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(wanted) && told.contains(SIGNATURE_FILE) && told.lines().count() == 1, "{wanted}: {told}");
        assert!(matches!(error, SignError::Envelope { .. } | SignError::TooLarge { .. }));
    };
    refused(&whole.as_bytes()[..whole.len() / 2], "it ends early");
    refused(b"", "it ends early");
    refused(b"{}", "missing field");
    refused(&[0xff, 0xfe], "expected value");
    refused(whole.replace("application/vnd.in-toto+json", "text/plain").as_bytes(), "not an in-toto statement");
    refused(br#"{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": []}"#, "holds no signature");
    refused(br#"{"payload": "!", "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": ""}]}"#, "no base64");
    refused(br#"{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": ""}]}"#, "no in-toto statement");
    let many = format!(
        r#"{{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [{}]}}"#,
        vec![r#"{"sig": ""}"#; 17].join(",")
    );
    refused(many.as_bytes(), "17 signatures");
    refused(&vec![b' '; 5 << 20], "holds more than 4 MiB");
    refused("[".repeat(100_000).as_bytes(), "recursion limit");
    std::fs::remove_file(&place).unwrap();
    assert!(matches!(super::read(&place), Err(SignError::Read { .. })));
}
