"""Masks from logits."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from surgsam2.tracking.postprocess import to_masks

LOGITS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]),  # equal ones are frequent
)


@given(LOGITS)
def test_a_pixel_goes_to_the_first_of_the_highest_logits(logits: np.ndarray) -> None:
    before = logits.copy()
    masks = to_masks(torch.from_numpy(logits), allow_overlap=False).numpy()
    objects = np.arange(len(logits))[:, None, None]
    assert np.array_equal(masks, (logits > 0) & (objects == logits.argmax(axis=0)))
    assert np.array_equal(logits, before)


@given(LOGITS)
def test_overlaps_may_stay(logits: np.ndarray) -> None:
    masks = to_masks(iter(torch.from_numpy(logits)), allow_overlap=True).numpy()
    assert np.array_equal(masks, logits > 0)
