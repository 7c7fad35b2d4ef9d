//! What the fuzz targets in `fuzz/` feed with bytes of unknown origin: one function per kind of input. No part of the library's
//! interface.
//!
//! Each goes as far as a command would with what it was given, and answers whether the bytes were understood. None may panic, hang or
//! ask for memory out of proportion. The corpus of each is read again in the library's own tests.

use std::path::Path;
use std::sync::LazyLock;

use ndarray::ArrayD;

use crate::model::{ChannelOrder, InputSpec, Layout, LoadOptions, Model, Params, Preprocessing, arch, onnx, safetensors};
use crate::policy::{self, Policy};
use crate::registry::{self, Configuration, Contents, ExternalData, Format, ModelRef};
use crate::report::{self, Report};
use crate::spec::SpecError;
use crate::store::Digest;
use crate::study::StudyError;
use crate::transform::geometry::Geometry;
use crate::transform::{PreparedTrigger, Trigger};
use crate::{calibrate, data, diag, engine, plant, study};

/// What is read of one input.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name that it has in `fuzz/`.
pub const TARGETS: [(&str, Target); 15] = [
    ("cifar", cifar),
    ("config", config),
    ("csv", csv),
    ("hub", hub_answers),
    ("idx", idx),
    ("image", image),
    ("matlab", matlab),
    ("onnx", onnx_file),
    ("parquet", parquet),
    ("policy", policy_file),
    ("report", report_files),
    ("safetensors", safetensors_file),
    ("specification", specification),
    ("trigger", trigger),
    ("webdataset", webdataset),
];

/// An ONNX file: surveyed, lowered, and cut where features leave.
pub fn onnx_file(bytes: &[u8]) -> bool {
    let outside = registry::outside(bytes);
    // Files beside it that cannot be there: their bytes are those of the file.
    let external: ExternalData = outside.into_iter().map(|location| (location, bytes.to_vec())).collect();
    let surveyed = onnx::survey(bytes, &external, Some([8, 8]), None).is_ok();
    let Ok(imported) = onnx::load_sized(bytes, &external, Some([8, 8])) else { return surveyed };
    let identity = reference("fuzz.onnx", Format::Onnx, bytes);
    let contents = Contents { external, ..bytes.to_vec().into() };
    let file = Some(&contents);
    Model::assemble(identity, imported, &contents.configuration, file, &LoadOptions::default())
        .is_ok_and(|model| !model.inspection().modes.is_empty())
}

/// A safetensors file without anything beside it, or an index, a byte of 0 and the one file that every tensor of the index lies in.
pub fn safetensors_file(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == 0).filter(|_| bytes.starts_with(b"{")).unwrap_or(bytes.len());
    let (file, shard) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let names = registry::Index::of(file).map(|index| index.weight_map.into_values()).into_iter().flatten();
    let contents = Contents { external: names.map(|name| (name, shard.to_vec())).collect(), ..file.to_vec().into() };
    let (configuration, options) = (&contents.configuration, LoadOptions::default());
    let Ok(imported) = safetensors::load_held(&contents, &options) else { return false };
    let identity = reference("fuzz.safetensors", Format::Safetensors, bytes);
    Model::assemble(identity, imported, configuration, None, &options).is_ok_and(|model| !model.inspection().modes.is_empty())
}

fn reference(name: &str, format: Format, bytes: &[u8]) -> ModelRef {
    ModelRef { path: name.into(), format, digest: Digest::of(b"fuzz"), bytes: bytes.len() as u64, files: Vec::new() }
}

/// A policy, as far as no other file is needed to judge it.
pub fn policy_file(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| parsed(text).is_some())
}

fn parsed(text: &str) -> Option<Policy> {
    let options = policy::Options { files: false, today: (2026, 1, 1), ..policy::Options::default() };
    match policy::parse(text, "fuzz.yaml", Path::new("/nowhere"), &options) {
        Ok((policy, _)) => Some(policy),
        Err(error) => {
            drawn(&error);
            None
        }
    }
}

/// What is wrong is drawn beside the text, at its place.
fn drawn(error: &SpecError) {
    if let SpecError::Invalid { text, name, diagnostics, .. } = error {
        assert!(!diag::render(text, name, diagnostics, true).is_empty());
    }
    assert!(!error.to_string().is_empty());
}

/// The other files that are written by hand: a study, the specification of a planted source, that of a calibration.
pub fn specification(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let planted = plant::parse(text, "plant.yaml").map_err(|error| drawn(&error));
    let calibrated = calibrate::parse(text, "calibration.yaml").map_err(|error| drawn(&error));
    let studied =
        data::alone::in_a_folder(&[("study.yaml", bytes)], |folder| match study::Grid::read(&folder.join("study.yaml"), None, None) {
            Ok(_) => true,
            Err(error) => {
                if let StudyError::Spec(error) = &error {
                    drawn(error);
                }
                false
            }
        });
    planted.is_ok() || calibrated.is_ok() || studied
}

/// An image of a data set.
pub fn image(bytes: &[u8]) -> bool {
    [data::Orientation::Upright, data::Orientation::Stored].iter().filter(|way| data::decode::decode(bytes, **way).is_ok()).count() > 0
}

/// An image that a trigger is made of, in every way that images are used, with one of its shams.
pub fn trigger(bytes: &[u8]) -> bool {
    let reads = |trigger: &Trigger| !trigger.files().is_empty();
    let triggers: Vec<Trigger> =
        Trigger::examples().iter().filter(|trigger| reads(trigger)).map(|t| t.with_files(&|_| "image".into())).collect();
    data::alone::in_a_folder(&[("image", bytes)], |folder| {
        triggers.iter().filter(|trigger| PreparedTrigger::new(trigger, folder, 16, 16).is_ok_and(|made| made.sham(0, 1) != made)).count()
            > 0
    })
}

/// A parquet file with all its rows and images.
pub fn parquet(bytes: &[u8]) -> bool {
    data::alone::parquet(bytes)
}

/// A shard of a data set with all its samples and images.
pub fn webdataset(bytes: &[u8]) -> bool {
    data::alone::webdataset(bytes)
}

/// A MATLAB file of labels.
pub fn matlab(bytes: &[u8]) -> bool {
    data::alone::matlab(bytes)
}

/// The CSV file of a target's attributes, or of its images.
pub fn csv(bytes: &[u8]) -> bool {
    data::alone::csv(bytes)
}

/// What a hub says of its models and of one of them, an index of models, a list of names, and a bucket's list of objects.
pub fn hub_answers(bytes: &[u8]) -> bool {
    use crate::source::{bucket, hub, web};
    let Ok(at) = crate::net::Url::parse("https://hub.example/team/index.json") else { return false };
    let page = hub::page(bytes).is_ok();
    let one = hub::read(bytes, at.as_str(), "acme/model").map(|model| model.checkpoints);
    let index = web::read(bytes, &at).map(|models| models.into_iter().filter_map(|(_, found)| found.ok()).flatten().collect::<Vec<_>>());
    let list = std::str::from_utf8(bytes).is_ok_and(|text| hub::read_list(text).is_ok());
    let objects = bucket::models_of(bytes);
    let read = one.is_ok() || index.is_ok() || objects.is_some();
    for listed in one.into_iter().chain(index.ok()).chain(objects).flatten() {
        let Some(remote) = listed.remote else { continue };
        // No file of a server is written outside of the folder for it.
        let folder = Path::new("downloads");
        let inside =
            |path: &str| remote.snapshot(folder).join(path).components().all(|part| !matches!(part, std::path::Component::ParentDir));
        assert!(remote.files.iter().all(|file| inside(&file.path)) && remote.snapshot(folder).starts_with(folder));
        assert!(!remote.address().is_empty());
    }
    page || read || list
}

/// The files of an IDX data set, plain or packed.
pub fn idx(bytes: &[u8]) -> bool {
    data::alone::idx(bytes)
}

/// A file of CIFAR-10 or CIFAR-100.
pub fn cifar(bytes: &[u8]) -> bool {
    data::alone::cifar(bytes)
}

/// The configuration files beside a checkpoint, apart by lines of `---`: `config.json`, `preprocessor_config.json`, `processor_config.json`.
pub fn config(bytes: &[u8]) -> bool {
    let names = [registry::CONFIG, registry::PREPROCESSOR, registry::PROCESSOR];
    let (mut files, mut rest) = (Vec::new(), Some(bytes));
    for name in names {
        let Some(text) = rest else { break };
        let at = text.windows(5).position(|w| w == b"\n---\n");
        files.push((name, at.map_or(text, |at| &text[..at])));
        rest = at.and_then(|at| text.get(at + 5..));
    }
    data::alone::in_a_folder(&files, |folder| {
        let Ok(configuration) = Configuration::read(&folder.join("model.safetensors")) else { return false };
        let contents = Contents { configuration, ..TINY.clone() };
        safetensors::load_held(&contents, &LoadOptions::default()).is_ok()
    })
}

/// A small network, whose weights are all the same.
static TINY: LazyLock<Contents> = LazyLock::new(|| tiny().unwrap_or_default().into());

fn tiny() -> Option<Vec<u8>> {
    let graph = arch::build("resnet-cifar-8:4,4,4", 3, [16, 16]).ok()?;
    let params = Params(graph.slots().iter().map(|slot| ArrayD::from_elem(slot.shape.clone(), 0.5)).collect());
    let preprocessing = Preprocessing { mean: [0.5; 3], std: [0.5; 3], order: ChannelOrder::default(), from: String::new() };
    let (geometry, geometry_from) = (Geometry::default(), String::new());
    let (overruled, layout) = (Vec::new(), Layout::Nchw);
    let input = InputSpec { channels: 3, height: 16, width: 16, layout, preprocessing, geometry, geometry_from, overruled };
    safetensors::write(&graph, &params, &input, &[("heirloom.arch".into(), "resnet-cifar-8:4,4,4".into())].into()).ok()
}

/// A report and its measurements, apart by a byte of 0: rendered in every form, and judged again.
pub fn report_files(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (report, measured) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let Ok(report) = Report::parse(report, Path::new("report.json")) else { return false };
    let written = report::table::render(&report, report::table::Look { color: true, width: 60 }).len();
    let measurements = Report::parse_measurements(measured, Path::new("measurements.json.gz")).unwrap_or_default();
    let material = report::Material { report: &report, measurements: Some(&measurements), pictures: &[] };
    let rendered = report::formats::FORMATS.iter().all(|format| (format.report)(&material).is_ok());
    let Some(policy) = &*JUDGE else { return false };
    let again = engine::rejudge(&report, &measurements, policy, "2026-01-01", false);
    rendered && written > 0 && again.is_ok_and(|again| report::json::render(&again).is_ok())
}

/// What measurements are judged by: every kind of number that is computed from them, few seeds asked.
static JUDGE: LazyLock<Option<Policy>> = LazyLock::new(|| {
    parsed(
        "version: 1\nname: fuzz\ntarget: { data: { embedded: fashion } }\n\
         transfer: { fixed_feature: { epochs: 1, learning_rate: 0.1 }, full_network: { epochs: 1, learning_rate: 0.1 } }\n\
         seeds: { fixed_feature: { first: 2, most: 4 }, full_network: { first: 2, most: 4 } }\nrules:\n\
         \x20 - { id: s, probe: { backdoor: { trigger: { patch: { size: 0.2, color: \"#ffff00\" } } } }, limit: 0.1 }\n\
         \x20 - { id: t, probe: { backdoor: { trigger: { patch: { size: 0.2, color: \"#ffff00\" } }, target_class: c0 } }, limit: 0.1 }\n\
         \x20 - { id: g, probe: { attribute: { attribute: a, min_group: 2 } }, estimand: group_gap, limit: 0.1 }\n\
         \x20 - { id: w, probe: { attribute: { attribute: a, min_group: 2 } }, estimand: worst_group_accuracy, limit: 0.1 }\n\
         \x20 - { id: r, probe: { attribute: { attribute: a, min_group: 2 } }, estimand: reliance, limit: 0.1 }\n\
         \x20 - { id: e, probe: { attribute: { attribute: a, class: c0, min_group: 2 } }, estimand: equalized_odds_difference, limit: 0.1 }\n\
         \x20 - { id: d, probe: { debiased: { attribute: a, min_group: 2 } }, estimand: group_gap, limit: 0.1 }\n",
    )
});

#[cfg(test)]
mod tests;
