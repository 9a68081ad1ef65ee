"""The command line: exit statuses, one sentence per error, and whole runs."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamtrack import __version__
from streamtrack.cli import main, serve_config
from streamtrack.cli_parser import build_parser
from streamtrack.errors import ConfigError
from streamtrack.masks import decode_rle, mask_box
from streamtrack.media.sources import open_source
from streamtrack.tracking.registry import find_checkpoint, registry
from tests.checkpoint_files import small_state, write_checkpoint

SCENE = "demo:size=160x120,objects=2"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMTRACK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def random_nano(tmp_path_factory):
    """Weights of the embedded model that were never trained."""
    from streamtrack.tracking.nano import build_nano

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file({key: value.contiguous() for key, value in build_nano().state_dict().items()}, path)
    return path


def fails(capsys, *argv):
    """Return exit status and message of a command that fails with one line on stderr."""
    status = main([str(one) for one in argv])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("streamtrack: ") and err.count("\n") == 1 and "Traceback" not in err
    return status, err


def test_version_and_help_are_given(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"streamtrack {__version__}\n"
    for argv in (["--help"], ["run", "--help"], ["serve", "--help"], ["download", "--help"]):
        assert main(argv) == 0
        assert "usage: streamtrack" in capsys.readouterr().out


def test_help_and_wrong_usage_import_nothing_heavy():
    code = (
        "import sys; from streamtrack.cli import main; main(['run', '--help']); main(['x']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'av', 'cv2', 'fastapi')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        ([], 2, "COMMAND"),
        (["fly"], 2, "fly"),
        (["run"], 2, "SOURCE"),
        (["run", "demo", "--nonsense"], 2, "--nonsense"),
        (["run", "demo", "--frames", "0"], 2, "at least 1"),
        (["run", "demo", "--frames", "many"], 2, "'many'"),
        (["run", "demo", "--click", "here"], 2, "--click here"),
        (["run", "demo", "--click", "nan,1"], 2, "--click nan,1"),
        (["run", "demo", "--frames", "3", "--click", "1,1,1,1,3"], 2, "names frame 3"),
        (["run", "demo", "--box", "1,2,3"], 2, "--box 1,2,3"),
        (["run", "demo", "--mask", "none.png"], 2, "none.png"),
        (["run", "demo", "--prompts", "none.jsonl"], 2, "none.jsonl"),
        (["run", "demo", "--output", "out.avi"], 2, ".mp4"),
        (["run", "demo", "--tracks", "none/t.jsonl"], 2, "none"),
        (["run", "demo", "--device", "tpu"], 2, "tpu"),
        (["run", "demo:nonsense=1"], 2, "demo:nonsense=1"),
        (["run", "http://camera/x"], 2, "http"),
        (["run", ""], 2, "empty source"),
        (["run", "nowhere.mp4"], 3, "nowhere.mp4"),
        (["run", "demo", "--model", "yolo"], 4, "'yolo'"),
        (["run", "demo", "--checkpoint", "none.pt"], 4, "none.pt"),
        (["download", "yolo"], 4, "'yolo'"),
        (["serve", "nowhere.mp4"], 3, "nowhere.mp4"),
        (["serve", "demo", "demo"], 2, "the id demo"),
        (["serve", "demo", "--port", "99999"], 2, "server.port"),
        (["serve", "--config", "none.yaml"], 2, "none.yaml"),
        (["serve", "demo", "--model", "yolo"], 4, "'yolo'"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_a_status(capsys, argv, status, said):
    found, err = fails(capsys, *argv)
    assert found == status
    assert said in err


def test_a_checkpoint_that_cannot_be_used_is_status_4(capsys, tmp_path):
    def status_of(content, *more):
        path = tmp_path / "a.pt"
        path.write_bytes(content)
        return fails(capsys, "run", SCENE, "--checkpoint", path, *more)

    whole = write_checkpoint(tmp_path / "b.pt").read_bytes()
    large = write_checkpoint(tmp_path / "c.pt", small_state("large")).read_bytes()
    for content, said in [(b"", "empty"), (b"<html>", "web page"), (whole[:-99], "truncated")]:
        status, err = status_of(content)
        assert status == 4 and said in err
    status, err = status_of(large, "--model", "sam2.1-tiny")
    assert status == 4 and "holds sam2.1-large" in err
    assert status_of(whole)[0] == 4


def test_a_file_that_is_no_video_is_status_3(capsys, tmp_path, random_nano):
    (tmp_path / "a.mp4").write_text("no video")
    status, err = fails(capsys, "run", tmp_path / "a.mp4", "--checkpoint", random_nano,
                        "--click", "1,1")  # fmt: skip
    assert status == 3 and "a.mp4" in err


def test_a_camera_that_is_not_there_is_status_3_without_its_password(capsys, random_nano):
    url = "rtsp://admin:hunter2@127.0.0.1:9/door"
    status, err = fails(capsys, "run", url, "--checkpoint", random_nano, "--click", "1,1")
    assert status == 3
    assert "hunter2" not in err and "admin" not in err


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (["--click", "500,10"], "outside the 160x120 frame"),
        (["--box", "10,10,400,20"], "outside the 160x120 frame"),
        (["--box", "20,20,10,10"], "is empty"),
        (["--click", "5,5,0"], "background points only"),
        (["--click", "5,5"] * 17, "17 points"),
    ],
)
def test_a_prompt_that_cannot_be_applied_is_status_2(capsys, random_nano, prompt, said):
    status, err = fails(capsys, "run", SCENE, "--frames", "3", "--checkpoint", random_nano, *prompt)
    assert status == 2 and said in err and prompt[1] in err


def test_a_mask_of_another_size_is_status_2(capsys, tmp_path, random_nano):
    cv2.imwrite(str(tmp_path / "m.png"), np.full((9, 9), 255, np.uint8))
    argv = ["--checkpoint", random_nano, "--mask", tmp_path / "m.png"]
    status, err = fails(capsys, "run", SCENE, "--frames", "3", *argv)
    assert status == 2 and "m.png" in err


def test_an_unforeseen_error_is_one_sentence_without_its_text(capsys, monkeypatch):
    monkeypatch.setattr("streamtrack.listings.devices_table", lambda: 1 / 0)
    status, err = fails(capsys, "devices")
    assert status == 1
    assert "ZeroDivisionError at test_cli.py" in err and "division by" not in err


def test_a_run_writes_its_exports_and_one_line(capsys, tmp_path, random_nano):
    argv = ["run", SCENE, "--frames", "4", "--click", "80,60", "--click", "20,20,1,2,2"]
    argv += ["--checkpoint", random_nano, "--image-size", "128", "--output", tmp_path / "o.mp4"]
    argv += ["--masks", tmp_path / "m", "--tracks", tmp_path / "t.jsonl"]
    assert main([str(one) for one in argv]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("4 frames in ") and "2 objects, nano on cpu, peak memory" in out
    assert out.count("\n") == 1 and err == ""
    assert sorted(p.name for p in (tmp_path / "m" / "2").iterdir()) == ["00002.png", "00003.png"]
    for line in map(json.loads, (tmp_path / "t.jsonl").read_text().splitlines()):
        for one in line["objects"]:
            path = tmp_path / "m" / str(one["id"]) / f"{line['frame']:05d}.png"
            mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0
            assert np.array_equal(decode_rle(one["rle"]), mask)
            assert one["area"] == mask.sum()


def test_a_run_without_prompts_warns_and_goes_on(capsys, random_nano):
    assert main(["run", SCENE, "--frames", "2", "--checkpoint", str(random_nano)]) == 0
    out, err = capsys.readouterr()
    assert "0 objects" in out
    assert err.startswith("Nothing is followed") and err.count("\n") == 1


def test_a_prompt_behind_the_end_is_status_2_and_keeps_the_exports(capsys, tmp_path, random_nano):
    for n in range(3):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.full((40, 60, 3), 90 + n, np.uint8))
    argv = ["run", tmp_path, "--click", "9,9,1,1,7", "--tracks", tmp_path / "t.jsonl"]
    assert main([str(one) for one in [*argv, "--checkpoint", random_nano]]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("3 frames in ")
    assert "--click 9,9,1,1,7 never came to be applied: the source ended after 3 frames" in err
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_process_keeps_what_it_did(tmp_path, random_nano, number, status):
    tracks, video = tmp_path / "t.jsonl", tmp_path / "o.mp4"
    argv = [sys.executable, "-m", "streamtrack", "run", SCENE, "--click", "80,60",
            "--checkpoint", random_nano, "--tracks", tracks, "--output", video]  # fmt: skip
    process = subprocess.Popen(
        list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (tracks.exists() and tracks.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert "frames in" in out and err == ""
    assert all(json.loads(line) for line in tracks.read_text().splitlines())
    assert cv2.VideoCapture(str(video)).read()[0]


def test_a_run_imports_no_server(tmp_path, random_nano):
    code = (
        "import sys; from streamtrack.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 'fastapi' in sys.modules or 'aiortc' in sys.modules)"
    )
    argv = ["run", SCENE, "--frames", "1", "--click", "9,9", "--checkpoint", str(random_nano)]
    assert subprocess.run([sys.executable, "-c", code, *argv]).returncode == 0


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_environment_says_otherwise(given, found):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    code = "import os, streamtrack.tracking; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == found


def test_a_reader_that_leaves_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "streamtrack", "--version"]
    with os.fdopen(write, "w") as out:
        done = subprocess.run(argv, stdout=out, stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr


def test_models_are_listed_with_what_is_chosen(capsys):
    if find_checkpoint("nano") is None:
        pytest.skip("the embedded weights are not in this checkout")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    for name in registry():
        assert name in out
    assert out.count("chosen") == 1
    assert "streamtrack download" in out


def test_devices_are_listed(capsys):
    assert main(["devices"]) == 0
    assert "--device cpu" in capsys.readouterr().out


def serve_arguments(*argv):
    return build_parser().parse_args(["serve", *argv])


def test_serve_puts_flags_over_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("server: {port: 9000, host: 127.0.0.2}\ntracker: {model: nano}\n"
                    "sources: {a: demo}\n")  # fmt: skip
    config = serve_config(serve_arguments("--config", str(file), "--port", "9001"))
    assert (config.server.port, config.server.host) == (9001, "127.0.0.2")
    assert config.tracker.model == "nano"
    assert list(config.sources) == ["a"]


def test_serve_names_its_sources(tmp_path):
    (tmp_path / "My Clip.mp4").touch()
    argv = ["demo", "door=rtsp://u:p@host/x", str(tmp_path / "My Clip.mp4")]
    sources = serve_config(serve_arguments(*argv)).sources
    assert {name: one.loop for name, one in sources.items()} == {
        "demo": False, "door": False, "my-clip": True,
    }  # fmt: skip
    assert sources["door"].source.get_secret_value() == "rtsp://u:p@host/x"


def test_serve_without_flags_is_the_default_configuration():
    config = serve_config(serve_arguments())
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.tracker.model == "auto" and not config.sources


def test_two_sources_of_one_id_need_names():
    with pytest.raises(ConfigError, match="demo-2=SOURCE"):
        serve_config(serve_arguments("demo", "demo"))


def frames_on_it(masks, truths):
    """Return on how many frames the first object's mask and the truth overlap by half."""
    hits = 0
    for n, truth in enumerate(truths):
        mask = cv2.imread(str(masks / "1" / f"{n:05d}.png"), cv2.IMREAD_UNCHANGED) > 0
        hits += (mask & truth).sum() > 0.5 * (mask | truth).sum()
    return hits


@pytest.mark.slow
@pytest.mark.parametrize("thing", [3, 4])
def test_the_embedded_model_follows_a_clicked_thing_of_the_scene(tmp_path, thing):
    if find_checkpoint("nano") is None:
        pytest.skip("the embedded weights are not in this checkout")
    with contextlib.closing(open_source("demo")) as scene:
        truths = [frame.truth == thing for frame in itertools.islice(scene, 60)]
    depth = cv2.distanceTransform(truths[0].astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    argv = ["run", "demo", "--frames", "60", "--click", f"{x},{y}", "--masks", str(tmp_path)]
    assert main(argv) == 0
    assert frames_on_it(tmp_path, truths) > 30


@pytest.mark.slow
@pytest.mark.data
def test_the_embedded_model_follows_a_boxed_thing_of_a_real_clip(tmp_path, shared_data):
    if find_checkpoint("nano") is None:
        pytest.skip("the embedded weights are not in this checkout")
    clip = shared_data / "davis" / "car-shadow"
    paths = sorted((clip / "masks").iterdir())
    truths = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in paths]
    box = ",".join(map(str, mask_box(truths[0])))
    assert main(["run", str(clip / "frames"), "--box", box, "--masks", str(tmp_path)]) == 0
    assert frames_on_it(tmp_path, truths) > len(truths) / 2
