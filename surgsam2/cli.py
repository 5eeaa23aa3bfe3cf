"""The `surgsam2` command: it calls the sub-command, prints errors and sets the exit code.

The exit code is 0 when all is done, 2 after an error, which is one line on standard error, and
130 when Ctrl-C or SIGTERM stopped the command, 141 when the reader of its output has gone. What was
written before is valid.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from surgsam2.commands import (
    annotate,
    benchmark,
    bundle,
    completion,
    correct,
    demo,
    doctor,
    evaluate,
    export,
    inspect,
    logs,
    merge,
    models,
    review,
    segment,
    serve,
    train,
)
from surgsam2.errors import SurgSAM2Error, missing_dependency, shortage
from surgsam2.storage.text import one_line
from surgsam2.version import __version__

NOBODY_READS = 141
"""Exit code when the reader of the output has gone, as in ``| head``: a shell's for SIGPIPE."""
_LOG_DEFAULTS = {"log_level": "warning", "log_format": "text"}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose sub-commands have the options of logging."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        group = self.add_argument_group("logging")
        for name, choices in (("level", logs.LEVELS), ("format", logs.FORMATS)):
            group.add_argument(
                f"--log-{name}",
                choices=choices,
                # A default here would replace the value that is given before the sub-command.
                default=argparse.SUPPRESS,
                help=f"{name} of messages on standard error ({_LOG_DEFAULTS[f'log_{name}']})",
            )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {one_line(message)}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    Each sub-command sets `run`, a function that takes the arguments and returns the exit code.
    """
    parser = _Parser(
        prog="surgsam2",
        description="Promptable, real-time segmentation of surgical video.",
    )
    parser.add_argument("--version", action="version", version=f"surgsam2 {__version__}")
    parser.set_defaults(**_LOG_DEFAULTS)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        demo,
        inspect,
        segment,
        merge,
        annotate,
        review,
        correct,
        evaluate,
        benchmark,
        train,
        bundle,
        export,
        models,
        serve,
        doctor,
    ):
        command.add_parser(subparsers)
    completion.add_parser(subparsers, parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the words of the command line; None takes those of this process.

    Returns:
        The exit code.
    """
    try:
        try:
            return _main(arguments)
        finally:
            if sys.stdout is not None:  # what is buffered would be written after the last handler
                sys.stdout.flush()
    except BrokenPipeError:  # on POSIX, where `poll` is
        if not _without_readers():
            raise
        return NOBODY_READS


def _without_readers() -> bool:
    """Return whether nobody reads an output of this process any more; it is then left unwritten."""
    found = False
    for stream in (sys.stdout, sys.stderr):
        output = select.poll()
        output.register(stream, 0)
        if output.poll(0):
            found = True
            with Path(os.devnull).open("wb") as nothing:  # Python writes what is left at the end
                os.dup2(nothing.fileno(), stream.fileno())
    return found


def _main(arguments: list[str] | None) -> int:
    args = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # names of files may hold bytes that are not text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with _ended_by_sigterm(), logs.logging_to_stderr(args.log_level, args.log_format):
        return _run(args)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, which removes temporary files."""
    main_thread = threading.current_thread() is threading.main_thread()
    # Python allows it in the main thread alone, and cannot put a handler back that is not its own
    if not main_thread or signal.getsignal(signal.SIGTERM) is None:
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.run(args))
    except SurgSAM2Error as error:
        return _refuse(error)
    except ImportError as error:
        missing = missing_dependency(error, "this command")
        if missing is None:
            raise
        return _refuse(missing)
    except Exception as error:
        short = shortage(error)
        if short is None:
            raise
        return _refuse(short)
    except KeyboardInterrupt:
        print("surgsam2: stopped", file=sys.stderr)
        return 130


def _refuse(error: SurgSAM2Error) -> int:
    """Print an error on one line and return the exit code."""
    print(f"surgsam2: error: {one_line(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
