"""What is measured on each frame, and which stretches are doubtful."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from surgsam2.errors import InputError
from surgsam2.results.frame_result import FrameResult
from surgsam2.results.review import (
    Measurements,
    Reason,
    Stretch,
    doubtful_stretches,
    joint_stretches,
    next_doubtful,
)
from surgsam2.results.thresholds import Thresholds

FRAMES, WIDTH, HEIGHT = 30, 80, 60


def square(x: int, y: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def result(frame: int, mask: np.ndarray, iou: float = 0.9, presence: float = 0.95) -> FrameResult:
    scores = np.array([iou], np.float32), np.array([presence], np.float32)
    return FrameResult(frame, (1,), mask[None], *scores)


def tracked(**changes: Any) -> Measurements:
    """A square that moves by a pixel a frame; a change replaces what a frame shows."""
    measurements = Measurements(FRAMES)
    for frame in range(FRAMES):
        shown = {"mask": square(frame, 20)} | changes.get(f"f{frame}", {})
        measurements.observe(result(frame, **shown))
    return measurements


def found(measurements: Measurements, **options: Any) -> list[tuple[Any, ...]]:
    """Rows of first frame, last frame, reasons."""
    return [(s.first, s.last, *s.reasons) for s in doubtful_stretches(measurements, **options)]


def test_area_and_centroid_are_in_prompt_coordinates() -> None:
    measurements = tracked()
    assert measurements.of(1, "area")[3] == 100
    assert measurements.of(1, "x")[3] == 3 + 4.5
    assert measurements.of(1, "y")[3] == 20 + 4.5
    assert measurements.of(1, "iou")[3] == np.float32(0.9)
    measurements.measure(4, 2, np.zeros((HEIGHT, WIDTH), bool))
    assert measurements.of(2, "area")[4] == 0
    assert np.isnan(measurements.of(2, "x")[4])
    assert measurements.knows(4, 2)
    assert not measurements.knows(5, 2)


def test_scores_belong_to_the_mask_they_came_with() -> None:
    measurements = tracked()
    measurements.measure(3, 1, square(3, 20))
    assert measurements.of(1, "presence")[3] == np.float32(0.95)
    measurements.measure(3, 1, square(3, 21))
    assert np.isnan(measurements.of(1, "presence")[3])
    assert np.isnan(measurements.of(1, "iou")[3])


def test_a_steady_track_is_not_doubtful() -> None:
    assert found(tracked()) == []
    assert found(Measurements(FRAMES)) == []
    assert doubtful_stretches(Measurements(0)) == []


def test_low_predicted_iou_and_stretches_close_to_each_other() -> None:
    low = {"iou": 0.2}
    measurements = tracked(f5=low, f6=low, f9=low, f20=low)
    assert found(measurements) == [(5, 9, Reason.LOW_IOU), (20, 20, Reason.LOW_IOU)]
    apart = found(measurements, thresholds=Thresholds(join=1))
    assert apart == [(5, 6, Reason.LOW_IOU), (9, 9, Reason.LOW_IOU), (20, 20, Reason.LOW_IOU)]
    assert found(measurements, thresholds=Thresholds(low_iou=0.1)) == []


def test_an_object_that_goes_and_comes_back() -> None:
    gone = {"mask": np.zeros((HEIGHT, WIDTH), bool), "presence": 0.1, "iou": 0.0}
    changes = {f"f{k}": gone for k in range(10, 16)}
    assert found(tracked(**changes)) == [(10, 10, Reason.PRESENCE), (16, 16, Reason.PRESENCE)]


def test_frames_that_nobody_tracked_are_no_change_of_presence() -> None:
    measurements = Measurements(FRAMES)
    for frame in (4, 5, 6, 20):
        measurements.observe(result(frame, square(frame, 20)))
    assert found(measurements) == []


def test_jumps_of_area_and_of_position() -> None:
    measurements = tracked(f12={"mask": square(12, 20, 14)}, f22={"mask": square(60, 20)})
    assert found(measurements) == [
        (12, 13, Reason.AREA),
        (22, 23, Reason.POSITION),
    ]
    assert found(measurements, thresholds=Thresholds(area_factor=2.5, position_jump=6)) == []
    tiny = tracked(**{f"f{k}": {"mask": square(40 * (k % 2), 20, 3)} for k in range(FRAMES)})
    assert found(tiny) == []
    assert found(tiny, thresholds=Thresholds(min_area=1)) == [(1, FRAMES - 1, Reason.POSITION)]


def test_reasons_that_come_together_are_one_stretch() -> None:
    measurements = tracked(f12={"mask": square(60, 40, 14), "iou": 0.1})
    assert found(measurements) == [(12, 13, Reason.LOW_IOU, Reason.AREA, Reason.POSITION)]


def test_good_frames_are_not_doubtful_and_bad_ones_are() -> None:
    low = {f"f{k}": {"iou": 0.2} for k in range(5, 12)}
    measurements = tracked(**low)
    assert found(measurements, good=[5, 8]) == [(6, 7, Reason.LOW_IOU), (9, 11, Reason.LOW_IOU)]
    assert found(measurements, good=range(FRAMES)) == []
    assert found(tracked(), bad=[3, 4, 9, 99]) == [(3, 4, Reason.BAD), (9, 9, Reason.BAD)]


def test_from_one_stretch_to_the_next() -> None:
    stretches = [Stretch(1, 5, 9, (Reason.AREA,)), Stretch(2, 20, 20, (Reason.PRESENCE,))]
    assert next_doubtful(stretches, 0) == 5
    assert next_doubtful(stretches, 5) == 20
    assert next_doubtful(stretches, 20) is None
    assert next_doubtful(stretches, 20, -1) == 5
    assert next_doubtful(stretches, 7, -1) == 5
    assert next_doubtful(stretches, 5, -1) is None


@pytest.mark.parametrize(
    "wrong", [{"low_iou": 1.5}, {"area_factor": 0.5}, {"join": -1}, {"visible": "x"}]
)
def test_impossible_thresholds(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Thresholds(**wrong)


def test_stretches_of_several_objects_on_the_same_frames_are_joined() -> None:
    stretches = [
        Stretch(1, 10, 14, (Reason.PRESENCE,)),
        Stretch(2, 11, 14, (Reason.AREA,)),
        Stretch(None, 13, 13, (Reason.BAD,)),
        Stretch(1, 40, 41, (Reason.AREA,)),
        Stretch(2, 41, 42, (Reason.AREA,)),
    ]
    joint = joint_stretches(stretches)
    assert [(j.object_ids, j.first, j.last) for j in joint] == [
        ((1, 2), 10, 14), ((None,), 13, 13), ((1, 2), 40, 42),
    ]  # fmt: skip
    assert joint[0].reasons == (Reason.PRESENCE, Reason.AREA)
    assert list(joint[0].frames) == [10, 11, 12, 13, 14]
    assert 14 in joint[0]
    assert 15 not in joint[0]
