//! Why no policy can be written.

use crate::data::DataError;
use crate::diag::{Class, Explain};
use crate::engine::{self, EngineError};
use crate::spec::SpecError;

/// Why no policy can be written for a checkpoint and pictures.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The pictures cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The checkpoint cannot be certified, or not with so little memory.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The path of the pictures cannot be written down.
    #[error("{path}: a policy is text, and this path is not: it is not UTF-8")]
    Path {
        /// It, as far as it can be shown.
        path: String,
    },
    /// Fewer than two classes have enough pictures.
    #[error("data {data}: too few pictures: {needed}, and {} ({found})", match *enough { 0 => "no class has as many", _ => "only one class has as many" })]
    TooFew {
        /// Where they are.
        data: String,
        /// What a class needs.
        needed: String,
        /// How many classes have that.
        enough: usize,
        /// How many each class has.
        found: String,
    },
    /// So many copies that what is left settles nothing.
    #[error("data {data}: too few pictures: of those that would measure {distinct} are different, which settle no limit up to {limit}")]
    Unsettled {
        /// Where they are.
        data: String,
        /// Pictures that would measure, copies counted once.
        distinct: usize,
        /// The greatest limit that was tried.
        limit: f64,
    },
    /// Too little time.
    #[error(
        "--max-time {}: too little time for {model}: the smallest policy that settles anything takes up to {} on this machine",
        engine::duration(*seconds),
        engine::duration(*least)
    )]
    Time {
        /// The checkpoint.
        model: String,
        /// What was given.
        seconds: f64,
        /// What would do.
        least: f64,
        /// What to type.
        hint: String,
    },
    /// Too little time for any policy.
    #[error("--max-time {}: too little time: what a run does beside fine-tunes takes about {} by itself", engine::duration(*seconds), engine::duration(*beside))]
    Beside {
        /// What was given.
        seconds: f64,
        /// What is needed whatever is asked.
        beside: f64,
    },
    /// What was written is no policy.
    #[error("the policy that was written is none: {0}")]
    Policy(#[from] SpecError),
}

impl InitError {
    /// Too little time, and how much would do: whole minutes, which leave some room.
    pub(super) fn time(model: &str, seconds: f64, least: f64) -> Self {
        let minutes = (least / 60.0).ceil().max(1.0) as u64;
        let hint =
            if minutes < 120 { format!("give `--max-time {minutes}m`") } else { format!("give `--max-time {}h`", minutes.div_ceil(60)) };
        Self::Time { model: model.to_owned(), seconds, least, hint }
    }
}

impl Explain for InitError {
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Data(error) => Some(error),
            Self::Engine(error) => Some(error),
            _ => None,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Path { .. } | Self::TooFew { .. } | Self::Unsettled { .. } | Self::Time { .. } | Self::Beside { .. } => Class::Usage,
            // What was named is not what is needed.
            Self::Data(error) if advice(error).is_some() => Class::Usage,
            _ => self.inner().map_or(Class::Fault, Explain::class),
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Path { .. } => Some("rename the folder"),
            Self::TooFew { .. } => Some("add pictures: some hundred of each class do well; more of them make narrower intervals"),
            Self::Unsettled { .. } => Some("copies of one picture count once: add others"),
            Self::Time { hint, .. } => Some(hint),
            Self::Beside { .. } => Some("give `--max-time 1m` or more: 15m is what is usual"),
            // There is no policy yet that could be corrected.
            Self::Data(error) if advice(error).is_some() => advice(error),
            _ => self.inner().and_then(Explain::hint),
        }
    }
}

/// What to do about pictures that are not what they should be.
fn advice(error: &DataError) -> Option<&'static str> {
    match error {
        DataError::Set { source, .. } => advice(source),
        DataError::NoClass { .. } => Some("say which column is the class: `--label NAME`"),
        // Nothing else is named.
        DataError::Unknown { .. } => Some("correct the name behind `--label`"),
        DataError::OneClass { .. } => Some("put the pictures of a second class into a folder beside its folder: photos/cat and photos/dog"),
        DataError::NoFolders { .. } => Some(
            "put each class's pictures into a folder of its own, photos/cat and photos/dog, as JPEG, PNG, WebP, BMP, PPM or TIFF files",
        ),
        _ => None,
    }
}
