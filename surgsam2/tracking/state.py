"""A tracker's memories as plain data, to be saved or put back.

The data consist of dictionaries, lists, numbers and tensors only, so that `torch.load` can
read them back without running code. Tensors keep their strides: what is computed from them
later is the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch

from surgsam2.tracking.memory import ConditioningMemory, MaskOutput, MemoryBank
from surgsam2.tracking.tracker import Tracker

TrackerState = dict[str, Any]


def tracker_state(tracker: Tracker) -> TrackerState:
    """What `restore_tracker` needs.

    The tensors are the tracker's own, without a copy: right for putting a tracker back a
    moment later. Use `detached` for a copy that can be saved.
    """
    return {
        "frame_index": tracker.frame_index,
        "pointer_limit": tracker._pointer_limit,
        "removed_at": list(tracker._removed_at.items()),
        "objects": [
            {
                "id": object_id,
                "conditioning": [
                    [index, memory.map, memory.pointer, memory.output.low_res, memory.output.scores]
                    for index, memory in bank.conditioning.items()
                ],
                "maps": list(bank._maps),
                "pointers": list(bank._pointers),
            }
            for object_id, bank in tracker._banks.items()
        ],
    }


def restore_tracker(tracker: Tracker, state: TrackerState) -> None:
    """Put a tracker of the same model, frame size and direction into a state.

    Raises:
        KeyError, TypeError, ValueError: not a tracker's state.
    """
    device = tracker.model.device
    banks: dict[int, MemoryBank] = {}
    for item in state["objects"]:
        bank = MemoryBank(tracker.model.network, reverse=tracker.reverse)
        for index, *tensors in item["conditioning"]:
            map_, pointer, low_res, scores = (t.to(device) for t in tensors)
            output = MaskOutput(low_res, scores)
            bank.condition(index, ConditioningMemory(map_, pointer, output))
        bank._maps.extend((index, map_.to(device)) for index, map_ in item["maps"])
        bank._pointers.extend((index, pointer.to(device)) for index, pointer in item["pointers"])
        banks[item["id"]] = bank
    tracker.frame_index = state["frame_index"]
    tracker._pointer_limit = state["pointer_limit"]
    tracker._removed_at = dict(state["removed_at"])
    tracker._banks = banks


def detached(value: Any) -> Any:
    """A copy on the CPU in which no tensor shares memory with the tracker's."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().cpu()  # both keep the strides
    if isinstance(value, dict):
        return {key: detached(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [detached(item) for item in value]
    return value
