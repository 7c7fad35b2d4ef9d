//! What a checkpoint is, for people and scripts: the data behind `heirloom inspect`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bypass, InputSpec, LoadOptions, Model, ModelError, Network, bypass};
use crate::graph::Op;
use crate::registry::ModelRef;

/// A checkpoint described.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Which file.
    pub identity: ModelRef,
    /// What the file is: `safetensors, ResNet-20 (CIFAR)`.
    pub description: String,
    /// Numbers in all tensors.
    pub parameters: usize,
    /// Those that fine-tuning may change.
    pub trainable: usize,
    /// What enters.
    pub input: InputSpec,
    /// Where features leave.
    #[serde(rename = "cut")]
    pub feature_layer: FeatureLayerSummary,
    /// How many operators of each kind, by name; parameters and the input are not counted.
    pub operators: BTreeMap<String, usize>,
    /// What can be certified.
    pub modes: Vec<ModeSummary>,
    /// Nodes that lead from the image to the features around the weights, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Bypass>,
    /// That such nodes could not be looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_searched: Option<String>,
    /// What would compute the features of the frozen network: `ONNX Runtime 1.32.0`, or `heirloom`.
    pub executor: String,
    /// Why that is not ONNX Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_reason: Option<String>,
}

/// [`super::FeatureLayer`] without the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureLayerSummary {
    /// The tensor in the file.
    pub name: String,
    /// Features per image.
    pub width: usize,
    /// How it was found.
    pub how: String,
}

/// Whether a mode of transfer can be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeSummary {
    /// `fixed_feature` or `full_network`.
    pub mode: String,
    /// Whether it can.
    pub possible: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Loads a checkpoint to describe it.
pub fn inspect(reference: ModelRef, options: &LoadOptions) -> Result<Inspection, ModelError> {
    Ok(Model::load(reference, options)?.inspection())
}

impl Model {
    /// A way from the image to the features around the weights, if there is one. Of a network that only ONNX Runtime understands nothing is
    /// known: see [`Model::not_searched`].
    pub(crate) fn bypass(&self) -> Option<Bypass> {
        self.network.as_ref().ok().and_then(|network| bypass::find(&network.trunk))
    }

    /// What a user should know where [`Model::bypass`] cannot look: none found is not none there.
    pub(crate) fn not_searched(&self) -> Option<String> {
        self.network.is_err().then(|| NOT_SEARCHED.to_owned())
    }

    /// The description of a loaded checkpoint.
    pub fn inspection(&self) -> Inspection {
        let (parameters, trainable, operators, reason) = match &self.network {
            Ok(network) => {
                let params = &network.params;
                let reason = (!network.trains()).then(|| "no trainable parameter reaches the features".to_owned());
                let all = params.0.iter().map(ndarray::ArrayBase::len).sum();
                (all, params.trainable(&network.graph), network.operators(), reason)
            }
            Err(opaque) => (opaque.parameters, 0, opaque.operators.clone(), Some(opaque.reason.clone())),
        };
        Inspection {
            identity: self.identity.clone(),
            description: self.description.clone(),
            parameters,
            trainable,
            input: self.input.clone(),
            feature_layer: FeatureLayerSummary {
                name: self.feature_layer.name.clone(),
                width: self.feature_layer.width,
                how: self.feature_layer.how.clone(),
            },
            operators,
            modes: vec![
                ModeSummary { mode: "fixed_feature".into(), possible: true, reason: None },
                ModeSummary { mode: "full_network".into(), possible: reason.is_none(), reason },
            ],
            bypass: self.bypass(),
            not_searched: self.not_searched(),
            executor: self.executor(),
            executor_reason: self.runtime.as_ref().err().cloned(),
        }
    }
}

/// For networks that ONNX Runtime alone can run.
const NOT_SEARCHED: &str = "whether nodes lead from the image to the features around the weights is not known: heirloom cannot import this network, \
                            and ONNX Runtime does not say. Fine-tuning could not change such nodes";

impl Network {
    /// Whether a parameter that trains reaches the features.
    fn trains(&self) -> bool {
        let slots = self.trunk.slots();
        self.trunk.nodes().iter().any(|node| match node.op {
            Op::Param(slot) => slots.get(slot.0).is_some_and(|slot| slot.role.trains()),
            _ => false,
        })
    }

    /// How many operators of each kind.
    fn operators(&self) -> BTreeMap<String, usize> {
        let mut operators = BTreeMap::new();
        for node in self.graph.nodes().iter().filter(|node| !matches!(node.op, Op::Input | Op::Param(_))) {
            *operators.entry(node.op.name().to_owned()).or_insert(0) += 1;
        }
        operators
    }
}
