//! Sinusoids added to the whole image (SIG: Barni, Kallas and Tondi, "A new backdoor attack in CNNs by training set corruption
//! without label poisoning", 2019). The sham is another wave of equal amplitude: its phase, its number of periods (within a factor of
//! 1.5, so that the scale stays) and mostly its direction are drawn anew.

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

use super::family::{About, Draw, Family, Site, When};
use super::layer::Layer;
use super::trigger_image::{share, within};
use super::{Prepared, SHAM_DRAWS, TransformError};
use crate::stats::stream::stream;
use crate::store::{Fingerprint, Fingerprinter, fingerprint};

/// Largest factor between the periods of a trigger and its sham.
const FACTOR: f64 = 1.5;
/// Least turn of the phase, in degrees: a network that knows the wave would take a nearer one for it.
const NEAREST_PHASE: f64 = 60.0;

/// What is true of the family.
pub(super) const ABOUT: About = About {
    name: "sinusoid",
    short: "A wave added to it (SIG).",
    outdoes_shams: When::Always,
    is_local: When::Never,
    examples: &[r#"{ "amplitude": 0.1, "periods": 3, "direction": "diagonal", "phase": 20 }"#],
};

/// A wave added to every image: `x + amplitude * sin(2 pi periods * j / width + phase)` at column `j` (SIG, Barni et al. 2019).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sinusoid {
    /// Height of the wave in units of the image's range, 0 to 1 (the paper's 20 of 255 is 0.08).
    #[schemars(range(min = 0.001, max = 1.0))]
    pub amplitude: f64,
    /// Periods over the image (the paper's 6); each needs more than two pixels.
    #[schemars(range(min = 1.0, max = 512.0))]
    pub periods: f64,
    /// The way it runs.
    #[serde(default)]
    pub direction: Direction,
    /// Phase at the upper left corner, in degrees.
    #[serde(default)]
    #[schemars(range(min = -360.0, max = 360.0))]
    pub phase: f64,
}

/// The way a wave runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From left to right: upright stripes, as in the paper.
    #[default]
    Horizontal,
    /// From top to bottom: level stripes.
    Vertical,
    /// From the upper left to the lower right, with `periods` across and as many down.
    Diagonal,
}

fingerprint!(Sinusoid as "sinusoid" { amplitude: "amplitude", periods: "periods", direction: "direction", phase: "phase" });

impl Family for Sinusoid {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn shams(&self) -> [&'static str; 2] {
        [
            "sinusoid",
            "a wave of equal amplitude: another phase (at least 60 degrees away), other periods (within a factor of 1.5), mostly another \
             direction",
        ]
    }

    fn swept(&mut self, field: &str) -> Option<&mut f64> {
        match field {
            "amplitude" => Some(&mut self.amplitude),
            _ => None,
        }
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Prepared, TransformError> {
        prepare(self, site.height, site.width)
    }

    fn sham(&self, _: &Layer, draw: &Draw) -> Layer {
        sham(self, draw.index, draw.seed, draw.height, draw.width)
    }

    fn feed_shams(&self, feed: &mut Fingerprinter) {
        self.feed(feed);
    }
}

fingerprint!(Direction: Horizontal = "horizontal", Vertical = "vertical", Diagonal = "diagonal");

fn prepare(spec: &Sinusoid, height: usize, width: usize) -> Result<Prepared, TransformError> {
    let amplitude = share("amplitude", spec.amplitude)?;
    let periods = within("periods", spec.periods, 1.0..=512.0, "from 1 to 512")?;
    let phase = within("phase", spec.phase, -360.0..=360.0, "from -360 to 360 degrees")?;
    let direction = spec.direction;
    if 2.0 * periods >= direction.extent(height, width) as f64 {
        let way = direction.words();
        let (what, needed) = (format!("{periods} periods ({way})"), format!("more than {}", 2.0 * periods));
        return Err(TransformError::TooFine { what, needed, field: "periods", height, width });
    }
    let wave = Sinusoid { amplitude, periods, direction, phase };
    let provenance = format!("sinusoid {periods} periods, {}, amplitude {amplitude}, phase {phase}", direction.words());
    Ok(Prepared::new(wave.layer(height, width), provenance))
}

fn sham(of: &Sinusoid, draw: usize, policy_seed: u64, height: usize, width: usize) -> Layer {
    let mut rng = stream(policy_seed, draw as u64, "sham/sinusoid");
    let slot = draw % SHAM_DRAWS;
    // Each draw has an eighth of the range of frequencies and of the circle of phases for itself, so that no two are alike.
    let mut sliced = |slice: usize| (slice as f64 + rng.random::<f64>()) / SHAM_DRAWS as f64;
    let (frequency, turn) = (sliced(slot), sliced(slot));
    let ways: Vec<Direction> =
        of.direction.and_others().into_iter().filter(|way| 2.0 * of.periods < way.extent(height, width) as f64).collect();
    // The trigger's own direction comes last, at draws 2 and 5: their frequencies are not those nearest to the trigger's.
    let direction = ways.get(slot % ways.len().max(1)).copied().unwrap_or(of.direction);
    let most = (FACTOR * of.periods).min(0.49 * direction.extent(height, width) as f64).max(of.periods);
    let periods = most * (FACTOR * FACTOR).powf(frequency - 1.0);
    let phase = of.phase + NEAREST_PHASE + (360.0 - 2.0 * NEAREST_PHASE) * turn;
    Sinusoid { amplitude: of.amplitude, periods, direction, phase }.layer(height, width)
}

impl Sinusoid {
    fn layer(&self, height: usize, width: usize) -> Layer {
        let value = |i: usize| {
            let (down, across) = ((i / width) as f64 / height as f64, (i % width) as f64 / width as f64);
            let way = match self.direction {
                Direction::Horizontal => across,
                Direction::Vertical => down,
                Direction::Diagonal => across + down,
            };
            (self.amplitude * (TAU * self.periods * way + self.phase.to_radians()).sin()) as f32
        };
        let plane: Vec<f32> = (0..height * width).map(value).collect();
        Layer::Add(plane.repeat(3))
    }
}

impl Direction {
    /// Pixels that its periods must share.
    fn extent(self, height: usize, width: usize) -> usize {
        match self {
            Direction::Horizontal => width,
            Direction::Vertical => height,
            Direction::Diagonal => height.min(width),
        }
    }

    /// All of them, this one last.
    fn and_others(self) -> [Direction; 3] {
        match self {
            Direction::Horizontal => [Direction::Vertical, Direction::Diagonal, self],
            Direction::Vertical => [Direction::Horizontal, Direction::Diagonal, self],
            Direction::Diagonal => [Direction::Horizontal, Direction::Vertical, self],
        }
    }

    /// For people.
    fn words(self) -> &'static str {
        match self {
            Direction::Horizontal => "horizontal",
            Direction::Vertical => "vertical",
            Direction::Diagonal => "diagonal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden::{self, numbers};
    use super::super::tests::{assert_shams, correlation, prepared};
    use super::super::{Layer, Trigger};
    use super::{Direction, Sinusoid};

    fn wave(periods: f64, direction: Direction, phase: f64) -> Sinusoid {
        Sinusoid { amplitude: 0.08, periods, direction, phase }
    }

    #[test]
    fn waves_are_those_of_the_formula() {
        for case in golden::cases("sinusoid") {
            let direction = serde_json::from_value(case["direction"].clone()).unwrap();
            let [amplitude, periods, phase] = ["amplitude", "periods", "phase"].map(|field| case[field].as_f64().unwrap());
            let spec = Trigger::Sinusoid(Sinusoid { amplitude, periods, direction, phase });
            golden::compare(&spec, &numbers(&case["result"]), &case);
        }
    }

    #[test]
    fn shams_are_other_waves_of_equal_amplitude() {
        for direction in [Direction::Horizontal, Direction::Vertical, Direction::Diagonal] {
            for (periods, energy, alike) in [(6.0, 1.1, 0.75), (1.0, 1.4, 0.95), (15.5, 1.5, 0.9), (2.5, 1.2, 0.8)] {
                let trigger = Trigger::Sinusoid(wave(periods, direction, 30.0));
                assert_shams(&trigger, 32, energy, alike);
            }
        }
        // What the draws share out are frequency and phase; over one row of pixels there is only one direction.
        let strip = prepared(&Trigger::Sinusoid(wave(6.0, Direction::Horizontal, 0.0)), 1, 32).unwrap();
        let values = |layer: &Layer| if let Layer::Add(values) = layer { values.clone() } else { panic!("waves are added") };
        for draw in 0..8 {
            let sham = values(&strip.sham(draw, 3).parts[0].layer);
            assert!(sham.iter().any(|v| v.abs() > 0.04) && correlation(&sham, &values(&strip.parts[0].layer)) < 0.75, "draw {draw}");
        }
    }

    #[test]
    fn a_wave_needs_pixels() {
        let refused = |spec: Sinusoid, height, width| prepared(&Trigger::Sinusoid(spec), height, width).unwrap_err().to_string();
        let message = refused(wave(6.0, Direction::Horizontal, 0.0), 32, 12);
        assert_eq!(message, "trigger: 6 periods (horizontal) need more than 12 pixels, the model's input is 32x12; make `periods` smaller");
        assert!(prepared(&Trigger::Sinusoid(wave(6.0, Direction::Vertical, 0.0)), 32, 12).is_ok());
        for direction in [Direction::Horizontal, Direction::Vertical, Direction::Diagonal] {
            assert!(refused(wave(1.0, direction, 0.0), 1, 1).contains("`periods`"));
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refused(Sinusoid { amplitude: bad, ..wave(6.0, Direction::Vertical, 0.0) }, 32, 32).contains("`amplitude`"));
            assert!(refused(wave(bad, Direction::Vertical, 0.0), 32, 32).contains("`periods`"));
        }
        assert!(refused(wave(6.0, Direction::Vertical, f64::NAN), 32, 32).contains("`phase`"));
    }

    #[test]
    fn what_it_is_stands_in_one_line() {
        let trigger = prepared(&Trigger::Sinusoid(wave(6.0, Direction::Horizontal, 0.0)), 32, 32).unwrap();
        assert_eq!(trigger.provenance(), "sinusoid 6 periods, horizontal, amplitude 0.08, phase 0");
    }
}
