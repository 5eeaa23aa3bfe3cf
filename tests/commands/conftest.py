"""A small job of `segment`, and the command run in the tests' own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from surgsam2 import cli
from tests.commands.helpers import FRAMES, Command, prompt_file
from tests.video.helpers import write_video


@pytest.fixture(scope="session")
def a_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", FRAMES)


@pytest.fixture
def a_prompt_file(tmp_path: Path) -> Path:
    return prompt_file(tmp_path / "prompts.json")


@pytest.fixture
def a_job(
    a_video: Path, a_prompt_file: Path, demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> dict[str, str]:
    """Return valid arguments of `segment` by name."""
    return {
        "video": str(a_video),
        "--prompts": str(a_prompt_file),
        "--output": str(tmp_path / "out"),
        "--model": str(demo_checkpoint),
        "--config": str(small_config),
        "--device": "cpu",
    }


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command in this process.

    It returns the exit code, the standard output and the standard error.
    """

    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.main(list(words))
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def refused(run: Command) -> Callable[..., str]:
    """Return a function that runs a command that fails and returns its one line of error."""

    def call(*words: str) -> str:
        code, out, err = run(*words)
        assert code == 2
        assert out == ""
        assert err.startswith("surgsam2: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        return err

    return call
