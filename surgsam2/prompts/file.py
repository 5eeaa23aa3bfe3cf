"""The prompt file: JSON, the same for the command, the bundle and 3D Slicer."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from surgsam2.errors import PromptError
from surgsam2.prompts.checks import (
    MAX_FRAME,
    checked_color,
    checked_id,
    checked_name,
    is_finite,
    one_line,
    plain,
    refuse,
    show,
    whole_number,
)
from surgsam2.prompts.mask_file import (
    check_mask_path,
    checked_choice,
    mask_png,
    read_labels,
    read_mask,
)
from surgsam2.prompts.object_class import ObjectClass
from surgsam2.prompts.prompt import VideoShape, prompt_rows
from surgsam2.prompts.prompt_set import PromptSet
from surgsam2.storage.atomic_file import write_bytes_atomically, write_text_atomically
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.limits import MASK_PIXELS

MAX_FILE_BYTES = 64 * 2**20
"""Largest prompt file that is read. Masks are files of their own."""
FILE_VERSION = 1
"""Version of the file's format."""


class _Video(Protocol):
    """The properties of an open video that `save_prompts` uses."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def frame_count(self) -> int | None: ...


def load_prompts(
    path: Path | str, *, frame: int | None = None, corrections: bool = False
) -> PromptSet:
    """Read a prompt file (JSON, format version 1) with its mask images, or a label image (PNG).

    Mask images are PNG files in the folder of the JSON file or below it, with one object on a
    black background; ``mask_value`` chooses the object in an image with other values. Of a label
    image, every value except the background becomes an object that is prompted by its mask.

    Args:
        path: the prompt file or label image.
        frame: index of the frame of a label image; None takes 0, unless the name of the image
            has another number.
        corrections: whether the prompts correct masks that are there; see `PromptSet`.

    Raises:
        PromptError: the file or a mask cannot be read, has an unknown key, or a value that cannot
            be used. The message has the form ``path: place: what is wrong; what to do``, where
            a place reads like ``objects[0].prompts[1].points[2]``.
    """
    path = Path(path)
    with naming_prompt_file(path):
        if path.suffix.lower() == ".png":
            return _label_image_prompts(path, frame)
        if frame is not None:
            raise PromptError("a prompt file names the frames itself; leave out the prompt frame")
        return _Reader(path.parent, corrections).prompt_set(_parse(path))


def _label_image_prompts(path: Path, frame: int | None) -> PromptSet:
    """Return a set that prompts every object of a label image by its mask."""
    if frame is None:
        numbers = re.findall(r"\d+", path.stem)
        number = int(numbers[-1][-18:]) if numbers else 0
        if number:
            raise PromptError(
                f"it is not clear which frame this label image shows: frame 0, or {number} as its "
                f"name says; choose with --prompt-frame 0 or --prompt-frame {number}"
            )
    labels = read_labels(path)
    ids = [int(value) for value in np.unique(labels) if value]
    if not ids:
        raise PromptError("the label image is empty; mark at least one object")
    if len(ids) * labels.size > MASK_PIXELS.value:
        raise PromptError(
            f"the masks of its {len(ids)} objects have more than {MASK_PIXELS.value} pixels "
            f"together; is it a label image? If it is, raise {MASK_PIXELS.variable}"
        )
    result = PromptSet(video=VideoShape(labels.shape[1], labels.shape[0]))
    for object_id in ids:
        result.add(object_id=object_id, frame=frame or 0, mask=labels == object_id)
    result.mask_files = (path,)
    return result


@contextlib.contextmanager
def naming_prompt_file(path: Path | str) -> Iterator[None]:
    """Let every `PromptError` that is raised in the block begin with the path of the file.

    Use it where prompts of a file are checked against their video.
    """
    try:
        yield
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from error.__cause__


def save_prompts(
    prompt_set: PromptSet, path: Path | str, video: VideoShape | _Video | None = None
) -> None:
    """Write a prompt file from which `load_prompts` makes an equal set.

    Masks become ``<stem>_object<ID>_frame<N>.png`` beside it. Each file is replaced as a whole.

    Args:
        prompt_set: the prompts.
        path: the JSON file.
        video: the video that is recorded in the file, open or as its shape; None takes
            `PromptSet.video`.

    Raises:
        OutputError: a file cannot be written.
    """
    path = Path(path)
    text, masks = prompts_as_text(prompt_set, path.stem, video)
    for name, mask in masks.items():
        write_bytes_atomically(path.with_name(name), mask_png(mask))
    write_text_atomically(path, text)


def prompts_as_text(
    prompt_set: PromptSet, stem: str, video: VideoShape | _Video | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """Return the content of a prompt file.

    Args:
        prompt_set: the prompts.
        stem: the name of the file without folder and suffix; names of mask files begin with it.
        video: as for `save_prompts`.

    Returns:
        The JSON text, and the (H, W) bool mask for each mask file that it names.
    """
    if video is None:
        shape = prompt_set.video
    elif isinstance(video, VideoShape):
        shape = video
    else:
        shape = VideoShape(video.width, video.height, video.frame_count or None)
    masks: dict[str, np.ndarray] = {}
    lines = []
    for item in prompt_set.objects:
        prompts = []
        for prompt in item.prompts:
            record: dict[str, Any] = {"frame": prompt.frame}
            if prompt.box is not None:
                record["box"] = plain(prompt.box)
            if len(prompt.points):
                record["points"] = prompt_rows(prompt)
            if prompt.mask is not None:
                record["mask"] = f"{stem}_object{item.id}_frame{prompt.frame}.png"
                check_mask_path(record["mask"])
                masks[record["mask"]] = prompt.mask
            prompts.append(_dump(record))
        described: dict[str, Any] = {"id": item.id, "name": item.name, "color": item.color}
        if item.object_class is not None:
            described["class"] = asdict(item.object_class)
        head = _dump(described)[:-1]
        lines.append(f'{head},\n  "prompts": [\n   ' + ",\n   ".join(prompts) + "]}")
    text = f'{{"version": {FILE_VERSION},\n'
    if shape is not None:
        section = {"width": shape.width, "height": shape.height, "frames": shape.frames}
        known = {key: value for key, value in section.items() if value is not None}
        text += f' "video": {_dump(known)},\n'
    text += ' "objects": [' + ("\n " if lines else "") + ",\n ".join(lines) + "]}\n"
    return text, masks


def prompts_from_text(text: str, masks: Mapping[str, np.ndarray]) -> PromptSet:
    """Return the prompts of a text and masks that `prompts_as_text` made.

    Raises:
        PromptError: as for `load_prompts`.
    """
    return _TextReader(masks).prompt_set(_parse_json(text.encode(errors="replace")))


class _JsonObject(dict[str, Any]):
    """A JSON object that remembers a key that was given twice.

    Plain parsing would silently keep the last one.
    """

    repeated: str | None = None

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> _JsonObject:
        result = cls()
        for key, value in pairs:
            if key in result:
                result.repeated = key
            result[key] = value
        return result


def _parse(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise PromptError(f"the prompt file cannot be read: {reason}") from error
    if len(data) > MAX_FILE_BYTES:
        raise PromptError(
            f"the prompt file is larger than {MAX_FILE_BYTES >> 20} MB; is it the right file?"
        )
    return _parse_json(data)


def _parse_json(data: bytes) -> Any:
    try:
        return parse_json(data.decode("utf-8-sig"), _JsonObject.of)
    except UnicodeDecodeError:
        raise PromptError(
            "the file is not text in UTF-8; save it as a JSON file in UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise PromptError(
            f"line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}); "
            f"correct the file there"
        ) from None
    except ValueError:
        raise PromptError(
            "not valid JSON: it is nested too deeply, or a number has too many digits"
        ) from None


class _Reader:
    """Makes a `PromptSet` of parsed JSON. Messages name the place in the file."""

    def __init__(self, folder: Path, corrections: bool = False) -> None:
        self.folder = folder
        self.corrections = corrections
        self.mask_files: list[Path] = []
        self.mask_pixels = 0

    def prompt_set(self, data: Any) -> PromptSet:
        self.check_keys(data, "", required=("version", "objects"), optional=("video",))
        version = data["version"]
        if isinstance(version, bool) or not isinstance(version, int) or version != FILE_VERSION:
            refuse("version", f"must be {FILE_VERSION}, got {show(version)}")
        result = PromptSet(video=self.video(data.get("video")), corrections=self.corrections)
        objects = self.array(data["objects"], "objects")
        seen: dict[int, str] = {}
        for index, record in enumerate(objects):
            place = f"objects[{index}]"
            optional = ("name", "color", "class")
            self.check_keys(record, place, required=("id", "prompts"), optional=optional)
            with _At(f"{place}.id"):
                object_id = checked_id(record["id"])
            if object_id in seen:
                refuse(
                    f"{place}.id",
                    f"object id {object_id} is used by {seen[object_id]} already; "
                    f"ids must differ (one object may have several prompts)",
                )
            seen[object_id] = place
            self.object(result, object_id, record, place)
        result.mask_files = tuple(self.mask_files)
        return result

    def video(self, data: Any) -> VideoShape | None:
        if data is None:
            return None
        self.check_keys(data, "video", required=("width", "height"), optional=("frames",))
        with _At():
            return VideoShape(data["width"], data["height"], data.get("frames"))

    def object(self, result: PromptSet, object_id: int, record: Any, place: str) -> None:
        name, color = record.get("name"), record.get("color")
        if name is not None:
            with _At(f"{place}.name"):
                checked_name(name)
        if color is not None:
            with _At(f"{place}.color"):
                checked_color(color)
        object_class = self.object_class(record.get("class"), f"{place}.class")
        prompts = self.array(record["prompts"], f"{place}.prompts")
        if not prompts:
            refuse(f"{place}.prompts", "no prompts; give points, a box or a mask, or leave it out")
        described = {"name": name, "color": color, "object_class": object_class}
        marks = _FrameMarks(result, object_id, described)
        for number, prompt in enumerate(prompts):
            here = f"{place}.prompts[{number}]"
            keys = ("points", "box", "mask")
            self.check_keys(prompt, here, required=("frame",), optional=(*keys, "mask_value"))
            with _At(f"{here}.frame"):
                frame = whole_number(prompt["frame"], "frame", 0, MAX_FRAME, named=False)
            points, box, mask = (prompt.get(key) for key in keys)
            if points is not None:
                points = self.points(points, f"{here}.points")
            if box is not None:
                box = self.numbers(box, f"{here}.box", "[x0, y0, x1, y1]", 4)
            choice = prompt.get("mask_value")
            if choice is not None:
                with _At(f"{here}.mask_value"):
                    choice = checked_choice(choice)
            if mask is not None:
                mask = self.mask(mask, f"{here}.mask", choice)
            elif choice is not None:
                refuse(f"{here}.mask_value", "there is no mask on this frame; remove the key")
            marks.add(here, frame, points, box, mask)
        marks.finish()

    def object_class(self, data: Any, place: str) -> ObjectClass | None:
        if data is None:
            return None
        optional = ("color", "terminology")
        self.check_keys(data, place, required=("id", "name"), optional=optional)
        with _At(place):
            for key in optional:
                if not isinstance(data.get(key, ""), str):
                    raise PromptError(f"{key} must be text, got {show(data[key])}")
            return ObjectClass(**data)

    def check_keys(
        self, data: Any, place: str, required: Iterable[str], optional: Iterable[str]
    ) -> None:
        if not isinstance(data, _JsonObject):
            refuse(place, f"must be an object {{...}}, got {show(data)}")
        known = [*required, *optional]
        at = f"{place}." if place else ""
        for key in data:
            if key not in known:
                close = difflib.get_close_matches(key[:100], known, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
                refuse(f"{at}{one_line(key)}", f"unknown key; {hint}")
        if data.repeated is not None:
            refuse(f"{at}{data.repeated}", "the key is given twice; keep one of them")
        for key in required:
            if key not in data:
                refuse(place, f"the key '{key}' is missing; add it")

    def array(self, data: Any, place: str) -> list[Any]:
        if not isinstance(data, list):
            refuse(place, f"must be a list [...], got {show(data)}")
        return data

    def numbers(self, data: Any, place: str, form: str, count: int) -> list[float]:
        if not isinstance(data, list) or len(data) != count:
            refuse(place, f"must be {form}, got {show(data)}")
        for index, value in enumerate(data):
            if isinstance(value, bool) or not isinstance(value, int | float):
                refuse(f"{place}[{index}]", f"must be a number, got {show(value)}")
            if not is_finite(value):
                refuse(f"{place}[{index}]", f"must be a finite number, got {show(value)}")
        return [float(value) for value in data]

    def points(self, data: Any, place: str) -> np.ndarray:
        rows = [
            self.numbers(row, f"{place}[{index}]", "[x, y, label]", 3)
            for index, row in enumerate(self.array(data, place))
        ]
        for index, (_, _, label) in enumerate(rows):
            if label not in (0, 1):
                refuse(
                    f"{place}[{index}][2]",
                    f"the label must be 1 (on the object) or 0 (outside it), got {label:g}",
                )
        return np.array(rows, np.float64).reshape(-1, 3)

    def mask(self, data: Any, place: str, choice: int | str | None) -> np.ndarray:
        if not isinstance(data, str):
            refuse(place, f"must be the path of a PNG file, got {show(data)}")
        with _At(place):
            check_mask_path(data)
            self.mask_files.append(self.folder / data)
            mask = read_mask(self.folder, data, choice)
            self.mask_pixels += mask.size
            if self.mask_pixels > MASK_PIXELS.value:
                raise PromptError(
                    f"the masks of this file have more than {MASK_PIXELS.value} pixels together; "
                    f"use fewer, or raise {MASK_PIXELS.variable}"
                )
            return mask


class _FrameMarks:
    """Adds the marks of one object to a set.

    Further points of a frame are collected and added together, because each addition copies the
    points that are there: adding them one by one would take quadratic time.
    """

    def __init__(self, result: PromptSet, object_id: int, described: Mapping[str, Any]) -> None:
        self._add = partial(result.add, object_id=object_id, **described)
        self._frames: set[int] = set()
        self._waiting: dict[int, tuple[str, list[np.ndarray]]] = {}

    def add(
        self,
        place: str,
        frame: int,
        points: np.ndarray | None,
        box: list[float] | None,
        mask: np.ndarray | None,
    ) -> None:
        if frame in self._frames and points is not None and box is None and mask is None:
            self._waiting.setdefault(frame, (place, []))[1].append(points)
            return
        self._frames.add(frame)
        self._add_waiting(frame)
        with _At(place):
            self._add(frame=frame, points=points, box=box, mask=mask)

    def finish(self) -> None:
        for frame in list(self._waiting):
            self._add_waiting(frame)

    def _add_waiting(self, frame: int) -> None:
        if frame in self._waiting:
            place, points = self._waiting.pop(frame)
            with _At(place):
                self._add(frame=frame, points=np.concatenate(points))


class _TextReader(_Reader):
    """Makes a `PromptSet` of parsed JSON and masks that are given by their names."""

    def __init__(self, masks: Mapping[str, np.ndarray]) -> None:
        super().__init__(Path())
        self.masks = masks

    def mask(self, data: Any, place: str, choice: int | str | None) -> np.ndarray:
        if not isinstance(data, str) or data not in self.masks:
            refuse(place, f"there is no mask {show(data)} beside the prompts")
        return self.masks[data]


class _At:
    """Puts a place in the file before the message of a `PromptError` raised in the block."""

    def __init__(self, place: str = "") -> None:
        self.place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PromptError) and self.place:
            raise PromptError(f"{self.place}: {error}") from error.__cause__


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
