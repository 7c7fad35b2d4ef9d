use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;

use super::{Crossed, crossed};
use crate::stats::stream::stream;
use crate::stats::{normal, student_t, student_t_real, wilson};

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/golden/stats/golden.json")).expect("golden values are JSON")
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).expect("golden values are rows of numbers")
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1.0)
}

#[test]
fn quantiles_and_rates_agree_with_scipy_and_statsmodels() {
    let golden = golden();
    for row in rows(&golden["t"]) {
        assert!(close(student_t(row[0], row[1] as usize), row[2]), "{row:?}: {}", student_t(row[0], row[1] as usize));
    }
    for row in rows(&golden["t_real"]) {
        assert!(close(student_t_real(row[0], row[1]), row[2]), "{row:?}: {}", student_t_real(row[0], row[1]));
    }
    for row in rows(&golden["normal"]) {
        assert!(close(normal(row[0]), row[1]), "{row:?}");
    }
    for row in rows(&golden["wilson"]) {
        let interval = wilson(row[0], row[1] as usize, row[2]);
        assert!(close(interval.low, row[3]) && close(interval.high, row[4]), "{row:?}: {interval:?}");
    }
    for case in golden["crossed"].as_array().expect("a list") {
        let got = crossed(&rows(&case["table"])).expect("a full table");
        let ms: Vec<f64> = serde_json::from_value(case["ms"].clone()).expect("three numbers");
        assert!(close(got.ms_seed, ms[0]) && close(got.ms_image, ms[1]) && close(got.ms_rest, ms[2]), "{got:?} against {ms:?}");
    }
}

#[test]
fn strange_errors_and_sizes_do_no_harm() {
    assert!(student_t(0.025, 0).is_infinite());
    for alpha in [f64::NAN, -1.0, 0.0, 2.0, f64::INFINITY] {
        assert!(student_t(alpha, 1).is_finite() && normal(alpha).is_finite(), "{alpha}");
    }
    assert!(close(student_t(0.025, usize::MAX), normal(0.025)));
    assert_eq!(wilson(0.0, 0, 0.025).high.to_bits(), 1.0_f64.to_bits());
    for table in [vec![], vec![vec![]], vec![vec![1.0, 2.0]], vec![vec![1.0], vec![1.0]], vec![vec![1.0, 2.0], vec![1.0]]] {
        assert_eq!(crossed(&table), None, "{table:?}");
    }
    assert_eq!(crossed(&[vec![0.0, f64::NAN], vec![0.0, 0.0]]), None);
}

#[test]
fn no_interval_has_no_width() {
    for (value, least) in [(0.0, 0.03), (0.3, 0.01), (1.0, 0.03)] {
        let flat = crossed(&vec![vec![value; 100]; 3]).expect("a full table");
        assert!(flat.high(0.025) - value > least && value - flat.low(0.025) > least, "{value}: {}", flat.half_width(0.025));
    }
    let nothing = crossed(&vec![vec![0.0; 100]; 3]).expect("a full table");
    assert!(close(nothing.high(0.025), wilson(0.0, 100, 0.025).high), "what Wilson says where nothing was seen");
}

#[test]
fn a_rare_effect_that_seeds_agree_on_has_wilsons_bound_on_its_side() {
    for (hits, sign) in [(3_i32, 1.0), (10, 1.0), (10, -1.0)] {
        let row: Vec<f64> = (0..200).map(|i| if i < hits { sign } else { 0.0 }).collect();
        let fit = crossed(&vec![row; 5]).expect("a full table");
        let (outer, inner) = if sign > 0.0 { (fit.high(0.025), fit.low(0.025)) } else { (-fit.low(0.025), -fit.high(0.025)) };
        let want = wilson(f64::from(hits), 200, 0.025);
        assert!((outer - want.high).abs() < 0.003 && inner < want.low, "{hits}: {outer} against {want:?}, {inner}");
    }
}

/// Two samples of four fifths of the same images have four fifths of them in common: by hand, 10 seeds make 41 of the mean square of one.
#[test]
fn on_another_sample_the_common_part_of_the_training_images_counts() {
    let table: Vec<Vec<f64>> =
        (0..10).map(|seed| (0..50).map(|image| f64::from(seed) / 100.0 + f64::from(image % 7) / 20.0).collect()).collect();
    let fit = crossed(&table).expect("a full table");
    let wider = fit.on_another_sample(0.8);
    assert!(close(wider.ms_seed, 41.0 * fit.ms_seed) && close(wider.mean, fit.mean) && close(wider.ms_image, fit.ms_image));
    assert!(close(fit.on_another_sample(0.0).high(0.025), fit.high(0.025)), "samples that share nothing");
    let runs = 2000;
    let (mut held, mut judged) = (0, 0);
    let mut rng = stream(19, 2, "another sample");
    for _ in 0..runs {
        let brought: Vec<f64> = (0..100).map(|_| draw(&mut rng)).collect();
        let of_images: Vec<f64> = (0..60).map(|_| draw(&mut rng) / 8.0).collect();
        let row = |_| -> Vec<f64> {
            let part = rand::seq::index::sample(&mut rng, 100, 80);
            let mean = part.iter().map(|at| brought[at]).sum::<f64>() / 80.0;
            of_images.iter().map(|of_image| mean + of_image).collect()
        };
        let fit = crossed(&(0..17).map(row).collect::<Vec<_>>()).expect("a full table");
        let holds = |fit: &Crossed| i32::from(fit.low(0.025) <= 0.0 && fit.high(0.025) >= 0.0);
        held += holds(&fit.on_another_sample(0.8));
        judged += holds(&fit);
    }
    let share = |count| f64::from(count) / f64::from(runs);
    assert!((0.935..0.98).contains(&share(held)), "{}", share(held));
    assert!(share(judged) < 0.7, "what the seeds show says nothing of other samples: {}", share(judged));
}

fn draw(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// An experiment with true mean 0.05 and effects in -1, 0, 1.
///
/// Image i is flipped by chance `rate_i + seed_s`: most never, some nearly always, and a few the other way.
fn experiment(seeds: usize, images: usize, seed_sd: f64, rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    let rates: Vec<f64> = (0..images).map(|_| if rng.random::<f64>() < 0.2 { 0.35 } else { 0.0 }).collect();
    let shifts: Vec<f64> = (0..seeds).map(|_| seed_sd * draw(rng)).collect();
    let cell = |rate: f64, shift: f64, u: f64, v: f64| f64::from(u < 0.1 + rate + shift) - f64::from(v < 0.12);
    shifts.iter().map(|s| rates.iter().map(|r| cell(*r, *s, rng.random(), rng.random())).collect()).collect()
}

const TRUTH: f64 = 0.1 + 0.2 * 0.35 - 0.12;

#[test]
fn intervals_cover_the_truth_as_often_as_they_say() {
    for seeds in [3, 5, 10] {
        for images in [100, 300] {
            let mut rng = stream(11, (seeds * images) as u64, "coverage");
            let runs = 400;
            let hits = (0..runs).filter(|_| {
                let fit = crossed(&experiment(seeds, images, 0.02, &mut rng)).expect("a full table");
                (fit.mean - TRUTH).abs() <= fit.half_width(0.025)
            });
            let coverage = hits.count() as f64 / f64::from(runs);
            println!("S = {seeds}, N = {images}: {coverage:.3}");
            assert!((0.925..=0.985).contains(&coverage), "S = {seeds}, N = {images}: {coverage}");
        }
    }
}

#[test]
fn two_looks_do_not_raise_the_error() {
    // True excess exactly at the limit: every fail is an error, and so is every pass.
    let mut rng = stream(12, 0, "looks");
    let runs = 600;
    let (mut fails, mut passes) = (0, 0);
    for _ in 0..runs {
        let table = experiment(6, 200, 0.03, &mut rng);
        let looks = [(&table[..3], 0.025 * 0.2), (&table[..], 0.025 * 0.8)];
        let verdict = looks.iter().find_map(|(rows, alpha)| {
            let fit = crossed(rows).expect("a full table");
            let half = fit.half_width(*alpha);
            if fit.mean - half > TRUTH {
                Some(true)
            } else if fit.mean + half < TRUTH {
                Some(false)
            } else {
                None
            }
        });
        fails += i32::from(verdict == Some(true));
        passes += i32::from(verdict == Some(false));
    }
    println!("of {runs}: {fails} false fails, {passes} false passes");
    // 2.5% of 600 is 15; 26 is three standard errors above.
    assert!(fails <= 26 && passes <= 26, "{fails} fails, {passes} passes of {runs}");
}

#[test]
fn a_crossed_bootstrap_agrees() {
    let mut rng = stream(13, 0, "bootstrap");
    for (seeds, images) in [(10, 100), (10, 300)] {
        let table = experiment(seeds, images, 0.04, &mut rng);
        let fit: Crossed = crossed(&table).expect("a full table");
        let mut means: Vec<f64> = (0..2000)
            .map(|_| {
                let columns: Vec<usize> = (0..images).map(|_| rng.random_range(0..images)).collect();
                let mean = |row: &Vec<f64>| columns.iter().map(|&c| row[c]).sum::<f64>() / images as f64;
                (0..seeds).map(|_| mean(&table[rng.random_range(0..seeds)])).sum::<f64>() / seeds as f64
            })
            .collect();
        means.sort_by(f64::total_cmp);
        let half = (means[1949] - means[49]) / 2.0;
        let ratio = fit.half_width(0.025) / half;
        println!("S = {seeds}, N = {images}: two-way {:.4}, bootstrap {half:.4}", fit.half_width(0.025));
        // The bootstrap counts the residual in both directions and lacks t's tails.
        assert!((0.75..1.35).contains(&ratio), "S = {seeds}, N = {images}: {ratio}");
    }
}
