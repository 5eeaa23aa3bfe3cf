"""The streaming tracker: one frame in, one result out, memory bounded."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from itertools import chain

import numpy as np
import torch

from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import Prompt, PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.tracking.memory import (
    BankView,
    ConditioningMemory,
    FrameMemory,
    MaskOutput,
    MemoryBank,
    batch_views,
)
from surgsam2.tracking.postprocess import MaskOptions, make_result


class Tracker:
    """Segments prompted objects in a stream of frames.

    All objects of a frame share one pass of the image encoder and run as a batch; each
    has memories of its own, so its masks are those it would have alone. Per object only
    the prompted frames, the last ``num_maskmem - 1`` spatial memories and the last 15
    object pointers are kept, however long the stream is.

    An object begins at the first frame it is prompted on. A prompted frame becomes a
    conditioning frame: its mask comes from the prompt alone, and it is remembered for
    as long as the object is tracked.

    Args:
        model: from `load_model`; may be shared.
        width, height: size of the frames in pixels.
        first_frame: index of the first frame.
        reverse: frames come in descending order.
        frame_count: length of the video, where known. SAM 2 scales the age of object
            pointers by it in videos of less than 16 frames.
        options: how masks are made.

    Raises:
        InputError: width or height is not positive.
    """

    def __init__(
        self,
        model: SurgSAM2Model,
        width: int,
        height: int,
        *,
        first_frame: int = 0,
        reverse: bool = False,
        frame_count: int | None = None,
        options: MaskOptions | None = None,
    ) -> None:
        if width < 1 or height < 1:
            raise InputError(f"frame size must be positive, got {width}x{height}")
        self.model = model
        self.width = width
        self.height = height
        self.frame_index = first_frame
        """Index of the next frame."""
        self.reverse = reverse
        self.options = options or MaskOptions()
        longest = model.network.max_obj_ptrs_in_encoder
        self._pointer_limit = min(frame_count or longest, longest) - 1
        self._banks: dict[int, MemoryBank] = {}
        self._removed_at: dict[int, int] = {}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects that have been prompted, in that order."""
        return tuple(self._banks)

    @property
    def state_bytes(self) -> int:
        """Bytes of all memories held."""
        return sum(
            t.numel() * t.element_size() for bank in self._banks.values() for t in bank.tensors()
        )

    def remove_object(self, object_id: int) -> None:
        """Forget an object; the others are not affected.

        Its prompts so far count no more, a later one begins it anew.

        Raises:
            InputError: it is not being tracked.
        """
        if self._banks.pop(object_id, None) is None:
            raise InputError(f"object {object_id} is not tracked; tracked: {self.object_ids}")
        self._removed_at[object_id] = self.frame_index

    def forget_prompted(self, newest: int) -> None:
        """Bound the memory of a stream that is prompted again and again.

        Each object keeps its first prompted frame, which says what it is, and the `newest`
        last ones, which say how it looks now.
        """
        for bank in self._banks.values():
            bank.forget_prompted(newest)

    def step(self, frame: np.ndarray, prompts: PromptSet | None = None) -> FrameResult:
        """Segment the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            prompts: those for this frame's index are used; later ones wait until the
                set is passed again with their frame.

        Raises:
            InputError: the frame has another size or type.
            PromptError: a prompt does not fit the frame, or is for a frame that has
                passed.
        """
        start = time.perf_counter()
        index = self.frame_index
        outputs = self.advance(self.encoded(frame), prompts)
        result = make_result(index, outputs, (self.width, self.height), self.options)
        return replace(result, milliseconds=(time.perf_counter() - start) * 1000)

    def encoded(self, frame: np.ndarray) -> EncodedFrame:
        """A frame of the video for `advance`: (H, W, 3) uint8 RGB.

        Raises:
            InputError: the frame has another size or type.
        """
        return EncodedFrame(self.model, frame, self.width, self.height)

    def needs_features(self, index: int) -> bool:
        """Whether a frame without prompts is looked at: an object is to be tracked there."""
        return any(
            bank.has_begun(index) and index not in bank.conditioning
            for bank in self._banks.values()
        )

    @torch.no_grad()
    def advance(
        self, work: EncodedFrame, prompts: PromptSet | None = None
    ) -> dict[int, MaskOutput]:
        """As `step`, but the network's own output per object, not enlarged to the video."""
        index = self.frame_index
        given = self._prompts_for(index, prompts)
        with self.model.autocast():
            for object_id, prompt in given.items():
                self._condition(work, index, object_id, prompt)
            outputs = self._outputs(work, index)
        self.frame_index += -1 if self.reverse else 1
        return outputs

    @torch.no_grad()
    def condition(
        self,
        frame: np.ndarray,
        frame_index: int,
        prompts: PromptSet,
        only: Collection[int] | None = None,
    ) -> None:
        """Learn the prompts of a frame before the tracker comes to it.

        Recorded video: with all prompted frames known from the start, every tracked
        frame attends to all of them, as in SAM 2.

        Args:
            frame: (H, W, 3) uint8 RGB, frame `frame_index` of the video.
            only: object ids, to leave out others that are prompted there.

        Raises:
            InputError: the frame has another size or type.
            PromptError: a prompt does not fit the frame.
        """
        work = self.encoded(frame)
        given = prompts.on_frame(frame_index)
        if only is not None:
            given = {i: prompt for i, prompt in given.items() if i in only}
        self._check_prompts(prompts, given)
        with self.model.autocast():
            for object_id, prompt in given.items():
                self._condition(work, frame_index, object_id, prompt)

    def _prompts_for(self, index: int, prompts: PromptSet | None) -> dict[int, Prompt]:
        if prompts is None:
            return {}
        for obj in prompts.objects:
            used = self._banks[obj.id].conditioning if obj.id in self._banks else {}
            for prompt in obj.prompts:
                missed = self._is_before(prompt.frame, index) and prompt.frame not in used
                removed_at = self._removed_at.get(obj.id)
                if removed_at is not None and self._is_before(prompt.frame, removed_at):
                    continue
                if missed:
                    raise PromptError(
                        f"object {obj.id}: its prompt on frame {prompt.frame} comes too late, the "
                        f"tracker is at frame {index}; give it with its frame, or use this index"
                    )
        given = prompts.on_frame(index)
        self._check_prompts(prompts, given)
        return given

    def _is_before(self, frame: int, index: int) -> bool:
        return frame > index if self.reverse else frame < index

    def _check_prompts(self, prompts: PromptSet, given: dict[int, Prompt]) -> None:
        if given:
            prompts.validate(self.width, self.height)

    def _condition(self, work: EncodedFrame, index: int, object_id: int, prompt: Prompt) -> None:
        decoded = work.decode(prompt, f"object {object_id}, frame {index}")
        maps = self.model.network.encode_memory(work.features(), decoded, prompted=True)
        memory = ConditioningMemory(maps[0], decoded.pointers[0], MaskOutput.of(decoded, 0))
        bank = self._banks.setdefault(
            object_id, MemoryBank(self.model.network, reverse=self.reverse)
        )
        bank.condition(index, memory)

    def _outputs(self, work: EncodedFrame, index: int) -> dict[int, MaskOutput]:
        """Masks of all objects that have begun, in the order of `object_ids`."""
        begun = {i: bank for i, bank in self._banks.items() if bank.has_begun(index)}
        tracked = [i for i, bank in begun.items() if index not in bank.conditioning]
        outputs = self._track(work, index, tracked)
        for object_id, bank in begun.items():
            if index in bank.conditioning:
                outputs[object_id] = bank.conditioning[index].output
        return {i: outputs[i] for i in begun}

    def _track(
        self, work: EncodedFrame, index: int, object_ids: list[int]
    ) -> dict[int, MaskOutput]:
        if not object_ids:
            return {}
        network, features = self.model.network, work.features()
        views = {i: self._banks[i].view(index, self._pointer_limit) for i in object_ids}
        groups = _same_shape(views)
        conditioned = [
            network.attend(
                features,
                batch_views([views[i] for i in group]),
                self.model.pruning,
                self._pointer_limit,
            )
            for group in groups
        ]
        decoded = network.decode_tracked(features, torch.cat(conditioned))
        maps = network.encode_memory(features, decoded, prompted=False)
        outputs = {}
        for row, object_id in enumerate(chain.from_iterable(groups)):
            self._banks[object_id].add(index, FrameMemory(maps[row], decoded.pointers[row]))
            outputs[object_id] = MaskOutput.of(decoded, row)
        return outputs


def _same_shape(views: dict[int, BankView]) -> list[list[int]]:
    """Object ids grouped by the number of their memories: each group is one batch."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for object_id, view in views.items():
        groups[view.shape].append(object_id)
    return list(groups.values())
