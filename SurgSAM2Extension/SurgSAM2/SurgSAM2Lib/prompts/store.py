"""The prompts of a video while they are being made: changed point by point, and undone."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from surgsam2.mrml import ObjectStyle
from surgsam2.prompts import Prompt, PromptSet, VideoShape


class PromptStore:
    """At most one `Prompt` per object and frame, checked against the video's size.

    Prompts never change (a changed one takes the old one's place), so a snapshot for undo
    is a copy of the table.

    Args:
        video: size and length of the video in pixels and frames.
    """

    def __init__(self, video: VideoShape) -> None:
        self.video = video
        self._prompts: dict[tuple[int, int], Prompt] = {}

    def get(self, object_id: int, frame: int) -> Prompt | None:
        """The prompt of an object on a frame; None without one."""
        return self._prompts.get((object_id, frame))

    def put(self, object_id: int, prompt: Prompt) -> None:
        """Take this prompt for its frame, instead of the one that is there.

        Raises:
            PromptError: it does not fit the video; the store is then as before.
        """
        check = PromptSet().add(object_id=object_id, frame=prompt.frame, **parts(prompt))
        check.validate(self.video.width, self.video.height, self.video.frames)
        self._prompts[object_id, prompt.frame] = prompt

    def add_point(self, object_id: int, frame: int, x: float, y: float, positive: bool) -> None:
        """One more click on a frame; a mask that is there gives way to it.

        Raises:
            PromptError: the point is outside the frame, or the only one and negative.
        """
        present = self.get(object_id, frame)
        point, label = np.array([[x, y]]), np.array([int(positive)])
        if present is None or present.mask is not None:
            self.put(object_id, Prompt(frame, point, label))
        else:
            self.put(object_id, present.extended(point, label))

    def set_box(self, object_id: int, frame: int, box: Iterable[float]) -> None:
        """The box of an object on a frame, instead of the one that is there; points stay.

        Raises:
            PromptError: the box is empty or leaves the frame.
        """
        present = self.get(object_id, frame)
        if present is None or present.mask is not None:
            present = Prompt(frame, box=np.asarray(list(box), np.float64))
            self.put(object_id, present)
        else:
            corners = np.asarray(list(box), np.float64)
            self.put(object_id, Prompt(frame, present.points, present.labels, corners))

    def set_mask(self, object_id: int, frame: int, mask: np.ndarray) -> None:
        """A mask for an object on a frame, instead of what is there.

        Args:
            mask: (H, W) bool of the video's size.

        Raises:
            PromptError: the mask is empty or of another size.
        """
        self.put(object_id, Prompt(frame, mask=mask))

    def remove(self, object_id: int, frame: int | None = None) -> list[int]:
        """Forget an object's prompt on a frame, or on all; the frames that had one."""
        gone = [f for i, f in self._prompts if i == object_id and frame in (None, f)]
        for index in gone:
            del self._prompts[object_id, index]
        return gone

    def frames(self, object_id: int | None = None) -> list[int]:
        """Prompted frames, ascending: of one object, or of any."""
        return sorted({f for i, f in self._prompts if object_id in (None, i)})

    def on_frame(self, frame: int) -> dict[int, Prompt]:
        """The prompts of one frame by object id."""
        return {i: prompt for (i, f), prompt in self._prompts.items() if f == frame}

    def as_set(
        self,
        styles: Iterable[ObjectStyle],
        objects: Collection[int] | None = None,
        frame: int | None = None,
    ) -> PromptSet:
        """What the engine is asked: names and colours from the segments, in their order.

        Args:
            styles: all objects of the video.
            objects: only these; None for all.
            frame: only the prompts of this frame; None for all.
        """
        result = PromptSet(video=self.video)
        for style in styles:
            if objects is not None and style.id not in objects:
                continue
            for (object_id, index), prompt in sorted(self._prompts.items(), key=_by_frame):
                if object_id == style.id and frame in (None, index):
                    result.add(
                        object_id=object_id, frame=index, name=style.name, color=style.color,
                        **parts(prompt),
                    )  # fmt: skip
        return result

    def snapshot(self) -> dict[tuple[int, int], Prompt]:
        """The table as it is now, for `restore`."""
        return dict(self._prompts)

    def restore(self, snapshot: dict[tuple[int, int], Prompt]) -> None:
        """Go back to a snapshot."""
        self._prompts = dict(snapshot)

    def take(self, prompts: PromptSet) -> None:
        """Replace everything by a prompt set, one read from a scene or a file.

        Raises:
            PromptError: one of its prompts does not fit the video; the store is as before.
        """
        if len(prompts):
            prompts.validate(self.video.width, self.video.height, self.video.frames)
        self._prompts = {
            (item.id, prompt.frame): prompt for item in prompts for prompt in item.prompts
        }

    def __len__(self) -> int:
        return len(self._prompts)


def parts(prompt: Prompt) -> dict[str, np.ndarray | None]:
    """A prompt as the arguments of `PromptSet.add`."""
    points = None
    if len(prompt.points):
        points = np.column_stack([prompt.points, prompt.labels])
    return {"points": points, "box": prompt.box, "mask": prompt.mask}


def _by_frame(item: tuple[tuple[int, int], Prompt]) -> int:
    return item[0][1]
