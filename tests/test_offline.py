"""A run without a server: every frame, its exports, its ends and its breaks."""

import dataclasses
import json
import time

import av
import cv2
import numpy as np
import pytest

from streamtrack.errors import ConfigError, PromptError, SourceError, SourceUnavailable
from streamtrack.exports import VideoExport, check_places
from streamtrack.masks import decode_rle, mask_box
from streamtrack.media.frame import Frame
from streamtrack.offline import OfflineRun, RunSettings
from streamtrack.prompt_plan import plan_prompts
from streamtrack.tracking.prompts import Tracked, TrackedObject

SIZE = (48, 64)


class FakeSource:
    """Grey frames; then the end, or an error."""

    live = False
    description = "fake"
    fps: float | None = 25.0

    def __init__(self, count, *, error=None, sizes=(SIZE,)):
        self.count, self.error, self.sizes = count, error, sizes
        self.closed = False

    def frames(self):
        for n in range(self.count):
            size = self.sizes[min(n, len(self.sizes) - 1)]
            picture = np.full((*size, 3), 40 + n, np.uint8)
            yield Frame(picture, time.monotonic(), pts=n * 100)
        if self.error:
            raise self.error

    def __iter__(self):
        return self.frames()

    def close(self):
        self.closed = True


class FakeStream:
    """Objects are squares that stay where they were first prompted; lost on odd frames."""

    def __init__(self):
        self.squares = {}
        self.prompts = []

    def check(self, prompt, size):
        if prompt.box is not None:
            raise PromptError("Boxes are not taken; give a point.")

    def step(self, picture, prompts=()):
        index = len(self.prompts)
        self.prompts.append(list(prompts))
        for prompt in prompts:
            self.squares[prompt.object_id] = np.asarray(prompt.points[0], int)
        objects = {}
        for object_id, (x, y) in self.squares.items():
            mask = np.zeros(picture.shape[:2], np.bool_)
            if index % 2 == 0:
                mask[y : y + 5, x : x + 4] = True
            state = "tracked" if mask.any() else "lost"
            objects[object_id] = TrackedObject(
                object_id, state, mask, np.zeros((4, 4), np.float32), 0.75, 0.5,
                mask_box(mask), int(mask.sum()),
            )  # fmt: skip
        return Tracked(index, objects)


def run(source, stream=None, **settings):
    clicks = settings.pop("clicks", [])
    made = OfflineRun(
        RunSettings(prompts=plan_prompts(clicks), **settings),
        stream or FakeStream(),
        lambda: source,
    )
    made.go()
    return made


def count_frames(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, picture = video.read()
        if not good:
            return frames
        frames.append(picture[:, :, ::-1])


def test_every_frame_is_stepped_once_and_counted():
    source, stream = FakeSource(7), FakeStream()
    done = run(source, stream, clicks=["5,6"])
    assert done.frames == len(stream.prompts) == 7
    assert done.objects == {1}
    assert done.fps > 0
    assert source.closed


def test_a_prompt_is_given_with_its_frame():
    stream = FakeStream()
    run(FakeSource(5), stream, clicks=["5,6,,2,3"])
    assert [len(prompts) for prompts in stream.prompts] == [0, 0, 0, 1, 0]


def test_frames_limits_the_run_and_closes_the_source():
    source = FakeSource(100)
    assert run(source, frames=3).frames == 3
    assert source.closed


def test_masks_are_written_from_the_first_prompt_on(tmp_path):
    run(FakeSource(5), clicks=["5,6", "9,9,,2,3"], masks=tmp_path / "m")
    names = {folder.name: sorted(p.name for p in folder.iterdir())
             for folder in (tmp_path / "m").iterdir()}  # fmt: skip
    assert names == {
        "1": [f"{n:05d}.png" for n in range(5)],
        "2": ["00003.png", "00004.png"],
    }
    mask = cv2.imread(str(tmp_path / "m/1/00000.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == SIZE and set(np.unique(mask)) == {0, 255}
    assert mask_box(mask > 0) == (5, 6, 9, 11)
    assert not cv2.imread(str(tmp_path / "m/1/00001.png"), cv2.IMREAD_UNCHANGED).any()


def test_masks_of_an_earlier_run_do_not_linger(tmp_path):
    run(FakeSource(5), clicks=["5,6"], masks=tmp_path)
    (tmp_path / "1" / "notes.txt").write_text("mine")
    run(FakeSource(2), clicks=["5,6"], masks=tmp_path)
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == [
        "00000.png", "00001.png", "notes.txt",
    ]  # fmt: skip


def test_tracks_have_one_line_per_frame(tmp_path):
    run(FakeSource(3), clicks=["5,6,,4,1"], tracks=tmp_path / "t.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2]
    assert [line["pts"] for line in lines] == [0, 100, 200]
    assert [len(line["objects"]) for line in lines] == [0, 1, 1]
    lost, found = lines[1]["objects"][0], lines[2]["objects"][0]
    assert (lost["id"], lost["state"], lost["box"], lost["area"]) == (4, "lost", None, 0)
    assert not decode_rle(lost["rle"]).any()
    assert (found["state"], found["box"], found["area"]) == ("tracked", [5, 6, 9, 11], 20)
    assert found["score"] == 0.75
    assert mask_box(decode_rle(found["rle"])) == (5, 6, 9, 11)


def test_the_video_shows_the_masks_over_the_frames(tmp_path):
    run(FakeSource(6), clicks=["30,20"], output=tmp_path / "o.mp4")
    frames = count_frames(tmp_path / "o.mp4")
    assert len(frames) == 6 and frames[0].shape[:2] == SIZE
    assert np.ptp(frames[0][20:25, 30:34].mean(axis=(0, 1))) > 20
    assert np.ptp(frames[0][:8, -8:].mean(axis=(0, 1))) < 8


def test_a_source_that_changes_its_size_still_makes_one_video(tmp_path):
    source = FakeSource(4, sizes=[SIZE, SIZE, (24, 32)])
    run(source, output=tmp_path / "o.mp4")
    assert [frame.shape[:2] for frame in count_frames(tmp_path / "o.mp4")] == [SIZE] * 4


def test_in_real_time_the_video_keeps_the_time_of_arrival(tmp_path):
    class Source(FakeSource):
        def frames(self):
            for frame in super().frames():
                yield dataclasses.replace(frame, arrival=2.0 * frame.pts / 100)

    export = VideoExport(tmp_path / "o.mp4", 25.0, timed=True)
    for n, frame in enumerate(Source(3).frames()):
        export.write(n, frame, Tracked(n, {}))
    export.close()
    with av.open(str(tmp_path / "o.mp4")) as video:
        assert [round(frame.time, 3) for frame in video.decode(video=0)] == [0.0, 2.0, 4.0]


def test_what_was_done_stays_when_the_source_breaks(tmp_path):
    source = FakeSource(4, error=SourceUnavailable("The camera went away."))
    with pytest.raises(SourceError, match="went away"):
        run(source, clicks=["5,6"], output=tmp_path / "o.mp4", masks=tmp_path / "m",
            tracks=tmp_path / "t.jsonl")  # fmt: skip
    assert len(count_frames(tmp_path / "o.mp4")) == 4
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 4
    assert len(list((tmp_path / "m" / "1").iterdir())) == 4


def test_what_was_done_stays_when_a_person_interrupts(tmp_path):
    source = FakeSource(10)
    made = OfflineRun(RunSettings(output=tmp_path / "o.mp4"), FakeStream(), lambda: source)

    def interrupt():
        if made.frames == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.go(interrupt)
    assert len(count_frames(tmp_path / "o.mp4")) == 3
    assert source.closed


def test_a_prompt_outside_the_frame_stops_before_anything_is_written(tmp_path):
    with pytest.raises(PromptError, match="--click 500,6,,1,3: The point"):
        run(FakeSource(5), clicks=["500,6,,1,3"], tracks=tmp_path / "t", masks=tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_prompt_the_stream_refuses_is_named():
    planned = plan_prompts(boxes=["1,1,9,9"])
    made = OfflineRun(RunSettings(prompts=planned), FakeStream(), lambda: FakeSource(2))
    with pytest.raises(PromptError, match="--box 1,1,9,9: Boxes are not taken"):
        made.go()


def test_a_prompt_behind_the_limit_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"names frame 5, but only the frames 0 to 4 are taken"):
        RunSettings(prompts=plan_prompts(["1,2,1,1,5"]), frames=5)


def test_a_prompt_behind_the_end_is_said_at_the_end(tmp_path):
    with pytest.raises(ConfigError, match=r"--click 1,2,1,1,9 never came .* after 4 frames"):
        run(FakeSource(4), clicks=["5,6", "1,2,1,1,9"], tracks=tmp_path / "t")
    assert len((tmp_path / "t").read_text().splitlines()) == 4


def test_a_source_without_frames_has_failed():
    with pytest.raises(SourceError, match="no frames"):
        run(FakeSource(0))


def test_in_real_time_the_newest_frame_wins(tmp_path):
    class SlowStream(FakeStream):
        def step(self, picture, prompts=()):
            seen.append(int(picture[0, 0, 0]) - 40)
            while not over and len(seen) == 1:
                time.sleep(0.001)
            return super().step(picture, prompts)

    class Source(FakeSource):
        def frames(self):
            for frame in super().frames():
                yield frame
                while not seen:
                    time.sleep(0.001)
            over.append(True)

    seen, over = [], []
    run(Source(20), SlowStream(), realtime=True)
    assert seen[0] < 19 and seen[-1] == 19
    assert len(seen) < 20


def test_in_real_time_a_source_that_fails_is_an_error():
    source = FakeSource(1, error=SourceError("The camera is broken."))
    with pytest.raises(SourceError, match="The camera is broken"):
        run(source, realtime=True)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (("o.avi", None, None), "ends in .mp4"),
        (("none/o.mp4", None, None), "There is no folder"),
        ((None, "file", None), "is a file"),
        ((None, None, "none/t.jsonl"), "There is no folder"),
        ((None, None, "."), "is a folder"),
    ],
)
def test_places_that_cannot_be_written_are_refused_at_once(tmp_path, places, said):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=said):
        check_places(*(place and tmp_path / place for place in places))


def test_in_real_time_a_camera_that_never_answered_is_an_error():
    source = FakeSource(0, error=SourceUnavailable("The camera does not answer."))
    source.live = True
    with pytest.raises(SourceError, match="does not answer"):
        run(source, realtime=True)


def test_in_real_time_a_camera_that_falls_silent_is_awaited():
    class Camera(FakeSource):
        live = True

    cameras = [Camera(2, error=SourceUnavailable("The camera went away.")), Camera(2)]
    heard = []
    made = OfflineRun(RunSettings(realtime=True), FakeStream(), lambda: cameras.pop(0))

    def until_it_is_back():
        if not cameras:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.go(until_it_is_back, heard.append)
    assert heard[0] == "The camera went away."
