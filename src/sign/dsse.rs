//! The envelope (DSSE 1.0) and the Sigstore bundle around it.

use std::path::Path;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use super::{PrivateKey, PublicKey, SignError, Statement};

/// What the payload of an envelope is.
const PAYLOAD: &str = "application/vnd.in-toto+json";
/// The layout of the bundle, as `model_signing` 1.1 and cosign read it.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Most signatures of one envelope that are tried.
const MOST_SIGNATURES: usize = 16;

/// A signed statement. Fields of a bundle that are not read (a certificate, entries of a log) are kept out: who needs them has tools for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<Hint>,
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
    /// There where it was signed without a key of one's own.
    #[serde(default, skip_serializing)]
    certificate: Option<serde_json::Value>,
    #[serde(default, skip_serializing)]
    x509_certificate_chain: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Signed {
    sig: String,
    #[serde(default)]
    keyid: String,
}

/// What is signed: the payload with its type, and the length of both (DSSE's pre-authentication encoding).
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

impl Bundle {
    /// Signs a statement.
    pub(super) fn sign(statement: &Statement, key: &PrivateKey) -> Result<Self, SignError> {
        let payload = serde_json::to_vec(statement)?;
        let sig = Base64::encode_string(&key.sign(&encoded(PAYLOAD, &payload)));
        let hint = key.public().digest().map(|digest| Hint { hint: digest.digits().to_owned() });
        Ok(Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material { public_key: hint, ..Material::default() },
            dsse_envelope: Envelope {
                payload: Base64::encode_string(&payload),
                payload_type: PAYLOAD.to_owned(),
                signatures: vec![Signed { sig, keyid: String::new() }],
            },
        })
    }

    /// The bundle as JSON with a final line break.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, SignError> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// A bundle from the bytes of the file `path`, or a bare envelope.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, SignError> {
        let wrong = |reason: String| SignError::Envelope { path: path.to_owned(), reason };
        let told = |error: &serde_json::Error| {
            if error.is_eof() { "it ends early: it was cut off while it was copied".to_owned() } else { error.to_string() }
        };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| wrong(told(&error)))?;
        let bare = value.get("payloadType").is_some();
        let bundle = if bare {
            let envelope = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
            Self { media_type: MEDIA_TYPE.to_owned(), verification_material: Material::default(), dsse_envelope: envelope }
        } else {
            serde_json::from_value::<Self>(value).map_err(|error| wrong(error.to_string()))?
        };
        let Envelope { payload_type, signatures, .. } = &bundle.dsse_envelope;
        if payload_type != PAYLOAD {
            return Err(wrong(format!("it holds {payload_type:?}, not an in-toto statement ({PAYLOAD})")));
        }
        match signatures.len() {
            0 => Err(wrong("it holds no signature".to_owned())),
            1..=MOST_SIGNATURES => Ok(bundle),
            many => Err(wrong(format!("it holds {many} signatures, more than {MOST_SIGNATURES}"))),
        }
    }

    /// The statement, whoever signed it.
    pub(crate) fn statement(&self, path: &Path) -> Result<Statement, SignError> {
        let wrong = |reason: String| SignError::Envelope { path: path.to_owned(), reason };
        let payload = Base64::decode_vec(&self.dsse_envelope.payload).map_err(|_| wrong("its payload is no base64".to_owned()))?;
        serde_json::from_slice(&payload).map_err(|error| wrong(format!("its payload is no in-toto statement: {error}")))
    }

    /// Whether this key signed it.
    pub(crate) fn holds(&self, key: &PublicKey) -> bool {
        let Ok(payload) = Base64::decode_vec(&self.dsse_envelope.payload) else { return false };
        let bytes = encoded(&self.dsse_envelope.payload_type, &payload);
        let by_key = |signed: &Signed| Base64::decode_vec(&signed.sig).is_ok_and(|signature| key.holds(&bytes, &signature));
        self.dsse_envelope.signatures.iter().any(by_key)
    }

    /// What the bundle says of the key: the SHA-256 of its PEM, in hexadecimal. Not believed, only told.
    pub fn hint(&self) -> Option<&str> {
        self.verification_material.public_key.as_ref().map(|key| key.hint.as_str()).filter(|hint| !hint.is_empty())
    }

    /// Whether it was signed by a certificate, as `actions/attest` and `cosign sign` without a key do.
    pub(crate) fn is_keyless(&self) -> bool {
        let Material { certificate, x509_certificate_chain, .. } = &self.verification_material;
        certificate.is_some() || x509_certificate_chain.is_some()
    }
}
