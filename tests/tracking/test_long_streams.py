"""Memory stays flat in long streams in which objects come and go.

Whether speed does is measured beside a fresh tracker by `docs/notes/experiments/long_stream.py`.
"""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

import surgsam2
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker
from tests.conftest import demo_config_at, disc, moving_picture
from tests.tracking.memory_size import memory_bytes

WIDTH, HEIGHT = 80, 60
SPAN = 30
"""Each object is tracked for two spans of so many frames; a new one begins in every span."""
HIDDEN = 8
"""Number of black frames at the end of a span."""
PRESENT = 0.6
"""Presence that some of the frames reach and others do not."""


@pytest.fixture(scope="module")
def a_tiny_model(demo_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> SurgSAM2Model:
    """The demo network for an input of 64 pixels."""
    config = demo_config_at(64, tmp_path_factory.mktemp("config"))
    return surgsam2.load_model(demo_checkpoint, config=str(config), device="cpu")


def track(tracker: Tracker, frames: int) -> dict[str, list[float]]:
    """Track objects that come and go, and measure after each span.

    Returns:
        `state`, the bytes of the tracker's memories; `resident`, the largest size of the
        process so far in bytes; `presence`, of every frame and object.
    """
    pictures = moving_picture(SPAN, WIDTH, HEIGHT)
    measured: dict[str, list[float]] = {"state": [], "resident": [], "presence": []}
    for index in range(frames):
        span, place = divmod(index, SPAN)
        prompts = None
        if place == 0:
            mask = disc(WIDTH, HEIGHT, 20 + 4 * (span % 10), 30, 10)
            prompts = PromptSet().add(object_id=span % 1000 + 1, frame=index, mask=mask)
            if len(tracker.object_ids) == 2:
                tracker.remove_object(tracker.object_ids[0])
        picture = pictures[place] if place < SPAN - HIDDEN else np.zeros_like(pictures[0])
        measured["presence"] += tracker.step(picture, prompts).presence.tolist()
        if place == SPAN - 1:
            gc.collect()
            measured["state"].append(memory_bytes(tracker))
            measured["resident"].append(peak_bytes())
    return measured


def peak_bytes() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@pytest.mark.parametrize("memory", ["efp", "reliable-diverse"])
@pytest.mark.parametrize(
    "frames", [150, pytest.param(10_000, marks=pytest.mark.nightly)], ids=["short", "long"]
)
def test_memory_is_flat(a_tiny_model: SurgSAM2Model, memory: str, frames: int) -> None:
    options = TrackingOptions(memory=memory, min_presence=PRESENT, min_iou=0)  # type: ignore[arg-type]
    measured = track(Tracker(a_tiny_model, WIDTH, HEIGHT, options=options), frames)
    full = measured["state"][1:]  # from when there are two objects
    assert max(full) == min(full)
    assert 0.05 < np.mean(np.array(measured["presence"]) >= PRESENT) < 0.95, "both kinds of frames"
    if frames > 1000:
        assert measured["resident"][-1] - measured["resident"][9] < 16e6
