"""J, F, Dice and the class IoUs equal those of a second implementation.

The second implementation is written from the definitions, pixel by pixel and with
explicit distances, and shares nothing with the code under test.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from surgsam2.errors import InputError
from surgsam2.evaluation import metrics

EXACT = 1e-9


# --- the definitions, naively --------------------------------------------------


def naive_boundary(mask):
    """List the pixels that differ from their right, lower or lower-right neighbour."""
    rows, columns = mask.shape
    points = []
    for y in range(rows):
        for x in range(columns):
            last_row, last_column = y == rows - 1, x == columns - 1
            neighbours = []
            if not last_column:
                neighbours.append((y, x + 1))
            if not last_row:
                neighbours.append((y + 1, x))
            if not last_row and not last_column:
                neighbours.append((y + 1, x + 1))
            if any(bool(mask[n]) != bool(mask[y, x]) for n in neighbours):
                points.append((y, x))
    return points


def naive_f(pred, truth, fraction=0.008):
    radius = math.ceil(fraction * math.sqrt(pred.shape[0] ** 2 + pred.shape[1] ** 2))
    a, b = naive_boundary(pred), naive_boundary(truth)
    if not a and not b:
        return 1.0
    if not a or not b:
        return 0.0  # Precision is 1 and recall 0, or the other way round.
    apart = np.array(a)[:, None, :] - np.array(b)[None, :, :]
    near = (apart**2).sum(-1) <= radius**2
    precision, recall = near.any(1).sum() / len(a), near.any(0).sum() / len(b)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def naive_counts(pred, truth):
    both = either = total = 0
    for p, t in zip(pred.ravel().tolist(), truth.ravel().tolist(), strict=True):
        both += p and t
        either += p or t
        total += p + t
    return both, either, total


def assert_all_equal(pred, truth):
    both, either, total = naive_counts(pred, truth)
    j = both / either if either else 1.0
    d = 2 * both / total if total else 1.0
    f = naive_f(pred, truth)
    assert metrics.region_similarity(pred, truth) == pytest.approx(j, abs=EXACT)
    assert metrics.dice(pred, truth) == pytest.approx(d, abs=EXACT)
    assert metrics.boundary_accuracy(pred, truth) == pytest.approx(f, abs=EXACT)
    scores = metrics.score_mask(pred, truth)
    assert (scores.j, scores.f, scores.dice) == pytest.approx((j, f, d), abs=EXACT)


# --- mask pairs ----------------------------------------------------------------

SHAPES = st.tuples(st.integers(1, 18), st.integers(1, 18))
PAIRS = SHAPES.flatmap(lambda s: st.tuples(hnp.arrays(np.bool_, s), hnp.arrays(np.bool_, s)))


def blob(rng, shape):
    """Draw an ellipse or a rectangle anywhere, possibly partly outside the image."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx = rng.uniform(-0.1, 1.1, 2) * shape
    ry, rx = rng.uniform(0.02, 0.6, 2) * shape + 0.5
    if rng.random() < 0.5:
        return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    return (abs(y - cy) <= ry) & (abs(x - cx) <= rx)


def structured_pair(rng, shape):
    """Draw a true mask and a prediction that is shifted, torn, swapped, lost or noisy."""
    truth = blob(rng, shape)
    kind = rng.integers(6)
    if kind == 0:
        pred = np.roll(truth, rng.integers(-4, 5, 2), (0, 1))
    elif kind == 1:
        pred = truth ^ (rng.random(shape) < 0.02)
    elif kind == 2:
        pred = blob(rng, shape)
    elif kind == 3:
        pred = np.zeros(shape, bool)
    elif kind == 4:
        pred = truth & ~blob(rng, shape)
    else:
        pred = truth | blob(rng, shape)
    return (pred, truth) if rng.random() < 0.5 else (truth, pred)


@settings(max_examples=600)
@given(PAIRS)
def test_random_pairs_equal_the_definition(pair):
    assert_all_equal(*pair)


@pytest.mark.parametrize("seed", range(8))
def test_structured_pairs_equal_the_definition(seed):
    rng = np.random.default_rng(seed)
    for _ in range(75):
        shape = tuple(int(n) for n in rng.integers(2, 72, 2))
        assert_all_equal(*structured_pair(rng, shape))


@pytest.mark.parametrize("shape", [(300, 400), (301, 400), (75, 100), (93, 124), (180, 320)])
def test_images_whose_tolerance_is_several_pixels(shape):
    # An image of 300 x 400 has a diagonal of exactly 500 and a radius of exactly 4.
    rng = np.random.default_rng(shape[0])
    for _ in range(2):
        pred, truth = structured_pair(rng, shape)
        f = naive_f(pred, truth)
        assert metrics.boundary_accuracy(pred, truth) == pytest.approx(f, abs=EXACT)
        assert metrics.score_mask(pred, truth).f == pytest.approx(f, abs=EXACT)


def special_masks(shape):
    empty = np.zeros(shape, bool)
    yield "empty", empty
    yield "full", ~empty
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1), (shape[0] // 2, shape[1] // 2)):
        one = empty.copy()
        one[y, x] = True
        yield f"pixel {y},{x}", one
        yield f"all but {y},{x}", ~one
    for name, part in (
        ("top", np.s_[:2]),
        ("bottom", np.s_[-2:]),
        ("left", np.s_[:, :2]),
        ("right", np.s_[:, -2:]),
        ("last row", np.s_[-1:]),
        ("last column", np.s_[:, -1:]),
    ):
        strip = empty.copy()
        strip[part] = True
        yield name, strip


def test_every_pair_of_empty_full_one_pixel_and_border_masks():
    for shape in ((9, 12), (2, 2), (3, 1)):
        masks = list(special_masks(shape))
        for _, pred in masks:
            for _, truth in masks:
                assert_all_equal(pred, truth)


def test_values_worked_out_by_hand():
    empty, full = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    assert metrics.score_mask(empty, empty) == metrics.MaskScores(1.0, 1.0, 1.0)
    # A mask that fills the image has no boundary, so F equals that of an empty mask.
    assert metrics.score_mask(full, empty) == metrics.MaskScores(0.0, 1.0, 0.0)
    square = empty.copy()
    square[2:6, 2:6] = True
    assert metrics.score_mask(empty, square) == metrics.MaskScores(0.0, 0.0, 0.0)
    half = square.copy()
    half[:, 4:] = False
    assert metrics.region_similarity(half, square) == 0.5
    assert metrics.dice(half, square) == pytest.approx(2 / 3)


def test_f_matches_within_the_radius_and_not_beyond():
    assert metrics.tolerance_in_pixels((720, 1280)) == 12
    assert metrics.tolerance_in_pixels((300, 400)) == 4
    truth = np.zeros((300, 400), bool)
    truth[100:200, 100:200] = True
    assert metrics.boundary_accuracy(np.roll(truth, 4, 1), truth) == 1
    assert metrics.boundary_accuracy(np.roll(truth, 5, 1), truth) < 1
    assert metrics.boundary_accuracy(np.roll(truth, 5, 1), truth, tolerance=5) == 1


def test_integer_masks_count_every_nonzero_value():
    truth = np.zeros((8, 8), np.uint8)
    truth[2:5, 2:5] = 255
    assert metrics.region_similarity(truth, truth > 0) == 1


@pytest.mark.parametrize("shape", [(4, 5, 1), (20,)])
def test_masks_of_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"two \(H, W\) arrays of the same size"):
        metrics.region_similarity(np.zeros(shape, bool), np.zeros((4, 5), bool))


# --- class IoUs ----------------------------------------------------------------


def naive_class_scores(frames, classes):
    """Compute challenge IoU, ISI IoU and mean class IoU from their definitions, frame by frame."""
    challenge, isi, per_class = [], [], {}
    for pred, truth in frames:
        present, either = [], []
        for c in classes:
            p, t = pred == c, truth == c
            if not p.any() and not t.any():
                continue
            iou = (p & t).sum() / (p | t).sum()
            either.append(iou)
            per_class.setdefault(c, []).append(iou)
            if t.any():
                present.append(iou)
        if present:
            challenge.append(np.mean(present))
        if either:
            isi.append(np.mean(either))
    mean_class = np.mean([np.mean(v) for v in per_class.values()]) if per_class else None
    return (
        np.mean(challenge) if challenge else None,
        np.mean(isi) if isi else None,
        mean_class,
    )


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, 4)),
            hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, 4)),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([1, 7, 200]),
)
def test_class_ious_equal_the_definition(frames, spread):
    frames = [(p.astype(np.uint16) * spread, t.astype(np.uint16) * spread) for p, t in frames]
    tally = metrics.ClassIoU()
    for pred, truth in frames:
        tally.add(metrics.class_ious(pred, truth))
    expected = naive_class_scores(frames, [c * spread for c in range(1, 5)])
    found = (tally.challenge_iou, tally.isi_iou, tally.mean_class_iou)
    for value, reference in zip(found, expected, strict=True):
        assert (value is None) == (reference is None)
        if value is not None:
            assert value == pytest.approx(reference, abs=EXACT)


def test_class_predicted_where_there_is_none_lowers_isi_but_not_challenge_iou():
    truth = np.zeros((4, 4), np.uint8)
    truth[:2] = 1
    pred = truth.copy()
    pred[3] = 2
    tally = metrics.ClassIoU()
    tally.add(metrics.class_ious(pred, truth))
    assert tally.challenge_iou == 1
    assert tally.isi_iou == 0.5
    assert tally.per_class == {1: 1.0, 2: 0.0}


def test_frames_that_do_not_count():
    empty, one = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    tally = metrics.ClassIoU()
    tally.add(metrics.class_ious(empty, empty))
    assert (tally.challenge_iou, tally.isi_iou, tally.mean_class_iou) == (None, None, None)
    tally.add(metrics.class_ious(one, empty))
    assert (tally.challenge_iou, tally.isi_iou, tally.mean_class_iou) == (None, 0, 0)


def test_metrics_need_no_torch():
    code = "import sys, surgsam2.evaluation.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_large_frame_is_quick():
    truth = np.zeros((720, 1280), bool)
    truth[100:600, 200:1100] = True
    pred = np.roll(truth, 5, 1)
    metrics.score_mask(pred, truth)
    start = time.perf_counter()
    metrics.score_mask(pred, truth)
    assert time.perf_counter() - start < 0.25
