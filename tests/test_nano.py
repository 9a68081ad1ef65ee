"""The embedded model: its size, its shapes, and what its shipped weights can do."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from streamtrack.resources import resource
from streamtrack.tracking.colour_prior import colours_of, count, likelihood
from streamtrack.tracking.mobile_trunk import MobileTrunk
from streamtrack.tracking.motion_prior import (
    GREY_PX,
    Glimpse,
    carry,
    evidence,
    flow_and_trust,
    glimpse_of,
    trace,
)
from streamtrack.tracking.nano import NANO_IMAGE_SIZE, Nano, build_nano
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class Follower:
    """Follows objects with the calls a tracker makes, B objects at once."""

    def __init__(self, model: Nano) -> None:
        self.model = model
        self.memories: list[tuple[int, Tensor]] = []

    def start(self, image: Tensor, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Prompt on the first frame; return (B, 1, h, w) logits and (B, 1) object scores."""
        self._encode(image, len(coords))
        top = self._map(self.features[-1] + self.model.no_mem_embed)
        points = {"point_coords": coords, "point_labels": labels}
        return self._decode(top, points, multimask=coords.shape[1] == 1)

    def follow(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Track on one more frame."""
        count = len(self.memories[0][1])
        self._encode(image, count)
        tokens, codes = [], []
        for age, memory in self.memories:
            flat = memory.float().flatten(2).permute(2, 0, 1)
            tokens.append(flat)
            codes.append(self.model.maskmem_tpos_enc[age - 1].expand_as(flat))
        fused = self.model.memory_attention(
            curr=[self.features[-1]],
            curr_pos=[torch.zeros_like(self.features[-1])],
            memory=torch.cat(tokens),
            memory_pos=torch.cat(codes),
            num_obj_ptr_tokens=0,
        )
        return self._decode(self._map(fused), None, multimask=False)

    def _encode(self, image: Tensor, count: int) -> None:
        encoded = self.model.forward_image(image[None])
        _, maps, _, self.sizes = self.model._prepare_backbone_features(encoded)
        self.features = [m.expand(-1, count, -1) for m in maps]

    def _map(self, tokens: Tensor, level: int = -1) -> Tensor:
        return tokens.permute(1, 2, 0).unflatten(2, self.sizes[level])

    def _decode(
        self, top: Tensor, points: dict[str, Tensor] | None, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        fine = [self._map(f, i) for i, f in enumerate(self.features[:-1])]
        found = self.model._forward_sam_heads(
            backbone_features=top,
            point_inputs=points,
            high_res_features=fine,
            multimask_output=multimask,
        )
        low, high, score = found[3], found[4], found[6]
        memory, _ = self.model._encode_new_memory(
            current_vision_feats=self.features,
            feat_sizes=self.sizes,
            pred_masks_high_res=high,
            object_score_logits=score,
            is_mask_from_pts=points is not None,
        )
        older = [(age + 1 if age else 0, m) for age, m in self.memories]
        kept = [(age, m) for age, m in older if age < self.model.num_maskmem]
        self.memories = [*kept, (1 if points is None else 0, memory.to(torch.bfloat16))]
        return low, score


def to_image(picture: NDArray[np.uint8]) -> Tensor:
    return (torch.from_numpy(picture).permute(2, 0, 1).float() / 255 - MEAN) / STD


def disc_scene(frames: int, size: int = 256) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """A striped disc that crosses a mottled background."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(60, 140, (16, 16, 3)).astype(np.uint8)
    backdrop = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    scene = []
    for t in range(frames):
        picture, mask = backdrop.copy(), np.zeros((size, size), np.uint8)
        centre = (70 + 5 * t, 120 + round(20 * np.sin(t / 5)))
        cv2.circle(mask, centre, 34, 1, -1)
        cv2.circle(picture, centre, 34, (220, 70, 40), -1, cv2.LINE_AA)
        for k in (-16, 0, 16):
            cv2.line(
                picture, (centre[0] + k, centre[1] - 24), (centre[0] + k, centre[1] + 24),
                (240, 200, 60), 5,
            )  # fmt: skip
        scene.append((picture, mask.astype(bool)))
    return scene


def jaccard(logits: Tensor, true: NDArray[np.bool_]) -> float:
    said = (F.interpolate(logits[None], true.shape, mode="bilinear")[0, 0] > 0).numpy()
    return float((said & true).sum() / (said | true).sum())


@pytest.fixture(scope="module")
def shipped() -> Nano:
    model = build_nano()
    weights = load_file(resource("checkpoints/nano.safetensors"))
    model.load_state_dict(weights, strict=True)
    return model


def test_nano_has_at_most_four_million_parameters() -> None:
    assert sum(p.numel() for p in build_nano().parameters()) <= 4_000_000


def test_nano_refuses_an_image_size_that_is_no_multiple_of_32() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        build_nano(image_size=250)


@pytest.mark.parametrize("size", [NANO_IMAGE_SIZE, 320])
@torch.inference_mode()
def test_nano_prompts_and_tracks_at_this_image_size(size: int) -> None:
    torch.manual_seed(0)
    follower = Follower(build_nano(image_size=size))
    image = torch.randn(3, size, size)
    box = torch.tensor([[[20.0, 30.0], [90.0, 120.0]]])
    follower.start(image, box, torch.tensor([[2, 3]], dtype=torch.int32))
    logits, score = follower.follow(image)
    assert logits.shape == (1, 1, size // 2, size // 2)
    assert score.shape == (1, 1)


@torch.inference_mode()
def test_a_given_mask_comes_back_as_the_output() -> None:
    model = build_nano()
    encoded = model.forward_image(torch.randn(1, 3, 256, 256))
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 40:90, 60:160] = 1
    found = model._use_mask_as_output(encoded["backbone_fpn"][-1], None, mask)
    assert torch.equal(found[4] > 0, mask > 0)
    assert torch.equal(found[3] > 0, mask[..., ::2, ::2] > 0)
    assert found[6].item() > 0


@torch.inference_mode()
def test_every_candidate_of_a_first_click_is_drawn_again(shipped: Nano) -> None:
    encoded = shipped.forward_image(to_image(disc_scene(1)[0][0])[None])
    *fine, top = encoded["backbone_fpn"]
    two = [level.repeat(2, 1, 1, 1) for level in (top, *fine)]
    two[0] = two[0] + shipped.no_mem_embed[0, 0, :, None, None]
    coords = torch.tensor([[[70.0, 120.0]], [[200.0, 60.0]]])
    labels = torch.ones(2, 1, dtype=torch.int32)
    once, *_ = shipped.decode(two[0], two[1:], points=(coords, labels), multimask=True)
    twice, ious, _, _ = shipped.decode_click(two[0], two[1:], (coords, labels))
    for candidate in range(3):
        again, sure, _, _ = shipped.decode(
            two[0], two[1:], points=(coords, labels), mask_logits=once[:, [candidate]]
        )
        torch.testing.assert_close(twice[:, candidate], again[:, 0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ious[:, candidate], sure[:, 0], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_objects_together_equal_objects_one_by_one(shipped: Nano) -> None:
    images = [to_image(p) for p, _ in disc_scene(4)]
    coords = torch.tensor([[[70.0, 120.0]], [[200.0, 60.0]], [[30.0, 220.0]]])
    labels = torch.ones(3, 1, dtype=torch.int32)
    together = Follower(shipped)
    alone = [Follower(shipped) for _ in coords]
    outputs = [together.start(images[0], coords, labels)]
    singles = [[f.start(images[0], coords[[i]], labels[[i]]) for i, f in enumerate(alone)]]
    for image in images[1:]:
        outputs.append(together.follow(image))
        singles.append([f.follow(image) for f in alone])
    for both, each in zip(outputs, singles, strict=True):
        for whole, parts in zip(both, zip(*each, strict=True), strict=True):
            torch.testing.assert_close(whole, torch.cat(parts), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_shipped_weights_segment_a_clicked_disc_and_follow_it(shipped: Nano) -> None:
    scene = disc_scene(21)
    follower = Follower(shipped)
    click = torch.tensor([[[70.0, 120.0]]])
    logits, score = follower.start(to_image(scene[0][0]), click, torch.ones(1, 1).int())
    assert score.item() > 0
    assert jaccard(logits[0], scene[0][1]) > 0.7
    later = []
    for picture, true in scene[1:]:
        logits, _ = follower.follow(to_image(picture))
        later.append(jaccard(logits[0], true))
    assert np.mean(later) > 0.6


@torch.inference_mode()
def test_the_shipped_weights_say_that_a_disc_is_gone(shipped: Nano) -> None:
    scene = disc_scene(8)
    backdrop = disc_scene(1, 256)[0][0]
    backdrop[80:160, 30:110] = backdrop[170:250, 130:210]
    follower = Follower(shipped)
    follower.start(to_image(scene[0][0]), torch.tensor([[[70.0, 120.0]]]), torch.ones(1, 1).int())
    for picture, _ in scene[1:4]:
        _, score = follower.follow(to_image(picture))
        assert score.item() > 0
    scores = [follower.follow(to_image(backdrop))[1].item() for _ in range(3)]
    assert min(scores) <= 0


def test_an_object_that_was_gone_for_long_is_found_again(shipped: Nano) -> None:
    scene = disc_scene(16)
    rng = np.random.default_rng(7)
    coarse = rng.integers(60, 140, (16, 16, 3)).astype(np.uint8)
    empty = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)
    stream = Tracker(Segmenter(shipped), model="nano").open()
    stream.step(scene[0][0], [Prompt(points=[[70, 120]])])
    for picture, _ in scene[1:8]:
        stream.step(picture)
    gone = [stream.step(empty).objects[1] for _ in range(12)]
    assert all(one.state == "lost" for one in gone[2:])
    found = [stream.step(picture).objects[1] for picture, _ in scene[8:]][-1]
    true = scene[-1][1]
    assert found.state == "tracked" and found.mask is not None
    assert (found.mask & true).sum() / (found.mask | true).sum() > 0.6


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = build_nano(image_size=64).train()
    follower = Follower(model)
    points = torch.tensor([[[20.0, 30.0]], [[40.0, 40.0]]])
    first, score = follower.start(torch.randn(3, 64, 64), points, torch.ones(2, 1).int())
    assert torch.isfinite(first).all() and torch.isfinite(score).all()
    logits, scores = follower.follow(torch.randn(3, 64, 64))
    (logits.clamp(-50, 50).sum() + scores.sum() + score.sum()).backward()
    assert model.sam_prompt_encoder.under_point.weight.grad is not None


def test_a_mask_moves_with_the_picture() -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (20, 20), np.uint8)
    ground = cv2.resize(coarse, (GREY_PX + 16, GREY_PX + 16), interpolation=cv2.INTER_CUBIC)
    before, now = ground[8:-8, 8:-8], ground[8:-8, 2:-14]  # all of it moves six to the right
    before, now = (np.ascontiguousarray(one) for one in (before, now))
    motion = torch.from_numpy(flow_and_trust(before, now))
    assert motion[0, 20:-20, 20:-20].median() == pytest.approx(-6 / GREY_PX, abs=0.5 / GREY_PX)
    assert motion[2, 20:-20, 20:-20].median() > 0.8
    logits = torch.full((1, 1, 64, 64), -10.0)
    logits[..., 20:40, 20:40] = 10
    moved = carry(motion[None], logits)[0, 0] > 0
    rows, columns = torch.nonzero(moved, as_tuple=True)
    assert abs(int(columns.min()) - 23) <= 1 and abs(int(rows.min()) - 20) <= 1


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A picture of two colours side by side."""
    picture = np.empty((GREY_PX, GREY_PX, 3), np.uint8)
    picture[:, : GREY_PX // 2], picture[:, GREY_PX // 2 :] = left, right
    return picture


RED, GREEN, BLUE = (200, 40, 40), (40, 160, 60), (40, 60, 200)


def test_colours_of_a_mask_are_found_again_and_unknown_ones_say_nothing() -> None:
    first, later = (torch.from_numpy(colours_of(halves(*pair)).astype(np.int64))[None]
                    for pair in ((RED, GREEN), (BLUE, RED)))  # fmt: skip
    logits = torch.full((1, 1, 32, 32), -10.0)
    logits[..., :16] = 10.0
    found = likelihood(later, count(first, logits))[0, 0]
    assert found[:, : GREY_PX // 2].abs().max() < 0.01
    assert found[:, GREY_PX // 2 :].min() > 0.8
    assert likelihood(first, count(first, logits))[0, 0, :, GREY_PX // 2 :].max() < -0.5


def test_an_object_that_is_not_to_be_seen_says_nothing_about_colours() -> None:
    colours = torch.from_numpy(colours_of(halves(RED, GREEN)).astype(np.int64))[None]
    gone = count(colours, torch.full((1, 1, 32, 32), -1024.0))
    assert gone[:, 0].sum() < 1e-6


def test_evidence_is_nothing_for_an_object_without_a_past() -> None:
    picture = to_image(halves(RED, GREEN))
    glimpse = glimpse_of(F.interpolate(picture[None], (256, 256))[0])
    assert isinstance(glimpse, Glimpse)
    logits = torch.full((1, 1, 128, 128), -10.0)
    logits[..., :64] = 10
    past = trace(glimpse, logits, prompted=True)
    assert past is not None
    found = evidence(glimpse, [[], [past]], 128)
    assert found.shape == (2, 3, 128, 128)
    assert not found[0].any()
    assert found[1, 0, 64, 20] > 0.9 and found[1, 0, 64, 100] < -0.9
    assert found[1, 2, 64, 20] > 0.5


def test_only_a_prompted_frame_tells_an_objects_colours() -> None:
    first = to_image(cv2.resize(halves(RED, GREEN), (256, 256)))
    later = to_image(cv2.resize(halves(BLUE, GREEN), (256, 256)))
    logits = torch.full((1, 1, 128, 128), -10.0)
    logits[..., :64] = 10
    prompted = trace(glimpse_of(first), logits, prompted=True)
    followed = trace(glimpse_of(later), logits, prompted=False)  # it has spread over blue
    assert prompted is not None and followed is not None and followed.counts is None
    found = evidence(glimpse_of(later), [[prompted, followed]], 128)
    assert found[0, 2, 64, 20].abs() < 0.05 and found[0, 0, 64, 20] > 0.9


@torch.inference_mode()
def test_the_trunk_has_features_at_five_strides() -> None:
    found = MobileTrunk()(torch.randn(2, 3, 64, 64))
    assert [tuple(f.shape) for f in found] == [
        (2, 16, 32, 32),
        (2, 24, 16, 16),
        (2, 32, 8, 8),
        (2, 96, 4, 4),
        (2, 320, 2, 2),
    ]


@torch.inference_mode()
def test_fine_logits_begin_as_the_coarse_ones() -> None:
    torch.manual_seed(0)
    model = build_nano(image_size=64)
    masks, fine = torch.randn(2, 3, 16, 16), torch.randn(2, 8, 32, 32)
    big = F.interpolate(masks, (32, 32), mode="bilinear")
    torch.testing.assert_close(model.fine_head(masks, fine, None), big)
    prior = torch.rand(2, 3, 32, 32)
    added = model.fine_head(masks, fine, prior) - big
    torch.testing.assert_close(added, (4 * prior[:, :1]).expand_as(big), atol=1e-5, rtol=1e-5)
