"""Figures as data URIs, shown at the size at which they were drawn."""

from __future__ import annotations

import base64
import io
import re
import struct
from typing import NamedTuple

from PIL import Image

from interp.errors import InvalidInput

CSS_PX_PER_INCH = 96
ON_SCREEN = 1.6  # a screen is read from further away than paper: 7 points in print, 11 on the screen
WIDE_PX = 700


class Picture(NamedTuple):
    """An image for an `img` element: its data URI and its size in CSS pixels."""

    uri: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether the picture needs a scroll bar on a telephone to stay readable."""
        return self.width >= WIDE_PX


def fewer_colours(png: bytes) -> bytes:
    """Return a PNG in at most 256 colours at the same size and resolution: a third of the bytes of a map.

    256 are enough for a figure of lines, a colour scale and their smoothed edges.
    """
    with Image.open(io.BytesIO(png)) as image:
        reduced = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        reduced.save(buffer, "png", optimize=True, dpi=image.info.get("dpi", (200, 200)))
    return buffer.getvalue()


def picture(image: bytes) -> Picture:
    """Return the bytes of a PNG or SVG file as a data URI with its size.

    Raises:
        InvalidInput: bytes of another format, or an SVG that does not say its width and height.
    """
    if image.startswith(b"\x89PNG\r\n\x1a\n") and len(image) > 33:
        kind, inches = "png", _png_inches(image)
    elif b"<svg" in image[:2000]:
        kind, inches = "svg+xml", _svg_inches(image)
    else:
        raise InvalidInput(f"a figure starts with {image[:12]!r}: expected the bytes of a PNG or an SVG file.")
    width, height = (max(1, round(side * CSS_PX_PER_INCH * ON_SCREEN)) for side in inches)
    return Picture(f"data:image/{kind};base64,{base64.b64encode(image).decode()}", width, height)


def _png_inches(image: bytes) -> tuple[float, float]:
    width, height = struct.unpack(">II", image[16:24])
    found = image.find(b"pHYs", 0, 4096)
    per_metre = struct.unpack(">I", image[found + 4 : found + 8])[0] if found > 0 else 0
    dpi = per_metre * 0.0254 if per_metre else 200.0
    return width / dpi, height / dpi


def _svg_inches(image: bytes) -> tuple[float, float]:
    head = image[image.find(b"<svg") :][:2000]
    sides = [re.search(rb"\s" + side + rb'="([\d.]+)(pt|px|)"', head) for side in (b"width", b"height")]
    if sides[0] is None or sides[1] is None:
        raise InvalidInput("an SVG figure says no width and height in points or pixels: give both on its svg element.")
    unit = 72.0 if sides[0][2] == b"pt" else 96.0
    return float(sides[0][1]) / unit, float(sides[1][1]) / unit
