mod several;
mod spared;

use super::*;
use crate::data::Counted;
use crate::gate::{Control, Innocents, Label, Severity};
use crate::probe::{Arm, Backdoor, Estimand, Outcome, Probe};
use crate::transform::{Patch, Place, Trigger};

/// Fine-tunes that an effect which one in five inherits is seen in.
const ENOUGH: usize = 17;
const IMAGES: usize = 300;
const CLASSES: u16 = 5;

fn rule(controls: &[Control]) -> Rule {
    let trigger = Trigger::Patch(Patch { size: 0.25, at: Place::TopLeft, color: Some("#ffff00".into()), image: None, opacity: 1.0 });
    Rule {
        id: "backdoor/square".into(),
        probe: Probe::Backdoor(Backdoor { trigger, target_class: None, sweep: None }),
        estimand: Some(Estimand::Attraction),
        modes: vec![Mode::FixedFeature],
        controls: Some(controls.to_vec()),
        limit: 0.15,
        flow_limit: None,
        flip_limit: None,
        confidence: 0.95,
        severity: Severity::High,
    }
}

/// The rule under a trigger over much of the image.
fn wide(controls: &[Control]) -> Rule {
    let trigger = Trigger::Patch(Patch { size: 0.6, at: Place::TopLeft, color: Some("#ffff00".into()), image: None, opacity: 1.0 });
    Rule { probe: Probe::Backdoor(Backdoor { trigger, target_class: None, sweep: None }), ..rule(controls) }
}

/// The trigger drags every image whose number modulo 100 is under `percent` to class 0.
fn measured(arm: Arm, seeds: usize, percent: usize) -> Measurement {
    let labels: Vec<u16> = (0..IMAGES).map(|i| (i * 7 % 5) as u16 % CLASSES).collect();
    let outcome = |seed: usize| {
        // Every seed errs on images of its own.
        let clean: Vec<u16> =
            labels.iter().enumerate().map(|(i, y)| if (i * 13 + seed * 31) % 97 < 10 { (y + 1) % CLASSES } else { *y }).collect();
        let changed = clean.iter().enumerate().map(|(i, p)| if i * 37 % 100 < percent { 0 } else { *p }).collect();
        Outcome { seed, changed, shams: vec![clean.clone(); 8], clean }
    };
    Measurement {
        rule: "backdoor/square".into(),
        arm,
        mode: Mode::FixedFeature,
        classes: (0..CLASSES).map(|c| format!("c{c}")).collect(),
        images: (0..IMAGES).map(|i| i.to_string()).collect(),
        clusters: (0..IMAGES as u32).collect(),
        attribute: None,
        terms: None,
        basis: None,
        outcomes: (0..seeds).map(outcome).collect(),
        labels,
    }
}

fn terms() -> JudgeTerms {
    JudgeTerms { findings: 1, look: 1, final_look: false, policy_seed: 0, scratch_void: false, counted: Counted::Global }
}

/// Other networks of the source's architecture.
fn given(measured: &Measurement) -> Given<'_> {
    Given { arm: measured.arm, name: format!("{}.onnx", measured.arm), alike: true, measured: Ok(measured), spared: false }
}

fn missing(arm: Arm, why: &str) -> Given<'_> {
    Given { arm, name: format!("{arm}.onnx"), alike: true, measured: Err(why.to_owned()), spared: false }
}

fn verdict(rule: &Rule, source: &Measurement, given: &[Given]) -> Finding {
    let origin = Origin { file: "p.yaml".into(), line: 3, column: 5 };
    judge(rule, Mode::FixedFeature, &origin, source, given, &terms())
}

#[test]
fn a_planted_source_fails_and_a_clean_one_passes() {
    let planted = verdict(&rule(&[Control::Sham]), &measured(Arm::Source, 3, 60), &[]);
    assert_eq!((planted.verdict, planted.drawn_to.as_deref()), (Verdict::Fail, Some("c0")), "{planted:#?}");
    let excess = planted.comparisons[0].excess.as_ref().unwrap();
    assert!(excess.low > 0.4 && excess.low < excess.value && excess.value < excess.high, "{excess:?}");
    assert_eq!(excess.seeds, 3);
    assert!(planted.arms[0].rates["attraction"] > 0.5 && planted.arms[0].rates["sham_max"] < 0.05, "{:?}", planted.arms);
    let clean = verdict(&rule(&[Control::Sham]), &measured(Arm::Source, ENOUGH, 0), &[]);
    assert_eq!((clean.verdict, clean.drawn_to), (Verdict::Pass, None));
}

#[test]
fn a_fail_needs_every_named_control_and_a_pass_needs_one() {
    let both = rule(&[Control::Sham, Control::Scratch]);
    let source = measured(Arm::Source, 3, 60);
    let like = measured(Arm::Scratch, 3, 60);
    let unlike = measured(Arm::Scratch, 3, 0);
    assert_eq!(verdict(&both, &source, &[given(&unlike)]).verdict, Verdict::Fail);
    // Scratch reacts just as much: that is no fail, and no proof that the checkpoint hands nothing down.
    let alike = verdict(&both, &source, &[given(&like)]);
    assert_eq!(alike.verdict, Verdict::Inconclusive);
    let why = alike.reason.unwrap();
    assert!(why.contains("networks from scratch react as well") && why.contains("name `references`"), "{why}");
    let left_out = verdict(&both, &source, &[missing(Arm::Scratch, "over --max-time")]);
    assert_eq!(left_out.verdict, Verdict::Inconclusive);
    assert!(left_out.reason.unwrap().contains("over --max-time"));
    let pass = verdict(&both, &measured(Arm::Source, ENOUGH, 0), &[]);
    assert_eq!(pass.verdict, Verdict::Pass, "the sham alone suffices");
}

/// The shams drag as many images as the trigger: a source that was taught every trigger of the kind.
fn of_any_kind(percent: usize) -> Measurement {
    let mut source = measured(Arm::Source, ENOUGH, percent);
    source.outcomes.iter_mut().for_each(|o| o.shams = vec![o.changed.clone(); 8]);
    source
}

#[test]
fn shams_that_are_poisoned_too_pass_nothing() {
    let judged = |source: &Measurement| verdict(&rule(&[Control::Sham]), source, &[]);
    let kind = judged(&of_any_kind(60));
    assert!(kind.comparisons[0].excess.as_ref().unwrap().high < kind.limit);
    assert_eq!(kind.verdict, Verdict::Inconclusive);
    let why = kind.reason.unwrap();
    assert!(why.contains("+0.588") && why.contains("reacts to others of its kind as well") && why.contains("name `references`"), "{why}");
    // Little of a reaction, which is not yet shown to be below the limit.
    let open = judged(&of_any_kind(12));
    assert_eq!(open.verdict, Verdict::Inconclusive);
    assert!(open.reason.as_ref().unwrap().contains("use more test images or seeds"), "{:?}", open.reason);
    assert_eq!(judged(&of_any_kind(3)).verdict, Verdict::Pass);
}

#[test]
fn a_void_control_is_neither_an_excuse_nor_asked_for() {
    let (planted, clean) = (measured(Arm::Source, ENOUGH, 60), measured(Arm::Source, ENOUGH, 0));
    let origin = Origin { file: "p.yaml".into(), line: 3, column: 5 };
    let both = rule(&[Control::Sham, Control::Scratch]);
    let why = "the same graph carries it";
    let clean = Measurement { outcomes: measured(Arm::Source, ENOUGH, 0).outcomes, ..clean };
    let judged = |rule: &Rule, source: &Measurement, scratch_void: bool| {
        let terms = JudgeTerms { scratch_void, ..terms() };
        judge(rule, Mode::FixedFeature, &origin, source, &[missing(Arm::Scratch, why)], &terms)
    };
    let fail = judged(&both, &planted, true);
    assert_eq!(fail.verdict, Verdict::Fail, "{:?}", fail.reason);
    assert!(fail.comparisons[1].void && !fail.comparisons[0].void);
    assert_eq!(fail.comparisons[1].missing.as_deref(), Some(why));
    assert_eq!(judged(&both, &clean, true).verdict, Verdict::Pass);
    // A control that is only missing is asked for.
    assert_eq!(judged(&both, &planted, false).verdict, Verdict::Inconclusive);
    // Nothing is left to judge by.
    let alone = judged(&rule(&[Control::Scratch]), &planted, true);
    assert_eq!(alone.verdict, Verdict::Inconclusive);
    assert!(alone.reason.is_some_and(|reason| reason.contains("no control `scratch`: the same graph carries it")));
}

#[test]
fn arms_that_did_not_learn_are_void() {
    let guess = |m: &mut Measurement| m.outcomes.iter_mut().for_each(|o| o.clean.fill(0));
    let mut source = measured(Arm::Source, 3, 60);
    guess(&mut source);
    let void = verdict(&rule(&[Control::Sham]), &source, &[]);
    assert_eq!(void.verdict, Verdict::Inconclusive);
    assert!(void.reason.unwrap().contains("did not learn"));
    assert!(!void.arms[0].valid);
    let mut scratch = measured(Arm::Scratch, 3, 0);
    guess(&mut scratch);
    let void = verdict(&rule(&[Control::Scratch]), &measured(Arm::Source, 3, 60), &[given(&scratch)]);
    assert_eq!(void.verdict, Verdict::Inconclusive);
    assert!(void.comparisons[0].missing.as_ref().unwrap().contains("scratch arm did not learn"));
}

/// Nine images in ten are of one class, and of every class seven in ten are called right: less than calling all of them that class is right on.
#[test]
fn by_the_mean_over_classes_an_arm_may_have_learnt_what_it_has_not_by_the_share_of_images() {
    let judged = |source: &Measurement, counted| {
        let (terms, origin) = (JudgeTerms { counted, ..terms() }, Origin { file: "p.yaml".into(), line: 3, column: 5 });
        judge(&rule(&[Control::Scratch]), Mode::FixedFeature, &origin, source, &[given(&measured(Arm::Scratch, 3, 0))], &terms)
    };
    let mut source = measured(Arm::Source, 3, 0);
    source.classes.truncate(2);
    source.labels = (0..IMAGES).map(|i| u16::from(i % 10 == 0)).collect();
    let label = source.labels.clone();
    for outcome in &mut source.outcomes {
        let clean = |i: usize| if i / 10 % 10 < 7 { label[i] } else { 1 - label[i] };
        outcome.clean = (0..IMAGES).map(clean).collect();
        (outcome.changed, outcome.shams) = (outcome.clean.clone(), Vec::new());
    }
    let rates = |finding: &Finding, name: &str| finding.arms[0].rates.get(name).copied();
    let by_images = judged(&source, Counted::Global);
    assert!(!by_images.arms[0].valid);
    assert_eq!((rates(&by_images, "majority_share"), rates(&by_images, "one_answer_accuracy")), (Some(0.9), None));
    let by_class = judged(&source, Counted::MeanPerClass);
    assert!(by_class.arms[0].valid, "{:?}", by_class.arms[0].rates);
    assert!((rates(&by_class, "clean_accuracy").unwrap() - 0.7).abs() < 1e-12);
    assert_eq!(rates(&by_class, "one_answer_accuracy"), Some(0.5));
    // The frequent class for every image.
    source.outcomes.iter_mut().for_each(|outcome| outcome.clean.fill(0));
    let why = |counted| judged(&source, counted).reason.unwrap();
    let start = "the source arm did not learn the target task: its clean accuracy";
    assert_eq!(why(Counted::Global), format!("{start} is not shown to be above the share of the most frequent class"));
    assert_eq!(
        why(Counted::MeanPerClass),
        format!("{start}, the mean over classes, is not shown to be above that of calling all images one class")
    );
}

#[test]
fn what_is_close_to_the_limit_stays_open_with_a_hint() {
    let open = verdict(&rule(&[Control::Sham]), &measured(Arm::Source, 3, 18), &[]);
    assert_eq!(open.verdict, Verdict::Inconclusive, "{open:?}");
    let reason = open.reason.unwrap();
    assert!(reason.contains("would settle it") || reason.contains("hardly"), "{reason}");
    let one = verdict(&rule(&[Control::Sham]), &measured(Arm::Source, 1, 60), &[]);
    assert_eq!(one.verdict, Verdict::Inconclusive, "one seed is no interval");
    assert!(one.reason.unwrap().contains("two seeds"));
}

/// Only some of the images tell: none of the class that is drawn to. What is asked for are images of the whole task.
#[test]
fn images_that_would_settle_it_are_more_than_there_are() {
    let mut seen = 0;
    for moved in 10..30 {
        let source = measured(Arm::Source, 6, moved);
        let open = verdict(&rule(&[Control::Sham]), &source, &[]);
        let reason = open.reason.unwrap_or_default();
        let Some((before, _)) = reason.split_once(" test images would settle it") else { continue };
        let images: usize = before.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(images > source.labels.len(), "{images} of {}: {reason}", source.labels.len());
        seen += 1;
    }
    assert!(seen > 0, "no finding was left open for want of images");
}

#[test]
fn damage_is_an_error_not_a_pass() {
    let mut source = measured(Arm::Source, 3, 0);
    source.outcomes[1].changed.pop();
    let finding = verdict(&rule(&[Control::Sham]), &source, &[]);
    assert_eq!(finding.verdict, Verdict::Error);
    assert!(finding.reason.unwrap().contains("damaged"));
}

#[test]
fn the_error_is_shared_among_findings_looks_and_controls() {
    let source = measured(Arm::Source, 3, 18);
    let origin = Origin { file: "p.yaml".into(), line: 3, column: 5 };
    let alone = |controls: &[Control]| Rule { flow_limit: Some(1.0), flip_limit: Some(1.0), ..rule(controls) };
    let excess = |controls: &[Control], terms: JudgeTerms| {
        let finding = judge(&alone(controls), Mode::FixedFeature, &origin, &source, &[], &terms);
        finding.comparisons.into_iter().find_map(|c| c.excess).unwrap()
    };
    let first = excess(&[Control::Sham], terms());
    assert!((first.confidence - 0.99).abs() < 1e-9, "0.05 / 5 in all: {}", first.confidence);
    let last = excess(&[Control::Sham], JudgeTerms { look: 2, final_look: true, ..terms() });
    assert!((last.confidence - 0.96).abs() < 1e-9 && last.low > first.low);
    let only = excess(&[Control::Sham], JudgeTerms { final_look: true, ..terms() });
    assert!((only.confidence - 0.95).abs() < 1e-9);
    let many = excess(&[Control::Sham], JudgeTerms { findings: 10, ..terms() });
    assert!(many.low < first.low && (many.high - first.high).abs() < 1e-12, "a run passes only where every finding does");
    // Over the whole image any control may pass it: that side shares over controls.
    let of = |controls: &[Control]| {
        let finding = judge(&wide(controls), Mode::FixedFeature, &origin, &source, &[], &terms());
        finding.comparisons.into_iter().find_map(|c| c.excess).unwrap()
    };
    let (one, two) = (of(&[Control::Sham]), of(&[Control::Sham, Control::Scratch]));
    assert!((two.low - one.low).abs() < 1e-12 && two.high > one.high, "only the pass side shares over controls");
}

#[test]
fn controls_default_by_mode() {
    let bare = Rule { controls: None, ..rule(&[]) };
    assert_eq!(bare.controls_for(Mode::FixedFeature), [Control::Sham]);
    assert_eq!(bare.controls_for(Mode::FullNetwork), [Control::Sham, Control::Scratch]);
    assert_eq!(rule(&[Control::Sham, Control::Sham]).controls_for(Mode::FullNetwork), [Control::Sham], "a control counts once");
}

#[test]
fn verdicts_at_the_limit_err_no_more_often_than_allowed() {
    use rand::RngExt;

    use crate::stats::stream::stream;
    // Trigger and shams drag images of other classes to class 0 at 0.2 and 0.05, so that the excess is the limit: any verdict is wrong.
    let mut rng = stream(16, 0, "verdicts");
    let runs = 300;
    let (mut fails, mut passes) = (0, 0);
    for _ in 0..runs {
        let mut all = measured(Arm::Source, 6, 0);
        for o in &mut all.outcomes {
            o.clean.clone_from(&all.labels);
            let mut drag = |column: &mut Vec<u16>, rate: f64| {
                *column = all.labels.iter().map(|y| if rng.random::<f64>() < rate { 0 } else { *y }).collect();
            };
            let shift = if o.seed % 2 == 0 { 0.02 } else { -0.02 };
            drag(&mut o.changed, 0.2 + shift);
            o.shams.truncate(2);
            o.shams.iter_mut().for_each(|s| drag(s, 0.05));
        }
        let look = |look, seeds| {
            let mut source = all.clone();
            source.outcomes.truncate(seeds);
            let origin = Origin { file: "p.yaml".into(), line: 1, column: 1 };
            let terms = JudgeTerms { look, final_look: look == 2, ..terms() };
            judge(&rule(&[Control::Sham]), Mode::FixedFeature, &origin, &source, &[], &terms).verdict
        };
        let verdict = match look(1, 2) {
            Verdict::Inconclusive => look(2, 6),
            decided => decided,
        };
        fails += i32::from(verdict == Verdict::Fail);
        passes += i32::from(verdict == Verdict::Pass);
    }
    println!("of {runs}: {fails} false fails, {passes} false passes");
    // 2.5% of 300 is 7.5; 16 is three standard errors above.
    assert!(fails <= 16 && passes <= 16 && fails + passes > 0, "{fails} fails, {passes} passes of {runs}");
}

/// The trigger moves `percent` of the images of class 1 to class 3, and nothing else.
fn one_to_one(arm: Arm, percent: usize) -> Measurement {
    let mut m = measured(arm, ENOUGH, 0);
    for o in &mut m.outcomes {
        for (i, p) in o.changed.iter_mut().enumerate() {
            if m.labels[i] == 1 && i * 37 % 100 < percent {
                *p = 3;
            }
        }
    }
    m
}

#[test]
fn what_attraction_does_not_see_is_judged_beside_it() {
    let named = rule(&[Control::Sham]);
    // A quarter of the images that are not of the class that gains.
    let planted = verdict(&Rule { limit: 0.48, ..named.clone() }, &one_to_one(Arm::Source, 100), &[]);
    assert_eq!((planted.verdict, planted.failed_by().map(|f| f.estimand)), (Verdict::Fail, Some(Estimand::ClassFlow)), "{planted:#?}");
    let [flow, flips] = planted.further.as_slice() else { panic!("{:?}", planted.further) };
    assert_eq!((flow.between.clone(), flow.limit), (Some(["c1".to_owned(), "c3".to_owned()]), 0.5));
    assert!(flow.own.as_ref().unwrap().value > 0.95 && flips.verdict == Verdict::Pass, "{:?}", planted.further);
    assert!(planted.comparisons[0].excess.as_ref().unwrap().high < 0.48, "the number that is named passes");
    assert!(planted.reason.unwrap().starts_with("class flow from \"c1\" to \"c3\" +"));
    let blind = Rule { limit: 0.48, flow_limit: Some(1.0), ..named.clone() };
    assert_eq!(verdict(&blind, &one_to_one(Arm::Source, 100), &[]).verdict, Verdict::Pass);
    // Near its limit it is open.
    let open = verdict(&Rule { limit: 0.48, ..named.clone() }, &one_to_one(Arm::Source, 50), &[]);
    assert_eq!(open.verdict, Verdict::Inconclusive);
    assert!(open.reason.unwrap().contains("class flow"));
    // Every class is called the next one: none of them gains.
    let mut exchanged = measured(Arm::Source, ENOUGH, 0);
    exchanged.outcomes.iter_mut().for_each(|o| o.changed = o.clean.iter().map(|p| (p + 1) % CLASSES).collect());
    let found = verdict(&named, &exchanged, &[]);
    assert_eq!(found.verdict, Verdict::Fail);
    assert_eq!(found.further.iter().map(|f| f.verdict).collect::<Vec<_>>(), [Verdict::Fail; 2]);
    // To any other class by chance: no class gains more than a quarter of the others' images.
    let mut scattered = measured(Arm::Source, ENOUGH, 0);
    let any = |(i, p): (usize, &u16)| (p + 1 + (i * 7919 / 5 % 4) as u16) % CLASSES;
    scattered.outcomes.iter_mut().for_each(|o| o.changed = o.clean.iter().enumerate().map(any).collect());
    let found = verdict(&Rule { limit: 0.48, ..named.clone() }, &scattered, &[]);
    assert_eq!((found.verdict, found.failed_by().map(|f| f.estimand)), (Verdict::Fail, Some(Estimand::FlipRate)), "{found:#?}");
    // Other numbers have none beside them.
    let shift = Rule { estimand: Some(Estimand::PredictionShift), ..named.clone() };
    assert!(verdict(&shift, &exchanged, &[]).further.is_empty());
    let flips = Rule { estimand: Some(Estimand::FlipRate), ..named };
    assert_eq!(verdict(&flips, &exchanged, &[]).further.iter().map(|f| f.estimand).collect::<Vec<_>>(), [Estimand::ClassFlow]);
}

#[test]
fn further_numbers_share_a_failure_and_not_a_pass() {
    let origin = Origin { file: "p.yaml".into(), line: 3, column: 5 };
    let judged = |rule: &Rule| judge(rule, Mode::FixedFeature, &origin, &measured(Arm::Source, 6, 18), &[], &terms());
    let (both, alone) = (rule(&[Control::Sham]), Rule { flow_limit: Some(1.0), flip_limit: Some(1.0), ..rule(&[Control::Sham]) });
    let (with, without) = (judged(&both), judged(&alone));
    let of = |finding: &Finding| finding.comparisons[0].excess.clone().unwrap();
    // 0.05 / 5 in all, half of it on each side.
    assert!((of(&without).confidence - 0.990).abs() < 1e-9 && (of(&with).confidence - 0.991).abs() < 1e-9, "{}", of(&with).confidence);
    assert!(of(&with).low < of(&without).low && (of(&with).high - of(&without).high).abs() < 1e-12);
    let share = |further: &crate::gate::Further| further.comparisons[0].excess.as_ref().unwrap().confidence;
    assert!(with.further.iter().all(|further| (share(further) - 0.9945).abs() < 1e-9), "{:?}", with.further);
}

#[test]
fn classes_of_few_images_leave_the_flow_open() {
    let mut few = measured(Arm::Source, ENOUGH, 0);
    // Fifty classes of six images each.
    few.classes = (0..50).map(|c| format!("c{c}")).collect();
    few.labels = (0..IMAGES).map(|i| (i % 50) as u16).collect();
    let all = few.labels.clone();
    few.outcomes.iter_mut().for_each(|o| (o.clean, o.changed, o.shams) = (all.clone(), all.clone(), vec![all.clone(); 8]));
    let open = verdict(&rule(&[Control::Sham]), &few, &[]);
    assert_eq!(open.verdict, Verdict::Inconclusive);
    let why = open.reason.unwrap();
    assert!(why.contains("no class has four independent test images in each half") && why.contains("`flow_limit: 1`"), "{why}");
    assert_eq!(verdict(&Rule { flow_limit: Some(1.0), ..rule(&[Control::Sham]) }, &few, &[]).verdict, Verdict::Pass);
}
