"""Synthetic clips whose objects disappear for a given number of frames and come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import cv2
import numpy as np

from surgsam2.data.synthetic.clip import SyntheticClip
from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.instruments import Instrument
from surgsam2.data.synthetic.motion import Path, Presence
from surgsam2.data.synthetic.organs import SoftBody
from surgsam2.data.synthetic.scene import Layer, Scene
from surgsam2.errors import InputError

Event = Literal["leave", "lookalike", "distractor", "blackout", "smoke", "wipe"]
"""Why objects are not visible.

`leave`: they move out of the picture and return at another place, with another size. During
`lookalike` unlabelled objects of the same look are in the picture meanwhile, during
`distractor` they are there from the first frame to the last. `blackout`, `smoke` and `wipe`
(of the lens, with a cloth) hide the whole picture.
"""
EVENTS: tuple[Event, ...] = get_args(Event)
_LEAVING = ("leave", "lookalike", "distractor")

RAMP = 6
"""Frames that leaving, returning, and the beginning and end of what hides the picture take."""
_HIDDEN = 0.9
"""Share of the picture's contrast that is gone when objects do not count as visible."""


class ReturnClip(SyntheticClip):
    """A clip in which all labelled objects disappear and come back.

    Args:
        seed: decides everything that is random.
        event: why the objects are not visible.
        absence: number of frames from the beginning of the disappearance to that of the return.
        before: number of frames before.
        after: number of frames from the return on.
        size: (width, height) in pixels.
        objects: number of labelled objects.

    Raises:
        InputError: a value is out of range or an event unknown.
    """

    def __init__(
        self,
        seed: int,
        event: Event,
        absence: int,
        *,
        before: int = 24,
        after: int = 36,
        size: tuple[int, int] = (384, 384),
        objects: int = 2,
    ) -> None:
        if event not in EVENTS:
            raise InputError(f"event must be one of {', '.join(EVENTS)}, got {event!r}")
        if absence < 2 * RAMP - 2 or before < 2 or after < 2:
            raise InputError(
                f"absence must be at least {2 * RAMP - 2} frames, before and after at least 2, "
                f"got {absence}, {before} and {after}"
            )
        self.event = event
        self.leave, self.back = before, before + absence
        """First frames of the disappearance and of the return."""
        difficulty = Difficulty(0.35, leaving=0.0)
        super().__init__(seed, before + absence + after, size, objects, difficulty)
        self.name = f"{event}-{absence}-{seed}"

    def make_scene(
        self, size: tuple[int, int], objects: int | None, difficulty: Difficulty
    ) -> Scene:
        """Return the scene, in which the objects disappear and come back."""
        times = (self.leave, self.back)
        return _ReturnScene(
            self.seed, size, self.frame_count, objects, difficulty, self.event, times
        )


class _ReturnScene(Scene):
    def __init__(
        self,
        seed: int,
        size: tuple[int, int],
        frames: int,
        objects: int | None,
        difficulty: Difficulty,
        event: Event,
        times: tuple[int, int],
    ) -> None:
        self._event = event
        self._leave, self._back = times
        self._cover = Presence([(self._leave, self._back + RAMP)], RAMP)
        super().__init__(seed, size, frames, objects, difficulty)
        tile = np.random.default_rng([seed, 77]).random((6, 6)).astype(np.float32)
        tile = np.concatenate([tile, tile[::-1]])
        tile = np.concatenate([tile, tile[:, ::-1]], axis=1)  # opposite borders fit together
        self._pattern = cv2.resize(tile, size, interpolation=cv2.INTER_CUBIC)[..., None]

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Render a frame and its labels, hidden as the event says."""
        picture, labels = super().frame(index)
        cover = self._covered(index)
        if cover > 0:
            picture = self._hide(picture, cover, index)
            if cover >= _HIDDEN:
                labels = np.zeros_like(labels)
        return picture, labels

    def labels(self, t: float) -> np.ndarray:
        """Return the labels; nothing is visible while the picture is hidden."""
        labels = super().labels(t)
        return np.zeros_like(labels) if self._covered(t) >= _HIDDEN else labels

    def _covered(self, t: float) -> float:
        return 0.0 if self._event in _LEAVING else self._cover(t)

    def _hide(self, picture: np.ndarray, cover: float, index: int) -> np.ndarray:
        """Return the picture behind darkness, smoke or a cloth, of which `cover` is visible."""
        if self._event == "blackout":
            veil = np.zeros_like(picture, np.float32)
        else:
            drift = np.roll(self._pattern, (index * 2, index * 3), (0, 1))
            tone = (200, 200, 205) if self._event == "smoke" else (190, 205, 190)
            veil = np.asarray(tone, np.float32) * (0.8 + 0.2 * drift)
        if self._event == "wipe":
            blur = 1 + 2 * int(12 * cover)
            picture = cv2.GaussianBlur(picture, (blur, blur), 0)
        mixed = (1 - cover) * picture + cover * veil
        return np.asarray(mixed.clip(0, 255), np.uint8)

    def _populate(self, objects: int | None) -> None:
        super()._populate(objects)
        if self._event not in _LEAVING:
            return
        forever = 1e9
        gone = Presence([(-forever, self._leave + RAMP)], RAMP)
        returned = Presence([(self._back, forever)], RAMP)
        others = {
            "lookalike": Presence([(self._leave, self._back + 2 * RAMP)], RAMP),
            "distractor": Presence([(-forever, forever)], RAMP),
        }
        for layer in [layer for layer in self._layers if layer.object_id]:
            layer.presence = gone
            self._layers.append(self._elsewhere(layer, layer.object_id, returned))
            if self._event in others:
                self._layers.append(self._elsewhere(layer, 0, others[self._event]))

    def _elsewhere(self, layer: Layer, object_id: int, presence: Presence) -> Layer:
        """Return a copy of a layer at another place, with another size and position."""
        rng = self._rng
        home = self._place(0.55)
        if isinstance(layer, Instrument):
            bearing = rng.uniform(0, 2 * np.pi)
            trocar = np.hypot(*layer.trocar) * np.array([np.cos(bearing), np.sin(bearing)])
            wander = rng.normal(0.0, 0.06, (40, 2))
            return replace(
                layer,
                trocar=trocar,
                path=Path(home + wander, 16.0),
                presence=presence,
                object_id=object_id,
            )
        assert isinstance(layer, SoftBody)
        outward = home / max(float(np.hypot(*home)), 1e-6)
        return replace(
            layer,
            home=home,
            radius=layer.radius * rng.uniform(0.8, 1.25),
            angle=float(rng.uniform(0, 2 * np.pi)),
            exit=outward * (float(np.hypot(*self._half)) + 0.9 + layer.radius),
            height=2.0 + 0.01 * object_id,
            presence=presence,
            object_id=object_id,
            neighbour=None,
        )
