"""One frame by itself: previews are those of tracking, corrections those of `sam2`."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import surgsam2
from surgsam2 import PromptSet, segment_video
from surgsam2.data import generate_clip
from surgsam2.errors import InputError, PromptError
from surgsam2.evaluation.metrics import region_similarity
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.single_frame import StillFrame
from tests.conftest import disc
from tests.tracking.reference import _state, sam2_predictor

segment_overlapping = partial(segment_video, allow_overlap=True)

MASK = disc(160, 120, 60, 60, 20)


@pytest.mark.parametrize(
    "points",
    [
        [[70, 55, 1]],
        [[50.5, 60, 0]],
        [[50, 60, 0], [66.25, 70, 0], [40, 40, 0]],
        [[90, 60, 1], [50, 60, 0]],
    ],
)
def test_a_correction_is_that_of_sam2(
    a_model: SurgSAM2Model, a_clip: np.ndarray, points: list[list[float]]
) -> None:
    """Its predictor: a mask on a frame, then clicks on the same frame."""
    predictor = sam2_predictor(a_model)
    state = _state(predictor, a_model, a_clip[:3])
    predictor.add_new_mask(state, 1, 4, MASK)
    rows = np.array(points, np.float32)
    _, _, logits = predictor.add_new_points_or_box(
        state, 1, 4, points=rows[:, :2], labels=rows[:, 2].astype(np.int32)
    )
    result = StillFrame(a_model, a_clip[1], 1).refine(4, MASK, points)
    assert (result.frame_index, result.object_ids) == (1, (4,))
    np.testing.assert_allclose(result.logits[0], logits[0, 0].numpy(), atol=1e-4)
    assert np.array_equal(result.masks[0], result.logits[0] > 0)
    assert result.iou_scores.shape == result.presence.shape == (1,)


def test_the_mask_and_the_clicks_count(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    still = StillFrame(a_model, a_clip[0])
    results = [
        still.refine(1, mask, points).logits
        for mask in (MASK, disc(160, 120, 100, 30, 10))
        for points in ([[60, 60, 0]], [[60, 60, 1]], [[20, 20, 1]])
    ]
    for one in range(len(results)):
        for other in range(one):
            assert np.abs(results[one] - results[other]).max() > 0.01


def test_a_preview_is_what_tracking_has_for_the_frame(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    prompts = PromptSet().add(object_id=3, frame=2, mask=MASK)
    prompts.add(object_id=2, frame=2, points=[[100, 50, 1]])
    prompts.add(object_id=2, frame=5, box=[10, 10, 40, 60])
    tracked = {r.frame_index: r for r in segment_overlapping(a_model, a_clip[:6], prompts)}
    still = StillFrame(a_model, a_clip[2], 2)
    for _ in range(2):
        shown = still.preview(prompts)
        assert shown.object_ids == tracked[2].object_ids == (3, 2)
        assert np.array_equal(shown.masks, tracked[2].masks)
        assert np.array_equal(shown.iou_scores, tracked[2].iou_scores)
    assert StillFrame(a_model, a_clip[5], 5).preview(prompts).object_ids == (2,)


def test_refusals(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    still = StillFrame(a_model, a_clip[0])
    for mask, points, words in (
        (MASK & False, [[5, 5, 1]], "object 1, frame 0: the mask is empty"),
        (MASK[:60], [[5, 5, 1]], "the mask has 160 x 60 pixels"),
        (MASK, [], "a correction needs a point"),
        (MASK, [[5, 5, 2]], "the label of the point"),
        (MASK, [[5, 125, 0]], "outside the 160 x 120 frame"),
        (MASK, [[5, 5]], "points must be"),
    ):
        with pytest.raises(PromptError, match=words):
            still.refine(1, mask, points)
    with pytest.raises(PromptError, match="there is no prompt on frame 0"):
        still.preview(PromptSet())
    with pytest.raises(InputError, match="uint8"):
        StillFrame(a_model, a_clip[0].astype(np.float32))


def test_a_mask_that_was_given_is_the_result_at_full_resolution(
    a_model: SurgSAM2Model, caplog: pytest.LogCaptureFixture
) -> None:
    """A line is lost at the resolution of the memories, where the network sees a quarter."""
    line = np.zeros((480, 640), bool)
    line[200:204, 100:500] = True
    frames = np.random.default_rng(0).integers(0, 255, (2, 480, 640, 3), np.uint8)
    prompts = PromptSet().add(object_id=1, frame=0, mask=line)
    results = list(segment_overlapping(a_model, frames, prompts))
    assert np.array_equal(results[0].masks[0], line)
    assert results[0].iou_scores[0] == 1
    assert "object 1, frame 0: the network keeps 0% of the mask" in caplog.text
    assert np.array_equal(StillFrame(a_model, frames[0]).preview(prompts).masks[0], line)


def test_a_mask_that_others_cover_scores_nothing(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    prompts = PromptSet().add(object_id=1, frame=0, mask=MASK).add(object_id=2, frame=0, mask=MASK)
    result = next(segment_video(a_model, a_clip, prompts, allow_overlap=False))
    assert np.array_equal(result.masks[0], MASK)
    assert not result.masks[1].any()
    assert result.iou_scores.tolist() == [1, 0]


def test_a_box_that_ends_at_the_frames_width_is_clipped(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    """Detectors give such boxes; the mask is that of the box up to the last pixel's edge."""
    still = StillFrame(a_model, a_clip[0])
    beyond = PromptSet().add(object_id=1, frame=0, box=[100, 60, 160, 120])
    within = PromptSet().add(object_id=1, frame=0, box=[100, 60, 159.5, 119.5])
    assert np.array_equal(still.preview(beyond).logits, still.preview(within).logits)
    with pytest.raises(PromptError, match="leaves the 160 x 120 frame"):
        still.preview(PromptSet().add(object_id=1, frame=0, box=[100, 60, 161, 120]))


def test_first_masks_and_corrections_are_refined(a_clip: np.ndarray) -> None:
    """By the built-in model, whose configuration asks for it."""
    model = surgsam2.load_model("demo", device="cpu")
    still = StillFrame(model, a_clip[0])

    def masks() -> list[np.ndarray]:
        prompts = [{"points": [[80, 60, 1]]}, {"box": [50, 40, 110, 90]}]
        previews = [still.preview(PromptSet().add(object_id=1, frame=0, **p)) for p in prompts]
        return [r.masks[0] for r in (*previews, still.refine(1, MASK, [[60, 60, 1]]))]

    refined = masks()
    assert not refined[1][:35].any()
    assert refined[0][60, 80]
    model.network.refine_prompts = False
    for one, plain in zip(refined, masks(), strict=True):
        assert not np.array_equal(one, plain)


@pytest.mark.parametrize("seed", [31, 36, 37])
def test_a_correction_by_the_built_in_model_helps(seed: int) -> None:
    """A piece of what is beside the object is taken away, and hardly anything else."""
    frame, labels = generate_clip(seed, frames=1, size=(320, 240), difficulty="easy").frame(0)
    truth = labels == 1
    rows, columns = np.nonzero(truth)
    x, y = int(columns.max()) + 10, int(rows[columns.argmax()])
    wrong = truth | disc(320, 240, x, y, 14)
    still = StillFrame(surgsam2.load_model("demo", device="cpu"), frame)
    corrected = still.refine(1, wrong, [[x, y, 0]]).masks[0]
    assert not corrected[y, x]
    far = np.hypot(*(np.mgrid[:240, :320] - np.array([y, x])[:, None, None])) > 60
    assert np.array_equal(corrected[far], wrong[far])
    assert region_similarity(corrected, truth) > region_similarity(wrong, truth) + 0.02
