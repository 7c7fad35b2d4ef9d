//! The fields of parquet's footer and page headers that the parquet crate reads, with the types that it takes them for.
//!
//! Numbers and types are those of the format (`parquet.thrift` of apache/parquet-format). A field that is not here is one that the crate skips.

use super::thrift::Kind::{Byte, Bytes, Double, List, Noted, Number, Struct, Truth};
use super::thrift::{Fields, Note};

/// Statistics are left out: the crate skips those of pages.
pub(super) const PAGE_HEADER: Fields = &[
    (1, Number),
    (2, Noted(Note::Unpacked, &Number)),
    (3, Number),
    (4, Number),
    (5, Struct(&[(1, Number), (2, Number), (3, Number), (4, Number)])),
    (6, Struct(&[])),
    (7, Struct(&[(1, Number), (2, Number), (3, Truth)])),
    (8, Struct(DATA_PAGE_2)),
];

const DATA_PAGE_2: Fields =
    &[(1, Number), (2, Number), (3, Number), (4, Number), (5, Noted(Note::Levels, &Number)), (6, Noted(Note::Levels, &Number)), (7, Truth)];

/// `FileMetaData`.
pub(super) const FOOTER: Fields = &[
    (1, Number),
    (2, List(&Noted(Note::Element, &Struct(SCHEMA_ELEMENT)))),
    (3, Number),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&Struct(&[(1, Bytes), (2, Bytes)]))),
    (6, Bytes),
    (7, List(&Struct(&[(1, Struct(&[])), (2, Struct(&[])), (3, Struct(&[]))]))),
];

const SCHEMA_ELEMENT: Fields = &[
    (1, Number),
    (2, Number),
    (3, Number),
    (4, Noted(Note::Name, &Bytes)),
    (5, Noted(Note::Children, &Number)),
    (6, Number),
    (7, Number),
    (8, Number),
    (9, Number),
    (10, Struct(LOGICAL_TYPE)),
];

/// One of these, most of which say all by being there.
const LOGICAL_TYPE: Fields = &[
    (1, Struct(&[])),
    (2, Struct(&[])),
    (3, Struct(&[])),
    (4, Struct(&[])),
    (5, Struct(&[(1, Number), (2, Number)])),
    (6, Struct(&[])),
    (7, Struct(TIME)),
    (8, Struct(TIME)),
    (10, Struct(&[(1, Byte), (2, Truth)])),
    (11, Struct(&[])),
    (12, Struct(&[])),
    (13, Struct(&[])),
    (14, Struct(&[])),
    (15, Struct(&[])),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Bytes)])),
    (18, Struct(&[(1, Bytes), (2, Number)])),
    (19, Struct(&[])),
];

const TIME: Fields = &[(1, Truth), (2, Struct(&[(1, Struct(&[])), (2, Struct(&[])), (3, Struct(&[]))]))];

const ROW_GROUP: Fields = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, Number),
    (3, Number),
    (4, List(&Struct(&[(1, Number), (2, Truth), (3, Truth)]))),
    (5, Number),
    (7, Number),
];

const COLUMN_CHUNK: Fields = &[(1, Bytes), (2, Number), (3, Struct(COLUMN_METADATA)), (4, Number), (5, Number), (6, Number), (7, Number)];

const COLUMN_METADATA: Fields = &[
    (1, Number),
    (2, List(&Number)),
    (4, Number),
    (5, Number),
    (6, Number),
    (7, Number),
    (9, Number),
    (10, Number),
    (11, Number),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, Number), (2, Number), (3, Number)]))),
    (14, Number),
    (15, Number),
    (16, Struct(&[(1, Number), (2, List(&Number)), (3, List(&Number))])),
    (17, Struct(&[(1, Struct(BOUNDING_BOX)), (2, List(&Number))])),
];

const STATISTICS: Fields = &[(1, Bytes), (2, Bytes), (3, Number), (4, Number), (5, Bytes), (6, Bytes), (7, Truth), (8, Truth), (9, Number)];

const BOUNDING_BOX: Fields = &[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)];
