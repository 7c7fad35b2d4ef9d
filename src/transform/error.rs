//! Why a trigger cannot be used.

use std::path::PathBuf;

/// Why a trigger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// No pixels to put it on.
    #[error("the model's input is {height}x{width} pixels: there is nothing to lay a trigger over")]
    Empty {
        /// Pixels down.
        height: usize,
        /// Pixels across.
        width: usize,
    },
    /// A number outside its range.
    #[error("trigger: `{field}` is {value}, it must be {range}")]
    Range {
        /// The field of the policy.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is accepted.
        range: &'static str,
    },
    /// Two fields of which exactly one is needed.
    #[error("{family} trigger: give exactly one of `{one}` and `{other}`, {given}")]
    Choice {
        /// Family of the trigger.
        family: &'static str,
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// Not a colour.
    #[error("{family} trigger: `color` is \"{text}\", it must look like \"#ffff00\"")]
    Color {
        /// Family of the trigger.
        family: &'static str,
        /// What was given.
        text: String,
    },
    /// Does not fit.
    #[error(
        "trigger: {what} is {height}x{width} pixels and does not fit the model's input of {outer_height}x{outer_width}; make `size` smaller"
    )]
    TooLarge {
        /// What it is.
        what: String,
        /// Its pixels down.
        height: usize,
        /// Its pixels across.
        width: usize,
        /// The model's pixels down.
        outer_height: usize,
        /// The model's pixels across.
        outer_width: usize,
    },
    /// Has more detail than the image has pixels.
    #[error("trigger: {what} need {needed} pixels, the model's input is {height}x{width}; make `{field}` smaller")]
    TooFine {
        /// What it is, in the plural.
        what: String,
        /// What it needs, such as "more than 12".
        needed: String,
        /// The field that says how fine it is.
        field: &'static str,
        /// The model's pixels down.
        height: usize,
        /// The model's pixels across.
        width: usize,
    },
    /// A letter that cannot be drawn.
    #[error("text trigger: `text` has {character:?}, which the font lacks; use printable ASCII characters")]
    Character {
        /// The first of them.
        character: char,
    },
    /// Nothing to draw, or too much.
    #[error("text trigger: `text` has {count} characters, it must have 1 to {most}, and not only spaces")]
    Text {
        /// Characters that are not spaces.
        count: usize,
        /// Most characters.
        most: usize,
    },
    /// Too small to be read.
    #[error(
        "text trigger: {count} characters on {columns} pixels of the model's input of {height}x{width} cannot be told from others, they need \
         {least} at least; make `size` larger or `text` shorter"
    )]
    Illegible {
        /// How many there are.
        count: usize,
        /// Pixels across that they would have.
        columns: usize,
        /// Pixels across that they need.
        least: usize,
        /// The model's pixels down.
        height: usize,
        /// The model's pixels across.
        width: usize,
    },
    /// What only one family can have wrong.
    #[error("{family} trigger: {reason}")]
    Refused {
        /// Family of the trigger.
        family: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Too few or too many triggers in one.
    #[error("all trigger: {count} triggers are listed, it takes 2 to {most}")]
    Count {
        /// How many there are.
        count: usize,
        /// Most that are taken.
        most: usize,
    },
    /// `all` inside `all`.
    #[error("all trigger: trigger {} is an `all` itself; put its triggers into the one list", .at + 1)]
    Nested {
        /// Which one, counted from 0.
        at: usize,
    },
    /// A file that cannot be read.
    #[error("trigger file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that fits another size than the model's.
    #[error("trigger file {path}: {reason}")]
    Size {
        /// The file.
        path: PathBuf,
        /// What size it has, and which it needs.
        reason: String,
    },
    /// A file that is read but not understood.
    #[error("trigger file {path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
}
