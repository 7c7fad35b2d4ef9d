use super::*;
use crate::calibrate::record::Truth;
use crate::calibrate::samples;

#[test]
fn items_are_planted_pairs_and_all_findings_of_clean_sources() {
    let calibration = samples::calibration();
    let picks = picks(&calibration, Mode::FixedFeature);
    let count = |kind| picks.iter().filter(|p| p.kind == kind).count();
    // Two planted sources carry one of two rules each, of which one has no score; two clean sources.
    assert_eq!((count(Kind::Planted), count(Kind::Other), count(Kind::Clean)), (2, 2, 4));
    let items = items(picks.iter());
    assert_eq!((items.iter().filter(|i| i.planted).count(), items.len()), (1, 5));
}

#[test]
fn a_slice_counts_what_it_is_of() {
    let results = results(&samples::calibration());
    let of = |over: &Over| results.slices.iter().find(|s| &s.over == over).unwrap();
    let all = of(&Over::All);
    assert_eq!((all.planted.findings, all.planted.unscored, all.clean.findings, all.clean.sources), (2, 1, 4, 2));
    assert_eq!((all.planted.fail, all.planted.inconclusive, all.clean.pass, all.clean.fail), (1, 1, 3, 1));
    assert_eq!((all.limit_none, all.smallest_planted), (Some(0.2), Some(0.6)));
    assert_eq!(of(&Over::Family("blend".into())).planted.unscored, 1);
    assert_eq!(of(&Over::Rule("square".into())).planted.findings, 1);
    assert!(!results.slices.iter().any(|s| matches!(s.over, Over::Architecture(_))), "there is one only");
    let alarms = &results.alarms[0];
    assert!((alarms.stated_finding - 0.0125).abs() < 1e-12 && (alarms.stated_source - 0.025).abs() < 1e-12, "{alarms:?}");
    assert_eq!((alarms.sources.value, alarms.failed.len()), (0.5, 1));
    assert_eq!((results.others[0].side.findings, results.others[0].failed.len()), (2, 0));
}

#[test]
fn near_misses_stand_apart_too() {
    let mut calibration = samples::calibration();
    calibration.sources[0].near = vec!["square".into()];
    let results = results(&calibration);
    let of = |over: &Over| results.slices.iter().find(|s| &s.over == over).unwrap();
    assert_eq!((of(&Over::All).planted.findings, of(&Over::Exact).planted.findings, of(&Over::Near).planted.findings), (2, 1, 1));
    assert!([Over::Exact, Over::Near].iter().all(|over| of(over).clean.findings == 4));
    assert_eq!((of(&Over::Near).smallest_planted, of(&Over::Near).planted.fail), (Some(0.6), 1));
}

#[test]
fn a_trigger_that_is_not_handed_down_is_no_planted_item() {
    let mut calibration = samples::calibration();
    let truth = |transferred| Some(Truth { transferred, excess: None, seeds: 20, apart: true });
    calibration.sources[0].findings[0].truth = truth(Transferred::Yes);
    calibration.sources[1].findings[1].truth = truth(Transferred::No);
    let results = results(&calibration);
    let all = &results.slices[0];
    assert_eq!((all.planted.findings, all.planted.fail, all.passed.len()), (1, 1, 0));
    let faint = &results.faint[0];
    assert_eq!((faint.compared, faint.below.inconclusive, faint.open.findings, faint.all.len()), (2, 1, 0, 1));
    calibration.sources[1].findings[1].truth = truth(Transferred::Open);
    // What is not settled counts against the rules, and stands apart too.
    let open = super::results(&calibration);
    assert_eq!((open.faint[0].open.findings, open.slices[0].planted.findings, open.slices[0].planted.inconclusive), (1, 2, 1));
    calibration.sources[1].findings[1].score = Some(0.0);
    let with = super::results(&calibration).slices[0].auc.unwrap();
    calibration.sources[1].findings[1].truth = truth(Transferred::No);
    let without = super::results(&calibration).slices[0].auc;
    assert!(without.is_none() && with.value < 0.7, "one source is left, and with both: {with:?}");
    // Of a model from a folder it is believed that it transfers what it carries.
    calibration.sources[1].findings[1].truth = None;
    assert_eq!(super::results(&calibration).slices[0].planted.findings, 2);
}

#[test]
fn verdicts_are_held_against_more_seeds() {
    let mut calibration = samples::calibration();
    // A failure that more seeds take back, and a pass that they do not.
    calibration.sources[0].findings[0].again.as_mut().unwrap().score = Some(0.05);
    let all = &results(&calibration).agreement[0];
    // Eight findings, of which one is inconclusive and was not measured again.
    assert_eq!((all.seeds, all.settled, all.open, all.disagree.len()), (20, 7, 0, 1));
    assert_eq!((all.disagree[0].source.as_str(), all.disagree[0].score), ("a", Some(0.05)));
    let agree = all.agree.unwrap();
    assert!((agree.value - 6.0 / 7.0).abs() < 1e-12 && agree.low < 0.5 && agree.high > 0.99, "{agree:?}");
    for finding in calibration.sources.iter_mut().flat_map(|s| &mut s.findings) {
        finding.again = None;
    }
    assert_eq!(results(&calibration).agreement, []);
}

#[test]
fn limits_leave_a_share_above() {
    let scores: Vec<f64> = (0..40).map(f64::from).collect();
    assert_eq!((limit(&scores, 0.05), limit(&scores, 0.0)), (Some(37.0), Some(39.0)));
    assert_eq!((limit(&scores[..3], 0.05), limit(&[], 0.05)), (Some(2.0), None));
}

#[test]
fn without_items_there_are_no_numbers_and_no_panic() {
    let mut calibration = samples::calibration();
    calibration.sources.retain(|s| !s.planted);
    let results = results(&calibration);
    assert!(results.slices.iter().all(|s| s.auc.is_none() && s.operating.is_empty()));
    calibration.sources.clear();
    assert!(super::results(&calibration).slices.is_empty());
}
