"""Augmentation: the whole clip alike, labels with their image, no new label values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surgsam2.data import Augmentation
from surgsam2.errors import InputError

ANY_STRENGTH = st.builds(
    Augmentation,
    size=st.integers(16, 96),
    flip=st.floats(0, 1),
    degrees=st.floats(0, 180),
    shear=st.floats(0, 40),
    zoom=st.floats(1, 3),
    brightness=st.floats(0, 0.5),
    contrast=st.floats(0, 0.5),
    saturation=st.floats(0, 0.5),
    grey=st.floats(0, 1),
    hue=st.floats(0, 180),
)
SEED = st.integers(0, 2**31)


def a_frame(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = np.array([0, 1, 7, 300, 65535], np.uint16)
    coarse = rng.integers(0, 5, (4, 5))
    labels = ids[np.kron(coarse, np.ones((height // 4, width // 5), int))]
    return rng.integers(0, 256, (*labels.shape, 3), dtype=np.uint8), labels


@given(ANY_STRENGTH, SEED, st.integers(20, 90), st.integers(20, 90))
@settings(max_examples=60)
def test_every_frame_of_a_clip_is_transformed_alike(
    augmentation: Augmentation, seed: int, height: int, width: int
) -> None:
    frame, labels = a_frame(seed, height, width)
    frames, many = augmentation(np.stack([frame] * 3), np.stack([labels] * 3), seed)
    assert frames.shape == (3, augmentation.size, augmentation.size, 3)
    assert frames.dtype == np.uint8
    assert many.shape == frames.shape[:3]
    assert np.array_equal(frames[0], frames[1])
    assert np.array_equal(frames[0], frames[2])
    assert np.array_equal(many[0], many[1])
    assert np.array_equal(many[0], many[2])


@given(ANY_STRENGTH, SEED)
@settings(max_examples=60)
def test_no_label_is_invented(augmentation: Augmentation, seed: int) -> None:
    _, labels = a_frame(seed, 40, 50)
    result = augmentation.draw(seed).apply_labels(labels)
    assert result.dtype == labels.dtype
    assert set(np.unique(result)) <= {0, *np.unique(labels)}


@given(ANY_STRENGTH, SEED)
@settings(max_examples=60)
def test_labels_stay_on_their_pixels(augmentation: Augmentation, seed: int) -> None:
    """A white square on black is still where its label is."""
    labels = np.zeros((60, 80), np.uint8)
    labels[15:45, 25:60] = 1
    frame = np.repeat(labels[..., None] * 255, 3, axis=2).astype(np.uint8)
    drawn = augmentation.draw(seed)
    image = drawn.apply_image(frame).max(axis=2) > 0.5 * 255 * min(drawn.brightness, 1.0) * 0.8
    mask = drawn.apply_labels(labels) > 0
    union = np.count_nonzero(image | mask)
    border = np.count_nonzero(np.diff(mask.astype(int), axis=0)) + np.count_nonzero(
        np.diff(mask.astype(int), axis=1)
    )
    assert np.count_nonzero(image ^ mask) <= border * 1.5 + 2, (union, border)


def test_resizing_alone_keeps_large_images_aligned() -> None:
    labels = np.zeros((720, 1280), np.uint8)
    labels[200:500, 300:900] = 5
    frame = np.repeat((labels > 0)[..., None] * np.uint8(255), 3, axis=2)
    drawn = Augmentation.none(256).draw(0)
    image, mask = drawn.apply_image(frame)[..., 0] > 127, drawn.apply_labels(labels) == 5
    assert image.shape == (256, 256)
    assert np.mean(image != mask) < 0.005
    ys, xs = np.nonzero(mask)
    assert abs(ys.min() - 200 / 720 * 256) <= 1
    assert abs(xs.max() - 900 / 1280 * 256) <= 1.5


def test_the_identity_changes_nothing() -> None:
    frame, labels = a_frame(0, 64, 65)
    frame, labels = frame[:, :64], labels[:, :64]
    frames, many = Augmentation.none(64)(frame[None], labels[None], 0)
    assert np.array_equal(frames[0], frame)
    assert np.array_equal(many[0], labels)


def test_a_flip_mirrors() -> None:
    frame, labels = a_frame(0, 64, 65)
    frame, labels = frame[:, :64], labels[:, :64]
    only = Augmentation(
        64, flip=1, degrees=0, shear=0, brightness=0, contrast=0, saturation=0, grey=0
    )
    frames, many = only(frame[None], labels[None], 0)
    assert np.array_equal(frames[0], frame[:, ::-1])
    assert np.array_equal(many[0], labels[:, ::-1])


@given(SEED, st.floats(-180, 180))
def test_hue_turns_colours_about_grey(seed: int, degrees: float) -> None:
    """A third of a turn exchanges the channels; grey stays as it is, whatever the angle."""
    plain = Augmentation.none(16).draw(0)
    frame = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(replace(plain, hue=120.0).apply_image(frame), np.roll(frame, 1, axis=2))
    grey = np.repeat(frame[..., :1], 3, axis=2)
    assert np.array_equal(replace(plain, hue=degrees).apply_image(grey), grey)


def test_zoom_shows_a_part_of_the_picture() -> None:
    """Enlarged up to `zoom` times, anywhere, never past the border."""
    plain = Augmentation.none(64)
    drawn = [replace(plain, zoom=2.0).draw(seed) for seed in range(300)]
    assert 1.0 <= min(d.zoom for d in drawn) < 1.05
    assert 1.9 < max(d.zoom for d in drawn) <= 2.0
    corners = np.array([[-0.5, -0.5, 1.0], [63.5, 63.5, 1.0]]).T
    seen = []
    for each in drawn:
        matrix = np.vstack([each.matrix(90, 45), [0.0, 0.0, 1.0]])
        (left, top), (right, bottom) = (np.linalg.inv(matrix) @ corners)[:2].T
        assert min(left, top) > -0.5 - 1e-6
        assert right < 89.5 + 1e-6
        assert bottom < 44.5 + 1e-6
        assert (right - left) * each.zoom == pytest.approx(90)
        seen.append((left + right) / 2)
    assert min(seen) < 30
    assert max(seen) > 60
    with pytest.raises(InputError, match=r"zoom must be at least 1, got 0\.5"):
        replace(plain, zoom=0.5)


def test_grey_and_published_ranges() -> None:
    frame, labels = a_frame(1, 40, 50)
    grey = Augmentation(32, grey=1.0).draw(3).apply_image(frame)
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.array_equal(grey[..., 0], grey[..., 2])
    drawn = [Augmentation().draw(seed) for seed in range(600)]
    angles, shears = [d.angle for d in drawn], [d.shear for d in drawn]
    assert -25 <= min(angles) < -24
    assert 24 < max(angles) <= 25
    assert -20 <= min(shears) < -19
    assert 19 < max(shears) <= 20
    assert 0.02 < np.mean([d.grey for d in drawn]) < 0.09
    assert 0.4 < np.mean([d.flip for d in drawn]) < 0.6
    assert Augmentation().size == 512
    assert labels.any()


def test_the_seed_decides() -> None:
    assert Augmentation().draw((1, 2)) == Augmentation().draw((1, 2))
    assert Augmentation().draw((1, 2)) != Augmentation().draw((1, 3))


def test_bad_arguments_are_refused() -> None:
    frame, labels = a_frame(0, 40, 50)
    with pytest.raises(InputError, match=r"frames must be \(T, H, W, 3\) uint8"):
        Augmentation()(frame, labels, 0)
    with pytest.raises(InputError, match="labels must be"):
        Augmentation()(frame[None], labels[None].astype(int), 0)
    with pytest.raises(InputError, match="flip must be a probability, got 2"):
        Augmentation(flip=2)
    with pytest.raises(InputError, match="brightness must be from 0 to below 1, got 1"):
        Augmentation(brightness=1)
    with pytest.raises(InputError, match="size must be at least 1"):
        Augmentation(size=0)
