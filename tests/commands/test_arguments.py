"""Arguments and the tables of the documentation derive from the options."""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest

from surgsam2.commands.arguments import add_options, read_options
from surgsam2.errors import InputError
from surgsam2.job.options import FORMATS
from surgsam2.outputs import FORMATS as WRITERS
from surgsam2.storage.options import Options, option
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "docs" / "write_option_tables.py"


@dataclass(frozen=True, kw_only=True)
class Example(Options):
    """Options of every kind."""

    color: str = option("red", "100 % of the colour", choices=("red", "blue"))
    hole_area: int = option(3, "area", minimum=0, metavar="AREA")
    speed: float | None = option(None, "speed")
    names: tuple[str, ...] = option(("a", "b"), "names")
    quiet: bool = option(False, "say nothing")


def parsed(*words: str, only: tuple[str, ...] = ()) -> Example:
    parser = argparse.ArgumentParser()
    add_options(parser, Example, "example", only)
    return read_options(Example, parser.parse_args(words))


def test_arguments_have_the_defaults_of_the_options() -> None:
    assert parsed() == Example()


def test_arguments_become_options() -> None:
    words = ["--color", "blue", "--hole-area", "5", "--speed", "2.5", "--quiet", "--names"]
    made = parsed(*words, "x, y")
    assert made == Example(color="blue", hole_area=5, speed=2.5, quiet=True, names=("x", "y"))
    assert parsed("--color", "blue", only=("color",)) == Example(color="blue")


def test_values_are_checked_by_the_options() -> None:
    with pytest.raises(InputError, match="color must be one of red, blue, got 'green'"):
        parsed("--color", "green")
    with pytest.raises(InputError, match="hole_area must be a whole number of 0 or more, got -1"):
        parsed("--hole-area", "-1")


def test_the_help_page_has_defaults_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--color {red,blue} 100 % of the colour (red)" in text
    assert "--hole-area AREA area (3)" in text
    assert "names (a,b)" in text


def test_every_format_has_a_writer() -> None:
    assert tuple(WRITERS) == FORMATS


@pytest.mark.parametrize("name", ["bundle.md", "command-line.md", "python.md"])
def test_the_tables_of_the_pages_are_current(name: str) -> None:
    spec = importlib.util.spec_from_file_location("write_option_tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = Path(REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    assert "<!-- options: " in text
    assert script.current(text) == text, "run: python docs/write_option_tables.py"
