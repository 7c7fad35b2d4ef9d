//! The policies of a study: what it varies with every combination of values, each mistake shown where somebody wrote it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Axis, Step, Study};
use crate::diag::{Diagnostic, Level};
use crate::policy::{self, Options, Policy, PolicyFile};
use crate::series::Ahead;
use crate::spec::{self, Document, Fault, Node, Remarks, SpecError};
use crate::store::{self, Digest};

/// Mistakes after which no more combinations are tried.
const ENOUGH: usize = 100;

/// The policy that a study varies, as it is written.
pub(super) struct Written {
    /// The policy. Its places are in the policy's file, or in the study where it has none.
    pub tree: Node,
    /// The folder that its paths start from.
    pub base: PathBuf,
    /// Its file, where it has one: text and name.
    file: Option<(String, String)>,
}

impl Written {
    /// The policy of a study that `tree` holds and whose folder is `base`. What an axis puts in later may be missing.
    pub fn of(study: &Study, tree: &Node, base: &Path) -> Result<Self, SpecError> {
        let Value::String(path) = &study.policy else {
            let policy = tree.child("policy").cloned().unwrap_or_else(Node::nothing);
            return Ok(Self { tree: policy, base: base.to_owned(), file: None });
        };
        let path = base.join(path);
        let name = path.display().to_string();
        let text = spec::text(&spec::POLICY, &path)?;
        let later = study.vary.iter().flat_map(|axis| axis.set.clone()).collect();
        let mut wrong = Vec::new();
        let policy = spec::tree::<PolicyFile>(&text, &name, &mut wrong)?;
        if let Some(policy) = &policy {
            spec::check::<PolicyFile>(&text, policy, &later, &mut wrong);
        }
        match policy {
            Some(tree) if wrong.is_empty() => Ok(Self { tree, base: store::folder_of(&path).to_owned(), file: Some((text, name)) }),
            _ => Err(SpecError::invalid(&spec::POLICY, &text, &name, wrong)),
        }
    }

    /// The policy with every combination of values, each checked with its data, and remarks on them. `document` is the study, and `further`
    /// says what else is wrong with it, given the policies.
    pub fn combined(
        &self,
        study: &Study,
        Document { tree, text, name }: &Document,
        options: &Options,
        further: impl FnOnce(&[(Vec<String>, Policy)]) -> Vec<Fault>,
    ) -> Result<Combined, SpecError> {
        let mut ahead = Ahead::default();
        // Values stand in the study, and what surrounds them in the policy's file: one text after the other.
        let own = self.file.as_ref().map_or("", |(text, _)| text);
        let texts = format!("{own}{text}");
        let value = |axis: usize, step: usize| {
            let node = tree.find(&format!("/vary/{axis}/to/{step}"))?;
            let named = matches!(study.vary.get(axis)?.to.get(step)?, Step::Named { .. });
            let node = if named { node.child("value")? } else { node };
            Some(node.clone().moved(own.len()))
        };
        let values: Vec<Vec<Node>> =
            study.vary.iter().enumerate().map(|(at, axis)| (0..axis.to.len()).filter_map(|step| value(at, step)).collect()).collect();
        let mut found = Found::default();
        let mut policies = Vec::new();
        for steps in product(&study.vary) {
            let mut policy = self.tree.clone();
            let chosen: Vec<&Node> = values.iter().zip(&steps).filter_map(|(values, step)| values.get(*step)).collect();
            let mut wrong = Vec::new();
            for (axis, node) in study.vary.iter().zip(&chosen) {
                for pointer in &axis.set {
                    let put = policy.put(pointer, (*node).clone());
                    wrong.extend(put.err().map(|reason| Diagnostic::error(spec::STUDY.code("value"), own.len()..own.len(), reason)));
                }
            }
            let at: Vec<String> = study.vary.iter().zip(&steps).filter_map(|(axis, step)| Some(axis.to.get(*step)?.name())).collect();
            // It is known by the text that it would have as a file of its own.
            let combined = serde_json::to_string_pretty(&policy.value()).unwrap_or_default();
            let source = format!("{name}: {}", if at.is_empty() { "policy".to_owned() } else { at.join(", ") });
            let written = policy::Parsed { tree: &policy, text: &texts, name: &source, digest: Digest::of(combined.as_bytes()) };
            let read = if wrong.is_empty() { policy::read(written, &self.base, options, &mut wrong) } else { None };
            if let Some(read) = read.as_ref().filter(|_| !is_wrong(&wrong)) {
                wrong.extend(ahead.policy(read, &policy));
            }
            // What is wrong with a policy is said once, and not again of every checkpoint.
            let sound = !is_wrong(&wrong);
            found.add(wrong, &chosen, || study.vary.iter().zip(&at).map(|(axis, value)| format!("{} {value}", axis.name)).collect());
            policies.extend(read.filter(|_| sound).map(|policy| (at, Policy { text: Some(combined), ..policy })));
            if found.errors >= ENOUGH {
                break;
            }
        }
        let errors = found.errors > 0;
        let (of_policy, of_study): (Vec<_>, Vec<_>) = found.diagnostics().into_iter().partition(|d| d.span.start < own.len());
        let of_study =
            of_study.into_iter().map(|d| Diagnostic { span: d.span.start - own.len()..d.span.end.saturating_sub(own.len()), ..d });
        let further = further(&policies).into_iter().map(|fault| fault.placed(&spec::STUDY, tree));
        let of_study: Vec<Diagnostic> = of_study.chain(further).collect();
        match &self.file {
            _ if is_wrong(&of_study) => Err(SpecError::invalid(&spec::STUDY, text, name, of_study)),
            Some((text, name)) if is_wrong(&of_policy) => Err(SpecError::invalid(&spec::POLICY, text, name, of_policy)),
            _ if errors => Err(SpecError::whole(&spec::STUDY, text, name, "the policy cannot be read")),
            file => {
                let own = file.iter().map(|(text, name)| Remarks::new(text, name, of_policy.clone()));
                let remarks = own.chain([Remarks::new(text, name, of_study)]).filter(|remarks| !remarks.diagnostics.is_empty());
                Ok(Combined { policies, remarks: remarks.collect() })
            }
        }
    }
}

fn is_wrong(all: &[Diagnostic]) -> bool {
    all.iter().any(|diagnostic| diagnostic.level == Level::Error)
}

/// What a study runs.
pub(super) struct Combined {
    /// A policy for each combination of values, with their names.
    pub policies: Vec<(Vec<String>, Policy)>,
    /// What is remarkable about them.
    pub remarks: Vec<Remarks>,
}

/// What is wrong or remarkable in combinations, each once.
#[derive(Default)]
struct Found {
    tried: usize,
    errors: usize,
    /// By place and message, the position in `all`.
    known: BTreeMap<(usize, usize, String), usize>,
    all: Vec<Told>,
}

struct Told {
    diagnostic: Diagnostic,
    /// In how many combinations.
    count: usize,
    /// The first of them in words; nothing where a value is wrong by itself.
    with: String,
}

impl Found {
    /// Adds what one combination gives; `chosen` are the values in it, `words` says which.
    fn add(&mut self, found: Vec<Diagnostic>, chosen: &[&Node], words: impl Fn() -> Vec<String>) {
        self.tried += 1;
        for diagnostic in found {
            let key = (diagnostic.span.start, diagnostic.span.end, diagnostic.message.clone());
            if let Some(told) = self.known.get(&key).and_then(|at| self.all.get_mut(*at)) {
                told.count += 1;
                continue;
            }
            self.known.insert(key, self.all.len());
            self.errors += usize::from(diagnostic.level == Level::Error);
            // A value that is wrong by itself is pointed at.
            let itself = chosen.iter().any(|value| value.is_at(&diagnostic.span));
            let with = if itself { String::new() } else { words().join(", ") };
            self.all.push(Told { diagnostic, count: 1, with });
        }
    }

    /// All of it. Where not all combinations are concerned, one that is stands under the place.
    fn diagnostics(self) -> Vec<Diagnostic> {
        let tried = self.tried;
        let told = self.all.into_iter().map(|Told { diagnostic, count, with }| {
            if count == tried || with.is_empty() || !diagnostic.label.is_empty() {
                diagnostic
            } else {
                diagnostic.label(format!("with {with}"))
            }
        });
        told.collect()
    }
}

/// Every combination of one step of each axis, the last axis fastest: the step's position in each.
pub(super) fn product(axes: &[Axis]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        all.iter().flat_map(|before| (0..axis.to.len()).map(move |step| [before.as_slice(), &[step]].concat())).collect()
    })
}
