"""The places where text and small files of strangers come in, for every kind of fuzzing.

Each door has a folder of inputs in ``tests/fuzz/corpus``: valid ones, and inputs that reached new
parts of the code when the door was fuzzed with coverage.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from surgsam2.data.endovis import read_labels_json
from surgsam2.engine.protocol.framing import MAX_GREETING, PacketDecoder
from surgsam2.engine.protocol.messages import Message, MessageError, MessageStream
from surgsam2.engine.protocol.payloads import InlinePayloads
from surgsam2.engine.protocol.requests import FROM_ENGINE, TO_ENGINE
from surgsam2.engine.remote import greeting
from surgsam2.errors import SurgSAM2Error
from surgsam2.job.checkpoint import CheckpointStore
from surgsam2.job.datalist import read_datalist
from surgsam2.job.earlier import find_earlier, finished_report
from surgsam2.model.builder import NETWORK, _check_class, _MisfitError
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.outputs import ResultRecord
from surgsam2.prompts import load_prompts
from surgsam2.prompts.class_list import load_class_list
from surgsam2.results.coco_file import CocoFile
from surgsam2.storage.archive import unpacked
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.image_file import read_pixels
from surgsam2.training.config import load_recipe
from surgsam2.video.header_check import check_header

CORPUS = Path(__file__).parent / "corpus"
WIDTH, HEIGHT, FRAMES = 96, 72, 10
LONGEST_MESSAGE = 3000
"""Largest number of characters of a refusal; commands show the ends of it."""


MRML = ("scene-record", "scene-description")
"""Doors that need 3D Slicer's libraries."""


@dataclass(frozen=True)
class Door:
    """One parser of the project."""

    name: str
    """Also the name of its folder in the corpus."""
    file: str
    """Name that an input gets in its folder."""
    read: Callable[[Path], object]
    """Does with the file what a user of the project would."""

    @property
    def corpus(self) -> list[bytes]:
        """The inputs of the corpus."""
        return _contents(CORPUS / self.name)

    def accepts(self, data: bytes, folder: Path) -> bool:
        """Return whether an input is taken; False when it is refused. Other ends are errors.

        Args:
            data: the content of the file.
            folder: the folder in which the file is written; everything in it may change.

        Raises:
            AssertionError: the refusal is no message for people.
        """
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        try:
            self.read(path)
        except SurgSAM2Error as error:
            text = str(error)
            if not text.strip() or len(text) > LONGEST_MESSAGE or "\n" in text:
                raise AssertionError(
                    f"a message of {len(text)} characters: {text[:200]!r}"
                ) from error
            return False
        return True


@cache
def _contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def _prompts(path: Path) -> None:
    load_prompts(path).validate(WIDTH, HEIGHT, FRAMES)


def _coco(path: Path) -> None:
    masks = CocoFile(path)
    for object_id in masks.check(WIDTH, HEIGHT, FRAMES):
        masks.name(object_id), masks.color(object_id)
    for frame in masks.frames:
        assert all(mask.shape == (HEIGHT, WIDTH) for mask in masks.read(frame).values())


def _network(path: Path) -> None:
    with contextlib.suppress(_MisfitError):  # `build_network` makes a message of it
        _check_class(SurgSAM2Network, load_config(str(path)), NETWORK, "")


def _state(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(hashlib.sha256(data).digest() + data)  # else nothing behind it is reached
    store = CheckpointStore(path.parent.parent)
    state = store.load()
    for spool in store.open(state):
        spool.close()


def _record(path: Path) -> None:
    with contextlib.closing(DiskStore(path, length=path.stat().st_size)) as store:
        record = ResultRecord(store, WIDTH, HEIGHT)
        for index in record.indices():
            assert record.get(index).masks.shape[1:] == (HEIGHT, WIDTH)


def _report(path: Path) -> None:
    finished_report(path.parent)
    (path.parent / ".results.json").write_bytes(path.read_bytes())
    (path.parent / ".results").write_bytes(b"")
    find_earlier(path.parent)


def _messages(incoming: Iterable[type[Message]]) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        stream = MessageStream(InlinePayloads(), lambda slot: None)
        stream.accept(incoming)
        stream.feed(path.read_bytes())
        while True:
            try:
                for _ in stream.messages():
                    pass
                return
            except MessageError:
                continue  # the messages after it can be read

    return read


def _greeting(path: Path) -> None:
    decoder = PacketDecoder()
    decoder.feed(path.read_bytes())
    for packet in decoder.packets():
        assert len(str(packet.header)) <= 8 * MAX_GREETING
        greeting.read_packet(packet, greeting.Attach, greeting.Queued, greeting.Refused)


def import_mrml() -> None:
    """Import what the doors in `MRML` need, which takes some seconds."""
    importlib.import_module("surgsam2.mrml.scene_check")
    importlib.import_module("surgsam2.mrml.streaming.streamed_masks")


def _scene_record(path: Path) -> None:
    """Read the attributes that a scene may have for a streamed video, one a line."""
    from surgsam2.mrml.streaming.record import FilesMovedError, Record
    from surgsam2.mrml.streaming.streamed_masks import _edits_from_text
    from surgsam2.mrml.styles import styles_from_text

    text = path.read_bytes().decode("utf-8", "replace").split("\n")
    _edits_from_text(text[0])
    styles_from_text(text[-1])
    browser: Any = SimpleNamespace(GetAttribute=lambda _: text[len(text) // 2], GetName=lambda: "b")
    record = Record.of(browser)
    if record is not None:
        with contextlib.suppress(FilesMovedError):
            record.found(SimpleNamespace(GetRootDirectory=lambda: str(path.parent)))


def _scene_description(path: Path) -> None:
    from surgsam2.mrml.scene_check import check_scene

    check_scene(path.parent, path)


def _archive(path: Path) -> None:
    with unpacked(path, 2**26) as folder:
        assert all(file.resolve().is_relative_to(folder.resolve()) for file in folder.rglob("*"))


def _image(path: Path) -> None:
    assert isinstance(read_pixels(path).values, np.ndarray)


DOORS = (
    Door("prompts", "prompts.json", _prompts),
    Door("coco", "annotations.coco.json", _coco),
    Door("network", "network.yaml", _network),
    Door("recipe", "recipe.yaml", lambda path: load_recipe(str(path))),
    Door("datalist", "list.json", lambda path: read_datalist(path, path.parent)),
    Door("classes", "labels.json", read_labels_json),
    Door("class-table", "classes.csv", load_class_list),
    Door("terminology", "classes.json", load_class_list),
    Door("state", ".resume/state.pt", _state),
    Door("record", "results.spool", _record),
    Door("report", "report.json", _report),
    Door("to-engine", "packets", _messages(TO_ENGINE)),
    Door("from-engine", "packets", _messages(FROM_ENGINE)),
    Door("greeting", "packets", _greeting),
    Door("scene-record", "attributes", _scene_record),
    Door("scene-description", "scene.mrml", _scene_description),
    Door("nrrd-header", "a.nrrd", check_header),
    Door("meta-header", "a.mha", check_header),
    Door("archive", "a.zip", _archive),
    Door("label-image", "0.png", _image),
)
