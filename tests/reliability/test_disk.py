"""Disks that are full, gone or read-only: a clear error, and everything before it valid."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from surgsam2 import PromptSet
from surgsam2.errors import OutputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import hold_output
from tests.reliability.checks import unreadable_files
from tests.reliability.conftest import contents, in_child, run

resource = pytest.importorskip("resource", reason="file size limits are POSIX")


def assert_valid(out: Path) -> None:
    """Whatever is there under its final name can be read."""
    assert unreadable_files(out) == []
    assert (out / "INCOMPLETE").exists()


def refused_in_child(work: Callable[[], object], message: str) -> None:
    """`work` ends with an `OutputError` of one line."""

    def check() -> None:
        with pytest.raises(OutputError, match=message) as caught:
            work()
        assert "\n" not in str(caught.value)

    assert in_child(check) == 0


@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("most", [150, 1_000, 4_000, 9_000, 40_000])
def test_no_file_may_grow_further(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    most: int,
    direction: str,
) -> None:
    """The kernel itself refuses what exceeds a size: masks, table, state or video, by `most`."""
    out = tmp_path / "out"

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        run(a_model, a_short_file, two_objects, out, direction=direction)

    refused_in_child(limited, "^cannot write .*File too large")
    assert_valid(out)
    run(a_model, a_short_file, two_objects, out, direction=direction, resume=True)
    run(a_model, a_short_file, two_objects, tmp_path / "whole", direction=direction)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("call", [2, 4, 9])
def test_the_disk_is_full_for_a_while(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    call: int,
) -> None:
    calls = 0
    original = getattr(os, function)

    def full(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(28, "No space left on device")
        original(*arguments)

    monkeypatch.setattr(os, function, full)
    out = tmp_path / "out"
    with pytest.raises(OutputError, match=r"^cannot write .*No space left on device") as caught:
        run(a_model, a_short_file, two_objects, out)
    assert_valid(out)
    saved = (out / ".resume" / "state.pt").is_file()
    assert str(caught.value).endswith("go on with resume (--resume)") == saved
    assert "No space left" in json.loads((out / "report.json").read_bytes())["status"]
    run(a_model, a_short_file, two_objects, out, resume=True)
    run(a_model, a_short_file, two_objects, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_the_folder_vanishes(
    a_model: SurgSAM2Model,
    a_short_file: Path,
    two_objects: PromptSet,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a network folder does; the first error is told, that of the report logged."""
    out = tmp_path / "out"
    with pytest.raises(OutputError, match=r"^cannot write .*(png: No such file|was removed)"):
        run(
            a_model,
            a_short_file,
            two_objects,
            out,
            on_step=lambda steps: shutil.rmtree(out) if steps == 5 else None,
        )
    assert "the folder was removed, renamed or replaced during the run" in caplog.text
    assert not out.exists()


def test_the_folder_is_renamed_and_its_name_used_again(
    a_model: SurgSAM2Model, a_short_file: Path, two_objects: PromptSet, tmp_path: Path
) -> None:
    """Each of two runs stays in its own folder, and the first can be resumed."""
    out, moved, whole = tmp_path / "out", tmp_path / "moved", tmp_path / "whole"
    run(a_model, a_short_file, two_objects, whole)

    def another(steps: int) -> None:
        if steps == 5:
            out.rename(moved)
            shutil.copytree(whole, out)
            (out / "annotations.coco.json.part").write_text("of another run")

    with pytest.raises(OutputError, match="removed, renamed or replaced during the run; move it"):
        run(a_model, a_short_file, two_objects, out, on_step=another)
    assert contents(out) == contents(whole) | {"annotations.coco.json.part": b"of another run"}
    assert (out / "report.json").read_bytes() == (whole / "report.json").read_bytes()
    assert run(a_model, a_short_file, two_objects, moved, resume=True)["resumed"] == 1
    assert contents(moved) == contents(whole)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)

    def as_nobody() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        with hold_output(tmp_path / "closed" / "out"):
            pass

    refused_in_child(as_nobody, "^cannot write .*closed/out: Permission denied")
