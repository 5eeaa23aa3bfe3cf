"""`Tracker` with a model on another machine."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from types import UnionType
from typing import Any, NoReturn, Protocol

import numpy as np

from surgsam2.engine.client.client import EngineClient
from surgsam2.engine.protocol.events import Stepped, TrackerChanged
from surgsam2.errors import InputError
from surgsam2.model.build import Pixels
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.encoded_frame import check_pixels
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker


class AskedModel(Protocol):
    """What a tracker needs of the model from `connect`; see `RemoteModel`."""

    ended_trackers: list[int]

    def ask(
        self, request: Callable[[EngineClient], int], kind: type[Any] | UnionType
    ) -> tuple[int, Any]:
        """Make a request, wait for its end and return its number and the event."""


class RemoteTracker(Tracker):
    """The tracker that `Tracker` makes for a model from `connect`.

    It gives the same results, without logits; each step waits for the other machine. A state
    that is saved cannot be had, because it is there.

    Args:
        model: the model, from `connect`; several trackers may share it, in one thread.
        width: as for `Tracker`.
        height: as for `Tracker`.
        first_frame: as for `Tracker`.
        reverse: as for `Tracker`.
        frame_count: as for `Tracker`.
        options: as for `Tracker`.

    Raises:
        InputError: width or height is not positive, or the network has too few memories for
            the memory policy.
        DeviceError: the connection or the engine ended.
    """

    def __init__(
        self,
        model: AskedModel,
        width: int,
        height: int,
        *,
        first_frame: int = 0,
        reverse: bool = False,
        frame_count: int | None = None,
        options: TrackingOptions = TrackingOptions(),  # noqa: B008 - immutable
    ) -> None:
        self.model = model  # type: ignore[assignment]
        self._asked = model
        self.width = width
        self.height = height
        self.frame_index = first_frame
        self.reverse = reverse
        self.options = options
        self._ids: tuple[int, ...] = ()
        self._number, _ = self._ask(
            lambda client: client.start_tracker(
                width, height, options, reverse=reverse, frame_count=frame_count
            )
        )
        weakref.finalize(self, model.ended_trackers.append, self._number)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """See `Tracker.object_ids`."""
        return self._ids

    def remove_object(self, object_id: int) -> None:
        """See `Tracker.remove_object`."""
        self._ask(
            lambda client: client.remove_from_tracker(self._number, self.frame_index, object_id)
        )

    def forget_prompted(self, newest: int) -> None:
        """See `Tracker.forget_prompted`."""
        self._ask(lambda client: client.forget_prompted(self._number, newest))

    def step(self, frame: Pixels, prompts: PromptSet | None = None) -> FrameResult:
        """See `Tracker.step`; a tensor is copied to the host and travels as an array does."""
        image, index = self._image(frame), self.frame_index
        if prompts is not None and prompts.on_frame(index):
            prompts.validate(self.width, self.height)
        _, event = self._ask(
            lambda client: client.step_tracker(self._number, index, image, prompts)
        )
        assert isinstance(event, Stepped)
        self.frame_index += -1 if self.reverse else 1
        return event.result

    def condition(
        self,
        frame: Pixels,
        frame_index: int,
        prompts: PromptSet,
        only: Collection[int] | None = None,
    ) -> None:
        """See `Tracker.condition`."""
        image, meant = self._image(frame), None if only is None else tuple(only)
        if prompts.on_frame(frame_index):
            prompts.validate(self.width, self.height)
        self._ask(
            lambda client: client.condition_tracker(
                self._number, frame_index, image, prompts, meant
            )
        )

    def encoded(self, frame: Pixels) -> NoReturn:
        """Raise `InputError`: features of frames stay on the other machine."""
        raise InputError("a tracker on another machine takes frames by step alone")

    def advance(self, frame: object, prompts: PromptSet | None = None) -> NoReturn:
        """Raise `InputError`: features of frames stay on the other machine."""
        self.encoded(frame)  # type: ignore[arg-type]

    def untracked_frames(self, frames: Iterable[int]) -> set[int]:
        """Return no frame: nothing is known here of what the other machine needs."""
        return set()

    def state_dict(self) -> dict[str, Any]:
        """Raise `InputError`: the state is on the other machine."""
        raise InputError("the state of a tracker on another machine cannot be saved")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise `InputError`: the state is on the other machine."""
        raise InputError("a tracker on another machine cannot go on from a saved state")

    def _ask(self, request: Callable[[EngineClient], int]) -> tuple[int, Stepped | TrackerChanged]:
        number, event = self._asked.ask(request, Stepped | TrackerChanged)
        self._ids = event.object_ids
        return number, event

    def _image(self, frame: Pixels) -> np.ndarray:
        check_pixels(frame, self.width, self.height)
        return frame if isinstance(frame, np.ndarray) else frame.cpu().numpy()
