"""Recorded video: ranges, directions, order, and that each frame comes once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import surgsam2
from surgsam2 import PromptSet, Tracker, open_video, segment_video
from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from tests.conftest import disc

WIDTH, HEIGHT = 160, 120


@pytest.fixture
def two_objects() -> PromptSet:
    """Object 1 from frame 2, object 2 from frame 8."""
    prompts = PromptSet().add(object_id=1, frame=2, mask=disc(WIDTH, HEIGHT, 60, 60, 15))
    return prompts.add(object_id=2, frame=8, box=[80, 40, 110, 90])


def indices(results: list[surgsam2.FrameResult]) -> list[int]:
    return [result.frame_index for result in results]


def test_forward_begins_at_the_first_prompt(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    results = list(segment_video(a_model, a_clip, two_objects))
    assert indices(results) == list(range(2, 18))
    assert [r.object_ids for r in results] == [(1,)] * 6 + [(1, 2)] * 10


def test_backward_descends_from_the_last_prompt(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    results = list(segment_video(a_model, a_clip, two_objects, direction="backward"))
    assert indices(results) == list(range(8, -1, -1))
    assert [r.object_ids for r in results] == [(2,)] * 6 + [(1, 2)] * 3


def test_both_gives_every_object_in_every_frame_once_ascending(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    results = list(segment_video(a_model, a_clip, two_objects, direction="both"))
    assert indices(results) == list(range(18))
    assert {r.object_ids for r in results} == {(1, 2)}


def test_both_is_forward_and_backward_joined(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    prompts = PromptSet().add(object_id=1, frame=9, mask=disc(WIDTH, HEIGHT, 60, 60, 15))
    expected = {}
    for direction in ("backward", "forward"):
        for result in segment_video(a_model, a_clip, prompts, direction=direction):
            expected[result.frame_index] = result.logits
    for result in segment_video(a_model, a_clip, prompts, direction="both"):
        assert np.array_equal(result.logits, expected[result.frame_index])


def test_both_resolves_overlaps_across_the_two_passes(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    both = segment_video(a_model, a_clip, two_objects, direction="both", non_overlap=True)
    for result in both:
        assert result.masks.sum(axis=0).max() <= 1
        winner = result.logits.argmax(axis=0)
        assert np.array_equal(result.masks[1], (result.logits[1] > 0) & (winner == 1))


def test_a_range(a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet) -> None:
    def run(*bounds: int, direction: str = "forward") -> list[surgsam2.FrameResult]:
        return list(segment_video(a_model, a_clip, two_objects, *bounds, direction))

    assert indices(run(0, 5)) == [0, 1, 2, 3, 4]
    assert [r.object_ids for r in run(0, 5)] == [(), (), (1,), (1,), (1,)]
    assert indices(run(5, 7, direction="backward")) == [6, 5]
    assert indices(run(5, 10, direction="both")) == [5, 6, 7, 8, 9]
    # a prompt before the range counts all the same
    assert [r.object_ids for r in run(10, 12)] == [(1, 2), (1, 2)]


def test_equals_the_tracker_when_nothing_lies_ahead(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    prompts = PromptSet().add(object_id=1, frame=0, points=[[60, 60, 1]])
    a_tracker = Tracker(a_model, WIDTH, HEIGHT)
    for frame, result in zip(a_clip, segment_video(a_model, a_clip, prompts), strict=True):
        assert np.array_equal(a_tracker.step(frame, prompts).logits, result.logits)


def test_prompts_ahead_change_the_frames_before_them(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    one = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 15))
    two = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 15))
    two.add(object_id=1, frame=12, mask=disc(WIDTH, HEIGHT, 110, 30, 9))
    a = list(segment_video(a_model, a_clip, one, stop=6))
    b = list(segment_video(a_model, a_clip, two, stop=6))
    assert np.abs(a[3].logits - b[3].logits).max() > 0.05


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"direction": "sideways"}, InputError, "forward, backward, both, got 'sideways'"),
        ({"start": 5, "stop": 5}, InputError, "start 5, stop 5 is empty"),
        ({"stop": 19}, InputError, "frames 0 to 17"),
        ({"start": -1}, InputError, "start -1"),
        ({"stop": 2}, InputError, "not after the first prompt"),
        ({"start": 9, "stop": 12, "direction": "backward"}, InputError, "after the last prompt"),
    ],
)
def test_refuses_at_once(
    a_model: SurgSAM2Model,
    a_clip: np.ndarray,
    two_objects: PromptSet,
    arguments: dict,
    error: type[Exception],
    text: str,
) -> None:
    arguments = {"start": 0} | arguments if "stop" in arguments else arguments
    with pytest.raises(error, match=text):
        segment_video(a_model, a_clip, two_objects, **arguments)


def test_refuses_prompts_that_do_not_fit(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    with pytest.raises(PromptError, match="frame 18"):
        segment_video(a_model, a_clip, PromptSet().add(object_id=1, frame=18, box=[1, 1, 9, 9]))
    with pytest.raises(PromptError):
        segment_video(a_model, a_clip, PromptSet())


def test_leaves_no_thread_behind(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    before = set(threading.enumerate())
    with open_video(a_clip) as video:
        for direction in ("forward", "backward", "both"):
            results = segment_video(a_model, video, two_objects, direction=direction)
            next(results)
            results.close()
    assert set(threading.enumerate()) == before
