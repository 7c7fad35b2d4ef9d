//! Values adjusted for many tests at once.

/// Benjamini and Hochberg's adjusted values (1995), in the order given: rejecting those up to `q` keeps the expected share of false
/// ones among the rejected at `q` for independent or positively dependent tests.
///
/// What is not a number counts as 1: a test that could not be made rejects nothing.
pub fn benjamini_hochberg(values: &[f64]) -> Vec<f64> {
    let total = values.len() as f64;
    let order = ascending(values);
    let mut adjusted = vec![1.0; values.len()];
    let mut least: f64 = 1.0;
    for (rank, &at) in order.iter().enumerate().rev() {
        least = least.min(sound(values, at) * total / (rank + 1) as f64);
        put(&mut adjusted, at, least);
    }
    adjusted
}

/// Holm's adjusted values (1979), in the order given: rejecting those up to `alpha` keeps the chance of any false rejection at
/// `alpha` whatever the dependence. What is not a number counts as 1.
pub fn holm(values: &[f64]) -> Vec<f64> {
    let order = ascending(values);
    let mut adjusted = vec![1.0; values.len()];
    let mut most: f64 = 0.0;
    for (rank, &at) in order.iter().enumerate() {
        most = most.max(sound(values, at) * (values.len() - rank) as f64).min(1.0);
        put(&mut adjusted, at, most);
    }
    adjusted
}

/// A probability, whatever was handed in.
fn sound(values: &[f64], at: usize) -> f64 {
    values.get(at).filter(|p| !p.is_nan()).map_or(1.0, |p| p.clamp(0.0, 1.0))
}

fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| sound(values, *a).total_cmp(&sound(values, *b)));
    order
}

fn put(adjusted: &mut [f64], at: usize, value: f64) {
    if let Some(slot) = adjusted.get_mut(at) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::golden::{close, list, value};

    #[test]
    fn adjusted_values_agree_with_statsmodels() {
        let golden = value("multiple");
        let (raw, bh, expected_holm) = (list(&golden["values"]), list(&golden["fdr_bh"]), list(&golden["holm"]));
        for ((raw, bh), expected_holm) in raw.iter().zip(&bh).zip(&expected_holm) {
            for (got, want) in [(benjamini_hochberg(raw), bh), (holm(raw), expected_holm)] {
                assert_eq!(got.len(), want.len());
                assert!(got.iter().zip(want).all(|(a, b)| close(*a, *b, 1e-9)), "{raw:?}: {got:?} against {want:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_rejects_nothing() {
        assert!(benjamini_hochberg(&[]).is_empty() && holm(&[]).is_empty());
        let strange = [0.01, f64::NAN, -3.0, 7.0];
        assert_eq!(benjamini_hochberg(&strange), [0.02, 1.0, 0.0, 1.0]);
        assert_eq!(holm(&strange), [0.03, 1.0, 0.0, 1.0]);
    }
}
