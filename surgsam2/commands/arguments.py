"""Command line arguments made of options, and options read back from them."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any, TypeVar

from surgsam2.storage.options import Option, Options

_Kind = TypeVar("_Kind", bound=Options)


def add_options(
    parser: argparse.ArgumentParser, kind: type[Options], title: str, only: Collection[str] = ()
) -> None:
    """Add an argument for each option of a group.

    The values are checked by `read_options`, so that an error has the same words everywhere.

    Args:
        parser: the parser of a sub-command.
        kind: the group of options.
        title: the title of these arguments on the help page.
        only: the names of the options that are wanted; empty takes all.
    """
    group = parser.add_argument_group(title)
    for option in kind.described():
        if not only or option.name in only:
            group.add_argument(flag(option), **_settings(option))


def read_options(kind: type[_Kind], args: argparse.Namespace) -> _Kind:
    """Return the options that the arguments of `add_options` give.

    Options that the parser does not have keep their defaults.

    Raises:
        InputError: a value cannot be used.
    """
    names = [option.name for option in kind.described()]
    return kind.from_mapping({name: getattr(args, name) for name in names if hasattr(args, name)})


def flag(option: Option) -> str:
    """Return the name of an option on the command line, such as ``--min-region``."""
    return "--" + option.name.replace("_", "-")


def default_text(option: Option) -> str:
    """Return the default of an option as it is written on the command line; empty without one."""
    if option.default is None or option.is_flag:
        return ""
    is_list = isinstance(option.default, tuple)
    return ",".join(option.default) if is_list else str(option.default)


def names_in(text: str | None) -> list[str]:
    """Return the names in a text with commas; blank ones are left out."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _settings(option: Option) -> dict[str, Any]:
    """Return the arguments of `add_argument` for an option."""
    text = option.help.replace("%", "%%")
    if option.is_flag:
        return {"action": "store_true", "help": text}
    default = default_text(option)
    metavar = f"{{{','.join(option.choices)}}}" if option.choices else option.metavar
    is_number = option.value_type in (int, float)
    return {
        "type": option.value_type if is_number else str,
        "default": option.default if is_number or option.default is None else default,
        "metavar": metavar,
        "help": f"{text} ({default.replace('%', '%%')})" if default else text,
    }


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--engine`` and ``--engine-ca``, which name an engine on another machine."""
    group = parser.add_argument_group("engine on another machine")
    group.add_argument(
        "--engine", metavar="ADDRESS",
        help="ssh://user@host or surgsam2://host:port; the video is sent there (this machine)",
    )  # fmt: skip
    group.add_argument(
        "--engine-ca", metavar="FILE",
        help="certificates that are trusted besides the system's, for surgsam2://",
    )  # fmt: skip
