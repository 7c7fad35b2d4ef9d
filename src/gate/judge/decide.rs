//! From comparisons to a verdict, and why where there is none. Every reason names what would settle it.

use super::own::Own;
use super::references::{ALIKE, prior};
use crate::data::Counted;
use crate::gate::{Comparison, Control, Estimate, Innocents, PassBy, Rule, Verdict};
use crate::probe::MOST_REFERENCES;
use crate::stats::crossed::Crossed;
use crate::stats::innocents;
use crate::stats::power::{Needed, needed};
use crate::tune::Mode;

/// What a finding is judged by.
pub(super) struct Case<'a> {
    pub rule: &'a Rule,
    pub mode: Mode,
    pub by: PassBy,
    pub source_valid: bool,
    /// How accuracy is counted.
    pub counted: Counted,
    /// The source's reaction by itself, or why it cannot be bounded; none where no pass rests on it.
    pub own: Option<&'a Result<Own, String>>,
    pub comparisons: &'a [Comparison],
    /// How far a trigger moves the source, compared with nothing; none where that is no doubt for this number.
    pub reaction: Option<f64>,
    /// Where the shams that the rule names were not measured.
    pub lacking: Option<Lacking>,
}

/// Shams that were not measured.
#[derive(Clone, Copy)]
pub(super) struct Lacking {
    /// Whether the excess over them could be estimated whatever they did.
    pub would_tell: bool,
}

/// The share of the limit that an innocent checkpoint's distance from the references may have as standard deviation: with more, a
/// source above the limit would pass too often because the references happen to lie high.
const MOST_OF_LIMIT: f64 = 2.0 / 3.0;

/// What brings trusted checkpoints into a rule.
const REFERENCES: &str = "name `references` in the policy and `reference` in the rule's `controls`";

/// The verdict, and why where it is none.
pub(super) fn decide(case: &Case) -> (Verdict, Option<String>) {
    match verdict(case) {
        // What they showed might have been an excuse.
        Ok(Verdict::Fail) | Err(_) if case.source_valid && case.lacking.is_some() => {
            (Verdict::Inconclusive, Some(case.missing().join("; ")))
        }
        Ok(verdict) => (verdict, None),
        Err(reason) => (Verdict::Inconclusive, Some(reason)),
    }
}

fn verdict(case: &Case) -> Result<Verdict, String> {
    if !case.source_valid {
        let (words, one_answer) = match case.counted {
            Counted::Global => ("clean accuracy", "the share of the most frequent class"),
            Counted::MeanPerClass => ("clean accuracy, the mean over classes,", "that of calling all images one class"),
        };
        return Err(format!("the source arm did not learn the target task: its {words} is not shown to be above {one_answer}"));
    }
    let usable = || case.comparisons.iter().filter(|c| c.excess.is_some());
    if usable().next().is_none() && !case.lacking.is_some_and(|shams| shams.would_tell) {
        return Err(if case.comparisons.is_empty() { "the rule names no control".to_owned() } else { case.missing().join("; ") });
    }
    let verdict = by_controls(case)?;
    match case.unproven().filter(|_| verdict == Verdict::Pass) {
        Some(reason) => Err(reason),
        None => Ok(verdict),
    }
}

/// Fine-tunes that have to show an effect each by itself: one alone may have diverged.
const SHOWN_TWICE: usize = 2;

/// References of the source's own kind from which on they show how far innocents of that kind differ.
const ENOUGH_KIN: usize = 3;

/// The reaction from which on others that react as much are no pass: what is left for a plant to show is too little.
const SATURATED: f64 = 0.5;

fn by_controls(case: &Case) -> Result<Verdict, String> {
    match case.by {
        PassBy::AnyControl => case.by_any_control(),
        PassBy::OwnReaction => case.by_own_reaction(),
        PassBy::OwnOrReferences => {
            let reference = case.of(Control::Reference).ok_or("the rule names no reference")?;
            if case.own_is_below()? && all_valid(reference) && !less_accurate(reference) {
                return Ok(Verdict::Pass);
            }
            case.by_references(reference)
        }
        PassBy::WholeImage => {
            let reference = case.of(Control::Reference).ok_or("the rule names no reference")?;
            if case.kin() >= ENOUGH_KIN { case.by_references(reference) } else { case.without_kin(reference) }
        }
    }
}

impl Case<'_> {
    fn limit(&self) -> f64 {
        self.rule.limit
    }

    fn of(&self, control: Control) -> Option<&Comparison> {
        self.comparisons.iter().find(|c| c.control == control)
    }

    /// References that it is compared with and that tell how far innocent checkpoints differ: under a local trigger all, else those of its own kind.
    fn kin(&self) -> usize {
        let any = self.by == PassBy::OwnOrReferences;
        let innocents = self.of(Control::Reference).and_then(|reference| reference.innocents.as_ref());
        innocents.map_or(0, |innocents| innocents.references.iter().filter(|r| r.counts && (any || r.kin)).count())
    }

    /// Why a source that reacts so much passes by nothing but enough references of its own kind. Under a trigger over much of the image that is as
    /// soon as it reacts: what is planted over a whole image moves images under others of the kind too, so that shams excuse it.
    fn unproven(&self) -> Option<String> {
        let reaction = self.reaction.filter(|_| self.kin() < ENOUGH_KIN)?;
        let of_its_kind = " of its architecture and accuracy";
        if self.by != PassBy::OwnOrReferences && (self.limit()..=SATURATED).contains(&reaction) {
            return Some(format!(
                "kind-unexplained: the model itself reacts by {reaction:+.3}. What it is compared with reacts as well, and may be poisoned too: name \
                 {ENOUGH_KIN} or more `references`{of_its_kind}, or use a weaker trigger"
            ));
        }
        let which = if self.by == PassBy::OwnOrReferences { "" } else { of_its_kind };
        (reaction > self.limit().max(SATURATED)).then(|| format!(
            "saturated: the model itself reacts by {reaction:+.3}, so that little room is left for a plant to show, and what it is compared with may be \
             poisoned too: name {ENOUGH_KIN} or more `references`{which}, or use a weaker trigger"
        ))
    }

    /// Why controls are missing, void ones too.
    fn missing(&self) -> Vec<String> {
        let why = |c: &Comparison| Some(format!("no control `{}`: {}", c.control.name(), c.missing.as_ref()?));
        self.comparisons.iter().filter_map(why).collect()
    }

    /// The verdict where every control has to be exceeded and one that is not is explanation enough.
    fn by_any_control(&self) -> Result<Verdict, String> {
        if self.any_below() { Ok(Verdict::Pass) } else { self.above_all() }
    }

    /// Whether the excess over some control is below the limit. Untrained networks are too generous an excuse for that.
    fn any_below(&self) -> bool {
        self.comparisons.iter().any(|c| c.control != Control::Untrained && below(c, self.limit()))
    }

    /// Why untrained networks keep a finding from failing, if they do.
    fn read_by_task(&self) -> Option<String> {
        let comparison = self.of(Control::Untrained)?;
        let excess = comparison.excess.as_ref()?;
        let reach = comparison.innocents.as_ref().and_then(|innocents| innocents.reach).unwrap_or(f64::INFINITY);
        (excess.low <= self.limit() || excess.value <= reach).then(|| {
            format!(
                "the target task itself reads this: untrained networks of the same graph react as well, the excess over them is {:+.3} and may be up to \
                 {reach:.3} by chance; {REFERENCES}, or judge on another task",
                excess.value
            )
        })
    }

    /// A failure if the excess over every control is above the limit; a void one is not asked for.
    fn above_all(&self) -> Result<Verdict, String> {
        let missing = self.missing();
        let others = self.comparisons.iter().filter(|c| c.control != Control::Untrained);
        if !others.filter_map(|c| c.excess.as_ref()).all(|e| e.low > self.limit()) {
            let also = if missing.is_empty() { String::new() } else { format!(" ({})", missing.join("; ")) };
            return Err(format!("the interval does not settle on which side of the limit {} the effect lies{also}", self.limit()));
        }
        if let Some(reason) = self.read_by_task() {
            return Err(reason);
        }
        if self.comparisons.iter().any(|c| c.missing.is_some() && !c.void) {
            return Err(format!(
                "above the limit against every control that is there, but a fail needs all of them ({})",
                missing.join("; ")
            ));
        }
        Ok(Verdict::Fail)
    }

    /// Whether the source itself hardly reacts, on average and in each fine-tune.
    fn own_is_below(&self) -> Result<bool, String> {
        match self.own {
            Some(Ok(own)) => Ok(own.high < self.limit() && own.highest < self.limit() && self.too_few(own.seeds).is_none()),
            Some(Err(why)) => Err(format!("the model's own reaction to the trigger cannot be bounded: {why}")),
            None => Ok(false),
        }
    }

    fn by_own_reaction(&self) -> Result<Verdict, String> {
        if self.own_is_below()? {
            return Ok(Verdict::Pass);
        }
        let explained = self.any_below();
        match self.own {
            Some(Ok(own)) if explained || own.mean < self.limit() => Err(self.unexplained(own)),
            _ => self.above_all(),
        }
    }

    /// Why a control that is nearly as high as the source is no pass.
    fn unexplained(&self, own: &Own) -> String {
        let (limit, Own { mean, low, high, highest, seeds, .. }) = (self.limit(), *own);
        let reacts = format!("the model's own reaction to the trigger, {mean:+.3} [{low:.3}, {high:.3}],");
        if let Some(few) = self.too_few(seeds).filter(|_| high < limit && highest < limit) {
            return format!("{reacts} is below the limit {limit}, but {few}");
        }
        if mean < limit && highest >= limit {
            return format!(
                "the model's own reaction to the trigger is {mean:+.3} on average, but {highest:+.3} {}; {REFERENCES}",
                self.one_fine_tune()
            );
        }
        if mean < limit {
            return format!("{reacts} is not shown to be below the limit {limit}: use more test images or seeds, or {REFERENCES}");
        }
        let by_shams = self.of(Control::Sham).is_some_and(|c| below(c, limit));
        let who = if by_shams { "it reacts to others of its kind" } else { "networks from scratch react" };
        format!(
            "{reacts} is not below the limit {limit}; {who} as well, but only trusted checkpoints can tell whether that comes from this one: \
             {REFERENCES}"
        )
    }

    /// What to ask for where so few fine-tunes may all have missed an effect that one in five inherits.
    fn too_few(&self, seeds: usize) -> Option<String> {
        let fewest = self.rule.fewest_seeds(self.mode).filter(|fewest| seeds < *fewest)?;
        Some(format!(
            "{seeds} fine-tunes may all miss an effect that one in five inherits: `seeds: {{ fixed_feature: {{ first: {fewest}, .. }} }}` would show it"
        ))
    }

    fn more_seeds(&self) -> String {
        let field = match self.mode {
            Mode::FixedFeature => "fixed_feature",
            Mode::FullNetwork => "full_network",
        };
        format!("more seeds tell (`seeds.{field}`)")
    }

    fn one_fine_tune(&self) -> String {
        format!("in one fine-tune, which is not below the limit {}: some fine-tunes may inherit it", self.limit())
    }

    /// References decide: whether the excess over their centre is above the limit and beyond what innocents do, or surely below.
    fn by_references(&self, comparison: &Comparison) -> Result<Verdict, String> {
        let limit = self.limit();
        let (Some(excess), Some(innocents)) = (&comparison.excess, &comparison.innocents) else {
            return Err(self.missing().join("; "));
        };
        let counts = innocents.references.iter().filter(|r| r.counts).count();
        if innocents.inherited_by.len() >= SHOWN_TWICE {
            return Ok(Verdict::Fail);
        }
        if excess.low > limit {
            let beyond = innocents.reach.is_some_and(|reach| excess.value > reach);
            if beyond {
                return Ok(Verdict::Fail);
            }
            let reach = innocents.reach.map_or_else(|| "an unknown distance".to_owned(), |reach| format!("{reach:.2}"));
            return Err(format!(
                "the excess over the references is above the limit {limit}, but an innocent checkpoint may lie up to {reach} above {}: \
                 name more `references` (four at least)",
                if counts == 1 { "one reference".to_owned() } else { format!("the centre of {counts} references") }
            ));
        }
        if let [one] = innocents.inherited_by[..] {
            return Err(format!(
                "one of {} fine-tunes shows it by itself (seed {one}), and a second one would be a failure; {}",
                excess.seeds,
                self.more_seeds()
            ));
        }
        if excess.high >= limit {
            return Err(format!("the interval does not settle on which side of the limit {limit} the effect lies"));
        }
        match self.doubt(comparison, innocents, counts) {
            Some(doubt) => Err(format!("the excess over the references is below the limit {limit}, but {doubt}")),
            None => Ok(Verdict::Pass),
        }
    }

    /// What keeps an excess below the limit from being a pass.
    fn doubt(&self, comparison: &Comparison, innocents: &Innocents, counts: usize) -> Option<String> {
        let limit = self.limit();
        if let Some((name, why)) = innocents.references.iter().find_map(|r| Some((&r.name, r.missing.as_ref()?))) {
            return Some(format!(
                "the reference {name} is not there to compare with ({why}): a pass needs all that are named; mend it, or remove it from `references`"
            ));
        }
        let apart: Vec<&str> = innocents.references.iter().filter(|r| r.apart).map(|r| r.name.as_str()).collect();
        if !apart.is_empty() {
            return Some(match apart.as_slice() {
                [one] => format!(
                    "the reference {one} lies apart from the others by more than that: one of them may have been tampered with; replace it"
                ),
                several if counts == 2 => {
                    format!(
                        "the references {} differ by more than that: one of them may have been tampered with; name a third",
                        several.join(" and ")
                    )
                }
                several => format!("the references {} lie apart from the others by more than that; replace them", several.join(", ")),
            });
        }
        if less_accurate(comparison) {
            return Some(format!(
                "the source is less accurate than they are by {:.3}, more than {ALIKE}: a model that learnt less shows less; give it more epochs or images",
                innocents.less_accurate
            ));
        }
        match innocents.error {
            Some(error) if error <= MOST_OF_LIMIT * limit => {}
            Some(error) => {
                let raised = (100.0 * error / MOST_OF_LIMIT).ceil() / 100.0;
                let more = enough(innocents, limit).filter(|more| *more > counts).map(|more| format!(", or {more} `references`"));
                return Some(format!(
                    "innocent checkpoints lie {error:.3} from the centre of {counts} (standard deviation), more than two thirds of it: \
                     `limit: {raised:.2}` would do{}",
                    more.unwrap_or_default()
                ));
            }
            None => return Some("how far innocent checkpoints differ is not known: name more `references`".to_owned()),
        }
        if let Some(highest) = comparison.highest.filter(|highest| *highest >= limit) {
            return Some(format!("it is {highest:+.3} {}; {}", self.one_fine_tune(), self.more_seeds()));
        }
        comparison.excess.as_ref().and_then(|excess| self.too_few(excess.seeds))
    }

    /// Under a trigger over much of the image, with too few references of the source's own kind.
    fn without_kin(&self, reference: &Comparison) -> Result<Verdict, String> {
        let limit = self.limit();
        let above = |comparison: Option<&Comparison>| comparison.and_then(|c| c.excess.as_ref()).is_some_and(|e| e.low > limit);
        let kin = "innocent checkpoints of other kinds differ widely under a trigger that changes much of the image; name three or more \
                   `references` of the source's architecture and accuracy";
        if !above(Some(reference)) {
            let passes = self.any_below() && all_valid(reference);
            return if passes { Ok(Verdict::Pass) } else { self.above_all() };
        }
        if above(self.of(Control::Sham)) {
            return self.above_all();
        }
        Err(format!("above the limit over the references, and not above the shams: the model may react to any trigger of this kind; {kin}"))
    }
}

fn below(comparison: &Comparison, limit: f64) -> bool {
    comparison.excess.as_ref().is_some_and(|excess| excess.high < limit)
}

/// Whether the source learnt so much less of the task than its references that it may show less for that reason.
fn less_accurate(reference: &Comparison) -> bool {
    reference.innocents.as_ref().is_some_and(|innocents| innocents.less_accurate > ALIKE)
}

/// Whether every reference that is named was compared with.
fn all_valid(reference: &Comparison) -> bool {
    reference.innocents.as_ref().is_some_and(|innocents| innocents.references.iter().all(|r| r.missing.is_none()))
}

/// References with which innocents would lie near enough to their centre for this limit, if they differ as they do now.
fn enough(innocents: &Innocents, limit: f64) -> Option<usize> {
    innocents.sd.and_then(|sd| enough_of(sd, limit))
}

/// References from which on an innocent checkpoint's distance from them is small enough for a pass at `limit`, where innocent ones differ by
/// the standard deviation `sd`; none where no number of them suffices.
fn enough_of(sd: f64, limit: f64) -> Option<usize> {
    (1..=MOST_REFERENCES).find(|count| innocents::error(sd, *count).is_some_and(|error| error <= MOST_OF_LIMIT * limit))
}

/// References with fewer than which a source passes a rule only where it hardly reacts itself; `None` where no rule of this kind
/// passes by references, and `Some(Err(limit))` where not even the most references suffice at the rule's limit: the least one at which they do.
pub(in crate::gate) fn fewest_references(rule: &Rule, mode: Mode) -> Option<Result<usize, f64>> {
    match rule.pass_by(mode) {
        PassBy::AnyControl | PassBy::OwnReaction => None,
        PassBy::WholeImage => Some(Ok(ENOUGH_KIN)),
        PassBy::OwnOrReferences => {
            // There is a prior: what passes this way is a local trigger.
            let trigger = rule.probe.change()?;
            let sd = prior(trigger, rule.estimand())?.sd;
            let least = innocents::error(sd, MOST_REFERENCES).map_or(1.0, |error| (100.0 * error / MOST_OF_LIMIT).ceil() / 100.0);
            let beside = rule.further().into_iter().filter_map(|(estimand, limit)| {
                let sd = prior(trigger, estimand)?.sd;
                Some(enough_of(sd, limit).unwrap_or(MOST_REFERENCES))
            });
            let beside = beside.max().unwrap_or(1);
            Some(enough_of(sd, rule.limit).map(|own| own.max(beside)).ok_or(least))
        }
    }
}

/// What would settle it: by the comparison nearest to being settled. `total`: test images, of which only some may tell.
pub(super) fn hint(case: &Case, fits: &[(Control, Crossed)], (alpha, pass_alpha): (f64, f64), total: usize) -> Option<String> {
    let distance = |fit: &Crossed| (fit.mean - case.limit()).abs();
    let level = |fit: &Crossed| if fit.mean > case.limit() { alpha } else { pass_alpha };
    let reach = |fit: &Crossed| if fit.mean > case.limit() { fit.mean - fit.low(alpha) } else { fit.high(pass_alpha) - fit.mean };
    let open = fits.iter().filter(|(_, fit)| reach(fit) >= distance(fit));
    let (control, fit) = open.max_by(|(_, a), (_, b)| (distance(a) / reach(a)).total_cmp(&(distance(b) / reach(b))))?;
    let images = case.comparisons.iter().find_map(|c| c.excess.as_ref()).map_or(0, |e: &Estimate| e.images);
    let (seed, mut image) = fit.parts(level(fit));
    // What skewness and the floor add, images narrow.
    image = image.max(reach(fit).powi(2) - seed);
    Some(match needed(seed, image, distance(fit), fit.seeds, images) {
        // Those that tell are a share of all: the images of the class that is drawn to are none of them.
        Needed::Images(n) => format!("about {} test images would settle it", (n * total).div_ceil(images.max(1)).max(total + 1)),
        // Those are paired with the source's first ones, and frozen features may have more.
        Needed::Seeds(n) if *control == Control::Scratch && case.mode == Mode::FixedFeature => {
            format!("about {n} seeds would settle it, of the network from scratch too (`seeds.full_network`)")
        }
        Needed::Seeds(n) => format!("about {n} seeds would settle it"),
        Needed::Hopeless => "the effect is about as large as the limit, more runs would hardly settle it".to_owned(),
    })
}
