"""The work on one video: objects, prompts, masks and states, kept in an output folder.

The folder has the files of `surgsam2 segment` (``masks/``, and ``prompts.json`` with its mask
images), so that the command and 3D Slicer can go on from it, and ``annotation.json`` with what
these do not hold: objects without prompts, locks, and the state of each frame. Label images are
written at once; the two JSON files are written by `Project.save`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.annotate.history import History, Snapshot
from surgsam2.annotate.label_images import LabelImages
from surgsam2.annotate.project_file import VideoSize, read_project_file, write_project_file
from surgsam2.annotate.project_view import ProjectView
from surgsam2.annotate.states import AnnotatedObject, FrameState, ObjectTimeline
from surgsam2.errors import InputError, OutputError
from surgsam2.prompts import Prompt, PromptedObject, PromptSet, load_prompts
from surgsam2.prompts.checks import checked_color, checked_id, checked_name
from surgsam2.prompts.file import save_prompts
from surgsam2.prompts.object_class import ClassList
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.output_folder import ANNOTATION, PROMPTS, hold_output
from surgsam2.storage.palette import default_color

MAX_STATES = 2**28
"""Largest number of objects times frames; each takes two bytes."""
MARKS = ("good", "absent", "tracked", "erased")
"""What a person can say of a frame."""


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
        self._resources = ExitStack()
        self.folder = self._resources.enter_context(hold_output(folder)).path
        try:
            self._images = LabelImages(self.folder, width, height)
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
            InputError: there are too many objects.
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
        count = len(self.objects.keys() | {item.id})
        if count * self.frame_count > MAX_STATES:
            raise InputError(
                f"{count} objects on {self.frame_count} frames are too many for a project; it has "
                f"{MAX_STATES // self.frame_count} at most"
            )
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
        return self._images.read(frame)

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
            self._snapshot.labels[frame] = self._images.file_bytes(frame)
        self._images.write(frame, labels, {o.id: o.color for o in self.objects.values()})
        self.changed = True

    def mark(self, object_id: int, frame: int, what: str) -> bool:
        """Say what a person says of an object on a frame.

        Args:
            object_id: the object.
            frame: the index of the frame.
            what: one of `MARKS`: ``good`` approves the mask, ``absent`` removes it and says that
                the object is not visible, ``tracked`` takes either back, ``erased`` removes mask
                and prompt.

        Returns:
            Whether the label image changed.
        """
        line = self.timelines[object_id]
        self.changed = True
        if what in ("absent", "erased"):
            seen = line.states[frame] not in (FrameState.NONE, FrameState.EMPTY)
            had = seen and bool(self.mask(object_id, frame).any())
            self.set_prompt(object_id, frame, None)
            state = FrameState.ABSENT if what == "absent" else FrameState.NONE
            if had:
                self.set_mask(object_id, frame, None, state)
            else:
                line.put(frame, state)
            return had
        if what == "good":
            if line.states[frame] != FrameState.NONE:
                line.states[frame] = FrameState.GOOD
        elif line.states[frame] == FrameState.GOOD:
            line.states[frame] = FrameState.TRACKED
        elif line.states[frame] == FrameState.ABSENT:
            line.states[frame] = FrameState.NONE
        return False

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
            snapshot.compare(self.prompts)
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
        before.labels = {frame: self._images.file_bytes(frame) for frame in snapshot.labels}
        self.objects, self.prompts = snapshot.objects, snapshot.prompts
        self.timelines = snapshot.timelines
        before.compare(self.prompts)
        for frame, data in snapshot.labels.items():
            self._images.put_back(frame, data)
        self.changed = True
        return before

    # files

    def view(self) -> ProjectView:
        """Return what the project holds now, for another thread; see `ProjectView`."""
        now = self._now("")
        images = LabelImages(self.folder, self.width, self.height)
        return ProjectView(self.folder, now.objects, now.prompts, now.timelines, images)

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
        write_project_file(
            self.folder / ANNOTATION, self._video_size, self.objects.values(), self.timelines
        )
        self.changed = False

    @property
    def _video_size(self) -> VideoSize:
        return VideoSize(self.width, self.height, self.frame_count)

    def _load(self) -> None:
        """Read the project file; without one, take what another program wrote into the folder."""
        path = self.folder / ANNOTATION
        since = 0
        if path.is_file():
            for item, line in read_project_file(path, self._video_size):
                self._put_object(item)
                self.timelines[item.id] = line
            since = path.stat().st_mtime_ns
        self.changed = False
        self._load_prompts()
        self._take_masks_since(since)
        if not path.is_file():
            self.changed = False  # Looking at results of the command writes nothing.

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

    def _take_masks_since(self, since_ns: int) -> None:
        """Look at label images written after the project file: the process may have died."""
        for frame in self._images.frames_since(since_ns):
            if frame >= self.frame_count:
                continue
            for object_id in np.unique(self.labels(frame)).tolist():
                if object_id and object_id not in self.objects:
                    name, color = f"object {object_id}", default_color(object_id)
                    self._put_object(AnnotatedObject(object_id, name, color))
                if object_id and not self.timelines[object_id].states[frame]:
                    prompted = frame in self.prompts[object_id]
                    self.timelines[object_id].put(
                        frame, FrameState.PROMPTED if prompted else FrameState.TRACKED
                    )
