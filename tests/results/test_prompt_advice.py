"""Doubtful prompts are named, good ones are not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from surgsam2.prompts import Prompt
from surgsam2.results.prompt_advice import advise
from tests.conftest import disc

WIDTH, HEIGHT = 200, 150


def a_frame() -> np.ndarray:
    """A bright disc on black, as an endoscope gives it."""
    frame = np.full((HEIGHT, WIDTH, 3), 3, np.uint8)
    frame[disc(WIDTH, HEIGHT, 100, 75, 70)] = (170, 90, 80)
    return frame


def specks() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x in range(40, 160, 20):
        mask[70:76, x : x + 6] = True
    return mask


OBJECT = disc(WIDTH, HEIGHT, 100, 75, 25)
BOX = [74.5, 49.5, 125.5, 100.5]


@pytest.mark.parametrize(
    ("parts", "mask", "text"),
    [
        ({"points": [[5, 5]], "labels": [1]}, OBJECT, r"the point \[5, 5\] is on black"),
        ({"points": [[100, 75]], "labels": [1]}, OBJECT & False, "gave no mask"),
        ({"points": [[100, 75]], "labels": [1]}, specks(), "consists of 6 parts, .* has 17%"),
        ({"box": [20, 20, 180, 130]}, disc(WIDTH, HEIGHT, 100, 75, 15), "fills 4% of its box"),
        ({"box": BOX}, disc(WIDTH, HEIGHT, 100, 75, 60), "of the mask lies outside its box"),
    ],
)
def test_doubts(parts: dict[str, Any], mask: np.ndarray, text: str) -> None:
    (found,) = advise(a_frame(), Prompt(0, **parts), mask)
    assert re.search(text, found), found


@pytest.mark.parametrize(
    "parts",
    [
        {"points": [[100, 75]], "labels": [1]},
        {"points": [[100, 75], [5, 5]], "labels": [1, 0]},
        {"box": BOX},
        {"mask": specks()},
        {"mask": OBJECT},
    ],
)
def test_no_doubt(parts: dict[str, Any]) -> None:
    assert advise(a_frame(), Prompt(0, **parts), parts.get("mask", OBJECT)) == []
