"""What one object remembers: a bank of bounded size.

SAM 2 keeps every frame's memory for ever. Only these are ever read again, so only
these are kept: the prompted (conditioning) frames, the spatial memories of the last
``num_maskmem - 1`` frames and the object pointers of the last ``max_obj_ptrs - 1``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from sam2.modeling.sam2_utils import select_closest_cond_frames

from surgsam2.model.network import Decoded, MemoryBatch, SurgSAM2Network


@dataclass(frozen=True)
class FrameMemory:
    """One object's memory of one frame."""

    map: torch.Tensor
    """(Cm, h, w) bfloat16 spatial memory."""
    pointer: torch.Tensor
    """(C,) object pointer."""


@dataclass(frozen=True)
class MaskOutput:
    """What the mask decoder says of one object in one frame."""

    low_res: torch.Tensor
    """(1, 1, S/4, S/4) float32 mask logits, S the network's image size."""
    scores: torch.Tensor
    """(2,) float32: predicted IoU and presence, both 0..1."""

    @classmethod
    def of(cls, decoded: Decoded, row: int) -> MaskOutput:
        """Row `row` of a decoded batch."""
        presence = decoded.presence_logits[row, 0].float().sigmoid()
        iou = decoded.ious[row].float().clamp(0, 1)
        return cls(decoded.low_res[row : row + 1], torch.stack([iou, presence]))


@dataclass(frozen=True)
class ConditioningMemory(FrameMemory):
    """The memory of a prompted frame, and the mask the prompt gave."""

    output: MaskOutput
    """Shown when the tracker comes to that frame."""


@dataclass(frozen=True)
class BankView:
    """The memories that one frame attends to, in SAM 2's order."""

    maps: list[torch.Tensor]
    map_ages: list[int]
    pointers: list[torch.Tensor]
    pointer_ages: list[float]

    @property
    def shape(self) -> tuple[int, int]:
        """(spatial memories, pointers): objects with the same shape run as one batch."""
        return len(self.maps), len(self.pointers)


class MemoryBank:
    """The memories of one object.

    Args:
        network: gives the bank's sizes.
        reverse: frames come in descending order.
    """

    def __init__(self, network: SurgSAM2Network, *, reverse: bool = False) -> None:
        self._network = network
        self._step = -1 if reverse else 1
        self.conditioning: dict[int, ConditioningMemory] = {}
        self._maps: deque[tuple[int, torch.Tensor]] = deque(maxlen=network.num_maskmem - 1)
        self._pointers: deque[tuple[int, torch.Tensor]] = deque(
            maxlen=network.max_obj_ptrs_in_encoder - 1
        )

    def add(self, frame_index: int, memory: FrameMemory) -> None:
        """Remember a tracked frame; the oldest is forgotten."""
        self._maps.append((frame_index, memory.map))
        self._pointers.append((frame_index, memory.pointer))

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
        """Whether a prompted frame lies at or before `frame_index` in tracking order."""
        return any(self._age(t, frame_index) >= 0 for t in self.conditioning)

    def view(self, frame_index: int, pointer_limit: int) -> BankView:
        """What frame `frame_index` attends to.

        Args:
            pointer_limit: pointers older than this many frames are not used.
        """
        network = self._network
        chosen, others = select_closest_cond_frames(
            frame_index, self.conditioning, network.max_cond_frames_in_attn
        )
        maps = [(0, memory.map) for memory in chosen.values()]
        # a conditioning frame that was not chosen counts as a tracked one
        recent = [*self._maps, *((t, memory.map) for t, memory in others.items())]
        aged = ((self._age(t, frame_index), m) for t, m in recent)
        maps += sorted(
            ((age, m) for age, m in aged if 1 <= age < network.num_maskmem),
            key=lambda pair: -pair[0],
        )

        pointers = []
        for t, memory in chosen.items():
            age = self._age(t, frame_index)
            if age >= 0 or not network.only_obj_ptrs_in_the_past_for_eval:
                signed = network.use_signed_tpos_enc_to_obj_ptrs
                pointers.append((float(age if signed else abs(age)), memory.pointer))
        recent = [*self._pointers, *((t, memory.pointer) for t, memory in others.items())]
        aged = ((self._age(t, frame_index), p) for t, p in recent)
        pointers += sorted(
            ((float(age), p) for age, p in aged if 1 <= age <= pointer_limit),
            key=lambda pair: pair[0],
        )
        return BankView(
            [m for _, m in maps],
            [age for age, _ in maps],
            [p for _, p in pointers],
            [age for age, _ in pointers],
        )

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor that is held."""
        for memory in self.conditioning.values():
            yield from (memory.map, memory.pointer, memory.output.low_res, memory.output.scores)
        yield from (m for _, m in self._maps)
        yield from (p for _, p in self._pointers)

    def _age(self, memory_frame: int, frame_index: int) -> int:
        """How many frames `memory_frame` lies behind `frame_index` in tracking order."""
        return (frame_index - memory_frame) * self._step


def batch_views(views: list[BankView]) -> MemoryBatch:
    """Stack the views of several objects; all must have the same `shape`."""
    device = views[0].maps[0].device
    pointers = [torch.stack(v.pointers) for v in views if v.pointers]
    with torch.autocast(device.type, enabled=False):  # float16 autocast refuses to stack bfloat16
        maps = torch.stack([torch.stack(v.maps) for v in views])
    return MemoryBatch(
        maps=maps,
        map_ages=torch.tensor([v.map_ages for v in views], device=device),
        pointers=torch.stack(pointers) if pointers else torch.empty(len(views), 0, 0),
        pointer_ages=torch.tensor([v.pointer_ages for v in views], device=device),
    )
