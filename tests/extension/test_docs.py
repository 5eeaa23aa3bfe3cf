"""Tests that the examples of docs/slicer.md run as they are written there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import slicer

from surgsam2.engine import EngineClient
from surgsam2.mrml.loading import frame_node, image_of
from tests.conftest import REPOSITORY, moving_picture
from tests.extension.conftest import MODULE_FOLDER, write_mp4
from tests.slicer_host.host import SlicerHost

PAGE = (REPOSITORY / "docs" / "slicer.md").read_text(encoding="utf-8")
UI_FILES = sorted((MODULE_FOLDER / "Resources/UI").glob("*.ui"))


@pytest.fixture
def in_slicer(
    slicer_app: SlicerHost,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    demo_checkpoint: Path,
    small_config: Path,
) -> Iterator[None]:
    """The module is loaded; the working folder has a video and takes what is written.

    A small model with telling weights stands in for every other, so that nothing here
    depends on what the built-in one has learnt.
    """

    def load_small(client: EngineClient, name: str, **options: Any) -> int:
        options |= {"config": str(small_config), "device": "cpu"}
        return load_model(client, demo_checkpoint, **options)

    load_model = EngineClient.load_model
    monkeypatch.setattr(EngineClient, "load_model", load_small)
    write_mp4(tmp_path / "operation.mp4", moving_picture(34, 480, 360))
    monkeypatch.chdir(tmp_path)
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    yield
    slicer_app.unload_module("SurgSAM2")


def test_the_console_examples_run(
    in_slicer: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"slicer": slicer}  # Slicer's console has this name too
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 8
    camera = slicer.mrmlScene.AddNode(frame_node("Image_Reference"))
    camera.SetAndObserveImageData(image_of(moving_picture(1, 480, 360)[0]))
    for block in blocks:
        patient = block.replace("logic.wait(60)", "logic.wait()")  # the machine may be busy
        exec(compile(patient, "docs/slicer.md", "exec"), names)
        if "recordLive" in block:
            run_live(names["logic"], camera)
    assert capsys.readouterr().out.startswith("complete")
    assert names["masks"].shape == (34, 360, 480)
    assert names["masks"][0].any()
    assert (tmp_path / "result.mrb").stat().st_size > 10_000
    assert (tmp_path / "prompts.json").is_file()
    assert (tmp_path / "operation_masks" / "annotations.coco.json").is_file()
    assert len(list((tmp_path / "operation_streamed" / "masks").glob("*.png"))) == 14
    assert (tmp_path / "operation.mrb").is_file()


def run_live(logic: Any, camera: Any) -> None:
    """Give pictures to the volume until two of them are segmented and recorded."""
    pictures = moving_picture(8, 480, 360)
    end = time.monotonic() + 60
    while logic.live.recording.frames < 2 and time.monotonic() < end:
        if logic.liveStatistics().waiting < 2:
            camera.SetAndObserveImageData(image_of(pictures[logic.liveStatistics().received % 8]))
        logic.processEvents(0.02)


def test_pictures_and_pages_that_are_named_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(targets) > 10
    for target in targets:
        if not target.startswith("http"):
            assert (REPOSITORY / "docs" / target).is_file(), target


def test_every_button_of_the_panel_is_named() -> None:
    page = " ".join(PAGE.split())
    for file in UI_FILES:
        for widget in ElementTree.parse(file).iter("widget"):
            text = widget.findtext("property[@name='text']/string")
            if text and widget.get("class") in ("QPushButton", "QCheckBox"):
                name = re.sub(r" \([\w+]+\)$", "", text).rstrip(".")
                assert re.search(rf"\*{re.escape(name)}(\.\.\.)?\*", page), name


def test_every_key_is_named(slicer_app: SlicerHost) -> None:
    slicer_app.load_module(MODULE_FOLDER / "SurgSAM2.py")
    keys = set(slicer.util.getModuleWidget("SurgSAM2")._keys())
    slicer_app.unload_module("SurgSAM2")
    section = PAGE.partition("### Keys")[2].partition("###")[0]
    named = set(re.findall(r"\*\*([^*]+)\*\*", section))
    assert named - {"Shift"} == keys - {"Shift+Left", "Shift+Right"}


def test_every_button_that_is_named_is_on_the_panel() -> None:
    ui = "".join(file.read_text(encoding="utf-8") for file in UI_FILES)
    texts = {text.rstrip(".") for text in re.findall(r"<string>([^<]*)</string>", ui)}
    for name in (
        "Open video", "Image folder", "Sample", "Add object", "Point (P)", "Not (N)", "Box (B)",
        "Scribble (S)", "Not this", "Lasso (L)", "Paint (E)",
        "Use painted mask", "After each stroke", "Interpolate",
        "Live preview", "Undo (U)", "Track (T)", "Cancel", "From here on (R)",
        "From here back", "Between corrections", "This frame is good (G)",
        "Overwrite good frames", "Save scene", "Save prompts", "Install", "Details",
        "Work from the file", "Find the files of this video", "Task list",
        "Next video", "Segment live", "Hold picture",
        "Record", "Next doubtful (D)", "Previous doubtful (Shift+D)", "Stretch is good",
        "This frame is bad (X)", "Export",
    ):  # fmt: skip
        assert name in texts, name
        plain = re.sub(r" \([\w+]+\)$", "", name)
        assert plain in " ".join(PAGE.split()), plain
