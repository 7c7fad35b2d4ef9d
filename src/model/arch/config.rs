//! What is said of a network beyond the names and shapes of its tensors: by `config.json`, or by `--arch`.
//!
//! Two networks may have the same tensors and compute different things: another activation, a maximum where the other has a mean, other
//! heads. So every field is read by the architecture that it is said of, known to change nothing that tensors do not show, or refused by name
//! ([`Config::finish`]).
//!
//! `name` says whose a name is, `fields` lists what changes nothing, `act` knows the activations.

mod act;
mod fields;
mod name;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::ArchError;
use crate::graph::Unary;
use act::activation;
use fields::{HUGGING_FACE, KNOWN_TO_MATTER, OTHER, TIMM, TIMM_SHOWN, own_code};
pub(super) use name::Name;
use name::library;
pub use name::{Library, whose};

/// What is said of a network, each field with whether it was read.
#[derive(Debug)]
pub struct Config<'a> {
    /// Whose fields they are.
    pub(super) library: Library,
    /// The architecture's name, where it is said.
    pub(super) name: Option<Name>,
    fields: Option<&'a Map<String, Value>>,
    /// timm: how features are pooled, by what it writes for people.
    pool: Option<&'a str>,
    /// What stands before a field in messages: `model_args.`
    path: String,
    /// Whether the user named the architecture, and answers for fields that are not known.
    named: bool,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Config<'a> {
    /// Nothing is said.
    pub(super) fn none() -> Self {
        Self {
            library: Library::Unknown,
            name: None,
            fields: None,
            pool: None,
            path: String::new(),
            named: false,
            read: RefCell::default(),
        }
    }

    /// What `config.json` says. `named`: what the user says the architecture is.
    pub(in crate::model) fn of(config: Option<&'a Value>, said: Option<&str>, named: bool) -> Result<Self, ArchError> {
        let library = config.map_or(Library::Unknown, library);
        let name = said.map(|said| Name::of(said, library));
        let library = match (library, &name) {
            (Library::Unknown, Some(name)) => name.library,
            (library, _) => library,
        };
        let whole = Self { library, name, named, ..Self::none() };
        let Some(config) = config else { return Ok(whole) };
        match library {
            Library::Timm => {
                let fields = timm(config, named)?;
                let pool = config.get("global_pool").and_then(Value::as_str);
                Ok(Self { fields, pool, path: "model_args.".to_owned(), ..whole })
            }
            Library::Transformers => Ok(Self { fields: config.as_object(), ..whole }),
            _ => {
                known(config, "", &OTHER, named)?;
                Ok(whole)
            }
        }
    }

    /// Whose fields they are.
    pub(in crate::model) fn library(&self) -> Library {
        self.library
    }

    /// A field that is there and not null; it counts as read.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.fields.and_then(|fields| fields.get(key)).filter(|value| !value.is_null())
    }

    /// Whether a field is there at all, null too.
    pub(super) fn says(&self, key: &str) -> bool {
        self.fields.is_some_and(|fields| fields.contains_key(key))
    }

    /// Refuses a file of Transformers without its `config.json`, which alone says `what`.
    pub(super) fn must_be_there(&self, family: &'static str, what: &str, model_type: &str) -> Result<(), ArchError> {
        if self.says("model_type") {
            return Ok(());
        }
        let names = vec![format!("transformers/{model_type}, with its config.json beside it")];
        Err(ArchError::NeedsName { family, what: what.into(), names })
    }

    /// A number above 0.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, ArchError> {
        let number = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| (1..1 << 24).contains(v));
        self.get(key).map(|value| number(value).ok_or_else(|| self.refused(key, value))).transpose()
    }

    /// A finite number, above 0 where nothing else makes sense: what keeps a variance from 0, or the base of rotations.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ArchError> {
        let above = key.ends_with("eps") || key == "rope_theta";
        let sound = |v: &f64| v.is_finite() && (*v > 0.0 || !above);
        self.get(key).map(|value| value.as_f64().filter(sound).ok_or_else(|| self.refused(key, value))).transpose()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, ArchError> {
        self.get(key).map_or(Ok(default), |value| value.as_bool().ok_or_else(|| self.refused(key, value)))
    }

    /// A word.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ArchError> {
        self.get(key).map(|value| value.as_str().ok_or_else(|| self.refused(key, value))).transpose()
    }

    /// timm's `global_pool`, with the plain name of each pooling (`avg`, `max`, `token`); `default` is the architecture's own.
    pub(super) fn pooling(&self, default: &'a str) -> Result<&'a str, ArchError> {
        let plainly = |name: &'a str| match name {
            "fast" | "fastavg" => "avg",
            "fastmax" => "max",
            other => other,
        };
        let pool = self.text("global_pool")?.map_or(default, plainly);
        // For people, says timm; where it says something else than what timm would build, one of the two is wrong.
        match self.pool {
            Some(said) if plainly(said) != pool => {
                let why = format!("`global_pool` is \"{said}\", and `model_args` makes it \"{pool}\"");
                Err(ArchError::Unsupported(format!("config.json: {why}; write the one that was trained into `model_args`")))
            }
            _ => Ok(pool),
        }
    }

    /// Numbers of at least 0, or one of them.
    pub(super) fn counts(&self, key: &str) -> Result<Option<Vec<usize>>, ArchError> {
        let number = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| *v < 1 << 24);
        let Some(value) = self.get(key) else { return Ok(None) };
        let all = match value {
            Value::Array(values) => values.iter().map(number).collect::<Option<Vec<_>>>(),
            one => number(one).map(|one| vec![one]),
        };
        all.map(Some).ok_or_else(|| self.refused(key, value))
    }

    /// An activation by its name in timm or Transformers.
    pub(super) fn act(&self, key: &str) -> Result<Option<Unary>, ArchError> {
        self.get(key).map(|value| activation(value.as_str()).ok_or_else(|| self.refused(key, value))).transpose()
    }

    /// An object within, whose fields are to be read, and finished, by themselves.
    pub(super) fn within(&self, key: &str) -> Result<Option<Config<'a>>, ArchError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let fields = value.as_object().ok_or_else(|| self.refused(key, value))?;
        let path = format!("{}{key}.", self.path);
        Ok(Some(Config {
            library: self.library,
            name: self.name.clone(),
            fields: Some(fields),
            pool: None,
            path,
            named: self.named,
            read: RefCell::default(),
        }))
    }

    /// Fields that change nothing, or that the tensors show too.
    pub(super) fn shown(&self, keys: &[&str]) {
        self.read.borrow_mut().extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// A field that is built with one value alone; not there is that value.
    pub(super) fn only(&self, key: &str, built: impl Into<Value>) -> Result<(), ArchError> {
        let built = built.into();
        match self.get(key) {
            Some(value) if *value != built && value.as_f64().zip(built.as_f64()).is_none_or(|(a, b)| (a - b).abs() > 1e-12) => {
                Err(self.refused(key, value))
            }
            _ => Ok(()),
        }
    }

    /// A number that the tensors show too: of another, the configuration is that of another network.
    pub(super) fn agrees(&self, key: &str, found: usize) -> Result<(), ArchError> {
        match self.get(key) {
            Some(value) if value.as_u64() != Some(found as u64) => {
                let path = &self.path;
                Err(ArchError::Unsupported(format!(
                    "config.json: `{path}{key}` is {value}, and the tensors show {found}: the two are of different models"
                )))
            }
            _ => Ok(()),
        }
    }

    /// What a field that is not said is taken for, `default` of the class that reads the file: of Transformers, which builds a network of
    /// what config.json says, and drops tensors that have no place there. Where there is no such file, the tensors say what they are of.
    pub(super) fn unsaid<T>(&self, default: T) -> Option<T> {
        (self.library == Library::Transformers && self.fields.is_some()).then_some(default)
    }

    /// A switch that asks for tensors, or leaves them out; `there` are they in the file. `default` is that of the class.
    pub(super) fn tells(&self, key: &str, default: bool, there: bool) -> Result<(), ArchError> {
        let asked = self.flag(key, self.unsaid(default).unwrap_or(there))?;
        self.asks(key, &asked.into(), asked, there)
    }

    /// A number that asks for tensors where it is above 0, and else leaves them out: what a factor is when training starts.
    pub(super) fn tells_above_zero(&self, key: &str, default: f64, there: bool) -> Result<(), ArchError> {
        match self.number(key)?.or(self.unsaid(default)) {
            Some(number) => self.asks(key, &number.into(), number > 0.0, there),
            None => Ok(()),
        }
    }

    fn asks(&self, key: &str, value: &Value, asked: bool, there: bool) -> Result<(), ArchError> {
        let why = match (asked, there) {
            (false, true) => "and the file has tensors that it leaves out",
            (true, false) => "and the file lacks the tensors that it asks for",
            _ => return Ok(()),
        };
        let (path, said) = (&self.path, self.says(key));
        let is = if said { format!("is {value}") } else { format!("is not said, so that it is {value}") };
        Err(ArchError::Unsupported(format!("config.json: `{path}{key}` {is}, {why}: the two are of different models")))
    }

    /// A number that the tensors show too, which the class takes for `default` where it is not said.
    pub(super) fn agrees_or(&self, key: &str, default: usize, found: usize) -> Result<(), ArchError> {
        match (self.get(key), self.unsaid(default)) {
            (None, Some(default)) if default != found => {
                let path = &self.path;
                Err(ArchError::Unsupported(format!(
                    "config.json: `{path}{key}` is not said, so that it is {default}, and the tensors show {found}: the two are of different models"
                )))
            }
            _ => self.agrees(key, found),
        }
    }

    /// How many times as wide as the network the middle of an MLP is, against the weight `[middle, width, ..]` of its first layer.
    pub(super) fn widens(&self, key: &str, default: f64, weight: Option<&Vec<usize>>) -> Result<(), ArchError> {
        let Some(ratio) = self.number(key)?.or(self.unsaid(default)) else { return Ok(()) };
        match weight.map(Vec::as_slice) {
            Some([middle, width, ..]) if (*width as f64 * ratio) as usize != *middle => {
                let path = &self.path;
                Err(ArchError::Unsupported(format!(
                    "config.json: `{path}{key}` is {ratio}, and the tensors show {middle} of {width}: the two are of different models"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what was not read and is not known to change nothing.
    pub(super) fn finish(&self) -> Result<(), ArchError> {
        let harmless: &[&str] = match self.library {
            Library::Timm => &TIMM_SHOWN,
            Library::Transformers => &HUGGING_FACE,
            _ => &[],
        };
        let read = self.read.borrow();
        for (key, value) in self.fields.into_iter().flatten() {
            // What is empty changes nothing, whatever it is called, but that code belongs to it says so all the same.
            let off = value.is_null() || (value.as_object().is_some_and(Map::is_empty) && !own_code(key));
            if off || read.contains(key) || harmless.contains(&key.as_str()) {
                continue;
            }
            if own_code(key) || KNOWN_TO_MATTER.contains(&key.as_str()) {
                return Err(self.refused(key, value));
            }
            if !self.named {
                return Err(unknown(&format!("{}{key}", self.path), value));
            }
        }
        Ok(())
    }

    /// The value of a field makes it a network that is not built.
    pub(super) fn refused(&self, key: &str, value: &Value) -> ArchError {
        refused(&format!("{}{key}", self.path), value)
    }
}

/// Height and width that `config.json` gives the network itself: what timm was told beside the architecture, or Transformers' `image_size`.
pub fn own_size(config: &Value) -> Option<[usize; 2]> {
    let side = |value: &Value| value.as_u64().and_then(|side| usize::try_from(side).ok());
    let both = |value: &Value| match value {
        Value::Array(sides) => match sides.as_slice() {
            [height, width] => Some([side(height)?, side(width)?]),
            _ => None,
        },
        one => side(one).map(|side| [side; 2]),
    };
    match library(config) {
        Library::Timm => config.get("model_args")?.get("img_size").and_then(both),
        Library::Transformers => config.get("image_size").or_else(|| config.get("vision_config")?.get("image_size")).and_then(both),
        _ => None,
    }
}

/// The arguments of timm's configuration.
fn timm(config: &Value, named: bool) -> Result<Option<&Map<String, Value>>, ArchError> {
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
    let given = config.get("model_args").filter(|value| !value.is_null());
    let given = given.map(|given| given.as_object().ok_or_else(|| refused("model_args", given))).transpose()?;
    Ok(given)
}

/// Every field is one of `fields`, null, or answered for by the user.
fn known(config: &Value, prefix: &str, fields: &[&str], named: bool) -> Result<(), ArchError> {
    let all = config.as_object().into_iter().flatten();
    match all.into_iter().find(|(key, value)| !value.is_null() && !fields.contains(&key.as_str()) && (!named || own_code(key))) {
        None => Ok(()),
        Some((key, value)) if own_code(key) => Err(refused(&format!("{prefix}{key}"), value)),
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
    use crate::model::arch::{Source, build_from, efficientnet_lite, resnet, resnet_cifar, resnet_hf, tests as networks};

    /// What becomes of a ResNet under torchvision's names of which this is said.
    fn of(config: &Value) -> Result<String, String> {
        let shapes = networks::bottlenecks(1);
        let config = Config::of(Some(config), None, false).map_err(|e| e.to_string())?;
        let built = build_from(&resnet::FAMILY, &Source { shapes: &shapes, size: [64, 64], config });
        built.map(|built| built.description).map_err(|e| e.to_string())
    }

    fn timm_of(arguments: &Value) -> Result<String, String> {
        of(&json!({"architecture": "resnet18", "num_classes": 5, "model_args": arguments, "pretrained_cfg": {"tag": "x"}}))
    }

    #[test]
    fn what_tensors_do_not_show_is_read() {
        let plain = Ok("ResNet-14, torchvision names".to_owned());
        assert_eq!(timm_of(&json!({})), plain);
        let written_out = json!({
            "layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64], "stem_width": 32, "stem_type": "", "drop_rate": 0.1, "aa_layer": null, "norm_layer": "BatchNorm2d",
            "block_args": {}, "output_stride": 32, "global_pool": "fast"
        });
        assert_eq!(timm_of(&written_out), plain);
        let asked = timm_of(&json!({"act_layer": "silu", "global_pool": "max", "output_stride": 16}));
        assert_eq!(asked, Ok("ResNet-14, torchvision names, Silu, max pooling, output stride 16".to_owned()));
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
            (json!({"model_type": "resnet", "use_se": true}), "`use_se`"),
            (json!({"model_type": "resnet", "auto_map": {"AutoModel": "x.Y"}}), "`auto_map`"),
            (json!({"num_classes": 10, "act": "silu"}), "`act`"),
        ] {
            let text = of(&config).expect_err("refused");
            assert!(text.contains(wanted), "{config}: {text}");
        }
    }

    #[test]
    fn a_class_has_defaults_where_its_configuration_is_read() {
        let all = |config: Option<&Value>, named: bool| {
            let config = Config::of(config, Some("transformers/beit"), named).expect("read");
            let hidden = config.widens("mlp_ratio", 4.0, Some(&vec![6, 2]));
            [config.tells("a", true, false), config.tells_above_zero("b", 0.1, false), config.agrees_or("c", 12, 2), hidden]
                .map(|told| told.is_ok())
        };
        assert_eq!(all(None, true), [true; 4]);
        assert_eq!(all(Some(&json!({"model_type": "beit"})), false), [false; 4]);
        assert_eq!(
            all(Some(&json!({"model_type": "beit", "a": false, "b": 0, "c": 2, "mlp_ratio": 3.5})), false),
            [true, true, true, false]
        );
        assert_eq!(all(Some(&json!({"model_type": "beit", "a": 1, "b": -1, "mlp_ratio": 3})), false), [false, true, false, true]);
    }

    #[test]
    fn the_users_word_is_one_for_what_is_not_known_and_for_nothing_that_is() {
        let shapes = networks::bottlenecks(1);
        let named = |config: &Value| {
            let config = Config::of(Some(config), Some("resnet50"), true).map_err(|e| e.to_string())?;
            let source = Source { shapes: &shapes, size: [64, 64], config };
            build_from(&resnet::FAMILY, &source).map(|built| built.description).map_err(|e| e.to_string())
        };
        assert!(named(&json!({"num_classes": 10, "act": "silu"})).is_ok());
        assert!(named(&json!({"architecture": "x", "model_args": {"anything": 1}})).is_ok());
        assert!(named(&json!({"architecture": "x", "model_args": {"aa_layer": "blurpool"}})).is_err());
        assert!(named(&json!({"model_type": "resnet", "auto_map": {}})).is_err());
    }

    #[test]
    fn what_one_family_has_another_may_not_have() {
        let refused = |family, config: Value, wanted: &str| {
            let shapes = networks::bottlenecks(1);
            let config = Config::of(Some(&config), None, false).expect("read");
            let told = build_from(family, &Source { shapes: &shapes, size: [64, 64], config }).expect_err("refused").to_string();
            assert!(told.contains(wanted), "{told}");
        };
        refused(&resnet_cifar::FAMILY, json!({"architecture": "x", "model_args": {"output_stride": 16}}), "`model_args.output_stride`");
        refused(&efficientnet_lite::FAMILY, json!({"architecture": "x", "model_args": {"act_layer": "silu"}}), "`model_args.act_layer`");
        refused(&resnet_hf::FAMILY, json!({"model_type": "resnet", "hidden_act": "mish"}), "`hidden_act`");
        refused(&resnet_hf::FAMILY, json!({"model_type": "resnet", "downsample_in_bottleneck": 1}), "`downsample_in_bottleneck`");
    }
}
