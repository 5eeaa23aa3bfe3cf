"""The results of `surgsam2 segment`."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import surgsam2
from surgsam2.model.build import UNTRAINED
from tests.commands.helpers import (
    FRAMES,
    HEIGHT,
    WIDTH,
    Command,
    arguments,
    looks_complete,
    mask_names,
    report_of,
    run_as_process,
)


def check_outputs(folder: Path, job: dict[str, str]) -> None:
    assert looks_complete(folder)
    assert mask_names(folder) == [f"{i:05}.png" for i in range(FRAMES)]
    label = np.array(Image.open(folder / "masks" / "00000.png"))
    assert label.shape == (HEIGHT, WIDTH)
    assert set(np.unique(label)) <= {0, 1, 7}
    with surgsam2.open_video(folder / "overlay.mp4") as overlay:
        assert (overlay.frame_count, overlay.width, overlay.height) == (FRAMES, WIDTH, HEIGHT)
    coco = json.loads((folder / "annotations.coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]]
    with (folder / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["frame"] for row in rows} == {str(i) for i in range(FRAMES)}

    report = report_of(folder)
    assert report["status"] == "complete"
    assert report["versions"]["surgsam2"] == surgsam2.__version__
    assert report["versions"]["torch"] == torch.__version__
    checkpoint = Path(job["--model"])
    assert report["model"] == {
        "config": job["--config"],
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "trained": True,
        "device": "cpu",
        "dtype": "float32",
        "pruning": {"form": "capped", "prune": 2},
    }
    video = report["video"]
    assert video["sha256"] == hashlib.sha256(Path(job["video"]).read_bytes()).hexdigest()
    assert (video["width"], video["height"], video["frames"]) == (WIDTH, HEIGHT, FRAMES)
    assert report["objects"] == [
        {"id": 1, "name": "liver", "prompted_frames": [0]},
        {"id": 7, "name": "hook", "prompted_frames": [2]},
    ]
    assert report["frame_range"] == [0, FRAMES]
    assert report["timings"]["frames"] == FRAMES
    assert report["skipped"] == ["object 7: no masks before frame 2, its first prompt"]


def test_segment(run: Command, a_job: dict[str, str], tmp_path: Path) -> None:
    code, out, err = run(*arguments(a_job))
    assert code == 0
    assert all("WARNING: object" in line for line in err.splitlines()), err
    lines = out.splitlines()
    assert lines[0].startswith(f"complete: {FRAMES} frames, ")
    assert lines[1] == "note: object 7: no masks before frame 2, its first prompt"
    assert re.match(r"object 1 \(liver\): mask on \d+ frames, empty on \d+, doubtful on", lines[2])
    assert lines[3].startswith("object 7 (hook): ")
    assert lines[4] == f"results: {tmp_path / 'out'}"
    assert lines[5:] in (
        [],
        [f"to look at the doubtful frames: surgsam2 review {tmp_path / 'out'}"],
    )
    check_outputs(tmp_path / "out", a_job)


def test_segment_as_a_process_of_its_own(a_job: dict[str, str], tmp_path: Path) -> None:
    done = run_as_process(*arguments(a_job))
    assert done.returncode == 0, done.stderr
    assert all("WARNING: object" in line for line in done.stderr.splitlines()), done.stderr
    check_outputs(tmp_path / "out", a_job)


def test_segment_backward_in_a_range_with_one_format(
    run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    more = ["--direction", "backward", "--stop", "2", "--formats", " csv ", "--pruning", "off"]
    code, _, _ = run(*arguments(a_job), *more)
    assert code == 0
    folder = tmp_path / "out"
    assert {p.name for p in folder.iterdir()} == {
        ".results", ".results.json", ".surgsam2", "frames.csv", "prompts.json", "report.json"
    }  # fmt: skip
    report = report_of(folder)
    assert report["frame_range"] == [0, 2]
    assert report["model"]["pruning"]["form"] == "off"
    assert report["options"]["formats"] == ["csv"]


def test_a_second_run_keeps_what_it_does_not_make(
    run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert run(*arguments(a_job))[0] == 0
    assert run(*arguments(a_job), "--stop", "3", "--formats", "png")[0] == 0
    assert len(mask_names(folder)) > 3
    assert (folder / "overlay.mp4").exists()
    assert run(*arguments(a_job), "--stop", "3", "--formats", "png", "--overwrite")[0] == 0
    assert mask_names(folder) == ["00000.png", "00001.png", "00002.png"]
    assert not (folder / "overlay.mp4").exists()


def test_an_untrained_model_is_named_as_such(
    a_job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, run: Command,
) -> None:  # fmt: skip
    monkeypatch.setattr("surgsam2.model.build.BUILT_IN", tmp_path / "none.pt")
    words = arguments({**a_job, "--model": "demo"})
    assert run(*words, "--stop", "3", "--formats", "csv")[0] == 0
    told = [r.getMessage() for r in caplog.records if r.name.startswith("surgsam2")]
    assert told[0] == UNTRAINED
    assert all(message.startswith("object ") for message in told[1:])  # on what its masks fill
    report = report_of(tmp_path / "out")
    assert report["model"]["trained"] is False
    assert report["model"]["checkpoint"] is None


def test_segment_asks_which_images_are_frames(
    run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    with surgsam2.open_video(a_job["video"]) as video:
        for index, frame in enumerate(video):
            for suffix in ("jpg", "png"):
                Image.fromarray(frame).save(folder / f"{index:05d}.{suffix}")
    words = arguments({**a_job, "video": str(folder)})
    code, _, errors = run(*words, "--stop", "2", "--formats", "csv")
    assert code == 2
    assert "several kinds of names" in errors
    assert "--pattern" in errors
    assert run(*words, "--stop", "2", "--formats", "csv", "--pattern", "*.jpg")[0] == 0
