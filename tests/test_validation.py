"""Each wrong prompt is refused with its own sentence."""

import numpy as np
import pytest

from streamtrack.errors import PromptError, TooManyPoints, UnknownObject
from streamtrack.tracking.prompts import Prompt
from streamtrack.tracking.validation import check_prompt

SIZE = (100, 200)
INSIDE = [[10.0, 20.0]]


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        (Prompt(), PromptError, "was given nothing"),
        (Prompt(points=INSIDE, mask=np.ones(SIZE)), PromptError, "points and mask"),
        (Prompt(box=[0, 0, 5, 5], mask=np.ones(SIZE)), PromptError, "box and mask"),
        (Prompt(points=[[200.5, 3]]), PromptError, "outside the 200x100 frame"),
        (Prompt(points=[[-1, 3]]), PromptError, "outside"),
        (Prompt(points=[[float("nan"), 3]]), PromptError, "not finite"),
        (Prompt(points=[[float("inf"), 3]]), PromptError, "not finite"),
        (Prompt(points=[["a", "b"]]), PromptError, "not numbers"),
        (Prompt(points=[1, 2]), PromptError, "shape (2,)"),
        (Prompt(points=np.zeros((0, 2))), PromptError, "shape (0, 2)"),
        (Prompt(points=INSIDE * 17), TooManyPoints, "17 points"),
        (Prompt(points=INSIDE, labels=[1, 0]), PromptError, "labels of shape (2,)"),
        (Prompt(points=INSIDE, labels=[2]), PromptError, "label 2"),
        (Prompt(points=INSIDE, labels=[0]), PromptError, "background points only"),
        (Prompt(box=[0, 0, 5, 5], labels=[1]), PromptError, "without points"),
        (Prompt(box=[5, 5, 5, 9]), PromptError, "is empty"),
        (Prompt(box=[9, 5, 5, 9]), PromptError, "is empty"),
        (Prompt(box=[0, 0, 201, 9]), PromptError, "reaches outside"),
        (Prompt(box=[0, 0, 9]), PromptError, "x0, y0, x1, y1"),
        (Prompt(mask=np.zeros(SIZE, bool)), PromptError, "mask is empty"),
        (Prompt(mask=np.ones((5, 5), bool)), PromptError, "100 rows by 200 columns"),
        (Prompt(object_id=0, points=INSIDE), UnknownObject, "from 1"),
        (Prompt(object_id=-3, points=INSIDE), UnknownObject, "from 1"),
        (Prompt(object_id=True, points=INSIDE), UnknownObject, "from 1"),
    ],
)
def test_a_wrong_prompt_is_refused(prompt: Prompt, error: type[PromptError], says: str) -> None:
    with pytest.raises(error) as caught:
        check_prompt(prompt, SIZE, known=())
    assert type(caught.value) is error
    assert says in str(caught.value)


def test_background_points_may_refine_a_known_object() -> None:
    checked = check_prompt(Prompt(3, points=INSIDE, labels=[0]), SIZE, known={3})
    assert checked.labels.tolist() == [0]


def test_a_box_with_points_puts_the_corners_first() -> None:
    checked = check_prompt(Prompt(box=[1, 2, 30, 40], points=INSIDE, labels=[0]), SIZE, known=())
    assert checked.points.tolist() == [[1, 2], [30, 40], [10, 20]]
    assert checked.labels.tolist() == [2, 3, 0]


def test_the_frame_edge_is_inside() -> None:
    checked = check_prompt(Prompt(box=[0, 0, 200, 100]), SIZE, known=())
    assert checked.has_box
