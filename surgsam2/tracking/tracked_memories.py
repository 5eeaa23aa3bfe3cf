"""Stores for the memories of an object's tracked frames, which apply the memory policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from surgsam2.model.network import SurgSAM2Network
from surgsam2.tracking.memory_policy import MemoryPolicy, most_diverse, most_reliable


@dataclass(frozen=True)
class FrameMemory:
    """One object's memory of one frame."""

    map: torch.Tensor
    """Spatial memory, (Cm, h, w) bfloat16."""
    pointer: torch.Tensor
    """Object pointer, (C,)."""
    reliable: torch.Tensor | None = None
    """Whether the object is reliable in the frame, () bool; None where no policy asks."""
    target: tuple[torch.Tensor, torch.Tensor] | None = None
    """What the target model learns from the frame: the (N, N + 1) normal equations, and how much
    they count, () float32. None for a network without one."""


Age = Callable[[int], int]
"""Returns how many frames a frame, given by its index, lies behind the present one."""

Aged = list[tuple[int, torch.Tensor]]
"""Tensors with their ages in frames."""


class LongTermMemories:
    """Spatial memories that left the window; see `most_diverse` for those that stay.

    Args:
        capacity: largest number of memories; 0 keeps none.
        channels: number of a memory's first channels that are compared, those of the memory
            encoder; what mask motion adds behind them is the frame's picture.
    """

    def __init__(self, capacity: int, channels: int) -> None:
        self._capacity, self._channels = capacity, channels
        self._kept = _Ranked(capacity)

    def add(self, memory: torch.Tensor, reliable: torch.Tensor, first_prompt: torch.Tensor) -> None:
        """Add a memory that left the window; one of too many is forgotten.

        Args:
            memory: (Cm, h, w) spatial memory.
            reliable: whether the object is reliable in its frame, () bool.
            first_prompt: (Cm, h, w) spatial memory of the object's first prompted frame.
        """

        def choose(maps: torch.Tensor, flags: torch.Tensor) -> torch.Tensor:
            first = first_prompt[: self._channels].flatten(1)[None]
            return most_diverse(maps[:, : self._channels].flatten(2)[None], flags[None], first)[0]

        if self._capacity:
            self._kept.add(memory, reliable, choose)

    def values(self) -> list[torch.Tensor]:
        """Return the memories, (Cm, h, w) each, oldest first."""
        return self._kept.values()

    def state(self) -> list[torch.Tensor]:
        """Return the memories and their flags as plain data, without copying a tensor."""
        return self._kept.state()

    def load_state(self, state: list[torch.Tensor], device: torch.device) -> None:
        """Replace the memories by those of a `state`; tensors are moved to `device`."""
        self._kept.load_state(state, device)


class RecentMemories:
    """The memories of the most recent tracked frames.

    Args:
        network: the network, which sets how many memories are kept.
        long_term: takes the memories that leave the window.
    """

    def __init__(self, network: SurgSAM2Network, long_term: LongTermMemories) -> None:
        self._long_term = long_term
        self._reliable: deque[torch.Tensor | None] = deque(maxlen=network.num_maskmem - 1)
        self._maps: deque[tuple[int, torch.Tensor]] = deque(maxlen=network.num_maskmem - 1)
        self._pointers: deque[tuple[int, torch.Tensor]] = deque(
            maxlen=network.max_obj_ptrs_in_encoder - 1
        )

    def add(self, frame_index: int, memory: FrameMemory, first_prompt: torch.Tensor) -> None:
        """Add the memory of a tracked frame; the oldest one leaves the window.

        Args:
            frame_index: index of the frame.
            memory: the memory.
            first_prompt: (Cm, h, w) spatial memory of the object's first prompted frame.
        """
        if len(self._maps) == self._maps.maxlen and self._reliable:
            (_, oldest), reliable = self._maps[0], self._reliable[0]
            if reliable is not None:
                self._long_term.add(oldest, reliable, first_prompt)
        self._reliable.append(memory.reliable)
        self._maps.append((frame_index, memory.map))
        self._pointers.append((frame_index, memory.pointer))

    def long_term(self) -> list[torch.Tensor]:
        """Return the long-term spatial memories, (Cm, h, w) each, oldest first."""
        return self._long_term.values()

    def maps(self, age: Age) -> Aged:
        """Return the spatial memories of the window with their ages, oldest first."""
        return [(age(index), tensor) for index, tensor in self._maps]

    def pointers(self, age: Age) -> Aged:
        """Return the object pointers with their ages, oldest first."""
        return [(age(index), tensor) for index, tensor in self._pointers]

    def state_dict(self) -> dict[str, Any]:
        """Return the memories as plain data, without copying a tensor."""
        return {
            "maps": list(self._maps),
            "pointers": list(self._pointers),
            "reliable": list(self._reliable),
            "long_term": self._long_term.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Replace the memories by those of a `state_dict`; tensors are moved to `device`.

        Raises:
            KeyError, TypeError, ValueError: the data is not the state of such a store.
        """
        for kept, name in ((self._maps, "maps"), (self._pointers, "pointers")):
            kept.clear()
            kept.extend((index, tensor.to(device)) for index, tensor in state[name])
        self._reliable.clear()
        self._reliable.extend(None if t is None else t.to(device) for t in state["reliable"])
        self._long_term.load_state(state["long_term"], device)


class ReliableMemories:
    """The memories of the most recent reliable frames; see the policy `reliable`.

    It has the methods of `RecentMemories`. Ages are ranks, 1 for the newest memory.

    Args:
        network: the network, which sets how many memories are kept.
        long_term: takes the memories that leave the window.
    """

    def __init__(self, network: SurgSAM2Network, long_term: LongTermMemories) -> None:
        self._long_term = long_term
        self._maps = _Ranked(network.num_maskmem - 1)
        self._pointers = _Ranked(network.max_obj_ptrs_in_encoder - 1)

    def add(self, frame_index: int, memory: FrameMemory, first_prompt: torch.Tensor) -> None:
        """Add the memory of a tracked frame; the one that ranks lowest leaves the window."""
        assert memory.reliable is not None

        def choose(_: torch.Tensor, reliable: torch.Tensor) -> torch.Tensor:
            return most_reliable(reliable[None])[0]

        left = self._maps.add(memory.map, memory.reliable, choose)
        if left is not None:
            self._long_term.add(*left, first_prompt)
        self._pointers.add(memory.pointer, memory.reliable, choose)

    def long_term(self) -> list[torch.Tensor]:
        """Return the long-term spatial memories, (Cm, h, w) each, oldest first."""
        return self._long_term.values()

    def maps(self, age: Age) -> Aged:
        """Return the spatial memories with their ranks, oldest first."""
        return _with_ranks(self._maps.values())

    def pointers(self, age: Age) -> Aged:
        """Return the object pointers with their ranks, oldest first."""
        return _with_ranks(self._pointers.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the memories as plain data, without copying a tensor."""
        return {
            "maps": self._maps.state(),
            "pointers": self._pointers.state(),
            "long_term": self._long_term.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Replace the memories by those of a `state_dict`; tensors are moved to `device`."""
        self._maps.load_state(state["maps"], device)
        self._pointers.load_state(state["pointers"], device)
        self._long_term.load_state(state["long_term"], device)


TrackedMemories = RecentMemories | ReliableMemories


def make_store(network: SurgSAM2Network, policy: MemoryPolicy) -> TrackedMemories:
    """Return an empty store for the memories of an object under a policy."""
    capacity = policy.long_term if policy.has_long_term else 0
    long_term = LongTermMemories(capacity, network.mem_dim)
    if policy.has_reliable_window:
        return ReliableMemories(network, long_term)
    return RecentMemories(network, long_term)


class _Ranked:
    """A bounded number of tensors, oldest first, of which the device chooses those that stay."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: torch.Tensor | None = None
        self._reliable: torch.Tensor | None = None

    def add(
        self,
        value: torch.Tensor,
        reliable: torch.Tensor,
        choose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Add a tensor.

        Args:
            value: the tensor.
            reliable: its flag, () bool.
            choose: gets all (N, ...) tensors and (N,) flags and gives the indices of the N - 1
                that stay. It is called when there is one too many.

        Returns:
            The tensor that had to go, and its flag; None while there is room.
        """
        values, flags = value[None], reliable[None]
        if self._values is not None and self._reliable is not None:
            with torch.autocast(value.device.type, enabled=False):  # it refuses to join bfloat16
                values = torch.cat([self._values, values])
            flags = torch.cat([self._reliable, flags])
        dropped = None
        count = len(values)
        if count > self._capacity:
            kept = choose(values, flags)
            gone = count * (count - 1) // 2 - kept.sum()  # the index that is missing
            dropped = (values[gone], flags[gone])
            values, flags = values[kept], flags[kept]
        self._values, self._reliable = values, flags
        return dropped

    def values(self) -> list[torch.Tensor]:
        return [] if self._values is None else list(self._values)

    def state(self) -> list[torch.Tensor]:
        if self._values is None or self._reliable is None:
            return []
        return [self._values, self._reliable]

    def load_state(self, state: list[torch.Tensor], device: torch.device) -> None:
        self._values, self._reliable = (t.to(device) for t in state) if state else (None, None)


def _with_ranks(values: list[torch.Tensor]) -> Aged:
    """Return tensors, oldest first, with their ranks; the newest has rank 1."""
    return [(len(values) - i, value) for i, value in enumerate(values)]
