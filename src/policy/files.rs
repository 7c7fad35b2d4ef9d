//! Whether the files that a policy names are there, and its trigger pictures are pictures.

use std::path::Path;

use super::check::find;
use super::yaml::Node;
use super::{Options, Policy};
use crate::data::DataSpec;
use crate::diag::Diagnostic;
use crate::gate::Rule;
use crate::probe::Probe;
use crate::transform::{PreparedTrigger, TransformError, Trigger};

/// Side of the frames that trigger pictures are tried at, in pixels.
const SIDE: usize = 224;

/// Adds the files that are missing to `diagnostics`.
pub(super) fn check(policy: &Policy, tree: &Node, options: &Options, diagnostics: &mut Vec<Diagnostic>) {
    let mut seek = |path: &Path, pointer: &str, directory: bool| {
        let redirected = options.data.is_some() && pointer.starts_with("/target/data");
        let from = if redirected { "`--data` leads to".to_owned() } else { String::new() };
        let span = find(tree, pointer).or_else(|| find(tree, "/target/data")).map_or(0..0, Node::value_span);
        for (place, split) in expand(path) {
            let full = policy.path(Path::new(&place));
            let what = if directory { "folder" } else { "file" };
            let found = if place.contains('*') { matches(&full) } else { full.exists() };
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
                diagnostic.hint(format!("paths start from the policy's folder, {}", policy.base.display()))
            });
        }
    };
    let target = &policy.file.target;
    match &target.data {
        DataSpec::Parquet(path) => seek(path, "/target/data/parquet", false),
        DataSpec::Folder(path) => seek(path, "/target/data/folder", true),
        DataSpec::Idx(path) => seek(path, "/target/data/idx", true),
        DataSpec::CifarBinary(path) => seek(path, "/target/data/cifar_binary", true),
        DataSpec::Embedded(_) => {}
    }
    if let Some(path) = &target.attributes {
        seek(path, "/target/attributes", false);
    }
    for (index, rule) in policy.file.rules.iter().enumerate() {
        for (_, path, pointer) in trigger_files(index, rule) {
            seek(path, &pointer, false);
        }
    }
    if let Some(reference) = &policy.file.reference {
        seek(&reference.model, "/reference/model", false);
    }
    for (index, rule) in policy.file.rules.iter().enumerate() {
        for (trigger, path, pointer) in trigger_files(index, rule) {
            if policy.path(path).exists()
                && let Some(reason) = unusable(policy, trigger)
            {
                let span = find(tree, &pointer).map_or(0..0, Node::value_span);
                diagnostics
                    .push(Diagnostic::error("policy::unusable-file", span, reason).hint("give a PNG, JPEG or WebP that opens in a viewer"));
            }
        }
    }
}

/// The files of a rule's triggers: which trigger, its file, and where the policy names it.
fn trigger_files(index: usize, rule: &Rule) -> Vec<(&Trigger, &Path, String)> {
    let Probe::Backdoor(probe) = &rule.probe;
    let at = format!("/rules/{index}/probe/backdoor/trigger");
    match &probe.trigger {
        Trigger::All(triggers) => {
            triggers.iter().enumerate().filter_map(|(part, trigger)| trigger_file(trigger, &format!("{at}/all/{part}"))).collect()
        }
        trigger => trigger_file(trigger, &at).into_iter().collect(),
    }
}

fn trigger_file<'a>(trigger: &'a Trigger, at: &str) -> Option<(&'a Trigger, &'a Path, String)> {
    let (path, field) = match trigger {
        Trigger::Patch(patch) => (patch.image.as_deref()?, "patch/image"),
        Trigger::Pattern(pattern) => (pattern.file.as_deref()?, "pattern/file"),
        Trigger::Blend(blend) => (blend.image.as_deref()?, "blend/image"),
        Trigger::Overlay(overlay) => (overlay.image.as_path(), "overlay/image"),
        Trigger::Sinusoid(_)
        | Trigger::Warp(_)
        | Trigger::LowFrequency(_)
        | Trigger::Quantize(_)
        | Trigger::Noise(_)
        | Trigger::Text(_)
        | Trigger::All(_) => return None,
    };
    Some((trigger, path, format!("{at}/{field}")))
}

/// Why a trigger's picture cannot be read. What depends on the model's resolution, as a pattern's shape does, is found later.
fn unusable(policy: &Policy, trigger: &Trigger) -> Option<String> {
    if matches!(trigger, Trigger::Pattern(_)) {
        return None;
    }
    match PreparedTrigger::new(trigger, &policy.base, SIDE, SIDE) {
        Err(error @ (TransformError::Read { .. } | TransformError::Content { .. })) => Some(error.to_string()),
        _ => None,
    }
}

/// The path for each split, where it has `{split}`.
fn expand(path: &Path) -> Vec<(String, Option<&'static str>)> {
    let path = path.to_string_lossy();
    if path.contains("{split}") {
        ["train", "test"].map(|split| (path.replace("{split}", split), Some(split))).to_vec()
    } else {
        vec![(path.into_owned(), None)]
    }
}

/// Whether any file fits; only `*` has a meaning, as where the data is read.
fn matches(pattern: &Path) -> bool {
    let pattern = pattern.to_string_lossy().split('*').map(glob::Pattern::escape).collect::<Vec<_>>().join("*");
    glob::glob(&pattern).is_ok_and(|paths| paths.flatten().any(|path| path.is_file()))
}
