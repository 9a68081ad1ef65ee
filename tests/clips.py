"""Tiny encoded films for tests, made on the spot."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

PATCHES = ((200, 30, 30), (30, 180, 40), (30, 40, 220), (240, 200, 20))
"""Colours of the quarters of patches(): upper left, upper right, lower left, lower right."""


def patches(height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture of four coloured quarters."""
    picture = np.zeros((height, width, 3), np.uint8)
    rows, columns = (slice(0, height // 2), slice(height // 2, None)), width // 2
    for row, (left, right) in zip(rows, (PATCHES[:2], PATCHES[2:]), strict=True):
        picture[row, :columns], picture[row, columns:] = left, right
    return picture


def quarters(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the (4, 3) colours in the middle of a picture's quarters."""
    height, width = picture.shape[:2]
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return np.array([picture[place] for place in places], int)


def write_clip(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    matrix: Colorspace = Colorspace.ITU601,
    full: bool = False,
    tagged: bool = True,
    rotation: int = 0,
) -> Path:
    """Write pictures to a film at 25 frames a second, or at the given times in 1/1000 s."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        span = ColorRange.JPEG if full else ColorRange.MPEG
        if tagged:
            stream.codec_context.colorspace = 1 if matrix == Colorspace.ITU709 else 6
            stream.codec_context.color_range = span
        if rotation:
            stream.set_display_rotation(rotation)
        for number, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format=pix_fmt,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=ColorRange.JPEG,
                dst_color_range=span,
            )
            frame.pts = times[number] if times else number * 40
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
