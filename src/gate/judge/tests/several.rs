//! Several networks at once: references, and untrained ones.

use super::*;

/// References that are moved by so many percent each.
fn references(percents: &[usize]) -> Vec<Measurement> {
    percents.iter().enumerate().map(|(at, percent)| measured(Arm::Reference(at as u8), ENOUGH, *percent)).collect()
}

fn beside(references: &[Measurement], source: &Measurement, rule: &Rule) -> Finding {
    verdict(rule, source, &references.iter().map(given).collect::<Vec<_>>())
}

fn innocents(finding: &Finding) -> &Innocents {
    finding.comparisons.iter().find_map(|c| c.innocents.as_ref()).expect("compared with references")
}

#[test]
fn shams_do_not_excuse_what_a_reference_contradicts() {
    let named = rule(&[Control::Sham, Control::Reference]);
    let one = |percent| references(&[percent]);
    let kind = beside(&one(0), &of_any_kind(60), &named);
    assert_eq!((kind.verdict, kind.label, kind.reason), (Verdict::Fail, Some(Label::Kind), None));
    assert!(kind.comparisons[0].excess.as_ref().unwrap().high < named.limit, "the shams alone would excuse it");
    let specific = beside(&one(0), &measured(Arm::Source, 3, 60), &named);
    assert_eq!((specific.verdict, specific.label), (Verdict::Fail, Some(Label::Specific)));
    // A reference that reacts as well: both have it from elsewhere.
    let shared = beside(&one(40), &of_any_kind(40), &named);
    assert_eq!((shared.verdict, shared.label), (Verdict::Pass, None), "{:?}", shared.reason);
    let clean = beside(&one(0), &measured(Arm::Source, ENOUGH, 0), &named);
    assert_eq!(clean.verdict, Verdict::Pass);
    // A network from scratch explains nothing here: a graph that carries a trigger carries it untrained too.
    let with_scratch = rule(&[Control::Scratch, Control::Reference]);
    let (reference, scratch) = (one(0), measured(Arm::Scratch, 3, 60));
    let carried = verdict(&with_scratch, &measured(Arm::Source, 3, 60), &[given(&reference[0]), given(&scratch)]);
    assert_eq!(carried.verdict, Verdict::Fail, "{:?}", carried.reason);
    // A limit so low that innocent checkpoints differ by more.
    let strict = Rule { limit: 0.01, ..named.clone() };
    let small = beside(&one(0), &of_any_kind(14), &strict);
    assert_eq!(small.verdict, Verdict::Inconclusive, "{small:#?}");
    let why = small.reason.unwrap();
    assert!(why.contains("may lie up to 0.34 above one reference") && why.contains("name more `references`"), "{why}");
    // Under a smaller patch they differ by less.
    let patch = Trigger::Patch(Patch { size: 0.125, at: Place::TopLeft, color: Some("#ffff00".into()), image: None, opacity: 1.0 });
    let probe = Probe::Backdoor(Backdoor { trigger: patch, target_class: None, sweep: None });
    assert_eq!(beside(&one(0), &of_any_kind(14), &Rule { probe, ..strict }).verdict, Verdict::Fail);
}

#[test]
fn a_source_is_compared_with_the_centre_of_its_references() {
    let named = rule(&[Control::Reference]);
    let found = beside(&references(&[0, 4, 8]), &measured(Arm::Source, 3, 60), &named);
    assert_eq!(found.verdict, Verdict::Fail);
    let over: Vec<f64> = innocents(&found).references.iter().map(|r| r.excess.unwrap()).collect();
    assert!(over[0] > over[1] && over[1] > over[2], "{over:?}");
    let excess = found.comparisons[0].excess.as_ref().unwrap();
    assert!((excess.value - over[1]).abs() < 1e-12, "the median: {excess:?} of {over:?}");
    let two = beside(&references(&[0, 4]), &measured(Arm::Source, 3, 60), &named);
    let over: Vec<f64> = innocents(&two).references.iter().map(|r| r.excess.unwrap()).collect();
    assert!((two.comparisons[0].excess.as_ref().unwrap().value - f64::midpoint(over[0], over[1])).abs() < 1e-12);
    assert_eq!(two.arms.iter().map(|arm| arm.arm).collect::<Vec<_>>(), [Arm::Source, Arm::Reference(0), Arm::Reference(1)]);
    // One of them was stopped: all are compared at the seeds that it has.
    let mut stopped = references(&[0, 4, 8]);
    stopped[2].outcomes.truncate(2);
    let found = beside(&stopped, &measured(Arm::Source, 3, 60), &named);
    assert_eq!(found.comparisons[0].excess.as_ref().unwrap().seeds, 2);
}

#[test]
fn a_poisoned_reference_is_named_and_lets_nothing_pass() {
    let named = rule(&[Control::Sham, Control::Reference]);
    let (planted, clean) = (measured(Arm::Source, ENOUGH, 60), measured(Arm::Source, ENOUGH, 0));
    // One of four shares what was planted: the median still tells.
    let one_of_four = references(&[0, 2, 60, 1]);
    assert_eq!(beside(&one_of_four, &planted, &named).verdict, Verdict::Fail);
    let pass = beside(&one_of_four, &clean, &named);
    assert_eq!(pass.verdict, Verdict::Pass, "the source itself reacts to nothing: {:?}", pass.reason);
    assert_eq!(innocents(&pass).references.iter().map(|r| r.apart).collect::<Vec<_>>(), [false, false, true, false]);
    // Of two nobody can tell which: the source that shares it with one of them stays open.
    let open = beside(&references(&[30, 60]), &planted, &named);
    assert_eq!(open.verdict, Verdict::Inconclusive);
    assert!(open.reason.is_some());
    let shared = beside(&references(&[26, 60, 60, 60]), &planted, &named);
    assert_eq!(shared.verdict, Verdict::Inconclusive);
    let why = shared.reason.unwrap();
    assert!(why.contains("the reference reference.onnx lies apart from the others"), "{why}");
}

#[test]
fn what_keeps_references_from_telling_is_said_with_what_to_do() {
    let named = rule(&[Control::Reference]);
    // So much of a reaction that only the references can excuse it.
    let source = measured(Arm::Source, ENOUGH, 20);
    let like = references(&[20, 20, 20, 20]);
    assert_eq!(beside(&like, &source, &named).verdict, Verdict::Pass);
    let why = |given: &[Given], source: &Measurement, rule: &Rule| {
        let finding = verdict(rule, source, given);
        assert_eq!(finding.verdict, Verdict::Inconclusive, "{finding:#?}");
        finding.reason.unwrap()
    };
    let mut all: Vec<Given> = like.iter().map(given).collect();
    // Innocents differ by too much for this limit: what would do is named.
    let strict = Rule { limit: 0.08, ..named.clone() };
    let few = why(&all[..1], &source, &strict);
    assert!(few.contains("innocent checkpoints lie 0.085 from the centre of 1") && few.contains("`limit: 0.13` would do"), "{few}");
    let narrow = why(&all[..1], &source, &Rule { limit: 0.10, ..named.clone() });
    assert!(narrow.contains("or 6 `references`"), "{narrow}");
    // One that is named and not there.
    all[1] = missing(Arm::Reference(1), "over --max-time");
    let gone = why(&all, &source, &named);
    assert!(gone.contains("reference-2.onnx is not there to compare with (over --max-time)") && gone.contains("`references`"), "{gone}");
    let alone = why(&all[1..2], &source, &named);
    assert!(alone.contains("no control `reference`: reference-2.onnx: over --max-time"), "{alone}");
    // One that learnt nothing.
    let mut guessing = references(&[20, 20]);
    guessing[1].outcomes.iter_mut().for_each(|o| o.clean.fill(0));
    let guessing = why(&guessing.iter().map(given).collect::<Vec<_>>(), &source, &named);
    assert!(guessing.contains("reference-2 arm did not learn the target task"), "{guessing}");
    // A source that learnt less than its references shows less.
    let mut dull = source.clone();
    for outcome in &mut dull.outcomes {
        let wrong = |(i, p): (usize, &u16)| if i % 4 == 0 { (p + 1) % CLASSES } else { *p };
        outcome.clean = outcome.clean.iter().enumerate().map(wrong).collect();
        outcome.changed =
            outcome.changed.iter().zip(&outcome.clean).enumerate().map(|(i, (b, a))| if i * 37 % 100 < 20 { *b } else { *a }).collect();
    }
    let less = why(&like.iter().map(given).collect::<Vec<_>>(), &dull, &named);
    assert!(less.contains("the source is less accurate than they are by 0.2"), "{less}");
}

/// A source that hands its effect down to some of its fine-tunes alone.
fn lottery(tickets: &[usize]) -> Measurement {
    let (mut source, lot) = (measured(Arm::Source, ENOUGH, 0), measured(Arm::Source, ENOUGH, 60));
    for at in tickets {
        source.outcomes[*at] = lot.outcomes[*at].clone();
    }
    source
}

#[test]
fn one_fine_tune_that_inherits_is_no_pass_and_two_are_a_failure() {
    let (one, two) = (lottery(&[4]), lottery(&[4, 11]));
    for source in [&one, &two] {
        let alone = verdict(&rule(&[Control::Sham]), source, &[]);
        assert_eq!(alone.verdict, Verdict::Inconclusive);
        let why = alone.reason.unwrap();
        assert!(why.contains("in one fine-tune, which is not below the limit 0.15") && why.contains("name `references`"), "{why}");
    }
    let named = rule(&[Control::Reference]);
    let beside_one = beside(&references(&[0]), &one, &named);
    assert_eq!(beside_one.verdict, Verdict::Inconclusive);
    assert!(beside_one.reason.as_ref().unwrap().contains("one of 17 fine-tunes shows it by itself"), "{:?}", beside_one.reason);
    assert!(beside_one.comparisons[0].highest.unwrap() > 0.4);
    assert_eq!(innocents(&beside_one).inherited_by, [4]);
    let beside_two = beside(&references(&[0]), &two, &named);
    assert_eq!((beside_two.verdict, beside_two.label), (Verdict::Fail, Some(Label::SomeFineTunes)), "{:?}", beside_two.reason);
    assert_eq!(innocents(&beside_two).inherited_by, [4, 11]);
    assert!(beside_two.comparisons[0].excess.as_ref().unwrap().value < named.limit);
    // A fine-tune of a reference does as much: nothing tells the source apart.
    let diverging = Measurement { arm: Arm::Reference(0), ..lottery(&[2]) };
    let like = beside(&[diverging], &two, &named);
    assert_eq!((like.verdict, innocents(&like).inherited_by.len()), (Verdict::Inconclusive, 0));
}

/// Some fine-tune of an innocent checkpoint that reacts a little is estimated at the limit: no more than over its shams, which do the same, and not shown
/// to be above it.
#[test]
fn a_fine_tune_that_is_high_by_chance_keeps_nothing_from_passing() {
    let mut source = of_any_kind(9);
    let one = of_any_kind(17);
    source.outcomes[4] = one.outcomes[4].clone();
    let found = verdict(&rule(&[Control::Sham]), &source, &[]);
    assert_eq!(found.verdict, Verdict::Pass, "{:?}", found.reason);
    // One that is surely above is no chance.
    source.outcomes[4] = of_any_kind(60).outcomes[4].clone();
    let kind = verdict(&rule(&[Control::Sham]), &source, &[]);
    assert_eq!(kind.verdict, Verdict::Inconclusive);
    assert!(kind.reason.unwrap().contains("in one fine-tune"));
}

#[test]
fn few_fine_tunes_may_all_miss_what_one_in_five_inherits() {
    let few = measured(Arm::Source, ENOUGH - 1, 0);
    let reference = measured(Arm::Reference(0), ENOUGH - 1, 0);
    for finding in [verdict(&rule(&[Control::Sham]), &few, &[]), verdict(&rule(&[Control::Reference]), &few, &[given(&reference)])] {
        assert_eq!(finding.verdict, Verdict::Inconclusive);
        assert!(finding.reason.as_ref().unwrap().contains("`seeds: { fixed_feature: { first: 17, .. } }`"), "{:?}", finding.reason);
    }
    // Full fine-tunes are dear: their number is not asked for.
    let origin = Origin { file: "p.yaml".into(), line: 3, column: 5 };
    let full = Measurement { mode: Mode::FullNetwork, ..few };
    let whole = Rule { modes: vec![Mode::FullNetwork], ..rule(&[Control::Sham]) };
    assert_eq!(judge(&whole, Mode::FullNetwork, &origin, &full, &[], &terms()).verdict, Verdict::Pass);
}

#[test]
fn over_much_of_the_image_only_kin_tell() {
    let named = wide(&[Control::Sham, Control::Reference]);
    let planted = of_any_kind(60);
    let few = beside(&references(&[0]), &planted, &named);
    assert_eq!((few.verdict, few.label), (Verdict::Inconclusive, None));
    assert!(few.reason.unwrap().contains("name three or more `references` of the source's architecture"));
    // This very trigger, over shams and over a reference of another kind.
    assert_eq!(beside(&references(&[0]), &measured(Arm::Source, 3, 60), &named).verdict, Verdict::Fail);
    // Eight of its kind that differ little from each other show that innocents do not do this.
    let kin = references(&[0, 1, 2, 3, 0, 1, 2, 3]);
    let kind = beside(&kin, &planted, &named);
    assert_eq!((kind.verdict, kind.label), (Verdict::Fail, Some(Label::Kind)), "{:?}", kind.reason);
    assert_eq!(beside(&kin, &of_any_kind(3), &named).verdict, Verdict::Pass);
    // Others are no kin, however many.
    let others: Vec<Given> = kin.iter().map(|m| Given { alike: false, ..given(m) }).collect();
    assert_eq!(verdict(&named, &planted, &others).verdict, Verdict::Inconclusive);
    let mixed: Vec<Given> = others.iter().take(5).cloned().chain(kin[5..].iter().map(given)).collect();
    let found = verdict(&named, &planted, &mixed);
    assert_eq!(innocents(&found).references.iter().filter(|r| r.counts).count(), 3, "only kin count where there are some");
}

/// Draws of untrained networks that are moved by so many percent each.
fn untrained(percents: [usize; 4]) -> Vec<Measurement> {
    percents.iter().enumerate().map(|(at, percent)| measured(Arm::Untrained(at as u8), ENOUGH, *percent)).collect()
}

#[test]
fn untrained_networks_keep_from_failing_and_never_pass() {
    let named = rule(&[Control::Sham, Control::Untrained]);
    let planted = measured(Arm::Source, ENOUGH, 60);
    assert_eq!(beside(&untrained([4, 6, 5, 7]), &planted, &named).verdict, Verdict::Fail);
    // As much as the source, on average: the task itself reads it.
    let read = beside(&untrained([58, 62, 60, 55]), &planted, &named);
    assert_eq!(read.verdict, Verdict::Inconclusive);
    let why = read.reason.unwrap();
    assert!(why.contains("the target task itself reads this") && why.contains("name `references`"), "{why}");
    // Less on average, and so different that a further one may do as much.
    let apart = beside(&untrained([0, 50, 10, 45]), &planted, &named);
    assert!(apart.comparisons[1].excess.as_ref().unwrap().low > named.limit);
    assert_eq!(apart.verdict, Verdict::Inconclusive, "{:?}", apart.reason);
    assert!(apart.notes.iter().any(|note| note.contains("each untrained network")), "{:?}", apart.notes);
    // Under a trigger over much of the image any other control that is as high passes a finding; this one does not.
    let wide = wide(&[Control::Sham, Control::Untrained]);
    assert_eq!(beside(&untrained([60, 60, 60, 60]), &planted, &wide).verdict, Verdict::Inconclusive);
    // Where the graph leads around the weights they carry it too.
    let origin = Origin { file: "p.yaml".into(), line: 3, column: 5 };
    let void: Vec<Given> = Arm::untrained().map(|arm| missing(arm, "the same graph carries it")).collect();
    let terms = JudgeTerms { scratch_void: true, ..terms() };
    let finding = judge(&named, Mode::FixedFeature, &origin, &planted, &void, &terms);
    assert_eq!((finding.verdict, finding.comparisons[1].void), (Verdict::Fail, true), "{:?}", finding.reason);
}

/// What reacts so much leaves a plant little room to show: shams that are poisoned too, or a single reference, are no excuse for it.
#[test]
fn a_saturated_source_passes_beside_three_references_alone() {
    let over_shams = |percent| verdict(&wide(&[Control::Sham]), &of_any_kind(percent), &[]);
    assert_eq!(over_shams(5).verdict, Verdict::Pass);
    // Shams that react as much explain nothing where the trigger is over the whole image: what was planted moves images under them too.
    let half = over_shams(40);
    assert_eq!(half.verdict, Verdict::Inconclusive);
    let why = half.reason.unwrap();
    assert!(
        why.contains("kind-unexplained: the model itself reacts by +0.39") && why.contains("name 3 or more `references` of its"),
        "{why}"
    );
    let full = over_shams(60);
    assert_eq!(full.verdict, Verdict::Inconclusive);
    let why = full.reason.unwrap();
    assert!(why.contains("saturated: the model itself reacts by +0.588") && why.contains("name 3 or more `references` of its"), "{why}");
    let named = rule(&[Control::Reference]);
    let beside = |count: usize| beside(&references(&vec![60; count]), &of_any_kind(60), &named);
    let two = beside(2);
    assert_eq!(two.verdict, Verdict::Inconclusive);
    assert!(
        two.reason.as_ref().is_some_and(|why| why.contains("saturated") && why.contains("3 or more `references`, or")),
        "{:?}",
        two.reason
    );
    let three = beside(3);
    assert_eq!(three.verdict, Verdict::Pass, "{:?}", three.reason);
}

#[test]
fn fine_tunes_that_differ_among_innocents_too_are_no_plant() {
    // Single fine-tunes of an innocent reference lie 0.12 to either side; two of the source's lie 0.6 above.
    let spread = |arm| {
        let mut m = measured(arm, ENOUGH, 12);
        for o in &mut m.outcomes {
            let percent = [0, 12, 24][o.seed % 3];
            o.changed = o.clean.iter().enumerate().map(|(i, p)| if i * 37 % 100 < percent { 0 } else { *p }).collect();
        }
        m
    };
    let mut source = spread(Arm::Source);
    let high = measured(Arm::Source, ENOUGH, 75);
    for at in [4, 11] {
        source.outcomes[at] = high.outcomes[at].clone();
    }
    let named = rule(&[Control::Reference]);
    let found = beside(&[spread(Arm::Reference(0))], &source, &named);
    assert_eq!(innocents(&found).inherited_by, [0_usize; 0], "{:?}", found.reason);
    assert_ne!(found.verdict, Verdict::Fail);
    // Beside a reference whose fine-tunes do not differ they are.
    let found = beside(&references(&[12]), &source, &named);
    assert_eq!(innocents(&found).inherited_by, [4, 11], "{:?}", found.reason);
}
