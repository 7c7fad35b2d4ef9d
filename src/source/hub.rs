//! Models on a hub: which there are, and of which files each is made, as the hub's own interface says it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::remote::{INDEX, Remote, RemoteFile, Role, below, file_name, folder_of, is_below, shown};
use super::{Cause, Ending, Entry, Listed, Refusal, ending};
use crate::net::{Kind, Net, NetError, Url};
use crate::store::Digest;

/// Most bytes of one answer.
const MOST_ANSWER: u64 = 64 << 20;
/// Most models of one source.
const MOST_MODELS: usize = 200_000;
/// Most files of one model.
const MOST_FILES: usize = 50_000;
/// Models on a page of the list.
const PAGE: usize = 1000;
/// Files that configure a checkpoint.
const CONFIGURATION: [&str; 3] = ["config.json", "preprocessor_config.json", "processor_config.json"];
/// Most tags of a model that are kept, and bytes of one.
const MOST_TAGS: usize = 256;
const LONGEST_TAG: usize = 256;
/// Most networks of one model beside which any file is taken for one that may hold their weights.
const MOST_BESIDE: usize = 64;
/// Most characters that are shown of what cannot be a name.
const LONGEST_NAME: usize = 200;
/// Most models of a source that is a list of names.
const MOST_NAMES: usize = 50_000;

/// A model by its name and revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `OWNER/NAME`.
    pub name: String,
    /// A branch, tag or commit.
    pub revision: String,
    /// The commit that this is now, where it is known without a request.
    pub commit: Option<String>,
    /// Whether the hub has taken it away.
    pub disabled: bool,
    /// Its tags, where they are known without a request.
    pub tags: Option<Vec<String>>,
}

/// Which models of an owner are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query<'a> {
    pub owner: &'a str,
    /// Tags, all of which a model has.
    pub tags: &'a [String],
    /// Its task.
    pub task: Option<&'a str>,
    /// So many, the newest first.
    pub limit: Option<usize>,
}

/// The models of an owner, in the order of the hub's pages, and whether there are more than the limit.
pub(crate) fn models(net: &Net, home: &Url, query: &Query) -> Result<(Vec<Wanted>, bool), NetError> {
    let mut url = api(home, &["models"]);
    {
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("author", query.owner).append_pair("limit", &query.limit.map_or(PAGE, |limit| limit.min(PAGE)).to_string());
        for tag in query.tags {
            pairs.append_pair("filter", tag);
        }
        if let Some(task) = query.task {
            pairs.append_pair("pipeline_tag", task);
        }
        if query.limit.is_some() {
            pairs.append_pair("sort", "createdAt").append_pair("direction", "-1");
        }
        // With the commit in the list, a model that has not changed costs no request of its own.
        for field in ["sha", "disabled", "tags"] {
            pairs.append_pair("expand", field);
        }
    }
    let most = query.limit.unwrap_or(MOST_MODELS);
    let mut found: Vec<Wanted> = Vec::new();
    let mut next = Some(url);
    while let Some(url) = next {
        let answer = net.get(&url, MOST_ANSWER)?;
        let page = page(&answer.bytes).map_err(|why| NetError::new(Kind::Unread, url.as_str(), why))?;
        let empty = page.is_empty();
        found.extend(page);
        if found.len() > most {
            if query.limit.is_none() {
                let reason = format!("it lists more than {MOST_MODELS} models: choose some by `filter` or `pipeline`");
                return Err(NetError::new(Kind::TooLarge, url.as_str(), reason));
            }
            found.truncate(most);
            return Ok((found, true));
        }
        // A page that leads to itself would never end.
        next = answer.next.filter(|next| *next != url && !empty);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    let cut = query.limit.is_some_and(|limit| found.len() >= limit);
    Ok((found, cut))
}

/// The models on a page of the list.
pub(crate) fn page(bytes: &[u8]) -> Result<Vec<Wanted>, String> {
    #[derive(Deserialize)]
    struct Model {
        #[serde(default)]
        id: Option<String>,
        // Both are there in some answers.
        #[serde(default, rename = "modelId")]
        other: Option<String>,
        #[serde(default)]
        sha: Option<String>,
        #[serde(default)]
        disabled: Option<bool>,
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let models: Vec<Model> = serde_json::from_slice(bytes).map_err(|error| format!("the list of models cannot be read: {error}"))?;
    let one = |model: Model| {
        let id = model.id.or(model.other).ok_or_else(|| "the list of models holds something without a name".to_owned())?;
        // What cannot be a name is shown as it is written, which cannot be one either: whoever asks for it refuses it.
        let name = if is_name(&id) { id } else { id.escape_debug().take(LONGEST_NAME).collect() };
        Ok(Wanted {
            name,
            revision: "main".to_owned(),
            commit: model.sha.filter(|sha| is_commit(sha)),
            disabled: model.disabled == Some(true),
            tags: model.tags.map(bounded),
        })
    };
    models.into_iter().map(one).collect()
}

/// The tags of a model, as many as are kept.
fn bounded(mut tags: Vec<String>) -> Vec<String> {
    tags.retain(|tag| tag.len() <= LONGEST_TAG);
    tags.truncate(MOST_TAGS);
    tags
}

/// Whether a text is `OWNER/NAME`, or a name without an owner as the hub's oldest models have.
pub(crate) fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        plain && (1..=96).contains(&part.len()) && !part.starts_with(['.', '-'])
    };
    text.split('/').count() <= 2 && text.split('/').all(part)
}

/// Whether a text is a branch, tag or commit.
pub(crate) fn is_revision(text: &str) -> bool {
    let part = |part: &str| {
        let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'));
        plain && !part.is_empty() && !part.starts_with(['.', '-'])
    };
    text.len() <= 200 && text.split('/').all(part)
}

/// Whether a text is a commit in full.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The models of a list: one `OWNER/NAME` or `OWNER/NAME@REVISION` a line, `#` begins a remark. An error names the line.
pub(crate) fn read_list(text: &str) -> Result<Vec<Wanted>, String> {
    let mut found: Vec<Wanted> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for (nth, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (name, revision) = line.split_once('@').unwrap_or((line, "main"));
        if !is_name(name) || !is_revision(revision) {
            return Err(format!("line {}: write OWNER/NAME or OWNER/NAME@REVISION", nth + 1));
        }
        if !known.insert(line.to_owned()) {
            return Err(format!("line {}: {line} stands there twice", nth + 1));
        }
        if found.len() >= MOST_NAMES {
            return Err(format!("line {}: no more than {MOST_NAMES} models are read", nth + 1));
        }
        let commit = is_commit(revision).then(|| revision.to_owned());
        found.push(Wanted { name: name.to_owned(), revision: revision.to_owned(), commit, disabled: false, tags: None });
    }
    Ok(found)
}

/// The commit of a model and its checkpoints. What the hub refuses is a model that cannot be judged.
pub(crate) fn checkpoints(net: &Net, home: &Url, wanted: &Wanted) -> Result<(String, Vec<Listed>), Refusal> {
    if !is_name(&wanted.name) {
        let reason = format!("{}: no name that a model of a hub can have, so it is not asked for", wanted.name);
        return Err(Refusal::new(Cause::Unsupported, reason));
    }
    if wanted.disabled {
        return Err(Refusal::new(Cause::NotFound, format!("{} is disabled on the hub", wanted.name)));
    }
    let mut path = vec!["models"];
    path.extend(wanted.name.split('/'));
    path.extend(["revision", &wanted.revision]);
    let mut url = api(home, &path);
    url.query_pairs_mut().append_pair("blobs", "true");
    let answer = net.get(&url, MOST_ANSWER).map_err(|error| Refusal::from(&error))?;
    let Model { commit, gated, checkpoints } = read(&answer.bytes, home.as_str(), &wanted.name)?;
    // Of a model behind terms everyone may see the list of files.
    if gated && let Some(remote) = checkpoints.iter().find_map(|listed| listed.remote.as_ref()) {
        remote.probe(net)?;
    }
    Ok((commit, checkpoints))
}

/// An address of the hub's interface; each part of a path is one, whatever is in it.
fn api(home: &Url, path: &[&str]) -> Url {
    let mut url = home.clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().push("api").extend(path);
    }
    url
}

/// What an answer says of a model.
pub(crate) struct Model {
    pub commit: String,
    /// Whether terms have to be accepted.
    pub gated: bool,
    pub checkpoints: Vec<Listed>,
}

/// The model that an answer is about.
pub(crate) fn read(bytes: &[u8], home: &str, name: &str) -> Result<Model, Refusal> {
    #[derive(Deserialize)]
    struct Info {
        sha: Option<String>,
        #[serde(default)]
        siblings: Vec<Sibling>,
        #[serde(default)]
        disabled: Option<bool>,
        #[serde(default)]
        gated: Value,
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
        size: Option<u64>,
        lfs: Option<Lfs>,
    }
    #[derive(Deserialize)]
    struct Lfs {
        #[serde(alias = "oid")]
        sha256: Option<String>,
        size: Option<u64>,
    }
    let unread = |why: String| Refusal::new(Cause::HubDown, format!("what the hub says of {name} cannot be read: {why}"));
    let info: Info = serde_json::from_slice(bytes).map_err(|error| unread(error.to_string()))?;
    if info.disabled == Some(true) {
        return Err(Refusal::new(Cause::NotFound, format!("{name} is disabled on the hub")));
    }
    let commit = info.sha.filter(|sha| is_commit(sha)).ok_or_else(|| unread("it names no commit".to_owned()))?;
    if info.siblings.len() > MOST_FILES {
        return Err(Refusal::new(Cause::TooLarge, format!("{name} has more than {MOST_FILES} files")));
    }
    let file = |file: Sibling| RemoteFile {
        bytes: file.lfs.as_ref().and_then(|lfs| lfs.size).or(file.size),
        digest: file.lfs.and_then(|lfs| lfs.sha256).and_then(|digits| Digest::parse(&format!("{}{digits}", Digest::PREFIX))),
        path: file.rfilename,
        url: None,
        tag: None,
        mark: None,
        role: Role::Maybe,
    };
    let (plain, odd): (Vec<Sibling>, Vec<Sibling>) = info.siblings.into_iter().partition(|file| is_below(&file.rfilename));
    let all: Vec<RemoteFile> = plain.into_iter().map(file).collect();
    let gated = !matches!(info.gated, Value::Null | Value::Bool(false));
    let mut checkpoints = of_files(&all, home, &commit, name);
    checkpoints.extend(odd.iter().filter_map(|file| misnamed(name, &file.rfilename)));
    if checkpoints.is_empty() {
        let refused = Refusal::new(Cause::Unsupported, format!("{name} holds no .safetensors or .onnx file, and no other checkpoint"));
        checkpoints.push(super::refused(name, refused));
    }
    let tags = bounded(info.tags.unwrap_or_default());
    for listed in &mut checkpoints {
        listed.tags.clone_from(&tags);
    }
    Ok(Model { commit, gated, checkpoints })
}

/// A checkpoint whose path leads elsewhere or cannot be written: it is named, and not fetched.
pub(super) fn misnamed(name: &str, path: &str) -> Option<Listed> {
    ending(file_name(path)).or_else(|| ending(path))?;
    let shown = shown(path);
    let reason = format!(
        "{name}/{shown}: a path of this kind is not read: its parts may hold no `..`, `:`, `\\` or control character, and at most 240 bytes"
    );
    Some(super::refused(&below(name, &shown), Refusal::new(Cause::Unsupported, reason)))
}

/// Whether a file is called as a part of the checkpoint whose index is `STEM.safetensors.index.json`.
fn is_part(path: &str, stem: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = path.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".safetensors")?.split_once("-of-"));
    numbers.is_some_and(|(nth, of)| digits(nth) && digits(of))
}

/// The checkpoints among the files of a model, each with the files that belong to it or may.
pub(super) fn of_files(all: &[RemoteFile], home: &str, revision: &str, name: &str) -> Vec<Listed> {
    let indexes: Vec<&str> = all.iter().filter_map(|file| file.path.strip_suffix(INDEX)).collect();
    let mains: Vec<(&RemoteFile, Ending)> = all
        .iter()
        .filter(|file| !indexes.iter().any(|stem| is_part(&file.path, stem)))
        .filter_map(|file| Some((file, ending(file_name(&file.path))?)))
        .collect();
    let read = mains.iter().filter(|(_, ending)| *ending != Ending::Other).count();
    // Of a folder of many networks each has the files that are called after it, and not all of all.
    let crowded = read > MOST_BESIDE;
    let one = |(main, ending): &(&RemoteFile, Ending)| {
        // A model with one checkpoint is called as it is.
        let shown = if read == 1 && *ending != Ending::Other { name.to_owned() } else { below(name, &main.path) };
        let path = PathBuf::from(&main.path);
        if *ending == Ending::Other {
            let bytes = main.bytes.unwrap_or_default();
            return Listed {
                entry: Entry { name: shown, path, bytes, ending: *ending, refused: Some(other(name, &main.path)) },
                remote: None,
                tags: Vec::new(),
            };
        }
        let folder = folder_of(&main.path);
        let around = (file_name(folder) == "onnx").then(|| folder_of(folder));
        let mut files = Vec::new();
        // The nearest of those that configure it comes first.
        for at in std::iter::once(folder).chain(around) {
            let configures = |file: &&RemoteFile| folder_of(&file.path) == at && CONFIGURATION.contains(&file_name(&file.path));
            files.extend(all.iter().filter(configures).map(|file| RemoteFile { role: Role::Configures, ..file.clone() }));
        }
        let beside = |file: &&RemoteFile| file.path != main.path && (folder.is_empty() || file.path.starts_with(&format!("{folder}/")));
        let role = |path: &str| match (main.path.strip_suffix(INDEX), *ending) {
            (Some(stem), _) if is_part(path, stem) => Some(Role::Likely),
            (Some(_), _) if path.ends_with(".safetensors") => Some(Role::Maybe),
            (None, Ending::Onnx) if path.starts_with(&main.path) => Some(Role::Likely),
            (None, Ending::Onnx) if may_hold_weights(path) && (!crowded || is_called_after(path, &main.path)) => Some(Role::Maybe),
            _ => None,
        };
        files.extend(all.iter().filter(beside).filter_map(|file| Some(RemoteFile { role: role(&file.path)?, ..file.clone() })));
        files.insert(0, RemoteFile { role: Role::Own, ..(*main).clone() });
        let (home, name, revision, main) = (home.to_owned(), name.to_owned(), revision.to_owned(), main.path.clone());
        let remote = Remote { home, name, revision, main, files };
        let entry = Entry { name: shown, path, bytes: remote.bytes(), ending: *ending, refused: None };
        Listed { entry, remote: Some(remote), tags: Vec::new() }
    };
    mains.iter().map(one).collect()
}

/// Whether a file is called after a network: `a/vit.data` or `a/vit_weights.bin` of `a/vit.onnx`.
fn is_called_after(path: &str, main: &str) -> bool {
    main.rsplit_once('.').is_some_and(|(stem, _)| path.starts_with(stem))
}

/// Whether a file beside an ONNX file may hold its weights: it is no text, and no checkpoint of its own.
fn may_hold_weights(path: &str) -> bool {
    const TEXTS: [&str; 9] = [".json", ".md", ".txt", ".py", ".yaml", ".yml", ".gitattributes", ".gitignore", "LICENSE"];
    const PICTURES: [&str; 4] = [".png", ".jpg", ".jpeg", ".gif"];
    ending(file_name(path)).is_none() && !TEXTS.iter().chain(&PICTURES).any(|end| path.ends_with(end))
}

/// Why a checkpoint that is not read is not even fetched.
fn other(name: &str, path: &str) -> Refusal {
    let pickle = [".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".bin"].iter().any(|end| path.to_lowercase().ends_with(end));
    let (cause, what) = if pickle {
        (Cause::Pickle, "is a pickled file by its name: loading it would run the code inside, so it is not fetched")
    } else {
        (Cause::Unsupported, "is neither ONNX nor safetensors by its name")
    };
    Refusal::new(cause, format!("{name}/{path} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn files(names: &[&str]) -> Vec<String> {
        let siblings: Vec<String> = names.iter().map(|name| format!("{{\"rfilename\": \"{name}\", \"size\": 5}}")).collect();
        let text = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", siblings.join(","));
        let model = match read(text.as_bytes(), "https://hub", "acme/vit") {
            Ok(model) => model,
            Err(refused) => return vec![refused.reason],
        };
        let file = |file: &RemoteFile| format!("{}:{:?}", file.path, file.role);
        let one = |listed: &Listed| {
            let files = listed.remote.as_ref().map(|remote| remote.files.iter().skip(1).map(file).collect::<Vec<_>>().join(" "));
            let refused = listed.entry.refused.as_ref().map(|refused| refused.cause.name().to_owned());
            format!("{} [{}]", listed.entry.name, files.or(refused).unwrap_or_default())
        };
        model.checkpoints.iter().map(one).collect()
    }

    #[test]
    fn the_checkpoints_of_a_model_and_what_belongs_to_each() {
        assert_eq!(files(&["model.safetensors", "config.json", "README.md"]), ["acme/vit [config.json:Configures]"]);
        assert_eq!(
            files(&["onnx/model.onnx", "onnx/model.onnx_data", "onnx/w", "config.json", "onnx/config.json", "other/x.bin"]),
            ["acme/vit [onnx/config.json:Configures config.json:Configures onnx/model.onnx_data:Likely onnx/w:Maybe]"]
        );
        // Only a folder of that name is that folder.
        assert_eq!(files(&["myonnx/model.onnx", "config.json"]), ["acme/vit []"]);
        assert_eq!(
            files(&["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]),
            ["acme/vit [model-00001-of-00002.safetensors:Likely model-00002-of-00002.safetensors:Likely]"]
        );
        assert_eq!(
            files(&["a.onnx", "b.safetensors", "pytorch_model.bin", "model.gguf"]),
            ["acme/vit/a.onnx []", "acme/vit/b.safetensors []", "acme/vit/pytorch_model.bin [pickle]", "acme/vit/model.gguf [unsupported]"]
        );
        // Paths that lead elsewhere are named; what else is called so is nothing.
        assert_eq!(
            files(&["../../x.onnx", "/etc/x.onnx", "../x.txt", "a.onnx"]),
            ["acme/vit []", "acme/vit/../../x.onnx [unsupported]", "acme/vit//etc/x.onnx [unsupported]"]
        );
        assert_eq!(files(&["../x.txt"]), ["acme/vit [unsupported]"]);
    }

    #[test]
    fn answers_that_say_nothing() {
        for (text, part) in [
            ("", "cannot be read"),
            ("[]", "cannot be read"),
            ("{}", "names no commit"),
            (r#"{"sha": "main", "siblings": []}"#, "names no commit"),
            (r#"{"sha": "0123456789abcdef0123456789abcdef01234567", "disabled": true}"#, "is disabled"),
        ] {
            let refused = read(text.as_bytes(), "https://hub", "acme/vit").map(|_| ()).unwrap_err();
            assert!(refused.reason.contains(part), "{text}: {}", refused.reason);
        }
    }

    #[test]
    fn pages_and_lists() {
        let text = format!(
            "[{{\"id\": \"a/b\", \"modelId\": \"a/b\", \"sha\": \"{COMMIT}\"}}, {{\"modelId\": \"c\", \"disabled\": true}}, {{\"id\": \"../x\"}}]"
        );
        let told: Vec<_> = page(text.as_bytes()).unwrap().into_iter().map(|w| (w.name, w.commit.is_some(), w.disabled)).collect();
        assert_eq!(told, [("a/b".to_owned(), true, false), ("c".to_owned(), false, true), ("../x".to_owned(), false, false)]);
        let odd = page(br#"[{"id": "a\u0000/b"}, {"id": "a b"}]"#).unwrap();
        assert!(odd.iter().all(|wanted| !is_name(&wanted.name)) && odd[0].name == "a\\0/b", "{odd:?}");
        assert!(page(b"{}").is_err() && page(b"[1]").is_err() && page(b"[{}]").is_err());
        let told = |text: &str| {
            read_list(text)
                .map(|all| all.into_iter().map(|w| format!("{} {} {}", w.name, w.revision, w.commit.is_some())).collect::<Vec<_>>())
        };
        assert_eq!(
            told(&format!("# ours\n\na/b # the first\nc/d@v1\r\ne/f@{COMMIT}\n")).unwrap(),
            ["a/b main false", "c/d v1 false", &format!("e/f {COMMIT} true")]
        );
        for (text, part) in [
            ("a/b\na/b\n", "line 2: a/b stands there twice"),
            ("a b\n", "line 1"),
            ("a/b@\n", "line 1"),
            ("a/b/c\n", "line 1"),
            ("a/..\n", "line 1"),
        ] {
            assert!(told(text).unwrap_err().contains(part), "{text}");
        }
    }
}
