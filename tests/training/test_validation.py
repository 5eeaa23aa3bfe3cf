"""Scores of the network in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from surgsam2.training import validation
from surgsam2.training.clip_cache import CachedClip
from surgsam2.training.validation import PROMPTS, make_prompts, score_sequence


@pytest.fixture
def labels() -> np.ndarray:
    """Objects 2 (20x10 pixels) and 5 (one pixel)."""
    picture = np.zeros((32, 48), np.uint16)
    picture[4:14, 8:28] = 2
    picture[20, 40] = 5
    return picture


@pytest.mark.parametrize("kind", PROMPTS)
def test_prompts_lie_on_their_objects(labels: np.ndarray, kind: str) -> None:
    prompts = make_prompts(labels, 3, kind)
    # a single pixel has no box
    assert [obj.id for obj in prompts.objects] == ([2] if kind == "box" else [2, 5])
    (prompt,) = prompts.objects[0].prompts
    assert prompt.frame == 3
    if kind == "mask":
        assert prompt.mask is not None
        assert np.array_equal(prompt.mask, labels == 2)
    elif kind == "box":
        assert prompt.box is not None
        assert prompt.box.tolist() == [8, 4, 27, 13]
    else:
        assert len(prompt.points) == int(kind[0])
        assert all(labels[int(y), int(x)] == 2 for x, y in prompt.points)


def test_other_prompts_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="must be one of mask, box, 1pt, 5pt, got 'scribble'"):
        make_prompts(labels, 0, "scribble")


def test_runs_the_engine(a_model: SurgSAM2Model, some_clips: list[CachedClip]) -> None:
    scores = score_sequence(a_model, some_clips[0], "mask", frames=3)
    assert scores is not None
    assert 0 <= scores.j <= 1
    assert scores.objects == len(np.unique(some_clips[0].read_labels(0))) - 1


class FirstFrameForEver:
    """Stands in for the tracker: every object keeps the mask it was prompted with."""

    def __init__(
        self, model: Any, width: int, height: int, *, first_frame: int, options: TrackingOptions
    ) -> None:
        assert options.allow_overlap
        self._index = first_frame

    def step(self, frame: np.ndarray, prompts: Any) -> FrameResult:
        ids = tuple(obj.id for obj in prompts.objects)
        masks = np.stack([obj.prompts[0].mask for obj in prompts.objects])
        ones = np.ones(len(ids), np.float32)
        return FrameResult(self._index, ids, masks, ones, ones)


def test_the_prompted_frame_does_not_count(
    some_clips: list[CachedClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "Tracker", FirstFrameForEver)
    clip = some_clips[0]
    scores = score_sequence(None, clip, "mask", frames=2)  # type: ignore[arg-type]
    first, second = clip.read_labels(0), clip.read_labels(1)
    ids = [i for i in np.unique(first) if i]
    expected = [
        ((first == i) & (second == i)).sum() / ((first == i) | (second == i)).sum() for i in ids
    ]
    assert scores is not None
    assert scores.j == pytest.approx(np.mean(expected))
    assert scores.overlap == 0
    assert scores.objects == len(ids)
    assert score_sequence(None, clip, "mask", frames=1) is None  # type: ignore[arg-type]
