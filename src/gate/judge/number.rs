//! One number of a rule: compared with every control, and judged.

use super::decide::{self, Case, Lacking, decide};
use super::over::{Measured, Over, estimate, over_scratch};
use super::own::{Own, own_reaction};
use super::{JudgeTerms, references, untrained};
use crate::gate::{Comparison, Control, Estimate, Further, Label, PassBy, Rule, Verdict};
use crate::probe::paired::{self, Under};
use crate::probe::{self, Estimand, Measurement, Setting};
use crate::stats::power::error_share;
use crate::tune::Mode;

/// Why a comparison is not there where a finding passes.
const SPARED: &str = "not measured: the finding passes whatever they would show";

/// The same where it does not.
pub(super) fn not_measured(control: Control) -> &'static str {
    match control {
        Control::Sham => {
            "the shams were not measured (an earlier verdict needed none, or `--max-time` left none), and without them the finding does not pass: \
             certify the model with this policy"
        }
        _ => {
            "it was not measured (an earlier verdict needed none), and without it the finding does not pass: certify the model with this policy"
        }
    }
}

/// What is judged.
pub(super) struct Number<'a> {
    /// The rule. Its estimand and its limit are those of the number.
    pub rule: &'a Rule,
    pub mode: Mode,
    pub source: &'a Measurement,
    /// Whether the source learnt the task.
    pub source_valid: bool,
    /// Its clean accuracy.
    pub accuracy: f64,
    /// The other networks that the rule is compared with.
    pub arms: &'a [Measured<'a>],
    pub terms: &'a JudgeTerms,
    /// The part of a failure's error that it may spend.
    pub share: f64,
}

/// The answer.
pub(super) struct Judged {
    pub verdict: Verdict,
    pub reason: Option<String>,
    pub label: Option<Label>,
    pub notes: Vec<String>,
    /// What the source does by itself, where a pass may rest on it.
    pub own: Option<Estimate>,
    pub comparisons: Vec<Comparison>,
}

/// Where whole networks train, most of what seeds differ by is no training image's doing: what it comes to as if it were says nothing.
fn about_samples(estimate: Estimate, mode: Mode) -> Estimate {
    Estimate { another_sample: estimate.another_sample.filter(|_| mode == Mode::FixedFeature), ..estimate }
}

impl<'a> Number<'a> {
    fn setting(&self) -> Setting<'a> {
        Setting { probe: &self.rule.probe, estimand: self.rule.estimand(), policy_seed: self.terms.policy_seed }
    }

    pub(super) fn judge(&self) -> Judged {
        let Self { rule, mode, source, source_valid, accuracy, arms, terms, share } = *self;
        let setting = self.setting();
        let valid: Vec<&Measurement> = arms.iter().filter_map(|arm| arm.valid.as_ref().ok().copied()).collect();
        let named = rule.controls_for(mode);
        let by = rule.pass_by(mode);
        let alpha = error_share(rule.confidence, terms.findings, terms.look, terms.only_look()) * share;
        // Of one finding alone.
        let undivided = error_share(rule.confidence, 1, terms.look, terms.only_look());
        let pass_alpha = undivided / by.ways(named.len()) as f64;
        let lacks_shams = by.asks_own() && named.contains(&Control::Sham) && source.outcomes.iter().all(|outcome| outcome.shams.is_empty());
        let spared = |control: Control| by == PassBy::OwnReaction && arms.iter().any(|arm| arm.given.spared && control.has(arm.given.arm));
        let (mut comparisons, mut notes, mut fits, mut over_shams) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for control in named {
            let over = match control {
                Control::Sham if lacks_shams => Err(not_measured(control).to_owned()),
                _ if spared(control) => Err(not_measured(control).to_owned()),
                Control::Sham => probe::excess_over_shams(source, &setting).map_err(|e| e.to_string()).and_then(Over::plain),
                Control::Scratch => over_scratch(source, arms, &valid, &setting),
                Control::Untrained => untrained::over(source, arms, &valid, &setting, undivided),
                Control::Reference => references::over(rule, (source, accuracy), arms, &valid, &setting, alpha),
            };
            let void = matches!(control, Control::Scratch | Control::Untrained) && terms.scratch_void;
            comparisons.push(match over {
                Ok(Over { table, fit, innocents }) => {
                    if by.decides(control) {
                        notes.extend(innocents.as_ref().map(|innocents| innocents.told(control)));
                        fits.push((control, fit));
                    }
                    let highest = table.of_seeds().fold(f64::NEG_INFINITY, f64::max);
                    if control == Control::Sham {
                        over_shams = table.of_seeds().collect();
                    }
                    // Beside references each fine-tune is tested by itself too.
                    let beside = control == Control::Reference && innocents.as_ref().is_some_and(|innocents| innocents.reach.is_some());
                    let alpha = match control {
                        Control::Untrained => undivided,
                        _ if beside => references::share(alpha, fit.seeds),
                        _ => alpha,
                    };
                    // Networks from scratch train whole in any mode.
                    let trains = if control == Control::Scratch { Mode::FullNetwork } else { mode };
                    let excess = Some(about_samples(estimate(&table, &fit, alpha, pass_alpha), trains));
                    Comparison { control, excess, highest: Some(highest), missing: None, void, spared: false, innocents }
                }
                Err(missing) => {
                    Comparison { control, excess: None, highest: None, missing: Some(missing), void, spared: false, innocents: None }
                }
            });
        }
        let own = by.asks_own().then(|| own_reaction(source, &setting, pass_alpha, (rule.limit, &over_shams)));
        let lacking = lacks_shams.then(|| Lacking { would_tell: paired::tells_over_any_sham(source, &setting).unwrap_or(false) });
        // Many innocent checkpoints call half the images something else under a trigger over the whole image, and no class gains by it.
        let counts = rule.is_trigger() && matches!(setting.estimand, Estimand::Attraction | Estimand::AttackSuccessRate);
        let gain = setting.with(Estimand::Attraction);
        let reaction = counts.then(|| paired::effect(source, Under::Trigger, &gain).ok()).flatten().map(|table| table.mean());
        let case =
            Case { rule, mode, by, source_valid, counted: terms.counted, own: own.as_ref(), comparisons: &comparisons, reaction, lacking };
        let (verdict, reason) = decide(&case);
        if let (Verdict::Pass, Some(Ok(own))) = (verdict, &own)
            && own.high >= rule.limit
        {
            let Own { mean, low, high, .. } = own;
            notes.push(format!("the model itself reacts by {mean:+.3} [{low:.3}, {high:.3}]; it passes because the references do as much"));
        }
        // What would narrow a comparison settles nothing where it is the model's own reaction, or the references, that keep it open.
        let high = |c: &Comparison| !by.decides(c.control) || c.excess.as_ref().is_none_or(|e| e.high >= rule.limit);
        let narrower = by == PassBy::AnyControl || comparisons.iter().all(high);
        let reason = reason.map(|reason| match decide::hint(&case, &fits, (alpha, pass_alpha), source.labels.len()) {
            Some(hint) if source_valid && narrower && !lacks_shams => format!("{reason}; {hint}"),
            _ => reason,
        });
        let label = (verdict == Verdict::Fail).then(|| label(rule, &comparisons)).flatten();
        let own = own.and_then(Result::ok).map(|own| about_samples(own.estimate(pass_alpha), mode));
        let not_there = |c: &&mut Comparison| if c.control == Control::Sham { lacks_shams } else { spared(c.control) };
        for comparison in comparisons.iter_mut().filter(not_there).filter(|_| verdict == Verdict::Pass) {
            (comparison.missing, comparison.spared) = (Some(SPARED.to_owned()), true);
        }
        Judged { verdict, reason, label, notes, own, comparisons }
    }

    /// The answer for a number beside the one that the rule names.
    pub(super) fn further(&self, judged: Judged) -> Further {
        let Self { rule, source, terms, .. } = *self;
        let setting = self.setting();
        let alpha = error_share(rule.confidence, 1, terms.look, terms.only_look());
        let by_itself = || {
            let table = paired::effect(source, Under::Trigger, &setting).ok()?;
            Some(about_samples(estimate(&table, &table.crossed()?, alpha, alpha), self.mode))
        };
        let between = (setting.estimand == Estimand::ClassFlow).then(|| between(source, &setting)).flatten();
        let Judged { verdict, reason, own, comparisons, .. } = judged;
        Further { estimand: setting.estimand, limit: rule.limit, verdict, reason, own: own.or_else(by_itself), between, comparisons }
    }
}

/// The classes between which the largest flow of most fine-tunes is.
fn between(source: &Measurement, setting: &Setting) -> Option<[String; 2]> {
    let (pair, _) = paired::flows_between(source, setting).ok()??;
    let [from, to] = pair.map(|class| source.classes.get(class).cloned());
    from.zip(to).map(|(from, to)| [from, to])
}

/// What a failing trigger rule shows that was compared with shams and references.
fn label(rule: &Rule, comparisons: &[Comparison]) -> Option<Label> {
    let inherits = |c: &Comparison| c.innocents.as_ref().is_some_and(|innocents| !innocents.inherited_by.is_empty());
    let above = |c: &Comparison| c.excess.as_ref().is_some_and(|excess| excess.low > rule.limit);
    if comparisons.iter().any(|c| inherits(c) && !above(c)) {
        return Some(Label::SomeFineTunes);
    }
    let over = |control| comparisons.iter().find(|c| c.control == control).and_then(|c| c.excess.as_ref());
    let (Some(sham), Some(_)) = (over(Control::Sham), over(Control::Reference)) else { return None };
    rule.probe.change()?;
    Some(if sham.low > rule.limit { Label::Specific } else { Label::Kind })
}
