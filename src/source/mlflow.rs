//! Models of an MLflow registry: the newest version of each, or the one that an alias names. Where the files of a version are, whoever registered it
//! says: only artifacts of the same server are followed, and buckets that the scan file allows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::hub::{misnamed, of_files};
use super::remote::{RemoteFile, Role, below, is_below};
use super::{Cause, Listed, Refusal, bucket, refused};
use crate::net::{Bucket, Kind, Net, NetError, Url};
use crate::store::Fingerprinter;

/// Most bytes of one answer.
const MOST_ANSWER: u64 = 64 << 20;
/// Most models, and most versions of all of them.
const MOST_MODELS: usize = 200_000;
const MOST_VERSIONS: usize = 2_000_000;
/// Most pages of a list.
const MOST_PAGES: usize = 20_000;
/// Most files of one version, and most folders.
const MOST_FILES: usize = 10_000;
const MOST_FOLDERS: usize = 500;
/// Models and versions on a page.
const PAGE: &str = "1000";
/// How artifacts of the server itself are called.
const OWN: &str = "mlflow-artifacts:";

/// A version that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The model's name.
    pub name: String,
    /// Its number.
    pub number: String,
    /// What tells its state from others.
    pub state: String,
    /// Why it is not looked at.
    pub refused: Option<Refusal>,
}

#[derive(Deserialize)]
struct Models {
    #[serde(default)]
    registered_models: Vec<Model>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    #[serde(default)]
    aliases: Vec<Alias>,
}

#[derive(Deserialize)]
struct Alias {
    alias: String,
    version: String,
}

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    model_versions: Vec<Numbered>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Numbered {
    name: String,
    version: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    run_id: String,
}

#[derive(Deserialize)]
struct Place {
    #[serde(default)]
    artifact_uri: String,
}

#[derive(Deserialize)]
struct Folder {
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    #[serde(default)]
    is_dir: bool,
    #[serde(default, rename = "file_size")]
    size: Option<u64>,
}

/// An address of the server's interface.
fn api(home: &Url, path: &[&str]) -> Url {
    let mut url = home.clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().extend(["api", "2.0"]).extend(path);
    }
    url
}

fn ask<T: DeserializeOwned>(net: &Net, url: &Url) -> Result<T, NetError> {
    let answer = net.get(url, MOST_ANSWER)?;
    let unread = |error: serde_json::Error| NetError::new(Kind::Unread, url.as_str(), format!("the answer is not MLflow's: {error}"));
    serde_json::from_slice(&answer.bytes).map_err(unread)
}

/// The versions that are wanted, in the order of the models' names. With an alias, models without it are left out.
pub(crate) fn versions(net: &Net, home: &Url, filter: Option<&str>, alias: Option<&str>) -> Result<Vec<Version>, NetError> {
    let mut models: BTreeMap<String, Option<String>> = BTreeMap::new();
    let (mut page, mut pages): (Option<String>, BTreeSet<String>) = (None, BTreeSet::new());
    loop {
        let mut url = api(home, &["mlflow", "registered-models", "search"]);
        url.query_pairs_mut().append_pair("max_results", PAGE).extend_pairs(filter.map(|filter| ("filter", filter)));
        url.query_pairs_mut().extend_pairs(page.as_ref().map(|page| ("page_token", page)));
        let found: Models = ask(net, &url)?;
        for model in found.registered_models {
            let named = model.aliases.into_iter().find(|named| Some(named.alias.as_str()) == alias).map(|named| named.version);
            if alias.is_none() || named.is_some() {
                models.insert(model.name, named);
            }
        }
        if models.len() > MOST_MODELS {
            let reason = format!("it lists more than {MOST_MODELS} models: choose some by `filter`");
            return Err(NetError::new(Kind::TooLarge, url.as_str(), reason));
        }
        page = following(found.next_page_token, &mut pages, &url)?;
        if page.is_none() {
            break;
        }
    }
    let mut chosen: BTreeMap<String, Numbered> = BTreeMap::new();
    let mut seen = 0;
    pages.clear();
    while !models.is_empty() {
        let mut url = api(home, &["mlflow", "model-versions", "search"]);
        url.query_pairs_mut().append_pair("max_results", PAGE).extend_pairs(page.as_ref().map(|page| ("page_token", page)));
        let found: Versions = ask(net, &url)?;
        seen += found.model_versions.len();
        if seen > MOST_VERSIONS {
            return Err(NetError::new(Kind::TooLarge, url.as_str(), format!("it lists more than {MOST_VERSIONS} versions")));
        }
        for version in found.model_versions {
            let Some(named) = models.get(&version.name) else { continue };
            let number = |version: &Numbered| version.version.parse::<u64>().unwrap_or_default();
            let is_it = match named {
                Some(named) => version.version == *named,
                None => chosen.get(&version.name).is_none_or(|known| number(known) < number(&version)),
            };
            if is_it {
                chosen.insert(version.name.clone(), version);
            }
        }
        page = following(found.next_page_token, &mut pages, &url)?;
        if page.is_none() {
            break;
        }
    }
    // A model without a version is a name that nothing stands behind yet.
    Ok(chosen.into_values().map(|version| wanted(&version)).collect())
}

/// The next page, which none of those before has led to.
fn following(next: Option<String>, pages: &mut BTreeSet<String>, url: &Url) -> Result<Option<String>, NetError> {
    let next = next.filter(|next| !next.is_empty());
    match &next {
        Some(token) if pages.len() >= MOST_PAGES || !pages.insert(token.clone()) => {
            Err(NetError::new(Kind::Unread, url.as_str(), "the pages of its list lead in a circle, or never end"))
        }
        _ => Ok(next),
    }
}

fn wanted(version: &Numbered) -> Version {
    let mut feed = Fingerprinter::new("heirloom version of a registry", 1);
    for (label, value) in [("version", &version.version), ("source", &version.source), ("run", &version.run_id)] {
        feed.field(label, value.as_str());
    }
    let digits = version.version.len() <= 20 && !version.version.is_empty() && version.version.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && is_below(&version.name);
    let name: String = if plain { version.name.clone() } else { version.name.escape_debug().take(200).collect() };
    let refused = (!plain).then(|| Refusal::new(Cause::Unsupported, format!("{name}: a name or a version that cannot be one of a folder")));
    let state = format!("v{}-{}", version.version, feed.finish().digits().get(..16).unwrap_or_default());
    Version { name, number: version.version.clone(), state, refused }
}

/// The checkpoints of a version. `allowed` are the buckets with their prefixes that a source may be in.
pub(crate) fn checkpoints(net: &Net, home: &Url, version: &Version, allowed: &[(Bucket, String)]) -> Result<Vec<Listed>, Refusal> {
    if let Some(refused) = &version.refused {
        return Err(refused.clone());
    }
    let mut url = api(home, &["mlflow", "model-versions", "get-download-uri"]);
    url.query_pairs_mut().append_pair("name", &version.name).append_pair("version", &version.number);
    let place: Place = ask(net, &url).map_err(|error| Refusal::from(&error))?;
    let called = format!("{} (version {})", version.name, version.number);
    let mut found = match source(&place.artifact_uri, home, allowed) {
        Source::Own(path) => {
            let (files, odd) = files(net, home, &path, &version.name)?;
            let mut found = of_files(&files, home.as_str(), &version.state, &version.name);
            found.extend(odd);
            found
        }
        Source::Bucket(bucket, prefix) => {
            let models = bucket::list(net, &bucket, &prefix).map_err(|error| Refusal::from(&error))?;
            // As among the server's own artifacts: a version with one checkpoint is called as it is.
            let single = models.iter().filter(|(_, found)| found.is_ok()).count() == 1;
            let one = |(name, found): (String, Result<Vec<Listed>, Refusal>)| {
                let name = if single && found.is_ok() { version.name.clone() } else { below(&version.name, &name) };
                let listed = found.unwrap_or_else(|why| vec![refused(&name, why)]);
                listed.into_iter().map(move |mut listed| {
                    listed.entry.name.clone_from(&name);
                    if let Some(remote) = &mut listed.remote {
                        remote.revision = format!("v{}-{}", version.number, remote.revision);
                    }
                    listed
                })
            };
            models.into_iter().flat_map(one).collect()
        }
        Source::Other => {
            let shown: String = place.artifact_uri.split(['?', '#']).next().unwrap_or_default().chars().take(120).collect();
            let reason =
                format!("the files of {called} are at {}, which `allow_sources` does not name: it is not followed", shown.escape_debug());
            return Err(Refusal::new(Cause::OutsideLink, reason));
        }
    };
    if found.is_empty() {
        let reason = format!("{called} holds no .safetensors or .onnx file, and no other checkpoint");
        found.push(refused(&version.name, Refusal::new(Cause::Unsupported, reason)));
    }
    Ok(found)
}

/// Where the files of a version are.
#[derive(Debug, PartialEq)]
enum Source {
    /// Among the artifacts of the server.
    Own(String),
    /// Below a prefix that is allowed.
    Bucket(Bucket, String),
    /// Somewhere that is not followed.
    Other,
}

fn source(uri: &str, home: &Url, allowed: &[(Bucket, String)]) -> Source {
    if let Some(rest) = uri.strip_prefix(OWN) {
        let path = match rest.strip_prefix("//") {
            // Another server's are not this one's.
            Some(rest) => match rest.split_once('/') {
                Some((host, path)) if host.is_empty() || Some(host) == authority(home).as_deref() => path,
                _ => return Source::Other,
            },
            None => rest,
        };
        let path = path.trim_matches('/');
        return if is_below(path) { Source::Own(path.to_owned()) } else { Source::Other };
    }
    for (bucket, prefix) in allowed {
        let Some(key) = uri.strip_prefix(&bucket.address()).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let key = key.trim_end_matches('/');
        let inside = prefix.is_empty() || key == prefix || key.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if inside && is_below(key) {
            return Source::Bucket(bucket.clone(), key.to_owned());
        }
    }
    Source::Other
}

fn authority(home: &Url) -> Option<String> {
    let host = home.host_str()?;
    Some(home.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// All files below a folder of artifacts.
fn files(net: &Net, home: &Url, root: &str, called: &str) -> Result<(Vec<RemoteFile>, Vec<Listed>), Refusal> {
    let too_many = || Refusal::new(Cause::TooLarge, format!("{called} has more than {MOST_FILES} files or {MOST_FOLDERS} folders"));
    let (mut found, mut odd, mut open, mut folders) = (Vec::new(), Vec::new(), vec![String::new()], 0);
    while let Some(at) = open.pop() {
        folders += 1;
        if folders > MOST_FOLDERS {
            return Err(too_many());
        }
        let mut url = api(home, &["mlflow-artifacts", "artifacts"]);
        url.query_pairs_mut().append_pair("path", &inside(root, &at));
        let folder: Folder = ask(net, &url).map_err(|error| Refusal::from(&error))?;
        for file in folder.files {
            let path = below(&at, &file.path);
            if !is_below(&path) {
                odd.extend(misnamed(called, &path));
                continue;
            }
            if file.is_dir {
                open.push(path);
                continue;
            }
            if found.len() >= MOST_FILES {
                return Err(too_many());
            }
            let mut parts = vec!["mlflow-artifacts", "artifacts"];
            let whole = inside(root, &path);
            parts.extend(whole.split('/'));
            let url = Some(api(home, &parts).into());
            found.push(RemoteFile { path, url, bytes: file.size, digest: None, tag: None, mark: None, role: Role::Maybe });
        }
    }
    found.sort_by(|a: &RemoteFile, b| a.path.cmp(&b.path));
    Ok((found, odd))
}

fn inside(root: &str, path: &str) -> String {
    if path.is_empty() { root.to_owned() } else { below(root, path) }
}

/// A bucket and the prefix in it that `allow_sources` names.
pub(crate) fn allowed(text: &str) -> Option<(Bucket, String)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = ["s3", "gs", "az"].into_iter().find(|known| *known == scheme)?;
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let is_one = plain && !name.is_empty() && (prefix.is_empty() || is_below(prefix));
    let bucket = Bucket { scheme, name: name.to_owned(), account: None, endpoint: None, region: None, anonymous: false };
    is_one.then(|| (bucket, prefix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_server_itself_and_what_is_allowed_are_followed() {
        let home = Url::parse("https://mlflow.example:5000/team").expect("an address");
        let allow = [allowed("s3://models/team").expect("a bucket")];
        let of = |uri: &str| source(uri, &home, &allow);
        assert_eq!(of("mlflow-artifacts:/1/models/m-2/artifacts"), Source::Own("1/models/m-2/artifacts".into()));
        assert_eq!(of("mlflow-artifacts://mlflow.example:5000/1/x"), Source::Own("1/x".into()));
        assert_eq!(of("s3://models/team/vit/"), Source::Bucket(allow[0].0.clone(), "team/vit".into()));
        for uri in [
            "mlflow-artifacts://other.example/1/x",
            "mlflow-artifacts:/../../etc",
            "mlflow-artifacts:/",
            "s3://models/teamwork/vit",
            "s3://models/team/../secret",
            "s3://models-2/team/vit",
            "s3://other/team",
            "gs://models/team",
            "file:///etc/passwd",
            "/etc/passwd",
            "http://169.254.169.254/latest/meta-data/",
            "",
        ] {
            assert_eq!(of(uri), Source::Other, "{uri}");
        }
        for text in ["file:///srv", "http://x", "s3://", "s3://a b", "s3://a/../b", "models"] {
            assert!(allowed(text).is_none(), "{text}");
        }
    }

    #[test]
    fn pages_in_a_circle_end() {
        let (mut pages, home) = (BTreeSet::new(), Url::parse("https://mlflow.example").expect("an address"));
        let mut next = |token: &str| following(Some(token.to_owned()), &mut pages, &home).map_err(|error| error.to_string());
        assert_eq!((next("a"), next("b"), next("")), (Ok(Some("a".into())), Ok(Some("b".into())), Ok(None)));
        assert!(next("a").is_err_and(|why| why.contains("in a circle")));
    }

    #[test]
    fn a_version_has_a_state_of_its_own() {
        let of = |name: &str, version: &str, source: &str| {
            wanted(&Numbered { name: name.into(), version: version.into(), source: source.into(), run_id: String::new() })
        };
        assert_ne!(of("vit", "1", "a").state, of("vit", "1", "b").state);
        assert!(of("vit", "12", "a").state.starts_with("v12-") && of("vit", "12", "a").refused.is_none());
        for (name, version) in [("../x", "1"), ("a\nb", "1"), ("vit", "../1"), ("vit", "")] {
            assert!(of(name, version, "a").refused.is_some(), "{name}");
        }
    }
}
