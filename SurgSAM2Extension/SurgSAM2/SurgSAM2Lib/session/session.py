"""One video of the scene with its objects, prompts and masks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np

from surgsam2.errors import InputError, PromptError
from surgsam2.mrml import MaskNodes, VideoNodes, open_mask_nodes
from surgsam2.mrml.terminology import entry_of
from surgsam2.prompts import Prompt, PromptSet, VideoShape
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.prompts.correction import Correction, check_clicks
from SurgSAM2Lib.prompts.nodes import PromptNodes
from SurgSAM2Lib.prompts.store import PromptStore
from SurgSAM2Lib.review.review import Review
from SurgSAM2Lib.session.classes import Classes
from SurgSAM2Lib.session.frame_set import ABSENT, BAD, EDITED, GOOD, FrameSet
from SurgSAM2Lib.session.history import History, Step
from SurgSAM2Lib.session.locks import Locks
from SurgSAM2Lib.session.objects import Objects


class Session:
    """The objects, prompts and masks that the user has made for a video.

    All of it is in the scene: names, colours and terminology are those of the segments,
    prompts are in text nodes of the browser, marked frames are attributes of the mask
    sequence. A scene that is saved and opened again gives an equal session. Only the undo
    history is not saved.

    Args:
        video: the nodes of the video. Mask nodes are made for it when it has none.

    Raises:
        PromptError: the scene's prompts are damaged or do not fit the video.

    Attributes:
        video: the nodes of the video.
        masks: the nodes of the masks.
        prompts: the prompts by object and frame.
        objects: the objects, one segment each.
        classes: the list of classes, and the class of each object.
        locks: the objects that nothing may change.
        good: frames that tracking must not change.
        bad: frames that the user found wrong.
        edited: frames on which masks were painted since the last track.
        review: the measurements of the masks, and the doubtful frames.
        history: the states that `undo` goes back to.
        on_painted: called when a mask was painted by hand or another module changed a name or a
            colour, during an event of its nodes.
    """

    def __init__(self, video: VideoNodes) -> None:
        self.video = video
        self.prompts = PromptStore(VideoShape(video.width, video.height, video.frame_count))
        self._nodes = PromptNodes(video.browser)
        saved = self._nodes.load()
        if saved is not None:
            self._take_saved(saved)
        self.masks = (
            open_mask_nodes(video.browser)
            if MaskNodes.exists(video.browser)
            else MaskNodes.create(video.scene, video, f"{video.name} segmentation")
        )
        self.objects = Objects(self.masks)
        if saved is not None:  # the user may have deleted the segmentation
            self._add_missing_objects(saved)
        self.classes = Classes(self.masks, self.objects)
        self.locks = Locks(self.masks, self.objects)
        self.good = FrameSet(self.masks, GOOD)
        self.bad = FrameSet(self.masks, BAD)
        self.edited = FrameSet(self.masks, EDITED)
        self._absent: dict[int, FrameSet] = {}
        self.review = Review(self.masks, self.good, self.bad, self.absent)
        self.history = History()
        self.on_painted: Callable[[], None] = lambda: None
        self._corrections: dict[tuple[int, int], Correction] = {}
        self._stop_observing = self.masks.on_edit(self._on_edit)

    def close(self) -> None:
        """Stop observing the scene. Its nodes stay."""
        self._stop_observing()

    def _take_saved(self, saved: PromptSet) -> None:
        try:
            self.prompts.take(saved)
        except PromptError as error:
            text = _(
                "{error}. If another module has added or removed frames, delete the text node "
                "{name} to begin with new prompts; the masks stay"
            )
            raise PromptError(text.format(error=error, name=repr(self._nodes.name))) from error

    @property
    def problem(self) -> str:
        """Why the session cannot go on; empty when it can."""
        try:
            nodes = self.video.browser, self.video.sequence, self.masks.sequence
            frames = self.video.frame_count
        except InputError:
            nodes, frames = (None, None, None), 0
        if None in nodes:
            return _("Nodes of the video were deleted; choose or open a video")
        if frames != self.prompts.video.frames:
            return _(
                "The video has {now} frames now and had {before}; choose it again when nothing "
                "changes it any more"
            ).format(now=frames, before=self.prompts.video.frames)
        return ""

    def absent(self, object_id: int) -> FrameSet:
        """Return the frames on which the user said that an object is not visible."""
        if object_id not in self._absent:
            self._absent[object_id] = FrameSet(self.masks, f"{ABSENT}{object_id}")
        return self._absent[object_id]

    def remove_object(self, object_id: int) -> None:
        """Remove an object with its prompts and all its masks."""
        self.locks.refuse([object_id])
        before = self._state(self.video.current_frame)
        self._keep_object(object_id, before)
        self._take_object_away(object_id)
        self.history.remember(before)
        self.save()

    def _keep_object(self, object_id: int, step: Step) -> None:
        """Let a step bring an object back: its masks and what was measured."""
        area = self.review.measurements.of(object_id, "area")
        step.measurements[object_id] = self.review.measured(object_id)
        unmeasured = [frame for frame in self.masks.tracked_frames if np.isnan(area[frame])]
        for frame in (*np.flatnonzero(area > 0).tolist(), *unmeasured):
            mask = self.masks.mask(frame, object_id)
            if mask.any():
                step.keep(frame, object_id, mask)

    def _take_object_away(self, object_id: int) -> None:
        self.absent(object_id).clear()
        self.objects.remove(object_id)
        self.prompts.remove(object_id)
        self.review.remove(object_id)
        self._corrections = {k: v for k, v in self._corrections.items() if k[0] != object_id}

    # prompts

    def add_point(self, object_id: int, frame: int, x: float, y: float, positive: bool) -> None:
        """Add a point to the object's prompt on a frame.

        Args:
            object_id: id of the object.
            frame: index of the frame.
            x: pixels to the right.
            y: pixels down.
            positive: whether the point is on the object, not outside it.

        Raises:
            PromptError: the point cannot be used; nothing has changed then.
        """
        with self.changing([object_id], [frame]):
            self.prompts.add_point(object_id, frame, x, y, positive)
            self._corrections.pop((object_id, frame), None)

    def set_box(self, object_id: int, frame: int, box: Iterable[float]) -> None:
        """Set the box ``[x0, y0, x1, y1]`` of an object on a frame. Raises `PromptError`."""
        with self.changing([object_id], [frame]):
            self.prompts.set_box(object_id, frame, box)
            self._corrections.pop((object_id, frame), None)

    def set_prompt(self, object_id: int, prompt: Prompt) -> None:
        """Set a whole prompt in place of the one on its frame. Raises `PromptError`."""
        with self.changing([object_id], [prompt.frame]):
            self.prompts.put(object_id, prompt)
            self._corrections.pop((object_id, prompt.frame), None)

    def set_mask(self, object_id: int, frame: int, mask: np.ndarray | None = None) -> None:
        """Make a mask the object's prompt on a frame, and its mask there.

        Args:
            object_id: id of the object.
            frame: index of the frame.
            mask: (H, W) bool or integers, non-zero is the object; None takes the mask that
                is in the scene.

        Raises:
            PromptError: the mask is empty or of another size.
        """
        with self.changing([object_id], [frame]):
            if mask is None:
                mask = self.masks.mask(frame, object_id)
                if not mask.any():
                    raise PromptError(
                        _("nothing is painted for {name} on frame {frame}; paint it first").format(
                            name=self.objects[object_id].name, frame=frame
                        )
                    )
            self.prompts.set_mask(object_id, frame, mask)
            self._corrections.pop((object_id, frame), None)
            self.masks.write(frame, {object_id: np.asarray(mask) != 0})

    def clear_prompts(self, object_id: int, frame: int | None = None) -> None:
        """Remove an object's prompts on a frame, or on all frames when `frame` is None.

        A mask that points or a box gave is removed with them. A corrected mask becomes what
        it was before the correction. A painted mask stays, but is no prompt any more.
        """
        frames = self.prompts.frames(object_id) if frame is None else [frame]
        for index in frames:
            with self.changing([object_id], [index]):
                self._take_prompt_away(object_id, index)

    def take_prompts(self, prompts: PromptSet) -> None:
        """Replace all prompts and add the objects that are missing.

        Raises:
            PromptError: the prompts do not fit the video; nothing has changed then.
            InputError: an object that has prompts, or gets some, is locked.
        """
        self.locks.refuse(self._with_prompts(prompts))
        before = self._state(self.video.current_frame)
        self.prompts.take(prompts)
        known = [style.id for style in self.objects]
        self._add_missing_objects(prompts)
        for item in prompts:
            for prompt in item.prompts:
                if prompt.mask is not None:
                    if item.id in known:
                        before.keep(prompt.frame, item.id, self.masks.mask(prompt.frame, item.id))
                    self.masks.write(prompt.frame, {item.id: prompt.mask})
                    self.review.measure(prompt.frame)
        self._corrections.clear()
        self.history.remember(before)
        self.save()

    def undoable(self, redo: bool = False, running: object = None) -> Step | None:
        """Return the state that undo, or redo, goes back to; None when there is none.

        States that are the present one, such as that before a track that failed, are dropped.

        Args:
            redo: whether to return the state for redo.
            running: the step of a track that is in progress, which is not dropped.
        """
        present = self._state(self.video.current_frame)
        step = self.history.newest(redo)
        while step is not None and step is not running and not step.differs(present):
            self.history.drop_newest(redo)
            step = self.history.newest(redo)
        return step

    def undo(self, redo: bool = False) -> int | None:
        """Undo the last change, or redo the change that was undone last.

        Returns:
            The frame of the change; None when there is none.
        """
        step = self.undoable(redo)
        if step is None:
            return None
        present = self._state(step.frame)
        self._restore_objects(step, present)
        self.prompts.restore(step.prompts)
        self._corrections = dict(step.corrections)
        for name, frames in self._marks().items():
            frames.text = step.marks.get(name, "")
        for frame in step.frames:
            masks = {i: m for i, m in step.masks(frame).items() if i in self.objects}
            self.masks.write(frame, masks)
            self.review.measure(frame)
        for object_id, measured in step.measurements.items():
            self.review.put(object_id, measured)
        self.history.move(present, redo)
        self.save()
        return step.frame

    def _restore_objects(self, step: Step, present: Step) -> None:
        """Remove and add objects as they were; let the present state keep what is replaced."""
        wanted = {style.id: style for style in step.objects}
        known = [style.id for style in self.objects]
        for object_id in known:
            if object_id not in wanted:
                self._keep_object(object_id, present)
                self._take_object_away(object_id)
        for frame in step.frames:
            for object_id in step.kept(frame):
                if object_id in known:
                    present.keep(frame, object_id, self.masks.mask(frame, object_id))
        for object_id, style in wanted.items():
            if object_id not in known:
                self.masks.add_object(style.id, style.name, style.color, style.terminology)

    def prompt_set(
        self, objects: Collection[int] | None = None, frame: int | None = None
    ) -> PromptSet:
        """Return the prompts as the engine takes them, of all or some objects and frames."""
        return self.prompts.as_set(self.classes.of_objects(), objects, frame)

    def save(self) -> None:
        """Write the prompts into the scene; every change of them does so."""
        self._nodes.save(self.prompt_set(), self.prompts.video)

    # corrections

    def clicks(self, object_id: int, frame: int) -> np.ndarray:
        """Return the points of a frame's prompt or correction, (P, 3) rows of x, y, label."""
        correction = self._corrections.get((object_id, frame))
        if correction is not None:
            return correction.points
        prompt = self.prompts.get(object_id, frame)
        if prompt is None:
            return np.zeros((0, 3))
        return np.column_stack([prompt.points, prompt.labels]).reshape(-1, 3)

    def corrects(self, object_id: int, frame: int) -> bool:
        """Return whether clicks on a frame correct a mask rather than begin one.

        They correct a mask that was not made by points or a box of the same frame.
        """
        prompt = self.prompts.get(object_id, frame)
        if prompt is not None:
            return prompt.mask is not None
        return bool(self.masks.mask(frame, object_id).any())

    def correction(
        self, object_id: int, frame: int, clicks: Sequence[Sequence[float]] | np.ndarray
    ) -> Correction:
        """Return the mask that all clicks of a frame together correct, and the clicks.

        Args:
            object_id: id of the object.
            frame: index of the frame.
            clicks: (P, 3) rows of x, y, label, with those that corrected this mask before.

        Raises:
            PromptError: a point is outside the frame, or there is no mask to correct.
        """
        known = self._corrections.get((object_id, frame))
        mask = self.masks.mask(frame, object_id) if known is None else known.mask
        if not mask.any():
            raise PromptError(
                _("{name} has no mask on frame {frame} to correct; add a prompt there").format(
                    name=self.objects[object_id].name, frame=frame
                )
            )
        rows = np.asarray(clicks, np.float64).reshape(-1, 3)
        check_clicks(rows, self.prompts.video)
        return Correction(mask, rows)

    def take_correction(
        self, object_id: int, frame: int, correction: Correction, mask: np.ndarray
    ) -> None:
        """Make a corrected mask the object's prompt on its frame.

        Args:
            object_id: id of the object.
            frame: index of the frame.
            correction: the mask before the first click, and all clicks.
            mask: the corrected mask, (H, W) bool.

        Raises:
            PromptError: the mask is empty.
        """
        with self.changing([object_id], [frame]):
            if not mask.any():
                raise PromptError(
                    _(
                        "this correction leaves nothing of {name}; undo it, or erase the object "
                        "where it is not visible"
                    ).format(name=self.objects[object_id].name)
                )
            self.prompts.set_mask(object_id, frame, mask)
            self._corrections[object_id, frame] = correction
            self.masks.write(frame, {object_id: mask})

    # results

    def begin_results(self) -> Step:
        """Return a step that takes the masks which results replace, so that they can be undone."""
        step = self._state(self.video.current_frame)
        self.history.remember(step)
        return step

    def between(self, frame: int) -> tuple[int, int]:
        """Return the last prompted frame at or before a frame, and the first one after it.

        The first or last frame of the video stands for one that does not exist.
        """
        frames = self.prompts.frames()
        before = [f for f in frames if f <= frame]
        after = [f for f in frames if f > frame]
        last = self.video.frame_count - 1
        return (before[-1] if before else 0), (after[0] if after else last)

    def _with_prompts(self, prompts: PromptSet) -> list[int]:
        """Return the objects that have prompts now or in another set."""
        known = [style.id for style in self.objects]
        return [i for i in known if self.prompts.frames(i) or i in prompts]

    def _add_missing_objects(self, prompts: PromptSet) -> None:
        for item in prompts:
            if item.id not in self.objects:
                entry = entry_of(item.object_class)
                self.masks.add_object(item.id, item.name, item.color, entry)

    @contextlib.contextmanager
    def changing(self, objects: Collection[int], frames: Sequence[int]) -> Iterator[None]:
        """Surround a change: it can be undone and is saved, unless it raises.

        Args:
            objects: ids of the objects whose masks the change may alter.
            frames: the frames on which it may alter them.

        Raises:
            InputError: an object or a frame does not exist, or an object is locked.
        """
        self.locks.refuse(objects)
        before = self._state(frames[0] if frames else self.video.current_frame)
        for frame in frames:
            self.video.check_frame(frame)
            for object_id in objects:
                before.keep(frame, object_id, self.masks.mask(frame, object_id))
        yield
        self.history.remember(before)
        for object_id in objects:
            self.absent(object_id).discard(
                {f for f in frames if self.prompts.get(object_id, f) is not None}
            )
        for frame in frames:
            self.review.measure(frame)
        self.save()

    def _state(self, frame: int) -> Step:
        marks = {name: frames.text for name, frames in self._marks().items()}
        objects = tuple(self.objects)
        return Step(frame, objects, self.prompts.snapshot(), dict(self._corrections), marks)

    def _marks(self) -> dict[str, FrameSet]:
        absent = {str(style.id): self.absent(style.id) for style in self.objects}
        return {"good": self.good, "bad": self.bad, **absent}

    def _take_prompt_away(self, object_id: int, frame: int) -> None:
        prompt = self.prompts.get(object_id, frame)
        correction = self._corrections.pop((object_id, frame), None)
        self.prompts.remove(object_id, frame)
        if correction is not None:
            self.masks.write(frame, {object_id: correction.mask})
        elif prompt is not None and prompt.mask is None:
            nothing = np.zeros((self.video.height, self.video.width), bool)
            self.masks.write(frame, {object_id: nothing})

    def _on_edit(self, frame: int) -> None:
        if self.masks.style_changed():  # another module renamed or recoloured a segment
            self.masks.copy_style_to_all_frames()
            self.save()
        painted = self.masks.edited(frame)
        (self.edited.add if painted else self.edited.discard)([frame])
        self.review.measure(frame)
        self.on_painted()
