use super::*;
use crate::probe::{Arm, Backdoor, Outcome};
use crate::transform::{Pattern, Trigger};
use crate::tune::Mode;

/// `classes` classes in turn, every prediction right, shams and trigger without effect.
fn still(seeds: usize, images: usize, classes: usize) -> Measurement {
    let labels: Vec<u16> = (0..images).map(|i| (i % classes) as u16).collect();
    let outcome = |seed| Outcome { seed, clean: labels.clone(), changed: labels.clone(), shams: vec![labels.clone(); 8] };
    Measurement {
        rule: "r".into(),
        arm: Arm::Source,
        mode: Mode::FixedFeature,
        classes: (0..classes).map(|c| format!("c{c}")).collect(),
        images: (0..images).map(|i| i.to_string()).collect(),
        clusters: (0..images as u32).collect(),
        attribute: None,
        terms: None,
        basis: None,
        outcomes: (0..seeds).map(outcome).collect(),
        labels,
    }
}

fn drag(m: &mut Measurement, to: u16) {
    m.outcomes.iter_mut().for_each(|o| o.changed.iter_mut().for_each(|p| *p = to));
}

fn probe(target_class: Option<&str>) -> &'static Probe {
    let trigger = Trigger::Pattern(Pattern { seed: Some(1), file: None, amplitude: 0.1 });
    // Leaked, so that settings of a test need not carry it along.
    Box::leak(Box::new(Probe::Backdoor(Backdoor { trigger, target_class: target_class.map(str::to_owned), sweep: None })))
}

fn setting(estimand: Estimand) -> Setting<'static> {
    Setting { estimand, probe: probe(None), policy_seed: 3 }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn a_trigger_that_drags_everything_scores_one_and_none_scores_nothing() {
    for classes in [2, 3, 10] {
        let mut m = still(3, 120, classes);
        let shift = 1.0 - 1.0 / classes as f64;
        assert!(near(excess_over_shams(&m, &setting(Estimand::FlipRate)).unwrap().mean(), 0.0));
        drag(&mut m, 1);
        let other = still(3, 120, classes);
        for (estimand, want) in [(Estimand::Attraction, 1.0), (Estimand::AttackSuccessRate, 1.0), (Estimand::FlipRate, shift)] {
            let sham = excess_over_shams(&m, &setting(estimand)).unwrap();
            let arm = excess_over_arm(&m, &other, &setting(estimand)).unwrap();
            assert!(near(sham.mean(), want), "{estimand:?} of {classes}: {}", sham.mean());
            assert!(near(arm.mean(), want), "{estimand:?} of {classes}: {}", arm.mean());
            assert_eq!((sham.rows.len(), sham.rows[0].len()), (3, 120));
        }
        assert_eq!(drawn_to(&m).unwrap(), [(1, 3)]);
        // Halves need not hold equally many images of each class.
        let total = excess_over_shams(&m, &setting(Estimand::PredictionShift)).unwrap().mean();
        assert!(near(total, shift), "{total}");
    }
    assert_eq!(drawn_to(&still(2, 10, 3)).unwrap(), []);
}

#[test]
fn a_learnt_class_is_not_biased_where_there_is_no_effect() {
    use crate::stats::stream::stream;
    use rand::RngExt;
    // Predictions wander at random: the largest gain in the same images is far from 0, the cross-fitted one is not.
    let mut rng = stream(5, 0, "null");
    let (runs, classes) = (200, 10);
    let (mut fitted, mut naive) = (0.0, 0.0);
    for _ in 0..runs {
        let mut m = still(3, 60, classes);
        for o in &mut m.outcomes {
            for p in o.clean.iter_mut().chain(&mut o.changed) {
                *p = rng.random_range(0..classes as u16);
            }
        }
        fitted += effect(&m, Under::Trigger, &setting(Estimand::Attraction)).unwrap().mean();
        naive += gains(&m).unwrap().into_iter().fold(0.0, f64::max);
    }
    let (fitted, naive) = (fitted / f64::from(runs), naive / f64::from(runs));
    println!("attraction with no effect: cross-fitted {fitted:.4}, same images {naive:.4}");
    assert!(fitted.abs() < 0.01 && naive > 0.03, "{fitted} {naive}");
}

#[test]
fn the_learnt_class_can_be_asked_for() {
    let mut m = still(2, 101, 5);
    drag(&mut m, 3);
    m.outcomes[1].changed.iter_mut().for_each(|p| *p = 4);
    let learnt = learnt_classes(&m, &[Under::Trigger, Under::Sham(0)], 3).unwrap();
    assert_eq!(learnt, [[(51, vec![3, 4]), (50, vec![3, 4])], [(51, vec![0, 0]), (50, vec![0, 0])]]);
    assert_eq!(learnt_classes(&m, &[Under::Sham(9)], 3), Err(ProbeError::NoShams));
}

#[test]
fn every_draw_learns_its_own_class_and_the_draws_are_averaged() {
    let mut m = still(2, 100, 5);
    drag(&mut m, 1);
    // Half of the draws drag everything elsewhere.
    m.outcomes.iter_mut().for_each(|o| o.shams.iter_mut().step_by(2).for_each(|s| s.iter_mut().for_each(|p| *p = 3)));
    assert!(near(excess_over_shams(&m, &setting(Estimand::Attraction)).unwrap().mean(), 0.5));
    assert!(near(effect(&m, Under::Sham(0), &setting(Estimand::Attraction)).unwrap().mean(), 1.0));
    assert!(near(effect(&m, Under::Sham(1), &setting(Estimand::Attraction)).unwrap().mean(), 0.0));
}

#[test]
fn every_fine_tune_has_a_class_of_its_own() {
    // All images, in each of six fine-tunes to another class: one class for all would find a fifth of it.
    let mut m = still(6, 100, 5);
    for (seed, outcome) in m.outcomes.iter_mut().enumerate() {
        outcome.changed.iter_mut().for_each(|p| *p = (seed % 5) as u16);
    }
    for estimand in [Estimand::Attraction, Estimand::AttackSuccessRate] {
        let table = excess_over_shams(&m, &setting(estimand)).unwrap();
        assert!(near(table.mean(), 1.0), "{estimand:?}: {}", table.mean());
        assert!(near(excess_over_arm(&m, &still(6, 100, 5), &setting(estimand)).unwrap().mean(), 1.0), "{estimand:?}");
    }
    assert_eq!(drawn_to(&m).unwrap(), [(0, 2), (1, 1), (2, 1), (3, 1), (4, 1)]);
}

#[test]
fn a_named_class_is_used_for_every_arm() {
    let mut m = still(2, 100, 5);
    drag(&mut m, 1);
    let named = |class| Setting { probe: probe(Some(class)), ..setting(Estimand::AttackSuccessRate) };
    assert!(near(excess_over_shams(&m, &named("c1")).unwrap().mean(), 1.0));
    assert!(near(excess_over_shams(&m, &named("c2")).unwrap().mean(), 0.0));
    let error = excess_over_shams(&m, &named("cat")).unwrap_err().to_string();
    assert!(error.contains("\"cat\"") && error.contains("c0, c1"), "{error}");
}

#[test]
fn clusters_stay_in_one_half_and_sum_up() {
    let mut m = still(3, 120, 3);
    m.clusters = (0..120).map(|i| i / 2).collect();
    drag(&mut m, 0);
    let table = excess_over_shams(&m, &setting(Estimand::Attraction)).unwrap();
    assert_eq!(table.rows[0].len(), 60);
    assert!(near(table.mean(), 1.0));
    let layout = Layout::of(&m, 9).unwrap();
    assert!(layout.halves[0].iter().all(|i| layout.halves[0].contains(&(i ^ 1))));
    assert_eq!(layout.halves[0].len(), 60);
}

#[test]
fn arms_are_paired_by_seed_index() {
    let mut m = still(3, 60, 3);
    drag(&mut m, 0);
    let mut other = still(2, 60, 3);
    other.outcomes.reverse();
    assert_eq!(excess_over_arm(&m, &other, &setting(Estimand::Attraction)).unwrap().rows.len(), 2);
    other.outcomes.iter_mut().for_each(|o| o.seed += 10);
    assert_eq!(excess_over_arm(&m, &other, &setting(Estimand::Attraction)), Err(ProbeError::NoSharedSeeds));
    let fewer = still(3, 59, 3);
    assert_eq!(excess_over_arm(&m, &fewer, &setting(Estimand::Attraction)), Err(ProbeError::Unpaired));
}

#[test]
fn damaged_measurements_are_refused_by_name() {
    let s = setting(Estimand::Attraction);
    let refused = |change: &dyn Fn(&mut Measurement)| {
        let mut m = still(2, 20, 3);
        change(&mut m);
        excess_over_shams(&m, &s).unwrap_err()
    };
    assert_eq!(refused(&|m| m.outcomes.clear()), ProbeError::Empty);
    assert_eq!(refused(&|m| m.labels.clear()), ProbeError::Empty);
    assert_eq!(refused(&|m| m.clusters.truncate(3)), ProbeError::Columns { images: 20 });
    assert_eq!(refused(&|m| m.outcomes[1].shams[4].truncate(3)), ProbeError::Columns { images: 20 });
    assert_eq!(refused(&|m| m.outcomes[0].clean[3] = 7), ProbeError::Class { class: 7, classes: 3 });
    assert_eq!(refused(&|m| m.outcomes[0].shams.clear()), ProbeError::NoShams);
    assert_eq!(refused(&|m| m.clusters.fill(4)), ProbeError::TooFewClusters);
    let mut m = still(2, 20, 3);
    m.labels.fill(1);
    let named = Setting { estimand: Estimand::AttackSuccessRate, probe: probe(Some("c1")), policy_seed: 3 };
    assert_eq!(excess_over_shams(&m, &named), Err(ProbeError::OneClass));
    // Three images of another class: one half at least has fewer than it takes.
    m.labels[..3].fill(0);
    assert!(matches!(excess_over_shams(&m, &named), Err(ProbeError::OneClass | ProbeError::FewImages { clusters: 1..=3 })));
}

#[test]
fn an_excess_is_worth_no_more_than_the_side_of_fewer_images() {
    // Of two classes one is rare. The source is drawn to the rare one, and shows it on many images; the control to the other, on few.
    let mut source = still(3, 400, 2);
    source.labels.iter_mut().enumerate().for_each(|(i, y)| *y = u16::from(i % 20 == 0));
    let labels = source.labels.clone();
    source.outcomes.iter_mut().for_each(|o| o.clean.clone_from(&labels));
    let mut control = source.clone();
    drag(&mut source, 1);
    drag(&mut control, 0);
    let both = excess_over_arm(&source, &control, &setting(Estimand::Attraction)).unwrap();
    assert!(both.effective <= 20, "{}", both.effective);
    let alone = effect(&source, Under::Trigger, &setting(Estimand::Attraction)).unwrap();
    assert!(alone.effective >= 370, "{}", alone.effective);
}

#[test]
fn a_feature_on_the_images_of_one_class_has_a_number() {
    use crate::probe::Spurious;
    let Probe::Backdoor(trigger) = probe(None) else { panic!("a backdoor") };
    for classes in [2, 3, 10] {
        for on in ["c0", "c1"] {
            let mut m = still(3, 120, classes);
            let (labels, k) = (m.labels.clone(), u16::from(on == "c1"));
            // Every other image of the class is called another; the shams move nothing.
            let moved = |i: usize| labels[i] == k && (i / classes).is_multiple_of(2);
            m.outcomes.iter_mut().for_each(|o| o.changed.iter_mut().enumerate().for_each(|(i, p)| *p = if moved(i) { 1 - k } else { *p }));
            let probe = Probe::Spurious(Spurious { feature: trigger.trigger.clone(), on: vec![on.into()], target_class: None });
            let setting = Setting { estimand: Estimand::Attraction, probe: &probe, policy_seed: 3 };
            let excess = excess_over_shams(&m, &setting).unwrap();
            // Halves need not hold equally many of either kind.
            assert!((excess.mean() - 0.5).abs() < 0.05, "{classes} {on}: {}", excess.mean());
            assert_eq!(excess.effective, 120 / classes, "{classes} {on}");
        }
    }
}

/// How often 95% intervals of the excess over shams miss the truth below and above, where the trigger drags to the named class.
fn misses(runs: u64, truth: f64, class: Option<usize>, draw: impl Fn(&mut rand_chacha::ChaCha8Rng) -> Measurement) -> (f64, f64) {
    let (mut below, mut above, mut all) = (0.0, 0.0, 0.0);
    for run in 0..runs {
        let m = draw(&mut crate::stats::stream::stream(17, run, "coverage"));
        let learnt = learnt_classes(&m, &[Under::Trigger], 3).unwrap();
        if class.is_some_and(|k| learnt[0].iter().any(|(_, classes)| classes.iter().any(|other| *other != k))) {
            continue;
        }
        let fit = excess_over_shams(&m, &setting(Estimand::Attraction)).unwrap().crossed().unwrap();
        all += 1.0;
        below += f64::from(u8::from(fit.low(0.025) > truth + 1e-9));
        above += f64::from(u8::from(fit.high(0.025) < truth - 1e-9));
    }
    (below / all, above / all)
}

#[test]
fn intervals_hold_the_truth_where_predictions_wander_and_no_class_stands_out() {
    use rand::RngExt;
    for classes in [2, 3, 10] {
        let (below, above) = misses(800, 0.0, None, |rng| {
            let mut m = still(3, 200, classes);
            // A fifth of the images wander, all seeds with them, under trigger and shams each for itself.
            for column in 0..=8 {
                let to: Vec<Option<u16>> =
                    (0..200).map(|_| (rng.random_range(0..5) == 0).then(|| rng.random_range(0..classes as u16))).collect();
                for o in &mut m.outcomes {
                    let predictions = if column == 0 { &mut o.changed } else { &mut o.shams[column - 1] };
                    predictions.iter_mut().zip(&to).for_each(|(p, to)| *p = to.unwrap_or(*p));
                }
            }
            m
        });
        println!("{classes} classes: the truth is below {below:.3}, above {above:.3}");
        assert!(below < 0.042 && above < 0.042, "{classes} classes: {below} {above}");
    }
}

#[test]
fn a_rare_effect_is_not_overlooked_where_only_half_the_images_can_show_it() {
    use rand::RngExt;
    for images in [100, 300] {
        let rate = 4.5 / images as f64;
        let (_, above) = misses(800, rate, Some(1), |rng| {
            let mut m = still(3, images, 2);
            let moved: Vec<bool> = (0..images).map(|_| rng.random::<f64>() < rate).collect();
            m.outcomes.iter_mut().for_each(|o| o.changed.iter_mut().zip(&moved).filter(|(_, moved)| **moved).for_each(|(p, _)| *p = 1));
            m
        });
        // A floor for all images instead of those that count missed it in one of nine.
        assert!(above < 0.04, "{images}: {above}");
    }
}

#[test]
fn a_flow_between_two_classes_is_found_and_measured() {
    let mut m = still(3, 240, 6);
    // Three quarters of class 2 are called class 4: of all images of other classes that is 0.15.
    for o in &mut m.outcomes {
        for (i, p) in o.changed.iter_mut().enumerate() {
            if i % 6 == 2 && i / 6 % 4 != 0 {
                *p = 4;
            }
        }
    }
    let flow = effect(&m, Under::Trigger, &setting(Estimand::ClassFlow)).unwrap();
    assert!((flow.mean() - 0.75).abs() < 0.1, "{}", flow.mean());
    assert_eq!((flow.images, flow.effective), (40, 40));
    assert!((effect(&m, Under::Trigger, &setting(Estimand::Attraction)).unwrap().mean() - 0.15).abs() < 0.03);
    assert_eq!(flows_between(&m, &setting(Estimand::ClassFlow)).unwrap(), Some(([2, 4], 3)));
    // Its shams move nothing, and another arm moves other classes.
    assert!(near(excess_over_shams(&m, &setting(Estimand::ClassFlow)).unwrap().mean(), flow.mean()));
    let mut other = still(3, 240, 6);
    other.outcomes.iter_mut().for_each(|o| o.changed.iter_mut().enumerate().filter(|(i, _)| i % 12 == 5).for_each(|(_, p)| *p = 0));
    let against = effect(&other, Under::Trigger, &setting(Estimand::ClassFlow)).unwrap().mean();
    let excess = excess_over_arm(&m, &other, &setting(Estimand::ClassFlow)).unwrap();
    assert!(against > 0.3 && (excess.mean() - (flow.mean() - against)).abs() < 1e-9, "{} of {against}", excess.mean());
    assert_eq!(flows_between(&still(3, 240, 6), &setting(Estimand::ClassFlow)).unwrap(), None);
    let few = effect(&still(3, 36, 6), Under::Trigger, &setting(Estimand::ClassFlow));
    assert_eq!(few, Err(ProbeError::SmallClasses));
}

#[test]
fn a_flow_that_is_learnt_is_not_biased_where_there_is_none() {
    use crate::stats::stream::stream;
    use rand::RngExt;
    let mut rng = stream(7, 0, "flow");
    let (runs, classes) = (200, 5);
    let (mut mean, mut held) = (0.0, 0);
    for _ in 0..runs {
        let mut m = still(3, 200, classes);
        for o in &mut m.outcomes {
            for p in o.clean.iter_mut().chain(&mut o.changed) {
                if rng.random::<f64>() < 0.2 {
                    *p = rng.random_range(0..classes as u16);
                }
            }
        }
        let flow = effect(&m, Under::Trigger, &setting(Estimand::ClassFlow)).unwrap();
        let fit = flow.crossed().unwrap();
        mean += flow.mean() / f64::from(runs);
        held += i32::from(fit.low(0.025) <= 0.0 && fit.high(0.025) >= 0.0);
    }
    println!("mean {mean:.4}, held {held} of {runs}");
    assert!(mean.abs() < 0.01, "{mean}");
    assert!(held >= 184, "95% of 200 is 190, two standard errors less 184: {held}");
}
