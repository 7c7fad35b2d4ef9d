//! An opened view: records at hand, pixels when asked for.

use std::sync::Arc;

use rayon::prelude::*;

use super::source::{Entry, Picture};
use super::{DataError, Fit, Fitted, Record};
use crate::pixels::Image;
use crate::store::Digest;
use crate::transform::geometry::Fitter;

/// Labelled pictures, indexable and lazy: pixels are decoded on request, unless all were fitted at once. Clones share everything.
#[derive(Clone, Debug)]
pub struct Dataset {
    classes: Arc<[String]>,
    records: Arc<[Record]>,
    pictures: Arc<[(Picture, blake3::Hash)]>,
    digest: Digest,
    /// At the size that was asked for when the view was opened.
    fitted: Option<Arc<Fitted>>,
}

/// A picture that does not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
}

impl Dataset {
    /// Decodes every picture once, in parallel, and leaves out those that are broken. With `fit`, what is decoded is kept at that size.
    pub(super) fn checked(classes: &[String], entries: Vec<Entry>, fit: Option<&Fit>) -> Result<(Self, Vec<Broken>), DataError> {
        let (read, rows) = match fit {
            None => (entries.par_iter().map(|entry| entry.picture.read().map(|(_, hash)| hash)).collect(), None),
            Some(fit) => {
                let mut rows = fit.rows(entries.len())?;
                let one = |fitter: &mut Fitter, i: usize, row: &mut [u8]| {
                    let (image, hash) = entries[i].picture.read()?;
                    fitter.fit(&image, fit.height, fit.width, row);
                    Ok(hash)
                };
                (rows.fill(Fitter::default, one)?, Some((fit, rows)))
            }
        };
        let (mut kept, mut broken, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let read: Vec<Result<blake3::Hash, String>> = read;
        for (place, (Entry { record, picture }, result)) in entries.into_iter().zip(read).enumerate() {
            match result {
                Ok(hash) => {
                    // Once it is fitted, what it was made from is needed no more.
                    let picture = if rows.is_some() { Picture::Missing("it is kept at the network's size only") } else { picture };
                    kept.push((record, (picture, hash)));
                    places.push(place as u32);
                }
                Err(reason) => broken.push(Broken { id: record.id, reason }),
            }
        }
        let fitted = rows.map(|(fit, rows)| Arc::new(Fitted::new(fit, rows, places)));
        Ok((Self { fitted, ..Self::new(classes.into(), kept) }, broken))
    }

    fn new(classes: Arc<[String]>, entries: Vec<(Record, (Picture, blake3::Hash))>) -> Self {
        let (records, pictures): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let digest = digest(&classes, &records, &pictures);
        Self { classes, records: records.into(), pictures: pictures.into(), digest, fitted: None }
    }

    /// Class names by label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What is known of the pictures, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Picture `i`, decoded.
    pub fn image(&self, i: usize) -> Result<Image, DataError> {
        let (Some(record), Some((picture, _))) = (self.records.get(i), self.pictures.get(i)) else {
            return Err(DataError::NoSuchPicture { index: i, len: self.len() });
        };
        let picture = picture.read().map_err(|reason| DataError::Picture { id: record.id.clone(), reason })?;
        Ok(picture.0)
    }

    /// All pictures at one size: those made when the view was opened, if it is the same size.
    pub fn fitted(&self, fit: &Fit) -> Result<Arc<Fitted>, DataError> {
        match &self.fitted {
            Some(fitted) if fitted.is(fit.height, fit.width) => Ok(fitted.clone()),
            _ => Fitted::make(self, fit).map(Arc::new),
        }
    }

    /// The digest of class names, ids, labels, clusters, attributes and the pictures' bytes, in order.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The pictures at these places, in this order; places beyond the end are passed over.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let at = |&i: &usize| Some((self.records.get(i)?.clone(), self.pictures.get(i)?.clone()));
        Self::new(self.classes.clone(), indices.iter().filter_map(at).collect())
    }
}

fn digest(classes: &[String], records: &[Record], pictures: &[(Picture, blake3::Hash)]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    // Lengths before contents, so that no two views read alike.
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text(&classes.len().to_string());
    for class in classes {
        text(class);
    }
    for (record, (_, hash)) in records.iter().zip(pictures) {
        text(&record.id);
        text(&record.label.to_string());
        text(&record.cluster);
        text(&record.attributes.len().to_string());
        for (column, value) in &record.attributes {
            text(column);
            text(value);
        }
        text(hash.to_hex().as_str());
    }
    Digest(hasher.finalize().to_hex().to_string())
}
