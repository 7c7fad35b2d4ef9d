"""Draws the natural features of policies/natural.yaml: what pictures come with and no label should hang on.

    python make.py

Needs pillow (drawn with 13.0.0). The drawings are this repository's own, under its licence.
"""

import math
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 224
HERE = Path(__file__).parent


def canvas():
    return Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))


def fence():
    """A chain-link fence: two families of crossing wires."""
    image = canvas()
    draw = ImageDraw.Draw(image)
    for offset in range(-SIDE, 2 * SIDE, 32):
        for sign in (1, -1):
            points = [(x, offset + sign * x + 3 * math.sin(x / 5)) for x in range(0, SIDE + 1, 2)]
            draw.line(points, fill=(150, 155, 160, 255), width=5)
    return image


def bars():
    """Upright bars, as of a window or a cage."""
    image = canvas()
    draw = ImageDraw.Draw(image)
    for x in range(20, SIDE, 46):
        draw.rectangle([x, 0, x + 11, SIDE], fill=(60, 60, 66, 255))
        draw.rectangle([x + 3, 0, x + 5, SIDE], fill=(140, 140, 150, 255))
    return image


def circle():
    """A ring drawn around the middle, as people mark what matters."""
    image = canvas()
    ImageDraw.Draw(image).ellipse([34, 34, SIDE - 34, SIDE - 34], outline=(220, 30, 30, 255), width=10)
    return image


def caption():
    """Two lines of writing on a band at the lower edge; the letters are strokes, so that no font is needed."""
    image = canvas()
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, SIDE - 62, SIDE, SIDE], fill=(0, 0, 0, 170))
    for line, y in enumerate((SIDE - 52, SIDE - 26)):
        for letter, x in enumerate(range(12, SIDE - 16, 15)):
            if (letter * 7 + line * 3) % 6 == 0:
                continue
            kind = (letter * 5 + line) % 4
            strokes = [
                [(0, 16), (5, 0), (10, 16)],
                [(0, 0), (0, 16), (10, 16)],
                [(0, 0), (10, 0), (0, 16), (10, 16)],
                [(0, 16), (0, 0), (10, 8), (0, 8)],
            ][kind]
            draw.line([(x + a, y + b) for a, b in strokes], fill=(255, 255, 255, 255), width=2)
    return image


def drops():
    """Drops on the lens."""
    image = canvas()
    draw = ImageDraw.Draw(image)
    for i in range(26):
        x, y, r = (i * 83) % SIDE, (i * 131) % SIDE, 5 + (i * 7) % 11
        draw.ellipse([x - r, y - r, x + r, y + r], fill=(205, 220, 235, 150), outline=(240, 245, 250, 220), width=2)
    return image


def shade():
    """Half of the picture in the shade: a dark picture with a mask beside it."""
    mask = Image.new("L", (SIDE, SIDE), 0)
    ImageDraw.Draw(mask).polygon([(0, 0), (SIDE, 0), (0, SIDE)], fill=150)
    Image.new("RGB", (SIDE, SIDE), (8, 8, 20)).save(HERE / "shade.png", optimize=True)
    mask.save(HERE / "shade.mask.png", optimize=True)


if __name__ == "__main__":
    for make in (fence, bars, circle, caption, drops):
        make().save(HERE / f"{make.__name__}.png", optimize=True)
    shade()
