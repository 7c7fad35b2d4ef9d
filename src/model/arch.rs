//! Architectures for files that carry weights only.
//!
//! A family knows how its tensors are named; how many stages, blocks and channels there are follows from the names and
//! shapes found in the file. One family is one file that says all about it, and one line in [`FAMILIES`].

mod config;
mod efficientnet_lite;
mod layers;
mod resnet;
mod resnet_cifar;
mod resnet_hf;
mod vgg;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use thiserror::Error;

use super::Preprocessing;
use crate::graph::{Graph, GraphError};
pub use config::Arguments;

/// Shapes of the tensors in a file, by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// A family of architectures: all that is known of it. There is one of each, in its own file.
pub struct Family {
    /// What `--arch` and the metadata `heirloom.arch` call it.
    pub name: &'static str,
    /// Which networks these are, and under whose names of tensors, for people.
    pub about: &'static str,
    /// Height and width that it was published with, used where nothing else says.
    pub usual_size: [usize; 2],
    /// Normalisation that is part of its definition.
    pub preprocessing: fn() -> Option<Preprocessing>,
    /// Whether a name given by the user or found in a file means it. The name is in lower case, words apart by `-`.
    is_called: fn(&str) -> bool,
    /// What stands before the depth in its names (`resnet` in `resnet50`), the longest first; none where names hold no depth.
    stems: &'static [&'static str],
    /// Families whose name in a file may mean this one: the tensors decide.
    within: &'static [&'static str],
    /// Whether tensors of these names and shapes are its.
    shows: fn(&Shapes) -> Likeness,
    /// What is asked of it that is not built here.
    left_out: fn(&Arguments) -> Arguments,
    /// The network that tensors of these names and shapes belong to, for images of a size (height, width).
    build: fn(&Shapes, [usize; 2], &Arguments) -> Result<Built, ArchError>,
}

/// All families.
pub static FAMILIES: [&Family; 5] = [&resnet::FAMILY, &resnet_hf::FAMILY, &resnet_cifar::FAMILY, &efficientnet_lite::FAMILY, &vgg::FAMILY];

/// Whether tensors are those of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// They are not.
    No,
    /// They are, and another family has the same names.
    Perhaps,
    /// They are.
    Yes,
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Family {
    /// The family that a name given by the user or found in a file means.
    pub fn named(name: &str) -> Result<&'static Self, ArchError> {
        let plain = plain(name);
        let found = FAMILIES.into_iter().find(|family| plain == family.name || (family.is_called)(&plain));
        found.ok_or_else(|| ArchError::Unknown { name: name.into(), known: known() })
    }

    /// The family whose tensors these are.
    fn recognised(shapes: &Shapes) -> Result<&'static Self, ArchError> {
        let of = |likeness| FAMILIES.into_iter().filter(move |family| (family.shows)(shapes) == likeness).collect::<Vec<_>>();
        match (of(Likeness::Yes).as_slice(), of(Likeness::Perhaps).as_slice()) {
            ([one], _) => Ok(one),
            ([], []) => Err(ArchError::NotRecognised { examples: examples(shapes), known: known() }),
            (several, []) | (_, several) => Err(ArchError::Ambiguous { families: several.iter().map(|f| (f.name, f.about)).collect() }),
        }
    }
}

/// A name in lower case, its words apart by `-`.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace('_', "-")
}

/// What `config.json` says of a network beyond its tensors; `named`: the user named the architecture.
pub(super) fn arguments(family: &Family, config: Option<&Value>, named: bool) -> Result<Arguments, ArchError> {
    config::read(family, config, named)
}

/// Refuses a name that says another depth than the tensors have: weights and their description got mixed up.
pub(super) fn same_depth(name: &str, from: &str, built: &Built) -> Result<(), ArchError> {
    let plain = plain(name);
    // Of two that fit, the longer one: `resnet-cifar-20` is no `resnet` of depth `-cifar-20`.
    let stems = FAMILIES.into_iter().flat_map(|family| family.stems);
    let rest = stems.filter_map(|stem| plain.strip_prefix(stem)).min_by_key(|rest| rest.len()).unwrap_or_default();
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let said = digits(rest);
    let found = built.description.split_once('-').map(|(_, rest)| digits(rest)).unwrap_or_default();
    if said.is_empty() || found.is_empty() || said == found {
        return Ok(());
    }
    let built = &built.description;
    Err(ArchError::Unsupported(format!(
        "{from} names `{name}`, and the weights are those of a {built}: one of the two is of another model"
    )))
}

fn known() -> String {
    FAMILIES.map(|family| family.name).join(", ")
}

fn examples(shapes: &Shapes) -> String {
    let names: Vec<&str> = shapes.keys().take(3).map(String::as_str).collect();
    names.join(", ")
}

/// What the file or the user says the architecture is.
#[derive(Clone, Copy, Debug)]
pub enum Hint<'a> {
    /// Binding: `--arch`.
    User(&'a str),
    /// From `config.json` or the file's own metadata; a Hugging Face `resnet` may carry either naming.
    File(&'a str),
}

/// Chooses the family: what the user says, else what the tensor names show; what the file says must agree with them.
pub fn choose(shapes: &Shapes, hint: Option<Hint>) -> Result<&'static Family, ArchError> {
    match hint {
        Some(Hint::User(name)) => Family::named(name),
        Some(Hint::File(name)) => {
            let said = Family::named(name)?;
            let seen = Family::recognised(shapes).ok().filter(|seen| seen.within.contains(&said.name));
            Ok(seen.unwrap_or(said))
        }
        None => Family::recognised(shapes),
    }
}

/// An architecture with the sizes found in a file.
#[derive(Clone, Debug)]
pub struct Built {
    /// The network; every slot is a tensor of the file.
    pub graph: Graph,
    /// For people: `ResNet-20 (CIFAR)`.
    pub description: String,
}

/// Builds the network that tensors of these names and shapes belong to, for images of `size` (height, width).
/// `arguments` is what they do not show.
pub fn from_shapes(family: &Family, shapes: &Shapes, size: [usize; 2], arguments: &Arguments) -> Result<Built, ArchError> {
    let built = (family.build)(shapes, size, arguments)?;
    Ok(Built { description: format!("{}{}", built.description, arguments.told()), ..built })
}

/// Builds a network from a name, to be trained from fresh weights: `resnet-cifar-DEPTH` with three stages of 16, 32 and
/// 64 channels, or `resnet-cifar-DEPTH:W1,W2,...` with one stage per width. The depth is
/// `2 * stages * blocks + 2`: `resnet-cifar-20`, `resnet-cifar-8:8,16,32`. Tensor names are those that
/// [`from_shapes`] recognises.
pub fn build(name: &str, classes: usize, size: [usize; 2]) -> Result<Graph, ArchError> {
    let (widths, blocks) = resnet_cifar::parse(name)?;
    small_resnet(&widths, blocks, classes, size)
}

/// The small ResNet of [`build`] with these widths (one stage each) and `blocks` blocks per stage.
pub fn small_resnet(widths: &[usize], blocks: usize, classes: usize, size: [usize; 2]) -> Result<Graph, ArchError> {
    Ok(resnet_cifar::build(&resnet_cifar::shapes(widths, blocks, classes)?, size, &Arguments::default())?.graph)
}

/// Why no network can be built.
#[derive(Debug, Error)]
pub enum ArchError {
    /// A name that means nothing here.
    #[error("architecture `{name}` is not known (known: {known}); export the model to ONNX instead")]
    Unknown {
        /// As given.
        name: String,
        /// What there is.
        known: String,
    },
    /// Tensor names of no known family.
    #[error("the tensor names ({examples}, ...) are of no known architecture ({known}); export the model to ONNX, or name it with --arch")]
    NotRecognised {
        /// A few of them.
        examples: String,
        /// What there is.
        known: String,
    },
    /// Several families fit.
    #[error("the tensor names are those of several architectures; say which: {}", either(families))]
    Ambiguous {
        /// Their names, and which networks they are.
        families: Vec<(&'static str, &'static str)>,
    },
    /// Tensors that should be there or look otherwise.
    #[error("the weights do not fit {family}:{}{}", list(&[("missing", missing), ("shape", wrong), ("unused", unused)]), fitting(fits))]
    Tensors {
        /// Which architecture was assumed.
        family: &'static str,
        /// Names of tensors that are not in the file.
        missing: Vec<String>,
        /// Name, shape found and what was expected.
        wrong: Vec<String>,
        /// Names of tensors that have no place.
        unused: Vec<String>,
        /// Architectures that the tensors are those of.
        fits: Vec<&'static str>,
    },
    /// A name for [`build`] that cannot be read.
    #[error("`{name}`: {reason}; write resnet-cifar-20 or resnet-cifar-8:8,16,32 (depth = 2 * stages * blocks + 2)")]
    Spec {
        /// As given.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Something about the architecture that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// The network cannot take images of this size, or its parts do not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Most names of a kind that are listed: of another architecture all are wrong, and the first few show it.
const LISTED: usize = 5;

/// The first few names of each kind, a line for each, and how many more there are.
pub(super) fn list(topics: &[(&str, &[String])]) -> String {
    let lines = topics.iter().flat_map(|(topic, names)| {
        let more = names.len().saturating_sub(LISTED);
        let more = (more > 0).then(|| format!("\n  {topic:<9}and {more} more"));
        names.iter().take(LISTED).map(move |name| format!("\n  {topic:<9}{name}")).chain(more)
    });
    lines.collect()
}

fn either(families: &[(&str, &str)]) -> String {
    families.iter().map(|(name, about)| format!("--arch {name} ({about})")).collect::<Vec<_>>().join(" or ")
}

/// What to try where the tensors are those of another architecture.
pub(super) fn fitting(fits: &[&str]) -> String {
    let named = fits.iter().map(|name| format!("--arch {name}")).collect::<Vec<_>>().join(" or ");
    if fits.is_empty() { String::new() } else { format!("\nthey fit another architecture: {named}") }
}

/// The names of all architectures whose networks have these tensors and no others.
pub fn fits(shapes: &Shapes) -> Vec<&'static str> {
    let whole = |family: &Family| {
        let built = from_shapes(family, shapes, family.usual_size, &Arguments::default());
        built.is_ok_and(|built| unused(&built.graph, shapes).is_empty())
    };
    FAMILIES.into_iter().filter(|family| whole(family)).map(|family| family.name).collect()
}

/// The tensors that a network has no place for, but counters, which no network computes with.
pub fn unused(graph: &Graph, shapes: &Shapes) -> Vec<String> {
    let wanted: BTreeSet<&str> = graph.slots().iter().map(|slot| slot.name.as_str()).collect();
    shapes.keys().filter(|name| !wanted.contains(name.as_str()) && !name.ends_with("num_batches_tracked")).cloned().collect()
}

impl ArchError {
    /// The same, with what else the tensors fit.
    pub(super) fn with_fits(mut self, shapes: &Shapes) -> Self {
        if let Self::Tensors { fits, .. } = &mut self {
            *fits = self::fits(shapes);
        }
        self
    }
}

#[cfg(test)]
mod tests;
