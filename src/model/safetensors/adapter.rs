//! `LoRA` adapters of peft, merged onto their base: `W + scale B A` (Hu et al., arXiv 2106.09685, section 4.1).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayD, Ix2, IxDyn};
use serde_json::{Map, Value};
use thiserror::Error;

use super::SafetensorsError;
use super::file::{Tensor, Tensors};
use crate::registry::Contents;
use crate::registry::adapter::{CONFIG, MAX_CONFIG, TENSORS, base_in};
use crate::store;

/// What peft puts before the names of the base's modules.
const PREFIX: &str = "base_model.model.";

/// Fields that training alone reads, or that the tensors show too.
const SHOWN: [&str; 19] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
    "qalora_group_size",
];

/// How Transformers calls modules of a `ViT` since its version 5, which an adapter has, and how it writes them into files.
const RENAMED: [(&str, &str); 7] = [
    (".layers.", ".encoder.layer."),
    (".attention.q_proj", ".attention.attention.query"),
    (".attention.k_proj", ".attention.attention.key"),
    (".attention.v_proj", ".attention.attention.value"),
    (".attention.o_proj", ".attention.output.dense"),
    (".mlp.fc1", ".intermediate.dense"),
    (".mlp.fc2", ".output.dense"),
];

/// An adapter: what is added to which tensors of its base, and which it replaces.
pub(crate) struct Adapter {
    tensors: BTreeMap<String, Tensor>,
    settings: Settings,
    base: Option<String>,
}

/// What `adapter_config.json` says.
struct Settings {
    /// What scores of rank `r` are multiplied by.
    alpha: f64,
    rank: usize,
    rank_root: bool,
    transposed: bool,
    /// The modules that are changed, by the ends of their names; `None` for all linear layers.
    targets: Option<Vec<String>>,
    /// Those that were trained whole.
    whole: Vec<String>,
}

impl Settings {
    /// Whether peft changes this module: others it passes over, whatever the file holds for them.
    fn targets(&self, module: &str) -> bool {
        let ends = |name: &String| module == name || module.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('.'));
        self.targets.as_ref().is_none_or(|targets| targets.iter().any(ends))
    }

    fn replaces(&self, tensor: &str) -> bool {
        self.whole.iter().any(|name| format!(".{tensor}.").contains(&format!(".{name}.")))
    }
}

impl Adapter {
    /// Reads the adapter in a folder, or the file of its tensors.
    pub(crate) fn read(path: &Path, most: u64) -> Result<Self, AdapterError> {
        let (folder, file) =
            if path.is_dir() { (path, path.join(TENSORS)) } else { (path.parent().unwrap_or(Path::new("")), path.to_owned()) };
        let read = |path: PathBuf, most| store::read(&path, most).map_err(|source| AdapterError::Read { path, source });
        let config: Value = serde_json::from_slice(&read(folder.join(CONFIG), MAX_CONFIG)?)
            .map_err(|error| AdapterError::Config { reason: error.to_string() })?;
        let base = base_in(&config).map(str::to_owned);
        let config = config.as_object().ok_or_else(|| AdapterError::Config { reason: "it holds no object".into() })?;
        let contents = Contents { path: file.clone(), ..read(file, most)?.into() };
        Ok(Self { tensors: Tensors::of(&contents)?.by_name, settings: settings(config)?, base })
    }

    /// What the adapter calls its base: shown, never fetched.
    pub(crate) fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// The base with the adapter merged into it.
    pub(crate) fn merged(&self, mut base: Tensors) -> Result<Tensors, AdapterError> {
        let own = &self.tensors;
        let mut changed: BTreeMap<String, ArrayD<f32>> = BTreeMap::new();
        for (name, tensor) in own {
            let Some(module) = name.strip_prefix(PREFIX) else { return Err(AdapterError::Tensor { name: name.clone() }) };
            if let Some(module) = module.strip_suffix(".lora_A.weight") {
                if !self.settings.targets(module) {
                    return Err(AdapterError::Passed { tensor: name.clone(), by: "target_modules" });
                }
                let b = format!("{PREFIX}{module}.lora_B.weight");
                let other = own.get(&b).ok_or(AdapterError::Tensor { name: b })?;
                let key = format!("{module}.weight");
                let renamed = || RENAMED.iter().fold(key.clone(), |key, (now, then)| key.replace(now, then));
                let found = base.by_name.get_key_value(&key).or_else(|| base.by_name.get_key_value(&renamed()));
                let (target, weight) = found.ok_or_else(|| self.other_base(&key))?;
                let numbers = |name: &str, tensor: &Tensor| tensor.clone().numbers(name);
                let sum = self.added(&key, numbers(target, weight)?, &numbers(name, tensor)?, &numbers(name, other)?)?;
                changed.insert(target.clone(), sum);
            } else if let Some(module) = module.strip_suffix(".lora_B.weight") {
                let a = format!("{PREFIX}{module}.lora_A.weight");
                if !own.contains_key(&a) {
                    return Err(AdapterError::Tensor { name: a });
                }
            } else if module.contains("lora_") {
                return Err(AdapterError::Tensor { name: name.clone() });
            } else {
                // A module that was trained whole, such as a new head.
                let key = module.replace("modules_to_save.default.", "").replace("modules_to_save.", "");
                if !self.settings.replaces(&key) {
                    return Err(AdapterError::Passed { tensor: name.clone(), by: "modules_to_save" });
                }
                if !base.by_name.contains_key(&key) {
                    return Err(self.other_base(&key));
                }
                changed.insert(key, tensor.clone().numbers(name)?);
            }
        }
        if changed.is_empty() {
            return Err(AdapterError::Config { reason: "the adapter changes nothing".into() });
        }
        base.by_name.extend(changed.into_iter().map(|(name, array)| (name, Tensor::of(&array))));
        Ok(base)
    }

    fn other_base(&self, key: &str) -> AdapterError {
        AdapterError::OtherBase { tensor: key.to_owned(), base: self.base.clone().unwrap_or_else(|| "no name".to_owned()) }
    }

    /// `weight + scale * B A`, of a linear layer or a convolution.
    fn added(&self, key: &str, weight: ArrayD<f32>, a: &ArrayD<f32>, b: &ArrayD<f32>) -> Result<ArrayD<f32>, AdapterError> {
        let misfit =
            || AdapterError::Shape { tensor: key.to_owned(), base: weight.shape().to_vec(), a: a.shape().to_vec(), b: b.shape().to_vec() };
        let Settings { alpha, rank, rank_root, transposed, .. } = self.settings;
        match a.shape().first() {
            Some(&found) if found == rank && rank > 0 => {}
            Some(found) => {
                return Err(AdapterError::Config { reason: format!("`r` is {rank}, and what it has for `{key}` is of rank {found}") });
            }
            None => return Err(misfit()),
        }
        let flat = |array: &ArrayD<f32>| -> Option<Array2<f32>> {
            let rows = array.shape().first().copied().filter(|rows| *rows > 0)?;
            array.to_owned().into_shape_with_order(IxDyn(&[rows, array.len() / rows])).ok()?.into_dimensionality::<Ix2>().ok()
        };
        // The second factor of a convolution is 1x1.
        let pointwise = b.shape().get(2..).unwrap_or_default().iter().all(|side| *side == 1);
        let (Some(down), Some(up)) = (flat(a), flat(b).filter(|up| up.ncols() == rank && pointwise)) else { return Err(misfit()) };
        let scale = if rank_root { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 };
        let mut delta = up.dot(&down) * scale as f32;
        if transposed && weight.ndim() == 2 {
            delta = delta.reversed_axes().as_standard_layout().into_owned();
        }
        let fits = weight.shape().first() == Some(&delta.nrows()) && weight.len() == delta.len();
        let delta = delta.into_dyn().into_shape_with_order(weight.raw_dim()).ok().filter(|_| fits).ok_or_else(misfit)?;
        Ok(weight + delta)
    }
}

/// What is merged, and how; everything else is refused by name.
fn settings(config: &Map<String, Value>) -> Result<Settings, AdapterError> {
    let refused =
        |key: &str| AdapterError::Config { reason: format!("`{key}` is {}: an adapter of that kind is not merged here", config[key]) };
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    if text("peft_type") != Some("LORA") {
        return Err(AdapterError::Config {
            reason: format!("`peft_type` is {}: LORA is merged", config.get("peft_type").unwrap_or(&Value::Null)),
        });
    }
    for (key, value) in config {
        let off = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(values) => values.is_empty(),
            _ => false,
        };
        let fine = match key.as_str() {
            "bias" => text("bias") == Some("none"),
            "fan_in_fan_out" => value.is_boolean(),
            // These begin from another base than the one that the adapter names.
            "init_lora_weights" => value.is_boolean() || text(key) == Some("gaussian") || text(key) == Some("orthogonal"),
            other => SHOWN.contains(&other),
        };
        if !off && !fine {
            return Err(refused(key));
        }
    }
    let alpha = config.get("lora_alpha").and_then(Value::as_f64).filter(|alpha| alpha.is_finite());
    let alpha = alpha.ok_or_else(|| AdapterError::Config { reason: "`lora_alpha` is no number".into() })?;
    let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let rank = config.get("r").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok());
    let rank = rank.ok_or_else(|| AdapterError::Config { reason: "`r` is no rank".into() })?;
    let names = |key: &str| match config.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(|| refused(key))).collect(),
        Some(_) => Err(refused(key)),
    };
    let targets = match config.get("target_modules") {
        None | Some(Value::Null) => None,
        Some(Value::String(all)) if all == "all-linear" => None,
        // A pattern: which modules it means is for Python to say.
        Some(_) => Some(names("target_modules")?),
    };
    let (rank_root, transposed) = (flag("use_rslora"), flag("fan_in_fan_out"));
    Ok(Settings { alpha, rank, rank_root, transposed, targets, whole: names("modules_to_save")? })
}

/// Why an adapter cannot be merged.
#[derive(Debug, Error)]
pub enum AdapterError {
    /// A file of it.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its configuration.
    #[error("adapter_config.json: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// A tensor that no `LoRA` adapter has, or half of a pair.
    #[error("`{name}` is no tensor of a LoRA adapter as peft writes it, or its other half is missing")]
    Tensor {
        /// The tensor.
        name: String,
    },
    /// What peft would pass over.
    #[error("the adapter holds `{tensor}`, which its `{by}` does not name: peft passes over it, and what would be merged is not what runs")]
    Passed {
        /// The tensor.
        tensor: String,
        /// The field of `adapter_config.json`.
        by: &'static str,
    },
    /// It changes what the base does not have.
    #[error("the adapter changes `{tensor}`, which the base does not have: it is of another base (it names {base})")]
    OtherBase {
        /// The tensor.
        tensor: String,
        /// The base that the adapter names.
        base: String,
    },
    /// It changes a tensor of another shape.
    #[error("the adapter changes `{tensor}` by {b:?} times {a:?}, and the base has {base:?} there: it is of another base")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape in the base.
        base: Vec<usize>,
        /// The first factor's.
        a: Vec<usize>,
        /// The second's.
        b: Vec<usize>,
    },
    /// Its tensors, or the base's.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Weights, infer};
    use crate::model::{LoadOptions, Model};
    use crate::registry::identify;
    use safetensors::SafeTensors;

    fn golden() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
    }

    fn load(adapter: &Path) -> Result<(Model, Option<String>), String> {
        let base = identify(&golden().join("zoo/hf-vit")).expect("the base");
        let mut name = None;
        let mut told = |base: Option<&str>| name = base.map(str::to_owned);
        let model = Model::load_adapted(adapter, base, &LoadOptions::default(), &mut told).map_err(|error| error.to_string())?;
        Ok((model, name))
    }

    #[test]
    fn a_merged_adapter_computes_what_peft_does() {
        let folder = golden().join("adapter");
        for path in [folder.clone(), folder.join(TENSORS)] {
            let (model, base) = load(&path).expect("merged");
            assert_eq!(base.as_deref(), Some("someone/small-vit"));
            let bytes = std::fs::read(folder.join("io.safetensors")).expect("golden values");
            let file = Tensors::of(&bytes.into()).expect("safetensors");
            let array = |name: &str| file.by_name[name].clone().numbers(name).expect(name);
            let (input, wanted) = (array("input"), array("output"));
            let shape = input.shape().to_vec();
            let values = input.into_raw_vec_and_offset().0;
            let images = candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu).expect("images");
            let network = model.own().expect("a network");
            let weights = Weights::new(&network.params.0, candle_core::DType::F32).expect("weights");
            let answer = infer(&network.graph, &weights, &images).expect("an answer");
            let answer: Vec<f32> = answer.flatten_all().and_then(|flat| flat.to_vec1()).expect("numbers");
            assert_eq!(answer.len(), wanted.len());
            assert!(answer.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{answer:?} {wanted:?}");
        }
    }

    #[test]
    fn an_adapter_that_is_not_merged_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = std::fs::read_to_string(golden().join("adapter").join(CONFIG)).expect("a configuration");
        let tensors = std::fs::read(golden().join("adapter").join(TENSORS)).expect("tensors");
        let told = |config: &str, tensors: &[u8]| {
            std::fs::write(folder.path().join(CONFIG), config).expect("written");
            std::fs::write(folder.path().join(TENSORS), tensors).expect("written");
            load(folder.path()).map(|_| ()).expect_err("refused")
        };
        for (from, to, wanted) in [
            ("\"use_dora\": false", "\"use_dora\": true", "`use_dora` is true"),
            ("\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\"", "LORA is merged"),
            ("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "`init_lora_weights`"),
            ("\"rank_pattern\": {}", "\"rank_pattern\": {\"fc1\": 4}", "`rank_pattern`"),
            ("\"lora_alpha\": 3", "\"lora_alpha\": \"3\"", "`lora_alpha` is no number"),
            ("\"r\": 2", "\"r\": 4", "`r` is 4, and what it has for"),
            ("\"o_proj\"", "\"o_proj2\"", "which its `target_modules` does not name"),
            ("\"classifier\"", "\"head\"", "which its `modules_to_save` does not name"),
            ("\"exclude_modules\": null", "\"exclude_modules\": [\"fc1\"]", "`exclude_modules` is [\"fc1\"]"),
            ("\"layers_to_transform\": null", "\"layers_to_transform\": [5]", "`layers_to_transform` is [5]"),
        ] {
            assert!(config.contains(from), "{from}");
            let why = told(&config.replace(from, to), &tensors);
            assert!(why.contains(wanted), "{why}");
        }
        let file = SafeTensors::deserialize(&tensors).expect("safetensors");
        let renamed = |from: &str, to: &str| {
            let views = file.tensors().into_iter().map(|(name, view)| (name.replace(from, to), view));
            safetensors::serialize(views, None).expect("written")
        };
        for (from, to, wanted) in [
            ("layers.0", "layers.7", "of another base (it names someone/small-vit)"),
            ("lora_A", "lora_C", "is no tensor of a LoRA adapter"),
            ("q_proj.lora_B", "q_proj.lora_X", "is no tensor of a LoRA adapter"),
            ("base_model.model.", "", "is no tensor of a LoRA adapter"),
            ("o_proj", "fc3", "which its `target_modules` does not name"),
        ] {
            let why = told(&config, &renamed(from, to));
            assert!(why.contains(wanted), "{from}: {why}");
        }
        assert!(told(&config, &tensors[..60]).contains("not a valid safetensors file"));
        // The first factor of a layer of another width.
        let wider = renamed("fc2", "fc3");
        let wider_file = SafeTensors::deserialize(&wider).expect("safetensors");
        let exchanged = wider_file.tensors().into_iter().map(|(name, view)| (name.replace("fc1", "fc2").replace("fc3", "fc1"), view));
        let why = told(&config, &safetensors::serialize(exchanged, None).expect("written"));
        assert!(why.contains("by [16, 2] times [2, 24]"), "{why}");
        std::fs::remove_file(folder.path().join(CONFIG)).expect("removed");
        assert!(load(folder.path()).map(|_| ()).expect_err("refused").contains(CONFIG));
        // What is named by itself.
        let error = identify(&golden().join("adapter").join(TENSORS)).expect_err("no network").to_string();
        assert!(error.contains("LoRA adapter for someone/small-vit"), "{error}");
    }
}
