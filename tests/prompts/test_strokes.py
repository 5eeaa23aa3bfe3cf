"""Points along a scribble, and the mask inside a lasso."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgsam2.errors import PromptError
from surgsam2.prompts import mask_inside, points_along
from surgsam2.prompts.strokes import MOST_POINTS

WIDTH, HEIGHT = 100, 80
numbers = st.floats(-150, 250, width=32)
lines = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=12)


def test_a_long_line_has_evenly_spaced_points() -> None:
    points = points_along([[10, 20], [50, 20], [50, 60]], WIDTH, HEIGHT)
    np.testing.assert_allclose(
        points, [[15, 20], [25, 20], [35, 20], [45, 20], [50, 25], [50, 35], [50, 45], [50, 55]]
    )


def test_a_short_line_has_fewer_points_and_a_click_has_one() -> None:
    assert points_along([[10, 20], [12, 20]], WIDTH, HEIGHT).tolist() == [[11, 20]]
    assert points_along([[10, 20], [20, 20]], WIDTH, HEIGHT).shape == (3, 2)
    assert points_along([[10, 20]], WIDTH, HEIGHT).tolist() == [[10, 20]]
    assert points_along([[10, 20]] * 3, WIDTH, HEIGHT).tolist() == [[10, 20]]


def test_what_leaves_the_frame_is_cut_off() -> None:
    points = points_along([[90, 40], [300, 40], [300, 50], [90, 50]], WIDTH, HEIGHT)
    assert points[:, 0].max() < WIDTH - 0.5
    assert set(points[:, 1]) == {40, 50}, "both parts inside the frame have points"
    crossing = points_along([[-50, 40], [150, 40]], WIDTH, HEIGHT)
    np.testing.assert_allclose(crossing[[0, -1], 0], [5.75, 93.25])


@given(line=lines)
def test_points_are_few_inside_the_frame_and_on_the_line(line: list[tuple[float, float]]) -> None:
    try:
        points = points_along(line, WIDTH, HEIGHT)
    except PromptError:
        return
    assert 1 <= len(points) <= MOST_POINTS
    assert (points >= -0.5).all()
    assert (points < [WIDTH - 0.5, HEIGHT - 0.5]).all()
    dense = np.concatenate([np.linspace(a, b, 2000) for a, b in itertools.pairwise(line)])
    distance = np.linalg.norm(points[:, None] - dense[None], axis=2).min(axis=1)
    assert distance.max() < 0.3


def test_a_rectangle_and_its_pixel_centres() -> None:
    mask = mask_inside([[9.5, 19.5], [30.5, 19.5], [30.5, 40.5], [9.5, 40.5]], WIDTH, HEIGHT)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:41, 10:31] = True
    np.testing.assert_array_equal(mask, expected)


@given(outline=lines)
def test_the_mask_is_what_the_outline_turns_around(outline: list[tuple[float, float]]) -> None:
    try:
        mask = mask_inside(outline, WIDTH, HEIGHT)
    except PromptError:
        mask = np.zeros((HEIGHT, WIDTH), bool)
    corners = np.array(outline, np.float64)
    for x, y in ((0, 0), (37, 21), (50, 40), (99, 79)):
        way = corners - [x, y]
        angles = np.arctan2(way[:, 1], way[:, 0])
        steps = np.diff(np.append(angles, angles[0]))
        steps = (steps + np.pi) % (2 * np.pi) - np.pi
        if np.abs(np.abs(steps) - np.pi).min() < 1e-3 or np.linalg.norm(way, axis=1).min() < 1e-3:
            continue  # the pixel's centre lies on the outline
        assert mask[y, x] == (round(steps.sum() / (2 * np.pi)) != 0)


def test_an_end_that_runs_over_the_beginning_leaves_no_hole() -> None:
    angles = np.linspace(0, 2.3 * np.pi, 80)
    circle = np.column_stack([50 + 20 * np.cos(angles), 40 + 20 * np.sin(angles)])
    mask = mask_inside(circle, WIDTH, HEIGHT)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    assert mask[np.hypot(rows - 40, columns - 50) < 19.5].all()
    assert not mask[np.hypot(rows - 40, columns - 50) > 20].any()


@pytest.mark.parametrize(
    ("make", "line", "message"),
    [
        (points_along, [[200, 20], [300, 20]], "lies outside the 100 x 80 frame"),
        (points_along, np.zeros((0, 2)), "at least 1 rows of x, y in pixels, got .* shape"),
        (points_along, [[1, 2, 3]], "shape .1, 3."),
        (points_along, [[1, float("nan")]], "no finite numbers"),
        (points_along, [["a", "b"]], "must be rows of x, y in pixels: could not convert"),
        (mask_inside, [[200, 20], [300, 20], [300, 50]], "encloses no pixel of the 100 x 80"),
        (mask_inside, [[10, 20], [30, 20]], "at least 3 rows"),
        (mask_inside, [[10, 20], [30, 20], [50, 20]], "encloses no pixel"),
        (mask_inside, [[10, 20], [30, float("inf")], [50, 20]], "no finite numbers"),
    ],
)
def test_lines_that_cannot_be_used(make, line, message) -> None:
    with pytest.raises(PromptError, match=message):
        make(line, WIDTH, HEIGHT)
