//! What there is of data for a policy, and what a user should know of it before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use super::EngineError;
use super::task::{column, pools};
use crate::data::{self, Facts};
use crate::plan::{Counts, Resolved};
use crate::probe::groups::Groups;
use crate::probe::{Probe, ProbeError};

/// How much data a policy's target has; a class that is not there and an attribute that no groups can be made of are refused here, before anything runs.
pub(crate) fn counts(resolved: &Resolved, data: Facts) -> Result<Counts, EngineError> {
    let policy = resolved.policy;
    let test = data.test_clusters;
    let test_clusters = test.iter().max().map_or(0, |last| *last as usize + 1);
    let labels: Vec<u16> = data.test.iter().map(|r| r.label as u16).collect();
    let mut worth = BTreeMap::new();
    for rule in &policy.rules {
        let named = || (rule.id.clone(), policy.limit_origin(&rule.id).to_string());
        let refused = |reason: ProbeError| {
            let (rule, at) = named();
            EngineError::Rule { rule, at, reason }
        };
        if let Some(name) = rule.probe.named_classes().find(|name| !data.classes.contains(name)) {
            return Err(refused(ProbeError::UnknownClass { name: name.clone(), classes: data.classes.join(", ") }));
        }
        if let Probe::Spurious(probe) = &rule.probe
            && !probe.on.is_empty()
        {
            let chosen = |label: &u16| data.classes.get(usize::from(*label)).is_some_and(|name| probe.on.contains(name));
            let clusters: BTreeSet<u32> = labels.iter().zip(test).filter(|(label, _)| chosen(label)).map(|(_, at)| *at).collect();
            worth.insert(rule.id.clone(), clusters.len());
        }
        let Some(compared) = rule.probe.compared() else { continue };
        data.has_attribute(compared.attribute).map_err(|source| {
            let (rule, at) = named();
            EngineError::Asked { rule, at, source }
        })?;
        let groups = Groups::of((&labels, test), &column(data, compared.attribute), &compared, None).map_err(refused)?;
        worth.insert(rule.id.clone(), groups.effective(rule.estimand(), test));
    }
    let views = pools(resolved, data)?.iter().map(Vec::len).collect();
    Ok(Counts { train: data.train.len(), test: data.test.len(), test_clusters, classes: data.classes.len(), views, worth })
}

/// What a user should know of a policy's data before anything runs: where they are not what the policy makes one expect.
pub(crate) fn remarks(resolved: &Resolved, data: Facts, counts: &Counts) -> Vec<String> {
    let mut remarks = data.warnings.to_vec();
    for (view, images) in resolved.views.iter().zip(&counts.views) {
        // Equally many of every group: a few less than asked for are rounding.
        if let Some(view) = view
            && let Some(limit) = view.limit.filter(|limit| 10 * images < 9 * limit)
        {
            remarks.push(format!("{view}: the groups give {images} training images, not {limit}"));
        }
    }
    remarks.extend(unknown(resolved, data).into_iter().flatten().map(|(_, remark)| remark));
    remarks
}

/// Attributes, each with a remark on it.
type Remarked = Vec<(String, String)>;

/// Of the attributes that rules compare, and of those that they balance by: of how many images the value is not known, and what comes of it.
pub(crate) fn unknown(resolved: &Resolved, data: Facts) -> [Remarked; 2] {
    let lacking = |set: &[data::Record], name: &str| (set.iter().filter(|record| record.value(name).is_none()).count(), set.len());
    let compared: BTreeSet<&str> = resolved.policy.rules.iter().filter_map(|rule| Some(rule.probe.compared()?.attribute)).collect();
    let test = compared.into_iter().filter_map(|name| {
        let remark = data::unknown(name, lacking(data.test, name), "test", "they are in no group")?;
        Some((name.to_owned(), remark))
    });
    let balanced: BTreeSet<&str> = resolved.views.iter().flatten().map(|view| view.attribute.as_str()).collect();
    let train = balanced.into_iter().filter_map(|name| {
        let remark = data::unknown(name, lacking(data.train, name), "training", "the probe `debiased` leaves them out")?;
        Some((name.to_owned(), remark))
    });
    [test.collect(), train.collect()]
}
