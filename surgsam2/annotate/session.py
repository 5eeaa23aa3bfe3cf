"""The annotator's session: commands of the page in, changes of the project and events out.

The session runs in one asyncio loop. Commands change the project at once or ask the engine; what
the engine answers is written to the project and reported to the page as events, which are plain
dictionaries with a ``type``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.export import offered_formats
from surgsam2.annotate.masks import label_runs, mask_from_runs
from surgsam2.annotate.project import MARKS, Project
from surgsam2.annotate.states import FrameState, runs_of
from surgsam2.annotate.track import ProjectTrack
from surgsam2.engine import (
    EngineClient,
    Event,
    Failed,
    Finished,
    Previewed,
    Refined,
)
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.prompts import Prompt, PromptSet
from surgsam2.results.prompt_advice import advise
from surgsam2.results.thresholds import Thresholds
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video import Video

SAVE_SECONDS = 1.0
"""Time after a change until the project is saved."""
SHOW_SECONDS = 1.0
"""Time from one report of the objects' timelines during a track to the next."""
MAX_LATER = 32
"""Commands that may wait for the mask of a click; strokes of the brush may be large."""
_AT_ONCE = ("cancel", "hover", "restart_engine", "agree_engine")
"""Commands that are carried out while a track, or the mask of a click, is in progress."""

Send = Callable[[dict[str, Any]], None]


@dataclass
class _Correction:
    """A mask that is being corrected by clicks on one frame."""

    object_id: int
    frame: int
    mask: np.ndarray
    points: list[list[float]]


class Session:
    """One video, its project and the engine.

    Args:
        video: the open video; frames for the page come from it.
        source: the path of the video, which the engine opens itself, or is sent.
        project: the project, which is held.
        engine: the engine's process, which other sessions may have used before.
    """

    def __init__(self, video: Video, source: Path, project: Project, engine: EngineLink) -> None:
        self.video = video
        self.project = project
        self._source = source
        self._engine = engine
        self._send: Send | None = None
        self._track: ProjectTrack | None = None
        self._correction: _Correction | None = None
        self._awaits_mask = False
        self._later = deque[dict[str, Any]]()  # commands that came while a mask is awaited
        self._dirty_since: float | None = None
        self._shown = 0.0
        self._commands: dict[str, Callable[[dict[str, Any]], object]] = {
            "add_object": self._add_object,
            "update_object": self._update_object,
            "remove_object": self._remove_object,
            "add_point": self._add_point,
            "set_box": self._set_box,
            "clear_prompt": self._clear_prompt,
            "hover": self._hover,
            "paint": self._paint,
            "mark": self._mark,
            "track": self._start_track,
            "cancel": lambda _: self._engine.cancel(),
            "restart_engine": lambda _: self._engine.restart(),
            "agree_engine": lambda _: self._engine.agree(),
            "undo": lambda _: self._step_history(self.project.undo),
            "redo": lambda _: self._step_history(self.project.redo),
        }

    # the page

    @property
    def connected(self) -> bool:
        """Whether a page is connected."""
        return self._send is not None

    def connect(self, send: Send, beside: dict[str, Any] | None = None) -> None:
        """Connect the page; it gets the whole state at once.

        Args:
            send: takes the events for the page.
            beside: what the page gets besides the state of the session.
        """
        self._send = send
        self.report(self.hello() | (beside or {}))

    def disconnect(self) -> Send | None:
        """Forget the page, and return what took its events; what runs goes on."""
        send, self._send = self._send, None
        return send

    def hello(self) -> dict[str, Any]:
        """Return the whole state of the session for a page that has just connected."""
        video = self.video
        return self._objects_event() | {
            "type": "hello",
            "video": {
                "name": self._source.name,
                "width": video.width,
                "height": video.height,
                "frames": video.frame_count,
                "fps": float(video.fps or 0) or 25.0,
            },
            "folder": str(self.project.folder),
            "model": self._engine.model.model,
            "classes": [
                {"name": item.name, "color": item.color} for item in self.project.classes or ()
            ],
            "formats": offered_formats(video),
            "status": self._engine.status,
            "notice": self._engine.notice,
            "consent": self._engine.wanted_consent,
            "tracking": self._track is not None,
        }

    def handle(self, command: dict[str, Any]) -> None:
        """Carry out a command of the page. A refusal becomes an event ``error``.

        While the mask of a click or a box is on its way, later commands wait for it: each click
        counts, in order, and a track starts from all of them. At most `MAX_LATER` can wait.
        """
        if not self._awaits_mask or command.get("command") in _AT_ONCE:
            self._carry_out(command)
        elif len(self._later) < MAX_LATER:
            self._later.append(command)
        else:
            text = (
                f"this was not done, because {MAX_LATER} commands already wait for the mask of a "
                "click; do it again when the mask has come"
            )
            self.report({"type": "error", "message": text})

    def _carry_out(self, command: dict[str, Any]) -> None:
        name = command.get("command")
        action = self._commands.get(name) if isinstance(name, str) else None
        try:
            if action is None:
                raise InputError(f"unknown command {name!r}")
            if self._track is not None and name not in _AT_ONCE:
                raise InputError("tracking is in progress; wait for its end, or cancel it first")
            action(command)
        except SurgSAM2Error as error:
            self.report({"type": "error", "message": str(error)})
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            text = f"the command {name!r} cannot be read ({type(error).__name__}: {error})"
            self.report({"type": "error", "message": text})

    def labels(self, frame: int) -> bytes:
        """Return the label image of a frame as runs; see `label_runs`."""
        return label_runs(self.project.labels(self._checked_frame(frame)))

    def report(self, event: dict[str, Any]) -> None:
        """Pass an event on to the page, if one is connected."""
        if self._send is not None:
            self._send(event)

    def _emit_objects(self) -> None:
        self.report(self._objects_event())

    def _objects_event(self) -> dict[str, Any]:
        project = self.project
        return {
            "type": "objects",
            "objects": [
                asdict(item)
                | self._timeline(item.id)
                | {
                    "prompts": {
                        prompt.frame: {
                            "points": np.column_stack([prompt.points, prompt.labels]).tolist(),
                            "box": None if prompt.box is None else prompt.box.tolist(),
                        }
                        for prompt in project.prompts[item.id].values()
                    }
                }
                for item in project.objects.values()
            ],
            "undo": project.history.undo_name,
            "redo": project.history.redo_name,
        }

    def _timeline(self, object_id: int) -> dict[str, Any]:
        line = self.project.timelines[object_id]
        tracked = line.states == FrameState.TRACKED
        doubtful = (tracked & (line.scores < Thresholds().low_iou * 254)).astype(np.uint8)
        return {"states": runs_of(line.states), "doubtful": runs_of(doubtful)}

    def _changed(self, frames: set[int] | None = None) -> None:
        """Report changed label images and objects, and have the project saved soon."""
        if self._dirty_since is None:
            self._dirty_since = time.monotonic()
        self._emit_objects()
        if frames:
            self.report({"type": "labels", "frames": sorted(frames)})

    # commands

    def _add_object(self, command: dict[str, Any]) -> int:
        with self.project.change("add an object"):
            item = self.project.add_object(command.get("name"), command.get("color"))
        self._changed()
        self.report({"type": "selected", "object": item.id})
        return item.id

    def _update_object(self, command: dict[str, Any]) -> None:
        allowed = {"name": str, "color": str, "locked": bool, "visible": bool}
        changes = {k: v for k, v in command["changes"].items() if k in allowed}
        for key, value in changes.items():
            if not isinstance(value, allowed[key]):
                raise InputError(f"{key} must be {allowed[key].__name__}, got {value!r}")
        with self.project.change("change an object"):
            self.project.update_object(int(command["object"]), **changes)
        self._changed()

    def _remove_object(self, command: dict[str, Any]) -> None:
        object_id = self._editable(command)
        frames = set(np.flatnonzero(self.project.timelines[object_id].states).tolist())
        with self.project.change("remove an object"):
            self.project.remove_object(object_id)
        self._changed(frames)

    def _add_point(self, command: dict[str, Any]) -> None:
        object_id, frame = self._marked(command), self._frame(command)
        point = [float(command["x"]), float(command["y"]), int(bool(command["positive"]))]
        prompt = self.project.prompts[object_id].get(frame)
        if prompt is None or prompt.mask is not None:
            mask = self.project.mask(object_id, frame)
            if mask.any():
                self._correct(object_id, frame, mask, point)
                return
        points = [] if prompt is None else np.column_stack([prompt.points, prompt.labels]).tolist()
        box = None if prompt is None else prompt.box
        self._preview(object_id, frame, [*points, point], box)

    def _set_box(self, command: dict[str, Any]) -> None:
        object_id, frame = self._marked(command), self._frame(command)
        box = [float(value) for value in command["box"]]
        prompt = self.project.prompts[object_id].get(frame)
        keeps = prompt is not None and prompt.mask is None
        points = np.column_stack([prompt.points, prompt.labels]).tolist() if keeps else []  # type: ignore[union-attr]
        self._preview(object_id, frame, points, box)

    def _preview(self, object_id: int, frame: int, points: list[list[float]], box: Any) -> None:
        """Ask for the mask of points and a box; it becomes the object's mask on the frame."""
        prompts = self._single(object_id, frame, points, box)
        prompt = prompts.on_frame(frame)[object_id]
        self._correction = None

        def take(event: Event) -> None:
            if isinstance(event, Previewed):
                mask = event.masks[object_id]
                with self.project.change("mark an object"):
                    self.project.set_prompt(object_id, frame, prompt)
                    self.project.set_mask(
                        object_id, frame, mask, FrameState.PROMPTED, event.iou[object_id]
                    )
                self._changed({frame})
                for text in advise(self.video[frame], prompt, mask):
                    self.report({"type": "advice", "message": f"Object {object_id}: {text}."})

        self._await_mask(lambda client: client.preview(frame, prompts), take)

    def _correct(self, object_id: int, frame: int, mask: np.ndarray, point: list[float]) -> None:
        """Ask for the mask corrected by a click; it becomes a mask prompt on the frame."""
        same = self._correction
        if same is None or (same.object_id, same.frame) != (object_id, frame):
            same = _Correction(object_id, frame, mask.copy(), [])
        points = [*same.points, point]
        self._correction = correction = _Correction(object_id, frame, same.mask, points)

        def take(event: Event) -> None:
            if isinstance(event, Refined):
                self._put_painted(object_id, frame, event.mask, "correct a mask")
                self._correction = correction

        self._await_mask(
            lambda client: client.refine(frame, object_id, correction.mask, points), take
        )

    def _await_mask(
        self, request: Callable[[EngineClient], int], take: Callable[[Event], None]
    ) -> None:
        """Ask the engine for a mask, and let later commands wait for the answer."""

        def answered(event: Event) -> None:
            if not isinstance(event, Previewed | Refined | Finished | Failed):
                return
            self._awaits_mask = False
            try:
                take(event)
            finally:
                while self._later and not self._awaits_mask:
                    self._carry_out(self._later.popleft())

        self._engine.ask(request, answered)
        self._awaits_mask = True

    def _paint(self, command: dict[str, Any]) -> None:
        object_id, frame = self._marked(command), self._frame(command)
        stroke = mask_from_runs(command["runs"], self.video.width, self.video.height)
        mask = self.project.mask(object_id, frame)
        mask = mask & ~stroke if command["erase"] else mask | stroke
        self._put_painted(object_id, frame, mask, "erase" if command["erase"] else "paint")

    def _put_painted(self, object_id: int, frame: int, mask: np.ndarray, name: str) -> None:
        """Take a mask that a person made: it is shown, and tracking starts from it."""
        self._correction = None
        with self.project.change(name):
            state = FrameState.CORRECTED if mask.any() else FrameState.ABSENT
            self.project.set_prompt(
                object_id, frame, Prompt(frame, mask=mask) if mask.any() else None
            )
            self.project.set_mask(object_id, frame, mask, state)
        self._changed({frame})

    def _clear_prompt(self, command: dict[str, Any]) -> None:
        object_id, frame = self._editable(command), self._frame(command)
        self._correction = None
        with self.project.change("clear a frame"):
            self.project.set_prompt(object_id, frame, None)
            self.project.set_mask(object_id, frame, None, FrameState.NONE)
        self._changed({frame})

    def _hover(self, command: dict[str, Any]) -> None:
        """Show what a click would give, without keeping it."""
        if not self._engine.can_preview:
            return
        frame = self._frame(command)
        prompts = self._single(1, frame, [[float(command["x"]), float(command["y"]), 1]], None)

        def take(event: Event) -> None:
            if isinstance(event, Previewed):
                runs = np.frombuffer(label_runs(event.masks[1]), "<u4")
                self.report({"type": "hover", "frame": frame, "runs": runs.tolist()})

        self._engine.ask(lambda client: client.preview(frame, prompts), take)

    def _mark(self, command: dict[str, Any]) -> None:
        """Set a range of frames to good or absent, back to tracked, or erase its masks."""
        first, last = sorted((self._frame(command, "first"), self._frame(command, "last")))
        what = command["state"]
        if what not in MARKS:
            raise InputError(f"state must be {', '.join(MARKS[:-1])} or {MARKS[-1]}, got {what!r}")
        ids = [self._editable({"object": one}) for one in command["objects"]]
        changed: set[int] = set()
        with self.project.change(f"mark as {what}"):
            for object_id in ids:
                for frame in range(first, last + 1):
                    if self.project.mark(object_id, frame, what):
                        changed.add(frame)
        self._changed(changed)

    def _step_history(self, step: Callable[[], set[int]]) -> None:
        self._correction = None
        self._changed(step())

    # tracking

    def _start_track(self, command: dict[str, Any]) -> None:
        options = TrackingOptions.from_mapping(
            {
                **self._engine.tracking.as_mapping(),
                "direction": command.get("direction", "forward"),
                "start": command.get("start"),
                "stop": command.get("stop"),
                "allow_overlap": False,
            }
        )
        wanted = command.get("objects") or list(self.project.objects)
        ids = [i for i in map(int, wanted) if not self.project.object(i).locked]
        prompts = self.project.prompt_set([i for i in ids if self.project.prompts[i]])
        if not len(prompts):
            raise InputError("there is nothing to track: click on an object first")
        self._engine.track(
            lambda client: self._begin_track(client, prompts, options), self._take_tracked
        )

    def _begin_track(
        self, client: EngineClient, prompts: PromptSet, options: TrackingOptions
    ) -> int:
        self._track = ProjectTrack(self.project, self.report, self._track_ended)
        try:
            return client.track(prompts, options)
        except SurgSAM2Error:
            self._track.end("failed")
            raise

    def _take_tracked(self, event: Event) -> None:
        if self._track is not None:
            self._track.take(event)

    def _track_ended(self) -> None:
        self._track = None
        self._changed()

    # the engine

    def start(self) -> None:
        """Have the engine work for this session."""
        self._engine.use(self, self._source, self.video)

    def step(self) -> None:
        """Take what the engine reports, and save changes that are due. It does not wait."""
        self._engine.poll()
        self._show_track_if_due()
        self._save_if_due()

    def interrupted(self) -> None:
        """Await nothing from an engine that has ended; a track's results so far are kept."""
        self._awaits_mask = False
        self._later.clear()
        if self._track is not None:
            self._track.end("failed")

    def close(self) -> None:
        """End a track in progress; its results so far are kept."""
        if self._track is not None:
            self._engine.cancel()
            self._track.end("cancelled")

    def _show_track_if_due(self) -> None:
        if self._track is None or time.monotonic() - self._shown < SHOW_SECONDS:
            return
        self._shown = time.monotonic()
        lines = {object_id: self._timeline(object_id) for object_id in self.project.objects}
        self.report({"type": "timelines", "timelines": lines})

    def _save_if_due(self) -> None:
        if self._dirty_since is None or time.monotonic() - self._dirty_since < SAVE_SECONDS:
            return
        self._dirty_since = None
        try:
            self.project.save()
            self.report({"type": "saved"})
        except SurgSAM2Error as error:
            self._dirty_since = time.monotonic()  # It is tried again.
            self.report({"type": "error", "message": str(error)})

    # checks

    def _single(self, object_id: int, frame: int, points: list[list[float]], box: Any) -> PromptSet:
        prompts = PromptSet().add(object_id=object_id, frame=frame, points=points or None, box=box)
        prompts.validate(self.video.width, self.video.height, self.video.frame_count)
        return prompts

    def _editable(self, command: dict[str, Any]) -> int:
        object_id = int(command["object"])
        if self.project.object(object_id).locked:
            raise InputError(f"object {object_id} is locked; unlock it to change it")
        return object_id

    def _marked(self, command: dict[str, Any]) -> int:
        """Return the object that a mark belongs to; None means the newest one, or a first one."""
        if command["object"] is None:
            known = self.project.objects
            command = {**command, "object": max(known) if known else self._add_object({})}
        return self._editable(command)

    def _frame(self, command: dict[str, Any], key: str = "frame") -> int:
        return self._checked_frame(int(command[key]))

    def _checked_frame(self, frame: int) -> int:
        count = self.video.frame_count
        if not 0 <= frame < count:
            raise InputError(f"there is no frame {frame}; the video has frames 0 to {count - 1}")
        return frame
