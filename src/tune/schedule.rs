//! The learning rate over time.

use super::Schedule;

/// The share of the epochs after which the cyclic schedule is at its peak.
const PEAK: f64 = 1.0 / 3.0;

/// The factor on the peak rate, `progress` epochs (with fractions) into training, in the 0-based epoch `epoch`.
pub(super) fn factor(schedule: &Schedule, progress: f64, epoch: usize, epochs: usize) -> f64 {
    let done = (progress / epochs as f64).clamp(0.0, 1.0);
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cyclic if done < PEAK => done / PEAK,
        Schedule::Cyclic => (1.0 - done) / (1.0 - PEAK),
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
        let at = |schedule: &Schedule, progress: f64| factor(schedule, progress, progress.floor() as usize, 9);
        assert!((at(&Schedule::Cyclic, 3.0) - 1.0).abs() < 1e-12);
        assert!((at(&Schedule::Cyclic, 1.5) - 0.5).abs() < 1e-12);
        assert!((at(&Schedule::Cyclic, 6.0) - 0.5).abs() < 1e-12);
        assert!(at(&Schedule::Cyclic, 9.0).abs() < 1e-12);
        assert!((at(&Schedule::Cosine, 4.5) - 0.5).abs() < 1e-12);
        assert!((at(&Schedule::Step { every: 3, gamma: 0.1 }, 6.2) - 0.01).abs() < 1e-12);
        assert!((at(&Schedule::MultiStep { at: vec![2, 5], gamma: 0.5 }, 4.0) - 0.5).abs() < 1e-12);
        assert!((at(&Schedule::Constant, 8.0) - 1.0).abs() < 1e-12);
    }
}
