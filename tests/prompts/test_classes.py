"""Classes of objects: their lists, prompt files, and exported categories."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surgsam2.data.endovis import ENDOVIS17_TYPES, ENDOVIS18_CLASSES
from surgsam2.errors import InputError, PromptError
from surgsam2.outputs.base import OutputContext
from surgsam2.outputs.output_set import OutputSet
from surgsam2.prompts import (
    CLASS_LISTS,
    ClassList,
    ObjectClass,
    PromptSet,
    instance_numbers,
    load_class_list,
    load_prompts,
    save_prompts,
)
from surgsam2.results.frame_result import FrameResult
from surgsam2.results.saved_masks import open_saved_masks

GRASPER = ObjectClass(5, "Grasper", "#aaff00")
TERMINOLOGY = {
    "SegmentationCategoryTypeContextName": "Our theatre",
    "SegmentationCodes": {
        "Category": [
            {
                "CodingSchemeDesignator": "SCT",
                "CodeValue": "260787004",
                "CodeMeaning": "Physical object",
                "Type": [
                    {
                        "CodingSchemeDesignator": "SCT",
                        "CodeValue": "77720000",
                        "CodeMeaning": "Clip",
                        "recommendedDisplayRGBValue": [1, 2, 255],
                    }
                ],
            }
        ]
    },
}


def test_the_lists_of_the_package_can_be_read() -> None:
    lists = {name: load_class_list(name) for name in CLASS_LISTS}
    assert {item.id: item.name for item in lists["endovis2017"]} == ENDOVIS17_TYPES
    for item in lists["endovis2018"]:
        name, rgb = ENDOVIS18_CLASSES[item.id]
        assert (item.name, item.color) == (name, f"#{bytes(rgb).hex()}")
    assert len(lists["endovis2018"]) == len(ENDOVIS18_CLASSES) - 1, "all but the background"
    assert len(lists["cholecseg8k"]) == 12
    assert len(lists["cholec80"]) == 7
    assert lists["general"].by_name("liver").terminology.endswith("SCT^10200004^Liver")


def test_a_csv_file_needs_names_only(tmp_path: Path) -> None:
    path = tmp_path / "ours.csv"
    path.write_text("\ufeffName, color\nHook,#AABBCC\nZange \u2702,\n", encoding="utf-8")
    found = load_class_list(path)
    assert found.name == "ours"
    assert [(item.id, item.name) for item in found] == [(1, "Hook"), (2, "Zange \u2702")]
    assert found.by_id(1).color == "#aabbcc"
    assert found.by_id(3) is None


def test_a_terminology_file_of_slicer(tmp_path: Path) -> None:
    path = tmp_path / "ours.term.json"
    path.write_text(json.dumps(TERMINOLOGY))
    found = load_class_list(path)
    codes = "SCT^260787004^Physical object~SCT^77720000^Clip"
    assert found == ClassList("Our theatre", [ObjectClass(1, "Clip", "#0102ff", codes)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,colour\nHook,#aabbcc\n", "unknown column 'colour'"),
        ("id,color\n1,#aabbcc\n", "must name the column 'name'"),
        ("name,name\nHook,Hook\n", "each once"),
        ("", "must name the column 'name'"),
        ("name\n", "there is no class"),
        ("id,name\n1,Hook\n1,Clip\n", "class id 1 occurs 2 times"),
        ("name\nHook\nhook\n", "class name 'hook' occurs 2 times"),
        ("id,name\n0,Hook\n", "line 2: class id must be a whole number from 1"),
        ("id,name\nx,Hook\n", "line 2: the id must be a whole number, got 'x'"),
        ("id,name\n,Hook\n", "line 2: the id is missing"),
        ("name\n  \nHook\n", "line 2: class 1: the name must be text"),
        ("name,color\nHook,red\n", "the color must look like"),
        ("name\nHook,7\n", "line 2: there are more values than columns"),
        ("name,terminology\nHook,SCT\n", "the terminology must look like"),
    ],
)
def test_a_csv_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ours.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_class_list(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"name\n\xff\xfe\n", "not text in UTF-8"),
        ("a.xls", b"name\n", "is a .csv or .json file"),
        ("a.json", b"{", "not a terminology file"),
        ("a.json", b"[]", "not a terminology file"),
        ("a.json", b'{"SegmentationCodes": {"Category": []}}', "no class in it"),
        ("a.json", b"[" * 100_000, "not a terminology file"),
        ("missing.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_class_list(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        load_class_list(path)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80), suffix=st.sampled_from([".csv", ".json"]))
def test_any_file_is_read_or_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        assert len(load_class_list(path))


def two_classed_objects() -> PromptSet:
    """Return two graspers and an object without a class."""
    prompts = PromptSet()
    for object_id, name, kind in ((1, "left", GRASPER), (4, "right", GRASPER), (9, "drain", None)):
        prompts.add(object_id=object_id, frame=0, points=[[1, 1, 1]], name=name, object_class=kind)
    return prompts


def test_the_prompt_file_keeps_classes(tmp_path: Path) -> None:
    prompts = two_classed_objects()
    save_prompts(prompts, tmp_path / "prompts.json")
    assert load_prompts(tmp_path / "prompts.json") == prompts
    prompts.add(object_id=4, frame=3, points=[[2, 2, 1]])
    assert prompts.for_object(4).object_class == GRASPER
    assert instance_numbers(item.object_class for item in prompts) == [1, 2, 1]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (7, "must be an object"),
        ({"id": 1}, "the key 'name' is missing"),
        ({"id": "1", "name": "a"}, "class id must be a whole number"),
        ({"id": 1, "name": "a", "color": 7}, "color must be text"),
        ({"id": 1, "name": "a", "colour": ""}, "unknown key"),
    ],
)
def test_a_class_in_a_prompt_file_that_cannot_be_used(
    tmp_path: Path, record: Any, message: str
) -> None:
    item = {"id": 1, "class": record, "prompts": [{"frame": 0, "points": [[1, 1, 1]]}]}
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"version": 1, "objects": [item]}))
    with pytest.raises(PromptError, match=rf"objects\[0\]\.class.*{message}"):
        load_prompts(path)


def test_coco_has_classes_as_categories_and_objects_as_tracks(tmp_path: Path) -> None:
    prompts = two_classed_objects()
    context = OutputContext(4, 4, 25.0, prompts.objects, "clip")
    ids = tuple(item.id for item in prompts)
    masks = np.zeros((3, 4, 4), bool)
    masks[0, 0], masks[1, 1], masks[2, 2] = True, True, True
    scores = np.ones(3, np.float32)
    with OutputSet(tmp_path, ["coco"], context) as outputs:
        outputs.write(np.zeros((4, 4, 3), np.uint8), FrameResult(0, ids, masks, scores, scores))
    data = json.loads((tmp_path / "annotations.coco.json").read_text())
    assert [(item["id"], item["name"]) for item in data["categories"]] == [
        (5, "Grasper"), (1, "drain"),
    ]  # fmt: skip
    assert [(a["track_id"], a["category_id"]) for a in data["annotations"]] == [
        (1, 5), (4, 5), (9, 1),
    ]  # fmt: skip
    assert [(t["id"], t["instance"], t["name"]) for t in data["tracks"]] == [
        (1, 1, "left"), (4, 2, "right"), (9, 1, "drain"),
    ]  # fmt: skip
    saved = open_saved_masks(tmp_path / "annotations.coco.json")
    assert [saved.name(i) for i in ids] == ["left", "right", "drain"]
    assert [saved.object_class(i) for i in ids] == [GRASPER, GRASPER, None]
