#!/usr/bin/env python3
"""Writes shards with the Python package webdataset, and what the package reads from them again (`expected.json`).

Needs numpy, pillow and webdataset. Run from anywhere; the same files come out every time.
"""

import io
import json
import pathlib

import numpy as np
import webdataset as wds
from PIL import Image

HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(5)


def image(form, turned=None):
    smooth = np.add.outer(np.arange(6) * 20, np.arange(8) * 9)[..., None] + RANDOM.integers(0, 60, 3)
    out = io.BytesIO()
    exif = Image.Exif()
    if turned:
        exif[0x0112] = turned
    Image.fromarray(smooth.astype(np.uint8)).save(out, form, exif=exif)
    return out.getvalue()


NUMBERED = {
    "train-000000": [
        {"__key__": "0001", "png": image("PNG"), "cls": 0, "json": {"sex": "f", "age": 31, "share": 0.5, "whole": 3.0, "known": True, "boxes": [1, 2], "more": {"a": 1}}},
        {"__key__": "0002", "jpg": image("JPEG"), "cls": 1, "json": {"sex": None, "age": 9007199254740993, "share": 1e-7, "whole": 4.25, "known": False}},
        # A member of another kind, and an image that asks to be turned.
        {"__key__": "0003", "jpeg": image("JPEG", turned=6), "cls": 1, "txt": "a caption", "json": {"sex": "NaN", "names": {}}},
    ],
    # Keys in folders, endings of two parts, capitals.
    "train-000001": [
        {"__key__": "cats.of/a/0001", "left.PNG": image("PNG"), "cls": 0, "json": {"sex": "Ä m"}},
        {"__key__": "cats.of/b/0001", "png": image("PNG"), "cls": 2},
        {"__key__": "x" * 120 + "/0001", "png": image("PNG"), "cls": 2, "json": [1]},
    ],
    "test-000000": [{"__key__": ("y" * 120 + "/" if label == 2 else "") + f"{label:04}", "png": image("PNG"), "cls": label, "json": {"sex": "f"}} for label in range(3)],
}
NAMED = {
    f"named-{split}": [{"__key__": f"./{i}", "png": image("PNG"), "json": {"label": label, "n": i}} for i, label in enumerate(["dog", "cat", "dog"])] for split in ["train", "test"]
}


def text(value):
    """As docs/data.md says that attributes are written; none: it can be no attribute."""
    if value is None or value == "NaN":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, float):
        return np.format_float_positional(value, trim="-")
    return None if isinstance(value, (list, dict)) else str(value)


def main():
    expected = {}
    for name, samples in {**NUMBERED, **NAMED}.items():
        # The two ways in which tar files hold long names.
        form = "GNU_FORMAT" if name == "train-000001" else "PAX_FORMAT"
        with wds.TarWriter(str(HERE / f"{name}.tar"), mtime=0, format=form) as writer:
            for sample in samples:
                writer.write(sample)
        read = []
        for sample in wds.WebDataset(str(HERE / f"{name}.tar"), shardshuffle=False).decode("rgb8"):
            ending, pixels = next((e, v) for e, v in sample.items() if isinstance(v, np.ndarray))
            fields = sample["json"] if isinstance(sample.get("json"), dict) else {}
            label = sample["cls"] if "cls" in sample else fields.pop("label")
            attributes = {field: text(value) for field, value in fields.items()}
            height, width, _ = pixels.shape
            read.append({"key": sample["__key__"], "label": label, "attributes": attributes, "ending": ending, "size": [width, height], "rgb": pixels.tobytes().hex()})
        assert len(read) == len(samples)
        expected[name] = read
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
