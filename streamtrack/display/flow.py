"""Optical flow of the newest frames, composed over any stretch of them.

Every frame gets its backward flow to the one before it: where each of its pixels came from.
Composed, these say where a pixel of the newest frame was in any frame of the window, and
warping masks by that moves them onto the newest frame. Nothing is carried over a scene cut.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Image = NDArray[Any]
"""Of any type."""

FLOW_PX = 320
"""Longer side of the grey images; with the finest grid of DIS and without variational
smoothing this beats 640 px at half of it (measured, benchmarks/LOG.md 2026-11-21)."""
_STRIDE_PX = 5
"""Distance of DIS patches: 4 takes 1.4 times as long for +0.001 J, 6 loses 0.01 (measured)."""
_DESCENTS = 12
_KEPT_PATHS = 4
_CUT_LIKENESS = 0.62
"""Correlation with the frame before, moved, below which a frame is another scene: real motion
stayed above 0.73, 95 % of cuts below 0.54 (measured, benchmarks/LOG.md 2026-11-21)."""
_FLAT_GREY = 4.0
"""Contrast in grey levels below which an image has nothing to correlate (guess)."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A frame of the window and how it follows from the one before it."""

    frame_id: int
    grey: Picture
    """(h, w) uint8, the small grey image."""
    flow: Floats | None
    """(h, w, 2) float32, (dx, dy) in pixels of the grey image: pixel (x, y) of this frame was
    at (x + dx, y + dy) in the frame before; None for the first and after a cut."""


class FlowWindow:
    """The flow of the last frames of one stream; one thread owns it."""

    def __init__(self, *, frames: int = 64) -> None:
        """Keep at most this many frames (64 are 30 MB, two seconds at 30 Hz)."""
        if frames < 2:
            raise ValueError(f"A flow window of {frames} frames holds no flow; give at least 2.")
        self._frames = frames
        self._steps: OrderedDict[int, Step] = OrderedDict()
        self._paths: OrderedDict[tuple[int, int], Floats] = OrderedDict()
        self._finder = _flow_finder()
        self._picture_size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._steps)

    def __contains__(self, frame_id: int) -> bool:
        return frame_id in self._steps

    @property
    def newest(self) -> int | None:
        """The id of the newest frame."""
        return next(reversed(self._steps), None)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the flow's grid; (0, 0) before the first frame."""
        newest = self.newest
        if newest is None:
            return 0, 0
        height, width = self._steps[newest].grey.shape
        return height, width

    def add(self, frame_id: int, picture: Picture) -> bool:
        """Add the next frame; False when it does not continue the one before it.

        Args:
            frame_id: larger than the ids before it; gaps are frames that were not shown.
            picture: (H, W, 3) uint8 RGB; another size starts anew, as a cut does.
        """
        newest = self.newest
        if newest is not None and frame_id <= newest:
            raise ValueError(f"Frame {frame_id} came after frame {newest}; add frames in order.")
        before = self._steps[newest] if newest is not None else None
        grey = grey_image(picture)
        if before is not None and self._picture_size != picture.shape[:2]:
            self.clear()
            before = None
        self._picture_size = (picture.shape[0], picture.shape[1])
        flow = self._flow_to(before.grey, grey) if before is not None else None
        self._steps[frame_id] = Step(frame_id, grey, flow)
        while len(self._steps) > self._frames:
            self._steps.popitem(last=False)
        return flow is not None

    def clear(self) -> None:
        """Forget all frames."""
        self._steps.clear()
        self._paths.clear()

    def _flow_to(self, before: Picture, grey: Picture) -> Floats | None:
        """Return the flow from a grey image to the one before it, None over a cut."""
        # An initial flow would stay in the finder for good (OpenCV 5.0), so it gets none.
        flow: Floats = self._finder.calc(grey, before, None)  # type: ignore[call-overload]
        return flow if likeness(grey, warp(before, flow)) >= _CUT_LIKENESS else None

    def path(self, from_id: int, to_id: int) -> Floats | None:
        """Return where the pixels of one frame were in an earlier one.

        Args:
            from_id: the earlier frame.
            to_id: the later frame.

        Returns:
            (h, w, 2) float32 like `Step.flow`, from `to_id` back to `from_id`; None when a
            frame has left the window, or a cut lies between them.
        """
        if from_id not in self._steps or to_id not in self._steps or from_id > to_id:
            return None
        known = max(
            (to for start, to in self._paths if start == from_id and to <= to_id), default=0
        )
        path = self._paths.get((from_id, known))
        if path is None:
            known, path = from_id, np.zeros((*self._steps[to_id].grey.shape, 2), np.float32)
        for frame_id in [one for one in self._steps if known < one <= to_id]:
            flow = self._steps[frame_id].flow
            if flow is None:
                return None
            path = compose(path, flow)
        self._keep(from_id, to_id, path)
        return path

    def _keep(self, from_id: int, to_id: int, path: Floats) -> None:
        """Remember a path, so that the next frame needs one composition only."""
        self._paths[from_id, to_id] = path
        self._paths.move_to_end((from_id, to_id))
        while len(self._paths) > _KEPT_PATHS:
            self._paths.popitem(last=False)

    def carry(
        self, logits: Mapping[int, Floats], from_id: int, to_id: int
    ) -> dict[int, Floats] | None:
        """Return the logits of each object moved from one frame onto a later one.

        Args:
            logits: (h, w) float32 by object id; any grid that covers the whole frame.
            from_id: the frame they belong to.
            to_id: the frame they are wanted on.

        Returns:
            The same grids; what came into view has the logits of where it came from, or the
            most negative of its object. None when there is no path between the frames.
        """
        path = self.path(from_id, to_id)
        if path is None:
            return None
        return {object_id: warp_grid(one, path) for object_id, one in logits.items()}


def _flow_finder() -> cv2.DISOpticalFlow:
    """Return DIS with the measured settings."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    finder.setFinestScale(0)
    finder.setPatchStride(_STRIDE_PX)
    finder.setGradientDescentIterations(_DESCENTS)
    finder.setVariationalRefinementIterations(0)
    return finder


def grey_image(picture: Picture) -> Picture:
    """Return the small grey image of an RGB picture, (h, w) uint8, longer side FLOW_PX."""
    height, width = picture.shape[:2]
    scale = min(1.0, FLOW_PX / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def pixel_grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Return the x and the y of every pixel, each broadcastable to (height, width) float32."""
    return (
        np.arange(width, dtype=np.float32)[None, :],
        np.arange(height, dtype=np.float32)[:, None],
    )


def warp(image: Image, flow: Floats) -> Image:
    """Return the image fetched along a flow of its own size, the border repeated."""
    x, y = pixel_grid(*flow.shape[:2])
    return np.asarray(
        cv2.remap(
            image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )  # fmt: skip


def compose(path: Floats, flow: Floats) -> Floats:
    """Return the path of the next frame: its flow, then the path of where that leads."""
    return np.asarray(flow + warp(path, flow), np.float32)


def warp_grid(logits: Floats, path: Floats) -> Floats:
    """Return logits of any grid over the whole frame, fetched along a path.

    Args:
        logits: (h, w) float32.
        path: (h', w', 2) float32 in pixels of its own grid.
    """
    height, width = logits.shape
    scale = np.array([width / path.shape[1], height / path.shape[0]], np.float32)
    fine = cv2.resize(path, (width, height), interpolation=cv2.INTER_LINEAR) * scale
    x, y = pixel_grid(height, width)
    x, y = x + fine[..., 0], y + fine[..., 1]
    moved = cv2.remap(logits, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    moved[outside] = min(float(logits.min()), 0.0)
    return np.asarray(moved, np.float32)


def likeness(one: Image, other: Image) -> float:
    """Return the correlation of two grey images, -1 to 1; two flat ones are alike."""
    first, second = one.astype(np.float32), other.astype(np.float32)
    first -= first.mean()
    second -= second.mean()
    spread = float(np.sqrt((first**2).mean() * (second**2).mean()))
    if spread < _FLAT_GREY**2:
        return 1.0 if abs(float(one.mean()) - float(other.mean())) < 64 else 0.0
    return float((first * second).mean()) / spread
