//! How a checkpoint that is not read becomes an ONNX file that is: three lines of Python for exactly this checkpoint and library.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::architecture;
use crate::model::arch::{Library, whose};
use crate::model::{LoadOptions, preprocessing};
use crate::registry::{CONFIG, Configuration, PREPROCESSOR};

/// Longest list of arguments that is repeated.
const LONGEST: usize = 400;

/// The lines, or what to do where the library is not known.
pub(super) fn lines(configuration: &Configuration, path: &Path, options: &LoadOptions) -> String {
    let config = preprocessing::object(configuration, CONFIG).ok().flatten();
    let said = options.arch.as_deref().or(config.as_ref().and_then(architecture));
    let (library, name) = whose(config.as_ref(), said);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let model = match library {
        Library::Timm => {
            let arguments = config.as_ref().and_then(|config| config.get("model_args")).and_then(Value::as_object);
            let arguments = arguments.map(keywords).unwrap_or_default();
            format!(
                "import timm, torch\nmodel = timm.create_model({}, checkpoint_path={}{arguments}).eval()",
                quoted(&name),
                quoted(&path.display().to_string())
            )
        }
        Library::Transformers => {
            let class = config.as_ref().and_then(|config| config.get("architectures")).and_then(|list| list.get(0)).and_then(Value::as_str);
            let class = class.filter(|class| class.chars().all(|c| c.is_ascii_alphanumeric())).unwrap_or("AutoModel");
            format!(
                "import torch, transformers\nmodel = transformers.{class}.from_pretrained({}).eval()",
                quoted(&folder.display().to_string())
            )
        }
        Library::Torchvision => format!(
            "import torch, torchvision, safetensors.torch\nmodel = torchvision.models.get_model({}); \
             model.load_state_dict(safetensors.torch.load_file({})); model.eval()",
            quoted(&name),
            quoted(&path.display().to_string())
        ),
        Library::OpenClip | Library::Unknown => {
            return "name its architecture with --arch, or export it to ONNX in the program that wrote it: \
                    `torch.onnx.export(model.eval(), (images,), \"model.onnx\", dynamo=False, opset_version=17)`"
                .to_owned();
        }
    };
    let said = preprocessing::find(configuration, &BTreeMap::new(), &options.input).ok().and_then(|found| found.size);
    let [height, width] = options.input.size.or(said).unwrap_or([224, 224]);
    // What images become is said there.
    let said = [(PREPROCESSOR, true), (CONFIG, library == Library::Timm)];
    let kept: Vec<&str> = said.iter().filter(|(name, says)| *says && configuration.get(name).is_some()).map(|(name, _)| *name).collect();
    let beside = if kept.is_empty() { String::new() } else { format!("; copy {} beside it", kept.join(" and ")) };
    format!(
        "export it to ONNX, and certify that file{beside}:\n{model}\ntorch.onnx.export(model, (torch.zeros(1, 3, {height}, {width}),), \
         \"model.onnx\", dynamo=False, opset_version=17, input_names=[\"pixel_values\"], dynamic_axes={{\"pixel_values\": {{0: \"batch\"}}}})"
    )
}

/// Arguments of a call, as Python writes them; nothing where they are too many to be read.
fn keywords(arguments: &Map<String, Value>) -> String {
    let named = arguments.iter().filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let text = named.fold(String::new(), |text, (key, value)| text + ", " + key + "=" + &python(value));
    if text.len() <= LONGEST { text } else { ", **ARGUMENTS  # `model_args` of config.json".to_owned() }
}

fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(values) => format!("[{}]", values.iter().map(python).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A string of Python: JSON's escapes are Python's too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
