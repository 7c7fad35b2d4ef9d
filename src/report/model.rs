//! What a report says of checkpoints: the one under test, those that it is compared with, and what computed their features.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Bypass, InputSpec, Model};
use crate::probe::Arm;
use crate::registry::ModelRef;
use crate::store::Digest;

/// The checkpoint under test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// Which file.
    pub identity: ModelRef,
    /// What the file is, for people: `ONNX opset 17`.
    pub description: String,
    /// How many numbers may train; all of them where only its own runtime can run it.
    pub parameters: usize,
    /// What enters.
    pub input: InputSpec,
    /// Where features leave.
    pub features: Features,
    /// Nodes that lead from the image to the features around the weights: a network from scratch carries them too, and is no control for
    /// triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Bypass>,
    /// What computed the features of the frozen network.
    #[serde(default)]
    pub executor: Executor,
}

/// A trusted checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFacts {
    /// What its fine-tunes are called.
    pub arm: Arm,
    /// Its file.
    pub name: String,
    /// What that is known by.
    pub digest: Digest,
    /// What the file is, for people.
    pub description: String,
    /// How the images are normalised for it, and where that comes from.
    pub normalised: String,
    /// Whether its weights have the shapes of those of the checkpoint under test.
    pub same_architecture: bool,
    /// Whether the policy says that it is of the source's kind all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub said_kin: bool,
}

/// What computed the features of a frozen network. Whatever trains is computed by heirloom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Executor {
    /// `ONNX Runtime 1.32.0`, or `heirloom`.
    pub name: String,
    /// Why it was not ONNX Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far it and heirloom were apart, where both could compute the features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
}

/// Two executors on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The largest difference of their features, relative to the largest feature, to one digit.
    pub difference: f64,
    /// On how many images of the target task.
    pub images: usize,
    /// Where they are farther apart than rounding usually brings: how far the farther one is from float64 on one image, to one digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<f64>,
}

impl Default for Executor {
    /// That of reports from before there was a choice.
    fn default() -> Self {
        Self { name: "heirloom".into(), reason: None, agreement: None }
    }
}

/// Where features leave a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Name of the tensor.
    pub name: String,
    /// Features per image.
    pub width: usize,
    /// How the place was found.
    pub how: String,
}

impl From<&Model> for ModelFacts {
    fn from(model: &Model) -> Self {
        Self {
            identity: model.identity.clone(),
            description: model.description.clone(),
            parameters: model.network.as_ref().map_or_else(|opaque| opaque.parameters, |n| n.params.trainable(&n.graph)),
            input: model.input.clone(),
            features: Features {
                name: model.feature_layer.name.clone(),
                width: model.feature_layer.width,
                how: model.feature_layer.how.clone(),
            },
            bypass: model.bypass(),
            executor: Executor { name: model.executor(), reason: model.runtime.as_ref().err().cloned(), agreement: None },
        }
    }
}
