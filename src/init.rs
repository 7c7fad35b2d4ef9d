//! A policy for a checkpoint and a folder of pictures, sized to what these can settle in a given time.
//!
//! One way: `data` says what lies there and counts it, `pictures` chooses classes and halves, `choose` asks the planner what fits, `draft` writes it
//! down. Then the pictures that were chosen are opened as `certify` opens them: what is wrong with them is said now, and where they are fewer or
//! slower than they seemed, the choice is made again.

mod choose;
mod draft;
mod error;
mod pictures;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Instant;

use crate::data::{self, LabelSpec};
use crate::engine;
use crate::model::Model;
use crate::plan;
use crate::policy::PolicyFile;
use crate::session::Session;

use choose::{BESIDE, Chosen, Given, choose, holds, written};
use draft::For;
pub use error::InitError;
use pictures::Pictures;

/// A policy that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// As YAML, with comments.
    pub text: String,
    /// As it is read.
    pub file: PolicyFile,
    /// The pictures, in one line.
    pub pictures: String,
    /// Seconds that certifying by it takes at least and at most, on this machine.
    pub seconds: [f64; 2],
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Writes a policy for a checkpoint and the pictures at a path, relative to the current folder, that is certified within so many seconds. `label`: the
/// column that gives a picture's class, where that is another than the data call their label.
pub fn policy(session: &Session, model: &Model, (path, label): (&Path, Option<&str>), seconds: f64) -> Result<Written, InitError> {
    // How often it is chosen anew; one time more is rarely needed.
    const TRIES: usize = 4;
    let here = Path::new("");
    // Known before the model is measured, which takes as long for a large one.
    if seconds <= BESIDE {
        return Err(InitError::Beside { seconds, beside: BESIDE });
    }
    if path.to_str().is_none() {
        return Err(InitError::Path { path: path.display().to_string() });
    }
    let spec = data::recognise(path)?;
    let label = label.map(|column| LabelSpec { column: column.to_owned(), map: None, others: None });
    let pictures = Pictures::of(&data::census(&spec, label.as_ref(), here)?, &spec.to_string())?;
    let profile = engine::profile(model, &session.compute, session.memory, session.cache.as_ref(), true)?;
    let name = model.identity.name();
    let of = For {
        model: &name,
        size: [model.input.height, model.input.width],
        trains: profile.speed.whole.is_some(),
        data: &spec,
        label: label.as_ref(),
        pictures: &pictures,
        most: seconds,
    };
    let mut given = Given { of, profile: &profile, reading: 0.0, distinct: [1.0; 2] };
    for _ in 0..TRIES {
        let Chosen { mut draft, policy, .. } = choose(&given)?;
        engine::check(&policy, model)?;
        let resolved = plan::resolve(&policy);
        let clock = Instant::now();
        let opened = data::open_within(&policy.file.target, here, policy.file.seed, &session.budget(&resolved, model)?)?;
        let took = clock.elapsed().as_secs_f64();
        let counts = engine::counts(&resolved, opened.facts())?;
        let share = |there: usize, wanted: usize| (there as f64 / wanted.max(1) as f64).min(1.0);
        given = Given {
            // What else the machine did meanwhile must not make it slower each time.
            reading: given.reading.max(took / (draft.train.images + draft.test.images).max(1) as f64),
            distinct: [share(counts.train, draft.train.images), share(counts.test_clusters, draft.test.images)],
            ..given
        };
        if holds(&mut draft, &policy, &counts, &given)? {
            let (text, policy) = written(&of, &draft)?;
            let warnings =
                model.input.warnings().into_iter().chain(engine::remarks(&plan::resolve(&policy), opened.facts(), &counts)).collect();
            return Ok(Written { text, pictures: pictures.described(), seconds: draft.seconds, warnings, file: policy.file });
        }
    }
    Err(InitError::time(&name, seconds, 2.0 * seconds))
}
