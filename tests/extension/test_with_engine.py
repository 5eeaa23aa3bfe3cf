"""Tracking and correcting with the real engine process on real MRML nodes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from SurgSAM2Lib.logic import LogicCore
from SurgSAM2Lib.tracking.engine import EngineError

from surgsam2.mrml import load_scene
from tests.extension.conftest import FRAMES
from tests.extension.shared_engine import SharedEngine

BOX = [30, 40, 70, 80]


@pytest.fixture
def real(
    scene: Any,
    a_video: Any,
    demo_checkpoint: Path,
    small_config: Path,
    shared_engine: SharedEngine,
) -> Iterator[LogicCore]:
    """The logic with the real engine process and one object with a box on frame 2."""
    logic = LogicCore(scene, makeClient=lambda: shared_engine)
    logic.setModel(demo_checkpoint, config=str(small_config), device="cpu")
    logic.setVideo(a_video)
    logic.addObject("tool", "#11aa55")
    logic.setBox(1, BOX, frame=2)
    yield logic
    logic.close()


def masks(logic: LogicCore) -> np.ndarray:
    return np.stack([logic.getMask(1, k) for k in range(FRAMES)])


def test_prompt_track_correct_track_again_save_and_open(real: LogicCore, tmp_path: Path) -> None:
    real.preview(2, wait=True)
    preview = real.getMask(1, 2)
    assert preview.any()
    job = real.track("both", wait=True)
    assert job.status == "complete"
    assert np.array_equal(real.getMask(1, 2), preview), "a preview is the tracked mask"
    tracked = masks(real)
    assert tracked.any(axis=(1, 2)).all()

    real.correct(1, [[60, 60, 1], [100, 100, 0]], frame=7, wait=True)
    corrected = real.getMask(1, 7)
    assert not np.array_equal(corrected, tracked[7])
    real.track(start=7, wait=True)
    again = masks(real)
    assert np.array_equal(again[:7], tracked[:7]), "frames before the correction stay"
    assert np.array_equal(again[7], corrected)
    assert not np.array_equal(again[8:], tracked[8:])

    path = tmp_path / "scene.mrb"
    real.saveScene(path)
    scene = slicer.vtkMRMLScene()
    load_scene(scene, path)
    other = LogicCore(scene)
    other.setVideo(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))
    assert np.array_equal(masks(other), again)
    assert other.session is not None
    assert real.session is not None
    assert tuple(other.session.objects) == tuple(real.session.objects)
    assert other.session.prompt_set() == real.session.prompt_set()


def test_cancel_then_go_on(real: LogicCore) -> None:
    job = real.track()
    while job.done < 3:
        real.processEvents(0.05)
    real.cancel()
    done = [k for k in range(FRAMES) if real.getMask(1, k).any()]
    assert done == list(range(2, 2 + len(done)))
    assert 3 <= len(done) < FRAMES - 2
    real.track(wait=True)
    assert masks(real)[2:].any(axis=(1, 2)).all()


def test_a_killed_worker_is_a_message_and_the_next_track_works(real: LogicCore) -> None:
    errors: list[str] = []
    real.onError = errors.append
    job = real.track()
    while job.done < 3:
        real.processEvents(0.05)
    assert real.engine.ready is not None
    kept = masks(real)
    os.kill(real.engine.ready.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    assert real.wait(30)
    assert job.status == "failed"
    assert "stopped unexpectedly" in errors[0]
    assert np.array_equal(masks(real)[2:5], kept[2:5])
    real.track(wait=True)
    assert masks(real)[2:].any(axis=(1, 2)).all()


def test_a_missing_model_is_a_message_and_another_one_works(
    real: LogicCore, demo_checkpoint: Path, small_config: Path
) -> None:
    real.setModel("no_such_model.pt")
    before = masks(real)
    with pytest.raises(EngineError, match=r"no_such_model\.pt"):
        real.preview(2, wait=True)
    assert np.array_equal(masks(real), before)
    real.setModel(demo_checkpoint, config=str(small_config), device="cpu")
    real.preview(2, wait=True)
    assert real.getMask(1, 2).any()
