"""The settings of the panel, which are saved with the scene.

Those of the model and of tracking derive from `ModelOptions` and `TrackingOptions`: names,
defaults, choices and limits are described there once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Any

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSequenceBrowserNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from surgsam2.model.options import PRUNING_FORMS, ModelOptions
from surgsam2.storage.options import Option, Options
from surgsam2.tracking.options import DIRECTIONS, MEMORY_POLICIES, TrackingOptions
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.logic.option_names import parameter_name

MAX_FRAME = 10_000_000
DEVICES = ["auto", "cuda", "mps", "cpu"]
_LARGEST = {"prune": 5}
_LARGEST_OTHERWISE = 1000
"""Largest values that the spin boxes offer, where the options have no maximum."""


class _Labelled(enum.Enum):
    """An enumeration whose members are shown by a text in the user's language."""

    def label(self) -> str:
        """Return the text that a combo box shows."""
        texts = {
            "forward": _("Forward"),
            "backward": _("Backward"),
            "both": _("Both"),
            "capped": _("Capped (SAM 2.1 release)"),
            "full-bank": _("Full bank (first release)"),
            "off": _("Off (plain SAM 2)"),
            "efp": _("Recent frames, pruned (EFP)"),
            "window": _("Recent frames (plain SAM 2)"),
            "reliable": _("Recent reliable frames"),
            "diverse": _("Recent and diverse older frames"),
            "reliable-diverse": _("Reliable and diverse older frames"),
        }
        return texts.get(self.value, self.value)


def _labelled(name: str, values: tuple[str, ...]) -> Any:
    """Return an enumeration of these values; Slicer stores its members by their names."""
    members = [(value.upper().replace("-", "_"), value) for value in values]
    base: Any = _Labelled
    return base(name, members, module=__name__)


Direction: Any = _labelled("Direction", DIRECTIONS)
"""The direction of a track."""
Pruning: Any = _labelled("Pruning", PRUNING_FORMS)
"""The form of Efficient Frame Pruning."""
MemoryPolicy: Any = _labelled("MemoryPolicy", MEMORY_POLICIES)
"""The policy that chooses which memories of an object are kept."""
_ENUMERATIONS = {"direction": Direction, "pruning": Pruning, "memory": MemoryPolicy}


def _with_options(*groups: type[Options]) -> Callable[[type], type]:
    """Return a class decorator that adds a parameter for each option of the groups.

    A parameter that the class declares itself is kept as it is.
    """

    def add(cls: type) -> type:
        for group in groups:
            for described in group.described():
                name = parameter_name(described.name)
                if name not in cls.__annotations__ and _is_parameter(described):
                    cls.__annotations__[name], default = _annotation_and_default(described)
                    setattr(cls, name, default)
        return cls

    return add


def _is_parameter(described: Option) -> bool:
    """Whether an option is a parameter; an optional number is a check box and a spin box."""
    return described.value_type in (bool, str) or described.default is not None


def _annotation_and_default(described: Option) -> tuple[Any, Any]:
    kind, default = described.value_type, described.default
    if described.name in _ENUMERATIONS:
        enumeration = _ENUMERATIONS[described.name]
        return enumeration, enumeration(default)
    if described.choices:
        return Annotated[str, Choice(list(described.choices))], default
    if kind is str:
        return str, default or ""  # an empty text stands for None
    largest = _LARGEST.get(described.name, described.maximum or _LARGEST_OTHERWISE)
    if described.minimum is None:
        return kind, default
    return Annotated[kind, WithinRange(described.minimum, largest)], default


@parameterNodeWrapper
@_with_options(ModelOptions, TrackingOptions)
class SurgSAM2ParameterNode:
    """One attribute per setting; a widget names its setting in ``SlicerParameterName``."""

    video: vtkMRMLSequenceBrowserNode
    selectedObject: int = 0
    """Id of the object that prompts are given for; 0 for none."""
    device: Annotated[str, Choice(DEVICES)] = "auto"
    onlyRange: bool = False
    """Whether to track only the frames from `firstFrame` to `lastFrame`, both included."""
    firstFrame: Annotated[int, WithinRange(0, MAX_FRAME)] = 0
    lastFrame: Annotated[int, WithinRange(0, MAX_FRAME)] = 0
    onlySelected: bool = False
    overwriteGood: bool = False
    livePreview: bool = True
    usePaintedMask: bool = False
    """Whether a painted mask becomes a prompt as soon as a stroke ends."""
    liveVolume: vtkMRMLScalarVolumeNode
    liveGigabytes: Annotated[float, WithinRange(0.1, 1000.0)] = 2.0
    """Memory that a recording may take, in units of 10^9 bytes."""
