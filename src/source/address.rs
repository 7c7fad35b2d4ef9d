//! A model of the hub as a command names it: `hf://OWNER/NAME@REVISION/FILE`.

use super::hub::{is_name, is_revision};
use super::remote::{SCHEME, is_below};

/// A model on the hub, or one of its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `OWNER/NAME`.
    pub(crate) name: String,
    /// A branch, tag or commit.
    pub(crate) revision: String,
    /// The checkpoint among its files.
    pub(crate) file: Option<String>,
}

impl Address {
    /// Reads `hf://OWNER/NAME`, with `@REVISION` and `/FILE` after it where they are wanted. In a revision `%2F` stands for `/`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let usual = || "write hf://OWNER/NAME, hf://OWNER/NAME@REVISION or hf://OWNER/NAME@REVISION/FILE".to_owned();
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
        Ok(Self { name, revision, file })
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn names_of_models_on_the_hub() {
        let of = |text: &str| Address::parse(text).map(|a| format!("{} {} {}", a.name, a.revision, a.file.unwrap_or_default()));
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
