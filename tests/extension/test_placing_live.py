"""Boxes and strokes drawn with the mouse in a live picture, through Slicer's real code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from surgsam2.prompts import mask_inside
from tests.extension.conftest import HEIGHT, WIDTH
from tests.extension.fake_live_client import FakeLiveClient
from tests.extension.test_live_panel import (  # noqa: F401 - fixtures
    client,
    panel,
    points_shown,
    run,
    volume,
)
from tests.slicer_host.host import SlicerHost
from tests.slicer_host.slice_view import mouse_view

OBLIQUE, IDENTITY = "oblique", "identity directions"


def place_in_space(node: Any, how: str) -> None:
    """Give a volume directions that are not those of a video."""
    matrix = vtk.vtkMatrix4x4()
    if how == OBLIQUE:
        turn = vtk.vtkTransform()
        turn.RotateX(35)
        turn.RotateZ(25)
        turn.Scale(0.5, -0.5, 0.5)
        turn.Translate(40, 10, 7)
        matrix.DeepCopy(turn.GetMatrix())
    node.SetIJKToRASMatrix(matrix)


def start(
    panel: Any, volume: Any, client: FakeLiveClient, host: SlicerHost, how: str, held: bool
) -> None:  # fmt: skip
    """Segment a volume that lies in space in some way, and hold a picture if wanted."""
    if how != "as a video":
        place_in_space(volume, how)
    live = panel.live.ui
    live.liveVolumeSelector.setCurrentNode(volume)
    host.process_events()
    live.liveButton.click()
    run(panel, host, client, 2)
    if held:
        live.liveHoldButton.click()
        host.process_events()


@pytest.mark.parametrize("how", [OBLIQUE, IDENTITY])
def test_a_picture_is_shown_upright(
    panel: Any,
    volume: Any,
    slicer_app: SlicerHost,
    how: str,
) -> None:
    from SurgSAM2Lib.live.source import PictureNode
    from SurgSAM2Lib.panel.views import show_picture

    place_in_space(volume, how)
    with mouse_view() as view:
        show_picture(volume)
        picture = PictureNode(volume)
        left, top = view.position_of(picture.ras_of(0, 0))
        right, bottom = view.position_of(picture.ras_of(WIDTH - 1, HEIGHT - 1))
    assert left < right
    assert bottom < top, "positions are counted from the bottom"
    assert (right - left) / (top - bottom) == pytest.approx(WIDTH / HEIGHT, rel=0.05)


@pytest.mark.parametrize("how", ["as a video", OBLIQUE, IDENTITY])
@pytest.mark.parametrize("held", [True, False])
def test_two_boxes(
    panel: Any, volume: Any, client: FakeLiveClient, slicer_app: SlicerHost,
    how: str, held: bool,
) -> None:  # fmt: skip
    start(panel, volume, client, slicer_app, how, held)
    live, marks = panel.live.ui, panel.live.marks
    with mouse_view() as view:
        for box in ([20, 30, 60, 80], [70, 20, 110, 90]):
            live.liveBoxButton.checked = True
            slicer_app.process_events()
            view.click(marks.picture.ras_of(*box[:2]))
            panel.context.refresh()
            view.click(marks.picture.ras_of(*box[2:]))
            slicer_app.process_events()
            prompts, _image = client.prompts[-1]
            sent = prompts.for_object(1).prompts[0].box
            np.testing.assert_allclose(sent, box, atol=1.5)
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")]
    assert names == ["Box"], "Slicer has added a box of its own"


@pytest.mark.parametrize(
    ("how", "held"), [("as a video", False), (OBLIQUE, True), (IDENTITY, True)]
)
def test_strokes(
    panel: Any, volume: Any, client: FakeLiveClient, slicer_app: SlicerHost,
    how: str, held: bool,
) -> None:  # fmt: skip
    start(panel, volume, client, slicer_app, how, held)
    live, marks = panel.live.ui, panel.live.marks

    def drag(button: Any, *pixels: tuple[float, float]) -> Any:
        """Draw with a button; return the prompt that was sent."""
        if not button.checked:
            button.checked = True
            slicer_app.process_events()
        view.drag(*(marks.picture.ras_of(*pixel) for pixel in pixels))
        slicer_app.process_events()
        return client.prompts[-1][0].for_object(1).prompts[0]

    with mouse_view() as view:
        panel.drags.deactivate()  # it observed the view that this one replaces
        panel.drags.activate()
        sent = drag(live.liveScribbleButton, (40, 60), (50, 60), (60, 60), (70, 60))
        expected = [(x, 60) for x in (43, 49, 55, 61, 67)]
        np.testing.assert_allclose(sent.points, expected, atol=1.5)
        count = len(client.prompts)
        sent = drag(live.liveNotScribbleButton, (20, 20), (24, 20))
        if held:
            assert sent.labels.tolist() == [1, 1, 1, 1, 1, 0]
            assert points_shown(panel) == 6
        else:
            assert "all points are negative" in slicer_app.dialogs.texts.pop()
            assert len(client.prompts) == count
        corners = ((30, 30), (70, 30), (70, 50), (50, 80), (30, 30))
        mask = drag(live.liveLassoButton, *corners).mask
        wanted = mask_inside(corners, WIDTH, HEIGHT)
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.9
        assert not live.liveLassoButton.checked
        assert points_shown(panel) == 0
