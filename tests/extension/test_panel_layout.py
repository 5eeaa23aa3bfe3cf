"""What the panel shows a new user: its order, its height, its setup, painting and the banner."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import slicer

from tests.extension.conftest import HEIGHT, MODULE_FOLDER, WIDTH
from tests.extension.test_widget import clip, panel  # noqa: F401 - fixtures
from tests.mrml.test_mask_nodes import edited_by_hand
from tests.slicer_host.host import SlicerHost

SCREEN = 768
"""Height in pixels of a small screen."""
SECTIONS = (
    "tasks",
    "video",
    "objects",
    "tracking",
    "correct",
    "review",
    "files",
    "live",
    "advanced",
)


def paint(panel: Any, object_id: int) -> None:  # noqa: F811
    """Change an object's pixels as an effect of Segment Editor does."""
    masks = panel.logic.session.masks
    edited_by_hand(masks, object_id, np.ones((HEIGHT, WIDTH), bool))


def top_of(widget: Any, panel: Any) -> int:  # noqa: F811
    """Return the distance of a widget from the top of the panel in pixels."""
    import qt

    return int(widget.mapTo(panel.parent, qt.QPoint(0, 0)).y())


@pytest.mark.parametrize("name", ["SurgSAM2", "SurgSAM2Review", "SurgSAM2Live"])
def test_no_cell_of_a_form_has_two_widgets(name: str) -> None:
    """Qt leaves the second widget out of the form, on top of whatever is in the corner."""
    path = MODULE_FOLDER / "Resources" / "UI" / f"{name}.ui"
    for layout in ElementTree.parse(path).iter("layout"):
        cells = [(item.get("row"), item.get("column")) for item in layout.findall("item")]
        cells = [cell for cell in cells if cell != (None, None)]
        assert len(cells) == len(set(cells)), layout.get("name")


def test_the_first_minute_needs_no_scrolling(
    panel: Any,  # noqa: F811
    clip: Any,  # noqa: F811
    slicer_app: SlicerHost,
) -> None:
    panel.ui.addObjectButton.click()
    panel.parent.resize(430, 10)
    panel.parent.show()
    slicer_app.process_events()
    panel.parent.resize(430, panel.parent.layout().sizeHint().height())
    slicer_app.process_events()
    for name in (
        "openVideoButton", "sampleButton", "frameSpinBox", "timelineLabel", "absentButton",
        "objectsTable", "addObjectButton", "classComboBox", "positiveButton", "boxButton",
        "scribbleButton", "lassoButton", "paintButton", "trackButton",
        "progressBar", "statusLabel", "modelComboBox", "directionComboBox",
    ):  # fmt: skip
        widget = getattr(panel.ui, name)
        assert widget.visible
        assert top_of(widget, panel) + widget.height <= SCREEN, name
    tops = [
        top_of(getattr(ui, f"{name}CollapsibleButton"), panel)
        for name in SECTIONS
        for ui in (panel.ui, panel.review.ui, panel.live.ui)
        if hasattr(ui, f"{name}CollapsibleButton")
    ]
    assert tops == sorted(tops), "in the order of the work"
    assert len(tops) == len(SECTIONS)
    assert not panel.ui.setupCollapsibleButton.visible, "nothing is missing"
    panel.ui.showSetupButton.click()
    assert panel.ui.setupCollapsibleButton.visible


def test_setup_says_one_sentence_and_folds_the_rest(
    panel: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from SurgSAM2Lib.install import requirements

    monkeypatch.setattr(requirements, "installedVersion", lambda name: "")
    panel.setup_section.check()
    assert panel.ui.setupLabel.text == "Tracking needs 14 more Python packages, about 1.1 GB."
    assert panel.ui.setupDetailsFrame.isHidden()
    panel.ui.setupDetailsButton.checked = True
    assert not panel.ui.setupDetailsFrame.isHidden()
    assert "torch" in panel.ui.setupDetailsLabel.text


def test_the_banner_offers_a_larger_model(
    panel: Any,  # noqa: F811
    slicer_app: SlicerHost,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from SurgSAM2Lib.panel import tracking_section

    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    asked: list[str] = []

    def download(name: str, *_: Any) -> None:
        asked.append(name)
        (tmp_path / "sam2.1_hiera_small.pt").touch()

    monkeypatch.setattr(tracking_section, "download_model", download)
    label = panel.ui.bannerLabel
    assert not label.isHidden()
    assert "184 MB" in label.text
    label.linkActivated.emit("use")
    slicer_app.process_events()
    assert asked == ["sam2.1-hiera-small"] == [panel.context.parameters.model]
    assert label.isHidden()
    panel.context.parameters.model = "demo"
    slicer_app.process_events()
    assert not label.isHidden()
    label.linkActivated.emit("hide")
    assert label.isHidden()


def test_painting_in_the_panel(
    panel: Any,  # noqa: F811
    clip: Any,  # noqa: F811
    slicer_app: SlicerHost,
) -> None:
    panel.ui.paintButton.checked = True
    slicer_app.process_events()
    editor = panel.objects.painting._editor
    session = panel.logic.session
    assert editor.activeEffectName() == "Paint"
    assert editor.segmentationNode() is session.masks.proxy
    assert editor.currentSegmentID() == session.objects.segment_id(1)
    panel.ui.addObjectButton.click()
    slicer_app.process_events()
    assert editor.currentSegmentID() == session.objects.segment_id(2), "the selected object"
    paint(panel, 2)
    slicer_app.process_events()
    assert session.prompts.get(2, 0) is None
    panel.ui.useMaskButton.click()
    assert session.prompts.get(2, 0).mask.all()
    panel.context.parameters.usePaintedMask = True
    panel.ui.objectsTable.selectRow(0)
    slicer_app.process_events()
    paint(panel, 1)
    slicer_app.process_events()
    assert session.prompts.get(1, 0).mask.all(), "used as soon as the stroke ended"
    panel.logic.lockObject(1)
    panel.context.refresh()
    assert not panel.ui.paintButton.checked
    assert not panel.ui.paintButton.enabled
    assert editor.activeEffectName() == ""


def test_painting_ends_when_the_module_or_the_scene_is_left(
    panel: Any,  # noqa: F811
    clip: Any,  # noqa: F811
    slicer_app: SlicerHost,
) -> None:
    panel.ui.paintButton.checked = True
    slicer_app.process_events()
    editor = panel.objects.painting._editor
    slicer.util.selectModule("")
    assert editor.activeEffectName() == ""
    slicer.util.selectModule("SurgSAM2")
    panel.ui.paintButton.checked = True
    slicer_app.process_events()
    slicer.mrmlScene.Clear(0)
    slicer_app.process_events()
    assert editor.segmentationNode() is None
    assert panel.ui.paintFrame.isHidden()


def test_the_sample_is_loaded_by_its_button_and_by_sample_data(
    panel: Any,  # noqa: F811
    slicer_app: SlicerHost,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from SurgSAM2Lib.files import sample
    from SurgSAM2Lib.panel.sample_data import register_sample

    monkeypatch.setattr(sample, "FRAMES", 3)
    monkeypatch.setattr(sample, "SIZE", (96, 72))
    registered: list[dict[str, Any]] = []

    class SampleDataLogic:
        """Takes what modules register, as Slicer's own class does."""

        @staticmethod
        def registerCustomSampleDataSource(**arguments: Any) -> None:
            registered.append(arguments)

    register_sample()  # an application without the module
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "SampleData", module)
    slicer_app.app.startupCompleted.emit()
    assert {entry["sampleName"] for entry in registered} == {"SurgSAM2 sample"}
    (browser,) = registered[-1]["customDownloader"](None)
    slicer_app.process_events()
    assert panel.context.browser is browser
    assert panel.logic.session.video.frame_count == 3
    assert panel.logic.session.video.name == "SurgSAM2 sample"
