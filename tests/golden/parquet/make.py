"""Writes parquet files as pyarrow and Hugging Face `datasets` do, and what their columns hold as text.

    python make.py        # pyarrow 26.0, datasets 5.2, Pillow 13.0

`columns.parquet` has a column of every type beside images and labels; `columns.json` has for each column its values as Python writes
them (null: missing), or none for a column that can be no attribute. `labels-*.parquet` have labels of unusual types, `*-pages.parquet` are
compressed one way each, `delta-*.parquet` have pages of delta encodings, of both versions. `full-*.parquet` have in footer and page headers all
that pyarrow can put there: several pages and row groups, statistics, checksums, sorting, page indexes, Bloom filters, rarer types.
"""
import datetime
import decimal
import io
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).parent
ROWS = 4


def png(gray):
    buffer = io.BytesIO()
    Image.new("L", (2, 2), gray).save(buffer, "PNG")
    return buffer.getvalue()


def images(count):
    return pa.StructArray.from_arrays([pa.array([png(10 * i) for i in range(count)], pa.binary()), pa.nulls(count, pa.string())], names=["bytes", "path"])


def number(value):
    if value is None or value != value:
        return None
    return str(int(value)) if float(value).is_integer() else repr(value)


def moment(value):
    """As pandas writes it, without zeros at the end."""
    text = value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime.datetime) else value.strftime("%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".")


doubles = [0.5, 3.0, None, float("nan")]
singles = [np.float32(0.1), np.float32(2), None, np.float32(-7.25)]
dates = [datetime.date(2024, 2, 29), datetime.date(1969, 12, 31), None, datetime.date(1900, 1, 1)]
stamps = [datetime.datetime(2020, 1, 2, 3, 4, 5, 120000), datetime.datetime(1969, 12, 31, 23, 59, 59, 999000), None, datetime.datetime(2000, 1, 1)]
times = [datetime.time(3, 4, 5, 120000), datetime.time(0, 0), None, datetime.time(23, 59, 59)]
amounts = [decimal.Decimal("1.50"), decimal.Decimal("-0.05"), None, decimal.Decimal("12345.00")]
whole = [decimal.Decimal(7), decimal.Decimal(-12), None, decimal.Decimal(0)]
text = ["f", "m", None, "f"]
said = lambda values, how=str: [None if v is None else how(v) for v in values]
columns = {
    "double": (pa.array(doubles, pa.float64()), said(doubles, number)),
    "single": (pa.array(singles, pa.float32()), [None if v is None else number(float(str(v))) for v in singles]),
    "half": (pa.array([None if v is None else np.float16(v) for v in [0.5, 2, None, -1.5]], pa.float16()), ["0.5", "2", None, "-1.5"]),
    "date": (pa.array(dates, pa.date32()), said(dates)),
    "seconds": (pa.array(stamps, pa.timestamp("ms")), said(stamps, moment)),
    "microseconds": (pa.array(stamps, pa.timestamp("us", tz="UTC")), said(stamps, moment)),
    "nanoseconds": (pa.array(stamps, pa.timestamp("ns")), said(stamps, moment)),
    "time": (pa.array(times, pa.time32("ms")), said(times, moment)),
    "time_micro": (pa.array(times, pa.time64("us")), said(times, moment)),
    "decimal": (pa.array(amounts, pa.decimal128(9, 2)), said(amounts)),
    "decimal_long": (pa.array(amounts, pa.decimal128(30, 2)), said(amounts)),
    "decimal_whole": (pa.array(whole, pa.decimal128(9, 0)), said(whole)),
    "bool": (pa.array([True, False, None, True]), ["true", "false", None, "true"]),
    "int8": (pa.array([-1, 7, None, 0], pa.int8()), ["-1", "7", None, "0"]),
    "int64": (pa.array([2**62, -1, None, 0], pa.int64()), [str(2**62), "-1", None, "0"]),
    "uint64": (pa.array([2**63 + 1, 1, None, 0], pa.uint64()), [str(2**63 + 1), "1", None, "0"]),
    "text": (pa.array(text), text),
    "large_text": (pa.array(text, pa.large_string()), text),
    "dictionary": (pa.array(text).dictionary_encode(), text),
    "bytes_of_text": (pa.array([None if v is None else v.encode() for v in text], pa.binary()), text),
    "bytes": (pa.array([b"f", b"\xff\xfe", None, b"m"], pa.binary()), None),
    "list": (pa.array([["a"], [], None, ["a", "b"]]), None),
    "struct": (pa.array([{"a": 1}, None, {"a": 2}, {"a": 3}]), None),
    "map": (pa.array([[("a", 1)], [], None, []], pa.map_(pa.string(), pa.int32())), None),
    "sex": (pa.array([0, 1, -1, None], pa.int64()), ["female", "male", None, None]),
    "too_few_names": (pa.array([0, 1, 2, 0], pa.int64()), None),
}
features = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "sex": datasets.ClassLabel(names=["female", "male"]),
        "too_few_names": datasets.ClassLabel(names=["a", "b"]),
    }
)
names = {b"huggingface": json.dumps({"info": {"features": features.to_dict()}}).encode()}
table = pa.table({"image": images(ROWS), "label": pa.array([0, 1, 0, 1]), **{name: column for name, (column, _) in columns.items()}})
pq.write_table(table.replace_schema_metadata(names), HERE / "columns.parquet")
(HERE / "columns.json").write_text(json.dumps({name: values for name, (_, values) in columns.items()}, indent=1) + "\n")

labels = {
    "float": pa.array([0.0, 1.0], pa.float32()),
    "double": pa.array([1.0, 0.0], pa.float64()),
    "half": pa.array([0.5, 1.0], pa.float64()),
    "binary": pa.array([b"dog", b"cat"], pa.binary()),
    "bytes": pa.array([b"dog", b"\xff"], pa.binary()),
    "bool": pa.array([True, False]),
    "decimal": pa.array([decimal.Decimal(1), decimal.Decimal(0)], pa.decimal128(5, 1)),
    "list": pa.array([[0], [1]]),
}
for name, column in labels.items():
    pq.write_table(pa.table({"image": images(2), "label": column}), HERE / f"labels-{name}.parquet")
for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
    pq.write_table(pa.table({"image": images(2), "label": pa.array([0, 1])}), HERE / f"{codec}-pages.parquet", compression=codec)
for name, encoding, version in [("length-1", "DELTA_LENGTH_BYTE_ARRAY", "1.0"), ("length-2", "DELTA_LENGTH_BYTE_ARRAY", "2.0"), ("text", "DELTA_BYTE_ARRAY", "1.0")]:
    columns = {"image": images(4).field("bytes"), "label": pa.array([0, 1, 0, 1]), "note": pa.array(["one", None, "three", "three"])}
    pq.write_table(pa.table(columns), HERE / f"delta-{name}.parquet", data_page_version=version, use_dictionary=False, compression="none",
                   column_encoding={"image": encoding, "note": encoding, "label": "DELTA_BINARY_PACKED"})

full = {
    "image": images(6),
    "label": pa.array([0, 0, 0, 1, 1, 1]),
    "note": pa.array(["a", "b", None, "d", "e", "f"]),
    "json": pa.array(['{"a": 1}', None, "{}", "[]", "1", "2"], pa.json_()),
    "uuid": pa.array([bytes([i] * 16) for i in range(6)], pa.uuid()),
    "half": pa.array(np.arange(6, dtype=np.float16)),
    "small": pa.array(range(6), pa.uint8()),
    "amount": pa.array([decimal.Decimal(i) for i in range(6)], pa.decimal128(5, 1)),
    "time": pa.array([datetime.time(i) for i in range(6)], pa.time64("us")),
    "moment": pa.array([datetime.datetime(2020, 1, 1, i) for i in range(6)], pa.timestamp("ns", tz="UTC")),
    "map": pa.array([[("a", i)] for i in range(6)], pa.map_(pa.string(), pa.int32())),
}
for version, indexed in [("1.0", True), ("2.0", True), ("1.0", False), ("2.0", False)]:
    pq.write_table(pa.table(full), HERE / f"full-{version[0]}{'-indexed' if indexed else ''}.parquet", data_page_version=version, row_group_size=4,
                   write_page_index=indexed, write_page_checksum=True, data_page_size=16, write_batch_size=1, max_rows_per_page=1,
                   sorting_columns=[pq.SortingColumn(1)], store_schema=False, bloom_filter_options={"note": {"ndv": 6, "fpp": 0.1}})

twice = pa.Table.from_arrays([images(2), pa.array([0, 1]), pa.array([1, 0])], names=["image", "label", "label"])
pq.write_table(twice, HERE / "two-labels.parquet")
