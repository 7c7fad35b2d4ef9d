"""Writes golden.json: what marks cover of their square, drawn by Pillow for src/transform/glyph.rs.

    python make.py        needs Pillow and numpy

Each mark is drawn with Pillow's rectangles, ellipses and polygons on a canvas of 64 times the size, which is then averaged. Sizes follow
from the area that a mark is to have: 5/9 for bars of a third of the side, 1/2 for ring, triangle and bars, 0.35 for the star.
"""

import json
import math
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageDraw

TIMES = 64
AREAS = {
    "cross": 5 / 9,
    "ring": 1 / 2,
    "frame": 5 / 9,
    "triangle": 1 / 2,
    "star": 0.35,
    "checkerboard": 5 / 9,
    "bars": 1 / 2,
    "corner": 5 / 9,
    "slash": 5 / 9,
}


def covered(shape, side):
    n = side * TIMES
    image = Image.new("L", (n, n), 0)
    draw = ImageDraw.Draw(image)

    def box(left, top, right, bottom, fill=255):
        # Pillow's right and bottom belong to the rectangle.
        draw.rectangle([round(left * n), round(top * n), round(right * n) - 1, round(bottom * n) - 1], fill=fill)

    match shape:
        case "cross":
            box(1 / 3, 0, 2 / 3, 1)
            box(0, 1 / 3, 1, 2 / 3)
        case "frame":
            box(0, 0, 1, 1)
            box(1 / 6, 1 / 6, 5 / 6, 5 / 6, fill=0)
        case "checkerboard":
            for row in range(3):
                for column in range(3):
                    if (row + column) % 2 == 0:
                        box(column / 3, row / 3, (column + 1) / 3, (row + 1) / 3)
        case "bars":
            box(0, 0, 1, 1 / 4)
            box(0, 3 / 4, 1, 1)
        case "corner":
            box(0, 0, 1 / 3, 1)
            box(0, 2 / 3, 1, 1)
        case "slash":
            # The square without the two triangles beside the bar.
            draw.polygon([(2 / 3 * n, 0), (n, 0), (n, n / 3), (n / 3, n), (0, n), (0, 2 / 3 * n)], fill=255)
        case "triangle":
            draw.polygon([(n / 2, 0), (n, n), (0, n)], fill=255)
        case "ring":
            hole = math.sqrt(1 / 4 - AREAS[shape] / math.pi)
            draw.ellipse([0, 0, n - 1, n - 1], fill=255)
            draw.ellipse([(0.5 - hole) * n, (0.5 - hole) * n, (0.5 + hole) * n - 1, (0.5 + hole) * n - 1], fill=0)
        case "star":
            # Ten triangles of sides 1/2 and `notch`, with 36 degrees between them.
            notch = AREAS[shape] / (10 * 0.5 * 0.5 * math.sin(math.pi / 5))
            corners = []
            for i in range(10):
                far = 0.5 if i % 2 == 0 else notch
                corners.append((n * (0.5 + far * math.sin(i * math.pi / 5)), n * (0.5 - far * math.cos(i * math.pi / 5))))
            draw.polygon(corners, fill=255)
    shares = np.asarray(image, dtype=np.float64).reshape(side, TIMES, side, TIMES).mean((1, 3)) / 255
    assert abs(shares.mean() - AREAS[shape]) < 0.02, (shape, side, shares.mean())
    return [round(float(v), 4) for v in shares.reshape(-1)]


cases = [{"shape": shape, "side": side, "covered": covered(shape, side)} for shape in AREAS for side in (3, 8, 13)]
(Path(__file__).parent / "golden.json").write_text("[\n " + ",\n ".join(json.dumps(case) for case in cases) + "\n]\n")
print("Pillow", PIL.__version__, "numpy", np.__version__)
