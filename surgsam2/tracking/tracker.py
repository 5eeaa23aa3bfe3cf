"""The streaming tracker: one frame in, one result out, with bounded memory."""

from __future__ import annotations

import operator
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch

from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import Pixels, SurgSAM2Model
from surgsam2.prompts import Prompt, PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.appearance import appearances
from surgsam2.tracking.continuity import are_close, pattern
from surgsam2.tracking.encoded_frame import EncodedFrame, prompted_output
from surgsam2.tracking.memory import (
    ConditioningMemory,
    FrameMemories,
    MaskOutput,
    MemoryBank,
    batched_views,
    remember,
)
from surgsam2.tracking.memory_policy import MemoryPolicy
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.postprocess import make_result
from surgsam2.tracking.redetection import check_objects


class Tracker:
    """Segments prompted objects in a stream of frames.

    All objects of a frame share one pass of the image encoder and run as a batch; each
    has memories of its own, so its masks are those it would have alone. Per object only
    the prompted frames, the last ``num_maskmem - 1`` spatial memories and the last 15
    object pointers are kept, however long the stream is.

    An object begins at the first frame it is prompted on. A prompted frame becomes a
    conditioning frame: its mask comes from the prompt alone, and it is remembered for
    as long as the object is tracked.

    With a model from `connect`, the tracker is one of a class derived from this one. Frames travel
    to the other machine without loss, and results come without logits.

    Args:
        model: the model, from `load_model` or `connect`; several trackers may share it.
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        first_frame: index of the first frame.
        reverse: whether frames come in descending order.
        frame_count: length of the video in frames, if it is known. SAM 2 scales the age of
            object pointers by it in videos of less than 16 frames.
        options: how masks are made and which memories are kept; direction and range do not
            count.

    Raises:
        InputError: width or height is not positive, or the network has too few memories for
            the memory policy.
    """

    def __new__(cls, model: Any = None, *_: Any, **__: Any) -> Tracker:
        """Return a tracker of the class that the model wants."""
        return super().__new__(getattr(model, "tracker_class", cls))

    def __init__(
        self,
        model: SurgSAM2Model,
        width: int,
        height: int,
        *,
        first_frame: int = 0,
        reverse: bool = False,
        frame_count: int | None = None,
        options: TrackingOptions = TrackingOptions(),  # noqa: B008 - immutable
    ) -> None:
        if width < 1 or height < 1:
            raise InputError(f"frame size must be positive, got {width}x{height}")
        self.model = model
        self.width = width
        self.height = height
        self.frame_index = first_frame
        """Index of the next frame."""
        self.reverse = reverse
        self.options = options
        self._policy = MemoryPolicy.of(options)
        self._policy.check(model.network.num_maskmem)
        longest = model.network.max_obj_ptrs_in_encoder
        self._pointer_limit = min(frame_count or longest, longest) - 1
        self._banks: dict[int, MemoryBank] = {}
        self._removed_at: dict[int, int] = {}
        self._pattern: tuple[int, torch.Tensor] | None = None
        """Index of the last frame that was tracked under a reliable window, and its `pattern`."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects that have been prompted, in that order."""
        return tuple(self._banks)

    def remove_object(self, object_id: int) -> None:
        """Forget an object; the others are not affected.

        Its earlier prompts no longer count; a later prompt begins the object anew.

        Raises:
            InputError: it is not being tracked.
        """
        if self._banks.pop(object_id, None) is None:
            raise InputError(f"object {object_id} is not tracked; tracked: {self.object_ids}")
        self._removed_at[object_id] = self.frame_index

    def forget_prompted(self, newest: int) -> None:
        """Bound the memory of a stream that is prompted again and again.

        Each object keeps its first prompted frame, which defines the object, and the last
        `newest` ones, which show its present appearance.
        """
        for bank in self._banks.values():
            bank.forget_prompted(newest)

    def __repr__(self) -> str:
        return (
            f"Tracker({self.width} x {self.height}, next frame {self.frame_index}, "
            f"objects {list(self.object_ids)}, model {self.model.name})"
        )

    def step(self, frame: Pixels, prompts: PromptSet | None = None) -> FrameResult:
        """Segment the next frame.

        Args:
            frame: the pixels, (H, W, 3) uint8 RGB, as an array or as a tensor. A tensor on the
                model's device is used there.
            prompts: the prompts for this frame's index are used; later ones wait until the
                set is passed again with their frame.

        Returns:
            The masks of every object that has been prompted.

        Raises:
            InputError: the frame has another size or type.
            PromptError: a prompt does not fit the frame, or is for a frame that has
                passed.
        """
        start = time.perf_counter()
        index = self.frame_index
        outputs = self.advance(self.encoded(frame), prompts)
        return make_result(index, outputs, (self.width, self.height), self.options, start)

    def encoded(self, frame: Pixels) -> EncodedFrame:
        """Return a frame of the video in the form that `advance` takes.

        Args:
            frame: the pixels, as for `step`.

        Raises:
            InputError: the frame has another size or type.
        """
        return EncodedFrame(self.model, frame, self.width, self.height)

    def untracked_frames(self, frames: Iterable[int]) -> set[int]:
        """Return the frames, of those given, on which no object is tracked from memory.

        `advance` does not need their image features if no prompt is added.
        """
        banks = self._banks.values()
        return {index for index in frames if not any(bank.is_tracked(index) for bank in banks)}

    @torch.no_grad()
    def advance(
        self, frame: EncodedFrame, prompts: PromptSet | None = None
    ) -> dict[int, MaskOutput]:
        """Segment the next frame at the network's resolution.

        The tracker changes only once everything is computed: after an error it is where it was
        before, so that the frame can be tried again.

        Args:
            frame: the next frame, from `encoded`.
            prompts: as for `step`.

        Returns:
            The mask decoder's output by object id, in the order of `object_ids`.

        Raises:
            PromptError: as `step`.
        """
        index = self.frame_index
        given = self._prompts_for(index, prompts)
        with self.model.autocast():
            prompted = {
                object_id: self._prompted_memory(frame, index, object_id, prompt)
                for object_id, prompt in given.items()
            }
            tracked = self._track(frame, index, exclude=prompted)
        self._condition(index, prompted)
        self.frame_index += -1 if self.reverse else 1
        outputs = {}
        for object_id, bank in self._banks.items():
            if object_id in tracked:
                outputs[object_id] = tracked[object_id]
            elif index in bank.conditioning:
                outputs[object_id] = bank.conditioning[index].output
        return outputs

    @torch.no_grad()
    def condition(
        self,
        frame: Pixels,
        frame_index: int,
        prompts: PromptSet,
        only: Collection[int] | None = None,
    ) -> None:
        """Learn the prompts of a frame before the tracker comes to it.

        With all prompted frames of a recorded video known from the start, every tracked
        frame attends to all of them, as in SAM 2.

        Args:
            frame: the pixels of frame `frame_index`, (H, W, 3) uint8 RGB.
            frame_index: index of the frame.
            prompts: the prompts of this frame are used.
            only: ids of the objects that are meant; None means all that are prompted there.

        Raises:
            InputError: the frame has another size or type.
            PromptError: a prompt does not fit the frame.
        """
        encoded = self.encoded(frame)
        given = prompts.on_frame(frame_index)
        if only is not None:
            given = {i: prompt for i, prompt in given.items() if i in only}
        self._check_prompts(prompts, given)
        with self.model.autocast():
            for object_id, prompt in given.items():
                memory = self._prompted_memory(encoded, frame_index, object_id, prompt)
                self._condition(frame_index, {object_id: memory})

    def state_dict(self) -> dict[str, Any]:
        """Return the tracker's memories and position as plain data.

        The data consists of dictionaries, lists, numbers and tensors only, so that `torch.load`
        can read it back without running code. The tensors are the tracker's own, not copies,
        and keep their strides: what is computed from them later is the same to the last bit.
        """
        return {
            "frame_index": self.frame_index,
            "pointer_limit": self._pointer_limit,
            "removed_at": list(self._removed_at.items()),
            "policy": self._policy.described(),
            "pattern": self._pattern,
            "objects": [
                {"id": object_id, **bank.state_dict()} for object_id, bank in self._banks.items()
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a tracker of the same model, frame size and direction.

        Args:
            state: the plain data of `state_dict`; its tensors may lie on another device.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: the data is not the state of such a
                tracker, which stays as it was.
            InputError: it is the state of a tracker with another memory policy.
        """
        policy = self._policy.described()
        if state["policy"] != policy:
            raise InputError(
                f"the saved state is one of memory policy '{state['policy']}', but this tracker "
                f"has '{policy}'; give the tracker the options of the saved state"
            )
        banks: dict[int, MemoryBank] = {}
        for item in state["objects"]:
            bank = self._new_bank()
            bank.load_state_dict(item, self.model.device)
            banks[item["id"]] = bank
        frame_index = operator.index(state["frame_index"])
        pointer_limit = operator.index(state["pointer_limit"])
        removed_at = dict(state["removed_at"])
        last_pattern = self._loaded_pattern(state["pattern"])
        # nothing is replaced before everything is checked
        self.frame_index = frame_index
        self._pointer_limit = pointer_limit
        self._removed_at = removed_at
        self._banks = banks
        self._pattern = last_pattern

    def _loaded_pattern(
        self, saved: tuple[int, torch.Tensor] | None
    ) -> tuple[int, torch.Tensor] | None:
        """Return the `pattern` of a saved state on the model's device, after checks."""
        if saved is None:
            return None
        frame_index, seen = operator.index(saved[0]), saved[1].to(self.model.device)
        network = self.model.network
        size = (network.sam_image_embedding_size**2, network.hidden_dim)
        if seen.shape != size:
            raise ValueError(f"a pattern of the size {tuple(seen.shape)} is not the network's")
        return frame_index, seen

    def _prompts_for(self, index: int, prompts: PromptSet | None) -> dict[int, Prompt]:
        """Return the prompts of frame `index` by object id, after checks.

        Raises:
            PromptError: a prompt does not fit the frame, or is for a frame that has passed.
        """
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
        """Return whether a frame comes before another one in tracking order."""
        return frame > index if self.reverse else frame < index

    def _check_prompts(self, prompts: PromptSet, given: dict[int, Prompt]) -> None:
        """Check that prompts fit the frames, if any of them is used.

        Raises:
            PromptError: one does not fit.
        """
        if given:
            prompts.validate(self.width, self.height)

    def _prompted_memory(
        self, frame: EncodedFrame, index: int, object_id: int, prompt: Prompt
    ) -> ConditioningMemory:
        """Return the mask and the memory that a prompt gives on its own frame."""
        decoded = frame.decode(prompt, f"object {object_id}, frame {index}")
        maps = self.model.network.encode_memory(frame.features(), decoded, prompted=True)
        output = prompted_output(decoded, prompt)
        appearance = appearances(frame.features(), decoded.low_res)[0]
        target = self.model.network.target_equations(frame.features(), decoded)
        if target is not None:
            target = target[0]
        return ConditioningMemory(maps[0], decoded.pointers[0], output, appearance, target)

    def _condition(self, index: int, memories: dict[int, ConditioningMemory]) -> None:
        """Keep the memories of prompts on frame `index`; objects that are new begin."""
        for object_id, memory in memories.items():
            if object_id not in self._banks:
                self._banks[object_id] = self._new_bank()
            self._banks[object_id].condition(index, memory)

    def _track(
        self, frame: EncodedFrame, index: int, exclude: Collection[int]
    ) -> dict[int, MaskOutput]:
        """Track every object that has begun, from its memories, and remember the frame."""
        banks = {i: bank for i, bank in self._banks.items() if i not in exclude}
        batches = batched_views(banks, index, self._pointer_limit)
        if not batches:
            return {}
        network, features = self.model.network, frame.features()
        pruning = self._policy.pruning(self.model.pruning)
        conditioned = torch.cat(
            [network.attend(features, batch, pruning, self._pointer_limit) for _, batch in batches]
        )
        decoded = network.decode_tracked(features, conditioned)
        object_ids = [object_id for ids, _ in batches for object_id in ids]
        close = None
        if self._policy.has_reliable_window:
            seen = pattern(features)
            means = self._continuity(index, seen, [banks[i] for i in object_ids])
            close = are_close(means, seen.device)
        if close is not None and self._policy.checks_appearance:
            known = [banks[object_id].appearances() for object_id in object_ids]
            decoded = check_objects(network, features, decoded, known, close, self._policy)
        memories = FrameMemories(
            network.encode_memory(features, decoded, prompted=False, conditioned=conditioned),
            decoded.pointers,
            network.learned_targets(features, decoded),
        )
        shown = network.without_doubtful(decoded, conditioned)
        if close is not None:
            self._pattern = (index, seen)
            for object_id, mean in zip(object_ids, means, strict=True):
                banks[object_id].continuity = mean
        return remember(banks, index, object_ids, shown, memories, self._policy, close)

    def _continuity(
        self, index: int, seen: torch.Tensor, banks: list[MemoryBank]
    ) -> list[torch.Tensor | None]:
        """Return the running means of objects with frame `index`, whose `pattern` is `seen`."""
        correlation = None
        if self._pattern is not None and abs(index - self._pattern[0]) == 1:
            correlation = (self._pattern[1] * seen).sum()
        return [bank.next_continuity(index, correlation) for bank in banks]

    def _new_bank(self) -> MemoryBank:
        return MemoryBank(self.model.network, reverse=self.reverse, policy=self._policy)
