#!/usr/bin/env python3
"""Writes what src/transform/geometry/cut.rs is held against: torchvision's `resized_crop`, and how `RandomResizedCrop` draws its boxes.

    python crops.py        needs torch, torchvision, pillow and numpy

`crop-FILTER-TOP-LEFT-HEIGHTxWIDTH-to-24.bin` is a box of the 47x61 picture of make.py (RGB interleaved). A line of crops.txt is height and width of an image,
least and largest scale and ratio, and means over many draws: of the share of the area, of its square, of the logarithm of width over height, of its
square, of where the box lies down and across, from 0 to 1 (0.5 where it has no room).
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import resized_crop

HERE = Path(__file__).parent
Y, X, C = np.mgrid[:47, :61, :3]
PICTURE = Image.fromarray(((37 * X + 91 * Y + 53 * C + X * Y) % 256).astype(np.uint8))
for mode in [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC]:
    for top, left, height, width in [(3, 5, 40, 30), (20, 10, 9, 17), (0, 0, 47, 61)]:
        cut = resized_crop(PICTURE, top, left, height, width, [24, 24], mode, antialias=True)
        (HERE / f"crop-{mode.value}-{top}-{left}-{height}x{width}-to-24.bin").write_bytes(np.asarray(cut).tobytes())

torch.manual_seed(0)
lines = []
for height, width, scale, ratio in [
    (300, 400, (0.08, 1.0), (3 / 4, 4 / 3)),
    (224, 224, (0.5, 1.0), (1.0, 1.0)),
    (60, 300, (0.3, 1.0), (3 / 4, 4 / 3)),
    (300, 90, (0.2, 0.6), (0.5, 2.0)),
    (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
]:
    image, sums, draws = torch.zeros(3, height, width), np.zeros(6), 40000
    for _ in range(draws):
        top, left, h, w = RandomResizedCrop.get_params(image, list(scale), list(ratio))
        share, proportion = h * w / (height * width), np.log(w / h)
        place = lambda at, outer, inner: at / (outer - inner) if outer > inner else 0.5
        sums += [share, share**2, proportion, proportion**2, place(top, height, h), place(left, width, w)]
    lines.append(" ".join(f"{number:.9g}" for number in [height, width, *scale, *ratio, *(sums / draws)]))
(HERE / "crops.txt").write_text("\n".join(lines) + "\n")
