"""Training of the embedded model: clips, supervision, resuming, and what data it may touch."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from streamtrack.tracking.nano import build_nano
from training import clips, data
from training.batches import Maker, Order
from training.clips import Clip, box_around, click_on, make_clip
from training.data import Library, Picture, load_library
from training.drawing import wiry
from training.evaluate import PROMPTS, evaluate, folder_sample, follow, iou, load_weights
from training.evaluate import validation_samples as samples_of
from training.export import export
from training.losses import mask_losses
from training.practice import as_tracked, boxes_of, correction, inner_clicks
from training.rollout import encode_frames, hide_lost, remember, with_memory
from training.train import Phase, Recipe, Trainer

TINY = (Phase(0.5, 64, 2, 3), Phase(1.0, 96, 2, 3))


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Train on one thread, as `training.train` does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def library() -> Library:
    """A made-up library: pictures with two things each, and one video."""
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(4):
        pixels = cv2.resize(rng.integers(0, 256, (12, 12, 3)).astype(np.uint8), (120, 100))
        labels = np.zeros((100, 120), np.uint8)
        cv2.circle(labels, (40, 50), 25, 1, -1)
        cv2.rectangle(labels, (75, 20), (110, 80), 2, -1)
        pixels[labels == 1] = rng.integers(0, 256, 3)
        pixels[labels == 2] = rng.integers(0, 256, 3)
        pictures.append(Picture(pixels, labels, ((1,), (2,)), ()))
    video = rng.integers(0, 256, (12, 40, 60, 3)).astype(np.uint8)
    return Library(tuple(pictures), ((0, 2), (2, 4)), (video,))


@pytest.fixture
def trainer(library: Library) -> Iterator[Trainer]:
    made = _trainer(library)
    yield made
    made.close()


def _trainer(library: Library) -> Trainer:
    return Trainer(library, Recipe(minutes=1.0), TINY, clock=Clock())


def _same(one: Clip, other: Clip) -> bool:
    names = ("frames", "masks", "clicks", "boxes")
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def test_a_seed_always_makes_the_same_clip(library: Library) -> None:
    assert _same(make_clip(library, (5, 1), 64, 4), make_clip(library, (5, 1), 64, 4))


def test_another_seed_makes_another_clip(library: Library) -> None:
    assert not _same(make_clip(library, (5, 1), 64, 4), make_clip(library, (5, 2), 64, 4))


def test_every_object_is_visible_and_prompted_on_itself_in_the_first_frame(
    library: Library,
) -> None:
    for seed in range(20):
        clip = make_clip(library, (seed,), 64, 3)
        for mask, (x, y) in zip(clip.masks[0], clip.clicks, strict=True):
            assert mask[int(y), int(x)]


def test_objects_get_lost_in_at_least_a_fifth_of_the_clips(library: Library) -> None:
    made = [make_clip(library, (seed,), 64, 4) for seed in range(60)]
    lost = [not c.masks.any((2, 3)).all() for c in made]
    assert np.mean(lost) >= 0.2


def test_some_objects_come_back(library: Library) -> None:
    made = [make_clip(library, (seed,), 64, 6) for seed in range(60)]
    seen = [s for c in made for s in c.masks.any((2, 3)).T]
    assert any(not s[t] and s[t + 1 :].any() for s in seen for t in range(len(s)))


def test_drawn_scenes_become_clips_with_true_masks(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = data.DemoScene((54, 96), seed=data.SCENE_SEEDS[0])
    drawn = Library(library.pictures, library.sets, library.videos, (scene,))
    monkeypatch.setattr(clips, "SCENE_SHARE", 1.0)
    clip = make_clip(drawn, (0,), 64, 3)
    assert clip.frames.shape == (3, 64, 64, 3)
    assert clip.masks.shape == (3, 2, 64, 64)
    assert clip.masks[0].any((1, 2)).all()


def test_some_clips_go_on_much_later(library: Library) -> None:
    made = [make_clip(library, (seed,), 64, 5, leaps=True) for seed in range(40)]
    leapt = [c for c in made if c.leapt]
    assert 5 < len(leapt) < 30
    frames = np.stack([c.frames for c in leapt]).astype(int)
    change = np.abs(frames[:, 1:] - frames[:, :-1]).mean((2, 3, 4))  # (clips, 4)
    assert change[:, 0].mean() > 1.5 * change[:, 1:].mean()


def test_no_clip_leaps_where_it_is_not_asked_for(library: Library) -> None:
    assert not any(make_clip(library, (seed,), 64, 5).leapt for seed in range(20))


def test_parts_of_rods_and_wheels_are_thin() -> None:
    for seed in range(20):
        alpha = wiry(np.random.default_rng(seed))[..., 3]
        inside = alpha > 127
        depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
        assert 0.01 < inside.mean() < 0.4
        assert np.median(depth[inside]) < 0.05 * len(alpha)


def test_worn_masks_keep_most_of_the_true_one() -> None:
    target = torch.zeros(60, 32, 32)
    target[:, 8:20, 10:24] = 1
    worn = as_tracked(target, torch.Generator().manual_seed(0))[:, 0] > 0
    true = target > 0.5
    shared = (worn & true).sum((1, 2)) / (worn | true).sum((1, 2))
    assert (shared == 1).any() and (shared < 0.95).any()
    assert shared.mean() > 0.8


def test_memories_of_frames_on_which_an_object_is_lost_are_not_read() -> None:
    torch.manual_seed(0)
    model = build_nano(64)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1, 3, 3, 64, 64, generator=generator)
    here = encode_frames(model, images, 2)
    logits = torch.randn(2, 1, 32, 32, generator=generator) * 10
    seen = torch.tensor([[True], [False]])
    with torch.inference_mode():
        first = remember(model, here[0], logits, torch.ones_like(seen), prompted=True)
        second = remember(model, here[1], logits, seen, prompted=False)
        both = with_memory(model, here[2], [first, hide_lost(second, seen)], [0, 1])
        alone = with_memory(model, here[2], [first], [0])
        read = with_memory(model, here[2], [first, second], [0, 1])
    torch.testing.assert_close(both[1], alone[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both[0], read[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(read[1], alone[1], atol=1e-2)


def test_a_click_lies_on_its_mask_and_a_box_near_it() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 20:50] = 1
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, y = click_on(rng, mask)
        assert mask[int(y), int(x)]
    assert np.allclose(box_around(rng, mask, jitter=0.0), (20, 10, 49, 29))


def test_a_correction_click_goes_into_the_larger_error() -> None:
    target = torch.zeros(3, 16, 16)
    target[:, 4:10, 4:10] = 1
    logits = torch.where(target > 0.5, 5.0, -5.0)[:, None].clone()
    logits[0, 0, 4:8, 4:10] = -5  # missed
    logits[1, 0, 12:16, 0:8] = 5  # too much
    points, labels = correction(logits, target, torch.Generator().manual_seed(0))
    cells = ((points[:, 0] - 0.5) / 2).round().long()
    assert labels[:, 0].tolist() == [1, 0, -1]
    assert 4 <= cells[0, 1] < 8 and cells[1, 1] >= 12


def test_practice_prompts_fit_the_masks_they_are_made_from() -> None:
    target = torch.zeros(2, 32, 32)
    target[0, 4:20, 10:30] = 1
    target[1, 25, 7] = 1
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        x, y = (inner_clicks(target, generator)[:, 0] // 2).long().unbind(1)
        assert (target[torch.arange(2), y, x] == 1).all()
    exact = boxes_of(target, generator, jitter=0.0)
    assert exact.tolist() == [[[20, 8], [59, 39]], [[14, 50], [15, 51]]]
    assert not torch.equal(boxes_of(target, generator), exact)


def test_a_mask_on_an_absent_object_costs_more_than_none() -> None:
    target, seen = torch.zeros(1, 16, 16), torch.zeros(1, dtype=torch.bool)
    some = torch.full((1, 1, 16, 16), 2.0)
    assert mask_losses(some, target, seen) > mask_losses(-some, target, seen)


def test_absent_objects_teach_the_object_score(trainer: Trainer, library: Library) -> None:
    losses = [trainer.step() for _ in range(3)]
    assert all(np.isfinite(row["total"]) and row["score"] > 0 for row in losses)
    head = trainer.model.sam_mask_decoder.pred_obj_score_head
    assert all(p.grad is not None for p in head.parameters())


def test_a_resumed_run_equals_one_that_was_never_stopped(library: Library, tmp_path: Path) -> None:
    whole = _trainer(library)
    _train(whole, 2)
    whole.save(tmp_path / "checkpoint.pt")
    _train(whole, 2)
    again = _trainer(library)
    again.load(tmp_path / "checkpoint.pt")
    _train(again, 2)
    for state in ("model", "ema"):
        one, other = (_state(t, state) for t in (whole, again))
        assert all(torch.equal(one[name], other[name]) for name in one)
    whole.close()
    again.close()


def test_batches_are_the_same_from_a_thread_and_from_processes(library: Library) -> None:
    orders = [Order(3, step, 64, 2, 3, 2) for step in range(4)]
    thread, processes = Maker(library), Maker(library, workers=2)
    for i, order in enumerate(orders):
        one, other = (maker.get(order, orders[i + 1 :]) for maker in (thread, processes))
        for field in dataclasses.fields(one):
            a, b = (getattr(batch, field.name) for batch in (one, other))
            assert torch.equal(a, b), field.name
    thread.close()
    processes.close()


def _train(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step()
        trainer.clock.now += 10.0  # type: ignore[attr-defined]


def _state(trainer: Trainer, name: str) -> dict[str, torch.Tensor]:
    return trainer.ema if name == "ema" else trainer.model.state_dict()


def test_the_learning_rate_falls_to_its_end_with_the_budget(trainer: Trainer) -> None:
    trainer.steps = 10_000
    assert trainer._rate(0.0) == pytest.approx(1e-3)
    assert trainer._rate(1.0) == pytest.approx(1e-5)


def test_exported_weights_load_and_say_what_they_are(
    trainer: Trainer, library: Library, tmp_path: Path
) -> None:
    trainer.save(tmp_path / "checkpoint.pt")
    export(tmp_path / "checkpoint.pt", tmp_path / "nano.safetensors")
    with safe_open(tmp_path / "nano.safetensors", "pt") as file:
        assert file.metadata()["model"] == "nano"
        assert json.loads(file.metadata()["recipe"])["seed"] == 0
    model = load_weights(tmp_path / "nano.safetensors", image_size=64)
    results = evaluate(model, list(samples_of(library, 1, 3, size=64)))
    assert set(results) == set(PROMPTS)
    assert 0.0 <= results["mask"]["mean"].first <= 1.0


def test_exported_weights_can_be_the_mean_of_several_states(
    trainer: Trainer, tmp_path: Path
) -> None:
    trainer.save(tmp_path / "checkpoint.pt")
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    export(tmp_path / "checkpoint.pt", once, torch.float32)
    state = {k: v + 2 if v.is_floating_point() else v for k, v in load_file(once).items()}
    save_file(state, tmp_path / "moved.safetensors")
    others = [tmp_path / "moved.safetensors", tmp_path / "checkpoint.pt"]
    export(tmp_path / "checkpoint.pt", twice, torch.float32, others)
    name = "sam_mask_decoder.iou_token.weight"
    moved = load_file(twice)[name] - load_file(once)[name]
    torch.testing.assert_close(moved, torch.full_like(moved, 2 / 3), rtol=1e-3, atol=1e-5)


def test_the_first_blocks_of_the_trunk_are_kept_as_they_come(trainer: Trainer) -> None:
    trunk = trainer.model.image_encoder.trunk
    before = [p.detach().clone() for p in trunk.parameters()]
    _train(trainer, 2)
    moved = [not torch.equal(a, b) for a, b in zip(before, trunk.parameters(), strict=True)]
    kept = sum(len(list(part.parameters())) for part in (trunk.stem, *trunk.blocks[:6]))
    assert not any(moved[:kept]) and all(moved[kept:])


def test_clip_art_becomes_things(library: Library, tmp_path: Path) -> None:
    for folder in ("animals", "animals/signs", "shapes"):
        (tmp_path / folder).mkdir(parents=True)
        piece = np.zeros((60, 80, 4), np.uint8)
        cv2.circle(piece, (40, 30), 25, (10, 20, 250, 255), -1)
        cv2.imwrite(str(tmp_path / folder / "one.png"), piece)
    (art,) = data.read_clip_art(tmp_path)
    assert art.shape == (51, 51, 4) and art[25, 25].tolist() == [250, 20, 10, 255]
    with pytest.raises(FileNotFoundError, match="openclipart"):
        data.read_clip_art(tmp_path / "shapes")
    drawn = Library(library.pictures, library.sets, library.videos, clip_art=(art,))
    assert any(not _same(make_clip(drawn, (i,), 64, 2), make_clip(library, (i,), 64, 2))
               for i in range(10))  # fmt: skip


def test_evidence_can_be_left_out_of_a_measurement(library: Library) -> None:
    torch.manual_seed(0)
    model = build_nano(64)
    (sample,) = samples_of(library, 1, 3, size=64)
    full, blind = (follow(model, sample, "mask", without=w) for w in ((), ("carried", "colours")))
    assert torch.equal(full[0][0], blind[0][0])
    assert not torch.equal(full[1][0], blind[1][0])


def test_only_permitted_folders_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*data.PICTURE_SETS, "forbidden"):
        for part in ("images", "masks"):
            (tmp_path / "train" / name / part).mkdir(parents=True)
        for i in range(3):
            here = tmp_path / "train" / name
            cv2.imwrite(str(here / "images" / f"{i}.jpg"), np.full((40, 40, 3), 90, np.uint8))
            cv2.imwrite(str(here / "masks" / f"{i}.png"), np.eye(40, dtype=np.uint8))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    opened: list[Path] = []
    read = data._read
    monkeypatch.setattr(
        data, "_read", lambda path, flags: (opened.append(path), read(path, flags))[1]
    )
    monkeypatch.setattr(data, "read_video", lambda path: np.zeros((2, 8, 8, 3), np.uint8))
    loaded = load_library(tmp_path, "train")
    assert len(loaded.pictures) == 4
    assert {p.relative_to(tmp_path).parts[1] for p in opened} == set(data.PICTURE_SETS)


def test_the_splits_share_no_picture() -> None:
    paths = [Path(f"{i}.jpg") for i in range(100)]
    train, held_out = data._split(paths, "train"), data._split(paths, "validation")
    assert not set(train) & set(held_out)
    assert len(train) + len(held_out) == 100


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data"):
        load_library(tmp_path, "train")


def test_a_folder_of_true_masks_gives_one_object_per_colour(tmp_path: Path) -> None:
    for name in ("frames", "masks"):
        (tmp_path / name).mkdir()
    mask = np.zeros((30, 40, 3), np.uint8)
    mask[5:10, 5:10], mask[20:25, 20:30] = (0, 0, 128), (0, 128, 0)
    cv2.imwrite(str(tmp_path / "frames" / "0.jpg"), np.zeros((30, 40, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "masks" / "0.png"), mask)
    sample = folder_sample(tmp_path)
    assert sorted(sample.masks[0].sum((1, 2)).tolist()) == [25, 50]


def test_iou_of_two_empty_masks_is_one() -> None:
    empty = np.zeros((4, 4), bool)
    assert iou(empty, empty) == 1.0
    assert iou(~empty, empty) == 0.0


def test_the_model_of_another_size_has_the_same_weights() -> None:
    assert build_nano(128).state_dict().keys() == build_nano(256).state_dict().keys()
