"""Files for other programs, opened by those programs where they are installed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from surgsam2.data import VOSDataset
from surgsam2.outputs import FORMATS, OutputContext, OutputSet, begin_output, hold_output
from surgsam2.outputs.label_studio import brush_runs
from surgsam2.outputs.polygons import joined, polygons_of
from surgsam2.prompts import ObjectClass, PromptSet
from surgsam2.results.coco_file import CocoFile
from surgsam2.results.frame_result import FrameResult

WIDTH, HEIGHT = 64, 48
GRASPER = ObjectClass(5, "Grasper & co")


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


LEFT = disc(15, 20, 9) | disc(14, 40, 4)
RIGHT = disc(45, 20, 12)
LINE = np.zeros((HEIGHT, WIDTH), bool)
LINE[44:46, 20:60] = True
MASKS = np.stack([LEFT, RIGHT, LINE])
IDS = (1, 4, 9)


def frame(index: int) -> np.ndarray:
    pixels = np.full((HEIGHT, WIDTH, 3), (200, 40, 60), np.uint8)
    pixels[:, :, 1] = 40 + 10 * index
    return pixels


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Two frames, 0 and 2, in every format but the scene; object 4 leaves on frame 2."""
    write(tmp_path)
    return tmp_path


def write(folder: Path, **context: object) -> None:
    prompts = PromptSet()
    for object_id, name, kind in zip(
        IDS, ("left", "right", "drain"), (GRASPER, GRASPER, None), strict=True
    ):
        prompts.add(object_id=object_id, frame=0, points=[[1, 1, 1]], name=name, object_class=kind)
    run = replace(OutputContext(WIDTH, HEIGHT, 25, prompts.objects, "clip"), **context)
    formats = [name for name in FORMATS if name not in ("scene", "overlay", "dicom-seg")]
    scores = np.ones(3, np.float32)
    with OutputSet(folder, formats, run) as outputs:
        for index in (0, 2):
            masks = MASKS.copy()
            masks[1] &= index == 0
            outputs.write(frame(index), FrameResult(index, IDS, masks, scores, scores))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_outlines_keep_thin_and_divided_masks() -> None:
    for mask in MASKS:
        drawn = np.zeros((HEIGHT * 4, WIDTH * 4), np.uint8)
        outline = joined(polygons_of(mask))
        cv2.fillPoly(drawn, [np.rint(outline * 4).astype(np.int32)], 1)
        assert iou(drawn[2::4, 2::4] > 0, mask) > 0.9
    assert polygons_of(np.zeros((4, 4), bool)) == []
    assert len(polygons_of(np.eye(1, dtype=bool))[0]) >= 3


def test_polygons_are_read_by_pycocotools(written: Path) -> None:
    coco = COCO(str(written / "polygons.coco.json"))
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    for annotation, mask in zip(annotations, MASKS, strict=True):
        assert iou(coco.annToMask(annotation).astype(bool), mask) > 0.9
    assert [a["category_id"] for a in annotations] == [5, 5, 1]
    assert sorted(CocoFile(written / "polygons.coco.json").read(2)) == [1, 9]


def test_yolo_has_a_line_for_each_object(written: Path) -> None:
    root = written / "yolo"
    assert sorted(p.name for p in (root / "images").iterdir()) == ["00000.jpg", "00002.jpg"]
    names = (root / "data.yaml").read_text().splitlines()
    assert names[4:] == [
        '  0: "drain"', '  1: "class 2"', '  2: "class 3"', '  3: "class 4"', '  4: "Grasper & co"',
    ]  # fmt: skip
    lines = (root / "labels" / "00000.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["4", "4", "0"]
    assert len((root / "labels" / "00002.txt").read_text().splitlines()) == 2


def test_yolo_is_read_by_supervision(written: Path) -> None:
    supervision = pytest.importorskip("supervision")
    root = written / "yolo"
    found = supervision.DetectionDataset.from_yolo(
        str(root / "images"), str(root / "labels"), str(root / "data.yaml"), force_masks=True
    )
    (detections,) = [d for path, _, d in found if Path(path).stem == "00000"]
    assert detections.class_id.tolist() == [4, 4, 0]
    for mask, expected in zip(detections.mask, MASKS, strict=True):
        assert iou(mask, expected) > 0.6  # its pixels are a border wider than the polygon


def test_coco_is_read_by_supervision(written: Path) -> None:
    supervision = pytest.importorskip("supervision")
    images = written / "masks"
    found = supervision.DetectionDataset.from_coco(
        str(images), str(written / "annotations.coco.json"), force_masks=True
    )
    assert sorted(found.classes) == ["Grasper & co", "drain"]
    (detections,) = [d for path, _, d in found if Path(path).stem == "00000"]
    assert np.array_equal(detections.mask, MASKS)


def test_coco_is_read_by_datumaro(written: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    folder = written / "datumaro" / "annotations"
    folder.mkdir(parents=True)
    (written / "masks").rename(folder.parent / "images")
    (written / "annotations.coco.json").rename(folder / "instances_default.json")
    found = datumaro.Dataset.import_from(str(folder.parent), "coco_instances")
    assert len(found) == 2


def test_the_layout_of_vos_is_read_as_a_dataset(written: Path) -> None:
    (sequence,) = VOSDataset(written / "vos")
    assert sequence.object_ids == IDS
    pixels, labels = sequence.read(0)
    assert np.array_equal(labels == 4, RIGHT)
    assert np.abs(pixels.astype(int) - frame(0)).max() < 12


def test_names_of_sources(tmp_path: Path) -> None:
    write(tmp_path, frame_names=("scope_a", "scope_b", "scope_c"))
    names = {path.stem for path in (tmp_path / "vos" / "Annotations" / "video").iterdir()}
    assert names == {"scope_a", "scope_c"}
    assert (tmp_path / "yolo" / "labels" / "scope_c.txt").is_file()
    assert 'name="scope_c"' in (tmp_path / "annotations.cvat.xml").read_text()


def test_cvat_has_every_pixel(written: Path) -> None:
    root = ET.parse(written / "annotations.cvat.xml").getroot()
    assert [e.text for e in root.findall("meta/task/labels/label/name")] == [
        "Grasper & co",
        "drain",
    ]
    images = root.findall("image")
    assert [(i.get("id"), i.get("name")) for i in images] == [
        ("0", "frame_000000"),
        ("2", "frame_000002"),
    ]
    shapes = images[0].findall("mask")
    assert [shape.get("group_id") for shape in shapes] == ["1", "4", "9"]
    for shape, expected in zip(shapes, MASKS, strict=True):
        runs = [int(n) for n in shape.attrib["rle"].split(", ")]
        left, top, width, height = (
            int(shape.attrib[k]) for k in ("left", "top", "width", "height")
        )
        part = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[top : top + height, left : left + width] = part
        assert np.array_equal(mask, expected)
    assert len(images[1].findall("mask")) == 2


def unpacked(code: list[int]) -> np.ndarray:
    """Return the values of Label Studio's run-length code; written after its published decoder."""
    bits = "".join(f"{byte:08b}" for byte in code)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_run = take(1)
        length = take(sizes[take(2)]) + 1
        if is_run:
            values += [take(word)] * length
        else:
            values += [take(word) for _ in range(length)]
    return np.array(values, np.uint8)


@pytest.mark.parametrize("mask", [*MASKS, np.ones((400, 300), bool), np.zeros((3, 3), bool)])
def test_the_brush_of_label_studio(mask: np.ndarray) -> None:
    pixels = unpacked(brush_runs(mask)).reshape(*mask.shape, 4)
    assert np.array_equal(pixels, np.repeat(mask[..., None], 4, axis=2) * 255)


def test_label_studio_tasks(written: Path) -> None:
    tasks = json.loads((written / "tasks.label-studio.json").read_text())
    assert [task["data"]["frame"] for task in tasks] == [0, 2]
    picture = tasks[0]["data"]["image"].partition("?d=")[2]
    assert (written / picture).is_file()
    results = tasks[0]["predictions"][0]["result"]
    assert [r["meta"]["object_id"] for r in results] == [1, 4, 9]
    assert [r["value"]["brushlabels"] for r in results] == [["Grasper & co"]] * 2 + [["drain"]]
    setup = ET.parse(written / "label-studio.xml").getroot()
    assert [e.get("value") for e in setup.iter("Label")] == ["Grasper & co", "drain"]


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def test_the_video_of_the_masks_is_lossless(written: Path) -> None:
    frames = decoded(written / "masks.mkv")
    assert [float(f.time) for f in frames] == pytest.approx([0, 0.08])
    labels = np.asarray(Image.open(written / "masks" / "00000.png"))
    assert np.array_equal(frames[0].to_ndarray(format="gray"), labels)


def test_the_video_of_the_objects_is_transparent_elsewhere(written: Path) -> None:
    frames = decoded(written / "objects.mov")
    assert frames[0].format.name.startswith("yuva444p")
    pixels = frames[0].to_ndarray(format="rgba")
    seen = MASKS.any(axis=0)
    assert (pixels[..., 3][seen] > 250).all()
    assert (pixels[..., 3][~seen] < 5).all()
    assert np.abs(pixels[..., :3][seen].astype(int) - (200, 40, 60)).max() < 10


def test_large_ids_and_odd_sizes_in_a_video_of_masks(a_run, tmp_path: Path) -> None:
    run = a_run(ids=(1, 300), width=33, height=27, fps=Fraction(30000, 1001))
    with OutputSet(tmp_path, ["mask-video", "cutout-video"], run.context) as outputs:
        outputs.write(run.frame(), run.result())
    labels = decoded(tmp_path / "masks.mkv")[0].to_ndarray(format="gray16le")
    assert set(np.unique(labels)) == {0, 1, 300}
    assert decoded(tmp_path / "objects.mov")[0].width == 33


def test_a_new_run_removes_the_files_of_the_one_before(written: Path) -> None:
    (written / "report.json").write_text('{"program": "surgsam2"}')
    (written / "vos" / "mine.md").write_text("kept")
    with hold_output(written) as held:
        begin_output(held.path)
    left = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert left == {".surgsam2", "INCOMPLETE", "vos/mine.md"}
