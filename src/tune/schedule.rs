//! The learning rate over time.

use super::Schedule;
use super::recipe::{Peak, Triangle};

/// The share of the epochs after which the cyclic schedule is at its peak.
const PEAK: f64 = 1.0 / 3.0;

/// The factor on the peak rate of a step: which of `steps` (from 0) in which of `epochs` (from 0).
pub(super) fn factor(schedule: &Schedule, (step, steps): (usize, usize), (epoch, epochs): (usize, usize)) -> f64 {
    let after = |steps_done: usize| epoch as f64 + steps_done as f64 / steps.max(1) as f64;
    let done = (after(step + 1) / epochs as f64).clamp(0.0, 1.0);
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cyclic if done < PEAK => done / PEAK,
        Schedule::Cyclic => (1.0 - done) / (1.0 - PEAK),
        // As `LambdaLR` does it: the first step has the rate of the start.
        Schedule::Triangle(Triangle { cyclic: Peak { peak } }) => {
            let (at, peak, end) = (after(step), *peak as f64, epochs as f64);
            if at <= peak { at / peak } else { ((end - at) / (end - peak)).max(0.0) }
        }
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        Schedule::Step { every, gamma } => gamma.powi((epoch / (*every).max(1)) as i32),
        Schedule::MultiStep { at, gamma } => gamma.powi(at.iter().filter(|&&e| e <= epoch).count() as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_follow_their_definition() {
        // The last of two steps of an epoch.
        let at = |schedule: &Schedule, progress: f64| {
            let steps = (2.0 * progress) as usize - 1;
            factor(schedule, (steps % 2, 2), (steps / 2, 9))
        };
        assert!((at(&Schedule::Cyclic, 3.0) - 1.0).abs() < 1e-12);
        assert!((at(&Schedule::Cyclic, 1.5) - 0.5).abs() < 1e-12);
        assert!((at(&Schedule::Cyclic, 6.0) - 0.5).abs() < 1e-12);
        assert!(at(&Schedule::Cyclic, 9.0).abs() < 1e-12);
        assert!((at(&Schedule::Cosine, 4.5) - 0.5).abs() < 1e-12);
        assert!((at(&Schedule::Step { every: 3, gamma: 0.1 }, 6.5) - 0.01).abs() < 1e-12);
        assert!((at(&Schedule::MultiStep { at: vec![2, 5], gamma: 0.5 }, 4.0) - 0.5).abs() < 1e-12);
        assert!((at(&Schedule::Constant, 8.0) - 1.0).abs() < 1e-12);
    }

    /// Expected numbers are of `tests/golden/tune/triangle.py`.
    #[test]
    fn the_triangle_has_the_rates_that_pytorch_steps_with() {
        let expected: [(usize, usize, usize, &[f64]); 3] = [
            (
                4,
                1,
                3,
                &[0.0, 0.333_333, 0.666_667, 1.0, 0.888_889, 0.777_778, 0.666_667, 0.555_556, 0.444_444, 0.333_333, 0.222_222, 0.111_111],
            ),
            (3, 2, 2, &[0.0, 0.25, 0.5, 0.75, 1.0, 0.5]),
            (2, 2, 2, &[0.0, 0.25, 0.5, 0.75]),
        ];
        for (epochs, peak, steps, rates) in expected {
            let schedule = Schedule::Triangle(Triangle { cyclic: Peak { peak } });
            let found: Vec<f64> = (0..epochs * steps).map(|k| factor(&schedule, (k % steps, steps), (k / steps, epochs))).collect();
            let near = found.iter().zip(rates).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near && found.len() == rates.len(), "{epochs} epochs, peak {peak}, {steps} steps: {found:?}, expected {rates:?}");
        }
    }
}
