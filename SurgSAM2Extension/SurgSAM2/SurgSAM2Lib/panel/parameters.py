"""The choices of the panel, saved with the scene."""

from __future__ import annotations

import enum
from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSequenceBrowserNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from SurgSAM2Lib.i18n import _

MAX_FRAME = 10_000_000


class Direction(enum.Enum):
    """Where a track goes."""

    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"

    def label(self) -> str:
        return {
            Direction.FORWARD: _("Forward"),
            Direction.BACKWARD: _("Backward"),
            Direction.BOTH: _("Both"),
        }[self]


class Pruning(enum.Enum):
    """Form of Efficient Frame Pruning."""

    CAPPED = "capped"
    FULL_BANK = "full-bank"
    OFF = "off"

    def label(self) -> str:
        return {
            Pruning.CAPPED: _("Capped (SAM 2.1 release)"),
            Pruning.FULL_BANK: _("Full bank (first release)"),
            Pruning.OFF: _("Off (plain SAM 2)"),
        }[self]


@parameterNodeWrapper
class SurgSAM2ParameterNode:
    """One attribute per choice; widgets name them in ``SlicerParameterName``."""

    video: vtkMRMLSequenceBrowserNode
    selectedObject: int = 0
    """Id of the object that prompts are given for; 0 for none."""

    model: str = "demo"
    """`demo`, a known name, or a path."""
    config: str = ""
    device: Annotated[str, Choice(["auto", "cuda", "mps", "cpu"])] = "auto"
    dtype: Annotated[str, Choice(["auto", "float32", "bfloat16", "float16"])] = "auto"
    pruning: Pruning = Pruning.CAPPED
    prune: Annotated[int, WithinRange(0, 5)] = 2

    direction: Direction = Direction.FORWARD
    onlyRange: bool = False
    firstFrame: Annotated[int, WithinRange(0, MAX_FRAME)] = 0
    lastFrame: Annotated[int, WithinRange(0, MAX_FRAME)] = 0
    onlySelected: bool = False
    overwriteGood: bool = False
    allowOverlap: bool = False
    fillHoles: Annotated[int, WithinRange(0, 1000)] = 0
    livePreview: bool = True

    liveVolume: vtkMRMLScalarVolumeNode
    liveGigabytes: Annotated[float, WithinRange(0.1, 1000.0)] = 2.0
    """Memory that a recording may take."""
