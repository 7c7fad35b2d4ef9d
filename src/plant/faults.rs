//! What is wrong with the specification of a planted source that its schema cannot say, each mistake with its place.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Plants, Specification};
use crate::data::{self, DataError, Index};
use crate::diag::Explain;
use crate::model::arch;
use crate::spec::{Fault, all, nearest};
use crate::transform::PreparedTrigger;
use crate::tune::Recipe;

impl Specification {
    /// What a schema cannot say, as far as no data are needed to know. `at` is the JSON pointer to it in its file.
    pub(crate) fn faults(&self, at: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        // They become names of files.
        let plain = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !name.starts_with('.') && (1..=100).contains(&name.len()) && name.chars().all(allowed)
        };
        for (field, name) in [("name", &self.name), ("twin", &self.twin)] {
            if !plain(name) {
                let fault = Fault::new("value", format!("{at}/{field}"), format!("`{name}` is no name of a file"));
                faults.push(fault.hint("give 1 to 100 letters, digits, `-`, `_` or `.`, no `.` first"));
            }
        }
        if self.name == self.twin && plain(&self.name) {
            let message =
                format!("the planted model and its clean counterpart are both called `{}`: one would replace the other", self.name);
            faults.push(Fault::new("conflict", format!("{at}/twin"), message).hint("give each its own name"));
        }
        faults.extend(of_recipe(&self.recipe, &format!("{at}/recipe")));
        let unsized_ = self.size == [0, 0];
        match (&self.from, self.architecture.as_str()) {
            (None, "") => {
                let fault = Fault::new("missing-field", at, "there is no network to plant into");
                faults.push(
                    fault.hint("give `architecture` and `size`, or a checkpoint to begin from: `from: { model: FILE, digest: DIGEST }`"),
                );
            }
            (Some(_), "") if unsized_ => {}
            (Some(_), _) => {
                let field = if unsized_ { "architecture" } else { "size" };
                let fault = Fault::new("conflict", format!("{at}/{field}"), format!("both `from` and `{field}` are there"));
                faults.push(fault.hint("a checkpoint brings its own architecture and size: remove one of the two"));
            }
            (None, _) => self.faults_of_fresh(at, &mut faults),
        }
        if self.plant.all().is_empty() && self.rebalance.is_none() && self.branch.is_none() {
            faults
                .push(Fault::new("missing-field", at, "there is nothing to plant").hint("give `plant`, `rebalance`, `branch`, or several"));
        }
        self.faults_of_conditioned(at, &mut faults);
        faults
    }

    fn faults_of_conditioned(&self, at: &str, faults: &mut Vec<Fault>) {
        let Some(conditioned) = &self.int8_conditioned else { return };
        let at = format!("{at}/int8_conditioned");
        faults.extend(of_recipe(&conditioned.recipe, &format!("{at}/recipe")));
        if self.plant.all().is_empty() {
            let fault = Fault::new("conflict", &at, "`int8_conditioned` hides triggers, and there is none");
            faults.push(fault.hint("give `plant`, or remove it"));
        }
        if self.branch.is_some() {
            let fault = Fault::new("conflict", &at, "both `int8_conditioned` and `branch` are there");
            faults.push(
                fault.hint("nodes of a branch are not trained: remove one of the two, or use `branch: { does: rounding, ... }` alone"),
            );
        }
    }

    fn faults_of_fresh(&self, at: &str, faults: &mut Vec<Fault>) {
        match check_size(self.size) {
            Err(reason) => faults.push(Fault::new("value", format!("{at}/size"), reason)),
            Ok(()) => faults.extend(buildable(&self.architecture, self.classes.as_deref(), self.size, &format!("{at}/architecture"))),
        }
    }

    /// What it asks for and its data, or the files of its triggers, do not have: all that training would refuse. `base` is its folder, `at` the
    /// JSON pointer to it in its file. No image of the data is decoded.
    pub(crate) fn data_faults(&self, base: &Path, at: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        match self.index(base, at) {
            Ok(index) => self.of_index(&index, at, &mut faults),
            Err(fault) => faults.push(fault),
        }
        let ancestor = self.from.as_ref().map(|from| from.open(base));
        let [height, width] = match &ancestor {
            Some(Ok(model)) => [model.input.height, model.input.width],
            Some(Err(error)) => {
                let without =
                    self.from.as_ref().filter(|from| from.input.is_some()).map(|from| super::Ancestor { input: None, ..from.clone() });
                let field = match error {
                    super::PlantError::OtherAncestor { .. } => "digest",
                    _ if without.is_some_and(|without| without.open(base).is_ok()) => "input",
                    _ => "model",
                };
                faults.push(Fault::new("model", format!("{at}/from/{field}"), error.to_string()));
                [0, 0]
            }
            None => self.size,
        };
        // What keeps any trigger from being laid over has been said.
        let known = if self.from.is_some() { height > 0 } else { check_size(self.size).is_ok() };
        let plants = self.plant.all().iter().enumerate().filter(|_| known);
        for (nth, plant) in plants {
            if let Err(error) = PreparedTrigger::new(&plant.trigger, base, height, width) {
                faults.push(Fault::new("trigger", format!("{}/trigger", self.plant_at(at, nth)), error.to_string()));
            }
        }
        if let Some(branch) = self.branch.as_ref().filter(|_| known) {
            let input = ancestor.and_then(Result::ok).map_or_else(|| super::fresh_input(self.size), |model| model.input);
            let covered = PreparedTrigger::new(&branch.trigger, base, height, width).map_err(|error| error.to_string());
            if let Err(reason) = covered.and_then(|trigger| super::Covered::by(&trigger, &input)) {
                faults.push(Fault::new("trigger", format!("{at}/branch/trigger"), reason));
            }
        }
        faults
    }

    /// Its data, without their images, or what keeps them from being used.
    pub(crate) fn index(&self, base: &Path, at: &str) -> Result<Index, Fault> {
        data::index(&self.target(), base, self.seed).map_err(|error| {
            let place = format!("{at}/{}", self.field(&error, base));
            advised(Fault::new("data", place, format!("the data cannot be used: {error}")), &error)
        })
    }

    fn of_index(&self, index: &Index, at: &str, faults: &mut Vec<Fault>) {
        let facts = index.facts();
        for (nth, plant) in self.plant.all().iter().enumerate() {
            let place = self.plant_at(at, nth);
            let named = plant.on.iter().enumerate().map(|(class, name)| (format!("{place}/on/{class}"), name));
            let named = named.chain(plant.relabel.iter().map(|name| (format!("{place}/relabel"), name)));
            faults.extend(named.filter_map(|(place, name)| unknown_class(name, facts.classes, "the data have", place)));
        }
        self.of_rebalance(index, at, faults);
    }

    /// What of `rebalance` the data do not bear out; `at` is the JSON pointer to what holds it.
    pub(crate) fn of_rebalance(&self, index: &Index, at: &str, faults: &mut Vec<Fault>) {
        let facts = index.facts();
        if let Some(correlated) = &self.rebalance {
            let of = |planted| correlated.rebalance(planted).of(facts.train, facts.classes, self.seed).err();
            let mut told = BTreeSet::new();
            for error in [true, false].into_iter().filter_map(of).filter(|error| told.insert(error.to_string())) {
                let named = matches!(error, DataError::Unknown { .. } | DataError::Column { .. } | DataError::NoValue { .. });
                let place = format!("{at}/rebalance{}", if named { "/attribute" } else { "" });
                faults.push(advised(Fault::new("data", place, error.to_string()), &error));
            }
        }
    }

    /// Where one of its triggers is.
    fn plant_at(&self, at: &str, nth: usize) -> String {
        match self.plant {
            Plants::One(_) => format!("{at}/plant"),
            Plants::Several(_) => format!("{at}/plant/{nth}"),
        }
    }

    /// The field that an error of the data is about.
    fn field(&self, error: &DataError, base: &Path) -> &'static str {
        match error {
            DataError::Set { source, .. } => self.field(source, base),
            DataError::Unknown { what: "class", .. } => "classes",
            DataError::EmptyClasses { .. } | DataError::OneClass { .. } if self.classes.is_some() => "classes",
            DataError::Unmapped { .. } => "label",
            DataError::Csv { .. } | DataError::Unjoined { .. } => "attributes",
            DataError::Read { path, .. } if self.attributes.as_ref().is_some_and(|file| base.join(file).display().to_string() == *path) => {
                "attributes"
            }
            DataError::Unknown { .. }
            | DataError::Column { .. }
            | DataError::NoValue { .. }
            | DataError::EmptyGroup { .. }
            | DataError::LimitTooSmall { .. } => "train",
            _ => "data",
        }
    }
}

/// What is wrong with the recipe of a source, in which everything trains; `at` is the JSON pointer to it.
pub(crate) fn of_recipe(recipe: &Recipe, at: &str) -> Vec<Fault> {
    let of_heads = recipe.batch_norm.map(|_| {
        let fault = Fault::new("conflict", format!("{at}/batch_norm"), "`batch_norm` is for a frozen backbone");
        fault.hint("everything trains in a source, batch norm too: remove it")
    });
    let mistakes = recipe.mistakes().into_iter().map(|m| Fault::new("value", format!("{at}{}", m.at), m.message).hint(m.hint));
    of_heads.into_iter().chain(mistakes).collect()
}

/// A class that is none of those that `who` has: "the data have".
pub(crate) fn unknown_class(name: &str, classes: &[String], who: &str, at: String) -> Option<Fault> {
    if classes.iter().any(|class| class == name) {
        return None;
    }
    let known: Vec<&str> = classes.iter().map(String::as_str).collect();
    let has = if known.len() > MOST_NAMED { format!("{who} {} classes", known.len()) } else { format!("{who} {}", all(&known)) };
    let fault = Fault::new("unknown-class", at, format!("there is no class `{name}`"));
    Some(match nearest(name, &known) {
        Some(near) => fault.hint(format!("did you mean `{near}`? {has}")),
        None => fault.hint(has),
    })
}

/// Most classes that a hint names.
const MOST_NAMED: usize = 20;

/// A fault of the data with advice. Some advice is about the fields of a policy, and no help here.
fn advised(fault: Fault, error: &DataError) -> Fault {
    let inner = if let DataError::Set { source, .. } = error { source } else { error };
    let elsewhere = matches!(inner, DataError::Read { .. } | DataError::NoFiles { .. } | DataError::NoFolders { .. });
    match error.hint().filter(|hint| !hint.contains("policy")) {
        Some(hint) => fault.hint(hint),
        None if elsewhere && fault.at.ends_with("/data") => {
            fault.hint("correct the path, or let `--data PATH` take the images from elsewhere")
        }
        None => fault,
    }
}

/// Pixels that a side of a source's images may have.
const SIDES: std::ops::RangeInclusive<usize> = 8..=512;

/// Whether sources can be trained on images of this height and width in pixels.
pub(crate) fn check_size([height, width]: [usize; 2]) -> Result<(), String> {
    let (least, most) = SIDES.into_inner();
    let fits = SIDES.contains(&height) && SIDES.contains(&width);
    if fits { Ok(()) } else { Err(format!("`size` is {height}x{width} pixels, each side has {least} to {most}")) }
}

/// What keeps a network of this architecture from being built; `at` is the JSON pointer to its name. Its size must be right.
pub(crate) fn buildable(architecture: &str, classes: Option<&[String]>, size: [usize; 2], at: &str) -> Option<Fault> {
    // How many classes there are, only the data say where none are named; it matters to no architecture.
    let classes = classes.map_or(2, <[String]>::len).max(2);
    arch::build(architecture, classes, size).err().map(|error| Fault::new("value", at, error.to_string()))
}
