"""The readers of files of other programs and towers, each with a way to make bad input for it."""

from __future__ import annotations

import io
import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from surgsam2.data import SurgicalDataset
from surgsam2.data.label_reader import label_files_by_frame
from surgsam2.outputs import OutputContext
from surgsam2.outputs.dicom_seg import DicomSegWriter
from surgsam2.prompts import PromptSet, load_class_list, load_prompts
from surgsam2.results.frame_result import FrameResult
from surgsam2.results.saved_masks import open_saved_masks
from surgsam2.storage.palette import VOC_PALETTE
from tests.data.test_surgical import MAKERS
from tests.reliability.mutations import change_somewhere, damage, damage_png
from tests.video.test_dicom import H264, MPEG2, PICTURES, a_video, dataset, save, stream

WIDTH, HEIGHT = 32, 24


@cache
def _label_pngs() -> tuple[bytes, ...]:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[4:10, 3:9], labels[12:20, 10:30] = 1, 2
    made = []
    for image in (
        Image.fromarray(labels),
        Image.fromarray(labels.astype(np.uint16) * 300),
        Image.fromarray((labels > 0).astype(np.uint8) * 255),
        Image.fromarray(np.dstack([labels * 9] * 3)),
        Image.fromarray(labels).convert("LA"),
    ):
        made.append(_png(image))
    indexed = Image.fromarray(labels)
    indexed.putpalette(VOC_PALETTE.tobytes())
    white = Image.fromarray(labels)
    white.putpalette(bytes([255] * 3 + [0] * 3 + [90] * 3))
    return (*made, _png(indexed), _png(white))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def label_image(random: Random, folder: Path) -> Path:
    data = random.choice(_label_pngs())
    path = folder / random.choice(["first_frame.png", "00000.png", "a7.png"])
    path.write_bytes(damage_png(data, random) if random.random() < 0.6 else damage(data, random))
    return path


def read_label_image(path: Path) -> None:
    load_prompts(path, frame=0).validate(WIDTH, HEIGHT, 3)
    load_prompts(path)


@cache
def _dicom_videos() -> tuple[bytes, ...]:
    made = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for codec, suffix, syntax in (
            ("libx264", ".mp4", H264),
            ("libx264", ".h264", H264),
            ("mpeg2video", ".m2v", MPEG2),
        ):
            content = stream(folder, codec, suffix)
            vector = [0, *([40] * 11)]
            path = a_video(folder / "a.dcm", content, syntax, 2, FrameTimeVector=vector)
            made.append(path.read_bytes())
        data = dataset(
            ExplicitVRLittleEndian, NumberOfFrames=3, FrameTimeVector=[0, 40, 80],
            FrameIncrementPointer=0x00181065,
        )  # fmt: skip
        data.PixelData = np.stack(PICTURES[:3]).tobytes()
        made.append(save(data, folder / "b.dcm").read_bytes())
    return tuple(made)


def dicom_video(random: Random, folder: Path) -> Path:
    path = folder / random.choice(["a.dcm", "IM0001"])
    path.write_bytes(_damaged_dicom(random.choice(_dicom_videos()), random))
    return path


def _damaged_dicom(data: bytes, random: Random) -> bytes:
    """Damage the header, the whole, or both; the preamble mostly stays."""
    head, rest = data[:132], data[132:]
    if random.random() < 0.6:
        size = min(len(rest), 1500)
        rest = damage(rest[:size], random) + rest[size:]
    else:
        rest = damage(rest, random)
    return (damage(head, random) if random.random() < 0.05 else head) + rest


@cache
def _dicom_series() -> tuple[bytes, ...]:
    made = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(3):
            data = dataset(
                ExplicitVRLittleEndian, SeriesInstanceUID="1.2.3", StudyInstanceUID="1.2"
            )
            data.InstanceNumber = number + 1
            data.ContentDate, data.ContentTime = "20260102", f"12000{number}"
            data.Rows, data.Columns = HEIGHT, WIDTH
            data.PixelData = bytes(HEIGHT * WIDTH * 3)
            made.append(save(data, Path(name) / "a.dcm").read_bytes())
    return tuple(made)


def dicom_series(random: Random, folder: Path) -> Path:
    for number, data in enumerate(_dicom_series()):
        hurt = random.random() < 0.5
        (folder / f"{number}.dcm").write_bytes(_damaged_dicom(data, random) if hurt else data)
    return folder


def write_segmentation(path: Path) -> None:
    """Write the masks of a DICOM video whose header is damaged."""
    files = tuple(sorted(path.iterdir())) if path.is_dir() else (path,)
    prompts = PromptSet().add(object_id=1, frame=0, points=[[1, 1, 1]])
    context = OutputContext(8, 8, 25, prompts.objects, files=files, tells_names=True)
    with tempfile.TemporaryDirectory() as out:
        writer = DicomSegWriter(Path(out), context)
        one = np.ones(1, np.float32)
        masks = np.ones((1, 8, 8), bool)
        writer.write(np.zeros((8, 8, 3), np.uint8), FrameResult(0, (1,), masks, one, one))
        writer.close()


def _coco(writer: str) -> dict[str, Any]:
    names = {
        "CVAT": "frame_{:06d}.PNG",
        "Label Studio": "images/1a2b3c4d-frame_{:04d}.jpg",
        "Roboflow": "clip_{:04d}_png.rf.0a1b2c3d4e5f6071.jpg",
        "FiftyOne": "{:06d}.jpg",
        "supervision": "{:05d}.png",
        "SurgSAM2": "{:05d}.png",
    }
    extra: dict[str, dict[str, Any]] = {
        "CVAT": {"attributes": {"occluded": False, "track_id": 0}},
        "FiftyOne": {"index": 1},
        "SurgSAM2": {"object_id": 3, "track_id": 3},
    }
    run = {"size": [HEIGHT, WIDTH], "counts": [40, 9, WIDTH * HEIGHT - 49]}
    square = [[2.0, 2.0, 9.0, 2.0, 9.0, 8.0, 2.0, 8.0]]
    kind = "common-objects" if writer == "supervision" else "tool"
    return {
        "info": {"description": f"Exported from {writer}", "contributor": writer},
        "images": [
            {"id": i, "file_name": names[writer].format(i), "width": WIDTH, "height": HEIGHT}
            for i in range(3)
        ],
        "categories": [{"id": 0, "name": "grasper", "supercategory": kind}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 0,
                "segmentation": run if i % 2 else square,
                **extra.get(writer, {}),
            }
            for i in range(3)
        ],
    }


_WRITERS = ("CVAT", "Label Studio", "Roboflow", "FiftyOne", "supervision", "SurgSAM2")


def coco_file(random: Random, folder: Path) -> Path:
    content: Any = _coco(random.choice(_WRITERS))
    for _ in range(random.randint(0, 4)):
        content = change_somewhere(content, random)
    data = json.dumps(content).encode("utf-8", "surrogatepass")
    if random.random() < 0.15:
        data = damage(data, random)
    path = folder / "annotations.json"
    path.write_bytes(data)
    return path


def read_coco_file(path: Path) -> None:
    saved = open_saved_masks(path)
    ids = saved.check(WIDTH, HEIGHT, 5)
    for object_id in ids:
        assert saved.name(object_id)
        assert saved.color(object_id).startswith("#")
        saved.object_class(object_id)


@cache
def _trees() -> dict[str, dict[str, bytes]]:
    trees = {}
    for layout, make in MAKERS.items():
        with tempfile.TemporaryDirectory() as name:
            make(Path(name))
            files = (path for path in sorted(Path(name).rglob("*")) if path.is_file())
            trees[layout] = {str(p.relative_to(name)): p.read_bytes() for p in files}
    return trees


def published_dataset(random: Random, folder: Path) -> Path:
    layout = random.choice(list(_trees()))
    root = folder / layout
    for name, data in _trees()[layout].items():
        choice = random.random()
        if choice < 0.1:
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damage(data, random) if choice < 0.3 else data)
    root.mkdir(exist_ok=True)
    return root


def read_published_dataset(path: Path) -> None:
    for sequence in SurgicalDataset(path, path.name):
        for index in range(len(sequence)):
            sequence.read_labels(index)


def result_folder(random: Random, folder: Path) -> Path:
    (folder / "masks").mkdir()
    (folder / "masks" / "00000.png").write_bytes(_label_pngs()[0])
    images = [{"file_name": "00000.png", "source": "a"}]
    content: Any = {"images": images}
    for _ in range(random.randint(0, 3)):
        content = change_somewhere(content, random)
    data = json.dumps(content).encode("utf-8", "surrogatepass")
    if random.random() < 0.5:
        (folder / "annotations.coco.json").write_bytes(data)
    table = damage(b"source,frame\na,0\nb,1\n", random)
    (folder / "frames.csv").write_bytes(table)
    return folder


def read_result_folder(path: Path) -> None:
    assert len(label_files_by_frame(path / "masks")) == 1


def class_list(random: Random, folder: Path) -> Path:
    path = folder / "classes.csv"
    path.write_bytes(damage(b"id,name,color\n1,Grasper,#aabbcc\n2,Hook,\n", random))
    return path


def read_class_list(path: Path) -> None:
    prompts = PromptSet().add(object_id=1, frame=0, points=[[1, 1, 1]], name="grasper 2")
    prompts.with_classes(load_class_list(path))
