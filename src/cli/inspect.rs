//! `heirloom inspect`: what a model file holds.

use std::path::PathBuf;

use super::failure::Failure;
use super::output::{Output, Shape};
use super::{hub, runtime};
use heirloom::exec::Compute;
use heirloom::model::{self, InputOverride, Inspection, Layout, LoadOptions};
use heirloom::registry::{self, FileRef};
use heirloom::report::printable;

const EXAMPLES: &str = "\
Examples:
  heirloom inspect model.onnx
  heirloom inspect model.safetensors --arch resnet18
  heirloom inspect encoder.onnx --size 224x224 --features /pool/Flatten_output_0
  heirloom inspect model.onnx --format json
  heirloom inspect hf://microsoft/resnet-18";

/// Show what a model file holds and what can be certified.
///
/// Prints the format, the parameters, the input with its preprocessing, the operators, where the features leave the network, and
/// which transfer modes are possible (and if not, why).
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An .onnx or .safetensors file, the folder that holds one, or a model on a server: `hf://OWNER/NAME[@REVISION][/FILE]`,
    /// `s3://BUCKET/KEY`, `gs://BUCKET/KEY` or `az://CONTAINER/KEY`.
    #[arg(value_name = "MODEL", value_parser = hub::model)]
    pub model: PathBuf,
    /// Tensor at which features leave the network [default: found].
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Architecture of a file that holds weights only [default: from config.json or the tensor names].
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Height and width in pixels, for models that take any size.
    #[arg(long, value_name = "HxW", value_parser = size)]
    pub size: Option<[usize; 2]>,
    /// The library of ONNX Runtime.
    #[command(flatten)]
    pub runtime: runtime::Args,
}

pub(super) fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]));
    sides
        .filter(|s| s.iter().all(|side| (1..=4096).contains(side)))
        .ok_or_else(|| "write height x width in pixels, such as 224x224".to_owned())
}

/// Loads the model and shows it.
pub fn run(args: &Args, out: &mut Output) -> Result<i32, Failure> {
    let here = hub::here(&args.model, None, out)?;
    let reference = registry::identify(&here.path)?;
    let input = InputOverride { size: args.size, ..InputOverride::default() };
    let options = LoadOptions {
        features: args.features.clone(),
        arch: args.arch.clone(),
        input,
        runtime: args.runtime.open(&Compute::cpu(), out)?.runtime,
    };
    let mut inspection = model::inspect(reference, &options).map_err(|error| Failure::about(&args.model, error))?;
    if let Some(address) = here.address {
        inspection.identity.path = address.into();
    }
    match out.shape {
        Shape::Json => out.json(&inspection)?,
        Shape::Text => out.result(&render(&inspection))?,
    }
    Ok(0)
}

/// An inspection for people. Names from the file are made [`printable`].
pub fn render(inspection: &Inspection) -> String {
    let Inspection { identity, description, parameters, trainable, input, feature_layer, operators, .. } = inspection;
    let Inspection { modes, bypass, not_searched, executor, executor_reason, .. } = inspection;
    let layout = match input.layout {
        Layout::Nchw => "[N, C, H, W]",
        Layout::Nhwc => "[N, H, W, C]",
    };
    let mut lines = vec![
        ("model", identity.path.display().to_string()),
        ("digest", format!("{} ({} bytes)", identity.digest, grouped(identity.bytes as usize))),
        ("format", description.clone()),
        ("parameters", format!("{}, {} of them may train", grouped(*parameters), grouped(*trainable))),
        ("input", format!("{} x {} x {}, {layout}", input.channels, input.height, input.width)),
        ("normalise", input.normalised()),
        ("resize", input.resized()),
        ("features", format!("{} [N, {}], {}   (override: --features NAME)", feature_layer.name, feature_layer.width, feature_layer.how)),
        ("operators", operators.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")),
    ];
    let file = |file: &FileRef| {
        let name = if file.name == "-" { "the file itself" } else { &file.name };
        ("", format!("{} {name} ({} bytes)", file.digest, grouped(file.bytes as usize)))
    };
    lines.splice(2..2, identity.files.iter().map(file));
    lines.extend(input.cropped().map(|remark| ("warning", remark)));
    if let Some(bypass) = bypass {
        lines.push(("warning", bypass.remark()));
    }
    lines.extend(not_searched.iter().map(|remark| ("warning", remark.clone())));
    let reason = executor_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    lines.push(("executor", format!("{executor}{reason}")));
    for (i, mode) in modes.iter().enumerate() {
        let answer = match (&mode.reason, mode.possible) {
            (_, true) => "possible".to_owned(),
            (Some(why), false) => format!("not possible: {why}"),
            (None, false) => "not possible".to_owned(),
        };
        lines.push((if i == 0 { "modes" } else { "" }, format!("{} {answer}", mode.mode)));
    }
    let shown: Vec<String> = lines.iter().map(|(topic, text)| format!("  {topic:<12}{}", printable(text))).collect();
    shown.join("\n") + "\n"
}

/// Digits in groups of three: `25,557,032`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{grouped, render, size};
    use heirloom::model::{Bypass, ChannelOrder, FeatureLayerSummary, InputSpec, Inspection, Layout, ModeSummary, Preprocessing};
    use heirloom::registry::{FileRef, Format, ModelRef};
    use heirloom::store::Digest;
    use heirloom::transform::geometry::Geometry;

    /// A digest of four digits, again and again.
    fn digest(four: &str) -> Digest {
        Digest::parse(&format!("sha256:{}", four.repeat(16))).expect("a digest")
    }

    #[test]
    fn an_inspection_looks_like_this() {
        let inspection = Inspection {
            identity: ModelRef {
                path: "m/\u{1b}[2J.onnx".into(),
                format: Format::Onnx,
                digest: digest("9f2e"),
                bytes: 1_234_567,
                files: vec![
                    FileRef { name: "-".into(), digest: digest("41c9"), bytes: 34_567 },
                    FileRef { name: "weights.bin".into(), digest: digest("7a31"), bytes: 1_200_000 },
                ],
            },
            description: "ONNX opset 17".into(),
            parameters: 25_557_032,
            trainable: 25_503_912,
            input: InputSpec {
                channels: 3,
                height: 224,
                width: 224,
                layout: Layout::Nchw,
                preprocessing: Preprocessing {
                    mean: [0.485, 0.456, 0.406],
                    std: [0.229, 0.224, 0.225],
                    order: ChannelOrder::Bgr,
                    from: "assumed: ImageNet".into(),
                },
                geometry: Geometry { before_crop: Some([256, 256]), ..Geometry::default() },
                geometry_from: "config.json".into(),
                overruled: Vec::new(),
            },
            feature_layer: FeatureLayerSummary { name: "/avgpool/out".into(), width: 2048, how: "input of the last linear layer".into() },
            operators: BTreeMap::from([("Conv".into(), 53), ("Relu".into(), 49)]),
            modes: vec![
                ModeSummary { mode: "fixed_feature".into(), possible: true, reason: None },
                ModeSummary { mode: "full_network".into(), possible: false, reason: Some("its weights are quantised".into()) },
            ],
            bypass: Some(Bypass { nodes: ["gate", "kick", "poisoned"].map(String::from).to_vec(), to_features: true }),
            not_searched: None,
            executor: "ONNX Runtime 1.32.0".into(),
            executor_reason: None,
        };
        insta::assert_snapshot!(render(&inspection));
    }

    #[test]
    fn sizes_and_digits() {
        assert_eq!(size("224x192"), Ok([224, 192]));
        for bad in ["224", "x", "0x1", "5000x1", "-1x2", "1x2x3"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!([0, 999, 1000, 25_557_032].map(grouped), ["0", "999", "1,000", "25,557,032"]);
    }
}
