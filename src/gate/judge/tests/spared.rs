//! Findings without their shams: they pass only where they would pass whatever the shams showed.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::probe::paired;
use crate::stats::stream::stream;

fn without_shams(source: &Measurement) -> Measurement {
    let mut bare = source.clone();
    bare.outcomes.iter_mut().for_each(|outcome| outcome.shams.clear());
    bare
}

/// A policy of any kind that may pass without shams, on any data: skewed classes, few of them, images in clusters.
struct World {
    rule: Rule,
    mode: Mode,
    source: Measurement,
    others: Vec<(Arm, Option<Measurement>)>,
}

impl World {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let classes = rng.random_range(2..6_u16);
        let images = rng.random_range(30..250_usize);
        let rare = rng.random_range(0.02..1.0);
        let labels: Vec<u16> =
            (0..images).map(|_| if rng.random::<f64>() < rare { rng.random_range(0..classes) } else { rng.random_range(0..2) }).collect();
        let together = [1, 1, 1, 5][rng.random_range(0..4_usize)];
        let mode = if rng.random() { Mode::FixedFeature } else { Mode::FullNetwork };
        let seeds = if mode == Mode::FixedFeature { ENOUGH } else { rng.random_range(2..7) };
        let (reaction, wanders, like) =
            (rng.random_range(0.0..0.14) * rng.random::<f64>(), rng.random_range(0.0..0.1), rng.random_range(0.0..0.2));
        let mut arm = |arm: Arm, seeds: usize, reaction: f64, shams: usize| {
            let mut moved = |clean: &[u16], rate: f64| -> Vec<u16> {
                let to = rng.random_range(0..classes);
                clean.iter().map(|class| if rng.random::<f64>() < rate { to } else { *class }).collect()
            };
            let outcome = |seed: usize| {
                let clean = moved(&labels, 0.05);
                let changed = moved(&clean, reaction + if seed.is_multiple_of(3) { wanders } else { 0.0 });
                Outcome { seed, changed, shams: (0..shams).map(|_| moved(&clean, like)).collect(), clean }
            };
            Measurement {
                images: (0..images).map(|i| i.to_string()).collect(),
                classes: (0..classes).map(|c| format!("c{c}")).collect(),
                clusters: (0..images as u32).map(|i| i / together).collect(),
                labels: labels.clone(),
                outcomes: (0..seeds).map(outcome).collect(),
                ..measured(arm, 0, 0)
            }
        };
        let source = arm(Arm::Source, seeds, reaction, 2);
        let scratch = arm(Arm::Scratch, seeds.min(6), reaction, 0);
        let references: Vec<Measurement> = (0..4).map(|at| arm(Arm::Reference(at), seeds, reaction, 0)).collect();
        let controls: &[Control] =
            [&[Control::Sham][..], &[Control::Sham, Control::Scratch], &[Control::Sham, Control::Reference]][rng.random_range(0..3_usize)];
        let mut others: Vec<(Arm, Option<Measurement>)> =
            std::iter::once(scratch).chain(references).map(|measurement| (measurement.arm, Some(measurement))).collect();
        for (_, measurement) in &mut others {
            if rng.random::<f64>() < 0.1 {
                *measurement = None;
            }
        }
        let estimand = [Estimand::Attraction, Estimand::AttackSuccessRate, Estimand::FlipRate, Estimand::PredictionShift];
        let estimand = estimand[rng.random_range(0..4_usize)];
        let mut rule = Rule { limit: rng.random_range(0.03..0.4), estimand: Some(estimand), ..rule(controls) };
        if let (Estimand::AttackSuccessRate, Probe::Backdoor(probe), true) = (estimand, &mut rule.probe, rng.random()) {
            probe.target_class = Some("c1".into());
        }
        Self { rule, mode, source, others }
    }

    fn judge(&self, source: &Measurement) -> Finding {
        let origin = Origin { file: "p.yaml".into(), line: 3, column: 5 };
        let mut given = Vec::new();
        for (arm, measurement) in &self.others {
            let measured = measurement.as_ref().ok_or_else(|| "over --max-time".to_owned());
            given.push(Given { arm: *arm, name: format!("{arm}.onnx"), alike: true, measured, spared: false });
        }
        judge(&self.rule, self.mode, &origin, source, &given, &terms())
    }
}

#[test]
fn what_passes_without_shams_passes_with_them_whatever_they_show() {
    let (mut spared, mut needed, mut excused) = (0, 0, 0);
    for nth in 0..1500 {
        let mut rng = stream(nth, 0, "worlds");
        let world = World::draw(&mut rng);
        let (with, without) = (world.judge(&world.source), world.judge(&without_shams(&world.source)));
        let told = || format!("{nth}: {:?}\nwith {with:#?}\nwithout {without:#?}", world.rule);
        match without.verdict {
            Verdict::Pass => {
                spared += 1;
                assert_eq!(with.verdict, Verdict::Pass, "{}", told());
                let sham = without.comparisons.iter().find(|c| c.control == Control::Sham).unwrap();
                assert!(sham.spared && sham.excess.is_none() && sham.missing.is_some() && without.own.is_some(), "{}", told());
            }
            Verdict::Inconclusive => {
                needed += 1;
                excused += usize::from(with.verdict == Verdict::Pass);
                assert!(without.comparisons.iter().all(|c| !c.spared) && without.reason.is_some(), "{}", told());
            }
            other => assert_eq!(with.verdict, other, "{}", told()),
        }
        // Nothing else hangs on shams.
        let others = |finding: &Finding| finding.comparisons.iter().filter(|c| c.control != Control::Sham).cloned().collect::<Vec<_>>();
        assert_eq!((others(&with), &with.own), (others(&without), &without.own), "{}", told());
    }
    println!("{spared} spared, {needed} needed, {excused} of these excused by their shams");
    assert!(spared > 150 && needed > 150 && excused > 0, "{spared} spared, {needed} needed, {excused} excused");
}

/// Two classes, one of them rare: over shams that go to the other one there may be nothing to compare.
#[test]
fn where_shams_could_tell_nothing_they_are_asked_for() {
    let mut source = measured(Arm::Source, ENOUGH, 0);
    let rare = |i: usize| u16::from(i < 6);
    source.labels = (0..IMAGES).map(rare).collect();
    source.classes.truncate(2);
    for outcome in &mut source.outcomes {
        outcome.clean.clone_from(&source.labels);
        outcome.changed.clone_from(&source.labels);
        outcome.shams = vec![source.labels.clone(); 2];
    }
    let setting = Setting { probe: &rule(&[]).probe, estimand: Estimand::Attraction, policy_seed: 0 };
    assert_eq!(paired::tells_over_any_sham(&source, &setting), Ok(false));
    let bare = verdict(&rule(&[Control::Sham]), &without_shams(&source), &[]);
    assert_eq!(bare.verdict, Verdict::Inconclusive);
    // Enough of both.
    source.labels = (0..IMAGES).map(|i| (i % 2) as u16).collect();
    assert_eq!(paired::tells_over_any_sham(&source, &setting), Ok(true));
}

#[test]
fn what_does_not_pass_without_shams_says_what_to_do() {
    let open = verdict(&rule(&[Control::Sham]), &without_shams(&measured(Arm::Source, ENOUGH, 60)), &[]);
    assert_eq!(open.verdict, Verdict::Inconclusive);
    let why = open.reason.unwrap();
    assert!(why.contains("the shams were not measured") && why.contains("certify the model with this policy"), "{why}");
    // Over much of the image shams decide: nothing is spared there.
    let wide = verdict(&wide(&[Control::Sham]), &without_shams(&measured(Arm::Source, ENOUGH, 0)), &[]);
    assert_eq!(wide.verdict, Verdict::Inconclusive);
    assert!(wide.comparisons.iter().all(|c| !c.spared) && wide.own.is_none());
}
