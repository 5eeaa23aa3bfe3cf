"""The operator for Holoscan, with stand-ins for Holoscan's classes: it needs an NVIDIA GPU."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import surgsam2
from surgsam2.model.options import ModelOptions
from surgsam2.tracking.options import TrackingOptions


class Operator:
    """What Holoscan's operator does when it is made: it calls `setup`."""

    def __init__(self, fragment: Any, *args: Any, name: str = "") -> None:
        self.ports: list[str] = []
        spec = SimpleNamespace(input=self.ports.append, output=self.ports.append)
        self.setup(spec)

    def setup(self, spec: Any) -> None:
        raise NotImplementedError


@pytest.fixture
def holoscan(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the operator's module, on top of the stand-in or of the real Holoscan."""
    try:
        importlib.import_module("holoscan.core")
    except ImportError:
        core = ModuleType("holoscan.core")
        vars(core).update(Operator=Operator, OperatorSpec=object)
        monkeypatch.setitem(sys.modules, "holoscan", ModuleType("holoscan"))
        monkeypatch.setitem(sys.modules, "holoscan.core", core)
    monkeypatch.delitem(sys.modules, "surgsam2.integrations.holoscan", raising=False)
    return importlib.import_module("surgsam2.integrations.holoscan")


def test_the_label_images_are_the_masks_of_the_tracker(
    holoscan: Any, a_bundle: Path, a_clip: np.ndarray
) -> None:
    prompts = surgsam2.PromptSet()
    prompts.add(object_id=1, frame=0, box=[20, 30, 90, 100])
    prompts.add(object_id=5, frame=1, box=[60, 20, 140, 80])
    options = ModelOptions(model=str(a_bundle), device="cpu")
    operator = holoscan.TrackingOp(object(), name="op", prompts=prompts, model=options)
    operator.start()
    emitted: list[tuple[dict[str, torch.Tensor], str]] = []
    model = options.load()
    height, width = a_clip.shape[1:3]
    tracker = surgsam2.Tracker(model, width, height, options=TrackingOptions())
    for frame in a_clip[:3]:
        tensor = torch.from_numpy(frame)
        rgba = torch.cat([tensor, torch.full((height, width, 1), 255, dtype=torch.uint8)], 2)
        operator.compute(
            SimpleNamespace(receive=lambda name, rgba=rgba: {"video": rgba}),
            SimpleNamespace(emit=lambda *sent: emitted.append(sent)),
            None,
        )
        (message, port), result = emitted[-1], tracker.step(tensor, prompts)
        labels = message["labels"]
        assert port == "labels"
        assert labels.shape == (height, width, 1)
        wanted = np.zeros((height, width), np.uint8)
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            wanted[mask] = object_id
        assert np.array_equal(labels[..., 0].numpy(), wanted)
    assert set(np.unique(wanted)) == {0, 1, 5}


def test_ids_that_do_not_fit_are_refused(holoscan: Any, a_bundle: Path, a_clip: np.ndarray) -> None:
    prompts = surgsam2.PromptSet().add(object_id=300, frame=0, box=[20, 30, 90, 100])
    model = ModelOptions(model=str(a_bundle), device="cpu")
    operator = holoscan.TrackingOp(object(), name="op", prompts=prompts, model=model)
    operator.start()
    source = SimpleNamespace(receive=lambda name: torch.from_numpy(a_clip[0]))
    with pytest.raises(surgsam2.SurgSAM2Error, match="object 300: label images of 8 bits"):
        operator.compute(source, SimpleNamespace(), None)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (torch.zeros(4, 4, dtype=torch.uint8), r"must be \(H, W, 3\)"),
        (torch.zeros(4, 4, 3), "uint8, got"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "one tensor, got 2"),
    ],
)
def test_messages_that_are_no_frame(holoscan: Any, message: Any, reason: str) -> None:
    with pytest.raises(surgsam2.SurgSAM2Error, match=reason):
        holoscan.frame_of(message)
