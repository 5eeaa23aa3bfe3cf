"""`surgsam2 demo` writes everything that it promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import surgsam2
from surgsam2.cli import main
from surgsam2.model.build import BUILT_IN, UNTRAINED
from surgsam2.prompts import save_prompts
from tests.video.helpers import write_video


def test_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "demo"
    options = ["--output", str(out), "--device", "cpu"]
    assert main(["demo", "--frames", "6", *options]) == 0
    printed = capsys.readouterr().out
    for row in ("mask", "5pt", "1pt", "first mask copied", "first mask by optical flow", "FPS"):
        assert row in printed
    assert str(out / "segmentation" / "overlay.mp4") in printed
    assert any(r.getMessage() == UNTRAINED for r in caplog.records) == (not BUILT_IN.is_file())

    made = {path.name for path in (out / "segmentation").iterdir()}
    assert made >= {"masks", "overlay.mp4", "annotations.coco.json", "frames.csv", "report.json"}
    assert json.loads((out / "segmentation" / "report.json").read_text())["status"] == "complete"
    assert (out / "evaluation" / "report.html").is_file()
    with surgsam2.open_video(out / "clip.mp4") as video:
        prompts = surgsam2.load_prompts(out / "prompts.json")
        prompts.validate(video.width, video.height, video.frame_count)
        assert video.frame_count == 6


def test_the_demo_shows_a_real_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, out = tmp_path / "real", tmp_path / "demo"
    real.mkdir()
    write_video(real / "cholecystectomy_10s.mp4", 3)
    prompts = surgsam2.PromptSet().add(object_id=1, frame=0, points=[[30, 20, 1]])
    save_prompts(prompts, real / "cholecystectomy_prompts.json")
    options = ["--output", str(out), "--device", "cpu", "--real", str(real)]
    assert main(["demo", "--frames", "2", *options]) == 0
    assert f"segment {real / 'cholecystectomy_10s.mp4'} --prompts" in capsys.readouterr().out
    report = json.loads((out / "segmentation" / "report.json").read_text())
    assert report["timings"]["frames"] == 3


def test_a_folder_without_the_real_clip_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--output", str(tmp_path / "out"), "--real", str(tmp_path / "nowhere")]
    assert main(["demo", "--frames", "2", *options]) == 2
    assert str(tmp_path / "nowhere") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_demo_leaves_results_of_another_run_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = tmp_path / "masks" / "00000.png"
    label.parent.mkdir()
    label.write_bytes(b"work of a day")
    (tmp_path / ".surgsam2").write_text("This folder is written by surgsam2.\n")
    assert main(["demo", "--frames", "2", "--output", str(tmp_path)]) == 2
    assert "it holds the results of another run (masks)" in capsys.readouterr().err
    assert label.read_bytes() == b"work of a day"
