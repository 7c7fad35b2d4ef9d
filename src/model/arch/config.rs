//! What `config.json` says of a network beyond the names and shapes of its tensors.
//!
//! Two networks may have the same tensors and compute different things: another activation, a maximum where the other has a mean, a
//! stride that became a dilation. So every field is honoured, known to change nothing that tensors do not show, or refused by name.

use serde_json::Value;

use super::{ArchError, Family};
use crate::graph::Unary;

/// What the tensors of a network do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arguments {
    /// The activation; `None` for that of the family.
    pub act: Option<Unary>,
    /// Whether features are the greatest value of each channel, not the mean.
    pub max_pool: bool,
    /// Beyond this reduction stages dilate instead of striding (timm's `output_stride`).
    pub output_stride: usize,
    /// Hugging Face: the first stage strides too.
    pub downsample_in_first_stage: bool,
    /// Hugging Face: the first convolution of a bottleneck strides, not the second.
    pub downsample_in_bottleneck: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { act: None, max_pool: false, output_stride: 32, downsample_in_first_stage: false, downsample_in_bottleneck: false }
    }
}

impl Arguments {
    /// What makes it another network than its family's, for people: `, Silu, max pooling, output stride 16`.
    pub(super) fn told(&self) -> String {
        let act = self.act.filter(|act| *act != Unary::Relu).map(|act| format!(", {act:?}"));
        let pool = self.max_pool.then(|| ", max pooling".to_owned());
        let stride = (self.output_stride != 32).then(|| format!(", output stride {}", self.output_stride));
        [act, pool, stride].into_iter().flatten().collect()
    }

    /// The activation, where that of the family is a ReLU.
    pub(super) fn activation(&self) -> Unary {
        self.act.unwrap_or(Unary::Relu)
    }
}

/// Fields of timm's configuration that the tensors show too, or that speak of labels and preprocessing.
const TIMM: [&str; 13] = [
    "architecture",
    "architectures",
    "feature_dim",
    "global_pool",
    "label_descriptions",
    "label_names",
    "labels",
    "model_args",
    "model_type",
    "num_classes",
    "num_features",
    "pretrained_cfg",
    "transformers_version",
];

/// Arguments of timm's networks that the tensors show too, or that act in training only.
const TIMM_SHOWN: [&str; 20] = [
    "base_width",
    "block_reduce_first",
    "cardinality",
    "channels",
    "checkpoint_path",
    "device",
    "drop_block_rate",
    "drop_path_rate",
    "drop_rate",
    "dtype",
    "exportable",
    "in_chans",
    "layers",
    "no_jit",
    "num_classes",
    "pretrained",
    "pretrained_cfg",
    "scriptable",
    "stem_width",
    "zero_init_last",
];

/// Fields of Hugging Face's configurations that the tensors show too, or that speak of labels, text, training and what is returned.
const HUGGING_FACE: [&str; 79] = [
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "_num_labels",
    "add_cross_attention",
    "architectures",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "depths",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embedding_size",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "hidden_sizes",
    "id2label",
    "is_composition",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "layer_type",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_channels",
    "num_labels",
    "num_return_sequences",
    "out_features",
    "out_indices",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "stage_names",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "use_bfloat16",
    "use_cache",
    "xla_device",
    // Read below.
    "downsample_in_bottleneck",
    "downsample_in_first_stage",
    "hidden_act",
    "initializer_range",
    "layer_norm_eps",
];

/// Fields of a file of neither library that say nothing of the network.
const OTHER: [&str; 9] = ["crop_mode", "crop_pct", "input_size", "interpolation", "label_names", "labels", "mean", "num_classes", "std"];

/// What `config.json` says. `named`: the user named the architecture, and answers for fields that are not known.
pub(in crate::model) fn read(family: &Family, config: Option<&Value>, named: bool) -> Result<Arguments, ArchError> {
    let Some(config) = config else { return Ok(Arguments::default()) };
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let arguments = if text("architecture").is_some() || config.get("pretrained_cfg").is_some() || config.get("model_args").is_some() {
        timm(config, named)?
    } else if text("model_type").is_some() || config.get("architectures").is_some() {
        hugging_face(config, named)?
    } else {
        known(config, "", &OTHER, named)?;
        Arguments::default()
    };
    supported(family, &arguments)?;
    Ok(arguments)
}

/// Families that do not have an argument refuse it.
fn supported(family: &Family, arguments: &Arguments) -> Result<(), ArchError> {
    let plain = Arguments::default();
    let left = (family.left_out)(arguments);
    let asked = [
        ("the activation", left.act.is_some()),
        ("max pooling", left.max_pool),
        ("the output stride", left.output_stride != plain.output_stride),
        ("`downsample_in_first_stage`", left.downsample_in_first_stage),
        ("`downsample_in_bottleneck`", left.downsample_in_bottleneck),
    ];
    let asked: Vec<&str> = asked.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let (name, asked) = (family.name, asked.join(" and "));
    Err(ArchError::Unsupported(format!(
        "config.json asks for another network than is built here of {name}: {asked}; export the model to ONNX"
    )))
}

fn timm(config: &Value, named: bool) -> Result<Arguments, ArchError> {
    // The whole in one object, as old versions wrote it, has the fields of `pretrained_cfg`, which whoever reads the preprocessing checks.
    if config.get("pretrained_cfg").is_some() {
        known(
            config,
            "",
            &[&TIMM[..], &["do_pooling", "dtype", "torch_dtype", "initializer_range", "problem_type", "id2label", "label2id"]].concat(),
            named,
        )?;
    }
    if config.get("do_pooling") == Some(&Value::Bool(false)) {
        return Err(refused("do_pooling", &Value::Bool(false)));
    }
    let empty = Value::Object(serde_json::Map::new());
    let given = config.get("model_args").filter(|value| !value.is_null()).unwrap_or(&empty);
    let mut arguments = Arguments::default();
    let mut pool = "avg";
    for (key, value) in given.as_object().ok_or_else(|| refused("model_args", given))? {
        let path = format!("model_args.{key}");
        let wrong = || refused(&path, value);
        match key.as_str() {
            _ if value.is_null() => {}
            "act_layer" => arguments.act = Some(activation(value.as_str()).ok_or_else(wrong)?),
            "global_pool" => pool = value.as_str().ok_or_else(wrong)?,
            "output_stride" => {
                arguments.output_stride = value.as_u64().filter(|stride| [8, 16, 32].contains(stride)).ok_or_else(wrong)? as usize;
            }
            "norm_layer" => {
                let plain = value.as_str().map(str::to_lowercase);
                if !plain.is_some_and(|name| ["batchnorm", "batchnorm2d"].contains(&name.as_str())) {
                    return Err(wrong());
                }
            }
            // What a plain ResNet has.
            "stem_type" | "aa_layer" if value.as_str() == Some("") => {}
            "down_kernel_size" if value.as_u64() == Some(1) => {}
            "avg_down" | "replace_stem_pool" | "features_only" if *value == Value::Bool(false) => {}
            "block_args" | "pretrained_cfg_overlay" if value.as_object().is_some_and(serde_json::Map::is_empty) => {}
            "block" if matches!(value.as_str(), Some("basic" | "bottleneck")) => {}
            other if TIMM_SHOWN.contains(&other) || (named && !KNOWN_TO_MATTER.contains(&other)) => {}
            other if !KNOWN_TO_MATTER.contains(&other) => return Err(unknown(&path, value)),
            _ => return Err(wrong()),
        }
    }
    arguments.max_pool = max_pool(pool).ok_or_else(|| refused("model_args.global_pool", &Value::from(pool)))?;
    // For people, says timm; where it says something else than what timm would build, one of the two is wrong.
    if let Some(said) = config.get("global_pool").and_then(Value::as_str).filter(|said| max_pool(said) != Some(arguments.max_pool)) {
        let why = format!("`global_pool` is \"{said}\", and `model_args` makes it \"{pool}\"");
        return Err(ArchError::Unsupported(format!("config.json: {why}; write the one that was trained into `model_args`")));
    }
    Ok(arguments)
}

/// Arguments that are refused even where the user names the architecture.
const KNOWN_TO_MATTER: [&str; 11] = [
    "aa_layer",
    "avg_down",
    "block",
    "block_args",
    "down_kernel_size",
    "features_only",
    "norm_layer",
    "out_indices",
    "pretrained_cfg_overlay",
    "replace_stem_pool",
    "stem_type",
];

fn max_pool(name: &str) -> Option<bool> {
    match name {
        "avg" | "fast" | "fastavg" => Some(false),
        "max" | "fastmax" => Some(true),
        _ => None,
    }
}

fn hugging_face(config: &Value, named: bool) -> Result<Arguments, ArchError> {
    known(config, "", &HUGGING_FACE, named)?;
    let flag = |key: &str| match config.get(key).filter(|value| !value.is_null()) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| refused(key, value)),
    };
    let act = match config.get("hidden_act").filter(|value| !value.is_null()) {
        None => None,
        Some(value) => Some(activation(value.as_str()).ok_or_else(|| refused("hidden_act", value))?),
    };
    Ok(Arguments {
        act: act.filter(|act| *act != Unary::Relu),
        downsample_in_first_stage: flag("downsample_in_first_stage")?,
        downsample_in_bottleneck: flag("downsample_in_bottleneck")?,
        ..Arguments::default()
    })
}

/// The activation of a name in timm and Transformers.
fn activation(name: Option<&str>) -> Option<Unary> {
    Some(match name? {
        "relu" => Unary::Relu,
        "relu6" => Unary::Clip { min: 0.0, max: 6.0 },
        "leaky_relu" => Unary::LeakyRelu(0.01),
        "elu" => Unary::Elu(1.0),
        "gelu" => Unary::Gelu { tanh: false },
        "gelu_tanh" | "gelu_new" | "gelu_pytorch_tanh" => Unary::Gelu { tanh: true },
        "silu" | "swish" => Unary::Silu,
        "sigmoid" => Unary::Sigmoid,
        "tanh" => Unary::Tanh,
        "hard_swish" => Unary::HardSwish,
        "hard_sigmoid" => Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
        _ => return None,
    })
}

/// Every field is one of `fields`, null, or answered for by the user.
fn known(config: &Value, prefix: &str, fields: &[&str], named: bool) -> Result<(), ArchError> {
    let all = config.as_object().into_iter().flatten();
    // Code of its own is never run, whatever the user says.
    let own = |key: &str| key == "auto_map" || key == "quantization_config";
    match all.into_iter().find(|(key, value)| !value.is_null() && !fields.contains(&key.as_str()) && (!named || own(key))) {
        None => Ok(()),
        Some((key, value)) if own(key) => Err(refused(&format!("{prefix}{key}"), value)),
        Some((key, value)) => Err(unknown(&format!("{prefix}{key}"), value)),
    }
}

fn refused(path: &str, value: &Value) -> ArchError {
    let shown: String = value.to_string().chars().take(80).collect();
    ArchError::Unsupported(format!(
        "config.json: `{path}` is {shown}, which makes it a network that is not built here; export the model to ONNX"
    ))
}

/// A field that is not known, which the user may answer for.
fn unknown(path: &str, value: &Value) -> ArchError {
    let shown: String = value.to_string().chars().take(80).collect();
    ArchError::Unsupported(format!(
        "config.json: `{path}` is {shown}, and whether that makes it another network than its tensors show is not known here; export the model \
         to ONNX or, where it does not, name the architecture with --arch"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::arch::{efficientnet_lite, resnet, resnet_cifar, resnet_hf};

    fn of(config: &Value) -> Result<Arguments, String> {
        read(&resnet::FAMILY, Some(config), false).map_err(|e| e.to_string())
    }

    fn timm_of(arguments: &Value) -> Result<Arguments, String> {
        of(&json!({"architecture": "resnet18", "num_classes": 5, "model_args": arguments, "pretrained_cfg": {"tag": "x"}}))
    }

    #[test]
    fn what_tensors_do_not_show_is_read() {
        assert_eq!(timm_of(&json!({})), Ok(Arguments::default()));
        let plain = json!({
            "layers": [1, 1], "channels": [8, 16], "stem_width": 32, "stem_type": "", "drop_rate": 0.1, "aa_layer": null, "norm_layer": "BatchNorm2d",
            "block_args": {}, "output_stride": 32, "global_pool": "fast"
        });
        assert_eq!(timm_of(&plain), Ok(Arguments::default()));
        let asked = timm_of(&json!({"act_layer": "silu", "global_pool": "max", "output_stride": 16}));
        assert_eq!(asked, Ok(Arguments { act: Some(Unary::Silu), max_pool: true, output_stride: 16, ..Arguments::default() }));
        let hf = json!({"model_type": "resnet", "hidden_act": "gelu", "downsample_in_bottleneck": true, "depths": [1], "torch_dtype": "float32"});
        let read = read(&resnet_hf::FAMILY, Some(&hf), false).expect("read");
        assert_eq!((read.act, read.downsample_in_bottleneck), (Some(Unary::Gelu { tanh: false }), true));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (arguments, wanted) in [
            (json!({"aa_layer": "blurpool"}), "model_args.aa_layer"),
            (json!({"act_layer": "mish"}), "model_args.act_layer"),
            (json!({"global_pool": "catavgmax"}), "model_args.global_pool"),
            (json!({"output_stride": 4}), "model_args.output_stride"),
            (json!({"norm_layer": "groupnorm"}), "model_args.norm_layer"),
            (json!({"stem_type": "deep"}), "model_args.stem_type"),
            (json!({"avg_down": true}), "model_args.avg_down"),
            (json!({"replace_stem_pool": true}), "model_args.replace_stem_pool"),
            (json!({"block_args": {"attn_layer": "se"}}), "model_args.block_args"),
            (json!({"features_only": true}), "model_args.features_only"),
            (json!({"anything": 1}), "model_args.anything"),
            (json!([1]), "model_args"),
        ] {
            let text = timm_of(&arguments).expect_err("refused");
            assert!(text.contains(&format!("`{wanted}`")) && text.contains("ONNX"), "{text}");
        }
        for (config, wanted) in [
            (json!({"architecture": "resnet18", "pretrained_cfg": {}, "more": 1}), "`more`"),
            (json!({"architecture": "resnet18", "pretrained_cfg": {}, "global_pool": "max"}), "`global_pool`"),
            (json!({"model_type": "resnet", "hidden_act": "mish"}), "`hidden_act`"),
            (json!({"model_type": "resnet", "use_se": true}), "`use_se`"),
            (json!({"model_type": "resnet", "auto_map": {"AutoModel": "x.Y"}}), "`auto_map`"),
            (json!({"num_classes": 10, "act": "silu"}), "`act`"),
        ] {
            let text = of(&config).expect_err("refused");
            assert!(text.contains(wanted), "{config}: {text}");
        }
        // The user's word for the architecture is one for what is not known, and for nothing that is.
        let named = |config: &Value| read(&resnet::FAMILY, Some(config), true);
        assert!(named(&json!({"num_classes": 10, "act": "silu"})).is_ok());
        assert!(named(&json!({"architecture": "x", "model_args": {"aa_layer": "blurpool"}})).is_err());
        assert!(named(&json!({"model_type": "resnet", "auto_map": {}})).is_err());
        // What one family has, another may not have.
        let asked = json!({"architecture": "x", "model_args": {"output_stride": 16}});
        assert!(read(&resnet_cifar::FAMILY, Some(&asked), false).is_err());
        let asked = json!({"architecture": "x", "model_args": {"act_layer": "silu"}});
        let told = read(&efficientnet_lite::FAMILY, Some(&asked), false).expect_err("refused").to_string();
        assert!(told.contains("efficientnet-lite: the activation;"), "{told}");
        // Its own, written out.
        let asked = json!({"architecture": "x", "model_args": {"act_layer": "relu6"}});
        assert!(read(&efficientnet_lite::FAMILY, Some(&asked), false).is_ok());
    }
}
