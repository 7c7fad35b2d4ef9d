//! A model on a server as a command names it: `hf://OWNER/NAME@REVISION/FILE` of the hub, `s3://BUCKET/KEY` and the like of an object store.

use super::hub::{is_name, is_revision};
use super::remote::{SCHEME, is_below};
use crate::net::Bucket;

/// What addresses of object stores begin with.
const STORES: [&str; 3] = ["s3", "gs", "az"];

/// A model on a server, or one of its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub(super) Named);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// On the hub.
    Hub {
        /// `OWNER/NAME`.
        name: String,
        /// A branch, tag or commit.
        revision: String,
        /// The checkpoint among its files.
        file: Option<String>,
    },
    /// In an object store.
    Object {
        bucket: Bucket,
        /// The checkpoint's key, or a folder that holds it.
        key: String,
    },
}

/// Whether a text is meant as an address of a model, rather than a path.
pub fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| scheme == SCHEME.trim_end_matches("://") || STORES.contains(&scheme))
}

impl Address {
    /// Reads `hf://OWNER/NAME`, with `@REVISION` and `/FILE` after it where they are wanted. In a revision `%2F` stands for `/`. Or reads
    /// `s3://BUCKET/KEY`, `gs://BUCKET/KEY` or `az://CONTAINER/KEY`, where the key is written as it is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let usual = || "write hf://OWNER/NAME, hf://OWNER/NAME@REVISION or hf://OWNER/NAME@REVISION/FILE".to_owned();
        for scheme in STORES {
            let Some(rest) = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else { continue };
            return object(scheme, rest)
                .ok_or_else(|| format!("write {scheme}://BUCKET/KEY, such as {scheme}://models/vit/model.safetensors"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(usual)?;
        let (owner, rest) = rest.split_once('/').ok_or_else(usual)?;
        let (named, file) = rest.split_once('/').map_or((rest, None), |(named, file)| (named, Some(file)));
        let (name, revision) = named.split_once('@').map_or((named, None), |(name, revision)| (name, Some(revision)));
        let name = format!("{owner}/{name}");
        let revision = revision.map_or_else(|| "main".to_owned(), |revision| revision.replace("%2F", "/").replace("%2f", "/"));
        let file = file.filter(|file| !file.is_empty()).map(str::to_owned);
        if !is_name(&name) || !is_revision(&revision) || file.as_deref().is_some_and(|file| !is_below(file)) {
            return Err(usual());
        }
        Ok(Self(Named::Hub { name, revision, file }))
    }
}

fn object(scheme: &'static str, rest: &str) -> Option<Address> {
    let (name, key) = rest.split_once('/')?;
    let key = key.trim_end_matches('/').to_owned();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let bucket = Bucket { scheme, name: name.to_owned(), account: None, endpoint: None, region: None, anonymous: false };
    (plain && !name.is_empty() && is_below(&key)).then_some(Address(Named::Object { bucket, key }))
}

#[cfg(test)]
mod tests {
    use super::{Address, Named};

    #[test]
    fn names_of_models_on_the_hub() {
        let of = |text: &str| {
            Address::parse(text).map(|address| match address.0 {
                Named::Hub { name, revision, file } => format!("{name} {revision} {}", file.unwrap_or_default()),
                Named::Object { bucket, key } => format!("{} {key}", bucket.address()),
            })
        };
        assert_eq!(of("s3://models/team/vit b/model.onnx"), Ok("s3://models team/vit b/model.onnx".into()));
        assert_eq!(of("az://models/vit/"), Ok("az://models vit".into()));
        for wrong in ["s3://", "s3://models", "s3://models/", "s3:///x", "gs://a b/c", "az://a/../c", "s3://a@b/c"] {
            assert!(of(wrong).unwrap_err().contains("://BUCKET/KEY"), "{wrong}");
        }
        assert_eq!(of("hf://acme/vit"), Ok("acme/vit main ".into()));
        assert_eq!(of("hf://acme/vit.b-16@v1.0/"), Ok("acme/vit.b-16 v1.0 ".into()));
        assert_eq!(of("hf://acme/vit@refs%2Fpr%2F1/onnx/model.onnx"), Ok("acme/vit refs/pr/1 onnx/model.onnx".into()));
        for wrong in [
            "hf://",
            "hf://vit",
            "acme/vit",
            "hf://acme/",
            "hf:///vit",
            "hf://acme/vit@",
            "hf://acme/vit@../x",
            "hf://acme/vit/../x",
            "hf://a b/c",
            "hf://acme/vit@a b",
        ] {
            assert!(of(wrong).unwrap_err().starts_with("write hf://"), "{wrong}");
        }
    }
}
