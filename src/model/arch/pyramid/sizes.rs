//! How large a network is: what its tensors show, and what a configuration or a name adds to that.

use serde_json::Value;

use super::stages::{agree, apart, each};
use super::{Names, Variant, has, of};
use crate::graph::Unary;
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::count;
use crate::model::arch::{ArchError, Shapes};

/// What a configuration calls the lists that have a number for every stage.
pub(super) struct Keys {
    pub widths: &'static str,
    pub kernels: Option<&'static str>,
    pub strides: Option<&'static str>,
    pub coarser: &'static str,
    pub heads: &'static str,
}

/// The sizes that tensors show, stage by stage.
pub(super) struct Found {
    pub depths: Vec<usize>,
    pub widths: Vec<usize>,
    pub kernels: Vec<usize>,
    pub coarser: Vec<usize>,
    pub hidden: Vec<usize>,
    pub bias: bool,
}

impl Found {
    pub(super) fn of(shapes: &Shapes, base: &str, names: &Names) -> Self {
        let side = |name: String, axis: usize| shapes.get(&format!("{base}{name}.weight")).and_then(|shape| shape.get(axis)).copied();
        let stages: Vec<usize> = (0..shapes.len()).take_while(|&stage| side(names.embedding(stage)[0].clone(), 0).is_some()).collect();
        let each = |read: &dyn Fn(usize) -> usize| stages.iter().map(|&stage| read(stage)).collect::<Vec<_>>();
        let depth = |stage: usize| count(shapes, &format!("{base}{}", of(names.blocks, stage)));
        let block = |stage: usize, block: usize, part: &str| format!("{}{block}.{part}", of(names.blocks, stage));
        Self {
            depths: each(&depth),
            widths: each(&|stage| side(names.embedding(stage)[0].clone(), 0).unwrap_or(0)),
            kernels: each(&|stage| side(names.embedding(stage)[0].clone(), 2).unwrap_or(0)),
            coarser: each(&|stage| (0..depth(stage)).find_map(|i| side(block(stage, i, names.coarser[0]), 2)).unwrap_or(1)),
            hidden: each(&|stage| side(block(stage, 0, names.mlp[0]), 0).unwrap_or(0)),
            bias: has(shapes, &format!("{base}{}.bias", block(0, 0, names.query))),
        }
    }

    pub(super) fn stages(&self) -> usize {
        self.depths.len()
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let depths = self.depths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        format!("stages of {depths} blocks, {} wide at last", self.widths.last().copied().unwrap_or(0))
    }
}

/// What tensors do not show.
pub(super) struct Asked {
    pub act: Unary,
    pub heads: Vec<usize>,
    pub strides: Vec<usize>,
    /// Whether patches overlap, and are padded.
    pub overlap: bool,
    pub eps: f64,
    /// Of the norms behind an embedding and a coarser map.
    pub inner_eps: f64,
    pub linear: bool,
    /// Sides of windows, stage by stage; empty where no block has any.
    pub windows: Vec<usize>,
}

impl Asked {
    /// Reads the lists of a configuration and holds them against the tensors. `usual` is what stands where a list is not there.
    pub(super) fn of(config: &Config, found: &Found, keys: &Keys, usual: &Variant) -> Result<Self, ArchError> {
        let stages = found.stages();
        // Under the name of a kind alone, without a configuration, the tensors say how large it is.
        let told = |numbers: [usize; 4]| (config.library() == Library::Transformers || keys.strides.is_none()).then_some(numbers);
        agree(config, "depths", told(usual.depths), &found.depths)?;
        agree(config, keys.widths, told(usual.widths), &found.widths)?;
        if let Some(kernels) = keys.kernels {
            agree(config, kernels, told(usual.kernels), &found.kernels)?;
        }
        ratios(config, "mlp_ratios", told(usual.ratios), found)?;
        let key = keys.strides.map_or("linear", |_| "linear_attention");
        let linear = config.flag(key, usual.linear)?;
        if linear {
            // Averages stand where the others have convolutions that stride.
            config.shown(&[keys.coarser]);
            if found.coarser.iter().any(|&stride| stride != 1) {
                return Err(config.refused(key, &Value::Bool(true)));
            }
        } else {
            agree(config, keys.coarser, told([8, 4, 2, 1]), &found.coarser)?;
        }
        config.tells("qkv_bias", true, found.bias)?;
        let strides = match keys.strides {
            Some(key) => each(config, key, &usual.strides, stages)?,
            None => (0..stages).map(|stage| if stage == 0 { 4 } else { 2 }).collect(),
        };
        let heads = each(config, keys.heads, &usual.heads, stages)?;
        Ok(Self {
            act: Unary::Gelu { tanh: false },
            heads,
            strides,
            overlap: true,
            eps: 1e-6,
            inner_eps: 1e-6,
            linear,
            windows: Vec::new(),
        })
    }
}

/// Refuses widths of MLPs that are not those of the tensors: `int(width * ratio)`.
fn ratios(config: &Config, key: &str, usual: Option<[usize; 4]>, found: &Found) -> Result<(), ArchError> {
    let said = match config.get(key) {
        Some(Value::Array(all)) => Some(all.iter().map(|one| one.as_f64().unwrap_or(0.0)).collect::<Vec<_>>()),
        Some(one) => Some(vec![one.as_f64().unwrap_or(0.0)]),
        None => usual.map(|numbers| numbers.map(|number| number as f64).to_vec()),
    };
    let Some(said) = said else { return Ok(()) };
    let said: Vec<f64> = if let [one] = said[..] { vec![one; found.stages()] } else { said };
    let wanted: Vec<usize> = said.iter().zip(&found.widths).map(|(ratio, width)| (ratio * *width as f64) as usize).collect();
    if said.len() == found.stages() && wanted == found.hidden {
        return Ok(());
    }
    Err(apart(key, &format!("{said:?}"), &format!("{:?} of {:?}", found.hidden, found.widths)))
}
