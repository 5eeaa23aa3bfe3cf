"""Synthetic clips, the public module of the generator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from surgsam2.data.sequence import Sequence
from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.scene import VISIBLE_SHARE, Scene
from surgsam2.errors import InputError
from surgsam2.storage.palette import default_color

MAX_OBJECTS = 16
MIN_SIDE = 32


@dataclass(frozen=True)
class SyntheticObject:
    """A labelled object of a clip."""

    id: int
    """Value of the object in the labels, from 1."""
    name: str
    """Kind of the object, for example "gallbladder", "scissors" or "thing"."""
    color: str
    """A display colour, "#rrggbb"; not the colour it has in the frames."""


class SyntheticClip(Sequence):
    """A generated video with the true mask of every labelled object.

    Frames are computed when they are read and are not kept. Each depends on its index alone,
    so reading them twice, or from the middle, gives the same frames. A clip is also a
    `surgsam2.data.Sequence`, so that samples can be drawn from it without writing files.
    """

    def __init__(
        self,
        seed: int,
        frames: int,
        size: tuple[int, int],
        objects: int | None,
        difficulty: str | float | Difficulty,
        fps: float = 25.0,
    ) -> None:
        width, height = size
        if min(width, height) < MIN_SIDE:
            raise InputError(f"size must be at least {MIN_SIDE}x{MIN_SIDE}, got {width}x{height}")
        if frames < 1:
            raise InputError(f"frames must be at least 1, got {frames}")
        if seed < 0:
            raise InputError(f"seed must not be negative, got {seed}")
        if objects is not None and not 1 <= objects <= MAX_OBJECTS:
            raise InputError(f"objects must be from 1 to {MAX_OBJECTS}, got {objects}")
        self.seed = seed
        self.width = width
        self.height = height
        self.frame_count = frames
        self.fps = fps
        """Frames per second."""
        chosen = Difficulty.parse(difficulty)
        self.difficulty = chosen.level
        self._scene = self.make_scene((width, height), objects, chosen)
        names = self._scene.names
        self.objects = tuple(SyntheticObject(i, names[i], default_color(i)) for i in sorted(names))
        """The labelled objects, in the order of their ids."""
        self.name = f"synthetic-{seed}"
        self.object_ids = tuple(sorted(names))
        self.object_names = dict(names)
        self.annotated = tuple(range(frames))
        self._first: dict[int, int | None] = {}

    def make_scene(
        self, size: tuple[int, int], objects: int | None, difficulty: Difficulty
    ) -> Scene:
        """Return the scene of the clip; a subclass may return one with other events."""
        return Scene(self.seed, size, self.frame_count, objects, difficulty)

    def __len__(self) -> int:
        return self.frame_count

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Render frame `index` (from 0): (H, W, 3) uint8 RGB, and (H, W) uint16 labels.

        A label is the id of the object that covers at least half of the pixel at the middle
        of the exposure; 0 is background and unlabelled objects. Thin smoke, films of blood
        and motion blur do not change labels.
        """
        if not 0 <= index < self.frame_count:
            raise InputError(f"frame index must be from 0 to {self.frame_count - 1}, got {index}")
        return self._scene.frame(index)

    def read_frame(self, index: int) -> np.ndarray:
        """Render the frame alone, as `frame`."""
        return self.frame(index)[0]

    def read_labels(self, index: int) -> np.ndarray:
        """Render the labels alone, as `labels`."""
        return self.labels(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Render frame and labels, as `frame`."""
        return self.frame(index)

    def frames(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield index, frame and labels of all frames in order, as `frame`."""
        for index in range(self.frame_count):
            frame, labels = self.frame(index)
            yield index, frame, labels

    def labels(self, index: int) -> np.ndarray:
        """Render the (H, W) uint16 labels without the cost of painting the frame."""
        if not 0 <= index < self.frame_count:
            raise InputError(f"frame index must be from 0 to {self.frame_count - 1}, got {index}")
        return self._scene.labels(float(index))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the whole clip: (T, H, W, 3) uint8 frames and (T, H, W) uint16 labels."""
        video = np.empty((self.frame_count, self.height, self.width, 3), np.uint8)
        labels = np.empty((self.frame_count, self.height, self.width), np.uint16)
        for index, frame, label in self.frames():
            video[index], labels[index] = frame, label
        return video, labels

    def first_frame(self, object_id: int) -> int | None:
        """Return the first frame in which the object is visible enough to be prompted.

        It then has at least 1/500 of the frame's pixels. None if there is no such frame.
        """
        if object_id not in self._scene.names:
            raise InputError(
                f"object_id must be one of {sorted(self._scene.names)}, got {object_id}"
            )
        if object_id not in self._first:
            needed = VISIBLE_SHARE * self.width * self.height
            self._first[object_id] = next(
                (
                    index
                    for index in range(self.frame_count)
                    if np.count_nonzero(self._scene.labels(float(index)) == object_id) >= needed
                ),
                None,
            )
        return self._first[object_id]

    def __repr__(self) -> str:
        return (
            f"SyntheticClip(seed={self.seed}, {self.width}x{self.height}, "
            f"{self.frame_count} frames, {len(self.objects)} objects, "
            f"difficulty={self.difficulty:g})"
        )


def generate_clip(
    seed: int,
    frames: int = 60,
    size: tuple[int, int] = (512, 512),
    objects: int | None = None,
    difficulty: str | float | Difficulty = "normal",
) -> SyntheticClip:
    """Generate a synthetic endoscopic clip.

    The same arguments give the same bytes with the same versions of NumPy and OpenCV. Events
    are spread over the length of a clip, so that a longer clip is another clip.

    Args:
        seed: decides everything that is random.
        frames: number of frames.
        size: (width, height) in pixels.
        objects: number of labelled objects; None draws 2 to 4.
        difficulty: "easy", "normal", "hard" or a number from 0 to 1; it sets motion,
            deformation, occlusion, similar objects, smoke, blood and blur. A `Difficulty`
            sets more.
    """
    return SyntheticClip(seed, frames, size, objects, difficulty)
