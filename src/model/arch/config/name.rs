//! Names of architectures, and whose they are: by what `config.json` has, or by the prefix in `--arch timm/resnet50`.

use serde_json::Value;

use crate::model::arch::plain;

/// Whose names and defaults a checkpoint follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// timm: `config.json` has `architecture`, and in `model_args` what differs from that architecture.
    Timm,
    /// Hugging Face Transformers: `config.json` has `model_type`, and all fields of that type.
    Transformers,
    /// torchvision, whose files have no configuration.
    Torchvision,
    /// `OpenCLIP`.
    OpenClip,
    /// Nobody says.
    Unknown,
}

impl Library {
    /// What stands before `/` in `--arch timm/resnet50`.
    pub(in crate::model::arch) fn prefix(self) -> &'static str {
        match self {
            Self::Timm => "timm",
            Self::Transformers => "transformers",
            Self::Torchvision => "torchvision",
            Self::OpenClip => "open_clip",
            Self::Unknown => "",
        }
    }
}

/// The name of an architecture and the library whose name it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model::arch) struct Name {
    pub library: Library,
    /// In lower case, words apart by `-`, without the tag behind a dot: `vit-small-patch16-224`.
    pub plain: String,
}

impl Name {
    /// `timm/resnet50.a1_in1k`, or a name of which nobody says whose it is.
    pub(in crate::model::arch) fn of(text: &str, library: Library) -> Self {
        let all = [Library::Timm, Library::Transformers, Library::Torchvision, Library::OpenClip];
        let said = text.trim().split_once('/').and_then(|(prefix, rest)| Some((all.into_iter().find(|l| l.prefix() == prefix)?, rest)));
        let (library, text) = said.unwrap_or((library, text));
        let plain = plain(text);
        let plain = plain.split_once('.').map_or(plain.as_str(), |(name, _)| name).to_owned();
        Self { library, plain }
    }

    /// Whether it may be a name of that library.
    pub(in crate::model::arch) fn may_be(&self, library: Library) -> bool {
        self.library == library || self.library == Library::Unknown
    }

    /// Whether it is, word for word, one of these, which are written as their library writes them.
    pub(in crate::model::arch) fn is_one_of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> bool {
        names.into_iter().any(|name| plain(name) == self.plain)
    }
}

/// Whose a checkpoint is, and what its library calls the architecture; no name where nobody says.
pub fn whose(config: Option<&Value>, said: Option<&str>) -> (Library, String) {
    let library = config.map_or(Library::Unknown, library);
    let Some(said) = said else { return (library, String::new()) };
    let name = Name::of(said, library);
    let plain = said.trim().strip_prefix(name.library.prefix()).map_or(said, |rest| rest.trim_start_matches('/'));
    (name.library, plain.to_owned())
}

/// Whose `config.json` it is.
pub(super) fn library(config: &Value) -> Library {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    if text("architecture").is_some() || config.get("pretrained_cfg").is_some() || config.get("model_args").is_some() {
        Library::Timm
    } else if text("model_type").is_some() || config.get("architectures").is_some() {
        Library::Transformers
    } else {
        Library::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_it_is() {
        let name = |text: &str| Name::of(text, Library::Timm);
        assert_eq!(name("vit_small_patch16_224.augreg_in21k"), Name { library: Library::Timm, plain: "vit-small-patch16-224".into() });
        assert_eq!(name("torchvision/ViT_B_16"), Name { library: Library::Torchvision, plain: "vit-b-16".into() });
        assert!(name("torchvision/vit_b_16").is_one_of(["vit_b_32", "vit_b_16"]) && !name("vit").is_one_of(["vit_b_16"]));
    }
}
