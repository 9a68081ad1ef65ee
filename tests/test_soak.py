"""For a long time: state and process do not grow, and frames are accounted for."""

import asyncio
import gc
import os
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from streamtrack.tracking.nano import build_nano
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.segmenter import Segmenter
from streamtrack.tracking.tracker import Tracker
from tests.browser.server import Server
from tests.soak_server import IN_FLIGHT, SOURCE, report, soak

FRAMES = 10_000
WARM_UP = 2_000
SERVER_GROWTH_LIMIT_MIB = 120
"""Of three minutes, by what the allocator keeps of viewers, encoders and prompts that come and go
(4 to 74 were seen); a leak of one memory a frame would be 400."""
GROWTH_LIMIT_MIB = 16  # noise of the allocator; a leak of one memory a frame would be gigabytes


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_frames_with_three_objects_use_constant_memory() -> None:
    torch.manual_seed(0)
    stream = Tracker(Segmenter(build_nano(image_size=64)), model="random").open()
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(16)]
    prompts = [Prompt(i, box=[8 * i, 8, 8 * i + 20, 40]) for i in (1, 2, 3)]
    process = psutil.Process()
    sizes, resident = set(), 0
    for index in range(FRAMES):
        corrections = [Prompt(1 + index // 100 % 3, points=[[30, 30]])] if index % 100 == 0 else []
        stream.step(pictures[index % 16], prompts if index == 0 else corrections)
        if index == WARM_UP:
            gc.collect()
            resident = process.memory_info().rss
        if index > WARM_UP and index % 100 == 99:
            sizes.add(stream.state_bytes)
    gc.collect()
    assert stream.object_ids == (1, 2, 3)
    assert (process.memory_info().rss - resident) / 2**20 < GROWTH_LIMIT_MIB
    assert max(sizes) - min(sizes) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_busy_server_neither_grows_nor_loses_count_of_frames(tmp_path: Path) -> None:
    server = Server(SOURCE, tmp_path / "server.log")
    server.start()
    try:
        readings = asyncio.run(soak(server, float(os.environ.get("STREAMTRACK_SOAK_S", "180"))))
    finally:
        server.stop()
    told = report(readings)
    assert readings.viewers_seen > 10 and readings.shown > 500, told
    assert max(readings.unaccounted) <= IN_FLIGHT and min(readings.unaccounted) >= 0, told
    assert readings.growth_mib() < SERVER_GROWTH_LIMIT_MIB, told
    assert readings.rise(readings.threads) <= 6 and readings.rise(readings.files) <= 12, told
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log, log
