//! Runs a certification and reports through events: the only module that orchestrates.
//!
//! `run` goes from look to look: `subject` fine-tunes and measures the arms, `pending` judges what rests on them. `task` is the target task,
//! `counts` what there is of data, `cache_keys` says what is kept for the next run, `profile` measures the machine, `kept` counts what
//! earlier runs kept, `saved` writes fine-tunes for the user, `agree` compares the executors, `self_test` is the embedded one.

mod accuracy;
mod agree;
mod cache_keys;
mod counts;
mod error;
mod event;
mod facts;
mod kept;
mod pending;
mod profile;
mod reference;
mod rejudge;
mod run;
mod salt;
mod saved;
mod self_test;
mod settings;
mod subject;
mod suits;
mod task;
mod untrained;
mod waivers;
mod wording;

pub(crate) use agree::executors;
pub(crate) use cache_keys::build;
pub(crate) use counts::{counts, remarks, unknown};
pub use error::EngineError;
pub use event::Event;
pub(crate) use facts::tool;
pub(crate) use kept::kept;
pub(crate) use profile::{footprint, profile};
pub(crate) use reference::{ReferenceError, fits, is_pinned, references};
pub(crate) use rejudge::as_stored;
pub use rejudge::rejudge;
pub(crate) use run::run;
pub use salt::SaltError;
pub(crate) use salt::is_read as check_salt;
pub(crate) use saved::Saver;
pub use saved::{Save, SaveError, Saved};
pub(crate) use self_test::check as check_self_test;
pub use settings::Certified;
pub(crate) use settings::Settings;
pub(crate) use suits::{check, check_changes};
pub(crate) use task::Task;
pub(crate) use waivers::WaiverError;
pub use wording::{KEPT, duration, stage_name};
