//! What is wrong with a scan file that its schema cannot say, each mistake with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::spec::{Budget, InputSize, Match, MlflowSpec, Patterns, RuleSpec, ScanFile, SourceSpec, Tier, bytes, seconds};
use crate::source::hub::{self, Wanted};
use crate::source::mlflow;
use crate::spec::Fault;
use crate::store;

/// Fewest bytes a second that downloads are held to.
const LEAST_BANDWIDTH: u64 = 64 << 10;

/// What is wrong with a scan file whose folder is `base`, its policies aside.
pub(super) fn of(file: &ScanFile, base: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    let (mut buckets, mut folders) = (BTreeMap::new(), BTreeMap::new());
    let mut tracking = None;
    for (nth, source) in file.sources.iter().enumerate() {
        let at = format!("/sources/{nth}");
        if !names.insert(source.name()) {
            let message = format!("two sources are called `{}`: their models could not be told apart", source.name());
            faults.push(Fault::new("duplicate-entry", at.as_str(), message).hint("name each source once"));
        }
        faults.extend(of_source(source, base, &at));
        if let SourceSpec::Folder(path) = source
            && let Ok(there) = base.join(path).canonicalize()
            && let Some(earlier) = folders.insert(there, path).filter(|earlier| *earlier != path)
        {
            let message =
                format!("{} is the folder {}, which stands above: its models would count twice", path.display(), earlier.display());
            faults.push(Fault::new("duplicate-entry", at.as_str(), message).hint("name each folder once"));
        }
        if let SourceSpec::Mlflow(registry) = source {
            let other = tracking.get_or_insert(&registry.endpoint);
            if *other != &registry.endpoint {
                let message = format!("a scan asks one MLflow server: the environment has credentials for one, and {other} stands above");
                faults.push(Fault::new("conflict", format!("{at}/mlflow/endpoint"), message).hint("write a scan file for each server"));
            }
        }
        if let Some((bucket, _)) = source.bucket() {
            let address = bucket.address();
            let other = buckets.entry(address.clone()).or_insert_with(|| bucket.clone());
            if *other != bucket {
                let message = format!("{address} stands here in another way than above: its models could not be told apart");
                faults.push(
                    Fault::new("conflict", at.as_str(), message).hint("write the same `endpoint`, `region`, `account` and `anonymous`"),
                );
            }
        }
    }
    let mut all = None;
    for (nth, rule) in file.rules.iter().enumerate() {
        let at = format!("/rules/{nth}");
        if let Some(earlier) = all {
            let message = format!("no model comes to this rule: rule {} matches every model", earlier + 1);
            faults.push(
                Fault::new("unreachable", at.as_str(), message)
                    .hint("the first rule that matches counts: put the rule for all others last"),
            );
        }
        if rule.matching == Match::default() {
            all.get_or_insert(nth);
        }
        faults.extend(of_rule(rule, base, &at));
    }
    faults.extend(of_patterns(file.trusted.as_ref(), "/trusted"));
    let time = |text: Option<&String>, at: &str| {
        let text = text?;
        seconds(text).is_none().then(|| Fault::new("value", at, format!("`{text}` is no time at all, or too long")))
    };
    faults.extend(time(file.budget.time.as_ref(), "/budget/time"));
    faults.extend(time(file.recheck_after.as_ref(), "/recheck_after"));
    let Budget { bytes: read, disk, bandwidth, .. } = &file.budget;
    for (field, text, least) in [("bytes", read, 1), ("disk", disk, 1), ("bandwidth", bandwidth, LEAST_BANDWIDTH)] {
        let Some(text) = text.as_ref().filter(|text| bytes(text).is_none_or(|most| most < least)) else { continue };
        let mut fault = Fault::new("value", format!("/budget/{field}"), format!("`{text}` is no size that a budget can have"));
        if least == LEAST_BANDWIDTH {
            fault = fault.hint("64KiB a second is the least: connections that bring next to nothing are given up");
        }
        faults.push(fault);
    }
    faults
}

fn of_source(source: &SourceSpec, base: &Path, at: &str) -> Vec<Fault> {
    let hint = format!("paths start from the scan file's folder{}", named(base));
    let of_address = |address: &str, at: String| {
        let wrong = crate::source::address(address).err()?;
        Some(Fault::new("address", at, wrong).hint("such as https://huggingface.co"))
    };
    match source {
        SourceSpec::Folder(path) => {
            let fault = || Fault::new("missing-file", format!("{at}/folder"), format!("there is no folder {}", base.join(path).display()));
            (!base.join(path).is_dir()).then(|| fault().hint(hint)).into_iter().collect()
        }
        SourceSpec::Hf(hub) => hub.endpoint.iter().filter_map(|address| of_address(address, format!("{at}/hf/endpoint"))).collect(),
        SourceSpec::HfList(list) => {
            let endpoint = list.endpoint.iter().filter_map(|address| of_address(address, format!("{at}/hf_list/endpoint")));
            let path = base.join(&list.file);
            let named = || format!("{at}/hf_list/file");
            let missing = || Fault::new("missing-file", named(), format!("there is no file {}", path.display())).hint(hint);
            let file = if path.is_file() {
                names(&path).err().map(|why| Fault::new("list", named(), format!("{}: {why}", path.display())))
            } else {
                Some(missing())
            };
            endpoint.chain(file).collect()
        }
        SourceSpec::Http(index) => of_address(index, format!("{at}/http")).into_iter().collect(),
        SourceSpec::S3(_) | SourceSpec::Gs(_) | SourceSpec::Az(_) => of_bucket(source, at),
        SourceSpec::Mlflow(registry) => of_registry(registry, at),
    }
}

/// A folder, for the end of a hint; nothing where it is the one that is worked in.
fn named(base: &Path) -> String {
    if base.as_os_str().is_empty() || base == Path::new(".") { String::new() } else { format!(", {}", base.display()) }
}

fn of_bucket(source: &SourceSpec, at: &str) -> Vec<Fault> {
    let Some((bucket, prefix)) = source.bucket() else { return Vec::new() };
    let at = format!("{at}/{}", bucket.scheme);
    let endpoint = bucket.endpoint.as_ref().and_then(|endpoint| {
        let wrong = crate::source::address(endpoint).err()?;
        Some(Fault::new("address", format!("{at}/endpoint"), wrong).hint("such as https://minio.example:9000"))
    });
    let wrong = !prefix.is_empty() && !crate::source::is_below(&prefix);
    let prefix = wrong.then(|| Fault::new("value", format!("{at}/prefix"), "it is no path of plain names with `/` between them"));
    endpoint.into_iter().chain(prefix).chain(without(&at)).collect()
}

/// That this program reads no object stores.
fn without(at: &str) -> Option<Fault> {
    let fault = || Fault::new("unsupported", at, "this heirloom was built without object stores");
    cfg!(not(feature = "object-store")).then(|| fault().hint("build it with `--features object-store`"))
}

fn of_registry(registry: &MlflowSpec, at: &str) -> Vec<Fault> {
    let address = crate::source::address(&registry.endpoint).err();
    let address = address.map(|wrong| Fault::new("address", format!("{at}/mlflow/endpoint"), wrong).hint("such as https://mlflow.example"));
    let allow = registry.allow_sources.iter().enumerate().filter_map(|(nth, text)| {
        let at = format!("{at}/mlflow/allow_sources/{nth}");
        if mlflow::allowed(text).is_some() {
            return without(&at);
        }
        let fault = Fault::new("value", at, format!("`{}` is no bucket with a prefix", text.escape_debug()));
        Some(fault.hint("such as s3://models/team; artifacts of the server itself are read without it, and files and web addresses never"))
    });
    address.into_iter().chain(allow).collect()
}

/// The models that a file lists.
pub(super) fn names(path: &Path) -> Result<Vec<Wanted>, String> {
    /// Most bytes of such a file.
    const MOST: u64 = 8 << 20;
    let bytes = store::read(path, MOST).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())?;
    hub::read_list(&text)
}

fn of_patterns(patterns: Option<&Patterns>, at: &str) -> Vec<Fault> {
    let fault = |(below, pattern): (String, &str)| {
        let message = format!("`{pattern}` is no pattern: {}", glob::Pattern::new(pattern).err()?.msg);
        let hint = "`*` stands for any characters, `?` for one, `[ab]` for one of these; `[*]` is a star";
        Some(Fault::new("pattern", format!("{at}{below}"), message).hint(hint))
    };
    patterns.into_iter().flat_map(Patterns::all).filter_map(fault).collect()
}

fn of_rule(rule: &RuleSpec, base: &Path, at: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    match (&rule.policy, &rule.skip) {
        (Some(_), Some(_)) => {
            let fault = Fault::new("conflict", format!("{at}/skip"), "a rule has a policy, or leaves models out");
            faults.push(fault.hint("remove `policy` or `skip`"));
        }
        (None, None) if rule.tier != Tier::Static => {
            let message = format!("the tier `{}` needs a policy", rule.tier.name());
            let hint = "write `policy: FILE`; `tier: static` looks at the files alone, and `skip: WHY` leaves models out";
            faults.push(Fault::new("missing-field", at, message).hint(hint));
        }
        (Some(policy), None) if !base.join(policy).is_file() => {
            let hint = format!("paths start from the scan file's folder{}", named(base));
            let message = format!("there is no file {}", base.join(policy).display());
            faults.push(Fault::new("missing-file", format!("{at}/policy"), message).hint(hint));
        }
        _ => {}
    }
    for (field, patterns) in [("name", &rule.matching.name), ("source", &rule.matching.source), ("tag", &rule.matching.tag)] {
        faults.extend(of_patterns(patterns.as_ref(), &format!("{at}/match/{field}")));
    }
    if let Some(size) = &rule.matching.size {
        let read = |text: &Option<String>| text.as_deref().map(bytes);
        let bounds = [("at_least", read(&size.at_least)), ("at_most", read(&size.at_most))];
        for (field, bound) in &bounds {
            if bound == &Some(None) {
                faults.push(Fault::new("value", format!("{at}/match/size/{field}"), "no file is so large"));
            }
        }
        if let [(_, Some(Some(least))), (_, Some(Some(most)))] = bounds
            && least > most
        {
            let fault = Fault::new("conflict", format!("{at}/match/size"), "no model is larger than `at_least` and smaller than `at_most`");
            faults.push(fault.hint("exchange the two"));
        }
    }
    if let Some(InputSize { at_least: Some(least), at_most: Some(most) }) = rule.matching.input
        && least > most
    {
        let fault = Fault::new("conflict", format!("{at}/match/input"), "no image is larger than `at_least` and smaller than `at_most`");
        faults.push(fault.hint("exchange the two"));
    }
    faults
}
