"""Writes a folder of JPEGs, one folder per class, as somebody's photographs lie on a disk: CIFAR-10 images enlarged to 300 x 260 pixels.

    pip install pillow pyarrow
    python examples/enlarge.py CIFAR10-TEST.parquet photos [COUNT] [CLASS ...]

COUNT images of each class, 40 where absent; the classes are those named, else the first five. The parquet file is one of those on the Hugging Face
hub (`uoft-cs/cifar10`, plain_text). The same arguments write the same files. Then:

    heirloom init MODEL --data photos > policy.yaml
    heirloom certify MODEL --policy policy.yaml
"""

import io
import json
import pathlib
import sys

import pyarrow.parquet
from PIL import Image

SIZE = (300, 260)


def main(parquet, folder, count="40", *wanted):
    table = pyarrow.parquet.read_table(parquet)
    image, label = ("img" if "img" in table.column_names else "image"), "label"
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"][label]["names"]
    wanted = list(wanted) or names[:5]
    for name in wanted:
        if name not in names:
            sys.exit(f"no class is called {name}; there are: {', '.join(names)}")
    left = {name: int(count) for name in wanted}
    for row, (picture, number) in enumerate(zip(table[image].to_pylist(), table[label].to_pylist())):
        name = names[number]
        if left.get(name, 0) == 0:
            continue
        left[name] -= 1
        place = pathlib.Path(folder) / name
        place.mkdir(parents=True, exist_ok=True)
        large = Image.open(io.BytesIO(picture["bytes"])).convert("RGB").resize(SIZE, Image.BICUBIC)
        large.save(place / f"{row:05}.jpg", quality=90)
    for name, missing in left.items():
        if missing:
            sys.exit(f"{parquet} has {int(count) - missing} images of {name}, not {count}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
