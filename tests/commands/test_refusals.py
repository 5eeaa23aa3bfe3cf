"""A command that cannot be carried out says why in one line and leaves no results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import surgsam2
from tests.commands.helpers import (
    Command,
    arguments,
    empty_file,
    looks_complete,
    prompt_file,
    run_as_process,
    text_file,
)


@pytest.mark.parametrize(
    ("option", "make", "words"),
    [
        ("video", lambda p: text_file(p / "a.mp4"), "not a video"),
        ("video", lambda p: empty_file(p / "a.mp4"), "the file is empty"),
        ("video", lambda p: str(p / "none.mp4"), "no such file or folder"),
        ("--prompts", lambda p: str(p / "none.json"), "none.json"),
        ("--prompts", lambda p: empty_file(p / "a.json"), "a.json"),
        ("--prompts", lambda p: str(prompt_file(p / "late.json", 99)), "late.json: object 7"),
        ("--output", lambda p: text_file(p / "a-file"), "a-file"),
        ("--output", lambda p: text_file(p / "a-file") + "/below", "a-file"),
        ("--device", lambda p: "cuda:77", "device 'cuda:77' is not"),
        ("--device", lambda p: "toaster", "device 'toaster' is not a device name"),
        ("--dtype", lambda p: "int4", "dtype must be one of auto"),
        ("--model", lambda p: str(p / "none.pt"), "no such checkpoint file"),
        ("--model", lambda p: text_file(p / "text.pt"), "not a PyTorch checkpoint"),
        ("--model", lambda p: empty_file(p / "empty.pt"), "the file is empty"),
        ("--model", lambda p: "sam9", "neither a file nor a known model"),
        ("--config", lambda p: "sam2.1-hiera-tiny-512", "use the config demo"),
        ("--config", lambda p: "sam2.1-hiera-tiny", "did you mean"),
        ("--config", lambda p: text_file(p / "text.yaml"), "text.yaml: the config cannot be read"),
        ("--formats", lambda p: "png,gif", "formats must be some of png"),
        ("--formats", lambda p: "", "formats must be some of png"),
        ("--start", lambda p: "5000", "start 5000"),
        ("--start", lambda p: "-1", "start -1"),
        ("--start", lambda p: "99", "start 99"),
        ("--stop", lambda p: "0", "stop 0"),
        ("--prune", lambda p: "6", "prune must be at most 5"),
        ("--prune", lambda p: "-1", "prune must be a whole number of 0 or more"),
        ("--min-region", lambda p: "-1", "min_region must be a number from 0 to 0.1"),
        ("--fps", lambda p: "0", "fps must be a positive number"),
    ],
)
def test_bad_input(
    option: str,
    make: Callable[[Path], str],
    words: str,
    refused: Callable[..., str],
    a_job: dict[str, str],
    tmp_path: Path,
) -> None:
    job = {**a_job, option: make(tmp_path)}
    assert words in refused(*arguments(job))
    assert not looks_complete(tmp_path / "out")
    assert not looks_complete(Path(job["--output"]))


def test_a_checkpoint_of_another_model(
    refused: Callable[..., str], a_job: dict[str, str], tmp_path: Path
) -> None:
    torch.save({"model": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "other.pt")
    job = {**a_job, "--model": str(tmp_path / "other.pt")}
    assert "does not fit the config" in refused(*arguments(job))
    del job["--config"]
    assert "not a known SAM 2 network" in refused(*arguments(job))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_left_alone(
    refused: Callable[..., str], run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert "not empty" in refused(*arguments(a_job))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    assert run(*arguments(a_job), "--overwrite", "--formats", "csv")[0] == 0
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_annotate_takes_the_memory_policy(run: Command, a_job: dict[str, str]) -> None:
    code, _, errors = run("annotate", a_job["video"], "--min-similarity", "2")
    assert code == 2
    assert "min_similarity must be a number from 0 to 1, got 2" in errors


def test_an_error_is_one_line_whatever_its_text(
    refused: Callable[..., str], a_job: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise surgsam2.SurgSAM2Error("first\n  second\r\nthird")

    monkeypatch.setattr("surgsam2.job.console.segment_to_folder", fail)
    assert refused(*arguments(a_job)) == "surgsam2: error: first second third\n"


def test_an_error_does_not_command_the_terminal(
    refused: Callable[..., str], a_job: dict[str, str], tmp_path: Path
) -> None:
    message = refused(*arguments({**a_job, "video": str(tmp_path / "a\x1b[2Jb.mp4")}))
    assert r"a\x1b[2Jb.mp4: no such file" in message


def test_refused_as_a_process_of_its_own(a_job: dict[str, str], tmp_path: Path) -> None:
    job = {**a_job, "video": text_file(tmp_path / "a.mp4")}
    done = run_as_process(*arguments(job))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("surgsam2: error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
