"""Checkpoints: safe loading, telling which model it is, and plain words for bad files."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from streamtrack.errors import CheckpointError
from streamtrack.tracking import checkpoints
from streamtrack.tracking.checkpoints import (
    download,
    identify,
    infer_model,
    load_state_dict,
    verify_checkpoint,
)
from tests.checkpoint_files import entry_for, small_state, write_checkpoint


def test_an_official_file_gives_its_tensors(tmp_path):
    state = load_state_dict(write_checkpoint(tmp_path / "a.pt"))
    assert state.keys() == small_state().keys()
    assert all(torch.equal(state[key], value) for key, value in small_state().items())


def test_a_file_of_an_old_torch_is_read_too(tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"model": small_state()}, path, _use_new_zipfile_serialization=False)
    assert load_state_dict(path).keys() == small_state().keys()


def test_a_safetensors_file_is_told_by_its_content(tmp_path):
    save_file(small_state(), tmp_path / "a.bin")
    assert load_state_dict(tmp_path / "a.bin").keys() == small_state().keys()


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"model": Attack()}, tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Attack()))
    for name in ("zip.pt", "bare.pt"):
        with pytest.raises(CheckpointError, match="it was not run"):
            load_state_dict(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_truncated_file_is_called_truncated(tmp_path, kind, fraction):
    path = tmp_path / f"a.{kind}"
    write_checkpoint(path) if kind == "pt" else save_file(small_state(), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_state_dict(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>not found</html>", "a web page"),
        (b"\n <html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"hello", "neither a PyTorch file nor safetensors"),
        (b"\x07noise!\0\0", "neither"),
        (b"PK\x03\x04", "damaged"),
        (b"\x80\x02", "damaged"),
        (b"\xff" * 8 + b"{}", "damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_described(tmp_path, content, said):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^[^\n]*{said}[^\n]*\.$"):
        load_state_dict(path)


@pytest.mark.parametrize(
    "content",
    [{}, [], {"model": None}, {"model": {}}, {"model": {"a": 1}}, {"state": {"a": torch.ones(1)}}],
)
def test_a_file_of_another_structure_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="official SAM 2"):
        load_state_dict(tmp_path / "a.pt")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_state_dict(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="directory"):
        load_state_dict(tmp_path)


@pytest.mark.parametrize("size", ["tiny", "small", "base+", "large"])
def test_size_and_family_are_inferred(size):
    assert infer_model(small_state(size)) == f"sam2.1-{size}"
    assert infer_model(small_state(size, newer=False)) == f"sam2-{size}"


def test_other_tensors_are_of_no_known_model():
    assert infer_model({}) is None
    assert infer_model({"weight": torch.ones(1)}) is None
    assert infer_model(small_state() | {"image_encoder.trunk.blocks.99.x": torch.ones(1)}) is None
    patch = "image_encoder.trunk.patch_embed.proj.weight"
    assert infer_model({patch: torch.tensor(1.0)}) is None


def test_the_embedded_model_is_recognised_and_counted():
    from streamtrack.tracking.nano import build_nano

    model, entry = build_nano(), checkpoints.registry()["nano"]
    assert infer_model(model.state_dict()) == "nano"
    assert sum(parameter.numel() for parameter in model.parameters()) == entry.parameters
    assert len(model.state_dict()) == entry.keys


def test_the_embedded_weights_are_whole_where_they_ship():
    path = checkpoints.find_checkpoint("nano")
    if path is None:
        pytest.skip("the embedded weights are not in this checkout")
    verify_checkpoint(path, checkpoints.registry()["nano"])
    assert path.stat().st_size == pytest.approx(
        checkpoints.registry()["nano"].approx_bytes, rel=0.1
    )


def test_a_checkpoint_of_another_model_says_what_it_holds():
    assert identify(small_state(), "a.pt") == "sam2.1-tiny"
    assert identify(small_state(), "a.pt", "sam2.1-tiny") == "sam2.1-tiny"
    with pytest.raises(CheckpointError, match=r"a\.pt holds sam2\.1-tiny, not sam2\.1-large"):
        identify(small_state(), "a.pt", "sam2.1-large")
    with pytest.raises(CheckpointError, match="no model known"):
        identify({"a": torch.ones(1)}, "a.pt")
    with pytest.raises(CheckpointError, match="There is no model 'x'"):
        identify(small_state(), "a.pt", "x")


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tmp_path):
    state = small_state()
    verify_checkpoint(write_checkpoint(tmp_path / "a.pt"), entry_for())
    state["image_encoder.trunk.blocks.0.norm1.weight"] = torch.ones(2)
    with pytest.raises(CheckpointError, match="get it again"):
        verify_checkpoint(write_checkpoint(tmp_path / "b.pt", state), entry_for())


def test_the_embedded_model_is_never_downloaded(tmp_path):
    found = checkpoints.find_checkpoint("nano")
    if found is None:
        with pytest.raises(CheckpointError, match="install it again"):
            download("nano", directory=tmp_path)
    else:
        assert download("nano", directory=tmp_path) == found
    assert not list(tmp_path.iterdir())


def test_an_unknown_model_cannot_be_downloaded():
    with pytest.raises(CheckpointError, match="There is no model 'resnet'"):
        download("resnet")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2.1-tiny", "sam2-tiny"])
def test_the_registry_counts_what_sam2_builds(tmp_path, name):
    from streamtrack.tracking.official import build_sam2

    entry = checkpoints.registry()[name]
    model = build_sam2(entry.config, image_size=1024)
    verify_checkpoint(write_checkpoint(tmp_path / "full.pt", model.state_dict()), entry)
    assert sum(p.numel() for p in model.parameters()) == entry.parameters
