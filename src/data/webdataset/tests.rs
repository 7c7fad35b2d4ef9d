//! Shards as the Python package writes them (tests/golden/webdataset/make.py), and others.

use std::fmt::Write as _;
use std::io::Cursor;

use serde::Deserialize;
use tar::{Builder, EntryType, Header};

use super::super::source::{Labels, Source, assemble};
use super::super::texts::Attributes;
use super::*;
use crate::diag::Explain as _;
use crate::store::{MemoryBudget, SpillBuffer};

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/webdataset")
}

/// A sample as the package reads it.
#[derive(Deserialize)]
struct Sample {
    key: String,
    label: Value,
    attributes: BTreeMap<String, Option<String>>,
    ending: String,
    size: (usize, usize),
    rgb: String,
}

fn expected() -> BTreeMap<String, Vec<Sample>> {
    serde_json::from_str(&std::fs::read_to_string(golden().join("expected.json")).unwrap()).unwrap()
}

fn source(path: &str, split: Option<Split>, want: Want) -> Source {
    assemble(vec![read(&golden(), Path::new(path), split, want).unwrap()], Labels::Own).unwrap()
}

#[test]
fn shards_are_read_as_the_package_reads_them() {
    let (expected, budget) = (expected(), MemoryBudget::boundless());
    let spill = SpillBuffer::new(&budget);
    for (path, split, shards) in [
        ("{split}-*.tar", Split::Train, &["train-000000", "train-000001"][..]),
        ("{split}-*.tar", Split::Test, &["test-000000"]),
        ("named-{split}.tar", Split::Train, &["named-train"]),
    ] {
        let opened = source(path, Some(split), Want::Images(&spill));
        let theirs: Vec<(&str, &Sample)> =
            shards.iter().flat_map(|name| expected[*name].iter().map(move |sample| (*name, sample))).collect();
        let unusable: BTreeSet<&String> =
            theirs.iter().flat_map(|(_, sample)| &sample.attributes).filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert_eq!(opened.unusable.keys().collect::<BTreeSet<_>>(), unusable);
        assert_eq!(opened.parts[0].len(), theirs.len());
        for (entry, (shard, sample)) in opened.parts[0].iter().zip(theirs) {
            let id = format!("{shard}.tar:{}", sample.key);
            let attributes: Attributes = sample
                .attributes
                .iter()
                .filter(|(name, _)| !unusable.contains(name))
                .filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
                .collect();
            assert_eq!((&*entry.record.id, &entry.record.attributes), (id.as_str(), &attributes));
            let class = sample.label.as_str().map_or_else(|| sample.label.to_string(), str::to_owned);
            assert_eq!(opened.classes[entry.record.label], class, "{id}");
            let image = entry.stored.read(FORMAT.orientation).unwrap().image;
            assert_eq!((image.width, image.height), sample.size, "{id}");
            let rgb: Vec<u8> = (0..sample.rgb.len()).step_by(2).map(|i| u8::from_str_radix(&sample.rgb[i..i + 2], 16).unwrap()).collect();
            let off = image.rgb.iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(image.rgb.len() == rgb.len() && off <= if sample.ending.starts_with('j') { 8 } else { 0 }, "{id}: off by {off}");
        }
    }
}

#[test]
fn an_index_has_the_same_samples_and_no_images() {
    let budget = MemoryBudget::boundless();
    let spill = SpillBuffer::new(&budget);
    let whole = source("{split}-*.tar", Some(Split::Train), Want::Images(&spill));
    let index = source("{split}-*.tar", Some(Split::Train), Want::Index);
    let records = |source: &Source| source.parts[0].iter().map(|entry| entry.record.clone()).collect::<Vec<_>>();
    assert_eq!((records(&index), &index.classes), (records(&whole), &whole.classes));
    assert!(index.parts[0].iter().all(|entry| matches!(entry.stored, Stored::Missing(_))));
}

/// An archive of regular files.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, bytes) in members {
        add(&mut builder, path, bytes, EntryType::Regular);
    }
    builder.into_inner().unwrap()
}

fn add(builder: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8], kind: EntryType) {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_entry_type(kind);
    builder.append_data(&mut header, path, bytes).unwrap();
}

/// One member of a kind, or with these further fields.
fn odd(path: &str, kind: EntryType, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions(fields.iter().map(|(name, value)| (*name, value.as_bytes()))).unwrap();
    add(&mut builder, path, b"", kind);
    builder.into_inner().unwrap()
}

/// Whoever changes a header has to sum it up anew.
fn summed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(&bytes[..512]);
    change(&mut header);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    bytes
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let json = |text: &str| archive(&[("1.png", b"x"), ("1.json", text.as_bytes())]);
    let cls = |bytes: &[u8]| archive(&[("1.png", b"x"), ("1.cls", bytes)]);
    let whole = archive(&[("1.png", &[7; 700]), ("1.cls", b"0"), ("2.png", &[7; 700]), ("2.cls", b"1")]);
    let many: String = (0..=MAX_FIELDS).map(|i| format!(r#""f{i}": 1,"#)).collect::<Vec<_>>().concat();
    let deep = format!(r#"{{"label": 1, "a": {}{}}}"#, "[".repeat(500), "]".repeat(500));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no bytes", Vec::new()),
        ("cut off inside a header", whole[..700].to_vec()),
        ("cut off inside an image", whole[..1000].to_vec()),
        ("cut off inside the last image", whole[..3300].to_vec()),
        ("cut off between two members", whole[..2560].to_vec()),
        ("another sum", [&b"0"[..], &whole[1..]].concat()),
        ("text", b"id,label\n".repeat(100)),
        ("gzip", [&[0x1f, 0x8b, 8, 0][..], &[0; 600]].concat()),
        ("zstd", [0x28, 0xb5, 0x2f, 0xfd, 0].to_vec()),
        ("two archives", [&whole[..], &whole].concat()),
        ("a size beyond the file", summed(whole.clone(), |header| header.set_size(u64::MAX >> 1))),
        ("a size in the fields", odd("1.png", EntryType::Regular, &[("size", "99999999999")])),
        ("a long path", odd("1.png", EntryType::Regular, &[("path", &format!("{}/1.png", "a".repeat(5000)))])),
        ("long fields", odd("1.png", EntryType::Regular, &[("path", &"a".repeat(70_000))])),
        ("a field twice", odd("1.png", EntryType::Regular, &[("path", "a.png"), ("path", "b.png")])),
        ("control characters", archive(&[("a\u{1b}[1m.png", b"x")])),
        ("a link", odd("1.png", EntryType::Symlink, &[])),
        ("a second name", odd("1.png", EntryType::Link, &[])),
        ("a device", odd("1.png", EntryType::Char, &[])),
        ("sparse by its fields", odd("1.png", EntryType::Regular, &[("GNU.sparse.major", "1")])),
        ("global fields", {
            let mut builder = Builder::new(Vec::new());
            add(&mut builder, "g", b"12 path=abc\n", EntryType::XGlobalHeader);
            builder.into_inner().unwrap()
        }),
        ("nothing", archive(&[("readme", b"x"), (".hidden.png", b"x"), ("__meta__/1.png", b"x")])),
        ("no image", archive(&[("1.cls", b"0"), ("1.gif", b"x"), ("1.txt", b"x")])),
        ("two images", archive(&[("1.png", b"x"), ("1.mask.png", b"x"), ("1.cls", b"0")])),
        ("two labels", archive(&[("1.png", b"x"), ("1.cls", b"0"), ("1.CLS", b"1")])),
        ("members apart", archive(&[("1.png", b"x"), ("1.cls", b"0"), ("2.png", b"x"), ("2.cls", b"0"), ("1.json", b"{}")])),
        ("no label", archive(&[("1.png", b"x"), ("1.json", br#"{"age": 3}"#)])),
        ("labels in two places", archive(&[("1.png", b"x"), ("1.cls", b"0"), ("2.png", b"x"), ("2.json", br#"{"label": 0}"#)])),
        ("an empty label", cls(b" \n")),
        ("a fraction", cls(b"1.5")),
        ("no text", cls(&[0xff, 0xfe])),
        ("a long label", cls(&[b'a'; 2000])),
        ("no JSON", json("{label: 1}")),
        ("NaN", json(r#"{"label": 1, "age": NaN}"#)),
        ("a field of .json twice", json(r#"{"label": 1, "label": 2}"#)),
        ("deep", json(&deep)),
        ("large", json(&format!(r#"{{"label": 1, "a": "{}"}}"#, "a".repeat(MAX_JSON as usize)))),
        ("many fields", json(&format!(r#"{{{many} "label": 1}}"#))),
        ("a long name of a field", json(&format!(r#"{{"label": 1, "{}": 1}}"#, "a".repeat(300)))),
        ("a null label", json(r#"{"label": null}"#)),
        ("a list as label", json(r#"{"label": [1]}"#)),
        ("a fraction as label", json(r#"{"label": 0.5}"#)),
        ("a list without a label", json("[1, 2]")),
    ];
    let mut told = String::new();
    for (what, bytes) in cases {
        let error = read_shard(Cursor::new(bytes), "train-0.tar", Want::Index).err();
        let (said, hint) = error.as_ref().map_or(("nothing".to_owned(), None), |error| (error.to_string(), error.hint()));
        writeln!(told, "{what}: {said}\n    {}", hint.unwrap_or("no hint")).unwrap();
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("refused_shards", told);
    });
}

#[test]
fn fields_are_attributes_where_each_is_one_value() {
    let fields =
        br#"{"label": 1.0, "big": 18446744073709551615, "huge": 18446744073709551616, "neg": -3, "exp": 1e3, "list": [], "map": {}}"#;
    let bytes = archive(&[("./1.png", b"x"), ("./1.json", fields), ("./2.png", b"y"), ("./2.json", br#"{"label": 0, "list": 3}"#)]);
    let rows = read_shard(Cursor::new(bytes), "x.tar", Want::Index).unwrap();
    let attributes = [("big", "18446744073709551615"), ("exp", "1000"), ("neg", "-3")];
    assert_eq!(rows.list[0].attributes.pairs(), attributes);
    assert_eq!((&rows.list[1].attributes, rows.list[0].id.as_str()), (&Attributes::default(), "x.tar:1"));
    let why = |name: &str| rows.unusable[name].as_str();
    assert_eq!((why("huge"), why("list")), ("holds numbers of more than 64 bits", "holds lists; an attribute is one value for each image"));
    assert_eq!((why("map"), rows.unusable.len()), ("holds objects; an attribute is one value for each image", 3));
    // A label beside `.cls` is no attribute, and no second label.
    let bytes = archive(&[("1.png", b"x"), ("1.cls", b" cat\n"), ("1.json", br#"{"label": 7, "age": 3}"#)]);
    let rows = read_shard(Cursor::new(bytes), "x.tar", Want::Index).unwrap();
    assert!(matches!(&rows.list[0].label, Label::Name(name) if **name == *"cat"));
    assert_eq!(rows.unusable["label"], "stands beside `.cls`, which holds the label");
}

#[test]
fn damaged_shards_give_errors() {
    let whole = std::fs::read(golden().join("train-000001.tar")).unwrap();
    let budget = MemoryBudget::boundless();
    let mut refused = 0;
    for at in 0..2 * whole.len() {
        let (at, spill) = (at / 2, SpillBuffer::new(&budget));
        let mut bytes = whole.clone();
        bytes[at] ^= if at % 2 == 0 { 1 } else { 0x80 };
        refused += usize::from(read_shard(Cursor::new(bytes), "x.tar", Want::Images(&spill)).is_err());
    }
    assert!(refused > 5000, "{refused}");
    // Whatever its length, a part is not the whole.
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for length in (0..=end).step_by(37) {
        assert!(read_shard(Cursor::new(&whole[..length]), "x.tar", Want::Index).is_err(), "{length}");
    }
}
