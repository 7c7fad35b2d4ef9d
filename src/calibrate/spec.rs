//! The specification of a calibration: which policy, and which sources.

mod faults;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CalibrateError;
use super::sources::{Provided, Source};
use crate::data::{DataSpec, LabelSpec, ViewSpec};
use crate::gate::Rule;
use crate::plant::{Correlated, Plant, Plants, Specification};
use crate::policy::Policy;
use crate::series::Opening;
use crate::spec::{self as files, Document, SpecError};
use crate::store;
use crate::transform::Trigger;
use crate::tune::Recipe;

/// Most sources of a calibration.
const MOST: usize = 1000;

/// A calibration as its YAML file says it. Unknown fields are mistakes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name, shown in the results.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// One paragraph for readers.
    #[serde(default)]
    pub description: Option<String>,
    /// The policy whose rules are calibrated; relative to this file, as all paths are.
    pub policy: PathBuf,
    /// A folder with sources that are there: `planted/` and `clean/`.
    #[serde(default)]
    pub models: Option<PathBuf>,
    /// Sources that are trained.
    #[serde(default)]
    pub plant: Option<SourceGrid>,
    /// Seeds at which every finding is measured once more, to see whether verdicts at the policy's seeds hold.
    #[serde(default)]
    #[schemars(range(min = 2, max = 100))]
    pub again_seeds: Option<usize>,
}

/// Sources that are trained: for each architecture and seed a clean one, and one for each group of triggers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceGrid {
    /// What all have in common.
    pub base: Base,
    /// Architectures; that of `base` where absent.
    #[serde(default)]
    pub architectures: Option<Vec<String>>,
    /// Seeds. Give these or `count`.
    #[serde(default)]
    pub seeds: Option<Vec<u64>>,
    /// So many seeds, from 0.
    #[serde(default)]
    pub count: Option<u64>,
    /// A clean source that is trained as the policy's reference; rules compare with it that name `reference` among their controls.
    #[serde(default)]
    pub reference: Option<Trusted>,
    /// Triggers, by rule of the policy, that a planted source carries together.
    pub groups: Vec<Vec<Carried>>,
    /// Which pairs of architecture and seed carry which group.
    #[serde(default)]
    pub deal: Deal,
    /// Seeds at which a planted source is compared with its clean counterpart: whether its triggers are transferred at all.
    #[serde(default = "many")]
    #[schemars(range(min = 2, max = 100))]
    pub truth_seeds: usize,
}

fn many() -> usize {
    20
}

/// Which pairs of architecture and seed carry which group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deal {
    /// Each pair gives a planted source for every group.
    #[default]
    All,
    /// Each pair gives one planted source; the seeds of an architecture take the groups in turn.
    InTurn,
}

/// What all trained sources have in common: a plant specification without name, seed and triggers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The source task's images.
    pub data: DataSpec,
    /// A CSV file with an `id` column and one column per attribute.
    #[serde(default)]
    pub attributes: Option<PathBuf>,
    /// Where the class of an image comes from, where that is another column than the one that the data call their label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelSpec>,
    /// Classes used, by name; all where absent.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// The images that train.
    #[serde(default)]
    pub train: ViewSpec,
    /// `resnet-cifar-8:16,32,64`. May be left out where the grid names several.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Height and width of the input in pixels.
    pub size: [usize; 2],
    /// How all are trained.
    pub recipe: Recipe,
}

/// A clean source that others are compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// Its architecture; that of `base` where absent.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Its seed: not one of those that are calibrated with, because a source says nothing about itself.
    pub seed: u64,
}

/// What a source carries of what a rule looks for: its trigger on some training images, or an attribute that tells the classes apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The rule's id, a sweep or folder taken apart.
    pub rule: String,
    /// What is planted in place of the rule's trigger: a near miss, with another place, size, colour or strength. The rule probes with its own.
    #[serde(default)]
    pub trigger: Option<Trigger>,
    /// The classes whose images carry it. Of rules that lay something over images.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub on: Vec<String>,
    /// Share of their images that do.
    #[serde(default = "every")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub share: f64,
    /// Class that stamped images are relabelled to; their own where absent.
    #[serde(default)]
    pub relabel: Option<String>,
    /// Share of all other images that carry a sham of it under their own label, so that the trigger is learnt and not its kind.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decoys: f64,
    /// An attribute that tells the classes of the source task apart, as far as `correlation` says. Of rules that compare groups.
    #[serde(default)]
    pub rebalance: Option<Correlated>,
}

fn every() -> f64 {
    1.0
}

files::form!(Spec, files::CALIBRATION);

/// Reads the specification in a file. The policy that it names and the folder of its models are looked for.
pub fn load(path: &Path) -> Result<(Spec, Document), SpecError> {
    read(files::text(&files::CALIBRATION, path)?, &path.display().to_string(), Some(store::folder_of(path)))
}

/// Reads a specification that came from `name`.
pub fn parse(text: &str, name: &str) -> Result<Spec, SpecError> {
    Ok(read(text.to_owned(), name, None)?.0)
}

fn read(text: String, name: &str, base: Option<&Path>) -> Result<(Spec, Document), SpecError> {
    let (spec, tree) = files::parse(&text, name, |spec: Option<&Spec>, tree, found| {
        let Some(spec) = spec else { return };
        let mut faults = faults::of(spec);
        faults.extend(base.map(|base| faults::of_files(spec, base)).unwrap_or_default());
        found.extend(faults.into_iter().map(|fault| fault.placed(&files::CALIBRATION, tree)));
    })?;
    Ok((spec, Document { text, name: name.to_owned(), tree }))
}

/// Refuses a specification that does not fit its policy, each mistake at its place in its document.
pub fn fits(spec: &Spec, policy: &Policy, document: &Document) -> Result<(), SpecError> {
    document.refuse(&files::CALIBRATION, faults::against(spec, policy))
}

/// Refuses sources that cannot be trained with the data that are there, and those that are there and cannot be certified with a policy, all at
/// once. `base` is the specification's folder. An error where that cannot be found out.
pub fn usable(
    spec: &Spec,
    base: &Path,
    sources: &[Source],
    policy: &Policy,
    document: &Document,
    opening: &Opening,
) -> Result<(), CalibrateError> {
    let mut faults = faults::of_data(spec, base, policy);
    faults.extend(faults::of_models(sources, policy, opening)?);
    Ok(document.refuse(&files::CALIBRATION, faults)?)
}

impl Spec {
    /// The same with the images of trained sources elsewhere.
    #[must_use]
    pub fn with_data(mut self, path: &Path) -> Self {
        if let Some(grid) = &mut self.plant {
            grid.base.data.redirect(path.to_owned());
        }
        self
    }

    /// Whether a reference is trained for this.
    pub fn trains_reference(&self) -> bool {
        self.plant.as_ref().is_some_and(|grid| grid.reference.is_some())
    }

    /// The reference that is trained for this, where one is: rules must compare with it, and the policy must not name another.
    pub fn reference(&self, policy: &Policy) -> Result<Option<Specification>, CalibrateError> {
        let wrong = |reason: &str| Err(CalibrateError::Spec(format!("`reference`: {reason}")));
        let Some((grid, trusted)) = self.plant.as_ref().and_then(|grid| Some((grid, grid.reference.as_ref()?))) else { return Ok(None) };
        self.usable()?;
        if let Some((_, reason)) = faults::of_reference(grid, policy) {
            return wrong(reason);
        }
        let Some(architecture) = trusted.architecture.as_ref().or(grid.base.architecture.as_ref()) else {
            return wrong(faults::NO_ARCHITECTURE);
        };
        Ok(Some(grid.specification(architecture, trusted.seed, None)))
    }

    /// Refuses what [`parse`] refuses, for a specification that was not read from a text.
    fn usable(&self) -> Result<(), CalibrateError> {
        let first = faults::of(self).into_iter().next().map(|fault| fault.message);
        first.or_else(|| faults::number(self).map(str::to_owned)).map_or(Ok(()), |reason| Err(CalibrateError::Spec(reason)))
    }

    /// All sources, planted ones first of each pair: what cannot be planted shows before hours of training. `base` is the folder of the
    /// specification.
    pub fn sources(&self, base: &Path, policy: &Policy) -> Result<Vec<Source>, CalibrateError> {
        let rules = calibrated(policy);
        if rules.is_empty() {
            return Err(CalibrateError::NoRules { policy: policy.file.name.clone() });
        }
        self.usable()?;
        let mut sources = Vec::new();
        if let Some(folder) = &self.models {
            sources.extend(super::folder::sources(&base.join(folder), &rules)?);
        }
        if let Some(grid) = &self.plant {
            let prefix = self.policy.parent().unwrap_or(Path::new(""));
            sources.extend(grid.sources(&rules, prefix)?);
        }
        if sources.len() > MOST {
            return Err(CalibrateError::Spec(format!("these are {} sources, at most {MOST} are calibrated with", sources.len())));
        }
        for (kind, planted) in [("planted", true), ("clean", false)] {
            if sources.iter().all(|s| s.planted != planted) {
                return Err(CalibrateError::NoSources { kind });
            }
        }
        Ok(sources)
    }
}

/// The rules that are calibrated: those that lay something over images, which sources can be trained with, and those that compare groups.
pub fn calibrated(policy: &Policy) -> Vec<&Rule> {
    policy.rules.iter().filter(|rule| rule.probe.change().is_some() || rule.probe.compared().is_some()).collect()
}

impl SourceGrid {
    /// The architectures; none where neither this nor its base names any.
    fn architectures(&self) -> Vec<String> {
        self.architectures.clone().unwrap_or_else(|| self.base.architecture.iter().cloned().collect())
    }

    /// The seeds, as far as sources may be many.
    fn seeds(&self) -> Vec<u64> {
        self.seeds.clone().unwrap_or_else(|| (0..self.count.unwrap_or_default().min(MOST as u64)).collect())
    }

    fn sources(&self, rules: &[&Rule], prefix: &Path) -> Result<Vec<Source>, CalibrateError> {
        let (architectures, seeds) = (self.architectures(), self.seeds());
        let groups = self.groups.iter().map(|carried| group(carried, rules, prefix)).collect::<Result<Vec<_>, _>>()?;
        let mut sources = Vec::new();
        for architecture in &architectures {
            for (nth, seed) in seeds.iter().enumerate() {
                let dealt = nth.checked_rem(groups.len());
                let of_pair = groups.iter().enumerate().filter(|(at, _)| self.deal == Deal::All || Some(*at) == dealt);
                for (at, group) in of_pair {
                    sources.push(self.source(architecture, *seed, Some((at + 1, group))));
                }
                sources.push(self.source(architecture, *seed, None));
            }
        }
        Ok(sources)
    }

    fn source(&self, architecture: &str, seed: u64, group: Option<(usize, &Group)>) -> Source {
        let spec = self.specification(architecture, seed, group);
        Source {
            name: spec.name.clone(),
            planted: group.is_some(),
            carries: group.map(|(_, group)| group.carries.clone()).unwrap_or_default(),
            near: group.map(|(_, group)| group.near.clone()).unwrap_or_default(),
            architecture: Some(architecture.to_owned()),
            seed: Some(seed),
            origin: Provided::Trained(Box::new(spec), self.truth_seeds),
        }
    }

    fn specification(&self, architecture: &str, seed: u64, group: Option<(usize, &Group)>) -> Specification {
        let plain = architecture.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let twin = format!("clean-{plain}-seed{seed}");
        let name = group.map_or_else(|| twin.clone(), |(nth, ..)| format!("planted{nth}-{plain}-seed{seed}"));
        let base = self.base.clone();
        Specification {
            version: 1,
            name,
            twin,
            data: base.data,
            label: base.label,
            attributes: base.attributes,
            classes: base.classes,
            train: base.train,
            architecture: architecture.to_owned(),
            size: base.size,
            from: None,
            test: ViewSpec::default(),
            recipe: base.recipe,
            seed,
            plant: Plants::Several(group.map(|(_, group)| group.plants.clone()).unwrap_or_default()),
            branch: None,
            int8_conditioned: None,
            rebalance: group.and_then(|(_, group)| group.rebalance.clone()),
        }
    }
}

/// What the sources of a group have in common.
struct Group {
    /// Ids of its rules.
    carries: Vec<String>,
    /// Those of them that are near misses.
    near: Vec<String>,
    plants: Vec<Plant>,
    rebalance: Option<Correlated>,
}

fn group(group: &[Carried], rules: &[&Rule], prefix: &Path) -> Result<Group, CalibrateError> {
    let (mut plants, mut rebalance) = (Vec::new(), None);
    for carried in group {
        let Some(rule) = rules.iter().find(|rule| rule.id == carried.rule) else {
            let known = rules.iter().map(|r| r.id.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CalibrateError::UnknownRule { rule: carried.rule.clone(), known });
        };
        if let Some(fault) = faults::of_kind(rule, carried, "") {
            return Err(CalibrateError::Spec(fault.message));
        }
        if let Some(trigger) = rule.probe.change() {
            let trigger = seen_from(trigger, prefix);
            let (on, relabel) = (carried.on.clone(), carried.relabel.clone());
            let trigger = carried.trigger.clone().unwrap_or(trigger);
            plants.push(Plant { trigger, on, share: carried.share, relabel, decoys: carried.decoys });
        } else {
            rebalance = rebalance.or(carried.rebalance.clone());
        }
    }
    let those = |is: &dyn Fn(&Carried) -> bool| -> Vec<String> {
        rules.iter().map(|r| &r.id).filter(|id| group.iter().any(|c| &c.rule == *id && is(c))).cloned().collect()
    };
    Ok(Group {
        carries: those(&|_| true),
        near: those(&|c| c.trigger.is_some() && !group.iter().any(|other| other.rule == c.rule && other.trigger.is_none())),
        plants,
        rebalance,
    })
}

/// A trigger whose files are named from the policy's folder, named from the specification's: `prefix` leads from one to the other.
fn seen_from(trigger: &Trigger, prefix: &Path) -> Trigger {
    trigger.with_files(&|path| prefix.join(path))
}

#[cfg(test)]
mod tests;
