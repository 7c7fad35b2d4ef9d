//! What a scan file says.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::Bucket;
use crate::source::mlflow;
use crate::spec;

/// A registry of models that is scanned every night.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScanFile {
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Its name, shown in reports.
    #[schemars(length(min = 1))]
    pub name: String,
    /// One paragraph for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where the models are.
    #[schemars(length(min = 1))]
    pub sources: Vec<SourceSpec>,
    /// What each model is held against: the first rule that matches a model counts.
    #[schemars(length(min = 1))]
    pub rules: Vec<RuleSpec>,
    /// What one night may take. What does not fit is listed as not reached, and comes first the next night.
    #[serde(default)]
    pub budget: Budget,
    /// A model that has not changed is measured again after this time, such as 90d. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^([0-9]{1,6}[dhms])+$"))]
    pub recheck_after: Option<String>,
    /// Names of the models whose families count as neighbours that others are compared with; a pattern, or a list. Default: all models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<Patterns>,
    /// Which models change the exit code.
    #[serde(default)]
    pub fail_on: FailOn,
    /// Whether models that the budget did not reach leave the exit code alone. Default: they make a scan inconclusive.
    #[serde(default)]
    pub allow_not_reached: bool,
    /// Folder for records and reports, relative to this file. Default: `heirloom-scan` in the current folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
}

/// Where models are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SourceSpec {
    /// A folder and all below it, hub caches too, relative to the scan file.
    Folder(PathBuf),
    /// The models of one owner on a hub.
    Hf(HubSpec),
    /// The models of a hub that a file lists.
    HfList(HubListSpec),
    /// The address of a JSON index of models on a web server.
    Http(String),
    /// The models in a bucket of S3, or of a server that speaks as it does.
    S3(S3Spec),
    /// The models in a bucket of Google Cloud Storage.
    Gs(GsSpec),
    /// The models in a container of Azure Blob Storage.
    Az(AzSpec),
    /// The models of an MLflow registry.
    Mlflow(MlflowSpec),
}

/// The models of an MLflow registry, each in its newest version. Credentials are those of the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MlflowSpec {
    /// The server's address.
    #[schemars(length(min = 1))]
    pub endpoint: String,
    /// Which models, as MLflow's search takes it, such as `name LIKE 'vit%'`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub filter: Option<String>,
    /// In place of the newest version the one with this alias. Models without it are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub alias: Option<String>,
    /// Buckets, each with a prefix, in which the files of a version may be, such as `s3://models/team`. Default: only among the server's own artifacts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_sources: Vec<String>,
}

/// The models in a bucket of S3, or of a server that speaks as it does. Credentials are those of the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Spec {
    /// The bucket.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$"))]
    pub bucket: String,
    /// The folder in it, with `/` between. Default: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub prefix: Option<String>,
    /// The server's address, such as that of MinIO. Default: that of `AWS_ENDPOINT_URL`, else Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub endpoint: Option<String>,
    /// The region. Default: that of `AWS_REGION` or `AWS_DEFAULT_REGION`, else us-east-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub region: Option<String>,
    /// Whether it is asked without credentials: a bucket that everyone may read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
}

/// The models in a bucket of Google Cloud Storage. Credentials are those of the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GsSpec {
    /// The bucket.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$"))]
    pub bucket: String,
    /// The folder in it, with `/` between. Default: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub prefix: Option<String>,
    /// The server's address. Default: that of `GOOGLE_BASE_URL`, else Google's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub endpoint: Option<String>,
    /// Whether it is asked without credentials: a bucket that everyone may read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
}

/// The models in a container of Azure Blob Storage. Credentials are those of the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AzSpec {
    /// The storage account. Default: that of `AZURE_STORAGE_ACCOUNT_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub account: Option<String>,
    /// The container.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$"))]
    pub container: String,
    /// The folder in it, with `/` between. Default: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub prefix: Option<String>,
    /// The account's address. Default: that of `AZURE_STORAGE_ENDPOINT`, else Azure's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub endpoint: Option<String>,
    /// Whether it is asked without credentials: a container that everyone may read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
}

/// The models of one owner on a hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HubSpec {
    /// The owner: an organisation, or a person.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"))]
    pub organisation: String,
    /// Tags, all of which a model has to have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// The task that models are for, as the hub calls it, such as image-classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub pipeline: Option<String>,
    /// So many models, the newest first. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
    /// The hub's address. Default: that of `HF_ENDPOINT`, else `https://huggingface.co`. A token is sent to that default alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub endpoint: Option<String>,
}

/// The models of a hub that a file lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HubListSpec {
    /// A text file, relative to the scan file: a line for each model, OWNER/NAME or OWNER/NAME@REVISION.
    pub file: PathBuf,
    /// The hub's address. Default: that of `HF_ENDPOINT`, else `https://huggingface.co`. A token is sent to that default alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub endpoint: Option<String>,
}

impl SourceSpec {
    /// What the source is called in reports.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Hf(hub) => {
                let hub_name = hub.endpoint.as_deref().unwrap_or("hf").trim_end_matches('/');
                let task = hub.pipeline.iter().map(|task| format!("[{task}]"));
                let chosen: String = hub.filter.iter().map(|tag| format!("[{tag}]")).chain(task).collect();
                format!("{hub_name}:{}{chosen}", hub.organisation)
            }
            Self::HfList(list) => format!("{}:{}", list.endpoint.as_deref().unwrap_or("hf").trim_end_matches('/'), list.file.display()),
            Self::Http(index) => index.split('?').next().unwrap_or_default().to_owned(),
            Self::Mlflow(registry) => {
                let filter = registry.filter.iter().map(|filter| format!("[{filter}]"));
                let chosen: String = filter.chain(registry.alias.iter().map(|alias| format!("@{alias}"))).collect();
                format!("{}{chosen}", registry.endpoint.trim_end_matches('/'))
            }
            Self::S3(_) | Self::Gs(_) | Self::Az(_) => {
                let (bucket, prefix) = self.bucket().unzip();
                let (bucket, prefix) = (bucket.map(|bucket| bucket.address()).unwrap_or_default(), prefix.unwrap_or_default());
                if prefix.is_empty() { bucket } else { format!("{bucket}/{prefix}") }
            }
        }
    }

    /// Buckets that an MLflow registry may lead to.
    pub fn allowed(&self) -> Vec<Bucket> {
        let allowed: &[String] = if let Self::Mlflow(registry) = self { &registry.allow_sources } else { &[] };
        allowed.iter().filter_map(|text| Some(mlflow::allowed(text)?.0)).collect()
    }

    /// The bucket of an object store, and the prefix in it.
    pub fn bucket(&self) -> Option<(Bucket, String)> {
        let one = |scheme, name: &str, prefix: &Option<String>, endpoint: &Option<String>, anonymous| {
            let (name, endpoint) = (name.to_owned(), endpoint.clone());
            let bucket = Bucket { scheme, name, account: None, endpoint, region: None, anonymous };
            (bucket, prefix.as_deref().unwrap_or_default().trim_matches('/').to_owned())
        };
        Some(match self {
            Self::S3(S3Spec { bucket, prefix, endpoint, region, anonymous }) => {
                let (bucket, prefix) = one("s3", bucket, prefix, endpoint, *anonymous);
                (Bucket { region: region.clone(), ..bucket }, prefix)
            }
            Self::Gs(GsSpec { bucket, prefix, endpoint, anonymous }) => one("gs", bucket, prefix, endpoint, *anonymous),
            Self::Az(AzSpec { account, container, prefix, endpoint, anonymous }) => {
                let (bucket, prefix) = one("az", container, prefix, endpoint, *anonymous);
                (Bucket { account: account.clone(), ..bucket }, prefix)
            }
            Self::Folder(_) | Self::Hf(_) | Self::HfList(_) | Self::Http(_) | Self::Mlflow(_) => return None,
        })
    }
}

/// What is done with the models that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleSpec {
    /// Which models; a model has to match every field. Without fields all match.
    #[serde(rename = "match", default)]
    pub matching: Match,
    /// The policy that they are held against, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// How far they are looked into.
    #[serde(default)]
    pub tier: Tier,
    /// In place of a policy: why these models are left out. They are listed, and change no exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub skip: Option<String>,
}

/// Which models a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Match {
    /// A pattern of the model's name in its source; `*` stands for any characters, `/` too, `?` for one. Or a list of patterns, one of which
    /// has to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Patterns>,
    /// A pattern of the source's name, or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Patterns>,
    /// A pattern of one of the tags that a hub gives the model, or a list. Models of other sources have none, and do not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Patterns>,
    /// The size of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The size of the images that it takes. It stands in the checkpoint, so that a model that other conditions do not exclude is looked into first: of
    /// one on a server its header is fetched, or all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputSize>,
    /// How it is stored, by the ending of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Stored>,
}

/// One pattern or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Patterns {
    /// One.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

impl Patterns {
    /// All of them, each with what leads to it from the field.
    pub fn all(&self) -> Vec<(String, &str)> {
        match self {
            Self::One(pattern) => vec![(String::new(), pattern)],
            Self::Any(patterns) => patterns.iter().enumerate().map(|(nth, pattern)| (format!("/{nth}"), pattern.as_str())).collect(),
        }
    }
}

/// Bounds of a size, such as 500MB or 2GiB.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    /// So large or larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{1,15} ?([KMGT]i?)?B$"))]
    pub at_least: Option<String>,
    /// So large or smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{1,15} ?([KMGT]i?)?B$"))]
    pub at_most: Option<String>,
}

/// Bounds of both sides of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputSize {
    /// So many or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub at_least: Option<usize>,
    /// So many or fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub at_most: Option<usize>,
}

/// How a model is stored, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// `.onnx`.
    Onnx,
    /// `.safetensors`, or the index of several such files.
    Safetensors,
    /// A checkpoint that is not read: a pickle, HDF5, GGUF and the like.
    Other,
}

/// How far a model is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The file is read, and nothing is trained: format, architecture, input, nodes around the weights.
    Static,
    /// The policy's rules on frozen features.
    Features,
    /// All rules of the policy.
    #[default]
    Full,
}

impl Tier {
    /// As a scan file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Features => "features",
            Self::Full => "full",
        }
    }
}

/// What one night may take.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// No model is begun after this time, such as 8h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^([0-9]{1,6}[dhms])+$"))]
    pub time: Option<String>,
    /// Most bytes of new or changed models that are read, such as 200GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{1,15} ?([KMGT]i?)?B$"))]
    pub bytes: Option<String>,
    /// Most bytes a second that are fetched from servers, such as 20MB; at least 64KiB. Default: as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{1,15} ?([KMGT]i?)?B$"))]
    pub bandwidth: Option<String>,
    /// Most bytes that a model on a server may take on this machine's disk while it is judged, such as 5GiB. Default: as many as are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{1,15} ?([KMGT]i?)?B$"))]
    pub disk: Option<String>,
    /// Most models that are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub models: Option<usize>,
}

/// Which models change the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailOn {
    /// All.
    #[default]
    Any,
    /// Those that were not so the night before.
    New,
}

spec::form!(ScanFile, spec::SCAN);

/// Seconds of a length of time such as `8h` or `1d12h`.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = std::mem::take(&mut number).parse::<u64>().ok()?.checked_mul(unit)?.checked_add(total)?;
    }
    number.is_empty().then_some(total).filter(|total| *total > 0)
}

/// Bytes of a size such as `500MB` or `2 GiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    let unit = unit.trim_start();
    let base: u64 = if unit.contains('i') { 1024 } else { 1000 };
    let power = match unit.chars().next()? {
        'B' => 0,
        'K' => 1,
        'M' => 2,
        'G' => 3,
        'T' => 4,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(base.pow(power))
}

#[cfg(test)]
mod tests {
    use super::{bytes, seconds};

    #[test]
    fn lengths_of_time_and_sizes() {
        assert_eq!(["90s", "15m", "8h", "1d12h", "90d"].map(seconds), [90, 900, 28_800, 129_600, 7_776_000].map(Some));
        assert_eq!(["", "8", "0s", "8w", "99999999999999999999h"].map(seconds), [None; 5]);
        assert_eq!(
            ["0B", "1024B", "500MB", "2 GiB", "1KiB", "3TB"].map(bytes),
            [0, 1024, 500_000_000, 2 << 30, 1024, 3_000_000_000_000].map(Some)
        );
        assert_eq!(["", "5", "MB", "999999999999999TiB"].map(bytes), [None; 4]);
    }
}
