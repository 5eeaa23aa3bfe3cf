"""The options of tracking: direction, range and how masks are made. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from surgsam2.storage.options import Options, option

Direction = Literal["forward", "backward", "both"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)
MemoryPolicyName = Literal["efp", "window", "reliable", "diverse", "reliable-diverse"]
MEMORY_POLICIES: tuple[str, ...] = get_args(MemoryPolicyName)
MEMORY_SETTINGS = ("long_term", "min_presence", "min_iou", "min_similarity")
"""Names of the options that belong to the option `memory`."""


@dataclass(frozen=True, kw_only=True)
class TrackingOptions(Options):
    """How prompted objects are followed through a recorded video."""

    direction: Direction = option(
        "forward",
        "from each object's first prompt on, up to its last prompt, or both",
        choices=DIRECTIONS,
    )
    start: int | None = option(None, "first frame, from 0", metavar="N")
    stop: int | None = option(None, "frame to stop before", metavar="N")
    allow_overlap: bool = option(
        False,
        "let masks of different objects share pixels; otherwise the object with the higher logit "
        "gets them",
    )
    min_region: float = option(
        0.0005,
        "remove parts of a mask and fill holes in it of up to this share of the picture's area; "
        "the largest part always stays, and 0 leaves masks as the network gives them",
        minimum=0,
        maximum=0.1,
        metavar="SHARE",
    )
    largest_part: bool = option(False, "keep only the largest part of each mask")
    memory: MemoryPolicyName = option(
        "efp",
        "which memories of an object are kept: the recent ones with Efficient Frame Pruning, all "
        "recent ones, those of reliable frames, recent ones and diverse older ones, or both",
        choices=MEMORY_POLICIES,
    )
    long_term: int = option(
        2,
        "number of older memories that the diverse policies keep per object",
        minimum=0,
        maximum=16,
        metavar="N",
    )
    min_presence: float = option(
        0.5,
        "least presence of a reliable frame, for the reliable and diverse policies",
        minimum=0,
        maximum=1,
        metavar="P",
    )
    min_iou: float = option(
        0.5,
        "least predicted IoU of a reliable frame, for the reliable and diverse policies",
        minimum=0,
        maximum=1,
        metavar="IOU",
    )
    min_similarity: float = option(
        0.0,
        "least similarity of an object to its prompted frames, for the reliable policies; an "
        "object that looks less alike counts as absent and is looked for in the whole frame; with "
        "0 none does",
        minimum=0,
        maximum=1,
        metavar="S",
    )
