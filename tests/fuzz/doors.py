"""The places where text and small files of strangers come in, for every kind of fuzzing.

Each door has a folder of inputs in ``tests/fuzz/corpus``: valid ones, and inputs that reached new
parts of the code when the door was fuzzed with coverage.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.export import export_project, wanted_formats
from surgsam2.annotate.project import Project
from surgsam2.annotate.project_file import VideoSize, read_project_file
from surgsam2.annotate.session import Session
from surgsam2.annotate.states import FrameState
from surgsam2.cluster.manifest import Manifests
from surgsam2.data.endovis import read_labels_json
from surgsam2.engine.protocol.framing import MAX_GREETING, PacketDecoder
from surgsam2.engine.protocol.messages import Message, MessageError, MessageStream
from surgsam2.engine.protocol.payloads import InlinePayloads
from surgsam2.engine.protocol.requests import FROM_ENGINE, TO_ENGINE
from surgsam2.engine.remote import greeting
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.integrations.cvat import BoxTracker, State, answer
from surgsam2.job.checkpoint import CheckpointStore
from surgsam2.job.datalist import read_datalist
from surgsam2.job.earlier import find_earlier, finished_report
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import NETWORK, _check_class, _MisfitError
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.options import ModelOptions
from surgsam2.outputs import ResultRecord
from surgsam2.prompts import PromptSet, load_prompts
from surgsam2.prompts.class_list import load_class_list
from surgsam2.results.coco_file import CocoFile
from surgsam2.storage.archive import unpacked
from surgsam2.storage.disk_store import DiskStore
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.places import Place
from surgsam2.tracking.options import TrackingOptions
from surgsam2.training.config import load_recipe
from surgsam2.video.arrays import ArrayVideo
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


class _SilentEngine:
    """Takes every request of a session and never answers."""

    model, tracking = ModelOptions(), TrackingOptions()
    status = notice = wanted_consent = ""
    can_preview = True

    def ask(self, request: object, take: object) -> int:
        return 1

    def track(self, request: object, take: object) -> None:
        pass

    def cancel(self) -> None:
        pass

    restart = agree = cancel


def _page_commands(path: Path) -> None:
    """Carry out the commands of a page, a JSON list of them."""
    try:
        commands = parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError("the connection is closed") from error
    video = ArrayVideo(np.zeros((4, 6, 8, 3), np.uint8), fps=25)
    with Project(path.parent / "work", 8, 6, 4) as project:
        session = Session(video, path, project, cast(EngineLink, _SilentEngine()))
        events: list[dict[str, Any]] = []
        session.connect(events.append)
        for command in commands if isinstance(commands, list) else [commands]:
            session.handle(command if isinstance(command, dict) else {})
        json.dumps(events)
        assert all(len(e["message"]) < LONGEST_MESSAGE for e in events if e["type"] == "error")


def _page_export(path: Path) -> None:
    video = ArrayVideo(np.zeros((4, 6, 8, 3), np.uint8), fps=25)
    with Project(path.parent / "work", 8, 6, 4) as project:
        project.set_mask(project.add_object().id, 1, np.ones((6, 8), bool), FrameState.GOOD)
        export_project(project.view(), video, wanted_formats(path.read_bytes()))


def _project_file(path: Path) -> None:
    for item, line in read_project_file(path, VideoSize(WIDTH, HEIGHT, FRAMES)):
        assert len(line.states) == len(line.scores) == FRAMES
        [FrameState(state) for state in line.states]
        json.dumps(asdict(item))


class _NoTracker(BoxTracker):
    """Takes the boxes of a request as they are."""

    def __init__(self) -> None:
        super().__init__(cast(SurgSAM2Model, None))

    def _begin(self, frame: np.ndarray, boxes: Any, new: Any) -> dict[int, State]:
        prompts = PromptSet()
        for number, k in enumerate(new, 1):
            prompts.add(object_id=number, frame=0, box=boxes[k])
        prompts.validate(frame.shape[1], frame.shape[0], 1)
        return {k: {} for k in new}


def _cvat(path: Path) -> None:
    try:
        body = parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError("Nuclio refuses it") from error
    json.dumps(answer(_NoTracker(), body), allow_nan=False)


def _manifest(path: Path) -> None:
    place = Place.of(path.parent)
    manifest = Manifests().read(place)
    if manifest is None:
        raise InputError("no manifest")
    manifest.check_parts(place, 1)
    assert 0 <= manifest.left(0) <= 1
    Manifests().write(place, manifest, first=True)
    assert all((path.parent / c.folder).parent == path.parent for c in manifest.chunks)


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
    Door("page-commands", "commands.json", _page_commands),
    Door("page-export", "export.json", _page_export),
    Door("project-file", "annotation.json", _project_file),
    Door("cvat-request", "body.json", _cvat),
    Door("manifest", ".manifest.json", _manifest),
)
