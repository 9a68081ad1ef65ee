"""The other side of the comparison: SAM 2's own predictor and that of transformers."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from streamtrack.tracking.preprocess import to_image
from streamtrack.tracking.prompts import Prompt
from tests.oracle import Upstream

Picture = NDArray[np.uint8]
Logits = dict[int, NDArray[np.float32]]
Step = Callable[[Picture, list[Prompt]], Logits]


def upstream(predictor: Any, size: int, frame_size: tuple[int, int]) -> tuple[Step, Any]:
    """Return SAM 2's video predictor and its state; it keeps every picture it was given."""
    images: list[torch.Tensor] = []
    stream = Upstream(predictor, images, frame_size)
    stream._state["images"] = images

    def step(picture: Picture, prompts: list[Prompt]) -> Logits:
        images.append(to_image(picture, size))
        stream._state["num_frames"] = max(16, len(images))
        return stream.step(prompts)

    return step, stream._state


def transformers(size: int, frame_size: tuple[int, int]) -> tuple[Step, Any]:
    """Return transformers' Sam2VideoModel, tiny, with weights of its own, and its state.

    Raises:
        ImportError: transformers is not installed.
    """
    with _without_torchvision():
        from transformers import Sam2VideoConfig
        from transformers.models.sam2_video.modeling_sam2_video import (
            Sam2VideoInferenceSession,
            Sam2VideoModel,
        )
    config = Sam2VideoConfig(image_size=size)
    config.prompt_encoder_config.image_size = size
    config.vision_config.backbone_config.image_size = [size, size]
    config.vision_config.backbone_feature_sizes = [[size // s, size // s] for s in (4, 8, 16)]
    config.memory_attention_rope_feat_sizes = [size // 16, size // 16]
    model = Sam2VideoModel(config).eval()
    session = Sam2VideoInferenceSession(
        video_height=frame_size[0], video_width=frame_size[1], dtype=torch.float32
    )

    def step(picture: Picture, prompts: list[Prompt]) -> Logits:
        index = len(session.processed_frames or {})
        for prompt in prompts:
            number = session.obj_id_to_idx(prompt.object_id or 0)
            session.add_point_inputs(number, index, _points(prompt, size, frame_size))
            session.obj_with_new_inputs.append(prompt.object_id)
        with torch.inference_mode():
            model(inference_session=session, frame=to_image(picture, size))
        return {}

    return step, vars(session)


@contextlib.contextmanager
def _without_torchvision() -> Iterator[None]:
    """Hide torchvision: its PyPI build cannot be imported beside a CPU-only torch."""
    find = importlib.util.find_spec

    def hiding(name: str, package: str | None = None) -> Any:
        return None if name.split(".")[0] == "torchvision" else find(name, package)

    importlib.util.find_spec = hiding
    try:
        yield
    finally:
        importlib.util.find_spec = find


def _points(prompt: Prompt, size: int, frame_size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Return a box as transformers wants it: two points in the model's pixels."""
    assert prompt.box is not None
    height, width = frame_size
    corners = np.asarray(prompt.box, np.float32).reshape(1, 1, 2, 2)
    corners = corners / np.asarray([width, height], np.float32) * size
    labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
    return {"point_coords": torch.from_numpy(corners), "point_labels": labels}
