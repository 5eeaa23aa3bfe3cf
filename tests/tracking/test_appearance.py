"""Objects that look unlike their prompted frames count as absent, with `min_similarity`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.frame_data import ImageFeatures
from surgsam2.prompts import PromptSet
from surgsam2.tracking.appearance import appearances, similarity, similarity_maps
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker
from tests.conftest import disc

WIDTH, HEIGHT = 160, 120


def features_of(grid: torch.Tensor) -> ImageFeatures:
    """Features of (C, h, w) values; nothing but the lowest resolution."""
    tokens = grid.flatten(1).T[:, None]
    return ImageFeatures(tokens, torch.zeros_like(tokens), [], tuple(grid.shape[1:]))  # type: ignore[arg-type]


def share(logits: np.ndarray, y: int, x: int) -> float:
    """Return the mean probability of a mask within one position of four by four pixels."""
    cell = logits[0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
    return float(np.mean(1 / (1 + np.exp(-cell))))


def reference(grid: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the factors and the constant of an appearance, position by position."""
    places = [(y, x) for y in range(grid.shape[1]) for x in range(grid.shape[2])]
    inside, outside, covered = np.zeros(len(grid)), np.zeros(len(grid)), 0.0
    for y, x in places:
        inside += share(logits, y, x) * grid[:, y, x]
        outside += (1 - share(logits, y, x)) * grid[:, y, x]
        covered += share(logits, y, x)
    inside, outside = inside / covered, outside / (len(places) - covered)
    within = np.zeros((len(grid), len(grid)))
    for y, x in places:
        a, b = grid[:, y, x] - inside, grid[:, y, x] - outside
        within += share(logits, y, x) * np.outer(a, a) / len(places)
        within += (1 - share(logits, y, x)) * np.outer(b, b) / len(places)
    within += np.eye(len(grid)) * np.trace(within) / len(grid)
    factors = np.linalg.inv(within) @ (inside - outside)
    factors /= factors @ (inside - outside)
    return factors, -factors @ outside


def test_an_appearance_is_the_discriminant_of_the_object_and_its_surroundings() -> None:
    rng = np.random.default_rng(0)
    grid, logits = rng.normal(3, 1, size=(5, 3, 4)), rng.normal(size=(2, 1, 12, 16))
    features = features_of(torch.tensor(grid).float())
    found = appearances(features, torch.tensor(logits).float()).numpy()
    for row in range(2):
        factors, constant = reference(grid, logits[row])
        assert np.allclose(found[row, :-1], factors, atol=1e-4)
        assert np.allclose(found[row, -1], constant, atol=1e-4)
    own = [[torch.from_numpy(row)] for row in found]
    alike = similarity(features, torch.tensor(logits).float(), own)
    assert torch.allclose(alike, torch.ones(2), atol=1e-4), "by definition"


def test_nothing_looks_like_an_empty_mask_and_an_empty_mask_like_nothing() -> None:
    features, empty = features_of(torch.randn(5, 3, 4)), torch.full((1, 1, 12, 16), -1e3)
    assert not appearances(features, empty).any()
    assert similarity(features, empty, [[torch.ones(6)]]).tolist() == [0]


def test_the_most_similar_prompted_frame_counts() -> None:
    features = features_of(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    x, y = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0.5, 0.1])
    left = torch.tensor([50.0, -50.0]).repeat_interleave(4).expand(2, 1, 4, 8)
    assert torch.allclose(similarity(features, left, [[x, y], [y]]), torch.tensor([1, 0.1]))
    maps = similarity_maps(features, [[x, y], [y]])
    assert torch.allclose(maps, torch.tensor([[[1, 0.6]], [[0.1, 0.6]]]))


def results(model: SurgSAM2Model, clip: np.ndarray, **options: Any) -> list[Any]:
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 60, 60, 20))
    tracker = Tracker(model, WIDTH, HEIGHT, options=TrackingOptions(**options))
    return [tracker.step(frame, prompts) for frame in clip]


def test_an_object_unlike_its_prompt_is_absent(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    plain = results(a_model, a_clip, memory="reliable")
    assert all(result.masks.any() for result in plain)
    strict = results(a_model, a_clip, memory="reliable", min_similarity=1)
    assert strict[0].masks.any(), "a prompted frame is as the user says"
    assert strict[1].masks.any(), "how close the frames are is not known before the second one"
    assert not any(result.masks.any() for result in strict[2:])
    assert all(result.presence[0] < 0.001 for result in strict[2:])


def test_the_check_is_part_of_the_reliable_policies(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    for memory in ("efp", "diverse"):
        one, other = (results(a_model, a_clip[:4], memory=memory, min_similarity=s) for s in (0, 1))
        assert all(np.array_equal(a.logits, b.logits) for a, b in zip(one, other, strict=True))


def test_an_absent_object_is_remembered_as_absent(a_model: SurgSAM2Model) -> None:
    network = a_model.network
    frame = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    encoded = Tracker(a_model, WIDTH, HEIGHT).encoded(frame)
    with torch.no_grad():
        features = encoded.features()
        attended = network.without_memory(features).expand(3, -1, -1, -1)
        decoded = network.decode_tracked(features, attended)
        decoded.presence_logits[:] = torch.tensor([[2.0], [2.0], [-2.0]])
        removed = network.without_objects(decoded, torch.tensor([False, True, True]))
        assert torch.equal(removed.low_res[0], decoded.low_res[0])
        assert removed.low_res[1].max() < 0
        assert removed.high_res[1].max() < 0
        assert torch.equal(removed.pointers[1], network.no_obj_ptr[0])
        assert removed.presence_logits[:, 0].tolist() == [2.0, -10.0, -2.0]
        maps = network.encode_memory(features, removed, prompted=False)
    assert not torch.equal(maps[0], maps[1])
