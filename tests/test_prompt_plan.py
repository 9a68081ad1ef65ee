"""The plan of prompts: flags and files, joined, ordered, and refused in plain words."""

import json

import numpy as np
import pytest
from PIL import Image

from streamtrack.errors import ConfigError, PromptError, TooManyPoints
from streamtrack.masks import encode_rle
from streamtrack.prompt_plan import check_plan, plan_prompts, read_mask

SQUARE = np.pad(np.ones((4, 4), np.bool_), 3)


def test_a_bare_click_is_foreground_of_object_1_on_frame_0():
    (one,) = plan_prompts(["10,20.5"])
    assert (one.frame, one.prompt.object_id, one.origin) == (0, 1, "--click 10,20.5")
    assert (one.prompt.points, one.prompt.labels) == ([(10.0, 20.5)], [1])


def test_clicks_on_one_object_and_frame_are_one_prompt_in_order():
    (one,) = plan_prompts(["1,2", "3,4,0", "5,6,1"])
    assert one.prompt.points == [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]
    assert one.prompt.labels == [1, 0, 1]


def test_clicks_on_other_objects_or_frames_are_prompts_of_their_own():
    planned = plan_prompts(["1,2,,1,9", "3,4,,2", "5,6"])
    assert [(one.frame, one.prompt.object_id) for one in planned] == [(0, 2), (0, 1), (9, 1)]


def test_a_box_may_have_clicks():
    (one,) = plan_prompts(["5,6,0"], ["1,2,30,40"])
    assert one.prompt.box == [1.0, 2.0, 30.0, 40.0]
    assert one.prompt.points == [(5.0, 6.0)]
    assert one.origin == "--box 1,2,30,40 --click 5,6,0"


def test_a_box_names_object_and_frame():
    (one,) = plan_prompts(boxes=["1,2,3,4,5,6"])
    assert (one.frame, one.prompt.object_id) == (6, 5)


@pytest.mark.parametrize(
    "text",
    ["", "1", "a,b", "nan,1", "inf,1", "1e400,1", "1,2,3", "1,2,-1", "1,2,x", "1,2,1,0",
     "1,2,1,1,-1", "1,2,1,1,1,1", "1,2,1.5"],
)  # fmt: skip
def test_a_wrong_click_shows_the_right_form(text):
    with pytest.raises(ConfigError, match=r"--click .*X,Y\[,LABEL\[,OBJECT\[,FRAME\]\]\]"):
        plan_prompts([text])


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,nan", "1,2,3,4,0", "1,2,3,4,1,1,1"])
def test_a_wrong_box_shows_the_right_form(text):
    with pytest.raises(ConfigError, match=r"--box .*X0,Y0,X1,Y1"):
        plan_prompts(boxes=[text])


def test_two_boxes_on_one_object_contradict():
    with pytest.raises(ConfigError, match="give the second another OBJECT or FRAME"):
        plan_prompts(boxes=["1,2,3,4", "5,6,7,8"])


def test_a_mask_with_a_click_contradicts(tmp_path):
    Image.fromarray(SQUARE).save(tmp_path / "m.png")
    with pytest.raises(ConfigError, match="same object on the same frame"):
        plan_prompts(["1,2"], masks=[str(tmp_path / "m.png")])


@pytest.mark.parametrize(("suffix", "place"), [("", (1, 0)), ("=3", (3, 0)), ("=,7", (1, 7)),
                                               ("=3,7", (3, 7))])  # fmt: skip
def test_a_mask_names_object_and_frame_after_an_equals_sign(tmp_path, suffix, place):
    Image.fromarray(SQUARE).save(tmp_path / "m.png")
    (one,) = plan_prompts(masks=[f"{tmp_path / 'm.png'}{suffix}"])
    assert (one.prompt.object_id, one.frame) == place
    assert np.array_equal(one.prompt.mask, SQUARE)


def test_a_mask_file_may_have_an_equals_sign_in_its_name(tmp_path):
    Image.fromarray(SQUARE).save(tmp_path / "m=3", format="PNG")
    assert plan_prompts(masks=[str(tmp_path / "m=3")])[0].prompt.object_id == 1


@pytest.mark.parametrize("suffix", ["=0", "=1,2,3"])
def test_a_wrong_suffix_shows_the_right_form(tmp_path, suffix):
    Image.fromarray(SQUARE).save(tmp_path / "m.png")
    with pytest.raises(ConfigError, match=r"PNG\[=OBJECT\[,FRAME\]\]"):
        plan_prompts(masks=[f"{tmp_path / 'm.png'}{suffix}"])


def grey(value):
    return Image.fromarray(SQUARE.astype(np.uint8) * value)


def coloured():
    return Image.fromarray(np.where(SQUARE, 200, 0)[..., None].repeat(3, 2).astype(np.uint8))


def cut_out():
    picture = grey(0).convert("RGBA")
    picture.putalpha(grey(255))
    return picture


def palette():
    picture = Image.fromarray(SQUARE.astype(np.uint8), mode=None).convert("P")
    picture.putpalette([0, 0, 0, 128, 0, 0])
    return picture


@pytest.mark.parametrize("picture", [Image.fromarray(SQUARE), grey(255), grey(1), coloured(),
                                     coloured().convert("RGBA"), cut_out(), palette()])  # fmt: skip
def test_a_mask_picture_may_have_any_usual_form(tmp_path, picture):
    picture.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), SQUARE)


def test_an_unusable_mask_is_refused(tmp_path):
    path = tmp_path / "m.png"
    with pytest.raises(ConfigError, match="No such file"):
        read_mask(path)
    path.write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="not a picture"):
        read_mask(path)
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ConfigError, match="damaged|not a picture"):
        read_mask(path)
    Image.new("L", (8, 8)).save(path)
    with pytest.raises(ConfigError, match="is empty"):
        read_mask(path)
    Image.new("1", (8193, 1), 1).save(path)
    with pytest.raises(ConfigError, match="larger than 8192"):
        read_mask(path)


def write_lines(path, *lines):
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return path


def test_a_prompt_file_has_one_prompt_per_line(tmp_path):
    file = write_lines(
        tmp_path / "p.jsonl",
        {"frame": 5, "object": 2, "points": [[1, 2], [3, 4.5]], "labels": [1, 0]},
        "",
        {"box": [1, 2, 3, 4]},
        {"object": 3, "mask": encode_rle(SQUARE)},
    )
    box, mask, points = plan_prompts(file=file)
    assert (box.frame, box.prompt.object_id, box.prompt.box) == (0, 1, [1, 2, 3, 4])
    assert np.array_equal(mask.prompt.mask, SQUARE)
    assert (points.frame, points.prompt.object_id) == (5, 2)
    assert points.origin == f"{file}, line 1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("[1]", "a line must be a JSON object"),
        ({"x": 1}, "the key x is unknown; known are frame, object, points"),
        ({"points": [[1]]}, "points.0"),
        ('{"points": [[1, NaN]]}', "points.0.1: input should be a finite number"),
        ({"points": "all"}, "points"),
        ({"labels": [2], "points": [[1, 2]]}, "labels.0"),
        ({"object": 0}, "object"),
        ({"frame": -1}, "frame"),
        ({"frame": True}, "frame"),
        ({"box": [1, 2, 3]}, "box"),
        ({"mask": {"size": [2, 2], "counts": "PP"}}, "not a COCO string"),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(tmp_path, line, said):
    file = write_lines(tmp_path / "p.jsonl", {"points": [[1, 2]]}, line)
    with pytest.raises(ConfigError) as caught:
        plan_prompts(file=file)
    assert str(caught.value).startswith(f"{file}, line 2: ")
    assert said in str(caught.value)


def test_a_line_that_repeats_object_and_frame_names_both_places(tmp_path):
    file = write_lines(tmp_path / "p.jsonl", {"points": [[1, 2]]}, {"box": [1, 2, 3, 4]})
    with pytest.raises(ConfigError, match=r"line 2: .* frame 0 already .*line 1"):
        plan_prompts(file=file)
    write_lines(file, {"points": [[1, 2]]})
    with pytest.raises(ConfigError, match=r"line 1: .* already \(--click 1,2\)"):
        plan_prompts(["1,2"], file=file)


def test_a_prompt_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        plan_prompts(file=tmp_path / "none")
    (tmp_path / "p").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        plan_prompts(file=tmp_path / "p")


def test_the_whole_plan_is_checked_against_the_frame_size():
    check_plan(plan_prompts(["5,5", "6,6,0,1,9"]), (10, 20))
    with pytest.raises(PromptError, match=r"^--click 25,5,,2,9: The point \(25, 5\) lies outside"):
        check_plan(plan_prompts(["5,5", "25,5,,2,9"]), (10, 20))
    with pytest.raises(TooManyPoints, match="--click 1,1 --click 1,1"):
        check_plan(plan_prompts(["1,1"] * 17), (10, 20))
