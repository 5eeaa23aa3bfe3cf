"""Where frames lie far apart, the reliable policies keep every mask and every memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.frame_data import ImageFeatures
from surgsam2.prompts import PromptSet
from surgsam2.tracking.continuity import are_close, next_mean, pattern
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker
from tests.conftest import disc

WIDTH, HEIGHT = 160, 120


def features_of(grid: np.ndarray) -> ImageFeatures:
    """Features of (h, w, C) values; nothing but the lowest resolution."""
    tokens = torch.tensor(grid, dtype=torch.float32).flatten(0, 1)[:, None]
    return ImageFeatures(tokens, torch.zeros_like(tokens), [], (grid.shape[0], grid.shape[1]))


def reference(frames: list[np.ndarray]) -> list[bool]:
    """Tell for each frame whether it follows the ones before closely, value by value."""
    answers, mean = [False], None
    for before, now in pairwise(frames):
        product = lengths_a = lengths_b = 0.0
        for c in range(now.shape[2]):
            a, b = before[..., c] - before[..., c].mean(), now[..., c] - now[..., c].mean()
            product += float((a * b).sum())
            lengths_a += float((a * a).sum())
            lengths_b += float((b * b).sum())
        correlation = product / np.sqrt(lengths_a * lengths_b)
        mean = correlation if mean is None else 0.7 * mean + 0.3 * correlation
        answers.append(mean >= 0.5)
    return answers


def test_the_running_mean_of_correlations_equals_a_reference() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.normal(5, 1, (3, 4, 6))]
    for index in range(40):
        new = rng.normal(5, 1, (3, 4, 6))
        frames.append(frames[-1] + 0.1 * new if index % 20 < 12 else new)
    mean, before, found = None, None, []
    for frame in frames:
        now = pattern(features_of(frame))
        mean = next_mean(mean, None if before is None else (before * now).sum())
        found += are_close([mean], now.device).tolist()
        before = now
    assert found == reference(frames)
    assert True in found[1:]
    assert False in found[1:]


def test_a_single_cut_does_not_count_and_unknown_pairs_change_nothing() -> None:
    mean = next_mean(torch.tensor(0.9), torch.tensor(0.1))
    assert are_close([mean, None], torch.device("cpu")).tolist() == [True, False]
    assert next_mean(mean, None) is mean
    assert pattern(features_of(np.ones((2, 2, 3)))).abs().max() == 0


def logits(model: SurgSAM2Model, clip: np.ndarray, **options: Any) -> list[np.ndarray]:
    tracker = Tracker(model, WIDTH, HEIGHT, options=TrackingOptions(**options))
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 20))
    return [tracker.step(frame, prompts).logits for frame in clip]


@pytest.mark.parametrize("similarity", [0.0, 1.0])
def test_where_everything_changes_reliable_is_efp(
    a_model: SurgSAM2Model, similarity: float
) -> None:
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (10, HEIGHT, WIDTH, 3), dtype=np.uint8)
    clip[:, :, ::2] //= np.arange(1, 11, dtype=np.uint8)[:, None, None, None]
    plain = logits(a_model, clip, memory="efp")
    same = logits(a_model, clip, memory="reliable", min_iou=1, min_similarity=similarity)
    assert all(np.array_equal(a, b) for a, b in zip(plain, same, strict=True))


def test_an_object_has_the_continuity_that_it_has_alone(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    """A list of videos divides a video by its objects, and joins what it got."""
    options = TrackingOptions(memory="reliable", min_similarity=0.3, allow_overlap=True)
    prompts, both = {1: PromptSet(), 2: PromptSet()}, PromptSet()
    for object_id, frame, x in ((1, 0, 60), (2, 3, 90), (2, 7, 95)):
        for chosen in (prompts[object_id], both):
            mask = disc(WIDTH, HEIGHT, x, 60, 20)
            chosen.add(object_id=object_id, frame=frame, mask=mask)
    together = Tracker(a_model, WIDTH, HEIGHT, options=options)
    alone = {i: Tracker(a_model, WIDTH, HEIGHT, options=options) for i in prompts}
    for frame in a_clip[:10]:
        together.step(frame, both)
        for i, tracker in alone.items():
            tracker.step(frame, prompts[i])
    found = {item["id"]: item["continuity"] for item in together.state_dict()["objects"]}
    for i, tracker in alone.items():
        (own,) = tracker.state_dict()["objects"]
        assert torch.equal(own["continuity"], found[i])
