//! How often the images as they are are called right.

use std::collections::BTreeMap;

use super::table::{Layout, kish};
use super::{Measurement, Outcome, ProbeError, Table};
use crate::data::Counted;

/// Whether each clean prediction is right, as a table whose mean is the accuracy.
///
/// A mean over classes is a sum of ratios: the table holds its pseudo-values.
pub(crate) fn clean_accuracy(measurement: &Measurement, counted: Counted) -> Result<Table, ProbeError> {
    let layout = Layout::of(measurement, 0)?;
    let labels = &measurement.labels;
    let right = |o: &Outcome| -> Vec<f64> { o.clean.iter().zip(labels).map(|(p, y)| f64::from(u8::from(p == y))).collect() };
    let table = |rows, effective| Table { rows, images: labels.len(), effective, between_halves: 0.0, between_seeds: 0.0 };
    if counted.is_global() {
        let rows = measurement.outcomes.iter().map(|o| layout.by_cluster(&right(o))).collect();
        return Ok(table(rows, layout.clusters()));
    }
    let of_class = of_class(measurement);
    let classes: Vec<&Vec<usize>> = of_class.iter().filter(|images| !images.is_empty()).collect();
    let (n, k) = (labels.len() as f64, classes.len() as f64);
    let pseudo = |o: &Outcome| -> Vec<f64> {
        let right = right(o);
        let hits = |images: &[usize]| images.iter().filter_map(|&i| right.get(i)).sum::<f64>() / images.len().max(1) as f64;
        let shares: Vec<f64> = of_class.iter().map(|images| hits(images)).collect();
        let mean = shares.iter().sum::<f64>() / k;
        let one = |(hit, label): (&f64, &u16)| {
            let at = usize::from(*label);
            let (size, share) = (of_class.get(at).map_or(1, Vec::len), shares.get(at).copied().unwrap_or_default());
            mean + n / (k * size as f64) * (hit - share)
        };
        right.iter().zip(labels).map(one).collect()
    };
    let rows = measurement.outcomes.iter().map(|o| layout.by_cluster(&pseudo(o))).collect();
    // The variance of a mean of means: every class adds one over what its images are worth.
    let inverse: f64 = classes.iter().map(|images| 1.0 / kish(*images, &measurement.clusters).max(1.0)).sum();
    let worth = (k * k / inverse.max(f64::MIN_POSITIVE)).round() as usize;
    Ok(table(rows, worth.clamp(1, layout.clusters().max(1))))
}

/// The accuracy of one fine-tune, of what it calls the images (`clean`): the mean of [`clean_accuracy`] over this fine-tune alone.
pub(crate) fn of_one_seed(clean: &[u16], labels: &[u16], counted: Counted) -> f64 {
    let mut of_class: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for (predicted, label) in clean.iter().zip(labels) {
        let (right, all) = of_class.entry(*label).or_default();
        *right += usize::from(predicted == label);
        *all += 1;
    }
    let share = |(right, all): (usize, usize)| right as f64 / all.max(1) as f64;
    match counted {
        Counted::Global => share(of_class.values().fold((0, 0), |sum, class| (sum.0 + class.0, sum.1 + class.1))),
        Counted::MeanPerClass => of_class.values().map(|class| share(*class)).sum::<f64>() / of_class.len().max(1) as f64,
    }
}

/// The accuracy of whoever calls all images one class, the best such.
pub(crate) fn of_one_answer(measurement: &Measurement, counted: Counted) -> f64 {
    let of_class = of_class(measurement);
    match counted {
        Counted::Global => of_class.iter().map(Vec::len).max().unwrap_or(0) as f64 / measurement.labels.len().max(1) as f64,
        Counted::MeanPerClass => 1.0 / of_class.iter().filter(|images| !images.is_empty()).count().max(1) as f64,
    }
}

/// The images of each class.
fn of_class(measurement: &Measurement) -> Vec<Vec<usize>> {
    let mut of_class = vec![Vec::new(); measurement.classes.len()];
    for (i, label) in measurement.labels.iter().enumerate() {
        if let Some(images) = of_class.get_mut(usize::from(*label)) {
            images.push(i);
        }
    }
    of_class
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Arm;
    use crate::tune::Mode;

    /// Six images of one class, of which four are called right by the first seed and five by the second; two of another, of which one is, and none.
    fn measured() -> Measurement {
        let seeds = [[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 0, 0]];
        Measurement {
            rule: "r".into(),
            arm: Arm::Source,
            mode: Mode::FixedFeature,
            classes: vec!["cat".into(), "dog".into(), "of no image".into()],
            images: (0..8).map(|i| format!("i{i}")).collect(),
            labels: vec![0, 0, 0, 0, 0, 0, 1, 1],
            clusters: (0..8).collect(),
            attribute: None,
            terms: None,
            basis: None,
            outcomes: seeds
                .into_iter()
                .enumerate()
                .map(|(seed, clean)| Outcome { seed, clean: clean.to_vec(), changed: clean.to_vec(), shams: Vec::new() })
                .collect(),
        }
    }

    #[test]
    fn a_mean_over_classes_counts_small_classes_as_much() {
        let m = measured();
        let seeds = |counted| clean_accuracy(&m, counted).unwrap().of_seeds().collect::<Vec<f64>>();
        let near = |found: Vec<f64>, wanted: [f64; 2]| assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        near(seeds(Counted::Global), [5.0 / 8.0, 5.0 / 8.0]);
        near(seeds(Counted::MeanPerClass), [f64::midpoint(4.0 / 6.0, 1.0 / 2.0), 5.0 / 12.0]);
        for (counted, seed) in [Counted::Global, Counted::MeanPerClass].into_iter().flat_map(|counted| [(counted, 0), (counted, 1)]) {
            assert!((of_one_seed(&m.outcomes[seed].clean, &m.labels, counted) - seeds(counted)[seed]).abs() < 1e-12);
        }
        // Six images and two are worth less than eight: 4 / (1/6 + 1/2).
        assert_eq!(clean_accuracy(&m, Counted::MeanPerClass).unwrap().effective, 6);
        assert_eq!((of_one_answer(&m, Counted::Global), of_one_answer(&m, Counted::MeanPerClass)), (0.75, 0.5));
    }

    /// Images drawn again and again from a class of 60 and one of 12: the spread of the mean over classes is what its table says.
    #[test]
    fn its_interval_is_as_wide_as_it_varies() {
        use rand::RngExt;
        let mut rng = crate::stats::stream::stream(5, 0, "test");
        let (mut means, mut widths) = (Vec::new(), Vec::new());
        for _ in 0..2000 {
            // The same seeds' answers twice: no seed differs from another, so that images alone vary.
            let clean: Vec<u16> = (0..72).map(|i| u16::from(rng.random_bool(if i < 60 { 0.2 } else { 0.6 }))).collect();
            let outcome = |seed| Outcome { seed, clean: clean.clone(), changed: clean.clone(), shams: Vec::new() };
            let m = Measurement {
                images: (0..72).map(|i| i.to_string()).collect(),
                labels: (0..72).map(|i| u16::from(i >= 60)).collect(),
                clusters: (0..72).collect(),
                outcomes: vec![outcome(0), outcome(1)],
                ..measured()
            };
            let table = clean_accuracy(&m, Counted::MeanPerClass).unwrap();
            let mean = table.mean();
            means.push(mean);
            widths.push(table.rows[0].iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (72.0 * 72.0));
        }
        let mean = means.iter().sum::<f64>() / 2000.0;
        let variance = means.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2000.0;
        let told = widths.iter().sum::<f64>() / 2000.0;
        assert!((mean - 0.7).abs() < 0.01, "{mean}");
        assert!((told / variance - 1.0).abs() < 0.12, "{told}, varies by {variance}");
    }
}
