"""J, F and J&F as DAVIS defines them; `streamtrack eval` from folder to table."""

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamtrack.cli import main
from streamtrack.errors import SourceError
from streamtrack.evaluation import (
    find_sequences,
    jaccard,
    outline_f,
    prompt_of,
    score,
)
from streamtrack.media.demo import DemoScene

Mask = NDArray[np.bool_]


def disc(y: float, x: float, radius: float, size: tuple[int, int] = (120, 160)) -> Mask:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def reference_f(found: Mask, true: Mask, bound_share: float = 0.008) -> float:
    """The benchmark's measure told in another way: distances between outline pixels, one by one."""

    def outline(mask: Mask) -> NDArray[np.int64]:
        high, wide = mask.shape
        points = []
        for y in range(high):
            for x in range(wide):
                east = mask[y, x + 1] if x + 1 < wide else mask[y, x]
                south = mask[y + 1, x] if y + 1 < high else mask[y, x]
                both = mask[y + 1, x + 1] if x + 1 < wide and y + 1 < high else None
                here = mask[y, x]
                if y == high - 1 and x == wide - 1:
                    continue
                if y == high - 1:
                    edge = here != east
                elif x == wide - 1:
                    edge = here != south
                else:
                    edge = here != east or here != south or here != both
                if edge:
                    points.append((y, x))
        return np.array(points, np.int64).reshape(-1, 2)

    ours, theirs = outline(found), outline(true)
    if not len(ours) or not len(theirs):
        return float(len(ours) == len(theirs))
    bound = math.ceil(bound_share * math.hypot(*true.shape))
    apart = ((ours[:, None] - theirs[None]) ** 2).sum(-1) <= bound**2
    precision, recall = apart.any(1).mean(), apart.any(0).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


@pytest.mark.parametrize(
    ("found", "true"),
    [
        (disc(60, 80, 30), disc(60, 80, 30)),
        (disc(60, 83, 30), disc(60, 80, 30)),
        (disc(60, 90, 22), disc(60, 80, 30)),
        (disc(5, 5, 20), disc(60, 80, 30)),
        (disc(110, 150, 30), disc(112, 148, 31)),
        (disc(60, 80, 30) & ~disc(60, 80, 15), disc(60, 80, 30)),
        (np.zeros((120, 160), np.bool_), disc(60, 80, 30)),
        (np.zeros((120, 160), np.bool_), np.zeros((120, 160), np.bool_)),
        (np.ones((120, 160), np.bool_), disc(60, 80, 30)),
    ],
)
def test_f_equals_the_benchmarks_own_definition(found: Mask, true: Mask) -> None:
    assert outline_f(found, true) == pytest.approx(reference_f(found, true), abs=1e-9)


def test_j_is_overlap_and_one_for_nothing() -> None:
    nothing = np.zeros((4, 4), np.bool_)
    half = nothing.copy()
    half[:2] = True
    assert jaccard(nothing, nothing) == 1 and jaccard(half, nothing) == 0
    assert jaccard(half, np.ones((4, 4), np.bool_)) == 0.5


def test_the_prompted_frame_does_not_count_and_objects_count_from_their_own() -> None:
    true = [{1: disc(60, 60, 20), 2: disc(60, 120, 20)}] * 4
    off = {1: disc(60, 60, 20), 2: np.zeros((120, 160), np.bool_)}
    found = [{1: disc(5, 5, 3), 2: off[2]}, off, {1: off[1], 2: true[0][2]}, off]
    scores = score(found, true, {1: 0, 2: 2})
    assert scores[1].first < 0.1 and scores[1].j == 1 and scores[1].jf == 1
    assert scores[2].first == 1 and scores[2].j == 0


def test_prompts_stand_for_the_mask() -> None:
    mask = disc(60, 80, 20) & ~disc(50, 70, 15)
    ((x, y),) = np.asarray(prompt_of(mask, 3, "click").points)
    assert mask[int(y), int(x)] and prompt_of(mask, 3, "mask").object_id == 3
    x0, y0, x1, y1 = np.asarray(prompt_of(mask, 3, "box").box)
    rows, columns = np.nonzero(mask)
    assert (x0, x1, y0, y1) == (columns.min(), columns.max(), rows.min(), rows.max())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short sequences of the drawn scene, one in each known layout."""
    root = tmp_path_factory.mktemp("dataset")
    scene = DemoScene((120, 161), seed=3)
    layouts = ((root / "one/frames", root / "one/masks"),)
    layouts += ((root / "JPEGImages/480p/two", root / "Annotations/480p/two"),)
    for offset, (frames, masks) in enumerate(layouts):
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index in range(8):
            picture, truth = scene.draw(60 * offset + index)
            cv2.imwrite(str(frames / f"{index:05}.jpg"), picture[..., ::-1])
            cv2.imwrite(str(masks / f"{index:05}.png"), np.where(truth == 1, 255, 40 * truth))
    return root


def test_sequences_are_found_in_every_layout(dataset: Path) -> None:
    assert [one.name for one in find_sequences(dataset)] == ["one", "two"]
    assert [one.name for one in find_sequences(dataset / "one")] == ["one"]
    truth = find_sequences(dataset)[0].truth()
    assert len(truth) == 8 and truth[0] is not None and len(truth[0]) >= 2
    with pytest.raises(SourceError, match="holds no sequence"):
        find_sequences(dataset / "one/frames")
    with pytest.raises(SourceError, match="is no folder"):
        find_sequences(dataset / "nothing")


def test_the_command_prints_a_table_and_writes_json_and_csv(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "scores.json", tmp_path / "scores.csv"]
    flags = ["--json", str(files[0]), "--csv", str(files[1]), "--frames", "6"]
    assert main(["eval", str(dataset), "--model", "nano", *flags]) == 0
    printed = capsys.readouterr().out
    assert "nano from one mask" in printed and "one" in printed and "mean" in printed
    written = json.loads(files[0].read_text())
    assert [one["sequence"] for one in written["sequences"]] == ["one", "two"]
    assert 0.4 < written["mean"]["j"] <= 1 and written["mean"]["first"] > 0.8
    assert written["mean"]["jf"] == pytest.approx((written["mean"]["j"] + written["mean"]["f"]) / 2)
    rows = list(csv.DictReader(files[1].read_text().splitlines()))
    assert [row["sequence"] for row in rows] == ["one", "two", "mean"]
    assert float(rows[2]["j"]) == pytest.approx(written["mean"]["j"])


def test_a_dataset_is_played_on_a_cameras_clock(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "live.json"
    flags = ["--realtime", "10", "--prompt", "box", "--json", str(file)]
    assert main(["eval", str(dataset / "one"), "--model", "nano", *flags]) == 0
    assert "10 frames/s" in capsys.readouterr().out
    mean = json.loads(file.read_text())["mean"]
    assert mean["shown"] > 0.2 and 0 <= mean["stale_j"] <= 1 and mean["j"] > 0.2


@pytest.mark.parametrize(
    ("flags", "status"),
    [(["--realtime", "0"], 2), (["--prompt", "wish"], 2), (["--frames", "1"], 2)],
)
def test_wrong_flags_are_refused_in_one_sentence(
    dataset: Path, flags: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(dataset), "--model", "nano", *flags]) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_sequences_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(tmp_path), "--model", "sam2.1-large"]) == 3
    assert "holds no sequence" in capsys.readouterr().err
