"""Scribbles and lassos drawn with the mouse, through Slicer's real displayable manager."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import slicer

from surgsam2.errors import PromptError
from surgsam2.prompts import mask_inside
from tests.extension.conftest import HEIGHT, WIDTH
from tests.extension.test_placing import User, user, view  # noqa: F401 - fixtures
from tests.extension.test_widget import clip, panel  # noqa: F401 - fixtures
from tests.slicer_host.host import SlicerHost

TRIANGLE = ((30, 30), (70, 30), (50, 80))


def points(user: User, frame: int = 0) -> Any:
    """Return the points of object 1 on a frame, rows of x, y, label."""
    return user.panel.logic.session.clicks(1, frame)


def outline_of(*corners: tuple[float, float]) -> list[tuple[float, float]]:
    """Return places of the mouse along an outline, 10 on each side, to where it began."""
    ends = np.array([*corners, corners[0]], float)
    parts = [np.linspace(a, b, 10, endpoint=False) for a, b in itertools.pairwise(ends)]
    return [tuple(place) for place in np.concatenate([*parts, ends[-1:]])]


def curves_shown() -> int:
    """Return the number of points of all curves in the scene."""
    nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")
    return sum(node.GetNumberOfDefinedControlPoints() for node in nodes)


def is_alike(mask: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two masks differ by less than a view's resolution allows."""
    return float((mask & other).sum() / (mask | other).sum()) > 0.93


def test_a_scribble_becomes_points(user: User) -> None:
    user.press("scribbleButton")
    user.drag((40, 60), (50, 60), (60, 60), (70, 60))
    rows = points(user)
    np.testing.assert_allclose(rows[:, :2], [(x, 60) for x in (43, 49, 55, 61, 67)], atol=1)
    assert (rows[:, 2] == 1).all()
    assert user.panel.logic.getMask(1, 0)[60, 50], "live preview"
    assert curves_shown() == 0
    assert user.panel.ui.scribbleButton.checked, "the next drag is another scribble"
    user.drag((60, 30), (60, 90))
    assert len(points(user)) == 13, "five points and the most that one scribble gives"


def test_a_scribble_on_what_is_not_the_object(user: User) -> None:
    user.press("positiveButton")
    user.click(50, 60)
    user.press("notScribbleButton")
    user.drag((20, 20), (25, 20), (30, 20))
    rows = points(user)
    assert rows[:, 2].tolist() == [1, 0, 0]
    user.press("undoButton")
    user.wait()
    assert points(user)[:, 2].tolist() == [1], "one step for the whole scribble"
    user.press("redoButton")
    user.wait()
    assert points(user)[:, 2].tolist() == [1, 0, 0]


def test_a_scribble_outside_alone_is_refused(user: User, slicer_app: SlicerHost) -> None:
    user.press("notScribbleButton")
    user.drag((20, 20), (60, 20))
    assert "all points are negative" in slicer_app.dialogs.texts.pop()
    assert not len(points(user))
    assert curves_shown() == 0


def test_a_scribble_may_leave_the_picture(user: User, slicer_app: SlicerHost) -> None:
    user.press("scribbleButton")
    user.drag((150, 60), (170, 60), (150, 70))
    assert points(user)[:, 0].max() < WIDTH - 0.5
    user.drag((170, 20), (170, 30))
    assert "lies outside the 160 x 120 frame" in slicer_app.dialogs.texts.pop()


def test_a_scribble_of_clicks(user: User) -> None:
    user.press("scribbleButton")
    user.click(40, 60)
    user.click(60, 60)
    assert not len(points(user)), "it is not complete"
    user.double_click(60, 80)
    assert len(points(user)) == 7
    assert not user.panel.ui.scribbleButton.checked


def test_a_click_of_an_unsteady_hand_is_no_drag(user: User) -> None:
    user.press("lassoButton")
    for x, y in TRIANGLE:
        user.drag((x, y), (x + 1, y), (x, y))
    assert user.panel.logic.session.prompts.get(1, 0) is None, "it is not complete"
    user.double_click(40, 60)
    assert user.panel.logic.session.prompts.get(1, 0).mask[40, 50]


def test_a_drag_that_moves_the_picture_draws_nothing(user: User) -> None:
    user.press("scribbleButton")
    user.drag((40, 60), (50, 60), (60, 60), shift=True)
    assert not len(points(user))


def test_a_scribble_corrects_a_tracked_mask(user: User) -> None:
    logic = user.panel.logic
    logic.addPoint(1, 50, 60, frame=0)
    logic.track(wait=True)
    logic.session.video.current_frame = 4
    user.press("notScribbleButton")
    user.drag((30, 20), (60, 20))
    assert logic.session.prompts.get(1, 4).mask is not None, "a corrected mask"
    assert (points(user, 4)[:, 2] == 0).all()


def test_a_lasso_becomes_the_mask(user: User) -> None:
    user.press("lassoButton")
    user.drag(*outline_of(*TRIANGLE))
    mask = user.panel.logic.session.prompts.get(1, 0).mask
    assert is_alike(mask, mask_inside(TRIANGLE, WIDTH, HEIGHT))
    np.testing.assert_array_equal(user.panel.logic.getMask(1, 0), mask)
    assert not user.panel.ui.lassoButton.checked
    assert curves_shown() == 0
    user.press("undoButton")
    user.wait()
    assert user.panel.logic.session.prompts.get(1, 0) is None
    assert not user.panel.logic.getMask(1, 0).any()


@pytest.mark.parametrize("end", ["right click", "double click"])
def test_a_lasso_of_clicks(user: User, end: str) -> None:
    user.press("lassoButton")
    for corner in TRIANGLE[:2]:
        user.click(*corner)
    if end == "double click":
        user.double_click(*TRIANGLE[2])
    else:
        user.click(*TRIANGLE[2])
        user.right_click(60, 60)
    mask = user.panel.logic.session.prompts.get(1, 0).mask
    assert is_alike(mask, mask_inside(TRIANGLE, WIDTH, HEIGHT))


def test_a_lasso_that_is_given_up(user: User, slicer_app: SlicerHost) -> None:
    user.press("lassoButton")
    user.click(30, 30)
    user.right_click(60, 60)
    assert user.panel.logic.session.prompts.get(1, 0) is None
    assert not slicer_app.dialogs.texts
    user.press("lassoButton")
    user.click(30, 30)
    user.press("positiveButton")
    assert curves_shown() == 0
    user.click(50, 60)
    assert len(points(user)) == 1


def test_a_lasso_while_tracking_and_during_a_refresh(user: User) -> None:
    user.press("positiveButton")
    user.click(50, 60)
    user.press("trackButton")
    user.panel.logic.session.video.current_frame = 5
    user.press("lassoButton")
    user.click(*TRIANGLE[0], wait=False)
    user.panel.logic.processEvents()
    user.panel.context.refresh()
    user.click(*TRIANGLE[1], wait=False)
    user.panel.context.refresh()
    user.double_click(*TRIANGLE[2])
    mask = user.panel.logic.session.prompts.get(1, 5).mask
    assert is_alike(mask, mask_inside(TRIANGLE, WIDTH, HEIGHT))


def test_no_node_of_slicer_s_own_is_left(user: User) -> None:
    for name in ("scribbleButton", "lassoButton"):
        user.press(name)
        user.drag(*outline_of(*TRIANGLE))
        user.press(name)
        user.double_click(20, 20)
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")}
    assert names == {"Scribble on the object", "Lasso"}


def test_the_console(logic: Any) -> None:
    logic.addScribble(1, [[40, 60], [70, 60]], frame=2)
    logic.addScribble(1, [[10, 10], [14, 10]], positive=False, frame=2)
    assert logic.session.clicks(1, 2)[:, 2].tolist() == [1, 1, 1, 1, 1, 0]
    logic.setLasso(1, TRIANGLE, frame=3)
    np.testing.assert_array_equal(logic.getMask(1, 3), mask_inside(TRIANGLE, WIDTH, HEIGHT))
    with pytest.raises(PromptError, match="encloses no pixel"):
        logic.setLasso(1, [[300, 300], [310, 300], [305, 310]], frame=3)
    assert logic.undo()
    assert not logic.getMask(1, 3).any()
    logic.lockObject(1)
    with pytest.raises(Exception, match="is locked"):
        logic.addScribble(1, [[40, 60], [70, 60]], frame=2)
