//! What is known of images beside their class. The same columns, and often the same values, are known of many images: each text is kept once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::store::{Fingerprint, Fingerprinter};

/// What stands for a value that is not known: what pandas reads as missing, and writes as text. Case counts: `none` may well be a value,
/// as of a hat.
const MISSING: [&str; 16] =
    ["NaN", "nan", "NAN", "-NaN", "-nan", "None", "NA", "N/A", "n/a", "null", "NULL", "Null", "<NA>", "#N/A", "#NA", "NaT"];

/// Whether a value as a file gives it stands for one that is not known.
pub(super) fn missing(value: &str) -> bool {
    let value = value.trim();
    value.is_empty() || MISSING.contains(&value)
}

/// The columns of one image and its value in each, which is empty where it is not known. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct Attributes {
    /// Of the data.
    own: Option<Arc<Line>>,
    /// Of a file of attributes. Apart, so that images that it does not know share one line, however many columns it has.
    joined: Option<Arc<Line>>,
}

/// Columns in ascending order, none of them twice, and as many values.
struct Line {
    columns: Arc<[Arc<str>]>,
    values: Box<[Arc<str>]>,
}

impl Line {
    fn get(&self, column: &str) -> Option<&Arc<str>> {
        self.values.get(self.columns.binary_search_by(|known| (**known).cmp(column)).ok()?)
    }
}

impl Attributes {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.own.iter().chain(&self.joined).map(|line| &**line)
    }

    /// The value in a column, empty where it is not known; none where there is no such column.
    pub(crate) fn get(&self, column: &str) -> Option<&Arc<str>> {
        self.lines().find_map(|line| line.get(column))
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.get(column).is_some()
    }

    /// The columns, those of the data first.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.lines().flat_map(|line| line.columns.iter().map(|column| &**column))
    }

    /// Columns and values, in the order of the columns.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> =
            self.lines().flat_map(|line| line.columns.iter().zip(&line.values).map(|(column, value)| (&**column, &**value))).collect();
        pairs.sort_unstable();
        pairs
    }

    /// Adds columns that a file of attributes has; an error names one that is there already.
    pub(super) fn join(&mut self, file: Self) -> Result<(), String> {
        if let Some(twice) = file.columns().find(|column| self.has(column)) {
            return Err(twice.to_owned());
        }
        self.joined = file.own;
        Ok(())
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.pairs() == other.pairs()
    }
}

impl Eq for Attributes {}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

/// As the map from columns to values that it is.
impl Fingerprint for Attributes {
    fn feed(&self, feed: &mut Fingerprinter) {
        self.pairs().into_iter().collect::<BTreeMap<_, _>>().feed(feed);
    }
}

impl<'t> FromIterator<(&'t str, &'t str)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (&'t str, &'t str)>>(pairs: I) -> Self {
        Texts::default().attributes(pairs)
    }
}

/// The texts of one data set as it is read: what is there already is not made again.
#[derive(Debug, Default)]
pub(super) struct Texts {
    met: BTreeSet<Arc<str>>,
    columns: BTreeSet<Arc<[Arc<str>]>>,
    /// Those of the last image: most often the next has the same.
    last: Arc<[Arc<str>]>,
    unknown: Arc<str>,
}

impl Texts {
    /// A text as it is.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.met.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.met.insert(new.clone());
        new
    }

    /// What is known of an image: columns, none of which may be there twice, with their values as a file gives them.
    pub(super) fn attributes<'t>(&mut self, pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> Attributes {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().collect();
        if pairs.is_empty() {
            return Attributes::default();
        }
        pairs.sort_unstable();
        if self.last.len() != pairs.len() || self.last.iter().zip(&pairs).any(|(known, (column, _))| **known != **column) {
            let columns: Arc<[Arc<str>]> = pairs.iter().map(|(column, _)| self.text(column)).collect();
            self.last = self.columns.get(&columns).cloned().unwrap_or(columns);
            self.columns.insert(self.last.clone());
        }
        let values = pairs.iter().map(|(_, value)| if missing(value) { self.unknown.clone() } else { self.text(value) }).collect();
        Attributes { own: Some(Arc::new(Line { columns: self.last.clone(), values })), joined: None }
    }

    /// Takes away the columns that can be no attribute.
    pub(super) fn leave_out(&mut self, unusable: &BTreeMap<String, String>, from: &mut Attributes) {
        if from.columns().any(|column| unusable.contains_key(column)) {
            let left = from.clone();
            *from = self.attributes(left.pairs().into_iter().filter(|(column, _)| !unusable.contains_key(*column)));
        }
    }
}

#[cfg(test)]
impl std::ops::Index<&str> for Attributes {
    type Output = str;

    fn index(&self, column: &str) -> &str {
        self.get(column).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once() {
        let mut texts = Texts::default();
        let one = texts.attributes([("light", "day"), ("camera", "a")]);
        let two = texts.attributes([("camera", "day"), ("light", "n/a")]);
        let odd = texts.attributes([("light", "day")]);
        assert_eq!(one.pairs(), [("camera", "a"), ("light", "day")]);
        assert_eq!(two.pairs(), [("camera", "day"), ("light", "")]);
        assert!(Arc::ptr_eq(one.get("light").unwrap(), two.get("camera").unwrap()));
        let columns = |of: &Attributes| of.own.as_ref().unwrap().columns.clone();
        assert!(Arc::ptr_eq(&columns(&one), &columns(&two)) && columns(&odd).len() == 1);
        // Also where others came between.
        assert!(Arc::ptr_eq(&columns(&texts.attributes(one.pairs())), &columns(&one)));
        // What is a class may be called as a value that is not known.
        assert_eq!((&*texts.text("NA"), &texts.attributes([("light", "NA")])["light"]), ("NA", ""));
    }

    #[test]
    fn columns_of_a_file_stand_beside_those_of_the_data() {
        let mut texts = Texts::default();
        let (mut both, file) = (texts.attributes([("b", "1"), ("d", "2")]), texts.attributes([("a", "3"), ("c", "")]));
        both.join(file.clone()).unwrap();
        assert_eq!(both.pairs(), [("a", "3"), ("b", "1"), ("c", ""), ("d", "2")]);
        assert_eq!((both.join(texts.attributes([("d", "4")])), both.has("c"), both.has("e")), (Err("d".to_owned()), true, false));
        // The same columns are the same, wherever they come from.
        let whole: Attributes = both.pairs().into_iter().collect();
        assert_eq!((&whole, whole.fingerprint("test", 1)), (&both, both.fingerprint("test", 1)));
        let map: BTreeMap<String, String> = both.pairs().into_iter().map(|(column, value)| (column.to_owned(), value.to_owned())).collect();
        assert_eq!(map.fingerprint("test", 1), both.fingerprint("test", 1));
        texts.leave_out(&BTreeMap::from([("b".to_owned(), "why".to_owned())]), &mut both);
        assert_eq!(both.columns().collect::<Vec<_>>(), ["a", "c", "d"]);
        let mut nothing = Attributes::default();
        nothing.join(file).unwrap();
        assert_eq!((nothing.pairs(), Attributes::default().pairs()), (vec![("a", "3"), ("c", "")], vec![]));
    }
}
