"""What all tests share."""

from pathlib import Path

import pytest
import torch

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def one_thread_for_torch() -> None:
    """Small models gain nothing from more, and beside a busy neighbour they lose a lot."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips and labelled sequences; tests that want them are marked `data`."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is not here; real clips are needed")
    return SHARED_DATA
