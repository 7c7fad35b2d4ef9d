//! An opened view: records at hand, pixels when asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::source::{Entry, Hash, Opened, Stored};
use super::{DataError, Fit, Fitted, Orientation, Record};
use crate::pixels::Image;
use crate::store::{Digest, Fingerprinter};
use crate::transform::geometry::{FitError, Fitter};

/// Labelled images, indexable and lazy: pixels are decoded on request, unless all were fitted at once. Clones share everything.
#[derive(Clone, Debug)]
pub struct Dataset {
    classes: Arc<[String]>,
    records: Arc<[Record]>,
    stored: Arc<[(Stored, Hash)]>,
    /// What each shows.
    shown: Arc<[Shown]>,
    /// Cluster number of each.
    clusters: Arc<[u32]>,
    digest: Digest,
    orientation: Orientation,
    /// At the size that was asked for when the view was opened.
    fitted: Option<Arc<Fitted>>,
}

/// Hash of an image's size and pixels: equal ones show the same.
pub(super) type Shown = [u8; 32];

fn shown(image: &Image) -> Shown {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(image.width as u64).to_le_bytes());
    hasher.update(&(image.height as u64).to_le_bytes());
    hasher.update(&image.rgb);
    *hasher.finalize().as_bytes()
}

/// A view whose images were all decoded once.
pub(super) struct Checked {
    /// Those that are used.
    pub data: Dataset,
    /// Those that do not decode.
    pub broken: Vec<Broken>,
    /// Ids of those that ask to be turned or mirrored.
    pub turned: Vec<String>,
    /// Ids of those that show what is shown elsewhere, and are left out for it.
    pub elsewhere: Vec<String>,
}

/// An image that does not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Why an image is not fitted.
enum Unusable {
    /// It does not decode.
    Broken(String),
    /// It cannot be brought to the network's size.
    Misfit(FitError),
}

impl Dataset {
    /// Decodes every image once, in parallel, and leaves out those that are broken or show what is shown `elsewhere`. With `fit`, what is
    /// decoded is kept at that size.
    pub(super) fn checked(
        classes: &[String],
        entries: Vec<Entry>,
        orientation: Orientation,
        fit: Option<&Fit>,
        elsewhere: &BTreeSet<Shown>,
    ) -> Result<Checked, DataError> {
        let told = |opened: &Opened| (opened.hash, shown(&opened.image), opened.tagged);
        let (read, rows) = match fit {
            None => {
                let one = |entry: &Entry| entry.stored.read(orientation).map(|opened| told(&opened)).map_err(Unusable::Broken);
                (entries.par_iter().map(one).collect(), None)
            }
            Some(fit) => {
                let mut rows = fit.rows(entries.len())?;
                let one = |fitter: &mut Fitter, i: usize, row: &mut [u8]| {
                    let opened = entries[i].stored.read(orientation).map_err(Unusable::Broken)?;
                    fit.image(fitter, &opened.image, row).map_err(Unusable::Misfit)?;
                    Ok(told(&opened))
                };
                (rows.fill(Fitter::default, one)?, Some((fit, rows)))
            }
        };
        let (mut kept, mut broken, mut twice, mut turned, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let read: Vec<Result<(Hash, Shown, bool), Unusable>> = read;
        for (place, (Entry { record, stored }, result)) in entries.into_iter().zip(read).enumerate() {
            match result {
                Ok((_, shown, _)) if elsewhere.contains(&shown) => twice.push(record.id.to_string()),
                Ok((hash, shown, tagged)) => {
                    if tagged {
                        turned.push(record.id.to_string());
                    }
                    // Once it is fitted, what it was made from is needed no more, unless boxes are cut out of it.
                    let stored = if rows.as_ref().is_some_and(|(fit, _)| !fit.keep) {
                        Stored::Missing("it is kept at the network's size only")
                    } else {
                        stored
                    };
                    kept.push((record, (stored, hash), shown));
                    places.push(place as u32);
                }
                Err(Unusable::Broken(reason)) => broken.push(Broken { id: record.id.to_string(), reason }),
                // Not the image's fault: leaving it out would be.
                Err(Unusable::Misfit(source)) => return Err(DataError::Misfit { id: record.id.to_string(), source }),
            }
        }
        let fitted = rows.map(|(fit, rows)| Arc::new(Fitted::new(fit, rows, places)));
        Ok(Checked { data: Self { fitted, ..Self::new(classes.into(), orientation, kept) }, broken, turned, elsewhere: twice })
    }

    fn new(classes: Arc<[String]>, orientation: Orientation, entries: Vec<(Record, (Stored, Hash), Shown)>) -> Self {
        let (mut records, mut stored, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        for (record, one, shows) in entries {
            records.push(record);
            stored.push(one);
            shown.push(shows);
        }
        let digest = digest(&classes, &records, &stored);
        let clusters = clusters(&records, shown.iter().map(Some)).into();
        Self { classes, records: records.into(), stored: stored.into(), shown: shown.into(), clusters, digest, orientation, fitted: None }
    }

    /// The cluster of each image, numbered in the order of their first images: images of one cluster in the records, and images that
    /// show the same, pixel for pixel, belong together.
    pub(crate) fn clusters(&self) -> &[u32] {
        &self.clusters
    }

    /// What each image shows, in order.
    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Class names by label.
    pub(crate) fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What is known of the images, in order.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Image `i`, decoded.
    pub(crate) fn image(&self, i: usize) -> Result<Image, DataError> {
        let (Some(record), Some((stored, _))) = (self.records.get(i), self.stored.get(i)) else {
            return Err(DataError::NoSuchImage { index: i, len: self.len() });
        };
        let opened = stored.read(self.orientation).map_err(|reason| DataError::Image { id: record.id.to_string(), reason })?;
        Ok(opened.image)
    }

    /// Image `i` cannot be brought to the network's size.
    pub(crate) fn misfit(&self, i: usize, source: FitError) -> DataError {
        DataError::Misfit { id: self.records.get(i).map(|record| record.id.to_string()).unwrap_or_default(), source }
    }

    /// All images at one size: those made when the view was opened, if they were brought to the same size in the same way.
    pub(crate) fn fitted(&self, fit: &Fit) -> Result<Arc<Fitted>, DataError> {
        match &self.fitted {
            Some(fitted) if fitted.is(fit) => Ok(fitted.clone()),
            _ => self.fit(fit).map(Arc::new),
        }
    }

    /// Decodes and fits every image, in parallel.
    fn fit(&self, fit: &Fit) -> Result<Fitted, DataError> {
        let mut rows = fit.rows(self.len())?;
        let one = |fitter: &mut Fitter, i: usize, row: &mut [u8]| -> Result<(), DataError> {
            let image = self.image(i)?;
            fit.image(fitter, &image, row).map_err(|error| self.misfit(i, error))
        };
        rows.fill(Fitter::default, one)?.into_iter().collect::<Result<(), DataError>>()?;
        Ok(Fitted::new(fit, rows, (0..self.len() as u32).collect()))
    }

    /// The digest of class names, ids, labels, clusters, attributes and the images' bytes, in order.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The images at these places, in this order; places beyond the end are passed over.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn subset(&self, indices: &[usize]) -> Self {
        let at = |&i: &usize| Some((self.records.get(i)?.clone(), self.stored.get(i)?.clone(), *self.shown.get(i)?));
        Self::new(self.classes.clone(), self.orientation, indices.iter().filter_map(at).collect())
    }
}

/// Numbers what belongs together by name or by what it shows, where that is known, also in a chain.
pub(super) fn clusters<'a>(records: &[Record], shown: impl Iterator<Item = Option<&'a Shown>>) -> Vec<u32> {
    // Each points to an earlier one that it belongs with, or to itself.
    let mut first: Vec<usize> = Vec::with_capacity(records.len());
    let (mut by_name, mut by_pixels): (BTreeMap<&str, usize>, BTreeMap<&Shown, usize>) = (BTreeMap::new(), BTreeMap::new());
    let root = |first: &mut [usize], mut i: usize| {
        while first[i] != i {
            first[i] = first[first[i]];
            i = first[i];
        }
        i
    };
    for (i, (record, shows)) in records.iter().zip(shown).enumerate() {
        first.push(i);
        let same = shows.map(|shows| *by_pixels.entry(shows).or_insert(i));
        for other in std::iter::once(*by_name.entry(&record.cluster).or_insert(i)).chain(same) {
            let (a, b) = (root(&mut first, i), root(&mut first, other));
            first[a.max(b)] = a.min(b);
        }
    }
    let mut numbers = BTreeMap::new();
    let number = |i: usize| {
        let next = numbers.len() as u32;
        *numbers.entry(root(&mut first, i)).or_insert(next)
    };
    (0..records.len()).map(number).collect()
}

/// docs/method.md says how to make it without heirloom.
fn digest(classes: &[String], records: &[Record], stored: &[(Stored, Hash)]) -> Digest {
    let mut feed = Fingerprinter::new("heirloom data view", 1);
    feed.field("classes", classes);
    feed.field("pictures", &records.len());
    for (Record { id, label, cluster, attributes }, (_, hash)) in records.iter().zip(stored) {
        feed.field("id", id);
        feed.field("class", label);
        feed.field("cluster", cluster);
        feed.field("attributes", attributes);
        feed.bytes(hash);
    }
    feed.finish()
}

#[cfg(test)]
mod tests {
    use super::super::source::Stored;
    use super::{Dataset, Record};
    use crate::store::{golden, sha256};

    #[test]
    fn the_digest_of_a_view_is_the_documented_one() {
        let record = |id: &str, label, cluster: &str, attributes: &[(&str, &str)]| Record {
            id: id.into(),
            label,
            cluster: cluster.into(),
            attributes: attributes.iter().copied().collect(),
        };
        let entry = |record, bytes: &[u8]| (record, (Stored::Missing("not needed"), sha256(bytes)), sha256(bytes));
        let entries = || {
            vec![
                entry(record("train/cat/1.png", 0, "person 1", &[("sex", "f"), ("age", "31")]), b"abc"),
                entry(record("train/dog/1.png", 1, "train/dog/1.png", &[]), b""),
            ]
        };
        let classes = || ["cat", "dog"].map(str::to_owned).to_vec();
        let view = Dataset::new(classes().into(), crate::data::Orientation::Stored, entries());
        assert_eq!(view.digest().digits(), golden("view"));
        assert_eq!(view.subset(&[0, 1]).digest(), view.digest());
        for other in [
            view.subset(&[1, 0]),
            view.subset(&[0]),
            Dataset::new(["cat", "frog"].map(str::to_owned).to_vec().into(), crate::data::Orientation::Stored, entries()),
        ] {
            assert_ne!(other.digest(), view.digest());
        }
    }
}
