"""The prompts of a video while the user is making them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from surgsam2.mrml import ObjectStyle
from surgsam2.prompts import ObjectClass, Prompt, PromptSet, VideoShape


class PromptStore:
    """At most one `Prompt` per object and frame, checked against the video's size.

    A `Prompt` never changes; a changed one replaces it. So a copy of the table is all that
    undo needs.

    Args:
        video: size and length of the video in pixels and frames.
    """

    def __init__(self, video: VideoShape) -> None:
        self.video = video
        self._prompts: dict[tuple[int, int], Prompt] = {}

    def get(self, object_id: int, frame: int) -> Prompt | None:
        """Return the prompt of an object on a frame; None when there is none."""
        return self._prompts.get((object_id, frame))

    def put(self, object_id: int, prompt: Prompt) -> None:
        """Set a prompt in place of the one on its frame.

        Raises:
            PromptError: the prompt does not fit the video; nothing has changed then.
        """
        check = PromptSet().add(object_id=object_id, frame=prompt.frame, **parts(prompt))
        check.validate(self.video.width, self.video.height, self.video.frames)
        self._prompts[object_id, prompt.frame] = prompt

    def add_point(self, object_id: int, frame: int, x: float, y: float, positive: bool) -> None:
        """Add a point to the prompt on a frame; a mask that is the prompt there is replaced.

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
        """Set the box of an object on a frame in place of the one there; points stay.

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
        """Set a mask as an object's prompt on a frame, in place of what is there.

        Args:
            object_id: id of the object.
            frame: index of the frame.
            mask: (H, W) bool of the video's size.

        Raises:
            PromptError: the mask is empty or of another size.
        """
        self.put(object_id, Prompt(frame, mask=mask))

    def remove(self, object_id: int, frame: int | None = None) -> list[int]:
        """Remove an object's prompt on a frame, or on all frames; return the frames."""
        gone = [f for i, f in self._prompts if i == object_id and frame in (None, f)]
        for index in gone:
            del self._prompts[object_id, index]
        return gone

    def frames(self, object_id: int | None = None) -> list[int]:
        """Return the prompted frames of one object, or of all, in ascending order."""
        return sorted({f for i, f in self._prompts if object_id in (None, i)})

    def on_frame(self, frame: int) -> dict[int, Prompt]:
        """Return the prompts of one frame by object id."""
        return {i: prompt for (i, f), prompt in self._prompts.items() if f == frame}

    def as_set(
        self,
        styles: Mapping[ObjectStyle, ObjectClass | None],
        objects: Collection[int] | None = None,
        frame: int | None = None,
    ) -> PromptSet:
        """Return prompts as the engine takes them, in the order of the objects.

        Args:
            styles: all objects of the video with their classes.
            objects: ids of the objects to take; None for all.
            frame: the frame whose prompts to take; None for all.
        """
        result = PromptSet(video=self.video)
        for style, object_class in styles.items():
            if objects is not None and style.id not in objects:
                continue
            for (object_id, index), prompt in sorted(self._prompts.items(), key=_by_frame):
                if object_id == style.id and frame in (None, index):
                    result.add(
                        object_id=object_id, frame=index, name=style.name, color=style.color,
                        object_class=object_class, **parts(prompt),
                    )  # fmt: skip
        return result

    def snapshot(self) -> dict[tuple[int, int], Prompt]:
        """Return a copy of the table for `restore`."""
        return dict(self._prompts)

    def restore(self, snapshot: dict[tuple[int, int], Prompt]) -> None:
        """Go back to a snapshot."""
        self._prompts = dict(snapshot)

    def take(self, prompts: PromptSet) -> None:
        """Replace all prompts by those of a prompt set.

        Raises:
            PromptError: a prompt does not fit the video; nothing has changed then.
        """
        if len(prompts):
            prompts.validate(self.video.width, self.video.height, self.video.frames)
        self._prompts = {
            (item.id, prompt.frame): prompt for item in prompts for prompt in item.prompts
        }

    def __len__(self) -> int:
        return len(self._prompts)


def parts(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt as arguments of `PromptSet.add`."""
    points = None
    if len(prompt.points):
        points = np.column_stack([prompt.points, prompt.labels])
    return {"points": points, "box": prompt.box, "mask": prompt.mask}


def _by_frame(item: tuple[tuple[int, int], Prompt]) -> int:
    return item[0][1]
