"""A recording is a whole MP4 with the right pictures, times and colours, or none at all."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from streamtrack.errors import ConfigError, SourceError, StreamtrackError
from streamtrack.media.recorder import Recorder
from streamtrack.media.sources import open_source
from tests.clips import PATCHES, patches, quarters


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (96, 54), (33, 64)])
def test_pictures_come_back_in_their_colours(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "out.mp4"
    with Recorder(path, size) as recorder:
        for _ in range(5):
            recorder.write(patches(*size))
    frames = list(open_source(str(path)))
    assert len(frames) == recorder.written == 5
    assert frames[0].size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert np.abs(quarters(frames[0].picture) - PATCHES).max() <= 8


def test_a_recording_lasts_as_long_as_its_rate_says(tmp_path: Path) -> None:
    with Recorder(tmp_path / "out.mp4", (64, 64), fps=29.97) as recorder:
        for _ in range(30):
            recorder.write(patches(64, 64))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(30 / 29.97, abs=0.01)


def test_pictures_are_shown_at_the_times_that_were_given(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 0.5, 0.4, 1.0]
    with Recorder(tmp_path / "out.mp4", (64, 64)) as recorder:
        for time_s in times:
            recorder.write(patches(64, 64), time_s)
    shown = [
        float(frame.pts * frame.time_base)
        for frame in open_source(str(tmp_path / "out.mp4"))
        if frame.pts is not None and frame.time_base is not None
    ]
    assert shown == pytest.approx([0.0, 0.1, 0.5, 0.5, 0.5, 1.0], abs=0.001)
    assert shown == sorted(set(shown))


def test_a_picture_of_another_shape_is_fitted_without_stretching(tmp_path: Path) -> None:
    with Recorder(tmp_path / "out.mp4", (64, 64)) as recorder:
        for _ in range(3):
            recorder.write(np.full((100, 200, 3), 200, np.uint8))
    picture = next(iter(open_source(str(tmp_path / "out.mp4")))).picture
    light = picture[:, 32, 0] > 100
    assert abs(int(light.sum()) - 32) <= 2
    assert light[32] and not light[8] and not light[-8]


def test_players_can_start_before_they_have_the_whole_file(tmp_path: Path) -> None:
    with Recorder(tmp_path / "out.mp4", (64, 64)) as recorder:
        recorder.write(patches(64, 64))
    content = (tmp_path / "out.mp4").read_bytes()
    first = struct.unpack(">I", content[:4])[0]
    assert content[first + 4 : first + 8] == b"moov"


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    recorder = Recorder(path, (64, 64))
    recorder.write(patches(64, 64))
    assert not path.exists()
    recorder.close()
    recorder.close()
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_what_was_recorded_before_an_error_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Recorder(tmp_path / "out.mp4", (64, 64)) as recorder:
        recorder.write(patches(64, 64))
        raise RuntimeError("the tracker broke")
    assert len(list(open_source(str(tmp_path / "out.mp4")))) == 1


def test_without_pictures_there_is_no_file_but_a_sentence(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mp4", (64, 64))
    with pytest.raises(SourceError, match=r"no picture to record.*out\.mp4"):
        recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_discarded_recording_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mp4", (64, 64))
    recorder.write(patches(64, 64))
    recorder.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/out.mp4", "out.avi", "out", "folder.mp4"])
def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ConfigError, match="recording"):
        Recorder(tmp_path / name, (64, 64))
    assert [file.name for file in tmp_path.iterdir()] == ["folder.mp4"]


def test_a_file_that_cannot_be_finished_is_said_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    recorder = Recorder(folder / "out.mp4", (64, 64))
    recorder.write(patches(64, 64))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(StreamtrackError, match=r"Writing .*out\.mp4 failed"):
        recorder.close()
