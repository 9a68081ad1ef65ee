"""The memory bank keeps what SAM 2 can read and nothing else."""

import pytest
import torch

from streamtrack.tracking.memory import UNDO_DEPTH, FrameMemory, MemoryBank, spread


def memory(value: float = 0.0) -> FrameMemory:
    return FrameMemory(
        torch.full((1, 4, 2, 2), value, dtype=torch.bfloat16),
        torch.full((1, 8), value, dtype=torch.float32),
    )


def filled(frames: int, prompted: tuple[int, ...] = (0,)) -> MemoryBank:
    bank = MemoryBank()
    for index in range(frames):
        bank.add(index, memory(index))
        if index in prompted:
            bank.add_prompted(index, memory(index))
    return bank


def test_a_view_reads_six_masks_and_fifteen_pointers_beside_the_prompted_frame() -> None:
    view = filled(40).view(40)
    assert [ago for ago, _ in view.features] == [0, 6, 5, 4, 3, 2, 1]
    assert [ago for ago, _ in view.pointers] == [40, *range(1, 16)]
    assert [float(f.max()) for _, f in view.features] == [0, 34, 35, 36, 37, 38, 39]


def test_missing_frames_are_skipped_not_padded() -> None:
    bank = filled(3)
    bank.add(5, memory(5))
    assert [ago for ago, _ in bank.view(6).features] == [0, 5, 4, 1]


def test_frames_on_which_the_object_is_lost_do_not_count() -> None:
    bank = MemoryBank(mask_memories=4, pointers=0)
    bank.add_prompted(0, memory(0))
    for index in range(1, 6):
        bank.add(index, memory(index))
    steady = bank.state_bytes
    for index in range(6, 200):
        bank.add(index, FrameMemory(None, torch.zeros(1, 8), lost=True))
    view = bank.copy().view(200)
    assert [ago for ago, _ in view.features] == [0, 4, 3, 2, 1]
    assert [float(f.max()) for _, f in view.features] == [0, 2, 3, 4, 5]
    assert bank.state_bytes == steady + 32  # the newest lost frame's pointer
    bank.add(200, memory(200))
    assert [float(f.max()) for _, f in bank.view(201).features] == [0, 3, 4, 5, 200]
    assert bank.state_bytes == steady


AGES = (1, 5, 9, 13)


def spaced(frames: int) -> MemoryBank:
    """A bank that reads memories further apart, its first frame prompted."""
    bank = MemoryBank(mask_memories=4, pointers=0, ages=AGES)
    bank.add_prompted(0, memory(0))
    for index in range(1, frames):
        bank.add(index, memory(index))
    return bank


def read(bank: MemoryBank, index: int) -> list[tuple[int, float]]:
    """Slots and values of what a bank reads."""
    return [(slot, float(f.max())) for slot, f in bank.view(index).features]


def test_memories_may_be_read_further_apart() -> None:
    bank = spaced(40)
    assert read(bank, 40) == [(0, 0), (4, 27), (3, 31), (2, 35), (1, 39)]
    assert read(bank.copy(), 40) == read(bank, 40)
    steady = bank.state_bytes
    for index in range(40, 200):
        bank.add(index, memory())
    assert bank.state_bytes == steady


def test_a_young_object_reads_as_many_memories_as_it_has() -> None:
    assert read(spaced(1), 1) == [(0, 0)]
    assert read(spaced(4), 4) == [(0, 0), (3, 1), (2, 2), (1, 3)]
    assert read(spaced(8), 8) == [(0, 0), (4, 1), (3, 3), (2, 6), (1, 7)]


def test_memories_further_apart_outlast_an_absence() -> None:
    bank = spaced(40)
    for index in range(40, 90):
        bank.add(index, FrameMemory(None, torch.zeros(1, 8), lost=True))
    assert [value for _, value in read(bank, 90)] == [0, 27, 31, 35, 39]


@pytest.mark.parametrize(
    ("ages", "chosen"),
    [
        ([], []),
        ([3], [3]),
        ([1, 2, 3], [1, 2, 3]),
        (list(range(1, 8)), [1, 2, 5, 7]),
        (list(range(1, 40)), [1, 5, 9, 13]),
        ([2, 4, 6, 8, 10, 12], [2, 4, 8, 12]),
        ([14, 20], []),
        ([13, 14], [13]),
    ],
)
def test_what_is_missing_is_made_up_from_the_newest(ages: list[int], chosen: list[int]) -> None:
    assert spread(ages, AGES) == chosen


def test_the_bank_stops_growing() -> None:
    bank = filled(25)
    steady = bank.state_bytes
    for index in range(25, 500):
        bank.add(index, memory())
    assert bank.state_bytes == steady


def test_the_bank_stops_growing_when_every_frame_is_prompted() -> None:
    bank = filled(40, prompted=tuple(range(40)))
    steady = bank.state_bytes
    for index in range(40, 120):
        bank.add(index, memory())
        bank.add_prompted(index, memory())
    assert bank.state_bytes == steady
    assert bank.prompted_frames == (115, 116, 117, 118, 119)


def test_only_the_four_newest_prompted_frames_are_attended_as_prompted() -> None:
    view = filled(60, prompted=(0, 10, 20, 30, 40, 50)).view(60)
    assert [float(f.max()) for ago, f in view.features if ago == 0] == [50, 40, 30, 20]


def test_an_unselected_prompted_frame_inside_the_window_reads_as_ordinary_memory() -> None:
    view = filled(10, prompted=(2, 4, 6, 7, 8, 9)).view(10)
    ordinary = {ago: float(f.max()) for ago, f in view.features if ago}
    assert ordinary == {6: 4, 5: 5}


def test_undo_restores_the_frame_as_it_was_before_the_correction() -> None:
    bank = filled(10)
    before = bank.view(10)
    bank.add_prompted(9, memory(99))
    assert bank.undo()
    after = bank.view(10)
    assert [float(f.max()) for _, f in after.features] == [
        float(f.max()) for _, f in before.features
    ]


def test_undo_drops_what_was_learned_from_the_correction() -> None:
    bank = filled(10, prompted=(0, 6))
    assert bank.undo()
    assert [float(f.max()) for _, f in bank.view(10).features] == [0, 4, 5, 6]


def test_undo_of_a_second_prompt_on_one_frame_keeps_the_first() -> None:
    bank = filled(1)
    bank.add_prompted(0, memory(7))
    assert bank.undo()
    assert float(bank.view(1).features[0][1].max()) == 0


def test_undo_of_the_only_prompt_says_that_nothing_is_left() -> None:
    assert not filled(5).undo()


@pytest.mark.parametrize("prompts", [UNDO_DEPTH, UNDO_DEPTH + 5])
def test_prompts_on_one_frame_are_kept_to_a_bound(prompts: int) -> None:
    bank = filled(1)
    for value in range(prompts + 1):
        bank.add_prompted(0, memory(value))
    one = memory()
    assert one.features is not None
    size = one.features.numel() * 2 + one.pointer.numel() * 4
    # the prompted memory, the earlier ones, and the ordinary one they replaced
    assert bank.state_bytes == size * (1 + UNDO_DEPTH + 1)
