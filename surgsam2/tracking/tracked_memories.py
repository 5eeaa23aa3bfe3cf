"""Stores for the memories of an object's tracked frames, one class per kind of memory policy."""

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


Age = Callable[[int], int]
"""Returns how many frames a frame, given by its index, lies behind the present one."""

Aged = list[tuple[int, torch.Tensor]]
"""Tensors with their ages in frames."""


class RecentMemories:
    """The memories of the most recent tracked frames, for the policies `window` and `efp`.

    Args:
        network: the network, which sets how many memories are kept.
    """

    def __init__(self, network: SurgSAM2Network) -> None:
        self._maps: deque[tuple[int, torch.Tensor]] = deque(maxlen=network.num_maskmem - 1)
        self._pointers: deque[tuple[int, torch.Tensor]] = deque(
            maxlen=network.max_obj_ptrs_in_encoder - 1
        )

    def add(self, frame_index: int, memory: FrameMemory, first_prompt: torch.Tensor) -> None:
        """Add the memory of a tracked frame; the oldest one is forgotten.

        Args:
            frame_index: index of the frame.
            memory: the memory.
            first_prompt: (Cm, h, w) spatial memory of the object's first prompted frame.
        """
        self._maps.append((frame_index, memory.map))
        self._pointers.append((frame_index, memory.pointer))

    def long_term(self) -> list[torch.Tensor]:
        """Return the long-term spatial memories, (Cm, h, w) each, oldest first."""
        return []

    def maps(self, age: Age) -> Aged:
        """Return the spatial memories of the window with their ages, oldest first."""
        return [(age(index), tensor) for index, tensor in self._maps]

    def pointers(self, age: Age) -> Aged:
        """Return the object pointers with their ages, oldest first."""
        return [(age(index), tensor) for index, tensor in self._pointers]

    def state_dict(self) -> dict[str, Any]:
        """Return the memories as plain data, without copying a tensor."""
        return {"maps": list(self._maps), "pointers": list(self._pointers)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Replace the memories by those of a `state_dict`; tensors are moved to `device`.

        Raises:
            KeyError, TypeError, ValueError: the data is not the state of such a store.
        """
        for kept, name in ((self._maps, "maps"), (self._pointers, "pointers")):
            kept.clear()
            kept.extend((index, tensor.to(device)) for index, tensor in state[name])


class DiverseMemories(RecentMemories):
    """The most recent memories, and a long-term memory of those that left the window.

    Args:
        network: the network, which sets how many memories are in the window.
        policy: sets how many long-term memories are kept.
    """

    def __init__(self, network: SurgSAM2Network, policy: MemoryPolicy) -> None:
        super().__init__(network)
        self._reliable: deque[torch.Tensor] = deque(maxlen=network.num_maskmem - 1)
        self._long_term = _Ranked(policy.long_term)

    def add(self, frame_index: int, memory: FrameMemory, first_prompt: torch.Tensor) -> None:
        """Add the memory of a tracked frame; the oldest one may become a long-term memory."""
        assert memory.reliable is not None
        if len(self._maps) == self._maps.maxlen:

            def choose(maps: torch.Tensor, reliable: torch.Tensor) -> torch.Tensor:
                first = first_prompt.flatten(1)[None]
                return most_diverse(maps.flatten(2)[None], reliable[None], first)[0]

            self._long_term.add(self._maps[0][1], self._reliable[0], choose)
        self._reliable.append(memory.reliable)
        super().add(frame_index, memory, first_prompt)

    def long_term(self) -> list[torch.Tensor]:
        """Return the long-term spatial memories, (Cm, h, w) each, oldest first."""
        return self._long_term.values()

    def state_dict(self) -> dict[str, Any]:
        """Return the memories as plain data, without copying a tensor."""
        more = {"reliable": list(self._reliable), "long_term": self._long_term.state()}
        return super().state_dict() | more

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Replace the memories by those of a `state_dict`; tensors are moved to `device`."""
        super().load_state_dict(state, device)
        self._reliable.clear()
        self._reliable.extend(tensor.to(device) for tensor in state["reliable"])
        self._long_term.load_state(state["long_term"], device)


class ReliableMemories:
    """The most recent memories of reliable frames; see the policy `reliable`.

    It has the methods of `RecentMemories`. Ages are ranks, 1 for the newest memory.

    Args:
        network: the network, which sets how many memories are kept.
    """

    def __init__(self, network: SurgSAM2Network) -> None:
        self._maps = _Ranked(network.num_maskmem - 1)
        self._pointers = _Ranked(network.max_obj_ptrs_in_encoder - 1)

    def add(self, frame_index: int, memory: FrameMemory, first_prompt: torch.Tensor) -> None:
        """Add the memory of a tracked frame; one that ranks lower may be forgotten."""
        assert memory.reliable is not None

        def choose(_: torch.Tensor, reliable: torch.Tensor) -> torch.Tensor:
            return most_reliable(reliable[None])[0]

        self._maps.add(memory.map, memory.reliable, choose)
        self._pointers.add(memory.pointer, memory.reliable, choose)

    def long_term(self) -> list[torch.Tensor]:
        """Return no long-term memories, which this policy does not have."""
        return []

    def maps(self, age: Age) -> Aged:
        """Return the spatial memories with their ranks, oldest first."""
        return _with_ranks(self._maps.values())

    def pointers(self, age: Age) -> Aged:
        """Return the object pointers with their ranks, oldest first."""
        return _with_ranks(self._pointers.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the memories as plain data, without copying a tensor."""
        return {"maps": self._maps.state(), "pointers": self._pointers.state()}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Replace the memories by those of a `state_dict`; tensors are moved to `device`."""
        self._maps.load_state(state["maps"], device)
        self._pointers.load_state(state["pointers"], device)


TrackedMemories = RecentMemories | ReliableMemories


def make_store(network: SurgSAM2Network, policy: MemoryPolicy) -> TrackedMemories:
    """Return an empty store for the memories of an object under a policy."""
    if policy.memory == "reliable":
        return ReliableMemories(network)
    if policy.memory == "diverse" and policy.long_term:
        return DiverseMemories(network, policy)
    return RecentMemories(network)


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
    ) -> None:
        """Add a tensor. `choose` gets all (N, ...) tensors and flags and gives those that stay."""
        values, flags = value[None], reliable[None]
        if self._values is not None and self._reliable is not None:
            with torch.autocast(value.device.type, enabled=False):  # it refuses to join bfloat16
                values = torch.cat([self._values, values])
            flags = torch.cat([self._reliable, flags])
        if len(values) > self._capacity:
            kept = choose(values, flags)
            values, flags = values[kept], flags[kept]
        self._values, self._reliable = values, flags

    def values(self) -> list[torch.Tensor]:
        return [] if self._values is None else list(self._values)

    def state(self) -> list[torch.Tensor]:
        if self._values is None or self._reliable is None:
            return []
        return [self._values, self._reliable]

    def load_state(self, state: list[torch.Tensor], device: torch.device) -> None:
        self._values, self._reliable = (t.to(device) for t in state) if state else (None, None)


def _with_ranks(values: list[torch.Tensor]) -> Aged:
    return [(len(values) - i, value) for i, value in enumerate(values)]
