"""A tracker that is saved and loaded continues as if nothing had happened."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from surgsam2 import EFP, PromptSet, Tracker
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.plan import plan_tracking
from surgsam2.tracking.video_tracking import VideoTracking, copy_to_cpu
from surgsam2.video import open_video
from tests.conftest import disc
from tests.tracking.memory_size import memory_bytes


def prompts() -> PromptSet:
    both = PromptSet().add(object_id=7, frame=0, mask=disc(160, 120, 60, 60, 20))
    return both.add(object_id=2, frame=3, box=[20, 20, 60, 60])


def logits(tracker: Tracker, frames: np.ndarray) -> list[np.ndarray]:
    return [tracker.step(frame, prompts()).logits for frame in frames]


def saved(tracker: Tracker) -> dict:
    """Return the state after a way through a file that holds data only."""
    buffer = io.BytesIO()
    torch.save(copy_to_cpu(tracker.state_dict()), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_goes_on_to_the_last_bit(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """The cuts are among the first frames, and where the bank is full."""
    whole = logits(Tracker(a_model, 160, 120), a_clip[:14])
    for cut in (1, 4, 10):
        first = Tracker(a_model, 160, 120)
        logits(first, a_clip[:cut])
        second = Tracker(a_model, 160, 120)
        second.load_state_dict(saved(first))
        assert second.frame_index == cut
        assert second.object_ids == first.object_ids
        assert memory_bytes(second) == memory_bytes(first)
        for expected, found in zip(whole[cut:], logits(second, a_clip[cut:14]), strict=True):
            assert np.array_equal(expected, found)


def test_the_built_in_network_goes_on(built_in_config: Path, a_clip: np.ndarray) -> None:
    """Its memories have more channels than the memory encoder's, and it learns target models."""
    network = build_network(load_config(str(built_in_config)), "built-in", SurgSAM2Network).eval()
    with torch.no_grad():  # objects are present, so that their frames are learned from
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5)
        network.sam_mask_decoder.iou_prediction_head.layers[-1].bias.fill_(5)
    config, cpu = OmegaConf.create({}), torch.device("cpu")
    model = SurgSAM2Model("built-in", network, config, cpu, torch.float32, EFP(), None)
    first, second = Tracker(model, 160, 120), Tracker(model, 160, 120)
    logits(first, a_clip[:3])
    second.load_state_dict(saved(first))
    expected, found = (logits(tracker, a_clip[3:4])[0] for tracker in (first, second))
    assert np.array_equal(expected, found)


def test_a_saved_state_does_not_change(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    tracker = Tracker(a_model, 160, 120)
    logits(tracker, a_clip[:5])
    state = copy_to_cpu(tracker.state_dict())
    before = [t.clone() for _, t in state["objects"][0]["maps"]]
    expected = logits(tracker, a_clip[5:12])
    assert all(map(torch.equal, before, (t for _, t in state["objects"][0]["maps"])))
    tracker.load_state_dict(state)
    for one, other in zip(expected, logits(tracker, a_clip[5:12]), strict=True):
        assert np.array_equal(one, other)


def test_removed_objects_stay_removed(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    tracker = Tracker(a_model, 160, 120)
    logits(tracker, a_clip[:5])
    tracker.remove_object(7)
    other = Tracker(a_model, 160, 120)
    other.load_state_dict(saved(tracker))
    assert other.step(a_clip[5], prompts()).object_ids == (2,)


def test_a_frame_that_fails_changes_nothing(
    a_model: SurgSAM2Model, a_clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame can be tried again after an error, with the same result."""
    whole = logits(Tracker(a_model, 160, 120), a_clip[:6])
    tracker = Tracker(a_model, 160, 120)
    logits(tracker, a_clip[:3])
    encode, calls = SurgSAM2Network.encode_memory, []

    def fails_once(self: SurgSAM2Network, *args: object, **kwargs: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:  # the new prompt's memory is made, the tracked object's is not
            raise MemoryError
        return encode(self, *args, **kwargs)

    monkeypatch.setattr(SurgSAM2Network, "encode_memory", fails_once)
    with pytest.raises(MemoryError):
        tracker.step(a_clip[3], prompts())
    assert (tracker.frame_index, tracker.object_ids) == (3, (7,))
    for expected, found in zip(whole[3:], logits(tracker, a_clip[3:6]), strict=True):
        assert np.array_equal(expected, found)


@pytest.fixture(scope="module")
def a_state(a_model: SurgSAM2Model, a_clip: np.ndarray) -> dict:
    tracker = Tracker(a_model, 160, 120)
    logits(tracker, a_clip[:2])
    return tracker.state_dict()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frame_index", "five"),
        ("pointer_limit", None),
        ("removed_at", 3),
        ("pattern", (4, "none")),
        ("pattern", ("four", torch.zeros(1))),
        ("pattern", (4, torch.zeros(1))),
        ("objects", [{"id": 1}]),
    ],
)
def test_a_damaged_state_changes_nothing(
    name: str, value: object, a_model: SurgSAM2Model, a_state: dict
) -> None:
    """It is refused before anything of the tracker is replaced."""
    tracker = Tracker(a_model, 160, 120)
    before = tracker.state_dict()
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        tracker.load_state_dict({**a_state, name: value})
    assert tracker.state_dict() == before


def test_a_damaged_state_of_a_video_changes_nothing(
    a_model: SurgSAM2Model, a_clip: np.ndarray, a_state: dict
) -> None:
    video, options = open_video(a_clip), TrackingOptions()
    plan = plan_tracking(video, prompts(), options)
    tracking = VideoTracking(a_model, video, prompts(), plan, options, DiskStore())
    beyond = {**a_state, "frame_index": 1000}
    for tracker in ({}, beyond):
        with pytest.raises((KeyError, ValueError)):
            tracking.load_state_dict({"first_pass": True, "tracker": tracker})
        assert tracking.state_dict() == {"first_pass": False, "tracker": None}
