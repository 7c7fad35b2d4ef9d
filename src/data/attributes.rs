//! A CSV file of attributes, joined to the images by id.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::DataError;
use super::source::Entry;
use super::table::Table;
use super::texts::Texts;
use crate::diag;

/// Joins the file's columns to the images; says which images and which lines found no partner.
pub(super) fn join(path: &Path, parts: &mut [Vec<Entry>]) -> Result<Vec<String>, DataError> {
    let name = path.display().to_string();
    let file = crate::store::open(path).map_err(|source| DataError::Read { path: name.clone(), source })?;
    join_from(file, &name, parts)
}

/// [`join`] with the contents of the file called `name`.
pub(super) fn join_from(contents: impl Read, name: &str, parts: &mut [Vec<Entry>]) -> Result<Vec<String>, DataError> {
    let broken = |reason: String| DataError::Csv { path: name.to_owned(), reason };
    let mut table = Table::new(contents).map_err(broken)?;
    let header = table.header.clone();
    let id_column = header.iter().position(|column| column == "id").ok_or_else(|| broken("it has no column `id`".to_owned()))?;
    let mut lines: BTreeMap<String, csv::StringRecord> = BTreeMap::new();
    let mut line = csv::StringRecord::new();
    while table.next(&mut line).map_err(broken)? {
        let line = std::mem::take(&mut line);
        let id = line.get(id_column).unwrap_or_default().to_owned();
        let number = line.position().map_or(0, csv::Position::line);
        if lines.insert(id.clone(), line).is_some() {
            return Err(broken(format!("line {number}: the id `{id}` is there twice")));
        }
    }
    let columns = || header.iter().filter(|column| *column != "id");
    let mut texts = Texts::default();
    let unknown = texts.attributes(columns().map(|column| (column, "")));
    let (total, mut missing) = (lines.len(), Vec::new());
    for record in parts.iter_mut().flatten().map(|entry| &mut entry.record) {
        let Some(line) = lines.remove(&*record.id) else {
            missing.push(record.id.to_string());
            // The columns are there all the same; what they hold of this image is not known. One that is there twice is refused below.
            record.attributes.join(unknown.clone()).ok();
            continue;
        };
        let theirs = texts.attributes(header.iter().zip(&line).filter(|(column, _)| *column != "id"));
        record.attributes.join(theirs).map_err(|column| broken(format!("the data have a column `{column}` already")))?;
    }
    if total == lines.len() {
        let (theirs, ours) = (lines.keys().next().cloned().unwrap_or_default(), missing.first().cloned().unwrap_or_default());
        return Err(DataError::Unjoined { path: name.to_owned(), theirs, ours });
    }
    let mut warnings = Vec::new();
    if !missing.is_empty() {
        let (images, have) = (diag::count(missing.len(), "image"), diag::agree(&missing.len(), "has", "have"));
        warnings.push(format!("{images} {have} no line in {name}: {}", first(&missing)));
    }
    if !lines.is_empty() {
        let ids: Vec<String> = lines.into_keys().collect();
        let (lines, belong) = (diag::count(ids.len(), "line"), diag::agree(&ids.len(), "belongs", "belong"));
        warnings.push(format!("{lines} of {name} {belong} to no image: {}", first(&ids)));
    }
    Ok(warnings)
}

/// The first few, for people.
pub(super) fn first(ids: &[String]) -> String {
    let shown = ids.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if ids.len() > 3 { format!("{shown}, ...") } else { shown }
}
