//! What is wrong with the specification of a calibration that its schema cannot say, as far as no policy is needed to know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Base, Carried, Deal, MOST, Provided, Source, SourceGrid, Spec, calibrated};
use crate::calibrate::{CalibrateError, truth};
use crate::gate::{Control, Rule};
use crate::plant::{self, Correlated, Specification};
use crate::policy::Policy;
use crate::registry;
use crate::series::{Ahead, Opening, SeriesError, faults_of_size};
use crate::spec::{Fault, all, nearest};
use crate::store::Digest;
use crate::transform::PreparedTrigger;

/// A reference of which the architecture is not known.
pub(super) const NO_ARCHITECTURE: &str = "give its `architecture`; `base` has none";
/// Seeds that a policy may ask for.
const SEEDS: std::ops::RangeInclusive<usize> = 2..=100;

/// All that is wrong with a specification, but for what its schema says of a text.
pub(super) fn of(spec: &Spec) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !spec.name.is_empty() && spec.name.trim().is_empty() {
        faults.push(Fault::new("value", "/name", "`name` has nothing but spaces"));
    }
    if spec.models.is_none() && spec.plant.is_none() {
        faults.push(Fault::new("missing-field", "", "there are no sources").hint("give `models`, `plant`, or both"));
    }
    if let Some(grid) = &spec.plant {
        of_grid(grid, &mut faults);
    }
    faults
}

/// Files and folders that are not there; `base` is the specification's folder.
pub(super) fn of_files(spec: &Spec, base: &Path) -> Vec<Fault> {
    let from = format!("paths start from the specification's folder, {}", base.display());
    let models =
        spec.models.as_deref().map(|folder| (folder, "/models", format!("it is a folder with `planted` and `clean` in it; {from}")));
    let missing = models.into_iter().chain([(spec.policy.as_path(), "/policy", from.clone())]).filter_map(|(path, at, hint)| {
        let full = base.join(path);
        (!full.exists()).then(|| Fault::new("missing-file", at, format!("there is no {}", full.display())).hint(hint))
    });
    missing.collect()
}

/// What of a specification does not fit its policy.
pub(super) fn against(spec: &Spec, policy: &Policy) -> Vec<Fault> {
    let rules = calibrated(policy);
    if rules.is_empty() {
        let error = CalibrateError::NoRules { policy: policy.file.name.clone() };
        return vec![Fault::new("value", "/policy", error.to_string())];
    }
    let Some(grid) = &spec.plant else { return Vec::new() };
    let ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    let mut faults = Vec::new();
    for (nth, group) in grid.groups.iter().enumerate() {
        for (at, rule) in group.iter().map(|carried| carried.rule.as_str()).enumerate().filter(|(_, rule)| !ids.contains(rule)) {
            let place = format!("/plant/groups/{nth}/{at}/rule");
            let fault = Fault::new("unknown-rule", place, format!("the policy has no rule `{rule}` that can be calibrated"));
            faults.push(match nearest(rule, &ids) {
                Some(near) => fault.hint(format!("did you mean `{near}`? the policy has {}", all(&ids))),
                None => fault.hint(format!("the policy has {}", all(&ids))),
            });
        }
    }
    for (nth, group) in grid.groups.iter().enumerate() {
        let mut correlated: Option<&Correlated> = None;
        for (at, carried) in group.iter().enumerate() {
            let place = format!("/plant/groups/{nth}/{at}");
            let Some(rule) = rules.iter().find(|rule| rule.id == carried.rule) else { continue };
            faults.extend(of_kind(rule, carried, &place));
            if let (Some(one), Some(other)) = (correlated, &carried.rebalance)
                && one != other
            {
                let fault = Fault::new("conflict", format!("{place}/rebalance"), "another rule of this group says another `rebalance`");
                faults.push(fault.hint("a source is trained on one choice of images: say the same, or make two groups"));
            }
            correlated = correlated.or(carried.rebalance.as_ref());
            let own = rule.probe.change();
            if own.is_some() && carried.trigger.as_ref() == own {
                let message = format!("this is the trigger of the rule `{}` itself, and no near miss", carried.rule);
                let fault = Fault::new("conflict", format!("/plant/groups/{nth}/{at}/trigger"), message);
                faults.push(fault.hint("change its place, size, colour or strength, or leave `trigger` out"));
            }
        }
    }
    faults.extend(of_reference(grid, policy).map(|(at, reason)| Fault::new("conflict", at, format!("`reference`: {reason}"))));
    faults
}

/// What of a carried rule is not for rules of its kind.
pub(super) fn of_kind(rule: &Rule, carried: &Carried, place: &str) -> Option<Fault> {
    let fault = |field: &str, code, message: String, hint: &str| Some(Fault::new(code, format!("{place}{field}"), message).hint(hint));
    if rule.probe.change().is_some() {
        if carried.rebalance.is_some() {
            let message = format!("`{}` lays something over images: `rebalance` is for rules that compare groups", rule.id);
            return fault("/rebalance", "conflict", message, "say by `on` which classes carry it");
        }
        let message = format!("which images carry the trigger of `{}` is not said", rule.id);
        return if carried.on.is_empty() { fault("", "missing-field", message, "add `on: [CLASS]`") } else { None };
    }
    let Some(_) = &carried.rebalance else {
        let message = format!("`{}` compares groups, and no `rebalance` says how an attribute tells the classes apart", rule.id);
        return fault("", "missing-field", message, "add `rebalance: { attribute: NAME, correlation: 1.0 }`");
    };
    let of_triggers =
        carried.trigger.is_some() || !carried.on.is_empty() || carried.share < 1.0 || carried.relabel.is_some() || carried.decoys > 0.0;
    let message = format!(
        "`{}` compares groups: `trigger`, `on`, `share`, `relabel` and `decoys` are for rules that lay something over images",
        rule.id
    );
    if of_triggers { fault("", "conflict", message, "keep `rule` and `rebalance` only") } else { None }
}

/// What the data of trained sources, and those of the policy at other seeds, do not bear out. `base` is the specification's folder.
pub(super) fn of_data(spec: &Spec, base: &Path, policy: &Policy) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut ahead = Ahead::default();
    let mut unsettled = |policy: &Policy, at: &str| {
        ahead.unsettled(policy).map(|error| Fault::new("limit", at, error.to_string()).hint("give more seeds, or raise the rule's limit"))
    };
    faults.extend(spec.again_seeds.and_then(|seeds| unsettled(&truth::at_seeds(policy.clone(), seeds), "/again_seeds")));
    let Some(grid) = &spec.plant else { return faults };
    let carried = |group: &Vec<Carried>| group.iter().map(|carried| carried.rule.clone()).collect::<Vec<_>>();
    let questions = grid.groups.iter().map(|group| truth::question(policy, &carried(group), grid.truth_seeds));
    faults.extend(questions.into_iter().find_map(|question| unsettled(&question, "/plant/truth_seeds")));
    faults.extend(faults_of_size(grid.base.size, &[policy], "/plant/base/size"));
    // What all sources have in common, whatever they carry.
    let common = grid.specification("", grid.seeds().first().copied().unwrap_or_default(), None);
    match common.index(base, "/plant/base") {
        Err(fault) => faults.push(fault),
        // Where `base` lists its classes, the groups have been held against those.
        Ok(index) => {
            let classes = index.facts().classes;
            if grid.base.classes.is_none() {
                faults.extend(classes_of(grid).filter_map(|(place, class)| plant::unknown_class(class, classes, "the data have", place)));
            }
            for (place, carried) in carried_in(grid) {
                Specification { rebalance: carried.rebalance.clone(), ..common.clone() }.of_rebalance(&index, &place, &mut faults);
            }
        }
    }
    let [height, width] = grid.base.size;
    for (place, carried) in carried_in(grid).filter(|_| plant::check_size(grid.base.size).is_ok()) {
        if let Some(Err(error)) = carried.trigger.as_ref().map(|near| PreparedTrigger::new(near, base, height, width)) {
            faults.push(Fault::new("trigger", format!("{place}/trigger"), error.to_string()));
        }
    }
    faults
}

/// What the groups of a grid carry, each with its place.
fn carried_in(grid: &SourceGrid) -> impl Iterator<Item = (String, &Carried)> {
    let groups = grid.groups.iter().enumerate();
    groups.flat_map(|(nth, group)| group.iter().enumerate().map(move |(at, carried)| (format!("/plant/groups/{nth}/{at}"), carried)))
}

/// All that keeps sources that are there from being certified with a policy; one that is there twice would count as two.
pub(super) fn of_models(sources: &[Source], policy: &Policy, opening: &Opening) -> Result<Vec<Fault>, SeriesError> {
    let mut faults = Vec::new();
    let mut seen: BTreeMap<Digest, &str> = BTreeMap::new();
    for source in sources {
        let Provided::File(path) = &source.origin else { continue };
        faults.extend(opening.faults(path, &[policy], "/models")?);
        if let Ok(found) = registry::identify(path)
            && let Some(one) = seen.insert(found.digest, &source.name)
        {
            let twice = CalibrateError::Twice { one: one.to_owned(), two: source.name.clone() };
            faults.push(Fault::new("duplicate-entry", "/models", twice.to_string()).hint("remove one of the two files"));
        }
    }
    Ok(faults)
}

/// Every class that the triggers of a grid go on or relabel to, with its place.
fn classes_of(grid: &SourceGrid) -> impl Iterator<Item = (String, &String)> {
    carried_in(grid).flat_map(|(place, carried)| {
        let on = carried.on.iter().enumerate().map(|(class, name)| (format!("{place}/on/{class}"), name)).collect::<Vec<_>>();
        on.into_iter().chain(carried.relabel.iter().map(|name| (format!("{place}/relabel"), name)).collect::<Vec<_>>())
    })
}

/// What keeps the reference that is trained from being used with a policy, and where it is said.
pub(super) fn of_reference(grid: &SourceGrid, policy: &Policy) -> Option<(&'static str, &'static str)> {
    let trusted = grid.reference.as_ref()?;
    if !policy.file.references.is_empty() {
        return Some(("/plant/reference", "the policy names one of its own; remove one of the two"));
    }
    let compares = |rule: &&Rule| rule.controls.iter().flatten().any(|control| *control == Control::Reference);
    if !calibrated(policy).iter().any(compares) {
        return Some(("/plant/reference", "no rule of the policy names `reference` among its `controls`"));
    }
    let own = trusted.architecture.as_ref().or(grid.base.architecture.as_ref())?;
    if grid.architectures().contains(own) && grid.seeds().contains(&trusted.seed) {
        let reason = "its seed is one of those that are calibrated with: a source says nothing about itself";
        return Some(("/plant/reference/seed", reason));
    }
    None
}

fn of_grid(grid: &SourceGrid, faults: &mut Vec<Fault>) {
    let architectures = grid.architectures();
    let places: Vec<String> = match &grid.architectures {
        Some(named) => (0..named.len()).map(|nth| format!("/plant/architectures/{nth}")).collect(),
        None => vec!["/plant/base/architecture".to_owned()],
    };
    if architectures.is_empty() {
        let place = if grid.architectures.is_some() { "/plant/architectures" } else { "/plant" };
        let fault = Fault::new("missing-field", place, "`plant` names no architecture");
        faults.push(fault.hint("give `architectures`, or `architecture` in its `base`"));
    }
    match (&grid.seeds, grid.count) {
        (Some(_), Some(_)) => {
            faults.push(Fault::new("conflict", "/plant/count", "`plant` gives both `seeds` and `count`").hint("keep one of them"));
        }
        (None, None) => {
            let fault = Fault::new("missing-field", "/plant", "`plant` gives neither `seeds` nor `count`");
            faults.push(fault.hint("say how many seeds, such as `count: 6`, or list them, such as `seeds: [0, 1, 2]`"));
        }
        _ => {}
    }
    twice(architectures.iter().zip(&places).map(|(name, place)| (name.clone(), place.clone())), "architecture", faults);
    let seeds = grid.seeds.iter().flatten().enumerate();
    twice(seeds.map(|(nth, seed)| (seed.to_string(), format!("/plant/seeds/{nth}"))), "seed", faults);
    match plant::check_size(grid.base.size) {
        // Too many are refused below, and not built.
        Ok(()) => {
            for (name, place) in architectures.iter().zip(&places).take(MOST) {
                faults.extend(buildable(&grid.base, name, place));
            }
            if let Some(trusted) = &grid.reference {
                let place = "/plant/reference/architecture";
                match (&trusted.architecture, &grid.base.architecture) {
                    (Some(own), _) => faults.extend(buildable(&grid.base, own, place)),
                    // What all sources share is told of them, where they have it from there.
                    (None, Some(shared)) if grid.architectures.is_some() => {
                        faults.extend(buildable(&grid.base, shared, "/plant/base/architecture"));
                    }
                    (None, Some(_)) => {}
                    (None, None) => faults.push(Fault::new("missing-field", place, format!("`reference`: {NO_ARCHITECTURE}"))),
                }
            }
        }
        Err(reason) => faults.push(Fault::new("value", "/plant/base/size", reason)),
    }
    faults.extend(plant::of_recipe(&grid.base.recipe, "/plant/base/recipe"));
    of_groups(grid, faults);
    let each = match grid.deal {
        Deal::All => grid.groups.len() + 1,
        Deal::InTurn => grid.groups.len().min(1) + 1,
    };
    let seeds = grid.seeds.as_ref().map_or(grid.count.unwrap_or_default() as usize, Vec::len);
    let total = architectures.len().saturating_mul(seeds).saturating_mul(each);
    if total > MOST {
        faults.push(
            Fault::new("limit", "/plant", format!("these are {total} sources, at most {MOST} are calibrated with"))
                .hint("name fewer seeds, architectures or groups"),
        );
    }
}

/// A number out of its range, for a specification that was not read from a text: a text is refused by its schema.
pub(super) fn number(spec: &Spec) -> Option<&'static str> {
    let share = |share: f64| (0.0..=1.0).contains(&share);
    let carried = spec.plant.iter().flat_map(|grid| grid.groups.iter().flatten());
    let [mut shares, mut decoys] = [true; 2];
    for carried in carried {
        shares &= share(carried.share) && carried.share > 0.0;
        decoys &= share(carried.decoys);
    }
    let seeds = spec.again_seeds.into_iter().chain(spec.plant.iter().map(|grid| grid.truth_seeds)).all(|seeds| SEEDS.contains(&seeds));
    match (shares, decoys, seeds) {
        (false, ..) => Some("`share` lies above 0 and up to 1"),
        (_, false, _) => Some("`decoys` lies between 0 and 1"),
        (.., false) => Some("`again_seeds` and `truth_seeds` lie between 2 and 100"),
        _ => None,
    }
}

fn of_groups(grid: &SourceGrid, faults: &mut Vec<Fault>) {
    for (nth, group) in grid.groups.iter().enumerate() {
        let place = format!("/plant/groups/{nth}");
        if group.is_empty() {
            let fault = Fault::new("value", place, "a group without triggers would be a clean source; those are made anyway");
            faults.push(fault.hint("remove it, or name the rules whose triggers are planted"));
        }
    }
    for (place, class) in classes_of(grid) {
        if let Some(classes) = grid.base.classes.as_ref() {
            faults.extend(plant::unknown_class(class, classes, "`base` has", place));
        }
    }
}

fn buildable(base: &Base, architecture: &str, place: &str) -> Option<Fault> {
    plant::buildable(architecture, base.classes.as_deref(), base.size, place)
}

/// Adds the entries that are there a second time.
fn twice(entries: impl Iterator<Item = (String, String)>, what: &str, faults: &mut Vec<Fault>) {
    let mut seen = BTreeSet::new();
    for (name, place) in entries {
        if !seen.insert(name) {
            let message = format!("this {what} is named twice: that would count one model as two");
            faults.push(Fault::new("duplicate-entry", place, message).hint("remove it"));
        }
    }
}
