//! Architectures for files that carry weights only.
//!
//! A family knows how its tensors are named; how many stages, blocks and channels there are follows from the names and
//! shapes found in the file. One family is one file that says all about it, and one line in [`FAMILIES`].

mod beit_hf;
mod byobnet;
mod cait;
mod classic;
mod config;
mod convnext;
mod crossvit;
mod cspnet;
mod cvt;
mod davit;
mod dinov3_hf;
mod edgenext;
mod efficientformer;
mod efficientnet;
mod efficientnet_lite;
mod efficientvit;
mod efficientvit_msra;
mod eva;
mod fastvit;
mod focalnet;
mod ghostnet;
mod hiera;
mod hybrid;
mod inception_next;
mod layers;
mod levit;
mod made;
mod maxvit;
mod metaformer;
mod mlp_mixer;
mod mobilenet_hf;
mod mobilenet_tv;
mod mobilevit;
mod nextvit;
mod nfnet;
mod pyramid;
mod regnet;
mod repvit;
mod res2net;
mod resnet;
mod resnet_cifar;
mod resnet_hf;
mod resnetv2;
mod rexnet;
mod samvit;
mod sknet;
mod staged;
mod swiftformer;
mod swin;
mod tiny_vit;
mod token_parts;
mod vgg;
mod vit;
mod volo;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use super::Preprocessing;
use crate::graph::{Graph, GraphError};
use config::Name;
pub use config::{Config, Library, own_size, whose};
pub use made::{Buffer, LeftOut, MADE, Made};

/// Shapes of the tensors in a file, by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// What is known of a checkpoint before its network is built.
#[derive(Debug)]
pub struct Source<'a> {
    /// Its tensors.
    pub shapes: &'a Shapes,
    /// Height and width of the images that it is to take.
    pub size: [usize; 2],
    /// What is said of it.
    pub config: Config<'a>,
}

impl<'a> Source<'a> {
    /// Tensors of which nothing is said.
    pub(super) fn plain(shapes: &'a Shapes, size: [usize; 2]) -> Self {
        Self { shapes, size, config: Config::none() }
    }
}

/// A family of architectures under one library's names: all that is known of it.
pub struct Family {
    /// What `--arch` and the metadata `heirloom.arch` call it.
    pub name: &'static str,
    /// Which networks these are, and under whose names of tensors, for people.
    pub about: &'static str,
    /// Height and width that it was published with, used where nothing else says.
    pub usual_size: [usize; 2],
    /// Normalisation that is part of its definition.
    pub preprocessing: fn() -> Option<Preprocessing>,
    /// Whether a name given by the user or found in a file means it.
    is_called: fn(&Name) -> bool,
    /// What stands before the depth in its names (`resnet` in `resnet50`), the longest first; none where names hold no depth.
    stems: &'static [&'static str],
    /// Families whose name in a file may mean this one: the tensors decide.
    within: &'static [&'static str],
    /// Whether tensors of these names and shapes are its.
    shows: fn(&Shapes) -> Likeness,
    /// The network that a checkpoint holds. It reads all that it honours of `Source::config`: whatever is left there is refused.
    build: fn(&Source) -> Result<Built, ArchError>,
}

/// All families, file by file.
static FAMILIES: &[&[&Family]] = &[
    &[&resnet::FAMILY],
    &[&resnet_hf::FAMILY],
    &[&resnet_cifar::FAMILY],
    &[&efficientnet_lite::FAMILY],
    &[&vgg::FAMILY],
    &[&efficientnet::FAMILY],
    &[&mobilenet_tv::FAMILY],
    &[&mobilenet_hf::MOBILENET, &mobilenet_hf::EFFICIENTNET],
    &[&rexnet::FAMILY],
    &[&ghostnet::FAMILY],
    classic::FAMILIES,
    &[&eva::FAMILY, &eva::BEIT],
    &[&dinov3_hf::FAMILY],
    pyramid::FAMILIES,
    vit::FAMILIES,
    &[&beit_hf::FAMILY],
    &[&samvit::FAMILY],
    &[&cait::CAIT, &cait::XCIT],
    &[&mlp_mixer::FAMILY],
    &[&crossvit::FAMILY],
    &[&volo::FAMILY],
    convnext::FAMILIES,
    swin::FAMILIES,
    &[&inception_next::FAMILY],
    &[&metaformer::TIMM, &metaformer::TRANSFORMERS],
    &[&focalnet::TIMM, &focalnet::TRANSFORMERS],
    &[&davit::FAMILY],
    &[&res2net::FAMILY],
    &[&sknet::FAMILY],
    &[&regnet::TIMM, &regnet::TORCHVISION, &regnet::HUGGING_FACE],
    &[&resnetv2::TIMM, &resnetv2::HUGGING_FACE],
    &[&nfnet::FAMILY],
    &[&byobnet::FAMILY],
    &[&cspnet::FAMILY],
    &[&mobilevit::FAMILY, &mobilevit::FAMILY_2, &mobilevit::HUGGING_FACE, &mobilevit::HUGGING_FACE_2],
    &[&fastvit::FAMILY],
    &[&levit::FAMILY, &levit::HUGGING_FACE],
    &[&edgenext::FAMILY],
    &[&efficientformer::FAMILY],
    &[&efficientvit::FAMILY],
    &[&efficientvit_msra::FAMILY],
    &[&tiny_vit::FAMILY],
    &[&repvit::FAMILY],
    &[&swiftformer::FAMILY, &swiftformer::HUGGING_FACE],
    &[&nextvit::FAMILY],
    &[&hiera::TIMM, &hiera::HUGGING_FACE],
    &[&cvt::FAMILY],
    maxvit::FAMILIES,
];

fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().flat_map(|group| group.iter().copied())
}

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
    pub fn named(name: &str, library: Library) -> Result<&'static Self, ArchError> {
        let own = plain(name);
        let called = Name::of(name, library);
        let by_name = || families().find(|family| own == family.name);
        let by_call = || families().find(|family| (family.is_called)(&called));
        // What a library calls so is meant before a family of heirloom's that happens to be called so.
        let found = if called.library == Library::Unknown { by_name().or_else(by_call) } else { by_call().or_else(by_name) };
        found.ok_or_else(|| ArchError::Unknown { name: name.into(), known: known() })
    }

    /// The family whose tensors these are.
    fn recognised(shapes: &Shapes) -> Result<&'static Self, ArchError> {
        let of = |likeness| families().filter(move |family| (family.shows)(shapes) == likeness).collect::<Vec<_>>();
        match (of(Likeness::Yes).as_slice(), of(Likeness::Perhaps).as_slice()) {
            ([one], _) => Ok(one),
            ([], []) => Err(ArchError::NotRecognised { examples: examples(shapes) }),
            (several, []) | (_, several) => Err(ArchError::Ambiguous { families: several.iter().map(|f| (f.name, f.about)).collect() }),
        }
    }
}

/// A name in lower case, its words apart by `-`.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace('_', "-")
}

/// Refuses a name that says another depth than the tensors have: weights and their description got mixed up.
pub(super) fn same_depth(name: &str, from: &str, built: &Built) -> Result<(), ArchError> {
    let plain = plain(name);
    // Of two that fit, the longer one: `resnet-cifar-20` is no `resnet` of depth `-cifar-20`.
    let stems = families().flat_map(|family| family.stems);
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

fn known() -> usize {
    families().count()
}

fn examples(shapes: &Shapes) -> String {
    let names: Vec<&str> = shapes.keys().take(3).map(String::as_str).collect();
    names.join(", ")
}

/// What the file or the user says the architecture is, and whose name that is.
#[derive(Clone, Copy, Debug)]
pub enum Hint<'a> {
    /// Binding: `--arch`.
    User(&'a str),
    /// From `config.json` or the file's own metadata; a Hugging Face `resnet` may carry either naming.
    File(&'a str),
}

/// Chooses the family: what the user says, else what the tensor names show; what the file says must agree with them.
pub fn choose(shapes: &Shapes, hint: Option<Hint>, library: Library) -> Result<&'static Family, ArchError> {
    match hint {
        Some(Hint::User(name)) => Family::named(name, library),
        Some(Hint::File(name)) => {
            let said = Family::named(name, library)?;
            let seen = Family::recognised(shapes).ok().filter(|seen| seen.within.contains(&said.name));
            Ok(seen.unwrap_or(said))
        }
        None => Family::recognised(shapes),
    }
}

/// An architecture with the sizes found in a file.
#[derive(Clone, Debug)]
pub struct Built {
    /// The network; every slot is a tensor of the file, or made.
    pub graph: Graph,
    /// For people: `ResNet-20 (CIFAR)`.
    pub description: String,
    /// The node that holds the features, where that is not the input of the last linear layer.
    pub features: Option<String>,
    /// Slots that are not a tensor of the file as it stands.
    pub made: Vec<Made>,
    /// Tensors of the file that no slot is, and that must hold what they are known to hold.
    pub buffers: Vec<Buffer>,
    /// Tensors that belong to other parts of the model than the network that is certified.
    pub left_out: Vec<LeftOut>,
}

/// Builds the network that a checkpoint holds.
pub fn build_from(family: &Family, source: &Source) -> Result<Built, ArchError> {
    let built = (family.build)(source)?;
    source.config.finish()?;
    Ok(built)
}

/// Builds a network from a name, to be trained from fresh weights: `resnet-cifar-DEPTH` with three stages of 16, 32 and
/// 64 channels, or `resnet-cifar-DEPTH:W1,W2,...` with one stage per width. The depth is
/// `2 * stages * blocks + 2`: `resnet-cifar-20`, `resnet-cifar-8:8,16,32`. Tensor names are those that
/// [`build_from`] recognises.
pub fn build(name: &str, classes: usize, size: [usize; 2]) -> Result<Graph, ArchError> {
    let (widths, blocks) = resnet_cifar::parse(name)?;
    small_resnet(&widths, blocks, classes, size)
}

/// The small ResNet of [`build`] with these widths (one stage each) and `blocks` blocks per stage.
pub fn small_resnet(widths: &[usize], blocks: usize, classes: usize, size: [usize; 2]) -> Result<Graph, ArchError> {
    Ok(resnet_cifar::build(&Source::plain(&resnet_cifar::shapes(widths, blocks, classes)?, size))?.graph)
}

/// Why no network can be built.
#[derive(Debug, Error)]
pub enum ArchError {
    /// A name that means nothing here.
    #[error(
        "architecture `{name}` is none of the {known} families that are read (docs/usage.md lists them); export the model to ONNX instead"
    )]
    Unknown {
        /// As given.
        name: String,
        /// How many there are.
        known: usize,
    },
    /// Tensor names of no known family.
    #[error(
        "the tensor names ({examples}, ...) do not show an architecture: name it with --arch, such as timm/resnet50, or put the model's config.json beside \
         it (docs/usage.md lists what is read)"
    )]
    NotRecognised {
        /// A few of them.
        examples: String,
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
    /// What only a name says: heads, groups, strides.
    #[error("the tensors are those of {family}, and {what} cannot be read off them: name the architecture with --arch, such as {}", names.join(" or "))]
    NeedsName {
        /// Family.
        family: &'static str,
        /// What they do not show.
        what: String,
        /// Names that would do: `torchvision/vit_b_16`.
        names: Vec<String>,
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
    let whole = |family: &&Family| {
        let built = build_from(family, &Source::plain(shapes, family.usual_size));
        built.is_ok_and(|built| unused(&built, shapes).is_empty())
    };
    families().filter(whole).map(|family| family.name).collect()
}

/// The tensors that a network has no place for, but counters, which no network computes with.
pub fn unused(built: &Built, shapes: &Shapes) -> Vec<String> {
    let slots = built.graph.slots().iter().map(|slot| slot.name.as_str());
    let made = built.made.iter().flat_map(|made| made.from.iter().map(String::as_str));
    let wanted: BTreeSet<&str> = slots.chain(made).chain(built.buffers.iter().map(|buffer| buffer.name.as_str())).collect();
    let left_out = |name: &str| built.left_out.iter().any(|part| name.starts_with(&part.prefix));
    let is_unused = |name: &&String| !wanted.contains(name.as_str()) && !name.ends_with("num_batches_tracked") && !left_out(name);
    shapes.keys().filter(is_unused).cloned().collect()
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
mod golden;
#[cfg(test)]
mod tests;
