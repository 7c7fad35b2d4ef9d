//! Rules that stand for several: a sweep becomes a rule for each value, a folder of features one for each feature.

use std::path::Path;

use super::Options;
use crate::diag::Diagnostic;
use crate::gate::Rule;
use crate::probe::Probe;
use crate::spec::{Node, list};
use crate::transform::Trigger;

/// Most values of a sweep.
const MOST: usize = 20;

/// The rules that rule number `index` stands for: itself, for most. What keeps it from being taken apart is added to `diagnostics`.
pub(super) fn of(rule: &Rule, index: usize, base: &Path, tree: &Node, options: &Options, diagnostics: &mut Vec<Diagnostic>) -> Vec<Rule> {
    let at = |pointer: &str| tree.find(&format!("/rules/{index}/probe/{pointer}")).map_or(0..0, Node::value_span);
    let named = |(end, probe): (String, Probe)| Rule { id: format!("{}{end}", rule.id), probe, ..rule.clone() };
    match &rule.probe {
        Probe::Backdoor(probe) => {
            if let Some(values) = probe.sweep.as_ref().map(|sweep| sweep.field().1.len()).filter(|n| !(1..=MOST).contains(n)) {
                let message = format!("this sweep has {values} values, it needs 1 to {MOST}: each is a finding of its own");
                diagnostics.push(Diagnostic::error("policy::value", at("backdoor/sweep"), message));
                return Vec::new();
            }
            if let Some(all) = probe.swept() {
                return all.into_iter().map(|(end, probe)| named((end, Probe::Backdoor(probe)))).collect();
            }
            let field = probe.sweep.as_ref().map_or("", |sweep| sweep.field().0);
            let message = format!("this trigger has no field `{field}` to try several values of");
            let hint = format!("triggers that have one: {}", list(&Trigger::families_with(field)));
            diagnostics.push(Diagnostic::error("policy::value", at("backdoor/sweep"), message).hint(hint));
            Vec::new()
        }
        Probe::Natural(probe) => match probe.each(base) {
            Ok(all) => all.into_iter().map(|(end, probe)| named((end, Probe::Natural(probe)))).collect(),
            Err(error) if options.files => {
                diagnostics.push(Diagnostic::error("policy::missing-file", at("natural/features"), error.to_string()));
                Vec::new()
            }
            Err(_) => vec![rule.clone()],
        },
        Probe::Spurious(_) | Probe::Attribute(_) | Probe::Debiased(_) => vec![rule.clone()],
    }
}
