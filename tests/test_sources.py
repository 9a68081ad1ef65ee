"""Sources are understood as people write them, and give upright pictures in true colours."""

import threading
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.error import FFmpegError
from av.video.reformatter import Colorspace

from streamtrack.errors import ConfigError, SourceError, SourceUnavailable
from streamtrack.media.address import Address
from streamtrack.media.demo_source import DemoSettings, DemoSource, parse_demo
from streamtrack.media.devices import explain_webcam, list_devices, webcam
from streamtrack.media.folder import FolderSource
from streamtrack.media.pacing import Pacer
from streamtrack.media.sources import open_source, parse_source, slug, video_file
from tests.clips import PATCHES, patches, quarters, write_clip

CANARY = "hunter2"


def upright_clip(tmp_path: Path, name: str = "clip.mp4") -> Path:
    return write_clip(tmp_path / name, [patches(64, 96)] * 6)


# --- what people write -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stream_id", "kind"),
    [
        ("demo", "demo", "demo"),
        ("demo:seed=3,size=640x480", "demo", "demo"),
        ("0", "cam0", "webcam"),
        ("/dev/video2", "cam2", "webcam"),
        ("webcam:FaceTime HD", "facetime-hd", "webcam"),
        ("porch=1", "porch", "webcam"),
        ("rtsp://u:p@10.0.0.7/Front Door", "front-door", "rtsp"),
        ("rtsp://10.0.0.7/Front%20Door/", "front-door", "rtsp"),
        ("rtsp://10.0.0.7:554", "10-0-0-7", "rtsp"),
        ("rtsp://10.0.0.7/live?channel=1", "live", "rtsp"),
        ("RTSPS://cam.local/a/b", "b", "rtsp"),
        ("gate=rtsp://10.0.0.7/live?channel=1", "gate", "rtsp"),
        ("a-b_9=demo:seed=1", "a-b_9", "demo"),
    ],
)
def test_a_source_is_understood(text: str, stream_id: str, kind: str) -> None:
    spec = parse_source(text)
    assert (spec.id, spec.kind) == (stream_id, kind)


def test_files_and_folders_are_named_after_themselves(tmp_path: Path) -> None:
    (tmp_path / "My Clip.mp4").touch()
    assert parse_source(str(tmp_path / "My Clip.mp4")).id == "my-clip"
    (tmp_path / "Some Frames").mkdir()
    spec = parse_source(f"x={tmp_path / 'Some Frames'}")
    assert (spec.id, spec.kind) == ("x", "folder")


def test_an_existing_file_with_an_equals_sign_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b.mp4").touch()
    assert (parse_source("a=b.mp4").kind, parse_source("a=b.mp4").id) == ("file", "a-b")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ConfigError, "empty source"),
        ("  ", ConfigError, "empty source"),
        ("x=", ConfigError, "empty source"),
        ("Front Door=0", ConfigError, "id 'Front Door'"),
        ("=0", ConfigError, "id ''"),
        ("-x=0", ConfigError, "id '-x'"),
        (f"{'a' * 65}=0", ConfigError, "1 to 64"),
        ("http://example.com/x.mp4", ConfigError, "http://"),
        ("exec://sh", ConfigError, "exec://"),
        ("rtsp://", ConfigError, "USER:PASSWORD"),
        ("rtsp://host:99999/x", ConfigError, "USER:PASSWORD"),
        ("demo:speed=1", ConfigError, "demo:seed="),
        ("demo:size=9x9", ConfigError, "demo:seed="),
        ("demo:size=9999x99", ConfigError, "sides"),
        ("demo:objects=0", ConfigError, "objects"),
        ("demo:fps=0", ConfigError, "fps"),
        ("no/such/film.mp4", SourceError, "no/such/film.mp4"),
        ("x=no/such/film.mp4", SourceError, "no/such/film.mp4"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        open_source(text)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Front Door", "front-door"), ("Größe 2", "grosse-2"), ("猫", "source"), ("--", "source")],
)
def test_a_slug_is_a_valid_id(name: str, expected: str) -> None:
    assert slug(name) == expected
    assert len(slug(name * 50)) <= 64


# --- credentials ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"rtsp://user:{CANARY}@host/live",
        f"rtsp://{CANARY}@host/live",
        f"rtsp://host/live?password={CANARY}",
        f"rtsp://host/user=admin&password={CANARY}&channel=1.sdp",
        f"rtsp://user:x@host:554/{CANARY}@y",
    ],
)
def test_credentials_of_an_address_are_never_shown(url: str) -> None:
    spec = parse_source(url)
    source = open_source(spec)
    shown = [str(spec), repr(spec), spec.description, spec.id, source.description]
    shown += [str(Address(url)), repr(Address(url)), repr(vars(source))]
    assert not [text for text in shown if CANARY in text]
    assert Address(url).reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        f"rtsp://user:12/{CANARY}@host/live",
        f"rtsp://user:{CANARY}#x@host/live",
        f"rtsp://user:12?{CANARY}@host/live",
        f"rtsp://user:{CANARY}@",
        f"x{CANARY}://host",
    ],
)
def test_a_broken_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(url)
    assert CANARY not in str(caught.value) or url.startswith("x")


# --- video files ----------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", [Colorspace.ITU601, Colorspace.ITU709])
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_true_whatever_coding_the_file_names(
    tmp_path: Path, matrix: Colorspace, full: bool
) -> None:
    clip = write_clip(tmp_path / "a.mp4", [patches(64, 96)] * 2, matrix=matrix, full=full)
    frame = next(iter(open_source(str(clip))))
    assert np.abs(quarters(frame.picture) - PATCHES).max() <= 8


@pytest.mark.parametrize(
    ("size", "matrix"), [((64, 96), Colorspace.ITU601), ((720, 1280), Colorspace.ITU709)]
)
def test_colours_are_guessed_by_size_when_the_file_names_no_coding(
    tmp_path: Path, size: tuple[int, int], matrix: Colorspace
) -> None:
    clip = write_clip(tmp_path / "a.mp4", [patches(*size)], matrix=matrix, tagged=False)
    frame = next(iter(open_source(str(clip))))
    assert np.abs(quarters(frame.picture) - PATCHES).max() <= 8


def test_motion_jpeg_has_true_colours_at_any_size(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "a.avi",
        [patches(720, 1280)],
        codec="mjpeg",
        pix_fmt="yuvj420p",
        full=True,
        tagged=False,
    )
    frame = next(iter(open_source(str(clip))))
    assert np.abs(quarters(frame.picture) - PATCHES).max() <= 8


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_films_of_a_turned_phone_are_upright(tmp_path: Path, rotation: int, turns: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", [patches(64, 96)] * 2, rotation=rotation)
    frame = next(iter(open_source(str(clip))))
    expected = np.rot90(patches(64, 96), turns)
    assert frame.size == expected.shape[:2]
    assert np.abs(quarters(frame.picture) - quarters(expected)).max() <= 8
    assert frame.picture.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm", "clip.avi", "clip.ts", "clip.mov"])
def test_any_container_is_read(tmp_path: Path, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    clip = write_clip(tmp_path / name, [patches(64, 96)] * 6, codec=codec)
    assert len(list(open_source(str(clip)))) == 6


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", [patches(65, 97)] * 2, pix_fmt="yuv444p")
    assert next(iter(open_source(str(clip)))).size == (65, 97)


def test_uneven_times_are_passed_on(tmp_path: Path) -> None:
    times = [0, 40, 500, 540, 2000]
    clip = write_clip(tmp_path / "a.mkv", [patches(64, 96)] * 5, times=times)
    source = open_source(str(clip))
    frames = list(source)
    shown = [frame.pts * frame.time_base for frame in frames if frame.pts and frame.time_base]
    assert shown == [Fraction(time, 1000) for time in times[1:]]
    assert all(frame.epoch == 0 for frame in frames)


def test_the_rate_is_known_once_the_file_is_open(tmp_path: Path) -> None:
    source = open_source(str(upright_clip(tmp_path)))
    assert source.fps is None and not source.live
    next(iter(source))
    assert source.fps == pytest.approx(25)


def test_a_looped_file_begins_again(tmp_path: Path) -> None:
    source = open_source(str(upright_clip(tmp_path)), loop=True)
    assert len(list(islice(source, 20))) == 20


def test_a_closed_source_ends(tmp_path: Path) -> None:
    source = open_source(str(upright_clip(tmp_path)), loop=True)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []
    assert list(source.frames()) == []


def test_a_file_name_is_never_taken_for_a_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    upright_clip(tmp_path, "concat:a|b.mp4")
    assert len(list(open_source("concat:a|b.mp4"))) == 6


@pytest.mark.parametrize("start", ["#EXTM3U\n#EXTINF:9,\n", "\n\nffconcat version 1.0\n", "<MPD>"])
def test_a_playlist_is_refused_before_it_reaches_out(tmp_path: Path, start: str) -> None:
    (tmp_path / "a.mp4").write_text(f"{start}http://127.0.0.1:9/x.ts\n")
    with pytest.raises(SourceError, match=r"a\.mp4 is a playlist"):
        list(open_source(str(tmp_path / "a.mp4")))


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def test_a_file_without_video_is_refused_in_a_sentence(tmp_path: Path) -> None:
    sound_only(tmp_path / "song.mp4")
    with pytest.raises(SourceError, match=r"no video in .*song\.mp4"):
        list(open_source(str(tmp_path / "song.mp4")))


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(5000)])
def test_what_is_no_video_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.mp4 is damaged or no video") as caught:
        list(open_source(str(tmp_path / "a.mp4")))
    assert not isinstance(caught.value, SourceUnavailable)


def test_a_truncated_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    clip = upright_clip(tmp_path)
    clip.write_bytes(clip.read_bytes()[:400])
    with pytest.raises(SourceError, match=r"clip\.mp4"):
        list(open_source(str(clip)))


def test_damage_in_the_middle_costs_only_the_damaged_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(30)]
    clip = write_clip(tmp_path / "a.ts", pictures)
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    clip.write_bytes(content)
    assert 10 <= len(list(open_source(str(clip)))) <= 30


def test_a_file_that_vanished_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file .*gone\.mp4"):
        list(video_file(tmp_path / "gone.mp4"))


def test_a_size_that_changes_begins_a_new_epoch(tmp_path: Path) -> None:
    clips = [
        write_clip(tmp_path / f"{side}.ts", [patches(side, 96)] * 3).read_bytes()
        for side in (64, 80)
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(clips))
    frames = list(open_source(str(tmp_path / "both.ts")))
    assert [(frame.size, frame.epoch) for frame in (frames[0], frames[-1])] == [
        ((64, 96), 0),
        ((80, 96), 1),
    ]


# --- pacing -----------------------------------------------------------------------------------


class PacedClock(threading.Event):
    """A clock that its own waits move on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 50.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(round(timeout, 6))
        self.now += timeout
        return self.is_set()


MS = Fraction(1, 1000)


def paced(times: list[int | None], *, work_s: float = 0.0, fps: float = 25.0) -> list[float]:
    clock = PacedClock()
    pacer = Pacer(clock, clock)
    pacer.restart(fps)
    due = []
    for time in times:
        assert pacer.wait(time, MS)
        due.append(round(clock.now - 50.0, 6))
        clock.now += work_s
    return due


def test_pictures_are_due_at_their_pts() -> None:
    assert paced([1000, 1040, 1500, 1501]) == [0, 0.04, 0.5, 0.501]


def test_work_between_pictures_does_not_add_up() -> None:
    assert paced([0, 40, 80, 120], work_s=0.03) == [0, 0.04, 0.08, 0.12]


def test_pictures_without_pts_are_due_at_the_rate() -> None:
    assert paced([None, None, None], fps=10) == [0, 0.1, 0.2]


def test_a_cut_in_the_pts_is_not_waited_for() -> None:
    assert paced([0, 40, 900_000, 900_040, 5]) == [0, 0.04, 0.08, 0.12, 0.16]


def test_who_is_late_does_not_hurry_to_catch_up() -> None:
    assert paced([0, 40, 80, 120], work_s=3.0) == [0, 3, 6, 9]


def test_a_paced_file_keeps_time_over_its_end(tmp_path: Path) -> None:
    clock = PacedClock()
    source = video_file(upright_clip(tmp_path), realtime=True, loop=True)
    source._pacer = Pacer(clock, clock)
    list(islice(source, 13))
    assert clock.now - 50.0 == pytest.approx(12 * 0.04, abs=0.01)


def test_a_closed_pacer_does_not_wait() -> None:
    closed = threading.Event()
    closed.set()
    assert not Pacer(closed).wait(0, MS)


# --- folders --------------------------------------------------------------------------------


def save(path: Path, picture: np.ndarray) -> None:
    assert cv2.imwrite(str(path), picture[..., ::-1])


def test_a_folder_is_read_in_natural_order_and_true_colours(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / f"frame{number}.png", np.full((8, 9, 3), number, np.uint8))
    save(tmp_path / "frame2.bmp", patches(8, 9))
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".frame0.png").touch()
    frames = list(open_source(str(tmp_path)))
    assert [int(frame.picture[0, 0, 0]) for frame in frames] == [1, PATCHES[0][0], 9, 10]
    np.testing.assert_array_equal(frames[1].picture, patches(8, 9))
    assert [frame.pts for frame in frames] == [0, 1, 2, 3]


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "png", "webp", "bmp"])
def test_pictures_of_each_kind_are_read(tmp_path: Path, ending: str) -> None:
    save(tmp_path / f"a.{ending}", patches(64, 96))
    (frame,) = open_source(str(tmp_path))
    assert np.abs(quarters(frame.picture) - PATCHES).max() <= 12


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((8, 9), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((8, 9, 4), 7, np.uint8))
    assert [frame.picture.shape for frame in FolderSource(tmp_path)] == [(8, 9, 3)] * 2


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    save(tmp_path / "1.png", patches(8, 9))
    (tmp_path / "2.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(SourceError, match=r"2\.png is damaged"):
        list(FolderSource(tmp_path))


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    save(tmp_path / "1.png", patches(8, 9))
    save(tmp_path / "2.png", patches(8, 10))
    with pytest.raises(SourceError, match=r"2\.png has 10x8 pixels, but 1\.png has 9x8"):
        list(FolderSource(tmp_path))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no picture"):
        list(open_source(str(tmp_path)))


def test_a_folder_can_be_looped_and_closed(tmp_path: Path) -> None:
    save(tmp_path / "1.png", patches(8, 9))
    source = FolderSource(tmp_path, loop=True)
    frames = source.frames()
    assert len(list(islice(frames, 5))) == 5
    source.close()
    assert list(frames) == []


# --- the drawn scene ------------------------------------------------------------------------


def test_the_drawn_scene_takes_options() -> None:
    settings = parse_demo("demo:seed=3,size=640x480,fps=12.5,objects=2")
    assert settings == DemoSettings((480, 640), 12.5, 3, 2)


def test_the_drawn_scene_gives_every_frame_with_its_truth() -> None:
    frames = list(islice(open_source("demo:size=96x64,fps=10,objects=2"), 3))
    assert [frame.pts for frame in frames] == [0, 1, 2]
    assert frames[0].time_base == Fraction(1, 10)
    truth = frames[0].truth
    assert truth is not None and set(np.unique(truth)) == {0, 1, 2}


def test_the_scene_in_real_time_leaves_out_what_is_late() -> None:
    clock = PacedClock()
    source = DemoSource(DemoSettings((64, 96), 10.0), realtime=True, clock=clock)
    source._closed = clock
    frames = source.frames()
    first = next(frames)
    clock.now += 0.55
    late = next(frames)
    assert (first.pts, late.pts, next(frames).pts) == (0, 5, 6)
    assert source.live
    source.close()
    assert list(frames) == []


# --- webcams --------------------------------------------------------------------------------


def test_linux_cameras_are_listed_once_each(tmp_path: Path) -> None:
    for node, index, name in (
        ("video10", "0", "Late"),
        ("video2", "0", "HD Cam"),
        ("video3", "1", "HD Cam"),
    ):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(f"{index}\n")
        (tmp_path / node / "name").write_text(f"{name}\n")
    found = [(device.source, device.name) for device in list_devices("linux", tmp_path)]
    assert found == [("/dev/video2", "HD Cam"), ("/dev/video10", "Late")]


def test_a_computer_without_cameras_lists_none(tmp_path: Path) -> None:
    assert list_devices("linux", tmp_path / "nothing") == []


@pytest.mark.skipif("dshow" in av.formats_available, reason="this PyAV can list Windows cameras")
def test_where_cameras_cannot_be_listed_a_sentence_says_so() -> None:
    with pytest.raises(SourceError, match="cannot list"):
        list_devices("win32")


def test_a_linux_camera_is_asked_for_motion_jpeg_at_falling_rates_first() -> None:
    openings = webcam("0", "linux")._openings
    assert [opening.address for opening in openings] == ["/dev/video0"] * 7
    wanted = [(o.options.get("input_format"), o.options.get("framerate")) for o in openings]
    assert wanted[:4] == [("mjpeg", "30"), ("mjpeg", "25"), ("mjpeg", "15"), (None, "30")]
    assert wanted[-1] == (None, None)


def test_a_macos_camera_is_asked_for_a_rate_and_no_format() -> None:
    openings = webcam("1", "darwin")._openings
    assert {(o.address, o.format) for o in openings} == {("1:none", "avfoundation")}
    assert all(set(opening.options) == {"framerate"} for opening in openings)


def test_a_windows_camera_is_opened_by_its_name() -> None:
    opening = webcam("HD Cam", "win32")._openings[0]
    assert (opening.address, opening.format) == ("video=HD Cam", "dshow")


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (13, SourceError, "not permitted"),
        (2, SourceUnavailable, "There is no webcam /dev/video7"),
        (16, SourceUnavailable, "close other programs"),
    ],
)
def test_what_is_wrong_with_a_webcam_is_said(
    number: int, error: type[SourceError], words: str
) -> None:
    failure: FFmpegError
    try:
        av.error.err_check(-number)
    except FFmpegError as exc:
        failure = exc
    explained = explain_webcam("the webcam /dev/video7", failure)
    assert type(explained) is error
    assert words in str(explained)


def test_a_missing_webcam_is_said() -> None:
    if Path("/dev/video97").exists():
        pytest.skip("this computer has a hundred cameras")
    with pytest.raises(SourceUnavailable, match="no webcam /dev/video97"):
        list(webcam("97", "linux"))
