"""Every step of a short run fails once, in turn: what is there is valid, and the run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from surgsam2 import PromptSet
from surgsam2.errors import DeviceError, OutputError
from surgsam2.model.build import SurgSAM2Model
from tests.reliability.checks import unreadable_files
from tests.reliability.conftest import contents, run
from tests.reliability.faults import Faults

STOP = 6
"""Tracked are the frames 1 to 5; the state is saved twice."""
SAMPLES = 12


def steps_of(directory: Path, **given: Any) -> list[str]:
    """Return the steps of a run without faults."""
    faults = Faults(directory)
    with faults.active():
        run(out=directory / "out", stop=STOP, **given)
    return faults.steps


def check_step(directory: Path, number: int, whole: dict[str, bytes], given: Any) -> None:
    """Let one step fail, look at what is there, and go on."""
    out = directory / "out"
    faults = Faults(directory, number)
    failure = ""
    try:
        with faults.active():
            run(out=out, stop=STOP, **given)
    except (OutputError, DeviceError) as error:
        failure = str(error)
        assert failure.startswith(("cannot write", "out of memory", "cannot resume")), failure
        assert "\n" not in failure
        assert len(failure) < 1000
    told = f"step {number}, {' '.join(faults.steps[number : number + 1])}: {failure}"
    if out.exists():
        assert unreadable_files(out) == [], told
        complete = not (out / "INCOMPLETE").exists() and (out / "report.json").exists()
        found = {name: data for name, data in contents(out).items() if ".resume" not in name}
        assert not complete or found == whole, told
    assert run(out=out, stop=STOP, resume=True, **given)["status"] == "complete", told
    assert contents(out) == whole, told
    shutil.rmtree(out)


@pytest.fixture
def given(a_model: SurgSAM2Model, a_short_file: Path, two_objects: PromptSet) -> dict[str, Any]:
    return {"model": a_model, "file": a_short_file, "prompts": two_objects}


def test_some_steps_fail(given: dict[str, Any], tmp_path: Path) -> None:
    steps = steps_of(tmp_path / "whole", **given)
    whole = contents(tmp_path / "whole" / "out")
    kinds = {step.partition(" ")[0] for step in steps}
    assert kinds >= {"open", "write", "flush", "fsync", "replace", "unlink", "mkdir", "allocation"}
    for number in range(0, len(steps), max(1, len(steps) // SAMPLES)):
        check_step(tmp_path, number, whole, given)


@pytest.mark.nightly
@pytest.mark.parametrize("direction", ["forward", "both"])
def test_every_step_fails(given: dict[str, Any], tmp_path: Path, direction: str) -> None:
    given["direction"] = direction
    steps = steps_of(tmp_path / "whole", **given)
    whole = contents(tmp_path / "whole" / "out")
    for number in range(len(steps)):
        check_step(tmp_path, number, whole, given)
