"""Classes and locks of objects, in the logic and in the panel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from surgsam2.errors import InputError
from surgsam2.mrml import load_scene
from surgsam2.mrml.terminology import UNCLASSIFIED, classes_of, entry_of
from surgsam2.prompts import CLASS_LISTS, load_class_list
from tests.extension.conftest import FRAMES, LogicCore
from tests.extension.test_widget import clip, panel  # noqa: F401 - fixtures
from tests.slicer_host.host import SlicerHost


@pytest.mark.parametrize("name", CLASS_LISTS)
def test_every_class_of_a_list_has_an_entry_of_its_own(name: str) -> None:
    classes = load_class_list(name)
    entries = [entry_of(item) for item in classes]
    assert classes_of(entries, classes) == list(classes)
    assert all(entry.count("~") == 6 for entry in entries)


def test_entries_of_other_modules_are_classes_too() -> None:
    tools = load_class_list("cholec80")
    clip_entry = entry_of(load_class_list("general").by_name("Clip"))
    found = classes_of([None, clip_entry, "", "a~b", clip_entry, UNCLASSIFIED], tools)
    assert [item and (item.id, item.name) for item in found] == [
        None, (8, "Clip"), None, None, (8, "Clip"), None,
    ]  # fmt: skip
    damaged = ["~SCT^1^Thing\n~SCT^2^Saw~^^", f"~SCT^1^{'x' * 1000}~SCT^2^Saw~^^"]
    assert [item and item.name for item in classes_of(damaged, tools)] == ["Saw", None]


def test_slicer_reads_the_entries() -> None:
    terms = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    entry = entry_of(load_class_list("cholec80").by_name("Hook"))
    logic.DeserializeTerminologyEntry(entry, terms)
    assert terms.GetTypeObject().GetCodeMeaning() == "Hook"


def test_objects_are_named_and_coloured_by_their_class(logic: LogicCore) -> None:
    logic.chooseClasses("cholec80")
    first, second = logic.addObject(className="Hook"), logic.addObject(className="hook")
    styles = {style.id: style for style in logic.session.objects}
    hook = load_class_list("cholec80").by_name("Hook")
    assert (styles[first].name, styles[second].name) == ("Hook", "Hook 2")
    assert styles[first].color == hook.color != styles[second].color
    logic.setClass(1, "Grasper")
    assert logic.session.objects[1].name == "tool", "the user named it"
    logic.setClass(second, "Clipper")
    assert logic.session.objects[second].name == "Clipper"
    logic.setClass(second, "")
    assert logic.session.objects[second].name == f"Object {second}"
    assert logic.session.classes.of(second) is None
    with pytest.raises(InputError, match=r"no class 'Saw' in the list Cholec80.*Grasper"):
        logic.setClass(1, "Saw")


def test_the_export_has_classes_as_categories(logic: LogicCore, tmp_path: Path) -> None:
    logic.chooseClasses("cholec80")
    logic.setClass(1, "Grasper")
    other = logic.addObject("left", className="Grasper")
    for object_id, x in ((1, 50), (other, 100)):
        logic.addPoint(object_id, x, 60, frame=0)
    logic.track(wait=True)
    logic.exportResults(tmp_path / "out", ["coco", "png"])
    data = json.loads((tmp_path / "out" / "annotations.coco.json").read_text())
    assert [(item["id"], item["name"]) for item in data["categories"]] == [(1, "Grasper")]
    assert {(a["category_id"], a["track_id"]) for a in data["annotations"]} == {(1, 1), (1, other)}
    logic.removeObject(other)
    logic.importMasks(tmp_path / "out" / "annotations.coco.json")
    assert logic.session.objects[other].name == "left"
    assert logic.session.classes.of(other).name == "Grasper"
    logic.savePrompts(tmp_path / "prompts.json")
    assert '"class": {"id": 1, "name": "Grasper"' in (tmp_path / "prompts.json").read_text()


def test_the_scene_keeps_the_list_and_the_classes(logic: LogicCore, tmp_path: Path) -> None:
    logic.chooseClasses("endovis2018")
    logic.setClass(1, "thread")
    logic.saveScene(tmp_path / "scene.mrb")
    scene = slicer.vtkMRMLScene()
    load_scene(scene, tmp_path / "scene.mrb")
    again = LogicCore(scene)
    again.setVideo(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))
    assert again.session.classes.choices.name == "EndoVis 2018 scene"
    assert again.session.classes.of(1).name == "thread"
    again.session.masks.sequence.SetAttribute("SurgSAM2.classes", "damaged")
    assert again.session.classes.choices.name == "Surgical objects"
    assert again.session.classes.of(1).name == "Suture", "as its codes say"
    again.close()


def test_a_list_that_cannot_be_used_changes_nothing(logic: LogicCore, tmp_path: Path) -> None:
    path = tmp_path / "ours.csv"
    path.write_text("name\nHook\nHook\n")
    logic.setClass(1, "Clip")
    with pytest.raises(InputError, match=r"ours.csv.*'hook' occurs 2 times"):
        logic.chooseClasses(path)
    assert logic.session.classes.choices.name == "Surgical objects"
    assert logic.session.classes.of(1).name == "Clip"


def test_nothing_changes_a_locked_object(logic: LogicCore, tmp_path: Path) -> None:
    other = logic.addObject("left")
    for object_id, x in ((1, 50), (other, 100)):
        logic.addPoint(object_id, x, 60, frame=0)
    logic.track(wait=True)
    before = [logic.getMask(1, frame).copy() for frame in range(FRAMES)]
    logic.exportResults(tmp_path / "out", ["png"])
    logic.savePrompts(tmp_path / "prompts.json")
    logic.lockObject(1)
    assert 1 in logic.session.locks
    for change in (
        lambda: logic.addPoint(1, 20, 20, frame=3),
        lambda: logic.setBox(1, [5, 5, 20, 20], frame=3),
        lambda: logic.setMask(1, before[2], frame=3),
        lambda: logic.clearPrompts(1),
        lambda: logic.markAbsent(0, 5, [1]),
        lambda: logic.eraseMasks(0, 5, [1]),
        lambda: logic.copyMasks(0, 1, 5, [1]),
        lambda: logic.correct(1, [[20, 20, 1]], frame=3, wait=True),
        lambda: logic.removeObject(1),
        lambda: logic.loadPrompts(tmp_path / "prompts.json"),
    ):
        with pytest.raises((InputError, RuntimeError), match="tool is locked; unlock it"):
            change()
    logic.eraseMasks(0, FRAMES - 1)
    logic.importMasks(tmp_path / "out" / "masks")
    logic.eraseMasks(0, 4)
    logic.addPoint(other, 100, 60, frame=0)
    logic.track(wait=True)
    assert [np.array_equal(logic.getMask(1, k), before[k]) for k in range(FRAMES)] == [
        True
    ] * FRAMES
    logic.lockObject(1, False)
    logic.eraseMasks(0, FRAMES - 1)
    assert not logic.getMask(1, 3).any()


def test_classes_and_locks_in_the_panel(
    panel: Any,  # noqa: F811
    clip: Any,  # noqa: F811
    slicer_app: SlicerHost,
    tmp_path: Path,
) -> None:
    import qt
    from SurgSAM2Lib.panel.objects_table import CLASS, LOCKED

    combo, table = panel.ui.classComboBox, panel.ui.objectsTable
    combo.activated.emit(combo.findText("Classes: CholecSeg8k"))
    slicer_app.process_events()
    combo.activated.emit(combo.findText("Cystic Duct"))
    slicer_app.process_events()
    assert table.item(0, CLASS).text() == "Cystic Duct" == combo.currentText
    path = tmp_path / "ours.csv"
    path.write_text("name\nSpoon\n")
    slicer_app.dialogs.chosen = [path]
    combo.activated.emit(combo.findText("Classes from a file..."))
    slicer_app.process_events()
    assert combo.findText("Spoon") == 1
    assert table.item(0, CLASS).text() == "Cystic duct", "it keeps its class"
    assert combo.currentText == "Cystic duct"
    table.item(0, LOCKED).setCheckState(qt.Qt.Checked)
    slicer_app.process_events()
    assert 1 in panel.logic.session.locks
    panel.ui.absentButton.click()
    assert "locked" in slicer_app.dialogs.texts[-1]
