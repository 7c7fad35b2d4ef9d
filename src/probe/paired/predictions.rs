//! Clean and changed predictions of fine-tunes, and which class or pair of classes gains most.

use crate::probe::table::{Layout, largest};
use crate::probe::{Outcome, ProbeError};

/// Which predictions of a measurement count as changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// Under the trigger.
    Trigger,
    /// Under a sham draw.
    Sham(usize),
}

/// Clean and changed predictions of every seed.
pub(super) struct Predictions<'a> {
    pub seeds: Vec<(&'a [u16], &'a [u16])>,
}

impl<'a> Predictions<'a> {
    pub(super) fn of(outcomes: impl IntoIterator<Item = &'a Outcome>, column: Under) -> Result<Self, ProbeError> {
        let pick = |o: &'a Outcome| match column {
            Under::Trigger => Ok((o.clean.as_slice(), o.changed.as_slice())),
            Under::Sham(draw) => o.shams.get(draw).map(|s| (o.clean.as_slice(), s.as_slice())).ok_or(ProbeError::NoShams),
        };
        let seeds: Vec<(&[u16], &[u16])> = outcomes.into_iter().map(pick).collect::<Result<_, _>>()?;
        // A measurement of groups has no changed predictions, which must not read as an effect of nothing.
        match seeds.iter().find(|(clean, changed)| clean.len() != changed.len()) {
            Some((clean, _)) => Err(ProbeError::Columns { images: clean.len() }),
            None => Ok(Self { seeds }),
        }
    }

    /// Each seed by itself.
    pub(super) fn each(&self) -> impl Iterator<Item = Self> {
        self.seeds.iter().map(|seed| Self { seeds: vec![*seed] })
    }

    /// The class that gains most among images of other classes, for each seed.
    pub(super) fn leading(&self, images: &[usize], layout: &Layout) -> Result<Vec<usize>, ProbeError> {
        let of = |seed: Self| largest(&seed.gains(images, layout.labels, layout.classes.len()).1).ok_or(ProbeError::OneClass);
        self.each().map(of).collect()
    }

    /// Per class: the net count of predictions gained, and the rate gained among images of other classes (summed over seeds).
    pub(super) fn gains(&self, images: &[usize], labels: &[u16], classes: usize) -> (Vec<f64>, Vec<f64>) {
        let mut count = vec![0.0; classes];
        let mut other = vec![0.0; classes];
        let mut of_class = vec![0.0; classes];
        let add = |slots: &mut [f64], class: u16, by: f64| {
            if let Some(slot) = slots.get_mut(usize::from(class)) {
                *slot += by;
            }
        };
        for &i in images {
            let Some(&label) = labels.get(i) else { continue };
            add(&mut of_class, label, 1.0);
            for (clean, changed) in &self.seeds {
                if let (Some(&a), Some(&b)) = (clean.get(i), changed.get(i)) {
                    for (class, by) in [(a, -1.0), (b, 1.0)] {
                        add(&mut count, class, by);
                        if class != label {
                            add(&mut other, class, by);
                        }
                    }
                }
            }
        }
        let total = images.len() as f64;
        // A class that all images show draws nothing from others: it cannot be chosen.
        let rate = |(gained, own): (&f64, &f64)| if total > *own { gained / (total - own) } else { f64::NEG_INFINITY };
        let rates = other.iter().zip(&of_class).map(rate).collect();
        (count, rates)
    }

    /// Per label and class, label first: how much more often images of the label are called the class, summed over seeds. Minus infinity for labels that
    /// are not `enough`, and for a label's own class.
    pub(super) fn flows(&self, images: &[usize], labels: &[u16], enough: &[bool]) -> Vec<f64> {
        let classes = enough.len();
        let (mut gained, mut of_label) = (vec![0.0; classes * classes], vec![0.0; classes]);
        for &i in images {
            let Some(&label) = labels.get(i) else { continue };
            of_label.iter_mut().skip(label.into()).take(1).for_each(|count| *count += 1.0);
            for (clean, changed) in &self.seeds {
                for (predicted, by) in [(clean.get(i), -1.0), (changed.get(i), 1.0)] {
                    let pair = predicted.map(|class| usize::from(label) * classes + usize::from(*class));
                    if let Some(slot) = pair.and_then(|pair| gained.get_mut(pair)) {
                        *slot += by;
                    }
                }
            }
        }
        let rate = |(pair, gained): (usize, f64)| {
            let (label, class) = (pair / classes, pair % classes);
            let counts = label != class && enough[label] && of_label[label] > 0.0;
            if counts { gained / of_label[label] } else { f64::NEG_INFINITY }
        };
        gained.into_iter().enumerate().map(rate).collect()
    }

    /// The label and class of the largest flow, for each seed.
    pub(super) fn leading_flows(&self, images: &[usize], layout: &Layout, enough: &[bool]) -> Result<Vec<[u16; 2]>, ProbeError> {
        let of = |seed: Self| {
            let flows = seed.flows(images, layout.labels, enough);
            let pair = largest(&flows).filter(|pair| flows[*pair].is_finite()).ok_or(ProbeError::SmallClasses)?;
            Ok([(pair / enough.len()) as u16, (pair % enough.len()) as u16])
        };
        self.each().map(of).collect()
    }
}
