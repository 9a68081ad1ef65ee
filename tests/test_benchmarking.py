"""`streamtrack bench`: every case is a row, and tuning gives a reason."""

import json
from pathlib import Path

import pytest

from streamtrack.benchmarking import Case, measure, to_json, to_table, tune
from streamtrack.cli import main
from streamtrack.energy import EnergyMeter


def test_a_case_is_measured() -> None:
    row = measure(Case("nano", 64, "float32", objects=2, streams=2), device="cpu", frames=2)
    assert (row.model, row.image_size, row.dtype, row.device) == ("nano", 64, "float32", "cpu")
    assert row.weights == "own" and row.objects == 2 and row.streams == 2
    assert 0 < row.step_ms <= row.step_ms_p95
    assert row.fps > 0 and row.state_mib > 0
    assert to_table([row]).row_count == 1
    assert json.loads(json.dumps(to_json([row], {})))["rows"][0]["objects"] == 2


def test_a_model_without_weights_is_timed_with_random_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamtrack.benchmarking.find_checkpoint", lambda name: None)
    row = measure(Case("sam2.1-tiny", 64, None, objects=1, streams=1), device="cpu", frames=1)
    assert row.weights == "random"


def test_tuning_names_numbers_and_why() -> None:
    found = tune("nano", image_size=64, device="cpu", frames=2)
    assert found.dtype in ("float32", "bfloat16")
    assert "ms a step" in found.why and "%" in found.why


def test_the_command_prints_a_table_and_writes_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "bench.json"
    flags = "--image-size 64 --objects 1 2 --frames 1 --device cpu --json".split()
    assert main(["bench", *flags, str(place)]) == 0
    assert capsys.readouterr().out.count("nano") == 2
    assert [row["objects"] for row in json.loads(place.read_text())["rows"]] == [1, 2]


def test_the_command_tunes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--tune", "--image-size", "64", "--frames", "1"]) == 0
    assert "tracker.dtype: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dtype", "int8"], "use auto, float32 or bfloat16"),
        (["--json", "/nowhere/at/all.json"], "does not exist"),
        (["--model", "nanno"], "nano"),
        (["--objects", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert main(["bench", *flags]) != 0
    assert said in capsys.readouterr().err


def test_energy_is_read_from_the_counters(tmp_path: Path) -> None:
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.parent.mkdir()
    counter.write_text("1000000\n")
    with EnergyMeter("cpu", powercap=tmp_path) as meter:
        counter.write_text("3500000\n")
    assert meter.joules == 2.5


def test_energy_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    with EnergyMeter("cpu", powercap=tmp_path) as meter:
        pass
    assert meter.joules is None
