"""The registry of models, the cache directory, and which model is chosen."""

import subprocess
import sys
from pathlib import Path

import pytest

from streamtrack.errors import CheckpointError
from streamtrack.tracking.registry import (
    best_model,
    cache_dir,
    find_checkpoint,
    fit,
    local_models,
    model_entry,
    registry,
)

OFFICIAL = {f"{family}-{size}" for family in ("sam2", "sam2.1") for size in
            ("tiny", "small", "base+", "large")}  # fmt: skip
GIB = 2**30


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMTRACK_CACHE", str(tmp_path))
    return tmp_path


def test_the_eight_official_models_and_the_embedded_one_are_known():
    assert registry().keys() == OFFICIAL | {"nano"}
    assert next(iter(registry())) == "nano"


@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_an_official_model_has_a_configuration_of_the_sam2_package(name):
    import sam2

    entry = registry()[name]
    assert (Path(sam2.__file__).parent / entry.config).is_file()
    assert entry.url.startswith("https://dl.fbaipublicfiles.com/segment_anything_2/")
    assert entry.url.endswith(f"/{entry.file}")


def test_the_registry_needs_no_torch():
    code = "import sys; from streamtrack.tracking.registry import registry as r; r(); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(CheckpointError, match=r"'sam2.1-tinny'; did you mean sam2.1-tiny\?"):
        model_entry("sam2.1-tinny")
    with pytest.raises(CheckpointError, match="known are nano"):
        model_entry("yolo")


def test_the_cache_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMTRACK_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("STREAMTRACK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "streamtrack"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "streamtrack"


def test_a_model_is_here_once_its_file_is_in_the_cache(empty_cache):
    assert find_checkpoint("sam2.1-tiny") is None
    (empty_cache / "sam2.1_hiera_tiny.pt").write_bytes(b"x")
    assert find_checkpoint("sam2.1-tiny") == empty_cache / "sam2.1_hiera_tiny.pt"
    assert "sam2.1-tiny" in local_models()


def test_a_cpu_gets_the_embedded_model_and_hears_of_a_better_one():
    name, why = best_model("cpu", ["nano", "sam2.1-small"])
    assert name == "nano"
    assert "--model sam2.1-small" in why
    assert "streamtrack download" in best_model("cpu", ["nano"])[1]


def test_a_cpu_without_the_embedded_model_gets_the_smallest():
    assert best_model("cpu", ["sam2-large", "sam2.1-tiny"])[0] == "sam2.1-tiny"


def test_cuda_gets_the_best_local_model():
    name, why = best_model("cuda", ["nano", "sam2.1-tiny", "sam2-large"])
    assert name == "sam2.1-tiny"
    assert "streamtrack download sam2.1-large" in why
    assert best_model("cuda:0", registry())[0] == "sam2.1-large"


def test_cuda_gets_no_model_that_does_not_fit_its_memory():
    assert best_model("cuda", registry(), 2 * GIB)[0] == "sam2.1-base+"
    assert fit(registry()["sam2.1-large"], "cuda", 2 * GIB) == "too large"


def test_no_usable_model_is_an_error_that_says_what_to_do():
    with pytest.raises(CheckpointError, match="streamtrack download sam2.1-tiny"):
        best_model("cpu", [])
