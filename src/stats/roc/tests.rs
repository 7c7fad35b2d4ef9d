use rand::RngExt;

use super::*;
use crate::stats::golden::{close, list, value};
use crate::stats::stream::stream;

fn items(rows: &[Vec<f64>]) -> Vec<Item> {
    rows.iter().map(|r| Item { score: r[0], planted: r[1] > 0.5, cluster: r[2] as u32 }).collect()
}

fn item(score: f64, planted: bool, cluster: u32) -> Item {
    Item { score, planted, cluster }
}

#[test]
fn areas_and_curves_agree_with_scikit_learn_and_the_formulas_in_numpy() {
    for case in value("roc").as_array().expect("a list") {
        let items = items(&list(&case["items"]));
        let plain = auc(&items, 0.025).expect("both kinds");
        let clustered = auc_clustered(&items, 0.025).expect("clusters");
        let want = list(&case["want"]);
        let pairs = [(plain, &want[0]), (clustered, &want[1])];
        for (got, want) in pairs {
            let all = [got.value, got.standard_error, got.interval.low, got.interval.high];
            assert!(all.iter().zip(want).all(|(a, b)| close(*a, *b, 1e-9)), "{all:?} against {want:?}");
        }
        let points = list(&case["curve"]);
        let got = curve(&items).expect("both kinds");
        assert_eq!(got.len(), points.len());
        for (p, want) in got.iter().zip(&points) {
            assert!(close(p.false_positive_rate, want[0], 1e-9) && close(p.true_positive_rate, want[1], 1e-9), "{p:?}: {want:?}");
        }
        for row in list(&case["operating"]) {
            let got = operating(&items, row[0], 0.025).expect("both kinds");
            let all = [got.point.threshold, got.point.false_positive_rate, got.point.true_positive_rate];
            assert!(all.iter().zip(&row[1..]).all(|(a, b)| close(*a, *b, 1e-9)), "{all:?} against {row:?}");
            assert!(close(got.true_positive.low, row[4], 1e-9) && close(got.true_positive.high, row[5], 1e-9), "{got:?} against {row:?}");
        }
    }
}

#[test]
fn a_cluster_repeated_is_worth_one() {
    let mut rng = stream(31, 0, "roc");
    let once: Vec<Item> = (0..20).map(|i| item(rng.random::<f64>() + f64::from(i % 2) * 0.3, i % 2 == 1, i)).collect();
    let repeated: Vec<Item> = once.iter().flat_map(|i| [*i; 5]).collect();
    let (single, many) = (auc_clustered(&once, 0.025).expect("clusters"), auc_clustered(&repeated, 0.025).expect("clusters"));
    assert!(close(single.value, many.value, 1e-12) && close(single.standard_error, many.standard_error, 1e-12), "{single:?} {many:?}");
    assert!(auc(&repeated, 0.025).expect("both kinds").standard_error < 0.6 * many.standard_error);
    let plain = auc(&once, 0.025).expect("both kinds");
    assert!(close(plain.standard_error, single.standard_error, 1e-9), "one item to a cluster is DeLong's: {plain:?} {single:?}");
    let at = operating_clustered(&repeated, 0.1, 0.025).expect("clusters");
    let alone = operating(&repeated, 0.1, 0.025).expect("both kinds");
    assert_eq!(at.point, alone.point);
    assert!(at.true_positive.low < alone.true_positive.low && at.true_positive.high > alone.true_positive.high);
}

#[test]
fn perfect_and_useless_scores_still_have_a_width() {
    let perfect: Vec<Item> = (0..20).map(|i| item(f64::from(i), i >= 10, i)).collect();
    let none: Vec<Item> = (0..20).map(|i| item(0.0, i >= 10, i)).collect();
    for f in [auc, auc_clustered] {
        let best = f(&perfect, 0.025).expect("both kinds");
        assert!(close(best.value, 1.0, 1e-12) && best.interval.low < 0.75 && close(best.interval.high, 1.0, 1e-12), "{best:?}");
        let flat = f(&none, 0.025).expect("both kinds");
        assert!(close(flat.value, 0.5, 1e-12) && flat.interval.low < 0.25 && flat.interval.high > 0.75, "{flat:?}");
    }
    let at = operating(&perfect, 0.05, 0.025).expect("both kinds");
    assert!(close(at.point.threshold, 10.0, 1e-12) && close(at.point.true_positive_rate, 1.0, 1e-12), "{at:?}");
    let at = operating(&none, 0.05, 0.025).expect("both kinds");
    assert!(at.point.threshold.is_infinite() && at.point.true_positive_rate.abs() < 1e-12, "{at:?}");
}

#[test]
fn too_little_or_broken_scores_are_no_curve() {
    let one = [item(1.0, true, 0), item(0.0, false, 1)];
    assert_eq!(auc(&one, 0.025), None);
    assert_eq!(auc_clustered(&one, 0.025), None);
    assert_eq!(operating_clustered(&one, 0.1, 0.025), None);
    assert!(operating(&one, f64::NAN, 0.025).is_some_and(|at| at.point.threshold.is_infinite()));
    for broken in [&[][..], &one[..1], &[item(f64::NAN, true, 0), item(0.0, false, 1)]] {
        assert_eq!(curve(broken), None);
        assert_eq!(auc(broken, 0.025), None);
        assert_eq!(operating(broken, 0.1, 0.025), None);
    }
}
