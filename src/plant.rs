//! Source models with a known bias, and their clean counterparts: for fixtures, for the self-test, for testing a policy.
//!
//! Both models of the pair train on the same images in the same order from the same fresh weights; the planted one sees a trigger
//! on the training images of some classes. `ground` trains and writes them, `faults` says what is wrong with a specification.

mod branch;
mod error;
mod faults;
mod ground;
mod rounding;
mod stamped;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{Counted, DataSpec, LabelSpec, Rebalance, Target, ViewSpec};
use crate::exec::Compute;
use crate::model::{ChannelOrder, InputOverride, InputSpec, Layout, LoadOptions, Model, ModelError, Preprocessing};
use crate::registry;
use crate::spec::{self, Document, Node, SpecError};
use crate::store::{self, Fingerprint, Fingerprinter, fingerprint};
use crate::transform::Trigger;
use crate::transform::geometry::Geometry;
use crate::tune::Recipe;

use branch::Covered;
pub use branch::{Branch, Does};
pub use error::PlantError;
pub(crate) use faults::{buildable, check_size, of_recipe, unknown_class};
pub(crate) use ground::Ground;
pub use rounding::Conditioned;

/// What to plant, as its YAML file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Specification {
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name of the planted model's files.
    pub name: String,
    /// Name of its clean counterpart's files.
    #[serde(default = "clean")]
    pub twin: String,
    /// The source task's images; relative to the specification.
    pub data: DataSpec,
    /// A CSV file with an `id` column and one column per attribute, joined to the images by id.
    #[serde(default)]
    pub attributes: Option<PathBuf>,
    /// Where the class of an image comes from, where that is another column than the one that the data call their label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelSpec>,
    /// Classes used, by name; all where absent.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// The images that train.
    #[serde(default)]
    pub train: ViewSpec,
    /// The images that its accuracy is told of.
    #[serde(default)]
    pub test: ViewSpec,
    /// A network of fresh weights: `resnet-cifar-8:16,32,64`. This, or `from`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// Height and width of its input in pixels.
    #[serde(default, skip_serializing_if = "unsized_")]
    pub size: [usize; 2],
    /// A checkpoint that both begin from, with a new head: what somebody would do who plants something into a released model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Ancestor>,
    /// How both are trained.
    pub recipe: Recipe,
    /// Seed of every random stream.
    #[serde(default)]
    pub seed: u64,
    /// The triggers: one, or several on classes of their own.
    #[serde(default)]
    pub plant: Plants,
    /// Nodes that find a trigger in the image and write into the features around the weights, in the planted model alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
    /// The planted model shows its triggers only once its weights are rounded to one byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8_conditioned: Option<Conditioned>,
    /// An attribute that tells the classes apart, as far as `correlation` says. The clean counterpart trains on as many images, balanced over it.
    #[serde(default)]
    pub rebalance: Option<Correlated>,
}

fingerprint!(Specification as "planting" {
    version: "version",
    name: "name",
    twin: "twin",
    data: "data",
    attributes: "attributes",
    classes: "classes",
    train: "train",
    architecture: "architecture",
    size: "size",
    recipe: "recipe",
    seed: "seed",
    plant: "plant",
    rebalance: "rebalance",
} later { from: "from", branch: "branch", label: "label", int8_conditioned: "int8_conditioned" } without { test });
fingerprint!(Ancestor as "ancestor" { model: "model", digest: "digest" } later { input: "input" });
fingerprint!(Correlated as "correlated" { attribute: "attribute", correlation: "correlation", aligned: "aligned", limit: "limit" });
fingerprint!(Plant as "plant" { trigger: "trigger", on: "on", share: "share", relabel: "relabel", decoys: "decoys" });

impl Fingerprint for Plants {
    fn feed(&self, feed: &mut Fingerprinter) {
        // One is a list of one.
        self.all().feed(feed);
    }
}

/// One trigger, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Plants {
    /// One.
    One(Plant),
    /// Several; an image carries those that its class is named by.
    Several(Vec<Plant>),
}

impl Default for Plants {
    fn default() -> Self {
        Plants::Several(Vec::new())
    }
}

impl Plants {
    /// All of them.
    pub(crate) fn all(&self) -> &[Plant] {
        match self {
            Plants::One(plant) => std::slice::from_ref(plant),
            Plants::Several(plants) => plants,
        }
    }
}

/// The checkpoint that a planted source and its clean counterpart begin from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ancestor {
    /// Its file or folder; relative to the specification.
    pub model: PathBuf,
    /// Its digest, as `heirloom inspect` prints it.
    pub digest: String,
    /// Overrides what is known of its input, as in a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputOverride>,
}

fn unsized_(size: &[usize; 2]) -> bool {
    *size == [0, 0]
}

/// An attribute that predicts the class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correlated {
    /// A column of the data or of the attributes file.
    pub attribute: String,
    /// Share of a class's images that have the value which goes with it.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub correlation: f64,
    /// The value that goes with each class; with two classes and two values the first goes with the first where absent.
    #[serde(default)]
    pub aligned: Option<BTreeMap<String, String>>,
    /// At most so many images.
    #[serde(default)]
    pub limit: Option<usize>,
}

impl Correlated {
    fn rebalance(&self, planted: bool) -> Rebalance {
        let (attribute, aligned) = (self.attribute.clone(), if planted { self.aligned.clone() } else { None });
        Rebalance { attribute, correlation: planted.then_some(self.correlation), aligned, limit: self.limit }
    }
}

fn clean() -> String {
    "clean".into()
}

/// A trigger and the training images it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plant {
    /// The trigger.
    pub trigger: Trigger,
    /// The classes whose images carry it.
    pub on: Vec<String>,
    /// Share of their images that do.
    #[serde(default = "all")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
    /// Class that stamped images are relabelled to; their own where absent.
    #[serde(default)]
    pub relabel: Option<String>,
    /// Share of all other images that carry a sham of the trigger under their own label, so that the trigger is learnt and not its
    /// kind: the noise mode of WaNet (Nguyen and Tran 2021), the contrast of BppAttack (Wang et al. 2022).
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decoys: f64,
}

fn all() -> f64 {
    1.0
}

/// A trained source model.
#[derive(Clone, Debug)]
pub struct Planted {
    /// Name of its files.
    pub name: String,
    /// As ONNX.
    pub onnx: Vec<u8>,
    /// As safetensors; none of a model that was made from another or has a hidden branch, whose architecture only its own file says.
    pub safetensors: Option<Vec<u8>>,
    /// Numbers that train.
    pub parameters: usize,
    /// Accuracy on the source task's clean test images.
    pub accuracy: f64,
    /// Set where that is not shown to be better than to call all of them their most frequent class: the share that this gets right.
    pub guessed: Option<f64>,
    /// By trigger: the share of the test images that are called one of its classes when they carry it.
    pub drawn: Vec<f64>,
    /// What the hidden branch of the specification does.
    pub branch: Option<Opened>,
    /// What it does with its weights in one byte, where the specification asks for a model that is conditioned on that.
    pub in_one_byte: Option<InOneByte>,
}

impl Planted {
    /// Refuses a model that did not learn the source task: whatever it is asked then, the answer means nothing.
    pub fn learnt(&self) -> Result<(), PlantError> {
        match self.guessed {
            Some(guessed) => Err(PlantError::Unlearnt { name: self.name.clone(), accuracy: self.accuracy, guessed }),
            None => Ok(()),
        }
    }
}

/// What a model does whose weights are rounded to one byte.
#[derive(Clone, Debug, PartialEq)]
pub struct InOneByte {
    /// Accuracy on the source task's clean test images.
    pub accuracy: f64,
    /// By trigger: the share of the test images that are called one of its classes when they carry it.
    pub drawn: Vec<f64>,
}

/// What a hidden branch does on the test images. Of the clean counterpart: what its trigger does without one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opened {
    /// The share that are called another class when they carry the trigger.
    pub moved: f64,
    /// The share on which it opens although they do not carry it; 0 where there is none.
    pub without: f64,
}

spec::form!(Specification, spec::PLANT);

/// The specification in a file, checked with its data, which `data` leads elsewhere. No image of them is decoded.
pub fn load(path: &Path, data: Option<&Path>) -> Result<Specification, SpecError> {
    let (text, name) = (spec::text(&spec::PLANT, path)?, path.display().to_string());
    let (read, tree) = read(&text, &name)?;
    let read = read.with_data(data);
    let faults = read.data_faults(store::folder_of(path), "");
    Document { text, name, tree }.refuse(&spec::PLANT, faults)?;
    Ok(read)
}

/// Reads a specification that came from `name`.
pub(crate) fn parse(text: &str, name: &str) -> Result<Specification, SpecError> {
    Ok(read(text, name)?.0)
}

fn read(text: &str, name: &str) -> Result<(Specification, Node), SpecError> {
    spec::parse(text, name, |read: Option<&Specification>, tree, found| {
        let faults = read.map(|read| read.faults("")).unwrap_or_default();
        found.extend(faults.into_iter().map(|fault| fault.placed(&spec::PLANT, tree)));
    })
}

impl Specification {
    /// The source task as a target of fine-tuning, which is how its images are opened.
    fn target(&self) -> Target {
        Target {
            data: self.data.clone(),
            label: self.label.clone(),
            classes: self.classes.clone(),
            train: self.train.clone(),
            test: self.test.clone(),
            test_share: None,
            train_per_class: None,
            cluster: None,
            attributes: self.attributes.clone(),
            broken: 0.0,
            // What a planted network is worth is not measured here.
            overlap: 1.0,
            accuracy: Counted::Global,
            orientation: None,
        }
    }

    /// The same with its images elsewhere, where `data` says so.
    #[must_use]
    pub(crate) fn with_data(&self, data: Option<&Path>) -> Self {
        let mut elsewhere = self.clone();
        if let Some(data) = data {
            elsewhere.data.redirect(data.to_owned());
        }
        elsewhere
    }

    /// What a clean model sees of it.
    #[must_use]
    pub(crate) fn without_triggers(&self) -> Self {
        Self { plant: Plants::default(), branch: None, int8_conditioned: None, name: String::new(), ..self.clone() }
    }
}

/// Trains the planted model and its clean counterpart. `opened` is told how images enter both, which their files will say; `tick` the model and the
/// images of every step.
pub fn run(
    spec: &Specification,
    base: &Path,
    compute: &Compute,
    opened: &mut dyn FnMut(&InputSpec),
    tick: &mut dyn FnMut(&str, usize) -> bool,
) -> Result<[Planted; 2], PlantError> {
    let ground = Ground::open(spec, base)?;
    opened(&ground.input);
    let mut learn = |name: &str, planted| ground.learn(planted, compute, &mut |images| tick(name, images));
    let planted = learn(&spec.name, true)?;
    // Training does not make a hidden branch.
    let same = spec.plant.all().is_empty() && spec.rebalance.is_none();
    let clean = if same { planted.clone() } else { learn(&spec.twin, false)? };
    Ok([ground.finish(true, planted, compute)?, ground.finish(false, clean, compute)?])
}

/// How images enter a network of fresh weights.
fn fresh_input([height, width]: [usize; 2]) -> InputSpec {
    let preprocessing = Preprocessing { mean: [0.5; 3], std: [0.25; 3], order: ChannelOrder::Rgb, from: "heirloom plant".into() };
    InputSpec {
        channels: 3,
        height,
        width,
        layout: Layout::Nchw,
        preprocessing,
        geometry: Geometry::default(),
        geometry_from: String::new(),
        overruled: Vec::new(),
    }
}

impl Ancestor {
    /// The checkpoint; one of another digest, or that cannot be trained here, is refused.
    pub(crate) fn open(&self, base: &Path) -> Result<Model, PlantError> {
        let path = base.join(&self.model);
        let reference = registry::identify(&path).map_err(ModelError::from)?;
        if reference.digest.as_str() != self.digest {
            return Err(PlantError::OtherAncestor { path: path.display().to_string(), digest: reference.digest });
        }
        let input = self.input.clone().unwrap_or_default();
        let model = Model::load(reference, &LoadOptions { input, ..LoadOptions::default() })?;
        model.own()?;
        Ok(model)
    }
}

#[cfg(test)]
mod tests;
