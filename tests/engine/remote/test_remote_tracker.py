"""`Tracker` with a model on another machine: the results are those of one here."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import surgsam2
from surgsam2 import PromptSet, Tracker
from surgsam2.engine.remote.server import EngineServer
from surgsam2.engine.remote_model import RemoteModel
from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from tests.engine.remote.helpers import BOX, TOKEN, gone


@pytest.fixture(scope="module")
def there(server: EngineServer) -> Iterator[RemoteModel]:
    address = f"surgsam2://127.0.0.1:{server.port}"
    with surgsam2.connect(
        address, "small.pt", token=TOKEN, config="small.yaml", device="cpu"
    ) as model:
        yield model
    gone(server)


def assert_equal(got: FrameResult, want: FrameResult) -> None:
    assert (got.frame_index, got.object_ids) == (want.frame_index, want.object_ids)
    assert np.array_equal(got.masks, want.masks)
    assert np.array_equal(got.iou_scores, want.iou_scores)
    assert np.array_equal(got.presence, want.presence)


def test_each_step_is_equal(there: RemoteModel, a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """Objects come, are shown ahead, corrected and removed; a tensor is a frame too."""
    options = TrackingOptions(memory="reliable")
    one, two = (Tracker(model, 160, 120, options=options) for model in (a_model, there))
    assert isinstance(two, Tracker)
    second = PromptSet().add(object_id=7, frame=6, points=[[100, 20, 1]])
    for tracker in (one, two):
        tracker.condition(a_clip[6], 6, second)
    assert two.object_ids == (7,)
    for index in range(9):
        prompts = {0: BOX, 6: second}.get(index)
        frame = torch.from_numpy(a_clip[index]) if index == 3 else a_clip[index]
        if index == 5:
            one.forget_prompted(1)
            two.forget_prompted(1)
        if index == 7:
            one.remove_object(1)
            two.remove_object(1)
        expected = one.step(a_clip[index], prompts)
        assert_equal(two.step(frame, prompts), expected)
        assert two.object_ids == one.object_ids
        assert two.frame_index == one.frame_index
    assert repr(two).startswith("Tracker(160 x 120, next frame 9, objects [7]")


def test_frames_in_descending_order(
    there: RemoteModel, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    prompts = PromptSet().add(object_id=2, frame=4, box=[10, 30, 50, 80])
    one, two = (
        Tracker(model, 160, 120, first_frame=4, reverse=True, frame_count=18)
        for model in (a_model, there)
    )
    for index in (4, 3, 2):
        expected = one.step(a_clip[index], prompts)
        assert_equal(two.step(a_clip[index], prompts), expected)
    assert two.frame_index == 1


def test_what_is_refused_leaves_the_tracker_as_it_was(
    there: RemoteModel, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    one, two = (Tracker(model, 160, 120) for model in (a_model, there))
    with pytest.raises(InputError, match="frame must be"):
        two.step(a_clip[0, :50], BOX)
    with pytest.raises(PromptError, match="outside"):
        two.step(a_clip[0], PromptSet().add(object_id=1, frame=0, points=[[999, 5, 1]]))
    with pytest.raises(InputError, match="object 3 is not tracked"):
        two.remove_object(3)
    expected = one.step(a_clip[0], BOX)
    assert_equal(two.step(a_clip[0], BOX), expected)
    with pytest.raises(InputError, match="comes too late"):
        two.step(a_clip[1], PromptSet().add(object_id=2, frame=0, points=[[5, 5, 1]]))
    with pytest.raises(InputError, match="cannot be saved"):
        two.state_dict()
    with pytest.raises(InputError, match="frame size must be positive"):
        Tracker(there, 0, 120)


def test_trackers_that_are_not_used_any_more_make_room(
    there: RemoteModel, a_clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    kept = [Tracker(there, 160, 120) for _ in range(64)]
    with pytest.raises(InputError, match="64 trackers run already"):
        Tracker(there, 160, 120)
    del kept[5:]
    gc.collect()
    more = Tracker(there, 160, 120)
    assert more.step(a_clip[0], BOX).object_ids == (1,)
