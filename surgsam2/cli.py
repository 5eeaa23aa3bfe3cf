"""The `surgsam2` command: finds the sub-command, prints errors, sets exit codes.

Exit codes: 0 done, 2 bad input (one line on standard error says what to do), 130
stopped by Ctrl-C with everything so far valid.
"""

from __future__ import annotations

import argparse
import io
import sys
from typing import NoReturn

from surgsam2.commands import (
    annotate,
    benchmark,
    bundle,
    demo,
    doctor,
    evaluate,
    export,
    logs,
    models,
    segment,
    train,
)
from surgsam2.errors import SurgSAM2Error, missing_dependency
from surgsam2.version import __version__


class _Parser(argparse.ArgumentParser):
    """Says what is wrong on one line, as every other refusal of the command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each sub-command sets `run`, a function of the arguments."""
    parser = _Parser(
        prog="surgsam2",
        description="Promptable, real-time segmentation of surgical video.",
    )
    parser.add_argument("--version", action="version", version=f"surgsam2 {__version__}")
    parser.add_argument(
        "--log-level", choices=logs.LEVELS, default="warning", help="how much to log (%(default)s)"
    )
    parser.add_argument(
        "--log-format", choices=logs.FORMATS, default="text", help="how to log (%(default)s)"
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        demo,
        segment,
        annotate,
        evaluate,
        benchmark,
        train,
        bundle,
        export,
        models,
        doctor,
    ):
        command.add_parser(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with logs.logging_to_stderr(args.log_level, args.log_format):
        return _run(args)


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
    except KeyboardInterrupt:
        print("surgsam2: stopped", file=sys.stderr)
        return 130


def _refuse(error: SurgSAM2Error) -> int:
    """Say why, on one line whatever the message."""
    print(f"surgsam2: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
