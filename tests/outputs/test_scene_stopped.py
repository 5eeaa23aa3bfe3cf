"""Scenes of runs that are stopped, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import surgsam2
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.temporary import TemporaryFolder
from tests.reliability.conftest import (
    FRAMES,
    in_child,
    kill_at,
    prompts_for_two,
    run,
    write_short_file,
)
from tests.video.helpers import write_video

slicer = pytest.importorskip("slicer")

from surgsam2.mrml import MaskNodes, load_scene, open_mask_nodes  # noqa: E402


def masks_in(path: Path) -> MaskNodes:
    scene = slicer.vtkMRMLScene()
    load_scene(scene, path)
    return open_mask_nodes(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))


def everything(masks: MaskNodes) -> list[Any]:
    video = masks.video
    frames = range(video.frame_count)
    return [
        masks.objects,
        [(video.frame_number(k), video.time_of(k), video.frame(k).tobytes()) for k in frames],
        [[masks.mask(k, style.id).tobytes() for style in masks.objects] for k in frames],
    ]


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_killed_and_resumed(a_model: SurgSAM2Model, tmp_path: Path, direction: str) -> None:
    """The scene is that of a run without interruption; meanwhile there is none."""
    clip = write_short_file(tmp_path / "clip.mp4")
    chosen: dict[str, Any] = {"formats": ("scene",), "direction": direction}
    run(a_model, clip, prompts_for_two(), tmp_path / "whole", **chosen)
    out = tmp_path / "out"
    killed = in_child(
        lambda: run(a_model, clip, prompts_for_two(), out, on_step=kill_at(5), **chosen)
    )
    assert killed == -signal.SIGKILL
    assert not (out / "scene.mrb").exists()
    report = run(a_model, clip, prompts_for_two(), out, resume=True, **chosen)
    assert (report["status"], report["resumed"]) == ("complete", 1)
    assert not list(out.glob(".*.part"))
    whole = masks_in(tmp_path / "whole" / "scene.mrb")
    assert everything(masks_in(out / "scene.mrb")) == everything(whole)
    assert direction != "both" or whole.video.frame_count == FRAMES


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_temporary_files(
    demo_checkpoint: Path,
    small_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: signal.Signals,
) -> None:
    """After SIGTERM there is a scene of the frames up to then; after SIGKILL others clean up.

    The output folder has a space and a letter beyond ASCII.
    """
    clip = write_video(tmp_path / "long.mp4", 500, codec="mpeg4")
    mask = {"id": 4, "name": "tool", "prompts": [{"frame": 0, "box": [10, 10, 40, 40]}]}
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"version": 1, "objects": [mask]}))
    out, temporary = tmp_path / "mit Umläuten", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    command = f"segment {clip} --prompts {prompts} --formats png,scene --device cpu".split()
    command += [
        "--output",
        str(out),
        "--model",
        str(demo_checkpoint),
        "--config",
        str(small_config),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "surgsam2", *command],
        env=os.environ | {"TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 240
        while not (out / "masks" / "00003.png").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert list(temporary.rglob("masks.zip"))
        process.send_signal(end)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    if end == signal.SIGKILL:
        assert list(temporary.rglob("masks.zip"))
        with TemporaryFolder():
            pass
    assert list(temporary.iterdir()) == []
    if end == signal.SIGKILL:
        return
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    masks = masks_in(out / "scene.mrb")
    assert 4 <= masks.video.frame_count < 500
    assert masks.tracked_frames == list(range(masks.video.frame_count))
    with surgsam2.open_video(clip) as video:
        assert np.array_equal(masks.video.frame(3), video[3])
