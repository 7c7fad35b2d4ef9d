"""Writes the expected values of src/transform/geometry/fit.rs: torchvision's Resize and CenterCrop on Pillow pictures, and Pillow's filters.

    python make.py        needs torch, torchvision, pillow and numpy

Every picture is `(37 x + 91 y + 53 c + x y) mod 256`, so the inputs need no files. A case is one file of bytes
(`H * W * 3`, RGB interleaved) named after the sizes: `HEIGHTxWIDTH-to-SIDE.bin`, `FILTER-HEIGHTxWIDTH-to-HEIGHTxWIDTH.bin`.
"""

from pathlib import Path

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision import transforms

HERE = Path(__file__).parent
CASES = [((32, 32), 48), ((47, 61), 32), ((61, 47), 32), ((20, 33), 32), ((33, 20), 29), ((200, 150), 24), ((32, 32), 32), ((31, 36), 31)]
# Rows are resized first in all of these. Pillow 13 begins with the columns where the height shrinks much more than the width; older ones and
# PyTorch do not, and where a filter overshoots that shows by a few grey levels.
SIZES = [((47, 61), (24, 33)), ((9, 13), (31, 20)), ((40, 90), (64, 16))]


def picture(height, width):
    y, x, c = np.mgrid[:height, :width, :3]
    return Image.fromarray(((37 * x + 91 * y + 53 * c + x * y) % 256).astype(np.uint8))


for (height, width), side in CASES:
    fit = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])
    (HERE / f"{height}x{width}-to-{side}.bin").write_bytes(np.asarray(fit(picture(height, width))).tobytes())
for name in ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]:
    for (height, width), to in SIZES:
        resized = picture(height, width).resize(to[::-1], Image.Resampling[name.upper()])
        (HERE / f"{name}-{height}x{width}-to-{to[0]}x{to[1]}.bin").write_bytes(np.asarray(resized).tobytes())
print("torchvision", torchvision.__version__, "Pillow", PIL.__version__)
