//! What is wrong with a study that its schema cannot say, each mistake with its place.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{MOST, Planting, SourceSpec, Step, Study};
use crate::diag::Explain;
use crate::plant;
use crate::policy::Policy;
use crate::registry;
use crate::series::{Opening, SeriesError, faults_of_size};
use crate::spec::{Fault, Node, below};

/// What is wrong with a study whose folder is `base`, its policy aside.
pub(super) fn of(study: &Study, base: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    if study.sources.is_empty() {
        faults.push(Fault::new("missing-field", "/sources", "there are no sources").hint("name at least one: `name: { model: FILE }`"));
    }
    let missing = |file: &Path, at: String, what: &str| {
        let file = base.join(file);
        let hint = format!("paths start from the study's folder, {}", base.display());
        (!file.exists()).then(|| Fault::new("missing-file", at, format!("there is no {}{what}", file.display())).hint(hint))
    };
    if let Value::String(file) = &study.policy {
        faults.extend(missing(Path::new(file), "/policy".to_owned(), ""));
    }
    for (name, source) in &study.sources {
        let at = below("/sources", name);
        let what = format!(" (the source `{name}`)");
        match source {
            SourceSpec::Model(file) => {
                faults.extend(missing(file, format!("{at}/model"), &what).or_else(|| no_model(&base.join(file), &at, &what)));
            }
            SourceSpec::Planted(Planting::File(file)) => faults.extend(missing(file, format!("{at}/planted"), &what)),
            SourceSpec::Twin(Planting::File(file)) => faults.extend(missing(file, format!("{at}/twin"), &what)),
            SourceSpec::Planted(Planting::Inline(inside)) => faults.extend(inside.faults(&format!("{at}/planted"))),
            SourceSpec::Twin(Planting::Inline(inside)) => faults.extend(inside.faults(&format!("{at}/twin"))),
        }
    }
    let names = study.vary.iter().enumerate().map(|(nth, axis)| (format!("/vary/{nth}/name"), axis.name.clone()));
    for (at, name) in repeated(names) {
        let fault = Fault::new("duplicate-entry", at, format!("two axes are called `{name}`: their values could not be told apart"));
        faults.push(fault.hint("give each axis its own name"));
    }
    let places = || {
        let sets = study.vary.iter().enumerate();
        sets.flat_map(|(nth, axis)| axis.set.iter().enumerate().map(move |(at, place)| (format!("/vary/{nth}/set/{at}"), place.clone())))
    };
    for (at, place) in repeated(places()) {
        let fault = Fault::new("duplicate-entry", at, format!("`{place}` is set twice: the later value would replace the earlier one"));
        faults.push(fault.hint("keep one of them"));
    }
    faults.extend(held(&places().collect::<Vec<_>>()));
    for (nth, axis) in study.vary.iter().enumerate() {
        let values = axis.to.iter().enumerate().map(|(at, step)| (format!("/vary/{nth}/to/{at}"), Step::name(step)));
        for (at, name) in repeated(values) {
            let fault = Fault::new("duplicate-entry", at, format!("`{}` has two values called {name}", axis.name));
            faults.push(fault.hint("remove one, or give them names: `{ name: ..., value: ... }`"));
        }
    }
    let count = study.vary.iter().map(|axis| axis.to.len()).chain([study.sources.len()]).fold(1usize, usize::saturating_mul);
    if count > MOST {
        let message = format!("the study has {count} certifications, {MOST} are the most");
        faults.push(Fault::new("limit", "/vary", message).hint("name fewer values or sources, or make several studies of it"));
    }
    faults
}

/// What keeps a file or folder from being a checkpoint, as far as no policy is needed to know.
fn no_model(path: &Path, at: &str, what: &str) -> Option<Fault> {
    let error = registry::identify(path).err()?;
    let fault = Fault::new("model", format!("{at}/model"), format!("{error}{what}"));
    Some(error.hint().into_iter().fold(fault, Fault::hint))
}

/// All that keeps the checkpoints of a study from being certified with its policies. An error where that cannot be found out.
pub(super) fn of_models(study: &Study, base: &Path, policies: &[&Policy], opening: &Opening) -> Result<Vec<Fault>, SeriesError> {
    let mut faults = Vec::new();
    for (name, source) in &study.sources {
        if let SourceSpec::Model(file) = source {
            faults.extend(opening.faults(&base.join(file), policies, &format!("{}/model", below("/sources", name)))?);
        }
    }
    Ok(faults)
}

/// All that keeps the sources that a study describes from being planted, and what is planted from being certified. `data` leads their images
/// elsewhere. A file that says what to plant has its own mistakes.
pub(super) fn of_plantings(study: &Study, base: &Path, policies: &[&Policy], data: Option<&Path>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, source) in &study.sources {
        let (planting, field) = match source {
            SourceSpec::Model(_) => continue,
            SourceSpec::Planted(planting) => (planting, "planted"),
            SourceSpec::Twin(planting) => (planting, "twin"),
        };
        let at = format!("{}/{field}", below("/sources", name));
        match planting {
            Planting::Inline(inside) => {
                faults.extend(inside.with_data(data).data_faults(base, &at));
                faults.extend(faults_of_size(inside.size, policies, &at));
            }
            Planting::File(file) => {
                if let Ok(inside) = plant::load(&base.join(file), data) {
                    faults.extend(faults_of_size(inside.size, policies, &at));
                }
            }
        }
    }
    faults
}

/// Places that an axis sets and that the policy, as it is written, does not have.
pub(super) fn of_places(study: &Study, policy: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    // Where it is none, that has been said.
    if !policy.value().is_object() {
        return faults;
    }
    let (mut policy, nothing) = (policy.clone(), Node::nothing());
    for (nth, axis) in study.vary.iter().enumerate() {
        for (at, place) in axis.set.iter().enumerate() {
            if let Err(reason) = policy.put(place, nothing.clone()) {
                faults.push(Fault::new("value", format!("/vary/{nth}/set/{at}"), reason));
            }
        }
    }
    faults
}

/// Places of which one holds another: what is set there would be replaced.
fn held(places: &[(String, String)]) -> Vec<Fault> {
    let all: BTreeSet<&str> = places.iter().map(|(_, place)| place.as_str()).collect();
    // Few lengths are different: looking for each beats comparing all places with each other.
    let lengths: BTreeSet<usize> = all.iter().map(|place| place.len()).collect();
    let holder = |place: &str| {
        let parents = lengths.range(..place.len()).filter(|at| place.as_bytes().get(**at) == Some(&b'/'));
        parents.filter_map(|at| place.get(..*at)).find(|parent| all.contains(parent)).map(str::to_owned)
    };
    let faults = places.iter().filter_map(|(at, part)| {
        let whole = holder(part)?;
        let message = format!("`{whole}` holds `{part}`, which is set too: one value would replace the other");
        Some(Fault::new("conflict", at.as_str(), message).hint("set one of the two"))
    });
    faults.collect()
}

/// The entries whose name was there before.
fn repeated(entries: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    entries.filter(|(_, name)| !seen.insert(name.clone())).collect()
}
