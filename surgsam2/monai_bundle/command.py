"""Checks of the command ``python -m monai.bundle run``.

MONAI accepts any ``--name value``, so that a misspelt option would silently keep its default, and
it reports every error as a traceback. `check_command` is the first entry of a configuration's
`initialize` and changes both. It changes nothing where the configuration is used from Python.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle import ConfigParser

from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.model.bundle import CONFIGURATION
from surgsam2.storage.text import one_line

MONAI_OPTIONS = frozenset(
    (
        *("run_id", "init_id", "final_id", "meta_file"),
        *("config_file", "logging_file", "tracking", "args_file"),
    )
)
"""The options of ``python -m monai.bundle run`` itself."""


def check_command(arguments: Sequence[str] | None = None) -> None:
    """Refuse options that no configuration file of the command has.

    A nested name such as ``inferer::start`` must exist too, unless it is inside a table that is
    empty in the configuration.

    Args:
        arguments: the command line; None takes that of this process if it is MONAI's command,
            and from then on reports errors in one line, with exit code 2.

    Raises:
        InputError: an option is unknown. The message names it and similar options.
    """
    if arguments is None:
        if not _is_monai_command():
            return
        report_in_one_line()
        arguments = sys.argv[1:]
    given = dict(_options(arguments))
    if "args_file" in given:
        given = {**ConfigParser.load_config_file(given["args_file"]), **given}
    content = ConfigParser.load_config_files(given.get("config_file", []))
    for name in sorted(set(given) - MONAI_OPTIONS):
        _check_name(name, content)


def report_in_one_line() -> None:
    """Let MONAI's command end with one line and exit code 2 for every error of this package.

    Nothing changes in other programs.
    """
    if _is_monai_command():
        sys.excepthook = _report


def find_bundle_root() -> str:
    """Return the folder of the bundle whose configuration MONAI's command was given.

    It is the current folder where the configuration is used from Python, or where the first
    configuration file is in no bundle.
    """
    if _is_monai_command():
        files = dict(_options(sys.argv[1:])).get("config_file", "")
        first = files[0] if isinstance(files, list | tuple) and files else files
        folder = Path(str(first)).parent.parent
        if (folder / CONFIGURATION).is_file():
            return str(folder)
    return "."


def join_processes() -> None:
    """Let only the first process of `torchrun` log messages below the level of a warning.

    Raises:
        InputError: the process was not started by `torchrun`.
    """
    if "RANK" not in os.environ:
        raise InputError(
            "a configuration multi_gpu_*.json is for several processes: start it with torchrun, "
            "or leave it out"
        )
    if os.environ["RANK"] != "0":
        logging.disable(logging.INFO)


def _is_monai_command() -> bool:
    """Return whether this process is ``python -m monai.bundle``."""
    return Path(sys.argv[0]).parts[-3:-1] == ("monai", "bundle")


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the name and value of every option as Fire, MONAI's command line, parses them."""
    from fire.parser import DefaultParseValue

    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        if not re.match(r"--|-[a-zA-Z]", argument):
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        if not equals:
            value = "".join(arguments[position + 1 : position + 2])
        yield name.replace("-", "_"), DefaultParseValue(value)


def _check_name(name: str, content: Any) -> None:
    """Raise `InputError` if an option is not in the content of the configuration."""
    for key in name.lstrip("+").replace("#", "::").split("::"):
        if content == {} or key.startswith("_"):  # an empty table, or a key of MONAI itself
            return
        if isinstance(content, dict) and key in content:
            content = content[key]
        elif isinstance(content, list) and key.isdigit() and int(key) < len(content):
            content = content[int(key)]
        else:
            names = [n for n in content if n[0] != "_"] if isinstance(content, dict) else []
            near = difflib.get_close_matches(key, names, n=3) or sorted(names)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise InputError(f"unknown option --{name}{hint}")


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a `SurgSAM2Error` as the `surgsam2` command does, and the traceback of others."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SurgSAM2Error | KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, SurgSAM2Error):
        print(f"surgsam2: error: {one_line(cause)}", file=sys.stderr)
        raise SystemExit(2)
    if isinstance(cause, KeyboardInterrupt):
        print("surgsam2: stopped", file=sys.stderr)
        raise SystemExit(130)
    sys.__excepthook__(kind, error, trace)
