//! What a schema cannot say about a policy: names that must match, fields that exclude each other, dates.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Options, Policy, PolicyFile, files, reference_at, references_at};
use crate::diag::Diagnostic;
use crate::gate::{Control, Rule};
use crate::probe::{Estimand, Probe};
use crate::spec::{Node, POLICY, below, list, nearest};
use crate::store::Digest;
use crate::transform::Trigger;
use crate::tune::{Augment, Mode, Recipe};

/// Adds what is wrong with or remarkable about `policy`, whose text is `tree`, to `diagnostics`.
pub(super) fn check(policy: &Policy, tree: &Node, options: &Options, diagnostics: &mut Vec<Diagnostic>) {
    let file = &policy.file;
    let mut checker = Checker { file, tree, reference_follows: options.reference_follows, diagnostics };
    checker.target();
    checker.transfer();
    checker.seeds();
    checker.few_seeds();
    checker.few_references();
    checker.references(|index, digest| files::earlier_reference(policy, options, index, digest));
    let mut ids = BTreeSet::new();
    for (index, rule) in file.rules.iter().enumerate() {
        let at = format!("/rules/{index}");
        if !ids.insert(rule.id.as_str()) {
            let message = format!("two rules are called `{}`", rule.id);
            checker.add(
                Diagnostic::error("policy::duplicate-rule", checker.value(&format!("{at}/id")), message)
                    .label("the second one")
                    .hint("findings are told apart by the rule's id: give each rule its own"),
            );
        }
        checker.rule(rule, &at);
    }
    let ids: Vec<&str> = policy.rules.iter().map(|rule| rule.id.as_str()).collect();
    checker.waivers(&ids, options.today);
}

struct Checker<'a> {
    file: &'a PolicyFile,
    tree: &'a Node,
    /// The caller brings a reference.
    reference_follows: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn add(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The value at a pointer; what holds it where the value is a default.
    fn value(&self, pointer: &str) -> Range<usize> {
        self.tree.place_of_value(pointer)
    }

    /// The field at a pointer.
    fn field(&self, pointer: &str) -> Range<usize> {
        self.tree.place_of_field(pointer)
    }

    fn target(&mut self) {
        let target = &self.file.target;
        if let Some((name, known)) = target.data.unknown_inside() {
            let at = self.value(&format!("/target/data/{}", target.data.format()));
            let message = format!("no data set inside the program is called `{name}`");
            let diagnostic = Diagnostic::error("policy::unknown-variant", at, message);
            let hint = format!("there are {}", list(&known).replace(" or ", " and "));
            self.add(match nearest(name, &known) {
                Some(near) => diagnostic.label(format!("did you mean `{near}`?")).hint(hint),
                None => diagnostic.hint(hint),
            });
        }
        let parted = [("test_share", target.test_share.is_some()), ("train_per_class", target.train_per_class.is_some())];
        let parted: Vec<&str> = parted.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        if let [_, second] = parted[..] {
            let at = self.field(&format!("/target/{second}"));
            let message = "both `test_share` and `train_per_class` say which images train";
            self.add(Diagnostic::error("policy::conflict", at, message).hint("keep one of them"));
        }
        match (target.data.has_splits(), parted.first()) {
            (Some(true), Some(name)) => {
                let at = self.field(&format!("/target/{name}"));
                let message = format!("`{name}` is given, but the data has train and test splits of its own");
                self.add(Diagnostic::error("policy::conflict", at, message).hint(format!("remove `{name}`")));
            }
            (Some(false), None) => {
                let at = self.value("/target/data");
                let message = "the data has no train and test splits";
                let hint = "put `{split}` into the path where `train` and `test` differ, or give `test_share`, such as 0.3, or `train_per_class`, such as 30";
                self.add(Diagnostic::error("policy::missing-field", at, message).hint(hint));
            }
            _ => {}
        }
        if let Some(classes) = &target.classes {
            self.repeats(classes, "/target/classes", "class");
        }
    }

    fn transfer(&mut self) {
        let transfer = &self.file.transfer;
        let recipes =
            [("fixed_feature", &transfer.fixed_feature), ("full_network", &transfer.full_network), ("scratch", &transfer.scratch)];
        for (field, recipe) in recipes {
            for mistake in recipe.iter().flat_map(Recipe::mistakes) {
                let at = self.value(&format!("/transfer/{field}{}", mistake.at));
                self.add(Diagnostic::error("policy::value", at, mistake.message).hint(mistake.hint));
            }
        }
        for (field, recipe) in recipes.into_iter().skip(1) {
            if recipe.as_ref().is_some_and(|recipe| recipe.batch_norm.is_some()) {
                let at = self.field(&format!("/transfer/{field}/batch_norm"));
                let message = "`batch_norm` is for a frozen backbone";
                self.add(
                    Diagnostic::error("policy::conflict", at, message).hint("where everything trains, batch norm trains too: remove it"),
                );
            }
        }
        if transfer.fixed_feature.as_ref().is_some_and(|recipe| recipe.progressive_resizing.is_some() && recipe.on_features()) {
            let at = self.field("/transfer/fixed_feature/progressive_resizing");
            let message = "`progressive_resizing` does nothing in fixed-feature mode";
            self.add(Diagnostic::error("policy::conflict", at, message).hint(
                "features are extracted once, at the model's size: remove it, or let every step pass the backbone (`batch_norm: train`)",
            ));
        }
        if transfer.fixed_feature.as_ref().is_some_and(|recipe| recipe.augment != Augment::default() && recipe.on_features()) {
            let at = self.field("/transfer/fixed_feature/augment");
            let message = "`augment` does nothing in fixed-feature mode";
            self.add(
                Diagnostic::warning("policy::no-effect", at, message)
                    .hint("features are extracted once, from the images as they are: remove it, or let every step pass the backbone (`batch_norm: train`)"),
            );
        }
    }

    fn seeds(&mut self) {
        let seeds = &self.file.seeds;
        for (mode, looks) in [("fixed_feature", seeds.fixed_feature), ("full_network", seeds.full_network)] {
            if let Some(looks) = looks.filter(|looks| looks.first > looks.most) {
                let at = self.value(&format!("/seeds/{mode}/first"));
                let message = format!("`first` is {}, more than `most`, which is {}", looks.first, looks.most);
                self.add(Diagnostic::error("policy::value", at, message).hint("`most` counts the seeds of the first look too"));
            }
        }
    }

    /// Fine-tunes that are too few for some rule to pass.
    fn few_seeds(&mut self) {
        let Some(looks) = self.file.seeds.fixed_feature else { return };
        let of_mode = self.file.rules.iter().filter(|rule| rule.modes.contains(&Mode::FixedFeature));
        let fewest = of_mode.filter_map(|rule| Some((rule.fewest_seeds(Mode::FixedFeature)?, rule))).max_by_key(|(fewest, _)| *fewest);
        if let Some((fewest, rule)) = fewest.filter(|(fewest, _)| looks.most < *fewest) {
            let at = self.value("/seeds/fixed_feature/most");
            let message = format!("the rule `{}` cannot pass with fewer than {fewest} fine-tunes", rule.id);
            let hint = format!(
                "so few may all miss an effect that one in five inherits; heads are cheap: `fixed_feature: {{ first: {fewest}, most: {} }}`",
                fewest + 7
            );
            self.add(Diagnostic::warning("policy::few-seeds", at, message).hint(hint));
        }
    }

    /// References that are too few for the limit of some rule.
    fn few_references(&mut self) {
        let named = self.file.references.len();
        if named == 0 {
            return;
        }
        let mut at_local: Option<(&Rule, Result<usize, f64>)> = None;
        let mut at_whole: Option<(&Rule, usize)> = None;
        for rule in &self.file.rules {
            for fewest in rule.modes.iter().filter_map(|mode| rule.fewest_references(*mode)) {
                match (rule.probe.change().is_some_and(Trigger::is_local), fewest) {
                    (false, Ok(fewest)) if named < fewest => at_whole = at_whole.or(Some((rule, fewest))),
                    // The rule with the smallest limit needs the most.
                    (true, fewest) if fewest.is_err() || fewest.is_ok_and(|fewest| named < fewest) => {
                        at_local = at_local.filter(|(other, _)| other.limit <= rule.limit).or(Some((rule, fewest)));
                    }
                    _ => {}
                }
            }
        }
        let at = self.field(references_at(self.tree));
        let few = |rule: &Rule| format!("{named} of them {} too few for the rule `{}`", if named == 1 { "is" } else { "are" }, rule.id);
        if let Some((rule, fewest)) = at_local {
            let hint = match fewest {
                Ok(fewest) => format!("name {fewest}"),
                Err(limit) => format!("usually no number of references suffices at `limit: {}`: give {limit:.2} or more", rule.limit),
            };
            let message = format!(
                "{}: as innocent networks usually differ, a source passes beside so few only where it hardly reacts to the trigger itself",
                few(rule)
            );
            self.add(Diagnostic::warning("policy::few-references", at.clone(), message).hint(hint));
        }
        if let Some((rule, fewest)) = at_whole {
            let message = format!(
                "{}: under a trigger that changes much of the image a source fails only where it is above its shams too, and never passes \
                 where more than half of the images are drawn",
                few(rule)
            );
            let hint = format!("name {fewest} or more of the source's architecture and accuracy");
            self.add(Diagnostic::warning("policy::few-references", at, message).hint(hint));
        }
    }

    /// `earlier` says what to write in place of a reference's digest of earlier releases.
    fn references(&mut self, earlier: impl Fn(usize, &Digest) -> String) {
        let used = self.file.rules.iter().any(|rule| rule.controls.iter().flatten().any(|control| *control == Control::Reference));
        let references = &self.file.references;
        for (index, reference) in references.iter().enumerate() {
            let at = self.value(&format!("{}/digest", reference_at(self.tree, index)));
            match Digest::parse(&reference.digest) {
                None => {
                    let hint =
                        "give `sha256:` and all 64 lower-case hexadecimal digits, as `heirloom inspect` prints them for the trusted file";
                    self.add(Diagnostic::error("policy::value", at, "`digest` is not a digest").hint(hint));
                }
                Some(digest) if digest.is_earlier() => {
                    let message = "`digest` is one of earlier releases (BLAKE3); models are named by SHA-256 now";
                    self.add(Diagnostic::error("policy::earlier-digest", at, message).hint(earlier(index, &digest)));
                }
                Some(_) if references[..index].iter().any(|other| other.digest == reference.digest) => {
                    let message = "two references have the same digest: they are one checkpoint";
                    self.add(Diagnostic::error("policy::duplicate", at, message).hint("remove one of the two"));
                }
                Some(_) => {}
            }
        }
        if !used && !references.is_empty() {
            let at = self.field(references_at(self.tree));
            let message = "no rule uses `references`";
            self.add(Diagnostic::warning("policy::no-effect", at, message).hint("add `reference` to the `controls` of a rule"));
        }
    }

    fn rule(&mut self, rule: &Rule, at: &str) {
        self.repeats(&rule.modes, &format!("{at}/modes"), "mode");
        for (index, mode) in rule.modes.iter().enumerate() {
            let (present, name) = match mode {
                Mode::FixedFeature => (self.file.transfer.fixed_feature.is_some(), "fixed_feature"),
                Mode::FullNetwork => (self.file.transfer.full_network.is_some(), "full_network"),
            };
            if !present && !rule.modes[..index].contains(mode) {
                let place = self.value(&format!("{at}/modes/{index}"));
                let message = format!("the rule `{}` runs in mode `{name}`, for which there is no recipe", rule.id);
                let hint = format!("add `{name}: {{ epochs: 15, learning_rate: 0.01 }}` under `transfer`, or name other `modes`");
                self.add(Diagnostic::error("policy::missing-recipe", place, message).hint(hint));
            }
        }
        if let Some(controls) = &rule.controls {
            self.repeats(controls, &format!("{at}/controls"), "control");
        }
        let mut checked = BTreeSet::new();
        for control in rule.modes.iter().flat_map(|mode| rule.controls_for(*mode)) {
            if checked.insert(control) {
                let named = rule.controls.iter().flatten().position(|named| *named == control);
                let place = named.map_or_else(|| self.value(at), |index| self.value(&format!("{at}/controls/{index}")));
                let transfer = &self.file.transfer;
                if control == Control::Reference && self.file.references.is_empty() && !self.reference_follows {
                    let message = format!("the rule `{}` is compared with a reference, but the policy names none", rule.id);
                    let hint = "add `references: [{ model: trusted.onnx, digest: ... }]` to the policy, or remove the control";
                    self.add(Diagnostic::error("policy::missing-reference", place, message).hint(hint));
                } else if control == Control::Untrained && transfer.fixed_feature.is_none() {
                    let message = format!("the rule `{}` is compared with untrained networks, for whose heads there is no recipe", rule.id);
                    let hint = "add `fixed_feature: { epochs: 15, learning_rate: 0.1 }` under `transfer`, or remove the control";
                    self.add(Diagnostic::error("policy::missing-recipe", place, message).hint(hint));
                } else if control == Control::Scratch && transfer.scratch.is_none() && transfer.full_network.is_none() {
                    let message = format!("the rule `{}` is compared with a network from scratch, for which there is no recipe", rule.id);
                    let hint = "add `scratch: { epochs: 15, learning_rate: 0.01 }` under `transfer`, or remove the control";
                    self.add(Diagnostic::error("policy::missing-recipe", place, message).hint(hint));
                }
            }
        }
        for (field, limit) in [("limit", Some(rule.limit)), ("flow_limit", rule.flow_limit), ("flip_limit", rule.flip_limit)] {
            if limit.is_some_and(|limit| limit <= 0.0) {
                let place = self.value(&format!("{at}/{field}"));
                let message = format!("`{field}` is 0, which no measurement can show to be kept");
                let hint = "an interval is never without width: accept a small excess, such as 0.05";
                self.add(Diagnostic::error("policy::value", place, message).hint(hint));
            }
        }
        let further = [("flow_limit", rule.flow_limit, Estimand::ClassFlow), ("flip_limit", rule.flip_limit, Estimand::FlipRate)];
        for (field, limit, estimand) in further {
            if limit.is_some_and(|limit| limit < 1.0) && !rule.further().iter().any(|(judged, _)| *judged == estimand) {
                let place = self.field(&format!("{at}/{field}"));
                let (words, named) = (estimand.words(), rule.estimand().name());
                let message = format!("`{field}` does not matter: this rule judges no {words} beside `{named}`");
                self.add(Diagnostic::warning("policy::no-effect", place, message).hint("remove it"));
            }
        }
        self.estimand(rule, at);
        match &rule.probe {
            Probe::Backdoor(probe) => {
                self.trigger(&probe.trigger, &format!("{at}/probe/backdoor/trigger"));
                self.class(rule, probe.target_class.as_ref(), &format!("{at}/probe/backdoor/target_class"));
            }
            Probe::Spurious(probe) => {
                self.trigger(&probe.feature, &format!("{at}/probe/spurious/feature"));
                self.class(rule, probe.target_class.as_ref(), &format!("{at}/probe/spurious/target_class"));
                for (index, class) in probe.on.iter().enumerate() {
                    self.known_class(class, self.value(&format!("{at}/probe/spurious/on/{index}")));
                }
            }
            Probe::Attribute(probe) => self.class(rule, probe.class.as_ref(), &format!("{at}/probe/attribute/class")),
            Probe::Debiased(probe) => {
                self.class(rule, probe.class.as_ref(), &format!("{at}/probe/debiased/class"));
                for class in probe.aligned.iter().flatten().map(|(class, _)| class) {
                    // The class is the name of the field.
                    self.known_class(class, self.field(&below(&format!("{at}/probe/debiased/aligned"), class)));
                }
                if probe.aligned.is_some() && probe.correlation.is_none() {
                    let place = self.field(&format!("{at}/probe/debiased/aligned"));
                    let message = "`aligned` matters only to a `correlation`";
                    self.add(Diagnostic::warning("policy::no-effect", place, message).hint("add `correlation: 0.9`, or remove it"));
                }
            }
            Probe::Natural(_) => {}
        }
    }

    /// Whether the probe gives the number that the rule judges, and the controls that it names.
    fn estimand(&mut self, rule: &Rule, at: &str) {
        let probe = &rule.probe;
        if !probe.gives(rule.estimand()) {
            let place = self.value(&format!("{at}/estimand"));
            let message = format!("the probe `{}` does not give `{}`", probe.name(), rule.estimand().name());
            let names: Vec<&str> = Estimand::ALL.into_iter().filter(|e| probe.gives(*e)).map(Estimand::name).collect();
            self.add(Diagnostic::error("policy::conflict", place, message).hint(format!("it gives {}", list(&names))));
        }
        for (index, control) in rule.controls.iter().flatten().enumerate() {
            if *control == Control::Untrained && !matches!(probe, Probe::Backdoor(_) | Probe::Spurious(_)) {
                let place = self.value(&format!("{at}/controls/{index}"));
                let message = format!("`untrained` is a control of triggers, and the probe `{}` lays none", probe.name());
                let hint = "compare with `scratch`, or with a `reference`";
                self.add(Diagnostic::error("policy::conflict", place, message).hint(hint));
            }
            if *control == Control::Sham && probe.compared().is_some() {
                let place = self.value(&format!("{at}/controls/{index}"));
                let message = format!("the probe `{}` changes no image, so that there is no sham of it", probe.name());
                let hint = "compare with `scratch`, or with a `reference`";
                self.add(Diagnostic::error("policy::conflict", place, message).hint(hint));
            }
        }
    }

    /// A class that a probe names: it must be there, and matter.
    fn class(&mut self, rule: &Rule, class: Option<&String>, at: &str) {
        let Some(class) = class else { return };
        self.known_class(class, self.value(at));
        let matters = match rule.estimand() {
            Estimand::AttackSuccessRate
            | Estimand::Reliance
            | Estimand::EqualizedOddsDifference
            | Estimand::DemographicParityDifference => true,
            Estimand::Attraction
            | Estimand::ClassFlow
            | Estimand::FlipRate
            | Estimand::PredictionShift
            | Estimand::GroupGap
            | Estimand::WorstGroupAccuracy => false,
        };
        if !matters {
            let field = at.rsplit('/').next().unwrap_or_default();
            let estimand = if rule.probe.compared().is_some() { "reliance" } else { "attack_success_rate" };
            let message = format!("`{field}` does not matter to `{}`", rule.estimand().name());
            let hint = format!("remove it, or set `estimand: {estimand}`");
            self.add(Diagnostic::warning("policy::no-effect", self.value(at), message).hint(hint));
        }
    }

    fn known_class(&mut self, class: &String, place: Range<usize>) {
        if let Some(classes) = &self.file.target.classes
            && !classes.contains(class)
        {
            let names: Vec<&str> = classes.iter().map(String::as_str).collect();
            let message = format!("the target task has no class `{class}`");
            let diagnostic = Diagnostic::error("policy::unknown-class", place, message);
            self.add(match nearest(class, &names) {
                Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
                None => diagnostic.hint(format!("the classes are {}", list(&names).replace(" or ", " and "))),
            });
        }
    }

    fn trigger(&mut self, trigger: &Trigger, at: &str) {
        for mistake in trigger.mistakes(&|pointer| self.tree.find(&format!("{at}{pointer}")).is_some()) {
            let pointer = format!("{at}{}", mistake.at);
            let place = if mistake.of_name { self.field(&pointer) } else { self.value(&pointer) };
            self.add(Diagnostic::error(POLICY.code(mistake.code), place, mistake.message).hint(mistake.hint));
        }
    }

    fn repeats<T: PartialEq>(&mut self, entries: &[T], at: &str, what: &str) {
        // Quadratic, and so only for lists that people write.
        for (index, entry) in entries.iter().enumerate().take(1000) {
            if entries.iter().take(index).any(|earlier| earlier == entry) {
                let place = self.value(&format!("{at}/{index}"));
                let message = format!("this {what} is listed twice");
                self.add(Diagnostic::error("policy::duplicate-entry", place, message).label("the second one").hint("remove it"));
            }
        }
    }

    fn waivers(&mut self, ids: &[&str], today: (i64, u8, u8)) {
        for (index, waiver) in self.file.waivers.iter().enumerate() {
            if waiver.is_earlier() {
                let place = self.value(&format!("/waivers/{index}/model"));
                let message = "`model` has no `sha256:` in front, as digests of earlier releases (BLAKE3): the waiver counts for no model";
                let hint = "models are named by SHA-256 now: write `sha256:` and the digits that `heirloom inspect` prints for the model";
                self.add(Diagnostic::warning("policy::earlier-digest", place, message).hint(hint));
            }
            if !ids.contains(&waiver.rule.as_str()) {
                let place = self.value(&format!("/waivers/{index}/rule"));
                let diagnostic = Diagnostic::error("policy::unknown-rule", place, format!("no rule is called `{}`", waiver.rule));
                let without_mode = waiver.rule.split('@').next().filter(|id| ids.contains(id));
                self.add(match without_mode.or_else(|| nearest(&waiver.rule, ids)) {
                    Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
                    None => diagnostic.hint(format!("the rules are {}", list(ids).replace(" or ", " and "))),
                });
            }
            let place = self.value(&format!("/waivers/{index}/expires"));
            match date(&waiver.expires) {
                None => {
                    let message = format!("`{}` is no date", waiver.expires);
                    self.add(
                        Diagnostic::error("policy::value", place, message).hint("write the date as year-month-day, such as 2027-01-31"),
                    );
                }
                Some(day) if day < today => {
                    let message = format!("the waiver of `{}` has expired and counts for nothing", waiver.rule);
                    let hint = "remove it, or have its owner look at the finding again and set a later day";
                    self.add(Diagnostic::warning("policy::expired-waiver", place, message).hint(hint));
                }
                Some(_) => {}
            }
        }
    }
}

/// `YYYY-MM-DD` as a date of the Gregorian calendar.
fn date(text: &str) -> Option<(i64, u8, u8)> {
    let mut parts = text.splitn(3, '-');
    let year: i64 = parts.next()?.parse().ok()?;
    let month: u8 = parts.next()?.parse().ok()?;
    let day: u8 = parts.next()?.parse().ok()?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=days).contains(&day).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date("2028-02-29"), Some((2028, 2, 29)));
        assert_eq!(date("2000-02-29"), Some((2000, 2, 29)));
        for bad in ["2027-02-29", "1900-02-29", "2027-13-01", "2027-00-10", "2027-04-31", "2027-01-00", "2027-01", "", "٢٠٢٧-٠١-٠١"]
        {
            assert_eq!(date(bad), None, "{bad}");
        }
    }
}
