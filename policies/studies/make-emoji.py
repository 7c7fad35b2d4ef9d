"""Sorts emoji into a source task with an attribute: what policies/studies/3-debiased-targets.yaml trains its sources on.

    python make-emoji.py PACKAGES OUT

PACKAGES holds `google` and `twitter`, the npm packages emoji-datasource-google and emoji-datasource-twitter 16.0.0 unpacked
(`emoji.json`, `img/VENDOR/64/*.png`). OUT becomes a folder of pictures, `{train,test}/{Objects,Symbols}/VENDOR-CODE.png`, with
`attributes.csv` (id, vendor, name). Both drawings of an emoji are in the same split; which is decided by a hash of its name. Needs pillow.
"""

import csv
import hashlib
import json
import sys
from pathlib import Path

from PIL import Image

CLASSES = ["Objects", "Symbols"]
VENDORS = ["google", "twitter"]


def main(packages, out):
    rows = []
    for entry in json.loads((packages / "google" / "emoji.json").read_text()):
        if entry["category"] not in CLASSES:
            continue
        name = entry["image"].removesuffix(".png")
        paths = [packages / vendor / "img" / vendor / "64" / entry["image"] for vendor in VENDORS]
        if not all(path.exists() for path in paths):
            continue
        split = "test" if hashlib.sha256(name.encode()).digest()[0] < 64 else "train"
        for vendor, path in zip(VENDORS, paths):
            place = Path(split) / entry["category"] / f"{vendor}-{name}.png"
            (out / place).parent.mkdir(parents=True, exist_ok=True)
            drawing = Image.open(path).convert("RGBA")
            picture = Image.new("RGBA", drawing.size, "white")
            picture.alpha_composite(drawing)
            picture.convert("RGB").save(out / place)
            rows.append((place.as_posix(), vendor, name))
    with open(out / "attributes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "vendor", "name"])
        writer.writerows(rows)
    print(f"{len(rows)} pictures in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
