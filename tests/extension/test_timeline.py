"""The timeline of the panel, with real mouse events of Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from tests.extension.conftest import FRAMES
from tests.extension.test_widget import click, clip, panel, settle  # noqa: F401 - fixtures
from tests.slicer_host.host import SlicerHost

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def label(panel: Any, clip: Any, slicer_app: SlicerHost) -> Any:
    """The timeline of a tracked clip."""
    click(panel, slicer_app, 50, 60)
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    panel.ui.timelineLabel.resize(308, 40)
    panel.context.refresh()
    return panel.ui.timelineLabel


def at(label: Any, frame: int) -> QPoint:
    """Return the middle of a frame in the timeline."""
    from SurgSAM2Lib.panel.timeline_view import SWATCH

    return QPoint(SWATCH + int((frame + 0.5) * (label.width - SWATCH) / FRAMES), 8)


def test_a_click_shows_a_frame(panel: Any, label: Any, slicer_app: SlicerHost) -> None:
    QTest.mouseClick(label, LEFT, pos=at(label, 7))
    slicer_app.process_events()
    assert panel.logic.session.video.current_frame == 7
    assert panel.timeline.range == (7, 7)


def test_a_drag_selects_a_range_that_is_marked_absent(
    panel: Any, label: Any, slicer_app: SlicerHost
) -> None:
    QTest.mousePress(label, LEFT, pos=at(label, 9))
    QTest.mouseMove(label, at(label, 7))
    QTest.mouseRelease(label, LEFT, pos=at(label, 6))
    slicer_app.process_events()
    assert panel.timeline.range == (6, 9)
    assert panel.ui.rangeLabel.text == "Selected: 6 to 9"
    panel.ui.absentButton.click()
    slicer_app.process_events()
    assert not panel.logic.getMask(1, 8).any()
    assert panel.logic.getMask(1, 10).any()
    panel.ui.undoButton.click()
    slicer_app.process_events()
    assert panel.logic.getMask(1, 8).any()
    panel.ui.redoButton.click()
    slicer_app.process_events()
    assert not panel.logic.getMask(1, 8).any()


def test_the_picture_shows_states_range_and_frame(label: Any) -> None:
    from SurgSAM2Lib.panel import timeline_view as view
    from SurgSAM2Lib.session.timeline import State

    rows = [np.full(1000, State.TRACKED, np.uint8), np.full(1000, State.UNKNOWN, np.uint8)]
    rows[0][503] = State.CORRECTED
    image = view.draw(rows, ["#ff0000", "#00ff00"], 900, (200, 300), 100 + view.SWATCH)
    first = image[view.GAP + 2]
    assert tuple(first[0]) == (255, 0, 0)
    assert tuple(first[view.SWATCH + 50]) == view._COLORS[State.CORRECTED], "not lost among ten"
    assert tuple(first[view.SWATCH + 49]) == view._COLORS[State.TRACKED]
    assert tuple(image[0, view.SWATCH + 25]) == view._SELECTION
    assert tuple(image[5, view.SWATCH + 90]) == view._CURSOR


def test_an_hour_of_video_is_drawn_to_the_pixel(label: Any) -> None:
    """90,000 frames and 8 objects; docs/notes/experiments/timeline_times.py measures the time."""
    from SurgSAM2Lib.panel import timeline_view as view
    from SurgSAM2Lib.session.timeline import State

    rows = [np.full(90_000, State.TRACKED, np.uint8) for _ in range(8)]
    rows[7][89_999] = State.CORRECTED
    image = view.draw(rows, ["#11aa55"] * 8, 5, (10, 2000), 430)
    last = image[view.GAP + 7 * (view.ROW + view.GAP) + 2]
    assert tuple(last[-1]) == view._COLORS[State.CORRECTED], "one frame of 90,000 is seen"
    assert tuple(last[-2]) == view._COLORS[State.TRACKED]
    assert image.shape == (8 * (view.ROW + view.GAP) + view.GAP, 430, 3)


def test_a_frame_is_typed(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    panel.ui.frameSpinBox.value = 9
    slicer_app.process_events()
    assert panel.logic.session.video.current_frame == 9
    clip.SetSelectedItemNumber(2)
    slicer_app.process_events()
    assert panel.ui.frameSpinBox.value == 2


def test_the_wheel_steps_through_the_video(panel: Any, clip: Any, slicer_app: SlicerHost) -> None:
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    style = view.interactorObserver()
    interactor = style.GetInteractor()
    assert not style.enabled & style.BrowseSlice, "the picture would be left"
    interactor.InvokeEvent("MouseWheelForwardEvent")
    interactor.InvokeEvent("MouseWheelForwardEvent")
    interactor.InvokeEvent("MouseWheelBackwardEvent")
    assert panel.logic.session.video.current_frame == 1
    interactor.SetControlKey(1)
    interactor.InvokeEvent("MouseWheelForwardEvent")
    assert panel.logic.session.video.current_frame == 1, "it zooms"
    interactor.SetControlKey(0)
    slicer.util.selectModule("")
    assert style.enabled & style.BrowseSlice
    interactor.InvokeEvent("MouseWheelForwardEvent")
    assert panel.logic.session.video.current_frame == 1
