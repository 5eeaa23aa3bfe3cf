"""The command line itself: its help, its version, wrong usage and completion."""

from __future__ import annotations

import pytest

import surgsam2
from surgsam2 import cli
from tests.commands.helpers import Command

COMMANDS = ("demo", "segment", "evaluate", "train", "bundle", "models", "doctor")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: surgsam2", *command]))
    if not command:
        assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    "words", [[], ["nothing"], ["segment"], ["segment", "v"], ["models"], ["--log-level", "loud"]]
)
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "error: " in line
    assert line.endswith(" --help")


@pytest.mark.parametrize(
    "words",
    [
        ["--log-level", "error", "models", "list"],
        ["models", "--log-level", "error", "list"],
        ["models", "list", "--log-level", "error"],
    ],
)
def test_the_log_level_may_stand_anywhere(words: list[str]) -> None:
    args = cli.build_parser().parse_args(words)
    assert (args.log_level, args.log_format) == ("error", "text")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"surgsam2 {surgsam2.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(run: Command, shell: str) -> None:
    pytest.importorskip("shtab")
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "--prompts" in out
    assert "annotate" in out
