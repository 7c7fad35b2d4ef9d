use std::path::Path;

use super::*;
use crate::policy::{Options, Policy, parse};

fn counts() -> Counts {
    Counts { train: 1000, test: 500, test_clusters: 500, classes: 5, views: vec![1000], worth: BTreeMap::new() }
}

fn profile(memory: Option<u64>) -> MachineProfile {
    let footprint = Footprint { image: 3072, features: 64, largest: 16_384, activations: 500_000, weights: 270_000 };
    MachineProfile { speed: Speed { features: 1000.0, whole: Some(Whole { forward: 1000.0, train: 100.0 }) }, footprint, memory }
}

fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1\nname: p\ntarget: {{ data: {{ embedded: fashion }} }}\ntransfer:\n  fixed_feature: {{ epochs: 10, learning_rate: 0.1 }}\n  \
         full_network: {{ epochs: 10, learning_rate: 0.01, batch_size: 100 }}\nseeds:\n  fixed_feature: {{ first: 8, most: 12 }}\n  \
         full_network: {{ first: 4, most: 6 }}\nrules:\n{rules}"
    );
    parse(&text, "p.yaml", Path::new("."), &Options::default()).unwrap().0
}

fn rule(id: &str, modes: &str, controls: &str) -> String {
    let trigger = "backdoor: { trigger: { patch: { size: 0.25, color: \"#ffff00\" } } }";
    format!("  - {{ id: {id}, probe: {{ {trigger} }}, modes: [{modes}], controls: [{controls}], limit: 0.5 }}\n")
}

#[test]
fn one_network_from_scratch_serves_both_modes_and_is_paid_for() {
    let policy = policy(&(rule("a", "fixed_feature, full_network", "sham, scratch") + &rule("b", "fixed_feature", "scratch")));
    let plan = plan(&resolve(&policy), &counts(), &profile(None)).unwrap();
    let jobs: Vec<_> = plan.jobs.iter().map(|job| (job.tuning.arm, job.tuning.mode, job.seeds.first, job.seeds.most)).collect();
    // The cheapest first; no more seeds from scratch than full-network rules ask for.
    let wanted =
        [(Arm::Source, Mode::FixedFeature, 8, 12), (Arm::Source, Mode::FullNetwork, 4, 6), (Arm::Scratch, Mode::FullNetwork, 4, 6)];
    assert_eq!(jobs, wanted);
    // From scratch: 800 images, 10 epochs at 100 a second; 500 seen as they are and under both rules' triggers at 1000.
    assert!((plan.jobs[2].seconds.each - (80.0 + 1.5)).abs() < 1e-9, "{:?}", plan.jobs[2]);
    // The source, frozen: training images once; test images as they are, under two triggers, and under the shams of one rule.
    assert!((plan.jobs[0].seconds.once - (1.0 + 0.5 * (1.0 + 2.0 + SHAM_DRAWS as f64))).abs() < 1e-9, "{:?}", plan.jobs[0]);
    assert!((plan.seconds[0] - plan.jobs.iter().map(|job| job.seconds(job.seeds.first)).sum::<f64>()).abs() < 1e-9);
}

/// Fewer heads than a pass needs: none is spared its shams.
#[test]
fn shams_are_spared_only_where_a_first_look_can_pass() {
    let policy = policy(&rule("a", "fixed_feature, full_network", "sham"));
    let spared = |policy: &Policy| {
        let resolved = resolve(policy);
        resolved.fine_tunes.iter().map(|of| resolved.sparing(of.tuning).count()).collect::<Vec<_>>()
    };
    assert_eq!(spared(&policy), [0, 1], "8 heads");
    let mut many = policy.clone();
    many.file.seeds.fixed_feature = Some(Looks { first: 17, most: 20 });
    assert_eq!(spared(&many), [1, 1]);
}

/// Least: one look, no shams. Most: two looks, and every sham. Whoever asks for all shams pays for them in both.
#[test]
fn images_are_counted_with_and_without_the_shams_that_may_be_spared() {
    let mut policy = policy(&rule("a", "fixed_feature, full_network", "sham"));
    policy.file.seeds.fixed_feature = Some(Looks { first: 17, most: 24 });
    let frozen = |shams: u64| 1000 + 500 * (2 + shams);
    let whole = |seeds: u64, shams: u64| seeds * (8000 + 500 * (2 + shams));
    let all = SHAM_DRAWS as u64;
    let images = |controls| plan(&Resolved { controls, ..resolve(&policy) }, &counts(), &profile(None)).unwrap().images;
    assert_eq!(images(Controls::WhereNeeded), [frozen(0) + whole(4, 0), frozen(all) + whole(6, all)]);
    assert_eq!(images(Controls::All), [frozen(all) + whole(4, all), frozen(all) + whole(6, all)]);
}

#[test]
fn a_rule_of_fixed_features_alone_needs_no_full_training() {
    let plan = plan(&resolve(&policy(&rule("a", "fixed_feature", "sham"))), &counts(), &profile(None)).unwrap();
    assert_eq!(plan.jobs.len(), 1);
}

#[test]
fn what_the_memory_does_not_hold_is_refused_before_anything_runs() {
    let policy = policy(&rule("a", "full_network", "sham"));
    let least = fixed(&resolve(&policy), &profile(None).footprint) + 1500 * data::RECORD;
    // 100 images of 500,000 values and their gradients, at least.
    assert!(least > 400_000_000, "{least}");
    assert!(plan(&resolve(&policy), &counts(), &profile(Some(least))).is_ok());
    let refused = plan(&resolve(&policy), &counts(), &profile(Some(least - 1))).unwrap_err().to_string();
    assert!(refused.contains("batch_size"), "{refused}");
}

#[test]
fn images_and_features_without_room_go_to_disk() {
    let policy = policy(&rule("a", "fixed_feature", "sham"));
    let counts = Counts { train: 200_000, ..counts() };
    let all = plan(&resolve(&policy), &counts, &profile(None)).unwrap();
    assert_eq!(all.disk, 0);
    let enough = plan(&resolve(&policy), &counts, &profile(Some(all.memory))).unwrap();
    assert_eq!((enough.memory, enough.disk), (all.memory, 0));
    let small = 512 << 20;
    let little = plan(&resolve(&policy), &counts, &profile(Some(small))).unwrap();
    assert!(little.memory <= small && little.memory + little.disk == all.memory, "{little:?}");
    // The images that train; their features and all else still fit.
    assert_eq!(little.disk, 200_000 * 3072);
    // What certify is given is what the plan reckons with.
    let records = (counts.train + counts.test) as u64 * data::RECORD;
    let fixed = all.memory - records - (200_500 * 3072 + (200_000 + 500 * (2 + SHAM_DRAWS as u64)) * 256);
    assert_eq!(budget(&resolve(&policy), &profile(None).footprint, Some(small)), small - fixed);
}

#[test]
fn what_would_do_is_named_and_does() {
    let policy = policy(&rule("a", "fixed_feature", "sham"));
    let refused = plan(&resolve(&policy), &counts(), &profile(Some(1 << 20))).unwrap_err().to_string();
    let named = refused.split("--memory ").nth(1).unwrap().trim_end_matches(')');
    let mib: u64 = named.trim_end_matches("MiB").parse().unwrap();
    assert!(plan(&resolve(&policy), &counts(), &profile(Some(mib << 20))).is_ok(), "{refused}");
}

#[test]
fn limits_that_cannot_be_shown_are_refused() {
    let few = Counts { test: 20, test_clusters: 20, ..counts() };
    let strict = policy(&rule("a", "fixed_feature", "sham").replace("0.5", "0.01"));
    let refused = |counts: &Counts| match plan(&resolve(&strict), counts, &profile(None)) {
        Err(error @ PlanError::Cap { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(&few).starts_with("a@fixed_feature: with 20 test images and these seeds no source can be shown to be below 0.01 ("));
    // Two groups of 5 and 15 images are compared as well as 3.75 images with as many others.
    let groups = Counts { worth: [("a".to_owned(), 4)].into(), ..few };
    assert!(refused(&groups).starts_with("a@fixed_feature: with 20 test images (effective sample size 4) and these seeds"));
}
