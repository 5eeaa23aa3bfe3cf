"""The function for CVAT, with requests in the form that CVAT sends."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from surgsam2 import PromptSet, Tracker
from surgsam2.integrations.cvat import handler, init_context
from tests.conftest import REPOSITORY

BOXES = [[20, 30, 90, 100], [60, 20, 140, 80]]


def encoded(frame: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def context(a_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SURGSAM2_MODEL", str(a_bundle))
    monkeypatch.setenv("SURGSAM2_DEVICE", "cpu")
    made = SimpleNamespace(
        user_data=SimpleNamespace(),
        logger=logging.getLogger("nuclio"),
        Response=SimpleNamespace,
    )
    init_context(made)
    return made


def call(context: Any, **body: Any) -> dict[str, Any]:
    response = handler(context, SimpleNamespace(body=body))
    assert response.status_code == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


def test_boxes_are_those_around_the_masks_of_the_tracker(context: Any, a_clip: np.ndarray) -> None:
    model = context.user_data.tracker._model
    height, width = a_clip.shape[1:3]
    prompts = PromptSet()
    for number, box in enumerate(BOXES, 1):
        prompts.add(object_id=number, frame=0, box=box)
    tracker = Tracker(model, width, height)
    answer = call(context, image=encoded(a_clip[0]), shapes=BOXES, states=[])
    assert answer["shapes"] == BOXES
    tracker.step(a_clip[0], prompts)
    for frame in a_clip[1:4]:
        answer = call(context, image=encoded(frame), **answer)
        result = tracker.step(frame)
        for number, box in enumerate(answer["shapes"], 1):
            mask = result.mask(number)
            assert mask.any()
            x0, y0, x1, y1 = (int(v) for v in box)
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert mask[y0].any()
            assert mask[:, x1 - 1].any()


def test_an_object_that_is_added_later(context: Any, a_clip: np.ndarray) -> None:
    first = call(context, image=encoded(a_clip[0]), shapes=BOXES[:1], states=[])
    both = call(
        context, image=encoded(a_clip[1]), shapes=[*first["shapes"], BOXES[1]],
        states=[*first["states"], None],
    )  # fmt: skip
    assert both["shapes"][1] == BOXES[1]
    assert both["states"][0]["tracker"] != both["states"][1]["tracker"]
    assert [s["frame"] for s in both["states"]] == [2, 1]


def test_a_state_that_is_gone_begins_anew_from_its_box(context: Any, a_clip: np.ndarray) -> None:
    first = call(context, image=encoded(a_clip[0]), shapes=BOXES[:1], states=[])
    call(context, image=encoded(a_clip[1]), **first)
    for lost in (first["states"], [{"tracker": "gone", "object": 1, "frame": 1}], [{"a": 1}]):
        again = call(context, image=encoded(a_clip[1]), shapes=BOXES[:1], states=lost)
        assert again["shapes"] == BOXES[:1]
        assert again["states"][0]["frame"] == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"image": "###", "shapes": [], "states": []}, "image is no picture in base64"),
        ({"shapes": [], "states": []}, "image is no picture in base64"),
        ({"shapes": [[1, 2]], "states": []}, "a box must be [x0, y0, x1, y1]"),
        ({"shapes": [[1, 2, None, "a"]], "states": []}, "a box must be [x0, y0, x1, y1]"),
        ({"shapes": [[9, 9, 1, 1]], "states": []}, "is empty or inverted"),
        ({"shapes": "all"}, "shapes and states must be lists"),
    ],
)
def test_requests_that_cannot_be_used(
    context: Any, a_clip: np.ndarray, body: dict[str, Any], message: str
) -> None:
    if "image" not in body and "picture" not in message:
        body = {**body, "image": encoded(a_clip[0])}
    response = handler(context, SimpleNamespace(body=body))
    assert response.status_code == 400
    assert message in response.body


def test_the_entry_point_of_nuclio() -> None:
    text = (REPOSITORY / "deploy" / "cvat" / "main.py").read_text(encoding="utf-8")
    namespace: dict[str, Any] = {}
    exec(compile(text, "main.py", "exec"), namespace)
    assert namespace["handler"] is handler
    assert namespace["init_context"] is init_context
