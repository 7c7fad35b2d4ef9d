"""Writes images of every kind, whole, and what Pillow, torchvision and Hugging Face `datasets` make of them and of every part of them.

    python make.py        # Pillow 13.0, torchvision 0.29, datasets 5.2

`files/NAME` is an image. `verdicts.json` has for each:
  whole     the lengths at which Pillow reads the first bytes of the file, as ranges `[from, to]`; every other length it refuses
  turned    the orientation that `datasets` obeys, 1 for none
  upright   width and height as `datasets` shows it
`files/NAME.rgb` are the pixels as `datasets` shows them, transparency on white; `files/NAME.stored.rgb` those of torchvision's
`ImageFolder` where they differ.
"""
import io
import json
import struct
import warnings
import zlib
from pathlib import Path

import datasets
import numpy as np
from PIL import Image, ImageOps
from torchvision.datasets.folder import pil_loader

warnings.simplefilter("ignore")
HERE = Path(__file__).parent
FILES = HERE / "files"


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(tag, kind=3, count=1, order="<", inline=None):
    """A TIFF directory with the orientation as its only entry."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "L", 8)
    value = inline if inline is not None else struct.pack(order + {3: "HH", 4: "L"}[kind], *([tag, 0] if kind == 3 else [tag]))
    return head + struct.pack(order + "H", 1) + struct.pack(order + "HHL", 0x112, kind, count) + value + struct.pack(order + "L", 0)


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(jpeg, *segments):
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def app1(body):
    return segment(0xE1, b"Exif\0\0" + body)


def xmp(text):
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description ' + text + b"</rdf:RDF></x:xmpmeta>"


def chunk(kind, data):
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def with_chunk(png, new, late):
    """A chunk before the pixels, or behind them."""
    at = png.index(b"IEND") - 4 if late else png.index(b"IDAT") - 4
    return png[:at] + new + png[at:]


def profile(body):
    """ImageMagick's text of an EXIF profile."""
    digits = body.hex()
    return ("\nexif\n%8d\n" % len(body) + "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72)) + "\n").encode()


def with_riff(webp, width, height, kind, data):
    """A lossy WebP with a chunk of notes."""
    flags = {b"EXIF": 8, b"XMP ": 4}[kind]
    extended = b"VP8X" + struct.pack("<LL", 10, flags) + struct.pack("<L", width - 1)[:3] + struct.pack("<L", height - 1)[:3]
    body = b"WEBP" + extended + webp[12:] + kind + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def images():
    g = np.random.default_rng(0)
    small = Image.fromarray(g.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    whole = small.resize((37, 26), Image.BICUBIC)
    gray, palette = whole.convert("L"), whole.quantize(16)
    alpha = whole.copy()
    alpha.putalpha(Image.fromarray(np.linspace(0, 255, 37 * 26).reshape(26, 37).astype(np.uint8)))
    deep = Image.fromarray((np.arange(37 * 26, dtype=np.uint32) * 65535 // (37 * 26 - 1)).astype(np.uint16).reshape(26, 37))
    frames = dict(save_all=True, append_images=[ImageOps.mirror(whole)])
    jpeg = encoded(whole, "JPEG", quality=85)
    yield "baseline.jpg", jpeg
    yield "full-colour.jpg", encoded(whole, "JPEG", subsampling=0)
    yield "wide-colour.jpg", encoded(whole, "JPEG", subsampling=1)
    yield "gray.jpg", encoded(gray, "JPEG")
    yield "progressive.jpg", encoded(whole, "JPEG", progressive=True)
    yield "progressive-gray.jpg", encoded(gray, "JPEG", progressive=True)
    yield "restarts.jpg", encoded(whole, "JPEG", restart_marker_blocks=2)
    yield "cmyk.jpg", encoded(whole.convert("CMYK"), "JPEG", quality=95)
    yield "thumbnail.jpg", with_segments(jpeg, app1(exif(1) + encoded(small, "JPEG")))
    yield "fill-bytes.jpg", jpeg.replace(b"\xff\xda", b"\xff\xff\xff\xda", 1)[:-2] + b"\xff\xff\xd9"
    yield "more-behind.jpg", jpeg + b"more\xff\xd8" * 3
    yield "two-images.jpg", encoded(whole, "MPO", **frames)
    # Pillow shows it, with a guess at what is missing.
    yield "ended-early.jpg", jpeg[: (jpeg.index(b"\xff\xda") + len(jpeg)) // 2] + b"\xff\xd9"
    yield "true-colour.png", encoded(whole, "PNG")
    yield "gray.png", encoded(gray, "PNG")
    yield "black-white.png", encoded(gray.convert("1"), "PNG")
    yield "palette.png", encoded(palette, "PNG")
    yield "palette-transparent.png", encoded(palette, "PNG", transparency=3)
    yield "alpha.png", encoded(alpha, "PNG")
    yield "gray-alpha.png", encoded(alpha.convert("LA"), "PNG")
    yield "16-bit.png", encoded(deep, "PNG")
    yield "animated.png", encoded(whole, "PNG", **frames)
    yield "lossy.webp", encoded(whole, "WEBP")
    yield "lossless.webp", encoded(whole, "WEBP", lossless=True)
    yield "alpha.webp", encoded(alpha, "WEBP")
    yield "animated.webp", encoded(whole, "WEBP", **frames)
    yield "still.gif", encoded(palette, "GIF")
    yield "animated.gif", encoded(palette, "GIF", save_all=True, append_images=[ImageOps.mirror(palette)])
    yield "true-colour.bmp", encoded(whole, "BMP")
    yield "palette.bmp", encoded(palette, "BMP")
    yield "plain.tif", encoded(whole, "TIFF")
    yield "lzw.tif", encoded(whole, "TIFF", compression="tiff_lzw")
    yield "deflate.tif", encoded(whole, "TIFF", compression="tiff_adobe_deflate")
    yield "jpeg.tif", encoded(whole, "TIFF", compression="jpeg")
    yield "gray.tif", encoded(gray, "TIFF")
    yield "turned.tif", encoded(whole, "TIFF", tiffinfo={0x112: 6})
    yield "colour.ppm", encoded(whole, "PPM")
    yield "gray.pgm", encoded(gray, "PPM")

    # Which way up. A small asymmetric image is enough.
    tiny = small.crop((0, 0, 5, 3))
    plain, png, webp = encoded(tiny, "JPEG", subsampling=0, quality=95), encoded(tiny, "PNG"), encoded(tiny, "WEBP")
    for tag in range(0, 10):
        yield f"tag-{tag}.jpg", with_segments(plain, app1(exif(tag)))
    yield "tag-big-endian.jpg", with_segments(plain, app1(exif(6, order=">")))
    yield "tag-long.jpg", with_segments(plain, app1(exif(6, kind=4)))
    yield "tag-byte.jpg", with_segments(plain, app1(exif(6, kind=1, inline=b"\x06\0\0\0")))
    yield "tag-two-values.jpg", with_segments(plain, app1(exif(6, count=2)))
    yield "tag-unknown-kind.jpg", with_segments(plain, app1(exif(6, kind=99, inline=b"\x06\0\0\0")))
    yield "tag-no-directory.jpg", with_segments(plain, app1(b"nonsense and more nonsense"))
    yield "tag-short-directory.jpg", with_segments(plain, app1(exif(6)[:16]))
    yield "tag-far-directory.jpg", with_segments(plain, app1(b"II*\0\xff\xff\0\0" + exif(6)[8:]))
    yield "tag-empty.jpg", with_segments(plain, app1(b""))
    yield "tag-in-two-segments.jpg", with_segments(plain, app1(exif(6)[:12]), app1(exif(6)[12:]))
    packet = lambda text: segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(text))
    yield "xmp-attribute.jpg", with_segments(plain, packet(b'tiff:Orientation="6"/>'))
    yield "xmp-element.jpg", with_segments(plain, packet(b"><tiff:Orientation>8</tiff:Orientation></rdf:Description>"))
    yield "xmp-under-exif.jpg", with_segments(plain, app1(exif(3)), packet(b'tiff:Orientation="6"/>'))
    yield "xmp-beside-nonsense.jpg", with_segments(plain, app1(b"nonsense and more nonsense"), packet(b'tiff:Orientation="6"/>'))
    for place, late in (("early", False), ("late", True)):
        yield f"exif-{place}.png", with_chunk(png, chunk(b"eXIf", exif(6)), late)
        text = profile(b"Exif\0\0" + exif(6))
        yield f"profile-{place}.png", with_chunk(png, chunk(b"tEXt", b"Raw profile type exif\0" + text), late)
        yield f"packed-profile-{place}.png", with_chunk(png, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)), late)
        text = xmp(b'tiff:Orientation="6"/>')
        yield f"xmp-{place}.png", with_chunk(png, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text), late)
        yield f"packed-xmp-{place}.png", with_chunk(png, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)), late)
    yield "exif.webp", with_riff(webp, 5, 3, b"EXIF", exif(6))
    yield "exif-prefixed.webp", with_riff(webp, 5, 3, b"EXIF", b"Exif\0\0" + exif(6))
    yield "xmp.webp", with_riff(webp, 5, 3, b"XMP ", xmp(b'tiff:Orientation="6"/>'))


def loads(data):
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
        image.convert("RGB")
        return True
    except Exception:
        return False


def ranges(data):
    """The lengths at which the first bytes of a file can be read."""
    found = []
    for length in range(len(data) + 1):
        if loads(data[:length]):
            if found and found[-1][1] == length - 1:
                found[-1][1] = length
            else:
                found.append([length, length])
    return found


def rgb(image):
    """As bytes; what is transparent shows white, which is ours to say: loaders drop alpha."""
    if image.mode.startswith("I;16"):
        return np.repeat(np.rint(np.asarray(image) / 257).astype(np.uint8)[..., None], 3, -1).tobytes()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB").tobytes()


FILES.mkdir(exist_ok=True)
verdicts = {}
for name, data in images():
    (FILES / name).write_bytes(data)
    try:
        shown = datasets.Image().decode_example({"bytes": data, "path": None})
    except SyntaxError as error:
        # Nonsense for EXIF: `datasets` stops where ImageFolder goes on.
        print(name, error)
        shown = pil_loader(str(FILES / name))
    if name != "ended-early.jpg":
        (FILES / f"{name}.rgb").write_bytes(rgb(shown))
    opened = Image.open(io.BytesIO(data))
    opened.load()
    try:
        tag = opened.getexif().get(0x112, 1)
    except SyntaxError:
        tag = 1
    turned = tag if isinstance(tag, int) and 1 <= tag <= 8 else 1
    if turned != 1:
        stored = pil_loader(str(FILES / name))
        (FILES / f"{name}.stored.rgb").write_bytes(rgb(stored))
        # Pillow turns a TIFF as it reads it.
        assert stored.size == (shown.size if turned < 5 else shown.size[::-1]), name
    verdicts[name] = {"whole": ranges(data), "turned": turned, "upright": list(shown.size)}
    print(name, len(data), verdicts[name])
text = ",\n".join(f"  {json.dumps(name)}: {json.dumps(verdict)}" for name, verdict in verdicts.items())
(HERE / "verdicts.json").write_text("{\n" + text + "\n}\n")
