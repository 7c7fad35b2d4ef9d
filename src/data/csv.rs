//! Images in a folder with a CSV file beside them, one line an image.

use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::attributes::first;
use super::format::{Format, Kind, OTHER_NAMES, Splits, below};
use super::listed::{self, Listed};
use super::source::{Label, Rows, relative_id, resolve};
use super::table::Table;
use super::texts::{Texts, missing};
use super::{DataError, DataSpec, Orientation, Split, diag};

/// Columns that name an image's file.
const FILES: [&str; 5] = ["file_name", "file", "filename", "path", "image"];
/// Columns that do where none of those is there.
const IDS: [&str; 2] = ["id", "image_id"];

pub(super) static FORMAT: Format = Format {
    name: "csv",
    kind: Kind::Files,
    splits: Splits::PathOrFile,
    // As with a folder: Pillow decodes, and nothing turns.
    orientation: Orientation::Stored,
    loader: "a data set class that opens files with Pillow",
    redirect: |old, new| DataSpec::Csv(redirected(old, new)),
    read: |base, path, split, _| read(base, path, split),
};

/// Another file, or the file of the same name in another folder.
fn redirected(old: &Path, new: PathBuf) -> PathBuf {
    if new.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
        return new;
    }
    match old.file_name() {
        Some(name) if !old.to_string_lossy().contains('{') => new.join(name),
        _ => below(old, new),
    }
}

/// What the column `split` says of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Train,
    Test,
    Validation,
}

/// A line with what it says of its split, where the file has such a column.
type Line = (Listed, Option<Word>);

fn read(base: &Path, path: &Path, split: Option<Split>) -> Result<Rows, DataError> {
    let whole = base.join(path);
    let by_path = path.to_string_lossy().contains("{split}");
    let mut rows = Rows::default();
    let file = if by_path {
        let (file, other) = chosen(&whole, split);
        if let Some(other) = other {
            let wanted = resolve(&whole, split).0;
            rows.warnings.push(format!("there is no {}: what `{other}` names measures", wanted.display()));
        }
        file
    } else {
        whole.clone()
    };
    let place = file.display().to_string();
    if place.contains('*') {
        let hint = "name the one file that lists the images; `{split}` in its path stands for train or test".to_owned();
        return Err(DataError::Refused { place, reason: "`*` stands for nothing in the path of a CSV file".to_owned(), hint });
    }
    let opened = crate::store::open(&file).map_err(|source| DataError::Read { path: place.clone(), source })?;
    let lines = parse(BufReader::new(opened), &place, !by_path)?;
    let folder = crate::store::folder_of(&file);
    let (_, fixed) = resolve(&whole, split);
    let prefix = relative_id(folder, &fixed);
    let prefix = if by_path && !prefix.is_empty() && folder.starts_with(&fixed) { format!("{prefix}/") } else { String::new() };
    let listed = if by_path { lines.into_iter().map(|(listed, _)| listed).collect() } else { of_split(lines, split, &mut rows)? };
    rows.list = listed::rows(folder, folder, &prefix, &place, listed)?;
    Ok(rows)
}

/// The file of a split, and the word that stands in its path where that is another than `test`.
fn chosen(path: &Path, split: Option<Split>) -> (PathBuf, Option<&'static str>) {
    let file = resolve(path, split).0;
    if split != Some(Split::Test) || file.symlink_metadata().is_ok() {
        return (file, None);
    }
    let named = |word: &'static str| (PathBuf::from(path.to_string_lossy().replace("{split}", word)), Some(word));
    OTHER_NAMES.into_iter().map(named).find(|(file, _)| file.is_file()).unwrap_or((file, None))
}

/// The lines of a split, by what the column `split` says.
fn of_split(lines: Vec<Line>, split: Option<Split>, rows: &mut Rows) -> Result<Vec<Listed>, DataError> {
    let said = lines.iter().any(|(_, word)| word.is_some());
    match (split, said) {
        (None, true) => return Err(DataError::SplitTwice),
        (Some(_), false) if !lines.is_empty() => return Err(DataError::NoSplitColumn),
        (None | Some(_), false) => return Ok(lines.into_iter().map(|(listed, _)| listed).collect()),
        (Some(_), true) => {}
    }
    let tests = lines.iter().any(|(_, word)| *word == Some(Word::Test));
    let validation = lines.iter().filter(|(_, word)| *word == Some(Word::Validation)).count();
    if tests && validation > 0 && split == Some(Split::Train) {
        let are = diag::agree(
            &validation,
            "is of a validation split and neither trains nor measures",
            "are of a validation split and neither train nor measure",
        );
        rows.warnings.push(format!("{validation} of {} {are}", diag::count(lines.len(), "image")));
    }
    let measures = if tests { Word::Test } else { Word::Validation };
    let wanted = if split == Some(Split::Test) { measures } else { Word::Train };
    Ok(lines.into_iter().filter(|(_, word)| *word == Some(wanted)).map(|(listed, _)| listed).collect())
}

/// The lines of a file; `splits` says whether a column `split` is one, and no attribute.
pub(super) fn parse(contents: impl Read, place: &str, splits: bool) -> Result<Vec<Line>, DataError> {
    let hint = "the file starts with a line of column names, separated by commas, and has one line per image";
    let refused = |reason: String, hint: &str| DataError::Refused { place: place.to_owned(), reason, hint: hint.to_owned() };
    let broken = |reason: String| refused(reason, hint);
    let mut table = Table::new(contents).map_err(broken)?;
    let header: Vec<String> = table.header.iter().map(str::to_owned).collect();
    let at = |name: &str| header.iter().position(|column| column == name);
    let (file, class) = (file_column(&header, &refused)?, at("label"));
    let split = at("split").filter(|_| splits);
    let (mut lines, mut seen, mut record) = (Vec::new(), BTreeSet::new(), ::csv::StringRecord::new());
    let mut texts = Texts::default();
    while table.next(&mut record).map_err(broken)? {
        let number = record.position().map_or(0, ::csv::Position::line);
        let value = |column: usize| record.get(column).unwrap_or_default();
        let name = value(file).trim();
        if name.is_empty() {
            return Err(refused(format!("line {number} names no file"), "fill in the column, or leave the line out"));
        }
        let inside = listed::inside(name).ok_or_else(|| {
            let reason = format!("line {number}: `{}` is no path to a file in the folder of the list", name.escape_debug());
            refused(reason, "name each image by its path below that folder, with forward slashes and without `..`")
        })?;
        if !seen.insert(inside.clone()) {
            return Err(refused(format!("line {number}: `{inside}` is there twice"), "leave one of the two lines out"));
        }
        let word = split.map(|column| {
            word(value(column)).ok_or_else(|| {
                let reason = format!("line {number}: its `split` is `{}`", value(column).escape_debug());
                refused(reason, "write train, test or val (or training, testing, valid, validation, dev)")
            })
        });
        let label = class.map(value).filter(|label| !missing(label)).map(|label| texts.text(label));
        let others = (0..header.len()).filter(|column| *column != file && Some(*column) != split && Some(*column) != class);
        let attributes = texts.attributes(others.filter_map(|column| Some((header.get(column)?.as_str(), value(column)))));
        let listed = Listed { file: inside, label: label.map_or(Label::Absent, Label::Name), attributes };
        lines.push((listed, word.transpose()?));
    }
    if lines.is_empty() {
        return Err(refused("it names no image".to_owned(), hint));
    }
    Ok(lines)
}

/// Which column names the files.
fn file_column(header: &[String], refused: &impl Fn(String, &str) -> DataError) -> Result<usize, DataError> {
    let among = |names: &[&str]| -> Vec<usize> {
        (0..header.len()).filter(|at| header.get(*at).is_some_and(|name| names.contains(&name.as_str()))).collect()
    };
    let found = Some(among(&FILES)).filter(|found| !found.is_empty()).unwrap_or_else(|| among(&IDS));
    match found.as_slice() {
        [only] => Ok(*only),
        [] => {
            let shown =
                if header.len() > 20 { format!("{}, ...", header.get(..20).unwrap_or_default().join(", ")) } else { header.join(", ") };
            let reason = format!("no column says which file a line is about; its columns are: {shown}");
            Err(refused(reason, &format!("name that column `file_name` ({} and {} are known too)", FILES[1..].join(", "), IDS.join(", "))))
        }
        several => {
            let names: Vec<String> = several.iter().filter_map(|at| header.get(*at)).map(|name| format!("`{name}`")).collect();
            let reason = format!("{} may each say which file a line is about", first(&names).replace(", ", " and "));
            Err(refused(reason, "give those that do not another name"))
        }
    }
}

fn word(text: &str) -> Option<Word> {
    Some(match text.trim().to_lowercase().as_str() {
        "train" | "training" => Word::Train,
        "test" | "testing" => Word::Test,
        other if OTHER_NAMES.contains(&other) => Word::Validation,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
