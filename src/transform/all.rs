//! Several triggers laid one after the other. The sham is the sham of each.

use super::{TransformError, Trigger};

/// Most triggers in one.
const MOST: usize = 8;

/// The triggers of a list, if they can be laid one after the other.
pub(super) fn checked(triggers: &[Trigger]) -> Result<&[Trigger], TransformError> {
    if !(2..=MOST).contains(&triggers.len()) {
        return Err(TransformError::Count { count: triggers.len(), most: MOST });
    }
    match triggers.iter().position(|trigger| matches!(trigger, Trigger::All(_))) {
        Some(at) => Err(TransformError::Nested { at }),
        None => Ok(triggers),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_shams, difference, photo, prepared};
    use super::super::{Noise, Patch, Place, Sinusoid, Trigger};

    fn patch(color: &str, at: Place) -> Trigger {
        Trigger::Patch(Patch { size: 0.25, at, color: Some(color.to_owned()), image: None, opacity: 1.0 })
    }

    fn wave() -> Trigger {
        Trigger::Sinusoid(Sinusoid { amplitude: 0.1, periods: 6.0, direction: super::super::Direction::Horizontal, phase: 0.0 })
    }

    #[test]
    fn triggers_are_laid_in_their_order() {
        let both = prepared(&Trigger::All(vec![wave(), patch("#ffff00", Place::TopLeft)]), 32, 32).unwrap();
        let mut frame = photo(32, 32);
        both.apply(&mut frame);
        let mut one_by_one = photo(32, 32);
        prepared(&wave(), 32, 32).unwrap().apply(&mut one_by_one);
        prepared(&patch("#ffff00", Place::TopLeft), 32, 32).unwrap().apply(&mut one_by_one);
        assert_eq!(frame, one_by_one);
        assert_eq!(both.provenance(), "sinusoid 6 periods, horizontal, amplitude 0.1, phase 0; then patch 8x8 at top left, #ffff00");
        let other_order = prepared(&Trigger::All(vec![patch("#ffff00", Place::TopLeft), wave()]), 32, 32).unwrap();
        assert_ne!(both.digest(), other_order.digest());
        assert_shams(&Trigger::All(vec![wave(), patch("#ffff00", Place::TopLeft)]), 32, 1.6, 0.95);
    }

    #[test]
    fn each_has_a_place_of_its_own_that_shams_keep() {
        // The wave of a sham is another one: the place must not depend on what was laid before.
        let random = || patch("#ff0000", Place::Random);
        let only = prepared(&random(), 32, 32).unwrap();
        let three = prepared(&Trigger::All(vec![random(), wave(), random()]), 32, 32).unwrap();
        let red = |planes: &[f32]| -> Vec<usize> {
            (0..1024).filter(|i| planes[*i] > 0.999 && planes[1024 + i] < 1e-3 && planes[2048 + i] < 1e-3).collect()
        };
        let (mut one, mut several) = (photo(32, 32), photo(32, 32));
        only.apply(&mut one);
        three.apply(&mut several);
        assert!(red(&several.planes).len() >= 64 && red(&several.planes) != red(&one.planes));
        let boxed = |trigger: &super::super::PreparedTrigger| {
            let mut frame = photo(32, 32);
            trigger.apply(&mut frame);
            frame
        };
        // Two waves that differ leave the last patch where it is: there the frames are equal.
        let place = |trigger: &Trigger| red(&boxed(&prepared(trigger, 32, 32).unwrap()).planes);
        let noise = Trigger::Noise(Noise { seed: 1, amplitude: 0.2 });
        let last = |first: Trigger| place(&Trigger::All(vec![first, random()]));
        assert_eq!(last(wave()), last(noise));
    }

    #[test]
    fn lists_are_bounded_and_flat() {
        let refused = |triggers| prepared(&Trigger::All(triggers), 8, 8).unwrap_err().to_string();
        assert_eq!(refused(vec![]), "all trigger: 0 triggers are listed, it takes 2 to 8");
        assert!(refused(vec![wave()]).contains("1 triggers"));
        assert!(refused(vec![wave(); 9]).contains("9 triggers"));
        let nested = Trigger::All(vec![patch("#ffffff", Place::Center), Trigger::All(vec![wave(), wave()])]);
        assert!(prepared(&nested, 32, 32).unwrap_err().to_string().contains("trigger 2 is an `all` itself"));
        assert!(refused(vec![patch("#ffffff", Place::Center), wave()]).contains("`periods`"), "what is wrong with one is named");
        let trigger = Trigger::All(vec![wave(), patch("#ffff00", Place::Grid)]);
        assert!(difference(&prepared(&trigger, 32, 32).unwrap(), &photo(32, 32)).iter().any(|d| d.abs() > 0.3));
    }
}
