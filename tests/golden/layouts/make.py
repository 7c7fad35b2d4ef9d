#!/usr/bin/env python3
"""Writes a small stand-in of every published layout that heirloom reads, and what other programs read from it.

Needs numpy, pillow, scipy, torch and torchvision. The same files come out every time:

    python make.py                                    the sets beside this file, and expected.json
    python make.py --images 60 --side 64 FOLDER       larger ones elsewhere, to try a policy of policies/paper on

`sets/NAME` is laid out as the data set is published. Images are noise around a colour of their class. expected.json holds, for each part of a set, the
images with label and attributes, as torchvision's class for that data set reads them, or the package `csv` of Python where torchvision has none
(Birdsnap, FairFace, the partitions of SUN397). `matlab` holds MATLAB files, and values.json what scipy reads from one.
"""

import argparse
import colorsys
import csv
import json
import pathlib
import shutil

import numpy as np
import scipy.io
from PIL import Image
from torchvision import datasets

HERE = pathlib.Path(__file__).resolve().parent

AGES = ["0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"]
ATTRIBUTES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry Brown_Hair "
    "Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes "
    "No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings "
    "Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young"
).split()


class Maker:
    def __init__(self, out, images, side):
        self.out, self.images, self.side = out, images, side
        self.random = np.random.default_rng(5)

    def image(self, path, colour):
        """An image that no other is like; `colour` from 0 to 1 says of what class it is."""
        path = self.out / path
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = self.side * 4 // 5, self.side
        centre = np.array(colorsys.hsv_to_rgb(colour, 0.7, 0.8)) * 255
        # Coarse noise, which JPEG keeps.
        noise = self.random.normal(0, 25, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
        Image.fromarray((centre + noise).clip(0, 255).astype(np.uint8)).save(path, quality=40)

    def text(self, path, lines):
        path = self.out / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))

    def matlab(self, path, variables, packed):
        path = self.out / path
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, variables, do_compression=packed)
        # The header says when it was written.
        data = bytearray(path.read_bytes())
        data[:116] = b"MATLAB 5.0 MAT-file, written by tests/golden/layouts/make.py".ljust(116)
        path.write_bytes(bytes(data))

    def parts(self, classes, train, test):
        """Class numbers of so many images of each class, those of both parts in any order."""
        made = [(number, part) for number in range(classes) for part, count in (("train", train), ("test", test)) for _ in range(count)]
        return [made[i] for i in self.random.permutation(len(made))]

    # One function for each layout.

    def aircraft(self):
        base = "aircraft/fgvc-aircraft-2013b/data"
        variants = [("707-320", "Boeing 707", "Boeing"), ("A300B4", "A300", "Airbus"), ("BAE 146-200", "BAE 146", "British Aerospace")]
        lists = {}
        for at, (number, part) in enumerate(self.parts(3, 3 * self.images // 4, self.images // 2)):
            image = 1025794 + at * 37
            self.image(f"{base}/images/{image}.jpg", number / 3)
            parts = [part] if part == "test" else [["train", "val"][at % 2], "trainval"]
            for part in parts:
                for column, name in zip(["variant", "family", "manufacturer"], variants[number]):
                    lists.setdefault(f"{column}_{part}", []).append(f"{image} {name}")
        for name, lines in lists.items():
            self.text(f"{base}/images_{name}.txt", lines)
        for column, name in enumerate(["variants", "families", "manufacturers"]):
            self.text(f"{base}/{name}.txt", sorted({names[column] for names in variants}))

    def birdsnap(self):
        species = [("Acadian Flycatcher", "Empidonax virescens"), ("Acorn Woodpecker", "Melanerpes formicivorus")]
        tests, rows = [], []
        for at, (number, part) in enumerate(self.parts(2, self.images, self.images // 2)):
            path = f"{species[number][0].replace(' ', '_')}/{3000 + at}.jpg"
            self.image(f"birdsnap/download/images/{path}", number / 2)
            rows.append(f"http://example.org/{at}\tmd5\t{path}\t{number + 1}")
            if part == "test":
                tests.append(path)
        self.text("birdsnap/images.txt", ["url\tmd5\tpath\tspecies_id", *rows])
        # One that could not be downloaded any more.
        self.text("birdsnap/test_images.txt", ["path", *tests, "Acorn_Woodpecker/9999.jpg"])
        lines = [f"{i + 1}\t{common}\t{latin}\t{common.replace(' ', '_')}" for i, (common, latin) in enumerate(species)]
        self.text("birdsnap/species.txt", ["id\tcommon\tscientific\tdir", *lines])

    def caltech101(self):
        for number, name in enumerate(["BACKGROUND_Google", "Faces_easy", "Leopards", "accordion"]):
            for i in range(self.images):
                self.image(f"caltech101/101_ObjectCategories/{name}/image_{i + 1:04}.jpg", number / 4)

    def caltech256(self):
        for number, name in enumerate(["001.ak47", "002.american-flag", "003.backpack"]):
            for i in range(self.images):
                self.image(f"caltech256/256_ObjectCategories/{name}/{number + 1:03}_{i + 1:04}.jpg", number / 3)

    def cars(self):
        names = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]
        kind = [(field, "O") for field in ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]]
        rows = {"train": [], "test": []}
        for number, part in self.parts(3, self.images, self.images // 2):
            name = f"{len(rows[part]) + 1:05}.jpg"
            self.image(f"cars/cars_{part}/{name}", number / 3)
            box = [np.array([[value]], dtype=np.uint8) for value in (3, 4, 30, 28)]
            rows[part].append((*box, np.array([[number + 1]], dtype=np.uint8), name))
        for part, path in (("train", "devkit/cars_train_annos"), ("test", "cars_test_annos_withlabels")):
            self.matlab(f"cars/{path}.mat", {"annotations": np.array([rows[part]], dtype=kind)}, packed=True)
        # As the devkit has it: without classes.
        kind = [pair for pair in kind if pair[0] != "class"]
        test = [row[:4] + row[5:] for row in rows["test"]]
        self.matlab("cars/devkit/cars_test_annos.mat", {"annotations": np.array([test], dtype=kind)}, packed=True)
        self.matlab("cars/devkit/cars_meta.mat", {"class_names": np.array([names], dtype=object)}, packed=False)

    def celeba(self):
        rows, partition = [], []
        for at in range(self.images * 6):
            name, values = f"{at + 1:06}.jpg", self.random.choice([-1, 1], len(ATTRIBUTES))
            self.image(f"celeba/img_align_celeba/{name}", 0.1 if values[-1] == 1 else 0.5)
            rows.append(f"{name} " + " ".join(f"{value:2}" for value in values))
            partition.append(f"{name} {[0, 0, 0, 2, 1, 2][at % 6]}")
        self.text("celeba/list_attr_celeba.txt", [len(rows), " ".join(ATTRIBUTES) + " ", *rows])
        self.text("celeba/list_eval_partition.txt", partition)
        # What torchvision wants besides.
        images = [row.split()[0] for row in rows]
        self.text("celeba/identity_CelebA.txt", [f"{image} {7 + i % 5}" for i, image in enumerate(images)])
        for name, columns in (("list_bbox_celeba", 4), ("list_landmarks_align_celeba", 10)):
            header = [len(rows), " ".join(f"x_{i}" for i in range(columns))]
            self.text(f"celeba/{name}.txt", header + [f"{image} " + " ".join("1" * columns) for image in images])

    def fairface(self):
        for part, count in (("train", self.images * 9), ("val", self.images * 4)):
            rows = []
            for at in range(count):
                age = AGES[at % 9]
                self.image(f"fairface/{part}/{at + 1}.jpg", 0.1 if AGES.index(age) < 4 else 0.5)
                rows.append([f"{part}/{at + 1}.jpg", age, ["Male", "Female"][at // 9 % 2], ["East Asian", "Latino_Hispanic"][at % 2], at % 3 == 0])
            with open(self.out / f"fairface/fairface_label_{part}.csv", "w", newline="") as file:
                csv.writer(file).writerows([["file", "age", "gender", "race", "service_test"], *rows])

    def flowers102(self):
        labels, sets = [], {"trnid": [], "valid": [], "tstid": []}
        for at, (number, part) in enumerate(self.parts(3, self.images, self.images // 2)):
            self.image(f"flowers102/flowers-102/jpg/image_{at + 1:05}.jpg", number / 3)
            labels.append(number + 1)
            sets["tstid" if part == "test" else ["trnid", "valid"][at % 2]].append(at + 1)
        self.matlab("flowers102/flowers-102/imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)}, packed=True)
        self.matlab("flowers102/flowers-102/setid.mat", {name: np.array([of], dtype=np.uint16) for name, of in sets.items()}, packed=False)

    def food101(self):
        classes, lists = ["apple_pie", "baby_back_ribs", "beef_carpaccio"], {"train": {}, "test": {}}
        for at, (number, part) in enumerate(self.parts(3, self.images, self.images // 2)):
            name = f"{classes[number]}/{1005649 + at * 11}"
            self.image(f"food101/food-101/images/{name}.jpg", number / 3)
            lists[part].setdefault(classes[number], []).append(name)
        for part, of in lists.items():
            of = dict(sorted(of.items()))
            self.text(f"food101/food-101/meta/{part}.txt", [name for names in of.values() for name in names])
            self.text(f"food101/food-101/meta/{part}.json", [json.dumps(of)])
        self.text("food101/food-101/meta/classes.txt", classes)

    def pets(self):
        breeds, lists = [("Abyssinian", 1, 1), ("american_bulldog", 2, 1), ("Bengal", 1, 2)], {"train": [], "test": []}
        for at, (number, part) in enumerate(self.parts(3, self.images, self.images // 2)):
            breed, species, nth = breeds[number]
            self.image(f"pets/oxford-iiit-pet/images/{breed}_{100 + at}.jpg", number / 3)
            lists[part].append(f"{breed}_{100 + at} {number + 1} {species} {nth}")
        for part, lines in lists.items():
            self.text(f"pets/oxford-iiit-pet/annotations/{'trainval' if part == 'train' else part}.txt", sorted(lines))

    def sun397(self):
        classes, lists = ["/a/abbey", "/a/apartment_building/outdoor", "/b/bamboo_forest"], {"train": [], "test": []}
        for at, (number, part) in enumerate(self.parts(3, self.images, self.images // 2)):
            path = f"{classes[number]}/sun_a{at:015}.jpg"
            self.image(f"sun397/SUN397{path}", number / 3)
            lists[part].append(path)
        self.text("sun397/SUN397/ClassName.txt", classes)
        self.text("sun397/Partitions/ClassName.txt", classes)
        self.text("sun397/Partitions/Training_01.txt", sorted(lists["train"]))
        self.text("sun397/Partitions/Testing_01.txt", sorted(lists["test"]))


LAYOUTS = "aircraft birdsnap caltech101 caltech256 cars celeba fairface flowers102 food101 pets sun397".split()


def expected(sets):
    """What other programs read: for each layout its classes, and for each part [image, label, attributes], sorted."""

    def inside(path, folder):
        return pathlib.Path(path).relative_to(folder).as_posix()

    # Files of another size than the published ones have other digests.
    for unchecked in (datasets.CelebA, datasets.Flowers102):
        unchecked._check_integrity = lambda self: True
    made = {}

    def add(name, classes, **parts):
        made[name] = {"classes": classes, **{part: sorted(rows) for part, rows in parts.items()}}

    def aircraft(part):
        variant, family, maker = [datasets.FGVCAircraft(sets / "aircraft", part, level) for level in ("variant", "family", "manufacturer")]
        rows = []
        for at, path in enumerate(variant._image_files):
            assert family._image_files[at] == maker._image_files[at] == path
            attributes = {"family": family.classes[family._labels[at]], "manufacturer": maker.classes[maker._labels[at]]}
            rows.append([pathlib.Path(path).name, variant._labels[at], attributes])
        return variant.classes, rows

    (classes, train), (_, test) = aircraft("trainval"), aircraft("test")
    add("aircraft", classes, train=train, test=test)

    base = sets / "birdsnap"
    with open(base / "images.txt", newline="") as file:
        images = list(csv.DictReader(file, delimiter="\t"))
    with open(base / "species.txt", newline="") as file:
        species = [row["dir"] for row in csv.DictReader(file, delimiter="\t")]
    tests = set((base / "test_images.txt").read_text().split()[1:])
    rows = [[row["path"], int(row["species_id"]) - 1, {}] for row in images if (base / "download/images" / row["path"]).exists()]
    add("birdsnap", species, train=[row for row in rows if row[0] not in tests], test=[row for row in rows if row[0] in tests])

    one = datasets.Caltech101(sets)
    rows = [[f"{one.categories[y]}/image_{i:04}.jpg", y, {}] for y, i in zip(one.y, one.index)]
    add("caltech101", one.categories, all=rows)
    two = datasets.Caltech256(sets)
    add("caltech256", two.categories, all=[[f"{two.categories[y]}/{y + 1:03}_{i:04}.jpg", y, {}] for y, i in zip(two.y, two.index)])

    # torchvision wants the folder under this name.
    linked = sets / "torchvision"
    linked.mkdir()
    (linked / "stanford_cars").symlink_to(sets / "cars", target_is_directory=True)
    cars = {part: datasets.StanfordCars(linked, part) for part in ("train", "test")}
    parts = {part: [[inside(path, linked / "stanford_cars"), int(label), {}] for path, label in of._samples] for part, of in cars.items()}
    add("cars", cars["train"].classes, **parts)
    shutil.rmtree(linked)

    faces = {part: datasets.CelebA(sets, part) for part in ("train", "test")}
    named = lambda of, at: {name: str(2 * int(value) - 1) for name, value in zip(of.attr_names, of.attr[at])}
    young = lambda of, at: int(of.attr[at][of.attr_names.index("Young")])
    add("celeba", ["old", "young"], **{part: [[name, young(of, at), named(of, at)] for at, name in enumerate(of.filename)] for part, of in faces.items()})

    parts = {}
    for part, name in (("train", "train"), ("test", "val")):
        with open(sets / f"fairface/fairface_label_{name}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        # Young as the paper's code has it.
        parts[part] = [[row.pop("file"), int(row["age"] in ("0-2", "10-19", "20-29", "3-9")), row] for row in rows]
    add("fairface", ["old", "young"], **parts)

    def flowers(part):
        of = datasets.Flowers102(sets / "flowers102", part)
        return [[pathlib.Path(path).name, int(label), {}] for path, label in zip(of._image_files, of._labels)]

    def flowers_numbers():
        return [str(number) for number in range(1, 1 + int(scipy.io.loadmat(sets / "flowers102/flowers-102/imagelabels.mat")["labels"].max()))]

    # torchvision 0.2x counts labels from 0 or from 1.
    low = min(row[1] for row in flowers("train"))
    parts = {"train": flowers("train") + flowers("val"), "test": flowers("test")}
    add("flowers102", flowers_numbers(), **{part: [[path, label - low, of] for path, label, of in rows] for part, rows in parts.items()})

    food = {part: datasets.Food101(sets / "food101", part) for part in ("train", "test")}
    parts = {part: [[inside(path, of._images_folder), label, {}] for path, label in zip(of._image_files, of._labels)] for part, of in food.items()}
    add("food101", food["train"].classes, **parts)

    pets = {part: datasets.OxfordIIITPet(sets / "pets", name) for part, name in (("train", "trainval"), ("test", "test"))}
    parts = {part: [[path.name, label, {"species": of.bin_classes[species].lower()}] for path, label, species in zip(of._images, of._labels, of._bin_labels)] for part, of in pets.items()}
    add("pets", pets["train"].classes, **parts)

    sun = datasets.SUN397(sets / "sun397")
    labels = {inside(path, sun._data_dir): label for path, label in zip(sun._image_files, sun._labels)}
    parts = {}
    for part, name in (("train", "Training_01"), ("test", "Testing_01")):
        images = [line.lstrip("/") for line in (sets / f"sun397/Partitions/{name}.txt").read_text().split()]
        parts[part] = [[image, labels[image], {}] for image in images]
    add("sun397", sun.classes, **parts)
    return made


def matlab():
    """MATLAB files of every kind of value, and what scipy reads from them."""
    out = HERE / "matlab"
    shutil.rmtree(out, ignore_errors=True)
    maker = Maker(HERE, 0, 0)
    structs = np.array([[(np.array([[1.0]]), "one"), (np.array([[2.5]]), "two words")]], dtype=[("number", "O"), ("name", "O")])
    kinds = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
    values = {
        **{f"of_{kind}": np.array([[1, 2, 3], [4, 5, 100]], dtype=kind) for kind in kinds},
        "negative": np.array([[-1.5, -2.0]]),
        "empty": np.zeros((0, 0)),
        "flag": np.array([[True, False]]),
        "text": "café",
        "nothing": "",
        "cells": np.array([["a", np.array([[1, 2]]), np.array([["deep", structs]], dtype=object)]], dtype=object),
        "structs": structs,
    }
    odd = {"rows": np.array(["ab", "cd"]), "imaginary": np.array([[1 + 2j]]), "sparse": scipy.sparse.csc_matrix(np.eye(3))}
    for name, packed in (("values", False), ("packed", True)):
        maker.matlab(f"matlab/{name}.mat", {**values, **odd}, packed)
    # One label more than the stand-in has images.
    maker.matlab("matlab/long-labels.mat", {"labels": np.ones((1, 19), dtype=np.uint8)}, True)
    scipy.io.savemat(out / "version-4.mat", {"labels": np.array([[1, 2, 3]])}, format="4")

    def plain(value):
        if isinstance(value, str):
            return value
        if value.dtype.names:
            return {"structs": {name: [plain(of) for of in value[name].ravel(order="F")] for name in value.dtype.names}}
        if value.dtype == object:
            return {"cells": [plain(of) for of in value.ravel(order="F")]}
        if value.dtype.kind == "U":
            return value.item() if value.size == 1 else ""
        return [float(number) for number in value.ravel(order="F")]

    read = scipy.io.loadmat(out / "packed.mat")
    text = json.dumps({name: plain(read[name]) for name in values}, indent=1, ensure_ascii=False)
    (out / "values.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="where the sets are written; beside this file where absent")
    parser.add_argument("--images", type=int, default=4, help="images that train, of each class")
    parser.add_argument("--side", type=int, default=40, help="pixels across")
    args = parser.parse_args()
    sets = args.folder or HERE / "sets"
    for name in LAYOUTS:
        shutil.rmtree(sets / name, ignore_errors=True)
        maker = Maker(sets, args.images, args.side)
        getattr(maker, name)()
    if args.folder is None:
        text = json.dumps(expected(sets), ensure_ascii=False)
        (HERE / "expected.json").write_text(text.replace("}}, ", "}},\n").replace("], [\"", "],\n[\"") + "\n")
        matlab()


if __name__ == "__main__":
    main()
