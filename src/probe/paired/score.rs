//! What a pair of predictions scores.

use crate::probe::ProbeError;

/// What one prediction pair scores, after everything learnt is fixed.
#[derive(Clone)]
pub(super) enum Score {
    /// Gain of a class among images of other classes.
    Gain(u16),
    /// Share of a class under the trigger, among images of other classes.
    Share(u16),
    /// Any change.
    Flip,
    /// Gain of a class among images of one label.
    Flow([u16; 2]),
    /// Gain of a set of classes among all images.
    Set(Vec<bool>),
}

impl Score {
    pub(super) fn eligible(&self, label: u16) -> bool {
        match self {
            Score::Gain(k) | Score::Share(k) => label != *k,
            Score::Flow([from, _]) => label == *from,
            Score::Flip | Score::Set(_) => true,
        }
    }

    pub(super) fn value(&self, clean: u16, changed: u16) -> f64 {
        let one = |yes: bool| f64::from(u8::from(yes));
        match self {
            Score::Gain(k) | Score::Flow([_, k]) => one(changed == *k) - one(clean == *k),
            Score::Share(k) => one(changed == *k),
            Score::Flip => one(changed != clean),
            Score::Set(set) => {
                let has = |class: u16| one(set.get(usize::from(class)).copied().unwrap_or(false));
                has(changed) - has(clean)
            }
        }
    }
}

/// Adds a seed's pseudo-values of a ratio: `theta + N_h / n_sh * eligible_i (d_i - theta)` for every image of the half.
pub(super) fn add_pseudo_values(
    row: &mut [f64],
    (clean, changed): (&[u16], &[u16]),
    score: &Score,
    half: &[usize],
    images: &[usize],
    weight: f64,
) -> Result<(), ProbeError> {
    if images.is_empty() {
        return Err(ProbeError::OneClass);
    }
    let d: Vec<f64> = images
        .iter()
        .map(|&i| match (clean.get(i), changed.get(i)) {
            (Some(&a), Some(&b)) => score.value(a, b),
            _ => 0.0,
        })
        .collect();
    let theta = d.iter().sum::<f64>() / d.len() as f64;
    let mut put = |i: usize, by: f64| {
        if let Some(slot) = row.get_mut(i) {
            *slot += weight * by;
        }
    };
    for &i in half {
        put(i, theta);
    }
    let scale = half.len() as f64 / images.len() as f64;
    for (&i, d) in images.iter().zip(&d) {
        put(i, scale * (d - theta));
    }
    Ok(())
}
