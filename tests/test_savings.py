"""Approximations: off they change nothing, on they leave out what they say."""

import pytest
import torch

from streamtrack.errors import ConfigError
from streamtrack.tracking.lean_readout import LeanReadout
from streamtrack.tracking.nano import build_nano
from streamtrack.tracking.prompts import Prompt, Tracked
from streamtrack.tracking.savings import Savings
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tokens import ObjectMemory
from streamtrack.tracking.tracker import Tracker
from tests.test_lean import CPU, FLOAT, TINY, build, pictures, play, relative_error


def logits_of(tracked: list[Tracked]) -> torch.Tensor:
    found = [torch.from_numpy(t.objects[1].logits) for t in tracked]
    return torch.stack(found)


def views(savings: Savings, frames: int = 12) -> list[int]:
    """How many frames ago the memories were made that an object reads after `frames` frames."""
    model = build_nano(64)
    model.memory_ages = None  # the newest ones, as SAM 2 reads them
    model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data += 100  # never lost
    stream = Tracker(Segmenter(model, savings=savings), model="nano").open()
    for i, picture in enumerate(pictures(frames)):
        stream.step(picture, [Prompt(1, points=[[50, 40]])] if i == 0 else [])
    followed = stream._objects[1]
    return [ago for ago, _ in followed.bank.view(followed.clock).features]


def test_nothing_is_left_out_unless_it_is_asked_for() -> None:
    assert views(Savings()) == [0, 4, 3, 2, 1]


def test_fewer_memories_are_the_newest_ones() -> None:
    assert views(Savings(mask_memories=2)) == [0, 2, 1]
    assert views(Savings(mask_memories=99)) == [0, 4, 3, 2, 1]


def test_rarer_memories_cover_the_same_time() -> None:
    assert views(Savings(memory_every=2)) == [0, 4, 2]


def test_pooled_memories_change_logits_a_little() -> None:
    model = build(TINY, 128)
    exact, pooled = play(model), play(model, savings=Savings(memory_pooling=2))
    found, expected = logits_of(pooled)[1:], logits_of(exact)[1:]
    assert 0 < relative_error(found, expected) < 0.5


def test_pooling_memories_that_are_alike_changes_nothing() -> None:
    """Where the keys of a square are equal, four of them weigh as much as their mean."""
    model, side = build(TINY, 128), 8
    readouts = [
        LeanReadout(model.memory_attention, side, device=CPU, dtype=FLOAT, pooling=pooling)
        for pooling in (1, 2)
    ]
    for readout in readouts:
        readout._cos, readout._sin = torch.ones(64, 128), torch.zeros(64, 128)
    squares = torch.randn(side // 2, side // 2, 64)
    grid = squares.repeat_interleave(2, 0).repeat_interleave(2, 1).flatten(0, 1)
    memory = ObjectMemory(torch.cat([grid, torch.randn(4, 64)]), torch.zeros(68, 64), 4)
    with torch.inference_mode():
        features, position = torch.randn(64, 256), torch.randn(64, 256)
        exact, pooled = (readout.read(features, position, [memory]) for readout in readouts)
    assert relative_error(pooled, exact) < 1e-5


@pytest.mark.parametrize(
    "values", [{"memory_pooling": 3}, {"mask_memories": 0}, {"memory_every": 0}]
)
def test_values_that_mean_nothing_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        Savings(**values)


def test_a_model_that_cannot_pool_says_so() -> None:
    with pytest.raises(ConfigError, match="cannot pool"):
        Segmenter(build_nano(64), savings=Savings(memory_pooling=2))
