"""Training clips from real frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2.errors import DatasetError, InputError
from surgsam2.training.real_clips import RealClipsConfig, build_real_clips


@pytest.fixture
def a_dataset(tmp_path: Path) -> Path:
    """Two frames with a bright square, in the VOS layout."""
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / "data" / kind / "one").mkdir(parents=True)
    for k in range(2):
        image = np.full((64, 64, 3), 60 + 20 * k, np.uint8)
        labels = np.zeros((64, 64), np.uint8)
        image[20:44, 20:44], labels[20:44, 20:44] = 200, 3
        Image.fromarray(image).save(tmp_path / "data" / "JPEGImages" / "one" / f"{k}.png")
        Image.fromarray(labels).save(tmp_path / "data" / "Annotations" / "one" / f"{k}.png")
    return tmp_path / "data"


def test_clips_are_kept_and_the_same_again(a_dataset: Path, tmp_path: Path) -> None:
    config = RealClipsConfig(folder=str(a_dataset), clips=2, frames=3, side=48)
    clips = build_real_clips(tmp_path / "cache", config)
    first = clips[0].read_frame(1)
    assert first.shape == (48, 48, 3)
    assert len(clips) == 2
    stamp = (tmp_path / "cache" / clips[0].name / "labels.npy").stat().st_mtime_ns
    again = build_real_clips(tmp_path / "cache", config)
    assert (tmp_path / "cache" / again[0].name / "labels.npy").stat().st_mtime_ns == stamp
    other = build_real_clips(tmp_path / "elsewhere", config)
    assert np.array_equal(other[0].read_frame(1), first)


def test_clips_with_instruments_are_others(a_dataset: Path, tmp_path: Path) -> None:
    plain = RealClipsConfig(folder=str(a_dataset), clips=1, frames=3, side=48)
    (first,) = build_real_clips(tmp_path, plain)
    (other,) = build_real_clips(tmp_path, replace(plain, instruments=1.0))
    assert other.name == f"{first.name.replace('-3x48', '')}-instruments1-3x48"
    with pytest.raises(InputError, match=r"leave real\.instruments 0"):
        RealClipsConfig(video="a.mp4", flow=True, instruments=0.5)
    with pytest.raises(InputError, match="probability from 0 to 1, got 2"):
        replace(plain, instruments=2)


def test_parts_of_a_video_carry_regions_along(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 60, (64, 96, 3), np.uint8)
    texture[16:48, 24:56] += 120
    for k in range(12):
        Image.fromarray(np.roll(texture, k, axis=1)).save(folder / f"{k:02}.png")
    config = RealClipsConfig(video=str(folder), flow=True, clips=1, frames=3, side=64)
    (clip,) = build_real_clips(tmp_path / "cache", config)
    assert len(clip) == 3
    assert np.unique(clip.read_labels(0)).size > 1


def test_a_damaged_clip_is_named(a_dataset: Path, tmp_path: Path) -> None:
    config = RealClipsConfig(folder=str(a_dataset), clips=1, frames=3, side=48)
    (clip,) = build_real_clips(tmp_path / "cache", config)
    (tmp_path / "cache" / clip.name / "labels.npy").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match="is damaged"):
        build_real_clips(tmp_path / "cache", config)


def test_a_video_too_short_for_its_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for k in range(9):
        Image.new("RGB", (64, 48), (k, k, k)).save(tmp_path / "frames" / f"{k}.png")
    config = RealClipsConfig(video=str(tmp_path / "frames"), flow=True, frames=3, side=64)
    with pytest.raises(DatasetError, match="9 frames, but clips of 3 frames need 10"):
        build_real_clips(tmp_path / "cache", config)


def test_all_frames_that_cannot_be_read_are_named_at_once(a_dataset: Path, tmp_path: Path) -> None:
    for k in range(2):
        path = a_dataset / "JPEGImages" / "one" / f"{k}.png"
        path.write_bytes(path.read_bytes()[:-40])
    config = RealClipsConfig(folder=str(a_dataset), clips=1, frames=3, side=48)
    with pytest.raises(DatasetError) as caught:
        build_real_clips(tmp_path / "cache", config)
    assert "0.png" in str(caught.value)
    assert "1.png" in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"real\.folder, real\.video"),
        ({"folder": "x", "flow": True}, r"needs real\.video"),
    ],
)
def test_settings_that_say_too_little(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RealClipsConfig(**settings)  # type: ignore[arg-type]
