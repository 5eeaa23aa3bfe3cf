"""A model on another machine, in Python and on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import surgsam2
from surgsam2 import PromptSet, segment_video
from surgsam2.cli import main
from surgsam2.engine.remote.server import EngineServer
from surgsam2.errors import DeviceError, InputError, PromptError
from surgsam2.job.options import JobOptions
from surgsam2.job.run import segment_to_folder
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import save_prompts
from surgsam2.tracking.options import TrackingOptions
from tests.engine.remote.helpers import (
    BOX,
    TOKEN,
    gone,
)


def test_a_remote_model_segments_as_one_here(
    server: EngineServer, a_model: SurgSAM2Model, a_file: Path, a_clip: np.ndarray
) -> None:
    address = f"surgsam2://127.0.0.1:{server.port}"
    options = {"config": "small.yaml", "device": "cpu"}
    with surgsam2.connect(address, "small.pt", token=TOKEN, **options) as model:
        assert (model.image_size, model.device, model.trained) == (128, "cpu", True)
        for video in (a_file, a_clip):
            for direction in ("forward", "both", "backward"):
                prompts = PromptSet().add(object_id=1, frame=4, box=[10, 30, 50, 80])
                here = list(segment_video(a_model, video, prompts, direction=direction))  # type: ignore[arg-type]
                there = list(segment_video(model, video, prompts, direction=direction))  # type: ignore[arg-type]
                assert [r.frame_index for r in there] == [r.frame_index for r in here]
                for got, want in zip(there, here, strict=True):
                    assert np.array_equal(got.masks, want.masks)
        results = segment_video(model, a_file, BOX)
        next(results)
        results.close()  # type: ignore[attr-defined]
        assert len(list(segment_video(model, a_file, BOX, stop=3))) == 3
        with pytest.raises(PromptError, match="outside"):
            segment_video(
                model, a_file, PromptSet().add(object_id=1, frame=0, points=[[999, 5, 1]])
            )
    gone(server)
    with pytest.raises(DeviceError, match="the token is wrong"):
        surgsam2.connect(address, token="x" * 20)
    with pytest.raises(InputError, match="has no model"):
        surgsam2.connect(address, "/etc/passwd", token=TOKEN)


def test_segment_with_an_engine(
    server: EngineServer,
    a_file: Path,
    demo_checkpoint: Path,
    small_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The files are those of a run here."""
    token = tmp_path / "token"
    token.write_text(f"# mine\n{TOKEN}\n")
    monkeypatch.setenv("SURGSAM2_TOKEN_FILE", str(token))
    save_prompts(BOX, tmp_path / "prompts.json")
    common = ["segment", str(a_file), "--prompts", str(tmp_path / "prompts.json")]
    here = ["--model", str(demo_checkpoint), "--config", str(small_config), "--device", "cpu"]
    assert main([*common, *here, "--output", str(tmp_path / "here")]) == 0
    address = f"surgsam2://127.0.0.1:{server.port}"
    there = ["--model", "small.pt", "--config", "small.yaml", "--device", "cpu"]
    there += ["--engine", address]
    assert main([*common, *there, "--output", str(tmp_path / "there")]) == 0
    for path in sorted((tmp_path / "here").rglob("*.png")):
        other = tmp_path / "there" / path.relative_to(tmp_path / "here")
        assert other.read_bytes() == path.read_bytes()
    report = json.loads((tmp_path / "there" / "report.json").read_text())
    assert report["model"]["engine"] == address
    again = [*common, *there, "--output", str(tmp_path / "there"), "--resume"]
    assert main(again) == 0
    assert "nothing to resume" in capsys.readouterr().out
    monkeypatch.setenv("SURGSAM2_TOKEN", "y" * 20)
    assert main([*common, *there, "--output", str(tmp_path / "x")]) == 2
    assert "the token is wrong" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("direction", ["forward", "both", "backward"])
def test_a_run_is_resumed(
    direction: Literal["forward", "both", "backward"],
    server: EngineServer,
    a_model: SurgSAM2Model,
    a_file: Path,
    tmp_path: Path,
) -> None:
    """A run that was stopped goes on in another session, and gives the masks of a run here."""
    prompts = PromptSet().add(object_id=1, frame=4, box=[10, 30, 50, 80])
    options = JobOptions(formats=("png",), tracking=TrackingOptions(direction=direction))
    folder, asked = tmp_path / "there", iter([False] * 3 + [True])
    address = f"surgsam2://127.0.0.1:{server.port}"
    for resume in (False, True):
        with (
            surgsam2.connect(
                address, "small.pt", token=TOKEN, config="small.yaml", device="cpu"
            ) as model,
            surgsam2.open_video(a_file) as video,
        ):
            report = segment_to_folder(
                model, video, prompts, folder, replace(options, resume=resume),
                should_stop=lambda: next(asked, False),
            )  # fmt: skip
        assert report["status"] == ("complete" if resume else "interrupted")
    with surgsam2.open_video(a_file) as video:
        here = segment_to_folder(a_model, video, prompts, tmp_path / "here", options)
    assert report["timings"]["frames"] == here["timings"]["frames"]
    assert report["resumed"] == 1
    for path in sorted((tmp_path / "here").rglob("*.png")):
        other = folder / path.relative_to(tmp_path / "here")
        assert other.read_bytes() == path.read_bytes()
