//! Keys: ECDSA P-256 and Ed25519 in PEM, a private one as PKCS#8. Whatever else somebody hands over is refused by its name.

use std::fmt;

use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::der::Decode;
use p256::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePublicKey, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef, der,
};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::SignError;
use crate::store::Digest;

/// Most characters of a key that are read.
const MOST: usize = 1 << 16;

/// Bytes of a public key of Ed25519.
const ED25519_BYTES: usize = 32;
/// What stands before them in a `SubjectPublicKeyInfo` (RFC 8410).
const ED25519_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const MAKE: &str = "make one: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem`, and its public part: \
                    `openssl pkey -in key.pem -pubout -out key.pub`";
const PUBLIC: &str = "write the public part of the key: `openssl pkey -in key.pem -pubout -out key.pub`";
const PLAIN: &str = "write it without a password, and keep that file secret: `openssl pkcs8 -topk8 -nocrypt -in key.pem -out plain.pem`; or hand it over in \
                     an environment variable: `--key env:NAME`";
const CONVERT: &str = "bring it into PKCS#8: `openssl pkcs8 -topk8 -nocrypt -in key.pem -out pkcs8.pem`";
const AGAIN: &str = "copy the key again, with its first and its last line";

/// What to sign with. Nothing shows it: neither `Debug`, nor an error.
pub struct PrivateKey(Private);

enum Private {
    P256(SigningKey),
    Ed25519(Ed25519KeyPair),
}

/// What to check a signature with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Clone, PartialEq, Eq)]
enum Public {
    P256(VerifyingKey),
    /// The 32 bytes of RFC 8032.
    Ed25519([u8; ED25519_BYTES]),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.public())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.digest().map_or_else(|| "?".to_owned(), |digest| digest.to_string()))
    }
}

impl PrivateKey {
    /// A key in PEM; `name` says where it came from.
    pub fn parse(pem: &str, name: &str) -> Result<Self, SignError> {
        let refused = |reason: &str, hint| Err(SignError::Key { name: name.to_owned(), reason: reason.to_owned(), hint });
        match label(pem) {
            Some("PRIVATE KEY") => {}
            Some(label) if label.starts_with("ENCRYPTED") => {
                return refused("is locked with a password, which heirloom does not ask for", PLAIN);
            }
            Some("EC PRIVATE KEY") if pem.contains("ENCRYPTED") => {
                return refused("is locked with a password, which heirloom does not ask for", PLAIN);
            }
            Some("EC PRIVATE KEY" | "EC PARAMETERS") => return refused("is an EC key in its older form (SEC 1), not PKCS#8", CONVERT),
            Some("PUBLIC KEY") => return refused("is a public key: signing takes the private one", MAKE),
            Some("RSA PRIVATE KEY") => return refused("is an RSA key: reports are signed with ECDSA P-256 or Ed25519", MAKE),
            Some("OPENSSH PRIVATE KEY") => {
                return refused("is a key of SSH: reports are signed with ECDSA P-256 or Ed25519 in PKCS#8", MAKE);
            }
            Some(_) => return refused("is PEM of something else than a private key", MAKE),
            None => return refused("is no key in PEM (`-----BEGIN PRIVATE KEY-----`)", MAKE),
        }
        if let Ok(key) = SigningKey::from_pkcs8_pem(pem.trim()) {
            return Ok(Self(Private::P256(key)));
        }
        // What openssl writes does not hold the public part, which is made anew.
        if let Some(key) = document(pem).and_then(|bytes| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes).ok()) {
            return Ok(Self(Private::Ed25519(key)));
        }
        let kind = document(pem).and_then(|bytes| {
            let info = PrivateKeyInfoRef::from_der(&bytes).ok()?;
            Some(kind(info.algorithm.oid, info.algorithm.parameters_oid().ok()))
        });
        match kind {
            Some(kind) if kind != P256 && kind != ED25519_NAME => {
                refused(&format!("is a key of {kind}: reports are signed with ECDSA P-256 or Ed25519"), MAKE)
            }
            _ => refused("cannot be read: it is cut off or damaged", AGAIN),
        }
    }

    /// Its public part.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Private::P256(key) => Public::P256(*key.verifying_key()),
            // Ring has the key's 32 bytes as a slice.
            Private::Ed25519(key) => Public::Ed25519(key.public_key().as_ref().try_into().unwrap_or_default()),
        })
    }

    /// Signs bytes: the same key and bytes give the same signature, of ECDSA (RFC 6979) in DER, of Ed25519 as its 64 bytes.
    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        match &self.0 {
            Private::P256(key) => {
                let signature: Signature = key.sign(bytes);
                signature.to_der().as_bytes().to_vec()
            }
            Private::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
        }
    }
}

impl PublicKey {
    /// A key in PEM; `name` says where it came from.
    pub fn parse(pem: &str, name: &str) -> Result<Self, SignError> {
        let refused = |reason: &str, hint| Err(SignError::Key { name: name.to_owned(), reason: reason.to_owned(), hint });
        match label(pem) {
            Some("PUBLIC KEY") => {}
            Some(label) if label.ends_with("PRIVATE KEY") => {
                return refused("is a private key: a signature is checked with the public one", PUBLIC);
            }
            Some("CERTIFICATE") => {
                return refused("is a certificate: give the public key in it", "`openssl x509 -in cert.pem -pubkey -noout > key.pub`");
            }
            Some(_) => return refused("is PEM of something else than a public key", PUBLIC),
            None => return refused("is no key in PEM (`-----BEGIN PUBLIC KEY-----`)", PUBLIC),
        }
        if let Ok(key) = VerifyingKey::from_public_key_pem(pem.trim()) {
            return Ok(Self(Public::P256(key)));
        }
        let ed25519 = |bytes: Vec<u8>| bytes.strip_prefix(&ED25519_HEAD).and_then(|bytes| bytes.try_into().ok());
        if let Some(key) = document(pem).and_then(ed25519) {
            return Ok(Self(Public::Ed25519(key)));
        }
        let kind = document(pem).and_then(|bytes| {
            let info = SubjectPublicKeyInfoRef::from_der(&bytes).ok()?;
            Some(kind(info.algorithm.oid, info.algorithm.parameters_oid().ok()))
        });
        match kind {
            Some(kind) if kind != P256 && kind != ED25519_NAME => {
                refused(&format!("is a key of {kind}: reports are signed with ECDSA P-256 or Ed25519"), PUBLIC)
            }
            _ => refused("cannot be read: it is cut off or damaged", AGAIN),
        }
    }

    /// What it is known by: the SHA-256 of its PEM, as `model_signing` has it in the hint of a bundle.
    pub fn digest(&self) -> Option<Digest> {
        let pem = match &self.0 {
            Public::P256(key) => key.to_public_key_pem(LineEnding::LF).ok()?,
            Public::Ed25519(key) => der::pem::encode_string("PUBLIC KEY", LineEnding::LF, &[&ED25519_HEAD[..], key].concat()).ok()?,
        };
        Some(Digest::of(pem.as_bytes()))
    }

    /// Whether a signature (of ECDSA in DER) is of these bytes, by this key.
    pub(super) fn holds(&self, bytes: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Public::P256(key) => Signature::from_der(signature).is_ok_and(|signature| key.verify(bytes, &signature).is_ok()),
            Public::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(bytes, signature).is_ok(),
        }
    }
}

/// What the first line of a PEM file says it is.
fn label(pem: &str) -> Option<&str> {
    let pem = pem.trim_start().get(..MOST).unwrap_or(pem.trim_start());
    pem.lines().find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
}

/// The bytes of a PEM file.
fn document(pem: &str) -> Option<Vec<u8>> {
    der::pem::decode_vec(pem.trim().as_bytes()).ok().map(|(_, bytes)| bytes)
}

const P256: &str = "ECDSA P-256";
const ED25519_NAME: &str = "Ed25519";

/// What a key is for, by the numbers in it.
fn kind(algorithm: ObjectIdentifier, curve: Option<ObjectIdentifier>) -> String {
    let named = match (algorithm.to_string().as_str(), curve.map(|curve| curve.to_string()).as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => P256,
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "ECDSA P-384",
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "ECDSA P-521",
        ("1.2.840.10045.2.1", Some("1.3.132.0.10")) => "ECDSA secp256k1",
        ("1.2.840.10045.2.1", _) => "ECDSA over another curve",
        ("1.3.101.112", _) => ED25519_NAME,
        ("1.3.101.113", _) => "Ed448",
        ("1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10", _) => "RSA",
        (other, _) => return format!("another kind ({other})"),
    };
    named.to_owned()
}
