"""Batches: decided by seed and step, shaped for the rollout, robust against bad data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from surgsam2.data import generate_clip, write_vos
from surgsam2.data.augment import AugmentStrengths
from surgsam2.errors import DatasetError, InputError
from surgsam2.training.batches import ClipBatches, batches_from, open_source
from surgsam2.training.clip_cache import CacheConfig, build_cache
from surgsam2.training.config import SourceConfig, parse

from .conftest import CACHE, a_source


def a_dataset(folder: Path, seed: int = 1, **settings: Any) -> ClipBatches:
    config = parse(SourceConfig, a_source(folder, **settings), "")
    return ClipBatches([(config, open_source(config))], AugmentStrengths(), 32, seed)


def test_shapes(a_cache: Path) -> None:
    batch = a_dataset(a_cache, batch=3, frames=3)[0]
    objects = len(batch.clip_of)
    assert batch.images.shape == (3, 3, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert batch.masks.shape == (3, objects, 32, 32)
    assert batch.masks.dtype == torch.bool
    assert batch.clip_of.unique().tolist() == [0, 1, 2]
    assert batch.masks[0].flatten(1).any(dim=1).all()  # all visible where they are prompted


def test_a_step_is_decided_by_seed_and_number(a_cache: Path) -> None:
    one, same, other = a_dataset(a_cache), a_dataset(a_cache), a_dataset(a_cache, seed=2)
    assert torch.equal(one[5].images, same[5].images)
    assert torch.equal(one[5].masks, same[5].masks)
    assert not torch.equal(one[5].images, other[5].images)
    assert not torch.equal(one[5].images, one[4].images)
    late = list(batches_from(a_dataset(a_cache), 4, 6, workers=0))
    assert torch.equal(late[1].images, one[5].images)


def test_an_epoch_shows_every_sequence_once(a_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = a_dataset(a_cache, batch=2)
    assert dataset.steps_per_epoch == 2
    seen = []
    import surgsam2.training.batches as module

    draw = module.draw_sample

    def note(sequence: Any, *args: Any, **settings: Any) -> Any:
        seen.append(sequence.name)
        return draw(sequence, *args, **settings)

    monkeypatch.setattr(module, "draw_sample", note)
    for step in range(2):
        dataset[step]
    assert len(seen) == len(set(seen)) == CACHE["clips"]


def test_processes_share_the_sequences(a_cache: Path) -> None:
    config = parse(SourceConfig, a_source(a_cache, batch=2), "")
    source = (config, open_source(config))
    ranks = [ClipBatches([source], AugmentStrengths(), 32, 1, rank, 2) for rank in range(2)]
    assert ranks[0].steps_per_epoch == 1
    assert not torch.equal(ranks[0][0].images, ranks[1][0].images)


def test_video_and_image_batches_take_turns(a_cache: Path) -> None:
    sources = [
        parse(SourceConfig, a_source(a_cache, frames=f, batch=b, share=s), "")
        for f, b, s in ((3, 1, 2), (1, 2, 1))
    ]
    dataset = ClipBatches([(c, open_source(c)) for c in sources], AugmentStrengths(), 32, 1)
    shapes = [tuple(dataset[step].images.shape[:2]) for step in range(6)]
    assert shapes == [(3, 1), (3, 1), (1, 2)] * 2


def test_still_clips_repeat_their_frame(a_cache: Path) -> None:
    batch = a_dataset(a_cache, still=True, frames=3)[0]
    assert torch.equal(batch.images[0], batch.images[2])
    assert torch.equal(batch.masks[0], batch.masks[2])


def test_clips_of_too_few_or_small_objects_are_drawn_again(a_cache: Path) -> None:
    dataset = a_dataset(a_cache, min_objects=2, max_objects=3)
    assert all(len(dataset[step].clip_of) >= 2 for step in range(6))
    dataset = a_dataset(a_cache, min_area=0.02)
    for step in range(6):
        assert dataset[step].masks[0].flatten(1).float().mean(dim=1).min() >= 0.02


def test_the_cache_is_made_once_and_repaired(tmp_path: Path) -> None:
    config = CacheConfig(**{**CACHE, "clips": 1})
    (clip,) = build_cache(tmp_path, config)
    first = clip.read_frame(1)
    path = tmp_path / clip.name
    marks = {p.name: p.stat().st_mtime_ns for p in path.iterdir()}
    build_cache(tmp_path, config)
    assert {p.name: p.stat().st_mtime_ns for p in path.iterdir()} == marks
    (path / "labels.npy").unlink()  # as after a killed process
    (clip,) = build_cache(tmp_path, config)
    assert np.array_equal(clip.read_frame(1), first)
    (path / "labels.npy").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match="is damaged"):
        build_cache(tmp_path, config)


def test_clips_of_other_scenes_are_kept_apart(tmp_path: Path) -> None:
    settings = {**CACHE, "clips": 1}
    (plain,) = build_cache(tmp_path, CacheConfig(**settings))
    (other,) = build_cache(tmp_path, CacheConfig(**settings, neighbours=1.0, leaving=0.0))
    assert plain.name != other.name
    assert {p.name for p in tmp_path.iterdir()} == {plain.name, other.name}
    with pytest.raises(InputError, match="leaving must be from 0 to 1, got 3"):
        CacheConfig(**settings, leaving=3.0)


def test_unreadable_frames_are_skipped_with_their_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = generate_clip(3, 3, (64, 64), difficulty=0.1)
    for name in ("good", "bad"):
        write_vos(clip, tmp_path, name)
    config = SourceConfig("vos", str(tmp_path), batch=2, frames=2)
    dataset = ClipBatches([(config, open_source(config))], AugmentStrengths(), 32, 1)
    for file in (tmp_path / "JPEGImages" / "bad").iterdir():
        file.write_bytes(b"gone")  # after the dataset was opened
    with caplog.at_level(logging.WARNING):
        for step in range(4):
            assert dataset[step].images.shape[1] == 2
    assert dataset.unusable == {"bad"}
    assert "cannot read the image" in caplog.text
    assert "1 skipped so far: bad" in caplog.text
    for file in (tmp_path / "JPEGImages" / "good").iterdir():
        file.write_bytes(b"gone")
    with pytest.raises(DatasetError, match="no usable clip in 10 draws; unreadable so far: bad, "):
        dataset[9]


def test_a_clip_without_objects_is_refused_or_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_vos(generate_clip(3, 2, (64, 64)), tmp_path, "clip")
    (labels,) = (tmp_path / "Annotations").iterdir()
    for file in labels.iterdir():
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(file)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(DatasetError, match="no usable sequence with an annotated object"),
    ):
        open_source(SourceConfig("vos", str(tmp_path)))
    assert "no object in the sequence" in caplog.text


def test_still_images_are_a_source(tmp_path: Path) -> None:
    picture = np.zeros((64, 64), np.uint8)
    picture[10:40, 10:40] = 3
    for folder, value in (("images", np.dstack([picture] * 3)), ("masks", picture)):
        (tmp_path / folder).mkdir()
        Image.fromarray(value).save(tmp_path / folder / "one.png")
    config = SourceConfig("images", str(tmp_path), batch=1, frames=2, still=True)
    batch = ClipBatches([(config, open_source(config))], AugmentStrengths(), 32, 1)[0]
    assert batch.images.shape[:2] == (2, 1)


def test_sources_need_a_path_and_runs_need_sources() -> None:
    with pytest.raises(InputError, match="a data source of kind vos needs a path"):
        open_source(SourceConfig())
    with pytest.raises(InputError, match="data is empty"):
        ClipBatches([], AugmentStrengths(), 32, 1)


def test_objects_can_be_out_of_sight(a_cache: Path) -> None:
    """Some frames then show a part of their picture without an object; the first never does."""
    seen = a_dataset(a_cache, frames=4, away=0.0)
    away = a_dataset(a_cache, frames=4, away=1.0)
    absent = 0
    for step in range(8):
        clips, changed = seen[step], away[step]
        assert torch.equal(clips.images[0], changed.images[0])
        assert torch.equal(clips.masks[0], changed.masks[0])
        same = [torch.equal(a, b) for a, b in zip(clips.images, changed.images, strict=True)]
        absent += int((clips.masks.flatten(2).any(-1) & ~changed.masks.flatten(2).any(-1)).sum())
        assert all(
            torch.equal(a, b)
            for a, b, equal in zip(clips.masks, changed.masks, same, strict=True)
            if equal
        )
    assert absent > 4
