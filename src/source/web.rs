//! Models that a JSON index on a web server lists, each file with its SHA-256.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::access::address;
use super::hub::of_files;
use super::remote::{RemoteFile, Role, below, is_below};
use super::{Cause, Listed, Refusal};
use crate::net::{Kind, Net, NetError, Url};
use crate::store::{Digest, Fingerprinter};

/// Most bytes of an index.
const MOST: u64 = 256 << 20;
/// Most models of an index.
const MOST_MODELS: usize = 200_000;
/// Most files of one of them.
const MOST_FILES: usize = 10_000;

/// An index: `{"models": [{"name": ..., "files": [{"path": ..., "size": ..., "sha256": ..., "url": ...}]}]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    #[serde(deserialize_with = "models")]
    models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    #[serde(deserialize_with = "files")]
    files: Vec<File>,
}

fn models<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Model>, D::Error> {
    bounded(deserializer, MOST_MODELS, "models")
}

fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<File>, D::Error> {
    bounded(deserializer, MOST_FILES, "files in one model")
}

/// A list of no more than so many: what is above is not kept in memory first.
fn bounded<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D, most: usize, what: &'static str) -> Result<Vec<T>, D::Error> {
    struct Few<T>(usize, &'static str, PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut found = Vec::new();
            while let Some(one) = list.next_element()? {
                if found.len() >= self.0 {
                    return Err(A::Error::custom(format!("it lists more than {} {}", self.0, self.1)));
                }
                found.push(one);
            }
            Ok(found)
        }
    }
    deserializer.deserialize_seq(Few(most, what, PhantomData))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    url: Option<String>,
    size: u64,
    sha256: String,
}

/// The models of an index, by their names, each with its checkpoints or why it has none.
pub(crate) type Models = Vec<(String, Result<Vec<Listed>, Refusal>)>;

/// The models of an index on a server.
pub(crate) fn list(net: &Net, index: &Url) -> Result<Models, NetError> {
    let answer = net.get(index, MOST)?;
    read(&answer.bytes, index).map_err(|why| NetError::new(Kind::Unread, index.as_str(), why))
}

/// The models in the bytes of an index at an address.
pub(crate) fn read(bytes: &[u8], at: &Url) -> Result<Models, String> {
    let index: Index = serde_json::from_slice(bytes).map_err(|error| format!("it is no index of models: {error}"))?;
    let mut names = BTreeSet::new();
    for model in &index.models {
        if !is_below(&model.name) || model.name.contains("--") {
            return Err(format!("`{}` is no name of a model", model.name.escape_debug()));
        }
        if !names.insert(&model.name) {
            return Err(format!("`{}` stands there twice", model.name.escape_debug()));
        }
    }
    Ok(index.models.iter().map(|model| (model.name.clone(), of_model(model, at))).collect())
}

fn of_model(model: &Model, at: &Url) -> Result<Vec<Listed>, Refusal> {
    let refuse = |why: String| Refusal::new(Cause::Error, format!("the index is wrong about it: {why}"));
    let mut files: Vec<RemoteFile> = Vec::new();
    let mut paths = BTreeSet::new();
    let mut feed = Fingerprinter::new("heirloom model of an index", 1);
    for file in &model.files {
        if !is_below(&file.path) || !paths.insert(file.path.as_str()) {
            return Err(refuse(format!("`{}` is no path below the model, or stands there twice", file.path.escape_debug())));
        }
        let digest = Digest::parse(&format!("{}{}", Digest::PREFIX, file.sha256));
        let digest = digest.ok_or_else(|| refuse(format!("the `sha256` of {} is none", file.path)))?;
        // Where no address is given, it lies beside the index.
        let url = match &file.url {
            Some(url) => at.join(url).map_err(|error| error.to_string()),
            None => beside(at, &below(&model.name, &file.path)),
        };
        let url = url.and_then(|url| address(url.as_str()).map(drop).map(|()| url));
        let url = url.map_err(|why| refuse(format!("the `url` of {}: {why}", file.path)))?;
        if at.scheme() == "https" && url.scheme() != "https" {
            return Err(refuse(format!("the `url` of {} leads from https to what is not", file.path)));
        }
        feed.field("path", file.path.as_str());
        feed.field("digest", &digest);
        files.push(RemoteFile {
            path: file.path.clone(),
            url: Some(url.into()),
            bytes: Some(file.size),
            digest: Some(digest),
            tag: None,
            mark: None,
            role: Role::Maybe,
        });
    }
    let home = at.origin().ascii_serialization();
    let revision = feed.finish();
    let found = of_files(&files, &home, revision.digits().get(..40).unwrap_or_default(), &model.name);
    if found.is_empty() { Err(refuse("it has no checkpoint among its files".to_owned())) } else { Ok(found) }
}

/// The address of a file that lies beside the index, whatever is in its name.
fn beside(at: &Url, path: &str) -> Result<Url, String> {
    let mut url = at.clone();
    url.set_query(None);
    url.path_segments_mut().map_err(|()| "the index has no address of that kind".to_owned())?.pop().extend(path.split('/'));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<String>, String> {
        let at = Url::parse("https://models.example/team/index.json?key=1").unwrap();
        let told = |(name, found): (String, Result<Vec<Listed>, Refusal>)| match found {
            Ok(found) => found
                .iter()
                .map(|l| format!("{} {}", l.entry.name, l.remote.as_ref().map(super::super::Remote::address).unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(", "),
            Err(refused) => format!("{name}: {}", refused.reason),
        };
        Ok(read(text.as_bytes(), &at)?.into_iter().map(told).collect())
    }

    #[test]
    fn an_index_names_files_by_their_digest() {
        let sha = "ab".repeat(32);
        let model = |fields: &str| format!("{{\"models\": [{{\"name\": \"vit\", \"files\": [{{{fields}}}]}}]}}");
        let file = |more: &str| model(&format!("\"path\": \"a b.onnx\", \"size\": 3, \"sha256\": \"{sha}\"{more}"));
        assert_eq!(of(&file("")).unwrap(), ["vit https://models.example/team/vit/a%20b.onnx"]);
        assert_eq!(of(&file(", \"url\": \"/blobs/1?sig=2\"")).unwrap(), ["vit https://models.example/blobs/1"]);
        for (text, part) in [
            (file(", \"url\": \"http://models.example/1\""), "from https to what is not"),
            (file(", \"url\": \"file:///etc/passwd\""), "begins with https://"),
            (file(", \"url\": \"https://a:b@x/1\""), "a name or a password"),
            (model(&format!("\"path\": \"../a.onnx\", \"size\": 3, \"sha256\": \"{sha}\"")), "is no path below the model"),
            (model("\"path\": \"a.onnx\", \"size\": 3, \"sha256\": \"ab\""), "`sha256` of a.onnx is none"),
            (model(&format!("\"path\": \"a.txt\", \"size\": 3, \"sha256\": \"{sha}\"")), "no checkpoint among its files"),
        ] {
            let told = of(&text).unwrap();
            assert!(told[0].contains(part), "{text}: {told:?}");
        }
        for text in ["", "[]", "{\"models\": [{\"name\": \"../x\", \"files\": []}]}", "{\"models\": [], \"more\": 1}"] {
            assert!(of(text).is_err(), "{text}");
        }
        let twice = "{\"name\": \"a\", \"files\": []}";
        assert!(of(&format!("{{\"models\": [{twice}, {twice}]}}")).unwrap_err().contains("stands there twice"));
    }
}
