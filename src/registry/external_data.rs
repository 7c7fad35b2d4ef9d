//! Weights that an ONNX file keeps in files beside it (`external_data`): which, and their bytes.
//!
//! They belong to the checkpoint as its own bytes do, so they are found and read here, where the digest is made, and an
//! importer is handed them: what was hashed is what is loaded. Only files in the model's own folder are read, or in the Hugging Face
//! cache where that folder is a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use prost::Message;

use super::{MAX_BYTES, RegistryError, read_at_most};
use crate::store::hub;

/// Contents of the files beside a checkpoint, by the location that it gives for them.
pub(crate) type ExternalData = BTreeMap<String, Vec<u8>>;

/// Reads the files that the ONNX file `bytes` at `path` refers to. Bytes that are no ONNX file refer to none: the importer
/// says what is wrong with them.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<ExternalData, RegistryError> {
    let mut left = MAX_BYTES.saturating_sub(bytes.len() as u64);
    let mut external = ExternalData::new();
    for location in locations(bytes) {
        let fail = |reason: String| RegistryError::ExternalData { path: path.to_owned(), location: location.clone(), reason };
        let file = inside(path.parent().unwrap_or(Path::new("")), &location).map_err(fail)?;
        let content = read_at_most(&file, left)?;
        left -= content.len() as u64;
        external.insert(location, content);
    }
    Ok(external)
}

/// The locations of all tensors that are kept outside the file.
pub(crate) fn locations(bytes: &[u8]) -> BTreeSet<String> {
    let model = ModelProto::decode(bytes).unwrap_or_default();
    let functions = model.functions.into_iter().map(|function| GraphProto { node: function.node, initializer: Vec::new() });
    let mut graphs: Vec<GraphProto> = model.graph.into_iter().chain(functions).collect();
    let mut tensors = Vec::new();
    // Branches and loops hold graphs of their own.
    while let Some(graph) = graphs.pop() {
        tensors.extend(graph.initializer);
        for attribute in graph.node.into_iter().flat_map(|node| node.attribute) {
            tensors.extend(attribute.t.into_iter().chain(attribute.tensors));
            graphs.extend(attribute.g.map(|graph| *graph).into_iter().chain(attribute.graphs));
        }
    }
    let outside = tensors.into_iter().filter(|tensor| tensor.data_location == Some(OUTSIDE));
    // A key given twice counts once, the first time: as on reading the tensor.
    let location = |tensor: TensorProto| tensor.external_data.into_iter().find(|entry| entry.key == "location");
    outside.filter_map(location).map(|entry| entry.value).collect()
}

/// `folder/location`, if it really is a file in there: no `..`, no absolute path, no link that leads outside. A model in the hub's cache
/// (`models--OWNER--NAME/snapshots/REVISION`) has its files in `blobs`, where the links of its folder lead.
pub(super) fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    if location.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err("that leads out of the model's folder".into());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let root = folder.canonicalize().map_err(|e| format!("{}: {e}", folder.display()))?;
    let path = root.join(relative).canonicalize().map_err(|e| e.to_string())?;
    if !hub::belongs(&root, &path) {
        return Err("that is a link that leads out of the model's folder".into());
    }
    if path.is_file() { Ok(path) } else { Err("that is not a file".into()) }
}

/// `TensorProto.DataLocation.EXTERNAL`.
const OUTSIDE: i32 = 1;

// The few fields of `onnx.proto` that lead to a location; the decoder skips all others, weights among them.

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionProto>,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionProto {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(message, optional, boxed, tag = "6")]
    g: Option<Box<GraphProto>>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<EntryProto>,
    #[prost(int32, optional, tag = "14")]
    data_location: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{contents, identify};
    use crate::store::golden;

    /// An ONNX file of weights at these locations.
    fn write(folder: &Path, locations: &[&str]) -> PathBuf {
        let entry = |location: &&str| TensorProto {
            external_data: vec![EntryProto { key: "location".into(), value: (*location).into() }],
            data_location: Some(OUTSIDE),
        };
        let (first, rest) = locations.split_at(1);
        let constant = NodeProto { attribute: vec![AttributeProto { t: Some(entry(&first[0])), ..AttributeProto::default() }] };
        // In a branch, as `If` holds one.
        let branch = GraphProto { node: vec![constant], initializer: Vec::new() };
        let branching = NodeProto { attribute: vec![AttributeProto { g: Some(Box::new(branch)), ..AttributeProto::default() }] };
        let graph = GraphProto { node: vec![branching], initializer: rest.iter().map(entry).collect() };
        let path = folder.join("m.onnx");
        std::fs::write(&path, ModelProto { graph: Some(graph), functions: Vec::new() }.encode_to_vec()).expect("written");
        path
    }

    #[test]
    fn files_beside_are_part_of_the_identity() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("written");
        put("a.bin", b"1234");
        put("b.bin", b"5678");
        let path = write(folder.path(), &["b.bin", "a.bin", "b.bin"]);
        let before = identify(&path).expect("identified");
        let read = contents(&before).expect("read");
        assert_eq!(read.external.keys().collect::<Vec<_>>(), ["a.bin", "b.bin"]);
        assert_eq!(before.bytes, read.bytes.len() as u64 + 8);
        // Bytes that move from one file to the other are another checkpoint.
        put("a.bin", b"12345");
        put("b.bin", b"678");
        let after = identify(&path).expect("identified");
        assert!(before.digest != after.digest && before.bytes == after.bytes);
        let error = contents(&before).expect_err("changed");
        assert!(matches!(error, RegistryError::Changed { .. }), "{error}");
        assert!(contents(&after).is_ok());
    }

    /// `(sha256sum < m.onnx; sha256sum ./d.bin a.bin 'b\c') | sha256sum` prints this, the names as the model has them and in the order of
    /// their bytes; `tests/golden/identities/make.py` makes both golden values.
    #[cfg(unix)]
    #[test]
    fn the_identity_is_what_ordinary_tools_compute() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["a.bin", "b\\c", "./d.bin"];
        for (name, bytes) in names.iter().zip(["1234", "5678", "9"]) {
            std::fs::write(folder.path().join(name), bytes).expect("written");
        }
        let model = identify(&write(folder.path(), &names)).expect("identified");
        let files: Vec<(&str, u64)> = model.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(files, [("-", 81), ("./d.bin", 1), ("a.bin", 4), ("b\\c", 4)]);
        assert_eq!(model.files[0].digest, crate::store::Digest::of(&std::fs::read(&model.path).expect("read")));
        assert_eq!(model.files[2].digest.digits(), "03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4");
        assert_eq!(model.digest.digits(), golden("files"));
        assert_eq!(crate::registry::earlier_digest(&model).expect("read").as_str(), golden("files of earlier builds"));
        // Another name is the same checkpoint.
        let renamed = model.path.with_file_name("other.onnx");
        std::fs::rename(&model.path, &renamed).expect("renamed");
        assert_eq!(identify(&renamed).expect("identified").digest, model.digest);
    }

    #[test]
    fn a_checkpoint_in_one_file_has_the_digest_of_that_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, [0x08, 7, 0x12, 0]).expect("written");
        let model = identify(&path).expect("identified");
        // `printf '\x08\x07\x12\x00' | sha256sum`
        assert_eq!(model.digest.as_str(), "sha256:417b41b4940fb2953eb898b0ba3d6c1b6779aefde1e6d766ac30ebfe2186f59d");
        assert_eq!(model.files, []);
        assert_eq!(crate::registry::earlier_digest(&model).expect("read"), crate::store::Digest::earlier(&[0x08, 7, 0x12, 0]));
    }

    #[test]
    fn only_files_in_the_own_folder_are_read() {
        let outer = tempfile::tempdir().expect("a folder");
        std::fs::write(outer.path().join("secret"), b"1234").expect("written");
        let folder = outer.path().join("model");
        std::fs::create_dir(&folder).expect("made");
        let absolute = outer.path().join("secret").display().to_string();
        for location in ["../secret", "./../secret", absolute.as_str(), "absent", ".", ""] {
            let error = identify(&write(&folder, &[location])).expect_err(location).to_string();
            assert!(error.contains("the model's own folder") && error.contains(&format!("`{location}`")), "{error}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../secret", folder.join("link")).expect("linked");
            let error = identify(&write(&folder, &["link"])).expect_err("a link").to_string();
            assert!(error.contains("a link that leads out"), "{error}");
            // The hub's cache keeps the bytes elsewhere, and nothing else lies there.
            let revision = outer.path().join("models--a--b/snapshots/0a");
            let blobs = outer.path().join("models--a--b/blobs");
            std::fs::create_dir_all(&revision).and_then(|()| std::fs::create_dir(&blobs)).expect("made");
            std::fs::write(blobs.join("123"), b"1234").expect("written");
            for (to, good) in [("../../blobs/123", true), ("../../../secret", false)] {
                let link = revision.join("weights.bin");
                std::fs::remove_file(&link).ok();
                std::os::unix::fs::symlink(to, &link).expect("linked");
                assert_eq!(identify(&write(&revision, &["weights.bin"])).is_ok(), good, "{to}");
            }
            // A snapshot of the hub's cache holds links into it.
            let repository = outer.path().join("models--owner--name");
            let (blobs, snapshot) = (repository.join("blobs"), repository.join("snapshots/0123/onnx"));
            std::fs::create_dir_all(&blobs).expect("made");
            std::fs::create_dir_all(&snapshot).expect("made");
            let model = write(&folder, &["model.onnx_data"]);
            std::fs::rename(model, blobs.join("aa")).expect("moved");
            std::fs::write(blobs.join("bb"), b"1234").expect("written");
            std::os::unix::fs::symlink("../../../blobs/aa", snapshot.join("model.onnx")).expect("linked");
            std::os::unix::fs::symlink("../../../blobs/bb", snapshot.join("model.onnx_data")).expect("linked");
            let found = identify(&snapshot.join("model.onnx")).expect("identified");
            assert_eq!(contents(&found).expect("read").external["model.onnx_data"], b"1234");
        }
    }
}
