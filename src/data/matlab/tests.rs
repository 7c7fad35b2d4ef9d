//! Files that scipy wrote (tests/golden/layouts/make.py), and others.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::*;
use crate::diag::Explain as _;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/layouts/matlab").join(name)
}

/// What `values.json` says of a value.
fn as_json(value: &Value) -> Json {
    match value {
        Value::Numbers(numbers) => numbers.clone().into(),
        Value::Text(text) => text.clone().into(),
        Value::Cells(cells) => serde_json::json!({ "cells": cells.iter().map(as_json).collect::<Vec<_>>() }),
        Value::Structs(fields) => {
            let fields = fields.iter().map(|(name, of)| (name.clone(), of.iter().map(as_json).collect::<Vec<_>>().into()));
            serde_json::json!({ "structs": fields.collect::<serde_json::Map<String, Json>>() })
        }
        Value::Other(what) => (*what).into(),
    }
}

#[test]
fn values_are_those_that_scipy_reads() {
    let expected: Json = serde_json::from_str(&std::fs::read_to_string(golden("values.json")).unwrap()).unwrap();
    for file in ["values.mat", "packed.mat"] {
        let found = load(&golden(file)).unwrap();
        let expected = expected.as_object().unwrap();
        assert!(expected.len() >= 16);
        for (name, wanted) in expected {
            let value = found.get(name).map(as_json).unwrap();
            // An empty text is written as one of no letters, or of no rows.
            if name == "nothing" {
                assert!(value == "" || value == serde_json::json!([]), "{value}");
            } else {
                assert_eq!(value, *wanted, "{file}: {name}");
            }
        }
        for (name, what) in [("rows", "text of several rows"), ("imaginary", "complex numbers"), ("sparse", "a sparse matrix")] {
            assert_eq!(found.get(name), Some(&Value::Other(what)), "{file}");
        }
        assert_eq!(found.len(), expected.len() + 3);
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let error = load(&golden("version-4.mat")).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "version-4.mat: it is a MATLAB file of version 4, or none at all; MATLAB files of version 5 (`-v6`, `-v7`) are read"
        )
    );
    assert_eq!(
        error.hint(),
        Some("write it anew as version 5, in MATLAB: save(FILE, '-v7'), in Python: scipy.io.savemat(FILE, variables)")
    );
    let said = |bytes: &[u8]| variables(bytes).unwrap_err().reason;
    let mut header = [b' '; 128];
    header[..18].copy_from_slice(b"MATLAB 7.3 MAT-fil");
    assert!(said(&header).starts_with("it is a MATLAB file of version 7.3 (HDF5);"));
    assert!(said(b"\x89HDF\r\n\x1a\n").starts_with("it is a MATLAB file of version 7.3 (HDF5);"));
    assert_eq!(said(b"\x80\x04\x95"), "it is a Python pickle, which can run code when it is read");
    for other in [&b""[..], b"MATLAB", &[b' '; 128], b"PK\x03\x04rest"] {
        assert!(said(other).starts_with("it is no MATLAB file;"), "{other:?}");
    }
}

/// A file with these elements, the most significant byte first where `big`.
fn file(elements: &[u8], big: bool) -> Vec<u8> {
    let end: &[u8] = if big { b"\x01\x00MI" } else { b"\x00\x01IM" };
    [&[b'M'; 116][..], &[0; 8], end, elements].concat()
}

/// An element: its kind, and its bytes filled up.
fn element(kind: u32, bytes: &[u8], big: bool) -> Vec<u8> {
    let number = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut all = [&number(kind)[..], &number(bytes.len() as u32), bytes].concat();
    all.resize(all.len().next_multiple_of(8), 0);
    all
}

/// A variable `x` of this class with these sizes, and what follows.
fn variable(class: u32, sizes: &[u32], rest: &[u8], big: bool) -> Vec<u8> {
    let number = |number: &u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let sizes: Vec<u8> = sizes.iter().flat_map(number).collect();
    let parts = [element(6, &[number(&class), [0; 4]].concat(), big), element(5, &sizes, big), element(1, b"x", big), rest.to_vec()];
    element(14, &parts.concat(), big)
}

#[test]
fn either_byte_order_is_read() {
    for big in [false, true] {
        let numbers: Vec<u8> = [7u16, 300].into_iter().flat_map(|n| if big { n.to_be_bytes() } else { n.to_le_bytes() }).collect();
        let found = variables(&file(&variable(6, &[1, 2], &element(4, &numbers, big), big), big)).unwrap();
        assert_eq!(found["x"], Value::Numbers(vec![7.0, 300.0]));
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    let packed = encoder.finish().unwrap();
    [&15u32.to_le_bytes()[..], &(packed.len() as u32).to_le_bytes(), &packed].concat()
}

#[test]
fn what_lies_or_asks_for_too_much_is_refused() {
    let said = |elements: &[u8]| variables(&file(elements, false)).unwrap_err().reason;
    let one = element(2, &[1], false);
    assert_eq!(said(&variable(6, &[1, 2], &one, false)), "`x` has 1 numbers where its sizes say 2");
    assert_eq!(said(&variable(6, &[u32::MAX, u32::MAX, u32::MAX], &one, false)), format!("the sizes of `x` are none: {:?}", [u32::MAX; 3]));
    assert_eq!(said(&variable(6, &[4], &one, false)), "the sizes of `x` are none: [4]");
    // A billion cells that are not there.
    assert_eq!(said(&variable(1, &[1, 1_000_000_000], &[], false)), "it ends inside an element");
    assert_eq!(said(&[14, 0, 0, 0, 255, 255, 255, 127]), "it ends inside an element");
    assert_eq!(said(&element(9, &[0; 8], false)), "it holds an element of kind 9 where a variable is expected");
    let twice = [variable(6, &[1, 1], &one, false), variable(6, &[1, 1], &one, false)].concat();
    assert_eq!(said(&twice), "the variable `x` is there twice");
    // Small on disk, large in memory.
    let zeros = vec![0; (MAX_UNPACKED + 1) as usize];
    assert_eq!(said(&packed(&zeros)), format!("its variables unpack to more than {MAX_UNPACKED} bytes, the most that are read"));
    assert_eq!(said(&packed(&packed(&one))), "it holds an element of kind 15 where a variable is expected");
    assert!(said(&element(15, b"not packed", false)).starts_with("a variable cannot be unpacked: "));
    // Cells in cells in cells.
    let mut deep = variable(6, &[1, 1], &one, false);
    for _ in 0..=MAX_DEPTH {
        deep = variable(1, &[1, 1], &deep, false);
    }
    assert_eq!(said(&deep), format!("cells and structs lie more than {MAX_DEPTH} deep in each other"));
    let empty = element(14, &[], false);
    let many = variable(1, &[1, MAX_VALUES as u32 + 1], &empty.repeat(MAX_VALUES + 1), false);
    assert_eq!(said(&many), format!("it holds more than {MAX_VALUES} values, the most that are read"));
}

#[test]
fn damage_gives_errors_and_no_panics() {
    for name in ["values.mat", "packed.mat"] {
        let whole = std::fs::read(golden(name)).unwrap();
        for k in 0..4000 {
            let mut bytes = whole.clone();
            let at = (k * 7919) % bytes.len();
            bytes[at] ^= 1 << (k % 8);
            let _ = variables(&bytes);
            let _ = variables(&whole[..at]);
        }
    }
}
