"""What one object remembers: a bank of bounded size.

SAM 2 keeps every frame's memory for ever. Only these are ever read again, so only
these are kept: the prompted (conditioning) frames, the spatial memories of the last
``num_maskmem - 1`` frames and the object pointers of the last ``max_obj_ptrs - 1``. A
memory policy (`surgsam2.tracking.memory_policy`) may keep other tracked frames.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.sam2_utils import select_closest_cond_frames

from surgsam2.model.cuda.copies import to_device
from surgsam2.model.frame_data import Decoded, MemoryBatch
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.target_model import followed, joined
from surgsam2.tracking.continuity import next_mean
from surgsam2.tracking.memory_policy import MemoryPolicy
from surgsam2.tracking.tracked_memories import FrameMemory, make_store


@dataclass(frozen=True)
class MaskOutput:
    """The mask decoder's output for one object in one frame."""

    low_res: torch.Tensor
    """Mask logits, (1, 1, S/4, S/4) float32, where S is the network's image size."""
    scores: torch.Tensor
    """Predicted IoU and presence, (2,) float32, both from 0 to 1."""
    given: torch.Tensor | None = None
    """The mask that the user gave for this frame, or that was corrected, (H, W) bool on the CPU at
    the video's resolution; None where the mask is the network's own."""

    @classmethod
    def of(cls, decoded: Decoded, row: int) -> MaskOutput:
        """Return the output of the object in row `row` of a decoded batch."""
        presence = decoded.presence_logits[row, 0].float().sigmoid()
        iou = decoded.ious[row].float().clamp(0, 1)
        return cls(decoded.low_res[row : row + 1], torch.stack([iou, presence]))


@dataclass(frozen=True)
class ConditioningMemory:
    """The memory of a prompted frame, with the mask that the prompt gave."""

    map: torch.Tensor
    """Spatial memory, (Cm, h, w) bfloat16."""
    pointer: torch.Tensor
    """Object pointer, (C,)."""
    output: MaskOutput
    """The result of the object for this frame."""
    appearance: torch.Tensor
    """Appearance of the object, (C + 1,) float32; see `surgsam2.tracking.appearance`."""
    target: torch.Tensor | None = None
    """Normal equations of the target model, (N, N + 1) float32; None for a network without one."""


@dataclass(frozen=True)
class BankView:
    """The memories that one frame attends to, in SAM 2's order."""

    maps: list[torch.Tensor]
    """Spatial memories, (Cm, h, w) each."""
    map_ages: list[int]
    """Age of each spatial memory in frames; 0 for a prompted frame."""
    pointers: list[torch.Tensor]
    """Object pointers, (C,) each."""
    pointer_ages: list[float]
    """Age of each pointer in frames."""
    long_term: int
    """Number of spatial memories at the start that are long-term memories, of age 0."""
    previous: torch.Tensor
    """What mask motion has of the nearest earlier frame, prompted or tracked: the last channels
    of its spatial memory, whether or not the policy keeps that."""
    anchor: torch.Tensor
    """The same of the prompted frame from which motion has followed the object to that frame."""
    target: torch.Tensor | None
    """Normal equations of the target model from all frames, (N, N + 1); None without one."""


@dataclass(frozen=True)
class FrameMemories:
    """What N objects remember of a tracked frame."""

    maps: torch.Tensor
    """(N, Cm, h, w) spatial memories."""
    pointers: torch.Tensor
    """(N, C) object pointers."""
    targets: tuple[torch.Tensor, torch.Tensor] | None
    """What the target model learns: (N, I, I + 1) normal equations, and (N,) how much they count.
    None for a network without one."""


class MemoryBank:
    """The memories of one object.

    Args:
        network: the network, which sets how many memories are kept.
        reverse: whether frames come in descending order.
        policy: decides which memories of tracked frames are kept.
    """

    def __init__(
        self,
        network: SurgSAM2Network,
        *,
        reverse: bool = False,
        policy: MemoryPolicy = MemoryPolicy(),  # noqa: B008 - immutable
    ) -> None:
        self._network = network
        self._step = -1 if reverse else 1
        self.conditioning: dict[int, ConditioningMemory] = {}
        """Memories of the prompted frames by frame index, ascending."""
        self._tracked = make_store(network, policy)
        self._last: tuple[int, torch.Tensor, torch.Tensor] | None = None
        """Index of the last tracked frame, the channels of its memory for mask motion, and those of
        the prompted frame that its displacement leads to."""
        self.continuity: torch.Tensor | None = None
        """Running mean of the correlations of neighbouring frames; see `continuity.next_mean`."""
        self._target: torch.Tensor | None = None
        """Running mean of the tracked frames' normal equations; see `target_model.followed`."""

    def add(self, frame_index: int, memory: FrameMemory) -> None:
        """Remember a tracked frame; the policy says which one is forgotten."""
        first = self._first_prompted()
        self._tracked.add(frame_index, memory, first.map)
        if memory.target is not None and first.target is not None:
            self._target = followed(first.target, self._target, *memory.target)
        _, anchor = self._previous(frame_index)
        self._last = (frame_index, memory.map[self._network.mem_dim :], anchor)

    def condition(self, frame_index: int, memory: ConditioningMemory) -> None:
        """Remember a prompted frame for as long as the object is tracked."""
        self.conditioning[frame_index] = memory
        self.conditioning = dict(sorted(self.conditioning.items()))

    def forget_prompted(self, newest: int) -> None:
        """Forget prompted frames other than the first and the `newest` last in tracking order."""
        order = sorted(self.conditioning, key=lambda t: t * self._step)
        for t in order[1 : max(1, len(order) - newest)]:
            del self.conditioning[t]

    def has_begun(self, frame_index: int) -> bool:
        """Return whether a prompted frame lies at or before `frame_index` in tracking order."""
        return any(self._age(t, frame_index) >= 0 for t in self.conditioning)

    def is_tracked(self, frame_index: int) -> bool:
        """Return whether the object's mask on this frame comes from memory, not from a prompt."""
        return frame_index not in self.conditioning and self.has_begun(frame_index)

    def appearances(self) -> list[torch.Tensor]:
        """Return the object's appearances on its prompted frames, (C + 1,) each."""
        return [memory.appearance for memory in self.conditioning.values()]

    def next_continuity(
        self, frame_index: int, correlation: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Return what `continuity` becomes with a frame that is tracked.

        Args:
            frame_index: index of the frame.
            correlation: of the frame with the one just before; None where that is not known. It
                counts if the object was tracked on that frame, too.
        """
        follows = self._last is not None and self._age(self._last[0], frame_index) == 1
        return next_mean(self.continuity, correlation if follows else None)

    def view(self, frame_index: int, pointer_limit: int) -> BankView:
        """Return the memories that frame `frame_index` attends to.

        Args:
            frame_index: index of the frame.
            pointer_limit: pointers older than this many frames are not used.
        """
        network = self._network
        chosen, others = select_closest_cond_frames(
            frame_index, self.conditioning, network.max_cond_frames_in_attn
        )

        def age_of(t: int) -> int:
            return self._age(t, frame_index)

        long_term = self._tracked.long_term()
        maps = [(0, m) for m in long_term]
        maps += [(0, memory.map) for memory in chosen.values()]
        # a conditioning frame that was not chosen counts as a tracked one
        recent = self._tracked.maps(age_of)
        recent += [(age_of(t), memory.map) for t, memory in others.items()]
        maps += sorted(
            ((age, m) for age, m in recent if 1 <= age < network.num_maskmem),
            key=lambda pair: -pair[0],
        )

        pointers = []
        for t, memory in chosen.items():
            age = age_of(t)
            if age >= 0 or not network.only_obj_ptrs_in_the_past_for_eval:
                signed = network.use_signed_tpos_enc_to_obj_ptrs
                pointers.append((float(age if signed else abs(age)), memory.pointer))
        recent = self._tracked.pointers(age_of)
        recent += [(age_of(t), memory.pointer) for t, memory in others.items()]
        pointers += sorted(
            ((float(age), p) for age, p in recent if 1 <= age <= pointer_limit),
            key=lambda pair: pair[0],
        )
        return BankView(
            [m for _, m in maps],
            [age for age, _ in maps],
            [p for _, p in pointers],
            [age for age, _ in pointers],
            len(long_term),
            *self._previous(frame_index),
            self._joined_target(),
        )

    def _first_prompted(self) -> ConditioningMemory:
        """Return the memory of the prompted frame that comes first in tracking order."""
        return self.conditioning[min(self.conditioning, key=lambda t: t * self._step)]

    def _joined_target(self) -> torch.Tensor | None:
        """Return the target model's equations from all frames that are known."""
        first = self._first_prompted().target
        if first is None:
            return None
        prompted = [m.target for m in self.conditioning.values() if m.target is not None]
        return joined(prompted, first, self._target)

    def state_dict(self) -> dict[str, Any]:
        """Return the memories as plain data, without copying a tensor."""
        return {
            "conditioning": [
                [
                    index,
                    memory.output.given,
                    memory.map,
                    memory.pointer,
                    memory.output.low_res,
                    memory.output.scores,
                    memory.appearance,
                    memory.target,
                ]
                for index, memory in self.conditioning.items()
            ],
            "last": self._last,
            "continuity": self.continuity,
            "target": self._target,
            **self._tracked.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Replace the memories by those of another bank's `state_dict`.

        Args:
            state: the plain data of a bank of the same network, direction and policy.
            device: the device of the tracker's model; tensors are moved there.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: the data is not the state of a bank
                of this network.
        """
        self.conditioning = {}
        for index, given, *tensors, target in state["conditioning"]:
            map_, pointer, low_res, scores, appearance = (t.to(device) for t in tensors)
            output = MaskOutput(low_res, scores, given)
            learned = None if target is None else target.to(device)
            memory = ConditioningMemory(map_, pointer, output, appearance, learned)
            self.condition(operator.index(index), memory)
        self._tracked.load_state_dict(state, device)
        self._last = None
        if state["last"] is not None:
            index, carried, anchor = state["last"]
            self._last = (operator.index(index), carried.to(device), anchor.to(device))
        mean = state["continuity"]
        self.continuity = None if mean is None else mean.to(device)
        self._target = None if state["target"] is None else state["target"].to(device)
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Raise `ValueError` if a tensor is not one of the network's."""
        network, prompted = self._network, self.conditioning.values()
        side = network.sam_image_embedding_size
        maps = [memory.map for memory in prompted] + self._tracked.long_term()
        maps += [tensor for _, tensor in self._tracked.maps(operator.index)]
        pointers = [memory.pointer for memory in prompted]
        pointers += [tensor for _, tensor in self._tracked.pointers(operator.index)]
        sizes = {tuple(tensor.shape) for tensor in maps} - {(network.memory_channels, side, side)}
        sizes |= {tuple(tensor.shape) for tensor in pointers} - {(network.hidden_dim,)}
        if self.continuity is not None:
            sizes |= {tuple(self.continuity.shape)} - {()}
        if self._last is not None:
            extra = network.memory_channels - network.mem_dim
            sizes |= {tuple(tensor.shape) for tensor in self._last[1:]} - {(extra, side, side)}
        for memory in prompted:
            sizes |= {tuple(memory.appearance.shape)} - {(network.hidden_dim + 1,)}
            output, given = memory.output, memory.output.given
            sizes |= {tuple(output.low_res.shape)} - {(1, 1, 4 * side, 4 * side)}
            sizes |= {tuple(output.scores.shape)} - {(2,)}
            if given is not None and (given.dtype != torch.bool or given.ndim != 2):
                sizes.add(tuple(given.shape))
        count = network.target_input_count
        targets = [memory.target for memory in prompted]
        targets += [] if self._target is None else [self._target]
        sizes |= {(0, 1) if t is None else tuple(t.shape) for t in targets} - {(count, count + 1)}
        if sizes:
            raise ValueError(f"tensors of the size {sorted(sizes)[0]} are not the network's")

    def _previous(self, frame_index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what mask motion has of the nearest earlier frame, and of its prompted frame.

        Whether a policy keeps that frame's memory does not count: the picture changes least from
        the frame just before. Where a frame was tracked and then prompted, the prompt counts.
        """
        known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        if self._last is not None:
            index, carried, anchor = self._last
            known[index] = (carried, anchor)
        for t, memory in self.conditioning.items():
            own = memory.map[self._network.mem_dim :]
            known[t] = (own, own)
        behind = {self._age(t, frame_index): both for t, both in known.items()}
        return behind[min(age for age in behind if age > 0)]

    def _age(self, memory_frame: int, frame_index: int) -> int:
        """Return how many frames `memory_frame` lies behind `frame_index` in tracking order."""
        return (frame_index - memory_frame) * self._step


def batched_views(
    banks: Mapping[int, MemoryBank], frame_index: int, pointer_limit: int
) -> list[tuple[list[int], MemoryBatch]]:
    """Return what the tracked objects attend to on a frame, as few batches.

    Objects with the same numbers of spatial memories and of pointers make one batch. Objects
    that are prompted on the frame, or that have not begun, are left out.

    Args:
        banks: the memories of the objects, by object id.
        frame_index: index of the frame.
        pointer_limit: pointers older than this many frames are not used.

    Returns:
        The ids of the objects of each batch, in the order of its rows, and the batch.
    """
    groups: dict[tuple[int, int, int], dict[int, BankView]] = defaultdict(dict)
    for object_id, bank in banks.items():
        if bank.is_tracked(frame_index):
            view = bank.view(frame_index, pointer_limit)
            numbers = (len(view.maps), len(view.pointers), view.long_term)
            groups[numbers][object_id] = view
    return [(list(views), _stack(list(views.values()))) for views in groups.values()]


def remember(
    banks: Mapping[int, MemoryBank],
    frame_index: int,
    object_ids: list[int],
    decoded: Decoded,
    memories: FrameMemories,
    policy: MemoryPolicy,
    close: torch.Tensor | None,
) -> dict[int, MaskOutput]:
    """Add a tracked frame to the memories of objects.

    Args:
        banks: the memories of the objects, by object id.
        frame_index: index of the frame.
        object_ids: ids of the N objects, in the order of the rows of the batch.
        decoded: the frame's result for the objects.
        memories: what they remember of the frame.
        policy: says in which frames an object is reliable.
        close: (N,) bool, for which objects frames follow each other closely, for a policy with a
            reliable window. Where they lie far apart, every frame counts as reliable.

    Returns:
        The outputs of the objects, by object id.
    """
    outputs = {object_id: MaskOutput.of(decoded, row) for row, object_id in enumerate(object_ids)}
    for row, object_id in enumerate(object_ids):
        scores = outputs[object_id].scores
        reliable = policy.is_reliable(scores) if policy.needs_reliability else None
        if reliable is not None and close is not None:
            reliable = reliable | ~close[row]
        target = None
        if memories.targets is not None:
            equations, rates = memories.targets
            target = (equations[row], rates[row])
        memory = FrameMemory(memories.maps[row], memories.pointers[row], reliable, target)
        banks[object_id].add(frame_index, memory)
    return outputs


def _stack(views: list[BankView]) -> MemoryBatch:
    """Stack B views that have the same numbers of spatial memories and of pointers."""
    device = views[0].maps[0].device
    pointers = [torch.stack(v.pointers) for v in views if v.pointers]
    with torch.autocast(device.type, enabled=False):  # float16 autocast refuses to stack bfloat16
        maps = torch.stack([torch.stack(v.maps) for v in views])
        previous = torch.stack([v.previous for v in views])
        anchor = torch.stack([v.anchor for v in views])
        targets = [v.target for v in views if v.target is not None]
        target = torch.stack(targets) if targets else None
    return MemoryBatch(
        maps=maps,
        map_ages=to_device(torch.tensor([v.map_ages for v in views]), device),
        pointers=torch.stack(pointers) if pointers else maps.new_empty(len(views), 0, 0),
        pointer_ages=to_device(torch.tensor([v.pointer_ages for v in views]), device),
        long_term=views[0].long_term,
        previous=previous,
        anchor=anchor,
        target=target,
    )
