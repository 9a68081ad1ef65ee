"""The oracle of the parity tests: SAM 2's own video predictor, fed one frame at a time."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import sam2.sam2_video_predictor
import torch
from sam2.build_sam import build_sam2_video_predictor
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from streamtrack.tracking.memory import PROMPTED_FRAMES_ATTENDED
from streamtrack.tracking.prompts import Prompt

# No progress bar for each single frame.
sam2.sam2_video_predictor.tqdm = lambda frames, **_: frames


def build_upstream(config: str, image_size: int) -> SAM2VideoPredictor:
    """Build the official predictor with random weights and corrections that stick."""
    return build_sam2_video_predictor(
        config,
        device="cpu",
        hydra_overrides_extra=[
            f"++model.image_size={image_size}",
            f"++model.max_cond_frames_in_attn={PROMPTED_FRAMES_ATTENDED}",
            "++model.add_all_frames_to_correct_as_cond=true",
        ],
    )


class Upstream:
    """One video in SAM 2's predictor, stepped like a TrackingStream."""

    def __init__(
        self, predictor: SAM2VideoPredictor, images: Sequence[Tensor], size: tuple[int, int]
    ) -> None:
        self._predictor = predictor
        self._state = _initial_state(predictor, images, size)
        self._index = 0

    def step(self, prompts: Sequence[Prompt] = ()) -> dict[int, np.ndarray]:
        """Return each object's (h, w) logits on the next frame."""
        index, state = self._index, self._state
        self._index += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # no compiled hole filling on CPU
            if state["obj_ids"]:
                for _ in self._predictor.propagate_in_video(state, index, 0):
                    pass
            first: set[int] = set()
            for prompt in prompts:
                self._prompt(index, prompt, refine=prompt.object_id in first)
                first.add(prompt.object_id or 0)
        return {obj_id: self._logits(obj_id, index) for obj_id in state["obj_ids"]}

    def late(self, frame: int, prompt: Prompt, *, refine: bool = False) -> dict[int, np.ndarray]:
        """Prompt an earlier frame, propagate from it to the last; return the logits there."""
        last = self._index - 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self._prompt(frame, prompt, refine=refine)
            for _ in self._predictor.propagate_in_video(self._state, frame, last - frame):
                pass
        return {obj_id: self._logits(obj_id, last) for obj_id in self._state["obj_ids"]}

    def logits_on(self, object_id: int, frame: int) -> np.ndarray:
        """Return an object's (h, w) logits on an earlier frame."""
        return self._logits(object_id, frame)

    def remove(self, object_id: int) -> None:
        """Remove one object."""
        self._predictor.remove_object(self._state, object_id, need_output=False)

    def object_score(self, object_id: int) -> float:
        """Return the object's score logit on the last stepped frame."""
        return float(self._output(object_id, self._index - 1)["object_score_logits"])

    def _prompt(self, index: int, prompt: Prompt, *, refine: bool) -> None:
        if prompt.mask is not None:
            mask = torch.from_numpy(np.asarray(prompt.mask))
            self._predictor.add_new_mask(self._state, index, prompt.object_id, mask)
            return
        self._predictor.add_new_points_or_box(
            self._state,
            index,
            prompt.object_id,
            points=prompt.points,
            labels=prompt.labels,
            box=prompt.box,
            clear_old_points=not refine or prompt.box is not None,
        )

    def _output(self, object_id: int, index: int) -> dict[str, Any]:
        number = self._state["obj_id_to_idx"][object_id]
        pending = self._state["temp_output_dict_per_obj"][number]
        kept = self._state["output_dict_per_obj"][number]
        for outputs in (pending, kept):
            for key in ("cond_frame_outputs", "non_cond_frame_outputs"):
                if index in outputs[key]:
                    found: dict[str, Any] = outputs[key][index]
                    return found
        raise KeyError((object_id, index))

    def _logits(self, object_id: int, index: int) -> np.ndarray:
        return self._output(object_id, index)["pred_masks"][0, 0].float().numpy()


def _initial_state(
    predictor: SAM2VideoPredictor, images: Sequence[Tensor], size: tuple[int, int]
) -> dict[str, Any]:
    """As `init_state`, from normalised frames instead of files."""
    device = torch.device("cpu")
    state: dict[str, Any] = {
        "images": list(images),
        "num_frames": max(len(images), 16),
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "video_height": size[0],
        "video_width": size[1],
        "device": device,
        "storage_device": device,
        "cached_features": {},
        "constants": {},
        "obj_ids": [],
    }
    for key in (
        "point_inputs_per_obj",
        "mask_inputs_per_obj",
        "obj_id_to_idx",
        "obj_idx_to_id",
        "output_dict_per_obj",
        "temp_output_dict_per_obj",
        "frames_tracked_per_obj",
    ):
        state[key] = {}
    return state
