"""Masks: run-length encoding against pycocotools, hostile strings, boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from streamtrack.masks import MAX_SIDE_PX, decode_rle, encode_rle, mask_box

masks = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(masks)
def test_a_mask_survives_encoding_and_decoding(mask):
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@given(masks)
def test_decoding_agrees_with_pycocotools(mask):
    rle = encode_rle(mask)
    reference = coco.decode({"size": rle["size"], "counts": rle["counts"].encode()})
    assert np.array_equal(decode_rle(rle), reference.astype(bool))


def test_a_noisy_full_size_mask_survives():
    mask = np.random.default_rng(1).random((721, 1283)) < 0.5
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


def test_the_longest_possible_runs_survive():
    mask = np.zeros((MAX_SIDE_PX, MAX_SIDE_PX), np.bool_)
    mask[-1, -1] = True
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


@given(masks)
def test_the_box_is_the_tightest(mask):
    box = mask_box(mask)
    if box is None:
        assert not mask.any()
    else:
        x0, y0, x1, y1 = box
        inside = mask[y0:y1, x0:x1]
        assert inside.sum() == mask.sum()
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


@given(st.text(max_size=30), st.integers(1, 12), st.integers(1, 12))
def test_any_string_decodes_to_its_size_or_is_refused(counts, height, width):
    try:
        mask = decode_rle({"size": [height, width], "counts": counts})
    except ValueError as error:
        assert str(error).endswith(".")
    else:
        assert mask.shape == (height, width)


@given(st.text(alphabet=[chr(48 + code) for code in range(64)], max_size=30))
def test_any_string_of_the_right_letters_decodes_or_is_refused(counts):
    try:
        assert decode_rle({"size": [3, 4], "counts": counts}).shape == (3, 4)
    except ValueError as error:
        assert "run-length" in str(error)


GOOD = encode_rle(np.eye(3, 4, dtype=np.bool_))


@pytest.mark.parametrize(
    "rle",
    [
        None,
        [],
        "text",
        {},
        {"size": [3, 4]},
        {"counts": "1"},
        GOOD | {"size": None},
        GOOD | {"size": [3]},
        GOOD | {"size": [3, 4, 1]},
        GOOD | {"size": [0, 4]},
        GOOD | {"size": [-3, -4]},
        GOOD | {"size": [3.0, 4.0]},
        GOOD | {"size": [True, 12]},
        GOOD | {"size": ["3", "4"]},
        GOOD | {"size": [4, 4]},
        GOOD | {"size": [2**40, 2**40]},
        GOOD | {"size": [MAX_SIDE_PX + 1, 1]},
        GOOD | {"counts": None},
        GOOD | {"counts": b"123"},
        GOOD | {"counts": [12]},
        GOOD | {"counts": ""},
        GOOD | {"counts": "P"},
        GOOD | {"counts": "\x00"},
        GOOD | {"counts": "é"},
        GOOD | {"counts": "oooooooooooooooo0"},
        GOOD | {"counts": "0" * 100},
        GOOD | {"counts": "3" * 10**6},
        GOOD | {"counts": "<O<"},
    ],
)
def test_a_hostile_encoding_is_refused_with_one_sentence(rle):
    with pytest.raises(ValueError, match=r"^[A-Z][^\n]*\.$"):
        decode_rle(rle)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (0, 4), (4, 0), (1, MAX_SIDE_PX + 1)])
def test_a_mask_of_the_wrong_shape_is_not_encoded(shape):
    with pytest.raises(ValueError):
        encode_rle(np.zeros(shape, np.bool_))
