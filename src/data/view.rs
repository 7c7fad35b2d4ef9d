//! Which images are used: classes, splits, balance, limits. Every draw is seeded and by purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::Rng;

use super::source::Entry;
use super::texts::Attributes;
use super::{DataError, Parting, Rebalance, Record, Split, ViewSpec};
use crate::stats::stream::stream;

/// Keeps the named classes, renumbered in the order given.
pub(super) fn select(classes: &mut Vec<String>, parts: &mut [Vec<Entry>], wanted: &[String]) -> Result<(), DataError> {
    let mut renumbered = vec![None; classes.len()];
    for (new, name) in wanted.iter().enumerate() {
        let old = classes.iter().position(|class| class == name).ok_or_else(|| unknown("class", name, classes))?;
        if let Some(slot) = renumbered.get_mut(old)
            && slot.replace(new).is_some()
        {
            return Err(DataError::ClassTwice { name: name.clone() });
        }
    }
    for part in parts {
        part.retain_mut(|entry| match renumbered.get(entry.record.label).copied().flatten() {
            Some(new) => {
                entry.record.label = new;
                true
            }
            None => false,
        });
    }
    *classes = wanted.to_vec();
    Ok(())
}

/// An error that names what is nearest to the name not found, and all there is.
pub(super) fn unknown(what: &'static str, name: &str, known: &[String]) -> DataError {
    let nearest = known.iter().map(|k| (strsim::damerau_levenshtein(&k.to_lowercase(), &name.to_lowercase()), k)).min();
    let near = nearest.filter(|(distance, k)| *distance <= 1 + k.chars().count() / 3);
    let hint = near.map(|(_, k)| format!(" (did you mean `{k}`?)")).unwrap_or_default();
    let list = known.iter().take(50).map(String::as_str).collect::<Vec<_>>().join(", ");
    let known = match known.len() {
        0 => "none".to_owned(),
        1..=50 => list,
        all => format!("{list} and {} more", all - 50),
    };
    DataError::Unknown { what, name: name.to_owned(), hint, known }
}

/// Takes the cluster of every image from a column; an image without a value there is a cluster of its own.
pub(super) fn cluster_by(column: &str, parts: &mut [Vec<Entry>]) -> Result<(), DataError> {
    check_column(column, parts.iter().flatten().map(|entry| &entry.record.attributes))?;
    for entry in parts.iter_mut().flatten() {
        if let Some(value) = entry.record.shared(column) {
            entry.record.cluster = value.clone();
        }
    }
    Ok(())
}

/// Whether a column is there: `attributes` are those of every image.
pub(super) fn check_column<'a>(column: &str, attributes: impl Iterator<Item = &'a Attributes> + Clone) -> Result<(), DataError> {
    if attributes.clone().any(|columns| columns.has(column)) || attributes.clone().next().is_none() {
        return Ok(());
    }
    let known: BTreeSet<&str> = attributes.flat_map(Attributes::columns).collect();
    Err(unknown("column", column, &known.into_iter().map(str::to_owned).collect::<Vec<_>>()))
}

/// Splits what has no splits: in every class the same share of clusters measures, or as many images train; a cluster is never torn apart.
///
/// A cluster with images of several classes counts for that of its first image.
pub(super) fn split(entries: Vec<Entry>, parting: Parting, seed: u64) -> (Vec<Entry>, Vec<Entry>) {
    let mut class_of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut images: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_class: BTreeMap<usize, Vec<&Arc<str>>> = BTreeMap::new();
    for Entry { record, .. } in &entries {
        *images.entry(&record.cluster).or_default() += 1;
        class_of.entry(&record.cluster).or_insert_with(|| {
            by_class.entry(record.label).or_default().push(&record.cluster);
            record.label
        });
    }
    let mut rng = stream(seed, 0, "data split");
    let mut test = BTreeSet::new();
    for clusters in by_class.values() {
        let drawn = drawn(clusters, &mut rng).into_iter();
        match parting {
            Parting::Share(share) => {
                // Both halves get at least one cluster where there are two.
                let most = clusters.len().saturating_sub(1);
                let count = ((clusters.len() as f64 * share).round() as usize).clamp(most.min(1), most.max(1).min(clusters.len()));
                test.extend(drawn.take(count).map(|cluster| Arc::clone(cluster)));
            }
            Parting::PerClass(wanted) => {
                let mut train = 0;
                for cluster in drawn {
                    if train >= wanted {
                        test.insert(Arc::clone(cluster));
                    } else {
                        train += images.get(&***cluster).copied().unwrap_or_default();
                    }
                }
            }
        }
    }
    entries.into_iter().partition(|entry| !test.contains(&entry.record.cluster))
}

/// The items in random order. Sorting by drawn keys keeps the order independent of any library's shuffle.
fn drawn<'a, T>(items: &'a [T], rng: &mut impl Rng) -> Vec<&'a T> {
    let mut keyed: Vec<(u64, usize, &T)> = items.iter().enumerate().map(|(i, item)| (rng.next_u64(), i, item)).collect();
    keyed.sort_unstable_by_key(|&(key, i, _)| (key, i));
    keyed.into_iter().map(|(_, _, item)| item).collect()
}

/// Balances and limits one split; what is left keeps its order. What the user should know of it goes to `warnings`.
pub(super) fn apply(
    entries: Vec<Entry>,
    view: &ViewSpec,
    which: Split,
    classes: &[String],
    seed: u64,
    warnings: &mut Vec<String>,
) -> Result<Vec<Entry>, DataError> {
    let keep = if view.balance.is_empty() {
        match view.limit {
            Some(limit) if limit < entries.len() => limited(&entries, limit, which, seed),
            _ => return Ok(entries),
        }
    } else {
        balanced(&entries, view, which, classes, seed, warnings)?
    };
    Ok(entries.into_iter().enumerate().filter(|(i, _)| keep.contains(i)).map(|(_, entry)| entry).collect())
}

/// A draw in which every class keeps its share.
fn limited(entries: &[Entry], limit: usize, which: Split, seed: u64) -> BTreeSet<usize> {
    let mut by_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        by_class.entry(entry.record.label).or_default().push(i);
    }
    let mut rng = stream(seed, 0, &format!("data limit {which}"));
    // Each class spread evenly over one line, cut where the limit is.
    let mut line: Vec<(f64, usize, usize)> = Vec::with_capacity(entries.len());
    for (class, members) in &by_class {
        let share = 1.0 / members.len() as f64;
        line.extend(drawn(members, &mut rng).into_iter().enumerate().map(|(k, &i)| ((k as f64 + 0.5) * share, *class, i)));
    }
    line.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    line.into_iter().take(limit).map(|(_, _, i)| i).collect()
}

/// Equally many per combination of the columns' values, as many as the rarest combination and the limit allow. An image whose value is not
/// known is of no combination.
fn balanced(
    entries: &[Entry],
    view: &ViewSpec,
    which: Split,
    classes: &[String],
    seed: u64,
    warnings: &mut Vec<String>,
) -> Result<BTreeSet<usize>, DataError> {
    for column in view.balance.iter().filter(|column| *column != "label") {
        let of_class = |error| match error {
            // The class can be balanced over in any data.
            DataError::Unknown { known, .. } if known == "none" => unknown("column", column, &["label".to_owned()]),
            other => other,
        };
        check_column(column, entries.iter().map(|entry| &entry.record.attributes)).map_err(of_class)?;
    }
    let mut values: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); view.balance.len()];
    let mut groups: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
    for column in &view.balance {
        let unknown = entries.iter().filter(|entry| value(&entry.record, column, classes).is_none()).count();
        if unknown == entries.len() && unknown > 0 {
            return Err(DataError::NoValue { split: which, column: column.clone() });
        }
        let all = entries.len();
        warnings.extend(super::unknown(column, (unknown, all), &which.to_string(), "`balance` leaves them out"));
    }
    for (i, Entry { record, .. }) in entries.iter().enumerate() {
        let Some(key) = view.balance.iter().map(|column| value(record, column, classes)).collect::<Option<Vec<&str>>>() else { continue };
        for (seen, value) in values.iter_mut().zip(&key) {
            seen.insert(*value);
        }
        groups.entry(key).or_default().push(i);
    }
    if let Some(missing) = first_missing(&values, &groups) {
        let named: Vec<String> = view.balance.iter().zip(missing).map(|(column, value)| format!("{column} = {value}")).collect();
        return Err(DataError::EmptyGroup { split: which, group: named.join(", ") });
    }
    let rarest = groups.values().map(Vec::len).min().unwrap_or_default();
    let per_group = view.limit.map_or(rarest, |limit| rarest.min(limit / groups.len().max(1)));
    if per_group == 0 && !entries.is_empty() {
        return Err(DataError::LimitTooSmall { split: which, limit: view.limit.unwrap_or_default(), groups: groups.len() });
    }
    let mut rng = stream(seed, 0, &format!("data balance {which}"));
    Ok(groups.values().flat_map(|members| drawn(members, &mut rng).into_iter().take(per_group).copied().collect::<Vec<_>>()).collect())
}

/// What an image is balanced by: its class, or its value in a column where that is known.
fn value<'a>(record: &'a Record, column: &str, classes: &'a [String]) -> Option<&'a str> {
    match column {
        "label" => classes.get(record.label).map(String::as_str),
        _ => record.value(column),
    }
}

/// The first combination of seen values that no image has: among the first `groups + 1` there is one, or there is none.
fn first_missing<'a>(values: &[BTreeSet<&'a str>], groups: &BTreeMap<Vec<&'a str>, Vec<usize>>) -> Option<Vec<&'a str>> {
    let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
    for seen in values {
        combinations =
            combinations.iter().flat_map(|c| seen.iter().map(move |v| [c.as_slice(), &[*v]].concat())).take(groups.len() + 1).collect();
    }
    combinations.into_iter().find(|combination| !groups.contains_key(combination))
}

/// The training images that a [`Rebalance`] keeps, in ascending order. Another correlation or limit draws from each group in the same
/// order: what is compared along a curve differs in what is added, and in nothing else.
pub(super) fn rebalanced(records: &[Record], classes: &[String], spec: &Rebalance, seed: u64) -> Result<Vec<usize>, DataError> {
    let column = &spec.attribute;
    let mut groups: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    let mut values = BTreeSet::new();
    for (i, record) in records.iter().enumerate() {
        // An image whose value is not known is in no group.
        let Some(value) = record.value(column) else { continue };
        values.insert(value);
        groups.entry((record.label, value)).or_default().push(i);
    }
    if values.is_empty() {
        return Err(DataError::NoValue { split: Split::Train, column: column.clone() });
    }
    if let (Some(only), None) = (values.first(), values.iter().nth(1)) {
        return Err(DataError::OneValue { column: column.clone(), value: (*only).to_owned() });
    }
    let aligned = aligned(classes, &values, spec)?;
    let share = |label: usize, value: &str| match (spec.correlation, aligned.get(label)) {
        (Some(at), Some(with)) if *with == value => at,
        (Some(at), _) => (1.0 - at) / (values.len() - 1).max(1) as f64,
        (None, _) => 1.0 / values.len().max(1) as f64,
    };
    // As many of each class as the scarcest group allows.
    let mut per_class = spec.limit.map_or(f64::INFINITY, |limit| (limit / classes.len().max(1)) as f64);
    for (label, class) in classes.iter().enumerate() {
        for value in &values {
            let wanted = share(label, value);
            if wanted > 0.0 {
                let there = groups.get(&(label, *value)).map_or(0, Vec::len);
                if there == 0 {
                    let group = format!("label = {class}, {column} = {value}");
                    return Err(DataError::EmptyGroup { split: Split::Train, group });
                }
                per_class = per_class.min(there as f64 / wanted);
            }
        }
    }
    let mut rng = stream(seed, 0, "data rebalance");
    let mut kept = Vec::new();
    for ((label, value), members) in &groups {
        let count = (per_class.floor() * share(*label, value) + 1e-9).round() as usize;
        kept.extend(drawn(members, &mut rng).into_iter().take(count));
    }
    kept.sort_unstable();
    if kept.is_empty() {
        return Err(DataError::LimitTooSmall { split: Split::Train, limit: spec.limit.unwrap_or_default(), groups: groups.len() });
    }
    Ok(kept)
}

/// The value that goes with each class.
fn aligned<'a>(classes: &[String], values: &BTreeSet<&'a str>, spec: &'a Rebalance) -> Result<Vec<&'a str>, DataError> {
    let Some(named) = &spec.aligned else {
        return match spec.correlation {
            Some(_) if classes.len() != 2 || values.len() != 2 => Err(DataError::NotAligned {
                column: spec.attribute.clone(),
                classes: classes.len(),
                values: values.iter().copied().collect::<Vec<_>>().join(", "),
            }),
            _ => Ok(values.iter().copied().collect()),
        };
    };
    if let Some(stray) = named.keys().find(|name| !classes.contains(name)) {
        return Err(unknown("class", stray, classes));
    }
    let known = || values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    let of = |class: &String| {
        let value = named
            .get(class)
            .ok_or_else(|| unknown("class with a value in `aligned`", class, &named.keys().cloned().collect::<Vec<_>>()))?;
        values.get(value.as_str()).copied().ok_or_else(|| unknown("value", value, &known()))
    };
    classes.iter().map(of).collect()
}

/// Counts images per class; every class must have some.
pub(super) fn check_classes(labels: impl Iterator<Item = usize>, which: Split, classes: &[String]) -> Result<Vec<usize>, DataError> {
    let mut counts = vec![0; classes.len()];
    for label in labels {
        if let Some(count) = counts.get_mut(label) {
            *count += 1;
        }
    }
    let absent: Vec<&str> = classes.iter().zip(&counts).filter(|(_, count)| **count == 0).map(|(name, _)| name.as_str()).collect();
    if absent.is_empty() && !counts.is_empty() {
        return Ok(counts);
    }
    if absent.len() == classes.len() {
        return Err(DataError::EmptySplit { split: which });
    }
    let shown = absent.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    // Two folders of one class, written otherwise: whoever lists one of them lacks the other.
    let twins = absent.iter().find_map(|name| {
        let twin = classes.iter().find(|other| other.as_str() != *name && other.to_lowercase() == name.to_lowercase())?;
        Some((name, twin))
    });
    let advice = match twins {
        Some((name, twin)) => format!("`{name}` and `{twin}` are two classes here: if they are one, write it the same in train and test"),
        None => "list the classes to use under `classes`".to_owned(),
    };
    Err(DataError::EmptyClasses { split: which, count: absent.len(), names: shown, advice })
}
