"""Hours of work: memory that runs out, nothing that stays open, logs that stay short."""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgsam2 import PromptSet, cli, open_video, segment_video
from surgsam2.commands.logs import logging_to_stderr
from surgsam2.errors import DeviceError, OutputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.network import SurgSAM2Network
from surgsam2.outputs import LabelPngWriter
from surgsam2.tracking.tracker import Tracker
from tests.reliability.conftest import contents, run


def run_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, where: str, calls: set[int], error: Exception
) -> None:
    """The network raises `error` in these calls of one of its methods."""
    method = getattr(SurgSAM2Network, where)
    count = 0

    def limited(self: SurgSAM2Network, *arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count in calls:
            raise error
        return method(self, *arguments, **options)

    monkeypatch.setattr(SurgSAM2Network, where, limited)


@pytest.mark.parametrize("where", ["encode_image", "attend", "decode_tracked", "encode_memory"])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), MemoryError()], ids=["gpu", "cpu"]
)
def test_out_of_memory_once(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: Exception,
) -> None:
    """The frame is tried again, and nothing of the first try is left in the masks."""
    run(a_model, a_short_file, two_objects, tmp_path / "whole")
    run_out_of_memory(monkeypatch, where, {7}, error)
    assert run(a_model, a_short_file, two_objects, tmp_path / "out")["status"] == "complete"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert "out of memory, trying the frame again" in caplog.text


def test_out_of_memory_for_good(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    run_out_of_memory(monkeypatch, "encode_image", {8, 9}, torch.OutOfMemoryError("CUDA"))
    with pytest.raises(
        DeviceError, match=r"out of memory on cpu after \d+ frames; free memory and"
    ):
        run(a_model, a_short_file, two_objects, out)
    monkeypatch.undo()
    assert run(a_model, a_short_file, two_objects, out, resume=True)["resumed"] == 1
    run(a_model, a_short_file, two_objects, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def stop_at_five(steps: int) -> None:
    if steps == 5:
        raise KeyboardInterrupt


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux tells what is open")
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_nothing_stays_open(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    direction: str,
) -> None:
    """After a run that ends, is stopped, fails, is refused, or is resumed."""

    def all_ends() -> None:
        out = tmp_path / "out"
        run(a_model, a_short_file, two_objects, out, direction=direction, on_step=stop_at_five)
        run(a_model, a_short_file, two_objects, out, direction=direction, resume=True)
        run(a_model, a_short_file, two_objects, out, direction=direction, resume=True)
        with monkeypatch.context() as patch:
            patch.setattr(LabelPngWriter, "_write", fail)
            with pytest.raises(OutputError):
                run(a_model, a_short_file, two_objects, out, direction=direction)
        with open_video(a_short_file) as video:
            next(segment_video(a_model, video, two_objects, direction=direction))

    def fail(*arguments: object) -> None:
        raise OutputError("cannot write: No space left on device")

    all_ends()  # what is opened once and for all
    gc.collect()
    before = open_descriptors(), threading.active_count()
    all_ends()
    gc.collect()
    assert (open_descriptors(), threading.active_count()) == before


def test_two_trackers_in_two_threads_on_one_model(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    """Each gives the masks that it gives alone."""
    clips = [a_clip[:10], a_clip[:10, ::-1].copy()]
    prompts = [
        PromptSet().add(object_id=1, frame=0, points=[[40, 60, 1]]),
        PromptSet().add(object_id=2, frame=0, box=[20, 20, 90, 90]),
    ]

    def masks(number: int) -> np.ndarray:
        tracker = Tracker(a_model, 160, 120)
        return np.stack([tracker.step(f, prompts[number]).logits for f in clips[number]])

    alone = [masks(0), masks(1)]
    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(masks, (0, 1)))
        for one, other in zip(alone, together, strict=True):
            assert np.array_equal(one, other)


def logged(form: str, level: str, work: Callable[[], None]) -> None:
    with logging_to_stderr(level, form):
        work()


def test_repeated_warnings_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("surgsam2.test")

    def work() -> None:
        for frame in range(10_000):
            log.warning("frame %d is damaged", frame)
        log.warning("another thing")

    logged("text", "warning", work)
    assert capsys.readouterr().err.splitlines() == [
        "surgsam2: WARNING: frame 0 is damaged",
        "surgsam2: WARNING: another thing",
        "surgsam2: WARNING: 9999 more like this, the last: frame 9999 is damaged",
    ]


def test_logs_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("surgsam2.test")
    logged("json", "info", lambda: log.info("line one\nline two, %s", "é"))
    logged("json", "error", lambda: log.warning("not important enough"))
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry["message"] == "line one\nline two, é"
    assert (entry["level"], entry["logger"]) == ("info", "surgsam2.test")
    assert entry["time"].endswith("+00:00")


def test_the_command_resumes_and_logs(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("surgsam2.model.options.ModelOptions.load", lambda self: a_model)
    (tmp_path / "p.json").write_text(
        '{"version": 1, "objects": [{"id": 1, "prompts": [{"frame": 0, "box": [9, 9, 50, 50]}]}]}'
    )
    arguments = ["segment", str(a_short_file), "--prompts", str(tmp_path / "p.json")]
    arguments += ["--output", str(tmp_path / "out"), "--formats", "png,csv"]
    arguments += ["--checkpoint-every", "3"]
    advance = Tracker.advance

    def interrupted(self: Tracker, *given: Any) -> object:
        if self.frame_index == 7:
            raise KeyboardInterrupt
        return advance(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "advance", interrupted)
        assert cli.main(arguments) == 130
    assert "the same command with --resume goes on from here" in capsys.readouterr().out
    log = ["--log-level", "info", "--log-format", "json"]
    assert cli.main([*log, *arguments, "--resume"]) == 0
    messages = [
        json.loads(x)["message"] for x in capsys.readouterr().err.splitlines() if x[:1] == "{"
    ]
    assert "resuming after 6 frames" in messages
    assert "state saved after 9 frames" in messages
    assert "complete: 12 frames" in messages
    assert cli.main([*arguments, "--resume"]) == 0
    assert "complete already, nothing to resume" in capsys.readouterr().out


def test_what_a_command_changes_about_logging_ends_with_it() -> None:
    ours = logging.getLogger("surgsam2")
    before = ours.level
    with logging_to_stderr("warning"):
        ours.setLevel(logging.INFO)  # as `surgsam2 train` does
    assert ours.level == before
