"""Sorts emoji into the tasks of the studies of finding 3: folders of pictures with an attribute of each.

    python make-emoji.py PACKAGES OUT

PACKAGES holds `google` and `twitter`, the npm packages emoji-datasource-google and emoji-datasource-twitter 16.0.0 unpacked
(`emoji.json`, `img/VENDOR/64/*.png`). Needs pillow. OUT becomes three folders, each with `{train,test}/CLASS/*.png` and `attributes.csv`
(id, vendor, tone, name):

    vendor        objects and symbols; sources of 3-debiased-targets.yaml, whose attribute is the vendor that drew them
    tone-source   people at work, people doing something; sources of 3-skin-tone.yaml, whose attribute is the tone of skin
    tone-target   sports, hands, portraits; its target

All drawings of an emoji are in the same split; which is decided by a hash of its name.
"""

import csv
import hashlib
import json
import sys
from pathlib import Path

from PIL import Image

VENDORS = ["google", "twitter"]
# Fitzpatrick's types; the one in the middle is neither.
TONES = {"1F3FB": "light", "1F3FC": "light", "1F3FE": "dark", "1F3FF": "dark"}
# The class of an entry by its category or subcategory.
TASKS = {
    "vendor": {"Objects": "Objects", "Symbols": "Symbols"},
    "tone-source": {"person-role": "work", "person-activity": "doing", "person-gesture": "doing"},
    "tone-target": {"person-sport": "sports", "person-resting": "sports", "person-fantasy": "portraits", "person": "portraits", "body-parts": "hands"}
    | {f"hand{part}": "hands" for part in ["s", "-prop", "-fingers-open", "-fingers-partial", "-fingers-closed", "-single-finger"]},
}
# How many of 256 emoji are for the test: of targets more, because intervals rest on how many different ones there are.
TESTED = {"vendor": 64, "tone-source": 64, "tone-target": 160}


def drawings(entry, task):
    """The drawings of an entry that a task holds: tone and file name."""
    if task == "vendor":
        return [("", entry["image"])]
    found = entry.get("skin_variations", {})
    return [(tone, found[code]["image"]) for code, tone in TONES.items() if code in found]


def write(packages, out, task):
    rows = []
    for entry in json.loads((packages / "google" / "emoji.json").read_text()):
        kind = TASKS[task].get(entry["category"]) or TASKS[task].get(entry["subcategory"])
        name = entry["image"].removesuffix(".png")
        split = "test" if hashlib.sha256(name.encode()).digest()[0] < TESTED[task] else "train"
        for tone, image in drawings(entry, task) if kind else []:
            paths = {vendor: packages / vendor / "img" / vendor / "64" / image for vendor in VENDORS}
            if not all(path.exists() for path in paths.values()):
                continue
            for vendor, path in paths.items():
                place = Path(split) / kind / f"{vendor}-{image}"
                (out / task / place).parent.mkdir(parents=True, exist_ok=True)
                drawing = Image.open(path).convert("RGBA")
                picture = Image.new("RGBA", drawing.size, "white")
                picture.alpha_composite(drawing)
                picture.convert("RGB").save(out / task / place)
                rows.append((place.as_posix(), vendor, tone, name))
    with open(out / task / "attributes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "vendor", "tone", "name"])
        writer.writerows(rows)
    print(f"{task}: {len(rows)} pictures")


if __name__ == "__main__":
    for task in TASKS:
        write(Path(sys.argv[1]), Path(sys.argv[2]), task)
