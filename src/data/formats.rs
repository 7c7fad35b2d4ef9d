//! The formats of data sets: each has a file of its own here, and one line in [`DataSpec::parts`].

use std::path::{Path, PathBuf};

use super::format::{Format, Kind, OTHER_NAMES, Splits};
use super::published::{aircraft, birdsnap, caltech101, caltech256, cars, celeba, flowers102, food101, pets, sun397};
use super::source::{Rows, Want};
use super::{DataError, DataSpec, Orientation, Split};
use super::{cifar, csv, embedded, folder, idx, parquet, webdataset};
use crate::store::{Fingerprint, Fingerprinter};

impl DataSpec {
    /// The format, and where the data are.
    pub(super) fn parts(&self) -> (&'static Format, &Path) {
        match self {
            Self::Parquet(path) => (&parquet::FORMAT, path),
            Self::Folder(path) => (&folder::FORMAT, path),
            Self::Idx(path) => (&idx::FORMAT, path),
            Self::CifarBinary(path) => (&cifar::FORMAT, path),
            Self::Webdataset(path) => (&webdataset::FORMAT, path),
            Self::Csv(path) => (&csv::FORMAT, path),
            Self::Aircraft(path) => (&aircraft::FORMAT, path),
            Self::Birdsnap(path) => (&birdsnap::FORMAT, path),
            Self::Caltech101(path) => (&caltech101::FORMAT, path),
            Self::Caltech256(path) => (&caltech256::FORMAT, path),
            Self::Cars(path) => (&cars::FORMAT, path),
            Self::Celeba(path) => (&celeba::FORMAT, path),
            Self::Flowers102(path) => (&flowers102::FORMAT, path),
            Self::Food101(path) => (&food101::FORMAT, path),
            Self::Pets(path) => (&pets::FORMAT, path),
            Self::Sun397(path) => (&sun397::FORMAT, path),
            Self::Embedded(name) => (&embedded::FORMAT, Path::new(name)),
        }
    }

    /// Which way up its images are, where the policy does not say.
    pub(super) fn usual_orientation(&self) -> Orientation {
        self.parts().0.orientation
    }

    /// The usual loader of such data, for people.
    pub(super) fn usual_loader(&self) -> &'static str {
        self.parts().0.loader
    }

    /// Reads a split (none: data without splits). Relative paths start at `base`.
    pub(super) fn read(&self, split: Option<Split>, base: &Path, want: Want) -> Result<Rows, DataError> {
        let (format, place) = self.parts();
        (format.read)(base, place, split, want)
    }

    /// What policies call the format.
    pub fn format(&self) -> &'static str {
        self.parts().0.name
    }

    /// Whether the data themselves say which images train and which measure. None: that only shows when they are read.
    pub fn has_splits(&self) -> Option<bool> {
        let (format, place) = self.parts();
        let by_path = place.to_string_lossy().contains("{split}");
        match format.splits {
            Splits::Path => Some(by_path),
            Splits::Format => Some(true),
            Splits::PathOrFile => by_path.then_some(true),
            Splits::Nobody => Some(false),
        }
    }

    /// The words that `{split}` stands for in the path, of which the first that leads to anything counts.
    pub(crate) fn words(&self, split: Split) -> Vec<&'static str> {
        let others = if matches!(self.parts().0.splits, Splits::PathOrFile) { OTHER_NAMES.as_slice() } else { &[] };
        match split {
            Split::Train => vec!["train"],
            Split::Test => [&["test"], others].concat(),
        }
    }

    /// Whether the images are inside the program.
    pub fn is_embedded(&self) -> bool {
        matches!(self.parts().0.kind, Kind::Inside(_))
    }

    /// Where the data are on disk, and whether that is a folder; none for what is inside the program.
    pub fn on_disk(&self) -> Option<(&Path, bool)> {
        let (format, place) = self.parts();
        match format.kind {
            Kind::Files => Some((place, false)),
            Kind::Folder => Some((place, true)),
            Kind::Inside(_) => None,
        }
    }

    /// The name of a data set that should be inside the program and is not, and the names of those that are.
    pub fn unknown_inside(&self) -> Option<(&str, Vec<&'static str>)> {
        let (format, place) = self.parts();
        let Kind::Inside(names) = format.kind else { return None };
        place.to_str().filter(|name| !names().contains(name)).map(|name| (name, names()))
    }

    /// Takes the images from `path` instead (`--data PATH`), in the same format. Those inside the program come from a folder with one
    /// sub-folder per class, or with `train` and `test` and one per class in each. Of the old path, all that begins with the first part that has
    /// `{split}` or `*` is kept, unless the new path has such a part too.
    pub fn redirect(&mut self, path: PathBuf) {
        // What the user types is relative to where they are, not to the policy.
        let path = std::path::absolute(&path).unwrap_or(path);
        let (format, place) = self.parts();
        *self = (format.redirect)(place, path);
    }
}

impl std::fmt::Display for DataSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (format, place) = self.parts();
        match format.kind {
            Kind::Files | Kind::Folder => place.display().fmt(f),
            Kind::Inside(_) => write!(f, "{} `{}`", format.name, place.display()),
        }
    }
}

impl Fingerprint for DataSpec {
    fn feed(&self, feed: &mut Fingerprinter) {
        let (format, place) = self.parts();
        feed.choice(format.name, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each format, by the name that policies call it.
    fn formats() -> Vec<(String, DataSpec)> {
        let schema = schemars::schema_for!(DataSpec);
        let choices = schema.get("oneOf").and_then(|choices| choices.as_array()).expect("choices");
        let name = |choice: &serde_json::Value| choice["required"][0].as_str().expect("a name").to_owned();
        let spec = |name: String| (name.clone(), serde_json::from_value(serde_json::json!({ name: "a/{split}/*.b" })).expect("a format"));
        choices.iter().map(name).map(spec).collect()
    }

    #[test]
    fn every_format_is_called_as_policies_call_it_and_is_documented() {
        let docs = include_str!("../../docs/data.md");
        assert!(formats().len() >= 5);
        for (name, spec) in formats() {
            assert_eq!(spec.format(), name);
            let mut feed = Fingerprinter::new("test", 1);
            feed.choice(&name, "a/{split}/*.b");
            assert_eq!(spec.fingerprint("test", 1), feed.finish(), "{name}");
            let row = format!("\n| `{name}: ");
            assert!(spec.is_embedded() || docs.contains(&row), "docs/data.md does not say what an image's id is in `{name}`");
        }
    }

    #[test]
    fn data_inside_the_program_may_be_led_to_a_folder_of_both_halves() {
        let folder = tempfile::tempdir().expect("a folder");
        let led = || {
            let mut spec = DataSpec::Embedded("emoji".into());
            spec.redirect(folder.path().to_owned());
            spec
        };
        std::fs::create_dir(folder.path().join("train")).expect("made");
        assert_eq!(led(), DataSpec::Folder(folder.path().to_owned()));
        std::fs::create_dir(folder.path().join("test")).expect("made");
        assert_eq!(led(), DataSpec::Folder(folder.path().join("{split}")));
        assert_eq!(led().has_splits(), Some(true));
    }

    #[test]
    fn data_led_elsewhere_stay_of_their_format() {
        let new = std::path::absolute("new").expect("a path");
        for (name, spec) in formats() {
            let mut led = spec.clone();
            led.redirect("new".into());
            assert_eq!(led.format(), if spec.is_embedded() { "folder" } else { &name });
            let kept = matches!(spec.parts().0.splits, Splits::Path | Splits::PathOrFile);
            assert_eq!(led.on_disk().expect("a place").0, if kept { new.join("{split}/*.b") } else { new.clone() }, "{name}");
            let shown = if spec.is_embedded() { "embedded `a/{split}/*.b`" } else { "a/{split}/*.b" };
            let splits = !matches!(spec.parts().0.splits, Splits::Nobody);
            assert_eq!((spec.to_string().as_str(), spec.has_splits()), (shown, Some(splits)));
        }
    }
}
