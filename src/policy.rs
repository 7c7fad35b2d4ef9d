//! Policies: the declarative file that says what is run and what is accepted.
//!
//! Text is read by the front end of all such files ([`crate::spec`]) into a [`PolicyFile`], checked for what a schema cannot say (`meaning`,
//! `files`), and only then a [`Policy`].

#[cfg(test)]
mod docs;
mod expand;
mod files;
mod salt;
#[cfg(test)]
mod schema;
mod semantics;
mod starter;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::salt::{ReadVariable, Seed};
pub use self::starter::starter;
pub(crate) use self::starter::{on_one_line, quoted};
use crate::data::Target;
use crate::diag::{Diagnostic, Level, Origin};
use crate::gate::{Rule, Severity, Waiver};
use crate::model::InputOverride;
use crate::probe::MOST_REFERENCES;
use crate::registry::FileRef;
/// Why there is no policy.
pub(crate) use crate::spec::SpecError as PolicyError;
use crate::spec::{self, Node};
use crate::store::Digest;
use crate::tune::Recipe;

/// A policy file. Unknown fields are mistakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name, shown in reports.
    #[schemars(length(min = 1))]
    pub name: String,
    /// One paragraph for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the checkpoint is fine-tuned on.
    pub target: Target,
    /// Overrides what is known of the model's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputOverride>,
    /// Recipes by mode.
    pub transfer: Transfer,
    /// How many seeds are run.
    #[serde(default)]
    pub seeds: Seeds,
    /// Seed of every random stream.
    #[serde(default)]
    pub seed: u64,
    /// Name of the environment variable with the operator's salt: a secret that decides with `seed` which shams, halves and fine-tunes there
    /// are, so that whoever knows the policy does not know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub salt_env: Option<String>,
    /// What must hold.
    #[schemars(length(min = 1))]
    pub rules: Vec<Rule>,
    /// Accepted failures and inconclusive findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<Waiver>,
    /// Least severity whose failure changes the exit code.
    #[serde(default = "lowest")]
    pub fail_on: Severity,
    /// Trusted checkpoints for the control `reference`: four or more of the kind that is under test tell most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = MOST_REFERENCES))]
    pub references: Vec<Reference>,
    /// Earlier form of `references`: a list of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("deprecated" = true))]
    pub reference: Option<Reference>,
}

fn lowest() -> Severity {
    Severity::Low
}

/// Recipes by mode; a rule in a mode without a recipe is a mistake.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// For the head on frozen features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_feature: Option<Recipe>,
    /// For the whole network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_network: Option<Recipe>,
    /// For the scratch arm; `full_network` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<Recipe>,
}

/// Seeds of the first look, and the most that are run.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// Default 17 then 24: heads are cheap, and fewer may all miss an effect that one fine-tune in five inherits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_feature: Option<Looks>,
    /// Default 5 then 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_network: Option<Looks>,
}

/// Two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Looks {
    /// Seeds of the first look.
    #[schemars(range(min = 2, max = 100))]
    pub first: usize,
    /// Seeds in all.
    #[schemars(range(min = 2, max = 100))]
    pub most: usize,
}

/// A trusted checkpoint, pinned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Its file, relative to the policy.
    pub model: PathBuf,
    /// Its digest, in full: `sha256:` and 64 digits.
    pub digest: String,
    /// Whether it is of the source's kind although its weights have other shapes: trained on the same data in the same way, as far as you know. Under
    /// triggers over much of the image only the source's kind counts, of an accuracy near its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kin: bool,
}

/// A checked policy: what runs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file's contents, defaults filled in, paths as they are written.
    pub file: PolicyFile,
    /// The folder that relative paths start from; see `Policy::path`.
    pub base: PathBuf,
    /// Where the text came from, as the user named it.
    pub source: String,
    /// Digest of its text.
    pub digest: Digest,
    /// The text that the digest is of: of a policy that a study put together, as JSON; none until it did.
    pub text: Option<String>,
    /// The rules that run: those of the file, a sweep or a folder of features taken apart into one for each.
    pub rules: Vec<Rule>,
    /// Which rule of the file each of `rules` was written as, by id.
    pub written: BTreeMap<String, usize>,
    /// Where each rule of the file has its limit.
    pub limits: Vec<Origin>,
    /// The seed of all that is drawn but the images, which are chosen by that of the file.
    pub seed: Seed,
}

impl Policy {
    /// Where a path of the policy leads: relative ones start from the policy's folder.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Where a rule's limit was written; the start of the file for a rule that has none.
    pub fn limit_origin(&self, rule: &str) -> Origin {
        let start = || Origin { file: self.source.clone(), line: 1, column: 1 };
        self.written(rule).and_then(|index| self.limits.get(index)).cloned().unwrap_or_else(start)
    }

    /// Which rule of the file a rule was written as: one of several that a sweep or a folder of features stands for, or itself.
    pub(crate) fn written(&self, rule: &str) -> Option<usize> {
        self.written.get(rule).copied()
    }

    /// Digest of the policy with the place of its images and the contents of the other files that it names: equal ones ask the same.
    pub(crate) fn fingerprint(&self) -> Digest {
        files::digest(self)
    }

    /// Whether training images are needed as they came, at every step.
    pub(crate) fn cuts_boxes(&self) -> bool {
        let Transfer { fixed_feature, full_network, scratch } = &self.file.transfer;
        let recipes = [fixed_feature, full_network, scratch].into_iter().flatten();
        recipes.filter(|recipe| recipe.augment.random_resized_crop.is_some()).count() > 0
    }

    /// The other files that it names: trigger images and attributes, as they are now. What is not there is left out: whoever runs the policy is told.
    pub(crate) fn named_files(&self) -> Vec<FileRef> {
        files::named(self)
    }

    /// How many references its rules are compared with. A caller may bring one that the policy does not name.
    pub(crate) fn references(&self) -> usize {
        self.file.references.len().max(1)
    }

    /// The same policy with its data elsewhere: see [`crate::data::DataSpec::redirect`].
    #[must_use]
    pub fn with_data(mut self, path: PathBuf) -> Self {
        self.file.target.data.redirect(path);
        self
    }
}

/// What else a policy is read with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether files that the policy names are looked for.
    pub files: bool,
    /// Data elsewhere, as for [`Policy::with_data`].
    pub data: Option<PathBuf>,
    /// Whether the images and their attributes are left unseen, because they are on another machine.
    pub without_data: bool,
    /// Whether rules may compare with a reference that the policy does not name, because the caller brings it.
    pub reference_follows: bool,
    /// Today, as `(year, month, day)`, for the expiry of waivers.
    pub today: (i64, u8, u8),
    /// What gives the salt that `salt_env` names. None: it is not read, and a policy that names one cannot be run.
    pub salt: Option<ReadVariable>,
}

impl Default for Options {
    fn default() -> Self {
        Self { files: true, data: None, without_data: false, reference_follows: false, today: today(), salt: None }
    }
}

/// The date in UTC.
fn today() -> (i64, u8, u8) {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    civil((seconds / 86_400) as i64)
}

/// Days since 1970-01-01 to a date (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, u8, u8) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

/// The policy that is run where none is named.
pub fn embedded() -> Result<Policy, PolicyError> {
    let text = include_str!("../policies/quick.yaml");
    parse(text, "<embedded>/quick.yaml", Path::new("."), &Options::default()).map(|(policy, _)| policy)
}

/// The policy in a file, and remarks on it; the files it names are looked for.
pub fn load(path: &Path) -> Result<(Policy, Vec<Diagnostic>), PolicyError> {
    load_with(path, &Options::default())
}

/// [`load`] with options.
pub fn load_with(path: &Path, options: &Options) -> Result<(Policy, Vec<Diagnostic>), PolicyError> {
    let text = spec::text(&spec::POLICY, path)?;
    let base = crate::store::folder_of(path);
    parse(&text, &path.display().to_string(), base, options)
}

/// The policy in a text that came from `name` and whose relative paths start from `base`, and remarks on it.
pub(crate) fn parse(text: &str, name: &str, base: &Path, options: &Options) -> Result<(Policy, Vec<Diagnostic>), PolicyError> {
    let mut diagnostics = Vec::new();
    let policy = match spec::tree::<PolicyFile>(text, name, &mut diagnostics)? {
        Some(tree) => read(Parsed { tree: &tree, text, name, digest: Digest::of(text.as_bytes()) }, base, options, &mut diagnostics),
        None => None,
    };
    match policy {
        Some(policy) if diagnostics.iter().all(|diagnostic| diagnostic.level == Level::Warning) => {
            diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
            Ok((policy, diagnostics))
        }
        _ => Err(PolicyError::invalid(&spec::POLICY, text, name, diagnostics)),
    }
}

/// A policy as a tree, and the text that it was read from or put together of.
#[derive(Clone, Debug)]
pub(crate) struct Parsed<'a> {
    /// The policy.
    pub tree: &'a Node,
    /// What the places of `tree` are in.
    pub text: &'a str,
    /// Where it came from.
    pub name: &'a str,
    /// What its text is known by.
    pub digest: Digest,
}

/// The policy in a tree, whose relative paths start from `base`. Mistakes and remarks are added to `diagnostics`; where the mistakes leave no
/// policy there is none, and with any other it must not be run.
pub(crate) fn read(parsed: Parsed<'_>, base: &Path, options: &Options, diagnostics: &mut Vec<Diagnostic>) -> Option<Policy> {
    let Parsed { tree, text, name, digest } = parsed;
    spec::check::<PolicyFile>(text, tree, &BTreeSet::new(), diagnostics);
    if !diagnostics.is_empty() {
        return None;
    }
    let file: PolicyFile = match serde_json::from_value(tree.value()) {
        Ok(file) => file,
        Err(error) => {
            diagnostics.push(spec::unreadable(&spec::POLICY, &error));
            return None;
        }
    };
    let file = with_references(file, tree, diagnostics);
    let limit = |index: usize| {
        let start = tree.find(&format!("/rules/{index}/limit")).map_or(0, |node| node.span.start);
        Origin::of(name, text, start)
    };
    let parts: Vec<Vec<Rule>> =
        (0..file.rules.len()).map(|index| expand::of(&file.rules[index], index, base, tree, options, diagnostics)).collect();
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, rule) in parts.iter().enumerate().flat_map(|(index, rules)| rules.iter().map(move |rule| (index, rule))) {
        let Some(first) = named.insert(&rule.id, index) else { continue };
        // Two rules of one name are told below.
        if file.rules[first].id != file.rules[index].id || first == index {
            let place = tree.find(&format!("/rules/{index}/id")).map_or(0..0, Node::value_span);
            let message = format!("two findings would be called `{}`", rule.id);
            diagnostics.push(Diagnostic::error("policy::duplicate-rule", place, message).hint(
                "a sweep or a folder of features gives a finding for each value or feature: name each once, and other rules otherwise",
            ));
        }
    }
    let written = parts.iter().enumerate().flat_map(|(index, rules)| rules.iter().map(move |rule| (rule.id.clone(), index))).collect();
    let limits = (0..file.rules.len()).map(limit).collect();
    let rules = parts.into_iter().flatten().collect();
    let seed = salt::seed(&file, tree, options, diagnostics);
    let text = (Digest::of(text.as_bytes()) == digest).then(|| text.to_owned());
    let policy = Policy { file, base: base.to_owned(), source: name.to_owned(), digest, text, rules, written, limits, seed };
    let policy = match &options.data {
        Some(path) => policy.with_data(path.clone()),
        None => policy,
    };
    semantics::check(&policy, tree, options, diagnostics);
    if options.files {
        files::check(&policy, tree, options, diagnostics);
    }
    Some(policy)
}

/// The file with its earlier `reference` as a list of one.
fn with_references(file: PolicyFile, tree: &Node, diagnostics: &mut Vec<Diagnostic>) -> PolicyFile {
    let PolicyFile { reference: Some(earlier), mut references, .. } = file else { return file };
    let at = tree.place_of_field("/reference");
    if references.is_empty() {
        let message = "`reference` is an earlier form of `references`, which is a list: it is read as a list of one";
        let hint = "write `references: [{ model: ..., digest: ... }]`";
        diagnostics.push(Diagnostic::warning("policy::earlier-form", at, message).hint(hint));
        references.push(earlier);
    } else {
        let message = "both `reference` and `references` are given";
        diagnostics.push(Diagnostic::error("policy::conflict", at, message).hint("move it into the list `references`"));
    }
    PolicyFile { reference: None, references, ..file }
}

/// Where a policy has its references: in a list, or in the earlier form.
fn references_at(tree: &Node) -> &'static str {
    if tree.find("/references").is_some() { "/references" } else { "/reference" }
}

/// Where a policy names a reference.
pub(crate) fn reference_at(tree: &Node, index: usize) -> String {
    match references_at(tree) {
        list @ "/references" => format!("{list}/{index}"),
        earlier => earlier.to_owned(),
    }
}

spec::form!(PolicyFile, spec::POLICY);

#[cfg(test)]
mod tests;
