//! Architectures for files that carry weights only.
//!
//! A family knows how its tensors are named; how many stages, blocks and channels there are follows from the names and
//! shapes found in the file. One family, one file:
//!
//! | name (`--arch`, `heirloom.arch`) | tensors |
//! |---|---|
//! | `resnet` (also `resnet50`, `resnext50_32x4d`, ...) | torchvision's and timm's names |
//! | `resnet-hf` | Hugging Face Transformers' names |
//! | `resnet-cifar` (also `resnet20`, `resnet-cifar-20:16,32,64`) | ResNets for small pictures: 3x3 stem, no pooling |
//! | `efficientnet-lite` (also `efficientnet-lite0`) | EfficientNet-Lite, TensorFlow's padding |

mod config;
mod efficientnet_lite;
mod layers;
mod resnet;
mod resnet_cifar;
mod resnet_hf;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use thiserror::Error;

use super::{ChannelOrder, Preprocessing};
use crate::graph::{Graph, GraphError};
pub use config::Arguments;

/// Shapes of the tensors in a file, by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// An architecture family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// ResNet, `ResNeXt` and Wide ResNet under torchvision's names.
    ResNet,
    /// The same under Hugging Face Transformers' names.
    ResNetHf,
    /// ResNet for small pictures.
    ResNetCifar,
    /// EfficientNet-Lite.
    EfficientNetLite,
}

impl Family {
    const ALL: [Self; 4] = [Self::ResNet, Self::ResNetHf, Self::ResNetCifar, Self::EfficientNetLite];

    /// The name written to and read from `heirloom.arch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResNet => "resnet",
            Self::ResNetHf => "resnet-hf",
            Self::ResNetCifar => "resnet-cifar",
            Self::EfficientNetLite => "efficientnet-lite",
        }
    }

    /// Height and width that the family was published with, used where nothing else says.
    pub fn usual_size(self) -> [usize; 2] {
        match self {
            Self::ResNetCifar => [32, 32],
            _ => [224, 224],
        }
    }

    /// Normalisation that is part of the architecture's definition.
    pub fn preprocessing(self) -> Option<Preprocessing> {
        (self == Self::EfficientNetLite).then(|| Preprocessing {
            mean: [127.0 / 255.0; 3],
            std: [128.0 / 255.0; 3],
            order: ChannelOrder::Rgb,
            from: "EfficientNet-Lite: (value - 127) / 128".into(),
        })
    }

    /// The family that a name given by the user or found in a file means.
    pub fn named(name: &str) -> Result<Self, ArchError> {
        let plain = name.trim().to_lowercase().replace('_', "-");
        let small = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"];
        if plain.starts_with("resnet-cifar") || small.contains(&plain.as_str()) {
            Ok(Self::ResNetCifar)
        } else if plain == "resnet-hf" {
            Ok(Self::ResNetHf)
        } else if plain.starts_with("efficientnet-lite") || plain.starts_with("tf-efficientnet-lite") {
            Ok(Self::EfficientNetLite)
        } else if ["resnet", "resnext", "wide-resnet"].iter().any(|stem| plain.strip_prefix(stem).is_some_and(is_plain)) {
            Ok(Self::ResNet)
        } else {
            Err(ArchError::Unknown { name: name.into(), known: known() })
        }
    }

    /// The family whose tensor names these are.
    fn recognised(shapes: &Shapes) -> Result<Self, ArchError> {
        if shapes.contains_key("_conv_stem.weight") {
            return Ok(Self::EfficientNetLite);
        }
        if shapes.keys().any(|name| name.ends_with("embedder.embedder.convolution.weight")) {
            return Ok(Self::ResNetHf);
        }
        let Some(stem) = shapes.get("conv1.weight").filter(|_| shapes.keys().any(|name| name.starts_with("layer1.0."))) else {
            return Err(ArchError::NotRecognised { examples: examples(shapes), known: known() });
        };
        let kernel = stem.get(2).copied().unwrap_or(0);
        let four_stages = shapes.keys().any(|name| name.starts_with("layer4."));
        let downsample = shapes.keys().any(|name| name.contains(".downsample."));
        match (kernel, four_stages, downsample) {
            (7, ..) => Ok(Self::ResNet),
            (3, true, true) => Err(ArchError::Ambiguous),
            _ => Ok(Self::ResNetCifar),
        }
    }
}

/// Whether what follows `resnet` names one of the plain networks (`50`, `50-32x4d`, `50-2`, and a tag behind a dot): `50d`, `50-gn` and their
/// like compute something else.
fn is_plain(rest: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let name = rest.split_once('.').map_or(rest, |(name, _)| name);
    let (depth, width) = name.split_once('-').unwrap_or((name, "2"));
    let groups =
        width.strip_suffix('d').and_then(|width| width.split_once('x')).is_some_and(|(groups, width)| digits(groups) && digits(width));
    name.is_empty() || (digits(depth) && (width == "2" || groups))
}

/// What `config.json` says of a network beyond its tensors; `named`: the user named the architecture.
pub(super) fn arguments(family: Family, config: Option<&Value>, named: bool) -> Result<Arguments, ArchError> {
    config::read(family, config, named)
}

/// Refuses a name that says another depth than the tensors have: weights and their description got mixed up.
pub(super) fn same_depth(name: &str, from: &str, built: &Built) -> Result<(), ArchError> {
    let plain = name.trim().to_lowercase().replace('_', "-");
    let stems = ["wide-resnet", "resnext", "resnet-cifar-", "resnet"];
    let rest = stems.iter().find_map(|stem| plain.strip_prefix(stem)).unwrap_or_default();
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
    Family::ALL.map(Family::name).join(", ")
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
pub fn choose(shapes: &Shapes, hint: Option<Hint>) -> Result<Family, ArchError> {
    match hint {
        Some(Hint::User(name)) => Family::named(name),
        Some(Hint::File(name)) => {
            let said = Family::named(name)?;
            match Family::recognised(shapes) {
                Ok(seen) if matches!((said, seen), (Family::ResNet, Family::ResNetHf)) => Ok(seen),
                // `resnet20` of small pictures and `resnet` share their names; the shapes decide.
                Ok(seen) if matches!((said, seen), (Family::ResNet, Family::ResNetCifar)) => Ok(seen),
                _ => Ok(said),
            }
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

/// Builds the network that tensors of these names and shapes belong to, for pictures of `size` (height, width).
/// `arguments` is what they do not show.
pub fn from_shapes(family: Family, shapes: &Shapes, size: [usize; 2], arguments: &Arguments) -> Result<Built, ArchError> {
    let built = match family {
        Family::ResNet => resnet::build(shapes, size, arguments),
        Family::ResNetHf => resnet_hf::build(shapes, size, arguments),
        Family::ResNetCifar => resnet_cifar::build(shapes, size, arguments),
        Family::EfficientNetLite => efficientnet_lite::build(shapes, size),
    }?;
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
    /// Two families fit.
    #[error("a ResNet with a 3x3 stem and four stages: say with --arch whether pooling follows the stem (resnet) or not (resnet-cifar)")]
    Ambiguous,
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
    /// The network cannot take pictures of this size, or its parts do not fit.
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

/// What to try where the tensors are those of another architecture.
pub(super) fn fitting(fits: &[&str]) -> String {
    let named = fits.iter().map(|name| format!("--arch {name}")).collect::<Vec<_>>().join(" or ");
    if fits.is_empty() { String::new() } else { format!("\nthey fit another architecture: {named}") }
}

/// The names of all architectures whose networks have these tensors and no others.
pub fn fits(shapes: &Shapes) -> Vec<&'static str> {
    let whole = |family: &Family| {
        let built = from_shapes(*family, shapes, family.usual_size(), &Arguments::default());
        built.is_ok_and(|built| unused(&built.graph, shapes).is_empty())
    };
    Family::ALL.into_iter().filter(whole).map(Family::name).collect()
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
