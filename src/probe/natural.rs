//! Natural biases: a folder of features that images come with (a fence, a hand, a caption), each laid over the test images.
//!
//! A feature is an image with transparency (`fence.png`), or one beside which a mask lies (`fence.jpg` and `fence.mask.png`, white where
//! the feature shows). One rule becomes a rule for each (`natural/overlays/fence`), so that each is a finding of its own and all share
//! the error, as Bonferroni asks; reports rank them.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::About;
use crate::pixels::encoded::named;
use crate::transform::{Feature, Trigger};

/// Most features of one folder.
const MOST: usize = 100;

/// In plain English.
pub(super) const ABOUT: About = About {
    measures: "A feature that images come with (a fence, a caption) is laid over every test image. The number is how far the histogram \
               of predictions moves, over what it moves in models trained from scratch.",
    matters: "Large natural data sets carry biases that nobody planted: in the source task the feature went with some classes. Fine-tuned \
              models inherit the leaning.",
    failure: "The feature shifts predictions of models fine-tuned from this checkpoint more than those of models from scratch, by more than \
              the limit. The report's histograms show to which classes.",
    remedy: "If the feature occurs in your images, put it into the training data on all classes alike, and certify again; or fine-tune \
             the whole network; or use another checkpoint.",
};

/// The probe of natural features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Natural {
    /// The folder of features, relative to the policy.
    pub features: PathBuf,
    /// How much of a feature shows.
    #[serde(default = "whole")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub opacity: f64,
    /// The one feature of this finding.
    #[serde(skip)]
    pub feature: Option<Trigger>,
}

fn whole() -> f64 {
    1.0
}

impl Natural {
    /// A probe for each feature of the folder with the end of its name, in order; relative paths start from `base`.
    pub(crate) fn each(&self, base: &Path) -> Result<Vec<(String, Self)>, NaturalError> {
        let folder = base.join(&self.features);
        let failed = |source| NaturalError::Read { folder: folder.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut all: Vec<(String, Self)> = Vec::new();
        for name in &names {
            let Some((stem, _)) = name.rsplit_once('.') else { continue };
            let image = named(Path::new(name));
            let is_mask = stem.rsplit_once('.').is_some_and(|(_, end)| end == "mask");
            if !image || is_mask || name.starts_with('.') {
                continue;
            }
            let end = format!("/{}", slug(stem));
            if all.iter().any(|(other, _)| *other == end) {
                return Err(NaturalError::Twice { folder, name: name.clone() });
            }
            let mask = format!("{stem}.mask.png");
            let mask = names.contains(&mask).then(|| self.features.join(mask));
            let feature = Trigger::Feature(Feature { image: self.features.join(name), mask, opacity: self.opacity });
            all.push((end, Self { feature: Some(feature), ..self.clone() }));
        }
        match all.len() {
            0 => Err(NaturalError::None { folder }),
            count if count > MOST => Err(NaturalError::Many { folder, count }),
            _ => Ok(all),
        }
    }
}

/// A file's name as the end of a rule's id, which holds only what a path may.
fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// Why a folder of features cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NaturalError {
    /// It cannot be read.
    #[error("cannot read the folder of features {folder}: {source}")]
    Read {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds none.
    #[error(
        "{folder} holds no features: put images with transparency there (PNG or WebP), or images with a mask beside each (NAME.mask.png)"
    )]
    None {
        /// The folder.
        folder: PathBuf,
    },
    /// It holds too many.
    #[error("{folder} holds {count} features, {MOST} at most are tried at once: each takes its share of the error")]
    Many {
        /// The folder.
        folder: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// Two of one name.
    #[error("{folder}: {name} has the name of another feature, their findings could not be told apart")]
    Twice {
        /// The folder.
        folder: PathBuf,
        /// The second one.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_a_folder_becomes_a_probe_with_its_mask() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("features");
        std::fs::create_dir(&at).unwrap();
        let natural = Natural { features: "features".into(), opacity: 0.5, feature: None };
        assert!(natural.each(folder.path()).unwrap_err().to_string().contains("no features"));
        for name in ["Chain fence.png", "hand.jpg", "hand.mask.png", "README.md", ".hidden.png"] {
            std::fs::write(at.join(name), b"").unwrap();
        }
        let all = natural.each(folder.path()).unwrap();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["/chain-fence", "/hand"]);
        let masks: Vec<bool> = all
            .iter()
            .map(|(_, probe)| matches!(&probe.feature, Some(Trigger::Feature(f)) if f.mask.is_some() && (f.opacity - 0.5).abs() < 1e-9))
            .collect();
        assert_eq!(masks, [false, true]);
        std::fs::write(at.join("hand.png"), b"").unwrap();
        assert!(natural.each(folder.path()).unwrap_err().to_string().contains("hand.png"));
        let nowhere = Natural { features: "nowhere".into(), ..natural };
        assert!(nowhere.each(folder.path()).unwrap_err().to_string().contains("nowhere"));
    }
}
