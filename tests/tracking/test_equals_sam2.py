"""Same weights, same frames: the tracker's logits are those of `sam2`'s own predictor.

Tolerance, on logits that span about 8: 1e-4 for one object (bit-identical here), 2e-3
for several. As a batch they may take other matrix kernels, whose last digits differ,
and the rounding of memories to bfloat16 makes 1e-3 of some of these. A wrong memory,
age or pruned frame changes logits by 0.05 and more.

Everything is compared with `sam2`'s modules doing the arithmetic (`sam2_modules`), and the
main cases once more with the CPU backend, whose last digits differ too: 2e-3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import surgsam2
from surgsam2 import EFP, PromptSet
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.results.frame_result import FrameResult
from tests.conftest import disc
from tests.model.helpers import sam2_modules
from tests.tracking.reference import sam2_logits

segment_overlapping = partial(surgsam2.segment_video, allow_overlap=True, min_region=0)
"""As in SAM 2, masks of different objects may share pixels."""

ALONE, TOGETHER = 5e-4, 2e-3
"""Tolerances of logits; rounding made 1.6e-4 of one object on a processor with AVX2 only."""


def one(kind: str, object_id: int = 1, frame: int = 0) -> PromptSet:
    return add(PromptSet(), kind, object_id, frame)


def add(prompts: PromptSet, kind: str, object_id: int, frame: int) -> PromptSet:
    x, y = 40 + 25 * object_id, 50 + 5 * object_id
    given = {
        "mask": {"mask": disc(160, 120, x, y, 15)},
        "point": {"points": [[x, y, 1]]},
        "points": {"points": [[x, y, 1], [x + 4.5, y - 3, 1], [150, 110, 0]]},
        "box": {"box": [x - 15, y - 12, x + 14.5, y + 20]},
        "box and points": {"box": [x - 15, y - 12, x + 14, y + 20], "points": [[x, y, 1]]},
    }[kind]
    return prompts.add(object_id=object_id, frame=frame, **given)


def compare(
    model: SurgSAM2Model,
    video: np.ndarray,
    prompts: PromptSet,
    *,
    direction: str = "forward",
    cpu_backend_too: bool = False,
) -> None:
    """Every object and frame against the object tracked alone by `sam2`."""
    efp = model.pruning
    reverse = direction == "backward"
    expected = {
        obj.id: sam2_logits(
            model, video, prompts, obj.id, reverse=reverse, form=efp.form, prune=efp.prune
        )
        for obj in prompts
    }
    tolerance = ALONE if len(expected) == 1 else TOGETHER
    with sam2_modules():
        results = segment_overlapping(model, video, prompts, direction=direction)
        check(expected, results, tolerance, prompts)
    if cpu_backend_too:
        results = segment_overlapping(model, video, prompts, direction=direction)
        check(expected, results, TOGETHER, prompts)
    spread = np.ptp([f for frames in expected.values() for f in frames.values() if f.max() > 0])
    assert spread > 5, "the weights must be strong enough for this comparison to mean much"


def check(
    expected: dict[int, dict[int, np.ndarray]],
    results: Iterable[FrameResult],
    tolerance: float,
    prompts: PromptSet | None = None,
) -> None:
    """Compare logits and masks; a mask that was given is the result on its own frame."""
    seen = {object_id: 0 for object_id in expected}
    for result in results:
        for row, object_id in enumerate(result.object_ids):
            truth = expected[object_id][result.frame_index]
            np.testing.assert_allclose(result.logits[row], truth, rtol=0, atol=tolerance)
            # a pixel whose logit is within the tolerance of 0 may fall on either side
            sure = np.abs(truth) > tolerance
            prompt = prompts and prompts.on_frame(result.frame_index).get(object_id)
            if not prompt or prompt.mask is None:
                assert np.array_equal(result.masks[row][sure], (truth > 0)[sure])
            seen[object_id] += 1
    assert seen == {i: len(frames) for i, frames in expected.items()}


@pytest.fixture(scope="module")
def plain(a_model: SurgSAM2Model) -> SurgSAM2Model:
    return replace(a_model, pruning=EFP("off"))


@pytest.mark.parametrize("kind", ["mask", "point", "points", "box", "box and points"])
def test_one_object(plain: SurgSAM2Model, a_clip: np.ndarray, kind: str) -> None:
    compare(plain, a_clip, one(kind), cpu_backend_too=True)


def test_three_objects(plain: SurgSAM2Model, a_clip: np.ndarray) -> None:
    prompts = one("mask", 1)
    add(add(prompts, "points", 2, 0), "box", 3, 0)
    compare(plain, a_clip, prompts, cpu_backend_too=True)


def test_objects_prompted_on_different_frames(plain: SurgSAM2Model, a_clip: np.ndarray) -> None:
    prompts = one("point", 1, 0)
    add(add(prompts, "mask", 2, 4), "box", 3, 11)
    compare(plain, a_clip, prompts)


def test_several_prompted_frames_per_object(plain: SurgSAM2Model, a_clip: np.ndarray) -> None:
    prompts = one("mask", 1, 0)
    add(add(prompts, "points", 1, 9), "box", 1, 15)
    compare(plain, a_clip, prompts)


@pytest.mark.parametrize("form", ["off", "capped"])
def test_backward(a_model: SurgSAM2Model, a_clip: np.ndarray, form: str) -> None:
    prompts = one("mask", 1, 16)
    add(prompts, "points", 2, 12)
    compare(
        replace(a_model, pruning=EFP(form)),
        a_clip,
        prompts,
        direction="backward",
        cpu_backend_too=True,
    )


def test_a_video_shorter_than_the_pointer_memory(plain: SurgSAM2Model, a_clip: np.ndarray) -> None:
    compare(plain, a_clip[:6], one("mask"))


@pytest.mark.parametrize("form", ["capped", "full-bank"])
@pytest.mark.parametrize("prune", [1, 2, 4])
def test_pruned(a_model: SurgSAM2Model, a_clip: np.ndarray, form: str, prune: int) -> None:
    prompts = one("mask", 1)
    add(add(prompts, "point", 2, 0), "box", 3, 5)
    compare(replace(a_model, pruning=EFP(form, prune)), a_clip, prompts, cpu_backend_too=True)


@pytest.mark.parametrize("form", ["capped", "full-bank"])
def test_pruned_with_several_prompted_frames(
    a_model: SurgSAM2Model, a_clip: np.ndarray, form: str
) -> None:
    prompts = one("mask", 1, 0)
    add(prompts, "box", 1, 12)
    compare(replace(a_model, pruning=EFP(form)), a_clip, prompts)


def test_pruning_changes_the_result(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    """Else the comparisons above would pass with pruning that does nothing."""
    last = {}
    for form in ("off", "capped", "full-bank"):
        model = replace(a_model, pruning=EFP(form))
        results = segment_overlapping(model, a_clip, one("mask"))
        last[form] = np.stack([result.logits for result in results])
    for a, b in (("off", "capped"), ("off", "full-bank")):
        assert np.abs(last[a] - last[b]).max() > 0.02


@pytest.mark.parametrize("config", ["sam2-hiera-tiny-512", "sam2.1-hiera-tiny-512"])
def test_the_official_configurations(config: str, tmp_path: Path, a_clip: np.ndarray) -> None:
    """SAM 2 and 2.1 differ in pointers, time encodings and the no-object embedding."""
    network = build_network(load_config(config), config, SurgSAM2Network)
    torch.save({"model": network.state_dict()}, tmp_path / "w.pt")
    model = surgsam2.load_model(tmp_path / "w.pt", device="cpu", pruning="off")
    assert model.name == config
    short = a_clip[:3]
    expected = sam2_logits(model, short, one("point"), 1)
    with sam2_modules():
        check({1: expected}, segment_overlapping(model, short, one("point")), ALONE)
    check({1: expected}, segment_overlapping(model, short, one("point")), TOGETHER)
