//! Models in object stores: each checkpoint below a prefix is one, with the files beside it. The list alone says whether it is as it was, by the tags
//! of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};

use quick_xml::Reader;
use quick_xml::events::Event as Xml;

use super::folder::own;
use super::hub::of_files;
use super::remote::{RemoteFile, Role, below, file_name, folder_of, is_below, shown};
use super::web::Models;
use super::{Cause, Ending, Refusal, ending};
use crate::net::{Bucket, Kind, Net, NetError, list_url, object_url};
use crate::store::{Digest, Fingerprinter};

/// Most bytes of a page.
const MOST_PAGE: u64 = 64 << 20;
/// Most objects below one prefix.
const MOST: usize = 2_000_000;
/// Most files in one folder with checkpoints.
const MOST_FILES: usize = 10_000;
/// Most bytes of the keys of all of them, and most pages.
const MOST_KEYS: usize = 256 << 20;
const MOST_PAGES: usize = 200_000;
/// Longest text of one field.
const MOST_TEXT: usize = 8192;

/// An object as a list says it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Object {
    key: String,
    bytes: Option<u64>,
    tag: Option<String>,
    /// A tag that no request can ask for, or the time of its last change.
    mark: Option<String>,
}

/// The models below a prefix of a bucket.
pub(crate) fn list(net: &Net, bucket: &Bucket, prefix: &str) -> Result<Models, NetError> {
    let prefix = prefix.trim_matches('/');
    let begin = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let address = bucket.address();
    let mut objects = Vec::new();
    let (mut page, mut keys): (Option<String>, usize) = (None, 0);
    // Pages that lead in a circle would never end.
    let mut seen = BTreeSet::new();
    loop {
        let url = list_url(&address, &begin, page.as_deref())?;
        let answer = net.get(&url, MOST_PAGE)?;
        let (found, next) = read(&answer.bytes).map_err(|why| NetError::new(Kind::Unread, url.as_str(), why))?;
        keys += found.iter().map(|object| object.key.len()).sum::<usize>();
        objects.extend(found);
        if objects.len() > MOST || keys > MOST_KEYS || seen.len() > MOST_PAGES {
            let reason = format!("it has more than {MOST} objects: name a `prefix`");
            return Err(NetError::new(Kind::TooLarge, &address, reason));
        }
        let Some(next) = next else { break };
        if !seen.insert(next.clone()) {
            return Err(NetError::new(Kind::Unread, url.as_str(), "the pages of its list lead in a circle"));
        }
        page = Some(next);
    }
    models(&address, &begin, objects)
}

/// The models among objects whose keys begin so.
fn models(address: &str, begin: &str, objects: Vec<Object>) -> Result<Models, NetError> {
    let mut files: BTreeMap<String, Object> = BTreeMap::new();
    let (mut models, mut odd) = (Models::new(), BTreeMap::new());
    for object in objects {
        let Some(path) = object.key.strip_prefix(begin).filter(|path| !path.is_empty() && !path.ends_with('/')) else { continue };
        if is_below(path) && is_below(&object.key) {
            files.insert(path.to_owned(), object);
        } else if ending(file_name(path)).is_some() {
            // By another name it could not be told from others, nor be written.
            let shown = shown(path);
            let reason = format!(
                "{address}/{begin}{shown}: a key of this kind is not read: between its `/` there may be no `..`, no control character, and at most 240 bytes"
            );
            odd.insert(shown, Refusal::new(Cause::Unsupported, reason));
        }
    }
    // The folder of a checkpoint is that of the files below it, up to the next one.
    let roots: BTreeSet<&str> = files.keys().filter(|path| ending(file_name(path)).is_some()).map(|path| root(path)).collect();
    let mut groups: BTreeMap<&str, Vec<RemoteFile>> = BTreeMap::new();
    for (path, object) in &files {
        let mut at = folder_of(path);
        while !roots.contains(at) && !at.is_empty() {
            at = folder_of(at);
        }
        if !roots.contains(at) {
            continue;
        }
        let inside = path.get(at.len()..).unwrap_or_default().trim_start_matches('/');
        groups.entry(at).or_default().push(RemoteFile {
            path: inside.to_owned(),
            url: Some(object_url(address, &object.key)?.into()),
            bytes: object.bytes,
            digest: None,
            tag: object.tag.clone(),
            // What a list says nothing of counts as changed, every night.
            mark: object.mark.clone().or_else(|| object.tag.is_none().then(never_again)),
            role: Role::Maybe,
        });
    }
    // A key may be a file and a folder at once.
    let objects: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    for (at, files) in groups {
        if files.len() > MOST_FILES {
            let reason = format!("{address}/{begin}{at} has more than {MOST_FILES} files beside its checkpoints");
            models.push((at.to_owned(), Err(Refusal::new(Cause::TooLarge, reason))));
            continue;
        }
        let names = files.iter().filter(|file| !file.path.contains('/')).map(|file| file.path.as_str());
        let usual = own(names.filter(|name| ending(name).is_some())).map(str::to_owned);
        let configured = files.iter().any(|file| file.path == "config.json");
        for mut listed in of_files(&files, address, "", at) {
            let path = listed.entry.path.to_string_lossy().into_owned();
            // Called as in a folder: where another file comes beside it, it is still the same.
            let is_own = usual.as_deref() == Some(path.as_str()) && configured && !at.is_empty() && !objects.contains(at);
            let shown = if is_own { at.to_owned() } else { below(at, &path) };
            listed.entry.name.clone_from(&shown);
            if let Some(remote) = &mut listed.remote {
                remote.name.clone_from(&shown);
                remote.revision = state(&remote.files);
            }
            if let Some(why) = listed.entry.refused.as_mut().filter(|_| listed.entry.ending == Ending::Other) {
                why.reason = format!("{address}/{begin}{}", why.reason.trim_start_matches('/'));
            }
            models.push((shown, Ok(vec![listed])));
        }
    }
    models.extend(odd.into_iter().map(|(shown, refused)| (shown, Err(refused))));
    models.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(models)
}

/// The folder whose files a checkpoint may need: one called `onnx` shares the configuration of the one around it.
fn root(path: &str) -> &str {
    let folder = folder_of(path);
    if file_name(folder) == "onnx" { folder_of(folder) } else { folder }
}

/// What tells this state of a checkpoint's files from others.
fn state(files: &[RemoteFile]) -> String {
    let mut feed = Fingerprinter::new("heirloom state of objects", 1);
    for file in files {
        feed.field("path", file.path.as_str());
        feed.field("bytes", &file.bytes.unwrap_or_default().to_string());
        feed.field("tag", file.tag.as_deref().or(file.mark.as_deref()).unwrap_or_default());
    }
    feed.finish().digits().get(..40).unwrap_or_default().to_owned()
}

/// The checkpoints among the objects of one page, for fuzzing.
pub(crate) fn models_of(bytes: &[u8]) -> Option<Vec<super::Listed>> {
    let (objects, _) = read(bytes).ok()?;
    let models = models("s3://models", "team/", objects).ok()?;
    Some(models.into_iter().filter_map(|(_, found)| found.ok()).flatten().collect())
}

/// The objects on a page, and what the next page is asked for by. S3 and Google write `Contents`, Azure `Blob`.
fn read(bytes: &[u8]) -> Result<(Vec<Object>, Option<String>), String> {
    let broken = |error: &dyn std::fmt::Display| format!("the list of objects cannot be read: {error}");
    let mut reader = Reader::from_reader(bytes);
    let mut objects = Vec::new();
    let (mut object, mut text, mut next, mut deep, mut listed) = (None::<Object>, String::new(), None, 0_usize, false);
    loop {
        match reader.read_event().map_err(|error| broken(&error))? {
            Xml::Start(tag) => {
                deep += 1;
                listed |= deep == 1 && matches!(tag.local_name().as_ref(), b"ListBucketResult" | b"EnumerationResults");
                if matches!(tag.local_name().as_ref(), b"Contents" | b"Blob") {
                    object = Some(Object::default());
                }
                text.clear();
            }
            Xml::Text(part) => text += &part.decode().map_err(|error| broken(&error))?,
            Xml::CData(part) => text += &part.decode().map_err(|error| broken(&error))?,
            Xml::GeneralRef(named) => match named.resolve_char_ref().map_err(|error| broken(&error))? {
                Some(c) => text.push(c),
                None => text += named_character(&named).ok_or("the list of objects names a character that is none")?,
            },
            Xml::End(tag) => {
                deep = deep.saturating_sub(1);
                match (tag.local_name().as_ref(), &mut object) {
                    (b"Contents" | b"Blob", found) => {
                        objects.extend(found.take().filter(|object| !object.key.is_empty()));
                    }
                    (b"Key" | b"Name", Some(object)) => object.key = std::mem::take(&mut text),
                    (b"Size" | b"Content-Length", Some(object)) => object.bytes = text.trim().parse().ok(),
                    (b"ETag" | b"Etag", Some(object)) => {
                        object.tag = tag_of(&text);
                        if object.tag.is_none() {
                            object.mark = mark_of(&text).or(object.mark.take());
                        }
                    }
                    (b"LastModified" | b"Last-Modified", Some(object)) => object.mark = object.mark.take().or(mark_of(&text)),
                    (b"NextContinuationToken" | b"NextMarker", None) => {
                        next = Some(std::mem::take(&mut text)).filter(|text| !text.is_empty());
                    }
                    _ => {}
                }
                text.clear();
            }
            Xml::Empty(_) => text.clear(),
            Xml::Eof => break,
            _ => {}
        }
        if text.len() > MOST_TEXT {
            return Err(format!("the list of objects holds a text of more than {MOST_TEXT} bytes"));
        }
    }
    if !listed || deep > 0 {
        return Err("the answer is no list of objects".to_owned());
    }
    Ok((objects, next))
}

fn named_character(name: &[u8]) -> Option<&'static str> {
    Some(match name {
        b"amp" => "&",
        b"lt" => "<",
        b"gt" => ">",
        b"quot" => "\"",
        b"apos" => "'",
        _ => return None,
    })
}

/// A tag as a header has it: Azure lists it without its quotes.
fn tag_of(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = !text.is_empty() && text.len() <= 256 && text.chars().all(|c| c.is_ascii_graphic()) && !text.starts_with("W/");
    plain.then(|| if text.starts_with('"') { text.to_owned() } else { format!("\"{text}\"") })
}

/// A text that no other time gives.
fn never_again() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// A weak tag, one that is too long for a header, or a time: what it is does not matter, only whether it is the same.
fn mark_of(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| Digest::of(text.as_bytes()).digits().get(..16).unwrap_or_default().to_owned())
}

/// The checkpoints that a key may mean, each with its own key: the one of that name, or those below a folder.
pub(crate) fn named(net: &Net, bucket: &Bucket, key: &str) -> Result<Vec<(String, super::Listed)>, Refusal> {
    let is_file = ending(file_name(key)).is_some();
    let found = list(net, bucket, if is_file { root(key) } else { key }).map_err(|error| Refusal::from(&error))?;
    let mut all = Vec::new();
    for listed in found.into_iter().filter_map(|(_, found)| found.ok()).flatten() {
        let own = listed.remote.as_ref().and_then(|remote| crate::net::key(remote.files.first()?.url.as_deref()?));
        all.push((own.unwrap_or_else(|| below(key, &listed.entry.name)), listed));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[(&str, &str)]) -> String {
        let one = |(key, tag): &(&str, &str)| format!("<Contents><Key>{key}</Key><ETag>&quot;{tag}&quot;</ETag><Size>5</Size></Contents>");
        let all: String = keys.iter().map(one).collect();
        format!("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3/\"><Name>models</Name>{all}</ListBucketResult>")
    }

    fn told(keys: &[(&str, &str)]) -> Vec<String> {
        let (objects, _) = read(page(keys).as_bytes()).expect("a list");
        let found = models("s3://models", "team/", objects).expect("models");
        let one = |(name, found): &(String, Result<Vec<super::super::Listed>, Refusal>)| match found {
            Err(why) => format!("{name}: {}", why.cause.name()),
            Ok(listed) => {
                let one = |listed: &super::super::Listed| {
                    let files = listed.remote.iter().flat_map(|remote| remote.files.iter().skip(1).map(|file| file.path.as_str()));
                    let refused = listed.entry.refused.iter().map(|why| why.reason.as_str());
                    format!("{name} [{}]", files.chain(refused).collect::<Vec<_>>().join(" "))
                };
                listed.iter().map(one).collect::<Vec<_>>().join(" ")
            }
        };
        found.iter().map(one).collect()
    }

    #[test]
    fn each_checkpoint_below_a_prefix_is_a_model() {
        assert_eq!(
            told(&[
                ("team/vit/model.safetensors", "1"),
                ("team/vit/config.json", "2"),
                ("team/vit/sub/README.md", "3"),
                ("team/flat-a.onnx", "4"),
                ("team/flat-b.onnx", "4"),
                ("team/x/onnx/model.onnx", "5"),
                ("team/x/onnx/w.bin", "5"),
                ("team/x/config.json", "6"),
                ("team/old/model.pt", "7"),
                ("team/notes/a.txt", "8"),
                ("team/", "9"),
                ("other/a.onnx", "0"),
            ]),
            [
                "flat-a.onnx []",
                "flat-b.onnx []",
                "old/model.pt [s3://models/team/old/model.pt is a pickled file by its name: loading it would run the code inside, so it is not fetched]",
                "vit [config.json]",
                "x/onnx/model.onnx [config.json onnx/w.bin]",
            ]
        );
    }

    #[test]
    fn keys_that_lead_elsewhere_are_named() {
        let long = format!("team/{}.onnx", "x".repeat(300));
        let found =
            told(&[("team/../../x.onnx", "1"), ("team/a&#1;b.onnx", "2"), (&long, "3"), ("team//x.onnx", "4"), ("team/good.onnx", "5")]);
        assert_eq!(found.iter().filter(|line| line.ends_with(": unsupported")).count(), 4, "{found:?}");
        assert!(found.contains(&"good.onnx []".to_owned()) && found.contains(&"a\\u{1}b.onnx: unsupported".to_owned()), "{found:?}");
    }

    #[test]
    fn only_its_own_files_change_a_model() {
        let states = |tag: &str| -> Vec<String> {
            let text = page(&[("a.onnx", "1"), ("b.onnx", tag), ("config.json", "3")]);
            let found = models("s3://models", "", read(text.as_bytes()).expect("a list").0).expect("models");
            found.into_iter().filter_map(|(_, found)| found.ok()?.pop()?.remote).map(|remote| remote.revision).collect()
        };
        let (one, two) = (states("1"), states("2"));
        assert_eq!((one[0] == two[0], one[1] == two[1]), (true, false));
    }

    #[test]
    fn a_state_without_a_tag_is_told_by_a_weak_one_or_by_its_time() {
        let state = |fields: &str| {
            let text = format!("<ListBucketResult><Contents><Key>a.onnx</Key><Size>5</Size>{fields}</Contents></ListBucketResult>");
            let mut found = models("s3://models", "", read(text.as_bytes()).expect("a list").0).expect("models");
            let remote = found.pop().expect("a model").1.expect("a checkpoint").pop().expect("one").remote.expect("files");
            (remote.files[0].tag.clone(), remote.revision)
        };
        let long = format!("<ETag>{}</ETag>", "x".repeat(300));
        let all = ["<ETag>W/&quot;1&quot;</ETag>", "<ETag>W/&quot;2&quot;</ETag>", "<LastModified>2026</LastModified>", &long];
        let states: BTreeSet<String> = all.iter().map(|fields| state(fields).1).collect();
        assert_eq!((states.len(), all.iter().all(|fields| state(fields).0.is_none())), (4, true));
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_are_two_models() {
        let both = [("team/vit.onnx", "1"), ("team/vit.onnx/model.onnx", "2"), ("team/vit.onnx/config.json", "3")];
        assert_eq!(told(&both), ["vit.onnx []", "vit.onnx/model.onnx [config.json]"]);
    }

    #[test]
    fn lists_of_all_vendors() {
        let azure = "\u{feff}<?xml version=\"1.0\"?><EnumerationResults><Blobs><Blob><Name>a&amp;b.onnx</Name><Properties><Content-Length>7</Content-Length>\
                     <Etag>0x8D</Etag></Properties></Blob></Blobs><NextMarker>n</NextMarker></EnumerationResults>";
        let object = Object { key: "a&b.onnx".into(), bytes: Some(7), tag: Some("\"0x8D\"".into()), mark: None };
        assert_eq!(read(azure.as_bytes()), Ok((vec![object], Some("n".into()))));
        let end = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        assert_eq!(read(end.as_bytes()), Ok((vec![], None)));
        for text in ["", "{}", "<Error><Code>x</Code></Error>", "<ListBucketResult><Contents>", "<ListBucketResult>&x;</ListBucketResult>"]
        {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
