//! What a policy asks for, once: its questions, the fine-tunes that answer them, and which fine-tune serves which question.

use crate::data::Rebalance;
use crate::gate::{Control, PassBy, Rule};
use crate::policy::{Looks, Policy};
use crate::probe::Arm;
use crate::store::{Digest, Fingerprinter};
use crate::tune::{Mode, Recipe};

use super::Tuning;

/// Which controls are measured: shams of the source's own images, and networks of fresh weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Controls {
    /// Those without which a finding does not pass: under a local trigger the source's own reaction is often enough.
    #[default]
    WhereNeeded,
    /// All that a rule names: for whoever needs the excess over them of passing findings too.
    All,
}

/// A policy with its relations. Made once for a run ([`resolve`]); everything else looks them up here.
#[derive(Clone, Debug)]
pub struct Resolved<'p> {
    /// The policy.
    pub policy: &'p Policy,
    /// The training images that fine-tunes see: all of them (`None`), and one entry for each way in which a rule rebalances them.
    /// [`Tuning::view`] is an index into it.
    pub views: Vec<Option<Rebalance>>,
    /// Every rule in each of its modes, in the order of the policy.
    pub questions: Vec<Question<'p>>,
    /// The fine-tunes, equal ones merged, in the order in which questions ask for them.
    pub fine_tunes: Vec<FineTune<'p>>,
    /// Which controls are measured.
    pub controls: Controls,
}

/// A rule in one of its modes: it ends in one finding.
#[derive(Clone, Debug)]
pub struct Question<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// The mode.
    pub mode: Mode,
    /// What the source is compared with, each control once.
    pub controls: Vec<Control>,
    /// The seeds that the rule asks for.
    pub looks: Looks,
    /// The fine-tunes that it rests on: the source's first, then one for each control that is another network.
    pub rests_on: Vec<Tuning>,
}

impl Question<'_> {
    /// What its finding is called: `RULE@MODE`.
    pub(crate) fn id(&self) -> String {
        format!("{}@{}", self.rule.id, self.mode)
    }

    /// The fine-tunes of an arm that it rests on, if it rests on any.
    pub(crate) fn tuning(&self, arm: Arm) -> Option<Tuning> {
        self.rests_on.iter().copied().find(|tuning| tuning.arm == arm)
    }

    /// Whether it may pass without networks of fresh weights at a first look, by the source's own reaction alone.
    fn may_pass_without_fresh(&self) -> bool {
        self.may_pass_without_shams() && self.rule.pass_by(self.mode) == PassBy::OwnReaction
    }

    /// Whether it names shams, and may pass without them at a first look.
    fn may_pass_without_shams(&self) -> bool {
        let enough = self.rule.fewest_seeds(self.mode).is_none_or(|fewest| fewest <= self.looks.first);
        self.controls.contains(&Control::Sham) && self.rule.pass_by(self.mode).asks_own() && enough
    }

    /// Whether it names shams that fine-tunes are measured under.
    pub(crate) fn names_shams(&self, tuning: Tuning) -> bool {
        tuning.arm == Arm::Source && self.rests_on.contains(&tuning) && self.controls.contains(&Control::Sham)
    }
}

/// Fine-tunes of one kind, for all questions that rest on them.
#[derive(Clone, Debug)]
pub struct FineTune<'p> {
    /// Which.
    pub tuning: Tuning,
    /// How they are trained; none where the policy has no recipe for them.
    pub recipe: Option<&'p Recipe>,
    /// The most seeds that any question which they serve asks for.
    pub seeds: Looks,
}

/// The relations of a policy.
pub fn resolve(policy: &Policy) -> Resolved<'_> {
    let mut views = vec![None];
    for rebalance in policy.rules.iter().filter_map(|rule| rule.probe.rebalance()) {
        if !views.contains(&Some(rebalance.clone())) {
            views.push(Some(rebalance));
        }
    }
    let mut resolved = Resolved { policy, views, questions: Vec::new(), fine_tunes: Vec::new(), controls: Controls::default() };
    for (rule, mode) in policy.rules.iter().flat_map(|rule| rule.modes.iter().map(move |mode| (rule, *mode))) {
        let rebalance = rule.probe.rebalance();
        let view = resolved.views.iter().position(|view| *view == rebalance).unwrap_or(0);
        let controls = rule.controls_for(mode);
        let others = controls.iter().flat_map(|control| control.arms(policy.references()));
        let arms = std::iter::once(Arm::Source).chain(others);
        let rests_on = arms.map(|arm| Tuning { arm, mode: arm.trains(mode), view }).collect();
        let question = Question { rule, mode, controls, looks: looks(policy, mode), rests_on };
        for tuning in &question.rests_on {
            let asked = seeds(policy, tuning.arm, mode);
            if let Some(known) = resolved.fine_tunes.iter_mut().find(|known| known.tuning == *tuning) {
                known.seeds = Looks { first: known.seeds.first.max(asked.first), most: known.seeds.most.max(asked.most) };
            } else {
                let recipe = recipe(policy, tuning.arm, mode);
                resolved.fine_tunes.push(FineTune { tuning: *tuning, recipe, seeds: asked });
            }
        }
        resolved.questions.push(question);
    }
    resolved
}

impl<'p> Resolved<'p> {
    /// Fine-tunes by what tells them apart.
    pub(crate) fn fine_tune(&self, tuning: Tuning) -> Option<&FineTune<'p>> {
        self.fine_tunes.iter().find(|fine_tune| fine_tune.tuning == tuning)
    }

    /// The recipe of fine-tunes, if the policy has one.
    pub(crate) fn recipe(&self, tuning: Tuning) -> Option<&'p Recipe> {
        self.fine_tune(tuning)?.recipe
    }

    /// Whether fine-tunes are heads on features that are made once.
    pub(crate) fn on_features(&self, tuning: Tuning) -> bool {
        tuning.mode == Mode::FixedFeature && self.recipe(tuning).is_none_or(Recipe::on_features)
    }

    /// The questions that rest on fine-tunes.
    pub(crate) fn served_by(&self, tuning: Tuning) -> impl Iterator<Item = &Question<'p>> {
        self.questions.iter().filter(move |question| question.rests_on.contains(&tuning))
    }

    /// The questions whose shams are shown to these fine-tunes only where the finding does not pass without them.
    pub(crate) fn sparing(&self, tuning: Tuning) -> impl Iterator<Item = &Question<'p>> {
        let spares = move |question: &&Question| question.names_shams(tuning) && question.may_pass_without_shams();
        self.questions.iter().filter(|_| self.controls == Controls::WhereNeeded).filter(spares)
    }

    /// Whether a question is judged without its networks of fresh weights first, and waits for them only where it does not pass.
    pub(crate) fn spares_fresh(&self, question: &Question) -> bool {
        self.controls == Controls::WhereNeeded && question.may_pass_without_fresh()
    }

    /// Whether nobody may need fine-tunes: those of fresh weights that every question which rests on them may pass without.
    pub(crate) fn may_be_spared(&self, tuning: Tuning) -> bool {
        tuning.arm.is_fresh() && self.served_by(tuning).all(|question| self.spares_fresh(question))
    }

    /// Whether a rule is measured on fine-tunes (those that `serves` holds of), and if so whether under shams too, at once or where they
    /// are needed.
    pub(crate) fn measured_with(&self, rule: &Rule, serves: impl Fn(Tuning) -> bool) -> Option<bool> {
        let of_rule = self.questions.iter().filter(|question| question.rule.id == rule.id);
        let served = of_rule.flat_map(|question| question.rests_on.iter().map(move |tuning| (question, *tuning)));
        let shams = served.filter(|(_, tuning)| serves(*tuning)).map(|(question, tuning)| question.names_shams(tuning));
        shams.reduce(|one, other| one || other)
    }

    /// The seeds of a question that is compared with a control: those of both arms, which are paired.
    pub(crate) fn paired(&self, question: &Question, control: Control) -> Looks {
        let arm = control.arms(self.policy.references()).first().copied().unwrap_or(Arm::Source);
        seeds(self.policy, arm, question.mode)
    }

    /// Digest of all in the policy that decides what an arm does under a rule: whoever changes it asks for another measurement. Where the
    /// images lie is left out, because data move; so are limits, controls and what groups are made of the same predictions.
    pub(crate) fn measurement_id(&self, rule: &Rule, arm: Arm, mode: Mode) -> Digest {
        let file = &self.policy.file;
        let trusted = match arm {
            Arm::Reference(at) => file.references.get(usize::from(at)).map(|reference| &reference.digest),
            Arm::Source | Arm::Scratch | Arm::Untrained(_) => None,
        };
        let mut feed = Fingerprinter::new("heirloom measurement", 1);
        feed.field("task", &file.target);
        feed.field("change", &rule.probe.change());
        feed.field("training pictures", &rule.probe.rebalance());
        feed.field("attribute", &rule.probe.compared().map(|compared| compared.attribute));
        feed.field("recipe", &recipe(self.policy, arm, mode));
        feed.field("seed", &file.seed);
        feed.field("reference", &trusted);
        feed.field("input", &file.input);
        feed.later("salt", &self.policy.seed.salt());
        feed.finish()
    }
}

/// The seeds that rules of a mode ask for.
fn looks(policy: &Policy, mode: Mode) -> Looks {
    let seeds = &policy.file.seeds;
    match mode {
        Mode::FixedFeature => seeds.fixed_feature.unwrap_or(Looks { first: 17, most: 24 }),
        Mode::FullNetwork => seeds.full_network.unwrap_or(Looks { first: 5, most: 10 }),
    }
}

/// The seeds of an arm for rules of a mode. Heads are cheap and networks from scratch are not: these never take more
/// seeds than full-network rules do, and are paired with the source's first ones.
fn seeds(policy: &Policy, arm: Arm, mode: Mode) -> Looks {
    let asked = looks(policy, mode);
    let most = looks(policy, arm.trains(mode));
    Looks { first: asked.first.min(most.first), most: asked.most.min(most.most) }
}

/// The recipe of an arm in a mode: a network from scratch trains fully in both, of an untrained one only the head does.
fn recipe(policy: &Policy, arm: Arm, mode: Mode) -> Option<&Recipe> {
    let transfer = &policy.file.transfer;
    match (arm, mode) {
        (Arm::Scratch, _) => transfer.scratch.as_ref().or(transfer.full_network.as_ref()),
        (Arm::Untrained(_), _) | (_, Mode::FixedFeature) => transfer.fixed_feature.as_ref(),
        (_, Mode::FullNetwork) => transfer.full_network.as_ref(),
    }
}
