"""Writes the valid inputs of the corpus: python -m tests.fuzz.corpus_of_valid_inputs."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import torch
from PIL import Image

from surgsam2 import PromptSet
from surgsam2.annotate.project_file import VideoSize, write_project_file
from surgsam2.annotate.states import AnnotatedObject, FrameState, ObjectTimeline
from surgsam2.cluster.manifest import Manifest, Manifests
from surgsam2.cluster.tasks import RunRecord
from surgsam2.engine.protocol import events, requests
from surgsam2.engine.protocol.framing import encode_packet
from surgsam2.engine.protocol.messages import Message, pack_message
from surgsam2.engine.remote import greeting
from surgsam2.job.checkpoint import VERSION
from surgsam2.job.chunks import Chunk
from surgsam2.job.fingerprint import ModelRecord
from surgsam2.model.options import ModelOptions
from surgsam2.outputs import ResultRecord
from surgsam2.prompts import save_prompts
from surgsam2.prompts.object_class import ObjectClass
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.places import Place
from tests.conftest import REPOSITORY, disc
from tests.fuzz.doors import CORPUS, FRAMES, HEIGHT, WIDTH

MASK = disc(WIDTH, HEIGHT, 30, 30, 12)


def valid_inputs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name of a door and a valid input for it.

    Args:
        folder: an empty folder for files on the way.
    """
    prompts = PromptSet().add(object_id=1, frame=0, box=[2, 3, 40, 50], points=[[4, 5, 1]])
    prompts.add(object_id=2, frame=3, points=[[9, 9, 1], [12, 10, 0]])
    save_prompts(prompts, folder / "p.json")
    yield "prompts", (folder / "p.json").read_bytes()
    yield (
        "prompts",
        b'{"version": 1, "objects": [{"id": 1, "prompts": [{"frame": 0, "mask": "m.png"}]}]}',
    )
    yield "coco", _json(_coco([20, 10, 40, 10, 30, 40]))
    yield "coco", _json(_coco({"size": [HEIGHT, WIDTH], "counts": [100, 50, HEIGHT * WIDTH - 150]}))
    yield "coco", _json(_coco({"size": [HEIGHT, WIDTH], "counts": "T3b1jf6"}))
    package = REPOSITORY / "surgsam2"
    for name in ("demo", "lite"):
        yield "network", (package / "model" / f"{name}.yaml").read_bytes()
    for path in sorted((package / "training" / "recipes").glob("*.yaml")):
        yield "recipe", path.read_bytes()
    yield "datalist", _json([{"video": "a.mp4", "prompts": "a.json", "output": "a"}])
    yield "classes", _json([{"name": "liver", "color": [1, 2, 3], "classid": 4}])
    yield "class-table", b'id,name,color,terminology\n1,liver,#ff0000,\n2,"a, b",,'
    yield "terminology", _json(_terminology())
    yield "state", _state()
    store = DiskStore(folder / "results")
    record = ResultRecord(store, WIDTH, HEIGHT)
    for frame in (0, 1):
        record.put(_result(frame))
    store.close()
    yield "record", (folder / "results").read_bytes()
    identity = {"video content": "0" * 64, "formats": "png"}
    objects = [{"id": 1, "name": "a"}]
    report = {"program": "surgsam2", "status": "complete", "identity": identity}
    yield "report", _json(report | {"objects": objects})
    yield "report", _json(identity)
    for message in (
        requests.LoadModel(1, ModelOptions(model="demo")),
        requests.OpenVideo(2, "a.mp4"),
        requests.Preview(3, 0, prompts),
    ):
        yield "to-engine", _packet(message)
    for event in (events.Tracked(3, _result(1), 1, 9, 5.0), events.Failed(4, "reason", "input")):
        yield "from-engine", _packet(event)
    for greeted in (
        greeting.Attach("t" * 32, 2, "2.0", None, 0),
        greeting.Queued(1),
        greeting.Refused("input", "no"),
    ):
        yield "greeting", _packet(greeted)
    yield "scene-record", b'[[0,1,2]]\n["/a/b.mp4","00ff","/a/masks"]\n[[1,"liver","#ff0000",null]]'
    yield "scene-description", b'<MRML version="1"><Volume id="a" fileName="Data/a.nrrd"/></MRML>'
    grey = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for suffix, door in ((".nrrd", "nrrd-header"), (".mha", "meta-header")):
        for packed in (False, True):
            place = folder / f"a{suffix}"
            SimpleITK.WriteImage(
                SimpleITK.GetImageFromArray(grey), str(place), useCompression=packed
            )
            yield door, place.read_bytes()
    yield "archive", _archive()
    yield (
        "page-commands",
        _json(
            [
                {"command": "add_object", "name": "liver", "color": "#ff0000"},
                {"command": "update_object", "object": 1, "changes": {"locked": False}},
                {"command": "add_point", "object": 1, "frame": 0, "x": 2, "y": 3, "positive": True},
                {"command": "paint", "object": 1, "frame": 1, "runs": [3, 4, 9, 1], "erase": False},
                {"command": "set_box", "object": 1, "frame": 1, "box": [1, 1, 5, 4]},
                {"command": "hover", "object": 1, "frame": 2, "x": 1, "y": 1},
                {"command": "mark", "objects": [1], "first": 0, "last": 2, "state": "good"},
                {"command": "clear_prompt", "object": 1, "frame": 1},
                {"command": "undo"},
                {"command": "redo"},
                {"command": "track", "direction": "both", "start": 0, "stop": 3, "objects": [1]},
                {"command": "remove_object", "object": 1},
            ]
        ),
    )
    yield "page-export", _json({"formats": ["csv"]})
    kind = ObjectClass(3, "liver", "#ff0000")
    line = ObjectTimeline(FRAMES)
    line.put(2, FrameState.TRACKED, 0.5)
    annotated = AnnotatedObject(1, "liver", "#ff0000", object_class=kind)
    size = VideoSize(WIDTH, HEIGHT, FRAMES)
    write_project_file(folder / "annotation.json", size, [annotated], {1: line})
    yield "project-file", (folder / "annotation.json").read_bytes()
    picture = base64.b64encode(_png("RGB")).decode()
    state = {"tracker": "a", "object": 1, "frame": 3}
    boxes = [[1, 2, 10, 8.5], [2, 3, 9, 9]]
    yield "cvat-request", _json({"image": picture, "shapes": boxes, "states": [state]})
    run = RunRecord({"video content": "0"}, ModelRecord({}, None, "c", None, ("few",)), (FRAMES,))
    chunk = Chunk("0123456789abcdef", 0, 3, 1.5, {"state.pt": (5, "0" * 64)})
    place = Place.of(folder)
    Manifests().write(place, Manifest("key", run=run, chunks=(chunk,)), first=True)
    yield "manifest", (folder / ".manifest.json").read_bytes()
    for mode in ("P", "L", "1", "RGB", "I;16"):
        yield "label-image", _png(mode)


def _coco(segmentation: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "00000.png", "width": WIDTH, "height": HEIGHT, "frame_index": 0}
    code = [segmentation] if isinstance(segmentation, list) else segmentation
    return {
        "images": [image],
        "categories": [{"id": 1, "name": "liver", "color": [1, 2, 3]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": code}],
    }


def _terminology() -> dict[str, Any]:
    code = {"CodingSchemeDesignator": "SCT", "CodeValue": "85756007", "CodeMeaning": "Tissue"}
    kind = code | {"recommendedDisplayRGBValue": [128, 174, 128]}
    category = code | {"Type": [kind, kind | {"CodeMeaning": "Bone"}]}
    return {
        "SegmentationCategoryTypeContextName": "own",
        "SegmentationCodes": {"Category": [category]},
    }


def _result(frame: int) -> FrameResult:
    scores = np.array([0.5], np.float32)
    return FrameResult(frame, (1,), MASK[None], scores, scores, 1.0)


def _state() -> bytes:
    buffer = io.BytesIO()
    content = {
        "version": VERSION,
        "identity": _json({"video content": "0" * 64}).decode(),
        "tracking": {"first_pass": False, "tracker": {"objects": [{"id": 1, "m": torch.ones(2)}]}},
        "steps": FRAMES,
        "seconds": 1.0,
        "resumed": 0,
        "results_bytes": 0,
        "first_pass_bytes": 0,
        "updating": False,
    }
    torch.save(content, buffer)
    return buffer.getvalue()


def _packet(message: Message) -> bytes:
    kind, header, blobs = pack_message(message)
    return encode_packet(kind, header, blobs)


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "text")
        archive.writestr("c", "more")
    return buffer.getvalue()


def _png(mode: str) -> bytes:
    small = MASK[:24:2, :32:2].astype(np.uint8)
    image = Image.fromarray(small.astype(np.uint16)) if mode == "I;16" else Image.fromarray(small)
    buffer = io.BytesIO()
    (image if mode == "I;16" else image.convert(mode)).save(buffer, "PNG")
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def main() -> None:
    """Write the files."""
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for door, data in valid_inputs(Path(folder)):
            number = counts[door] = counts.get(door, 0) + 1
            (CORPUS / door).mkdir(parents=True, exist_ok=True)
            (CORPUS / door / f"valid-{number}").write_bytes(data)


if __name__ == "__main__":
    main()
