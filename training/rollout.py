"""nano over the frames of clips.

The objects of all clips of a batch go through the model together; every call is one of
those the tracker makes, so training sees what tracking does.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from streamtrack.tracking.colour_prior import count as count_colours
from streamtrack.tracking.motion_prior import carry, flow_and_trust, glimpse_of, joined
from streamtrack.tracking.nano import Nano
from streamtrack.tracking.nano_parts import KEY_CHANNELS
from training.clips import EDGELESS, JOINED
from training.losses import FIRST_WEIGHT, Tally
from training.practice import as_tracked, boxes_of, chance, correction, inner_clicks

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Normalisation of images, that of SAM 2."""
PRACTISED_CELLS = 24.0
"""Smallest area, in cells of stride 2, that is clicked and boxed on a later frame."""
ABSENT_BELOW = 0.03
"""Less than this share of its first area visible: whether it is seen is left open."""
_FAR_KEY = 100.0
"""In every channel of a matching key: further from all features than any other key."""
NO_PRIOR = 0.06
"""Share of the objects, and beside them of the frames, that go without the evidence; so do as
many without the colours alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Clips as tensors; N = B O objects."""

    images: Tensor
    """(B, T, 3, S, S) float, normalised."""
    masks: Tensor
    """(T, N, S, S) bool."""
    clicks: Tensor
    """(N, 1, 2) float (x, y) in pixels."""
    boxes: Tensor
    """(N, 2, 2) float (x, y) corners in pixels."""
    vague: Tensor
    """(N,) int8 of `Clip.vague`: joined things are not clicked, those without an edge not
    boxed either."""
    leapt: Tensor
    """(N,) bool of `Clip.leapt`: the second frame is given as if it had been tracked."""
    motion: Tensor
    """(B, T, 3, m, m) of `motion_prior.flow_and_trust`, each frame from the one before; zeros
    for the first."""
    colours: Tensor
    """(B, T, m, m) int64 of `colour_prior.colours_of`."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One frame's features, repeated for the objects."""

    high_res: list[Tensor]
    """(N, C / 8 + 32, S / 4, S / 4) and (N, C / 4, S / 8, S / 8)."""
    cells: Tensor
    """(N, C, S / 16, S / 16)."""

    def tokens(self) -> Tensor:
        """Return the (HW, N, C) stride-16 features."""
        return self.cells.flatten(2).permute(2, 0, 1)

    def pick(self, rows: Tensor) -> "Features":
        """Return the features of some of the objects."""
        return Features([f[rows] for f in self.high_res], self.cells[rows])


def glimpses_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the motion between (T, 3, S, S) normalised frames of a clip, and their colours.

    Returns:
        (T, 3, m, m) float and (T, m, m) int64, as in `Batch`.
    """
    seen = [glimpse_of(image) for image in images]
    found = [flow_and_trust(a.grey, b.grey) for a, b in zip(seen, seen[1:], strict=False)]
    first = torch.zeros(1, 3, *seen[0].grey.shape)
    motion = torch.cat([first, *(torch.from_numpy(one)[None] for one in found)])
    return motion, torch.stack([torch.from_numpy(one.colours.astype(np.int64)) for one in seen])


def encode_frames(model: Nano, images: Tensor, objects: int) -> list[Features]:
    """Return the features of the T frames of (B, T, 3, S, S) images, for B x objects."""
    batch, frames = images.shape[:2]
    levels = model.forward_image(images.flatten(0, 1))["backbone_fpn"]
    out = []
    for t in range(frames):
        here = [f.unflatten(0, (batch, frames))[:, t] for f in levels]
        here = [f.repeat_interleave(objects, 0) if objects > 1 else f for f in here]
        out.append(Features(here[:2], here[2]))
    return out


def without_memory(model: Nano, features: Features) -> Tensor:
    """Return the stride-16 features of a frame that starts an object."""
    return features.cells + model.no_mem_embed[0, 0, :, None, None]


def with_memory(
    model: Nano, features: Features, memories: list[Tensor], slots: list[int]
) -> Tensor:
    """Return the stride-16 features conditioned on memories.

    Args:
        model: the model.
        features: of the frame.
        memories: each (N, C, h, w).
        slots: how many steps ago each memory was made; 0 = it was prompted.
    """
    tokens = features.tokens()
    codes = [
        model.maskmem_tpos_enc[slot - 1].expand(len(tokens), len(features.cells), -1)
        for slot in slots
    ]  # slot 0 takes the last code, as in SAM2Base
    fused = model.memory_attention(
        curr=tokens,
        memory=torch.cat([m.flatten(2).permute(2, 0, 1) for m in memories]),
        memory_pos=torch.cat(codes),
    )
    return fused.permute(1, 2, 0).unflatten(2, features.cells.shape[-2:])


def remember(
    model: Nano, features: Features, logits: Tensor, seen: Tensor, *, prompted: bool
) -> Tensor:
    """Return the (N, C, h, w) memory of a frame, at the precision it is stored with.

    Args:
        model: the model.
        features: of the frame.
        logits: (N, 1, S / 2, S / 2) mask logits.
        seen: (N, 1) bool: the object is visible.
        prompted: the frame carries a prompt; its mask is remembered as yes or no.
    """
    size = (model.image_size, model.image_size)
    logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
    if prompted:
        logits = torch.where(logits > 0, 10.0, -10.0)
    logits = torch.where(seen[..., None, None], logits, -10.0)
    memory, _ = model._encode_new_memory(
        current_vision_feats=[features.tokens()],
        feat_sizes=[features.cells.shape[-2:]],
        pred_masks_high_res=logits,
        object_score_logits=torch.where(seen, 10.0, -10.0),
        is_mask_from_pts=prompted,
    )
    return memory.to(torch.bfloat16).to(memory.dtype)


def rollout(model: Nano, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Follow all objects through their clips and return the losses, "total" among them."""
    frames, count = batch.masks.shape[:2]
    features = encode_frames(model, batch.images, count // batch.images.shape[0])
    targets = F.avg_pool2d(batch.masks.float(), 2)  # (T, N, S / 2, S / 2)
    areas = targets.flatten(2).sum(2)
    seen = areas > 0
    told = ~seen | (areas > ABSENT_BELOW * areas[:1])
    tally = Tally(seen, told, batch.vague)
    logits = _prompt(model, features[0], batch, targets[0], tally, generator)
    memories = [remember(model, features[0], logits, seen[0, :, None], prompted=True)]
    prompted = {0}
    objects = count // batch.images.shape[0]
    past = _Past(batch, objects, logits)
    without = torch.rand(count, 1, 1, 1, generator=generator) < NO_PRIOR
    gap = chance(generator, 3)
    click_at = chance(generator, frames - 1) + 1 if chance(generator, 100) < 30 else -1
    for t in range(1, frames):
        slots = [_slot(t, r, r in prompted, gap, model.num_maskmem) for r in range(t)]
        fused = with_memory(model, features[t], memories, slots)
        dropped = without | (torch.rand(count, 1, 1, 1, generator=generator) < NO_PRIOR)
        grey = torch.rand(count, 1, 1, generator=generator) < NO_PRIOR
        prior = past.evidence(t) * ~dropped.to(targets.device)
        prior[:, 2] *= ~grey.to(targets.device)
        masks, ious, _, scores = model.decode(fused, features[t].high_res, prior=prior)
        given = batch.leapt & (t == 1)
        mine = (~given).nonzero()[:, 0]
        tally.add(t, masks[mine], ious[mine], scores[mine], targets[t, mine], mine)
        if t == click_at:
            points = correction(masks.detach(), targets[t], generator)
            masks, ious, _, scores = model.decode(
                fused, features[t].high_res, points=points, mask_logits=masks.detach()
            )
            tally.add(t, masks[mine], ious[mine], scores[mine], targets[t, mine], mine)
            prompted.add(t)
        if given.any():
            known = as_tracked(targets[t], generator).to(masks.dtype)
            masks = torch.where(given[:, None, None, None], known, masks)
        truth = torch.rand(count, 1, generator=generator).to(masks.device) < 0.5
        visible = torch.where(truth | given[:, None], seen[t, :, None], scores.detach() > 0)
        memory = remember(model, features[t], masks, visible, prompted=t in prompted)
        if t not in prompted:
            memory = hide_lost(memory, visible)
        memories.append(memory)
        before = torch.where(visible[..., None, None], masks.detach().float(), -10.0)
        past.add(t, before, prompted=t in prompted)
    _practise(model, features, targets, tally, generator)
    return tally.losses()


def hide_lost(memory: Tensor, visible: Tensor) -> Tensor:
    """Return (N, C, h, w) memories no feature is near to where (N, 1) objects are lost.

    Such a frame leaves no memory (`FrameMemory.lost`), and a key far from all is never read.
    """
    key = torch.arange(memory.shape[1], device=memory.device) < KEY_CHANNELS
    lost = ~visible[..., None, None] & key[:, None, None]
    return torch.where(lost, _FAR_KEY, memory)


def _practise(
    model: Nano,
    features: list[Features],
    targets: Tensor,
    tally: Tally,
    generator: torch.Generator,
) -> None:
    """Click and box the objects that are in sight on one later frame, as if it were the first."""
    t = chance(generator, len(targets) - 1) + 1
    rows = (targets[t].flatten(1).sum(1) > PRACTISED_CELLS).nonzero()[:, 0]
    if not len(rows):
        return
    target, here = targets[t][rows], features[t].pick(rows)
    fused = without_memory(model, here)
    clicks = inner_clicks(target, generator)
    labels = torch.ones(len(rows), 1, dtype=torch.int32, device=target.device)
    masks, ious, _, scores = model.decode(
        fused, here.high_res, points=(clicks, labels), multimask=True
    )
    tally.add(t, masks, ious, scores, target, rows, most=0, weight=FIRST_WEIGHT)
    corners = torch.tensor([[2, 3]], dtype=torch.int32, device=target.device)
    masks, ious, _, scores = model.decode(
        fused,
        here.high_res,
        points=(boxes_of(target, generator), corners.expand(len(rows), 2)),
    )
    tally.add(t, masks, ious, scores, target, rows, most=JOINED, weight=FIRST_WEIGHT)


class _Past:
    """What the frames before say of the objects, as the tracker has it."""

    def __init__(self, batch: Batch, objects: int, logits: Tensor) -> None:
        """Begin with the (N, 1, h, w) logits of the prompted first frame."""
        self._batch, self._objects = batch, objects
        self.add(0, logits.detach().float(), prompted=True)

    def _each(self, frames: Tensor, t: int) -> Tensor:
        """Return frame t of (B, T, ...) tensors, repeated for the objects."""
        return frames[:, t].repeat_interleave(self._objects, 0)

    def add(self, t: int, logits: Tensor, *, prompted: bool) -> None:
        """Add the masks of frame t."""
        self._before = logits
        if prompted:
            self._counts = count_colours(self._each(self._batch.colours, t), logits)

    def evidence(self, t: int) -> Tensor:
        """Return the (N, 3, S / 2, S / 2) evidence for frame t."""
        carried = carry(self._each(self._batch.motion, t), self._before)
        return joined(carried, self._each(self._batch.colours, t), self._counts)


def _prompt(
    model: Nano,
    features: Features,
    batch: Batch,
    target: Tensor,
    tally: Tally,
    generator: torch.Generator,
) -> Tensor:
    """Prompt the objects of a first frame; return the (N, 1, h, w) logits to remember.

    All are clicked and half of them boxed, for practice. Half are then remembered as the
    click found them, a quarter as the box did and a quarter as they truly are.
    """
    count = len(target)
    order = torch.randperm(count, generator=generator).to(target.device)
    boxes, kept = order[: (count + 1) // 2], (count + 3) // 4
    logits = target[:, None] * 20 - 10
    by_box = _boxed(model, features.pick(boxes), batch.boxes[boxes], target[boxes], tally, boxes)
    by_click = _clicked(model, features, batch.clicks, target, tally, generator)
    known = logits
    rest = order[count // 2 :]
    logits = logits.index_put((rest,), by_click[rest])
    logits = torch.where((batch.vague > 0)[:, None, None, None], known, logits)
    logits = logits.index_put((boxes[:kept],), by_box[:kept])
    return torch.where((batch.vague == EDGELESS)[:, None, None, None], known, logits)


def _boxed(
    model: Nano,
    features: Features,
    boxes: Tensor,
    target: Tensor,
    tally: Tally,
    rows: Tensor,
) -> Tensor:
    """Return the (N, 1, h, w) logits of boxed objects."""
    labels = torch.tensor([[2, 3]], dtype=torch.int32, device=target.device)
    masks, ious, _, scores = model.decode(
        without_memory(model, features),
        features.high_res,
        points=(boxes, labels.expand(len(boxes), 2)),
    )
    tally.add(0, masks, ious, scores, target, rows, most=JOINED, weight=FIRST_WEIGHT)
    return masks.float()


def _clicked(
    model: Nano,
    features: Features,
    clicks: Tensor,
    target: Tensor,
    tally: Tally,
    generator: torch.Generator,
) -> Tensor:
    """Return the (N, 1, h, w) logits of clicked objects, some corrected by a second click."""
    fused = without_memory(model, features)
    labels = torch.ones(len(clicks), 1, dtype=torch.int32, device=target.device)
    masks, ious, _, scores = model.decode(
        fused, features.high_res, points=(clicks, labels), multimask=True
    )
    best = tally.add(0, masks, ious, scores, target, most=0, weight=FIRST_WEIGHT)
    chosen = masks[torch.arange(len(clicks), device=best.device), best, None]
    roll = chance(generator, 10)
    if roll < 8:  # a second click in the larger error, or a second look as `decode_click` takes
        if roll < 4:
            coords, more = correction(chosen.detach(), target, generator)
            points = (torch.cat([clicks, coords], 1), torch.cat([labels, more], 1))
        else:
            picked = ious.argmax(1)
            if roll < 6:  # any of them: the decoder's own IoU then tells which was the best
                picked = torch.randint(3, (len(clicks),), generator=generator).to(best.device)
            chosen = masks[torch.arange(len(clicks), device=best.device), picked, None]
            points = (clicks, labels)
        chosen, ious, _, scores = model.decode(
            fused, features.high_res, points=points, mask_logits=chosen.detach()
        )
        tally.add(0, chosen, ious, scores, target, most=0, weight=FIRST_WEIGHT)
    return chosen.float()


def _slot(now: int, then: int, prompted: bool, gap: int, memories: int) -> int:
    """Return a memory's temporal slot; a gap lets short clips reach the old slots too."""
    if prompted:
        return 0
    ago = now - then
    return min(memories - 1, ago + gap if ago > 1 else ago)
