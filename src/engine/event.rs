//! What a run tells while it goes on.

use crate::gate::Finding;

/// What happens while a certification runs; `cli` renders it, nothing else prints.
#[derive(Clone, Debug)]
pub enum Event {
    /// A one-line fact about the run (`features`, `cut at ... [N, 64]`).
    Fact {
        /// What it is about.
        topic: &'static str,
        /// The fact.
        text: String,
    },
    /// A stage begins (`self-test`, `features`, `heads`, `full-network source`).
    StageStart {
        /// Its name.
        stage: String,
        /// Units of work, where known.
        total: Option<u64>,
        /// What a unit is (`images`).
        unit: &'static str,
    },
    /// Work done in the current stage.
    Progress {
        /// Units done so far.
        done: u64,
    },
    /// The current stage ended.
    StageEnd {
        /// Its name.
        stage: String,
        /// Result in a few words.
        summary: String,
        /// Seconds it took.
        seconds: f64,
    },
    /// A finding was judged for good.
    Judged(Box<Finding>),
    /// Something the user should know that does not stop the run.
    Warning(String),
}
