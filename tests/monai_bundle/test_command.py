"""Misspelt options are refused, and errors are one line."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from surgsam2.errors import InputError
from surgsam2.monai_bundle.command import (
    _report,
    check_command,
    find_bundle_root,
    join_processes,
)
from tests.monai_bundle.conftest import CONFIGS

INFERENCE = str(CONFIGS / "inference.json")
TRAIN, SEVERAL = str(CONFIGS / "train.json"), str(CONFIGS / "multi_gpu_train.json")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--config_file", INFERENCE, "--video", "v.mp4", "--start=-1"],
        ["run", f"--config_file={INFERENCE}", "--inferer::start", "3", "--dataset#video", "v"],
        ["run", "--config-file", INFERENCE, "--output-dir", "out", "--run_id=run"],
        ["run", "--config_file", f"['{TRAIN}','{SEVERAL}']", "--learning_rate", "1e-4"],
        ["run", "--config_file", f"{(TRAIN, SEVERAL)}", "--learning_rate", "1e-4"],
        [
            "run",
            "--config_file",
            TRAIN,
            "--train::dataset::data::0::batch",
            "2",
            "--settings::seed",
            "3",
        ],
        ["run", "--config_file", INFERENCE, "--start", "-1", "--", "--zzz"],
    ],
)
def test_options_that_exist(words: list[str]) -> None:
    check_command(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--promts", "p"], "unknown option --promts; did you mean prompts"),
        (["--sttart=3"], "unknown option --sttart; did you mean start"),
        (["-sttart", "3"], "unknown option --sttart; did you mean start"),
        (["--evaluater::fps", "3"], "unknown option --evaluater::fps; did you mean evaluator"),
        (["--inferer::strat", "3"], "unknown option --inferer::strat; did you mean start"),
        (["--inferer#strat", "3"], "unknown option --inferer#strat; did you mean start"),
        (["--preprocessing::transforms::9", "3"], "unknown option --preprocessing::transforms::9$"),
        (["--video::codec", "3"], "unknown option --video::codec$"),
        (["--zzz"], "unknown option --zzz; did you mean address, allow_overlap, bundle_root, "),
    ],
)
def test_options_that_do_not(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_command(["run", "--config_file", INFERENCE, *words])


@pytest.mark.parametrize("name", ["a, b", "O'Neil", '"quoted"'])
def test_folders_may_have_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "inference.json"
    path.parent.mkdir()
    shutil.copy(INFERENCE, path)
    for value in (str(path), str([str(path)])):
        check_command(["run", "--config_file", value, "--video", "v.mp4"])
        with pytest.raises(InputError, match="unknown option --vidoe"):
            check_command(["run", "--config_file", value, "--vidoe", "v.mp4"])


def test_a_file_of_options(tmp_path: Path) -> None:
    path = tmp_path / "args.json"
    path.write_text(json.dumps({"config_file": INFERENCE, "video": "v.mp4"}))
    check_command(["run", "--args_file", str(path), "--start", "1"])
    path.write_text(json.dumps({"config_file": INFERENCE, "vidoe": "v.mp4"}))
    with pytest.raises(InputError, match="unknown option --vidoe; did you mean video"):
        check_command(["run", "--args_file", str(path)])


@pytest.mark.parametrize("form", ["{}", "['{}']", "('{}', 'other.json')"])
def test_the_root_is_the_bundle_of_the_configuration(
    form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ["/lib/monai/bundle/__main__.py", "run", "--config_file", form.format(INFERENCE)]
    monkeypatch.setattr(sys, "argv", command)
    assert find_bundle_root() == str(CONFIGS.parent)
    monkeypatch.setattr(sys, "argv", [*command[:3], str(tmp_path / "configs" / "mine.json")])
    assert find_bundle_root() == "."
    monkeypatch.setattr(sys, "argv", ["script.py", *command[1:]])
    assert find_bundle_root() == "."


def test_python_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/script.py", "--anything"])
    hook = sys.excepthook
    check_command()
    assert sys.excepthook is hook


@pytest.mark.parametrize(
    ("cause", "code", "line"),
    [
        (InputError("start must be\nint"), 2, "surgsam2: error: start must be int\n"),
        (KeyboardInterrupt(), 130, "surgsam2: stopped\n"),
    ],
)
def test_errors_in_one_line(
    cause: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = RuntimeError("Failed to evaluate")
    error.__cause__ = cause
    with pytest.raises(SystemExit) as caught:
        _report(RuntimeError, error, None)
    assert caught.value.code == code
    assert capsys.readouterr().err == line


def test_other_errors_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    _report(ZeroDivisionError, ZeroDivisionError("a bug"), None)
    assert capsys.readouterr().err.endswith("ZeroDivisionError: a bug\n")


@pytest.fixture
def the_log() -> Iterator[None]:
    """Restore the level of the log."""
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("the_log")
def test_only_the_first_process_logs_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="start it with torchrun"):
        join_processes()
    monkeypatch.setenv("RANK", "0")
    join_processes()
    assert logging.getLogger().isEnabledFor(logging.CRITICAL)
    assert not logging.root.manager.disable
    monkeypatch.setenv("RANK", "1")
    join_processes()
    assert logging.root.manager.disable == logging.INFO
