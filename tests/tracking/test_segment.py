"""Recorded video: ranges, directions, order, and that each frame comes once."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import surgsam2
from surgsam2 import PromptSet, Tracker, open_video, segment_video
from surgsam2.errors import InputError, PromptError, VideoError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video.arrays import ArrayVideo
from tests.conftest import disc
from tests.video.helpers import blank, open_files, write_video, x264

OVERLAPPING = TrackingOptions(allow_overlap=True)
segment_overlapping = partial(segment_video, allow_overlap=True)

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
    results = list(segment_overlapping(a_model, a_clip, two_objects))
    assert indices(results) == list(range(2, 18))
    assert [r.object_ids for r in results] == [(1,)] * 6 + [(1, 2)] * 10


def test_backward_descends_from_the_last_prompt(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    results = list(segment_overlapping(a_model, a_clip, two_objects, direction="backward"))
    assert indices(results) == list(range(8, -1, -1))
    assert [r.object_ids for r in results] == [(2,)] * 6 + [(1, 2)] * 3


def test_both_gives_every_object_in_every_frame_once_ascending(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    results = list(segment_overlapping(a_model, a_clip, two_objects, direction="both"))
    assert indices(results) == list(range(18))
    assert {r.object_ids for r in results} == {(1, 2)}


def test_both_is_forward_and_backward_joined(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    prompts = PromptSet().add(object_id=1, frame=9, mask=disc(WIDTH, HEIGHT, 60, 60, 15))
    expected = {}
    for direction in ("backward", "forward"):
        for result in segment_overlapping(a_model, a_clip, prompts, direction=direction):
            expected[result.frame_index] = result.logits
    for result in segment_overlapping(a_model, a_clip, prompts, direction="both"):
        assert np.array_equal(result.logits, expected[result.frame_index])


def test_both_resolves_overlaps_across_the_two_passes(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    both = segment_video(a_model, a_clip, two_objects, direction="both", allow_overlap=False)
    for result in both:
        assert result.masks.sum(axis=0).max() <= 1
        if result.frame_index == 2:  # there object 1 has the mask that was given
            continue
        winner = result.logits.argmax(axis=0)
        assert np.array_equal(result.masks[1], (result.logits[1] > 0) & (winner == 1))


def test_a_range(a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet) -> None:
    def run(*bounds: int, direction: str = "forward") -> list[surgsam2.FrameResult]:
        return list(segment_overlapping(a_model, a_clip, two_objects, *bounds, direction))

    assert indices(run(0, 5)) == [0, 1, 2, 3, 4]
    assert [r.object_ids for r in run(0, 5)] == [(), (), (1,), (1,), (1,)]
    assert indices(run(5, 7, direction="backward")) == [6, 5]
    assert indices(run(16, 300)) == [16, 17], "a stop beyond the end is the end"
    assert indices(run(5, 10, direction="both")) == [5, 6, 7, 8, 9]
    # a prompt before the range counts all the same
    assert [r.object_ids for r in run(10, 12)] == [(1, 2), (1, 2)]


def test_equals_the_tracker_when_nothing_lies_ahead(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    prompts = PromptSet().add(object_id=1, frame=0, points=[[60, 60, 1]])
    a_tracker = Tracker(a_model, WIDTH, HEIGHT, options=OVERLAPPING)
    for frame, result in zip(a_clip, segment_overlapping(a_model, a_clip, prompts), strict=True):
        assert np.array_equal(a_tracker.step(frame, prompts).logits, result.logits)


def test_prompts_ahead_change_the_frames_before_them(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    one = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 15))
    two = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 15))
    two.add(object_id=1, frame=12, mask=disc(WIDTH, HEIGHT, 110, 30, 9))
    a = list(segment_overlapping(a_model, a_clip, one, stop=6))
    b = list(segment_overlapping(a_model, a_clip, two, stop=6))
    assert np.abs(a[3].logits - b[3].logits).max() > 0.05


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"direction": "sideways"}, InputError, "forward, backward, both, got 'sideways'"),
        ({"start": 5, "stop": 5}, InputError, "start 5, stop 5 is empty"),
        ({"start": 18}, InputError, "frames 0 to 17"),
        ({"start": -1}, InputError, "start -1"),
        ({"start": 1.5}, InputError, "start must be a whole number, got 1.5"),
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
        segment_overlapping(a_model, a_clip, two_objects, **arguments)


def test_refuses_prompts_that_do_not_fit(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    with pytest.raises(PromptError, match="frame 18"):
        segment_video(a_model, a_clip, PromptSet().add(object_id=1, frame=18, box=[1, 1, 9, 9]))
    with pytest.raises(PromptError):
        segment_overlapping(a_model, a_clip, PromptSet())
    with pytest.raises(InputError, match="must be a PromptSet, as load_prompts gives, got str"):
        segment_overlapping(a_model, a_clip, "prompts.json")  # type: ignore[arg-type]


def test_refuses_the_name_of_a_model(a_clip: np.ndarray, two_objects: PromptSet) -> None:
    with pytest.raises(InputError, match="model must be what load_model gives, got str"):
        segment_overlapping("demo", a_clip, two_objects)  # type: ignore[arg-type]


def test_leaves_no_thread_behind(
    a_model: SurgSAM2Model, a_clip: np.ndarray, two_objects: PromptSet
) -> None:
    before = set(threading.enumerate())
    with open_video(a_clip) as video:
        for direction in ("forward", "backward", "both"):
            results = segment_overlapping(a_model, video, two_objects, direction=direction)
            next(results)
            results.close()
    assert set(threading.enumerate()) == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files here")
def test_closes_the_file_it_opened(a_model: SurgSAM2Model, a_damaged_file: Path) -> None:
    prompts = PromptSet().add(object_id=1, frame=3, points=[[30, 30, 1]])
    for ending in ("exhausted", "dropped"):
        results = segment_overlapping(a_model, str(a_damaged_file), prompts)
        next(results)
        if ending == "exhausted":
            list(results)
        results.close()
        assert open_files(a_damaged_file.parent) == []


@pytest.fixture(scope="module")
def a_damaged_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames by its header, of which the last part does not decode."""
    path = write_video(
        tmp_path_factory.mktemp("damaged") / "clip.mp4", 40, options=x264(10), size=(64, 48)
    )
    blank(path, range(24, 40))
    return path


@pytest.mark.parametrize("direction", ["backward", "both"])
def test_frames_lost_at_the_end_shift_nothing(
    a_model: SurgSAM2Model, a_damaged_file: Path, direction: str
) -> None:
    """Going backward the tracker starts at the end, which may turn out to be missing."""
    prompts = PromptSet().add(object_id=1, frame=10, points=[[30, 30, 1]])
    with open_video(a_damaged_file) as video:
        whole = np.stack(list(video))
    expected = {
        result.frame_index: result.logits
        for result in segment_overlapping(a_model, whole, prompts, direction=direction)
    }
    stop = None if direction == "both" else 40
    with open_video(a_damaged_file) as video:
        stop = min(stop or len(video), len(video))
        found = list(segment_overlapping(a_model, video, prompts, 0, stop, direction))
    assert len(found) >= 20
    for result in found:
        if result.frame_index <= 10:
            assert result.object_ids == (1,)
            # the length of the video is part of SAM 2's time encoding below 16 frames only
            np.testing.assert_allclose(
                result.logits, expected[result.frame_index], rtol=0, atol=1e-4
            )


def test_a_prompt_on_a_frame_that_does_not_decode_is_refused(
    a_model: SurgSAM2Model, tmp_path: Path
) -> None:
    class Shrinking(ArrayVideo):
        """As a damaged file: the end turns out to be missing when it is read."""

        def __getitem__(self, index: int) -> np.ndarray:
            if index >= 5:
                self._frame_count = 5
                raise IndexError(index)
            return super().__getitem__(index)

    video = Shrinking(np.zeros((9, 48, 64, 3), np.uint8), fps=25)
    prompts = PromptSet().add(object_id=7, frame=8, points=[[30, 30, 1]])
    with pytest.raises(VideoError, match="frame 8, where object 7 is prompted, cannot be decoded"):
        list(segment_overlapping(a_model, video, prompts))


def test_an_image_is_encoded_once_for_all_objects_prompted_on_it(
    a_model: SurgSAM2Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = PromptSet()
    for object_id in range(1, 6):
        prompts.add(object_id=object_id, frame=3, points=[[20 * object_id, 60, 1]])
    encoded = []
    encode = type(a_model.network).encode_image
    monkeypatch.setattr(
        type(a_model.network),
        "encode_image",
        lambda self, images: encoded.append(1) or encode(self, images),
    )
    list(segment_video(a_model, np.zeros((6, 120, 160, 3), np.uint8), prompts, direction="both"))
    # backward: frame 3 and frames 2, 1, 0; forward: frame 3 and frames 4, 5
    assert len(encoded) == 4 + 3
