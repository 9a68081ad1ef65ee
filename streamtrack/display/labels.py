"""Render the small labels of objects; each is made once and kept for a while."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_MAX_LETTERS = 24
_KEPT_LABELS = 512
_GROUND = (18, 20, 26, 205)
_FALLBACK_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "msyh.ttc",
)
"""Fonts of the system, used where the built-in one lacks letters of a name."""
_SMOOTHING = 4

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """A rendered label, ready to be blended."""

    opaque: NDArray[np.uint8]
    """(h, w, 3) uint8 RGB, multiplied by its opacity."""
    see_through: NDArray[np.uint8]
    """(h, w, 3) uint8, 255 where the picture shows through."""


@lru_cache(maxsize=_KEPT_LABELS)
def render_label(
    object_id: int, name: str, percent: int, colour: tuple[int, int, int], text_px: int
) -> Label:
    """Return a dark pill with the id on a disc of the object's colour, name and score.

    Args:
        object_id: what stands on the disc.
        name: shortened when it is long; may be empty.
        percent: the score, 0 to 100.
        colour: the object's red, green and blue.
        text_px: height of the letters' line.
    """
    name = " ".join(name.split())
    if len(name) > _MAX_LETTERS:
        name = name[: _MAX_LETTERS - 1] + "…"
    number, score = str(object_id), f"{percent}%"
    font, plain = font_for(name, text_px), font_for("", text_px)
    name = "".join(letter if _has(font, letter) else _plain(letter) for letter in name)
    gap, high = round(text_px * 0.45), round(text_px * 1.7)
    disc = max(high - 4, _width(plain, number) + text_px // 2)
    ends = [2 + disc + gap]
    ends.append(ends[0] + (_width(font, name) + gap if name else 0))
    ends.append(ends[1] + _width(plain, score) + gap + 2)

    pill = _shapes((ends[2], high), disc, colour)
    draw = ImageDraw.Draw(pill)
    middle = high / 2
    ink = (16, 16, 20) if _luminance(colour) > 120 else (255, 255, 255)
    draw.text((2 + disc / 2, middle), number, ink, plain, anchor="mm")
    draw.text((ends[0], middle), name, (255, 255, 255), font, anchor="lm")
    draw.text((ends[1], middle), score, (196, 202, 212), plain, anchor="lm")
    return _as_label(pill)


def _shapes(size: tuple[int, int], disc: int, colour: tuple[int, int, int]) -> Image.Image:
    """Return the pill and its disc with smooth edges."""
    wide, high = size
    k = _SMOOTHING
    large = Image.new("RGBA", (wide * k, high * k), (*_GROUND[:3], 0))
    draw = ImageDraw.Draw(large)
    draw.rounded_rectangle((0, 0, wide * k - 1, high * k - 1), high * k / 2, _GROUND)
    edge = (2 * k, 2 * k, (2 + disc) * k - 1, (high - 2) * k - 1)
    draw.rounded_rectangle(edge, (high - 4) * k / 2, (*colour, 255))
    return large.reduce(k)


def _as_label(pill: Image.Image) -> Label:
    """Return an RGBA picture in the form that blends fast."""
    rgba = np.asarray(pill, np.float32)
    alpha = rgba[..., 3:]
    opaque = (rgba[..., :3] * alpha / 255 + 0.5).astype(np.uint8)
    behind = np.repeat((255.5 - alpha).astype(np.uint8), 3, axis=2)
    return Label(opaque, behind)


def _luminance(colour: tuple[int, int, int]) -> float:
    """Return how light a colour looks, 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _width(font: Font, text: str) -> int:
    """Return the pixels a text takes from left to right."""
    return round(font.getlength(text)) if text else 0


@lru_cache(maxsize=256)
def font_for(text: str, text_px: int) -> Font:
    """Return the font that has most of a text's letters, the built-in one if it can."""
    fonts = _fonts(text_px)
    return max(fonts, key=lambda font: sum(_has(font, letter) for letter in set(text)))


@lru_cache(maxsize=16)
def _fonts(text_px: int) -> tuple[Font, ...]:
    """Return the fonts that can be used, the built-in one first."""
    fonts: list[Font] = [ImageFont.load_default(text_px)]
    for name in _FALLBACK_FONTS:
        try:
            fonts.append(ImageFont.truetype(name, text_px))
        except OSError:  # not on this system
            continue
    return tuple(fonts)


def _plain(letter: str) -> str:
    """Return a letter without its accents, or as it is when nothing would be left."""
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or letter


def _has(font: Font, letter: str) -> bool:
    """Whether a font has a letter, and not the empty box it draws for those it lacks."""
    if letter.isspace():
        return True
    missing = "\U0010ffff"
    drawn, empty = font.getmask(letter), font.getmask(missing)
    return drawn.size != empty.size or bytes(drawn) != bytes(empty)
