//! Fine-tunes that are saved for the user: as ONNX files with a list of them, and their training curves as TensorBoard reads them.
//!
//! `course` is how training went, `record` the list, `error` what keeps them from being written. Nothing that is there is written over: a fine-tune is
//! somebody's work. A failure is told at the end of the run and takes no verdict away.

mod course;
mod error;
mod record;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(super) use course::{Clock, Course};
pub use error::SaveError;
pub(super) use record::Tuned;
use record::{Checkpoint, Record};

use crate::data::TargetData;
use crate::model::{Model, ModelError, Params};
use crate::plan::{Resolved, Tuning};
use crate::probe::Arm;
use crate::report::Tool;
use crate::store::{self, Digest};
use crate::tune::{self, tensorboard};

/// The list of what was saved.
const LIST: &str = "checkpoints.json";

/// Which fine-tunes a certification saves, and where. By default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Save {
    /// Folder for models as ONNX files.
    pub checkpoints: Option<PathBuf>,
    /// Folder for event files of TensorBoard.
    pub tensorboard: Option<PathBuf>,
    /// Those of the controls too: networks from scratch, untrained ones and references.
    pub controls: bool,
}

impl Save {
    /// Whether anything is saved.
    pub fn asked(&self) -> bool {
        self.checkpoints.is_some() || self.tensorboard.is_some()
    }

    fn wants(&self, arm: Arm) -> bool {
        self.asked() && (self.controls || arm == Arm::Source)
    }
}

/// What was saved.
#[derive(Debug, Default)]
pub struct Saved {
    /// How many models.
    pub checkpoints: usize,
    /// How many training curves.
    pub curves: usize,
    /// What kept the rest from being saved.
    pub failure: Option<SaveError>,
}

/// Saves the fine-tunes of one certification.
pub(crate) struct Saver<'a> {
    save: &'a Save,
    list: RefCell<Record>,
    saved: RefCell<Saved>,
}

impl<'a> Saver<'a> {
    /// Makes the folders. What cannot be saved, or is there already, is refused before anything is trained.
    pub(crate) fn begin(
        save: &'a Save,
        resolved: &Resolved,
        (model, references): (&Model, &[&Model]),
        data: &TargetData,
        tool: Tool,
    ) -> Result<Self, SaveError> {
        let wanted = || resolved.fine_tunes.iter().filter(move |fine_tune| save.wants(fine_tune.tuning.arm));
        let places = |path: fn(Tuning, usize) -> PathBuf| {
            wanted().flat_map(move |fine_tune| (0..fine_tune.seeds.most).map(move |seed| path(fine_tune.tuning, seed)))
        };
        if let Some(folder) = &save.checkpoints {
            vacant(folder, places(file).chain([LIST.into()]), SaveError::CHECKPOINTS)?;
            // Networks of fresh weights are made of the source's graph.
            let of = |arm: Arm| match arm {
                Arm::Reference(at) => references.get(usize::from(at)).copied(),
                Arm::Source | Arm::Scratch | Arm::Untrained(_) => Some(model),
            };
            let mut tried: Vec<&Digest> = Vec::new();
            for of in wanted().filter_map(|fine_tune| of(fine_tune.tuning.arm)) {
                if !tried.contains(&&of.identity.digest) {
                    tried.push(&of.identity.digest);
                    let unwritable = |error: ModelError| SaveError::Model { name: of.identity.name(), reason: error.to_string() };
                    writable(of, data.classes.len()).map_err(unwritable)?;
                }
            }
        }
        if let Some(folder) = &save.tensorboard {
            vacant(folder, places(run), SaveError::TENSORBOARD)?;
        }
        let list = RefCell::new(Record::new(resolved.policy, model, data, tool));
        Ok(Self { save, list, saved: RefCell::default() })
    }

    /// Whether the fine-tunes of an arm are saved.
    pub(super) fn wants(&self, arm: Arm) -> bool {
        self.save.wants(arm)
    }

    /// Whether their models are, as long as nothing failed.
    pub(super) fn wants_models(&self, arm: Arm) -> bool {
        self.save.checkpoints.is_some() && self.goes_on(arm)
    }

    /// Whether their training curves are.
    pub(super) fn wants_curves(&self, arm: Arm) -> bool {
        self.save.tensorboard.is_some() && self.goes_on(arm)
    }

    fn goes_on(&self, arm: Arm) -> bool {
        self.wants(arm) && self.saved.borrow().failure.is_none()
    }

    /// What a model's file says of itself.
    pub(super) fn notes(&self, tuned: &Tuned) -> BTreeMap<String, String> {
        self.list.borrow().notes(tuned)
    }

    /// Saves a model, and the list anew.
    pub(super) fn model(&self, tuned: &Tuned, onnx: &[u8]) -> Result<(), SaveError> {
        let Some(folder) = &self.save.checkpoints else { return Ok(()) };
        let name = file(tuned.tuning, tuned.seed);
        new(&folder.join(&name), onnx, SaveError::CHECKPOINTS)?;
        self.list.borrow_mut().add(Checkpoint::of(tuned, &name, onnx));
        let path = folder.join(LIST);
        let failed = |source| SaveError::Io { path: path.clone(), source, option: SaveError::CHECKPOINTS };
        let text = self.list.borrow().text().map_err(|error| failed(std::io::Error::other(error)))?;
        store::write_atomic(&path, &text).map_err(failed)?;
        self.saved.borrow_mut().checkpoints += 1;
        Ok(())
    }

    /// Saves how training went.
    pub(super) fn curve(&self, tuned: &Tuned, course: &Course) -> Result<(), SaveError> {
        let Some(folder) = &self.save.tensorboard else { return Ok(()) };
        let folder = folder.join(run(tuned.tuning, tuned.seed));
        let failed = |source| SaveError::Io { path: folder.clone(), source, option: SaveError::TENSORBOARD };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let since = course.started.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let bytes = tensorboard::events(course.started, &course.epochs, &course.ended, tuned.accuracy);
        new(&folder.join(format!("events.out.tfevents.{since}.heirloom")), &bytes, SaveError::TENSORBOARD)?;
        self.saved.borrow_mut().curves += 1;
        Ok(())
    }

    /// Saves no more; what to tell the user now.
    pub(super) fn fail(&self, error: SaveError) -> String {
        let text = format!("{error}; no more fine-tunes are saved, and what is judged stays as it is");
        self.saved.borrow_mut().failure.get_or_insert(error);
        text
    }

    /// What was saved.
    pub(super) fn saved(&self) -> Saved {
        self.saved.take()
    }
}

/// The parts of a fine-tune's name. The second selection of training images is `images2`.
fn parts(tuning: Tuning, seed: usize) -> impl Iterator<Item = String> {
    let images = (tuning.view > 0).then(|| format!("images{}", tuning.view + 1));
    [tuning.arm.to_string(), tuning.mode.to_string()].into_iter().chain(images).chain([format!("seed{seed}")])
}

/// A model's file: `source-full_network-seed3.onnx`.
fn file(tuning: Tuning, seed: usize) -> PathBuf {
    format!("{}.onnx", parts(tuning, seed).collect::<Vec<_>>().join("-")).into()
}

/// The folder of a training curve, which TensorBoard names it by: `source/full_network/seed3`.
fn run(tuning: Tuning, seed: usize) -> PathBuf {
    parts(tuning, seed).collect()
}

/// Makes a folder in which nothing lies at these places.
fn vacant(folder: &Path, mut places: impl Iterator<Item = PathBuf>, option: &'static str) -> Result<(), SaveError> {
    if folder.exists() && !folder.is_dir() {
        return Err(SaveError::NotAFolder { path: folder.to_owned(), option });
    }
    std::fs::create_dir_all(folder).map_err(|source| SaveError::Io { path: folder.to_owned(), source, option })?;
    // A link that leads nowhere is in the way too.
    let taken = |place: &PathBuf| std::fs::symlink_metadata(folder.join(place)).is_ok();
    places.find(taken).map_or(Ok(()), |place| Err(SaveError::Exists { path: folder.join(place), option }))
}

/// Writes a file that must not be there: another run may have written it meanwhile.
fn new(path: &Path, bytes: &[u8], option: &'static str) -> Result<(), SaveError> {
    store::write_new(path, bytes).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => SaveError::Exists { path: path.to_owned(), option },
        _ => SaveError::Io { path: path.to_owned(), source, option },
    })
}

/// Whether the fine-tunes of a network can be written: some operators have no ONNX, and a file has at most 2 GiB.
fn writable(model: &Model, classes: usize) -> Result<(), ModelError> {
    let (graph, ..) = model.with_head(classes)?;
    let mut arrays = model.own()?.params.0.clone();
    arrays.extend(tune::fresh_head(model.feature_layer.width, classes, 0, 0));
    model.export_tuned(&graph, &Params(arrays), BTreeMap::new()).map(drop)
}

#[cfg(test)]
mod tests;
