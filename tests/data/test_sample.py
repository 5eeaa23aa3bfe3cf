"""Samples: which frames and objects are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from surgsam2.data import VOSDataset, draw_sample
from surgsam2.errors import DatasetError, InputError

from .conftest import VOSFolder


def test_eight_frames_and_three_objects(a_vos_folder: VOSFolder) -> None:
    root = a_vos_folder({"a": {i: (1, 2, 3, 4) for i in range(12)}})
    (sequence,) = VOSDataset(root)
    starts, chosen, reversed_ = set(), set(), 0
    for seed in range(40):
        sample = draw_sample(sequence, seed)
        steps = np.diff(sample.frame_indices)
        assert len(sample.frame_indices) == 8
        assert abs(steps[0]) == 1
        assert np.all(steps == steps[0])
        reversed_ += int(steps[0] < 0)
        assert len(sample.object_ids) == 3
        assert set(np.unique(sample.labels)) == {0, *sample.object_ids}
        assert sample.masks.shape == (8, 3, *sample.labels.shape[1:])
        assert sample.masks.dtype == np.bool_
        starts.add(min(sample.frame_indices))
        chosen.add(sample.object_ids)
    assert starts == {0, 1, 2, 3, 4}
    assert len(chosen) == 4
    assert 5 < reversed_ < 35


def test_the_seed_decides(a_vos_folder: VOSFolder) -> None:
    (sequence,) = VOSDataset(a_vos_folder({"a": {i: (1, 2, 3) for i in range(9)}}))
    first, again = (draw_sample(sequence, (3, 1), max_objects=2) for _ in range(2))
    assert first.frame_indices == again.frame_indices
    assert first.object_ids == again.object_ids
    assert np.array_equal(first.frames, again.frames)
    others = {draw_sample(sequence, (3, k), max_objects=2).object_ids for k in range(20)}
    assert len(others) > 1


def test_objects_are_visible_in_the_first_drawn_frame(a_vos_folder: VOSFolder) -> None:
    content = {0: (), 1: (1,), 2: (1, 2), 3: (2,)}
    (sequence,) = VOSDataset(a_vos_folder({"a": content}))
    for seed in range(20):
        sample = draw_sample(sequence, seed, frames=2)
        assert set(np.unique(sample.labels[0])) == {0, *sample.object_ids}


def test_frames_without_annotation_are_not_drawn(a_vos_folder: VOSFolder) -> None:
    (sequence,) = VOSDataset(a_vos_folder({"a": {0: (1,), 1: None, 2: (1,), 3: None, 4: (1,)}}))
    sample = draw_sample(sequence, 0, frames=3, reverse=0.0)
    assert sample.frame_indices == (0, 2, 4)


def test_stride(a_vos_folder: VOSFolder) -> None:
    (sequence,) = VOSDataset(a_vos_folder({"a": {i: (1,) for i in range(7)}}))
    sample = draw_sample(sequence, 0, frames=3, stride=3, reverse=0.0)
    assert sample.frame_indices == (0, 3, 6)


def test_an_image_becomes_a_video_that_stands_still(a_vos_folder: VOSFolder) -> None:
    (sequence,) = VOSDataset(a_vos_folder({"a": {4: (1, 2)}}))
    sample = draw_sample(sequence, 0, frames=4)
    assert sample.frame_indices == (0, 0, 0, 0)
    assert all(np.array_equal(f, sample.frames[0]) for f in sample.frames)
    assert sample.object_ids == (1, 2)


def test_no_object_to_start_from(a_vos_folder: VOSFolder) -> None:
    (sequence,) = VOSDataset(a_vos_folder({"a": {0: (), 1: (), 2: (1,)}}))
    with pytest.raises(DatasetError, match="no frame of a that could start a sample"):
        draw_sample(sequence, 0, frames=3, reverse=0.0)


def test_frames_of_different_sizes_are_an_error(a_vos_folder: VOSFolder) -> None:
    from .conftest import box_labels, save_frame, save_labels

    root = a_vos_folder({"a": {0: (1,)}})
    save_frame(root / "JPEGImages" / "a" / "00001.png", shape=(40, 40))
    save_labels(root / "Annotations" / "a" / "00001.png", box_labels(1, shape=(40, 40)))
    (sequence,) = VOSDataset(root)
    with pytest.raises(DatasetError, match="frames of different sizes"):
        draw_sample(sequence, 0, frames=2)


@pytest.mark.parametrize("name", ["frames", "max_objects", "stride"])
def test_bad_numbers_are_refused(a_vos_folder: VOSFolder, name: str) -> None:
    (sequence,) = VOSDataset(a_vos_folder({"a": {0: (1,)}}))
    with pytest.raises(InputError, match=f"{name} must be at least 1, got 0"):
        draw_sample(sequence, 0, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reverse must be a probability, got 2"):
        draw_sample(sequence, 0, reverse=2)
