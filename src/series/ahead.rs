//! What a run would refuse, known before it begins: of a policy what its data and its reference do not bear out, of a checkpoint what keeps it
//! from being certified. Policies, studies and calibrations ask it here, so that `heirloom validate` and the commands that run them say the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use crate::data::{self, DataError, Facts, Index};
use crate::diag::{Diagnostic, Explain, Level};
use crate::engine::{self, EngineError, ReferenceError};
use crate::gate::Rule;
use crate::model::{InputOverride, Model};
use crate::plan::{self, PlanError};
use crate::policy::{self, Policy, PolicyFile};
use crate::registry;
use crate::session::{OpenOptions, Session, SessionError};
use crate::spec::{self, Fault, Node, Remarks, SpecError};
use crate::store::{self, Digest};

/// Data sets that are kept for the next policy.
const KEPT: usize = 8;
/// Most data sets that are looked at.
const MOST_OPENED: usize = 200;
/// Largest checkpoint that is read as a whole before a run, in bytes.
const MOST_TRIED: u64 = 1 << 30;

/// Looks at policies with their data. What it has found is kept: the policies of a study have much in common.
#[derive(Default)]
pub struct Ahead {
    /// By what of a policy its data are asked for.
    told: BTreeMap<Digest, Vec<Diagnostic>>,
    /// By where the data are and how they are split, the newest last.
    opened: VecDeque<(Digest, Rc<Result<Index, DataError>>)>,
    count: usize,
}

impl Ahead {
    /// The policy in a file, checked with its data, and remarks on it.
    pub fn load(path: &Path, options: &policy::Options) -> Result<(Policy, Remarks), SpecError> {
        Self::parse(&spec::text(&spec::POLICY, path)?, &path.display().to_string(), store::folder_of(path), options)
    }

    /// The policy in a text that came from `name` and whose relative paths start from `base`, checked with its data, and remarks on it.
    pub fn parse(text: &str, name: &str, base: &Path, options: &policy::Options) -> Result<(Policy, Remarks), SpecError> {
        let (policy, mut remarks) = policy::parse(text, name, base, options)?;
        if let Some(tree) = spec::tree::<PolicyFile>(text, name, &mut Vec::new())? {
            remarks.extend(if options.without_data { of_references(&policy, &tree) } else { Self::default().policy(&policy, &tree) });
        }
        if remarks.iter().any(|remark| remark.level == Level::Error) {
            return Err(SpecError::invalid(&spec::POLICY, text, name, remarks));
        }
        Ok((policy, Remarks::new(text, name, remarks)))
    }

    /// What its data and its reference say of a policy: what a run would refuse, and what is worth knowing. `tree` has the places. No image is
    /// decoded.
    pub(crate) fn policy(&mut self, policy: &Policy, tree: &Node) -> Vec<Diagnostic> {
        let file = &policy.file;
        let asked = known_by(&(&policy.base, &file.target, file.seed, &file.seeds, &policy.rules, &file.references));
        if let Some(told) = asked.as_ref().and_then(|asked| self.told.get(asked)) {
            return told.clone();
        }
        let mut told = of_references(policy, tree);
        match self.index(policy).as_deref() {
            Some(Ok(index)) => told.extend(of_facts(policy, tree, index.facts())),
            Some(Err(error)) => {
                let wrong = Diagnostic::error("policy::data", tree.place_of_field("/target"), format!("the data cannot be used: {error}"));
                told.push(advised(wrong, error.hint()));
            }
            None => told.push(Diagnostic::warning(
                "policy::data",
                tree.place_of_field("/target"),
                format!("the data were looked at in {MOST_OPENED} ways; the others are not checked before they are used"),
            )),
        }
        self.told.extend(asked.map(|asked| (asked, told.clone())));
        told
    }

    /// Why a policy's data cannot settle one of its limits, if they cannot. Data that cannot be used settle nothing, and that is said elsewhere.
    pub(crate) fn unsettled(&mut self, policy: &Policy) -> Option<PlanError> {
        let index = self.index(policy)?;
        let resolved = plan::resolve(policy);
        let counts = engine::counts(&resolved, index.as_ref().as_ref().ok()?.facts()).ok()?;
        plan::unsettled(&resolved, &counts).into_iter().next()
    }

    /// The data of a policy; nothing where there are too many to look at.
    fn index(&mut self, policy: &Policy) -> Option<Rc<Result<Index, DataError>>> {
        let file = &policy.file;
        let asked = known_by(&(&policy.base, &file.target, file.seed));
        if let Some((_, index)) = self.opened.iter().find(|(known, _)| Some(known) == asked.as_ref()) {
            return Some(Rc::clone(index));
        }
        self.count += 1;
        if self.count > MOST_OPENED {
            return None;
        }
        let index = Rc::new(data::index(&file.target, &policy.base, file.seed));
        if self.opened.len() >= KEPT {
            self.opened.pop_front();
        }
        self.opened.extend(asked.map(|asked| (asked, Rc::clone(&index))));
        Some(index)
    }
}

/// What values are known by.
fn known_by(values: &impl serde::Serialize) -> Option<Digest> {
    serde_json::to_vec(values).ok().map(|text| Digest::of(&text))
}

fn advised(diagnostic: Diagnostic, hint: Option<&str>) -> Diagnostic {
    hint.into_iter().fold(diagnostic, Diagnostic::hint)
}

/// What keeps the references that a policy pins from being compared with, whatever they are compared to. A file that is missing is no part of it:
/// that is said with the other files.
fn of_references(policy: &Policy, tree: &Node) -> Vec<Diagnostic> {
    let wrong = |index: usize, field: &str| {
        let pinned = policy.file.references.get(index)?;
        let path = policy.path(&pinned.model);
        let wrong =
            |at: &str, message: String| Diagnostic::error("policy::reference", tree.place_of_value(&format!("{field}/{at}")), message);
        if !path.exists() {
            return None;
        }
        match registry::identify(&path) {
            Err(error) => Some(advised(wrong("model", error.to_string()), error.hint())),
            Ok(found) => {
                let error = engine::is_pinned(&found, pinned).err()?;
                let hint = "if this file is trusted, write its digest; else fetch the one that is pinned";
                Some(wrong("digest", error.to_string()).hint(hint))
            }
        }
    };
    (0..policy.file.references.len()).filter_map(|index| wrong(index, &policy::reference_at(tree, index))).collect()
}

fn of_facts(policy: &Policy, tree: &Node, facts: Facts) -> Vec<Diagnostic> {
    let target = tree.place_of_field("/target");
    let refused = |place: Range<usize>, message: String| Diagnostic::error("policy::data", place, message);
    let resolved = plan::resolve(policy);
    let counts = match engine::counts(&resolved, facts) {
        Ok(counts) => counts,
        Err(error) => {
            let (rule, message, hint) = match &error {
                EngineError::Rule { rule, reason, .. } => (Some(rule), reason.to_string(), None),
                EngineError::Asked { rule, source, .. } => (Some(rule), source.to_string(), error.hint()),
                other => (None, other.to_string(), None),
            };
            let place = rule.map_or(target, |rule| of_rule(policy, tree, rule, "id"));
            return vec![advised(refused(place, message), hint)];
        }
    };
    let unsettled = plan::unsettled(&resolved, &counts);
    if !unsettled.is_empty() {
        let place = |error: &PlanError| match error {
            PlanError::Cap { rule, .. } => of_rule(policy, tree, rule, "limit"),
            _ => target.clone(),
        };
        return unsettled.iter().map(|error| refused(place(error), error.to_string())).collect();
    }
    let [compared, balanced] = engine::unknown(&resolved, facts);
    let compares = |rule: &Rule, name: &str| rule.probe.compared().is_some_and(|compared| compared.attribute == name);
    let balances = |rule: &Rule, name: &str| rule.probe.rebalance().is_some_and(|balanced| balanced.attribute == name);
    let compared = compared.into_iter().map(|(name, remark)| (attribute(policy, tree, |rule| compares(rule, &name)), remark));
    let balanced = balanced.into_iter().map(|(name, remark)| (attribute(policy, tree, |rule| balances(rule, &name)), remark));
    let remarks = compared.chain(balanced).chain(facts.warnings.iter().map(|warning| (target.clone(), warning.clone())));
    remarks.map(|(span, remark)| Diagnostic::warning("policy::data", span, remark)).collect()
}

/// Where a rule has a field; one of several that a rule of the file stands for has its place.
fn of_rule(policy: &Policy, tree: &Node, id: &str, field: &str) -> Range<usize> {
    tree.place_of_value(&policy.written(id).map_or_else(|| "/rules".to_owned(), |nth| format!("/rules/{nth}/{field}")))
}

/// Where the first of some rules names its attribute.
fn attribute(policy: &Policy, tree: &Node, names: impl Fn(&Rule) -> bool) -> Range<usize> {
    let rule = policy.file.rules.iter().enumerate().find(|(_, rule)| names(rule));
    let at = rule.map(|(nth, rule)| format!("/rules/{nth}/probe/{}/attribute", rule.probe.name()));
    tree.place_of_value(&at.unwrap_or_else(|| "/target".to_owned()))
}

/// What opens checkpoints.
pub struct Opening<'a> {
    /// Where.
    pub session: &'a Session<'a>,
    /// Whether nothing follows: no library is looked for, so that what only ONNX Runtime could run is left to the run, and so are checkpoints of
    /// more than 1 GiB.
    pub only_looks: bool,
}

impl Opening<'_> {
    /// All that keeps a checkpoint from being certified with these policies, each once; `at` is the JSON pointer to where it is named. An error
    /// where that cannot be found out.
    pub(crate) fn faults(&self, path: &Path, policies: &[&Policy], at: &str) -> Result<Vec<Fault>, SessionError> {
        let identity = match registry::identify(path) {
            Ok(identity) => identity,
            Err(error) => return Ok(vec![fault(at, error.to_string(), error.hint())]),
        };
        if self.only_looks && identity.bytes > MOST_TRIED {
            return Ok(Vec::new());
        }
        let mut inputs: Vec<(&Option<InputOverride>, Vec<&Policy>)> = Vec::new();
        for policy in policies {
            match inputs.iter_mut().find(|(input, _)| **input == policy.file.input) {
                Some((_, same)) => same.push(policy),
                None => inputs.push((&policy.file.input, vec![policy])),
            }
        }
        let mut found: Vec<Fault> = Vec::new();
        for (_, policies) in inputs {
            let Some(first) = policies.first() else { continue };
            match self.session.open(path, first, &OpenOptions::default()) {
                Ok(model) => {
                    let mut asked = BTreeSet::new();
                    for policy in policies {
                        // What else a policy says does not matter here.
                        let known = known_by(&(&policy.base, &policy.rules, &policy.file.waivers, &policy.file.references));
                        if known.is_none_or(|known| asked.insert(known)) {
                            found.extend(self.unfit(&model, policy, at)?);
                        }
                    }
                }
                Err(SessionError::Model(error)) if self.only_looks && error.is_about_operators() => {}
                Err(SessionError::Model(error)) if !error.is_end() => found.push(fault(at, error.to_string(), error.hint())),
                Err(SessionError::Registry(error)) => found.push(fault(at, error.to_string(), error.hint())),
                Err(other) => return Err(other),
            }
        }
        let mut told = BTreeSet::new();
        found.retain(|fault| told.insert(fault.message.clone()));
        Ok(found)
    }

    /// What of a policy does not fit a checkpoint.
    fn unfit(&self, model: &Model, policy: &Policy, at: &str) -> Result<Option<Fault>, SessionError> {
        let told = |error: &EngineError| match error {
            EngineError::Change { rule, source, .. } => format!("with {}, the rule `{rule}`: {source}", model.identity.name()),
            other => other.to_string(),
        };
        if let Err(error) = engine::check(policy, model) {
            return Ok(Some(fault(at, told(&error), None)));
        }
        match engine::references(policy, model, self.session.runtime.as_ref(), &self.session.compute) {
            Ok(_) => Ok(None),
            Err(ReferenceError::Model { source, .. }) if self.only_looks && source.is_about_operators() => Ok(None),
            Err(ReferenceError::Model { source, .. }) if source.is_end() => Err(SessionError::Model(*source)),
            Err(error) => Ok(Some(fault(at, error.to_string(), None))),
        }
    }
}

fn fault(at: &str, message: String, hint: Option<&str>) -> Fault {
    hint.into_iter().fold(Fault::new("model", at, message), Fault::hint)
}

/// All that keeps a source that is yet to be trained on images of this height and width from being certified with these policies. `at` is the
/// JSON pointer to where it is named. What has the size of the checkpoint that it begins from is checked when it is opened.
pub fn faults_of_size(size: [usize; 2], policies: &[&Policy], at: &str) -> Vec<Fault> {
    if size == [0, 0] {
        return Vec::new();
    }
    let mut found: Vec<Fault> = Vec::new();
    let mut asked = BTreeSet::new();
    for policy in policies {
        let input = policy.file.input.as_ref().and_then(|input| input.size);
        if known_by(&(&policy.base, &policy.rules, input)).is_some_and(|known| !asked.insert(known)) {
            continue;
        }
        if let Some(input) = input.filter(|input| *input != size) {
            let message =
                format!("the source is trained on images of {size:?} (height, width), the policy's `input.size` asks for {input:?}");
            found.push(Fault::new("model", at, message).hint("give both the same size"));
        } else if let Err(error) = engine::check_changes(policy, size) {
            let message = match error {
                EngineError::Change { rule, source, .. } => format!("on images of {}x{}, the rule `{rule}`: {source}", size[0], size[1]),
                other => other.to_string(),
            };
            found.push(Fault::new("model", at, message));
        }
    }
    let mut told = BTreeSet::new();
    found.retain(|fault| told.insert(fault.message.clone()));
    found
}
