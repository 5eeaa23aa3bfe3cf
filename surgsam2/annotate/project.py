"""The work on one video: objects, prompts, masks and states, kept in an output folder.

The folder has the files of `surgsam2 segment` (``masks/``, and ``prompts.json`` with its mask
images), so that the command and 3D Slicer can go on from it, and ``annotation.json`` with what
these do not hold: objects without prompts, locks, and the state of each frame. Label images are
written at once; the two JSON files are written by `Project.save`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.annotate.history import History, Snapshot
from surgsam2.annotate.states import AnnotatedObject, FrameState, ObjectTimeline, runs_of, values_of
from surgsam2.errors import ImageFileError, InputError, OutputError
from surgsam2.prompts import Prompt, PromptedObject, PromptSet, load_prompts
from surgsam2.prompts.checks import checked_color, checked_id, checked_name
from surgsam2.prompts.file import save_prompts
from surgsam2.prompts.object_class import ClassList, ObjectClass
from surgsam2.storage.atomic_file import write_bytes_atomically, write_text_atomically, writing
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.label_image import LABELS, label_name, label_palette, write_labels
from surgsam2.storage.output_folder import ANNOTATION, PROMPTS, hold_output
from surgsam2.storage.palette import default_color

VERSION = 1


class Project:
    """The work on one video in one folder. Use it in a ``with`` block; it holds the folder.

    Args:
        folder: the output folder; it is made when it is missing.
        width: the width of the video in pixels.
        height: the height of the video in pixels.
        frame_count: the number of frames of the video.
        classes: the classes that objects get by their names.

    Raises:
        OutputError: the folder belongs to something else, is being written, or its project
            file is damaged, of another version, or of another video.
    """

    def __init__(
        self,
        folder: Path | str,
        width: int,
        height: int,
        frame_count: int,
        classes: ClassList | None = None,
    ) -> None:
        self.classes = classes
        self.width, self.height, self.frame_count = width, height, frame_count
        self.objects: dict[int, AnnotatedObject] = {}
        self.prompts: dict[int, dict[int, Prompt]] = {}
        self.timelines: dict[int, ObjectTimeline] = {}
        self.history = History()
        self.changed = False
        self._snapshot: Snapshot | None = None
        self._cached: tuple[int, np.ndarray] | None = None
        self._resources = ExitStack()
        self.folder = self._resources.enter_context(hold_output(folder)).path
        try:
            with writing(self.folder):
                (self.folder / LABELS).mkdir(exist_ok=True)
            self._load()
        except BaseException:
            self._resources.close()
            raise

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Save what changed and release the folder."""
        try:
            if self.changed:
                self.save()
        finally:
            self._resources.close()

    # objects

    def add_object(self, name: str | None = None, color: str | None = None) -> AnnotatedObject:
        """Add an object with the next free id.

        Raises:
            PromptError: the name or the colour cannot be used.
        """
        object_id = max(self.objects, default=0) + 1
        place = f"object {checked_id(object_id)}"
        label = name or f"object {object_id}"
        checked_name(label, place)
        item = AnnotatedObject(
            object_id, label, checked_color(color or default_color(object_id), place)
        )
        self._put_object(item)
        return item

    def update_object(self, object_id: int, **changes: Any) -> AnnotatedObject:
        """Change the name, colour, lock or visibility of an object.

        A name that is one of `classes` also sets the class of the object and its colour.

        Raises:
            InputError: there is no such object.
            PromptError: the name or the colour cannot be used.
        """
        place = f"object {object_id}"
        if "name" in changes:
            checked_name(changes["name"], place)
            found = self.classes.by_name(changes["name"]) if self.classes is not None else None
            if found is not None:
                changes = {"color": found.color} | changes | {"object_class": found}
        if "color" in changes:
            changes["color"] = checked_color(changes["color"], place)
        item = replace(self.object(object_id), **changes)
        self._put_object(item)
        return item

    def object(self, object_id: int) -> AnnotatedObject:
        """Return an object.

        Raises:
            InputError: there is no such object.
        """
        if object_id not in self.objects:
            raise InputError(f"there is no object {object_id}; add it first")
        return self.objects[object_id]

    def remove_object(self, object_id: int) -> None:
        """Remove an object with its prompts and its masks on all frames."""
        self.object(object_id)
        frames = np.flatnonzero(self.timelines[object_id].states)
        for frame in frames.tolist():
            self.set_masks(frame, {object_id: None})
        del self.objects[object_id], self.prompts[object_id], self.timelines[object_id]
        self.changed = True

    def _put_object(self, item: AnnotatedObject) -> None:
        self.objects[item.id] = item
        self.prompts.setdefault(item.id, {})
        self.timelines.setdefault(item.id, ObjectTimeline(self.frame_count))
        self.changed = True

    # prompts

    def prompt_set(self, object_ids: Iterable[int]) -> PromptSet:
        """Return the prompts of these objects; objects without a prompt are left out."""
        chosen = PromptSet()
        for object_id in object_ids:
            item, prompts = self.objects[object_id], tuple(self.prompts[object_id].values())
            if prompts:
                described = (item.name, item.color, prompts, item.object_class)
                chosen.put(PromptedObject(item.id, *described))
        return chosen

    def set_prompt(self, object_id: int, frame: int, prompt: Prompt | None) -> None:
        """Set or remove the prompt of an object on a frame."""
        if prompt is None:
            self.prompts[object_id].pop(frame, None)
        else:
            self.prompts[object_id][frame] = prompt
        self.changed = True

    # masks

    def labels(self, frame: int) -> np.ndarray:
        """Return the (H, W) uint16 object ids of a frame, 0 where there is no object.

        Raises:
            OutputError: the label image cannot be read.
        """
        if self._cached is None or self._cached[0] != frame:
            self._cached = (frame, self._read_labels(frame))
        return self._cached[1]

    def mask(self, object_id: int, frame: int) -> np.ndarray:
        """Return the (H, W) bool mask of an object on a frame."""
        return self.labels(frame) == object_id

    def set_mask(
        self,
        object_id: int,
        frame: int,
        mask: np.ndarray | None,
        state: FrameState,
        score: float | None = None,
    ) -> None:
        """Set the mask of an object on a frame; see `set_masks`.

        Args:
            object_id: the object.
            frame: the index of the frame.
            mask: (H, W) bool; None removes the mask.
            state: how the mask came about.
            score: the predicted IoU, 0 to 1, if it is known.
        """
        self.set_masks(frame, {object_id: mask})
        self.timelines[object_id].put(frame, state, score)

    def set_masks(self, frame: int, masks: Mapping[int, np.ndarray | None]) -> None:
        """Write the masks of several objects on a frame as one label image.

        Pixels of locked objects stay theirs; other objects give way, later ones on top.

        Args:
            frame: the index of the frame.
            masks: (H, W) bool by object id; None removes the mask.
        """
        labels = self.labels(frame).copy()
        for object_id, mask in masks.items():
            labels[labels == object_id] = 0
            if mask is not None:
                locked = [o.id for o in self.objects.values() if o.locked and o.id != object_id]
                labels[mask & ~np.isin(labels, locked) if locked else mask] = object_id
        if self._snapshot is not None and frame not in self._snapshot.labels:
            self._snapshot.labels[frame] = self._label_bytes(frame)
        self._store(frame, labels)

    def _store(self, frame: int, labels: np.ndarray) -> None:
        colors = {o.id: _rgb(o.color) for o in self.objects.values()}
        palette = label_palette(colors)
        stored = labels.astype(np.uint8) if palette is not None else labels
        write_labels(self._label_path(frame), stored, palette)
        self._cached = (frame, labels)
        self.changed = True

    def _label_path(self, frame: int) -> Path:
        return self.folder / LABELS / label_name(frame)

    def _label_bytes(self, frame: int) -> bytes | None:
        path = self._label_path(frame)
        return path.read_bytes() if path.is_file() else None

    def _read_labels(self, frame: int) -> np.ndarray:
        size = (self.height, self.width)
        path = self._label_path(frame)
        if not path.is_file():
            return np.zeros(size, np.uint16)
        try:
            labels = read_pixels(path).values
        except ImageFileError as error:
            raise OutputError(str(error)) from error
        if labels.shape != size:
            raise OutputError(f"{path}: expected {size[1]}x{size[0]} pixels, got {labels.shape}")
        return labels.astype(np.uint16)

    # changes

    @contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Make what is changed in the block one step of the history.

        After an error, such as that of a full disk, everything is as before the block.
        """
        self.begin_change(name)
        try:
            yield
        except BaseException:
            snapshot, self._snapshot = self._snapshot, None
            if snapshot is not None:
                with suppress(OutputError):
                    self._restore(snapshot)
            raise
        self.end_change()

    def begin_change(self, name: str) -> None:
        """Begin a step of the history that lasts until `end_change`."""
        assert self._snapshot is None, "a change is being made"
        self._snapshot = self._now(name)

    def end_change(self) -> None:
        """End the step that `begin_change` began."""
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            self.history.add(snapshot)

    def undo(self) -> set[int]:
        """Take the latest change back; return the frames whose label images changed."""
        snapshot = self.history.take_undo()
        if snapshot is None:
            return set()
        self.history.add_redo(self._restore(snapshot))
        return set(snapshot.labels)

    def redo(self) -> set[int]:
        """Make the change again that undo took back; return the frames that changed."""
        snapshot = self.history.take_redo()
        if snapshot is None:
            return set()
        self.history.add_undo(self._restore(snapshot))
        return set(snapshot.labels)

    def _now(self, name: str) -> Snapshot:
        return Snapshot(
            name,
            dict(self.objects),
            {object_id: dict(prompts) for object_id, prompts in self.prompts.items()},
            {object_id: line.copy() for object_id, line in self.timelines.items()},
        )

    def _restore(self, snapshot: Snapshot) -> Snapshot:
        """Go back to a snapshot; return one of what was there."""
        before = self._now(snapshot.name)
        before.labels = {frame: self._label_bytes(frame) for frame in snapshot.labels}
        self.objects, self.prompts = snapshot.objects, snapshot.prompts
        self.timelines = snapshot.timelines
        self._cached = None
        for frame, data in snapshot.labels.items():
            path = self._label_path(frame)
            if data is None:
                with writing(path):
                    path.unlink(missing_ok=True)
            else:
                write_bytes_atomically(path, data)
        self.changed = True
        return before

    # files

    def save(self) -> None:
        """Write ``prompts.json`` and ``annotation.json``.

        Raises:
            OutputError: they cannot be written; the files before are intact.
        """
        prompts = self.prompt_set(self.objects)
        path = self.folder / PROMPTS
        if len(prompts):
            save_prompts(prompts, path, video=self)
        else:
            with writing(path):
                path.unlink(missing_ok=True)
        content = {
            "version": VERSION,
            "video": {"width": self.width, "height": self.height, "frames": self.frame_count},
            "objects": [
                asdict(item)
                | {
                    "states": runs_of(self.timelines[item.id].states),
                    "scores": base64.b64encode(self.timelines[item.id].scores.tobytes()).decode(),
                }
                for item in self.objects.values()
            ],
        }
        write_text_atomically(self.folder / ANNOTATION, json.dumps(content, ensure_ascii=False))
        self.changed = False

    def _load(self) -> None:
        path = self.folder / ANNOTATION
        if not path.is_file():
            self._import_results()
            return
        try:
            content = parse_json(path.read_bytes())
            self._take(content, path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{path}: the project file is damaged ({error}); move it away to start anew from "
                "the masks and prompts that are beside it"
            ) from error
        self._load_prompts()
        self._take_newer_masks(path)

    def _take(self, content: Any, path: Path) -> None:
        if content["version"] != VERSION:
            raise OutputError(
                f"{path}: the project has version {content['version']!r}, this program writes "
                f"{VERSION}; use the program that began it, or another folder"
            )
        here = {"width": self.width, "height": self.height, "frames": self.frame_count}
        if content["video"] != here:
            raise OutputError(
                f"{path}: the project is of another video ({content['video']}, this one has "
                f"{here}); open that video, or choose another folder"
            )
        for record in content["objects"]:
            scores = np.frombuffer(base64.b64decode(record["scores"], validate=True), np.uint8)
            if len(scores) != self.frame_count:
                raise ValueError("the scores do not cover the frames")
            place = f"object {checked_id(record['id'])}"
            checked_name(record["name"], place)
            item = AnnotatedObject(
                record["id"],
                record["name"],
                checked_color(record["color"], place),
                record["locked"] is True,
                record["visible"] is True,
                ObjectClass(**kind) if (kind := record.get("object_class")) else None,
            )
            self._put_object(item)
            line = self.timelines[item.id]
            line.states = values_of(record["states"], self.frame_count)
            line.scores = scores.copy()
        self.changed = False

    def _load_prompts(self) -> None:
        path = self.folder / PROMPTS
        if not path.is_file():
            return
        prompts = load_prompts(path)
        prompts.validate(self.width, self.height, self.frame_count)
        for item in prompts.objects:
            if item.id not in self.objects:
                kind = item.object_class
                self._put_object(AnnotatedObject(item.id, item.name, item.color, object_class=kind))
            for prompt in item.prompts:
                self.prompts[item.id][prompt.frame] = prompt

    def _import_results(self) -> None:
        """Take prompts and masks that another program wrote into this folder."""
        self._load_prompts()
        self._take_newer_masks(None)
        self.changed = False

    def _take_newer_masks(self, state: Path | None) -> None:
        """Look at label images that are newer than the project file: the process may have died."""
        since = state.stat().st_mtime_ns if state is not None else 0
        for path in sorted((self.folder / LABELS).glob("[0-9]*.png")):
            if not path.stem.isdigit() or path.stat().st_mtime_ns < since:
                continue
            frame = int(path.stem)
            if frame >= self.frame_count:
                continue
            for object_id in np.unique(self._read_labels(frame)).tolist():
                if object_id and object_id not in self.objects:
                    name, color = f"object {object_id}", default_color(object_id)
                    self._put_object(AnnotatedObject(object_id, name, color))
                if object_id and not self.timelines[object_id].states[frame]:
                    prompted = frame in self.prompts[object_id]
                    self.timelines[object_id].put(
                        frame, FrameState.PROMPTED if prompted else FrameState.TRACKED
                    )


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue
