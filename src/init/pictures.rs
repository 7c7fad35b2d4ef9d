//! Which classes are used, which pictures train, and which measure: arithmetic on counts.

use super::error::InitError;
use crate::data::Census;
use crate::diag;

/// Pictures of a class without which it is left out: so many measure, since further numbers of a rule are about single classes, on each half of
/// the pictures.
pub(super) const FEWEST_TEST: usize = 12;
/// So many train.
pub(super) const FEWEST_TRAIN: usize = 10;
/// Pictures that train without which whole networks learn nothing that is worth the time.
pub(super) const FEWEST_FULL: usize = 200;
/// Most classes that are used: a few make a task, and a head for a thousand takes long and needs many pictures.
const MOST_CLASSES: usize = 10;
/// Pictures that settle the least limit with hardly a doubt, where so many measure.
const ENOUGH_TEST: f64 = 200.0;

/// The pictures that are used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pictures {
    /// The classes that are used.
    pub classes: Vec<String>,
    /// Pictures of each that train.
    pub train: Vec<usize>,
    /// Pictures of each that measure.
    pub test: Vec<usize>,
    /// The share that measures, where the data do not say.
    pub share: Option<f64>,
    /// Classes left out because they have too few pictures, with how many they have.
    pub few: Vec<String>,
    /// Classes left out because there are many.
    pub many: usize,
}

impl Pictures {
    /// What is used of a data set that is called `data`.
    pub(super) fn of(census: &Census, data: &str) -> Result<Self, InitError> {
        let share = match census.parts.as_slice() {
            [all] => Some(share(all.iter().filter(|count| **count >= FEWEST_TEST + FEWEST_TRAIN).sum())),
            _ => None,
        };
        let halves = |at: usize| match (census.parts.as_slice(), share) {
            ([all], Some(share)) => halves(all.get(at).copied().unwrap_or(0), share),
            ([train, test, ..], _) => [train, test].map(|part| part.get(at).copied().unwrap_or(0)),
            _ => [0, 0],
        };
        let counted: Vec<(&String, [usize; 2])> = census.classes.iter().enumerate().map(|(at, name)| (name, halves(at))).collect();
        let enough = |[train, test]: [usize; 2]| train >= FEWEST_TRAIN && test >= FEWEST_TEST;
        let shown = |(name, [train, test]): &(&String, [usize; 2])| match share {
            Some(_) => format!("{name}: {}", train + test),
            None => format!("{name}: {train} + {test}"),
        };
        let mut used: Vec<(&String, [usize; 2])> = counted.iter().copied().filter(|(_, halves)| enough(*halves)).collect();
        if used.len() < 2 {
            let first: Vec<String> = counted.iter().take(5).map(shown).collect();
            let more = if counted.len() > 5 { ", ..." } else { "" };
            return Err(InitError::TooFew {
                data: data.to_owned(),
                needed: match share {
                    Some(_) => format!("a class needs {}", 2 * FEWEST_TEST),
                    None => format!("a class needs {FEWEST_TRAIN} that train and {FEWEST_TEST} that measure"),
                },
                enough: used.len(),
                found: format!("{}{more}", first.join(", ")),
            });
        }
        let few = counted.iter().filter(|(_, halves)| !enough(*halves)).map(shown).collect();
        let many = used.len().saturating_sub(MOST_CLASSES);
        if many > 0 {
            // Those of most pictures, of equal ones the first; then in the order of the data again.
            used.sort_by_key(|(_, [train, test])| std::cmp::Reverse(((*train).min(2 * test), train + test)));
            used.truncate(MOST_CLASSES);
            used = counted.iter().copied().filter(|one| used.contains(one)).collect();
        }
        let [train, test] = [0, 1].map(|half| used.iter().map(|(_, halves)| halves[half]).collect());
        Ok(Self { classes: used.iter().map(|(name, _)| (*name).clone()).collect(), train, test, share, few, many })
    }

    /// Whether classes of the data are left out.
    pub(super) fn chosen(&self) -> bool {
        self.many > 0 || !self.few.is_empty()
    }

    /// In one line, for people.
    pub(super) fn described(&self) -> String {
        let [train, test] = [&self.train, &self.test].map(|part| part.iter().sum::<usize>());
        let classes = diag::count(self.classes.len(), "class");
        match self.share {
            Some(share) => format!("{} of {classes}, of which a share of {share} measures", train + test),
            None => format!("{train} that train and {test} that measure, of {classes}"),
        }
    }
}

/// The share of so many pictures that measures: half of few, because settling a limit takes more of them than training a head; a third of many.
fn share(all: usize) -> f64 {
    let share = (ENOUGH_TEST / all.max(1) as f64).clamp(1.0 / 3.0, 0.5);
    (share * 100.0).round() / 100.0
}

/// How many of a class train and how many measure, as the split deals them out.
fn halves(all: usize, share: f64) -> [usize; 2] {
    let most = all.saturating_sub(1);
    let test = ((all as f64 * share).round() as usize).clamp(most.min(1), most.max(1).min(all));
    [all - test, test]
}

/// The pictures of one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// At most so many, where that leaves any out.
    pub limit: Option<usize>,
    /// Whether equally many of each class are taken.
    pub balanced: bool,
    /// So many are used.
    pub images: usize,
    /// Of so many.
    pub all: usize,
    /// Of the rarest class.
    pub rarest: usize,
}

impl View {
    /// At most `limit` of the pictures of each class. Equally many of each where that costs none, or where fewer than `fewest` of a rare class would be
    /// left otherwise.
    pub(super) fn of(counts: &[usize], limit: usize, fewest: usize) -> Self {
        let (all, rarest) = (counts.iter().sum::<usize>(), counts.iter().copied().min().unwrap_or(0));
        let classes = counts.len().max(1);
        if limit >= all {
            return Self { limit: None, balanced: false, images: all, all, rarest };
        }
        let (equal, share) = (limit / classes, rarest * limit / all.max(1));
        if equal <= rarest || share < fewest {
            let each = equal.min(rarest);
            return Self { limit: Some(limit), balanced: true, images: each * classes, all, rarest: each };
        }
        Self { limit: Some(limit), balanced: false, images: limit, all, rarest: share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(parts: &[&[usize]]) -> Census {
        let classes = (0..parts[0].len()).map(|at| format!("c{at}")).collect();
        Census { classes, parts: parts.iter().map(|part| part.to_vec()).collect() }
    }

    #[test]
    fn of_few_pictures_half_measure_and_of_many_a_third() {
        let share = |all: &[usize]| Pictures::of(&census(&[all]), "photos").expect("enough").share.expect("a share");
        let shares = [&[40; 5][..], &[100; 5], &[1000; 5]].map(share);
        assert!(shares.iter().zip([0.5, 0.4, 0.33]).all(|(a, b)| (a - b).abs() < 1e-9), "{shares:?}");
        let pictures = Pictures::of(&census(&[&[40, 41]]), "photos").expect("enough");
        assert_eq!((pictures.train, pictures.test), (vec![20, 20], vec![20, 21]));
    }

    #[test]
    fn classes_of_few_pictures_are_left_out_and_named() {
        let pictures = Pictures::of(&census(&[&[100, 3, 100], &[50, 50, 50]]), "photos").expect("enough");
        assert_eq!((pictures.classes, pictures.few), (vec!["c0".to_owned(), "c2".to_owned()], vec!["c1: 3 + 50".to_owned()]));
        let few = Pictures::of(&census(&[&[100, 3]]), "photos").unwrap_err().to_string();
        assert_eq!(few, "data photos: too few pictures: a class needs 24, and only one class has as many (c0: 100, c1: 3)");
    }

    #[test]
    fn of_many_classes_those_of_most_pictures_are_used() {
        let counts: Vec<usize> = (0..30).map(|at| 100 + at % 15).collect();
        let pictures = Pictures::of(&census(&[&counts]), "photos").expect("enough");
        assert_eq!((pictures.classes.len(), pictures.many), (10, 20));
        assert_eq!(pictures.classes[0], "c10");
    }

    #[test]
    fn views_take_equally_many_where_that_costs_none() {
        let view = |counts: &[usize], limit| View::of(counts, limit, 5);
        assert_eq!(view(&[20, 20], 40), View { limit: None, balanced: false, images: 40, all: 40, rarest: 20 });
        assert_eq!(view(&[20, 20], 31), View { limit: Some(31), balanced: true, images: 30, all: 40, rarest: 15 });
        assert_eq!(view(&[90, 10], 50), View { limit: Some(50), balanced: false, images: 50, all: 100, rarest: 5 });
        // A share of the rare class would be too few of it.
        assert_eq!(view(&[992, 8], 500), View { limit: Some(500), balanced: true, images: 16, all: 1000, rarest: 8 });
    }
}
