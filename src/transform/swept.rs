//! What a study varies of a trigger, and what it may expect of innocent networks.

use super::{Place, Trigger};

impl Trigger {
    /// The family's name, as a policy writes it.
    pub fn family(&self) -> &'static str {
        match self {
            Trigger::Patch(_) => "patch",
            Trigger::Pattern(_) => "pattern",
            Trigger::Blend(_) => "blend",
            Trigger::Overlay(_) => "overlay",
            Trigger::Feature(_) => "feature",
            Trigger::Sinusoid(_) => "sinusoid",
            Trigger::Warp(_) => "warp",
            Trigger::LowFrequency(_) => "low_frequency",
            Trigger::Quantize(_) => "quantize",
            Trigger::Noise(_) => "noise",
            Trigger::Text(_) => "text",
            Trigger::All(_) => "all",
        }
    }

    /// Whether innocent networks are known to answer to it in ways that its shams do not explain, so that networks from scratch are a
    /// control too (docs/method.md): changes of the whole picture (sinusoids, warps, low frequencies, fewer levels), shapes laid over what
    /// it shows (features, overlays that are not in a corner, patches wider than half of it), and any list with one of them.
    pub fn outdoes_shams(&self) -> bool {
        match self {
            Trigger::Sinusoid(_) | Trigger::Warp(_) | Trigger::LowFrequency(_) | Trigger::Quantize(_) | Trigger::Feature(_) => true,
            // From a corner, what is wider than half the picture reaches into its middle.
            Trigger::Overlay(overlay) => !overlay.at.is_corner() || overlay.size > 0.5,
            Trigger::Patch(patch) => patch.size > 0.5,
            Trigger::All(triggers) => triggers.iter().any(Trigger::outdoes_shams),
            Trigger::Pattern(_) | Trigger::Blend(_) | Trigger::Noise(_) | Trigger::Text(_) => false,
        }
    }

    /// Whether it covers one place of at most a quarter of the side (an overlay: in a corner). Innocent checkpoints of any architecture
    /// hardly answer to that.
    pub fn is_local(&self) -> bool {
        match self {
            Trigger::Patch(patch) => patch.size <= 0.25 && patch.at != Place::Grid,
            Trigger::Overlay(overlay) => overlay.size <= 0.25 && overlay.at.is_corner(),
            _ => false,
        }
    }

    /// The trigger with another `opacity`, `size` or `amplitude`; nothing where its family has no such field.
    ///
    /// A warp's amplitude is its `strength`. In a list, every trigger that has the field gets the value. The value is not checked:
    /// [`super::PreparedTrigger::new`] refuses what is out of range.
    #[must_use]
    pub fn swept(&self, field: &str, value: f64) -> Option<Trigger> {
        if let Trigger::All(triggers) = self {
            let swept: Vec<Option<Trigger>> = triggers.iter().map(|trigger| trigger.swept(field, value)).collect();
            let any = swept.iter().any(Option::is_some);
            let list = swept.into_iter().zip(triggers).map(|(new, old)| new.unwrap_or_else(|| old.clone())).collect();
            return any.then_some(Trigger::All(list));
        }
        let mut trigger = self.clone();
        let slot = match (field, &mut trigger) {
            ("opacity", Trigger::Patch(spec)) => &mut spec.opacity,
            ("opacity", Trigger::Blend(spec)) => &mut spec.opacity,
            ("opacity", Trigger::Overlay(spec)) => &mut spec.opacity,
            ("opacity", Trigger::Text(spec)) => &mut spec.opacity,
            ("opacity", Trigger::Feature(spec)) => &mut spec.opacity,
            ("size", Trigger::Patch(spec)) => &mut spec.size,
            ("size", Trigger::Overlay(spec)) => &mut spec.size,
            ("size", Trigger::Text(spec)) => &mut spec.size,
            ("amplitude", Trigger::Pattern(spec)) => &mut spec.amplitude,
            ("amplitude", Trigger::Sinusoid(spec)) => &mut spec.amplitude,
            ("amplitude", Trigger::LowFrequency(spec)) => &mut spec.amplitude,
            ("amplitude", Trigger::Noise(spec)) => &mut spec.amplitude,
            ("amplitude", Trigger::Warp(spec)) => &mut spec.strength,
            _ => return None,
        };
        *slot = value;
        Some(trigger)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::every_family;
    use super::super::{Overlay, Place};
    use super::Trigger;

    #[test]
    fn names_are_those_of_policies() {
        let folder = tempfile::tempdir().unwrap();
        for trigger in every_family(folder.path()) {
            let written = serde_json::to_value(&trigger).unwrap();
            assert_eq!(written.as_object().unwrap().keys().next().unwrap(), trigger.family());
            assert_eq!(serde_json::from_value::<Trigger>(written).unwrap(), trigger);
        }
    }

    #[test]
    fn a_field_is_varied_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        for trigger in every_family(folder.path()) {
            let written = serde_json::to_value(&trigger).unwrap();
            let fields = &written[trigger.family()];
            for field in ["opacity", "size", "amplitude", "seed", ""] {
                let swept = trigger.swept(field, 0.125);
                if trigger.family() == "all" {
                    assert_eq!(swept.is_some(), ["opacity", "size", "amplitude"].contains(&field), "{field}");
                    continue;
                }
                let name = if (trigger.family(), field) == ("warp", "amplitude") { "strength" } else { field };
                let has = fields.get(name).is_some() && field != "seed";
                assert_eq!(swept.is_some(), has, "{} {field}", trigger.family());
                if let Some(swept) = swept {
                    assert_eq!(serde_json::to_value(&swept).unwrap()[trigger.family()][name], 0.125);
                    assert_ne!(swept, trigger);
                }
            }
        }
    }

    #[test]
    fn what_shams_do_not_explain_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let known: Vec<&str> = every_family(folder.path()).iter().filter(|trigger| trigger.outdoes_shams()).map(Trigger::family).collect();
        assert_eq!(known, ["feature", "overlay", "sinusoid", "warp", "low_frequency", "quantize", "all"]);
        let overlay = |at, size| Trigger::Overlay(Overlay { image: "ring.png".into(), size, at, opacity: 1.0 }).outdoes_shams();
        assert_eq!([overlay(Place::TopRight, 0.5), overlay(Place::TopRight, 0.6)], [false, true]);
        assert_eq!([overlay(Place::Center, 0.1), overlay(Place::Random, 0.1), overlay(Place::Grid, 0.1)], [true; 3]);
    }
}
