"""Interrupted runs go on and end as if nothing had happened."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgsam2 import PromptSet, open_video
from surgsam2.errors import InputError, OutputError
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.job import checkpoint as saved
from surgsam2.job.fingerprint import differences
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.pruning import EFP
from surgsam2.outputs import LabelPngWriter, background_writer
from surgsam2.results.frame_result import FrameResult
from tests.reliability.conftest import FRAMES, contents, in_child, kill_at, prompts_for_two, run

DIRECTIONS = ("forward", "backward", "both")


@pytest.fixture(scope="session")
def uninterrupted(
    a_model: SurgSAM2Model, a_short_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, bytes]]:
    """What a run without interruption leaves, by direction."""
    found = {}
    for direction in DIRECTIONS:
        out = tmp_path_factory.mktemp("whole") / direction
        run(a_model, a_short_file, prompts_for_two(), out, direction=direction)
        found[direction] = contents(out)
    return found


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_killed_and_resumed(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    uninterrupted: dict[str, dict[str, bytes]],
    tmp_path: Path,
    direction: str,
    step: int,
) -> None:
    out = tmp_path / "out"
    killed = in_child(
        lambda: run(
            a_model, a_short_file, two_objects, out, direction=direction, on_step=kill_at(step)
        )
    )
    assert killed == -signal.SIGKILL
    assert (out / "INCOMPLETE").exists()
    report = run(a_model, a_short_file, two_objects, out, direction=direction, resume=True)
    assert report["status"] == "complete"
    assert contents(out) == uninterrupted[direction]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_killed_and_resumed_with_a_stride(
    a_model: SurgSAM2Model, a_short_file: Path, tmp_path: Path, direction: str
) -> None:
    prompts = PromptSet().add(object_id=1, frame=4, box=[20, 20, 60, 50])
    given = {"direction": direction, "stride": 2}
    work = lambda: run(  # noqa: E731
        a_model, a_short_file, prompts, tmp_path / "out", on_step=kill_at(2), **given
    )
    assert in_child(work) == -signal.SIGKILL
    report = run(a_model, a_short_file, prompts, tmp_path / "out", resume=True, **given)
    assert report["status"] == "complete"
    run(a_model, a_short_file, prompts, tmp_path / "whole", **given)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_killed_again_and_again(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    uninterrupted: dict[str, dict[str, bytes]],
    tmp_path: Path,
) -> None:
    """Every process does a few frames; also one that dies while it replays."""
    out = tmp_path / "out"
    for step in (3, 5, 6, 9, 12, 14):
        work = lambda step=step: run(  # noqa: E731
            a_model,
            a_short_file,
            two_objects,
            out,
            direction="both",
            resume=True,
            on_step=kill_at(step),
        )
        assert in_child(work) == -signal.SIGKILL
    report = run(a_model, a_short_file, two_objects, out, direction="both", resume=True)
    assert report["resumed"] == 5  # one process died before it saved anything
    assert report["timings"]["frames"] == FRAMES
    assert contents(out) == uninterrupted["both"]


def test_killed_while_the_files_are_written_again(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    uninterrupted: dict[str, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    work = lambda: run(a_model, a_short_file, two_objects, out, on_step=kill_at(7))  # noqa: E731
    assert in_child(work) == -signal.SIGKILL
    write = LabelPngWriter._write

    def fatal(self: LabelPngWriter, frame: np.ndarray, result: FrameResult) -> None:
        write(self, frame, result)
        if result.frame_index == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(LabelPngWriter, "_write", fatal)
    again = lambda: run(a_model, a_short_file, two_objects, out, resume=True)  # noqa: E731
    assert in_child(again) == -signal.SIGKILL
    monkeypatch.undo()
    assert again()["status"] == "complete"
    assert contents(out) == uninterrupted["forward"]


def test_stopped_by_the_user_and_resumed(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    uninterrupted: dict[str, dict[str, bytes]],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"

    def interrupt(steps: int) -> None:
        if steps == 5:
            raise KeyboardInterrupt

    report = run(a_model, a_short_file, two_objects, out, on_step=interrupt)
    assert report["status"] == "interrupted"
    report = run(a_model, a_short_file, two_objects, out, resume=True)
    assert (report["status"], report["resumed"]) == ("complete", 1)
    assert contents(out) == uninterrupted["forward"]
    before = contents(out)
    again = run(a_model, a_short_file, two_objects, out, resume=True)
    assert again["already_complete"]
    assert contents(out) == before
    assert not (out / ".resume").exists()


def test_nothing_to_resume_is_a_beginning(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    uninterrupted: dict[str, dict[str, bytes]],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    assert run(a_model, a_short_file, two_objects, out, resume=True)["resumed"] == 0
    assert contents(out) == uninterrupted["forward"]


@pytest.fixture
def a_killed_run(
    a_model: SurgSAM2Model, a_short_file: Path, two_objects: PromptSet, tmp_path: Path
) -> Path:
    out = tmp_path / "out"
    work = lambda: run(a_model, a_short_file, two_objects, out, on_step=kill_at(7))  # noqa: E731
    assert in_child(work) == -signal.SIGKILL
    return out


def test_what_one_of_two_runs_lacks_is_called_none() -> None:
    told = differences({"corrected objects": "1"}, {"corrected objects": ""})
    assert told == "corrected objects 1 there, none here"


def test_another_run_is_not_resumed(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    a_killed_run: Path,
    tmp_path: Path,
) -> None:
    before = contents(a_killed_run)
    again = {"out": a_killed_run, "resume": True}

    def refused(text: str, model: SurgSAM2Model, file: Path, prompts: PromptSet, **options: Any):
        with pytest.raises(InputError, match=rf"^cannot resume .*it holds another run \({text}\)"):
            run(model, file, prompts, **(again | options))
        assert contents(a_killed_run) == before

    other_file = tmp_path / "other.mp4"
    other_file.write_bytes(a_short_file.read_bytes() + b"\0\0\0\x08free")
    refused("different video content", a_model, other_file, two_objects)

    same_content = tmp_path / "renamed.mp4"
    shutil.copy(a_short_file, same_content)

    other = prompts_for_two().add(object_id=2, frame=9, points=[[40, 40, 1]])
    refused("different prompts", a_model, same_content, other)
    unpruned = replace(a_model, pruning=EFP("off"))
    refused("pruning capped 2 there, off 2 here", unpruned, same_content, two_objects)
    refused("frame range 1 to 12 there, 1 to 9 here", a_model, same_content, two_objects, stop=9)
    refused("allow overlap False there, True here", a_model, same_content, two_objects,
            allow_overlap=True)  # fmt: skip
    report = run(a_model, same_content, two_objects, **again)
    assert report["status"] == "complete"
    with pytest.raises(InputError, match="different prompts"):
        run(a_model, same_content, other, **again)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("state.pt", "the saved state is damaged; start anew without resume"),
        ("results.spool", "the file is damaged or not the one that was saved"),
    ],
)
def test_damaged_states_are_refused(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    a_killed_run: Path,
    name: str,
    message: str,
) -> None:
    path = a_killed_run / ".resume" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OutputError, match=message):
        run(a_model, a_short_file, two_objects, a_killed_run, resume=True)
    assert (a_killed_run / "masks" / "00001.png").exists()
    assert run(a_model, a_short_file, two_objects, a_killed_run)["status"] == "complete"


def test_a_state_that_cannot_be_read_is_not_called_damaged(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    a_killed_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder that is away for a moment is no reason to start anew."""

    def away(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", away)
        with pytest.raises(OutputError, match=r"the saved state cannot be read \(Input/output"):
            saved.CheckpointStore(a_killed_run).load()
    again = run(a_model, a_short_file, two_objects, a_killed_run, resume=True)
    assert (again["status"], again["resumed"]) == ("complete", 1)


def test_a_flipped_bit_is_not_tracked_on_from(
    a_model: SurgSAM2Model, a_short_file: Path, two_objects: PromptSet, a_killed_run: Path
) -> None:
    """Most of a state is tensors, in which any bits make some number."""
    path = a_killed_run / ".resume" / "state.pt"
    whole = path.read_bytes()
    for place in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(OutputError, match="the saved state is damaged"):
            run(a_model, a_short_file, two_objects, a_killed_run, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_linked_resume_folder_is_refused(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    a_killed_run: Path,
    tmp_path: Path,
    resume: bool,
) -> None:
    """What it points at is somebody else's."""
    folder, elsewhere = a_killed_run / ".resume", tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    before = contents(elsewhere)
    with pytest.raises(OutputError, match=r"\.resume: it is a link to another place"):
        run(a_model, a_short_file, two_objects, a_killed_run, resume=resume)
    assert contents(elsewhere) == before


def test_a_state_of_another_version_is_refused(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    a_killed_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved, "VERSION", 4)
    with pytest.raises(OutputError, match="has version 3, this program writes 4"):
        run(a_model, a_short_file, two_objects, a_killed_run, resume=True)


def changed(content: Any, path: tuple[Any, ...], value: Any) -> None:
    """Put a value deep into nested data."""
    *parents, last = path
    for part in parents:
        content = content[part]
    content[last] = value


_BANK = ("tracking", "tracker", "objects", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("steps",), "many"),
        (("steps",), -5),
        (("results_bytes",), -1),
        (("seconds",), float("nan")),
        (("identity",), "[]"),
        (("tracking",), {}),
        (("tracking", "tracker"), []),
        (("tracking", "tracker", "frame_index"), 1.5),
        (("tracking", "tracker", "frame_index"), 10**9),
        (("tracking", "tracker", "objects"), [1]),
        ((*_BANK, "maps"), [(1, "x")]),
        ((*_BANK, "maps"), [(1, torch.zeros(3, 3, 3))]),
        ((*_BANK, "pointers"), [(1, torch.zeros(7))]),
        ((*_BANK, "conditioning", 0, 2), torch.zeros(2, 2)),
        ((*_BANK, "conditioning", 0, 0), None),
        ((*_BANK, "long_term"), [torch.zeros(1), torch.zeros(1), torch.zeros(1)]),
    ],
    ids=lambda value: str(value)[:40].replace("\n", ""),
)
def test_a_made_up_state_with_a_right_checksum_is_refused(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    a_killed_run: Path,
    path: tuple[Any, ...],
    value: Any,
) -> None:
    file = a_killed_run / ".resume" / "state.pt"
    content = torch.load(io.BytesIO(file.read_bytes()[32:]), weights_only=True)
    changed(content, path, value)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with pytest.raises(OutputError, match=r"damaged.*start anew without resume"):
        run(a_model, a_short_file, two_objects, a_killed_run, resume=True)


def test_a_state_that_would_run_code_is_not_loaded(
    a_model: SurgSAM2Model, a_short_file: Path, two_objects: PromptSet, a_killed_run: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(a_killed_run / "boom"),))

    buffer = io.BytesIO()
    torch.save({"version": 3, "identity": Bomb()}, buffer)
    data = hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()
    (a_killed_run / ".resume" / "state.pt").write_bytes(data)
    with pytest.raises(OutputError, match="the saved state is damaged"):
        run(a_model, a_short_file, two_objects, a_killed_run, resume=True)
    assert not (a_killed_run / "boom").exists()


def test_beginning_anew_says_what_is_discarded(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    a_killed_run: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(a_model, a_short_file, two_objects, a_killed_run)
    assert "an interrupted run is discarded" in caplog.text


def test_arrays_cannot_be_resumed(
    a_model: SurgSAM2Model, a_clip: np.ndarray, tmp_path: Path
) -> None:
    prompts = PromptSet().add(object_id=1, frame=0, points=[[40, 40, 1]])
    video = open_video(a_clip[:4])
    options = JobOptions(formats=("csv",), checkpoint_every=1)
    assert segment_to_folder(a_model, video, prompts, tmp_path, options)["status"] == "complete"
    with pytest.raises(InputError, match="the video is not a file or folder"):
        segment_to_folder(a_model, video, prompts, tmp_path, replace(options, resume=True))
    with pytest.raises(
        InputError, match="checkpoint_every must be a whole number of 1 or more, got 0"
    ):
        JobOptions(checkpoint_every=0)


def test_two_runs_into_one_folder(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second is refused and harms nothing, also when it is another process."""
    monkeypatch.setattr(
        background_writer, "AHEAD", 0
    )  # the first one's own writing would be seen too
    out = tmp_path / "out"
    refusals = []

    def second(steps: int) -> None:
        if steps == 3:
            before = contents(out)
            for resume in (False, True):
                with pytest.raises(OutputError, match="another run is writing into this folder"):
                    run(a_model, a_short_file, two_objects, out, resume=resume)
            refusals.append(in_child(lambda: run(a_model, a_short_file, two_objects, out)))
            assert contents(out) == before

    assert run(a_model, a_short_file, two_objects, out, on_step=second)["status"] == "complete"
    assert refusals == [1]
    assert run(a_model, a_short_file, two_objects, out)["status"] == "complete"
