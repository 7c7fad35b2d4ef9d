//! Requests to object stores. What an address such as `s3://BUCKET/KEY` asks for is signed by the crate `object_store`, which knows where each vendor's
//! credentials are; it is sent, and what comes is believed, as any other request. What a store's credentials are is in no message.

use std::fmt::Write;

use super::Url;
use super::error::{Kind, NetError};

/// A bucket of S3 or Google Cloud Storage, or a container of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// `s3`, `gs` or `az`.
    pub scheme: &'static str,
    /// Its name.
    pub name: String,
    /// Azure's storage account; else as the environment says.
    pub account: Option<String>,
    /// The server; else as the environment says, else the vendor's own.
    pub endpoint: Option<String>,
    /// Where it is; else as the environment says.
    pub region: Option<String>,
    /// Whether it is asked without credentials, whatever the environment has.
    pub anonymous: bool,
}

impl Bucket {
    /// What it is called: `s3://NAME`.
    pub fn address(&self) -> String {
        format!("{}://{}", self.scheme, self.name)
    }
}

/// What is asked of a store.
#[cfg_attr(not(feature = "object-store"), expect(dead_code, reason = "without stores nothing is asked"))]
pub(super) enum Wanted<'a> {
    /// A page of the keys that begin so.
    List { prefix: &'a str, page: Option<&'a str> },
    /// An object from a byte on, in the state of this tag.
    Object { key: &'a str, from: u64, tag: Option<&'a str> },
}

/// The address under which a page of keys is asked for.
pub(crate) fn list_url(bucket: &str, prefix: &str, page: Option<&str>) -> Result<Url, NetError> {
    let mut url = Url::parse(bucket).map_err(|error| NetError::new(Kind::Usage, bucket, error.to_string()))?;
    url.query_pairs_mut().append_pair("prefix", prefix);
    if let Some(page) = page {
        url.query_pairs_mut().append_pair("page", page);
    }
    Ok(url)
}

/// The address of an object.
pub(crate) fn object_url(bucket: &str, key: &str) -> Result<Url, NetError> {
    let mut written = format!("{bucket}/");
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(written, "%{byte:02X}");
        }
    }
    Url::parse(&written).map_err(|error| NetError::new(Kind::Usage, bucket, error.to_string()))
}

/// The key in an object's address.
pub(crate) fn key(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut bytes = Vec::new();
    let mut rest = url.path().strip_prefix('/').unwrap_or_default().bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether an address is one of a store.
pub(super) fn is_store(url: &Url) -> bool {
    ["s3", "gs", "az"].contains(&url.scheme())
}

#[cfg(feature = "object-store")]
pub(crate) use signing::Store;
#[cfg(feature = "object-store")]
mod signing;

#[cfg(not(feature = "object-store"))]
pub(crate) use without::Store;
/// A program without object stores says so.
#[cfg(not(feature = "object-store"))]
mod without {
    use reqwest::header::HeaderMap;

    use super::super::ClientBuilder;
    use super::{Bucket, Kind, NetError, Url, Wanted};

    pub(crate) struct Store;

    impl Store {
        pub fn open(bucket: &Bucket, _: ClientBuilder) -> Result<Self, NetError> {
            let reason = "this heirloom was built without object stores: build it with `--features object-store`";
            Err(NetError::new(Kind::Usage, &bucket.address(), reason))
        }

        pub fn sign(&self, wanted: &Wanted) -> Result<(Url, HeaderMap), NetError> {
            let (Wanted::List { .. } | Wanted::Object { .. }) = wanted;
            Err(NetError::new(Kind::Usage, "object store", "there is none"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_any_key() {
        for text in ["a/b.onnx", "a b/%2F?x=1#y", "ü/+&\u{1F600}", "x/.y/..z"] {
            let url = object_url("s3://models", text).expect("an address");
            assert!(url.query().is_none() && url.fragment().is_none(), "{url}");
            assert_eq!(key(url.as_str()).as_deref(), Some(text));
        }
        assert_eq!(list_url("gs://m", "a b", Some("x/=")).expect("an address").as_str(), "gs://m?prefix=a+b&page=x%2F%3D");
    }
}
