"""A tracker put away and taken up again is the same tracker."""

from __future__ import annotations

import io

import numpy as np
import torch

from surgsam2 import PromptSet, Tracker
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.state import detached, restore_tracker, tracker_state
from tests.conftest import disc


def prompts() -> PromptSet:
    both = PromptSet().add(object_id=7, frame=0, mask=disc(160, 120, 60, 60, 20))
    return both.add(object_id=2, frame=3, box=[20, 20, 60, 60])


def logits(tracker: Tracker, frames: np.ndarray) -> list[np.ndarray]:
    return [tracker.step(frame, prompts()).logits for frame in frames]


def saved(tracker: Tracker) -> dict:
    """Through a file, as data only."""
    buffer = io.BytesIO()
    torch.save(detached(tracker_state(tracker)), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_goes_on_to_the_last_bit(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """At every moment of the first frames, and once the bank is full."""
    whole = logits(Tracker(a_model, 160, 120), a_clip[:14])
    for cut in (1, 4, 10):
        first = Tracker(a_model, 160, 120)
        logits(first, a_clip[:cut])
        second = Tracker(a_model, 160, 120)
        restore_tracker(second, saved(first))
        assert second.frame_index == cut
        assert second.object_ids == first.object_ids
        assert second.state_bytes == first.state_bytes
        for expected, found in zip(whole[cut:], logits(second, a_clip[cut:14]), strict=True):
            assert np.array_equal(expected, found)


def test_a_saved_state_does_not_change(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    tracker = Tracker(a_model, 160, 120)
    logits(tracker, a_clip[:5])
    state = detached(tracker_state(tracker))
    before = [t.clone() for _, t in state["objects"][0]["maps"]]
    expected = logits(tracker, a_clip[5:12])
    assert all(map(torch.equal, before, (t for _, t in state["objects"][0]["maps"])))
    restore_tracker(tracker, state)
    for one, other in zip(expected, logits(tracker, a_clip[5:12]), strict=True):
        assert np.array_equal(one, other)


def test_removed_objects_stay_removed(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    tracker = Tracker(a_model, 160, 120)
    logits(tracker, a_clip[:5])
    tracker.remove_object(7)
    other = Tracker(a_model, 160, 120)
    restore_tracker(other, saved(tracker))
    assert other.step(a_clip[5], prompts()).object_ids == (2,)
