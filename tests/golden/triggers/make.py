"""Writes the expected values of src/transform: triggers of the attack literature by PyTorch and NumPy.

    python make.py        needs torch and numpy

Every picture is `(37 x + 91 y + 53 c + x y) mod 256 / 255`. Seeded fields are in the file beside what they give, so that both
sides start from the same numbers. Values are planar `[3, H, W]`.

- warp: WaNet's code (github.com/VinAIResearch/Warping-based_Backdoor_Attack-release, train.py): `interpolate` bicubic with
  align_corners, added to the identity grid, clamped, `grid_sample` with align_corners.
- quantize: BppAttack's code (github.com/RU-System-Software-and-Security/BppAttack): Floyd-Steinberg, pixel after pixel, in float32.
- sinusoid: the formula of Barni et al. 2019, section 3.
- low_frequency: the inverse of an orthonormal two-dimensional DCT, as a product with its basis.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SIZES = [(16, 16), (9, 14), (1, 7), (8, 1)]


def picture(height, width):
    c, y, x = np.mgrid[:3, :height, :width]
    return (((37 * x + 91 * y + 53 * c + x * y) % 256).astype(np.float32) / np.float32(255)).astype(np.float32)


def numbers(array):
    return [round(float(v), 7) for v in np.asarray(array).reshape(-1)]


def warp(height, width, grid, strength, rng):
    field = rng.uniform(-1, 1, (1, 2, grid, grid))
    field = torch.tensor(np.round(field / np.abs(field).mean(), 6))
    noise = F.interpolate(field, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=torch.float64), torch.linspace(-1, 1, width, dtype=torch.float64), indexing="ij"
    )
    identity = torch.stack((x, y), 2)[None]
    moved = torch.clamp(identity + strength * noise / torch.tensor([float(width), float(height)], dtype=torch.float64), -1, 1)
    result = F.grid_sample(torch.tensor(picture(height, width)).double()[None], moved, align_corners=True)
    return {"height": height, "width": width, "grid": grid, "strength": strength, "field": numbers(field), "result": numbers(result)}


def quantize(height, width, levels, dither):
    image = picture(height, width)
    steps = np.float32(levels - 1)
    if not dither:
        image = np.round(image * steps) / steps
    else:
        for y in range(height):
            for x in range(width):
                old = image[:, y, x].copy()
                new = np.clip(np.round(old * steps) / steps, 0, 1)
                image[:, y, x] = new
                error = old - new
                if x + 1 < width:
                    image[:, y, x + 1] += error * np.float32(0.4375)
                if y + 1 < height and x + 1 < width:
                    image[:, y + 1, x + 1] += error * np.float32(0.0625)
                if y + 1 < height:
                    image[:, y + 1, x] += error * np.float32(0.3125)
                if x > 0 and y + 1 < height:
                    image[:, y + 1, x - 1] += error * np.float32(0.1875)
    return {"height": height, "width": width, "levels": levels, "dither": dither, "result": numbers(image)}


def sinusoid(height, width, direction, periods, amplitude, phase):
    i, j = np.mgrid[:height, :width]
    way = {"horizontal": j / width, "vertical": i / height, "diagonal": i / height + j / width}[direction]
    wave = amplitude * np.sin(2 * np.pi * way * periods + phase * np.pi / 180)
    case = {"height": height, "width": width, "direction": direction, "periods": periods, "amplitude": amplitude, "phase": phase}
    return case | {"result": numbers(np.clip(picture(height, width) + wave, 0, 1))}


def basis(size):
    """The orthonormal DCT-II: rows are frequencies."""
    u, i = np.mgrid[:size, :size]
    rows = np.cos(np.pi * u * (2 * i + 1) / (2 * size)) * np.sqrt(2 / size)
    rows[0] /= np.sqrt(2)
    assert np.allclose(rows @ rows.T, np.eye(size))
    return rows


def low_frequency(height, width, cutoff, amplitude, rng):
    coefficients = np.round(rng.normal(size=(3, cutoff, cutoff)), 6)
    full = np.zeros((3, height, width))
    full[:, :cutoff, :cutoff] = coefficients
    full[:, 0, 0] = 0
    # An orthonormal cosine of frequency 0 is shorter by the root of 2 than one of the sum without factors.
    full[:, 0, :] *= np.sqrt(2)
    full[:, :, 0] *= np.sqrt(2)
    pattern = basis(height).T @ full @ basis(width)
    pattern *= amplitude / pattern.std()
    case = {"height": height, "width": width, "cutoff": cutoff, "amplitude": amplitude}
    return case | {"coefficients": numbers(coefficients), "pattern": numbers(pattern)}


rng = np.random.default_rng(7)
golden = {
    "warp": [warp(h, w, k, s, rng) for (h, w), k, s in zip(SIZES * 2, [4, 4, 4, 4, 2, 7, 3, 5], [0.5, 0.5, 0.5, 0.5, 4.0, 8.0, 2.0, 2.0])],
    "quantize": [quantize(h, w, levels, dither) for h, w in SIZES for levels in (2, 4, 11) for dither in (True, False)],
    "sinusoid": [
        sinusoid(16, 16, "horizontal", 6.0, 0.08, 0.0),
        sinusoid(9, 14, "vertical", 3.5, 0.2, 45.0),
        sinusoid(9, 14, "diagonal", 4.0, 0.1, -90.0),
        sinusoid(1, 7, "horizontal", 2.0, 0.5, 10.0),
    ],
    "low_frequency": [low_frequency(16, 16, 4, 0.1, rng), low_frequency(9, 14, 9, 0.05, rng), low_frequency(2, 2, 2, 0.2, rng)],
}
lines = ",\n".join(f' "{name}": [\n  ' + ",\n  ".join(json.dumps(case) for case in cases) + "\n ]" for name, cases in golden.items())
(Path(__file__).parent / "golden.json").write_text("{\n" + lines + "\n}\n")
print("torch", torch.__version__, "numpy", np.__version__)
