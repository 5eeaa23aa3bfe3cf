"""Points and boxes placed with the mouse, through Slicer's real displayable manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from tests.extension.test_widget import clip, panel, settle  # noqa: F401 - fixtures
from tests.slicer_host.host import SlicerHost
from tests.slicer_host.slice_view import MouseSliceView, mouse_view


@pytest.fixture
def view(panel: Any, clip: Any, slicer_app: SlicerHost) -> Iterator[MouseSliceView]:
    """The Red view with the clip."""
    from SurgSAM2Lib.panel.views import show_video

    show_video(clip)
    with mouse_view() as made:
        panel.drags.deactivate()  # it observed the view that this one replaces
        panel.drags.activate()
        yield made


class User:
    """A user at the panel: gives pixel coordinates, presses buttons, waits for the result."""

    def __init__(self, panel: Any, view: MouseSliceView, host: SlicerHost) -> None:
        self.panel, self._view, self._host = panel, view, host

    def press(self, name: str) -> None:
        """Press a button of the panel."""
        getattr(self.panel.ui, name).click()
        self._host.process_events()

    def at(self, x: float, y: float) -> Any:
        """Return the world coordinates of a pixel."""
        return self.panel.logic.session.video.ras_of(x, y)

    def click(self, x: float, y: float, wait: bool = True) -> None:
        """Click on a pixel."""
        self._view.click(self.at(x, y))
        if wait:
            self.wait()

    def move(self, x: float, y: float) -> None:
        """Move the mouse over a pixel."""
        self._view.move(self.at(x, y))
        self._host.process_events()

    def right_click(self, x: float, y: float) -> None:
        """Click on a pixel with the right button."""
        self._view.right_click(self.at(x, y))
        self.wait()

    def double_click(self, x: float, y: float) -> None:
        """Click on a pixel twice."""
        self._view.double_click(self.at(x, y))
        self.wait()

    def drag(self, *pixels: tuple[float, float], shift: bool = False) -> None:
        """Drag from the first pixel to the last one."""
        self._view.drag(*(self.at(*pixel) for pixel in pixels), shift=shift)
        self.wait()

    def begin_drag(self, *pixels: tuple[float, float]) -> None:
        """Press the left button at the first pixel and move the mouse over the others."""
        self._view.begin_drag(*(self.at(*pixel) for pixel in pixels))
        self._host.process_events()

    def end_drag(self, x: float, y: float) -> None:
        """Move the mouse to a pixel and release the left button."""
        self._view.end_drag(self.at(x, y))
        self.wait()

    def wait(self) -> None:
        """Wait until nothing is running."""
        self._host.process_events()
        settle(self.panel, self._host)

    def box(self, frame: int = 0) -> Any:
        """Return the box of object 1, rounded to pixels."""
        prompt = self.panel.logic.session.prompts.get(1, frame)
        return None if prompt is None or prompt.box is None else prompt.box.round().tolist()


@pytest.fixture
def user(panel: Any, view: MouseSliceView, slicer_app: SlicerHost) -> User:
    return User(panel, view, slicer_app)


def boxes() -> list[str]:
    """Return the names of all boxes in the scene."""
    return [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")]


def test_points(user: User) -> None:
    user.press("positiveButton")
    user.click(50, 60)
    user.click(60, 64)
    points = user.panel.logic.session.prompts.get(1, 0).points
    np.testing.assert_allclose(points, [[50, 60], [60, 64]], atol=1)
    assert user.panel.logic.getMask(1, 0)[60, 50]


def test_a_first_box(user: User) -> None:
    user.press("boxButton")
    user.click(20, 30)
    user.move(40, 50)
    user.click(60, 80)
    np.testing.assert_allclose(user.box(), [20, 30, 60, 80], atol=1)
    assert not user.panel.ui.boxButton.checked
    assert user.panel.logic.getMask(1, 0)[50, 40]


def test_a_second_box_replaces_the_first_one(user: User) -> None:
    test_a_first_box(user)
    user.press("boxButton")
    user.click(70, 20)
    user.click(110, 90)
    np.testing.assert_allclose(user.box(), [70, 20, 110, 90], atol=1)
    assert boxes() == ["Box"], "Slicer has added a box of its own"


def test_a_second_box_that_is_given_up_leaves_the_first_one(user: User) -> None:
    test_a_first_box(user)
    first = user.box()
    user.press("boxButton")
    user.click(70, 20)
    user.move(90, 60)
    user.right_click(90, 60)
    assert user.box() == first
    node = user.panel.placing.markups.node("box")
    assert np.allclose(sorted(node.GetSize())[1:], [40, 50], atol=1.5), "it is shown again"


def test_a_box_is_undone(user: User) -> None:
    test_a_second_box_replaces_the_first_one(user)
    user.press("undoButton")
    user.wait()
    np.testing.assert_allclose(user.box(), [20, 30, 60, 80], atol=1)
    user.press("undoButton")
    user.wait()
    assert user.box() is None
    user.press("boxButton")
    user.click(30, 30)
    user.click(50, 50)
    np.testing.assert_allclose(user.box(), [30, 30, 50, 50], atol=1)


def test_a_refresh_between_the_corners_keeps_the_first_one(user: User) -> None:
    user.press("boxButton")
    user.click(20, 30)
    user.panel.context.refresh()  # every event of the engine causes one
    user.move(40, 50)
    user.panel.context.refresh()
    user.click(60, 80)
    np.testing.assert_allclose(user.box(), [20, 30, 60, 80], atol=1)


def test_a_box_while_a_preview_returns(user: User) -> None:
    user.press("positiveButton")
    user.click(50, 60, wait=False)
    user.press("boxButton")
    user.click(30, 40, wait=False)
    user.wait()
    user.click(70, 80)
    np.testing.assert_allclose(user.box(), [30, 40, 70, 80], atol=1)
    assert len(user.panel.logic.session.prompts.get(1, 0).points) == 1


def test_a_box_while_tracking(user: User) -> None:
    user.press("positiveButton")
    user.click(50, 60)
    user.press("positiveButton")
    user.press("trackButton")
    user.panel.logic.session.video.current_frame = 5
    user.press("boxButton")
    user.click(30, 40, wait=False)
    user.panel.logic.processEvents()
    user.panel.context.refresh()
    user.click(70, 80, wait=False)
    user.wait()
    np.testing.assert_allclose(user.box(5), [30, 40, 70, 80], atol=1)


def test_a_point_is_dragged(user: User) -> None:
    user.press("positiveButton")
    user.click(50, 60)
    user.press("positiveButton")
    user.drag((50, 60), (80, 70))
    points = user.panel.logic.session.prompts.get(1, 0).points
    np.testing.assert_allclose(points, [[80, 70]], atol=1.5)


def test_points_of_another_frame_do_not_end_placing(user: User) -> None:
    logic = user.panel.logic
    logic.setBox(1, [20, 30, 60, 80], frame=3)
    logic.addPoint(1, 50, 60, frame=4)
    user.press("negativeButton")
    for frame in (3, 4):
        logic.session.video.current_frame = frame
        user.wait()
        assert user.panel.ui.negativeButton.checked, frame
    user.click(100, 20)
    assert user.panel.logic.session.clicks(1, 4)[:, 2].tolist() == [1, 0]
