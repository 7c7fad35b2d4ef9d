//! Whether the files that a policy names are there, and its trigger images are images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Options, Policy, reference_at};
use crate::data::Split;
use crate::diag::Diagnostic;
use crate::gate::Rule;
use crate::probe::Probe;
use crate::registry::{self, FileRef};
use crate::spec::Node;
use crate::store::{Digest, Fingerprinter};
use crate::transform::{PreparedTrigger, TransformError, Trigger, TriggerFile, in_folder};

/// Side of the frames that trigger images are tried at, in pixels.
const SIDE: usize = 224;

/// Adds the files that are missing to `diagnostics`.
pub(super) fn check(policy: &Policy, tree: &Node, options: &Options, diagnostics: &mut Vec<Diagnostic>) {
    let target = &policy.file.target;
    let mut seek = |path: &Path, pointer: &str, directory: bool| {
        let redirected = options.data.is_some() && pointer.starts_with("/target/data");
        let from = if redirected { "`--data` leads to".to_owned() } else { String::new() };
        let span = tree.find(pointer).or_else(|| tree.find("/target/data")).map_or(0..0, Node::value_span);
        for split in splits(path) {
            let word = |word: &str| policy.path(Path::new(&path.to_string_lossy().replace("{split}", word)));
            let there = |full: &PathBuf| if full.to_string_lossy().contains('*') { matches(full) } else { full.exists() };
            let places: Vec<PathBuf> = match split {
                Some(split) => target.data.words(split).into_iter().map(word).collect(),
                None => vec![policy.path(path)],
            };
            let what = if directory { "folder" } else { "file" };
            let found = places.iter().any(there);
            let Some(full) = places.iter().find(|full| there(full)).or(places.first()) else { continue };
            let message = match split {
                _ if found && directory && !full.is_dir() => format!("{from} {} is not a folder", full.display()),
                _ if found => continue,
                Some(split) => format!("{from} no {what} {} for the split `{split}`", full.display()),
                None => format!("{from} no {what} {}", full.display()),
            };
            let diagnostic = Diagnostic::error("policy::missing-file", span.clone(), message.trim_start());
            diagnostics.push(if redirected {
                diagnostic.hint("name the place of the data after `--data`")
            } else {
                let elsewhere = if pointer.starts_with("/target/data") { "; `--data PATH` takes the images from elsewhere" } else { "" };
                diagnostic.hint(format!("paths start from the policy's folder, {}{elsewhere}", policy.base.display()))
            });
        }
    };
    let mut unread = Vec::new();
    if let Some((path, folder)) = target.data.on_disk().filter(|_| !options.without_data) {
        seek(path, &format!("/target/data/{}", target.data.format()), folder);
    }
    if let Some(path) = target.attributes.as_ref().filter(|_| !options.without_data) {
        seek(path, "/target/attributes", false);
    }
    for (index, rule) in policy.file.rules.iter().enumerate() {
        for (file, pointer) in trigger_files(index, rule) {
            seek(&file.path, &pointer, false);
        }
    }
    for rule in policy.rules.iter().filter(|rule| matches!(rule.probe, Probe::Natural(_))) {
        if let Some(reason) = rule.probe.change().and_then(|trigger| unusable(policy, trigger)) {
            let pointer = format!("/rules/{}/probe/natural/features", policy.written(&rule.id).unwrap_or_default());
            let span = tree.find(&pointer).map_or(0..0, Node::value_span);
            unread.push(
                Diagnostic::error("policy::unusable-file", span, reason).hint("features are images with transparency, or with a mask"),
            );
        }
    }
    for (index, reference) in policy.file.references.iter().enumerate() {
        seek(&reference.model, &format!("{}/model", reference_at(tree, index)), false);
    }
    diagnostics.append(&mut unread);
    for (index, rule) in policy.file.rules.iter().enumerate() {
        for (file, pointer) in trigger_files(index, rule) {
            // An image and its mask are two files of one trigger, of which what is wrong is said once.
            if policy.path(&file.path).exists()
                && let Some(reason) = unusable(policy, file.trigger)
                && diagnostics.iter().all(|known| known.message != reason)
            {
                let span = tree.find(&pointer).map_or(0..0, Node::value_span);
                diagnostics.push(Diagnostic::error("policy::unusable-file", span, reason));
            }
        }
    }
}

/// What to write in place of a reference's digest of earlier releases: that of the file, if it is the one that was meant.
pub(super) fn earlier_reference(policy: &Policy, options: &Options, index: usize, earlier: &Digest) -> String {
    let Some(reference) = policy.file.references.get(index) else { return String::new() };
    let name = reference.model.display();
    let found = options.files.then(|| registry::identify(&policy.path(&reference.model)).ok()).flatten();
    match found.and_then(|found| Some((registry::earlier_digest(&found).ok()?, found.digest))) {
        Some((old, new)) if old == *earlier => format!("write `digest: {new}`: it is the same file"),
        Some((_, new)) => format!("{name} is another file than the one that was pinned; if it is trusted, write `digest: {new}`"),
        None => format!("write the digest that `heirloom inspect {name}` prints"),
    }
}

/// Digest of all that decides what a policy asks: its text, where its images lie, its salt, and what is in the other files that it names. A file that
/// is not there counts as none: whoever runs the policy is told.
pub(super) fn digest(policy: &Policy) -> Digest {
    let mut feed = Fingerprinter::new("heirloom policy with its files", 1);
    feed.field("policy", &policy.digest);
    feed.field("data", &policy.file.target.data);
    feed.later("salt", &policy.seed.salt());
    for path in paths(policy) {
        // In pieces: a file may be as large as a disk.
        let contents = crate::store::open(&policy.path(&path)).and_then(Digest::of_reader).ok();
        feed.field("file", &contents);
    }
    feed.finish()
}

/// The files of all triggers, and of attributes, as the policy names them; one that several triggers share stands for each. Of a folder of images
/// those in it.
fn paths(policy: &Policy) -> impl Iterator<Item = PathBuf> {
    let triggers = policy.rules.iter().filter_map(|rule| rule.probe.change());
    let each = |file: TriggerFile<'_>| match in_folder(&policy.path(&file.path)) {
        Ok(Some(images)) => images.iter().filter_map(|image| Some(file.path.join(image.file_name()?))).collect(),
        // What is wrong with a folder, whoever prepares the trigger says.
        _ => vec![file.path],
    };
    triggers.flat_map(Trigger::files).flat_map(each).chain(policy.file.target.attributes.clone())
}

/// The same with their digests, each once.
pub(super) fn named(policy: &Policy) -> Vec<FileRef> {
    let mut seen = BTreeSet::new();
    let file = |path: PathBuf| {
        let file = crate::store::open(&policy.path(&path)).ok()?;
        let bytes = file.metadata().ok()?.len();
        Some(FileRef { name: path.display().to_string(), digest: Digest::of_reader(file).ok()?, bytes })
    };
    paths(policy).filter(|path| seen.insert(path.clone())).filter_map(file).collect()
}

/// The files of a rule's triggers, and where the policy names each.
fn trigger_files(index: usize, rule: &Rule) -> Vec<(TriggerFile<'_>, String)> {
    let at = match &rule.probe {
        Probe::Backdoor(_) => format!("/rules/{index}/probe/backdoor/trigger"),
        Probe::Spurious(_) => format!("/rules/{index}/probe/spurious/feature"),
        // Those of a folder were looked for when it was taken apart.
        Probe::Natural(_) | Probe::Attribute(_) | Probe::Debiased(_) => return Vec::new(),
    };
    let files = rule.probe.change().map(Trigger::files).unwrap_or_default();
    files.into_iter().map(|file| (format!("{at}{}", file.at), file)).map(|(pointer, file)| (file, pointer)).collect()
}

/// Why a trigger's image cannot be read. What depends on the model's resolution, as a pattern's shape does, is found later.
fn unusable(policy: &Policy, trigger: &Trigger) -> Option<String> {
    match PreparedTrigger::new(trigger, &policy.base, SIDE, SIDE) {
        Err(error @ (TransformError::Read { .. } | TransformError::Content { .. })) => Some(error.to_string()),
        _ => None,
    }
}

/// The splits that a path has places of, where it has `{split}`.
fn splits(path: &Path) -> Vec<Option<Split>> {
    if path.to_string_lossy().contains("{split}") { vec![Some(Split::Train), Some(Split::Test)] } else { vec![None] }
}

/// Whether any file fits; only `*` has a meaning, as where the data is read.
fn matches(pattern: &Path) -> bool {
    let pattern = pattern.to_string_lossy().split('*').map(glob::Pattern::escape).collect::<Vec<_>>().join("*");
    glob::glob(&pattern).is_ok_and(|paths| paths.flatten().any(|path| path.is_file()))
}
