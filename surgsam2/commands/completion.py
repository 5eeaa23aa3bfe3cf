"""`surgsam2 completion` prints a script that completes commands and options in a shell."""

from __future__ import annotations

import argparse

from surgsam2.errors import MissingDependencyError

SHELLS = ("bash", "zsh", "tcsh")
EPILOG = """\
examples:
  surgsam2 completion bash > ~/.local/share/bash-completion/completions/surgsam2
  surgsam2 completion zsh > ~/.zfunc/_surgsam2
"""


def add_parser(subparsers: argparse._SubParsersAction, root: argparse.ArgumentParser) -> None:
    """Add `completion`.

    Args:
        subparsers: takes the parser of the command.
        root: the parser of the whole command line.
    """
    parser = subparsers.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=lambda args: run(args, root))


def run(args: argparse.Namespace, root: argparse.ArgumentParser) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError as error:
        raise MissingDependencyError(
            "completion needs the package 'shtab', which is not installed; run: pip install "
            "'surgsam2[completion]'"
        ) from error
    print(shtab.complete(root, args.shell))
    return 0
