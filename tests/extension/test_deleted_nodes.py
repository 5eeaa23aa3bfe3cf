"""Nodes that the user deletes at any time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slicer

from tests.extension.test_widget import click, clip, panel, settle  # noqa: F401
from tests.slicer_host.host import SlicerHost

NODES: dict[str, Callable[[Any], Any]] = {
    "the browser": lambda session: session.video.browser,
    "the video's sequence": lambda session: session.video.sequence,
    "the picture": lambda session: session.video.volume,
    "the masks' sequence": lambda session: session.masks.sequence,
    "the segmentation": lambda session: session.masks.proxy,
    "the prompts": lambda session: session.video.browser.GetNodeReference("SurgSAM2.prompts"),
    "the masks of prompts": lambda session: session.video.browser.GetNodeReference(
        "SurgSAM2.promptMasks"
    ),
}


@pytest.mark.parametrize("tracking", [False, True], ids=["idle", "tracking"])
@pytest.mark.parametrize("which", NODES)
def test_the_panel_goes_on(
    panel: Any,  # noqa: F811
    clip: Any,  # noqa: F811
    slicer_app: SlicerHost,
    which: str,
    tracking: bool,
) -> None:
    """Deleting nodes causes at most a message, and another video can be used."""
    click(panel, slicer_app, 50, 60)
    settle(panel, slicer_app)
    if tracking:
        panel.ui.trackButton.click()
        panel.logic.processEvents()
    slicer.mrmlScene.RemoveNode(NODES[which](panel.logic.session))
    slicer_app.process_events()
    settle(panel, slicer_app)
    for button in (panel.ui.undoButton, panel.ui.trackButton, panel.ui.goodButton):
        button.click()
        settle(panel, slicer_app)
    click_if_possible(panel)
    settle(panel, slicer_app)
    slicer.mrmlScene.Clear()
    settle(panel, slicer_app)
    assert panel.logic.session is None


def click_if_possible(panel: Any) -> None:  # noqa: F811
    if panel.ui.addObjectButton.enabled:
        panel.ui.addObjectButton.click()


def test_masks_that_were_deleted_can_be_made_again(
    panel: Any,  # noqa: F811
    clip: Any,  # noqa: F811
    slicer_app: SlicerHost,
) -> None:
    """The prompts, with names and colours, are still in the scene."""
    click(panel, slicer_app, 50, 60)
    before = panel.logic.session.prompt_set()
    slicer.mrmlScene.RemoveNode(panel.logic.session.masks.sequence)
    panel.context.refresh_later()
    settle(panel, slicer_app)
    assert "deleted" in panel.ui.messageLabel.text
    panel.ui.videoSelector.setCurrentNode(clip)
    slicer_app.process_events()
    assert panel.logic.session.prompt_set() == before
    panel.ui.trackButton.click()
    settle(panel, slicer_app)
    assert panel.logic.getMask(1, 0).any()
